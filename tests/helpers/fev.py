"""The longitudinal trial of R's package mmrm, with the values of SAS and mmrm."""

from __future__ import annotations

import json
from functools import cache

import pandas as pd

import mixedext as mx
from helpers.paths import RESULTS

FORMULA = "FEV1 ~ RACE + SEX + ARMCD * AVISIT"


@cache
def values():
    """Values of SAS (``sas``) and mmrm (``mmrm``) by structure."""
    return json.loads((RESULTS / "residual" / "fev.json").read_text(encoding="utf-8"))


@cache
def _data():
    data = pd.read_csv(RESULTS / "residual" / "fev.csv")
    data["SEX"] = pd.Categorical(data["SEX"], categories=["Male", "Female"])
    return data


def data():
    """Rows with a response: four visits of 197 subjects, a third missing."""
    return _data().copy()


def fev_model(structure, formula=FORMULA, **options):
    """The model with a structure by its name, such as "us" or "toeph"."""
    return mx.mixedlm(formula, data(), residual=f"{structure}(AVISIT | USUBJID)", **options)
