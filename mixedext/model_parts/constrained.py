"""Likelihood maximized over some of the parameters, or less penalties.

All parameters move together: the fixed effects, and the variance parameters in the model's
own parametrization (elements of the Cholesky factor of cov_re, or, without ``use_sqrt``,
its own) and the other variances by their roots.  Score and Hessian are exact, so
that a trust region of Newton steps ends where the gradient is rounding error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mixedext.engine.evaluation import IndefiniteError, Likelihood, Point
from mixedext.engine.information import VarianceCovariance
from mixedext.engine.optimize import Convergence
from mixedext.specification.params import ParameterLayout

__all__ = [
    "Maximum",
    "Objective",
    "Penalties",
    "climb",
    "covariances_of",
    "maximize",
    "polish",
    "verdict",
]

MAX_ITERATIONS = 200
# What one more Newton step may still add to the log-likelihood at convergence.
DECREMENT = 1e-9
# Share of the largest curvature below which a negative one is rounding error.
NEGATIVE_CURVATURE = 1e-8
# The search ends where a step promises less, or where the trust region is smaller.
SMALLEST_GAIN, SMALLEST_RADIUS = 1e-11, 1e-9
# Steps off a saddle.
ESCAPES = 4


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

    fixed: object = None
    covariance: object = None

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
    order: np.ndarray | None = None

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

    def at(self, x) -> _State:
        """Everything at x; the last is kept."""
        if self._last is None or not np.array_equal(self._last.x, x):
            self._last = _State(self, np.array(x, float))
        return self._last


class _State:
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
        objective = self.objective
        cov_re, _ = objective.layout.unpack_parts(objective.terms, packed)
        try:
            return cov_re, np.linalg.inv(cov_re)
        except np.linalg.LinAlgError:
            return cov_re, np.linalg.pinv(cov_re)

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
    def slope(self):
        objective = self.objective
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
        out = self.point.hessian(self.fixed)[np.ix_(at, at)]
        if objective.penalties.fixed is not None:
            kept = objective.likelihood.design.basis.kept
            bend = _second(objective.penalties.fixed, self._all_fixed())
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
                own = own - cross.T @ np.linalg.solve(fixed, cross)
            return own[np.ix_(objective.free_packed, objective.free_packed)]
        free = np.concatenate([objective.free_fixed, objective.free_packed])
        return whole[np.ix_(free, free)]


def _second(penalty, fixed):
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


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where the maximization ended.

    Attributes
    ----------
    fixed : ndarray
        Coefficients of the columns kept.
    packed : ndarray
        Packed elements.
    value : float
        (Penalized) log-likelihood.
    convergence : Convergence
        Verdict.
    history : list of float
        Value after each step.
    state : object
        Derivatives there.
    """

    fixed: np.ndarray
    packed: np.ndarray
    value: float
    convergence: Convergence
    history: list[float]
    state: _State


def maximize(objective: Objective, fixed, packed, max_iterations=None) -> Maximum:
    """Maximize from a start, which also has the values of what is held.

    Parameters
    ----------
    objective : Objective
        What to maximize.
    fixed : array_like
        Coefficients of the columns kept.
    packed : array_like
        Packed variance parameters.
    max_iterations : int, optional
        Newton steps.

    Raises
    ------
    ValueError
        If the start is no model, or its likelihood is not finite.
    """
    x = objective.start(fixed, packed)
    state = objective.at(x)
    if state.point is None or not np.isfinite(state.value):
        raise ValueError(
            "the (penalized) log-likelihood is not finite at the start (start_params)"
        )
    limit = MAX_ITERATIONS if max_iterations is None else int(max_iterations)
    history = [state.value]
    for _ in range(ESCAPES + 1):
        if len(x) and limit > 0:
            x, limit = climb(objective, x, limit, history)
        if len(x) and limit > 0:
            x = polish(objective, x)
        state = objective.at(x)
        values, vectors = np.linalg.eigh(_scaled(state)[1]) if len(x) else ([-1.0], None)
        if not len(x) or limit == 0 or values[-1] <= _curvature_limit(values):
            break
        off = _off_saddle(objective, state, vectors[:, -1])
        if off is None:
            break
        x = off
    return Maximum(
        state.fixed,
        state.packed,
        state.value,
        verdict(objective, state),
        history,
        state,
    )


