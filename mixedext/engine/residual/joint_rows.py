"""Rows to predict beside the rows of a fit that they are correlated with.

A target T = x'b + t, of which the random part t has the covariance c with the rows and the
variance v, relative to sigma^2, is predicted by w'y with

    w = V0^-1 c + X~ h,    X~ = V0^-1 X root,    h = root'(x - X'V0^-1 c),
    m = v - c'V0^-1 c + h'h,

the best linear unbiased predictor; X~'V0 X~ = I.  With d = (-w, 1) over the rows and the
target the derivatives of m by a parameter r of the covariance are (envelope theorem)

    dm / dr = d'V_r d,    S_rs = q_r'P q_s,    q_r = c_r - V_r w,

V_r of the rows and the target jointly: m + 2 sum W_rs S_rs is what Kenward and Roger's
linear version makes of it.  With the second derivatives V_rs in natural parameters it is
less sum W_rs d'V_rs d / 2; the bias of the estimates, Kenward and Roger's of 2009, makes
that independent of the parameters.  A target sees the rows of its cluster alone but for
X~ h, of which products over all rows are those of the fixed effects.

Weights: all is said of rows times the root of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mixedext.algebra.triangles import invert_upper
from mixedext.engine.fit import Fit
from mixedext.engine.information.curvature import outer_bends, second_derivatives
from mixedext.engine.information.expected import variance_information
from mixedext.engine.information.joint_errors import RowErrors
from mixedext.engine.residual.cluster_part import (
    ClusterPart,
    GroupsInClusters,
    TermInClusters,
)
from mixedext.engine.residual.information import ResidualInformation
from mixedext.engine.residual.placed_rows import placed_batches
from mixedext.engine.residual.roots import inverse_roots
from mixedext.engine.residual.row_sets import MANY_ROWS, RowSets
from mixedext.engine.residual.rows import ResidualRows, places_of, residual_curves
from mixedext.engine.rows.memory import available_memory
from mixedext.engine.threads import blas_threads
from mixedext.limits import NEGATIVE_LEFT, NOTHING_LEFT
from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry
from mixedext.specification.covariance.residual_curve import ResidualCurve
from mixedext.specification.covariance.residual_patterns import Batch
from mixedext.specification.covariance.residual_recipe import NewPlaces
from mixedext.specification.covariance.same_visits import SymmetryByVisit

__all__ = ["JointRows", "Targets"]

# Matrices of the size of V that are held at once.
WORKING_COPIES = 6


class Targets(NamedTuple):
    """Rows to predict.

    Attributes
    ----------
    x : ndarray
        Columns kept of the fixed effects, (n, rank).
    terms : list of tuple
        For each random term the level of every row, negative for one that the fit had not,
        (n,), and its columns, zero where the target is not given the term, (n, k).
    places : NewPlaces or None
        Where they stand under the residual structure; None for targets without residual.
    precision : ndarray
        Their weights, (n,).
    """

    x: np.ndarray
    terms: list[tuple[np.ndarray, np.ndarray]]
    places: NewPlaces | None
    precision: np.ndarray


@dataclass(frozen=True, eq=False)
class JointRows:
    """The rows of a fit with a residual covariance, to which others are joined.

    Attributes
    ----------
    fit : Fit
        The fit.
    rows : ResidualRows
        Its rows.
    places : NewPlaces
        Where these stand.
    solved : ndarray
        V0^-1 (y - X b), rows times the root of their weights, (n,).
    clusters, groups : RowSets
        Rows by cluster, and by residual group.
    cluster_of_level : tuple of ndarray
        For each random term the cluster of every level.
    """

    fit: Fit
    rows: ResidualRows
    places: NewPlaces
    solved: np.ndarray
    clusters: RowSets
    groups: RowSets
    cluster_of_level: tuple[np.ndarray, ...]

    @classmethod
    def of(
        cls, fit: Fit, rows: ResidualRows, places: NewPlaces, conditional: np.ndarray
    ) -> JointRows:
        """The rows of a fit.

        Parameters
        ----------
        conditional : ndarray
            Conditional residuals y - X b - Z u, (n,).
        """
        assert fit.residual is not None
        psi = fit.residual.psi
        if rows.root_weights is not None:
            conditional = conditional * rows.root_weights
        solved = np.empty(len(conditional))
        inverse = inverse_roots(rows.bound, psi)
        for batch, root in zip(rows.bound.batches, inverse, strict=True):
            own = root.times(batch, conditional[batch.rows][:, :, None])
            solved[batch.rows] = root.transposed_times(batch, own)[:, :, 0]
        cluster, count = rows.cluster_numbers()
        of_level = []
        for term in rows.terms:
            own_cluster = np.full(term.n_levels, -1)
            own_cluster[term.codes] = cluster
            of_level.append(own_cluster)
        return cls(
            fit,
            rows,
            places,
            solved,
            RowSets.of(cluster, count),
            RowSets.of(places.group, int(places.group.max()) + 1),
            tuple(of_level),
        )

    # ---- means ----

    def residual_means(self, places: NewPlaces, precision: np.ndarray) -> np.ndarray:
        """What the residuals of the rows say of others', Cov' V0^-1 (y - X b), (n,).

        Parameters
        ----------
        places : NewPlaces
            Where the others stand.
        precision : ndarray
            Their weights, (n,).
        """
        estimate = self.fit.residual
        assert estimate is not None
        out = np.zeros(len(places))
        known = np.flatnonzero(places.group >= 0)
        some = places.take(known)
        curves = self._curves()
        with blas_threads():
            for old, new in self.groups.blocks(some.group, 1):
                shape = len(old), old.shape[1] + new.shape[1]
                value = np.zeros(shape)
                value[:, : old.shape[1]] = self.solved[old]
                found = np.zeros(value.size)
                value = value.ravel()
                for curve, batch, here in self._joined(old, some, new, curves):
                    matrix = curve.matrix(estimate.psi[curve.at], places_of(batch))
                    rows = batch.rows[here]
                    own = matrix[batch.pattern[here]] @ value[rows][:, :, None]
                    found[rows] = own[:, :, 0]
                out[known[new]] = found.reshape(shape)[:, old.shape[1] :]
        return out / np.sqrt(precision)

    # ---- errors ----

    def errors(
        self,
        targets: Targets,
        slope: bool = False,
        weight: np.ndarray | None = None,
        curved: str = "",
    ) -> RowErrors:
        """Errors of the predictions of targets, relative to sigma^2.

        Parameters
        ----------
        targets : Targets
            Rows to predict; of one with a residual the whole residual, nugget and all.
        slope : bool, optional
            Whether derivatives are wanted.
        weight : ndarray, optional
            W of all directions, if the rise is wanted.
        curved : {"", "coefficients", "all"}, optional
            Whether second derivatives in natural parameters are taken off: of the error of
            the coefficients h'h alone, or of all.

        Returns
        -------
        RowErrors
            Derivatives in the directions of ``ResidualInformation``.
        """
        info = variance_information(self.fit)
        assert isinstance(info, ResidualInformation)
        n = len(targets.x)
        slope = slope or weight is not None
        task = _Task.of(self, info, weight, curved)
        variance, rise = np.zeros((2, n))
        slopes = np.zeros((n, info.n_gamma + 1))
        key, sets = self._keys(targets)
        self._check_memory(int(sets.size[key[key >= 0]].max(initial=0)), info.n_gamma)
        curves = self._curves()
        with blas_threads():
            for old, new in sets.blocks(key, info.n_gamma if slope else 1):
                part = self._part(old, targets, new, curves)
                found = part.errors(task, slope)
                variance[new] = found.variance
                if found.slope is not None:
                    slopes[new] = found.slope
                if found.rise is not None:
                    rise[new] = found.rise
        w = targets.precision
        return RowErrors(
            variance / w,
            slopes / w[:, None] if slope else None,
            None if weight is None else rise / w,
        )

    def _check_memory(self, size, n_parameters):
        # with a quarter as many targets, and derivatives of these by every parameter
        needed = 8.0 * size**2 * (1.25**2 * WORKING_COPIES + n_parameters / 3)
        available = available_memory()
        if size > MANY_ROWS and needed > available:
            raise MemoryError(
                f"errors of predictions beside residual={self.rows.bound.spec} take the "
                "covariance of all rows that residual groups and random terms connect "
                f"with those to predict: {size} rows, for which about "
                f"{needed / 2**30:.3g} GiB are needed and {available / 2**30:.3g} are "
                "available. predict() gives the means; conditional=False asks for none "
                "of these"
            )

    def _curves(self):
        """The curve of every level, of rows some of which may be the same."""
        curves = residual_curves(self.rows.bound)
        return [
            replace(c, correlation=SymmetryByVisit(c.correlation.m))
            if isinstance(c.correlation, CompoundSymmetry)
            else c
            for c in curves
        ]

    def _keys(self, targets):
        """A set of old rows for every target: those of the clusters that it touches."""
        n = len(targets.x)
        touched = np.full((n, 1 + len(targets.terms)), -1)
        if targets.places is not None:
            group = targets.places.group
            first = self.groups.order[self.groups.start[:-1]]  # a row of each group
            own = self.clusters.number[first][np.maximum(group, 0)]
            touched[:, 0] = np.where(group >= 0, own, -1)
        for i, (codes, z) in enumerate(targets.terms):
            given = (codes >= 0) & z.any(axis=1)
            own = self.cluster_of_level[i][np.maximum(codes, 0)]
            touched[:, 1 + i] = np.where(given, own, -1)
        key = touched.max(axis=1)
        several = ((touched >= 0) & (touched != key[:, None])).any(axis=1)
        if not several.any():
            return key, self.clusters
        at = np.flatnonzero(several)
        sets, own = np.unique(np.sort(touched[at], axis=1), axis=0, return_inverse=True)
        key[at] = len(self.clusters.size) + own.ravel()
        return key, self.clusters.joined([np.unique(s[s >= 0]) for s in sets])

    def _part(self, old, targets, new, curves):
        """Old rows (G, s) and targets (G, t) as clusters."""
        rows, (count, s), t = self.rows, old.shape, new.shape[1]
        root = np.sqrt(targets.precision[new])[:, :, None]
        p = rows.design.basis.rank
        columns = np.empty((count, s + t, p))
        columns[:, :s] = rows.columns[old][:, :, :p]
        if p:
            columns[:, s:] = root * (targets.x[new] @ invert_upper(rows.design.basis.r))
        terms = []
        for term, (codes, z) in zip(rows.terms, targets.terms, strict=True):
            own = np.asarray(term.z, float)[old]
            if rows.root_weights is not None:
                own = own * rows.root_weights[old][:, :, None]
            z = np.concatenate([own, root * z[new]], axis=1)
            # levels that the fit had not are all different
            code = np.where(codes < 0, term.n_levels + np.arange(len(codes)), codes)
            code = np.concatenate([term.codes[old], code[new]], axis=1)
            same = (code[:, :, None] == code[:, None, :]).astype(float)
            terms.append(TermInClusters(z, same))
        groups, width = [], s + t
        for curve, batch, here in self._joined(old, targets.places, new, curves):
            at = batch.rows[here]
            groups.append(
                GroupsInClusters.of(
                    curve,
                    places_of(batch),
                    batch.pattern[here],
                    at[:, 0] // width,
                    at % width,
                )
            )
        return _JointPart(columns, terms, groups, s)

    def _joined(
        self,
        old: np.ndarray,
        places: NewPlaces | None,
        new: np.ndarray,
        curves: list[ResidualCurve],
    ) -> Iterator[tuple[ResidualCurve, Batch, np.ndarray]]:
        """Residual groups of old rows and others: curve, batch, and which of its groups.

        Rows are numbered as those of (G, s + t) in turn.
        """
        bound, known = self.rows.bound, self.places.take(old.ravel())
        count, s = old.shape
        t = 0 if places is None else new.shape[1]
        width = s + new.shape[1]
        flat = np.arange(count)[:, None] * width
        at = [(flat + np.arange(s)).ravel()]
        parts = [known]
        if places is not None:
            at.append((flat + s + np.arange(t)).ravel())
            parts.append(places.take(new.ravel()))
        number = np.concatenate(at)
        if not len(number):
            return
        group = np.concatenate([p.group for p in parts])
        if t:  # groups that the fit had not are all different
            fresh = group < 0
            top = int(self.places.group.max(initial=0)) + 1
            group = np.where(fresh, top + np.arange(len(group)), group)
        block = number // width
        pair = block.astype(np.int64) * (int(group.max(initial=0)) + 1) + group
        for batch in placed_batches(bound, parts, pair, number):
            for curve in curves:
                here = np.flatnonzero(batch.level[batch.pattern] == curve.number)
                if len(here):
                    yield curve, batch, here


@dataclass(frozen=True, eq=False)
class _Task:
    """What is asked of all clusters.

    Attributes
    ----------
    covariances, directions : list of ndarray
        Sigma of every term, and its derivatives.
    psi : ndarray
        Parameters of the residual covariance.
    basis : ndarray
        From coordinates on the basis Q of X to those of ``Fit.root``, (p, p).
    first : ndarray
        X~'V_r X~, (n_gamma, p, p).
    weight, second : ndarray or None
        W but for V0, and sum W_rs X~'V_r V0^-1 V_s X~.
    bent : ndarray or None
        X~'Vbar X~, the second derivatives of V weighted by W.
    natural : ndarray or None
        W of the natural parameters, where those of targets count too.
    bends : list of ndarray or None
        Vbar of every term, in that case.
    """

    covariances: list[np.ndarray]
    directions: list[np.ndarray]
    psi: np.ndarray
    basis: np.ndarray
    first: np.ndarray
    weight: np.ndarray | None
    second: np.ndarray | None
    bent: np.ndarray | None
    natural: np.ndarray | None
    bends: list[np.ndarray | None]

    @classmethod
    def of(cls, joint, info, weight, curved):
        deviance = joint.fit.residual.stand()
        p, n = deviance.rank, info.n_gamma
        basis = deviance.solved.change[:p, :p] @ info.turn.T
        inner = second = bent = natural = None
        bends: list[np.ndarray | None] = []
        if weight is not None:
            inner = np.zeros((n + 1, n + 1))
            inner[:n, :n] = weight[:n, :n]
            second = info.weighted_second(inner)
            if curved:
                bent = second_derivatives(joint.fit, weight).on_fixed
            if curved == "all":
                natural = info.natural_weight(weight)
                bends = outer_bends(joint.fit, weight)
            inner = inner[:n, :n]
        return cls(
            deviance.covariances(deviance.at.x),
            info.directions,
            joint.fit.residual.psi,
            basis,
            info.on_fixed[:-1],
            inner,
            second,
            bent,
            natural,
            bends,
        )


class _JointPart(ClusterPart):
    """Clusters of s rows of the fit and t targets.

    Parameters
    ----------
    columns : ndarray
        Q, (G, s + t, p).
    terms, groups
        As for ``ClusterPart``.
    size : int
        s.
    """

    def __init__(self, columns, terms, groups, size):
        super().__init__(columns, terms, groups)
        self.size = size

    def errors(self, task: _Task, slope: bool) -> RowErrors:
        """m and its derivatives, (G, t) and (G, t, n_gamma + 1), and the rise."""
        s = self.size
        whole = self.covariance(task.covariances, task.psi)
        cross = whole[:, :s, s:]
        own = np.einsum("gtt->gt", whole[:, s:, s:])
        whiten = np.linalg.inv(np.linalg.cholesky(whole[:, :s, :s]))
        half = whiten @ cross
        back = whiten.transpose(0, 2, 1)
        v = back @ half
        left = own - (half**2).sum(axis=1)
        if (left < -NEGATIVE_LEFT * own).any():
            raise ValueError(
                "the covariance of some rows to predict with those of the fit is not "
                "positive definite: what the parameters say of the rows of the fit cannot "
                "hold of more rows, as a negative correlation of many"
            )
        left = np.where(left < NOTHING_LEFT * own, 0.0, left)
        x_old = back @ (whiten @ (self.columns[:, :s] @ task.basis))  # X~
        rest = self.columns[:, s:] - v.transpose(0, 2, 1) @ self.columns[:, :s]
        h = rest @ task.basis
        variance = left + (h**2).sum(axis=2)
        known = variance < NOTHING_LEFT * own  # rows of the fit themselves
        variance = np.where(known, 0.0, variance)
        if not slope:
            return RowErrors(variance)
        t = h.shape[1]
        d = np.concatenate([-v, np.broadcast_to(np.eye(t), (len(v), t, t))], axis=1)
        moved = self._moved(task.directions, task.psi, d)
        on_x = np.einsum("gsp,rgst->rgtp", x_old, moved[:, :, :s], optimize=True)
        through = np.einsum("rpq,gtq->rgtp", task.first, h, optimize=True)
        slopes = np.empty((*variance.shape, len(moved) + 1))
        slopes[:, :, :-1] = (
            np.einsum("gat,rgat->gtr", d, moved, optimize=True)
            + np.einsum("gtp,rgtp->gtr", h, through - 2 * on_x, optimize=True)
        )  # fmt: skip
        slopes[:, :, -1] = variance
        slopes[known] = 0.0
        if task.weight is None:
            return RowErrors(variance, slopes)
        rise = self._rise(task, h, moved[:, :, :s], whiten, x_old, on_x - through)
        if task.bent is not None:
            rise -= self._bent(task, d, h, x_old) / 4
        return RowErrors(variance, slopes, np.where(known, 0.0, rise))

    def _rise(self, task, h, left, whiten, x_old, on_x):
        """sum W_rs q_r'P q_s of every target, q_r = left - V_r X~ h."""
        w, s = task.weight, self.size
        wide = np.concatenate(
            [x_old, np.zeros((len(x_old), h.shape[1], x_old.shape[2]))], axis=1
        )
        seen = self._moved(task.directions, task.psi, wide)[:, :, :s]  # V_r X~
        left, seen = whiten @ left, whiten @ seen
        weighted = np.tensordot(w, left, 1)
        rise = np.einsum("rgst,rgst->gt", left, weighted, optimize=True)
        rise -= 2 * np.einsum("rgst,rgsp,gtp->gt", weighted, seen, h, optimize=True)
        rise += np.einsum("gtp,pq,gtq->gt", h, task.second, h, optimize=True)
        return rise - np.einsum("rgtp,rgtp->gt", on_x, np.tensordot(w, on_x, 1))

    def _bent(self, task, d, h, x_old):
        """d'Vbar d of every target; or h'(X~'Vbar X~)h alone."""
        out = np.einsum("gtp,gtp->gt", h, h @ task.bent)
        if task.natural is None:
            return out
        moved = np.zeros_like(d)
        for own in self.groups:
            at = own.curve.natural_at
            free = task.psi[own.own]
            mean = own.curve.curve(free, 1.0, own.places, task.natural[np.ix_(at, at)])
            moved += own.times(mean[None], d)[0]
        for term, bend in zip(self.terms, task.bends, strict=True):
            if bend is not None:
                moved += term.covariance(bend) @ d
        out += np.einsum("gat,gat->gt", d, moved)
        on_x = np.einsum("gsp,gst->gtp", x_old, moved[:, : self.size])
        return out - 2 * np.einsum("gtp,gtp->gt", h, on_x)
