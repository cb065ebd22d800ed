"""Which starts are searched from, and what the verdict says of other minima."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers.residual_designs import random_design

import mixedext as mx
from mixedext.engine.residual import fit as engine_fit
from mixedext.engine.residual import search
from mixedext.exceptions import DevianceError
from mixedext.models.mixedlm.residual_fitting import residual_rows


def of_few_rows(seed):
    """Four variances, a correlation and an intercept, of eight groups of four visits."""
    rng = np.random.default_rng(seed)
    group, visit = np.divmod(np.arange(32), 4)
    keep = rng.random(32) > 0.2
    group, visit = group[keep], visit[keep]
    x = np.column_stack([np.ones(len(group)), visit])
    y = x.sum(axis=1) + 0.7 * rng.standard_normal(8)[group]
    y += rng.standard_normal(len(group))
    residual = mx.CS(visit, group=group, het=True)
    return mx.MixedLM(y, x, terms=[mx.RandomTerm(group, group="g")], residual=residual)


def fitted(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some end where a variance is zero
        return model.fit()


@pytest.fixture
def few_starts(monkeypatch):
    """No starts but those that the moments lead to."""
    monkeypatch.setattr(engine_fit, "SPREAD", 0)


@pytest.mark.usefixtures("few_starts")
@pytest.mark.parametrize(("seed", "higher"), [(11, 63.65888652), (28, 69.34307748)])
def test_an_end_at_a_limit_makes_it_search_further(seed, higher, monkeypatch):
    model = of_few_rows(seed)
    result = fitted(model)
    assert result.converged
    assert -2 * result.llf < higher - 1
    assert result.convergence.minima[-1] == pytest.approx(higher, abs=1e-6)
    assert result.convergence.found_from == "other"
    monkeypatch.setattr(search, "MOST_FURTHER", search.WITH_RANDOM)
    assert -2 * fitted(model).llf == pytest.approx(higher, abs=1e-6)


@pytest.mark.usefixtures("few_starts")
@pytest.mark.parametrize(("seed", "steps"), [(11, 3), (28, 2)])
def test_the_end_of_a_short_search_is_searched_on(seed, steps, monkeypatch):
    model = of_few_rows(seed)
    wanted = fitted(model)
    monkeypatch.setattr(search, "FEWER_STEPS", steps)
    found = fitted(model)
    assert found.converged
    assert found.llf == pytest.approx(wanted.llf, rel=1e-12)
    assert found.convergence.decrement < search.DECREMENT


def test_few_rows_of_many_parameters_may_have_other_minima():
    assert fitted(of_few_rows(11)).convergence.others_may_exist
    # an interior minimum that every search has ended at, and one without random effects
    alone = fitted(random_design("csh", 4)).convergence
    assert len(alone.minima) == 1
    assert not alone.others_may_exist


def test_starts_without_a_deviance_are_told():
    rows = residual_rows(random_design("csh", 4))
    deviance, held = rows.deviance(True), np.zeros(rows.n_psi, bool)
    starts = [np.full(rows.n_psi, np.nan), np.full(rows.n_psi, -1e6)]
    with (
        np.errstate(all="ignore"),
        pytest.raises(DevianceError, match="not finite at any start"),
    ):
        search.search_residual(deviance, starts, held)


def test_starts_without_a_deviance_are_passed_over():
    rows = residual_rows(random_design("csh", 4))
    deviance, held = rows.deviance(True), np.zeros(rows.n_psi, bool)
    starts = [np.full(rows.n_psi, np.nan), np.zeros(rows.n_psi)]
    found = search.search_residual(deviance, starts, held)
    own = fitted(random_design("csh", 4))
    assert found.value + deviance.shift == pytest.approx(-2 * own.llf, abs=1e-9)


@pytest.mark.usefixtures("few_starts")
def test_few_rows_are_searched_from_two_starts(monkeypatch):
    """Two minima inside the range of six parameters, without random effects."""
    rng = np.random.default_rng(708)
    group, visit = np.divmod(np.arange(32), 4)
    keep = rng.random(32) > 0.3
    group, visit = group[keep], visit[keep]
    x = np.column_stack([np.ones(len(group)), visit])
    y = rng.standard_normal(len(group))
    model = mx.MixedLM(y, x, residual=mx.Toeplitz(visit, group=group, het=True))
    found = fitted(model)
    assert found.convergence.minima == pytest.approx((40.70708395, 47.37597566), abs=1e-6)
    assert found.convergence.found_from == "other"
    monkeypatch.setattr(search, "FEW_ROWS", 0)
    monkeypatch.setattr(engine_fit, "FEW_ROWS", 0)
    assert -2 * fitted(model).llf == pytest.approx(47.37597566, abs=1e-6)


def variances_of_few_rows(seed):
    """Eight parameters of the covariance of some 30 rows: minima far from each other."""
    rng = np.random.default_rng(seed)
    group, visit = np.divmod(np.arange(40), 5)
    keep = rng.random(40) > 0.25
    group, visit = group[keep], visit[keep]
    x = np.column_stack([np.ones(len(group)), visit])
    y = rng.standard_normal(len(group))
    return mx.MixedLM(y, x, residual=mx.Antedependence(visit, group=group))


@pytest.mark.parametrize("seed", [55, 57])
def test_many_parameters_of_few_rows_are_searched_for_all_over(seed, monkeypatch):
    found = fitted(variances_of_few_rows(seed))
    assert found.converged
    assert found.convergence.others_may_exist
    again = fitted(variances_of_few_rows(seed))
    assert again.llf == found.llf
    monkeypatch.setattr(engine_fit, "SPREAD", 0)
    higher = fitted(variances_of_few_rows(seed))
    assert higher.converged
    assert -2 * higher.llf > -2 * found.llf + 0.1


def test_what_is_held_stays_where_it_is_in_all_starts():
    group, visit = np.divmod(np.arange(40), 5)
    y = np.random.default_rng(1).standard_normal(40)
    own = mx.AR1(visit, group=group, het=True, rho=0.5, fixed=True)
    result = fitted(mx.MixedLM(y, np.ones((40, 1)), residual=own))
    estimate = result.fitted.fit.residual
    assert estimate.psi[estimate.held] == pytest.approx(np.arctanh(0.5), rel=1e-15)


def test_starts_in_another_place_come_before_others():
    """Where the first searches end at a limit those that lie near them lead there, too."""
    at = [[2.0, 0.0], [0.5, 0.1], [1.0, 0.2], [1.0, -3.0], [1.0, 2.0], [1.0, 2.5]]
    starts = [np.array(own) for own in at]
    order = search._apart([0, 1, 2, 4, 5, 3], starts, 2, 1)
    assert order == [0, 1, 4, 3, 2, 5]
