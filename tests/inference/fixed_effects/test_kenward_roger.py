"""Kenward-Roger against pbkrtest, dense algebra and what theory gives exactly."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.dense_inference import DenseFit
from helpers.designs import design_arguments, random_design
from helpers.paths import RESULTS
from helpers.reference import case_names, load_case
from helpers.small_sample import CASES, fit_case, reference_fit, restriction
from hypothesis import assume, given, settings
from scipy import optimize
from statsmodels.tools.sm_exceptions import ValueWarning

import mixedext as mx
from mixedext.engine.information.expected import VarianceInformation
from mixedext.exceptions import InformationWarning
from mixedext.fitted import DfChoice
from mixedext.inference.fixed_effects import satterthwaite
from mixedext.inference.fixed_effects.df_methods import KENWARD_ROGER, fixed_tests
from mixedext.inference.fixed_effects.kenward_roger import KenwardRoger, scaled_f
from mixedext.inference.fixed_effects.satterthwaite import Satterthwaite

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
    with pytest.warns(ValueWarning, match="no hypothesis"):
        assert tests.f_test([[0, 0]]).df_num == 0


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


# ---- the observed information ----


@settings(max_examples=60, deadline=None)
@given(**design_arguments)
def test_dense_algebra_with_the_observed_information(**design):
    rows = random_design(**design)
    assume(not (design["shared"] and len(design["kinds"]) > 1))
    fit = rows.fit(True)
    assume(not fit.is_singular and fit.convergence.status == "interior")
    dense = DenseFit.of(rows, fit)
    size = np.sqrt(np.abs(np.diag(dense.observed)))
    assume(np.linalg.eigvalsh(dense.observed / np.outer(size, size))[0] > 1e-6)
    tests = KenwardRoger(fit, "observed")
    assert (tests.information, tests.held) == ("observed", ())
    adjusted, _ = dense.kenward_roger("observed")
    assert np.abs(tests.covariance - adjusted).max() < 1e-6 * np.abs(adjusted).max()
    eye = np.eye(len(adjusted))
    want = [dense.kenward_roger_test(eye[[j]], "observed")[1] for j in range(len(eye))]
    np.testing.assert_allclose(tests.df(eye), want, rtol=1e-6)
    # of single combinations, as Satterthwaite's
    np.testing.assert_allclose(tests.df(eye), Satterthwaite(fit).df(eye), rtol=1e-10)
    if len(eye) > 1:
        wide = np.random.default_rng(design["seed"]).normal(size=(2, len(eye)))
        statistic, m, scaling = dense.kenward_roger_test(wide, "observed")
        assume(min(m, scaling, statistic) > 1e-6)
        test = tests.f_test(wide)
        assert test.statistic == pytest.approx(statistic, rel=1e-5)
        assert test.df_denom == pytest.approx(m, rel=1e-5)
        assert test.scaling == pytest.approx(scaling, rel=1e-5)


def test_observed_information_is_the_curvature_of_the_deviance():
    """Against second differences of the dense restricted log-likelihood."""
    rows = random_design(3, 60, [(2, 0), (1, 0)], False, False, False, False)
    fit = rows.fit(True)
    assert not fit.is_singular
    dense = DenseFit.of(rows, fit)

    def loss(change):
        v = dense.v + sum(c * g for c, g in zip(change, dense.derivatives, strict=True))
        inverse = np.linalg.inv(v)
        information = rows.x.T @ inverse @ rows.x
        rest = rows.y - rows.x @ np.linalg.solve(information, rows.x.T @ inverse @ rows.y)
        logs = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
        return (logs + rest @ inverse @ rest) / 2

    step = 1e-3 * fit.scale * np.eye(len(dense.derivatives))
    hessian = [
        [loss(a + b) - loss(a - b) - loss(b - a) + loss(-a - b) for b in step] for a in step
    ]
    hessian = np.array(hessian) / (4 * step.max() ** 2)
    np.testing.assert_allclose(
        dense.observed, hessian, rtol=1e-4, atol=1e-5 * hessian.max()
    )
    eye = np.eye(len(dense.phi))
    w = np.linalg.inv(hessian)
    slope = np.array([-np.diag(dense.phi @ p @ dense.phi) for p in dense.first]).T
    want = 2 * np.diag(dense.phi) ** 2 / ((slope @ w) * slope).sum(axis=1)
    np.testing.assert_allclose(KenwardRoger(fit, "observed").df(eye), want, rtol=1e-3)


@pytest.fixture(scope="module")
def trial():
    """FEV1 of openpharma/mmrm (Apache-2.0): simulated, 197 patients, up to four visits."""
    data = pd.read_csv(RESULTS / "data" / "fev.csv")
    data["RACE"] = pd.Categorical(
        data["RACE"], ["Asian", "Black or African American", "White"]
    )
    return data


def test_sas_compound_symmetry(trial):
    """PROC MIXED: repeated AVISIT / subject=USUBJID type=CS, ddfm=kr; TRT - PBO.

    SAS' kr and kr(firstorder) are the same here; it stops some 1e-7 off the optimum.
    """
    fit = mx.mixedlm("FEV1 ~ ARMCD + (1 | USUBJID)", trial).fit().fitted.fit
    tests, row = KenwardRoger(fit, "observed"), np.array([[0.0, 1.0]])
    assert fit.coefficients[1] == pytest.approx(4.19663617897035, rel=1e-6)
    spread = np.sqrt(tests.spread(row)[0, 0])
    assert spread == pytest.approx(0.7964696053595, rel=1e-6)
    assert tests.df(row)[0] == pytest.approx(177.038485931223, rel=1e-6)
    found = tests.f_test(row)
    assert np.sqrt(found.statistic) == pytest.approx(5.26904749500904, rel=1e-6)
    assert found.pvalue == pytest.approx(3.9513758117516e-07, rel=1e-5)
    # pbkrtest inverts the expected information
    assert KenwardRoger(fit).df(row)[0] == pytest.approx(175.936, abs=5e-4)


def test_mmrm_compound_symmetry(trial):
    """mmrm(cs(AVISIT | USUBJID), method = "Kenward-Roger", vcov = "...-Linear"), 0.3.18."""
    formula = "FEV1 ~ RACE + SEX + ARMCD * AVISIT + (1 | USUBJID)"
    fit = mx.mixedlm(formula, trial).fit().fitted.fit
    tests = KenwardRoger(fit, "observed")
    estimate = [0.574500148994744, 5.48691641691045, 4.84552888393807, 0.780116812606153]
    at = [int(np.abs(fit.coefficients - b).argmin()) for b in estimate]
    np.testing.assert_allclose(fit.coefficients[at], estimate, rtol=1e-6)
    eye = np.eye(11)
    se = [0.782431510148025, 0.852263943256393, 1.06526711974067, 1.52370041031377]
    np.testing.assert_allclose(np.sqrt(np.diag(tests.covariance))[at], se, rtol=1e-7)
    df = [182.088395878625, 182.889934265182, 410.889731869294, 411.603080566046]
    np.testing.assert_allclose(tests.df(eye[at]), df, rtol=1e-6)
    joint = {  # F, denominator df
        "ARMCD[T.TRT]:AVISIT": (0.284016667496805, 409.012019259325, 3),
        "RACE": (23.6657414032932, 185.048767255748, 2),
    }
    names = list(mx.mixedlm(formula, trial).exog_names)
    for start, (statistic, df_denom, df_num) in joint.items():
        rows = eye[[i for i, n in enumerate(names) if n.startswith(start)]]
        found = tests.f_test(rows)
        assert found.df_num == df_num
        assert found.statistic == pytest.approx(statistic, rel=1e-6)
        assert found.df_denom == pytest.approx(df_denom, rel=1e-6)


def test_exact_tests_stay_exact():
    """Balanced designs: both kinds of information give the analysis of variance's F."""
    data = mx.datasets.oats.load().data
    fit = mx.mixedlm('Q("yield") ~ nitroF * Variety + (1 | Block / Variety)', data).fit()
    eye = np.eye(fit.model.k_fe)
    one, two = (KenwardRoger(fit.fitted.fit, i) for i in ("expected", "observed"))
    rows = [i for i, n in enumerate(fit.model.exog_names) if ":" in n]
    first, second = one.f_test(eye[rows]), two.f_test(eye[rows])
    assert second.df_denom == pytest.approx(first.df_denom, rel=1e-8)
    assert second.statistic == pytest.approx(first.statistic, rel=1e-8)


