"""One grouping factor: sums over levels against the blocked factor; pooled levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixedext.engine.kernels.levels import classify_levels

from mixedext.engine import levels
from mixedext.engine.design import prepare_design
from mixedext.engine.fit import fit_design
from mixedext.engine.levels import LevelSums
from mixedext.engine.objective import FactorDeviance
from mixedext.engine.one_factor import OneFactorDeviance
from mixedext.specification.terms import RandomTerm

STRUCTURES = ("unstructured", "diagonal", "identity")


def one_factor_design(seed, n, kinds, n_levels, n_fixed):
    """A design with one grouping factor; kinds: (columns, structure) of each term."""
    rng = np.random.default_rng(seed)
    codes = np.append(np.arange(2), rng.integers(0, n_levels, n - 2))
    codes = np.unique(codes, return_inverse=True)[1]
    x = np.column_stack([np.ones(n), rng.normal(size=(n, n_fixed))])
    terms = []
    for k, which in kinds:
        z = rng.normal(size=(n, k))
        z[:, 0] = 1.0
        terms.append(RandomTerm(codes, z, structure=STRUCTURES[which], group="g"))
    y = 3.0 + rng.normal(size=n) * rng.uniform(0.5, 20)
    return prepare_design(y, x, terms, rng.uniform(0.2, 3.0, n))


def compare(design, theta, reml):
    """Equal to rounding, which both estimate by ``noise`` (0.1 of it is met in fact)."""
    plain = FactorDeviance(design.blocks, design.structures, reml)
    ours = OneFactorDeviance(design.blocks, design.structures, reml)
    want = plain.value(theta)
    lost = 0.1 * plain.noise
    assert ours.value(theta) == pytest.approx(want, rel=1e-12, abs=1e-10 + lost)
    assert ours.noise == pytest.approx(plain.noise, rel=1e-3)
    assert ours.residual_square == pytest.approx(plain.residual_square, rel=1e-10 + lost)
    np.testing.assert_allclose(ours.coefficients(), plain.coefficients(), atol=1e-8 + lost)
    # The blocked factor inverts Sigma (ours: lam), which costs it cond(lam)^2 roundings.
    condition = max(np.linalg.cond(lam) for lam in plain.lams(theta))
    tight = 1e-10 + lost + 1e-15 * min(condition, 1e4) ** 2
    want, got = plain.derivatives(theta), ours.derivatives(theta)
    for name in ("gradient", "hessian", "information"):
        one, other = getattr(want, name), getattr(got, name)
        np.testing.assert_allclose(other, one, atol=tight * (1 + np.abs(one).max()))
    for one, other in zip(want.scores, got.scores, strict=True):
        np.testing.assert_allclose(other, one, atol=tight * (1 + np.abs(one).max()))


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(12, 80),
    kinds=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=3),
    n_levels=st.integers(3, 30),
    n_fixed=st.integers(0, 4),
    reml=st.booleans(),
    boundary=st.booleans(),
)
def test_against_the_blocked_factor(seed, n, kinds, n_levels, n_fixed, reml, boundary):
    design = one_factor_design(seed, n, kinds, n_levels, n_fixed)
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=sum(s.n_theta for s in design.structures))
    if boundary:
        theta[rng.integers(len(theta))] = 0.0
    compare(design, theta, reml)


@pytest.mark.parametrize("size", [1e-9, 1e-4, 1e3, 1e6])
def test_extreme_variances(size):
    """Value and derivatives where one variance dwarfs the other."""
    design = one_factor_design(5, 60, [(2, 0)], 8, 1)
    compare(design, size * np.array([1.0, 0.3, 0.7]), True)


def test_many_levels_and_blocks():
    design = one_factor_design(7, 9000, [(2, 0), (1, 0)], 2500, 2)
    compare(design, np.array([0.8, -0.3, 0.5, 0.9]), True)


@pytest.mark.parametrize("reml", [True, False])
def test_pooled_levels(reml):
    """Three kinds of levels, 300 of each: the same numbers from a few pseudo-levels."""
    rng = np.random.default_rng(2)
    day = [np.arange(5.0), np.arange(7.0), np.arange(3.0)] * 300
    x = np.concatenate(day)
    g = np.repeat(np.arange(len(day)), [len(d) for d in day])
    x = np.column_stack([np.ones(len(x)), x, rng.normal(size=len(g))])
    y = x @ [1.0, 2.0, 0.5] + (x[:, :2] * rng.normal(size=(900, 2))[g]).sum(axis=1)
    y += rng.normal(size=len(y))
    design = prepare_design(y, x, [RandomTerm(g, x[:, :2])])
    assert len(design.level_sums.gram) <= 3 * 8
    assert design.level_sums.weight.sum() == 900
    blocks = design.blocks
    whole = LevelSums(blocks.lead_gram, blocks.lead_cross, None)
    theta = np.array([0.7, 0.2, 0.4])
    pooled = OneFactorDeviance(blocks, design.structures, reml)
    plain = OneFactorDeviance(blocks, design.structures, reml, whole)
    assert pooled.value(theta) == pytest.approx(plain.value(theta), rel=1e-13)
    one, other = pooled.derivatives(theta), plain.derivatives(theta)
    np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.hessian, other.hessian, rtol=1e-10)
    np.testing.assert_allclose(one.information, other.information, rtol=1e-9)
    fit = fit_design(design, reml)
    assert fit.convergence.converged
    np.testing.assert_allclose(fit.effects[0].shape, (900, 2))


def test_classes_of_levels():
    gram = np.array([[[1.0]], [[2.0]], [[1.0 + 1e-16]], [[3.0]], [[2.0]]])
    label, first = classify_levels(gram, 3)
    np.testing.assert_array_equal(label, [0, 1, 0, 2, 1])
    np.testing.assert_array_equal(first, [0, 1, 3])
    assert classify_levels(gram, 2) is None
    # equal diagonals do not make a class
    two = np.array([[[1.0, 0.1], [0.1, 1.0]], [[1.0, 0.2], [0.2, 1.0]]])
    np.testing.assert_array_equal(classify_levels(two, 2)[0], [0, 1])


def test_pooling_is_left_where_it_does_not_pay():
    design = one_factor_design(1, 400, [(1, 0)], 100, 2)
    assert design.level_sums.weight is None
    assert levels.LEAST_LEVELS <= 100
