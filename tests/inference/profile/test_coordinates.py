"""Coordinates of every kind of parameter: derivatives, and there and back."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.designs import random_design

from mixedext.engine.fit import fit_design
from mixedext.inference.profile.coordinates import Coordinates, Estimates, ProfileModel

KINDS = [[(1, 0)], [(2, 0)], [(3, 0)], [(2, 1)], [(3, 2)], [(2, 0), (1, 0)]]


def model_of(kinds, seed=7):
    rows = random_design(seed, 50, kinds, False, False, True, False)
    fit = fit_design(rows.prepare(), False)
    return ProfileModel(fit.design), fit


def some_estimates(model, fit):
    """Not singular, and away from the optimum."""
    own = model.fitted(fit)
    covariances = [c + 0.3 * np.eye(len(c)) for c in own.covariances]
    return Estimates(covariances, 1.2 * own.scale, own.coefficients + 0.1)


@pytest.mark.parametrize("kinds", KINDS)
def test_derivatives_are_those_of_the_value(kinds):
    model, fit = model_of(kinds)
    at = some_estimates(model, fit)
    for target in model.targets():
        coordinates = Coordinates(model, target)
        z, h = coordinates.start(at), 1e-4
        state = coordinates.at(z)
        weights = np.array([1, -8, 8, -1]) / (12 * h)
        gradient, hessian = np.empty_like(z), np.empty((len(z), len(z)))
        for i, e in enumerate(np.eye(len(z))):
            others = [coordinates.at(z + s * h * e) for s in (-2, -1, 1, 2)]
            gradient[i] = weights @ [o.value for o in others]
            hessian[i] = weights @ np.array([o.gradient for o in others])
        scale = np.abs(state.hessian).max()
        np.testing.assert_allclose(state.gradient, gradient, rtol=1e-7, atol=1e-9 * scale)
        np.testing.assert_allclose(state.hessian, hessian, rtol=1e-7, atol=1e-9 * scale)


@pytest.mark.parametrize("kinds", KINDS)
def test_there_and_back(kinds):
    model, fit = model_of(kinds)
    at = some_estimates(model, fit)
    want = model.values(at)
    targets = model.targets()
    assert len(want) == len(targets)
    for number, target in enumerate(targets):
        coordinates = Coordinates(model, target)
        z = coordinates.start(at)
        assert coordinates.parameter(z[coordinates.held]) == pytest.approx(want[number])
        assert coordinates.coordinate(want[number]) == pytest.approx(z[coordinates.held])
        assert model.value(target, at) == pytest.approx(want[number])
        back = coordinates.estimates(coordinates.at(z))
        # the coefficients are profiled out, but for the one that is held
        count = len(targets) - len(at.coefficients)
        np.testing.assert_allclose(model.values(back)[:count], want[:count], rtol=1e-12)
        assert model.value(target, back) == pytest.approx(want[number], rel=1e-12)
        h = 1e-6
        at_value = want[number]
        change = coordinates.coordinate(at_value + h) - coordinates.coordinate(at_value - h)
        rate = coordinates.rate(z[coordinates.held])
        assert change / (2 * h) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("kinds", KINDS)
def test_all_coordinates_have_the_same_deviance_at_the_fit(kinds):
    model, fit = model_of(kinds)
    fitted = model.fitted(fit)
    np.testing.assert_allclose(model.theta(fitted), fit.theta, rtol=1e-6, atol=1e-7)
    for target in model.targets():
        coordinates = Coordinates(model, target)
        state = coordinates.at(coordinates.start(fitted))
        assert state.value == pytest.approx(fit.deviance, rel=1e-11)


def test_where_nothing_can_be_computed_the_deviance_is_infinite():
    model, fit = model_of([(1, 0), (2, 0)])
    coordinates = Coordinates(model, model.targets()[0])
    z = coordinates.start(model.fitted(fit))
    z[0] = np.nan
    assert coordinates.at(z).value == np.inf


def test_where_a_ratio_of_variances_is_no_number_the_deviance_is_infinite(monkeypatch):
    """Neither the residual variance nor those of the effects is a number but zero."""
    monkeypatch.setattr("mixedext.engine.deviance.joint_deviance.MOST_EFFECTS", 0)
    model, fit = model_of([(2, 0), (1, 0)])
    coordinates = Coordinates(model, model.targets()[0])
    z = coordinates.start(model.fitted(fit))
    z[coordinates.slices[0]], z[coordinates.tau] = 0.0, -800.0
    assert coordinates.at(z).value == np.inf
