"""Sums over patterns of visits against sums over their groups, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from mixedext.kernels.covariance.visit_patterns import (
    add_products,
    factor_rows,
    factor_sums,
    moments_of_rows,
    moments_of_sums,
    rows_on_basis,
)
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


def packed(matrices):
    """Elements a >= b of symmetric matrices."""
    return matrices[(..., *np.tril_indices(matrices.shape[-1]))]


def whole(own):
    """One V of all visits, and that of every pattern."""
    root = np.random.default_rng(7).standard_normal((M, M + 2))
    v = root @ root.T
    return v, [v[np.ix_(visits, visits)] for visits in own.visits]


def near(found, wanted, size=None):
    size = np.abs(wanted).max(initial=0.0) if size is None else size
    assert_allclose(found, wanted, rtol=1e-9, atol=1e-12 * size)


def summed(own):
    """Patterns by size with their cross-products, made symmetric, and their numbers."""
    for s in np.unique(own.sizes):
        numbers = np.flatnonzero(own.sizes == s)
        products = []
        for number in numbers:
            c = own.columns[number]
            first, second = np.tril_indices(s)
            part = np.einsum("pig,pjg->pij", c[first], c[second])
            part = (part + part.transpose(0, 2, 1)) / 2
            products.append(part.reshape(len(part), -1))
        yield numbers, np.array([own.visits[i] for i in numbers]), np.array(products)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_factors(width):
    own = Patterns(width, width)
    v, own.v = whole(own)
    before = np.random.default_rng(1).standard_normal((width, width))
    before += before.T
    wanted = before + sum(c.T @ np.linalg.solve(a, c) for _, _, a, c in own.groups())
    log_det = sum(np.linalg.slogdet(a)[1] for _, _, a, _ in own.groups())

    cross, inverses = before.copy(), np.full((own.sizes**2).sum(), np.nan)
    found = factor_rows(
        v,
        flat(own.columns),
        own.sizes,
        own.counts,
        flat(own.visits).astype(np.intp),
        inverses=inverses,
        cross=cross,
        work=np.full(max(c.size for c in own.columns), np.nan),
    )
    near(found, log_det)
    near(cross, wanted)
    near(inverses, flat([np.linalg.inv(a) for a in own.v]))

    cross, found = before.copy(), 0.0
    for numbers, visits, products in summed(own):
        s = visits.shape[1]
        inverses = np.full((len(numbers), s, s), np.nan)
        found += factor_sums(
            v,
            visits,
            own.counts[numbers].astype(float),
            products,
            inverses=inverses,
            cross=cross,
            work=np.full(s * (s + 1) // 2, np.nan),
        )
        near(inverses, np.array([np.linalg.inv(own.v[i]) for i in numbers]))
    near(found, log_det)
    near(cross, wanted)


def test_what_is_not_definite_has_no_determinant():
    own = Patterns(3, 2)
    v, _ = whole(own)
    v[4, 4] = -1.0
    cross, work = np.zeros((2, 2)), np.empty(1000)
    given = v, flat(own.columns), own.sizes, own.counts, flat(own.visits).astype(np.intp)
    inverses = np.empty((own.sizes**2).sum())
    assert np.isnan(factor_rows(*given, inverses=inverses, cross=cross, work=work))
    dets = []
    for numbers, visits, products in summed(own):
        inverses = np.empty((len(numbers), *2 * visits.shape[1:]))
        counts = own.counts[numbers].astype(float)
        known = {"inverses": inverses, "cross": cross, "work": work}
        dets.append(factor_sums(v, visits, counts, products, **known))
    assert np.isnan(dets).tolist() == [True, False, True, True]


@pytest.mark.parametrize("with_fixed", [True, False])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_moments(width, with_fixed):
    own, p = Patterns(10 + width, width), width - 1
    on_x = own.change[:, :p]
    wanted, wanted_mixed = np.zeros((3, len(own), M, M)), np.zeros((M, M, p))
    for number, visits, v, columns in own.groups():
        solved = np.linalg.solve(v, columns) @ own.change
        x, e = solved[:, :p], solved[:, p]
        at = np.ix_(visits, visits)
        wanted[0, number][at] = np.linalg.inv(v)
        wanted[1, number][at] += x @ x.T
        wanted[2, number][at] += np.outer(e, e)
        across = x[:, None] * e[:, None]
        wanted_mixed[at] += across + across.transpose(1, 0, 2)
    if not with_fixed:
        wanted[1] = 0.0
    wanted = packed(wanted)
    wanted_mixed = wanted_mixed[np.tril_indices(M)]
    size = np.abs(wanted_mixed).max(initial=1.0)

    pairs = M * (M + 1) // 2
    before = np.random.default_rng(2).standard_normal((pairs, p))
    mixed, found = before.copy(), np.zeros((3, len(own), pairs))
    outputs = dict(zip(("inverse", "fixed", "residual"), found, strict=True))
    sizes = [2 * c.size + width * len(c) ** 2 for c in own.columns]
    moments_of_rows(
        flat(own.columns),
        own.sizes,
        own.counts,
        flat(own.visits).astype(np.intp),
        flat([np.linalg.inv(v) for v in own.v]),
        own.change,
        with_fixed,
        mixed=mixed,
        work=np.full(max(sizes), np.nan),
        **outputs,
    )
    for one, other in zip(found, wanted, strict=True):
        near(one, other)
    near(mixed, before + wanted_mixed, size)

    before = np.random.default_rng(3).standard_normal((pairs, width))
    mixed, found = before.copy(), np.zeros((3, len(own), pairs))
    for numbers, visits, products in summed(own):
        s, part = visits.shape[1], np.zeros((3, len(numbers), pairs))
        outputs = dict(zip(("inverse", "fixed", "residual"), part, strict=True))
        count = width * (width + 1) + s * (s + 1) // 2 * (width + 1)
        moments_of_sums(
            visits,
            products,
            np.array([np.linalg.inv(own.v[i]) for i in numbers]),
            own.change,
            with_fixed,
            mixed=mixed,
            work=np.full(count + 2 * s * s * (width + 1), np.nan),
            **outputs,
        )
        found[:, numbers] = part
    for one, other in zip(found, wanted, strict=True):
        near(one, other)
    near(2 * (mixed - before) @ on_x, wanted_mixed, size)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("weighted", [True, False])
def test_rows_on_basis(order, weighted):
    rng = np.random.default_rng(5)
    x, y = np.asarray(rng.standard_normal((40, 5)), order=order), rng.standard_normal(40)
    kept, change = np.array([0, 1, 4]), np.triu(rng.standard_normal((4, 4)))
    root = rng.random(40) if weighted else np.zeros(0)
    rows, out = rng.integers(0, 40, 100), np.full((100, 4), np.nan)
    rows_on_basis(x, y, root, kept, change, rows, out)
    wanted = np.column_stack([x[:, kept], y]) @ change
    if weighted:
        wanted *= root[:, None]
    near(out, wanted[rows])


def test_add_products():
    own = Patterns(4, 3)
    for numbers, visits, products in summed(own):
        s = visits.shape[1]
        rows = [own.columns[i].transpose(2, 0, 1).reshape(-1, 3 * s) for i in numbers]
        counts = own.counts[numbers]
        place = np.repeat(np.arange(len(numbers)), counts)
        found = np.ones_like(products)
        work = np.full((3 * s, 3 * s), np.nan)
        add_products(np.ascontiguousarray(np.concatenate(rows)), place, found, work)
        near(found, products + 1)
