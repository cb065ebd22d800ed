"""Standard deviations that differ by many orders of magnitude, against exact arithmetic."""

from __future__ import annotations

import pickle
import warnings
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.engine.deviance import row_deviance
from mixedext.engine.deviance.row_deviance import RowDeviance
from mixedext.engine.factor.factor import Factor
from mixedext.engine.rows.design import prepare_design
from mixedext.exceptions import DevianceError
from mixedext.specification.terms.random_terms import RandomTerm

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
decimals = np.vectorize(lambda v: Decimal(float(v)), otypes=[object])
exact = np.vectorize(Fraction, otypes=[object])


def decimal(fraction):
    return Decimal(fraction.numerator) / Decimal(fraction.denominator)


def balanced(nested, sizes, seed, shape=(12, 9, 3)):
    """y (a, b, r) of two crossed factors, or of the second within the first."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=shape[0]), rng.normal(size=shape[1])
    if nested:
        second = rng.normal(size=shape[:2])
    noise = rng.normal(size=shape)
    return sizes[0] * first[:, None, None] + sizes[1] * second[..., None] + sizes[2] * noise


def analysis_of_variance(y, nested):
    """REML by the mean squares: intercept, standard deviations, log-likelihood."""
    a, b, r = y.shape
    n, y = y.size, exact(y)
    mean, rows = y.sum() / n, y.sum((1, 2)) / (b * r)
    top = b * r * ((rows - mean) ** 2).sum() / (a - 1)
    if nested:
        cells = y.sum(2) / r
        df = a * (b - 1), a * b * (r - 1)
        middle = r * ((cells - rows[:, None]) ** 2).sum() / df[0]
        rest = ((y - cells[..., None]) ** 2).sum() / df[1]
        variances = (top - middle) / (b * r), (middle - rest) / r, rest
    else:
        columns = y.sum((0, 2)) / (a * r)
        df = b - 1, n - a - b + 1
        middle = a * r * ((columns - mean) ** 2).sum() / df[0]
        left = y - rows[:, None, None] - columns[None, :, None] + mean
        rest = (left**2).sum() / df[1]
        variances = (top - rest) / (b * r), (middle - rest) / (a * r), rest
    assert min(variances) > 0
    with localcontext() as context:
        context.prec = 60
        squares = zip((top, middle, rest), (a - 1, *df), strict=True)
        deviance = sum(d * decimal(s).ln() for s, d in squares)
        deviance += (n - 1) * (1 + (2 * PI).ln()) + Decimal(n).ln()
        roots = [float(decimal(v).sqrt()) for v in variances]
        return float(mean), roots, float(-deviance / 2)


@pytest.mark.parametrize("nested", [False, True], ids=["crossed", "nested"])
@pytest.mark.parametrize(
    "sizes",
    [
        (1e5, 1, 1),
        (1e6, 1, 1),
        (1e6, 1e3, 1),
        (1e6, 1e6, 1),
        (1e8, 1, 1),
        (2, 1, 1e-6),
        (1, 0.3, 1e-6),
    ],
    ids=str,
)
def test_balanced_designs_are_their_analysis_of_variance(nested, sizes):
    y = balanced(nested, sizes, 3)
    intercept, deviations, llf = analysis_of_variance(y, nested)
    i, j, _ = np.indices(y.shape)
    data = {"y": y.ravel(), "a": i.ravel(), "b": (i * 9 * nested + j).ravel()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = mx.mixedlm("y ~ 1 + (1 | a) + (1 | b)", pd.DataFrame(data)).fit()
    fit = result.fitted.fit
    assert isinstance(fit.objective, RowDeviance)
    assert fit.convergence.status == "interior"
    found = [float(c[0, 0]) ** 0.5 for c in fit.covariances] + [fit.scale**0.5]
    np.testing.assert_allclose(found, deviations, rtol=1e-6)
    assert result.llf == pytest.approx(llf, rel=1e-9)
    assert result.fe_params.iloc[0] == pytest.approx(intercept, rel=1e-13)


def cholesky(a):
    """Of a matrix of decimal numbers."""
    a = a.copy()
    for j in range(len(a)):
        a[j, j] = a[j, j].sqrt()
        a[j + 1 :, j] /= a[j, j]
        a[j, j + 1 :] = Decimal(0)
        for i in range(j + 1, len(a)):
            a[i:, i] -= a[i:, j] * a[i, j]
    return a


def dense_deviance(y, x, z, weights):
    """REML deviance by 45 digits; z are the columns of Z times lam of all levels."""
    with localcontext() as context:
        context.prec = 45
        v = z.dot(z.T)
        for i, weight in enumerate(weights):
            v[i, i] += 1 / Decimal(float(weight))
        root = cholesky(v)
        solved = np.column_stack([decimals(x), decimals(y)])
        for j in range(len(y)):
            solved[j] /= root[j, j]
            solved[j + 1 :] -= root[j + 1 :, j][:, None] * solved[j][None]
        fixed = cholesky(solved.T.dot(solved))
        diagonal = [*root.diagonal(), *fixed.diagonal()[:-1]]
        d = len(y) - x.shape[1]
        return 2 * sum(t.ln() for t in diagonal) + d * (
            1 + (2 * PI * fixed[-1, -1] ** 2 / d).ln()
        )


def level_columns(code, columns, lam):
    """Z times lam, all levels side by side."""
    own = decimals(columns).dot(decimals(lam))
    return np.column_stack([np.where((code == c)[:, None], own, 0) for c in set(code)])


CASES = {
    "slopes a thousandth": (1e6, 1e3, 1.0, False),
    "slopes a millionth": (1e6, 3.0, 1.0, False),
    "the other factor": (1.0, 1.0, 1e6, False),
    "all of them": (1e5, 1e4, 1e5, False),
    "weights over twelve orders": (1e3, 1.0, 1.0, True),
}


@pytest.mark.parametrize("case", CASES)
def test_slopes_and_weights_by_many_digits(case):
    """The deviance, and that no step of theta by 1e-4 lowers it."""
    size, slope, other, weighted = CASES[case]
    rng = np.random.default_rng(1)
    n = 48
    a, b, x = rng.integers(0, 7, n), rng.integers(0, 5, n), rng.normal(size=n)
    weights = 10 ** rng.uniform(-6, 6, n) if weighted else np.ones(n)
    noise = rng.normal(size=n) / np.sqrt(weights)
    y = size * rng.normal(size=7)[a] + slope * rng.normal(size=7)[a] * x
    y += other * rng.normal(size=5)[b] + noise
    data = pd.DataFrame({"y": y, "a": a, "b": b, "x": x})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SingularMatrixWarning)
        result = mx.mixedlm("y ~ x + (x | a) + (1 | b)", data, weights=weights).fit()
    fit, fixed = result.fitted.fit, np.column_stack([np.ones(n), x])
    assert isinstance(fit.objective, RowDeviance)

    def deviance(theta):
        lams = fit.design.own_lams(theta)
        parts = level_columns(a, fixed, lams[0]), level_columns(b, fixed[:, :1], lams[1])
        return dense_deviance(y, fixed, np.column_stack(parts), weights)

    lowest = deviance(fit.theta)
    assert float(abs(Decimal(fit.deviance) - lowest) / abs(lowest)) < 1e-11
    for i in range(len(fit.theta)):
        for change in (-1e-4, 1e-4):
            theta = fit.theta.copy()
            theta[i] *= 1 + change
            assert float(deviance(theta) - lowest) > -1e-8


@pytest.mark.parametrize("term", ["(x || g)", "(x | g)"])
def test_one_factor_explains_nearly_all(term):
    """Columns of X are within those of Z, and what these leave of y is of size 1e-9."""
    rng = np.random.default_rng(1)
    n = 12
    g, (x, z) = np.arange(n) % 3, rng.normal(size=(2, n))
    y = rng.normal(size=3)[g] + 1e-9 * rng.normal(size=n)
    data = pd.DataFrame({"y": y, "x": x, "z": z, "g": g})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SingularMatrixWarning)
        result = mx.mixedlm(f"y ~ z + x + {term}", data).fit()
    fixed, fit = np.column_stack([np.ones(n), z, x]), result.fitted.fit
    lams = fit.design.own_lams(fit.theta)
    slope = lams[0] if len(lams) == 1 else np.diag([lams[0][0, 0], lams[1][0, 0]])
    columns = level_columns(g, fixed[:, [0, 2]], slope)
    dense = float(dense_deviance(y, fixed, columns, np.ones(n)))
    assert result.converged
    assert fit.deviance == pytest.approx(dense, rel=1e-8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [0, 1, 2, 5, 12, 20, 35, 42])
def test_rounding_is_no_regression_of_y_on_x(seed):
    """X and Z together explain any y, and the variances run to where rounding is all."""
    rng = np.random.default_rng(seed)
    y, x = rng.normal(size=(2, 5))
    groups = {"f": list("01011"), "g": list("bbbba"), "h": list("00010")}
    data = pd.DataFrame({"y": y, "x": x, **groups})
    try:
        result = mx.mixedlm("y ~ x * f + (1 | g:h) + (1 | g / h)", data).fit(reml=False)
    except (mx.DesignError, DevianceError):
        return
    assert abs(result.fe_params).max() < 1e3 * abs(y).max() / abs(x).min()


def test_what_cannot_be_mended_is_said(monkeypatch):
    """Both variances large, and the tail as if too large for it to be mended."""
    y = balanced(True, (1e6, 1e6, 1.0), 5, (100, 5, 2))
    i, j, _ = np.indices(y.shape)
    data = pd.DataFrame({"y": y.ravel(), "a": i.ravel(), "b": (i * 5 + j).ravel()})
    model = mx.mixedlm("y ~ 1 + (1 | a) + (1 | b)", data)
    _, deviations, llf = analysis_of_variance(y, True)
    result = model.fit()
    found = [float(c[0, 0]) ** 0.5 for c in result.fitted.fit.covariances]
    np.testing.assert_allclose(found, deviations[:2], rtol=1e-5)
    assert result.llf == pytest.approx(llf, rel=1e-9)
    monkeypatch.setattr(row_deviance, "MOST_NUMBERS", 0)
    with pytest.warns(mx.PrecisionWarning):
        model.fit()


@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_pivots(storage):
    """Of every storage of the tail: log det S is the sum of their logarithms."""
    rng = np.random.default_rng(2)
    ones = np.ones((300, 1))
    terms = [
        RandomTerm(rng.integers(0, count, 300), ones, group=str(count))
        for count in (60, 25, 9)
    ]
    design = prepare_design(rng.normal(size=300), ones, terms, storage=storage)
    factor = Factor(design.blocks)
    factor.update([np.full((1, 1), size) for size in (0.5, 0.7, 1.1)])
    half = factor.half.ravel() / 0.5
    lead = -2 * np.log(half).sum()
    assert 2 * np.log(factor.tail.pivots()).sum() + lead == pytest.approx(factor.log_det)


def test_ordinary_models_never_ask_the_rows():
    data = mx.datasets.penicillin.load().data
    fit = mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit().fitted.fit
    assert fit.design.rows is None
    assert not isinstance(fit.objective, RowDeviance)


def test_a_given_theta_stays_and_pickles_are_whole():
    y = balanced(False, (1e6, 1.0, 1.0), 3)
    i, j, _ = np.indices(y.shape)
    data = pd.DataFrame({"y": y.ravel(), "a": i.ravel(), "b": j.ravel()})
    model = mx.mixedlm("y ~ 1 + (1 | a) + (1 | b)", data)
    best = model.fit()
    held = model.fit(start_params=best.params_object, do_cg=False)
    np.testing.assert_allclose(held.fitted.fit.theta, best.fitted.fit.theta, rtol=1e-12)
    assert held.llf == pytest.approx(best.llf, rel=1e-11)
    again = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(again.fitted.fit.effects[0], best.fitted.fit.effects[0])
    theta = best.fitted.fit.optimum.theta
    value = again.fitted.fit.objective.value(theta)
    assert value == best.fitted.fit.objective.value(theta)
    assert value == pytest.approx(best.fitted.fit.optimum.deviance, rel=1e-12)


def test_columns_whose_steps_grow_are_left_as_they_are(monkeypatch):
    """Their solves have no digits; those of the others go on to the last one."""
    y = balanced(False, (1e6, 1.0, 1.0), 3)
    i, j, _ = np.indices(y.shape)
    data = {"y": y.ravel(), "a": i.ravel(), "b": j.ravel()}
    result = mx.mixedlm("y ~ 1 + (1 | a) + (1 | b)", pd.DataFrame(data)).fit()
    factor = result.fitted.fit.objective.factor
    columns = np.random.default_rng(1).normal(size=(y.size, 2))
    expected = factor._refined(columns)[0]
    solve, calls = type(factor)._solve, []

    def grows(self, lead, tail):
        lead, tail = solve(self, lead, tail)
        calls.append(1)
        lead[..., 1] = 1e60 ** min(len(calls), 5)
        return lead * [0.99, 1.0], tail * 0.99

    monkeypatch.setattr(type(factor), "_solve", grows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = factor._refined(columns)[0]
    assert len(calls) > 3
    assert found[0, 0] == pytest.approx(expected[0, 0], rel=1e-8)
