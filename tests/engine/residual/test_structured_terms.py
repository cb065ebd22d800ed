"""Structured random effects beside residual covariances, against n x n matrices."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.dense_relative import DenseRelative, slope
from numpy.testing import assert_allclose
from scipy import optimize

import mixedext as mx
from mixedext.engine.information.curvature import second_derivatives
from mixedext.engine.information.expected import variance_information
from mixedext.exceptions import ModelWarning
from mixedext.inference.fixed_effects.df_methods import (
    KENWARD_ROGER,
    default_information,
)
from mixedext.inference.fixed_effects.kenward_roger import (
    KenwardRoger,
    KenwardRoger2009,
    KenwardRogerLinear,
)
from mixedext.inference.variances.observed_covariance import covariance_of_variances
from mixedext.models.mixedlm.residual_fitting import residual_rows
from mixedext.specification.covariance.curved import CURVED

every = pytest.mark.parametrize("name", [kind.name for kind in CURVED])
SEEDS = {"toep": 2}  # of the others the first design has no correlation at a limit


def model_of(name, seed, het=False, weighted=False):
    """Effects of three occasions by subject, errors correlated within each occasion."""
    rng = np.random.default_rng(seed)
    subject, rest = np.divmod(np.arange(16 * 9), 9)
    occasion, visit = np.divmod(rest, 3)
    keep = np.flatnonzero(rng.random(len(subject)) > 0.1)
    keep = rng.permutation(keep)
    subject, occasion, visit = subject[keep], occasion[keep], visit[keep]
    n = len(keep)
    z = np.eye(3)[occasion]
    lag = np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
    size = np.array([1.2, 1.5, 1.9])
    root = np.linalg.cholesky(np.outer(size, size) * 0.5**lag)
    effects = rng.standard_normal((16, 3)) @ root.T
    noise = np.zeros((16, 3, 3))
    for v in range(3):
        noise[:, :, v] = rng.standard_normal((16, 3))
        if v:
            noise[:, :, v] += 0.5 * noise[:, :, v - 1]
    x = np.column_stack([np.ones(n), subject % 2, rng.standard_normal(n)])
    y = x @ [1.0, 0.5, 0.3] + effects[subject, occasion] + noise[subject, occasion, visit]
    term = mx.RandomTerm(subject, z, group="subject", structure=name)
    weights = rng.uniform(0.5, 2.0, n) if weighted else None
    residual = mx.AR1(visit, group=3 * subject + occasion, het=het)
    return mx.MixedLM(y, x, terms=[term], residual=residual, weights=weights)


def fitted(name, reml=True, **options):
    model = model_of(name, SEEDS.get(name, 1), **options)
    fit = model.fit(reml=reml).fitted.fit
    assert fit.convergence.status == "interior", fit.convergence.message
    dense = DenseRelative(residual_rows(model), reml)
    return model, fit, dense, np.concatenate([fit.residual.theta, fit.residual.psi])


@every
@pytest.mark.parametrize("reml", [True, False])
def test_minimum_of_the_dense_deviance(name, reml):
    _, fit, dense, x = fitted(name, reml, weighted=True)
    assert_allclose(fit.deviance, dense.deviance(x), rtol=1e-11)
    assert_allclose(dense.gradient(x), 0.0, atol=2e-4)
    rng = np.random.default_rng(0)
    for size in (0.05, 0.5, 1.0):
        for _ in range(4):
            other = x + size * rng.standard_normal(len(x))
            assert dense.deviance(other) > fit.deviance - 1e-9


@every
def test_information(name):
    _, fit, dense, x = fitted(name)
    info, design = variance_information(fit), fit.design
    assert default_information(fit) == "observed"
    term, s = dense.rows.terms[0], design.structures[0]
    z = np.asarray(term.z, float) @ design.inverse_transforms[0]
    same = term.codes[:, None] == term.codes
    directions = [(z @ e @ z.T) * same for e in s.covariance_basis]
    count = len(fit.residual.psi)
    directions += [slope(dense.covariance, x, r) for r in range(len(x) - count, len(x))]
    directions.append(dense.covariance(x))
    expected, average = dense.information(directions, x)
    scale = np.abs(expected).max()
    assert_allclose(info.expected, expected, rtol=1e-8, atol=1e-9 * scale)
    assert_allclose(info.average, average, rtol=1e-8, atol=1e-9 * scale)


class Natural:
    """V as a function of (theta, psi, log sigma^2), and SAS's parameters of it."""

    def __init__(self, model, fit, dense, x):
        self.dense, self.x = dense, np.append(x, np.log(fit.scale))
        self.structure = model.random_terms[0].structure
        self.curve = dense.rows.curves[0]

    def covariance(self, z):
        return np.exp(z[-1]) * self.dense.covariance(z[:-1])

    def natural(self, z):
        s, scale = self.structure, np.exp(z[-1])
        own = s.natural(z[: s.n_theta])
        own = np.where(s.is_variance, scale * own, own)
        if s.correlation.linear_if_homogeneous and not s.het:
            own[1:] *= own[0]  # SAS's are covariances there
        return np.concatenate([own, self.curve.natural(z[s.n_theta : -1], scale)])

    def deviance(self, z):
        v, y = self.covariance(z), self.dense.rows.y
        basis = np.asarray(self.dense.rows.x, float)
        inverse = np.linalg.inv(v)
        gram = basis.T @ inverse @ basis
        rest = inverse @ y - inverse @ basis @ np.linalg.solve(gram, basis.T @ inverse @ y)
        return np.linalg.slogdet(v)[1] + np.linalg.slogdet(gram)[1] + y @ rest

    def spread(self):
        """W of z, and of the natural parameters."""
        n = len(self.x)
        hessian = np.array(
            [
                [
                    slope(lambda p, a=a: slope(self.deviance, p, a), self.x, b)
                    for b in range(n)
                ]
                for a in range(n)
            ]
        )
        w = 2 * np.linalg.inv((hessian + hessian.T) / 2)
        jacobian = np.array([slope(self.natural, self.x, r) for r in range(n)]).T
        return w, jacobian @ w @ jacobian.T

    def mean_second(self, w):
        """sum W_rs d2V / d eta_r d eta_s."""
        eta, mean, h = self.natural(self.x), 0.0, 2e-3
        value, vector = np.linalg.eigh(w)
        for size, column in zip(value, vector.T, strict=True):
            move = h / np.abs(column / np.maximum(np.abs(eta), 0.2)).max()

            def at(k, column=column, move=move):
                wanted = eta + k * move * column
                found = optimize.root(lambda z: self.natural(z) - wanted, self.x, tol=1e-13)
                return self.covariance(found.x)

            v = [at(k) for k in (-2, -1, 0, 1, 2)]
            second = (-v[0] + 16 * v[1] - 30 * v[2] + 16 * v[3] - v[4]) / 12
            mean = mean + size * second / move**2
        return mean


