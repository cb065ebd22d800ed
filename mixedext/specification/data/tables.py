"""Tables and columns of other libraries (polars, pyarrow, ...) as pandas' objects.

They are taken by Arrow's interface where pyarrow is there, without copies where types
allow, else by their own ``to_pandas``.
"""

from __future__ import annotations

import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mixedext.specification.data.columns import with_columns

try:
    import pyarrow as arrow
except ImportError:
    arrow = None

__all__ = ["as_pandas", "data_frame", "is_foreign"]

_ARROW = "__arrow_c_stream__", "__arrow_c_array__"
_KNOWN = (
    pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray,
    np.generic, str, bytes, list, tuple, dict, int, float, complex,
)  # fmt: skip


def is_foreign(values: Any) -> bool:
    """Whether values are a table or a column that ``as_pandas`` turns into pandas' own.

    Tables whose parts or computations are still to be collected are not.
    """
    if values is None or isinstance(values, (*_KNOWN, type)):
        return False
    if hasattr(values, "to_delayed"):  # dask
        return False
    return any(hasattr(values, name) for name in (*_ARROW, "__dataframe__", "to_pandas"))


def as_pandas(values: Any, index: pd.Index | None = None) -> Any:
    """A table or column of another library as a DataFrame or Series.

    Its rows have no labels.  It gets those of ``index``, if that is given, by position; if
    there are more or fewer of these it becomes an array.

    Whole numbers and truth values that are missing in some rows get pandas' nullable
    types; decimal numbers become floats.  A polars Categorical, whose values have no
    order but the alphabet's, has its categories in that order.  Anything else is returned
    as it is.

    Raises
    ------
    TypeError
        If the library's own conversion gives neither a DataFrame nor a Series.
    """
    if not is_foreign(values):
        return values
    name = getattr(values, "name", None)
    made = _of_arrow(values) if arrow is not None else None
    if made is None and hasattr(values, "to_pandas"):
        try:
            made = values.to_pandas()
        except ImportError:  # polars without pyarrow
            made = _of_numpy(values)
    elif made is None and hasattr(values, "__dataframe__"):
        made = pd.api.interchange.from_dataframe(values)
    elif made is None:
        raise TypeError(f"a {_kind(values)} is read by pyarrow: pip install pyarrow")
    if not isinstance(made, pd.DataFrame | pd.Series | pd.Index):
        raise TypeError(
            f"to_pandas() of a {_kind(values)} gives a {_kind(made)}, not a pandas "
            "DataFrame or Series"
        )
    if isinstance(made, pd.Series) and made.name is None and isinstance(name, str) and name:
        made.name = name
    if index is None:
        return made
    return made.set_axis(index) if len(made) == len(index) else made.to_numpy()


def _kind(values):
    return f"{type(values).__module__.split('.')[0]}.{type(values).__name__}"


def _of_arrow(values):
    """By Arrow's interface; None if there is none, or pyarrow is too old for a type."""
    if isinstance(values, arrow.Array | arrow.ChunkedArray):
        return _series(values)
    if not any(hasattr(values, name) for name in _ARROW):
        return None
    try:
        return _table(arrow.table(values))
    except arrow.ArrowNotImplementedError:
        return None
    except (TypeError, ValueError):  # a column, ValueErrors are arrow's
        pass
    try:
        metadata = None
        if hasattr(values, "to_frame"):  # the type alone does not tell polars' kinds
            table = arrow.table(values.to_frame())
            column, metadata = table.column(0), table.schema.field(0).metadata
        else:
            column = arrow.chunked_array(values)
        return _series(column, metadata)
    except arrow.ArrowNotImplementedError:
        return None


def _table(table):
    frame = table.to_pandas(split_blocks=True, date_as_object=False)
    if len(set(table.schema.names)) < len(table.schema.names):
        return frame
    changed = {}
    for number, field in enumerate(table.schema):
        if field.name in frame.columns:
            column = _exactly(table.column(number), field.metadata)
            if column is not None:
                changed[field.name] = pd.Series(column.array, frame.index)
    return with_columns(frame, changed)


def _series(column, metadata=None):
    made = _exactly(column, metadata)
    return column.to_pandas(date_as_object=False) if made is None else made


