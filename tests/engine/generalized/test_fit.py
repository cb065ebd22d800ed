"""Fits of generalized models: the linear model's at no variance, and invariances."""

import numpy as np
import pytest
import statsmodels.api as sm

from mixedext.engine.generalized.design import prepare_rows
from mixedext.engine.generalized.fit import _further_sizes, fit_generalized
from mixedext.specification.families.likelihood import LikelihoodRows
from mixedext.specification.families.registry import family_of
from mixedext.specification.families.response import RowResponse
from mixedext.specification.terms.random_terms import RandomTerm

N = 240


def _data(seed=0, spread=0.8):
    rng = np.random.default_rng(seed)
    g, h = rng.integers(0, 20, N), rng.integers(0, 8, N)
    x = rng.normal(size=N)
    eta = 0.4 + 0.5 * x + spread * (rng.normal(size=20)[g] + 0.5 * rng.normal(size=8)[h])
    return rng, g, h, x, eta


def _fit(family, y, x, g, h=None, trials=None, offset=None, weights=None, **more):
    x = x if np.ndim(x) == 2 else np.column_stack([np.ones(len(x)), x])
    terms = [RandomTerm(g, None, "g")]
    if h is not None:
        terms.append(RandomTerm(h, None, "h"))
    response = RowResponse(np.asarray(y, float), trials, weights)
    rows = LikelihoodRows(family_of(family), response)
    return fit_generalized(prepare_rows(x, terms, offset), rows, **more)


def _same(one, two, tolerance=1e-6):
    assert one.deviance == pytest.approx(two.deviance, abs=1e-8)
    np.testing.assert_allclose(one.theta, two.theta, atol=tolerance)
    np.testing.assert_allclose(one.coefficients, two.coefficients, atol=tolerance)


@pytest.mark.parametrize("crossed", [False, True], ids=["one", "crossed"])
@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("binomial", sm.families.Binomial()),
        ("binomial(probit)", sm.families.Binomial(sm.families.links.Probit())),
        ("poisson", sm.families.Poisson()),
    ],
)
def test_no_variance_is_the_generalized_linear_model(name, family, crossed):
    rng, _, _, x, eta = _data(1, 0.0)
    y = rng.binomial(1, 1 / (1 + np.exp(-eta))) if "b" in name else rng.poisson(1.5, N)
    design = sm.add_constant(x)
    model = sm.GLM(y, design, family)
    want = model.fit()
    # groups among which the residuals are dealt out evenly
    order = np.argsort(want.resid_response)
    g = np.empty(N, int)
    turn = np.arange(N) % 40
    g[order] = np.where(turn < 20, turn, 39 - turn)
    h = np.empty(N, int)
    h[order] = np.where(np.arange(N) % 16 < 8, np.arange(N) % 16, 15 - np.arange(N) % 16)
    trials = np.ones(N) if "b" in name else None
    fit = _fit(name, y, x, g, h if crossed else None, trials)
    assert fit.convergence.status == "boundary"
    np.testing.assert_array_equal(fit.theta, 0)
    assert fit.log_likelihood == pytest.approx(want.llf, rel=1e-10)
    np.testing.assert_allclose(fit.coefficients, want.params, atol=1e-6)
    information = -model.hessian(fit.coefficients, observed=True)
    se = np.sqrt(np.diag(np.linalg.inv(information)))
    own = np.sqrt(np.diag(fit.theta_covariance))[len(fit.theta) :]
    np.testing.assert_allclose(own, se, rtol=1e-6)


@pytest.mark.parametrize("family", ["poisson", "negative binomial", "gamma"])
def test_what_does_not_matter(family):
    rng, g, h, x, eta = _data()
    y = rng.gamma(2, np.exp(eta) / 2) + 1e-6
    y = y if family == "gamma" else rng.poisson(y)
    fit = _fit(family, y, x, g, h)
    order = rng.permutation(N)
    _same(fit, _fit(family, y[order], x[order], g[order], h[order]))
    _same(fit, _fit(family, y, x, [f"level {-i}" for i in g], 100 - h))
    other = _fit(family, y, x, h, g)
    assert other.deviance == pytest.approx(fit.deviance, abs=1e-8)
    np.testing.assert_allclose(other.theta[::-1], fit.theta, atol=1e-6)
    far = _fit(family, y, 1e6 + x, g, h)
    assert far.deviance == pytest.approx(fit.deviance, abs=1e-5)
    np.testing.assert_allclose(far.coefficients[1], fit.coefficients[1], rtol=1e-4)


@pytest.mark.parametrize("family", ["binomial", "binomial(probit)", "binomial(cauchy)"])
def test_successes_and_failures_exchanged(family):
    rng, g, h, x, eta = _data()
    m = np.full(N, 4.0)
    y = rng.binomial(4, 1 / (1 + np.exp(-eta)))
    one, two = _fit(family, y, x, g, h, m), _fit(family, 4 - y, x, g, h, m)
    assert one.deviance == pytest.approx(two.deviance, abs=1e-8)
    np.testing.assert_allclose(one.coefficients, -two.coefficients, atol=1e-6)
    np.testing.assert_allclose(one.theta, two.theta, atol=1e-6)


