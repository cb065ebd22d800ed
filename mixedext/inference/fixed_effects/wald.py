"""Wald tests and intervals of linear combinations of the parameters."""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contrast import ContrastResults, WaldTestResults
from statsmodels.tools.sm_exceptions import ValueWarning
from statsmodels.tools.tools import nan_dot

from mixedext.algebra.definiteness import ROUNDING
from mixedext.algebra.inverses import generalized_inverse
from mixedext.arguments import check_probability
from mixedext.exceptions import user_stacklevel
from mixedext.fitted import Fitted, has_rows, once
from mixedext.inference.bootstrap.bootstrapping import bootstrap_limits
from mixedext.inference.fixed_effects.constraints import linear_constraints, term_columns
from mixedext.inference.fixed_effects.covariance_choice import chosen_tests
from mixedext.inference.fixed_effects.df_methods import df_method_name
from mixedext.inference.fixed_effects.estimability import column_relations
from mixedext.inference.fixed_effects.pairwise_tests import pairwise_tests
from mixedext.inference.fixed_effects.parameter_covariance import packed_covariance
from mixedext.inference.profile.likelihood_profile import profile_conf_int

__all__ = [
    "FixedEffectsInference",
    "conf_int",
    "df_held",
    "f_test",
    "fixed_effects_inference",
    "pvalues",
    "t_test",
    "t_test_pairwise",
    "tvalues",
    "wald_test",
    "wald_test_terms",
]


class FixedEffectsInference(NamedTuple):
    """Estimates of the fixed effects and their tests; NaN where a column was dropped.

    Attributes
    ----------
    estimate, se : ndarray
        Estimates and standard errors.
    df : ndarray
        Degrees of freedom; infinite for the normal law.
    statistic, pvalue : ndarray
        t or z, and two-sided p-values.
    """

    estimate: np.ndarray
    se: np.ndarray
    df: np.ndarray
    statistic: np.ndarray
    pvalue: np.ndarray

    def conf_int(self, alpha=0.05) -> np.ndarray:
        """Lower and upper limits, (k_fe, 2)."""
        margin = stats.t.ppf(1 - alpha / 2, self.df) * self.se
        return np.column_stack([self.estimate - margin, self.estimate + margin])


def fixed_effects_inference(results, df_method=None) -> FixedEffectsInference:
    """Estimates, standard errors, degrees of freedom and tests of the fixed effects.

    Parameters
    ----------
    df_method : str, optional
        Method for the degrees of freedom (and, for Kenward-Roger, the covariance);
        the results' own choice if None.

    Returns
    -------
    FixedEffectsInference
        Named tuple of arrays: estimate, se, df, statistic, pvalue.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.fixed_effects_inference("residual").df.tolist()
    [178.0, 178.0]
    """
    tests = chosen_tests(results.fitted, df_method, True if df_method is not None else None)
    fixed = results.fitted.fixed
    se = fixed.full(np.sqrt(np.diag(tests.covariance)))
    df = fixed.full(tests.df(np.eye(fixed.rank)))
    estimate = fixed.estimate
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / se
    pvalue = 2 * stats.t.sf(np.abs(statistic), df)
    return FixedEffectsInference(estimate, se, df, statistic, pvalue)


def df_held(results, df_method=None) -> tuple[str, ...]:
    """What Satterthwaite's method holds at the boundary: variances at zero, ranks.

    Parameters
    ----------
    df_method : str, optional
        The results' own method if None; empty for methods that hold nothing.
    """
    tests = chosen_tests(results.fitted, df_method, True if df_method is not None else None)
    return tuple(getattr(tests, "held", ()))


@once
def _own_inference(fitted: Fitted) -> FixedEffectsInference:
    return fixed_effects_inference(fitted)


def tvalues(results):
    """Estimates over standard errors; z for the variance parameters."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variances = (results.params / results.bse)[results.k_fe :]
    return np.concatenate([_own_inference(results.fitted).statistic, variances])


def pvalues(results):
    """Two-sided p-values of ``tvalues``; by the normal law for variance parameters."""
    variances = 2 * stats.norm.sf(np.abs(results.tvalues[results.k_fe :]))
    return np.concatenate([_own_inference(results.fitted).pvalue, variances])


def t_test(results, r_matrix, cov_p=None, use_t=None, df_method=None):
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
        t or z; the results' own choice if None.
    df_method : str, optional
        Method for the degrees of freedom; the results' own choice if None.

    Returns
    -------
    ContrastResults

    Raises
    ------
    ValueError
        If the width of the matrix is wrong, a column that was dropped is used, or
        ``df_method`` does not go with the covariance of the results.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> test = result.t_test({"Days": 10})
    >>> float(test.pvalue.round(3))
    0.762
    """
    rows, values = constraint(results, r_matrix, variances=False)
    effect = rows @ np.nan_to_num(results.params)
    if _is_fixed(results, rows) and cov_p is None:
        tests, kept = _tests_for(results, rows, df_method, use_t)
        spread = tests.spread(kept)
        df = tests.df(kept)
    else:
        _refuse_df_method(df_method, cov_p)
        cov_p = (
            packed_covariance(results.fitted) if cov_p is None else np.asarray(cov_p, float)
        )
        spread = nan_dot(rows, nan_dot(cov_p, rows.T))
        df = np.full(len(rows), _plain_df(results, use_t))
    sd = np.sqrt(np.diag(spread))
    statistic = (effect - values) / sd
    if np.isinf(df).all():
        return ContrastResults(
            effect=effect,
            statistic=statistic,
            sd=sd,
            df_denom=np.inf,
            distribution="norm",
        )
    df = float(df[0]) if (df == df[0]).all() else df
    return ContrastResults(effect=effect, t=statistic, sd=sd, df_denom=df)


