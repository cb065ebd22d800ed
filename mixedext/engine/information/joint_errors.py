"""Errors of predictions x'b + z'u from the estimates of b and u jointly.

With V = sigma^2 (I + Z Lam Lam'Z') the errors of (b, u) have the covariance sigma^2 J,
J = ([X Z Lam]'[X Z Lam] + diag(0, I))^-1 (Henderson 1975), and k = (x, Lam'z) the variance
sigma^2 m, m = k'J k.  In coordinates of the coefficients in which X'V0^-1 X = I, with
T = Z'V0^-1 X and N = Z'Z there,

    s = x - T'Sigma z,    m = z'Lam C Lam'z + s's,    d = (I + N Sigma)^-1 z - T s.

d is z less Z' times the weights of the rows in the predictor, so that (envelope theorem)

    dm / d gamma_r = d'B_r d,    B_r = I kron E_r,    Sigma = sum gamma_r E_r
    -1/2 d2m / d gamma_r d gamma_s = (B_r d)'Z'P Z (B_s d) = S_rs.

The last direction of the variance parameters is V0 itself, as in
engine.information.expected: m is linear along it, so that dm = m there and S = 0.  For
z = 0 all this is Kenward and Roger's; for random effects m + 2 sum W_rs S_rs is the
g1 + g2 + 2 g3 of Prasad and Rao (1990) and Harville and Jeske (1992).  Where Sigma is a
curve of its natural parameters S is less by a quarter of dm along Vbar
(engine.information.curvature), as in Kenward and Roger (2009), or of s's alone, as in
Kenward and Roger (1997).

Everything is relative to sigma^2, and z in the engine's units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse

from mixedext.engine.factor.factor import Factor
from mixedext.engine.fit import Fit
from mixedext.engine.information.curvature import natural_bends
from mixedext.engine.information.expected import variance_information
from mixedext.kernels.rows import row_errors

__all__ = [
    "JointErrors",
    "RandomRows",
    "RowErrors",
    "bend_on_fixed",
    "joint_errors",
    "random_rows",
]

# Numbers that solutions for some rows hold at most; rows of one factor done at once.
MOST_NUMBERS, SOME_ROWS = 2**22, 2**14


@dataclass(frozen=True, eq=False)
class RandomRows:
    """Rows of Z in the engine's units and order of columns.

    Attributes
    ----------
    known : csr_array or None
        Values at the effects of the fit, the leading factor's before the tail's,
        (n, L K + m); None where each row has one level of one factor:
    level, values : ndarray or None
        then that level, (n,), and the values at its K columns, (n, K).
    new : tuple of ndarray
        For each term the values (n, k) of rows whose level the fit had not, zero elsewhere;
        None where there are none.
    """

    known: sparse.csr_array | None
    level: np.ndarray | None
    values: np.ndarray | None
    new: tuple[np.ndarray | None, ...]


@dataclass(frozen=True, eq=False)
class RowErrors:
    """Errors of the predictions of some rows, relative to sigma^2.

    Attributes
    ----------
    variance : ndarray
        m, (n,).
    slope : ndarray or None
        Derivatives of m by the variance parameters, V0 last, (n, n_gamma + 1).
    rise : ndarray or None
        sum W_rs S_rs, (n,): half of what errors of the variance parameters add to m.
    """

    variance: np.ndarray
    slope: np.ndarray | None = None
    rise: np.ndarray | None = None


def random_rows(
    fit: Fit, terms: Sequence[tuple[np.ndarray, Any, np.ndarray | None]]
) -> RandomRows:
    """Rows of Z as the engine has them.

    Parameters
    ----------
    fit : Fit
        The fit.
    terms : sequence of tuple
        For each term the level of every row (n,), negative for one that the fit had not;
        the term's columns in the units of the data, (n, k); and None.  Of a term whose
        rows belong to several levels the values at all of its effects, (n, L k) sparse,
        and the sum of squares of values at others, (n,).
    """
    design = fit.design
    n = len(terms[0][0]) if terms else 0
    inner, new = [], []
    for i, (code, z, square) in enumerate(terms):
        inverse = design.inverse_transforms[i]
        if square is not None:
            inner.append(sparse.coo_array(z) * inverse[0, 0])
            none = not square.any()
            new.append(None if none else np.sqrt(square)[:, None] * inverse[0, 0])
            continue
        scalar = i in design.scalar_terms or design.rotation is not None
        own = z * inverse[0, 0] if scalar else z @ inverse
        known = code >= 0
        new.append(None if known.all() else np.where(known[:, None], 0.0, own))
        inner.append(own)
    one = len(design.blocks.factors) == 1 and design.rotation is None
    if one and all(square is None for _, _, square in terms):
        width = design.blocks.lead_gram.shape[1]
        level, values = np.zeros(n, np.intp), np.zeros((n, width))
        for i, (code, _, _) in enumerate(terms):
            _, at = fit.objective.place[i]
            known = code >= 0
            if known.all():
                level, values[:, at] = code.astype(np.intp), inner[i]
            else:
                level[known], values[known, at] = code[known], inner[i][known]
        return RandomRows(None, level, values, tuple(new))
    return RandomRows(_sparse_rows(fit, terms, inner, n), None, None, tuple(new))


def _sparse_rows(fit, terms, inner, n):
    """The rows at the effects of all factors, (n, L K + m)."""
    design = fit.design
    blocks = design.blocks
    head = blocks.lead_gram.shape[0] * blocks.lead_gram.shape[1]
    shape = n, head + blocks.tail_size
    if not terms:
        return sparse.csr_array(shape)
    rows, columns, entries = [], [], []
    for i, (code, _, square) in enumerate(terms):
        if square is None:
            own, k = np.flatnonzero(code >= 0), inner[i].shape[1]
            row = np.repeat(own, k)
            effect = (code[own, None].astype(np.intp) * k + np.arange(k)).ravel()
            value = inner[i][own].ravel()
        else:
            row, effect = inner[i].coords
            value = inner[i].data
        column: np.ndarray
        if design.rotation is not None:
            wide = sparse.csr_array(
                (value, (row, effect)), shape=(n, design.rotation.n_columns)
            )
            found = sparse.coo_array(_rotated(design.rotation, wide))
            (row, column), value = found.coords, found.data
        else:
            column = _column_of_effects(fit, i)[effect]
        rows.append(row)
        columns.append(column)
        entries.append(value)
    at = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_array((np.concatenate(entries), at), shape=shape)


def _column_of_effects(fit, number):
    """Column in the engine's order of every effect of a term, (L k,)."""
    blocks = fit.design.blocks
    factor, at = fit.objective.place[number]
    width = blocks.lead_gram.shape[1]
    if factor == 0:
        start = np.arange(blocks.factors[0].n_levels)[:, None] * width
        return (start + np.arange(at.start, at.stop)).ravel()
    head = blocks.lead_gram.shape[0] * width
    return (blocks.tail_columns(factor - 1)[:, at] + head).ravel()


