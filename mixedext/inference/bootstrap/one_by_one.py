"""Fits of replicates one after the other, where Python has to see each of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.engine.fit import Fit, fit_design
from mixedext.engine.refits.refit import joined, row_of_fit
from mixedext.engine.refits.residual_deletions import fit_near, rows_of_groups
from mixedext.engine.rows.design import prepare_design
from mixedext.exceptions import DesignError, DevianceError
from mixedext.fitted import Model
from mixedext.inference.bootstrap.resampling import CasesSampler
from mixedext.inference.bootstrap.simulated_refits import failed_row
from mixedext.inference.bootstrap.user_statistics import statistic_values
from mixedext.specification.covariance.residual_taken import (
    groups_are_whole,
    on_whole_groups,
)
from mixedext.specification.data.alignment import warn_if_reordered
from mixedext.specification.data.codes import named_column, row_codes
from mixedext.specification.data.tables import as_pandas
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["cases_sampler", "fit_cases", "fit_draws"]

# Columns of Refits, values of the statistic, and why replicates failed, by their numbers.
Block = tuple[tuple[np.ndarray, ...], list[pd.Series | None], dict[int, str]]


class _Replicates:
    """Replicates of a block, one after the other."""

    def __init__(self, model: Model, statistic: Callable | None):
        self.model, self.statistic = model, statistic
        self.rows: list[tuple[np.ndarray, ...]] = []
        self.values: list[pd.Series | None] = []
        self.messages: dict[int, str] = {}

    def add(self, fit: Fit, shown: Any) -> None:
        """A fit, and the value of the statistic of the results shown."""
        number, value = len(self.rows), None
        self.rows.append(self._whole(row_of_fit(fit), fit.design.basis.kept))
        if self.statistic is not None:
            try:
                value = statistic_values(self.statistic(shown))
            except Exception as error:  # noqa: BLE001 - told as a failure of the replicate
                text = f"statistic: {type(error).__name__}: {error}"
                self.messages[number] = text
        self.values.append(value)

    def add_failure(self, error: Exception) -> None:
        """A replicate without estimates."""
        self.messages[len(self.rows)] = f"{type(error).__name__}: {error}"
        bound = self.model.residual
        n_residual = 0 if bound is None else bound.n_parameters
        row = failed_row(self.model._design, 1, self.model.k_fe, n_residual)
        self.rows.append(row)
        self.values.append(None)

    def _whole(self, row, kept):
        """A fit's row with all fixed effects, NaN where dropped."""
        fixed = np.full((1, self.model.k_fe), np.nan)
        fixed[:, kept] = row[0]
        return (fixed, *row[1:])

    def block(self) -> Block:
        """All of them."""
        return joined(self.rows), self.values, self.messages


