"""Nodes and weights of Gauss-Hermite quadrature in one or several dimensions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["MOST_COLUMNS", "product_rule"]

# Columns of a level that can be integrated over: there are n_agq ** k nodes.
MOST_COLUMNS = 3
# Weight, as a share of the largest, of nodes that a product rule leaves out.
SMALL_WEIGHT = 1e-12


@lru_cache(maxsize=32)
def product_rule(n_agq: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of a product rule for the standard normal law of k variables.

    Parameters
    ----------
    n_agq : int
        Nodes a dimension, at least 1.
    k : int
        Dimensions.

    Returns
    -------
    nodes : ndarray
        (J, k); those of negligible weights are left out where k is not 1.
    log_weights : ndarray
        log w_j + |z_j|^2 / 2, (J,), where sum_j w_j f(z_j) approximates E f(z).
    """
    node, weight = np.polynomial.hermite_e.hermegauss(n_agq)
    log_weight = np.log(weight) - 0.5 * np.log(2.0 * np.pi)
    grid = np.meshgrid(*[node] * k, indexing="ij")
    nodes = np.stack([g.ravel() for g in grid], axis=-1)
    logs = sum(g.ravel() for g in np.meshgrid(*[log_weight] * k, indexing="ij"))
    kept = logs > logs.max() + np.log(SMALL_WEIGHT) if k > 1 else logs > -np.inf
    nodes, logs = np.ascontiguousarray(nodes[kept]), logs[kept]
    out = nodes, logs + 0.5 * (nodes**2).sum(axis=1)
    for array in out:
        array.flags.writeable = False
    return out
