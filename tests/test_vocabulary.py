"""One vocabulary: public functions, the tables that they return, and results of tests."""

from __future__ import annotations

import inspect
import pickle
import re

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.tables.statistical_tests import TestResult
from mixedext.tables.vocabulary import COLUMNS, LABELS

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore")]

FORMULAS = {
    "factors": "yield ~ nitro * Variety + (1 | Block/Variety)",
    "dropped": "yield ~ nitro + twice + Variety + (1 | Block/Variety)",
    "slopes": "yield ~ nitro + Variety + (nitro | Block)",
}
SMALL = {
    "factors": "yield ~ nitro + Variety + (1 | Block/Variety)",
    "dropped": "yield ~ Variety + (1 | Block/Variety)",
    "slopes": "yield ~ nitro + Variety + (1 | Block)",
}


@pytest.fixture(scope="module")
def data():
    data = mx.datasets.oats.load().data.reset_index(drop=True)
    return data.assign(twice=2 * data["nitro"])


@pytest.fixture(scope="module", params=FORMULAS)
def pair(request, data):
    """Results of a model, and of a smaller one."""
    formulas = FORMULAS[request.param], SMALL[request.param]
    return [mx.mixedlm(f, data).fit() for f in formulas]


# What is asked of results, by name of the method; None for what is no table.
OF_RESULTS = {
    "anova": lambda r, s: [r.anova(), r.anova(df_method="satterthwaite", type="II")],
    "bootstrap_parametric": lambda r, s: _bootstrap(r.bootstrap_parametric(20, rng=1)),
    "bootstrap_residual": lambda r, s: _bootstrap(r.bootstrap_residual(5, rng=1)),
    "bootstrap_cases": lambda r, s: _bootstrap(r.bootstrap_cases(5, rng=1)),
    "bootstrap_test": lambda r, s: [r.bootstrap_test(s, 5, rng=1)],
    "compare_kr_test": lambda r, s: _other_fixed(r, s, r.compare_kr_test),
    "compare_satterthwaite_test": lambda r, s: _other_fixed(
        r, s, r.compare_satterthwaite_test
    ),
    "conf_int_vcomp": lambda r, s: [
        r.conf_int_vcomp(),
        r.conf_int_vcomp(method="satterthwaite", scale="variance"),
    ],
    "drop1": lambda r, s: [r.drop1(), r.drop1(test="lrt")],
    "emmeans": lambda r, s: _means(r.emmeans("Variety", df_method="residual")),
    "emtrends": lambda r, s: _slopes(r),
    "exact_rlrt": lambda r, s: [
        r.exact_rlrt(_a_term(r), n=200, rng=1, method=_law(r)),
    ],
    "augment": lambda r, s: [r.augment()],
    "glance": lambda r, s: [r.glance(), s.glance()],
    "tidy": lambda r, s: [r.tidy(), r.tidy("random", conf_int=False)],
    "icc": lambda r, s: [r.icc(ci="delta"), r.r2_nakagawa],
    "joint_tests": lambda r, s: [r.joint_tests()],
    "kenward_roger": lambda r, s: [r.kenward_roger("Intercept = 0")],
    "profile": lambda r, s: [
        r.profile("random").conf_int(),
        r.profile("random").zeta.iloc[:, :4],
    ],
    "ranova": lambda r, s: [r.ranova(), *_exact_ranova(r)],
    "step": lambda r, s: [r.step().random, r.step().fixed],
}
# Arrays, frames with labels of the data alone, statsmodels' own tables, and numbers.
NO_TABLES = {
    "G", "L", "R", "V", "acf", "bootstrap", "by_chunk", "coef", "coef_cov",
    "compare_lr_test", "conf_int", "cov_params", "df_description", "df_held", "equation",
    "f_test", "fixed_effects_inference", "get_influence", "get_nlfun", "get_prediction",
    "get_robustcov_results", "marginal_cov",
    "plot_effect", "plot_fitted", "plot_forest", "plot_qq_random",
    "plot_random_effects", "plot_shrinkage", "predict", "profile_re", "ranef", "ranef_cov",
    "ranef_new", "reliability", "remove_data", "report", "residuals", "simulate",
    "simulate_refits", "summary", "t_test", "t_test_pairwise", "update",
    "wald_test", "wald_test_terms",
    "check_model", "plot_acf", "plot_deviance", "plot_fit_log", "plot_index",
    "plot_influence", "plot_matrix", "plot_observed", "plot_qq", "plot_residuals",
    "plot_residual_cov", "plot_scale_location", "plot_variance_shares", "plot_variogram",
    "variogram",
}  # fmt: skip


def _bootstrap(found):
    return [found.table, found.conf_int(), found]


def _means(found):
    pairs = found.contrast("pairwise")
    return [
        found.table, found.conf_int(), found.test(), pairs.table, pairs.conf_int(),
        pairs.test(joint=True), found, pairs, found.cld(),
    ]  # fmt: skip


def _exact_ranova(result):
    if "(nitro" in result.model.formula:  # no exact law
        return []
    return [result.ranova(test="exact", n=99, rng=1)]


def _slopes(result):
    """Where slopes differ."""
    if "nitro * Variety" not in result.model.formula:
        return []
    return _means(result.emtrends("Variety", "nitro", df_method="z"))


def _other_fixed(large, small, compare):
    """The comparison, where the fixed effects differ."""
    return [compare(small)] if len(small.fe_params) < len(large.fe_params) else []


def _a_term(result):
    return "nitro" if "(nitro" in result.model.formula else "Block"


def _law(result):
    return "bootstrap" if "(nitro" in result.model.formula else "simulation"


