"""The search for (theta, psi): trust-region Newton from several starts, and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mixedext.engine.residual.marginal import Evaluation, MarginalDeviance
from mixedext.engine.search.trust_region import TrustRegion
from mixedext.exceptions import DevianceError
from mixedext.limits import (
    DECREMENT_ACCEPTED,
    DISTINCT_MINIMA,
    RESTART_GAIN,
    RISE_AT_LIMIT,
    ROUNDED,
    ZERO_SINGULAR_VALUE,
)

__all__ = ["Far", "FarEnds", "Found", "search_residual"]

# Fall foreseen at which a search ends, and the relative rounding error of the deviance.
DECREMENT, ROUNDING = 1e-11, 4e-16
# Distance in (theta, psi) at which a search is taken to be led to a minimum that is known.
SAME_END = 0.05
# Distance in psi from which on another start may lead elsewhere.
ELSEWHERE = 1.0
# Starts that are searched from, of those that are evaluated: with few parameters of the
# residual covariance or few rows, and beside random effects; more while the lowest end is
# at a limit.
MOST_SEARCHES, WITH_RANDOM, FEW_PARAMETERS, FEW_ROWS = 2, 3, 3, 100
# Searches in all; steps of a search, and of those after the first ones.
MOST_FURTHER, MOST_STEPS, FEWER_STEPS = 8, 200, 60
# Rows above which the start of the moments will do: without random effects, and with; and
# the longest first step from there in units of unit curvature, by the root of the number of
# rows, by which these units shrink.
MOST_OBSERVATIONS, FIRST_RADIUS = (2_000, 10_000), 0.1
NOT_FINITE = (
    "the deviance is not finite at any start: the residual covariance is not positive "
    "definite there, or the fixed and random effects explain the response"
)


@dataclass(frozen=True, eq=False)
class Found:
    """Where a search has ended.

    Attributes
    ----------
    x : ndarray
        (theta, psi).
    value : float
        The deviance, engine's units.
    gradient, hessian : ndarray
        There.
    decrement : float
        Fall that one more step would bring.
    minima : tuple of float
        Deviances of all minima seen, the lowest first.
    found_from : str
        Kind of the start.
    records : ndarray
        One row an evaluation: method, deviance, length of the step, fall foreseen, x.
    """

    x: np.ndarray
    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    decrement: float
    minima: tuple[float, ...]
    found_from: str
    records: np.ndarray


class Far(NamedTuple):
    """A point far out on the way to a limit of the covariance, see ``Correlation.far_end``.

    Attributes
    ----------
    x : ndarray
        (theta, psi), as near to the limit as digits allow.
    held : tuple of int
        Elements that have run off, and are held there.
    back : callable
        From a point as far out to others on the same way, not all so far that the deviance
        is that of the limit.
    rise : float
        Of the deviance by row, that the limit may bring.
    """

    x: np.ndarray
    held: tuple[int, ...]
    back: Callable[[np.ndarray], Sequence[np.ndarray]]
    rise: float = RISE_AT_LIMIT


#: From (theta, psi), elements that are held already and the number of steps to a point
#: further out, if there is one.
FarEnds = Callable[[np.ndarray, frozenset[int], int], Far | None]


class _Search(TrustRegion):
    """Newton's steps on the marginal deviance."""

    def __init__(
        self,
        deviance: MarginalDeviance,
        held: np.ndarray,
        limit: int,
        far: FarEnds | None = None,
    ):
        self.deviance, self.most_steps, self.far = deviance, limit, far
        moves = np.concatenate([np.ones(deviance.n_theta, bool), ~held])
        self.moves = None if moves.all() else np.flatnonzero(moves)
        self.ran_off: Far | None = None
        self.held: frozenset[int] = frozenset()  # in a limit
        self.log: list[list[float]] = []
        self.known: tuple[Evaluation | None, tuple] = (None, ())
        self.best: Evaluation | None = None

    def evaluate(self, x: np.ndarray) -> Evaluation:
        found = self.deviance.at
        if found is None or found.x is not x:  # a start is evaluated before
            found = self.deviance.evaluate(x)
        step = float(np.linalg.norm(x - self.x)) if self.log else 0.0
        fall = self.decrement / 2 if self.log and hasattr(self, "decrement") else np.nan
        self.log.append([0.0, found.value, step, fall, *x])
        return found

    def derivatives(self, state: Evaluation) -> tuple[np.ndarray, np.ndarray]:
        if self.known[0] is not state:
            if self.deviance.at is not state:
                self.deviance.evaluate(state.x)
            self.known = state, self.deviance.derivatives()
        return self.known[1]

    def free(self, state: Evaluation) -> np.ndarray | None:
        return self.moves

    def rounding(self, state: Evaluation) -> float:
        return (
            ROUNDING * self.deviance.nobs * max(1.0, abs(state.value / self.deviance.nobs))
        )

    def check_convergence(self) -> None:
        self.done = self.decrement < DECREMENT or not self.most_steps
        self.ran_off = None
        if self.far is not None and not self.done:
            self.ran_off = self.far(self.x, self.held, self.n_steps)
        if self.ran_off is not None:
            self.done = True
            return
        if self.best is not None and np.linalg.norm(self.x - self.best.x) < SAME_END:
            # led back to the minimum that is known
            self.done = self.done or self.state.value > self.best.value

    def end(self, start: np.ndarray) -> tuple[Evaluation, float]:
        """Where a search from a start ends, perhaps in a limit, and what it leaves."""
        found = self.solve(start)
        ran_off = self.ran_off
        if ran_off is None:
            return found, _remainder(self)
        # steps towards the limit become no longer as it is neared: stand there
        moves, held, far = self.moves, self.held, self.far
        assert far is not None
        free = np.arange(len(start)) if moves is None else moves
        self.moves, self.held = np.setdiff1d(free, ran_off.held), held.union(ran_off.held)
        limit, left = self.evaluate(ran_off.x), 0.0
        if np.isfinite(limit.value):
            limit, left = self.end(limit.x)
        self.moves, self.held = moves, held
        inside = [self.evaluate(x) for x in ran_off.back(limit.x)]
        found = min([*inside, found], key=lambda state: state.value)
        if limit.value <= found.value + ran_off.rise * self.deviance.nobs:
            return limit, left
        self.far = None
        found = self.solve(found.x)
        left = _remainder(self)
        self.far = far
        return found, left


