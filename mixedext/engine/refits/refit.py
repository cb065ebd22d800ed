"""Fits of one model to other responses: Z'Z, Z'X and X'X stay, one column of A changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mixedext.engine.factor.spread import times_rows
from mixedext.engine.fit import Fit
from mixedext.engine.information.refinement import refine_fit
from mixedext.engine.residual.natural import natural_parameters
from mixedext.engine.rows.design import Design
from mixedext.engine.rows.rotation import coefficients_on_z, residual_squares
from mixedext.engine.rows.sparse_rows import transposed_rows
from mixedext.engine.rows.within import Within, find_within, within_chunks
from mixedext.exceptions import DesignError
from mixedext.limits import NO_RESIDUAL
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = [
    "RefitColumns",
    "Responses",
    "in_turn",
    "joined",
    "refit_design",
    "row_of_fit",
    "row_without_fit",
]

# Iterations of a search by the rows: what has not ended then is led by noise.
ROW_ITERATIONS = 40


class RefitColumns(NamedTuple):
    """Fits of one model to many responses, one row each; none is left out.

    Attributes
    ----------
    coefficients : ndarray
        Of the columns kept, (R, p).
    theta : ndarray
        Relative covariance factors of all terms, (R, n_theta), then natural parameters of
        a residual covariance.
    scale : ndarray
        Residual variances, (R,).
    log_likelihood : ndarray
        (Restricted) log-likelihoods with all constants, (R,).
    converged : ndarray
        Whether the fit ended at a minimum, (R,) bool.
    is_singular : ndarray
        Whether some variance is zero or some correlation +-1, (R,) bool.
    n_evaluations : ndarray
        Evaluations of the deviance, (R,).
    """

    coefficients: np.ndarray
    theta: np.ndarray
    scale: np.ndarray
    log_likelihood: np.ndarray
    converged: np.ndarray
    is_singular: np.ndarray
    n_evaluations: np.ndarray


def row_without_fit(design: Design) -> RefitColumns:
    """A row without estimates: the fit broke down."""
    return RefitColumns(
        coefficients=np.full((1, design.basis.rank), np.nan),
        theta=np.full((1, sum(s.n_theta for s in design.structures)), np.nan),
        scale=np.full(1, np.nan),
        log_likelihood=np.full(1, np.nan),
        converged=np.zeros(1, bool),
        is_singular=np.zeros(1, bool),
        n_evaluations=np.zeros(1, np.intp),
    )


class Responses:
    """Products of new responses with the columns of a design.

    Parameters
    ----------
    design : Design
        From ``prepare_design``.
    x : ndarray
        All fixed-effects columns, (n, k).
    terms : list of RandomTerm
        The terms with their rows.
    weights : ndarray or None
        Weights of the rows.
    """

    def __init__(
        self,
        design: Design,
        x: np.ndarray,
        terms: Sequence[RandomTerm | SparseTerm],
        weights: np.ndarray | None,
    ):
        self.design, self.root = design, None if weights is None else np.sqrt(weights)
        self.rows = x, terms, weights
        self.n_residual = 0
        # by kind and criterion, see engine.refits.batches
        self.batches: dict[tuple[type, bool], Any] = {}
        kept = x[:, design.basis.kept]
        if self.root is not None:
            kept = kept * self.root[:, None]
        self.q = np.linalg.solve(design.basis.r.T, kept.T).T
        self.lead, self.tail = transposed_rows(design, terms, len(x), self.root)

    def products(self, y: np.ndarray, first_number: int = 0) -> tuple[np.ndarray, ...]:
        """For responses y (n, R) in the data's units; errors number them from the first.

        Returns
        -------
        lead, tail : ndarray
            Z'r / y_scale, (L, K, R) and (m, R).
        least_squares : ndarray
            Q'y, (rank, R).
        y_scale : ndarray
            Root mean square of the residual r = y - QQ'y, (R,).
        """
        if self.root is not None:
            y = y * self.root[:, None]
        first = self.q.T @ y
        residual = y - self.q @ first
        second = self.q.T @ residual
        residual -= self.q @ second
        size = np.sqrt(np.mean(y**2, axis=0))
        y_scale = np.sqrt(np.mean(residual**2, axis=0))
        bad = np.flatnonzero(~(y_scale > NO_RESIDUAL * size))
        if len(bad):
            raise DesignError(
                f"response number {first_number + bad[0]} is constant or explained exactly "
                "by X: no variance is left to estimate"
            )
        residual /= y_scale
        shape = self.design.blocks.lead_gram.shape[:2]
        lead = self.lead @ residual
        if self.design.rotation is not None:
            lead = self.design.rotation.forward(lead)
        lead = lead.reshape(*shape, y.shape[1])
        return lead, self.tail @ residual, first + second, y_scale

    def design_of(
        self,
        y: np.ndarray,
        products: tuple[np.ndarray, ...] | None = None,
        column: int = 0,
    ) -> Design:
        """The design with a response in place of its own.

        Parameters
        ----------
        y : ndarray
            Response less offset, (n,).
        products : tuple of ndarray, optional
            Of ``products``, where they are known.
        column : int, optional
            The column of y there.
        """
        products = self.products(y[:, None]) if products is None else products
        ask_rows = partial(self._within, y, *(part[..., column] for part in products))
        return refit_design(self.design, products, column, ask_rows)

    def _within(self, y, lead, tail, least_squares, y_scale, shift):
        """W for the response y from the rows."""
        blocks, rotation = self.design.blocks, self.design.rotation
        if rotation is not None:
            return self._within_rotated(rotation, y, lead, least_squares, y_scale, shift)
        # of one factor of few columns, each row of which has one level
        terms = [t for t in self.rows[1] if isinstance(t, RandomTerm)]
        z = np.empty((len(y), blocks.lead_gram.shape[1]))
        for term, at, inverse in zip(
            terms, blocks.factors[0].slices, self.design.inverse_transforms, strict=True
        ):
            z[:, at] = term.z @ inverse
        if self.root is not None:
            y, z = y * self.root, z * self.root[:, None]
        residual = (y - self.q @ least_squares) / y_scale
        cross = _with_response(blocks.lead_cross, lead)
        fixed = np.ascontiguousarray(np.column_stack([self.q, residual]))
        chunk = terms[0].codes, np.ascontiguousarray(z.T), fixed
        return within_chunks([chunk], blocks.lead_gram, cross, shift)

    def _within_rotated(self, rotation, y, lead, least_squares, y_scale, shift):
        """The same where Z has been rotated."""
        (term,), design = self.rows[1], self.design
        cross = _with_response(design.blocks.lead_cross, lead)
        b = coefficients_on_z(rotation, cross.reshape(-1, cross.shape[-1]))
        b = b.reshape(term.n_levels, term.k, -1) * design.inverse_transforms[0][0, 0]
        fitted = times_rows(term, slice(0, len(y)), b)
        if self.root is not None:
            y, fitted = y * self.root, fitted * self.root[:, None]
        residual = (y - self.q @ least_squares) / y_scale
        return residual_squares(np.column_stack([self.q, residual]), fitted, shift)

    def refined(self, fit: Fit, y: np.ndarray, search_noise: float) -> Fit:
        """A fit to the response y (n,) with its fixed-effects block from the rows."""
        x, terms, weights = self.rows
        return refine_fit(fit, y, x, terms, weights, search_noise, ROW_ITERATIONS)


def _with_response(cross, response):
    """Z'[X y] with other values for y."""
    cross = cross.copy()
    cross[..., -1] = response
    return cross


