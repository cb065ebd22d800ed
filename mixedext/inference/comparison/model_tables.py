"""Tables of several fitted models: likelihood-ratio tests, information criteria."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from mixedext.exceptions import user_stacklevel
from mixedext.inference.comparison.criteria import (
    corrected_criterion,
    information_criterion,
)
from mixedext.inference.fixed_effects.hypotheses import likelihood_ratio_test
from mixedext.inference.submodels.nesting import check_same_data, doubts, same_fixed_space
from mixedext.inference.submodels.other_criteria import as_mixed, by_ml, is_mixed, unwrapped
from mixedext.inference.submodels.smaller_models import formula_text
from mixedext.tables.noted_table import NotedTable

__all__ = ["anova", "model_table"]

_REFITTED = "Fitted by REML, refitted by maximum likelihood for this comparison: {}."


def anova(*results, refit=True, names=None):
    """Likelihood-ratio tests of nested models, each against the one before it.

    Parameters
    ----------
    *results : MixedLMResults or RegressionResults
        Results of two or more models of the same response; those of statsmodels' OLS or
        WLS are models without random effects.  At least one is a mixed model's.
    refit : bool, optional
        Whether models fitted by REML are fitted by maximum likelihood for the comparison,
        as lme4 does.  False is refused unless all fits are of the same kind and, under
        REML, their fixed effects span the same space.
    names : list of str, optional
        Names of the models; "model 1" and so on, in the order given, if None.

    Returns
    -------
    NotedTable
        A DataFrame, a row a model by the number of parameters: ``npar``, ``AIC``,
        ``BIC``, ``logLik``, ``deviance``, ``Chisq``, ``Df`` and ``Pr(>Chisq)``.  Its
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
    >>> table[["npar", "Chisq", "Df"]].round(3)
             npar   Chisq   Df
    model 1     5     NaN  NaN
    model 2     6  23.537  1.0
    >>> print(table.notes[0])
    Fitted by REML, refitted by maximum likelihood for this comparison: model 1, model 2.
    """
    fits, names = _gathered(results, names, "anova", 2)
    fits, notes = _by_one_criterion(fits, names, refit)
    order = sorted(range(len(fits)), key=lambda i: fits[i].n_params)
    rows, previous = {}, None
    for i in order:
        fit, name = fits[i], names[i]
        row = {
            "npar": int(fit.n_params),
            "AIC": information_criterion(fit, 2),
            "BIC": information_criterion(fit, np.log(fit.nobs)),
            "logLik": fit.llf,
            "deviance": fit.deviance,
        }
        test = None
        if previous is not None:
            before, before_name = previous
            df = int(fit.n_params - before.n_params)
            test = likelihood_ratio_test(fit.llf, before.llf, df)
            for note, kind in doubts(before, fit):
                note = f"{name} against {before_name}: {note}"
                notes.append(note)
                if kind is not None:
                    warnings.warn(note, kind, stacklevel=user_stacklevel())
        row["Chisq"] = test.statistic if test else np.nan
        row["Df"] = test.df if test else np.nan
        row["Pr(>Chisq)"] = test.pvalue if test else np.nan
        rows[name] = row
        previous = fit, name
    heading = "\n".join(f"{names[i]}: {_said(fits[i].model)}" for i in order)
    return NotedTable.of(pd.DataFrame.from_dict(rows, orient="index"), heading, notes)


def model_table(*results, names=None, refit=True):
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
        A DataFrame, a row a model: ``npar``, ``logLik``, ``AIC``, ``AICc``, ``BIC``,
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
    fits, names = _gathered(results, names, "model_table", 1)
    fits, notes = _by_one_criterion(fits, names, refit)
    table = pd.DataFrame(
        {
            "npar": [int(f.n_params) for f in fits],
            "logLik": [f.llf for f in fits],
            "AIC": [information_criterion(f, 2) for f in fits],
            "AICc": [corrected_criterion(f) for f in fits],
            "BIC": [information_criterion(f, np.log(f.nobs)) for f in fits],
        },
        index=names,
    )
    table["delta"] = table["AICc"] - table["AICc"].min()
    weight = np.exp(-0.5 * table["delta"])
    table["weight"] = weight / weight.sum()
    heading = "\n".join(f"{n}: {_said(f.model)}" for n, f in zip(names, fits, strict=True))
    return NotedTable.of(table.sort_values("AICc", kind="stable"), heading, notes)


def _gathered(results, names, what, least):
    if len(results) < least:
        raise ValueError(f"{what} needs the results of at least {least} models")
    own = [r for r in map(unwrapped, results) if is_mixed(r)]
    if not own:
        raise TypeError(f"{what}: none of the models is a mixed model of mixedext")
    fits = [as_mixed(r, own[0]) for r in results]
    if names is None:
        names = [f"model {i + 1}" for i in range(len(fits))]
    elif len(names) != len(fits) or len(set(names)) != len(fits):
        raise ValueError(f"names must be {len(fits)} different names, one for each model")
    check_same_data(fits)
    return fits, list(names)


def _by_one_criterion(fits, names, refit):
    """Fits whose likelihoods can be compared, and notes on which were refitted."""
    if not refit:
        _check_comparable(fits)
        return fits, []
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
                    "be compared. Use refit=True"
                )


def _said(model):
    formula = getattr(model, "formula", None)
    return formula if isinstance(formula, str) else formula_text(model)
