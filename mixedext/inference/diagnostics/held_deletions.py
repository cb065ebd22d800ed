"""What the fit becomes without some rows, theta held: in closed form, by downdates.

With F = (X'V0^-1 X)^-1, r the conditional residuals and h the leverages, without row i

    b - b_i = F (X'V0^-1)_i r_i / (1 - h_i),    r'P0 r falls by w_i r_i^2 / (1 - h_i)

as in least squares.  A set I of rows takes the matrix D of ``kernels.rows.deletion`` with
it.  With one factor D is a sum over levels: of a level that goes whole D = X_l'V0_l^-1 X_l
(bordered by the residuals), of rows of one it comes from cross-products of size K + p + 1.
With several factors Q is taken by the columns of Z that the set touches, or by its rows
where these are far fewer: nothing is larger than the set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg, sparse

from mixedext.algebra.inverses import solution_if_regular
from mixedext.engine.factor.row_forms import lam_of_tail
from mixedext.engine.fit import evaluate_design
from mixedext.engine.information.joint_errors import joint_errors
from mixedext.engine.rows.design import prepare_design
from mixedext.exceptions import DesignError
from mixedext.fitted import Fitted
from mixedext.inference.diagnostics.level_rows import OneLevelRows
from mixedext.inference.diagnostics.leverage import leverages, own_rows
from mixedext.kernels.rows import deletion
from mixedext.limits import NOT_LEFT

__all__ = ["Deletions", "RowDeletions", "row_deletions", "set_deletions"]

# Numbers that cross-products of sets of rows hold at most.
MOST_NUMBERS = 2**24
# 1 - h below this is looked at closely.
NEAR_ONE = 1e-3
# Operations up to which matrices of the size of a set cost less than a factorization of
# the rows that are left.
MOST_WORK = 2**28
# Columns of the tail up to which C22 is made in full.
MOST_DENSE = 2048
# A set is worked on by its rows where it touches so many times more columns of Z.
FEWER = 3
# Columns of the tail that a set uses up to which the products are dense.
MOST_USED = 250
NONE = np.zeros(0)


@dataclass(frozen=True, eq=False)
class Deletions:
    """The fit without each of G units, theta held; NaN where the rest does not determine b.

    Attributes
    ----------
    n_deleted : ndarray
        Rows of each unit, (G,).
    change : ndarray
        Coefficients kept less those without the unit, (G, p).
    distance : ndarray
        change'F^-1 change, (G,).
    own_distance : ndarray
        change'F_I^-1 change, (G,).
    growth : ndarray
        tr(F^-1 F_I) - p, (G,).
    ratio : ndarray
        det F^-1 F_I, (G,).
    variance : ndarray
        Diagonal of F_I, (G, p).
    scale : ndarray
        sigma^2 without the unit, (G,).
    """

    n_deleted: np.ndarray
    change: np.ndarray
    distance: np.ndarray
    own_distance: np.ndarray
    growth: np.ndarray
    ratio: np.ndarray
    variance: np.ndarray
    scale: np.ndarray

    @property
    def standardized(self) -> np.ndarray:
        """Changes by the standard errors without the unit, (G, p)."""
        with np.errstate(divide="ignore", invalid="ignore"):  # no variance without the unit
            return self.change / (np.sqrt(self.scale[:, None]) * np.sqrt(self.variance))


@dataclass(frozen=True, eq=False)
class RowDeletions:
    """The fit without each row, theta held: ``Deletions`` from a few numbers a row.

    Attributes
    ----------
    residual : ndarray
        r, (n,).
    scores : ndarray
        s, in coordinates with X'V0^-1 X = I, (n, p).
    whole, fixed : ndarray
        Leverages, and the fixed effects' share, (n,).
    weight : ndarray or None
        w, (n,).
    root : ndarray
        Coefficients by those of the coordinates, (p, p).
    total, dof : float
        r'P0 r, and what it is divided by.
    """

    residual: np.ndarray
    scores: np.ndarray
    whole: np.ndarray
    fixed: np.ndarray
    weight: np.ndarray | None
    root: np.ndarray
    total: float
    dof: int

    def take(self, rows: np.ndarray) -> RowDeletions:
        """Those of some rows."""
        return RowDeletions(
            self.residual[rows],
            self.scores[rows],
            self.whole[rows],
            self.fixed[rows],
            None if self.weight is None else self.weight[rows],
            self.root,
            self.total,
            self.dof,
        )

    @property
    def n_deleted(self) -> np.ndarray:
        """One each, (n,)."""
        return np.broadcast_to(np.intp(1), self.residual.shape)

    @property
    def lost(self) -> np.ndarray:
        """Numbers of the rows without which b is not determined."""
        near = np.flatnonzero(self.whole > 1.0 - NEAR_ONE)
        return near[np.isnan(self.take(near).growth)]

    def _found(self, name: str) -> np.ndarray:
        out = dict.fromkeys(("distance", "own_distance", "growth", "scale"), NONE)
        out |= dict.fromkeys(("change", "standardized", "variance"), NONE[:, None])
        like = self.whole if out[name].ndim == 1 else self.scores
        out[name] = np.empty_like(like)
        deletion.delete_rows(
            self.residual,
            self.scores,
            self.whole,
            NONE if self.weight is None else np.ascontiguousarray(self.weight, float),
            self.root,
            least=NOT_LEFT,
            total=self.total,
            dof=self.dof - 1.0,
            **out,
        )
        return out[name]

    @property
    def change(self) -> np.ndarray:
        """Coefficients kept less those without the row, (n, p)."""
        return self._found("change")

    @property
    def standardized(self) -> np.ndarray:
        """The same by their standard errors without the row, (n, p)."""
        return self._found("standardized")

    @property
    def growth(self) -> np.ndarray:
        """tr F^-1 F_i - p, (n,)."""
        return self._found("growth")

    @property
    def distance(self) -> np.ndarray:
        """change'F^-1 change, (n,)."""
        return self._found("distance")

    @property
    def own_distance(self) -> np.ndarray:
        """change'F_i^-1 change, (n,)."""
        return self._found("own_distance")

    @property
    def ratio(self) -> np.ndarray:
        """det F^-1 F_i, (n,)."""
        found = self._found("growth")
        found += 1.0
        return found

    @property
    def variance(self) -> np.ndarray:
        """Diagonal of F_i, (n, p)."""
        return self._found("variance")

    @property
    def scale(self) -> np.ndarray:
        """sigma^2 without the row, (n,)."""
        return self._found("scale")


