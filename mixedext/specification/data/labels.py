"""Labels of grouping factors to codes: factorize, interact; levels made when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

try:
    import pyarrow as arrow
    import pyarrow.compute as compute
except ImportError:
    arrow = None

from mixedext.kernels.rows import scans as kernel

__all__ = [
    "CODE",
    "Levels",
    "ProductLevels",
    "factorize",
    "interact",
    "recode",
    "used_levels",
]

#: Type of codes; a factor has less than 2**31 levels.
CODE = np.int32
# Integer labels whose range is at most this many times the rows (plus some) are counted
# in a table as long as the range; a wider range is hashed.
_TABLE_SHARE, _TABLE_MINIMUM = 2, 1 << 16
# From so many rows on Python strings are handed to pyarrow, if it is there.
_MANY_TEXTS = 10_000
# What pandas factorizes as it is.
_LABELLED = (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)


class ProductLevels:
    """Levels of an interaction, ``"a1:b1"``, written only when somebody looks at them.

    Parameters
    ----------
    first, second : Index or ProductLevels
        Levels of the two factors.
    present : ndarray
        The combinations that occur: number in ``first`` times len(second), plus that in
        ``second``; ascending.
    """

    def __init__(self, first: Levels, second: Levels, present: np.ndarray):
        self._parts = first, second, present
        self._index: pd.Index | None = None

    def __len__(self) -> int:
        return len(self._parts[2]) if self._index is None else len(self._index)

    def __getitem__(self, pick: Any) -> ProductLevels:
        """Levels picked by a mask, still unwritten."""
        first, second, present = self._parts
        return ProductLevels(first, second, present[pick])

    @property
    def parts(self) -> tuple[Levels, Levels, np.ndarray]:
        """Levels of both factors, and the combinations that occur, as given."""
        return self._parts

    @property
    def combinations(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the two factors' levels in each combination that occurs."""
        _, second, present = self._parts
        return np.divmod(present, max(len(second), 1))

    @property
    def index(self) -> pd.Index:
        if self._index is None:
            first, second, present = self._parts
            width = max(len(second), 1)
            left = level_index(first)[present // width].astype(str)
            right = level_index(second)[present % width].astype(str)
            labels: list[Any] = [f"{x}:{y}" for x, y in zip(left, right, strict=True)]
            if len(set(labels)) < len(labels):  # labels that hold colons themselves
                labels = list(zip(left, right, strict=True))
            self._index = pd.Index(labels, dtype=object, tupleize_cols=False)
        return self._index

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.index, dtype=dtype)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.index)


#: Levels of a factor, or of an interaction of factors.
Levels: TypeAlias = pd.Index | ProductLevels


def level_index(levels: Levels) -> pd.Index:
    """Levels as an Index."""
    return levels.index if isinstance(levels, ProductLevels) else levels


def factorize(labels: Any) -> tuple[np.ndarray, pd.Index]:
    """Codes 0..L-1 and the levels that occur, sorted or in a categorical's order.

    Missing labels get the code -1.

    Returns
    -------
    codes : ndarray
        int32, shape (n,).
    levels : Index
    """
    if not isinstance(labels, _LABELLED):
        labels = np.asarray(labels)
        if not labels.dtype.isnative:
            labels = labels.astype(labels.dtype.newbyteorder("="))
    dtype = labels.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        values = labels if isinstance(labels, pd.Categorical) else labels.array
        return used_levels(values.codes, values.categories)
    if isinstance(dtype, np.dtype) and dtype.kind in "iu":
        array = labels.to_numpy() if isinstance(labels, pd.Series) else np.asarray(labels)
        found = _integer_codes(array)
        if found is not None:
            return found
    if labels.dtype == object and len(labels) >= _MANY_TEXTS:
        found = _text_codes(labels)
        if found is not None:
            return found
    codes, levels = pd.factorize(labels)
    try:
        order = levels.argsort()
    except TypeError:  # labels of several types have no order: sort by their text
        order = np.argsort([str(v) for v in levels], kind="stable")
    rank = np.empty(len(order), CODE)
    rank[order] = np.arange(len(order), dtype=CODE)
    return recode(codes, rank), _index(levels[order])


