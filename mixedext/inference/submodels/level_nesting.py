"""Whether levels of one grouping factor, or of a random term, lie within another's."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["is_nested", "nonzeros", "term_is_nested"]


def is_nested(inner: np.ndarray, outer: np.ndarray) -> bool:
    """Whether all rows of each level of ``inner`` are of one level of ``outer``."""
    owner = np.empty(int(inner.max()) + 1, outer.dtype)
    owner[inner] = outer
    return bool((owner[inner] == outer).all())


def term_is_nested(term: RandomTerm | SparseTerm, codes: np.ndarray) -> bool:
    """Whether the rows of each level of a random term are of one cluster."""
    if not isinstance(term, SparseTerm):
        return is_nested(term.codes, codes)
    column, row = nonzeros(term.matrix)
    return not len(column) or is_nested(column, codes[row])


def nonzeros(matrix: Any) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the entries of a sparse matrix that are not zero."""
    own = matrix.tocoo()
    kept = own.data != 0
    return own.col[kept].astype(np.intp), own.row[kept].astype(np.intp)
