"""Offsets of a formula: their expressions, and what these have learned from the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixedext.specification.formula.formula_engine import FormulaEngine, offset_column
from mixedext.specification.formula.portable_spec import portable_spec

__all__ = ["OffsetTerm", "evaluated_offset"]


@dataclass(frozen=True, eq=False)
class OffsetTerm:
    """One ``offset(...)`` of a formula.

    Attributes
    ----------
    text : str
        Its expression.
    spec : object
        The formula engine's specification of it, by which new data are as in the fit.
    """

    text: str
    spec: Any

    def __str__(self) -> str:
        return f"offset({self.text})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "spec": portable_spec(self.spec)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def evaluated_offset(engine: FormulaEngine, text: str) -> tuple[OffsetTerm, np.ndarray]:
    """An offset on the rows of the fit, and its values, (n,)."""
    values = offset_column(engine, text)
    return OffsetTerm(text, engine.manager.spec), values
