"""One scalar random term in spectral form: refits in time linear in the levels.

With M = I - QQ' and Z'MZ = U diag(mu) U', a response enters by w_i = u_i'Z'My / sqrt(mu_i),
what M leaves besides, and Q'y.  At the relative variance lam,

    RSS(lam) = rest + sum w_i^2 / (1 + lam mu_i),
    -2 log L = dof log RSS(lam) + sum log(1 + lam xi_i) + const,

xi = mu for REML, and the diagonal of Z'Z for ML (Crainiceanu and Ruppert 2004, JRSS B 66,
165-185, section 2).  All terms are positive, so no digits are lost.  A grid gives the cells
of the minima; Newton's method in log lam, kept within a cell, each; the lowest counts.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import linalg

from mixedext.algebra.roots import leading_signs, pivoted_root
from mixedext.engine.fit import Fit
from mixedext.engine.rows.design import Design
from mixedext.limits import (
    PROMISING,
    SPECTRAL_EQUAL,
    SPECTRAL_ITERATIONS,
    SPECTRAL_NO_SHARE,
    SPECTRAL_STEP,
    SPECTRAL_ZERO,
    ZERO_SINGULAR_VALUE,
)
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["SpectralFits", "spectral_pays"]

# Levels up to which Z'MZ is decomposed, and columns of X from which that pays.
MOST_LEVELS, LEAST_COLUMNS = 2000, 5
# Levels a column of X up to which products with the eigenvectors pay, as measured; and how
# often the cube of the levels costs what a response saves, levels times squared columns.
LEVELS_A_COLUMN, GAIN = 8, 5
# Grid of lam times the largest eigenvalue, in powers of ten, and its points.
GRID_FROM, GRID_TO, GRID_POINTS = -5.0, 7.0, 36


def spectral_pays(design: Design, count: int, given: bool = False) -> bool:
    """Whether the spectral form is faster than steps of all levels.

    The model has to have one scalar term, few levels, and many columns of X.

    Parameters
    ----------
    design : Design
        The model.
    count : int
        Number of responses: the eigenvalues are found once for all of them.
    given : bool, optional
        Whether the responses are given, and have to be multiplied by the eigenvectors.
    """
    blocks, rank = design.blocks, design.basis.rank
    if (
        blocks.within is None
        or design.rotation is not None
        or len(design.terms) != 1
        or not isinstance(design.terms[0], RandomTerm)
        or blocks.lead_gram.shape[1] != 1
    ):
        return False
    levels, square = len(blocks.lead_gram), float(blocks.lead_gram.sum())
    rest = square - float((blocks.lead_cross[:, 0, :rank] ** 2).sum())
    if not rest > SPECTRAL_ZERO * square:  # X takes all of Z in: there is no spectrum
        return False
    few = min(MOST_LEVELS, LEVELS_A_COLUMN * rank) if given else MOST_LEVELS
    pays = levels**2 <= GAIN * count * rank**2
    return levels <= few and rank >= LEAST_COLUMNS and pays


class SpectralFits:
    """Draws of responses, and fits to them, for a model with one scalar term.

    Parameters
    ----------
    design : Design
        A design for which ``spectral_pays``.
    reml : bool
        Restricted or ordinary likelihood.
    """

    def __init__(self, design: Design, reml: bool):
        self.design, self.reml = design, reml
        blocks, rank = design.blocks, design.basis.rank
        square = blocks.lead_gram[:, 0, 0]
        cross = np.ascontiguousarray(blocks.lead_cross[:, 0, :rank])
        value, vector = np.linalg.eigh(np.diag(square) - cross @ cross.T)
        seen = value > SPECTRAL_ZERO * value[-1]
        # directions that X takes in tell nothing of lam, but move the fixed effects
        vector = _settled(value, seen, vector, cross.T @ vector)
        self.mu, self.vector = value[seen], vector[:, seen]
        self.on_fixed = cross.T @ vector  # Q'ZU
        self.seen = seen
        self.xi = self.mu if reml else square
        self.dof = blocks.nobs - rank if reml else blocks.nobs
        self.n_rest = blocks.nobs - rank - int(seen.sum())
        self.n_normal = 2 * len(value) + rank
        top = self.mu[-1]
        powers = np.logspace(GRID_FROM, GRID_TO, GRID_POINTS) / top
        self.grid = np.concatenate([[0.0], powers])
        self.weight = 1.0 / (1.0 + self.mu[:, None] * self.grid)
        self.log_det = np.log1p(self.xi[:, None] * self.grid).sum(axis=0)

    def minima(self, square: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, ...]:
        """Relative variances of the minima, RSS there, settled and evaluations.

        Parameters
        ----------
        square : ndarray
            w^2, (R, number of eigenvalues).
        rest : ndarray
            The rest of r'r, (R,).
        """
        values = square @ self.weight
        values += rest[:, None]
        np.log(values, out=values)
        values *= self.dof
        values += self.log_det
        best = values.argmin(axis=1)
        lam = np.zeros(len(rest))
        at_zero = self.slopes(square, rest, lam)[0] >= 0
        counts = np.full(len(rest), len(self.grid) + 1, np.intp)
        inside = np.flatnonzero((best > 0) | ~at_zero)
        found, settled_inside, steps = self._descend(
            square[inside], rest[inside], np.maximum(best[inside], 1)
        )
        lam[inside], counts[inside] = found, counts[inside] + steps
        settled = np.ones(len(rest), bool)
        settled[inside] = settled_inside
        self._compare(values, best, square, rest, lam, settled, counts)
        lam[lam < ZERO_SINGULAR_VALUE**2] = 0.0
        residual = rest + np.einsum(
            "ri,ri->r", square, 1.0 / (1.0 + lam[:, None] * self.mu)
        )
        return lam, residual, settled, counts

    def _compare(self, values, best, square, rest, lam, settled, counts):
        """Other minima of the grid that may be lower, in place; they are seldom."""
        lowest = np.take_along_axis(values, best[:, None], axis=1)
        inner = (values[:, 1:-1] <= values[:, :-2]) & (values[:, 1:-1] <= values[:, 2:])
        inner &= values[:, 1:-1] < lowest + PROMISING
        rows, cells = np.nonzero(inner)
        cells += 1
        other = cells != best[rows]
        rows, cells = rows[other], cells[other]
        if not len(rows):
            return
        found, good, steps = self._descend(square[rows], rest[rows], cells)
        np.add.at(counts, rows, steps)
        deviance = self._deviance(square[rows], rest[rows], found)
        for i, r in enumerate(rows.tolist()):
            at = slice(r, r + 1)
            if good[i] and deviance[i] < self._deviance(square[at], rest[at], lam[at])[0]:
                lam[r], settled[r] = found[i], True

    def _deviance(self, square, rest, lam):
        """But for its constant."""
        residual = rest + (square / (1.0 + lam[:, None] * self.mu)).sum(axis=1)
        return self.dof * np.log(residual) + np.log1p(lam[:, None] * self.xi).sum(axis=1)

    def _descend(self, square, rest, cell):
        """Minima in cells of the grid, whether they were reached, and evaluations."""
        ends = np.concatenate([self.grid[1:2] * 1e-9, self.grid[1:], self.grid[-1:] * 1e9])
        low, high = np.log(ends[cell - 1]), np.log(ends[cell + 1])
        where = np.log(self.grid[cell])
        counts = np.zeros(len(cell), np.intp)
        active = np.arange(len(cell))
        for _ in range(SPECTRAL_ITERATIONS):
            if not len(active):
                break
            x = np.exp(where[active])
            slope, curve = self.slopes(square[active], rest[active], x)
            counts[active] += 1
            # derivatives by log lam
            curve = x * (x * curve + slope)
            slope = x * slope
            up = slope < 0
            low[active] = np.where(up, where[active], low[active])
            high[active] = np.where(up, high[active], where[active])
            with np.errstate(divide="ignore", invalid="ignore"):
                new = where[active] - slope / curve
            sound = (curve > 0) & (new > low[active]) & (new < high[active])
            small = (curve > 0) & (np.abs(slope) <= SPECTRAL_STEP * curve)
            middle = 0.5 * (low[active] + high[active])
            narrow = high[active] - low[active] <= SPECTRAL_STEP
            new = np.where(sound, new, middle)
            where[active] = np.where(small, where[active], new)
            active = active[~(small | narrow)]
        settled = np.ones(len(cell), bool)
        settled[active] = False
        return np.exp(where), settled, counts

    def slopes(
        self, square: np.ndarray, rest: np.ndarray, lam: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative of the deviance by lam."""
        inverse = 1.0 / (1.0 + lam[:, None] * self.mu)
        part = square * inverse
        residual = rest + part.sum(axis=1)
        inverse *= self.mu
        part *= inverse
        first = part.sum(axis=1) / residual
        part *= inverse
        second = 2.0 * part.sum(axis=1) / residual
        own = inverse if self.xi is self.mu else self.xi / (1.0 + lam[:, None] * self.xi)
        slope = own.sum(axis=1) - self.dof * first
        curve = self.dof * (second - first**2) - np.einsum("ri,ri->r", own, own)
        return slope, curve

    def columns(
        self, w: np.ndarray, rest: np.ndarray, least_squares: np.ndarray, sigma: float
    ) -> tuple[np.ndarray, ...]:
        """Columns of ``RefitColumns``.

        Parameters
        ----------
        w : ndarray
            (R, number of eigenvalues), in units of ``sigma``.
        rest : ndarray
            (R,), in units of its square.
        least_squares : ndarray
            Q'y in the data's units, (R, rank).
        sigma : float
            Unit.
        """
        design = self.design
        lam, residual, settled, counts = self.minima(w**2, rest)
        effect = w * np.sqrt(self.mu) * (lam[:, None] / (1.0 + lam[:, None] * self.mu))
        on_basis = least_squares - sigma * effect @ self.on_fixed[:, self.seen].T
        scale = residual / self.dof * sigma**2
        deviance = self.dof * (1.0 + np.log(2 * np.pi * scale)) - design.log_weights
        deviance += np.log1p(lam[:, None] * self.xi).sum(axis=1)
        if self.reml:
            deviance += 2.0 * design.basis.log_det
        theta = np.sqrt(lam)[:, None] * design.inverse_transforms[0][0, 0]
        return (
            design.basis.coefficients(on_basis.T).T,
            theta,
            scale,
            -0.5 * deviance,
            settled,
            lam == 0.0,
            counts,
        )

    def fit_products(
        self,
        lead: np.ndarray,
        tail: np.ndarray,
        least_squares: np.ndarray,
        y_scale: np.ndarray,
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Columns of ``RefitColumns`` and rounding errors from ``Responses.products``."""
        r = lead[:, 0].T
        w = r @ self.vector / np.sqrt(self.mu)
        whole = float(self.design.blocks.nobs)  # r'r, for r has the mean square 1
        rest = np.maximum(whole - np.einsum("ri,ri->r", w, w), 0.0)
        unit = y_scale[:, None]
        columns = self.columns(w * unit, rest * y_scale**2, least_squares.T, 1.0)
        # what the difference has lost, as a share of the residual sum of squares
        residual = columns[2] * self.dof / y_scale**2
        noise = np.finfo(float).eps * self.dof * whole / residual
        return columns, noise

    def draw(
        self, fit: Fit, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Responses simulated from a fit, for ``columns``; in units of its sigma."""
        rank, width = len(self.on_fixed), len(self.seen)
        theta = self.design.lams(fit.optimum.theta)[0][0, 0]
        effect = theta * rng.standard_normal((count, width))
        w = np.sqrt(self.mu) * effect[:, self.seen]
        w += rng.standard_normal((count, width))[:, self.seen]
        fixed = rng.standard_normal((count, rank)) + effect @ self.on_fixed.T
        rest = rng.chisquare(self.n_rest, count) if self.n_rest > 0 else np.zeros(count)
        return w, rest, fixed


def _settled(value, seen, vector, on_fixed):
    """Eigenvectors with signs, and turns where eigenvalues are equal, that draws can trust.

    What is drawn along the eigenvectors moves the fixed effects by Q'ZU.  Of all turns the
    one is taken with which its rows, for an equal eigenvalue, are a pivoted root.
    """
    apart = (np.diff(value) > SPECTRAL_EQUAL * value[-1]) | (np.diff(seen.astype(int)) != 0)
    bounds = np.flatnonzero(np.concatenate([[True], apart, [True]]))
    out = vector * leading_signs(on_fixed)
    least = SPECTRAL_NO_SHARE * (on_fixed**2).sum(axis=0).max(initial=0.0)
    for start, stop in pairwise(bounds.tolist()):
        if stop - start == 1:
            continue
        at = slice(start, stop)
        own = on_fixed[:, at]
        _, pivots = pivoted_root(own @ own.T, least)
        if len(pivots):
            turn, triangle = linalg.qr(own[pivots].T)
            turn[:, : len(pivots)] *= np.where(np.diag(triangle) < 0, -1.0, 1.0)
            out[:, at] = vector[:, at] @ turn
    return out
