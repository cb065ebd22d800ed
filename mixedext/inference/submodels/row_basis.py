"""Spaces of fixed-effects columns on the rows: which lies in which.

They are compared in the coordinates of an orthonormal basis, X = Q R, where they are well
conditioned whatever the units of the columns are.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from mixedext.engine.rows.basis import FixedBasis
from mixedext.exceptions import DesignError
from mixedext.limits import COLUMN_INSIDE, SPACE_RANK

__all__ = ["RowBasis", "column_rank", "column_space", "independent_columns", "padded_svd"]


class RowBasis:
    """An orthonormal basis of fixed-effects columns, evaluated on the rows.

    Parameters
    ----------
    exog : ndarray
        All fixed-effects columns, (n, k).
    basis : FixedBasis
        Of the fit; its triangle may belong to weighted rows.

    Attributes
    ----------
    q : ndarray
        (n, rank), q'q = I without weights.
    r : ndarray
        Upper triangular: exog[:, kept] = q r.
    """

    def __init__(self, exog: np.ndarray, basis: FixedBasis):
        rank = basis.rank
        q = exog[:, basis.kept] @ linalg.solve_triangular(basis.r, np.eye(rank))
        # what the weights, or the rounding of R, have left
        gram = q.T @ q
        if np.abs(gram - np.eye(rank)).max(initial=0.0) < 0.5 / max(rank, 1):
            upper = linalg.cholesky(gram) if rank else gram
            self.q = q @ linalg.solve_triangular(upper, np.eye(rank))
        else:  # uneven weights
            self.q, upper = linalg.qr(q, mode="economic")
        self.r = upper @ basis.r

    def restriction(
        self, columns: np.ndarray, shift: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows L and values c with L b = c where X b - shift lies in the columns' span.

        Parameters
        ----------
        columns : ndarray
            Columns of the smaller model, (n, m).
        shift : ndarray, optional
            The smaller model's offset less the larger one's, (n,).

        Returns
        -------
        rows : ndarray
            (rank - rank of the columns, rank), orthonormal.
        values : ndarray
            What the rows are to be.

        Raises
        ------
        DesignError
            If the smaller model's columns are not in the span of these columns.
        """
        inside = self._coordinates(columns, "columns")
        if inside.shape[1] == 0:
            outside = np.eye(len(self.r))
        else:
            left, size, _ = np.linalg.svd(inside)
            outside = left[:, int((size > COLUMN_INSIDE * size[0]).sum()) :]
        values = np.zeros(outside.shape[1])
        if shift is not None and shift.any():
            values = outside.T @ self._coordinates(shift[:, None], "offset")[:, 0]
        if outside.shape[1] == 0:
            return np.zeros((0, len(self.r))), values
        # orthonormal, as pbkrtest's: Satterthwaite's joint df depend on the rows' form
        rows, triangle = linalg.qr((outside.T @ self.r).T, mode="economic")
        return rows.T, linalg.solve_triangular(triangle, values, trans="T")

    def spans(self, columns: np.ndarray) -> np.ndarray:
        """Which columns are combinations of the basis, (m,) bool."""
        _, rest, length = self._projected(columns)
        return rest <= COLUMN_INSIDE * length

    def _projected(self, columns):
        """Coordinates of columns of length 1, length of what is left, and length."""
        length = np.sqrt((columns**2).sum(axis=0))
        unit = columns / np.where(length > 0, length, 1.0)
        inside = self.q.T @ unit
        rest = unit - self.q @ inside
        again = self.q.T @ rest  # what rounding has missed
        rest -= self.q @ again
        return inside + again, np.sqrt((rest**2).sum(axis=0)) * length, length

    def _coordinates(self, columns, what):
        inside, rest, length = self._projected(columns)
        foreign = int((rest > COLUMN_INSIDE * length).sum())
        if foreign:
            raise DesignError(
                f"the models are not nested: {foreign} of the {columns.shape[1]} {what} "
                "of the smaller model's fixed effects are no combination of the larger's"
                if what == "columns"
                else "the models are not nested: their offsets differ by more than the "
                "larger model's fixed effects can make up for"
            )
        return inside * length if what == "offset" else inside

    def cell_products(self, codes: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """q' times indicators of cells times columns, (rank, cells * columns).

        Parameters
        ----------
        codes : ndarray
            Cell of every row, (n,).
        columns : ndarray
            Numeric columns that the indicators are multiplied by, (n, m).
        """
        count = int(codes.max(initial=-1)) + 1
        out = np.empty((self.q.shape[1], columns.shape[1], count))
        for j in range(self.q.shape[1]):
            for m in range(columns.shape[1]):
                weights = self.q[:, j] * columns[:, m]
                out[j, m] = np.bincount(codes, weights, minlength=count)
        return out.reshape(len(out), -1)


def independent_columns(block: np.ndarray) -> list[int]:
    """Numbers of columns, as early as can be, that span what all columns do."""
    found: list[int] = []
    basis = np.zeros((len(block), 0))
    for j, column in enumerate(block.T):
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        size = np.linalg.norm(rest)
        if size > COLUMN_INSIDE * np.linalg.norm(column) and len(found) < len(block):
            found.append(j)
            basis = np.column_stack([basis, rest / size])
    return found


def padded_svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular values, as many as there are rows, and all their vectors."""
    left, size, right = np.linalg.svd(matrix, full_matrices=True)
    padded = np.zeros(len(left))
    padded[: len(size)] = size
    return left, padded, right


def _normalized(matrix):
    length = np.sqrt((matrix**2).sum(axis=0))
    return matrix[:, length > 0] / length[length > 0]


def column_space(matrix: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span those of a matrix."""
    left, size, _ = np.linalg.svd(_normalized(matrix), full_matrices=False)
    return left[:, size > SPACE_RANK * size.max(initial=0.0)]


def column_rank(matrix: np.ndarray) -> int:
    """Rank of a matrix, its columns at length 1."""
    return column_space(matrix).shape[1] if matrix.size else 0
