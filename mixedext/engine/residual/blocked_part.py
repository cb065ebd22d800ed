"""All rows of a model whose residuals are independent, by the engine's blocked factor.

With Lambda diagonal the rows have weights 1 / Lambda_i, whatever the random effects: their
cross-products are summed again at new parameters, and factored as those of any mixed
model.  Derivatives of Lambda ask for the diagonal of V^-1 alone,

    [V^-1]_ii = w_i - w_i^2 z_i'Lam C Lam'z_i,    w_i = 1 / Lambda_i,

and e~'V_r V^-1 V_s e~ for one more solution by parameter.  Traces of second derivatives,
which information asks for and a search does without, are differences of such diagonals
(and of Z'V^-1 Z) along Lambda_r: tr V^-1 G_r V^-1 V_s = - d tr V(t)^-1 G_r / dt with
V(t) = V + t V_s.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Self

import numpy as np
from scipy import linalg, sparse

from mixedext.engine.factor.factor import Factor
from mixedext.engine.factor.row_forms import row_forms
from mixedext.engine.information.directions import direction_traces
from mixedext.engine.residual.parts import Moments, Part, PartProducts, Solved
from mixedext.engine.rows.basis import Bases, FixedBasis, Shifts
from mixedext.engine.rows.products import group_by_factor
from mixedext.engine.rows.reweighted import ReweightedBlocks
from mixedext.engine.rows.rows import Rows
from mixedext.engine.threads import blas_threads
from mixedext.specification.covariance.residual_curve import Places, ResidualCurve
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["BlockedPart", "IndependentRows"]

# Largest change of any Lambda_i, relative to it, in differences along Lambda_r; their
# nodes and weights are of order six, with an error of about 1e-11.
LARGEST_CHANGE = 0.03
NODES = (1, 45.0 / 60), (2, -9.0 / 60), (3, 1.0 / 60)


class IndependentRows:
    """Lambda_i of rows, and its derivatives.

    Parameters
    ----------
    curve : ResidualCurve
        Without correlation.
    places : Places
        Of the patterns, of one row each.
    pattern : ndarray
        Of every row, (n,).
    weights : ndarray or None
        Precision weights, (n,).
    """

    def __init__(
        self,
        curve: ResidualCurve,
        places: Places,
        pattern: np.ndarray,
        weights: np.ndarray | None,
    ):
        self.curve, self.places, self.pattern = curve, places, pattern
        self.weights = weights

    def _by_row(self, by_pattern):
        """Of rows from (..., c, 1, 1), over the weights."""
        out = by_pattern[..., self.pattern, 0, 0]
        return out if self.weights is None else out / self.weights

    def variances(self, psi: np.ndarray) -> np.ndarray:
        """Lambda_i, (n,)."""
        return self._by_row(self.curve.matrix(psi, self.places))

    def slopes(self, psi: np.ndarray) -> np.ndarray:
        """d Lambda_i / d psi, (n_psi, n)."""
        return self._by_row(self.curve.tangent(psi, self.places))

    def bend(self, psi: np.ndarray, score: np.ndarray) -> np.ndarray:
        """sum_i S_i d2 Lambda_i / d psi d psi'."""
        own = score if self.weights is None else score / self.weights
        count = self.places.shape[0]
        pooled = np.bincount(self.pattern, own, count)[:, None, None]
        return self.curve.bend(psi, self.places, pooled)

    def mean(self, psi: np.ndarray, scale: float, weight: np.ndarray) -> np.ndarray:
        """sum_rs W_rs d2 (scale Lambda_i) / d eta_r d eta_s over the scale, (n,)."""
        return self._by_row(self.curve.curve(psi, scale, self.places, weight)) / scale


