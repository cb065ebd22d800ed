"""Where other, lower minima of the deviance may lie, and what is told of them.

Few rows, a covariate far from zero, and a slope between levels unlike that within them
leave several minima.  The deviance is looked at over a grid of standard deviations and
correlations, where that is cheap beside the fit; the search starts again from every point
that is lower than its neighbours, and from the moments of y less the fixed effects within
levels, which pooled least squares may hide.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mixedext.engine.rows.design import Design
from mixedext.limits import (
    LARGE_LOOK,
    LEAST_RESIDUAL,
    LEVEL_RANK,
    NEARLY_EXPLAINED,
    PROMISING,
    RUNAWAY,
)
from mixedext.specification.covariance.linear import LinearStructure

__all__ = [
    "FAR_OUT",
    "NO_OTHERS",
    "Axes",
    "OtherStarts",
    "grid_neighbours",
    "may_be_others",
    "most_searches",
    "other_starts",
    "promising_points",
]

# Rows up to which the deviance of two and of more intercepts is looked at all over, with
# slopes as of two, and along each standard deviation from the minimum that was found;
# beyond, the cost would show, and so many rows have not been seen to leave several minima
# that the moments miss.
FEW_ROWS, MANY_ROWS = {2: 2000, 3: 100}, 10_000
# The latter where the rows themselves are used in every evaluation.
MANY_ROWS_USED = 1000
# Standard deviations (columns of Z at rms 1, relative to sigma) from and up to which is
# looked, and what the first times the root of the largest level's square may not exceed.
SMALLEST, LARGEST, SMALLEST_BY_LEVEL = 0.07, 20.0, 0.5
# Points of the grid along each of two or three standard deviations.
SIZES = {2: 6, 3: 4}
# Of one correlated intercept and slope most minima lie at correlations of one, in narrow
# valleys of one ratio of the two: so many directions, as many sizes of both up to the
# largest, and as many of each standard deviation without correlation.
DIRECTIONS, JOINT_SIZES, SMALLEST_JOINT, LARGEST_JOINT, APART = 24, 8, 0.3, 100.0, 7
# More of both have no grid, but so many points at random, each with so many neighbours;
# where few rows may all be explained as many again, at correlations of one and larger.
SCATTERED, NEAREST = 64, 6
# With few rows, slopes or more than two terms so many of the lowest points are started from
# besides those lower than their neighbours: valleys may run between the points.
LOWEST = 4
# Searches for other minima, times parameters, and the fewest: each of many parameters takes
# many steps.  Of 2,300 hostile fits the lowest was found by the 24th at the latest.
SEARCHES, FEWEST_SEARCHES = 400, 15
# Points along the only standard deviation, along each of two, and of more.
ALONG = (12, 8, 5)
# Starts of curved covariances with few rows, with more, the first included.
MOST_CURVED, SOME_CURVED = 9, 5
# Scale of one more start, whatever the number of rows, with variances well above sigma^2:
# for terms with correlations, and for terms without.
LARGE_START, LARGE_START_UNCORRELATED = 5.0, 30.0
# Two standard deviations of all effects, or of all but one; from one to the other a
# deviance without a lower bound falls by 2 log 10 at least.
FAR_OUT = (1e4, 1e5)
# Standard deviations from which a search may be led along a ratio of them that explains
# this y.
OUTSIDE = 30.0


@dataclass(frozen=True, eq=False)
class Axes:
    """Standard deviations in theta.

    Attributes
    ----------
    owner : ndarray of intp
        The standard deviation, a row of lam, that every element of theta belongs to,
        (n_theta,).
    own : ndarray of intp
        The element that alone makes it up where it is zero, (A,).
    sizes : ndarray
        The sizes to look at, zero and others, ascending, (A, M).
    """

    owner: np.ndarray
    own: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True, eq=False)
class OtherStarts:
    """Where else to look for minima.

    Attributes
    ----------
    starts : ndarray
        Starts that are tried where the first ends on the boundary, (S, n_theta).
    always : bool
        Whether to try them wherever it ends.
    points : ndarray
        Points at which the deviance is looked at, (G, n_theta).
    neighbours : ndarray of intp
        Numbers of their neighbours, (G, N); -1 where there is none.
    axes : Axes
        Standard deviations along which it is looked at from the minimum found.
    lowest : int
        Of the points, the lowest so many are started from in any case.
    reach : float
        Points at which the deviance exceeds the lowest minimum by less are started from.
    within : bool
        Whether also to start from the moments about the fixed effects within levels.
    takes_all : bool
        Whether correlated random effects are more than the rows that X leaves.
    far : ndarray
        Where effects may be enough to explain any y, pairs of points far out that tell
        whether the deviance has a lower bound, (2, D, n_theta); else none, (2, 0, n_theta).
    outside : ndarray
        There starts from which a search may be led along a ratio of standard deviations
        that explains this y, (E, n_theta); else none.
    large : ndarray
        Points that tell how large standard deviations are that explain nearly all of y:
        LARGE_LOOK of all together, and of each, (D, n_theta).
    """

    starts: np.ndarray
    always: bool
    points: np.ndarray
    neighbours: np.ndarray
    axes: Axes
    lowest: int
    reach: float
    within: bool
    takes_all: bool
    far: np.ndarray
    outside: np.ndarray
    large: np.ndarray

    @property
    def least_residual(self) -> float:
        """Share of the residual that another minimum must leave.

        Where effects may explain any y none may be left, at variances without end.
        """
        return 0.0 if self.looks and not self.far.size else LEAST_RESIDUAL

    @property
    def looks(self) -> bool:
        """Whether the deviance is looked at at all."""
        return len(self.axes.sizes) > 0


def _no_points(n_theta):
    return np.empty((0, n_theta)), np.empty((0, 1), np.intp)


def _no_axes(n_theta):
    return Axes(np.zeros(n_theta, np.intp), np.empty(0, np.intp), np.empty((0, 1)))


def _others(
    n_theta,
    starts=None,
    always=False,
    points=None,
    axes=None,
    lowest=1,
    reach=PROMISING,
    within=False,
    takes_all=False,
    far=None,
    outside=None,
    large=None,
):
    """Other starts, with none of what is not given."""
    starts = np.empty((0, n_theta)) if starts is None else starts
    points, neighbours = _no_points(n_theta) if points is None else points
    axes = _no_axes(n_theta) if axes is None else axes
    far = np.empty((2, 0, n_theta)) if far is None else far
    outside = np.empty((0, n_theta)) if outside is None else outside
    large = np.empty((0, n_theta)) if large is None else large
    rules = always, points, neighbours, axes, lowest, reach, within, takes_all
    return OtherStarts(starts, *rules, far, outside, large)


NO_OTHERS = _others(0)
# Whatever the number of rows, a single variance is compared with none.
_ZERO = Axes(np.zeros(1, np.intp), np.zeros(1, np.intp), np.zeros((1, 1)))


def other_starts(design: Design) -> OtherStarts:
    """Other starts for a design."""
    structures = tuple(design.structures)
    n_theta = sum(s.n_theta for s in structures)
    if not n_theta:
        return NO_OTHERS
    if design.is_curved:
        return _others(n_theta, _curved_starts(design), always=True)
    identity = np.concatenate([s.start() for s in structures])
    few_starts, always = _few_starts(design, identity)
    starts = np.array(few_starts).reshape(-1, n_theta)
    nobs = design.blocks.nobs
    if nobs > (MANY_ROWS if design.rows is None else MANY_ROWS_USED):
        only = n_theta == 1 and design.rows is None
        return _others(n_theta, starts, always, axes=_ZERO if only else None)
    intercepts = n_theta == len(design.blocks.factors)
    few = nobs <= FEW_ROWS[min(max(n_theta, 2), 3) if intercepts else 2]
    smallest = tuple(_smallest(design))
    axes = _axes(structures, smallest)
    far = _far_out(design, axes)
    narrow = far is not None and nobs <= FEW_ROWS[3]
    points = _points(structures, smallest, narrow) if few else None
    within = len(design.blocks.factors) > 1
    if few and within and not intercepts:  # scattered points are few in so many dimensions
        starts = np.vstack([starts, OUTSIDE * identity])
    lowest = 1 if intercepts and n_theta < 3 and nobs > FEW_ROWS[3] else LOWEST
    takes_all = few and n_theta > 2 and _takes_all(design.blocks)
    outside = None
    if far is not None:
        outside = _outside(structures, identity, points if narrow else None)
    # rows of slopes stand for themselves: between two minima lies more, the more there are
    reach = PROMISING if intercepts else PROMISING * max(1.0, nobs / FEW_ROWS[3])
    alone = np.eye(n_theta)[axes.own if len(axes.own) > 1 else []]
    large = LARGE_LOOK * np.vstack([identity, alone])
    rules = points, axes, lowest, reach, within, takes_all, far, outside, large
    return _others(n_theta, starts, always, *rules)


def _far_out(design, axes):
    """Points far out with all effects and without each, if [X Z] has enough columns."""
    blocks = design.blocks
    effects = sum(layout.n_levels * layout.width for layout in blocks.factors)
    if effects + blocks.n_fixed - 1 < blocks.nobs:
        return None
    directions = np.tile(
        np.concatenate([s.start() for s in design.structures]), (1 + len(axes.own), 1)
    )
    directions[1 + np.arange(len(axes.own)), axes.own] = 0.0
    return np.multiply.outer(FAR_OUT, directions[directions.any(axis=1)])


def _outside(structures, identity, points):
    """All standard deviations far out, in every direction of correlated pairs.

    Of one correlated pair these are the outermost points that are looked at.
    """
    outside = OUTSIDE * identity[None]
    if points is None:
        return outside
    if len(structures) == 1:
        own = points[0][np.abs(points[0]).max(axis=1) > OUTSIDE]
        return np.vstack([outside, own])
    ends = np.cumsum([s.n_theta for s in structures])
    for s, end in zip(structures, ends, strict=True):
        if s.k == 2 and s.n_theta == 3:
            ways = np.tile(identity, (DIRECTIONS // 2, 1))
            angle = np.pi * np.arange(len(ways)) / len(ways)
            ways[:, end - 3 : end] = [
                s.theta(np.array([[np.cos(a), 0.0], [np.sin(a), 0.0]])) for a in angle
            ]
            outside = np.vstack([outside, OUTSIDE * ways])
    return outside


def _takes_all(blocks):
    """Whether the effects of the only factor are more than the rows that X leaves."""
    count, width = blocks.lead_gram.shape[:2]
    left = blocks.nobs - blocks.n_fixed + 1
    if len(blocks.factors) > 1 or count * width <= left:
        return False
    value = np.linalg.eigvalsh(blocks.lead_gram)
    return int((value > LEVEL_RANK * value[:, -1:]).sum()) > left


def _few_starts(design, identity):
    """Starts for models of many rows that may have several minima, and whether always.

    Without correlations the deviance depends on where the zero of a covariate lies, and
    has several minima more often.
    """
    wide = [s for s in design.structures if s.k > 1]
    # (1 | g) + (0 + x | g) is (x || g) in other words
    apart = any(len(factor.slices) > 1 for factor in design.blocks.factors)
    uncorrelated = apart or any(s.is_diagonal for s in wide)
    if not uncorrelated and len(wide) < 2 and all(s.k == 2 for s in wide):
        return (), False
    large = LARGE_START_UNCORRELATED if uncorrelated else LARGE_START
    return (identity, large * identity), uncorrelated


def _curved_starts(design):
    """Starts of models with curved covariances: other correlations, and larger variances.

    Several minima are real: a correlation near one beside a variance of all columns, or a
    negative one.
    """
    rounds = max(len(s.starts()) for s in design.structures if not s.linear)
    nobs = design.blocks.nobs
    most = MOST_CURVED if nobs <= FEW_ROWS[2] else SOME_CURVED if nobs <= MANY_ROWS else 2
    out = []
    for number in range(1, min(rounds, most)):
        parts = []
        for s in design.structures:
            own = [s.start()] if s.linear else s.starts()
            parts.append(own[number % len(own)])
        out.append(np.concatenate(parts))
    return np.array(out).reshape(-1, sum(s.n_theta for s in design.structures))


def _smallest(design):
    """Smallest standard deviation of interest for each term, as a power of two."""
    blocks = design.blocks
    out = {}
    for number, layout in enumerate(blocks.factors):
        grams = blocks.level_grams(number)
        largest = float(grams.diagonal(axis1=1, axis2=2).max(initial=1.0))
        least = min(SMALLEST, SMALLEST_BY_LEVEL / np.sqrt(largest))
        for term in layout.terms:
            out[term] = float(SMALLEST * 2.0 ** np.floor(np.log2(least / SMALLEST)))
    return [out[term] for term in range(len(design.structures))]


@lru_cache(maxsize=64)
def _axes(structures, smallest):
    """The standard deviations of all effects and the sizes of each to look at."""
    owner: list[int] = []
    own: list[int] = []
    sizes: list[float] = []
    for s, least in zip(structures, smallest, strict=True):
        rows = np.zeros(s.n_theta, int) if s.n_theta == 1 else s.lam_basis.any(2).argmax(1)
        diagonal = s.start() != 0  # lam = I
        first = len(owner)
        for row in range(rows.max() + 1):
            own.append(first + int(np.flatnonzero(diagonal & (rows == row))[0]))
            sizes.append(least)
        owner += [len(own) - 1 - int(rows.max()) + int(row) for row in rows]
    count = ALONG[min(len(own), 3) - 1]
    return Axes(
        np.array(owner, np.intp),
        np.array(own, np.intp),
        np.array([[0.0, *np.geomspace(least, LARGEST, count)] for least in sizes]),
    )


@lru_cache(maxsize=64)
def _points(structures, smallest, narrow):
    """Points to look at, also in narrow valleys, and the numbers of their neighbours."""
    axes = sum(min(s.n_theta, s.k) for s in structures)
    if axes == 1:  # that is looked along
        return _no_points(1)
    if len(structures) == 1 and axes == 2 and structures[0].n_theta == 3:
        return _directions(smallest[0])
    if axes in SIZES and all(s.n_theta == 1 or s.is_diagonal for s in structures):
        return _grid(structures, smallest, SIZES[axes])
    return _scattered(structures, smallest, 2 * SCATTERED if narrow else SCATTERED)


def _directions(least):
    """Intercepts and slopes: correlations of one, by size and ratio, and of zero."""
    angle = np.pi * (np.arange(DIRECTIONS) / DIRECTIONS - 0.5)
    # of both standard deviations together, but for the first: half a turn is a sign
    sizes = np.geomspace(SMALLEST_JOINT, LARGEST_JOINT, JOINT_SIZES)
    direction = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(DIRECTIONS)])
    direction[np.abs(direction) < 1e-12] = 0.0  # rounding of a quarter turn
    joint = (direction[:, None] * sizes[:, None]).reshape(-1, 3)
    first, second = np.meshgrid(*[np.geomspace(least, LARGEST, APART)] * 2, indexing="ij")
    apart = np.column_stack([first.ravel(), np.zeros(first.size), second.ravel()])
    around = grid_neighbours((DIRECTIONS, JOINT_SIZES), turns=True)
    beside = grid_neighbours(first.shape)
    beside[beside >= 0] += len(joint)
    return np.vstack([joint, apart]), np.vstack([around, beside])


def _grid(structures: Sequence[LinearStructure], smallest, size):
    """Every combination of standard deviations."""
    axes: list[np.ndarray] = []
    owners: list[int] = []
    for i, (s, least) in enumerate(zip(structures, smallest, strict=True)):
        axes += [np.geomspace(least, LARGEST, size)] * min(s.n_theta, s.k)
        owners += [i] * (len(axes) - len(owners))
    points = []
    for values in itertools.product(*axes):
        parts = []
        for i, s in enumerate(structures):
            own = [v for v, owner in zip(values, owners, strict=True) if owner == i]
            parts.append(own[0] * s.start() if s.n_theta == 1 else np.array(own))
        points.append(np.concatenate(parts))
    return np.array(points), grid_neighbours(tuple(len(axis) for axis in axes))


def grid_neighbours(shape: tuple[int, ...], turns: bool = False) -> np.ndarray:
    """Numbers of neighbours on a grid, (G, 2 D); the first axis a circle if ``turns``."""
    number = np.pad(np.arange(math.prod(shape)).reshape(shape), 1, constant_values=-1)
    inner = tuple(slice(1, -1) for _ in shape)
    if turns:
        number[0], number[-1] = number[-2], number[1]
    sides = [
        np.roll(number, way, axis)[inner].ravel()
        for axis in range(len(shape))
        for way in (1, -1)
    ]
    return np.ascontiguousarray(np.column_stack(sides), np.intp)


def _scattered(structures, smallest, count):
    """Covariances of any sizes and correlations, the same ones always."""
    rng = np.random.default_rng(0)
    points, places = [], []
    for number in range(count):
        largest = LARGEST if number < SCATTERED else LARGEST_JOINT
        parts, place = [], []
        for s, least in zip(structures, smallest, strict=True):
            sizes = np.exp(rng.uniform(np.log(least), np.log(largest), s.k))
            root = rng.normal(size=(s.k, s.k))
            if number >= SCATTERED:  # of rank one
                root[:, 1:] = 0.0
            root /= np.linalg.norm(root, axis=1, keepdims=True)
            if number < 2:  # all of them large, or as large as sigma
                sizes[:] = 1.0 if number else LARGE_START
                root = np.eye(s.k)
            if s.n_theta == 1:
                parts.append(sizes[0] * s.start())
                place.append(np.log(sizes[:1]))
                continue
            if s.is_diagonal:
                root = np.eye(s.k)
            parts.append(s.theta(s.triangular(sizes[:, None] * root)))
            place += [np.log(sizes), np.tril(root @ root.T, -1).ravel()]
        points.append(np.concatenate(parts))
        places.append(np.concatenate(place))
    at = np.array(places)
    distance = ((at[:, None] - at) ** 2).sum(axis=-1)
    neighbours = distance.argsort(axis=1)[:, 1 : NEAREST + 1]
    return np.array(points), np.ascontiguousarray(neighbours, np.intp)


def most_searches(n_theta: int) -> int:
    """From how many points a fit is searched for other minima."""
    return max(SEARCHES // max(n_theta, 1), FEWEST_SEARCHES)


def promising_points(values: np.ndarray, neighbours: np.ndarray, lowest: int) -> np.ndarray:
    """Numbers of the lowest points and of those not above any neighbour, lowest first.

    Parameters
    ----------
    values : ndarray
        Deviances, (G,).
    neighbours : ndarray of intp
        (G, N), -1 where there is none.
    lowest : int
        Number of the lowest points.

    Returns
    -------
    ndarray of intp
    """
    around = np.where(neighbours >= 0, values[neighbours], np.inf)
    promising = values <= around.min(axis=1, initial=np.inf)
    order = np.argsort(values, kind="stable")
    promising[order[:lowest]] = True
    return order[(promising & np.isfinite(values))[order]]


def may_be_others(
    others: OtherStarts,
    nobs: int,
    reml: bool,
    residual_square: float,
    theta: np.ndarray,
    flat: bool,
) -> bool:
    """Whether there may be minima lower than all that were seen.

    Where so few rows are left that the random effects explain nearly all of y, the deviance
    may fall to ever larger variances; so it may along a flat direction.  Where intercepts
    and slopes could explain all of it, minima by maximum likelihood lie far out and are
    narrow.

    Parameters
    ----------
    others : OtherStarts
        What was looked at.
    nobs : int
        Rows.
    reml : bool
        Restricted (True) or ordinary deviance.
    residual_square : float
        The penalized residual sum of squares at the lowest minimum; at no variance it is
        ``nobs``.
    theta : ndarray
        The lowest minimum, (n_theta,).
    flat : bool
        Whether the deviance is flat in some direction there.
    """
    if not others.looks:
        return False
    if others.takes_all and not reml:
        return True
    explained = nobs <= FEW_ROWS[3] and residual_square < NEARLY_EXPLAINED * nobs
    return explained or (flat and float(np.abs(theta).max()) > RUNAWAY)