def wald_test(
    results,
    r_matrix,
    cov_p=None,
    invcov=None,
    use_f=None,
    df_constraints=None,
    scalar=None,
    df_method=None,
):
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
        F or chi-squared; if None the results' own choice (``use_t``), or F where a
        ``df_method`` is given.
    df_constraints : int, optional
        Number of constraints; the rank of their covariance if None.
    scalar : bool, optional
        Statistic as a float (True) or as a (1, 1) array, statsmodels' old default.
    df_method : str, optional
        Method for the denominator's degrees of freedom; the results' own choice if
        None, and n - rank(X) if they have none.

    Returns
    -------
    ContrastResults
        With F tests also the attribute ``scaling``, the factor on the Wald F.

    Warns
    -----
    ValueWarning
        If the constraints, or their covariance, are of deficient rank.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> test = result.wald_test("Intercept = 250, Days = 10", scalar=True)
    >>> round(test.statistic, 4), test.df_denom
    (0.1538, 2)
    """
    rows, values = constraint(results, r_matrix)
    if use_f is None:
        use_f = results.use_t if df_method is None else True
    shape = float if scalar else np.atleast_2d
    if _is_fixed(results, rows) and cov_p is None and invcov is None:
        tests, kept = _tests_for(results, rows, df_method, use_f)
        found = tests.f_test(kept, values)
        rank, df = found.df_num, found.df_denom
        statistic, scaling = found.statistic, found.scaling
    else:
        _refuse_df_method(df_method, "given")
        difference = rows @ np.nan_to_num(results.params) - values
        inverse, rank = _inverse_covariance(results, rows, cov_p, invcov)
        statistic = float(difference @ inverse @ difference) / max(rank, 1)
        df, scaling = _plain_df(results, use_f), 1.0
    if rank < len(rows):
        warnings.warn(
            f"the covariance of the {len(rows)} constraints has rank {rank}",
            ValueWarning,
            stacklevel=user_stacklevel(),
        )
    count = rank if df_constraints is None else df_constraints
    if use_f:
        result = ContrastResults(
            F=shape(statistic * rank / count), df_denom=df, df_num=count
        )
        result.scaling = scaling
        return result
    return ContrastResults(
        chi2=shape(statistic * rank),
        df_denom=count,
        statistic=shape(statistic * rank),
        distribution="chi2",
        distargs=(count,),
    )


def f_test(results, r_matrix, cov_p=None, invcov=None, df_method=None):
    """F test of linear combinations of the fixed effects; see ``wald_test``.

    Parameters
    ----------
    r_matrix, cov_p, invcov, df_method
        As for ``wald_test``.

    Returns
    -------
    ContrastResults

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> test = result.f_test("Days = 0")
    >>> test.df_num, test.df_denom
    (1, 178.0)
    """
    return results.wald_test(
        r_matrix, cov_p, invcov, use_f=True, scalar=True, df_method=df_method
    )


def wald_test_terms(
    results,
    skip_single=False,
    extra_constraints=None,
    combine_terms=None,
    scalar=True,
    df_method=None,
):
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
        Method for the denominator's degrees of freedom; the results' own if None.

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
    identity = np.eye(len(results.params))
    dropped = np.isnan(results.fe_params)
    tests, combined = [], defaultdict(list)
    for name, columns in term_columns(results.model):
        for part in combine_terms or []:
            if part in name:
                combined[part].extend(columns)
        if not (skip_single and len(columns) == 1):
            tests.append((name, identity[columns[~dropped[columns]]]))
    for part in combine_terms or []:
        if part not in combined:
            raise ValueError(f"combine_terms: no term has {part!r} in its name")
        columns = np.array(combined[part])
        tests.append((part, identity[columns[~dropped[columns]]]))
    tests.extend(extra_constraints or [])
    use_f = results.use_t or df_method is not None
    rows = []
    for _, constraint in tests:
        if isinstance(constraint, np.ndarray) and len(constraint) == 0:
            rows.append([np.nan, np.nan, 0, np.nan])
            continue
        test = results.wald_test(
            constraint, use_f=use_f, scalar=scalar, df_method=df_method
        )
        count = test.df_num if use_f else test.df_denom
        rows.append([test.statistic, test.pvalue, int(count), test.df_denom])
    names = ["statistic", "pvalue", "df_constraint", "df_denom"]
    table = pd.DataFrame(rows, index=[name for name, _ in tests], columns=names)
    if not use_f:
        table = table.drop(columns="df_denom")
    result = WaldTestResults(None, "F" if use_f else "chi2", None, table=table)
    result.temp = tests
    return result


def t_test_pairwise(results, term_name, method="hs", alpha=0.05, factor_labels=None):
    """Pairwise differences of a categorical term's levels, with adjusted p-values.

    ``emmeans`` compares levels in models with interactions too, and with exact
    simultaneous intervals.

    Parameters
    ----------
    term_name : str
        The term, as its columns are named.
    method : str or list of str, optional
        Adjustments for multiplicity, as ``statsmodels.stats.multitest`` has them.
    alpha : float, optional
        Level of the decisions.
    factor_labels : list of str, optional
        Labels of the levels; those of the data if None.

    Returns
    -------
    MultiCompResult
        ``result_frame`` has a row a pair: NaN for those that cannot be estimated, as
        a category has no rows, for which p-values are not adjusted either.

    Raises
    ------
    ValueError
        If the model is not from a formula, or the term is no main effect of a factor.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> model = mx.mixedlm('Q("yield") ~ Variety + (1 | Block/Variety)', data)
    >>> pairs = model.fit().t_test_pairwise("Variety")
    >>> pairs.result_frame["pvalue-hs"].round(3).tolist()
    [0.553, 0.553, 0.236]
    """
    return pairwise_tests(results, estimable, term_name, method, alpha, factor_labels)


def conf_int(results, alpha=0.05, cols=None, method="wald", df_method=None, **options):
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
        Method for the degrees of freedom of the fixed effects; the results' own if
        None.  Intervals of the variance parameters are by the normal law.
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
        If ``alpha`` does not lie between 0 and 1, or ``method``, ``df_method`` or an
        option is not known.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.conf_int(df_method="satterthwaite").loc["Days"].round(2).tolist()
    [7.21, 13.73]
    """
    check_probability(alpha, "alpha")
    if method == "bootstrap":
        return bootstrap_limits(results, alpha, cols, **options)
    known = {"wald": set(), "profile": {"n_jobs"}}
    if method not in known:
        said = "is not known; use 'wald', 'profile' or 'bootstrap'"
        raise ValueError(f"method={method!r} {said}")
    if unknown := options.keys() - known[method]:
        raise ValueError(f"method={method!r} has no use for {min(unknown)!r}")
    if method == "profile":
        if df_method is not None:
            raise ValueError("method='profile' has no use for a df_method")
        return profile_conf_int(results, alpha, cols, **options)
    known = _own_inference(results.fitted)
    if df_method is not None:
        known = results.fixed_effects_inference(df_method)
    margin = stats.norm.ppf(1 - alpha / 2) * results.bse[results.k_fe :]
    estimate = results.params[results.k_fe :]
    variances = np.column_stack([estimate - margin, estimate + margin])
    limits = np.vstack([known.conf_int(alpha), variances])
    return limits if cols is None else limits[np.asarray(cols)]


