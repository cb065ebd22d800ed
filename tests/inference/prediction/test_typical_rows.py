"""Rows at which one variable moves and the others stand still."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.inference.prediction.typical_rows import (
    data_frame,
    is_number,
    typical_frame,
    typical_text,
)

pytestmark = pytest.mark.formula_engine


def fitted():
    rng = np.random.default_rng(0)
    n = 120
    kind = pd.Categorical.from_codes(rng.integers(1, 3, n), ["none", "low", "high"])
    data = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "count": rng.integers(1, 9, n),
            "kind": kind,
            "flag": rng.integers(0, 2, n).astype(bool),
            "g": np.arange(n) % 12,
        }
    )
    data["y"] = data["x"] + rng.normal(size=12)[data["g"]] + rng.normal(size=n)
    formula = "y ~ x + C(count) + C(kind, levels=['low', 'high']) + flag + (1 | g)"
    return data, mx.mixedlm(formula, data).fit().fitted


def test_others_are_typical():
    data, record = fitted()
    frame, held = typical_frame(record, {"x": [0.0, 1.0]}, ["count"])
    assert frame["x"].tolist() == [0.0, 1.0]
    assert held["count"] == data["count"].min()
    assert held["kind"] == "low"  # "none" is in no row
    assert held["flag"] == False  # noqa: E712
    assert frame["flag"].dtype == bool
    assert len(frame) == 2
    _, held = typical_frame(record, {"x": [0.0]})
    assert held["count"] == pytest.approx(data["count"].mean())


def test_in_words():
    assert typical_text({"a": 1.23456, "b": "low", "c": np.float64(2)}) == (
        "a = 1.235, b = low, c = 2"
    )
    assert typical_text({}) == ""


def test_numbers():
    assert is_number(pd.Series([1, 2]))
    assert not is_number(pd.Series([True, False]))
    assert not is_number(pd.Series(["a"]))


def test_refused():
    _, record = fitted()
    with pytest.raises(ValueError, match=r"'cout' is not a column.*count"):
        data_frame(record, ["cout"])
