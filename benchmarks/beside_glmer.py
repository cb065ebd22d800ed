"""Measures generalized models beside R's glmer, in one run.

python benchmarks/beside_glmer.py               all models (minutes)
python benchmarks/beside_glmer.py --quick       those that glmer fits in seconds
python benchmarks/beside_glmer.py --without-r   mixedext alone

Seconds of CPU on one thread, the least of several calls: formula, fit and printed summary.
Both end at a deviance with all constants; less is better.
"""

from __future__ import annotations

import threads  # noqa: F401  before NumPy

# isort: split
import argparse
import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from beside_r import without_r

import mixedext as mx

HERE = Path(__file__).parent
# Calls that are timed, and the seconds after which no further one starts.
REPEAT, BUDGET = 15, 10.0


@dataclass(frozen=True)
class Model:
    """One model, its data and the ratio to be reached.

    Attributes
    ----------
    formula : str
        In Python's spelling.
    family : str
        Of both packages.
    make : callable
        The data.
    factors : tuple of str
        Columns of numbers that are factors.
    goal : float
        glmer's seconds over ours.
    weights : str
        Column of the trials, or "".
    slow : bool
        Whether glmer takes more than seconds.
    """

    formula: str
    family: str
    make: Callable[[], pd.DataFrame]
    factors: tuple[str, ...]
    goal: float
    weights: str = ""
    slow: bool = False


def clusters() -> pd.DataFrame:
    """Of the size and layout of a survey: 1,934 women of 60 districts, two slopes."""
    rng = np.random.default_rng(1)
    g, urban = rng.integers(0, 60, 1934), rng.integers(0, 2, 1934)
    age, children = rng.normal(0, 9, 1934), rng.integers(0, 4, 1934)
    eta = -1.0 + 0.7 * urban - 0.005 * age**2 / 3 + 0.3 * children
    eta += rng.normal(0, 0.6, 60)[g] + rng.normal(0, 0.6, 60)[g] * urban
    use = np.where(rng.random(1934) < 1 / (1 + np.exp(-eta)), "yes", "no")
    words = np.array(["none", "one", "two", "three"])[children]
    return pd.DataFrame(
        {"use": use, "age": age, "urban": urban, "children": words, "district": g}
    )


def many_rows() -> pd.DataFrame:
    """100,000 Bernoulli rows of 5,000 groups."""
    rng = np.random.default_rng(2)
    g = rng.integers(0, 5000, 100_000)
    data = pd.DataFrame(rng.normal(size=(100_000, 3)), columns=["a", "b", "c"])
    eta = -0.5 + data.to_numpy() @ [0.5, -0.3, 0.4] + rng.normal(size=5000)[g]
    success = rng.random(100_000) < 1 / (1 + np.exp(-eta))
    return data.assign(y=success.astype(int), g=g)


def _package_data(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: getattr(mx.datasets, name).load().data


MODELS = {
    "cbpp": Model(
        "incidence / size ~ period + (1 | herd)",
        "binomial",
        _package_data("cbpp"),
        ("period", "herd"),
        20,
        "size",
    ),
    "clusters": Model(
        "use ~ age + I(age**2) + urban + children + (1 | district)",
        "binomial",
        clusters,
        ("district",),
        60,
    ),
    "clusters, slope": Model(
        "use ~ age + I(age**2) + urban + children + (urban | district)",
        "binomial",
        clusters,
        ("district",),
        100,
    ),
    "grouseticks": Model(
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        "poisson",
        _package_data("grouseticks"),
        ("YEAR", "BROOD", "INDEX", "LOCATION"),
        40,
    ),
    "verbagg": Model(
        "r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
        "binomial",
        _package_data("verbagg"),
        ("id",),
        100,
        slow=True,
    ),
    "100,000 rows": Model(
        "y ~ a + b + c + (1 | g)", "binomial", many_rows, ("g",), 200, slow=True
    ),
}


def measure(model: Model, data: pd.DataFrame) -> dict[str, float]:
    """Least seconds of CPU, evaluations and deviance."""
    given = {"weights": model.weights} if model.weights else {}
    seconds: list[float] = []
    while len(seconds) < REPEAT and sum(seconds) < BUDGET:
        start = time.process_time()
        fit = mx.glmm(model.formula, data, family=model.family, **given).fit()
        str(fit.summary())
        seconds.append(time.process_time() - start)
    return {
        "seconds": min(seconds),
        "evaluations": len(fit.fit_log),
        "deviance": -2 * fit.llf,
    }


def beside(model: Model, data: pd.DataFrame) -> dict[str, float]:
    """The same of glmer."""
    formula = model.formula.replace("**", "^")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        data.to_csv(path, index=False)
        factors = ",".join(model.factors)
        given = [str(path), formula, model.family, model.weights, "5", factors]
        command = ["Rscript", str(HERE / "glmer.R"), *given]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="what glmer fits in seconds")
    parser.add_argument("--without-r", action="store_true", help="mixedext alone")
    parser.add_argument("--only", nargs="*", choices=MODELS, help="some of the models")
    given = parser.parse_args()
    with_r = not given.without_r and without_r("lme4") is None
    warnings.simplefilter("ignore")
    head = f"{'model':16} {'ms':>8} {'evals':>6}"
    print(
        head
        + f" {'glmer ms':>10} {'evals':>6} {'ratio':>7} {'goal':>5} ours - its deviance"
    )
    for name, model in MODELS.items():
        if (given.quick and model.slow) or (given.only and name not in given.only):
            continue
        data = model.make()
        own = measure(model, data)
        line = f"{name:16} {1e3 * own['seconds']:8.2f} {own['evaluations']:6d}"
        if with_r:
            its = beside(model, data)
            line += f" {1e3 * its['seconds']:10.1f} {its['evaluations']:6d}"
            line += f" {its['seconds'] / own['seconds']:7.1f} {model.goal:5.0f}"
            line += f" {own['deviance'] - its['deviance']:+.2e}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