def _integer_codes(labels):
    """Codes and levels of integers by a table over their range; None if it is too wide."""
    n = len(labels)
    if n == 0:
        return None
    low, high = labels.min(), labels.max()
    span = int(high) - int(low) + 1
    if span > _TABLE_SHARE * n + _TABLE_MINIMUM:
        return None
    present = np.zeros(span, np.uint8)
    kernel.mark_present(labels, low, present)
    numbers = np.flatnonzero(present)
    levels = pd.Index(numbers.astype(labels.dtype) + low)  # wraps around and back
    if len(numbers) == span and low == 0:
        return labels.astype(CODE), levels
    rank = np.empty(span, CODE)
    rank[numbers] = np.arange(len(numbers), dtype=CODE)
    codes = np.empty(n, CODE)
    kernel.map_labels(labels, low, rank, codes)
    return codes, levels


def _text_codes(labels):
    """Codes and levels of Python strings by pyarrow's dictionary; None if it cannot."""
    if arrow is None or pd.api.types.infer_dtype(labels, skipna=True) != "string":
        return None
    try:
        encoded = arrow.array(np.asarray(labels), arrow.large_string(), from_pandas=True)
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    encoded = encoded.dictionary_encode()
    levels = encoded.dictionary
    # bytes of UTF-8 sort as the characters do
    order = compute.array_sort_indices(levels).to_numpy()
    rank = np.empty(len(order), CODE)
    rank[order] = np.arange(len(order), dtype=CODE)
    codes = encoded.indices.fill_null(-1).to_numpy()
    names = levels.to_numpy(zero_copy_only=False)[order]
    # as pandas: a Series keeps its type, the type of an array's strings is inferred
    dtype = object if isinstance(labels, pd.Series | pd.Index) else None
    return recode(codes, rank), pd.Index(names, dtype=dtype)


def recode(codes: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """rank[codes] as int32; -1 stays."""
    out = np.empty(len(codes), CODE)
    kernel.map_codes(np.asarray(codes), rank, out)
    return out


def used_levels(codes: np.ndarray, levels: Any) -> tuple[np.ndarray, Any]:
    """Codes and levels without the levels that no code stands for."""
    present = np.zeros(len(levels) + 1, np.uint8)  # the first for code -1
    if len(codes):
        kernel.mark_present(codes, codes.dtype.type(-1), present)
    used = present[1:].view(bool)
    if used.all():
        return np.ascontiguousarray(codes, CODE), levels
    rank = np.cumsum(used, dtype=CODE) - CODE(1)
    return recode(codes, rank), levels[used]


def _index(levels):
    """Index of labels that may be tuples."""
    if levels.dtype == object and any(isinstance(v, tuple) for v in levels):
        return pd.Index(list(levels), dtype=object, tupleize_cols=False)
    return pd.Index(levels)


def interact(
    first: tuple[np.ndarray, Levels], second: tuple[np.ndarray, Levels]
) -> tuple[np.ndarray, ProductLevels]:
    """Interaction of two (codes, levels): the combinations present, ``"a1:b1"``.

    Products of codes are 64-bit, so that many levels times many cannot overflow.
    """
    (a, a_levels), (b, b_levels) = first, second
    width = max(len(b_levels), 1)
    product = np.empty(len(a), np.int64)
    kernel.pair_codes(
        np.ascontiguousarray(a, CODE), np.ascontiguousarray(b, CODE), width, product
    )
    size = len(a_levels) * width
    if size <= _TABLE_SHARE * len(a) + _TABLE_MINIMUM:
        codes, present = used_levels(product, np.arange(size))
    else:
        codes, present = factorize(product)
        present = present.to_numpy()
        if len(present) and present[0] < 0:
            codes, present = codes - CODE(1), present[1:]
    return codes, ProductLevels(a_levels, b_levels, present)
