"""Kenward-Roger against pbkrtest, dense algebra and what theory gives exactly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.dense_inference import DenseFit
from helpers.designs import design_arguments, random_design
from helpers.reference import case_names, load_case
from helpers.small_sample import CASES, fit_case, reference_fit, restriction
from hypothesis import assume, given, settings
from scipy import optimize

import mixedext as mx
from mixedext.exceptions import InformationWarning
from mixedext.inference.fixed_effects.df_methods import fixed_tests
from mixedext.inference.fixed_effects.kenward_roger import KenwardRoger, scaled_f

# singular fits are among the cases
pytestmark = [
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
    pytest.mark.formula_engine,
]

REFERENCE = [
    name
    for name in case_names()
    if "vcovAdj" in (load_case(name).values.get("kenward_roger") or {})
]


def kr_of(formula, data, **options):
    return KenwardRoger(mx.mixedlm(formula, data, **options).fit().fitted.fit)


@pytest.mark.parametrize("name", REFERENCE)
def test_pbkrtest_on_reference_cases(name):
    case = load_case(name)
    fit, names = reference_fit(case)
    want, tests = case.values["kenward_roger"], KenwardRoger(fit)
    at = [names.index(case.column_name(n)) for n in want["names"]]
    size = np.sqrt(np.diag(want["vcovAdj"]))
    error = tests.covariance[np.ix_(at, at)] - want["vcovAdj"]
    assert np.abs(error / np.outer(size, size)).max() < 1e-8
    np.testing.assert_allclose(tests.df(np.eye(len(at))[at]), want["ddf"], rtol=1e-9)
    assert tests.held == ()


COMPARISONS = [
    (name, comparison)
    for name in REFERENCE
    for comparison, values in (
        load_case(name).values.get("model_comparisons") or {}
    ).items()
    if "stat" in (values.get("KRmodcomp") or {})
]


@pytest.mark.parametrize(("name", "comparison"), COMPARISONS)
def test_pbkrtest_comparisons_of_models(name, comparison):
    case = load_case(name)
    values = case.values["model_comparisons"][comparison]
    fit, rows = restriction(case, values)
    want = values["KRmodcomp"]
    test = KenwardRoger(fit).f_test(rows)
    assert test.statistic == pytest.approx(want["stat"], rel=2e-8)
    assert test.statistic / test.scaling == pytest.approx(want["stat_unscaled"], rel=2e-8)
    assert test.df_denom == pytest.approx(want["ddf"], rel=1e-8)
    assert test.scaling == pytest.approx(want["F_scaling"], rel=1e-8)
    assert test.pvalue == pytest.approx(want["p"], rel=2e-7, abs=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_pbkrtest_on_unbalanced_data(name):
    fit, want, rows = fit_case(name, "reml")
    tests = KenwardRoger(fit)
    np.testing.assert_allclose(tests.df(rows), want["kr_df"], rtol=1e-9)
    covariance, size = rows @ tests.covariance @ rows.T, np.sqrt(np.diag(want["kr_cov"]))
    error = covariance - want["kr_cov"]
    assert np.abs(error / np.outer(size, size)).max() < 1e-10
    test = tests.f_test(rows[1:])
    got = [test.statistic, test.df_num, test.df_denom, test.pvalue, test.scaling]
    np.testing.assert_allclose(got, want["kr_joint"], rtol=1e-9)


@settings(max_examples=100, deadline=None)
@given(**design_arguments)
def test_dense_algebra(**design):
    rows = random_design(**design)
    fit = rows.at_theta(True)
    dense = DenseFit.of(rows, fit)
    assume(np.linalg.cond(dense.expected) < 1e12)
    tests = KenwardRoger(fit)
    adjusted, _ = dense.kenward_roger()
    assert np.abs(tests.covariance - adjusted).max() < 1e-7 * np.abs(adjusted).max()
    eye = np.eye(len(adjusted))
    want = [dense.kenward_roger_test(eye[[j]])[1] for j in range(len(eye))]
    np.testing.assert_allclose(tests.df(eye), want, rtol=1e-6)
    wide = np.random.default_rng(design["seed"]).normal(size=(2, len(eye)))
    if len(eye) > 1:
        statistic, m, scaling = dense.kenward_roger_test(wide)
        assume(min(abs(m), abs(scaling)) > 1e-6)  # else rounding decides on the refusal
        if m > 0 and scaling > 0 and statistic >= 0:
            test = tests.f_test(wide)
            assert test.statistic == pytest.approx(statistic, rel=1e-5)
        else:
            with pytest.warns(InformationWarning, match="too few"):
                test = tests.f_test(wide)
            assert np.isnan(test.statistic)
        assert 1 / test.df_denom == pytest.approx(1 / m, rel=1e-5, abs=1e-8)
        assert test.scaling == pytest.approx(scaling, rel=1e-5)


def test_published_irrigation_trial():
    """Faraway (2016), by KRmodcomp of pbkrtest: F, df and p of three tests."""
    data = mx.datasets.irrigation.load().data
    # KRmodcomp(lmod, lmoda) with and without irrigation:variety
    tests = kr_of('Q("yield") ~ irrigation * variety + (1 | field)', data)
    found = tests.f_test(np.eye(8)[5:])
    assert found.df_num == 3
    assert found.df_denom == pytest.approx(4, abs=5e-5)
    assert [round(found.statistic, 4), round(found.pvalue, 4)] == [0.2452, 0.8612]
    # KRmodcomp(lmoda, lmodi), KRmodcomp(lmoda, lmodv)
    tests = kr_of('Q("yield") ~ irrigation + variety + (1 | field)', data)
    variety, irrigation = tests.f_test(np.eye(5)[[4]]), tests.f_test(np.eye(5)[1:4])
    assert variety.df_denom == pytest.approx(7, abs=5e-5)
    assert [round(variety.statistic, 4), round(variety.pvalue, 4)] == [1.5782, 0.2493]
    assert irrigation.df_denom == pytest.approx(4, abs=5e-5)
    assert [round(irrigation.statistic, 4), round(irrigation.pvalue, 4)] == [0.3882, 0.7685]


def test_paired_t_test():
    rng = np.random.default_rng(3)
    pair, after = np.repeat(np.arange(11), 2), np.tile([0.0, 1.0], 11)
    y = 2 * rng.normal(size=11)[pair] + 0.4 * after + rng.normal(size=22)
    tests = kr_of(
        "y ~ after + (1 | pair)", pd.DataFrame({"y": y, "after": after, "pair": pair})
    )
    difference = y[1::2] - y[::2]
    t = difference.mean() / (difference.std(ddof=1) / np.sqrt(11))
    found = tests.f_test([[0, 1]])
    assert found.statistic == pytest.approx(t**2, rel=1e-10)
    assert found.df_denom == pytest.approx(10, rel=1e-10)
    assert tests.df([[0, 1]])[0] == pytest.approx(10, rel=1e-10)


def classical_f(y, effect, error, df_effect, df_error):
    """F of an effect's sum of squares over an error's."""
    return (effect / df_effect) / (error / df_error)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_balanced_split_plot(seed):
    """Whole plots a in blocks, sub-plots b: each effect against its own error stratum."""
    rng = np.random.default_rng(seed)
    r, a, b = 4, 3, 5
    y = (
        3 * rng.normal(size=(r, 1, 1))
        + 2 * rng.normal(size=(r, a, 1))
        + rng.normal(size=(r, a, b))
        + rng.normal(size=(1, a, b))
    )
    block, whole, sub = np.meshgrid(np.arange(r), np.arange(a), np.arange(b), indexing="ij")
    data = pd.DataFrame({"y": y.ravel(), "r": block.ravel()})
    data["a"] = pd.Categorical(whole.ravel())
    data["b"] = pd.Categorical(sub.ravel())
    fit = mx.mixedlm("y ~ a * b + (1 | r / a)", data).fit().fitted.fit
    assert not fit.is_singular
    # textbook sums of squares
    m = y.mean()
    mean = {k: y.mean(axis=k, keepdims=True) for k in [(1, 2), (0, 2), (0, 1), 0, 2]}
    ss_a = r * b * ((mean[0, 2] - m) ** 2).sum()
    ss_b = r * a * ((mean[0, 1] - m) ** 2).sum()
    ss_ab = r * ((mean[0] - mean[0, 2] - mean[0, 1] + m) ** 2).sum()
    error_a = b * ((mean[2] - mean[1, 2] - mean[0, 2] + m) ** 2).sum()
    error_b = ((y - mean[2] - mean[0] + mean[0, 2]) ** 2).sum()
    df_a, df_b = (r - 1) * (a - 1), a * (r - 1) * (b - 1)
    # marginal effects: rows of a's and b's, averaged over the other factor
    eye = np.eye(15)
    rows_a = [eye[1 + i] + sum(eye[7 + 2 * j + i] for j in range(4)) / b for i in range(2)]
    rows_b = [eye[3 + j] + sum(eye[7 + 2 * j + i] for i in range(2)) / a for j in range(4)]
    names = list(mx.mixedlm("y ~ a * b + (1 | r / a)", data).exog_names)
    assert names[7:9] == ["a[T.1]:b[T.1]", "a[T.2]:b[T.1]"]
    wanted = {
        "a": (rows_a, ss_a, a - 1, error_a, df_a),
        "b": (rows_b, ss_b, b - 1, error_b, df_b),
        "ab": (eye[7:], ss_ab, (a - 1) * (b - 1), error_b, df_b),
    }
    for method in ("kenward-roger", "satterthwaite"):
        tests = fixed_tests(fit, method)
        for rows, effect, df_num, error, df_denom in wanted.values():
            found = tests.f_test(np.array(rows))
            want = classical_f(y, effect, error, df_num, df_denom)
            assert found.df_num == df_num
            assert found.df_denom == pytest.approx(df_denom, rel=1e-10)
            assert found.statistic == pytest.approx(want, rel=1e-10)
            assert found.scaling == pytest.approx(1, rel=1e-10)


@pytest.mark.parametrize("groups", [3, 6])
def test_balanced_one_way_between_groups(groups):
    """A covariate between groups: the regression of the groups' means."""
    rng = np.random.default_rng(groups)
    g = np.repeat(np.arange(10), 6)
    x = (np.arange(10) % groups).astype(float)
    y = 2 * rng.normal(size=10)[g] + x[g] + rng.normal(size=60)
    data = pd.DataFrame({"y": y, "x": x[g], "g": g})
    tests = kr_of("y ~ x + (1 | g)", data)
    mean = y.reshape(10, 6).mean(axis=1)
    slope, residual = np.polyfit(x, mean, 1, full=True)[:2]
    t_square = slope[0] ** 2 * ((x - x.mean()) ** 2).sum() / (residual[0] / 8)
    found = tests.f_test([[0, 1]])
    assert found.df_denom == pytest.approx(8, rel=1e-10)
    assert found.statistic == pytest.approx(t_square, rel=1e-10)


