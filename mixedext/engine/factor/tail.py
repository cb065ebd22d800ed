"""The tail of the factor: all grouping factors but the leading one.

Both storages do the same: they hold N = Z2'V1^-1 Z2 (what is left of Z2'Z2 once the
leading factor is eliminated), factor S = Lam2'N Lam2 + I = L22 L22', and give
C22 = S^-1 where it is needed: everywhere (dense) or on the pattern of L22 (sparse).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import linalg

from mixedext.engine.rows.blocks import Blocks
from mixedext.engine.threads import blas_threads, get_num_threads, run_pieces, split
from mixedext.kernels.factor import (
    dense,
    lead,
    lead_inverse,
    links,
    sparse,
    supernodal,
)
from mixedext.kernels.factor.layout import Links, Supernodes, TailLevels

__all__ = ["DenseTail", "PanelTail", "SparseTail", "SupernodalTail", "make_tail"]

# Above this share of (level of the lead, tail column) pairs that meet, dense panels pay.
PANEL_SHARE = 0.3
# Random vectors that estimate traces.
PROBES = 32
# Levels of the lead of which products with them are held at once.
SOME_LEVELS = 10_000
# Numbers in one panel (2 MB).
PANEL_SIZE = 2**18


def make_tail(blocks: Blocks) -> DenseTail | SparseTail | SupernodalTail:
    """The tail in the storage that the blocks have chosen."""
    if blocks.pattern is None:
        levels = len(blocks.link_pointers) - 1
        full = len(blocks.link_index) > PANEL_SHARE * levels * blocks.tail_size
        return PanelTail(blocks) if full else DenseTail(blocks)
    return (SparseTail if blocks.pattern.supernodes is None else SupernodalTail)(blocks)


class _Tail:
    """What all storages share.

    Attributes
    ----------
    reduced : ndarray
        N.
    factor : ndarray
        L22.
    """

    reduced: np.ndarray
    factor: np.ndarray

    def __init__(self, blocks: Blocks):
        self.blocks = blocks
        self.levels = TailLevels(blocks.level_start, blocks.level_factor)
        widths = [f.width for f in blocks.factors[1:]] or [1]
        self.lam = np.zeros((len(widths), max(widths), max(widths)))
        self.size = blocks.tail_size
        self.cross = np.empty_like(blocks.tail_cross)
        self.scaled = np.empty_like(blocks.link_value)
        self.links = Links(blocks.link_pointers, blocks.link_index, self.size)
        self.pieces = split(self.links.work)
        self._gram = _nonzeros(blocks)
        self.inverted = False

    def set_lam(self, lams: Iterable[np.ndarray]) -> None:
        """Take the relative covariance factors of the tail's grouping factors."""
        self.inverted = False
        for f, lam in enumerate(lams):
            self.lam[f, : len(lam), : len(lam)] = lam

    def lam_times(self, b: np.ndarray, transpose: bool = False) -> np.ndarray:
        """Lam2 b, or Lam2'b, as a new array (m, columns)."""
        out = np.array(b, order="C")
        work = np.empty((self.lam.shape[1], out.shape[1]))
        dense.multiply_left(out, self.levels, self.lam, transpose, work)
        return out

    def reduce(self, half: np.ndarray, solved: np.ndarray) -> None:
        """Eliminate the leading factor."""
        b = self.blocks
        self.reduce_gram(half)
        np.copyto(self.cross, b.tail_cross)
        if len(b.link_index):
            lead.reduce_cross(
                b.link_pointers, b.link_index, self.scaled, solved, self.cross
            )

    def reduce_gram(self, half: np.ndarray) -> None:
        """Eliminate the leading factor from Z2'Z2 alone."""
        b = self.blocks
        np.copyto(self.reduced, b.tail_gram)
        self.inverted = False
        if len(b.link_index):
            links.link_times(b.link_pointers, b.link_value, half, self.scaled)
            self._eliminate()

    def _eliminate(self):
        # no element is written by two pieces: one thread may take them all at once
        if get_num_threads() == 1:
            self._subtract(0, self.size)
        else:
            run_pieces(self._subtract, self.pieces)

    def link_quadratic(self, right: np.ndarray, by_level: bool = False) -> np.ndarray:
        """Quadratic forms e_l'C22 e_l of e_l = Lam2'link_l right_l, each or their sum."""
        if not self.inverted:
            self.invert()
        form = self._forms(self._edges(right), right, by_level)
        return form if by_level else form[0]

    def _edges(self, right):
        b = self.blocks
        edge = np.empty_like(b.link_value)
        links.link_times(b.link_pointers, b.link_value, right, edge)
        work = np.empty(self.lam.shape[1])
        links.links_times_lam(b.link_index, self.levels, self.lam, work, edge)
        return edge

    def _forms(self, edge, right, by_level):
        count = len(right) if by_level else 1

        def piece(first: int, last: int) -> np.ndarray:
            out = np.zeros((count, *right.shape[1:]))
            self._quadratic(edge, first, last, by_level, out)
            return out

        # pieces are added in their order, so that the sum has the same bits
        if not len(edge):
            return np.zeros((count, *right.shape[1:]))
        pieces = [(0, self.size)] if by_level else self.pieces
        half_form = sum(run_pieces(piece, pieces))
        return half_form + half_form.transpose(0, 2, 1)

    def link_products(self, edge: np.ndarray) -> np.ndarray:
        """C22 e_l at the links of every level, (nnz, K), of e_l in ``edge``.

        (0, K) if that is no product for BLAS.
        """
        return np.empty((0, edge.shape[1]))

    def multiply_links(self, edge: np.ndarray) -> np.ndarray:
        """The same in any storage."""
        if not self.inverted:
            self.form_inverse()
        out = np.zeros_like(edge)
        self._multiply_links(edge, out)
        return out

    def level_covariance(self, factor: int) -> np.ndarray:
        """Level blocks of Lam2 C22 Lam2' for one factor of the tail, (L, K, K).

        Of a spread factor the blocks of those of its levels that are one of its term.
        """
        layout = self.blocks.factors[factor + 1]
        if layout.spread and layout.width == 1:
            return self.joint_covariance([factor])
        inverse = self.level_inverse(factor)
        width = inverse.shape[1]
        lam = self.lam[factor, :width, :width]
        return lam @ inverse @ lam.T

    def level_inverse(self, factor: int) -> np.ndarray:
        """Level blocks of C22 for one factor of the tail, (L, K, K)."""
        if not self.inverted:
            self.invert()
        return self._inverse_blocks(self.blocks.tail_columns(factor))

    def joint_covariance(self, factors: Iterable[int]) -> np.ndarray:
        """Blocks of Lam2 C22 Lam2' for spread factors whose terms have the same levels."""
        if not self.inverted:
            self.invert()
        columns, roots = [], []
        for f in factors:
            layout = self.blocks.factors[f + 1]
            width, block = layout.width, layout.block
            columns.append(self.blocks.tail_columns(f).reshape(-1, block * width))
            roots += [self.lam[f, :width, :width]] * block
        inverse = self._inverse_blocks(np.hstack(columns))
        if all(len(root) == 1 for root in roots):
            size = np.concatenate(roots).ravel()
            return size[:, None] * inverse * size
        root = linalg.block_diag(*roots)
        return root @ inverse @ root.T

    def _inverse_blocks(self, columns):
        """C22 between the columns of every row of ``columns`` (L, K): (L, K, K)."""
        i, j = np.broadcast_arrays(columns[:, :, None], columns[:, None, :])
        inverse = self._inverse_at(np.maximum(i, j).ravel(), np.minimum(i, j).ravel())
        return inverse.reshape(i.shape)

    def multiply_gram(self, b: np.ndarray) -> np.ndarray:
        """Z2'Z2 b; few of its entries differ from zero, whatever the storage."""
        out = np.zeros_like(b)
        sparse.multiply_symmetric(*self._gram, b, out)
        return out

    def _block_sums(self, blocks_by_factor):
        return [
            blocks_by_factor[f, : layout.width, : layout.width]
            for f, layout in enumerate(self.blocks.factors[1:])
        ]

    # ---- what each storage does in its way ----

    def factorize(self) -> tuple[float, bool]:
        """Factor S; returns (log det S, whether it is positive definite)."""
        raise NotImplementedError

    def pivots(self) -> np.ndarray:
        """Diagonal of L22."""
        raise NotImplementedError

    def solve(self, b: np.ndarray, transpose: bool = False) -> None:
        """L22^-1 b, or L22^-T b, in place."""
        raise NotImplementedError

    def form_inverse(self) -> None:
        """Compute C22 where it is needed."""
        raise NotImplementedError

    def invert(self) -> list[np.ndarray]:
        """Compute C22 where it is needed, and sum_l [N Lam2 C22]_ll of every factor."""
        self.form_inverse()
        return self._curvature()

    def _curvature(self) -> list[np.ndarray]:
        """Sum_l [N Lam2 C22]_ll of every factor."""
        raise NotImplementedError

    def estimate_traces(self, right: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Estimates of what ``invert`` and ``link_quadratic`` give, of a dense tail."""
        raise NotImplementedError("a sparse tail gives its traces as they are")

    def multiply_reduced(self, b: np.ndarray) -> np.ndarray:
        """N b."""
        raise NotImplementedError

    def _subtract(self, first: int, last: int) -> None:
        """Take the share of the links ``first`` to ``last`` off N."""
        raise NotImplementedError

    def _quadratic(self, edge, first, last, by_level, out) -> None:
        """Half of the quadratic forms in C22 of those links."""
        raise NotImplementedError

    def _multiply_links(self, edge, out) -> None:
        """Add C22 e_l at the links of every level."""
        raise NotImplementedError

    def read_inverse(self, out: np.ndarray) -> None:
        """C22 as blocks hold Z2'Z2, flat; of a dense tail the lower triangle counts."""
        raise NotImplementedError

    def _inverse_at(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Elements of C22, i >= j."""
        raise NotImplementedError


def _random_signs(size):
    return np.random.default_rng(0).integers(0, 2, (size, PROBES)) * 2.0 - 1.0


def _nonzeros(blocks):
    """Z2'Z2 without its zeros: lower triangle by columns (pointers, rows, values)."""
    pointers = np.empty(blocks.tail_size + 1, np.intp)
    if blocks.pattern is None:
        sparse.count_nonzeros(blocks.tail_gram, pointers)
        rows, values = np.empty(pointers[-1], np.intp), np.empty(pointers[-1])
        sparse.list_nonzeros(blocks.tail_gram, rows, values)
        return pointers, rows, values
    p = blocks.pattern
    rows, values = np.empty_like(p.rows), np.empty_like(blocks.tail_gram)
    count = sparse.keep_nonzeros(
        p.pointers, p.rows, blocks.tail_gram, pointers, rows, values
    )
    return pointers, rows[:count].copy(), values[:count].copy()


class DenseTail(_Tail):
    """Tail as an m x m matrix through LAPACK.

    Two matrices hold everything: ``reduced`` N in its strict lower triangle, with its
    diagonal apart once C22 fills the upper triangle; ``factor`` L22 in its lower one.
    """

    def __init__(self, blocks: Blocks):
        super().__init__(blocks)
        self.reduced = np.empty((self.size, self.size))
        self.factor = np.empty((self.size, self.size))
        self.diagonal = np.empty(self.size)
        self.scratch = np.empty(self.size), np.empty(self.size)

    def _subtract(self, first, last):
        lead.reduce_tail_dense(self.links, self.scaled, first, last, self.reduced)

    def factorize(self) -> tuple[float, bool]:
        """Factor S; returns (log det S, whether it is positive definite)."""
        np.copyto(self.diagonal, np.diagonal(self.reduced))
        kmax = self.lam.shape[1]
        work = np.empty((kmax if kmax > 1 else 0, self.size))
        dense.scale_levels(
            self.reduced, self.levels, self.lam, self.scratch[0], work, self.factor
        )
        with blas_threads(self.size**3 / 6.0):
            log_det, info = dense.factor_cholesky(self.factor)
        return log_det, info == 0

    def pivots(self) -> np.ndarray:
        """Diagonal of L22."""
        return self.factor.diagonal()

    def solve(self, b: np.ndarray, transpose: bool = False) -> None:
        """L22^-1 b, or L22^-T b, in place."""
        dense.solve_cholesky(self.factor, b, transpose)

    def form_inverse(self) -> None:
        """Compute C22."""
        dense.transpose_lower(self.factor, self.reduced)
        with blas_threads(self.size**3 / 3.0):
            dense.invert_upper(self.reduced)
        self.inverted = True

    def _curvature(self):
        sums = np.empty_like(self.lam)
        dense.curvature(
            self.reduced, self.diagonal, self.levels, self.lam, *self.scratch, sums
        )
        return self._block_sums(sums)

    def estimate_traces(self, right: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Estimates of what ``invert`` and ``link_quadratic`` give.

        E[b b'] = I for random signs b, so C22 b b' stands for C22.  The error of the
        gradient has at most 2 / PROBES times its expected information as covariance.
        """
        b = self.blocks
        signs = _random_signs(self.size)
        count = signs.shape[1]
        solved = signs.copy()
        self.solve(solved)
        self.solve(solved, transpose=True)
        image = self.multiply_reduced(self.lam_times(solved))
        sums = []
        for f in range(len(b.factors) - 1):
            at = b.tail_columns(f)
            sums.append(np.einsum("lar,lbr->ab", image[at], signs[at]) / count)
        edge, form = self._edges(right), np.zeros(right.shape[1:])
        for first in range(0, len(right), SOME_LEVELS):
            pointers = b.link_pointers[first : first + SOME_LEVELS + 1]
            parts = np.empty((2, len(pointers) - 1, right.shape[1], count))
            for part, out in zip((solved, signs), parts, strict=True):
                links.multiply_links(pointers, b.link_index, edge, part, out)
            form += np.einsum("lar,lbr->ab", *parts) / count
        return sums, 0.5 * (form + form.T)

    def _quadratic(self, edge, first, last, by_level, out):
        lead.link_quadratic_dense(
            self.links, edge, first, last, self.reduced, by_level=by_level, out=out
        )

    def multiply_reduced(self, b: np.ndarray) -> np.ndarray:
        """N b."""
        out = np.zeros_like(b)
        dense.multiply_lower(self.reduced, self.diagonal, b, out)
        return out

    def _multiply_links(self, edge, out):
        lead_inverse.multiply_links_dense(self.links, edge, self.reduced, out)

    def read_inverse(self, out: np.ndarray) -> None:
        """C22 as blocks hold Z2'Z2, flat; its lower triangle counts."""
        np.copyto(out.reshape(self.size, self.size), self.reduced.T)

    def _inverse_at(self, i, j):
        return self.reduced[j, i]


class PanelTail(DenseTail):
    """Dense tail most of whose columns each level of the lead meets: links as panels.

    A panel holds the links of some levels of the lead as a dense (levels K, m) matrix, and
    BLAS takes its products.
    """

    def __init__(self, blocks: Blocks):
        super().__init__(blocks)
        k = blocks.link_value.shape[1]
        rows = max(1, PANEL_SIZE // (self.size * k))
        count = len(blocks.link_pointers) - 1
        self.panels = [(a, min(a + rows, count)) for a in range(0, count, rows)]
        self.panel = np.zeros((min(rows, count) * k, self.size))
        # links of every level with every column are a panel as they stand
        columns = np.arange(self.size)
        self.whole = k == 1 and len(blocks.link_index) == count * self.size
        if self.whole:
            index = blocks.link_index.reshape(-1, self.size)
            self.whole = bool((index == columns).all())

    def _fill(self, first, last, values):
        """Rows of levels ``first`` to ``last``, k rows a level."""
        b, k = self.blocks, self.blocks.link_value.shape[1]
        if self.whole:
            return values.reshape(-1, self.size)[first:last]
        panel = self.panel[: (last - first) * k]
        panel[:] = 0.0
        links.fill_panel(b.link_pointers, b.link_index, values, first, last, panel)
        return panel

    def _eliminate(self):
        with blas_threads():
            for piece in self.panels:
                dense.subtract_square(self._fill(*piece, self.scaled), self.reduced)

    def link_products(self, edge: np.ndarray) -> np.ndarray:
        """C22 e_l at the links of every level, (nnz, K), of e_l in ``edge``."""
        b, out = self.blocks, np.empty_like(edge)
        with blas_threads():
            if self.whole:
                shape = -1, self.size
                dense.multiply_upper(self.reduced, edge.reshape(shape), out.reshape(shape))
                return out
            for first, last, _, image in self._images(edge):
                links.read_panel(b.link_pointers, b.link_index, image, first, last, out)
        return out

    def multiply_links(self, edge: np.ndarray) -> np.ndarray:
        """The same in any storage."""
        if not self.inverted:
            self.form_inverse()
        return self.link_products(edge)

    def _images(self, edge):
        """Panels (first level, last, e_l, e_l C22), in one matrix after the other."""
        image = np.empty_like(self.panel)
        for first, last in self.panels:
            panel = self._fill(first, last, edge)
            product = image[: len(panel)]
            dense.multiply_upper(self.reduced, panel, product)
            yield first, last, panel, product

    def _forms(self, edge, right, by_level):
        k = right.shape[1]
        out = np.zeros((len(right) if by_level else 1, k, k))
        with blas_threads():
            for first, last, panel, product in self._images(edge):
                own, other = (a.reshape(last - first, -1) for a in (panel, product))
                if not by_level and k == 1:
                    out[0, 0, 0] += np.vdot(own, other)
                    continue
                own, other = (a.reshape(last - first, k, -1) for a in (own, other))
                forms = own @ other.transpose(0, 2, 1)
                if by_level:
                    out[first:last] = forms
                else:
                    out[0] += forms.sum(axis=0)
        return 0.5 * (out + out.transpose(0, 2, 1))


class _PatternTail(_Tail):
    """Tail on a pattern; N, L22 and C22 by columns of its lower triangle."""

    def __init__(self, blocks: Blocks):
        super().__init__(blocks)
        p = blocks.pattern
        if p is None:
            raise ValueError("the tail is dense: it has no pattern")
        self.pattern, self.columns = p, (p.pointers, p.rows)
        self.reduced = np.empty(len(p.rows))
        self.inverse = np.empty(len(p.rows))

    def _subtract(self, first, last):
        lead.reduce_tail_sparse(
            self.links, self.scaled, first, last, *self.columns, self.reduced
        )

    def _scale(self, out):
        sparse.congruence(*self.columns, self.levels, self.lam, self.reduced, out)

    def _curvature(self):
        sums = np.empty_like(self.lam)
        sparse.curvature(
            *self.columns, self.levels, self.lam, self.reduced, self.inverse, sums
        )
        return self._block_sums(sums)

    def _quadratic(self, edge, first, last, by_level, out):
        own = *self.columns, self.inverse
        lead.link_quadratic_sparse(
            self.links, edge, first, last, *own, by_level=by_level, out=out
        )

    def multiply_reduced(self, b: np.ndarray) -> np.ndarray:
        """N b."""
        return self.blocks.multiply_on_pattern(self.reduced, b)

    def _multiply_links(self, edge, out):
        lead_inverse.multiply_links_sparse(
            self.links, edge, *self.columns, self.inverse, out
        )

    def read_inverse(self, out: np.ndarray) -> None:
        """C22 as blocks hold Z2'Z2, on the pattern."""
        np.copyto(out, self.inverse)

    def _inverse_at(self, i, j):
        return self.inverse[self.pattern.locate(i, j)]


class SparseTail(_PatternTail):
    """Tail on a pattern with little or no fill-in, one column after the other."""

    def __init__(self, blocks: Blocks):
        super().__init__(blocks)
        self.factor = np.empty_like(self.reduced)
        self.scratch = [np.empty(self.size, np.intp) for _ in range(3)]

    def factorize(self) -> tuple[float, bool]:
        """Factor S; returns (log det S, whether it is positive definite)."""
        self._scale(self.factor)
        log_det, info = sparse.factor_cholesky(
            *self.columns, self.factor, *self.scratch, np.zeros(self.size)
        )
        return log_det, info == 0

    def pivots(self) -> np.ndarray:
        """Diagonal of L22."""
        return self.factor[self.columns[0][:-1]]

    def solve(self, b: np.ndarray, transpose: bool = False) -> None:
        """L22^-1 b, or L22^-T b, in place."""
        sparse.solve_cholesky(*self.columns, self.factor, b, transpose)

    def form_inverse(self) -> None:
        """Compute C22 on the pattern."""
        work = np.empty(self.size), np.empty(self.size)
        sparse.invert_selected(
            *self.columns, self.factor, *work, self.scratch[0], self.inverse
        )
        self.inverted = True


class SupernodalTail(_PatternTail):
    """Tail on a pattern that fills in, by dense panels of columns that share their rows."""

    def __init__(self, blocks: Blocks):
        super().__init__(blocks)
        nodes = Supernodes(*self.columns, self.pattern.supernodes)
        self.nodes = nodes
        self.factor = np.empty(nodes.size)
        self.inverse_panels = np.empty(0)
        self.by_node = np.empty((3, nodes.n_nodes), np.intp)
        self.by_column = np.empty((2, self.size), np.intp)
        self.work = np.empty(nodes.tallest * nodes.widest)

    def factorize(self) -> tuple[float, bool]:
        """Factor S; returns (log det S, whether it is positive definite)."""
        # until C22 is asked for its array holds S
        self._scale(self.inverse)
        supernodal.fill_panels(self.nodes, self.inverse, self.factor)
        with blas_threads():
            log_det, info = supernodal.factor_supernodes(
                self.nodes, self.factor, self.by_node, self.by_column, self.work
            )
        return log_det, info == 0

    def pivots(self) -> np.ndarray:
        """Diagonal of L22."""
        out = np.empty(self.size)
        supernodal.read_pivots(self.nodes, self.factor, out)
        return out

    def solve(self, b: np.ndarray, transpose: bool = False) -> None:
        """L22^-1 b, or L22^-T b, in place."""
        work = np.empty(max(1, self.nodes.most_below * b.shape[1]))
        supernodal.solve_supernodes(self.nodes, self.factor, work, b, transpose)

    def form_inverse(self) -> None:
        """Compute C22 on the pattern."""
        if not len(self.inverse_panels):
            self.inverse_panels = np.empty_like(self.factor)
            self.gathered = np.empty(max(1, self.nodes.most_below**2))
        scratch = self.by_column, self.gathered, self.work
        with blas_threads():
            supernodal.invert_supernodes(
                self.nodes, self.factor, *scratch, self.inverse_panels
            )
        supernodal.read_panels(self.nodes, self.inverse_panels, self.inverse)
        self.inverted = True
