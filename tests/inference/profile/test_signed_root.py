"""Profiles of the engine: limits against R's direct minimization and dense minimization."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.dense_likelihood import DenseLikelihood
from helpers.designs import random_design
from helpers.reference import case_names, load_case
from scipy import optimize, stats
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.inference.profile import signed_root
from mixedext.inference.profile.coordinates import Coordinates, ProfileModel, Target
from mixedext.inference.profile.path import Path, _predict, solve_limit
from mixedext.inference.profile.restricted_minimum import restricted_minimum
from mixedext.inference.profile.signed_root import profile_curve, profile_fit

CASES = [name for name in case_names() if "profile_ci" in load_case(name).values]
ZETA95 = np.sqrt(stats.chi2.ppf(0.95, 1))
ZETA99 = np.sqrt(stats.chi2.ppf(0.99, 1))


def reference_targets(case, design):
    """lme4's names of the parameters, each with ours."""
    columns = [case.column_name(c) for c in case.values["X_columns"]]
    out, number = {}, 1
    for own in case.values["random_terms"]:
        group = own["group"] if isinstance(own["group"], str) else own["group"][0]
        names = [case.effect_name(c, own["columns"]) for c in own["columns"]]
        for a, name in enumerate(names):
            for b in range(a, len(names)):
                i, rows = place(design, group, [name, names[b]][: 1 + (b > a)])
                kind = "sd" if b == a else "correlation"
                out[f".sig{number:02d}"] = Target(kind, i, rows)
                number += 1
    out[".sigma"] = Target("sigma")
    for name, column in zip(case.values["X_columns"], columns, strict=True):
        out[name] = column
    return out


def place(design, group, names):
    for i, t in enumerate(design.terms):
        same = set(t.group.split(":")) == set(group.split(":"))
        if same and all(n in t.names for n in names):
            return i, tuple(sorted(t.names.index(n) for n in names))
    raise AssertionError(f"no term {group} with {names}")


@pytest.mark.parametrize("name", CASES)
def test_limits_are_those_of_direct_minimization(name):
    case = load_case(name)
    options = {k: case.data[v] for k, v in case.options.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        results = mx.mixedlm(case.formula, case.data, **options).fit(reml=False)
    fit = results.fitted.fit
    want = case.values["profile_ci"]
    assert fit.deviance == pytest.approx(want["deviance_min"], rel=1e-10)
    model = ProfileModel(fit.design)
    targets = model.targets()
    found = profile_fit(fit, targets, ZETA99, 0.5)
    assert not found.falls
    ours = reference_targets(case, fit.design)
    names = list(results.model.exog_names)
    for i, label in enumerate(want["names"]):
        target = ours[label]
        if isinstance(target, str):
            target = Target("fixed", -1, (names.index(target),))
        curve = found.curves[targets.index(target)]
        # a limit at which the profile is steep has more digits than R's search gave
        length = want["upper"][i] - want["lower"][i]
        for level, ends in ((0.95, ("lower", "upper")), (0.9, ("lower90", "upper90"))):
            limits = [limit.value for limit in curve.limits(model, level)]
            np.testing.assert_allclose(
                limits, [want[e][i] for e in ends], rtol=0, atol=1e-9 * length
            )


@pytest.mark.parametrize("name", ["sleepstudy", "penicillin", "pastes", "dyestuff"])
def test_limits_are_lme4s_by_its_fine_grid(name):
    case = load_case(name)
    results = mx.mixedlm(case.formula, case.data).fit()
    table = case.values["profile_ci"]["lme4_fine_grid"]
    profile = results.profile(["sigma", "Intercept"])
    got = profile.conf_int().to_numpy()
    for row, label in zip(got, [".sigma", "(Intercept)"], strict=True):
        i = table["names"].index(label)
        want = np.array([table["lower"][i], table["upper"][i]])
        np.testing.assert_allclose(row, want, rtol=0, atol=1e-4 * np.ptp(want))


def dense_restricted(rows, target, value, starts):
    """The least deviance at a value of a parameter by dense algebra and Nelder-Mead."""
    dense = DenseLikelihood(rows.y, rows.x, rows.terms, False, rows.weights)
    n = len(rows.y)

    def deviance(u):
        lower, sigma = np.zeros((2, 2)), np.exp(u[-1])
        if target.kind == "correlation":
            a, e = np.abs(u[:2])
            covariance = np.array([[a * a, a * e * value], [a * e * value, e * e]])
        else:
            row = target.rows[0] if target.kind == "sd" else 0
            first = value if target.kind == "sd" else u[2]
            lower[row, 0] = first
            lower[1 - row, :] = u[:2]
            covariance = lower @ lower.T
        if target.kind == "sigma":
            sigma = value
        gamma = rows.terms[0].structure.gamma(covariance) / sigma**2
        v = dense.covariance(gamma)
        inverse = np.linalg.inv(v)
        x, y = rows.x, rows.y
        if target.kind == "fixed":
            j = target.rows[0]
            x, y = np.delete(x, j, axis=1), y - x[:, j] * value
        r = y - x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
        return (
            np.linalg.slogdet(v)[1]
            + r @ inverse @ r / sigma**2
            + n * np.log(2 * np.pi * sigma**2)
        )

    best = np.inf
    for start in starts:
        found = optimize.minimize(
            deviance, start, method="BFGS", options={"gtol": 1e-9, "maxiter": 400}
        )
        found = optimize.minimize(
            deviance,
            found.x,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000},
        )
        best = min(best, found.fun)
    return best


