"""Fits of one model to many responses at a time, by a compiled loop without the GIL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import linalg

from mixedext.algebra.roots import clipped_roots
from mixedext.engine.deviance.one_factor import one_factor_function
from mixedext.engine.deviance.several_factors import is_compiled, several_factors_function
from mixedext.engine.fit import Fit, fit_design
from mixedext.engine.refits.refit import (
    RefitColumns,
    Responses,
    in_turn,
    joined,
    refit_design,
    row_of_fit,
    row_without_fit,
)
from mixedext.engine.refits.residual_refits import ResidualResponses
from mixedext.engine.refits.shared_looks import (
    SharedLook,
    basins,
    lattice,
    sharing_pays,
)
from mixedext.engine.refits.spectral import SpectralFits, spectral_pays
from mixedext.engine.rows.design import Design
from mixedext.engine.rows.levels import LevelSums, split_sums
from mixedext.engine.rows.within import Within
from mixedext.engine.search.optimize import MAX_ITERATIONS, MOST_LOOKS
from mixedext.engine.search.rivals import most_searches, other_starts
from mixedext.engine.search.starting_values import (
    WITHIN_SIZE,
    one_factor_moments,
    several_moments,
    solve_moments,
)
from mixedext.engine.threads import blas_threads
from mixedext.exceptions import DevianceError
from mixedext.kernels.deviance.refits import coefficients_at, refit_responses
from mixedext.kernels.deviance.response_sums import split_responses
from mixedext.limits import (
    DEVIANCE_NOISE,
    LEAST_SIGMA,
    SEARCH_NOISE,
    SIGMA_SHARE,
    START_CEILING,
    START_FLOOR,
)

__all__ = ["OneFactorBatch", "SeveralFactorsBatch", "fit_responses", "in_batches"]

# Numbers of a block of replicates that are worked on at a time.
BLOCK_SIZE = 400_000
# Rounding error of the deviance that hides no minimum from a search.
NO_MINIMUM_LOST = 1e-4
# Responses that tell whether the others will be looked for, too, and the share of them
# from which what is looked at is shared.
PROBED, SHARE_LOOKED = 8, 0.1


def fit_responses(
    responses: Responses | ResidualResponses,
    y: np.ndarray,
    reml: bool,
    run: Callable = in_turn,
    search_noise: float = SEARCH_NOISE,
) -> RefitColumns:
    """Fit a model to many responses.

    Parameters
    ----------
    responses : Responses or ResidualResponses
        Of the model.
    y : ndarray
        Responses less offset, (n, R).
    reml : bool
        Restricted (True) or ordinary likelihood.
    run : callable, optional
        Maps a function over blocks of responses, in order.
    search_noise : float, optional
        As in ``refine_fit``.
    """
    if isinstance(responses, ResidualResponses):
        return responses.fit(y, reml, run)
    design, count = responses.design, y.shape[1]
    width = max(1, BLOCK_SIZE // max(len(y), design.blocks.lead_cross.size))
    spectral = spectral_pays(design, count, given=True)
    kind = SpectralFits if spectral else _batch_class(design)
    if (kind, reml) not in responses.batches:
        responses.batches[kind, reml] = kind(design, reml)
    batch = responses.batches[kind, reml]

    def work(start: int) -> tuple[np.ndarray, ...]:
        products = responses.products(y[:, start : start + width], start)
        found, noise = batch.fit_products(*products)
        columns = RefitColumns(*found)
        for r in np.flatnonzero(noise > DEVIANCE_NOISE).tolist():  # digits were lost
            own = y[:, start + r]
            end = _known_end(responses.design, columns, r, noise[r])
            row = _sharper(responses, own, products, r, reml, end, search_noise)
            total = row.n_evaluations + columns.n_evaluations[r]
            _replace(columns, r, row._replace(n_evaluations=total))
        return columns

    return joined(run(work, range(0, count, width)))


def in_batches(design: Design) -> bool:
    """Whether responses are fitted by a compiled loop, which releases the GIL."""
    return _batch_class(design) is not _OneByOne


def _known_end(design, columns, r, noise):
    """Where the search for a response has ended, None if sharper sums may lead elsewhere.

    Of several factors the rows are asked only when the search has ended again.
    """
    trusted = noise < NO_MINIMUM_LOST and columns.converged[r]
    trusted = trusted or design.blocks.within is None
    return columns.theta[r] if trusted and np.isfinite(columns.theta[r]).all() else None


def _sharper(responses, y, products, r, reml, start, search_noise):
    """The row of a response by the ordinary path, from sharper sums."""
    try:
        fit = fit_design(responses.design_of(y, products, r), reml, start, far=False)
        if responses.design.blocks.within is None:
            fit = responses.refined(fit, y, search_noise)
    except DevianceError:
        if start is not None:  # rounding may have led there
            return _sharper(responses, y, products, r, reml, None, search_noise)
        return row_without_fit(responses.design)
    return row_of_fit(fit)


def _batch_class(design):
    if design.is_curved:  # which the compiled loops are not
        return _OneByOne
    if design.blocks.within is not None:
        return OneFactorBatch
    if design.terms and is_compiled(design.blocks):
        return SeveralFactorsBatch
    return _OneByOne


def _replace(columns, r, row):
    for column, value in zip(columns, row, strict=True):
        column[r] = value[0]


class _OneByOne:
    """Fits by the ordinary path."""

    def __init__(self, design: Design, reml: bool):
        self.design, self.reml = design, reml

    def fit(
        self,
        products: tuple[np.ndarray, ...],
        column: int,
        within: Within | None = None,
        start: np.ndarray | None = None,
    ) -> Fit:
        """Fit to one response."""
        design = refit_design(self.design, products, column, within)
        return fit_design(design, self.reml, start, far=False)

    def fit_products(
        self,
        lead: np.ndarray,
        tail: np.ndarray,
        least_squares: np.ndarray,
        y_scale: np.ndarray,
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Columns of ``RefitColumns`` and rounding errors from ``Responses.products``."""
        products = lead, tail, least_squares, y_scale
        rows, noise = [], np.zeros(len(y_scale))
        for j in range(len(y_scale)):
            row, noise[j] = self._one(products, j)
            rows.append(row)
        return joined(rows), noise

    def _one(self, products, column, within=None, start=None):
        """The row of one response, and the rounding error of its deviance.

        From ``start``, where all else has been looked at, if it is a number.
        """
        if start is not None and not np.isfinite(start).all():
            start = None
        try:
            fit = self.fit(products, column, within, start)
        except DevianceError:
            return row_without_fit(self.design), 0.0
        return row_of_fit(fit), fit.objective.noise if self.design.terms else 0.0


