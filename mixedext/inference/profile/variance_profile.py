"""Profile of the likelihood over one variance of the random effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from statsmodels.tools.validation import string_like

from mixedext.arguments import did_you_mean
from mixedext.engine.constrained.maximum import maximize
from mixedext.engine.constrained.objective import Objective, Penalties
from mixedext.engine.deviance.given_covariances import Likelihood, Point
from mixedext.fitted import HasFitted
from mixedext.specification.terms.packing import ParameterLayout
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["profile_variance"]


def profile_variance(
    results: HasFitted,
    re_ix: Any,
    vtype: str,
    num_low: int,
    dist_low: float,
    num_high: int,
    dist_high: float,
    max_iterations: int | None = None,
) -> np.ndarray:
    """Log-likelihood maximized over all else on a grid of one variance.

    Parameters
    ----------
    results : HasFitted
        The fit whose variance the grid is laid around.
    re_ix : int or str
        Number of the random effect in cov_re, or name of the component.
    vtype : {"re", "vc"}
        Which of the two.
    num_low, num_high : int
        Points below and above the estimate.
    dist_low, dist_high : float
        Distance of the furthest of them.
    max_iterations : int, optional
        Newton steps at each point.

    Returns
    -------
    ndarray
        Variance, in the units of the data at the residual variance of that point, and
        log-likelihood; (num_low + 1 + num_high, 2).

    Raises
    ------
    ValueError
        If an argument is not known, or the grid would reach zero.
    """
    vtype = string_like(vtype, "vtype", options=("re", "vc"), lower=False)
    fitted = results.fitted
    model, fit, arguments = fitted.model, fitted.fit, fitted.arguments
    layout, terms, kept = model.layout, fit.design.terms, fitted.fixed.kept
    scale = fit.scale
    cov_re = layout.cov_re([lam @ lam.T for lam in fit.lams])
    vcomp = layout.vcomp(terms, fit.covariances) / scale
    packed = layout.pack_parts(terms, cov_re, vcomp)
    order = np.arange(layout.n_packed)
    if vtype == "re":
        if not -model.k_re <= re_ix < model.k_re:
            raise ValueError(f"re_ix={re_ix!r}: cov_re has {model.k_re} rows")
        order, number = _first_in_block(layout, terms, re_ix % model.k_re)
    else:
        if re_ix not in layout.component_names:
            raise ValueError(
                f"re_ix={re_ix!r} is not a variance component; there are: "
                f"{', '.join(layout.component_names) or 'none'}"
                f"{did_you_mean(re_ix, layout.component_names)}"
            )
        number = layout.n_covariances + layout.component_names.index(re_ix)
    middle = packed[order[number]]
    low, high = middle - dist_low / scale, middle + dist_high / scale
    if num_low > 0 and low <= 0:
        raise ValueError(
            "dist_low is too large and would result in a negative variance. "
            "Try a smaller value."
        )
    free_fixed = np.ones(len(kept), bool)
    free_packed = np.ones(layout.n_packed, bool)
    pattern = arguments.free
    if pattern is not None:
        free_fixed = np.asarray(pattern.fe_params)[kept] == 1
        whole = layout.pack_parts(terms, pattern.cov_re, pattern.vcomp)
        free_packed = (whole == 1)[order]
    free_packed[number] = False
    objective = Objective(
        Likelihood(fit.design, fitted.reml),
        layout,
        True,
        model.k_fe,
        free_fixed,
        free_packed,
        Penalties(arguments.fe_pen, arguments.cov_pen),
        order,
    )
    fixed = fitted.fixed.coefficients
    left = np.linspace(low, middle, num_low + 1) if num_low else np.array([middle])
    right = np.linspace(middle, high, num_high + 1)[1:]
    below = _along(objective, fixed, packed, number, left[::-1], max_iterations)
    above = _along(objective, fixed, packed, number, right, max_iterations)
    return np.array(below[::-1] + above)


def _first_in_block(
    layout: ParameterLayout, terms: Sequence[RandomTerm | SparseTerm], row: int
) -> tuple[np.ndarray, int]:
    """Order of the packed elements with one row of cov_re first in its term."""
    k_re, start = len(layout.re_names), 0
    rows = np.arange(k_re)
    for i in layout.correlated:
        stop = start + terms[i].structure.k
        if start <= row < stop:
            rows[start], rows[row] = row, start
            break
        start = stop
    a, b = layout.triangle(terms)
    place = {pair: j for j, pair in enumerate(zip(a.tolist(), b.tolist(), strict=True))}
    moved = [
        place[max(rows[i], rows[j]), min(rows[i], rows[j])]
        for i, j in zip(a, b, strict=True)
    ]
    order = np.array(moved + list(range(len(moved), layout.n_packed)), np.intp)
    return order, place[start, start]


def _along(
    objective: Objective,
    fixed: np.ndarray,
    packed: np.ndarray,
    number: int,
    values: np.ndarray,
    max_iterations: int | None,
) -> list[list[float]]:
    """Maxima along the values, each from the one before."""
    layout, terms = objective.layout, objective.terms
    out = []
    for value in values:
        root = layout.square_root(terms, packed[objective.order])
        root[number] = np.sqrt(value)
        packed = packed.copy()
        packed[objective.order] = layout.square(terms, root)
        found = maximize(objective, fixed, packed, max_iterations)
        fixed, packed = found.fixed, found.packed
        out.append([value * cast(Point, found.state.point).scale(found.fixed), found.value])
    return out
