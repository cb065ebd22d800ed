from types import SimpleNamespace

import numpy as np
import pytest

import mixedext as mx
from mixedext.specification.covariance.structure import ParameterName, Structure
from mixedext.specification.terms.parameter_names import (
    as_variance,
    column_label,
    covariance_names,
    effect_names,
    is_deviation,
    packed_covariances,
    packed_effects,
    packed_variance,
    parameter_names,
    split_column_label,
    theta_names,
    unique_names,
)


def term(structure, names, group="g"):
    z = np.random.default_rng(1).normal(size=(6, len(names)))
    return mx.RandomTerm(np.arange(6) // 2, z, group, names, structure)


def test_triangle_by_columns_then_sigma_then_fixed_effects():
    terms = [term("unstructured", ["a", "b", "c"]), term("diagonal", ["d", "e"], "h")]
    assert parameter_names(terms, ["Intercept", "x"]) == [
        "sd a|g",
        "cor a.b|g",
        "cor a.c|g",
        "sd b|g",
        "cor b.c|g",
        "sd c|g",
        "sd d|h",
        "sd e|h",
        "sigma",
        "Intercept",
        "x",
    ]


@pytest.mark.parametrize("structure", ["unstructured", "diagonal"])
def test_order_is_that_of_covariances(structure):
    one = term(structure, ["a", "b", "c"])
    covariance = np.diag([1.0, 2.0, 3.0])
    if structure == "unstructured":
        covariance += np.array([[0, 0.1, 0.2], [0.1, 0, 0.3], [0.2, 0.3, 0]])
    of_name = {
        f"{'sd' if i == j else 'cor'} {'.'.join(sorted({a, b}))}|g": covariance[i, j]
        for i, a in enumerate("abc")
        for j, b in enumerate("abc")
    }
    want = [of_name[name] for name in covariance_names([one])[:-1]]
    np.testing.assert_allclose(one.structure.gamma(covariance), want)


def test_a_variance_common_to_many_columns_has_the_name_of_the_group():
    assert covariance_names([term("identity", ["a", "b"])]) == ["sd g", "sigma"]
    assert covariance_names([term("identity", ["a"])]) == ["sd a|g", "sigma"]


def test_no_two_names_are_equal():
    terms = [term("unstructured", ["a"]), term("unstructured", ["a"])]
    assert parameter_names(terms, ["sigma"]) == ["sd a|g", "sd a|g.2", "sigma", "sigma.2"]
    assert unique_names(["a", "a", "a.2"], ["a"]) == ["a.2", "a.3", "a.2.2"]


def test_names_of_variances():
    names = ["sd a|g", "cor a.b|g", "sigma"]
    assert [as_variance(n) for n in names] == ["var a|g", "cov a.b|g", "residual"]


def test_deviations():
    names = ["sd a|g", "cor a.b|g", "rho g", "sd g", "sigma"]
    assert [is_deviation(n) for n in names] == [True, False, False, True, True]


def test_names_of_theta():
    terms = [term("unstructured", ["a", "b", "c"]), term("diagonal", ["d", "e"], "h")]
    assert theta_names(terms) == [
        *("g.a", "g.b.a", "g.c.a", "g.b", "g.c.b", "g.c"),
        *("h.d", "h.e"),
    ]
    assert theta_names([term("identity", ["a", "b"])]) == ["g.a+b"]
    assert theta_names([term("identity", ["a"])]) == ["g.a"]


def test_names_of_effects():
    assert effect_names(term("unstructured", ["a", "b"])) == ["a", "b"]
    assert effect_names(term("diagonal", ["a", "b"])) == ["a", "b"]
    assert effect_names(term("identity", ["a", "b"])) == [""]


class Autoregression(Structure):
    """Names of a structure whose parameters are not elements of the covariance."""

    def names(self, columns):
        return [ParameterName("variance"), ParameterName("rho")]


Autoregression.__abstractmethods__ = frozenset()


def test_parameters_that_are_no_elements_of_a_covariance():
    own = SimpleNamespace(group="g", names=["a", "b"], structure=Autoregression(2))
    assert covariance_names([own]) == ["sd g", "rho g", "sigma"]
    assert effect_names(own) == [""]
    assert [as_variance(n) for n in covariance_names([own])] == [
        "var g",
        "rho g",
        "residual",
    ]


def test_packed_names_are_statsmodels():
    names = packed_effects("Group", ["Intercept", "x1"], False)
    assert names == ["Group", "x1"]
    assert packed_covariances(names) == ["Group Var", "Group x x1 Cov", "x1 Var"]
    assert packed_effects("g", ["Intercept", "x"], True) == ["g", "g.x"]
    assert packed_variance("g.x") == "g.x Var"


def test_labels_of_parts():
    label = column_label("x", "(x + z in w | g)")
    assert label == "x in (x + z in w | g)"
    assert split_column_label(column_label("x", "(x | g)")) == ("x", "(x | g)")
    assert split_column_label("(1 | g)") == ("", "(1 | g)")
