"""Population averages against adaptive quadrature, closed forms and differences."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, special, stats

from mixedext.inference.prediction.marginal_means import marginal_mean, marginal_moments
from mixedext.specification.families.family import Family
from mixedext.specification.families.links import LINKS, Power

SMOOTH = ["logit", "probit", "cloglog", "loglog", "cauchy", "log", "identity", "sqrt"]


def by_quadrature(function, eta, tau):
    """E f(eta + tau Z) by adaptive quadrature in pieces."""
    ends = np.linspace(-12, 12, 49)
    pieces = pairwise(ends)

    def integrand(z):
        with np.errstate(over="ignore"):
            return float(function(np.array([eta + tau * z]))[0]) * stats.norm.pdf(z)

    found = (
        integrate.quad(integrand, a, b, epsabs=1e-15, epsrel=1e-12, limit=200)[0]
        for a, b in pieces
    )
    return float(np.sum(list(found)))


@pytest.mark.parametrize("tau", [0.3, 1.0, 3.0, 5.0])
@pytest.mark.parametrize("name", ["logit", "probit", "cloglog", "loglog", "cauchy"])
def test_means_of_probabilities(name, tau):
    link = LINKS[name]
    for eta in (-4.0, -0.7, 0.0, 1.3):
        wanted = by_quadrature(link.mean, eta, tau)
        assert marginal_mean(link, eta, tau**2).mean[0] == pytest.approx(wanted, abs=1e-10)


def test_closed_forms():
    eta, v = np.array([-1.0, 0.2, 3.0]), np.array([0.0, 0.5, 4.0])
    np.testing.assert_allclose(
        marginal_mean(LINKS["log"], eta, v).mean, np.exp(eta + v / 2)
    )
    wanted = special.ndtr(eta / np.sqrt(1 + v))
    np.testing.assert_allclose(marginal_mean(LINKS["probit"], eta, v).mean, wanted)
    np.testing.assert_allclose(marginal_mean(LINKS["identity"], eta, v).mean, eta)
    np.testing.assert_allclose(marginal_mean(LINKS["sqrt"], eta, v).mean, eta**2 + v)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives(name):
    link, rng = LINKS[name], np.random.default_rng(1)
    eta, v = rng.normal(size=6), rng.uniform(0.2, 4.0, 6)
    found = marginal_mean(link, eta, v)
    h = 1e-4

    def slope(function):
        near, far = (function(k * h) - function(-k * h) for k in (1, 2))
        return (8 * near - far) / (12 * h)

    by_eta = slope(lambda s: marginal_mean(link, eta + s, v).mean)
    by_variance = slope(lambda s: marginal_mean(link, eta, v + s).mean)
    np.testing.assert_allclose(found.by_eta, by_eta, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(found.by_variance, by_variance, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", SMOOTH)
def test_without_variance_it_is_the_mean(name):
    link, eta = LINKS[name], np.array([-1.0, 0.3, 2.0])
    eta = np.abs(eta) if name == "sqrt" else eta
    np.testing.assert_allclose(
        marginal_mean(link, eta, 0.0).mean, link.mean(eta), rtol=1e-14
    )


@pytest.mark.parametrize("link", [Power(-1.0, "inverse"), Power(2.0)])
def test_links_without_a_population_average(link):
    with pytest.raises(ValueError, match="no population average"):
        marginal_mean(link, np.ones(2), 0.5)


def test_missing_rows():
    found = marginal_mean(LINKS["logit"], np.array([0.0, np.nan]), np.array([1.0, 1.0]))
    assert np.isnan(found.mean[1])
    assert found.mean[0] == pytest.approx(0.5, abs=1e-14)


FAMILIES = [
    ("binomial", "logit", ()),
    ("binomial", "cloglog", ()),
    ("poisson", "log", ()),
    ("negative binomial", "log", (0.4,)),
    ("nb1", "log", (0.4,)),
    ("gamma", "log", (-0.7,)),
    ("inverse gaussian", "log", (-0.7,)),
    ("beta", "logit", (1.5,)),
    ("gaussian", "identity", (0.3,)),
]


@pytest.mark.parametrize(("name", "link", "kappa"), FAMILIES)
def test_moments(name, link, kappa):
    family = Family.of(name, link)
    for eta, v in ((-0.5, 0.4), (0.8, 2.0)):
        tau = np.sqrt(v)
        found = marginal_moments(family, eta, v, np.array(kappa))
        mean = by_quadrature(family.mean, eta, tau)
        square = by_quadrature(lambda x: family.mean(x) ** 2, eta, tau)
        within = by_quadrature(lambda x: family.variance(family.mean(x), kappa), eta, tau)
        assert found.mean[0] == pytest.approx(mean, rel=1e-10)
        assert found.between[0] == pytest.approx(square - mean**2, rel=1e-8)
        assert found.within[0] == pytest.approx(within, rel=1e-9)


def test_moments_of_several_trials_and_weights():
    trials = np.array([1.0, 4.0, 20.0])
    one = marginal_moments(Family.of("binomial"), np.zeros(3), 0.5)
    many = marginal_moments(Family.of("binomial"), np.zeros(3), 0.5, (), trials)
    np.testing.assert_allclose(many.within, one.within / trials)
    np.testing.assert_allclose(many.between, one.between)
    family, kappa = Family.of("beta binomial"), np.array([1.2])
    many = marginal_moments(family, np.zeros(3), 0.5, kappa, trials)
    spread = 1 + (trials - 1) / (np.exp(1.2) + 1)
    np.testing.assert_allclose(many.within, one.within * spread / trials)
    family, w = Family.of("gamma"), np.array([1.0, 2.0, 5.0])
    plain = marginal_moments(family, np.zeros(3), 0.5, [0.1])
    own = marginal_moments(family, np.zeros(3), 0.5, [0.1], None, w)
    np.testing.assert_allclose(own.within, plain.within / w)
