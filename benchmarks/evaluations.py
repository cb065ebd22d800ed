"""Evaluations of the criterion that a fit takes: reference models, and random hard ones.

    python benchmarks/evaluations.py [--random 200] [--no-reference] [--lme4]

The reference models are those of tests/results (and of the folder MIXEDEXT_REFERENCE);
their criterion is compared with R's best optimum.  The random models are small, with
k = 1..8 coefficients, singular covariances, badly scaled covariates and crossed factors;
with --lme4 each is compared with the best of lme4's optimizers on well scaled columns.
"""

from __future__ import annotations

import threads  # noqa: F401  before NumPy

# isort: split

import argparse
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import pandas as pd
from helpers.reference import case_names, load_case
from workloads import save

import mixedext as mx


def reference_models():
    """Name, evaluations, criterion and R's criterion of every reference case."""
    for name in case_names():
        case = load_case(name)
        model = mx.mixedlm(case.formula, case.data, **case.options)
        result = model.fit(reml=case.values["REML"])
        yield name, result, case.values["fit"]["criterion"]


def random_model(seed):
    """Formula and data of a small model that is hard to fit, and the same well scaled.

    Returns
    -------
    formula : str
    hard, plain : DataFrame
        The columns of ``hard`` are linear functions of those of ``plain``: the same model.
    shift : float
        REML criterion of ``hard`` minus that of ``plain`` at the same fit.

    Groups number a few more than the coefficients; the true covariance has any rank from 0
    to k; one covariate in three is scaled by a power of ten or moved far from zero; one
    model in three has a second, crossed factor.
    """
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 9))
    n_groups = int(rng.integers(k + 4, 40))
    n = n_groups * int(rng.integers(k + 3, k + 15))
    g = rng.integers(0, n_groups, n)
    x = rng.normal(size=(n, k - 1))
    rank = int(rng.integers(0, k + 1))
    root = rng.normal(size=(k, rank)) * rng.choice([0.1, 0.5, 2.0])
    effect = rng.normal(size=(n_groups, rank)) @ root.T
    z = np.column_stack([np.ones(n), x])
    y = z.sum(axis=1) + np.einsum("ij,ij->i", z, effect[g]) + rng.normal(size=n)
    scales = np.where(rng.random(k - 1) < 1 / 3, 10.0 ** rng.integers(-4, 5, k - 1), 1.0)
    moved = np.where(rng.random(k - 1) < 1 / 6, 20.0, 0.0)
    names = [f"x{j + 1}" for j in range(k - 1)]
    hard = pd.DataFrame((x + moved) * scales, columns=names)
    plain = pd.DataFrame(x, columns=names)
    labels = {"g": g}
    columns = " + ".join(["1", *names])
    formula = f"y ~ {columns} + ({columns} | g)"
    if rng.random() < 1 / 3:
        h = rng.integers(0, int(rng.integers(4, 20)), n)
        y += rng.choice([0.0, 0.5]) * rng.normal(size=20)[h]
        labels["h"] = h
        formula += " + (1 | h)"
    labels["y"] = y
    shift = 2 * float(np.log(scales).sum())
    return formula, hard.assign(**labels), plain.assign(**labels), shift


def best_of_lme4(formula, data):
    """Least criterion that lme4's optimizers reach."""
    with tempfile.TemporaryDirectory() as folder:
        save(data, Path(folder))
        script = Path(__file__).with_name("lme4_best.R")
        command = ["Rscript", script, folder, formula, "g,h"]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(out.split()[-1])


def random_models(count, with_lme4):
    """Name, result and lme4's criterion (None if not asked for) of the random models."""
    for seed in range(count):
        formula, data, plain, shift = random_model(seed)
        try:
            result = mx.mixedlm(formula, data).fit()
        except mx.DesignError as error:
            print(f"random {seed}: refused: {error}")
            continue
        k = formula.split("(")[1].split("|")[0].count("+") + 1
        crossed = ", crossed" if "| h" in formula else ""
        best = best_of_lme4(formula, plain) + shift if with_lme4 else None
        yield f"random {seed} (k = {k}{crossed})", result, best


def table(models):
    """Print the models and the distribution of their evaluations; misses are marked."""
    counts, singular, misses = [], [], 0
    print(f"{'model':<32}{'theta':>6}{'evaluations':>12}{'singular':>9}{'ours - best':>13}")
    for name, result, best in models:
        counts.append(len(result.fit_log))
        singular.append(result.is_singular)
        line = f"{name:<32}{len(result.theta):>6}{counts[-1]:>12}"
        line += f"{'yes' if result.is_singular else '':>9}"
        if best is not None:
            difference = result.deviance - best
            miss = difference > 1e-8 * abs(best)
            misses += miss
            line += f"{difference:>13.1e}{'  HIGHER' if miss else ''}"
        if not result.converged:
            line += "  not converged"
        print(line, flush=True)
    counts, singular = np.array(counts), np.array(singular, bool)
    for kind, chosen in {"regular": ~singular, "singular": singular}.items():
        if chosen.any():
            half, most, top = np.percentile(counts[chosen], [50, 90, 100])
            print(
                f"{chosen.sum()} {kind} models: median {half:g}, 90 % {most:g}, "
                f"maximum {top:g} evaluations"
            )
    print(f"higher than the best: {misses}\n")


def main(arguments=None):
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--random", type=int, default=200, help="random models (200)")
    parser.add_argument("--no-reference", action="store_true", help="only random models")
    parser.add_argument("--lme4", action="store_true", help="compare them with lme4's best")
    options = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not options.no_reference:
            table(reference_models())
        if options.random:
            table(random_models(options.random, options.lme4))


if __name__ == "__main__":
    main()
