"""statsmodels' ModelData made cheaply: the same attributes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.base.data import ModelData, PandasData, handle_data

from mixedext.models.mixedlm.statsmodels_face.model_data import model_data

RNG = np.random.default_rng(11)
MAKERS = {
    "ones": lambda n: np.ones(n),
    "fifth": lambda n: np.full(n, 0.2),
    "zero": lambda n: np.zeros(n),
    "normal": lambda n: RNG.normal(size=n),
    "first": lambda n: (np.arange(n) % 3 == 0).astype(float),
    "second": lambda n: (np.arange(n) % 3 == 1).astype(float),
    "third": lambda n: (np.arange(n) % 3 == 2).astype(float),
    "far": lambda n: 1e9 + RNG.normal(size=n),
    "tiny": lambda n: 1e-9 * RNG.normal(size=n),
    "nearly": lambda n: 1 + 1e-9 * RNG.normal(size=n),
}


def assert_same(got, want):
    assert type(want) in (ModelData, PandasData)
    assert isinstance(got, type(want))
    assert (got.k_constant, got.const_idx) == (want.k_constant, want.const_idx)
    assert type(got.k_constant) is type(want.k_constant)
    assert got.xnames == want.xnames
    assert got.ynames == want.ynames
    assert got.param_names == want.param_names
    assert got.orig_endog is want.orig_endog
    assert got.orig_exog is want.orig_exog
    for name in ("endog", "exog"):
        value, other = getattr(got, name), getattr(want, name)
        if other is None:
            assert value is None
        else:
            assert value.dtype == other.dtype
            np.testing.assert_array_equal(value, other)
    if isinstance(want, PandasData):
        pd.testing.assert_index_equal(got.row_labels, want.row_labels)
    else:
        assert got.row_labels is None
    extra = set(got.__dict__) ^ set(want.__dict__)
    assert not extra - {"_extremes"}


@given(
    names=st.lists(st.sampled_from(sorted(MAKERS)), min_size=1, max_size=5),
    n=st.sampled_from([1, 2, 7, 501, 700]),
    kind=st.sampled_from(["array", "fortran", "int", "frame", "endog only"]),
    hasconst=st.sampled_from([None, True, False]),
)
@settings(max_examples=400, deadline=None)
def test_equals_statsmodels(names, n, kind, hasconst):
    exog = np.column_stack([MAKERS[name](n) for name in names])
    endog = RNG.normal(size=n)
    if kind == "fortran":
        exog = np.asfortranarray(exog)
    elif kind == "int":
        exog = exog.astype(int)
    elif kind == "frame":
        endog = pd.Series(endog, name="response", index=np.arange(n) + 5)
        exog = pd.DataFrame(exog, columns=list("abcde")[: len(names)], index=endog.index)
    elif kind == "endog only":
        exog = None
    want = handle_data(endog, exog, "none", hasconst)
    assert_same(model_data(endog, exog, hasconst), want)


def test_lists_and_one_column():
    for endog, exog in (([1.0, 2.0, 4.0], [[1.0], [2.0], [3.0]]), ([1.0, 2.0], None)):
        want = handle_data(endog, exog, "none", None)
        got = model_data(endog, exog)
        assert (got.xnames, got.k_constant) == (want.xnames, want.k_constant)


def test_indices_that_do_not_agree_are_refused():
    endog = pd.Series([1.0, 2.0, 3.0])
    exog = pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=[3, 4, 5])
    with pytest.raises(ValueError, match="not aligned"):
        model_data(endog, exog)


def test_a_constant_hidden_in_many_rows():
    n = 20_000
    dummies = np.eye(4)[np.arange(n) % 4]
    x = RNG.normal(size=(n, 1))
    for exog, spans in (
        (np.hstack([dummies, x]), 1),
        (np.hstack([x, dummies @ RNG.normal(size=(4, 4))]), 1),
        (np.hstack([x, dummies[:, 1:]]), 0),
        (np.hstack([x, 1 + 1e-7 * x]), 1),
        (np.hstack([x, dummies[:, 1:], 1e-12 * dummies[:, :1]]), None),
    ):
        got = model_data(np.zeros(n), exog)
        want = handle_data(np.zeros(n), exog, "none", None)
        assert got.k_constant == want.k_constant
        assert spans is None or got.k_constant == spans
