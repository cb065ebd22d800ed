"""Rows of Z, their sums, the factor of M and the roots of covariances, beside matrices."""

import numpy as np
import pytest
from helpers.random_layouts import design_of_layout, layouts

from mixedext.engine.generalized.effect_roots import EffectRoots
from mixedext.engine.generalized.mode_factor import ModeFactor
from mixedext.engine.generalized.row_layout import WeightedBlocks

CASES = [
    (name, storage)
    for name in layouts()
    for storage in (None, "dense", "sparse")
    # the pattern of a small tail does not know a spread factor
    if not (storage == "sparse" and "spread" in name)
]


def _dense(blocks, values):
    """A symmetric matrix from values by block."""
    own = WeightedBlocks(blocks)
    lead, link, tail = own.parts(values)
    levels, width = lead.shape[:2]
    head = levels * width
    out = np.zeros((head + blocks.tail_size,) * 2)
    for level in range(levels):
        at = slice(level * width, (level + 1) * width)
        out[at, at] = lead[level]
        for t in range(blocks.link_pointers[level], blocks.link_pointers[level + 1]):
            out[head + blocks.link_index[t], at] = link[t]
    if blocks.pattern is None:
        out[head:, head:] = tail.reshape((blocks.tail_size,) * 2)
    else:
        first, row = blocks.pattern.pointers, blocks.pattern.rows
        out[head + row, head + np.repeat(np.arange(len(first) - 1), np.diff(first))] = tail
    out = np.tril(out)
    return out + np.tril(out, -1).T


def _lams(design, rng):
    """Triangles of every grouping factor, one of them singular where it has columns."""
    out = []
    for layout in design.blocks.factors:
        lam = np.tril(rng.normal(size=(layout.width,) * 2))
        out.append(lam)
    return out


def _case(name, storage):
    rng = np.random.default_rng(len(name))
    design = design_of_layout(name, storage)
    lams = _lams(design, rng)
    roots = EffectRoots(design.layout, lams)
    rows = design.layout.rows()
    rows.take(roots.padded)
    z = design.z.toarray()
    return rng, design, lams, roots, rows, z


def _big(design, matrices):
    """Block-diagonal matrix of the levels of every factor."""
    out = np.zeros((design.z.shape[1],) * 2)
    for at, matrix in zip(design.layout.level_columns, matrices, strict=True):
        for level in at:
            out[np.ix_(level, level)] = matrix
    return out


@pytest.mark.parametrize(("name", "storage"), CASES)
def test_roots_are_those_of_the_covariances(name, storage):
    rng, design, lams, roots, _, _ = _case(name, storage)
    lam = _big(design, lams)
    pairs = zip(roots.padded, lams, strict=True)
    root = _big(design, [p[: len(m), : len(m)] for p, m in pairs])
    np.testing.assert_allclose(root @ root.T, lam @ lam.T, atol=1e-13)
    u = rng.normal(size=len(lam))
    both = np.column_stack([u, 2 * u])
    np.testing.assert_allclose(roots.times(roots.turned(u)), lam @ u, atol=1e-13)
    np.testing.assert_allclose(roots.turned_back(roots.turned(u)), u, atol=1e-13)
    np.testing.assert_allclose(roots.times(both), root @ both, atol=1e-13)
    np.testing.assert_allclose(roots.transposed_times(both), root.T @ both, atol=1e-13)
    found = roots.divide_transposed(root.T @ both)
    np.testing.assert_allclose(found, both, rtol=1e-9, atol=1e-10)
    assert roots.invertible is None
    np.testing.assert_array_equal(roots.settled(u), u)


@pytest.mark.parametrize("name", layouts())
def test_roots_of_nothing_are_kept_from_zero(name):
    rng = np.random.default_rng(3)
    design = design_of_layout(name)
    lams = []
    for layout in design.blocks.factors:
        lam = np.tril(rng.normal(size=(layout.width,) * 2))
        lam[-1] = 0.0
        lams.append(lam)
    roots = EffectRoots(design.layout, lams)
    u = rng.normal(size=design.z.shape[1])
    lam = _big(design, lams)
    effect = roots.times(roots.settled(u))
    np.testing.assert_allclose(
        effect, lam @ roots.turned_back(roots.settled(u)), atol=1e-14
    )
    for at, padded, given in zip(
        design.layout.level_columns, roots.padded, lams, strict=True
    ):
        size = np.linalg.svd(padded[: len(given), : len(given)], compute_uv=False)
        assert size[-1] == pytest.approx(1e-8)
        assert not roots.invertible[at].any()
        # along what has no variance there is no effect
        assert (np.abs(effect[at][:, -1]) < 1e-15).all()


