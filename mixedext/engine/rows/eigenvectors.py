"""The basis in which the columns of Z are orthogonal within levels, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Rotation"]


@dataclass(frozen=True, eq=False)
class Rotation:
    """Eigenvectors of Z_l'Z_l.

    Attributes
    ----------
    vectors : ndarray
        U, (L, K, R): of every level, or of all columns at once (L = 1).  R = K, but with
        more columns than rows only the R directions that Z has.
    value : ndarray
        Eigenvalues, (L, R); zero where they are rounding.
    """

    vectors: np.ndarray
    value: np.ndarray

    def forward(self, b: np.ndarray) -> np.ndarray:
        """U'b (L R, ...) for b = Z'(anything), (L K, ...)."""
        flat = b.reshape(*self.vectors.shape[:2], -1)
        out = (self.vectors.transpose(0, 2, 1) @ flat) * (self.value > 0)[..., None]
        return out.reshape(self.value.size, *b.shape[1:])

    def back(self, b: np.ndarray) -> np.ndarray:
        """U b (L K, ...), for b (L R, ...)."""
        flat = b.reshape(*self.value.shape, -1)
        return (self.vectors @ flat).reshape(self.n_columns, *b.shape[1:])

    @property
    def n_columns(self) -> int:
        """Columns of Z, L K."""
        return self.vectors.shape[0] * self.vectors.shape[1]

    def covariance(self, variance: np.ndarray, prior: float, width: int) -> np.ndarray:
        """Blocks of U diag(variance) U' + prior (I - UU') for ``width`` columns at a time.

        Parameters
        ----------
        variance : ndarray
            (L R,)
        prior : float
            Variance in the directions that Z has not.
        width : int
            K for the levels' whole blocks, 1 for the diagonal alone.
        """
        variance = variance.reshape(self.value.shape)
        if width == 1:
            out = np.einsum("lij,lij,lj->li", self.vectors, self.vectors, variance)
            if self.vectors.shape[2] < self.vectors.shape[1]:
                square = np.einsum("lij,lij->li", self.vectors, self.vectors)
                out += prior * (1.0 - square).clip(0.0)
            return out.reshape(-1, 1, 1)
        scaled = self.vectors * variance[:, None, :]
        return scaled @ self.vectors.transpose(0, 2, 1)
