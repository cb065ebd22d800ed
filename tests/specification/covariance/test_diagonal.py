import numpy as np

from mixedext.specification.covariance.diagonal import Diagonal
from mixedext.specification.covariance.structure import ParameterName


def test_names_and_label():
    own = Diagonal.of(2)
    assert own.names(["a", "b"]) == [
        ParameterName("variance", ("a",)),
        ParameterName("variance", ("b",)),
    ]
    assert own.label("a + b", "g") == "(a + b || g)"
    assert Diagonal.of(1).label("a", "g") == "(a | g)"


def test_nearest_leaves_out_correlations_and_negative_variances():
    lam = Diagonal.of(2).nearest(np.array([[4.0, 1.0], [1.0, -1.0]]))
    np.testing.assert_array_equal(lam, np.diag([2.0, 0.0]))


def test_what_it_is():
    own = Diagonal.of(3)
    assert own.is_diagonal
    assert not own.has_correlations
    assert not own.shares_one_variance
    rows = own.report(np.diag([1.0, 4.0, 9.0]), ["a", "b", "c"])
    assert rows == [("a", 1.0, 1.0, ()), ("b", 4.0, 2.0, ()), ("c", 9.0, 3.0, ())]
    np.testing.assert_array_equal(own.column_scale([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0])


def test_the_least_of_its_deviations_goes_with_its_equals():
    own = Diagonal.of(3)
    lam = np.diag([0.2, -0.1, 0.1])
    np.testing.assert_array_equal(own.nearest_singular(lam), np.diag([0.2, 0.0, 0.0]))
