"""Tables of one shape for every fit: a row a parameter, a row a fit, a row a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_choice, check_probability
from mixedext.fitted import Fitted, HasFitted, has_rows
from mixedext.inference.comparison import criteria
from mixedext.inference.diagnostics.influence import get_influence
from mixedext.inference.diagnostics.leverage import Leverages, leverages
from mixedext.inference.diagnostics.residuals import resid, resid_pearson
from mixedext.inference.fixed_effects.coefficients import fixed_effects_inference
from mixedext.inference.fixed_effects.covariance_choice import choice_in_words, df_notes
from mixedext.inference.fixed_effects.df_methods import df_choice
from mixedext.inference.prediction.predictions import fittedvalues, predict
from mixedext.inference.random_effects.modes import n_levels
from mixedext.inference.variances.icc_and_r2 import icc, r2_nakagawa
from mixedext.inference.variances.intervals import conf_int_vcomp
from mixedext.specification.data.tables import as_pandas
from mixedext.tables.noted_table import NotedTable

__all__ = [
    "EFFECTS",
    "as_broom",
    "asked_effects",
    "augment",
    "augmented",
    "fixed_rows",
    "glance",
    "random_rows",
    "shared_variance",
    "tidy",
    "tidy_frame",
]

EFFECTS = ("fixed", "random")
# Columns in broom's words and order.
_BROOM = {
    "effect": "effect",
    "group": "group",
    "term": "term",
    "estimate": "estimate",
    "std_err": "std.error",
    "statistic": "statistic",
    "df": "df",
    "pvalue": "p.value",
    "lower": "conf.low",
    "upper": "conf.high",
}


def tidy(
    results: HasFitted,
    effects: str | Sequence[str] = EFFECTS,
    conf_int: bool = True,
    alpha: float = 0.05,
    df_method: str | None = None,
    information: str | None = None,
    *,
    names: str | None = None,
) -> NotedTable:
    """One row a parameter: coefficients, then standard deviations and correlations.

    Parameters
    ----------
    effects : {"fixed", "random"} or a sequence of them, optional
        Which parameters.
    conf_int : bool, optional
        Whether there are limits.
    alpha : float, optional
        One minus the confidence level.
    df_method : str, optional
        Degrees of freedom of the fixed effects, as in ``fixed_effects_inference``; the
        results' own choice if None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.
    names : {None, "broom"}, optional
        "broom" spells columns and terms as R's broom.mixed does.

    Returns
    -------
    NotedTable
        Columns term, estimate, std_err, statistic, df, pvalue, lower, upper, group, effect.
        Terms of the random effects say their scale: "sd Days", "cor Intercept.Days",
        "sigma"; their limits are those of ``conf_int_vcomp``, which say those of a residual
        covariance (group "Residual"), too.  NaN for coefficients that
        were dropped, and for limits of variances on the boundary, which the notes name.

    Raises
    ------
    ValueError
        If an argument is not known, or the method does not go with the fit.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> table = result.tidy(df_method="kenward-roger")
    >>> table[["term", "group", "estimate", "std_err", "df"]].round(2)
                     term     group  estimate  std_err    df
    0           Intercept       NaN    251.41     6.82  17.0
    1                Days       NaN     10.47     1.55  17.0
    2        sd Intercept   Subject     24.74     5.84   NaN
    3  cor Intercept.Days   Subject      0.07     0.33   NaN
    4             sd Days   Subject      5.92     1.25   NaN
    5               sigma  Residual     25.59     1.51   NaN
    """
    asked = asked_effects(effects)
    check_choice(names, "names", (None, "broom"))
    check_probability(alpha, "alpha")
    fitted, notes, parts = results.fitted, list[str](), list[pd.DataFrame]()
    if "fixed" in asked:
        parts.append(fixed_rows(fitted, alpha, df_method, information))
        choice = df_choice(df_method, information)
        words = choice_in_words(fitted, choice)
        notes += [f"Df of the fixed effects: {words}.", *df_notes(fitted, choice)]
        if fitted.fixed.dropped.any():
            lost = np.asarray(fitted.fixed.names)[fitted.fixed.dropped]
            notes.append(f"Dropped, as they depend on earlier columns: {', '.join(lost)}.")
    if "random" in asked:
        rows, own = random_rows(fitted, conf_int_vcomp(fitted, alpha))
        parts.append(rows)
        notes += own
    if not fitted.fit.convergence.converged:
        notes.append(f"Not converged: {fitted.fit.convergence.message}.")
    frame = tidy_frame(parts, conf_int)
    return NotedTable.of(as_broom(frame) if names == "broom" else frame, "", notes)


def asked_effects(effects: str | Sequence[str]) -> list[str]:
    """Which parameters are asked for."""
    asked = [effects] if isinstance(effects, str) else list(effects)
    if not asked:
        raise ValueError("effects is empty; use 'fixed', 'random' or both")
    for one in asked:
        check_choice(one, "effects", EFFECTS)
    return asked


def tidy_frame(parts: Sequence[pd.DataFrame], conf_int: bool) -> pd.DataFrame:
    """The parts below each other, columns in their order."""
    frame = pd.concat([p for p in parts if len(p)] or list(parts), ignore_index=True)
    order = ["term", "estimate", "std_err", "statistic", "df", "pvalue"]
    order += ["lower", "upper"] if conf_int else []
    return frame[[*order, "group", "effect"]]


def fixed_rows(
    fitted: Fitted,
    alpha: float,
    df_method: str | None = None,
    information: str | None = None,
) -> pd.DataFrame:
    """A row a coefficient."""
    own = fixed_effects_inference(fitted, df_method, information=information)
    frame = pd.DataFrame({"term": list(fitted.fixed.names)}, dtype=object)
    frame["estimate"], frame["std_err"] = own.estimate, own.se
    frame["statistic"], frame["df"], frame["pvalue"] = own.statistic, own.df, own.pvalue
    frame["lower"], frame["upper"] = own.conf_int(alpha).T
    return frame.assign(group=np.full(len(frame), np.nan, object), effect="fixed")


def random_rows(fitted: Fitted, table: NotedTable) -> tuple[pd.DataFrame, Sequence[str]]:
    """A row an element of the covariances, of ``conf_int_vcomp``'s table, and its notes."""
    groups: list[Any] = [
        block.term.group
        for block in fitted.random.blocks()
        for _ in range(block.structure.n_gamma)
    ]
    rest = "Residual" if fitted.generalized is None else np.nan  # a dispersion
    groups += [rest] * (len(table) - len(groups))
    pairs = zip(table.index, groups, strict=True)
    frame = pd.DataFrame(
        [(label.removesuffix(f"|{group}"), group) for label, group in pairs],
        columns=["term", "group"],
        dtype=object,
    )
    for name in ("estimate", "std_err", "lower", "upper"):
        frame[name] = table[name].to_numpy()
    return frame.assign(statistic=np.nan, df=np.nan, pvalue=np.nan, effect="random"), [
        f"{note}." for note in table.notes
    ]


