"""Likelihood-ratio tests of generalized mixed models.

A model without some random effects is the same deviance with their rows of the covariance
factors held at zero; at no random effects at all it is the likelihood of the generalized
linear model.  One variance that is zero under the hypothesis, with its covariances, has the
mixture of chi-squared laws with df - 1 and df degrees of freedom in equal parts.

References
----------
Self and Liang (1987), Journal of the American Statistical Association 82, 605-610.
Stram and Lee (1994), Variance components testing in the longitudinal mixed effects model,
Biometrics 50, 1171-1177.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy import optimize

from mixedext.arguments import check_choice
from mixedext.engine.generalized.design import prepare_rows
from mixedext.engine.generalized.fit import GeneralizedFit, fit_generalized, make_deviance
from mixedext.engine.generalized.outer import OuterDeviance
from mixedext.engine.generalized.search import search_minimum
from mixedext.engine.generalized.start import linear_start
from mixedext.exceptions import BoundaryWarning, NestingWarning, user_stacklevel
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.bootstrap.response_draws import response_of
from mixedext.inference.comparison.drop_terms import droppable_terms
from mixedext.inference.comparison.model_comparison import CompareLRTestResult
from mixedext.inference.fixed_effects.hypotheses import likelihood_ratio_test
from mixedext.inference.random_effects.live_engine import live_engine
from mixedext.inference.submodels.covariance_nesting import covariance_is_nested
from mixedext.inference.submodels.fixed_terms import fixed_terms
from mixedext.inference.submodels.smaller_models import fixed_columns
from mixedext.tables.noted_table import NotedTable
from mixedext.tables.statistical_tests import TestResult

__all__ = [
    "GlmFit",
    "Rated",
    "check_comparable",
    "generalized_anova",
    "generalized_drop1",
    "generalized_lr_test",
    "generalized_ranova",
    "glm_fit",
    "is_generalized",
    "rated",
]

_MIXTURE = (
    "one variance is zero, on the boundary, under the hypothesis: the p-value is by the "
    "mixture of chi-squared laws in equal parts"
)
_CONSERVATIVE = (
    "several variances or a dispersion are on the boundary under the hypothesis: the "
    "chi-squared p-value is too large (conservative); bootstrap_test has none of this"
)


@dataclass(frozen=True, eq=False)
class Rated:
    """What a likelihood-ratio test reads of a model.

    Attributes
    ----------
    llf : float
        Log-likelihood with all constants.
    rank, n_theta, n_effects, n_kappa : int
        Fixed effects, elements of the covariances, random effects of a level of all
        terms, dispersions.
    exog : ndarray
        Columns of the fixed effects that have coefficients, (n, rank).
    terms : list
        Random terms.
    offset : ndarray or None
        Offset, (n,).
    text, family : str
        Formula, and family with link.
    nobs : float
        Rows.
    """

    llf: float
    rank: int
    n_theta: int
    n_effects: int
    n_kappa: int
    exog: np.ndarray
    terms: list[Any]
    offset: np.ndarray | None
    text: str
    family: str
    nobs: float

    @property
    def n_params(self) -> int:
        """Number of parameters."""
        return self.rank + self.n_theta + self.n_kappa


def is_generalized(results: Any) -> bool:
    """Whether these are results of a generalized mixed model."""
    fitted = getattr(results, "fitted", None)
    return isinstance(fitted, Fitted) and fitted.generalized is not None


def rated(results: Any, like: Fitted) -> Rated:
    """A generalized mixed model, or statsmodels' GLM of the same response, as ``Rated``.

    Raises
    ------
    TypeError
        If these are other results.
    ValueError
        If the response differs.
    """
    if is_generalized(results):
        fitted = results.fitted
        rows, own = fitted.need_rows(), fitted.generalized
        _check_response(response_of(fitted), response_of(like))
        effects = sum(s.k for s in own.design.structures)
        model = cast(Any, fitted.model)
        text = getattr(model, "formula", None) or f"MixedGLM of {model.endog_names}"
        return Rated(
            own.log_likelihood,
            fitted.fixed.rank,
            len(own.theta),
            effects,
            len(own.kappa),
            rows.exog[:, fitted.fixed.kept],
            rows.terms,
            rows.offset,
            text,
            own.family.label,
            fitted.nobs,
        )
    return _rated_glm(getattr(results, "_results", results), like)


def _check_response(one, other):
    same = len(one.y) == len(other.y) and np.array_equal(one.y, other.y)
    for name in ("trials", "weights", "counts"):
        a, b = getattr(one, name), getattr(other, name)
        same = same and (a is None) == (b is None) and (a is None or np.array_equal(a, b))
    if not same:
        raise ValueError(
            "the models are not on the same data: responses, trials or weights differ "
            "(rows with missing values may have been left out of one)"
        )


def _rated_glm(results, like):
    """statsmodels' GLM, with the constants that likelihoods have here."""
    model = getattr(results, "model", None)
    if model is None or type(model).__name__ != "GLM":
        raise TypeError(
            "results of generalized mixed models, or of statsmodels' GLM, are needed, not "
            f"{type(results).__name__}"
        )
    engine, response = live_engine(like), response_of(like)
    observed = np.asarray(response.observed, float)
    endog = np.asarray(model.endog, float)
    if endog.shape != observed.shape or not np.allclose(
        endog, observed, rtol=1e-9, equal_nan=True
    ):
        raise ValueError(
            "the GLM is not on the same data: its response differs from that of the mixed "
            "model (rows with missing values may have been left out of one)"
        )
    family, rows = like.generalized.family, engine.rows
    eta = np.asarray(family.link.eta(np.asarray(results.fittedvalues, float)), float)

    def loss(kappa: float) -> float:
        value = np.array([kappa]) if family.n_dispersion else np.zeros(0)
        return float(rows.newton(eta, value)[0] + rows.constant(value))

    least = loss(0.0)
    if family.n_dispersion:
        found = optimize.minimize_scalar(loss, bounds=(-25, 25), method="bounded")
        least = float(found.fun)
    exog = np.asarray(model.exog, float)
    rank = int(np.linalg.matrix_rank(exog))
    formula = getattr(model, "formula", None) or "GLM"
    return Rated(
        -least,
        rank,
        0,
        0,
        family.n_dispersion,
        exog,
        [],
        None,
        f"{formula} (GLM)",
        family.label,
        like.nobs,
    )