@pytest.mark.parametrize("seed", [4, 12])
@pytest.mark.parametrize("number", range(6))
def test_points_are_dense_restricted_minima(seed, number):
    rows = random_design(seed, 45, [(2, 0)], False, False, seed == 12, False)
    fit = fit_design(rows.prepare(), False)
    model = ProfileModel(fit.design)
    target = model.targets()[: 4 + rows.x.shape[1]][min(number, 3 + rows.x.shape[1])]
    fitted = model.fitted(fit)
    curve = profile_curve(model, target, fitted, fit.deviance, ZETA95, 0.8)
    for i in (1, len(curve.value) - 2):
        at = curve.points[i]
        root = np.linalg.cholesky(at.covariances[0] + 1e-12 * np.eye(2))
        sd, log_sigma = np.sqrt(np.diag(at.covariances[0])), 0.5 * np.log(at.scale)
        turned = np.array([root[1, 0], root[1, 1], root[0, 0], log_sigma])
        if target.kind == "sd" and target.rows == (1,):
            c = at.covariances[0][0, 1] / sd[1] if sd[1] > 0 else 0.0
            turned[:2] = c, np.sqrt(max(sd[0] ** 2 - c * c, 0.0))
        if target.kind == "correlation":
            turned[:2] = sd
        starts = [turned, turned * [-1, 1, 1, 1], turned * [0.3, 0.6, 0.5, 1] + 0.05]
        if target.kind == "correlation":
            starts.append(turned * [0.05, 1, 1, 1])
            starts.append(turned * [1, 0.05, 1, 1])
        want = dense_restricted(rows, target, curve.value[i], starts)
        assert curve.deviance[i] == pytest.approx(want, abs=2e-7)


def test_slopes_are_derivatives_of_zeta():
    data = mx.datasets.sleepstudy.load().data
    fit = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit(reml=False).fitted.fit
    model = ProfileModel(fit.design)
    fitted = model.fitted(fit)
    for target in model.targets():
        curve = profile_curve(model, target, fitted, fit.deviance, ZETA99, 0.5)
        fine = profile_curve(model, target, fitted, fit.deviance, ZETA99, 0.1)
        spline = fine.spline()
        inside = (curve.value > fine.value[1]) & (curve.value < fine.value[-2])
        inside[curve.middle] = False
        np.testing.assert_allclose(
            spline(curve.value[inside]), curve.zeta[inside], rtol=0, atol=3e-6
        )
        np.testing.assert_allclose(
            spline(curve.value[inside], 1), curve.slope[inside], rtol=1e-3
        )
        assert (np.diff(curve.zeta) > 0).all()
        assert (np.diff(spline(np.linspace(*fine.value[[0, -1]], 500))) > 0).all()