def test_an_offset_moves_the_constant_and_weights_are_rows():
    rng, g, h, x, eta = _data()
    y = rng.poisson(np.exp(eta))
    one = _fit("poisson", y, x, g, h)
    two = _fit("poisson", y, x, g, h, offset=np.full(N, np.log(2)))
    np.testing.assert_allclose(
        one.coefficients - two.coefficients, [np.log(2), 0], atol=1e-6
    )
    heavy = _fit("poisson", y, x, g, h, weights=np.full(N, 2.0))
    twice = [np.tile(a, 2) for a in (y, x, g, h)]
    _same(heavy, _fit("poisson", *twice))


def test_negative_binomial_at_its_poisson_limit():
    _, g, _, x, eta = _data(spread=0.5)
    mean = np.exp(eta)
    y = np.round(mean)  # less spread than Poisson's
    fit, limit = _fit("negative binomial", y, x, g), _fit("poisson", y, x, g)
    assert fit.convergence.status == "boundary"
    assert fit.deviance == pytest.approx(limit.deviance, abs=1e-3)
    np.testing.assert_allclose(fit.coefficients, limit.coefficients, atol=1e-3)


def test_a_variance_that_runs_off_is_told_and_searched_from_afar():
    """Laplace's deviance of levels that are all alike has minima far apart."""
    ones = [9, 12, 13, 14, 15, 18, 21, 28]
    y = np.zeros(38)
    y[ones] = 1.0
    x = np.array(
        [
            "-.72",
            ".67",
            "-.6",
            "-1.59",
            "1.05",
            ".31",
            "1.75",
            "-1.15",
            "-.41",
            ".69",
            "-.02",
            "-.51",
            "1.13",
            ".72",
            "1.05",
            "1.05",
            "-1.57",
            "-.64",
            ".56",
            "-.28",
            "-.8",
            "-.14",
            "-.91",
            "2.01",
            "-1.83",
            "-.24",
            ".08",
            ".08",
            "-.04",
            "-.76",
            ".34",
            "-1.41",
            "-.13",
            ".07",
            "-2.03",
            "-1.22",
            ".07",
            "-.23",
        ],
        float,
    )
    design = prepare_rows(
        np.column_stack([np.ones(38), x]), [RandomTerm(np.arange(38) // 2, None, "g")]
    )
    rows = LikelihoodRows(family_of("binomial"), RowResponse(y, np.ones(38)))
    fit = fit_generalized(design, rows)
    assert fit.convergence.status == "separated"
    assert fit.separation.terms == (0,)
    assert fit.separation.direction is None
    starts = [[t, -c * t / 2, c * t / 5] for t in (0.5, 5.0, 50.0, 500.0) for c in (0, 1)]
    ends = [fit_generalized(design, rows, start=np.array(s)).deviance for s in starts]
    assert fit.deviance < min(ends) + 1e-6
    assert max(ends) > fit.deviance + 0.5


@pytest.mark.parametrize(
    ("name", "limit"),
    [("negative binomial", "poisson"), ("nb1", "poisson"), ("beta binomial", "binomial")],
)
def test_a_dispersion_at_its_limit_is_the_simpler_law(name, limit):
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(15), 8), rng.normal(size=120)
    eta = 0.3 + 0.4 * x + 0.4 * rng.normal(size=15)[g]
    # less spread than the law's: the middle of it in each row
    y = np.round(np.exp(eta)) if limit == "poisson" else np.round(8 / (1 + np.exp(-eta)))
    trials = None if limit == "poisson" else np.full(120, 8.0)
    design = prepare_rows(np.column_stack([np.ones(120), x]), [RandomTerm(g, None, "g")])
    response = RowResponse(y, trials)
    wide = fit_generalized(design, LikelihoodRows(family_of(name), response))
    plain = fit_generalized(design, LikelihoodRows(family_of(limit), response))
    assert wide.deviance == pytest.approx(plain.deviance, abs=1e-9)
    assert wide.convergence.status == "boundary"
    assert limit in wide.convergence.message.lower()
    assert wide.kappa[0] > 15.0
    at = slice(0, 3)
    np.testing.assert_allclose(wide.covariance[at, at], plain.covariance, rtol=1e-5)
    assert np.isnan(wide.covariance[3, 3])


def test_few_rows_and_several_effects_are_searched_from_far_out_too():
    assert _further_sizes(20, 1) == (1.0, 0.3, 3.0)
    assert _further_sizes(60, 3) == (3.0, 1.0)
    assert _further_sizes(60, 2) == _further_sizes(101, 6) == (1.0,)
