"""Limits, reflated residuals, resampled cases and laws of statistics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

import mixedext as mx
from mixedext.inference.bootstrap import (
    CasesSampler,
    ResidualSampler,
    TestLaw,
    covariance_parameters,
    limits,
    reflated,
)
from mixedext.specification.parameter_names import covariance_names


def test_limits_of_a_known_sample():
    values = np.random.default_rng(0).permutation(np.arange(1.0, 1000.0))  # 1 .. 999
    low, high = limits(values, 480.0, 0.95, "percentile")
    assert (low, high) == pytest.approx((25.0, 975.0), abs=1e-9)  # (n + 1) p
    assert limits(values, 480.0, 0.95, "basic") == pytest.approx((960 - 975, 960 - 25))
    margin = 1.959963984540054 * values.std(ddof=1)
    assert limits(values, 480.0, 0.95, "normal") == pytest.approx(
        (460 - margin, 460 + margin)
    )
    assert np.isnan(limits(values[:1], 0.0, 0.95, "percentile")).all()


def test_the_shortest_interval_is_the_shortest():
    values = np.random.default_rng(1).exponential(size=2001)
    low, high = limits(values, 1.0, 0.9, "shortest")
    assert low < 0.02  # the density falls
    assert np.mean((values >= low) & (values <= high)) >= 0.9
    ordered = np.sort(values)
    count = int(np.ceil(0.9 * 2001))
    widths = [ordered[i + count - 1] - ordered[i] for i in range(2001 - count + 1)]
    assert high - low == min(widths)


def _terms(structure, k, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(5), 4)
    z = rng.normal(size=(20, k))
    names = [f"x{i}" for i in range(k)]
    return mx.RandomTerm(codes, z, "g", names, structure)


def _parameters(terms, theta, scale):
    values = covariance_parameters(terms, theta, scale)
    return pd.DataFrame(values, columns=covariance_names(terms))


@pytest.mark.parametrize("structure", ["unstructured", "diagonal", "identity"])
def test_parameters_are_those_of_each_covariance(structure):
    term, other = _terms(structure, 3), _terms("unstructured", 2)
    rng = np.random.default_rng(2)
    width = term.structure.n_theta
    theta = rng.normal(size=(7, width + other.structure.n_theta))
    scale = rng.uniform(0.5, 2.0, 7)
    got = _parameters([term, other], theta, scale)
    for r in range(7):
        lam = term.structure.lam(theta[r, :width])
        covariance = scale[r] * lam @ lam.T
        sd = np.sqrt(np.diag(covariance))
        if structure == "identity":
            assert got["sd g"][r] == pytest.approx(sd[0])
        else:
            assert got["sd x1|g"][r] == pytest.approx(sd[1])
        if structure == "unstructured":
            want = covariance[2, 1] / (sd[1] * sd[2])
            assert got["cor x1.x2|g"][r] == pytest.approx(want)
            assert "sd x0|g.2" in got  # the second term of the same names
    np.testing.assert_allclose(got["sigma"], np.sqrt(scale))


def test_correlations_with_no_variance_are_missing():
    term = _terms("unstructured", 2)
    got = _parameters([term], np.array([[0.0, 0.0, 1.0]]), np.ones(1))
    assert np.isnan(got["cor x0.x1|g"][0])
    assert got["sd x1|g"][0] == 1.0


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_reflated_effects_have_the_covariance(rank):
    rng = np.random.default_rng(rank)
    root = rng.normal(size=(3, rank)) * np.array([[1.0], [1e3], [1e-3]])
    covariance = root @ root.T
    effects = rng.normal(size=(40, rank)) @ root.T * 0.6 + 0.1 * root.sum(axis=1)
    out = reflated(effects, covariance)
    size = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-12 * size.max(initial=1e-300))
    moments = out.T @ out / len(out)
    np.testing.assert_allclose(moments, covariance, atol=1e-10 * np.outer(size, size).max())
    if rank == 3:  # Carpenter, Goldstein and Rasbash's A = (L_Sigma L_S^-1)'
        centred = effects - effects.mean(axis=0)
        s = np.linalg.cholesky(centred.T @ centred / 40)
        a = (np.linalg.cholesky(covariance) @ np.linalg.inv(s)).T
        np.testing.assert_allclose(out / size, centred @ a / size, atol=1e-9)


def test_residual_draws_are_rows_of_what_was_reflated():
    rng = np.random.default_rng(0)
    term = mx.RandomTerm(np.repeat(np.arange(6), 3), group="g")
    weights = rng.uniform(0.5, 2.0, 18)
    draws = ResidualSampler(
        [term],
        [rng.normal(size=(6, 1))],
        [np.array([[2.0]])],
        np.arange(18.0),
        rng.normal(size=18),
        0.7,
        weights,
    )
    assert np.mean(draws.effects[0] ** 2) == pytest.approx(2.0)
    assert np.mean(draws.residuals**2) == pytest.approx(0.7)
    y = draws(500, np.random.default_rng(1))
    effect = draws.effects[0][:, 0]
    # every response less its mean is one effect a level and one residual a row
    rest = y - np.arange(18.0)[:, None]
    found = [
        any(
            np.isclose((rest[:3, r] - e) * np.sqrt(weights[:3]), draws.residuals[:, None])
            .any(axis=0)
            .all()
            for e in effect
        )
        for r in range(20)
    ]
    assert all(found)


def test_cases_keep_whole_levels_and_what_is_nested_in_them():
    outer = np.repeat(np.arange(4), 6)
    inner = np.repeat(np.arange(8), 3)
    order = np.random.default_rng(0).permutation(24)
    outer, inner = outer[order], inner[order]
    matrix = sparse.csr_array((np.ones(24), (np.arange(24), inner)), shape=(24, 8))
    terms = [
        mx.RandomTerm(outer, group="outer"),
        mx.RandomTerm(inner, group="inner"),
        mx.SparseTerm(matrix, group="members"),
    ]
    sampler = CasesSampler(terms, terms[0].codes, within=False)
    rng = np.random.default_rng(1)
    for _ in range(20):
        rows, number = sampler.draw(rng)
        assert len(rows) == 24
        for draw in range(4):
            own = rows[number == draw]
            assert len(set(outer[own])) == 1
            assert sorted(own) == sorted(np.flatnonzero(outer == outer[own[0]]))
        new = sampler.terms_of(rows, number)
        assert [t.n_levels for t in new] == [4, 8, 8]
        for term, codes in zip(new[:2], (outer, inner), strict=True):
            pairs = {
                (n, c): t for n, c, t in zip(number, codes[rows], term.codes, strict=True)
            }
            assert len(set(pairs.values())) == len(pairs) == term.n_levels
        together = new[2].matrix.toarray()
        np.testing.assert_array_equal(
            together @ together.T, new[1].codes[:, None] == new[1].codes
        )


def test_rows_within_levels_are_drawn_from_the_level():
    codes = np.repeat(np.arange(5), [1, 2, 3, 4, 50])
    sampler = CasesSampler([mx.RandomTerm(codes, group="g")], codes, within=True)
    rows, number = sampler.draw(np.random.default_rng(3))
    for draw in range(5):
        own = rows[number == draw]
        level = set(codes[own])
        assert len(level) == 1
        assert len(own) == np.count_nonzero(codes == level.pop())
    assert len(set(rows)) < len(rows)


def test_crossed_factors_are_refused():
    a, b = np.repeat(np.arange(4), 6), np.tile(np.arange(6), 4)
    terms = [mx.RandomTerm(a, group="a"), mx.RandomTerm(b, group="b")]
    with pytest.raises(ValueError, match="'b' is crossed with the factor"):
        CasesSampler(terms, a, within=False)


def test_laws_of_a_statistic():
    draws = np.random.default_rng(0).chisquare(2, 9999) * 1.3
    law = TestLaw(7.0, draws, 2)
    count = int((draws >= 7.0).sum())
    assert law.n_extreme == count
    assert law.pvalue == (count + 1) / 10_000
    laws = law.laws()
    mean, variance = draws.mean(), draws.var(ddof=1)
    assert laws["LRT"][3] == stats.chi2.sf(7.0, 2)
    assert laws["Bartlett"][3] == pytest.approx(stats.chi2.sf(7.0 * 2 / mean, 2))
    assert laws["gamma"][3] == pytest.approx(
        stats.gamma.sf(7.0, mean**2 / variance, scale=variance / mean)
    )
    statistic, df, denominator, p = laws["F"]
    assert (statistic, df) == (3.5, 2)
    assert denominator / (denominator - 2) == pytest.approx(mean / 2)  # mean of F
    assert p == pytest.approx(stats.f.sf(3.5, 2, denominator))
    truth = stats.chi2.sf(7.0 / 1.3, 2)
    for name in ("parametric bootstrap", "Bartlett", "gamma"):
        assert laws[name][3] == pytest.approx(truth, rel=0.06)


def test_failures_count_as_extreme():
    draws = np.array([0.5, np.nan, 3.0, 1.0])
    law = TestLaw(2.0, draws, 1)
    assert law.n_extreme == 2
    assert law.pvalue == 3 / 5
    assert np.isfinite(law.laws()["Bartlett"][3])


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (4, 4), (2, 3)])
def test_effects_of_too_few_levels_are_refused(shape):
    effects = np.random.default_rng(0).normal(size=shape)
    with pytest.raises(np.linalg.LinAlgError, match="fewer directions"):
        reflated(effects, np.eye(shape[1]))


def test_the_shortest_interval_counts_without_rounding():
    values = np.arange(100.0)  # 0.55 * 100 is 55.00000000000001
    low, high = limits(values, 50.0, 0.55, "shortest")
    assert high - low == 54.0
