"""Rows multiplied by a root of their covariance, or its inverse, random effects included.

V = s2 V0 of all rows is block-diagonal by cluster: what residual groups and levels of
random terms connect.  With L the lower Cholesky factor of a cluster's V0, its rows by
residual group and within a group by visit or time, L^-1 times rows are independent under
the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from mixedext.engine.residual.estimate import ResidualEstimate
from mixedext.engine.residual.roots import inverse_roots, roots
from mixedext.specification.covariance.bound_residual import BoundResidual

__all__ = ["ResidualLaw", "colored", "marginally_solved", "marginally_whitened"]


class ResidualLaw(Protocol):
    """A residual covariance and its parameters."""

    @property
    def bound(self) -> BoundResidual:
        """The covariance on some rows."""

    @property
    def psi(self) -> np.ndarray:
        """Its free parameters."""


def colored(
    law: ResidualLaw, noise: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """W^-1/2 L times columns (n, w), L the lower factor of every group's Lambda.

    Of independent columns of variance 1 it makes residuals of variance Lambda.
    """
    out = np.empty(noise.shape)
    inverse = inverse_roots(law.bound, law.psi)
    for batch, own in zip(law.bound.batches, inverse, strict=True):
        out[batch.rows] = own.root_times(batch, noise[batch.rows])
    return out if weights is None else out / np.sqrt(weights)[:, None]


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
