"""Cases and data that the tests of model comparison share."""

from __future__ import annotations

import pandas as pd
import pytest

import mixedext as mx
from helpers.paths import RESULTS
from helpers.reference import case_names, load_case

FOLDER = RESULTS / "comparison"


def cases_with(field):
    found = []
    for name in case_names():
        value = load_case(name).values.get(field)
        if value and "error" not in value and not name.startswith("insteval"):
            found.append(name)
    return found


def parts_of(field):
    return [
        pytest.param(name, part, id=f"{name}-{part}")
        for name in cases_with(field)
        for part, value in load_case(name).values[field].items()
        if isinstance(value, dict) and "error" not in value
    ]


def model_of(case, formula=None):
    formula = case.formula if formula is None else formula.replace("^", "**")
    return mx.mixedlm(formula, case.data, missing="drop", **case.options)


def case_fit(name):
    case = load_case(name)
    return model_of(case).fit(reml=case.values["REML"])


def crossed():
    data = pd.read_csv(FOLDER / "crossed.csv")
    return data.astype(dict.fromkeys("abcg", str))


def sleepstudy():
    return mx.datasets.sleepstudy.load().data
