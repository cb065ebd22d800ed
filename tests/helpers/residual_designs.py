"""Random designs with residual groups, for every structure and kind of random effects."""

from __future__ import annotations

import numpy as np

import mixedext as mx

M = 4  # visits

#: Structures by name: of the visits (or times, or places) v and their groups g.
STRUCTURES = {
    "us": lambda v, g, **k: mx.Unstructured(v, group=g, **k),
    "cs": lambda v, g, **k: mx.CS(group=g, **k),
    "csh": lambda v, g, **k: mx.CS(v, group=g, het=True, **k),
    "ar1": lambda v, g, **k: mx.AR1(v, group=g, **k),
    "ar1h": lambda v, g, **k: mx.AR1(v, group=g, het=True, **k),
    "arma": lambda v, g, **k: mx.ARMA(v, group=g, p=1, q=1, **k),
    "toep": lambda v, g, **k: mx.Toeplitz(v, group=g, **k),
    "toep2": lambda v, g, **k: mx.Toeplitz(v, group=g, bands=2, **k),
    "toeph": lambda v, g, **k: mx.Toeplitz(v, group=g, het=True, **k),
    "ad": lambda v, g, **k: mx.Antedependence(v, group=g, het=False, **k),
    "adh": lambda v, g, **k: mx.Antedependence(v, group=g, **k),
    "car1": lambda v, g, **k: mx.CAR1(v + 0.1 * (g % 3), group=g, **k),
    "exp": lambda v, g, **k: mx.Spatial("exp", [v * 1.3], group=g, **k),
    "gau+nugget": lambda v, g, **k: mx.Spatial(
        "gau", [v * 1.3, (v * v) % 3.0], group=g, nugget=True, **k
    ),
    "ratio": lambda v, g, **k: mx.Spatial("ratio", [v * 1.3, (v * v) % 3.0], group=g, **k),
}


def random_design(kind, seed, random="none", weighted=False, by=False, variance=None):
    """A model of 14 subjects in 5 clusters with some visits missing.

    ``random``: "none", "same" (by subject), "nested" (cluster and subject), "slopes" (by
    cluster, of visits), "finer" (residual groups within levels: clusters), "crossed",
    "crossed slopes" (two columns of levels that subjects cross).
    """
    rng = np.random.default_rng(seed)
    subject, visit = np.divmod(np.arange(14 * M), M)
    keep = rng.random(len(subject)) > 0.15
    keep[:M] = True  # one subject has all visits
    order = rng.permutation(np.flatnonzero(keep))
    subject, visit = subject[order], visit[order]
    n = len(subject)
    cluster, arm = subject // 3, subject % 2
    x = np.column_stack([np.ones(n), visit, arm, rng.standard_normal(n)])
    y = (
        x @ [1.0, 0.5, -1.0, 0.2]
        + rng.standard_normal(n)
        + rng.standard_normal(14)[subject]
    )
    slope = np.column_stack([np.ones(n), visit])
    by_cluster = mx.RandomTerm(cluster, group="cluster")
    by_subject = mx.RandomTerm(subject, group="subject")
    terms = {
        "none": [],
        "same": [by_subject],
        "nested": [by_cluster, by_subject],
        "slopes": [mx.RandomTerm(cluster, slope, group="cluster")],
        "finer": [by_cluster],
        "crossed": [by_subject, mx.RandomTerm(subject % 4 + visit % 2, group="h")],
        "crossed slopes": [
            by_cluster,
            mx.RandomTerm(subject % 4 + visit % 2, x[:, [0, 3]], group="h"),
        ],
    }[random]
    options = {"by": arm} if by else {}
    residual = None if kind is None else STRUCTURES[kind](visit, subject, **options)
    weights = rng.uniform(0.5, 2.0, n) if weighted else None
    if variance is not None:
        variance = variance(visit, arm, rng.uniform(0.5, 3.0, n))
    return mx.MixedLM(
        y, x, terms=terms, weights=weights, residual=residual, variance=variance
    )
