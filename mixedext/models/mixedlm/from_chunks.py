"""The part of the model that reads its rows in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.fitted import HasFitted
from mixedext.models.mixedlm.chunked_design import (
    ChunkedDesign,
    chunk_rows,
    design_from_chunks,
)
from mixedext.specification.data.chunk_sources import ChunkSource, chunk_source
from mixedext.specification.formula.chunk_plan import ChunkPlan
from mixedext.specification.formula.namespace import caller_namespace

__all__ = ["by_chunk", "from_chunks"]


def from_chunks(
    cls: Any,
    formula: str,
    chunks: Any,
    *,
    groups: str | None = None,
    re_formula: str | None = None,
    weights: str | None = None,
    offset: str | None = None,
    missing: str = "none",
    n_jobs: int | None = None,
    residual: Any = None,
    variance: Any = None,
    eval_env: Any = None,
) -> Any:
    """Model from data in chunks, which need never be in memory at once.

    Every chunk is reduced to its cross-products, which are added in a tree: numbers
    are those of the whole data, however these are cut.  The chunks are read three
    times: for their levels, for the scales of the columns, for the products.

    Parameters
    ----------
    formula : str
        As in ``from_formula``.  Functions of whole columns (``poly``, ``scale`` ...)
        are refused.
    chunks : iterable of DataFrame, callable, or dask DataFrame
        Frames (of pandas, polars, pyarrow ...), or functions without arguments that
        load one, in an iterable that can be read again (a list, or a function that
        returns an iterator).  Partitions of a dask DataFrame are reduced where they lie.
    groups, re_formula : str, optional
        As in ``from_formula``; a column's name.
    weights, offset : str, optional
        Column's name.
    missing : {"none", "raise", "drop"}, optional
        As in ``from_formula``.
    n_jobs : int, optional
        Processes of joblib, whose backend ``joblib.parallel_config`` sets.
    residual, variance : optional
        Refused: structures of residuals need the rows in memory.
    eval_env : int or Mapping, optional
        As in ``from_formula``.

    Returns
    -------
    MixedLM
        Results of its ``fit`` offer all that needs no rows, and ``by_chunk``.

    Raises
    ------
    FormulaError
        If the formula cannot be read or evaluated; a ValueError.
    ValueError
        If ``chunks`` can be read only once, or differ from one pass to the next.
    NotImplementedError
        If ``residual`` or ``variance`` is given.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> chunks = [data[:70], data[70:]]
    >>> formula = "Reaction ~ Days + (Days | Subject)"
    >>> result = mx.MixedLM.from_chunks(formula, chunks).fit()
    >>> round(float(result.llf), 4)
    -871.8141
    """
    for name, value in (("residual", residual), ("variance", variance)):
        if value is not None:
            raise NotImplementedError(
                f"{name}= needs the rows in memory, where groups are whole: read the "
                "columns that the model uses into one frame for mixedlm, or leave it out"
            )
    texts = [t for t in (formula, re_formula) if isinstance(t, str)]
    namespace = caller_namespace(texts, eval_env, depth=1)
    options: dict[str, Any] = {
        "groups": groups,
        "re_formula": re_formula,
        "weights": weights,
        "offset": offset,
        "missing": missing,
    }
    plan = ChunkPlan(formula, namespace=namespace, **options)
    source = chunk_source(chunks, n_jobs)
    source.select(plan.used)
    model = object.__new__(cls)
    _settle_chunks(model, formula, design_from_chunks(source, plan), source)
    return model


def _settle_chunks(model, formula: str, found: ChunkedDesign, source: ChunkSource):
    head, design = found.head, found.design
    frame = SimpleNamespace(
        endog=head.endog,
        exog=head.exog if head.exog.shape[1] else None,
        terms=list(design.terms),
        weights=head.weights,
        offset=None,
        grouped=None,
    )
    kwargs = {"formula": formula, SPEC_ATTRIBUTE: head.model_spec}
    main_term = None if head.grouped is None else 0
    model._settle(frame, design.blocks.nobs, main_term, kwargs)
    model.use_sqrt, model._design = True, design
    model.plan, model.source = found.plan, source
    model._remember_formula(formula, head)
    model.emptied = found.plan.emptied
    model.data.frame = head.data
    # Only the names and types of the first rows are kept; statsmodels finds the name of
    # the response when it is asked for.
    _ = model.endog_names
    model.endog = model.exog = model.weights = None
    for name in ("endog", "exog", "orig_endog", "orig_exog"):
        setattr(model.data, name, None)
    model._warn_dropped()


def by_chunk(results: HasFitted, chunks: Any = None) -> Iterator[pd.DataFrame]:
    """Fitted values and residuals of a model made by ``from_chunks``.

    Parameters
    ----------
    chunks : iterable of DataFrame, optional
        Chunks as for ``from_chunks``; those of the model if None.

    Yields
    ------
    DataFrame
        Columns ``fitted`` and ``resid``, one row for each complete row of a chunk.

    Raises
    ------
    ValueError
        If the rows of the model are in memory, or a level is new.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> formula = "Reaction ~ Days + (Days | Subject)"
    >>> model = mx.MixedLM.from_chunks(formula, [data[:100], data[100:]])
    >>> [len(frame) for frame in model.fit().by_chunk()]
    [100, 80]
    """
    fitted = results.fitted
    model, effects = fitted.model, fitted.fit.effects
    if model.source is None:
        raise ValueError("the model was not made from chunks; use fittedvalues and resid")
    source = model.source if chunks is None else chunk_source(chunks)
    beta = np.nan_to_num(fitted.fixed.estimate)
    for chunk in source:
        frame = model.plan.evaluate(chunk)
        if frame is None:
            continue
        rows = chunk_rows(model.plan, frame)
        mean = rows.x @ beta
        for i, (term, effect, all_rows) in enumerate(
            zip(model.random_terms, effects, rows.terms, strict=True)
        ):
            number = term.levels.get_indexer(all_rows.levels)
            if (number < 0).any():
                raise ValueError(
                    f"the grouping factor {term.group!r} has levels in these chunks "
                    "that it had not when the model was made"
                )
            codes = number[rows.codes(i)]
            for j, column in enumerate(rows.columns[i]):
                own = effect[codes, j]
                mean += own if column is None else own * column
        resid = rows.y - mean
        whole = mean if frame.offset is None else mean + frame.offset
        index = frame.endog.index
        yield pd.DataFrame({"fitted": whole, "resid": resid}, index=index)
