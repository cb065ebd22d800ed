"""Nodes and weights of Gauss-Hermite quadrature in one or several dimensions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

__all__ = ["MOST_COLUMNS", "MOST_NODES", "MOST_OF_LEVEL", "hermite_rule", "product_rule"]

# Columns of a level that can be integrated over: there are n_agq ** k nodes.
MOST_COLUMNS = 3
# Nodes a dimension, beyond which exp(-z^2 / 4) would underflow, and nodes of a level.
MOST_NODES, MOST_OF_LEVEL = 500, 1_000_000
# Weight, as a share of the largest, of nodes that a product rule leaves out.
SMALL_WEIGHT = 1e-12


def hermite_rule(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the Gauss-Hermite rule for the standard normal law, and weights.

    With the orthonormal Hermite functions psi_k, that of k = 0 being exp(-z^2 / 4), the
    nodes are the zeros of psi_n, and w exp(z^2 / 2) = 1 / sum_{k < n} psi_k^2, which keeps
    its digits where w itself underflows (Golub and Welsch 1969).

    Parameters
    ----------
    n : int
        Number of nodes, from 1 to ``MOST_NODES``.

    Returns
    -------
    nodes : ndarray
        Ascending, (n,).
    log_weights : ndarray
        log w + z^2 / 2, (n,).
    """
    node = eigvalsh_tridiagonal(np.zeros(n), np.sqrt(np.arange(1.0, n)))
    node = 0.5 * (node - node[::-1])
    functions = _hermite_functions(node, n)
    node = node - functions[n] / (np.sqrt(n) * functions[n - 1])  # a Newton step
    return node, -np.log((_hermite_functions(node, n)[:n] ** 2).sum(axis=0))


def _hermite_functions(z, n):
    """The functions psi_0 ... psi_n at z, (n + 1, len(z))."""
    out = np.empty((n + 1, len(z)))
    out[0] = np.exp(-0.25 * z**2)
    before = np.zeros(len(z))
    for k in range(n):
        out[k + 1] = (z * out[k] - np.sqrt(k) * before) / np.sqrt(k + 1)
        before = out[k]
    return out


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
    node, raised = hermite_rule(n_agq)
    log_weight = raised - 0.5 * node**2
    grid = np.meshgrid(*[node] * k, indexing="ij")
    nodes = np.stack([g.ravel() for g in grid], axis=-1)
    grid = np.meshgrid(*[log_weight] * k, indexing="ij")
    logs = np.sum([g.ravel() for g in grid], axis=0)
    kept = logs > logs.max() + np.log(SMALL_WEIGHT) if k > 1 else logs > -np.inf
    nodes, logs = np.ascontiguousarray(nodes[kept]), logs[kept]
    out = nodes, logs + 0.5 * (nodes**2).sum(axis=1)
    for array in out:
        array.flags.writeable = False
    return out
