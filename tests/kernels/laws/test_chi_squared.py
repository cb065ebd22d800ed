"""Chi-squared variables of few degrees of freedom beside their laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from mixedext.kernels.laws import chi_squared


def drawn(degrees, rows, seed=0, bits=np.random.PCG64):
    degrees = np.asarray(degrees)
    out = np.empty((rows, len(degrees)))
    columns = np.arange(len(degrees))
    chi_squared.fill(np.random.Generator(bits(seed)), columns, degrees, out)
    return out


@pytest.mark.parametrize("degree", range(1, 13))
def test_law(degree):
    sample = drawn([degree], 200_000, degree).ravel()
    assert stats.kstest(sample, stats.chi2(degree).cdf).pvalue > 1e-3


def test_every_layer_and_the_tail_have_their_share():
    """Squared normals, of which 0.00026 lie beyond the last layer."""
    sample = drawn(np.ones(100, int), 40_000, 1).ravel()
    ends = np.append(stats.chi2(1).ppf(np.arange(1000) / 1000), [13.3528, 16, 20, np.inf])
    ends.sort()
    expected = np.diff(stats.chi2(1).cdf(ends)) * len(sample)
    expected[-3:] = -np.diff(stats.chi2(1).sf(ends[-4:])) * len(sample)
    found, _ = np.histogram(sample, ends)
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > 1e-3
    tail = special.erfc(np.sqrt(sample[sample > 13.3528] / 2)) / special.erfc(
        np.sqrt(13.3528 / 2)
    )
    assert stats.kstest(tail, "uniform").pvalue > 1e-3


def test_variables_are_independent():
    sample = drawn([1, 1, 2, 3, 5], 100_000, 2)
    assert (np.abs(np.corrcoef(sample.T) - np.eye(5)) < 4.5 / np.sqrt(100_000)).all()
    following = [np.corrcoef(c[1:], c[:-1])[0, 1] for c in sample.T]
    assert (np.abs(following) < 4.5 / np.sqrt(100_000)).all()


def test_the_same_for_any_cut_of_the_rows():
    rng, columns, degrees = np.random.default_rng(3), np.arange(3), np.array([1, 4, 3])
    parts = np.empty((50, 3))
    chi_squared.fill(rng, columns, degrees, parts[:20])
    chi_squared.fill(rng, columns, degrees, parts[20:])
    assert (parts == drawn([1, 4, 3], 50, 3)).all()
    assert rng.random() != np.random.default_rng(3).random()  # the stream has moved


def test_other_columns_stay_as_they_are():
    out = np.full((10, 4), -1.0)
    chi_squared.fill(np.random.default_rng(4), np.array([2, 0]), np.array([1, 2]), out)
    assert (out[:, [1, 3]] == -1).all()
    assert (out[:, [0, 2]] >= 0).all()


@pytest.mark.parametrize(
    "bits", [np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM]
)
def test_any_bit_generator(bits):
    sample = drawn([1, 1], 50_000, 5, bits).ravel()
    assert stats.kstest(sample, stats.chi2(1).cdf).pvalue > 1e-3
