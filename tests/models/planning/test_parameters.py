"""Parameters by name, in the order and shape of a model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.models.planning.parameters import fixed_vector, read_parameters

NAMES = ["Intercept", "x"]


@pytest.fixture(scope="module")
def terms():
    rng = np.random.default_rng(1)
    g, h = np.repeat(np.arange(6), 4), np.tile(np.arange(4), 6)
    z = np.column_stack([np.ones(24), rng.normal(size=24)])
    return [
        mx.RandomTerm(g, z, group="g", names=["Intercept", "x"]),
        mx.RandomTerm(h, group="h"),
    ]


def roots(terms, **given):
    given = {"fe_params": [1, 2], "cov_re": None, "theta": None, "sigma": 2.0} | given
    return read_parameters(NAMES, terms, **given)


def test_fixed_effects_by_name_or_in_order():
    want = [1.0, 2.0]
    for given in ({"x": 2, "Intercept": 1}, pd.Series({"x": 2, "Intercept": 1}), (1, 2)):
        np.testing.assert_array_equal(fixed_vector(given, NAMES), want)
    own = fixed_vector({"x": 3}, NAMES, {"Intercept": 5.0, "x": 0.0})
    np.testing.assert_array_equal(own, [5, 3])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Intercept": 1, "X": 2}, "'X' is no column.*Did you mean 'x'"),
        ({"Intercept": 1}, "says nothing of 'x'; it needs: 'Intercept', 'x'"),
        (None, "says nothing of 'Intercept', 'x'"),
        ([1, 2, 3], r"shape \(3,\); the columns of the fixed effects are 2"),
        ([1, np.nan], r"fe_params\['x'\] is not finite"),
        ([1, np.inf], r"fe_params\['x'\] is not finite"),
        ("ab", "must be numbers"),
    ],
)
def test_mistakes_in_fixed_effects(given, message):
    with pytest.raises(ValueError, match=message):
        fixed_vector(given, NAMES)


def test_theta_is_that_of_lme4(terms):
    found = roots(terms, theta=[1.0, 0.5, 0.25, 3.0])
    np.testing.assert_allclose(found.roots[0], 2 * np.array([[1, 0], [0.5, 0.25]]))
    np.testing.assert_allclose(found.roots[1], [[6.0]])


def test_covariances_by_factor(terms):
    cov = np.array([[4.0, 1.0], [1.0, 2.0]])
    frame = pd.DataFrame(cov, NAMES, NAMES)
    for given in (cov, cov.tolist(), frame, frame.loc[::-1, ::-1]):
        for variance in (9.0, [[9.0]], [9.0]):
            found = roots(terms, cov_re={"h": variance, "g": given})
            np.testing.assert_allclose(found.roots[0] @ found.roots[0].T, cov)
            np.testing.assert_allclose(found.roots[1], [[3.0]])
    labels = {t.label: c for t, c in zip(terms, (cov, 9.0), strict=True)}
    np.testing.assert_allclose(roots(terms, cov_re=labels).roots[1], [[3.0]])


def test_singular_covariances_are_allowed(terms):
    cov = np.ones((2, 2))
    found = roots(terms, cov_re={"g": cov, "h": 0.0})
    np.testing.assert_allclose(found.roots[0] @ found.roots[0].T, cov, atol=1e-12)
    assert not found.roots[1].any()


def test_a_single_term(terms):
    found = roots(terms[1:], cov_re=4.0)
    np.testing.assert_allclose(found.roots[0], [[2.0]])
    assert roots([]).roots == ()


def test_several_terms_of_a_factor_go_by_labels(terms):
    z = terms[0].z[:, 1]
    twice = [terms[1], mx.RandomTerm(terms[1].codes, z, group="h", names=["x"])]
    given = {twice[0].label: 4.0, twice[1].label: 9.0}
    found = roots(twice, cov_re=given)
    assert [float(r[0, 0]) for r in found.roots] == [2.0, 3.0]
    with pytest.raises(ValueError, match="'h' is no random term; there are"):
        roots(twice, cov_re={"h": 4.0})


def test_terms_without_correlations():
    g = np.repeat(np.arange(6), 4)
    z = np.random.default_rng(1).normal(size=(24, 2))
    diagonal = mx.RandomTerm(g, z, group="g", names=["a", "b"], structure="diagonal")
    common = mx.RandomTerm(g, z, group="g", names=["a", "b"], structure="identity")
    for given in ([4.0, 9.0], np.diag([4.0, 9.0])):
        found = roots([diagonal], cov_re={"g": given}).roots[0]
        np.testing.assert_allclose(found, np.diag([2.0, 3.0]))
    found = roots([common], cov_re={"g": 4.0}).roots[0]
    np.testing.assert_allclose(found @ found.T, 4 * np.eye(2))
    with pytest.raises(ValueError, match="has covariances that the term has not"):
        roots([diagonal], cov_re={"g": [[4, 1], [1, 9]]})
    with pytest.raises(ValueError, match="has covariances that the term has not"):
        roots([common], cov_re={"g": np.diag([4.0, 9.0])})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "cov_re= or theta= is needed.*'g': 2 x 2 matrix, 'h': variance"),
        ({"cov_re": {"g": np.eye(2)}}, r"says nothing of \(1 \| h\)"),
        ({"cov_re": {"g": np.eye(2), "k": 1.0}}, "'k' is no random term"),
        ({"cov_re": np.eye(2)}, "which of 2 random terms"),
        ({"cov_re": {"g": 1.0, "h": 1.0}}, r"shape \(\); its effects are 2"),
        ({"cov_re": {"g": [[1, 2], [0, 1]], "h": 1}}, "must be a symmetric matrix"),
        ({"cov_re": {"g": [[1, 2], [2, 1]], "h": 1}}, "not positive semidefinite"),
        ({"cov_re": {"g": np.eye(2), "h": -1}}, "not positive semidefinite"),
        ({"cov_re": {"g": np.eye(2), "h": "a"}}, "must be numbers"),
        ({"cov_re": {"g": np.eye(2), "h": np.nan}}, "symmetric matrix of finite"),
        ({"theta": [1, 2]}, "theta must be 4 finite numbers"),
        ({"theta": "a"}, "theta must be numbers"),
        ({"theta": [1, 0, 1, 1], "cov_re": {}}, "not both"),
        ({"theta": [1, 0, 1, 1], "sigma": None}, "sigma= is needed"),
        ({"theta": [1, 0, 1, 1], "sigma": 0}, "above zero"),
        ({"theta": [1, 0, 1, 1], "sigma": "a"}, "above zero"),
        (
            {"cov_re": {"g": pd.DataFrame(np.eye(2), ["a", "b"], ["a", "b"]), "h": 1}},
            "has the columns a, b; its effects are Intercept, x",
        ),
    ],
)
def test_mistakes(terms, given, message):
    with pytest.raises(ValueError, match=message):
        roots(terms, **given)


def test_what_is_not_given_stays(terms):
    default = roots(terms, theta=[1.0, 0.5, 0.25, 3.0])
    given = {"fe_params": None, "cov_re": None, "theta": None, "sigma": None}
    same = read_parameters(NAMES, terms, **given, default=default)
    assert same.fixed == default.fixed
    assert same.sigma == default.sigma
    assert same.roots is default.roots
    other = read_parameters(
        NAMES, terms, **(given | {"cov_re": {"h": 1.0}}), default=default
    )
    np.testing.assert_array_equal(other.roots[0], default.roots[0])
    assert other.roots[1] == 1.0
