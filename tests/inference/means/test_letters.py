"""Letters of a compact display."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixedext.inference.means.letters import insert_and_absorb, letter_texts


def pairs_of(count, pairs):
    differs = np.zeros((count, count), bool)
    for i, j in pairs:
        differs[i, j] = differs[j, i] = True
    return differs


def maximal_sets(differs):
    """All largest sets of which no two differ, by trying every subset."""
    count = len(differs)
    sets = [
        set(own)
        for size in range(1, count + 1)
        for own in combinations(range(count), size)
        if not differs[np.ix_(own, own)].any()
    ]
    return sorted(sorted(s) for s in sets if not any(s < other for other in sets))


@given(st.data(), st.integers(1, 8))
def test_columns_are_the_largest_sets(data, count):
    every = list(combinations(range(count), 2))
    chosen = data.draw(st.sets(st.sampled_from(every)) if every else st.just(set()))
    differs = pairs_of(count, chosen)
    columns = insert_and_absorb(differs)
    assert [list(np.flatnonzero(c)) for c in columns.T] == maximal_sets(differs)
    # two share a letter if and only if they do not differ
    shared = (columns[:, None, :] & columns[None, :, :]).any(axis=2)
    np.testing.assert_array_equal(shared, ~differs)


def test_example_of_piepho():
    """Means in order of which those two or more apart differ: ab, bc, ..."""
    count = 5
    pairs = [(i, j) for i, j in combinations(range(count), 2) if j - i > 1]
    texts = letter_texts(insert_and_absorb(pairs_of(count, pairs)))
    assert texts == ["a", "ab", "bc", "cd", "d"]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_nothing_differs(count):
    columns = insert_and_absorb(np.zeros((count, count), bool))
    assert letter_texts(columns) == ["a"] * count


def test_many_letters():
    count = 120
    texts = letter_texts(insert_and_absorb(~np.eye(count, dtype=bool)))
    assert len(set(texts)) == count
    assert texts[25:28] == ["z", "A", "B"]
    assert texts[51:54] == ["Z", "a1", "b1"]


def test_many_means_in_order():
    """Differences of a threshold: no more letters than means."""
    size = np.sort(np.random.default_rng(1).normal(size=300))
    differs = np.abs(size[:, None] - size) > 0.5
    columns = insert_and_absorb(differs)
    assert columns.shape[1] <= 300
    shared = columns.astype(int) @ columns.T.astype(int) > 0
    np.testing.assert_array_equal(shared, ~differs)
