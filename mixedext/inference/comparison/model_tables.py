"""Tables of several fitted models: likelihood-ratio tests, information criteria."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.calls import answering
from mixedext.exceptions import user_stacklevel
from mixedext.fitted import Fitted, Model
from mixedext.inference.comparison.criteria import (
    corrected_criterion,
    deviance,
    information_criterion,
    llf,
    n_params,
)
from mixedext.inference.comparison.generalized_tests import (
    generalized_anova,
    is_generalized,
)
from mixedext.inference.fixed_effects.hypotheses import likelihood_ratio_test
from mixedext.inference.submodels.nesting import (
    check_same_data,
    doubts,
    has_boundary,
    same_fixed_space,
)
from mixedext.inference.submodels.other_criteria import (
    as_mixed,
    by_ml,
    check_is_fitted,
    is_mixed,
)
from mixedext.inference.submodels.smaller_models import formula_text
from mixedext.tables.noted_table import NotedTable

__all__ = ["anova", "model_table"]

_REFITTED = "Fitted by REML, refitted by maximum likelihood for this comparison: {}."


@answering
def anova(
    *results: Any, refit: bool = True, names: Sequence[str] | None = None
) -> NotedTable:
    """Likelihood-ratio tests of nested models, each against the one before it.

    Parameters
    ----------
    *results : MixedLMResults or RegressionResults
        Results of two or more models of the same response; those of statsmodels' OLS or
        WLS are models without random effects.  At least one is a mixed model's.  Or of
        generalized mixed models, GLM's those without random effects.
    refit : bool, optional
        Whether models fitted by REML are fitted by maximum likelihood for the comparison,
        as lme4 does; models with a residual covariance are compared by REML where all
        have the same fixed effects.  False is refused unless all fits are of the same kind
        and, under REML, their fixed effects span the same space.
    names : list of str, optional
        Names of the models; "model 1" and so on, in the order given, if None.

    Returns
    -------
    NotedTable
        A DataFrame, a row a model by the number of parameters: ``n_params``, ``aic``,
        ``bic``, ``llf``, ``deviance``, ``statistic``, ``df`` and ``pvalue``.  Its
        ``notes`` say which models were refitted and what is wrong with a p-value.

    Raises
    ------
    ValueError
        If the responses, rows or weights differ: the message says in what.  If ``refit``
        is False and the likelihoods cannot be compared.
    TypeError
        If something else than results of such models is given.

    Warns
    -----
    NestingWarning
        If a model is no special case of the next.
    BoundaryWarning
        If variances are tested: the p-value is then too large.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> small = mx.mixedlm("Reaction ~ 1 + (Days | Subject)", data).fit()
    >>> large = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> table = mx.anova(small, large)
    >>> table[["n_params", "statistic", "df"]].round(3)
             n_params  statistic   df
    model 1         5        NaN  NaN
    model 2         6     23.537  1.0
    >>> print(table.notes[0])
    Fitted by REML, refitted by maximum likelihood for this comparison: model 1, model 2.
    """
    if len(results) > 1 and any(map(is_generalized, results)):
        return generalized_anova(results, names)
    fits, labels = _gathered(results, names, "anova", 2)
    fits, notes = _by_one_criterion(fits, labels, refit)
    order = sorted(range(len(fits)), key=lambda i: n_params(fits[i]))
    rows: dict[str, dict[str, float]] = {}
    for place, i in enumerate(order):
        fit, name = fits[i], labels[i]
        row = {
            "n_params": n_params(fit),
            "aic": information_criterion(fit, 2),
            "bic": information_criterion(fit, np.log(fit.nobs)),
            "llf": llf(fit),
            "deviance": deviance(fit),
            "statistic": np.nan,
            "df": np.nan,
            "pvalue": np.nan,
        }
        if place:
            before = fits[order[place - 1]]
            df = n_params(fit) - n_params(before)
            boundary = has_boundary(before, fit)
            test = likelihood_ratio_test(llf(fit), llf(before), df, boundary)
            row |= {"statistic": test.statistic, "df": df, "pvalue": test.pvalue}
            for doubt, kind in doubts(before, fit):
                note = f"{name} against {labels[order[place - 1]]}: {doubt}"
                notes.append(note)
                if kind is not None:
                    warnings.warn(note, kind, stacklevel=user_stacklevel())
        rows[name] = row
    heading = "\n".join(f"{labels[i]}: {_said(fits[i].model)}" for i in order)
    return NotedTable.of(pd.DataFrame.from_dict(rows, orient="index"), heading, notes)


@answering
def model_table(
    *results: Any, names: Sequence[str] | None = None, refit: bool = True
) -> NotedTable:
    """Information criteria of several models of the same response, best AICc first.

    Parameters
    ----------
    *results : MixedLMResults or RegressionResults
        Results of one or more models; at least one is a mixed model's.
    names : list of str, optional
        Names of the models; "model 1" and so on, in the order given, if None.
    refit : bool, optional
        As for ``anova``.

    Returns
    -------
    NotedTable
        A DataFrame, a row a model: ``n_params``, ``llf``, ``aic``, ``aicc``, ``bic``,
        ``delta`` (AICc less the least) and ``weight`` (Akaike weight, from AICc).

    Raises
    ------
    ValueError, TypeError
        As for ``anova``.

    References
    ----------
    Burnham and Anderson (2002), Model Selection and Multimodel Inference, Springer.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> formulas = [f"Reaction ~ {x} + (Days | Subject)" for x in ("1", "Days")]
    >>> fits = [mx.mixedlm(formula, data).fit() for formula in formulas]
    >>> mx.model_table(*fits)["weight"].round(3).to_dict()
    {'model 2': 1.0, 'model 1': 0.0}
    """
    fits, labels = _gathered(results, names, "model_table", 1)
    fits, notes = _by_one_criterion(fits, labels, refit)
    table = pd.DataFrame(
        {
            "n_params": [n_params(f) for f in fits],
            "llf": [llf(f) for f in fits],
            "aic": [information_criterion(f, 2) for f in fits],
            "aicc": [corrected_criterion(f) for f in fits],
            "bic": [information_criterion(f, np.log(f.nobs)) for f in fits],
        },
        index=labels,
    )
    table["delta"] = table["aicc"] - table["aicc"].min()
    weight = np.exp(-0.5 * table["delta"])
    table["weight"] = weight / weight.sum()
    heading = "\n".join(f"{n}: {_said(f.model)}" for n, f in zip(labels, fits, strict=True))
    return NotedTable.of(table.sort_values("aicc", kind="stable"), heading, notes)


def _gathered(
    results: Sequence[Any], names: Sequence[str] | None, what: str, least: int
) -> tuple[list[Fitted], list[str]]:
    """The records of the fits, and their names."""
    if len(results) == 1 and isinstance(results[0], list | tuple):
        raise TypeError(f"{what} takes results one by one: mx.{what}(*results)")
    if len(results) < least:
        one = ""
        if results:
            linear = (
                getattr(getattr(results[0], "fitted", None), "generalized", None) is None
            )
            how = "anova" if linear else "wald_test_terms"
            one = f"; result.{how}() tests the terms of one model"
        raise ValueError(f"{what} needs the results of at least {least} models{one}")
    for one in results:
        check_is_fitted(one)
    own = [r for r in results if is_mixed(r)]
    if not own:
        raise TypeError(f"{what}: none of the models is a mixed model of mixedext")
    fits = [as_mixed(r, own[0]) for r in results]
    if names is None:
        names = [f"model {i + 1}" for i in range(len(fits))]
    elif len(names) != len(fits) or len(set(names)) != len(fits):
        raise ValueError(f"names must be {len(fits)} different names, one for each model")
    check_same_data(fits)
    return fits, list(names)


def _by_one_criterion(
    fits: list[Fitted], names: Sequence[str], refit: bool
) -> tuple[list[Fitted], list[str]]:
    """Fits whose likelihoods can be compared, and notes on which were refitted."""
    if not refit:
        _check_comparable(fits)
        return fits, []
    beside = any(f.fit.residual is not None for f in fits) and all(f.reml for f in fits)
    # residual covariances are compared as they were fitted, where that can be
    if beside and all(same_fixed_space(fits[0], fit) for fit in fits[1:]):
        return fits, ["Restricted likelihoods: all have the same fixed effects."]
    changed = [n for n, f in zip(names, fits, strict=True) if f.reml]
    notes = [_REFITTED.format(", ".join(changed))] if changed else []
    return [by_ml(f) for f in fits], notes


def _check_comparable(fits):
    if len({f.reml for f in fits}) > 1:
        raise ValueError(
            "some models are fitted by REML and some by ML; their likelihoods cannot be "
            "compared. Use refit=True"
        )
    if fits[0].reml:
        for fit in fits[1:]:
            if not same_fixed_space(fits[0], fit):
                raise ValueError(
                    "restricted likelihoods of models with different fixed effects cannot "
                    "be compared. Use refit=True, which fits by maximum likelihood"
                )


def _said(model: Model) -> str:
    formula = getattr(model, "formula", None)
    return formula if isinstance(formula, str) else formula_text(model)
