"""Specifications of formulas made fit for pickling, with what they have learned.

Patsy refuses to pickle its objects, because their contents may change from version to
version.  Where the data are gone there is no other way: a model saved without them could
not predict.
"""

from __future__ import annotations

import io
import pickle
from copyreg import __newobj__  # type: ignore[attr-defined]
from typing import Any

import patsy

from mixedext.specification.formula.namespace import portable_namespace, restored_namespace
from mixedext.specification.formula.plain_formula import DeferredSpec
from mixedext.specification.formula.transforms import TRANSFORMS

__all__ = ["portable_spec"]


class _Pickler(pickle.Pickler):
    """Pickles patsy's objects by their attributes, and names that formulas see as ours."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, patsy.EvalEnvironment):
            names = {k: v for scope in reversed(obj._namespaces) for k, v in scope.items()}
            return _environment, (portable_namespace(names), obj.flags)
        kind = type(obj)
        refuses = getattr(kind, "__getstate__", None) is not object.__getstate__
        if refuses and any(c.__module__.startswith("patsy.") for c in kind.__mro__):
            slots = [s for c in kind.__mro__ for s in getattr(c, "__slots__", ())]
            kept = {name: getattr(obj, name) for name in slots if hasattr(obj, name)}
            return __newobj__, (kind,), (getattr(obj, "__dict__", None), kept)
        return NotImplemented


def _environment(names, flags):
    found = {**TRANSFORMS, **restored_namespace(names)}
    return patsy.EvalEnvironment([found], flags)


def portable_spec(spec: Any) -> DeferredSpec | None:
    """A specification that can be pickled; None where nothing can be done.

    Parameters
    ----------
    spec : object
        The formula engine's specification of some columns, or one that is made later.
    """
    if spec is None or type(spec) is DeferredSpec:
        return spec
    if isinstance(spec, DeferredSpec):  # made of rows, which are not there any more
        spec = spec.resolve()
    out = io.BytesIO()
    try:
        _Pickler(out).dump(spec)
    except (pickle.PicklingError, TypeError, AttributeError, NotImplementedError):
        return None
    return DeferredSpec(pickle.loads, out.getvalue())
