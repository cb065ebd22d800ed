"""Configuration of Sphinx; builds offline, with warnings as errors (see Makefile)."""

import dataclasses
import doctest
import os
import tomllib
import types
from pathlib import Path

import mixedext

_metadata = tomllib.loads(
    (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
)["project"]

project = _metadata["name"]
author = _metadata["authors"][0]["name"]
project_copyright = f"2026, {author}"
release = _metadata["version"]
version = release

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
default_role = "code"

autodoc_typehints = "none"
autosummary_generate = True


def _own_methods(cls):
    parts = [c for c in cls.__mro__[1:] if c.__module__.startswith("mixedext")]
    return [
        name
        for part in parts
        for name, value in vars(part).items()
        if not name.startswith("_")
        and isinstance(value, types.FunctionType | classmethod)
        and value.__name__ == name
    ]


# Fields of dataclasses stand in the docstring already; see _templates/autosummary.
_public = {name: getattr(mixedext, name) for name in mixedext.__all__}
autosummary_context = {
    "fields": {
        name: [field.name for field in dataclasses.fields(value)]
        for name, value in _public.items()
        if dataclasses.is_dataclass(value)
    },
    # Methods of mixedext that the model inherits from its parts, not from statsmodels.
    "added": {"MixedLM": _own_methods(mixedext.MixedLM)},
}
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

# Links to other projects need the network, so they are made only where it is asked for.
intersphinx_mapping = {}
if os.environ.get("DOCS_INTERSPHINX"):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "statsmodels": ("https://www.statsmodels.org/stable", None),
    }

doctest_global_setup = """
import numpy as np
import pandas as pd
import mixedext as mx
try:
    import dask
except ImportError:
    dask = None  # its examples are skipped
"""
doctest_default_flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

html_theme = "pydata_sphinx_theme"
html_title = f"{project} {release}"
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
}
# Few pages, so no list of sections at the left.
html_sidebars = {"**": []}
