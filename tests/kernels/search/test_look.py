"""Looks at a deviance beside the searches."""

from __future__ import annotations

import numpy as np
import pytest
from mixedext.kernels.search.look import look, look_along
from mixedext.kernels.search.newton import Newton
from mixedext.kernels.search.python_function import PythonFunction

OWNER, OWN = np.array([0, 1, 1]), np.array([0, 2])
SIZES = np.tile(np.geomspace(0.1, 10.0, 9), (2, 1))


class Valleys:
    """Minima of the size of the first element at 1 and 5; the rest has the one at 1."""

    n_theta, costly, noise = 3, False, 0.0

    def __init__(self, second=-1.0):
        self.second = second

    def value(self, theta, floor=False):
        if np.isnan(theta).any():
            raise ArithmeticError("not a number")
        size, own = np.log(abs(theta[0]) + 1e-9), np.log(np.hypot(*theta[1:]) + 1e-9)
        first, other = size**2, (size - np.log(5.0)) ** 2 + self.second
        return 10 * min(first, other) + own**2 + (1.0 if theta[1] < 0 else 0.0)


def search(*args):
    return Newton(PythonFunction(Valleys(*args)))


def test_look_gives_values_and_logs_them():
    one = search()
    points = np.array([[1.0, 0.0, 1.0], [5.0, 0.0, 1.0]])
    np.testing.assert_allclose(look(one, points), [0.0, -10.0], atol=1e-7)
    assert one.records().shape == (2, 7)
    np.testing.assert_array_equal(one.records()[:, 4:], points)
    with pytest.raises(ValueError, match="points of 2 for 3"):
        look(one, points[:, :2])


def test_other_valleys_are_starts_and_the_known_one_is_not():
    (start,) = look_along(search(), np.array([1.0, 0.0, 1.0]), 0.0, OWNER, OWN, SIZES)
    assert start == pytest.approx([SIZES[0, 7], 0.0, 1.0])
    # above the minimum by more than is promising
    high = search(3.0)
    assert look_along(high, np.array([1.0, 0.0, 1.0]), 0.0, OWNER, OWN, SIZES) == []


def test_a_size_of_zero_is_made_of_its_own_element():
    at = np.array([5.0, 0.0, 0.0])
    lowest = Valleys().value(at)
    starts = look_along(search(), at, lowest, OWNER, OWN, SIZES)
    assert any(s == pytest.approx([5.0, 0.0, 1.0]) for s in starts)


def test_correlations_of_the_other_sign():
    at = np.array([1.0, -0.6, 0.8])
    starts = look_along(search(3.0), at, 1.0, OWNER, OWN, SIZES)
    assert any(s == pytest.approx([1.0, 0.6, 0.8]) for s in starts)


def test_what_the_function_raises_is_raised():
    with pytest.raises(ArithmeticError, match="not a number"):
        look(search(), np.full((1, 3), np.nan))
