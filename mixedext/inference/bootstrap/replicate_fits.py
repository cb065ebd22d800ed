"""Fits of replicates one after the other, where Python has to see each of them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from mixedext.engine.fit import fit_design
from mixedext.engine.refits.refit import joined, row_of_fit
from mixedext.engine.rows.design import prepare_design
from mixedext.exceptions import DesignError
from mixedext.inference.bootstrap.refits import failed_row
from mixedext.inference.bootstrap.resampling import CasesSampler
from mixedext.inference.bootstrap.user_statistics import statistic_values
from mixedext.specification.data.alignment import warn_if_reordered
from mixedext.specification.data.columns import column_of
from mixedext.specification.data.labels import factorize
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["cases_sampler", "fit_cases", "fit_draws"]


def fit_draws(model, draw, reml, statistic, arguments, block):
    """Refits of a block of responses, each shown to the statistic."""
    y = draw(block[0], np.random.default_rng(block[1]))
    if model.offset is not None:
        y = y + model.offset[:, None]
    rows, values, messages = [], [], {}
    for r in range(block[0]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # verdicts are kept
            try:
                shown = model.refit(y[:, r], reml=reml, **arguments)
            except (DesignError, np.linalg.LinAlgError) as error:
                _failed(model, rows, values, messages, error)
                continue
            _seen(shown.fitted.fit, shown, statistic, rows, values, messages)
        rows[-1] = _whole(rows[-1], model._design.basis.kept, model.k_fe)
    return joined(rows), values, messages


def fit_cases(model, sampler, reml, statistic, arguments, block):
    """Fits of a block of resampled data."""
    rng = np.random.default_rng(block[1])
    rows, values, messages = [], [], {}
    names, weights, offset = model.exog_names, model.weights, model.offset
    for _ in range(block[0]):
        at, number = sampler.draw(rng)
        terms = sampler.terms_of(at, number)
        own = {"weights": weights, "offset": offset}
        own = {name: a[at] for name, a in own.items() if a is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # verdicts are kept
            try:
                if statistic is None and not arguments:
                    fit, shown = _engine_fit(model, at, terms, reml, **own), None
                else:
                    fresh = _model_of_rows(model, at, terms, own)
                    shown = fresh.fit(reml=reml, **arguments)
                    fit = shown.fitted.fit
            except (DesignError, np.linalg.LinAlgError) as error:
                _failed(model, rows, values, messages, error)
                continue
            _seen(fit, shown, statistic, rows, values, messages)
        kept = fit.design.basis.kept
        rows[-1] = _whole(rows[-1], kept, model.k_fe)
        lost = sorted(set(model._design.basis.kept) - set(kept))
        if lost:
            text = ", ".join(names[j] for j in lost)
            messages.setdefault(len(rows) - 1, f"not estimable: {text}")
    return joined(rows), values, messages


def cases_sampler(model, group, within) -> CasesSampler:
    """What draws whole levels of a factor.

    Parameters
    ----------
    model : MixedLM
        The model.
    group, within
        As for ``bootstrap_cases``.
    """
    return CasesSampler(model.random_terms, _drawn_codes(model, group), within)


def _drawn_codes(model, group):
    """Levels of the rows in the factor that is named, or else in the top one."""
    factors = {t.group: t for t in model.random_terms if not isinstance(t, SparseTerm)}
    if isinstance(group, str) and group in factors:
        return factors[group].codes
    if group is not None:
        return _codes_of(model, group)
    if model.groups is not None:  # as in statsmodels, all terms are nested in them
        return model._group_codes[0]
    if not factors:
        raise ValueError("the model has no grouping factor; name one by group=")
    return min(factors.values(), key=lambda t: t.n_levels).codes


def _codes_of(model, group):
    """Codes of a column of the data, or of labels that are given, one a row."""
    labels = group
    if np.ndim(group) == 0:
        frame = getattr(model.data, "frame", None)
        if frame is None or group not in {*frame.columns, *frame.index.names}:
            known = ", ".join(t.group for t in model.random_terms) or "none"
            raise ValueError(
                f"group={group!r} is neither a grouping factor of the model ({known}) nor "
                "a column of its data"
            )
        labels = column_of(frame, group)
    else:
        warn_if_reordered(group, model.data.row_labels, "group")
    codes = np.asarray(factorize(labels)[0])
    if len(codes) != model.nobs or (codes < 0).any():
        raise ValueError(
            f"group must have one label, not missing, for each of the {model.nobs} rows of "
            f"the model; got {len(codes)}"
        )
    return codes


def _seen(fit, shown, statistic, rows, values, messages):
    """Append a fit's row and the value of the statistic of the results shown."""
    rows.append(row_of_fit(fit))
    value = None
    if statistic is not None:
        try:
            value = statistic_values(statistic(shown))
        except Exception as error:  # noqa: BLE001 - told as a failure of the replicate
            messages[len(values)] = f"statistic: {type(error).__name__}: {error}"
    values.append(value)


def _failed(model, rows, values, messages, error):
    """Append a replicate without estimates."""
    messages[len(values)] = f"{type(error).__name__}: {error}"
    rows.append(failed_row(model._design, k_fe=model.k_fe))
    values.append(None)


def _whole(row, kept, k_fe):
    """A fit's row with all fixed effects, NaN where dropped."""
    fixed = np.full((1, k_fe), np.nan)
    fixed[:, kept] = row[0]
    return (fixed, *row[1:])


def _engine_fit(model, at, terms, reml, weights=None, offset=None):
    y = model.endog[at] if offset is None else model.endog[at] - offset
    return fit_design(prepare_design(y, model.exog[at], terms, weights), reml)


def _model_of_rows(model, at, terms, own):
    """A new model of some rows of another one."""
    names = model.exog_names
    exog = pd.DataFrame(model.exog[at], columns=names) if len(names) else None
    endog = pd.Series(model.endog[at], name=model.endog_names)
    return type(model)(endog, exog, terms=terms, **own)
