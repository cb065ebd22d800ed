"""Profiles beside a residual covariance, against minima by another optimizer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.dense_residual import SasCovariance
from helpers.fev import fev_model
from scipy import optimize, stats

import mixedext as mx

pytestmark = pytest.mark.formula_engine


def series(seed=5, n_groups=24, m=4):
    rng = np.random.default_rng(seed)
    subject, visit = np.divmod(np.arange(n_groups * m), m)
    lag = np.abs(np.arange(m)[:, None] - np.arange(m))
    error = rng.standard_normal((n_groups, m)) @ np.linalg.cholesky(0.5**lag).T
    frame = pd.DataFrame({"y": error.ravel(), "visit": visit, "subject": subject})
    frame["y"] += 1.3 * rng.standard_normal(n_groups)[subject]
    frame["x"] = rng.standard_normal(len(frame))
    frame["w"] = rng.uniform(0.5, 2, len(frame))
    return frame.sample(frac=0.9, random_state=2)


def own_parameters(phi, kind, beta, random):
    """What a profile names, of SAS's parameters; ``random`` the variance in front."""
    out = {"Intercept": beta[0], "x": beta[1]}
    own = phi[1:] if random else phi
    if random:
        out["sd Intercept|subject"] = np.sqrt(phi[0])
    if kind == "us":  # over the first variance
        out["sigma"] = np.sqrt(own[0])
        rows, columns = np.tril_indices(4)
        for value, i, j in zip(own[1:], rows[1:], columns[1:], strict=True):
            out[f"UN({i + 1},{j + 1})"] = value / own[0]
    elif kind == "toep":
        out["sigma"] = np.sqrt(own[0])
        out |= {f"Toeplitz rho {k}": own[k] / own[0] for k in (1, 2, 3)}
    else:
        out["sigma"] = np.sqrt(own[0])
        if kind == "ar1h":
            for k in (1, 2, 3):
                out[f"sd({k}) ratio"] = np.sqrt(own[k] / own[0])
        out["AR1 rho"] = own[-1]
    return out


def outward(free, kind, random):
    """SAS's parameters of free ones, of which all are allowed (but Toeplitz rho)."""
    front, free = (np.exp(free[:1]), free[1:]) if random else (np.zeros(0), free)
    if kind == "us":
        root = np.zeros((4, 4))
        root[np.tril_indices(4)] = free
        root[np.diag_indices(4)] = np.exp(root.diagonal())
        own = (root @ root.T)[np.tril_indices(4)]
    elif kind == "toep":
        own = np.exp(free[0]) * np.append(1.0, free[1:])
    else:
        own = np.append(np.exp(free[:-1]), np.tanh(free[-1]))
    return np.concatenate([front, own])


def inward(phi, kind, random):
    """The free parameters."""
    front, own = (np.log(phi[:1]), phi[1:]) if random else (np.zeros(0), phi)
    if kind == "us":
        whole = np.zeros((4, 4))
        whole[np.tril_indices(4)] = own
        root = np.linalg.cholesky(whole + np.tril(whole, -1).T)
        root[np.diag_indices(4)] = np.log(root.diagonal())
        free = root[np.tril_indices(4)]
    elif kind == "toep":
        free = np.append(np.log(own[0]), own[1:] / own[0])
    else:
        free = np.append(np.log(own[:-1]), np.arctanh(own[-1]))
    return np.concatenate([front, free])


