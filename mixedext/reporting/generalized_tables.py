"""Tables of one shape for every generalized fit: a row a parameter, a row a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_choice, check_probability
from mixedext.fitted import Fitted, HasFitted, has_rows
from mixedext.inference.comparison import criteria
from mixedext.inference.diagnostics.generalized_shares import generalized_r2
from mixedext.inference.fixed_effects.covariance_choice import choice_in_words
from mixedext.inference.random_effects.modes import n_levels
from mixedext.inference.variances.generalized_intervals import generalized_conf_int_vcomp
from mixedext.reporting.tidy_tables import (
    EFFECTS,
    as_broom,
    asked_effects,
    fixed_rows,
    random_rows,
    tidy_frame,
)
from mixedext.tables.noted_table import NotedTable

__all__ = ["glance", "integration_text", "tidy"]


def tidy(
    results: HasFitted,
    effects: str | Sequence[str] = EFFECTS,
    conf_int: bool = True,
    alpha: float = 0.05,
    *,
    exponentiate: bool = False,
    names: str | None = None,
) -> NotedTable:
    """One row a parameter: coefficients, standard deviations, correlations, dispersion.

    Parameters
    ----------
    effects : {"fixed", "random"} or a sequence of them, optional
        Which parameters.
    conf_int : bool, optional
        Whether there are limits.
    alpha : float, optional
        One minus the confidence level.
    exponentiate : bool, optional
        Coefficients and their limits as ratios: of odds for the logit link, of means
        (rates) for the log; standard errors by the delta method.
    names : {None, "broom"}, optional
        "broom" spells columns and terms as R's broom.mixed does.

    Returns
    -------
    NotedTable
        Columns term, estimate, std_err, statistic, df, pvalue, lower, upper, group, effect.
        Terms of the random effects say their scale: "sd Intercept"; their limits are
        those of ``conf_int_vcomp``.

    Raises
    ------
    ValueError
        If an argument is not known.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.cbpp.load().data
    >>> formula = "incidence / size ~ period + (1 | herd)"
    >>> result = mx.glmm(formula, data, family="binomial", weights="size").fit()
    >>> odds = result.tidy(exponentiate=True)
    >>> odds[["term", "estimate", "lower", "upper"]].round(3)
               term  estimate  lower  upper
    0     Intercept     0.247  0.157  0.389
    1   period[T.2]     0.371  0.203  0.676
    2   period[T.3]     0.323  0.171  0.614
    3   period[T.4]     0.206  0.089  0.476
    4  sd Intercept     0.642  0.372  1.108
    """
    asked = asked_effects(effects)
    check_choice(names, "names", (None, "broom"))
    check_probability(alpha, "alpha")
    fitted, notes, parts = results.fitted, list[str](), list[pd.DataFrame]()
    if "fixed" in asked:
        rows = fixed_rows(fitted, alpha)
        if exponentiate:
            size = np.exp(rows["estimate"])
            limits = np.exp(rows[["lower", "upper"]])
            rows = rows.assign(estimate=size, std_err=size * rows["std_err"])
            rows[["lower", "upper"]] = limits
            notes.append(f"Coefficients are exponentiated ({_ratio(fitted)}).")
        parts.append(rows)
        notes.append(f"Df of the fixed effects: {choice_in_words(fitted)}.")
        if fitted.fixed.dropped.any():
            lost = np.asarray(fitted.fixed.names)[fitted.fixed.dropped]
            notes.append(f"Dropped, as they depend on earlier columns: {', '.join(lost)}.")
    if "random" in asked:
        rows, own = random_rows(fitted, generalized_conf_int_vcomp(fitted, alpha))
        parts.append(rows)
        notes += own
    if not fitted.fit.convergence.converged:
        notes.append(f"Not converged: {fitted.fit.convergence.message}.")
    frame = tidy_frame(parts, conf_int)
    return NotedTable.of(as_broom(frame) if names == "broom" else frame, "", notes)


def _ratio(fitted: Fitted) -> str:
    link = fitted.generalized.family.link.name
    return {"logit": "odds ratios", "log": "ratios of means"}.get(link, f"{link} link")


def glance(results: HasFitted) -> NotedTable:
    """One row of numbers about the fit, to be put below those of others.

    Returns
    -------
    NotedTable
        Columns nobs, n_groups (levels of the first grouping factor), family, link, n_agq,
        dispersion, llf, aic, bic, deviance, df_resid, singular, converged, verdict,
        r2_marginal and r2_conditional (NaN where the rows are not in memory).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.cbpp.load().data
    >>> formula = "incidence / size ~ period + (1 | herd)"
    >>> result = mx.glmm(formula, data, family="binomial", weights="size").fit()
    >>> result.glance()[["nobs", "n_groups", "family", "aic", "r2_marginal"]].round(3)
       nobs  n_groups    family      aic  r2_marginal
    0    56        15  binomial  194.053        0.197
    """
    fitted = results.fitted
    own, notes = fitted.generalized, list[str]()
    row: dict[str, Any] = {
        "nobs": fitted.nobs,
        "n_groups": int(n_levels(fitted).iloc[0]),
        "family": own.family.name,
        "link": own.family.link.name,
        "n_agq": own.engine.n_agq,
        "dispersion": own.dispersion,
        "llf": float(criteria.llf(fitted)),
        "aic": float(criteria.aic(fitted)),
        "bic": float(criteria.bic(fitted)),
        "deviance": float(criteria.deviance(fitted)),
        "df_resid": fitted.df_resid,
        "singular": own.is_singular,
        "converged": own.convergence.converged,
        "verdict": own.convergence.status,
    }
    row["r2_marginal"] = row["r2_conditional"] = np.nan
    if has_rows(fitted.model):
        found = generalized_r2(fitted)
        row["r2_marginal"], row["r2_conditional"] = found.marginal, found.conditional
    else:
        notes.append("No R squared: the rows of the fit are not in memory.")
    if not own.convergence.converged:
        notes.append(f"Not converged: {own.convergence.message}.")
    return NotedTable.of(pd.DataFrame([row]), "", notes)


def integration_text(fitted: Fitted) -> str:
    """How the random effects are integrated out, in words."""
    engine = fitted.generalized.engine
    if engine.n_agq > 1:
        return f"adaptive Gauss-Hermite, {engine.n_agq} nodes"
    return "modes of all coefficients" if engine.n_agq == 0 else "Laplace"