@pytest.mark.parametrize("het", [False, True])
@every
def test_kenward_roger(name, het):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        model, fit, dense, x = fitted(name, het=het)
    own = Natural(model, fit, dense, x)
    w, natural = own.spread()
    mean = own.mean_second(natural)
    v, basis = own.covariance(own.x), np.asarray(dense.rows.x, float)
    inverse = np.linalg.inv(v)
    phi = np.linalg.inv(basis.T @ inverse @ basis)
    seen = inverse @ basis
    p = inverse - seen @ phi @ seen.T
    slopes = [slope(own.covariance, own.x, r) for r in range(len(own.x))]
    first = [seen.T @ d @ seen for d in slopes]
    change = np.zeros_like(phi)
    for r, a in enumerate(slopes):
        for s, b in enumerate(slopes):
            change += w[r, s] * (
                seen.T @ a @ inverse @ b @ seen - first[r] @ phi @ first[s]
            )
    bent = seen.T @ mean @ seen
    traces = np.array([np.sum((p @ d) * (p @ mean).T) for d in slopes])
    bias = -w @ traces / 4
    linear = phi + 2 * phi @ change @ phi
    plain = linear - phi @ bent @ phi / 2
    of_bias = sum(b * d for b, d in zip(bias, first, strict=True))
    newer = plain - phi @ of_bias @ phi
    for kind, wanted in (
        (KenwardRogerLinear, linear),
        (KenwardRoger, plain),
        (KenwardRoger2009, newer),
    ):
        tests = kind(fit)
        assert tests.information == "observed"
        assert_allclose(tests.covariance, wanted, rtol=2e-5, atol=1e-7)
    if not (own.structure.correlation.linear_if_homogeneous and not own.structure.het):
        found = covariance_of_variances(model.fit().fitted).absolute
        k = own.structure.n_theta
        size = np.sqrt(natural.diagonal()[:k])
        assert_allclose(
            found[:k, :k] / np.outer(size, size),
            natural[:k, :k] / np.outer(size, size),
            atol=1e-4,
        )


