"""Matrices of the residual covariance, against nlme, SAS and dense statements."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.residual_fits import (
    MODELS,
    data_of,
    dense_residual,
    fev_fit,
    fit_of,
    reference,
    series,
)

import mixedext as mx

pytestmark = pytest.mark.formula_engine

# SAS PROC MIXED on FEV1 = RACE SEX ARMCD*AVISIT, as mmrm's authors store it (5 digits).
SAS_US = {
    "UN(1,1)": 40.5509,
    "UN(2,1)": 14.3982,
    "UN(2,2)": 26.5692,
    "UN(3,1)": 4.9744,
    "UN(3,2)": 2.7851,
    "UN(3,3)": 14.8970,
    "UN(4,1)": 13.3731,
    "UN(4,2)": 7.4790,
    "UN(4,3)": 0.9017,
    "UN(4,4)": 95.5528,
}


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", list(MODELS))
def test_matrix_of_a_group_is_nlmes(name, reml):
    ref = reference()[name + ("" if reml else "_ml")]
    if "R" not in ref:
        pytest.skip("no block is kept")
    result, rows = fit_of(name, reml), np.array(ref["R"]["rows"]) - 1
    got = result.R().values[rows][:, rows].toarray()
    size = np.abs(ref["R"]["R"]).max()
    np.testing.assert_allclose(got, ref["R"]["R"], rtol=0, atol=2e-5 * size)
    bound = result.fitted.fit.residual.bound
    if bound.correlation is not None:
        label = bound.group_labels[bound.group_codes[rows[0]]]
        own = result.residual.group(label)
        assert list(own.index) == list(rows)
        np.testing.assert_allclose(own, got, rtol=1e-13)


def test_unstructured_is_sas():
    found = fev_fit("us(AVISIT | USUBJID)").residual
    assert found.sas_names.tolist() == list(SAS_US)
    np.testing.assert_allclose(found.params[list(SAS_US)], list(SAS_US.values()), atol=8e-3)
    assert list(found.cov.index) == ["VIS1", "VIS2", "VIS3", "VIS4"]
    assert found.cov.index.name == "AVISIT"
    assert found.cov.loc["VIS3", "VIS2"] == found.params["UN(3,2)"]


@pytest.mark.parametrize(
    ("residual", "names", "sas"),
    [
        ("cs", ["sigma^2", "rho"], ["CS + Residual", "CS / (CS + Residual)"]),
        ("ar1", ["sigma^2", "rho"], ["Residual", "AR(1)"]),
        ("ar1h", ["Var(VIS1)", "Var(VIS2)", "Var(VIS3)", "Var(VIS4)", "rho"], None),
        ("toep", ["sigma^2", "rho 1", "rho 2", "rho 3"], None),
    ],
)
def test_names(residual, names, sas):
    found = fev_fit(f"{residual}(AVISIT | USUBJID)").residual
    assert found.params.index.tolist() == names
    if sas is not None:
        assert found.sas_names.tolist() == sas
    assert not found.bse.isna().any()


def test_levels_have_their_own():
    found = fev_fit("us(AVISIT | USUBJID, by=ARMCD)").residual
    assert list(found.cov) == ["PBO", "TRT"]
    # mmrm 0.3.18, us(AVISIT | ARMCD / USUBJID)
    np.testing.assert_allclose(found.cov["PBO"].loc["VIS1", "VIS1"], 34.4028, rtol=1e-4)
    np.testing.assert_allclose(found.cov["TRT"].loc["VIS4", "VIS2"], 15.30596, rtol=1e-4)
    assert found.params.index[:2].tolist() == ["PBO: UN(1,1)", "PBO: UN(2,1)"]
    assert found.params.index[10] == "TRT: UN(1,1)"
    for label, matrix in found.cov.items():
        lower = matrix.to_numpy()[np.tril_indices(4)]
        own = found.params.filter(like=f"{label}: ")
        np.testing.assert_allclose(own, lower, rtol=1e-12)
    np.testing.assert_allclose(np.diag(found.corr["TRT"]), 1.0)
    other = fev_fit("ar1(AVISIT | USUBJID, by=ARMCD)").residual
    assert other.params.index.tolist() == ["Var(PBO)", "Var(TRT)", "PBO: rho", "TRT: rho"]
    assert other.sas_names.tolist() == ["Variance", "Variance", "AR(1)", "AR(1)"]
    got = other.cov["TRT"].to_numpy()
    lag = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    expected = other.params["Var(TRT)"] * other.params["TRT: rho"] ** lag
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("bar", ["", " + (1 | subject)", " + (t | subject)"])
@pytest.mark.parametrize(
    ("residual", "variance"),
    [
        ("ar1(visit | subject)", None),
        ("ar1(visit | subject)", "ident(arm)"),
        ("ar1h(visit | subject)", None),
        ("cs(1 | subject)", None),
        ("us(visit | subject)", None),
    ],
)
def test_matrices_are_those_of_the_definition(residual, variance, bar):
    if bar and residual[:2] in ("cs", "us"):
        pytest.skip("not identified beside random effects")
    data = series()
    model = mx.mixedlm(
        f"y ~ x{bar}", data, residual=residual, variance=variance, weights="weight"
    )
    result = model.fit()
    dense = dense_residual(result)
    np.testing.assert_allclose(result.R().values.toarray(), dense, rtol=1e-9, atol=1e-12)
    whole = dense.copy()
    if bar:
        z = np.column_stack([np.ones(len(data)), data["t"]])[:, : 1 + ("(t" in bar)]
        same = data["subject"].to_numpy()[:, None] == data["subject"].to_numpy()
        whole += same * (z @ np.asarray(result.cov_re) @ z.T)
    np.testing.assert_allclose(result.V().values.toarray(), whole, rtol=1e-9, atol=1e-12)
    rows = result.model.data.row_labels.get_indexer(data.index[data["subject"] == 5])
    own = result.marginal_cov(5)
    at = [data.index.get_loc(label) for label in own.index]
    assert sorted(at) == sorted(rows)
    assert data.loc[own.index, "visit"].is_monotonic_increasing or "1 |" in residual
    np.testing.assert_allclose(own, whole[np.ix_(at, at)], rtol=1e-9)
    np.testing.assert_allclose(
        result.residual.group(5), dense[np.ix_(at, at)], rtol=1e-9, atol=1e-12
    )
    factor = result.L().values.toarray()
    q = factor.shape[0] - 3
    logs = 2 * np.log(np.diag(factor))
    log_lambda = result.fitted.fit.residual.log_determinant
    log_lambda -= np.log(data["weight"]).sum()
    expected = np.linalg.slogdet(whole / result.scale)[1]
    assert logs[:q].sum() + log_lambda == pytest.approx(expected, rel=1e-8)
    x = result.model.exog
    information = x.T @ np.linalg.solve(whole / result.scale, x)
    assert logs[q : q + 2].sum() == pytest.approx(np.linalg.slogdet(information)[1])
    assert factor[-1, -1] ** 2 / (len(data) - 2) == pytest.approx(result.scale)


def test_a_level_of_a_random_factor_holds_several_residual_groups():
    result = fit_of("Machines: lme_finer_compsymm")
    own = result.marginal_cov("3", group="Worker")
    data = data_of("Machines")
    assert own.index.tolist() == data.index[data["Worker"] == "3"].tolist()
    at = own.index.to_numpy()
    np.testing.assert_allclose(own, result.V().values[at][:, at].toarray(), rtol=1e-12)
    group = result.marginal_cov(("B", "3"))
    assert (data.loc[group.index, "Machine"] == "B").all()
    assert (data.loc[group.index, "Worker"] == "3").all()
    pd.testing.assert_frame_equal(group, result.marginal_cov("B:3"))


def test_functions_that_are_not_the_visits_are_left_out_and_said():
    data = series()
    result = mx.mixedlm(
        "y ~ x", data, residual="ar1(visit | subject)", variance="ident(arm)"
    ).fit()
    found = result.residual
    assert found.cov.iloc[0, 0] == pytest.approx(result.scale)
    assert "ident(arm)" in repr(found).splitlines()[-1]
    by_visit = mx.mixedlm(
        "y ~ x", data, residual="ar1(visit | subject)", variance="ident(visit)"
    ).fit()
    same = mx.mixedlm("y ~ x", data, residual="ar1h(visit | subject)").fit()
    np.testing.assert_allclose(by_visit.residual.cov, same.residual.cov, rtol=1e-6)


def test_gaps_between_visits_have_rows_of_their_own():
    data = series()
    data = data[data["visit"] != 3]
    found = mx.mixedlm("y ~ x", data, residual="ar1(visit | subject)").fit().residual
    assert found.cov.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.corr.loc[2, 4] == pytest.approx(found.params["rho"] ** 2)
    het = mx.mixedlm("y ~ x", data, residual="ar1h(visit | subject)").fit().residual
    assert het.cov.loc[3].isna().all()
    assert het.cov.drop(index=3, columns=3).notna().all(axis=None)


def test_prints_as_a_table_of_parameters():
    text = repr(fev_fit("ar1h(AVISIT | USUBJID)").residual)
    lines = text.splitlines()
    assert lines[0] == "Residual covariance: ar1h(AVISIT | USUBJID)"
    assert lines[1] == "197 groups by USUBJID, 1 to 4 rows each"
    assert lines[2].split() == ["SAS", "estimate", "std_err", "lower", "upper"]
    assert lines[-1].split()[:2] == ["rho", "ARH(1)"]


def test_distances_have_no_matrix_of_visits():
    found = fit_of("Orthodont: gls_exp").residual
    with pytest.raises(ValueError, match=r"goes by distances.*group\(label\)"):
        _ = found.cov
    assert found.group("M01").shape == (4, 4)
    alone = fit_of("Orthodont: lme_slope_varident_age").residual
    with pytest.raises(ValueError, match="the errors are independent"):
        _ = alone.corr


def test_errors_say_what_there_is():
    plain = mx.mixedlm("distance ~ age", data_of("Orthodont")).fit()
    with pytest.raises(ValueError, match="states no residual= and no"):
        _ = plain.residual
    with pytest.raises(ValueError, match="neither residual= nor random effects"):
        plain.marginal_cov("M01")
    result = fit_of("Orthodont: gls_ar1h")
    with pytest.raises(ValueError, match="'X' is none of the residual groups"):
        result.residual.group("X")
    with pytest.raises(ValueError, match="'X' is none of the residual groups"):
        result.marginal_cov("X")
    other = fit_of("Machines: lme_finer_compsymm")
    with pytest.raises(ValueError, match="group='Workers' is not a grouping factor"):
        other.marginal_cov("3", group="Workers")
    with pytest.raises(ValueError, match="is none of the levels of Worker"):
        other.marginal_cov("33", group="Worker")


# SAS PROC MIXED on FEV1 = intercept: covariance parameters as it prints them.
SAS_OF_INTERCEPT = {
    "ar1": {"AR(1)": 0.4272, "Residual": 88.9866},
    "ar1h": {
        "Var(1)": 92.3009,
        "Var(2)": 38.5178,
        "Var(3)": 35.2148,
        "Var(4)": 176.37,
        "ARH(1)": 0.4130,
    },
    "toeph": {
        "Var(1)": 90.4041,
        "Var(2)": 38.5927,
        "Var(3)": 36.1518,
        "Var(4)": 175.78,
        "TOEPH(1)": 0.4295,
        "TOEPH(2)": 0.0457,
        "TOEPH(3)": -0.3116,
    },
    "csh": {
        "Var(1)": 104.61,
        "Var(2)": 38.6137,
        "Var(3)": 31.3143,
        "Var(4)": 178.91,
        "CSH": 0.1582,
    },
    "adh": {
        "Var(1)": 114.89,
        "Var(2)": 44.6313,
        "Var(3)": 26.8922,
        "Var(4)": 158.47,
        "Rho(1)": 0.7106,
        "Rho(2)": 0.1033,
        "Rho(3)": 0.3657,
    },
}


@pytest.mark.parametrize("residual", SAS_OF_INTERCEPT)
def test_parameters_are_those_that_sas_prints(residual):
    own = fev_fit(f"{residual}(AVISIT | USUBJID)", formula="FEV1 ~ 1").residual
    found = dict(zip(own.sas_names, own.params, strict=True))
    printed = SAS_OF_INTERCEPT[residual]
    assert found.keys() == printed.keys()
    for name, value in printed.items():  # SAS stops a little early
        assert found[name] == pytest.approx(value, rel=3e-4, abs=2e-4), name


def test_compound_symmetry_is_what_sas_makes_it_of():
    own = fev_fit("cs(AVISIT | USUBJID)", formula="FEV1 ~ 1").residual
    assert own.sas_names.tolist() == ["CS + Residual", "CS / (CS + Residual)"]
    total, rho = own.params
    assert total * rho == pytest.approx(5.8943, rel=2e-3)
    assert total * (1 - rho) == pytest.approx(81.0025, rel=2e-4)


def test_parameters_by_level_are_those_that_sas_prints():
    own = fev_fit("ar1(AVISIT | USUBJID, by=ARMCD)", formula="FEV1 ~ 1").residual
    printed = {"Var(PBO)": 78.6615, "Var(TRT)": 100.79, "PBO: rho": 0.3693}
    printed["TRT: rho"] = 0.4831
    for name, value in printed.items():
        assert own.params[name] == pytest.approx(value, rel=3e-4, abs=3e-4), name


@pytest.mark.formula_engine
@pytest.mark.parametrize("label", [pd.NA, None, ["308"], np.array([1, 2])])
def test_labels_that_are_no_label(label):
    data = mx.datasets.sleepstudy.load().data
    result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    with pytest.raises(ValueError, match=r"label=.* is none of the levels"):
        result.marginal_cov(label)


def test_levels_that_are_tuples():
    """A tuple is the level that it is; a number, compared with it by element, is none."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": [(i % 5, "t") for i in range(30)], "y": rng.normal(size=30)})
    data["y"] += 2.0 * np.arange(30) % 5
    result = mx.mixedlm("y ~ 1 + (1 | g)", data).fit()
    rows = result.marginal_cov((2, "t"))
    np.testing.assert_array_equal(rows.index, np.flatnonzero(np.arange(30) % 5 == 2))
    with pytest.raises(ValueError, match=r"label=.* is none of the levels of g"):
        result.marginal_cov(np.int64(2))
