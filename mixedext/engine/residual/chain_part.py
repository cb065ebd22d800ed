"""Clusters whose residuals depend on the row before alone, with few random effects.

With first-order autoregression, in whole or in continuous time, neither Lambda nor
K = Lambda^-1 is formed: c'K c and its derivatives are sums over neighbours
(kernels.covariance.chains), of the columns of Z as of those of [Q y].  Of a cluster with
the k columns of one level of every random term, A = Z'K Z, D the covariance of its effects
and B = D (I + A D)^-1,

    V^-1 = K - K Z B Z'K,    c'V^-1 d = c'K d - (Z'K c)'B (Z'K d),

and with c^ = c - Z B Z'K c, so that V^-1 c = K c^, and K_r, K_rr derivatives of K by the
parameter of Lambda,

    c'V^-1 Lambda_r V^-1 d = - c^'K_r d^,
    c'V^-1 Lambda_r V^-1 Lambda_r V^-1 d = c^'K_r Lambda K_r d^ - (Z'K_r c^)'B (Z'K_r d^),
    c'V^-1 Lambda_rr V^-1 d = c^'(2 K_r Lambda K_r - K_rr) d^,
    tr V^-1 Lambda_r V^-1 Lambda_r = tr (K Lambda_r)^2 - 2 tr B Z'K_r Lambda K_r Z
                                     + tr (B Z'K_r Z)^2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np

from mixedext.engine.residual.parts import Moments, Part, PartProducts, Solved
from mixedext.kernels.covariance import chains
from mixedext.specification.covariance.residual_curve import Places, ResidualCurve
from mixedext.specification.covariance.residual_patterns import Batch

__all__ = ["Chain", "ChainPart", "chain_of", "places_of"]

# Different times between rows up to which each has one place in a table.
FEW_GAPS = 1024


@dataclass(frozen=True, eq=False)
class Chain:
    """Rows one group after the other, in order of time, groups of a cluster together.

    Attributes
    ----------
    curve : ResidualCurve
        With one parameter.
    columns : ndarray
        [Z Q y], over the standard deviations, (n, k + P).
    gap : ndarray
        Number of the time since the row before, -1 for the first of a group, (n,) intp.
    gaps : ndarray
        These times, (T,).
    ends : ndarray
        Rows up to the end of each cluster, (G,); of all where there is no Z.
    widths : tuple of int
        Columns of every random term in Z.
    log_det : float
        2 sum log sd.
    """

    curve: ResidualCurve
    columns: np.ndarray
    gap: np.ndarray
    gaps: np.ndarray
    ends: np.ndarray
    widths: tuple[int, ...]
    log_det: float


def places_of(batch: Batch) -> Places:
    """Where the rows of the patterns of a batch stand."""
    return Places(batch.place, batch.strata, batch.covariates)


def chain_of(
    curve: ResidualCurve,
    batches: Sequence[Batch],
    columns: Callable[[np.ndarray], np.ndarray],
    widths: tuple[int, ...],
    cluster: np.ndarray | None,
) -> Chain:
    """Residual groups as a chain.

    Parameters
    ----------
    curve : ResidualCurve
        Lambda.
    batches : sequence of Batch
        The groups.
    columns : callable
        Gives [Z Q y] of rows by their numbers.
    widths : tuple of int
        Columns of every random term.
    cluster : ndarray or None
        Cluster of every row, (n,); None without random terms.
    """
    rows, gap, log_sd = (np.concatenate(part) for part in _in_order(curve, batches))
    ends = np.array([len(rows)])
    if cluster is not None:
        own = cluster[rows]
        order = np.argsort(own, kind="stable")
        rows, gap, log_sd = rows[order], gap[order], log_sd[order]
        ends = np.cumsum(np.bincount(own))
    entries = columns(rows)
    if curve.functions:
        entries /= np.exp(log_sd)[:, None]
    inside = gap >= 0
    gaps = np.unique(gap[inside])
    if len(gaps) <= FEW_GAPS:
        number = np.searchsorted(gaps, gap[inside])
    else:  # a table in order of the rows is read as they are
        gaps, number = gap[inside], np.arange(np.count_nonzero(inside))
    numbers = np.full(len(gap), -1, np.intp)
    numbers[inside] = number
    return Chain(
        curve,
        np.ascontiguousarray(entries),
        numbers,
        gaps,
        ends.astype(np.intp),
        widths,
        2 * float(log_sd.sum()),
    )


def _in_order(curve, batches):
    """Rows of each batch by group and time, the time since the row before, and log sd."""
    rows, gaps, log_sds = [], [], []
    for batch in batches:
        pattern, time = batch.pattern, batch.place
        if time.ndim == 3:
            # since one end of the line, that of the row farthest from the first
            time = time[np.arange(len(time)), time[:, 0].argmax(axis=1)]
        order = np.argsort(time, axis=1, kind="stable")
        gap = np.full(time.shape, -1.0)
        gap[:, 1:] = np.diff(np.take_along_axis(time, order, axis=1), axis=1)
        rows.append(np.take_along_axis(batch.rows, order[pattern], axis=1).ravel())
        gaps.append(gap[pattern].ravel())
        log_sd = curve.log_sd_of_functions(np.zeros(0), places_of(batch))
        log_sds.append(np.take_along_axis(log_sd, order, axis=1)[pattern].ravel())
    return rows, gaps, log_sds


class _Pieces(NamedTuple):
    """What derivatives are made of; Z^ and C^ = [X^ e^] stand for columns as above."""

    on_z: np.ndarray  # Z'V^-1 C, (G, k, P)
    curvature: np.ndarray  # N = Z'V^-1 Z, (G, k, k)
    raw: np.ndarray  # B Z'K_r Z, (G, k, k)
    mixed: np.ndarray  # Z'K_r C^, (G, k, P)
    first: np.ndarray  # [Z^ C^]'K_r [Z^ C^], (G, k + P, k + P)
    second: np.ndarray  # sum C^'K_rr C^, (P, P)
    moved: np.ndarray  # sum C^'K_r Lambda K_r C^, (P, P)
    single: float  # tr V^-1 Lambda_r
    turn: float  # tr V^-1 Lambda_rr
    trace: float  # tr V^-1 Lambda_r V^-1 Lambda_r


class ChainPart(Part):
    """All clusters.

    Parameters
    ----------
    chain : Chain
        The rows.
    dense : callable
        Makes parts of the same rows with dense matrices of clusters, for what only the
        Kenward-Roger adjustment asks for.
    """

    def __init__(self, chain: Chain, dense: Callable[[], list[Part]]):
        self.chain, self.dense = chain, dense
        self.k, width = sum(chain.widths), chain.columns.shape[1]
        self.width = width - self.k
        ends = np.cumsum([0, *chain.widths])
        self.slices = [slice(a, b) for a, b in pairwise(ends.tolist())]
        self._cross = np.empty((len(chain.ends), width, width))
        self._sums: tuple[np.ndarray, list[float]] | None = None

    def _known(self, psi):
        chain = self.chain
        assert chain.curve.correlation is not None
        table = chain.curve.correlation.by_gap(psi, chain.gaps)
        return chain.columns, chain.gap, chain.ends, np.ascontiguousarray(table)

    # ---- evaluation ----

    def apart(self) -> Self:
        out = super().apart()
        out._cross = self._cross.copy()
        return out

    def factor(
        self, covariances: Sequence[np.ndarray], psi: np.ndarray, cross: np.ndarray
    ) -> float:
        self._covariances, self._sums = covariances, None
        if not (np.isfinite(psi).all() and all(np.isfinite(s).all() for s in covariances)):
            return np.inf
        work = np.empty(self._cross.shape[1])
        log_det = self.chain.log_det
        log_det += chains.chain_products(*self._known(psi), work, self._cross)
        k, whole = self.k, self._cross
        cross += whole[:, k:, k:].sum(axis=0)
        if not (k and np.isfinite(log_det)):
            return log_det
        factors = np.zeros((k, k))
        for at, sigma in zip(self.slices, covariances, strict=True):
            factors[at, at] = _root(sigma)
        inner = factors.T @ whole[:, :k, :k] @ factors
        diagonal = np.arange(k)
        inner[:, diagonal, diagonal] += 1.0
        if not np.isfinite(inner).all():
            return np.inf
        try:
            root = np.linalg.cholesky(inner)
        except np.linalg.LinAlgError:
            return np.inf
        self._half = np.linalg.inv(root) @ factors.T  # B = half'half
        seen = (self._half @ whole[:, :k, k:]).reshape(-1, self.width)
        cross -= seen.T @ seen
        return log_det + 2 * float(np.log(root[:, diagonal, diagonal]).sum())

    def _pieces(self, psi, solved):
        """Where ``factor`` was called last."""
        if self._sums is None:
            out, scalars = np.empty((3, *self._cross.shape)), np.empty(3)
            work = np.empty((4, self._cross.shape[1]))
            chains.chain_moments(*self._known(psi), work, out, scalars)
            self._sums = out, scalars.tolist()
        sums, (slope, turn, trace) = self._sums
        first, second, moved = sums
        k, whole, change = self.k, self._cross, solved.change
        if not k:
            first, second, moved = (change.T @ m[0] @ change for m in sums)
            none = np.zeros((1, 0, 0))
            on_z = np.zeros((1, 0, self.width))
            known = on_z, none, none, on_z, first[None], second, moved
            return _Pieces(*known, slope, turn + trace, trace)
        effects = self._half.transpose(0, 2, 1) @ self._half
        gram, cross = whole[:, :k, :k], whole[:, :k, k:] @ change
        # what [Z Q y] is multiplied by to become [Z^ C^]
        hats = np.zeros((len(whole), k + self.width, k + self.width))
        hats[:, :k, :k] = np.eye(k) - effects @ gram
        hats[:, :k, k:] = -effects @ cross
        hats[:, k:, k:] = change
        shrunk, on_c = hats[:, :, :k][:, :k], hats[:, :, k:]
        curvature = gram @ shrunk
        on_first = first @ hats
        raw = effects @ first[:, :k, :k]
        seen = float(np.vdot(effects, moved[:, :k, :k]))
        bent = float(np.vdot(effects, second[:, :k, :k]))
        return _Pieces(
            shrunk.transpose(0, 2, 1) @ cross,
            (curvature + curvature.transpose(0, 2, 1)) / 2,
            raw,
            on_first[:, :k, k:],
            hats.transpose(0, 2, 1) @ on_first,
            (on_c.transpose(0, 2, 1) @ second @ on_c).sum(axis=0),
            (on_c.transpose(0, 2, 1) @ moved @ on_c).sum(axis=0)
            - _summed(self._half @ on_first[:, :k, k:]),
            slope + float(np.einsum("gaa->", raw)),
            turn + trace - (2 * seen - bent),
            trace - 2 * seen + float(np.einsum("gab,gba->", raw, raw)),
        )

    def _directions(self, directions):
        """Derivatives of D, (n, k, k)."""
        out = np.zeros((sum(map(len, directions)), self.k, self.k))
        number = 0
        for at, own in zip(self.slices, directions, strict=True):
            out[number : number + len(own), at, at] = own
            number += len(own)
        return out

    def _seconds(self, pieces, directions):
        """C'V^-1 V_r V^-1 V_s V^-1 C summed, over directions and psi, (n, n, P, P)."""
        n, width = len(directions), self.width
        out = np.empty((n + 1, n + 1, width, width))
        out[n, n] = pieces.moved
        if not n:
            return out
        moved = directions[:, None] @ pieces.on_z  # (n, G, k, P)
        image = (pieces.curvature @ moved).reshape(n, -1, width)
        flat = moved.reshape(n, -1, width)
        across = pieces.first[:, : self.k, self.k :].reshape(-1, width)
        for r in range(n):
            for s in range(r + 1):
                out[r, s] = flat[r].T @ image[s]
                out[s, r] = out[r, s].T
            out[r, n] = -flat[r].T @ across
            out[n, r] = out[r, n].T
        return out

    def _firsts(self, pieces, directions):
        """C'V^-1 V_r V^-1 C summed, (n + 1, P, P)."""
        n, k = len(directions), self.k
        out = np.empty((n + 1, self.width, self.width))
        out[n] = -pieces.first[:, k:, k:].sum(axis=0)
        flat = pieces.on_z.reshape(-1, self.width)
        for r, own in enumerate(directions):
            out[r] = flat.T @ (own @ pieces.on_z).reshape(flat.shape)
        return out

    def _traces(self, pieces, directions):
        """tr V^-1 V_r V^-1 V_s, (n + 1, n + 1)."""
        n, k = len(directions), self.k
        out = np.empty((n + 1, n + 1))
        out[n, n] = pieces.trace
        if n:
            image = directions[:, None] @ pieces.curvature
            turned = image.transpose(0, 1, 3, 2).reshape(n, -1)
            out[:n, :n] = image.reshape(n, -1) @ turned.T
            own = pieces.first[:, :k, :k].sum(axis=0)
            out[n, :n] = out[:n, n] = -np.tensordot(directions, own, 2)
        return out

    def add_moments(
        self, tangents: Sequence[np.ndarray], psi: np.ndarray, solved: Solved, into: Moments
    ) -> list[np.ndarray]:
        pieces, directions = self._pieces(psi, solved), self._directions(tangents)
        firsts, seconds = (
            self._firsts(pieces, directions),
            self._seconds(pieces, directions),
        )
        bent = 2 * pieces.moved - pieces.second
        if self.k:
            bent = bent + 2 * _summed(self._half @ pieces.mixed)
        into.gradient[-1] += pieces.single - solved.kappa * firsts[-1, -1, -1]
        into.bend[-1, -1] += pieces.turn - solved.kappa * bent[-1, -1]
        into.traces += self._traces(pieces, directions)
        if solved.reml:
            into.gradient[-1] -= np.trace(firsts[-1, :-1, :-1])
            into.bend[-1, -1] -= np.trace(bent[:-1, :-1])
            into.traces -= 2 * np.einsum("rspp->rs", seconds[:, :, :-1, :-1])
        into.residual += firsts[:, -1, -1]
        into.quadratic += seconds[:, :, -1, -1]
        into.on_fixed += firsts[:, :-1, -1]
        if into.squares is not None:
            into.squares += firsts[:, :-1, :-1]
        curvature, scores = pieces.curvature.sum(axis=0), []
        for at in self.slices:
            own = pieces.on_z[:, at]
            score = curvature[at, at] - solved.kappa * _products(own[:, :, -1:])
            if solved.reml:
                score -= _products(own[:, :, :-1])
            scores.append(score)
        return scores

    # ---- information ----

    def add_products(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        into: PartProducts,
    ) -> None:
        pieces, own = self._pieces(psi, solved), self._directions(directions)
        seconds = self._seconds(pieces, own)
        into.first += self._firsts(pieces, own)
        into.residual += seconds[:, :, -1, -1]
        into.second_traces += np.einsum("rspp->rs", seconds[:, :, :-1, :-1])
        into.traces += self._traces(pieces, own)
        into.single[:-1] += np.tensordot(own, pieces.curvature.sum(axis=0), 2)
        into.single[-1] += pieces.single

    def weighted_second(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        weight: np.ndarray,
    ) -> np.ndarray:
        pieces, own = self._pieces(psi, solved), self._directions(directions)
        return np.tensordot(weight, self._seconds(pieces, own)[:, :, :-1, :-1], 2)

    def curved(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        scale: float,
        weight: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        p = self.width - 1
        on_fixed, single = np.zeros((p, p)), 0.0
        traces = np.zeros(1 + sum(map(len, directions)))
        for part in self.dense():
            part.factor(self._covariances, psi, np.zeros((p + 1, p + 1)))
            own = part.curved(directions, psi, solved, scale, weight)
            on_fixed += own[0]
            traces += own[1]
            single += own[2]
        return on_fixed, traces, single


def _root(sigma):
    """R with Sigma = R R'."""
    if len(sigma) == 1:
        return np.sqrt(np.maximum(sigma, 0.0))
    value, vector = np.linalg.eigh(sigma)
    return vector * np.sqrt(np.maximum(value, 0.0))


def _summed(matrices):
    """sum_g M_g'M_g."""
    flat = matrices.reshape(-1, matrices.shape[2])
    return flat.T @ flat


def _products(rows):
    """sum_g M_g M_g' of (G, k, w), (k, k)."""
    flat = rows.transpose(1, 0, 2).reshape(rows.shape[1], -1)
    return flat @ flat.T
