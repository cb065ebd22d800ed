"""The matrices of a model and of a fit, as lecture notes print them.

    y = X b + Z u + e,    u ~ N(0, G),  e ~ N(0, R),    V = Z G Z' + R.

They are made when they are asked for; nothing else in the package is n x n.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mixedext.engine.residual.roots import block_rows
from mixedext.fitted import Fitted, HasFitted, Model, ModelRows, need_rows
from mixedext.limits import DENSE_MATRIX
from mixedext.reporting.labelled_matrix import LabelledMatrix, label_texts, warn_if_dense
from mixedext.specification.terms.related_terms import RelatedTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["G", "L", "R", "V", "X", "Z", "ZZt"]


# ---- of a model ----


def X(model: Model) -> pd.DataFrame:
    """Columns of the fixed effects with their names, (n, k); ``exog`` is the array.

    Raises
    ------
    ValueError
        If the rows are in chunks, or were removed.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).X.head(2)
       Intercept  Days
    0        1.0   0.0
    1        1.0   1.0
    """
    rows = need_rows(model)
    names = list(model.exog_names)
    return pd.DataFrame(rows.exog, index=_row_labels(rows), columns=names, copy=True)


def Z(model: Model) -> LabelledMatrix:
    """Columns of the random effects, (n, q): term by term, level by level.

    Returns
    -------
    LabelledMatrix
        ``columns`` are by group, level and effect.

    Raises
    ------
    ValueError
        If the rows are in chunks, or were removed; or the model has no random effects.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data.iloc[7:13]
    >>> mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).Z()
    Z: 6 x 4, 11 elements that are not 0
        Subject[308] Subject[308] Days | Subject[309] Subject[309] Days
    7              1                 7 |            .                 .
    8              1                 8 |            .                 .
    9              1                 9 |            .                 .
    -------------------------------------------------------------------
    10             .                 . |            1                 .
    11             .                 . |            1                 1
    12             .                 . |            1                 2
    """
    rows = need_rows(model)
    terms = _random_terms(rows.terms)
    lines = _column_lines(terms)
    index, names = _row_labels(rows), _effect_labels(terms)
    return LabelledMatrix("Z", _z(terms), index, names, _row_lines(terms), lines)


def ZZt(model: Model) -> LabelledMatrix:
    """Z Z', (n, n): of a random intercept, which rows share a level.

    Raises
    ------
    ValueError
        If the rows are in chunks, or were removed; or the model has no random effects.

    Warns
    -----
    DenseMatrixWarning
        If the matrix is large and not sparse.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data.iloc[3:8]
    >>> mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).ZZt()
    ZZ': 5 x 5, 13 elements that are not 0
       3 4 | 5 6 7
    3  1 1 | . . .
    4  1 1 | . . .
    --------------
    5  . . | 1 1 1
    6  . . | 1 1 1
    7  . . | 1 1 1
    """
    rows = need_rows(model)
    terms = _random_terms(rows.terms)
    _warn_of_rows(terms, "ZZ'")
    z = _z(terms)
    return _of_rows("ZZ'", z @ z.T, rows)


# ---- of a fit ----


def G(results: HasFitted) -> LabelledMatrix:
    """Covariance matrix of all random effects, (q, q), in the units of the data.

    Returns
    -------
    LabelledMatrix
        Rows and columns as the columns of ``Z``; one block a level.

    Raises
    ------
    ValueError
        If the model has no random effects.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.G().to_frame().iloc[:2, :2].to_numpy().round(1).tolist()
    [[612.1, 9.6], [9.6, 35.1]]
    """
    fitted = results.fitted
    terms = _random_terms(fitted.random.terms)
    values = _block_diagonal(terms, fitted.random.covariances)
    names, lines = _effect_labels(terms), _column_lines(terms)
    return LabelledMatrix("G", values, names, names, lines, lines)


def R(results: HasFitted) -> LabelledMatrix:
    """Covariance matrix of the errors of the rows, (n, n): sigma^2 over the weight.

    With a residual covariance a block of each residual group.

    Raises
    ------
    ValueError
        If the rows are in chunks, or were removed.

    Warns
    -----
    DenseMatrixWarning
        If residual groups are so large that the matrix is large and not sparse.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> bool(result.R().values.diagonal()[0] == result.scale)
    True
    """
    fitted = results.fitted
    rows = fitted.need_rows()
    return _of_rows("R", _errors(fitted, "R"), rows)


def V(results: HasFitted) -> LabelledMatrix:
    """Covariance matrix of the response, (n, n): Z G Z' + R, in the units of the data.

    Raises
    ------
    ValueError
        If the rows are in chunks, or were removed.

    Warns
    -----
    DenseMatrixWarning
        If the matrix is large and not sparse.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data.iloc[:15]
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> V = result.V()
    >>> V.shape, V.values.nnz
    ((15, 15), 75)
    """
    fitted = results.fitted
    rows = fitted.need_rows()
    values = _errors(fitted, "V")
    if rows.terms:
        _warn_of_rows(rows.terms, "V")
        z = _z(rows.terms)
        values = z @ _block_diagonal(rows.terms, fitted.random.covariances) @ z.T + values
    return _of_rows("V", values, rows)


def L(results: HasFitted) -> LabelledMatrix:
    """The Cholesky factor that the criterion is read off, (q + p + 1, q + p + 1).

    Omega = L L' is the matrix of cross-products of [Z Lam, X, y], weighted, with the
    identity added to the block of the random effects (spherical: u = Lam u*).  Twice the
    logarithms of the first q elements of the diagonal add up to log|V0|, of the next p to
    log|X'V0^-1 X|, and the last is the root of the penalized residual sum of squares.
    With a residual covariance sigma^2 Lambda = sigma^2 L_e L_e' the rows are those of
    L_e^-1 [Z Lam, X, y], weighted, and log|Lambda| comes on top.

    Returns
    -------
    LabelledMatrix
        Rows by the effects as in ``Z``, the coefficients that were kept, and the
        response (less its offset).

    Raises
    ------
    ValueError
        If the rows are in chunks, or were removed.

    Warns
    -----
    DenseMatrixWarning
        If many effects hang together, so that their block is large.

    References
    ----------
    Bates, Maechler, Bolker and Walker (2015), Fitting linear mixed-effects models using
    lme4, Journal of Statistical Software 67(1), section 3.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> result.L().index[-3:].tolist()
    ['Batch[F]', 'Intercept', 'Yield']
    >>> round(float(result.L().values.diagonal()[-1] ** 2 / 29), 2)
    2451.25
    >>> round(result.scale, 2)
    2451.25
    """
    fitted = results.fitted
    rows, fixed = fitted.need_rows(), fitted.fixed
    whiten = _whitening(fitted)
    response = rows.endog if rows.offset is None else rows.endog - rows.offset
    known = whiten @ np.column_stack([rows.exog[:, fixed.kept], response])
    names = [*(fixed.names[i] for i in fixed.kept), str(fitted.model.endog_names)]
    lines: tuple[int, ...] = ()
    q, p = 0, len(fixed.kept)
    corner: sparse.csr_array | None = None
    below: sparse.csr_array | None = None
    if rows.terms:
        lam = _block_diagonal(rows.terms, fitted.fit.lams, roots=True)
        z = sparse.csr_array(whiten @ _z(rows.terms) @ lam)
        q = z.shape[1]
        corner, cross, solved = _random_block(z, z.T @ known)
        below = sparse.csr_array(cross.T)
        # their cross-product is known'V0^-1 known, without a difference of large numbers
        known = np.vstack([known - z @ solved, -solved])
        names = [*label_texts(_effect_labels(rows.terms)), *names]
        lines = (*_term_lines(rows.terms), q)
    last = np.asarray(np.linalg.qr(known, mode="r"))
    last = (last * np.where(np.diag(last) < 0, -1.0, 1.0)[:, None]).T
    if corner is None:
        values = sparse.csr_array(last)
    else:
        values = sparse.block_array([[corner, None], [below, last]], format="csr")
    lines = tuple(sorted({*lines, q + p} - {0}))
    index = pd.Index(names)
    return LabelledMatrix("L", values, index, index, lines, lines)


# ---- parts ----


def _random_terms(terms: Sequence[Any]) -> Sequence[Any]:
    if not terms:
        raise ValueError("the model has no random effects")
    return terms


def _row_labels(rows: ModelRows) -> pd.Index:
    return pd.RangeIndex(len(rows.endog)) if rows.labels is None else pd.Index(rows.labels)


def _effect_labels(terms: Sequence[Any]) -> pd.MultiIndex:
    """Group, level and effect of every column of Z."""
    groups: list[Any] = []
    levels: list[Any] = []
    effects: list[Any] = []
    for term in terms:
        count = term.n_levels * term.k
        groups += [term.group] * count
        levels += [level for level in term.levels for _ in range(term.k)]
        effects += list(term.names) * term.n_levels
    names = ["group", "level", "effect"]
    # levels of several factors, or of several columns, need not be of one type
    arrays = [groups, pd.Index(_flat(levels), dtype=object), effects]
    return pd.MultiIndex.from_arrays(arrays, names=names)


def _flat(levels: list[Any]) -> list[Any]:
    return [":".join(map(str, v)) if isinstance(v, tuple) else v for v in levels]


def _z(terms: Sequence[Any]) -> sparse.csr_array:
    """Z of all terms, the effects of a level side by side."""
    parts = []
    for term in terms:
        if isinstance(term, SparseTerm):
            parts.append(term.plain if isinstance(term, RelatedTerm) else term.matrix)
            continue
        n, k = len(term.codes), term.k
        columns = term.codes.astype(np.int64)[:, None] * k + np.arange(k)
        entries = (term.z.ravel(), columns.ravel(), np.arange(n + 1) * k)
        parts.append(sparse.csr_array(entries, shape=(n, term.n_levels * k)))
    out = sparse.csr_array(sparse.hstack(parts, format="csr"))
    out.eliminate_zeros()
    return out


def _block_diagonal(
    terms: Sequence[Any], blocks: Sequence[np.ndarray], roots: bool = False
) -> sparse.csr_array:
    """The relation of the levels, I mostly, times the matrix of a level, of all terms.

    ``roots`` says that blocks are roots of covariances: so is what goes with them.
    """
    parts = [
        sparse.kron(_relation(t, roots), sparse.csr_array(b))
        for t, b in zip(terms, blocks, strict=True)
    ]
    out = sparse.csr_array(sparse.block_diag(parts, format="csr"))
    out.eliminate_zeros()
    return out


def _errors(fitted: Fitted, name: str) -> sparse.csr_array:
    """R: sigma^2 over the weights, or blocks of residual groups."""
    rows, residual = fitted.need_rows(), fitted.fit.residual
    n, weights = len(rows.endog), rows.weights
    if residual is None:
        own = np.full(n, fitted.scale) if weights is None else fitted.scale / weights
        return sparse.csr_array(sparse.diags_array(own))
    filled = sum(float(b.rows.size) * b.size for b in residual.bound.batches)
    if filled > DENSE_MATRIX * n * n:
        warn_if_dense(n, name)
    values = fitted.scale * block_rows(residual.bound, residual.matrices())
    if weights is None:
        return values
    half = sparse.diags_array(1 / np.sqrt(weights))
    return sparse.csr_array(half @ values @ half)


def _whitening(fitted: Fitted) -> sparse.csr_array:
    """L_e^-1 W^1/2, by which rows are multiplied to be independent with one variance."""
    rows, residual = fitted.need_rows(), fitted.fit.residual
    n, weights = len(rows.endog), rows.weights
    own = sparse.csr_array(sparse.eye_array(n))
    if residual is not None:
        own = block_rows(residual.bound, residual.inverse_roots())
    if weights is None:
        return own
    return sparse.csr_array(own @ sparse.diags_array(np.sqrt(weights)))


def _random_block(
    z: sparse.csr_array, cross: np.ndarray
) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
    """L_Z, the root of M = Z*'Z* + I; L_Z^-1 times cross, and M^-1 times it."""
    m = sparse.coo_array(z.T @ z + sparse.eye_array(z.shape[1]))
    count, part = connected_components(m, directed=False)
    order, sizes = np.argsort(part, kind="stable"), np.bincount(part, minlength=count)
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    row, column = m.coords
    first, solved = np.empty_like(cross), np.empty_like(cross)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for size in np.unique(sizes):  # effects that hang together, all of one number at once
        warn_if_dense(int(size), "L")
        alike = sizes == size
        number = np.cumsum(alike) - 1
        own = alike[part[row]]
        block = np.zeros((int(alike.sum()), size, size))
        at = number[part[row[own]]], place[row[own]], place[column[own]]
        block[at] = m.data[own]
        effects = order[starts[alike][:, None] + np.arange(size)]
        root = _roots(block, z, effects)
        first[effects] = np.linalg.solve(root, cross[effects])
        solved[effects] = np.linalg.solve(root.swapaxes(1, 2), first[effects])
        b, i, j = np.nonzero(root)
        found.append((effects[b, i], effects[b, j], root[b, i, j]))
    i, j, values = (np.concatenate(part) for part in zip(*found, strict=True))
    return sparse.csr_array((values, (i, j)), shape=m.shape), first, solved


