"""Cluster-robust covariance against dense n x n statements of the published formulas."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from helpers.dense import covariance as dense_covariance
from helpers.versions import needs_statsmodels_15
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, sparse
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups

import mixedext as mx
from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.engine.rows.design import prepare_design
from mixedext.exceptions import ClusterWarning
from mixedext.inference.fixed_effects import cluster_blocks
from mixedext.inference.fixed_effects.robust import (
    CovarianceTests,
    cluster_covariance,
    two_way_covariance,
)
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

KINDS = ["CR0", "CR1", "CR2", "CR3"]


def design(rng, n=60, clusters=8, p=3, kind="nested", weights=False, slope=True):
    """Rows in random order: y, x, terms, clusters, weights."""
    cluster = np.append(np.arange(clusters), rng.integers(clusters, size=n - clusters))
    inner = cluster * 3 + rng.integers(3, size=n)
    x = np.column_stack([np.ones(n), rng.standard_normal((n, p - 1))])
    if p > 2:
        x[:, 2] = rng.standard_normal(clusters)[cluster]  # constant within clusters
    z = np.column_stack([np.ones(n), x[:, 1]]) if slope else None
    terms = [RandomTerm(cluster, z, group="c")]
    if kind == "nested":
        terms.append(RandomTerm(inner, group="i"))
    elif kind == "crossed":
        terms.append(RandomTerm(rng.integers(5, size=n), group="o"))
    y = x @ rng.standard_normal(p) + rng.standard_normal(clusters)[cluster]
    y += rng.standard_normal(n)
    w = rng.uniform(0.3, 4, n) if weights else None
    return y, x, terms, cluster, w


def conditional_residual(fit, y, x, terms):
    mean = x[:, fit.design.basis.kept] @ fit.coefficients
    for term, effect in zip(terms, fit.effects, strict=True):
        mean = mean + (term.z * effect[term.codes]).sum(axis=1)
    return y - mean


def geometric_mean(a, b):
    """Symmetric solution g of g b^-1 g = a, by arithmetic and harmonic means."""
    for _ in range(100):
        a, b = (a + b) / 2, 2 * np.linalg.inv(np.linalg.inv(a) + np.linalg.inv(b))
    return a


class Dense:
    """The formulas of Pustejovsky and Tipton (2018), n x n."""

    def __init__(self, kind, fit, y, x, terms, cluster, w):
        v = fit.scale * dense_covariance(terms, fit.lams, w)
        inverse = np.linalg.inv(v)
        bread = np.linalg.inv(x.T @ inverse @ x)
        hat = x @ bread @ x.T @ inverse
        n, p = x.shape
        groups = np.unique(cluster)
        adjust = np.zeros((n, n))
        for g in groups:
            at = np.ix_(cluster == g, cluster == g)
            own = np.eye((cluster == g).sum())
            if kind == "CR3":
                own = np.linalg.pinv(own - hat[at], rcond=1e-9)
            elif kind == "CR2":
                d = linalg.cholesky(v[at])
                half = np.eye(n) - hat
                error = (half @ v @ half.T)[at]
                value, vector = np.linalg.eigh(d @ error @ d.T)
                if fit.theta.max() > 10:  # its small roots would have no digits
                    own = geometric_mean(v[at], np.linalg.inv(error))
                else:
                    keep = value > 1e-9 * value[-1]
                    root = vector[:, keep] / np.sqrt(value[keep]) @ vector[:, keep].T
                    own = d.T @ root @ d
            adjust[at] = own
        member = (cluster[:, None] == groups).astype(float)
        residual = y - hat @ y
        # the terms of the estimate's error are d_g = p_g'r
        self.p = [
            (adjust.T @ inverse @ x @ bread) * member[:, [g]] for g in range(len(groups))
        ]
        self.factor = 1.0
        count = len(groups)
        if kind == "CR1":
            self.factor = count / (count - 1) * (n - 1) / (n - p)
        parts = np.array([q.T @ residual for q in self.p])
        self.covariance = self.factor * parts.T @ parts
        half = np.eye(n) - hat
        self.error = half @ v @ half.T

    def joint(self, rows):
        """Cov of d_gs and d_ht, (g, s, h, t)."""
        big = np.concatenate([q @ rows.T for q in self.p], axis=1)
        q = len(rows)
        out = big.T @ self.error @ big
        return out.reshape(len(self.p), q, len(self.p), q)

    def df(self, row):
        gamma = self.joint(row[None])[:, 0, :, 0]
        return np.trace(gamma) ** 2 / (gamma**2).sum()

    def wishart_df(self, rows):
        gamma = self.joint(rows)
        mean = np.einsum("gsgt->st", gamma)
        value, vector = np.linalg.eigh(mean)
        change = vector / np.sqrt(value) @ vector.T
        gamma = np.einsum("gsht,su,tv->guhv", gamma, change, change)
        total = 0.0
        for s in range(len(rows)):
            for t in range(len(rows)):
                total += (gamma[:, s, :, s] * gamma[:, t, :, t]).sum()
                total += (gamma[:, s, :, t] * gamma[:, t, :, s]).sum()
        return len(rows) * (len(rows) + 1) / total


def compare(kind, fit, y, x, terms, cluster, w, tolerance=1e-9):
    residual = conditional_residual(fit, y, x, terms)
    got = cluster_covariance(fit, kind, cluster, x, residual, terms, w, moments=True)
    want = Dense(kind, fit, y, x, terms, cluster, w)
    size = np.sqrt(np.diag(want.covariance))
    scale = np.outer(size, size)
    assert np.abs((got.covariance - want.covariance) / scale).max() < tolerance
    rows = np.vstack([np.eye(x.shape[1]), np.arange(1.0, 1 + x.shape[1])])
    df = [want.df(row) for row in rows]
    np.testing.assert_allclose(got.moments.df(rows), df, rtol=100 * tolerance)
    np.testing.assert_allclose(
        got.moments.wishart_df(rows[:2]), want.wishart_df(rows[:2]), rtol=100 * tolerance
    )
    one = got.moments.wishart_df(rows[:1])  # of one combination HTZ is Satterthwaite's
    np.testing.assert_allclose(one, df[0], rtol=100 * tolerance)
    return got


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("nested", ["nested", "one"])
@pytest.mark.parametrize("kind", KINDS)
def test_against_dense(kind, nested, weights, reml):
    rng = np.random.default_rng(3)
    y, x, terms, cluster, w = design(rng, kind=nested, weights=weights)
    fit = fit_design(prepare_design(y, x, terms, w), reml)
    got = compare(kind, fit, y, x, terms, cluster, w)
    assert not len(got.determined)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(KINDS),
    nested=st.sampled_from(["nested", "one"]),
    weights=st.booleans(),
    size=st.floats(-3, 3),
    clusters=st.integers(5, 12),
)
def test_small_designs_at_any_theta(seed, kind, nested, weights, size, clusters):
    rng = np.random.default_rng(seed)
    y, x, terms, cluster, w = design(rng, kind=nested, weights=weights, clusters=clusters)
    prepared = prepare_design(y, x, terms, w)
    theta = np.array([1.0, 0.3, 0.8, 0.5])[: 4 if nested == "nested" else 3]
    fit = evaluate_design(prepared, True, theta * 2.0**size)
    compare(kind, fit, y, x, terms, cluster, w, 1e-8)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_zero_variance_of_a_term_that_is_not_nested(kind, weights):
    rng = np.random.default_rng(9)
    y, x, terms, cluster, w = design(rng, kind="crossed", weights=weights)
    prepared = prepare_design(y, x, terms, w)
    fit = evaluate_design(prepared, False, np.array([0.7, 0.2, 0.4, 0.0]))
    compare(kind, fit, y, x, terms, cluster, w, 1e-8)


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
def test_a_cluster_that_alone_identifies_a_coefficient(kind):
    rng = np.random.default_rng(4)
    y, x, terms, cluster, w = design(rng, slope=False)
    x = np.column_stack([x, cluster == 2])
    fit = evaluate_design(prepare_design(y, x, terms), True, np.array([0.9, 0.6]))
    residual = conditional_residual(fit, y, x, terms)
    got = cluster_covariance(fit, kind, cluster, x, residual, terms)
    want = Dense(kind, fit, y, x, terms, cluster, w)
    assert got.determined.tolist() == [2]
    # of the last coefficient there is none
    known = np.ix_(range(3), range(3))
    assert np.isnan(got.covariance[3]).all()
    assert np.isnan(got.covariance[:, 3]).all()
    assert np.isfinite(got.covariance[known]).all()
    if kind == "CR2":
        np.testing.assert_allclose(
            got.covariance[known], want.covariance[known], rtol=1e-7, atol=1e-12
        )


@pytest.mark.parametrize("size", [1e-4, 1e-2, 30.0, 1e3])
def test_extreme_variances(size):
    rng = np.random.default_rng(5)
    y, x, terms, cluster, w = design(rng, kind="one", slope=False)
    fit = evaluate_design(prepare_design(y, x, terms), True, np.array([size]))
    # with one term of intercepts V_g has two eigenvalues: the dense roots are accurate
    for kind in KINDS:
        compare(kind, fit, y, x, terms, cluster, w, 1e-10 if size < 10 else 1e-6)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("kind", ["CR0", "CR1"])
def test_crossed_factors_by_dense_algebra(kind, weights):
    rng = np.random.default_rng(6)
    y, x, terms, cluster, w = design(rng, kind="crossed", weights=weights)
    theta = np.array([0.9, 0.1, 0.5, 0.7])
    fit = evaluate_design(prepare_design(y, x, terms, w), True, theta)
    residual = conditional_residual(fit, y, x, terms)
    got = cluster_covariance(fit, kind, cluster, x, residual, terms, w)
    want = Dense(kind, fit, y, x, terms, cluster, w)
    np.testing.assert_allclose(got.covariance, want.covariance, rtol=1e-8)
    with pytest.raises(ValueError, match="'o' occur in several clusters"):
        cluster_covariance(fit, "CR2", cluster, x, residual, terms, w)
    with pytest.raises(ValueError, match="degrees of freedom"):
        cluster_covariance(fit, kind, cluster, x, residual, terms, w, moments=True)


def ols_limit(rng, weights=False, n=80):
    """A model whose variances are zero, and statsmodels' least squares."""
    y, x, terms, cluster, w = design(rng, n=n, kind="one", slope=False, weights=weights)
    fit = evaluate_design(prepare_design(y, x, terms, w), True, np.zeros(1))
    ols = sm.WLS(y, x, weights=1.0 if w is None else w).fit()
    return fit, ols, y, x, terms, cluster, w


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("correct", [False, True])
def test_no_random_effects_is_statsmodels_cluster(weights, correct):
    fit, ols, y, x, terms, cluster, w = ols_limit(np.random.default_rng(1), weights)
    residual = conditional_residual(fit, y, x, terms)
    kind = "CR1" if correct else "CR0"
    got = cluster_covariance(fit, kind, cluster, x, residual, terms, w).covariance
    want = cov_cluster(ols, cluster, use_correction=correct)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-14)


