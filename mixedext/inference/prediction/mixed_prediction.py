"""Predictions with standard errors and intervals: means, and observations that are new.

What an interval is for:

==================  ==================================  =================================
rows                mean                                observation
==================  ==================================  =================================
population          x'b, variance x'Phi x               of a new group: + z'Gz + sigma^2/w
known group         x'b + z'u, from errors of both      + sigma^2/w
new group           x'b + z'u, u = 0: + z'Gz            + sigma^2/w
==================  ==================================  =================================

The variances are those of ``joint_errors``; by Kenward and Roger's method with what the
estimation of the variances adds to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import confidence
from mixedext.engine.information.joint_errors import (
    JointErrors,
    joint_errors,
    random_rows,
)
from mixedext.exceptions import FormulaError
from mixedext.fitted import Fitted, HasFitted
from mixedext.graphics.prediction_bands import draw_predictions
from mixedext.inference.fixed_effects.covariance_choice import choice_in_words, chosen_tests
from mixedext.inference.fixed_effects.df_methods import FixedTests, df_choice
from mixedext.inference.prediction.new_rows import NewRows, effect_columns, new_rows

__all__ = ["MixedPrediction", "get_prediction"]

KINDS = np.array(["population", "known group", "new group"], dtype=object)


@dataclass(frozen=True, eq=False)
class MixedPrediction:
    """Predictions of rows, their standard errors and intervals.

    Attributes
    ----------
    predicted_mean : ndarray
        Means of the rows, (n,).
    var_pred_mean : ndarray
        Variances of their errors, (n,).
    df : ndarray
        Degrees of freedom of each mean, infinite for the normal law, (n,).
    kind : ndarray of str
        "population", "known group" or "new group" for each row, (n,).
    row_labels : Index or None
        Labels of the rows.
    df_method : str
        Where the degrees of freedom come from, in words.
    """

    predicted_mean: np.ndarray
    var_pred_mean: np.ndarray
    df: np.ndarray
    kind: np.ndarray
    row_labels: pd.Index | None
    df_method: str
    _observation: tuple[np.ndarray, np.ndarray] | str
    _frame: pd.DataFrame | None = None

    @property
    def se_mean(self) -> np.ndarray:
        """Standard errors of the means, (n,)."""
        return np.sqrt(self.var_pred_mean)

    @property
    def var_pred_obs(self) -> np.ndarray:
        """Variances of the errors of predicted observations, (n,)."""
        return self._of_observation[0]

    @property
    def se_obs(self) -> np.ndarray:
        """Standard errors of predicted observations, (n,)."""
        return np.sqrt(self.var_pred_obs)

    @property
    def df_obs(self) -> np.ndarray:
        """Degrees of freedom of each observation, (n,)."""
        return self._of_observation[1]

    @property
    def _of_observation(self):
        if isinstance(self._observation, str):
            raise ValueError(self._observation)
        return self._observation

    @property
    def tvalues(self) -> np.ndarray:
        """Means by their standard errors, (n,)."""
        return self.predicted_mean / self.se_mean

    def t_test(
        self, value: Any = 0.0, alternative: str = "two-sided"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tests of the means.

        Parameters
        ----------
        value : float or array_like, optional
            What they are compared with.
        alternative : {"two-sided", "larger", "smaller"}, optional
            The alternative.

        Returns
        -------
        statistic, pvalue : ndarray
            (n,) each.
        """
        statistic = (self.predicted_mean - np.asarray(value, float)) / self.se_mean
        match alternative:
            case "two-sided" | "2-sided" | "2s":
                return statistic, 2 * stats.t.sf(np.abs(statistic), self.df)
            case "larger" | "l":
                return statistic, stats.t.sf(statistic, self.df)
            case "smaller" | "s":
                return statistic, stats.t.cdf(statistic, self.df)
        raise ValueError(
            f"alternative={alternative!r}; use 'two-sided', 'larger' or 'smaller'"
        )

    def conf_int(
        self, obs: bool = False, alpha: float = 0.05, *, level: float | None = None
    ) -> np.ndarray:
        """Limits of the means, or of new observations.

        Parameters
        ----------
        obs : bool, optional
            Prediction intervals of observations rather than intervals of means.
        alpha : float, optional
            The intervals miss with this probability.
        level : float, optional
            1 - alpha, in its place.

        Returns
        -------
        ndarray
            (n, 2), lower and upper.
        """
        alpha = 1.0 - confidence(alpha, level)
        se, df = (self.se_obs, self.df_obs) if obs else (self.se_mean, self.df)
        half = stats.t.isf(alpha / 2, df) * se
        return np.column_stack([self.predicted_mean - half, self.predicted_mean + half])

    def summary_frame(
        self, alpha: float = 0.05, *, level: float | None = None
    ) -> pd.DataFrame:
        """Means, standard errors and both intervals, with statsmodels' columns.

        Parameters
        ----------
        alpha, level : float, optional
            As for ``conf_int``.

        Returns
        -------
        DataFrame
            mean, mean_se, mean_ci_lower, mean_ci_upper, obs_ci_lower, obs_ci_upper,
            obs_se, df, df_obs, kind.
        """
        means = self.conf_int(alpha=alpha, level=level)
        observations = self.conf_int(True, alpha, level=level)
        return pd.DataFrame(
            {
                "mean": self.predicted_mean,
                "mean_se": self.se_mean,
                "mean_ci_lower": means[:, 0],
                "mean_ci_upper": means[:, 1],
                "obs_ci_lower": observations[:, 0],
                "obs_ci_upper": observations[:, 1],
                "obs_se": self.se_obs,
                "df": self.df,
                "df_obs": self.df_obs,
                "kind": self.kind,
            },
            index=self.row_labels,
        )

    def plot_data(
        self,
        x: Any = None,
        by: Any = None,
        alpha: float = 0.05,
        *,
        level: float | None = None,
        obs: bool | None = None,
    ) -> pd.DataFrame:
        """What ``plot`` draws.

        Parameters
        ----------
        x, by, alpha, level, obs
            As for ``plot``.

        Returns
        -------
        DataFrame
            The columns that ``x`` and ``by`` are, mean, mean_ci_lower, mean_ci_upper and,
            with ``obs``, obs_ci_lower, obs_ci_upper; a row a prediction.
        """
        if obs is None:
            obs = not isinstance(self._observation, str)
        columns = {"row" if x is None else _name(x, "x"): self._column(x, "x")}
        if by is not None:
            columns[_name(by, "by")] = self._column(by, "by")
        means = self.conf_int(alpha=alpha, level=level)
        columns["mean"] = self.predicted_mean
        columns |= {"mean_ci_lower": means[:, 0], "mean_ci_upper": means[:, 1]}
        if obs:
            new = self.conf_int(True, alpha, level=level)
            columns |= {"obs_ci_lower": new[:, 0], "obs_ci_upper": new[:, 1]}
        return pd.DataFrame(columns)

    def plot(
        self,
        x: Any = None,
        by: Any = None,
        alpha: float = 0.05,
        *,
        level: float | None = None,
        obs: bool | None = None,
        ax: Any = None,
    ) -> Any:
        """Draw the means with their intervals, and those of observations.

        Parameters
        ----------
        x : str or array_like, optional
            What they are drawn along: a column of the new data, or a value for each row;
            the number of the row if None.
        by : str or array_like, optional
            What tells curves from each other, likewise.
        alpha, level : float, optional
            As for ``conf_int``.
        obs : bool, optional
            Whether intervals of observations are drawn; where they are known if None.
        ax : Axes, optional
            Where to draw; on a new figure if None.

        Returns
        -------
        Figure

        Raises
        ------
        ValueError
            If the new data have no such column, or the values are not one a row.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> new = {"Days": range(10), "Subject": [308] * 10}
        >>> figure = result.get_prediction(new).plot("Days")  # doctest: +SKIP
        """
        frame = self.plot_data(x, by, alpha, level=level, obs=obs)
        along = str(frame.columns[0])
        divided = None if by is None else str(frame.columns[1])
        return draw_predictions(frame, along, divided, ax)

    def _column(self, given, argument):
        """A column of the new data, or the values that are given, (n,)."""
        n = len(self.predicted_mean)
        if given is None:
            return np.arange(n)
        if not isinstance(given, str):
            values = np.asarray(given)
            if values.shape != (n,):
                raise ValueError(
                    f"{argument} has shape {values.shape}; it must be a column's name or a "
                    f"value for each of the {n} predictions"
                )
            return values
        if self._frame is None or given not in self._frame:
            columns = [] if self._frame is None else [str(c) for c in self._frame]
            raise ValueError(
                f"{argument}={given!r} is not a column of the data that were predicted; "
                f"there are: {', '.join(columns) or 'none'}"
            )
        return self._frame[given].to_numpy()


