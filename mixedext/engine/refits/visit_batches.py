"""Fits to many responses at a time where groups over visits share their patterns.

Without random effects a response enters the deviance by sums over the groups of a pattern
alone, x of their rows of a basis of X and y of the response:

    sum x_a x_b',    sum x_a y_b,    sum y_a y_b        of visits a, b.

The first is that of all responses.  With K = V^-1 of a pattern all that the deviance and
its derivatives need (engine.residual.visit_part) are products of these with K, of which
many responses, each at parameters of its own, make one multiplication of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedext.engine.residual.marginal import definite_curvature
from mixedext.engine.residual.rows import ResidualRows
from mixedext.engine.residual.search import DECREMENT, ROUNDING
from mixedext.engine.residual.visit_part import FEW_VISITS, VisitPart

__all__ = ["Batched", "VisitBatch"]

# Numbers of the sums that all responses share, up to which they are kept; and numbers of
# those of some responses, which are worked on at a time.
MOST_SUMS, SUMS_AT_A_TIME = 2**24, 2**21
# Newton's steps, lengths that one may take of its own, and how much shorter each is.  What
# does not end by then is searched for by itself.
MOST_STEPS, MOST_TRIALS, SHORTER = 30, 5, 0.25
# Longest step in units of unit curvature.
LONGEST = 4.0


@dataclass(frozen=True, eq=False)
class Batched:
    """Where the searches have ended.

    Attributes
    ----------
    psi : ndarray
        (R, n_psi)
    value : ndarray
        The deviance, engine's units, (R,).
    on_basis : ndarray
        Coefficients of the scaled residuals on the basis of X, (R, p).
    square : ndarray
        y'P0 y, engine's units, (R,).
    hessian : ndarray
        (R, n_psi, n_psi)
    done : ndarray
        Whether the search has ended at a minimum, (R,) bool.
    n_evaluations : ndarray
        (R,)
    """

    psi: np.ndarray
    value: np.ndarray
    on_basis: np.ndarray
    square: np.ndarray
    hessian: np.ndarray
    done: np.ndarray
    n_evaluations: np.ndarray


class _Level:
    """The groups of one level of ``by``, and their rows by number."""

    def __init__(self, part: VisitPart, numbers: VisitPart):
        self.curve, self.places, self.own, m = part.curve, part.places, part.own, part.m
        self.m, self.counts, self.by_size = m, part.counts, part.by_size
        self.visits = [p.visits for p in part.patterns]
        self.x = [np.ascontiguousarray(p.columns[:, :-1]) for p in part.patterns]
        self.rows = [p.columns[:, 0].astype(np.intp) for p in numbers.patterns]
        p = self.x[0].shape[1]
        whole = np.zeros((len(self.x), m, p, m, p))
        for number, (visits, x) in enumerate(zip(self.visits, self.x, strict=True)):
            flat = x.reshape(-1, x.shape[2])
            own = (flat @ flat.T).reshape(len(x), p, len(x), p)
            # advanced indices beside a slice come first
            whole[number, visits[:, None], :, visits] += own.transpose(0, 2, 1, 3)
        self.by_row = whole.reshape(-1, p)
        pairs = whole.transpose(0, 1, 3, 2, 4)
        self.by_pair = np.ascontiguousarray(pairs).reshape(-1, p * p)

    def sums(self, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """sum x_a y_b, (R, c, m, p, m), and sum y_a y_b, (R, c, m, m), of y (n, R)."""
        count, m, c = residual.shape[1], self.m, len(self.x)
        p = self.x[0].shape[1]
        mixed, square = np.zeros((count, c, m, p, m)), np.zeros((count, c, m, m))
        for number, (visits, x, rows) in enumerate(
            zip(self.visits, self.x, self.rows, strict=True)
        ):
            s, groups = len(visits), x.shape[2]
            y = residual[rows]  # (s, G, R)
            flat = np.ascontiguousarray(y.transpose(1, 0, 2)).reshape(groups, -1)
            own = (x.reshape(s * p, groups) @ flat).reshape(s, p, s, count)
            mixed[:, number, visits[:, None], :, visits] = own.transpose(0, 2, 3, 1)
            by_response = np.ascontiguousarray(y.transpose(2, 0, 1))
            own = by_response @ by_response.transpose(0, 2, 1)
            square[:, number, visits[:, None], visits] = own
        return mixed, square


@dataclass(eq=False)
class _State:
    """Some responses at parameters: the deviance and what its derivatives need."""

    psi: np.ndarray
    value: np.ndarray
    fixed: np.ndarray
    inverse: list[np.ndarray]

    def put(self, at: np.ndarray, other: _State, of: np.ndarray) -> None:
        """Take over others."""
        self.psi[at], self.value[at] = other.psi[of], other.value[of]
        self.fixed[at] = other.fixed[of]
        for own, new in zip(self.inverse, other.inverse, strict=True):
            own[at] = new[of]


class VisitBatch:
    """Searches for the parameters of many responses.

    Parameters
    ----------
    rows, numbers : ResidualRows
        The model, and the same with the numbers of its rows as their only column.
    reml : bool
        Restricted or ordinary likelihood.
    """

    def __init__(self, rows: ResidualRows, numbers: ResidualRows, reml: bool):
        self.levels = [
            _Level(part, number)
            for part, number in zip(rows.parts, numbers.parts, strict=True)
            if isinstance(part, VisitPart) and isinstance(number, VisitPart)
        ]
        self.nobs, self.rank = len(rows.y), rows.design.basis.rank
        self.n_psi, self.reml = rows.n_psi, reml
        self.dof = self.nobs - self.rank if reml else self.nobs

    @staticmethod
    def serves(rows: ResidualRows) -> bool:
        """Whether the sums of a model are few enough."""
        if rows.terms or not rows.has_patterns or not rows.n_psi:
            return False
        p = rows.design.basis.rank
        parts = [part for part in rows.parts if isinstance(part, VisitPart)]
        sums = sum(len(part.patterns) * (part.m * p) ** 2 for part in parts)
        return 0 < sums <= MOST_SUMS and all(part.m <= FEW_VISITS for part in parts)

    @property
    def width(self) -> int:
        """Responses that are worked on at a time."""
        numbers = sum(len(own.x) * own.m**2 * (self.rank + 1) for own in self.levels)
        return int(max(1, min(200, SUMS_AT_A_TIME // numbers)))

    def search(self, residual: np.ndarray, psi: np.ndarray, held: np.ndarray) -> Batched:
        """Minimize the deviance of every response.

        Parameters
        ----------
        residual : ndarray
            Scaled residuals of the responses on the basis of X, by row, (n, R).
        psi : ndarray
            Where all searches start, (n_psi,).
        held : ndarray of bool
            Elements of psi that stay there.
        """
        count = residual.shape[1]
        sums = [level.sums(residual) for level in self.levels]
        state = self._evaluate(np.tile(psi, (count, 1)), sums)
        evaluations = np.ones(count, np.intp)
        hessian = np.full((count, self.n_psi, self.n_psi), np.nan)
        done, given_up = np.zeros(count, bool), ~np.isfinite(state.value)
        free = np.flatnonzero(~held)
        for _ in range(MOST_STEPS):
            active = np.flatnonzero(~(done | given_up))
            if not len(active):
                break
            gradient, hessian[active] = self._derivatives(state, active, sums)
            step, decrement, definite = _steps(gradient, hessian[active], free)
            given_up[active[~definite]] = True
            done[active[definite & (decrement < DECREMENT)]] = True
            moving = definite & (decrement >= DECREMENT)
            ended, lost = self._move(state, active[moving], step[moving], sums, evaluations)
            done[ended], given_up[lost] = True, True
        fixed = state.fixed
        square = fixed[:, -1, -1] ** 2
        upper = fixed[:, :-1, :-1].transpose(0, 2, 1)
        on_basis = np.linalg.solve(upper, fixed[:, -1, :-1, None])[..., 0]
        return Batched(state.psi, state.value, on_basis, square, hessian, done, evaluations)

    def _move(self, state, at, step, sums, evaluations):
        """Go as far as the deviance falls; who is at the end, and who found no way."""
        ended, size = [np.zeros(0, np.intp)], np.ones(len(at))
        for _ in range(MOST_TRIALS):
            if not len(at):
                break
            trial = self._evaluate(
                state.psi[at] + size[:, None] * step,
                [(mixed[at], square[at]) for mixed, square in sums],
            )
            evaluations[at] += 1
            value = state.value[at]
            rounding = ROUNDING * self.nobs * np.maximum(1.0, np.abs(value) / self.nobs)
            gain = value - trial.value
            taken = gain > -rounding
            state.put(at[taken], trial, np.flatnonzero(taken))
            ended.append(at[taken & (gain <= rounding)])
            at, step, size = at[~taken], step[~taken], SHORTER * size[~taken]
        return np.concatenate(ended), at

    # ---- evaluation ----

    def _evaluate(self, psi: np.ndarray, sums: list) -> _State:
        count, width = len(psi), self.rank + 1
        cross, value = np.zeros((count, width, width)), np.zeros(count)
        inverses = []
        for level, (mixed, square) in zip(self.levels, sums, strict=True):
            inverse, log_det = self._inverses(level, psi)
            value += log_det
            flat = inverse.reshape(count, -1)
            own = (flat @ level.by_pair).reshape(count, self.rank, self.rank)
            cross[:, :-1, :-1] += own
            by_pair = mixed.transpose(0, 1, 2, 4, 3).reshape(count, flat.shape[1], -1)
            cross[:, -1, :-1] += (flat[:, None] @ by_pair)[:, 0]
            cross[:, -1, -1] += np.einsum("rk,rk->r", flat, square.reshape(count, -1))
            inverses.append(inverse)
        sound = np.isfinite(value) & np.isfinite(cross).all(axis=(1, 2))
        fixed = np.zeros_like(cross)
        fixed[:] = np.eye(width)
        sound[sound] = _roots(cross, fixed, np.flatnonzero(sound))
        diagonal = np.einsum("raa->ra", fixed)
        last = diagonal[:, -1] ** 2
        value += self.dof * (1 + np.log(2 * np.pi * last / self.dof))
        if self.reml:
            value += 2 * np.log(diagonal[:, :-1]).sum(axis=1)
        return _State(psi, np.where(sound, value, np.inf), fixed, inverses)

    def _inverses(self, level, psi):
        """V^-1 of every pattern, zero beyond its visits, (R, c, m, m), and log|V|."""
        count, m = len(psi), level.m
        out, log_det = np.zeros((count, len(level.x), m, m)), np.zeros(count)
        whole = np.array(
            [level.curve.matrix(own[level.own], level.places)[0] for own in psi]
        )
        sound = np.isfinite(whole).all(axis=(1, 2))
        whole[~sound] = np.eye(m)
        for numbers, visits in level.by_size:
            blocks = whole[:, visits[:, :, None], visits[:, None, :]]
            roots = np.zeros_like(blocks)
            roots[:] = np.eye(visits.shape[1])
            good = _roots(blocks, roots, np.arange(count))
            sound &= good
            diagonal = np.einsum("rcaa->rca", roots)
            log_det += 2 * np.log(diagonal).sum(axis=2) @ level.counts[numbers]
            whiten = np.linalg.inv(roots)
            own = whiten.swapaxes(2, 3) @ whiten
            for k, number in enumerate(numbers):
                out[:, number, visits[k][:, None], visits[k]] = own[:, k]
        return out, np.where(sound, log_det, np.inf)

    # ---- derivatives ----

    def _derivatives(self, state, at, sums):
        """Gradients, and Hessians but for products of two X~'V_r X~ (see marginal)."""
        count, n, p = len(at), self.n_psi, self.rank
        fixed = state.fixed[at]
        whiten = np.linalg.inv(fixed)
        f = whiten[:, :-1, :-1].swapaxes(1, 2) @ whiten[:, :-1, :-1]
        b = (fixed[:, None, -1, :-1] @ whiten[:, :-1, :-1])[:, 0]
        kappa = self.dof / fixed[:, -1, -1] ** 2
        gradient, residual = np.zeros((count, n)), np.zeros((count, n))
        on_x, square = np.zeros((count, n, p)), (count, n, n)
        quadratic, traces, bend = np.zeros(square), np.zeros(square), np.zeros(square)
        for level, inverses, (mixed, squares) in zip(
            self.levels, state.inverse, sums, strict=True
        ):
            k, m, c = inverses[at], level.m, len(level.x)
            # sum of x_a e_b and e_a e_b, e = y - Q b
            moved = (b @ level.by_row.T).reshape(count, c, m, p, m)
            across = mixed[at] - moved
            own = np.einsum("rcaqb,rq->rcab", mixed[at] + across, b, optimize=True)
            own = squares[at] - (own + own.swapaxes(2, 3)) / 2
            found = k @ own @ k
            pooled = found.sum(axis=1)
            score = np.tensordot(k, level.counts, (1, 0)) - kappa[:, None, None] * pooled
            other = level.counts[:, None, None] * k
            if self.reml:
                x = (f.reshape(count, -1) @ level.by_pair.T).reshape(count, c, m, m)
                x = k @ x @ k
                score -= x.sum(axis=1)
                other -= 2 * x
            across = (k @ across.reshape(count, c, m, p * m)).reshape(count, c, m * p, m)
            across = (across @ k).sum(axis=1).reshape(count, m, p, m)
            free = state.psi[at][:, level.own]
            slopes = np.array([level.curve.tangent(q, level.places)[:, 0] for q in free])
            cols, block = level.own, np.ix_(np.arange(count), level.own, level.own)
            gradient[:, cols] += np.einsum("rnab,rab->rn", slopes, score)
            residual[:, cols] += np.einsum("rnab,rab->rn", slopes, pooled)
            flat = slopes.reshape(count, len(cols), m * m)
            flat_across = across.transpose(0, 1, 3, 2).reshape(count, m * m, p)
            on_x[:, cols] += flat @ flat_across
            quadratic[block] += _pair_traces(flat, k, found)
            traces[block] += _pair_traces(flat, k, other)
            bend[block] += np.array(
                [
                    level.curve.bend(q, level.places, own[None])
                    for q, own in zip(free, score, strict=True)
                ]
            )
        quadratic = kappa[:, None, None] * (quadratic - on_x @ f @ on_x.swapaxes(1, 2))
        profiled = residual[:, :, None] * residual[:, None] * kappa[:, None, None] ** 2
        average = quadratic - profiled / self.dof
        exact = average + quadratic - traces + bend
        pieces = zip(exact, average, bend, strict=True)
        return gradient, np.array([definite_curvature(*piece, 0) for piece in pieces])