@needs_statsmodels_15
def test_no_random_effects_is_statsmodels_crv3():
    fit, ols, y, x, terms, cluster, _w = ols_limit(np.random.default_rng(1))
    residual = conditional_residual(fit, y, x, terms)
    got = cluster_covariance(fit, "CR3", cluster, x, residual, terms).covariance
    want = cov_cluster(ols, cluster, use_correction=False, crv_type="cluster-crv3")
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("correct", [False, True])
def test_two_ways_are_statsmodels_in_the_limit(correct):
    fit, ols, y, x, terms, cluster, _w = ols_limit(np.random.default_rng(2), n=300)
    other = np.random.default_rng(7).integers(9, size=len(y))
    residual = conditional_residual(fit, y, x, terms)
    got = two_way_covariance(
        fit, "CR1" if correct else "CR0", cluster, other, x, residual, terms
    )
    pair = np.column_stack([cluster, other])
    want = cov_cluster_2groups(ols, pair, use_correction=correct)[0]
    assert not got.clipped
    assert got.n_clusters == (8, 9)
    np.testing.assert_allclose(got.covariance, want, rtol=1e-9, atol=1e-14)
    with pytest.raises(ValueError, match="two-way"):
        two_way_covariance(fit, "CR2", cluster, other, x, residual, terms)


