"""Structured random effects: other programs' fits, identities, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx

pytestmark = [
    pytest.mark.formula_engine,
    # where small data take a correlation to its limit
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
]

# distance ~ Sex * I(age - 11) of nlme's Orthodont: rows by subject, ages 8, 10, 12, 14
GIRLS = """21 20 21.5 23  21 21.5 24 25.5  20.5 24 24.5 26  23.5 24.5 25 26.5
21.5 23 22.5 23.5  20 21 21 22.5  21.5 22.5 23 25  23 23 23.5 24  20 21 22 21.5
16.5 19 19 19.5  24.5 25 28 28"""
BOYS = """26 25 29 31  21.5 22.5 23 26.5  23 22.5 24 27.5  25.5 27.5 26.5 27
20 23.5 22.5 26  24.5 25.5 27 28.5  22 22 24.5 26.5  24 21.5 24.5 25.5  23 20.5 31 26
27.5 28 31 31.5  23 23 23.5 25  21.5 23.5 24 28  17 24.5 26 29.5  22.5 25.5 25.5 26
23 24.5 26 30  22 21.5 23.5 25"""


def orthodont():
    boys, girls = (np.array(text.split(), float) for text in (BOYS, GIRLS))
    frame = pd.DataFrame({"distance": np.concatenate([boys, girls])})
    frame["age"] = np.tile([8, 10, 12, 14], 27)
    frame["subject"] = np.repeat(np.arange(27), 4)
    return frame.assign(girl=np.repeat([0.0, 1.0], [64, 44]), age11=frame.age - 11)


# glmmTMB 1.1.5, ar1(0 + factor(age) | Subject): log-likelihood, fixed effects, variance,
# correlation, sigma; gls with ARMA(1, 1) has the same likelihood
GLMMTMB = {
    True: (
        -216.694836922843,
        [24.9831742157162, -2.3362538921199, 0.783484692306663, -0.303687433565114],
        (3.5271454682952, 3.38840292741496, 1.30333019986349),
    ),
    False: (
        -214.230513365007,
        [24.9784896017892, -2.33131338314141, 0.783790915519771, -0.304078592048009],
        (3.18021210405839, 3.08921565071056, 1.31311893516321),
    ),
}
# nlme 3.1-162, lme with pdCompSymm: of Machines by Worker, of Oats by Block
MACHINES = {
    True: (-107.84378400411, 36.767901234568, 22.8584444444445, 0.961576637418793),
    False: (-112.634723469886, 30.5885493827161, 19.0487037037037, 0.961576637418793),
}
OATS = {
    True: (-289.445893478514, 323.420099589041, 214.477083333402, 12.866953429785),
    False: (-300.553865612528, 263.384953707674, 178.730902777669, 12.747258238202),
}


@pytest.mark.parametrize("reml", [True, False])
def test_autoregression_and_residual_as_glmmtmb(reml):
    llf, fixed, (variance, next_, sigma) = GLMMTMB[reml]
    formula = "distance ~ girl * age11 + ar1(0 + C(age) | subject)"
    result = mx.mixedlm(formula, orthodont()).fit(reml=reml)
    assert result.llf == pytest.approx(llf, rel=1e-9)
    np.testing.assert_allclose(result.fe_params, fixed, rtol=1e-4)  # glmmTMB's own
    found = result.fitted.fit.covariances[0]
    np.testing.assert_allclose(found[0, :2], [variance, next_], rtol=1e-4)
    assert result.sigma == pytest.approx(sigma, rel=1e-5)
    # variance, rho and sigma^2 besides four coefficients
    assert result.aic == pytest.approx(-2 * llf + 2 * 7, rel=1e-9)


@pytest.mark.parametrize("reml", [True, False])
def test_compound_symmetry_as_nlme(reml):
    machines = mx.datasets.machines.load().data
    oats = mx.datasets.oats.load().data
    cases = [
        ("score ~ Machine + homcs(0 + Machine | Worker)", machines, MACHINES),
        ('Q("yield") ~ nitro + Variety + homcs(0 + Variety | Block)', oats, OATS),
    ]
    for formula, data, reference in cases:
        llf, variance, covariance, sigma = reference[reml]
        result = mx.mixedlm(formula, data).fit(reml=reml)
        assert result.llf == pytest.approx(llf, rel=1e-9)
        found = result.fitted.fit.covariances[0]
        np.testing.assert_allclose(found[0, :2], [variance, covariance], rtol=1e-5)
        assert result.sigma == pytest.approx(sigma, rel=1e-6)


def test_compound_symmetry_is_two_nested_intercepts():
    machines = mx.datasets.machines.load().data
    one = mx.mixedlm("score ~ Machine + homcs(0 + Machine | Worker)", machines).fit()
    nested = mx.mixedlm("score ~ Machine + (1 | Worker/Machine)", machines).fit()
    assert one.llf == pytest.approx(nested.llf, rel=1e-12)
    np.testing.assert_allclose(one.bse_fe, nested.bse_fe, rtol=1e-6)
    # SAS's parameters are the same linear ones: so are the tests
    observed = {"df_method": "kenward-roger", "information": "observed"}
    for result in (one, nested):
        table = result.anova(**observed)
        assert table["df_denom"].iloc[0] == pytest.approx(10.0, abs=1e-4)
    np.testing.assert_allclose(one.cov_params_kr, nested.cov_params_kr, rtol=1e-5)


def repeated(seed=0, n_levels=14):
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_levels), 12)
    visit = np.tile(np.repeat(np.arange(4), 3), n_levels)
    lag = np.abs(np.subtract.outer(range(4), range(4)))
    root = np.linalg.cholesky(1.5 * 0.6**lag)
    effects = rng.normal(size=(n_levels, 4)) @ root.T
    frame = pd.DataFrame({"g": subject, "visit": visit, "x": rng.normal(size=len(visit))})
    frame["item"] = rng.integers(0, 6, len(frame))
    item = 0.7 * rng.normal(size=6)[frame.item]
    noise = rng.normal(size=len(frame))
    return frame.assign(y=1 + frame.x + effects[subject, visit] + item + noise)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("homcs", "cs"),
        ("homcs", "homtoep"),
        ("ar1", "hetar1"),
        ("ar1", "homtoep"),
        ("ar1", "ad"),
        ("ad", "adh"),
        ("cs", "toep"),
        ("hetar1", "toep"),
        ("hetar1", "adh"),
        ("toep", "us"),
        ("adh", "us"),
        ("homdiag", "ar1"),
        ("diag", "hetar1"),
    ],
)
def test_structures_that_hold_others_fit_no_worse(small, large):
    data = repeated()
    fits = [
        mx.mixedlm(f"y ~ x + {name}(0 + C(visit) | g)", data).fit()
        for name in (small, large)
    ]
    assert fits[0].llf <= fits[1].llf + 1e-7
    assert fits[0].aic != fits[1].aic
    test = fits[1].compare_lr_test(fits[0])  # nested, and not on the boundary: no warning
    assert test[0] == pytest.approx(2 * (fits[1].llf - fits[0].llf), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("homcs", 2),
        ("cs", 5),
        ("ar1", 2),
        ("hetar1", 5),
        ("homtoep", 4),
        ("toep", 7),
        ("ad", 4),
        ("adh", 7),
    ],
)
def test_parameters_are_counted_once(name, count):
    result = mx.mixedlm(f"y ~ x + {name}(0 + C(visit) | g)", repeated()).fit()
    assert result.n_params == 2 + count + 1
    assert result.aic == pytest.approx(-2 * result.llf + 2 * (3 + count))
    assert len(result.theta) == len(result.theta_names) == count
    assert len(result.params) == 2 + count == len(result.bse)
    assert result.params.index[-1].startswith("g rho")
    assert len(result.vcomp) == len(result.bse_re) == count
    rho = result.vcomp[-1]
    assert rho == pytest.approx(result.params.iloc[-1])  # no variance, not relative
    assert result.vcomp[0] == pytest.approx(result.params.iloc[2] * result.scale)
    assert f"{rho:.3f}"[:6] in str(result.summary())


@pytest.mark.parametrize(
    "formula", ["ar1(0 + C(visit) | g)", "hetar1(0 + C(visit) | g) + (1 | item)"]
)
def test_what_follows_from_a_fit(formula):
    data = repeated()
    model = mx.mixedlm(f"y ~ x + {formula}", data)
    result = model.fit()
    assert result.converged
    value, gradient = model.objective(result.theta)
    assert value == pytest.approx(-2 * result.llf, rel=1e-12)
    assert np.abs(gradient).max() < 1e-4
    again = model.fit(start_params=result.params.to_numpy())
    assert again.llf == pytest.approx(result.llf, abs=1e-8)
    assert model.refit(data.y).llf == pytest.approx(result.llf, abs=1e-8)
    scaled = model.refit(3 * data.y)
    np.testing.assert_allclose(scaled.fe_params, 3 * result.fe_params, rtol=1e-5)
    rho = result.conf_int_vcomp().loc["rho g"]
    assert scaled.conf_int_vcomp().loc["rho g", "std_err"] == pytest.approx(
        rho["std_err"], rel=1e-3
    )
    # rows of the fit as new data
    np.testing.assert_allclose(result.predict(data), result.fittedvalues, rtol=1e-9)
    frame = result.get_prediction(data.head(3)).summary_frame()
    own = result.get_prediction().summary_frame().head(3)
    np.testing.assert_allclose(frame["mean_se"], own["mean_se"], rtol=1e-9)
    covariance = result.fitted.fit.covariances[0]
    z, v = np.asarray(result.ranef("g")), np.asarray(result.V().values.todense())
    wide = np.zeros((len(data), 56))
    wide[np.arange(len(data)), data.g * 4 + data.visit] = 1
    rest = data.y - np.column_stack([np.ones(len(data)), data.x]) @ result.fe_params
    modes = np.kron(np.eye(14), covariance) @ wide.T @ np.linalg.solve(v, rest)
    np.testing.assert_allclose(z.ravel(), modes, atol=1e-7)
    copy = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(copy.bse_re, result.bse_re)
    bootstrap = result.bootstrap_parametric(6, rng=1)
    assert bootstrap.table.loc["rho g", "estimate"] == pytest.approx(rho["estimate"])
    simulated = result.simulate(3, rng=2)
    assert np.shape(simulated) == (len(data), 3)


def test_replicates_are_about_the_estimates():
    result = mx.mixedlm("y ~ x + ar1(0 + C(visit) | g)", repeated(n_levels=40)).fit()
    refits = result.simulate_refits(60, rng=4)
    error = refits.theta.std(axis=0) / np.sqrt(60)
    assert (np.abs(refits.theta.mean(axis=0) - result.theta) < 4 * error + 0.1).all()


def test_a_fit_by_chunks_is_that_of_the_rows():
    data = repeated()
    formula = "y ~ x + hetar1(0 + C(visit) | g)"
    whole = mx.mixedlm(formula, data).fit()
    data["visit"] = pd.Categorical(data.visit)
    plain = formula.replace("C(visit)", "visit")
    parts = mx.MixedLM.from_chunks(plain, [data.iloc[:70], data.iloc[70:]]).fit()
    assert parts.llf == pytest.approx(whole.llf, rel=1e-11)


def test_order_of_rows_and_scale_of_y_do_not_matter():
    data = repeated()
    formula = "y ~ x + toep(0 + C(visit) | g)"
    result = mx.mixedlm(formula, data).fit()
    other = mx.mixedlm(formula, data.sample(frac=1, random_state=1)).fit()
    assert other.llf == pytest.approx(result.llf, abs=1e-8)
    far = mx.mixedlm(formula, data.assign(y=1e3 * data.y + 1e6)).fit()
    np.testing.assert_allclose(far.vcomp[-3:], result.vcomp[-3:], atol=1e-5)


def test_no_effects_at_all_end_at_a_variance_of_zero():
    rng = np.random.default_rng(3)
    data = repeated()
    spread = rng.normal(size=len(data))
    spread -= pd.Series(spread).groupby([data.g, data.visit]).transform("mean").to_numpy()
    with pytest.warns(SingularMatrixWarning):
        result = mx.mixedlm("y ~ x + ar1(0 + C(visit) | g)", data.assign(y=spread)).fit()
    assert result.is_singular
    assert result.vcomp[0] == 0
    assert np.isnan(result.bse_re).all()
    assert result.var_corr["corr"].isna().all()


REFUSED = {
    "profile": lambda m, r: r.profile(),
    "interval": lambda m, r: r.conf_int(method="profile"),
    "score": lambda m, r: m.score(r.params.to_numpy()[2:]),
    "hessian": lambda m, r: m.hessian(r.params.to_numpy()),
    "oim": lambda m, r: m.fit(cov_type="oim"),
    "free": lambda m, r: m.fit(free=r.params_object),
    "distribution": lambda m, r: m.get_distribution(r.params, r.scale, m.exog).rvs(1),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_there_says_so(what):
    model = mx.mixedlm("y ~ x + ar1(0 + C(visit) | g)", repeated())
    result = model.fit()
    with pytest.raises(NotImplementedError, match=r"structured random effects.*ar1\(0 \+ "):
        REFUSED[what](model, result)


def test_two_columns_with_one_correlation_are_any_covariance():
    data = mx.datasets.sleepstudy.load().data
    one = mx.mixedlm("Reaction ~ Days + cs(Days | Subject)", data).fit()
    any_ = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    assert one.llf == pytest.approx(any_.llf, rel=1e-12)
    np.testing.assert_allclose(one.bse_fe, any_.bse_fe, rtol=1e-6)
    np.testing.assert_allclose(
        one.fitted.fit.covariances[0], any_.fitted.fit.covariances[0], rtol=1e-5
    )
    limits = [r.conf_int_vcomp().to_numpy() for r in (one, any_)]
    # sd, sd, correlation against sd, correlation, sd
    np.testing.assert_allclose(limits[0][[0, 2, 1, 3]], limits[1], rtol=1e-4)
    tests = [r.t_test("Days", df_method="satterthwaite").df_denom for r in (one, any_)]
    np.testing.assert_allclose(tests[0], tests[1], rtol=1e-5)


def test_a_correlation_at_its_limit_is_a_random_intercept():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"day": np.tile(np.repeat(np.arange(5), 4), 8)})
    frame["g"] = np.repeat(np.arange(8), 20)
    noise = pd.Series(rng.normal(size=160))
    # no day of a group differs from its others
    noise -= noise.groupby([frame.g, frame.day]).transform("mean")
    frame["y"] = noise + 2.0 * rng.normal(size=8)[frame.g]
    with pytest.warns(SingularMatrixWarning):
        one = mx.mixedlm("y ~ 1 + ar1(0 + C(day) | g)", frame).fit()
    intercept = mx.mixedlm("y ~ 1 + (1 | g)", frame).fit()
    assert one.convergence.status == "boundary"
    assert one.vcomp[1] == 1.0
    assert one.llf == pytest.approx(intercept.llf, rel=1e-9)
    # its error is that of the others with the correlation held
    errors = np.asarray(one.bse_re)
    assert errors[0] == pytest.approx(np.asarray(intercept.bse_re)[0], rel=1e-5)
    assert np.isnan(errors[1])
    assert "rho of ar1" in one.df_held()[0]
    np.testing.assert_allclose(one.bse_fe, intercept.bse_fe, rtol=1e-6)
    df = [r.t_test("Intercept").df_denom for r in (one, intercept)]
    np.testing.assert_allclose(df[0], df[1], rtol=1e-5)
    notes = one.conf_int_vcomp().notes
    assert any("rho g" in note for note in notes)