def _rotated(rotation, wide):
    """Values at the eigenvectors' levels, (n, L R), of rows (n, L K)."""
    n_levels = len(rotation.vectors)
    if n_levels == 1:
        return wide @ rotation.vectors[0]
    turn = sparse.block_diag(list(rotation.vectors), format="csr")
    return wide @ turn


class JointErrors:
    """Prediction errors of one fit; see the head of the module.

    Parameters
    ----------
    fit : Fit
        The fit.

    Attributes
    ----------
    root : ndarray
        Coefficients kept are ``root`` times those of the coordinates above, (rank, rank).
    """

    def __init__(self, fit: Fit):
        self.objective, self.design, self.root = fit.objective, fit.design, fit.root
        self._theta, self.fit = fit.optimum.theta, fit
        self._bends: list[np.ndarray | None] = []
        self._of_all = False
        self.blocks = fit.design.blocks

    @cached_property
    def factor(self) -> Factor:
        """The factor of the random effects, at the fit."""
        return self.objective.factor_at(self._theta)

    @cached_property
    def whitened(self) -> tuple[np.ndarray, np.ndarray]:
        """T = Z'V0^-1 X, and Sigma T, as (L K + m, rank)."""
        rank = self.objective.rank
        turn = self.objective.solve_fixed(np.eye(rank)).T
        found = self.factor.response
        return tuple(
            np.concatenate(
                [p[..., :rank].reshape(math.prod(p.shape[:-1]), rank) for p in parts]
            )
            @ turn
            for parts in (found.response, found.effect)
        )

    @property
    def _head(self):
        return self.blocks.lead_gram.shape[0] * self.blocks.lead_gram.shape[1]

    def errors(
        self,
        x: np.ndarray,
        random: RandomRows | None = None,
        slope: bool = False,
        weight: np.ndarray | None = None,
        curved: str = "",
    ) -> RowErrors:
        """Errors of rows.

        Parameters
        ----------
        x : ndarray
            Columns kept of the fixed effects, (n, rank).
        random : RandomRows, optional
            Rows of Z; of the fixed effects alone if None.
        slope : bool, optional
            Whether derivatives are wanted.
        weight : ndarray, optional
            W, (n_gamma + 1, n_gamma + 1), V0 last, if the rise is wanted.
        curved : {"", "coefficients", "all"}, optional
            Of what second derivatives in natural parameters are taken off: s's, or all.

        Raises
        ------
        NotImplementedError
            If derivatives of rows with random effects are wanted of a fit with a residual
            covariance.
        """
        parts = []
        slope = slope or weight is not None
        if slope and random is not None and self.fit.residual is not None:
            # the kernels take derivatives by elements of random terms' covariances alone
            raise NotImplementedError(
                "degrees of freedom of predictions with random effects are not there "
                "beside a residual covariance; use df_method='z' or 'residual'"
            )
        self._bends = []
        if weight is not None:
            if curved:
                self._bends = natural_bends(self.fit, weight)
            self._of_all = curved == "all"
            weight = np.ascontiguousarray(weight[:-1, :-1])
        if random is not None and random.known is None and self.design.is_curved:
            random = replace(random, known=self.known_of(random, len(x)), level=None)
        for at in self._pieces(len(x), random, slope, weight):
            own = np.ascontiguousarray(x[at] @ self.root)
            if random is None:
                parts.append(self._of_fixed(own, slope, weight))
                continue
            by_level = random.level is not None and not self.design.is_curved
            of = self._of_levels if by_level else self._of_solutions
            parts.append(of(own, random, at, slope, weight))
        joined = [
            None if parts[0][j] is None else np.concatenate([p[j] for p in parts])
            for j in range(3)
        ]
        variance, slopes, rise = joined
        assert variance is not None
        return RowErrors(variance, slopes, rise)

    def known_of(self, random: RandomRows, n: int) -> sparse.csr_array:
        """Values of n rows at the effects of the fit, (n, L K + m), where one has them."""
        if random.known is not None:
            return random.known
        size = self._head + self.blocks.tail_size
        if random.level is None or random.values is None:
            return sparse.csr_array((n, size))
        k = random.values.shape[1]
        columns = (random.level[:, None] * k + np.arange(k)).ravel()
        at = np.repeat(np.arange(n), k), columns
        found = sparse.csr_array((random.values.ravel(), at), shape=(n, size))
        found.eliminate_zeros()
        return found

    def covariance(self, x: np.ndarray, known: sparse.csr_array | None) -> np.ndarray:
        """Covariance of the errors of a few rows, relative to sigma^2, (n, n).

        Parameters
        ----------
        x : ndarray
            Columns kept of the fixed effects, (n, rank).
        known : csr_array or None
            Values at the effects of the fit, (n, L K + m).
        """
        s = x @ self.root
        if known is None:
            return s @ s.T
        z, head = known.toarray().T, self._head
        s = s - z.T @ self.whitened[1]
        shape = *self.blocks.lead_gram.shape[:2], len(x)
        lead, tail = self.factor.respond(
            np.ascontiguousarray(z[:head]).reshape(shape), np.ascontiguousarray(z[head:])
        ).effect
        effect = np.concatenate([lead.reshape(head, len(x)), tail])
        return z.T @ effect + s @ s.T

    def given_fixed(self, random: RandomRows, n: int) -> np.ndarray:
        """Variances of z'u given the coefficients, relative to sigma^2, (n,).

        Parameters
        ----------
        random : RandomRows
            Rows of Z, of levels that the fit had.
        n : int
            Number of rows.
        """
        known, head = self.known_of(random, n), self._head
        shape, out = self.blocks.lead_gram.shape[:2], []
        step = max(1, MOST_NUMBERS // (2 * max(known.shape[1], 1)))
        for start in range(0, n, step):
            z = known[start : start + step].toarray().T
            found = self.factor.respond(
                np.ascontiguousarray(z[:head]).reshape(*shape, z.shape[1]),
                np.ascontiguousarray(z[head:]),
            )
            out.append(found.square)
        return np.concatenate(out)

    def _pieces(self, n, random, slope, weight) -> Iterator[slice]:
        step = SOME_ROWS
        if random is not None and random.known is not None:
            count = 2 + slope + (0 if weight is None else 2 * self.n_gamma)
            step = max(1, MOST_NUMBERS // (max(random.known.shape[1], 1) * count))
        for start in range(0, max(n, 1), step):
            yield slice(start, start + step)

    @cached_property
    def n_gamma(self) -> int:
        """Elements of the covariance matrices of all terms."""
        return sum(s.n_gamma for s in self.design.structures)

    @property
    def _information(self):
        return variance_information(self.fit)

    def _second(self, weight):
        """sum W_rs T'B_r N B_s T, (rank, rank)."""
        second = self._information.second_on_fixed[:-1, :-1]
        return np.einsum("rs,rsij->ij", weight, second)

    def _of_fixed(self, s, slope, weight):
        m = np.einsum("ni,ni->n", s, s)
        if not slope:
            return m, None, None
        images = [s @ own for own in self._information.on_fixed[:-1]]
        g = np.empty((len(s), len(images) + 1))
        for r, image in enumerate(images):
            g[:, r] = np.einsum("ni,ni->n", image, s)
        g[:, -1] = m
        if weight is None:
            return m, g, None
        rise = np.einsum("ni,ni->n", s @ self._second(weight), s)
        stacked = np.stack(images) if images else np.zeros((0, *s.shape))
        rise -= np.einsum("rni,rni->n", np.tensordot(weight, stacked, 1), stacked)
        return m, g, rise - self._bent_fixed(s)

    def _bent_fixed(self, s):
        """A quarter of s's along Vbar, (n,)."""
        bend = bend_on_fixed(self.fit, self._bends)
        return np.einsum("ni,ij,nj->n", s, bend, s) / 4

    def _of_levels(self, x, random, at, slope, weight):
        """One factor: all sums over other levels are those of the fixed effects alone."""
        factor = self.factor
        level = np.ascontiguousarray(random.level[at])
        z = np.ascontiguousarray(random.values[at])
        n, k = z.shape
        t, effect = (w.reshape(len(w) // k, k, w.shape[1]) for w in self.whitened)
        within, square, cross = np.empty((3, n))
        row_errors.level_errors(
            level, z, x, factor.half, effect, within=within, square=square, cross=cross
        )
        m = within + square
        g = rise = None
        if slope:
            count = self.n_gamma
            g, inner = np.empty((n, count + 1)), np.empty((n, count))
            rise = None if weight is None else np.empty(n)
            none = np.zeros((0, 0))
            row_errors.level_slopes(
                level,
                z,
                x,
                effect=effect,
                response=t,
                shrunk=factor._shrinkage[0],
                gram=factor.blocks.lead_gram,
                first=np.ascontiguousarray(self._information.on_fixed[:-1]),
                elements=self._elements,
                weight=none if weight is None else np.ascontiguousarray(weight),
                second=none if weight is None else self._second(weight),
                slope=inner,
                rise=np.empty(0) if rise is None else rise,
            )
            g[:, :-1], g[:, -1] = inner, m
        return self._with_new(m, g, rise, random, at)

    @cached_property
    def _elements(self):
        """r, a, b and value of the elements of E_r over the leading factor's columns."""
        found: list[list[np.ndarray]] = [[], [], [], []]
        for i, structure in enumerate(self.design.structures):
            _, at = self.objective.place[i]
            r, a, b = np.nonzero(structure.covariance_basis)
            found[0].append(r + self.objective.gamma_slices[i].start)
            found[1].append(a + at.start)
            found[2].append(b + at.start)
            found[3].append(structure.covariance_basis[r, a, b])
        parts = [np.concatenate(f) for f in found]
        return (
            *(np.ascontiguousarray(p, np.intp) for p in parts[:3]),
            np.ascontiguousarray(parts[3], float),
        )

    def _of_solutions(self, own, random, at, slope, weight):
        """Several factors: the factor's equations are solved for each row."""
        factor, head = self.factor, self._head
        shape = self.blocks.lead_gram.shape[:2]
        z = random.known[at].toarray().T
        n = z.shape[1]
        t, effect = self.whitened
        s = own - z.T @ effect
        found = factor.respond(
            np.ascontiguousarray(z[:head]).reshape(*shape, n),
            np.ascontiguousarray(z[head:]),
        )
        m = found.square + np.einsum("np,np->n", s, s)
        if not slope:
            return self._with_new(m, None, None, random, at)
        lead, tail = found.response
        lead = lead - (t[:head] @ s.T).reshape(lead.shape)
        tail = tail - t[head:] @ s.T
        g = np.empty((n, self.n_gamma + 1))
        g[:, -1] = m
        by_term = []
        for i, structure in enumerate(self.design.structures):
            d = self.objective.by_term(i, lead, tail)
            by_term.append(d)
            square = np.einsum("lan,lbn->nab", d, d)
            g[:, self.objective.gamma_slices[i]] = np.einsum(
                "nab,rab->nr", square, structure.covariance_basis
            )
        rise = None if weight is None else self._rise(by_term, weight, n)
        if rise is not None and not self._of_all:
            rise -= self._bent_fixed(s)
        for d, bend in zip(by_term, self._bends, strict=False):
            if bend is not None and rise is not None and self._of_all:
                rise -= np.einsum("lan,ab,lbn->n", d, bend, d) / 4
        return self._with_new(m, g, rise, random, at)

    def _rise(self, by_term, weight, n):
        """sum W_rs S_rs from d of every term, (L, k, n)."""
        head, count = self._head, self.n_gamma
        shape = self.blocks.lead_gram.shape[:2]
        lead = np.zeros((*shape, count, n))
        tail = np.zeros((self.blocks.tail_size, count, n))
        for i, structure in enumerate(self.design.structures):
            number, columns = self.objective.place[i]
            w = np.einsum("rab,lbn->larn", structure.covariance_basis, by_term[i])
            slots = self.objective.gamma_slices[i]
            if number == 0:
                lead[:, columns, slots] = w
            else:
                tail[self.blocks.tail_columns(number - 1)[:, columns], slots] = w
        lead, tail = lead.reshape(*shape, count * n), tail.reshape(len(tail), count * n)
        s = self.factor.project_each(lead, tail, n)
        t = self.whitened[0]
        on_x = t[:head].T @ lead.reshape(head, count * n) + t[head:].T @ tail
        on_x = on_x.reshape(-1, count, n)
        s -= np.einsum("prn,pqn->nrq", on_x, on_x)
        return np.einsum("nrq,rq->n", s, weight)

    def _with_new(self, m, g, c, random, at):
        """Add z'Sigma z of levels that the fit had not; their errors are independent."""
        if all(own is None for own in random.new):
            return m, g, c
        new = tuple(None if own is None else own[at] for own in random.new)
        variance, slope = self.prior(new, len(m))
        for z, bend in zip(new, self._bends, strict=False):
            if z is not None and bend is not None and c is not None and self._of_all:
                c = c - np.einsum("na,ab,nb->n", z, bend, z) / 4
        return m + variance, None if g is None else g + slope, c

    def prior(
        self, values: tuple[np.ndarray | None, ...], n: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """z'Sigma z of effects of which nothing is known, and its derivatives.

        Parameters
        ----------
        values : tuple of ndarray or None
            For each term its values (n, k) in the engine's units, or None.
        n : int
            Number of rows.

        Returns
        -------
        variance, slope : ndarray
            (n,), and (n, n_gamma + 1) by the variance parameters, V0 last.
        """
        lams = self.design.lams(self._theta)
        variance, slope = np.zeros(n), np.zeros((n, self.n_gamma + 1))
        for i, (z, structure) in enumerate(
            zip(values, self.design.structures, strict=True)
        ):
            if z is None:
                continue
            slots = self.objective.gamma_slices[i]
            if z.shape[1] == len(lams[i]):
                variance += ((z @ lams[i]) ** 2).sum(axis=1)
                slope[:, slots] = np.einsum(
                    "na,rab,nb->nr", z, structure.covariance_basis, z
                )
            else:  # columns that the engine has made levels share one variance
                square = (z**2).sum(axis=1)
                variance += lams[i][0, 0] ** 2 * square
                slope[:, slots] = square[:, None]
        slope[:, -1] = variance
        return variance, slope


def bend_on_fixed(fit: Fit, bends: Sequence[np.ndarray | None]) -> np.ndarray:
    """X'V0^-1 Z Vbar Z'V0^-1 X, X'V0^-1 X = I: sum of W_rs R_rs of Kenward and Roger.

    Parameters
    ----------
    fit : Fit
        A fitted model.
    bends : sequence of ndarray or None
        Vbar of every term, of ``natural_bends``.

    Returns
    -------
    ndarray
        (rank, rank)
    """
    rank = fit.objective.rank
    out = np.zeros((rank, rank))
    if all(bend is None for bend in bends):
        return out
    errors = joint_errors(fit)
    whitened, head = errors.whitened[0], errors._head
    lead = whitened[:head].reshape(*errors.blocks.lead_gram.shape[:2], rank)
    for i, bend in enumerate(bends):
        if bend is not None:
            t = fit.objective.by_term(i, lead, whitened[head:])
            out += np.einsum("lai,ab,lbj->ij", t, bend, t)
    return out


_KNOWN: WeakKeyDictionary[Fit, JointErrors] = WeakKeyDictionary()


def joint_errors(fit: Fit) -> JointErrors:
    """The prediction errors of a fit; kept as long as the fit is."""
    if fit not in _KNOWN:
        _KNOWN[fit] = JointErrors(fit)
    return _KNOWN[fit]
