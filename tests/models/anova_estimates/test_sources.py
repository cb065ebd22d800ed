"""Designs that have no analysis of variance, and the order of their sources."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixedext.exceptions import DesignError
from mixedext.models.anova_estimates.estimates import anova_table
from mixedext.models.anova_estimates.sources import sources_of
from tests.models.anova_estimates.test_estimates import (
    compare,
    dense_sequence,
    nested_design,
)


def test_projections_are_orthogonal_and_complete():
    rng = np.random.default_rng(3)
    outer = np.repeat(np.arange(4), [3, 5, 4, 6])
    inner = np.r_[0, 0, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 7, 8, 8, 8]
    columns = [np.ones((18, 1)), rng.normal(size=(18, 2)) + 1e3]
    fixed = list(zip(["Intercept", "x"], columns, strict=True))
    design = sources_of(18, fixed, [("b", inner, 9), ("a", outer, 4)])
    assert [s.name for s in design.shown] == ["x", "a", "b", "residual"]
    every = [*design.fixed, *design.factors, design.residual]
    q = [np.array([s.project(e) for e in np.eye(18)]) for s in every]
    assert_allclose(sum(q), np.eye(18), atol=1e-12)
    for i, source in enumerate(every):
        assert_allclose(np.trace(q[i]), source.df, atol=1e-10)
        for j in range(len(every)):
            assert_allclose(q[i] @ q[j], q[i] if i == j else 0 * q[i], atol=1e-11)
        for other in design.factors:
            z = np.eye(other.factor.n_levels)[other.factor.codes]
            want = np.trace(q[i] @ z @ z.T)
            assert_allclose(source.trace(other.factor), want, atol=1e-11)


def test_fixed_term_in_the_span_of_those_before_it():
    rng = np.random.default_rng(8)
    y, fixed, factors = nested_design(rng, 6, 4, 3)
    twice = [
        *fixed,
        ("again", 3 * fixed[1][1] - fixed[2][1]),
        ("one", np.full_like(fixed[0][1], 0.1)),
    ]
    table, other = anova_table(y, fixed, factors), anova_table(y, twice, factors)
    assert other.sources == table.sources
    assert_allclose(other.sum_sq, table.sum_sq, rtol=1e-12)


def test_crossed_unbalanced_designs_are_refused():
    rng = np.random.default_rng(9)
    first, second = (m.ravel() for m in np.indices((4, 5)))
    keep = rng.permutation(20)[:16]
    factors = [("a", first[keep], 4), ("b", second[keep], 5)]
    fixed = [("Intercept", np.ones((16, 1)))]
    with pytest.raises(DesignError, match="'a' and 'b' are crossed"):
        anova_table(rng.normal(size=16), fixed, factors)


def test_interactions_without_the_factor_that_they_share_are_refused():
    a, b, c = (m.ravel() for m in np.indices((3, 4, 4)))
    factors = [("a:b", a * 4 + b, 12), ("a:c", a * 4 + c, 12)]
    fixed = [("Intercept", np.ones((48, 1)))]
    y = np.random.default_rng(10).normal(size=48)
    with pytest.raises(DesignError, match="'a:b' and 'a:c'"):
        anova_table(y, fixed, factors)
    table = anova_table(y, fixed, [("a", a, 3), *factors])
    compare(table, dense_sequence(y, fixed, [("a", a, 3), *factors]))


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([("g", np.arange(12), 12)], "residual"),
        ([("g", np.repeat([0, 1], 6), 2)], "'g' has no degrees of freedom"),
        ([("g", np.zeros(12, int), 1)], "'g' has no degrees of freedom"),
        (
            [("g", np.repeat(np.arange(4), 3), 4), ("h", np.repeat([3, 2, 1, 0], 3), 4)],
            "alike",
        ),
    ],
)
def test_designs_without_degrees_of_freedom(factors, message):
    fixed = [("Intercept", np.ones((12, 1))), ("t", np.repeat([[0.0], [1.0]], 6, axis=0))]
    y = np.random.default_rng(12).normal(size=12)
    with pytest.raises(DesignError, match=message):
        anova_table(y, fixed, factors)


def test_one_missing_row_is_enough_to_refuse():
    first, second = (m.ravel()[1:] for m in np.indices((300, 300)))
    y = np.random.default_rng(13).normal(size=len(first))
    fixed = [("Intercept", np.ones((len(first), 1)))]
    with pytest.raises(DesignError, match="crossed"):
        anova_table(y, fixed, [("a", first, 300), ("b", second, 300)])
