"""Chains of rows against dense matrices of clusters."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.residual.chain_part import ChainPart
from mixedext.engine.residual.parts import Moments, PartProducts
from mixedext.models.mixedlm.residual_fitting import residual_rows
from tests.engine.residual.test_marginal import VARIANCES, some_point
from tests.helpers.residual_designs import random_design

RANDOM = ["none", "same", "slopes", "finer"]
KINDS = ["car1", "exp", "ar1"]


def both_ways(model, seed, reml, shift=0.0, zero=False):
    """The deviance by dense clusters and by chains, at one point."""
    _, x = some_point(model, seed)
    x[-1] += shift
    if zero:
        x[0] = 0.0
    rows = residual_rows(model)
    vars(rows)["has_patterns"] = False
    chain = rows.deviance(reml)
    assert {type(part) for part in chain.parts} == {ChainPart}
    dense = rows.deviance(reml)
    dense.parts = list(rows._cluster_parts())
    return dense, chain, x


def check(dense, chain, x, rtol=1e-10):
    assert_allclose(chain.evaluate(x).value, dense.evaluate(x).value, rtol=1e-12)
    for one, two in zip(chain.derivatives(), dense.derivatives(), strict=True):
        assert_allclose(one, two, rtol=rtol, atol=rtol * np.abs(two).max())
    n, psi = len(x), dense.psi(x)
    directions = dense._tangents(x)
    rng = np.random.default_rng(0)
    m = 1 + len(psi)
    weight, natural = rng.standard_normal((n, n)), rng.standard_normal((m, m))
    weight, natural = weight @ weight.T, natural @ natural.T
    found = []
    for deviance in (chain, dense):
        products = PartProducts.zeros(n, deviance.rank + 1)
        moments = Moments.zeros(n, deviance.rank, deviance.reml)
        second, curved = 0.0, [0.0, 0.0, 0.0]
        for part in deviance.parts:
            known = directions, psi, deviance.solved
            part.add_products(*known, products)
            part.add_moments(*known, moments)
            second = second + part.weighted_second(*known, weight)
            more = part.curved(*known, 1.0, natural)
            curved = [a + b for a, b in zip(curved, more, strict=True)]
        own = [m for m in vars(moments).values() if m is not None]
        found.append([*vars(products).values(), *own, second, *curved])
    for one, two in zip(*found, strict=True):
        assert_allclose(one, two, rtol=rtol, atol=rtol * np.abs(two).max())


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("kind", KINDS)
def test_products(kind, random, reml):
    seed = len(kind) + len(random)
    model = random_design(kind, seed, random, weighted=seed % 2 == 0)
    check(*both_ways(model, seed, reml))


def by_level(kind, random, weighted):
    """Litters of three animals, each on one of three diets with parameters of its own."""
    rng = np.random.default_rng(len(kind) + len(random))
    animal, day = np.divmod(np.arange(24 * 6), 6)
    kept = rng.permutation(np.flatnonzero(rng.random(len(animal)) > 0.15))
    animal, day = animal[kept], day[kept]
    litter, n = animal // 3, len(animal)
    diet = np.array(["b", "c", "a"])[litter % 3]
    x = np.column_stack([np.ones(n), day, rng.standard_normal(n)])
    y = x @ [1.0, 0.3, 0.5] + rng.standard_normal(n) + rng.standard_normal(8)[litter]
    slopes = mx.RandomTerm(animal, np.column_stack([np.ones(n), day]), group="animal")
    litters = mx.RandomTerm(litter, group="litter")
    terms = {
        "none": [],
        "slopes": [slopes],
        "nested": [litters, mx.RandomTerm(animal, group="animal")],
        "finer": [litters],
    }[random]
    if kind == "ar1":
        structure = mx.AR1(day, group=animal, by=diet)
    elif kind == "car1":
        structure = mx.CAR1(day + 0.1 * (animal % 3), group=animal, by=diet)
    else:
        structure = mx.Spatial("exp", [1.3 * day], group=animal, by=diet)
    weights = rng.uniform(0.5, 2.0, n) if weighted else None
    return mx.MixedLM(y, x, terms=terms, residual=structure, weights=weights)


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("random", ["none", "slopes", "nested", "finer"])
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_by_level(kind, random, reml):
    model = by_level(kind, random, weighted=kind == "exp")
    if random == "nested":  # effects of several levels a cluster
        assert not residual_rows(model)._are_chains
        return
    dense, chain, x = both_ways(model, 5, reml)
    assert len(chain.parts) == 3
    x[chain.n_theta :][:2] = 0.4, -0.3  # of standard deviations, over the first
    check(dense, chain, x)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(KINDS),
    st.sampled_from(RANDOM),
    st.booleans(),
    st.booleans(),
    st.floats(-2.0, 2.0),
)
def test_any_design(seed, kind, random, reml, weighted, shift):
    model = random_design(kind, seed, random, weighted=weighted)
    check(*both_ways(model, seed, reml, shift), rtol=1e-8)


@pytest.mark.parametrize("shift", [-3.0, -1.0, 2.0, 3.0])
@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("kind", KINDS)
def test_weak_and_strong_correlations(kind, random, shift):
    model = random_design(kind, 7, random, weighted=True)
    check(*both_ways(model, 7, True, shift), rtol=1e-8)


@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("kind", KINDS)
def test_standard_deviations_that_are_known(kind, random):
    model = random_design(kind, 6, random, variance=VARIANCES["fixed"])
    check(*both_ways(model, 6, True))


@pytest.mark.parametrize("random", RANDOM[1:])
@pytest.mark.parametrize("kind", KINDS)
def test_a_variance_of_zero(kind, random):
    model = random_design(kind, 8, random)
    check(*both_ways(model, 8, True, zero=True))


@pytest.mark.parametrize(
    ("kind", "random", "options"),
    [
        ("car1", "nested", {}),
        ("car1", "crossed", {}),
        ("car1", "finer", {"by": True}),  # clusters hold both levels
        ("car1", "same", {"variance": VARIANCES["power"]}),
        ("gau+nugget", "same", {}),
        ("ratio", "none", {}),
    ],
)
def test_others_are_no_chains(kind, random, options):
    rows = residual_rows(random_design(kind, 3, random, **options))
    assert not any(isinstance(part, ChainPart) for part in rows.parts)


def test_places_in_the_plane_are_no_chain():
    rng = np.random.default_rng(0)
    places, group = rng.standard_normal((40, 2)), np.repeat(np.arange(4), 10)
    structure = mx.Spatial("exp", places, group=group)
    model = mx.MixedLM(rng.standard_normal(40), np.ones((40, 1)), residual=structure)
    assert not residual_rows(model)._are_chains


def test_a_line_in_any_order_and_direction():
    rng = np.random.default_rng(2)
    n = 60
    group, place = np.repeat(np.arange(6), 10), rng.standard_normal(n)
    y = rng.standard_normal(n)
    x = np.column_stack([np.ones(n), rng.standard_normal(n)])
    results = []
    for own in (place, -3 * place + 5):
        structure = mx.Spatial("exp", own, group=group)
        model = mx.MixedLM(y, x, residual=structure)
        assert residual_rows(model)._are_chains
        dense, chain, at = both_ways(model, 0, True)
        results.append(chain.evaluate(at).value - dense.evaluate(at).value)
    assert_allclose(results, 0.0, atol=1e-10)


@pytest.mark.parametrize("random", ["none", "same"])
def test_parameters_at_an_end_are_an_infinite_deviance(random):
    _, chain, x = both_ways(random_design("car1", 4, random), 4, True)
    for end in (np.nan, np.inf):
        x[-1] = end
        assert chain.evaluate(x).value == np.inf


def test_copies_stand_by_themselves():
    result = random_design("car1", 1, "none").fit()
    copied = pickle.loads(pickle.dumps(result))
    one, other = (r.t_test(np.eye(4), df_method="kenward-roger") for r in (result, copied))
    assert_allclose(other.sd, one.sd, rtol=1e-12)
