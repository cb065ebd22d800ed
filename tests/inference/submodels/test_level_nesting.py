"""Levels within levels, of factors and of terms given as sparse matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import mixedext as mx
from mixedext.inference.submodels.level_nesting import is_nested, nonzeros, term_is_nested

OUTER = np.array([0, 0, 1, 1, 2, 0])
INNER = np.array([4, 4, 1, 0, 3, 2])


def test_codes():
    assert is_nested(INNER, OUTER)
    assert not is_nested(OUTER, INNER)
    assert is_nested(OUTER, OUTER)
    assert is_nested(OUTER, np.zeros(6, int))


@pytest.mark.parametrize("stored_zero", [False, True])
def test_terms(stored_zero):
    assert term_is_nested(mx.RandomTerm(INNER), OUTER)
    assert not term_is_nested(mx.RandomTerm(np.array([0, 1, 0, 1, 0, 1])), OUTER)
    matrix = sparse.coo_array((np.full(6, 2.0), (np.arange(6), INNER)), (6, 5))
    if stored_zero:  # an entry, but no part of the level in the first cluster
        rows, columns = (
            np.append(c, i) for c, i in zip(matrix.coords, (0, 3), strict=True)
        )
        matrix = sparse.coo_array((np.append(matrix.data, 0.0), (rows, columns)), (6, 5))
    columns, rows = nonzeros(matrix)
    assert sorted(zip(rows, columns, strict=True)) == list(enumerate(INNER))
    assert term_is_nested(mx.SparseTerm(matrix.tocsr(), group="s"), OUTER)
    assert not term_is_nested(mx.SparseTerm(matrix.tocsr(), group="s"), np.arange(6))
