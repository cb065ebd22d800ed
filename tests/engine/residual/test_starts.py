"""Starts of the search: near the parameters that the data were drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.residual_designs import STRUCTURES, random_design
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.residual.roots import matrices
from mixedext.engine.residual.starts import starting_psi
from mixedext.engine.residual.visit_part import VisitPart
from mixedext.models.mixedlm.residual_fitting import residual_rows

M, GROUPS = 4, 3000


def drawn(residual, size, correlation, with_intercept=False):
    """Rows of groups of four visits with standard deviations and a correlation."""
    rng = np.random.default_rng(1)
    group, visit = np.divmod(np.arange(GROUPS * M), M)
    root = np.linalg.cholesky(correlation) * np.asarray(size)[:, None]
    y = (rng.standard_normal((GROUPS, M)) @ root.T).ravel()
    if with_intercept:
        y += 0.7 * rng.standard_normal(GROUPS)[group]
    keep = rng.random(len(y)) > 0.1
    group, visit, y = group[keep], visit[keep], y[keep]
    terms = [mx.RandomTerm(group, group="g")] if with_intercept else []
    model = mx.MixedLM(
        y, np.ones((len(y), 1)), terms=terms, residual=residual(visit, group)
    )
    return residual_rows(model)


LAG = np.abs(np.subtract.outer(np.arange(M), np.arange(M)))
AR = 0.6 ** LAG.astype(float)
SIZE = np.array([1.0, 2.0, 0.5, 1.5])
CASES = {
    "ar1": (lambda v, g: mx.AR1(v, group=g), np.ones(M), [np.arctanh(0.6)]),
    "ar1h": (
        lambda v, g: mx.AR1(v, group=g, het=True),
        SIZE,
        [*np.log(SIZE[1:]), np.arctanh(0.6)],
    ),
    "adh": (
        lambda v, g: mx.Antedependence(v, group=g),
        SIZE,
        [*np.log(SIZE[1:]), *[np.arctanh(0.6)] * 3],
    ),
    "exp": (lambda v, g: mx.Spatial("exp", [v * 1.0], group=g), np.ones(M), None),
    "us": (lambda v, g: mx.Unstructured(v, group=g), SIZE, None),
}


@pytest.mark.parametrize("kind", CASES)
def test_moments_of_many_groups(kind):
    residual, size, psi = CASES[kind]
    rows = drawn(residual, size, AR)
    first, whole = starting_psi(rows)[0], np.outer(size, size) * AR / size[0] ** 2
    if psi is not None:
        assert_allclose(first, psi, atol=0.06)
    found = next(m for m in matrices(rows.bound, first) if m.shape[1] == M)
    assert_allclose(found[0], whole, atol=0.06 * whole.max())


@pytest.mark.parametrize("kind", ["us", "cs", "ar1", "arma", "toep", "toep2", "ad"])
def test_sums_over_visits_and_rows_say_the_same(kind, monkeypatch):
    rows = residual_rows(random_design(kind, 7))
    assert isinstance(rows.parts[0], VisitPart)
    summed = starting_psi(rows)
    monkeypatch.setattr("mixedext.engine.residual.starts.VisitPart", type(None))
    for one, two in zip(summed, starting_psi(rows), strict=True):
        assert_allclose(one, two, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("random", ["none", "slopes", "finer"])
@pytest.mark.parametrize("by", [True, False])
@pytest.mark.parametrize("kind", STRUCTURES)
def test_there_is_a_deviance_at_every_first_start(kind, by, random):
    rows = residual_rows(random_design(kind, 8, random, by=by))
    deviance = rows.deviance(True)
    starts = starting_psi(rows)
    assert all(psi.shape == (rows.n_psi,) for psi in starts)
    for psi in starts:
        x = np.concatenate([np.full(deviance.n_theta, 0.3), psi])
        assert np.isfinite(deviance.evaluate(x).value)


def test_part_of_the_correlation_may_be_of_random_effects():
    residual = CASES["ar1"][0]
    alone = starting_psi(drawn(residual, np.ones(M), AR))
    beside = starting_psi(drawn(residual, np.ones(M), AR, with_intercept=True))
    assert len(beside) > len(alone)
    correlation = np.tanh([psi[-1] for psi in beside])
    # that of the moments, the structure's own ones, and about half the first
    assert np.abs(correlation - correlation[0] / 2).min() < 0.1
    assert np.abs(correlation[: len(alone)] - correlation[0] / 2).min() > 0.3


def test_a_response_without_scatter_in_a_stratum():
    rng = np.random.default_rng(3)
    group, visit = np.divmod(np.arange(60), 4)
    y = np.where(visit == 2, 0.0, rng.normal(size=60))
    x = np.eye(4)[visit]
    residual = mx.AR1(visit, group=group, het=True)
    rows = residual_rows(mx.MixedLM(y, x, residual=residual))
    assert all(np.isfinite(psi).all() for psi in starting_psi(rows))
