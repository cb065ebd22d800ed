"""Sums over patterns of visits against n x n matrices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixedext.engine.residual import visit_part
from mixedext.engine.residual.parts import Moments, PartProducts
from mixedext.engine.residual.visit_part import VisitPart
from tests.engine.residual.test_marginal import some_point
from tests.helpers.dense_relative import DenseRelative
from tests.helpers.residual_designs import M, random_design

# Whether all patterns are summed, all kept, or each as is cheaper.
SUMS = {"summed": np.inf, "kept": 0.0, "cheaper": 1.0}


@pytest.fixture(params=SUMS)
def sums(request, monkeypatch):
    monkeypatch.setattr("mixedext.engine.residual.rows.CHEAP_SUMS", SUMS[request.param])


def at_a_point(kind, seed, reml=True, **options):
    rows, x = some_point(random_design(kind, seed, **options), seed)
    deviance = rows.deviance(reml)
    assert all(isinstance(part, VisitPart) for part in deviance.parts)
    deviance.evaluate(x)
    return rows, deviance, x


def pieces(rows, deviance, x):
    """V^-1, X~, e~ and the slopes of V in psi, of all rows as the engine has them."""
    dense = DenseRelative(rows, deviance.reml)
    inverse = np.linalg.inv(dense.covariance(x))
    root = np.ones(len(rows.y)) if rows.weights is None else np.sqrt(rows.weights)
    # DenseRelative divides the covariance by weights, the engine multiplies its rows
    inverse = inverse / np.outer(root, root)
    both = rows.columns @ deviance.solved.change
    slopes = [m * np.outer(root, root) for m in dense.slopes(x)]
    return inverse, inverse @ both[:, :-1], inverse @ both[:, -1], slopes


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("by", [False, True])
@pytest.mark.parametrize("kind", ["us", "csh", "ar1", "toep", "adh"])
def test_moments(kind, by, reml, sums):
    rows, deviance, x = at_a_point(kind, 6, reml, by=by, weighted=True)
    inverse, fixed, residual, slopes = pieces(rows, deviance, x)
    solved = deviance.solved
    found = Moments.zeros(len(x), deviance.rank, True)
    for part in deviance.parts:
        assert part.add_moments([], x, solved, found) == []
    score = inverse - solved.kappa * np.outer(residual, residual)
    if reml:
        score -= fixed @ fixed.T
    seen = np.array([v @ residual for v in slopes])
    wanted = {
        "gradient": [np.sum(v * score) for v in slopes],
        "residual": seen @ residual,
        "quadratic": seen @ inverse @ seen.T,
        "on_fixed": seen @ fixed,
        "squares": [fixed.T @ v @ fixed for v in slopes],
    }
    other = inverse - 2 * fixed @ fixed.T if reml else inverse
    wanted["traces"] = [
        [np.sum((a @ other) * (inverse @ b)) for b in slopes] for a in slopes
    ]
    for name, value in wanted.items():
        value = np.array(value)
        own = getattr(found, name)
        assert_allclose(own, value, atol=1e-8 * np.abs(value).max(), err_msg=name)


@pytest.mark.parametrize("kind", ["us", "ar1h"])
def test_products(kind, sums):
    rows, deviance, x = at_a_point(kind, 7, by=True, weighted=True)
    inverse, fixed, residual, slopes = pieces(rows, deviance, x)
    found = PartProducts.zeros(len(x), deviance.rank + 1)
    weight = np.random.default_rng(1).standard_normal((len(x), len(x)))
    weight, second = weight @ weight.T, 0.0
    for part in deviance.parts:
        part.add_products([], x, deviance.solved, found)
        second = second + part.weighted_second([], x, deviance.solved, weight)
    both = np.column_stack([fixed, residual])
    seen = np.array([v @ residual for v in slopes])
    moved = [v @ fixed for v in slopes]
    wanted = {
        "traces": [[np.sum((a @ inverse) * (inverse @ b)) for b in slopes] for a in slopes],
        "single": [np.sum(v * inverse) for v in slopes],
        "residual": seen @ inverse @ seen.T,
        "second_traces": [[np.sum(a * (inverse @ b)) for b in moved] for a in moved],
        "first": [both.T @ v @ both for v in slopes],
    }
    for name, value in wanted.items():
        value = np.array(value)
        own = getattr(found, name)
        assert_allclose(own, value, atol=1e-8 * np.abs(value).max(), err_msg=name)
    wanted = sum(
        weight[r, s] * a.T @ inverse @ b
        for r, a in enumerate(moved)
        for s, b in enumerate(moved)
    )
    assert_allclose(second, wanted, atol=1e-8 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", ["us", "toeph"])
def test_pooled_pairs_and_products_of_patterns_say_the_same(kind, sums, monkeypatch):
    found = []
    for most in (0, 24):
        monkeypatch.setattr(visit_part, "FEW_VISITS", most)
        monkeypatch.setattr(visit_part, "PAIRWISE", 0.0)
        _, deviance, _ = at_a_point(kind, 8, weighted=True)
        found.append(deviance.derivatives())
    for one, two in zip(*found, strict=True):
        assert_allclose(one, two, atol=1e-12 * np.abs(two).max())


def test_moments_are_sums_of_products_by_pairs_of_visits(sums):
    rows, deviance, _ = at_a_point("us", 9)
    total, pairs = np.zeros((2, M, M))
    for batch in rows.bound.batches:
        for group, pattern in zip(batch.rows, batch.pattern, strict=True):
            at = np.ix_(batch.place[pattern], batch.place[pattern])
            y = rows.columns[group, -1]
            total[at] += np.outer(y, y)
            pairs[at] += 1
    found = deviance.parts[0].moments()
    assert_allclose(found[0], total, rtol=1e-12)
    assert (found[1] == pairs).all()


def test_what_is_not_definite_or_no_number_has_an_infinite_deviance(sums):
    _, deviance, x = at_a_point("toep2", 4)
    for value in (1.2, -1.2, np.nan, np.inf):
        assert deviance.evaluate(np.array([value])).value == np.inf
    assert np.isfinite(deviance.evaluate(x).value)


def test_a_copy_stands_elsewhere(sums):
    _, deviance, x = at_a_point("us", 5)
    part, width = deviance.parts[0], deviance.rank + 1
    one, two = np.zeros((2, width, width))
    copy = part.apart()
    before = [own.copy() for own in (*part.inverse, *part.summed_inverse)]
    copy.factor([], x + 0.3, two)
    for own, kept in zip((*part.inverse, *part.summed_inverse), before, strict=True):
        assert (own == kept).all()
    part.factor([], x, one)
    assert np.abs(one - two).max() > 1e-3
