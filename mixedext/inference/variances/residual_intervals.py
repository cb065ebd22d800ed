"""Rows of a residual covariance in the tables of variances and their intervals.

On the scale of standard deviations a variance v stands as sqrt(v), a covariance as the
correlation c / sqrt(v_a v_b); all other parameters are what they are on either scale.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import linalg, stats

from mixedext.engine.information.variance_covariance import VarianceCovariance
from mixedext.fitted import Fitted
from mixedext.inference.variances.interval_numbers import (
    log_limits,
    satterthwaite_df,
    satterthwaite_limits,
    sd_and_correlation,
)
from mixedext.inference.variances.observed_covariance import covariance_of_variances
from mixedext.inference.variances.residual_parameters import (
    NaturalEstimates,
    natural_estimates,
    natural_limits,
    propagated,
    residual_of,
    variance_places,
)
from mixedext.specification.covariance.residual_parameters import packed_names

__all__ = ["joint_covariance", "residual_names", "residual_rows"]


def residual_names(fitted: Fitted, scale: str) -> list[str]:
    """Names of the rows on the scale of standard deviations ("sd") or variances.

    Those of correlations are as in ``params``.

    Parameters
    ----------
    fitted : Fitted
        A fit with a residual covariance.
    scale : {"sd", "variance"}
        The scale.
    """
    bound, curves = residual_of(fitted).bound, residual_of(fitted).curves
    labels, packed = bound.visit_labels or [], packed_names(bound)
    out = []
    for parameter in natural_estimates(fitted).parameters:
        name, curve = parameter.name, curves[parameter.level]
        k = parameter.at - 1 - curve.n_sd - parameter.level * curve.n_own
        if k >= 0 and parameter.kind not in ("variance", "covariance"):
            out.append(packed[parameter.level * curve.n_own + k])
            continue
        level, _, own = name.rpartition(": ")
        level = f"{level}: " if level else ""
        if name == "sigma^2":
            name = "sigma" if scale == "sd" else "residual"
        elif scale == "sd" and own.startswith("UN("):
            i, j = (int(k) - 1 for k in own[3:-1].split(","))
            pair = f"{labels[j]},{labels[i]}"
            name = f"{level}sd({labels[i]})" if i == j else f"{level}cor({pair})"
        elif scale == "sd" and parameter.kind == "variance":
            name = f"sd({own.removeprefix('Var(')}"
        out.append(name)
    return out


def joint_covariance(fitted: Fitted) -> np.ndarray:
    """Covariance of the variances of all terms, then of the natural parameters, (m, m)."""
    whole, found = covariance_of_variances(fitted), natural_estimates(fitted)
    n = len(whole.size) - found.slopes.shape[1]
    slopes = linalg.block_diag(np.eye(n), found.slopes)
    own = np.append(np.arange(n), n + found.own)
    scaled = propagated(slopes, whole.scaled, own)
    size = np.append(whole.size[:n], found.size)
    return VarianceCovariance(whole.relative, scaled, size).absolute


def residual_rows(
    fitted: Fitted,
    method: str,
    scale: str,
    level: float,
    profiled: np.ndarray | None = None,
) -> pd.DataFrame:
    """Rows of ``conf_int_vcomp``: estimate, std_err, (df,) lower, upper.

    Parameters
    ----------
    fitted : Fitted
        A fit with a residual covariance.
    method : {"log", "wald", "satterthwaite", "profile"}
        How limits are found.
    scale : {"sd", "variance"}
        Scale of the rows.
    level : float
        Confidence level.
    profiled : ndarray, optional
        Limits by the profile, (m, 2), where the method is "profile".
    """
    found = natural_estimates(fitted)
    kinds = np.array([p.kind for p in found.parameters])
    names = residual_names(fitted, scale)
    estimate, error = found.estimate, found.errors
    if scale == "sd":
        estimate, error = _on_scale_of_deviations(found, kinds)
    frame = pd.DataFrame({"estimate": estimate, "std_err": error}, index=names)
    is_variance = kinds == "variance"
    if method == "satterthwaite":
        df = satterthwaite_df(found.estimate, found.errors)
        frame["df"] = np.where(is_variance, df, np.nan)
    limits = profiled
    if limits is None:
        limits = _limits(fitted, found, frame, kinds, method, level)
    frame["lower"], frame["upper"] = limits.T
    return frame


def _on_scale_of_deviations(
    found: NaturalEstimates, kinds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations and correlations of (co)variances, and their errors."""
    at = np.flatnonzero((kinds == "variance") | (kinds == "covariance"))
    number = {int(k): i for i, k in enumerate(at)}
    places = variance_places(found.parameters)
    pairs: list[tuple[int, int] | None] = []
    for k in at:
        own = places.get(found.parameters[k].name)
        pairs.append(own and (number[own[0]], number[own[1]]))
    estimate, jacobian = sd_and_correlation(found.scaled[at], pairs)
    covariance = found.covariance[np.ix_(at, at)]
    moved = propagated(np.nan_to_num(jacobian), covariance, np.arange(len(at)))
    out, error = found.estimate, found.errors
    unit = np.array(
        [
            np.sqrt(s) if pair is None else 1.0
            for s, pair in zip(found.size[at], pairs, strict=True)
        ]
    )
    out[at], error[at] = unit * estimate, unit * np.sqrt(np.diag(moved))
    return out, error


def _limits(
    fitted: Fitted,
    found: NaturalEstimates,
    frame: pd.DataFrame,
    kinds: np.ndarray,
    method: str,
    level: float,
) -> np.ndarray:
    estimate, error = frame["estimate"].to_numpy(), frame["std_err"].to_numpy()
    on_deviations = bool((estimate != found.estimate).any())
    if method == "wald":
        move = float(stats.norm.ppf((1 + level) / 2)) * error
        return np.column_stack([estimate - move, estimate + move])
    if method == "satterthwaite":
        limits = satterthwaite_limits(found.estimate, found.errors, 1 - level)
        limits[kinds != "variance"] = np.nan
        return np.sqrt(limits) if on_deviations else limits
    limits = natural_limits(fitted, level)
    if on_deviations:
        limits[kinds == "variance"] = np.sqrt(limits[kinds == "variance"])
        of_pairs = kinds == "covariance"
        own = log_limits(estimate, error, np.ones(len(error), bool), 1 - level)
        limits[of_pairs] = own[of_pairs]
    return limits