@pytest.mark.parametrize("weights", [False, True])
def test_two_ways_with_random_effects_by_dense_algebra(weights):
    rng = np.random.default_rng(8)
    y, x, terms, cluster, w = design(rng, n=300, clusters=20, kind="one", weights=weights)
    other = rng.integers(15, size=len(y))
    y += 2 * rng.standard_normal(15)[other]
    terms.append(RandomTerm(other, group="o"))
    theta = np.array([0.9, 0.1, 0.5, 0.7])
    fit = evaluate_design(prepare_design(y, x, terms, w), True, theta)
    residual = conditional_residual(fit, y, x, terms)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClusterWarning)
        got = two_way_covariance(fit, "CR0", cluster, other, x, residual, terms, w)
    pair = np.unique(cluster * 15 + other, return_inverse=True)[1]
    one, two, both = (
        Dense("CR0", fit, y, x, terms, c, w).covariance for c in (cluster, other, pair)
    )
    root = np.linalg.cholesky(fit.covariance)
    inner = np.linalg.solve(root, np.linalg.solve(root, one + two - both).T)
    value, vector = np.linalg.eigh(inner)
    assert got.clipped == (value[0] < 0) == weights
    want = root @ (vector * np.maximum(value, 0)) @ vector.T @ root.T
    size = np.sqrt(np.diag(want))
    assert np.abs((got.covariance - want) / np.outer(size, size)).max() < 1e-9


