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


class Narrow:
    """Of one size: minima at 1 and at 1.5, between the sizes; and none lower at zero."""

    n_theta, costly, noise = 1, False, 0.0

    def __init__(self, zero=1.0):
        self.zero = zero

    def value(self, theta, floor=False):
        size = abs(theta[0])
        if size == 0.0:
            return self.zero
        narrow = -0.5 * np.exp(-((size - 1.5) ** 2) / 0.01) if size > 1.2 else 0.0
        return min((size - 1.0) ** 2, 0.4 - 0.01 * size) + narrow


def test_between_sizes_hardly_above_the_minimum_is_looked():
    one = Newton(PythonFunction(Narrow()))
    sizes = np.array([[0.0, 0.5, 1.25, 1.8]])
    known, owner = np.array([1.0]), np.zeros(1, np.intp)
    (start,) = look_along(one, known, 0.0, owner, owner, sizes)
    assert start == pytest.approx([1.5])
    seen = one.records()[:, 4]
    middles = [0.5**0.5, 1.25**0.5, 1.5]
    np.testing.assert_allclose(np.sort(seen), np.sort([*sizes[0], *middles]))


def test_zero_is_a_start_where_it_is_lower_than_the_next():
    owner, known = np.zeros(1, np.intp), np.array([1.0])
    for zero, count in ((-0.1, 1), (0.1, 1), (0.45, 0)):
        one = Newton(PythonFunction(Narrow(zero)))
        starts = look_along(one, known, 0.0, owner, owner, np.array([[0.0, 0.01]]))
        assert [s.tolist() for s in starts] == [[0.0]] * count
    # the known minimum is zero but for rounding
    one = Newton(PythonFunction(Narrow(-0.1)))
    assert look_along(one, np.array([1e-9]), -0.1, owner, owner, np.zeros((1, 1))) == []
    assert len(one.records()) == 0


def test_correlations_of_the_other_sign():
    at = np.array([1.0, -0.6, 0.8])
    starts = look_along(search(3.0), at, 1.0, OWNER, OWN, SIZES)
    assert any(s == pytest.approx([1.0, 0.6, 0.8]) for s in starts)


def test_what_the_function_raises_is_raised():
    with pytest.raises(ArithmeticError, match="not a number"):
        look(search(), np.full((1, 3), np.nan))
