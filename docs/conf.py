"""Configuration of Sphinx; builds offline, with warnings as errors (see Makefile)."""

import dataclasses
import doctest
import functools
import os
import re
import tomllib
import types
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives

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


_page = (Path(__file__).parent / "api.rst").read_text(encoding="utf-8")
_lacking = sorted(set(mixedext.__all__) - set(re.findall(r"\w+", _page)))
if _lacking:
    raise RuntimeError(f"docs/api.rst does not name {', '.join(_lacking)}")

# What statsmodels asks of models and results; not for users.
_INTERNAL = {
    "endog_li",
    "exog_li",
    "exog_re_li",
    "exog_re2_li",
    "row_indices",
    "cov_params_default",
    "get_nlfun",
    "mse_resid",
    "normalized_cov_params",
    "ssr",
}


def _function_of(value):
    """The function that a member of a class is made of."""
    if isinstance(value, property):
        return value.fget
    if isinstance(value, functools.cached_property):
        return value.func
    return getattr(value, "__func__", value)


def _heading(function):
    """The folder of a function's file, in words: the question that it answers."""
    folder = function.__module__.split(".")[-2]
    return {
        "mixedlm": "The model and its fit",
        "glmm": "The model and its fit",
        "statsmodels_face": "As statsmodels has it",
        "graphics": "Plots",
    }.get(folder, folder.replace("_", " ").capitalize())


def _sections(cls):
    """Headings, and kind and name of the members below each, in the order of the class."""
    kinds = types.FunctionType | classmethod | property | functools.cached_property
    sections = {}
    for name, value in vars(cls).items():
        if isinstance(value, kinds) and not name.startswith("_") and name not in _INTERNAL:
            is_property = isinstance(value, property | functools.cached_property)
            kind = "attribute" if is_property else "method"
            sections.setdefault(_heading(_function_of(value)), []).append((kind, name))
    return list(sections.items())


# Fields of dataclasses stand in the docstring already; see _templates/autosummary.
_public = {name: getattr(mixedext, name) for name in mixedext.__all__}
autosummary_context = {
    "fields": {
        name: [field.name for field in dataclasses.fields(value)]
        for name, value in _public.items()
        if dataclasses.is_dataclass(value)
    },
    # Methods are functions of the files that answer a question: one section a question.
    "sections": {
        cls.__name__: _sections(cls)
        for cls in (
            mixedext.MixedLM,
            mixedext.MixedLMResults,
            mixedext.MixedGLM,
            mixedext.MixedGLMResults,
        )
    },
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


class Picture(Directive):
    """Examples as doctests, which are run, and the Figure ``figure`` that they end with.

    All pictures of a page share their names.
    """

    has_content = True
    required_arguments = 1  # name of the file
    final_argument_whitespace = False
    option_spec: ClassVar = {"alt": directives.unchanged_required}

    def run(self):
        environment = self.state.document.settings.env
        names = environment.temp_data.setdefault("pictures", {"mx": mixedext})
        text = "\n".join(self.content)
        for example in doctest.DocTestParser().get_examples(text):
            exec(compile(example.source, environment.docname, "single"), names)
        folder = Path(environment.srcdir) / "generated" / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.arguments[0]}.png"
        names["figure"].savefig(file, dpi=100)
        place = f"generated/pictures/{file.name}"
        picture = nodes.image(uri=place, alt=self.options.get("alt", self.arguments[0]))
        return [nodes.doctest_block(text, text), picture]


def setup(app):
    """Directives of these pages."""
    app.add_directive("picture", Picture)


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
