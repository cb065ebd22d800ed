"""Which covariance of the parameters, and which tests by it: the choice, as settings."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from mixedext.arguments import did_you_mean
from mixedext.exceptions import ClusterWarning, user_stacklevel
from mixedext.fitted import BY_DEFAULT, DfChoice, Fitted, HasFitted, InferenceSettings
from mixedext.inference.fixed_effects.clusters import cluster_codes
from mixedext.inference.fixed_effects.default_method import default_choice
from mixedext.inference.fixed_effects.df_methods import (
    KENWARD_ROGER,
    FixedTests,
    check_df_method,
    check_information,
    default_information,
    df_choice,
    tests_of,
)
from mixedext.inference.fixed_effects.parameter_covariance import kept_inner
from mixedext.inference.fixed_effects.robust import (
    NO_ERROR,
    ClusterCovariance,
    CovarianceTests,
    cluster_covariance,
    two_way_covariance,
)
from mixedext.other_names import COVARIANCES
from mixedext.specification.terms.structured import refuse_structured

__all__ = [
    "check_cov_kwds",
    "choice_in_words",
    "choose_settings",
    "chosen_tests",
    "covariance_arguments",
    "covariance_name",
    "df_description",
    "df_notes",
    "get_robustcov_results",
    "settled_choice",
    "told_note",
    "unknown_covariance",
    "uses_t",
]

# Names in lower case to estimators.
_COVARIANCES = {
    "nonrobust": "nonrobust",
    "gls": "nonrobust",
    "oim": "oim",
    "cluster": "CR1",
    "cr0": "CR0",
    "cr1": "CR1",
    "cr2": "CR2",
    "cr3": "CR3",
}
_DESCRIPTIONS = {
    "nonrobust": "Generalized least squares: the covariance of the model.",
    "oim": "Inverse of the observed information about all parameters but the scale.",
    "CR0": "Robust to cluster correlation (CR0).",
    "CR1": "Robust to cluster correlation (CR1).",
    "CR2": "Robust to cluster correlation (CR2), with Bell-McCaffrey df.",
    "CR3": "Robust to cluster correlation (CR3), with Bell-McCaffrey df.",
}
# Coefficients without a standard error that are all named.
MOST_NAMES = 6
_CLUSTER_DF = ("clusters", "bell-mccaffrey")
_CLUSTER_OPTIONS = {
    "groups", "use_correction", "df_correction", "scaling_factor", "df",
}  # fmt: skip


def covariance_name(cov_type: Any) -> str | None:
    """Estimator that ``cov_type`` stands for; None if it is not known."""
    if cov_type is None:
        return "nonrobust"
    return _COVARIANCES.get(cov_type.lower()) if isinstance(cov_type, str) else None


def unknown_covariance(cov_type: Any) -> str:
    """What is said of a ``cov_type`` that is not known: which there are, which to take."""
    listed = "'nonrobust', 'oim', 'cluster', 'CR0', 'CR1', 'CR2' or 'CR3'"
    message = f"cov_type={cov_type!r} is not known; use {listed}"
    plain = re.sub(r"[\s_-]", "", cov_type).casefold() if isinstance(cov_type, str) else ""
    if plain in COVARIANCES:
        return f"{message}. Of {cov_type!r}: {COVARIANCES[plain]}"
    return f"{message}{did_you_mean(cov_type, ('nonrobust', 'cluster'))}"


def check_cov_kwds(kwds: Mapping[str, Any], cov_type: Any, clustered: bool) -> None:
    """Refuse keywords that the covariance has no use for."""
    unknown = sorted(set(kwds) - (_CLUSTER_OPTIONS if clustered else set()), key=str)
    if not unknown:
        return
    if not clustered:
        asked = "cov_type is not given" if cov_type is None else f"cov_type is {cov_type!r}"
        raise ValueError(
            f"cov_kwds has {unknown[0]!r}, which belongs to a cluster-robust covariance, "
            f"but {asked}; write cov_type='CR2' (or 'CR0', 'CR1', 'CR3') with it"
        )
    raise ValueError(
        f"cov_kwds: {unknown[0]!r} is not used by {cov_type!r}; there are: "
        f"{', '.join(sorted(_CLUSTER_OPTIONS))}"
        f"{did_you_mean(unknown[0], _CLUSTER_OPTIONS)}"
    )


def choose_settings(
    fitted: Fitted,
    asked: DfChoice = BY_DEFAULT,
    cov_type: str | None = None,
    use_t: bool | None = None,
    cov_kwds: Mapping[str, Any] | None = None,
    default: str | None = None,
) -> InferenceSettings:
    """Settings from the arguments of ``fit`` that say how tests are done.

    Parameters
    ----------
    fitted : Fitted
        The fit; its own settings are passed over.
    asked : DfChoice
        What ``df_method`` and what goes with it say.
    default : str, optional
        ``mx.options.df_method``.
    cov_type, use_t, cov_kwds
        As for ``MixedLM.fit`` and ``get_robustcov_results``.

    Raises
    ------
    ValueError
        If something is not known, or does not go with something else.
    """
    if not isinstance(cov_kwds, Mapping | None):
        raise ValueError(
            f"cov_kwds={cov_kwds!r} must map names to values: {{'groups': ...}}"
        )
    name, kwds = covariance_name(cov_type), dict(cov_kwds or {})
    if name is None:
        raise ValueError(unknown_covariance(cov_type))
    df_method = asked.df_method
    check_df_method(fitted.fit, df_method)
    clustered = name.startswith("CR")
    check_cov_kwds(kwds, cov_type, clustered)
    shown = cov_type or "nonrobust"
    if name == "oim":
        what, instead = "cov_type='oim'", "the default and cov_type='CR2' are"
        refuse_structured(fitted.random.terms, what, instead)
    if name != "nonrobust":
        _refuse_df_method(df_method, shown)
    chosen: dict[str, Any] = {"cov_kwds": {"description": _DESCRIPTIONS[name]}}
    if clustered:
        chosen = _clustered(fitted, name, shown, kwds)
    if use_t is not None and df_method is not None and use_t == (df_method == "z"):
        law, other = ("t", "the normal law") if use_t else ("the normal law", "t")
        raise ValueError(
            f"use_t={use_t} asks for {law}, df_method={df_method!r} for {other}"
        )
    choice, note = asked, ""
    if df_method is None and name == "nonrobust":
        if use_t is None:
            choice, note = default_choice(fitted, default)
        else:  # as in statsmodels
            choice = DfChoice("residual" if use_t else "z")
    elif df_method is None:
        own = chosen.get("cluster_df") == "bell-mccaffrey" if use_t is None else use_t
        choice = DfChoice(None if own else "z")
    choice = _with_information(fitted, choice, asked.information)
    use_t = choice.df_method != "z"
    chosen["cov_kwds"]["use_t"] = use_t
    return InferenceSettings(
        choice=choice,
        asked=asked,
        default=default,
        df_note=note,
        use_t=use_t,
        cov_type=shown,
        estimator=name,
        **chosen,
    )


def _clustered(fitted, kind, cov_type, kwds):
    """The parts of the settings that a cluster-robust covariance has."""
    fit, rows = fitted.fit, fitted.rows
    if fit.held is not None and not fit.held.least_squares:
        raise ValueError(
            f"cov_type={cov_type!r} is the covariance of generalized "
            "least-squares estimates, but fixed effects of this fit were penalized or "
            "held; use cov_type='nonrobust' or 'oim'"
        )
    if rows is None:
        raise ValueError(
            "a cluster-robust covariance needs the rows of the data in memory: use "
            "MixedLM or mixedlm, and fit before remove_data()"
        )
    description = _DESCRIPTIONS[kind]
    if kind == "CR1" and not kwds.get("use_correction", True):
        kind = "CR0"
    own = "bell-mccaffrey" if kind in ("CR2", "CR3") else "clusters"
    df = kwds.get("df", own)
    if df not in _CLUSTER_DF:
        raise ValueError(f"df={df!r} is not known; use one of {_CLUSTER_DF}")
    groups = kwds.get("groups")
    ways = cluster_codes(fitted, groups)
    effects = fit.effects if fit.residual is None else None
    resid = rows.endog - rows.mean(fitted.fixed.estimate, effects)
    given = (rows.exog, resid, rows.terms, rows.weights)
    cluster: ClusterCovariance
    if len(ways) == 1:
        cluster = cluster_covariance(
            fit, kind, ways[0], *given, moments=df == "bell-mccaffrey"
        )
    elif df == "bell-mccaffrey" and kind in ("CR0", "CR1"):
        raise ValueError("df='bell-mccaffrey' is not defined for two-way clusters")
    else:
        first, second = ways
        cluster = two_way_covariance(fit, kind, first, second, *given)
    unknown = told_note(fitted, cluster)
    if unknown:
        warnings.warn(
            f"{unknown}: NaN. cov_type='nonrobust' has the model's own",
            ClusterWarning,
            stacklevel=user_stacklevel(),
        )
    adjust = kwds.get("df_correction") is not False
    counts = cluster.n_clusters
    return {
        "cluster": cluster.scaled(kwds.get("scaling_factor")),
        "cluster_df": df,
        "df_resid_inference": min(counts) - 1 if adjust else None,
        "cov_kwds": {
            "description": description,
            "groups": groups,
            "use_correction": kind == "CR1",
            "adjust_df": adjust,
            "df": df,
            "n_groups": counts[0] if len(counts) == 1 else counts,
            **{k: kwds[k] for k in ("scaling_factor",) if kwds.get(k) is not None},
        },
    }


def covariance_arguments(fitted: Fitted) -> dict[str, Any]:
    """Arguments of ``fit`` that give a smaller model of the same rows this covariance.

    The clusters stay those of the fit, also where the smaller model has lost the grouping
    factor that they come from.  Empty for the model's own covariance.
    """
    settings = fitted.settings
    if settings.estimator == "nonrobust":
        return {}
    out: dict[str, Any] = {"cov_type": settings.cov_type}
    if settings.cluster is not None:
        own = settings.cov_kwds
        ways = cluster_codes(fitted, own["groups"])
        out["cov_kwds"] = {
            "groups": ways[0] if len(ways) == 1 else np.column_stack(ways),
            "df": own["df"],
            "df_correction": own["adjust_df"],
            "use_correction": own["use_correction"],
            "scaling_factor": own.get("scaling_factor"),
        }
    return out


def told_note(fitted: Fitted, cluster: Any) -> str:
    """Which coefficients have no robust standard error, and why; empty if all have one."""
    if not cluster.told.directions.shape[1]:
        return ""
    fixed = fitted.fixed
    names = np.array(fixed.names)[fixed.kept]
    named = [str(n) for n in names[cluster.told.concerns(np.eye(fixed.rank))]]
    if len(named) > MOST_NAMES:
        named = [*named[: MOST_NAMES - 1], f"and {len(named) - MOST_NAMES + 1} more"]
    return NO_ERROR.format(", ".join(named) or "some combinations of coefficients")


# Methods for degrees of freedom that go with any covariance.
_OF_ANY = None, "z", "residual"


def _refuse_df_method(df_method, cov_type):
    """A method for the model's own covariance goes with no other."""
    if df_method not in _OF_ANY:
        raise ValueError(
            f"df_method={df_method!r} belongs to the model's own covariance of the "
            f"fixed effects, not to cov_type={cov_type!r}; use "
            "cov_type='nonrobust', or df_method='residual' or 'z'"
        )


