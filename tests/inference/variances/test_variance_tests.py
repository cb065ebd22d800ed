"""Tests of variances by exact laws: R's values, and what cannot be tested so."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from helpers.paths import RESULTS
from helpers.reference import case_names, load_case
from scipy import optimize, stats

import mixedext as mx

pytestmark = pytest.mark.formula_engine

RESTRICTED = json.loads((RESULTS / "variance_tests.json").read_text())
TESTS = [
    (case, test)
    for case in case_names()
    for test in load_case(case).values.get("rlrt") or {}
]


def sleepstudy():
    return mx.datasets.sleepstudy.load().data


def fit(formula, data, **arguments):
    return mx.mixedlm(formula, data).fit(**arguments)


class TestReference:
    """RLRsim's exactRLRT and exactLRT."""

    @pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.ModelWarning")
    @pytest.mark.parametrize(("case", "test"), TESTS)
    def test_statistic_and_p(self, case, test):
        loaded = load_case(case)
        values = loaded.values["rlrt"][test]
        restricted = values["type"] == "exactRLRT"
        names = ("m", "mA", "m0") if restricted else ("m",)
        formulas = [values[n].replace("^", "**") for n in names if values.get(n)]
        fits = [
            mx.mixedlm(f, loaded.data, **loaded.options).fit(reml=restricted)
            for f in formulas
        ]
        function = mx.exact_rlrt if restricted else mx.exact_lrt
        found = function(*fits, method="inversion", rng=1)
        assert found.statistic == pytest.approx(values["statistic"], rel=1e-7, abs=1e-9)
        assert found.kind == ("RLRT" if restricted else "LRT")
        zero = values["null_quantiles"]["share_zero"]
        assert abs(found.mass_at_zero - zero) < 4 * np.sqrt(0.25 / values["nsim"])
        simulated = function(*fits, nsim=20_000, rng=2)
        assert simulated.statistic == found.statistic
        if values["statistic"] < 1e-9:
            # R's is not quite zero: its p is the share of samples above
            assert found.pvalue == simulated.pvalue == 1.0
            return
        error = np.hypot(max(values["p_mcse"], 1e-6), found.se)
        assert abs(found.pvalue - values["p"]) < 4 * error
        spread = np.sqrt(found.pvalue * (1 - found.pvalue) / 20_000) + 1 / 20_001
        assert abs(simulated.pvalue - found.pvalue) < 4 * spread

    def test_published_figures(self):
        data = mx.datasets.pulp.load().data
        test = mx.exact_lrt(
            fit("bright ~ 1 + (1 | operator)", data, reml=False), method="inversion"
        )
        assert test.statistic == pytest.approx(2.568371, abs=1e-6)
        assert stats.chi2.sf(test.statistic, 1) == pytest.approx(0.1090, abs=5e-5)
        # the law is that of F = 4.204 on 3 and 16 degrees of freedom
        groups = [g["bright"] for _, g in data.groupby("operator", observed=True)]
        assert test.pvalue == pytest.approx(stats.f_oneway(*groups).pvalue, rel=1e-8)
        assert test.mass_at_zero == pytest.approx(0.7015, abs=5e-5)
        data = mx.datasets.irrigation.load().data
        test = fit("yield ~ irrigation * variety + (1 | field)", data).exact_rlrt(
            method="inversion"
        )
        assert test.statistic == pytest.approx(6.1118, abs=5e-5)
        assert test.pvalue == pytest.approx(0.0095575, abs=1e-6)
        data = mx.datasets.dyestuff.load().data
        test = fit("Yield ~ 1 + (1 | Batch)", data).exact_rlrt(method="inversion")
        groups = [g["Yield"] for _, g in data.groupby("Batch", observed=True)]
        assert test.pvalue == pytest.approx(stats.f_oneway(*groups).pvalue, rel=1e-8)
        assert test.mass_at_zero == pytest.approx(0.5611, abs=5e-5)

    def test_with_a_fixed_effect(self):
        keep = RESTRICTED["sleep_intercept"]["keep"]
        data = sleepstudy().iloc[keep].reset_index(drop=True)
        data["noise"] = (np.arange(len(data)) + 1.0) % 7
        large = fit("Reaction ~ Days + noise + (1 | Subject)", data, reml=False)
        small = sm.OLS.from_formula("Reaction ~ Days", data).fit()
        test = mx.exact_lrt(large, small, nsim=200_000, rng=3)
        want = RESTRICTED["restricted"]["sleep"]
        assert test.statistic == pytest.approx(want["statistic"], rel=1e-9)
        assert test.tested == "(1 | Subject) and 1 fixed effect"
        probabilities = [0.25, 0.5, 0.75, 0.9, 0.95, 0.99]
        for p, x in zip(probabilities, want["quantiles"], strict=True):
            share = (test.draws < x).mean()
            assert abs(share - p) < 4 * np.sqrt(2 * p * (1 - p) / 200_000)

    def test_with_a_factor(self):
        data = mx.datasets.penicillin.load().data
        large = fit("diameter ~ sample + (1 | plate)", data, reml=False)
        small = mx.MixedLM(data["diameter"], np.ones((144, 1)), terms=[]).fit(reml=False)
        test = mx.exact_lrt(large, small, nsim=100_000, rng=4)
        want = RESTRICTED["restricted"]["penicillin"]
        assert test.statistic == pytest.approx(want["statistic"], rel=1e-9)
        assert np.median(test.draws) == pytest.approx(want["quantiles"][1], abs=0.05)
        assert test.draws.min() > 0


