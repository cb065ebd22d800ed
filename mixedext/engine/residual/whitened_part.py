"""Large clusters of rows, by the levels of their random terms.

With Lambda = L L' block-diagonal by residual group, Z~ = L^-1 Z and A = Z~'Z~,

    V^-1 = L^-T (I - Z~ B Z~') L^-1,    B = Lam M^-1 Lam',    M = I + Lam'A Lam,

M and B having a row for each column of each level: q x q, where V is n x n.  Blocks of
V^-1 are wanted at residual groups alone, each of which knows the few columns of Z that its
rows have entries in.  With K = (I + Sigma A)^-1 = I - B A,

    V^-1 Z = L^-T Z~ K,    N = Z'V^-1 Z = A K,

and for derivatives Lambda_r of Lambda, H_r = L^-1 Lambda_r L^-T and N_r = Z~'H_r Z~,

    tr V^-1 Lambda_r V^-1 Lambda_s = tr H_r H_s (I - 2 Z~ B Z~') + tr B N_r B N_s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import linalg, sparse

from mixedext.engine.residual.cluster_part import GroupsInClusters
from mixedext.engine.residual.parts import Moments, Part, PartProducts, Solved
from mixedext.limits import ROOT_INVERTIBLE

__all__ = [
    "ColumnsOfGroups",
    "TermColumns",
    "WhitenedPart",
    "columns_of_groups",
    "whitened_part",
]

# Columns of Z above which a search goes by average information: its traces are q x q
# products by parameter.
MOST_TRACED = 500


@dataclass(frozen=True, eq=False)
class TermColumns:
    """Columns of Z of a random term.

    Attributes
    ----------
    start, n_levels, k : int
        Its first column, and levels with rows in the cluster by columns of each.
    """

    start: int
    n_levels: int
    k: int

    @property
    def at(self) -> slice:
        """All of its columns."""
        return slice(self.start, self.start + self.n_levels * self.k)

    def times(self, matrix: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(I kron matrix) of the rows of this term, (n_levels * k, w)."""
        own = columns[self.at]
        if self.k == 1:
            return matrix[0, 0] * own
        return (matrix @ own.reshape(self.n_levels, self.k, -1)).reshape(own.shape)

    def inner(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Sums over levels of products of its rows of two matrices (q, w), (k, k)."""
        if self.k == 1:
            return np.array([[one[self.at].ravel() @ other[self.at].ravel()]])
        shape = self.n_levels, self.k, one.shape[1]
        left, right = (
            m[self.at].reshape(shape).transpose(1, 0, 2).reshape(self.k, -1)
            for m in (one, other)
        )
        return left @ right.T


class ColumnsOfGroups:
    """Residual groups of one size with the columns of Z that their rows know.

    Parameters
    ----------
    groups : GroupsInClusters
        H groups of s rows; all rows are one cluster to them.
    z : ndarray
        Entries of Z in u columns, (H, s, u).
    index : ndarray
        Numbers of these columns, (H, u); that of a column without entries may be any.
    columns : ndarray
        [Q y] of all rows of the part, (n, P).
    q : int
        Columns of Z.
    """

    def __init__(
        self,
        groups: GroupsInClusters,
        z: np.ndarray,
        index: np.ndarray,
        columns: np.ndarray,
        q: int,
    ):
        self.groups, self.z, self.index, self.q = groups, z, index, q
        self.columns = columns[groups.row]
        count = np.arange(index.size)
        entries = np.ones(index.size), (index.ravel(), count)
        self._sums = sparse.csr_array(entries, shape=(q, index.size))
        pairs = index[:, :, None].astype(np.int64) * q + index[:, None, :]
        self._pairs = pairs.ravel()
        self._known_slopes: np.ndarray | None = None

    def factor(self, psi: np.ndarray) -> float:
        """log|Lambda|, infinite if it is not definite; whiten Z and [Q y]."""
        self._known_slopes = None
        own = self.groups
        whole = own.curve.matrix(psi[own.own], own.places)
        if not np.isfinite(whole).all():
            return np.inf
        try:
            root = np.linalg.cholesky(whole)
        except np.linalg.LinAlgError:
            return np.inf
        size = np.log(np.einsum("caa->ca", root)).sum(axis=1)
        self.whiten = self._by_group(np.linalg.inv(root))
        self.white_z = self.whiten @ self.z
        self.white = self.whiten @ self.columns
        return 2 * float(self._by_group(size).sum())

    def _by_group(self, by_pattern):
        own = self.groups
        return by_pattern if own.sum_patterns is None else by_pattern[own.pattern]

    def summed(self, by_group: np.ndarray) -> np.ndarray:
        """Sums over levels of what groups have in their columns, (H, u, w): (q, w)."""
        return self._sums @ by_group.reshape(self.index.size, -1)

    def gram(self, blocks: np.ndarray | None = None) -> np.ndarray:
        """Z~'H Z~ with H of groups (H, s, s), the identity if None: (q, q)."""
        right = self.white_z if blocks is None else blocks @ self.white_z
        found = self.white_z.transpose(0, 2, 1) @ right
        flat = np.bincount(self._pairs, found.ravel(), self.q**2)
        return flat.reshape(self.q, self.q)

    def cross(self, white: np.ndarray) -> np.ndarray:
        """Z~'c of whitened rows, (H, s, w): (q, w)."""
        return self.summed(self.white_z.transpose(0, 2, 1) @ white)

    def explained(self, effects: np.ndarray) -> np.ndarray:
        """Z~ b, (H, s, w) of (q, w)."""
        return self.white_z @ effects[self.index]

    def inner(self, matrix: np.ndarray) -> np.ndarray:
        """Z~ B Z~' of groups, (H, s, s)."""
        own = matrix[self.index[:, :, None], self.index[:, None, :]]
        return self.white_z @ own @ self.white_z.transpose(0, 2, 1)

    def whitened(self, by_pattern: np.ndarray) -> np.ndarray:
        """H = L^-1 R L^-T of groups from R by pattern (n, c, s, s): (n, H, s, s)."""
        own = self.groups
        if own.sum_patterns is not None:
            by_pattern = by_pattern[:, own.pattern]
        return self.whiten @ by_pattern @ self.whiten.transpose(0, 2, 1)

    def slopes(self, psi: np.ndarray) -> np.ndarray:
        """d Lambda / d psi by pattern where ``factor`` was called last, (n, c, s, s)."""
        if self._known_slopes is None:
            own = self.groups
            self._known_slopes = own.curve.tangent(psi[own.own], own.places)
        return self._known_slopes


class WhitenedPart(Part):
    """A cluster, or several with few levels.

    Parameters
    ----------
    n_rows : int
        Rows.
    terms : list of TermColumns
        Of every random term.
    groups : list of ColumnsOfGroups
        Residual groups.
    """

    def __init__(
        self, n_rows: int, terms: list[TermColumns], groups: list[ColumnsOfGroups]
    ):
        self.n_rows, self.terms, self.groups = n_rows, terms, groups
        self.q = terms[-1].at.stop
        self.exact = self.q <= MOST_TRACED

    # ---- evaluation ----

    def apart(self) -> Self:
        out = super().apart()
        out.groups = [copy(own) for own in self.groups]
        return out

    def factor(
        self, covariances: Sequence[np.ndarray], psi: np.ndarray, cross: np.ndarray
    ) -> float:
        log_det = 0.0
        for own in self.groups:
            log_det += own.factor(psi)
            if not np.isfinite(log_det):
                return np.inf
        if not all(np.isfinite(sigma).all() for sigma in covariances):
            return np.inf
        self.gram = _added(own.gram() for own in self.groups)
        self.on_columns = _added(own.cross(own.white) for own in self.groups)
        self.roots = [_root(sigma) for sigma in covariances]
        self._known = False
        matrix = self._times_root(self._times_root(self.gram, True).T, True)
        matrix[np.diag_indices(self.q)] += 1.0
        self.root, info = linalg.lapack.dpotrf(matrix, lower=1, overwrite_a=1)
        if info:
            return np.inf
        log_det += 2 * float(np.log(self.root.diagonal()).sum())
        half = linalg.solve_triangular(
            self.root, self._times_root(self.on_columns, True), lower=True
        )
        cross -= half.T @ half
        for own in self.groups:
            flat = own.white.reshape(-1, own.white.shape[2])
            cross += flat.T @ flat
        return log_det

    def _times_root(self, columns, transpose=False):
        """Lam or Lam' times (q, w)."""
        out = np.empty_like(columns)
        for term, (vector, size) in zip(self.terms, self.roots, strict=True):
            root = vector * size
            out[term.at] = term.times(root.T if transpose else root, columns)
        return out

    def _solve_effects(self):
        """B and K where ``factor`` was called last."""
        if self._known:
            return
        inverse, _ = linalg.lapack.dpotri(self.root, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        half = self._times_root(inverse)  # Lam M^-1
        self.effects = self._times_root(half.T).T
        self.shrunk = np.empty_like(half)
        for term, (vector, size) in zip(self.terms, self.roots, strict=True):
            if size.min() >= ROOT_INVERTIBLE * max(1.0, size.max()):
                # Lam M^-1 Lam^-1 loses no digits where A Sigma is large
                self.shrunk[:, term.at] = term.times(vector / size, half.T).T
            else:
                own = -self.effects @ self.gram[:, term.at]
                at = np.arange(term.at.start, term.at.stop)
                own[at, at - term.at.start] += 1.0
                self.shrunk[:, term.at] = own
        self._known = True

    def _solved(self, solved):
        """X~ and e~, rows by group."""
        self._solve_effects()
        effects = self.effects @ (self.on_columns @ solved.change)
        both = np.empty((self.n_rows, len(solved.change)))
        for own in self.groups:
            rest = own.white @ solved.change - own.explained(effects)
            both[own.groups.row] = own.whiten.transpose(0, 2, 1) @ rest
        return both[:, :-1], both[:, -1]

    def _solve(self, vectors):
        """V^-1 times (n, rows, w)."""
        count, rows, width = vectors.shape
        flat = vectors.transpose(1, 0, 2).reshape(rows, count * width)
        white = [own.whiten @ flat[own.groups.row] for own in self.groups]
        total = _added(
            own.cross(part) for own, part in zip(self.groups, white, strict=True)
        )
        effects = self.effects @ total
        out = np.empty_like(flat)
        for own, part in zip(self.groups, white, strict=True):
            rest = part - own.explained(effects)
            out[own.groups.row] = own.whiten.transpose(0, 2, 1) @ rest
        return out.reshape(rows, count, width).transpose(1, 0, 2)

    def _moved(self, directions, psi, vectors):
        """V_r times (rows, w) for all parameters, (n, rows, w)."""
        width = vectors.shape[1]
        first = sum(map(len, directions))
        out = np.zeros((first + len(psi), self.n_rows, width))
        own_rows = [vectors[own.groups.row] for own in self.groups]
        if first:
            total = _added(
                own.summed(own.z.transpose(0, 2, 1) @ part)
                for own, part in zip(self.groups, own_rows, strict=True)
            )
            number = 0
            for term, sigmas in zip(self.terms, directions, strict=True):
                for sigma in sigmas:
                    moved = np.zeros_like(total)
                    moved[term.at] = term.times(sigma, total)
                    for own in self.groups:
                        out[number][own.groups.row] = own.z @ moved[own.index]
                    number += 1
        for own in self.groups:
            found = own.groups.times(own.slopes(psi), vectors[None])
            out[first + own.groups.own] += found[:, 0]
        return out

    def _scores_of_terms(self, x, e, solved):
        total = _added(
            own.summed(own.z.transpose(0, 2, 1) @ np.column_stack([x, e])[own.groups.row])
            for own in self.groups
        )
        out = []
        for term in self.terms:
            score = term.inner(self.gram, self.shrunk.T)
            on_e = total[:, -1:]
            score = (score + score.T) / 2 - solved.kappa * term.inner(on_e, on_e)
            if solved.reml:
                score -= term.inner(total[:, :-1], total[:, :-1])
            out.append(score)
        return out

    def _score(self, own, x, e, solved):
        """S of the groups, (H, s, s)."""
        rest = -own.inner(self.effects)
        at = np.arange(rest.shape[1])
        rest[:, at, at] += 1.0
        out = own.whiten.transpose(0, 2, 1) @ rest @ own.whiten
        on_e = e[own.groups.row]
        out -= solved.kappa * (on_e[:, :, None] * on_e[:, None, :])
        if solved.reml:
            on_x = x[own.groups.row]
            out -= on_x @ on_x.transpose(0, 2, 1)
        return out

    def add_moments(
        self, tangents: Sequence[np.ndarray], psi: np.ndarray, solved: Solved, into: Moments
    ) -> list[np.ndarray]:
        x, e = self._solved(solved)
        first = sum(map(len, tangents))
        for own in self.groups:
            groups = own.groups
            at, free = first + groups.own, psi[groups.own]
            if not len(at):
                continue
            blocks = groups.pooled(self._score(own, x, e, solved))
            slopes = own.slopes(psi)
            into.gradient[at] += np.einsum("rcab,cab->r", slopes, blocks)
            into.bend[np.ix_(at, at)] += groups.curve.bend(free, groups.places, blocks)
        moved = self._moved(tangents, psi, e[:, None])
        flat = moved[..., 0]
        into.residual += flat @ e
        into.quadratic += flat @ self._solve(moved)[..., 0].T
        into.on_fixed += flat @ x
        if self.exact:
            into.traces += self._traces(tangents, psi)
            if solved.reml and x.shape[1]:
                on_x = self._moved(tangents, psi, x)
                n = len(on_x)
                seen = self._solve(on_x).reshape(n, -1)
                into.traces -= 2 * on_x.reshape(n, -1) @ seen.T
                if into.squares is not None:
                    into.squares += x.T @ on_x
        return self._scores_of_terms(x, e, solved)

    # ---- traces ----

    def _traces(self, directions, psi, more=None):
        """tr V^-1 G_r V^-1 G_s over directions, psi, and what ``more`` gives, (n, n).

        ``more`` are further matrices by pattern, (c, s, s), of every set of groups.
        """
        sizes = [len(own) for own in directions]
        first, count = sum(sizes), len(psi) + (more is not None)
        out = np.zeros((first + count,) * 2)
        ends = np.cumsum([0, *sizes])
        on_effects = self.gram @ self.shrunk
        pairs = list(zip(self.terms, directions, ends, strict=False))
        for i, (term, own, start) in enumerate(pairs):
            for other, its, its_start in pairs[: i + 1]:
                if not (len(own) and len(its)):
                    continue
                block = on_effects[term.at, other.at]
                k, other_k = term.k, other.k
                block = block.reshape(term.n_levels, k, other.n_levels, other_k)
                # tr (I x E) N (I x F) N'
                flat = block.transpose(1, 3, 0, 2).reshape(k * other_k, -1)
                both = (flat @ flat.T).reshape(k, other_k, k, other_k)
                both = both.transpose(0, 2, 1, 3).reshape(k * k, other_k**2)
                found = own.reshape(-1, k * k) @ both @ its.reshape(-1, other_k**2).T
                rows = slice(start, start + len(own))
                columns = slice(its_start, its_start + len(its))
                out[rows, columns] = found
                out[columns, rows] = found.T
        if count:
            self._traces_of_residual(pairs, first, psi, more, out)
        return out

    def _traces_of_residual(self, pairs, first, psi, more, out):
        count = len(out) - first
        grams = [np.zeros((self.q, self.q)) for _ in range(count)]
        for number, own in enumerate(self.groups):
            blocks, at = own.slopes(psi), own.groups.own
            if more is not None:
                blocks = np.concatenate([blocks, more[number][None]])
                at = np.append(at, count - 1)
            white = own.whitened(blocks)
            for r, block in zip(at, white, strict=True):
                grams[r] += own.gram(block)
            rest = -2 * own.inner(self.effects)
            diagonal = np.arange(rest.shape[1])
            rest[:, diagonal, diagonal] += 1.0
            moved = (rest @ white).transpose(0, 1, 3, 2).reshape(len(at), -1)
            out[np.ix_(first + at, first + at)] += white.reshape(len(at), -1) @ moved.T
        images = [self.effects @ gram for gram in grams]
        shrunk = np.ascontiguousarray(self.shrunk.T)
        for r in range(count):
            for s in range(r + 1):
                trace = float(np.vdot(images[r], images[s].T))
                out[first + r, first + s] += trace
                if s < r:
                    out[first + s, first + r] += trace
            seen = np.ascontiguousarray((grams[r] @ self.shrunk).T)
            for term, its, start in pairs:
                if not len(its):
                    continue
                found = its.reshape(len(its), -1) @ term.inner(shrunk, seen).ravel()
                out[start : start + len(its), first + r] = found
                out[first + r, start : start + len(its)] = found
        square = out[first:, first:]
        out[first:, first:] = (square + square.T) / 2

    def _singles(self, directions, psi, more=None):
        """tr V^-1 G_r over the same."""
        out = []
        for term, own in zip(self.terms, directions, strict=True):
            block = term.inner(self.gram, self.shrunk.T)
            out += [float(np.sum(sigma * block)) for sigma in own]
        residual = np.zeros(len(psi) + (more is not None))
        for number, own in enumerate(self.groups):
            blocks, at = own.slopes(psi), own.groups.own
            if more is not None:
                blocks = np.concatenate([blocks, more[number][None]])
                at = np.append(at, len(residual) - 1)
            white = own.whitened(blocks)
            residual[at] += np.einsum("rhaa->r", white)
            residual[at] -= np.einsum("rhab,hab->r", white, own.inner(self.effects))
        return np.concatenate([out, residual])

    # ---- information ----

    def add_products(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        into: PartProducts,
    ) -> None:
        x, e = self._solved(solved)
        both = np.column_stack([x, e])
        moved = self._moved(directions, psi, both)
        n = len(moved)
        into.first += both.T @ moved
        solved_rows = self._solve(moved)
        into.residual += moved[..., -1] @ solved_rows[..., -1].T
        if x.shape[1]:
            last = moved[..., :-1].reshape(n, -1)
            into.second_traces += last @ solved_rows[..., :-1].reshape(n, -1).T
        into.traces += self._traces(directions, psi)
        into.single += self._singles(directions, psi)

    def weighted_second(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        weight: np.ndarray,
    ) -> np.ndarray:
        x, _ = self._solved(solved)
        moved = self._moved(directions, psi, x)
        other = np.tensordot(weight, self._solve(moved), 1)
        p = x.shape[1]
        return moved.reshape(-1, p).T @ other.reshape(-1, p)

    def curved(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        scale: float,
        weight: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        x, _ = self._solved(solved)
        means, seen = [], np.zeros_like(x)
        for own in self.groups:
            curve, places = own.groups.curve, own.groups.places
            at = np.ix_(curve.natural_at, curve.natural_at)
            free = psi[own.groups.own]
            mean = curve.curve(free, scale, places, weight[at]) / scale
            means.append(mean)
            seen += own.groups.times(mean[None], x[None])[0, 0]
        traces = self._traces(directions, psi, means)[-1, :-1]
        single = float(self._singles(directions, psi, means)[-1])
        if solved.reml and x.shape[1]:
            on_x = self._moved(directions, psi, x)
            traces -= 2 * np.einsum("rip,ip->r", on_x, self._solve(seen[None])[0])
        return x.T @ seen, traces, single


def whitened_part(
    columns: np.ndarray,
    codes: Sequence[np.ndarray],
    zs: Sequence[np.ndarray],
    groups: list[GroupsInClusters],
) -> WhitenedPart:
    """The part of some rows.

    Parameters
    ----------
    columns : ndarray
        [Q y], (n, P).
    codes, zs : sequence of ndarray
        Levels of the rows (n,) and columns (n, k) of every random term.
    groups : list of GroupsInClusters
        Residual groups; all rows are one cluster to them.
    """
    terms, levels, start = [], [], 0
    for own, z in zip(codes, zs, strict=True):
        used, level = np.unique(own, return_inverse=True)
        terms.append(TermColumns(start, len(used), z.shape[1]))
        levels.append(level)
        start = terms[-1].at.stop
    made = []
    for group in groups:
        found = [
            columns_of_groups(z[group.row], level[group.row], term.start)
            for z, level, term in zip(zs, levels, terms, strict=True)
        ]
        entries = np.concatenate([own for own, _ in found], axis=2)
        index = np.concatenate([own for _, own in found], axis=1)
        made.append(ColumnsOfGroups(group, entries, index, columns, start))
    return WhitenedPart(len(columns), terms, made)


def columns_of_groups(
    z: np.ndarray, codes: np.ndarray, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Entries of Z of a term in the columns that groups of rows know, and their numbers.

    Parameters
    ----------
    z : ndarray
        Columns of the term, (H, s, k).
    codes : ndarray
        Levels of the rows, (H, s).
    start : int
        The term's first column.

    Returns
    -------
    entries : ndarray
        (H, s, u): k columns for each of the most levels that rows of a group have.
    index : ndarray
        (H, u).
    """
    count, s, k = z.shape
    order = np.argsort(codes, axis=1, kind="stable")
    sorted_codes = np.take_along_axis(codes, order, axis=1)
    new = np.zeros((count, s), np.intp)
    new[:, 1:] = np.cumsum(np.diff(sorted_codes, axis=1) != 0, axis=1)
    most = int(new[:, -1].max(initial=0)) + 1
    group = np.arange(count)[:, None]
    level = np.zeros((count, most), np.intp)
    level[group, new] = sorted_codes
    own = np.empty_like(new)
    np.put_along_axis(own, order, new, axis=1)
    out = np.zeros((count, s, most, k))
    out[group, np.arange(s), own] = z
    index = start + level[:, :, None] * k + np.arange(k)
    return out.reshape(count, s, most * k), index.reshape(count, most * k)


def _added(parts: Iterable[np.ndarray]) -> np.ndarray:
    first, *others = parts
    for other in others:
        first = first + other
    return first


def _root(sigma):
    """Eigenvectors of Sigma, and square roots of its eigenvalues."""
    if len(sigma) == 1:
        return np.ones((1, 1)), np.sqrt(np.maximum(sigma[0], 0.0))
    value, vector = np.linalg.eigh(sigma)
    return vector, np.sqrt(np.maximum(value, 0.0))
