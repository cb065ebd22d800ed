"""Satterthwaite's degrees of freedom from analytic derivatives."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.algebra.inverses import generalized_inverse, inverse_if_definite
from mixedext.engine.fit import Fit
from mixedext.engine.information.boundary import free_directions
from mixedext.engine.information.expected import variance_information
from mixedext.exceptions import InformationWarning, user_stacklevel
from mixedext.inference.fixed_effects.df_methods import FixedTests
from mixedext.limits import EQUAL_DF, IDENTIFIED

__all__ = [
    "ObservedSpread",
    "Satterthwaite",
    "joint_degrees",
    "observed_spread",
    "single_degrees",
]


@dataclass(frozen=True, eq=False)
class ObservedSpread:
    """Covariance of the variance parameters by the observed information.

    Attributes
    ----------
    spread : ndarray
        In the directions of ``VarianceInformation``, zero in those held, (r, r).
    held : tuple of str
        What is held on the boundary.
    information : {"observed", "expected"}
        What was inverted: the expected information where the observed one is not positive
        definite.
    """

    spread: np.ndarray
    held: tuple[str, ...]
    information: str


class Satterthwaite(FixedTests):
    """Tests with Satterthwaite's degrees of freedom, after REML or ML.

    nu = 2 (c'Phi c)^2 / Var(c'Phi c), the variance by the delta method with the inverse
    of the observed information 2 AI - E.  On the boundary of the parameters (a variance of
    zero, a correlation of +-1) only what is free moves; ``held`` names the rest.

    Parameters
    ----------
    fit : Fit
        A fitted model.

    Attributes
    ----------
    held : tuple of str
        What is held on the boundary.
    information : {"observed", "expected"}
        The information that was inverted: the expected one where the observed is not
        positive definite.

    References
    ----------
    Fai, A. H.-T. and Cornelius, P. L. (1996). Approximate F-tests of multiple degree of
    freedom hypotheses in generalized least squares analyses of unbalanced split-plot
    experiments. Journal of Statistical Computation and Simulation 54, 363-378.

    Kuznetsova, A., Brockhoff, P. B. and Christensen, R. H. B. (2017). lmerTest package:
    tests in linear mixed effects models. Journal of Statistical Software 82(13).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> Satterthwaite(result.fitted.fit).df([[0, 1]]).round(6)
    array([17.])
    """

    variance_covariance: np.ndarray

    def __init__(self, fit: Fit):
        super().__init__(fit)
        found = observed_spread(fit)
        self.held, self.information = found.held, found.information
        self.replaced = found.information != "observed"
        self.variance_covariance = found.spread
        self._first = variance_information(fit).on_fixed

    def df(self, rows: Any) -> np.ndarray:
        rows = np.atleast_2d(np.asarray(rows, float)) @ self.root
        return single_degrees(rows, self._first, self.variance_covariance)

    def joint_df(self, rows: np.ndarray) -> float:
        if len(rows) == 1:
            return float(self.df(rows)[0])
        vector, _, _ = np.linalg.svd(rows @ self.root)
        return joint_degrees(self.df(vector.T @ rows))


def observed_spread(fit: Fit) -> ObservedSpread:
    """Invert the observed information 2 AI - E along what is free to move.

    Parameters
    ----------
    fit : Fit
        A fitted model.

    Warns
    -----
    InformationWarning
        If it is not positive definite, and the expected one is inverted instead.
    """
    info, free = variance_information(fit), free_directions(fit)
    told = _are_told(info.expected, free.directions)
    d, used = free.directions[:, told], "observed"
    observed = d.T @ info.observed @ d + free.bend[np.ix_(told, told)]
    inverse = inverse_if_definite(observed)
    known = bool(np.isfinite(observed).all())
    if inverse is None and fit.convergence.is_flat and known:
        # what the data leave open does not change the covariance of the coefficients
        scaled, _ = unit_diagonal(observed)
        if np.linalg.eigvalsh(scaled)[0] >= -IDENTIFIED:
            inverse, _ = generalized_inverse(observed)
    if inverse is None:
        warnings.warn(
            "the observed information of the variance parameters is not positive "
            "definite; degrees of freedom use the expected information instead",
            InformationWarning,
            stacklevel=user_stacklevel(),
        )
        used = "expected"
        inverse, _ = generalized_inverse(d.T @ info.expected @ d)
    return ObservedSpread(d @ inverse @ d.T, free.held, used)


def _are_told(information, directions):
    """Directions of which the information is more than the rounding of what cancels, (c,).

    Of the others, as where a term has a column twice, the covariance does not change.
    """
    known = ((information @ directions) * directions).sum(axis=0)
    parts = np.abs(directions)
    whole = ((np.abs(information) @ parts) * parts).sum(axis=0)
    return ~(known <= IDENTIFIED * whole)


def single_degrees(rows: np.ndarray, first: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Degrees of freedom 2 (c'Phi c)^2 / Var(c'Phi c) of each combination c.

    Parameters
    ----------
    rows : ndarray
        Combinations in coordinates in which Phi is the identity, (m, rank).
    first : ndarray
        Derivatives of Phi there by the variance parameters, (r, rank, rank).
    spread : ndarray
        Covariance of the variance parameters, (r, r).

    Returns
    -------
    ndarray
        (m,); NaN for a combination that is zero, infinite for one whose variance is known.
    """
    size = np.abs(rows).max(axis=1, initial=0.0)  # of which the result is independent
    rows = rows / np.where(size > 0, size, 1.0)[:, None]
    length = (rows**2).sum(axis=1)
    slope = np.einsum("rlj,lj->lr", rows @ first, rows)
    square = ((slope @ spread) * slope).sum(axis=1)
    out = np.full(len(rows), np.nan)
    with np.errstate(divide="ignore"):
        return np.divide(2 * length**2, square, out=out, where=length > 0)


def joint_degrees(degrees: np.ndarray) -> float:
    """Denominator degrees of freedom of a sum of squares of independent t statistics.

    Fai and Cornelius (1996): with E = sum nu / (nu - 2), the mean of q F, they are
    2 E / (E - q); 2 where some statistic has no variance (nu <= 2), as in lmerTest.

    Parameters
    ----------
    degrees : ndarray
        Of each t statistic.
    """
    if (np.abs(np.diff(degrees)) < EQUAL_DF).all():
        return float(degrees.mean())
    if (degrees <= 2).any():
        return 2.0
    mean = (degrees / (degrees - 2)).sum()
    return float(2 * mean / (mean - len(degrees)))
