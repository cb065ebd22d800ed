"""Refits of what is left when rows are deleted: a row, a level, any set of them.

A set I takes its own cross-products off those of all rows, A - A_I, and Newton's method
starts from theta of all rows.  With one grouping factor of few columns a compiled loop fits
one set after the other (kernels.deviance.deletion): sums over the levels that the set touches
are exchanged for those of what is left of them, which are summed over their rows, so that
the cost of a set is that of the deviance.  Else, and where a set held so much of a column
that the difference has lost digits, the rows left are summed.

A level of which no row is left is dropped.  Where the deviance is looked at all over for
other minima, as in every fit to few rows, it is so here: the lowest is taken, wherever the
search from theta of all rows has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from mixedext.engine.deviance.one_factor import EPSILON
from mixedext.engine.factor.templates import template
from mixedext.engine.fit import Fit, fit_design
from mixedext.engine.information.refinement import fit_by_rows, needs_refinement, refine_fit
from mixedext.engine.refits.refit import in_turn
from mixedext.engine.rows.design import Design, prepare_design
from mixedext.engine.rows.levels import split_sums
from mixedext.engine.search.optimize import MAX_ITERATIONS, MOST_LOOKS
from mixedext.engine.search.rivals import NO_OTHERS, other_starts
from mixedext.engine.threads import blas_threads
from mixedext.exceptions import DesignError, DevianceError
from mixedext.kernels.deviance.deletion import OneFactorDeletion, levels_left
from mixedext.kernels.deviance.refits import refit_responses
from mixedext.limits import DEVIANCE_NOISE, DIGITS_DELETED
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["DeletedFits", "RowSets", "deleted_fits"]

# Numbers of a block of sets that are worked on at a time, and sets of one fitted singly.
BLOCK_SIZE = 400_000
SINGLY = 8
_INESTIMABLE = "the rows left do not identify all coefficients: their X has rank {} of {}"
_EXPLAINED = (
    "the random effects explain the rows left exactly: no residual variance is left"
)
_FAILED = "the search has not ended at a minimum"


@dataclass(frozen=True, eq=False)
class RowSets:
    """Sets of rows, compressed; they may overlap.

    Attributes
    ----------
    pointers : ndarray of intp
        Rows before each set, (G + 1,).
    rows : ndarray of intp
        Numbers of the rows of all sets, (M,).

    Examples
    --------
    >>> import numpy as np
    >>> sets = RowSets.of_codes(np.array([1, 0, 1, -1]))
    >>> [sets[g].tolist() for g in range(len(sets))]
    [[1], [0, 2]]
    """

    pointers: np.ndarray
    rows: np.ndarray

    @classmethod
    def of_codes(cls, codes: np.ndarray, count: int | None = None) -> RowSets:
        """A set for each level of a factor.

        Parameters
        ----------
        codes : ndarray
            Number of the set of each row, (n,); negative for rows of none.
        count : int, optional
            Number of sets; all up to the highest code if None.
        """
        codes = np.asarray(codes)
        count = int(codes.max(initial=-1)) + 1 if count is None else count
        order = np.argsort(codes, kind="stable")
        pointers = np.searchsorted(codes[order], np.arange(count + 1))
        return cls(
            (pointers - pointers[0]).astype(np.intp),
            order[pointers[0] : pointers[-1]].astype(np.intp),
        )

    @classmethod
    def of_lists(cls, sets: Sequence[np.ndarray]) -> RowSets:
        """Sets of row numbers; a row counts once in each."""
        own = [np.unique(np.asarray(rows, np.intp)) for rows in sets]
        pointers = np.concatenate([[0], np.cumsum([len(rows) for rows in own])])
        rows = np.concatenate(own) if own else np.zeros(0)
        return cls(pointers.astype(np.intp), rows.astype(np.intp))

    def __len__(self) -> int:
        return len(self.pointers) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        return self.rows[self.pointers[number] : self.pointers[number + 1]]

    def part(self, start: int, stop: int) -> RowSets:
        """The sets numbered ``start`` to before ``stop``."""
        pointers = self.pointers[start : stop + 1]
        return RowSets(pointers - pointers[0], self.rows[pointers[0] : pointers[-1]])


@dataclass(frozen=True, eq=False)
class DeletedFits:
    """Fits without sets of rows, one entry a set; none is left out.

    Attributes
    ----------
    n_deleted : ndarray
        Rows of each set, (G,).
    coefficients : ndarray
        Of the columns kept of all rows, (G, p), in the units of the data.
    covariance : ndarray
        Their covariance sigma^2 (X'V0^-1 X)^-1, (G, p, p).
    scale : ndarray
        Residual variances, (G,).
    theta : ndarray
        Relative covariance factors of all terms, as ``Fit.theta``, (G, n_theta).
    log_likelihood : ndarray
        (Restricted) log-likelihoods of the rows left, with all constants, (G,).
    converged : ndarray
        Whether the fit ended at a minimum, (G,) bool; of one step, whether a further one
        would bring nothing.
    is_singular : ndarray
        Whether some variance is zero or some correlation +-1, (G,) bool.
    n_evaluations : ndarray
        Evaluations of the deviance by the search from theta of all rows, (G,); where sums
        were taken from the rows, of all searches.
    reason : ndarray
        Why there is no sound fit, (G,) of str; "" where there is one.  Estimates are NaN
        where the rows left do not identify the coefficients or leave no variance.
    one_step : bool
        Whether theta is one Newton step from that of all rows, not the minimum.
    """

    n_deleted: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    scale: np.ndarray
    theta: np.ndarray
    log_likelihood: np.ndarray
    converged: np.ndarray
    is_singular: np.ndarray
    n_evaluations: np.ndarray
    reason: np.ndarray
    one_step: bool = False

    @property
    def deviance(self) -> np.ndarray:
        """-2 (restricted) log-likelihoods, (G,)."""
        return -2.0 * self.log_likelihood

    def __len__(self) -> int:
        return len(self.scale)

    @classmethod
    def blank(cls, sets: RowSets, rank: int, n_theta: int, one_step: bool) -> DeletedFits:
        """No fit yet of any set: NaN, and not converged."""
        count = len(sets)
        return cls(
            n_deleted=np.diff(sets.pointers),
            coefficients=np.full((count, rank), np.nan),
            covariance=np.full((count, rank, rank), np.nan),
            scale=np.full(count, np.nan),
            theta=np.full((count, n_theta), np.nan),
            log_likelihood=np.full(count, np.nan),
            converged=np.zeros(count, bool),
            is_singular=np.zeros(count, bool),
            n_evaluations=np.zeros(count, np.intp),
            reason=np.full(count, "", object),
            one_step=one_step,
        )

    def put(self, number: int, fit: Fit) -> None:
        """Enter a fit of one set."""
        verdict = fit.convergence
        self.coefficients[number], self.covariance[number] = (
            fit.coefficients,
            fit.covariance,
        )
        self.scale[number], self.theta[number] = fit.scale, fit.theta
        self.log_likelihood[number] = fit.log_likelihood
        self.converged[number], self.is_singular[number] = (
            verdict.converged,
            fit.is_singular,
        )
        self.n_evaluations[number] = verdict.n_evaluations
        self.reason[number] = ""
        if not (verdict.converged or self.one_step):
            self.reason[number] = verdict.message


def deleted_fits(
    fit: Fit,
    y: np.ndarray,
    x: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    weights: np.ndarray | None,
    sets: RowSets,
    *,
    one_step: bool = False,
    run: Callable = in_turn,
) -> DeletedFits:
    """Fit a model again without each of several sets of rows.

    Parameters
    ----------
    fit : Fit
        Of all rows, with nothing held or penalized.
    y : ndarray
        Response less offset, (n,).
    x : ndarray
        All fixed-effects columns, (n, k).
    terms : sequence of RandomTerm or SparseTerm
        The terms with their rows.
    weights : ndarray or None
        Weights of the rows.
    sets : RowSets
        What to delete.
    one_step : bool, optional
        Take one Newton step in theta from that of all rows, and the coefficients and the
        scale that go with it (Christensen, Pearson and Johnson 1992, Technometrics 34,
        38-45), in place of the minimum.
    run : callable, optional
        Maps a function over blocks of sets, (start, stop), in order.

    Returns
    -------
    DeletedFits

    Raises
    ------
    ValueError
        If parameters of the fit were held or penalized, or a set names rows that there
        are not.
    """
    if fit.held is not None:
        raise ValueError(
            "the fit holds or penalizes parameters: refits without some of the rows are "
            "those of plain (restricted) maximum likelihood; fit without free=, fe_pen= "
            "and cov_pen="
        )
    if len(sets.rows) and not 0 <= sets.rows.min() <= sets.rows.max() < len(y):
        raise ValueError(f"sets: rows are numbered 0 to {len(y) - 1}")
    rows = y, x, tuple(terms), weights
    single = _Singly(fit, rows, one_step)
    design, work = fit.design, single.fit_sets
    size = SINGLY
    if design.blocks.within is not None and design.rotation is None:
        work = (batch := _Batch(fit, rows, single)).fit_sets
        size = batch.size(sets)
    blocks = [(start, min(start + size, len(sets))) for start in range(0, len(sets), size)]

    def part(block: tuple[int, int]) -> DeletedFits:
        return work(sets.part(*block))

    parts = list(run(part, blocks))
    if not parts:
        return single.blank(sets)
    return DeletedFits(
        *(
            np.concatenate([getattr(own, name) for own in parts])
            for name in DeletedFits.__dataclass_fields__
            if name != "one_step"
        ),
        one_step=one_step,
    )


class _Singly:
    """Fits to the rows left, summed anew, one set after the other.

    Parameters
    ----------
    fit : Fit
        Of all rows.
    rows : tuple
        y, X, the terms and the weights.
    one_step : bool
        As for ``deleted_fits``.
    """

    def __init__(self, fit: Fit, rows: tuple, one_step: bool):
        self.fit, self.rows, self.one_step = fit, rows, one_step

    def blank(self, sets: RowSets) -> DeletedFits:
        """As of ``DeletedFits``."""
        rank, n_theta = self.fit.design.basis.rank, len(self.fit.theta)
        return DeletedFits.blank(sets, rank, n_theta, self.one_step)

    def fit_sets(self, sets: RowSets) -> DeletedFits:
        """Fits without each set."""
        out = self.blank(sets)
        for number in range(len(sets)):
            self.fit_set(out, number, sets[number])
        return out

    def fit_set(self, out: DeletedFits, number: int, rows: np.ndarray) -> None:
        """Enter the fit without one set, or why there is none."""
        y, x, terms, weights = self.rows
        kept = np.ones(len(y), bool)
        kept[rows] = False
        rank = self.fit.design.basis.rank
        left = (
            y[kept],
            x[kept][:, self.fit.design.basis.kept],
            [term.take(kept) for term in terms],
            None if weights is None else weights[kept],
        )
        out.converged[number] = False
        for column in (out.coefficients, out.covariance, out.scale, out.theta):
            column[number] = np.nan
        out.log_likelihood[number] = np.nan
        try:
            design = prepare_design(*left)
            if design.basis.rank < rank:
                out.reason[number] = _INESTIMABLE.format(design.basis.rank, rank)
                return
            within = design.blocks.within
            if within is not None and within.explained:
                out.reason[number] = _EXPLAINED
                return
            out.put(number, self._fitted(design, left))
        except (DesignError, DevianceError) as error:
            out.reason[number] = str(error)

    def _fitted(self, design, left):
        reml, theta = self.fit.reml, self.fit.theta
        most = 1 if self.one_step else None
        try:
            found = fit_design(design, reml, theta, most, look=not self.one_step)
        except DevianceError:
            y, x, terms, weights = left
            again = fit_by_rows(design, reml, theta, most, y, x, terms, weights)
            if again is None:
                raise
            found = again
        if needs_refinement(found) and not self.one_step:
            found = refine_fit(found, *left)
        return found


class _Batch:
    """Fits of a model with one grouping factor of few columns, by a compiled loop.

    Parameters
    ----------
    fit : Fit
        Of all rows.
    rows : tuple
        y, X, the terms and the weights.
    single : _Singly
        For sets that the loop leaves undone.
    """

    def __init__(self, fit: Fit, rows: tuple, single: _Singly):
        self.fit, self.single = fit, single
        design = self.design = fit.design
        blocks, within = design.blocks, design.blocks.within
        y, x, terms, weights = rows
        root = np.ones(len(y)) if weights is None else np.sqrt(weights)
        q = np.linalg.solve(design.basis.r.T, (x[:, design.basis.kept] * root[:, None]).T).T
        residual = (y * root - q @ design.least_squares) / design.y_scale
        self.fixed = np.ascontiguousarray(np.column_stack([q, residual]))
        self.z = np.empty((len(y), blocks.lead_gram.shape[1]))
        layout = blocks.factors[0]
        for number, at in zip(layout.terms, layout.slices, strict=True):
            self.z[:, at] = root[:, None] * (
                terms[number].z @ design.inverse_transforms[number]
            )
        self.log_weights = None if weights is None else np.log(weights)
        self.codes = terms[layout.terms[0]].codes
        self.order = np.argsort(self.codes, kind="stable").astype(np.intp)
        counts = np.bincount(self.codes, minlength=layout.n_levels)
        self.first = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        self.triangle, self.half = split_sums(blocks.lead_gram, blocks.lead_cross)
        rank = design.basis.rank
        self.shift = np.zeros(rank) if within.shift is None else within.shift
        # pooled levels where that pays; else those that are split already
        pooled = design.level_sums
        self.sums = (
            (pooled.triangle, pooled.half, pooled.weight)
            if pooled.triangle is not None
            else (self.triangle, self.half, None)
        )
        self.structures = tuple(design.structures)
        self.others = NO_OTHERS if single.one_step else other_starts(design)
        self.term_start = np.cumsum([0, *(s.k for s in self.structures)])
        self.inverse = np.ascontiguousarray(linalg.block_diag(*design.inverse_transforms))

    def size(self, sets: RowSets) -> int:
        """Sets of a block."""
        k, p = self.z.shape[1], self.fixed.shape[1]
        touched = len(sets.rows) / max(len(sets), 1)
        own = p * p + min(touched, len(self.triangle)) * 2 * k * (k + p)
        return max(1, int(BLOCK_SIZE / own))

    def fit_sets(self, sets: RowSets) -> DeletedFits:
        """Fits without each set."""
        out, count = self.single.blank(sets), len(sets)
        design, reml = self.design, self.fit.reml
        rank, nobs = design.basis.rank, design.blocks.nobs
        left = nobs - out.n_deleted
        dof = (left - rank if reml else left).astype(float)
        # sets that leave no degrees of freedom are told by the rows
        out.converged[:] = left > rank
        function = self._function(sets, dof)
        n_theta = len(self.fit.optimum.theta)
        start = np.tile(self.fit.optimum.theta, (count, 1))
        deviance, square = np.full(count, np.nan), np.full(count, np.nan)
        theta, on_basis = out.theta, np.full((count, rank), np.nan)
        settled, singular = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
        noise, root = np.zeros(count), np.full((count, rank, rank), np.nan)
        others = self.others
        one_step = self.single.one_step
        with blas_threads():
            refit_responses(
                function,
                start,
                others=others.starts.reshape(-1, n_theta),
                thorough=others.always,
                points=others.points.reshape(-1, n_theta),
                neighbours=others.neighbours,
                lowest=others.lowest,
                **vars(others.axes),
                most_looks=MOST_LOOKS,
                within=np.empty((0, n_theta)),
                may_leave=others.looks and not all(s.is_diagonal for s in self.structures),
                term_start=self.term_start,
                inverse=self.inverse,
                max_iterations=1 if one_step else MAX_ITERATIONS,
                theta=theta,
                deviance=deviance,
                residual_square=square,
                on_basis=on_basis,
                evaluations=np.empty(count, np.intp),
                settled=settled,
                singular=singular,
                noise=noise,
                always=True,
                searched=out.n_evaluations,
                root=root,
            )
        y_scale = design.y_scale
        out.scale[:] = square / dof * y_scale**2
        shift = 2.0 * dof * np.log(y_scale) - self._log_weights(sets)
        if reml:
            shift += 2.0 * design.basis.log_det
        out.log_likelihood[:] = -0.5 * (deviance + shift)
        on_q = design.least_squares + y_scale * (self.shift + on_basis)
        out.coefficients[:] = design.basis.coefficients(on_q.T).T
        for number in range(count):
            own = design.basis.coefficients(root[number].T)
            out.covariance[number] = out.scale[number] * own @ own.T
        out.converged[:] &= settled.astype(bool)
        out.is_singular[:] = singular.astype(bool)
        return self._checked(out, sets, dof, np.isfinite(deviance), noise)

    def _checked(self, out, sets, dof, found, noise):
        """The sets that the loop left undone, or of which digits were lost, by their rows."""
        lost = noise > np.maximum(DEVIANCE_NOISE, DIGITS_DELETED * EPSILON * dof)
        lost |= ~found if self.single.one_step else ~out.converged
        for number in np.flatnonzero(lost).tolist():
            self.single.fit_set(out, number, sets[number])
        return out

    def _log_weights(self, sets):
        if self.log_weights is None:
            return np.zeros(len(sets))
        gone = np.concatenate([[0.0], np.cumsum(self.log_weights[sets.rows])])
        return self.design.log_weights - np.diff(gone[sets.pointers])

    def _function(self, sets, dof):
        """The compiled deviance of all sets."""
        count, k, p = len(sets), self.z.shape[1], self.fixed.shape[1]
        owner = np.repeat(np.arange(count), np.diff(sets.pointers))
        n_levels = len(self.triangle)
        touched = np.unique(owner * n_levels + self.codes[sets.rows])
        unit, level = np.divmod(touched, n_levels)
        level = level.astype(np.intp)
        pointers = np.searchsorted(unit, np.arange(count + 1)).astype(np.intp)
        kept_pointers = np.zeros(count + 1, np.intp)
        kept_triangle = np.zeros((len(level), k, k))
        kept_half = np.zeros((len(level), k, p))
        base = self.design.blocks.within
        within = np.tile(base.products, (count, 1, 1))
        levels_left(
            sets.pointers,
            sets.rows,
            pointers,
            level,
            self.first,
            self.order,
            self.z,
            self.fixed,
            self.shift,
            self.triangle,
            self.half,
            kept_pointers,
            kept_triangle,
            kept_half,
            within,
        )
        # constant within levels of all rows, so within those of some
        constant = base.products.diagonal() == 0.0
        constant[-1] = False
        within[:, constant] = within[:, :, constant] = 0.0
        index, value = template(self.structures)
        triangle, half, weight = self.sums
        function = OneFactorDeletion(
            gram=triangle,
            cross=half,
            split=True,
            weight=weight,
            within=np.ascontiguousarray(base.products),
            shift=base.shift,
            square=base.square,
            index=index,
            value=value,
            n_theta=len(self.fit.optimum.theta),
            reml=self.fit.reml,
            dof=1.0,
        )
        function.without(
            pointers=pointers,
            triangle=self.triangle[level],
            half=self.half[level],
            kept_pointers=kept_pointers,
            kept_triangle=kept_triangle,
            kept_half=kept_half,
            within=within,
            dof=dof,
        )
        return function