def _curvature_limit(values, rounding=NEGATIVE_CURVATURE):
    return rounding * max(1.0, float(np.abs(values).max()))


def _scaled(state):
    """Gradient and Hessian in parameters with unit curvature, and their units."""
    curvature = np.abs(np.diag(state.hessian))
    unit = 1 / np.sqrt(np.where(curvature > 0, curvature, 1.0))
    return state.gradient * unit, state.hessian * np.outer(unit, unit), unit


def climb(objective, x, limit, history):
    """Newton steps within a trust region, in parameters with unit curvature."""
    state, radius = objective.at(x), 1.0
    gradient, hessian, unit = _scaled(state)
    while limit > 0 and radius > SMALLEST_RADIUS:
        step = _trusted_step(gradient, hessian, radius)
        expected = gradient @ step + 0.5 * step @ hessian @ step
        if not expected > SMALLEST_GAIN:
            break
        other = objective.at(state.x + unit * step)
        gain = other.value - state.value
        if gain < 0.25 * expected:
            radius = 0.25 * float(np.linalg.norm(step))
        elif gain > 0.75 * expected:
            radius = max(radius, 2 * float(np.linalg.norm(step)))
        if gain > 0:
            state, limit = other, limit - 1
            history.append(state.value)
            gradient, hessian, unit = _scaled(state)
    return state.x, limit


def _trusted_step(gradient, hessian, radius):
    """Maximizer of g's + s'Hs / 2 with |s| at most the radius (Conn et al. 2000, 7.3)."""
    value, vector = np.linalg.eigh(-hessian)
    along = vector.T @ gradient

    def step(shift):
        return along / np.maximum(value + shift, 1e-300)

    if value[0] > 0 and np.linalg.norm(step(0.0)) <= radius:
        return vector @ step(0.0)
    low = max(0.0, -value[0])
    high = low + np.linalg.norm(gradient) / radius
    for _ in range(100):
        shift = 0.5 * (low + high)
        if np.linalg.norm(step(shift)) > radius:
            low = shift
        else:
            high = shift
        if high - low <= 1e-10 * high:
            break
    best = step(high)
    short = radius**2 - best @ best
    if value[0] < -NEGATIVE_CURVATURE and short > 0.01 * radius**2:
        # hard case: the gradient has no part along the curvature that is upward, as where
        # a variance is zero; without it all other steps are held back (ibid. 7.3.1.3)
        best[0] += np.copysign(np.sqrt(short), best[0])
    return vector @ best


def polish(objective, x):
    """Newton steps while the gradient falls."""
    state = objective.at(x)
    gradient, hessian, unit = _scaled(state)
    for _ in range(10):
        value = np.linalg.eigvalsh(hessian)
        if value[-1] >= -1e-12:  # a boundary or a saddle
            break
        step = unit * np.linalg.solve(hessian, -gradient)
        other = objective.at(x + step)
        if other.point is None:
            break
        if not np.linalg.norm(other.gradient * unit) < np.linalg.norm(gradient):
            break
        x, state = x + step, other
        gradient, hessian, unit = _scaled(state)
    return x


def _off_saddle(objective, state, direction):
    _, _, unit = _scaled(state)
    for size in (1.0, 0.3, 0.1, 0.01):
        for sign in (1.0, -1.0):
            x = state.x + sign * size * unit * direction
            if objective.at(x).value > state.value + 1e-10:
                return x
    return None


