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
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_choice, check_count
from mixedext.engine.information.curvature import outer_bends, second_derivatives
from mixedext.engine.information.joint_errors import (
    JointErrors,
    joint_errors,
    random_rows,
)
from mixedext.exceptions import FormulaError
from mixedext.fitted import DfChoice, Fitted, HasFitted
from mixedext.inference.fixed_effects.covariance_choice import (
    choice_in_words,
    chosen_tests,
    settled_choice,
)
from mixedext.inference.fixed_effects.df_methods import KENWARD_ROGER, FixedTests, df_choice
from mixedext.inference.prediction.bootstrap_prediction import bootstrap_prediction
from mixedext.inference.prediction.new_rows import (
    NewRows,
    effect_columns,
    new_rows,
    precision_of,
)
from mixedext.inference.prediction.prediction_result import (
    KINDS,
    MixedPrediction,
    columns_of,
)
from mixedext.inference.prediction.residual_errors import residual_errors, residual_means
from mixedext.inference.prediction.residual_places import places_of_observations
from mixedext.inference.prediction.row_degrees import (
    curved_part,
    free_spread,
    satterthwaite_df,
)

__all__ = ["MixedPrediction", "check_df_method", "get_prediction"]

METHODS = "analytic", "bootstrap"
# What holds for random effects too; the classical methods are of fixed effects alone.
DF_METHODS = "satterthwaite", *KENWARD_ROGER, "residual", "z"


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
    method: str = "analytic",
    n: int = 1000,
    rng: Any = None,
    n_jobs: int | None = None,
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
    method : {"analytic", "bootstrap"}, optional
        Errors by formula, or limits by percentiles of a parametric bootstrap with refits:
        where a group is known its modes are held in the responses that are simulated,
        elsewhere random effects are drawn anew; observations draw theirs from the
        variances of the refit.  Beside ``residual=`` for ``conditional=False``.
    n : int, optional
        Number of replicates.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    n_jobs : int, optional
        Jobs of joblib; the numbers do not depend on it.

    Returns
    -------
    MixedPrediction
        ``predicted_mean``, ``se_mean``, ``se_obs``, ``conf_int(obs=)``,
        ``summary_frame()``.

    Raises
    ------
    ValueError
        If a weight is not positive, or none is given to new rows of a weighted fit with
        ``conditional="all"``, labels are not as many as rows, the method for the degrees of
        freedom does not go with random effects, Kenward and Roger's is asked
        for a fit by maximum likelihood, or as ``predict`` raises.

    Warns
    -----
    BootstrapWarning
        If replicates failed (they are left out), or are too few for the limits.

    Notes
    -----
    Errors of the coefficients and of the random effects are taken jointly.  With few
    groups the variances themselves are uncertain, and Kenward and Roger's method adds what
    that adds to the error (Prasad and Rao's correction for random effects); z intervals
    fall short then.  In a singular fit a variance at zero is taken to be zero, also
    by Kenward and Roger's method where random effects are given or an observation is
    predicted, and intervals may be short.

    Of models with ``residual=`` or ``variance=`` an observation has the variance of its
    own visit, stratum and covariate, which new data must have for ``se_obs``.  Given
    residuals (``conditional="all"``) what is predicted is the row itself, but for a nugget:
    ``se_mean`` is its error, own - c'V^-1 c + h'Phi h with h = x - X'V^-1 c, and ``se_obs``
    has the nugget too.  A row at a place of the fit is that row, with no error; with a
    nugget it is smoothed.  Of the versions of Kenward and Roger's method that of 2009 takes
    second derivatives of the covariance, of structured random effects too, off all of the
    error, that of 1997 off the error of the coefficients alone: SAS has none in
    predictions.

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
    check_choice(method, "method", METHODS)
    choice = df_choice(df_method, information)
    rows = new_rows(fitted, exog, transform, offset, conditional, new_levels)
    precision = precision_of(fitted, rows, weights)
    mean = rows.mean(fitted) + residual_means(fitted, rows, precision)
    unknown = rows.unknown
    kind = KINDS[np.where(unknown, 2, 1) if rows.given else np.zeros(len(rows), int)]
    lost = np.isnan(mean)
    index = rows.index if row_labels is None else pd.Index(row_labels)
    if index is not None and len(index) != len(rows):
        raise ValueError(f"row_labels has {len(index)} labels for {len(rows)} rows")
    if method == "bootstrap":
        check_count(n, "n")
        if fitted.fit.residual is not None and rows.given:
            raise NotImplementedError(
                "method='bootstrap' beside residual= or variance= is there for the "
                "population, conditional=False; use method='analytic'"
            )
        if df_method is not None or information is not None:
            raise ValueError(
                "method='bootstrap' takes percentiles, which have no degrees of freedom; "
                "leave df_method= and information= out"
            )
        columns, places = _not_given(fitted, rows, lost), None
        if fitted.fit.residual is not None and not isinstance(columns, str):
            try:
                places = places_of_observations(fitted, rows)
            except (FormulaError, ValueError) as error:
                columns = f"observations are not known: {error}"
        return bootstrap_prediction(
            fitted, rows, columns, places, precision, mean, kind, index, int(n), rng, n_jobs
        )
    tests = chosen_tests(fitted, choice)
    settled = settled_choice(fitted, choice)
    check_df_method(settled)
    if fitted.fit.residual is None:
        variance, df, observation = _errors(
            fitted, tests, settled.df_method, rows, precision, lost
        )
    else:
        if rows.given:
            _need_own_law(fitted)
        not_given = _not_given(fitted, rows, lost)
        variance, df, observation = residual_errors(
            fitted, tests, settled.df_method, rows, precision, lost, not_given
        )
    words = choice_in_words(results, choice)
    return MixedPrediction(
        mean, variance, df, kind, index, words, observation, **columns_of(fitted, rows)
    )


def check_df_method(choice: DfChoice) -> None:
    """Refuse a method for the degrees of freedom that goes with fixed effects alone."""
    if choice.df_method not in (None, *DF_METHODS):
        raise ValueError(
            f"df_method={choice.df_method!r} is one of fixed effects alone; predictions "
            f"take {', '.join(map(repr, DF_METHODS))}"
        )


def _errors(fitted: Fitted, tests: FixedTests, method, rows: NewRows, precision, lost):
    """Variance and df of the means, and of observations or why there are none."""
    n, scale = len(rows), fitted.scale
    kept = fitted.fixed.kept
    x = np.where(lost[:, None], 0.0, rows.exog)[:, kept]
    fit = fitted.fit
    own_law = fit.held is None and fitted.settings.estimator == "nonrobust"
    if rows.given:
        _need_own_law(fitted)
    errors = joint_errors(fit) if fit.held is None else None
    random = _random(fitted, rows, lost) if rows.given else None
    spread, weight = tests.variance_covariance, None
    free = spread if errors is None else free_spread(fit, tests)
    if rows.given:
        spread = free
    if spread is not None and tests.adjusts:
        weight = spread
    bias = _bias(fit, method, weight)
    if own_law and errors is not None:
        curved = curved_part(method)
        found = errors.errors(x, random, spread is not None, weight, curved)
        variance, slope = found.variance.copy(), found.slope
        rise = 0.0 if found.rise is None else 2.0 * found.rise
        if slope is not None and bias is not None:
            rise = rise - slope @ bias
        df = satterthwaite_df(variance, slope, spread, tests, n)
        variance = scale * (variance + rise)
    else:
        variance = np.einsum("ij,jk,ik->i", x, tests.covariance, x)
        df, slope, rise = tests.df(x), None, 0.0
    observation = _observation(fitted, rows, errors, precision, lost)
    if not isinstance(observation, str):
        extra, extra_slope = observation
        plain = variance / scale - rise
        whole = plain + extra
        if slope is not None:
            df_obs = satterthwaite_df(whole, slope + extra_slope, free, tests, n)
        else:
            df_obs = df
        if extra_slope is not None and bias is not None:
            rise = rise - extra_slope @ bias
        bent = _bent_observation(fitted, rows, method, weight, lost)
        var_obs = scale * (whole + rise - bent / 2)
        observation = _with_nan(var_obs, lost), _with_nan(df_obs, lost)
    return _with_nan(variance, lost), _with_nan(df, lost), observation


def _bias(fit, method, weight):
    """Bias of the variance parameters that the method of 2009 takes off, or None."""
    if weight is None or curved_part(method) != "all" or not fit.design.is_curved:
        return None
    return -weight @ second_derivatives(fit, weight).traces / 4


def _bent_observation(fitted, rows, method, weight, lost):
    """z'Vbar z of the terms that a mean is not given, by the method of 2009, (n,)."""
    out, fit = np.zeros(len(rows)), fitted.fit
    if weight is None or curved_part(method) != "all" or not fit.design.is_curved:
        return out
    values = _not_given(fitted, rows, lost)
    for z, bend in zip(values, outer_bends(fit, weight), strict=True):
        if z is not None and bend is not None:
            out += np.einsum("na,ab,nb->n", z, bend, z)
    return out


def _need_own_law(fitted):
    """Refuse errors of random effects by another covariance than the model's."""
    if fitted.fit.held is not None or fitted.settings.estimator != "nonrobust":
        raise ValueError(
            "errors of random effects are known for (restricted) maximum likelihood and "
            "the model's own covariance: use conditional=False, or fit with "
            "cov_type='nonrobust' and without penalties or held parameters"
        )


def _with_nan(values, lost):
    return np.where(lost, np.nan, values)


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


def _not_given(fitted, rows, lost):
    """Columns (n, k) of each term that the prediction is not given; or why not known."""
    values: list[np.ndarray | None] = []
    for number, own in enumerate(rows.terms):
        if own is not None:
            values.append(None)
            continue
        try:
            z = effect_columns(fitted, rows, number)
        except (FormulaError, ValueError) as error:
            return f"errors of observations of new groups are not known: {error}"
        width = len(fitted.fit.design.inverse_transforms[number])
        if z.shape[1] < width:  # of a variance component: all of them in the first
            z = np.pad(z, ((0, 0), (0, width - z.shape[1])))
        values.append(np.where(lost[:, None], 0.0, z) * 1.0)
    return values


def _observation(fitted, rows, errors: JointErrors | None, precision, lost):
    """What an observation adds, relative to sigma^2, and its slope; or why not."""
    values = _not_given(fitted, rows, lost)
    if isinstance(values, str):
        return values
    if errors is None:  # held or penalized: the covariances need not be relative ones
        extra = 1.0 / precision
        for z, own in zip(values, fitted.random.covariances, strict=True):
            if z is not None:
                own = own if z.shape[1] == len(own) else own[:1, :1]
                extra = extra + np.einsum("na,ab,nb->n", z, own, z) / fitted.scale
        return extra, None
    n, slope = len(rows), np.zeros((len(rows), errors.n_gamma + 1))
    extra = 1.0 / precision
    if any(z is not None for z in values):
        new = [
            (np.zeros(n, np.intp), np.zeros((n, term.k)), None)
            if z is None
            else (np.full(n, -1), z, None)
            for term, z in zip(fitted.random.terms, values, strict=True)
        ]
        variance, slope = errors.prior(random_rows(fitted.fit, new).new, n)
        extra = extra + variance
    slope[:, -1] = extra
    return extra, slope