def _roots(gram: np.ndarray, z: sparse.csr_array, effects: np.ndarray) -> np.ndarray:
    """Lower triangular roots of Z'Z + I, for some columns of Z each, (B, m, m).

    Variances so much larger than sigma^2 that rounding has taken the I away leave the
    root to a QR decomposition of [Z; I], which forms no squares.
    """
    try:
        return np.linalg.cholesky(gram)
    except np.linalg.LinAlgError:
        out = np.empty_like(gram)
        for own, columns in zip(out, effects, strict=True):
            part = sparse.csr_array(z[:, columns])
            rows = part[np.diff(part.indptr) > 0].toarray()
            stacked = np.vstack([rows, np.eye(len(columns))])
            upper = np.asarray(np.linalg.qr(stacked, mode="r"))
            own[...] = upper.T * np.where(upper.diagonal() < 0, -1.0, 1.0)
        return out


# ---- lines between blocks ----


def _of_rows(name: str, values: Any, rows: ModelRows) -> LabelledMatrix:
    labels, lines = _row_labels(rows), _row_lines(rows.terms)
    values = sparse.csr_array(values)
    return LabelledMatrix(name, values, labels, labels, lines, lines)


def _term_lines(terms: Sequence[Any]) -> tuple[int, ...]:
    sizes = [t.n_levels * t.k for t in terms]
    return tuple(itertools.accumulate(sizes[:-1]))


