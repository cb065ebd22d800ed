"""From rows to the parts of the marginal deviance: clusters, patterns, storage.

Without random effects a residual group is a cluster, and groups over visits share their
pattern (``VisitPart``).  Otherwise clusters are the sets of rows that residual groups and
levels of random terms connect, of one size at a time (``ClusterPart``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from mixedext.algebra.triangles import invert_upper
from mixedext.engine.residual.cluster_part import (
    ClusterPart,
    GroupsInClusters,
    TermInClusters,
)
from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.parts import Part
from mixedext.engine.residual.visit_part import VisitPart, VisitRows
from mixedext.engine.rows.design import Design
from mixedext.engine.rows.memory import available_memory
from mixedext.specification.covariance.residual_binding import Batch, BoundResidual
from mixedext.specification.covariance.residual_curve import Places, ResidualCurve
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["ResidualRows", "residual_curves", "whitened"]

# Patterns above which groups are taken one by one, and visits above which none are shared:
# matrices over pairs of visits are kept for every pattern.
MOST_PATTERNS, MOST_VISITS = 2048, 64
# Matrices of the size of V that an evaluation with its derivatives holds at once.
WORKING_COPIES = 8


def residual_curves(bound: BoundResidual) -> list[tuple[ResidualCurve, slice]]:
    """The curve of every level of ``by``, and where its parameters stand in psi."""
    out, start = [], 0
    for level in range(bound.n_levels):
        curve = ResidualCurve(bound.correlation, bound.functions, level > 0)
        out.append((curve, slice(start, start + curve.n_psi)))
        start += curve.n_psi
    return out


def places_of(batch: Batch) -> Places:
    """Where the rows of the patterns of a batch stand."""
    return Places(batch.place, batch.strata, batch.covariates)


@dataclass(frozen=True, eq=False)
class ResidualRows:
    """The rows of a model with a residual covariance.

    Attributes
    ----------
    y, x : ndarray
        Response less offset (n,), and all columns of the fixed effects (n, k).
    terms : sequence of RandomTerm
        Random terms with their rows.
    weights : ndarray or None
        Precision weights.
    bound : BoundResidual
        The residual covariance.
    design : Design
        Of y and x by the weights alone: basis, scale.
    """

    y: np.ndarray
    x: np.ndarray
    terms: Sequence[RandomTerm]
    weights: np.ndarray | None
    bound: BoundResidual
    design: Design

    @cached_property
    def curves(self) -> list[tuple[ResidualCurve, slice]]:
        """By level of ``by``."""
        return residual_curves(self.bound)

    @property
    def n_psi(self) -> int:
        """Parameters of the residual covariance."""
        return self.curves[-1][1].stop

    @cached_property
    def root_weights(self) -> np.ndarray | None:
        """Square roots of the weights."""
        return None if self.weights is None else np.sqrt(self.weights)

    @cached_property
    def columns(self) -> np.ndarray:
        """[Q y], weighted, y as its scaled residual, (n, P)."""
        design = self.design
        basis = design.basis
        out = np.empty((len(self.y), basis.rank + 1))
        x = np.asarray(self.x, float)[:, basis.kept]
        if basis.rank:
            out[:, :-1] = x @ invert_upper(basis.r)
        out[:, -1] = self.y
        if self.root_weights is not None:
            out *= self.root_weights[:, None]
        if basis.rank:
            out[:, -1] -= out[:, :-1] @ design.least_squares
        out[:, -1] /= design.y_scale
        return out

    def deviance(self, reml: bool) -> MarginalDeviance:
        """The profiled deviance."""
        design = self.design
        structures = [t.structure for t in self.terms]
        return MarginalDeviance(
            self.parts,
            structures,
            self.n_psi,
            len(self.y),
            design.basis,
            design.least_squares,
            design.y_scale,
            design.log_weights,
            reml,
        )

    # ---- storage ----

    @cached_property
    def parts(self) -> list[Part]:
        """Clusters by size, or patterns by level."""
        if not self.terms and self.has_patterns:
            return list(self._visit_parts())
        return list(self._cluster_parts())

    @cached_property
    def has_patterns(self) -> bool:
        """Whether Lambda is a matrix over few visits, and patterns are few."""
        bound = self.bound
        if bound.correlation is None or not bound.correlation.over_visits:
            return False
        if sum(len(b.count) for b in bound.batches) > MOST_PATTERNS:
            return False
        for batch in bound.batches:
            if batch.place.max(initial=0) >= MOST_VISITS:
                return False
            if any(v is not None for v in batch.covariates):
                return False
            if any((s != batch.place).any() for s in batch.strata):
                return False
        return True

    def _visit_parts(self) -> Iterator[Part]:
        bound = self.bound
        m = 1 + max(int(b.place.max(initial=0)) for b in bound.batches)
        visits = np.arange(m)[None]
        places = Places(visits, [visits] * len(bound.functions), [None] * len(bound.functions))
        for level, (curve, own) in enumerate(self.curves):
            patterns = []
            for batch in bound.batches:
                order = np.argsort(batch.pattern, kind="stable")
                ends = np.cumsum(np.append(0, batch.count.astype(int)))
                for number in np.flatnonzero(batch.level == level):
                    groups = order[ends[number] : ends[number + 1]]
                    rows = self.columns[batch.rows[groups]]
                    rows = np.ascontiguousarray(rows.transpose(1, 2, 0))
                    patterns.append(VisitRows(batch.place[number], rows))
            yield VisitPart(curve, own, places, patterns)

    def _cluster_parts(self) -> Iterator[Part]:
        cluster, n_clusters = self._clusters()
        size = np.bincount(cluster, minlength=n_clusters)
        self._check_memory(size)
        group, position = self._positions()
        order = np.lexsort((position, group, cluster))
        start = np.concatenate([[0], np.cumsum(size)])
        place = np.empty(len(order), np.intp)  # of a row in its cluster
        place[order] = np.arange(len(order)) - start[cluster[order]]
        local = np.empty(n_clusters, np.intp)
        for s in np.unique(size):
            chosen = np.flatnonzero(size == s)
            local[chosen] = np.arange(len(chosen))
            rows = order[start[chosen][:, None] + np.arange(s)]
            yield ClusterPart(
                self.columns[rows],
                [self._term(t, rows) for t in self.terms],
                list(self._groups(cluster, size == s, local, place)),
            )

    def _groups(self, cluster, chosen, local, place):
        """Residual groups within clusters of one size."""
        for batch in self.bound.batches:
            of_group = cluster[batch.rows[:, 0]]
            inside = chosen[of_group]
            for level, (curve, own) in enumerate(self.curves):
                here = np.flatnonzero(inside & (batch.level[batch.pattern] == level))
                if len(here):
                    yield GroupsInClusters.of(
                        curve,
                        own,
                        places_of(batch),
                        batch.pattern[here],
                        local[of_group[here]],
                        place[batch.rows[here]],
                    )

    def _term(self, term, rows):
        z = np.asarray(term.z, float)[rows]
        if self.root_weights is not None:
            z = z * self.root_weights[rows][:, :, None]
        codes = term.codes[rows]
        same = None
        if (codes != codes[:, :1]).any():
            same = (codes[:, :, None] == codes[:, None, :]).astype(float)
        return TermInClusters(np.ascontiguousarray(z), same)

    def _positions(self):
        """Residual group of every row, and its place there."""
        group = np.empty(len(self.y), np.intp)
        position = np.empty(len(self.y), np.intp)
        for batch in self.bound.batches:
            group[batch.rows] = batch.group[:, None]
            position[batch.rows] = np.arange(batch.rows.shape[1])
        return group, position

    def _clusters(self):
        """Cluster of every row: what residual groups and levels connect."""
        group, _ = self._positions()
        if not self.terms:
            used, cluster = np.unique(group, return_inverse=True)
            return cluster, len(used)
        first = int(group.max()) + 1
        edges, start = [], first
        for term in self.terms:
            edges.append((group, start + term.codes))
            start += term.n_levels
        i = np.concatenate([e[0] for e in edges])
        j = np.concatenate([e[1] for e in edges])
        graph = sparse.coo_array((np.ones(len(i), bool), (i, j)), shape=(start, start))
        _, label = csgraph.connected_components(graph.tocsr(), directed=False)
        used, cluster = np.unique(label[group], return_inverse=True)
        return cluster, len(used)

    def _check_memory(self, size):
        elements = float((size.astype(float) ** 2).sum())
        needed = 8 * elements * (WORKING_COPIES + self.n_psi)
        available = available_memory()
        if needed > available:
            largest = int(size.max())
            raise MemoryError(
                f"residual={self.bound.spec}: rows that residual groups and random terms "
                f"connect have a dense covariance; the largest such set has {largest} rows, "
                f"all together need about {needed / 2**30:.3g} GiB, and "
                f"{available / 2**30:.3g} are available. Nest the residual groups in levels "
                "of one random factor, or keep the variance= without the correlation"
            )


def whitened(
    bound: BoundResidual,
    psi: np.ndarray,
    columns: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """L^-1 W^1/2 times columns, L the lower Cholesky factor of every group's Lambda.

    Parameters
    ----------
    psi : ndarray
        Parameters.
    columns : ndarray
        (n, w) or (n,).
    weights : ndarray, optional
        Precision weights W.

    Returns
    -------
    ndarray
        Rows stay where they are: that of the last visit holds what is new in it.
    """
    given = np.asarray(columns, float)
    flat = given.reshape(len(given), -1)
    if weights is not None:
        flat = flat * np.sqrt(weights)[:, None]
    out = np.empty_like(flat)
    for batch, root in zip(bound.batches, roots(bound, psi), strict=True):
        inverse = np.linalg.inv(root)
        out[batch.rows] = inverse[batch.pattern] @ flat[batch.rows]
    return out.reshape(given.shape)


def roots(bound: BoundResidual, psi: np.ndarray) -> list[np.ndarray]:
    """Lower Cholesky factors of Lambda of the patterns of every batch, (c, s, s)."""
    out = []
    for batch in bound.batches:
        c, s = batch.place.shape[:2]
        root = np.empty((c, s, s))
        places = places_of(batch)
        for level, (curve, own) in enumerate(residual_curves(bound)):
            here = np.flatnonzero(batch.level == level)
            if len(here):
                root[here] = np.linalg.cholesky(curve.matrix(psi[own], places.at(here)))
        out.append(root)
    return out


def log_determinant(bound: BoundResidual, psi: np.ndarray) -> float:
    """log|Lambda|, weights apart."""
    total = 0.0
    for batch, root in zip(bound.batches, roots(bound, psi), strict=True):
        total += 2 * float(batch.count @ np.log(np.einsum("caa->ca", root)).sum(axis=1))
    return total
