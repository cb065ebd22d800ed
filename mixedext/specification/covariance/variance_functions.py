"""Standard deviations of rows as functions of strata and a covariate.

A row's standard deviation, relative to sigma, is a product of functions: by stratum, a
power of a covariate, an exponential of one (Pinheiro and Bates 2000, section 5.2).  Psi are
free parameters, any real numbers.  Arrays of strata and covariates have any one shape;
derivatives have those of psi before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from mixedext.limits import SD_RATIO_AT_LIMIT
from mixedext.specification.covariance.correlation import AtLimit

__all__ = [
    "VarConstPower",
    "VarExp",
    "VarFixed",
    "VarIdent",
    "VarPower",
    "VarianceFunction",
]

# The constant of a start, as a share of the typical power beside it.
_START_CONST = 0.1
# Powers of a start are not larger.
_START_POWER = 5.0


class VarianceFunction(ABC):
    """The logarithm of a standard deviation as a function of psi."""

    #: Whether it asks for a covariate.
    uses_covariate: ClassVar[bool] = True

    @property
    @abstractmethod
    def n_psi(self) -> int:
        """Number of elements of psi, and of natural parameters."""

    @abstractmethod
    def names(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Names of the natural parameters, by the labels of the strata."""

    @abstractmethod
    def log_sd(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray:
        """Logarithm of the standard deviation of each row.

        Parameters
        ----------
        psi : array_like, shape (n_psi,)
        strata : ndarray of int
            Number of the stratum of each row, 0 .. n_strata - 1.
        covariate : ndarray of float or None
            Of the shape of ``strata``; None where the function has none.
        """

    @abstractmethod
    def slope(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray:
        """d log sd / d psi, (n_psi, \\*shape)."""

    def second(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray | None:
        """d2 log sd / d psi d psi', (n_psi, n_psi, \\*shape); None where it is zero."""
        return None

    @abstractmethod
    def natural(self, psi: ArrayLike) -> np.ndarray:
        """The natural parameters, (n_psi,)."""

    @abstractmethod
    def free(self, eta: ArrayLike) -> np.ndarray:
        """Psi of natural parameters: ``natural(free(eta))`` is eta.

        Raises
        ------
        ValueError
            If eta lies outside its range, or on the edge.
        """

    @abstractmethod
    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        """d eta / d psi', (n_psi, n_psi)."""

    @abstractmethod
    def start(
        self,
        log_square_residuals: np.ndarray,
        strata: np.ndarray,
        covariate: np.ndarray | None,
    ) -> np.ndarray:
        """Psi by regression of log squared residuals, (n,); -inf among them count not."""

    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        """The parameters that have run to an end of their range."""
        return []


@dataclass(frozen=True)
class VarIdent(VarianceFunction):
    """A standard deviation for each stratum, relative to that of the first.

    Psi are the logarithms of the ratios, the natural parameters the ratios.

    Parameters
    ----------
    n_strata : int
    """

    n_strata: int

    uses_covariate: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_strata(self.n_strata)

    @property
    def n_psi(self) -> int:
        return self.n_strata - 1

    def names(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"sd({label}) ratio" for label in labels[1:])

    def log_sd(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray:
        return np.concatenate([[0.0], np.asarray(psi, dtype=float)]).take(strata)

    def slope(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray:
        return _of_strata(1.0, strata, self.n_strata)[1:]

    def natural(self, psi: ArrayLike) -> np.ndarray:
        return np.exp(np.asarray(psi, dtype=float))

    def free(self, eta: ArrayLike) -> np.ndarray:
        eta = _checked(eta, self.n_psi)
        return np.log(_positive(eta, "a ratio of standard deviations"))

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        return np.diag(self.natural(psi))

    def start(
        self,
        log_square_residuals: np.ndarray,
        strata: np.ndarray,
        covariate: np.ndarray | None,
    ) -> np.ndarray:
        y, rows = _finite(log_square_residuals)
        means = _means(y, np.ravel(strata)[rows], self.n_strata)
        return 0.5 * (means[1:] - means[0])

    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        """Ratios that have run to zero or beyond bounds, of strata numbered from 1."""
        psi = np.asarray(psi, dtype=float)
        near = np.flatnonzero(np.abs(psi) > -np.log(SD_RATIO_AT_LIMIT))
        names = self.names([str(k + 1) for k in range(self.n_strata)])
        return [AtLimit(int(k), names[k], np.inf if psi[k] > 0 else 0.0) for k in near]


@dataclass(frozen=True)
class _OneSlope(VarianceFunction):
    """sd = exp(delta x), x of the covariate; delta by stratum."""

    n_strata: int = 1

    #: Name of delta.
    parameter: ClassVar[str]

    def __post_init__(self) -> None:
        _check_strata(self.n_strata)

    @staticmethod
    @abstractmethod
    def regressor(covariate: np.ndarray) -> np.ndarray:
        """What delta multiplies in log sd."""

    @property
    def n_psi(self) -> int:
        return self.n_strata

    def names(self, labels: Sequence[str]) -> tuple[str, ...]:
        return _by_stratum(self.parameter, labels, self.n_strata)

    def log_sd(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray:
        x = self.regressor(_given(covariate))
        return np.asarray(psi, dtype=float).take(strata) * x

    def slope(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray:
        return _of_strata(self.regressor(_given(covariate)), strata, self.n_strata)

    def natural(self, psi: ArrayLike) -> np.ndarray:
        return np.array(psi, dtype=float)

    def free(self, eta: ArrayLike) -> np.ndarray:
        return _checked(eta, self.n_psi).copy()

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        return np.eye(self.n_psi)

    def start(
        self,
        log_square_residuals: np.ndarray,
        strata: np.ndarray,
        covariate: np.ndarray | None,
    ) -> np.ndarray:
        y, rows = _finite(log_square_residuals)
        x = self.regressor(np.ravel(_given(covariate))[rows])
        return _slopes(0.5 * y, x, np.ravel(strata)[rows], self.n_strata)


@dataclass(frozen=True)
class VarPower(_OneSlope):
    """sd = |v|^power, v the covariate, which is nowhere zero; a power for each stratum.

    Parameters
    ----------
    n_strata : int
    """

    parameter: ClassVar[str] = "power"

    @staticmethod
    def regressor(covariate: np.ndarray) -> np.ndarray:
        return _log_size(covariate)


@dataclass(frozen=True)
class VarExp(_OneSlope):
    """sd = exp(rate v), v the covariate; a rate for each stratum.

    Parameters
    ----------
    n_strata : int
    """

    parameter: ClassVar[str] = "exp"

    @staticmethod
    def regressor(covariate: np.ndarray) -> np.ndarray:
        return np.asarray(covariate, dtype=float)


@dataclass(frozen=True)
class VarConstPower(VarianceFunction):
    """sd = const + |v|^power, v the covariate; both parameters for each stratum.

    Psi are log const of all strata, then the powers.

    Parameters
    ----------
    n_strata : int
    """

    n_strata: int = 1

    def __post_init__(self) -> None:
        _check_strata(self.n_strata)

    @property
    def n_psi(self) -> int:
        return 2 * self.n_strata

    def names(self, labels: Sequence[str]) -> tuple[str, ...]:
        const = _by_stratum("const", labels, self.n_strata)
        return const + _by_stratum("power", labels, self.n_strata)

    def _parts(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """log const, log |v|^power and log |v| of each row; the last zero where v is."""
        psi = np.asarray(psi, dtype=float)
        size = np.abs(_given(covariate))
        log_size = np.log(np.where(size > 0, size, 1.0))
        power = psi[self.n_strata :].take(strata)
        of_zero = np.where(power > 0, -np.inf, np.where(power < 0, np.inf, 0.0))
        log_power = np.where(size > 0, power * log_size, of_zero)
        return psi[: self.n_strata].take(strata), log_power, log_size

    def log_sd(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray:
        const, power, _ = self._parts(psi, strata, covariate)
        return np.logaddexp(const, power)

    def slope(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray:
        const, power, log_size = self._parts(psi, strata, covariate)
        by_const = _of_strata(expit(const - power), strata, self.n_strata)
        by_power = _of_strata(expit(power - const) * log_size, strata, self.n_strata)
        return np.concatenate([by_const, by_power])

    def second(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray | None:
        const, power, log_size = self._parts(psi, strata, covariate)
        n, both = self.n_strata, expit(const - power) * expit(power - const)
        out = np.zeros((2 * n, 2 * n, *np.shape(strata)))
        k = np.arange(n)
        out[k, k] = _of_strata(both, strata, n)
        out[k, n + k] = out[n + k, k] = _of_strata(-both * log_size, strata, n)
        out[n + k, n + k] = _of_strata(both * log_size**2, strata, n)
        return out

    def natural(self, psi: ArrayLike) -> np.ndarray:
        out = np.array(psi, dtype=float)
        out[: self.n_strata] = np.exp(out[: self.n_strata])
        return out

    def free(self, eta: ArrayLike) -> np.ndarray:
        out = _checked(eta, self.n_psi).copy()
        out[: self.n_strata] = np.log(_positive(out[: self.n_strata], "const"))
        return out

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        slopes = np.ones(self.n_psi)
        slopes[: self.n_strata] = self.natural(psi)[: self.n_strata]
        return np.diag(slopes)

    def start(
        self,
        log_square_residuals: np.ndarray,
        strata: np.ndarray,
        covariate: np.ndarray | None,
    ) -> np.ndarray:
        y, rows = _finite(log_square_residuals)
        x, stratum = np.abs(np.ravel(_given(covariate))[rows]), np.ravel(strata)[rows]
        known = x > 0
        x, n = np.log(x[known]), self.n_strata
        power = _slopes(0.5 * y[known], x, stratum[known], n)
        power = np.clip(power, -_START_POWER, _START_POWER)
        typical = power * _means(x, stratum[known], n)
        return np.concatenate([np.log(_START_CONST) + typical, power])

    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        """Constants that have run to zero; strata are named by their numbers from 1."""
        const = np.asarray(psi, dtype=float)[: self.n_strata]
        names = self.names([str(k + 1) for k in range(self.n_strata)])
        near = np.flatnonzero(const < np.log(SD_RATIO_AT_LIMIT))
        return [AtLimit(int(k), names[k], 0.0) for k in near]


@dataclass(frozen=True)
class VarFixed(VarianceFunction):
    """sd = sqrt(|v|), v the covariate, which is nowhere zero; nothing is estimated."""

    n_psi: ClassVar[int] = 0

    def names(self, labels: Sequence[str]) -> tuple[str, ...]:
        return ()

    def log_sd(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray:
        return 0.5 * _log_size(_given(covariate))

    def slope(
        self, psi: ArrayLike, strata: np.ndarray, covariate: np.ndarray | None
    ) -> np.ndarray:
        return np.zeros((0, *np.shape(_given(covariate))))

    def natural(self, psi: ArrayLike) -> np.ndarray:
        return np.zeros(0)

    def free(self, eta: ArrayLike) -> np.ndarray:
        return _checked(eta, 0)

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        return np.zeros((0, 0))

    def start(
        self,
        log_square_residuals: np.ndarray,
        strata: np.ndarray,
        covariate: np.ndarray | None,
    ) -> np.ndarray:
        return np.zeros(0)


# ---- what they share ----


def _check_strata(n_strata: int) -> None:
    if n_strata < 1:
        raise ValueError(f"n_strata = {n_strata} is not positive")


def _checked(eta: ArrayLike, n: int) -> np.ndarray:
    """Natural parameters as an array, if there are n and all are finite."""
    eta = np.asarray(eta, dtype=float)
    if eta.shape != (n,):
        raise ValueError(f"natural parameters are {n} numbers, not of shape {eta.shape}")
    if not np.isfinite(eta).all():
        raise ValueError(f"natural parameters {eta} are not all finite")
    return eta


def _positive(values: np.ndarray, what: str) -> np.ndarray:
    if not (values > 0).all():
        raise ValueError(f"{what} is {values.min():g}, not positive")
    return values


def _given(covariate: np.ndarray | None) -> np.ndarray:
    if covariate is None:
        raise ValueError("covariate = None, but the variance function asks for one")
    return covariate


def _log_size(covariate: np.ndarray) -> np.ndarray:
    """log |v|, if v is nowhere zero."""
    if not np.all(covariate):
        raise ValueError(
            "covariate is 0 in some row, and so would its power, the standard deviation, "
            "be; a constant beside the power, or an exponential, would not"
        )
    return np.log(np.abs(covariate))


def _by_stratum(name: str, labels: Sequence[str], n_strata: int) -> tuple[str, ...]:
    return (name,) if n_strata == 1 else tuple(f"{name} {label}" for label in labels)


def _of_strata(values: ArrayLike, strata: np.ndarray, n: int) -> np.ndarray:
    """Values of the rows of each stratum, zero in the others, (n, *shape)."""
    strata = np.asarray(strata)
    inside = strata == np.arange(n).reshape(n, *([1] * strata.ndim))
    return inside * np.asarray(values, dtype=float)


def _finite(log_square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finite log squared residuals and the numbers of their rows."""
    log_square = np.ravel(log_square)
    rows = np.flatnonzero(np.isfinite(log_square))
    return log_square[rows], rows


def _means(y: np.ndarray, strata: np.ndarray, n: int) -> np.ndarray:
    """Mean by stratum; that of all rows in a stratum of none, zero without any rows."""
    count = np.bincount(strata, minlength=n)
    whole = float(y.mean()) if len(y) else 0.0
    total = np.bincount(strata, y, n)
    return np.divide(total, count, out=np.full(n, whole), where=count > 0)


def _slopes(y: np.ndarray, x: np.ndarray, strata: np.ndarray, n: int) -> np.ndarray:
    """Least squares of y on one intercept and a slope on x for each stratum, (n,)."""
    design = np.column_stack([np.ones(len(y)), _of_strata(x, strata, n).T])
    scale = np.sqrt(np.mean(design**2, axis=0)) if len(y) else np.ones(n + 1)
    scale[scale == 0] = 1.0
    return (np.linalg.lstsq(design / scale, y, rcond=1e-10)[0] / scale)[1:]
