"""What ``from_formula`` was given besides the formula, as far as columns name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Stated"]


@dataclass(frozen=True)
class Stated:
    """Arguments of ``from_formula`` by which a model can be made again of other data.

    Attributes
    ----------
    groups, weights, offset : str or None
        Columns; None where there is none, or values were given.
    re_formula : str or None
        As given.
    vc_formula : Mapping or None
        As given.
    missing : str
        As given.
    by_values : tuple of str
        Names of the arguments that were given as values.
    covariances : Mapping or None
        As given.
    """

    groups: str | None = None
    weights: str | None = None
    offset: str | None = None
    re_formula: str | None = None
    vc_formula: Mapping[str, str] | None = None
    missing: str = "none"
    by_values: tuple[str, ...] = ()
    covariances: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        re_formula: str | None,
        vc_formula: Mapping[str, str] | None,
        missing: str,
        **given: Any,
    ) -> Stated:
        """From the arguments; ``given`` are groups, weights and offset."""
        names = {what: _column(value) for what, value in given.items()}
        values = [w for w, v in given.items() if v is not None and names[w] is None]
        made = None if vc_formula is None else dict(vc_formula)
        return cls(
            **names,
            re_formula=re_formula,
            vc_formula=made,
            missing=missing,
            by_values=tuple(values),
        )


def _column(value):
    """The column that an argument names, by itself or in a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else None
