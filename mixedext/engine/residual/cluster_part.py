"""Clusters of rows of one size, each with a covariance of its own.

A cluster holds whole residual groups and all rows of each level of a random term that it
has rows of: V = sum_l Z_l Sigma Z_l' + Lambda is dense within it, and never more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg, sparse

from mixedext.engine.residual.parts import Moments, Part, PartProducts, Solved
from mixedext.kernels.covariance import clusters
from mixedext.specification.covariance.residual_curve import Places, ResidualCurve

__all__ = ["ClusterPart", "GroupsInClusters", "TermInClusters"]

# Rows of a cluster from which on LAPACK is faster.
LARGE_CLUSTER = 40


@dataclass(frozen=True, eq=False)
class TermInClusters:
    """Rows of a random term.

    Attributes
    ----------
    z : ndarray
        Columns, (G, s, k).
    same : ndarray or None
        Whether two rows of a cluster have the same level, (G, s, s); None if all have.
    """

    z: np.ndarray
    same: np.ndarray | None

    def covariance(self, sigma: np.ndarray) -> np.ndarray:
        """Z_l Sigma Z_l' of every cluster, (G, s, s)."""
        if self.z.shape[2] == 1:
            flat = self.z[:, :, 0]
            out = sigma[0, 0] * flat[:, :, None] * flat[:, None, :]
        else:
            out = (self.z @ sigma) @ self.z.transpose(0, 2, 1)
        return out if self.same is None else out * self.same

    def score(self, rows: np.ndarray) -> np.ndarray:
        """sum over levels of Z_l'S Z_l of a symmetric S of every cluster, (k, k)."""
        if self.same is not None:
            rows = rows * self.same
        k = self.z.shape[2]
        moved = rows @ self.z
        return self.z.reshape(-1, k).T @ moved.reshape(-1, k)


