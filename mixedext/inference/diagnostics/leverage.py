"""Leverages of the rows, split into the share of the fixed and of the random effects.

    h_i = w_i b_i'J b_i,    b_i = (x_i, (Z Lam)_i),    J of engine.information.joint_errors,

is d fitted_i / d y_i given theta (lme4's hatvalues).  In coordinates in which
X'V0^-1 X = I, with s_i = x_i - T'Sigma z_i,

    h_i = w_i (|s_i|^2 + z_i'Lam C Lam'z_i),    h_i of the fixed effects = w_i x_i's_i.

With several factors C is needed where rows are, and nowhere else.  Row i in level l of the
leading factor, with y = half_l'z_l and q = Lam2'(z_t - link_l half_l y), has

    z'Lam C Lam'z = |y|^2 + q'C22 q,

where links_l' C22 between the columns that meet level l serves all rows of the level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from mixedext.engine.factor.factor import Factor
from mixedext.engine.information.joint_errors import (
    JointErrors,
    RandomRows,
    joint_errors,
    random_rows,
)
from mixedext.fitted import Fitted
from mixedext.inference.diagnostics.level_rows import OneLevelRows
from mixedext.kernels.rows import deletion
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["Leverages", "leverages"]

# Pairs of tail columns whose C22 is held at once.
MOST_PAIRS = 2**21


@dataclass(frozen=True, eq=False)
class Leverages:
    """Leverages of the rows.

    Attributes
    ----------
    whole, fixed : ndarray
        h, and the fixed effects' share of it, (n,).
    scores : ndarray or None
        s, (n, rank), if asked for: w_i s_i are the rows of V0^-1 X.
    """

    whole: np.ndarray
    fixed: np.ndarray
    scores: np.ndarray | None = None

    @property
    def random(self) -> np.ndarray:
        """The random effects' share, (n,)."""
        return self.whole - self.fixed


def leverages(fitted: Fitted, scores: bool = False) -> Leverages:
    """Leverages of the rows of a fit.

    Parameters
    ----------
    fitted : Fitted
        A fit with its rows in memory.
    scores : bool, optional
        Whether s is wanted.

    Raises
    ------
    ValueError
        If the rows are in chunks, or were removed.
    """
    rows, fit = fitted.need_rows(), fitted.fit
    errors = joint_errors(fit)
    n, p = len(rows.endog), len(fitted.fixed.kept)
    levels = OneLevelRows.of(fitted)
    if levels is not None:
        whole, fixed = np.empty((2, n))
        s = np.empty((n, p)) if scores else None
        for at, _, _, own in levels.pieces():
            levels.scores(*own, whole=whole[at], fixed=fixed[at])
            if s is not None:
                s[at] = own[-1]
    else:
        x = rows.exog[:, fitted.fixed.kept] @ errors.root
        if rows.terms:
            known = own_rows(fitted).known
            assert known is not None
            s = x - known @ errors.whitened[1]
            whole = np.einsum("np,np->n", s, s) + _within(errors, known)
        else:
            s = x
            whole = np.einsum("np,np->n", s, s)
        fixed = np.einsum("np,np->n", x, s)
    if rows.weights is not None:
        whole *= rows.weights
        fixed = fixed * rows.weights
    return Leverages(whole, fixed, s if scores else None)


def own_rows(fitted: Fitted) -> RandomRows:
    """Rows of Z of the fit's own rows, as the engine has them."""
    given: list[tuple] = []
    for term in fitted.need_rows().terms:
        if isinstance(term, RandomTerm):
            given.append((term.codes, term.z, None))
        else:
            none = np.zeros(term.matrix.shape[0])
            given.append((none, term.matrix, none))
    return random_rows(fitted.fit, given)


def _within(errors: JointErrors, known: sparse.csr_array) -> np.ndarray:
    """z'Lam C Lam'z of rows that the fit has seen, (n,)."""
    factor = errors.factor
    n_levels, k = factor.half.shape[:2]
    head = n_levels * k
    lead, tail = sparse.csr_array(known[:, :head]), sparse.csr_array(known[:, head:])
    if errors.design.rotation is not None:  # all columns are orthogonal
        lead.data = lead.data**2
        return lead @ (factor.half[:, 0, 0] ** 2)
    level, y = _of_lead(lead, factor)
    out = np.einsum("nk,nk->n", y, y)
    moved = sparse.csr_array(tail @ lam_of_tail(factor))
    if head and factor.blocks.pattern is None:
        return out + _dense_tail(factor, level, y, moved)
    out += _quadratic(moved, factor)
    if head:
        edge = factor.tail._edges(factor.half)
        own = factor.tail.link_quadratic(factor.half, by_level=True)
        out += np.einsum("na,nab,nb->n", y, own[level], y)
        links = _link_products(factor, edge)
        row = np.repeat(np.arange(len(y)), np.diff(moved.indptr))
        at = _link_number(factor, level[row], moved.indices)
        share = np.einsum("sk,sk->s", links[at], y[row]) * moved.data
        out -= 2 * np.bincount(row, share, minlength=len(y))
    return out


