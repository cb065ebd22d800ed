"""Exact laws of the likelihood-ratio statistics of one variance component.

In y = X b + Z u + e, u ~ N(0, r sigma^2 I), the law of the statistic under r = 0 (and q
further restrictions on b) depends on the eigenvalues of Z'P0Z and, for the ordinary
likelihood, of Z'Z alone (Crainiceanu and Ruppert 2004):

    RLRT = sup_r (n-p) log(T / D(r)) - sum log(1 + r mu_s)
    LRT  = sup_r  n    log(T / D(r)) - sum log(1 + r xi_s)  +  n log(1 + chi2_q / T)
    D(r) = sum_s w_s / (1 + r mu_s) + w_0,    T = sum_s w_s + w_0

with independent chi-squared w_s, of one degree of freedom for each eigenvalue mu_s, and
w_0, of n - p - rank.

References
----------
C.M. Crainiceanu and D. Ruppert (2004), Likelihood ratio tests in linear mixed models with
one variance component. Journal of the Royal Statistical Society B 66, 165-185.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

from mixedext.engine.threads import blas_threads
from mixedext.inference.variances.component_spectrum import Spectrum
from mixedext.inference.variances.quadratic_forms import positive_probability
from mixedext.kernels.laws import chi_squared, spectral_supremum
from mixedext.limits import MASS_ERROR, SAME_PENALTY

__all__ = ["NullLaw", "null_statistics", "rlrsim_grid"]

# Numbers that are drawn at once: they stay in a processor's cache.
DRAWN = 2**17
# Degrees of freedom up to which one draw is a product of uniform variables, not a gamma's.
FEW = 12
# Distance, in log(r + 1 / (RESOLVED mu_max)), of the ratios between which peaks are looked
# for.  All singularities of the process lie at r < 0, so far from the real logarithms of
# ratios that it does not bend faster: steps of 0.75 miss a rise in a million draws.
STEP, RESOLVED = 0.4, 8.0
# From r mu_min = exp(FAR) on there is one peak at most; at exp(FARTHEST) nothing changes.
FAR, FARTHEST = 3.0, 36.0
# Logarithms of ratios between which thresholds are looked for, and points of the grid.
LOWEST, HIGHEST, POINTS = -12.0, 12.0, 49
# Shares of the w_s by which the mass at zero is corrected, and most of them.
FEW_SHARES, MANY_SHARES = 400, 10_000
# Nodes of the integral over the fixed effects' part.
NODES = 96
# Shares by which it is decided how often each node is drawn.
PILOT = 64


def rlrsim_grid() -> np.ndarray:
    """The grid of ratios that the R package RLRsim uses by default, (200,)."""
    return np.concatenate([[0.0], np.exp(np.linspace(-10, 8, 199))])


def _ratios(values, nearest):
    """Ratios between which peaks of the process are looked for, (G,)."""
    far = np.exp(np.linspace(FAR, FARTHEST, 5)) / values.min()
    count = int(np.ceil(np.log(far[0] / nearest) / STEP))
    return np.append(nearest * np.expm1(STEP * np.arange(count)), far)


def null_statistics(
    values: Any,
    draws: Any,
    rest: Any,
    dof: float,
    whole: Any = None,
    whole_counts: Any = None,
    grid: Any = None,
    refine: bool = True,
    first_peak: bool = False,
) -> np.ndarray:
    """Suprema of the likelihood-ratio process for given chi-squared draws.

    Parameters
    ----------
    values : array_like
        Eigenvalues of Z'P0Z, (K,).
    draws : array_like
        Draws for the eigenvalues, (n, K): chi-squared with one degree of freedom for
        each time that the eigenvalue occurs.
    rest : array_like
        Draws of the rest, (n,): of nobs - p - (sum of the counts) degrees of freedom.
    dof : float
        nobs - p (restricted likelihood) or nobs.
    whole, whole_counts : array_like
        Eigenvalues of the determinant's term, and how often each occurs: of Z'P0Z under
        REML, of Z'Z otherwise.
    grid : array_like, optional
        Ratios of variances, ascending from 0, between which peaks are looked for, one
        between two of them; by the eigenvalues if None.
    refine : bool, optional
        Whether the supremum is looked for between the points of the grid too.
    first_peak : bool, optional
        Whether to stop at the first decrease along the grid, as RLRsim does, and not to
        refine.  The supremum is that of all peaks otherwise.

    Returns
    -------
    ndarray
        (n,), not below zero.
    """
    values, whole, counts, draws, rest = (
        np.ascontiguousarray(a, float) for a in (values, whole, whole_counts, draws, rest)
    )
    out = np.empty(len(draws))
    on_grid = first_peak or not refine
    nearest = 1 / (RESOLVED * values.max())
    grid = _ratios(values, nearest) if grid is None else np.ascontiguousarray(grid, float)
    if grid.ndim != 1 or len(grid) < 2 or grid[0] != 0 or not (np.diff(grid) > 0).all():
        raise ValueError("grid must be two or more ratios of variances that ascend from 0")
    process = spectral_supremum.Process(values, whole, counts, dof)
    with blas_threads():
        if on_grid:
            spectral_supremum.grid_suprema(process, draws, rest, grid, first_peak, out)
        else:
            places = grid + nearest
            spectral_supremum.suprema(process, draws, rest, places, nearest, out)
    return out


@dataclass(frozen=True, eq=False)
class NullLaw:
    """Law of a likelihood-ratio statistic if the variance is zero.

    Attributes
    ----------
    spectrum : Spectrum
        Eigenvalues.
    reml : bool
        Of the restricted statistic, or the ordinary one.
    n_restrictions : int
        Restrictions on the fixed effects that are tested too; 0 under REML.
    """

    spectrum: Spectrum
    reml: bool
    n_restrictions: int = 0

    @property
    def dof(self) -> int:
        """N of the process: n - p, or n."""
        s = self.spectrum
        return s.nobs - s.rank if self.reml else s.nobs

    @property
    def penalty(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of the determinant's term and their counts, float64."""
        s = self.spectrum
        values, counts = (s.values, s.counts) if self.reml else (s.whole, s.whole_counts)
        return np.ascontiguousarray(values, float), np.ascontiguousarray(counts, float)

    @property
    def has_one_eigenvalue(self) -> bool:
        """Whether all eigenvalues that are not zero agree, as for balanced data."""
        return len(self.spectrum.values) == 1

    @property
    def local_mass_at_zero(self) -> float:
        """Probability that the likelihood does not rise at a variance of zero."""
        s = self.spectrum
        values, counts = self.penalty
        mean = float((values * counts).sum())
        weights = np.append(self.dof * s.values - mean, -mean)
        return 1.0 - positive_probability(weights, np.append(s.counts, s.rest))

    @cached_property
    def mass_at_zero(self) -> float:
        """Probability that the variance is estimated as zero.

        The likelihood does not rise at zero, by inversion, less the probability that it
        falls there and has a higher peak elsewhere: a small one, which only different
        eigenvalues or few residual degrees of freedom bring about.  It is the mean over
        shares drawn with a seed of its own.
        """
        local = self.local_mass_at_zero
        if self._is_closed:
            return local
        rng = np.random.default_rng(0)
        # without a rest each is 0 or 1
        few = FEW_SHARES if self.spectrum.rest else MANY_SHARES
        taken = self._rise_elsewhere(few, rng)
        # as many more shares as make the error small
        more = int(min(MANY_SHARES, taken.var() / MASS_ERROR**2)) - few
        if more > 0:
            taken = np.append(taken, self._rise_elsewhere(more, rng))
        return float(np.clip(local - taken.mean(), 0.0, 1.0))

    def _rise_elsewhere(self, count, rng):
        """P(no rise at zero, and a higher peak elsewhere) given shares, (count,)."""
        values, counts = self.penalty
        shares = self._shares(count, rng)
        any_rise = self._beta_survival(shares, np.zeros(count))
        # f rises at zero where B passes the share that makes its slope positive
        threshold = (values * counts).sum() / (self.dof * (shares @ self.spectrum.values))
        return np.maximum(any_rise - self._beta_cdf(1.0 - threshold), 0.0)

    def draw(
        self, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws for the eigenvalues (count, K), of the rest, and of the fixed effects."""
        s = self.spectrum
        draws = np.empty((count, len(s.values)))
        few, many = np.flatnonzero(s.counts <= FEW), np.flatnonzero(s.counts > FEW)
        chi_squared.fill(rng, few, s.counts[few], draws)
        if len(many):
            shapes = s.counts[many] / 2
            draws[:, many] = 2.0 * rng.standard_gamma(shapes, (count, len(many)))
        rest = 2.0 * rng.standard_gamma(s.rest / 2, count)
        fixed = 2.0 * rng.standard_gamma(self.n_restrictions / 2, count)
        return draws, rest, fixed

    def statistics(
        self, draws: np.ndarray, rest: np.ndarray, fixed: Any = 0.0, grid: Any = None
    ) -> np.ndarray:
        """Statistics of draws, (n,); see ``null_statistics``."""
        values, counts = self.penalty
        if grid is None and self._is_closed:
            found = _one_eigenvalue(draws[:, 0], rest, self.dof, counts[0])
        else:
            found = null_statistics(
                self.spectrum.values, draws, rest, self.dof, values, counts, grid
            )
        if self.n_restrictions:
            found = found + self.dof * np.log1p(fixed / (draws.sum(axis=1) + rest))
        return found

    @property
    def _is_closed(self):
        values, _ = self.penalty
        return (
            self.has_one_eigenvalue
            and len(values) == 1
            and abs(values[0] - self.spectrum.values[0]) < SAME_PENALTY
        )

    def simulate(self, n: int, rng: np.random.Generator, grid: Any = None) -> np.ndarray:
        """Statistics of ``n`` data sets without the variance."""
        out = np.empty(n)
        for at in self._pieces(n):
            out[at] = self.statistics(*self.draw(at.stop - at.start, rng), grid)
        return out

    def _pieces(self, n):
        size = max(DRAWN // (len(self.spectrum.values) + 2), 64)
        return [slice(i, min(i + size, n)) for i in range(0, n, size)]

    def survival(
        self, statistic: float, n: int, rng: np.random.Generator
    ) -> tuple[float, float]:
        """P(statistic or more) by inversion, and its standard error.

        With B = sum w_s / T, which is beta and independent of the shares w_s / sum w, the
        supremum passes x where B passes a threshold that depends on the shares alone.
        With one eigenvalue there is one share: the probability is exact, and its standard
        error zero.  Otherwise it is the mean of the beta probabilities over simulated
        shares.  With restrictions on fixed effects the threshold depends on their part
        too, over which it is integrated: by quadrature, or by drawing its nodes.

        Parameters
        ----------
        statistic : float
            Above zero.
        n : int
            Number of simulated shares, where there is more than one eigenvalue.
        rng : Generator
            Source of random numbers.
        """
        certain, levels, masses = self._levels(float(statistic))
        if self.has_one_eigenvalue:
            p = self._beta_survival(np.ones((len(levels), 1)), levels)
            return float(certain + masses @ p), 0.0
        chances = self._level_chances(levels, masses, rng)
        ends, total, squares = np.cumsum(chances), 0.0, 0.0
        for at in self._pieces(n):
            size = at.stop - at.start
            places = (np.arange(size) + rng.random()) / size * ends[-1]
            level = np.minimum(np.searchsorted(ends, places), len(levels) - 1)
            p = self._beta_survival(self._shares(size, rng), levels[level])
            p *= masses[level] / chances[level]
            total, squares = total + p.sum(), squares + (p * p).sum()
        if self.spectrum.rest == 0:  # B is 1: certain or impossible, given the shares
            total, n = total + 1, n + 1
        mean = total / n
        error = np.sqrt(max(squares / n - mean**2, 0.0) / n)
        return float(certain + mean), float(error)

    def _levels(self, x):
        """What the supremum must pass, given the fixed effects' part, and probabilities.

        That part is -N log(1 - V), with V = chi2_q / (chi2_q + T), which is beta and
        independent of B and the shares.  V = v sin^2 removes the roots at both ends.

        Returns
        -------
        certain : float
            Probability that V alone passes x.
        levels, masses : ndarray
            Nodes of a quadrature, and their probabilities.
        """
        if not self.n_restrictions:
            return 0.0, np.array([x]), np.ones(1)
        s = self.spectrum
        node, weight = np.polynomial.legendre.leggauss(NODES)
        angle = (node + 1) * np.pi / 4
        end = -np.expm1(-x / self.dof)
        v = end * np.sin(angle) ** 2
        shape = self.n_restrictions / 2, (s.nobs - s.rank) / 2
        log_density = (shape[0] - 1) * np.log(v) + (shape[1] - 1) * np.log1p(-v)
        density = np.exp(log_density - special.betaln(*shape))
        masses = weight * density * end * 2 * np.sin(angle) * np.cos(angle) * np.pi / 4
        certain = float(special.betaincc(*shape, end))
        return certain, x + self.dof * np.log1p(-v), masses

    def _level_chances(self, levels, masses, rng):
        """How often each level is to be drawn: as much as it adds, by a few shares."""
        if len(levels) == 1:
            return np.ones(1)
        shares = self._shares(PILOT, rng)
        p = self._beta_survival(np.tile(shares, (len(levels), 1)), np.repeat(levels, PILOT))
        added = masses * p.reshape(len(levels), PILOT).mean(axis=1)
        if not added.sum() > 0:
            return masses / masses.sum()
        return 0.9 * added / added.sum() + 0.1 * masses / masses.sum()

    def _shares(self, count, rng):
        """Draws of w_s / sum w, (count, K)."""
        draws, _, _ = self.draw(count, rng)
        return draws / draws.sum(axis=1, keepdims=True)

    def _beta_survival(self, shares, levels):
        """P(the supremum passes the level) given the shares; 1 for levels below zero."""
        values, counts = self.penalty
        s, remainder = self.spectrum, np.zeros(len(levels))
        # beyond 1 / mu nothing but the ratio itself changes: the kernel goes on there
        highest = max(HIGHEST, 7.0 - np.log(min(s.values[-1], s.whole[-1])))
        own = np.ascontiguousarray(s.values, float)
        with blas_threads():
            spectral_supremum.beta_remainders(
                spectral_supremum.Process(own, values, counts, self.dof),
                np.ascontiguousarray(shares),
                np.maximum(levels, 0.0),
                np.linspace(LOWEST, highest, POINTS),
                remainder,
            )
        return np.where(levels >= 0, self._beta_cdf(remainder), 1.0)

    def _beta_cdf(self, remainder):
        """P(w_0 / T < remainder)."""
        s = self.spectrum
        if s.rest == 0:
            return (remainder > 0).astype(float)
        share = np.clip(remainder, 0.0, 1.0)
        return special.betainc(s.rest / 2, s.counts.sum() / 2, share)


def _one_eigenvalue(w, rest, dof, count):
    """The supremum where D(r) = w / (1 + r) + rest and h(r) = count log(1 + r)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shrink = np.minimum(count * rest / (w * (dof - count)), 1.0)
        gain = dof * np.log((w + rest) / (w * shrink + rest)) + count * np.log(shrink)
    return np.where(shrink < 1.0, gain, 0.0)
