"""Models of data in chunks: all of MixedLM that needs no rows, and rows by chunk."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from mixedext.chunked import ChunkedDesign, chunk_rows, design_from_chunks
from mixedext.model import MixedLM
from mixedext.specification.chunks import ChunkPlan
from mixedext.specification.namespace import portable_namespace
from mixedext.specification.sources import ChunkSource, ParquetSource, chunk_source
from mixedext.specification.statsmodels_compat import SPEC_ATTRIBUTE

__all__ = ["ChunkedMixedLM", "model_from_chunks", "read_parquet_model"]

_NO_ROWS = (
    "the rows of this model are in chunks, not in memory: results.by_chunk() gives fitted "
    "values and residuals chunk by chunk"
)


class ChunkedMixedLM(MixedLM):
    """A model whose rows were read in chunks; see ``MixedLM.from_chunks``."""

    def __init__(self, formula: str, found: ChunkedDesign, source: ChunkSource):
        head, design = found.head, found.design
        rows = SimpleNamespace(
            endog=head.endog,
            exog=head.exog if head.exog.shape[1] else None,
            terms=list(design.terms),
            weights=head.weights,
            offset=None,
            groups=None,
            exog_re=None,
        )
        kwargs = {"formula": formula, SPEC_ATTRIBUTE: head.model_spec}
        self._settle(rows, design.blocks.nobs, None, kwargs)
        self.use_sqrt = True
        self._design, self.plan, self.source = design, found.plan, source
        self._remember_formula(formula, head)
        self.data.frame = head.data
        self._forget_rows()
        self._warn_dropped()

    def _forget_rows(self):
        """Only the names and types of the first rows are kept."""
        self.is_weighted = self.weights is not None
        self.endog = self.exog = self.groups = self.weights = None
        for name in ("endog", "exog", "orig_endog", "orig_exog", "row_labels"):
            setattr(self.data, name, None)

    @property
    def has_rows(self) -> bool:
        """Whether the rows are in memory."""
        return False

    def linear_predictor(self, coefficients, effects=None):
        """Not available: rows are in chunks."""
        raise ValueError(_NO_ROWS)

    def predict(self, params, exog=None, offset=None):
        """Population mean for rows of fixed-effects columns, as ``MixedLM.predict``."""
        if exog is None:
            raise ValueError(_NO_ROWS)
        return super().predict(params, exog, offset)

    def by_chunk(self, coefficients, effects, chunks=None):
        """Frames of fitted values and residuals, one a chunk; see the results' method."""
        source = self.source if chunks is None else chunk_source(chunks)
        beta = np.nan_to_num(np.asarray(coefficients, float))
        for chunk in source:
            frame = self.plan.evaluate(chunk)
            if frame is None:
                continue
            rows = chunk_rows(self.plan, frame)
            mean = rows.x @ beta
            for term, effect, all_rows in zip(
                self.random_terms, effects, rows.terms, strict=True
            ):
                number = term.levels.get_indexer(all_rows.levels)
                if (number < 0).any():
                    raise ValueError(
                        f"the grouping factor {term.group!r} has levels in these chunks "
                        "that it had not when the model was made"
                    )
                codes = number[all_rows.codes]
                for j, column in enumerate(all_rows.columns):
                    own = effect[codes, j]
                    mean += own if column is None else own * column
            resid = rows.y - mean
            fitted = mean if frame.offset is None else mean + frame.offset
            index = frame.endog.index
            yield pd.DataFrame({"fitted": fitted, "resid": resid}, index=index)


def model_from_chunks(formula, chunks, namespace, n_jobs=None, **options):
    """The model of ``MixedLM.from_chunks``."""
    plan = ChunkPlan(formula, namespace=portable_namespace(namespace), **options)
    if isinstance(chunks, ParquetSource):
        chunks.select(plan.used)
    source = chunk_source(chunks, n_jobs)
    return ChunkedMixedLM(formula, design_from_chunks(source, plan), source)


def read_parquet_model(formula, path, *, chunk_rows=250_000, n_jobs=None, **options):
    """Model from a Parquet file or folder that need not fit in memory.

    Parameters
    ----------
    formula : str
        As in ``MixedLM.from_chunks``.
    path : str, path-like or pyarrow.dataset.Dataset
        File, folder or data set; only the columns that the formula uses are read.
    chunk_rows : int, optional
        Most rows that are in memory at once (in each process).
    n_jobs : int, optional
        Processes of joblib; each reads row groups of its own.
    **options
        Further arguments of ``MixedLM.from_chunks``.

    Returns
    -------
    ChunkedMixedLM

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
    return MixedLM.from_chunks(formula, source, **options)
