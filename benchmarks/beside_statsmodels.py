"""Measures mixedext beside statsmodels' MixedLM: the same call, default fits, one thread.

python benchmarks/beside_statsmodels.py              all models (minutes)
python benchmarks/beside_statsmodels.py --quick      a tenth of the groups
python benchmarks/beside_statsmodels.py --only slopes intercepts
"""

from __future__ import annotations

import threads  # noqa: F401  before NumPy

# isort: split
import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from measure import seconds_of
from workloads import effects

# Seconds of calls that are timed for one tool and model; no call starts later.
BUDGET, REPEAT = 3.0, 15
# Share of the groups in quick runs.
QUICK = 0.1


@dataclass(frozen=True)
class Comparison:
    """One call that both packages understand.

    Attributes
    ----------
    title : str
        For the table.
    make : callable
        Scale to data and keyword arguments of ``from_formula``.
    goal : str
        What is to be reached: a ratio ("100x") or a time ("50 ms").
    fits : bool
        Whether the model is fitted, or only built.
    """

    title: str
    make: Callable[[float], tuple[pd.DataFrame, dict]]
    goal: str
    fits: bool = True


def one_factor(n_groups, size, slopes, seed):
    """Groups of one size, a covariate, intercepts and perhaps slopes."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n_groups), size)
    data = pd.DataFrame({"x": rng.normal(size=len(g)), "g": g})
    data["y"] = 1 + data["x"] + effects(g, rng) + rng.normal(size=len(g))
    if slopes:
        data["y"] += effects(g, rng, 0.5) * data["x"]
    return data


def slopes(scale):
    """2,000 groups of ten rows."""
    data = one_factor(round(2_000 * scale), 10, True, 1)
    return data, {"formula": "y ~ x", "groups": "g", "re_formula": "~x"}


def intercepts(scale):
    """20,000 groups of three rows."""
    data = one_factor(round(20_000 * scale), 3, False, 2)
    return data, {"formula": "y ~ x", "groups": "g"}


def crossed(scale):
    """Two factors of 100 levels, one group, components by formula."""
    rng = np.random.default_rng(3)
    levels = round(100 * scale**0.5)
    n = round(5_000 * scale)
    a, b = rng.integers(0, levels, n), rng.integers(0, levels, n)
    data = pd.DataFrame({"x": rng.normal(size=n), "a": a, "b": b, "one": 1})
    data["y"] = data["x"] + effects(a, rng) + effects(b, rng) + rng.normal(size=n)
    components = {"a": "0 + C(a)", "b": "0 + C(b)"}
    return data, {"formula": "y ~ x", "groups": "one", "vc_formula": components}


def component(scale):
    """1,000 groups of twelve rows, each with three levels of a component."""
    data = one_factor(round(1_000 * scale), 12, False, 4)
    data["v"] = np.arange(len(data)) % 12 // 4
    components = {"v": "0 + C(v)"}
    arguments = {"groups": "g", "re_formula": "1", "vc_formula": components}
    return data, {"formula": "y ~ x"} | arguments


COMPARISONS = {
    "slopes": Comparison("2,000 groups x 10 rows, correlated slopes", slopes, "100x"),
    "intercepts": Comparison("20,000 groups x 3 rows, intercepts", intercepts, "300x"),
    "component": Comparison(
        "1,000 groups with a variance component, built only", component, "50 ms", False
    ),
    "crossed": Comparison("crossed 100 x 100, 5,000 rows, by components", crossed, "200x"),
}


def measure(model_class, comparison, data, arguments, repeat):
    """Median seconds of construction (and fit), and the log-likelihood."""
    found = []

    def action():
        model = model_class.from_formula(data=data, **arguments)
        found[:] = [model.fit() if comparison.fits else model]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        action()
        first = time.perf_counter() - start
        times = seconds_of(action, repeat, BUDGET, first)
    figures = {"seconds": float(np.median(times)), "best": min(times), "calls": len(times)}
    if comparison.fits:
        figures["llf"] = float(found[0].llf)
    return figures


def compare(name, options):
    """Measure one model with both packages and print a line."""
    import statsmodels.api as sm

    import mixedext as mx

    comparison = COMPARISONS[name]
    data, arguments = comparison.make(QUICK if options.quick else 1.0)
    ours = measure(mx.MixedLM, comparison, data, arguments, REPEAT)
    theirs = measure(sm.MixedLM, comparison, data, arguments, 1)
    ratio = theirs["seconds"] / ours["seconds"]
    gain = f"{ours['llf'] - theirs['llf']:12.2e}" if comparison.fits else ""
    line = f"{comparison.title:<52}{_seconds(theirs):>10}{_seconds(ours):>10}"
    print(f"{line}{ratio:8.0f}x{comparison.goal:>8}{gain}", flush=True)
    return {"mixedext": ours, "statsmodels": theirs, "ratio": ratio}


def _seconds(figures):
    value = figures["seconds"]
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def main(arguments=None):
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=COMPARISONS, default=list(COMPARISONS), metavar="NAME")
    add("--quick", action="store_true", help="a tenth of the groups")
    add("--json", type=Path, help="file for all figures")
    options = parser.parse_args(arguments)
    versions = {name: version(name) for name in ("statsmodels", "numpy", "pandas")}
    report = {"python": platform.python_version(), "load": os.getloadavg()[0], **versions}
    heads = f"{'model':<52}{'statsmodels':>10}{'mixedext':>10}{'ratio':>9}{'goal':>8}"
    print(heads + f"{'llf gained':>12}")
    report["models"] = {name: compare(name, options) for name in options.only}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return report


if __name__ == "__main__":
    main()