def test_where_the_kinds_of_information_differ():
    """Unbalanced data: the more, the more variances there are for the rows."""
    apart = {}
    for name in ("incomplete_blocks", "quadratic", "nested", "slopes"):
        fit, _, rows = fit_case(name, "reml")
        one, two = (KenwardRoger(fit, i).df(rows) for i in ("expected", "observed"))
        apart[name] = float(np.abs(two / one - 1).max())
    want = {
        "incomplete_blocks": 0.002,
        "quadratic": 0.064,
        "nested": 0.099,
        "slopes": 0.128,
    }
    assert apart == pytest.approx(want, abs=5e-4)


def test_what_is_on_the_boundary_is_held():
    """As SAS, which drops a variance estimated as zero: an ordinary mean is left."""
    data = mx.datasets.dyestuff2.load().data
    fit = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit().fitted.fit
    tests = KenwardRoger(fit, "observed")
    assert tests.held == ("variance of Intercept by Batch at 0",)
    assert tests.df([[1]])[0] == pytest.approx(29, rel=1e-10)
    np.testing.assert_allclose(tests.covariance, fit.covariance, rtol=1e-10)
    assert KenwardRoger(fit).held == ()


def test_without_observed_information_the_expected_is_used_and_said(monkeypatch):
    data = mx.datasets.sleepstudy.load().data
    fit = mx.mixedlm(FORMULA, data).fit().fitted.fit
    monkeypatch.setattr(satterthwaite, "inverse_if_definite", lambda matrix: None)
    with pytest.warns(InformationWarning, match="use the expected information"):
        tests = KenwardRoger(fit, "observed")
    assert tests.information == "expected"
    want = KenwardRoger(fit).df(np.eye(2))
    np.testing.assert_allclose(tests.df(np.eye(2)), want, rtol=1e-8)


