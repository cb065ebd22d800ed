"""The printed tables of a fitted model, through statsmodels' Summary."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.iolib.summary2 import Summary

__all__ = ["summarize"]

_DF_NAMES = {None: "none (z)", "residual": "residual"}


def summarize(results, yname=None, xname_fe=None, xname_re=None, title=None, alpha=0.05):
    """Summary of a ``MixedLMResults``; see its ``summary`` method."""
    summary = Summary()
    summary.add_title(title or "Mixed Linear Model Regression Results")
    summary.add_dict(_header(results, yname))
    if results.k_fe:
        summary.add_df(_fixed_effects(results, xname_fe, alpha), align="r")
    effects = _random_effects(results, xname_re)
    left = "ll".ljust(effects.shape[1], "r")
    summary.add_df(effects, align=left, index=False)
    if results.model.source is None:
        summary.add_df(_scaled_residuals(results), align="r", index=False)
    for line in _notes(results):
        summary.add_text(line)
    return summary


def _header(results, yname):
    criterion = "REML criterion" if results.reml else "Deviance"
    return {
        "Model:": "MixedLM",
        "Dependent Variable:": yname or results.model.endog_names,
        "Method:": results.method,
        "Df method:": _DF_NAMES[results.df_method],
        "No. Observations:": str(results.nobs),
        "Scale:": f"{results.scale:.6g}",
        f"{criterion}:": f"{results.deviance:.4f}",
        "Log-Likelihood:": f"{results.llf:.4f}",
        "AIC:": f"{results.aic:.4f}",
        "BIC:": f"{results.bic:.4f}",
        "Converged:": f"{'Yes' if results.converged else 'No'} "
        f"({results.convergence.status})",
        "Singular fit:": "Yes" if results.is_singular else "No",
    }


def _fixed_effects(results, names, alpha):
    names = _checked_names(names, results.model.exog_names, "xname_fe")
    estimate, error = results.fe_params, results.bse_fe
    statistic = estimate / error
    law = stats.t(results.df_resid) if results.use_t else stats.norm
    q = law.ppf(1 - alpha / 2)
    letter = "t" if results.use_t else "z"
    table = pd.DataFrame(
        {
            "Coef.": estimate,
            "Std.Err.": error,
            letter: statistic,
            f"P>|{letter}|": 2 * law.sf(np.abs(statistic)),
            f"[{alpha / 2:g}": estimate - q * error,
            f"{1 - alpha / 2:g}]": estimate + q * error,
        },
        index=names,
    )
    own_scale = ["Coef.", "Std.Err.", *table.columns[-2:]]
    form = _format_for(error, table[own_scale])
    text = table.apply(lambda c: _texts(c, form if c.name in own_scale else "{:.3f}"))
    if results.use_t:
        text.insert(2, "df", [f"{results.df_resid:g}"] * len(text))
    dropped = np.isnan(estimate)
    if dropped.any():
        text.loc[dropped, "Coef."] = "dropped"
    return text


def _format_for(precise, shown):
    """A format with as many decimals as give the smallest of ``precise`` five digits."""
    precise, shown = (np.abs(np.asarray(a, float)) for a in (precise, shown))
    precise, shown = precise[precise > 0], shown[np.isfinite(shown)]
    if not len(precise):
        return "{:.4f}"
    decimals = int(np.clip(4 - np.floor(np.log10(precise.min())), 0, None))
    wide = decimals > 8 or shown.max(initial=0.0) >= 1e9
    return "{:.4e}" if wide else f"{{:.{decimals}f}}"


def _texts(values, form):
    return [form.format(v) if np.isfinite(v) else "" for v in values]


def _random_effects(results, names):
    frame = results.var_corr
    random = list(frame["name"][:-1])
    frame["name"] = [*_checked_names(names, random, "xname_re"), ""]
    correlations = [c for c in frame.columns if c.startswith("corr")]
    repeated = frame["group"].eq(frame["group"].shift())
    text = pd.DataFrame(
        {
            "Groups": frame["group"].mask(repeated, ""),
            "Name": frame["name"],
            "Variance": _texts(frame["variance"], _format_for(*[frame["variance"]] * 2)),
            "Std.Dev.": _texts(frame["sd"], _format_for(*[frame["sd"]] * 2)),
        }
    )
    for column in correlations:
        values = frame[column]
        if values.notna().any():
            head = "Corr" if column == "corr" else ""
            text[head if head else " " * int(column[4:])] = _texts(values, "{:.3f}")
    return text


def _scaled_residuals(results):
    heads = ["Min", "1Q", "Median", "3Q", "Max"]
    values = [f"{v:.4f}" for v in results._quantiles]
    return pd.DataFrame([["Scaled residuals:", *values]], columns=["", *heads])


def _notes(results):
    levels = results.n_levels
    if len(levels):
        listed = ", ".join(f"{group}: {count}" for group, count in levels.items())
        yield f"Levels of the grouping factors: {listed}."
    if results.model.is_weighted:
        yield "Weighted: residual variance is Scale / weight."
    if results.is_singular:
        yield "Singular fit: some variance is zero or some correlation is +-1."
    if not results.converged:
        yield f"Not converged: {results.convergence.message}."
    if results.model.dropped_columns:
        listed = ", ".join(results.model.dropped_columns)
        yield f"Dropped, as they depend on earlier columns: {listed}."


def _checked_names(given, own, what):
    if given is None:
        return own
    if len(given) != len(own):
        raise ValueError(f"{what} should be a list of length {len(own)}")
    return list(given)