def test_without_random_terms_it_is_the_ordinary_f_test():
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(20, 3)), columns=["y", "x", "z"])
    tests = kr_of("y ~ x + z", data)
    found, want = tests.f_test(np.eye(3)[1:]), fixed_tests(tests.fit, "residual")
    assert found.df_denom == pytest.approx(17, rel=1e-12)
    assert found.scaling == pytest.approx(1, rel=1e-12)
    assert found.statistic == pytest.approx(want.f_test(np.eye(3)[1:]).statistic, rel=1e-12)


@pytest.fixture(scope="module")
def uneven():
    """Unbalanced slopes: Phi_A differs from Phi."""
    data = mx.datasets.sleepstudy.load().data
    return data[(np.arange(1, 181) * 7) % 11 > 4].reset_index(drop=True)


FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_the_adjustment_is_not_zero(uneven):
    tests = kr_of(FORMULA, uneven)
    assert (np.diag(tests.covariance) > 1.001 * np.diag(tests.fit.covariance)).any()
    balanced = kr_of(FORMULA, mx.datasets.sleepstudy.load().data)
    np.testing.assert_allclose(balanced.covariance, balanced.fit.covariance, rtol=1e-8)


def test_scales_and_row_order_change_nothing(uneven):
    first = kr_of(FORMULA, uneven)
    moved = uneven.sample(frac=1, random_state=1)
    moved["Reaction"] *= 1e4
    moved["Days"] *= 1e-3
    second = kr_of(FORMULA, moved)
    np.testing.assert_allclose(second.df(np.eye(2)), first.df(np.eye(2)), rtol=1e-8)
    ratio = second.covariance / first.covariance
    np.testing.assert_allclose(ratio, [[1e8, 1e11], [1e11, 1e14]], rtol=1e-8)
    one, two = first.f_test(np.eye(2)), second.f_test(np.eye(2))
    assert one.df_denom == pytest.approx(two.df_denom, rel=1e-8)
    assert one.statistic == pytest.approx(two.statistic, rel=1e-8)
    assert one.scaling == pytest.approx(two.scaling, rel=1e-8)