class BlockedPart(Part):
    """All rows.

    Parameters
    ----------
    columns : ndarray
        [Q y], not weighted, (n, P).
    terms : sequence of RandomTerm
        Every random term.
    transforms : sequence of ndarray
        For each term T (k, k): its columns are the engine's times T.
    own : IndependentRows
        Lambda.
    """

    exact = False

    def __init__(
        self,
        columns: np.ndarray,
        terms: Sequence[RandomTerm],
        transforms: Sequence[np.ndarray],
        own: IndependentRows,
    ):
        self.columns, self.own = columns, own
        self.transforms = [np.asarray(t, float) for t in transforms]
        inverse = [linalg.inv(t) for t in self.transforms]
        rank = columns.shape[1] - 1
        bases = Bases(
            Shifts(np.zeros(rank + 1), 0.0, tuple(np.zeros(t.k) for t in terms)),
            FixedBasis(np.eye(rank), np.arange(rank), np.zeros((rank, 0))),
            np.eye(rank + 1),
            1.0,
            tuple(self.transforms),
            tuple(inverse),
        )
        ones = np.ones(len(columns))
        rows = Rows(columns[:, -1], columns[:, :-1], terms, ones)
        self.layouts = group_by_factor(terms)
        self.sums = ReweightedBlocks(rows, bases, self.layouts)
        self.place = {
            term: (number, at)
            for number, layout in enumerate(self.layouts)
            for term, at in zip(layout.terms, layout.slices, strict=True)
        }
        self._factor = Factor(self.sums.blocks)
        self._form: np.ndarray | None = None
        self.z = self._rows_of_z(terms, inverse)
        self.z_transposed = sparse.csr_array(self.z.T)

    def _rows_of_z(self, terms, inverse):
        """Z in the engine's units, (n, L K + m)."""
        blocks = self.sums.blocks
        n_levels, width = blocks.lead_gram.shape[:2]
        index, values = [], []
        for number, layout in enumerate(self.layouts):
            codes = terms[layout.terms[0]].codes.astype(np.intp)
            if number:
                at = n_levels * width + blocks.tail_columns(number - 1)[codes]
            else:
                at = codes[:, None] * width + np.arange(width)
            index.append(at)
            values += [np.asarray(terms[i].z, float) @ inverse[i] for i in layout.terms]
        columns, entries = np.hstack(index), np.hstack(values)
        n, count = columns.shape
        pointers = np.arange(n + 1) * count
        shape = n, n_levels * width + blocks.tail_size
        out = sparse.csr_array((entries.ravel(), columns.ravel(), pointers), shape=shape)
        out.sort_indices()
        return out

    # ---- evaluation ----

    def apart(self) -> Self:
        out = super().apart()
        out.sums = deepcopy(self.sums)
        out._factor = Factor(out.sums.blocks)
        return out

    def factor(
        self, covariances: Sequence[np.ndarray], psi: np.ndarray, cross: np.ndarray
    ) -> float:
        variances = self.own.variances(psi)
        known = all(np.isfinite(sigma).all() for sigma in covariances)
        if not (known and np.isfinite(variances).all() and (variances > 0).all()):
            return np.inf
        precision = 1 / variances
        if not np.isfinite(precision).all():
            return np.inf
        self.sums.weigh(precision)
        self.precision, self._form = precision, None
        self.lams = self._factor_lams(covariances)
        if not self._factor.update(self.lams):
            return np.inf
        cross += self._factor.fixed @ self._factor.fixed.T
        if self.own.weights is not None:
            variances = variances * self.own.weights
        return self._factor.log_det + float(np.log(variances).sum())

    def _factor_lams(self, covariances):
        roots = []
        for t, sigma in zip(self.transforms, covariances, strict=True):
            value, vector = np.linalg.eigh(t @ sigma @ t.T)
            roots.append(vector * np.sqrt(np.maximum(value, 0.0)))
        return [linalg.block_diag(*[roots[i] for i in f.terms]) for f in self.layouts]

    def _firm(self):
        """The factor with small variances floored, where derivatives ask for that."""
        if self._factor.singular_tail:
            self._factor.update(self.lams, floor=True)
        return self._factor

    def _split(self, columns):
        """(L K + m, R) as (lead, tail)."""
        n_levels, width = self.sums.blocks.lead_gram.shape[:2]
        head = n_levels * width
        return columns[:head].reshape(n_levels, width, -1), columns[head:]

    def _joined(self, lead, tail):
        return np.concatenate([lead.reshape(-1, tail.shape[1]), tail])

    def _solved(self, solved):
        """X~ and e~ by row, and Z'[X~ e~] as (lead, tail)."""
        factor = self._firm()
        response = factor.response
        effect = self._joined(*response.effect) @ solved.change
        rest = self.columns @ solved.change - self.z @ effect
        rest *= self.precision[:, None]
        own = [part @ solved.change for part in response.response]
        return rest[:, :-1], rest[:, -1], own

    def _solve(self, vectors):
        """V^-1 times (n_rows, R)."""
        weighted = self.precision[:, None] * vectors
        effect = self._firm().respond(*self._split(self.z_transposed @ weighted)).effect
        return weighted - self.precision[:, None] * (self.z @ self._joined(*effect))

    def _by_term(self, number, parts):
        """Rows of one term out of (lead, tail), in the data's units, (L, k, R)."""
        factor, at = self.place[number]
        own = self.sums.blocks.by_level(factor, *parts)[:, at]
        return self.transforms[number].T @ own

    def _placed(self, number, values):
        """(L, k, R) of one term, in the data's units, among all effects."""
        blocks = self.sums.blocks
        factor, at = self.place[number]
        n_levels, width = blocks.lead_gram.shape[:2]
        count = values.shape[2]
        lead, tail = np.zeros((n_levels, width, count)), np.zeros((blocks.tail_size, count))
        own = self.transforms[number] @ values
        if factor:
            tail[blocks.tail_columns(factor - 1)[:, at]] = own
        else:
            lead[:, at] = own
        return self._joined(lead, tail)

    def _moved(self, directions, psi, vectors, products):
        """V_r times (n, R) for all parameters, (n_par, n, R)."""
        out = []
        for number, sigmas in enumerate(directions):
            if not len(sigmas):
                continue
            own = self._by_term(number, products)
            out += [self.z @ self._placed(number, sigma @ own) for sigma in sigmas]
        slopes = self.own.slopes(psi)
        return np.array([*out, *(slope[:, None] * vectors for slope in slopes)])

    def _inverse_diagonal(self):
        """Diagonal of V^-1, (n,)."""
        if self._form is None:
            factor = self._firm()
            if factor.tail.size and not factor.tail.inverted:
                _ = factor.curvature
            self._form = row_forms(factor, self.z)
        return self.precision - self.precision**2 * self._form

    def _curvatures(self):
        """sum_l Z_l'V^-1 Z_l of every term, data's units."""
        curvature, out = self._firm().curvature, []
        for number, t in enumerate(self.transforms):
            factor, at = self.place[number]
            out.append(t.T @ curvature[factor][at, at] @ t)
        return out

    def add_moments(
        self, tangents: Sequence[np.ndarray], psi: np.ndarray, solved: Solved, into: Moments
    ) -> list[np.ndarray]:
        with blas_threads():
            scores = self._curvatures()
            x, e, products = self._solved(solved)
            first = sum(map(len, tangents))
            if len(psi):
                score = self._inverse_diagonal() - solved.kappa * e**2
                if solved.reml:
                    score -= np.einsum("ip,ip->i", x, x)
                into.gradient[first:] += self.own.slopes(psi) @ score
                into.bend[first:, first:] += self.own.bend(psi, score)
            on_e = [part[..., -1:] for part in products]
            moved = self._moved(tangents, psi, e[:, None], on_e)[..., 0]
            into.residual += moved @ e
            into.quadratic += moved @ self._solve(moved.T)
            into.on_fixed += moved @ x
            for number, score in enumerate(scores):
                own = self._by_term(number, products)
                score -= solved.kappa * own[..., -1].T @ own[..., -1]
                if solved.reml:
                    on_x = own[..., :-1].transpose(1, 0, 2).reshape(len(score), -1)
                    score -= on_x @ on_x.T
        return scores

    # ---- traces ----

    def _traces_along(self, directions, others, change):
        """tr V^-1 G_r V^-1 diag(change) for directions and diagonals ``others``, (n,)."""
        size = LARGEST_CHANGE / 3 / np.abs(change * self.precision).max()
        kept, total = self.precision, 0.0
        for node, weight in NODES:
            for sign in (1, -1):
                self._stand(1 / (1 / kept + sign * node * size * change))
                total = total - sign * weight / size * self._singles(directions, others)
        self._stand(kept)
        return total

    def _stand(self, precision):
        self.sums.weigh(precision)
        self.precision, self._form = precision, None
        self._factor.update(self.lams)

    def _singles(self, directions, others):
        """tr V^-1 G_r for directions, and diagonals, (n,)."""
        out = [
            np.tensordot(own, curvature, 2)
            for own, curvature in zip(directions, self._curvatures(), strict=True)
        ]
        return np.concatenate([*out, others @ self._inverse_diagonal()])

    def _traces_of_terms(self, directions):
        """tr V^-1 G_r V^-1 G_s of the directions of all terms."""
        ends = np.cumsum([0, *map(len, directions)])
        numbers, bases = [], []
        for layout in self.layouts:
            found = [np.zeros((0, layout.width, layout.width))]
            own = [np.zeros(0, int)]
            for term, at in zip(layout.terms, layout.slices, strict=True):
                t = self.transforms[term]
                whole = np.zeros((len(directions[term]), layout.width, layout.width))
                whole[:, at, at] = t @ directions[term] @ t.T
                found.append(whole)
                own.append(np.arange(ends[term], ends[term + 1]))
            numbers.append(np.concatenate(own))
            bases.append(np.concatenate(found))
        return direction_traces(self._firm(), numbers, bases)

    # ---- information ----

    def add_products(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        into: PartProducts,
    ) -> None:
        with blas_threads():
            x, e, products = self._solved(solved)
            both = np.column_stack([x, e])
            moved = self._moved(directions, psi, both, products)
            n, _, width = moved.shape
            into.first += both.T @ moved
            # of one parameter at a time: n times as many vectors of length n are too many
            for s in range(n):
                seen = self._solve(moved[s])
                into.residual[:, s] += moved[..., -1] @ seen[:, -1]
                if width > 1:
                    flat = moved[..., :-1].reshape(n, -1)
                    into.second_traces[:, s] += flat @ seen[:, :-1].ravel()
            slopes = self.own.slopes(psi)
            first = n - len(psi)
            into.single += self._singles(directions, slopes)
            if first:
                into.traces[:first, :first] += self._traces_of_terms(directions)
            for number, slope in enumerate(slopes, first):
                found = self._traces_along(directions, slopes, slope)
                into.traces[number, :first] += found[:first]
                into.traces[: len(found), number] += found
            square = into.traces[first:, first:]
            into.traces[first:, first:] = (square + square.T) / 2

    def weighted_second(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        weight: np.ndarray,
    ) -> np.ndarray:
        x, _, products = self._solved(solved)
        on_x = [part[..., :-1] for part in products]
        moved = self._moved(directions, psi, x, on_x)
        out = np.zeros((x.shape[1],) * 2)
        for own, weights in zip(moved, weight, strict=True):
            out += self._solve(own).T @ np.tensordot(weights, moved, 1)
        return out.T

    def curved(
        self,
        directions: Sequence[np.ndarray],
        psi: np.ndarray,
        solved: Solved,
        scale: float,
        weight: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        x, _, products = self._solved(solved)
        at = self.own.curve.natural_at
        mean = self.own.mean(psi, scale, weight[np.ix_(at, at)])
        slopes = self.own.slopes(psi)
        single = float(mean @ self._inverse_diagonal())
        traces = np.zeros(sum(map(len, directions)) + len(slopes))
        if mean.any():
            traces = self._traces_along(directions, slopes, mean)
        seen = mean[:, None] * x
        if solved.reml and x.shape[1]:
            on_x = self._moved(directions, psi, x, [part[..., :-1] for part in products])
            traces -= 2 * np.einsum("rip,ip->r", on_x, self._solve(seen))
        return x.T @ seen, traces, single
