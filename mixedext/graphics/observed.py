"""Observed values against what the fit predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_choice
from mixedext.fitted import HasFitted
from mixedext.graphics.figures import REFERENCE, check_rows, figure_of, label_axes, panels
from mixedext.graphics.row_clouds import draw_cloud
from mixedext.graphics.row_levels import row_index
from mixedext.inference.prediction.predictions import fittedvalues, predict
from mixedext.limits import FLAT_PREDICTIONS

__all__ = ["KINDS", "observed_data", "plot_observed"]

# Predictions with, and without, random effects.
KINDS = ("marginal", "conditional")


def observed_data(results: HasFitted) -> pd.DataFrame:
    """What ``plot_observed`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.

    Returns
    -------
    DataFrame
        observed, marginal (x'b), conditional (x'b + z'u), a row a row of the data.
    """
    fitted = results.fitted
    columns = {
        "observed": fitted.need_rows().endog,
        "marginal": np.asarray(predict(fitted, conditional=False), float),
        "conditional": np.asarray(fittedvalues(fitted), float),
    }
    return pd.DataFrame(columns, row_index(fitted))


def squared_correlation(observed: np.ndarray, predicted: np.ndarray) -> float:
    """Squared correlation; NaN if one does not vary."""
    x, y = observed - observed.mean(), predicted - predicted.mean()
    x, y = (v / (np.abs(v).max(initial=0.0) or 1.0) for v in (x, y))  # squares are numbers
    square = (x @ x) * (y @ y)
    flat = np.ptp(predicted) <= FLAT_PREDICTIONS * np.abs(predicted).max(initial=0.0)
    return float("nan") if flat or square == 0 else float((x @ y) ** 2 / square)


def plot_observed(
    results: HasFitted, kind: str | Sequence[str] | None = None, ax: Any = None
) -> Any:
    """Observed values against predictions, with the line on which they agree.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    kind : {"marginal", "conditional"} or both, optional
        Predictions without random effects (x'b), with them (x'b + z'u).  None for both,
        in panels; on a single ``ax`` for "conditional".
    ax : Axes or array_like of Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no such kind, there are too few axes, or the rows are not in memory.

    Notes
    -----
    r2 of the title is the squared correlation of observed and predicted values, which
    describes the picture; ``r2_nakagawa`` is the share of the variance in the model.
    Above 50,000 rows points are counted in hexagons.

    See Also
    --------
    mixedext.graphics.observed.observed_data : the numbers.
    """
    if kind is None:
        kind = KINDS if ax is None or np.size(ax) > 1 else "conditional"
    kinds = [kind] if isinstance(kind, str) else list(kind)
    for own in kinds:
        check_choice(own, "kind", KINDS)
    frame = observed_data(results)
    whole, frame = len(frame), frame.dropna()
    check_rows(frame, "row has an observed and a predicted value")
    axes = panels(ax, len(kinds), width=4.2, height=4.2, columns=len(kinds), share=True)
    for one, own in zip(axes, kinds, strict=True):
        x, y = frame[own].to_numpy(), frame["observed"].to_numpy()
        note = draw_cloud(one, x, y)
        ends = [max(x.min(), y.min()), min(x.max(), y.max())]
        if ends[0] < ends[1]:
            one.plot(ends, ends, **(REFERENCE | {"zorder": 3}))
        r2 = squared_correlation(y, x)
        parts = [f"r² = {r2:.3f}" if np.isfinite(r2) else "the same for all rows"]
        parts += [note] if note else []
        if whole > len(frame):
            parts.append(f"{whole - len(frame):,} rows without a value left out")
        one_kind = f"predicted, {own}"
        label_axes(one, one_kind, "observed", "; ".join(parts), small=True)
    return figure_of(axes)
