"""Other local minima beside the path of a profile.

Near singular covariances the deviance may have several minima with one parameter held.
The profile is the lowest of them, so that points are sought from other starts too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixedext.algebra.definiteness import smallest_eigenvalue
from mixedext.inference.profile.coordinates import Coordinates, Estimates, Target
from mixedext.inference.profile.path import Path, check_lower, solve_limit
from mixedext.inference.profile.restricted_minimum import (
    RestrictedMinimum,
    lower_minimum,
    restricted_minimum,
)
from mixedext.limits import (
    FLAT_END,
    LIMIT_DECREMENT,
    SAME_MINIMUM,
    SMALL_EIGENVALUE,
    SMALL_SD,
)

__all__ = ["Cap", "check_fit", "cut", "seek_lower"]

# Variances to start from, of effects on such columns, relative to sigma^2.
SMALL_START = 0.02
# Points of a path that are sought from other starts, and times it is cut at a cap.
MOST_DOUBTFUL, MOST_CUTS = 15, 5


def seek_lower(path: Path) -> None:
    """Put lower minima in place of points of the path, where others are found.

    If some covariance is nearly singular, or the deviance has higher minima, all points are
    sought from other starts, from the last one in: from few, while nothing tells of another
    minimum.  A lower minimum is
    followed both ways as long as it is lower.
    """
    if not path.nodes or not (
        path.others or _nearly_singular(path.coordinates, path.middle, path.nodes[-1])
    ):
        return
    sought, found = set[float](), bool(_turns(path) or path.others)
    for _ in range(MOST_DOUBTFUL):
        left = [i for i, n in enumerate(path.nodes) if n.coordinate not in sought]
        if not left:
            break
        node = path.nodes[left[-1]]
        lower = _other_minimum(path, node, few=bool(sought) and not found)
        found = found or lower is not None
        sought.add(node.coordinate)
        if lower is not None:
            path.nodes[left[-1]] = lower
            _follow(path, left[-1])
    _from_neighbours(path)


def check_fit(path: Path) -> None:
    """Raise LowerDevianceError if other starts show that the fit is not the lowest."""
    if _nearly_singular(path.coordinates, path.middle):
        _other_minimum(path, path.middle, few=path.coordinates.target.kind == "fixed")


def _from_neighbours(path):
    """Seek every point from the one before it, outwards and then inwards.

    A path may have left a minimum that further out is still the lowest.
    """
    count = len(path.nodes)
    for order in (range(count), range(count - 1, -1, -1)):
        last = path.middle if order.step > 0 else path.nodes[-1]
        for i in order:
            z = last.state.z.copy()
            z[path.coordinates.held] = path.nodes[i].coordinate
            lower = lower_minimum(path.coordinates, z, path.nodes[i])
            if lower is not None:
                check_lower(path.coordinates, lower, path.best)
                path.nodes[i] = replace(lower, branch=last.branch)
            last = path.nodes[i]
    _walk_on(path)


def _turns(path):
    """Numbers of the points from which on zeta turns back."""
    pairs = zip(path.nodes, path.nodes[1:], strict=False)
    return [i for i, (a, b) in enumerate(pairs) if a.deviance > b.deviance + SAME_MINIMUM]


def _follow(path, number):
    """Follow a lower minimum both ways as long as it is lower, and on to the level."""
    nodes, branch = path.nodes, 1 + max(node.branch for node in path.nodes)
    nodes[number] = replace(nodes[number], branch=branch)
    for way in (range(number - 1, -1, -1), range(number + 1, len(nodes))):
        last = nodes[number]
        for i in way:
            z = last.state.z.copy()
            z[path.coordinates.held] = nodes[i].coordinate
            other = restricted_minimum(path.coordinates, z, otherwise=nodes[i].state.z)
            check_lower(path.coordinates, other, path.best)
            if other.deviance > nodes[i].deviance - SAME_MINIMUM:
                break
            nodes[i] = last = replace(other, branch=branch)
    _walk_on(path)


def _walk_on(path):
    """Go on to the level where a lower minimum has taken the last point below it."""
    if path.end == "level" and path.height(path.nodes[-1]) < path.zeta_max:
        path.walk()


def _nearly_singular(coordinates, *nodes):
    """Whether some covariance is close to singular at one of the points."""
    model = coordinates.model
    points = [coordinates.estimates(node.state) for node in nodes]
    scale = np.array([at.scale for at in points])
    count = sum(s.k for s in model.structures)
    for i, s in enumerate(model.structures):
        covariance = np.array([at.covariances[i] for at in points])
        sd = np.sqrt(covariance.diagonal(axis1=1, axis2=2))
        # on columns of Z with rms 1, relative to sigma
        size = np.linalg.norm(model.design.transforms[i], axis=0)[: s.k]
        if count > 1 and (sd * size < SMALL_SD * np.sqrt(scale)[:, None]).any():
            return True
        if not s.is_diagonal:
            least = smallest_eigenvalue(covariance)
            if (least < SMALL_EIGENVALUE * s.k).any():
                return True
    return False


def _other_covariances(model, at):
    """Covariances of all terms to start from: small, and other signs and sizes."""
    unit = [
        at.scale * np.diag(1 / np.einsum("ab,ab->b", t, t)[: len(c)])
        for c, t in zip(at.covariances, model.design.transforms, strict=True)
    ]
    starts = [[SMALL_START * own for own in unit]]
    for i, (own, s) in enumerate(zip(at.covariances, model.structures, strict=True)):
        others = []
        if not s.is_diagonal:
            diagonal = np.diag(own.diagonal())
            others = [diagonal, diagonal + unit[i]]
            for a in range(s.k):
                sign = np.ones(s.k)
                sign[a] = -1.0
                others.append(0.9 * own * np.outer(sign, sign) + 0.1 * diagonal)
        if sum(t.k for t in model.structures) > 1:
            others += [0.05 * own, own + unit[i]]
        for other in others:
            starts.append([*at.covariances[:i], other, *at.covariances[i + 1 :]])
    return starts


def _other_starts(path, node, few):
    """Coordinates to start from: all minima, no random effects, other covariances.

    Few are the minima and the next two.
    """
    fitted = path.middle.state.z
    nothing = fitted.copy()
    nothing[: path.coordinates.tau] = 0.0
    yield fitted.copy()
    for other in path.others:
        yield path.coordinates.start(other)
    yield nothing
    at = path.coordinates.estimates(node.state)
    others = _other_covariances(path.coordinates.model, at)
    for covariances in others[:1] if few else others:
        yield path.coordinates.start(Estimates(covariances, at.scale, at.coefficients))


def _other_minimum(path, node, few=False):
    """A lower minimum at the same held coordinate, from other starts, or None."""
    found = None
    for z in _other_starts(path, node, few):
        z[path.coordinates.held] = node.coordinate
        other = lower_minimum(path.coordinates, z, node if found is None else found)
        found = found if other is None else other
    if found is not None:
        check_lower(path.coordinates, found, path.best)
    return found


# ---- a correlation with an effect that is zero ----


class Cap:
    """For a correlation the best model in which one of its effects is zero.

    Such a model has every value of the correlation: the profile cannot lie above it.

    Parameters
    ----------
    coordinates : Coordinates
        Those of the correlation.
    fitted : Estimates
        Of the fit.
    best : float
        Its deviance.

    Attributes
    ----------
    deviance : float
        Of the model without the effect.
    effect : int
        Which of them is zero.
    """

    def __init__(self, coordinates: Coordinates, fitted: Estimates, best: float):
        target = coordinates.target
        self.coordinates, self.deviance = coordinates, np.inf
        for row in target.rows:
            without = Coordinates(coordinates.model, Target("sd", target.term, (row,)))
            z = without.start(fitted)
            z[without.held] = 0.0
            node = restricted_minimum(without, z, LIMIT_DECREMENT)
            check_lower(without, node, best)
            if node.deviance < self.deviance:
                self.deviance, self.effect = node.deviance, row
                self._z = coordinates.start(without.estimates(node.state))

    def at(self, coordinate: float) -> RestrictedMinimum:
        """The model as one with a value of the correlation."""
        z = self._z.copy()
        z[self.coordinates.held] = coordinate
        state = self.coordinates.at(z)
        return RestrictedMinimum(
            coordinate, self.deviance, 0.0, 0.0, np.zeros(len(z)), state
        )


def cut(path: Path, cap: Cap) -> None:
    """Put the cap in place of what lies above it.

    Where the path meets the cap other starts are tried: it may have run up to it beside
    lower minima.
    """
    for attempt in range(MOST_CUTS + 1):
        above = [i for i, node in enumerate(path.nodes) if node.deviance > cap.deviance]
        if not above:
            return
        first = above[0]
        inner = path.nodes[first - 1] if first else path.middle
        crossing = inner.coordinate
        if inner.deviance < cap.deviance:
            wanted = np.sqrt(max(cap.deviance - path.best, 0.0))
            crossing = solve_limit(
                path.coordinates, inner, path.nodes[first], path.best, wanted
            )
        beside = cap.at(crossing)
        lower = None
        if attempt < MOST_CUTS and crossing != inner.coordinate:
            lower = _other_minimum(path, beside)
        if lower is None:
            break
        path.nodes.insert(first, lower)
        _follow(path, first)
    end = cap.at(path.bound)
    if abs(crossing - path.bound) < FLAT_END:
        path.nodes = [*path.nodes[:first], end]
        return
    flat = [beside] if crossing != inner.coordinate else []
    path.nodes = [*path.nodes[:first], *flat, end]
    path.end = (
        f"the profile is flat from {path.coordinates.parameter(crossing):.4g} on, where "
        f"the standard deviation of {{effects[{cap.effect}]}} is zero"
    )
