"""Numerical rules and bad input: one test a trap."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import dense
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def sleep():
    return mx.datasets.sleepstudy.load().data


def crossed(seed=0, n=300, shift=0.0):
    rng = np.random.default_rng(seed)
    g, h = rng.integers(0, 20, n), rng.integers(0, 12, n)
    x = rng.normal(size=n)
    y = (
        shift
        + 2.0 * x
        + rng.normal(size=20)[g]
        + (0.7 * rng.normal(size=20))[g] * x
        + 0.8 * rng.normal(size=12)[h]
        + rng.normal(size=n)
    )
    return pd.DataFrame({"y": y, "x": x, "g": g, "h": h})


FORMULA = "y ~ x + (1 + x | g) + (1 | h)"


def fit(formula, data, **kwargs):
    return mx.mixedlm(formula, data, **kwargs).fit()


# ---- invariance ----


def same(one, other):
    np.testing.assert_allclose(one.deviance, other.deviance, rtol=1e-10)
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(one.fe_params, other.fe_params, rtol=1e-7)
    np.testing.assert_allclose(one.bse_fe, other.bse_fe, rtol=1e-7)


def test_row_order():
    data = crossed()
    shuffled = data.sample(frac=1, random_state=1)
    one, other = fit(FORMULA, data), fit(FORMULA, shuffled)
    same(one, other)
    np.testing.assert_allclose(
        one.fittedvalues[shuffled.index], other.fittedvalues, rtol=1e-7
    )
    assert other.fittedvalues.index.equals(shuffled.index)


def test_term_order():
    data = crossed()
    one = fit("y ~ x + (1 | h) + (1 + x | g)", data)
    other = fit(FORMULA, data)
    np.testing.assert_allclose(one.deviance, other.deviance, rtol=1e-12)
    np.testing.assert_allclose(one.theta[1:], other.theta[:3], rtol=1e-8)
    pd.testing.assert_frame_equal(one.ranef("g"), other.ranef("g"), rtol=1e-8)
    assert list(one.var_corr["group"]) == ["h", "g", "g", "Residual"]


def test_relabelled_groups():
    data = crossed()
    labels = np.random.default_rng(3).permutation(20)
    renamed = data.assign(g=[f"group {labels[i]}" for i in data["g"]])
    one, other = fit(FORMULA, data), fit(FORMULA, renamed)
    same(one, other)
    for i in (0, 7, 19):
        np.testing.assert_allclose(
            one.ranef("g").loc[i], other.ranef("g").loc[f"group {labels[i]}"], rtol=1e-6
        )


@pytest.mark.parametrize("factor", [1e-6, 1e6, 1e-12, 1e12])
def test_scale_of_y(factor):
    data = crossed()
    one, other = fit(FORMULA, data), fit(FORMULA, data.assign(y=factor * data["y"]))
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-8)
    np.testing.assert_allclose(factor * one.fe_params, other.fe_params, rtol=1e-9)
    np.testing.assert_allclose(factor * one.sigma, other.sigma, rtol=1e-9)
    dof = len(data) - 2
    assert other.deviance == pytest.approx(
        one.deviance + 2 * dof * np.log(factor), rel=1e-10
    )


@pytest.mark.parametrize("factor", [1e-6, 1e3, 1e6])
def test_scale_of_x(factor):
    data = crossed()
    one, other = fit(FORMULA, data), fit(FORMULA, data.assign(x=factor * data["x"]))
    np.testing.assert_allclose(
        one.theta * [1, 1 / factor, 1 / factor, 1], other.theta, rtol=1e-7
    )
    assert other.fe_params["x"] == pytest.approx(one.fe_params["x"] / factor, rel=1e-8)
    # REML depends on the units of X by log det X'X
    assert other.deviance == pytest.approx(one.deviance + 2 * np.log(factor), rel=1e-10)


@pytest.mark.parametrize("shift", [1e4, 1e6, 1e8])
def test_shift_of_y(shift):
    one, other = fit(FORMULA, crossed()), fit(FORMULA, crossed(shift=shift))
    # adding the shift rounds y itself, to about 1e-16 of it
    assert other.deviance == pytest.approx(one.deviance, rel=max(1e-10, shift * 1e-17))
    np.testing.assert_allclose(other.theta, one.theta, rtol=1e-6)


@pytest.mark.parametrize("mean", [1e3, 1e6])
def test_fixed_column_far_from_zero(mean):
    data = crossed()
    far = data.assign(x=mean + data["x"])
    formula = "y ~ x + (1 | g) + (1 | h)"
    one, other = fit(formula, data), fit(formula, far)
    assert other.deviance == pytest.approx(one.deviance, rel=1e-9)
    assert other.fe_params["x"] == pytest.approx(one.fe_params["x"], rel=1e-8)


@pytest.mark.parametrize("mean", [1e3, 1e6])
def test_random_slope_column_far_from_zero(mean):
    """With the mean far from zero the model is another one only in its coordinates."""
    data = crossed()
    formula = "y ~ x + (1 + x | g)"
    one, other = fit(formula, data), fit(formula, data.assign(x=mean + data["x"]))
    assert other.deviance == pytest.approx(one.deviance, rel=1e-9)
    assert other.bse_fe["x"] == pytest.approx(one.bse_fe["x"], rel=1e-8)
    assert other.convergence.n_evaluations <= one.convergence.n_evaluations + 1
    np.testing.assert_allclose(other.ranef()["x"], one.ranef()["x"], rtol=1e-6)
    np.testing.assert_allclose(other.fittedvalues, one.fittedvalues, rtol=1e-6, atol=1e-6)
    shift = np.array([[1.0, -mean], [0.0, 1.0]])
    np.testing.assert_allclose(
        other.cov_re, shift @ one.cov_re.to_numpy() @ shift.T, rtol=1e-6
    )


@pytest.mark.parametrize("structure", ["|", "||"])
def test_basis_of_a_random_term_does_not_show(structure):
    """Scaled columns give the same model, with and without correlations."""
    data = crossed().assign(u=lambda d: 1e4 * d["x"], v=lambda d: d["h"] / 10)
    one = fit(f"y ~ x + (1 + x + v {structure} g)", data)
    other = fit(f"y ~ x + (1 + u + v {structure} g)", data)
    assert other.deviance == pytest.approx(one.deviance, rel=1e-11)
    np.testing.assert_allclose(
        other.ranef().to_numpy() * [1, 1e4, 1], one.ranef().to_numpy(), atol=1e-5
    )


def test_columns_with_correlation_almost_one():
    data = crossed()
    rng = np.random.default_rng(5)
    data["z"] = data["x"] + 1.4e-3 * rng.normal(size=len(data))
    assert np.corrcoef(data["x"], data["z"])[0, 1] > 0.999998
    model = mx.mixedlm("y ~ x + z + (1 | g)", data)
    result = model.fit()
    x = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    lam = [model.terms[0].structure.lam(result.theta)]
    want = dense.deviance(data["y"].to_numpy(), x, model.terms, lam, True)
    assert result.deviance == pytest.approx(want, rel=1e-9)
    difference = data.assign(d=(data["z"] - data["x"]) * 1e3)
    other = fit("y ~ x + d + (1 | g)", difference)
    assert result.fe_params["z"] == pytest.approx(1e3 * other.fe_params["d"], rel=1e-7)


# ---- the boundary ----


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
class TestBoundary:
    def test_zero_variance(self):
        data = mx.datasets.dyestuff2.load().data
        with pytest.warns(SingularMatrixWarning, match="effects"):
            result = fit("Yield ~ 1 + (1 | Batch)", data)
        assert result.is_singular
        assert result.converged
        assert result.convergence.status == "boundary"
        assert result.theta[0] == 0.0
        assert result.fe_params["Intercept"] == pytest.approx(
            data["Yield"].mean(), rel=1e-12
        )
        assert np.isfinite(result.llf)
        assert (result.ranef() == 0).all().all()
        linear = fit("Yield ~ 1", data)
        assert result.deviance == pytest.approx(linear.deviance, rel=1e-12)
        assert result.bse_fe["Intercept"] == pytest.approx(
            linear.bse_fe["Intercept"], rel=1e-12
        )
        assert np.isnan(result.bse_re).all()

    @pytest.mark.parametrize("start", [[0.0], [1e-9], [1e-3], [100.0]])
    def test_starts(self, start):
        """A start at zero is a stationary point that must be left where it is a saddle."""
        model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data)
        result = model.fit(start_params=start)
        assert result.deviance == pytest.approx(319.654276842, rel=1e-10)
        null = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff2.load().data)
        assert null.fit(start_params=start).theta[0] == 0.0

    @pytest.mark.parametrize("sign", [1, -1])
    def test_correlation_of_one(self, sign):
        rng = np.random.default_rng(2)
        g = np.repeat(np.arange(12), 10)
        x = np.tile(np.linspace(-1, 1, 10), 12)
        b = rng.normal(size=12)
        y = b[g] + sign * 2 * b[g] * x + 0.5 * rng.normal(size=120)
        data = pd.DataFrame({"y": y, "x": x, "g": g})
        result = fit("y ~ x + (1 + x | g)", data)
        smallest = np.linalg.eigvalsh(
            result.fitted.fit.lams[0] @ result.fitted.fit.lams[0].T
        )[0]
        assert result.converged
        assert result.is_singular
        assert smallest == pytest.approx(0.0, abs=1e-12)
        assert result.var_corr["corr"][1] == pytest.approx(sign, abs=1e-6)

    def test_zero_slope_variance_beside_a_positive_one(self):
        rng = np.random.default_rng(8)
        g = np.repeat(np.arange(15), 8)
        x = rng.normal(size=120)
        y = 2 * rng.normal(size=15)[g] + rng.normal(size=120)
        data = pd.DataFrame({"y": y, "x": x, "g": g})
        result = fit("y ~ x + (x || g)", data)
        plain = fit("y ~ x + (1 | g)", data)
        assert result.deviance <= plain.deviance + 1e-8
        assert result.is_singular
        assert result.deviance == pytest.approx(plain.deviance, rel=1e-10)
        assert result.theta[1] == 0.0

    def test_never_above_the_boundary_models(self):
        """Each term may be dropped: no sub-model may fit better."""
        for seed in range(6):
            rng = np.random.default_rng(seed)
            data = crossed(seed, n=80).assign(y=rng.normal(size=80))
            whole = fit("y ~ x + (1 + x | g) + (1 | h)", data)
            for part in (
                "y ~ x",
                "y ~ x + (1 | g)",
                "y ~ x + (1 | h)",
                "y ~ x + (0 + x | g)",
            ):
                assert whole.deviance <= fit(part, data).deviance + 1e-7


# ---- designs that cannot be estimated ----


@pytest.mark.parametrize(
    ("formula", "change", "match"),
    [
        ("y ~ x + (1 | g)", {"g": 1}, r"'g' of \(1 \| g\) has 1 level"),
        ("y ~ x + (1 | g)", {"g": range(300)}, "300 levels for 300 observations"),
        ("y ~ x + (1 | g:h:r)", {"r": range(300)}, "'g:h:r'.*300 levels"),
        (
            "y ~ x + (1 + k | g)",
            {"g": np.arange(300) // 2, "k": np.arange(300) % 2},
            "300 random effects",
        ),
        ("y ~ x + (1 | g)", {"y": 3.0}, "response .*is constant"),
        ("y ~ 1 + (1 | g)", {"y": 3.0}, "response .*is constant"),
        ("y ~ x + (1 | g)", {"y": lambda d: 1 + 2 * d["x"]}, "explained exactly"),
        ("y ~ x + (0 + z | g)", {"z": 0.0}, "'z' .* is zero in every row.*remove_unused"),
    ],
)
def test_design_that_cannot_be_estimated(formula, change, match):
    data = crossed().assign(**change)
    with pytest.raises(mx.DesignError, match=match):
        mx.mixedlm(formula, data)


def test_split_plot_with_a_factor_per_observation():
    data = mx.datasets.irrigation.load().data
    with pytest.raises(mx.DesignError, match=r"variety:field|field:variety.*residual"):
        mx.mixedlm("yield ~ irrigation * variety + (1 | field) + (1 | field:variety)", data)


def test_too_many_fixed_columns():
    data = crossed(n=30).assign(f=np.arange(30))
    with pytest.raises(mx.DesignError, match="no degrees of freedom"):
        mx.mixedlm("y ~ C(f) + (1 | h)", data)


def test_empty_data():
    with pytest.raises(ValueError, match="data has no rows"):
        mx.mixedlm("y ~ x + (1 | g)", crossed().iloc[:0])
    with pytest.raises(ValueError, match="endog is empty"):
        mx.MixedLM([], np.zeros((0, 1)))


def test_rank_deficient_exog():
    data = crossed().assign(a=lambda d: 1 - 2 * d["x"], b=lambda d: d["x"] ** 2)
    with pytest.warns(mx.RankDeficientWarning, match="a"):
        model = mx.mixedlm("y ~ x + a + b + (1 | g)", data)
    result, plain = model.fit(), fit("y ~ x + b + (1 | g)", data)
    assert model.dropped_columns == ["a"]
    assert list(result.fe_params.index) == ["Intercept", "x", "a", "b"]
    assert np.isnan(result.fe_params["a"])
    assert np.isnan(result.bse_fe["a"])
    assert result.deviance == pytest.approx(plain.deviance, rel=1e-12)
    np.testing.assert_allclose(result.fe_params.dropna(), plain.fe_params, rtol=1e-10)
    np.testing.assert_allclose(result.bse_fe.dropna(), plain.bse_fe, rtol=1e-10)
    np.testing.assert_allclose(result.predict(data), plain.predict(data), rtol=1e-10)
    np.testing.assert_allclose(result.fittedvalues, plain.fittedvalues, rtol=1e-8)
    assert result.aic == pytest.approx(plain.aic, rel=1e-12)
    assert result.t_test("b = 0").pvalue == pytest.approx(plain.t_test("b = 0").pvalue)
    with pytest.raises(ValueError, match="not estimable: a"):
        result.t_test("a = 0")
    assert "dropped" in str(result.summary())


def test_empty_cell_of_an_interaction():
    data = crossed().assign(
        f=lambda d: pd.Categorical(np.where(d["x"] > 0, "hi", "lo")),
        k=lambda d: pd.Categorical(np.where(d["h"] > 5, "b", "a")),
    )
    data = data[~((data["f"] == "hi") & (data["k"] == "b"))]
    with pytest.warns(mx.RankDeficientWarning):
        result = fit("y ~ f * k + (1 | g)", data)
    assert result.fitted.fit.design.basis.rank == 3


# ---- missing values, types and labels ----


@pytest.mark.parametrize("column", ["y", "x", "g", "w"])
def test_missing_values(column):
    data = crossed().assign(w=1.0).astype({"g": float})
    data.loc[[3, 8], column] = np.nan
    with pytest.raises(mx.MissingDataError, match=rf"{column} \(2\)|weights \(2\)"):
        mx.mixedlm("y ~ x + (1 | g)", data, weights="w")
    result = fit("y ~ x + (1 | g)", data, weights="w", missing="drop")
    whole = fit("y ~ x + (1 | g)", data.drop(index=[3, 8]), weights="w")
    assert result.nobs == 298
    assert result.deviance == pytest.approx(whole.deviance, rel=1e-12)
    assert 3 not in result.fittedvalues.index


def test_missing_values_that_a_function_makes():
    data = crossed().assign(z=lambda d: d["x"].abs())
    data.loc[5, "z"] = -1.0
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(mx.MissingDataError, match="fixed effects"),
    ):
        mx.mixedlm("y ~ np.log(z) + (1 | g)", data)
    with np.errstate(invalid="ignore"):
        result = fit("y ~ np.log(z) + (1 | g)", data, missing="drop")
    assert result.nobs == 299


def test_every_row_missing():
    with pytest.raises(ValueError, match="every row has a missing value"):
        mx.mixedlm("y ~ x + (1 | g)", crossed().assign(x=np.nan), missing="drop")


@pytest.mark.parametrize("column", ["y", "x", "w", "o"])
def test_infinite_values(column):
    data = crossed().assign(w=1.0, o=0.0)
    data.loc[3, column] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        mx.mixedlm("y ~ x + (1 | g)", data, weights="w", offset="o")


@pytest.mark.parametrize(
    "convert",
    [
        lambda g: g.astype(str),
        lambda g: g.astype(object),
        lambda g: g.astype("Int64"),
        lambda g: g.astype("string"),
        lambda g: g.astype("category"),
        lambda g: pd.Series(pd.Categorical(g, categories=range(-5, 30))),
        lambda g: g.astype(float),
        lambda g: g + 2**40,
        lambda g: pd.to_datetime("2020-01-01") + pd.to_timedelta(g, unit="D"),
        lambda g: pd.Series([(1, v) if v % 2 else f"{v}" for v in g], dtype=object),
    ],
    ids=[
        "str",
        "object",
        "Int64",
        "string",
        "category",
        "unused",
        "float",
        "big",
        "date",
        "mixed",
    ],
)
def test_types_of_grouping_factors(convert):
    data = crossed()
    want = fit("y ~ x + (1 | g)", data)
    got = fit("y ~ x + (1 | g)", data.assign(g=convert(data["g"])))
    assert got.deviance == pytest.approx(want.deviance, rel=1e-12)
    assert got.n_levels["g"] == 20


def test_boolean_and_nullable_columns():
    data = crossed().assign(b=lambda d: d["x"] > 0)
    want = fit("y ~ b + (1 | g)", data)
    got = fit("y ~ b + (1 | g)", data.astype({"b": "boolean", "y": "Float64"}))
    assert got.deviance == pytest.approx(want.deviance, rel=1e-12)
    boolean, text = (
        mx.mixedlm("y ~ x + (b | g)", frame).objective([1.0, 0.5, 1.0])[0]
        for frame in (data, data.astype({"b": str}))
    )
    assert boolean == pytest.approx(text, rel=1e-12)


@pytest.mark.parametrize("response", ["b", "s"])
def test_response_that_is_not_numeric(response):
    data = crossed().assign(b=lambda d: d["x"] > 0, s="text")
    data.loc[0, "s"] = "other"
    with pytest.raises(ValueError, match="must be one numeric column"):
        mx.mixedlm(f"{response} ~ x + (1 | g)", data)


def test_index_of_rows_is_kept():
    data = crossed()
    data.index = [f"r{i % 250}" for i in range(300)]  # duplicated labels
    data = data.sample(frac=1, random_state=0)
    result = fit("y ~ x + (1 | g)", data)
    assert result.fittedvalues.index.equals(data.index)
    np.testing.assert_allclose(result.fittedvalues + result.resid, data["y"])
    multi = data.set_index(pd.MultiIndex.from_arrays([data["g"], range(300)]))
    assert fit("y ~ x + (1 | g)", multi).resid.index.equals(multi.index)


def test_grouping_factor_in_the_index():
    data = crossed().set_index(["g", "h"])
    got = fit("y ~ x + (1 | g) + (1 | h)", data)
    want = fit("y ~ x + (1 | g) + (1 | h)", crossed())
    assert got.deviance == pytest.approx(want.deviance, rel=1e-12)


def test_interactions_take_the_combinations_present():
    data = crossed()
    result = fit("y ~ x + (1 | g:h)", data)
    assert result.n_levels["g:h"] == len(data[["g", "h"]].drop_duplicates())


def test_interactions_of_many_levels_do_not_overflow():
    rng = np.random.default_rng(0)
    n = 400
    a, b, c = (rng.integers(0, 10**7, n) for _ in range(3))
    a[200:], b[200:], c[200:] = a[:200], b[:200], c[:200]
    data = pd.DataFrame({"y": rng.normal(size=n), "a": a, "b": b, "c": c})
    model = mx.mixedlm("y ~ 1 + (1 | a:b:c)", data)
    assert model.terms[0].n_levels == 200


# ---- weights and offset ----


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_weights_that_are_not_positive(bad):
    data = crossed().assign(w=1.0)
    data.loc[4, "w"] = bad
    with pytest.raises(ValueError, match="weights must be positive; 1 of 300"):
        mx.mixedlm("y ~ x + (1 | g)", data, weights="w")


def test_weights_over_ten_orders_of_magnitude():
    data = crossed(n=60)
    weights = 10.0 ** np.linspace(-5, 5, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = mx.mixedlm("y ~ x + (1 | h)", data, weights=weights)
    result = model.fit()
    x = np.column_stack([np.ones(60), data["x"]])
    lam = [model.terms[0].structure.lam(result.theta)]
    want = dense.deviance(data["y"].to_numpy(), x, model.terms, lam, True, weights)
    assert result.deviance == pytest.approx(want, rel=1e-8)


def test_weights_that_span_too_much_warn():
    data = crossed(n=60)
    weights = 10.0 ** np.linspace(-8, 8, 60)
    with pytest.warns(mx.WeightsWarning, match="16 powers of ten"):
        mx.mixedlm("y ~ x + (1 | h)", data, weights=weights)


def test_constant_weights_only_move_the_scale():
    data = crossed()
    plain, weighted = fit(FORMULA, data), fit(FORMULA, data, weights=np.full(300, 4.0))
    assert weighted.deviance == pytest.approx(plain.deviance, rel=1e-11)
    assert weighted.scale == pytest.approx(4 * plain.scale, rel=1e-8)
    np.testing.assert_allclose(weighted.fe_params, plain.fe_params, rtol=1e-8)
    np.testing.assert_allclose(weighted.theta, plain.theta / 2, rtol=1e-6)


def test_offset_shifts_the_response():
    data = crossed().assign(o=lambda d: 5 * d["x"] + d["h"])
    by_name = fit(FORMULA, data, offset="o")
    by_term = fit("y ~ x + offset(5 * x + h) + (1 + x | g) + (1 | h)", data)
    twice = fit("y ~ x + offset(5 * x) + (1 + x | g) + (1 | h)", data, offset=data["h"])
    moved = fit(FORMULA, data.assign(y=data["y"] - data["o"]))
    for other in (by_term, twice, moved):
        same(by_name, other)
    np.testing.assert_allclose(by_name.fittedvalues, moved.fittedvalues + data["o"])
    np.testing.assert_allclose(
        by_term.predict(data), by_name.predict(data, offset=data["o"])
    )


# ---- extremes ----


def test_one_observation_in_most_levels():
    rng = np.random.default_rng(0)
    g = np.append(np.arange(40), [0, 1, 2, 3, 3])
    y = rng.normal(size=40)[g] * 2 + rng.normal(size=45)
    model = mx.mixedlm("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g}))
    result = model.fit()
    lam = [model.terms[0].structure.lam(result.theta)]
    want = dense.deviance(y, np.ones((45, 1)), model.terms, lam, True)
    assert result.deviance == pytest.approx(want, rel=1e-10)
    assert result.converged


def balanced_one_way(ratio):
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(30), 6)
    y = rng.normal(size=30)[g] + ratio * rng.normal(size=180)
    groups = y.reshape(30, 6)
    between = 6 * groups.mean(axis=1).var(ddof=1)
    within = groups.var(axis=1, ddof=1).mean()
    return pd.DataFrame({"y": y, "g": g}), between, within


def group_means(data):
    return data.groupby("g")["y"].mean().to_numpy()


@pytest.mark.parametrize(
    ("ratio", "tolerance"),
    [(1e-2, 1e-12), (1e-3, 1e-12), (1e-4, 1e-12), (1e-5, 1e-11), (1e-7, 1e-9)],
)
def test_variances_far_apart(ratio, tolerance):
    """sigma_e / sigma_b far below one, against the closed form by mean squares."""
    data, between, within = balanced_one_way(ratio)
    result = fit("y ~ 1 + (1 | g)", data)
    assert result.convergence.status == "interior"
    # the search stops where less than 1e-12 of the deviance is left to be gained
    variance = (between - within) / 6
    assert result.scale == pytest.approx(within, rel=2e-7)
    assert result.cov_re.to_numpy().item() == pytest.approx(variance, rel=2e-7)
    # at the optimum of the closed form nothing but rounding is left
    result = result.model.fit(start_params=[np.sqrt(variance / within)], do_cg=False)
    assert result.scale == pytest.approx(within, rel=tolerance)
    want = 29 * np.log(between) + 150 * np.log(within) + 179 * (1 + np.log(2 * np.pi))
    assert result.deviance == pytest.approx(want + np.log(180), abs=179 * tolerance)
    modes = variance / (variance + within / 6) * (group_means(data) - data["y"].mean())
    found = [effect.item() for effect in result.random_effects.values()]
    np.testing.assert_allclose(found, modes, atol=1e-14)
    error = np.sqrt(between / 180)
    assert result.bse_fe.item() == pytest.approx(error, rel=tolerance)


def test_mean_far_from_zero_without_an_intercept():
    """A mean of 1e6 is left to the levels: their variance is 1e12 times sigma^2."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(30), 6)
    x = rng.normal(size=180)
    y = 1e6 + 0.5 * x + rng.normal(size=30)[g] + rng.normal(size=180)
    data = pd.DataFrame({"y": y, "x": x, "g": g})
    result = fit("y ~ 0 + x + (1 | g)", data)
    assert result.convergence.status == "interior"
    groups = data.groupby("g")[["x", "y"]]
    within = (data[["x", "y"]] - groups.transform("mean")).to_numpy()
    mean = groups.mean().to_numpy() * np.sqrt(6 / (1 + 6 * result.theta[0] ** 2))
    (xx, xy), (_, yy) = within.T @ within + mean.T @ mean
    assert result.fe_params["x"] == pytest.approx(xy / xx, rel=1e-10)
    assert result.scale == pytest.approx((yy - xy**2 / xx) / 179, rel=1e-9)


