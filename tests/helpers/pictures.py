"""What every picture must be: nothing outside it, nothing over another, not too much."""

from __future__ import annotations

from itertools import combinations

import numpy as np

MOST_ARTISTS = 2000


def drawn(figure, most_artists=MOST_ARTISTS):
    """Draw a figure, check it, and give it back."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.canvas.draw()
    assert len(figure.findobj(lambda a: a.get_visible())) <= most_artists
    assert_text_inside(figure)
    for ax in figure.axes:
        if ax.get_visible():
            assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
            assert_ticks_apart(ax)
    return figure


def texts_of(figure):
    """Texts that are seen, with their boxes."""
    from matplotlib.text import Text

    hidden = {
        id(text)
        for ax in figure.axes
        if not ax.get_visible() or not ax.axison
        for text in ax.findobj(Text)
    }
    for ax in figure.axes:  # ticks beyond the limits are not drawn
        for axis in (ax.xaxis, ax.yaxis):
            shown = {id(tick) for tick in axis._update_ticks()} if ax.get_visible() else ()
            for tick in [*axis.majorTicks, *axis.minorTicks]:
                if id(tick) not in shown:
                    hidden |= {id(tick.label1), id(tick.label2)}
    for text in figure.findobj(Text):
        if id(text) not in hidden and text.get_visible() and text.get_text().strip():
            yield text, text.get_window_extent()


def assert_text_inside(figure):
    whole = figure.bbox
    for text, box in texts_of(figure):
        assert box.x0 >= whole.x0 - 1, (text.get_text(), box, whole)
        assert box.x1 <= whole.x1 + 1, (text.get_text(), box, whole)
        assert box.y0 >= whole.y0 - 1, (text.get_text(), box, whole)
        assert box.y1 <= whole.y1 + 1, (text.get_text(), box, whole)


def assert_ticks_apart(ax):
    """No tick label over another of the same axis."""
    for axis in (ax.xaxis, ax.yaxis):
        labels = [t.label1 for t in axis._update_ticks() if t.label1.get_visible()]
        boxes = [t.get_window_extent() for t in labels if t.get_text().strip()]
        for a, b in combinations(boxes, 2):
            apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
            assert apart, (ax.get_xlabel(), [t.get_text() for t in labels])
