"""Covariance of the variance parameters of generalized models, and intervals from it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import linalg, stats

from mixedext.arguments import check_choice, confidence
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.profile.likelihood_profile import profile
from mixedext.inference.variances.interval_numbers import log_limits, sd_and_correlation
from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.terms.parameter_names import as_variance, covariance_names
from mixedext.tables.noted_table import NotedTable

__all__ = ["generalized_conf_int_vcomp", "generalized_cov_vcomp"]

_HELD = "No standard errors (on the boundary, or not determined): {}"


def _names(fitted: Fitted) -> list[str]:
    own = fitted.generalized
    names = covariance_names(fitted.random.terms)[:-1]
    return names + [own.family.dispersion_name] * own.n_dispersions


def _covariance(fitted: Fitted) -> np.ndarray:
    """Of covariance elements and the dispersion; NaN where a variance is zero."""
    own = fitted.generalized
    n_gamma = sum(s.n_gamma for s in own.design.structures)
    rank, count = fitted.fixed.rank, n_gamma + own.n_dispersions
    at = np.r_[np.arange(n_gamma), n_gamma + rank + np.arange(own.n_dispersions)]
    slopes = np.concatenate([np.ones(n_gamma), own.dispersion_slope])
    out = slopes[:, None] * own.engine.covariance[np.ix_(at, at)] * slopes
    held = ~(np.diag(out) > 0)
    start = 0
    for s, covariance in zip(own.design.structures, own.covariances, strict=True):
        size = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0.0))
        if size[0] <= 1e-7 * max(size[-1], 1.0):
            held[start : start + s.n_gamma] = True
        start += s.n_gamma
    out[held] = np.nan
    out[:, held] = np.nan
    return out.reshape(count, count)


def _elements(fitted: Fitted) -> tuple[np.ndarray, list[tuple[int, ...] | None]]:
    """Values, and for each the variances that a covariance belongs to."""
    values: list[float] = []
    pairs: list[tuple[int, ...] | None] = []
    for _, s, covariance in fitted.random.blocks():
        first, gamma = len(values), s.gamma(covariance)
        values += gamma.tolist()
        if not isinstance(s, LinearStructure):
            pairs += [None if v else () for v in s.is_variance]
            continue
        places = {b: first + i for i, (b, a) in enumerate(s.pairs) if a == b}
        own = s.pairs if not s.shares_one_variance else ((0, 0),)
        pairs += [None if a == b else (places[b], places[a]) for b, a in own]
    return np.array(values), pairs


def generalized_cov_vcomp(results: HasFitted) -> NotedTable:
    """Covariance matrix of the elements of the covariances and the dispersion.

    The inverse of the observed information on all parameters, by the delta method on the
    scale of variances and of the dispersion itself.

    Returns
    -------
    NotedTable
        A row and a column each; NaN for what is on the boundary.
    """
    fitted = results.fitted
    own = fitted.generalized
    names = _names(fitted)
    count = len(names) - own.n_dispersions
    labels = [as_variance(name) for name in names[:count]] + names[count:]
    values = _covariance(fitted)
    table = pd.DataFrame(values, index=labels, columns=labels)
    return NotedTable.of(table, "", _notes(labels, values))


def _notes(names, values):
    lost = [n for n, v in zip(names, np.diag(values), strict=True) if np.isnan(v)]
    return [_HELD.format(", ".join(lost))] if lost else []


def generalized_conf_int_vcomp(
    results: HasFitted,
    alpha: float = 0.05,
    method: str = "log",
    scale: str = "sd",
    *,
    level: float | None = None,
) -> NotedTable:
    """Intervals of standard deviations, correlations and the dispersion, or of variances.

    Parameters
    ----------
    alpha : float, optional
        One minus the confidence level.
    method : {"log", "wald", "profile"}, optional
        "log": Wald on the logarithm of standard deviations and of the dispersion, and on
        Fisher's z of correlations.  "wald": Wald on the scale asked for, which may pass its
        bounds.  "profile": by the profile likelihood.
    scale : {"sd", "variance"}, optional
        Standard deviations, or variances; correlations and the dispersion are the same.
    level : float, optional
        The level itself, in place of ``alpha``.

    Returns
    -------
    NotedTable
        estimate, std_err, lower, upper; NaN for what is on the boundary, but for the
        limits of profiles.

    Raises
    ------
    ValueError
        If an argument is not known.
    """
    level = confidence(alpha, level)
    check_choice(method, "method", ("log", "wald", "profile"))
    check_choice(scale, "scale", ("sd", "variance"))
    fitted = results.fitted
    own, names = fitted.generalized, _names(fitted)
    covariance, (values, pairs) = _covariance(fitted), _elements(fitted)
    n = len(values)
    estimate, jacobian = sd_and_correlation(values, pairs)
    variance = np.array([p is None for p in pairs], bool)
    count = len(names) - n
    if scale == "variance":
        estimate = np.where(variance, values, estimate)
        jacobian = np.where(variance[:, None], np.eye(n), jacobian)
    jacobian = linalg.block_diag(np.nan_to_num(jacobian), np.eye(count))
    estimate = np.append(estimate, [own.dispersion] * count)
    held = np.isnan(np.diag(covariance))
    spread = np.where(np.isnan(covariance), 0.0, covariance)
    error = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, spread, jacobian))
    error = np.where(held, np.nan, error)
    correlation = np.append(~variance, np.zeros(count, bool))
    if method == "wald":
        half = stats.norm.ppf((1 + level) / 2) * error
        limits = np.column_stack([estimate - half, estimate + half])
    elif method == "log":
        limits = log_limits(estimate, error, correlation, 1 - level)
    else:
        found = profile(fitted, names, level=max(0.9, level)).conf_int(level=level)
        limits = found.reindex(names).to_numpy(float)
        if scale == "variance":
            squared = np.append(variance, np.zeros(count, bool))
            limits = np.where(squared[:, None], limits**2, limits)
    if scale == "variance":
        plain = zip(names[:n], variance, strict=True)
        names = [as_variance(m) if v else m for m, v in plain] + names[n:]
    table = pd.DataFrame(
        {
            "estimate": estimate,
            "std_err": error,
            "lower": limits[:, 0],
            "upper": limits[:, 1],
        },
        index=names,
    )
    return NotedTable.of(table, "", _notes(names, covariance))
