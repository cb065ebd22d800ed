"""Measures one tool on one workload in a fresh process and prints one line of JSON."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from measure import PeakMemory, seconds_of, summarize
from peers import TOOLS, Mixedext
from workloads import WORKLOADS, Term, Workload, load

MARK = "MEASURED "  # what follows is ours: some tools print


def tiny_workload(form):
    """A model to load whatever a tool loads late, before memory is read."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=60), "x": rng.normal(size=60)})
    data["g"] = np.arange(60) % 10
    data["y"] += data["g"]
    return Workload("", "y", ("x",), (Term("g"),), lambda scale: data, form), data


def measure(tool, workload, data, repeat, budget, with_ml=False):
    """Everything the table shows of one tool and workload, as a dict."""
    if workload.form == "formula" and isinstance(tool, Mixedext):
        return measure_formula(workload, data, repeat, budget)
    if workload.form == "refits":
        return measure_refits(workload, data, repeat, budget)
    if not tool.cannot(tiny_workload(workload.form)[0]):
        tool.prepare(*tiny_workload(workload.form))()
    fit = tool.prepare(workload, data)
    with PeakMemory() as memory:
        start = time.perf_counter()
        result = fit()
        first = time.perf_counter() - start
    criterion, evaluations = tool.read(result)
    del result
    figures = summarize(seconds_of(fit, repeat, budget, first))
    figures["megabytes"] = memory.megabytes
    figures |= {"criterion": criterion, "evaluations": evaluations}
    if isinstance(tool, Mixedext):
        model = tool.build(workload, data)()
        figures["fit_only"] = float(np.median(seconds_of(model.fit, repeat, budget / 4)))
        if with_ml:
            figures["criterion_ml"] = model.fit(reml=False).deviance
    return figures


def measure_formula(workload, data, repeat, budget):
    """From formula and data frame to response, matrices and codes; no fit."""
    from mixedext.specification.formula.model_frame import model_frame

    def step():
        return model_frame(workload.formula, data, {})

    step()
    with PeakMemory() as memory:
        step()
    return summarize(seconds_of(step, repeat, budget)) | {"megabytes": memory.megabytes}


def measure_refits(workload, data, repeat, budget, count=20_000):
    """Seconds of one refit to a simulated response, simulation included."""
    import mixedext as mx

    result = mx.mixedlm(workload.formula, data).fit()

    def refits():
        return result.simulate_refits(count, rng=1)

    refits()
    figures = summarize(np.array(seconds_of(refits, repeat, budget)) / count)
    return figures | {"criterion": result.deviance, "evaluations": len(result.fit_log)}


def main():
    name, workload, folder, repeat, budget, with_ml = sys.argv[1:]
    workload = WORKLOADS[workload]
    data = load(Path(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figures = measure(
            TOOLS[name], workload, data, int(repeat), float(budget), with_ml == "ml"
        )
    print(MARK + json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
