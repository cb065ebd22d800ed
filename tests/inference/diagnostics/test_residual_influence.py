"""Influence of residual groups against n x n matrices, and against other models."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from helpers.dense_relative import DenseRelative
from helpers.residual_designs import STRUCTURES, random_design
from helpers.residual_fits import fev_fit, series
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.residual.roots import matrices
from mixedext.engine.residual.rows import residual_curves
from mixedext.specification.covariance.residual_taken import on_whole_groups


def fitted(model, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few rows some end where a variance is zero
        return model.fit(**arguments)


def subjects(model):
    """The residual group of every row."""
    return model.residual.group_codes


def by_definition(result, deleted):
    """b - b_I, F_I and sigma_I^2 with (theta, psi) held, by n x n matrices."""
    rows = result.fitted.fit.residual.rows
    estimate = result.fitted.fit.residual
    v = DenseRelative(rows, True).covariance(np.concatenate([estimate.theta, estimate.psi]))
    found = []
    for left in (np.ones(len(rows.y), bool), ~deleted):
        x, y = rows.x[left], rows.y[left]
        inverse = np.linalg.inv(v[np.ix_(left, left)])
        f = np.linalg.inv(x.T @ inverse @ x)
        b = f @ x.T @ inverse @ y
        e = y - x @ b
        found.append((b, f, e @ inverse @ e, len(y)))
    (b, f, _, n), (own, own_f, square, left) = found
    dof = result.fitted.fit.objective.dof - (n - left)
    return b - own, f, own_f, square / dof


@pytest.mark.parametrize("random", ["none", "same", "slopes", "finer"])
@pytest.mark.parametrize("kind", ["us", "ar1h", "car1", "gau+nugget"])
def test_held_parameters(kind, random):
    if kind == "us" and random == "same":
        random = "finer"
    result = fitted(random_design(kind, 6, random, weighted=True))
    codes = subjects(result.model)
    found = result.get_influence(by=codes)
    scale, p = result.scale, 4
    assert len(found.index) == 14
    for g in range(14):
        change, f, own_f, own_scale = by_definition(result, codes == g)
        cook = change @ np.linalg.solve(f, change) / (p * scale)
        assert_allclose(found.cooks_distance[0][g], cook, rtol=1e-7)
        mdffits = change @ np.linalg.solve(own_f, change) / (p * scale)
        assert_allclose(found.mdffits[g], mdffits, rtol=1e-7)
        ratio = np.linalg.det(own_f) / np.linalg.det(f)
        assert_allclose(found.cov_ratio[g], ratio, rtol=1e-7)
        assert_allclose(found.sigma2_not_obsi[g], own_scale, rtol=1e-7)
        assert_allclose(
            found.dfbetas[g],
            change / np.sqrt(own_scale * own_f.diagonal()),
            rtol=1e-6,
            atol=1e-9,
        )


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize(
    ("kind", "random"), [("ar1", "none"), ("cs", "none"), ("ar1", "finer"), ("csh", "none")]
)
def test_refits_are_fits_of_the_other_groups(kind, random, reml):
    model = random_design(kind, 3, random, weighted=True)
    result = fitted(model, reml=reml)
    codes = subjects(model)
    found = result.get_influence(by=codes, method="refit")
    scale = np.asarray(result.bse_fe)
    for g in (0, 5, 13):
        left = codes != g
        # visits by their places among all of them
        visits = model.residual.visit_codes
        visit = np.zeros(left.sum()) if visits is None else visits[left]
        other = mx.MixedLM(
            model.endog[left],
            model.exog[left],
            terms=[term.take(left) for term in model.random_terms],
            weights=model.weights[left],
            residual=STRUCTURES[kind](visit, codes[left]),
        )
        own = fitted(other, reml=reml)
        assert_allclose(found.llf_not_obsi[g], own.llf, rtol=1e-8)
        change = np.asarray(result.fe_params) - np.asarray(own.fe_params)
        assert_allclose(
            found.dfbetas[g] * np.asarray(own.bse_fe), change, atol=1e-5 * scale.max()
        )
        assert_allclose(found.sigma2_not_obsi[g], own.scale, rtol=1e-4)


def test_displacement_is_the_fall_of_the_likelihood():
    for reml in (True, False):
        model = random_design("ar1", 3)
        result = fitted(model, reml=reml)
        codes = subjects(model)
        found = result.get_influence(by=codes, method="refit")
        refits = found._refits
        rows = result.fitted.fit.residual.rows
        dense = DenseRelative(rows, reml)
        v = dense.covariance(refits.psi[4]) * refits.scale[4]
        inverse = np.linalg.inv(v)
        x, y = rows.x, rows.y
        b = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
        if not reml:
            b = refits.coefficients[4]
        e = y - x @ b
        wanted = np.linalg.slogdet(v)[1] + e @ inverse @ e
        wanted += (len(y) - 4 * reml) * np.log(2 * np.pi)
        if reml:
            wanted += np.linalg.slogdet(x.T @ inverse @ x)[1]
        displacement = wanted + 2 * result.llf
        assert displacement > 0
        assert_allclose(found.likelihood_displacement[4], displacement, rtol=1e-6)


def test_variances_by_name():
    result = fev_fit("us(AVISIT | USUBJID)")
    found = result.get_influence(by="USUBJID", method="refit")
    change = found.relative_variance_change
    assert change.columns[:2].tolist() == ["UN(1,1)", "UN(2,1)"]
    assert change.index.name == "USUBJID"
    worst = found.summary_frame()["cooks_d"].idxmax()
    data = result.model.data.frame
    without = result.update(data=data[data["USUBJID"] != worst])
    own = result.residual.params, without.residual.params
    assert_allclose(change.loc[worst], own[1] / own[0] - 1, atol=1e-5)


def test_one_step_is_near_the_refit():
    result = fev_fit("ar1(AVISIT | USUBJID)")
    step, refit, held = (
        result.get_influence(by="USUBJID", method=m) for m in ("one-step", "refit", "held")
    )
    gaps = [
        np.abs(f.cooks_distance[0] - refit.cooks_distance[0]).max() for f in (step, held)
    ]
    assert gaps[0] < gaps[1] / 3


def test_factors_of_groups_and_products():
    """An arm is a set of subjects, and both arms cannot go."""
    result = fev_fit("ar1(AVISIT | USUBJID)", formula="FEV1 ~ AVISIT")
    found = result.get_influence(by="ARMCD")
    assert found.index.tolist() == ["PBO", "TRT"]
    both = result.get_influence(by=["ARMCD", "USUBJID"])
    assert_allclose(both.mdffits[:2], found.mdffits, rtol=1e-10)
    assert len(pickle.loads(pickle.dumps(found)).mdffits) == 2


def test_units_that_share_a_residual_group_are_refused():
    result = fev_fit("ar1(AVISIT | USUBJID)")
    with pytest.raises(ValueError, match="only some rows of a residual group of 'USUBJID'"):
        result.get_influence(by="AVISIT")
    with pytest.raises(NotImplementedError, match="give by='USUBJID'"):
        result.get_influence()


def test_variances_of_fitted_values_are_held_only():
    result = mx.mixedlm("y ~ x", series(), variance="power(fitted)").fit()
    group = series()["subject"].to_numpy()
    assert result.get_influence(by=group).mdffits.shape == (len(np.unique(group)),)
    with pytest.raises(NotImplementedError, match="use method='held'"):
        result.get_influence(by=group, method="refit")


def test_groups_without_which_a_coefficient_is_not_determined():
    data = series().assign(first=lambda d: 1.0 * (d["subject"] == d["subject"].min()))
    result = mx.mixedlm("y ~ x + first", data, residual="ar1(visit | subject)").fit()
    for method in ("held", "refit"):
        with pytest.warns(mx.exceptions.NotEstimableWarning):
            found = result.get_influence(by="subject", method=method)
        assert np.flatnonzero(np.isnan(found.mdffits)).tolist() == [0]


@pytest.mark.parametrize("by", [False, True])
@pytest.mark.parametrize("kind", STRUCTURES)
def test_groups_taken_several_times(kind, by):
    """Lambda of the groups taken is that of the groups, whatever the order of the rows."""
    model = random_design(kind, 5, by=by)
    bound, rng = model.residual, np.random.default_rng(1)
    draws = rng.integers(0, 14, 9)
    rows = [rng.permutation(np.flatnonzero(subjects(model) == g)) for g in draws]
    number = np.repeat(np.arange(9), [len(r) for r in rows])
    at = rng.permutation(len(number))
    rows, number = np.concatenate(rows)[at], number[at]
    taken = on_whole_groups(bound, rows, number)
    psi = 0.1 * rng.standard_normal(bound.n_parameters)
    whole = dense(bound, psi)[np.ix_(rows, rows)]
    wanted = whole * (number[:, None] == number)
    assert_allclose(dense(taken, psi), wanted, rtol=1e-13)
    assert taken.n_groups == 9
    assert (subjects(model)[rows] == draws[taken.group_codes]).all()


def dense(bound, psi):
    assert len(residual_curves(bound)) == bound.n_levels
    out = np.zeros((bound.n_obs,) * 2)
    for batch, own in zip(bound.batches, matrices(bound, psi), strict=True):
        for rows, pattern in zip(batch.rows, batch.pattern, strict=True):
            out[np.ix_(rows, rows)] = own[pattern]
    return out
