"""The level of confidence that a caller asks for."""

from __future__ import annotations

from numbers import Real

__all__ = ["confidence_level"]


def confidence_level(level, alpha=None) -> float:
    """``level``, or ``1 - alpha`` where alpha is given, as in statsmodels' ``conf_int``.

    Raises
    ------
    ValueError
        If it is no number between 0 and 1.
    """
    name, value = ("level", level) if alpha is None else ("alpha", alpha)
    if not (isinstance(value, Real) and 0 < value < 1):
        raise ValueError(f"{name}={value!r} must lie between 0 and 1")
    return level if alpha is None else 1 - alpha