def get_robustcov_results(
    results: HasFitted,
    cov_type: str = "CR1",
    use_t: bool | None = None,
    **kwds: Any,
) -> Any:
    """The same estimates with another covariance of the parameters.

    Parameters
    ----------
    cov_type : str, optional
        One of

        - "nonrobust" or "gls": sigma^2 (X'V0^-1 X)^-1, the default of ``fit``;
        - "oim": statsmodels', the inverse of the whole observed information;
        - "CR0", "CR1", "CR2", "CR3": cluster-robust; "cluster" is CR1.
    use_t : bool, optional
        t and F, or normal and chi-squared laws.  None: t for CR2 and CR3, else normal
        (for "nonrobust" and "oim": as the results' ``df_method`` says).
    **kwds
        Of the cluster-robust types:

        ``groups`` : labels (array or Series), name of a column, an index level or a
        grouping factor; two of them in a list, or a frame or array with two columns,
        for two-way clusters (CR0 and CR1).  The grouping factor that all others are
        nested in if it is left out, or the residual groups in which they are.

        ``use_correction`` : bool.  False turns the factor G / (G - 1) * (n - 1) /
        (n - p) of CR1 off.

        ``df_correction`` : bool.  False leaves n - p degrees of freedom where there
        would be G - 1.

        ``df`` : {"clusters", "bell-mccaffrey"}.  Degrees of freedom where t and F are
        used: G - 1 (the smaller G, two-way; the default of CR0 and CR1), or those of
        Bell and McCaffrey, HTZ for joint tests (default of CR2 and CR3).

        ``scaling_factor`` : float.  Multiplies the covariance.

    Returns
    -------
    MixedLMResultsWrapper

    Raises
    ------
    ValueError
        If the type or a keyword is not known, or the type is not defined for these
        clusters: CR2, CR3 and Bell-McCaffrey's df need all grouping factors to be
        nested in the clusters.

    Warns
    -----
    ClusterWarning
        If a two-way covariance is not positive semidefinite, a joint test has too few
        clusters, or one cluster alone tells a coefficient: it has no standard error
        (NaN), nor has what rests on it.

    References
    ----------
    Pustejovsky and Tipton (2018), Small-sample methods for cluster-robust variance
    estimation and hypothesis testing in fixed effects models, Journal of Business and
    Economic Statistics 36(4).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    >>> robust = result.get_robustcov_results("CR2")
    >>> result.bse_fe.round(4).to_dict()
    {'Intercept': 9.7467, 'Days': 0.8042}
    >>> robust.bse_fe.round(4).to_dict()
    {'Intercept': 6.8246, 'Days': 1.5458}
    """
    fitted = results.fitted
    own = fitted.settings
    asked = own.asked
    if covariance_name(cov_type) != "nonrobust" and asked.df_method not in _OF_ANY:
        asked = BY_DEFAULT  # what was asked of the model's own covariance
    settings = choose_settings(fitted, asked, cov_type, use_t, kwds, own.default)
    return fitted.model._present(fitted.with_settings(settings))