def _name(given, argument):
    """Name of a column that is drawn."""
    return (
        given if isinstance(given, str) else str(getattr(given, "name", None) or argument)
    )


def get_prediction(
    results: HasFitted,
    exog: Any = None,
    transform: bool = True,
    weights: Any = None,
    row_labels: Any = None,
    offset: Any = None,
    *,
    conditional: bool | str | Sequence[str] | None = None,
    new_levels: str = "raise",
    df_method: str | None = None,
    information: str | None = None,
) -> MixedPrediction:
    """Predictions with standard errors, intervals of means and of new observations.

    Parameters
    ----------
    exog, transform, offset, conditional, new_levels
        As for ``predict``.
    weights : array_like, optional
        Precision weights of the new observations; 1 if None, those of the fit for its own
        rows.
    row_labels : array_like, optional
        Labels of the rows in place of those of ``exog``.
    df_method : str, optional
        Degrees of freedom: "satterthwaite", "kenward-roger", "residual" or "z"; as the
        fit's tests if None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method.

    Returns
    -------
    MixedPrediction
        ``predicted_mean``, ``se_mean``, ``se_obs``, ``conf_int(obs=)``,
        ``summary_frame()``.

    Raises
    ------
    ValueError
        If a weight is not positive, or as ``predict`` raises.

    Notes
    -----
    Errors of the coefficients and of the random effects are taken jointly.  With few
    groups the variances themselves are uncertain, and Kenward and Roger's method adds what
    that adds to the error (Prasad and Rao's correction for random effects); z intervals
    fall short then.  In a singular fit a variance at zero is taken to be zero, and
    intervals may be short.

    References
    ----------
    Henderson, C. R. (1975). Best linear unbiased estimation and prediction under a
    selection model. Biometrics 31, 423-447.

    Prasad, N. G. N. and Rao, J. N. K. (1990). The estimation of the mean squared error of
    small-area estimators. Journal of the American Statistical Association 85, 163-171.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> new = {"Days": [0, 10], "Subject": [308, 308]}
    >>> found = result.get_prediction(new, df_method="kenward-roger")
    >>> found.summary_frame()[["mean", "mean_se", "obs_se"]].round(2).to_numpy().tolist()
    [[253.66, 13.38, 28.88], [450.33, 16.49, 30.44]]
    """
    fitted = results.fitted
    choice = df_choice(df_method, information)
    tests = chosen_tests(fitted, choice)
    rows = new_rows(fitted, exog, transform, offset, conditional, new_levels)
    precision = _precision(fitted, rows, weights)
    mean = rows.mean(fitted)
    unknown = rows.unknown
    kind = KINDS[np.where(unknown, 2, 1) if rows.given else np.zeros(len(rows), int)]
    lost = np.isnan(mean)
    variance, df, observation = _errors(fitted, tests, rows, precision, lost)
    index = rows.index if row_labels is None else pd.Index(row_labels)
    words, frame = choice_in_words(results, choice), _columns_of(fitted, rows)
    return MixedPrediction(mean, variance, df, kind, index, words, observation, frame)