def fit_draws(
    model: Model,
    draw: Callable[[int, np.random.Generator], np.ndarray],
    reml: bool,
    statistic: Callable,
    arguments: Mapping[str, Any],
    block: tuple[int, Any],
) -> Block:
    """Refits of a block of responses, each shown to the statistic."""
    y = draw(block[0], np.random.default_rng(block[1]))
    if model.offset is not None:
        y = y + model.offset[:, None]
    found = _Replicates(model, statistic)
    for r in range(block[0]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # verdicts are kept
            try:
                shown = model.refit(y[:, r], reml=reml, **arguments)
            except (DesignError, DevianceError, np.linalg.LinAlgError) as error:
                found.add_failure(error)
                continue
            found.add(shown.fitted.fit, shown)
    return found.block()


def fit_cases(
    model: Model,
    sampler: CasesSampler,
    reml: bool,
    statistic: Callable | None,
    arguments: Mapping[str, Any],
    whole: Fit,
    block: tuple[int, Any],
) -> Block:
    """Fits of a block of resampled data; ``whole`` is that of the data themselves."""
    rng = np.random.default_rng(block[1])
    found = _Replicates(model, statistic)
    names, weights, offset = model.exog_names, model.weights, model.offset
    for _ in range(block[0]):
        at, number = sampler.draw(rng)
        terms = sampler.terms_of(at, number)
        own = {"weights": weights, "offset": offset}
        own = {name: a[at] for name, a in own.items() if a is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # verdicts are kept
            try:
                shown = None
                if statistic is None and not arguments and _is_likelihood(whole):
                    fit = _engine_fit(model, at, terms, number, reml, whole)
                elif statistic is None:
                    fresh = _model_of_rows(model, at, terms, own, number, whole)
                    fit = fresh._fitted(reml=reml, **arguments).fit
                else:
                    fresh = _model_of_rows(model, at, terms, own, number, whole)
                    shown = fresh.fit(reml=reml, **arguments)
                    fit = shown.fitted.fit
            except (DesignError, DevianceError, np.linalg.LinAlgError) as error:
                found.add_failure(error)
                continue
            found.add(fit, shown)
        lost = sorted(set(model._design.basis.kept) - set(fit.design.basis.kept))
        if lost:
            text = ", ".join(names[j] for j in lost)
            found.messages.setdefault(len(found.rows) - 1, f"not estimable: {text}")
    return found.block()


def cases_sampler(model: Model, group: Any, within: bool) -> CasesSampler:
    """What draws whole levels of a factor.

    Parameters
    ----------
    model : MixedLM
        The model.
    group, within
        As for ``bootstrap_cases``.
    """
    codes, bound = _drawn_codes(model, group), model.residual
    if bound is not None:
        _check_drawn(bound, codes, within)
    return CasesSampler(model.random_terms, codes, within)


def _check_drawn(bound, codes, within):
    """Refuse what tears residual groups apart."""
    if not groups_are_whole(bound, codes):
        raise ValueError(
            f"the residual groups of {bound.group_name!r} are not nested in the factor "
            "whose levels are resampled; give one that they are nested in by group=, or "
            "use bootstrap_parametric"
        )
    if within and bound.correlation is not None:
        raise ValueError(
            f"within=True draws single rows, and those of {bound.group_name!r} are "
            "correlated; leave within out, or use bootstrap_residual"
        )


def _drawn_codes(model: Model, group: Any) -> np.ndarray:
    """Levels of the rows in the factor that is named, or else in the top one."""
    factors = {t.group: t for t in model.random_terms if not isinstance(t, SparseTerm)}
    bound = model.residual
    if isinstance(group, str) and group in factors:
        return factors[group].codes
    is_factor = bound is not None and bound.correlation is not None
    if is_factor and isinstance(group, str) and group == bound.group_name:
        return bound.group_codes
    if group is not None:
        return _codes_of(model, group)
    if model.groups is not None:  # as in statsmodels, all terms are nested in them
        return model._group_codes[0]
    known = [(t.n_levels, t.codes) for t in factors.values()]
    if bound is not None and (is_factor or not known):  # without factors rows are cases
        known.append((bound.n_groups, bound.group_codes))
    if not known:
        raise ValueError("the model has no grouping factor; name one by group=")
    return min(known, key=lambda own: own[0])[1]


def _codes_of(model: Model, group: Any) -> np.ndarray:
    """Codes of a column of the data, or of labels that are given, one a row."""
    labels = group = as_pandas(group, model.data.row_labels)
    if np.ndim(group) == 0:
        labels = named_column(getattr(model.data, "frame", None), group)
        if labels is None:
            factors = [t.group for t in model.random_terms]
            raise ValueError(
                f"group={group!r} is neither a grouping factor of the model "
                f"({', '.join(factors) or 'none'}) nor a column of its data"
                f"{did_you_mean(group, factors)}"
            )
    else:
        warn_if_reordered(group, model.data.row_labels, "group")
    return row_codes(labels, model.nobs, "group")


def _is_likelihood(fit):
    """Whether estimates maximize a likelihood of the rows."""
    return fit.residual is None or not any(fit.residual.bound.of_fitted)


def _engine_fit(model, at, terms, number, reml, whole) -> Fit:
    if whole.residual is not None:
        rows = rows_of_groups(whole.residual.rows, at, terms, number)
        return fit_near(whole, rows)
    weights, offset = model.weights, model.offset
    y = model.endog[at] if offset is None else model.endog[at] - offset[at]
    weights = None if weights is None else weights[at]
    return fit_design(prepare_design(y, model.exog[at], terms, weights), reml, far=False)


def _model_of_rows(model, at, terms, own, number, whole) -> Any:
    """A new model of some rows of another one."""
    names = model.exog_names
    exog = pd.DataFrame(model.exog[at], columns=names) if len(names) else None
    endog = pd.Series(model.endog[at], name=model.endog_names)
    out = type(model)(endog, exog, terms=terms, **own)
    if whole.residual is not None:  # of levels and visits there are as many as ever
        out.residual = on_whole_groups(whole.residual.bound, at, number)
        out.data.param_names = list(model.data.param_names)
    return out
