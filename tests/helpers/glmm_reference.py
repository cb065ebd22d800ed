"""Reading the reference cases of generalized models: R's names in Python's spelling."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

import mixedext as mx
from helpers.paths import RESULTS

__all__ = ["Case", "case", "cases", "fit_of", "own_columns", "own_order", "sections"]

FOLDER = RESULTS / "glmm"
_FAMILIES = {
    "betabinomial(logit)": "beta binomial",
    "NB2(log)": "negative binomial",
    "negative binomial 2 (log)": "negative binomial",
    "poisson(log), weights multiply the log-likelihood": "poisson",
}
_OF_SECTION = {
    "nb2": "negative binomial",
    "nb1": "nb1",
    "poisson": "poisson",
    "log": "gamma(log)",
    "inverse": "gamma(inverse)",
}


@dataclass(frozen=True)
class Case:
    """One model: what R found, and the data with R's factors."""

    values: dict
    data: pd.DataFrame

    @property
    def formula(self) -> str:
        """In Python's spelling."""
        text = self.values["formula"].replace("I(week > 2)", "I((week > 2) * 1)")
        return text.replace("log(Area)", "np.log(Area)")

    def model(self, section: str) -> mx.MixedGLM:
        """The model of a section."""
        family = self.values["family"]
        family = _OF_SECTION.get(section, _FAMILIES.get(family, family))
        formula = self.formula
        if section == "inverse":
            formula = "y ~ 1 + (1 | g)"
        if section == "slope":
            formula = formula.replace("(1 | g)", "(x | g)")
        return mx.glmm(formula, self.data, family=family, weights=self.values["weights"])


@cache
def case(name: str) -> Case:
    """The case of that name."""
    values = json.loads((FOLDER / "models" / f"{name}.json").read_text())
    data = pd.read_csv(FOLDER / values["data"])
    for factor, info in values["factors"].items():
        text = data[factor].astype(str)
        levels = None if info["truncated"] else [str(v) for v in info["levels"]]
        data[factor] = pd.Categorical(text, categories=levels)
    return Case(values, data)


@cache
def fit_of(name: str, section: str):
    """The model of a section and its fit."""
    model = case(name).model(section)
    n_agq = re.fullmatch(r"(?:nAGQ|GLMMadaptive)(\d+)", section)
    laplace = "expected" if section.startswith("nAGQ") else "observed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model, model.fit(
            n_agq=int(n_agq[1]) if n_agq else 1,
            laplace=laplace,
        )


def cases() -> list[str]:
    """Names of all cases."""
    return sorted(p.stem for p in (FOLDER / "models").glob("*.json"))


@cache
def sections(program: str) -> list[tuple[str, str]]:
    """Pairs (case, section) of a program: exact, tmb, adaptive or own."""
    out = []
    for name in cases():
        for section in case(name).values["fits"]:
            kind = "tmb"
            if section.startswith("nAGQ"):
                kind = "exact"
            elif section.startswith("GLMMadaptive"):
                kind = "adaptive"
            elif section == "own":
                kind = "own"
            if kind == program:
                out.append((name, section))
    return out


def own_order(model, names: list[str]) -> np.ndarray:
    """Positions of our (theta, beta) in R's, whose terms and columns are in its order."""
    own = list(model.exog_names)
    n_theta = len(names) - len(own)
    groups = [n.split(".")[0] for n in names[:n_theta]]
    theta = [i for t in model.random_terms for i, g in enumerate(groups) if g == t.group]
    return np.array([*theta, *(n_theta + own_columns(model, names[n_theta:]))], int)


def own_columns(model, names: list[str]) -> np.ndarray:
    """Positions of our columns of X in R's."""
    levels = {
        f"{c}{level}": f"{c}[T.{level}]"
        for c, dtype in model.data.frame.dtypes.items()
        if isinstance(dtype, pd.CategoricalDtype)
        for level in dtype.categories
    }
    special = {"(Intercept)": "Intercept", "I(week > 2)TRUE": "I((week > 2) * 1)"}
    python = [
        ":".join(levels.get(part, special.get(part, part)) for part in name.split(":"))
        for name in names
    ]
    # products of columns are named in either order
    keys = [frozenset(name.split(":")) for name in python]
    return np.array([keys.index(frozenset(n.split(":"))) for n in model.exog_names])
