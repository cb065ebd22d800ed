"""Eigenvectors as another LAPACK might give them: other signs, and other turns of ties."""

from __future__ import annotations

import numpy as np

_eigh = np.linalg.eigh


def turned_eigh(seed=0):
    """``numpy.linalg.eigh`` with signs and turns of its own."""
    rng = np.random.default_rng(seed)

    def turned(own, columns):
        out = columns.copy()
        gap = np.diff(own) > 1e-10 * max(np.abs(own).max(initial=0.0), 1e-300)
        for at in np.split(np.arange(len(own)), np.flatnonzero(gap) + 1):
            turn, _ = np.linalg.qr(rng.normal(size=(len(at), len(at))))
            out[:, at] = columns[:, at] @ turn * rng.choice([-1.0, 1.0], len(at))
        return out

    def eigh(matrix, *args, **kwds):
        value, vector = _eigh(matrix, *args, **kwds)
        if vector.ndim == 2:
            return value, turned(value, vector)
        pairs = zip(value, vector, strict=True)
        return value, np.array([turned(own, columns) for own, columns in pairs])

    return eigh