def verdict(objective, state, rounding=NEGATIVE_CURVATURE) -> Convergence:
    """Whether a state is a maximum; ``rounding``: share of the largest curvature."""
    if not len(state.x):
        words = "no parameter is free"
        return Convergence("interior", 0.0, 0.0, 1.0, 1, 0, "held", words)
    gradient, hessian, _ = _scaled(state)
    value, vector = np.linalg.eigh(-hessian)
    along = vector.T @ gradient
    firm = value > 1e-10 * max(value[-1], 1.0)
    decrement = float((along[firm] ** 2 / value[firm]).sum() / 2)
    rest = float(np.abs(along[~firm]).max(initial=0.0))
    largest = 2 * float(np.abs(state.gradient).max())
    noise = 30 * objective.likelihood.objective.noise
    good = decrement <= DECREMENT + noise and rest <= 1e-6 + np.sqrt(noise)
    good = good and value[0] >= -_curvature_limit(value, rounding)
    if good:
        status, words = "interior", "the gradient of the free parameters is zero"
    else:
        status = "failed"
        words = f"the gradient of the free parameters is not zero, {largest:.1e}"
    count = objective.evaluations
    return Convergence(
        status,
        largest,
        2 * decrement,
        float(value[0] / max(value[-1], 1e-300)),
        count,
        count,
        "trust-region Newton",
        words,
    )


def covariances_of(maximum: Maximum, objective: Objective):
    """Covariance of the coefficients, and of the variance parameters, at a maximum.

    From the curvature of the (penalized) log-likelihood in the parameters that are free;
    zero for those held, NaN for terms whose covariance is singular (where the variance
    parameters have no such covariance).

    Returns
    -------
    fixed : ndarray
        (rank, rank)
    variances : VarianceCovariance
    observed : ndarray
        Of coefficients kept and variance parameters together.
    """
    state, layout = maximum.state, objective.layout
    rank, count = len(maximum.fixed), layout.n_packed
    dof = state.point.dof
    free = np.flatnonzero(objective.free_fixed)
    fixed = np.zeros((rank, rank))
    fixed[np.ix_(free, free)] = _inverse(-state.curvature[np.ix_(free, free)])

    # gamma in the order of the terms
    to_gamma = np.concatenate([np.arange(rank), rank + np.argsort(layout.packed_gamma)])
    curvature = state.curvature[np.ix_(to_gamma, to_gamma)]
    loose = objective.free_packed[np.argsort(objective.order)][
        np.argsort(layout.packed_gamma)
    ]
    singular = np.concatenate(
        [
            np.full(t.structure.n_gamma, _singular(t.structure, c))
            for t, c in zip(
                objective.terms, layout.unpack(objective.terms, maximum.packed), strict=True
            )
        ]
        or [np.zeros(0, bool)]
    )
    inside = np.flatnonzero(loose & ~singular)
    both = np.concatenate([free, rank + inside])
    observed = np.zeros((rank + count, rank + count))
    observed[np.ix_(both, both)] = _inverse(-curvature[np.ix_(both, both)])
    relative = observed[rank:, rank:].copy()
    scale = state.point.scale(maximum.fixed)
    cross = state.point.residual_squares(maximum.fixed) / (2 * scale**2)
    own = dof / (2 * scale**2)
    absolute = np.empty((count + 1, count + 1))
    absolute[:-1, :-1] = relative
    absolute[:-1, -1] = absolute[-1, :-1] = -relative @ cross / own
    absolute[-1, -1] = 1 / own + cross @ relative @ cross / own**2
    gamma = maximum.packed[np.argsort(layout.packed_gamma)]
    change = np.eye(count + 1)
    change[:-1, :-1] *= scale
    change[:-1, -1] = gamma
    absolute = change @ absolute @ change.T
    lost = np.flatnonzero(loose & singular)
    for matrix in (relative, absolute):
        matrix[lost, :] = matrix[:, lost] = np.nan
    observed[rank + lost, :] = observed[:, rank + lost] = np.nan
    return fixed, VarianceCovariance(relative, absolute), observed


def _singular(structure, covariance):
    size = np.sqrt(np.diag(covariance))
    if (size == 0).any():
        return True
    value = np.linalg.eigvalsh(covariance / np.outer(size, size))
    return bool(value[0] <= 1e-7)


def _inverse(information):
    if not len(information):
        return information
    size = 1 / np.sqrt(np.abs(np.diag(information)).clip(1e-300))
    value, vector = np.linalg.eigh(information * np.outer(size, size))
    if value[0] <= 1e-12 * value[-1]:
        return np.full_like(information, np.nan)
    return (vector / value) @ vector.T * np.outer(size, size)
