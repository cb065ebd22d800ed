"""Measures tests, profiles and bootstraps of variances beside R's packages, in one run.

python benchmarks/beside_variance_inference.py               a minute
python benchmarks/beside_variance_inference.py --quick       few simulations
python benchmarks/beside_variance_inference.py --without-r   mixedext alone
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
from workloads import effects, save

import mixedext as mx

# Simulations of a null law, replicates of a bootstrap here and in R, repeats.
FULL = (10_000, 20_000, 100, 5)
QUICK = (200, 200, 3, 1)


@dataclass(frozen=True)
class Task:
    """What is timed, and the ratio to R that is to be reached.

    Attributes
    ----------
    title : str
        For the table.
    model : str
        One of ``models``.
    run : callable
        Result, simulations and replicates to nothing.
    goal : str
        What is to be reached.
    a_replicate : bool
        Whether seconds count for one replicate.
    """

    title: str
    model: str
    run: Callable
    goal: str
    a_replicate: bool = False


def _rlrt(result, nsim, _):
    result.exact_rlrt(nsim=nsim, rng=1)


def _profile(result, *_):
    result.profile().conf_int()


def _bootstrap(result, _, replicates):
    _ = result.bootstrap_parametric(replicates, rng=1).table


TASKS = {
    "rlrt_balanced": Task("exact RLRT, 40 equal groups", "balanced", _rlrt, "15x"),
    "rlrt_unbalanced": Task("exact RLRT, 40 unequal groups", "unbalanced", _rlrt, "5x"),
    "profile_sleepstudy": Task("profile of sleepstudy", "sleepstudy", _profile, "30x"),
    "bootstrap_dyestuff": Task(
        "bootstrap of dyestuff", "dyestuff", _bootstrap, "500,000 a second", True
    ),
    "bootstrap_sleepstudy": Task(
        "bootstrap of sleepstudy", "sleepstudy", _bootstrap, "100,000 a second", True
    ),
}


def models():
    """Formula and data of each model."""
    rng = np.random.default_rng(5)
    made = {}
    for name in ("balanced", "unbalanced"):
        sizes = np.full(40, 10) if name == "balanced" else rng.integers(3, 18, 40)
        g = np.repeat(np.arange(40), sizes)
        data = pd.DataFrame(rng.normal(size=(len(g), 2)), columns=["y", "x"])
        data["y"] += data["x"] + effects(g, rng, 0.3)
        made[name] = ("y ~ x + (1 | g)", data.assign(g=g))
    made["dyestuff"] = ("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data)
    sleepstudy = mx.datasets.sleepstudy.load().data
    made["sleepstudy"] = ("Reaction ~ Days + (Days | Subject)", sleepstudy)
    return made


def measure(task, result, sizes):
    """Median seconds, of one replicate where the task says so."""
    times = []
    for _ in range(sizes[3] + 1):  # the first warms caches
        start = time.perf_counter()
        task.run(result, *sizes[:2])
        times.append(time.perf_counter() - start)
    seconds = float(np.median(times[1:]))
    return seconds / sizes[1] if task.a_replicate else seconds


def in_r(made, sizes):
    """Seconds of R, by task."""
    script = Path(__file__).with_name("variance_inference.R")
    with tempfile.TemporaryDirectory() as folder:
        for name, (_, data) in made.items():
            path = Path(folder) / name
            path.mkdir()
            save(data, path)
        command = ["Rscript", script, folder, str(sizes[0]), str(sizes[2]), str(sizes[3])]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {name: float(value) for name, value in map(str.split, out.splitlines())}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few simulations")
    parser.add_argument("--without-r", action="store_true", help="mixedext alone")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args(arguments)
    sizes, made = QUICK if options.quick else FULL, models()
    lacking = "not asked for" if options.without_r else without_r("lme4", "RLRsim")
    theirs = {} if lacking else in_r(made, sizes)
    figures = {}
    print(f"{'':<32}{'mixedext':>12}{'R':>12}{'ratio':>10}  goal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = {name: mx.mixedlm(*both).fit() for name, both in made.items()}
        for name, task in TASKS.items():
            ours = measure(task, fits[task.model], sizes)
            figures[name] = {"mixedext": ours, "r": theirs.get(name)}
            line = f"{task.title:<32}{_amount(ours, task):>12}"
            if theirs:
                line += f"{_amount(theirs[name], task):>12}{theirs[name] / ours:9.0f}x"
            print(f"{line}  {task.goal}", flush=True)
    if lacking:
        print(f"R: {lacking}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return figures


def _amount(seconds, task):
    return f"{1 / seconds:,.0f}/s" if task.a_replicate else f"{1000 * seconds:.1f} ms"


if __name__ == "__main__":
    main()
