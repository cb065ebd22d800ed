"""The covariance of the estimates that is right whatever the law within clusters.

Where all rows of a level are of one cluster the deviance is a sum D = sum_g D_g over
clusters, and the estimates solve sum_g d D_g / d psi = 0.  With the observed information
I = (1/2) d2 D / d psi2 and the scores h_g = -(1/2) d D_g / d psi,

    Cov(psi) = I^-1 (sum_g h_g h_g') I^-1.

References
----------
White (1982), Maximum likelihood estimation of misspecified models, Econometrica 50, 1-25.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixedext.algebra.definiteness import nearest_semidefinite
from mixedext.engine.generalized.fit import GeneralizedFit
from mixedext.limits import CANCELLED

__all__ = ["cluster_scores", "with_sandwich"]


def cluster_scores(fit: GeneralizedFit, codes: np.ndarray) -> np.ndarray:
    """Scores h_g of the clusters in the engine's psi, (G, n_psi).

    Parameters
    ----------
    fit : GeneralizedFit
        The fit, with its rows.
    codes : ndarray
        Cluster of each row, 0 to G - 1, (n,); all rows of a level are of one.
    """
    count = int(codes.max()) + 1
    return -0.5 * fit.evaluation.by_cluster(np.asarray(codes, np.intp), count)


def with_sandwich(
    fit: GeneralizedFit,
    parts: Sequence[tuple[np.ndarray, float]],
) -> tuple[GeneralizedFit, bool]:
    """The same fit with the covariance that is robust to dependence within clusters.

    Parameters
    ----------
    fit : GeneralizedFit
        The fit, with its rows.
    parts : sequence of (ndarray, float)
        Clusters of the rows, and what the sum of their squared scores is multiplied by:
        one pair, or of two-way clusters both ways and their intersections, times -1.

    Returns
    -------
    fit : GeneralizedFit
    definite : bool
        Whether no negative eigenvalue was set to zero, as two-way clusters may have.
    """
    at = fit.determined
    own = fit.inner_covariance[np.ix_(at, at)]
    meat = np.zeros((len(at), len(at)))
    for codes, factor in parts:
        scores = cluster_scores(fit, codes)[:, at]
        meat += factor * (scores.T @ scores)
    definite = True
    if len(parts) > 1 and np.isfinite(own).all():
        # on the scale on which the model's own covariance has a diagonal of one
        size = np.sqrt(np.diag(own))
        unit, definite = nearest_semidefinite(meat * np.outer(size, size), CANCELLED)
        meat = unit / np.outer(size, size)
    whole = np.full_like(fit.inner_covariance, np.nan)
    whole[np.ix_(at, at)] = own @ meat @ own
    return replace(fit, robust_covariance=whole), definite