@dataclass(frozen=True, eq=False)
class GroupsInClusters:
    """Residual groups of one size and one level of ``by``, and where they stand.

    Attributes
    ----------
    curve : ResidualCurve
        Their Lambda.
    places : Places
        Of the patterns.
    pattern : ndarray
        Of every group, (H,).
    cluster, row : ndarray
        Cluster of every group, and its rows there, (H,) and (H, s).
    sum_patterns : csr_array or None
        Sums over the groups of a pattern, (c, H); None if each has one, in order.
    """

    curve: ResidualCurve
    places: Places
    pattern: np.ndarray
    cluster: np.ndarray
    row: np.ndarray
    sum_patterns: sparse.csr_array | None

    @classmethod
    def of(
        cls,
        curve: ResidualCurve,
        places: Places,
        pattern: np.ndarray,
        cluster: np.ndarray,
        row: np.ndarray,
    ) -> GroupsInClusters:
        """With patterns that no group has left out."""
        used, pattern = np.unique(pattern, return_inverse=True)
        places, count = places.at(used), len(pattern)
        sums = None
        if len(used) < count or (pattern != np.arange(count)).any():
            ones = (np.ones(count), (pattern, np.arange(count)))
            sums = sparse.csr_array(ones, shape=(len(used), count))
        return cls(curve, places, pattern, cluster, row, sums)

    @property
    def own(self) -> np.ndarray:
        """Where the parameters stand in psi."""
        return self.curve.at

    @cached_property
    def _in_order(self) -> bool:
        """Whether group number g has the first rows of cluster number g, in order."""
        count, s = self.row.shape
        in_order = (self.cluster == np.arange(count)).all()
        return bool(in_order and (self.row == np.arange(s)).all())

    def _are_clusters(self, shape):
        """Whether groups are the clusters of an array (G, s, ...)."""
        return self.row.shape == shape[:2] and self._in_order

    @property
    def _at(self):
        return self.cluster[:, None, None], self.row[:, :, None], self.row[:, None, :]

    def add_to(
        self, covariance: np.ndarray, psi: np.ndarray, definite: bool = False
    ) -> None:
        """Add Lambda of every group; LinAlgError if one that must be is not definite."""
        own = self.curve.matrix(psi[self.own], self.places)
        if definite:
            np.linalg.cholesky(own)
        own = own if self.sum_patterns is None else own[self.pattern]
        if self._are_clusters(covariance.shape):
            covariance += own
        else:
            covariance[self._at] += own

    def alone(self, psi: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        """Lambda of all clusters, (G, s, s), if each is a group of its own pattern."""
        if self.sum_patterns is not None or not self._are_clusters(shape):
            return None
        return np.ascontiguousarray(self.curve.matrix(psi[self.own], self.places))

    def by_pattern(self, rows: np.ndarray) -> np.ndarray:
        """Sum over groups of their blocks of S of every cluster, (c, s, s)."""
        return self.pooled(rows if self._are_clusters(rows.shape) else rows[self._at])

    def pooled(self, blocks: np.ndarray) -> np.ndarray:
        """Sums over the groups of a pattern of (H, s, s), (c, s, s)."""
        if self.sum_patterns is None:
            return blocks
        flat = self.sum_patterns @ blocks.reshape(len(blocks), -1)
        return flat.reshape(-1, *blocks.shape[1:])

    def times(self, matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Block-diagonal matrices by pattern (n, c, s, s) times (G, t, w): (n, G, t, w)."""
        if self.sum_patterns is not None:
            matrices = matrices[:, self.pattern]
        if self._are_clusters(vectors.shape):
            return matrices @ vectors
        out = np.zeros((len(matrices), *vectors.shape))
        own = vectors[self.cluster[:, None], self.row]
        out[:, self.cluster[:, None], self.row] = matrices @ own
        return out


class ClusterPart(Part):
    """Clusters of one size.

    Parameters
    ----------
    columns : ndarray
        [Q y], (G, s, P).
    terms : list of TermInClusters
        Of every random term.
    groups : list of GroupsInClusters
        Residual groups, which share out the rows.
    """

    def __init__(
        self,
        columns: np.ndarray,
        terms: list[TermInClusters],
        groups: list[GroupsInClusters],
    ):
        self.columns = np.ascontiguousarray(columns, float)
        self.terms, self.groups = terms, groups
        self._whole, self._is_inverse = np.zeros((0, 0, 0)), True
        self._known_slopes: tuple[np.ndarray, list[np.ndarray]] | None = None

    # ---- evaluation ----

    def covariance(
        self, covariances: Sequence[np.ndarray], psi: np.ndarray, definite: bool = False
    ) -> np.ndarray:
        """V of every cluster, (G, s, s); LinAlgError if a Lambda is not ``definite``."""
        count, s, _ = self.columns.shape
        if len(self.groups) == 1 and not self.terms:
            alone = self.groups[0].alone(psi, (count, s, s))
            if alone is not None:
                return alone
        whole = np.zeros((count, s, s))
        for own in self.groups:
            # random effects may make V definite although Lambda is not
            own.add_to(whole, psi, definite and bool(self.terms))
        for term, sigma in zip(self.terms, covariances, strict=True):
            if sigma.any():
                whole += term.covariance(sigma)
        return whole

    def factor(
        self, covariances: Sequence[np.ndarray], psi: np.ndarray, cross: np.ndarray
    ) -> float:
        try:
            self._whole = self.covariance(covariances, psi, definite=True)
        except np.linalg.LinAlgError:
            return np.inf
        self._is_inverse, self._known_slopes = False, None
        _, s, width = self.columns.shape
        if s < LARGE_CLUSTER:
            work = np.empty((s, width))
            return clusters.factor_clusters(self._whole, self.columns, work, cross)
        if not np.isfinite(self._whole).all():
            return np.inf
        log_det = 0.0
        for whole, columns in zip(self._whole, self.columns, strict=True):
            # LAPACK reads the rows of a symmetric matrix as columns
            _, info = linalg.lapack.dpotrf(whole.T, lower=0, clean=0, overwrite_a=1)
            if info:
                return np.inf
            log_det += 2 * float(np.log(whole.diagonal()).sum())
            white, _ = linalg.lapack.dtrtrs(whole.T, columns, lower=0, trans=1)
            cross += white.T @ white
        return log_det

    @property
    def inverse(self) -> np.ndarray:
        """V^-1 where ``factor`` was called last, (G, s, s)."""
        if not self._is_inverse:
            s = self._whole.shape[1]
            if s < LARGE_CLUSTER:
                clusters.invert_clusters(self._whole, np.empty((s, s)))
            else:
                for whole in self._whole:
                    linalg.lapack.dpotri(whole.T, lower=0, overwrite_c=1)
                clusters.mirror_clusters(self._whole)
            self._is_inverse = True
        return self._whole

    def _slopes(self, psi):
        """Groups with d Lambda / d psi of their patterns, (n, c, s, s)."""
        known = self._known_slopes
        if known is None or not np.array_equal(known[0], psi):
            found = [own.curve.tangent(psi[own.own], own.places) for own in self.groups]
            known = self._known_slopes = psi.copy(), found
        return zip(self.groups, known[1], strict=True)

    def _solved(self, solved):
        both = self.inverse @ (self.columns @ solved.change)
        return both[:, :, :-1], both[:, :, -1]

    def _score(self, x, e, solved):
        own = np.sqrt(solved.kappa) * e[:, :, None]
        both = np.concatenate([x, own], axis=2) if solved.reml else own
        out = both @ both.transpose(0, 2, 1)
        return np.subtract(self.inverse, out, out=out)

    def _moved(self, directions, psi, vectors):
        """V_r times vectors (G, s, w) for all parameters, (n, G, s, w)."""
        parts = []
        for term, own in zip(self.terms, directions, strict=True):
            for sigma in own:
                if term.same is None:
                    part = term.z @ (sigma @ (term.z.transpose(0, 2, 1) @ vectors))
                else:
                    part = term.covariance(sigma) @ vectors
                parts.append(part[None])
        slopes = list(self._slopes(psi))
        if len(slopes) == 1 and len(slopes[0][0].own) == len(psi):
            residual = slopes[0][0].times(slopes[0][1], vectors)
        else:
            residual = np.zeros((len(psi), *vectors.shape))
            for own, slope in slopes:
                residual[own.own] += own.times(slope, vectors)
        return np.concatenate([*parts, residual]) if parts else residual

    def add_moments(
        self, tangents: Sequence[np.ndarray], psi: np.ndarray, solved: Solved, into: Moments
    ) -> list[np.ndarray]:
        x, e = self._solved(solved)
        score = self._score(x, e, solved)
        n_theta = sum(map(len, tangents))
        for own, slopes in self._slopes(psi):
            at = n_theta + own.own
            blocks, free = own.by_pattern(score), psi[own.own]
            into.gradient[at] += slopes.reshape(len(slopes), blocks.size) @ blocks.ravel()
            into.bend[np.ix_(at, at)] += own.curve.bend(free, own.places, blocks)
        if not len(into.gradient):
            return []
        moved = self._moved(tangents, psi, e[:, :, None])[..., 0]
        if not len(moved):  # nothing is estimated but sigma^2
            return []
        flat = moved.reshape(len(moved), -1)
        into.residual += flat @ e.ravel()
        solved_flat = (self.inverse @ moved[..., None]).reshape(len(moved), -1)
        into.quadratic += flat @ solved_flat.T
        into.on_fixed += flat @ x.reshape(flat.shape[1], -1)
        image = self._moved(tangents, psi, self.inverse)  # V_r V^-1
        into.traces += _product_traces(image)
        if solved.reml and x.shape[2]:
            on_x = self._moved(tangents, psi, x)
            seen = image.transpose(0, 1, 3, 2) @ x  # V^-1 V_r X~
            count = len(moved)
            into.traces -= 2 * on_x.reshape(count, -1) @ seen.reshape(count, -1).T
            if into.squares is not None:
                wide = on_x.reshape(count, -1, x.shape[2])
                into.squares += x.reshape(wide.shape[1], -1).T @ wide
        return [term.score(score) for term in self.terms]

    # ---- information ----

    def add_products(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        into: PartProducts,
    ) -> None:
        if not len(into.single):
            return
        x, e = self._solved(solved)
        both = np.concatenate([x, e[:, :, None]], axis=2)
        moved = self._moved(directions, psi, both)
        n, width = len(moved), both.shape[2]
        if not n:
            return
        flat = both.reshape(-1, width)
        into.first += np.einsum("ip,riq->rpq", flat, moved.reshape(n, len(flat), width))
        whitened = self.inverse @ moved
        last = moved[..., -1].reshape(n, -1)
        into.residual += last @ whitened[..., -1].reshape(n, -1).T
        if width > 1:
            last = moved[..., :-1].reshape(n, -1)
            into.second_traces += last @ whitened[..., :-1].reshape(n, -1).T
        image = self._moved(directions, psi, self.inverse)  # V_r V^-1
        into.traces += _product_traces(image)
        into.single += np.einsum("rgaa->r", image)

    def weighted_second(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        weight: np.ndarray,
    ) -> np.ndarray:
        x, _ = self._solved(solved)
        moved = self._moved(directions, psi, x)
        if not len(moved):
            return np.zeros((x.shape[2],) * 2)
        other = np.tensordot(weight, self.inverse @ moved, 1)
        p = x.shape[2]
        return np.einsum(
            "rip,riq->pq",
            moved.reshape(len(moved), -1, p),
            other.reshape(len(moved), -1, p),
            optimize=True,
        )

    def curved(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        scale: float,
        weight: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        x, _ = self._solved(solved)
        image, seen = np.zeros_like(self.inverse), np.zeros_like(x)
        for own in self.groups:
            at = own.curve.natural_at
            free = psi[own.own]
            mean = own.curve.curve(free, scale, own.places, weight[np.ix_(at, at)]) / scale
            image += own.times(mean[None], self.inverse)[0]
            seen += own.times(mean[None], x)[0]
        p = x.shape[2]
        on_fixed = x.reshape(-1, p).T @ seen.reshape(-1, p)
        moved = self._moved(directions, psi, self.inverse)
        traces = np.einsum("rgab,gba->r", moved, image)
        if solved.reml and p:
            on_x = self._moved(directions, psi, x)
            traces -= 2 * np.einsum("rgap,gap->r", on_x, self.inverse @ seen)
        return on_fixed, traces, float(np.einsum("gaa->", image))


def _product_traces(matrices):
    """tr A_r A_s summed over clusters, A (n, G, s, s)."""
    flat = matrices.reshape(len(matrices), -1)
    return flat @ matrices.swapaxes(2, 3).reshape(flat.shape).T
