"""What was meant by a formula that cannot be evaluated."""

from __future__ import annotations

import pandas as pd
import pytest

from mixedext.specification.formula.diagnosis import cure_of_factor, cure_of_formula

DATA = pd.DataFrame({"y": [1.0], "x": [2.0], "days-awake": [1.0], "a b": ["u"], "f": ["v"]})
UNKNOWN = "is neither a column of the data"


def cure(formula, unknown=(), reason=UNKNOWN, data=DATA):
    columns = list(map(str, data.columns))
    return cure_of_formula(formula, reason, list(unknown), columns, data)


@pytest.mark.parametrize(
    ("formula", "unknown", "expected"),
    [
        ("y ~ days - awake", ["awake", "days"], "write `days-awake` in backticks"),
        ("y ~ a b", ["a", "b"], "write `a b` in backticks"),
        ("y ~ `days-awake` + z", ["z"], ""),
        ("y ~ as.factor(x)", ["as"], "write C(x)"),
        ("y ~ as.factor(x + 1)", ["as"], "write C(x)"),
        ("y ~ as.factor(f)", ["as"], "write C(f)"),
        ("y ~ d$x", ["d"], "alone: x, not d$x"),
        ("y ~ 'x'", [], "without quotes: x"),
        ("y ~ f('x')", [], ""),
        ("y ~ xx", ["xx"], ""),
        ("y ~ Y", ["Y"], "Did you mean 'y'?"),
    ],
)
def test_cures(formula, unknown, expected):
    found = cure(formula, unknown)
    assert expected in found
    assert bool(found) == bool(expected)


def test_levels_of_the_index_are_listed():
    indexed = DATA.assign(entity=1, time=2).set_index(["entity", "time"])
    assert cure("y ~ zz", ["zz"], data=indexed) == "; levels of the index: entity, time"
    assert cure("y ~ tim", ["tim"], data=indexed).endswith("Did you mean 'time'?")
    found = cure_of_factor("entty", indexed.columns, indexed)
    assert found == "; levels of the index: entity, time. Did you mean 'entity'?"


def test_columns_without_names():
    numbered = pd.DataFrame([[1.0, 2.0]])
    assert "have no names" in cure("y ~ x", ["x", "y"], data=numbered)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        ("'f'", "(1 | f)"),
        ("1", "right of the bar"),
        ("f, x", "(1 | f) + (1 | x)"),
        ("a b", "`a b`"),
        ("factor(f)", "(1 | f)"),
        ("cut(x, 3)", ""),
        ("F", "'f'"),
    ],
)
def test_cures_of_factors(factor, expected):
    assert expected in cure_of_factor(factor, DATA.columns, DATA)
