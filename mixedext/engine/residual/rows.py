"""From rows to the parts of the marginal deviance: clusters, patterns, storage.

Without random effects a residual group is a cluster, and groups over visits share their
pattern (``VisitPart``).  Otherwise clusters are the sets of rows that residual groups and
levels of random terms connect, of one size at a time (``ClusterPart``), or each large one
by the levels of its random terms (``WhitenedPart``); independent rows are no more to the
engine than weights (``BlockedPart``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from mixedext.algebra.triangles import invert_upper
from mixedext.engine.residual.blocked_part import BlockedPart, IndependentRows
from mixedext.engine.residual.chain_part import ChainPart, chain_of, places_of
from mixedext.engine.residual.cluster_part import (
    ClusterPart,
    GroupsInClusters,
    TermInClusters,
)
from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.parts import Part
from mixedext.engine.residual.visit_part import SummedPatterns, VisitPart, VisitRows
from mixedext.engine.residual.whitened_part import whitened_part
from mixedext.engine.rows.design import Design
from mixedext.engine.rows.memory import available_memory
from mixedext.kernels.covariance.visit_patterns import add_products, rows_on_basis
from mixedext.specification.covariance.residual_binding import BoundResidual
from mixedext.specification.covariance.residual_curve import Places, ResidualCurve
from mixedext.specification.covariance.residual_objects import Spatial as StatedSpatial
from mixedext.specification.covariance.variance_functions import VarIdent
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["ResidualRows", "places_of", "residual_curves"]

# Patterns above which groups are taken one by one, and visits above which none are shared:
# matrices over pairs of visits are kept for every pattern.
MOST_PATTERNS, MOST_VISITS = 2048, 64
# Numbers in the cross-products of a pattern, by the work that its groups would make, up to
# which they are kept in their place, and in all of them; numbers of rows laid out at once.
CHEAP_SUMS, MOST_SUMS, SOME_NUMBERS = 0.5, 2**23, 2**15
# Matrices of the size of V that an evaluation with its derivatives holds at once.
WORKING_COPIES = 8
# Rows of a cluster from which on it may be treated by the levels of its random terms, and
# the largest share of the work of its dense matrix that pays.
LEAST_ROWS, SHARE_OF_DENSE = 128, 0.25
# Columns of Z up to which several of these clusters make up one.
JOINED_COLUMNS = 128
# Columns of Z of a cluster up to which chains of rows carry them along.
MOST_COLUMNS = 8
# Independent rows above which they are weights to the engine.
MANY_ROWS = 1000


def residual_curves(bound: BoundResidual) -> list[ResidualCurve]:
    """The curve of every level of ``by``."""
    correlation, functions = bound.correlation, bound.functions
    # a VarIdent that is one by level leaves a structure that is linear as it is
    by_level, base = _strata_by_level(bound)
    if correlation is None:
        linear = not functions or (
            len(functions) == 1 and isinstance(functions[0], VarIdent)
        )
    else:
        linear = correlation.linear_if_homogeneous and (
            not functions or (len(functions) == 1 and by_level)
        )
    return [
        ResidualCurve(correlation, functions, level, int(base[level]), linear)
        for level in range(bound.n_levels)
    ]


def _strata_by_level(bound):
    """Whether the first function is a VarIdent by level, and the stratum of each level."""
    base = np.zeros(bound.n_levels, np.intp)
    if not bound.functions or not isinstance(bound.functions[0], VarIdent):
        return False, base
    found = np.full(bound.n_levels, -1)
    for batch in bound.batches:
        strata = batch.strata[0]
        if (strata != strata[:, :1]).any():
            return False, base
        for level in range(bound.n_levels):
            own = strata[batch.level == level, 0]
            if not len(own):
                continue
            if found[level] < 0:
                found[level] = own[0]
            if (own != found[level]).any():
                return False, base
    return True, np.maximum(found, 0)


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
    sums : bool
        Whether rows may be kept as cross-products.
    """

    y: np.ndarray
    x: np.ndarray
    terms: Sequence[RandomTerm]
    weights: np.ndarray | None
    bound: BoundResidual
    design: Design
    sums: bool = True

    @cached_property
    def curves(self) -> list[ResidualCurve]:
        """By level of ``by``."""
        return residual_curves(self.bound)

    @property
    def n_psi(self) -> int:
        """Parameters of the residual covariance."""
        return self.curves[-1].n_sd + len(self.curves) * self.curves[-1].n_own

    @cached_property
    def root_weights(self) -> np.ndarray | None:
        """Square roots of the weights."""
        return None if self.weights is None else np.sqrt(self.weights)

    @cached_property
    def _to_basis(self) -> np.ndarray:
        """What columns kept of X and y are multiplied by to become [Q y], (P, P)."""
        basis, y_scale = self.design.basis, self.design.y_scale
        out = np.zeros((basis.rank + 1, basis.rank + 1))
        if basis.rank:
            out[:-1, :-1] = invert_upper(basis.r)
            out[:-1, -1] = -out[:-1, :-1] @ self.design.least_squares / y_scale
        out[-1, -1] = 1 / y_scale
        return out

    def columns_at(self, rows: np.ndarray) -> np.ndarray:
        """[Q y], weighted, y as its scaled residual, of some rows, (..., P)."""
        if "columns" in vars(self):
            return self.columns[rows]
        return self._columns_at(rows)

    def _columns_at(self, rows):
        out = np.empty((rows.size, self.width))
        weights = np.zeros(0) if self.root_weights is None else self.root_weights
        rows_on_basis(
            *self._given,
            weights,
            self.design.basis.kept.astype(np.intp),
            self._to_basis,
            rows.ravel().astype(np.intp, copy=False),
            out,
        )
        return out.reshape(*rows.shape, self.width)

    @cached_property
    def _given(self) -> tuple[np.ndarray, np.ndarray]:
        """X and y in double precision."""
        return np.asarray(self.x, float), np.asarray(self.y, float)

    @cached_property
    def columns(self) -> np.ndarray:
        """The same of all rows, (n, P)."""
        return self._columns_at(np.arange(len(self.y)))

    def deviance(self, reml: bool) -> MarginalDeviance:
        """The profiled deviance, which stands where it does whatever another one does."""
        design = self.design
        structures = [t.structure for t in self.terms]
        return MarginalDeviance(
            [part.apart() for part in self.parts],
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
        if self._are_chains:
            return list(self._chain_parts())
        if self._is_blocked:
            return [self._blocked_part()]
        return self._cluster_parts()

    @cached_property
    def has_patterns(self) -> bool:
        """Whether Lambda is a matrix over few visits, and patterns are few."""
        bound = self.bound
        if bound.correlation is None or not bound.correlation.over_visits:
            return False
        if sum(len(b.count) for b in bound.batches) > MOST_PATTERNS:
            return False
        if any(b.place.max(initial=0) >= MOST_VISITS for b in bound.batches):
            return False
        if any(v is not None for b in bound.batches for v in b.covariates):
            return False
        return self._strata_by_visit is not None

    @cached_property
    def _strata_by_visit(self) -> list[list[np.ndarray]] | None:
        """Strata of the functions at all visits, by level; None if rows differ in them."""
        bound = self.bound
        m = 1 + max(int(b.place.max(initial=0)) for b in bound.batches)
        out = [
            [np.full(m, -1, np.intp) for _ in bound.functions]
            for _ in range(bound.n_levels)
        ]
        for batch in bound.batches:
            for number in range(len(bound.functions)):
                for level in range(bound.n_levels):
                    chosen = batch.level == level
                    own = batch.strata[number]
                    if own is None:
                        continue
                    at, strata = batch.place[chosen].ravel(), own[chosen].ravel()
                    known = out[level][number]
                    known[at] = np.where(known[at] < 0, strata, known[at])
                    if (known[at] != strata).any():
                        return None
        return [[np.maximum(s, 0) for s in level] for level in out]

    def _visit_parts(self) -> Iterator[Part]:
        bound = self.bound
        assert self._strata_by_visit is not None
        for level, curve in enumerate(self.curves):
            strata = self._strata_by_visit[level]
            m = 1 + max(int(b.place.max(initial=0)) for b in bound.batches)
            places = Places(
                np.arange(m)[None], [s[None] for s in strata], [None] * len(strata)
            )
            patterns, summed = [], []
            for batch in bound.batches:
                few, many = self._patterns(batch, np.flatnonzero(batch.level == level))
                patterns += few
                summed += many
            yield VisitPart(curve, places, patterns, summed)

    @property
    def width(self) -> int:
        """Columns of [Q y]."""
        return self.design.basis.rank + 1

    def _are_many(self, batch, numbers):
        """Whether cross-products of the rows of a pattern are less work than its groups."""
        s, width = batch.size, self.width
        counts = batch.count[numbers]
        many = counts * (2 * s + width) * CHEAP_SUMS > s * width
        if not self.sums:
            return np.zeros_like(many)
        each = s * (s + 1) // 2 * width**2
        if many.sum() * each > MOST_SUMS:  # only those that gain most
            least = np.sort(counts[many])[::-1]
            many &= counts > least[min(MOST_SUMS // each, len(least) - 1)]
        return many

    def _patterns(self, batch, numbers):
        """The patterns of some numbers: those of few groups, and those that are summed."""
        s, width = batch.size, self.width
        many = np.zeros(len(batch.count), bool)
        many[numbers] = self._are_many(batch, numbers)
        few = np.zeros_like(many)
        few[numbers] = ~many[numbers]
        patterns = []
        groups = _by_pattern(batch.pattern, few)
        ends = np.cumsum(np.append(0, batch.count[few]))
        rows = self.columns_at(batch.rows[groups])
        for number, start, stop in zip(
            np.flatnonzero(few), ends[:-1], ends[1:], strict=True
        ):
            own = np.ascontiguousarray(rows[start:stop].transpose(1, 2, 0))
            patterns.append(VisitRows(batch.place[number], own))
        if not many.any():
            return patterns, []
        place = np.cumsum(many) - 1  # of a pattern among the summed ones
        out = np.zeros((many.sum(), s * (s + 1) // 2, width * width))
        work = np.empty((s * width, s * width))
        groups = _by_pattern(batch.pattern, many)
        some = max(1, SOME_NUMBERS // (s * width))
        for start in range(0, len(groups), some):
            chosen = groups[start : start + some]
            flat = self.columns_at(batch.rows[chosen]).reshape(len(chosen), -1)
            add_products(flat, place[batch.pattern[chosen]], out, work)
        counts = batch.count[many].astype(float)
        return patterns, [SummedPatterns(batch.place[many], counts, out)]

    @property
    def _are_chains(self):
        """Whether each row depends on the row before alone, by one parameter a level."""
        correlation, spec = self.bound.correlation, self.bound.spec
        if correlation is None or not correlation.is_chain or correlation.n_psi != 1:
            return False
        by_level = self.bound.n_levels > 1 and _strata_by_level(self.bound)[0]
        if any(f.n_psi for f in self.bound.functions[by_level:]):
            return False
        if isinstance(spec, StatedSpatial) and len(spec.places) > 1:
            return False
        if sum(term.k for term in self.terms) > MOST_COLUMNS:
            return False
        cluster, n_clusters = self.cluster_numbers()
        first = np.empty(n_clusters, np.intp)
        first[cluster] = np.arange(len(cluster))  # some row of the cluster
        alike = [t.codes for t in self.terms]
        if by_level and self.terms:
            alike.append(self._levels_of_rows())
        return all((codes == codes[first[cluster]]).all() for codes in alike)

    def _levels_of_rows(self):
        """Level of ``by`` of every row, (n,)."""
        out = np.empty(len(self.y), np.intp)
        for batch in self.bound.batches:
            out[batch.rows] = batch.level[batch.pattern][:, None]
        return out

    def _chain_parts(self):
        def columns(rows: np.ndarray) -> np.ndarray:
            return np.hstack(
                [*(z[rows] for z in self._columns_of_z()), self.columns_at(rows)]
            )

        cluster = self.cluster_numbers()[0] if self.terms else None
        widths = tuple(term.k for term in self.terms)
        for curve in self.curves:
            chain = chain_of(curve, self.bound.batches, columns, widths, cluster)
            # what only the adjustment of Kenward and Roger asks for is of all levels
            dense = self._cluster_parts if curve.number == 0 else list
            yield ChainPart(chain, dense)

    def _columns_of_z(self):
        """Columns of every random term, weighted, (n, k)."""
        for term in self.terms:
            z = np.asarray(term.z, float)
            yield z if self.root_weights is None else z * self.root_weights[:, None]

    @property
    def _is_blocked(self):
        """Whether rows are independent, and too many for matrices of clusters."""
        design = self.design
        if self.bound.correlation is not None or not self.terms:
            return False
        if design.rotation is not None or design.scalar_terms:
            return False
        if len(self.y) > MANY_ROWS:
            return True
        cluster, n_clusters = self.cluster_numbers()
        large = np.bincount(cluster, minlength=n_clusters) >= LEAST_ROWS
        columns = self._levels_of_clusters(cluster, n_clusters)
        return bool((columns[large] > JOINED_COLUMNS).any())

    def _blocked_part(self):
        (batch,) = self.bound.batches
        pattern = batch.pattern[np.argsort(batch.rows[:, 0])]
        own = IndependentRows(self.curves[0], places_of(batch), pattern, self.weights)
        kept = np.asarray(self.x, float)[:, self.design.basis.kept]
        columns = np.column_stack([kept, self.y]) @ self._to_basis
        return BlockedPart(columns, self.terms, self.design.transforms, own)

    def clusters(self) -> Iterator[tuple[np.ndarray, ClusterPart]]:
        """Rows of all clusters of one size, (G, s), and their part."""
        cluster, n_clusters = self.cluster_numbers()
        size = np.bincount(cluster, minlength=n_clusters)
        by_levels = np.zeros(n_clusters, bool)
        self._check_memory(cluster, size, by_levels)
        yield from self._dense_clusters(
            cluster, size, self._layout(cluster, size), by_levels
        )

    def _cluster_parts(self) -> list[Part]:
        cluster, n_clusters = self.cluster_numbers()
        size = np.bincount(cluster, minlength=n_clusters)
        by_levels = self._are_by_levels(cluster, size)
        self._check_memory(cluster, size, by_levels)
        layout = self._layout(cluster, size)
        dense = self._dense_clusters(cluster, size, layout, by_levels)
        large = self._clusters_by_levels(cluster, layout, by_levels)
        return [*(part for _, part in dense), *large]

    def _layout(self, cluster, size):
        """Rows sorted by cluster, where each begins, and the place of a row in its own."""
        group, position = self._positions()
        order = np.lexsort((position, group, cluster))
        start = np.concatenate([[0], np.cumsum(size)])
        place = np.empty(len(order), np.intp)  # of a row in its cluster
        place[order] = np.arange(len(order)) - start[cluster[order]]
        return order, start, place

    def _dense_clusters(self, cluster, size, layout, by_levels):
        order, start, place = layout
        local = np.empty(len(size), np.intp)
        for s in np.unique(size[~by_levels]):
            inside = (size == s) & ~by_levels
            chosen = np.flatnonzero(inside)
            local[chosen] = np.arange(len(chosen))
            rows = order[start[chosen][:, None] + np.arange(s)]
            part = ClusterPart(
                self.columns[rows],
                [self._term(t, rows) for t in self.terms],
                list(self._groups(cluster, inside, local, place)),
            )
            yield rows, part

    def _clusters_by_levels(self, cluster, layout, by_levels):
        order, start, place = layout
        local = np.zeros(len(by_levels), np.intp)
        for numbers in self._joined(by_levels, cluster):
            rows = np.concatenate([order[start[n] : start[n + 1]] for n in numbers])
            place[rows] = np.arange(len(rows))
            inside = np.zeros(len(by_levels), bool)
            inside[numbers] = True
            groups = self._groups(cluster, inside, local, place)
            codes = [term.codes[rows] for term in self.terms]
            zs = [z[rows] for z in self._columns_of_z()]
            yield whitened_part(self.columns_at(rows), codes, zs, list(groups))

    def _joined(self, by_levels, cluster):
        """Clusters that are treated together by their levels: those with few columns."""
        chosen = np.flatnonzero(by_levels)
        if not len(chosen):
            return
        columns = self._levels_of_clusters(cluster, len(by_levels))
        own, width = list[int](), 0.0
        for number in chosen:
            if own and width + columns[number] > JOINED_COLUMNS:
                yield np.array(own)
                own, width = [], 0.0
            own.append(int(number))
            width += columns[number]
        yield np.array(own)

    def _are_by_levels(self, cluster, size):
        """Which clusters cost less by the levels of their terms than as dense matrices."""
        large = size >= LEAST_ROWS
        if not self.terms or not large.any():
            return np.zeros(len(size), bool)
        work = self._levels_of_clusters(cluster, len(size)) ** 3
        for batch in self.bound.batches:
            count = np.bincount(cluster[batch.rows[:, 0]], minlength=len(size))
            work += count * float(batch.size) ** 3
        return large & (work < SHARE_OF_DENSE * size.astype(float) ** 3)

    def _levels_of_clusters(self, cluster, n_clusters):
        """Columns of Z that have entries in each cluster, (n_clusters,)."""
        out = np.zeros(n_clusters)
        for term in self.terms:
            of_level = np.empty(term.n_levels, np.intp)
            of_level[term.codes] = cluster
            used = np.unique(term.codes)
            out += term.k * np.bincount(of_level[used], minlength=n_clusters)
        return out

    def _groups(self, cluster, chosen, local, place):
        """Residual groups within clusters of one size."""
        for batch in self.bound.batches:
            of_group = cluster[batch.rows[:, 0]]
            inside = chosen[of_group]
            for level, curve in enumerate(self.curves):
                here = np.flatnonzero(inside & (batch.level[batch.pattern] == level))
                if len(here):
                    yield GroupsInClusters.of(
                        curve,
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

    def cluster_numbers(self) -> tuple[np.ndarray, int]:
        """Cluster of every row, (n,), and their number: what groups and levels connect."""
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

    def _check_memory(self, cluster, size, by_levels):
        levels = np.zeros(len(size))
        if by_levels.any():
            levels = self._levels_of_clusters(cluster, len(size))
        order = np.where(by_levels, levels, size).astype(float)
        needed = 8 * float((order**2).sum()) * (WORKING_COPIES + self.n_psi)
        available = available_memory()
        if needed > available:
            largest = int(np.argmax(order))
            what = f"{int(size[largest])} rows"
            if by_levels[largest]:
                what += f", and a dense matrix of their {int(levels[largest])} effects"
            raise MemoryError(
                f"residual={self.bound.spec}: rows that residual groups and random terms "
                f"connect have a dense covariance; the largest such set has {what}, "
                f"all together need about {needed / 2**30:.3g} GiB, and "
                f"{available / 2**30:.3g} are available. Nest the residual groups in "
                "levels of one random factor, or keep variance= without residual="
            )


def _by_pattern(pattern, chosen):
    """Groups of the chosen patterns, sorted by these."""
    if chosen.all():
        # there are few patterns: numbers of two bytes are sorted by counting
        return np.argsort(pattern.astype(np.uint16), kind="stable")
    groups = np.flatnonzero(chosen[pattern])
    return groups[np.argsort(pattern[groups].astype(np.uint16), kind="stable")]
