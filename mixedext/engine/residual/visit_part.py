"""Residual groups over visits, no random effects: few patterns stand for all groups.

Groups with the same visits share V.  All that a parameter sees of a pattern are symmetric
matrices over its visits, which are brought to all m visits, zero elsewhere, and packed: the
pairs of visits a >= b, row by row.  What is linear in a derivative V_r is added over
patterns before any parameter is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np

from mixedext.engine.residual.parts import Moments, Part, PartProducts, Solved
from mixedext.kernels.covariance.visit_patterns import (
    factor_rows,
    factor_sums,
    moments_of_rows,
    moments_of_sums,
)
from mixedext.specification.covariance.residual_curve import Places, ResidualCurve

__all__ = ["FEW_VISITS", "Pairs", "SummedPatterns", "VisitPart", "VisitRows"]

# Visits to which products of patterns are pooled over all pairs of pairs of visits, and the
# work of that beside the same number of multiplications pattern by pattern.
FEW_VISITS, PAIRWISE = 24, 1.0


class Pairs(NamedTuple):
    """Pairs of visits a >= b, row by row.

    Attributes
    ----------
    first, second : ndarray
        Their visits, (m (m + 1) / 2,).
    weight : ndarray
        Elements of a symmetric matrix that a pair stands for: 1 or 2.
    number : ndarray
        Number of the pair of any two visits, (m, m).
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    number: np.ndarray

    @classmethod
    def of(cls, m: int) -> Pairs:
        """Those of m visits."""
        first, second = _triangle(m)
        number = np.empty((m, m), np.intp)
        number[first, second] = number[second, first] = np.arange(len(first))
        return cls(first, second, np.where(first == second, 1.0, 2.0), number)

    def pack(self, matrices: np.ndarray) -> np.ndarray:
        """Elements by pair of symmetric matrices, (..., m, m)."""
        return matrices[..., self.first, self.second]

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Symmetric matrices, (..., m, m)."""
        return packed[..., self.number]


@dataclass(frozen=True, eq=False)
class VisitRows:
    """Groups of one pattern, few of them: their rows.

    Attributes
    ----------
    visits : ndarray
        Numbers of the visits, (s,).
    columns : ndarray
        [Q y] by visit, (s, P, G).
    """

    visits: np.ndarray
    columns: np.ndarray

    @property
    def count(self) -> int:
        """Groups."""
        return self.columns.shape[2]


@dataclass(frozen=True, eq=False)
class SummedPatterns:
    """Patterns of one size, each of so many groups that their cross-products are less.

    Attributes
    ----------
    visits : ndarray
        Numbers of the visits, (c, s).
    counts : ndarray
        Groups of each, (c,).
    products : ndarray
        Sum over the groups of C_ai C_bj and C_aj C_bi, halved, of visits a >= b and
        columns i and j, (c, s (s + 1) / 2, P P).
    """

    visits: np.ndarray
    counts: np.ndarray
    products: np.ndarray


class _Sums(NamedTuple):
    """What a parameter sees of the patterns, by pairs of visits."""

    inverse: np.ndarray  # V^-1, (c, pairs)
    fixed: np.ndarray  # sum X~X~', (c, pairs)
    residual: np.ndarray  # sum e~e~', (c, pairs)
    mixed: np.ndarray  # sum of all X~e~' + e~X~', halved, (pairs, p)


class VisitPart(Part):
    """The groups of one level of ``by``.

    Parameters
    ----------
    curve : ResidualCurve
        Lambda over visits.
    places : Places
        All m visits as one pattern.
    patterns : list of VisitRows
        Patterns of few groups.
    summed : list of SummedPatterns
        The others, by size.
    """

    def __init__(
        self,
        curve: ResidualCurve,
        places: Places,
        patterns: list[VisitRows],
        summed: list[SummedPatterns],
    ):
        self.curve, self.own, self.places = curve, curve.at, places
        self.summed = summed
        self.m = places.place.shape[1]
        self.pairs = Pairs.of(self.m)
        counts = [np.array([p.count for p in patterns], float)]
        self.counts = np.concatenate([*counts, *(own.counts for own in summed)])
        # one pattern after the other, for compiled loops
        self._sizes = np.array([len(p.visits) for p in patterns], np.intp)
        self._counts = np.array([p.count for p in patterns], np.intp)
        self._visits = _end_to_end([p.visits for p in patterns], np.intp)
        self._columns = _end_to_end([p.columns for p in patterns], float)
        ends = np.cumsum([0, *(p.columns.size for p in patterns)])
        self.patterns = [
            VisitRows(p.visits, self._columns[a:b].reshape(p.columns.shape))
            for p, (a, b) in zip(patterns, pairwise(ends), strict=True)
        ]
        self._inverses = np.zeros(int((self._sizes**2).sum()))
        self.summed_inverse = [
            np.zeros((len(own.counts), *2 * (own.visits.shape[1],))) for own in summed
        ]
        # rows twice, and products of pairs of visits
        sizes = [
            2 * p.columns.size + p.columns.shape[1] * len(p.visits) ** 2 for p in patterns
        ]
        for own in summed:
            s, width = own.visits.shape[1], int(np.sqrt(own.products.shape[2]))
            sizes.append(width * (width + 1) + (3 * s + 1) * s * (width + 1))
        self._work = np.empty(max(sizes, default=1))
        # of the summed ones by size: numbers among all patterns
        ends = np.cumsum([len(patterns), *(len(own.counts) for own in summed)])
        self.numbers = [slice(a, b) for a, b in pairwise(ends)]

    @property
    def by_size(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Numbers of the patterns of few groups and their visits, by size."""
        return [
            (numbers, np.array([self.patterns[i].visits for i in numbers]))
            for numbers in (
                np.flatnonzero(self._sizes == s) for s in np.unique(self._sizes)
            )
        ]

    @property
    def inverse(self) -> list[np.ndarray]:
        """V^-1 of the patterns of few groups."""
        ends = np.cumsum([0, *self._sizes**2])
        return [
            self._inverses[a:b].reshape(s, s)
            for s, (a, b) in zip(self._sizes, pairwise(ends), strict=True)
        ]

    def apart(self) -> Self:
        out = super().apart()
        out._inverses = self._inverses.copy()
        out.summed_inverse = [own.copy() for own in self.summed_inverse]
        out._work = np.empty_like(self._work)
        return out

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums of products of y by pairs of visits, and numbers of pairs, (m, m) each."""
        total, count = np.zeros((2, len(self.pairs.first)))
        for pattern in self.patterns:
            y, at = pattern.columns[:, -1], self._at(pattern.visits[None])[0]
            total[at] += (y @ y.T)[_triangle(len(y))]
            count[at] += pattern.count
        for group in self.summed:
            flat = self._at(group.visits).ravel()
            total += np.bincount(flat, group.products[:, :, -1].ravel(), len(total))
            every = np.repeat(group.counts, group.products.shape[1])
            count += np.bincount(flat, every, len(total))
        return self.pairs.unpack(total), self.pairs.unpack(count)

    def _at(self, visits):
        """Numbers of the pairs a >= b of the visits of patterns, (c, s (s + 1) / 2)."""
        first, second = _triangle(visits.shape[1])
        return self.pairs.number[visits[:, first], visits[:, second]]

    # ---- evaluation ----

    def factor(
        self, covariances: Sequence[np.ndarray], psi: np.ndarray, cross: np.ndarray
    ) -> float:
        whole = self.curve.matrix(psi[self.own], self.places)[0]
        if not np.isfinite(whole).all():
            return np.inf
        log_det = factor_rows(
            whole,
            self._columns,
            self._sizes,
            self._counts,
            self._visits,
            inverses=self._inverses,
            cross=cross,
            work=self._work,
        )
        for own, inverse in zip(self.summed, self.summed_inverse, strict=True):
            log_det += factor_sums(
                whole,
                own.visits,
                own.counts,
                own.products,
                inverses=inverse,
                cross=cross,
                work=self._work,
            )
        return np.inf if np.isnan(log_det) else log_det

    def _sums(self, solved, with_fixed):
        count, p = len(self.counts), len(solved.change) - 1
        pairs = len(self.pairs.first)
        inverse, fixed, residual = np.zeros((3, count, pairs))
        mixed, across = np.zeros((pairs, p)), np.zeros((pairs, p + 1))
        moments_of_rows(
            self._columns,
            self._sizes,
            self._counts,
            self._visits,
            self._inverses,
            solved.change,
            with_fixed,
            inverse=inverse,
            fixed=fixed,
            residual=residual,
            mixed=mixed,
            work=self._work,
        )
        for own, at, solve in self._summed():
            moments_of_sums(
                own.visits,
                own.products,
                solve,
                solved.change,
                with_fixed,
                inverse=inverse[at],
                fixed=fixed[at],
                residual=residual[at],
                mixed=across,
                work=self._work,
            )
        mixed = mixed / 2 + across @ solved.change[:, :-1]
        return _Sums(inverse, fixed, residual, mixed)

    def _summed(self):
        return zip(self.summed, self.numbers, self.summed_inverse, strict=True)

    def _slopes(self, psi):
        """V_r of all visits, (n, m, m), and by pairs, each as often as it stands there."""
        slopes = self.curve.tangent(psi[self.own], self.places)[:, 0]
        return slopes, self.pairs.pack(slopes) * self.pairs.weight

    def add_moments(
        self, tangents: Sequence[np.ndarray], psi: np.ndarray, solved: Solved, into: Moments
    ) -> list[np.ndarray]:
        sums, at = self._sums(solved, solved.reml), self.own
        pooled = sums.residual.sum(axis=0)
        score = self.counts @ sums.inverse - solved.kappa * pooled
        other = self.counts[:, None] * sums.inverse
        if solved.reml:
            score -= sums.fixed.sum(axis=0)
            other -= 2 * sums.fixed
        slopes, packed = self._slopes(psi)
        square = np.ix_(at, at)
        into.gradient[at] += packed @ score
        into.bend[square] += self.curve.bend(
            psi[at], self.places, self.pairs.unpack(score)[None]
        )
        into.residual[at] += packed @ pooled
        into.quadratic[square] += self._traces(slopes, packed, sums.inverse, sums.residual)
        into.traces[square] += self._traces(slopes, packed, sums.inverse, other)
        into.on_fixed[at] += packed @ sums.mixed
        if into.squares is not None:
            into.squares[at] += self._on_fixed(slopes, solved)
        return []

    def _traces(self, slopes, packed, one, other):
        """sum over patterns of tr V_r A V_s B, A and B of every pattern packed."""
        n, m, (count, pairs) = len(slopes), self.m, one.shape
        work = PAIRWISE * (count + n) * pairs**2
        if m > FEW_VISITS or count * n * m**2 * (2 * m + n) < work:
            left = slopes[:, None] @ self.pairs.unpack(one)
            right = slopes[:, None] @ self.pairs.unpack(other)
            # tr L R = <L', R>
            flat = left.transpose(0, 1, 3, 2).reshape(n, -1)
            found = flat @ right.reshape(n, -1).T
        else:
            found = packed @ self._by_slopes(one.T @ other) @ packed.T
        return (found + found.T) / 2

    def _by_slopes(self, pooled):
        """A_bc B_da, pooled by pairs, between V_r's ab and V_s's cd."""
        first, second, _, number = self.pairs
        out = np.zeros_like(pooled)
        for a, b in ((first, second), (second, first)):
            for c, d in ((first, second), (second, first)):
                out += pooled[number[b[:, None], c], number[d, a[:, None]]]
        return out / 4

    # ---- information ----

    def add_products(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        into: PartProducts,
    ) -> None:
        sums, at = self._sums(solved, True), self.own
        slopes, packed = self._slopes(psi)
        weighted, square = self.counts[:, None] * sums.inverse, np.ix_(at, at)
        into.traces[square] += self._traces(slopes, packed, sums.inverse, weighted)
        into.single[at] += packed @ weighted.sum(axis=0)
        into.residual[square] += self._traces(slopes, packed, sums.inverse, sums.residual)
        into.second_traces[square] += self._traces(slopes, packed, sums.inverse, sums.fixed)
        x = packed @ sums.mixed
        into.first[at, -1, :-1] += x
        into.first[at, :-1, -1] += x
        into.first[at, -1, -1] += packed @ sums.residual.sum(axis=0)
        into.first[at, :-1, :-1] += self._on_fixed(slopes, solved)

    def _fixed_rows(self, solved):
        """Visits and X~ of the patterns of few groups, (s, p, G)."""
        on_x = solved.change[:, :-1]
        for pattern, inverse in zip(self.patterns, self.inverse, strict=True):
            s, width, groups = pattern.columns.shape
            flat = (inverse @ pattern.columns.reshape(s, -1)).reshape(s, width, groups)
            yield pattern.visits, on_x.T @ flat

    def _on_fixed(self, slopes, solved):
        """X~'V_r X~, (n, p, p)."""
        p = len(solved.change) - 1
        out = np.zeros((len(slopes), p, p))
        if not p:
            return out
        for visits, x in self._fixed_rows(solved):
            flat = x.reshape(-1, x.shape[2])
            pooled = (flat @ flat.T).reshape(len(x), p, len(x), p)
            part = slopes[:, visits[:, None], visits]
            out += np.tensordot(part, pooled, ((1, 2), (0, 2)))
        on_x = solved.change[:, :-1]
        for own, _, solve in self._summed():
            part = slopes[:, own.visits[:, :, None], own.visits[:, None, :]]
            found = _weighted(own, solve @ part @ solve).reshape(-1, p + 1, p + 1)
            out += on_x.T @ found @ on_x
        return (out + out.transpose(0, 2, 1)) / 2

    def _sandwich(self, matrices, solved):
        """sum over patterns of X~'G X~ with G of every pattern over m visits, (p, p)."""
        p = len(solved.change) - 1
        out = np.zeros((p, p))
        for (visits, x), matrix in zip(
            self._fixed_rows(solved), matrices[: len(self.patterns)], strict=True
        ):
            moved = matrix[visits[:, None], visits] @ x.reshape(len(x), -1)
            flat = x.transpose(1, 0, 2).reshape(p, -1)
            out += flat @ moved.reshape(x.shape).transpose(1, 0, 2).reshape(p, -1).T
        on_x = solved.change[:, :-1]
        for own, numbers, solve in self._summed():
            here = np.arange(len(own.counts))[:, None, None]
            part = matrices[numbers]
            part = part[here, own.visits[:, :, None], own.visits[:, None, :]]
            found = _weighted(own, (solve @ part @ solve)[None])
            out += on_x.T @ found.reshape(p + 1, p + 1) @ on_x
        return (out + out.T) / 2

    def _all_inverses(self):
        """V^-1 of all patterns over m visits, (c, m, m)."""
        packed = np.zeros((len(self.counts), len(self.pairs.first)))
        for number, (pattern, own) in enumerate(
            zip(self.patterns, self.inverse, strict=True)
        ):
            packed[number, self._at(pattern.visits[None])] = own[_triangle(len(own))]
        for group, numbers, solve in self._summed():
            first, second = _triangle(solve.shape[1])
            rows = np.arange(numbers.start, numbers.stop)[:, None]
            packed[rows, self._at(group.visits)] = solve[:, first, second]
        return self.pairs.unpack(packed)

    def weighted_second(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        weight: np.ndarray,
    ) -> np.ndarray:
        at = self.own
        slopes = self.curve.tangent(psi[at], self.places)[:, 0]
        other = np.tensordot(weight[np.ix_(at, at)], slopes, 1)
        # sum_rs W_rs V_r K V_s of every pattern
        inverse = self._all_inverses()
        found = np.zeros_like(inverse)
        for own, moved in zip(slopes, other, strict=True):
            found += own @ inverse @ moved
        return self._sandwich(found, solved)

    def curved(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        scale: float,
        weight: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        at = self.own
        natural = self.curve.natural_at
        weight = weight[np.ix_(natural, natural)]
        mean = self.curve.curve(psi[at], scale, self.places, weight)[0] / scale
        slopes = self.curve.tangent(psi[at], self.places)[:, 0]
        count = len(self.counts)
        on_fixed = self._sandwich(np.broadcast_to(mean, (count, *mean.shape)), solved)
        sums = self._sums(solved, True)
        inverse = self.pairs.unpack(sums.inverse)
        traces = np.zeros(len(psi) + sum(map(len, directions)))
        moved = inverse @ mean
        both = self.counts[:, None, None] * (moved @ inverse)
        if solved.reml:
            both -= 2 * moved @ self.pairs.unpack(sums.fixed)
        traces[at] = np.einsum("rab,ba->r", slopes, both.sum(axis=0))
        single = float(np.einsum("c,caa->", self.counts, moved))
        return on_fixed, traces, single


@cache
def _triangle(size):
    """Pairs a >= b of numbers below ``size``, row by row."""
    return np.tril_indices(size)


def _weighted(own, matrices):
    """sum_cab G_ab C_a C_b' of summed patterns, G (n, c, s, s), (n, P P)."""
    pairs = Pairs.of(matrices.shape[-1])
    matrices = (matrices + matrices.swapaxes(-1, -2)) / 2
    packed = pairs.pack(matrices) * pairs.weight
    flat = packed.reshape(len(matrices), -1)
    return flat @ own.products.reshape(flat.shape[1], -1)


def _end_to_end(arrays, dtype):
    """Arrays as one, each laid out by rows."""
    return np.concatenate([np.zeros(0, dtype), *(np.ravel(a) for a in arrays)])
