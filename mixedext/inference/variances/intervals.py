"""Covariance of the variance parameters, and intervals from it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.tools.validation import string_like

from mixedext.arguments import check_choice, confidence
from mixedext.engine.information.variance_covariance import VarianceCovariance
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.profile.likelihood_profile import profile
from mixedext.inference.variances.interval_numbers import (
    log_limits,
    satterthwaite_df,
    satterthwaite_limits,
    sd_and_correlation,
)
from mixedext.inference.variances.observed_covariance import covariance_of_variances
from mixedext.inference.variances.residual_intervals import (
    joint_covariance,
    residual_names,
    residual_rows,
)
from mixedext.inference.variances.residual_parameters import natural_estimates
from mixedext.inference.variances.residual_profiles import ProfileLimits, profile_limits
from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.terms.parameter_names import (
    as_variance,
    covariance_names,
)
from mixedext.tables.noted_table import NotedTable

__all__ = ["conf_int_vcomp", "cov_vcomp"]


def cov_vcomp(results: HasFitted) -> NotedTable:
    """Covariance matrix of the estimated variances, covariances and residual variance.

    The inverse of the observed information of the (restricted) likelihood, in the units
    of the data squared.

    Returns
    -------
    NotedTable
        A row and a column for each variance and covariance of the random effects, term
        by term, and for the residual variance; with a residual covariance for its natural
        parameters, those of ``residual.params``.  What is on the boundary (a variance of
        zero, a term with a correlation of -1 or 1) has no standard errors: NaN, which
        the ``notes`` printed below the table name, and the others are given them.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> covariance = result.cov_vcomp
    >>> covariance.columns.tolist()[:2]
    ['var Intercept|Subject', 'cov Intercept.Days|Subject']
    >>> round(float(covariance.loc["residual", "residual"]) ** 0.5, 1)
    77.2
    """
    fitted = results.fitted
    names = [as_variance(name) for name in _variance_names(fitted)]
    values = _cov_variances(fitted).absolute
    if fitted.fit.residual is not None:
        names = [*names[:-1], *residual_names(fitted, "variance")]
        values = joint_covariance(fitted)
    table = pd.DataFrame(values, index=names, columns=names)
    return NotedTable.of(table, "", _boundary_notes(fitted))


def conf_int_vcomp(
    results: HasFitted,
    alpha: float = 0.05,
    method: str = "log",
    scale: str = "sd",
    *,
    level: float | None = None,
) -> NotedTable:
    """Intervals of standard deviations and correlations, or of variances.

    Parameters
    ----------
    alpha : float, optional
        One minus the confidence level.
    method : {"log", "wald", "satterthwaite", "profile"}, optional
        "log": Wald on the logarithm of standard deviations and on Fisher's z of
        correlations.  "wald": Wald on the scale asked for, which may pass its bounds.
        "satterthwaite": chi-squared limits of variances, with 2 v^2 / se^2 degrees of
        freedom; correlations have none.  "profile": by the profile of the ordinary
        likelihood; the notes say which limits are bounds, or do not exist.
    scale : {"sd", "variance"}, optional
        Standard deviations and correlations, or variances (and correlations).  Natural
        parameters of a residual covariance that are neither variances nor covariances are
        the same on both; "log" maps their limits from the scale of the search.
    level : float, optional
        The level itself, in place of ``alpha``.

    Returns
    -------
    NotedTable
        estimate, std_err (delta method, observed information), lower, upper; for
        Satterthwaite's limits also df.  NaN where a variance is on the boundary, which
        the ``notes`` printed below the table name.

    Raises
    ------
    ValueError
        If an argument is not known.
    NotImplementedError
        If ``method`` is "profile" and random effects are structured, or, beside a residual
        structure, singular.

    References
    ----------
    Satterthwaite (1946), An approximate distribution of estimates of variance
    components, Biometrics Bulletin 2, 110-114.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.conf_int_vcomp().round(2)
                                estimate  std_err  lower  upper
    sd Intercept|Subject           24.74     5.84  15.58  39.28
    cor Intercept.Days|Subject      0.07     0.33  -0.52   0.61
    sd Days|Subject                 5.92     1.25   3.92   8.95
    sigma                          25.59     1.51  22.80  28.72
    """
    level = confidence(alpha, level)
    options = ("log", "wald", "satterthwaite", "profile")
    if method == "bootstrap":
        raise ValueError(
            "method='bootstrap' is one of conf_int: result.conf_int(method='bootstrap')"
        )
    method, scale = string_like(method, "method"), string_like(scale, "scale")
    check_choice(method, "method", options)
    check_choice(scale, "scale", ("sd", "variance"))
    fitted = results.fitted
    profiled = None
    if method == "profile" and fitted.fit.residual is not None:
        profiled = profile_limits(fitted, _row_names(fitted, scale), scale, level)
    table = _variance_precision(fitted)
    limits = _variance_limits(fitted, table, method, scale, level, profiled)
    names = table.index
    if scale == "variance":
        table["estimate"] = table["estimate"].where(table["cor"], table["value"])
        table["std_err"] = table["std_err"].where(table["cor"], table["value_std_err"])
        names = [
            name if is_correlation else as_variance(name)
            for name, is_correlation in table["cor"].items()
        ]
    frame = table[["estimate", "std_err"]].copy()
    if method == "satterthwaite":
        df = satterthwaite_df(table["value"], table["value_std_err"])
        frame["df"] = np.where(table["cor"], np.nan, df)
    frame["lower"], frame["upper"] = limits.T
    frame = frame.set_axis(names, axis=0)
    if fitted.fit.residual is not None:
        own_limits = None if profiled is None else profiled.residual
        own = residual_rows(fitted, method, scale, level, own_limits)
        frame = own if len(frame) == 1 else pd.concat([frame.iloc[:-1], own])
    notes = _boundary_notes(fitted) + _rounding_notes(table)
    notes += [] if profiled is None else profiled.notes
    return NotedTable.of(frame, "", notes)


def _variance_precision(fitted: Fitted) -> pd.DataFrame:
    """Variances (value), and standard deviations and correlations, with errors."""
    elements, pairs = zip(*_variance_elements(fitted), strict=True)
    values, covariance = np.array(elements), _cov_variances(fitted)
    estimates, jacobian = sd_and_correlation(values / covariance.size, pairs)
    held = np.isnan(covariance.scaled.diagonal())
    whole = np.where(np.isnan(covariance.scaled), 0.0, covariance.scaled)
    square = np.einsum("ij,jk,ik->i", jacobian, whole, jacobian)
    held |= square < 0.0  # where rounding leaves none
    error = np.sqrt(square, where=~held, out=np.full(len(held), np.nan))
    is_correlation = np.array([pair is not None for pair in pairs])
    unit = np.where(is_correlation, 1.0, np.sqrt(covariance.size))
    return pd.DataFrame(
        {
            "estimate": unit * estimates,
            "std_err": unit * error,
            "value": values,
            "value_std_err": covariance.errors,
            "cor": is_correlation,
        },
        index=_variance_names(fitted),
    )


def _variance_limits(
    fitted: Fitted,
    table: pd.DataFrame,
    method: str,
    scale: str,
    level: float,
    profiled: ProfileLimits | None,
) -> np.ndarray:
    """Limits on the scale asked for, (count, 2)."""
    estimate, error = table["estimate"].to_numpy(), table["std_err"].to_numpy()
    is_correlation, alpha = table["cor"].to_numpy(), 1 - level
    z = stats.norm.ppf(1 - alpha / 2)
    if method == "wald":
        if scale == "variance":
            estimate = np.where(is_correlation, estimate, table["value"])
            error = np.where(is_correlation, error, table["value_std_err"])
        return np.column_stack([estimate - z * error, estimate + z * error])
    if profiled is not None:  # sigma has its row with the residual covariance
        limits = np.append(profiled.random, [[np.nan, np.nan]], axis=0)
    elif method == "profile":
        found = profile(fitted, "random", level=max(0.9, level))
        limits = found.conf_int(level=level).to_numpy()
    elif method == "satterthwaite":
        limits = satterthwaite_limits(table["value"], table["value_std_err"], alpha)
        limits = np.sqrt(np.where(is_correlation[:, None], np.nan, limits))
    else:
        limits = log_limits(estimate, error, is_correlation, alpha)
    if scale == "variance":
        limits = np.where(is_correlation[:, None], limits, limits**2)
    return limits


def _boundary_notes(fitted: Fitted) -> list[str]:
    """Why values are missing: what is on the boundary."""
    missing = np.isnan(_cov_variances(fitted).errors)
    residual = fitted.fit.residual
    of_residual = [] if residual is None else natural_estimates(fitted).notes
    if residual is not None and residual.held_for_sigma is not None:
        missing[-1] = False  # notes of the residual covariance say why it is
    if missing[-1]:
        return ["No standard errors: the observed information is not positive definite"]
    if not missing.any():
        return of_residual
    zero: list[str] = []
    singular: list[str] = []
    limits: list[str] = []
    elements = zip(_variance_names(fitted), _variance_elements(fitted), strict=True)
    for (name, (value, pair)), absent in zip(elements, missing, strict=True):
        if absent and pair is None:
            (zero if value == 0 else singular).append(name)
        elif absent and not pair:
            limits.append(name if np.isnan(value) else f"{name} at {value:.4g}")
    notes = []
    if zero:
        notes.append(f"On the boundary, without standard errors: {', '.join(zero)} at 0")
    if singular:
        notes.append(
            "On the boundary, without standard errors: the singular covariance matrix "
            f"of {', '.join(singular)}"
        )
    if limits:
        notes.append(
            f"At the limit of a correlation, without standard errors: {', '.join(limits)}"
        )
    return notes + of_residual


def _rounding_notes(table: pd.DataFrame) -> list[str]:
    """Which values have lost their error though their variances have one."""
    lost = table.index[table["std_err"].isna() & table["value_std_err"].notna()]
    if not len(lost):
        return []
    return [f"Rounding leaves no standard errors of {', '.join(lost)}"]


def _cov_variances(fitted: Fitted) -> VarianceCovariance:
    """Of the elements in order: by term, the lower triangle by columns, residual."""
    whole, residual = covariance_of_variances(fitted), fitted.fit.residual
    if residual is None:
        return whole
    last = len(whole.size) - 1
    at = np.append(np.arange(last - len(residual.psi)), last)
    scaled = whole.scaled[np.ix_(at, at)]
    return VarianceCovariance(whole.relative, scaled, whole.size[at])


def _variance_names(fitted: Fitted) -> list[str]:
    return covariance_names(fitted.random.terms)


def _row_names(fitted: Fitted, scale: str) -> list[str]:
    """Of the rows of ``conf_int_vcomp`` beside a residual covariance."""
    rows = zip(_variance_names(fitted), _variance_elements(fitted), strict=True)
    own = [
        as_variance(name) if scale == "variance" and pair is None else name
        for name, (_, pair) in rows
    ]
    return [*own[:-1], *residual_names(fitted, scale)]


def _variance_elements(fitted: Fitted) -> list[tuple[float, tuple[int, ...] | None]]:
    """Value and, for a covariance, the places of its two variances; of a correlation ()."""
    out: list[tuple[float, tuple[int, ...] | None]] = []
    for _, structure, covariance in fitted.random.blocks():
        gamma = structure.gamma(covariance)
        if not isinstance(structure, LinearStructure):
            kinds = zip(gamma, structure.is_variance, strict=True)
            out += [(float(value), None if plain else ()) for value, plain in kinds]
            continue
        pairs = structure.pairs
        place = {a: len(out) + i for i, (a, b) in enumerate(pairs) if a == b}
        for (a, b), value in zip(pairs, gamma, strict=True):
            out.append((float(value), None if a == b else (place[b], place[a])))
    out.append((float(fitted.scale), None))
    return out
