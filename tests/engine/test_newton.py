"""The compiled search on functions with known minima; its log; errors carried through."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from mixedext.engine.kernels.newton import Newton, PythonFunction

from mixedext.engine.design import prepare_design
from mixedext.engine.optimize import minimize_deviance
from mixedext.specification.terms import RandomTerm


class Function:
    """A function in Python, in the shape of a deviance."""

    def __init__(self, value, gradient, hessian, n_theta, costly=False):
        self.parts = value, gradient, hessian
        self.n_theta, self.costly, self.noise = n_theta, costly, 0.0
        self.n_derivatives = 0

    def value(self, theta, floor):
        return self.parts[0](theta)

    def derivatives(self, theta):
        self.n_derivatives += 1
        return SimpleNamespace(gradient=self.parts[1](theta), hessian=self.parts[2](theta))


def quadratic(n, seed, condition=1e4):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    h = (q * np.geomspace(1.0, condition, n)) @ q.T
    h = (h + h.T) / 2
    x = rng.normal(size=n)
    return (
        h,
        x,
        Function(
            lambda t: 0.5 * (t - x) @ h @ (t - x), lambda t: h @ (t - x), lambda t: h, n
        ),
    )


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40, 150])
def test_a_quadratic_is_solved_in_a_step(n):
    h, x, function = quadratic(n, n)
    search = Newton(PythonFunction(function))
    assert search.minimize(x + 0.1 / n, 50) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(search.point, x, atol=1e-9)
    records = search.records()
    assert records.shape == (2, n + 4)
    # the first step is expected to fall by all there is
    assert records[1, 3] == pytest.approx(records[0, 1], rel=1e-9)
    gradient, hessian = search.last_derivatives()
    np.testing.assert_allclose(hessian, h)
    decrement, curvature, way_down = search.outlook(gradient, hessian)
    assert decrement < 1e-13
    assert curvature == pytest.approx(1e-4 if n > 1 else 1.0, rel=1e-6)
    assert not way_down


@pytest.mark.parametrize("start", [0.0, 1e-9, 0.3, -2.0])
def test_a_saddle_is_left_and_the_radius_kept(start):
    """f = x^4/4 - x^2/2 + y^2: a saddle at 0, minima at x = +-1."""
    function = Function(
        lambda t: t[0] ** 4 / 4 - t[0] ** 2 / 2 + t[1] ** 2,
        lambda t: np.array([t[0] ** 3 - t[0], 2 * t[1]]),
        lambda t: np.diag([3 * t[0] ** 2 - 1, 2.0]),
        2,
    )
    search = Newton(PythonFunction(function))
    assert search.minimize([start, 1.0], 100) == pytest.approx(-0.25, abs=1e-13)
    np.testing.assert_allclose(np.abs(search.point), [1.0, 0.0], atol=1e-6)


def test_rosenbrock():
    def hessian(t):
        return np.array(
            [[2 - 400 * (t[1] - 3 * t[0] ** 2), -400 * t[0]], [-400 * t[0], 200]]
        )

    function = Function(
        lambda t: (1 - t[0]) ** 2 + 100 * (t[1] - t[0] ** 2) ** 2,
        lambda t: np.array(
            [
                -2 * (1 - t[0]) - 400 * t[0] * (t[1] - t[0] ** 2),
                200 * (t[1] - t[0] ** 2),
            ]
        ),
        hessian,
        2,
    )
    search = Newton(PythonFunction(function))
    assert search.minimize([-1.2, 1.0], 100) < 1e-14
    np.testing.assert_allclose(search.point, [1.0, 1.0], atol=1e-6)
    assert len(search.records()) < 60


def test_points_that_fail_are_drawn_back():
    """Infinite values shorten the step; an infinite start is drawn to zero."""
    function = Function(
        lambda t: t[0] - np.log(1 - t[0]) if t[0] < 1 else np.inf,
        lambda t: np.array([1 + 1 / (1 - t[0])]),
        lambda t: np.array([[1 / (1 - t[0]) ** 2]]),
        1,
    )
    search = Newton(PythonFunction(function))
    search.minimize([4.0], 3)
    assert np.isfinite(search.deviance)
    nothing = Function(lambda t: np.inf, None, None, 1)
    with pytest.raises(ValueError, match="not finite at the start"):
        Newton(PythonFunction(nothing)).minimize([4.0], 3)


@pytest.mark.parametrize("where", ["value", "derivatives"])
def test_errors_of_a_python_function_come_through(where):
    def fail(theta):
        raise MemoryError(f"in {where}")

    _, x, function = quadratic(3, 0)
    value, gradient, hessian = function.parts
    function.parts = (fail if where == "value" else value), fail, hessian
    if where == "value":
        function.parts = fail, gradient, hessian
    search = Newton(PythonFunction(function))
    with pytest.raises(MemoryError, match=f"in {where}"):
        search.minimize(x + 1, 10)


def test_the_last_derivatives_of_a_costly_model_are_saved():
    """And what the last step leaves is said honestly."""
    rng = np.random.default_rng(4)
    n, n_levels = 20_000, 3000
    g = np.append(np.arange(n_levels), rng.integers(0, n_levels, n - n_levels))
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = x.sum(axis=1) + (x * rng.normal(size=(n_levels, 2))[g]).sum(axis=1)
    design = prepare_design(y + rng.normal(size=n), x, [RandomTerm(g, x)])
    start = np.array([2.0, 0.0, 2.0])
    found = []
    for costly in (True, False):
        objective = design.objective(True)
        objective.function.costly = costly
        found.append((minimize_deviance(objective, start), objective))
    (quick, one), (whole, other) = found
    assert one.n_derivatives == quick.convergence.n_evaluations - 1
    assert one.n_derivatives < other.n_derivatives == whole.convergence.n_evaluations
    assert quick.deviance == pytest.approx(whole.deviance, rel=1e-12)
    np.testing.assert_allclose(quick.theta, whole.theta, atol=1e-5)
    # the fall promised is no less than what is there
    one.value(quick.theta)
    gap = one.derivatives(quick.theta)
    rest = 0.5 * gap.gradient @ np.linalg.solve(gap.hessian, gap.gradient)
    assert rest <= quick.convergence.decrement < 1e-7
