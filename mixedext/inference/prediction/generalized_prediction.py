"""Predictions of generalized models: means, their errors, and population averages.

Three means of a row, which the link tells apart:

=================  ==========================================================
conditional        g^-1(x'b + z'u), u the conditional modes
u = 0              g^-1(x'b), the mean of a level whose effects are zero
marginal           E g^-1(x'b + z'u), u normal: the mean over the population
=================  ==========================================================

Limits are made on the scale of the link and transformed back, so that they lie in the range
of the response; standard errors of means are by the delta method.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import check_choice, confidence
from mixedext.calls import answer_calls
from mixedext.exceptions import FormulaError, OffsetWarning, user_stacklevel
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.prediction.generalized_errors import (
    conditional_variance,
    marginal_slopes,
    population_variance,
)
from mixedext.inference.prediction.marginal_means import marginal_mean
from mixedext.inference.prediction.new_rows import NewRows, new_rows
from mixedext.inference.prediction.prediction_result import KINDS
from mixedext.specification.data.columns import column_of
from mixedext.specification.data.tables import data_frame

__all__ = ["GeneralizedPrediction", "get_prediction", "predict", "shift_of_new"]

WHICH = ("mean", "linear")


def shift_of_new(
    fitted: Fitted, exog: Any = None, exposure: Any = None
) -> np.ndarray | None:
    """Logarithm of the exposure of new data; None where there is none.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    exog : DataFrame or array_like, optional
        New data; the rows of the fit, whose offset has it already, if None.
    exposure : array_like, optional
        As given; if None the column that the model's ``exposure=`` names stands for it.
    """
    model: Any = fitted.model
    if exposure is not None:
        if model.family.link.name != "log":
            raise ValueError(
                f"exposure is for the log link; the link is {model.family.link.name}"
            )
        return _log_exposure(exposure, "exposure")
    if exog is None or (model.exposure_name is None and not model.exposure_by_rows):
        return None
    if model.exposure_by_rows:
        warnings.warn(
            "the model's exposure was given as values, which new data have not: the means "
            "are for an exposure of 1; give theirs by exposure=",
            OffsetWarning,
            stacklevel=user_stacklevel(),
        )
        return None
    frame, name = data_frame(exog), model.exposure_name
    if name not in frame.columns and name not in frame.index.names:
        raise FormulaError(
            f"the new data have no column {name!r}, which the model's exposure= names; add "
            "it, or give exposure="
        )
    return _log_exposure(column_of(frame, name), f"exposure (the column {name!r})")


def _log_exposure(values, name):
    values = np.asarray(values, float)
    if not (values[~np.isnan(values)] > 0).all():
        raise ValueError(f"{name} must be positive")
    return np.log(values)


def _rows_and_predictor(
    fitted: Fitted,
    exog: Any,
    transform: bool,
    offset: Any,
    exposure: Any,
    conditional: Any,
    new_levels: str,
    marginal: bool,
) -> tuple[NewRows, np.ndarray]:
    if marginal:
        if conditional not in (None, False):
            raise ValueError(
                "marginal=True averages over the random effects, which conditional="
                f"{conditional!r} gives: leave one of them out"
            )
        conditional = False
    shift = shift_of_new(fitted, exog, exposure)
    rows = new_rows(fitted, exog, transform, offset, conditional, new_levels)
    eta = rows.mean(fitted)
    return rows, eta if shift is None else eta + shift


def predict(
    results: HasFitted,
    exog: Any = None,
    transform: bool = True,
    offset: Any = None,
    *,
    which: str = "mean",
    exposure: Any = None,
    conditional: bool | str | Sequence[str] | None = None,
    marginal: bool = False,
    new_levels: str = "raise",
) -> Any:
    """Means or linear predictors of the rows of the fit, or of new data.

    Parameters
    ----------
    exog : DataFrame or array_like, optional
        New data, passed through the formula; the rows of the fit if None.
    transform : bool, optional
        False if ``exog`` already holds the model's columns.
    offset : array_like, optional
        Added to the linear predictor besides the formula's own ``offset(...)``, in place
        of the column that the model's ``offset=`` names.
    which : {"mean", "linear"}, optional
        The mean (of successes the probability), or the linear predictor.
    exposure : array_like, optional
        Of new data, in place of the column that the model's ``exposure=`` names.
    conditional : bool, str or list of str, optional
        Which random effects the means are given: True all, False none (random effects of
        zero, u = 0, which is not the mean over them), or those of some grouping factors.
        None is True for models stated in bars or by ``terms``, so that ``predict()`` is
        ``fittedvalues`` as in lme4, and False for those stated by ``groups``.
    marginal : bool, optional
        Average over the random effects: the mean over the population, E g^-1(x'b + z'u).
        On the scale of the linear predictor it is g of that mean.
    new_levels : {"raise", "zero", "missing"}, optional
        Levels that the fit had not are an error; or have random effects of zero; or give
        NaN.  ``marginal=True`` and ``conditional=False`` need no levels.

    Returns
    -------
    Series or ndarray
        NaN for rows that lack a value, or that the data of the fit do not determine.

    Raises
    ------
    ValueError
        If ``exog`` has another number of columns than the model, or lacks one that the
        formula, ``offset=`` or ``exposure=`` of the model names, or a grouping factor, or
        has levels that the fit had not; if the link has no population average.

    Warns
    -----
    NotEstimableWarning
        If the data of the fit do not determine some of the means.
    OffsetWarning
        If offset or exposure were given as values, and none is given for new data.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import mixedext as mx
    >>> data = pd.DataFrame({"g": np.repeat(list("abcdef"), 5), "x": np.tile(range(5), 6)})
    >>> data["y"] = data["x"] // 2 + np.repeat([0, 1, 0, 3, 1, 2], 5)
    >>> result = mx.glmm("y ~ x + (1 | g)", data, family="poisson").fit()
    >>> new = {"x": [0, 4], "g": ["d", "d"]}
    >>> mean, linear = result.predict(new), result.predict(new, which="linear")
    >>> bool(np.allclose(np.log(mean), linear))
    True
    >>> average = result.predict(new, marginal=True)
    >>> zero = result.predict(new, conditional=False)
    >>> bool(np.allclose(average, zero * np.exp(result.var_corr["variance"].iloc[0] / 2)))
    True
    """
    check_choice(which, "which", WHICH)
    fitted = results.fitted
    link = fitted.generalized.family.link
    rows, eta = _rows_and_predictor(
        fitted, exog, transform, offset, exposure, conditional, new_levels, marginal
    )
    if marginal:
        mean = marginal_mean(link, eta, marginal_slopes(fitted, rows)[0]).mean
        return rows.labelled(mean if which == "mean" else link.eta(mean))
    return rows.labelled(eta if which == "linear" else link.mean(eta))


@answer_calls
@dataclass(frozen=True, eq=False)
class GeneralizedPrediction:
    """Predicted means of rows with standard errors and limits.

    Attributes
    ----------
    linear_predictor : ndarray
        On the scale of the link, (n,); of population averages g of them.
    var_linear : ndarray
        Variances of their errors, (n,).
    kind : ndarray of str
        "population", "known group", "new group" or "average" for each row, (n,).
    which : {"mean", "linear"}
        What is predicted.
    row_labels : Index or None
        Labels of the rows.
    df : float
        Degrees of freedom; infinite for the normal law.
    """

    linear_predictor: np.ndarray
    var_linear: np.ndarray
    kind: np.ndarray
    which: str
    row_labels: pd.Index | None
    df: float
    _link: Any

    def __len__(self) -> int:
        return len(self.linear_predictor)

    @property
    def se_linear(self) -> np.ndarray:
        """Standard errors on the scale of the link, (n,)."""
        return np.sqrt(self.var_linear)

    @property
    def predicted_mean(self) -> np.ndarray:
        """What is predicted: means, or linear predictors, (n,)."""
        if self.which == "linear":
            return self.linear_predictor
        return self._link.mean(self.linear_predictor)

    @property
    def se_mean(self) -> np.ndarray:
        """Standard errors of what is predicted, by the delta method for means, (n,)."""
        if self.which == "linear":
            return self.se_linear
        return np.abs(self._link.terms(self.linear_predictor).first) * self.se_linear

    se = se_mean

    @property
    def var_pred_mean(self) -> np.ndarray:
        """Squares of ``se_mean``, (n,)."""
        return self.se_mean**2

    def conf_int(self, alpha: float = 0.05, *, level: float | None = None) -> np.ndarray:
        """Limits of what is predicted: those of the linear predictor, transformed back.

        Parameters
        ----------
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
        half = stats.t.isf(alpha / 2, self.df) * self.se_linear
        ends = [self.linear_predictor - half, self.linear_predictor + half]
        if self.which == "mean":
            with np.errstate(over="ignore"):
                ends = [self._link.mean(end) for end in ends]
        both = np.column_stack(ends)
        return np.column_stack([both.min(axis=1), both.max(axis=1)])

    def summary_frame(
        self, alpha: float = 0.05, *, level: float | None = None
    ) -> pd.DataFrame:
        """Means, standard errors and limits, with statsmodels' columns.

        Parameters
        ----------
        alpha, level : float, optional
            As for ``conf_int``.

        Returns
        -------
        DataFrame
            mean, mean_se, mean_ci_lower, mean_ci_upper and kind.
        """
        limits = self.conf_int(alpha, level=level)
        columns = {
            "mean": self.predicted_mean,
            "mean_se": self.se_mean,
            "mean_ci_lower": limits[:, 0],
            "mean_ci_upper": limits[:, 1],
            "kind": self.kind,
        }
        return pd.DataFrame(columns, index=self.row_labels)

    def __repr__(self) -> str:
        counts = [f"{(self.kind == k).sum()} {k}" for k in dict.fromkeys(self.kind)]
        what = "Means" if self.which == "mean" else "Linear predictors"
        rows = "1 row" if len(self) == 1 else f"{len(self)} rows"
        frame = self.summary_frame().drop(columns="kind").head(10)
        head = f"{what} of {rows} ({', '.join(counts)}); limits made on the link's scale"
        return f"{head}\n{frame.to_string()}"


