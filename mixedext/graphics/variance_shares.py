"""Shares of the variance: a bar of its components."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_choice
from mixedext.fitted import HasFitted
from mixedext.graphics.figures import COLOURS, figure_of, label_axes, one_axes, shortened
from mixedext.inference.variances.estimates import var_corr
from mixedext.inference.variances.icc_and_r2 import icc, r2_nakagawa

__all__ = ["plot_variance_shares", "variance_shares_data"]

RESIDUAL, FIXED = "Residual", "fixed effects"
# Characters of a name in the legend.
MOST_CHARACTERS = 32
# Where the bar is in the picture, from the bottom; the legend stands below it.
MIDDLE, BREADTH = 0.77, 0.4
# Share from which on it is printed in the bar.
LEAST_NAMED = 0.06


def variance_shares_data(
    results: HasFitted,
    ci: str | None = None,
    fixed: bool = False,
    alpha: float = 0.05,
    *,
    level: float | None = None,
    n: int = 1000,
    rng: Any = None,
) -> pd.DataFrame:
    """What ``plot_variance_shares`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    ci, fixed, alpha, level, n, rng
        As for ``plot_variance_shares``.

    Returns
    -------
    DataFrame
        share, lower, upper, zero; a row a grouping factor, then the fixed effects if they
        are shown, and the residual.  Shares sum to one; limits are NaN where there are
        none.  ``zero``: what of the factor has variance zero, empty if nothing.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.variance_shares import variance_shares_data
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> variance_shares_data(result)["share"].round(4).to_dict()
    {'Batch': 0.4185, 'Residual': 0.5815}
    """
    fitted = results.fitted
    check_choice(ci, "ci", (None, "delta", "bootstrap"))
    rows: dict[str, dict[str, Any]] = {}
    table = var_corr(fitted)
    for group in fitted.random.groups:
        found = icc(
            fitted, group, ci, adjusted=not fixed, alpha=alpha, level=level, n=n, rng=rng
        )
        own = {"share": found, "lower": np.nan, "upper": np.nan}
        if not isinstance(found, float):
            own = {"share": found.estimate, "lower": found.lower, "upper": found.upper}
        zero = table["name"][(table["group"] == group) & (table["variance"] <= 0)]
        rows[group] = {**own, "zero": ", ".join(dict.fromkeys(zero.astype(str)))}
    residual = 1.0 - sum(row["share"] for row in rows.values())
    if fixed:
        r2 = r2_nakagawa(fitted)
        residual = 1.0 - r2.conditional
        rows[FIXED] = {"share": r2.marginal, "lower": np.nan, "upper": np.nan, "zero": ""}
    rows[RESIDUAL] = {"share": residual, "lower": np.nan, "upper": np.nan, "zero": ""}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("component")


def plot_variance_shares(
    results: HasFitted,
    ci: str | None = None,
    fixed: bool = False,
    alpha: float = 0.05,
    *,
    level: float | None = None,
    n: int = 1000,
    rng: Any = None,
    ax: Any = None,
) -> Any:
    """A bar of the variance, divided into what grouping factors and the residual share.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    ci : {None, "delta", "bootstrap"}, optional
        Intervals of the shares, which are intraclass correlations; see ``icc``.
    fixed : bool, optional
        Whether the variance of the fixed effects has a share.
    alpha, level : float, optional
        One minus the confidence level, or the level.
    n : int, optional
        Number of refits of the bootstrap, for each factor.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If an argument is not known, or the rows are not in memory.

    Notes
    -----
    With random slopes the variance of a factor is its mean over the rows.  The legend names
    effects whose variance is zero.

    See Also
    --------
    mixedext.graphics.variance_shares.variance_shares_data : the numbers.
    icc : the shares with their intervals.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> figure = result.plot_variance_shares(ci="delta")  # doctest: +SKIP
    """
    frame = variance_shares_data(results, ci, fixed, alpha, level=level, n=n, rng=rng)
    ax = one_axes(ax, height=2.4 + 0.24 * len(frame))
    colour = {FIXED: "0.55", RESIDUAL: "0.85"}
    factors = [name for name in frame.index if name not in colour]
    for i, name in enumerate(factors):
        colour[name] = COLOURS[i % len(COLOURS)]
    start = 0.0
    for name, row in frame.iterrows():
        share = float(row["share"])
        (bar,) = ax.barh(
            MIDDLE, share, left=start, height=BREADTH, color=colour[name], edgecolor="white"
        )
        bar.set_label(_in_words(str(name), row))
        if share >= LEAST_NAMED:
            dark = name != RESIDUAL
            ax.text(
                start + share / 2,
                MIDDLE,
                f"{share:.0%}",
                ha="center",
                va="center",
                color="white" if dark else "black",
            )
        start += share
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(0.0, 1.0)
    ax.set_yticks([])
    ax.xaxis.tick_top()
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.spines[["left", "right", "bottom"]].set_visible(False)
    ax.legend(frameon=False, loc="lower left", fontsize="small", borderaxespad=0.0)
    label_axes(ax, title="Shares of the variance", small=True)
    return figure_of(ax)


def _in_words(name: str, row: pd.Series) -> str:
    """What the legend says of a share."""
    text = f"{shortened(name, MOST_CHARACTERS)} {row['share']:.1%}"
    if np.isfinite(row["lower"]):
        text += f" [{row['lower']:.1%}, {row['upper']:.1%}]"
    if row["zero"]:
        text += f"; variance 0: {shortened(row['zero'], MOST_CHARACTERS)}"
    return text
