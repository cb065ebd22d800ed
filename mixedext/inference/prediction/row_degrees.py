"""Degrees of freedom of predictions, a number for every row."""

from __future__ import annotations

import numpy as np

from mixedext.algebra.inverses import generalized_inverse
from mixedext.engine.fit import Fit
from mixedext.engine.information.boundary import free_directions
from mixedext.engine.information.expected import variance_information
from mixedext.inference.fixed_effects.df_methods import FixedTests

__all__ = ["curved_part", "free_spread", "satterthwaite_df"]


def free_spread(fit: Fit, tests: FixedTests) -> np.ndarray | None:
    """Covariance of the variance parameters by a method, what is at the boundary held.

    Kenward and Roger's for fixed effects lets a variance of zero move as any other.  The
    error of a random effect is linear in its variance there, and has no degrees of freedom
    left where that is as uncertain as it is large.
    """
    spread = tests.variance_covariance
    if spread is None or not (tests.adjusts and fit.is_singular):
        return spread
    directions = free_directions(fit).directions
    expected = variance_information(fit).expected
    inverse, _ = generalized_inverse(directions.T @ expected @ directions)
    return directions @ inverse @ directions.T


def curved_part(method: str | None) -> str:
    """Of what a method takes off second derivatives: "", "coefficients" or "all"."""
    return {"kenward-roger": "coefficients", "kenward-roger-2009": "all"}.get(
        method or "", ""
    )


def satterthwaite_df(
    variance: np.ndarray,
    slope: np.ndarray | None,
    spread: np.ndarray | None,
    tests: FixedTests,
    n: int,
) -> np.ndarray:
    """Satterthwaite's degrees of freedom of every row; the method's own without slopes."""
    if spread is None or slope is None:
        return np.broadcast_to(tests.df(np.zeros((1, len(tests.root)))), n)
    square = np.einsum("nr,nr->n", slope @ spread, slope)
    out = np.full(n, np.inf)
    return np.divide(2 * variance**2, square, out=out, where=square > 0)