def test_curvature_at_the_estimate_is_the_observed_information():
    data = mx.datasets.sleepstudy.load().data
    results = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit(reml=False)
    model = ProfileModel(results.fitted.fit.design)
    fitted = model.fitted(results.fitted.fit)
    found = profile_fit(results.fitted.fit, model.targets(), ZETA95, 0.5)
    errors = results.conf_int_vcomp()["std_err"].to_numpy()
    slopes = [c.slope[c.middle] for c in found.curves]
    np.testing.assert_allclose(1 / np.array(slopes)[:4], errors, rtol=1e-6)
    assert fitted.scale == results.scale


def test_a_better_fit_found_on_the_way_is_taken():
    data = mx.datasets.sleepstudy.load().data
    fit = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit(reml=False).fitted.fit
    worse = evaluate_design(fit.design, False, fit.theta * 1.3)
    model = ProfileModel(fit.design)
    found = profile_fit(worse, model.targets(), ZETA95, 0.5)
    assert sum(found.falls) == pytest.approx(worse.deviance - fit.deviance, abs=1e-8)
    right = profile_fit(fit, model.targets(), ZETA95, 0.5)
    for one, two in zip(found.curves, right.curves, strict=True):
        a, b = one.limits(model, 0.9), two.limits(model, 0.9)
        np.testing.assert_allclose(
            [limit.value for limit in a], [limit.value for limit in b], rtol=1e-8
        )


def test_correlation_of_an_effect_without_variance_is_anything():
    rng = np.random.default_rng(5)
    rows = random_design(2, 40, [(2, 0)], False, False, False, False)
    rows.y[:] = rows.x @ np.ones(rows.x.shape[1]) + rng.normal(size=40)
    fit = fit_design(rows.prepare(), False)
    model = ProfileModel(fit.design)
    target = Target("correlation", 0, (0, 1))
    fitted = model.fitted(fit)
    zero = Coordinates(model, Target("sd", 0, (1,)))
    z = zero.start(fitted)
    z[zero.held] = 0.0
    without = restricted_minimum(zero, z, 1e-9).deviance - fit.deviance
    curve = profile_curve(model, target, fitted, fit.deviance, ZETA95, 0.5)
    # the profile cannot lie above the model without one of the effects
    assert (curve.zeta**2 <= without + 1e-7).all()
    if without < ZETA95**2:
        lower, upper = curve.limits(model, 0.95)
        assert (lower.value, upper.value) == (-1.0, 1.0)
        assert lower.reason
        assert upper.reason


@pytest.mark.parametrize("seed", range(16))
def test_no_other_start_finds_less(seed):
    kinds = [[(2, 0)], [(3, 0)], [(2, 0), (1, 0)], [(1, 0), (1, 0)]][seed % 4]
    rng = np.random.default_rng(seed)
    rows = random_design(100 + seed, 50, kinds, bool(seed % 2), False, False, False)
    fit = fit_design(rows.prepare(), False)
    model = ProfileModel(fit.design)
    found = profile_fit(fit, model.targets()[:4], ZETA95, 0.6)
    fitted = found.model.fitted(found.fit)
    for curve in found.curves:
        coordinates = Coordinates(model, curve.target)
        start = coordinates.start(fitted)
        node = curve.nodes[-1]
        for _ in range(3):
            z = start.copy()
            z[: coordinates.tau] *= rng.normal(1, 0.8, coordinates.tau)
            z[coordinates.held] = node.coordinate
            z[coordinates.bounded] = np.abs(z[coordinates.bounded])
            other = restricted_minimum(coordinates, z)
            assert other.deviance > node.deviance - 1e-5


