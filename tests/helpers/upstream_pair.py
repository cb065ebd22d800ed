"""The same random model by statsmodels and by mixedext."""

from __future__ import annotations

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams, VCSpec

import mixedext as mx


def upstream_pair(seed, k_re=2, component=True, use_sqrt=True, n=120, n_groups=15):
    """Models (mixedext, statsmodels) with slopes and perhaps a variance component."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n_groups, n)
    x = np.c_[np.ones(n), rng.normal(size=(n, 2))]
    z = np.c_[np.ones(n), rng.normal(size=(n, k_re - 1))]
    effects = rng.normal(size=(n_groups, k_re))
    y = x @ [1.0, 2.0, 3.0] + (z * effects[groups]).sum(axis=1) + rng.normal(size=n)
    columns = rng.normal(size=(n, 2))
    vc, terms = None, None
    if component:
        rows = [np.flatnonzero(groups == level) for level in np.unique(groups)]
        names = [[["c1", "c2"]] * len(rows)]
        vc = VCSpec(["a"], names, [[columns[r] for r in rows]])
        y += (columns * rng.normal(size=(n_groups, 2))[groups]).sum(axis=1)
        terms = [mx.RandomTerm(groups, columns, "a", structure="identity")]
    own = mx.MixedLM(y, x, groups, exog_re=z, terms=terms, use_sqrt=use_sqrt)
    theirs = MixedLM(y, x, groups, exog_re=z, exog_vc=vc, use_sqrt=use_sqrt)
    # what statsmodels sets in fit, and what its methods need before
    theirs.cov_pen = theirs._freepat = None
    theirs._cov_sing = 0
    theirs._lin, theirs._quad = theirs._reparam()
    return own, theirs


def random_params(rng, k_re=2, component=True) -> MixedLMParams:
    root = rng.normal(size=(k_re, k_re))
    return MixedLMParams.from_components(
        rng.normal(size=3),
        cov_re=root @ root.T + 0.01 * np.eye(k_re),
        vcomp=rng.uniform(0.1, 2, int(component)),
    )
