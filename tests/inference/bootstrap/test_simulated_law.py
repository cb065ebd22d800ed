"""Laws of a statistic from draws, and what failures count for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mixedext.inference.bootstrap.simulated_law import SimulatedLaw


def test_laws_of_a_statistic():
    draws = np.random.default_rng(0).chisquare(2, 9999) * 1.3
    law = SimulatedLaw(7.0, draws, 2)
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
    law = SimulatedLaw(2.0, draws, 1)
    assert law.n_extreme == 2
    assert law.pvalue == 3 / 5
    assert np.isfinite(law.laws()["Bartlett"][3])
