"""Which of the levels of a fitted factor the labels of new rows are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixedext.specification.data.labels import Levels, ProductLevels, level_index

__all__ = ["MISSING", "UNKNOWN", "known_codes"]

#: Codes of rows whose level is not among those known, and of rows without a level.
UNKNOWN, MISSING = -1, -2


def known_codes(known: Levels, factors: list[tuple[np.ndarray, Levels]]) -> np.ndarray:
    """Numbers, among the levels known, of the levels of rows.

    Parameters
    ----------
    known : Index or ProductLevels
        The levels of a factor.
    factors : list of tuple
        Codes and levels of the rows, (n,), for each of the factors whose interaction it
        is: levels that compare alike, as 1 and 1.0, are the same, and so are numbers and
        their text where all levels known are text.

    Returns
    -------
    ndarray
        (n,), ``UNKNOWN`` and ``MISSING`` among them.
    """
    if len(factors) == 1:
        codes, levels = factors[0]
        have, wanted = _index(known), _index(levels)
        found = have.get_indexer(wanted)
        lost = np.flatnonzero(found < 0)
        if len(lost) and pd.api.types.infer_dtype(have) == "string":
            # numbers in place of their text, as of categories read from a file
            found[lost] = have.get_indexer(wanted[lost].astype(str))
        table = np.append(np.where(found < 0, UNKNOWN, found), MISSING)
        return table[np.asarray(codes, np.intp)]
    if not isinstance(known, ProductLevels):
        return _by_text(known, factors)
    first, second, present = known.parts
    left = known_codes(first, factors[:-1])
    right = known_codes(second, factors[-1:])
    number = left.astype(np.int64) * max(len(second), 1) + right
    place = np.minimum(np.searchsorted(present, number), max(len(present) - 1, 0))
    there = (left >= 0) & (right >= 0)
    if len(present):
        there &= present[place] == number
    out = np.where(there, place, UNKNOWN)
    out[(left == MISSING) | (right == MISSING)] = MISSING
    return out


def _index(levels):
    levels = level_index(levels)
    if levels.dtype == object and any(isinstance(v, tuple) for v in levels):
        return levels
    return pd.Index(levels.astype(object), dtype=object)


def _by_text(known, factors):
    """Where the levels of an interaction are known by their text alone, ``"a1:b1"``."""
    table = pd.DataFrame({i: codes for i, (codes, _) in enumerate(factors)})
    missing = (table < 0).any(axis=1).to_numpy()
    unique = table[~missing].drop_duplicates()
    texts = [
        level_index(levels).take(unique[i]).astype(str)
        for i, (_, levels) in enumerate(factors)
    ]
    labels = [":".join(parts) for parts in zip(*texts, strict=True)]
    found = pd.Series(_index(known).get_indexer(pd.Index(labels, dtype=object)))
    found.index = pd.MultiIndex.from_frame(unique)
    out = np.full(len(table), MISSING)
    if len(unique):
        out[~missing] = found.reindex(pd.MultiIndex.from_frame(table[~missing])).to_numpy()
    return out