def divided(square: np.ndarray, dof: np.ndarray | float) -> np.ndarray:
    """Sums of squares by degrees of freedom; NaN where none are left."""
    dof = np.where(np.asarray(dof) > 0, dof, np.nan)
    return np.where(square > 0, square, 0.0 * square) / dof


def total_square(fitted: Fitted) -> tuple[float, int]:
    """r'P0 r in the units of the data, and what it is divided by."""
    dof = fitted.fit.objective.dof
    return fitted.scale * dof, dof


def row_deletions(fitted: Fitted) -> RowDeletions:
    """The fit without each row.

    Parameters
    ----------
    fitted : Fitted
        A fit with its rows in memory.
    """
    found = leverages(fitted, scores=True)
    assert found.scores is not None
    assert found.residual is not None
    return RowDeletions(
        found.residual,
        found.scores,
        found.whole,
        found.fixed,
        fitted.need_rows().weights,
        np.ascontiguousarray(joint_errors(fitted.fit).root),
        *total_square(fitted),
    )


def set_deletions(fitted: Fitted, sets: np.ndarray, n_sets: int) -> Deletions:
    """The fit without each of some sets of rows that do not overlap.

    Parameters
    ----------
    fitted : Fitted
        A fit with its rows in memory.
    sets : ndarray
        Number of the set of every row, negative for none, (n,).
    n_sets : int
        Number of sets.
    """
    p = len(fitted.fixed.kept)
    levels = OneLevelRows.of(fitted)
    lost = np.zeros((n_sets, p + 1, p + 1))
    count = _counts(sets, n_sets)
    if levels is not None:
        failed = _lost_by_levels(fitted, levels, sets, lost)
        alone = {g: without_rows(fitted, np.flatnonzero(sets == g)) for g in failed}
    else:
        alone = _Spread(fitted).lose(np.ascontiguousarray(sets, np.intp), lost)
    root = np.ascontiguousarray(joint_errors(fitted.fit).root)
    change, variance = np.empty((2, n_sets, p))
    distance, gain, trace, log_det = np.empty((4, n_sets))
    deletion.delete_sets(
        lost,
        root,
        NOT_LEFT,
        change=change,
        distance=distance,
        gain=gain,
        trace=trace,
        log_det=log_det,
        variance=variance,
    )
    total, dof = total_square(fitted)
    scale = divided(total - lost[:, p, p] - gain, dof - count)
    ratio = np.exp(log_det)
    found = Deletions(count, change, distance, gain, trace - p, ratio, variance, scale)
    for g, values in alone.items():
        _put(found, g, values)
    return found


