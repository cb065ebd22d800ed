"""Searches within a trust region: known minima, saddles, bounds, ends of the domain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from mixedext.engine.search.trust_region import Quadratic, TrustRegion


@dataclass
class Point:
    value: float
    gradient: np.ndarray
    hessian: np.ndarray


class Search(TrustRegion):
    """The search for the minimum of a function, with coordinates that are not negative."""

    def __init__(self, function, bounded=None):
        self.function, self.bounded, self.seen = function, bounded, []

    def evaluate(self, x):
        self.seen.append(np.array(x))
        return self.function(x)

    def free(self, state):
        if self.bounded is None:
            return None
        return np.flatnonzero(~(self.bounded & (self.x <= 0) & (state.gradient > 0)))

    def within(self, step):
        if self.bounded is None or not (self.bounded & (self.x + step < 0)).any():
            return step
        return np.where(self.bounded & (self.x + step < 0), -self.x, step)

    def check_convergence(self):
        self.done = self.step is self.whole and self.decrement < 1e-20

    def finalize(self):
        return self.x


def rosenbrock(x):
    a, b = 1 - x[0], x[1] - x[0] ** 2
    return Point(
        a**2 + 100 * b**2,
        np.array([-2 * a - 400 * x[0] * b, 200 * b]),
        np.array([[2 - 400 * b + 800 * x[0] ** 2, -400 * x[0]], [-400 * x[0], 200.0]]),
    )


def wells(x):
    """Minima at x_0 = -1 and 1, a saddle between."""
    return Point(
        (x[0] ** 2 - 1) ** 2 + x[1] ** 2,
        np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]]),
        np.diag([12 * x[0] ** 2 - 4, 2.0]),
    )


def logarithm(x):
    """x - log x, which is infinite where x is not positive."""
    if x[0] <= 0:
        return Point(np.inf, np.zeros(0), np.zeros(0))
    return Point(x[0] - np.log(x[0]), np.array([1 - 1 / x[0]]), np.array([[1 / x[0] ** 2]]))


def bowl(centre):
    hessian = np.array([[2.0, 0.5], [0.5, 1.0]])

    def function(x):
        away = x - centre
        return Point(0.5 * away @ hessian @ away, hessian @ away, hessian)

    return function


@pytest.mark.parametrize("start", [(-1.2, 1.0), (3.0, -4.0), (0.0, 0.0)])
def test_the_bottom_of_a_curved_valley(start):
    search = Search(rosenbrock)
    np.testing.assert_allclose(search.solve(np.array(start)), [1, 1], rtol=1e-9)
    assert len(search.seen) < 60


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_units_do_not_matter(unit):
    def scaled(x):
        inner = rosenbrock(x * (1, unit))
        size = np.array([1, unit])
        return Point(
            inner.value, inner.gradient * size, inner.hessian * np.outer(size, size)
        )

    own, plain = Search(scaled), Search(rosenbrock)
    own.solve(np.array([-1.2, 1 / unit]))
    plain.solve(np.array([-1.2, 1.0]))
    assert len(own.seen) == pytest.approx(len(plain.seen), abs=1)
    np.testing.assert_allclose(own.x * (1, unit), plain.x, rtol=1e-9)


def test_a_saddle_without_slope_is_left():
    found = Search(wells).solve(np.array([0.0, 0.3]))
    np.testing.assert_allclose(found, [1, 0], atol=1e-9)


def test_where_the_function_ends_steps_become_short():
    search = Search(logarithm)
    np.testing.assert_allclose(search.solve(np.array([40.0])), [1], rtol=1e-9)
    assert any(x[0] <= 0 for x in search.seen)


@pytest.mark.parametrize(
    ("centre", "least"),
    [((1.0, 2.0), (1.0, 2.0)), ((-1.0, 2.0), (0.0, 1.5)), ((-1.0, -1.0), (0.0, 0.0))],
)
def test_coordinates_that_are_not_negative(centre, least):
    search = Search(bowl(np.array(centre)), np.array([True, True]))
    np.testing.assert_allclose(search.solve(np.array([3.0, 1.0])), least, atol=1e-12)
    assert all((x >= 0).all() for x in search.seen)


def test_rounding_error_is_the_end():
    class Noisy(Search):
        def rounding(self, state):
            return 1e-10

        def check_convergence(self):
            pass  # only coming to rest ends it

    rng = np.random.default_rng(0)
    inner = bowl(np.array([1.0, 2.0]))

    def noisy(x):
        point = inner(x)
        point.value += 1e-11 * rng.normal()
        return point

    search = Noisy(noisy)
    np.testing.assert_allclose(search.solve(np.array([9.0, 9.0])), [1, 2], atol=1e-9)
    assert len(search.seen) < 12


@pytest.mark.parametrize(
    ("slope", "share", "radius"),
    [
        (0.8, 0.6, 2.0),
        (0.8, 0.4, 1.0),
        (0.8, -0.1, 0.2),
        (1.6, 0.1, 2.0),
        (1.6, -0.1, 0.25),
    ],
)
def test_the_radius_after_a_step(slope, share, radius):
    """The fall is a share of what is foreseen; a step of 1.6 is cut to the radius, 1."""

    def function(x):
        foreseen = slope * x[0] - 0.5 * x[0] ** 2
        return Point(-share * foreseen, np.array([-slope]), np.eye(1))

    search = Search(function)
    search.setup(np.zeros(1))
    search.update()
    search.inner_solve()
    search.try_step()
    np.testing.assert_allclose(search.seen[1:], [[min(slope, 1.0)]])
    assert search.radius == pytest.approx(radius)
    assert search.n_steps == (share > 0)


def test_as_many_steps_as_are_allowed():
    search = Search(rosenbrock)
    search.most_steps = 3
    search.solve(np.array([-1.2, 1.0]))
    assert search.done
    assert search.n_steps == 3


def test_steps_of_a_quadratic():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(4, 6))
    hessian, gradient = root @ root.T, rng.normal(size=4)
    definite = Quadratic(gradient, hessian)
    np.testing.assert_allclose(np.diag(definite.hessian), 1)
    move, held_up = definite.step()
    assert not held_up
    np.testing.assert_allclose(
        definite.unit * move, -np.linalg.solve(hessian, gradient), rtol=1e-10
    )
    indefinite = Quadratic(gradient, hessian - 2 * np.diag(np.diag(hessian)))
    assert indefinite.root is None
    move, held_up = indefinite.step()
    assert not held_up
    value, vector = np.linalg.eigh(indefinite.hessian)
    size = (vector * np.abs(value)) @ vector.T
    np.testing.assert_allclose(size @ move, -indefinite.gradient, rtol=1e-9)
    at_saddle = Quadratic(np.array([0.0, 1.0]), np.diag([-1.0, 2.0]))
    assert at_saddle.step()[1]


def test_nothing_may_move():
    class Held(Search):
        def free(self, state):
            return np.zeros(0, int)

    np.testing.assert_array_equal(Held(rosenbrock).solve(np.ones(2) * 3), [3, 3])


@pytest.mark.parametrize("which", ["gradient", "hessian"])
def test_derivatives_that_are_no_numbers_end_the_search(which):
    calls = []

    def function(x):
        calls.append(x)
        assert len(calls) < 100, "the search goes on"
        point = rosenbrock(x)
        setattr(point, which, np.full_like(getattr(point, which), np.nan))
        return point

    search = Search(function)
    found = search.solve(np.array([-1.2, 1.0]))
    assert search.done
    np.testing.assert_array_equal(found, [-1.2, 1.0])


def test_curvatures_compare_in_the_units_of_the_coordinates():
    """A curvature that is small in one unit is not in another; what rounding left is."""
    hessian, gradient = np.diag([4.0, 9e-24, 1e-40]), np.zeros(3)
    found = Quadratic(gradient, hessian, 1e-10, np.array([1.0, 1e12, 1e12]))
    np.testing.assert_allclose(found.unit, [0.5, 1e12 / 3, 1e12 / np.sqrt(9e-10)])
    alike = Quadratic(gradient, hessian, 1e-10)
    np.testing.assert_allclose(alike.unit, [0.5, 5e4, 5e4])
