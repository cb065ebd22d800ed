"""Sums over patterns of visits against sums over their groups, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from mixedext.kernels.covariance.visit_patterns import pattern_moments, whitened_squares
from numpy.testing import assert_allclose

M = 5  # visits


class Patterns:
    """Patterns of visits, of many groups and of fewer than they have visits."""

    def __init__(self, seed, width):
        rng = np.random.default_rng(seed)
        self.visits = [np.arange(M), np.array([0, 3]), np.array([4]), np.array([1, 2, 4])]
        self.counts = np.array([2, 7, 1, 3], np.intp)
        self.columns = [
            rng.standard_normal((len(v), width, g))
            for v, g in zip(self.visits, self.counts, strict=True)
        ]
        self.v = []
        for visits in self.visits:
            root = rng.standard_normal((len(visits), len(visits) + 2))
            self.v.append(root @ root.T)
        self.sizes = np.array([len(v) for v in self.visits], np.intp)
        self.change = rng.standard_normal((width, width))

    def groups(self):
        """Number of the pattern, its visits, its V and the rows of one group."""
        parts = zip(self.visits, self.v, self.columns, strict=True)
        for number, (visits, v, columns) in enumerate(parts):
            for g in range(columns.shape[2]):
                yield number, visits, v, columns[:, :, g]

    def __len__(self):
        return len(self.visits)


def flat(arrays):
    return np.concatenate([np.ravel(a) for a in arrays])


@pytest.mark.parametrize("width", [1, 2, 4])
def test_whitened_squares(width):
    own = Patterns(width, width)
    roots = [np.linalg.inv(np.linalg.cholesky(v)) for v in own.v]
    before = np.random.default_rng(1).standard_normal((width, width))
    before += before.T
    cross = before.copy()
    work = np.full(max(c.size for c in own.columns), np.nan)
    whitened_squares(flat(own.columns), own.sizes, own.counts, flat(roots), cross, work)
    wanted = before + sum(c.T @ np.linalg.solve(v, c) for _, _, v, c in own.groups())
    assert_allclose(cross, wanted, rtol=1e-10, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("with_fixed", [True, False])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_pattern_moments(width, with_fixed):
    own, p = Patterns(10 + width, width), width - 1
    inverse, fixed, residual = np.zeros((3, len(own), M, M))
    before = np.random.default_rng(2).standard_normal((M, p, M))
    mixed = before.copy()
    sizes = [2 * c.size + width * len(c) ** 2 for c in own.columns]
    pattern_moments(
        flat(own.columns),
        own.sizes,
        own.counts,
        flat(own.visits).astype(np.intp),
        flat([np.linalg.inv(v) for v in own.v]),
        own.change,
        with_fixed,
        inverse=inverse,
        fixed=fixed,
        residual=residual,
        mixed=mixed,
        work=np.full(max(sizes), np.nan),
    )
    wanted = np.zeros((3, len(own), M, M))
    wanted_mixed = before.copy()
    for number, visits, v, columns in own.groups():
        solved = np.linalg.solve(v, columns) @ own.change
        x, e = solved[:, :p], solved[:, p]
        at = np.ix_(visits, visits)
        wanted[0, number][at] = np.linalg.inv(v)
        wanted[1, number][at] += x @ x.T
        wanted[2, number][at] += np.outer(e, e)
        for j in range(p):
            wanted_mixed[visits[:, None], j, visits] += np.outer(x[:, j], e)
    for found, expected in zip((inverse, residual), wanted[[0, 2]], strict=True):
        assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())
    expected = wanted[1] if with_fixed else np.zeros_like(fixed)
    assert_allclose(fixed, expected, rtol=1e-9, atol=1e-12 * np.abs(wanted[1]).max())
    size = np.abs(wanted_mixed).max(initial=1.0)
    assert_allclose(mixed, wanted_mixed, rtol=1e-9, atol=1e-12 * size)
