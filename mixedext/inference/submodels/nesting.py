"""Whether models are on the same data, and whether one is a special case of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mixedext.exceptions import BoundaryWarning, DesignError, NestingWarning
from mixedext.fitted import Fitted, HasFitted, Model, has_rows, need_rows
from mixedext.inference.submodels.covariance_nesting import (
    covariance_is_nested,
    differ_in_structure,
)
from mixedext.inference.submodels.residual_nesting import on_boundary, residual_is_nested
from mixedext.inference.submodels.row_basis import RowBasis
from mixedext.limits import SAME_WEIGHTS

__all__ = [
    "check_same_data",
    "check_same_rows",
    "doubts",
    "fixed_is_nested",
    "has_boundary",
    "n_params",
    "restriction",
    "row_basis",
    "same_fixed_space",
]

_CONSERVATIVE = (
    "variances that only the larger model has are zero, on the boundary, under the "
    "hypothesis: the chi-squared p-value is too large (conservative)"
)


_RESIDUAL_CONSERVATIVE = (
    "several parameters of the residual covariance are on the boundary under the "
    "hypothesis: the chi-squared p-value is too large (conservative)"
)
_MIXTURE = (
    "one parameter of the residual covariance is on the boundary under the hypothesis: "
    "the p-value is by the mixture of chi-squared laws in equal parts"
)


def check_same_data(fits: Sequence[Fitted], names: Sequence[str] | None = None) -> None:
    """Raise ValueError unless all fits have the response, rows and weights of the first."""
    names = names or [f"model {number}" for number in range(1, len(fits) + 1)]
    for name, fit in zip(names[1:], fits[1:], strict=True):
        check_same_rows(fit.model, fits[0].model, name, names[0])


def check_same_rows(model: Any, first: Model, name: str, first_name: str) -> None:
    """Raise ValueError unless two models have the same response, rows and weights.

    Parameters
    ----------
    model : MixedLM, OLS or WLS
        One of the models.
    first : MixedLM
        The other.
    name, first_name : str
        What they are called.
    """
    there = f"{name} and {first_name} are not on the same data:"
    n, m = int(model.nobs) if hasattr(model, "nobs") else len(model.endog), first.nobs
    if n != m:
        raise ValueError(
            f"{there} {n} and {m} rows (rows with missing values may have been left out "
            "of one). Fit both on the rows that are complete for both"
        )
    if model.endog is None or first.endog is None:
        if model.endog_names != first.endog_names:
            raise ValueError(
                f"{there} the responses are {model.endog_names!r} and {first.endog_names!r}"
            )
        return
    one, other = (np.ravel(np.asarray(m.data.endog, float)) for m in (model, first))
    different = int((one != other).sum())
    if different:
        raise ValueError(f"{there} the responses differ in {different} of {n} rows")
    own, their = (
        np.ones(n) if w is None else np.asarray(w, float)
        for w in map(_weights, (model, first))
    )
    if not np.allclose(own, their, rtol=SAME_WEIGHTS, atol=0.0):
        raise ValueError(f"{there} their weights differ")


def _weights(model):
    weights = getattr(model, "weights", None)
    return weights if weights is not None and np.ndim(weights) else None


def n_params(results: HasFitted) -> int:
    """Estimated parameters: fixed effects, theta and sigma; what is held is none.

    Of a residual covariance those that were estimated, too.
    """
    fitted = results.fitted
    if fitted.generalized is not None:
        own = fitted.fixed.rank + len(fitted.fit.theta)
        return own + fitted.generalized.n_dispersions
    free, residual = fitted.arguments.free, fitted.fit.residual
    if free is None:
        of_residual = 0 if residual is None else residual.n_estimated
        return fitted.fixed.rank + len(fitted.fit.theta) + of_residual + 1
    fixed = np.asarray(free.fe_params)[fitted.fixed.kept].sum()
    packed = fitted.model.layout.pack_parts(fitted.random.terms, free.cov_re, free.vcomp)
    return int(fixed + packed.sum()) + 1


def same_fixed_space(one: HasFitted, other: HasFitted) -> bool:
    """Whether the fixed effects of two fits span the same space."""
    fits = one.fitted, other.fitted
    if fits[0].fixed.rank != fits[1].fixed.rank:
        return False
    if not all(has_rows(f.model) for f in fits):
        return set(fits[0].fixed.names) == set(fits[1].fixed.names)
    return fixed_is_nested(*fits)


def fixed_is_nested(small: HasFitted, large: HasFitted) -> bool:
    """Whether the fixed effects of a fit, and its offset, lie in the larger one's span."""
    inner, outer = small.fitted, large.fitted
    basis = row_basis(outer)
    if not basis.spans(inner.need_rows().exog[:, inner.fixed.kept]).all():
        return False
    shift = _shift(inner.model, outer.model)
    return shift is None or not shift.any() or bool(basis.spans(shift[:, None]).all())


