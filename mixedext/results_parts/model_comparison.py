"""Comparing fitted models: likelihood-ratio, Kenward-Roger and Satterthwaite tests."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from statsmodels.regression.linear_model import RegressionResults
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from mixedext.exceptions import (
    BoundaryWarning,
    DesignError,
    NestingWarning,
    user_stacklevel,
)
from mixedext.inference.comparison import RowBasis, likelihood_ratio_test
from mixedext.inference.covariance_nesting import covariance_is_nested
from mixedext.model_parts.fit_arguments import check_reml
from mixedext.results_parts.criteria import information_criterion
from mixedext.results_parts.noted_table import NotedTable
from mixedext.results_parts.smaller_models import formula_text

try:
    from statsmodels.regression.linear_model import CompareLRTestResult
except ImportError:  # statsmodels 0.14 gives a plain tuple

    class CompareLRTestResult(NamedTuple):
        """Likelihood-ratio test, as statsmodels 0.15 has it."""

        statistic: float
        pvalue: float
        df_diff: int


__all__ = [
    "ModelComparison",
    "ModelTest",
    "anova",
    "by_ml",
    "by_reml",
    "check_same_data",
    "check_same_rows",
    "doubts",
    "fixed_is_nested",
    "model_table",
    "quiet_fit",
    "refitted",
    "restriction",
    "same_fixed_space",
    "unwrapped",
]

_CONSERVATIVE = (
    "variances that only the larger model has are zero, on the boundary, under the "
    "hypothesis: the chi-squared p-value is too large (conservative)"
)
_REFITTED = "Fitted by REML, refitted by maximum likelihood for this comparison: {}."


@dataclass(frozen=True)
class ModelTest:
    """An F test of a model against a smaller one.

    Attributes
    ----------
    statistic : float
        F, already times ``scaling``.
    df_num : int
        Number of restrictions.
    df_denom : float
        Denominator degrees of freedom.
    pvalue : float
        Of F with these degrees of freedom.
    scaling : float
        Factor on the Wald F; 1 but for Kenward-Roger.
    method : str
        "kenward-roger" or "satterthwaite".
    """

    statistic: float
    df_num: int
    df_denom: float
    pvalue: float
    scaling: float
    method: str

    @classmethod
    def of(cls, test, method):
        """From an ``FTest``."""
        return cls(
            float(test.statistic),
            int(test.df_num),
            float(test.df_denom),
            float(test.pvalue),
            float(test.scaling),
            method,
        )

    def __repr__(self):
        scaled = f", scaling {self.scaling:.6g}" if self.scaling != 1 else ""
        return (
            f"<F test ({self.method}): F = {self.statistic:.6g}, df = {self.df_num} and "
            f"{self.df_denom:.6g}, p = {self.pvalue:.4g}{scaled}>"
        )


def _corrected_criterion(fit):
    spare = fit.nobs - fit.n_params - 1
    if spare <= 0:
        return np.inf
    return information_criterion(fit, 2) + 2 * fit.n_params * (fit.n_params + 1) / spare


class ModelComparison:
    """The part of the results that compares them with a smaller model's."""

    @property
    def aicc(self):
        """Akaike's criterion with the correction for few observations; NaN where it is."""
        return _corrected_criterion(self) if self.has_criteria else np.nan

    def compare_lr_test(self, restricted, large_sample=False):
        """Likelihood-ratio test against a smaller model.

        Fits by REML are compared as they are if their fixed effects span the same space;
        else both models are fitted by maximum likelihood for the test.

        Parameters
        ----------
        restricted : MixedLMResults or RegressionResults
            Results of the smaller model; those of OLS or WLS are the model without
            random effects.
        large_sample : bool, optional
            Kept for statsmodels; has no effect: the test is by chi-squared anyway.

        Returns
        -------
        CompareLRTestResult
            statistic, pvalue, df_diff.

        Raises
        ------
        ValueError
            If the models are on different data, or this one has no more parameters.

        Warns
        -----
        NestingWarning
            If the smaller model is no special case of this one.
        BoundaryWarning
            If variances are tested: the p-value is then too large.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> full = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit(reml=False)
        >>> small = mx.mixedlm("Reaction ~ 1 + (1 | Subject)", data).fit(reml=False)
        >>> full.compare_lr_test(small).df_diff
        1
        """
        small = as_mixed(restricted, self)
        check_same_data([small, self])
        keep = small.reml and self.reml and same_fixed_space(small, self)
        large = self if keep else by_ml(self)
        small = small if keep else by_ml(small)
        if small.n_params >= large.n_params:
            raise ValueError(
                f"restricted has {small.n_params} parameters and this model "
                f"{large.n_params}; call compare_lr_test of the larger model"
            )
        for note, kind in doubts(small, large):
            if kind is not None:
                warnings.warn(note, kind, stacklevel=user_stacklevel())
        test = likelihood_ratio_test(
            large.llf, small.llf, int(large.n_params - small.n_params)
        )
        return CompareLRTestResult(test.statistic, test.pvalue, test.df)

    def compare_kr_test(self, restricted, refit=False):
        """Kenward and Roger's F test against a model with fewer fixed effects.

        Parameters
        ----------
        restricted : MixedLMResults, MixedLM or array_like
            The smaller model or its results (its random part has no effect), or a matrix
            L of which L b = 0 is tested, a column for each fixed effect.
        refit : bool, optional
            Whether a model fitted by maximum likelihood is fitted again by REML first.

        Returns
        -------
        ModelTest
            statistic, df_num, df_denom, pvalue, scaling.

        Raises
        ------
        DesignError
            If the smaller model's fixed effects are not in the span of this one's, or
            are all of it; a ValueError.
        ValueError
            If this fit is not by REML (and ``refit`` is False), the rows differ, or L has
            the wrong width.

        References
        ----------
        Kenward and Roger (1997), Small sample inference for fixed effects from
        restricted maximum likelihood, Biometrics 53.
        Halekoh and Hojsgaard (2014), A Kenward-Roger approximation and parametric
        bootstrap methods for tests in linear mixed models: the R package pbkrtest,
        Journal of Statistical Software 59(9).
        """
        return _model_test(by_reml(self, refit), restricted, "kenward-roger")

    def compare_satterthwaite_test(self, restricted):
        """F test with Satterthwaite's degrees of freedom; see ``compare_kr_test``."""
        return _model_test(self, restricted, "satterthwaite")