class _Batch(_OneByOne):
    """What batches share: starts, the compiled loop, and what it leaves undone."""

    def __init__(self, design: Design, reml: bool):
        super().__init__(design, reml)
        self.rank = design.basis.rank
        self.dof = design.blocks.nobs - self.rank if reml else design.blocks.nobs
        # batches are of linear structures, which are their own
        self.structures = tuple(s.ambient for s in design.structures)
        self.n_theta = sum(s.n_theta for s in self.structures)
        self.others = other_starts(design)
        self.shared: SharedLook | None = None
        self.lattice: tuple[np.ndarray, np.ndarray] | None = None
        self.term_start = np.cumsum([0, *(s.k for s in self.structures)])
        self.inverse = np.ascontiguousarray(linalg.block_diag(*design.inverse_transforms))

    def _starts(self, moments, right):
        """Starts for all responses, as ``fit_design`` would take: of moments, or lam = I.

        ``right`` holds the right-hand sides of the moment equations.
        """
        gamma, sigma = solve_moments(moments.system, right)
        sigma = np.where(sigma > 0, np.maximum(sigma, LEAST_SIGMA), SIGMA_SHARE)
        return self._starts_of(moments.covariances(gamma / sigma))

    def _starts_of(self, covariances):
        """Theta of relative covariances of each term, (R, k, k), made positive definite."""
        parts = []
        for s, covariance in zip(self.structures, covariances, strict=True):
            if s.k == 1:
                root = np.sqrt(covariance.clip(START_FLOOR, START_CEILING))
            else:
                root = clipped_roots(covariance, START_FLOOR, START_CEILING)
            parts.append(s.theta(root))
        return np.ascontiguousarray(np.hstack(parts))

    def _identity(self, count):
        return np.tile(np.concatenate([s.start() for s in self.structures]), (count, 1))

    def _looked(self, function, start, sums, within):
        """What is looked at where responses share the work, for ``_run``."""
        points = self.others.points
        if not sharing_pays(self.design, points, len(start)):
            return {}
        # where the moments are the minimum, as in balanced designs, nothing is looked at
        some = slice(0, PROBED)
        few = self._run(function, start[some], None if within is None else within[some])
        if np.mean(few["evaluations"] > len(points)) < SHARE_LOOKED:
            return {}
        if self.shared is None:
            # a slope has not been seen to be safe: basins of it are narrower
            if self.n_theta == len(self.design.blocks.factors):
                self.lattice = lattice(self.others.axes)
            points = self.lattice[0] if self.lattice else points
            self.shared = SharedLook(self.design, points, self.reml)
        found = {"looked": self.shared.values(*sums)}
        if self.lattice:
            names = "points", "neighbours"
            found |= dict(zip(names, self.lattice, strict=True))
            found |= basins(self.others.axes, found["looked"])._asdict()
        return found

    def _run(self, function, start, within, **shared):
        """What the compiled loop tells of every response."""
        others, count = self.others, len(start)
        found = {
            "theta": np.full((count, self.n_theta), np.nan),
            "deviance": np.empty(count),
            "residual_square": np.full(count, np.nan),
            "on_basis": np.full((count, self.rank), np.nan),
            "evaluations": np.empty(count, np.intp),
            "settled": np.zeros(count, np.uint8),
            "singular": np.zeros(count, np.uint8),
            "noise": np.zeros(count),
        }
        with blas_threads():
            refit_responses(
                function,
                start,
                others=others.starts,
                thorough=others.always,
                lowest=others.lowest,
                reach=others.reach,
                **vars(others.axes),
                most_looks=MOST_LOOKS,
                large=others.large,
                nobs=self.design.blocks.nobs,
                least=others.least_residual,
                **({"points": others.points, "neighbours": others.neighbours} | shared),
                within=np.empty((0, self.n_theta)) if within is None else within,
                may_leave=others.looks and not all(s.is_diagonal for s in self.structures),
                term_start=self.term_start,
                inverse=self.inverse,
                max_iterations=MAX_ITERATIONS,
                most_searches=most_searches(self.n_theta),
                **found,
            )
        return found

    def _refit(self, function, start, sums, least_squares, y_scale, shift=0.0, within=None):
        """Columns of ``RefitColumns``, rounding errors, and numbers of fits not settled.

        ``sums`` are Z'r of the leading factor and of the others.
        """
        design = self.design
        shared = self._looked(function, start, sums, within)
        found = self._run(function, start, within, **shared)
        offset = design.deviance_shift(self.reml, self.dof)
        offset += 2.0 * self.dof * (np.log(y_scale) - np.log(design.y_scale))
        on_basis, settled = found["on_basis"], found["settled"].astype(bool)
        coefficients = least_squares + y_scale[:, None] * (shift + on_basis)
        columns = (
            design.basis.coefficients(coefficients.T).T,
            found["theta"],
            found["residual_square"] / self.dof * y_scale**2,
            -0.5 * (found["deviance"] + offset),
            settled,
            found["singular"].astype(bool),
            found["evaluations"],
        )
        return columns, found["noise"], np.flatnonzero(~settled)