def test_weights_that_are_counts_of_means():
    """Rows that are means of m equal ones: derived with V0 = W^-1 + Z..Z'."""
    rng = np.random.default_rng(8)
    rows = random_design(11, 50, [(2, 0), (1, 0)], False, False, True, False)
    rows.y = rows.y + rng.normal(size=50)
    fit = rows.fit(True)
    dense, tests = DenseFit.of(rows, fit), KenwardRoger(fit)
    adjusted, _ = dense.kenward_roger()
    np.testing.assert_allclose(tests.covariance, adjusted, rtol=1e-8, atol=1e-12)
    # weights known up to a factor only: it goes into sigma^2
    rows.weights = 7.0 * rows.weights
    again = KenwardRoger(rows.fit(True))
    np.testing.assert_allclose(again.covariance, adjusted, rtol=1e-6, atol=1e-10)


def test_dependent_rows_are_reduced_and_values_heeded(uneven):
    tests = kr_of(FORMULA, uneven)
    one = tests.f_test(np.eye(2), [250.0, 10.0])
    other = tests.f_test([[1, 0], [1, 1], [0, 2]], [250.0, 260.0, 20.0])
    assert other.df_num == 2
    assert other.statistic == pytest.approx(one.statistic, rel=1e-10)
    assert other.df_denom == pytest.approx(one.df_denom, rel=1e-10)
    estimate = tests.fit.coefficients
    at_estimate = tests.f_test(np.eye(2), estimate)
    assert at_estimate.statistic == pytest.approx(0, abs=1e-20)
    with pytest.raises(ValueError, match="contradict"):
        tests.f_test([[0, 1], [0, 2]], [1.0, 3.0])


