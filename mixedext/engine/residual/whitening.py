"""Rows multiplied by the inverse root of their covariance, random effects included.

V = s2 V0 of all rows is block-diagonal by cluster: what residual groups and levels of
random terms connect.  With L the lower Cholesky factor of a cluster's V0, its rows by
residual group and within a group by visit or time, L^-1 times rows are independent under
the model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixedext.engine.residual.estimate import ResidualEstimate
from mixedext.engine.residual.rows import roots

__all__ = ["marginally_solved", "marginally_whitened"]


def marginally_whitened(estimate: ResidualEstimate, columns: np.ndarray) -> np.ndarray:
    """L^-1 times columns (n, w), L L' = V0; rows stay where they are."""
    out = np.empty(columns.shape)
    for rows, inverse, number in _inverse_roots(estimate):
        out[rows] = inverse[number] @ _weighted(estimate, columns, rows)
    return out


def marginally_solved(estimate: ResidualEstimate, columns: np.ndarray) -> np.ndarray:
    """V0^-1 times columns (n, w)."""
    out = np.empty(columns.shape)
    for rows, inverse, number in _inverse_roots(estimate):
        own = inverse[number]
        out[rows] = own.swapaxes(1, 2) @ (own @ _weighted(estimate, columns, rows))
    assert estimate.rows is not None
    root = estimate.rows.root_weights
    return out if root is None else out * root[:, None]


def _weighted(estimate, columns, rows):
    root = estimate.rows.root_weights
    return columns[rows] if root is None else root[rows][:, :, None] * columns[rows]


def _inverse_roots(
    estimate: ResidualEstimate,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of clusters of one size (G, s), inverse roots, and which is a cluster's own."""
    rows, psi = estimate.rows, estimate.psi
    assert rows is not None
    if not rows.terms:
        batches = rows.bound.batches
        for batch, root in zip(batches, roots(rows.bound, psi), strict=True):
            yield batch.rows, np.linalg.inv(root), batch.pattern
        return
    x = np.concatenate([estimate.theta, psi])
    covariances = estimate.deviance.covariances(x)
    for numbers, part in rows.clusters():
        root = np.linalg.cholesky(part.covariance(covariances, psi))
        yield numbers, np.linalg.inv(root), np.arange(len(numbers))