@dataclass(frozen=True, eq=False)
class GlmFit:
    """statsmodels' GLM as the engine has it.

    Attributes
    ----------
    engine : GeneralizedFit
        A fit of its fixed effects, whose random effects are held at zero.
    eta : ndarray
        Linear predictor, (n,).
    kappa : ndarray
        Logarithms of dispersions, at their maximum.
    """

    engine: GeneralizedFit
    eta: np.ndarray
    kappa: np.ndarray


def glm_fit(results: Any, like: Fitted) -> GlmFit:
    """statsmodels' GLM of the response of a mixed model, as its refits start.

    Parameters
    ----------
    results : GLMResults
        The fit.
    like : Fitted
        The mixed model beside it.
    """
    results = getattr(results, "_results", results)
    engine, rows = live_engine(like), like.need_rows()
    design = prepare_rows(np.asarray(results.model.exog, float), rows.terms, rows.offset)
    inner = make_deviance(design, engine.rows, max(engine.n_agq, 1), engine.laplace)
    psi = np.concatenate([np.zeros(inner.n_theta), np.zeros(design.rank), engine.kappa])
    free = np.arange(inner.n_theta, len(psi))
    beta, kappa, _ = linear_start(design, engine.rows)
    psi[inner.n_theta :] = np.concatenate([beta, kappa])
    found = search_minimum(inner, psi, None, free).evaluation
    _, beta, kappa = inner.split(found.psi)
    eta = design.x @ beta
    if rows.offset is not None:
        eta = eta + rows.offset
    own = replace(engine, design=design, objective=inner, evaluation=found)
    return GlmFit(own, eta, kappa)


def check_comparable(results: Sequence[Any]) -> Fitted:
    """Refuse fits by different integrals; the record of the first mixed one.

    Raises
    ------
    ValueError
        If the numbers of nodes or the information in the determinant differ.
    """
    fits = [r.fitted for r in results if is_generalized(r)]
    ways = {(f.generalized.engine.n_agq, f.generalized.engine.laplace) for f in fits}
    if len(ways) > 1:
        said = ", ".join(f"n_agq={n}, laplace={kind!r}" for n, kind in sorted(ways))
        raise ValueError(
            f"the likelihoods are by different integrals ({said}): fit all models with the "
            "same n_agq= and laplace="
        )
    if any(f.generalized.engine.n_agq == 0 for f in fits):
        raise ValueError("n_agq=0 is no maximum of the likelihood: fit with n_agq=1")
    return fits[0]


