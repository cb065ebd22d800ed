"""Measures Kenward-Roger tests of every coefficient beside R's pbkrtest, in one run.

python benchmarks/beside_pbkrtest.py               all models (minutes, 4 GB)
python benchmarks/beside_pbkrtest.py --quick       small data
python benchmarks/beside_pbkrtest.py --without-r   mixedext alone
"""

from __future__ import annotations

import threads  # noqa: F401  before NumPy

# isort: split
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from beside_r import in_child, in_seconds, read_options, without_r
from measure import PeakMemory
from workloads import effects, insteval, load, save

# Fits and tests that are timed, and the seconds after which no further one starts.
REPEAT, BUDGET = 15, 10.0
# Size of the data in quick runs.
QUICK = 0.02


@dataclass(frozen=True)
class Comparison:
    """One model, its data and what is to be reached.

    Attributes
    ----------
    title : str
        For the table.
    formula : str
        The model, for both packages.
    factors : tuple of str
        Columns that are factors.
    make : callable
        Scale to DataFrame.
    goal : str
        What is to be reached.
    left_out : str or None
        Why pbkrtest is not run.
    """

    title: str
    formula: str
    factors: tuple[str, ...]
    make: Callable[[float], pd.DataFrame]
    goal: str
    left_out: str | None = None


def slopes(scale):
    """Rows spread over groups at random, slopes of one of two covariates."""
    rng = np.random.default_rng(1)
    n, levels = round(69_258 * scale), max(round(2_972 * scale), 20)
    g = np.append(np.arange(levels), rng.integers(0, levels, n - levels))
    data = pd.DataFrame(rng.normal(size=(n, 3)), columns=["y", "x", "z"])
    data["y"] += 1 + data["x"] + effects(g, rng) + effects(g, rng, 0.5) * data["x"]
    return data.assign(g=g)


def crossed_slopes(scale):
    """Slopes by two crossed factors of 20 and 150 levels."""
    rng = np.random.default_rng(2)
    few, many = max(round(20 * scale), 6), max(round(150 * scale), 20)
    n = max(round(3_000 * scale), 200)
    a, b = rng.integers(0, few, n), rng.integers(0, many, n)
    data = pd.DataFrame(rng.normal(size=(n, 2)), columns=["y", "x"])
    for codes in (a, b):
        data["y"] += effects(codes, rng) + effects(codes, rng, 0.5) * data["x"]
    return data.assign(a=a, b=b)


COMPARISONS = {
    "slopes": Comparison(
        "69,258 rows, slopes by 2,972 groups",
        "y ~ x + z + (x | g)",
        ("g",),
        slopes,
        "no longer than the fit",
    ),
    "crossed": Comparison(
        "3,000 rows, slopes by 20 x 150 crossed levels",
        "y ~ x + (x | a) + (x | b)",
        ("a", "b"),
        crossed_slopes,
        "100x, under 200 MB",
    ),
    "insteval": Comparison(
        "InstEval, service * dept, two crossed factors",
        "y ~ service * dept + (1 | s) + (1 | d)",
        ("s", "d", "service", "dept"),
        insteval,
        "0.5 s",
        "not run: 43 GB a matrix",
    ),
}


def measure(comparison, data):
    """Median seconds of fit and tests, peak memory of the tests, and the tests."""
    import mixedext as mx

    warnings.simplefilter("ignore")
    tiny = pd.DataFrame(
        {"y": [1.0, 3, 2, 5, 4, 7, 2, 8], "x": range(8), "g": [0, 1, 2, 3] * 2}
    )
    mx.mixedlm("y ~ x + (1 | g)", tiny).fit().fixed_effects_inference("kenward-roger")
    built, fits, tests, started = [], [], [], time.perf_counter()
    while not fits or (len(fits) < REPEAT and time.perf_counter() - started < BUDGET):
        marks = [time.perf_counter()]
        model = mx.mixedlm(comparison.formula, data)
        marks.append(time.perf_counter())
        result = model.fit()
        marks.append(time.perf_counter())
        found = result.fixed_effects_inference("kenward-roger")
        marks.append(time.perf_counter())
        for times, seconds in zip((built, fits, tests), np.diff(marks), strict=True):
            times.append(seconds)
    del found
    result = model.fit()
    with PeakMemory() as memory:
        found = result.fixed_effects_inference("kenward-roger")
    return {
        "build": float(np.median(built)),
        "fit": float(np.median(fits)),
        "tests": float(np.median(tests)),
        "calls": len(fits),
        "megabytes": memory.megabytes,
        "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "se": found.se.tolist(),
        "df": found.df.tolist(),
    }


def in_r(comparison, folder):
    """Figures of pbkrtest."""
    script = Path(__file__).with_name("pbkrtest.R")
    arguments = [folder, comparison.formula, ",".join(comparison.factors)]
    command = ["Rscript", script, *arguments]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = (line.split() for line in out.splitlines())
    figures = {name: [float(value) for value in values] for name, *values in lines}
    return {k: v if k in ("se", "df") else v[0] for k, v in figures.items()}


def compare(name, options, lacking):
    """Measure one model with both packages and print a line."""
    comparison = COMPARISONS[name]
    with tempfile.TemporaryDirectory() as folder:
        save(comparison.make(QUICK if options.quick else 1.0), Path(folder))
        ours = in_child(__file__, name, folder)
        note = lacking or comparison.left_out
        theirs = {"note": note} if note else in_r(comparison, folder)
    line = f"{comparison.title:<46}{in_seconds(ours['fit']):>9}"
    line += f"{in_seconds(ours['tests']):>9}{ours['megabytes']:7.1f}"
    if note:
        print(f"{line}  {comparison.goal}; pbkrtest {note}", flush=True)
        return {"mixedext": ours, "pbkrtest": theirs}
    ratio = theirs["tests"] / ours["tests"]
    differences = {
        key: float(np.max(np.abs(np.divide(ours[key], theirs[key]) - 1)))
        for key in ("se", "df")
    }
    line += f"{in_seconds(theirs['fit']):>9}{in_seconds(theirs['tests']):>9}"
    line += f"{theirs['megabytes']:8.0f}{ratio:9.0f}x{differences['df']:10.1e}"
    print(f"{line}  {comparison.goal}", flush=True)
    return {
        "mixedext": ours,
        "pbkrtest": theirs,
        "ratio": ratio,
        "differences": differences,
    }


def main(arguments=None):
    """Measure what the command line asks for."""
    options = read_options(__doc__, COMPARISONS, arguments)
    if options.child:
        name, folder = options.child
        print(json.dumps(measure(COMPARISONS[name], load(Path(folder)))))
        return None
    lacking = "left out" if options.without_r else without_r("pbkrtest")
    versions = {name: version(name) for name in ("numpy", "scipy", "pandas")}
    report = {"python": platform.python_version(), "load": os.getloadavg()[0], **versions}
    heads = f"{'model':<46}{'fit':>9}{'KR':>9}{'MB':>7}"
    print(
        heads + f"{'lme4':>9}{'pbkrtest':>9}{'MB':>8}{'ratio':>10}{'df differ':>10}  goal"
    )
    report["models"] = {name: compare(name, options, lacking) for name in options.only}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return report


if __name__ == "__main__":
    main()