def least_deviance(result, kind, name, value, start, random):
    """The least ML deviance where a parameter has a value, by SLSQP on n x n matrices."""
    frame = result.model.data.frame
    subject, visit = frame["subject"].to_numpy(), frame["visit"].to_numpy()
    own = SasCovariance(kind, visit, subject, frame["w"].to_numpy())
    same = (subject[:, None] == subject).astype(float)
    y, x = frame["y"].to_numpy(), result.model.exog
    beta = np.asarray(result.fe_params)

    def deviance(z):
        phi, b = outward(z[2:], kind, random), z[:2]
        v = own(phi[1:]) + phi[0] * same if random else own(phi)
        try:
            lower = np.linalg.cholesky(v)
        except np.linalg.LinAlgError:
            return 1e4
        e = np.linalg.solve(lower, y - x @ b)
        return 2 * np.log(lower.diagonal()).sum() + e @ e + len(y) * np.log(2 * np.pi)

    def held(z):
        return (
            own_parameters(outward(z[2:], kind, random), kind, z[:2], random)[name] - value
        )

    found = optimize.minimize(
        deviance,
        np.concatenate([beta, inward(start, kind, random)]),
        method="SLSQP",
        constraints=[{"type": "eq", "fun": held}],
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    assert abs(held(found.x)) < 1e-6
    return found.fun


CASES = [("ar1", ""), ("ar1", " + (1 | subject)"), ("us", ""), ("toep", ""), ("ar1h", "")]


@pytest.mark.filterwarnings("ignore:delta_grad")
@pytest.mark.parametrize(("kind", "bar"), CASES)
def test_limits_are_where_the_deviance_has_risen(kind, bar):
    frame = series()
    model = mx.mixedlm(
        f"y ~ x{bar}", frame, residual=f"{kind}(visit | subject)", weights="w"
    )
    result = model.fit(reml=False)
    found = result.profile()
    table = found.conf_int()
    fit = result.fitted.fit
    phi = SasCovariance(
        kind, frame["visit"].to_numpy(), frame["subject"].to_numpy()
    ).parameters(result.residual.cov.to_numpy())
    if bar:
        phi = np.concatenate([fit.covariances[0][0], phi])
    named = own_parameters(phi, kind, np.asarray(result.fe_params), bool(bar))
    assert set(named) == set(found.names)
    rise = stats.chi2.ppf(0.95, 1)
    for name in found.names:
        assert found.estimates[name] == pytest.approx(named[name], rel=1e-5, abs=1e-6)
        for limit in table.loc[name]:
            low = least_deviance(result, kind, name, limit, phi, bool(bar))
            # SLSQP may end above the minimum, not below
            assert low - fit.deviance == pytest.approx(rise, abs=2e-3), (name, limit)


def test_points_and_slopes_of_a_path():
    result = mx.mixedlm("y ~ x", series(), residual="ar1(visit | subject)").fit(reml=False)
    found = result.profile(["AR1 rho", "x"])
    assert found.names == ["x", "AR1 rho"]
    points = found.zeta
    assert list(points.columns[-4:]) == ["sigma", "Intercept", "x", "AR1 rho"]
    for name in found.names:
        own = points[points["parameter"] == name]
        assert own["value"].is_monotonic_increasing
        assert own["zeta"].is_monotonic_increasing
        np.testing.assert_allclose(own["value"], own[name], atol=1e-9)
        square = own["deviance"] - result.fitted.fit.deviance
        np.testing.assert_allclose(own["zeta"] ** 2, square, atol=1e-8)
        spline = found.spline(name)
        limits = found.conf_int().loc[name]
        np.testing.assert_allclose(spline(limits), [-1.959964, 1.959964], atol=2e-3)


def test_independence_is_the_ordinary_profile():
    # at rho held at zero the model is the linear one
    frame = series()
    frame["y"] = np.random.default_rng(0).normal(size=len(frame))
    result = mx.mixedlm("y ~ x", frame, residual="ar1(visit | subject)").fit(reml=False)
    curve = result.profile("AR1 rho", level=0.999)
    plain = mx.mixedlm("y ~ x", frame).fit(reml=False)
    zeta = curve.spline("AR1 rho")(0.0)
    assert zeta**2 == pytest.approx(2 * (result.llf - plain.llf), rel=2e-3)


def test_groups_of_names_and_intervals_of_results():
    result = fev_model("us", "FEV1 ~ ARMCD").fit()
    found = result.profile("residual")
    assert len(found.names) == 9
    assert found.refitted_by_ml
    assert np.isfinite(found.conf_int().to_numpy()).all()
    limits = result.conf_int(method="profile")
    assert list(limits.index[:3]) == ["Intercept", "ARMCD[T.TRT]", "sigma"]
    np.testing.assert_allclose(
        limits.loc["UN(2,1)"], found.conf_int().loc["UN(2,1)"], rtol=1e-6
    )


@pytest.mark.filterwarnings("ignore:The residual covariance is at a limit")
def test_ends_of_a_range():
    # white noise: the range may be zero, the correlation of continuous time, too
    rng = np.random.default_rng(4)
    subject, visit = np.divmod(np.arange(60), 5)
    frame = pd.DataFrame({"s": subject, "v": visit, "x": rng.normal(size=60)})
    rng.standard_normal((12, 5))
    frame["y"] = rng.normal(size=60)
    for residual, name in (("sp_exp(v | s)", "sp_exp range"), ("car1(v | s)", "CAR1 rho")):
        result = mx.mixedlm("y ~ x", frame, residual=residual).fit(reml=False)
        table = result.profile("residual").conf_int()
        assert table.loc[name, "lower"] == 0.0
        assert result.profile().estimates[name] < table.loc[name, "upper"] < np.inf
        assert "stays below the level" in str(table)
    # near one the correlation is at the end, and is not profiled
    frame["y"] = np.repeat(rng.normal(size=12), 5) + 1e-3 * rng.normal(size=60)
    result = mx.mixedlm("y ~ 1", frame, residual="ar1(v | s)").fit()
    assert result.fitted.fit.residual.at_limit
    assert result.profile().names == ["sigma", "Intercept"]
    for information in ("observed", "expected"):
        table = result.anova(df_method="kr", information=information)
        assert "rho at 1" in str(table) or not len(table)


def test_the_fit_stands_where_it_stood():
    # deviances of the same rows have factors of their own
    result = fev_model("ar1", "FEV1 ~ ARMCD").fit()
    want = fev_model("ar1", "FEV1 ~ ARMCD").fit().t_test([[0, 1]], df_method="kr").sd
    result.profile()
    result.simulate_refits(2, rng=1)
    result.get_robustcov_results("CR2")
    np.testing.assert_allclose(result.t_test([[0, 1]], df_method="kr").sd, want, rtol=1e-12)
    beside = mx.mixedlm("y ~ x + (1 | subject)", series(), residual="ar1(visit | subject)")
    one, other = beside.fit(), beside.fit()
    one.profile("sigma")
    one.simulate_refits(2, rng=1)
    np.testing.assert_allclose(
        one.t_test([[0, 1]], df_method="kr").sd,
        other.t_test([[0, 1]], df_method="kr").sd,
        rtol=1e-12,
    )


def test_what_is_refused():
    data = fev_model("us").data.frame
    held = mx.AR1("AVISIT", group="USUBJID", rho=0.3, fixed=True)
    result = mx.mixedlm("FEV1 ~ ARMCD", data, residual=held).fit()
    assert result.profile().names == ["sigma", "Intercept", "ARMCD[T.TRT]"]
    with pytest.raises(ValueError, match="'AR1 rho' is held, or at an end"):
        result.profile("AR1 rho")
    result.remove_data()
    with pytest.raises(ValueError, match="the data of this model were removed"):
        result.profile()