@pytest.mark.parametrize("ways", [1, 2])
def test_right_for_clusters_that_the_model_does_not_know(ways):
    """The mean of the estimate over y is the true covariance, up to a few clusters' bias,
    where errors of other clusters are independent and V is wrong."""
    rng = np.random.default_rng(0)
    schools, years = 30, 25
    cell = rng.random((schools, years)) < 0.7
    school, year = np.nonzero(cell)
    n = len(school)
    x = rng.standard_normal(years)[year] + rng.standard_normal(schools)[school]
    x = np.column_stack([np.ones(n), x + rng.standard_normal(n)])
    terms = [RandomTerm(school, group="school")]
    truth = np.eye(n) + (year[:, None] == year)
    truth += (school[:, None] == school) if ways == 2 else 0
    root = np.linalg.cholesky(truth)
    v = dense_covariance(terms, [np.eye(1)])
    weight = np.linalg.solve(x.T @ np.linalg.solve(v, x), np.linalg.solve(v, x).T)
    want = weight @ truth @ weight.T
    mean = np.zeros((2, 2))
    for _ in range(200):
        y = root @ rng.standard_normal(n)
        fit = evaluate_design(prepare_design(y, x, terms), True, np.ones(1))
        residual = conditional_residual(fit, y, x, terms)
        if ways == 2:
            got = two_way_covariance(fit, "CR1", year, school, x, residual, terms)
        else:
            got = cluster_covariance(fit, "CR1", year, x, residual, terms)
        mean += got.covariance / 200
    ratio = np.sqrt(np.diag(mean) / np.diag(want))
    assert (np.abs(ratio - 1) < 0.12).all()


def test_two_ways_without_a_positive_matrix_are_clipped():
    rng = np.random.default_rng(0)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        fit, ols, y, x, terms, cluster, _w = ols_limit(rng, n=24)
        other = rng.integers(2, size=len(y))
        want = cov_cluster_2groups(ols, np.column_stack([cluster, other]))[0]
        if np.linalg.eigvalsh(want)[0] < -1e-3 * np.linalg.eigvalsh(want)[-1]:
            break
    residual = conditional_residual(fit, y, x, terms)
    with pytest.warns(ClusterWarning, match="negative eigenvalues"):
        got = two_way_covariance(fit, "CR1", cluster, other, x, residual, terms)
    assert got.clipped
    value = np.linalg.eigvalsh(got.covariance)
    assert value[0] > -1e-12 * value[-1]
    moved = got.covariance - want  # only upwards
    assert np.linalg.eigvalsh(moved)[0] > -1e-10 * value[-1]


