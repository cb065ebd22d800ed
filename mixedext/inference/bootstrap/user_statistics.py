"""Values of the user's statistics of replicates, and their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "check_statistic",
    "free_names",
    "statistic_frame",
    "statistic_values",
    "vectorized_values",
]


def check_statistic(statistic: Any) -> None:
    """Raise ValueError unless it is None, or can be called."""
    if statistic is not None and not callable(statistic):
        raise ValueError(
            f"statistic={statistic!r} must be a function of results (with vectorized=True "
            "of the frame of replicates), or None"
        )


def statistic_values(value: Any) -> pd.Series:
    """What a statistic of results gave, as numbers with names.

    Raises
    ------
    ValueError
        If it has two values of one name, or one that is no number.
    """
    if isinstance(value, pd.DataFrame):
        places = pd.MultiIndex.from_product([value.index, value.columns])
        value = pd.Series(value.to_numpy().ravel(), places)
    elif isinstance(value, dict):
        value = pd.Series(value)
    elif not isinstance(value, pd.Series):
        value = np.asarray(np.nan if value is None else value).ravel()
        value = pd.Series(value, _unnamed(len(value)))
    if isinstance(value.index, pd.MultiIndex):
        names = [", ".join(map(str, label)) for label in value.index]
        value = value.set_axis(names)
    _check_names(value.index)
    return _as_numbers(value, value)


def _check_names(names):
    repeated = names[names.duplicated()]
    if len(repeated):
        raise ValueError(f"statistic gave two values with the name {repeated[0]!r}")


def _as_numbers(values, elements):
    """Values as floats; ``elements`` are looked at for what is no number."""
    try:
        return values.astype(float)
    except (TypeError, ValueError):
        kinds = {type(v).__name__ for v in elements if not isinstance(v, int | float)}
        raise ValueError(
            f"statistic must give numbers, not {', '.join(sorted(kinds))}"
        ) from None


def statistic_frame(
    own: pd.Series, values: Sequence[pd.Series | None]
) -> tuple[pd.DataFrame, dict[int, str]]:
    """Values of all replicates in the order of those of the results.

    Parameters
    ----------
    own : Series
        Of the results.
    values : list of Series or None
        Of each replicate; None where it failed.

    Returns
    -------
    frame : DataFrame
        A row a replicate, NaN where there are no values.
    messages : dict
        What is wrong, by the number of the replicate.
    """
    out = np.full((len(values), len(own)), np.nan)
    messages: dict[int, str] = {}
    names = list(own.index)
    for number, value in enumerate(values):
        if value is None:
            continue
        if list(value.index) == names:
            out[number] = value
        elif len(value) == len(own) and value.index.isin(own.index).all():
            out[number] = value[own.index]
        else:
            messages[number] = f"statistic: names {list(value.index)}, not {names}"
    return pd.DataFrame(out, columns=own.index), messages


def vectorized_values(statistic: Callable, frame: pd.DataFrame) -> pd.DataFrame:
    """Values of a statistic of frames, a row a replicate.

    Raises
    ------
    ValueError
        If there is not one row a replicate, two columns have one name, or something is no
        number.
    """
    values = statistic(frame)
    if isinstance(values, dict):
        values = pd.DataFrame({name: np.atleast_1d(v) for name, v in values.items()})
    elif not isinstance(values, pd.DataFrame):
        values = np.asarray(values)
        count = len(values) if values.ndim else 1
        values = values.reshape(count, int(np.prod(values.shape[1:])))
        values = pd.DataFrame(values, columns=_unnamed(values.shape[1]))
    if len(values) != len(frame):
        raise ValueError(
            f"statistic gave {len(values)} rows for {len(frame)} replicates; with "
            "vectorized=True it must give one a replicate"
        )
    _check_names(values.columns)
    return _as_numbers(values.reset_index(drop=True), values.to_numpy().ravel())


def free_names(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Names of values, "statistic ..." where a parameter has the name."""
    taken, out = set(taken), []
    for name in names:
        out.append(f"statistic {name}" if name in taken else name)
    return out


def _unnamed(count):
    """Names of values that have none."""
    return ["statistic"] if count == 1 else [f"statistic {i + 1}" for i in range(count)]
