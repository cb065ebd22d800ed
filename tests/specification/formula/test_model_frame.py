"""Formulas on data, under whichever engine statsmodels is set to use."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.compat import FormulaManager
from mixedext.specification.formula import transforms
from mixedext.specification.formula.model_frame import model_frame
from mixedext.specification.formula.namespace import (
    caller_namespace,
    portable_namespace,
    restored_namespace,
)

FORMULAIC = FormulaManager().engine == "formulaic"
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
    pytest.mark.formula_engine,
]


@pytest.fixture
def data():
    rng = np.random.default_rng(4)
    n = 240
    frame = pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.uniform(1, 3, n),
            "z": rng.normal(size=n),
            "f": pd.Categorical(rng.choice(["p", "q", "r"], n)),
            "a": np.repeat(list("stuvwxyz"), 30),
            "b": np.tile(np.repeat([1, 2, 3], 10), 8),
            "g": rng.integers(0, 12, n),
            "yield": rng.normal(size=n),
            "class": rng.normal(size=n),
            "p.h": rng.normal(size=n),
            "my col": rng.normal(size=n),
        }
    )
    frame["y"] += frame["x"] + 0.5 * rng.normal(size=12)[frame["g"]]
    return frame


def terms(formula, data, **kwargs):
    return mx.mixedlm(formula, data, **kwargs).terms


@pytest.mark.parametrize(
    ("bar", "want"),
    [
        ("(1 | g)", [("g", 1, "unstructured", 12)]),
        ("(x | g)", [("g", 2, "unstructured", 12)]),
        ("(1 + x + z | g)", [("g", 3, "unstructured", 12)]),
        ("(0 + x | g)", [("g", 1, "unstructured", 12)]),
        ("(x || g)", [("g", 2, "diagonal", 12)]),
        ("(f | g)", [("g", 3, "unstructured", 12)]),
        ("(0 + f | g)", [("g", 3, "unstructured", 12)]),
        ("(f || g)", [("g", 3, "diagonal", 12)]),
        ("(0 + f || g)", [("g", 3, "diagonal", 12)]),
        ("(1 | a/b)", [("a", 1, "unstructured", 8), ("b:a", 1, "unstructured", 24)]),
        ("(1 | a:b)", [("a:b", 1, "unstructured", 24)]),
        (
            "(1 | a*b)",
            [
                ("a", 1, "unstructured", 8),
                ("b", 1, "unstructured", 3),
                ("a:b", 1, "unstructured", 24),
            ],
        ),
        ("(x:z | g)", [("g", 2, "unstructured", 12)]),
        ("(np.log(x) | g)", [("g", 2, "unstructured", 12)]),
        ("(poly(x, 2) | g)", [("g", 3, "unstructured", 12)]),
        ("(I(x**2) | C(g))", [("g", 2, "unstructured", 12)]),
        ("(1 | g) + (0 + x | g)", [("g", 1, "unstructured", 12)] * 2),
        ("(1 | np.floor(x * 3))", [("np.floor(x * 3)", 1, "unstructured", 6)]),
    ],
)
def test_random_terms(bar, want, data):
    got = terms(f"y ~ x + {bar}", data)
    assert [(t.group, t.k, t.structure.name, t.n_levels) for t in got] == want


def test_labels_of_nested_levels_put_the_inner_first(data):
    inner = terms("y ~ x + (1 | a/b)", data)[1]
    assert inner.levels[0] == "1:s"
    crossed = terms("y ~ x + (1 | a:b)", data)[0]
    assert crossed.levels[0] == "s:1"


def test_bars_may_stand_anywhere(data):
    want = mx.mixedlm("y ~ x + z + (1 | g) + (x | a)", data)
    for formula in (
        "y ~ (1 | g) + x + (x | a) + z",
        "y ~ (1 | g) + (x | a) + x + z",
        "y ~ (x + z + (1 | g)) + (x|a)",
    ):
        got = mx.mixedlm(formula, data)
        assert got.exog_names == want.exog_names
        assert [t.group for t in got.terms] == ["g", "a"]


def test_uncorrelated_terms_equal_separate_ones(data):
    one = mx.mixedlm("y ~ x + (x || g)", data).fit()
    other = mx.mixedlm("y ~ x + (1 | g) + (0 + x | g)", data).fit()
    assert one.deviance == pytest.approx(other.deviance, rel=1e-12)
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(one.ranef("g"), other.ranef("g"), atol=1e-8)


def test_double_bar_of_a_factor_gives_a_variance_a_column(data):
    dummies = pd.get_dummies(data["f"], dtype=float)
    wide = data.assign(fq=dummies["q"], fr=dummies["r"])
    one = mx.mixedlm("y ~ x + (f || g)", data)
    other = mx.mixedlm("y ~ x + (1 | g) + (0 + fq | g) + (0 + fr | g)", wide)
    theta = [0.4, 0.8, 0.3]
    assert one.objective(theta)[0] == pytest.approx(other.objective(theta)[0], rel=1e-12)


def test_nesting_equals_its_expansion(data):
    one = mx.mixedlm("y ~ x + (1 | a/b)", data)
    other = mx.mixedlm("y ~ x + (1 | a) + (1 | a:b)", data)
    theta = [0.5, 1.1]
    assert one.objective(theta)[0] == pytest.approx(other.objective(theta)[0], rel=1e-12)


def test_no_fixed_intercept_and_no_fixed_effects(data):
    assert mx.mixedlm("y ~ 0 + x + (1 | g)", data).exog_names == ["x"]
    assert mx.mixedlm("y ~ x - 1 + (1 | g)", data).exog_names == ["x"]
    for formula in ("y ~ 0 + (1 | g)", "y ~ -1 + (1 | g)"):
        model = mx.mixedlm(formula, data)
        assert model.exog.shape == (240, 0)
        for reml in (True, False):
            result = model.fit(reml=reml)
            assert len(result.fe_params) == 0
            assert result.df_resid == 240
            assert "Groups" in str(result.summary())
    assert mx.mixedlm("y ~ (1 | g)", data).exog_names == ["Intercept"]


def test_no_random_term_is_the_linear_model(data):
    ols = np.linalg.lstsq(np.column_stack([np.ones(240), data["x"]]), data["y"])[0]
    result = mx.mixedlm("y ~ x", data).fit()
    np.testing.assert_allclose(result.fe_params, ols, rtol=1e-10)
    residual = data["y"] - result.fittedvalues
    assert result.scale == pytest.approx(residual @ residual / 238, rel=1e-12)
    ml = mx.mixedlm("y ~ x", data).fit(reml=False)
    assert ml.llf == pytest.approx(
        -120 * (1 + np.log(2 * np.pi * residual @ residual / 240)), rel=1e-12
    )
    assert "Intercept" in str(ml.summary())


@pytest.mark.parametrize(
    "formula",
    [
        "yield ~ x + class + p.h + (class | g)",
        "yield ~ x + np.log(class + 10) + (1 | g)",
        'Q("yield") ~ x + Q("my col") + (1 | g)',
    ],
)
def test_names_that_are_not_pythons(formula, data):
    model = mx.mixedlm(formula, data)
    assert model.endog_names == "yield"
    assert not any("Q(" in name and "np" not in name for name in model.exog_names)
    result = model.fit()
    np.testing.assert_allclose(
        result.predict(data.head(5), conditional=False),
        model.exog[:5] @ result.fe_params,
    )


def test_backticks(data):
    data["my g"] = data["g"]
    model = mx.mixedlm("`yield` ~ `my col` + (`my col` | `my g`)", data)
    assert model.exog_names == ["Intercept", "my col"]
    assert model.terms[0].group == "my g"
    assert model.terms[0].names == ["Intercept", "my col"]


def test_orthogonal_polynomials(data):
    model = mx.mixedlm("y ~ poly(x, 3) + (1 | g)", data)
    basis = model.exog[:, 1:]
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(basis.sum(axis=0), 0.0, atol=1e-10)
    result = model.fit()
    # new rows use the basis of the fit
    few = data.iloc[[5, 17, 100]]
    np.testing.assert_allclose(result.predict(few), result.predict(data).iloc[[5, 17, 100]])
    raw = mx.mixedlm("y ~ x + I(x**2) + I(x**3) + (1 | g)", data).fit(reml=False)
    assert model.fit(reml=False).deviance == pytest.approx(raw.deviance, rel=1e-10)


def test_poly_refuses_a_degree_that_the_values_cannot_carry():
    transform = transforms.poly.__patsy_stateful_transform__()
    transform.memorize_chunk([1.0, 2.0, 2.0], degree=2)
    transform.memorize_finish()
    with pytest.raises(ValueError, match="degree must lie between 1 and 1"):
        transform.transform([1.0, 2.0], degree=2)


def test_names_of_the_calling_function(data):
    def double(v):
        return 2 * v

    shift = 5.0  # noqa: F841
    labels = data["g"].to_numpy() % 4  # noqa: F841
    model = mx.mixedlm("y ~ double(x) + I(z + shift) + (1 | labels)", data[["y", "x", "z"]])
    np.testing.assert_allclose(model.exog[:, 1], 2 * data["x"])
    assert model.terms[0].n_levels == 4
    explicit = mx.mixedlm(
        "y ~ double(x) + (1 | g)", data, eval_env={"double": lambda v: 3 * v}
    )
    np.testing.assert_allclose(explicit.exog[:, 1], 3 * data["x"])
    with pytest.raises(mx.FormulaError, match="double"):
        mx.mixedlm("y ~ double(x) + (1 | g)", data, eval_env=-1)


def test_eval_env_counts_levels_up_the_stack(data):
    def inner(frame):
        return mx.mixedlm("y ~ I(x + outer_shift) + (1 | g)", frame, eval_env=1)

    outer_shift = 2.0
    model = inner(data)
    np.testing.assert_allclose(model.exog[:, 1], data["x"] + outer_shift)


@pytest.mark.parametrize(
    ("formula", "match"),
    [
        ("y ~ nowhere + (1 | g)", "nowhere"),
        ("y ~ x + (nowhere | g)", "nowhere"),
        ("y ~ x + (1 | nowhere)", "grouping factor 'nowhere' is not a column.*my col"),
        ("nowhere ~ x + (1 | g)", "nowhere"),
        ("y ~ x + (0 | g)", "no columns"),
        ("y ~ x + offset(f) + (1 | g)", "offset"),
        ("y ~ x + (1 | np.nosuch(x))", "cannot be evaluated"),
        ("y ~ x + (1 | np.array([1, 2]))", r"shape \(2,\)"),
        # the place, whichever engine reads the formula, and nothing that only it knows
        (
            "y ~ x + np.log(x x) + (1 | g)",
            r": invalid syntax, at 'np.log\(x x\)'; an operator .* between x and x$",
        ),
        ("y ~ x + 3 + (1 | g)", "at '3'$"),
        ("y ~ x ** f + (1 | g)", "positive integer, at 'f'$"),
        ("y ~ . + (1 | g)", "R's word for all other columns.*name them$"),
        ("y ~ bs(x, df=1) + (1 | g)", "df"),
        ("y ~ x (1 | g)", "must stand by itself"),
        ("y ~ x + -1 (1 | g)", "must stand by itself"),
    ],
)
def test_formulas_that_cannot_be_evaluated(formula, match, data):
    with pytest.raises(mx.FormulaError, match=match) as caught:
        mx.mixedlm(formula, data)
    assert "<unknown>" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert "df is neither" not in str(caught.value)


@pytest.mark.parametrize("missing", ["none", None])
def test_no_check_of_missing_values_is_asked_for(missing, data):
    want = mx.mixedlm("y ~ x + (1 | g)", data)
    assert mx.mixedlm("y ~ x + (1 | g)", data, missing=missing).nobs == want.nobs
    arrays = mx.MixedLM(data["y"], data[["x"]], data["g"], missing=missing)
    assert arrays.nobs == want.nobs


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"weights": "nope"}, mx.FormulaError, "weights='nope' is not a column"),
        ({"weights": [1.0, 2.0]}, ValueError, r"weights has shape \(2,\)"),
        ({"weights": 2.0}, ValueError, r"weights has shape \(\)"),
        ({"weights": ["a"] * 240}, ValueError, "weights is not numeric"),
        ({"offset": "nope"}, mx.FormulaError, "offset='nope' is not a column"),
        ({"groups": "nope"}, mx.FormulaError, "groups='nope' is not a column"),
        ({"missing": "ignore"}, ValueError, "missing='ignore'"),
        ({"groups": "g", "re_formula": 3}, ValueError, "re_formula must be a string"),
        ({"groups": "g", "vc_formula": "0 + f"}, ValueError, "vc_formula must map"),
        ({"re_formula": "~ x"}, AttributeError, "groups= is required"),
    ],
)
def test_bad_arguments(arguments, error, match, data):
    with pytest.raises(error, match=match):
        mx.mixedlm("y ~ x + (1 | a)", data, **arguments)


def test_groups_and_re_formula(data):
    want = mx.mixedlm("y ~ x + (x | g)", data).fit()
    for groups in ("g", ["g"], data["g"], data["g"].to_numpy()):
        got = mx.mixedlm("y ~ x", data, groups=groups, re_formula="~ x").fit()
        assert got.deviance == pytest.approx(want.deviance, rel=1e-12)
        assert got.cov_re.shape == (2, 2)
    one = mx.mixedlm("y ~ x", data, groups="g").fit()
    assert one.deviance == pytest.approx(
        mx.mixedlm("y ~ x + (1 | g)", data).fit().deviance, rel=1e-12
    )


@pytest.mark.parametrize("component", ["0 + C(b)", "0 + fb"])
def test_vc_formula(component, data):
    data["fb"] = data["b"].astype(str)
    got = mx.mixedlm(
        "y ~ x", data, groups="a", re_formula="1", vc_formula={"inner": component}
    )
    want = mx.mixedlm("y ~ x + (1 | a) + (1 | a:b)", data)
    theta = [0.7, 0.4]
    assert got.objective(theta)[0] == pytest.approx(want.objective(theta)[0], rel=1e-11)
    result = got.fit()
    assert list(result.model.layout.component_names) == ["inner"]
    assert result.cov_re.shape == (1, 1)
    assert result.vcomp.shape == (1,)


def test_subset(data):
    got = mx.mixedlm("y ~ x + (1 | g)", data, subset=data["x"] > 2)
    want = mx.mixedlm("y ~ x + (1 | g)", data[data["x"] > 2])
    assert got.nobs == want.nobs
    assert got.objective([1.0])[0] == want.objective([1.0])[0]


def test_data_that_are_no_frame(data):
    columns = {name: data[name].to_numpy() for name in ("y", "x", "g")}
    got = mx.mixedlm("y ~ x + (1 | g)", columns)
    assert got.nobs == 240


def test_model_frame_reports_its_rows(data):
    data.loc[[2, 5], "x"] = np.nan
    frame = model_frame("y ~ x + (1 | g)", data, {}, missing="drop")
    assert frame.rows.sum() == 238
    assert not frame.rows[[2, 5]].any()
    assert len(frame.data) == 238


def test_caller_namespace_holds_only_the_names_used():
    used, unused = 1, 2
    found = caller_namespace(["y ~ used + np.log(x)"], None, depth=0)
    assert found["used"] == used
    assert "unused" not in found
    assert unused == 2
    assert caller_namespace(["y ~ used"], -1, depth=0) == {}
    assert caller_namespace(["y ~ used"], {"used": 7, "z": 1}, depth=0) == {"used": 7}


def test_namespaces_are_pickled_by_what_can_be():
    names = {"np": np, "pd": pd, "k": 3, "local": lambda v: v}
    restored = restored_namespace(pickle.loads(pickle.dumps(portable_namespace(names))))
    assert "local" not in restored
    assert restored["pd"] is pd
    assert restored["k"] == 3


def test_repeated_column_names(data):
    repeated = pd.concat([data, data[["x"]]], axis=1)
    with pytest.raises(mx.FormulaError, match="several columns named x"):
        mx.mixedlm("y ~ x + (1 | g)", repeated)
    assert mx.mixedlm("y ~ z + (1 | g)", repeated).nobs == 240


@pytest.mark.parametrize("name", ["data", "weights", "groups"])
def test_columns_named_as_arguments(name, data):
    data[name] = data["x"]
    data.loc[3, name] = np.nan
    with pytest.raises(mx.MissingDataError, match=rf"missing values in {name} \(1\);"):
        mx.mixedlm(f"y ~ {name} + (1 | g)", data)
    assert mx.mixedlm(f"y ~ {name} + (1 | g)", data, missing="drop").nobs == 239


# ---- categories without rows ----


def with_empty_category(n=120, seed=3):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": rng.integers(0, 12, n), "x": rng.normal(size=n)})
    data["f"] = pd.Categorical(rng.choice(["a", "b", "c"], n), ["none", "b", "a", "c"])
    data["t"] = data["f"].astype(str)
    data["y"] = rng.normal(size=12)[data["g"]] + rng.normal(size=n)
    data["w"] = data["x"].where(data["f"] != "c")
    data["z"] = data["x"].abs().where(data["f"] != "c", -1.0)  # a logarithm is missing
    return data


@pytest.mark.filterwarnings("ignore:The random effects covariance")
@pytest.mark.filterwarnings("ignore:invalid value encountered in log:RuntimeWarning")
@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("y ~ f + x + (f | g)", {"subset": "f"}),
        ("y ~ f * x + (0 + f || g)", {"subset": "f"}),
        ("y ~ w + (f | g)", {"missing": "drop"}),
        ("y ~ f + np.log(z) + (f | g)", {"missing": "drop"}),
        ("y ~ t + np.log(z) + (t | g)", {"missing": "drop"}),
        ("y ~ C(f) + np.log(z) + (1 | g:f)", {"missing": "drop", "offset": "x"}),
    ],
)
def test_categories_that_no_row_used_has_are_left_out(formula, options):
    data = with_empty_category()
    used = data[data["f"] != "c"].copy()
    used["f"] = used["f"].cat.remove_unused_categories()
    want = mx.mixedlm(formula, used, **{**options, "subset": None})
    if "subset" in options:
        options = {"subset": data["f"] != "c"}
    got = mx.mixedlm(formula, data, **options)
    assert got.exog_names == want.exog_names
    assert [t.names for t in got.random_terms] == [t.names for t in want.random_terms]
    assert got.nobs == want.nobs == len(used)
    assert got.data.row_labels.equals(want.data.row_labels)
    np.testing.assert_array_equal(got.exog, want.exog)
    np.testing.assert_allclose(got.fit().llf, want.fit().llf, rtol=1e-12)


def test_categories_of_groups_are_left_out_and_of_components_kept():
    data = with_empty_category()
    model = mx.mixedlm("y ~ x", data, groups="g", re_formula="f")
    assert model.random_terms[0].names == ["Intercept", "f[T.a]", "f[T.c]"]
    model = mx.mixedlm(
        "y ~ f", data, groups="g", re_formula="1", vc_formula={"v": "0 + C(f)"}
    )
    assert model.exog_names == ["Intercept", "f[T.a]", "f[T.c]"]
    assert len(model.exog_vc.colnames[0][0]) == 4  # as in statsmodels


def test_levels_that_the_formula_states_stay():
    data = with_empty_category()
    with pytest.warns(mx.RankDeficientWarning, match="none"):
        model = mx.mixedlm("y ~ C(t, levels=['a', 'b', 'c', 'none']) + (1 | g)", data)
    assert model.dropped_columns[0].endswith("[T.none]")
