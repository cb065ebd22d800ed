"""Blocks of rows whose weights change, the rest of them found once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixedext.engine.rows.basis import Bases
from mixedext.engine.rows.blocks import build_blocks
from mixedext.engine.rows.products import FactorLayout, RowSums
from mixedext.engine.rows.rows import Rows

__all__ = ["ReweightedBlocks"]


class ReweightedBlocks:
    """Cross-products by block, in arrays that new weights fill again.

    Where an element of the blocks comes from does not depend on its value: it is found
    from blocks of numbers that count the elements of the cross-products.

    Parameters
    ----------
    rows : Rows
        The rows; their weights are replaced.
    bases : Bases
        Of their columns, for whatever weights.
    layouts : sequence of FactorLayout
        Grouping factors of ordinary random terms.
    """

    def __init__(self, rows: Rows, bases: Bases, layouts: Sequence[FactorLayout]):
        self.rows, self.sums = rows, RowSums(rows, bases, layouts)
        products = self.sums.products()
        start, grams, pairs = 1, [products.grams[0]], {}
        for gram in products.grams[1:]:
            grams.append(_numbers(start, gram))
            start += gram.size
        for key, pair in products.pairs.items():
            pairs[key] = replace(pair, value=_numbers(start, pair.value))
            start += pair.value.size
        counted = build_blocks(replace(products, grams=tuple(grams), pairs=pairs))
        self.blocks = build_blocks(products)
        self._places: list[tuple[str, np.ndarray, np.ndarray]] = []
        if len(layouts) > 1:
            for name in ("link_value", "tail_gram"):
                own = getattr(counted, name).ravel()
                at = np.flatnonzero(own)
                self._places.append((name, at, own[at].astype(np.intp)))

    def weigh(self, weights: np.ndarray) -> None:
        """Sum the products by other weights, (n,)."""
        self.rows.weights = weights
        products, blocks = self.sums.products(), self.blocks
        blocks.fixed_gram[:] = products.fixed_gram
        blocks.lead_gram[:] = products.grams[0]
        blocks.lead_cross[:] = products.crosses[0]
        parts = [np.zeros(1), *(gram.ravel() for gram in products.grams[1:])]
        parts += [pair.value.ravel() for pair in products.pairs.values()]
        values = np.concatenate(parts)
        for name, at, source in self._places:
            getattr(blocks, name).reshape(-1)[at] = values[source]
        for number, cross in enumerate(products.crosses[1:]):
            blocks.tail_cross[blocks.tail_columns(number)] = cross


def _numbers(start, like):
    return np.arange(start, start + like.size, dtype=float).reshape(like.shape)