def test_balanced_clusters_have_closed_forms():
    """A mean of G balanced clusters: the t test of cluster means, G - 1 df; and a
    treatment of half of the clusters: the two-sample t test, unpaired."""
    rng = np.random.default_rng(11)
    clusters, size = 10, 6
    cluster = np.repeat(np.arange(clusters), size)
    treated = (cluster % 2).astype(float)
    y = rng.standard_normal(clusters)[cluster] + rng.standard_normal(len(cluster))
    terms = [RandomTerm(cluster, group="c")]
    means = y.reshape(clusters, size).mean(axis=1)
    x = np.ones((len(y), 1))
    fit = fit_design(prepare_design(y, x, terms), True)
    got = cluster_covariance(
        fit, "CR2", cluster, x, conditional_residual(fit, y, x, terms), terms
    )
    np.testing.assert_allclose(got.covariance, means.var(ddof=1) / clusters, rtol=1e-9)
    np.testing.assert_allclose(got.moments.df(np.eye(1)), clusters - 1, rtol=1e-10)
    x = np.column_stack([np.ones(len(y)), treated])
    fit = fit_design(prepare_design(y, x, terms), True)
    got = cluster_covariance(
        fit, "CR2", cluster, x, conditional_residual(fit, y, x, terms), terms
    )
    halves = [means[0::2].var(ddof=1) / 5, means[1::2].var(ddof=1) / 5]
    np.testing.assert_allclose(got.covariance[1, 1], sum(halves), rtol=1e-9)
    np.testing.assert_allclose(got.moments.df(np.eye(2)), [4, 8], rtol=1e-9)


def test_under_the_model_the_covariance_is_unbiased():
    """E CR2 = (X'V^-1 X)^-1 where V is right."""
    rng = np.random.default_rng(12)
    y, x, terms, cluster, w = design(rng, kind="nested", weights=True)
    theta = np.array([1.0, 0.3, 0.8, 0.5])
    fit = evaluate_design(prepare_design(y, x, terms, w), True, theta)
    residual = conditional_residual(fit, y, x, terms)
    moments = cluster_covariance(fit, "CR2", cluster, x, residual, terms, w).moments
    mean = moments.spread.sum(0) - np.einsum("gji,gjk->ik", *[moments.cross] * 2)
    np.testing.assert_allclose(mean, np.eye(3), atol=1e-10)


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
def test_order_units_and_labels_do_not_matter(kind):
    rng = np.random.default_rng(13)
    y, x, terms, cluster, _w = design(rng)
    fit = fit_design(prepare_design(y, x, terms), True)
    residual = conditional_residual(fit, y, x, terms)
    one = cluster_covariance(fit, kind, cluster, x, residual, terms)
    order, labels = rng.permutation(len(y)), rng.permutation(8)
    scale = np.array([1.0, 1e5, 1e-4])
    moved = [
        RandomTerm(labels[cluster][order], terms[0].z[order], group="c"),
        RandomTerm(terms[1].levels.to_numpy()[terms[1].codes][order], group="i"),
    ]
    x2, y2 = x[order] * scale, 1e3 * y[order]
    fit = fit_design(prepare_design(y2, x2, moved), True)
    residual = conditional_residual(fit, y2, x2, moved)
    other = cluster_covariance(fit, kind, labels[cluster][order], x2, residual, moved)
    change = 1e3 / scale
    np.testing.assert_allclose(
        other.covariance, one.covariance * np.outer(change, change), rtol=1e-5
    )
    np.testing.assert_allclose(
        other.moments.df(np.eye(3)), one.moments.df(np.eye(3)), rtol=1e-5
    )


def test_joint_tests():
    rng = np.random.default_rng(14)
    y, x, terms, cluster, _w = design(rng)
    fit = fit_design(prepare_design(y, x, terms), True)
    residual = conditional_residual(fit, y, x, terms)
    robust = cluster_covariance(fit, "CR2", cluster, x, residual, terms)
    tests = CovarianceTests(fit, robust.inner, None, robust.moments)
    rows = np.eye(3)[1:]
    found = tests.f_test(rows, [0.1, 0.2])
    total = robust.moments.wishart_df(rows)
    off = rows @ fit.coefficients - [0.1, 0.2]
    wald = off @ np.linalg.solve(robust.covariance[1:, 1:], off)
    assert found.df_denom == pytest.approx(total - 1)
    assert found.statistic == pytest.approx((total - 1) / total / 2 * wald)
    # one row: the square of t; the same hypothesis said otherwise: the same test
    one = tests.f_test(rows[:1])
    t = fit.coefficients[1] / np.sqrt(robust.covariance[1, 1])
    assert one.statistic == pytest.approx(t**2)
    assert one.df_denom == pytest.approx(tests.df(rows[:1])[0])
    again = tests.f_test(np.array([[1.0, 2], [3, -1]]) @ rows, [0.5, 0.1])
    assert again.pvalue == pytest.approx(found.pvalue, rel=1e-9)
    few = cluster < 3
    fit = fit_design(prepare_design(y[few], x[few], [t.take(few) for t in terms]), True)
    taken = [t.take(few) for t in terms]
    residual = conditional_residual(fit, y[few], x[few], taken)
    robust = cluster_covariance(fit, "CR3", cluster[few], x[few], residual, taken)
    tests = CovarianceTests(fit, robust.inner, None, robust.moments)
    with pytest.warns(ClusterWarning, match="too few clusters"):
        assert np.isnan(tests.f_test(np.eye(3)).pvalue)
    naive = CovarianceTests(fit, robust.inner, 2.0)
    assert naive.f_test(np.eye(3)).df_num <= 3


