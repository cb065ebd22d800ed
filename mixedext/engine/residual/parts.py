"""What a part of the rows gives to the marginal deviance and to its derivatives.

Rows fall into independent clusters with covariance V, relative to sigma^2.  With
C = [Q y] their rows of a basis of X and of y, a part sums over its clusters

    log|V|,    A = sum C'V^-1 C,

and, once A is known, with X~ = V^-1 Q L^-T (X~'V X~ sums to I) and e~ = V^-1 (y - Q b),

    score   S_r = <V_r, sum of V^-1 - X~ X~' - kappa e~ e~'>,
    a_r = e~'V_r e~,    q_rs = e~'V_r V^-1 V_s e~,    x_r = X~'V_r e~

for the derivatives V_r of V in the parameters.  Average information is made of these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

__all__ = ["Moments", "Part", "PartProducts", "Solved"]


class Solved(NamedTuple):
    """The fixed-effects block, which all parts share.

    Attributes
    ----------
    change : ndarray
        What [Q y] is multiplied by to become [Q L^-T, y - Q b], (P, P).
    kappa : float
        d / y'P0y, the reciprocal of sigma^2.
    reml : bool
        Whether X~ takes part in scores.
    """

    change: np.ndarray
    kappa: float
    reml: bool


@dataclass
class Moments:
    """Sums over the clusters of a part, by parameter.

    Attributes
    ----------
    gradient : ndarray
        <V_r, S>, (n,).
    bend : ndarray
        <d2V / d r d s, S>, (n, n).
    residual : ndarray
        a_r, (n,).
    quadratic : ndarray
        q_rs, (n, n).
    on_fixed : ndarray
        x_r, (n, p).
    traces : ndarray
        tr V^-1 V_r V^-1 V_s - [REML] 2 tr X~'V_r V^-1 V_s X~, (n, n).
    squares : ndarray or None
        X~'V_r X~, (n, p, p), where it is wanted.
    """

    gradient: np.ndarray
    bend: np.ndarray
    residual: np.ndarray
    quadratic: np.ndarray
    on_fixed: np.ndarray
    traces: np.ndarray
    squares: np.ndarray | None = None

    @classmethod
    def zeros(cls, n: int, p: int, squares: bool = False) -> Moments:
        """No cluster yet."""
        return cls(
            np.zeros(n),
            np.zeros((n, n)),
            np.zeros(n),
            np.zeros((n, n)),
            np.zeros((n, p)),
            np.zeros((n, n)),
            np.zeros((n, p, p)) if squares else None,
        )


@dataclass
class PartProducts:
    """What information on the covariance needs, by directions G_r of V.

    Attributes
    ----------
    first : ndarray
        [X~ e~]'G_r [X~ e~], (n, P, P).
    residual : ndarray
        e~'G_r V^-1 G_s e~, (n, n).
    traces : ndarray
        tr V^-1 G_r V^-1 G_s, (n, n).
    single : ndarray
        tr V^-1 G_r, (n,).
    second_traces : ndarray
        tr X~'G_r V^-1 G_s X~, (n, n).
    """

    first: np.ndarray
    residual: np.ndarray
    traces: np.ndarray
    single: np.ndarray
    second_traces: np.ndarray

    @classmethod
    def zeros(cls, n: int, width: int) -> PartProducts:
        """No cluster yet."""
        square = (n, n)
        return cls(
            np.zeros((n, width, width)),
            np.zeros(square),
            np.zeros(square),
            np.zeros(n),
            np.zeros(square),
        )


class Part(ABC):
    """Clusters of rows that are treated alike."""

    @abstractmethod
    def factor(
        self, covariances: Sequence[np.ndarray], psi: np.ndarray, cross: np.ndarray
    ) -> float:
        """log|V| at the parameters, infinite if some V is not positive definite.

        Parameters
        ----------
        covariances : sequence of ndarray
            Sigma of every random term, relative to sigma^2.
        psi : ndarray
            Parameters of the residual covariance.
        cross : ndarray
            A, to which this part adds, (P, P).
        """

    @abstractmethod
    def add_moments(
        self, tangents: Sequence[np.ndarray], psi: np.ndarray, solved: Solved, into: Moments
    ) -> list[np.ndarray]:
        """Add this part's sums where ``factor`` was called last; scores of the terms.

        Parameters
        ----------
        tangents : sequence of ndarray
            d Sigma / d theta of every term, (n_theta, k, k).
        """

    @abstractmethod
    def add_products(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        into: PartProducts,
    ) -> None:
        """Add this part's sums for directions of Sigma of every term, then psi."""

    @abstractmethod
    def weighted_second(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        weight: np.ndarray,
    ) -> np.ndarray:
        """sum_rs W_rs X~'G_r V^-1 G_s X~, (p, p)."""

    @abstractmethod
    def curved(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        scale: float,
        weight: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """For Vbar = sum_rs W_rs d2R / d eta_r d eta_s, relative to sigma^2.

        Returns
        -------
        on_fixed : ndarray
            X~'Vbar X~, (p, p).
        traces : ndarray
            tr P V_r P Vbar less what X~'Vbar X~ alone gives, for all directions:
            tr V^-1 G_r V^-1 Vbar - 2 tr X~'G_r V^-1 Vbar X~, (n,).
        single : float
            tr V^-1 Vbar.
        """