def _counts(sets, n_sets):
    """Rows of every set, (G,)."""
    if len(sets) and sets.min() < 0:
        sets = sets[sets >= 0]
    return np.bincount(sets, minlength=n_sets)


def _put(found, g, values):
    (
        found.change[g],
        found.distance[g],
        found.own_distance[g],
        found.growth[g],
        found.ratio[g],
        found.variance[g],
        found.scale[g],
    ) = values


def marginal_residual(fitted: Fitted) -> np.ndarray:
    """Response less offset and fixed effects, (n,)."""
    rows = fitted.need_rows()
    return rows.endog - rows.mean(fitted.fixed.estimate)


def _lost_by_levels(fitted, levels, sets, lost):
    """D of sets of rows of one factor; numbers of sets of which rounding leaves none."""
    weights = fitted.need_rows().weights
    whole, cut = _whole_and_cut(levels.codes, sets, len(levels.half))
    if whole is not None:
        for at, own in levels.pieces():
            deletion.add_whole_levels(
                np.ascontiguousarray(whole[at], np.int32),
                own.code,
                own.z,
                own.x,
                own.marginal,
                effect=levels.effect,
                own=own.own,
                modes=levels.modes,
                weight=NONE if weights is None else weights[at],
                out=lost,
            )
    return _lost_of_cut_levels(levels, sets, cut, weights, lost) if len(cut) else []


def _whole_and_cut(codes, sets, n_levels):
    """Sets of the rows whose level goes whole, negative elsewhere; and the other rows."""
    if sets is codes:  # the model's own factor
        return sets, np.zeros(0, np.intp)
    of_level = np.full(n_levels, -1, np.intp)
    of_level[codes] = sets
    same = of_level[codes] == sets
    if same.all():
        return sets, np.zeros(0, np.intp)
    broken = np.zeros(n_levels, bool)
    broken[codes[~same]] = True
    inside = broken[codes]
    cut = np.flatnonzero(inside & (sets >= 0))
    if broken.all():
        return None, cut
    return np.where(inside, -1, sets), cut


