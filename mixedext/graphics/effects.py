"""Pictures of the fixed part: its curve against a variable, with a band."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import confidence
from mixedext.fitted import Fitted, HasFitted
from mixedext.graphics.figures import (
    COLOURS,
    GREY,
    label_axes,
    legend,
    name_ticks,
    one_axes,
    shortened,
)
from mixedext.inference.means.estimated_means import reference_grid
from mixedext.inference.prediction.mixed_prediction import get_prediction
from mixedext.inference.prediction.typical_rows import (
    data_frame,
    typical_frame,
    typical_text,
)

__all__ = ["effect_data", "plot_effect"]

# Points of a curve, lines of a picture, marks of a rug at most.
_POINTS, _LINES, _RUG = 101, 7, 500


def effect_data(
    results: HasFitted,
    x: str,
    by: str | None = None,
    alpha: float = 0.05,
    df_method: str | None = None,
    information: str | None = None,
) -> pd.DataFrame:
    """What ``plot_effect`` draws.

    Parameters
    ----------
    x, by, alpha, df_method, information
        As for ``plot_effect``.

    Returns
    -------
    DataFrame
        Columns of ``x`` and ``by``; mean, se, lower, upper.  ``attrs["held"]`` is what the
        other variables stand at.

    Raises
    ------
    ValueError
        If ``x`` or ``by`` is not a variable of the fixed effects, or the model was not made
        from a formula.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.effects import effect_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> effect_data(result, "Days").iloc[0].round(2).tolist()
    [0.0, 251.41, 6.82, 237.01, 265.8]
    """
    fitted, level = results.fitted, confidence(alpha, None)
    reference = reference_grid(fitted)
    names = [x] if by is None else [x, by]
    if by == x:
        raise ValueError(f"by={by!r} is x already; name another variable")
    reference.check_names(names, "x and by")
    data = data_frame(fitted, names)
    grids = [_grid(reference.predictors[n], data[n], n == x) for n in names]
    pairs = [(value, *other) for other in _others(grids) for value in grids[0]]
    values = {n: [pair[i] for pair in pairs] for i, n in enumerate(names)}
    frame, held = typical_frame(fitted, values, reference.factors)
    held = {n: v for n, v in held.items() if n in reference.predictors}
    offset = reference.offset if fitted.model.offset_by_rows else None
    found = get_prediction(
        fitted,
        frame,
        offset=offset,
        conditional=False,
        df_method=df_method,
        information=information,
    )
    limits = np.asarray(found.conf_int(alpha=1 - level))
    out = frame[names].copy()
    out["mean"], out["se"] = np.asarray(found.predicted_mean), np.asarray(found.se_mean)
    out["lower"], out["upper"] = limits[:, 0], limits[:, 1]
    out.attrs["held"] = held
    return out


def _others(grids):
    return [(value,) for value in grids[1]] if len(grids) > 1 else [()]


def _grid(predictor, column, moves):
    """Levels of a factor, points over the range of x, three values of another number."""
    if predictor.is_factor:
        return predictor.levels.tolist()
    low, high = predictor.summaries["range"]
    if moves:
        return np.linspace(low, high, _POINTS).tolist()
    if column.nunique() <= 3:
        return sorted(column.dropna().unique().tolist())
    return [float(v) for v in np.quantile(column.dropna().to_numpy(float), (0.1, 0.5, 0.9))]


def plot_effect(
    results: HasFitted,
    x: str,
    by: str | None = None,
    alpha: float = 0.05,
    df_method: str | None = None,
    information: str | None = None,
    *,
    ax: Any = None,
) -> Any:
    """The population mean against a variable, with its confidence band.

    The other variables stand at their mean, or at their first level; the title says so.

    Parameters
    ----------
    x : str
        Variable of the fixed effects: a number has a curve and a rug of the data, a factor
        points.
    by : str, optional
        Variable with a curve for each level; of a number for its quantiles 0.1, 0.5, 0.9.
    alpha : float, optional
        One minus the level of the band, which holds at each point by itself.
    df_method : str, optional
        Degrees of freedom; those of the results if None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.
    ax : Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If ``x`` or ``by`` is not a variable of the fixed effects, ``by`` has too many
        levels, or the model was not made from a formula.

    See Also
    --------
    emmeans : means that are averaged over the other variables.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> figure = result.plot_effect("Days")  # doctest: +SKIP
    """
    frame = effect_data(results, x, by, alpha, df_method, information)
    fitted = results.fitted
    parts = {"": frame} if by is None else dict(list(frame.groupby(by, observed=True)))
    if len(parts) > _LINES:
        raise ValueError(f"by={by!r} has {len(parts)} levels; at most {_LINES} are drawn")
    own = ax is None
    ax = one_axes(ax, 6.4 if by is None else 7.4)
    number = not reference_grid(fitted).predictors[x].is_factor
    for i, ((value, part), colour) in enumerate(zip(parts.items(), COLOURS, strict=False)):
        label = None if by is None else shortened(_text(value), 24)
        if number:
            ax.fill_between(
                part[x], part["lower"], part["upper"], color=colour, alpha=0.2, lw=0
            )
            ax.plot(part[x], part["mean"], color=colour, label=label)
        else:
            shift = 0.12 * (i - (len(parts) - 1) / 2)
            at = np.arange(len(part)) + shift
            ax.vlines(at, part["lower"], part["upper"], color=colour, lw=1.5)
            ax.plot(at, part["mean"], "o", color=colour, label=label)
    if number:
        _rug(ax, data_frame(fitted, [x])[x])
    else:
        first = next(iter(parts.values()))
        name_ticks(ax, "x", np.arange(len(first)), [str(v) for v in first[x]])
    held = typical_text(frame.attrs["held"])
    label_axes(ax, x, _response(fitted), f"at {held}" if held else None, small=True)
    if by is not None:
        legend(ax, own)
        ax.get_legend().set_title(shortened(by, 24))
    return ax.figure


def _text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _response(fitted: Fitted) -> str:
    return str(fitted.model.endog_names)


def _rug(ax, column):
    """Where the data are, as marks on the lower edge."""
    values = np.unique(column.dropna().to_numpy(float))
    if len(values) > _RUG:
        values = values[np.linspace(0, len(values) - 1, _RUG).round().astype(int)]
    ax.plot(
        values, np.full(len(values), 0.015), "|", color=GREY, ms=6, zorder=3,
        transform=ax.get_xaxis_transform(),
    )  # fmt: skip
