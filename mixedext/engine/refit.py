"""Fits of one model to other responses: Z'Z, Z'X and X'X stay, one column of A changes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy import linalg, sparse

from mixedext.engine.design import NO_RESIDUAL, Design
from mixedext.engine.fit import START_CEILING, START_FLOOR, fit_design, other_starts
from mixedext.engine.kernels.refits import refit_responses, split_responses
from mixedext.engine.levels import LevelSums
from mixedext.engine.moments import SIGMA_SHARE, one_factor_moments, solve_moments
from mixedext.engine.one_factor import one_factor_function
from mixedext.engine.optimize import MAX_ITERATIONS
from mixedext.engine.refinement import DEVIANCE_NOISE, refine_fit
from mixedext.engine.rotation import coefficients_on_z, residual_squares
from mixedext.engine.spectral import SpectralFits, spectral_pays
from mixedext.engine.spread import engine_terms, times_rows
from mixedext.engine.within import Within, find_within, within_chunks
from mixedext.exceptions import DesignError
from mixedext.specification.sparse_terms import SparseTerm

__all__ = [
    "Batch",
    "Refits",
    "Responses",
    "fit_responses",
    "joined",
    "refit_design",
    "row_of_fit",
    "run_blocks",
]

# Numbers of a block of replicates that are worked on at a time.
BLOCK_SIZE = 400_000


@dataclass(frozen=True, eq=False)
class Refits:
    """Fits of one model to many responses, one row each; none is left out.

    Attributes
    ----------
    fe_params : ndarray
        Fixed effects, (R, p); NaN for columns that were dropped.
    theta : ndarray
        Relative covariance factors of all terms, (R, n_theta).
    scale : ndarray
        Residual variances, (R,).
    llf : ndarray
        (Restricted) log-likelihoods with all constants, (R,).
    converged : ndarray
        Whether the fit ended at a minimum, (R,) bool.
    is_singular : ndarray
        Whether some variance is zero or some correlation +-1, (R,) bool.
    n_evaluations : ndarray
        Evaluations of the deviance, (R,).
    reml : bool
        Restricted or ordinary maximum likelihood.
    fe_names, theta_names : tuple of str
        Names of the columns.
    """

    fe_params: np.ndarray
    theta: np.ndarray
    scale: np.ndarray
    llf: np.ndarray
    converged: np.ndarray
    is_singular: np.ndarray
    n_evaluations: np.ndarray
    reml: bool
    fe_names: tuple[str, ...] = ()
    theta_names: tuple[str, ...] = ()

    def __len__(self):
        return len(self.scale)

    @property
    def n_failed(self) -> int:
        """Number of fits that did not end at a minimum."""
        return int(len(self) - np.count_nonzero(self.converged))

    def to_frame(self) -> pd.DataFrame:
        """All of it as a frame, one row a response."""
        fixed = pd.DataFrame(self.fe_params, columns=list(self.fe_names))
        theta = pd.DataFrame(self.theta, columns=list(self.theta_names))
        rest = pd.DataFrame(
            {
                "scale": self.scale,
                "llf": self.llf,
                "converged": self.converged,
                "is_singular": self.is_singular,
                "n_evaluations": self.n_evaluations,
            }
        )
        return pd.concat([fixed, theta, rest], axis=1)


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

    def __init__(self, design: Design, x, terms, weights):
        self.design, self.root = design, None if weights is None else np.sqrt(weights)
        self.rows = x, terms, weights
        terms = engine_terms(terms)
        kept = x[:, design.basis.kept]
        if self.root is not None:
            kept = kept * self.root[:, None]
        self.q = np.linalg.solve(design.basis.r.T, kept.T).T
        blocks = design.blocks
        lead, tail = [], []
        for i, (term, inverse) in enumerate(
            zip(terms, design.inverse_transforms, strict=True)
        ):
            number, at = next(
                (f, place)
                for f, layout in enumerate(blocks.factors)
                for t, place in zip(layout.terms, layout.slices, strict=True)
                if t == i
            )
            if number == 0:
                width = term.k if design.rotation else blocks.factors[0].width
                place = np.arange(term.n_levels * width).reshape(-1, width)
                place = place if design.rotation else place[:, at]
                lead.append(_placed(term, inverse, place))
            else:
                tail.append(_placed(term, inverse, blocks.tail_columns(number - 1)[:, at]))
        rotation = design.rotation
        size = rotation.n_columns if rotation else blocks.lead_gram[:, 0].size
        self.lead = self._sums(lead, size)
        self.tail = self._sums(tail, blocks.tail_size)

    def _sums(self, parts, size):
        """Z', weighted, of terms given by ``_placed``; sparse (size, n)."""
        n = len(self.q)
        z = sparse.csr_array((n, size))
        for data, index, pointers in parts:
            part = sparse.csr_array((data, index, pointers), shape=(n, size))
            z = part if len(parts) == 1 else z + part
        if self.root is not None:
            z.data *= np.repeat(self.root, np.diff(z.indptr))
        return z.T.tocsr()

    def products(self, y: np.ndarray, first_number: int = 0):
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

    def design_of(self, y: np.ndarray, products=None, column: int = 0) -> Design:
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
        blocks, (_, terms, _) = self.design.blocks, self.rows
        rotation = self.design.rotation
        if rotation is not None:
            return self._within_rotated(y, lead, least_squares, y_scale, shift)
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

    def _within_rotated(self, y, lead, least_squares, y_scale, shift):
        """The same where Z has been rotated."""
        (term,), design = self.rows[1], self.design
        cross = _with_response(design.blocks.lead_cross, lead)
        b = coefficients_on_z(design.rotation, cross.reshape(-1, cross.shape[-1]))
        b = b.reshape(term.n_levels, term.k, -1) * design.inverse_transforms[0][0, 0]
        fitted = times_rows(term, slice(0, len(y)), b)
        if self.root is not None:
            y, fitted = y * self.root, fitted * self.root[:, None]
        residual = (y - self.q @ least_squares) / y_scale
        return residual_squares(np.column_stack([self.q, residual]), fitted, shift)

    def refined(self, fit, y):
        """A fit to the response y (n,) with its fixed-effects block from the rows."""
        return refine_fit(fit, y, *self.rows)


