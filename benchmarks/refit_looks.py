"""What the look for other minima costs in refits: time with it over time without.

    python benchmarks/refit_looks.py [--count 400] [--models nested penicillin ...]

Of each model so many responses, simulated from its fit, are fitted in one batch by maximum
and by restricted likelihood, with the look and with none; the time is the least of several
runs of the processor, in turn.  The table also shows evaluations a refit of both, and in
how many refits the look ended lower.
"""

from __future__ import annotations

import threads  # noqa: F401  before NumPy

# isort: split

import argparse
import time
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

import mixedext as mx
from mixedext.engine.refits.batches import fit_responses
from mixedext.engine.search.rivals import Axes, OtherStarts
from mixedext.inference.bootstrap.simulated_refits import responses_of

RUNS = 5
# A refit with the look is lower if its log-likelihood is higher by so much.
LOWER = 1e-6


def nested():
    """Schools and classes, 300 rows."""
    rng = np.random.default_rng(1)
    school, inner = np.arange(300) % 15, np.arange(300) % 60
    y = rng.normal(size=15)[school] + rng.normal(size=60)[inner] + rng.normal(size=300)
    data = pd.DataFrame(
        {"y": y, "school": school, "inner": inner, "x": rng.normal(size=300)}
    )
    return mx.mixedlm("y ~ x + (1 | school / inner)", data)


def crossed():
    """Subjects and items, 400 rows."""
    rng = np.random.default_rng(2)
    s, i = np.arange(400) % 20, np.arange(400) // 20
    y = rng.normal(size=20)[s] + rng.normal(size=20)[i] + rng.normal(size=400)
    data = pd.DataFrame({"y": y, "s": s, "i": i, "x": rng.normal(size=400)})
    return mx.mixedlm("y ~ x + (1 | s) + (1 | i)", data)


def slopes():
    """Intercepts and slopes of eight levels, 48 rows."""
    rng = np.random.default_rng(3)
    g, x = np.arange(48) % 8, rng.normal(size=48)
    y = x + rng.normal(size=8)[g] + 0.7 * rng.normal(size=8)[g] * x + rng.normal(size=48)
    return mx.mixedlm("y ~ x + (x | g)", pd.DataFrame({"y": y, "g": g, "x": x}))


def one_factor():
    """One intercept, unbalanced, 60 rows."""
    rng = np.random.default_rng(4)
    g = rng.integers(0, 10, 60)
    data = pd.DataFrame({"g": g, "x": rng.normal(size=60)})
    data["y"] = data["x"] + rng.normal(size=10)[g] + rng.normal(size=60)
    return mx.mixedlm("y ~ x + (1 | g)", data)


def of_data(name, formula):
    return lambda: mx.mixedlm(formula, mx.datasets.load(name).data)


MODELS = {
    "one factor": one_factor,
    "nested": nested,
    "crossed": crossed,
    "slopes": slopes,
    "penicillin": of_data("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    "pastes": of_data("pastes", "strength ~ 1 + (1 | batch / cask)"),
    "sleepstudy": of_data("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
}


def without_look(others: OtherStarts) -> OtherStarts:
    """The same with nothing but the first start."""
    n = others.starts.shape[1]
    return replace(
        others,
        starts=np.empty((0, n)),
        always=False,
        points=np.empty((0, n)),
        neighbours=np.empty((0, 1), np.intp),
        axes=Axes(np.zeros(n, np.intp), np.empty(0, np.intp), np.empty((0, 1))),
        within=False,
    )


def measure(model, reml, count):
    """Seconds of the processor and refits, with the look and without."""
    y = model.fit(reml=reml).simulate(count, rng=1).to_numpy()
    ways = [responses_of(model), responses_of(model)]
    fit_responses(ways[1], y[:, :1], reml)
    for batch in ways[1].batches.values():
        batch.others = without_look(batch.others)
    best, refits = [np.inf, np.inf], [None, None]
    for _ in range(RUNS):
        for number, responses in enumerate(ways):
            begun = time.process_time()
            refits[number] = fit_responses(responses, y, reml)
            best[number] = min(best[number], time.process_time() - begun)
    return best, refits


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.models:
        model = MODELS[name]()
        for reml in (False, True):
            (many, few), (one, other) = measure(model, reml, arguments.count)
            lower = np.count_nonzero(one.log_likelihood > other.log_likelihood + LOWER)
            of_one = 1e6 * few / arguments.count
            print(
                f"{name:12} {'REML' if reml else 'ML  '} {of_one:8.1f} us"
                f"  x {many / few:4.2f}   evaluations {one.n_evaluations.mean():5.1f},"
                f" {other.n_evaluations.mean():5.1f}   {lower} lower"
            )


if __name__ == "__main__":
    main()
