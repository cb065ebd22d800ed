"""Influence of rows or levels: by index, and against what it is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.graphics.figures import (
    COLOURS,
    REFERENCE,
    check_rows,
    figure_of,
    label_axes,
    name_ticks,
    one_axes,
    reference_line,
    shortened,
)
from mixedext.graphics.row_clouds import spread

__all__ = [
    "draw_index",
    "draw_influence",
    "index_frame",
    "influence_frame",
    "of_rows",
    "own_threshold",
]

# Units that are named, and that have names on the axis at most.
MOST_NAMED, MOST_TICKS = 5, 30
# Units that are drawn at most: of more, the most influential of each of so many runs.
MOST_DRAWN = 2000
# Points of the areas of circles, of no and of the largest influence.
SMALL, LARGE = 6.0, 420.0
MOST_CHARACTERS = 24
# Measures up to this size can be drawn: the limits of axes are some multiple of them.
LARGEST_DRAWN = 1e300
# Points within which names would lie over each other.
NAME_WIDTH, NAME_HEIGHT = 70.0, 11.0
# What measures are called on an axis.
LABELS = {
    "cooks": "Cook's distance",
    "cooks_d": "Cook's distance",
    "dfbetas": "largest |DFBETAS|",
    "mdffits": "MDFFITS",
    "cov_ratio": "COVRATIO",
    "cov_trace": "COVTRACE",
    "dffits": "DFFITS",
    "hat_diag": "leverage",
    "student_resid": "deleted residual",
    "standard_resid": "studentized residual",
}
# Measures that stand for no influence at one, not at zero.
AT_ONE = ("cov_ratio",)


def index_frame(influence: Any, y_var: str = "cooks") -> pd.DataFrame:
    """A measure of influence of every unit.

    Parameters
    ----------
    influence : MixedInfluence
        The measures.
    y_var : str
        "cooks"; "dfbetas", the largest in size over the coefficients; or a column of
        ``summary_frame``.

    Returns
    -------
    DataFrame
        One column, ``y_var``; a row a unit.
    """
    labels = influence.index
    if y_var == "cooks":
        values = np.asarray(influence.cooks_distance[0], float)
    elif y_var == "dfbetas":
        sizes = np.abs(np.asarray(influence.dfbetas, float))
        values = np.fmax.reduce(sizes, axis=1)
    else:
        frame = influence.summary_frame()
        if y_var not in frame:
            known = ["cooks", "dfbetas", *frame.columns]
            raise ValueError(
                f"y_var={y_var!r} is not a measure of influence; there are: "
                f"{', '.join(map(str, known))}{did_you_mean(y_var, known)}"
            )
        values = frame[y_var].to_numpy(float)
    return pd.DataFrame({y_var: values}, index=labels)


def own_threshold(y_var: str, n: int) -> float | None:
    """What a measure of ``n`` units is compared with by custom, None if with nothing."""
    if y_var in ("cooks", "cooks_d"):
        return 4.0 / n
    if y_var == "dfbetas" or y_var.startswith("dfb_"):
        return 2.0 / np.sqrt(n)
    return None


def draw_index(
    frame: pd.DataFrame, threshold: float | None = None, ax: Any = None, unit: str = "row"
) -> Any:
    """A measure by the number of the unit, with a threshold and the largest named.

    Parameters
    ----------
    frame : DataFrame
        As of ``index_frame``.
    threshold : float, optional
        Drawn as a line; units beyond it stand out and may be named.
    ax : Axes, optional
        Where to draw; on a new figure if None.
    unit : str, optional
        What a unit is.

    Returns
    -------
    Figure
    """
    y_var = str(frame.columns[0])
    values = frame.iloc[:, 0].to_numpy(float)
    sound = np.flatnonzero(_can_be_drawn(values))
    check_rows(sound, f"{unit} has a measure of influence")
    base = 1.0 if y_var in AT_ONE else 0.0
    size = np.abs(values - base)
    shown = _most_of_runs(sound, size)
    ax = one_axes(ax)
    reference_line(ax, y=base)
    few = len(shown) <= 200
    if few:
        ax.vlines(shown, base, values[shown], color=COLOURS[0], lw=1.0)
    ax.plot(shown, values[shown], "o", color=COLOURS[0], ms=4 if few else 2.5, mew=0)
    beyond = shown
    if threshold is not None:
        for sign in (1, -1) if (values[sound] < 0).any() else (1,):
            ax.axhline(sign * threshold, **(REFERENCE | {"ls": "--"}))
        beyond = shown[np.abs(values[shown]) > threshold]
        if len(beyond):
            ax.plot(
                beyond, values[beyond], "o", color=COLOURS[1], ms=5 if few else 3, mew=0
            )
    ax.margins(y=0.1)
    ax.autoscale_view()
    named = beyond[np.argsort(-size[beyond], kind="stable")[:MOST_NAMED]]
    _name_points(ax, named, values[named], frame.index[named])
    n = len(frame)
    if n <= MOST_TICKS:
        name_ticks(ax, "x", range(n), [shortened(v, MOST_CHARACTERS) for v in frame.index])
    ax.set_xlim(-0.5 - 0.02 * n, n - 0.5 + 0.02 * n)
    parts = []
    if threshold is not None:
        count = int(np.count_nonzero(np.abs(values[sound]) > threshold))
        parts.append(f"{count:,} of {n:,} beyond {threshold:.3g}")
    if len(shown) < len(sound):
        parts.append(f"the largest of each {-(-len(sound) // MOST_DRAWN):,} drawn")
    if len(sound) < n:
        parts.append(f"{n - len(sound):,} without a value to draw")
    label = LABELS.get(y_var, y_var)
    name = frame.index.name or unit
    label_axes(ax, str(name), label, "; ".join(parts) or None, small=True)
    return figure_of(ax)


def _can_be_drawn(values):
    """Whether values are finite, and not so large that the limits of an axis overflow."""
    return np.abs(values) <= LARGEST_DRAWN


def _most_of_runs(at: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Of many units the one with the largest size of each run of consecutive ones."""
    if len(at) <= MOST_DRAWN:
        return at
    step = -(-len(at) // MOST_DRAWN)
    runs = -(-len(at) // step)
    padded = np.full(runs * step, -np.inf)
    padded[: len(at)] = size[at]
    return at[np.arange(runs) * step + padded.reshape(runs, step).argmax(axis=1)]


def _name_points(ax, x, y, labels):
    """Names of points beside them, on the side where there is room; none over another."""
    if not len(x):
        return
    middle = 0.5 * sum(ax.get_xlim())
    places = ax.transData.transform(np.column_stack([x, y]))
    places *= 72 / ax.figure.dpi
    taken: list[tuple[float, float]] = []
    for number in np.argsort(places[:, 1], kind="stable"):
        right = x[number] > middle
        across, up = places[number]
        for other_across, other_up in taken:
            if abs(across - other_across) < NAME_WIDTH and up - other_up < NAME_HEIGHT:
                up = other_up + NAME_HEIGHT
        taken.append((across, up))
        ax.annotate(
            shortened(labels[number], MOST_CHARACTERS),
            (x[number], y[number]),
            xytext=(-6 if right else 6, up - places[number, 1]),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            fontsize="small",
            color="0.15",
            annotation_clip=True,
        ).set_in_layout(False)


# ---- what influence is made of ----


def influence_frame(influence: Any, scale: float) -> pd.DataFrame:
    """What influence is made of.

    Parameters
    ----------
    influence : MixedInfluence
        The measures.
    scale : float
        sigma^2 of the fit.

    Returns
    -------
    DataFrame
        Of rows: leverage, residual (deleted), cooks.  Of other units: cov_ratio (det of the
        covariance of the coefficients without the unit, over that with it), sigma_ratio
        (sigma without the unit, over that with it), cooks.
    """
    columns: dict[str, Any]
    if of_rows(influence):
        columns = {
            "leverage": influence.hat_matrix_diag,
            "residual": influence.resid_studentized_external,
        }
    else:
        columns = {
            "cov_ratio": influence.cov_ratio,
            "sigma_ratio": np.sqrt(influence.sigma2_not_obsi / scale),
        }
    columns["cooks"] = influence.cooks_distance[0]
    return pd.DataFrame(columns, index=influence.index)


def of_rows(influence: Any) -> bool:
    """Whether units are single rows, which have leverages."""
    return hasattr(influence, "hat_matrix_diag")


def draw_influence(frame: pd.DataFrame, ax: Any = None, unit: str = "row") -> Any:
    """Circles, whose areas are Cook's distances, at what these are made of.

    Parameters
    ----------
    frame : DataFrame
        As of ``influence_frame``.
    ax : Axes, optional
        Where to draw; on a new figure if None.
    unit : str, optional
        What a unit is.

    Returns
    -------
    Figure
    """
    whole, frame = len(frame), frame[_can_be_drawn(frame.to_numpy(float)).all(axis=1)]
    check_rows(frame, f"{unit} has measures of influence")
    x, y, cooks = (frame.iloc[:, i].to_numpy(float) for i in range(3))
    shown = np.arange(len(frame))
    if len(frame) > 2 * MOST_DRAWN:
        most = np.argpartition(-cooks, MOST_DRAWN)[:MOST_DRAWN]
        shown = np.union1d(most, spread(len(frame), MOST_DRAWN))
    rows = frame.columns[0] == "leverage"
    ax = one_axes(ax)
    if rows:
        reference_line(ax, y=0.0)
        for sign in (-1, 1):
            ax.axhline(sign * 2, **(REFERENCE | {"ls": "--"}))
    else:
        reference_line(ax, x=1.0, y=1.0)
    top = cooks.max() or 1.0
    threshold = 4.0 / whole
    beyond = cooks > threshold
    ax.scatter(
        x[shown],
        y[shown],
        s=SMALL + (LARGE - SMALL) * (cooks[shown] / top),
        c=np.where(beyond[shown], COLOURS[1], COLOURS[0]),
        alpha=0.5,
        linewidths=0.3,
        edgecolors="white",
        rasterized=len(shown) > 1000,
    )
    ax.margins(0.12)
    ax.autoscale_view()
    most = np.argsort(-cooks, kind="stable")[:MOST_NAMED]
    named = most[beyond[most]]
    _name_points(ax, x[named], y[named], frame.index[named])
    title = f"area: Cook's distance, at most {top:.3g}; {int(beyond.sum()):,} above 4/n"
    if len(shown) < len(frame):
        title += f"; {len(shown):,} of {len(frame):,} drawn"
    if len(frame) < whole:
        title += f"; {whole - len(frame):,} without a value to draw"
    if rows:
        labels = "leverage", "deleted residual"
    else:
        labels = f"COVRATIO without the {unit}", f"sigma without the {unit} / sigma"
    label_axes(ax, *labels, title, small=True)
    return figure_of(ax)
