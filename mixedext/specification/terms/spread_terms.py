"""Random terms of several columns whose rows belong to several levels at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.specification.covariance.term_structure import TermStructure
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["SpreadTerm"]


class SpreadTerm(SparseTerm):
    """Z b, b_l ~ N(0, Sigma) independent by level, for any matrix Z of k columns a level.

    Rows whose residuals were correlated across levels of a term are of this kind once they
    are whitened: each is a combination of rows of several levels.

    Parameters
    ----------
    matrix : sparse array
        Z, (n, L k): the columns of a level stand together.
    group : str
        Name of the grouping factor.
    names : list of str
        Names of the k columns.
    structure : TermStructure
        Of Sigma, (k, k).
    levels : Index, optional
        Names of the L levels.

    Attributes
    ----------
    matrix : csr_array
        Z.
    """

    def __init__(
        self,
        matrix: Any,
        group: str,
        names: Sequence[str],
        structure: TermStructure,
        levels: pd.Index | None = None,
    ):
        self._put(_canonical(matrix), group, levels)
        self.__dict__.update(names=list(names), structure=structure)

    def _with(self, matrix):
        return SpreadTerm(matrix, self.group, self.names, self.structure, self._levels)

    @property
    def k(self) -> int:
        """Random effects of one level."""
        return len(self.names)

    @property
    def n_levels(self) -> int:
        """Levels of k columns each."""
        return self.matrix.shape[1] // self.k

    @property
    def label(self) -> str:
        """The term in words, for messages."""
        return f"({' + '.join(self.names)} | {self.group})"

    def __repr__(self) -> str:
        return (
            f"SpreadTerm {self.group}: {self.n_levels} levels of {self.k} columns, "
            f"{self.n_rows} rows, {self.matrix.nnz} values"
        )

    def columns_by_square(self) -> tuple[np.ndarray, ...]:
        """k columns with the cross-products sum_l Z_l'Z_l, by which bases are chosen."""
        whole = np.zeros((self.k, self.k))
        by_place = [self.matrix[:, j :: self.k] for j in range(self.k)]
        for i, one in enumerate(by_place):
            for j, other in enumerate(by_place[: i + 1]):
                whole[i, j] = whole[j, i] = one.multiply(other).sum()
        value, vector = np.linalg.eigh(whole)
        out = np.zeros((self.n_rows, self.k))
        most = min(self.k, self.n_rows)
        root = np.sqrt(np.maximum(value, 0.0))[:, None] * vector.T
        out[:most] = root[self.k - most :]
        return tuple(np.ascontiguousarray(out.T))

    @property
    def is_like_residual(self) -> bool:
        """Whether Z b is one more residual: its columns are of rows of several levels."""
        return False


def _canonical(matrix):
    out = sparse.csr_array(matrix)
    if not out.has_canonical_format:
        out.sum_duplicates()
    return out
