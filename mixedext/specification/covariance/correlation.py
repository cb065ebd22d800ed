"""The protocol of correlation structures: curves C(psi) over visits, times or places.

Residuals of a group have the covariance sigma^2 s_a s_b C_ab, with standard deviations s of
variance functions (``variance_functions``); random effects of a structured term likewise.
Psi are free parameters, any real numbers, in which a search runs.  The natural parameters
rho (correlations, a range, a nugget) are those in which estimates are reported, and in
which Kenward and Roger's second derivatives are taken.

Arrays hold many groups at once: c patterns of s rows each.  Where a structure is one over
visits, ``place`` (c, s) holds the numbers of the visits, 0 .. m - 1; otherwise ``place``
(c, s, s) holds distances.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mixedext.limits import CORRELATION_AT_LIMIT

__all__ = ["AtLimit", "Correlation", "FarEnd", "LagCorrelation"]


class AtLimit(NamedTuple):
    """A parameter that has run to an end of its range.

    Attributes
    ----------
    number : int
        Its place among psi, and among the natural parameters.
    name : str
        Of the natural parameter.
    value : float
        The natural parameter in the limit.
    """

    number: int
    name: str
    value: float


class FarEnd(NamedTuple):
    """Psi far out on the way to a limit in which sigma^2 grows without bound.

    Attributes
    ----------
    number : int
        The element that runs off, and is to be held.
    psi : ndarray
        There.
    growth : float
        How many times larger sigma^2 is there, so that variances of differences stay.
    """

    number: int
    psi: np.ndarray
    growth: float


class Correlation(ABC):
    """A correlation matrix as a function of free parameters psi."""

    #: Whether ``place`` holds visits, (c, s), rather than distances, (c, s, s).
    over_visits: ClassVar[bool] = True
    #: Whether ``matrix`` is a covariance: its element [0, 0] over all visits is one, the
    #: other variances are parameters.
    is_covariance: ClassVar[bool] = False
    #: Whether, with one variance for all rows, the covariances are parameters themselves:
    #: V is then linear in SAS's parameters.
    linear_if_homogeneous: ClassVar[bool] = False

    @property
    def is_chain(self) -> bool:
        """Whether, on a line, a row depends on the row before alone, by one parameter."""
        return False

    def by_gap(self, psi: ArrayLike, gap: np.ndarray) -> np.ndarray:
        """1 - r, r, r' and r'' of rows that follow each other at some gaps, (4, T).

        Parameters
        ----------
        gap : ndarray
            Differences of visits, or distances, (T,).
        """
        raise NotImplementedError(f"{type(self).__name__} is no chain of rows")

    @property
    @abstractmethod
    def n_psi(self) -> int:
        """Number of elements of psi, and of natural parameters."""

    @property
    def nested(self) -> Correlation | None:
        """A simpler structure: that of the first elements of psi, the others at zero."""
        return None

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the natural parameters."""

    # ---- the curve and its derivatives ----

    @abstractmethod
    def matrix(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        """C, (c, s, s)."""

    @abstractmethod
    def tangent(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        """d C / d psi_r, (n_psi, c, s, s)."""

    @abstractmethod
    def bend(self, psi: ArrayLike, place: np.ndarray, score: np.ndarray) -> np.ndarray:
        """sum_c,ab S_ab d2 C_ab / d psi d psi' of symmetric matrices S, (n_psi, n_psi)."""

    @abstractmethod
    def curve(self, psi: ArrayLike, place: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """sum_rs W_rs d2 C / d rho_r d rho_s, in SAS's parameters, (c, s, s)."""

    # ---- natural parameters ----

    @abstractmethod
    def natural(self, psi: ArrayLike) -> np.ndarray:
        """The natural parameters rho, (n_psi,)."""

    @abstractmethod
    def free(self, rho: ArrayLike) -> np.ndarray:
        """Psi of natural parameters: ``natural(free(rho))`` is rho.

        Raises
        ------
        ValueError
            If rho lies outside its range, or on the edge.
        """

    @abstractmethod
    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        """d rho / d psi', (n_psi, n_psi)."""

    def sas_jacobian(self, psi: ArrayLike) -> np.ndarray:
        """That of SAS's parameters, in which ``curve`` is: the natural ones mostly."""
        return self.jacobian(psi)

    # ---- where to start, where to end ----

    @abstractmethod
    def starts(
        self, correlation: np.ndarray, pairs: np.ndarray, distance: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Candidates of psi to start from, that of the moments first.

        Parameters
        ----------
        correlation : ndarray
            Moment correlations of residuals: (m, m) over visits (of a structure with
            ``is_covariance`` their covariances), (bins,) over distances.  Those of no
            pairs may be NaN.
        pairs : ndarray
            Numbers of pairs of rows that they come from, of the same shape.
        distance : ndarray, shape (bins,), optional
            Mean distance of the pairs of a bin.
        """

    @abstractmethod
    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        """The parameters that have run to an end of their range."""

    def note_on(self, limit: AtLimit) -> str:
        """What a limit makes of the covariance; empty where the parameter says it."""
        return ""

    def far_end(self, psi: ArrayLike, share: float) -> FarEnd | None:
        """Psi where the correlations differ from one by a share at most.

        None of a structure without a limit for which sigma^2 grows without bound, or where
        psi is not on its way there.
        """
        return None


class LagCorrelation(Correlation):
    """A correlation that depends on the difference of two visits alone, the lag.

    A subclass says what holds for lags 0 .. n - 1; a matrix is a table looked up by lag,
    a score is summed by lag.
    """

    @abstractmethod
    def by_lag(self, psi: ArrayLike, n: int) -> np.ndarray:
        """Correlations at lags 0 .. n - 1, (n,)."""

    @abstractmethod
    def slopes(self, psi: ArrayLike, n: int) -> np.ndarray:
        """Their derivatives by psi, (n_psi, n)."""

    @abstractmethod
    def bend_by_lag(self, psi: ArrayLike, score: np.ndarray) -> np.ndarray:
        """Second derivatives by psi of <score, correlations>, score (n,)."""

    @abstractmethod
    def curve_by_lag(self, psi: ArrayLike, n: int, weight: np.ndarray) -> np.ndarray:
        """sum_rs W_rs times their second derivatives by SAS's parameters, (n,)."""

    def matrix(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        lag = _lags(place)
        return self.by_lag(psi, int(lag.max(initial=0)) + 1).take(lag)

    def tangent(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        lag = _lags(place)
        return self.slopes(psi, int(lag.max(initial=0)) + 1).take(lag, axis=1)

    def bend(self, psi: ArrayLike, place: np.ndarray, score: np.ndarray) -> np.ndarray:
        lag = _lags(place)
        return self.bend_by_lag(psi, np.bincount(lag.ravel(), np.ravel(score), 1))

    def curve(self, psi: ArrayLike, place: np.ndarray, weight: np.ndarray) -> np.ndarray:
        lag = _lags(place)
        return self.curve_by_lag(psi, int(lag.max(initial=0)) + 1, weight).take(lag)


def _lags(place: np.ndarray) -> np.ndarray:
    """Absolute differences of visits, (c, s, s)."""
    place = np.asarray(place)
    return np.abs(place[:, :, None] - place[:, None, :])


# ---- parameters between -1 and 1: the hyperbolic tangent of psi ----


def slope_of_tanh(psi: np.ndarray) -> np.ndarray:
    """1 - tanh(psi)^2, exact to rounding where that difference cancels."""
    e = np.exp(-2.0 * np.abs(psi))
    return 4.0 * e / (1.0 + e) ** 2


def between_minus_one_and_one(rho: ArrayLike, names: tuple[str, ...]) -> np.ndarray:
    """Psi = atanh rho of natural parameters; an error names one out of range."""
    rho = np.asarray(rho, dtype=float)
    check_number(rho, names)
    for name, value in zip(names, rho, strict=True):
        if not -1 < value < 1:
            raise ValueError(f"{name} = {value:g} is not between -1 and 1")
    return np.arctanh(rho)


def check_number(rho: np.ndarray, names: tuple[str, ...]) -> None:
    """An error if there are not as many natural parameters as there should be."""
    if rho.shape != (len(names),):
        raise ValueError(
            f"natural parameters are {', '.join(names)}: {len(names)} numbers, not an "
            f"array of shape {rho.shape}"
        )


def tanh_limits(psi: np.ndarray, names: tuple[str, ...]) -> list[AtLimit]:
    """Those of parameters tanh(psi) that have run to -1 or 1."""
    near = np.flatnonzero(2 * np.exp(-2 * np.abs(psi)) < CORRELATION_AT_LIMIT)
    return [AtLimit(int(k), names[k], float(np.sign(psi[k]))) for k in near]


# ---- moments ----


def known_moments(
    correlation: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Moment correlations and their weights, zero where there is nothing to tell them."""
    known = (np.asarray(pairs) > 0) & np.isfinite(correlation)
    return np.where(known, correlation, 0.0), np.where(known, pairs, 0.0)


def moments_by_lag(
    correlation: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean moment correlation at each lag 0 .. m - 1, and numbers of pairs, (m,) each."""
    correlation, pairs = known_moments(correlation, pairs)
    m = len(correlation)
    lag = _lags(np.arange(m)[None])[0].ravel()
    total = np.bincount(lag, pairs.ravel(), m)
    weighted = np.bincount(lag, (pairs * correlation).ravel(), m)
    return np.divide(weighted, total, out=np.zeros(m), where=total > 0), total


# ---- of matrices over all visits ----


def at_visits(whole: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Rows and columns of matrices over all visits, (..., m, m), (..., c, s, s)."""
    place = np.asarray(place)
    return whole[..., place[:, :, None], place[:, None, :]]


def sum_over_visits(score: np.ndarray, place: np.ndarray, m: int) -> np.ndarray:
    """Scores of groups, (c, s, s), added at their visits, (m, m)."""
    place = np.asarray(place)
    at = place[:, :, None] * m + place[:, None, :]
    return np.bincount(at.ravel(), np.ravel(score), m * m).reshape(m, m)
