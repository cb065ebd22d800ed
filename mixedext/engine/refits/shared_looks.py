"""The deviance of many responses at the same points: what does not depend on y is shared.

With r = M y, M = I - QQ', c = Z'r and S = Z'MZ the residual sum of squares at Lam is

    r'r - |L^-1 Lam'c|^2,  L L' = I + Lam'S Lam,

and the log determinant that of L L' (REML) or of I + Lam'Z'Z Lam (ML).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from mixedext.engine.rows.design import Design

__all__ = ["SharedLook", "sharing_pays"]

# Random effects up to which L^-1 Lam' is kept for every point; responses from which it
# pays: some, and this share of the cube of the effects.
MOST_EFFECTS, LEAST_RESPONSES, CUBE_SHARE = 100, 200, 1 / 2000
# Numbers that are worked on at a time.
PART_SIZE = 2_000_000


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
        self.roots = np.empty((len(points), size, size))
        self.log_det = np.empty(len(points))
        for g, theta in enumerate(points):
            lam = _spread_lam(blocks, design.lams(theta))
            lower = np.linalg.cholesky(identity + lam.T @ own @ lam)
            self.roots[g] = linalg.solve_triangular(lower, lam.T, lower=True)
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
        count, size = self.roots.shape[:2]
        flat = self.roots.reshape(count * size, size)
        out = np.empty((len(z), count))
        step = max(1, PART_SIZE // (count * size))
        for start in range(0, len(z), step):
            own = z[start : start + step]
            part = (flat @ own.T).reshape(count, size, len(own))
            out[start : start + step] = np.einsum("gqr,gqr->rg", part, part)
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