def _with_response(cross, response):
    """Z'[X y] with other values for y."""
    cross = cross.copy()
    cross[..., -1] = response
    return cross


def _placed(term, inverse, place):
    """Z times ``inverse`` of one term as compressed rows; columns ``place`` (L, k)."""
    if isinstance(term, SparseTerm):
        z = term.matrix
        return z.data * inverse[0, 0], place[z.indices, 0], z.indptr
    z = term.z * inverse[0, 0] if len(inverse) == 1 else term.z @ inverse
    pointers = np.arange(len(z) + 1) * term.k
    return z.ravel(), place[term.codes].ravel(), pointers


def refit_design(
    design: Design, products, column: int = 0, within: Callable | Within | None = None
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
        design, blocks=blocks, least_squares=least_squares, y_scale=float(y_scale)
    )


def fit_responses(
    responses: Responses, y: np.ndarray, reml: bool, n_threads: int = 1
) -> Refits:
    """Fit a model to many responses.

    Parameters
    ----------
    responses : Responses
        Of the design.
    y : ndarray
        Responses less offset, (n, R).
    reml : bool
        Restricted (True) or ordinary likelihood.
    n_threads : int, optional
        Threads that blocks of responses are shared among.
    """
    design, count = responses.design, y.shape[1]
    width = max(1, BLOCK_SIZE // max(len(y), design.blocks.lead_cross.size))
    batched = design.blocks.within is not None
    batch = None
    if batched:
        batch = (SpectralFits if spectral_pays(design, count, True) else Batch)(
            design, reml
        )

    def work(start):
        products = responses.products(y[:, start : start + width], start)
        lead, _, least_squares, y_scale = products
        if batched:
            lead = np.ascontiguousarray(lead.transpose(2, 0, 1))
            columns, noise = batch.fit(lead, least_squares.T, y_scale)
        else:
            fits = [_single(design, products, j, reml) for j in range(len(y_scale))]
            noise = np.array([fit.objective.noise if design.terms else 0.0 for fit in fits])
            columns = joined(row_of_fit(fit) for fit in fits)
        for r in np.flatnonzero(noise > DEVIANCE_NOISE):  # digits were lost
            if batched:
                whole = responses.design_of(y[:, start + r], products, r)
                fit = fit_design(whole, reml)
            else:
                fit = responses.refined(fits[r], y[:, start + r])
            _replace(columns, r, fit)
        return columns

    return Refits(*joined(run_blocks(work, range(0, count, width), n_threads)), reml)


def run_blocks(work: Callable, blocks, n_threads: int) -> list:
    """``work`` on every block, in order; the kernels release the GIL."""
    if n_threads == 1:
        return [work(block) for block in blocks]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(work, blocks))


def joined(parts) -> tuple[np.ndarray, ...]:
    """Columns of ``Refits`` from those of blocks of responses."""
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _single(design, products, column, reml, within=None):
    """Fit to one response by the ordinary path."""
    return fit_design(refit_design(design, products, column, within), reml)


def _replace(columns, r, fit):
    for column, value in zip(columns, row_of_fit(fit), strict=True):
        column[r] = value[0]


def row_of_fit(fit):
    """A fit as a row of each column of ``Refits``."""
    verdict = fit.convergence
    return (
        fit.coefficients[None],
        fit.theta[None],
        np.array([fit.scale]),
        np.array([fit.log_likelihood]),
        np.array([verdict.converged]),
        np.array([fit.is_singular]),
        np.array([verdict.n_evaluations]),
    )


