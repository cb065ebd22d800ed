"""What users state of standard deviations of residuals: an object a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from mixedext.specification.covariance.residual_structure import (
    check_between,
    shown,
    written,
)

__all__ = [
    "FITTED",
    "StatedVariance",
    "VarConstPower",
    "VarExp",
    "VarFixed",
    "VarIdent",
    "VarPower",
    "VarianceProduct",
]

#: The covariate that stands for the fitted values, unless the data have such a column.
FITTED = "fitted"


class StatedVariance:
    """What the functions have in common; their products are the variances of residuals."""

    #: What stands before the parenthesis in the text form.
    call: ClassVar[str]
    #: Names of the values that a search may start from.
    parameters: ClassVar[tuple[str, ...]] = ()
    covariate: Any = None
    strata: Any = None
    fixed: bool = False

    @property
    def factors(self) -> tuple[Any, ...]:
        """Names or values of the factors whose levels together are the strata."""
        if self.strata is None:
            return ()
        return self.strata if isinstance(self.strata, tuple) else (self.strata,)

    def columns(self) -> dict[str, Any]:
        """The columns, as names or values, by their role."""
        out = {} if self.covariate is None else {"covariate": self.covariate}
        return out | {f"stratum {i + 1}": factor for i, factor in enumerate(self.factors)}

    def start_values(self) -> dict[str, float]:
        """Values to start from, those that are given."""
        given = {name: getattr(self, name) for name in self.parameters}
        return {name: value for name, value in given.items() if value is not None}

    def __mul__(self, other: StatedVariance | VarianceProduct) -> VarianceProduct:
        if isinstance(other, VarianceProduct):
            return VarianceProduct((self, *other.parts))
        return (
            VarianceProduct((self, other))
            if isinstance(other, StatedVariance)
            else NotImplemented
        )

    def __str__(self) -> str:
        parts = [] if self.covariate is None else [written(self.covariate, "covariate")]
        if self.factors:
            parts.append(":".join(written(f, "stratum") for f in self.factors))
        options = [f"{name}={value!r}" for name, value in self.start_values().items()]
        options += ["fixed=True"] * bool(self.fixed)
        return f"{self.call}({', '.join([' | '.join(parts), *options])})"

    def __repr__(self) -> str:
        given = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is None or value is False:
                continue
            given.append(f"{field.name}={shown(value)}")
        return f"{type(self).__name__}({', '.join(given)})"

    def _check(self) -> None:
        owner = type(self).__name__
        if not isinstance(self.fixed, bool | np.bool_):
            raise ValueError(f"{owner}: fixed={self.fixed!r} must be True or False")
        if self.fixed and not self.start_values():
            raise ValueError(
                f"{owner}: fixed=True holds the values that are given, and none is"
            )
        for name in ("covariate", "strata"):
            if isinstance(getattr(self, name), str) and not getattr(self, name).strip():
                raise ValueError(f"{owner}: {name} is empty")


@dataclass(frozen=True, eq=False)
class VarianceProduct:
    """A product of variance functions."""

    parts: tuple[StatedVariance, ...]

    def __mul__(self, other: Any) -> VarianceProduct:
        if isinstance(other, VarianceProduct):
            return VarianceProduct((*self.parts, *other.parts))
        if isinstance(other, StatedVariance):
            return VarianceProduct((*self.parts, other))
        return NotImplemented

    def __str__(self) -> str:
        return " * ".join(map(str, self.parts))


@dataclass(frozen=True, eq=False, repr=False)
class VarIdent(StatedVariance):
    """A standard deviation for each level of a factor; nlme's varIdent.

    Text: ``"ident(sex)"``, ``"ident(sex:diet)"``.

    Parameters
    ----------
    strata : str or array_like
        The factor; several, of which strata are the combinations, in a tuple or as
        ``"a:b"``.  Standard deviations are relative to the first level, whose own is
        ``sigma``.
    ratios : Mapping, optional
        Where the search begins: ratios to the first level, by level.
    fixed : bool, optional
        Whether the values given are held.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.VarIdent("sex"))
    ident(sex)
    """

    call: ClassVar[str] = "ident"
    strata: Any
    _: KW_ONLY
    ratios: Mapping[Any, float] | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        if self.ratios is not None and not isinstance(self.ratios, Mapping):
            raise ValueError("VarIdent: ratios must map levels to numbers")
        for value in (self.ratios or {}).values():
            check_between("VarIdent: ratio", value, 0, np.inf)
        self._check()

    def start_values(self) -> dict[Any, float]:
        return dict(self.ratios or {})

    def __str__(self) -> str:
        return f"ident({':'.join(written(f, 'stratum') for f in self.factors)})"


@dataclass(frozen=True, eq=False, repr=False)
class VarPower(StatedVariance):
    """Standard deviation as a power of a covariate; nlme's varPower.

    Text: ``"power(time)"``, ``"power(time | qb)"``, ``"power(fitted)"``.

    Parameters
    ----------
    covariate : str or array_like
        Positive values; ``"fitted"`` stands for the fitted values of the last iteration.
    strata : str or array_like, optional
        Factor whose levels have powers of their own.
    power : float, optional
        Where the search begins, and the value itself with ``fixed``.
    fixed : bool, optional
        Whether the value given is held.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.VarIdent("qb") * mx.VarPower("pressure"))
    ident(qb) * power(pressure)
    """

    call: ClassVar[str] = "power"
    parameters: ClassVar[tuple[str, ...]] = ("power",)
    covariate: Any
    strata: Any = None
    _: KW_ONLY
    power: float | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        check_between("VarPower: power", self.power, -np.inf, np.inf)
        self._check()


@dataclass(frozen=True, eq=False, repr=False)
class VarExp(StatedVariance):
    """Standard deviation as the exponential of a covariate; nlme's varExp.

    Text: ``"exp(time)"``, ``"exp(time | qb)"``.

    Parameters
    ----------
    covariate : str or array_like
        Any numbers; ``"fitted"`` as for ``VarPower``.
    strata : str or array_like, optional
        Factor whose levels have rates of their own.
    rate : float, optional
        Where the search begins: the change of the log standard deviation by unit.
    fixed : bool, optional
        Whether the value given is held.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.VarExp("time", "diet"))
    exp(time | diet)
    """

    call: ClassVar[str] = "exp"
    parameters: ClassVar[tuple[str, ...]] = ("rate",)
    covariate: Any
    strata: Any = None
    _: KW_ONLY
    rate: float | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        check_between("VarExp: rate", self.rate, -np.inf, np.inf)
        self._check()


@dataclass(frozen=True, eq=False, repr=False)
class VarConstPower(StatedVariance):
    """Standard deviation as a constant plus a power of a covariate; nlme's varConstPower.

    Text: ``"constpower(time)"``.

    Parameters
    ----------
    covariate : str or array_like
        Values of which sizes count: the standard deviation is
        ``const + |covariate| ** power``, times ``sigma``.
    strata : str or array_like, optional
        Factor whose levels have parameters of their own.
    const, power : float, optional
        Where the search begins.
    fixed : bool, optional
        Whether the values given are held.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.VarConstPower("time"))
    constpower(time)
    """

    call: ClassVar[str] = "constpower"
    parameters: ClassVar[tuple[str, ...]] = ("const", "power")
    covariate: Any
    strata: Any = None
    _: KW_ONLY
    const: float | None = None
    power: float | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        check_between("VarConstPower: const", self.const, 0, np.inf)
        check_between("VarConstPower: power", self.power, -np.inf, np.inf)
        self._check()


@dataclass(frozen=True, eq=False, repr=False)
class VarFixed(StatedVariance):
    """Variance proportional to a covariate, with nothing to estimate; nlme's varFixed.

    Text: ``"fixed(time)"``.

    Parameters
    ----------
    covariate : str or array_like
        Positive values.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.VarFixed("time"))
    fixed(time)
    """

    call: ClassVar[str] = "fixed"
    covariate: Any

    def __post_init__(self) -> None:
        self._check()
