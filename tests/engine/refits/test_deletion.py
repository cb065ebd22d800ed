"""Refits without sets of rows equal fits to the rows left."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import dense
from helpers.designs import random_design
from helpers.paths import RESULTS
from helpers.reference import load_case

import mixedext as mx
from mixedext.engine.fit import fit_design
from mixedext.engine.refits.deletion import DeletedFits, RowSets, deleted_fits
from mixedext.engine.rows.design import prepare_design
from mixedext.inference.bootstrap.parallel import runner
from mixedext.limits import DECREMENT_ACCEPTED

REFERENCE = json.loads((RESULTS / "deletion.json").read_text())


def given(result):
    """Arguments of ``deleted_fits`` from results."""
    rows = result.fitted.need_rows()
    y = rows.endog if rows.offset is None else rows.endog - rows.offset
    return result.fitted.fit, y, rows.exog, rows.terms, rows.weights


def rows_left(y, x, terms, weights, rows):
    kept = np.ones(len(y), bool)
    kept[rows] = False
    left = [term.take(kept) for term in terms]
    return y[kept], x[kept], left, None if weights is None else weights[kept]


def assert_fits_of_the_rows_left(found: DeletedFits, fit, rows, sets: RowSets):
    """Every set's fit is that of the rows left, or a better one."""
    y, x, terms, weights = rows
    x = x[:, fit.design.basis.kept]
    for g in range(len(sets)):
        left = rows_left(y, x, terms, weights, sets[g])
        want = fit_design(prepare_design(*left), fit.reml)
        assert found.converged[g]
        assert found.reason[g] == ""
        assert found.n_deleted[g] == len(sets[g])
        gain = found.log_likelihood[g] - want.log_likelihood
        assert gain > -1e-8 * max(1.0, abs(want.log_likelihood))
        if terms:
            lams = fit.design.own_lams(found.theta[g])
            deviance = dense.deviance(*left[:3], lams, fit.reml, left[3])
            assert np.isclose(found.deviance[g], deviance, rtol=1e-9, atol=1e-9)
        if gain > DECREMENT_ACCEPTED:
            continue  # a lower minimum
        # rounding to the boundary moves theta by the root of what the deviance may move by
        size = 1e-3 if want.is_singular else 1e-5
        error = abs(found.coefficients[g] - want.coefficients)
        assert (error <= size * np.sqrt(want.covariance.diagonal())).all()
        assert np.isclose(found.scale[g], want.scale, rtol=size)
        largest = abs(want.covariance).max(initial=0.0)
        assert (abs(found.covariance[g] - want.covariance) <= size * largest).all()


@pytest.mark.formula_engine
@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_levels_deleted_in_r(name):
    case = load_case(name)
    model = mx.mixedlm(case.formula, case.data, **case.options)
    result = model.fit(reml=case.values["REML"])
    for factor, levels in REFERENCE[name].items():
        label = case.data[factor.split(":")].astype(str).agg(":".join, axis=1).to_numpy()
        sets = RowSets.of_lists([np.flatnonzero(label == own["level"]) for own in levels])
        found = deleted_fits(*given(result), sets)
        assert found.n_deleted.tolist() == [own["n"] for own in levels]
        assert found.converged.all()
        assert not any(found.reason)
        want = np.array([own["llf"] for own in levels])
        np.testing.assert_allclose(found.log_likelihood, want, rtol=1e-9)
        beta = np.sort([own["beta"] for own in levels])
        error = abs(np.sort(found.coefficients) - beta).max(axis=1)
        assert (error < 1e-7 * abs(beta).max(axis=1)).all()
        sigma = [own["sigma"] for own in levels]
        np.testing.assert_allclose(found.scale**0.5, sigma, rtol=1e-6)
        assert found.n_evaluations.mean() < 7


