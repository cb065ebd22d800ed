"""SparseTerm: what it takes, what it refuses, and that it does not change."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import mixedext as mx
from mixedext.specification.covariance.registry import structure
from mixedext.specification.terms.random_terms import check_group_names, check_terms
from mixedext.specification.terms.sparse_terms import SparseTerm

Z = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    "matrix",
    [
        Z,
        Z.tolist(),
        np.asfortranarray(Z),
        sparse.csr_array(Z),
        sparse.csr_matrix(Z),
        sparse.csc_array(Z),
        sparse.coo_matrix(Z),
        sparse.lil_array(Z),
        pd.DataFrame(Z),
        pd.DataFrame(Z).astype(object),
        pd.DataFrame(Z).astype(pd.SparseDtype(float, 0.0)),
    ],
    ids=lambda m: type(m).__name__,
)
def test_matrices_of_any_kind(matrix):
    term = SparseTerm(matrix, group="school")
    assert isinstance(term.matrix, sparse.csr_array)
    assert term.matrix.dtype == np.float64
    np.testing.assert_array_equal(term.matrix.toarray(), Z)
    assert (term.k, term.n_levels, term.n_rows) == (1, 3, 4)
    assert term.names == ["Intercept"]
    assert term.structure == structure("identity", 1)
    assert list(term.levels) == [0, 1, 2]
    assert term.label == "SparseTerm('school')"
    assert "3 levels, 4 rows" in repr(term)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.float32])
def test_numbers_of_any_kind(dtype):
    indicators = (Z > 0.4).astype(dtype)
    for matrix in (indicators, sparse.csr_array(indicators), pd.DataFrame(indicators)):
        np.testing.assert_array_equal(SparseTerm(matrix).matrix.toarray(), indicators)


def test_duplicate_entries_are_added():
    z = sparse.coo_array(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    np.testing.assert_array_equal(SparseTerm(z).matrix.toarray(), [[0, 3], [4, 0]])


def test_names_of_levels():
    assert list(SparseTerm(pd.DataFrame(Z, columns=list("abc"))).levels) == list("abc")
    assert list(SparseTerm(Z, levels=list("xyz")).levels) == list("xyz")
    with pytest.raises(ValueError, match="levels of the random term 's' has 2 entries"):
        SparseTerm(Z, "s", levels=["a", "b"])
    with pytest.raises(ValueError, match="levels of the random term 's' holds 'a' twice"):
        SparseTerm(Z, "s", levels=["a", "b", "a"])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((4, 0)), r"shape \(4, 0\)"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        ([["a", "b"]], "not numeric"),
        (np.ones((2, 2)) * 1j, "complex"),
        (sparse.csr_array(np.ones((2, 2)) * 1j), "complex"),
        (pd.DataFrame({"a": ["x", "y"]}), "not numeric"),
    ],
)
def test_refuses_what_is_no_matrix(matrix, message):
    with pytest.raises(ValueError, match=f"matrix of the random term 'school' .*{message}"):
        SparseTerm(matrix, group="school")


def test_does_not_change():
    term = SparseTerm(Z)
    with pytest.raises(FrozenInstanceError, match="group"):
        term.group = "other"
    with pytest.raises(FrozenInstanceError, match="matrix"):
        del term.matrix
    for other in (pickle.loads(pickle.dumps(term)), copy.deepcopy(term)):
        np.testing.assert_array_equal(other.matrix.toarray(), Z)
        assert other.names == term.names


def test_rows():
    term = SparseTerm(Z, levels=list("abc"))
    keep = np.array([True, False, True, False])
    for rows in (keep, np.flatnonzero(keep)):
        some = term.take(rows)
        np.testing.assert_array_equal(some.matrix.toarray(), Z[keep])
        assert list(some.levels) == list("abc")
    assert term.without_rows().n_rows == 0
    assert term.without_rows().n_levels == 3
    np.testing.assert_allclose(term.row_lengths, np.linalg.norm(Z, axis=1))


def test_missing_values():
    z = Z.copy()
    assert not SparseTerm(z).any_missing()
    z[2, 0] = z[0, 1] = np.nan
    term = SparseTerm(z)
    assert term.any_missing()
    np.testing.assert_array_equal(term.missing(), [True, False, True, False])
    z[2, 0] = z[0, 1] = np.inf
    with pytest.raises(mx.DesignError, match="infinite"):
        check_terms([SparseTerm(z)], 4)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_contribution(shape):
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(3, 1, *shape))
    np.testing.assert_allclose(SparseTerm(Z).contribution(effects), Z @ effects[:, 0])
    codes, z = rng.integers(0, 3, 20), rng.normal(size=(20, 2))
    z[:, 0] = 1.0
    term = mx.RandomTerm(codes, z)
    effects = rng.normal(size=(3, 2, *shape))
    expected = np.einsum("nk,nk...->n...", z, effects[codes])
    np.testing.assert_allclose(term.contribution(effects), expected)


def test_designs_that_are_refused():
    with pytest.raises(mx.DesignError, match="is zero"):
        check_terms([SparseTerm(np.zeros((4, 2)))], 4)
    with pytest.raises(mx.DesignError, match="has 1 column"):
        check_terms([SparseTerm(Z[:, :1])], 4)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    for matrix in (np.eye(6), 3 * rotation, np.eye(6, 9)):
        with pytest.raises(mx.DesignError, match="cannot be told from the residual"):
            check_terms([SparseTerm(matrix)], 6)
    check_terms([SparseTerm(np.diag(np.arange(1.0, 7)))], 6)


def test_a_column_of_zeros_changes_nothing():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 5))
    y = z @ rng.normal(size=5) + rng.normal(size=40)
    wider = np.column_stack([z, np.zeros(40)])
    one, two = (
        mx.MixedLM(y, np.ones((40, 1)), terms=[SparseTerm(m, "z")]).fit()
        for m in (z, wider)
    )
    np.testing.assert_allclose(one.llf, two.llf, rtol=1e-12)
    assert two.ranef("z").iloc[5, 0] == 0.0
    variance = two.ranef_cov("z").iloc[5, 0]  # as before the data
    np.testing.assert_allclose(variance, two.vcomp[0], rtol=1e-12)


def test_arguments_of_the_model():
    y, x = np.arange(4.0), np.ones((4, 1))
    with pytest.raises(ValueError, match=r"SparseTerm\('school'\) has 3 rows, endog has 4"):
        mx.MixedLM(y, x, terms=SparseTerm(Z[:3], "school"))
    with pytest.raises(ValueError, match="both named 'school'"):
        check_group_names([SparseTerm(Z, "school"), SparseTerm(Z, "school")])
    with pytest.raises(ValueError, match="both named 'school'"):
        check_group_names(
            [mx.RandomTerm([0, 0, 1, 1], group="school"), SparseTerm(Z, "school")]
        )
