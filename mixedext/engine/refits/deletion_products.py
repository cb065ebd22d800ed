"""Cross-products without sets of rows, A - A_I, for models of several grouping factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixedext.algebra.triangles import basis_of_squares
from mixedext.engine.fit import Fit
from mixedext.engine.rows.basis import FixedBasis
from mixedext.engine.rows.design import Design
from mixedext.engine.rows.sparse_rows import transposed_rows
from mixedext.limits import DIGITS_DELETED

__all__ = ["ProductsLeft", "engine_rows"]


def engine_rows(
    design: Design, y: np.ndarray, x: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """[Q r] of every row as the engine has it, (n, P), and the roots of the weights."""
    root = np.ones(len(y)) if weights is None else np.sqrt(weights)
    kept = x[:, design.basis.kept] * root[:, None]
    q = np.linalg.solve(design.basis.r.T, kept.T).T
    residual = (y * root - q @ design.least_squares) / design.y_scale
    return np.ascontiguousarray(np.column_stack([q, residual])), root


class ProductsLeft:
    """Designs of what is left of the rows, by taking the sums over a set off those of all.

    Zeros stay where a set has emptied a level: its columns are none of the model any more,
    and the pattern of the factor remains that of all rows.

    Parameters
    ----------
    fit : Fit
        Of all rows; its design must have no rotation, and no rows.
    rows : tuple
        y, X, the terms and the weights.
    """

    def __init__(self, fit: Fit, rows: tuple):
        design = self.design = fit.design
        y, x, terms, weights = rows
        self.fixed, root = engine_rows(design, y, x, weights)
        lead, tail = transposed_rows(
            design, terms, len(y), None if weights is None else root
        )
        self.lead, self.tail = lead.T.tocsr(), tail.T.tocsr()
        self.n_lead, self.n_tail = (_counts(z) for z in (self.lead, self.tail))
        self.log_weights = None if weights is None else np.log(weights)
        blocks = design.blocks
        level = np.repeat(np.arange(len(blocks.lead_gram)), np.diff(blocks.link_pointers))
        key = level * max(blocks.tail_size, 1) + blocks.link_index
        self.link_order = np.argsort(key, kind="stable")
        self.link_key = key[self.link_order]

    def without(self, rows: np.ndarray) -> Design | None:
        """The design without some rows; None where the difference loses digits."""
        design, blocks = self.design, self.design.blocks
        fixed, lead, tail = self.fixed[rows], self.lead[rows], self.tail[rows]
        nobs, rank = blocks.nobs - len(rows), design.basis.rank
        gram = blocks.fixed_gram - fixed.T @ fixed
        share = gram.diagonal() * DIGITS_DELETED > blocks.fixed_gram.diagonal()
        if nobs <= rank or not share.all():
            return None
        _, r, right = basis_of_squares(gram, rank, np.inf)
        pivot = r.diagonal() ** 2
        if not (pivot * DIGITS_DELETED > blocks.fixed_gram.diagonal()).all():
            return None
        y_scale = float(r[rank, rank] / np.sqrt(nobs))
        right[:, rank] /= y_scale
        empty_lead = _counts(lead) == self.n_lead
        empty_tail = _counts(tail) == self.n_tail
        upper = r[:rank, :rank]
        basis = design.basis
        left = replace(
            blocks,
            nobs=nobs,
            lead_gram=self._lead_gram(lead, empty_lead),
            lead_cross=self._cross(blocks.lead_cross, lead, fixed, empty_lead, right),
            link_value=self._links(lead, tail, empty_lead, empty_tail),
            tail_gram=self._tail_gram(tail, empty_tail),
            tail_cross=self._cross(blocks.tail_cross, tail, fixed, empty_tail, right),
            fixed_gram=right.T @ gram @ right,
        )
        gone = 0.0 if self.log_weights is None else float(self.log_weights[rows].sum())
        return replace(
            design,
            blocks=left,
            basis=FixedBasis(upper @ basis.r, basis.kept, basis.dependence),
            least_squares=upper @ design.least_squares + design.y_scale * r[:rank, rank],
            y_scale=design.y_scale * y_scale,
            log_weights=design.log_weights - gone,
        )

    def _lead_gram(self, lead, empty):
        out = self.design.blocks.lead_gram.copy()
        i, j, value = _product(lead, lead)
        (level, a), b = np.divmod(i, out.shape[1]), j % out.shape[1]
        out[level, a, b] -= value
        gone = empty[i] | empty[j]
        out[level[gone], a[gone], b[gone]] = 0.0
        return out

    def _links(self, lead, tail, empty_lead, empty_tail):
        blocks = self.design.blocks
        out = blocks.link_value.copy()
        i, j, value = _product(tail, lead)
        level, b = np.divmod(j, blocks.lead_gram.shape[1])
        at = np.searchsorted(self.link_key, level * max(blocks.tail_size, 1) + i)
        at = self.link_order[at]
        out[at, b] -= value
        gone = empty_tail[i] | empty_lead[j]
        out[at[gone], b[gone]] = 0.0
        return out

    def _tail_gram(self, tail, empty):
        blocks = self.design.blocks
        out = blocks.tail_gram.copy()
        i, j, value = _product(tail, tail)
        gone = empty[i] | empty[j]
        if blocks.pattern is None:
            out[i, j] -= value
            out[i[gone], j[gone]] = 0.0
            return out
        lower = i >= j
        at = blocks.pattern.locate(i[lower], j[lower])
        out[at] -= value[lower]
        out[at[gone[lower]]] = 0.0
        return out

    def _cross(self, cross, z, fixed, empty, right):
        flat = cross.reshape(-1, cross.shape[-1]) - z.T @ fixed
        flat[empty] = 0.0
        return np.ascontiguousarray((flat @ right).reshape(cross.shape))


def _counts(z):
    """Rows of every column of Z, (columns,)."""
    return np.bincount(z.indices, minlength=z.shape[1])


def _product(one, other):
    """Rows, columns and values of one'other, each place once."""
    out = (one.T @ other).tocoo()
    return out.row.astype(np.intp), out.col.astype(np.intp), out.data
