"""Bootstraps of whole residual groups: each replicate is a model of the rows drawn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers.residual_designs import STRUCTURES, random_design
from helpers.residual_fits import fev_fit, series
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.inference.bootstrap.one_by_one import cases_sampler


def fitted(model, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few rows some end where a variance is zero
        return model.fit(**arguments)


def block_seeds(monkeypatch):
    """The seeds of the blocks of replicates, as they are given out."""
    from mixedext.inference.bootstrap import bootstrapping

    seen, own = [], bootstrapping.blocks_of

    def kept(*arguments):
        blocks = list(own(*arguments))
        seen.extend(blocks)
        return blocks

    monkeypatch.setattr(bootstrapping, "blocks_of", kept)
    return seen


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize(
    ("kind", "random"),
    [("ar1", "none"), ("csh", "none"), ("toep", "none"), ("ar1", "finer")],
)
def test_replicates_are_models_of_the_rows_drawn(kind, random, reml, monkeypatch):
    model = random_design(kind, 3, random, weighted=True)
    result = fitted(model, reml=reml)
    seeds = block_seeds(monkeypatch)
    found = result.bootstrap_cases(3, rng=5)
    rng = np.random.default_rng(seeds[0][1])
    sampler = cases_sampler(model, None, False)
    residual = model.residual
    for k in range(3):
        rows, number = sampler.draw(rng)
        terms = sampler.terms_of(rows, number)
        group = number * 14 + residual.group_codes[rows]
        other = mx.MixedLM(
            model.endog[rows],
            model.exog[rows],
            terms=terms,
            weights=model.weights[rows],
            residual=STRUCTURES[kind](residual.visit_codes[rows], group),
        )
        own = fitted(other, reml=reml)
        if own.convergence.status != "interior":
            continue  # limits are reached to more or less
        assert_allclose(found.refits.llf[k], own.llf, rtol=1e-8)
        error = np.asarray(own.bse_fe).max()
        assert_allclose(found.refits.fe_params[k], own.fe_params, atol=1e-4 * error)
        assert_allclose(
            found.refits.residual[k], own.params[-residual.n_parameters :], atol=1e-3
        )


def test_statistics_see_results_of_the_rows_drawn():
    result = fev_fit("ar1(AVISIT | USUBJID)")
    plain = result.bootstrap_cases(4, rng=2)

    def statistic(own):
        return {"rho": own.params["AR1 rho"], "sd": own.resid_normalized.std()}

    seen = result.bootstrap_cases(4, rng=2, statistic=statistic)
    assert_allclose(plain.refits.residual[:, 0], seen.refits.residual[:, 0], rtol=1e-5)
    assert_allclose(seen.replicates["rho"], seen.refits.residual[:, 0], rtol=1e-12)
    assert seen.replicates["sd"].between(0.9, 1.1).all()


def test_standard_errors_are_those_of_the_model_where_that_is_right():
    rng = np.random.default_rng(4)
    subject, visit = np.divmod(np.arange(1200), 4)
    lag = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    root = np.linalg.cholesky(0.6**lag)
    y = (rng.standard_normal((300, 4)) @ root.T).ravel()
    x = np.column_stack([np.ones(1200), visit, subject % 2])
    result = mx.MixedLM(y, x, residual=mx.AR1(visit, group=subject)).fit()
    found = result.bootstrap_cases(300, rng=3).table["std_err"].to_numpy()
    ratio = found[:3] / np.asarray(result.bse_fe)
    assert (np.abs(ratio - 1) < 0.2).all()


def test_groups_are_the_coarsest_factor_or_named():
    data = series().assign(cluster=lambda d: d["subject"] // 3)
    model = mx.mixedlm("y ~ x + (1 | cluster)", data, residual="ar1(visit | subject)")
    n_subjects = data["subject"].nunique()
    assert len(cases_sampler(model, None, False).start) == 1 + data["cluster"].nunique()
    plain = mx.mixedlm("y ~ x", data, residual="ar1(visit | subject)")
    assert len(cases_sampler(plain, None, False).start) == 1 + n_subjects
    assert len(cases_sampler(plain, "subject", False).start) == 1 + n_subjects
    assert len(cases_sampler(plain, "cluster", False).start) < n_subjects
    with pytest.raises(ValueError, match="residual groups of 'subject' are not nested"):
        cases_sampler(plain, "visit", False)
    with pytest.raises(ValueError, match="crossed with the factor"):
        cases_sampler(model, "subject", False)
    with pytest.raises(ValueError, match="within=True draws single rows"):
        cases_sampler(plain, None, True)


def test_rows_are_cases_of_independent_rows():
    result = mx.mixedlm("y ~ x", series(), variance="ident(visit)").fit()
    found = result.bootstrap_cases(5, rng=1)
    assert found.n_failed == 0
    assert found.refits.residual.shape == (5, result.model.residual.n_parameters)
    again = result.bootstrap_cases(5, rng=1, within=True)
    assert again.n_failed == 0


@pytest.mark.formula_engine
@pytest.mark.parametrize("variance", ["ident(arm)", "power(fitted)"])
def test_rows_of_a_level_that_are_drawn_twice_are_two(variance, monkeypatch):
    data = series().assign(y=lambda d: d["y"] + 40)
    result = mx.mixedlm("y ~ x + (1 | subject)", data, variance=variance).fit()
    seeds = block_seeds(monkeypatch)
    found = result.bootstrap_cases(3, rng=1, within=True)
    assert found.n_failed == 0
    rng = np.random.default_rng(seeds[0][1])
    sampler = cases_sampler(result.model, None, True)
    for k in range(3):
        rows, number = sampler.draw(rng)
        drawn = data.iloc[rows].assign(subject=number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = mx.mixedlm("y ~ x + (1 | subject)", drawn, variance=variance).fit()
        assert_allclose(found.refits.llf[k], other.llf, rtol=1e-7)
        assert_allclose(found.refits.fe_params[k], other.fe_params, rtol=1e-4, atol=1e-4)


def test_variances_of_fitted_values_follow_those_of_the_replicate():
    data = series().assign(y=lambda d: d["y"] + 40)
    result = mx.mixedlm("y ~ x", data, variance="power(fitted)").fit()
    found = result.bootstrap_cases(3, rng=1, group="subject")
    assert found.n_failed == 0
    assert np.ptp(found.refits.residual[:, 0]) > 0
