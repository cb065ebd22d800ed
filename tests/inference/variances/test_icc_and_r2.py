"""Shares of the variance: performance's values, theory, intervals."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.comparison import case_fit, cases_with
from helpers.reference import load_case, relative_error

import mixedext as mx

pytestmark = [
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
    pytest.mark.formula_engine,
]

# performance's own values for slopes without an intercept in the same term are wrong: it
# gives another share for (0 + Machine | Worker) than for the same model as
# (Machine | Worker).
NO_INTERCEPT = {"machines_cellmeans", "sleepstudy_uncorr"}


@pytest.mark.parametrize("name", sorted(set(cases_with("performance")) - NO_INTERCEPT))
def test_performance(name):
    want, result = load_case(name).values["performance"], case_fit(name)
    shares = [*result.r2_nakagawa, result.icc(), result.icc(adjusted=False)]
    keys = ["r2_marginal", "r2_conditional", "icc_adjusted", "icc_unadjusted"]
    assert relative_error(shares, [want[k] for k in keys]) < 1e-6


def test_shares_do_not_depend_on_the_columns_of_a_term():
    one, two = case_fit("machines_cellmeans"), case_fit("machines_slope")
    np.testing.assert_allclose(one.r2_nakagawa, two.r2_nakagawa, rtol=1e-6)


def test_random_variance_is_the_mean_over_the_rows():
    result = case_fit("sleepstudy_uncorr")
    intercept, slope = result.var_corr["variance"][:2]
    days = result.model.exog[:, 1]
    random = intercept + slope * np.mean(days**2)
    np.testing.assert_allclose(result.icc(), random / (random + result.scale))
    fixed = np.var(result.model.exog @ result.fe_params.to_numpy(), ddof=1)
    total = fixed + random + result.scale
    np.testing.assert_allclose(result.r2_nakagawa.marginal, fixed / total)


def test_icc_of_one_factor():
    result = case_fit("pastes")
    groups = list(result.n_levels.index)
    shares = [result.icc(g) for g in groups]
    np.testing.assert_allclose(sum(shares), result.icc())
    with pytest.raises(ValueError, match="group='nothing' is not a grouping factor"):
        result.icc("nothing")
    with pytest.raises(ValueError, match="ci='wald' is not known"):
        result.icc(ci="wald")


def test_icc_delta_method():
    # balanced one-way layout: Fisher's large-sample variance of the intraclass
    # correlation, 2 (1 - r)^2 (1 + (k - 1) r)^2 / (k (k - 1) (groups - 1)), is the delta
    # method with (groups - 1) k for the residual's degrees of freedom groups (k - 1)
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data).fit()
    found = result.icc(ci="delta")
    r, k, groups = found.estimate, 5, 6
    # d log F of the two mean squares: 2 / df each
    derivative = (1 - r) * (1 + (k - 1) * r) / k
    spread = 2 / (groups - 1) + 2 / (groups * (k - 1))
    np.testing.assert_allclose(found.se, derivative * np.sqrt(spread), rtol=1e-6)
    assert found.lower < r < found.upper
    narrow = result.icc(ci="delta", alpha=0.5)
    assert narrow.upper - narrow.lower < found.upper - found.lower


def test_icc_bootstrap():
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data).fit()
    found = result.icc(ci="bootstrap", n=400, rng=1)
    assert found == result.icc(ci="bootstrap", n=400, rng=1)

    def share(frame):
        variance = frame["sd Intercept|Batch"] ** 2
        return variance / (variance + frame["sigma"] ** 2)

    # the same percentiles as any statistic's
    replicates = result.bootstrap_parametric(400, share, rng=1, vectorized=True)
    want = replicates.table.loc["statistic", ["estimate", "std_err", "lower", "upper"]]
    np.testing.assert_allclose(found, want.astype(float), rtol=1e-10)
    assert np.isnan(result.icc(ci="bootstrap", n=1, rng=1)[1:]).all()


def test_icc_on_the_boundary():
    result = case_fit("dyestuff2")
    found = result.icc(ci="delta")
    assert found.estimate == pytest.approx(0, abs=1e-12)
    assert np.isnan(found.se)


def test_shares_are_of_the_variances_shown():
    """An L1 penalty leaves the covariances of a fit without it, beside another sigma^2."""
    data = mx.datasets.sleepstudy.load().data
    model = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data)
    result = model.fit_regularized(alpha=[0.0, 2000.0])
    intercept, residual = result.var_corr["variance"]
    np.testing.assert_allclose(result.icc(), intercept / (intercept + residual))
    assert result.fe_params["Days"] == 0.0
    np.testing.assert_allclose(result.r2_nakagawa, [0.0, result.icc()], atol=1e-15)


@pytest.mark.filterwarnings("ignore:1 column of exog depends")
def test_one_row_has_no_share():
    result = mx.mixedlm("y ~ 0 + x", {"y": [1.0], "x": [0.0]}).fit(reml=False)
    assert np.isnan(result.r2_nakagawa).all()


@pytest.mark.parametrize("structure", ["cs", "hetar1", "ar1"])
@pytest.mark.parametrize("unit", [1e-90, 1e-8, 1e8, 1e90], ids=str)
def test_intervals_of_structured_covariances_go_with_no_unit(structure, unit):
    """Variances and correlations compare in the engine's units, not in the data's."""
    data = mx.datasets.sleepstudy.load().data
    data["z"] = data["Days"] % 2
    formula = f"y ~ Days + {structure}(0 + Days + z | Subject)"
    wanted, found = (
        mx.mixedlm(formula, data.assign(y=size * data["Reaction"])).fit().icc(ci="delta")
        for size in (1.0, unit)
    )
    assert wanted.se > 0.01
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
