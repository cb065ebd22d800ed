"""Checks of arguments that many functions share: probabilities, numbers, names."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from mixedext.exceptions import ConfidenceLevelWarning, user_stacklevel
from mixedext.limits import LOWEST_LEVEL, SIMILAR_NAME

__all__ = [
    "check_choice",
    "check_count",
    "check_jobs",
    "check_probability",
    "check_reml",
    "confidence",
    "did_you_mean",
]


def did_you_mean(name: Any, known: Iterable[Any]) -> str:
    """The known name that is most like a name that is not known, as a sentence.

    Parameters
    ----------
    name : object
        What was given; of anything but a text nothing is said.
    known : iterable
        Names that would do; None and what is no text among them is passed over.

    Returns
    -------
    str
        ``". Did you mean 'Days'?"``, to stand at the end of a message; empty where no
        known name is like it.

    Examples
    --------
    >>> did_you_mean("days", ["Reaction", "Days"])
    ". Did you mean 'Days'?"
    >>> did_you_mean("age", ["Reaction", "Days"])
    ''
    """
    if not isinstance(name, str):
        return ""
    plain: dict[str, list[str]] = {}
    for other in known:
        if isinstance(other, str):
            plain.setdefault(_plain(other), []).append(other)
    key = _plain(name)
    found = difflib.get_close_matches(key, plain, n=1, cutoff=SIMILAR_NAME) if key else []
    if not found and len(key) > 2:  # a part of a name: "kenward", "subj"
        found = [other for other in plain if other.startswith(key)]
        found = found if len(found) == 1 else []
    if not found:
        return ""
    alike = plain[found[0]]  # but for capitals and what joins words
    meant = difflib.get_close_matches(name, alike, n=1, cutoff=0.0)[0]
    return f". Did you mean {meant!r}?"


def _plain(name):
    """A name without what is often written otherwise: capitals and what joins words."""
    return re.sub(r"[\s_.-]", "", name).casefold()


def check_choice(value: Any, name: str, choices: Iterable[Any], more: str = "") -> None:
    """Raise ValueError, naming the argument, unless the value is one of the choices.

    Parameters
    ----------
    value : object
        What was given.
    name : str
        Name of the argument.
    choices : iterable
        What may be given.
    more : str, optional
        What may be given besides, at the end of the list.

    Raises
    ------
    ValueError
        If it is none of them; lists them, and names one that is like it.
    """
    choices = list(choices)
    if any(value is one or (isinstance(value, str) and value == one) for one in choices):
        return
    *first, last = [*map(repr, choices), *([more] if more else [])]
    listed = f"{', '.join(first)} or {last}" if first else last
    raise ValueError(
        f"{name}={value!r} is not known; use {listed}{did_you_mean(value, choices)}"
    )


def check_probability(value, name: str) -> None:
    """Raise ValueError, naming the argument, unless it lies strictly between 0 and 1."""
    try:
        inside = bool(0 < value < 1)
    except (TypeError, ValueError):  # a text, or an array
        inside = False
    if not inside:
        raise ValueError(f"{name}={value!r} must lie between 0 and 1")


def check_count(value, name: str) -> None:
    """Raise ValueError, naming the argument, unless it is a whole number, 1 or more."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number, 1 or more")


def check_jobs(n_jobs: int | None) -> None:
    """Raise ValueError unless ``n_jobs`` is None or a whole number other than 0."""
    whole = isinstance(n_jobs, int | np.integer) and not isinstance(n_jobs, bool)
    if n_jobs is not None and (not whole or n_jobs == 0):
        raise ValueError(f"n_jobs={n_jobs!r} must be a whole number other than 0, or None")


def confidence(alpha: float = 0.05, level: float | None = None) -> float:
    """The confidence level that ``alpha``, or in its place ``level``, stands for.

    Parameters
    ----------
    alpha : float, optional
        One minus the level, as in statsmodels.
    level : float, optional
        The level itself, as in R; given, it takes the place of ``alpha``.

    Raises
    ------
    ValueError
        If it is no number between 0 and 1; names the argument.

    Warns
    -----
    ConfidenceLevelWarning
        If the level is below one half: ``alpha`` and ``level`` may have been confused.
    """
    if level is None or alpha is not None:
        check_probability(alpha, "alpha")
    if level is None:
        _warn_if_low(1 - alpha, f"alpha={alpha!r}", f"level={alpha:g}")
        return 1 - alpha
    check_probability(level, "level")
    _warn_if_low(level, f"level={level!r}", f"alpha={level:g}")
    return level


def _warn_if_low(level, given, meant):
    if level < LOWEST_LEVEL:
        warnings.warn(
            f"{given} asks for an interval that covers with probability {level:g}; "
            f"{meant} asks for one of {1 - level:g}",
            ConfidenceLevelWarning,
            stacklevel=user_stacklevel(),
        )


def check_reml(reml) -> None:
    """Raise ValueError unless ``reml`` is True or False."""
    if not isinstance(reml, bool | np.bool_):
        raise ValueError(f"reml={reml!r}; use True (REML) or False (ML)")
