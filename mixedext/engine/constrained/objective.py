"""The (penalized) likelihood as a function of those parameters that are free.

All parameters move together: the fixed effects, and the variance parameters in the model's
own parametrization (elements of the Cholesky factor of cov_re, or, without ``use_sqrt``,
its own) and the other variances by their roots.  Score and Hessian are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mixedext.engine.deviance.given_covariances import IndefiniteError, Likelihood, Point
from mixedext.specification.terms.packing import ParameterLayout

__all__ = ["Objective", "Penalties", "State"]


@dataclass(frozen=True, eq=False)
class Penalties:
    """Functions that are subtracted from the log-likelihood, as statsmodels' penalties.

    Attributes
    ----------
    fixed : Penalty or None
        Of all fixed effects (0 for columns that were dropped).
    covariance : CovariancePenalty or None
        Of cov_re, relative to scale, and its inverse.
    """

    fixed: Any = None
    covariance: Any = None

    def __post_init__(self):
        for name, penalty in {"fe_pen": self.fixed, "cov_pen": self.covariance}.items():
            if penalty is not None and not callable(getattr(penalty, "func", None)):
                raise ValueError(
                    f"{name}={penalty!r} must be a penalty with a method func, as "
                    "statsmodels' are"
                )

    def __bool__(self):
        return self.fixed is not None or self.covariance is not None


@dataclass(eq=False)
class Objective:
    """The (penalized) log-likelihood as a function of the parameters that are free.

    Attributes
    ----------
    likelihood : Likelihood
        Of the model.
    layout : ParameterLayout
        Places of the variance parameters.
    use_sqrt : bool
        Parametrization of cov_re; that of the variances is always their roots, in which
        zero is an ordinary maximum and holding a value is the same.
    k_fe : int
        Columns of X, with those that were dropped.
    free_fixed, free_packed : ndarray of bool
        Which coefficients of the columns kept, and which variance parameters, are free.
    penalties : Penalties
        What is subtracted.
    order : ndarray, optional
        For each packed parameter the number of the one that stands in its place while the
        likelihood is maximized: another order of the rows of cov_re.
    """

    likelihood: Likelihood
    layout: ParameterLayout
    use_sqrt: bool
    k_fe: int
    free_fixed: np.ndarray
    free_packed: np.ndarray
    penalties: Penalties = field(default_factory=Penalties)
    order: np.ndarray = None  # type: ignore[assignment]  # __post_init__ fills it in

    def __post_init__(self):
        if self.order is None:
            self.order = np.arange(self.layout.n_packed)
        self.terms = self.likelihood.design.terms
        self.profiled = self.penalties.fixed is None and bool(self.free_fixed.all())
        self.evaluations = 0
        self._last = self.barrier = None

    def use_barrier(self, barrier):
        """Add a function of the packed elements (``LogDeterminant``), or None."""
        self._last, self.barrier = None, barrier

    # ---- parameters ----

    def start(self, fixed, packed):
        """Take the values at which parameters are held, and from which they start."""
        self._last = None
        self.fixed = np.asarray(fixed, float).copy()
        packed = self.ordered = np.asarray(packed, float)[self.order]
        self.own = self._root(packed)
        parts = [] if self.profiled else [self.fixed[self.free_fixed]]
        return np.concatenate([*parts, self.own[self.free_packed]])

    def _root(self, packed):
        root = self.layout.square_root(self.terms, packed)
        if not self.use_sqrt:
            root[self._elements] = packed[self._elements]
        return root

    def _square(self, own):
        square = self.layout.square(self.terms, own)
        if not self.use_sqrt:
            square[self._elements] = own[self._elements]
        # what is held stays to the last digit
        count = self.layout.n_covariances
        held = count + np.flatnonzero(~self.free_packed[count:])
        square[held] = self.ordered[held]
        return square

    @property
    def _elements(self):
        return slice(0, self.layout.n_covariances)

    def jacobian(self, own):
        """Derivative of the packed elements, in ``order``, by the own parameters."""
        change = self.layout.square_jacobian(self.terms, own)
        if not self.use_sqrt:
            change[self._elements, self._elements] = np.eye(self.layout.n_covariances)
        return change

    def bend(self, slope):
        """Second derivatives of slope'(packed elements) by the own parameters."""
        bend = self.layout.square_bend(self.terms, slope)
        if not self.use_sqrt:
            bend[self._elements, self._elements] = 0.0
        return bend

    def _settle(self, x):
        """Coefficients (None if profiled), own parameters and packed elements at x."""
        own, fixed = self.own.copy(), None
        count = 0
        if not self.profiled:
            fixed = self.fixed.copy()
            count = int(self.free_fixed.sum())
            fixed[self.free_fixed] = x[:count]
        own[self.free_packed] = x[count:]
        ordered = self._square(own)
        packed = np.empty_like(ordered)
        packed[self.order] = ordered
        return fixed, own, packed

    def at(self, x) -> State:
        """Everything at x; the last is kept."""
        if self._last is None or not np.array_equal(self._last.x, x):
            self._last = State(self, np.array(x, float))
        return self._last


