"""Rows of a generalized model: means, residuals and simulated responses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_choice, check_count
from mixedext.engine.refits.simulation import generator_of
from mixedext.fitted import HasFitted
from mixedext.inference.bootstrap.response_draws import draws_of, response_of
from mixedext.inference.prediction.generalized_prediction import predict
from mixedext.reporting.tidy_tables import augmented
from mixedext.tables.noted_table import NotedTable

__all__ = [
    "augment",
    "fittedvalues",
    "linear_predictor",
    "pearson_chi2",
    "resid_deviance",
    "resid_pearson",
    "resid_response",
    "resid_working",
    "residuals",
    "simulate",
]


def linear_predictor(results: HasFitted, conditional: bool = True) -> np.ndarray:
    """Linear predictor of the rows, with the conditional modes or at zero effects, (n,)."""
    fitted = results.fitted
    effects = fitted.fit.effects if conditional else None
    return fitted.need_rows().mean(fitted.fixed.estimate, effects)


def fittedvalues(results: HasFitted) -> np.ndarray:
    """Means of the rows given the conditional modes, as lme4 has them.

    Of successes probabilities, whatever the trials; the linear predictor, which GLM's
    ``fittedvalues`` is not either, is ``predict(which="linear")``.
    """
    return results.fitted.generalized.family.mean(linear_predictor(results))


# ---- residuals ----


def _observed(fitted):
    return response_of(fitted).observed


def resid_response(results: HasFitted) -> np.ndarray:
    """y - mu, of successes their share less the probability; mu given the modes."""
    return _observed(results.fitted) - fittedvalues(results)


def _inverse_variance(results):
    """Prior weights over the variance function, the dispersion phi left out."""
    fitted = results.fitted
    response, own, mu = response_of(fitted), fitted.generalized, fittedvalues(results)
    variance = own.family.variance(mu, own.kappa, response.trials) / own.scale
    weights = response.weights
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return (1.0 if weights is None else weights) / variance


def resid_pearson(results: HasFitted) -> np.ndarray:
    """(y - mu) / sqrt(V(mu)), times the root of prior weights and trials, as in GLM."""
    with np.errstate(invalid="ignore"):  # means at a limit have no variance
        return resid_response(results) * np.sqrt(_inverse_variance(results))


def resid_working(results: HasFitted) -> np.ndarray:
    """(y - mu) / (d mu / d eta): residuals on the scale of the linear predictor."""
    fitted = results.fitted
    terms = fitted.generalized.family.link.terms(linear_predictor(results))
    with np.errstate(divide="ignore", invalid="ignore"):
        return resid_response(results) / terms.first


def resid_deviance(results: HasFitted) -> np.ndarray:
    """Signed roots of the rows' deviances given the modes, as in GLM."""
    fitted = results.fitted
    response, family = response_of(fitted), fitted.generalized.family
    mu = fittedvalues(results)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = family.unit_deviance(
            response.y, mu, fitted.generalized.kappa, response.trials
        )
    weights = 1.0 if response.weights is None else response.weights
    size = np.sqrt(np.maximum(weights * unit, 0.0))
    return np.sign(_observed(fitted) - mu) * size


_RESIDUALS = {
    "response": resid_response,
    "pearson": resid_pearson,
    "working": resid_working,
    "deviance": resid_deviance,
}


def residuals(results: HasFitted, kind: str = "deviance") -> pd.Series:
    """Residuals of the rows given the modes.

    Parameters
    ----------
    kind : {"deviance", "pearson", "response", "working"}, optional
        As the attributes ``resid_deviance`` and others; the default is R's.

    Returns
    -------
    Series

    Raises
    ------
    ValueError
        If the kind is not known, or the rows are not in memory.

    See Also
    --------
    simulated_residuals : residuals whose law is known.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.cbpp.load().data
    >>> formula = "incidence / size ~ period + (1 | herd)"
    >>> result = mx.glmm(formula, data, family="binomial", weights="size").fit()
    >>> result.residuals("pearson").head(3).round(3).tolist()
    [-1.34, 1.075, 2.88]
    """
    check_choice(kind, "kind", list(_RESIDUALS))
    return pd.Series(_RESIDUALS[kind](results), index=results.fitted.need_rows().labels)


def pearson_chi2(results: HasFitted) -> float:
    """Sum of squared Pearson residuals, rows as often as they count."""
    square = resid_pearson(results) ** 2
    counts = response_of(results.fitted).counts
    return float(np.nansum(square if counts is None else counts * square))


def augment(results: HasFitted, data: Any = None) -> NotedTable:
    """Means and residuals of the rows.

    Parameters
    ----------
    data : DataFrame, optional
        New data, which come back with the columns that can be told of them; the rows of
        the fit if None.

    Returns
    -------
    NotedTable
        Of the fit's rows: response (of successes their share), fitted (means given the
        modes), fixed (means at random effects of zero), resid, resid_pearson and
        resid_deviance.  Of new data: their columns, then fitted, fixed and, where they
        have a column of the response's name, response and resid.

    Raises
    ------
    ValueError
        If the rows are not in memory; if new data lack a column that is needed or a level
        of theirs is new, as in ``predict``, or have a column with a name of these.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.cbpp.load().data
    >>> formula = "incidence / size ~ period + (1 | herd)"
    >>> result = mx.glmm(formula, data, family="binomial", weights="size").fit()
    >>> result.augment().iloc[:2, :4].round(3)
       response  fitted  fixed  resid
    0     0.143   0.308  0.198 -0.165
    1     0.250   0.142  0.084  0.108
    """
    fitted = results.fitted
    if data is not None:
        return augmented(fitted, data, predict)
    linear = linear_predictor(fitted, conditional=False)
    frame = pd.DataFrame(
        {
            "response": _observed(fitted),
            "fitted": fittedvalues(fitted),
            "fixed": fitted.generalized.family.mean(linear),
            "resid": resid_response(fitted),
            "resid_pearson": resid_pearson(fitted),
            "resid_deviance": resid_deviance(fitted),
        },
        index=fitted.need_rows().labels,
    )
    return NotedTable.of(frame, "")


# ---- simulation ----


def simulate(
    results: HasFitted, n: int = 1, rng: Any = None, conditional: bool = False
) -> pd.DataFrame:
    """Simulate responses from the fitted model.

    Parameters
    ----------
    n : int, optional
        Number of responses.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    conditional : bool, optional
        Whether the random effects are the fitted ones (conditional modes) in all
        responses, or drawn anew for each.

    Returns
    -------
    DataFrame
        One row a row of the model, one column a response, on the scale of ``endog``: of
        successes their share of the trials.

    Raises
    ------
    ValueError
        If ``n`` is no whole number, the rows are not in memory, or stand for several each
        (``freq_weights``).

    Examples
    --------
    >>> import numpy as np
    >>> import mixedext as mx
    >>> group, y = np.repeat(np.arange(10), 6), np.tile([0, 1, 1, 0, 1, 1], 10)
    >>> y = y + group % 4
    >>> model = mx.MixedGLM(y, np.ones((60, 1)), groups=group, family="poisson")
    >>> result = model.fit()
    >>> result.simulate(3, rng=1).shape
    (60, 3)
    """
    check_count(n, "n")
    draws = draws_of(results.fitted, conditional)
    y = draws.draw(int(n), generator_of(rng))
    shares = [draws.response.with_y(one).observed for one in y]
    return pd.DataFrame(np.transpose(shares), index=results.fitted.need_rows().labels)
