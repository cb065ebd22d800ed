"""Fits without sets of rows of a model with one grouping factor, by a compiled loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import linalg

from mixedext.engine.deviance.one_factor import EPSILON
from mixedext.engine.factor.templates import template
from mixedext.engine.fit import Fit, inner_start
from mixedext.engine.refits.deletion_products import engine_rows
from mixedext.engine.refits.row_sets import DeletedFits, RowSets
from mixedext.engine.refits.single_deletions import SingleFits
from mixedext.engine.rows.levels import split_sums
from mixedext.engine.search.optimize import MAX_ITERATIONS, MOST_LOOKS
from mixedext.engine.search.rivals import NO_OTHERS, most_searches, other_starts
from mixedext.engine.threads import blas_threads
from mixedext.kernels.deviance.deletion import OneFactorDeletion, levels_left
from mixedext.kernels.deviance.refits import refit_responses
from mixedext.limits import DEVIANCE_NOISE, DIGITS_DELETED

__all__ = ["DeletionLoop"]

# Numbers of a block of sets that are worked on at a time, and sets: blocks are shared
# among jobs.
BLOCK_SIZE, MOST_SETS = 400_000, 500


class DeletionLoop:
    """Fits of a model with one grouping factor of few columns, by a compiled loop.

    Parameters
    ----------
    fit : Fit
        Of all rows.
    rows : tuple
        y, X, the terms and the weights.
    single : SingleFits
        For sets that the loop leaves undone.
    """

    def __init__(self, fit: Fit, rows: tuple, single: SingleFits):
        self.fit, self.single = fit, single
        design = self.design = fit.design
        blocks, within = design.blocks, design.blocks.within
        if within is None:
            raise ValueError("the model has not one grouping factor of few columns")
        self.within = within
        y, x, terms, weights = rows
        self.fixed, root = engine_rows(design, y, x, weights)
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
        if self.others.looks:  # the start of a fit, too: theta may be a saddle now
            starts = np.vstack([inner_start(design, None), self.others.starts])
            self.others = replace(self.others, starts=starts, always=True)
        self.term_start = np.cumsum([0, *(s.k for s in self.structures)])
        self.inverse = np.ascontiguousarray(linalg.block_diag(*design.inverse_transforms))

    def size(self, sets: RowSets) -> int:
        """Sets of a block."""
        k, p = self.z.shape[1], self.fixed.shape[1]
        touched = len(sets.rows) / max(len(sets), 1)
        own = p * p + min(touched, len(self.triangle)) * 2 * k * (k + p)
        return max(1, min(int(BLOCK_SIZE / own), MOST_SETS))

    def fit_sets(self, sets: RowSets) -> DeletedFits:
        """Fits without each set."""
        out, count = self.single.blank(sets), len(sets)
        design, reml = self.design, self.fit.reml
        rank, nobs = design.basis.rank, design.blocks.nobs
        left = nobs - out.n_deleted
        # sets that leave no degrees of freedom are told by the rows
        out.converged[:] = left > rank
        dof = np.maximum(left - rank if reml else left, 1.0)
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
                reach=others.reach,
                **vars(others.axes),
                most_looks=MOST_LOOKS,
                large=others.large.reshape(-1, n_theta),
                nobs=nobs,
                least=others.least_residual,
                within=np.empty((0, n_theta)),
                may_leave=others.looks and not all(s.is_diagonal for s in self.structures),
                term_start=self.term_start,
                inverse=self.inverse,
                max_iterations=1 if one_step else MAX_ITERATIONS,
                most_searches=most_searches(n_theta),
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
        own = design.basis.coefficients(np.eye(rank)) @ root.transpose(0, 2, 1)
        out.covariance[:] = out.scale[:, None, None] * own @ own.transpose(0, 2, 1)
        out.converged[:] &= settled.astype(bool)
        out.is_singular[:] = singular.astype(bool)
        return self._checked(out, sets, dof, np.isfinite(deviance), noise)

    def _checked(self, out, sets, dof, found, noise):
        """The sets left undone, and those of which digits were lost, by their rows."""
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
        base = self.within
        within = np.tile(base.products, (count, 1, 1))
        levels_left(
            sets.pointers,
            sets.rows,
            level_pointers=pointers,
            level=level,
            first=self.first,
            order=self.order,
            z=self.z,
            fixed=self.fixed,
            shift=self.shift,
            triangle=self.triangle,
            half=self.half,
            kept_pointers=kept_pointers,
            kept_triangle=kept_triangle,
            kept_half=kept_half,
            within=within,
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
