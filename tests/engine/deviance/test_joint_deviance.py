"""The deviance with sigma explicit: value by dense algebra, derivatives by differences."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dense_likelihood import DenseLikelihood
from helpers.designs import random_design

from mixedext.engine.deviance.given_covariances import Likelihood
from mixedext.engine.deviance.joint_deviance import (
    _FactorJoint,
    _LevelDeviance,
    _SmallJoint,
    joint_deviance,
)

KINDS = {
    "intercept": [(1, 0)],
    "slope": [(2, 0)],
    "uncorrelated": [(2, 1)],
    "three": [(3, 0)],
    "common": [(3, 2)],
    "crossed": [(1, 0), (2, 0)],
    "none": [],
}


def design_of(name, seed=3, weighted=True):
    return random_design(seed, 40, KINDS[name], False, False, weighted, False)


def dense_deviance(rows, gamma, s2, held=None):
    """f by n x n matrices; the coefficients are held at a'b = c by elimination."""
    dense = DenseLikelihood(rows.y, rows.x, rows.terms, False, rows.weights)
    inverse = np.linalg.inv(dense.covariance(gamma))
    normal = rows.x.T @ inverse @ rows.x
    b = np.linalg.solve(normal, rows.x.T @ inverse @ rows.y)
    if held is not None:
        a, c = held
        solved = np.linalg.solve(normal, a)
        b = b + solved * (c - a @ b) / (a @ solved)
    r = rows.y - rows.x @ b
    log_det = np.linalg.slogdet(dense.covariance(gamma))[1]
    return log_det + r @ inverse @ r / s2 + len(r) * np.log(2 * np.pi * s2)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("hold", [False, True])
def test_value_is_that_of_dense_algebra(name, hold):
    rows = design_of(name)
    design = rows.prepare()
    rng = np.random.default_rng(1)
    covariances = []
    for t in rows.terms:
        root = t.structure.lam(rng.normal(size=t.structure.n_theta))
        covariances.append(root @ root.T)
    parts = [t.structure.gamma(c) for t, c in zip(rows.terms, covariances, strict=True)]
    gamma = np.concatenate(parts) if parts else np.zeros(0)
    s2, a, c = 0.7, np.arange(1.0, 1 + rows.x.shape[1]), 2.5
    inner = Likelihood(design, False).change @ gamma if len(gamma) else gamma
    held = None
    if hold:
        own = np.linalg.solve(design.basis.r.T, a)
        held = (design.y_scale * own, c - own @ design.least_squares)
    want = dense_deviance(rows, gamma, s2, (a, c) if hold else None)
    shift = design.deviance_shift(False, design.blocks.nobs)
    joints = [joint_deviance(design)]
    if not isinstance(joints[0], _FactorJoint) and len(gamma):
        joints.append(_FactorJoint(design))
    for joint in joints:
        point = joint.at(inner, np.log(s2 / design.y_scale**2), held)
        assert point.value + shift == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("hold", [False, True])
def test_derivatives_are_those_of_the_value(name, hold):
    design = design_of(name).prepare()
    rng = np.random.default_rng(2)
    count = sum(s.n_gamma for s in design.structures)
    gamma = np.concatenate(
        [s.gamma(0.3 * np.eye(s.k)) + 0.02 for s in design.structures] or [np.zeros(0)]
    )
    held = (rng.normal(size=design.blocks.n_fixed - 1), 0.2) if hold else None
    joints = [joint_deviance(design)]
    if not isinstance(joints[0], _FactorJoint) and count:
        joints.append(_FactorJoint(design))

    def at(joint, x):
        own = None if held is None else (held[0], x[-1])
        return joint.at(x[:count], x[count], own)

    x = np.concatenate([gamma, [-0.3], [held[1]] if hold else []])
    for joint in joints:
        point, h = at(joint, x), 1e-4
        gradient, hessian = np.empty_like(x), np.empty((len(x), len(x)))
        for i, e in enumerate(np.eye(len(x))):
            # five points: an error of h^4
            values = [at(joint, x + s * h * e) for s in (-2, -1, 1, 2)]
            weights = np.array([1, -8, 8, -1]) / (12 * h)
            gradient[i] = weights @ [v.value for v in values]
            hessian[i] = weights @ np.array([v.gradient for v in values])
        scale = np.abs(point.hessian).max()
        np.testing.assert_allclose(gradient, point.gradient, atol=1e-9 * scale, rtol=1e-8)
        np.testing.assert_allclose(hessian, point.hessian, atol=1e-9 * scale, rtol=1e-8)


@pytest.mark.parametrize(
    ("name", "kind"), [("three", _LevelDeviance), ("crossed", _SmallJoint)]
)
def test_both_ways_agree(name, kind):
    design = design_of(name).prepare()
    gamma = np.concatenate([s.gamma(np.eye(s.k) + 0.2) for s in design.structures])
    held = (np.ones(design.blocks.n_fixed - 1), 0.4)
    assert type(joint_deviance(design)) is kind
    one = joint_deviance(design).at(gamma, 0.1, held)
    two = _FactorJoint(design).at(gamma, 0.1, held)
    assert one.value == pytest.approx(two.value, rel=1e-13)
    np.testing.assert_allclose(one.gradient, two.gradient, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(one.hessian, two.hessian, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["three", "crossed"])
def test_both_ways_agree_without_fixed_effects(name):
    rows = design_of(name)
    rows.x = rows.x[:, :0]
    design = rows.prepare()
    gamma = np.concatenate([s.gamma(np.eye(s.k) + 0.2) for s in design.structures])
    one, two = (
        joint.at(gamma, 0.1) for joint in (joint_deviance(design), _FactorJoint(design))
    )
    assert one.value == pytest.approx(two.value, rel=1e-13)
    np.testing.assert_allclose(one.gradient, two.gradient, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(one.hessian, two.hessian, rtol=1e-9, atol=1e-9)
