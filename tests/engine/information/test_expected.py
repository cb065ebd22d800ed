"""Products, traces and information against dense n x n algebra."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.dense_inference import assert_near, check_information
from helpers.designs import design_arguments, random_design
from hypothesis import given, settings
from hypothesis import strategies as st
from mixedext.kernels.deviance.expected import reduced_products

from mixedext.algebra.inverses import generalized_inverse, inverse_if_definite
from mixedext.engine.fit import evaluate_design
from mixedext.engine.information import directions
from mixedext.engine.information.expected import variance_information
from mixedext.engine.information.observed import _inverse
from mixedext.engine.rows.design import prepare_design
from mixedext.specification.terms.random_terms import RandomTerm


@settings(max_examples=150, deadline=None)
@given(**design_arguments, reml=st.booleans(), storage=st.sampled_from(["dense", "sparse"]))
def test_any_design(reml, storage, **design):
    rows = random_design(**design)
    fit = rows.at_theta(reml, storage)
    check_information(fit, rows)


@settings(max_examples=40, deadline=None)
@given(**design_arguments)
def test_levels_in_slabs(**design):
    rows = random_design(**design)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directions, "SLAB_SIZE", 40)
        check_information(rows.at_theta(True), rows)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1e3, 1e5])
def test_small_and_large_variances(size):
    rows = random_design(5, 60, [(2, 0)], False, False, False, False)
    rows.theta = size * np.array([1.0, 0.3, 0.7])
    # the dense inverse of V itself has a relative error of about its condition
    check_information(rows.at_theta(True), rows, 1e-10 * max(1.0, size**2 / 1e2))


@pytest.mark.parametrize("size", [1e3, 1e6, 1e9])
def test_products_of_a_level_where_one_variance_dwarfs_the_other(size):
    """By the other column projected on, with what a variance of 1 / size^2 leaves."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(5, 6, 2))
    gram, lam = z.transpose(0, 2, 1) @ z, np.diag([0.0, size])
    root, inner = np.empty((2, 5, 2, 2))
    reduced_products(gram, np.empty((5, 2, 0)), lam, root, inner, np.empty((5, 2, 0)))
    own, mixed, other = gram[:, 0, 0], gram[:, 0, 1], gram[:, 1, 1]
    left = 1 / (1 / other + size**2)
    np.testing.assert_allclose(inner[:, 1, 1], left, rtol=1e-12)
    np.testing.assert_allclose(
        inner[:, 0, 0], own - mixed**2 / other * (1 - left / other), rtol=1e-10
    )
    scale = np.sqrt(inner[:, 0, 0] * left)
    assert (abs(inner[:, 0, 1] - mixed * left / other) < 1e-15 * size * scale).all()


def test_scaling_of_columns_changes_nothing():
    rows = random_design(7, 60, [(2, 0), (1, 0)], False, False, False, False)
    info = variance_information(rows.at_theta(True))
    rows.y = 1e6 * rows.y
    rows.x = rows.x * np.logspace(-3, 3, rows.x.shape[1])
    again = variance_information(rows.at_theta(True))
    assert_near(again.traces, info.traces, 1e-11)
    assert_near(again.expected, info.expected, 1e-11)
    assert_near(again.average, info.average, 1e-9)


def test_levels_with_the_same_gram_are_pooled():
    rng = np.random.default_rng(1)
    rows = random_design(3, 40, [(1, 0)], False, False, False, False)
    codes = np.repeat(np.arange(100), 3)
    n = len(codes)
    rows.x = np.column_stack([np.ones(n), rng.normal(size=n)])
    rows.y = rng.normal(size=n) + rng.normal(size=100)[codes]
    rows.terms = [type(rows.terms[0])(codes, group="g")]
    rows.theta = np.array([0.8])
    fit = rows.at_theta(True)
    assert fit.design.level_sums.weight is not None
    check_information(fit, rows, 1e-11)


def test_is_computed_once():
    rows = random_design(3, 40, [(1, 0)], False, False, False, False)
    fit = rows.at_theta(True)
    assert variance_information(fit) is variance_information(fit)
    assert variance_information(fit) is not variance_information(rows.at_theta(True))


@pytest.mark.parametrize("noise", [-1e-16, 1e-16])
def test_a_direction_that_the_fixed_effects_take_in(noise):
    """No information about the variance between groups where groups are fixed effects."""
    codes = np.repeat(np.arange(4), 3)
    x = np.eye(4)[codes]
    y = np.random.default_rng(1).normal(size=12)
    design = prepare_design(y, x, [RandomTerm(codes)])
    info = variance_information(evaluate_design(design, True, [0.5]))
    rounded = replace(info, second=info.second * (1 + noise))
    for found in (info, rounded):
        for matrix in (found.expected, found.average, found.observed):
            np.testing.assert_array_equal(matrix[0], 0.0)
        assert found.expected[1, 1] == pytest.approx(4.0)
        assert inverse_if_definite(found.observed) is None
        assert generalized_inverse(found.expected)[1] == 1


def test_what_is_not_a_number_has_no_inverse():
    """Where rounding leaves nothing of the information, as beside no residual."""
    observed = np.array([[1.0, np.nan], [np.nan, 1.0]])
    for flat in (True, False):
        inverse, open_ = _inverse(observed, flat)
        assert np.isnan(inverse).all()
        assert open_.shape == (2, 0)