def test_second_derivatives_are_those_of_random_terms_and_residuals():
    _, fit, _, _ = fitted("hetar1", het=True)
    info = variance_information(fit)
    w = KenwardRoger(fit).variance_covariance
    both = second_derivatives(fit, w)
    assert np.abs(both.on_fixed - info.curved(w).on_fixed).max() > 1e-4
    assert both.traces.shape == (info.n_gamma + 1,)


def test_a_variance_of_zero_is_on_the_boundary():
    model = model_of("hetar1", 5)
    rng = np.random.default_rng(2)
    y = rng.standard_normal(len(model.endog))  # no effects at all
    model = mx.MixedLM(
        y, model.exog, terms=list(model.random_terms), residual=model.residual.spec
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = model.fit()
    assert result.convergence.status in ("boundary", "interior", "flat")
    assert result.convergence.status == "boundary"
    assert np.isfinite(np.asarray(result.bse_fe)).all()
    result.summary()


@pytest.mark.formula_engine
@pytest.mark.parametrize("method", ["satterthwaite", *KENWARD_ROGER])
@pytest.mark.parametrize("name", ["hetar1", "cs", "toep", "homtoep"])
def test_errors_beside_independent_residuals_are_those_without_them(name, method):
    """Two ways to one number: blocks of cross-products, and clusters of rows."""
    data, rng = pd.DataFrame({"row": range(180)}), np.random.default_rng(3)
    data["g"], rest = np.divmod(data["row"], 9)
    data["v"], data["r"] = rest // 3, rest % 3
    data["o"] = 3 * data["g"] + data["v"]
    effects = rng.standard_normal((20, 3)) + rng.standard_normal((20, 1))
    data["x"] = rng.standard_normal(180)
    data["y"] = effects[data["g"], data["v"]] + rng.standard_normal(180)
    data["v"] = data["v"].astype("category")
    formula = f"y ~ x + {name}(0 + v | g)"
    none = mx.AR1("r", group="o", rho=0.0, fixed=True)
    plain = mx.mixedlm(formula, data).fit()
    beside = mx.mixedlm(formula, data, residual=none).fit()
    assert_allclose(beside.llf, plain.llf, rtol=1e-12)
    both = [result.icc("g", ci="delta").se for result in (plain, beside)]
    assert_allclose(*both, rtol=1e-6)
    new = data.iloc[[0, 5, 13, 40]].assign(g=[1000, 0, 1001, 3])
    information = None if method == "satterthwaite" else "observed"
    for conditional in (False, True):
        of, frames = {"conditional": conditional, "information": information}, []
        if conditional:
            of["new_levels"] = "zero"
        for result in (plain, beside):
            found = result.get_prediction(new, df_method=method, **of)
            frames.append(np.array([found.se_mean, found.se_obs, found.df]))
        assert_allclose(*frames, rtol=2e-6)


def test_what_is_not_there_is_refused():
    model = model_of("ar1", 1)
    term, residual = model.random_terms[0], model.residual.spec
    related = mx.RandomTerm(term.codes, group="subject", covariance=np.eye(16))
    with pytest.raises(NotImplementedError, match="with a known relationship"):
        mx.MixedLM(model.endog, model.exog, terms=[related], residual=residual).fit()
