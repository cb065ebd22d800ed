"""The compiled search on functions with known minima; its log; errors carried through."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from mixedext.kernels.search.newton import Newton
from mixedext.kernels.search.python_function import PythonFunction
from scipy.linalg import hadamard

from mixedext.engine.deviance import profiled as objective_module
from mixedext.engine.deviance import several_factors
from mixedext.engine.factor import tail as tail_module
from mixedext.engine.fit import fit_design
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.search.optimize import minimize_deviance
from mixedext.specification.terms.random_terms import RandomTerm


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
    decrement, curvature, way_down = search.outlook(search.point, gradient, hessian)
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


@pytest.mark.parametrize(("start", "returned"), [(0.8, True), (-0.8, False)])
def test_a_search_that_is_led_to_the_known_minimum_is_given_up(start, returned):
    """Of (x^2 - 1)^2 + x / 100 the minimum near 1 is known, and that near -1 is lower."""
    function = Function(
        lambda t: float((t[0] ** 2 - 1) ** 2 + 0.01 * t[0]),
        lambda t: 4 * t * (t**2 - 1) + 0.01,
        lambda t: np.array([[12 * t[0] ** 2 - 4]]),
        1,
    )
    search = Newton(PythonFunction(function))
    lowest = search.minimize([1.1], 50)
    known, alone = search.point, function.n_derivatives
    search.minimize([start], 50, lowest)
    whole = function.n_derivatives - alone
    found = search.minimize([start], 50, lowest, known)
    assert search.returned == returned
    if returned:
        assert function.n_derivatives - alone - whole < whole
    else:
        assert found < lowest - 0.019
    search.minimize([start], 50)
    assert not search.returned
    with pytest.raises(ValueError, match="a minimum of 2 for 1 parameters"):
        search.minimize([start], 50, lowest, [1.0, 2.0])


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


def test_units_grow_with_large_parameters():
    """A bent valley: steps are shares of a standard deviation far above its start."""
    size, n = 1e12, 20.0

    def gradient(t):
        off = 200 * (t[1] - np.log(t[0]))
        return np.array([n * (2 / t[0] - 2 * size**2 / t[0] ** 3) - off / t[0], off])

    function = Function(
        lambda t: (
            n * (size**2 / t[0] ** 2 + 2 * np.log(t[0])) + 100 * (t[1] - np.log(t[0])) ** 2
        ),
        gradient,
        lambda t: (
            np.diag([4 * n * size**2 / t[0] ** 4, 0.0])
            + 200 * np.outer([1 / t[0], -1], [1 / t[0], -1])
        ),
        2,
    )
    search = Newton(PythonFunction(function))
    lowest = n * (1 + np.log(size**2))
    assert search.minimize([1e7, np.log(1e7)], 200) == pytest.approx(lowest, rel=1e-13)
    np.testing.assert_allclose(search.point, [size, np.log(size)], rtol=1e-6)
    assert len(search.records()) < 45  # 116 in the units of the start


def test_noise_does_not_lead_on():
    """A gradient that is never small, of a function that falls no more than its noise."""
    turns = iter(np.linspace(0.0, 200.0, 400))
    function = Function(
        lambda t: 0.0,
        lambda t: 1e-3 * np.array([np.cos(angle := next(turns)), np.sin(angle)]),
        lambda t: np.eye(2),
        2,
    )
    function.noise = 1e-6
    search = Newton(PythonFunction(function))
    search.minimize([1.0, 1.0], 200)
    assert search.led_by_noise
    assert len(search.records()) < 15


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


def variances(curvature, minimum, pull=0.0):
    """A quadratic in the squares of theta."""
    curvature, minimum = np.array(curvature, float), np.array(minimum, float)

    def slope(t):
        return curvature @ (t**2 - minimum) + pull

    def value(t):
        miss = t**2 - minimum
        return 0.5 * miss @ curvature @ miss + pull * (t**2).sum()

    function = Function(
        value,
        lambda t: 2 * t * slope(t),
        lambda t: 4 * np.outer(t, t) * curvature + np.diag(2 * slope(t)),
        len(minimum),
    )
    function.squared = np.ones(len(minimum), bool)
    return function


@pytest.mark.parametrize(
    ("minimum", "start"),
    [
        ([-0.01, 1.0], [0.5, 0.9]),  # the first wants to be negative
        ([-0.01, -0.02], [0.5, 0.9]),
        ([0.3, 1.0], [1e-3, 0.9]),  # far above a start near zero: curvature negative there
        ([1e-6, 1.0], [0.3, 1.3]),  # small, but not zero
    ],
)
def test_steps_in_variances(minimum, start):
    """A variance of zero is reached in a few steps, and left in one."""
    curvature = np.array([[50.0, 3.0], [3.0, 20.0]])
    function, plain = variances(curvature, minimum), variances(curvature, minimum)
    plain.squared = None
    searches = []
    for f in (function, plain):
        search = Newton(PythonFunction(f))
        search.minimize(np.array(start), 100)
        searches.append(search)
    quick, slow = searches
    assert len(quick.records()) <= 8
    assert len(quick.records()) < len(slow.records())
    assert quick.deviance <= slow.deviance + 1e-10
    # by its definition: no slope, or a variance of zero that wants to be less
    variance = quick.point**2
    slope = curvature @ (variance - np.array(minimum))
    np.testing.assert_allclose(np.where(slope > 1e-3, variance, slope), 0.0, atol=1e-5)


def crossed_design(seed, n=1500, sd=(1.0, 0.3, 0.0)):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = x.sum(axis=1) + rng.normal(size=n)
    terms = []
    for i, (levels, size) in enumerate(zip((120, 40, 25), sd, strict=True)):
        code = np.append(np.arange(levels), rng.integers(0, levels, n - levels))
        y += size * rng.normal(size=levels)[code]
        terms.append(RandomTerm(code, group=f"g{i}"))
    return prepare_design(y, x, terms)


@pytest.mark.parametrize("seed", range(12))
def test_saved_derivatives_cost_no_accuracy(seed, monkeypatch):
    sd = np.random.default_rng(seed).choice([0.0, 0.1, 0.3, 1.0, 3.0], 3)
    design = crossed_design(seed, sd=sd)
    monkeypatch.setattr(several_factors, "MOST_NUMBERS", 0)  # as for large models
    whole = fit_design(design, True)
    monkeypatch.setattr(objective_module, "COSTLY_SIZE", 0)
    quick = fit_design(design, True)
    assert quick.convergence.n_derivatives <= whole.convergence.n_derivatives
    gap = quick.deviance - whole.deviance
    noise = 3 * whole.objective.noise
    assert abs(gap) <= max(1e-9, 1e-12 * abs(whole.deviance)) + noise
    assert quick.convergence.decrement <= max(1e-9, 1e-12 * abs(whole.deviance))
    np.testing.assert_allclose(quick.theta, whole.theta, rtol=3e-6, atol=1e-6)
    np.testing.assert_allclose(quick.covariance, whole.covariance, rtol=3e-6)


@pytest.mark.parametrize("seed", [0, 2, 4, 5, 6])
def test_a_factor_of_no_variance_costs_few_evaluations(seed):
    fit = fit_design(crossed_design(seed), True, max_iterations=200)  # from one start
    assert fit.is_singular
    assert fit.theta[2] == 0.0
    assert fit.convergence.n_evaluations <= 6


def test_estimated_traces(monkeypatch):
    """Orthogonal signs, as many as there are columns, give the traces themselves."""
    design = crossed_design(0)
    objective = design.objective(True)
    tail = objective.factor.tail
    theta = np.array([0.7, 0.4, 0.5])
    objective.value(theta)
    # rows of a Hadamard matrix are orthogonal however many columns are left
    signs = hadamard(128)[: tail.size].astype(float)
    monkeypatch.setattr(tail_module, "_random_signs", lambda size: signs)
    monkeypatch.setattr(tail_module, "SOME_LEVELS", 50)
    rough = objective.derivatives(theta, rough=True)
    exact = objective.derivatives(theta)
    np.testing.assert_allclose(rough.gradient, exact.gradient, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(rough.hessian, exact.hessian, rtol=1e-9, atol=1e-9)


def test_estimated_derivatives_serve_the_first_step_only(monkeypatch):
    design = crossed_design(1)
    exact = fit_design(design, True)
    monkeypatch.setattr(objective_module, "ROUGH_SIZE", 0)
    monkeypatch.setattr(several_factors, "MOST_NUMBERS", 0)  # as for large models
    start = np.array([3.0, 2.0, 0.5])
    for theta, above in ((start, True), (exact.theta, False)):
        objective = design.objective(True)
        asked = []
        plain = objective.derivatives

        def derivatives(t, rough=False, plain=plain, asked=asked):
            asked.append((rough, *t))
            return plain(t, rough)

        objective.derivatives = derivatives
        found = minimize_deviance(objective, theta)
        assert asked[0][0]
        assert not any(rough for rough, *_ in asked[1:])
        # near the minimum the exact ones follow at the same point
        assert (asked[0][1:] == asked[1][1:]) == (not above)
        assert found.deviance == pytest.approx(exact.optimum.deviance, rel=1e-13)
        np.testing.assert_allclose(found.theta, exact.optimum.theta, atol=1e-7)
