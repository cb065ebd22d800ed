"""The power of tests of fixed effects and variances, by simulation and refits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import check_choice, check_count, check_probability, did_you_mean
from mixedext.calls import answering
from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.engine.information.cost import work_beside_fit
from mixedext.engine.refits.simulation import spawn_seeds
from mixedext.engine.residual.natural import natural_parameters
from mixedext.exceptions import (
    DesignError,
    DevianceError,
    SimulationWarning,
    user_stacklevel,
)
from mixedext.fitted import DfChoice, Fitted, need_rows
from mixedext.inference.bootstrap.bootstrap_tests import Refitted, fit_both
from mixedext.inference.bootstrap.parallel import runner
from mixedext.inference.bootstrap.simulated_refits import (
    block_size,
    blocks_of,
    is_batched,
    simulated_responses,
)
from mixedext.inference.comparison.drop_terms import deletion_hypotheses, droppable_terms
from mixedext.inference.fixed_effects.df_methods import df_choice, fixed_tests
from mixedext.inference.prediction.fixed_rows import new_columns
from mixedext.inference.submodels.fixed_terms import fixed_terms
from mixedext.inference.submodels.other_criteria import is_mixed, quiet_fit
from mixedext.inference.submodels.smaller_models import smaller_model
from mixedext.inference.variances.parts import VariancePart, find_part, variance_parts
from mixedext.inference.variances.variance_test_result import mixture_test
from mixedext.limits import MANY_SINGULAR, MOST_TEST_WORK, OTHER_COLUMNS
from mixedext.models.mixedlm.model import MixedLM
from mixedext.models.mixedlm.residual_fitting import psi_names
from mixedext.models.planning.extended import extend_along, extend_within
from mixedext.models.planning.parameters import (
    Parameters,
    law_of_residuals,
    read_parameters,
    read_residual,
)
from mixedext.models.planning.power_result import Power
from mixedext.models.planning.simulated import without_response
from mixedext.specification.formula.bars import plain_name, split_formula
from mixedext.specification.formula.namespace import caller_namespace

__all__ = ["power"]

_SEED_OF_STAND_INS = 20240501
_AT_A_TIME = 25
_CONSERVATIVE = (
    "p by chi-squared: parameters on the boundary make it too large and the power too small"
)


@answering
def power(
    model: Any,
    term: str,
    data: Any = None,
    *,
    fe_params: Any = None,
    cov_re: Any = None,
    theta: Any = None,
    sigma: Any = None,
    along: Mapping[str, Any] | None = None,
    within: Mapping[str, Any] | None = None,
    test: str | None = None,
    df_method: str | None = None,
    alpha: float = 0.05,
    n: int = 1000,
    rng: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
    weights: str | None = None,
    offset: str | None = None,
    residual: Any = None,
    variance: Any = None,
    residual_params: Any = None,
    eval_env: Any = None,
) -> Power:
    """Power of a test: how often it is significant in responses that are simulated.

    Parameters
    ----------
    model : MixedLMResults or str
        Results of a fit, whose estimates are the truth unless others are given; or a
        formula, with ``data`` and all parameters.
    term : str
        What is tested: a fixed term or coefficient, or a part of the random effects by
        its name in ``ranova``, such as ``"(1 | g)"``.
    data : DataFrame, optional
        Of a formula the covariates and factors; the response need not be there.
    fe_params, cov_re, theta, sigma : optional
        As for ``simulate``; of results, what is to differ from the estimates.
    along : dict, optional
        Numbers of levels of grouping factors, such as ``{"Subject": [20, 40]}``.  The first
        levels are kept, more copy those that there are in turn.
    within : dict, optional
        Numbers of rows in every level of a factor, or cell of several ("a:b"), likewise.
    test : {"F", "lrt"}, optional
        Of a fixed term the F (or t) test of a REML fit (the default), or the
        likelihood-ratio test of fits by maximum likelihood.  Of variances always the
        restricted likelihood-ratio test, by the mixture of chi-squared laws.
    df_method : str, optional
        Of F: "satterthwaite", the default unless it costs far more than a fit (then "z");
        "kenward-roger", "residual", "z" and the others of ``fit``.
    alpha : float, optional
        Level of the test.
    n : int, optional
        Simulated responses of each study.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    n_jobs : int, optional
        Jobs of joblib; by default what ``joblib.parallel_config`` says, or else one.  The
        numbers do not depend on it.
    progress : bool, optional
        Whether to show a bar for each study (needs tqdm).
    weights, offset : str, optional
        Columns of the data; those of the results if None.
    residual, variance : optional
        As for ``mixedlm``, with a formula; those of the results if None.
    residual_params : dict, optional
        Parameters of these by the names of ``model.residual.names``, such as
        ``{"rho": 0.5}``, relative to ``sigma``; what is not named has the estimate, or
        the value that the structure states (``mx.AR1(..., rho=0.5)``).
    eval_env : int or Mapping, optional
        As for ``mixedlm``.

    Returns
    -------
    Power
        ``estimate``, ``conf_int()``, and a ``table`` with a row for each study.

    Raises
    ------
    ValueError
        If the term is not known or cannot be tested in one of the studies, a parameter is
        lacking, or the columns of the model change with the number of rows (``scale(x)``).
    ImportError
        If joblib or tqdm is needed and not installed.

    Warns
    -----
    SimulationWarning
        If refits failed, or many were singular.

    References
    ----------
    Green and MacLeod (2016), SIMR: an R package for power analysis of generalized linear
    mixed models by simulation, Methods in Ecology and Evolution 7, 493-498.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> sizes = {"Subject": [6, 18]}
    >>> power = mx.power(result, "Days", fe_params={"Days": 5}, along=sizes, n=100, rng=1)
    >>> power.table["Subject"].tolist()
    [6, 18]
    >>> bool(power.estimate[0] < power.estimate[1])
    True
    """
    check_count(n, "n")
    check_probability(alpha, "alpha")
    if test is not None:
        check_choice(test, "test", ("F", "lrt"))
    named = isinstance(model, str)
    scope = caller_namespace([model] if named else [], eval_env, depth=1)
    given = {
        "weights": weights, "offset": offset, "residual": residual, "variance": variance,
    }  # fmt: skip
    base, truth = _base(model, data, scope, given)
    parameters = read_parameters(
        base.exog_names, base.random_terms, fe_params, cov_re, theta, sigma, truth
    )
    own_residual = None if truth is None else truth.residual
    known = read_residual(base.residual, residual_params, own_residual)
    parameters = replace(parameters, residual=known)
    studies = _studies(along, within)
    models = [_study(base, parameters, *study) for study in studies]
    tests = [_test_of(own, term, test, df_method) for own in models]
    pvalues, singular = [], []
    for own, how, seed in zip(models, tests, spawn_seeds(rng, len(models)), strict=True):
        draw = partial(_draw, _mean(own, parameters), own, parameters)
        p, zero = how.run(draw, int(n), seed, n_jobs, progress)
        pvalues.append(p)
        singular.append(zero)
    sizes = [
        {**a, **{f"rows by {name}": rows for name, rows in w.items()}, "nobs": own.nobs}
        for (a, w), own in zip(studies, models, strict=True)
    ]
    found = Power(
        tested=f"{tests[0].name} at level {alpha:g}",
        alpha=float(alpha),
        sizes=pd.DataFrame(sizes),
        pvalues=np.column_stack(pvalues),
        singular=np.column_stack(singular),
        notes=tuple(dict.fromkeys(note for t in tests for note in t.notes)),
    )
    _warn(found)
    return found


def _warn(found):
    """Say that refits failed, or that many were singular."""
    failed = int(found.n_failed.sum())
    if failed:
        warnings.warn(
            f"{failed} of {found.pvalues.size} refits failed; they count as not "
            "significant",
            SimulationWarning,
            stacklevel=user_stacklevel(),
        )
    share = found.singular.mean(axis=0).max(initial=0.0)
    if share > MANY_SINGULAR:
        warnings.warn(
            f"{share:.0%} of the refits of a study are singular: the study is too small to "
            "tell these variances from zero, and tests rest on estimates at the boundary",
            SimulationWarning,
            stacklevel=user_stacklevel(),
        )


# ---- studies ----


def _base(model, data, scope, given):
    """The model as it stands, and what it takes as true; None of a formula."""
    if isinstance(model, str):
        if data is None:
            raise ValueError("data= is needed with a formula")
        text, _, frame = without_response(model, data)
        return _with_stand_in(text, frame, scope, given), None
    if not is_mixed(model):
        raise TypeError(
            "model must be a formula or the results of a mixed model of mixedext, not "
            f"{type(model).__name__}"
        )
    if model.fitted.generalized is not None:
        raise TypeError(
            "power is of linear models; of a generalized one simulate and fit again: "
            "result.simulate(n), result.model.refit(y)"
        )
    for what, value in {"data": data, **given}.items():
        if value is not None:
            raise ValueError(f"{what}= goes with a formula; results have their own")
    fitted: Fitted = model.fitted
    need_rows(fitted.model)
    sigma = fitted.sigma
    roots = tuple(sigma * lam for lam in fitted.fit.lams)
    if fitted.fit.held is not None and fitted.fit.held.covariances is not None:
        raise ValueError(
            "these estimates were held or penalized; give a formula and all parameters"
        )
    estimates = np.nan_to_num(fitted.fixed.estimate)
    fixed = dict(zip(fitted.fixed.names, map(float, estimates), strict=True))
    estimate = fitted.fit.residual
    residual: dict[str, float] = {}
    if estimate is not None:
        eta = natural_parameters(estimate.bound, estimate.psi)
        residual = dict(zip(psi_names(estimate.bound), map(float, eta), strict=True))
    return fitted.model, Parameters(fixed, roots, sigma, residual)


def _with_stand_in(formula, frame, scope, given):
    """A model with a response that stands in for those that are simulated."""
    rng = np.random.default_rng(_SEED_OF_STAND_INS)
    name = formula.partition("~")[0].strip()
    frame = frame.assign(**{name: rng.standard_normal(len(frame))})
    return MixedLM.from_formula(formula, frame, **given, eval_env=dict(scope))


def _studies(along, within):
    """Pairs of (levels by factor, rows by cell) of all studies."""
    found = []
    for what, given in (("along", along), ("within", within)):
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f"{what} must be a dict of factors and numbers, not {given!r}")
        lists = {
            name: list(v) if isinstance(v, Sequence | np.ndarray) else [v]
            for name, v in (given or {}).items()
        }
        empty = [name for name, values in lists.items() if not values]
        if empty:
            raise ValueError(f"{what}[{empty[0]!r}] holds no number")
        found.append([dict(zip(lists, v, strict=True)) for v in product(*lists.values())])
    return list(product(*found))


def _study(base, parameters, along, within):
    """The model on data that are extended."""
    if not along and not within:
        return _with_drawn(base, parameters)
    formula, frame, given = _stated(base)
    bars = split_formula(formula).bars
    atoms = [plain_name(f) for bar in bars for f in bar.factors]
    if base.residual is not None:
        atoms += [name for name in base.residual.spec.factors if isinstance(name, str)]
    factors = [c for c in dict.fromkeys(atoms) if c in frame.columns]
    for name in along:
        if name not in factors:
            raise ValueError(
                f"along: {name!r} is no grouping factor; there are: "
                f"{', '.join(factors) or 'none'}{did_you_mean(name, factors)}"
            )
        frame = extend_along(frame, name, along[name], factors)
    for name in within:
        frame = extend_within(frame, name, within[name])
    made = _with_stand_in(formula, frame, base.namespace, given)
    _check_same_columns(base, made, frame)
    return _with_drawn(made, parameters)


def _with_drawn(model, parameters):
    """With a response that has the residual covariance, where there is one.

    One that has not might lead a fit to where parameters of it are not identified.
    """
    if model.residual is None:
        return model
    names = list(model.residual.names)
    if names != list(parameters.residual):
        lost = [n for n in parameters.residual if n not in names]
        new = [n for n in names if n not in parameters.residual]
        said = [*(f"no {n!r}" for n in lost), *(f"{n!r} besides" for n in new)]
        raise ValueError(
            f"the residual covariance of the extended data has other parameters: "
            f"{', '.join(said)}. Keep all visits, strata and levels of by="
        )
    rng = np.random.default_rng(_SEED_OF_STAND_INS)
    y = _draw(_mean(model, parameters), model, parameters, 1, rng)[:, 0]
    return model._with_response(y if model.offset is None else y + model.offset)


def _stated(base):
    """Formula with a stand-in response, data, and the other arguments of the model."""
    formula, frame = getattr(base, "formula", None), getattr(base.data, "frame", None)
    bars = split_formula(formula).bars if isinstance(formula, str) else ()
    if formula is None or frame is None or len(bars) != len(base.random_terms):
        raise ValueError(
            "along= and within= make the data anew, for which a formula must say all of "
            "the model: write the random effects in bars, (x | g)"
        )
    chosen = "weights", "offset", "residual"
    lacking = [what for what in chosen if what in base.stated.by_values]
    if lacking:
        raise ValueError(
            f"{lacking[0]} of the model were given as values, which new rows have not: "
            "make them a column of the data, and name it"
        )
    text, _, frame = without_response(formula, frame)
    return text, frame, {name: getattr(base.stated, name) for name in (*chosen, "variance")}


def _check_same_columns(base, made, frame):
    """Refuse studies whose columns are not those that the parameters are of."""
    if made.exog_names != base.exog_names:
        lost = [n for n in base.exog_names if n not in made.exog_names]
        new = [n for n in made.exog_names if n not in base.exog_names]
        said = [*(f"no {n!r}" for n in lost), *(f"{n!r} besides" for n in new)]
        raise ValueError(
            "the fixed effects of the extended data have other columns: "
            f"{', '.join(said)}. "
            "Keep all levels of the factors of the fixed effects"
        )
    if getattr(base.data, SPEC_ATTRIBUTE, None) is None:
        return
    exog = new_columns(base, frame, with_column=False).exog
    size = np.abs(exog).max(axis=0, initial=0.0)
    changed = (np.abs(exog - made.exog) > OTHER_COLUMNS * size).any(axis=0)
    if changed.any():
        raise ValueError(
            f"the column {made.exog_names[int(changed.argmax())]!r} of the same row is "
            "another one in the extended data (its function learns from all rows, as "
            "scale() and poly() do): put it into the data as a column"
        )


def _mean(model, parameters):
    """Mean of the rows without the offset."""
    return np.asarray(model.exog, float) @ list(parameters.fixed.values())


def _draw(mean, model, parameters, count, rng):
    law = None
    if model.residual is not None:
        law = law_of_residuals(model.residual, parameters.residual)
    return simulated_responses(
        mean,
        model.random_terms,
        parameters.roots,
        parameters.sigma,
        model.weights,
        count,
        rng,
        law,
    )


# ---- tests ----


@dataclass(frozen=True, eq=False)
class _FTests:
    """F tests of REML fits, one by one."""

    model: Any
    rows: np.ndarray
    choice: DfChoice
    name: str
    notes: tuple[str, ...] = ()

    def run(
        self, draw: Callable, n: int, seed: Any, n_jobs: int | None, progress: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """P-values, NaN of failures, and which fits were singular."""
        work = partial(_f_block, self.model, draw, self.rows, self.choice)
        run = runner(n_jobs, progress, False)
        parts = run(work, blocks_of(n, _AT_A_TIME, seed))
        pvalues, singular = (np.concatenate(own) for own in zip(*parts, strict=True))
        return pvalues, singular


def _f_block(model, draw, rows, choice, block):
    y = draw(block[0], np.random.default_rng(block[1]))
    if model.offset is not None:
        y = y + model.offset[:, None]
    pvalues, singular = np.full(block[0], np.nan), np.zeros(block[0], bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # verdicts are kept
        for r, column in enumerate(y.T):
            try:
                fitted = model._with_response(column)._fitted(reml=True)
                singular[r] = fitted.fit.is_singular
                if fitted.fit.convergence.converged:
                    pvalues[r] = fixed_tests(fitted.fit, choice).f_test(rows).pvalue
            except (DesignError, DevianceError, np.linalg.LinAlgError):
                continue  # NaN, which is counted
    return pvalues, singular


@dataclass(frozen=True, eq=False)
class _LikelihoodRatios:
    """Likelihood-ratio tests of a model and a smaller one, in batches."""

    model: Any
    small: Any
    reml: bool
    law: Callable[[float], float]
    name: str
    notes: tuple[str, ...] = ()

    def run(
        self, draw: Callable, n: int, seed: Any, n_jobs: int | None, progress: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """P-values, NaN of failures, and which larger fits were singular."""
        free: dict[str, Any] = {}  # nothing is held
        small, large = (Refitted(model, free) for model in (self.small, self.model))
        work = partial(fit_both, small, large, draw, self.reml)
        run = runner(n_jobs, progress, is_batched(self.model))
        parts = run(work, blocks_of(n, block_size(self.model), seed))
        statistics, singular = (np.concatenate(own) for own in zip(*parts, strict=True))
        found = [np.nan if np.isnan(s) else self.law(s) for s in statistics]
        return np.array(found, float), singular


def _test_of(model, term, test, df_method):
    """How the term is tested in a study."""
    terms = {t.name: t for t in droppable_terms(model)}
    columns = dict(zip(model.exog_names, range(model.k_fe), strict=True))
    fixed = term in terms or term in columns
    if not fixed:
        return _variance_test(model, term, test, df_method, [*terms, *columns])
    if test == "lrt":
        if df_method is not None:
            raise ValueError("test='lrt' has no use for df_method; use test='F'")
        if term not in terms:
            raise ValueError(
                f"term={term!r} is a coefficient; test='lrt' leaves out a whole term: "
                f"{', '.join(map(repr, terms))}"
            )
        return _fixed_ratio(model, terms[term])
    fitted = quiet_fit(model, True)
    kept = fitted.fixed.kept
    if term in terms:
        rows = deletion_hypotheses(fitted)(terms[term])
    else:
        rows = np.eye(model.k_fe)[[columns[term]]][:, kept]
    if not rows.any():
        raise ValueError(f"term={term!r} cannot be estimated from these data")
    notes: tuple[str, ...] = ()
    if df_method is not None:
        choice = df_choice(df_method)
    elif not model.random_terms and model.residual is None:
        choice = DfChoice("residual")
    elif model.residual is None and work_beside_fit(model._design) > MOST_TEST_WORK:
        choice = DfChoice("z")
        notes = ("Normal law: Satterthwaite's degrees of freedom cost too much here",)
    else:
        choice = DfChoice("satterthwaite")
    fixed_tests(fitted.fit, choice)  # says what is wrong with the method
    kind = "t" if len(rows) == 1 else "F"
    name = f"the {kind} test of {term} ({choice.df_method})"
    return _FTests(model, rows, choice, name, notes)


def _fixed_ratio(model, term):
    small = smaller_model(model, [t for t in fixed_terms(model) if t != term])
    df = model._design.basis.rank - small._design.basis.rank
    if df < 1:
        raise ValueError(f"term={term.name!r} cannot be estimated from these data")
    name = f"the likelihood-ratio test of {term.name}"
    return _LikelihoodRatios(model, small, False, partial(stats.chi2.sf, df=df), name)


def _variance_test(model, term, test, df_method, fixed):
    """The restricted likelihood-ratio test of a part of the random effects."""
    try:
        part: VariancePart = find_part(model, term)
    except (ValueError, TypeError):
        listed = [*fixed, *(p.label for p in variance_parts(model))]
        raise ValueError(
            f"term={term!r} is neither a fixed term that no other includes, nor a "
            f"coefficient, nor one part of the random effects; there are: "
            f"{', '.join(map(repr, dict.fromkeys(listed)))}{did_you_mean(term, listed)}"
        ) from None
    if test == "F" or df_method is not None:
        raise ValueError(f"variances, as {term!r}, are tested by test='lrt' alone")
    small = smaller_model(model, random=part.left)
    covariances = part.n_parameters - part.n_variances
    notes: tuple[str, ...] = ()
    law: Callable[[float], float]
    if part.has_mixture:
        law = partial(_mixture, covariances, part.n_variances)
    else:
        law, notes = partial(stats.chi2.sf, df=part.n_parameters), (_CONSERVATIVE,)
    name = f"the restricted likelihood-ratio test of {part.label}"
    return _LikelihoodRatios(model, small, True, law, name, notes)


def _mixture(df, n_boundary, statistic):
    return mixture_test(statistic, df, n_boundary, True).pvalue
