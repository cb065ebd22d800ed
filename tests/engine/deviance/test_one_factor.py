"""One grouping factor: sums over levels against the blocked factor; pooled levels."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import exact
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mixedext.kernels.rows.pooling import classify_levels

from mixedext.engine.deviance.one_factor import OneFactorDeviance
from mixedext.engine.deviance.profiled import FactorDeviance
from mixedext.engine.fit import fit_design
from mixedext.engine.rows import levels
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.rows.levels import LevelSums
from mixedext.specification.terms.random_terms import RandomTerm

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
    """Equal to rounding, which the blocked factor estimates (0.1 of it is met in fact).

    Where W comes from the rows (here: hardly fewer effects than rows), what the levels add
    is as accurate as their columns are independent.
    """
    plain = FactorDeviance(design.blocks, design.structures, reml)
    ours = OneFactorDeviance(design.blocks, design.structures, reml)
    want = plain.value(theta)
    lost = 0.1 * plain.noise
    if not design.blocks.within.square:
        lost += 2e-11 * design.blocks.nobs
    assert ours.value(theta) == pytest.approx(want, rel=1e-12, abs=1e-10 + lost)
    assert ours.residual_square == pytest.approx(plain.residual_square, rel=1e-10 + lost)
    np.testing.assert_allclose(ours.coefficients(), plain.coefficients(), atol=1e-8 + lost)
    # The blocked factor inverts Sigma, which costs it cond(lam)^2 roundings.
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
    # Where all effects outnumber the rows the blocked factor is left with rounding; the
    # test in exact arithmetic below has such designs.
    assume(n_levels * sum(k for k, _ in kinds) + 1 + n_fixed < n)
    design = one_factor_design(seed, n, kinds, n_levels, n_fixed)
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=sum(s.n_theta for s in design.structures))
    if boundary:
        theta[rng.integers(len(theta))] = 0.0
    compare(design, theta, reml)


def exactly(design, rows, theta, reml):
    """The design at theta in 80 digits, and the objective there."""
    y, x, terms, weights = rows
    (structure,) = design.structures
    objective = design.objective(reml)
    want = exact.one_factor(
        *exact.engine_rows(design, y, x, terms, weights),
        terms[0].codes,
        structure.lam(theta),
        structure.lam_basis,
        reml,
    )
    return objective, want


# Always the same examples: of designs that leave the variance next to no degree of freedom
# 1 % lose more digits than ``lost_share`` says.
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(10, 24),
    k=st.integers(1, 3),
    n_levels=st.integers(3, 9),
    n_fixed=st.integers(0, 2),
    residual=st.sampled_from([1.0, 1e-3, 1e-5, 1e-7]),
    size=st.sampled_from([0.0, 1e-8, 1e-3, 1.0, 1e3, 1e5, 1e8]),
    singular=st.booleans(),
    weighted=st.booleans(),
    reml=st.booleans(),
)
def test_any_variance_ratio(
    seed, n, k, n_levels, n_fixed, residual, size, singular, weighted, reml
):
    """Levels with fewer rows than columns, singular lam: all against exact arithmetic.

    Covariates are whole numbers so that a level's columns are dependent or far from it.
    """
    rng = np.random.default_rng(seed)
    codes = np.append(np.arange(2), rng.integers(0, n_levels, n - 2))
    codes = np.unique(codes, return_inverse=True)[1]
    x = np.column_stack([np.ones(n), rng.normal(size=(n, n_fixed))])
    z = rng.integers(-3, 4, (n, k)).astype(float)
    z[:, 0] = 1.0
    weights = rng.choice([0.5, 1.0, 2.0], n) if weighted else None
    y = 3 + (z * rng.normal(size=(n_levels, k))[codes]).sum(axis=1)
    y += residual * (rng.normal(size=n) + x[:, 1:].sum(axis=1))
    terms = [RandomTerm(codes, z, group="g")]
    design = prepare_design(y, x, terms, weights)
    (structure,) = design.structures
    lam = size * np.tril(rng.normal(size=(k, k)))
    if singular:
        lam[:, rng.integers(k)] = 0.0
    theta = structure.theta(lam)
    objective, want = exactly(design, (y, x, terms, weights), theta, reml)
    share = lost_share(design, want)
    assert abs(objective.value(theta) - want.deviance) <= n * share
    assert abs(np.log(objective.residual_square / want.residual_square)) <= share
    found = objective.derivatives(theta)
    scale = want.score_terms * share
    np.testing.assert_allclose(found.scores[0], want.score, rtol=0, atol=scale)
    np.testing.assert_allclose(
        found.gradient, want.gradient, rtol=0, atol=2 * k * scale * (size * 4)
    )
    bend = 2 * k * scale + share * np.abs(want.hessian).max()
    if not singular:  # else theta's own rounding is the larger error
        np.testing.assert_allclose(found.hessian, want.hessian, rtol=0, atol=bend)
    np.testing.assert_allclose(
        objective.effects()[0],
        want.effects,
        rtol=0,
        atol=share * np.abs(want.effects).max(),
    )
    np.testing.assert_allclose(
        objective.conditional_covariance(0),
        want.covariances,
        rtol=0,
        atol=1e-9 * np.abs(want.covariances).max(),
    )


def lost_share(design, want):
    """What rounding of the cross-products, and of y within levels, amounts to."""
    square = want.residual_square
    loss = max(1.0, square**-0.5, design.blocks.within.square / square)
    return 1e-13 * worst_condition(design) * loss


def worst_condition(design):
    """Of the Z_l'Z_l, apart from columns that depend on others."""
    value = np.linalg.eigvalsh(design.blocks.lead_gram)
    least = np.where(value > 1e-12 * value[:, -1:], value, np.inf).min(axis=1)
    return float((value[:, -1] / least).max())


@pytest.mark.parametrize("residual", [1e-5, 1e-7])
@pytest.mark.parametrize("reml", [True, False])
def test_results_where_levels_vary_far_more_than_residuals(residual, reml):
    """sigma^2, beta, its covariance, deviance and effects of a fit with slopes."""
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(10), [5, 1, 4, 2, 3, 5, 1, 2, 4, 3])
    n = len(codes)
    x = np.column_stack([np.ones(n), rng.integers(0, 5, n)]).astype(float)
    x[codes == 3, 1] = 2.0  # a level with one value
    y = x @ [2.0, 1.0] + (x * rng.normal(size=(10, 2))[codes]).sum(axis=1)
    y += residual * rng.normal(size=n)
    terms = [RandomTerm(codes, x, group="g")]
    design = prepare_design(y, x, terms)
    fit = fit_design(design, reml)
    assert fit.convergence.converged
    theta = fit.optimum.theta
    _, want = exactly(design, (y, x, terms, None), theta, reml)
    share = 1e-15 / residual  # that y is rounded alone moves its residuals by as much
    assert abs(fit.optimum.deviance - want.deviance) <= n * share
    inner = fit.scale / design.y_scale**2 * fit.objective.dof
    assert inner == pytest.approx(want.residual_square, rel=share)
    got = np.concatenate(fit._inner_effects, axis=1)
    np.testing.assert_allclose(got, want.effects, rtol=0, atol=1e-13)
    np.testing.assert_allclose(fit.objective.coefficients(), want.coefficients, atol=1e-13)


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
    whole = LevelSums(blocks.lead_gram, blocks.lead_cross)
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
