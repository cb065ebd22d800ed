"""Maxima at which cov_re is singular while some of its elements are held.

In the elements of cov_re the set of covariance matrices ends in a wall.  A multiple mu of
log det cov_re keeps the search off it; as mu falls, the maximum moves along the central
path to that of the likelihood.  Where the gradient is zero the likelihood of a nearby
covariance matrix, held elements alike, is higher by at most mu times the order of cov_re
as far as the likelihood is concave (Nesterov and Nemirovskii 1994, Interior-Point
Polynomial Algorithms in Convex Programming, 4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixedext.algebra.definiteness import smallest_eigenvalue
from mixedext.algebra.roots import cholesky_if_definite
from mixedext.engine.constrained.maximum import Maximum, climb, polish, verdict
from mixedext.engine.constrained.objective import Objective
from mixedext.limits import SINGULAR_EIGENVALUE, WALL_ROUNDING

__all__ = ["LogDeterminant", "maximize_near_wall"]

MULTIPLES = 10.0 ** -np.arange(11)
# Newton steps for each multiple.
STEPS = 50


@dataclass(frozen=True, eq=False)
class LogDeterminant:
    """mu log det of a covariance matrix, as a function of its packed elements.

    Attributes
    ----------
    rows, columns : ndarray
        Places of the elements, each once.
    used : ndarray
        Rows of the matrix whose variance is not held at zero.
    multiple : float
        mu.
    """

    rows: np.ndarray
    columns: np.ndarray
    used: np.ndarray
    multiple: float

    def matrix(self, packed: np.ndarray) -> np.ndarray:
        """The whole matrix."""
        out = np.zeros((int(self.rows.max(initial=-1)) + 1,) * 2)
        elements = packed[: len(self.rows)]
        out[self.rows, self.columns] = out[self.columns, self.rows] = elements
        return out

    def inner(self, packed: np.ndarray) -> np.ndarray:
        """The rows of the matrix that are used."""
        return self.matrix(packed)[np.ix_(self.used, self.used)]

    def value(self, packed: np.ndarray) -> float:
        """-inf if the matrix is not positive definite."""
        root = cholesky_if_definite(self.inner(packed))
        if root is None:
            return -np.inf
        return 2 * self.multiple * float(np.log(np.diag(root)).sum())

    def _inverse(self, packed):
        whole = self.matrix(packed)
        out = np.zeros_like(whole)
        at = np.ix_(self.used, self.used)
        out[at] = np.linalg.inv(whole[at])
        return out

    @property
    def _twice(self):
        """How often an element stands in the matrix."""
        return np.where(self.rows == self.columns, 1.0, 2.0)

    def slope(self, packed: np.ndarray) -> np.ndarray:
        """Derivatives by the elements."""
        inverse = self._inverse(packed)
        return self.multiple * self._twice * inverse[self.rows, self.columns]

    def curvature(self, packed: np.ndarray) -> np.ndarray:
        """Second derivatives by the elements."""
        inverse, i, j = self._inverse(packed), self.rows, self.columns
        both = inverse[np.ix_(i, i)] * inverse[np.ix_(j, j)]
        both += inverse[np.ix_(i, j)] * inverse[np.ix_(j, i)]
        return -self.multiple / 2 * np.outer(self._twice, self._twice) * both


def maximize_near_wall(objective: Objective, fixed, packed, first: Maximum) -> Maximum:
    """The maximum along the central path, if the search that did without it failed.

    Parameters
    ----------
    objective : Objective
        In the elements of cov_re.
    fixed, packed : array_like
        Start, which has the values of what is held.
    first : Maximum
        Where the search without the path ended.

    Returns
    -------
    Maximum
        The best that was found, ``first`` among them.
    """
    rows, columns = objective.layout.triangle(objective.terms)
    packed = np.asarray(packed, float)
    used = np.unique(rows[(rows == columns) & (packed[: len(rows)] > 0)])
    barriers = [LogDeterminant(rows, columns, used, mu) for mu in MULTIPLES]
    found = [first]
    starts = [(fixed, packed), (first.fixed, 0.5 * (packed + first.packed))]
    for start in starts:
        if np.isfinite(barriers[0].value(start[1])):
            found.append(_follow(objective, start, barriers))
    good = [m for m in found if m.convergence.converged]
    return max(good or found, key=lambda m: m.value)


def _follow(objective, start, barriers):
    x = objective.start(*start)
    for barrier in barriers:
        objective.use_barrier(barrier)
        x, _ = climb(objective, x, STEPS)
    x = polish(objective, x)
    found = verdict(objective, objective.at(x), WALL_ROUNDING)
    inside = (
        smallest_eigenvalue(barriers[-1].inner(objective.at(x).packed))
        > SINGULAR_EIGENVALUE
    )
    objective.use_barrier(None)
    if inside:  # the maximum lies off the wall: the path has led to its foot
        x = polish(objective, climb(objective, x, STEPS)[0])
        found = verdict(objective, objective.at(x))
    elif found.converged:
        words = "cov_re is singular; no better one has the elements that are held"
        found = replace(found, status="boundary", message=words)
    state = objective.at(x)
    return Maximum(state.fixed, state.packed, state.value, found, state)
