"""What Python calls takes few arguments by position: the others have names there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mixedext import kernels

SOURCES = sorted(Path(kernels.__file__).parent.rglob("*.pyx"))
MOST = 8
# ``def``, ``cpdef`` with or without a type of what is returned; constructors are such, too.
ENTRY = re.compile(r"^[ ]*(?:def|cpdef\b[^\n=]*?)[ ]+(\w+)\(", re.MULTILINE)


def arguments(text: str, start: int) -> list[str]:
    """Arguments between the parenthesis that opens before ``start`` and its end."""
    out, depth, number = [""], 1, start
    text = re.sub("#[^\n]*", lambda comment: " " * len(comment[0]), text)
    while depth:
        letter = text[number]
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 1:
            out.append("")
        elif depth:
            out[-1] += letter
        number += 1
    return [a.strip() for a in out if a.strip()]


def positional(names: list[str]) -> list[str]:
    """Those before a star; an object's own self is none."""
    named = [i for i, name in enumerate(names) if name.startswith("*")]
    before = names[: named[0]] if named else names
    return [name for name in before if name not in ("self", "cls", "/")]


def entries(text: str) -> dict[str, list[str]]:
    return {e[1]: positional(arguments(text, e.end())) for e in ENTRY.finditer(text)}


def test_entries_are_found():
    text = """
cdef double inner(int a, int b):
    pass

def outer(
    const double[:, ::1] gram,  # in: (L, k), not one, two
    double[:] out=None, *, int named,
):
    pass

cpdef (double, int) both(double x, int y) except *:
    pass

cdef class Some:
    def __cinit__(self, Py_ssize_t n, *args, **more):
        pass
"""
    found = {name: len(own) for name, own in entries(text).items()}
    assert found == {"outer": 2, "both": 2, "__cinit__": 1}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_entries_have_few_positional_arguments(path):
    many = {n: own for n, own in entries(path.read_text()).items() if len(own) > MOST}
    assert not many
