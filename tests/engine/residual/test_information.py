"""Information on residual parameters against n x n matrices."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dense_relative import DenseRelative, slope
from helpers.residual_designs import random_design
from numpy.testing import assert_allclose
from scipy import optimize

from mixedext.engine.information.expected import variance_information
from mixedext.engine.residual.information import null_directions
from mixedext.models.mixedlm.residual_fitting import residual_rows

CASES = [
    ("us", "none", False),
    ("us", "slopes", True),
    ("csh", "none", True),
    ("ar1", "same", False),
    ("ar1h", "none", True),
    ("arma", "none", False),
    ("toeph", "finer", False),
    ("adh", "none", False),
    ("car1", "nested", True),
    ("gau+nugget", "none", False),
    ("exp", "crossed", False),
    ("ar1", "crossed slopes", True),
    ("csh", "crossed slopes", False),
]


def directions_of(dense, fit, x):
    """Z E_r Z' of all terms in the engine's units, dV0/dpsi, V0."""
    design, out = fit.design, []
    for term, s, inverse in zip(
        dense.rows.terms, design.structures, design.inverse_transforms, strict=True
    ):
        z = np.asarray(term.z, float) @ inverse
        same = term.codes[:, None] == term.codes
        out += [(z @ e @ z.T) * same for e in s.covariance_basis]
    first = len(x) - len(fit.residual.psi)
    out += [slope(dense.covariance, x, r) for r in range(first, len(x))]
    return [*out, dense.covariance(x)]


# some of these have a variance of zero, where derivatives are as elsewhere
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize(("kind", "random", "weighted"), CASES)
def test_information(kind, random, weighted, reml):
    model = random_design(kind, 24 if kind == "arma" else 21, random, weighted=weighted)
    fit = model.fit(reml=reml).fitted.fit
    info = variance_information(fit)
    dense = DenseRelative(residual_rows(model), reml)
    x = np.concatenate([fit.residual.theta, fit.residual.psi])
    directions = directions_of(dense, fit, x)
    expected, average = dense.information(directions, x)
    scale = np.abs(expected).max()
    assert_allclose(info.expected, expected, rtol=1e-8, atol=1e-9 * scale)
    assert_allclose(info.average, average, rtol=1e-8, atol=1e-9 * scale)
    first, count = len(x) - len(fit.residual.psi), len(fit.residual.psi)
    bend = np.zeros_like(expected)
    for a in range(count):
        for b in range(count):
            second = slope(
                lambda p, a=a: slope(dense.covariance, p, first + a), x, first + b
            )
            bend[-1 - count + a, -1 - count + b] = dense.score(second, x) / 2
    wanted = 2 * average - expected + bend
    assert_allclose(info.observed, wanted, rtol=1e-6, atol=1e-7 * np.abs(wanted).max())
    _check_fixed(info, dense, directions, fit, x)


def _check_fixed(info, dense, directions, fit, x):
    _, inverse, _, _ = dense.pieces(x)
    on = np.asarray(dense.rows.x, float) @ fit.root
    assert_allclose(on.T @ inverse @ on, np.eye(on.shape[1]), atol=1e-9)
    seen = inverse @ on
    wanted = np.array([seen.T @ m @ seen for m in directions])
    assert_allclose(info.on_fixed, wanted, atol=1e-8 * np.abs(wanted).max())
    rng = np.random.default_rng(0)
    root = rng.standard_normal((len(directions), 3))
    weight = root @ root.T
    second = sum(
        weight[r, s] * seen.T @ a @ inverse @ b @ seen
        for r, a in enumerate(directions)
        for s, b in enumerate(directions)
    )
    assert_allclose(info.weighted_second(weight), second, atol=1e-8 * np.abs(second).max())


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        ("ar1", False),
        ("ar1h", False),
        ("csh", False),
        ("toeph", False),
        ("adh", False),
        ("exp", False),
        ("gau+nugget", False),
        ("us", False),
        ("us", True),
        ("ar1", True),
        ("ar1h", True),
    ],
)
def test_second_derivatives_in_natural_parameters(kind, by):
    model = random_design(kind, 30, by=by)
    fit = model.fit().fitted.fit
    info = variance_information(fit)
    rows = residual_rows(model)
    dense, psi = DenseRelative(rows, True), fit.residual.psi
    rng = np.random.default_rng(1)
    root = rng.standard_normal((len(psi) + 1, 2))
    # R = sigma^2 Lambda as a function of eta; a step in the natural parameters of the tests
    curves = rows.curves

    def natural(z):
        psi, scale, out = z[:-1], z[-1], np.zeros(len(z))
        for curve in curves:
            out[curve.natural_at] = curve.natural(psi[curve.at], scale)
        if curves[0].is_linear and kind != "us":
            raise AssertionError("covariances are the parameters")
        return out

    at = np.append(psi, 1.0)
    eta = natural(at)
    jacobian = np.array([slope(natural, at, r) for r in range(len(at))]).T
    moved = jacobian @ root

    def covariance(step):
        if not np.any(step):
            return dense.lambda_(psi)
        found = optimize.root(lambda z: natural(z) - eta - step, at, tol=1e-13)
        return found.x[-1] * dense.lambda_(found.x[:-1])

    mean, h = 0.0, 2e-3
    for column in moved.T:
        size = h / np.abs(column / np.maximum(np.abs(eta), 0.2)).max()
        values = [covariance(k * size * column) for k in (-2, -1, 0, 1, 2)]
        second = -values[0] + 16 * values[1] - 30 * values[2] + 16 * values[3] - values[4]
        mean = mean + second / (12 * size**2)
    _, inverse, p, _ = dense.pieces(psi)
    on = inverse @ np.asarray(rows.x, float) @ fit.root
    found = info.curved(root @ root.T)
    wanted = on.T @ mean @ on
    scale = np.abs(on.T @ (covariance(0 * eta)) @ on).max()
    assert_allclose(found.on_fixed, wanted, atol=2e-6 * max(scale, np.abs(wanted).max()))
    v = [*(slope(dense.covariance, psi, r) for r in range(len(psi))), dense.covariance(psi)]
    wanted = np.array([np.trace(p @ m @ p @ mean) for m in v])
    assert_allclose(found.traces, wanted, atol=2e-6 * max(1.0, np.abs(wanted).max()) * 50)


def test_null_directions():
    information = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    (null,) = null_directions(information).T
    assert_allclose(np.abs(null), [0.5**0.5, 0.5**0.5, 0.0], atol=1e-12)
    assert null[0] * null[1] < 0
