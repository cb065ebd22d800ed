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

With parameters by level of ``by`` each level is a chain, whose Lambda has a variance v^2 of
its own: by its logarithm g = log v

    K_g = -2 K,    K_g Lambda K_r = K Lambda_gr K = -2 K_r,    K Lambda_gg K = 4 K.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np

from mixedext.engine.residual.parts import Moments, Part, PartProducts, Solved
from mixedext.kernels.covariance import chains
from mixedext.specification.covariance.line_distances import LineDistances
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
        Of C with one parameter, of one level.
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
    at : tuple of int
        Numbers of the parameter of Lambda in psi, and before it of the logarithm of the
        standard deviation of all rows, where that is one.
    """

    curve: ResidualCurve
    columns: np.ndarray
    gap: np.ndarray
    gaps: np.ndarray
    ends: np.ndarray
    widths: tuple[int, ...]
    log_det: float
    at: tuple[int, ...]


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
    of_level = [own for batch in batches if (own := _of_level(batch, curve.number))]
    rows, gap, log_sd = (np.concatenate(part) for part in _in_order(curve, of_level))
    ends = np.array([len(rows)])
    if cluster is not None:
        own = np.unique(cluster[rows], return_inverse=True)[1]
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
        (*((curve.base - 1,) if curve.base else ()), int(curve.at[-1])),
    )


def _of_level(batch, level):
    """The groups of a batch that are of one level; None if none is."""
    here = batch.level == level
    if here.all():
        return batch
    if not here.any():
        return None
    number, chosen = np.cumsum(here) - 1, here[batch.pattern]
    places = places_of(batch).at(np.flatnonzero(here))
    return replace(
        batch,
        rows=batch.rows[chosen],
        pattern=number[batch.pattern[chosen]],
        count=batch.count[here],
        level=batch.level[here],
        place=places.place,
        strata=tuple(places.strata),
        covariates=tuple(places.covariates),
        group=batch.group[chosen],
    )


def _in_order(curve, batches):
    """Rows of each batch by group and time, the time since the row before, and log sd."""
    rows, gaps, log_sds = [], [], []
    for batch in batches:
        pattern, time = batch.pattern, batch.place
        if isinstance(time, LineDistances):
            time = time.times
        elif time.ndim == 3:
            # since one end of the line, that of the row farthest from the first
            time = time[np.arange(len(time)), time[:, 0].argmax(axis=1)]
        order = np.argsort(time, axis=1, kind="stable")
        gap = np.full(time.shape, -1.0)
        gap[:, 1:] = np.diff(np.take_along_axis(time, order, axis=1), axis=1)
        rows.append(np.take_along_axis(batch.rows, order[pattern], axis=1).ravel())
        gaps.append(gap[pattern].ravel())
        # that which has a parameter is that of the first stratum here
        log_sd = curve.log_sd_of_functions(np.zeros(curve.n_sd), places_of(batch))
        log_sds.append(np.take_along_axis(log_sd, order, axis=1)[pattern].ravel())
    return rows, gaps, log_sds


class _Pieces(NamedTuple):
    """What derivatives are made of; Z^ and C^ = [X^ e^] stand for columns as above.

    Parameters q, s of Lambda, m of them, come first.
    """

    on_z: np.ndarray  # Z'V^-1 C, (G, k, P)
    curvature: np.ndarray  # N = Z'V^-1 Z, (G, k, k)
    first: np.ndarray  # [Z^ C^]'K_q [Z^ C^], (m, G, k + P, k + P)
    bent: np.ndarray  # sum C^'K Lambda_qs K C^, (m, m, P, P)
    moved: np.ndarray  # sum C'V^-1 Lambda_q V^-1 Lambda_s V^-1 C, (m, m, P, P)
    single: np.ndarray  # tr V^-1 Lambda_q, (m,)
    turn: np.ndarray  # tr V^-1 Lambda_qs, (m, m)
    trace: np.ndarray  # tr V^-1 Lambda_q V^-1 Lambda_s, (m, m)


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
        table = chain.curve.correlation.by_gap(psi[[chain.at[-1]]], chain.gaps)
        return chain.columns, chain.gap, chain.ends, np.ascontiguousarray(table)

    @property
    def _log_sd(self):
        """Number in psi of the logarithm of the standard deviation; None if it has none."""
        return self.chain.at[0] if len(self.chain.at) > 1 else None

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
        if self._log_sd is not None:
            log_sd = psi[self._log_sd]
            self._cross *= np.exp(-2 * log_sd)
            log_det += 2 * log_sd * len(self.chain.columns)
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

    def _known_sums(self, psi):
        """K_q, K Lambda_qs K and K_q Lambda K_s of the columns by cluster, and
        tr K Lambda_q, tr K Lambda_qs and tr K Lambda_q K Lambda_s."""
        if self._sums is None:
            out, scalars = np.empty((3, *self._cross.shape)), np.empty(3)
            work = np.empty((4, self._cross.shape[1]))
            chains.chain_moments(*self._known(psi), work, out, scalars)
            if self._log_sd is not None:
                out *= np.exp(-2 * psi[self._log_sd])
            self._sums = out, scalars.tolist()
        (first, second, moved), (slope, turn, trace) = self._sums
        bent = 2 * moved - second
        if self._log_sd is None:
            values = [slope], [[turn + trace]], [[trace]]
            return (
                first[None],
                bent[None, None],
                moved[None, None],
                *map(np.array, values),
            )
        n, whole = len(self.chain.columns), self._cross
        values = (
            [2 * n, slope],
            [[4 * n, 2 * slope], [2 * slope, turn + trace]],
            [[4 * n, 2 * slope], [2 * slope, trace]],
        )
        across = -2 * first
        return (
            np.array([-2 * whole, first]),
            np.array([[4 * whole, across], [across, bent]]),
            np.array([[4 * whole, across], [across, moved]]),
            *(np.array(v, float) for v in values),
        )

    def _pieces(self, psi, solved):
        """Where ``factor`` was called last."""
        first, bent, moved, single, turn, trace = self._known_sums(psi)
        k, whole, change = self.k, self._cross, solved.change
        if not k:
            none = np.zeros((1, 0, 0))
            first, bent, moved = (change.T @ m @ change for m in (first, bent, moved))
            on_z = np.zeros((1, 0, self.width))
            return _Pieces(
                on_z, none, first, bent[:, :, 0], moved[:, :, 0], single, turn, trace
            )
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
        raw = effects @ first[:, :, :k, :k]  # B Z'K_q Z
        mixed = self._half @ on_first[:, :, :k, k:]
        m, shape = len(first), (len(first), -1, self.width)
        flat = mixed.reshape(shape)
        turned = on_c.transpose(0, 2, 1)
        bent_on_c, moved_on_c = np.empty((2, m, m, self.width, self.width))
        for q in range(m):
            for s in range(q + 1):
                bent_on_c[q, s] = (turned @ bent[q, s] @ on_c).sum(axis=0)
                own = (turned @ moved[q, s] @ on_c).sum(axis=0)
                moved_on_c[q, s] = own - flat[q].T @ flat[s]
                bent_on_c[s, q], moved_on_c[s, q] = bent_on_c[q, s].T, moved_on_c[q, s].T
        return _Pieces(
            shrunk.transpose(0, 2, 1) @ cross,
            (curvature + curvature.transpose(0, 2, 1)) / 2,
            hats.transpose(0, 2, 1) @ on_first,
            bent_on_c,
            moved_on_c,
            single + np.einsum("qgaa->q", raw),
            turn - np.einsum("gab,qsgba->qs", effects, bent[:, :, :, :k, :k]),
            trace
            - 2 * np.einsum("gab,qsgba->qs", effects, moved[:, :, :, :k, :k])
            + np.einsum("qgab,sgba->qs", raw, raw),
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
        n, width, m = len(directions), self.width, len(pieces.first)
        out = np.empty((n + m, n + m, width, width))
        out[n:, n:] = pieces.moved
        if not n:
            return out
        moved = directions[:, None] @ pieces.on_z  # (n, G, k, P)
        image = (pieces.curvature @ moved).reshape(n, -1, width)
        flat = moved.reshape(n, -1, width)
        across = pieces.first[:, :, : self.k, self.k :].reshape(m, -1, width)
        for r in range(n):
            for s in range(r + 1):
                out[r, s] = flat[r].T @ image[s]
                out[s, r] = out[r, s].T
            for q in range(m):
                out[r, n + q] = -flat[r].T @ across[q]
                out[n + q, r] = out[r, n + q].T
        return out

    def _firsts(self, pieces, directions):
        """C'V^-1 V_r V^-1 C summed, (n + m, P, P)."""
        n, k = len(directions), self.k
        out = np.empty((n + len(pieces.first), self.width, self.width))
        out[n:] = -pieces.first[:, :, k:, k:].sum(axis=1)
        flat = pieces.on_z.reshape(-1, self.width)
        for r, own in enumerate(directions):
            out[r] = flat.T @ (own @ pieces.on_z).reshape(flat.shape)
        return out

    def _traces(self, pieces, directions):
        """tr V^-1 V_r V^-1 V_s, (n + m, n + m)."""
        n, k, m = len(directions), self.k, len(pieces.first)
        out = np.empty((n + m, n + m))
        out[n:, n:] = pieces.trace
        if n:
            image = directions[:, None] @ pieces.curvature
            turned = image.transpose(0, 1, 3, 2).reshape(n, -1)
            out[:n, :n] = image.reshape(n, -1) @ turned.T
            own = pieces.first[:, :, :k, :k].sum(axis=1)
            out[:n, n:] = -np.tensordot(directions, own, ((1, 2), (1, 2)))
            out[n:, :n] = out[:n, n:].T
        return out

    def _places(self, directions):
        """Where the directions and this part's parameters stand among all."""
        n = len(directions)
        return np.concatenate([np.arange(n), n + np.array(self.chain.at)])

    def add_moments(
        self, tangents: Sequence[np.ndarray], psi: np.ndarray, solved: Solved, into: Moments
    ) -> list[np.ndarray]:
        pieces, directions = self._pieces(psi, solved), self._directions(tangents)
        firsts, seconds = (
            self._firsts(pieces, directions),
            self._seconds(pieces, directions),
        )
        own, at = len(directions), self._places(directions)
        psi_at, pairs = at[own:], np.ix_(at, at)
        into.gradient[psi_at] += pieces.single - solved.kappa * firsts[own:, -1, -1]
        bend = pieces.turn - solved.kappa * pieces.bent[:, :, -1, -1]
        traces = self._traces(pieces, directions)
        if solved.reml:
            into.gradient[psi_at] -= np.einsum("qpp->q", firsts[own:, :-1, :-1])
            bend -= np.einsum("qspp->qs", pieces.bent[:, :, :-1, :-1])
            traces -= 2 * np.einsum("rspp->rs", seconds[:, :, :-1, :-1])
        into.bend[np.ix_(psi_at, psi_at)] += bend
        into.traces[pairs] += traces
        into.residual[at] += firsts[:, -1, -1]
        into.quadratic[pairs] += seconds[:, :, -1, -1]
        into.on_fixed[at] += firsts[:, :-1, -1]
        if into.squares is not None:
            into.squares[at] += firsts[:, :-1, :-1]
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
        seconds, at = self._seconds(pieces, own), self._places(own)
        pairs = np.ix_(at, at)
        into.first[at] += self._firsts(pieces, own)
        into.residual[pairs] += seconds[:, :, -1, -1]
        into.second_traces[pairs] += np.einsum("rspp->rs", seconds[:, :, :-1, :-1])
        into.traces[pairs] += self._traces(pieces, own)
        n = len(own)
        into.single[:n] += np.tensordot(own, pieces.curvature.sum(axis=0), 2)
        into.single[at[n:]] += pieces.single

    def weighted_second(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        weight: np.ndarray,
    ) -> np.ndarray:
        pieces, own = self._pieces(psi, solved), self._directions(directions)
        at = self._places(own)
        seconds = self._seconds(pieces, own)[:, :, :-1, :-1]
        return np.tensordot(weight[np.ix_(at, at)], seconds, 2)

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
        traces = np.zeros(len(psi) + sum(map(len, directions)))
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
