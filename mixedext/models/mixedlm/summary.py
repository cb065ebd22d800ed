"""The printed tables of a fitted model, through statsmodels' Summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_probability
from mixedext.inference.diagnostics.residuals import residual_quantiles
from mixedext.inference.fixed_effects.covariance_choice import (
    choice_in_words,
    df_notes,
    settled_choice,
    uses_t,
)
from mixedext.inference.fixed_effects.df_methods import df_choice
from mixedext.inference.variances.residual_covariance import (
    printed_parameters,
    residual,
    residual_sizes,
)
from mixedext.inference.variances.residual_parameters import natural_estimates
from mixedext.reporting.text_forms import MixedSummary
from mixedext.tables.number_text import (
    df_texts,
    enough_decimals,
    number_format,
    number_texts,
)

__all__ = ["as_html", "summary"]

# Blocks of a table whose decimals differ by no more than this share one format.
_SHARED_DECIMALS = 2
_DEFAULT_COV_TYPE = "nonrobust"
# Characters of an entry of the header.
_LONG_ENTRY = 40


def summary(
    results: Any,
    yname: str | None = None,
    xname_fe: Sequence[str] | None = None,
    xname_re: Sequence[str] | None = None,
    title: str | None = None,
    alpha: float = 0.05,
    df_method: str | None = None,
    *,
    information: str | None = None,
) -> MixedSummary:
    """Summary tables.

    Parameters
    ----------
    yname : str, optional
        Name of the response.
    xname_fe, xname_re : list of str, optional
        Names of the fixed effects, and of the variance parameters, in the order of
        ``params``.
    title : str, optional
        Title.
    alpha : float, optional
        One minus the confidence level.
    df_method : str, optional
        Method for the degrees of freedom of the fixed effects (and, for
        Kenward-Roger, their standard errors), "z" for the normal law; the results' own
        if None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Returns
    -------
    MixedSummary
        Prints as text; ``as_html``, ``as_latex`` and ``as_markdown`` for other forms.

    Raises
    ------
    ValueError
        If ``df_method`` is not known, or does not go with the fit; if ``alpha`` is no
        number between 0 and 1.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.summary(df_method="kenward-roger").tables[1].loc["Days"].to_list()
    ['10.467', '1.546', '17', '6.771', '0.000', '7.206', '13.729']
    """
    choice = df_choice(df_method, information)
    check_probability(alpha, "alpha")
    out = MixedSummary()
    out.add_title(title or "Mixed Linear Model Regression Results")
    # the first two tables are statsmodels': header and parameters
    out.add_dict(_header(results, yname, choice))
    parameters = _parameters(results, xname_fe, xname_re, alpha, choice)
    out.add_df(parameters, align="r")
    effects = _random_effects(results)
    if effects is not None:
        left = "ll".ljust(effects.shape[1], "r")
        out.add_df(effects, align=left, index=False)
    if results.fitted.fit.residual is not None:
        own = _residual_covariance(results, alpha)
        out.add_df(own, align="rrrr" if own.shape[1] == 4 else "lrrrr")
    if results.model.source is None:
        out.add_df(_scaled_residuals(results), align="r", index=False)
    for line in _notes(results, parameters, choice):
        out.add_text(line)
    return out


# ---- header ----


def _header(results, yname, choice):
    left = {"Model:": "MixedLM", "No. Observations:": str(results.nobs)}
    left |= _group_entries(results)
    left["Df method:"] = choice_in_words(results, choice)
    if results.fitted.fit.residual is not None:
        left |= _residual_entries(results, choice)
    status = results.convergence.status
    right = {
        "Dependent Variable:": yname or results.model.endog_names,
        "Method:": results.method,
        "Scale:": f"{results.scale:.6g}",
        "Log-Likelihood:": f"{results.llf:.4f}",
        "Converged:": f"{'Yes' if results.converged else 'No'} ({status})",
        "Singular fit:": "Yes" if results.is_singular else "No",
        "REML criterion:" if results.reml else "Deviance:": f"{results.deviance:.4f}",
    }
    cov_type = getattr(results, "cov_type", _DEFAULT_COV_TYPE)
    robust = {} if cov_type in (None, _DEFAULT_COV_TYPE) else {"Cov. type:": cov_type}
    if len(left) < len(right):
        left, robust = left | robust, {}
    _make_equal(left, right)
    if np.isfinite(results.aic):  # side by side
        left["AIC:"] = f"{results.aic:.4f}"
        right["BIC:"] = f"{results.bic:.4f}"
    left |= robust
    _make_equal(left, right)
    return left | right


def _make_equal(left, right):
    """Blank entries for the shorter half: their keys are different lengths of nothing.

    add_dict fills the left half first.
    """
    short = left if len(left) < len(right) else right
    blanks = sum(not key.strip() for key in left | right)
    for k in range(abs(len(left) - len(right))):
        short[" " * (blanks + k)] = ""


def _group_entries(results):
    """Number and sizes of groups; the sizes of groups in chunks are not known."""
    sizes, residual = results.group_sizes, results.fitted.fit.residual
    if not results.fitted.random.terms and residual is not None:
        sizes = residual_sizes(results.fitted)
    if sizes is None:
        counts = results.n_levels
        if not len(counts):
            return {}
        entries = {"No. Groups:": str(counts.iloc[0])}
        return entries | {"Mean group size:": f"{results.nobs / counts.iloc[0]:.1f}"}
    return {
        "No. Groups:": str(len(sizes)),
        "Min. group size:": str(sizes.min()),
        "Max. group size:": str(sizes.max()),
        "Mean group size:": f"{sizes.mean():.1f}",
    }


def _residual_entries(results, choice):
    """The structure, and the information by which variances have their errors."""
    bound = results.fitted.fit.residual.bound
    text = "; ".join([str(bound.spec), *map(str, bound.variance)])
    if len(text) > _LONG_ENTRY:
        text = f"{bound.spec.text_call}, see below"
    settled = settled_choice(results, choice)
    return {"Residual cov.:": text, "Information:": settled.information or "observed"}


# ---- parameters ----


def _parameters(results, xname_fe, xname_re, alpha, choice):
    """Fixed effects with their tests, then variances with their standard errors."""
    names = list(results.model.data.param_names)
    k_fe = results.k_fe
    n_random = results.model.layout.n_packed
    fixed_names = _checked_names(xname_fe, names[:k_fe], "xname_fe")
    random_names = _checked_names(xname_re, names[k_fe:][:n_random], "xname_re")
    fixed = _fixed_effects(results, alpha, choice)
    variances = pd.DataFrame(index=range(len(random_names)), columns=fixed.columns)
    variances = variances.astype(float)
    layout = results.model.layout
    variances["Coef."] = layout.scaled(results.params[k_fe:][:n_random], results.scale)
    errors = np.asarray(results.bse_re)
    variances["Std.Err."] = np.where(errors > 0, errors, np.nan)  # 0 of what is held
    own_scale = ["Coef.", "Std.Err.", *fixed.columns[-2:]]
    blocks = []
    forms = _formats(fixed[own_scale], variances[own_scale])
    for block, form in zip((fixed, variances), forms, strict=True):
        text = {c: number_texts(block[c]) for c in block}
        for column in own_scale:
            rows = zip(block[column], form, strict=True)
            text[column] = [number_texts([value], own)[0] for value, own in rows]
        if "df" in block:
            text["df"] = df_texts(block["df"])
        blocks.append(pd.DataFrame(text, dtype=object))
    dropped = np.isnan(results.fe_params)
    blocks[0].loc[dropped, "Coef."] = "dropped"
    table = pd.concat(blocks)
    table.index = [*fixed_names, *random_names]
    return table


def _fixed_effects(results, alpha, choice):
    """Estimates, errors, tests and limits as ``t_test`` gives them; NaN where dropped."""
    use_t = uses_t(results, choice)
    letter = "t" if use_t else "z"
    heads = ["Coef.", "Std.Err.", letter, f"P>|{letter}|"]
    heads += [f"[{alpha / 2:g}", f"{1 - alpha / 2:g}]"]
    if use_t:
        heads.insert(2, "df")
    table = pd.DataFrame(np.nan, index=range(results.k_fe), columns=heads)
    kept = np.flatnonzero(~np.isnan(results.fe_params))
    if not len(kept):
        return table
    with np.errstate(divide="ignore", invalid="ignore"):
        test = results.t_test(
            np.eye(results.k_fe)[kept],
            df_method=choice.df_method,
            information=choice.information,
        )
        limits = test.conf_int(alpha=alpha)
    columns = [test.effect, test.sd, test.statistic, test.pvalue, *limits.T]
    if use_t:
        columns.insert(2, np.broadcast_to(test.df_denom, len(kept)))
    table.iloc[kept] = np.column_stack([np.ravel(c) for c in columns])
    return table


def _formats(*blocks):
    """For each block a format a row, with enough decimals for the standard errors.

    Rows, and blocks, of like standard errors share one.
    """
    decimals = [
        np.array([enough_decimals(*row) for row in block[["Std.Err.", "Coef."]].to_numpy()])
        for block in blocks
    ]
    every = np.concatenate(decimals)
    if len(every) and np.ptp(every) <= _SHARED_DECIMALS:
        decimals = [np.full_like(own, every.max()) for own in decimals]
    found = []
    for own, block in zip(decimals, blocks, strict=True):
        if len(own) and np.ptp(own) <= _SHARED_DECIMALS:
            found.append([number_format(int(own.max()), block)] * len(own))
        else:
            rows = zip(own, block.to_numpy(), strict=True)
            found.append([number_format(int(d), row) for d, row in rows])
    return found


# ---- random effects ----


def _random_effects(results):
    """Variances, standard deviations, correlations; None if there is but one variance."""
    frame = _one_row_a_variance(results)
    if len(frame) <= 2:
        return None
    correlations = [c for c in frame.columns if c.startswith("corr")]
    repeated = frame["group"].eq(frame["group"].shift())
    text = pd.DataFrame(
        {"Groups": frame["group"].mask(repeated, ""), "Name": frame["name"]}
    )
    for head, column in (("Variance", "variance"), ("Std.Dev.", "sd")):
        values = frame[column]
        text[head] = number_texts(
            values, number_format(enough_decimals(values, values), values)
        )
    for column in correlations:
        values = frame[column]
        if values.notna().any():
            head = "Corr" if column == "corr" else ""
            text[head if head else " " * int(column[4:])] = number_texts(values, "{:.3f}")
    return text


def _one_row_a_variance(results):
    """``var_corr`` with one row for all columns of a term that share a variance."""
    frame, start = results.var_corr, 0
    kept: list[int] = []
    for term in results.fitted.random.terms:
        shared = term.structure.shares_one_variance and term.k > 1
        kept += [start] if shared else range(start, start + term.k)
        if shared:
            frame.loc[start, "name"] = f"{term.names[0]} ... {term.names[-1]}"
        start += term.k
    return frame.iloc[[*kept, start]].reset_index(drop=True)


def _residual_covariance(results, alpha):
    """Parameters of the residual covariance, with SAS's names where these are others."""
    table = printed_parameters(residual(results).conf_int(alpha))
    heads = ["Estimate", "Std.Err.", f"[{alpha / 2:g}", f"{1 - alpha / 2:g}]"]
    columns = zip(["estimate", "std_err", "lower", "upper"], heads, strict=True)
    return table.rename(columns=dict(columns))