def row_basis(fitted: Fitted) -> RowBasis:
    """The basis of a fit's fixed effects on its rows.

    Raises
    ------
    ValueError
        If the rows are not in memory.
    """
    return RowBasis(fitted.need_rows().exog, fitted.fit.design.basis)


def _shift(small, large):
    """Offset of the smaller model less that of the larger; None if both have none."""
    offsets = [getattr(m, "offset", None) for m in (small, large)]
    if offsets[0] is None and offsets[1] is None:
        return None
    one, other = (0.0 if o is None else np.asarray(o, float) for o in offsets)
    return np.broadcast_to(one - other, (large.nobs,)).astype(float)


def doubts(
    small: HasFitted, large: HasFitted
) -> Iterator[tuple[str, type[Warning] | None]]:
    """What is to be said of a likelihood-ratio test: notes and their classes of warning."""
    inner, outer = small.fitted.rows, large.fitted.rows
    if inner is None or outer is None:
        yield "whether the models are nested is not known without the rows", None
    else:
        if not fixed_is_nested(small, large):
            yield "not nested: the fixed effects are no special case", NestingWarning
        if not covariance_is_nested(inner.terms, outer.terms, outer.weights):
            yield "not nested: the random effects are no special case", NestingWarning
    nested = residual_is_nested(_bound(small), _bound(large))
    if nested is False:
        yield "not nested: the residual covariance is no special case", NestingWarning
    elif nested is None:
        yield "whether the residual covariances are nested is not known", None
    if len(large.fitted.fit.theta) > len(small.fitted.fit.theta):
        if inner and outer and differ_in_structure(inner.terms, outer.terms):
            return
        yield _CONSERVATIVE, BoundaryWarning
    elif has_boundary(small, large):
        yield _MIXTURE, None
    elif on_boundary(_bound(small), _bound(large)):
        yield _RESIDUAL_CONSERVATIVE, BoundaryWarning


def has_boundary(small: HasFitted, large: HasFitted) -> bool:
    """Whether one parameter, of the residual covariance, stands on the boundary."""
    theta = len(large.fitted.fit.theta) - len(small.fitted.fit.theta)
    return theta == 0 and on_boundary(_bound(small), _bound(large)) == 1


def _bound(results):
    residual = results.fitted.fit.residual
    return None if residual is None else residual.bound


def restriction(
    results: HasFitted, restricted: Any
) -> tuple[np.ndarray, np.ndarray | float]:
    """Rows over the coefficients kept, and values, that make a model the smaller one.

    Parameters
    ----------
    results : HasFitted
        The larger model's fit.
    restricted : object
        The smaller model, fitted or not, also of statsmodels; or a matrix.
    """
    fitted = results.fitted
    if not hasattr(restricted, "model") and not hasattr(restricted, "exog"):
        return _matrix_rows(fitted, restricted), 0.0
    model, small = fitted.model, getattr(restricted, "model", restricted)
    check_same_rows(small, model, "restricted", "this model")
    basis = row_basis(fitted)
    if hasattr(small, "random_terms"):  # a mixed model
        need_rows(small)
    shift = _shift(small, model)
    exog = np.asarray(small.exog, float).reshape(fitted.nobs, -1)
    rows, values = basis.restriction(exog, shift)
    if not len(rows):
        raise DesignError(
            "restricted has all the fixed effects of this model: there is nothing to test"
        )
    return rows, values


def _matrix_rows(fitted, matrix):
    fixed = fitted.fixed
    rows = np.atleast_2d(np.asarray(matrix, float))
    if rows.ndim != 2 or rows.shape[1] != len(fixed.names):
        raise ValueError(
            f"restricted has shape {rows.shape}; a matrix of restrictions has a column "
            f"for each of the {len(fixed.names)} fixed effects"
        )
    used = np.flatnonzero(fixed.dropped & (rows != 0).any(axis=0))
    if len(used):
        names = ", ".join(fixed.names[j] for j in used)
        raise DesignError(
            f"restricted is not estimable: {names} depend on other columns of exog"
        )
    return rows[:, fixed.kept]
