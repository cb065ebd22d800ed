"""Covariance and intervals of the variances of generalized models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(5)
    data = pd.DataFrame(
        {"g": np.repeat(range(30), 10), "x": np.tile(range(10), 30) / 5 - 1}
    )
    a, b = rng.multivariate_normal([0, 0], [[0.4, -0.1], [-0.1, 0.2]], 30).T
    mean = np.exp(1 + a[data["g"]] + (0.3 + b[data["g"]]) * data["x"])
    data["y"] = rng.gamma(3.0, mean / 3.0)
    return mx.glmm("y ~ x + (x | g)", data, family="gamma").fit()


def test_errors_are_those_of_params(fit):
    table = fit.cov_vcomp
    assert table.index.tolist()[0] == "var Intercept|g"
    assert table.index.tolist()[-1] == "phi"
    wanted = sorted(np.asarray(fit.bse)[2:])
    np.testing.assert_allclose(sorted(np.sqrt(np.diag(table))), wanted)


def test_limits(fit):
    table = fit.conf_int_vcomp()
    z = stats.norm.ppf(0.975)
    row = table.loc["sd x|g"]
    v, se = fit.fitted.random.covariances[0][1, 1], fit.cov_vcomp.loc["var x|g", "var x|g"]
    assert row["std_err"] == pytest.approx(np.sqrt(se) / (2 * np.sqrt(v)))
    half = np.exp(z * row["std_err"] / row["estimate"])
    assert row["upper"] == pytest.approx(row["estimate"] * half)
    phi = table.loc["phi"]
    assert phi["std_err"] == pytest.approx(fit.dispersion_se)
    profile = fit.conf_int_vcomp(method="profile")
    assert (abs(profile["lower"] - table["lower"]) < 0.3).all()
    squared = fit.conf_int_vcomp(scale="variance", method="wald")
    assert squared.loc["var x|g", "estimate"] == pytest.approx(v)
    with pytest.raises(ValueError, match="method"):
        fit.conf_int_vcomp(method="satterthwaite")
