"""The page on errors tells of every class; pages that name classes name real ones."""

from __future__ import annotations

import re

import pytest
from helpers.paths import ROOT

from mixedext import exceptions

PAGE = (ROOT / "docs" / "errors.rst").read_text(encoding="utf-8")
CLASSES = [
    name
    for name, value in vars(exceptions).items()
    if isinstance(value, type) and value.__module__ == exceptions.__name__
]


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_has_a_section_with_an_example(name):
    sections = re.split(r"^:exc:`(\w+)`\n~+\n", PAGE, flags=re.MULTILINE)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert name in texts, f"docs/errors.rst says nothing of {name}"
    assert ">>> " in texts[name]


def test_every_class_is_public():
    assert set(CLASSES) == set(exceptions.__all__)


@pytest.mark.parametrize("page", ["errors", "limits"])
def test_pages_are_linked(page):
    index = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f":doc:`{page}`" in index
    assert f"\n   {page}\n" in index
    assert f"docs/{page}.rst" in readme


@pytest.mark.parametrize("page", ["errors", "limits"])
def test_classes_that_a_page_names_exist(page):
    text = (ROOT / "docs" / f"{page}.rst").read_text(encoding="utf-8")
    for name in re.findall(r":exc:`(\w+)`", text):
        assert hasattr(exceptions, name)