def _lost_of_cut_levels(levels, sets, cut, weights, lost):
    """Add to D what rows of levels take of which others stay; sets without one."""
    failed: list[int] = []
    pair = sets[cut] * np.int64(len(levels.half)) + levels.codes[cut]
    order = np.argsort(pair, kind="stable")
    rows, pair = cut[order], pair[order]
    starts = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]])
    ends = np.append(starts[1:], len(pair))
    k, p = levels.half.shape[1], lost.shape[1] - 1
    width = k + p + 1
    step = max(1, MOST_NUMBERS // width**2)
    for first in range(0, len(starts), step):
        start, end = starts[first : first + step], ends[first : first + step]
        at = rows[start[0] : end[-1]]
        number = np.repeat(np.arange(len(start)), end - start)
        own = levels.read(at)
        s, (whole, fixed, residual) = np.empty_like(own.x), np.empty((3, len(at)))
        levels.scores(own, s=s, whole=whole, fixed=fixed, residual=residual)
        y = np.einsum("nb,nba->na", own.z, levels.half[own.code])
        gram = np.zeros((len(start), width, width))
        columns = np.ascontiguousarray(np.column_stack([y, s, residual]))
        w = NONE if weights is None else weights[at]
        deletion.add_grams(number, columns, w, gram)
        upper = np.triu_indices(width, 1)
        gram[:, upper[0], upper[1]] = gram[:, upper[1], upper[0]]
        # Q^-1 = I + Y (I - Y'Y)^-1 Y' of rows times the roots of their weights
        rest = np.eye(k) - gram[:, :k, :k]
        cross = gram[:, :k, k:]
        number = sets[at[start - start[0]]]
        try:
            solved = np.linalg.solve(rest, cross)
        except np.linalg.LinAlgError:
            each = [solution_if_regular(*pair) for pair in zip(rest, cross, strict=True)]
            failed += [int(g) for g, x in zip(number, each, strict=True) if x is None]
            none = np.zeros_like(cross[0])
            solved = np.stack([none if x is None else x for x in each])
        own_lost = gram[:, k:, k:] + cross.transpose(0, 2, 1) @ solved
        np.add.at(lost, number, own_lost)
    return sorted(set(failed))


class _Spread:
    """D of sets of rows of several factors.

    Lam C Lam' = half half' + B C22 B' with B = (-half edge', Lam2).
    """

    def __init__(self, fitted: Fitted):
        rows = fitted.need_rows()
        residual = rows.endog - rows.mean(fitted.fixed.estimate, fitted.fit.effects)
        errors = joint_errors(fitted.fit)
        self.fitted, self.factor = fitted, errors.factor
        x = rows.exog[:, fitted.fixed.kept] @ errors.root
        self.columns = np.column_stack([x, residual])
        root = None if rows.weights is None else np.sqrt(rows.weights)
        if rows.terms:
            known = own_rows(fitted).known
            assert known is not None
            self.columns[:, :-1] -= known @ errors.whitened[1]
        else:
            known = sparse.csr_array((len(x), 0))
        if root is not None:
            self.columns *= root[:, None]
            known = sparse.csr_array(known.multiply(root[:, None]))
        known.sum_duplicates()
        self.known = known

    def lose(self, sets: np.ndarray, lost: np.ndarray) -> dict[int, tuple]:
        """Fill in D; return the results of sets too large for that.

        And of those of which rounding leaves none, as of rows that their effects explain.
        """
        order = np.argsort(sets, kind="stable")
        bounds = np.searchsorted(sets[order], np.arange(len(lost) + 1))
        alone = {}
        for g in range(len(lost)):
            at = order[bounds[g] : bounds[g + 1]]
            row, column, value = _entries(self.known, at)
            touched, column = np.unique(column, return_inverse=True)
            by_rows = FEWER * len(at) <= len(touched)
            size = len(at) if by_rows else len(touched)
            tail = self.factor.tail.size if self._has_tail else 0
            if size**2 * (size + tail) > MOST_WORK:
                alone[g] = without_rows(self.fitted, at)
                continue
            own = self.columns[at]
            if by_rows:
                rest = np.eye(len(at)) - self._covariance(self.known[at])
                whole, image = 0.0, own
                solved = solution_if_regular(rest, own, assume_a="pos")
            else:
                z = np.zeros((len(at), size))
                z[row, column] = value
                m = self._covariance_of_columns(touched)
                image = z.T @ own
                rest = np.eye(size) - m @ (z.T @ z)
                whole, solved = own.T @ own, solution_if_regular(rest, m @ image)
            if solved is None:
                alone[g] = without_rows(self.fitted, at)
            else:
                lost[g] = whole + image.T @ solved
        return alone

    def _covariance_of_columns(self, columns):
        """Lam C Lam' of some columns of Z, few of which share columns of the tail."""
        if self._has_tail and self.factor.tail.size <= MOST_DENSE:
            row, column, value = _entries(self._on_tail, columns)
            used, column = np.unique(column, return_inverse=True)
            if len(used) <= MOST_USED:
                b = np.zeros((len(columns), len(used)))
                b[row, column] = value
                out = b @ self._inverse[np.ix_(used, used)] @ b.T
                lead = np.flatnonzero(columns < self._half.shape[0])
                level, a = np.divmod(columns[lead], self.factor.half.shape[1])
                i, j = np.nonzero(level[:, None] == level)
                halves = self.factor.half[level]
                share = (halves[i, a[i]] * halves[j, a[j]]).sum(axis=1)
                out[lead[i], lead[j]] += share
                return out
        count = len(columns)
        units = sparse.csr_array(
            (np.ones(count), (np.arange(count), columns)),
            shape=(count, self.known.shape[1]),
        )
        return self._covariance(units)

    @cached_property
    def _on_tail(self):
        """B, (L K + m, m)."""
        out = sparse.csr_array(
            sparse.vstack([-(self._half @ self._edge), self._lam], format="csr")
        )
        out.sum_duplicates()
        return out

    @property
    def _has_tail(self):
        return bool(self.fitted.need_rows().terms) and self.factor.tail.size > 0

    @cached_property
    def _half(self):
        half = self.factor.half
        if not len(half):
            return sparse.csr_array((0, 0))
        return sparse.csr_array(
            sparse.bsr_array((half, np.arange(len(half)), np.arange(len(half) + 1)))
        )

    @cached_property
    def _edge(self):
        """Rows edge_l', (L K, m)."""
        blocks, factor = self.factor.blocks, self.factor
        n_levels, k = factor.half.shape[:2]
        if not len(blocks.link_index):
            return sparse.csr_array((n_levels * k, factor.tail.size))
        edge = factor.tail._edges(factor.half)
        count = np.diff(blocks.link_pointers)
        row = np.repeat(np.arange(n_levels), count)[:, None] * k + np.arange(k)
        column = np.broadcast_to(blocks.link_index[:, None], row.shape)
        return sparse.csr_array(
            (edge.ravel(), (row.ravel(), column.ravel())),
            shape=(n_levels * k, factor.tail.size),
        )

    @cached_property
    def _lam(self):
        return lam_of_tail(self.factor)

    @cached_property
    def _inverse(self):
        """C22, all of it, (m, m)."""
        tail = self.factor.tail
        half = np.eye(tail.size)
        tail.solve(half)
        return half.T @ half

    def _covariance(self, known):
        """z Lam C Lam'z' of rows z."""
        if not known.shape[1]:
            return np.zeros((known.shape[0],) * 2)
        head = self._half.shape[0]
        y = known[:, :head] @ self._half
        out = (y @ y.T).toarray()
        if not self._has_tail:
            return out
        moved = sparse.csr_array(known[:, head:] @ self._lam - y @ self._edge)
        if self.factor.tail.size <= MOST_DENSE:
            return out + moved @ (moved @ self._inverse).T
        solved = np.ascontiguousarray(moved.toarray().T)
        self.factor.tail.solve(solved)
        return out + solved.T @ solved


def _entries(matrix, rows):
    """Entries of some rows of a compressed matrix: row among these, column, value."""
    first, last = matrix.indptr[rows], matrix.indptr[rows + 1]
    count = (last - first).astype(np.intp)
    shift = np.repeat(first - (np.cumsum(count) - count), count)
    at = np.arange(len(shift)) + shift
    return np.repeat(np.arange(len(rows)), count), matrix.indices[at], matrix.data[at]


def without_rows(fitted: Fitted, deleted: np.ndarray) -> tuple:
    """The fit without some rows, theta held, from the rows that are left.

    Returns
    -------
    tuple
        As the attributes of ``Deletions`` from ``change`` on.
    """
    rows, fit = fitted.need_rows(), fitted.fit
    left = np.ones(len(rows.endog), bool)
    left[deleted] = False
    p = len(fitted.fixed.kept)
    nothing = np.full(p, np.nan), *[np.nan] * 4, np.full(p, np.nan), np.nan
    if left.sum() <= p:
        return nothing
    y = rows.endog if rows.offset is None else rows.endog - rows.offset
    weights = None if rows.weights is None else rows.weights[left]
    terms = [term.take(left) for term in rows.terms]
    try:
        design = prepare_design(
            y[left], rows.exog[left][:, fitted.fixed.kept], terms, weights
        )
        rest = evaluate_design(design, fit.reml, fit.theta)
    except DesignError:
        return nothing
    if len(rest.coefficients) < p:
        return nothing
    change = fitted.fixed.coefficients - rest.coefficients
    root = joint_errors(fit).root
    turned = linalg.solve(root, rest.root)
    trace = float((turned**2).sum())
    if trace * NOT_LEFT >= 1.0:
        return nothing
    own, its = linalg.solve(root, change), linalg.solve(rest.root, change)
    return (
        change,
        float(own @ own),
        float(its @ its),
        trace - p,
        float(np.linalg.det(turned)) ** 2,
        (rest.root**2).sum(axis=1),
        rest.scale,
    )
