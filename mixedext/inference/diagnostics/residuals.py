"""Residuals of the rows: conditional and marginal, raw and scaled.

    conditional r = y - X b - Z u = W^-1 P0 y,    marginal e = y - X b.

Pearson: by the root of 1/w, and of diag V.  Studentized: by that of what is left of them
beside the fit, (1 - h)/w and diag(V - X Phi X').  Deleted: with sigma of the fit without
the row.  Cholesky, or normalized: L^-1 e, V = L L'; of conditional residuals the factor of
their own law R given the effects, which without a residual covariance is diagonal: then
they are Pearson's.

With a residual covariance R = sigma^2 W^-1/2 Lambda W^-1/2, Lambda = L_e L_e', Pearson's
standard deviation is that of the row, and rows multiplied by L_e^-1 W^1/2 are those of a
model with independent errors, in order of group and of visit.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components

from mixedext.arguments import check_choice
from mixedext.engine.information.joint_errors import joint_errors
from mixedext.engine.residual.roots import block_rows
from mixedext.exceptions import NotEstimableWarning, user_stacklevel
from mixedext.fitted import Fitted, HasFitted, once_a_fit
from mixedext.inference.diagnostics.held_deletions import marginal_residual, row_deletions
from mixedext.inference.prediction.predictions import fittedvalues
from mixedext.kernels.rows import deletion
from mixedext.limits import NOT_LEFT
from mixedext.specification.covariance.bound_residual import refuse_residual
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = [
    "need_own_law",
    "resid",
    "resid_normalized",
    "resid_pearson",
    "residual_quantiles",
    "residuals",
    "wresid",
]

KINDS = ("conditional", "marginal")
SCALES = ("raw", "pearson", "studentized", "deleted", "cholesky", "normalized")
# Columns of Z that rows share, directly or by others, up to which V is whitened: the work
# grows with their square for each row.
MOST_SHARED = 3000


def resid(results: HasFitted) -> np.ndarray:
    """Response less fitted values."""
    return results.fitted.need_rows().endog - fittedvalues(results)


def wresid(results: HasFitted) -> np.ndarray:
    """Residuals times the square root of the weights: lme4's Pearson residuals.

    With a residual covariance divided by the row's standard deviation over sigma.
    """
    fitted, residual = results.fitted, resid(results)
    weights = fitted.need_rows().weights
    if fitted.fit.residual is not None:
        return residual / fitted.fit.residual.deviations(weights)
    return residual if weights is None else np.sqrt(weights) * residual


def resid_pearson(results: HasFitted) -> np.ndarray:
    """Scaled residuals: those of the rows divided by their standard deviations."""
    return wresid(results) / results.fitted.sigma


def resid_normalized(results: HasFitted) -> np.ndarray:
    """Conditional residuals, made uncorrelated with variance one under the model.

    Those of a residual group, in order of visit or time, times the inverse of the lower
    Cholesky factor of their covariance; nlme's normalized residuals but for
    ``corCompSymm``, of which nlme takes another root.  Without a residual covariance they
    are ``resid_pearson``.
    """
    fitted = results.fitted
    if fitted.fit.residual is None:
        return resid_pearson(fitted)
    weights = fitted.need_rows().weights
    return fitted.fit.residual.whitened(resid(fitted), weights) / fitted.sigma


@once_a_fit
def residual_quantiles(fitted: Fitted) -> np.ndarray:
    """Least, quartiles and greatest of the scaled residuals, (5,)."""
    return np.quantile(resid_pearson(fitted), [0, 0.25, 0.5, 0.75, 1])


def residuals(
    results: HasFitted, kind: str = "conditional", scale: str = "raw"
) -> pd.Series:
    """Residuals of the rows of the fit.

    Parameters
    ----------
    kind : {"conditional", "marginal"}, optional
        Response less fixed and random effects, or less the fixed effects alone.
    scale : {"raw", "pearson", "studentized", "deleted", "cholesky", "normalized"}, optional
        "pearson" divides by standard deviations of the law that the model states;
        "studentized" by those of the residuals themselves, smaller by what the estimates
        take; "deleted" also takes sigma of the fit without the row (theta held).
        "cholesky" makes residuals uncorrelated, each given the rows before it: marginal
        ones by the covariance of the response, conditional ones by that of the errors,
        without a residual covariance Pearson's.  "normalized", nlme's word, is the same.

    Returns
    -------
    Series
        (n,), with the labels of the rows.

    Raises
    ------
    ValueError
        If ``kind`` or ``scale`` is not known, the rows are in chunks or were removed, a fit
        with parameters held or penalized is to be studentized, or more than 3,000 random
        effects of crossed factors stand between the rows and "cholesky".
    NotImplementedError
        If residuals of a model with a residual structure are to be studentized.

    Warns
    -----
    NotEstimableWarning
        If rows determine a coefficient, or a random effect, alone: NaN in what is
        studentized.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.residuals().head(2).round(2).tolist()
    [-4.1, -14.63]
    >>> result.residuals("marginal", "cholesky").head(2).round(3).tolist()
    [-0.052, -0.071]
    """
    check_choice(kind, "kind", KINDS)
    check_choice(scale, "scale", SCALES)
    fitted = results.fitted
    labels = fitted.need_rows().labels
    if scale in ("studentized", "deleted"):
        refuse_residual(fitted.model, f"scale={scale!r}", "use scale='normalized'")
    of = _conditional if kind == "conditional" else _marginal
    values = of(fitted, scale)
    return pd.Series(values, index=labels, name=f"{kind}_{scale}")


def need_own_law(fitted: Fitted, what: str) -> None:
    """Refuse fits of which parameters were held or penalized.

    Raises
    ------
    ValueError
        If they were; names ``what`` was asked for.
    """
    if fitted.fit.held is not None:
        raise ValueError(
            f"{what} rests on generalized least squares, but parameters of this fit were "
            "held or penalized; fit without start_params, free and penalties"
        )


def _conditional(fitted, scale):
    residual = resid(fitted)
    if scale == "raw":
        return residual
    if scale == "pearson":
        return resid_pearson(fitted)
    if scale in ("cholesky", "normalized"):
        return resid_normalized(fitted)
    need_own_law(fitted, f"scale={scale!r}")
    found = row_deletions(fitted)
    left = 1.0 - found.whole
    if found.weight is not None:
        left /= found.weight
    sigma = fitted.sigma if scale == "studentized" else np.sqrt(found.scale)
    return _studentized(residual, left, sigma, found.whole)


def _studentized(residual, left, sigma, leverage):
    """Residuals by sigma times the root of what is left; told where that is nothing."""
    none = (1.0 - leverage <= NOT_LEFT) | np.isnan(sigma)
    if none.any():
        rows = ", ".join(map(str, np.flatnonzero(none)[:5]))
        rows += ", ..." if none.sum() > 5 else ""
        warnings.warn(
            f"residuals of {int(none.sum())} rows (numbers {rows}, from 0) are NaN: each "
            "determines a coefficient or an effect alone and is fitted exactly, or without "
            "it no degrees of freedom are left",
            NotEstimableWarning,
            stacklevel=user_stacklevel(),
        )
    return residual / (sigma * np.sqrt(np.where(none, np.nan, left)))


def _marginal(fitted, scale):
    residual = marginal_residual(fitted)
    if scale == "raw":
        return residual
    if scale in ("cholesky", "normalized"):
        return _whitened(fitted, residual)
    variance = _marginal_variance(fitted)
    if scale == "pearson":
        return residual / (fitted.sigma * np.sqrt(variance))
    need_own_law(fitted, f"scale={scale!r}")
    x = fitted.need_rows().exog[:, fitted.fixed.kept] @ joint_errors(fitted.fit).root
    leverage = np.einsum("np,np->n", x, x) / variance
    sigma = fitted.sigma
    if scale == "deleted":
        sigma = np.sqrt(row_deletions(fitted).scale)
    return _studentized(residual, variance * (1.0 - leverage), sigma, leverage)


def _roots(fitted):
    """Relative covariance factor of every term."""
    fit = fitted.fit
    if fit.held is None or fit.held.covariances is None:
        return fit.lams
    roots = []
    for covariance in fit.held.covariances:
        values, vectors = linalg.eigh(covariance / fit.scale)
        roots.append(vectors * np.sqrt(np.maximum(values, 0.0)))
    return roots


def _marginal_variance(fitted):
    """Diagonal of V0, (n,)."""
    rows = fitted.need_rows()
    out = np.ones(len(rows.endog)) if rows.weights is None else 1.0 / rows.weights
    if fitted.fit.residual is not None:
        out = fitted.fit.residual.deviations(rows.weights) ** 2
    for term, root in zip(rows.terms, _roots(fitted), strict=True):
        if isinstance(term, RandomTerm):
            out += np.einsum("nk,nk->n", term.z @ root, term.z @ root)
        else:
            out += root[0, 0] ** 2 * np.asarray(term.matrix.multiply(term.matrix).sum(1))
    return out


def _relative_rows(rows, roots, n):
    """Z Lam, (n, q) sparse."""
    parts = []
    for term, root in zip(rows.terms, roots, strict=True):
        if not isinstance(term, RandomTerm):
            parts.append(sparse.csr_array(term.matrix * root[0, 0]))
            continue
        k = term.k
        column = term.codes[:, None].astype(np.intp) * k + np.arange(k)
        parts.append(
            sparse.csr_array(
                ((term.z @ root).ravel(), column.ravel(), np.arange(n + 1) * k),
                shape=(n, term.n_levels * k),
            )
        )
    return parts[0] if len(parts) == 1 else sparse.csr_array(sparse.hstack(parts))


def _whitened(fitted, residual):
    """L^-1 e / sigma, V0 = L L', rows in their order, (n,)."""
    rows = fitted.need_rows()
    n, place = len(residual), None
    weights = np.zeros(0) if rows.weights is None else rows.weights
    errors = fitted.fit.residual
    if errors is not None:
        residual = errors.whitened(residual, rows.weights)
    if not rows.terms:
        own = np.sqrt(weights) if len(weights) and errors is None else 1.0
        return residual * own / fitted.sigma
    z = _relative_rows(rows, _roots(fitted), n)
    if errors is not None:
        if len(weights):
            z = sparse.diags_array(np.sqrt(weights)) @ z
        z = sparse.csr_array(block_rows(errors.bound, errors.inverse_roots()) @ z)
        weights = np.zeros(0)
        place = _place_in_groups(errors.bound)
    order, starts, sizes, number = _components(rows, z, place)
    if sizes.max(initial=0) > MOST_SHARED:
        raise ValueError(
            f"scale='cholesky': crossed factors tie {sizes.max()} random effects together, "
            f"and each row costs the square of that; up to {MOST_SHARED} are supported. "
            "Use scale='studentized', or kind='conditional', whose residuals are "
            "independent given the effects"
        )
    out = np.array(residual)
    deletion.whiten(
        order,
        starts,
        sizes,
        z.indptr.astype(np.intp),
        number[z.indices],
        z.data,
        weights,
        out,
    )
    return out / fitted.sigma


