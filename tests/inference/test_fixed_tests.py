"""Names of methods, and tests that all of them share."""

from __future__ import annotations

import numpy as np
import pytest

import mixedext as mx
from mixedext.inference.fixed_tests import (
    ALIASES,
    DF_METHODS,
    FixedTests,
    df_method_name,
    fixed_tests,
)


@pytest.fixture(scope="module")
def fit():
    data = mx.datasets.sleepstudy.load().data
    return mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit().engine_fit


@pytest.mark.parametrize("name", list(DF_METHODS))
def test_every_method_is_there(fit, name):
    tests = fixed_tests(fit, name)
    assert isinstance(tests, FixedTests)
    assert df_method_name(name) == name
    assert tests.df(np.eye(2)).shape == (2,)
    assert tests.covariance.shape == (2, 2)
    assert tests.f_test([[0, 1]]).df_denom == tests.df([[0, 1]])[0]


def test_every_alias_stands_for_a_method():
    assert set(ALIASES.values()) <= set(DF_METHODS)
    assert df_method_name("KR") == df_method_name("Kenward_Roger") == "kenward-roger"
    assert df_method_name("satt") == df_method_name("Satterthwaite") == "satterthwaite"
    assert df_method_name("between within") == df_method_name("bw") == "between-within"


def test_unknown_methods_are_named():
    with pytest.raises(ValueError, match=r"df_method='exact' is not known.*kenward-roger"):
        df_method_name("exact")
