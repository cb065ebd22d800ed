"""Free directions at the boundary: curvature along them is that of the deviance."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dense import deviance
from helpers.designs import RandomDesign

from mixedext.engine.information.boundary import free_directions
from mixedext.engine.information.expected import variance_information
from mixedext.specification.terms.random_terms import RandomTerm


def slopes(k, seed, rank, structure="unstructured"):
    """Random slopes whose covariance has a rank below k, in data and in fit."""
    rng = np.random.default_rng(seed)
    n, count = 240, 30
    codes = np.arange(n) % count
    z = np.column_stack([np.ones(n), rng.normal(size=(n, k - 1))])
    effects = rng.normal(size=(count, rank)) @ rng.normal(size=(rank, k))
    y = 1 + z[:, -1] + (z * effects[codes]).sum(axis=1) + 2 * rng.normal(size=n)
    x = np.column_stack([np.ones(n), z[:, -1]])
    return RandomDesign(y, x, [RandomTerm(codes, z, structure=structure)], None, None)


def singular_fit(k, rank, reml):
    for seed in range(60):
        rows = slopes(k, seed, rank)
        fit = rows.fit(reml)
        size = np.linalg.svd(fit.lams[0], compute_uv=False)
        if (size > 1e-3).sum() == rank and fit.convergence.status != "failed":
            return rows, fit
    raise AssertionError("no singular fit found")


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("k", "rank"), [(2, 1), (3, 1), (3, 2)])
def test_information_along_matrices_of_lower_rank(k, rank, reml):
    """Second derivatives of the dense deviance along curves of that rank."""
    rows, fit = singular_fit(k, rank, reml)
    free = free_directions(fit)
    info = variance_information(fit)
    inside = k * (k + 1) // 2 - (k - rank) * (k - rank + 1) // 2
    assert free.directions.shape[1] == inside + 1
    assert free.held == (
        "rank of the covariance matrix of Intercept + "
        + " + ".join(f"z{j + 1}" for j in range(1, k))
        + f" by Group at {rank}",
    )
    d = free.directions
    observed = d.T @ info.observed @ d + free.bend

    inner = fit.design.lams(fit.optimum.theta)[0]
    transform = np.linalg.inv(fit.design.transforms[0])
    vector, size, _ = np.linalg.svd(inner)
    u, v, s = vector[:, :rank], vector[:, rank:], np.diag(size[:rank] ** 2)
    structure = rows.terms[0].structure

    def half_deviance(step):
        """At Sigma with the tangent ``step``, on the set of its rank; scale profiled."""
        change = np.einsum("r,rab->ab", d[:-1, :-1] @ step, structure.covariance_basis)
        block, across = s + u.T @ change @ u, u.T @ change @ v
        root = np.linalg.cholesky(block)
        side = np.linalg.solve(root, across)  # root' side' are the rows below
        lam = transform @ (u @ root + v @ side.T)
        lam = np.hstack([lam, np.zeros((k, k - rank))])
        return deviance(rows.y, rows.x, rows.terms, [lam], fit.reml) / 2

    count, h = inside, 1e-3
    hessian = np.empty((count, count))
    steps = h * np.eye(count)
    for i in range(count):
        for j in range(count):
            a, b = steps[i], steps[j]
            hessian[i, j] = (
                half_deviance(a + b)
                - half_deviance(a - b)
                - half_deviance(b - a)
                + half_deviance(-a - b)
            ) / (4 * h * h)
    # sigma^2 profiled out
    cross = observed[:-1, -1]
    profiled = observed[:-1, :-1] - np.outer(cross, cross) / observed[-1, -1]
    scale = np.sqrt(np.diag(hessian))
    error = np.abs(profiled - hessian) / np.outer(scale, scale)
    assert error.max() < 2e-3


@pytest.mark.parametrize("structure", ["diagonal", "identity"])
def test_variances_at_zero_are_held_one_by_one(structure):
    rng = np.random.default_rng(2)
    rows = slopes(2, 3, 1, structure)
    rows.y = rng.normal(size=len(rows.y)) + np.arange(30)[rows.terms[0].codes] % 3
    rows.theta = np.array([0.7, 0.0]) if structure == "diagonal" else np.array([0.0])
    free = free_directions(rows.at_theta(True))
    if structure == "diagonal":
        assert free.held == ("variance of z2 by Group at 0",)
        np.testing.assert_array_equal(free.directions, [[1, 0], [0, 0], [0, 1]])
    else:
        assert free.held == ("variance of Intercept + z2 by Group at 0",)
        np.testing.assert_array_equal(free.directions, [[0], [1]])


def test_nothing_is_held_inside():
    rows = slopes(2, 3, 2)
    rows.theta = np.array([1.0, 0.2, 0.5])
    free = free_directions(rows.at_theta(True))
    assert free.held == ()
    assert np.linalg.matrix_rank(free.directions) == 4
    assert not free.bend.any()


def test_a_whole_matrix_at_zero():
    rows = slopes(2, 3, 2)
    rows.theta = np.zeros(3)
    free = free_directions(rows.at_theta(True))
    assert free.held == ("covariance matrix of Intercept + z2 by Group at 0",)
    assert free.directions.shape == (4, 1)
