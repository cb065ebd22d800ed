"""Names that a formula uses besides the data: looked up, and made fit for pickling."""

from __future__ import annotations

import importlib
import pickle
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mixedext.calls import caller_of
from mixedext.specification.formula.bars import names_in
from mixedext.specification.formula.transforms import TRANSFORMS

__all__ = ["caller_namespace", "portable_namespace", "restored_namespace"]


def caller_namespace(
    formulas: Iterable[str | None], eval_env: Any, depth: int
) -> dict[str, Any]:
    """Values of the names in the formulas, as seen ``depth`` calls up the stack.

    Parameters
    ----------
    formulas : iterable of str
        Formulas whose names are looked up.
    eval_env : int or Mapping or None
        Further levels up the stack; -1 for no names at all; or the names themselves.
    depth : int
        Calls between this function and the user's frame.
    """
    names: set[str] = set().union(*(names_in(f) for f in formulas if f is not None))
    if isinstance(eval_env, Mapping):
        scopes: list[Any] = [eval_env]
    elif hasattr(eval_env, "namespace"):  # patsy's EvalEnvironment
        scopes = [eval_env.namespace]
    elif not isinstance(eval_env, int | np.integer | None):
        raise ValueError(
            f"eval_env={eval_env!r} must be a mapping of names, or a number of levels up "
            "the stack; -1 for nowhere"
        )
    elif eval_env == -1:
        scopes = []
    else:
        frame: Any = caller_of(sys._getframe(depth + 1))
        for _ in range(0 if eval_env is None else int(eval_env)):
            frame = frame and frame.f_back
        if frame is None:
            raise ValueError(f"eval_env={eval_env!r} is above the top of the stack")
        scopes = [frame.f_locals, frame.f_globals]
    found = {}
    for name in names:
        for scope in scopes:
            if name in scope:
                found[name] = scope[name]
                break
    return found


class _Module:
    """A module, pickled by its name."""

    def __init__(self, name: str):
        self.name = name


class _InScript:
    """What cannot be pickled, or only in its script: looked up there by its name."""

    def __init__(self, name: str, value: Any):
        self.names = [name, getattr(value, "__qualname__", name)]

    def find(self) -> list:
        """The value in a list, which is empty if the script has no such name."""
        script = vars(sys.modules["__main__"])
        return [script[name] for name in self.names if name in script][:1]


def portable_namespace(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """What of a namespace can be pickled: modules and the script's functions by name.

    The transforms of mixedext are left out; the formula engine adds them again.
    """
    kept: dict[str, Any] = {}
    for name, value in namespace.items():
        if value is TRANSFORMS.get(name):
            continue
        if isinstance(value, types.ModuleType):
            kept[name] = _Module(value.__name__)
        elif getattr(value, "__module__", "") != "__main__" and _can_be_pickled(value):
            kept[name] = value
        else:
            kept[name] = _InScript(name, value)
    return kept


def restored_namespace(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of ``portable_namespace``, without what is not found any more."""
    restored = {}
    for name, value in namespace.items():
        if isinstance(value, _Module):
            restored[name] = importlib.import_module(value.name)
        elif not isinstance(value, _InScript):
            restored[name] = value
        elif found := value.find():
            restored[name] = found[0]
    return restored


def _can_be_pickled(value):
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError):
        return False
    return True
