"""Probabilities of linear combinations of chi-squared variables."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.versions import BETA_ERROR
from scipy import stats

from mixedext.inference.variances.quadratic_forms import positive_probability


@pytest.mark.parametrize(
    ("weight", "above", "below"),
    [
        (1.0, 1, 1),
        (1.0, 5, 24),
        (0.3, 2, 1),
        (1e-3, 1, 3),
        (2.3e-3, 1, 1),
        (9.0, 10_000, 90_000),
        (0.5, 300, 20),
    ],
)
def test_one_weight_of_each_sign_is_an_f_probability(weight, above, below):
    """P(w X > Y) for X, Y chi-squared is a probability of Fisher's F, here of its beta."""
    want = stats.beta.sf(1 / (1 + weight), above / 2, below / 2)
    assert positive_probability([weight, -1.0], [above, below]) == pytest.approx(
        want, abs=BETA_ERROR
    )


def test_even_degrees_of_freedom_have_a_closed_form():
    """Of 3 E1 + 1 E2 - 2 E3, exponentials: partial fractions."""
    means = np.array([3.0, 1.0, -2.0])
    want = sum(np.prod([m / (m - o) for o in means if o != m]) for m in means if m > 0)
    assert positive_probability(means, [2, 2, 2]) == pytest.approx(want, abs=1e-14)


def test_one_sign_is_certain():
    assert positive_probability([1.0, 0.0], [3, 2]) == 1.0
    assert positive_probability([-1.0, 0.0], [3, 2]) == 0.0
    assert positive_probability([], []) == 0.0


def test_scale_and_order_do_not_matter():
    weights, counts = np.array([2.0, 0.4, -0.9, -0.2]), np.array([1, 7, 4, 3])
    one = positive_probability(weights, counts)
    other = positive_probability(1e7 * weights[::-1], counts[::-1])
    assert one == pytest.approx(other, abs=1e-13)
    swapped = positive_probability(-weights, counts)
    assert one + swapped == pytest.approx(1.0, abs=1e-13)