def as_broom(frame: pd.DataFrame) -> pd.DataFrame:
    """The table in the words of broom.mixed."""

    def plain(name: str) -> str:
        return "(Intercept)" if name == "Intercept" else name

    def of_random(term: str, group: str) -> str:
        if term == "sigma":
            return "sd__Observation"
        if group == "Residual" or pd.isna(group):
            return term
        kind, _, rest = term.partition(" ")
        return f"{kind}__" + ".".join(plain(part) for part in rest.split("."))

    fixed = frame["effect"] == "fixed"
    terms = [
        plain(term) if is_fixed else of_random(term, group)
        for term, group, is_fixed in zip(frame["term"], frame["group"], fixed, strict=True)
    ]
    frame = frame.assign(term=terms, effect=np.where(fixed, "fixed", "ran_pars"))
    frame = frame[[name for name in _BROOM if name in frame]]
    return frame.rename(columns=_BROOM)


# ---- a row a fit ----


def glance(results: HasFitted) -> NotedTable:
    """One row of numbers about the fit, to be put below those of others.

    Returns
    -------
    NotedTable
        Columns nobs, n_groups (levels of the first grouping factor, or residual groups),
        sigma, llf, aic, bic, deviance, df_resid, reml, singular, converged, verdict,
        r2_marginal and r2_conditional.  aic and bic are NaN for REML fits of models stated
        by ``groups``, as in statsmodels; R squared where the rows are not in memory.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.glance()[["nobs", "n_groups", "sigma", "aic", "r2_marginal"]].round(3)
       nobs  n_groups   sigma       aic  r2_marginal
    0   180        18  25.592  1755.628        0.279
    """
    fitted = results.fitted
    fit, levels, notes = fitted.fit, n_levels(fitted), list[str]()
    groups = int(levels.iloc[0]) if len(levels) else 0
    if not groups and fit.residual is not None:
        groups = fit.residual.bound.n_groups
    row: dict[str, Any] = {
        "nobs": fitted.nobs,
        "n_groups": groups,
        "sigma": fitted.sigma,
        "llf": float(criteria.llf(fitted)),
        "aic": float(criteria.aic(fitted)),
        "bic": float(criteria.bic(fitted)),
        "deviance": float(criteria.deviance(fitted)),
        "df_resid": fitted.df_resid,
        "reml": fit.reml,
        "singular": fit.is_singular,
        "converged": fit.convergence.converged,
        "verdict": fit.convergence.status,
    }
    row["r2_marginal"] = row["r2_conditional"] = np.nan
    if has_rows(fitted.model):
        row["r2_marginal"], row["r2_conditional"] = r2_nakagawa(fitted)
    else:
        notes.append("No R squared: the rows of the fit are not in memory.")
    if not criteria.has_criteria(fitted):
        notes.append("No AIC and BIC after REML for models stated by groups.")
    if not fit.convergence.converged:
        notes.append(f"Not converged: {fit.convergence.message}.")
    return NotedTable.of(pd.DataFrame([row]), "", notes)