def _roots(matrices, out, at):
    """Cholesky factors of matrices of some responses into ``out``; which have one."""
    good = np.ones(len(at), bool)
    try:
        out[at] = np.linalg.cholesky(matrices[at])
    except np.linalg.LinAlgError:
        for k, number in enumerate(at):
            try:
                out[number] = np.linalg.cholesky(matrices[number])
            except np.linalg.LinAlgError:
                good[k] = False
    return good


def _pair_traces(flat, one, other):
    """sum over patterns of tr V_r A V_s B, symmetric, (R, n, n)."""
    count, c, m, _ = one.shape
    pooled = one.reshape(count, c, -1).swapaxes(1, 2) @ other.reshape(count, c, -1)
    # A_bc B_da between V_r's ab and V_s's cd
    pooled = pooled.reshape(count, m, m, m, m).transpose(0, 4, 1, 2, 3)
    found = flat @ pooled.reshape(count, m * m, m * m) @ flat.swapaxes(1, 2)
    return (found + found.swapaxes(1, 2)) / 2


def _steps(gradient, hessian, free):
    """Newton's steps, not too long, twice the falls foreseen, and which are definite."""
    g, h = gradient[:, free], hessian[:, free[:, None], free]
    size = np.sqrt(np.abs(np.einsum("raa->ra", h)))
    size = np.where(size > 0, size, 1.0)
    scaled = h / (size[:, :, None] * size[:, None])
    roots = np.zeros_like(scaled)
    roots[:] = np.eye(len(free))
    definite = _roots(scaled, roots, np.arange(len(h)))
    scaled[~definite] = np.eye(len(free))
    move = -np.linalg.solve(scaled, (g / size)[..., None])[..., 0]
    decrement = -np.einsum("ra,ra->r", move, g / size)
    length = np.sqrt(np.einsum("ra,ra->r", move, move))
    move *= np.minimum(1.0, LONGEST / np.maximum(length, LONGEST))[:, None]
    step = np.zeros_like(gradient)
    step[:, free] = move / size
    return step, decrement, definite
