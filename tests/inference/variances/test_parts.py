"""Parts of the random effects by the names that they go by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.inference.variances.parts import find_part, variance_parts


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(1)
    data = pd.DataFrame(rng.normal(size=(90, 4)), columns=["y", "a", "b", "c"])
    data["g"], data["h"] = rng.integers(0, 9, 90), rng.integers(0, 5, 90)
    terms = [
        mx.RandomTerm(data["h"], data[["a", "b"]], "h", structure="identity"),
        mx.RandomTerm(data["g"], data[["c"]], "g"),
    ]
    return mx.MixedLM(data["y"], data[["a"]], terms=terms)


def test_every_name_finds_its_part(model):
    first, second = variance_parts(model)
    assert (first.n_variances, first.n_parameters, second.n_variances) == (1, 1, 1)
    for part, names in ((first, ["h", "a", "b"]), (second, ["g", "c"])):
        for name in (part.label, part.label.replace(" ", ""), *names):
            assert find_part(model, name).label == part.label


def test_names_of_none(model):
    for name in ("nobody", "Intercept", ""):
        with pytest.raises(ValueError, match=f"term='{name}' is not one part"):
            find_part(model, name)
    with pytest.raises(ValueError, match="term must say which"):
        find_part(model, None)
    with pytest.raises(TypeError, match="term must be a string"):
        find_part(model, 3)


@pytest.mark.parametrize(("name", "count"), [("ar1", 2), ("hetar1", 4), ("homtoep", 3)])
def test_a_structured_term_is_one_part_without_a_known_law(name, count):
    rng = np.random.default_rng(2)
    codes, visit = rng.integers(0, 9, 90), rng.integers(0, 3, 90)
    term = mx.RandomTerm(codes, np.eye(3)[visit], "g", structure=name)
    model = mx.MixedLM(rng.normal(size=90), np.ones((90, 1)), terms=[term])
    (part,) = variance_parts(model)
    assert part.n_parameters == count
    assert part.left == []
    assert not part.has_law
    assert not part.has_mixture
    assert "no exact law" in part.why_no_law()
