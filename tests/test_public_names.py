"""The public names and the arguments that go with them: a change of them is meant.

``python tests/test_public_names.py`` writes the list anew.
"""

from __future__ import annotations

import inspect
from functools import cached_property
from pathlib import Path

import mixedext as mx
from mixedext.models.stated_model import StatedModel

LIST = Path(__file__).parent / "results" / "public_names.txt"


def _arguments(function) -> str:
    parameters = inspect.signature(function).parameters.values()
    marks = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return ", ".join(marks.get(p.kind, "") + p.name for p in parameters)


def _members(kind):
    """Public members that a class of mixedext has itself, or as a model of all kinds."""
    bases = [StatedModel, kind] if issubclass(kind, StatedModel) else [kind]
    members = {name: value for c in bases for name, value in vars(c).items()}
    for name, value in sorted(members.items()):
        if name.startswith("_"):
            continue
        if isinstance(value, property | cached_property):
            yield f"{name} (property)"
        elif isinstance(value, classmethod) or inspect.isfunction(value):
            yield f"{name}({_arguments(getattr(kind, name))})"


def public_names() -> list[str]:
    lines = []
    for name in sorted(mx.api.__all__):
        found = getattr(mx, name)
        if not inspect.isclass(found):
            given = f"({_arguments(found)})" if callable(found) else ""
            lines.append(f"{name}{given}")
        elif found.__module__.startswith("mixedext"):
            lines += [name, *(f"{name}.{member}" for member in _members(found))]
    return lines


def test_public_names():
    assert public_names() == LIST.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    LIST.write_text("\n".join(public_names()) + "\n", encoding="utf-8")
