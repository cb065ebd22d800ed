"""Profiles of results: labels, frames, invariances, processes, plots."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.paths import RESULTS
from helpers.reference import load_case
from scipy import stats
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.engine.fit import evaluate_design
from mixedext.exceptions import LowerDevianceWarning
from mixedext.fitted import Fitted
from mixedext.inference.profile import path as profile_path
from mixedext.models.mixedlm.results import MixedLMResults

SLEEP = "Reaction ~ Days + (Days | Subject)"


def data_of(name):
    return getattr(mx.datasets, name).load().data.copy()


def fitted(formula, data, reml=False, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        return mx.mixedlm(formula, data, **kwargs).fit(reml=reml)


def limits(results, **kwargs):
    return pd.DataFrame(results.profile(**kwargs).conf_int())


def same(got, want, share=1e-8):
    """Limits agree to a share of the length of the interval."""
    length = (want["upper"] - want["lower"]).to_numpy()
    error = np.abs(got.to_numpy() - want.to_numpy()) / length[:, None]
    assert error.max() < share


def test_names_and_order():
    profile = fitted(SLEEP, data_of("sleepstudy")).profile("random")
    assert profile.names == [
        "sd Intercept|Subject",
        "cor Intercept.Days|Subject",
        "sd Days|Subject",
        "sigma",
    ]
    profile = fitted("diameter ~ 1 + (1 | plate) + (1 | sample)", data_of("penicillin"))
    assert profile.profile().names == [
        "sd Intercept|plate",
        "sd Intercept|sample",
        "sigma",
        "Intercept",
    ]


def test_estimates_are_those_of_the_ml_fit():
    data = data_of("sleepstudy")
    reml, ml = fitted(SLEEP, data, reml=True), fitted(SLEEP, data)
    profile = reml.profile("sigma")
    assert profile.refitted_by_ml
    assert "ML" in str(profile)
    assert profile.deviance == pytest.approx(-2 * ml.llf, rel=1e-12)
    table = ml.var_corr
    want = [*table["sd"][:1], table["corr"][1], *table["sd"][1:], *ml.fe_params]
    np.testing.assert_allclose(profile.estimates, want, rtol=1e-7)
    assert not ml.profile("sigma").refitted_by_ml
    assert reml.reml
    assert reml.model.reml


def test_frame():
    results = fitted(SLEEP, data_of("sleepstudy"))
    profile = results.profile()
    frame = profile.zeta
    assert list(frame.columns[:4]) == ["parameter", "value", "zeta", "deviance"]
    assert list(frame.columns[4:]) == list(profile.estimates.index)
    for name, own in frame.groupby("parameter"):
        np.testing.assert_allclose(own["value"], own[name], rtol=1e-12)
        np.testing.assert_allclose(
            own["zeta"] ** 2, (own["deviance"] - profile.deviance).clip(0), atol=1e-9
        )
        assert (np.diff(own["value"]) > 0).all()
        assert own["zeta"].abs().max() >= 2.5758
        spline = profile.spline(name)
        np.testing.assert_allclose(spline(own["value"]), own["zeta"], atol=1e-12)
    # the other parameters at a point: the model at them has the deviance of the point
    row = frame[frame["parameter"] == "Days"].iloc[0]
    sd, other = row["sd Intercept|Subject"], row["sd Days|Subject"]
    both = sd * other * row["cor Intercept.Days|Subject"]
    cov_re = np.array([[sd**2, both], [both, other**2]]) / row["sigma"] ** 2
    params = mx.MixedLMParams.from_components(
        fe_params=np.array([row["Intercept"], row["Days"]]), cov_re=cov_re
    )
    got = results.model.loglike(params, profile_fe=False)
    assert -2 * got == pytest.approx(row["deviance"], abs=1e-6)


def test_spline_is_close_to_the_limits():
    profile = fitted(SLEEP, data_of("sleepstudy")).profile()
    for name, (low, high) in profile.conf_int().iterrows():
        spline = profile.spline(name)
        assert float(spline(low)) == pytest.approx(-1.959964, abs=2e-4)
        assert float(spline(high)) == pytest.approx(1.959964, abs=2e-4)


def test_limits_do_not_depend_on_the_points():
    results = fitted(SLEEP, data_of("sleepstudy"))
    same(limits(results, step=0.9), limits(results, step=0.2), 1e-9)
    same(limits(results, level=0.95), limits(results, level=0.999), 1e-9)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("sleepstudy", SLEEP),
        ("pastes", "strength ~ 1 + (1 | batch / cask)"),
        ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    ],
)
def test_row_order_and_labels_do_not_matter(name, formula):
    data = data_of(name)
    want = limits(fitted(formula, data))
    mixed = data.sample(frac=1, random_state=3).reset_index(drop=True)
    same(limits(fitted(formula, mixed)), want)


def test_scales_do_not_matter():
    data = data_of("sleepstudy")
    want = limits(fitted(SLEEP, data))
    for factor in (1e-6, 1e6):
        scaled = data.assign(Reaction=data["Reaction"] * factor)
        got = limits(fitted(SLEEP, scaled))
        got.loc[[n for n in got.index if not n.startswith("cor")]] /= factor
        same(got, want)
    scaled = data.assign(Days=data["Days"] * 1e4)
    got = limits(fitted(SLEEP, scaled))
    got.loc[["sd Days|Subject", "Days"]] *= 1e4
    same(got, want)


def test_offset_is_subtracted():
    case = load_case("sleepstudy_offset")
    data = case.data.assign(less=case.data["Reaction"] - case.data["off"])
    got = limits(fitted(SLEEP, case.data, offset=case.data["off"]))
    same(got, limits(fitted("less ~ Days + (Days | Subject)", data)), 1e-7)


def test_weights_are_replications_of_scale():
    data = data_of("sleepstudy")
    weights = np.full(len(data), 4.0)
    got = limits(fitted(SLEEP, data, weights=weights))
    got.loc["sigma"] /= 2
    same(got, limits(fitted(SLEEP, data)))


@pytest.mark.slow
def test_processes_give_the_same_numbers():
    results = fitted(SLEEP, data_of("sleepstudy"))
    one, two = results.profile(), results.profile(n_jobs=2)
    pd.testing.assert_frame_equal(one.zeta, two.zeta, check_exact=True)
    assert one.conf_int().equals(two.conf_int())


def test_profiles_can_be_stored():
    profile = fitted(SLEEP, data_of("sleepstudy")).profile("sigma")
    again = pickle.loads(pickle.dumps(profile))
    assert again.conf_int().equals(profile.conf_int())


@pytest.mark.formula_engine
def test_profiles_of_stored_results_and_of_results_without_rows():
    results = fitted(SLEEP, data_of("sleepstudy"))
    want = limits(results)
    results.remove_data()
    same(limits(results), want, 1e-12)
    same(limits(pickle.loads(pickle.dumps(results))), want, 1e-12)


def test_estimate_of_zero():
    results = fitted("Yield ~ 1 + (1 | Batch)", data_of("dyestuff2"))
    profile = results.profile()
    table = profile.conf_int()
    assert table.loc["sd Intercept|Batch", "lower"] == 0.0
    assert table.loc["sd Intercept|Batch", "upper"] == pytest.approx(2.0840478718, abs=1e-9)
    assert "at the bound 0" in repr(table)
    zeta = profile.zeta.query("parameter == 'sd Intercept|Batch'")["zeta"]
    assert (zeta >= 0).all()
    # the other limits are those of a sample without groups
    n, y = len(results.model.endog), results.model.endog
    square = ((y - y.mean()) ** 2).sum()
    low, high = table.loc["sigma"]
    for sigma in (low, high):
        rise = n * np.log(sigma**2) + square / sigma**2 - n * (np.log(square / n) + 1)
        # groups cannot but lower it; here they do not below the upper limit
        assert rise >= 3.841458820694124 - 1e-8
    margin = np.sqrt(square / n * np.expm1(3.841458820694124 / n))
    low, high = table.loc["Intercept"]
    assert high - y.mean() == pytest.approx(y.mean() - low, rel=1e-9)
    assert high - y.mean() >= margin - 1e-9


def test_a_correlation_with_no_limits():
    case = load_case("orthodont")
    results = fitted(case.formula, case.data)
    table = results.profile("random").conf_int()
    name = next(n for n in table.index if n.startswith("cor"))
    assert table.loc[name].tolist() == [-1.0, 1.0]
    assert f"{name}, lower" in repr(table)


def test_model_without_random_effects():
    data = data_of("sleepstudy")
    model = mx.MixedLM(data["Reaction"], np.ones((len(data), 1)), terms=[])
    table = model.fit(reml=False).profile().conf_int()
    y = data["Reaction"].to_numpy()
    n, square = len(y), ((y - y.mean()) ** 2).sum()
    margin = np.sqrt(square / n * np.expm1(3.841458820694124 / n))
    assert table.iloc[-1, 1] - y.mean() == pytest.approx(margin, rel=1e-9)
    for sigma in table.loc["sigma"]:
        rise = n * np.log(sigma**2) + square / sigma**2 - n * (np.log(square / n) + 1)
        assert rise == pytest.approx(3.841458820694124, abs=1e-8)


def test_a_matrix_is_the_same_as_one_level_with_its_columns():
    rng = np.random.default_rng(1)
    z, x = rng.normal(size=(80, 30)), np.column_stack([np.ones(80), np.arange(80.0)])
    y = z @ rng.normal(size=30) * 0.4 + rng.normal(size=80)
    one = mx.RandomTerm(np.zeros(80, int), z, structure="identity")
    tables = [
        limits(mx.MixedLM(y, x, terms=[term]).fit(reml=False))
        for term in (one, mx.SparseTerm(z))
    ]
    same(*tables)


def test_a_limit_that_is_not_reached(monkeypatch):
    monkeypatch.setattr(profile_path, "MOST_POINTS", 2)
    table = fitted(SLEEP, data_of("sleepstudy")).profile("sigma").conf_int()
    assert table.loc["sigma"].isna().all()
    assert "sigma, lower: the likelihood is flat: after 2 points" in repr(table)


def test_conf_int_by_profile():
    results = fitted(SLEEP, data_of("sleepstudy"), reml=True)
    table = results.conf_int(method="profile")
    profile = results.profile().conf_int()
    assert list(table.index[:2]) == ["Intercept", "Days"]
    assert list(table.columns) == [0, 1]
    np.testing.assert_allclose(table.loc[profile.index], profile, rtol=1e-11)
    narrow = results.conf_int(0.2, method="profile", cols=[1])
    want = results.profile().conf_int(0.2).loc["Days"]
    np.testing.assert_allclose(narrow.loc["Days"], want, rtol=1e-9)
    assert narrow.shape == (1, 2)
    wald = results.conf_int()
    assert list(wald.index) == list(results.params.index)
    with pytest.raises(ValueError, match="df_method"):
        results.conf_int(method="profile", df_method="satterthwaite")
    with pytest.raises(ValueError, match="profile"):
        results.conf_int(method="nothing")


def test_dropped_columns_have_no_interval():
    data = data_of("sleepstudy")
    data["Twice"] = 2 * data["Days"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = mx.mixedlm("Reaction ~ Days + Twice + (1 | Subject)", data).fit(
            reml=False
        )
    assert "Twice" not in results.profile().names
    table = results.conf_int(method="profile")
    assert table.loc["Twice"].isna().all()
    assert table.loc["Days"].notna().all()


def test_a_better_fit_is_said():
    data = data_of("sleepstudy")
    right = fitted(SLEEP, data)
    fit = right.fitted.fit
    at = evaluate_design(fit.design, False, fit.theta * 1.2)
    worse = MixedLMResults(Fitted(at, right.model))
    with pytest.warns(LowerDevianceWarning, match="lower than that of the fit"):
        profile = worse.profile("Days")
    assert profile.deviance == pytest.approx(-2 * right.llf, abs=1e-8)
    same(pd.DataFrame(profile.conf_int()), limits(right, parameters="Days"))


@pytest.mark.filterwarnings("ignore::mixedext.exceptions.ConfidenceLevelWarning")
def test_a_better_fit_found_between_points_is_said():
    right = fitted(SLEEP, data_of("sleepstudy"))
    want = right.profile("Days")
    fit = right.fitted.fit
    worse = evaluate_design(fit.design, False, fit.theta * 1.05)
    profile = right.profile("Days")
    curve = profile._profile.curves[0]
    # as if the points had been above a deviance that was too high
    profile._profile = replace(
        profile._profile,
        fit=worse,
        curves=[replace(curve, best=worse.deviance)],
    )
    with pytest.warns(LowerDevianceWarning, match="lower than that of the fit"):
        table = profile.conf_int(level=0.05)
    same(pd.DataFrame(table), pd.DataFrame(want.conf_int(level=0.05)))
    assert profile.deviance == pytest.approx(-2 * right.llf, abs=1e-8)


def test_arguments():
    results = fitted(SLEEP, data_of("sleepstudy"))
    with pytest.raises(ValueError, match=r"sd Days\|Subject"):
        results.profile("sd")
    for level in (1.0, 95, "a", np.nan, [0.9, 0.95]):
        with pytest.raises(ValueError, match=r"level=.* must lie between 0 and 1"):
            results.profile(level=level)
    with pytest.raises(ValueError, match=r"alpha=None must lie between 0 and 1"):
        results.profile(alpha=None)
    for step in (0, "a", None, np.nan):
        with pytest.raises(ValueError, match=r"step=.* must be a number above 0"):
            results.profile(step=step)
    for n_jobs in (0, 1.5, "a"):
        with pytest.raises(ValueError, match=r"n_jobs=.* must be a whole number"):
            results.profile(n_jobs=n_jobs)
    profile = results.profile("sigma", level=0.9)
    with pytest.raises(ValueError, match="level='a' must lie between 0 and 1"):
        profile.conf_int(level="a")
    with pytest.raises(ValueError, match="above that of the profile"):
        profile.conf_int(level=0.95)
    with pytest.raises(ValueError, match="no profile of 'Days'"):
        profile.spline("Days")


def test_which():
    data = data_of("pastes")
    results = fitted("strength ~ 1 + (1 | batch / cask)", data)
    batch, cask, sigma, intercept = names = results.profile().names
    for which, want in [
        (0, [batch]),
        (-1, [intercept]),
        (np.int64(2), [sigma]),
        ([3, batch], [batch, intercept]),
        (np.array([cask, batch]), [batch, cask]),
        (pd.Index([sigma, sigma]), [sigma]),
        ("random", names[:3]),
        ("theta_", names[:3]),
        ("fixed", [intercept]),
        (["beta_", 0], [batch, intercept]),
        ("batch", [batch]),
        (results.var_corr["group"][1], [cask]),
    ]:
        assert results.profile(which, level=0.5).names == want
    for which in ("cask", 4, -5, 1.0, True, [None]):
        with pytest.raises(ValueError, match="is no parameter; there are: 'sd"):
            results.profile(which)
    with pytest.raises(ValueError, match="names no parameter"):
        results.profile([])


def test_a_fixed_effect_named_as_a_parameter():
    data = data_of("sleepstudy")
    want = fitted(SLEEP, data).conf_int(method="profile")
    for name in ("sigma", "value", "fixed"):
        other = data.rename(columns={"Days": name})
        results = fitted(f"Reaction ~ {name} + ({name} | Subject)", other)
        got = results.conf_int(method="profile")
        np.testing.assert_allclose(got, want, rtol=1e-9)
        assert got.index.is_unique
        own = results.profile(got.index[1])
        np.testing.assert_allclose(own.conf_int(), got.iloc[[1]], rtol=1e-12)
        assert own.zeta.shape[1] == 10


@pytest.mark.slow
def test_processes_of_conf_int():
    results = fitted(SLEEP, data_of("sleepstudy"))
    one, two = (results.conf_int(method="profile", n_jobs=n) for n in (1, 2))
    assert one.equals(two)
    with pytest.raises(ValueError, match="method='profile' has no use for 'rng'"):
        results.conf_int(method="profile", rng=1)


def test_printed():
    profile = fitted(SLEEP, data_of("sleepstudy")).profile(["sigma", "Days"], level=0.9)
    assert repr(profile) == repr(profile.conf_int(level=0.9))
    assert "90%" in str(profile)
    assert "<table" in profile._repr_html_()


def test_penalized_results_have_no_profile():
    data = data_of("sleepstudy")
    model = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data)
    free = mx.MixedLMParams.from_components(
        fe_params=np.ones(2), cov_re=np.zeros((1, 1)), vcomp=np.ones(0)
    )
    start = mx.MixedLMParams.from_components(
        fe_params=np.array([250.0, 10.0]), cov_re=np.eye(1), vcomp=np.ones(0)
    )
    held = model.fit(free=free, start_params=start)
    with pytest.raises(ValueError, match="held or penalized"):
        held.profile()


def test_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    profile = fitted(SLEEP, data_of("sleepstudy")).profile()
    figure = profile.plot()
    assert sum(ax.get_visible() for ax in figure.axes) == 6
    plt.close(figure)
    figure, ax = plt.subplots()
    assert profile.plot("sigma", ax=ax) is figure
    low, high = profile.conf_int().loc["sigma"]
    drawn = [line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1]
    assert {low, high} <= set(drawn)
    plt.close(profile.plot(["Days", "sigma"], level=0.9))
    assert ax.get_xlabel() == "sigma"
    with pytest.raises(ValueError, match="1 axes for 6"):
        profile.plot(ax=ax)
    plt.close(figure)


@pytest.mark.parametrize(
    ("name", "y", "x"),
    [("intercept_26_rows", "y", "x0"), ("gasoline", "lgaspcar", "lincomep")],
)
def test_a_profile_is_the_lowest_of_several_minima(name, y, x):
    """A model with a slope held is one with an offset: its fits look for all minima."""
    data = pd.read_csv(RESULTS / "data" / f"{name}.csv")
    rest = {"y": "(1 | g)", "lgaspcar": "lrpmg + lcarpcap + (1 | country) + (1 | year)"}[y]
    result = mx.mixedlm(f"{y} ~ {x} + {rest}", data).fit(reml=False)
    assert len(result.convergence.minima) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error", LowerDevianceWarning)
        limits = result.profile().conf_int().loc[x]
    for limit in limits:  # where a variance may be zero
        held = data.assign(**{y: data[y] - limit * data[x]})
        fit = fitted(f"{y} ~ 1 + {rest}", held)
        rise = fit.deviance - result.deviance
        assert rise == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-5)
