"""The page of nine pictures that a fit is checked by."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from mixedext.fitted import HasFitted
from mixedext.graphics.figures import figure_of, label_axes, panels, plain, shortened
from mixedext.graphics.influence_plots import plot_index
from mixedext.graphics.observed import plot_observed
from mixedext.graphics.quantiles import plot_qq
from mixedext.graphics.random_effects import plot_qq_random, plot_random_effects
from mixedext.graphics.residual_plots import plot_residuals, plot_scale_location
from mixedext.graphics.row_levels import default_factor
from mixedext.graphics.variance_shares import plot_variance_shares
from mixedext.inference.random_effects.modes import ranef, terms_of

__all__ = ["check_model"]

FIGSIZE = (13.0, 11.5)
NO_FACTOR = "the model has no grouping factor"
# Points of text: of titles and labels, and of what stands in place of a picture.
SMALL, TINY = 8.5, 7.5
# Characters of its lines, and of the name of a level.
WRAPPED, LONGEST = 40, 16


def check_model(
    results: HasFitted,
    figsize: tuple[float, float] = FIGSIZE,
    group: str | None = None,
    ax: Any = None,
) -> Any:
    """Nine pictures by which a fit is checked; each title says what one wants to see.

    Residuals and their spread against fitted values, and against normal quantiles;
    conditional modes against normal quantiles, and with their intervals; influence of rows
    and of levels; observed values against fitted ones; shares of the variance.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    figsize : tuple of float, optional
        Inches of the page.
    group : str, optional
        The grouping factor whose modes and levels are shown; the one with the most levels
        if None.
    ax : array_like of Axes, optional
        Nine axes to draw on; a page of 3 x 3 if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the factor is not known, there are too few axes, or the rows are not in memory.

    Notes
    -----
    Of long data points are counted in hexagons, curves are made of 10,000 rows, and of
    influence the largest of each run of rows is drawn.  Pictures of modes are of the
    factor's first effect.  A picture that a fit does not have says why.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> page = result.check_model()  # doctest: +SKIP
    """
    fitted = results.fitted
    fitted.need_rows()
    if group is not None:
        terms_of(fitted, group)
    group = default_factor(fitted) if group is None else group
    axes = panels(ax, 9, width=figsize[0] / 3, height=figsize[1] / 3, columns=3)
    for one, (title, draw) in zip(axes, _panels(results, group), strict=True):
        draw(one)
        _entitle(one, title)
        _shrink(one)
    return figure_of(axes)


def _panels(
    results: HasFitted, group: str | None
) -> list[tuple[str, Callable[[Any], Any]]]:
    """Title and drawing of each picture."""

    fitted = results.fitted
    unknown = fitted.fit.held is not None or not fitted.fixed.rank
    unknown = unknown or fitted.fit.residual is not None

    def by_law(draw):
        """Of what rests on the law of the estimates, which not all fits have."""

        def panel(ax):
            try:
                return draw(ax)
            except (ValueError, NotImplementedError) as error:
                if not unknown:
                    raise
                return _say(ax, str(error))

        return panel

    def of_factor(draw):
        return by_law(draw if group else lambda ax: _say(ax, NO_FACTOR))

    def modes(plot):
        def draw(ax):
            effect = ranef(results, group).columns[0]
            return plot(results, group, effect=effect, ax=ax)

        return of_factor(draw)

    own = group or "levels"
    return [
        ("Residuals: no trend", lambda ax: plot_residuals(results, ax=ax)),
        ("Spread: a level curve", by_law(lambda ax: plot_scale_location(results, ax=ax))),
        ("Residuals: on the line", by_law(lambda ax: plot_qq(results, ax=ax))),
        (f"Modes of {own}: on the line", modes(plot_qq_random)),
        (f"Modes of {own}: none far off", modes(plot_random_effects)),
        ("Rows: none far above", by_law(lambda ax: plot_index(results, ax=ax))),
        (f"{own}: none far above", of_factor(lambda ax: plot_index(results, group, ax=ax))),
        (
            "Observed: along the line",
            lambda ax: plot_observed(results, "conditional", ax=ax),
        ),
        ("Shares of the variance", lambda ax: plot_variance_shares(results, ax=ax)),
    ]


def _say(ax: Any, text: str) -> None:
    """A text in place of a picture."""
    ax.clear()
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.text(
        0.5,
        0.5,
        "\n".join(plain(line) for line in textwrap.wrap(text, WRAPPED)),
        ha="center",
        va="center",
        color="0.4",
        fontsize=SMALL,
        transform=ax.transAxes,
    )


def _entitle(ax: Any, title: str) -> None:
    """A title above what the picture's own said."""
    found = " ".join(ax.get_title().split()).replace(r"\$", "$")
    label_axes(ax, title=title, small=True, title_size=SMALL)
    lines = [ax.get_title()]
    if found and found != title:
        label_axes(ax, title=found, small=True, title_size=SMALL)
        lines.append(ax.get_title())
    ax.set_title("\n".join(lines), fontsize=SMALL)


def _shrink(ax: Any) -> None:
    """Text of the size of a panel on a page."""
    ax.tick_params(labelsize=TINY)
    names = [text.get_text() for text in ax.get_yticklabels()]
    if any(len(name) > LONGEST for name in names):  # they would make the column wide
        short = [shortened(name.replace(r"\$", "$"), LONGEST) for name in names]
        ax.set_yticks(ax.get_yticks(), short)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_fontsize(SMALL)
    legend = ax.get_legend()
    for text in [*ax.texts, *(legend.get_texts() if legend else [])]:
        text.set_fontsize(TINY)