class Batch:
    """Fits of a model with one grouping factor to many responses at a time.

    Parameters
    ----------
    design : Design
        The model.
    reml : bool
        Restricted (True) or ordinary likelihood.
    """

    def __init__(self, design: Design, reml: bool):
        self.design, self.reml = design, reml
        blocks = design.blocks
        self.rank = design.basis.rank
        self.dof = blocks.nobs - self.rank if reml else blocks.nobs
        self.structures = tuple(design.structures)
        self.n_theta = sum(s.n_theta for s in self.structures)
        others, self.thorough = other_starts(design)
        self.others = np.array(others).reshape(-1, self.n_theta)
        self.term_start = np.cumsum([0, *(s.k for s in self.structures)])
        self.inverse = np.ascontiguousarray(linalg.block_diag(*design.inverse_transforms))
        self.sums = LevelSums.split(blocks.lead_gram, blocks.lead_cross)
        self.moments = one_factor_moments(blocks, self.structures, self.sums)

    def _starts(self, lead):
        """Moment starts for Z'r of all responses, as ``fit_design`` would take."""
        if self.moments is None:
            identity = np.concatenate([s.start() for s in self.structures])
            return np.tile(identity, (len(lead), 1))
        blocks, width = self.design.blocks, lead.shape[2]
        count = len(self.moments.basis)
        right = np.empty((count + 1, len(lead)))
        squares = lead.transpose(0, 2, 1) @ lead
        right[:count] = self.moments.basis @ squares.reshape(len(lead), -1).T
        right[count] = blocks.nobs
        gamma, sigma = solve_moments(self.moments.system, right)
        sigma = np.where(sigma > 0, sigma, SIGMA_SHARE)
        whole = (gamma / sigma).T @ self.moments.basis
        whole = whole.reshape(-1, width, width)
        parts = []
        for s, at in zip(self.structures, blocks.factors[0].slices, strict=True):
            covariance = whole[:, at, at]
            if s.k == 1:
                root = np.sqrt(covariance.clip(START_FLOOR, START_CEILING))
            else:
                value, vector = np.linalg.eigh(covariance)
                least = np.maximum(START_FLOOR, START_FLOOR * value[:, -1:])
                value = np.clip(value, least, np.maximum(START_CEILING, least))
                root = np.linalg.cholesky(
                    (vector * value[:, None, :]) @ vector.transpose(0, 2, 1)
                )
            basis = s.lam_basis.reshape(s.n_theta, -1)
            parts.append(root.reshape(len(lead), -1) @ (basis.T / (basis**2).sum(axis=1)))
        return np.ascontiguousarray(np.hstack(parts))

    def fit(self, lead, least_squares, y_scale, parts=None):
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
            Of ``Refits``.
        noise : ndarray
            Rounding errors of the deviances.
        """
        design, blocks, count = self.design, self.design.blocks, len(lead)
        half, products = self.sums.half.copy(), self._within_fixed()
        square, shift = 0.0, 0.0
        if parts is None:
            square = float(blocks.nobs)
            response = np.empty_like(lead), np.empty((count, self.rank + 1))
            split_responses(self.sums.triangle, half, lead, square, *response)
        else:
            *response, shift = parts
        function = one_factor_function(
            replace(self.sums, half=half),
            Within(products, None, square),
            self.structures,
            self.reml,
            self.dof,
        )
        theta = np.full((count, self.n_theta), np.nan)
        deviance, residual_square = np.empty(count), np.full(count, np.nan)
        on_basis = np.full((count, self.rank), np.nan)
        evaluations = np.empty(count, np.intp)
        settled, singular = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
        noise = np.zeros(count)
        refit_responses(
            function,
            half,
            products,
            *response,
            self._starts(lead),
            self.others,
            self.thorough,
            self.term_start,
            self.inverse,
            MAX_ITERATIONS,
            theta,
            deviance,
            residual_square,
            on_basis,
            evaluations,
            settled,
            singular,
            noise,
        )
        offset = design.deviance_shift(self.reml, self.dof)
        offset += 2.0 * self.dof * (np.log(y_scale) - np.log(design.y_scale))
        coefficients = least_squares + y_scale[:, None] * (shift + on_basis)
        columns = (
            design.basis.coefficients(coefficients.T).T,
            theta,
            residual_square / self.dof * y_scale**2,
            -0.5 * (deviance + offset),
            settled.astype(bool),
            singular.astype(bool),
            evaluations,
        )
        for r in np.flatnonzero(settled == 0):  # by the ordinary path, with its fallback
            own = lead[r], np.zeros(0), least_squares[r], y_scale[r]
            own = [np.asarray(part)[..., None] for part in own]
            within = None
            if parts is not None:
                products[-1], products[:, -1] = response[1][r], response[1][r]
                within = Within(products.copy(), shift[r])
            _replace(columns, r, _single(design, own, 0, self.reml, within))
        return columns, noise

    def _within_fixed(self):
        """W of X; its row and column of y are left to be filled in."""
        products, out = self.design.blocks.within.products, np.zeros((self.rank + 1,) * 2)
        out[:-1, :-1] = products[:-1, :-1]
        return out
