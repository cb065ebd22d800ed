"""The result of a statistical test: what all of them have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["TestResult"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TestResult:
    """A statistic with its p-value and how it was found.

    Attributes
    ----------
    statistic : float
        The test's statistic.
    pvalue : float
        Its p-value.
    df_num, df_denom : float or None
        Degrees of freedom: of F both, of chi-squared the first, of t the second; None where
        the law has none.
    method : str
        How the p-value was found.
    notes : tuple of str
        What the reader must know.
    """

    __test__: ClassVar[bool] = False  # no test of pytest's, whatever it is called

    statistic: float
    pvalue: float
    df_num: float | None = None
    df_denom: float | None = None
    method: str = ""
    notes: tuple[str, ...] = ()
