"""Fits with a residual covariance beside nlme's figures, and dense statements of them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mixedext as mx

RESULTS = Path(__file__).parents[1] / "results"
_ORTHODONT = "distance ~ Sex * I(age - 11)"
#: Formula, residual and variance of every model of nlme_rows.json.
MODELS: dict[str, tuple[str, str | None, str | None]] = {
    "Orthodont: gls_ar1h": (_ORTHODONT, "ar1h(age | Subject)", None),
    "Orthodont: gls_arma11": (_ORTHODONT, "arma(age | Subject, p=1, q=1)", None),
    "Orthodont: gls_ar2": (_ORTHODONT, "arma(age | Subject, p=2)", None),
    "Orthodont: gls_csh": (_ORTHODONT, "csh(age | Subject)", None),
    "Orthodont: gls_exp": (_ORTHODONT, "sp_exp(age | Subject)", None),
    "Orthodont: gls_gaus_nugget": (
        _ORTHODONT,
        "sp_gau(age | Subject, nugget=True)",
        None,
    ),
    "Orthodont: lme_int_ar1_varident": (
        f"{_ORTHODONT} + (1 | Subject)",
        "ar1(age | Subject)",
        "ident(Sex)",
    ),
    "Orthodont: lme_slope_varident_age": (
        f"{_ORTHODONT} + (I(age - 11) | Subject)",
        None,
        "ident(age)",
    ),
    "Machines: lme_nested_varident": (
        "score ~ Machine + (1 | Worker / Machine)",
        None,
        "ident(Machine)",
    ),
    "Machines: lme_finer_compsymm": (
        "score ~ Machine + (1 | Worker)",
        "cs(1 | Worker / Machine)",
        None,
    ),
    "Oats: lme_finer_ar1": (
        "Q('yield') ~ nitro + Variety + (1 | Block)",
        "ar1(nitroF | Block / Variety)",
        None,
    ),
}


@cache
def reference() -> dict[str, Any]:
    """nlme's figures by model; the ML fit's key ends in _ml."""
    return json.loads((RESULTS / "residual" / "nlme_rows.json").read_text())


@cache
def data_of(name: str) -> pd.DataFrame:
    """Data of the name, factors in nlme's order."""
    data = pd.read_csv(RESULTS / "data" / f"{name}.csv")
    if name == "Orthodont":
        data["Sex"] = pd.Categorical(data["Sex"], categories=["Male", "Female"])
    if name == "Machines":
        data["Worker"] = data["Worker"].astype(str)
    if name == "fev":
        for column in ("USUBJID", "AVISIT", "ARMCD", "RACE", "SEX"):
            data[column] = data[column].astype("category")
    return data


@cache
def fit_of(name: str, reml: bool = True) -> Any:
    """The fit of a model of ``MODELS``."""
    formula, residual, variance = MODELS[name]
    data = data_of(name.partition(":")[0])
    model = mx.mixedlm(formula, data, residual=residual, variance=variance)
    return model.fit(reml=reml)


@cache
def fev_fit(residual: str, reml: bool = True, formula: str = "", weights: bool = False):
    """A fit to the FEV1 trial, mmrm's model unless a formula is given."""
    formula = formula or "FEV1 ~ RACE + SEX + ARMCD * AVISIT"
    data = data_of("fev")
    own = np.linspace(0.5, 2.0, len(data)) if weights else None
    return mx.mixedlm(formula, data, residual=residual, weights=own).fit(reml=reml)


def series(seed: int = 3, groups: int = 40, visits: int = 6) -> pd.DataFrame:
    """Series with a random intercept and slope beside a first-order autoregression.

    Some visits are missing; rows are in no order.
    """
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "subject": np.repeat(np.arange(groups), visits),
            "visit": np.tile(np.arange(visits), groups),
        }
    )
    n = len(frame)
    lag = np.abs(np.subtract.outer(np.arange(visits), np.arange(visits)))
    root = np.linalg.cholesky(0.6**lag)
    frame["x"], frame["weight"] = rng.normal(size=n), rng.uniform(0.5, 2, n)
    frame["t"] = frame["visit"] - (visits - 1) / 2
    frame["arm"] = np.where(frame["subject"] % 2, "a", "b")
    errors = 2 * (rng.normal(size=(groups, visits)) @ root.T).ravel()
    level, slope = rng.normal(size=groups) * 3, rng.normal(size=groups) * 0.8
    effects = level[frame["subject"]] + slope[frame["subject"]] * frame["t"]
    frame["y"] = 1 + 2 * frame["x"] + effects + errors / np.sqrt(frame["weight"])
    return frame.sample(frac=0.85, random_state=1)


def dense_residual(results: Any) -> np.ndarray:
    """R of all rows from the parameters printed, by the definition, (n, n).

    Of ar1, cs and us over visits, with ``ident`` and weights.
    """
    bound = results.fitted.fit.residual.bound
    n, scale = bound.n_obs, results.scale
    values = results.params[-bound.n_parameters :]
    kind, visit = bound.spec.call, bound.visit_codes
    same = bound.group_codes[:, None] == bound.group_codes
    sd = np.ones(n)
    for name, value in values.items():
        if str(name).startswith("sd("):
            label = str(name)[3:].removesuffix(") ratio")
            stratum = bound.strata_labels[0].index(label)
            sd = np.where(bound.row_strata[0] == stratum, value, sd)
    if kind == "ar1":
        lag = np.abs(visit[:, None] - visit)
        matrix = float(values["AR1 rho"]) ** lag
    elif kind == "cs":
        matrix = np.where(np.eye(n, dtype=bool), 1.0, float(values["CS rho"]))
    else:
        m = len(bound.visit_labels)
        whole = np.eye(m)
        for i in range(m):
            for j in range(i + 1):
                if i:
                    whole[i, j] = whole[j, i] = values[f"UN({i + 1},{j + 1})"]
        matrix = whole[visit][:, visit]
    weights = results.model.weights
    root = np.ones(n) if weights is None else 1 / np.sqrt(weights)
    return scale * same * matrix * np.outer(sd * root, sd * root)
