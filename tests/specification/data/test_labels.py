"""Labels to codes, and columns kept as they are given."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixedext.specification.data.extremes import all_finite, column_extremes
from mixedext.specification.data.labels import factorize, interact, recode, used_levels
from mixedext.specification.formula.arrays import array_frame
from mixedext.specification.terms.random_terms import RandomTerm

RNG = np.random.default_rng(3)
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@given(st.data(), st.sampled_from(INTEGERS))
@settings(max_examples=200, deadline=None)
def test_integers(data, dtype):
    info = np.iinfo(dtype)
    values = st.integers(int(info.min), int(info.max))
    near = st.integers(int(info.min), int(info.min) + 100) | st.integers(
        int(info.max) - 100, int(info.max)
    )
    few = st.integers(0, 20)
    labels = data.draw(
        st.lists(values) | st.lists(few) | st.lists(near) | st.lists(st.just(info.max))
    )
    array = np.array(labels, dtype)
    for given_labels in (
        array,
        pd.Series(array),
        pd.Index(array),
        np.repeat(array, 2)[::2],
    ):
        codes, levels = factorize(given_labels)
        assert codes.dtype == np.int32
        assert codes.flags.c_contiguous
        assert isinstance(levels, pd.Index)
        assert levels.dtype == array.dtype or len(array) == 0
        assert list(levels) == sorted(set(labels))
        np.testing.assert_array_equal(levels.to_numpy()[codes], array)


def test_integers_of_a_wide_range():
    labels = RNG.integers(0, 2**60, 1000)[RNG.integers(0, 50, 5000)]
    codes, levels = factorize(labels)
    want, index = np.unique(labels, return_inverse=True)
    np.testing.assert_array_equal(levels, want)
    np.testing.assert_array_equal(codes, index)


@pytest.mark.parametrize("dtype", ["str", object, "category", "string[python]"])
def test_text(dtype):
    labels = pd.Series(["b", "ä", None, "", "b", "a"], dtype=dtype)
    codes, levels = factorize(labels)
    assert list(levels) == ["", "a", "b", "ä"]
    assert [levels[c] if c >= 0 else None for c in codes] == ["b", "ä", None, "", "b", "a"]
    assert codes.dtype == np.int32


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_many_python_strings(missing):
    """By pyarrow, as by pandas."""
    few = np.array(["b", "ä", "", "a\0", "a", "Z", "\U0001f600", "\uffff", missing], object)
    labels = few[RNG.integers(0, len(few), 20_000)]
    want, levels = pd.factorize(labels, sort=True)
    for values in (labels, pd.Series(labels, dtype=object), labels[:9000].copy()):
        codes, got = factorize(values)
        assert list(got) == list(levels)
        assert got.dtype == pd.Index(pd.factorize(values)[1]).dtype
        assert all(type(v) is str for v in got)
        np.testing.assert_array_equal(codes, want[: len(values)])
    labels[5] = "\ud800"  # no UTF-8 has it
    assert "\ud800" in list(factorize(pd.Series(labels, dtype=object))[1])
    labels[5] = 3
    assert 3 in list(factorize(labels)[1])


def test_read_only_and_boxed_labels():
    labels = np.array([3, 1, 3])
    labels.flags.writeable = False
    assert list(factorize(labels)[0]) == [1, 0, 1]
    assert list(factorize(pd.array([3, None, 1], dtype="Int64"))[0]) == [1, -1, 0]
    assert list(factorize([2.5, np.nan, 0.5])[0]) == [1, -1, 0]
    assert list(factorize(pd.Series([("b", 1), ("a", 2)]))[1]) == [("a", 2), ("b", 1)]
    swapped = np.array([3, 1, 3], ">i4")
    assert list(factorize(swapped)[0]) == [1, 0, 1]
    assert list(factorize([True, False, True])[0]) == [1, 0, 1]


@given(
    st.lists(st.integers(-1, 4), max_size=40),
    st.sampled_from([np.int8, np.int16, np.int32, np.int64]),
)
def test_used_levels(codes, dtype):
    levels = pd.Index(list("pqrst"))
    got, kept = used_levels(np.array(codes, dtype), levels)
    assert set(kept) == {levels[c] for c in codes if c >= 0}
    assert [kept[c] if c >= 0 else None for c in got] == [
        levels[c] if c >= 0 else None for c in codes
    ]
    assert got.dtype == np.int32


def test_recode():
    rank = np.array([4, 2], np.int32)
    assert list(recode(np.array([1, -1, 0, 1]), rank)) == [2, -1, 4, 2]


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 500_000)), min_size=1))
@settings(max_examples=100, deadline=None)
def test_interactions(rows):
    """By a table, and where the product of the numbers of levels is large, hashed."""
    a, b = (np.array(c, np.int32) for c in zip(*rows, strict=True))
    for count in (500_001, None):
        if count is None:
            b = np.where(b < 0, -1, b % 5).astype(np.int32)
            count = 5
        codes, levels = interact((a, pd.Index(list("wxyz"))), (b, pd.RangeIndex(count)))
        pairs = sorted({(p, q) for p, q in zip(a, b, strict=True) if p >= 0 and q >= 0})
        assert len(levels) == len(pairs)
        assert list(levels) == [f"{'wxyz'[p]}:{q}" for p, q in pairs]
        want = [
            pairs.index((p, q)) if p >= 0 and q >= 0 else -1
            for p, q in zip(a, b, strict=True)
        ]
        assert list(codes) == want
        assert codes.dtype == np.int32


def test_levels_of_an_interaction_are_written_when_looked_at():
    first = factorize(RNG.integers(0, 5, 60))
    term = RandomTerm(*_swap(interact(first, factorize(RNG.integers(0, 4, 60)))))
    assert term._levels._index is None
    part = term.take(np.arange(60) < 7)
    again = pickle.loads(pickle.dumps(part.without_rows()))
    assert part._levels._index is None
    assert again._levels._index is None
    assert part.n_levels == again.n_levels == len(np.unique(term.codes[:7]))
    assert isinstance(term.levels, pd.Index)
    want = [term.levels[c] for c in term.codes[:7]]
    assert [part.levels[c] for c in part.codes] == want
    assert list(again.levels) == list(part.levels)
    assert len(set(part.levels)) == part.n_levels


def _swap(factor):
    codes, levels = factor
    return codes, None, "a:b", None, "unstructured", levels


# ---- columns ----


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int8, bool])
@pytest.mark.parametrize("n", [1, 7, 70_000])
def test_extremes(dtype, n):
    table = (100 * RNG.normal(size=(n, 11))).astype(dtype)
    layouts = [
        table,
        np.asfortranarray(table),
        table[:, 2:5],
        table[::-1, ::2],
        table[:, 0],
    ]
    for values in layouts:
        values.flags.writeable = False
        low, high = column_extremes(values)
        np.testing.assert_array_equal(low, values.min(axis=0).reshape(-1))
        np.testing.assert_array_equal(high, values.max(axis=0).reshape(-1))
        assert all_finite(values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 35_000, 69_999])
def test_extremes_show_what_is_not_finite(value, row):
    for order in "CF":
        table = np.array(RNG.normal(size=(70_000, 10)), order=order)
        table[row, 9] = value
        low, high = column_extremes(table)
        assert np.isfinite(low[:9]).all()
        assert np.isfinite(high[:9]).all()
        assert not (np.isfinite(low[9]) and np.isfinite(high[9]))
        assert not all_finite(table)
        assert not all_finite(table[:, 9])


def test_columns_are_those_given():
    table = np.column_stack([np.ones(6), np.arange(6.0), np.arange(6.0) ** 2])
    term = RandomTerm([0, 0, 1, 1, 2, 2], table)
    ones, first, second = term.columns
    assert ones is None
    assert term.names == ["Intercept", "z2", "z3"]
    assert np.shares_memory(first, table)
    assert np.shares_memory(second, table)
    assert term.z is table
    single = np.arange(6, dtype=np.float32)
    term = RandomTerm([0, 0, 1, 1, 2, 2], single)
    assert np.shares_memory(term.columns[0], single)
    np.testing.assert_array_equal(term.z, single[:, None])
    assert term.z.dtype == np.float64
    assert term.z is term.z
    assert RandomTerm([0, 0, 1]).columns == (None,)
    again = pickle.loads(pickle.dumps(term))
    np.testing.assert_array_equal(again.z, term.z)
    assert again.names == term.names
    assert again.structure == term.structure


def test_a_term_does_not_change():
    term = RandomTerm([0, 0, 1])
    with pytest.raises(AttributeError, match="cannot assign to 'group'"):
        term.group = "other"
    with pytest.raises(AttributeError, match="cannot delete"):
        del term.codes


def test_missing_rows_of_a_term():
    term = RandomTerm(
        ["a", None, "b", "b"], np.array([[1.0, 2], [1, 3], [np.nan, 1], [1, 1]])
    )
    assert term.any_missing()
    assert list(term.missing()) == [False, True, True, False]
    part = term.take(~term.missing())
    assert not part.any_missing()
    assert list(part.levels) == ["a", "b"]
    assert list(part.z[:, 1]) == [2, 1]


def test_arrays_are_not_copied():
    n = 200_000
    exog = RNG.normal(size=(n, 4))
    endog, groups = RNG.normal(size=n), RNG.integers(0, n // 10, n).astype(np.int32)
    tracemalloc.start()
    frame = array_frame(endog, exog, terms=[RandomTerm(groups, exog[:, :2])])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frame.exog is exog
    assert frame.endog is endog
    assert peak < 4 * n + 2 * n  # the codes, and tables as long as the levels