def _columns_of(fitted, rows):
    """The data that are predicted, as the user gave them, or None."""
    return fitted.need_rows().frame if rows.own else rows.frame


def _precision(fitted, rows, weights):
    """Weights of the observations, (n,)."""
    if weights is None:
        own = fitted.need_rows().weights if rows.own else None
        return np.ones(len(rows)) if own is None else own
    weights = np.broadcast_to(np.asarray(weights, float), len(rows))
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("weights must be positive and finite: precisions of observations")
    return weights


def _errors(fitted: Fitted, tests: FixedTests, rows: NewRows, precision, lost):
    """Variance and df of the means, and of observations or why there are none."""
    n, scale = len(rows), fitted.scale
    kept = fitted.fixed.kept
    x = np.where(lost[:, None], 0.0, rows.exog)[:, kept]
    fit = fitted.fit
    own_law = fit.held is None and fitted.settings.estimator == "nonrobust"
    if rows.given and not own_law:
        raise ValueError(
            "errors of random effects are known for (restricted) maximum likelihood and "
            "the model's own covariance: use conditional=False, or fit with "
            "cov_type='nonrobust' and without penalties or held parameters"
        )
    errors = joint_errors(fit)
    random = _random(fitted, rows, lost) if rows.given else None
    spread, weight = tests.variance_covariance, None
    if spread is not None and tests.adjusts:
        weight = spread[:-1, :-1]
    if own_law:
        found = errors.errors(x, random, spread is not None, weight)
        variance, slope = found.variance.copy(), found.slope
        rise = 0.0 if found.rise is None else 2.0 * found.rise
        df = _df(variance, slope, spread, tests, n)
        variance = scale * (variance + rise)
    else:
        variance = np.einsum("ij,jk,ik->i", x, tests.covariance, x)
        df, slope, rise = tests.df(x), None, 0.0
    observation = _observation(fitted, tests, rows, errors, precision, lost)
    if not isinstance(observation, str):
        extra, extra_slope = observation
        plain = variance / scale - rise
        whole = plain + extra
        if slope is not None:
            df_obs = _df(whole, slope + extra_slope, spread, tests, n)
        else:
            df_obs = df
        var_obs = scale * (whole + rise)
        observation = _with_nan(var_obs, lost), _with_nan(df_obs, lost)
    return _with_nan(variance, lost), _with_nan(df, lost), observation


