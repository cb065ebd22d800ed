"""Analysis of variance of nested and balanced crossed designs, by moments.

Every source has an orthogonal projection Q of its own (see ``sources``), with the
expected sum of squares

    E[y'Qy] = sum_j sigma_j^2 tr(Q Z_j Z_j') + sigma^2 tr Q,

and the estimates solve the equations that equate it with y'Qy: Henderson's method III with
the factors in the order of nesting.

References
----------
C.R. Henderson (1953), Estimation of variance and covariance components. Biometrics 9,
226-252.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mixedext.exceptions import DesignError
from mixedext.limits import IN_SPAN, NO_TRACE, PROBE_ACCURACY
from mixedext.models.anova_estimates.covariance import Projections
from mixedext.models.anova_estimates.sources import (
    FactorCodes,
    FactorSource,
    FixedColumns,
    GroupingFactor,
    Source,
    sources_of,
)
from mixedext.tables.statistical_tests import TestResult

__all__ = ["AnovaTable", "SourceTest", "anova_table", "f_test"]


@dataclass(frozen=True, eq=False)
class AnovaTable:
    """Analysis of variance and what it says of the variances.

    Sources are the fixed terms, the factors (those nested in others after these) and the
    residual; components are the factors and the residual.

    Attributes
    ----------
    sources : list of str
        Names of the sources.
    nobs : int
        Rows.
    n_fixed : int
        How many of them are fixed terms.
    df, sum_sq : ndarray
        Degrees of freedom and sums of squares, (S,).
    coefficients : ndarray
        Expected mean squares: of every component in every source, (S, C).
    scaled, independent : ndarray
        Whether the mean square of a source is a multiple of a chi-square, and two of them
        are independent, as far as each factor goes, (S, C - 1) and (S, S, C - 1) bool.
    estimates : ndarray
        Moment estimates of the components, (C,).
    pair_traces : ndarray or None
        tr(Q_i V_a Q_j V_b) of the factors' sources and V_a = Z_a Z_a', (C - 1,) * 4; None
        in balanced designs, which need none.
    one_factor : OneFactor or None
        What the law of the ratio of variances needs where there is one factor.
    """

    sources: list[str]
    nobs: int
    n_fixed: int
    df: np.ndarray
    sum_sq: np.ndarray
    coefficients: np.ndarray
    scaled: np.ndarray
    independent: np.ndarray
    estimates: np.ndarray
    pair_traces: np.ndarray | None
    one_factor: OneFactor | None

    @property
    def mean_sq(self) -> np.ndarray:
        """Mean squares, (S,)."""
        return self.sum_sq / self.df

    @property
    def balanced(self) -> bool:
        """Whether the mean squares of all random sources are independent chi-squares."""
        return _balanced(self.n_fixed, self.scaled, self.independent)

    @property
    def solution(self) -> np.ndarray:
        """The estimates as combinations of the random sources' mean squares, (C, C)."""
        return np.linalg.inv(self.coefficients[self.n_fixed :])

    def covariance(self, variances: np.ndarray | None = None) -> np.ndarray:
        """Covariance of the estimates for normal data.

        Parameters
        ----------
        variances : ndarray, optional
            Values of the components, (C,).  If None, the estimates; where these are
            negative so that a variance of them would be, with zero in their place.

        Returns
        -------
        ndarray
            (C, C).  In balanced designs, at positive estimates, the inverse of REML's
            expected information.
        """
        if variances is not None:
            return self._covariance_at(np.asarray(variances, float))
        covariance = self._covariance_at(self.estimates)
        if (covariance.diagonal() < 0).any():
            covariance = self._covariance_at(np.maximum(self.estimates, 0.0))
        return covariance

    def _covariance_at(self, variances: np.ndarray) -> np.ndarray:
        df = self.df[self.n_fixed :]
        if self.pair_traces is None:
            expected = self.coefficients[self.n_fixed :] @ variances
            of_squares = np.diag(2 * expected**2 / df)
        else:
            of_squares = self._mean_square_covariance(self.pair_traces, variances)
        return self.solution @ of_squares @ self.solution.T

    def _mean_square_covariance(
        self, pair_traces: np.ndarray, variances: np.ndarray
    ) -> np.ndarray:
        """2 tr(Q_i V Q_j V) / (df_i df_j)."""
        df, factor, residual = self.df[self.n_fixed :], variances[:-1], variances[-1]
        out = np.zeros((len(df), len(df)))
        out[:-1, :-1] = np.einsum("ijab,a,b->ij", pair_traces, factor, factor)
        expected = self.coefficients[self.n_fixed :, :-1] @ factor
        out[np.diag_indices(len(df))] += df * residual * (2 * expected + residual)
        return 2 * out / np.outer(df, df)


