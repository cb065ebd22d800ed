"""Roots of the covariances of all random effects, and products with them.

A covariance Sigma = lam lam' with lam = V diag(s) W' has the root V diag(s), in which
directions of small variance keep their digits, and for which u is W'u.  Roots are kept from
zero by what the deviance does not notice, so that derivatives in Sigma can be read off.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedext.engine.generalized.row_layout import RowLayout
from mixedext.limits import ROOT_FLOOR, ROOT_INVERTIBLE

__all__ = ["EffectRoots"]


class EffectRoots:
    """Lam = V diag(s) of every grouping factor.

    Parameters
    ----------
    layout : RowLayout
        Where the effects stand.
    lams : sequence of ndarray
        Factor of the covariance by grouping factor, (K, K).

    Attributes
    ----------
    padded : ndarray
        Lam by grouping factor, (F, K, K), padded to the widest.
    """

    def __init__(self, layout: RowLayout, lams: Sequence[np.ndarray]):
        self.layout = layout
        self._scale = None
        if layout.is_scalar:
            given = np.array([lam[0, 0] for lam in lams])
            floored = np.maximum(np.abs(given), ROOT_FLOOR)
            self._sizes = np.copysign(floored, given)
            self._shares = given / self._sizes
            self.padded = self._sizes.reshape(-1, 1, 1)
            self._scale = self._sizes[layout.factor]
            self._settled = bool((self._shares == 1.0).all())
            return
        parts = [np.linalg.svd(lam) for lam in lams]
        sizes = [np.maximum(size, ROOT_FLOOR) for _, size, _ in parts]
        self._parts = [
            (vector, size, turn)
            for (vector, _, turn), size in zip(parts, sizes, strict=True)
        ]
        widest = max(len(lam) for lam in lams)
        self.padded = np.zeros((len(lams), widest, widest))
        for f, (vector, size, _) in enumerate(self._parts):
            self.padded[f, : len(size), : len(size)] = vector * size
        shares = [given / size for (_, given, _), size in zip(parts, sizes, strict=True)]
        self._turned_shares = [np.diag(share) for share in shares]
        self._settled = all((share == 1.0).all() for share in shares)

    def times(self, u: np.ndarray) -> np.ndarray:
        """Lam u of (q,) or (q, R)."""
        if self._scale is not None:
            return _like(u, self._scale) * u
        return self.layout.by_factor([v * s for v, s, _ in self._parts], u)

    def transposed_times(self, b: np.ndarray) -> np.ndarray:
        """Lam'b."""
        if self._scale is not None:
            return self.times(b)
        return self.layout.by_factor([(v * s).T for v, s, _ in self._parts], b)

    def divide_transposed(self, b: np.ndarray) -> np.ndarray:
        """Lam'^-1 b; for factors that are ``invertible``."""
        if self._scale is not None:
            return b / _like(b, self._scale)
        return self.layout.by_factor([v / s for v, s, _ in self._parts], b)

    def turned(self, u: np.ndarray) -> np.ndarray:
        """W'u, of the effects in units of lam."""
        if self._scale is not None:
            return u
        return self.layout.by_factor([w for _, _, w in self._parts], u)

    def turned_back(self, u: np.ndarray) -> np.ndarray:
        """W u."""
        if self._scale is not None:
            return u
        return self.layout.by_factor([w.T for _, _, w in self._parts], u)

    def settled(self, u: np.ndarray) -> np.ndarray:
        """Modes less what they owe to roots that are kept from zero."""
        if self._settled:
            return u
        if self._scale is not None:
            return u * self._shares[self.layout.factor]
        return self.layout.by_factor(self._turned_shares, u)

    @property
    def invertible(self) -> np.ndarray | None:
        """Whether each random effect may be divided by Lam, (q,); None if all may."""
        if self._scale is not None:
            size = np.abs(self._sizes)
            good = size >= ROOT_INVERTIBLE * np.maximum(1.0, size)
        else:
            sizes = [size for _, size, _ in self._parts]
            good = np.array(
                [s.min() >= ROOT_INVERTIBLE * max(1.0, s.max()) for s in sizes], bool
            )
        return None if good.all() else good[self.layout.factor]

    def divided_sums(self, sums: np.ndarray) -> list[np.ndarray]:
        """T by grouping factor, (K, K), from T Lam, T symmetric.

        Of the two values for an entry of V'TV the one divided by the larger s is the more
        accurate.
        """
        if self._scale is not None:
            return list(sums / self.padded)
        out = []
        for f, (vector, size, _) in enumerate(self._parts):
            k = len(size)
            t = vector.T @ sums[f, :k, :k] / size
            if k > 1:
                t = np.where(size >= size[:, None], t, t.T)
            out.append(vector @ t @ vector.T)
        return out


def _like(b, scale):
    """Numbers of the effects, for (q,) or (q, R)."""
    return scale if b.ndim == 1 else scale[:, None]
