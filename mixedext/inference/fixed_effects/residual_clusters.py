"""Clusters of a robust covariance beside a residual covariance.

Where clusters hold whole residual groups and levels of random terms, rows are whitened by
the lower Cholesky factor of V of each set of rows that these connect: in whitened rows the
model is that of independent residuals, and no random effect is left.  Clusters across such
sets have V^-1 X in the place of X, and the rows as they are: of a sum of scores

    h_g = (V^-1 X)_g'r_g

no more is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mixedext.engine.fit import Fit
from mixedext.engine.residual.whitening import marginally_solved, marginally_whitened
from mixedext.inference.submodels.level_nesting import is_nested, term_is_nested

__all__ = ["groups_are_nested", "independent_rows_of", "terms_are_nested"]


def groups_are_nested(fit: Fit, codes: np.ndarray) -> bool:
    """Whether rows that the residual covariance correlates are of one cluster."""
    assert fit.residual is not None
    bound = fit.residual.bound
    return bound.correlation is None or is_nested(bound.group_codes, codes)


def terms_are_nested(fit: Fit, ways: Sequence[np.ndarray], terms: Sequence[Any]) -> bool:
    """Whether levels of all random terms with a variance lie within clusters."""
    return all(
        term_is_nested(term, codes)
        for codes in ways
        for term, lam in zip(terms, fit.lams, strict=True)
        if lam.any()
    )


def independent_rows_of(
    fit: Fit, ways: Sequence[np.ndarray], x: np.ndarray, residual: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Columns and residuals whose products, summed over a cluster, are its scores.

    Parameters
    ----------
    fit : Fit
        With a residual covariance.
    ways : sequence of ndarray
        Clusters of the rows, (n,) each.
    x : ndarray
        Columns of the fixed effects that were kept, (n, p).
    residual : ndarray
        Response less fixed effects, (n,).

    Returns
    -------
    x : ndarray
        Whitened; V0^-1 X where clusters hold parts of what the model correlates, (n, p).
    residual : ndarray
        Whitened likewise, or as it is, (n,).
    """
    estimate = fit.residual
    assert estimate is not None
    assert estimate.rows is not None
    whole = all(groups_are_nested(fit, codes) for codes in ways)
    if whole and terms_are_nested(fit, ways, estimate.rows.terms):
        both = marginally_whitened(estimate, np.column_stack([x, residual]))
        return both[:, :-1], both[:, -1]
    return marginally_solved(estimate, np.asarray(x, float)), residual