def test_two_clusters_are_needed():
    rng = np.random.default_rng(15)
    y, x, terms, _cluster, _w = design(rng)
    fit = fit_design(prepare_design(y, x, terms), True)
    with pytest.raises(ValueError, match="one level"):
        cluster_covariance(fit, "CR1", np.zeros(len(y), int), x, y, terms)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
def test_quadrature_and_singular_values_agree(monkeypatch, size, weights):
    rng = np.random.default_rng(0)
    y, x, terms, cluster, w = design(rng, n=120, weights=weights)
    theta = size * np.array([1.0, 0.3, 0.8, 0.5])
    fit = evaluate_design(prepare_design(y, x, terms, w), True, theta)
    residual = conditional_residual(fit, y, x, terms)
    one = cluster_covariance(fit, "CR2", cluster, x, residual, terms, w)
    monkeypatch.setattr(cluster_blocks, "LARGEST_WIDTH", 0)
    monkeypatch.setattr(cluster_blocks, "LARGEST_DENSE", 0)
    two = cluster_covariance(fit, "CR2", cluster, x, residual, terms, w)
    np.testing.assert_allclose(two.covariance, one.covariance, rtol=1e-9)
    np.testing.assert_allclose(two.moments.spread, one.moments.spread, atol=1e-11)
    np.testing.assert_allclose(two.moments.cross, one.moments.cross, atol=1e-11)


def test_large_clusters_that_alone_identify_a_coefficient(monkeypatch):
    rng = np.random.default_rng(4)
    y, x, terms, cluster, _w = design(rng, slope=False)
    x = np.column_stack([x, cluster == 2])
    fit = evaluate_design(prepare_design(y, x, terms), True, np.array([0.9, 0.6]))
    residual = conditional_residual(fit, y, x, terms)
    want = cluster_covariance(fit, "CR2", cluster, x, residual, terms)
    monkeypatch.setattr(cluster_blocks, "LARGEST_WIDTH", 0)
    got = cluster_covariance(fit, "CR2", cluster, x, residual, terms)
    assert got.determined.tolist() == [2]
    np.testing.assert_allclose(got.covariance, want.covariance, rtol=1e-9, atol=1e-14)
    monkeypatch.setattr(cluster_blocks, "LARGEST_SIZE", 0)
    with pytest.raises(ValueError, match="Use 'CR3' or 'CR1'"):
        cluster_covariance(fit, "CR2", cluster, x, residual, terms)


def sparse_design(seed, nested, weights=False, k=3, n=70, clusters=7):
    """The same random effects twice: columns of a RandomTerm, and a SparseTerm."""
    rng = np.random.default_rng(seed)
    cluster = np.append(np.arange(clusters), rng.integers(clusters, size=n - clusters))
    x = np.column_stack([np.ones(n), rng.standard_normal((n, 2))])
    z = rng.standard_normal((n, k)) * (rng.random((n, k)) < 0.6)
    codes = cluster if nested else np.zeros(n, int)
    wide = RandomTerm(codes, z, group="w", structure="identity")
    matrix = np.zeros((n, codes.max() + 1, k))
    matrix[np.arange(n), codes] = z
    matrix = matrix.reshape(n, -1)
    term = SparseTerm(matrix, group="w")
    w = rng.uniform(0.3, 4, n) if weights else None
    y = x @ rng.standard_normal(3) + matrix @ rng.standard_normal(matrix.shape[1])
    y += rng.standard_normal(clusters)[cluster] + rng.standard_normal(n)
    return y, x, RandomTerm(cluster, group="c"), wide, term, cluster, w