def _methods(kind):
    """Names of the methods that a class of mixedext has itself."""
    return {
        name
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


def test_every_method_is_listed():
    assert _methods(mx.MixedLMResults) == OF_RESULTS.keys() | NO_TABLES


def _of_functions(result, small, data):
    """What functions of the package return."""
    lists = mx.lm_list("yield ~ nitro | Variety", data)
    anova = mx.anova_estimates("yield ~ (1 | Block) + (1 | Variety)", data)
    yield mx.anova(result, small)
    yield mx.model_table(result, small)
    yield from (lists.conf_int(), lists.tests(), lists.homogeneity(), lists.summary())
    yield lists.poolability()
    yield from (anova.table, anova.estimates, anova.conf_int())
    power = mx.power(result, "Variety[T.Victory]", n=4, rng=1)
    yield from (power, power.table, power.conf_int())


def _check_object(found):
    """Printed as what it is, and the same after pickling."""
    text = repr(found)
    assert " object at 0x" not in text, text
    assert repr(pickle.loads(pickle.dumps(found))) == text


def _check_table(frame):
    if isinstance(frame, mx.NotedTable):
        assert isinstance(frame.heading, str)
        assert isinstance(frame.notes, tuple)
    _check_object(frame)
    of_data = {*frame.index.names, "nitro", "Variety", "Block"}
    for column in frame.columns.get_level_values(-1):  # below coefficients' names
        known = column in COLUMNS or column in LABELS or column in of_data
        assert known, f"column {column!r} is not in the vocabulary: {list(frame.columns)}"


def _check_test(test):
    _check_object(test)
    assert isinstance(test.statistic, float)
    assert 0 <= test.pvalue <= 1
    assert isinstance(test.notes, tuple)
    assert isinstance(test.method, str)
    for df in (test.df_num, test.df_denom):
        assert df is None or df > 0
    with pytest.raises(AttributeError):
        test.statistic = 0.0


def _check(found):
    if isinstance(found, TestResult):
        _check_test(found)
    elif isinstance(found, pd.DataFrame):
        _check_table(found)
    else:
        _check_object(found)


@pytest.mark.parametrize("name", OF_RESULTS)
def test_what_methods_return(pair, name):
    for found in OF_RESULTS[name](*pair):
        _check(found)


def test_what_functions_return(pair, data):
    for found in _of_functions(*pair, data):
        _check(found)


def test_what_properties_return(pair):
    result = pair[0]
    for found in (result.var_corr, result.fit_log):
        _check(found)
    assert isinstance(result.cov_vcomp, mx.NotedTable)
    assert (result.cov_vcomp.columns == result.cov_vcomp.index).all()


def test_dropped_coefficients_are_nan(data):
    """Where a column was dropped its row is there, and holds no number."""
    result = mx.mixedlm(FORMULAS["dropped"], data).fit()
    assert "twice" in result.model.dropped_columns
    for values in (result.fe_params, result.bse_fe, result.tvalues, result.pvalues):
        assert np.isnan(values["twice"])
        assert np.isfinite(values["nitro"])
    assert np.isnan(result.conf_int().loc["twice"]).all()
    assert np.isnan(result.cov_params().loc["twice", result.fe_params.index]).all()
    assert np.isnan(result.cov_params_kr.loc["twice"]).all()
    assert np.isnan(result.coef("Block")["twice"]).all()
    own = result.fixed_effects_inference()
    assert all(np.isnan(part[list(result.fe_params.index).index("twice")]) for part in own)


# ---- arguments ----

#: A word in the place of another.
ONE_WORD = {
    "nsim": "n", "nrep": "n", "n_threads": "n_jobs", "which": "term or group",
    "seed": "rng", "random_state": "rng", "conf_level": "level", "term_name": "term",
}  # fmt: skip
#: Where statsmodels, or R's packages, have the other word.
AS_THEIRS = {
    ("bootstrap", "nrep"), ("t_test_pairwise", "term_name"), ("exact_rlrt", "nsim"),
    ("exact_lrt", "nsim"), ("ranova", "nsim"),
    ("predict", "which"), ("get_prediction", "which"),
}  # fmt: skip


def _public_functions():
    for name in mx.api.__all__:
        found = getattr(mx, name)
        if inspect.isfunction(found) or inspect.ismethod(found):
            yield name, found
        elif inspect.isclass(found) and found.__module__.startswith("mixedext"):
            for method in sorted(_methods(found)):
                yield f"{name}.{method}", getattr(found, method)


PUBLIC = dict(_public_functions())


@pytest.mark.parametrize("name", PUBLIC)
def test_arguments(name):
    function = PUBLIC[name]
    parameters = inspect.signature(function).parameters
    own = name.split(".")[-1]
    for word, better in ONE_WORD.items():
        allowed = word not in parameters or (own, word) in AS_THEIRS
        assert allowed, f"{name}({word}=): the word is {better}"
    if own in ("conf_int", "conf_int_vcomp", "emmeans", "emtrends", "profile"):
        assert "alpha" in parameters, name
        level = parameters.get("level")
        assert level is not None, f"{name} takes no level="
        assert level.kind is inspect.Parameter.KEYWORD_ONLY, name
        assert level.default is None, name


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_are_annotated_whole(name):
    function = PUBLIC[name]
    function = getattr(function, "__func__", function)
    if not function.__module__.startswith("mixedext"):
        return  # statsmodels' own
    signature = inspect.signature(function)
    bare = [
        p.name
        for i, p in enumerate(signature.parameters.values())
        if p.annotation is inspect.Parameter.empty
        and not (i == 0 and p.name in ("self", "cls"))
    ]
    assert not bare, f"{name}: {', '.join(bare)} without annotation"
    assert signature.return_annotation is not inspect.Signature.empty, name


def test_columns_are_lower_case():
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", word) for word in {*COLUMNS, *LABELS})
