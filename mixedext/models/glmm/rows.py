"""Rows of a generalized model: means, residuals, predictions and simulated responses."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_choice, check_count
from mixedext.engine.refits.simulation import generator_of
from mixedext.exceptions import FormulaError, OffsetWarning, user_stacklevel
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.prediction.new_rows import new_rows
from mixedext.specification.data.columns import column_of
from mixedext.specification.data.tables import data_frame
from mixedext.specification.families.response import RowResponse

__all__ = [
    "WHICH",
    "fittedvalues",
    "linear_predictor",
    "pearson_chi2",
    "predict",
    "resid_deviance",
    "resid_pearson",
    "resid_response",
    "resid_working",
    "response_of",
    "shift_of_new",
    "simulate",
]

WHICH = ("mean", "linear")


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


def response_of(fitted: Fitted) -> RowResponse:
    """The response of the rows, with trials and weights; ValueError if they are gone."""
    fitted.need_rows()
    model: Any = fitted.model
    return model.response


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
    with np.errstate(divide="ignore", invalid="ignore"):
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


def pearson_chi2(results: HasFitted) -> float:
    """Sum of squared Pearson residuals, rows as often as they count."""
    square = resid_pearson(results) ** 2
    counts = response_of(results.fitted).counts
    return float(np.nansum(square if counts is None else counts * square))


# ---- predictions ----


def shift_of_new(model: Any, exog: Any, offset: Any, exposure: Any) -> Any:
    """``offset`` with the logarithm of the exposure of new data.

    Parameters
    ----------
    model : MixedGLM
        The model.
    exog : DataFrame or array_like or None
        New data; the rows of the fit if None.
    offset, exposure : array_like or None
        As given; the column that the model's ``exposure=`` names stands for the latter.

    Returns
    -------
    tuple
        What is added to the linear predictor in place of ``offset``, and what besides.
    """
    if exposure is not None:
        if model.family.link.name != "log":
            raise ValueError(
                f"exposure is for the log link; the link is {model.family.link.name}"
            )
        values = np.asarray(exposure, float)
        if not (values[~np.isnan(values)] > 0).all():
            raise ValueError("exposure must be positive")
        return np.log(values)
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
    frame = data_frame(exog)
    name = model.exposure_name
    if name not in frame.columns and name not in frame.index.names:
        raise FormulaError(
            f"the new data have no column {name!r}, which the model's exposure= names; add "
            "it, or give exposure="
        )
    values = np.asarray(column_of(frame, name), float)
    if not (values[~np.isnan(values)] > 0).all():
        raise ValueError(f"exposure must be positive; the column {name!r} is not")
    return np.log(values)


def predict(
    results: HasFitted,
    exog: Any = None,
    transform: bool = True,
    offset: Any = None,
    *,
    which: str = "mean",
    exposure: Any = None,
    conditional: bool | str | Sequence[str] | None = None,
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
    new_levels : {"raise", "zero", "missing"}, optional
        Levels that the fit had not are an error; or have random effects of zero; or give
        NaN.

    Returns
    -------
    Series or ndarray
        NaN for rows that lack a value, or that the data of the fit do not determine.

    Raises
    ------
    ValueError
        If ``exog`` has another number of columns than the model, or lacks one that the
        formula, ``offset=`` or ``exposure=`` of the model names, or a grouping factor, or
        has levels that the fit had not.

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
    """
    check_choice(which, "which", WHICH)
    fitted = results.fitted
    model = fitted.model
    beside = shift_of_new(model, exog, offset, exposure)
    rows = new_rows(fitted, exog, transform, offset, conditional, new_levels)
    eta = rows.mean(fitted)
    if beside is not None:
        eta = eta + beside
    return rows.labelled(eta if which == "linear" else fitted.generalized.family.mean(eta))


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
        If ``n`` is no whole number, or the rows are not in memory.

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
    fitted, source = results.fitted, generator_of(rng)
    rows, own = fitted.need_rows(), fitted.generalized
    family, response = own.family, response_of(fitted)
    if conditional:
        eta = np.broadcast_to(linear_predictor(fitted), (int(n), len(response.y)))
    else:
        fixed = rows.mean(fitted.fixed.estimate)
        eta = np.empty((int(n), len(fixed)))
        for number in range(int(n)):
            eta[number] = fixed
            for term, lam in zip(rows.terms, own.lams, strict=True):
                drawn = source.standard_normal((term.n_levels, term.k)) @ lam.T
                eta[number] += term.contribution(drawn)
    y = family.draw(family.mean(eta), response, own.kappa, source)
    if response.trials is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.where(response.trials > 0, y / response.trials, np.nan)
    return pd.DataFrame(y.T, index=rows.labels)
