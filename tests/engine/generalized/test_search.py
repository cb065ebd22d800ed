"""The trust-region search, on functions of which the minimum is known."""

import numpy as np
import pytest

from mixedext.engine.generalized.search import (
    FIRST_RADIUS,
    first_radius,
    search_minimum,
)


class _Point:
    def __init__(self, psi, value, gradient, hessian):
        self.psi, self.value, self.gradient, self.hessian = psi, value, gradient, hessian
        self.iterations, self.reason, self.modes = 1, "", None

    def predicted(self, step):
        return None


class _Function:
    def __init__(self, value, gradient, hessian):
        self.parts, self.n_evaluations = (value, gradient, hessian), 0

    def evaluate(self, psi, modes=None):
        self.n_evaluations += 1
        value, gradient, hessian = (part(psi) for part in self.parts)
        return _Point(psi, value, gradient, hessian)


def _rosenbrock(share=1.0):
    return _Function(
        lambda p: 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2,
        lambda p: np.array(
            [
                -400 * p[0] * (p[1] - p[0] ** 2) - 2 * (1 - p[0]),
                200 * (p[1] - p[0] ** 2),
            ]
        ),
        lambda p: np.array(
            [
                [1200 * p[0] ** 2 - 400 * share * p[1] + 2, -400 * p[0]],
                [-400 * p[0], 200.0],
            ]
        ),
    )


@pytest.mark.parametrize("share", [1.0, 0.7], ids=["exact Hessian", "a part left out"])
def test_a_bent_valley(share):
    end = search_minimum(_rosenbrock(share), np.array([-1.2, 1.0]))
    assert not end.failed
    np.testing.assert_allclose(end.evaluation.psi, [1, 1], atol=1e-7)


def test_the_secant_part_makes_a_wrong_hessian_fast():
    # the model has half of the curvature along one direction
    a = np.array([[4.0, 1.0], [1.0, 3.0]])
    function = _Function(
        lambda p: 0.5 * p @ a @ p, lambda p: a @ p, lambda p: np.diag([2.0, 3.0])
    )
    end = search_minimum(function, np.array([1.0, -2.0]))
    np.testing.assert_allclose(end.evaluation.psi, 0, atol=1e-6)
    assert end.n_evaluations <= 7
    np.testing.assert_allclose(np.diag([2.0, 3.0]) + end.correction, a, atol=1e-6)


def test_a_saddle_is_left():
    function = _Function(
        lambda p: (p[0] ** 2 - 1) ** 2 + p[1] ** 2,
        lambda p: np.array([4 * p[0] * (p[0] ** 2 - 1), 2 * p[1]]),
        lambda p: np.diag([12 * p[0] ** 2 - 4, 2.0]),
    )
    end = search_minimum(function, np.array([0.0, 1.0]))
    assert abs(end.evaluation.psi[0]) == pytest.approx(1.0, abs=1e-7)


def test_values_that_cannot_be_computed_are_refused_steps():
    def value(p):
        return p[0] - np.log(p[0]) if p[0] > 0 else np.inf

    function = _Function(
        value, lambda p: np.array([1 - 1 / p[0]]), lambda p: np.array([[1 / p[0] ** 2]])
    )
    end = search_minimum(function, np.array([5.0]))
    assert not end.failed
    assert end.evaluation.psi[0] == pytest.approx(1.0, abs=1e-7)


def test_no_value_at_the_start_is_a_failure():
    function = _Function(lambda p: np.inf, lambda p: p, lambda p: np.eye(1))
    end = search_minimum(function, np.array([1.0]))
    assert end.failed
    assert end.n_evaluations == 1


def test_held_parameters_stay():
    end = search_minimum(_rosenbrock(), np.array([0.5, 3.0]), free=np.array([1]))
    np.testing.assert_allclose(end.evaluation.psi, [0.5, 0.25], atol=1e-9)


def test_evaluations_are_limited_and_told():
    end = search_minimum(_rosenbrock(), np.array([-1.2, 1.0]), most=4)
    assert end.failed
    assert "4 evaluations" in end.reason


def test_a_search_that_comes_near_to_a_known_minimum_ends_there():
    def valley():
        return _Function(
            lambda p: (p[0] ** 2 - 1) ** 2 + 0.1 * p[0] + p[1] ** 2,
            lambda p: np.array([4 * p[0] * (p[0] ** 2 - 1) + 0.1, 2 * p[1]]),
            lambda p: np.diag([12 * p[0] ** 2 - 4, 2.0]),
        )

    known = search_minimum(valley(), np.array([-1.0, 0.5])).evaluation
    start = np.array([-0.8, 3.0])
    alone = search_minimum(valley(), start)
    found = search_minimum(valley(), start, known=known)
    assert found.evaluation is known
    assert found.n_evaluations < alone.n_evaluations
    # a lower minimum is never given up for it
    high = search_minimum(valley(), np.array([1.0, 0.5])).evaluation
    other = search_minimum(valley(), start, known=high)
    assert other.evaluation.value == pytest.approx(known.value, rel=1e-12)


def test_the_first_radius_grows_with_the_rows():
    assert first_radius(10) == first_radius(1000) == FIRST_RADIUS
    assert first_radius(100_000) == pytest.approx(10 * FIRST_RADIUS)
