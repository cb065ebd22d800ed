"""The pages that tell where things stand name files that are there."""

from __future__ import annotations

import re

import pytest
from helpers.paths import ROOT

PAGES = ["docs/developing.rst", "docs/theory.rst", "CONTRIBUTING.md"]
_PATH = re.compile(r"`+([\w./]+(?:\.(?:py|pyx|pxd|rst|md)|/))`+")


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page):
    folder, lacking = "", []
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        for path in _PATH.findall(line):
            # beside the file that was named before, in the package, or in the repository
            places = (ROOT / "mixedext" / folder, ROOT / "mixedext", ROOT)
            found = next((p for p in places if (p / path).exists()), None)
            if found is None and "to be made" not in line:
                lacking.append(path)
            elif "/" in path:
                folder = path.rsplit("/", 1)[0]
    assert not lacking