def search_residual(
    deviance: MarginalDeviance,
    starts: Sequence[np.ndarray],
    held: np.ndarray,
    max_iterations: int | None = None,
    at_limit: Callable[[np.ndarray], bool] | None = None,
    further: Sequence[np.ndarray] = (),
    far: FarEnds | None = None,
    least_searches: int = 1,
) -> Found:
    """Minimize the deviance over (theta, psi).

    Parameters
    ----------
    deviance : MarginalDeviance
        It stands at the minimum afterwards.
    starts : sequence of ndarray
        Candidates, that of the moments first.
    held : ndarray of bool
        Elements of psi that stay where they start.
    max_iterations : int, optional
        Most steps of a search; of one search alone where it is given.
    at_limit : callable, optional
        Whether parameters (theta, psi) lie at an end of their range: then all starts are
        searched from.
    further : sequence of ndarray
        More starts, each of which is searched from whatever its deviance; ends at a limit
        do not count.
    far : callable, optional
        Of (theta, psi) that are on the way to a limit: points further out.
    least_searches : int, optional
        From how many starts is searched at least where rows are not many.

    Raises
    ------
    DevianceError
        If the deviance is finite at no start.
    """
    steps = MOST_STEPS if max_iterations is None else max_iterations
    search = _Search(deviance, held, steps, far)
    many = deviance.nobs > MOST_OBSERVATIONS[deviance.n_theta > 0]
    if many:
        search.first_radius = FIRST_RADIUS * np.sqrt(deviance.nobs)
    values = [deviance.evaluate(starts[0]).value]
    if not (many and np.isfinite(values[0])):
        values += [deviance.evaluate(x).value for x in starts[1:]]
    ranked = [i for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    if not ranked:
        raise DevianceError(NOT_FINITE)
    searches = _first_searches(deviance, many, max_iterations, least_searches)
    more = at_limit is not None and not many and max_iterations is None
    ends: list[tuple[Evaluation, float, int]] = []
    if far is not None:  # of the starts that lead to a limit the best one is enough
        there = [i for i in ranked if far(starts[i], frozenset(), 0) is not None]
        ranked = [i for i in ranked if i not in there[1:]]
        # it takes the place of no other
        searches += bool(there) and there[0] in ranked[:searches]
    ranked = _apart(ranked, starts, searches, deviance.n_theta)
    for number in ranked[: MOST_FURTHER if more else searches]:
        if len(ends) >= searches:
            assert at_limit is not None
            assert search.best is not None
            if not at_limit(search.best.x):
                break
            search.most_steps = FEWER_STEPS
        ends.append((*search.end(starts[number]), number))
        if search.best is None or ends[-1][0].value < search.best.value:
            search.best = ends[-1][0]
    if len(further):
        search.most_steps = FEWER_STEPS
    for number, start in enumerate(further, len(starts)):
        if np.isfinite(deviance.evaluate(start).value):
            found, left = search.end(start)
            # where the likelihood has no bound such searches run off further
            if left > DECREMENT_ACCEPTED or (at_limit and at_limit(found.x)):
                continue
            ends.append((found, left, number))
            if search.best is None or found.value < search.best.value:
                search.best = found
    ends.sort(key=lambda end: end[0].value)
    best, decrement, number = ends[0]
    for other in ends[1:]:  # of those that say the same that of the moments
        if other[0].value - best.value < RESTART_GAIN and other[2] == 0:
            best, decrement, number = other
    if search.most_steps == FEWER_STEPS and decrement > DECREMENT:
        # the lowest may be that of a search that had few steps
        search.best, search.most_steps = None, MOST_STEPS
        best, decrement = search.end(best.x)
    best, decrement = _rectified(search, best, decrement)
    minima = [best.value]
    for end, left, _ in ends:
        if end.value > minima[-1] + DISTINCT_MINIMA and left < DECREMENT_ACCEPTED:
            minima.append(end.value)
    gradient, hessian = search.derivatives(best)
    if deviance.at is not best:
        deviance.evaluate(best.x)
    kind = "moments" if number == 0 else "other"
    return Found(
        best.x,
        best.value,
        gradient,
        hessian,
        decrement,
        tuple(float(v) for v in minima),
        kind,
        np.array(search.log),
    )


def _apart(ranked, starts, searches, n_theta):
    """Starts in order, behind the first ones those first that lie in another place."""
    chosen, left = ranked[:searches], ranked[searches:]
    for number in left:
        psi = starts[number][n_theta:]
        if all(np.linalg.norm(psi - starts[k][n_theta:]) > ELSEWHERE for k in chosen):
            chosen = [*chosen, number]
    return [*chosen, *(k for k in left if k not in chosen)]


def _first_searches(deviance, many, max_iterations, least):
    """From how many starts is searched whatever comes of it."""
    if many or max_iterations is not None:
        return 1
    if deviance.n_theta:
        return max(WITH_RANDOM, least)
    few = deviance.n_psi <= FEW_PARAMETERS or deviance.nobs <= FEW_ROWS
    return max(MOST_SEARCHES if few else 1, least)


def _remainder(search):
    """Fall that one more step would bring from where a search has ended."""
    search.update()
    search.inner_solve()
    return max(search.decrement / 2, 0.0)


def _rectified(search, best, decrement):
    """Canonical lam: diagonal not negative, negligible singular values exactly zero."""
    deviance = search.deviance
    x = best.x.copy()
    for s, at in zip(deviance.structures, deviance.theta_slices, strict=True):
        least = np.linalg.svd(s.lam(x[at]), compute_uv=False)[-1]
        if s.linear or least < ZERO_SINGULAR_VALUE:
            x[at] = s.singular(x[at], ZERO_SINGULAR_VALUE)
        else:
            x[at] = s.canonical(x[at])
    if (x == best.x).all():
        return best, decrement
    found = search.evaluate(x)
    if found.value <= best.value + ROUNDED * np.sqrt(max(1.0, abs(best.value))):
        return found, decrement
    x = best.x.copy()
    for s, at in zip(deviance.structures, deviance.theta_slices, strict=True):
        x[at] = s.canonical(best.x[at])
    return search.evaluate(x), decrement