def shared_variance(fitted: Fitted) -> float:
    """The intraclass correlation, all factors together."""
    found = icc(fitted)
    return found if isinstance(found, float) else found.estimate


# ---- a row a row ----


def augment(results: HasFitted, data: Any = None) -> NotedTable:
    """Fitted values, residuals and diagnostics of the rows.

    Parameters
    ----------
    data : DataFrame, optional
        New data, which come back with the columns that can be told of them; the rows of
        the fit if None.

    Returns
    -------
    NotedTable
        Of the fit's rows: response, fitted (with the random effects), fixed (offset and
        fixed effects), resid, resid_pearson, hat (leverages), hat_fixed, hat_random and
        cooks_d (Cook's distance of the coefficients, theta held; NaN where the other rows
        do not determine them; the last four are NaN with a residual covariance).  Of new
        data: their columns, then fitted, fixed and, where they have a column of the
        response's name, response and resid.

    Raises
    ------
    ValueError
        If the rows are not in memory; if new data lack a column that is needed or a level
        of theirs is new, as in ``predict``, or have a column with a name of these.

    Warns
    -----
    NotEstimableWarning
        If some coefficient cannot be estimated without some row.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.augment().iloc[:2, :6].round(2)
       response  fitted   fixed  resid  resid_pearson   hat
    0    249.56  253.66  251.41  -4.10          -0.16  0.23
    1    258.70  273.33  261.87 -14.63          -0.57  0.17
    """
    fitted = results.fitted
    if data is not None:
        return augmented(fitted, data, predict)
    rows = fitted.need_rows()
    residual, notes = resid(fitted), list[str]()
    cooks = np.full(fitted.nobs, np.nan)
    own = Leverages(*np.full((2, fitted.nobs), np.nan))
    if fitted.fit.residual is None:
        own = leverages(fitted)
    if fitted.fit.residual is not None:
        notes.append(
            "No leverages and Cook's distances: the errors are correlated, or of several "
            "variances."
        )
    elif not fitted.fixed.rank:
        notes.append("No Cook's distances: there are no coefficients.")
    elif fitted.fit.held is not None:
        notes.append("No Cook's distances: parameters were held or penalized.")
    else:
        cooks = np.asarray(get_influence(fitted).cooks_distance[0])
    frame = pd.DataFrame(
        {
            "response": rows.endog,
            "fitted": fittedvalues(fitted),
            "fixed": rows.mean(fitted.fixed.estimate),
            "resid": residual,
            "resid_pearson": resid_pearson(fitted),
            "hat": own.whole,
            "hat_fixed": own.fixed,
            "hat_random": own.random,
            "cooks_d": cooks,
        },
        index=rows.labels,
    )
    return NotedTable.of(frame, "", notes)


def augmented(fitted: Fitted, data: Any, predict: Callable[..., Any]) -> NotedTable:
    """New data with what can be told of them."""
    data = as_pandas(data)
    frame = data.copy() if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
    name = fitted.model.endog_names
    added = ["fitted", "fixed"]
    added += ["response", "resid"] if name in frame else []
    taken = [column for column in added if column in frame and column != name]
    if taken:
        raise ValueError(
            f"data has a column {taken[0]!r}, which augment() adds; rename that of the data"
        )
    new = {
        "fitted": predict(fitted, frame, conditional=True),
        "fixed": predict(fitted, frame, conditional=False),
    }
    if name in frame:
        new["response"] = frame[name].astype(float)
        new["resid"] = new["response"] - new["fitted"]
    frame = frame.assign(**{column: np.asarray(value) for column, value in new.items()})
    return NotedTable.of(frame, "")
