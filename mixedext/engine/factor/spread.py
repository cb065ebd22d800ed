"""Factors whose rows belong to several levels at once: Z may be any sparse matrix.

Levels of such a factor have one column, or several (SpreadTerm), and Z'Z is not
block-diagonal.  So it never leads: it stands in the tail, behind all factors each of whose
rows has one level, or behind a leading factor without levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from mixedext.engine.rows.basis import Bases
from mixedext.engine.rows.memory import estimate_memory
from mixedext.engine.rows.products import (
    FactorLayout,
    PairProducts,
    Products,
    factor_columns,
    fixed_chunks,
    group_by_factor,
)
from mixedext.engine.rows.rows import Rows
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = [
    "cross_products",
    "engine_terms",
    "entering",
    "factor_layouts",
    "is_dense",
    "sum_products",
    "times_by_level",
    "times_rows",
]

# Columns of a level from which on one common variance is worth a level for each column,
# if that makes no more levels than the second number.
WIDE, MOST_SPREAD = 16, 2000
# Share of values that are not zero above which BLAS multiplies matrices faster.
DENSE_SHARE = 0.06
# Share of the cross-products above which they are kept as a full matrix.
DENSE_PRODUCTS = 0.3
# Numbers of a dense piece of Z, and rows whose sparse products are added at once.
PIECE, SOME_ROWS = 2**22, 2**18


def engine_terms(
    terms: Sequence[RandomTerm | SparseTerm],
) -> list[RandomTerm | SparseTerm]:
    """The terms with a level for each column where many columns share one variance.

    A term that is alone in the model stays: its levels have their own eigenvectors
    (engine.rows.rotation).
    """
    terms = list(terms)
    if len(terms) < 2 or not any(_is_wide(t) for t in terms):
        return terms
    for layout in group_by_factor(terms):
        own = [terms[i] for i in layout.terms]
        scalar = all(t.k == 1 or t.structure.shares_one_variance for t in own)
        few = layout.n_levels * layout.width <= MOST_SPREAD
        if scalar and few and any(_is_wide(t) for t in own):
            for i in layout.terms:
                terms[i] = _spread(terms[i])
    return terms


def _is_wide(term):
    wide = term.structure.shares_one_variance and term.k > WIDE
    return wide and not isinstance(term, SparseTerm)


def _spread(term):
    """Z of an ordinary term with a level for each column of each level."""
    index = term.codes.astype(np.intp)[:, None] * term.k + np.arange(term.k)
    start = np.arange(len(index) + 1) * term.k
    shape = len(index), term.n_levels * term.k
    z = sparse.csr_array((term.z.ravel().copy(), index.ravel(), start), shape=shape)
    z.eliminate_zeros()
    return SparseTerm(z, term.group)


def factor_layouts(
    terms: Sequence[RandomTerm | SparseTerm],
    given: Sequence[RandomTerm | SparseTerm] | None = None,
) -> list[FactorLayout]:
    """Layouts of the factors in order; ``given`` are the terms before ``engine_terms``."""
    layouts = group_by_factor(terms)
    if not any(f.spread for f in layouts):
        return layouts
    given = terms if given is None else given
    layouts = [
        replace(f, block=given[f.terms[0]].k // f.width) if f.spread else f for f in layouts
    ]
    if layouts[0].spread:
        layouts.insert(0, FactorLayout("", 0, 1, (), ()))
    return layouts


def sum_products(rows: Rows, bases: Bases, layouts: Sequence[FactorLayout]) -> Products:
    """Cross-products of all factors.

    Parameters
    ----------
    rows : Rows
        All rows.
    bases : Bases
        From the first pass.
    layouts : sequence of FactorLayout
        From ``factor_layouts``.
    """
    plain = [f for f in layouts if f.terms and not f.spread]
    products = Products.of(rows, bases, plain)
    if len(plain) == len(layouts):
        return products
    n_fixed = bases.basis.rank + 1
    grams, crosses = list(products.grams), list(products.crosses)
    pairs, inner = dict(products.pairs), {}
    if not plain:
        grams.append(np.zeros((0, 1, 1)))
        crosses.append(np.zeros((0, 1, n_fixed)))
    z = {f: entering(rows, bases, p) for f, p in enumerate(layouts) if p.spread}
    sums = {f: np.zeros((own.shape[1], n_fixed)) for f, own in z.items()}
    for at, fixed in fixed_chunks(rows, bases):
        for f, own in z.items():
            sums[f] += own[at].T @ fixed
    for f, own in z.items():
        _check_memory(layouts, f, own, n_fixed)
        inner[f] = gram = cross_products(own, own)
        width = layouts[f].width
        grams.append(_diagonal_blocks(gram, width))
        crosses.append(sums[f].reshape(-1, width, n_fixed).copy())
        for g, layout in enumerate(layouts[:f]):
            pairs[g, f] = _pairs(rows, bases, layout, z.get(g), own, width)
    return Products(
        rows.nobs,
        tuple(layouts),
        tuple(grams),
        tuple(crosses),
        pairs,
        products.fixed_gram,
        inner,
    )


def entering(rows: Rows, bases: Bases, layout: FactorLayout) -> sparse.csr_array:
    """Z of a spread factor as it enters: scaled and weighted."""
    (number,) = layout.terms
    term = rows.terms[number]
    if not isinstance(term, SparseTerm):
        raise TypeError(f"{term.label} has one level a row")
    z = times_by_level(term.matrix, bases.random_right[number])
    if rows.weights is None:
        return z
    z.data *= np.repeat(np.sqrt(rows.weights), np.diff(z.indptr))
    return z


def times_by_level(matrix: sparse.csr_array, right: np.ndarray) -> sparse.csr_array:
    """Z (I kron R) of k columns a level, R (k, k)."""
    k = len(right)
    if k == 1:
        return matrix * right[0, 0]
    out = matrix @ sparse.kron(sparse.eye_array(matrix.shape[1] // k), right, format="csr")
    out.sort_indices()
    return out


def _diagonal_blocks(gram, width):
    """Z_l'Z_l out of Z'Z, (L, k, k)."""
    if width == 1:
        return gram.diagonal().reshape(-1, 1, 1).copy()
    at = np.arange(gram.shape[0]).reshape(-1, width)
    i, j = np.broadcast_arrays(at[:, :, None], at[:, None, :])
    return np.asarray(gram[i.ravel(), j.ravel()]).reshape(i.shape)


def _check_memory(layouts, f, z, n_fixed):
    """Refuse Z'Z that would not fit into memory, before it is computed."""
    q = z.shape[1]
    most = min(q * (q + 1) // 2, int((np.diff(z.indptr).astype(float) ** 2).sum()))
    lead = FactorLayout("", 0, 1, (), ())
    estimate_memory([lead, layouts[f]], 0, n_fixed, n_stored=most).check()


def is_dense(z: sparse.csr_array) -> bool:
    """Whether so much of Z is not zero that BLAS multiplies it faster."""
    return z.nnz > DENSE_SHARE * z.shape[0] * z.shape[1]


def cross_products(
    one: sparse.csr_array, other: sparse.csr_array
) -> np.ndarray | sparse.csr_array:
    """one'other: dense where most of it is not zero, else sparse."""
    shape = one.shape[1], other.shape[1]
    if is_dense(one) and is_dense(other):
        out = np.zeros(shape)
        step = max(1, PIECE // max(shape))
        for first in range(0, one.shape[0], step):
            left = one[first : first + step].toarray()
            right = left if one is other else other[first : first + step].toarray()
            out += left.T @ right
        return out
    out = sparse.csr_array(shape)
    for first in range(0, one.shape[0], SOME_ROWS):
        at = slice(first, first + SOME_ROWS)
        out = out + one[at].T.tocsr() @ other[at]
    out.sort_indices()
    full = out.nnz > DENSE_PRODUCTS * shape[0] * shape[1]
    return out.toarray() if full and one is other else out


def _pairs(rows, bases, layout, spread, z, columns):
    """PairProducts of a factor before with a spread one of some columns a level."""
    width = layout.width
    if spread is not None:
        cross = cross_products(spread, z)
    elif not layout.terms:
        cross = sparse.csr_array((0, z.shape[1]))
    else:
        cross = sparse.csr_array((layout.n_levels * width, z.shape[1]))
        for first in range(0, rows.nobs, SOME_ROWS):
            own = _level_columns(rows, bases, layout, first)
            cross = cross + own.T.tocsr() @ z[first : first + SOME_ROWS]
    blocks = sparse.csr_array(cross)
    if not blocks.shape[0]:
        pointers, index = np.zeros(1, np.intp), np.zeros(0, np.int32)
        return PairProducts(pointers, index, np.zeros((0, columns, width)))
    blocks = blocks.tobsr(blocksize=(width, columns))
    blocks.sort_indices()
    value = blocks.data.reshape(-1, width, columns).transpose(0, 2, 1)
    value = np.ascontiguousarray(value)
    return PairProducts(
        blocks.indptr.astype(np.intp), blocks.indices.astype(np.int32), value
    )


def _level_columns(rows, bases, layout, first):
    """Z of an ordinary factor as it enters, for some rows from ``first`` on, sparse."""
    last = min(first + SOME_ROWS, rows.nobs)
    width, codes = layout.width, rows.codes(layout.terms[0])[first:last]
    z = np.empty((last - first, width))
    for at in rows.chunks():
        if first <= at.start < last:
            z[at.start - first : at.stop - first] = factor_columns(
                rows, bases, layout, at
            ).T
    index = codes.astype(np.intp)[:, None] * width + np.arange(width)
    start = np.arange(len(codes) + 1) * width
    shape = len(codes), layout.n_levels * width
    return sparse.csr_array((z.ravel(), index.ravel(), start), shape=shape)


def times_rows(term: RandomTerm | SparseTerm, at: slice, b: np.ndarray) -> np.ndarray:
    """Some rows of Z times vectors.

    Parameters
    ----------
    term : RandomTerm or SparseTerm
        A term with its rows.
    at : slice
        The rows.
    b : ndarray
        (L, k, m).

    Returns
    -------
    ndarray
        (rows, m).
    """
    if isinstance(term, SparseTerm):
        return term.matrix[at] @ b.reshape(-1, b.shape[2])
    codes, out = term.codes[at], np.zeros((len(term.codes[at]), b.shape[2]))
    for j, column in enumerate(term.columns):
        own = b[codes, j]
        out += own if column is None else own * column[at, None]
    return out