def sets_of(rng, terms, n):
    """Levels of all factors, some rows, some random sets, and none."""
    levels = [np.flatnonzero(t.codes == g) for t in terms for g in range(t.n_levels)]
    some = [rng.choice(n, size, replace=False) for size in (1, 1, 2, 5, n // 4)]
    sets = [*levels, *some, np.zeros(0, int)]
    return RowSets.of_lists([rows for rows in sets if len(rows) < n / 3])


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("kind", [(1, 0), (2, 0), (2, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_one_factor(seed, kind, weighted, reml):
    rows = random_design(seed, 60, [kind], False, False, weighted, seed == 2)
    fit = rows.fit(reml)
    data = rows.y, rows.x, rows.terms, rows.weights
    sets = sets_of(np.random.default_rng(seed), rows.terms, 60)
    assert_fits_of_the_rows_left(deleted_fits(fit, *data, sets), fit, data, sets)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("kinds", [[(1, 0), (1, 0)], [(2, 1), (1, 0), (1, 0)]])
def test_several_terms(kinds, nested, weighted, reml):
    rows = random_design(7, 90, kinds, nested, False, weighted, weighted)
    fit = rows.fit(reml)
    data = rows.y, rows.x, rows.terms, rows.weights
    sets = sets_of(np.random.default_rng(1), rows.terms, 90)
    assert_fits_of_the_rows_left(deleted_fits(fit, *data, sets), fit, data, sets)


def test_no_random_terms():
    rows = random_design(3, 30, [], False, False, True, False)
    data = rows.y, rows.x, rows.terms, rows.weights
    fit, sets = rows.fit(True), RowSets.of_lists([[0], [3, 4]])
    assert_fits_of_the_rows_left(deleted_fits(fit, *data, sets), fit, data, sets)


def test_sparse_term():
    rng = np.random.default_rng(0)
    member = (rng.random((60, 8)) < 0.3) * 1.0
    y = member @ rng.normal(size=8) + rng.normal(size=60)
    terms = [mx.SparseTerm(member, group="school")]
    model = mx.MixedLM(y, np.ones((60, 1)), terms=terms)
    fit, *data = given(model.fit())
    sets = RowSets.of_lists([[0], np.flatnonzero(member[:, 2])])
    found = deleted_fits(fit, *data, sets)
    for g in range(2):
        left = rows_left(*data, sets[g])
        want = fit_design(prepare_design(*left), True)
        assert np.isclose(found.log_likelihood[g], want.log_likelihood, rtol=1e-10)
        np.testing.assert_allclose(found.coefficients[g], want.coefficients, rtol=1e-6)


@pytest.mark.parametrize("n_levels", [8, 12])
def test_one_row_a_level_left(n_levels):
    """What is left has one row in some levels, and none in one."""
    rng = np.random.default_rng(n_levels)
    codes = np.repeat(np.arange(n_levels), 4)
    x = np.column_stack([np.ones(len(codes)), rng.normal(size=len(codes))])
    y = x.sum(axis=1) + rng.normal(size=n_levels)[codes] + rng.normal(size=len(codes))
    data = y, x, [mx.RandomTerm(codes, x)], None
    fit = fit_design(prepare_design(*data), False)
    rows = np.r_[0:4, 5:8, 9:11]
    sets = RowSets.of_lists([rows])
    assert_fits_of_the_rows_left(deleted_fits(fit, *data, sets), fit, data, sets)


@pytest.fixture(params=["one factor", "two factors"])
def arms(request):
    """A treatment that only the level 0 has, and one response far out."""
    rng = np.random.default_rng(5)
    codes, other = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
    x = np.column_stack([np.ones(48), rng.normal(size=48), (codes == 0) * (other < 3)])
    y = x.sum(axis=1) + rng.normal(size=8)[codes] + rng.normal(size=48)
    terms = [mx.RandomTerm(codes, group="g")]
    if request.param == "two factors":
        y += rng.normal(size=6)[other]
        terms.append(mx.RandomTerm(other, group="h"))
    return y, x, terms, None


def test_coefficients_that_are_not_identified(arms):
    fit = fit_design(prepare_design(*arms), True)
    found = deleted_fits(fit, *arms, RowSets.of_codes(arms[2][0].codes))
    assert "rank 2 of 3" in found.reason[0]
    assert not found.converged[0]
    assert np.isnan(found.coefficients[0]).all()
    assert np.isnan(found.covariance[0]).all()
    assert np.isnan([found.scale[0], found.log_likelihood[0]]).all()
    assert np.isnan(found.theta[0]).all()
    assert not found.is_singular[0]
    assert found.converged[1:].all()
    assert not any(found.reason[1:])


def test_too_few_rows_left(arms):
    fit = fit_design(prepare_design(*arms), True)
    sets = RowSets.of_lists([np.arange(1, 48), np.arange(48), np.arange(3, 48)])
    found = deleted_fits(fit, *arms, sets)
    assert np.isnan(found.log_likelihood).all()
    assert not found.converged.any()
    assert all(found.reason)


@pytest.mark.parametrize("size", [1e3, 1e6, 1e9])
def test_a_set_that_holds_nearly_all_of_y(arms, size):
    """The difference of sums has no digits left: the rows left are summed."""
    y, *rest = arms
    y = y.copy()
    y[20] += size
    data = y, *rest
    fit, sets = fit_design(prepare_design(*data), True), RowSets.of_lists([[20], [21]])
    found = deleted_fits(fit, *data, sets)
    want = fit_design(prepare_design(*rows_left(*data, [20])), True)
    assert np.isclose(found.log_likelihood[0], want.log_likelihood, rtol=1e-9)
    np.testing.assert_allclose(found.coefficients[0], want.coefficients, rtol=1e-6)


@pytest.mark.parametrize("size", [1e3, 1e6])
def test_a_set_that_holds_nearly_all_of_a_column(arms, size):
    y, x, *rest = arms
    x = x.copy()
    x[20, 1] *= size
    data = y, x, *rest
    fit, sets = fit_design(prepare_design(*data), True), RowSets.of_lists([[20]])
    found = deleted_fits(fit, *data, sets)
    want = fit_design(prepare_design(*rows_left(*data, [20])), True)
    assert np.isclose(found.log_likelihood[0], want.log_likelihood, rtol=1e-9)
    np.testing.assert_allclose(found.coefficients[0], want.coefficients, rtol=1e-6)


def test_levels_that_are_pooled():
    """Of many levels pseudo-levels are summed; a set takes its own off them."""
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(300), rng.integers(1, 6, 300))
    n = len(codes)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = x.sum(axis=1) + rng.normal(size=300)[codes] + rng.normal(size=n)
    data = y, x, [mx.RandomTerm(codes)], rng.uniform(0.5, 2, 300)[codes]
    for weights in (None, data[3]):
        own = *data[:3], weights
        fit = fit_design(prepare_design(*own), True)
        assert (fit.design.level_sums.weight is None) == (weights is not None)
        sets = RowSets.of_codes(np.where(codes < 8, codes, -1))
        found = deleted_fits(fit, *own, sets)
        assert_fits_of_the_rows_left(found, fit, own, sets)
        assert (found.n_evaluations <= 5).all()


def test_one_step_is_newtons():
    """One step from theta of all rows, with coefficients and scale that go with it."""
    data = mx.datasets.sleepstudy.load().data
    result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    fit, *rows = given(result)
    sets = RowSets.of_codes(rows[2][0].codes)
    found = deleted_fits(fit, *rows, sets, one_step=True)
    exact = deleted_fits(fit, *rows, sets)
    assert found.one_step
    assert not exact.one_step
    assert (found.n_evaluations <= 2).all()
    assert not any(found.reason)
    for g in (0, 5):
        left = rows_left(*rows, sets[g])
        design = prepare_design(*left)
        objective = design.objective(True)
        theta = design.inner_theta(fit.theta)
        objective.value(theta)
        slopes = objective.derivatives(theta)
        step = -slopes.gradient[0] / slopes.hessian[0, 0]
        want = design.outer_theta(theta + step)
        np.testing.assert_allclose(found.theta[g], want, rtol=1e-8)
        lams = fit.design.own_lams(found.theta[g])
        deviance = dense.deviance(left[0], left[1], left[2], lams, True)
        assert np.isclose(found.deviance[g], deviance, rtol=1e-10)
    assert (found.log_likelihood <= exact.log_likelihood + 1e-9).all()
    change = abs(exact.theta - fit.theta)
    assert (abs(found.theta - exact.theta) <= 0.2 * change + 1e-6).all()


@pytest.mark.parametrize("formula", ["(1 | plate) + (1 | sample)"])
def test_one_step_with_several_factors(formula):
    data = mx.datasets.penicillin.load().data
    fit, *rows = given(mx.mixedlm(f"diameter ~ 1 + {formula}", data).fit())
    sets = RowSets.of_codes(rows[2][0].codes)
    found = deleted_fits(fit, *rows, sets, one_step=True)
    exact = deleted_fits(fit, *rows, sets)
    assert not any(found.reason)
    assert np.isfinite(found.log_likelihood).all()
    assert (found.log_likelihood <= exact.log_likelihood + 1e-9).all()
    change = abs(exact.theta - fit.theta).max(axis=1)
    assert (abs(found.theta - exact.theta).max(axis=1) <= 0.3 * change + 1e-6).all()


@pytest.mark.parametrize("formula", ["Days + (Days | Subject)", "Days + (1 | Subject)"])
def test_jobs_and_blocks_change_nothing(formula, monkeypatch):
    data = mx.datasets.sleepstudy.load().data
    fit, *rows = given(mx.mixedlm(f"Reaction ~ {formula}", data).fit())
    sets = RowSets.of_codes(np.arange(180) // 3)
    one = deleted_fits(fit, *rows, sets)
    monkeypatch.setattr("mixedext.engine.refits.deletion_loop.BLOCK_SIZE", 500)
    pytest.importorskip("joblib")
    two = deleted_fits(fit, *rows, sets, run=runner(2, False, True))
    for name, column in vars(one).items():
        np.testing.assert_array_equal(column, getattr(two, name))


def test_singular_fits_leave_the_boundary():
    """The fit has no variance; without the level that hid it there is one."""
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(6), 5)
    y = rng.normal(size=30)
    y -= np.bincount(codes, y)[codes] / 5
    y[:25] += np.array([-1.0, 1.0, -1.0, 1.0, 0.0])[codes[:25]]
    y[25:] += np.array([30.0, -30.0, 30.0, -30.0, 0.0])
    data = y, np.ones((30, 1)), [mx.RandomTerm(codes)], None
    fit = fit_design(prepare_design(*data), True)
    sets = RowSets.of_codes(codes)
    found = deleted_fits(fit, *data, sets)
    assert fit.is_singular
    assert not found.is_singular[5]
    assert found.is_singular[0]
    assert_fits_of_the_rows_left(found, fit, data, sets)


def test_bad_input():
    data = mx.datasets.dyestuff.load().data
    model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
    fit, *rows = given(model.fit())
    with pytest.raises(ValueError, match="rows are numbered 0 to 29"):
        deleted_fits(fit, *rows, RowSets.of_lists([[30]]))
    free = mx.MixedLMParams.from_components(np.ones(1), np.zeros((1, 1)))
    start = mx.MixedLMParams.from_components(np.ones(1), np.ones((1, 1)))
    held = given(model.fit(start_params=start, free=free))
    with pytest.raises(ValueError, match="holds or penalizes"):
        deleted_fits(*held, RowSets.of_lists([[3]]))
    empty = deleted_fits(fit, *rows, RowSets.of_lists([]))
    assert len(empty) == 0
    assert empty.coefficients.shape == (0, 1)
