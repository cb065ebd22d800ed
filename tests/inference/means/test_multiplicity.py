"""Adjusted p-values and critical values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mixedext.inference.means.multiplicity import ADJUSTMENTS, Family, adjustment_name

T = np.array([0.4, 1.1, 2.3, 3.2, -4.1])


def family(df=8.0, correlation=0.5, count=5, size=6):
    covariance = np.full((count, count), correlation) + (1 - correlation) * np.eye(count)
    return Family(np.full(count, df), size, count, covariance)


def dunnett(t, df, count):
    """P(max |T_i| > t), correlations 1/2: T_i = (z_i + z_0) / sqrt(2) / s."""
    nodes, weights = np.polynomial.legendre.leggauss(300)
    z, root = 9 * nodes, np.sqrt(0.5)

    def inside(bound):
        bound = np.atleast_1d(bound)[:, None]
        upper = stats.norm.cdf((bound - root * z) / root)
        lower = stats.norm.cdf((-bound - root * z) / root)
        return (upper - lower) ** count @ (9 * weights * stats.norm.pdf(z))

    if np.isinf(df):
        return 1 - inside(t)[0]
    law = stats.chi(df)
    low, high = law.ppf([1e-13, 1 - 1e-13])
    s = low + (high - low) * (nodes + 1) / 2
    return 1 - (high - low) / 2 * weights @ (law.pdf(s) * inside(t * s / np.sqrt(df)))


@pytest.mark.parametrize("df", [5.57, 30.0, np.inf])
def test_multivariate_t_is_dunnett(df):
    own = family(df)
    for t in (1.5, 2.7):
        found = own.pvalues(np.array([t, 0, 0, 0, 0.0]), "mvt")[0]
        assert found == pytest.approx(dunnett(t, df, 5), abs=3e-5)
    bound = own.critical(0.95, "mvt")[0]
    assert dunnett(bound, df, 5) == pytest.approx(0.05, abs=3e-5)


def test_multivariate_t_on_every_processor():
    """Correlations that are equal have eigenvectors that turn; no digit shows it."""
    found = family(np.inf).pvalues(np.array([1.5, 0, 0, 0, 0.0]), "mvt")[0]
    assert found == pytest.approx(0.420028017, abs=2e-9)


def test_dunnettx_is_close_to_dunnett():
    found = family(20.0).pvalues(np.array([2.5, 0, 0, 0, 0.0]), "dunnettx")[0]
    assert found == pytest.approx(dunnett(2.5, 20.0, 5), abs=0.004)


def test_singular_correlations():
    """All pairs of three means: Tukey's method is the multivariate t."""
    differences = np.array([[1, -1, 0], [1, 0, -1], [0, 1, -1.0]])
    own = Family(np.full(3, 9.0), 3, 2, differences @ differences.T)
    statistic = np.array([0.5, 2.0, 3.5])
    tukey, mvt = own.pvalues(statistic, "tukey"), own.pvalues(statistic, "mvt")
    np.testing.assert_allclose(mvt, tukey, atol=3e-5)


@pytest.mark.parametrize("df", [3.3, 8.0, np.inf])
@pytest.mark.parametrize(
    "adjust", [a for a in ADJUSTMENTS if a not in ("holm", "hochberg", "hommel", "fdr_by")]
)
def test_limits_and_tests_agree(adjust, df):
    """A statistic at the critical value has p = 1 - level (fdr: Bonferroni's limits)."""
    own = family(df)
    critical = own.critical(0.9, adjust)
    assert (critical == critical[0]).all()
    if adjust == "fdr":
        adjust = "bonferroni"
    found = own.pvalues(critical, adjust)
    np.testing.assert_allclose(found, 0.1, rtol=1e-6)


@pytest.mark.parametrize("adjust", ADJUSTMENTS)
def test_adjusted_is_no_smaller_and_keeps_the_order(adjust):
    own = family()
    plain = own.pvalues(T, "none")
    found = own.pvalues(T, adjust)
    assert (found >= plain * (1 - 1e-12)).all()
    assert (np.diff(found[np.argsort(plain)]) >= -1e-12).all()
    assert (found <= 1).all()


@pytest.mark.parametrize("adjust", ADJUSTMENTS)
def test_missing_and_single(adjust):
    own = family()
    own.covariance[2] = own.covariance[:, 2] = own.df[2] = np.nan
    statistic = np.where(np.arange(5) == 2, np.nan, T)
    found = own.pvalues(statistic, adjust)
    assert np.isnan(found).tolist() == [False, False, True, False, False]
    assert np.isnan(own.critical(0.95, adjust)).tolist() == np.isnan(found).tolist()
    one = Family(np.array([7.0]), 2, 1, np.eye(1))
    expected = 2 * stats.t.sf(2.1, 7.0)
    assert one.pvalues(np.array([2.1]), adjust)[0] == pytest.approx(expected, rel=1e-9)


def test_same_numbers_every_time():
    first, second = (family().pvalues(T, "mvt") for _ in range(2))
    assert (first == second).all()


def test_names():
    assert adjustment_name("BH") == "fdr"
    assert adjustment_name("Dunnett") == "mvt"
    assert adjustment_name(None) == "none"
    with pytest.raises(ValueError, match="adjust='lsd'"):
        adjustment_name("lsd")


@pytest.mark.parametrize("adjust", ["tukey", "scheffe", "sidak", "dunnettx"])
def test_many_degrees_of_freedom(adjust):
    """Critical values between the nodes are as exact as at them."""
    df = np.concatenate([np.geomspace(3.1, 400, 24), [np.inf]])
    many = Family(df, 6, 5, np.kron(np.eye(5), np.full((5, 5), 0.5)) + 0.5 * np.eye(25))
    found = many.critical(0.95, adjust)
    for at in (0, 5, 17, 24):
        exact = many._quantile(0.95, df[at], adjust)
        assert found[at] == pytest.approx(exact, rel=2e-6)
