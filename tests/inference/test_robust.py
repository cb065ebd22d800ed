"""Cluster-robust covariance against dense n x n statements of the published formulas."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups

from mixedext.engine.design import prepare_design
from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.exceptions import ClusterWarning
from mixedext.inference.robust import (
    ClusterTests,
    cluster_covariance,
    two_way_covariance,
)
from mixedext.specification.terms import RandomTerm
from tests.helpers.dense import covariance as dense_covariance

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


class Dense:
    """The formulas of Pustejovsky and Tipton (2018), n x n."""

    def __init__(self, kind, fit, y, x, terms, cluster, w, scale=True):
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
                b = d @ (half @ v @ half.T)[at] @ d.T
                value, vector = np.linalg.eigh(b)
                keep = value > 1e-9 * value[-1]
                root = vector[:, keep] / np.sqrt(value[keep]) @ vector[:, keep].T
                own = d.T @ root @ d
            adjust[at] = own
        member = (cluster[:, None] == groups).astype(float)
        # rows: terms d_g of the estimate's error, d_g = p_g'r
        self.pieces = [
            (adjust * member[:, [g]] * member[:, g]).T @ inverse * 1.0
            for g in range(len(groups))
        ]
        block = inverse * (cluster[:, None] == cluster)
        self.p = [
            (adjust.T @ block @ x @ bread) * member[:, [g]] for g in range(len(groups))
        ]
        residual = y - hat @ y
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
    y, x, terms, cluster, w = design(
        rng, kind=nested, weights=weights, clusters=clusters
    )
    prepared = prepare_design(y, x, terms, w)
    theta = np.array([1.0, 0.3, 0.8, 0.5])[: 4 if nested == "nested" else 3]
    fit = evaluate_design(prepared, True, theta * 2.0**size)
    compare(kind, fit, y, x, terms, cluster, w, 1e-8)
