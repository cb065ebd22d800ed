"""How often a fit ends above the lowest minimum that 20 random starts find.

    python benchmarks/lowest_minimum.py [--cases 2000] [--seed 0] [--kinds slope two ...]
        [--only CASE] [--panels FOLDER] [--json FILE]

Every case is a random small design of one kind: ``intercept`` (one factor, 8 to 60 rows),
``slope`` (``(x | g)`` or ``(x || g)``), ``crossed``, ``nested``, and ``panel`` (a published
panel with a random choice of columns and an intercept of units, periods or both), each by
maximum and restricted likelihood in turn; ``panel_slope``, where asked for, is a panel with
a slope.  Its default fit is compared with the lowest end
of 20 searches from random starts.  The table shows by kind how often the fit ended more
than 1e-6 above, whether its verdict said that lower minima may exist, how often two minima
were seen, which rule found the lowest, and the evaluations that the rules took.  A case is
repeated by ``--only`` with the number that is printed.
"""

from __future__ import annotations

import threads  # noqa: F401  before NumPy

# isort: split

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

import mixedext as mx
from mixedext.engine.fit import fit_design
from mixedext.engine.search.optimize import minimize_deviance
from mixedext.limits import LEAST_RESIDUAL, NOISE_ACCEPTED

KINDS = ("intercept", "slope", "crossed", "nested", "panel")
ALL_KINDS = (*KINDS, "panel_slope")
STARTS, SEARCH_STEPS = 20, 200
# Deviance above the lowest that counts.
GAP = 1e-6
# Residual variances below this share of what X leaves are none.
NO_RESIDUAL = 1e-8
PANELS = {"gasoline": ("country", "year"), "cigar": ("state", "year")}
PANELS |= {"grunfeld": ("firm", "year"), "produc": ("state", "year")}


