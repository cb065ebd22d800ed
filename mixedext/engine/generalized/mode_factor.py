"""The Cholesky factor of M = A'W A + I, A = Z Lam, and what modes and gradients ask of it.

``engine.factor`` holds one Z'Z and factors it for many covariances.  Here the weights
change with every step, so that nothing would be saved: the blocks hold A'W A itself.
"""

from __future__ import annotations

import numpy as np

from mixedext.engine.factor.tail import make_tail
from mixedext.engine.generalized.row_layout import WeightedBlocks
from mixedext.kernels.factor import lead, lead_inverse, links

__all__ = ["ModeFactor"]


class ModeFactor:
    """Factor of M for weights that change.

    Parameters
    ----------
    blocks : WeightedBlocks
        Filled before every ``update``.

    Attributes
    ----------
    log_det : float
        log det M.
    """

    def __init__(self, blocks: WeightedBlocks):
        self.blocks, self.log_det = blocks, 0.0
        own = blocks.blocks
        levels, k = own.lead_gram.shape[:2]
        self._head = levels * k
        self._half = np.empty_like(own.lead_gram)
        self._unit, self._work = np.eye(k), np.empty((2 * k, k))
        self._tail = make_tail(own)
        self._tail.set_lam([np.eye(f.width) for f in own.factors[1:]])
        self._inverse = np.empty_like(blocks.values)

    def update(self) -> bool:
        """Factor; whether M is positive definite."""
        log_det, good = lead.factor_levels(
            self.blocks.blocks.lead_gram, self._unit, self._half, self._work
        )
        if not good:
            return False
        self._tail.reduce_gram(self._half)
        tail_log_det, good = self._tail.factorize()
        self.log_det = log_det + tail_log_det
        return bool(good)

    def solve(self, b: np.ndarray) -> np.ndarray:
        """M^-1 b of (q,) or (q, R)."""
        own, tail, half = self.blocks.blocks, self._tail, self._half
        columns = np.ascontiguousarray(b).reshape(len(b), -1)
        shape = (*half.shape[:2], columns.shape[1])
        solved = np.empty(shape)
        lead.reduce_fixed(half, columns[: self._head].reshape(shape), solved)
        out = np.empty_like(columns)
        rest = out[self._head :]
        rest[:] = columns[self._head :]
        at = own.link_pointers, own.link_index, tail.scaled
        if len(own.link_index):
            lead.reduce_cross(*at, solved, rest)
        if len(rest):
            tail.solve(rest)
            tail.solve(rest, transpose=True)
        lead_inverse.substitute_back(
            half, *at, rest, solved, out[: self._head].reshape(shape)
        )
        return out.reshape(b.shape)

    def inverse(self) -> np.ndarray:
        """M^-1 where A'W A has values, flat as these; overwritten by the next call."""
        own, tail = self.blocks.blocks, self._tail
        square, link, rest = self.blocks.parts(self._inverse)
        lead_inverse.square_levels(self._half, square)
        if tail.size:
            tail.form_inverse()
            tail.read_inverse(rest)
        if len(own.link_index):
            edge = np.empty_like(link)
            links.link_times(own.link_pointers, own.link_value, square, edge)
            product = tail.multiply_links(edge)
            lead_inverse.add_link_squares(own.link_pointers, edge, product, square)
            np.negative(product, out=link)
        return self._inverse
