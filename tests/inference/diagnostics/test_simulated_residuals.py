"""Simulated residuals: uniform where the model holds, and tests that see where not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from mixedext.inference.bootstrap.response_draws import (
    ResponseDraws,
    loadings,
    random_variance,
)
from mixedext.inference.diagnostics.simulated_residuals import simulated_ranks
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm


class PoissonLaw:
    """Counts with a log link."""

    def mean(self, eta):
        return np.exp(eta)

    def draw(self, mean, response, kappa, rng):
        return rng.poisson(mean).astype(float)


class NormalLaw:
    """A continuous response."""

    def mean(self, eta):
        return eta

    def draw(self, mean, response, kappa, rng):
        return mean + rng.standard_normal(mean.shape)


def draws_of(law, n=600, levels=40, sd=0.8, seed=1):
    rng = np.random.default_rng(seed)
    term = RandomTerm(rng.integers(levels, size=n), group="g")
    eta = 0.5 + 0.6 * rng.normal(size=n)
    spread = loadings([term], [np.array([[sd]])], n)
    draws = ResponseDraws(law, SimpleNamespace(), np.zeros(0), eta, spread)
    if isinstance(law, NormalLaw):
        return draws, {"center": eta, "scale": np.full(n, np.sqrt(1 + sd**2))}, rng
    mean = np.exp(eta + sd**2 / 2)
    variance = mean + mean**2 * np.expm1(sd**2)
    return draws, {"center": mean, "scale": np.sqrt(variance)}, rng


def test_loadings_are_z_times_the_factor():
    rng = np.random.default_rng(3)
    n = 30
    one = RandomTerm(rng.integers(4, size=n), rng.normal(size=(n, 2)), group="g")
    other = SparseTerm(rng.normal(size=(n, 3)) * (rng.random((n, 3)) < 0.5), "s")
    lams = [np.array([[1.2, 0.0], [-0.4, 0.7]]), np.array([[0.6]])]
    z = loadings([one, other], lams, n).toarray()
    u = rng.normal(size=z.shape[1])
    effects = u[: one.n_levels * 2].reshape(-1, 2) @ lams[0].T
    wanted = one.contribution(effects) + other.matrix @ (0.6 * u[one.n_levels * 2 :])
    np.testing.assert_allclose(z @ u, wanted, atol=1e-13)
    variance = random_variance([one, other], [lam @ lam.T for lam in lams], n)
    np.testing.assert_allclose(variance, (z**2).sum(axis=1), atol=1e-13)


def test_blocks_are_draws():
    draws, _, _ = draws_of(PoissonLaw())
    blocks = list(draws.blocks(4000, np.random.default_rng(2)))
    assert sum(len(b) for b in blocks) == 4000
    assert len(blocks) == 3
    y = np.concatenate(blocks)
    mean = np.exp(draws.eta + 0.32)
    assert abs(np.mean(y.mean(axis=0) / mean) - 1) < 0.01


@pytest.mark.parametrize("law", [PoissonLaw(), NormalLaw()], ids=["counts", "numbers"])
def test_uniform_under_the_model(law):
    pvalues = []
    for seed in range(12):
        draws, about, _ = draws_of(law, n=200, levels=200, seed=seed)
        rng = np.random.default_rng(100 + seed)
        y = draws.draw(1, rng)[0]
        found = simulated_ranks(draws, y, 199, rng, **about)
        assert ((found.residuals > 0) & (found.residuals < 1)).all()
        pvalues.append(
            [
                found.test_uniformity().pvalue,
                found.test_dispersion().pvalue,
                found.test_zero_inflation().pvalue,
                found.test_outliers().pvalue,
            ]
        )
    # twelve p-values of a law that holds: none is tiny, and half are not
    assert np.min(pvalues) > 1e-3
    assert (np.median(pvalues, axis=0) > 0.15).all()


def test_overdispersion_and_zeros_are_seen():
    draws, about, rng = draws_of(PoissonLaw(), n=800, levels=100)
    mean = np.exp(draws.predictors(1, rng)[0])
    wild = rng.poisson(mean * rng.gamma(0.7, 1 / 0.7, len(mean))).astype(float)
    found = simulated_ranks(draws, wild, 250, rng, **about)
    assert found.test_dispersion("larger").pvalue < 0.02
    assert found.test_dispersion().statistic > 1.2
    zeros = np.where(rng.random(len(mean)) < 0.3, 0.0, rng.poisson(mean))
    found = simulated_ranks(draws, zeros, 250, rng, **about)
    test = found.test_zero_inflation()
    assert test.pvalue < 0.02
    assert test.observed == np.count_nonzero(zeros == 0)
    assert found.test_uniformity().pvalue < 1e-3


def test_outliers_are_counted():
    draws, about, rng = draws_of(NormalLaw(), n=300)
    y = draws.draw(1, rng)[0]
    y[:20] += 15
    found = simulated_ranks(draws, y, 250, rng, **about)
    test = found.test_outliers("larger")
    assert test.observed >= 20
    assert test.pvalue == pytest.approx(
        stats.binom.sf(test.observed - 1, 300, 2 / 251), rel=1e-10
    )


def test_table_text_and_errors():
    draws, about, rng = draws_of(PoissonLaw(), n=100)
    found = simulated_ranks(draws, draws.draw(1, rng)[0], 50, rng, **about)
    assert list(found.to_frame().columns) == ["residual", "fitted", "below", "ties"]
    assert "50 simulations, unconditional" in repr(found)
    assert np.asarray(found) is not found.residuals
    np.testing.assert_allclose(stats.norm.cdf(found.normal), found.residuals)
    with pytest.raises(ValueError, match="alternative"):
        found.test_dispersion("greater")
    with pytest.raises(ValueError, match="n"):
        simulated_ranks(draws, draws.eta, 0, rng, **about)


def test_plot():
    pytest.importorskip("matplotlib")
    draws, about, rng = draws_of(PoissonLaw(), n=100)
    found = simulated_ranks(draws, draws.draw(1, rng)[0], 50, rng, **about)
    figure = found.plot()
    assert len(figure.axes) == 2
