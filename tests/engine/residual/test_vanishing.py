"""Strata without a residual variance, against the n x n likelihood with none there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import linalg, optimize

import mixedext as mx
from mixedext.exceptions import ModelWarning, ResidualLimitWarning

FORMULA = "y ~ visit + ar1(0 + C(visit) | subject)"


def rows_of(seed, n_subjects, n_visits, missing, sd):
    """Visits that follow each other as AR(1), with a residual beside."""
    rng = np.random.default_rng(seed)
    subject, visit = np.divmod(np.arange(n_subjects * n_visits), n_visits)
    place = np.arange(n_visits)
    root = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(place, place)))
    y = 1 + 0.3 * visit + (rng.standard_normal((n_subjects, n_visits)) @ root.T).ravel()
    y += sd * rng.standard_normal(len(y))
    keep = rng.random(len(y)) >= missing
    frame = pd.DataFrame(
        {"y": y, "visit": [f"v{k + 1}" for k in visit], "subject": subject}
    )
    return frame[keep]


class Dense:
    """The deviance in variances themselves: log tau^2, atanh rho, standard deviations."""

    def __init__(self, data, free):
        self.visit = data["visit"].str[1:].astype(int).to_numpy() - 1
        subject = data["subject"].to_numpy()
        self.same = subject[:, None] == subject
        self.lag = np.abs(np.subtract.outer(self.visit, self.visit))
        m = self.visit.max() + 1
        self.x = np.eye(m)[self.visit]
        self.y, self.free, self.m = data["y"].to_numpy(), list(free), m

    def covariance(self, q):
        variance = np.zeros(self.m)
        variance[self.free] = q[2:] ** 2
        effects = np.exp(q[0]) * np.tanh(q[1]) ** self.lag
        return self.same * effects + np.diag(variance[self.visit])

    def fixed(self, q):
        """Covariance of the coefficients of the cells."""
        v = self.covariance(q)
        return np.linalg.inv(self.x.T @ np.linalg.solve(v, self.x))

    def deviance(self, q):
        try:
            root = np.linalg.cholesky(self.covariance(q))
        except np.linalg.LinAlgError:
            return 1e10
        columns = np.column_stack([self.x, self.y])
        white = linalg.solve_triangular(root, columns, lower=True)
        gram = np.linalg.cholesky(white.T @ white)
        out = 2 * np.log(root.diagonal()).sum() + 2 * np.log(gram.diagonal()[:-1]).sum()
        return out + gram[-1, -1] ** 2 + (len(self.y) - self.m) * np.log(2 * np.pi)

    def minimum(self):
        """The lowest of six ends."""
        best = None
        for seed in range(6):
            rng = np.random.default_rng(seed)
            start = np.append(rng.normal(0, 0.5, 2), rng.uniform(0.1, 0.8, len(self.free)))
            end = optimize.minimize(self.deviance, start, options={"gtol": 1e-8})
            if best is None or end.fun < best.fun:
                best = end
        return best

    def errors(self, q):
        """Of tau^2, rho and the residual variances, from the Hessian in these."""
        eta = np.concatenate([[np.exp(q[0]), np.tanh(q[1])], q[2:] ** 2])

        def deviance(e):
            roots = np.sqrt(e[2:])
            return self.deviance(np.concatenate([[np.log(e[0]), np.arctanh(e[1])], roots]))

        step, n = 1e-3 * np.abs(eta), len(eta)
        hessian = np.empty((n, n))
        for i in range(n):
            for j in range(n):
                total = 0.0
                for a in (1, -1):
                    for b in (1, -1):
                        total += (
                            a
                            * b
                            * deviance(
                                eta + a * step * _unit(n, i) + b * step * _unit(n, j)
                            )
                        )
                hessian[i, j] = total / (4 * step[i] * step[j])
        return np.sqrt(np.diag(np.linalg.inv(hessian / 2)))


def _unit(n, k):
    return np.eye(n)[k]


@pytest.mark.parametrize(
    ("seed", "gone"), [(9, ["v1"]), (5, ["v1", "v3"]), (1, ["v2", "v3"])]
)
def test_strata_at_zero(seed, gone):
    data = rows_of(seed, 12, 3, 0.0, 0.2)
    with pytest.warns(ResidualLimitWarning, match=f"residual variance of {gone[0]} at 0"):
        result = mx.mixedlm(FORMULA, data, variance="ident(visit)").fit()
    assert result.convergence.status == "boundary"
    for label in gone:
        assert f"residual variance of {label} at 0" in result.convergence.message
    visits = [f"v{k + 1}" for k in range(3)]
    dense = Dense(data, [k for k, v in enumerate(visits) if v not in gone])
    best = dense.minimum()
    # the share of 1e-4 at which a stratum is held costs its square
    assert_allclose(-2 * result.llf, best.fun, rtol=1e-8)
    # no lower where the others vary
    assert Dense(data, range(3)).minimum().fun > -2 * result.llf - 1e-6
    change = np.linalg.inv(
        np.column_stack([np.ones(len(visits)), np.eye(len(visits))[:, 1:]])
    )
    expected = change @ dense.fixed(best.x) @ change.T
    assert_allclose(result.bse_fe, np.sqrt(np.diag(expected)), rtol=1e-6)
    error = dict(zip(result.residual.params.index, result.residual.bse, strict=True))
    left = [v for v in visits if v not in gone]
    assert all(np.isnan(error[f"Var({v})"]) for v in gone)
    own = dense.errors(best.x)
    assert_allclose([error[f"Var({v})"] for v in left], own[2:], rtol=1e-3)
    assert_allclose(result.cov_vcomp.iloc[0, 0] ** 0.5, own[0], rtol=1e-3)


def test_a_small_residual_that_the_rows_tell_is_no_zero():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(20), 8)
    device = np.tile(["good", "poor"], 80)
    y = rng.standard_normal(20)[group]
    y += np.where(device == "good", 2e-4, 0.5) * rng.standard_normal(160)
    data = pd.DataFrame({"y": y, "device": device, "group": group})
    result = mx.mixedlm("y ~ 1 + (1 | group)", data, variance="ident(device)").fit()
    assert result.convergence.status == "interior"
    assert_allclose(np.sqrt(result.scale), 2e-4, rtol=0.2)


@pytest.mark.filterwarnings("ignore", category=ModelWarning)
def test_weights_and_tables_of_such_a_fit():
    data = rows_of(9, 12, 3, 0.0, 0.2)
    twice = data.assign(w=2.0)
    plain = mx.mixedlm(FORMULA, data, variance="ident(visit)").fit()
    weighted = mx.mixedlm(FORMULA, twice, variance="ident(visit)", weights="w").fit()
    # a weight that all rows have is one of sigma^2
    assert_allclose(weighted.llf, plain.llf, rtol=1e-9)
    words = "On the boundary, without standard errors: residual variance of v1 at 0"
    for table in (plain.residual, plain.conf_int_vcomp()):
        assert words in str(table)
        assert "not positive definite" not in str(table)
    assert (plain.t_test(np.eye(3)).df_denom < 40).all()
    assert np.isfinite(plain.simulate(3, rng=1)).all(axis=None)


@pytest.mark.parametrize(("seed", "strata"), [(5, ["v1"]), (3, ["v3", "v4"])])
def test_searches_do_not_crawl_towards_the_limit(seed, strata):
    """Steps become no longer on the way: a search that is on it jumps."""
    data = rows_of(seed, 30, 4, 0.1, 0.3)
    with pytest.warns(ResidualLimitWarning):
        result = mx.mixedlm(FORMULA, data, variance="ident(visit)").fit()
    verdict = result.convergence
    for stratum in strata:
        assert f"residual variance of {stratum} at 0" in verdict.message
    assert verdict.n_derivatives < 200  # 600 by steps alone
    assert verdict.decrement < 1e-8
