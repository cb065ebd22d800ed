"""Calls with arguments that a function does not have: what is said of them.

Users of R and of statsmodels write the arguments that the function of this name has there;
Python's own message would name them and no cure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, isfunction, signature
from types import FrameType
from typing import Any, TypeVar, cast

from mixedext.arguments import did_you_mean
from mixedext.other_names import ARGUMENTS_OF, OTHER_ARGUMENTS

__all__ = ["answer_calls", "answering", "caller_of", "cure_of_argument"]

Function = TypeVar("Function", bound=Callable)
Class = TypeVar("Class", bound=type)

_SEVERAL = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def answering(function: Function, method: str = "") -> Function:
    """A function that says what to write where it is called with arguments it has not.

    Parameters
    ----------
    function : callable
        Called with the same arguments.
    method : str, optional
        Its name as a method, whose first argument nobody writes.

    Examples
    --------
    >>> @answering
    ... def draw(n=1, rng=None):
    ...     return n
    >>> draw(2)
    2
    >>> draw(nsim=2)
    Traceback (most recent call last):
    TypeError: draw has no argument 'nsim': write n=
    """
    own = list(signature(function).parameters.values())[bool(method) :]
    called = method or function.__name__
    free = any(p.kind is p.VAR_KEYWORD for p in own)
    most: int | None = sum(p.kind in _BY_POSITION for p in own)
    if any(p.kind is p.VAR_POSITIONAL for p in own):
        most = None
    known = [p.name for p in own if p.kind not in _SEVERAL]
    names = set(known)
    needed = [
        (i if p.kind in _BY_POSITION else len(own), p.name)
        for i, p in enumerate(own)
        if p.default is Parameter.empty and p.kind not in _SEVERAL
    ]

    @wraps(function)
    def answered(*args: Any, **kwargs: Any) -> Any:
        if not free and not names.issuperset(kwargs):
            name = next(name for name in kwargs if name not in names)
            raise TypeError(
                f"{called} has no argument {name!r}{cure_of_argument(name, called, known)}"
            )
        given = len(args) - bool(method)
        if most is not None and given > most:
            raise TypeError(
                f"{called} takes {most or 'no'} argument{'s' * (most != 1)} by position, "
                f"not {given}: write the others by name"
            )
        missing = [name for i, name in needed if i >= given and name not in kwargs]
        if missing:
            raise TypeError(
                f"{called} needs {' and '.join(missing)}: "
                f"{called}({', '.join(f'{name}=...' for name in missing)})"
            )
        return function(*args, **kwargs)

    return cast("Function", answered)


def answer_calls(cls: Class) -> Class:
    """A class whose methods say what to write in place of arguments that they have not."""
    for name, method in list(vars(cls).items()):
        if isfunction(method) and not name.startswith("_"):
            setattr(cls, name, answering(method, name))
    return cls


def cure_of_argument(name: str, function: str, known: Sequence[str]) -> str:
    """What to write in place of an argument that a function does not have.

    Parameters
    ----------
    name : str
        The argument.
    function : str
        Name of what was called.
    known : sequence of str
        Arguments that there are.

    Returns
    -------
    str
        The end of a message; names what there is if nothing is like it.

    Examples
    --------
    >>> cure_of_argument("newdata", "predict", ["exog"])
    ': the new data stand first: predict(data)'
    """
    key = name.replace(".", "").replace("_", "").lower()
    if cure := ARGUMENTS_OF.get(function, {}).get(key):
        return f": {cure}"
    for other in OTHER_ARGUMENTS.get(key, ()):
        if other in known:
            return f": write {other}="
    return did_you_mean(name, known) or f"; there are: {', '.join(known) or 'none'}"


def caller_of(frame: FrameType) -> FrameType:
    """The frame that called an answering function, of its frame or one above."""
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    return frame