def _with_nan(values, lost):
    return np.where(lost, np.nan, values)


def _df(variance, slope, spread, tests, n):
    """Satterthwaite's degrees of freedom of every row."""
    if spread is None:
        return np.broadcast_to(tests.df(np.zeros((1, len(tests.root)))), n)
    square = np.einsum("nr,rs,ns->n", slope, spread, slope)
    out = np.full(n, np.inf)
    return np.divide(2 * variance**2, square, out=out, where=square > 0)


def _random(fitted, rows, lost):
    """Rows of Z of the random effects that the prediction is given."""
    given = []
    for term, own in zip(fitted.random.terms, rows.terms, strict=True):
        if own is None:
            given.append(
                (np.zeros(len(rows), np.intp), np.zeros((len(rows), term.k)), None)
            )
            continue
        z, codes = own.z, np.maximum(own.codes, -1)
        if own.new_square is None:
            z = np.where(lost[:, None], 0.0, z)
        given.append((codes, z, own.new_square))
    return random_rows(fitted.fit, given)


def _observation(fitted, tests, rows, errors: JointErrors, precision, lost):
    """What an observation adds, relative to sigma^2, and its slope; or why not."""
    values: list[np.ndarray | None] = []
    for number, own in enumerate(rows.terms):
        if own is not None:
            values.append(None)
            continue
        try:
            z = effect_columns(fitted, rows, number)
        except (FormulaError, ValueError) as error:
            return f"errors of observations of new groups are not known: {error}"
        values.append(np.where(lost[:, None], 0.0, z) * 1.0)
    new = [
        (np.full(len(rows), -1), np.zeros((len(rows), term.k)) if z is None else z, None)
        for term, z in zip(fitted.random.terms, values, strict=True)
    ]
    inner = random_rows(fitted.fit, new).new
    extra, slope = errors.prior(inner, len(rows))
    extra = extra + 1.0 / precision
    slope[:, -1] = extra
    return extra, slope
