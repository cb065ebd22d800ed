"""Covariance of variances and intervals from it, against dense algebra and closed forms."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import mixedext as mx
from mixedext.inference.variances import intervals

SLEEP = "Reaction ~ Days + (Days | Subject)"


def data_of(name):
    return getattr(mx.datasets, name).load().data.copy()


@pytest.mark.parametrize("reml", [False, True])
def test_covariance_is_the_inverse_of_the_dense_information(reml):
    data = data_of("sleepstudy")
    results = mx.mixedlm(SLEEP, data).fit(reml=reml)
    y, x = results.model.endog, results.model.exog
    same = (data["Subject"].to_numpy()[:, None] == data["Subject"].to_numpy()) * 1.0
    one, days = np.ones(len(y)), data["Days"].to_numpy(float)
    parts = [
        same * np.outer(one, one),
        same * (np.outer(one, days) + np.outer(days, one)),
        same * np.outer(days, days),
        np.eye(len(y)),
    ]
    cov = results.fitted.fit.covariances[0]
    values = np.array([cov[0, 0], cov[1, 0], cov[1, 1], results.scale])
    inverse = np.linalg.inv(sum(v * p for v, p in zip(values, parts, strict=True)))
    project = inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    whole = inverse - project
    py = whole @ y
    # -l_rs = y'P V_r P V_s P y - tr(Q V_r Q V_s) / 2, Q = P (REML) or V^-1
    trace = whole if reml else inverse
    information = np.array(
        [
            [py @ a @ whole @ b @ py - 0.5 * np.trace(trace @ a @ trace @ b) for a in parts]
            for b in parts
        ]
    )
    got = results.cov_vcomp
    assert list(got.index) == [
        "var Intercept|Subject",
        "cov Intercept.Days|Subject",
        "var Days|Subject",
        "residual",
    ]
    np.testing.assert_allclose(got, np.linalg.inv(information), rtol=2e-6)
    # delta method: by differences of sd and correlation
    table = results.conf_int_vcomp()

    def transform(v):
        return np.array(
            [v[0] ** 0.5, v[1] / (v[0] * v[2]) ** 0.5, v[2] ** 0.5, v[3] ** 0.5]
        )

    step = 1e-5 * np.abs(values)
    jacobian = np.array(
        [
            (transform(values + h) - transform(values - h)) / (2 * h.max())
            for h in np.diag(step)
        ]
    ).T
    want = np.sqrt(np.diag(jacobian @ got.to_numpy() @ jacobian.T))
    np.testing.assert_allclose(table["estimate"], transform(values), rtol=1e-12)
    np.testing.assert_allclose(table["std_err"], want, rtol=1e-7)


def test_balanced_residual_variance_has_its_degrees_of_freedom():
    data = data_of("dyestuff")
    results = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    table = results.conf_int_vcomp(method="satterthwaite", scale="variance", alpha=0.1)
    assert table.loc["residual", "df"] == pytest.approx(24, rel=1e-9)
    want = 24 * results.scale / stats.chi2.ppf([0.95, 0.05], 24)
    np.testing.assert_allclose(table.loc["residual", ["lower", "upper"]], want, rtol=1e-9)
    # of the batches: Satterthwaite's of (MSB - MSE) / n
    n, a = 5, 6
    between = n * data.groupby("Batch", observed=True)["Yield"].mean().var()
    variance = (between - results.scale) / n
    df = variance**2 / ((between / n) ** 2 / (a - 1) + (results.scale / n) ** 2 / 24)
    assert table.loc["var Intercept|Batch", "df"] == pytest.approx(df, rel=1e-6)
    want = df * variance / stats.chi2.ppf([0.95, 0.05], df)
    got = table.loc["var Intercept|Batch", ["lower", "upper"]]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    sd = results.conf_int_vcomp(method="satterthwaite", alpha=0.1)
    np.testing.assert_allclose(
        sd[["lower", "upper"]] ** 2, table[["lower", "upper"]], rtol=1e-12
    )


def test_log_and_plain_limits():
    results = mx.mixedlm(SLEEP, data_of("sleepstudy")).fit()
    log, plain = results.conf_int_vcomp(), results.conf_int_vcomp(method="wald")
    z = stats.norm.ppf(0.975)
    sd = log.loc["sd Days|Subject"]
    ratio = np.exp(z * sd["std_err"] / sd["estimate"])
    assert sd["upper"] / sd["estimate"] == pytest.approx(ratio, rel=1e-12)
    assert sd["estimate"] / sd["lower"] == pytest.approx(ratio, rel=1e-12)
    cor = log.loc["cor Intercept.Days|Subject"]
    move = z * cor["std_err"] / (1 - cor["estimate"] ** 2)
    assert np.arctanh(cor["upper"]) - np.arctanh(cor["estimate"]) == pytest.approx(move)
    np.testing.assert_allclose(
        plain["upper"] - plain["lower"], 2 * z * plain["std_err"], rtol=1e-12
    )
    variance = results.conf_int_vcomp(scale="variance")
    assert variance.loc["residual", "estimate"] == results.scale
    assert variance.loc["residual", "upper"] == pytest.approx(
        log.loc["sigma", "upper"] ** 2
    )
    own = results.conf_int_vcomp(method="wald", scale="variance").loc["residual"]
    error = results.cov_vcomp.loc["residual", "residual"] ** 0.5
    assert own["upper"] - own["estimate"] == pytest.approx(z * error)


def test_profile_limits_are_those_of_the_profile():
    results = mx.mixedlm(SLEEP, data_of("sleepstudy")).fit(reml=False)
    table = results.conf_int_vcomp(method="profile")
    want = results.profile("random").conf_int()
    np.testing.assert_allclose(table[["lower", "upper"]], want, rtol=1e-11)
    assert list(table.index) == list(want.index)


def test_boundary_has_no_standard_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data_of("dyestuff2")).fit()
    for method in ("log", "wald", "satterthwaite"):
        table = results.conf_int_vcomp(method=method)
        assert table.loc["sd Intercept|Batch", ["std_err", "lower", "upper"]].isna().all()
        assert table.loc["sigma"].notna().all()
    assert table.loc["sigma", "df"] == pytest.approx(29, rel=1e-9)


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_scale(factor):
    data = data_of("pastes")
    formula = "strength ~ 1 + (1 | batch / cask)"
    want = mx.mixedlm(formula, data).fit()
    scaled = data.assign(strength=data["strength"] * factor)
    got = mx.mixedlm(formula, scaled).fit()
    covariance = want.cov_vcomp
    np.testing.assert_allclose(
        got.cov_vcomp / factor**4,
        covariance,
        rtol=1e-8,
        atol=1e-10 * covariance.max().max(),
    )
    np.testing.assert_allclose(
        got.conf_int_vcomp() / factor, want.conf_int_vcomp(), rtol=1e-8
    )


def test_arguments():
    results = mx.mixedlm(SLEEP, data_of("sleepstudy")).fit()
    with pytest.raises(ValueError, match="method"):
        results.conf_int_vcomp(method="exact")
    with pytest.raises(ValueError, match=r"result\.conf_int\(method='bootstrap'\)"):
        results.conf_int_vcomp(method="bootstrap")
    with pytest.raises(ValueError, match="alpha"):
        results.conf_int_vcomp(alpha=1.5)
    with pytest.raises(ValueError, match="scale"):
        results.conf_int_vcomp(scale="log")


# lmerTest 3.1: m <- lmer(formula, data, control = lmerControl(optCtrl = list(
# ftol_abs = 1e-15, xtol_abs = 1e-12))); the covariance m@vcov_varpar of (theta, sigma),
# which numDeriv's Hessian of the deviance gives, by the delta method on the scale of log
# standard deviations and Fisher's z.  nlme's intervals agree to the two digits that its
# finite differences leave.
BY_LMERTEST = {
    ("sleepstudy", SLEEP, True): {
        "sd Intercept|Subject": 0.2358996,
        "cor Intercept.Days|Subject": 0.3264276,
        "sd Days|Subject": 0.2107408,
        "sigma": 0.0589255,
    },
    ("sleepstudy", SLEEP, False): {
        "sd Intercept|Subject": 0.2345325,
        "cor Intercept.Days|Subject": 0.3256550,
        "sd Days|Subject": 0.2076446,
        "sigma": 0.0589257,
    },
    ("sleepstudy", "Reaction ~ Days + (Days || Subject)", True): {
        "sd Intercept|Subject": 0.2260343,
        "sd Days|Subject": 0.2026556,
        "sigma": 0.0585908,
    },
    ("oats", "yield ~ nitro + (1 | Block/Variety)", True): {
        "sd Intercept|Block": 0.4010785,
        "sd Intercept|Variety:Block": 0.2758923,
        "sigma": 0.0971287,
    },
    ("dyestuff", "Yield ~ 1 + (1 | Batch)", True): {
        "sd Intercept|Batch": 0.4060971,
        "sigma": 0.1443376,
    },
    ("pastes", "strength ~ 1 + (1 | batch/cask)", True): {
        "sd Intercept|batch": 0.7087969,
        "sd Intercept|cask:batch": 0.1645513,
        "sigma": 0.1290994,
    },
    ("machines", "score ~ Machine + (1 | Worker/Machine)", True): {
        "sd Intercept|Worker": 0.3845954,
        "sd Intercept|Machine:Worker": 0.2285765,
        "sigma": 0.1178511,
    },
}


@pytest.mark.parametrize("case", BY_LMERTEST, ids=lambda c: f"{c[0]}-{c[1]}-{c[2]}")
def test_log_scale_errors_of_r(case):
    name, formula, reml = case
    table = mx.mixedlm(formula, data_of(name)).fit(reml=reml).conf_int_vcomp()
    assert set(table.index) == set(BY_LMERTEST[case])
    width = 2 * stats.norm.ppf(0.975)
    for parameter, error in BY_LMERTEST[case].items():
        limits = table.loc[parameter, ["lower", "upper"]].to_numpy(float)
        scale = np.arctanh if parameter.startswith("cor") else np.log
        # seven decimals of R, and its optimum
        assert np.diff(scale(limits))[0] / width == pytest.approx(error, rel=1.5e-5)


def test_zero_variance_among_uncorrelated_effects_leaves_the_others_alone():
    data = data_of("sleepstudy")
    for seed in range(20):
        data["z"] = np.random.default_rng(seed).normal(size=len(data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = mx.mixedlm("Reaction ~ Days + (Days + z || Subject)", data).fit()
        if results.is_singular:
            break
    assert results.is_singular
    without = mx.mixedlm("Reaction ~ Days + (Days || Subject)", data).fit()
    names = [n for n in results.conf_int_vcomp().index if n != "sd z|Subject"]
    for method in ("log", "wald", "satterthwaite"):
        table = results.conf_int_vcomp(method=method)
        assert table.loc["sd z|Subject", ["std_err", "lower", "upper"]].isna().all()
        np.testing.assert_allclose(
            table.loc[names], without.conf_int_vcomp(method=method), rtol=1e-7
        )
    note = "On the boundary, without standard errors: sd z|Subject at 0"
    assert table.notes == results.cov_vcomp.notes == (note,)
    assert note in repr(table)
    np.testing.assert_allclose(results.bse_re.iloc[:2], without.bse_re, rtol=1e-7)


def test_singular_covariance_matrix_is_named():
    data = data_of("sleepstudy")
    rng = np.random.default_rng(3)
    own = rng.normal(size=18)[data["Subject"].factorize()[0]]
    # one random effect moves intercept and slope together
    data["Reaction"] = own * (30 + 10 * data["Days"]) + rng.normal(size=len(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(20):
            noise = np.random.default_rng(seed).normal(size=len(data))
            data["y"] = data["Reaction"] + 20 * noise
            results = mx.mixedlm("y ~ Days + (Days | Subject)", data).fit()
            if results.is_singular:
                break
    assert results.is_singular
    notes = results.conf_int_vcomp().notes
    expected = "singular covariance matrix of sd Intercept|Subject, sd Days|Subject"
    assert len(notes) == 1
    assert notes[0].endswith(expected)
    # the residual variance beside covariance matrices l l' of rank 1, by dense matrices
    x, y = data["Days"].to_numpy(float), data["y"].to_numpy()
    same = np.equal.outer(data["Subject"].to_numpy(), data["Subject"].to_numpy())
    columns = np.column_stack([np.ones(len(x)), x, y])

    def deviance(a, b, variance):
        v = same * np.outer(a + b * x, a + b * x) + variance * np.eye(len(x))
        root = np.linalg.cholesky(v)
        half = np.linalg.solve(root, columns)
        whole = np.linalg.cholesky(half.T @ half)
        logs = np.log(np.diag(root)).sum() + np.log(np.diag(whole)[:2]).sum()
        return 2 * logs + whole[2, 2] ** 2

    sd = np.sqrt(np.diag(results.cov_re))
    slope = np.copysign(sd[1], results.cov_re.iloc[0, 1])
    at = np.array([sd[0], slope, results.scale])

    def hessian(step):
        moves = np.diag(step * at)
        around = [
            [
                sum(
                    i * j * deviance(*(at + i * a + j * b))
                    for i in (-1, 1)
                    for j in (-1, 1)
                )
                for a in moves
            ]
            for b in moves
        ]
        return np.array(around) / (4 * np.outer(step * at, step * at))

    second = (4 * hessian(1e-3) - hessian(2e-3)) / 3  # Richardson
    error = np.sqrt(2 * np.linalg.inv(second)[2, 2])
    found = results.cov_vcomp.loc["residual", "residual"] ** 0.5
    assert found == pytest.approx(error, rel=1e-6)


def test_regular_fits_have_no_notes():
    results = mx.mixedlm(SLEEP, data_of("sleepstudy")).fit()
    assert results.conf_int_vcomp().notes == results.cov_vcomp.notes == ()


def test_satterthwaite_limits_of_a_negative_covariance_are_missing_in_silence():
    data = data_of("sleepstudy")
    data["Days"] += 5  # intercepts and slopes are negatively correlated
    result = mx.mixedlm(SLEEP, data).fit()
    with np.errstate(all="raise"):
        table = result.conf_int_vcomp(method="satterthwaite")
    assert (result.var_corr["corr"] < 0).any()
    assert table["lower"].isna().sum() == 1


def test_errors_that_rounding_takes_are_blank_and_said(monkeypatch):
    """As of correlations near one, where variances have errors that cancel in them."""
    results = mx.mixedlm(SLEEP, data_of("sleepstudy")).fit()
    before = results.conf_int_vcomp(method="wald")
    covariance = intervals._cov_variances(results.fitted)
    values, pairs = zip(*intervals._variance_elements(results.fitted), strict=True)
    own = np.array(values) / covariance.size
    gradient = intervals.sd_and_correlation(own, pairs)[1][1]
    image = covariance.scaled @ gradient
    change = (1 + 1e-9) * np.outer(image, image) / (gradient @ image)
    covariance = replace(covariance, scaled=covariance.scaled - change)
    monkeypatch.setattr(intervals, "_cov_variances", lambda fitted: covariance)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = results.conf_int_vcomp(method="wald")
    assert table["std_err"].isna().to_list() == [False, True, False, False]
    assert table["lower"].isna().to_list() == [False, True, False, False]
    assert "Rounding leaves no standard errors of cor Intercept.Days|Subject" in str(table)
    assert "Rounding" not in str(before)


@pytest.mark.formula_engine
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("unit", [2.0**-430, 2.0**430], ids=["tiny", "huge"])
@pytest.mark.parametrize(
    ("formula", "residual"),
    [
        ("y ~ Days + (Days | Subject)", None),
        ("y ~ Days + cs(Days | Subject)", None),
        ("y ~ Days", "ar1(Days | Subject)"),
        ("y ~ Days", "us(Days | Subject)"),
        ("y ~ Days", "toeph(Days | Subject)"),
    ],
)
def test_errors_where_variances_of_variances_are_no_numbers(formula, residual, unit):
    """They are fourth powers of the unit; standard errors are its squares."""
    data = data_of("sleepstudy")
    data = data[data["Days"] < 4] if residual else data
    results = [
        mx.mixedlm(formula, data.assign(y=size * data["Reaction"]), residual=residual).fit()
        for size in (1.0, unit)
    ]
    for method in ("log", "wald", "satterthwaite"):
        wanted, found = (r.conf_int_vcomp(method=method) for r in results)
        deviation = found.index.str.startswith(("sd", "sigma"))
        size = np.where(deviation, unit, 1.0)
        for name in wanted:
            own = found[name] / (1.0 if name == "df" else size)
            np.testing.assert_allclose(own, wanted[name], rtol=1e-6, err_msg=name)
    errors = [r.bse_scale for r in results]
    assert errors[1] / unit**2 == pytest.approx(errors[0], rel=1e-6)


@pytest.mark.formula_engine
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("unit", [2.0**-400, 2.0**400], ids=["tiny", "huge"])
def test_errors_of_slopes_on_columns_of_any_unit(unit):
    data = data_of("sleepstudy")
    formula = "Reaction ~ x + (x | Subject)"
    results = [
        mx.mixedlm(formula, data.assign(x=size * data["Days"])).fit()
        for size in (1.0, unit)
    ]
    wanted, found = (result.conf_int_vcomp() for result in results)
    size = np.where(found.index == "sd x|Subject", unit, 1.0)
    np.testing.assert_allclose(found.mul(size, axis=0), wanted, rtol=1e-6)
    both = results[1].conf_int_vcomp(scale="variance")
    own = results[0].conf_int_vcomp(scale="variance")
    np.testing.assert_allclose(both["std_err"].iloc[0], own["std_err"].iloc[0], rtol=1e-6)
