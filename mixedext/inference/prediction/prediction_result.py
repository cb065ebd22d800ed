"""What predictions with standard errors are: means, errors, intervals, tables."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import confidence
from mixedext.calls import answer_calls
from mixedext.exceptions import PrecisionWarning, user_stacklevel
from mixedext.fitted import Fitted
from mixedext.graphics.prediction_bands import plot_prediction, prediction_data
from mixedext.inference.prediction.new_rows import NewRows

__all__ = ["KINDS", "MixedPrediction", "columns_of"]

KINDS = np.array(["population", "known group", "new group"], dtype=object)
# Rows that are printed.
SHOWN = 10


@answer_calls
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
    _frame: pd.DataFrame | None = field(default=None, kw_only=True)
    _factors: tuple[str, ...] = field(default=(), kw_only=True)

    def __len__(self) -> int:
        return len(self.predicted_mean)

    def __repr__(self) -> str:
        counts = [f"{(self.kind == k).sum()} {k}" for k in KINDS if (self.kind == k).any()]
        rows = "1 row" if len(self) == 1 else f"{len(self)} rows"
        lines = [
            f"Predictions of {rows} ({', '.join(counts)}); df: {self.df_method}",
            pd.DataFrame(self._first_rows(), self._labels[:SHOWN]).to_string(),
        ]
        if len(self) > SHOWN:
            lines.append(f"and {len(self) - SHOWN:,} more: summary_frame()")
        return "\n".join(lines)

    @property
    def _labels(self):
        return pd.RangeIndex(len(self)) if self.row_labels is None else self.row_labels

    def _first_rows(self) -> dict[str, np.ndarray]:
        """Columns of ``summary_frame`` for the first rows."""
        mean, se = self.predicted_mean[:SHOWN], self.se_mean[:SHOWN]
        errors = {"mean": (se, self.df[:SHOWN])}
        if not isinstance(self._observation, str):
            errors["obs"] = self.se_obs[:SHOWN], self.df_obs[:SHOWN]
        table = {"mean": mean, "mean_se": se}
        for name, (own, df) in errors.items():
            half = stats.t.isf(0.025, df) * own
            table |= {f"{name}_ci_lower": mean - half, f"{name}_ci_upper": mean + half}
        return table

    @property
    def se_mean(self) -> np.ndarray:
        """Standard errors of the means, (n,)."""
        return _root(self.var_pred_mean)

    @property
    def var_pred_obs(self) -> np.ndarray:
        """Variances of the errors of predicted observations, (n,)."""
        return self._of_observation[0]

    @property
    def se_obs(self) -> np.ndarray:
        """Standard errors of predicted observations, (n,)."""
        return _root(self.var_pred_obs)

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

    plot_data = prediction_data
    plot = plot_prediction


def columns_of(fitted: Fitted, rows: NewRows) -> dict[str, Any]:
    """The data that are predicted, and which of their columns are labels, for pictures."""
    frame = fitted.need_rows().frame if rows.own else rows.frame
    labels = [name for group in fitted.random.groups for name in group.split(":")]
    return {"_frame": frame, "_factors": tuple(labels)}


def _root(variance: np.ndarray) -> np.ndarray:
    """Standard errors; NaN, and a warning, where rounding has made a variance negative."""
    lost = variance < 0
    if lost.any():
        warnings.warn(
            f"{lost.sum()} of {lost.size} variances of predictions are negative by "
            "rounding, and their standard errors and limits are NaN: one variance dwarfs "
            "the others, or too many are estimated; leave out a term",
            PrecisionWarning,
            stacklevel=user_stacklevel(),
        )
    return np.sqrt(np.where(lost, np.nan, variance))
