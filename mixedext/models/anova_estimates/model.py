"""Analysis of variance with expected mean squares, and the estimates by moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import confidence
from mixedext.calls import answering
from mixedext.exceptions import FormulaError
from mixedext.inference.submodels.fixed_terms import fixed_terms
from mixedext.limits import WEIGHT_ONE
from mixedext.models.anova_estimates.estimates import AnovaTable, anova_table, f_test
from mixedext.models.anova_estimates.intervals import (
    factor_interval,
    ratio_interval,
    residual_interval,
)
from mixedext.models.mixedlm.model import MixedLM
from mixedext.specification.formula.bars import split_formula
from mixedext.specification.formula.namespace import caller_namespace
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.tables.noted_table import NotedTable

__all__ = ["AnovaEstimates", "anova_estimates"]

RESIDUAL = "Residual"


@answering
def anova_estimates(
    formula: str,
    data: Any,
    *,
    subset: Any = None,
    missing: str = "none",
    eval_env: Any = None,
) -> AnovaEstimates:
    """Estimate variance components by analysis of variance.

    Mean squares are equated with their expectations: Henderson's method III, with the sums
    of squares of the fixed effects first and then of each factor after those that it is
    nested in (SAS's TYPE1).  Balanced and unbalanced nested designs have one such
    analysis; so have crossed factors in balanced designs.

    Parameters
    ----------
    formula : str
        As for `mixedlm`, with random intercepts only: ``"y ~ 1 + (1 | g)"``,
        ``"y ~ trt + (1 | a/b)"``.
    data : DataFrame
        The data; or a table of polars, pyarrow or another library with Arrow's interface
        or ``to_pandas``.
    subset : array_like, optional
        Rows of ``data`` to use, for ``data.loc``.
    missing : {"none", "raise", "drop"}, optional
        Rows with missing values are an error ("none", "raise") or are left out.
    eval_env : int or Mapping, optional
        Where names that are no columns are looked up: levels up the stack, or a mapping;
        -1 for nowhere.

    Returns
    -------
    AnovaEstimates

    Raises
    ------
    FormulaError
        If the formula cannot be read or evaluated, or has no random term or one with
        slopes.
    DesignError
        If factors are crossed and the design is not balanced: their sums of squares then
        depend on the order of fitting.  Also if a factor or the residual has no degrees
        of freedom.

    Notes
    -----
    In balanced designs without negative estimates they are the REML estimates.  A negative
    estimate is reported as it is, beside the truncated one.

    References
    ----------
    C.R. Henderson (1953), Estimation of variance and covariance components. Biometrics 9,
    226-252.
    S.R. Searle, G. Casella and C.E. McCulloch (1992), Variance Components, chapters 3 to 5.
    Wiley.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> anova = mx.anova_estimates("Yield ~ 1 + (1 | Batch)", data)
    >>> anova.table[["df", "sum_sq", "mean_sq", "expected_mean_sq"]]
              df   sum_sq   mean_sq      expected_mean_sq
    Batch      5  56357.5  11271.50  Residual + 5 * Batch
    Residual  24  58830.0   2451.25              Residual
    >>> anova.estimates["estimate"].round(2).to_dict()
    {'Batch': 1764.05, 'Residual': 2451.25}
    """
    split = split_formula(formula)
    if not split.bars:
        raise FormulaError(
            f"formula {formula!r} has no random term; write the factors as (1 | g)"
        )
    namespace = caller_namespace([formula], eval_env, depth=1)
    model = MixedLM.from_formula(
        formula, data, subset=subset, missing=missing, eval_env=namespace
    )
    factors = []
    for term in model.random_terms:
        if not isinstance(term, RandomTerm) or term.k != 1 or not _is_intercept(term):
            raise FormulaError(
                f"the random term {term.group!r} has columns besides the intercept: "
                "analysis of variance is for factors, (1 | g); use mixedlm"
            )
        factors.append((term.group, np.asarray(term.codes), term.n_levels))
    fixed = [(t.name, model.exog[:, list(t.columns)]) for t in fixed_terms(model)]
    response = np.asarray(model.endog, float)
    if model.offset is not None:
        response = response - model.offset
    return AnovaEstimates(formula, anova_table(response, fixed, factors))


def _share(ratio: float) -> float:
    """A component's share in its sum with the other, from their ratio."""
    return 1.0 if np.isinf(ratio) else ratio / (1 + ratio)


def _is_intercept(term: RandomTerm) -> bool:
    column = term.columns[0]
    return column is None or bool(np.all(np.asarray(column) == 1))


class AnovaEstimates:
    """Analysis of variance and the variance components it gives; see `anova_estimates`.

    Attributes
    ----------
    formula : str
        As given.
    nobs : int
        Rows used.
    balanced : bool
        Whether the mean squares of the random sources are independent multiples of
        chi-squares for normal data, as in balanced designs.

    See Also
    --------
    anova_estimates : With an example.
    """

    def __init__(self, formula: str, table: AnovaTable):
        self.formula, self._table = formula, table
        names = [
            RESIDUAL if i == len(table.sources) - 1 else s
            for i, s in enumerate(table.sources)
        ]
        self._sources = names
        self._components = names[table.n_fixed :]

    @property
    def nobs(self) -> int:
        """Rows used."""
        return self._table.nobs

    @property
    def balanced(self) -> bool:
        """Whether the random sources' mean squares are independent chi-squares."""
        return self._table.balanced

    @property
    def ems(self) -> pd.DataFrame:
        """Expected mean squares: one row a source, the coefficients of every component.

        To that of a fixed term comes a square of its effects.
        """
        return pd.DataFrame(
            self._table.coefficients, index=self._sources, columns=self._components
        )

    @property
    def table(self) -> NotedTable:
        """Analysis of variance, one row a source.

        ``df``, ``sum_sq``, ``mean_sq``; ``expected_mean_sq`` in words, where Q(x) is a
        square of the effects of x; ``statistic``, F against the ``denominator``, which
        has the same expectation under the hypothesis, with ``df_denom`` and ``pvalue``;
        ``exact`` whether F holds for normal data: a combination of mean squares has
        Satterthwaite's degrees of freedom.
        """
        t = self._table
        last = len(self._sources) - 1
        tests = [f_test(t, i) for i in range(last)]
        words = [
            self._combination(row, self._components, residual_first=True)
            for row in t.coefficients
        ]
        for i in range(t.n_fixed):
            words[i] += f" + Q({self._sources[i]})"
        empty = [np.nan]
        frame = pd.DataFrame(
            {
                "df": t.df.astype(int),
                "sum_sq": t.sum_sq,
                "mean_sq": t.mean_sq,
                "expected_mean_sq": words,
                "df_denom": [f.df_denom for f in tests] + empty,
                "statistic": [f.statistic for f in tests] + empty,
                "pvalue": [f.pvalue for f in tests] + empty,
            },
            index=self._sources,
        )
        frame["denominator"] = [
            self._combination(f.weights, self._components) for f in tests
        ] + [""]
        frame["exact"] = pd.array([f.exact for f in tests] + [None], dtype="boolean")
        return NotedTable.of(frame, self._heading)

    @property
    def _heading(self) -> str:
        return f"Analysis of variance: {self.formula} ({self.nobs} rows)"

    @staticmethod
    def _combination(
        weights: np.ndarray, names: Sequence[str], residual_first: bool = False
    ) -> str:
        """A combination in words."""
        order = [i for i in range(len(weights)) if weights[i] != 0]
        if residual_first:
            order.sort(key=lambda i: i != len(weights) - 1)
        text = ""
        for i in order:
            size = abs(weights[i])
            one = abs(size - 1) < WEIGHT_ONE
            sign = "-" if weights[i] < 0 else "+"
            text += f" {sign} " + (names[i] if one else f"{size:.4g} * {names[i]}")
        return text.removeprefix(" + ").strip()

    @property
    def estimates(self) -> NotedTable:
        """Estimates of the components.

        ``estimate`` of the variance as the equations give it, which may be negative;
        ``std_err`` for normal data (see `cov_estimates`); ``negative``, and
        ``truncated``, the estimate or zero.
        """
        t = self._table
        negative = t.estimates < 0
        frame = pd.DataFrame(
            {
                "estimate": t.estimates,
                "std_err": np.sqrt(np.diag(t.covariance())),
                "negative": negative,
                "truncated": np.where(negative, 0.0, t.estimates),
            },
            index=self._components,
        )
        return NotedTable.of(frame, "Variances by analysis of variance")

    def cov_estimates(self, variances: Any = None) -> pd.DataFrame:
        """Covariance of the estimates, exact for normal data with given variances.

        Parameters
        ----------
        variances : Mapping or array_like, optional
            Values of the components, by name or in the order of `estimates`; None puts
            the estimates in their place.

        Returns
        -------
        DataFrame
            A row and a column for each component.

        Raises
        ------
        ValueError
            If ``variances`` are not one finite number for each component.

        Notes
        -----
        The covariance of two sums of squares y'Qy and y'Ry is 2 tr(QVRV), with V the
        covariance of y.  In balanced designs the mean squares MS are independent, with
        variances 2 E(MS)^2 / df.

        References
        ----------
        S.R. Searle (1971), Linear Models, chapters 2 and 10. Wiley.

        Examples
        --------
        What the standard errors would be in this design if batches did not differ:

        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> anova = mx.anova_estimates("Yield ~ 1 + (1 | Batch)", data)
        >>> covariance = anova.cov_estimates({"Batch": 0, "Residual": 2451.25})
        >>> round(float(covariance.loc["Batch", "Batch"]) ** 0.5, 1)
        340.8
        """
        if isinstance(variances, Mapping):
            if set(variances) != set(self._components):
                raise ValueError(
                    "variances must name every component: " + ", ".join(self._components)
                )
            variances = [variances[name] for name in self._components]
        if variances is not None:
            variances = self._checked(variances)
        covariance = self._table.covariance(variances)
        return pd.DataFrame(covariance, index=self._components, columns=self._components)

    def _checked(self, variances: Any) -> np.ndarray:
        """Values of the components as an array, or ValueError."""
        try:
            variances = np.asarray(variances, float)
        except (TypeError, ValueError):
            variances = np.array(np.nan)
        if variances.shape != (len(self._components),) or not np.all(
            np.isfinite(variances)
        ):
            raise ValueError(
                "variances must be one finite number for each component: "
                + ", ".join(self._components)
            )
        return variances

    def conf_int(self, alpha: float = 0.05, *, level: float | None = None) -> NotedTable:
        """Confidence intervals for normal data.

        Parameters
        ----------
        alpha : float, optional
            One minus the level of confidence.
        level : float, optional
            The level itself, in place of ``alpha``.

        Returns
        -------
        NotedTable
            One row a component, and with one factor rows for the ratio of its variance
            to the residual's and for the intraclass correlation; ``estimate``, ``lower``,
            ``upper`` and ``method``.

        Notes
        -----
        "chi-square": exact, of the residual variance.  "F": exact, balanced or not, of
        the ratio and the intraclass correlation (Wald 1940).  "Williams-Tukey": the
        variance of the one factor of a balanced design; joins the exact limits of two
        others, so that it covers with probability 1 - 2 ``alpha`` at least.
        "Satterthwaite": of other factors, by a chi-square with the mean and the variance
        of the estimate; none if this is not positive.  It is rough for few levels and
        small components; the profile of `mixedlm` is then better.  Limits below zero are
        set to zero.

        References
        ----------
        J.S. Williams (1962), A confidence interval for variance components. Biometrika
        49, 278-281.
        J.W. Tukey (1951), Components in regression. Biometrics 7, 33-69.
        A. Wald (1940), A note on the analysis of variance with unequal class frequencies.
        Annals of Mathematical Statistics 11, 96-100.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> anova = mx.anova_estimates("Yield ~ 1 + (1 | Batch)", data)
        >>> anova.conf_int().round(2)
                          estimate    lower     upper          method
        Batch              1764.05   275.73  13090.59  Williams-Tukey
        Residual           2451.25  1494.51   4743.91      chi-square
        Batch / Residual      0.72     0.09      5.57               F
        ICC                   0.42     0.08      0.85               F
        """
        level = confidence(alpha, level)
        t, alpha = self._table, 1 - level
        rows = {
            name: (t.estimates[i], *factor_interval(t, i, alpha))
            for i, name in enumerate(self._components[:-1])
        }
        rows[RESIDUAL] = (t.estimates[-1], *residual_interval(t, alpha))
        if t.one_factor is not None:
            factor, residual = t.estimates
            lower, upper, method = ratio_interval(t, alpha)
            ratio = factor / residual if residual > 0 else np.inf
            rows[f"{self._components[0]} / {RESIDUAL}"] = (ratio, lower, upper, method)
            shares = [_share(lower), _share(upper)]
            rows["ICC"] = (factor / (factor + residual), *shares, method)
        columns = ["estimate", "lower", "upper", "method"]
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        return NotedTable.of(frame, f"{100 * level:.4g}% confidence intervals")

    def summary(self) -> NotedTable:
        """The table of the analysis of variance, with the estimates below it.

        Returns
        -------
        NotedTable
            `table`, printed with notes.
        """
        t, estimates = self._table, self.estimates
        total = estimates["truncated"].sum()
        width = max(map(len, self._components))
        notes = []
        for name, row in estimates.iterrows():
            share = row["truncated"] / total
            notes.append(
                f"Variance of {name:{width}}: {row['estimate']:.6g}, standard error "
                f"{row['std_err']:.6g}, {share:.1%} of the total"
                + (
                    "; negative, so that zero is the estimate in its range"
                    * row["negative"]
                )
            )
        if not self.balanced:
            notes.append(
                "Unbalanced: no exact distributions but of the residual, of F tests marked "
                "exact" + " and of the ratio of variances" * (t.one_factor is not None)
            )
        table = self.table
        if table["statistic"].iloc[:-1].isna().any():
            notes.append("F is blank where its denominator is not positive")
        exact = table["exact"].map({True: "yes", False: "no"}).astype(object).fillna("")
        return NotedTable.of(table.assign(exact=exact), self._heading, notes)

    def __repr__(self) -> str:
        return repr(self.summary())
