"""Reading the reference values of small-sample tests (tests/results/small_sample.json)."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pandas as pd

import mixedext as mx
from helpers.paths import RESULTS
from mixedext.engine.fit import evaluate_design

FOLDER = RESULTS
VALUES = json.loads((FOLDER / "small_sample.json").read_text())
CASES = sorted(set(VALUES) - {"nlme"})


def read_data(case) -> pd.DataFrame:
    """The data of a case: factors, a covariate x, and the rows that it keeps."""
    data = pd.read_csv(FOLDER / "data" / f"{case['data']}.csv")
    for name in np.atleast_1d(case["factors"]):
        levels = [str(level) for level in np.sort(data[name].unique())]
        data[name] = pd.Categorical(data[name].astype(str), categories=levels)
    row = np.arange(1, len(data) + 1)
    data["x"] = (row * 37) % 11 / 11
    if "by" in case:
        data = data[~np.isin(row * case["by"] % case["modulus"], case["left_out"])]
    return data


def build_model(case):
    """The model of a case."""
    formula = case["formula"].replace("^", "**")
    if formula.startswith("yield"):
        formula = f'Q("yield"){formula[5:]}'
    return mx.mixedlm(formula, read_data(case))


def lme4_theta(design, theta) -> np.ndarray:
    """lme4's theta in the order of the design's terms: there more levels come first."""
    terms = design.terms
    order = sorted(range(len(terms)), key=lambda i: -terms[i].n_levels)
    parts, start = {}, 0
    for i in order:
        stop = start + terms[i].structure.n_theta
        parts[i], start = theta[start:stop], stop
    return np.concatenate([parts[i] for i in range(len(terms))])


@cache
def fit_case(name: str, method: str):
    """The case by "reml" or "ml" at lme4's theta, R's values, and R's coefficients.

    At lme4's theta, for its optima are only good to about 1e-7.
    """
    case = VALUES[name]
    values = case[method]
    design = build_model(case).fit().fitted.fit.design
    fit = evaluate_design(design, method == "reml", lme4_theta(design, values["theta"]))
    order = [int(np.abs(fit.coefficients - b).argmin()) for b in values["beta"]]
    assert sorted(order) == list(range(len(order)))
    return fit, values, np.eye(len(order))[order]


def reference_fit(case, formula=None):
    """Fit of a reference case, or of another formula on its data; names of columns kept."""
    formula = case.formula if formula is None else formula.replace("^", "**")
    if formula.startswith("yield"):
        formula = f'Q("yield"){formula[5:]}'
    result = mx.mixedlm(formula, case.data, **case.options).fit(reml=case.values["REML"])
    names = list(result.model.exog_names)
    return result.fitted.fit, [names[i] for i in result.fitted.fit.design.basis.kept]


def restriction(case, values):
    """The larger model's fit, and rows on what is not in the smaller one."""
    fit, names = reference_fit(case, values["large"])
    small = reference_fit(case, values["small"])[1]
    return fit, np.eye(len(names))[[i for i, n in enumerate(names) if n not in small]]
