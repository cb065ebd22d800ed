"""Parameters of profiles of generalized models by name, and tables in their order."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.exceptions import StructureWarning, user_stacklevel
from mixedext.fitted import Fitted
from mixedext.inference.profile.chosen_parameters import chosen_parameters
from mixedext.inference.profile.coordinates import Target
from mixedext.inference.profile.generalized_profile import (
    generalized_targets,
    is_followed,
    profile_generalized,
)
from mixedext.inference.profile.signed_root import Profile
from mixedext.inference.random_effects.live_engine import live_engine
from mixedext.specification.terms.parameter_names import covariance_names, unique_names
from mixedext.tables.noted_table import NotedTable

__all__ = ["generalized_names", "generalized_profile", "in_order_of_params"]


def generalized_names(fitted: Fitted) -> list[str]:
    """Names: standard deviations and correlations, the dispersion, fixed effects."""
    own = fitted.generalized
    names = covariance_names(fitted.random.terms)[:-1]
    names += [own.family.dispersion_name] * own.n_dispersions
    kept = [fitted.fixed.names[j] for j in fitted.fixed.kept]
    return names + unique_names(kept, names)


def generalized_profile(
    fitted: Fitted, parameters: Any, level: float, step: float
) -> tuple[list[str], list[Target], pd.Series, Profile]:
    """Names and targets that are profiled, all estimates, and the profiles.

    Raises
    ------
    ValueError
        If a name is not known, the fit is approximate (``n_agq=0``), or a correlation that
        is asked for is of an effect with no variance.
    """
    what = "The profile likelihood (profile(), conf_int(method='profile'))"
    engine, own = live_engine(fitted), fitted.generalized
    if engine.n_agq == 0:
        raise ValueError(f"{what} needs a maximum of the likelihood: fit with n_agq=1")
    names, targets = generalized_names(fitted), generalized_targets(engine)
    chosen = chosen_parameters(parameters, names, targets, fitted.random.terms)
    unseen = [i for i in chosen if not is_followed(engine, targets[i])]
    if unseen:
        text = (
            f"no profile of {', '.join(names[i] for i in unseen)}: such a correlation is "
            "made of several parameters, none of which can be held for it; "
            "conf_int_vcomp() has Wald's limits, conf_int(method='bootstrap') percentiles"
        )
        if parameters is not None:
            raise ValueError(text)
        warnings.warn(text, StructureWarning, stacklevel=user_stacklevel())
    chosen = [i for i in chosen if i not in unseen]
    still = len(engine.determined) < len(engine.evaluation.psi)
    lost = [
        i
        for i in chosen
        if _has_no_value(fitted, targets[i]) or (still and targets[i].kind == "sigma")
    ]
    if lost and parameters is not None:
        raise ValueError(
            f"parameters={names[lost[0]]!r}: an effect has no variance, so that there is "
            "no correlation, or the dispersion is at the limit of its law"
        )
    chosen = [i for i in chosen if i not in lost]
    zeta_max = float(np.sqrt(stats.chi2.ppf(level, 1)))
    rows = fitted.need_rows()
    found = profile_generalized(engine, rows, own.family.dispersion, chosen, zeta_max, step)
    values = pd.Series(_estimates(fitted, targets), index=names, name="estimate")
    return [names[i] for i in chosen], [targets[i] for i in chosen], values, found


def _has_no_value(fitted, target):
    if target.kind not in ("correlation", "natural"):
        return False
    covariance = fitted.random.covariances[target.term]
    if target.kind == "natural":
        structure = fitted.random.terms[target.term].structure
        return bool(np.isnan(structure.gamma(covariance)[target.rows[0]]))
    return bool(np.diag(covariance)[list(target.rows)].min() <= 0)


def _estimates(fitted, targets):
    out = []
    for target in targets:
        if target.kind == "fixed":
            out.append(fitted.fixed.coefficients[target.rows[0]])
        elif target.kind == "sigma":
            out.append(fitted.generalized.dispersion)
        else:
            covariance = fitted.random.covariances[target.term]
            structure = fitted.random.terms[target.term].structure
            if not structure.linear:
                value = structure.gamma(covariance)[target.rows[0]]
                out.append(np.sqrt(value) if target.kind == "sd" else value)
                continue
            sd = np.sqrt(np.diag(covariance))
            if target.kind == "sd":
                out.append(sd[target.rows[0]])
                continue
            a, b = target.rows
            both = sd[a] * sd[b]
            out.append(np.clip(covariance[a, b] / both, -1, 1) if both > 0 else np.nan)
    return np.array(out, float)


def in_order_of_params(fitted: Fitted, table: pd.DataFrame, cols: Any) -> NotedTable:
    """Limits by name as those of fixed effects, then of covariances and the dispersion.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    table : NotedTable
        Columns lower and upper, by name; what has no row there is NaN.
    cols : array_like or None
        Which rows of the result; all if None.
    """
    names = generalized_names(fitted)
    rank = fitted.fixed.rank
    count = len(names) - rank
    labels = list(fitted.fixed.names)
    for j, name in zip(fitted.fixed.kept, names[count:], strict=True):
        labels[j] = name
    limits = table[["lower", "upper"]].reindex([*labels, *names[:count]])
    limits = limits.set_axis([0, 1], axis=1)
    out = limits if cols is None else limits.iloc[np.asarray(cols)]
    notes = getattr(table, "notes", ())
    return NotedTable.of(out, getattr(table, "heading", ""), notes)
