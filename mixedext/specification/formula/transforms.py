"""Functions that formulas may use under patsy, as formulaic and R have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import patsy
from numpy.typing import ArrayLike
from patsy.state import Center, Standardize

from mixedext.limits import NO_POLYNOMIAL
from mixedext.specification.data.value_range import check_not_too_large

__all__ = ["RESERVED", "TRANSFORMS", "poly"]


class _Poly:
    """Orthogonal polynomial basis that remembers its coefficients for new data."""

    def __init__(self) -> None:
        self._chunks: list[np.ndarray] = []
        self._x = np.zeros(0)
        self._unit = 1.0
        self._recurrence: tuple[np.ndarray, np.ndarray] | None = None

    def memorize_chunk(self, x: ArrayLike, degree: int = 1) -> None:
        values = np.asarray(x, float).ravel()
        check_not_too_large("the argument of poly()", values)
        if np.isinf(values).any():
            raise ValueError("poly: there are infinite values; leave these rows out")
        self._chunks.append(values)

    def memorize_finish(self) -> None:
        self._x = np.concatenate(self._chunks)
        self._chunks = []

    def transform(self, x: ArrayLike, degree: int = 1) -> np.ndarray:
        if self._recurrence is None:
            # a power of two, which rounds nothing: fourth powers leave the range early
            largest = np.abs(self._x).max(initial=0.0)
            power = min(-int(np.frexp(largest)[1]), 1000) if np.isfinite(largest) else 0
            self._unit = 2.0**power
            self._recurrence = _recurrence(self._x * self._unit, int(degree))
            self._x = np.zeros(0)
        basis = _evaluate(np.asarray(x, float).ravel() * self._unit, *self._recurrence)
        return basis[:, 0] if basis.shape[1] == 1 else basis


def _recurrence(x, degree):
    """Three-term recurrence of the polynomials orthogonal over x (Forsythe 1957)."""
    n_distinct = len(np.unique(x))
    if not 1 <= degree < n_distinct:
        raise ValueError(
            f"poly: degree must lie between 1 and {n_distinct - 1}, the number of "
            f"distinct values less one; got {degree}"
        )
    alpha, squares = np.empty(degree), np.empty(degree + 1)
    previous, current = np.zeros_like(x), np.ones_like(x)
    squares[0] = len(x)
    for j in range(degree):
        alpha[j] = (x * current**2).sum() / squares[j]
        ratio = squares[j] / squares[j - 1] if j else 0.0
        previous, current = current, (x - alpha[j]) * current - ratio * previous
        squares[j + 1] = (current**2).sum()
        if squares[j + 1] <= NO_POLYNOMIAL * squares[j] * np.ptp(x) ** 2:
            raise ValueError(
                f"poly: some of the {n_distinct} distinct values are too near to each "
                f"other, beside the others, for degree {j + 1}; use a lower degree"
            )
    return alpha, squares


def _evaluate(x, alpha, squares):
    columns = []
    previous, current = np.zeros_like(x), np.ones_like(x)
    for j in range(len(alpha)):
        ratio = squares[j] / squares[j - 1] if j else 0.0
        previous, current = current, (x - alpha[j]) * current - ratio * previous
        columns.append(current / np.sqrt(squares[j + 1]))
    return np.column_stack(columns)


def _real(x, function):
    values = np.asarray(x)
    if np.iscomplexobj(values):
        raise ValueError(
            f"the argument of {function} is complex; take .real, .imag or np.abs of it"
        )
    return np.asarray(values, float)


class _Center(Center):
    """Patsy's, of values whose sum is a number."""

    def memorize_chunk(self, x: ArrayLike) -> None:
        check_not_too_large("the argument of center()", _real(x, "center()"))
        super().memorize_chunk(x)


class _Standardize(Standardize):
    """Patsy's, of values whose squares are numbers."""

    def memorize_chunk(self, x: ArrayLike, *args: Any, **kwargs: Any) -> None:
        check_not_too_large("the argument of scale()", _real(x, "scale()"))
        super().memorize_chunk(x, *args, **kwargs)


poly = patsy.stateful_transform(_Poly)
poly.__doc__ = """poly(x, degree)

Orthonormal polynomials of degree 1 to ``degree`` over the values of x, as R's ``poly``.

Parameters
----------
x : array_like
    Values, shape (n,).
degree : int
    Highest degree.

Returns
-------
ndarray
    Shape (n, degree), or (n,) for degree 1.
"""

# Those that remember values of the fit, as patsy's do.
REMEMBERING = ("poly", "center", "scale", "standardize")
TRANSFORMS = {
    "poly": poly,
    "center": patsy.stateful_transform(_Center),
    "scale": patsy.stateful_transform(_Standardize),
    "standardize": patsy.stateful_transform(_Standardize),
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "np": np,
}

# What formulas call; a column of such a name goes by an alias.
RESERVED = frozenset(
    {"C", "I", "Q", "Treatment", "Sum", "Poly", "Helmert", "Diff", "center", "scale"}
    | {"standardize", "bs", "cr", "cc", "te", *TRANSFORMS}
)