@pytest.mark.parametrize(
    ("seed", "n", "kinds", "target"),
    [
        # ran up to the deviance of the model without an effect, beside lower minima
        (25, 33, [(3, 0)], Target("correlation", 0, (0, 2))),
        (77, 18, [(2, 0), (2, 0)], Target("correlation", 0, (0, 1))),
        # zeta turned back between the points that were sought from other starts
        (30, 19, [(3, 1)], Target("sd", 0, (1,))),
        # the path went on from a lower minimum into a higher one
        (57, 18, [(3, 0)], Target("correlation", 0, (1, 2))),
        # a prediction led from a nearly singular point to another minimum, at the level
        (304, 42, [(2, 0)], Target("sd", 0, (0,))),
        # only found from small covariances, and from none
        (122, 45, [(2, 0), (1, 0)], Target("fixed", -1, (0,))),
        (48, 20, [(2, 0)], Target("sd", 0, (0,))),
        # inside the path only
        (26, 45, [(2, 0), (1, 0)], Target("sigma")),
        (43, 33, [(3, 0)], Target("fixed", -1, (1,))),
        (70, 37, [(2, 0), (2, 0)], Target("sd", 0, (1,))),
    ],
)
def test_hidden_minima_are_found(seed, n, kinds, target):
    rng = np.random.default_rng(seed)
    assert rng.integers(16, 50) == n
    nested, weighted = bool(rng.integers(2)), bool(rng.integers(3) == 0)
    rows = random_design(seed, n, kinds, nested, False, weighted, False)
    fit = fit_design(rows.prepare(), False)
    model = ProfileModel(fit.design)
    found = profile_fit(fit, [target], 1.02 * ZETA95, 0.6)
    curve, fitted = found.curves[0], model.fitted(found.fit)
    coordinates = Coordinates(model, target)
    for node in curve.nodes:
        for _ in range(8):
            z = coordinates.start(fitted)
            z[coordinates.tau] += rng.normal(0.1, 0.3)
            for at, transform in zip(
                coordinates.slices, fit.design.transforms, strict=True
            ):
                size = np.sqrt(fitted.scale) / np.linalg.norm(transform, axis=0).max()
                size *= np.exp(rng.normal())
                z[at] = size * rng.normal(size=at.stop - at.start)
            if target.kind == "correlation":
                z[coordinates.slices[0]][1] = 0.0
            z[coordinates.held] = node.coordinate
            z[coordinates.bounded] = np.abs(z[coordinates.bounded])
            try:
                other = restricted_minimum(coordinates, z)
            except np.linalg.LinAlgError:
                continue
            assert other.deviance > node.deviance - 1e-5


def test_limits_between_two_minima_are_of_the_lower():
    rng = np.random.default_rng(94)
    n = rng.integers(16, 50)
    nested, weighted = bool(rng.integers(2)), bool(rng.integers(3) == 0)
    kinds = [(2, 0), (2, 0)]
    rows = random_design(94, n, kinds, nested, False, weighted, False)
    fit = fit_design(rows.prepare(), False)
    model, target = ProfileModel(fit.design), Target("sd", 1, (1,))
    curve = profile_fit(fit, [target], ZETA99, 0.6).curves[0]
    coordinates = Coordinates(model, target)
    value = curve.limits(model, 0.95)[1].value
    deviances = []
    for node in curve.nodes:
        z = node.state.z.copy()
        z[coordinates.held] = value
        deviances.append(restricted_minimum(coordinates, z, 1e-9).deviance)
    assert min(deviances) - fit.deviance == pytest.approx(ZETA95**2, abs=1e-6)


