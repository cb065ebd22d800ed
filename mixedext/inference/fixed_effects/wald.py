"""Wald tests and intervals of linear combinations of the parameters."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contrast import ContrastResults, WaldTestResults
from statsmodels.tools.sm_exceptions import ValueWarning
from statsmodels.tools.tools import nan_dot

from mixedext.algebra.inverses import generalized_inverse
from mixedext.arguments import check_choice, did_you_mean
from mixedext.calls import cure_of_argument
from mixedext.engine.rows.estimability import column_relations
from mixedext.exceptions import user_stacklevel
from mixedext.fitted import DfChoice, Fitted, HasFitted
from mixedext.inference.bootstrap.bootstrapping import (
    bootstrap_limits,
    bootstrap_parametric,
)
from mixedext.inference.bootstrap.generalized_bootstrap import (
    generalized_bootstrap_limits,
)
from mixedext.inference.fixed_effects.coefficients import (
    alpha_of,
    fixed_effects_inference,
    own_inference,
)
from mixedext.inference.fixed_effects.constraints import linear_constraints
from mixedext.inference.fixed_effects.covariance_choice import chosen_tests, uses_t
from mixedext.inference.fixed_effects.df_methods import df_choice, no_hypothesis
from mixedext.inference.fixed_effects.parameter_covariance import (
    bse,
    packed_covariance,
    packed_params,
)
from mixedext.inference.profile.likelihood_profile import profile_conf_int
from mixedext.inference.submodels.fixed_terms import terms_of_columns
from mixedext.limits import ROUNDED_EIGENVALUE

__all__ = [
    "conf_int",
    "constraint",
    "estimable",
    "f_test",
    "t_test",
    "wald_test",
    "wald_test_terms",
]


def t_test(
    results: HasFitted,
    r_matrix: Any,
    cov_p: np.ndarray | None = None,
    use_t: bool | None = None,
    df_method: str | None = None,
    *,
    information: str | None = None,
) -> ContrastResults:
    """Test linear combinations of the fixed effects, one at a time.

    Parameters
    ----------
    r_matrix : array_like, str, list of str, dict or tuple
        Rows of coefficients of the fixed effects (arrays, or a Series or DataFrame
        with their names), constraints such as "Days = 0", a dictionary such as
        {"Days": 0}, or a pair (matrix, values).  A matrix may be as wide as
        ``params``, with zeros for the variance parameters.
    cov_p : ndarray, optional
        Covariance of the parameters to use in place of the estimate.
    use_t : bool, optional
        t or z; the results' own choice if None.  True, where that is z, is t with
        n - rank(X) degrees of freedom.
    df_method : str, optional
        Method for the degrees of freedom, "z" for the normal law; the results' own
        choice if None.  Estimated degrees of freedom are not for variance parameters,
        nor for another covariance: there they are n - rank(X), or the law is normal.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Returns
    -------
    ContrastResults

    Raises
    ------
    ValueError
        If the width of the matrix is wrong, a column that was dropped is used, or
        ``df_method`` does not go with the covariance of the results, or is given for
        variance parameters or for another covariance.

    Warns
    -----
    ValueWarning
        If a row is all zero: it is no hypothesis, and its statistic is NaN.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> test = result.t_test({"Days": 10})
    >>> float(test.pvalue.round(3)), round(test.df_denom, 3)
    (0.766, 17.0)
    """
    fitted, choice = results.fitted, df_choice(df_method, information)
    rows, values = constraint(fitted, r_matrix, variances=False)
    effect = rows @ np.nan_to_num(packed_params(fitted))
    if _is_fixed(fitted, rows) and cov_p is None:
        tests, kept = _tests_for(fitted, rows, choice, use_t)
        spread = tests.spread(kept)
        df = tests.df(kept)
    else:
        _refuse_df_method(choice, cov_p)
        cov_p = packed_covariance(fitted) if cov_p is None else np.asarray(cov_p, float)
        spread = nan_dot(rows, nan_dot(cov_p, rows.T))
        df = np.full(len(rows), _plain_df(fitted, use_t))
    sd = np.sqrt(np.diag(spread))
    if not rows.any(axis=1).all():
        warnings.warn(
            "r_matrix has rows of zeros, which are no hypotheses: they have no statistic "
            "and no p-value",
            ValueWarning,
            stacklevel=user_stacklevel(),
        )
    statistic = np.full(len(sd), np.nan)
    np.divide(effect - values, sd, out=statistic, where=sd > 0)
    if np.isinf(df).all():
        normal = ContrastResults(
            effect=effect, statistic=statistic, sd=sd, distribution="norm"
        )
        normal.df_denom = np.inf  # statsmodels leaves it out
        return normal
    common = float(df[0]) if (df == df[0]).all() else df
    return ContrastResults(effect=effect, t=statistic, sd=sd, df_denom=common)


def wald_test(
    results: HasFitted,
    r_matrix: Any,
    cov_p: np.ndarray | None = None,
    invcov: np.ndarray | None = None,
    use_f: bool | None = None,
    df_constraints: int | None = None,
    scalar: bool | None = None,
    df_method: str | None = None,
    *,
    information: str | None = None,
) -> ContrastResults:
    """Test linear combinations of the fixed effects jointly.

    Parameters
    ----------
    r_matrix : array_like, str, list of str, dict or tuple
        As for ``t_test``; a matrix may have entries for the variance parameters.
    cov_p : ndarray, optional
        Covariance of the parameters to use in place of the estimate.
    invcov : ndarray, optional
        Inverse of the covariance of the combinations.
    use_f : bool, optional
        F or chi-squared; if None as ``df_method`` says, or the results' own choice
        (``use_t``).
    df_constraints : int, optional
        Number of constraints; the rank of their covariance if None.
    scalar : bool, optional
        Statistic as a float (True) or as a (1, 1) array, statsmodels' old default.
    df_method : str, optional
        Method for the denominator's degrees of freedom, "z" for infinite ones; the
        results' own choice if None, and n - rank(X) if they have none.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Returns
    -------
    ContrastResults
        With F tests also the attribute ``scaling``, the factor on the Wald F.

    Raises
    ------
    ValueError
        As for ``t_test``.

    Warns
    -----
    ValueWarning
        If the constraints, or their covariance, are of deficient rank; of rank zero, as
        where all is zero, ``df_num`` is 0 and the statistic NaN.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> test = result.wald_test("Intercept = 250, Days = 10", scalar=True)
    >>> round(float(test.fvalue), 4), test.df_num, round(test.df_denom, 2)
    (0.0769, 2, 17.0)
    """
    fitted, choice = results.fitted, df_choice(df_method, information)
    rows, values = constraint(fitted, r_matrix)
    fixed = _is_fixed(fitted, rows) and cov_p is None and invcov is None
    if use_f is None:
        use_f = uses_t(fitted, choice) if fixed else np.isfinite(_plain_df(fitted, None))
    shape = float if scalar else np.atleast_2d
    if fixed:
        tests, kept = _tests_for(fitted, rows, choice, use_f)
        found = tests.f_test(kept, values)
        rank, df = found.df_num, found.df_denom
        statistic, scaling = found.statistic, found.scaling
    else:
        _refuse_df_method(choice, cov_p if invcov is None else invcov)
        difference = rows @ np.nan_to_num(packed_params(fitted)) - values
        inverse, rank = _inverse_covariance(fitted, rows, cov_p, invcov)
        rank = rank if rows.any() else 0
        square = float(difference @ inverse @ difference)
        statistic = square / rank if rank else no_hypothesis().statistic
        df, scaling = _plain_df(fitted, use_f), 1.0
    if 0 < rank < len(rows):
        warnings.warn(
            f"the covariance of the {len(rows)} constraints has rank {rank}",
            ValueWarning,
            stacklevel=user_stacklevel(),
        )
    count = rank if df_constraints is None else df_constraints
    if use_f:
        result = ContrastResults(
            F=shape(statistic * rank / max(count, 1)), df_denom=df, df_num=count
        )
        result.scaling = scaling
        if np.isinf(df):  # scipy's F law has no such member
            result.pvalue = stats.chi2.sf(shape(statistic * rank), count)
        return result
    return ContrastResults(
        chi2=shape(statistic * rank),
        df_denom=count,
        statistic=shape(statistic * rank),
        distribution="chi2",
        distargs=(count,),
    )


def f_test(
    results: HasFitted,
    r_matrix: Any,
    cov_p: np.ndarray | None = None,
    invcov: np.ndarray | None = None,
    df_method: str | None = None,
    *,
    information: str | None = None,
) -> ContrastResults:
    """F test of linear combinations of the fixed effects; see ``wald_test``.

    Parameters
    ----------
    r_matrix, cov_p, invcov, df_method, information
        As for ``wald_test``.

    Returns
    -------
    ContrastResults

    Raises
    ------
    ValueError
        As for ``t_test``.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> test = result.f_test("Days = 0")
    >>> test.df_num, round(test.df_denom, 4)
    (1, 17.0)
    """
    asked: dict[str, Any] = {"df_method": df_method, "information": information}
    return wald_test(results, r_matrix, cov_p, invcov, use_f=True, scalar=True, **asked)


def wald_test_terms(
    results: HasFitted,
    skip_single: bool = False,
    extra_constraints: Sequence[tuple[str, Any]] | None = None,
    combine_terms: Sequence[str] | None = None,
    scalar: bool = True,
    df_method: str | None = None,
    *,
    information: str | None = None,
) -> WaldTestResults:
    """Joint tests of the columns of every term of the fixed effects.

    Parameters
    ----------
    skip_single : bool, optional
        Leave out terms of a single column.
    extra_constraints : list of tuple, optional
        More tests: pairs of a name and a hypothesis as for ``wald_test``.
    combine_terms : list of str, optional
        Terms whose names contain the string are tested together, one test a string.
    scalar : bool, optional
        Statistics as floats or as (1, 1) arrays.
    df_method : str, optional
        Method for the denominator's degrees of freedom, "z" for chi-squared tests; the
        results' own if None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Returns
    -------
    WaldTestResults
        ``table`` has the columns statistic, pvalue, df_constraint and, with F tests,
        df_denom.  Columns that were dropped are left out; a term with none left has
        the statistic NaN.

    Raises
    ------
    ValueError
        If a hypothesis cannot be read, or the method is not known.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.wald_test_terms().table.index.tolist()
    ['Intercept', 'Days']
    """
    fitted = results.fitted
    identity = np.eye(len(packed_params(fitted)))
    kept = set(fitted.fixed.kept.tolist())
    tests: list[tuple[str, Any]] = []
    combined: dict[str, list[int]] = defaultdict(list)
    for term in terms_of_columns(fitted.model):
        for part in combine_terms or []:
            if part in term.name:
                combined[part].extend(term.columns)
        if not (skip_single and len(term.columns) == 1):
            tests.append((term.name, identity[[c for c in term.columns if c in kept]]))
    for part in combine_terms or []:
        if part not in combined:
            names = [term.name for term in terms_of_columns(fitted.model)]
            raise ValueError(
                f"combine_terms: no term has {part!r} in its name; terms are: "
                f"{', '.join(names)}{did_you_mean(part, names)}"
            )
        tests.append((part, identity[[c for c in combined[part] if c in kept]]))
    tests.extend(extra_constraints or [])
    asked: dict[str, Any] = {"df_method": df_method, "information": information}
    use_f = uses_t(fitted, df_choice(**asked))
    rows = []
    for _, hypothesis in tests:
        if isinstance(hypothesis, np.ndarray) and len(hypothesis) == 0:
            rows.append([np.nan, np.nan, 0, np.nan])
            continue
        test = wald_test(fitted, hypothesis, use_f=use_f, scalar=scalar, **asked)
        count = test.df_num if use_f else test.df_denom
        rows.append([test.statistic, test.pvalue, int(count), test.df_denom])
    names = ["statistic", "pvalue", "df_constraint", "df_denom"]
    table = pd.DataFrame(rows, index=[name for name, _ in tests], columns=names)
    if not use_f:
        table = table.drop(columns="df_denom")
    result = WaldTestResults(None, "F" if use_f else "chi2", None, table=table)
    result.temp = tests
    return result


def conf_int(
    results: HasFitted,
    alpha: float = 0.05,
    cols: Any = None,
    method: str = "wald",
    df_method: str | None = None,
    *,
    level: float | None = None,
    information: str | None = None,
    **options: Any,
) -> Any:
    """Intervals of all parameters.

    Parameters
    ----------
    alpha : float, optional
        One minus the confidence level.
    cols : array_like, optional
        Numbers of the parameters; all if None.
    method : {"wald", "profile", "bootstrap"}, optional
        Kind of the intervals: Wald's, of ``params``, where variances are relative to
        the residual variance; by the profile likelihood or ``bootstrap_parametric``,
        of the fixed effects and then, as in lme4, of standard deviations, correlations
        and sigma on the scale of the data.
    df_method : str, optional
        Method for the degrees of freedom of the fixed effects, "z" for the normal law;
        the results' own if None.  Intervals of the variance parameters are by the
        normal law.
    level : float, optional
        Confidence level, in place of ``alpha``.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.
    **options
        For "profile": ``n_jobs``.  For "bootstrap": ``n``, ``rng``, ``n_jobs``,
        ``progress`` as for ``bootstrap_parametric``, and ``interval``, the method of
        its ``conf_int``.

    Returns
    -------
    ndarray
        Lower and upper limits, (n_params, 2).  A DataFrame for "profile" and
        "bootstrap", with the same rows.

    Raises
    ------
    ValueError
        If ``alpha`` or ``level`` does not lie between 0 and 1, or ``method``,
        ``df_method`` or an option is not known.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.conf_int().loc["Days"].round(2).tolist()
    [7.21, 13.73]
    >>> result.conf_int(df_method="z").loc["Days"].round(2).tolist()
    [7.44, 13.5]
    """
    alpha = alpha_of(alpha, level)
    fitted = results.fitted
    known: dict[str, set[str]] = {"wald": set(), "profile": {"n_jobs"}}
    known["bootstrap"] = {"interval", *signature(bootstrap_parametric).parameters}
    check_choice(method, "method", known)
    if method != "wald":
        for name, given in (("df_method", df_method), ("information", information)):
            if given is not None:
                raise ValueError(f"method={method!r} has no use for {name}={given!r}")
    if unknown := options.keys() - known[method]:
        name = min(unknown)
        there = [*signature(conf_int).parameters][1:-1] + sorted(known[method])
        cure = cure_of_argument(name, "conf_int", there)
        raise ValueError(f"method={method!r} has no use for {name!r}{cure}")
    if method == "bootstrap":
        if fitted.generalized is not None:
            return generalized_bootstrap_limits(results, alpha, cols, **options)
        return bootstrap_limits(results, alpha, cols, **options)
    if method == "profile":
        return profile_conf_int(results, alpha, cols, **options)
    own = own_inference(fitted)
    if df_method is not None or information is not None:
        own = fixed_effects_inference(fitted, df_method, information=information)
    k_fe = len(own.estimate)
    margin = stats.norm.ppf(1 - alpha / 2) * bse(fitted)[k_fe:]
    estimate = packed_params(fitted)[k_fe:]
    variances = np.column_stack([estimate - margin, estimate + margin])
    limits = np.vstack([own.conf_int(alpha), variances])
    return limits if cols is None else limits[np.asarray(cols)]


def constraint(
    results: HasFitted, r_matrix: Any, variances: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Rows over all parameters, and values, of a hypothesis; ValueError if inestimable.

    Parameters
    ----------
    results : HasFitted
        The fit.
    r_matrix, variances
        As for ``linear_constraints``.
    """
    fitted = results.fitted
    fixed, names = fitted.fixed, list(fitted.model.data.param_names)
    rows, values = linear_constraints(r_matrix, names, len(fixed.names), variances)
    lost = rows[~estimable(fitted, rows), : len(fixed.names)].any(axis=0) & fixed.dropped
    if lost.any():
        listed = ", ".join(np.array(fixed.names)[lost])
        raise ValueError(f"not estimable: {listed} depend on other columns of exog")
    return rows, values


