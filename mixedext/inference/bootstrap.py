"""Numbers of bootstraps: standard deviations of replicates, limits, resampling, tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse, stats

from mixedext.engine.design import Design
from mixedext.specification.parameter_names import places
from mixedext.specification.sparse_terms import SparseTerm
from mixedext.specification.terms import RandomTerm

__all__ = [
    "INTERVALS",
    "CasesSampler",
    "ResidualSampler",
    "TestLaw",
    "covariance_parameters",
    "limits",
    "linear_log_likelihoods",
]

# Eigenvalues of a covariance, relative to the largest, that count as zero.
NO_VARIANCE = 1e-12
# Size of effects in some direction, relative to the largest, that is rounding error.
UNSPANNED = 1e-9


# ---- parameters of the replicates ----


def covariance_parameters(terms, theta, scale) -> np.ndarray:
    """Standard deviations and correlations of all terms, and sigma, of each replicate.

    Parameters
    ----------
    terms : list of RandomTerm or SparseTerm
        The random terms.
    theta : ndarray
        Relative covariance factors, (R, n_theta).
    scale : ndarray
        Residual variances, (R,).

    Returns
    -------
    ndarray
        (R, count), in the order of ``covariance_names``; correlations with an effect of no
        variance are NaN.
    """
    sigma, columns = np.sqrt(scale), []
    for term, lam in zip(terms, relative_factors(terms, theta), strict=True):
        relative = np.sqrt((lam**2).sum(axis=2))
        for a, b in places(term.structure):
            if a == b:
                columns.append(relative[:, a] * sigma)
                continue
            both = relative[:, a] * relative[:, b]
            product = (lam[:, a] * lam[:, b]).sum(axis=1)
            value = np.divide(product, both, out=np.full_like(both, np.nan), where=both > 0)
            columns.append(value.clip(-1.0, 1.0))
    return np.column_stack([*columns, sigma])


def relative_factors(terms, theta):
    """Relative covariance factors lam of each term, (R, k, k)."""
    start, out = 0, []
    for term in terms:
        own = theta[:, start : start + term.structure.n_theta]
        out.append(np.tensordot(own, term.structure.lam_basis, axes=1))
        start += term.structure.n_theta
    return out


# ---- limits ----


def _percentile(values, estimate, level):
    tails = [(1 - level) / 2, (1 + level) / 2]
    # order statistics at (n + 1) p, as Davison and Hinkley (1997), section 5.3
    return np.quantile(values, tails, method="weibull")


def _basic(values, estimate, level):
    low, high = _percentile(values, estimate, level)
    return 2 * estimate - high, 2 * estimate - low


def _normal(values, estimate, level):
    center = 2 * estimate - values.mean()
    margin = stats.norm.ppf((1 + level) / 2) * values.std(ddof=1)
    return center - margin, center + margin


def _shortest(values, estimate, level):
    values = np.sort(values)
    count = int(np.ceil(level * len(values) - 1e-9))  # 0.55 * 100 is more than 55
    low, high = values[: len(values) - count + 1], values[count - 1 :]
    at = int(np.argmin(high - low))
    return low[at], high[at]


INTERVALS = {
    "percentile": _percentile,
    "basic": _basic,
    "normal": _normal,
    "shortest": _shortest,
}


def limits(values, estimate, level, method):
    """Lower and upper limit of a parameter from its replicates.

    Parameters
    ----------
    values : ndarray
        Replicates, (R,), none of them NaN.
    estimate : float
        The estimate.
    level : float
        Confidence level.
    method : {"percentile", "basic", "normal", "shortest"}
        Kind of the interval.

    Returns
    -------
    tuple of float
        NaN with fewer than two replicates.
    """
    if len(values) < 2:
        return np.nan, np.nan
    low, high = INTERVALS[method](values, estimate, level)
    return float(low), float(high)


# ---- residuals and modes ----


class ResidualSampler:
    """Responses from resampled, centred and reflated random effects and residuals.

    Parameters
    ----------
    terms : list of RandomTerm or SparseTerm
        The random terms with their rows.
    effects, covariances : sequence of ndarray
        Conditional modes (L, k), and covariances (k, k), of each term.
    mean : ndarray
        X beta, (n,).
    residuals : ndarray
        Response less offset, mean and effects, (n,).
    scale : float
        Residual variance.
    weights : ndarray or None
        Weights of the rows.

    Raises
    ------
    ValueError
        If the modes of some term span fewer directions than its covariance has.

    References
    ----------
    Carpenter, Goldstein and Rasbash (2003), A novel bootstrap procedure for assessing the
    relationship between class size and achievement, Applied Statistics 52, 431-443.
    """

    def __init__(self, terms, effects, covariances, mean, residuals, scale, weights):
        self.terms, self.mean = terms, mean
        self.effects = []
        for term, modes, covariance in zip(terms, effects, covariances, strict=True):
            try:
                self.effects.append(reflated(modes, covariance))
            except np.linalg.LinAlgError:
                raise ValueError(
                    f"the {len(modes)} levels of {term.group!r} are too few, or their "
                    f"effects too much alike, to be given the covariance of its "
                    f"{modes.shape[1]} effects: use bootstrap_parametric"
                ) from None
        self.root = None if weights is None else np.sqrt(weights)[:, None]
        residuals = residuals if weights is None else residuals * np.sqrt(weights)
        self.residuals = reflated(residuals[:, None], np.array([[scale]]))[:, 0]

    def __call__(self, count, rng):
        """Responses less offset, (n, count)."""
        n = len(self.mean)
        noise = self.residuals[rng.integers(0, n, (n, count))]
        y = noise if self.root is None else noise / self.root
        y += self.mean[:, None]
        for term, effect in zip(self.terms, self.effects, strict=True):
            drawn = effect[rng.integers(0, len(effect), (len(effect), count))]
            y += term.contribution(drawn.transpose(0, 2, 1))
        return y


def reflated(effects, covariance):
    """Effects, centred, and mapped so that their second moments are the covariance.

    With S = L L' the moments of the centred effects and Sigma = M M', b* = M L^-1 b.
    Directions without variance are left out.

    Raises
    ------
    LinAlgError
        If the effects do not span the others.
    """
    centred = effects - effects.mean(axis=0)
    size = np.sqrt(np.diag(covariance))
    unit = np.where(size > 0, size, 1.0)
    value, vector = np.linalg.eigh(covariance / np.outer(unit, unit))
    free = value > NO_VARIANCE * max(len(value), 1)
    if not free.any():
        return np.zeros_like(centred)
    if free.all():  # Carpenter, Goldstein and Rasbash's Cholesky factors
        inward, outward = np.diag(1 / unit), np.linalg.cholesky(covariance)
    else:
        root = np.sqrt(value[free])
        inward = (vector[:, free] / root).T / unit
        outward = unit[:, None] * vector[:, free] * root
    inner = centred @ inward.T
    moments = inner.T @ inner / len(inner)
    # k effects of k levels that sum to 0 lie in k - 1 dimensions, whatever rounding says
    spread = np.linalg.svd(inner, compute_uv=False)
    if len(inner) < len(moments) or spread[-1] <= UNSPANNED * spread[0]:
        raise np.linalg.LinAlgError("the effects span fewer directions than S has")
    lower = np.linalg.cholesky(moments)
    return linalg.solve_triangular(lower, inner.T, lower=True).T @ outward.T


# ---- cases ----


class CasesSampler:
    """Rows of whole levels of one grouping factor, drawn with replacement.

    A level that is drawn twice counts as two: all factors nested in it get new levels.

    Parameters
    ----------
    terms : list of RandomTerm or SparseTerm
        The random terms with their rows.
    codes : ndarray
        Level of each row in the factor that is resampled, (n,).
    within : bool
        Whether the rows of each level drawn are drawn with replacement too.

    Raises
    ------
    ValueError
        If some term is not nested in the factor: it names the term.
    """

    def __init__(self, terms, codes, within):
        self.terms, self.within = terms, within
        self.order = np.argsort(codes, kind="stable")
        self.start = np.concatenate([[0], np.cumsum(np.bincount(codes))])
        for term in terms:
            if not _is_nested(term, codes):
                raise ValueError(
                    f"the random term {term.group!r} is crossed with the factor whose "
                    "levels are resampled; cases cannot be drawn independently. Use "
                    "bootstrap_residual or bootstrap_parametric"
                )

    def draw(self, rng):
        """Rows of a replicate, (n*,), and the number of the draw that each belongs to."""
        n_levels = len(self.start) - 1
        level = rng.integers(0, n_levels, n_levels)
        size = self.start[level + 1] - self.start[level]
        number = np.repeat(np.arange(n_levels), size)
        if self.within:
            place = (rng.random(len(number)) * size[number]).astype(np.intp)
        else:
            place = np.arange(len(number)) - np.repeat(np.cumsum(size) - size, size)
        return self.order[self.start[level][number] + place], number

    def terms_of(self, rows, number):
        """The random terms of the rows of a replicate."""
        return [_resampled(term, rows, number) for term in self.terms]


def _is_nested(term, codes):
    if isinstance(term, SparseTerm):
        rows, inner = sparse.coo_array(term.matrix).coords
        outer = codes[rows]
    else:
        outer, inner = codes, term.codes
    low = np.full(term.n_levels, np.iinfo(np.intp).max)
    high = np.full(term.n_levels, -1)
    np.minimum.at(low, inner, outer)
    np.maximum.at(high, inner, outer)
    return bool((low >= high).all())


def _resampled(term, rows, number):
    if isinstance(term, SparseTerm):
        matrix = term.matrix[rows]
        drawn = np.repeat(number, np.diff(matrix.indptr))
        column = drawn * np.int64(term.n_levels) + matrix.indices
        levels, column = np.unique(column, return_inverse=True)
        shape = len(rows), len(levels)
        matrix = sparse.csr_array((matrix.data, column, matrix.indptr), shape=shape)
        return SparseTerm(matrix, group=term.group)
    codes = number * np.int64(term.n_levels) + term.codes[rows]
    z = np.ascontiguousarray(term.z[rows])
    return RandomTerm(codes, z, term.group, list(term.names), term.structure)


# ---- tests ----


def linear_log_likelihoods(design: Design, x, weights, y, reml):
    """Log-likelihoods of a model without random effects, for responses (n, R).

    Parameters
    ----------
    design : Design
        Of the model.
    x : ndarray
        All its fixed-effects columns.
    weights : ndarray or None
        Weights of the rows.
    y : ndarray
        Responses less offset.
    reml : bool
        Restricted or ordinary likelihood.
    """
    x, n, rank = x[:, design.basis.kept], len(y), design.basis.rank
    if weights is not None:
        root = np.sqrt(weights)[:, None]
        x, y = x * root, y * root
    q = np.linalg.qr(x)[0]
    residual = y - q @ (q.T @ y)
    residual -= q @ (q.T @ residual)
    dof = n - rank if reml else n
    square = np.einsum("ir,ir->r", residual, residual)
    deviance = dof * (1 + np.log(2 * np.pi * square / dof)) - design.log_weights
    return -0.5 * (deviance + (2.0 * design.basis.log_det if reml else 0.0))


@dataclass(frozen=True, eq=False)
class TestLaw:
    """Laws of a likelihood-ratio statistic from draws under the hypothesis.

    Parameters
    ----------
    statistic : float
        Observed.
    draws : ndarray
        Simulated; NaN or infinite where a fit failed.
    df : int
        Parameters that the hypothesis fixes.

    References
    ----------
    Halekoh and Hojsgaard (2014), A Kenward-Roger approximation and parametric bootstrap
    methods for tests in linear mixed models, Journal of Statistical Software 59(9).
    Davison and Hinkley (1997), Bootstrap Methods and their Application, section 4.2.
    """

    __test__ = False  # pytest takes classes of this name for tests

    statistic: float
    draws: np.ndarray
    df: int

    @property
    def n_extreme(self):
        """Draws as large as the statistic or larger, and failures."""
        slack = 1e-9 * max(abs(self.statistic), 1.0)
        return int(np.count_nonzero(~(self.draws < self.statistic - slack)))

    @property
    def pvalue(self):
        """(b + 1) / (B + 1)."""
        return (self.n_extreme + 1) / (len(self.draws) + 1)

    @property
    def _sound(self):
        return self.draws[np.isfinite(self.draws)]

    def laws(self):
        """Statistic, degrees of freedom and p-value of every approximation.

        Returns
        -------
        dict
            Name to (statistic, df, df_denom, p); infinite or NaN where there is none.
        """
        t, df, draws = self.statistic, self.df, self._sound
        laws = {
            "LRT": (t, df, np.nan, stats.chi2.sf(t, df)),
            "parametric bootstrap": (t, np.nan, np.nan, self.pvalue),
        }
        mean = draws.mean() if len(draws) else 0.0
        variance = draws.var(ddof=1) if len(draws) > 1 else 0.0
        if mean == 0 or variance == 0:  # no law has these moments
            none = (np.nan,) * 4
            return laws | dict.fromkeys(["Bartlett", "gamma", "F"], none)
        ratio = mean / df
        # F with df and m has mean m / (m - 2); none has a mean of 1 or less
        denominator = 2 * ratio / (ratio - 1) if ratio > 1 else np.inf
        gamma = stats.gamma.sf(t, mean**2 / variance, scale=variance / mean)
        return laws | {
            "Bartlett": (t / ratio, df, np.nan, stats.chi2.sf(t / ratio, df)),
            "gamma": (t, np.nan, np.nan, gamma),
            "F": (t / df, df, denominator, stats.f.sf(t / df, df, denominator)),
        }