def _place_in_groups(bound):
    """Where each row stands when rows are sorted by residual group and visit, (n,)."""
    group, position = np.empty((2, bound.n_obs), np.intp)
    for batch in bound.batches:
        group[batch.rows] = batch.group[:, None]
        position[batch.rows] = np.arange(batch.size)
    place = np.empty(bound.n_obs, np.intp)
    place[np.lexsort((position, group))] = np.arange(bound.n_obs)
    return place


def _components(rows, z, place=None):
    """Rows by components of Z that share no column, and numbers of columns inside these.

    Rows of a component are in their order, or that of ``place``, where rows of several
    levels may share columns.
    """
    n, q = z.shape
    simple = len(rows.terms) == 1 and isinstance(rows.terms[0], RandomTerm)
    if simple and place is None:
        component = np.repeat(np.arange(rows.terms[0].n_levels), rows.terms[0].k)
        of_row = np.asarray(rows.terms[0].codes, np.intp)
        count = rows.terms[0].n_levels
    else:
        ones = sparse.csr_array((np.ones(z.nnz, bool), z.indices, z.indptr), shape=z.shape)
        empty = sparse.csr_array((n, n))
        graph = sparse.block_array([[empty, ones], [None, sparse.csr_array((q, q))]])
        count, label = connected_components(graph, directed=False)
        of_row, component = label[:n].astype(np.intp), label[n:].astype(np.intp)
    order = np.lexsort((np.arange(n) if place is None else place, of_row)).astype(np.intp)
    starts = np.searchsorted(of_row[order], np.arange(count + 1)).astype(np.intp)
    sizes = np.bincount(component, minlength=count).astype(np.intp)
    by = np.argsort(component, kind="stable")
    number = np.empty(q, np.intp)
    first = np.cumsum(sizes) - sizes
    number[by] = np.arange(q) - np.repeat(first, sizes)
    return order, starts, sizes, number
