"""Profiles of generalized models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.herds import cbpp
from scipy import optimize, stats
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx

pytestmark = pytest.mark.formula_engine

FORMULA = "incidence / size ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def fit():
    return mx.glmm(FORMULA, cbpp(), family="binomial", weights="size").fit()


def test_limits_of_lme4(fit):
    # confint(m, method="profile") of lme4 1.1-31 with tolPwrss = 1e-13, xtol_abs = 1e-10;
    # it interpolates by splines
    table = fit.profile().conf_int()
    wanted = {
        "sd Intercept|herd": (0.34609446, 1.09988200),
        "Intercept": (-1.90115607, -0.94779453),
        "period[T.2]": (-1.61667870, -0.40784048),
        "period[T.3]": (-1.80091765, -0.51161028),
        "period[T.4]": (-2.50060049, -0.80083115),
    }
    for name, limits in wanted.items():
        np.testing.assert_allclose(table.loc[name], limits, atol=2e-4)


def test_deviance_at_the_limits(fit):
    """The restricted minimum at a limit is the quantile above that of the fit."""
    lower, upper = fit.profile("Intercept").conf_int().loc["Intercept"]
    for limit in (lower, upper):
        data = cbpp().assign(shift=limit)
        held = mx.glmm(
            "incidence / size ~ 0 + p2 + p3 + p4 + offset(shift) + (1 | herd)",
            data.assign(**{f"p{k}": (data["period"] == k) * 1.0 for k in (2, 3, 4)}),
            family="binomial",
            weights="size",
        ).fit()
        rise = held.deviance - fit.deviance
        assert rise == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-6)


def test_conf_int_is_in_the_order_of_params(fit):
    table = fit.conf_int(method="profile")
    assert table.index.tolist()[-1] == "sd Intercept|herd"
    np.testing.assert_allclose(table.iloc[0], [-1.9011878, -0.9477878], atol=2e-4)


def test_a_variance_of_zero():
    y = np.tile([1, 2, 3, 4, 5, 3], 10)
    data = pd.DataFrame({"g": np.repeat(range(10), 6), "y": y})
    with pytest.warns(SingularMatrixWarning):
        fit = mx.glmm("y ~ 1 + (1 | g)", data, family="poisson").fit()
    assert fit.is_singular
    table = fit.profile().conf_int()
    assert table.loc["sd Intercept|g", "lower"] == 0.0
    assert 0 < table.loc["sd Intercept|g", "upper"] < 1
    assert table.loc["Intercept"].notna().all()


def test_slopes_correlations_and_dispersion():
    rng = np.random.default_rng(5)
    data = pd.DataFrame(
        {"g": np.repeat(range(30), 10), "x": np.tile(range(10), 30) / 5 - 1}
    )
    a, b = rng.multivariate_normal([0, 0], [[0.4, -0.1], [-0.1, 0.2]], 30).T
    mean = np.exp(1 + a[data["g"]] + (0.3 + b[data["g"]]) * data["x"])
    data["y"] = rng.gamma(3.0, mean / 3.0)
    fit = mx.glmm("y ~ x + (x | g)", data, family="gamma").fit()
    found = fit.profile()
    table = found.conf_int()
    names = ["sd Intercept|g", "cor Intercept.x|g", "sd x|g", "phi", "Intercept", "x"]
    assert table.index.tolist() == names
    assert (table["lower"] < found.estimates).all()
    assert (found.estimates < table["upper"]).all()
    # the other order of the columns is the same model
    again = mx.glmm("y ~ x + (0 + x + one | g)", data.assign(one=1.0), family="gamma").fit()
    other = again.profile("random").conf_int()
    np.testing.assert_allclose(other.loc["sd x|g"], table.loc["sd x|g"], atol=1e-5)
    np.testing.assert_allclose(
        other.loc["cor x.one|g"], table.loc["cor Intercept.x|g"], atol=1e-5
    )
    # slopes of the curve are those of its differences
    curve = found.spline("sd x|g")
    zeta = found.zeta[found.zeta["parameter"] == "sd x|g"]
    np.testing.assert_allclose(curve(zeta["value"]), zeta["zeta"], atol=1e-10)


def test_errors(fit):
    with pytest.raises(ValueError, match="sd nothing"):
        fit.profile("sd nothing|herd")
    rough = mx.glmm(FORMULA, cbpp(), family="binomial", weights="size").fit(n_agq=0)
    with pytest.raises(ValueError, match="n_agq=1"):
        rough.profile()


# ---- structured covariances ----


@pytest.fixture(scope="module")
def visits():
    rng = np.random.default_rng(2)
    n = 240
    data = pd.DataFrame({"g": np.arange(n) // 3, "f": np.tile(list("abc"), n // 3)})
    data["x"] = rng.normal(size=n)
    root = np.linalg.cholesky(0.8 * 0.6 ** np.abs(np.subtract.outer(range(3), range(3))))
    effects = (rng.normal(size=(n // 3, 3)) @ root.T).ravel()
    data["y"] = rng.poisson(np.exp(0.5 + 0.3 * data["x"] + effects))
    return data


@pytest.mark.parametrize("structure", ["cs", "homcs", "ar1", "ad"])
def test_profiles_of_structured_covariances(visits, structure):
    """Limits are where the deviance, least over the others, has risen by chi-squared."""
    model = mx.glmm(f"y ~ x + {structure}(0 + f | g)", visits, family="poisson")
    result = model.fit()
    limits = result.conf_int(method="profile")
    engine = result.fitted.generalized.engine
    own = engine.design.units.structures[0]
    names = limits.index.tolist()[2:]
    assert len(names) == own.n_theta
    at = np.concatenate([engine.theta, engine.coefficients])
    for j in {0, own.n_theta - 1}:
        for side in (0, 1):
            value = limits.loc[names[j], side]
            eta = own.natural(engine.theta)
            eta[j] = value**2 if own.is_variance[j] else value
            held = own.free(eta)[j]
            free = np.delete(np.arange(len(at)), j)

            def restricted(x, j=j, held=held):
                value, gradient = model.objective(np.insert(x, j, held))
                return value, np.delete(gradient, j)

            found = optimize.minimize(
                restricted, at[free], jac=True, method="BFGS", options={"gtol": 1e-7}
            )
            rise = found.fun - result.deviance
            assert rise == pytest.approx(stats.chi2.ppf(0.95, 1), abs=2e-5)


def test_correlations_of_several_parameters_have_no_profile(visits):
    result = mx.glmm("y ~ x + toep(0 + f | g)", visits, family="poisson").fit()
    with pytest.warns(mx.StructureWarning, match="no profile of rho 2 g: .*conf_int_vcomp"):
        table = result.conf_int(method="profile")
    assert table.loc["rho 2 g"].isna().all()
    assert table.drop(index="rho 2 g").notna().all(axis=None)
    with pytest.raises(ValueError, match="no profile of rho 2 g"):
        result.profile("rho 2 g")
    one = result.profile("rho 1 g").conf_int()
    assert one.to_numpy()[0] == pytest.approx(table.loc["rho 1 g"].to_numpy(), abs=1e-6)


def test_a_standard_deviation_of_a_structure_that_may_be_zero(visits):
    data = visits.assign(y=np.where(visits["f"] == "c", 2, visits["y"]))
    with pytest.warns(SingularMatrixWarning):
        result = mx.glmm("y ~ f + cs(0 + f | g)", data, family="poisson").fit()
    limits = result.profile("sd f[c]|g").conf_int()
    assert limits["lower"].iloc[0] == 0.0
    assert 0 < limits["upper"].iloc[0] < 1
