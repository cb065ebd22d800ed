import numpy as np

from mixedext.specification.covariance.identity import IdentityMultiple
from mixedext.specification.covariance.structure import ParameterName


def test_names():
    assert IdentityMultiple.of(2).names(["a", "b"]) == [ParameterName("variance", ())]
    assert IdentityMultiple.of(1).names(["a"]) == [ParameterName("variance", ("a",))]


def test_nearest_has_the_mean_of_the_variances():
    lam = IdentityMultiple.of(2).nearest(np.array([[4.0, 1.0], [1.0, 14.0]]))
    np.testing.assert_array_equal(lam, 3.0 * np.eye(2))
    np.testing.assert_array_equal(IdentityMultiple.of(2).nearest(-np.eye(2)), 0.0)


def test_what_it_is():
    own = IdentityMultiple.of(2)
    assert own.shares_one_variance
    assert own.is_diagonal
    assert not own.any_basis
    assert own.pairs == ((0, 0),)
    np.testing.assert_allclose(own.column_scale([1.0, 7.0]), [5.0, 5.0])
    rows = own.report(4.0 * np.eye(2), ["a", "b"])
    assert rows == [("a", 4.0, 2.0, ()), ("b", 4.0, 2.0, ())]
