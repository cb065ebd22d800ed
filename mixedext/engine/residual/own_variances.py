"""Variances of residuals of rows by themselves, and their derivatives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mixedext.engine.residual.rows import residual_curves
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_curve import Places
from mixedext.specification.covariance.residual_recipe import NewPlaces

__all__ = ["OwnVariances", "own_variances"]

# Numbers that an array of derivatives holds at most.
MOST_NUMBERS = 2**22


class OwnVariances(NamedTuple):
    """Variances of residuals of rows, relative to sigma^2 and by unit of weight.

    Attributes
    ----------
    whole, shared : ndarray
        Of the residual, and of what rows at one place share of it, (n,).
    whole_slope, shared_slope : ndarray
        Their derivatives by psi, (n, n_psi).
    whole_curve, shared_curve : ndarray
        Their second derivatives by natural parameters, weighted, (n,).
    """

    whole: np.ndarray
    shared: np.ndarray
    whole_slope: np.ndarray
    shared_slope: np.ndarray
    whole_curve: np.ndarray
    shared_curve: np.ndarray


def own_variances(
    bound: BoundResidual,
    psi: np.ndarray,
    places: NewPlaces,
    weight: np.ndarray | None = None,
) -> OwnVariances:
    """Variances of the residuals of rows.

    Parameters
    ----------
    bound : BoundResidual
        The structure.
    psi : ndarray
        Its parameters.
    places : NewPlaces
        Where the rows stand.
    weight : ndarray, optional
        W of the natural parameters, for the second derivatives.
    """
    n, n_psi = len(places), len(psi)
    out = OwnVariances(*np.zeros((2, n)), *np.zeros((2, n, n_psi)), *np.zeros((2, n)))
    # two rows at one place: what they share is off the diagonal
    by_distance = bound.correlation is not None and not bound.correlation.over_visits
    width = 2 if by_distance else 1
    step = max(1, MOST_NUMBERS // (max(n_psi, 1) * width**2))
    for curve in residual_curves(bound):
        here = np.flatnonzero(places.level == curve.number)
        for start in range(0, len(here), step):
            at = here[start : start + step]
            own, free = _alone(bound, places.take(at), width), psi[curve.at]
            matrix = curve.matrix(free, own)
            tangent = curve.tangent(free, own)
            for number, column in ((0, 0), (1, width - 1)):
                out[number][at] = matrix[:, 0, column]
                out[2 + number][np.ix_(at, curve.at)] = tangent[:, :, 0, column].T
            if weight is not None:
                part = weight[np.ix_(curve.natural_at, curve.natural_at)]
                bent = curve.curve(free, 1.0, own, part)
                out.whole_curve[at], out.shared_curve[at] = bent[:, 0, 0], bent[:, 0, -1]
    return out


def _alone(bound, places, width):
    """Rows as groups of their own, each ``width`` times."""
    n = len(places)
    place = np.zeros((n, width, width)) if width > 1 else np.zeros((n, 1), np.intp)
    if width == 1 and places.visits is not None:
        place = places.visits[:, None]
    strata = [
        np.zeros((n, width), np.intp) if z is None else np.tile(z[:, None], width)
        for z in places.strata
    ]
    covariates = [
        None if v is None else np.tile(v[:, None], width) for v in places.covariates
    ]
    return Places(place, strata, covariates)
