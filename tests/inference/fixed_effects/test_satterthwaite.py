"""Satterthwaite's degrees of freedom against lmerTest, dense algebra and theory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.dense_inference import DenseFit
from helpers.designs import design_arguments, random_design
from helpers.reference import case_names, load_case
from helpers.small_sample import CASES, fit_case, reference_fit, restriction
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

import mixedext as mx
from mixedext.exceptions import InformationWarning
from mixedext.inference.fixed_effects.satterthwaite import Satterthwaite, joint_degrees

# singular fits are among the cases
pytestmark = [
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
    pytest.mark.formula_engine,
]

REFERENCE = [
    name
    for name in case_names()
    if "df" in (load_case(name).values.get("satterthwaite") or {})
]


@pytest.mark.parametrize("name", REFERENCE)
def test_lmertest_on_reference_cases(name):
    """lmerTest differentiates numerically, to about 1e-7."""
    case = load_case(name)
    fit, names = reference_fit(case)
    want, tests = case.values["satterthwaite"], Satterthwaite(fit)
    at = [names.index(case.column_name(n)) for n in want["names"]]
    # psid with raw years: R's own fit is that ill-conditioned
    rtol = 2e-6 if name in ("psid_rawyear", "insteval") else 4e-7
    np.testing.assert_allclose(tests.df(np.eye(len(at))[at]), want["df"], rtol=rtol)
    assert tests.information == "observed"
    assert bool(tests.held) == fit.is_singular


COMPARISONS = [
    (name, comparison)
    for name in REFERENCE
    for comparison, values in (
        load_case(name).values.get("model_comparisons") or {}
    ).items()
    if "stat" in (values.get("SATmodcomp") or {})
]


@pytest.mark.parametrize(("name", "comparison"), COMPARISONS)
def test_pbkrtest_comparisons_of_models(name, comparison):
    case = load_case(name)
    values = case.values["model_comparisons"][comparison]
    fit, rows = restriction(case, values)
    want, test = values["SATmodcomp"], Satterthwaite(fit).f_test(rows)
    assert test.df_num == want["ndf"]
    assert test.statistic == pytest.approx(want["stat"], rel=2e-8)
    assert test.df_denom == pytest.approx(want["ddf"], rel=4e-7)
    assert test.pvalue == pytest.approx(want["p"], rel=2e-5, abs=1e-14)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("name", CASES)
def test_lmertest_on_unbalanced_and_singular_data(name, method):
    fit, want, rows = fit_case(name, method)
    tests = Satterthwaite(fit)
    # lmerTest's numeric second derivatives are less good for three correlated effects
    rtol = 2e-6 if name == "quadratic" else 1e-6
    np.testing.assert_allclose(tests.df(rows), want["satterthwaite"], rtol=rtol)
    test = tests.f_test(rows[1:])
    statistic, df_num, df_denom, pvalue = want["satterthwaite_joint"]
    assert test.df_num == df_num
    assert test.statistic == pytest.approx(statistic, rel=1e-9)
    assert test.df_denom == pytest.approx(df_denom, rel=rtol)
    assert test.pvalue == pytest.approx(pvalue, rel=1e-4)
    assert bool(tests.held) == want["singular"]


@settings(max_examples=60, deadline=None)
@given(**design_arguments, reml=st.booleans())
def test_dense_algebra(reml, **design):
    rows = random_design(**design)
    assume(not (design["shared"] and len(design["kinds"]) > 1))
    fit = rows.fit(reml)
    assume(not fit.is_singular and fit.convergence.status == "interior")
    dense = DenseFit.of(rows, fit)
    observed = 2 * dense.average - dense.expected
    size = np.sqrt(np.abs(np.diag(observed)))
    assume(np.linalg.eigvalsh(observed / np.outer(size, size))[0] > 1e-6)
    eye = np.eye(len(dense.phi))
    want = [dense.satterthwaite(row) for row in eye]
    np.testing.assert_allclose(Satterthwaite(fit).df(eye), want, rtol=1e-6)


def test_variance_of_a_variance_by_hand():
    """One group of rows alone: the intercept's df are those of sigma^2, n - 1 or n."""
    data = pd.DataFrame({"y": np.random.default_rng(1).normal(size=15)})
    model = mx.mixedlm("y ~ 1", data)
    assert Satterthwaite(model.fit().fitted.fit).df([[1]]) == pytest.approx(14)
    by_ml = Satterthwaite(model.fit(reml=False).fitted.fit)
    assert by_ml.df([[1]]) == pytest.approx(15)
    assert by_ml.f_test([[1]]).df_denom == pytest.approx(15)


