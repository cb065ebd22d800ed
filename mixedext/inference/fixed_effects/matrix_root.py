"""Adjusted scores of CR2 for large clusters, by quadrature of an inverse square root.

With V = W^-1 + Z Z' and Psi = V - X X', the matrices of a cluster in coordinates in which
X'V^-1 X summed over clusters is I, the adjusted columns are

    A V^-1 X = (V Psi)^-1/2 X = 2 / pi  int_0^inf (t^2 + V^2 - V X X')^-1 X dt

and by the Woodbury formula the integrand needs no more than (V - i t)^-1 X: its real part
is V (V^2 + t^2)^-1 X, its imaginary part t (V^2 + t^2)^-1 X.  That is
one sparse complex factorization of the size of Z'Z a node.  The nodes are those of Hale,
Higham and Trefethen (2008), SIAM Journal on Numerical Analysis 46(5), method 3; their
number grows with the logarithm of the condition of V Psi.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse, special
from scipy.sparse.linalg import splu

from mixedext.limits import QUADRATURE_ACCURACY

__all__ = ["inverse_root_nodes", "large_cluster"]


def inverse_root_nodes(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes t and weights c with x^-1/2 = sum_j c_j / (x + t_j^2) for low <= x <= high.

    Examples
    --------
    >>> from mixedext.inference.fixed_effects.matrix_root import inverse_root_nodes
    >>> nodes, weights = inverse_root_nodes(1e-3, 10.0)
    >>> round(float((weights / (4.0 + nodes**2)).sum()), 12)
    0.5
    """
    k = np.sqrt(low / high)
    rate = 2 * np.pi**2 / (2 * np.log(1 / k) + 3)
    count = 2 * (int(np.ceil(-np.log(QUADRATURE_ACCURACY) / rate)) // 2 + 1)
    period = special.ellipkm1(k**2)
    half = (np.arange(count // 2) + 0.5) * period / count
    # from the half of the period nearer to 0; K' - u for the rest
    phase = _amplitude(half, k)
    sn, cn = np.sin(phase), np.cos(phase)
    dn = np.hypot(cn, k * sn)
    nodes = np.concatenate([sn / cn, cn / (k * sn)])
    weights = np.concatenate([dn / cn**2, dn / (k * sn**2)])
    return np.sqrt(low) * nodes, 2 * period * np.sqrt(low) / (np.pi * count) * weights


def _amplitude(u, k):
    """Jacobi's am(u) for the complementary modulus k, by arithmetic-geometric means.

    scipy's ellipj takes 1 - k^2, which has lost k where k is small.
    """
    a, b = 1.0, k
    ratios: list[float] = []
    while a - b > QUADRATURE_ACCURACY * a and len(ratios) < 12:
        ratios.append((a - b) / (a + b))
        a, b = (a + b) / 2, np.sqrt(a * b)
    phase = 2.0 ** len(ratios) * a * u
    for ratio in reversed(ratios):
        phase = (phase + np.arcsin(ratio * np.sin(phase))) / 2
    return phase


def large_cluster(
    z: Any, w: np.ndarray, x: np.ndarray, e: np.ndarray, least_rest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Scores and moments of one cluster; see ``cluster_blocks``.

    Parameters
    ----------
    z : sparse matrix
        Z Lam, (n, q).
    w : ndarray
        Weights, (n,).
    x : ndarray
        (n, p)
    e : ndarray
        W^-1 V^-1 r, the conditional residuals, (n,).
    least_rest : float
        Least eigenvalue of I - X'V^-1 X that this takes.

    Returns
    -------
    tuple of ndarray or None
        Scores (p,), spread and cross (p, p); None if a coefficient rests on the cluster
        alone, or nearly so.
    """
    p = x.shape[1]
    leverage = x.T @ _solve(z, w, x)
    rest = 1 - np.linalg.eigvalsh(leverage)[-1]
    if rest < least_rest:
        return None
    gram = z.T @ z
    largest = 1 / w.min() + (abs(gram).sum(axis=0).max() if z.shape[1] else 0.0)
    nodes, weights = inverse_root_nodes(rest / w.max() ** 2, largest**2)
    adjusted = np.zeros(x.shape)
    for t, weight in zip(nodes, weights, strict=True):
        solved = _solve(z, w / (1 - 1j * t * w), x)
        real, imaginary = solved.real, solved.imag / t
        inner = np.linalg.solve(np.eye(p) - x.T @ real, x.T @ imaginary)
        adjusted += weight * (imaginary + real @ inner)
    r = e + z @ (z.T @ (w * e))
    on_z = z.T @ adjusted
    spread = adjusted.T @ (adjusted / w[:, None]) + on_z.T @ on_z
    return adjusted.T @ r, spread, x.T @ adjusted


def _solve(z, d, b):
    """(diag(1/d) + Z Z')^-1 b."""
    scaled = d[:, None] * b
    if not z.shape[1]:
        return scaled
    inner = sparse.eye(z.shape[1]) + z.T @ z.multiply(d[:, None]).tocsr()
    found = splu(sparse.csc_matrix(inner)).solve(np.ascontiguousarray(z.T @ scaled))
    return scaled - d[:, None] * (z @ found)