def _relation(term, roots):
    """Relation of the levels of a term, or a root of it."""
    if not isinstance(term, RelatedTerm):
        return sparse.eye_array(term.n_levels)
    return term.root if roots else sparse.csr_array(term.root @ term.root.T)


def _column_lines(terms: Sequence[Any]) -> tuple[int, ...]:
    """Between terms; between levels where the only term has several effects a level."""
    if len(terms) == 1 and terms[0].k > 1:
        return tuple(range(terms[0].k, terms[0].n_levels * terms[0].k, terms[0].k))
    return _term_lines(terms)


def _row_lines(terms: Sequence[Any]) -> tuple[int, ...]:
    """Where the level of the coarsest factor changes, if its levels stand together."""
    factors = [t for t in terms if not isinstance(t, SparseTerm)]
    if not factors:
        return ()
    codes = min(factors, key=lambda t: t.n_levels).codes
    starts = np.flatnonzero(np.diff(codes)) + 1
    if len(starts) >= len(np.unique(codes)):
        return ()
    return tuple(starts.tolist())


def _warn_of_rows(terms: Sequence[Any], name: str) -> None:
    """Warn if a matrix of rows by rows is large and not sparse."""
    n = terms[0].n_rows
    filled = 0.0
    for term in terms:
        if isinstance(term, SparseTerm):
            counts = np.bincount(term.matrix.indices, minlength=term.n_levels)
        else:
            counts = np.bincount(term.codes, minlength=term.n_levels)
        filled = max(filled, float((counts.astype(float) ** 2).sum()))
    if filled > DENSE_MATRIX * n * n:
        warn_if_dense(n, name)
