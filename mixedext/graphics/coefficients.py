"""Pictures of coefficients with their intervals, of one model or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.fitted import HasFitted
from mixedext.graphics.figures import (
    COLOURS,
    HEIGHT,
    check_rows,
    label_axes,
    legend,
    name_ticks,
    one_axes,
    reference_line,
    text_width,
)
from mixedext.inference.fixed_effects.wald import conf_int

__all__ = ["forest_data", "plot_forest"]

# Inches of the row of a coefficient, and of each model in it.
_ROW, _MODEL = 0.3, 0.12
_INTERCEPTS = ("Intercept", "(Intercept)", "const")


def forest_data(
    fit: HasFitted,
    /,
    results: Sequence[HasFitted] = (),
    *,
    names: Sequence[str] | None = None,
    terms: Sequence[str] | None = None,
    alpha: float = 0.05,
    df_method: str | None = None,
    information: str | None = None,
    intercept: bool | None = None,
) -> pd.DataFrame:
    """What ``plot_forest`` draws.

    Parameters
    ----------
    fit, results, names, terms, alpha, df_method, information, intercept
        As for ``plot_forest``.

    Returns
    -------
    DataFrame
        One row a model and coefficient: model, term, estimate, lower, upper.

    Raises
    ------
    ValueError
        If names are too few or many, or a term is in none of the models.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.coefficients import forest_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> forest_data(result)[["estimate", "lower", "upper"]].round(2).to_numpy().tolist()
    [[10.47, 7.21, 13.73]]
    """
    others = [results] if hasattr(results, "fitted") else list(results)
    models = [fit, *(r for r in others if r.fitted is not fit.fitted)]
    if names is None:
        names = [f"model {i + 1}" for i in range(len(models))]
    if len(set(names)) != len(models) or isinstance(names, str):
        raise ValueError(f"names: {len(models)} models need as many different names")
    parts = []
    for model, name in zip(models, names, strict=True):
        fixed = model.fitted.fixed
        limits = np.asarray(
            conf_int(model, alpha, df_method=df_method, information=information)
        )[: len(fixed.names)]
        part = {
            "model": name,
            "term": list(map(str, fixed.names)),
            "estimate": fixed.estimate,
            "lower": limits[:, 0],
            "upper": limits[:, 1],
        }
        parts.append(pd.DataFrame(part).iloc[fixed.kept])
    frame = pd.concat(parts, ignore_index=True)
    if terms is not None:
        terms = [terms] if isinstance(terms, str) else list(terms)
        lost = [t for t in terms if t not in set(frame["term"])]
        if lost:
            known = ", ".join(dict.fromkeys(frame["term"]))
            raise ValueError(f"terms: {lost[0]!r} is no coefficient; there are: {known}")
        return frame[frame["term"].isin(terms)].reset_index(drop=True)
    constant = frame["term"].isin(_INTERCEPTS)
    if intercept is None:
        intercept = bool(constant.all())
    return frame if intercept else frame[~constant].reset_index(drop=True)


def plot_forest(
    fit: HasFitted,
    /,
    results: Sequence[HasFitted] = (),
    *,
    names: Sequence[str] | None = None,
    terms: Sequence[str] | None = None,
    alpha: float = 0.05,
    df_method: str | None = None,
    information: str | None = None,
    intercept: bool | None = None,
    ax: Any = None,
) -> Any:
    """Coefficients of the fixed effects with their intervals, of models side by side.

    Parameters
    ----------
    fit : results
        The first model.
    results : list of results, optional
        Other models; the first may be among them.
    names : list of str, optional
        What the models are called.
    terms : list of str, optional
        Coefficients that are drawn; all if None.
    alpha : float, optional
        One minus the level of the intervals.
    df_method : str, optional
        Degrees of freedom; those of each model if None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.
    intercept : bool, optional
        Whether the intercept is drawn, whose scale hides that of the others; only where
        there is nothing else if None.
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
        If names are too few or many, or a term is in none of the models.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> other = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    >>> figure = result.plot_forest([other], names=["a", "b"])  # doctest: +SKIP
    """
    frame = forest_data(
        fit, results, names=names, terms=terms, alpha=alpha, df_method=df_method,
        information=information,
        intercept=intercept,
    )  # fmt: skip
    check_rows(frame, "coefficients")
    order = list(dict.fromkeys(frame["term"]))
    parts = dict(list(frame.groupby("model", sort=False)))
    own, count = ax is None, len(parts)
    if own:
        beside = text_width(order)
        row = _ROW + _MODEL * (count - 1)
        width = 4.5 + beside + (1.4 if count > 1 else 0.0)
        ax = one_axes(None, max(6.4, width), max(0.6 * HEIGHT, row * len(order) + 1.0))
    ax = one_axes(ax)
    reference_line(ax, x=0.0)
    step = 0.7 / count
    for number, (name, part) in enumerate(parts.items()):
        colour = COLOURS[number % len(COLOURS)]
        at = part["term"].map(order.index).to_numpy() + step * (number - (count - 1) / 2)
        ax.hlines(at, part["lower"], part["upper"], color=colour, lw=1.5)
        ax.plot(part["estimate"], at, "o", color=colour, ms=5, label=str(name))
    places = np.arange(len(order))
    room = text_width(order) + 0.1 if own else None
    name_ticks(ax, "y", places, order, len(order) if own else 60, room, whole=own)
    ax.set_ylim(len(order) - 0.4, -0.6)
    label_axes(ax, x=f"coefficient, {100 * (1 - alpha):g}% interval")
    if count > 1:
        legend(ax, own)
    return ax.figure
