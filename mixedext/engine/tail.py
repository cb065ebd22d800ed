"""The tail of the factor: all grouping factors but the leading one.

Both storages do the same: they hold N = Z2'V1^-1 Z2 (what is left of Z2'Z2 once the
leading factor is eliminated), factor S = Lam2'N Lam2 + I = L22 L22', and give
C22 = S^-1 where it is needed: everywhere (dense) or on the pattern of L22 (sparse).
"""

from __future__ import annotations

import numpy as np

from mixedext.engine.blocks import Blocks
from mixedext.engine.kernels import dense, lead, sparse

__all__ = ["DenseTail", "SparseTail", "make_tail"]


def make_tail(blocks: Blocks) -> DenseTail | SparseTail:
    """The tail in the storage that the blocks have chosen."""
    return DenseTail(blocks) if blocks.pattern is None else SparseTail(blocks)


class _Tail:
    def __init__(self, blocks: Blocks):
        self.blocks = blocks
        self.layout = blocks.level_start, blocks.level_factor
        widths = [f.width for f in blocks.factors[1:]] or [1]
        self.lam = np.zeros((len(widths), max(widths), max(widths)))
        self.size = blocks.tail_size
        self.scaled = np.empty((blocks.largest_link, blocks.lead_gram.shape[1]))
        self.cross = np.empty_like(blocks.tail_cross)

    def set_lam(self, lams):
        """Take the relative covariance factors of the tail's grouping factors."""
        for f, lam in enumerate(lams):
            self.lam[f, : len(lam), : len(lam)] = lam

    def lam_times(self, b, transpose=False):
        """Lam2 b, or Lam2'b, as a new array (m, columns)."""
        out = np.array(b, order="C")
        work = np.empty((self.lam.shape[1], out.shape[1]))
        dense.multiply_left(out, *self.layout, self.lam, transpose, work)
        return out

    def _block_sums(self, blocks_by_factor):
        return [
            blocks_by_factor[f, : layout.width, : layout.width]
            for f, layout in enumerate(self.blocks.factors[1:])
        ]


class DenseTail(_Tail):
    """Tail as an m x m matrix through LAPACK."""

    def __init__(self, blocks):
        super().__init__(blocks)
        self.reduced = np.empty((self.size, self.size))
        self.factor = np.empty((self.size, self.size))
        self.covariance = None
        self.pair_covariance = np.zeros(0)
        self.scalar = all(f.width == 1 for f in blocks.factors[1:])

    def reduce(self, half, solved):
        """Eliminate the leading factor."""
        b = self.blocks
        np.copyto(self.reduced, b.tail_gram)
        np.copyto(self.cross, b.tail_cross)
        links = b.link_pointers, b.link_index, b.link_value
        lead.reduce_tail_dense(*links, half, solved, self.scaled, self.reduced, self.cross)

    def factorize(self):
        """Factor S; returns (log det S, whether it is positive definite)."""
        self.covariance = None
        if self.scalar:
            scale = self.lam[self.blocks.level_factor, 0, 0]
            dense.scale_scalar_levels(self.reduced, scale, self.factor)
        else:
            dense.mirror_lower(self.reduced)
            np.copyto(self.factor, self.reduced)
            self._multiply_right(self.factor, transpose=False)
            work = np.empty((self.lam.shape[1], self.size))
            dense.multiply_left(self.factor, *self.layout, self.lam, True, work)
            self.factor.flat[:: self.size + 1] += 1.0
        log_det, info = dense.factor_cholesky(self.factor)
        return log_det, info == 0

    def _multiply_right(self, a, transpose):
        work = np.empty(self.lam.shape[1])
        dense.multiply_right(a, *self.layout, self.lam, transpose, work)

    def solve(self, b, transpose=False):
        """L22^-1 b, or L22^-T b, in place."""
        dense.solve_cholesky(self.factor, b, transpose)

    def invert(self):
        """Compute Lam2 C22 Lam2' and sum_l [N Lam2 C22]_ll of every factor."""
        inverse = self.factor.copy()
        dense.invert_cholesky(inverse)
        self._multiply_right(inverse, transpose=True)
        dense.mirror_lower(self.reduced)
        sums = np.empty_like(self.lam)
        dense.curvature(self.reduced, inverse, *self.layout, sums)
        work = np.empty((self.lam.shape[1], self.size))
        dense.multiply_left(inverse, *self.layout, self.lam, False, work)
        self.covariance = inverse
        return self._block_sums(sums)

    def multiply_reduced(self, b):
        """N b."""
        dense.mirror_lower(self.reduced)
        return self.reduced @ b

    def level_covariance(self, columns):
        """Level blocks of Lam2 C22 Lam2' for scalar columns (L, K)."""
        return self.covariance[columns[:, :, None], columns[:, None, :]]


