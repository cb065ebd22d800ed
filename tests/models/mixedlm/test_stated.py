"""Arguments of from_formula that are kept by name."""

from __future__ import annotations

import numpy as np
import pytest

import mixedext as mx
from mixedext.inference.submodels.smaller_models import smaller_model
from mixedext.models.mixedlm.stated import Stated

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings("ignore::mixedext.UnidentifiedVarianceWarning"),
]


def test_names_are_kept_and_values_are_told():
    data = mx.datasets.sleepstudy.load().data.assign(w=1.0)
    vc = {"d": "0 + C(Days)"}
    model = mx.mixedlm(
        "Reaction ~ Days", data, re_formula="1", vc_formula=vc, groups=["Subject"],
        weights=np.ones(180), offset="w", missing="drop",
    )  # fmt: skip
    assert model.stated == Stated("Subject", None, "w", "1", vc, "drop", ("weights",))
    array = mx.MixedLM([1.0, 2.0, 4.0], [[1.0]] * 3)
    assert array.stated == Stated()


def test_smaller_models_are_stated_as_the_model():
    data = mx.datasets.sleepstudy.load().data.assign(w=1.0 + np.arange(180) % 2)
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data, weights="w")
    smaller = smaller_model(model, random=[])
    assert smaller.stated == model.stated
    alone = smaller.fit().update(". ~ . - Days").model
    np.testing.assert_array_equal(alone.weights, data["w"])
    grouped = mx.mixedlm("Reaction ~ Days", data, groups="Subject", weights="w")
    assert smaller_model(grouped, random=[]).stated == Stated(weights="w")


def test_smaller_models_keep_the_residual_structure():
    data = mx.datasets.fev.load().data
    given = {"residual": "ar1(AVISIT | USUBJID)", "variance": "ident(SEX)"}
    formula = "FEV1 ~ ARMCD + (1 | RACE)"
    model = mx.mixedlm(formula, data, missing="drop", **given)
    smaller = smaller_model(model, random=[])
    assert str(smaller.residual) == str(model.residual)
    assert (smaller.stated.residual, smaller.stated.variance) == tuple(given.values())
    structure = mx.AR1(data["AVISIT"], "USUBJID")
    values = mx.mixedlm(formula, data, missing="drop", residual=structure)
    assert "residual" in values.stated.by_values
    assert smaller_model(values, random=[]).residual.n_obs == 537
