"""Arguments of from_formula that are kept by name."""

from __future__ import annotations

import numpy as np
import pytest

import mixedext as mx
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