def _exactly(column, metadata):
    """A column whose own conversion would lose something; None for others."""
    kind = column.type
    if arrow.types.is_decimal(kind):
        return column.cast(arrow.float64()).to_pandas()
    if arrow.types.is_dictionary(kind):
        if any(key.startswith(b"_PL_CATEGORICAL") for key in metadata or ()):
            made = column.to_pandas()
            used = made.cat.remove_unused_categories().cat.categories
            return made.cat.set_categories(used.sort_values())
        return None
    if column.null_count and (arrow.types.is_integer(kind) or arrow.types.is_boolean(kind)):
        return column.to_pandas(types_mapper=_NULLABLE.get)
    return None


if arrow is not None:
    _NULLABLE: dict[Any, Any] = {
        arrow.bool_(): pd.BooleanDtype(),
        arrow.int8(): pd.Int8Dtype(),
        arrow.int16(): pd.Int16Dtype(),
        arrow.int32(): pd.Int32Dtype(),
        arrow.int64(): pd.Int64Dtype(),
        arrow.uint8(): pd.UInt8Dtype(),
        arrow.uint16(): pd.UInt16Dtype(),
        arrow.uint32(): pd.UInt32Dtype(),
        arrow.uint64(): pd.UInt64Dtype(),
    }


def _of_numpy(values):
    """Column by column, for polars where pyarrow is not there."""
    if not hasattr(values, "columns"):
        return _numpy_series(values)
    return pd.DataFrame({name: _numpy_series(values[name]) for name in values.columns})


def _numpy_series(column):
    categories = getattr(column.dtype, "categories", None)
    nullable = getattr(column.dtype, "is_integer", None)
    array = column.to_numpy()
    if categories is not None:  # polars' Enum
        made = pd.Categorical(array, list(categories), ordered=True)
        return pd.Series(made, name=column.name)
    if nullable is not None and nullable() and array.dtype.kind == "f":  # some are missing
        return pd.Series(column.to_list(), dtype="Int64", name=column.name)
    return pd.Series(array, name=column.name or None)


def data_frame(data: Any) -> pd.DataFrame:
    """Data as a frame: it, another library's table, or made of a mapping, records or rows.

    A mapping to single values is one row.

    Raises
    ------
    TypeError
        If pandas makes no frame of them.
    """
    data = as_pandas(data)
    if isinstance(data, pd.DataFrame):
        return data
    kind = _kind(data)
    if isinstance(data, pd.api.typing.DataFrameGroupBy):
        raise TypeError(
            f"data is a {kind}; pass the frame itself, with (1 | g) for its groups"
        )
    if isinstance(data, list | tuple) and any(isinstance(d, pd.DataFrame) for d in data):
        raise TypeError(f"data is a {kind} of frames; pass pd.concat(data), or one of them")
    if hasattr(data, "to_delayed"):
        raise TypeError(
            f"data is a {kind}; use MixedLM.from_chunks, or pass data.compute()"
        )
    if hasattr(data, "collect"):  # polars' LazyFrame
        raise TypeError(f"data is a {kind}; pass data.collect()")
    if data is None or isinstance(data, str | bytes):
        raise TypeError(
            f"data={data!r} is no data; pass a pandas DataFrame{_how_to_read(data)}"
        )
    if isinstance(data, Mapping):
        data = {name: as_pandas(values) for name, values in data.items()}
        if data and not any(map(np.ndim, data.values())):
            data = [data]
    try:
        return pd.DataFrame(data)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"data is a {kind}, of which pandas makes no DataFrame: {error}"
            f"{_how_to_read(data)}"
        ) from error


def _how_to_read(data):
    """What makes a frame of something that is none."""
    if isinstance(data, str | os.PathLike) and Path(data).suffix:
        readers = {".parquet": "read_parquet", ".xlsx": "read_excel", ".csv": "read_csv"}
        reader = readers.get(Path(data).suffix.lower(), "read_csv")
        return f", such as pd.{reader}({str(data)!r})"
    if isinstance(data, types.ModuleType) and hasattr(data, "load"):
        return f"; pass {data.__name__.rsplit('.', 1)[-1]}.load().data"
    if isinstance(getattr(data, "data", None), pd.DataFrame):
        return "; pass its .data"
    return ""