def test_searches_beside_the_path_are_short_where_data_are_many():
    rng = np.random.default_rng(3)
    levels, rows = 150, 8
    group = np.repeat(np.arange(levels), rows)
    data = pd.DataFrame(rng.normal(size=(levels * rows, 6)), columns=list("xabcde"))
    data["g"] = group
    data["y"] = data["x"] + rng.normal(size=levels)[group] + rng.normal(size=len(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        result = mx.mixedlm("y ~ x + a + b + c + d + e + (x | g)", data).fit(reml=False)
    assert result.fitted.fit.is_singular
    model = ProfileModel(result.fitted.fit.design)
    targets = [t for t in model.targets() if t.kind == "fixed"]
    found = profile_fit(result.fitted.fit, targets, ZETA99, 0.6)
    # with every search to its end there were 250 for each
    assert max(c.evaluations for c in found.curves) < 100


def test_between_two_points_of_one_height_is_the_first():
    inner, outer = (SimpleNamespace(deviance=3.0, coordinate=c) for c in (1.0, 2.0))
    with np.errstate(all="raise"):
        assert solve_limit(None, inner, outer, 1.0, 2.0**0.5) == 1.0


def test_tangents_are_followed_in_any_unit():
    """z(c) = c^2 / u of a coordinate in units of u: cubics are exact."""
    for unit in (1.0, 1e130, 1e-130):
        held = SimpleNamespace(held=0, bounded=np.zeros(2, bool))
        points = [
            SimpleNamespace(
                coordinate=c * unit,
                tangent=np.array([1.0, 2 * c]),
                state=SimpleNamespace(z=np.array([c * unit, c**2 * unit])),
            )
            for c in (1.0, 2.0)
        ]
        with np.errstate(all="raise"):
            z = _predict(held, points[1], points[0], unit)
        np.testing.assert_allclose(z, [3 * unit, 9 * unit], rtol=1e-12)


def test_a_limit_where_the_deviance_is_no_number_says_so(monkeypatch):
    def refuse(*_):
        raise np.linalg.LinAlgError

    fit = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data).fit()
    monkeypatch.setattr(signed_root, "solve_limit", refuse)
    curve = profile_fit(fit.fitted.fit, [Target("sigma")], ZETA99, 0.5).curves[0]
    limits = curve.limits(ProfileModel(fit.fitted.fit.design), 0.95)
    assert all(np.isnan(limit.value) and "is no number" in limit.reason for limit in limits)


def test_a_path_whose_step_is_the_rounding_of_the_estimate_says_so():
    """Of saturated data the curvature may leave no number beside the estimate."""
    state = SimpleNamespace(z=np.array([0.0, 1.05]))
    middle = SimpleNamespace(coordinate=1.05, bend=1e34, state=state, deviance=0.0)
    target = SimpleNamespace(kind="coefficient")
    limits = (-np.inf, np.inf)
    coordinates = SimpleNamespace(tau=0, target=target, limits=limits, held=1)
    path = Path(coordinates, middle, 0.0, 1, 3.0, 0.5)
    path.walk()
    assert path.end == "the likelihood changes within the rounding of the estimate"
    assert not path.nodes


@pytest.mark.formula_engine
@pytest.mark.parametrize("unit", [2.0**40, 2.0**-100, 2.0**430, 2.0**-430], ids=str)
def test_limits_go_with_the_unit_of_the_response(unit):
    """Curvatures along deviations and log sigma^2 compare in the engine's units."""
    data = mx.datasets.sleepstudy.load().data
    formula = "Reaction ~ Days + (Days | Subject)"
    wanted = mx.mixedlm(formula, data).fit(reml=False).profile().conf_int()
    data["Reaction"] = data["Reaction"] * unit
    found = mx.mixedlm(formula, data).fit(reml=False).profile().conf_int()
    unitless = found.index.str.startswith("cor")
    found = found.div(np.where(unitless, 1.0, unit), axis=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


@pytest.mark.formula_engine
@pytest.mark.parametrize("unit", [2.0**40, 2.0**-60], ids=str)
def test_limits_go_with_the_unit_of_a_slope(unit):
    data = mx.datasets.sleepstudy.load().data
    formula = "Reaction ~ Days + (Days | Subject)"
    wanted = mx.mixedlm(formula, data).fit(reml=False).profile().conf_int()
    data["Days"] = data["Days"] * unit
    found = mx.mixedlm(formula, data).fit(reml=False).profile().conf_int()
    size = np.where(found.index.isin(["sd Days|Subject", "Days"]), unit, 1.0)
    np.testing.assert_allclose(found.mul(size, axis=0), wanted, rtol=1e-7)