@pytest.mark.parametrize(("name", "storage"), CASES)
def test_sums_over_rows(name, storage):
    rng, design, _, roots, rows, z = _case(name, storage)
    n, q = z.shape
    a = roots.transposed_times(z.T).T
    u, v = rng.normal(size=q), rng.normal(size=n)
    weights = rng.uniform(0.2, 2.0, n)
    np.testing.assert_allclose(rows.predict(u, False), z @ u, atol=1e-12)
    np.testing.assert_allclose(rows.predict(u, True), a @ u, atol=1e-12)
    np.testing.assert_allclose(rows.project(v, False), z.T @ v, atol=1e-12)
    np.testing.assert_allclose(rows.project(v, True), a.T @ v, atol=1e-12)
    blocks = WeightedBlocks(design.blocks)
    for scaled, own in ((True, a), (False, z)):
        blocks.fill(rows, weights, scaled)
        found = _dense(design.blocks, blocks.values)
        np.testing.assert_allclose(found, own.T @ (weights[:, None] * own), atol=1e-11)
    directions = rng.normal(size=(q, 2))
    out = np.full((q, 2 + design.rank + 1), 7.0)
    rows.crosses(weights, design.x, directions, out)
    whole = np.column_stack([design.x, z @ directions])
    expected = z.T @ (weights[:, None] * whole)
    np.testing.assert_allclose(out[:, :-1], expected, atol=1e-11)
    assert (out[:, -1] == 7.0).all()


@pytest.mark.parametrize(("name", "storage"), CASES)
def test_factor_and_quadratic_forms(name, storage):
    rng, design, lams, roots, rows, z = _case(name, storage)
    n, q = z.shape
    a = roots.transposed_times(z.T).T
    weights = rng.uniform(0.2, 2.0, n)
    whole = a.T @ (weights[:, None] * a) + np.eye(q)
    inverse = np.linalg.inv(whole)
    factor = ModeFactor(WeightedBlocks(design.blocks))
    for _ in range(2):  # nothing of a former factor is left
        factor.blocks.fill(rows, weights * rng.uniform(0.5, 2, n))
        assert factor.update()
        factor.inverse()
        factor.blocks.fill(rows, weights)
        assert factor.update()
        assert factor.log_det == pytest.approx(np.linalg.slogdet(whole)[1], rel=1e-13)
        right = rng.normal(size=(q, 3))
        np.testing.assert_allclose(factor.solve(right), inverse @ right, atol=1e-11)
        np.testing.assert_allclose(
            factor.solve(right[:, 0]), inverse @ right[:, 0], atol=1e-11
        )
        found = factor.inverse()
        variance, sums = np.empty(n), np.empty_like(roots.padded)
        rows.forms(found, weights, variance, sums)
        np.testing.assert_allclose(
            variance, np.einsum("iq,qr,ir->i", a, inverse, a), rtol=1e-11, atol=1e-12
        )
        spread = z.T @ (weights[:, None] * (a @ inverse))
        for f, at in enumerate(design.layout.level_columns):
            k = len(lams[f])
            expected = sum(spread[np.ix_(level, level)] for level in at)
            np.testing.assert_allclose(sums[f, :k, :k], expected, rtol=1e-9, atol=1e-10)
        # N_V, from N_V Lam
        gram = z.T @ (weights[:, None] * z)
        rest = gram - spread @ roots.transposed_times(gram)
        for at, curvature in zip(
            design.layout.level_columns, roots.divided_sums(sums), strict=True
        ):
            expected = sum(rest[np.ix_(level, level)] for level in at)
            np.testing.assert_allclose(curvature, expected, rtol=1e-7, atol=1e-8)


def test_a_matrix_that_is_not_definite_is_said_to_be_none():
    for name in ("one", "crossed", "slopes"):
        _, design, _, _, rows, z = _case(name, None)
        factor = ModeFactor(WeightedBlocks(design.blocks))
        factor.blocks.fill(rows, np.full(len(z), -50.0))
        assert not factor.update()