def get_prediction(
    results: HasFitted,
    exog: Any = None,
    transform: bool = True,
    row_labels: Any = None,
    offset: Any = None,
    *,
    which: str = "mean",
    exposure: Any = None,
    conditional: bool | str | Sequence[str] | None = None,
    marginal: bool = False,
    new_levels: str = "raise",
) -> GeneralizedPrediction:
    """Predictions with standard errors and limits inside the range of the response.

    Parameters
    ----------
    exog, transform, offset, which, exposure, conditional, marginal, new_levels
        As for ``predict``.
    row_labels : array_like, optional
        Labels of the rows in place of those of ``exog``.

    Returns
    -------
    GeneralizedPrediction
        ``predicted_mean``, ``se_mean``, ``conf_int()``, ``summary_frame()``.

    Raises
    ------
    ValueError
        As ``predict``; if labels are not as many as rows.

    Notes
    -----
    Given random effects, errors are those of the conditional law of the effects and of the
    estimates together, the uncertainty of the covariances included.  Population averages
    have errors by the delta method over fixed effects and covariances.
    """
    check_choice(which, "which", WHICH)
    fitted = results.fitted
    link = fitted.generalized.family.link
    rows, eta = _rows_and_predictor(
        fitted, exog, transform, offset, exposure, conditional, new_levels, marginal
    )
    index = rows.index if row_labels is None else pd.Index(row_labels)
    if index is not None and len(index) != len(rows):
        raise ValueError(f"row_labels has {len(index)} labels for {len(rows)} rows")
    lost = np.isnan(eta)
    exact = np.where(lost[:, None], 0.0, rows.exog)
    if marginal:
        kind = np.full(len(rows), "average", dtype=object)
        eta, variance = _marginal_errors(fitted, link, rows, eta, exact)
    elif rows.given:
        kind = KINDS[np.where(rows.unknown, 2, 1)]
        variance = conditional_variance(fitted, rows)
    else:
        kind = KINDS[np.zeros(len(rows), int)]
        variance = population_variance(fitted, exact)
    variance = np.where(lost, np.nan, variance)
    settings = fitted.settings
    own_df = settings.df_resid_inference or fitted.df_resid
    df = float(own_df) if settings.use_t else np.inf
    return GeneralizedPrediction(eta, variance, kind, which, index, df, link)


def _marginal_errors(fitted, link, rows, eta, exog):
    """g of population averages, and variances of their errors on that scale."""
    variance, by_gamma = marginal_slopes(fitted, rows)
    found = marginal_mean(link, eta, variance)
    x = exog[:, fitted.fixed.kept]
    slopes = [found.by_variance[:, None] * by_gamma, found.by_eta[:, None] * x]
    slope = np.concatenate(slopes, axis=1)
    spread = fitted.generalized.engine.covariance[: slope.shape[1], : slope.shape[1]]
    used = (np.nan_to_num(slope) != 0).any(axis=0)
    slope, spread = slope[:, used], spread[np.ix_(used, used)]
    own = np.einsum("ij,jk,ik->i", slope, spread, slope)
    at = link.eta(found.mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        return at, own / link.terms(at).first ** 2