class SparseTail(_Tail):
    """Tail on the pattern of its Cholesky factor."""

    def __init__(self, blocks):
        super().__init__(blocks)
        p = blocks.pattern
        self.columns = p.pointers, p.rows
        self.pairs = p.locate_pairs(blocks.link_pointers, blocks.link_index)
        self.reduced = np.empty(len(p.rows))
        self.factor = np.empty(len(p.rows))
        self.covariance = np.zeros((0, 0))
        self.pair_covariance = None
        self.scratch = [np.empty(self.size, np.intp) for _ in range(3)]
        self.column = np.zeros(self.size)

    def reduce(self, half, solved):
        """Eliminate the leading factor."""
        b = self.blocks
        np.copyto(self.reduced, b.tail_gram)
        np.copyto(self.cross, b.tail_cross)
        links = b.link_pointers, b.link_index, b.link_value
        lead.reduce_tail_sparse(
            *links, half, solved, self.pairs, self.scaled, self.reduced, self.cross
        )

    def _congruence(self, values, transpose, shift, out):
        level_of = self.blocks.pattern.level_of
        sparse.congruence(
            *self.columns,
            *self.layout,
            level_of,
            self.lam,
            transpose,
            shift,
            values,
            out,
        )

    def factorize(self):
        """Factor S; returns (log det S, whether it is positive definite)."""
        self.pair_covariance = None
        self._congruence(self.reduced, False, 1.0, self.factor)
        log_det, info = sparse.factor_cholesky(
            *self.columns, self.factor, *self.scratch, self.column
        )
        return log_det, info == 0

    def solve(self, b, transpose=False):
        """L22^-1 b, or L22^-T b, in place."""
        sparse.solve_cholesky(*self.columns, self.factor, b, transpose)

    def invert(self):
        """Compute Lam2 C22 Lam2' on the pattern, and sum_l [N Lam2 C22]_ll."""
        inverse = np.empty_like(self.factor)
        work = np.empty(self.size), np.empty(self.size)
        sparse.invert_selected(*self.columns, self.factor, *work, self.scratch[0], inverse)
        sums = np.empty_like(self.lam)
        level_of = self.blocks.pattern.level_of
        sparse.curvature(
            *self.columns, *self.layout, level_of, self.lam, self.reduced, inverse, sums
        )
        self.on_pattern = np.empty_like(inverse)
        self._congruence(inverse, True, 0.0, self.on_pattern)
        self.pair_covariance = self.on_pattern[self.pairs]
        return self._block_sums(sums)

    def multiply_reduced(self, b):
        """N b."""
        return self.blocks.multiply_on_pattern(self.reduced, b)

    def level_covariance(self, columns):
        """Level blocks of Lam2 C22 Lam2' for scalar columns (L, K)."""
        i, j = np.broadcast_arrays(columns[:, :, None], columns[:, None, :])
        at = self.blocks.pattern.locate(np.maximum(i, j).ravel(), np.minimum(i, j).ravel())
        return self.on_pattern[at].reshape(i.shape)