def _lr_test(small: Rated, large: Rated) -> tuple[TestResult, list[tuple[str, Any]]]:
    """Test of two models, and what is to be said of it."""
    df = large.n_params - small.n_params
    said: list[tuple[str, Any]] = []
    if not _spans(large.exog, small.exog):
        said.append(("not nested: the fixed effects are no special case", NestingWarning))
    if not covariance_is_nested(small.terms, large.terms, None):
        said.append(("not nested: the random effects are no special case", NestingWarning))
    if small.family != large.family and large.n_kappa == small.n_kappa:
        said.append(("not nested: the families or links differ", NestingWarning))
    bounded = max(large.n_effects - small.n_effects, 0)
    bounded += max(large.n_kappa - small.n_kappa, 0)
    if bounded == 1:
        said.append((_MIXTURE, None))
    elif bounded:
        said.append((_CONSERVATIVE, BoundaryWarning))
    return likelihood_ratio_test(large.llf, small.llf, df, bounded == 1), said


def _spans(large, small):
    if not small.shape[1]:
        return True
    if not large.shape[1]:
        return False
    size = np.sqrt((small**2).sum(axis=0))
    own = small / np.where(size > 0, size, 1.0)
    rest = own - large @ np.linalg.lstsq(large, own, rcond=None)[0]
    return bool(np.sqrt((rest**2).sum(axis=0)).max() < 1e-7)


def generalized_lr_test(results: HasFitted, restricted: Any) -> CompareLRTestResult:
    """Likelihood-ratio test against a smaller model.

    Parameters
    ----------
    restricted : MixedGLMResults or GLMResults
        Results of the smaller model; statsmodels' GLM is the model without random effects.

    Returns
    -------
    CompareLRTestResult
        statistic, pvalue, df_diff; a variance on the boundary by the mixture of chi-squared
        laws.

    Raises
    ------
    ValueError
        If the models are on different data or by different integrals, or this one has no
        more parameters.

    Warns
    -----
    NestingWarning
        If the smaller model is no special case of this one.
    BoundaryWarning
        If several variances are tested: the p-value is then too large.
    """
    like = check_comparable([results, restricted])
    large, small = rated(results, like), rated(restricted, like)
    if small.n_params >= large.n_params:
        raise ValueError(
            f"restricted has {small.n_params} parameters and this model {large.n_params}; "
            "call compare_lr_test of the larger model"
        )
    test, said = _lr_test(small, large)
    for note, kind in said:
        if kind is not None:
            warnings.warn(note, kind, stacklevel=user_stacklevel())
    df = large.n_params - small.n_params
    return CompareLRTestResult(test.statistic, test.pvalue, df)


def generalized_anova(results: Sequence[Any], names: Sequence[str] | None) -> NotedTable:
    """The table of ``mx.anova`` for generalized mixed models and GLMs."""
    labels = list(names) if names is not None else []
    if names is None:
        labels = [f"model {i + 1}" for i in range(len(results))]
    if len(labels) != len(results) or len(set(labels)) != len(results):
        raise ValueError(
            f"names must be {len(results)} different names, one for each model"
        )
    like = check_comparable(results)
    fits = [rated(r, like) for r in results]
    order = sorted(range(len(fits)), key=lambda i: fits[i].n_params)
    rows: dict[str, dict[str, float]] = {}
    notes = []
    for place, i in enumerate(order):
        fit = fits[i]
        row = {
            "n_params": fit.n_params,
            "aic": -2 * fit.llf + 2 * fit.n_params,
            "bic": -2 * fit.llf + np.log(fit.nobs) * fit.n_params,
            "llf": fit.llf,
            "deviance": -2 * fit.llf,
            "statistic": np.nan,
            "df": np.nan,
            "pvalue": np.nan,
        }
        if place:
            before = fits[order[place - 1]]
            test, said = _lr_test(before, fit)
            row["statistic"], row["pvalue"] = test.statistic, test.pvalue
            row["df"] = fit.n_params - before.n_params
            for note, kind in said:
                notes.append(f"{labels[i]} against {labels[order[place - 1]]}: {note}")
                if kind is not None:
                    warnings.warn(notes[-1], kind, stacklevel=user_stacklevel())
        rows[labels[i]] = row
    heading = "\n".join(f"{labels[i]}: {fits[i].text}, {fits[i].family}" for i in order)
    return NotedTable.of(pd.DataFrame.from_dict(rows, orient="index"), heading, notes)


# ---- single terms ----


def _refit(engine: GeneralizedFit, exog: np.ndarray, terms: Any, offset: Any):
    """The fit with other fixed effects, from the covariances of a fit."""
    design = prepare_rows(exog, terms, offset)
    nodes = max(engine.n_agq, 1)
    return fit_generalized(design, engine.rows, n_agq=nodes, laplace=engine.laplace)


