"""Families in the linear predictor: derivatives, constants, extremes, draws."""

import warnings
from decimal import Decimal, localcontext

import numpy as np
import pytest
import scipy.stats as st

from mixedext.specification.families.family import DEFAULT_LINKS
from mixedext.specification.families.likelihood import LikelihoodRows
from mixedext.specification.families.registry import family_of
from mixedext.specification.families.response import RowResponse

UNIT = ("logit", "probit", "cloglog", "loglog", "cauchy")
POSITIVE = ("log", "identity", "sqrt", "inverse", "inverse_squared")
N = 150
PAIRS = [
    (name, link)
    for name in DEFAULT_LINKS
    for link in (UNIT if name in ("binomial", "beta", "beta binomial") else POSITIVE)
]
KAPPA = 0.3


def _response(name, seed=0):
    rng = np.random.default_rng(seed)
    if name in ("binomial", "beta binomial"):
        m = rng.integers(1, 9, N)
        return RowResponse(rng.binomial(m, 0.4) * 1.0, m * 1.0)
    y = {
        "poisson": lambda: rng.poisson(2, N) * 1.0,
        "negative binomial": lambda: rng.poisson(rng.gamma(1, 2, N)) * 1.0,
        "nb1": lambda: rng.poisson(rng.gamma(1, 2, N)) * 1.0,
        "gamma": lambda: rng.gamma(2, 1, N),
        "inverse gaussian": lambda: rng.wald(1, 2, N),
        "gaussian": lambda: rng.normal(1, 1, N),
        "beta": lambda: rng.beta(2, 3, N),
    }[name]()
    return RowResponse(y, None, rng.uniform(0.5, 2, N), rng.integers(0, 3, N) * 1.0)


def _eta(link, seed=1):
    shift = 0.0 if link in (*UNIT, "log") else 2.5
    return np.random.default_rng(seed).normal(shift, 0.4, N)


def _kappa(family):
    return np.array([KAPPA]) if family.n_dispersion else np.zeros(0)


def _sixth(function, h=1e-3):
    return (
        45 * (function(h) - function(-h))
        - 9 * (function(2 * h) - function(-2 * h))
        + (function(3 * h) - function(-3 * h))
    ) / (60 * h)


def _close(found, wanted, tolerance=1e-10):
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_each_array_is_the_derivative_of_the_one_before(name, link):
    family = family_of(name, link)
    rows, eta, kappa = LikelihoodRows(family, _response(name)), _eta(link), _kappa(family)

    def part(number):
        def at(step):
            return rows._all(eta + step, kappa)[number]

        return at

    found = rows._all(eta, kappa)
    for number, after in ((0, 1), (1, 2), (2, 3), (4, 5)):
        _close(_sixth(part(number)), found[after])
    if not family.n_dispersion:
        return
    for number, after in ((0, 6), (1, 7), (2, 8), (4, 9)):
        _close(_sixth(lambda h, i=number: rows._all(eta, kappa + h)[i]), found[after])


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_derivatives_in_kappa_know_the_constants(name, link):
    family = family_of(name, link)
    if not family.n_dispersion:
        pytest.skip("no dispersion")
    rows, eta, kappa = LikelihoodRows(family, _response(name)), _eta(link), _kappa(family)
    found = rows.derivatives(eta, kappa)

    def total(step):
        return rows.newton(eta, kappa + step)[0] + rows.constant(kappa + step)

    _close(found.loss_kappa, _sixth(total), 1e-9)
    slope = _sixth(lambda h: rows.derivatives(eta, kappa + h).loss_kappa)
    _close(found.loss_kappa2, slope, 1e-9)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_loops_agree_with_their_numpy_twin(name, link):
    family = family_of(name, link)
    response, eta = _response(name), _eta(link)
    k = KAPPA if family.n_dispersion else 0.0
    twin = family.eta_terms(eta, response.y, response.trials, response.weights, k)
    count = 1.0 if response.counts is None else response.counts
    found = LikelihoodRows(family, response)._all(eta, _kappa(family))
    for one, other in zip(found, twin, strict=False):
        _close(one, count * other, 1e-12)