@dataclass(frozen=True, eq=False)
class OneFactor:
    """The sum of squares of one factor, generalized to any ratio of variances.

    For covariance sigma^2 V, V = I + ratio Z Z', the residual sum of squares of generalized
    least squares, less that of regression on X and Z, is sigma^2 times a chi-square with
    the factor's degrees of freedom (Wald 1940; Seely and El-Bassiouni 1983).  It falls as
    the ratio grows.  With b the regression within levels it is the least, over c, of

        |W c|^2 + sum_l (s_l - S_l c)^2 / (n_l (1 + ratio n_l)),

    where W are the columns X within levels and s, S the sums of y - X b and X over levels:
    no difference of large numbers.

    Attributes
    ----------
    sizes, sums, basis_sums : ndarray
        n (L,), s (L,) and S (L, p).
    within : ndarray
        W in an orthonormal basis, (r, p).
    """

    sizes: np.ndarray
    sums: np.ndarray
    basis_sums: np.ndarray
    within: np.ndarray

    @classmethod
    def of(cls, source: FactorSource, response: np.ndarray, exog: np.ndarray) -> OneFactor:
        """From the source, the response less the fixed part and the latter's basis."""
        within = source.basis.T @ exog
        slope = np.linalg.lstsq(within, source.basis.T @ response, rcond=None)[0]
        sums = source.factor.sums(exog)
        left = source.factor.sums(response) - sums @ slope
        return cls(source.factor.sizes, left, sums, within)

    def at_ratio(self, ratio: float) -> float:
        """The sum of squares for one ratio of the factor's variance to the residual's."""
        root = 1 / np.sqrt(self.sizes * (1 + ratio * self.sizes))
        columns = np.vstack([self.within, root[:, None] * self.basis_sums])
        target = np.concatenate([np.zeros(len(self.within)), root * self.sums])
        move = np.linalg.lstsq(columns, target, rcond=None)[0]
        return _square(target - columns @ move)


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceTest(TestResult):
    """F test of one source against a combination of other mean squares.

    Attributes
    ----------
    statistic : float
        Mean square by the denominator; NaN if this is not positive.
    df_num : float
        The source's degrees of freedom.
    df_denom : float
        The denominator's degrees of freedom, by Satterthwaite where it is a combination.
    weights : ndarray
        Of the random sources' mean squares in the denominator, (C,).
    exact : bool
        Whether the statistic follows F for normal data under the hypothesis.
    """

    weights: np.ndarray
    exact: bool


def anova_table(
    y: np.ndarray, fixed: Sequence[FixedColumns], factors: Sequence[FactorCodes]
) -> AnovaTable:
    """Analysis of variance of one response.

    Parameters
    ----------
    y : ndarray
        Response, (n,).
    fixed : list of tuple
        Name and columns (n, m) of every fixed term, the intercept first; it gets no row.
    factors : list of tuple
        Name, codes (n,) and number of levels of every grouping factor.

    Returns
    -------
    AnovaTable

    Raises
    ------
    DesignError
        If two factors are crossed without balance or have the same levels, or if a source
        has no degrees of freedom.
    """
    design = sources_of(len(y), fixed, factors)
    shown, grouping = design.shown, [s.factor for s in design.factors]
    start = y - sum(s.project(y) for s in design.fixed)
    if np.linalg.norm(start) <= IN_SPAN * np.linalg.norm(y):
        raise DesignError("the fixed effects fit the response exactly: nothing varies")
    sum_sq = np.array(
        [_square(s.project(y if s in design.fixed else start)) for s in shown]
    )
    if sum_sq[-1] <= IN_SPAN**2 * _square(start):
        sum_sq[-1] = 0.0
    df = np.array([s.df for s in shown], float)
    traces = np.array([[s.trace(f) for f in grouping] for s in shown])
    traces = traces.reshape(len(shown), len(grouping))
    traces[np.abs(traces) < NO_TRACE * len(y)] = 0.0
    coefficients = np.column_stack([traces / df[:, None], np.ones(len(shown))])
    n_fixed = len(shown) - len(grouping) - 1
    random = slice(n_fixed, None)
    estimates = np.linalg.solve(coefficients[random], (sum_sq / df)[random])
    scaled, independent = _distribution(shown, grouping, coefficients, len(y))
    one_factor = pair_traces = None
    if len(grouping) == 1:
        one_factor = OneFactor.of(design.factors[0], start, design.exog)
    if not _balanced(n_fixed, scaled, independent):
        pair_traces = _pair_traces(design.factors, traces[random][:-1], design.exog)
    return AnovaTable(
        sources=[s.name for s in shown],
        nobs=len(y),
        n_fixed=n_fixed,
        df=df,
        sum_sq=sum_sq,
        coefficients=coefficients,
        scaled=scaled,
        independent=independent,
        estimates=estimates,
        pair_traces=pair_traces,
        one_factor=one_factor,
    )


