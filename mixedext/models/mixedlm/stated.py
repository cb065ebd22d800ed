"""What ``from_formula`` was given besides the formula, as far as columns name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mixedext.specification.covariance.residual_columns import StatedResidual

__all__ = ["Stated"]


@dataclass(frozen=True)
class Stated:
    """Arguments of ``from_formula`` by which a model can be made again of other data.

    Attributes
    ----------
    groups, weights, offset, freq_weights, exposure : str or None
        Columns; None where there is none, or values were given.
    re_formula : str or None
        As given.
    vc_formula : Mapping or None
        As given.
    missing : str
        As given.
    by_values : tuple of str
        Names of the arguments that were given as values.
    residual, variance : object
        As given; None where their objects hold values.
    covariances, vc_formulas : Mapping or None
        As given.
    family : object
        As given.
    """

    groups: str | None = None
    weights: str | None = None
    offset: str | None = None
    re_formula: str | None = None
    vc_formula: Mapping[str, str] | None = None
    missing: str = "none"
    by_values: tuple[str, ...] = ()
    residual: Any = None
    variance: Any = None
    covariances: Mapping[str, Any] | None = None
    vc_formulas: Mapping[str, str] | None = None
    family: Any = None
    freq_weights: str | None = None
    exposure: str | None = None

    @classmethod
    def of(
        cls,
        re_formula: str | None,
        vc_formula: Mapping[str, str] | None,
        missing: str,
        **given: Any,
    ) -> Stated:
        """From the arguments; ``given`` are those that may name columns."""
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

    def without_groups(self) -> Stated:
        """For a formula that says all random terms in bars."""
        values = tuple(what for what in self.by_values if what != "groups")
        return replace(
            self, groups=None, re_formula=None, vc_formula=None, by_values=values
        )

    def with_residual(
        self, residual: Any, variance: Any, stated: StatedResidual | None
    ) -> Stated:
        """With ``residual`` and ``variance`` as given, of which ``stated`` was made."""
        if stated is None:
            return self
        if stated.holds_values():
            return replace(self, by_values=(*self.by_values, "residual"))
        return replace(self, residual=residual, variance=variance)


def _column(value):
    """The column that an argument names, by itself or in a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else None