LAWS = {
    "binomial": lambda r, mu, k: st.binom.logpmf(r.y, r.trials, mu),
    "poisson": lambda r, mu, k: r.weights * st.poisson.logpmf(r.y, mu),
    "gamma": lambda r, mu, k: st.gamma.logpdf(
        r.y, r.weights * np.exp(-k), scale=mu / (r.weights * np.exp(-k))
    ),
    "gaussian": lambda r, mu, k: st.norm.logpdf(r.y, mu, np.sqrt(np.exp(k) / r.weights)),
    "inverse gaussian": lambda r, mu, k: st.invgauss.logpdf(
        r.y, mu * np.exp(k) / r.weights, scale=r.weights * np.exp(-k)
    ),
    "negative binomial": lambda r, mu, k: (
        r.weights * st.nbinom.logpmf(r.y, np.exp(k), np.exp(k) / (np.exp(k) + mu))
    ),
    "nb1": lambda r, mu, k: (
        r.weights * st.nbinom.logpmf(r.y, np.exp(k) * mu, np.exp(k) / (1 + np.exp(k)))
    ),
    "beta": lambda r, mu, k: (
        r.weights * st.beta.logpdf(r.y, mu * np.exp(k), (1 - mu) * np.exp(k))
    ),
    "beta binomial": lambda r, mu, k: st.betabinom.logpmf(
        r.y, r.trials.astype(int), mu * np.exp(k), (1 - mu) * np.exp(k)
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_densities_have_all_their_constants(name):
    family = family_of(name, "log" if name == "gaussian" else None)
    response, eta = _response(name), _eta("log")
    rows = LikelihoodRows(family, response)
    count = 1.0 if response.counts is None else response.counts
    wanted = count * LAWS[name](response, family.mean(eta), KAPPA)
    kappa = _kappa(family)
    _close(rows.log_density(eta, kappa), wanted, 1e-12)
    whole = rows.newton(eta, kappa)[0] + rows.constant(kappa)
    assert -whole == pytest.approx(wanted.sum(), rel=1e-13)


@pytest.mark.parametrize("link", UNIT[:4])
@pytest.mark.parametrize("eta", [-700.0, -200.0, -50.0, -6.0, 6.0, 50.0, 200.0, 700.0])
def test_far_predictors_of_successes_have_no_nan(link, eta):
    for y in (0.0, 1.0, 2.0):
        rows = LikelihoodRows(
            family_of("binomial", link), RowResponse(np.array([y]), np.array([2.0]))
        )
        found = rows._all(np.array([eta]), ())[:6, 0]
        assert not np.isnan(found).any()
        assert found[2] >= 0


@pytest.mark.parametrize("eta", [-3.9, -4.1, -8.0, -12.0, -40.0, -99.0, -150.0, -600.0])
def test_far_probits_keep_their_digits(eta):
    """Against the continued fraction of the hazard with 60 digits."""
    with localcontext() as context:
        context.prec = 60
        t, rest = -Decimal(eta), Decimal(0)
        for j in range(3000, 0, -1):
            rest = j / (t + rest)
        r = t + rest
        first = -r * rest
        second = -first * rest - r * (1 + first)
    wanted = [float(r), float(first), float(second)]
    rows = LikelihoodRows(
        family_of("binomial(probit)"), RowResponse(np.ones(1), np.ones(1))
    )
    found = rows._all(np.array([eta]), ())[1:4, 0]
    np.testing.assert_allclose(-found[:2], wanted[:2], rtol=1e-13)
    np.testing.assert_allclose(-found[2], wanted[2], rtol=1e-11)


@pytest.mark.parametrize("name", ["negative binomial", "nb1", "beta binomial"])
def test_laws_tend_to_that_of_their_limit(name):
    limit = "binomial" if name == "beta binomial" else "poisson"
    response, eta = _response(limit), _eta("log")
    wanted = LikelihoodRows(family_of(limit), response)
    rows = LikelihoodRows(family_of(name), response)
    for kappa in (25.0, 39.0):
        density = rows.log_density(eta, [kappa])
        _close(density, wanted.log_density(eta), 1e-9)
        for one, other in zip(
            rows._all(eta, [kappa])[1:4], wanted._all(eta, ())[1:4], strict=True
        ):
            _close(one, other, 1e-8)
    found = rows.derivatives(eta, [30.0])
    assert abs(found.loss_kappa) < 1e-8
    for slope in (found.slope_kappa, found.weight_kappa):
        assert np.abs(slope).max() < 1e-8


@pytest.mark.parametrize("name", ["negative binomial", "nb1", "beta binomial"])
def test_series_of_large_sizes_join_the_functions(name):
    response, eta = _response(name), _eta("log")
    rows = LikelihoodRows(family_of(name), response)
    for kappa in (4.9, 5.3, 6.0, 9.0):  # sizes on both sides of where the series begin

        def part(number, kappa=kappa):
            return lambda h: rows._all(eta + h, [kappa])[number]

        found = rows._all(eta, [kappa])
        for number, after in ((0, 1), (1, 2), (2, 3)):
            _close(_sixth(part(number)), found[after], 1e-8)


def test_means_outside_the_law_are_an_infinite_loss():
    rows = LikelihoodRows(family_of("gamma", "inverse"), _response("gamma"))
    eta = _eta("inverse")
    assert np.isfinite(rows.newton(eta, [KAPPA])[0])
    eta[3] = -0.1
    assert not np.isfinite(rows.newton(eta, [KAPPA])[0])


@pytest.mark.parametrize("name", list(DEFAULT_LINKS))
def test_draws_have_their_mean_and_variance(name):
    family = family_of(name, "log" if name == "gaussian" else None)
    response = _response(name)
    rng = np.random.default_rng(5)
    mu = family.mean(_eta("log"))
    kappa = _kappa(family)
    draws = np.array([family.draw(mu, response, kappa, rng) for _ in range(4000)])
    trials = 1.0 if response.trials is None else response.trials
    variance = family.variance(mu, kappa, response.trials)
    if response.weights is not None and family.law.weights_divide:
        variance = variance / response.weights
    shares = draws / trials
    error = np.sqrt(variance / len(draws))
    assert np.abs((shares.mean(axis=0) - mu) / error).max() < 5
    ratio = shares.var(axis=0).mean() / variance.mean()
    assert ratio == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("name", ["binomial", "poisson", "gamma", "gaussian"])
def test_unit_deviances_are_those_of_statsmodels(name):
    family = family_of(name, "log" if name == "gaussian" else None)
    response = _response(name)
    mu = family.mean(_eta("log"))
    upstream = family.statsmodels()
    if name == "binomial":
        upstream.n = response.trials
        wanted = upstream.resid_dev(response.observed, mu) ** 2
    else:
        wanted = upstream.resid_dev(response.y, mu) ** 2
    found = family.unit_deviance(response.y, mu, (), response.trials)
    _close(found, wanted, 1e-10)


@pytest.mark.parametrize("name", ["poisson", "negative binomial", "nb1"])
def test_counts_too_large_to_be_drawn(name):
    family = family_of(name)
    mean, response = np.array([1.0, 1e25]), RowResponse(np.ones(2))
    with pytest.raises(ValueError, match=r"cannot be drawn: a mean of .* too large"):
        family.draw(mean, response, [0.0] * family.n_dispersion, np.random.default_rng(1))


@pytest.mark.parametrize("name", ["poisson", "negative binomial", "nb1", "gamma"])
def test_means_beyond_all_numbers_are_infinite(name):
    family = family_of(name)
    with np.errstate(all="raise"):
        mean = family.mean(np.array([0.0, 1e3]))
        variance = family.variance(mean, [0.0] * family.n_dispersion)
    assert mean.tolist() == [1.0, np.inf]
    assert np.isinf(variance[1])


@pytest.mark.parametrize("name", ["poisson", "negative binomial", "binomial"])
def test_unit_deviances_of_means_at_a_limit_come_in_silence(name):
    family = family_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = family.unit_deviance(np.ones(2), np.array([1e-320, 0.5]), [1.0])
    assert found[0] > 1e2
    assert np.isfinite(found[1])
