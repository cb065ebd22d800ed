"""Tests of variances by exact laws and by mixtures of chi-squared laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mixedext.inference.variances.component_spectrum import Spectrum
from mixedext.inference.variances.null_law import NullLaw
from mixedext.inference.variances.variance_test_result import (
    VarianceTest,
    exact_test,
    mixture_test,
)


class TestExactTest:
    one, five = np.ones(1), np.array([5])
    law = NullLaw(Spectrum(one, five, one, five, nobs=30, rank=1), True)

    def test_counts_simulations(self):
        test = exact_test(2.0, self.law, 999, 1)
        sample = self.law.simulate(999, np.random.default_rng(1))
        assert (test.draws == sample).all()
        assert test.pvalue == ((sample >= 2.0).sum() + 1) / 1000
        assert test.se == np.sqrt(test.pvalue * (1 - test.pvalue) / 999)
        assert (test.n, test.method, test.kind) == (999, "simulation", "RLRT")
        assert test.quantile(0.9) == np.quantile(sample, 0.9)

    def test_never_zero(self):
        assert exact_test(500.0, self.law, 99, 1).pvalue == 0.01
        p = exact_test(50.0, self.law, method="inversion").pvalue
        assert 0 < p < 1e-10

    @pytest.mark.parametrize("method", ["simulation", "inversion"])
    def test_a_statistic_of_zero_is_no_evidence(self, method):
        test = exact_test(-1e-13, self.law, 99, 1, method)
        assert (test.statistic, test.pvalue, test.se) == (0.0, 1.0, 0.0)

    def test_arguments(self):
        for n in (0, -5, 2.5, "many"):
            with pytest.raises(ValueError, match="n="):
                exact_test(1.0, self.law, n)
        with pytest.raises(ValueError, match="rng='a' must be a numpy Generator"):
            exact_test(1.0, self.law, 10, "a")
        with pytest.raises(ValueError, match="'simulation' or 'inversion'"):
            exact_test(1.0, self.law, method="magic")

    def test_no_sample_no_quantiles(self):
        with pytest.raises(ValueError, match="simulated no null statistics"):
            exact_test(1.0, self.law, method="inversion").quantile(0.5)

    def test_repr_and_freezing(self):
        test = exact_test(2.0, self.law, 99, 1, tested="(1 | g)", notes=("a note",))
        assert isinstance(test, VarianceTest)
        lines = repr(test).split("\n")
        assert lines[0] == "exact RLRT of (1 | g)"
        assert "99 draws, standard error" in lines[1]
        # balanced data: the p-value of the F test
        p = exact_test(2.0, self.law, method="inversion").pvalue
        said = "the same law by inversion, no simulation error; report this one"
        assert lines[2] == f"p = {p:.4g} ({said})"
        assert lines[3].endswith("with probability 0.5611")
        assert lines[4] == "a note"
        assert "by inversion" not in repr(exact_test(0.0, self.law, 99, 1))
        with pytest.raises(AttributeError):
            test.pvalue = 0.0

    def test_inversion_beside_simulation(self):
        values, counts = np.array([1.0, 0.4, 0.1]), np.ones(3, int)
        law = NullLaw(Spectrum(values, counts, values, counts, 30, 2), True)
        drawn, inverted = (
            exact_test(2.0, law, 20_000, 1, method)
            for method in ("simulation", "inversion")
        )
        p, se = drawn.by_inversion
        assert inverted.by_inversion == (inverted.pvalue, inverted.se)
        assert 0 < se < 0.1 * p
        assert abs(p - inverted.pvalue) < 4 * np.hypot(se, inverted.se)
        assert abs(p - drawn.pvalue) < 4 * np.hypot(se, drawn.se)
        better = "this one" if se < drawn.se else "the first"
        said = f"by inversion, standard error {se:.2g}; report {better})"
        assert said in repr(drawn)
        assert repr(drawn) == repr(exact_test(2.0, law, 20_000, 1))
        assert mixture_test(2.0, 0, 1, True).by_inversion is None


class TestMixture:
    def test_one_variance(self):
        test = mixture_test(2.7, 0, 1, True)
        assert test.pvalue == pytest.approx(stats.chi2.sf(2.7, 1) / 2, rel=1e-14)
        assert test.mass_at_zero == 0.5
        assert test.method == "mixture"
        assert mixture_test(0.0, 0, 1, True).pvalue == 1.0

    def test_a_variance_and_its_covariance(self):
        test = mixture_test(5.14, 1, 1, False)
        assert test.pvalue == pytest.approx(0.05, abs=2e-4)  # Stram and Lee's 5.14
        assert "0.5 chi2(1) + 0.5 chi2(2)" in repr(test)
        assert "probability" not in repr(test)

    def test_two_variances(self):
        want = stats.chi2.sf(3.0, 1) / 2 + stats.chi2.sf(3.0, 2) / 4
        assert mixture_test(3.0, 0, 2, True).pvalue == pytest.approx(want, rel=1e-14)
