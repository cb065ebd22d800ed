"""Where the search of a generalized model starts."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from helpers.generalized_rows import FAMILIES, draw_rows, linear_predictor, make_design
from helpers.random_layouts import design_of_layout, layouts

from mixedext.engine.generalized import start
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance
from mixedext.engine.generalized.start import linear_start, moment_start
from mixedext.specification.families.likelihood import LikelihoodRows
from mixedext.specification.families.registry import family_of
from mixedext.specification.families.response import RowResponse


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("offset", [False, True], ids=["", "offset"])
def test_every_family_starts_where_it_has_a_likelihood(name, offset):
    design, _ = make_design("crossed", offset=offset)
    rng = np.random.default_rng(0)
    rows = draw_rows(name, linear_predictor(name, design.nobs, rng), rng)
    beta, kappa, eta = linear_start(design, rows)
    known = 0.0 if design.offset is None else design.offset
    np.testing.assert_allclose(eta, design.x @ beta + known, rtol=0, atol=1e-12)
    assert len(kappa) == rows.family.n_dispersion
    deviance = LaplaceDeviance(design, rows)
    psi = moment_start(deviance, beta, kappa, eta)
    assert len(psi) == deviance.n_psi
    found = deviance.evaluate(psi)
    assert np.isfinite(found.value), found.reason
    assert np.isfinite(found.gradient).all()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("binomial", sm.families.Binomial()),
        ("poisson", sm.families.Poisson()),
        ("gamma", sm.families.Gamma(sm.families.links.Log())),
        ("inverse gaussian", sm.families.InverseGaussian(sm.families.links.Log())),
    ],
)
def test_coefficients_are_nearly_those_of_the_linear_model(name, family):
    design, _ = make_design("crossed", n=200)
    rng = np.random.default_rng(1)
    eta = 0.3 + 0.5 * design.x[:, 1] * np.sqrt(200)
    rows = draw_rows(name if "(" in name else f"{name}({_link(name)})", eta, rng, False)
    r = rows.response
    y = r.y if r.trials is None else np.column_stack([r.y, r.trials - r.y])
    want = sm.GLM(y, design.x, family).fit()
    beta, _, _ = linear_start(design, rows)
    # within a small part of a standard error
    assert np.abs((beta - want.params) / want.bse).max() < 0.1


def _link(name):
    return "logit" if name == "binomial" else "log"


def test_moments_find_the_size_of_variances():
    rng = np.random.default_rng(2)
    design, _ = make_design("crossed", n=4000)
    # 8 and 5 levels: their effects as given
    z = design.z.toarray()
    effects = np.concatenate([np.resize([1.0, -1.0], 8), np.zeros(z.shape[1] - 8)])
    rows = draw_rows("poisson(log)", 0.5 + z @ effects, rng)
    deviance = LaplaceDeviance(design, rows)
    psi = moment_start(deviance, *linear_start(design, rows))
    sizes = np.abs(psi[:2])
    assert 0.5 < sizes[0] < 2
    assert sizes[1] < 0.3


@pytest.mark.parametrize("y", [np.zeros(70), np.ones(70)], ids=["none", "all"])
@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "loglog", "cauchy"])
def test_constant_responses_have_a_start(y, link):
    design, _ = make_design("crossed")
    rows = LikelihoodRows(family_of(f"binomial({link})"), RowResponse(y, np.ones(70)))
    deviance = LaplaceDeviance(design, rows)
    psi = moment_start(deviance, *linear_start(design, rows))
    assert np.isfinite(psi).all()
    assert np.isfinite(deviance.evaluate(psi).value)


def test_offsets_far_away():
    design, _ = make_design("crossed")
    rng = np.random.default_rng(3)
    rows = draw_rows("poisson(log)", 0.5 + 0 * design.x[:, 0], rng)
    near, _, _ = linear_start(design, rows)
    far, _, eta = linear_start(design.with_offset(np.full(70, 20.0)), rows)
    moved = design.x.T @ np.full(70, 20.0)
    np.testing.assert_allclose(far, near - moved, rtol=0, atol=1e-3)
    assert np.abs(eta).max() < 10


@pytest.mark.parametrize("name", ["binomial(logit)", "poisson(log)", "gamma(log)"])
def test_many_rows_start_from_some_of_them(name, monkeypatch):
    design, _ = make_design("crossed", n=3000)
    rows = draw_rows(name, 0.4 + 3.0 * design.x[:, 1], np.random.default_rng(5))
    _, kappa, eta = linear_start(design, rows)
    monkeypatch.setattr(start, "MANY_ROWS", 600)
    seen, scored = [], start._scored
    monkeypatch.setattr(
        start, "_scored", lambda x, *more: seen.append(len(x)) or scored(x, *more)
    )
    _, other, near_eta = linear_start(design, rows)
    assert seen == [300, 3000]
    np.testing.assert_allclose(near_eta, eta, atol=0.02)
    np.testing.assert_allclose(other, kappa, atol=0.02)
    assert rows.newton(near_eta, other)[0] < rows.newton(eta, kappa)[0] + 1.0


def test_a_column_that_a_part_of_the_rows_does_not_know(monkeypatch):
    design, _ = make_design("crossed", n=3000)
    rare = np.zeros(3000)
    rare[1:8:2] = 1.0  # in no row of the part
    x = np.linalg.qr(np.column_stack([np.ones(3000), rare]))[0]
    design = replace(design, x=np.asfortranarray(x))
    rows = draw_rows("poisson(log)", 0.4 + 1.5 * rare, np.random.default_rng(5))
    eta = linear_start(design, rows)[2]
    monkeypatch.setattr(start, "MANY_ROWS", 600)
    near = linear_start(design, rows)[2]
    assert rows.newton(near, [])[0] < rows.newton(eta, [])[0] + 5.0


def test_moments_that_say_nothing_leave_no_variance():
    assert start._variances(np.zeros((2, 2)), np.ones(2)).tolist() == [0, 0]
    assert start._variances(np.full((2, 2), np.nan), np.ones(2)).tolist() == [0, 0]
    assert start._variances(np.full((1, 1), np.inf), np.ones(1)).tolist() == [0]


def test_variances_solve_the_moment_equations_or_are_zero():
    rng = np.random.default_rng(1)
    root = rng.uniform(size=(3, 9))
    squares = root @ root.T
    own = np.array([0.5, 2.0, 1.0])
    np.testing.assert_allclose(start._variances(squares, squares @ own), own)
    found = start._variances(squares, squares @ np.array([0.5, -2.0, 1.0]))
    assert (found >= 0).all()
    assert found[1] == 0


@pytest.mark.parametrize("name", layouts())
@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_squares_of_products_by_columns_of_factors(name, storage):
    if storage == "sparse" and "spread" in name:
        storage = None  # the pattern of a small tail does not know a spread factor
    design = design_of_layout(name, storage)
    rows = draw_rows("poisson(log)", np.full(design.nobs, 0.5), np.random.default_rng(1))
    deviance = LaplaceDeviance(design, rows)
    weight = np.random.default_rng(2).uniform(0.5, 2, design.nobs)
    number, count = start._columns(design)
    z = design.z.toarray()
    square = (z.T @ (weight[:, None] * z)) ** 2
    expected = np.zeros((count, count))
    np.add.at(expected, (number[:, None], number), square)
    found = start._squares(deviance, weight, number, count)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
