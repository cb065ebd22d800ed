"""Where warnings point: at the first line that is not the package's."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import mixedext
from mixedext.exceptions import user_stacklevel

PACKAGE = Path(mixedext.__file__).parent


def function(source, path, **names):
    """``f`` of a source that stands in a file at a path."""
    exec(compile(source, str(path), "exec"), names)
    return names["f"]


@pytest.mark.parametrize("place", ["script.py", "mixedext_more/user.py", "tests/here.py"])
@pytest.mark.parametrize("depth", [1, 3])
def test_warnings_point_at_the_first_line_outside(place, depth):
    call = function(
        "def f(): warnings.warn('it', stacklevel=user_stacklevel())",
        PACKAGE / "engine" / "fit.py",
        warnings=warnings,
        user_stacklevel=user_stacklevel,
    )
    for _ in range(depth - 1):
        call = function("def f(): call()", PACKAGE / "api.py", call=call)
    path = PACKAGE.parent / place
    with pytest.warns(UserWarning, match="it") as caught:
        function("def f(): call()", path, call=call)()
    assert caught[0].filename == str(path)
