"""Searches for lower minima beside a known one against searches that are never given up."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.designs import random_design

from mixedext.engine.fit import fit_design
from mixedext.inference.profile.coordinates import Coordinates, ProfileModel
from mixedext.inference.profile.restricted_minimum import lower_minimum, restricted_minimum

KINDS = [[(2, 0)], [(3, 0)], [(2, 0), (1, 0)], [(2, 0), (2, 0)], [(3, 1)]]


def starts(coordinates, fitted, value, rng):
    """Coordinates of random covariances, with the held one at a value."""
    model = coordinates.model
    for _ in range(6):
        z = coordinates.start(fitted)
        for at, transform in zip(coordinates.slices, model.design.transforms, strict=True):
            size = np.sqrt(fitted.scale) / np.linalg.norm(transform, axis=0).max()
            size *= np.exp(rng.normal())
            z[at] = size * rng.normal(size=at.stop - at.start)
        if coordinates.target.kind == "correlation":
            z[coordinates.slices[coordinates.target.term]][1] = 0.0
        z[coordinates.held] = value
        z[coordinates.bounded] = np.abs(z[coordinates.bounded])
        yield z


@pytest.mark.parametrize("seed", range(20))
def test_searches_are_given_up_only_where_nothing_lower_lies(seed):
    rows = random_design(600 + seed, 30, KINDS[seed % 5], False, False, False, False)
    model = ProfileModel(fit_design(rows.prepare(), False).design)
    fit = fit_design(model.design, False)
    fitted, rng = model.fitted(fit), np.random.default_rng(seed)
    whole = short = 0
    for target in model.targets()[:5]:
        coordinates = Coordinates(model, target)
        z = coordinates.start(fitted)
        z[coordinates.held] *= 1.5 if target.kind != "correlation" else 0.5
        known = restricted_minimum(coordinates, z)
        for z in starts(coordinates, fitted, known.coordinate, rng):
            before = coordinates.evaluations
            other = restricted_minimum(coordinates, z)
            between = coordinates.evaluations
            lower = lower_minimum(coordinates, z, known)
            whole += between - before
            short += coordinates.evaluations - between
            if other.deviance < known.deviance - 1e-6:
                assert lower.deviance == pytest.approx(other.deviance, abs=1e-6)
            else:
                assert lower is None
    assert short < whole


def test_signs_of_columns_are_those_nearby():
    rows = random_design(3, 40, [(3, 0), (2, 0)], False, False, False, False)
    fit = fit_design(rows.prepare(), False)
    model = ProfileModel(fit.design)
    fitted, rng = model.fitted(fit), np.random.default_rng(0)
    for target in model.targets():
        coordinates = Coordinates(model, target)
        z = coordinates.start(fitted)
        signs = np.ones(coordinates.size)
        for term, at in zip(coordinates.terms, coordinates.slices, strict=True):
            own = rng.choice([-1.0, 1.0], term.structure.k)
            if term.held is not None:
                own[: 1 + (target.kind == "correlation")] = 1.0
            signs[at] = own[term.columns]
        np.testing.assert_array_equal(coordinates.signs(z, signs * z) * z, signs * z)
        value = coordinates.at(z).value
        assert coordinates.at(signs * z).value == pytest.approx(value, rel=1e-12)
