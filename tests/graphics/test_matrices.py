"""Images of Z, Lambda, V, A and L hold these matrices."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of
from helpers.residual_fits import fev_fit, series
from scipy import linalg

import mixedext as mx
from mixedext.graphics.figures import one_axes
from mixedext.graphics.matrices import MATRICES, matrix_data, plot_matrix

pytestmark = pytest.mark.formula_engine

SMALL = ("slopes", "crossed", "six", "singular", "thin", "weighted")


def _dense(result):
    """Z, Lambda, W, X and y, dense, terms with the most columns first."""
    rows = result.fitted.need_rows()
    pairs = list(zip(rows.terms, result.fitted.fit.lams, strict=True))
    pairs.sort(key=lambda pair: -pair[0].n_levels * pair[0].k)
    z = []
    for term, _ in pairs:
        own = np.zeros((len(rows.endog), term.n_levels, term.k))
        own[np.arange(len(own)), term.codes] = term.z
        z.append(own.reshape(len(own), -1))
    lam = linalg.block_diag(*[np.kron(np.eye(t.n_levels), lam) for t, lam in pairs])
    weights = np.ones(len(rows.endog)) if rows.weights is None else rows.weights
    return np.hstack(z), lam, weights, rows.exog, rows.endog


@pytest.mark.parametrize("name", SMALL)
def test_z_and_lambda(name):
    result = fit_of(name)
    z, lam, *_ = _dense(result)
    np.testing.assert_array_equal(matrix_data(result, "Z"), z)
    np.testing.assert_allclose(matrix_data(result, "Lambda"), lam, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", SMALL)
def test_v(name):
    result = fit_of(name)
    z, lam, weights, *_ = _dense(result)
    v = result.scale * (np.diag(1 / weights) + z @ lam @ lam.T @ z.T)
    found = matrix_data(result, "V", n_groups=10_000)
    order = np.argsort(result.fitted.need_rows().terms[0].codes, kind="stable")
    np.testing.assert_allclose(found, v[np.ix_(order, order)], rtol=1e-9, atol=1e-12)
    size = np.sqrt(np.diag(v))[order]
    some = matrix_data(result, "V", scale="correlation", n_groups=2).to_numpy()
    own = v[np.ix_(order, order)] / size / size[:, None]
    np.testing.assert_allclose(some, own[: len(some), : len(some)], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMALL)
def test_a_and_l(name):
    result = fit_of(name)
    z, lam, weights, x, y = _dense(result)
    w = np.sqrt(weights)[:, None]
    b = w * np.column_stack([z, x, y])
    np.testing.assert_allclose(matrix_data(result, "A"), b.T @ b, rtol=1e-10, atol=1e-9)
    b = w * np.column_stack([z @ lam, x, y])
    q = z.shape[1]
    whole = b.T @ b + np.diag(np.r_[np.ones(q), np.zeros(b.shape[1] - q)])
    factor = matrix_data(result, "L").to_numpy()
    assert not np.triu(factor, 1).any()
    np.testing.assert_allclose(factor @ factor.T, whole, rtol=1e-9, atol=1e-8)
    d = result.nobs - (len(result.fe_params) if result.reml else 0)
    np.testing.assert_allclose(factor[-1, -1] ** 2, d * result.scale, rtol=1e-6)


def test_dropped_columns_are_left_out():
    data = mx.datasets.sleepstudy.load().data.assign(twice=lambda d: 2 * d["Days"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a column is dropped
        result = mx.mixedlm("Reaction ~ Days + twice + (1 | Subject)", data).fit()
    found = matrix_data(result, "L")
    assert list(found.index[-3:]) == ["Intercept", "Days", "Reaction"]


@pytest.mark.parametrize("which", MATRICES)
@pytest.mark.parametrize("name", DESIGNS)
def test_pictures(name, which):
    result = fit_of(name)
    frame = matrix_data(result, which)
    assert max(frame.shape) <= 500
    figure = drawn(plot_matrix(result, which))
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(image.filled(0.0), frame, rtol=1e-12)
    assert figure.axes[1].get_ylabel()


def test_thinned_matrices_say_so():
    frame = matrix_data(fit_of("many"), "Z")
    z = matrix_data(fit_of("many"), "Z", pixels=15_000)
    assert z.shape == (15_000, 5000)
    assert frame.shape == (500, 500)
    own = np.abs(z.to_numpy()).reshape(500, 30, 500, 10).max(axis=(1, 3))
    np.testing.assert_array_equal(frame, own)
    (ax, _) = plot_matrix(fit_of("many"), "Z").axes
    assert "largest of 30 x 10" in ax.get_title().replace("\n", " ")


def test_what_is_not_shown_is_said():
    (ax, _) = plot_matrix(fit_of("slopes"), "V").axes
    assert ax.get_title().startswith("V, 3 of 18 levels of Subject")
    assert any(text.get_text() == "⋱" for text in ax.texts)
    (ax, _) = plot_matrix(fit_of("six"), "V", n_groups=6).axes
    assert ax.get_title() == "V, 30 rows"
    assert not any(text.get_text() == "⋱" for text in ax.texts)


def test_small_ones_are_printed():
    (ax, _) = drawn(plot_matrix(fit_of("six"), "V", n_groups=2)).axes
    assert len([t for t in ax.texts if t.get_text() != "⋱"]) == 50
    (ax, _) = plot_matrix(fit_of("six"), "V", n_groups=2, values=False).axes
    assert len(ax.texts) == 1


def test_a_sparse_term():
    data = mx.datasets.pastes.load().data
    casks = {"cask": "0 + C(cask)"}
    model = mx.mixedlm(
        "strength ~ 1", data, groups="batch", re_formula="1", vc_formula=casks
    )
    result = model.fit()
    for which in MATRICES:
        drawn(plot_matrix(result, which))


def test_mistakes():
    result = fit_of("six")
    with pytest.raises(ValueError, match="matrix"):
        plot_matrix(result, "W")
    with pytest.raises(ValueError, match="scale"):
        plot_matrix(result, scale="sd")
    with pytest.raises(ValueError, match="group='h'"):
        plot_matrix(result, group="h")
    for name in ("n_groups", "pixels"):
        with pytest.raises(ValueError, match=name):
            plot_matrix(result, **{name: 0})


def test_own_axes():
    ax = one_axes()
    assert plot_matrix(fit_of("six"), ax=ax) is ax.figure


def test_matplotlib_is_absent(without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        plot_matrix(fit_of("six"))


# ---- a residual covariance ----


@pytest.mark.parametrize("bar", ["", " + (1 | subject)", " + (1 | arm)"])
def test_matrices_of_correlated_errors(bar):
    data = series().sort_values(["subject", "visit"])
    model = mx.mixedlm(
        f"y ~ x{bar}", data, residual="ar1(visit | subject)", weights="weight"
    )
    result = model.fit()
    v = result.V().to_frame()
    shown = matrix_data(result, "V", n_groups=2)
    np.testing.assert_allclose(shown, v.loc[shown.index, shown.columns], rtol=1e-10)
    assert len(shown) < len(data) or "arm" in bar
    # A = [Z X y]'Lambda^-1[Z X y], Lambda = R / sigma^2
    r = result.R().values.toarray() / result.scale
    dense = np.column_stack([model.exog, model.endog])
    if bar:
        dense = np.column_stack([model.Z().values.toarray(), dense])
    a = dense.T @ np.linalg.solve(r, dense)
    size = np.abs(a).max()
    found = matrix_data(result, "A").to_numpy()
    np.testing.assert_allclose(found, a, rtol=1e-8, atol=1e-10 * size)
    lower = matrix_data(result, "L").to_numpy()
    own = result.L().values.toarray()
    np.testing.assert_allclose(lower, own, rtol=1e-6, atol=1e-8 * np.abs(own).max())


def test_residual_groups_are_the_levels_without_random_effects():
    result = fev_fit("us(AVISIT | USUBJID)")
    shown = matrix_data(result, "V", n_groups=1)
    labels = result.residual.group("PT1")
    np.testing.assert_allclose(shown, labels, rtol=1e-12)
    (ax, *_) = plot_matrix(result, "V", n_groups=3).axes
    assert "3 of 197 levels of USUBJID" in ax.get_title().replace("\n", " ")
