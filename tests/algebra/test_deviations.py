"""Standard deviations without squares that overflow or vanish."""

from __future__ import annotations

import numpy as np
import pytest

from mixedext.algebra.deviations import standard_deviations


@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e250])
@pytest.mark.parametrize("ddof", [0, 1])
def test_squares_need_not_be_numbers(scale, ddof):
    values = np.random.default_rng(0).normal(size=(20, 3))
    found = standard_deviations(values * scale, ddof)
    np.testing.assert_allclose(found, values.std(axis=0, ddof=ddof) * scale, rtol=1e-14)


def test_no_digit_changes():
    values = np.random.default_rng(1).normal(size=(50, 4))
    np.testing.assert_array_equal(standard_deviations(values), values.std(axis=0))


def test_zeros_and_missing_values():
    values = np.array([[0.0, np.nan], [0.0, 1.0]])
    np.testing.assert_array_equal(standard_deviations(values), [0.0, np.nan])
