"""Residual groups over visits, no random effects: few patterns stand for all groups.

Groups with the same visits share V.  All that a parameter sees of a pattern are matrices
over its visits, which are brought to all m visits, zero elsewhere; what is linear in a
derivative V_r is added over patterns before any parameter is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixedext.engine.residual.parts import Moments, Part, PartProducts, Solved
from mixedext.specification.covariance.residual_curve import Places, ResidualCurve

__all__ = ["VisitPart", "VisitRows"]

# Parameters from which on products of patterns are pooled over all pairs of visits, and
# visits to which that is tried: these have the fourth power of numbers.
MANY_PARAMETERS, FEW_VISITS = 5, 24


@dataclass(frozen=True, eq=False)
class VisitRows:
    """Groups of one pattern.

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


class VisitPart(Part):
    """The groups of one level of ``by``.

    Parameters
    ----------
    curve : ResidualCurve
        Lambda over visits.
    places : Places
        All m visits as one pattern.
    patterns : list of VisitRows
        The rows.
    """

    def __init__(self, curve: ResidualCurve, places: Places, patterns: list[VisitRows]):
        self.curve, self.own, self.places, self.patterns = curve, curve.at, places, patterns
        m = self.m = places.place.shape[1]
        self.counts = np.array([p.count for p in patterns], float)
        self.flat = [(p.visits[:, None] * m + p.visits).ravel() for p in patterns]
        # patterns of one size are factored at once
        sizes = np.array([len(p.visits) for p in patterns])
        self.by_size = [
            (numbers, np.array([patterns[i].visits for i in numbers]))
            for numbers in (np.flatnonzero(sizes == s) for s in np.unique(sizes))
        ]
        self.inverse: list[np.ndarray] = [np.zeros((0, 0))] * len(patterns)

    # ---- evaluation ----

    def factor(
        self, covariances: Sequence[np.ndarray], psi: np.ndarray, cross: np.ndarray
    ) -> float:
        whole = self.curve.matrix(psi[self.own], self.places)[0]
        if not np.isfinite(whole).all():
            return np.inf
        log_det = 0.0
        for numbers, visits in self.by_size:
            try:
                root = np.linalg.cholesky(whole[visits[:, :, None], visits[:, None, :]])
            except np.linalg.LinAlgError:
                return np.inf
            diagonal = np.einsum("caa->ca", root)
            log_det += 2 * float(self.counts[numbers] @ np.log(diagonal).sum(axis=1))
            whiten = np.linalg.inv(root)
            for number, own in zip(numbers, whiten, strict=True):
                columns = self.patterns[number].columns
                white = (own @ columns.reshape(len(own), -1)).reshape(columns.shape)
                cross += (white @ white.transpose(0, 2, 1)).sum(axis=0)
                self.inverse[number] = own.T @ own
        return log_det

    def _solved(self, number, solved):
        """X~ (s, p, G) and e~ (s, G) of a pattern."""
        columns, inverse = self.patterns[number].columns, self.inverse[number]
        both = solved.change.T @ (inverse @ columns.reshape(len(inverse), -1)).reshape(
            columns.shape
        )
        return both[:, :-1], both[:, -1]

    def _sums(self, solved, with_fixed):
        """V^-1, sum X~X~' and sum e~e~' by pattern, (c, m, m), and sum X~ e~', (m, p, m)."""
        m, count, p = self.m, len(self.patterns), len(solved.change) - 1
        inverse, fixed, residual = np.zeros((3, count, m * m))
        mixed = np.zeros((m, p, m))
        for number, at in enumerate(self.flat):
            x, e = self._solved(number, solved)
            inverse[number, at] = self.inverse[number].ravel()
            residual[number, at] = (e @ e.T).ravel()
            if with_fixed:
                flat = x.reshape(len(x), -1)
                fixed[number, at] = (flat @ flat.T).ravel()
            if p:
                visits = self.patterns[number].visits
                own = (x.reshape(-1, x.shape[2]) @ e.T).reshape(len(x), p, len(x))
                mixed[visits[:, None], :, visits] += own.transpose(0, 2, 1)
        shape = (count, m, m)
        return inverse.reshape(shape), fixed.reshape(shape), residual.reshape(shape), mixed

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
        into.gradient[at] += np.einsum("rab,ab->r", slopes, score)
        into.bend[np.ix_(at, at)] += self.curve.bend(free, self.places, score[None])
        into.residual[at] += np.einsum("rab,ab->r", slopes, pooled)
        into.quadratic[np.ix_(at, at)] += self._traces(slopes, inverse, residual)
        other = self.counts[:, None, None] * inverse
        if solved.reml:
            other -= 2 * fixed
        into.traces[np.ix_(at, at)] += self._traces(slopes, inverse, other)
        into.on_fixed[at] += np.einsum("rab,apb->rp", slopes, mixed)
        return []

    def _traces(self, slopes, one, other):
        """sum over patterns of tr V_r A V_s B, symmetric A and B of every pattern."""
        n, m = len(slopes), self.m
        if n < MANY_PARAMETERS or m > FEW_VISITS:
            left = slopes[:, None] @ one
            right = slopes[:, None] @ other
            return np.einsum("rcab,scba->rs", left, right, optimize=True)
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
        m = self.m
        pooled = np.zeros((m, m, p, p)) if m * m * p * p < 2**22 else None
        for number, pattern in enumerate(self.patterns):
            x, _ = self._solved(number, solved)
            visits = pattern.visits
            if pooled is not None:
                flat = x.reshape(-1, x.shape[2])
                own = (flat @ flat.T).reshape(len(x), p, len(x), p)
                pooled[visits[:, None], visits] += own.transpose(0, 2, 1, 3)
            else:
                part = slopes[:, visits[:, None], visits]
                moved = part @ x.reshape(len(x), -1)
                moved = moved.reshape(len(slopes), *x.shape)
                out += np.einsum("apg,raqg->rpq", x, moved, optimize=True)
        if pooled is not None:
            out = np.tensordot(slopes, pooled, ((1, 2), (0, 1)))
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
        return (out + out.T) / 2

    def _inverses(self):
        out = np.zeros((len(self.patterns), self.m**2))
        for number, at in enumerate(self.flat):
            out[number, at] = self.inverse[number].ravel()
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
        count = len(self.patterns)
        on_fixed = self._sandwich(np.broadcast_to(mean, (count, *mean.shape)), solved)
        inverse, fixed, _, _ = self._sums(solved, True)
        traces = np.zeros(len(psi) + sum(map(len, directions)))
        moved = inverse @ mean
        both = self.counts[:, None, None] * (moved @ inverse)
        both -= 2 * (moved @ fixed if solved.reml else 0.0)
        traces[at] = np.einsum("rab,ba->r", slopes, both.sum(axis=0))
        single = float(np.einsum("c,caa->", self.counts, moved))
        return on_fixed, traces, single
