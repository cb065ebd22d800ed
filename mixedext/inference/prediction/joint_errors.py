"""Errors of predictions x'b + z'u from estimates of coefficients and random effects jointly.

With V = sigma^2 (I + Z Lam Lam'Z') the errors of (b, u) have the covariance sigma^2 J,
J = ([X Z Lam]'[X Z Lam] + diag(0, I))^-1 (Henderson 1975), and k = (x, Lam'z) the variance
sigma^2 m, m = k'J k.  In coordinates of the coefficients in which X'V0^-1 X = I, with
T = Z'V0^-1 X and N = Z'Z there,

    e = Lam C Lam'z,    s = x - T'Sigma z,    m = z'e + s's,    d = (I + N Sigma)^-1 z - T s.

d is z less Z' times the weights of the rows in the predictor, so that (envelope theorem)

    dm / d gamma_r = d'B_r d,    B_r = I kron E_r,    Sigma = sum gamma_r E_r
    -1/2 d2m / d gamma_r d gamma_s = (B_r d)'Z'P Z (B_s d) = S_rs.

The last direction of the variance parameters is V0 itself, as in
engine.information.expected: m is linear along it, so that dm = m there and S = 0.  For
z = 0 all this is Kenward and Roger's; for random effects m + 2 sum W_rs S_rs is the
g1 + g2 + 2 g3 of Prasad and Rao (1990) and Harville and Jeske (1992).

Everything is relative to sigma^2, and z in the engine's units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse

from mixedext.engine.factor.factor import Factor
from mixedext.engine.fit import Fit
from mixedext.engine.information.expected import variance_information

__all__ = ["JointErrors", "RandomRows", "RowErrors", "joint_errors", "random_rows"]

# Numbers that solutions for some rows hold at most; rows of one factor that are done at once.
MOST_NUMBERS, SOME_ROWS = 2**22, 2**14


@dataclass(frozen=True, eq=False)
class RandomRows:
    """Rows of Z in the engine's units and order of columns.

    Attributes
    ----------
    known : csr_array
        Values at the effects of the fit, the leading factor's before the tail's,
        (n, L K + m).
    new : tuple of ndarray
        For each term the values (n, k) of rows whose level the fit had not, zero elsewhere;
        None where there are none.
    """

    known: sparse.csr_array
    new: tuple[np.ndarray | None, ...]

    def __len__(self) -> int:
        return int(self.known.shape[0])


@dataclass(frozen=True, eq=False)
class RowErrors:
    """Errors of the predictions of some rows, relative to sigma^2.

    Attributes
    ----------
    variance : ndarray
        m, (n,).
    slope : ndarray or None
        Derivatives of m by the variance parameters, V0 last, (n, n_gamma + 1).
    curvature : ndarray or None
        S, (n, n_gamma, n_gamma).
    """

    variance: np.ndarray
    slope: np.ndarray | None = None
    curvature: np.ndarray | None = None


def random_rows(
    fit: Fit, codes: list[np.ndarray], values: list[np.ndarray]
) -> RandomRows:
    """Rows of Z as the engine has them.

    Parameters
    ----------
    fit : Fit
        The fit.
    codes : list of ndarray
        For each term the level of every row, (n,); -1 for one that the fit had not.
    values : list of ndarray
        Columns of each term in the units of the data, (n, k).
    """
    design, objective = fit.design, fit.objective
    blocks = design.blocks
    n, width = len(codes[0]) if codes else 0, blocks.lead_gram.shape[1]
    head = blocks.lead_gram.shape[0] * width
    shape = n, head + blocks.tail_size
    rows, columns, entries = [], [], []
    new: list[np.ndarray | None] = []
    for i, (code, z) in enumerate(zip(codes, values, strict=True)):
        number, at = objective.place[i]
        scalar = i in design.scalar_terms or design.rotation is not None
        inverse = design.inverse_transforms[i]
        inner = z * inverse[0, 0] if scalar else z @ inverse
        known = code >= 0
        new.append(None if known.all() else np.where(known[:, None], 0.0, inner))
        own = np.flatnonzero(known)
        if design.rotation is not None:
            part = _rotated(design.rotation, code[own], inner[own])
            row, column, value = own[part.coords[0]], part.coords[1], part.data
        else:
            k = inner.shape[1]
            if scalar:
                place = code[own, None] * k + np.arange(k)
                column = blocks.tail_columns(number - 1)[place, 0] + head
            elif number == 0:
                column = code[own, None] * width + np.arange(at.start, at.stop)
            else:
                column = blocks.tail_columns(number - 1)[code[own], at] + head
            row, value = np.repeat(own, k), inner[own].ravel()
            column = column.ravel()
        rows.append(row)
        columns.append(column)
        entries.append(value)
    if not rows:
        return RandomRows(sparse.csr_array(shape), ())
    at_rows = np.concatenate(rows), np.concatenate(columns)
    known_part = sparse.csr_array((np.concatenate(entries), at_rows), shape=shape)
    return RandomRows(known_part, tuple(new))


def _rotated(rotation, code, z):
    """Values at the eigenvectors' levels, (n, L R)."""
    n_levels, k, r = rotation.vectors.shape
    if n_levels == 1 and z.shape[1] != k:
        # columns are levels of the term: z of row i stands at columns code k, ...
        spots = code[:, None] * z.shape[1] + np.arange(z.shape[1])
        wide = np.zeros((len(z), k))
        np.put_along_axis(wide, spots, z, 1)
        return sparse.coo_array(wide @ rotation.vectors[0])
    turned = np.einsum("nk,nkr->nr", z, rotation.vectors[code])
    row = np.repeat(np.arange(len(z)), r)
    column = (code[:, None] * r + np.arange(r)).ravel()
    return sparse.coo_array((turned.ravel(), (row, column)), shape=(len(z), n_levels * r))


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
            np.concatenate([p[..., :rank].reshape(-1, rank) for p in parts]) @ turn
            for parts in (found.response, found.effect)
        )

    @property
    def _head(self):
        return self.blocks.lead_gram.shape[0] * self.blocks.lead_gram.shape[1]

    @property
    def one_level(self) -> bool:
        """Whether every row has effects of one level of one factor alone."""
        return self.blocks.tail_size == 0 and self.design.rotation is None

    # ---- parts ----

    def errors(
        self,
        x: np.ndarray,
        random: RandomRows | None = None,
        slope: bool = False,
        curvature: bool = False,
    ) -> RowErrors:
        """Errors of rows.

        Parameters
        ----------
        x : ndarray
            Columns kept of the fixed effects, (n, rank).
        random : RandomRows, optional
            Rows of Z; of the fixed effects alone if None.
        slope, curvature : bool, optional
            Whether these are wanted.
        """
        parts = []
        for at in self._pieces(len(x), random, slope, curvature):
            own = x[at] @ self.root
            if random is None:
                parts.append(self._of_fixed(own, slope, curvature))
            elif self.one_level:
                parts.append(self._of_levels(own, random, at, slope, curvature))
            else:
                parts.append(self._of_solutions(own, random, at, slope, curvature))
        joined = [
            None if parts[0][j] is None else np.concatenate([p[j] for p in parts])
            for j in range(3)
        ]
        return RowErrors(*joined)

    def _pieces(self, n, random, slope, curvature) -> Iterator[slice]:
        step = SOME_ROWS
        if random is not None and not self.one_level:
            count = self._n_gamma + 2 if curvature else 2 + slope
            step = max(1, MOST_NUMBERS // (max(random.known.shape[1], 1) * count))
        for start in range(0, max(n, 1), step):
            yield slice(start, start + step)

    @cached_property
    def _n_gamma(self):
        return sum(s.n_gamma for s in self.design.structures)

    @property
    def _information(self):
        return variance_information(self.fit)

    def _of_fixed(self, s, slope, curvature):
        m = np.einsum("ni,ni->n", s, s)
        g = self._slope_of_fixed(s, m) if slope else None
        return m, g, self._curvature_of_fixed(s) if curvature else None

    def _slope_of_fixed(self, s, m):
        first = self._information.on_fixed[:-1]
        out = np.empty((len(s), len(first) + 1))
        for r, own in enumerate(first):
            out[:, r] = np.einsum("ni,ni->n", s @ own, s)
        out[:, -1] = m
        return out

    def _curvature_of_fixed(self, s):
        first = self._information.on_fixed[:-1]
        second = self._information.second_on_fixed
        count = len(first)
        out = np.empty((len(s), count, count))
        images = [s @ own for own in first]
        for a in range(count):
            for b in range(a + 1):
                own = np.einsum("ni,ni->n", s @ second[a, b], s)
                out[:, a, b] = own - np.einsum("ni,ni->n", images[a], images[b])
                out[:, b, a] = out[:, a, b]
        return out

    def _of_levels(self, own, random, at, slope, curvature):
        """One factor: all sums over other levels are those of the fixed effects alone."""
        factor, k = self.factor, self.blocks.lead_gram.shape[1]
        known = random.known[at]
        level, z = _single_level(known, k)
        t, effect = (w.reshape(-1, k, w.shape[1]) for w in self.whitened)
        s = own - np.einsum("nk,nkp->np", z, effect[level])
        half = np.einsum("nk,nkj->nj", z, factor.half[level])
        m = np.einsum("nj,nj->n", half, half) + np.einsum("np,np->n", s, s)
        g = c = None
        if slope or curvature:
            shrunk = factor._shrinkage[0][level]
            d = np.einsum("nk,nka->na", z, shrunk)
            ts = np.einsum("nkp,np->nk", t[level], s)
        bases = self._lead_basis
        if slope:
            g = self._slope_of_fixed(s, m)
            for r, basis in bases:
                g[:, r] += np.einsum("na,na->n", (d - 2 * ts) @ basis, d)
        if curvature:
            c = self._curvature_of_fixed(s)
            first = self._information.on_fixed
            inner = np.matmul(factor.blocks.lead_gram[level], shrunk)  # N_l
            tail = t[level]
            own_w = [(r, d @ basis, ts @ basis) for r, basis in bases]
            by_x = {r: np.einsum("nkp,nk->np", tail, w) for r, w, _ in own_w}
            images = {r: np.einsum("nkj,nj->nk", inner, w) for r, w, _ in own_w}
            for i, (r, _, _) in enumerate(own_w):
                for q, w, tw in own_w[: i + 1]:
                    dr, tr = own_w[i][1], own_w[i][2]
                    value = np.einsum("nk,nk->n", images[r], w)
                    value -= np.einsum("nk,nk->n", images[r], tw)
                    value -= np.einsum("nk,nk->n", images[q], tr)
                    value -= np.einsum("np,np->n", by_x[r], by_x[q])
                    value += np.einsum("np,np->n", by_x[r], s @ first[q])
                    value += np.einsum("np,np->n", by_x[q], s @ first[r])
                    c[:, r, q] += value
                    if q != r:
                        c[:, q, r] += value
                    del dr
        return self._with_new(m, g, c, random, at)

    @cached_property
    def _lead_basis(self):
        """Numbers of gamma, and E_r over all columns of the leading factor."""
        width, out = self.blocks.lead_gram.shape[1], []
        for i, structure in enumerate(self.design.structures):
            _, at = self.objective.place[i]
            first = self.objective.gamma_slices[i].start
            for r, e in enumerate(structure.covariance_basis):
                basis = np.zeros((width, width))
                basis[at, at] = e
                out.append((first + r, basis))
        return out

    def _of_solutions(self, own, random, at, slope, curvature):
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
        g = c = None
        if slope or curvature:
            lead, tail = found.response
            lead = lead - (t[:head] @ s.T).reshape(lead.shape)
            tail = tail - t[head:] @ s.T
        if slope:
            g = np.empty((n, self._n_gamma + 1))
            for i, structure in enumerate(self.design.structures):
                d = self.objective.by_term(i, lead, tail)
                square = np.einsum("lan,lbn->nab", d, d)
                g[:, self.objective.gamma_slices[i]] = np.einsum(
                    "nab,rab->nr", square, structure.covariance_basis
                )
            g[:, -1] = m
        if curvature:
            count = self._n_gamma
            wide = np.zeros((*shape, count, n))
            deep = np.zeros((self.blocks.tail_size, count, n))
            for i, structure in enumerate(self.design.structures):
                number, columns = self.objective.place[i]
                d = self.objective.by_term(i, lead, tail)
                w = np.einsum("rab,lbn->larn", structure.covariance_basis, d)
                slots = self.objective.gamma_slices[i]
                if number == 0:
                    wide[:, columns, slots] = w
                else:
                    deep[self.blocks.tail_columns(number - 1)[:, columns], slots] = w
            flat_wide = wide.reshape(*shape, count * n)
            flat_deep = deep.reshape(len(deep), count * n)
            c = factor.project_each(flat_wide, flat_deep, n)
            on_x = t[:head].T @ flat_wide.reshape(head, count * n) + t[head:].T @ flat_deep
            on_x = on_x.reshape(-1, count, n)
            c -= np.einsum("prn,pqn->nrq", on_x, on_x)
        return self._with_new(m, g, c, random, at)

    def _with_new(self, m, g, c, random, at):
        """Add z'Sigma z of levels that the fit had not; their errors are independent."""
        if all(own is None for own in random.new):
            return m, g, c
        new = tuple(None if own is None else own[at] for own in random.new)
        variance, slope = self.prior(new, len(m))
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
        variance, slope = np.zeros(n), np.zeros((n, self._n_gamma + 1))
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


def _single_level(known: sparse.csr_array, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Level and values of rows each of which has the k columns of one level; 0 if none."""
    n = known.shape[0]
    counts = np.diff(known.indptr)
    z, level = np.zeros((n, k)), np.zeros(n, np.intp)
    some = counts > 0
    level[some] = known.indices[known.indptr[:-1][some]] // k
    row = np.repeat(np.arange(n), counts)
    z[row, known.indices % k] = known.data
    return level, z


_KNOWN: WeakKeyDictionary[Fit, JointErrors] = WeakKeyDictionary()


def joint_errors(fit: Fit) -> JointErrors:
    """The prediction errors of a fit; kept as long as the fit is."""
    if fit not in _KNOWN:
        _KNOWN[fit] = JointErrors(fit)
    return _KNOWN[fit]
