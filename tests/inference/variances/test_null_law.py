"""Laws of likelihood-ratio statistics, beside RLRsim's draws and independent algebra."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.paths import RESULTS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special, stats

import mixedext as mx
from mixedext.inference.variances import component_spectrum as spectrum_module
from mixedext.inference.variances.component_spectrum import Spectrum, component_spectrum
from mixedext.inference.variances.null_law import NullLaw, null_statistics, rlrsim_grid
from mixedext.kernels.laws import spectral_supremum

VALUES = json.loads((RESULTS / "variance_tests.json").read_text())
CASES = ["sleep_intercept", "sleep_slope", "penicillin_sample"]


def case_model(name):
    case = VALUES[name]
    data = getattr(mx.datasets, case["data"]).load().data.iloc[case["keep"]]
    return mx.mixedlm(case["formula"], data)


def law_of(name, reml=True):
    return NullLaw(component_spectrum(case_model(name)._design, reml), reml)


def balanced(values, counts, nobs, rank):
    values, counts = np.array(values, float), np.array(counts)
    return Spectrum(values, counts, values, counts, nobs, rank)


def process(ratios, values, w, rest, dof, whole, counts):
    """The likelihood-ratio process at each ratio, as it is written in the paper."""
    ratio = ratios[:, None]
    down = (w / (1 + ratio * values)).sum(axis=1) + rest
    up = (w * ratio * values / (1 + ratio * values)).sum(axis=1)
    return dof * np.log1p(up / down) - (counts * np.log1p(ratio * whole)).sum(axis=1)


@pytest.mark.parametrize("kind", ["rlrt", "lrt"])
@pytest.mark.parametrize("name", CASES)
class TestRlrsim:
    """RLRsim 3.1-8: its eigenvalues, its draws one by one, its quantiles."""

    def arrays(self, name, kind):
        case = VALUES[name]
        mu, xi = np.array(case["mu"]), np.array(case["xi"])
        reml = kind == "rlrt"
        scale = mu.max() if reml else max(mu.max(), xi.max())
        table = np.array(case[f"{kind}_draws"])
        dof = case["rows"] - case["rank"] * reml
        k = len(mu)
        return mu / scale, (mu if reml else xi) / scale, table[:, :k], table[:, k:], dof

    def test_draw_by_draw(self, name, kind):
        mu, whole, draws, others, dof = self.arrays(name, kind)
        got = null_statistics(
            mu,
            draws,
            others[:, 0],
            dof,
            whole,
            np.ones(len(mu)),
            rlrsim_grid(),
            refine=False,
            first_peak=True,
        )
        np.testing.assert_allclose(got, others[:, 1], rtol=0, atol=1e-12)

    def test_refined_suprema_are_not_below(self, name, kind):
        mu, whole, draws, others, dof = self.arrays(name, kind)
        got = null_statistics(mu, draws, others[:, 0], dof, whole, np.ones(len(mu)))
        assert (got >= others[:, 1] - 1e-12).all()
        assert (got <= others[:, 1] + 5e-3).all()  # the grid's error

    def test_quantiles(self, name, kind):
        law, want = law_of(name, kind == "rlrt"), VALUES[name][kind]
        sample = law.simulate(200_000, np.random.default_rng(5))
        for probability, x in zip([0.75, 0.9, 0.95, 0.99], want["quantiles"], strict=True):
            share = (sample < x).mean()
            error = np.sqrt(2 * probability * (1 - probability) / 200_000)
            assert abs(share - probability) < 4 * error
        error = np.sqrt(2 * 0.25 / 200_000)
        assert abs((sample == 0).mean() - want["zero"]) < 4 * error
        assert abs(law.mass_at_zero - want["zero"]) < 4 * error


class TestSuprema:
    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=6),
        st.integers(1, 40),
        st.booleans(),
        st.integers(0, 2**32 - 1),
    )
    def test_global_supremum_beside_a_fine_grid(self, values, spare, reml, seed):
        rng = np.random.default_rng(seed)
        values = np.array(values)
        counts = rng.integers(1, 9, len(values))
        draws = rng.chisquare(counts, (4, len(counts)))
        rest = rng.chisquare(spare, 4)
        whole = values if reml else np.append(values, rng.uniform(0.1, 1))
        times = counts if reml else np.append(counts, 1)
        dof = counts.sum() + spare + (0 if reml else 1)
        got = null_statistics(values, draws, rest, dof, whole, times)
        fine = np.append(0.0, np.exp(np.linspace(-12, 36, 8001)))  # rest may be tiny
        for i in range(4):
            highest = process(fine, values, draws[i], rest[i], dof, whole, times).max()
            assert got[i] >= highest - 1e-9
            assert got[i] <= highest + 1e-4

    def test_the_higher_of_two_peaks(self):
        """The first peak is lower; RLRsim would stop there."""
        values, w = np.array([1.0, 1e-4]), np.array([[6.0, 260.0]])
        rest, dof, ones = np.array([30.0]), 60, np.array([1.0, 20.0])
        got = null_statistics(values, w, rest, dof, values, ones)[0]
        first = null_statistics(values, w, rest, dof, values, ones, first_peak=True)[0]
        fine = np.append(0.0, np.exp(np.linspace(-12, 12, 20_001)))
        f = process(fine, values, w[0], rest[0], dof, values, ones)
        peaks = [b for a, b, c in zip(f, f[1:], f[2:], strict=False) if a < b > c]
        assert len(peaks) == 2
        assert peaks[0] < peaks[1]
        assert got == pytest.approx(peaks[1], abs=1e-6)
        assert first == pytest.approx(peaks[0], abs=0.01)

    @pytest.mark.parametrize("spare", [0, 3, 60])
    @pytest.mark.parametrize("reml", [True, False])
    def test_no_peak_is_missed(self, spare, reml):
        """Draws of two clusters of eigenvalues, many of which have several peaks."""
        rng = np.random.default_rng(spare)
        values, counts = np.array([1.0, 0.9, 0.01, 2e-4]), np.array([1, 2, 3, 9])
        draws = rng.chisquare(counts, (4000, 4)) * rng.choice([0.1, 1, 4], (4000, 4))
        rest = rng.chisquare(spare, 4000) if spare else np.zeros(4000)
        whole = values if reml else np.append(values, 0.3)
        times = counts if reml else np.append(counts, 1)
        given = (values, draws, rest, times.sum() + spare, whole, times)
        fine = np.append(0.0, np.exp(np.linspace(-14, 44, 2000)))
        want = null_statistics(*given, fine)
        got = null_statistics(*given)
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)
        first = null_statistics(*given, fine, first_peak=True)
        assert (got > first + 0.1).mean() > 0.005

    def test_a_draw_does_not_depend_on_the_others(self):
        law = law_of("sleep_slope")
        draws, rest, _ = law.draw(601, np.random.default_rng(3))
        together = law.statistics(draws, rest)
        apart = [law.statistics(draws[[i]], rest[[i]])[0] for i in range(601)]
        np.testing.assert_allclose(together, apart, rtol=1e-10, atol=1e-12)

    def test_one_eigenvalue_has_a_closed_form(self):
        law = NullLaw(balanced([1.0], [5], 30, 1), True)
        draws, rest, _ = law.draw(2000, np.random.default_rng(1))
        closed = law.statistics(draws, rest)
        searched = law.statistics(draws, rest, grid=rlrsim_grid())
        np.testing.assert_allclose(closed, searched, rtol=1e-7, atol=2e-11)
        assert ((closed == 0) == (searched == 0)).all()

    def test_equal_eigenvalues_are_one(self):
        """One chi-squared of 3 degrees of freedom, or three of 1."""
        rng = np.random.default_rng(2)
        three, other = rng.chisquare(1, (50, 3)), rng.chisquare(1, (50, 1))
        rest = rng.chisquare(20, 50)
        long, short = np.array([1.0, 1.0, 1.0, 0.3]), np.array([1.0, 0.3])
        apart = null_statistics(long, np.hstack([three, other]), rest, 24, long, np.ones(4))
        summed = np.hstack([three.sum(axis=1, keepdims=True), other])
        one = null_statistics(short, summed, rest, 24, short, [3, 1])
        np.testing.assert_allclose(one, apart, atol=1e-10)

    @pytest.mark.parametrize("grid", [[1.0, 2.0], [0.0, 2.0, 1.0], [], [[0.0, 1.0]]])
    def test_a_grid_that_does_not_ascend_is_refused(self, grid):
        with pytest.raises(ValueError, match="grid"):
            null_statistics([1.0], [[1.0]], [1.0], 3, [1.0], [1.0], grid)


class TestRemainders:
    @settings(deadline=None, max_examples=40)
    @given(
        st.integers(1, 5),
        st.floats(0.05, 9.0),
        st.booleans(),
        st.integers(0, 2**32 - 1),
    )
    def test_the_supremum_there_is_the_level(self, k, level, reml, seed):
        """With the largest rest that passes x, the supremum is x."""
        rng = np.random.default_rng(seed)
        values = np.sort(rng.uniform(0.05, 1, k))[::-1].copy()
        shares = rng.dirichlet(np.ones(k), 6)
        whole = values if reml else np.append(values, 0.7)
        counts = np.ones(len(whole))
        dof, out = float(k + 25), np.empty(6)
        spectral_supremum.beta_remainders(
            spectral_supremum.Process(values, whole, counts, dof),
            shares,
            np.full(6, level),
            np.linspace(-12, 12, 49),
            out,
        )
        assert (out < 1).all()
        inside = out > 0
        rest = out.clip(0, None)
        got = null_statistics(
            values, (1 - rest)[:, None] * shares, rest, dof, whole, counts
        )
        np.testing.assert_allclose(got[inside], level, rtol=1e-8)


class TestLaw:
    @pytest.mark.parametrize("counts", [[1, 2, 3, 9], [4, 1, 1, 2]])
    def test_draws_have_their_degrees_of_freedom(self, counts):
        law = NullLaw(balanced([1.0, 0.8, 0.5, 0.1], counts, 40, 2), False, 2)
        draws, rest, fixed = law.draw(4000, np.random.default_rng(3))
        rest_df = 38 - sum(counts)
        for sample, df in [*zip(draws.T, counts, strict=True), (rest, rest_df), (fixed, 2)]:
            assert stats.kstest(sample, stats.chi2(df).cdf).pvalue > 1e-3

    def test_numbers_do_not_depend_on_who_asks(self):
        law = law_of("sleep_intercept")
        one, other = (law.simulate(500, np.random.default_rng(4)) for _ in range(2))
        assert (one == other).all()
        mx.set_num_threads(2)
        try:
            assert (law.simulate(500, np.random.default_rng(4)) == one).all()
        finally:
            mx.set_num_threads(None)

    @pytest.mark.parametrize("name", CASES)
    @pytest.mark.parametrize("reml", [True, False])
    def test_inversion_agrees_with_simulation(self, name, reml):
        law = law_of(name, reml)
        sample = law.simulate(400_000, np.random.default_rng(6))
        for x in (0.2, 1.0, 3.0, 8.0):
            p, se = law.survival(x, 20_000, np.random.default_rng(7))
            error = np.hypot(np.sqrt(p * (1 - p) / 400_000), se)
            assert abs((sample >= x).mean() - p) < 4 * error
            assert se < np.sqrt(p * (1 - p) / 20_000)  # better than counting

    def test_balanced_law_by_the_f_distribution(self):
        """The statistic is a function of the F ratio of the analysis of variance."""
        law = NullLaw(balanced([1.0], [5], 30, 1), True)
        for f in (1.5, 3.0, 10.0):
            share = 5 * f / (5 * f + 24)
            x = law.statistics(np.array([[share]]), np.array([1 - share]))[0]
            p, se = law.survival(x, 1, None)
            assert se == 0.0
            assert p == pytest.approx(stats.f.sf(f, 5, 24), rel=1e-10)
        zero = law.mass_at_zero
        assert zero == pytest.approx(stats.f.cdf(1.0, 5, 24), abs=1e-13)

    @pytest.mark.parametrize("restrictions", [1, 2, 5])
    def test_balanced_law_with_fixed_effects(self, restrictions):
        """The convolution by quadrature beside adaptive integration over F."""
        spectrum = balanced([1.0], [5], 36, 6)
        law = NullLaw(spectrum, False, restrictions)
        alone = NullLaw(spectrum, False)
        part = stats.beta(restrictions / 2, 15)
        for x in (0.5, 4.0, 12.0):
            end = -np.expm1(-x / 36)

            def tail(root, x=x, end=end):
                v = root * root
                inner = alone.survival(x + 36 * np.log1p(-v), 1, None)[0]
                return 2 * root * part.pdf(v) * inner

            split = np.sqrt(end)
            want = integrate.quad(tail, 0, split * (1 - 1e-9), epsabs=1e-11, limit=400)[0]
            want += part.sf(end)
            assert law.survival(x, 1, None)[0] == pytest.approx(want, rel=2e-6)

    def test_general_law_with_fixed_effects(self):
        law = NullLaw(law_of("sleep_intercept", False).spectrum, False, 2)
        sample = law.simulate(200_000, np.random.default_rng(8))
        for x in (1.0, 5.0):
            p, se = law.survival(x, 20_000, np.random.default_rng(9))
            error = np.hypot(np.sqrt(p * (1 - p) / 200_000), se)
            assert abs((sample >= x).mean() - p) < 4 * error

    @pytest.mark.parametrize("reml", [True, False])
    def test_mass_at_zero_of_a_simulation(self, reml):
        law = law_of("sleep_slope", reml)
        share = (law.simulate(400_000, np.random.default_rng(10)) == 0).mean()
        assert abs(share - law.mass_at_zero) < 4 * np.sqrt(0.25 / 400_000)

    def test_tiny_probabilities_have_small_relative_errors(self):
        p, se = law_of("sleep_intercept").survival(80.0, 5000, np.random.default_rng(11))
        assert 0 < p < 1e-12
        assert se < 0.2 * p

    @pytest.mark.slow
    def test_no_rest(self):
        """As many random effects as residual degrees of freedom: shares decide alone."""
        values = np.array([1.0, 0.5, 0.2, 0.05])
        law = NullLaw(balanced(values, [1, 1, 1, 1], 5, 1), True)
        sample = law.simulate(20_000, np.random.default_rng(14))
        p, se = law.survival(1.0, 20_000, np.random.default_rng(15))
        assert abs((sample >= 1.0).mean() - p) < 4 * np.hypot(se, se)
        assert law.survival(500.0, 99, np.random.default_rng(16))[0] == 0.01

    def test_pooled_eigenvalues_give_nearly_the_same_law(self, monkeypatch):
        rng = np.random.default_rng(12)
        x = rng.normal(size=900)
        model = mx.MixedLM(
            rng.normal(size=900),
            np.column_stack([np.ones(900), x]),
            terms=[mx.RandomTerm(rng.integers(0, 150, 900), x, group="g")],
        )
        exact = NullLaw(component_spectrum(model._design, True), True)
        monkeypatch.setattr(spectrum_module, "MOST_ROWS", 80)
        coarse = NullLaw(component_spectrum(model._design, True), True)
        assert exact.spectrum.width == 0 < coarse.spectrum.width
        assert coarse.mass_at_zero == pytest.approx(exact.mass_at_zero, abs=3e-4)
        for statistic in (1.0, 6.0):
            one, other = (
                law.survival(statistic, 20_000, np.random.default_rng(13))
                for law in (exact, coarse)
            )
            assert abs(one[0] - other[0]) < 4 * np.hypot(one[1], other[1])


def balanced_tail(x, count, rest, dof):
    """P(supremum >= x) with one eigenvalue: where the share e of the rest is below a root.

    There the supremum is at 1 + r = (N - c)(1 - e) / (c e), and is
    -N log(N e / (N - c)) + c log((1 + r)).
    """

    def excess(log_e):
        e = np.exp(log_e)
        log_ratio = np.log(dof - count) + np.log1p(-e) - np.log(count) - log_e
        down = -dof * (log_e + np.log(dof / (dof - count)))
        return down - count * log_ratio - x

    start = np.log(1 - count / dof)
    root = optimize.brentq(excess, start - 4 * x - 40, start, xtol=1e-13)
    return special.betainc(rest / 2, count / 2, np.exp(root))


@pytest.mark.parametrize("x", [0.01, 1.0, 5.0, 30.0, 80.0])
@pytest.mark.parametrize("rank", [0, 1, 4])
@pytest.mark.parametrize(
    ("count", "rest"), [(5, 24), (2, 3), (1, 1), (2, 1), (1, 2), (49, 2), (999, 9000)]
)
def test_far_tails_keep_their_digits(count, rest, rank, x):
    """Also of few degrees of freedom: the peak is at ratios of exp(80), p is 1e-20."""
    for reml in (True, False):
        law = NullLaw(balanced([1.0], [count], count + rest + rank, rank), reml)
        want = balanced_tail(x, count, rest, law.dof)
        assert law.survival(x, 1, None)[0] == pytest.approx(want, rel=2e-9)


def test_ratios_far_beyond_the_grid():
    """One degree of freedom is left, and small eigenvalues: by the process itself."""
    values, counts = np.array([1.0, 0.3, 1e-7]), np.array([1, 1, 1])
    law = NullLaw(balanced(values, counts, 4, 0), True)
    rng = np.random.default_rng(17)
    ratios = np.exp(np.arange(-12, 160, 0.02))
    shares = rng.dirichlet([0.5, 0.5, 0.5], 400)
    penalty = np.log1p(np.multiply.outer(ratios, values)).sum(axis=1)
    left = (shares[:, None, :] / (1 + np.multiply.outer(ratios, values))).sum(axis=2)
    taken = (shares[:, None, :] * values / (1 / ratios[:, None] + values)).sum(axis=2)
    for x in (2.0, 20.0):
        e = np.exp(-(x + penalty) / 4)
        want = ((e - left) / taken).max(axis=1)
        got = law._beta_survival(shares, np.full(400, x))
        np.testing.assert_allclose(
            got, special.betainc(0.5, 1.5, want.clip(0, 1)), rtol=1e-3, atol=1e-12
        )


@pytest.mark.parametrize("reml", [True, False])
def test_mass_at_zero_counts_peaks_elsewhere(reml):
    """Hardly any residual degrees of freedom: often the likelihood falls first."""
    rng = np.random.default_rng(18)
    codes = np.repeat(np.arange(6), [4, 5, 5, 5, 5, 6])
    x = np.column_stack([np.ones(30), rng.normal(size=(30, 23))])
    model = mx.MixedLM(rng.normal(size=30), x, terms=[mx.RandomTerm(codes, group="g")])
    law = NullLaw(component_spectrum(model._design, reml), reml)
    assert law.spectrum.rest == 1
    sample = law.simulate(100_000, np.random.default_rng(19))
    assert abs((sample == 0).mean() - law.mass_at_zero) < 4 * np.sqrt(0.25 / 100_000) + 1e-3
    assert law.mass_at_zero < law.local_mass_at_zero - (0.005 if reml else 0.3)


def test_fixed_effects_cost_little_precision():
    """Their part is integrated, not drawn: beside counting, a hundredth of the variance."""
    law = NullLaw(law_of("sleep_intercept", False).spectrum, False, 2)
    sample = law.simulate(400_000, np.random.default_rng(20))
    for x in (8.0, 14.0):
        p, se = law.survival(x, 5000, np.random.default_rng(21))
        counting = np.sqrt(p / 400_000)
        assert abs((sample >= x).mean() - p) < 4 * np.hypot(counting, se)
        assert se < 0.02 * p


@pytest.mark.filterwarnings("ignore:The random effects covariance matrix")
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("column", ["intercept", "slope"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rank", [0, 1, 3])
def test_statistics_of_data_are_the_law_of_their_projections(reml, column, weighted, rank):
    """Fits of simulated responses beside the law, draw by draw.

    With weights W the eigenvalues are those of W^(1/2) Z, and the chi-squared variables
    squares of W^(1/2) y along its directions.
    """
    rng = np.random.default_rng(22)
    n, codes = 40, rng.integers(0, 7, 40)
    x = np.column_stack([np.ones(n), rng.normal(1, 2, n), rng.normal(size=n)])[:, :rank]
    z = np.ones(n) if column == "intercept" else rng.normal(1, 1, n)
    weights = np.exp(rng.normal(size=n)) if weighted else np.ones(n)
    root = np.sqrt(weights)[:, None]
    y = rng.normal(size=(n, 12)) / root
    arguments = {"weights": weights} if weighted else {}
    exog = x if rank else None
    term = mx.RandomTerm(codes, z, group="g")
    model = mx.MixedLM(y[:, 0], exog, terms=[term], **arguments)
    plain = mx.MixedLM(y[:, 0], exog, terms=[], **arguments)
    llf = [np.asarray(m.fit_many(y, reml=reml).llf) for m in (model, plain)]
    found = 2 * (llf[0] - llf[1])
    white = root * z[:, None] * (codes[:, None] == np.arange(7))
    whole = np.linalg.svd(white, compute_uv=False) ** 2
    q = np.linalg.qr(root * x)[0]
    left, size, _ = np.linalg.svd(white - q @ (q.T @ white), full_matrices=False)
    values, left = size[size > 1e-9] ** 2, left[:, size > 1e-9]
    rest = root * y - q @ (q.T @ (root * y))
    draws = (left.T @ rest).T ** 2
    want = null_statistics(
        values / whole.max(),
        draws,
        (rest**2).sum(axis=0) - draws.sum(axis=1),
        n - rank if reml else n,
        (values if reml else whole) / whole.max(),
        np.ones(len(values) if reml else 7),
    )
    np.testing.assert_allclose(found.clip(0), want, atol=2e-8)
    law = component_spectrum(model._design, reml)
    got = np.repeat(law.values, law.counts)
    np.testing.assert_allclose(got / got[0], values / values[0], rtol=1e-9)