def _model_test(results, restricted, method):
    rows, values = restriction(results, restricted)
    test = results._fixed_tests(method, True).f_test(rows, values)
    return ModelTest.of(test, method)


def restriction(results, restricted):
    """Rows over the coefficients kept, and values, that make a model the smaller one."""
    if not hasattr(restricted, "model") and not hasattr(restricted, "exog"):
        return _matrix_rows(results, restricted), 0.0
    model, small = results.model, getattr(restricted, "model", restricted)
    check_same_rows(small, model, "restricted", "this model")
    for each in (model, small):
        if hasattr(each, "_need_rows"):
            each._need_rows()
    shift = _shift(small, model)
    basis = RowBasis(model.exog, results.engine_fit.design.basis)
    exog = np.asarray(small.exog, float).reshape(len(model.endog), -1)
    rows, values = basis.restriction(exog, shift)
    if not len(rows):
        raise DesignError(
            "restricted has all the fixed effects of this model: there is nothing to test"
        )
    return rows, values


def _matrix_rows(results, matrix):
    kept = results.engine_fit.design.basis.kept
    rows = np.atleast_2d(np.asarray(matrix, float))
    if rows.ndim != 2 or rows.shape[1] != results.k_fe:
        raise ValueError(
            f"restricted has shape {rows.shape}; a matrix of restrictions has a column "
            f"for each of the {results.k_fe} fixed effects"
        )
    dropped = np.setdiff1d(np.arange(results.k_fe), kept)
    used = dropped[(rows[:, dropped] != 0).any(axis=0)]
    if len(used):
        names = ", ".join(results.model.exog_names[j] for j in used)
        raise DesignError(
            f"restricted is not estimable: {names} depend on other columns of exog"
        )
    return rows[:, kept]


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
        If the responses, rows or weights differ: the message says in what.

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
    notes = []
    if refit:
        changed = [n for n, f in zip(names, fits, strict=True) if f.reml]
        fits = [by_ml(f) for f in fits]
        if changed:
            notes.append(_REFITTED.format(", ".join(changed)))
    else:
        _check_comparable(fits)
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
    notes = []
    if refit:
        changed = [n for n, f in zip(names, fits, strict=True) if f.reml]
        fits = [by_ml(f) for f in fits]
        if changed:
            notes.append(_REFITTED.format(", ".join(changed)))
    else:
        _check_comparable(fits)
    table = pd.DataFrame(
        {
            "npar": [int(f.n_params) for f in fits],
            "logLik": [f.llf for f in fits],
            "AIC": [information_criterion(f, 2) for f in fits],
            "AICc": [_corrected_criterion(f) for f in fits],
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
    own = [r for r in map(unwrapped, results) if isinstance(r, ModelComparison)]
    if not own:
        raise TypeError(f"{what}: none of the models is a mixed model of mixedext")
    fits = [as_mixed(r, own[0]) for r in results]
    if names is None:
        names = [f"model {i + 1}" for i in range(len(fits))]
    elif len(names) != len(fits) or len(set(names)) != len(fits):
        raise ValueError(f"names must be {len(fits)} different names, one for each model")
    check_same_data(fits)
    return fits, list(names)


def unwrapped(results):
    """Results without the wrapper that attaches labels."""
    return getattr(results, "_results", results)


def as_mixed(results, like):
    """Results of a mixed model; of OLS or WLS as a model without random effects."""
    results = unwrapped(results)
    if isinstance(results, ModelComparison):
        return results
    if not isinstance(results, RegressionResults):
        raise TypeError(
            f"results of a mixed model of mixedext, or of statsmodels' OLS or WLS, are "
            f"needed, not {type(results).__name__}"
        )
    model = results.model
    kind = type(model).__name__
    if kind not in ("OLS", "WLS"):
        raise TypeError(f"results of OLS or WLS are needed, not of {kind}")
    # the rows in memory, not those that the model has multiplied by its weights
    weights = np.asarray(model.weights, float) if kind == "WLS" else None
    formula = getattr(model, "formula", None)
    linear = type(like.model)(
        model.data.orig_endog, model.data.orig_exog, terms=[], weights=weights
    )
    linear.formula = formula or f"{kind} of {model.endog_names}"
    return unwrapped(linear.fit(reml=like.reml))


def by_ml(results):
    """The results themselves if they are by maximum likelihood, or else a refit."""
    return refitted(results, False)


def by_reml(results, refit):
    """The results themselves if they are by REML, or else a refit if that is wanted."""
    if not (results.reml or refit):
        raise ValueError(
            "Kenward and Roger's test needs a REML fit, and this one is by maximum "
            "likelihood: pass refit=True to have the model fitted by REML, or use "
            "Satterthwaite's test"
        )
    return refitted(results, True)


def refitted(results, reml):
    """The same model fitted by REML or ML, with the same parameters held or penalized."""
    check_reml(reml)
    if results.reml == reml:
        return results
    model, before = results.model, results.model.reml
    try:
        return quiet_fit(model, reml, **results._held_arguments("the other criterion"))
    finally:
        model.reml = before


def quiet_fit(model, reml, **arguments):
    """Results of a fit; that it is singular is said of the results, not by a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        return unwrapped(model.fit(reml=reml, **arguments))


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


def check_same_data(fits, names=None):
    names = names or [f"model {number}" for number in range(1, len(fits) + 1)]
    for name, fit in zip(names[1:], fits[1:], strict=True):
        check_same_rows(fit.model, fits[0].model, name, names[0])


def check_same_rows(model, first, name, first_name):
    """Raise ValueError unless two models have the same response, rows and weights."""
    there = f"{name} and {first_name} are not on the same data:"
    n, m = int(model.nobs) if hasattr(model, "nobs") else len(model.endog), first.nobs
    if n != m:
        raise ValueError(
            f"{there} {n} and {m} rows (rows with missing values may have been left out "
            "of one). Fit both on the rows that are complete for both"
        )
    if model.endog is None or first.endog is None:
        if model.endog_names != first.endog_names:
            raise ValueError(
                f"{there} the responses are {model.endog_names!r} and {first.endog_names!r}"
            )
        return
    one, other = (np.ravel(np.asarray(m.data.endog, float)) for m in (model, first))
    different = int((one != other).sum())
    if different:
        raise ValueError(f"{there} the responses differ in {different} of {n} rows")
    weights = [
        np.ones(n) if w is None else np.asarray(w, float)
        for w in map(_weights, (model, first))
    ]
    if not np.allclose(*weights, rtol=1e-12):
        raise ValueError(f"{there} their weights differ")


def _weights(model):
    weights = getattr(model, "weights", None)
    return weights if np.ndim(weights) else None


def _shift(small, large):
    """Offset of the smaller model less that of the larger; None if both have none."""
    offsets = [getattr(m, "offset", None) for m in (small, large)]
    if offsets[0] is None and offsets[1] is None:
        return None
    one, other = (0.0 if o is None else np.asarray(o, float) for o in offsets)
    return np.broadcast_to(one - other, (large.nobs,)).astype(float)


def _in_memory(*fits):
    return all(f.model.has_rows for f in fits)


def same_fixed_space(one, other):
    bases = [f.engine_fit.design.basis for f in (one, other)]
    if bases[0].rank != bases[1].rank:
        return False
    if not _in_memory(one, other):
        names = [set(f.model.exog_names) for f in (one, other)]
        return names[0] == names[1]
    return fixed_is_nested(one, other)


def fixed_is_nested(small, large):
    exog = small.model.exog[:, small.engine_fit.design.basis.kept]
    basis = RowBasis(large.model.exog, large.engine_fit.design.basis)
    if not basis.spans(exog).all():
        return False
    shift = _shift(small.model, large.model)
    return shift is None or not shift.any() or bool(basis.spans(shift[:, None]).all())


def doubts(small, large):
    """What is to be said of a likelihood-ratio test: notes and their classes of warning."""
    if not _in_memory(small, large):
        yield "whether the models are nested is not known without the rows", None
    else:
        if not fixed_is_nested(small, large):
            yield "not nested: the fixed effects are no special case", NestingWarning
        if not covariance_is_nested(
            small.model.random_terms, large.model.random_terms, large.model.weights
        ):
            yield "not nested: the random effects are no special case", NestingWarning
    if len(large.theta) > len(small.theta):
        yield _CONSERVATIVE, BoundaryWarning


def _said(model):
    formula = getattr(model, "formula", None)
    return formula if isinstance(formula, str) else formula_text(model)