def estimable(fitted: Fitted, rows: np.ndarray) -> np.ndarray:
    """Which rows over the parameters can be estimated, (m,) bool."""
    fixed = fitted.fixed
    rows = rows[:, : len(fixed.names)]
    good = np.asarray(~rows[:, fixed.dropped].any(axis=1))
    if not good.all():
        relations = column_relations(fitted.fit.design.basis, fitted.nobs)
        good |= relations.estimable(rows)
    return good


def _is_fixed(fitted, rows):
    return not rows[:, len(fitted.fixed.names) :].any()


def _tests_for(fitted: Fitted, rows: np.ndarray, choice: DfChoice, use_t: bool | None):
    return chosen_tests(fitted, choice, use_t), rows[:, fitted.fixed.kept]


def _plain_df(fitted, use_t):
    """Degrees of freedom of variance parameters, and by a covariance that is given.

    Those that are estimated belong to fixed effects and their own covariance.
    """
    settings = fitted.settings
    if use_t is None:
        use_t = settings.use_t and settings.df_method in (None, "residual")
    clusters = settings.df_resid_inference
    return (fitted.df_resid if clusters is None else clusters) if use_t else np.inf


def _inverse_covariance(fitted, rows, cov_p, invcov):
    if invcov is not None:
        return np.asarray(invcov, float), len(rows)
    cov_p = packed_covariance(fitted) if cov_p is None else np.asarray(cov_p, float)
    covariance = nan_dot(rows, nan_dot(cov_p, rows.T))
    return generalized_inverse(covariance, ROUNDED_EIGENVALUE * len(rows))


def _refuse_df_method(choice, given):
    for name in ("df_method", "information"):
        asked = getattr(choice, name)
        if asked is not None:
            what = "variance parameters" if given is None else "a covariance of your own"
            raise ValueError(
                f"{name}={asked!r} holds for fixed effects and the covariance of the "
                f"results, not for {what}"
            )