# ---- tests of fixed effects ----


def settled_choice(
    results: HasFitted, choice: DfChoice = BY_DEFAULT, use_t: bool | None = None
) -> DfChoice:
    """How degrees of freedom are found: as asked for, and by default as the fit was.

    Parameters
    ----------
    results : HasFitted
        The fit, with its settings.
    choice : DfChoice, optional
        What the arguments of a method say.
    use_t : bool, optional
        Where they name no method: t and F, or normal and chi-squared laws; as chosen if
        None.

    Returns
    -------
    DfChoice
        No method only where the covariance brings its own degrees of freedom.
    """
    settings = results.fitted.settings
    if choice.df_method is not None:
        settled = choice
    elif not (settings.use_t if use_t is None else use_t):
        settled = DfChoice("z")
    elif settings.use_t:
        settled = settings.choice
    else:
        settled = DfChoice("residual" if settings.estimator == "nonrobust" else None)
    own = settings.choice.information
    return _with_information(results.fitted, settled, choice.information, own)


def _with_information(
    fitted: Fitted, settled: DfChoice, asked: str | None, own: str | None = None
) -> DfChoice:
    """A settled choice that says which information, if its method takes one.

    By default the ``own`` one of the fit; if the fit's method takes none, the usual one of
    its covariance.
    """
    name = settled.df_method
    if name in KENWARD_ROGER:
        usual = default_information(fitted.fit)
        return DfChoice(name, asked or settled.information or own or usual)
    check_information(DfChoice(name, asked), settled=True)
    return settled


