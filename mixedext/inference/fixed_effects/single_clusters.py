"""What one cluster alone tells of the fixed effects: there no sandwich has an error.

A direction d of the coefficients with X_h d = 0 in every cluster h but one is fitted from
that cluster.  The normal equations make its score zero whatever the errors are, so that
every cluster-robust variance of it is zero, or what rounding and generalized inverses
leave: there is no standard error.  With X = Q R, Q'Q = I, such directions are R^-1 v, where
Q_g'Q_g v = v.  Its trace is one at least; those of all clusters sum to the number of
columns, so that few clusters are looked at.  None is, where X has full rank in some rows of
one half of the clusters and in some of the other: then no cluster is alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mixedext.algebra.triangles import invert_upper
from mixedext.limits import ON_ONE_CLUSTER, ONE_CLUSTER, SAME_DIRECTION

__all__ = ["ToldByOne", "told_by_one"]

# Rows of a half of the clusters that are looked at first, and more for every column.
FIRST_ROWS, ROWS_OF_COLUMN = 1000, 50


@dataclass(frozen=True, eq=False)
class ToldByOne:
    """Combinations of the coefficients kept that one cluster alone tells.

    Attributes
    ----------
    root : ndarray
        The model's own covariance of the coefficients is root root', (p, p).
    directions : ndarray
        An orthonormal basis of the directions, in coordinates in which that covariance is
        the identity, (p, m); m is 0 where other clusters tell all.
    """

    root: np.ndarray
    directions: np.ndarray

    def concerns(self, rows: np.ndarray) -> np.ndarray:
        """Which combinations rest on such a direction, (m,) bool."""
        turned = np.atleast_2d(rows) @ self.root
        share = np.linalg.norm(turned @ self.directions, axis=1)
        return share > ON_ONE_CLUSTER * np.linalg.norm(turned, axis=1)


def told_by_one(
    x: np.ndarray,
    r: np.ndarray,
    root: np.ndarray,
    ways: Sequence[np.ndarray],
    weights: np.ndarray | None = None,
) -> ToldByOne:
    """Find what one cluster alone tells, in any of several ways to make clusters.

    Parameters
    ----------
    x : ndarray
        Columns of the fixed effects that were kept, (n, p).
    r : ndarray
        Triangle of X = Q R, the rows times the roots of their weights, (p, p).
    root : ndarray
        As for ``ToldByOne``.
    ways : sequence of ndarray
        Cluster of each row, 0 to G - 1, by way, (n,) each.
    weights : ndarray, optional
        Precision weights, (n,).
    """
    p = x.shape[1]
    change = invert_upper(r) if p else r
    half = None if weights is None else np.sqrt(weights)

    def basis(at):
        q = x[at] @ change
        return q if half is None else q * half[at, None]

    ways = [codes for codes in ways if not _halves_tell_all(codes, basis, p)]
    if not ways or not p:
        return ToldByOne(root, np.zeros((p, 0)))
    traces = [np.zeros(int(codes.max()) + 1) for codes in ways]
    for j in range(p):
        square = (x @ change[:, j]) ** 2
        if weights is not None:
            square *= weights
        for trace, codes in zip(traces, ways, strict=True):
            trace += np.bincount(codes, square, minlength=len(trace))
    found = [np.zeros((p, 0))]
    for trace, codes in zip(traces, ways, strict=True):
        for at in _rows_of(codes, np.flatnonzero(trace > 1 - ONE_CLUSTER)):
            found.append(change @ _unit_leverages(basis(at)))
    return ToldByOne(root, _orthonormal(np.linalg.solve(root, np.hstack(found))))


def _halves_tell_all(codes, basis, p):
    """Whether some rows of either half of the clusters alone tell all coefficients."""
    odd = codes % 2 == 1
    for side in (odd, ~odd):
        at = np.flatnonzero(side)
        at = at[:: 1 + len(at) // (FIRST_ROWS + ROWS_OF_COLUMN * p)]
        q = basis(at)
        if len(at) < p or (p and np.linalg.eigvalsh(q.T @ q)[0] <= ONE_CLUSTER):
            return False
    return True


def _rows_of(codes: np.ndarray, clusters: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of each of some clusters."""
    if not len(clusters):
        return
    order = np.argsort(codes, kind="stable")
    first = np.searchsorted(codes[order], clusters, "left")
    last = np.searchsorted(codes[order], clusters, "right")
    for start, stop in zip(first, last, strict=True):
        yield order[start:stop]


def _unit_leverages(q):
    """Eigenvectors of q'q for its eigenvalues of one, (p, m)."""
    if len(q) >= q.shape[1]:
        value, vector = np.linalg.eigh(q.T @ q)
        return vector[:, value > 1 - ONE_CLUSTER]
    value, vector = np.linalg.eigh(q @ q.T)
    return q.T @ vector[:, value > 1 - ONE_CLUSTER]


def _orthonormal(columns):
    """A basis of the span of columns; one direction may be found in several ways."""
    if not columns.shape[1]:
        return columns
    columns = columns / np.linalg.norm(columns, axis=0)
    vector, size, _ = np.linalg.svd(columns, full_matrices=False)
    return vector[:, size > SAME_DIRECTION]