class TestThreeModels:
    def test_results_build_them(self):
        data = mx.datasets.pastes.load().data
        full = fit("strength ~ 1 + (1 | batch/cask)", data)
        alone = fit("strength ~ 1 + (1 | batch)", data)
        rest = fit("strength ~ 1 + (1 | batch:cask)", data)
        want = mx.exact_rlrt(alone, full, rest, rng=1)
        for name in ("batch", "(1 | batch)", "(1|batch)"):
            found = full.exact_rlrt(name, rng=1)
            assert found.statistic == pytest.approx(want.statistic, abs=1e-9)
            assert (found.draws == want.draws).all()
        assert "Greven" in found.notes[0]
        assert not found.is_exact
        assert alone.exact_rlrt(rng=1).is_exact
        assert repr(found).startswith("RLRT of (1 | batch)")
        for name in ("batch:cask", "cask:batch", "(1 | batch:cask)"):
            assert full.exact_rlrt(name, rng=1).statistic > 50

    def test_one_term_needs_no_name(self):
        result = fit("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data)
        named = result.exact_rlrt("Batch", rng=1)
        assert named.pvalue == result.exact_rlrt(rng=1).pvalue
        assert named.pvalue == mx.exact_rlrt(result, rng=1).pvalue
        assert named.notes == ()
        with pytest.raises(ValueError, match="'nobody' is not one part"):
            result.exact_rlrt("nobody")

    def test_slopes_of_a_factor_have_its_name(self):
        data = mx.datasets.load("machines").data
        result = fit("score ~ Machine + (Machine | Worker)", data)
        found = result.exact_rlrt("Machine", method="bootstrap", nsim=20, rng=1)
        assert found.tested == "Machine in (Machine | Worker)"
        two = data[data["Machine"] != "C"].astype({"Machine": str})
        result = fit("score ~ Machine + (Machine | Worker)", two)
        named = result.exact_rlrt("Machine", method="mixture")
        column = result.exact_rlrt("Machine[T.B]", method="mixture")
        assert named.tested == column.tested == "Machine in (Machine | Worker)"
        assert named.pvalue == column.pvalue

    def test_uncorrelated_columns_are_terms(self):
        result = fit("Reaction ~ Days + (Days || Subject)", sleepstudy())
        slope = result.exact_rlrt("Days", method="inversion")
        assert slope.statistic == pytest.approx(42.7957918136085, rel=1e-9)
        intercept = result.exact_rlrt("(1 | Subject)", method="inversion")
        assert intercept.statistic > 20
        with pytest.raises(ValueError, match="use one of"):
            result.exact_rlrt("Subject")
        with pytest.raises(ValueError, match="term must say which"):
            result.exact_rlrt()
        with pytest.raises(TypeError, match="term must be a string"):
            result.exact_rlrt(3)

    def test_statsmodels_formulas(self):
        bars = fit("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", sleepstudy())
        model = mx.MixedLM.from_formula(
            "Reaction ~ Days",
            sleepstudy(),
            groups="Subject",
            re_formula="1",
            vc_formula={"slope": "0 + Days"},
        )
        want = bars.exact_rlrt("Days", rng=2)
        found = model.fit().exact_rlrt("slope", rng=2)
        assert found.statistic == pytest.approx(want.statistic, abs=1e-8)
        assert found.pvalue == want.pvalue

    def test_any_matrix(self):
        data = mx.datasets.penicillin.load().data
        plate = mx.SparseTerm(pd.get_dummies(data["plate"]), group="plate")
        sample = mx.RandomTerm(data["sample"], group="sample")
        model = mx.MixedLM(data["diameter"], np.ones((144, 1)), terms=[plate, sample])
        bars = fit("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
        want = bars.exact_rlrt("plate", method="inversion")
        found = model.fit().exact_rlrt("plate", method="inversion")
        assert found.statistic == pytest.approx(want.statistic, rel=1e-10)
        assert found.pvalue == pytest.approx(want.pvalue, rel=1e-6)

    @pytest.mark.filterwarnings("ignore:The random effects covariance matrix")
    def test_the_models_must_fit_together(self):
        data = mx.datasets.pastes.load().data
        full = fit("strength ~ 1 + (1 | batch/cask)", data)
        alone = fit("strength ~ 1 + (1 | batch)", data)
        rest = fit("strength ~ 1 + (1 | batch:cask)", data)
        with pytest.raises(ValueError, match="belong together"):
            mx.exact_rlrt(alone, full)
        with pytest.raises(ValueError, match=r"mA must be the model.*other way round"):
            mx.exact_rlrt(alone, rest, full)
        with pytest.raises(ValueError, match="m: 1, mA: 2, m0: 2"):
            mx.exact_rlrt(alone, full, full)
        with pytest.raises(ValueError, match="m0 has the random effect of m too"):
            mx.exact_rlrt(alone, full, alone)
        with pytest.raises(mx.NoExactLawError, match="m has 2 parameters"):
            mx.exact_rlrt(full, alone, rest)
        other = fit("strength ~ 1 + (1 | sample)", data.assign(sample=data["cask"]))
        with pytest.raises(ValueError, match="mA must be the model with"):
            mx.exact_rlrt(other, full, rest)
        with pytest.raises(ValueError, match="rows"):
            mx.exact_rlrt(fit("strength ~ 1 + (1 | batch)", data[:50]), full, rest)
        with pytest.raises(TypeError, match="m must be the results"):
            mx.exact_rlrt("m")
        moved = data.assign(x=np.arange(len(data)) % 3)
        with pytest.raises(ValueError, match="different fixed effects"):
            mx.exact_rlrt(alone, full, fit("strength ~ x + (1 | batch:cask)", moved))

    def test_a_variance_of_zero(self):
        data = mx.datasets.dyestuff2.load().data
        with pytest.warns(match="covariance matrix is singular"):
            result = fit("Yield ~ 1 + (1 | Batch)", data)
        for method in ("simulation", "inversion", "mixture"):
            test = result.exact_rlrt(method=method, nsim=50)
            assert (test.statistic, test.pvalue) == (0.0, 1.0)


class TestLikelihoods:
    def test_a_fit_by_ml_is_refitted(self):
        data = sleepstudy()
        by_ml = fit("Reaction ~ Days + (1 | Subject)", data, reml=False)
        by_reml = fit("Reaction ~ Days + (1 | Subject)", data)
        for test in (mx.exact_rlrt(by_ml, rng=1), by_ml.exact_rlrt(rng=1)):
            want = by_reml.exact_rlrt(rng=1).statistic
            assert test.statistic == pytest.approx(want, rel=1e-12)
            assert test.notes == ("fitted by ML, refitted by REML for this test",)
        assert by_ml.reml is False
        test = mx.exact_lrt(by_reml, rng=1)
        assert test.notes == ("m fitted by REML, refitted by ML for this test",)
        assert test.statistic == pytest.approx(
            mx.exact_lrt(by_ml, rng=1).statistic, rel=1e-12
        )

    def test_weights_and_scales(self):
        """One statistic and law for any unit of the response and covariates."""
        rng = np.random.default_rng(5)
        data = sleepstudy()
        weights = rng.uniform(0.3, 3, len(data))
        one = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data, weights=weights).fit()
        other = data.assign(Reaction=1e6 * data["Reaction"], Days=data["Days"] * 1e-4)
        shuffled = rng.permutation(len(data))
        two = mx.mixedlm(
            "Reaction ~ Days + (1 | Subject)",
            other.iloc[shuffled],
            weights=7 * weights[shuffled],
        ).fit()
        tests = [r.exact_rlrt(method="inversion", rng=1) for r in (one, two)]
        assert tests[0].statistic == pytest.approx(tests[1].statistic, rel=1e-9)
        assert tests[0].mass_at_zero == pytest.approx(tests[1].mass_at_zero, abs=1e-11)
        spectra = [t.law.spectrum.values for t in tests]
        np.testing.assert_allclose(*spectra, atol=1e-11)

    @pytest.mark.filterwarnings("ignore:The random effects covariance matrix")
    def test_the_size_of_the_test(self):
        """Under the hypothesis p-values are uniform above the mass at zero."""
        rng = np.random.default_rng(6)
        codes = np.repeat(np.arange(7), [2, 3, 3, 4, 5, 6, 9])
        x = np.column_stack([np.ones(32), rng.normal(size=32)])
        p = []
        for _ in range(300):
            y = rng.normal(size=32)
            model = mx.MixedLM(y, x, terms=[mx.RandomTerm(codes, group="g")])
            result = model.fit()
            p.append(mx.exact_rlrt(result, method="inversion", nsim=400, rng=1).pvalue)
        p = np.array(p)
        for level in (0.05, 0.2, 0.4):
            assert abs((p <= level).mean() - level) < 4 * np.sqrt(level / 300)

    def test_chunks_and_removed_data(self):
        data = sleepstudy()
        formula = "Reaction ~ Days + (1 | Subject)"
        want = fit(formula, data).exact_rlrt(rng=1)
        chunked = mx.MixedLM.from_chunks(formula, [data[:100], data[100:]]).fit()
        assert chunked.exact_rlrt(rng=1).statistic == pytest.approx(
            want.statistic, rel=1e-10
        )
        bare = fit(formula, data)
        bare.remove_data()
        assert bare.exact_rlrt(rng=1).pvalue == want.pvalue

    def test_dependent_fixed_columns(self):
        data = sleepstudy().assign(twice=lambda d: 2 * d["Days"])
        with pytest.warns(mx.RankDeficientWarning):
            result = fit("Reaction ~ Days + twice + (1 | Subject)", data)
        want = fit("Reaction ~ Days + (1 | Subject)", data).exact_rlrt(rng=1)
        found = result.exact_rlrt(rng=1)
        assert found.statistic == pytest.approx(want.statistic, rel=1e-10)
        assert found.mass_at_zero == pytest.approx(want.mass_at_zero, abs=1e-11)


class TestNoExactLaw:
    def test_a_correlated_slope(self):
        result = fit("Reaction ~ Days + (Days | Subject)", sleepstudy())
        with pytest.raises(
            mx.NoExactLawError, match=r"2 parameters are tested.*'bootstrap'.*'mixture'"
        ):
            result.exact_rlrt("Days")
        test = result.exact_rlrt(method="mixture")
        assert test.tested == "Days in (Days | Subject)"
        x = test.statistic
        assert x == pytest.approx(42.8368, abs=1e-3)
        want = (stats.chi2.sf(x, 1) + stats.chi2.sf(x, 2)) / 2
        assert test.pvalue == pytest.approx(want, rel=1e-12)

    def test_several_variances(self):
        result = fit("Reaction ~ Days + (Days || Subject)", sleepstudy())
        with pytest.raises(ValueError, match=r"2 parameters.*2 variances"):
            mx.exact_rlrt(result)
        with pytest.raises(ValueError, match="m has 2"):
            mx.exact_lrt(result)

    def test_several_correlated_slopes(self):
        data = mx.datasets.machines.load().data
        result = fit("score ~ Machine + (Machine | Worker)", data)
        with pytest.raises(mx.NoExactLawError, match="no mixture with known weights"):
            result.exact_rlrt(method="mixture")

    def test_a_factor_that_leaves_its_mean(self):
        """The hypothesis leaves a variance that the model has only in combination."""
        data = mx.datasets.machines.load().data
        result = fit("score ~ Machine + (0 + Machine | Worker)", data)
        for method in ("simulation", "mixture"):
            with pytest.raises(mx.NoExactLawError, match="method='bootstrap'") as error:
                result.exact_rlrt(method=method)
            assert "method='mixture'" not in str(error.value)

    def test_a_factor_that_takes_its_mean_along(self):
        """Independent variances of levels make no random intercept: all three go."""
        data = mx.datasets.machines.load().data
        result = fit("score ~ Machine + (0 + Machine || Worker)", data)
        with pytest.raises(mx.NoExactLawError, match=r"3 variances .*method='mixture'"):
            result.exact_rlrt()
        test = result.exact_rlrt(method="mixture")
        alone = fit("score ~ Machine", data)
        assert test.statistic == pytest.approx(2 * (result.llf - alone.llf))

    def test_nothing_random(self):
        data = sleepstudy()
        plain = mx.MixedLM(data["Reaction"], np.ones((180, 1)), terms=[]).fit()
        with pytest.raises(ValueError, match="no random effects"):
            mx.exact_rlrt(plain)
        with pytest.raises(ValueError, match="no random effects"):
            plain.exact_rlrt()

    def test_methods(self):
        result = fit("Reaction ~ Days + (1 | Subject)", sleepstudy())
        with pytest.raises(ValueError, match="not known"):
            mx.exact_rlrt(result, method="guess")

    def test_smaller_model_of_lrt(self):
        data = sleepstudy()
        result = fit("Reaction ~ 1 + (1 | Subject)", data, reml=False)
        with pytest.raises(ValueError, match="m0 has random effects"):
            mx.exact_lrt(result, result)
        with pytest.raises(mx.DesignError, match="no special case"):
            mx.exact_lrt(result, sm.OLS.from_formula("Reaction ~ Days", data).fit())


class TestWithoutALaw:
    """By an explicit argument: the bootstrap, or the mixture, for what has no law."""

    def test_bootstrap_agrees_with_the_exact_law(self):
        result = fit("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data)
        exact = result.exact_rlrt(method="inversion")
        test = result.exact_rlrt(method="bootstrap", nsim=20_000, rng=1)
        assert test.statistic == pytest.approx(exact.statistic, rel=1e-9)
        assert abs(test.pvalue - exact.pvalue) < 4 * test.se
        assert abs(test.mass_at_zero - exact.mass_at_zero) < 4 * np.sqrt(0.25 / 20_000)
        assert (test.method, test.kind, test.n) == ("bootstrap", "RLRT", 20_000)
        assert test.draws.shape == (20_000,)
        assert "20000 responses simulated" in repr(test)
        assert test.quantile(0.95) == pytest.approx(exact_quantile(result), abs=0.15)

    def test_bootstrap_of_the_ordinary_likelihood(self):
        data = mx.datasets.pulp.load().data
        result = fit("bright ~ 1 + (1 | operator)", data, reml=False)
        test = mx.exact_lrt(result, method="bootstrap", nsim=20_000, rng=2)
        assert abs(test.pvalue - 0.0226113) < 4 * test.se
        small = sm.OLS.from_formula("bright ~ 1", data).fit()
        same = mx.exact_lrt(result, small, method="bootstrap", nsim=20_000, rng=2)
        assert same.pvalue == test.pvalue
        assert test.kind == same.kind == "LRT"

    def test_a_correlated_slope(self):
        # few days, so that the slopes do not stand out
        data = sleepstudy().query("Days < 4")
        result = fit("Reaction ~ Days + (Days | Subject)", data)
        test = result.exact_rlrt(method="bootstrap", nsim=4000, rng=3)
        small = fit("Reaction ~ Days + (1 | Subject)", data)
        want = mx.bootstrap_test(result, small, 4000, rng=3, reml=True)
        assert test.pvalue == want.pvalue
        assert test.statistic == pytest.approx(want.statistic, abs=1e-9)
        mixture = result.exact_rlrt(method="mixture")
        assert abs(mixture.pvalue - test.pvalue) < 0.1
        assert np.isnan(test.mass_at_zero)

    def test_all_variances_at_once(self):
        data = sleepstudy().query("Days < 3")
        result = fit("Reaction ~ Days + (Days || Subject)", data)
        with pytest.raises(mx.NoExactLawError, match="All at once"):
            mx.exact_rlrt(result)
        test = mx.exact_rlrt(result, method="mixture")
        x = test.statistic
        want = 0.5 * stats.chi2.sf(x, 1) + 0.25 * stats.chi2.sf(x, 2)
        assert test.pvalue == pytest.approx(want, rel=1e-12)
        assert "binomial weights" in test.notes[0]
        plain = mx.MixedLM.from_formula("Reaction ~ Days", data).fit()
        assert x == pytest.approx(plain.deviance - result.deviance, rel=1e-8)

    def test_two_terms_of_three(self):
        data = mx.datasets.eggs.load().data
        full = fit("Fat ~ 1 + (1 | Lab/Technician/Sample)", data)
        both = fit("Fat ~ 1 + (1 | Lab:Technician) + (1 | Lab:Technician:Sample)", data)
        rest = fit("Fat ~ 1 + (1 | Lab)", data)
        test = mx.exact_rlrt(both, full, rest, method="bootstrap", nsim=1000, rng=4)
        assert test.statistic == pytest.approx(rest.deviance - full.deviance, rel=1e-8)
        assert 0 < test.pvalue < 0.05
        with pytest.raises(mx.NoExactLawError, match="2 parameters"):
            mx.exact_rlrt(both, full, rest)

    @pytest.mark.filterwarnings("ignore:The random effects covariance matrix")
    def test_a_singular_smaller_model_is_said(self):
        data = mx.datasets.dyestuff2.load().data
        data["x"] = np.tile(np.arange(5.0), 6)
        result = fit("Yield ~ x + (1 + x | Batch)", data)
        test = result.exact_rlrt(method="mixture")
        assert "boundary" in "".join(test.notes)

    @pytest.mark.filterwarnings("ignore:The random effects covariance matrix")
    @pytest.mark.parametrize("method", ["bootstrap", "mixture", "inversion", "simulation"])
    def test_an_estimate_of_zero_is_no_evidence(self, method):
        result = fit("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff2.load().data)
        test = result.exact_rlrt(method=method, nsim=99, rng=1)
        assert (test.statistic, test.pvalue) == (0.0, 1.0)
        test = mx.exact_lrt(result, method=method, nsim=99, rng=1)
        assert (test.statistic, test.pvalue) == (0.0, 1.0)

    @pytest.mark.parametrize("method", ["bootstrap", "simulation", "inversion"])
    def test_number_of_simulations(self, method):
        result = fit("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data)
        for nsim in (0, "many", 2.5):
            with pytest.raises(ValueError, match=r"nsim=.* must be a whole number"):
                result.exact_rlrt(nsim=nsim, method=method)

    def test_table(self):
        data = mx.datasets.pastes.load().data
        result = fit("strength ~ 1 + (1 | batch/cask)", data)
        table = result.ranova(test="bootstrap", nsim=400, rng=5)
        assert table["test"].tolist() == ["", *["parametric bootstrap"] * 2]
        want = result.exact_rlrt("batch", method="inversion").pvalue
        row = table.loc["(1 | batch)"]
        assert abs(row["pvalue"] - want) < 4 * row["pvalue_se"] + 0.02
        assert (table["pvalue"].iloc[1:] > 0).all()


def exact_quantile(result):
    """95 % quantile of the restricted statistic by its exact law."""
    law = result.exact_rlrt(method="inversion").law
    return optimize.brentq(lambda x: law.survival(x, 1, None)[0] - 0.05, 0.1, 20)


class TestTable:
    def test_one_row_a_term(self):
        data = mx.datasets.pastes.load().data
        result = fit("strength ~ 1 + (1 | batch/cask)", data)
        table = result.ranova(test="inversion")
        assert list(table.index) == list(result.ranova().index)
        columns = ["n_params", "llf", "aic", "statistic", "df"]
        columns += ["pvalue", "pvalue_se", "test"]
        assert list(table.columns) == columns
        row = table.loc["(1 | batch)"]
        want = result.exact_rlrt("batch", method="inversion")
        assert row["statistic"] == pytest.approx(want.statistic, abs=1e-9)
        assert row["pvalue"] == pytest.approx(want.pvalue, rel=1e-9)
        assert row["test"] == "RLRT, law of this variance alone"
        np.testing.assert_allclose(table["statistic"], result.ranova()["statistic"])
        simulated = result.ranova(test="exact", nsim=2000, rng=1).loc["(1 | batch)"]
        assert abs(simulated["pvalue"] - want.pvalue) < 4 * simulated["pvalue_se"]

    def test_rows_without_a_law(self):
        result = fit("Reaction ~ Days + (Days | Subject)", sleepstudy(), reml=False)
        table = result.ranova(test="exact")
        row = table.loc["Days in (Days | Subject)"]
        assert np.isnan(row["pvalue"])
        assert row["test"] == "none"
        assert row["statistic"] == pytest.approx(42.8368, abs=1e-3)
        assert "refitted by REML" in table.notes[0]
        assert "no exact law exists" in table.notes[1]
        assert "Use test='bootstrap'" in table.notes[1]
        assert "method=" not in table.notes[1]
        mixture = result.ranova(test="mixture").loc["Days in (Days | Subject)"]
        assert mixture["pvalue"] == result.exact_rlrt(method="mixture").pvalue
        assert mixture["test"] == "chi-squared mixture"

    @pytest.mark.filterwarnings("ignore:The random effects covariance matrix")
    def test_a_term_that_is_zero(self):
        data = mx.datasets.dyestuff2.load().data.assign(day=np.arange(30) % 4)
        table = fit("Yield ~ 1 + (1 | Batch) + (1 | day)", data).ranova(test="inversion")
        assert table.loc["(1 | Batch)", "statistic"] == 0.0
        assert table.loc["(1 | Batch)", "pvalue"] == 1.0

    def test_unknown_tests(self):
        result = fit("Reaction ~ Days + (1 | Subject)", sleepstudy())
        with pytest.raises(ValueError, match="'lrt', 'exact'"):
            result.ranova(test="score")


def test_many_rows_and_groups():
    """100,000 rows and 10,000 groups: no matrix of the groups is made."""
    rng = np.random.default_rng(8)
    codes = np.repeat(np.arange(10_000), rng.poisson(10, 10_000).clip(1))
    n = len(codes)
    frame = pd.DataFrame({"g": codes, "x": rng.normal(size=n)})
    frame["y"] = rng.normal(size=n) + 0.05 * rng.normal(size=10_000)[codes]
    for formula, pooled in (("y ~ x + (1 | g)", False), ("y ~ x + (0 + x | g)", True)):
        test = fit(formula, frame).exact_rlrt(nsim=2000, rng=1)
        assert 0.49 < test.mass_at_zero < 0.51
        assert ("were pooled" in "".join(test.notes)) == pooled