def test_crossed_variances_far_apart():
    """The deviance at the estimate, against 80-bit arithmetic."""
    rng = np.random.default_rng(8)
    n = 2000
    g, h, x = rng.integers(0, 40, n), rng.integers(0, 15, n), rng.normal(size=n)
    y = 1 + x + rng.normal(size=40)[g] + rng.normal(size=15)[h] + 1e-4 * rng.normal(size=n)
    data = pd.DataFrame({"y": y, "x": x, "g": g, "h": h})
    result = fit("y ~ x + (1 | g) + (1 | h)", data)
    assert result.convergence.status == "interior"
    z = np.zeros((n, 55), np.longdouble)
    z[np.arange(n), g], z[np.arange(n), 40 + h] = result.theta
    fixed = np.column_stack([np.ones(n), x, y]).astype(np.longdouble)
    root = _cholesky(z.T @ z + np.eye(55))
    solved = z.T @ fixed
    for i in range(55):
        solved[i] = (solved[i] - root[i, :i] @ solved[:i]) / root[i, i]
    left = _cholesky(fixed.T @ fixed - solved.T @ solved)
    dof, square = n - 2, left[2, 2] ** 2
    want = 2 * np.log(np.diag(root)).sum() + 2 * np.log(np.diag(left)[:2]).sum()
    want += dof * (1 + np.log(2 * np.pi * square / dof))
    assert result.deviance == pytest.approx(float(want), rel=1e-9)
    assert result.scale == pytest.approx(float(square / dof), rel=1e-8)


