"""Sets of rows, and blocks of others beside them."""

from __future__ import annotations

import numpy as np
import pytest

from mixedext.engine.residual import row_sets
from mixedext.engine.residual.row_sets import RowSets


@pytest.mark.parametrize(("most", "some", "many"), [(2**22, 16, 2000), (60, 1, 5)])
def test_every_new_row_is_beside_its_set_once(monkeypatch, most, some, many):
    monkeypatch.setattr(row_sets, "MOST_NUMBERS", most)
    monkeypatch.setattr(row_sets, "SOME_ROWS", some)
    monkeypatch.setattr(row_sets, "MANY_ROWS", many)
    rng = np.random.default_rng(0)
    number = rng.integers(0, 5, 40)
    sets = RowSets.of(number, 6)  # the last is empty
    assert sets.size.tolist() == np.bincount(number, minlength=6).tolist()
    key = rng.integers(-1, 6, 200)
    seen = np.zeros(200, int)
    for old, new in sets.blocks(key, 3):
        np.add.at(seen, new, 1)
        width = old.shape[1]
        assert new.shape[1] <= max(width // 4 if width > many else width, some)
        for own, rows in zip(old, new, strict=True):
            assert len(set(key[rows])) == 1
            want = np.flatnonzero(number == key[rows[0]]) if key[rows[0]] >= 0 else []
            assert sorted(own) == list(want)
    assert (seen == 1).all()
    assert not list(sets.blocks(key[:0], 3))


def test_unions():
    sets = RowSets.of(np.array([0, 1, 0, 2]), 3)
    joined = sets.joined([np.array([0, 2]), np.array([1, 2])])
    ((old, new),) = joined.blocks(np.array([3]), 1)
    assert sorted(old[0]) == [0, 2, 3]
    assert new.tolist() == [[0]]
    assert joined.size.tolist() == [2, 1, 1, 3, 2]
