"""Whether models are on the same data, and whether one is a special case of another."""

from __future__ import annotations

import numpy as np

from mixedext.exceptions import BoundaryWarning, DesignError, NestingWarning
from mixedext.fitted import HasFitted, has_rows, need_rows
from mixedext.inference.submodels.covariance_nesting import covariance_is_nested
from mixedext.inference.submodels.row_basis import RowBasis

__all__ = [
    "check_same_data",
    "check_same_rows",
    "doubts",
    "fixed_is_nested",
    "n_params",
    "restriction",
    "same_fixed_space",
]

_CONSERVATIVE = (
    "variances that only the larger model has are zero, on the boundary, under the "
    "hypothesis: the chi-squared p-value is too large (conservative)"
)


def check_same_data(fits, names=None):
    """Raise ValueError unless all fits have the response, rows and weights of the first."""
    names = names or [f"model {number}" for number in range(1, len(fits) + 1)]
    for name, fit in zip(names[1:], fits[1:], strict=True):
        check_same_rows(fit.model, fits[0].model, name, names[0])


def check_same_rows(model, first, name, first_name):
    """Raise ValueError unless two models have the same response, rows and weights."""
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
    weights = [
        np.ones(n) if w is None else np.asarray(w, float)
        for w in map(_weights, (model, first))
    ]
    if not np.allclose(*weights, rtol=1e-12, atol=0.0):
        raise ValueError(f"{there} their weights differ")


def _weights(model):
    weights = getattr(model, "weights", None)
    return weights if np.ndim(weights) else None


def n_params(results: HasFitted) -> int:
    """Estimated parameters: fixed effects, theta and sigma; what is held is none."""
    fitted = results.fitted
    free = fitted.arguments.free
    if free is None:
        return fitted.fixed.rank + len(fitted.fit.theta) + 1
    fixed = np.asarray(free.fe_params)[fitted.fixed.kept].sum()
    packed = fitted.model.layout.pack_parts(fitted.random.terms, free.cov_re, free.vcomp)
    return int(fixed + packed.sum()) + 1


def same_fixed_space(one, other):
    """Whether the fixed effects of two fits span the same space."""
    bases = [f.fitted.fit.design.basis for f in (one, other)]
    if bases[0].rank != bases[1].rank:
        return False
    if not _in_memory(one, other):
        names = [set(f.model.exog_names) for f in (one, other)]
        return names[0] == names[1]
    return fixed_is_nested(one, other)


def fixed_is_nested(small, large):
    """Whether the fixed effects of a fit, and its offset, lie in the larger one's span."""
    exog = small.model.exog[:, small.fitted.fit.design.basis.kept]
    basis = RowBasis(large.model.exog, large.fitted.fit.design.basis)
    if not basis.spans(exog).all():
        return False
    shift = _shift(small.model, large.model)
    return shift is None or not shift.any() or bool(basis.spans(shift[:, None]).all())


def _in_memory(*fits):
    return all(has_rows(f.model) for f in fits)


def _shift(small, large):
    """Offset of the smaller model less that of the larger; None if both have none."""
    offsets = [getattr(m, "offset", None) for m in (small, large)]
    if offsets[0] is None and offsets[1] is None:
        return None
    one, other = (0.0 if o is None else np.asarray(o, float) for o in offsets)
    return np.broadcast_to(one - other, (large.nobs,)).astype(float)


def doubts(small, large):
    """What is to be said of a likelihood-ratio test: notes and their classes of warning."""
    if not _in_memory(small, large):
        yield "whether the models are nested is not known without the rows", None
    else:
        if not fixed_is_nested(small, large):
            yield "not nested: the fixed effects are no special case", NestingWarning
        if not covariance_is_nested(
            small.model.random_terms, large.model.random_terms, large.model.weights
        ):
            yield "not nested: the random effects are no special case", NestingWarning
    if len(large.fitted.fit.theta) > len(small.fitted.fit.theta):
        yield _CONSERVATIVE, BoundaryWarning


def restriction(results, restricted):
    """Rows over the coefficients kept, and values, that make a model the smaller one."""
    if not hasattr(restricted, "model") and not hasattr(restricted, "exog"):
        return _matrix_rows(results, restricted), 0.0
    model, small = results.model, getattr(restricted, "model", restricted)
    check_same_rows(small, model, "restricted", "this model")
    for each in (model, small):
        if hasattr(each, "random_terms"):  # a mixed model
            need_rows(each)
    shift = _shift(small, model)
    basis = RowBasis(model.exog, results.fitted.fit.design.basis)
    exog = np.asarray(small.exog, float).reshape(len(model.endog), -1)
    rows, values = basis.restriction(exog, shift)
    if not len(rows):
        raise DesignError(
            "restricted has all the fixed effects of this model: there is nothing to test"
        )
    return rows, values


def _matrix_rows(results, matrix):
    kept = results.fitted.fit.design.basis.kept
    rows = np.atleast_2d(np.asarray(matrix, float))
    if rows.ndim != 2 or rows.shape[1] != results.k_fe:
        raise ValueError(
            f"restricted has shape {rows.shape}; a matrix of restrictions has a column "
            f"for each of the {results.k_fe} fixed effects"
        )
    dropped = np.setdiff1d(np.arange(results.k_fe), kept)
    used = dropped[(rows[:, dropped] != 0).any(axis=0)]
    if len(used):
        names = ", ".join(results.model.exog_names[j] for j in used)
        raise DesignError(
            f"restricted is not estimable: {names} depend on other columns of exog"
        )
    return rows[:, kept]
