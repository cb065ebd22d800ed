"""Models of data in Parquet files."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.models.mixedlm.model import MixedLM
from mixedext.specification.data.chunk_sources import ParquetSource

__all__ = ["read_parquet_model"]


def read_parquet_model(
    formula: str,
    path: Any,
    *,
    chunk_rows: int = 250_000,
    n_jobs: int | None = None,
    **options: Any,
) -> MixedLM:
    """Model from a Parquet file or folder that need not fit in memory.

    Parameters
    ----------
    formula : str
        As in ``MixedLM.from_chunks``.
    path : str, path-like or pyarrow.dataset.Dataset
        File, folder or data set; only the columns that the formula uses are read.
    chunk_rows : int, optional
        Most rows of a chunk.  Row groups of the file are read as a whole (by each process),
        so they should not be larger than memory bears.
    n_jobs : int, optional
        Processes of joblib; each reads row groups of its own.
    **options
        Further arguments of ``MixedLM.from_chunks``.

    Returns
    -------
    MixedLM

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    FileNotFoundError
        If there is nothing at ``path``.
    ValueError
        If ``chunk_rows`` is not positive.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import mixedext as mx
    >>> data = mx.datasets.penicillin.load().data
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> data.to_parquet(folder / "penicillin.parquet")
    >>> formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    >>> result = mx.read_parquet_model(formula, folder, chunk_rows=50).fit()
    >>> round(float(result.llf), 4)
    -165.4303
    """
    if not (isinstance(chunk_rows, int | np.integer) and chunk_rows > 0):
        raise ValueError(f"chunk_rows={chunk_rows!r}; it must be a positive number")
    source = ParquetSource(path, int(chunk_rows), n_jobs)
    env = options.pop("eval_env", None)
    if env is None or (isinstance(env, int) and env >= 0):  # one call further up from there
        env = (env or 0) + 1
    return MixedLM.from_chunks(formula, source, eval_env=env, **options)
