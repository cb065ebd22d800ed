"""Z of all random terms, in the engine's units, as sparse matrices with a row a datum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy import sparse

from mixedext.engine.factor.spread import engine_terms, times_by_level
from mixedext.engine.rows.basis import FixedBasis
from mixedext.engine.rows.blocks import Blocks
from mixedext.engine.rows.eigenvectors import Rotation
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["EngineUnits", "transposed_rows"]


class EngineUnits(Protocol):
    """What of a Design (engine.rows.design) says how rows look in the engine's units."""

    @property
    def blocks(self) -> Blocks: ...
    @property
    def basis(self) -> FixedBasis: ...
    @property
    def least_squares(self) -> np.ndarray: ...
    @property
    def y_scale(self) -> float: ...
    @property
    def rotation(self) -> Rotation | None: ...
    @property
    def inverse_transforms(self) -> tuple[np.ndarray, ...]: ...


def transposed_rows(
    design: EngineUnits,
    terms: Sequence[RandomTerm | SparseTerm],
    n: int,
    root: np.ndarray | None,
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Z' of the leading factor and of the tail, weighted: sparse (columns, n).

    Parameters
    ----------
    design : Design
        The model.
    terms : list of RandomTerm or SparseTerm
        The terms as they were given, with their rows.
    n : int
        Rows.
    root : ndarray or None
        Square roots of the weights, (n,).
    """
    blocks, rotation = design.blocks, design.rotation
    lead, tail = [], []
    pairs = zip(engine_terms(terms), design.inverse_transforms, strict=True)
    for i, (term, inverse) in enumerate(pairs):
        number, at = next(
            (f, place)
            for f, layout in enumerate(blocks.factors)
            for t, place in zip(layout.terms, layout.slices, strict=True)
            if t == i
        )
        if number == 0:
            width = term.k if rotation else blocks.factors[0].width
            place = np.arange(term.n_levels * width).reshape(-1, width)
            place = place if rotation else place[:, at]
            lead.append(_placed(term, inverse, place))
        else:
            tail.append(_placed(term, inverse, blocks.tail_columns(number - 1)[:, at]))
    size = rotation.n_columns if rotation else blocks.lead_gram[:, 0].size
    return _sums(lead, n, size, root), _sums(tail, n, blocks.tail_size, root)


def _sums(parts, n, size, root):
    """Z', weighted, of terms given by ``_placed``; sparse (size, n)."""
    z = sparse.csr_array((n, size))
    for data, index, pointers in parts:
        part = sparse.csr_array((data, index, pointers), shape=(n, size))
        z = part if len(parts) == 1 else z + part
    if root is not None:
        z.data *= np.repeat(root, np.diff(z.indptr))
    return z.T.tocsr()


def _placed(term, inverse, place):
    """Z times ``inverse`` of one term as compressed rows; columns ``place`` (L, k)."""
    if isinstance(term, SparseTerm):
        z = times_by_level(term.matrix, inverse)
        return z.data, place.ravel()[z.indices], z.indptr
    z = term.z * inverse[0, 0] if len(inverse) == 1 else term.z @ inverse
    pointers = np.arange(len(z) + 1) * term.k
    return z.ravel(), place[term.codes].ravel(), pointers