def _cholesky(a):
    """Cholesky factor in the precision of ``a`` (LAPACK has no 80-bit version)."""
    a = np.array(a)
    for j in range(len(a)):
        a[j, j] = np.sqrt(a[j, j] - (a[j, :j] ** 2).sum())
        a[j + 1 :, j] = (a[j + 1 :, j] - a[j + 1 :, :j] @ a[j, :j]) / a[j, j]
    return np.tril(a)


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
def test_residual_variance_far_above_the_other():
    data, between, within = balanced_one_way(1e3)
    result = fit("y ~ 1 + (1 | g)", data)
    assert result.is_singular == (between <= within)
    linear = fit("y ~ 1", data)
    assert result.deviance <= linear.deviance + 1e-9


def test_response_that_the_random_effects_explain():
    data = crossed().assign(y=lambda d: np.sin(d["g"]))
    with pytest.raises(mx.DesignError, match="random effects explain the response"):
        mx.mixedlm("y ~ x + (1 | g)", data).fit()


# ---- several minima ----


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
def test_second_minimum_is_found():
    """Uncorrelated terms on a covariate far from zero: a poor minimum lies near zero."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(5):
        g = np.repeat(np.arange(8), 5)
        x = rng.normal(size=40)
        y = 3 * rng.normal(size=8)[g] * x + rng.normal(size=40)
        data = pd.DataFrame({"y": y, "x": 30 + x, "g": g})
        model = mx.mixedlm("y ~ x + (x || g)", data)
        result = model.fit()
        starts = [[0.1, 0.1], [1.0, 0.05], [20.0, 0.7], [100.0, 3.0]]
        others = [model.fit(start_params=start).deviance for start in starts]
        assert result.deviance <= min(others) + 1e-6
        found += max(others) > min(others) + 1e-3
    assert found  # there is more than one minimum at least once


def test_slope_of_a_constant_column():
    """It repeats the intercept: the same model with one variance, said to be flat."""
    rng = np.random.default_rng(3)
    g = rng.integers(0, 20, 300)
    y = rng.normal(size=20)[g] + rng.normal(size=300)
    data = pd.DataFrame({"y": y, "g": g, "c": 2.0})
    with pytest.warns(mx.UnidentifiedVarianceWarning, match="'Intercept', 'c' in"):
        model = mx.mixedlm("y ~ 1 + (1 + c | g)", data)
    with pytest.warns(mx.FlatLikelihoodWarning):
        found = model.fit()
    one = mx.mixedlm("y ~ 1 + (1 | g)", data).fit()
    assert found.llf == pytest.approx(one.llf, rel=1e-12)
    np.testing.assert_allclose(found.bse_fe, one.bse_fe, rtol=1e-7)


def test_a_deviance_that_does_not_depend_on_theta_is_flat():
    """The fixed effects of the groups take all that lies between them."""
    data = crossed()
    with pytest.warns(mx.FlatLikelihoodWarning):
        result = fit("y ~ C(g) + (1 | g)", data)
    assert result.convergence.status == "flat"


# ---- arguments of wrong types ----


def penicillin():
    return mx.mixedlm(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", mx.datasets.penicillin.load().data
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cov_kwds", 3),
        ("cov_kwds", ["groups"]),
        ("cov_pen", "l2"),
        ("df_method", ["satterthwaite"]),
        ("df_method", {}),
        ("fe_pen", 0.5),
    ],
)
def test_arguments_of_fit_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        penicillin().fit(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("ceps", "small"), ("maxit", 0), ("maxit", 2.5), ("ptol", -1.0)]
)
def test_arguments_of_fit_regularized_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        penicillin().fit_regularized(alpha=1.0, **{name: value})


@pytest.mark.parametrize("subset", ["nope", ["nope"], 0, 10**20, {"a": 1}, object()])
def test_subset_is_named(subset):
    data = mx.datasets.penicillin.load().data
    with pytest.raises(ValueError, match="subset"):
        mx.mixedlm("diameter ~ 1 + (1 | plate)", data, subset=subset)


@pytest.mark.parametrize("eval_env", ["nope", [1], 2.5])
def test_eval_env_is_named(eval_env):
    data = mx.datasets.penicillin.load().data
    with pytest.raises(ValueError, match="eval_env"):
        mx.mixedlm("diameter ~ 1 + (1 | plate)", data, eval_env=eval_env)


def test_reml_is_true_or_false():
    """A name such as "ML" is no criterion: as a truth value it would mean REML."""
    result = penicillin().fit()
    for draw in (
        result.simulate_refits,
        result.bootstrap_parametric,
        result.bootstrap_residual,
    ):
        with pytest.raises(ValueError, match="reml"):
            draw(2, rng=1, reml="ML")
    smaller = mx.mixedlm("diameter ~ 1 + (1 | plate)", mx.datasets.penicillin.load().data)
    with pytest.raises(ValueError, match="reml"):
        result.bootstrap_test(smaller.fit(), 2, rng=1, reml="ML")


@pytest.mark.parametrize("array", [[], 3.0, [1.0, 2.0], "plate"])
def test_group_list_needs_a_value_a_row(array):
    model = mx.mixedlm("diameter ~ 1", mx.datasets.penicillin.load().data, groups="plate")
    with pytest.raises(ValueError, match="array"):
        model.group_list(array)
