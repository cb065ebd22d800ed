"""Cluster-robust covariance of all parameters of a generalized model, CR0 and CR1.

The sandwich of the observed information and the scores of whole clusters (see
``engine.generalized.sandwich``).  CR1 multiplies the sum of squared scores by

    G / (G - 1) * (n - 1) / (n - p),

G clusters, n rows and p coefficients, as statsmodels' GLM does and the linear models here.
Clusters must hold whole levels of all grouping factors: else their likelihoods are no
factors of the model's, and have no scores.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from mixedext.engine.generalized.fit import GeneralizedFit
from mixedext.engine.generalized.sandwich import with_sandwich
from mixedext.exceptions import ClusterWarning, user_stacklevel
from mixedext.fitted import ClusterEstimate, Fitted
from mixedext.inference.fixed_effects.clusters import cluster_codes
from mixedext.inference.fixed_effects.robust import ClusterCovariance, small_sample_factor
from mixedext.inference.fixed_effects.single_clusters import ToldByOne, told_by_one
from mixedext.inference.random_effects.live_engine import live_engine
from mixedext.inference.submodels.level_nesting import term_is_nested
from mixedext.specification.data.labels import interact

__all__ = ["KINDS", "GeneralizedClusters", "generalized_clusters"]

KINDS = ("CR0", "CR1")
_CURE = (
    "Give cov_kwds={'groups': labels} that hold whole levels of all of them, take "
    "cov_type='nonrobust', or resample with bootstrap_parametric()"
)


@dataclass(frozen=True, eq=False)
class GeneralizedClusters:
    """A fit with a cluster-robust covariance of its parameters.

    Attributes
    ----------
    engine : GeneralizedFit
        The fit, whose covariance is the robust one.
    cluster : ClusterEstimate
        That of the coefficients, for tests.
    """

    engine: GeneralizedFit
    cluster: ClusterEstimate


def generalized_clusters(
    fitted: Fitted, kind: str, groups: Any = None, scaling_factor: float | None = None
) -> GeneralizedClusters:
    """Cluster-robust covariance of the parameters of a fit.

    Parameters
    ----------
    fitted : Fitted
        A fit by its own covariance, with its rows in memory.
    kind : {"CR0", "CR1"}
        Without and with the factor for few clusters.
    groups : optional
        Clusters as for ``cluster_codes``; one or two ways.
    scaling_factor : float, optional
        Multiplies the covariance.

    Raises
    ------
    ValueError
        If clusters cut levels of a grouping factor, there is but one cluster, or the
        coefficients do not maximize the likelihood (``n_agq=0``).

    Warns
    -----
    ClusterWarning
        If a two-way covariance is not positive semidefinite.
    """
    own = fitted.generalized
    if own.engine.approximate:
        raise ValueError(
            "a cluster-robust covariance is that of estimates which maximize a likelihood, "
            "and with n_agq=0 the coefficients do not: fit with n_agq=1"
        )
    ways = _whole_clusters(fitted, groups)
    counts = [int(codes.max()) + 1 for codes in ways]
    if min(counts) < 2:
        raise ValueError("groups of the robust covariance have one level; two are needed")
    if len(ways) == 2:
        both, _ = interact(
            *((codes, range(c)) for codes, c in zip(ways, counts, strict=True))
        )
        ways, counts = [*ways, both], [*counts, int(both.max()) + 1]
    n, p = fitted.nobs, fitted.fixed.rank
    if kind == "CR1" and not n > p:
        raise ValueError(
            "the factor of CR1 is for more rows than coefficients, and there are "
            f"{n:g} rows and {p} coefficients; use cov_type='CR0'"
        )
    factors = [small_sample_factor(kind, count, n, p) for count in counts]
    size = 1.0 if scaling_factor is None else float(scaling_factor)
    signs = [size, size, -size]
    parts = [(c, s * f) for c, s, f in zip(ways, signs, factors, strict=False)]
    engine, definite = with_sandwich(live_engine(fitted), parts)
    if not definite:
        warnings.warn(
            "the two-way covariance V1 + V2 - V12 has negative eigenvalues, which are set "
            "to zero: there are few clusters, or the ways are nested",
            ClusterWarning,
            stacklevel=user_stacklevel(),
        )
    root = np.sqrt(own.scale) * own.root
    rows, r = fitted.need_rows(), own.design.basis.r
    if np.isfinite(root).all():
        told = told_by_one(rows.exog[:, fitted.fixed.kept], r, root, ways[:2])
        at = len(own.theta) + np.arange(p)
        robust = engine.inner_covariance[np.ix_(at, at)]
        # root is scaled rows of a triangle: no less accurate for units far apart
        size = np.sqrt((root**2).sum(axis=1, keepdims=True))
        inner_root = linalg.solve_triangular(r, np.eye(p)) if p else r
        inverse = np.linalg.solve(root / size, inner_root / size)
        inner = inverse @ robust @ inverse.T
    else:  # there are no standard errors at all
        told, inner = ToldByOne(root, np.zeros((p, 0))), np.full((p, p), np.nan)
    cluster: Any = ClusterCovariance(
        kind,
        root,
        inner,
        tuple(counts[:2]),
        tuple(size * f for f in factors),
        None,
        told,
        np.zeros(0, np.intp),
        not definite,
    )
    return GeneralizedClusters(engine, cluster)


def _whole_clusters(fitted, groups):
    """Clusters of the rows, one array a way, that cut no level of any random term."""
    terms = list({t.group: t for t in fitted.need_rows().terms}.values())
    if groups is None:
        try:
            return cluster_codes(fitted)
        except ValueError as error:
            names = ", ".join(t.group for t in terms)
            raise ValueError(
                f"no grouping factor contains all others ({names}): the likelihood of "
                f"crossed factors is no product over clusters. {_CURE}"
            ) from error
    ways = cluster_codes(fitted, groups)
    for term in terms:
        if not all(term_is_nested(term, codes) for codes in ways):
            raise ValueError(
                f"levels of the grouping factor {term.group!r} have rows in several of the "
                "clusters: the likelihood is no product over such clusters, which a "
                f"robust covariance of a generalized model rests on. {_CURE}"
            )
    return ways