class SeveralFactorsBatch(_Batch):
    """Fits of a model with several grouping factors and a small dense tail.

    Parameters
    ----------
    design : Design
        The model; ``is_compiled`` must hold for its blocks.
    reml : bool
        Restricted (True) or ordinary likelihood.
    """

    def __init__(self, design: Design, reml: bool):
        super().__init__(design, reml)
        self.moments = several_moments(design.blocks, self.structures)

    def _within_starts(self, moments, function, lead, tail):
        """As ``within_start``, for all responses."""
        blocks = self.design.blocks
        beta = np.empty((len(lead), self.rank))
        coefficients_at(function, WITHIN_SIZE * self._identity(1)[0], beta)
        fixed = blocks.lead_cross[..., :-1], blocks.tail_cross[:, :-1]
        right = moments.right(
            lead - np.tensordot(beta, fixed[0], (1, 2)),
            tail - beta @ fixed[1].T,
            blocks.nobs + np.einsum("rj,rj->r", beta, beta),
        )
        known = np.isfinite(right).all(axis=0)
        gamma, sigma = solve_moments(moments.known, np.where(known, right, 1.0))
        square = right[-1] / blocks.nobs
        sigma = np.where(
            sigma > 0, np.maximum(sigma, LEAST_SIGMA * square), SIGMA_SHARE * square
        )
        start = self._starts_of(moments.covariances(gamma / np.where(known, sigma, 1.0)))
        start[~known] = np.nan
        return start

    def fit_products(
        self,
        lead: np.ndarray,
        tail: np.ndarray,
        least_squares: np.ndarray,
        y_scale: np.ndarray,
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Columns of ``RefitColumns`` and rounding errors from ``Responses.products``."""
        blocks, count = self.design.blocks, len(y_scale)
        by_response = np.ascontiguousarray(lead.transpose(2, 0, 1))
        tail_by_response = np.ascontiguousarray(tail.T)
        function = several_factors_function(blocks, self.structures, self.reml, self.dof)
        function.give(by_response, tail_by_response, float(blocks.nobs))
        start, within = self._identity(count), None
        if self.moments is not None:
            right = self.moments.right(by_response, tail_by_response, blocks.nobs)
            start = self._starts(self.moments, right)
            if self.others.within:
                within = self._within_starts(
                    self.moments, function, by_response, tail_by_response
                )
        sums = by_response, tail_by_response
        columns, noise, undone = self._refit(
            function, start, sums, least_squares.T, y_scale, within=within
        )
        # by the ordinary path; where digits were lost sharper sums follow
        for r in undone[~(noise[undone] > DEVIANCE_NOISE)]:
            products, end = (lead, tail, least_squares, y_scale), columns[1][r]
            row, noise[r] = self._one(products, r, start=end)
            _replace(columns, r, row)
        return columns, noise


class OneFactorBatch(_Batch):
    """Fits of a model with one grouping factor to many responses at a time.

    Parameters
    ----------
    design : Design
        The model.
    reml : bool
        Restricted (True) or ordinary likelihood.
    """

    def __init__(self, design: Design, reml: bool):
        super().__init__(design, reml)
        blocks = design.blocks
        gram, cross = blocks.lead_gram, blocks.lead_cross
        self.triangle, self.half = split_sums(gram, cross)
        self.sums = LevelSums(gram, cross, None, self.triangle, self.half)
        self.moments = one_factor_moments(blocks, self.structures, self.sums)

    def fit_products(
        self,
        lead: np.ndarray,
        tail: np.ndarray,
        least_squares: np.ndarray,
        y_scale: np.ndarray,
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Columns of ``RefitColumns`` and rounding errors from ``Responses.products``."""
        lead = np.ascontiguousarray(lead.transpose(2, 0, 1))
        return self.fit_statistics(lead, least_squares.T, y_scale)

    def fit_statistics(
        self,
        lead: np.ndarray,
        least_squares: np.ndarray,
        y_scale: np.ndarray,
        parts: tuple[np.ndarray, ...] | None = None,
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Fit all responses.

        Parameters
        ----------
        lead : ndarray
            Z'r / y_scale, (R, L, K).
        least_squares : ndarray
            Q'y, (R, rank).
        y_scale : ndarray
            (R,)
        parts : tuple of ndarray, optional
            If r / y_scale - Q shift has been split into C (R, L, K) and W (R, P) with no
            loss: C, W, and shift (R, rank).

        Returns
        -------
        columns : tuple of ndarray
            Of ``RefitColumns``.
        noise : ndarray
            Rounding errors of the deviances.
        """
        blocks, count = self.design.blocks, len(lead)
        half, products = self.half.copy(), self._within_fixed()
        square = 0.0
        shift: np.ndarray | float = 0.0
        if parts is None:
            square = float(blocks.nobs)
            between, within = np.empty_like(lead), np.empty((count, self.rank + 1))
            split_responses(self.triangle, half, lead, square, between, within)
        else:
            between, within, shift = parts
        function = one_factor_function(
            replace(self.sums, half=half),
            Within(products, None, square),
            self.structures,
            self.reml,
            self.dof,
        )
        function.give(half, products, between, within)
        start = self._identity(count)
        if self.moments is not None:
            start = self._starts(self.moments, self.moments.right_of(lead))
        sums = lead, np.empty((count, 0))
        columns, noise, undone = self._refit(
            function, start, sums, least_squares, y_scale, shift
        )
        if parts is None:  # where digits were lost sharper sums follow
            undone = undone[~(noise[undone] > DEVIANCE_NOISE)]
        for r in undone:  # by the ordinary path, with its fallback
            own = lead[r], np.zeros(0), least_squares[r], y_scale[r]
            alone = tuple(np.asarray(part)[..., None] for part in own)
            known = None
            if parts is not None:
                products[-1], products[:, -1] = within[r], within[r]
                known = Within(products.copy(), parts[2][r])
            _replace(columns, r, self._one(alone, 0, known, columns[1][r])[0])
        return columns, noise

    def _within_fixed(self):
        """W of X; its row and column of y are left to be filled in."""
        within, out = self.design.blocks.within, np.zeros((self.rank + 1,) * 2)
        if within is None:
            raise ValueError("the model has not one grouping factor of few columns")
        out[:-1, :-1] = within.products[:-1, :-1]
        return out