def levels(rng, n, most):
    """A factor with up to ``most`` levels, of equal, random or very unequal sizes."""
    count = int(rng.integers(2, max(3, min(most, n // 2) + 1)))
    kind = rng.integers(3)
    if kind == 0:
        return np.arange(n) % count
    share = rng.dirichlet(np.ones(count)) if kind == 2 else np.full(count, 1 / count)
    return rng.choice(count, n, p=share)


def fixed_part(rng, n, g):
    """Columns of X within and between levels, and their formula."""
    columns = {}
    for i in range(int(rng.integers(0, 5))):
        kind = rng.integers(4)
        if kind == 0:  # constant within levels
            columns[f"x{i}"] = rng.normal(size=n)[g]
        elif kind == 1:  # mostly so
            columns[f"x{i}"] = rng.normal(size=n)[g] + 0.3 * rng.normal(size=n)
        elif kind == 2:
            columns[f"x{i}"] = rng.normal(size=n)
        else:
            columns[f"x{i}"] = (rng.random(n) < 0.4).astype(float)
    beta = rng.normal(size=len(columns)) * rng.choice([0, 1, 3])
    mean = sum((b * x for b, x in zip(beta, columns.values(), strict=True)), np.zeros(n))
    return columns, mean


def noise(rng, n):
    return rng.standard_t(2, n) if rng.random() < 0.3 else rng.normal(size=n)


def size(rng):
    return float(rng.choice([0.0, 0.3, 1.0, 3.0]))


def intercept(rng):
    n = int(rng.integers(8, 61))
    g = levels(rng, n, 15)
    columns, mean = fixed_part(rng, n, g)
    y = mean + size(rng) * rng.normal(size=n)[g] + noise(rng, n)
    return " + ".join(["y ~ 1", *columns, "(1 | g)"]), {"y": y, "g": g, **columns}


def slope(rng):
    n = int(rng.integers(8, 61))
    g = levels(rng, n, 12)
    columns, mean = fixed_part(rng, n, g)
    x = rng.normal(size=n) + rng.choice([0.0, 0.0, 5.0])
    y = mean + size(rng) * rng.normal(size=n)[g] + noise(rng, n)
    y = y + size(rng) * rng.normal(size=n)[g] * x
    bar = str(rng.choice(["(x | g)", "(x || g)"]))
    data = {"y": y, "g": g, "x": x, **columns}
    return " + ".join(["y ~ x", *columns, bar]), data


def crossed(rng):
    n = int(rng.integers(12, 81))
    g, h = levels(rng, n, 12), levels(rng, n, 8)
    columns, mean = fixed_part(rng, n, g)
    y = mean + size(rng) * rng.normal(size=n)[g] + size(rng) * rng.normal(size=n)[h]
    data = {"y": y + noise(rng, n), "g": g, "h": h, **columns}
    return " + ".join(["y ~ 1", *columns, "(1 | g) + (1 | h)"]), data


def nested(rng):
    n = int(rng.integers(12, 81))
    g, h = levels(rng, n, 8), levels(rng, n, 4)
    columns, mean = fixed_part(rng, n, g)
    inner = g * 10 + h
    y = mean + size(rng) * rng.normal(size=n)[g] + size(rng) * rng.normal(size=200)[inner]
    data = {"y": y + noise(rng, n), "g": g, "h": h, **columns}
    return " + ".join(["y ~ 1", *columns, "(1 | g/h)"]), data


def panel_columns(rng, folder):
    """A panel, its factors, and some of its columns, the response first."""
    names = [name for name in PANELS if (folder / f"{name}.csv").exists()]
    name = str(rng.choice(names))
    data = pd.read_csv(folder / f"{name}.csv")
    unit, period = PANELS[name]
    numbers = [
        c for c in data.select_dtypes("number") if c not in (unit, period) and data[c].std()
    ]
    chosen = list(rng.permutation(numbers)[: int(rng.integers(2, 5))])
    terms = [
        f"np.log({c})" if (data[c] > 0).all() and rng.random() < 0.3 else c for c in chosen
    ]
    if rng.random() < 0.4:  # some of the units, or of the periods
        by = str(rng.choice([unit, period]))
        known = data[by].unique()
        some = rng.choice(known, int(rng.integers(4, len(known) + 1)), replace=False)
        data = data[data[by].isin(some)].reset_index(drop=True)
    return data, (unit, period), terms


def panel(rng, folder):
    data, factors, terms = panel_columns(rng, folder)
    bars = [f"(1 | {factor})" for factor in factors]
    bars = bars if rng.random() < 0.8 else [str(rng.choice(bars))]
    return f"{terms[0]} ~ " + " + ".join(["1", *terms[1:], *bars]), data


def panel_slope(rng, folder):
    data, factors, terms = panel_columns(rng, folder)
    first, other = rng.permutation(factors)
    bars = [f"({rng.choice(terms[1:])} {rng.choice(['|', '||'])} {first})"]
    bars += [f"(1 | {other})"] if rng.random() < 0.5 else []
    return f"{terms[0]} ~ " + " + ".join(["1", *terms[1:], *bars]), data


def case(number, seed, kinds, folder):
    """Formula, data and REML or not of a case."""
    rng = np.random.default_rng([seed, number])
    kind = kinds[number % len(kinds)]
    of_panels = kind.startswith("panel")
    made = globals()[kind](rng, folder) if of_panels else globals()[kind](rng)
    return kind, made[0], pd.DataFrame(made[1]), bool(rng.integers(2))


def random_start(rng, structures):
    """Standard deviations from 0.02 to 50 and correlations of any size."""
    parts = []
    for s in structures:
        root = rng.normal(size=(s.k, s.k))
        root /= np.linalg.norm(root, axis=1, keepdims=True)
        if s.is_diagonal:
            root = np.eye(s.k)
        sd = np.exp(rng.uniform(np.log(0.02), np.log(50.0), s.k))
        parts.append(s.theta(s.triangular(sd[:, None] * root)))
    return np.concatenate(parts)


def lowest_of_random(fit, rng):
    """The lowest settled end of searches from random starts, with its theta."""
    design, reml = fit.design, fit.reml
    shift = design.deviance_shift(reml, fit.objective.dof)
    least = LEAST_RESIDUAL * fit.objective.residual_square
    best, where = np.inf, None
    for _ in range(STARTS):
        objective = design.objective(reml)
        try:
            start = random_start(rng, design.structures)
            end = minimize_deviance(objective, start, max_iterations=SEARCH_STEPS)
        except ValueError:
            continue
        # along a direction without information rounding decides
        deviance = end.deviance + NOISE_ACCEPTED * objective.noise
        if end.convergence and objective.residual_square > least and deviance < best:
            best, where = deviance, end.theta
    return best + shift, where


def run(arguments):
    """Rows of all cases, one a fit."""
    numbers = range(arguments.cases) if arguments.only is None else [arguments.only]
    for number in numbers:
        kind, formula, data, reml = case(
            number, arguments.seed, arguments.kinds, arguments.panels
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                design = mx.mixedlm(formula, data)._design
                fit = fit_design(design, reml)
                residual = fit.objective.residual_square
            except ValueError:
                continue  # a design that is refused: hardly more rows than parameters
        # where the random effects leave no residual the deviance may have no minimum
        if not design.terms or residual < NO_RESIDUAL * len(data):
            continue
        rng = np.random.default_rng([arguments.seed, number, 1])
        best, where = lowest_of_random(fit, rng)
        verdict = fit.convergence
        yield {
            "case": number,
            "kind": kind,
            "reml": reml,
            "formula": formula,
            "rows": len(data),
            "gap": float(fit.deviance - best),
            "status": verdict.status,
            "evaluations": verdict.n_evaluations,
            "derivatives": verdict.n_derivatives,
            "start": [round(float(t), 4) for t in fit.optimum.theta],
            "lowest": [] if where is None else [round(float(t), 4) for t in where],
            "seen": len(verdict.minima),
            "rule": verdict.found_from,
            "doubtful": verdict.others_may_exist,
        }


def table(rows):
    """Frequencies by kind."""
    for kind in ALL_KINDS:
        own = [r for r in rows if r["kind"] == kind]
        if not own:
            continue
        above = [r for r in own if r["gap"] > GAP]
        silent = [r for r in above if not r["doubtful"]]
        rules = Counter(r["rule"] for r in own if r["rule"])
        print(
            f"{kind:11} {len(own):6} fits, {len(above):4} above the lowest "
            f"({len(silent)} not said), {sum(r['doubtful'] for r in own):4} doubtful, "
            f"{sum(r['seen'] > 1 for r in own):4} with two minima, "
            f"{np.mean([r['evaluations'] for r in own]):5.1f} evaluations, "
            f"lowest found by {dict(rules)}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--kinds", nargs="+", choices=ALL_KINDS, default=KINDS)
    folder = Path(__file__).parents[1] / "tests" / "results" / "data"
    parser.add_argument("--panels", type=Path, default=folder)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows, begun = [], time.perf_counter()
    for row in run(arguments):
        rows.append(row)
        if row["gap"] > GAP or arguments.only is not None:
            print(row, flush=True)
    table(rows)
    print(f"{len(rows)} fits, {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
