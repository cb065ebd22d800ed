"""How often a fit with a residual covariance ends at the lowest minimum.

``python benchmarks/residual_minima.py [--designs 200] [--seed 1] [STRUCTURE ...]``: random
small designs with visits missing, with and without a random intercept; the default fit
against the best of 20 searches from random parameters that end at no limit of theirs (where
a variance vanishes the likelihood may have no maximum).  Prints a line a structure: fits,
those that end more than 1e-6 above, and of these those that say so.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np

import mixedext as mx
from mixedext.engine.residual.fit import limits_reached
from mixedext.engine.residual.search import search_residual
from mixedext.models.mixedlm.residual_fitting import residual_rows

STARTS = 20
STRUCTURES = {
    "us": lambda v, g: mx.Unstructured(v, group=g),
    "cs": lambda v, g: mx.CS(group=g),
    "csh": lambda v, g: mx.CS(v, group=g, het=True),
    "ar1": lambda v, g: mx.AR1(v, group=g),
    "ar1h": lambda v, g: mx.AR1(v, group=g, het=True),
    "arma": lambda v, g: mx.ARMA(v, group=g, p=1, q=1),
    "toep": lambda v, g: mx.Toeplitz(v, group=g),
    "toeph": lambda v, g: mx.Toeplitz(v, group=g, het=True),
    "ad": lambda v, g: mx.Antedependence(v, group=g, het=False),
    "adh": lambda v, g: mx.Antedependence(v, group=g),
    "car1": lambda v, g: mx.CAR1(v + 0.2 * (g % 3), group=g),
    "exp+nugget": lambda v, g: mx.Spatial("exp", [v], group=g, nugget=True),
    "gau": lambda v, g: mx.Spatial("gau", [v], group=g),
    "spher": lambda v, g: mx.Spatial("spher", [v], group=g),
}
# Structures that hold an intercept of the same groups.
WITHOUT_INTERCEPT = ["us", "cs", "toep"]


def design(name, rng):
    """A model, or None where the data do not allow it."""
    groups, m = int(rng.integers(8, 20)), int(rng.integers(3, 6))
    group, visit = np.divmod(np.arange(groups * m), m)
    keep = rng.random(len(group)) > rng.choice([0.0, 0.2])
    group, visit = group[keep], visit[keep].astype(float)
    n = len(group)
    rho, own = rng.uniform(-0.3, 0.95), rng.choice([0.0, 0.7])
    lag = np.abs(visit[:, None] - visit) * 1.0
    v = (group[:, None] == group) * (np.sign(rho) ** lag * np.abs(rho) ** lag + own)
    root = np.linalg.cholesky(v + 1e-6 * np.eye(n))
    x = np.column_stack(
        [np.ones(n), visit, rng.standard_normal((n, int(rng.integers(0, 3))))]
    )
    y = x.sum(axis=1) + root @ rng.standard_normal(n)
    terms = []
    if rng.random() < 0.4 and name not in WITHOUT_INTERCEPT:
        terms = [mx.RandomTerm(group, group="g")]
    places = visit if name in ("car1", "exp+nugget", "gau", "spher") else visit.astype(int)
    try:
        return mx.MixedLM(y, x, terms=terms, residual=STRUCTURES[name](places, group))
    except ValueError:
        return None


def best_of_many(model, reml, rng):
    """The lowest deviance of searches from random parameters."""
    rows = residual_rows(model)
    deviance = rows.deviance(reml)
    held, best = np.zeros(rows.n_psi, bool), np.inf
    for _ in range(STARTS):
        theta = rng.uniform(0, 2, deviance.n_theta)
        x = np.concatenate([theta, rng.normal(0, 1.0, rows.n_psi)])
        try:
            found = search_residual(deviance, [x], held)
        except ValueError:
            continue
        if not limits_reached(rows, deviance, found.x):
            best = min(best, found.value + deviance.shift)
    return best


def main():
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("structures", nargs="*", default=list(STRUCTURES))
    parser.add_argument("--designs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in args.structures or STRUCTURES:
        rng = np.random.default_rng([args.seed, len(name), sum(map(ord, name))])
        fits, above, said, failed, worst = 0, 0, 0, 0, 0.0
        while fits < args.designs:
            model = design(name, rng)
            if model is None:
                continue
            reml = bool(rng.random() < 0.5)
            try:
                result = model.fit(reml=reml)
            except ValueError:
                continue
            fits += 1
            gap = -2 * result.llf - best_of_many(model, reml, rng)
            failed += not result.converged
            if gap > 1e-6:
                above += 1
                verdict = result.convergence
                said += verdict.others_may_exist or not verdict.converged
                worst = max(worst, gap)
        print(
            f"{name:12s} {fits} fits, {above} above the lowest ({said} say so), worst "
            f"{worst:.2g}; {failed} failed",
            flush=True,
        )


if __name__ == "__main__":
    main()
