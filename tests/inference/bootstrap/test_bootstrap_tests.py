"""Bootstrap tests where the law is known exactly, and against fresh fits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.base._penalties import L2
from statsmodels.regression.mixed_linear_model import MixedLMParams

import mixedext as mx
from mixedext.inference.bootstrap.simulated_law import SimulatedLaw

pytestmark = pytest.mark.filterwarnings(
    "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
)


@pytest.mark.formula_engine
@pytest.mark.parametrize(
    ("name", "formula", "factor"),
    [("pulp", "bright ~ {}", "operator"), ("dyestuff", "Yield ~ {}", "Batch")],
)
@pytest.mark.parametrize("reml", [True, False])
def test_balanced_one_way_layout_is_the_f_test(name, formula, factor, reml):
    """Both statistics increase with F wherever they are not zero: the p-values agree."""
    data = getattr(mx.datasets, name).load().data
    large = mx.mixedlm(formula.format(f"1 + (1 | {factor})"), data).fit(reml=reml)
    small = smf.ols(formula.format("1"), data).fit()
    test = large.bootstrap_test(small, 40_000, rng=1)
    f = smf.ols(formula.format(f"C({factor})"), data).fit()
    assert test.reml == reml
    assert abs(test.pvalue - f.f_pvalue) < 3.5 * test.se
    assert test.se == pytest.approx(
        np.sqrt(f.f_pvalue * (1 - f.f_pvalue) / 40_000), rel=0.2
    )
    assert test.n_failed == 0
    # mass at zero: F below the mean square ratio at which the variance is zero
    groups = data[factor].nunique()
    between, within = groups - 1, len(data) - groups
    edge = 1.0 if reml else groups / between
    mass = stats.f.cdf(edge, between, within)
    assert np.mean(test.draws < 1e-9) == pytest.approx(mass, abs=0.01)
    assert np.mean(test.singular) == pytest.approx(mass, abs=0.01)


@pytest.mark.formula_engine
def test_published_statistics():
    pulp = mx.datasets.pulp.load().data
    large = mx.mixedlm("bright ~ 1 + (1 | operator)", pulp).fit(reml=False)
    test = mx.bootstrap_test(large, smf.ols("bright ~ 1", pulp).fit(), 100, rng=0)
    assert test.statistic == pytest.approx(2.568371, abs=5e-7)
    assert f"parametric bootstrap: {test.se:.2g}" in repr(test)
    assert test.table.loc["LRT", "pvalue"] == pytest.approx(0.1090, abs=5e-5)


@pytest.mark.parametrize("kind", ["fixed", "slope", "crossed", "linear"])
def test_draws_are_differences_of_fresh_fits(kind, monkeypatch):
    data = mx.datasets.sleepstudy.load().data
    data["half"] = np.arange(180) % 2
    data["o"] = np.linspace(0, 50, 180)
    data["w"] = np.random.default_rng(0).uniform(0.5, 2.0, 180)
    formulas = {
        "fixed": ("1 + (Days | Subject)", "Days + (Days | Subject)"),
        "slope": ("Days + (1 | Subject)", "Days + (Days | Subject)"),
        "crossed": ("1 + (1 | Subject)", "Days + (1 | Subject) + (1 | half)"),
        "linear": ("Days", "Days + (1 | Subject)"),
    }[kind]
    seen = []
    from mixedext.inference.bootstrap import bootstrap_tests

    simulated = bootstrap_tests.simulated_rows

    def spy(*args, **options):
        y = simulated(*args, **options)
        seen.append(y)
        return y

    monkeypatch.setattr(bootstrap_tests, "simulated_rows", spy)
    options = {"offset": "o", "weights": "w"}
    models = [mx.mixedlm(f"Reaction ~ {f}", data, **options) for f in formulas]
    reml = kind in ("slope", "linear")
    small, large = [m.fit(reml=reml) for m in models]
    test = mx.bootstrap_test(large, small, 12, rng=3)
    assert test.reml == reml
    (y,) = seen
    for r in range(12):
        new = data.assign(Reaction=y[:, r] + data["o"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fits = [
                mx.mixedlm(f"Reaction ~ {f}", new, **options).fit(reml=test.reml)
                for f in formulas
            ]
        want = max(2 * (fits[1].llf - fits[0].llf), 0.0)
        assert test.draws[r] == pytest.approx(want, abs=1e-8)
    assert test.n_extreme == np.count_nonzero(test.draws >= test.statistic)
    assert test.pvalue == (test.n_extreme + 1) / 13


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("reml", [True, False])
def test_linear_models_in_closed_form(weights, reml):
    data = mx.datasets.sleepstudy.load().data
    data["w"] = np.random.default_rng(0).uniform(0.5, 2.0, 180)
    from mixedext.inference.bootstrap.simulated_law import linear_log_likelihoods

    model = mx.mixedlm("Reaction ~ Days", data, weights=weights)
    y = np.random.default_rng(1).normal(100, 30, (180, 3))
    got = linear_log_likelihoods(model._design, model.exog, model.weights, y, reml)
    for r in range(3):
        new = mx.mixedlm("Reaction ~ Days", data.assign(Reaction=y[:, r]), weights=weights)
        assert got[r] == pytest.approx(new.fit(reml=reml).llf, rel=1e-11)


def test_jobs_change_no_number():
    joblib = pytest.importorskip("joblib")
    data = mx.datasets.penicillin.load().data
    large = mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit()
    small = mx.mixedlm("diameter ~ 1 + (1 | sample)", data).fit()
    alone = mx.bootstrap_test(large, small, 120, rng=1)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        np.testing.assert_array_equal(
            mx.bootstrap_test(large, small, 120, rng=1).draws, alone.draws
        )
    assert alone.pvalue == 1 / 121


@pytest.mark.formula_engine
def test_what_cannot_be_tested_is_refused():
    data = mx.datasets.sleepstudy.load().data
    one, days, slopes = [
        mx.mixedlm(f"Reaction ~ {f}", data).fit()
        for f in ("1 + (1 | Subject)", "Days + (1 | Subject)", "Days + (Days | Subject)")
    ]
    with pytest.raises(ValueError, match="different fixed effects"):
        mx.bootstrap_test(days, one, 10, reml=True)
    with pytest.raises(ValueError, match="nothing to test"):
        mx.bootstrap_test(days, slopes, 10)
    with pytest.raises(ValueError, match="not on the same data"):
        mx.bootstrap_test(days, mx.mixedlm("Reaction ~ 1", data[:100]).fit(), 10)
    with pytest.raises(TypeError, match="large must be the results of a mixed model"):
        mx.bootstrap_test(smf.ols("Reaction ~ Days", data).fit(), one, 10)
    other = mx.mixedlm("Reaction ~ np.sin(Days) + (1 | Subject)", data).fit()
    with (
        pytest.warns(mx.NestingWarning),
        pytest.warns(mx.BootstrapWarning),
    ):
        mx.bootstrap_test(slopes, other, 10, rng=0)


@pytest.mark.parametrize("which", ["small", "large"])
def test_replicates_that_fail_are_said_and_count(which, monkeypatch):
    from mixedext.inference.bootstrap import bootstrap_tests

    fitted = bootstrap_tests._fits

    def some_fail(refitted, y, reml):
        llf, sound, singular = fitted(refitted, y, reml)
        if bool(refitted.model.random_terms) == (which == "large"):
            sound[::10] = False
        return llf, sound, singular

    monkeypatch.setattr(bootstrap_tests, "_fits", some_fail)
    data = mx.datasets.pulp.load().data
    large = mx.mixedlm("bright ~ 1 + (1 | operator)", data).fit()
    small = mx.mixedlm("bright ~ 1", data).fit()
    with pytest.warns(mx.BootstrapWarning, match="10 of 100 replicates failed"):
        test = mx.bootstrap_test(large, small, 100, rng=0)
    assert test.n_failed == np.isnan(test.draws).sum() == 10
    assert test.n_extreme >= 10
    assert "10 failed" in repr(test)


@pytest.mark.slow
def test_a_hypothesis_that_holds_a_fixed_effect():
    """The slope is 8: the same test as of a slope of zero with 8 x in the offset."""
    data = mx.datasets.sleepstudy.load().data
    formula = "Reaction ~ Days + (Days | Subject)"
    large = mx.mixedlm(formula, data).fit(reml=False)
    free = MixedLMParams.from_components(np.array([1.0, 0.0]), np.ones((2, 2)))
    start = MixedLMParams.from_components(np.array([0.0, 8.0]), np.eye(2))
    small = large.model.fit(reml=False, free=free, start_params=start)
    test = mx.bootstrap_test(large, small, 60, rng=2)
    shifted = data.assign(Reaction=data["Reaction"] - 8 * data["Days"])
    same = [
        mx.mixedlm(f, shifted).fit(reml=False)
        for f in (formula, "Reaction ~ 1 + (Days | Subject)")
    ]
    want = mx.bootstrap_test(*same, 60, rng=2)
    assert test.df_num == want.df_num == 1
    assert test.n_failed == 0
    assert test.statistic == pytest.approx(want.statistic, rel=1e-8)
    assert (test.draws > 0).all()
    # the same law, from blocks of other sizes
    assert stats.ks_2samp(test.draws, want.draws).pvalue > 1e-3
    by_reml = mx.bootstrap_test(
        large.model.fit(), large.model.fit(free=free, start_params=start), 5, rng=0
    )
    assert not by_reml.reml
    with pytest.raises(ValueError, match="penalized fit"):
        mx.bootstrap_test(large, large.model.fit(reml=False, fe_pen=L2(np.ones(2))), 5)


def test_laws_that_do_not_fit_are_named():
    data = mx.datasets.sleepstudy.load().data
    formulas = [f"Reaction ~ {x} + (1 | Subject)" for x in ("1", "Days")]
    none, small = (mx.mixedlm(f, data).fit(reml=False) for f in formulas)
    linear = mx.mixedlm("Reaction ~ Days", data).fit(reml=False)
    assert "do not fit" in repr(mx.bootstrap_test(small, linear, 60, rng=1))
    assert "do not fit" not in repr(mx.bootstrap_test(small, none, 60, rng=1))


def test_a_single_replicate_has_no_moments():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        law = SimulatedLaw(2.0, np.array([1.0]), 1)
        assert np.isnan([law.laws()[n][-1] for n in ("Bartlett", "gamma", "F")]).all()
        law = SimulatedLaw(2.0, np.zeros(5), 1)
        assert np.isnan(law.laws()["Bartlett"][-1])
        law = SimulatedLaw(2.0, np.full(5, np.nan), 1)
        assert law.laws()["parametric bootstrap"][-1] == 1.0
