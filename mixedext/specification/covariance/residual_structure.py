"""The base of the objects that state the correlation of residuals, and what they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from numbers import Real
from typing import Any, ClassVar

import numpy as np

__all__ = [
    "ResidualStructure",
    "check_between",
    "is_row_order",
    "name_of",
    "shown",
    "written",
]


class ResidualStructure:
    """What the structures have in common."""

    #: What stands before the parenthesis in the text form; of het=True with "h".
    call: ClassVar[str]
    #: In words.
    means: ClassVar[str]
    #: Whether rows are placed by visits; by times or coordinates otherwise.
    over_visits: ClassVar[bool] = True
    #: Whether another order of the visits is another model.
    ordered: ClassVar[bool] = True
    #: Whether differences of visits count, not only their order.
    by_lag: ClassVar[bool] = False
    group: Any = None
    by: Any = None
    start: Any = None
    fixed: bool = False

    @property
    def places(self) -> tuple[Any, ...]:
        """Names or values of the visits, the times, or each of the coordinates."""
        value = getattr(self, "visit", getattr(self, "time", None))
        return () if value is None else (value,)

    @property
    def factors(self) -> tuple[Any, ...]:
        """Names or values of the factors whose levels together are the groups."""
        if self.group is None:
            return ()
        return self.group if isinstance(self.group, tuple) else (self.group,)

    @property
    def is_het(self) -> bool:
        """Whether each visit has a variance of its own."""
        return bool(getattr(self, "het", False))

    @property
    def text_call(self) -> str:
        """What stands before the parenthesis in the text form."""
        return f"{self.call}h" if self.is_het else self.call

    def columns(self) -> dict[str, Any]:
        """The columns, as names or values, by their role."""
        role = "visit" if self.over_visits else "coordinate"
        places = [p for p in self.places if not is_row_order(p)]
        out = {f"{role} {i + 1}": place for i, place in enumerate(places)}
        out |= {f"group {i + 1}": factor for i, factor in enumerate(self.factors)}
        return out if self.by is None else out | {"by": self.by}

    def start_values(self) -> dict[str, Any]:
        """Values to start from by the name of the argument, those that are given."""
        given = {name: getattr(self, name, None) for name in ("rho", "ar", "ma", "range")}
        return {name: value for name, value in given.items() if value is not None}

    def _options(self) -> list[str]:
        """What stands after the groups in the text form."""
        out = [] if self.by is None else [f"by={written(self.by, 'by')}"]
        out += [f"{name}={_number(v)}" for name, v in self.start_values().items()]
        if isinstance(self.start, Mapping):
            out.append(f"start={dict(self.start)!r}")
        return out + ["fixed=True"] * bool(self.fixed)

    def __str__(self) -> str:
        """The text form; values by rows are called by their role or their Series."""
        roles = {"visit": "visit", "time": "time"}
        role = next((r for r in roles if hasattr(self, r)), "coordinate")
        names = ["1" if is_row_order(p) else written(p, role) for p in self.places]
        text = ", ".join(names) or "1"
        if self.factors:
            text += f" | {':'.join(written(f, 'group') for f in self.factors)}"
        return f"{self.text_call}({', '.join([text, *self._options()])})"

    def __repr__(self) -> str:
        given = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is None or (isinstance(value, bool) and value == field.default):
                continue
            given.append(f"{field.name}={shown(value)}")
        return f"{type(self).__name__}({', '.join(given)})"

    def _check(self, *flags: str) -> None:
        """The checks that all structures share."""
        owner = type(self).__name__
        for name in (*flags, "fixed"):
            _check_flag(owner, name, getattr(self, name))
        if isinstance(self.group, list) and all(isinstance(g, str) for g in self.group):
            object.__setattr__(self, "group", tuple(self.group))
        if isinstance(self.start, Mapping):
            for name, value in self.start.items():
                check_between(f"{owner}: start of {name!r}", value, -np.inf, np.inf)
        elif self.start is not None and self.call != "us":
            raise ValueError(f"{owner}: start must map names of parameters to numbers")
        if self.fixed and not self.start_values() and self.start is None:
            raise ValueError(
                f"{owner}: fixed=True holds the values that are given, and none is"
            )

    def _numbers(self, name: str, count: int | None = None) -> None:
        """Make a tuple of the values to start from; None stays."""
        value = getattr(self, name)
        if value is None:
            return
        owner = type(self).__name__
        values = (value,) if isinstance(value, Real) else tuple(value)
        if count is not None and len(values) != count:
            raise ValueError(f"{owner}: {name} has {len(values)} values; expected {count}")
        for one in values:
            check_between(f"{owner}: {name}", one, -np.inf, np.inf)
        object.__setattr__(self, name, tuple(float(v) for v in values))


def is_row_order(value: Any) -> bool:
    """Whether a visit is 1, by which the order of the rows is meant."""
    return isinstance(value, int) and not isinstance(value, bool) and value == 1


def name_of(value: Any, default: str) -> str:
    """What a column is called: its name, that of a Series, or else the default."""
    name = value if isinstance(value, str) else getattr(value, "name", None)
    return name if isinstance(name, str) and name else default


def check_between(name: str, value: Any, low: float, high: float) -> None:
    """Refuse a value to start from that is not a number within its range.

    Parameters
    ----------
    name : str
        Of the argument, with its owner.
    value : object
        What is given; None is let through.
    low, high : float
        Limits, outside of the range.

    Raises
    ------
    ValueError
    """
    if value is None:
        return
    sound = isinstance(value, Real) and not isinstance(value, bool)
    sound = sound and bool(np.isfinite(float(value)))
    if not sound or not low < value < high:
        raise ValueError(f"{name}={value!r} must be a number in ({low:g}, {high:g})")


def _check_flag(owner, name, value):
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{owner}: {name}={value!r} must be True or False")


def shown(value: Any) -> str:
    """A value as code; values by rows by their kind."""
    if isinstance(value, str | Real):
        return repr(value)
    if isinstance(value, Mapping):
        return repr(dict(value))
    short = isinstance(value, tuple | list) and len(value) < 10
    if short and all(isinstance(v, str | Real) for v in value):
        return repr(value)
    return f"<{name_of(value, type(value).__name__)}>"


def written(value: Any, default: str) -> str:
    """A name as text forms have it."""
    name = name_of(value, default)
    return name if name.replace(".", "_").isidentifier() else f"`{name}`"


def _number(value):
    if isinstance(value, tuple):
        return f"({', '.join(map(_number, value))}{',' * (len(value) == 1)})"
    return repr(float(value))
