"""Packed parameters: to covariances and back, roots, Jacobians; every layout."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.regression.mixed_linear_model import MixedLMParams

import mixedext as mx
from mixedext.specification.terms.packing import ParameterLayout

N = 24
CODES = np.arange(N) % 4


def term(k, structure="unstructured", group="g"):
    rng = np.random.default_rng(k)
    return mx.RandomTerm(CODES, rng.normal(size=(N, k)), group, structure=structure)


LAYOUTS = {
    "one": ([term(3)], None, ()),
    # of four columns the orders by rows and by columns are not each other's inverse
    "four columns": ([term(4), term(1, group="a")], None, ()),
    "groups with components": ([term(2), term(2, "identity", "a"), term(1)], 0, (1, 2)),
    "several correlated": ([term(2, group="a"), term(1, group="b"), term(3)], None, ()),
    "no cov_re": ([term(1, group="a"), term(1, group="b")], None, ()),
    "diagonal": ([term(3, "diagonal"), term(2, group="h")], None, ()),
    "component first": ([term(2, "identity", "a"), term(2)], 1, (0,)),
}


def layout_of(name):
    terms, main, components = LAYOUTS[name]
    return terms, ParameterLayout.of(terms, main, components)


def covariances_of(terms, seed):
    rng = np.random.default_rng(seed)
    out = []
    for t in terms:
        root = rng.normal(size=(t.k, t.k))
        gamma = t.structure.gamma(root @ root.T)
        out.append(np.einsum("r,rab->ab", gamma, t.structure.covariance_basis))
    return out


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(LAYOUTS)), seed=st.integers(0, 2**32 - 1))
def test_round_trips(name, seed):
    terms, layout = layout_of(name)
    covariances = covariances_of(terms, seed)
    packed = layout.pack(terms, covariances)
    for own, back in zip(covariances, layout.unpack(terms, packed), strict=True):
        np.testing.assert_allclose(back, own, rtol=1e-14)
    cov_re, vcomp = layout.unpack_parts(terms, packed)
    np.testing.assert_allclose(cov_re, layout.cov_re(covariances), rtol=1e-14)
    np.testing.assert_allclose(vcomp, layout.vcomp(terms, covariances), rtol=1e-14)
    np.testing.assert_array_equal(layout.pack_parts(terms, cov_re, vcomp), packed)
    root = layout.square_root(terms, packed)
    np.testing.assert_allclose(layout.square(terms, root), packed, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["one", "groups with components", "no cov_re"])
def test_as_statsmodels_packs(name):
    terms, layout = layout_of(name)
    packed = layout.pack(terms, covariances_of(terms, 1))
    theirs = MixedLMParams.from_components(
        np.zeros(0),
        *layout.unpack_parts(terms, packed)[:1],
        None,
        packed[layout.n_covariances :],
    )
    np.testing.assert_allclose(theirs.get_packed(use_sqrt=False), packed, rtol=1e-15)
    np.testing.assert_allclose(
        theirs.get_packed(use_sqrt=True), layout.square_root(terms, packed), rtol=1e-12
    )


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(LAYOUTS)), seed=st.integers(0, 2**32 - 1))
def test_derivatives_of_squares(name, seed):
    terms, layout = layout_of(name)
    rng = np.random.default_rng(seed)
    root, score = rng.normal(size=(2, layout.n_packed))
    # squares are quadratic in the roots: central differences are exact
    step = 0.5 * np.eye(layout.n_packed)
    jacobian = [
        layout.square(terms, root + e) - layout.square(terms, root - e) for e in step
    ]
    np.testing.assert_allclose(
        layout.square_jacobian(terms, root), np.array(jacobian).T, atol=1e-12
    )
    bend = [
        score
        @ (
            layout.square_jacobian(terms, root + e)
            - layout.square_jacobian(terms, root - e)
        )
        for e in step
    ]
    np.testing.assert_allclose(layout.square_bend(terms, score), bend, atol=1e-12)


def test_root_of_singular_covariances():
    terms, layout = layout_of("one")
    vector = np.array([1.0, -2.0, 0.5])
    for covariance in (np.outer(vector, vector), np.zeros((3, 3))):
        packed = layout.pack(terms, [covariance])
        root = layout.square_root(terms, packed)
        np.testing.assert_allclose(layout.square(terms, root), packed, atol=1e-14)


@pytest.mark.parametrize("outside", [[0], [2], [0, 2], []])
def test_nearest_of_each_block(outside):
    """Blocks of cov_re by themselves, and whether any of them was changed."""
    terms, layout = layout_of("several correlated")
    covariances = covariances_of(terms, 3)
    want = list(covariances)
    for i in outside:
        value, vector = np.linalg.eigh(covariances[i])
        covariances[i] = (vector * np.r_[-0.1, value[1:]]) @ vector.T
        want[i] = (vector * np.r_[0.0, value[1:]]) @ vector.T
    found, unchanged = layout.nearest(terms, layout.pack(terms, covariances))
    assert unchanged == (not outside)
    np.testing.assert_allclose(found, layout.pack(terms, want), rtol=1e-12, atol=1e-13)
    negative = [covariances[0], -covariances[1], covariances[2]]
    found, unchanged = layout.nearest(terms, layout.pack(terms, negative))
    assert not unchanged
    want[1] = np.zeros((1, 1))
    np.testing.assert_allclose(found, layout.pack(terms, want), rtol=1e-12, atol=1e-13)


def test_inverse_of_cov_re():
    """Also of close effects in unlike units; of a singular one along what varies."""
    terms, layout = layout_of("several correlated")
    size = np.array([1e-4, 1e4])
    close = np.array([[1.0, 1 - 1e-6], [1 - 1e-6, 1.0]])
    covariances = covariances_of(terms, 3)
    covariances[0] = close * np.outer(size, size)
    packed = layout.pack(terms, covariances)
    cov_re, inverse = layout.cov_re_and_inverse(terms, packed)
    np.testing.assert_array_equal(cov_re, layout.cov_re(covariances))
    own = np.array([[1.0, 1e-6 - 1], [1e-6 - 1, 1.0]]) / (2e-6 - 1e-12)
    np.testing.assert_allclose(inverse[:2, :2], own / np.outer(size, size), rtol=1e-9)
    np.testing.assert_allclose(inverse[2:, 2:], np.linalg.inv(covariances[2]), rtol=1e-9)
    covariances[0] = np.ones((2, 2))
    _, inverse = layout.cov_re_and_inverse(terms, layout.pack(terms, covariances))
    np.testing.assert_allclose(inverse[:2, :2], np.full((2, 2), 0.25), rtol=1e-9)


def test_errors_name_what_is_wrong():
    terms, layout = layout_of("several correlated")
    with pytest.raises(ValueError, match=r"cov_re must have shape \(5, 5\)"):
        layout.pack_parts(terms, np.eye(2), [1.0])
    with pytest.raises(ValueError, match=r"vcomp must have shape \(1,\)"):
        layout.pack_parts(terms, np.eye(5), [])
    whole = np.eye(5)
    whole[0, 4] = whole[4, 0] = 0.1
    with pytest.raises(ValueError, match="the model has as independent"):
        layout.pack_parts(terms, whole, [1.0])
    with pytest.raises(ValueError, match="10 packed variance parameters are needed"):
        layout.unpack(terms, np.ones(3))
    terms, layout = layout_of("one")
    with pytest.raises(ValueError, match="not positive semidefinite"):
        layout.square_root(terms, layout.pack(terms, [np.diag([1.0, -1.0, 1.0])]))
