"""Families and links by name and as statsmodels' instances."""

import numpy as np
import pytest
import statsmodels.api as sm

from mixedext.exceptions import PrecisionWarning
from mixedext.specification.families.links import LINKS, link_of
from mixedext.specification.families.registry import family_of

links = sm.families.links


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("binomial", "binomial(logit)"),
        ("binomial(probit)", "binomial(probit)"),
        ("Binomial(link='cloglog')", "binomial(cloglog)"),
        ("bernoulli", "binomial(logit)"),
        ("poisson", "poisson(log)"),
        ("Gamma(inverse)", "gamma(inverse)"),
        ("inverse gaussian", "inverse gaussian(log)"),
        ("nbinom2", "negative binomial(log)"),
        ("nb1", "nb1(log)"),
        ("beta", "beta(logit)"),
        ("betabinomial", "beta binomial(logit)"),
        ("gaussian(log)", "gaussian(log)"),
    ],
)
def test_names(text, wanted):
    assert family_of(text).label == wanted


@pytest.mark.parametrize(
    ("instance", "wanted"),
    [
        (sm.families.Binomial(), "binomial(logit)"),
        (sm.families.Binomial(links.Probit()), "binomial(probit)"),
        (sm.families.Poisson(links.Sqrt()), "poisson(sqrt)"),
        (sm.families.Gamma(), "gamma(inverse)"),
        (sm.families.InverseGaussian(links.Log()), "inverse gaussian(log)"),
        (sm.families.Gaussian(links.Log()), "gaussian(log)"),
    ],
)
def test_statsmodels_instances(instance, wanted):
    assert family_of(instance).label == wanted


def test_an_alpha_that_is_given_stays():
    family = family_of(sm.families.NegativeBinomial(alpha=0.25))
    assert family.n_dispersion == 0
    assert family.dispersion() == pytest.approx(0.25)
    assert family_of("negative binomial").n_dispersion == 1


@pytest.mark.parametrize(
    ("family", "error", "words"),
    [
        (sm.families.Binomial, TypeError, "class"),
        ("binomal", ValueError, "binomial"),
        ("binomial(lgit)", ValueError, "logit"),
        ("binomial(sqrt)", ValueError, "does not have the link"),
        ("quasipoisson", ValueError, "negative binomial"),
        ("ordinal", ValueError, "not available yet"),
        (sm.families.Tweedie(), ValueError, "not available"),
        (3, TypeError, "must be a name"),
    ],
)
def test_what_is_not_known_is_answered(family, error, words):
    with pytest.raises(error, match=words):
        family_of(family)


@pytest.mark.parametrize("name", LINKS)
def test_links_are_those_of_statsmodels(name):
    kinds = {
        "cloglog": links.CLogLog,
        "loglog": links.LogLog,
        "inverse": links.InversePower,
        "inverse_squared": links.InverseSquared,
    }
    upstream = kinds.get(name, getattr(links, name.capitalize(), None))()
    assert link_of(upstream) == LINKS[name]
    eta = np.linspace(0.2, 1.5, 7)
    own = LINKS[name].terms(eta)
    np.testing.assert_allclose(own.mean, upstream.inverse(eta), rtol=1e-12)
    np.testing.assert_allclose(own.first, upstream.inverse_deriv(eta), rtol=1e-9)
    np.testing.assert_allclose(LINKS[name].eta(own.mean), eta, rtol=1e-11)


def test_a_link_of_the_users_own_has_numerical_derivatives():
    class Own(links.Link):
        def __call__(self, p):
            return np.log(p) * 2

        def inverse(self, z):
            return np.exp(z / 2)

    with pytest.warns(PrecisionWarning, match="Own"):
        own = link_of(Own())
    eta = np.linspace(-1, 1, 5)
    t, e = own.terms(eta), np.exp(eta / 2)
    for found, wanted in ((t.first, e / 2), (t.second, e / 4), (t.third, e / 8)):
        np.testing.assert_allclose(found, wanted, rtol=1e-8)
