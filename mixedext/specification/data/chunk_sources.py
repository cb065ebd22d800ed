"""Where chunks come from, and how a function of every chunk is summed over all.

A source can be read more than once.  Sums are taken in a tree whose shape depends on the
chunks alone, so that the numbers do not depend on who computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import reduce as fold
from typing import Any

import pandas as pd

from mixedext.specification.data.tables import as_pandas, is_foreign

__all__ = ["ChunkSource", "DaskSource", "ParquetSource", "chunk_source", "tree_sum"]


def tree_sum(parts: Iterable[Any]) -> Any:
    """Sum in a tree, of few parts at a time.

    A part is added to the one before it as soon as that is not much heavier; ``weight`` of
    a part is the work of adding it (1 if it has none).  Parts may be changed.

    Returns None if there are no parts; parts that are None are passed over.
    """
    stack: list = []
    for part in parts:
        if part is None:
            continue
        weight = getattr(part, "weight", 1)
        while stack and stack[-1][0] <= 2 * weight:
            before, top = stack.pop()
            part = top + part
            weight = getattr(part, "weight", before + weight)
        stack.append((weight, part))
    values = [value for _, value in stack]
    return fold(lambda right, left: left + right, reversed(values)) if values else None


def _apply(function, chunk):
    return function(_loaded(chunk))


def _loaded(item):
    return as_pandas(item() if callable(item) else item)


class ChunkSource:
    """Chunks in this process, or spread by joblib.

    Parameters
    ----------
    chunks : iterable of DataFrame, or callable
        Frames, or functions that load one; a callable returns such an iterable.
    n_jobs : int, optional
        Processes of joblib's backend (see ``joblib.parallel_config``).
    """

    def __init__(self, chunks: Any, n_jobs: int | None = None):
        if not callable(chunks) and isinstance(chunks, Iterator):
            raise ValueError(
                "chunks can be read only once (it is an iterator), but levels and scales "
                "must be known before cross-products are summed: pass a list, or a "
                "function without arguments that returns a new iterator"
            )
        if isinstance(chunks, pd.DataFrame) or is_foreign(chunks):
            chunks = [chunks]
        self.chunks, self.n_jobs = chunks, n_jobs

    def __reduce__(self) -> tuple[type[ForgottenSource], tuple[()]]:
        return ForgottenSource, ()

    def select(self, used: Callable) -> None:
        """Read only the columns that ``used`` picks from the names, where that saves."""

    def _items(self):
        items = self.chunks() if callable(self.chunks) else self.chunks
        try:
            return iter(items)
        except TypeError:
            raise ValueError(
                f"chunks must be an iterable of DataFrames, not {type(items).__name__}"
            ) from None

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """The chunks, loaded one at a time."""
        for item in self._items():
            yield _loaded(item)

    def sum(self, function: Callable) -> Any:
        """Sum of ``function(chunk)`` over all chunks."""
        if self.n_jobs in (None, 1):
            return tree_sum(function(chunk) for chunk in self)
        from joblib import Parallel, delayed

        run = Parallel(n_jobs=self.n_jobs, return_as="generator")
        return tree_sum(run(delayed(_apply)(function, item) for item in self._items()))


class ForgottenSource(ChunkSource):
    """In the place of chunks that went with a pickled model's process."""

    def __init__(self) -> None:
        super().__init__(())

    def _items(self):
        raise ValueError("a pickled model does not keep its chunks; pass chunks=")


class DaskSource(ChunkSource):
    """Partitions of a dask DataFrame; each is reduced where it lies."""

    def __init__(self, frame: Any):
        self.partitions = frame.to_delayed()

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for partition in self.partitions:
            yield partition.compute()

    def sum(self, function: Callable) -> Any:
        """Sum of ``function(partition)`` over all partitions."""
        import dask

        shared = dask.delayed(function)
        call, join = dask.delayed(_call, pure=False), dask.delayed(_join, pure=False)
        level = [call(shared, partition) for partition in self.partitions]
        while len(level) > 1:
            level = [
                join(*level[i : i + 2]) if i + 1 < len(level) else level[i]
                for i in range(0, len(level), 2)
            ]
        return level[0].compute() if level else None


def _call(function, frame):
    return function(frame)


def _join(one, other):
    return tree_sum([one, other])


class ParquetSource(ChunkSource):
    """Row groups of a Parquet file or folder, in batches of bounded size.

    Parameters
    ----------
    path : str or path-like or pyarrow.dataset.Dataset
        File, folder or data set.
    chunk_rows : int
        Most rows held at once by one process.
    n_jobs : int, optional
        Processes of joblib's backend.
    """

    def __init__(self, path: Any, chunk_rows: int, n_jobs: int | None = None):
        try:
            from pyarrow import dataset
        except ImportError as error:
            raise ImportError(
                "Parquet is read with pyarrow: pip install 'mixedext[data]'"
            ) from error
        self.n_jobs, self.chunk_rows = n_jobs, chunk_rows
        if not isinstance(path, dataset.Dataset):
            path = dataset.dataset(path, partitioning="hive")  # name=value in folders
        self.data = path
        self.columns = self.data.schema.names

    def select(self, used: Callable) -> None:
        """Read only the columns that ``used`` picks from the names in the file."""
        self.columns = used(self.data.schema.names)

    def _items(self):
        for fragment in self.data.get_fragments():
            yield from fragment.split_by_row_group()

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for fragment in self._items():
            yield from _batches(fragment, *self._reading)

    def sum(self, function: Callable) -> Any:
        """Sum of ``function(batch)`` over all batches."""
        if self.n_jobs in (None, 1):
            return tree_sum(function(frame) for frame in self)
        from joblib import Parallel, delayed

        run = Parallel(n_jobs=self.n_jobs, return_as="generator")
        work = delayed(_sum_fragment)
        return tree_sum(run(work(function, f, *self._reading) for f in self._items()))

    @property
    def _reading(self):
        return self.data.schema, self.columns, self.chunk_rows


def _batches(fragment, schema, columns, chunk_rows):
    # The schema of the whole has the columns that the names of folders hold.
    reading = {"schema": schema, "columns": columns, "batch_size": chunk_rows}
    for batch in fragment.to_batches(**reading):
        if batch.num_rows:
            frame = batch.to_pandas()
            index = [name for name in frame.index.names if name in columns]
            yield frame.reset_index(index) if index else frame


def _sum_fragment(function, fragment, *reading):
    return tree_sum(function(frame) for frame in _batches(fragment, *reading))


def chunk_source(chunks: Any, n_jobs: int | None = None) -> ChunkSource:
    """The source of what a user gives as chunks."""
    if isinstance(chunks, ChunkSource):
        return chunks
    if hasattr(chunks, "to_delayed") and hasattr(chunks, "npartitions"):
        return DaskSource(chunks)
    return ChunkSource(chunks, n_jobs)