def _balanced(n_fixed: int, scaled: np.ndarray, independent: np.ndarray) -> bool:
    at = slice(n_fixed, None)
    return bool(scaled[at].all() and independent[at, at].all())


def _pair_traces(
    sources: list[FactorSource], traces: np.ndarray, exog: np.ndarray
) -> np.ndarray:
    """tr(Q_i V_a Q_j V_b) of the factors' sources."""
    weights = np.zeros((len(sources), len(sources) + 1))
    for i, source in enumerate(sources):
        weights[i, i], weights[i, -1] = 1.0, -1.0
        for coarser in source.coarser:
            weights[i] -= weights[sources.index(coarser)]
    projections = Projections([s.factor for s in sources], [s.basis for s in sources], exog)
    pairs = projections.pair_traces(weights)
    met = traces != 0  # where Q_i V_a is not zero
    return pairs * np.einsum("ia,ib,ja,jb->ijab", met, met, met, met)


def _square(vector: np.ndarray) -> float:
    return float(vector @ vector)


def _distribution(
    sources: Sequence[Source],
    factors: Sequence[GroupingFactor],
    coefficients: np.ndarray,
    nobs: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether Q_k V Q_k is a multiple of Q_k, and Q_i V Q_k zero, for every V = ZZ'.

    Mean squares are multiples of chi-squares, and independent, if and only if it is so.
    A random vector v shows it with probability one: Q_i V Q_k v is compared.
    """
    v = np.random.default_rng(20).standard_normal(nobs)
    count = len(sources)
    scaled = np.ones((count, len(factors)), bool)
    independent = np.ones((count, count, len(factors)), bool)
    for k, source in enumerate(sources):
        part = source.project(v)
        for j, factor in enumerate(factors):
            tolerance = PROBE_ACCURACY * factor.sizes.max() * np.linalg.norm(v)
            spread = factor.spread(part)
            if np.linalg.norm(spread - coefficients[k, j] * part) <= tolerance:
                continue  # V Q_k is a multiple of Q_k itself
            for i, other in enumerate(sources):
                left = other.project(spread)
                if i == k:
                    left = left - coefficients[k, j] * part
                if np.linalg.norm(left) > tolerance:
                    if i == k:
                        scaled[k, j] = False
                    else:
                        independent[i, k, j] = independent[k, i, j] = False
    return scaled, independent


def f_test(table: AnovaTable, source: int) -> SourceTest:
    """F test that a fixed term has no effect, or a factor no variance.

    The denominator is the combination of mean squares with the same expectation as the
    source's under the hypothesis; its degrees of freedom are Satterthwaite's.

    Parameters
    ----------
    table : AnovaTable
        The analysis of variance.
    source : int
        Number of the source; not the residual.

    Returns
    -------
    SourceTest

    References
    ----------
    F.E. Satterthwaite (1946), An approximate distribution of estimates of variance
    components. Biometrics Bulletin 2, 110-114.
    """
    expected = table.coefficients[source].copy()
    if source >= table.n_fixed:
        expected[source - table.n_fixed] = 0.0
    weights = expected @ table.solution
    weights[np.abs(weights) < PROBE_ACCURACY] = 0.0
    parts = weights * table.mean_sq[table.n_fixed :]
    used = np.flatnonzero(weights)
    denominator = parts.sum()
    spread = np.sum(parts[used] ** 2 / table.df[table.n_fixed :][used])
    positive = denominator > 0
    exact = len(used) == 1 and abs(weights[used[0]] - 1) < PROBE_ACCURACY
    if exact:
        below, others = table.n_fixed + used[0], np.ones(len(weights) - 1, bool)
        if source >= table.n_fixed:
            others[source - table.n_fixed] = False
        both = table.scaled[source] & table.scaled[below] & table.independent[source, below]
        exact = bool(both[others].all())
    statistic = float(table.mean_sq[source] / denominator) if positive else np.nan
    df_num = float(table.df[source])
    df_denom = float(denominator**2 / spread) if positive else np.nan
    return SourceTest(
        statistic=statistic,
        pvalue=float(stats.f.sf(statistic, df_num, df_denom)),
        df_num=df_num,
        df_denom=df_denom,
        method="F",
        weights=weights,
        exact=exact,
    )
