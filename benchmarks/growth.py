"""Seconds against rows and against levels over three decades: a table and a plot.

    python benchmarks/growth.py --json growth.json --plot growth.png

A straight line of slope one on logarithmic axes is linear growth; the slope of the last
decade is printed, where constant costs no longer count.
"""

from __future__ import annotations

import threads  # noqa: F401  before NumPy

# isort: split

import argparse
import json
from pathlib import Path

import numpy as np
from measure import seconds_of
from peers import Mixedext
from workloads import Term, Workload, slopes

POINTS = 7  # half decades


def cases(largest):
    """Title, what grows and (rows, levels) of every point."""
    grid = np.rint(largest * 10.0 ** (0.5 * np.arange(1 - POINTS, 1))).astype(int)
    return {
        "rows, 1,000 levels": [(int(n), min(1_000, int(n) // 5)) for n in grid],
        "levels, ten rows each": [(int(n), int(n) // 10) for n in grid],
        "levels, the rows fixed": [(int(largest), int(n) // 10) for n in grid],
    }


def measure(rows, levels, columns, repeat, budget):
    """Seconds of building and fitting from arrays, and evaluations."""
    workload = Workload(
        "", "y", ("x1", "x2"), (Term("g", columns),), slopes(rows, levels, 2), form="arrays"
    )
    fit = Mixedext().prepare(workload, workload.make(1.0))
    evaluations = len(fit().fit_log)
    return float(np.median(seconds_of(fit, repeat, budget))), evaluations


def run(largest, repeat, budget):
    """All cases, as {model: {what grows: [point, ...]}}."""
    found = {}
    for name, columns in {"intercept": ("1",), "slopes": ("1", "x1")}.items():
        found[name] = {}
        for title, grid in cases(largest).items():
            points = found[name][title] = []
            for rows, levels in grid:
                seconds, evaluations = measure(rows, levels, columns, repeat, budget)
                points.append([rows, levels, seconds, evaluations])
                per_row = seconds / rows * 1e9
                print(
                    f"{name:<10}{title:<24}{rows:>11,}{levels:>11,}"
                    f"{seconds * 1e3:>10.3f} ms"
                    f"{per_row:>9.1f} ns a row{evaluations:>4} evaluations",
                    flush=True,
                )
            print(f"{'':<34}slope of the last decade {last_slope(points, title):.2f}")
    return found


def grown(point, title):
    """What grows, of a point."""
    return point[0] if title.startswith("rows") else point[1]


def last_slope(points, title):
    """Log-log slope between the last point and the one a decade before."""
    a, b = points[-3], points[-1]
    return float(np.log(b[2] / a[2]) / np.log(grown(b, title) / grown(a, title)))


def plot(found, path):
    """One panel a model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.4), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True)
    for ax, (name, lines) in zip(axes, found.items(), strict=True):
        for title, points in lines.items():
            ax.loglog(
                [grown(p, title) for p in points], [p[2] for p in points], "o-", label=title
            )
        ax.set(title=f"random {name}", xlabel="rows or levels")
    axes[0].set_ylabel("seconds")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=10_000_000, help="rows (10,000,000)")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--budget", type=float, default=3.0, help="seconds for a point")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="file of the figure; needs matplotlib")
    options = parser.parse_args(arguments)
    found = run(options.largest, options.repeat, options.budget)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()