def generalized_drop1(results: HasFitted, test: str | None = "lrt") -> NotedTable:
    """Tests of each fixed term that no other term includes, by leaving it out.

    Parameters
    ----------
    test : {"lrt", None}, optional
        "lrt" (or "Chisq"): likelihood-ratio tests.  None: information criteria alone.

    Returns
    -------
    NotedTable
        A row a term: ``df``, ``aic``, and ``statistic`` and ``pvalue`` for tests; the row
        ``<none>`` is the model itself.

    Raises
    ------
    ValueError
        If ``test`` is not known, or the rows are not in memory.
    """
    known = {"lrt": "lrt", "Chisq": "lrt", None: None}
    if not isinstance(test, str | None) or test not in known:
        check_choice(test, "test", ("lrt", None))
    fitted = results.fitted
    check_comparable([fitted])
    engine, rows = live_engine(fitted), fitted.need_rows()
    terms = fixed_terms(fitted.model)
    count = fitted.fixed.rank + len(engine.theta) + len(engine.kappa)
    llf = engine.log_likelihood
    table: dict[str, tuple[float, ...]] = {}
    table["<none>"] = np.nan, -2 * llf + 2 * count, np.nan, np.nan
    for term in droppable_terms(fitted.model):
        exog, _ = fixed_columns(fitted.model, [t for t in terms if t != term])
        exog = np.asarray(exog, float).reshape(len(rows.exog), -1)
        fit = _refit(engine, exog, rows.terms, rows.offset)
        df = fitted.fixed.rank - len(fit.coefficients)
        found = likelihood_ratio_test(llf, fit.log_likelihood, df)
        criterion = -2 * fit.log_likelihood + 2 * (count - df)
        table[term.name] = df, criterion, found.statistic, found.pvalue
    columns = ["df", "aic", "statistic", "pvalue"]
    frame = pd.DataFrame.from_dict(table, orient="index", columns=columns)
    own = frame if test is not None else frame[columns[:2]]
    return NotedTable.of(own, "Single term deletions, fits by maximum likelihood")


def generalized_ranova(results: HasFitted) -> NotedTable:
    """Tests of the random terms, each term or column left out by itself.

    Of a term of several columns each is left out with its variance and covariances.  One
    variance on the boundary has the mixture of chi-squared laws in equal parts.

    Returns
    -------
    NotedTable
        ``n_params``, ``llf``, ``aic``, ``statistic``, ``df`` and ``pvalue``; the first row,
        ``<none>``, is the model itself.

    Raises
    ------
    ValueError
        If the rows are not in memory.
    """
    fitted = results.fitted
    check_comparable([fitted])
    engine = live_engine(fitted)
    count = fitted.fixed.rank + len(engine.theta) + len(engine.kappa)
    llf = engine.log_likelihood
    table: dict[str, tuple[float, ...]] = {}
    table["<none>"] = count, llf, -2 * llf + 2 * count, np.nan, np.nan, np.nan
    design = engine.design.with_offset(engine.design.offset)
    inner = make_deviance(design, engine.rows, max(engine.n_agq, 1), engine.laplace)
    outer, first, notes = OuterDeviance(inner), 0, [_MIXTURE]
    for term, s in zip(fitted.random.terms, engine.design.units.structures, strict=True):
        for label, held in _held_elements(term, s):
            value = _held_deviance(engine, outer, first + held)
            one = s.k == 1 or (s.linear and not s.shares_one_variance)
            df, mixed = len(held), one or len(held) == 1
            found = likelihood_ratio_test(llf, -0.5 * value, df, mixed)
            if not mixed:
                notes.append(f"{label}: {_CONSERVATIVE}")
            own = value + 2 * (count - df)
            row = count - df, -0.5 * value, own, found.statistic, df, found.pvalue
            table[label] = row
        first += s.n_theta
    columns = ["n_params", "llf", "aic", "statistic", "df", "pvalue"]
    frame = pd.DataFrame.from_dict(table, orient="index", columns=columns)
    return NotedTable.of(frame, "Likelihood-ratio tests of the random terms", notes)


def _held_elements(term, s):
    """Labels, and which elements of theta are zero without a column of a term."""
    if s.k == 1 or not s.linear or s.shares_one_variance:
        yield term.label, np.arange(s.n_theta)
        return
    basis = s.lam_basis != 0
    for a, name in enumerate(term.names):
        if name == "Intercept" and s.has_correlations:
            continue  # goes with the term, when its slopes have gone
        held = np.flatnonzero(basis[:, a].any(axis=1) | basis[:, :, a].any(axis=1))
        yield f"{name} in {term.label}", held


def _held_deviance(engine, outer, held):
    """The least deviance with elements of theta at zero."""
    psi = np.concatenate([engine.theta, engine.coefficients, engine.kappa])
    psi[held] = 0.0
    free = np.setdiff1d(np.arange(len(psi)), held)
    return float(search_minimum(outer, psi, None, free).evaluation.value)