def test_welch_like_case_is_between_the_bounds():
    """Unequal groups: df lie between the smaller count and the whole."""
    rng = np.random.default_rng(4)
    count = np.arange(2, 12)
    g = np.repeat(np.arange(10), count)
    y = 2 * rng.normal(size=10)[g] + rng.normal(size=len(g))
    data = pd.DataFrame({"y": y, "g": g})
    tests = Satterthwaite(mx.mixedlm("y ~ 1 + (1 | g)", data).fit().fitted.fit)
    assert 5 < tests.df([[1]])[0] < 12


def test_joint_degrees():
    """lmerTest:::get_Fstat_ddf, called with these numbers."""
    assert joint_degrees(np.array([3.0, 5.0])) == pytest.approx(3.5)
    assert joint_degrees(np.array([1.5, 5.0])) == 2
    assert joint_degrees(np.array([1.5, 1.5])) == 1.5
    assert joint_degrees(np.array([5.0, 5.0 + 1e-9])) == pytest.approx(5.0)
    assert joint_degrees(np.array([2.0000000001, 5.0])) == pytest.approx(2.0)


def test_not_at_a_minimum_information_falls_back_with_a_warning():
    """Far from the optimum the observed information has a negative eigenvalue."""
    rows = random_design(21, 60, [(1, 0)], False, False, False, False)
    rows.y = np.random.default_rng(5).normal(size=60)
    rows.theta = np.array([30.0])
    with pytest.warns(InformationWarning, match="expected information"):
        tests = Satterthwaite(rows.at_theta(True))
    assert tests.information == "expected"
    df = tests.df(np.eye(len(tests.covariance)))
    assert (df > 0).all()


def test_flat_fit_with_a_negative_eigenvalue_falls_back_too():
    """Flatness excuses what is open, not a direction in which the deviance falls."""
    rows = random_design(21, 60, [(1, 0)], False, False, False, False)
    rows.y = np.random.default_rng(5).normal(size=60)
    rows.theta = np.array([30.0])
    fit = rows.at_theta(True)
    flat = replace(fit, convergence=replace(fit.convergence, is_flat=True))
    with pytest.warns(InformationWarning, match="expected information"):
        assert Satterthwaite(flat).information == "expected"


def test_zero_variance_is_held_and_named():
    data = mx.datasets.dyestuff2.load().data
    tests = Satterthwaite(mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit().fitted.fit)
    assert tests.held == ("variance of Intercept by Batch at 0",)
    # then it is a sample of independent rows
    assert tests.df([[1]])[0] == pytest.approx(29, rel=1e-12)
    sample = data["Yield"].to_numpy(float)
    t, p = stats.ttest_1samp(sample, 0.0)
    found = tests.f_test([[1]])
    assert found.statistic == pytest.approx(t**2, rel=1e-10)
    assert found.pvalue == pytest.approx(p, rel=1e-8, abs=1e-30)


def test_scale_and_row_order_change_nothing():
    data = mx.datasets.sleepstudy.load().data
    data = data[(np.arange(1, 181) * 7) % 11 > 4]
    formula = "Reaction ~ Days + (Days | Subject)"
    first = Satterthwaite(mx.mixedlm(formula, data).fit().fitted.fit)
    moved = data.sample(frac=1, random_state=2)
    moved["Reaction"] *= 1e-5
    moved["Days"] *= 1e3
    second = Satterthwaite(mx.mixedlm(formula, moved).fit().fitted.fit)
    rows = np.array([[1, 0], [0, 1], [1, 2.0]])
    scaled = rows * [1, 1e3]
    np.testing.assert_allclose(second.df(scaled), first.df(rows), rtol=1e-7)
    assert np.isnan(first.df([[0, 0]])).all()


@pytest.mark.formula_engine
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [12, 21, 31])
def test_a_column_twice_in_a_bar_counts_for_nothing(seed):
    """Slopes that cancel each other are no variance: their information is rounding."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"h": rng.integers(0, 5, 40), "x": rng.normal(size=40)})
    data["y"], data["z"] = rng.normal(size=40), data["x"]
    once, twice = (
        mx.mixedlm(f"y ~ 1 + (1 + {columns} | h)", data).fit() for columns in ("x", "x + z")
    )
    assert not np.any(once.theta)
    assert np.any(twice.theta)
    for result in (once, twice):
        (df,) = result.fixed_effects_inference("satterthwaite").df
        assert df == pytest.approx(39, rel=1e-6)
