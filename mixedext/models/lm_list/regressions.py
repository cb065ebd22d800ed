"""One least-squares fit a group: nlme's lmList on pandas frames."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import confidence, did_you_mean
from mixedext.calls import answer_calls, answering
from mixedext.exceptions import FormulaError, NotEstimableWarning, user_stacklevel
from mixedext.models.lm_list.least_squares import (
    GroupRegressions,
    homogeneity,
    least_squares_by_group,
)
from mixedext.models.lm_list.poolability import PoolabilityTest, poolability
from mixedext.models.lm_list.welch import WelchTest, welch_test
from mixedext.specification.data.group_labels import labels_of_groups, two_labels
from mixedext.specification.data.weights import check_weights
from mixedext.specification.formula.bars import grouped_formula
from mixedext.specification.formula.model_frame import ModelFrame, model_frame
from mixedext.specification.formula.namespace import caller_namespace
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.tables.noted_table import NotedTable

__all__ = ["LmList", "lm_list"]

# More coefficients are not named in a warning.
MOST_NAMES = 6


@answering
def lm_list(
    formula: str,
    data: Any,
    *,
    pooled: bool = True,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    missing: str = "none",
    eval_env: Any = None,
) -> LmList:
    """Fit one linear regression by least squares to every group.

    Parameters
    ----------
    formula : str
        Response and regressors, a bar, and the groups: ``"y ~ x | g"``; the groups of
        two factors are ``a:b``.
    data : DataFrame
        The data; or a table of polars, pyarrow or another library with Arrow's interface
        or ``to_pandas``.
    pooled : bool, optional
        Whether standard errors and tests rest on the residual variance of all groups
        together, as in nlme, or on each group's own.  The methods take it too.
    weights : str or array_like, optional
        Precision weights, positive: the residual variance of a row is sigma^2 / weight.
        Name of a column, or one value a row.
    offset : str or array_like, optional
        Added to the regression with coefficient 1, like ``offset(...)`` in the formula.
    subset : array_like, optional
        Rows of ``data`` to use, for ``data.loc``.
    missing : {"none", "raise", "drop"}, optional
        Rows with missing values are an error ("none", "raise") or are left out.
    eval_env : int or Mapping, optional
        Where names that are no columns are looked up: levels up the stack, or a mapping;
        -1 for nowhere.

    Returns
    -------
    LmList

    Raises
    ------
    FormulaError
        If the formula cannot be read or evaluated, or names no regressors.

    Notes
    -----
    All groups are fitted in one compiled pass over the rows.  The formula is evaluated
    once on the whole data: the coding of a factor and the basis of a spline are the same
    in all groups.

    A group that does not determine a coefficient, for lack of rows or of variation, has
    NaN for it; a `NotEstimableWarning` and ``n_not_estimable`` count these groups.  R's
    ``lm`` instead estimates the intercept of a group with one value of x as if the slope
    were zero, and nlme's ``lmList`` leaves out groups in which a factor has one level.
    Residual degrees of freedom are rows less rank, where nlme's pooled standard deviation
    counts the coefficients that it could not estimate too.

    References
    ----------
    J.C. Pinheiro and D.M. Bates (2000), Mixed-Effects Models in S and S-PLUS, section
    4.1. Springer.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> fits = mx.lm_list("Reaction ~ Days | Subject", data)
    >>> fits.coefficients.loc["308"].round(2).to_dict()
    {'Intercept': 244.19, 'Days': 21.76}
    >>> round(fits.pooled_sigma, 3), fits.pooled_df
    (25.592, 144)
    """
    text = grouped_formula(formula)
    namespace = caller_namespace([text], eval_env, depth=1)
    frame = model_frame(
        text,
        data,
        namespace,
        weights=weights,
        offset=offset,
        subset=subset,
        missing=missing,
    )
    if frame.weights is not None:
        check_weights(frame.weights)
    if len(frame.terms) != 1:
        raise FormulaError(
            f"formula {formula!r} names {len(frame.terms)} groupings; name one, such as a:b"
        )
    if frame.exog.shape[1] == 0:
        raise FormulaError(f"formula {formula!r} has no regressors: 1 is the intercept")
    fits = LmList(formula, frame, bool(pooled))
    _warn_of_undetermined(fits.coefficients)
    return fits


def _warn_of_undetermined(coefficients: pd.DataFrame) -> None:
    """Say how many groups have no estimates, of what, and which comes first."""
    absent = coefficients.isna()
    if not absent.to_numpy().any():
        return
    short = absent.any(axis=1)
    names = [str(c) for c in absent.columns[absent.any()]]
    if len(names) > MOST_NAMES:
        names = [*names[: MOST_NAMES - 1], "...", names[-1]]
    warnings.warn(
        f"{short.sum()} of {len(short)} groups, {short.idxmax()} the first, do not "
        f"determine {', '.join(names)} (NaN there): too few rows or too little variation",
        NotEstimableWarning,
        stacklevel=user_stacklevel(),
    )


@answer_calls
class LmList:
    """Least-squares fits of all groups; made by `lm_list`.

    Attributes
    ----------
    formula : str
        As given.
    pooled : bool
        Whether standard errors rest on the pooled residual variance by default.
    coefficients : DataFrame
        One row a group, one column a coefficient; NaN where a group does not determine
        it.
    nobs, rank, df_resid, ssr, sigma : Series
        Rows, rank of the regressors, residual degrees of freedom, residual sum of squares
        and residual standard deviation of every group.  ``sigma`` is NaN where no degrees
        of freedom are left.
    pooled_sigma : float
        Residual standard deviation common to all groups.
    pooled_df : int
        Its degrees of freedom.
    n_not_estimable : Series
        For each coefficient the number of groups that do not determine it.
    fittedvalues, resid : Series
        Of the rows used, with the labels of the data.

    See Also
    --------
    lm_list : With an example.
    """

    def __init__(self, formula: str, frame: ModelFrame, pooled: bool):
        (term,) = (t for t in frame.bar_terms[:1] if isinstance(t, RandomTerm))
        self.formula, self.pooled = formula, pooled
        self._data, self._codes = frame.data, np.asarray(term.codes)
        self._endog, self._exog = frame.endog, frame.exog
        response = np.asarray(frame.endog, float)
        if frame.offset is not None:
            response = response - frame.offset
        self._response, self._weights = response, frame.weights
        self._columns = pd.Index(list(frame.exog.columns))
        self._groups = pd.Index(term.levels).rename(term.group)
        self._fits: GroupRegressions = least_squares_by_group(
            np.asarray(frame.exog, float),
            response,
            self._codes,
            len(self._groups),
            self._weights,
        )

    # ---- estimates ----

    def _frame(self, values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, index=self._groups, columns=self._columns)

    def _series(self, values: np.ndarray, name: str) -> pd.Series:
        return pd.Series(values, index=self._groups, name=name)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self._groups)

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """Estimates: one row a group; NaN where it does not determine them."""
        return self._frame(self._fits.coefficients)

    @property
    def nobs(self) -> pd.Series:
        """Rows of every group."""
        return self._series(self._fits.sizes, "nobs")

    @property
    def rank(self) -> pd.Series:
        """Rank of every group's regressors."""
        return self._series(self._fits.ranks, "rank")

    @property
    def df_resid(self) -> pd.Series:
        """Residual degrees of freedom of every group."""
        return self._series(self._fits.df_resid, "df_resid")

    @property
    def ssr(self) -> pd.Series:
        """Residual sum of squares of every group."""
        return self._series(self._fits.residual_squares, "ssr")

    @property
    def sigma(self) -> pd.Series:
        """Residual standard deviation of every group."""
        return self._series(self._fits.sigma, "sigma")

    @property
    def pooled_sigma(self) -> float:
        """Residual standard deviation common to all groups."""
        return self._fits.pooled_sigma

    @property
    def pooled_df(self) -> int:
        """Degrees of freedom of ``pooled_sigma``."""
        return self._fits.pooled_df

    @property
    def n_not_estimable(self) -> pd.Series:
        """Groups that do not determine a coefficient, for each."""
        return self.coefficients.isna().sum()

    @property
    def resid(self) -> pd.Series:
        """Residuals of the rows used."""
        return pd.Series(self._fits.residuals, index=self._endog.index, name="resid")

    @property
    def fittedvalues(self) -> pd.Series:
        """Fitted values of the rows used."""
        values = np.asarray(self._endog, float) - self._fits.residuals
        return pd.Series(values, index=self._endog.index, name="fittedvalues")

    # ---- inference in the groups ----

    def _scale(self, pooled: bool | None) -> tuple[np.ndarray, np.ndarray]:
        """Residual standard deviations (L, 1) and their degrees of freedom (L, 1)."""
        if self.pooled if pooled is None else pooled:
            return np.array([[self.pooled_sigma]]), np.array([[self.pooled_df]])
        return self._fits.sigma[:, None], self._fits.df_resid[:, None]

    def _standard_errors(self, pooled: bool | None) -> tuple[np.ndarray, np.ndarray]:
        sigma, df = self._scale(pooled)
        errors = sigma * np.sqrt(self._fits.unscaled)
        return errors, np.where(df > 0, df, np.nan)

    @property
    def bse(self) -> pd.DataFrame:
        """Standard errors, shaped like ``coefficients``."""
        return self._frame(self._standard_errors(None)[0])

    @property
    def tvalues(self) -> pd.DataFrame:
        """Coefficients divided by their standard errors."""
        return self.coefficients / self.bse

    @property
    def pvalues(self) -> pd.DataFrame:
        """Two-sided p-values of Student's t."""
        errors, df = self._standard_errors(None)
        return self._frame(2 * stats.t.sf(np.abs(self._fits.coefficients / errors), df))

    def conf_int(
        self,
        alpha: float = 0.05,
        pooled: bool | None = None,
        *,
        level: float | None = None,
    ) -> NotedTable:
        """Confidence intervals of all coefficients.

        Parameters
        ----------
        alpha : float, optional
            One minus the level of confidence.
        pooled : bool, optional
            Whether the residual variance is that of all groups together; the choice made
            in `lm_list` if None.
        level : float, optional
            The level itself, in place of ``alpha``.

        Returns
        -------
        NotedTable
            One row a group; columns (coefficient, "lower") and (coefficient, "upper").

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> fits = mx.lm_list("Reaction ~ Days | Subject", data)
        >>> fits.conf_int().loc["308", "Days"].round(2).to_dict()
        {'lower': 16.2, 'upper': 27.33}
        """
        level = confidence(alpha, level)
        errors, df = self._standard_errors(pooled)
        half = stats.t.isf((1 - level) / 2, df) * errors
        limits = np.stack([self._fits.coefficients - half, self._fits.coefficients + half])
        columns = pd.MultiIndex.from_product([self._columns, ["lower", "upper"]])
        table = limits.transpose(1, 2, 0).reshape(self.n_groups, -1)
        frame = pd.DataFrame(table, index=self._groups, columns=columns)
        return NotedTable.of(frame, f"{100 * level:.4g}% confidence intervals")

    def tests(self, pooled: bool | None = None) -> NotedTable:
        """t tests of all coefficients of all groups.

        Parameters
        ----------
        pooled : bool, optional
            As in `conf_int`.

        Returns
        -------
        NotedTable
            One row for each group and coefficient, with ``estimate``, ``std_err``,
            ``df``, ``statistic`` (t) and ``pvalue``.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> fits = mx.lm_list("Reaction ~ Days | Subject", data)
        >>> fits.tests(pooled=False).loc["308"].round(3)
                   estimate  std_err   df  statistic  pvalue
        Intercept   244.193   28.083  8.0      8.695   0.000
        Days         21.765    5.260  8.0      4.137   0.003
        """
        errors, df = self._standard_errors(pooled)
        t = self._fits.coefficients / errors
        parts = {
            "estimate": self._fits.coefficients,
            "std_err": errors,
            "df": np.broadcast_to(df, t.shape),
            "statistic": t,
            "pvalue": 2 * stats.t.sf(np.abs(t), df),
        }
        index = pd.MultiIndex.from_product(
            [self._groups, self._columns], names=[self._groups.name, None]
        )
        frame = pd.DataFrame({k: np.ravel(v) for k, v in parts.items()}, index=index)
        return NotedTable.of(frame, "t tests of the coefficients of every group")

    # ---- the groups together ----

    def homogeneity(self) -> NotedTable:
        """F tests that a coefficient is the same in all groups, one row a coefficient.

        The other coefficients are free to differ.  The tests are exact for normal
        residuals with one variance.

        Returns
        -------
        NotedTable
            ``df_num``, ``df_denom``, ``statistic`` (F) and ``pvalue``.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> mx.lm_list("Reaction ~ Days | Subject", data).homogeneity().round(4)
                   df_num  df_denom  statistic  pvalue
        Intercept      17       144     3.7053     0.0
        Days           17       144     5.4178     0.0
        """
        test = homogeneity(self._fits)
        frame = pd.DataFrame(
            {
                "df_num": test.df_num,
                "df_denom": test.df_denom,
                "statistic": test.statistic,
                "pvalue": stats.f.sf(test.statistic, test.df_num, test.df_denom),
            },
            index=self._columns,
        )
        return NotedTable.of(frame, "F tests that a coefficient is the same in all groups")

    def poolability(self) -> PoolabilityTest:
        """F test that all coefficients are the same in all groups (Chow's test).

        Returns
        -------
        PoolabilityTest

        References
        ----------
        G.C. Chow (1960), Tests of equality between sets of coefficients in two linear
        regressions. Econometrica 28, 591-605.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> test = mx.lm_list("Reaction ~ Days | Subject", data).poolability()
        >>> round(test.statistic, 3), test.df_num, test.df_denom
        (13.964, 34, 144)
        """
        return poolability(
            np.asarray(self._exog, float), self._response, self._fits, self._weights
        )

    def compare(self, column: str, by: Any, levels: Any = None) -> WelchTest:
        """Welch's t test of a coefficient between two kinds of groups.

        Every group counts once, with its estimate as an observation: the simple analysis
        that Faraway sets beside the mixed model.  ``scipy.stats.ttest_ind`` with
        ``equal_var=False`` does the test.

        Parameters
        ----------
        column : str
            A column of ``coefficients``.
        by : str, Series, Mapping or array_like
            What kind each group is of: a column of the data that is constant within
            groups, labels by group, or one label a group in the order of
            ``coefficients``.
        levels : sequence, optional
            The two kinds to compare, first minus second; needed where there are more.

        Returns
        -------
        WelchTest

        Raises
        ------
        ValueError
            If ``column`` is no coefficient, ``by`` varies within a group, or there are
            not two kinds.

        References
        ----------
        J.J. Faraway (2016), Extending the Linear Model with R, 2nd edition, section 11.1.
        B.L. Welch (1947), The generalization of Student's problem when several different
        population variances are involved. Biometrika 34, 28-35.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.cake.load().data
        >>> fits = mx.lm_list("angle ~ temp | recipe:replicate", data)
        >>> test = fits.compare("temp", by="recipe", levels=["A", "C"])
        >>> round(test.difference, 4), round(test.statistic, 3), round(test.pvalue, 3)
        (-0.0021, -0.051, 0.959)
        """
        if column not in self._columns:
            raise ValueError(
                f"column={column!r} is no coefficient; there are: "
                f"{', '.join(map(str, self._columns))}"
                f"{did_you_mean(column, self._columns)}"
            )
        kinds = labels_of_groups(by, self._data, self._codes, self._groups)
        pair = two_labels(kinds, levels)
        values = self.coefficients[column].to_numpy()
        samples = [values[(kinds == kind).to_numpy(bool)] for kind in pair]
        return welch_test(column, pair, samples)

    # ---- print ----

    def summary(self) -> NotedTable:
        r"""Distribution of the coefficients over the groups, and tests that they differ.

        Returns
        -------
        NotedTable
            One row a coefficient: in how many groups it is estimated, mean, standard
            deviation and quartiles of the estimates, and the test of `homogeneity`.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> summary = mx.lm_list("Reaction ~ Days | Subject", data).summary()
        >>> summary.loc["Days", ["mean", "sd"]].round(3).to_dict()
        {'mean': 10.467, 'sd': 6.558}
        >>> print("\n".join(summary.notes))
        Pooled residual standard deviation: 25.592 on 144 degrees of freedom
        All coefficients equal: F(34, 144) = 13.964, p = 5.78e-31
        """
        described = self.coefficients.describe().T
        test, pool = self.homogeneity(), self.poolability()
        table = pd.DataFrame(
            {
                "n_groups": self.n_groups - self.n_not_estimable,
                "mean": described["mean"],
                "sd": described["std"],
                "min": described["min"],
                "median": described["50%"],
                "max": described["max"],
                "statistic": test["statistic"],
                "pvalue": test["pvalue"],
            }
        )
        notes = [
            f"Pooled residual standard deviation: {self.pooled_sigma:.5g} on "
            f"{self.pooled_df} degrees of freedom"
            if self.pooled_df
            else "No residual degrees of freedom: no standard errors and no tests"
        ]
        if not np.isnan(pool.pvalue):
            notes.append(
                f"All coefficients equal: F({pool.df_num}, {pool.df_denom}) = "
                f"{pool.statistic:.3f}, p = {pool.pvalue:.3g}"
            )
        short = int(np.isnan(self._fits.coefficients).any(axis=1).sum())
        if short:
            notes.append(f"Groups that do not determine all coefficients: {short}")
        no_df = int((self._fits.df_resid == 0).sum())
        if no_df and self.pooled_df:
            notes.append(f"Groups without residual degrees of freedom: {no_df}")
        heading = (
            f"{self.formula}: {self.n_groups} fits by least squares, "
            f"{len(self._codes)} rows"
        )
        return NotedTable.of(table, heading, notes)

    def __repr__(self) -> str:
        return repr(self.summary())