def uses_t(
    results: HasFitted, choice: DfChoice = BY_DEFAULT, use_t: bool | None = None
) -> bool:
    """Whether tests are by t and F, and not by the normal and chi-squared laws."""
    return settled_choice(results, choice, use_t).df_method != "z"


def chosen_tests(
    fitted: Fitted, choice: DfChoice = BY_DEFAULT, use_t: bool | None = None
) -> FixedTests:
    """Tests by the covariance chosen; degrees of freedom by default as chosen, too.

    Parameters
    ----------
    fitted : Fitted
        The fit, with its settings.
    choice, use_t
        As for ``settled_choice``.

    Raises
    ------
    ValueError
        If the method does not go with the covariance or the fit, or takes no information.
    """
    settings = fitted.settings
    settled = settled_choice(fitted, choice, use_t)
    if settings.estimator == "nonrobust":
        return tests_of(fitted, settled)
    name = settled.df_method
    _refuse_df_method(name, settings.cov_type)
    inner, cluster = kept_inner(fitted), settings.cluster
    told = None if cluster is None else cluster.told
    note = "" if cluster is None else told_note(fitted, cluster)
    if name is None and settings.cluster_df == "bell-mccaffrey":
        moments = None if cluster is None else cluster.moments
        return CovarianceTests(fitted.fit, inner, None, moments, told, note)
    df = np.inf
    if name == "residual":
        df = fitted.df_resid
    elif name is None:
        clusters = settings.df_resid_inference
        df = fitted.df_resid if clusters is None else clusters
    return CovarianceTests(fitted.fit, inner, df, None, told, note)


def df_description(
    results: HasFitted,
    df_method: str | None = None,
    use_t: bool | None = None,
    *,
    information: str | None = None,
) -> str:
    """The method for the degrees of freedom of tests, in words."""
    return choice_in_words(results, df_choice(df_method, information), use_t)


def choice_in_words(
    results: HasFitted, choice: DfChoice = BY_DEFAULT, use_t: bool | None = None
) -> str:
    """``df_description`` of a choice."""
    settled = settled_choice(results, choice, use_t)
    if settled.df_method == "z":
        return "none (z)"
    if settled.information is not None:
        return f"{settled.df_method} ({settled.information} information)"
    # cluster-robust covariances bring their own degrees of freedom
    own = results.fitted.settings.cov_kwds.get("df", "residual")
    return settled.df_method or own


def df_notes(results: HasFitted, choice: DfChoice = BY_DEFAULT) -> list[str]:
    """What the notes of a table say of its degrees of freedom: what is held, and why z."""
    fitted = results.fitted
    notes = chosen_tests(fitted, choice).held_notes()
    if choice.df_method is None and fitted.settings.df_note:
        notes.append(fitted.settings.df_note)
    return notes
