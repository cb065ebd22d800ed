"""Residual groups over visits, no random effects: few patterns stand for all groups.

Groups with the same visits share V.  All that a parameter sees of a pattern are matrices
over its visits, which are brought to all m visits, zero elsewhere; what is linear in a
derivative V_r is added over patterns before any parameter is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mixedext.engine.residual.parts import Moments, Part, PartProducts, Solved
from mixedext.kernels.covariance.visit_patterns import pattern_moments, whitened_squares
from mixedext.specification.covariance.residual_curve import Places, ResidualCurve

__all__ = ["SummedPatterns", "VisitPart", "VisitRows"]

# Parameters from which on products of patterns are pooled over all pairs of visits, and
# visits to which that is tried: these have the fourth power of numbers.
MANY_PARAMETERS, FEW_VISITS = 5, 24


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
        sum C_ai C_bj over the groups, visits a and b, columns i and j, (c, s, s, P, P).
    """

    visits: np.ndarray
    counts: np.ndarray
    products: np.ndarray

    def times(self, matrix: np.ndarray) -> np.ndarray:
        """sum_ij F_ij C_ai C_bj, (c, s, s)."""
        c, s, _, width, _ = self.products.shape
        flat = self.products.reshape(c * s * s, width * width)
        return (flat @ matrix.ravel()).reshape(c, s, s)


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
        m = self.m = places.place.shape[1]
        counts = [np.array([p.count for p in patterns], float)]
        self.counts = np.concatenate([*counts, *(own.counts for own in summed)])
        self.flat = [(p.visits[:, None] * m + p.visits).ravel() for p in patterns]
        # patterns of one size are factored at once
        sizes = np.array([len(p.visits) for p in patterns], int)
        self.by_size = [
            (numbers, np.array([patterns[i].visits for i in numbers]))
            for numbers in (np.flatnonzero(sizes == s) for s in np.unique(sizes))
        ]
        self.inverse: list[np.ndarray] = [np.zeros((0, 0))] * len(patterns)
        # the same for compiled loops, one pattern after the other
        self._sizes = sizes.astype(np.intp)
        self._counts = np.array([p.count for p in patterns], np.intp)
        self._visits = _end_to_end([p.visits for p in patterns], np.intp)
        self._columns = _end_to_end([p.columns for p in patterns], float)
        ends = np.cumsum([0, *(p.columns.size for p in patterns)])
        self.patterns = [
            VisitRows(p.visits, self._columns[a:b].reshape(p.columns.shape))
            for p, (a, b) in zip(patterns, pairwise(ends), strict=True)
        ]
        # rows twice, and products of pairs of visits
        largest = [
            2 * p.columns.size + p.columns.shape[1] * len(p.visits) ** 2 for p in patterns
        ]
        self._work = np.empty(max(largest, default=1))
        # of the summed ones by size: numbers, V^-1 and where it stands among (m, m)
        ends = np.cumsum([len(patterns), *(len(own.counts) for own in summed)])
        self.numbers = [np.arange(a, b) for a, b in pairwise(ends)]
        self.summed_inverse: list[np.ndarray] = [np.zeros((0, 0, 0))] * len(summed)
        self.summed_flat = [
            (own.visits[:, :, None] * m + own.visits[:, None, :]).reshape(
                len(own.visits), -1
            )
            for own in summed
        ]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums of products of y by pairs of visits, and numbers of pairs, (m, m) each."""
        m = self.m
        total, pairs = np.zeros(m * m), np.zeros(m * m)
        for pattern, at in zip(self.patterns, self.flat, strict=True):
            y = pattern.columns[:, -1]
            total[at] += (y @ y.T).ravel()
            pairs[at] += pattern.count
        for own, at in zip(self.summed, self.summed_flat, strict=True):
            flat = own.products[..., -1, -1].ravel()
            total += np.bincount(at.ravel(), flat, m * m)
            pairs += np.bincount(at.ravel(), np.repeat(own.counts, at.shape[1]), m * m)
        return total.reshape(m, m), pairs.reshape(m, m)

    # ---- evaluation ----

    def factor(
        self, covariances: Sequence[np.ndarray], psi: np.ndarray, cross: np.ndarray
    ) -> float:
        whole = self.curve.matrix(psi[self.own], self.places)[0]
        if not np.isfinite(whole).all():
            return np.inf
        log_det = 0.0
        roots: list[np.ndarray] = [np.zeros(0)] * len(self.patterns)
        for numbers, visits in self.by_size:
            found = _factored(whole, visits, self.counts[numbers])
            if found is None:
                return np.inf
            log_det += found[0]
            inverse = found[1].transpose(0, 2, 1) @ found[1]
            for number, root, own in zip(numbers, found[1], inverse, strict=True):
                roots[number], self.inverse[number] = root, own
        if self.patterns:
            whitened_squares(
                self._columns,
                self._sizes,
                self._counts,
                _end_to_end(roots, float),
                cross,
                self._work,
            )
        for at, own in enumerate(self.summed):
            found = _factored(whole, own.visits, own.counts)
            if found is None:
                return np.inf
            log_det += found[0]
            inverse = found[1].transpose(0, 2, 1) @ found[1]
            self.summed_inverse[at] = inverse
            flat = own.products.reshape(inverse.size, -1)
            cross += (inverse.ravel() @ flat).reshape(cross.shape)
        return log_det

    def _solved(self, number, solved):
        """X~ (s, p, G) and e~ (s, G) of a pattern of few groups."""
        columns, inverse = self.patterns[number].columns, self.inverse[number]
        both = solved.change.T @ (inverse @ columns.reshape(len(inverse), -1)).reshape(
            columns.shape
        )
        return both[:, :-1], both[:, -1]

    def _sums(self, solved, with_fixed):
        """V^-1, sum X~X~' and sum e~e~' by pattern, (c, m, m), and sum X~e~', (m, p, m)."""
        m, count, p = self.m, len(self.counts), len(solved.change) - 1
        inverse, fixed, residual = np.zeros((3, count, m * m))
        mixed = np.zeros((m, p, m))
        if self.patterns:
            shape = (count, m, m)
            pattern_moments(
                self._columns,
                self._sizes,
                self._counts,
                self._visits,
                _end_to_end(self.inverse, float),
                solved.change,
                with_fixed,
                inverse.reshape(shape),
                fixed.reshape(shape),
                residual.reshape(shape),
                mixed,
                self._work,
            )
        on_x, on_y = solved.change[:, :-1], solved.change[:, -1]
        for own, at, numbers, solve in self._summed():
            rows = numbers[:, None]
            inverse[rows, at] = solve.reshape(at.shape)
            moved = solve @ own.times(np.outer(on_y, on_y)) @ solve
            residual[rows, at] = moved.reshape(at.shape)
            if with_fixed:
                moved = solve @ own.times(on_x @ on_x.T) @ solve
                fixed[rows, at] = moved.reshape(at.shape)
            if p:
                # sum_j C_bj on_y_j, then what the columns of X become
                part = (own.products @ on_y) @ on_x  # (c, a, b, p)
                part = np.einsum("cxa,cabp,cby->cxyp", solve, part, solve, optimize=True)
                target = mixed.transpose(0, 2, 1).reshape(m * m, p)
                flat = part.reshape(at.size, p)
                for column in range(p):
                    target[:, column] += np.bincount(at.ravel(), flat[:, column], m * m)
                mixed = target.reshape(m, m, p).transpose(0, 2, 1)
        shape = (count, m, m)
        return inverse.reshape(shape), fixed.reshape(shape), residual.reshape(shape), mixed

    def _summed(self):
        return zip(
            self.summed, self.summed_flat, self.numbers, self.summed_inverse, strict=True
        )

    def add_moments(
        self, tangents: Sequence[np.ndarray], psi: np.ndarray, solved: Solved, into: Moments
    ) -> list[np.ndarray]:
        inverse, fixed, residual, mixed = self._sums(solved, solved.reml)
        free, at = psi[self.own], self.own
        pooled = residual.sum(axis=0)
        score = np.tensordot(self.counts, inverse, 1) - solved.kappa * pooled
        if solved.reml:
            score -= fixed.sum(axis=0)
        slopes = self.curve.tangent(free, self.places)[:, 0]
        square = np.ix_(at, at)
        into.gradient[at] += np.einsum("rab,ab->r", slopes, score)
        into.bend[square] += self.curve.bend(free, self.places, score[None])
        into.residual[at] += np.einsum("rab,ab->r", slopes, pooled)
        into.quadratic[square] += self._traces(slopes, inverse, residual)
        other = self.counts[:, None, None] * inverse
        if solved.reml:
            other -= 2 * fixed
        into.traces[square] += self._traces(slopes, inverse, other)
        into.on_fixed[at] += np.einsum("rab,apb->rp", slopes, mixed)
        if into.squares is not None:
            into.squares[at] += self._on_fixed(slopes, solved)
        return []

    def _traces(self, slopes, one, other):
        """sum over patterns of tr V_r A V_s B, symmetric A and B of every pattern."""
        n, m = len(slopes), self.m
        if n < MANY_PARAMETERS or m > FEW_VISITS:
            left = slopes[:, None] @ one
            right = slopes[:, None] @ other
            # tr L R = <L', R>
            flat = left.transpose(0, 1, 3, 2).reshape(n, -1)
            found = flat @ right.reshape(n, -1).T
            return (found + found.T) / 2
        pooled = one.reshape(len(one), -1).T @ other.reshape(len(other), -1)
        # A_bc B_da between V_r's ab and V_s's cd
        pooled = pooled.reshape(m, m, m, m).transpose(3, 0, 1, 2).reshape(m * m, m * m)
        flat = slopes.reshape(n, -1)
        found = flat @ pooled @ flat.T
        return (found + found.T) / 2

    # ---- information ----

    def add_products(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        into: PartProducts,
    ) -> None:
        inverse, fixed, residual, mixed = self._sums(solved, True)
        at = self.own
        slopes = self.curve.tangent(psi[at], self.places)[:, 0]
        weighted = self.counts[:, None, None] * inverse
        into.traces[np.ix_(at, at)] += self._traces(slopes, inverse, weighted)
        into.single[at] += np.einsum("rab,ab->r", slopes, weighted.sum(axis=0))
        into.residual[np.ix_(at, at)] += self._traces(slopes, inverse, residual)
        into.second_traces[np.ix_(at, at)] += self._traces(slopes, inverse, fixed)
        x = np.einsum("rab,apb->rp", slopes, mixed)
        into.first[at, -1, :-1] += x
        into.first[at, :-1, -1] += x
        into.first[at, -1, -1] += np.einsum("rab,ab->r", slopes, residual.sum(axis=0))
        into.first[at, :-1, :-1] += self._on_fixed(slopes, solved)

    def _on_fixed(self, slopes, solved):
        """X~'V_r X~, (n, p, p)."""
        p = len(solved.change) - 1
        out = np.zeros((len(slopes), p, p))
        if not p:
            return out
        for number, pattern in enumerate(self.patterns):
            x, _ = self._solved(number, solved)
            visits = pattern.visits
            flat = x.reshape(-1, x.shape[2])
            pooled = (flat @ flat.T).reshape(len(x), p, len(x), p)
            part = slopes[:, visits[:, None], visits]
            out += np.tensordot(part, pooled, ((1, 2), (0, 2)))
        on_x = solved.change[:, :-1]
        for own, _, _, solve in self._summed():
            part = slopes[:, own.visits[:, :, None], own.visits[:, None, :]]
            moved = (solve @ part @ solve).reshape(len(slopes), -1)
            found = moved @ own.products.reshape(moved.shape[1], -1)
            found = found.reshape(len(slopes), p + 1, p + 1)
            out += on_x.T @ found @ on_x
        return (out + out.transpose(0, 2, 1)) / 2

    def _sandwich(self, matrices, solved):
        """sum over patterns of X~'G X~ with G of every pattern over m visits, (p, p)."""
        p = len(solved.change) - 1
        out = np.zeros((p, p))
        for number, pattern in enumerate(self.patterns):
            x, _ = self._solved(number, solved)
            visits = pattern.visits
            moved = matrices[number][visits[:, None], visits] @ x.reshape(len(x), -1)
            flat = x.transpose(1, 0, 2).reshape(p, -1)
            out += flat @ moved.reshape(x.shape).transpose(1, 0, 2).reshape(p, -1).T
        on_x = solved.change[:, :-1]
        for own, at, numbers, solve in self._summed():
            part = np.take_along_axis(matrices[numbers].reshape(len(at), -1), at, axis=1)
            moved = (solve @ part.reshape(solve.shape) @ solve).ravel()
            found = moved @ own.products.reshape(len(moved), -1)
            out += on_x.T @ found.reshape(p + 1, p + 1) @ on_x
        return (out + out.T) / 2

    def _inverses(self):
        out = np.zeros((len(self.counts), self.m**2))
        for number, at in enumerate(self.flat):
            out[number, at] = self.inverse[number].ravel()
        for _, at, numbers, solve in self._summed():
            out[numbers[:, None], at] = solve.reshape(at.shape)
        return out.reshape(-1, self.m, self.m)

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
        inverse = self._inverses()
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
        inverse, fixed, _, _ = self._sums(solved, True)
        traces = np.zeros(len(psi) + sum(map(len, directions)))
        moved = inverse @ mean
        both = self.counts[:, None, None] * (moved @ inverse)
        both -= 2 * (moved @ fixed if solved.reml else 0.0)
        traces[at] = np.einsum("rab,ba->r", slopes, both.sum(axis=0))
        single = float(np.einsum("c,caa->", self.counts, moved))
        return on_fixed, traces, single


def _end_to_end(arrays, dtype):
    """Arrays as one, each laid out by rows."""
    return np.concatenate([np.zeros(0, dtype), *(np.ravel(a) for a in arrays)])


def _factored(whole, visits, counts):
    """log|V| over all groups and L^-1 by pattern; None if some V is not definite."""
    try:
        root = np.linalg.cholesky(whole[visits[:, :, None], visits[:, None, :]])
    except np.linalg.LinAlgError:
        return None
    diagonal = np.einsum("caa->ca", root)
    log_det = 2 * float(counts @ np.log(diagonal).sum(axis=1))
    return log_det, np.linalg.inv(root)
