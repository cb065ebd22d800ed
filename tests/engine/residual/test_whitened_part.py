"""Clusters by the levels of their random terms against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.residual.cluster_part import ClusterPart
from mixedext.engine.residual.parts import PartProducts
from mixedext.engine.residual.whitened_part import WhitenedPart, columns_of_groups
from mixedext.models.mixedlm.residual_fitting import residual_rows
from tests.engine.residual.test_marginal import VARIANCES, some_point
from tests.helpers.residual_designs import random_design

RANDOM = ["same", "nested", "slopes", "finer", "crossed", "crossed slopes"]


@pytest.fixture(autouse=True)
def _no_chains(monkeypatch):
    monkeypatch.setattr("mixedext.engine.residual.rows.MOST_COLUMNS", 0)


def both_ways(model, seed, reml, monkeypatch, zero=False):
    """The deviance by dense clusters and by levels, at one point."""
    rows, x = some_point(model, seed)
    if zero:
        x[0] = 0.0
    dense = rows.deviance(reml)
    assert all(isinstance(part, ClusterPart) for part in dense.parts)
    monkeypatch.setattr("mixedext.engine.residual.rows.LEAST_ROWS", 1)
    monkeypatch.setattr("mixedext.engine.residual.rows.SHARE_OF_DENSE", np.inf)
    other = residual_rows(model).deviance(reml)
    assert all(isinstance(part, WhitenedPart) for part in other.parts)
    return dense, other, x


def check(dense, other, x):
    assert_allclose(other.evaluate(x).value, dense.evaluate(x).value, rtol=1e-12)
    for one, two in zip(other.derivatives(), dense.derivatives(), strict=True):
        assert_allclose(one, two, rtol=1e-10, atol=1e-10 * np.abs(two).max())
    n, n_natural = len(x), 1 + other.n_psi
    tangents, psi = dense._tangents(x), dense.psi(x)
    rng = np.random.default_rng(0)
    weight, natural = rng.standard_normal((n, n)), rng.standard_normal((n_natural,) * 2)
    weight, natural = weight @ weight.T, natural @ natural.T
    found = []
    for deviance in (other, dense):
        products = PartProducts.zeros(n, deviance.rank + 1)
        second, curved = 0.0, [0.0, 0.0, 0.0]
        for part in deviance.parts:
            known = tangents, psi, deviance.solved
            part.add_products(*known, products)
            second = second + part.weighted_second(*known, weight)
            more = part.curved(*known, 1.0, natural)
            curved = [a + b for a, b in zip(curved, more, strict=True)]
        found.append([*vars(products).values(), second, *curved])
    for one, two in zip(*found, strict=True):
        assert_allclose(one, two, rtol=1e-9, atol=1e-10 * np.abs(two).max())


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("kind", ["ar1", "ar1h", "car1", "gau+nugget", "arma"])
def test_correlations(kind, random, reml, monkeypatch):
    seed = len(kind) + len(random)
    model = random_design(kind, seed, random, weighted=True)
    check(*both_ways(model, seed, reml, monkeypatch))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["ar1", "ar1h", "car1", "gau+nugget", "arma", "adh", "ratio"]),
    st.sampled_from(RANDOM),
    st.booleans(),
    st.booleans(),
)
def test_any_design(seed, kind, random, reml, weighted):
    model = random_design(kind, seed, random, weighted=weighted)
    with pytest.MonkeyPatch.context() as patch:
        check(*both_ways(model, seed, reml, patch))


@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("variance", VARIANCES)
def test_variance_functions(variance, random, monkeypatch):
    model = random_design(None, 5, random, variance=VARIANCES[variance])
    check(*both_ways(model, 5, True, monkeypatch))


@pytest.mark.parametrize("random", RANDOM)
def test_levels_of_by(random, monkeypatch):
    model = random_design("ar1", 3, random, by=True, weighted=True)
    check(*both_ways(model, 3, True, monkeypatch))


@pytest.mark.parametrize("random", RANDOM)
def test_a_variance_of_zero(random, monkeypatch):
    model = random_design("ar1", 7, random)
    check(*both_ways(model, 7, True, monkeypatch, zero=True))


def test_a_covariance_that_is_not_definite_is_an_infinite_deviance(monkeypatch):
    model = random_design("toep2", 2, "finer")
    _, deviance, x = both_ways(model, 2, True, monkeypatch)
    x[-1] = 1.5
    assert deviance.evaluate(x).value == np.inf
    x[-1] = np.nan
    assert deviance.evaluate(x).value == np.inf


def test_fits_without_traces_end_where_those_with_them_do(monkeypatch):
    model = random_design("ar1", 2, "crossed")
    one = model.fit()
    monkeypatch.setattr("mixedext.engine.residual.rows.LEAST_ROWS", 1)
    monkeypatch.setattr("mixedext.engine.residual.rows.SHARE_OF_DENSE", np.inf)
    monkeypatch.setattr("mixedext.engine.residual.whitened_part.MOST_TRACED", 0)
    other = random_design("ar1", 2, "crossed").fit()
    assert other.converged
    assert_allclose(other.llf, one.llf, rtol=1e-11)
    assert_allclose(other.bse_fe, one.bse_fe, rtol=1e-5)


def test_columns_that_groups_know():
    z, index = columns_of_groups(
        np.array([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]]),
        np.array([[7, 2, 7], [5, 5, 5]]),
        10,
    )
    assert index.tolist() == [[12, 17], [15, 10]]
    assert z[0].tolist() == [[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]]
    assert z[1].tolist() == [[4.0, 0.0], [5.0, 0.0], [6.0, 0.0]]


def test_large_clusters_are_taken_by_their_levels():
    rng = np.random.default_rng(3)
    group, visit = np.divmod(np.arange(200), 4)
    y = rng.standard_normal(200) + rng.standard_normal(8)[group % 8]
    terms = [mx.RandomTerm(group % 8, group="g"), mx.RandomTerm(visit % 2, group="h")]
    model = mx.MixedLM(
        y, np.ones((200, 1)), terms=terms, residual=mx.AR1(visit, group=group)
    )
    assert [type(part) for part in residual_rows(model).parts] == [WhitenedPart]


def test_memory_is_refused_with_figures(monkeypatch):
    rng = np.random.default_rng(3)
    group, visit = np.divmod(np.arange(400), 4)
    terms = [mx.RandomTerm(group % 8, group="g"), mx.RandomTerm(visit % 2, group="h")]
    model = mx.MixedLM(
        rng.standard_normal(400),
        np.ones((400, 1)),
        terms=terms,
        residual=mx.AR1(visit, group=group),
    )
    monkeypatch.setattr("mixedext.engine.residual.rows.available_memory", lambda: 1000.0)
    with pytest.raises(MemoryError, match=r"has 400 rows, and a dense matrix of their 10"):
        _ = residual_rows(model).parts


def test_few_clusters_are_taken_together(monkeypatch):
    monkeypatch.setattr("mixedext.engine.residual.rows.LEAST_ROWS", 1)
    monkeypatch.setattr("mixedext.engine.residual.rows.SHARE_OF_DENSE", np.inf)
    for columns, count in ((128, 1), (8, 3), (1, 5)):
        monkeypatch.setattr("mixedext.engine.residual.rows.JOINED_COLUMNS", columns)
        model = random_design("ar1h", 5, "nested", weighted=True)
        rows, x = some_point(model, 5)
        assert len(rows.parts) == count
        deviance = rows.deviance(True)
        found = deviance.evaluate(x).value, *deviance.derivatives()
        if count == 1:
            wanted = found
        for one, two in zip(found, wanted, strict=True):
            assert_allclose(one, two, rtol=1e-10, atol=1e-10)
