"""Columns of residual structures in models: found, missing, dropped, carried on."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import FormulaError, MissingDataError
from mixedext.models.mixedlm.refitting import with_response

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def whole():
    return mx.datasets.fev.load().data


@pytest.fixture
def data(whole):
    return whole.dropna(subset=["FEV1"]).reset_index(drop=True)


def model(data, **given):
    return mx.mixedlm("FEV1 ~ ARMCD", data, **given)


def test_models_have_their_structure(whole):
    made = model(whole, residual="us(AVISIT | USUBJID)", missing="drop")
    assert str(made.residual) == "us(AVISIT | USUBJID)"
    assert made.residual.n_obs == made.nobs == 537
    assert str(made.residual_spec) == "us(AVISIT | USUBJID)"
    rows = made.data.frame
    groups = np.array(made.residual.group_labels)[made.residual.group_codes]
    assert groups.tolist() == rows["USUBJID"].tolist()


def test_models_without_it_have_none(data):
    made = model(data)
    assert made.residual is None
    assert made.residual_spec is None
    for residual in ("independent", mx.Independent()):
        assert model(data, residual=residual).residual is None


def test_rows_without_a_label_are_left_out(data):
    data.loc[3, "AVISIT"] = np.nan
    data.loc[5, "USUBJID"] = np.nan
    data.loc[8, "WEIGHT"] = np.nan
    data.loc[9, "SEX"] = np.nan
    given = {"residual": "us(AVISIT | USUBJID)", "variance": "ident(SEX) * exp(WEIGHT)"}
    text = r"AVISIT \(1\), USUBJID \(1\), SEX \(1\), WEIGHT \(1\)"
    with pytest.raises(MissingDataError, match=text):
        model(data, **given)
    made = model(data, missing="drop", **given)
    assert made.residual.n_obs == made.nobs == 533
    kept = data.drop(index=[3, 5, 8, 9])
    assert made.residual.row_covariates[1].tolist() == kept["WEIGHT"].tolist()
    labels = np.array(made.residual.visit_labels)[made.residual.visit_codes]
    assert labels.tolist() == kept["AVISIT"].tolist()


def test_rows_that_the_formula_leaves_out(data):
    data.loc[7, "FEV1_BL"] = -1.0
    with np.errstate(invalid="ignore"):
        made = mx.mixedlm(
            "FEV1 ~ np.sqrt(FEV1_BL)",
            data,
            residual="ar1(AVISIT | USUBJID)",
            missing="drop",
            eval_env={"np": np},
        )
    kept = data.drop(index=7)
    groups = np.array(made.residual.group_labels)[made.residual.group_codes]
    assert groups.tolist() == kept["USUBJID"].tolist()


def test_subset(data):
    rows = data["ARMCD"] == "TRT"
    made = mx.mixedlm("FEV1 ~ 1", data, subset=rows, residual="cs(1 | USUBJID)")
    assert made.residual.n_groups == data.loc[rows, "USUBJID"].nunique()


def test_levels_of_the_index_are_columns(data):
    indexed = data.set_index(["USUBJID", "AVISIT"])
    made = model(indexed, residual="us(AVISIT | USUBJID)")
    want = model(data, residual="us(AVISIT | USUBJID)")
    for one, other in zip(made.residual.batches, want.residual.batches, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)


UNKNOWN = {
    "us(VISIT | USUBJID)": "residual=us(VISIT | USUBJID): 'VISIT' is not a column of the "
    "data; there are: USUBJID, AVISIT, ARMCD, RACE, SEX, FEV1_BL, FEV1, WEIGHT, VISITN, "
    "VISITN2. Did you mean 'VISITN'?",
    "us(AVISIT | subject)": "residual=us(AVISIT | subject): 'subject' is not a column",
    "us(AVISIT | USUBJID, by=arm)": "residual=us(AVISIT | USUBJID, by=arm): 'arm' is not a",
    "sp_exp(VISITN, y | USUBJID)": "'y' is not a column of the data",
}


@pytest.mark.parametrize("residual", UNKNOWN)
def test_unknown_columns(residual, data):
    with pytest.raises(FormulaError) as caught:
        model(data, residual=residual)
    assert UNKNOWN[residual] in str(caught.value)


def test_unknown_columns_of_functions(data):
    with pytest.raises(FormulaError, match=r"variance=power\(age\): 'age' is not a column"):
        model(data, variance="ident(SEX) * power(age)")


def test_values_beside_a_formula(data):
    structure = mx.Unstructured(data["AVISIT"].to_numpy(), group=data["USUBJID"])
    made = model(data, residual=structure)
    assert str(made.residual) == "us(visit | USUBJID)"
    short = mx.CS(1, data["USUBJID"].iloc[:10])
    with pytest.raises(ValueError, match=r"residual has shape \(10,\); expected one value"):
        model(data, residual=short)
    holes = data["AVISIT"].astype(object).where(data.index != 4)
    made = model(data, residual=mx.Unstructured(holes, "USUBJID"), missing="drop")
    assert made.residual.n_obs == 536


def test_arrays(data):
    y, x = data["FEV1"].to_numpy(), np.ones((len(data), 1))
    visit, subject = data["AVISIT"].to_numpy(), data["USUBJID"].to_numpy()
    made = mx.MixedLM(y, x, residual=mx.Unstructured(visit, group=subject))
    assert made.residual.n_groups == 197
    assert made.residual.start is None
    absent = subject.astype(object)
    absent[[2, 5]] = None
    structure = mx.Unstructured(visit, group=absent)
    with pytest.raises(MissingDataError, match=r"missing values in group \(2\)"):
        mx.MixedLM(y, x, residual=structure)
    made = mx.MixedLM(y, x, residual=structure, missing="drop")
    assert made.residual.n_obs == made.nobs == 535
    with pytest.raises(ValueError, match="visit has 3 rows, endog has 537"):
        mx.MixedLM(y, x, residual=mx.Unstructured(visit[:3], group=subject))
    with pytest.raises(ValueError, match=r"residual holds values of shape \(537, 1\)"):
        mx.MixedLM(y, x, residual=mx.Unstructured(visit[:, None], group=subject))


def test_names_beside_arrays(data):
    y, x = data["FEV1"].to_numpy(), np.ones((len(data), 1))
    text = "residual= names the column 'AVISIT', and arrays have no names: give its values"
    with pytest.raises(FormulaError, match=text):
        mx.MixedLM(y, x, residual="us(AVISIT | USUBJID)")


def test_statsmodels_constructor_arguments(data):
    made = model(data, residual="us(AVISIT | USUBJID)", variance="ident(SEX)")
    again = mx.MixedLM(made.endog, made.exog, **made._get_init_kwds())
    assert str(again.residual) == str(made.residual)
    assert "residual" not in model(data)._get_init_kwds()


def test_another_response_keeps_it(data):
    made = model(data, residual="us(AVISIT | USUBJID)")
    assert with_response(made, data["FEV1"] + 1).residual is made.residual


def test_pickles(data):
    made = model(data, residual="us(AVISIT | USUBJID)", variance="exp(WEIGHT)")
    again = pickle.loads(pickle.dumps(made))
    assert str(again.residual) == str(made.residual)
    assert again.residual.names == made.residual.names
    assert str(again.residual_spec) == str(made.residual_spec)


def test_columns_of_one_name_are_fetched_once(data):
    made = model(data, residual=["us(AVISIT | USUBJID)", "ar1(AVISIT | USUBJID)"])
    names = [name for name, _ in made.residual_spec.named()]
    assert names == ["AVISIT", "USUBJID"]
    half = made.residual_spec.take(np.arange(537) < 100)
    assert {len(values) for values in half.columns.values()} == {100}
    assert not half.holds_values()


def test_frames_of_other_libraries(data):
    polars = pytest.importorskip("polars")
    made = model(polars.from_pandas(data), residual="us(AVISIT | USUBJID)")
    assert made.residual.n_groups == 197
    frame = pd.DataFrame({"y": data["FEV1"]})
    structure = mx.Unstructured(
        polars.Series("v", data["AVISIT"].astype(str)),
        polars.Series(data["USUBJID"].astype(str)),
    )
    assert mx.mixedlm("y ~ 1", frame, residual=structure).residual.n_groups == 197