def test_ml_fits_are_refused_with_what_to_do():
    fit = mx.mixedlm(FORMULA, mx.datasets.sleepstudy.load().data).fit(reml=False).fitted.fit
    with pytest.raises(ValueError, match=r"fit\(reml=True\)"):
        fixed_tests(fit, "kr")


def test_variances_that_cannot_be_told_apart():
    """Two terms that say the same, at a theta: E is singular, and it is said."""
    rng = np.random.default_rng(1)
    rows = random_design(11, 50, [(1, 0), (1, 0)], False, True, False, False)
    rows.y, rows.theta = rng.normal(size=50), np.array([0.6, 0.8])
    with pytest.warns(InformationWarning, match="singular"):
        tests = KenwardRoger(rows.at_theta(True))
    rows.terms, rows.theta = rows.terms[:1], np.array([1.0])
    single = KenwardRoger(rows.at_theta(True))
    np.testing.assert_allclose(tests.covariance, single.covariance, rtol=1e-9)
    eye = np.eye(len(tests.covariance))
    np.testing.assert_allclose(tests.df(eye), single.df(eye), rtol=1e-9)


def test_zero_rows_have_no_degrees_of_freedom(uneven):
    tests = kr_of(FORMULA, uneven)
    assert np.isnan(tests.df([[0, 0]])).all()
    with pytest.raises(ValueError, match="no combination"):
        tests.f_test([[0, 0]])


def test_scaling_near_two_degrees_of_freedom():
    near = optimize.brentq(lambda a: scaled_f(a, a, 3)[0] - 2.005, 2.95, 2.96)
    assert scaled_f(near, near, 3) == (pytest.approx(2.005), 1.0)
    off = optimize.brentq(lambda a: scaled_f(a, a, 3)[0] - 2.02, 2.95, 2.96)
    assert scaled_f(off, off, 3)[1] > 1.2
    # one row, any A: m = 2 / A and no scaling (the limit of the general formula)
    for a in (0.01, 0.3, 0.7):
        m, scaling = scaled_f(a, a, 1)
        assert (m, scaling) == (pytest.approx(2 / a), pytest.approx(1.0))


@pytest.mark.filterwarnings("ignore:MixedLM did not converge")
def test_too_few_data_have_no_p_value():
    """Kenward and Roger's m is negative here."""
    data = pd.DataFrame(
        {
            "g": list("11122001"),
            "t": list("babcccbb"),
            "x": [0.27, -1.07, -0.68, 1.02, -1.46, 0.26, 0.38, -1.15],
            "y": [0.17, 0.56, -0.77, -0.48, 0.54, -1.3, -0.88, 0.95],
        }
    )
    result = mx.mixedlm("y ~ t + x + (1 | g)", data).fit()
    assert result.convergence.status == "interior"
    with pytest.warns(InformationWarning, match="the data are too few"):
        found = result.kenward_roger(np.eye(4)[1:])
    assert found.df_denom < 0
    assert np.isnan(found.statistic)
    assert np.isnan(found.pvalue)


@pytest.mark.filterwarnings("ignore:minimum, but flat")
def test_variance_without_any_information():
    # the fixed effects take up all differences between groups
    data = pd.DataFrame({"g": list("aabbcc"), "y": [1.0, 2, 4, 3, 7, 9]})
    result = mx.mixedlm("y ~ g + (1 | g)", data).fit()
    with pytest.warns(InformationWarning, match="singular"):
        inference = result.fixed_effects_inference("kenward-roger")
    np.testing.assert_allclose(inference.df, 3, rtol=1e-8)
    assert np.isfinite(inference.se).all()