def refit_design(
    design: Design,
    products: tuple[np.ndarray, ...],
    column: int = 0,
    within: Callable | Within | None = None,
) -> Design:
    """The design with a response of ``Responses.products`` in place of its own.

    Parameters
    ----------
    design : Design
        The model.
    products : tuple of ndarray
        Of ``Responses.products``.
    column : int, optional
        The response that is meant.
    within : Within or callable, optional
        With one grouping factor what varies within levels, or how to ask the rows for it.
    """
    lead, tail, least_squares, y_scale = (part[..., column] for part in products)
    blocks = design.blocks
    lead_cross = _with_response(blocks.lead_cross, lead)
    tail_cross = _with_response(blocks.tail_cross, tail)
    fixed = blocks.fixed_gram.copy()
    fixed[-1, :-1] = fixed[:-1, -1] = 0.0
    fixed[-1, -1] = blocks.nobs
    if blocks.within is None:
        within = None
    elif not isinstance(within, Within):
        within = find_within(blocks.lead_gram, lead_cross, fixed, blocks.nobs, within)
    blocks = replace(
        blocks,
        lead_cross=lead_cross,
        tail_cross=tail_cross,
        fixed_gram=fixed,
        within=within,
    )
    return replace(
        design,
        blocks=blocks,
        least_squares=least_squares,
        y_scale=float(y_scale),
        rows=None,
    )


def in_turn(work: Callable, blocks: Iterable) -> list:
    """``work`` on one block after the other; the kernels release the GIL for threads."""
    return list(map(work, blocks))


def joined(parts: Iterable[Iterable[np.ndarray]]) -> RefitColumns:
    """The columns of all blocks of responses."""
    return RefitColumns(*(np.concatenate(c) for c in zip(*parts, strict=True)))


def row_of_fit(fit: Fit) -> RefitColumns:
    """A fit as the row of one response."""
    verdict, parameters = fit.convergence, fit.theta
    if fit.residual is not None:
        own = natural_parameters(fit.residual.bound, fit.residual.psi)
        parameters = np.concatenate([fit.residual.theta, own])
    return RefitColumns(
        fit.coefficients[None],
        parameters[None],
        np.array([fit.scale]),
        np.array([fit.log_likelihood]),
        np.array([verdict.converged]),
        np.array([fit.is_singular]),
        np.array([verdict.n_evaluations]),
    )