def compare_any_matrix(kind, y, x, terms, dense_terms, cluster, w, nested):
    fit = fit_design(prepare_design(y, x, terms, w), True)
    effects = zip(terms, fit.effects, strict=True)
    residual = y - x @ fit.coefficients - sum(t.contribution(b) for t, b in effects)
    got = cluster_covariance(fit, kind, cluster, x, residual, terms, w, moments=nested)
    lams = [np.eye(t.k) * lam[0, 0] for t, lam in zip(dense_terms, fit.lams, strict=True)]
    alike = replace(fit, lams=tuple(lams))
    want = Dense(kind, alike, y, x, dense_terms, cluster, w)
    np.testing.assert_allclose(got.covariance, want.covariance, rtol=1e-10)
    if nested:
        df = [want.df(row) for row in np.eye(3)]
        np.testing.assert_allclose(got.moments.df(np.eye(3)), df, rtol=1e-10)
    return fit


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_any_matrix_of_random_effects(kind, nested, weights, alone):
    y, x, own, wide, term, cluster, w = sparse_design(3, nested, weights)
    terms, dense_terms = ([], []) if alone else ([own], [own])
    given = y, x, [*terms, term], [*dense_terms, wide], cluster, w, nested
    if nested or kind in ("CR0", "CR1"):
        compare_any_matrix(kind, *given)
    else:
        with pytest.raises(ValueError, match="'w' occur in several clusters"):
            compare_any_matrix(kind, *given)


def test_many_columns_with_one_variance():
    # the engine makes levels of the columns
    y, x, own, wide, _, cluster, w = sparse_design(5, False, True, k=40, n=150)
    for terms in ([wide], [own, wide]):
        fit = compare_any_matrix("CR1", y, x, terms, terms, cluster, w, False)
        assert fit.design.scalar_terms == (len(terms) - 1,)


def test_a_stored_zero_is_in_no_cluster():
    y, x, own, _, term, cluster, w = sparse_design(6, True)
    stored = term.matrix.tocoo()
    row, column = np.flatnonzero(cluster == 0)[0], term.n_levels - 1
    coordinates = np.append(stored.row, row), np.append(stored.col, column)
    zero = sparse.coo_array((np.append(stored.data, 0.0), coordinates), stored.shape)
    more = SparseTerm(zero, group="w")
    assert more.matrix.nnz == term.matrix.nnz + 1
    residual = np.sin(np.arange(len(y)))
    found = []
    for one in (term, more):
        fit = fit_design(prepare_design(y, x, [own, one], w), True)
        for most in (250, 0):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(cluster_blocks, "LARGEST_WIDTH", most)
                found.append(
                    cluster_covariance(fit, "CR2", cluster, x, residual, [own, one], w)
                )
    for other in found[1:]:
        np.testing.assert_allclose(other.covariance, found[0].covariance, rtol=1e-10)


@pytest.mark.formula_engine
@pytest.mark.parametrize("kind", ["CR2", "CR3"])
def test_weights_that_lose_all_digits_have_a_reason(kind):
    """An error; or, where one cluster alone tells of each coefficient, none is known."""
    rng = np.random.default_rng(3)
    n = 10
    data = {
        "g": rng.integers(0, 4, n),
        "h": rng.integers(0, 3, n),
        "x": rng.normal(size=n),
        "z": rng.normal(size=n),
        "f": rng.choice(["a", "b"], n),
    }
    frame = pd.DataFrame(data)
    frame["y"] = rng.normal(size=4)[frame.g] + rng.normal(size=n)
    weights = 10.0 ** np.random.default_rng(3).uniform(-8, 8, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mx.mixedlm("y ~ x*z*f + (1 | g)", frame, weights=weights).fit()
        if kind == "CR3":
            with pytest.raises(ValueError, match="digits are lost"):
                result.get_robustcov_results(kind)
            return
    with pytest.warns(mx.ClusterWarning, match="one cluster alone tells"):
        found = result.get_robustcov_results(kind)
    assert found.bse_fe.isna().all()


def test_a_robust_covariance_after_another_method():
    data = mx.datasets.sleepstudy.load().data
    model = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data)
    robust = model.fit(df_method="kenward-roger").get_robustcov_results("CR2")
    plain = model.fit(cov_type="CR2")
    np.testing.assert_allclose(robust.bse_fe, plain.bse_fe, rtol=1e-12)
    np.testing.assert_allclose(
        robust.t_test([0, 1]).df_denom, plain.t_test([0, 1]).df_denom, rtol=1e-12
    )
