"""Inverses of information matrices, judged on the scale on which their diagonal is one."""

from __future__ import annotations

import numpy as np

__all__ = ["generalized_inverse", "inverse_if_definite"]

# Smallest eigenvalue, diagonal one, of a direction about which there is information.
IDENTIFIED = 1e-10


def inverse_if_definite(information: np.ndarray) -> np.ndarray | None:
    """The inverse of a positive definite information; None if it is not."""
    if not (np.diag(information) > 0).all():
        return None
    inverse, complete = generalized_inverse(information)
    return inverse if complete else None


def generalized_inverse(information: np.ndarray) -> tuple[np.ndarray, bool]:
    """An inverse on the directions about which there is information.

    Returns
    -------
    inverse : ndarray
        Zero along the other directions.
    complete : bool
        Whether there are none.
    """
    size = np.diag(information)
    size = np.sqrt(np.where(size > 0, size, 1.0))
    value, vector = np.linalg.eigh(information / np.outer(size, size))
    good = value > IDENTIFIED
    vector = vector[:, good] / size[:, None]
    return vector / value[good] @ vector.T, bool(good.all())