class State:
    """Value and derivatives of an objective at one x, computed as they are asked for."""

    def __init__(self, objective: Objective, x):
        self.objective, self.x = objective, x
        self.fixed, self.own, self.packed = objective._settle(x)
        self.point: Point | None = None
        objective.evaluations += 1
        try:
            covariances = objective.layout.unpack(objective.terms, self.packed)
            self.point = objective.likelihood.at(covariances)
        except IndefiniteError:
            self.value = -np.inf
            return
        if self.fixed is None:
            self.fixed = self.point.coefficients()
            self.value = self.point.log_likelihood()
        else:
            self.value = self.point.log_likelihood(self.fixed)
        pen = objective.penalties
        if pen.fixed is not None:
            self.value -= pen.fixed.func(self._all_fixed())
        if pen.covariance is not None:
            self.value -= pen.covariance.func(*self._cov_and_inverse(self.packed))
        if objective.barrier is not None:
            self.value += objective.barrier.value(self.packed)
        if not np.isfinite(self.value):
            self.value = -np.inf

    def _all_fixed(self):
        out = np.zeros(self.objective.k_fe)
        out[self.objective.likelihood.design.basis.kept] = self.fixed
        return out

    def _cov_and_inverse(self, packed):
        return self.objective.layout.cov_re_and_inverse(self.objective.terms, packed)

    def _covariance_slope(self, packed):
        objective = self.objective
        k = len(objective.layout.re_names)
        whole = np.zeros((k, k))
        whole[np.tril_indices(k)] = objective.penalties.covariance.deriv(
            *self._cov_and_inverse(packed)
        )
        return whole[objective.layout.triangle(objective.terms)]

    # ---- derivatives in (all coefficients kept, packed elements) ----

    @cached_property
    def slope(self) -> np.ndarray:
        objective = self.objective
        assert self.point is not None  # asked only where the value is finite
        fixed, gamma = self.point.score(self.fixed)
        packed = gamma[objective.layout.packed_gamma]
        if objective.penalties.fixed is not None:
            kept = objective.likelihood.design.basis.kept
            fixed = fixed - objective.penalties.fixed.deriv(self._all_fixed())[kept]
        if objective.penalties.covariance is not None:
            packed[: objective.layout.n_covariances] -= self._covariance_slope(self.packed)
        if objective.barrier is not None:
            slope = objective.barrier.slope(self.packed)
            packed[: objective.layout.n_covariances] += slope
        return np.concatenate([fixed, packed])

    @cached_property
    def curvature(self):
        objective = self.objective
        rank = len(self.fixed)
        at = np.concatenate([np.arange(rank), rank + objective.layout.packed_gamma])
        assert self.point is not None  # asked only where the value is finite
        out = self.point.hessian(self.fixed)[np.ix_(at, at)]
        if objective.penalties.fixed is not None:
            kept = objective.likelihood.design.basis.kept
            bend = _curvature_of(objective.penalties.fixed, self._all_fixed())
            out[:rank, :rank] -= bend[np.ix_(kept, kept)]
        if objective.penalties.covariance is not None:
            count = objective.layout.n_covariances
            bend = _differences(self._covariance_slope, self.packed, count)
            out[rank : rank + count, rank : rank + count] -= bend
        if objective.barrier is not None:
            bend = objective.barrier.curvature(self.packed)
            out[rank : rank + len(bend), rank : rank + len(bend)] += bend
        return out

    # ---- in x ----

    @property
    def gradient(self):
        rank, objective = len(self.fixed), self.objective
        own = self.slope[rank:][objective.order]
        own = (objective.jacobian(self.own).T @ own)[objective.free_packed]
        if objective.profiled:
            return own
        return np.concatenate([self.slope[:rank][objective.free_fixed], own])

    @cached_property
    def hessian(self):
        rank, objective = len(self.fixed), self.objective
        at = np.concatenate([np.arange(rank), rank + objective.order])
        whole = self.curvature[np.ix_(at, at)]
        change = objective.jacobian(self.own)
        whole[:, rank:] = whole[:, rank:] @ change
        whole[rank:, :] = change.T @ whole[rank:, :]
        whole[rank:, rank:] += objective.bend(self.slope[rank:][objective.order])
        if objective.profiled:
            own = whole[rank:, rank:]
            if rank:
                fixed, cross = whole[:rank, :rank], whole[:rank, rank:]
                own = own - cross.T @ _solved(fixed, cross)
            return own[np.ix_(objective.free_packed, objective.free_packed)]
        free = np.concatenate([objective.free_fixed, objective.free_packed])
        return whole[np.ix_(free, free)]


def _solved(fixed, cross):
    """Least squares where a direction of X has lost its information to rounding."""
    try:
        return np.linalg.solve(fixed, cross)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(fixed, cross)[0]


def _curvature_of(penalty, fixed):
    """Matrix of second derivatives of a penalty of the fixed effects."""
    try:
        bend = np.asarray(penalty.deriv2(fixed), float)
    except (AttributeError, NotImplementedError):
        return _differences(penalty.deriv, fixed, len(fixed))
    if bend.ndim == 2:
        return bend
    return np.diag(np.broadcast_to(bend, fixed.shape))


def _differences(derivative, at, count):
    """Derivative of a derivative in the first elements, by central differences."""
    out = np.empty((count, count))
    size = np.abs(at[:count]).max(initial=1e-8)
    for j in range(count):
        step = np.zeros(len(at))
        step[j] = 1e-5 * max(abs(at[j]), 1e-3 * size)
        out[:, j] = (derivative(at + step) - derivative(at - step)) / (2 * step[j])
    return (out + out.T) / 2
