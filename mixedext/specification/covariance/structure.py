"""The protocol of covariance structures: a curve of covariance matrices.

A structure says how few free parameters theta fill a covariance matrix Sigma, relative to
sigma^2: of the k random effects of a level (then Sigma = lam lam'), or, with visits for
columns and psi for theta, of the residuals of a group.  The engine hands out one symmetric
score S = d deviance / d Sigma; all else that it needs to know of theta is here:

    gradient    <S, d Sigma / d theta_r>
    bend        <S, d2 Sigma / d theta_r d theta_s>
    curve       sum_rs W_rs d2 Sigma / d eta_r d eta_s,  eta the natural parameters
                (the second derivatives in Kenward and Roger, 1997, enter by this alone)

A structure that is linear (``LinearStructure``) says only which matrices span lam and
Sigma; one that is not, such as an autoregression, has methods of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["EffectReport", "ParameterName", "Structure"]


class ParameterName(NamedTuple):
    """What a natural parameter is.

    Attributes
    ----------
    kind : str
        "variance", "covariance", or a word of the structure's own, such as "rho".
    effects : tuple of str
        The columns that it belongs to; empty if it belongs to all of them.
    """

    kind: str
    effects: tuple[str, ...] = ()


class EffectReport(NamedTuple):
    """What is printed of one effect.

    Attributes
    ----------
    name : str
        Of the column.
    variance, sd : float
        Its variance and standard deviation.
    correlations : tuple of float
        With the effects before it, NaN with one that has no variance; empty where the
        structure has none.
    """

    name: str
    variance: float
    sd: float
    correlations: tuple[float, ...] = ()


class Structure(ABC):
    """Covariances of ``k`` columns as a function of free parameters theta.

    Parameters
    ----------
    k : int
        Number of columns of the term, or of visits.
    """

    #: Name in the registry.
    name: str
    #: Whether lam is linear in theta, and Sigma in the natural parameters.
    linear = False
    #: Whether the effects of several columns may be correlated.
    has_correlations = False
    #: Whether there is but one variance, that of all columns.
    shares_one_variance = False
    #: Whether T Sigma T' has the structure too, for any T: then the columns of Z may be
    #: replaced by any basis of theirs.
    any_basis = False
    #: A term in lme4's notation.
    notation = "({columns} | {group})"

    def __init__(self, k: int) -> None:
        self.k = k

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, k: int) -> Self:
        """The structure for k columns, one object for all terms that have it."""
        return cls(k)

    @property
    @abstractmethod
    def n_theta(self) -> int:
        """Number of elements of theta, and of natural parameters."""

    @property
    def is_diagonal(self) -> bool:
        """Whether Sigma and lam are diagonal matrices."""
        return self.k == 1 or not self.has_correlations

    # ---- the curve and its derivatives ----

    @abstractmethod
    def matrix(self, theta: ArrayLike) -> np.ndarray:
        """Sigma, (k, k)."""

    @abstractmethod
    def tangent(self, theta: ArrayLike) -> np.ndarray:
        """d Sigma / d theta_r, (n_theta, k, k)."""

    @abstractmethod
    def bend(self, theta: ArrayLike, score: np.ndarray) -> np.ndarray:
        """sum_ab S_ab d2 Sigma_ab / d theta d theta' of a symmetric matrix S."""

    @abstractmethod
    def curve(self, theta: ArrayLike, weight: np.ndarray) -> np.ndarray:
        """sum_rs W_rs d2 Sigma / d eta_r d eta_s, eta the natural parameters, (k, k)."""

    def gradient(self, theta: ArrayLike, score: np.ndarray) -> np.ndarray:
        """sum_ab S_ab d Sigma_ab / d theta of a symmetric matrix S, (n_theta,)."""
        return np.einsum("rab,ab->r", self.tangent(theta), score)

    # ---- natural parameters ----

    @abstractmethod
    def natural(self, theta: ArrayLike) -> np.ndarray:
        """The natural parameters eta, in which estimates are reported."""

    @abstractmethod
    def free(self, eta: ArrayLike) -> np.ndarray:
        """Theta of natural parameters: ``natural(free(eta))`` is eta."""

    @abstractmethod
    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        """d eta / d theta', (n_theta, n_theta)."""

    @abstractmethod
    def names(self, columns: Sequence[str]) -> list[ParameterName]:
        """What the natural parameters are, by the names of the columns."""

    # ---- of other columns ----

    def resized(self, k: int) -> Self:
        """The structure of the same kind for k columns."""
        return type(self).of(k)

    # ---- starts and roots ----

    @abstractmethod
    def start(self, covariance: np.ndarray | None = None) -> np.ndarray:
        """Theta near a covariance matrix of no structure; with Sigma = I if None."""

    def lam(self, theta: ArrayLike) -> np.ndarray:
        """The relative covariance factor, lower triangular, Sigma = lam lam', (k, k)."""
        return np.linalg.cholesky(self.matrix(theta))

    def nearest(self, covariance: np.ndarray) -> np.ndarray:
        """Factor lam, diagonal not negative, of a covariance in the structure."""
        return self.lam(self.start(covariance))

    def column_scale(self, rms: ArrayLike) -> np.ndarray:
        """Scales of the columns of Z that leave the structure intact: one for all."""
        return np.full(self.k, np.sqrt(np.mean(np.square(rms))))

    # ---- text ----

    def label(self, columns: str, group: str) -> str:
        """A term of these columns in lme4's notation."""
        return self.notation.format(columns=columns, group=group)

    def report(self, covariance: np.ndarray, columns: Sequence[str]) -> list[EffectReport]:
        """What is printed of a covariance matrix, a row for each column."""
        sd = np.sqrt(np.diag(covariance))
        out = []
        for a, name in enumerate(columns):
            correlations: tuple[float, ...] = ()
            if self.has_correlations:
                correlations = tuple(
                    covariance[a, b] / (sd[a] * sd[b]) if sd[a] * sd[b] > 0 else np.nan
                    for b in range(a)
                )
            out.append(EffectReport(name, covariance[a, a], sd[a], correlations))
        return out

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.k == other.k

    def __hash__(self) -> int:
        return hash((type(self), self.k))

    def __repr__(self) -> str:
        return f"{self.name}({self.k})"
