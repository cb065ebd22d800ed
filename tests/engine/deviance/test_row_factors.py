"""The compiled deviance by the rows is that in Python, which exact arithmetic checks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mixedext.kernels.deviance.row_factors import RowFactors
from mixedext.kernels.search.python_function import PythonFunction

import mixedext as mx
from mixedext.engine.deviance.row_deviance import DesignRows, RowDeviance
from mixedext.engine.deviance.several_factors import row_factors_function
from mixedext.engine.information import refinement
from mixedext.exceptions import DevianceError

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
]
MODELS = [
    "y ~ x + (1 | a) + (1 | b)",
    "y ~ x + (1 | a / b)",
    "y ~ x + z + (x | a) + (1 | b)",
    "y ~ 1 + (x + z | a) + (z | b)",
    "y ~ 0 + x + (x || a) + (1 | b) + (1 | a:b)",
]


def frame(seed=0, n=40):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 6, n), rng.integers(0, 4, n)
    data = pd.DataFrame({"a": a, "b": b, "x": rng.normal(size=n), "z": rng.normal(size=n)})
    data["y"] = rng.normal(size=6)[a] + rng.normal(size=4)[b] + rng.normal(size=n)
    return data


def both(formula, reml, weights=None, data=None):
    """The deviance in Python, and the compiled function."""
    result = mx.mixedlm(formula, frame() if data is None else data, weights=weights).fit(
        reml=reml
    )
    design, rows = result.fitted.fit.design, result.fitted.need_rows()
    own = DesignRows.of(design, rows.endog, rows.exog, rows.terms, rows.weights)
    python = RowDeviance(design.blocks, design.structures, reml, own)
    compiled = RowDeviance(design.blocks, design.structures, reml, own).function
    assert isinstance(compiled, RowFactors)
    return python, compiled


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("formula", MODELS)
def test_the_compiled_deviance_is_that_in_python(formula, weighted, reml):
    rng = np.random.default_rng(3)
    weights = 10.0 ** rng.uniform(-2, 2, 40) if weighted else None
    python, compiled = both(formula, reml, weights)
    for size in (1e-3, 0.3, 1.0, 30.0, 1e3):
        theta = size * rng.normal(size=python.n_theta)
        value = python.value(theta, floor=True)
        assert compiled.evaluate(theta, True) == pytest.approx(value, rel=1e-11)
        wanted = python.derivatives(theta)
        gradient, hessian = compiled.differentiate(theta)
        unit = np.sqrt(np.abs(np.diag(wanted.hessian)))
        close = {"rtol": 1e-5, "atol": 1e-6}  # of variances that dwarf sigma^2
        np.testing.assert_allclose(gradient / unit, wanted.gradient / unit, **close)
        whole = np.outer(unit, unit)
        np.testing.assert_allclose(hessian / whole, wanted.hessian / whole, **close)
        assert compiled.noise == pytest.approx(python.noise, rel=1e-3)
        np.testing.assert_allclose(compiled.fixed, python.fixed, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("formula", MODELS)
def test_derivatives_do_not_depend_on_how_often_they_are_asked(formula):
    python, compiled = both(formula, True)
    theta = np.full(python.n_theta, 3.0)
    compiled.evaluate(theta)
    first, second = compiled.differentiate(theta), compiled.differentiate(theta)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_shift_of_y_is_that_of_its_regression():
    """y nearly in X as V0 sees it: digits that a difference would lose."""
    data = frame()
    effect = np.random.default_rng(5).normal(size=6)[data["a"]]
    data["y"] = 3 * data["x"] + 1e3 * effect + 1e-3 * data["y"]
    python, compiled = both("y ~ x + (1 | a) + (1 | b)", True, data=data)
    theta = np.array([1e5, 1.0])
    value = python.value(theta)
    assert np.any(python._factor._shift != 0.0)
    assert compiled.evaluate(theta) == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(compiled.fixed, python.fixed, rtol=1e-6, atol=1e-12)


def lost_digits(n=40):
    """Crossed factors with a variance that dwarfs the others."""
    data = frame()
    data["y"] += 1e6 * np.random.default_rng(7).normal(size=6)[data["a"]]
    return data


def test_a_search_that_breaks_down_is_made_in_python(monkeypatch):
    model = mx.mixedlm("y ~ x + (1 | a) + (1 | b)", lost_digits())
    wanted = model.fit()
    assert isinstance(wanted.fitted.fit.objective.function, RowFactors)
    fit_design, asked = refinement.fit_design, []

    def failing(design, *args):
        asked.append(design.rows is not None and design.rows.may_compile)
        if asked[-1]:
            raise DevianceError("no digits")
        return fit_design(design, *args)

    monkeypatch.setattr(refinement, "fit_design", failing)
    found = model.fit()
    assert asked[:2] == [True, False]
    assert isinstance(found.fitted.fit.objective.function, PythonFunction)
    np.testing.assert_allclose(found.theta, wanted.theta, rtol=1e-6)
    assert found.llf == pytest.approx(wanted.llf, rel=1e-10)


def test_refits_by_the_rows_are_the_fits(monkeypatch):
    data = lost_digits()
    model = mx.mixedlm("y ~ x + (1 | a) + (1 | b)", data)
    rng = np.random.default_rng(9)
    y = np.column_stack([data["y"] + rng.normal(size=40) for _ in range(4)])
    found = model.fit_many(y)
    assert found.converged.all()
    for column, llf, scale in zip(y.T, found.llf, found.scale, strict=True):
        fit = mx.mixedlm("y ~ x + (1 | a) + (1 | b)", data.assign(y=column)).fit()
        assert llf == pytest.approx(fit.llf, rel=1e-9)
        assert scale == pytest.approx(fit.scale, rel=1e-6)


def test_large_models_and_those_without_leave_are_in_python():
    python, _ = both(MODELS[0], True)
    design = python._rows
    arguments = python.blocks, python.structures, True
    held = DesignRows(design.columns, design.lead, design.tail, may_compile=False)
    assert isinstance(RowDeviance(*arguments, held).function, PythonFunction)
    rows = row_factors_function(
        python.blocks, python.ambient, True, python.dof, design.columns, design.by_rows
    )
    assert rows.sharp
