"""Figures that no state of matplotlib.pyplot knows of; imported only where one is drawn."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

__all__ = ["OwnFigure"]


class OwnFigure(Figure):
    """A Figure that notebooks show though pyplot does not manage it."""

    def _repr_png_(self) -> bytes:
        """The picture, for IPython."""
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()