def constraint(results, r_matrix, variances=True):
    names = list(results.model.data.param_names)
    rows, values = linear_constraints(r_matrix, names, results.k_fe, variances)
    lost = rows[~estimable(results, rows), : results.k_fe].any(axis=0)
    lost &= np.isnan(results.fe_params)
    if lost.any():
        listed = ", ".join(np.array(results.model.exog_names)[lost])
        raise ValueError(f"not estimable: {listed} depend on other columns of exog")
    return rows, values


def estimable(results, rows):
    """Which rows over the parameters can be estimated, (m,) bool."""
    dropped = np.isnan(results.fe_params)
    rows = rows[:, : results.k_fe]
    good = ~rows[:, dropped].any(axis=1)
    if not good.all() and has_rows(results.model):
        relations = column_relations(results.model.exog, results.fitted.fit.design.basis)
        good |= relations.estimable(rows)
    return good


def _is_fixed(results, rows):
    return not rows[:, results.k_fe :].any()


def _tests_for(results, rows, df_method, use_t):
    use_t = True if df_method is not None else use_t
    kept = results.fitted.fit.design.basis.kept
    return chosen_tests(results.fitted, df_method, use_t), rows[:, kept]


def _plain_df(results, use_t):
    use_t = results.use_t if use_t is None else use_t
    fitted = results.fitted
    clusters = fitted.settings.df_resid_inference
    return (fitted.df_resid if clusters is None else clusters) if use_t else np.inf


def _inverse_covariance(results, rows, cov_p, invcov):
    if invcov is not None:
        return np.asarray(invcov, float), len(rows)
    cov_p = packed_covariance(results.fitted) if cov_p is None else np.asarray(cov_p, float)
    covariance = nan_dot(rows, nan_dot(cov_p, rows.T))
    return generalized_inverse(covariance, ROUNDING * len(rows))


def _refuse_df_method(df_method, given):
    if df_method_name(df_method) is not None:
        what = "a covariance of your own" if given is not None else "variance parameters"
        raise ValueError(
            f"df_method={df_method!r} holds for fixed effects and the covariance of the "
            f"results, not for {what}"
        )
