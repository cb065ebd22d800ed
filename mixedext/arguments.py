"""Checks of arguments that many functions share: probabilities and numbers of things."""

from __future__ import annotations

import numpy as np

__all__ = [
    "check_count",
    "check_jobs",
    "check_probability",
    "check_reml",
    "confidence",
]


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
    """
    if level is None or alpha is not None:
        check_probability(alpha, "alpha")
    if level is None:
        return 1 - alpha
    check_probability(level, "level")
    return level


def check_reml(reml) -> None:
    """Raise ValueError unless ``reml`` is True or False."""
    if not isinstance(reml, bool | np.bool_):
        raise ValueError(f"reml={reml!r}; use True (REML) or False (ML)")
