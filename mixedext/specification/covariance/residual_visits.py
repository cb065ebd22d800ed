"""From the labels of visits to places in order."""

from __future__ import annotations

import re
import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mixedext.exceptions import CategoryWarning, DesignError, user_stacklevel
from mixedext.limits import MOST_VISITS
from mixedext.specification.data.labels import factorize

__all__ = ["Visits", "visits_of"]

_DIGITS = re.compile(r"(\d+)")


class Visits(NamedTuple):
    """Visits of rows.

    Attributes
    ----------
    codes : ndarray
        Number of the visit of each row among those that occur, (n,) intp.
    labels : list
        Labels of the visits that occur, in order.
    positions : ndarray
        Their places 0, ..., whose differences are lags, (len(labels),) intp.
    """

    codes: np.ndarray
    labels: list
    positions: np.ndarray

    @property
    def n_places(self) -> int:
        """Number of places, those without rows among them."""
        return int(self.positions[-1]) + 1

    @property
    def at_positions(self) -> list:
        """Labels of all places; of whole numbers also of those without rows."""
        if self.n_places == len(self.labels):
            return self.labels
        first, second = self.labels[:2]
        step = (second - first) // int(self.positions[1])
        return [first + step * k for k in range(self.n_places)]


def visits_of(values: Any, name: str, ordered: bool, by_lag: bool) -> Visits:
    """Visits of a column.

    Parameters
    ----------
    values : Series or array
        The column, nothing missing.
    name : str
        What it is called.
    ordered : bool
        Whether the order of the visits counts.
    by_lag : bool
        Whether gaps between whole numbers count.

    Raises
    ------
    DesignError
        If it is no column of visits; says what would do.

    Warns
    -----
    CategoryWarning
        If the visits are text without numbers, in the order of the alphabet.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes, levels = factorize(values)
        return Visits(codes.astype(np.intp), list(levels), np.arange(len(levels)))
    kind = getattr(dtype, "kind", "O")
    if kind in "mM":
        raise DesignError(
            f"the visits {name!r} are {'dates' if kind == 'M' else 'durations'}: make "
            f"days of them, (x - x.min()).dt.days, for car1(days | g), or an ordered "
            "categorical of visits"
        )
    codes, levels = factorize(values)
    codes = codes.astype(np.intp)
    if kind in "iub":
        numbers = levels.to_numpy().astype(np.int64)
    elif kind == "f":
        numbers = _whole(np.asarray(levels, float), name)
    else:
        return _of_text(codes, levels, name, ordered)
    labels = numbers.tolist() if kind != "b" else list(levels)
    return Visits(codes, labels, _positions(numbers, name, by_lag))


def _whole(numbers, name):
    """Whole numbers of floats that are whole."""
    odd = numbers[numbers != np.rint(numbers)]
    if len(odd):
        raise DesignError(
            f"the visits {name!r} are not whole numbers ({name}={odd[0]:g}): "
            f"car1({name} | g) takes times; for visits in their order make it an ordered "
            "categorical"
        )
    if np.abs(numbers).max(initial=0) > 2.0**53:
        raise DesignError(f"the visits {name!r} are too large for whole numbers")
    return numbers.astype(np.int64)


def _positions(numbers, name, by_lag):
    """Places of ascending whole numbers, in their greatest common step."""
    if not by_lag or len(numbers) < 2:
        return np.arange(len(numbers))
    gaps = np.diff(numbers)
    places = np.append(0, np.cumsum(gaps // np.gcd.reduce(gaps))).astype(np.intp)
    if places[-1] >= MOST_VISITS:
        raise DesignError(
            f"the visits {name!r} run from {numbers[0]} to {numbers[-1]}, which is "
            f"{places[-1] + 1} of their greatest common step: car1({name} | g) takes "
            "times; if their order alone counts make it an ordered categorical"
        )
    return places


def _of_text(codes, levels, name, ordered):
    """Visits of labels that are no numbers, in natural order."""
    texts = [str(level) for level in levels]
    if _numbers_disagree(texts):
        order = sorted(range(len(texts)), key=lambda i: _natural(texts[i]))
        if ordered:
            natural = [texts[i] for i in order]
            raise DesignError(
                f"the visits {name!r} are text, of which the order by alphabet is "
                f"{_listed(texts)}, by their numbers {_listed(natural)}: make it an "
                "ordered categorical, pd.Categorical(x, categories=[...], ordered=True)"
            )
        rank = np.empty(len(order), np.intp)
        rank[order] = np.arange(len(order))
        codes, levels = rank[codes], levels[order]
    elif ordered and len(texts) > 2 and not any(c.isdigit() for t in texts for c in t):
        warnings.warn(
            f"the visits {name!r} are text without numbers and taken in the order of the "
            f"alphabet: {_listed(texts)}; make it an ordered categorical if that is not "
            "theirs",
            CategoryWarning,
            stacklevel=user_stacklevel(),
        )
    return Visits(codes, list(levels), np.arange(len(levels)))


def _numbers_disagree(texts):
    """Whether labels alike but for their numbers do not stand in the order of these."""
    last: dict[str, list[int]] = {}
    for text in texts:
        frame, numbers = re.sub(r"\d+", "#", text), [int(n) for n in _DIGITS.findall(text)]
        if last.get(frame, numbers) > numbers:
            return True
        last[frame] = numbers
    return False


def _natural(text):
    """Key of the order in which numbers in a text count as numbers."""
    parts = _DIGITS.split(text)
    return [(int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts)]


def _listed(texts):
    shown = ", ".join(texts[:6])
    return f"{shown}, ..." if len(texts) > 6 else shown
