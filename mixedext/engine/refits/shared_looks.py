"""The deviance of many responses at the same points: what does not depend on y is shared.

With r = M y, M = I - QQ', c = Z'r and S = Z'MZ the residual sum of squares at Lam is

    r'r - |L^-1 Lam'c|^2,  L L' = I + Lam'S Lam,

and the log determinant that of L L' (REML) or of I + Lam'Z'Z Lam (ML).

So cheap are these that of two variances a whole lattice of standard deviations, zero among
them, is looked at.  Where it has one basin, and the first search has ended in its lowest
cells and below all of it, no other minimum is looked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg

from mixedext.engine.rows.design import Design
from mixedext.engine.search.rivals import Axes, grid_neighbours

__all__ = ["Basins", "SharedLook", "basins", "lattice", "sharing_pays"]

# Random effects up to which a matrix is kept for every point; responses from which it
# pays: some, and this share of the cube of the effects.
MOST_EFFECTS, LEAST_RESPONSES, CUBE_SHARE = 100, 200, 1 / 2000
# Numbers that are worked on at a time.
PART_SIZE = 2_000_000


class Basins(NamedTuple):
    """Where on a lattice of two standard deviations the only minimum of a deviance may lie.

    Attributes
    ----------
    low, high : ndarray
        Least and largest sizes of the elements of theta, (R, 2): the cells around the
        lowest point.  ``low`` is infinite where there are several basins.
    lowest_known : ndarray
        The lowest deviance of the lattice, (R,).
    """

    low: np.ndarray
    high: np.ndarray
    lowest_known: np.ndarray


def lattice(axes: Axes) -> tuple[np.ndarray, np.ndarray] | None:
    """All pairs of sizes of two standard deviations that are all of theta.

    Returns
    -------
    points : ndarray
        Theta, (G, 2).
    neighbours : ndarray of intp
        As those of ``rivals.OtherStarts``.
    """
    if len(axes.own) != 2 or len(axes.owner) != 2:
        return None
    count = axes.sizes.shape[1]
    return np.array(list(itertools.product(*axes.sizes))), grid_neighbours((count, count))


def basins(axes: Axes, values: np.ndarray) -> Basins:
    """Basins of deviances at the points of a lattice, (R, G).

    A basin is a point that is not above any of its four neighbours, or one of the least
    values along each of the two sizes, where a parabola has its vertex between points.
    There is no end to one at the largest size.
    """
    sizes = axes.sizes
    count = sizes.shape[1]
    last = count - 1
    table = values.reshape(-1, count, count)
    across, along = table, table.transpose(0, 2, 1)
    basin = np.isfinite(table) & _is_low(across) & _is_low(along).transpose(0, 2, 1)
    several = basin.sum(axis=(1, 2)) != 1
    for side in (across, along):
        several |= _is_low(_least(side)).sum(axis=1) != 1
    at = np.column_stack(np.divmod(values.argmin(axis=1), count))
    which = np.arange(2)
    low = sizes[which, np.maximum(at - 1, 0)]
    low[several | (at == last).any(axis=1)] = np.inf
    high = sizes[which, np.minimum(at + 1, last)]
    return Basins(low, high, values.min(axis=1))


def _is_low(values):
    """Whether values are not above those before and after them, along the last axis."""
    out = np.ones(values.shape, bool)
    before, after = values[..., :-1], values[..., 1:]
    out[..., 1:] &= after <= before
    out[..., :-1] &= before <= after
    return out


def _least(values):
    """The least value along the last axis, by parabolas through three neighbours."""
    before, own, after = values[..., :-2], values[..., 1:-1], values[..., 2:]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        bend = before - 2 * own + after
        vertex = own - 0.125 * (after - before) ** 2 / bend
    inner = np.where((own <= before) & (own <= after) & (bend > 0), vertex, own)
    return np.minimum(inner.min(axis=-1), np.minimum(values[..., 0], values[..., -1]))


def sharing_pays(design: Design, points: np.ndarray, count: int) -> bool:
    """Whether the work that the responses share is less than that for each."""
    blocks = design.blocks
    size = blocks.lead_gram.shape[0] * blocks.lead_gram.shape[1] + blocks.tail_size
    plain = (
        len(points) > 0
        and design.rotation is None
        and design.rows is None
        and blocks.pattern is None
        and not any(layout.spread for layout in blocks.factors)
    )
    least = max(LEAST_RESPONSES, CUBE_SHARE * size**3)
    return plain and size <= MOST_EFFECTS and count >= least


class SharedLook:
    """Deviances at some points, in the engine's units.

    Parameters
    ----------
    design : Design
        For which ``sharing_pays``.
    points : ndarray
        Theta of all points, (G, n_theta).
    reml : bool
        Restricted or ordinary deviance.
    """

    def __init__(self, design: Design, points: np.ndarray, reml: bool):
        blocks = design.blocks
        rank, n = blocks.n_fixed - 1, blocks.nobs
        self.nobs, self.dof = n, n - rank if reml else n
        gram, fixed = _products(blocks)
        size, own = len(gram), gram - fixed[:, :rank] @ fixed[:, :rank].T
        identity = np.eye(size)
        self.lower = np.tril_indices(size)
        # of c'A c, A = (L^-1 Lam')'L^-1 Lam', by the products c_i c_j, i >= j
        self.forms = np.empty((len(points), len(self.lower[0])))
        weight = np.where(self.lower[0] == self.lower[1], 1.0, 2.0)
        self.log_det = np.empty(len(points))
        for g, theta in enumerate(points):
            lam = _spread_lam(blocks, design.lams(theta))
            lower = np.linalg.cholesky(identity + lam.T @ own @ lam)
            root = linalg.solve_triangular(lower, lam.T, lower=True)
            self.forms[g] = weight * (root.T @ root)[self.lower]
            if not reml:
                lower = np.linalg.cholesky(identity + lam.T @ gram @ lam)
            self.log_det[g] = 2 * np.log(lower.diagonal()).sum()

    def values(self, lead: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """Deviances, infinite where rounding leaves none, (R, G).

        Parameters
        ----------
        lead, tail : ndarray
            Z'r of residuals of mean square one, (R, L, K) and (R, m).
        """
        z = np.hstack([lead.reshape(len(lead), -1), tail])
        row, column = self.lower
        out = np.empty((len(z), len(self.forms)))
        step = max(1, PART_SIZE // len(row))
        for start in range(0, len(z), step):
            own = z[start : start + step].T
            part = own[row] * own[column]
            out[start : start + step] = (self.forms @ part).T
        left = (self.nobs - out) / self.dof
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self.dof * (1 + np.log(2 * np.pi * left)) + self.log_det
        return np.where(left > 0, value, np.inf)


def _products(blocks):
    """Z'Z and Z'[X y], dense, the leading factor first."""
    count, k, columns = blocks.lead_cross.shape
    head, m = count * k, blocks.tail_size
    gram = np.zeros((head + m, head + m))
    fixed = np.empty((head + m, columns))
    gram[:head, :head] = linalg.block_diag(*blocks.lead_gram)
    fixed[:head] = blocks.lead_cross.reshape(head, columns)
    if m:
        gram[head:, head:] = blocks.multiply_tail_gram(np.eye(m))
        level = np.repeat(np.arange(count), np.diff(blocks.link_pointers))
        for a in range(k):
            gram[level * k + a, head + blocks.link_index] = blocks.link_value[:, a]
        gram[head:, :head] = gram[:head, head:].T
        fixed[head:] = blocks.tail_cross
    return gram, fixed


def _spread_lam(blocks, lams: Sequence[np.ndarray]):
    """Lam of all levels."""
    count, k = blocks.lead_gram.shape[:2]
    size = count * k + blocks.tail_size
    out = np.zeros((size, size))
    for number, layout in enumerate(blocks.factors):
        own = np.zeros((layout.width, layout.width))
        for term, at in zip(layout.terms, layout.slices, strict=True):
            own[at, at] = lams[term]
        if number == 0:
            place = np.arange(count * k).reshape(count, k)
        else:
            place = count * k + blocks.tail_columns(number - 1)
        out[place[:, :, None], place[:, None, :]] = own
    return out