def _of_lead(lead, factor):
    """Level of every row, and half_l'z_l, (n, k)."""
    n, k = lead.shape[0], factor.half.shape[1]
    if not lead.shape[1]:
        return np.zeros(n, np.intp), np.zeros((n, k))
    count = np.diff(lead.indptr)
    row = np.repeat(np.arange(n), count)
    z, level = np.zeros((n, k)), np.zeros(n, np.intp)
    level[row] = lead.indices // k
    z[row, lead.indices % k] = lead.data
    return level, np.einsum("nb,nba->na", z, factor.half[level])


def lam_of_tail(factor: Factor) -> sparse.csr_array:
    """Lam2, the roots that the tail was factored with, (m, m)."""
    rows, columns, values = [], [], []
    for f, (vector, size) in enumerate(factor.roots):
        at = factor.blocks.tail_columns(f)
        i, j = np.broadcast_arrays(at[:, :, None], at[:, None, :])
        rows.append(i.ravel())
        columns.append(j.ravel())
        values.append(np.tile((vector * size).ravel(), len(at)))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array(entries, shape=(factor.tail.size,) * 2)


def _dense_tail(factor, level, y, moved):
    """What a dense tail adds to z'Lam C Lam'z, (n,)."""
    if not factor.tail.inverted:
        factor.tail.invert()
    order = np.argsort(level, kind="stable")
    moved = moved[order]
    out = np.empty(len(y))
    found = np.empty(len(y))
    deletion.link_squares(
        np.ascontiguousarray(level[order], np.intp),
        np.ascontiguousarray(y[order]),
        moved.indptr.astype(np.intp),
        moved.indices.astype(np.intp),
        moved.data,
        factor.blocks.link_pointers,
        factor.blocks.link_index,
        factor.tail._edges(factor.half),
        factor.tail.reduced,
        found,
    )
    out[order] = found
    return out


def _quadratic(moved: sparse.csr_array, factor: Factor) -> np.ndarray:
    """v'C22 v of the rows v of a sparse matrix, (n,)."""
    out = np.zeros(moved.shape[0])
    for first, last, i, j in _pairs(moved.indptr):
        value = _inverse(factor, moved.indices[i], moved.indices[j])
        value *= moved.data[i] * moved.data[j]
        row = np.searchsorted(moved.indptr, i, side="right") - 1
        out[first:last] = np.bincount(row - first, value, minlength=last - first)
    return out


def _link_products(factor: Factor, edge: np.ndarray) -> np.ndarray:
    """C22 Lam2'links_l half_l at the columns that meet level l, (nnz, k)."""
    blocks = factor.blocks
    pointers, index = blocks.link_pointers, blocks.link_index
    out = np.zeros_like(edge)
    for first, last, i, j in _pairs(pointers):
        value = _inverse(factor, index[i], index[j])
        start, stop = pointers[first], pointers[last]
        for a in range(edge.shape[1]):
            out[start:stop, a] = np.bincount(
                i - start, value * edge[j, a], minlength=stop - start
            )
    return out


def _pairs(pointers):
    """Ranges of rows, and all pairs (i, j) of their entries that share a row."""
    count = np.diff(pointers)
    ends = np.cumsum(count.astype(float) ** 2)
    first = 0
    while first < len(count):
        before = ends[first - 1] if first else 0.0
        last = int(np.searchsorted(ends, before + MOST_PAIRS, side="right"))
        last = min(max(last, first + 1), len(count))
        own = count[first:last]
        entry = np.arange(pointers[first], pointers[last])
        times = np.repeat(own, own)
        i = np.repeat(entry, times)
        starts = np.repeat(pointers[first:last], own)
        j = np.arange(len(i)) - np.repeat(np.cumsum(times) - times, times)
        yield first, last, i, j + np.repeat(starts, times)
        first = last


def _inverse(factor, i, j):
    """Elements of C22."""
    if not factor.tail.inverted:
        factor.tail.invert()
    return factor.tail._inverse_at(np.maximum(i, j), np.minimum(i, j))


def _link_number(factor, level, column):
    """Number of the link of a level of the lead and a column of the tail."""
    blocks = factor.blocks
    m = factor.tail.size
    own = np.repeat(np.arange(len(blocks.link_pointers) - 1), np.diff(blocks.link_pointers))
    key = own * np.int64(m) + blocks.link_index
    order = None
    if (np.diff(key) < 0).any():
        order = np.argsort(key, kind="stable")
        key = key[order]
    at = np.searchsorted(key, level * np.int64(m) + column)
    return at if order is None else order[at]
