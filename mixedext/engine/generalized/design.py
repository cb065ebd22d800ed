"""The rows of a generalized linear mixed model in the engine's units.

Columns of X enter in an orthonormal basis, those of a random term orthogonal at root mean
square 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from mixedext.engine.factor.spread import engine_terms, factor_layouts, sum_products
from mixedext.engine.generalized.row_layout import RowLayout, lay_out_rows
from mixedext.engine.rows.blocks import Blocks, build_blocks
from mixedext.engine.rows.design import Design, first_pass
from mixedext.engine.rows.products import fixed_chunks
from mixedext.engine.rows.rows import Rows
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["GeneralizedDesign", "prepare_rows"]

# Columns of the tail from which on a pattern without fill-in beats a dense matrix.
LEAST_PATTERN = 48


@dataclass(frozen=True, eq=False)
class GeneralizedDesign:
    """Rows, blocks and units of a generalized model.

    Attributes
    ----------
    units : Design
        Blocks (their values by weights of one), structures of the terms, the basis of X
        and the units of Z; nothing of a response.
    x : ndarray
        Q, the orthonormal basis of X, (n, rank), by columns.
    offset : ndarray or None
        Known part of the linear predictor, (n,).
    layout : RowLayout
        The rows of Z.
    """

    units: Design
    x: np.ndarray
    offset: np.ndarray | None
    layout: RowLayout

    @property
    def nobs(self) -> int:
        """Number of rows."""
        return len(self.x)

    @property
    def rank(self) -> int:
        """Columns of the basis of X."""
        return self.x.shape[1]

    @property
    def blocks(self) -> Blocks:
        """The blocks."""
        return self.units.blocks

    @cached_property
    def z(self) -> sparse.csr_array:
        """Z, the leading factor's columns first, (n, L K + m)."""
        return self.layout.matrix()

    @cached_property
    def zt(self) -> sparse.csr_array:
        """Z', (L K + m, n)."""
        return sparse.csr_array(self.z.T.tocsr())

    def with_offset(self, offset: np.ndarray | None) -> GeneralizedDesign:
        """The same rows with another offset."""
        other = replace(self, offset=offset)
        for name in ("z", "zt"):
            if name in vars(self):
                vars(other)[name] = vars(self)[name]
        return other

    def split(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (q,) or (q, R) as those of the lead, (L, K, ...), and the tail's."""
        levels, width = self.blocks.lead_gram.shape[:2]
        head = levels * width
        return u[:head].reshape(levels, width, *u.shape[1:]), u[head:]

    def joined(self, lead: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """The reverse of ``split``."""
        shape = (lead.shape[0] * lead.shape[1], *lead.shape[2:])
        return np.concatenate([lead.reshape(shape), tail])

    def of_factor(self, number: int, u: np.ndarray) -> np.ndarray:
        """What of coefficients (q, ...) belongs to a grouping factor, (L, K, ...)."""
        return u[self.layout.level_columns[number]]

    @cached_property
    def place(self) -> dict[int, tuple[int, slice]]:
        """For each term the number of its grouping factor, and its columns there."""
        return {
            term: (number, columns)
            for number, layout in enumerate(self.blocks.factors)
            for term, columns in zip(layout.terms, layout.slices, strict=True)
        }

    def of_term(self, term: int, u: np.ndarray) -> np.ndarray:
        """What of coefficients (q, ...) belongs to a term, (L, k, ...)."""
        number, columns = self.place[term]
        return self.of_factor(number, u)[:, columns]

    def factor_lams(self, lams: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Factors of the covariance by grouping factor, (K, K), from those by term."""
        out = []
        for layout in self.blocks.factors:
            lam = np.zeros((layout.width, layout.width))
            for term, at in zip(layout.terms, layout.slices, strict=True):
                lam[at, at] = lams[term]
            out.append(lam)
        return out

    def times_lam(
        self, lams: Sequence[np.ndarray], u: np.ndarray, transpose: bool = False
    ) -> np.ndarray:
        """Lam u, or Lam'u, of (q,) or (q, R); ``lams`` by grouping factor."""
        if not self.blocks.factors:
            return u.copy()
        if self.layout.is_scalar:
            size = np.array([lam[0, 0] for lam in lams])[self.layout.factor]
            return u * (size if u.ndim == 1 else size[:, None])
        return self.layout.by_factor([lam.T if transpose else lam for lam in lams], u)


def prepare_rows(
    x: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    offset: np.ndarray | None = None,
    storage: str | None = None,
) -> GeneralizedDesign:
    """Lay out the rows of a generalized model.

    Parameters
    ----------
    x : ndarray
        Fixed-effects columns, (n, k), finite; dependent columns are dropped.
    terms : sequence of RandomTerm or SparseTerm
        Random terms, at least one.
    offset : ndarray, optional
        Known part of the linear predictor, (n,), finite.
    storage : {"dense", "sparse"}, optional
        Storage of the tail; chosen by estimated cost if None.

    Raises
    ------
    MemoryError
        If the blocks would not fit into memory; says why and what to do.
    """
    own = engine_terms(terms)
    n = len(x)
    # the passes of linear models want a response; any one that is not in X will do
    stand_in = np.cos(np.arange(n, dtype=float))
    rows = Rows(stand_in, x, own, None)
    layouts = factor_layouts(own, terms)
    bases = first_pass(rows, sample=False)
    products = sum_products(rows, bases, layouts)
    count = len(products.grams)
    empty = tuple(np.zeros((*products.grams[i].shape[:2], 1)) for i in range(count))
    products = replace(products, crosses=empty, fixed_gram=np.zeros((1, 1)))
    blocks = _blocks(products, storage)
    units = Design(
        blocks,
        tuple(t.without_rows() for t in terms),
        bases.basis,
        np.zeros(bases.basis.rank),
        1.0,
        _transforms(bases, products.layouts),
        0.0,
    )
    layout = lay_out_rows(units, terms, n)
    return GeneralizedDesign(units, _basis_of_rows(rows, bases), offset, layout)


def _blocks(products, storage):
    """Blocks; those of nested factors by their pattern, which has then no fill-in.

    A factorization is made in each iteration, not in each evaluation alone.
    """
    if storage is None and not any(f.spread for f in products.layouts):
        tail = sum(f.n_levels * f.width for f in products.layouts[1:])
        if tail >= LEAST_PATTERN:
            found = build_blocks(products, "sparse")
            if found.storage == "nested":
                return found
    return build_blocks(products, storage)


def _transforms(bases, layouts):
    """The terms' changes of columns; columns that have become levels have one scale."""
    transforms = list(bases.transforms)
    for f in layouts:
        for number, at in zip(f.terms, f.slices, strict=True):
            width = at.stop - at.start
            transforms[number] = transforms[number][:width, :width]
    return tuple(transforms)


def _basis_of_rows(rows, bases):
    """Q, by columns; once more orthogonal, which costs no digits of the coefficients."""
    rank = bases.basis.rank
    out = np.empty((rows.nobs, rank), order="F")
    for at, fixed in fixed_chunks(rows, bases):
        out[at] = fixed[:, :rank]
    return out