def _scaled_residuals(results):
    heads = ["Min", "1Q", "Median", "3Q", "Max"]
    values = [f"{v:.4f}" for v in residual_quantiles(results.fitted)]
    return pd.DataFrame([["Scaled residuals:", *values]], columns=["", *heads])


# ---- notes ----


def _notes(results, parameters, choice):
    levels = results.n_levels
    if len(levels):
        listed = ", ".join(f"{group}: {count}" for group, count in levels.items())
        yield f"Levels of the grouping factors: {listed}."
    found = results.fitted.fit.residual
    if results.fitted.is_weighted and found is None:
        yield "Weighted: residual variance is Scale / weight."
    if found is not None:
        yield from _residual_notes(results, found.bound)
    if results.is_singular:
        yield "Singular fit: some variance is zero or some correlation is +-1."
    if results.convergence.is_flat:
        yield "Flat minimum: the data do not determine all variances and covariances."
    for note in df_notes(results, choice):
        yield f"{note}."
    if (parameters["Std.Err."].iloc[results.k_fe :] == "").any():
        why = "is fixed or on the boundary, where it has none"
        if results.convergence.is_flat and results.is_singular:
            why += ", or the data do not determine it"
        elif results.convergence.is_flat:
            why = "is not determined by the data"
        yield f"Blank standard errors: the variance parameter {why}."
    if not results.converged:
        yield f"Not converged: {results.convergence.message}."
    if results.model.dropped_columns:
        listed = ", ".join(results.model.dropped_columns)
        yield f"Dropped, as they depend on earlier columns: {listed}."


def _residual_notes(results, bound):
    yield f"Residual covariance: {bound}."
    if results.fitted.is_weighted:
        yield "Weighted: residual variances are divided by the weight."
    if bound.functions and any(f.uses_covariate for f in bound.functions):
        yield "Scale is the residual variance where the variance functions are one."
    elif bound.functions:
        yield "Scale is the residual variance of the first stratum."
    for note in natural_estimates(results.fitted).notes:
        yield f"{note}."


def _checked_names(given, own, what):
    if given is None:
        return own
    if len(given) != len(own):
        raise ValueError(f"{what} should be a list of length {len(own)}")
    return list(given)


def as_html(results: Any) -> str:
    """The summary as HTML, for notebooks."""
    return results.summary().as_html()
