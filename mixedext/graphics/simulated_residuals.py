"""Simulated residuals: against the uniform law, and against fitted means."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.graphics.figures import (
    GREY,
    check_rows,
    figure_of,
    label_axes,
    panels,
    reference_line,
)
from mixedext.graphics.row_clouds import draw_cloud, draw_curve, draw_points, lowess_curve
from mixedext.graphics.row_clouds import spread as evenly

__all__ = ["plot_simulated_residuals"]

# Order statistics that are drawn.
MOST_ORDERS = 5000


def plot_simulated_residuals(residuals: Any, ax: Any = None) -> Any:
    """Draw simulated residuals: uniform quantiles, and residuals by fitted mean.

    Parameters
    ----------
    residuals : SimulatedResiduals
        The residuals.
    ax : array of two Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure
        The curve on the right is a local regression; it is level at one half where the
        model holds.
    """
    frame = residuals.to_frame().dropna(subset=["residual"])
    check_rows(frame, "row has a residual")
    first, second = panels(ax, 2, width=4.2, height=4.0, columns=2)
    values = np.sort(frame["residual"].to_numpy(float))
    at = evenly(len(values), MOST_ORDERS)
    expected = (np.arange(len(values)) + 0.5) / len(values)
    first.plot([0, 1], [0, 1], color=GREY, lw=0.9, zorder=1)
    draw_points(first, expected[at], values[at])
    label_axes(first, "uniform quantile", "residual", "Simulated residuals", small=True)
    rank = frame["fitted"].rank(method="average").to_numpy(float)
    rank = (rank - 0.5) / len(rank)
    own = frame["residual"].to_numpy(float)
    note = draw_cloud(second, rank, own)
    draw_curve(second, lowess_curve(rank, own))
    reference_line(second, y=0.5)
    title = note or f"{residuals.n} simulations"
    label_axes(second, "rank of the fitted mean", "residual", title, small=True)
    second.set_ylim(-0.02, 1.02)
    return figure_of(first)