@pytest.mark.filterwarnings("ignore")
def test_observed_information_beyond_the_range_of_numbers(monkeypatch):
    """Of a flat fit, whose observed information is otherwise inverted as far as it goes."""
    data = mx.datasets.dyestuff.load().data.assign(again=lambda d: d["Batch"])
    fit = mx.mixedlm("Yield ~ 1 + (1 | Batch) + (1 | again)", data).fit().fitted.fit
    assert fit.convergence.is_flat
    assert satterthwaite.observed_spread(fit).information == "observed"
    unknown = property(lambda info: np.full_like(info.expected, np.nan))
    monkeypatch.setattr(VarianceInformation, "observed", unknown)
    with pytest.warns(InformationWarning, match="use the expected information"):
        spread = satterthwaite.observed_spread(fit)
    assert (spread.information, np.isfinite(spread.spread).all()) == ("expected", True)


def test_what_the_data_leave_open_is_left_out_of_the_information():
    """X takes the factor in: of its variance nothing is known, and n - p = 3 are left."""
    data = pd.DataFrame({"g": list("aabbcc"), "y": [1.0, 2, 4, 3, 7, 9]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = mx.mixedlm("y ~ g + (1 | g)", data).fit().fitted.fit
    tests = KenwardRoger(fit, "observed")
    assert tests.information == "observed"
    np.testing.assert_allclose(tests.df(np.eye(3)), 3, rtol=1e-8)


def test_unknown_information():
    fit = mx.mixedlm(FORMULA, mx.datasets.sleepstudy.load().data).fit().fitted.fit
    with pytest.raises(ValueError, match=r"information='obs' .*'expected' or 'observed'"):
        KenwardRoger(fit, "obs")


@pytest.mark.parametrize("information", ["expected", "observed"])
def test_versions_are_one_where_the_covariance_is_linear(information):
    data = mx.datasets.sleepstudy.load().data
    fit = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit().fitted.fit
    plain, *others = (
        fixed_tests(fit, DfChoice(name, information)) for name in KENWARD_ROGER
    )
    for tests in others:
        np.testing.assert_array_equal(tests.covariance, plain.covariance)
        np.testing.assert_array_equal(tests.df(np.eye(2)), plain.df(np.eye(2)))
    default = fixed_tests(fit, DfChoice("kenward-roger-2009", None))
    assert default.information == "expected"


@pytest.mark.filterwarnings("ignore")
def test_rounding_takes_nothing_off():
    """Of a response that its groups explain but for 1e-9, by more terms than needed.

    In which of the samples digits are lost depends on the processor.
    """
    lost = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        group, _, x, sort = (
            np.arange(16) % 3,
            rng.integers(0, 4, 16),
            rng.normal(size=16),
            rng.integers(0, 2, 16),
        )
        y = rng.normal(size=3)[group] + 1e-9 * rng.normal(size=16)
        data = pd.DataFrame({"y": y, "x": x, "g": group, "f": sort})
        result = mx.mixedlm("y ~ x + (x | g) + (x | g:f)", data).fit()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = result.fixed_effects_inference("kenward-roger").se
        if any("has lost digits" in str(w.message) for w in caught):
            lost += 1
            assert (found >= (1 - 1e-6) * result.bse_fe).all()
            text = str(result.summary(df_method="kenward-roger"))
            assert "has lost digits" in " ".join(text.split())
    assert lost


def test_degrees_of_freedom_beside_a_variance_that_dwarfs_the_others():
    rng = np.random.default_rng(0)
    group, other, x = np.arange(16) % 3, rng.integers(0, 4, 16), rng.normal(size=16)
    y = rng.normal(size=3)[group] + 1e-9 * rng.normal(size=16)
    data = pd.DataFrame({"y": y, "x": x, "g": group, "h": other})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mx.mixedlm("y ~ x + (0 + x | g) + (1 | g) + (1 | h)", data).fit()
    for method in ("satterthwaite", "kenward-roger"):
        found = result.fixed_effects_inference(method)
        assert found.df[0] == pytest.approx(2, rel=1e-5)
        assert np.isfinite(found).all()
