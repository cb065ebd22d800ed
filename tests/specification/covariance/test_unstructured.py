import numpy as np

from mixedext.specification.covariance.structure import ParameterName
from mixedext.specification.covariance.unstructured import Unstructured


def test_order_of_theta_is_lme4s():
    own = Unstructured.of(3)
    lam = own.lam([1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(lam, [[1, 0, 0], [2, 4, 0], [3, 5, 6]])
    np.testing.assert_array_equal(own.by_rows, [0, 1, 3, 2, 4, 5])


def test_names():
    assert Unstructured.of(2).names(["a", "b"]) == [
        ParameterName("variance", ("a",)),
        ParameterName("covariance", ("a", "b")),
        ParameterName("variance", ("b",)),
    ]


def test_nearest_of_a_singular_covariance():
    own = Unstructured.of(2)
    b = np.array([[1.0], [-2.0]])
    np.testing.assert_allclose(own.nearest(b @ b.T), [[1, 0], [-2, 0]], atol=1e-7)
    np.testing.assert_array_equal(own.nearest(np.zeros((2, 2))), np.zeros((2, 2)))


def test_what_it_is():
    own = Unstructured.of(3)
    assert own.has_correlations
    assert own.any_basis
    assert not own.is_diagonal
    assert Unstructured.of(1).is_diagonal
    assert own.label("x", "g") == "(x | g)"
    np.testing.assert_array_equal(own.column_scale([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0])


def test_many_columns_are_counted_without_their_matrices():
    structure = Unstructured(300)
    assert structure.n_theta == structure.n_gamma == 300 * 301 // 2
    assert not {"lam_basis", "covariance_basis"} & vars(structure).keys()
    small = Unstructured(3)
    assert small.n_theta == len(small.lam_basis)
    assert small.n_gamma == len(small.covariance_basis)
