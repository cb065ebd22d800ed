"""Imports go one way; modules stay small."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mixedext"
# The street that the data walk, from the ground up; a question may use those before it.
# A module may import from its own layer and the layers before it.
LAYERS = [
    ["exceptions", "compat", "limits"],
    ["arguments", "other_names", "calls"],
    ["kernels"],
    ["algebra"],
    ["specification"],
    ["engine"],
    ["tables"],
    ["graphics"],
    ["fitted"],
    ["inference.random_effects"],
    ["inference.submodels"],
    ["inference.profile"],
    ["inference.bootstrap"],
    ["inference.variances"],
    ["inference.fixed_effects"],
    ["inference.prediction"],
    ["inference.diagnostics"],
    ["inference.means"],
    ["inference.comparison"],
    # plots that ask results; the rest of graphics draws frames and knows none
    [
        "graphics.coefficients",
        "graphics.effects",
        "graphics.fitted_lines",
        "graphics.influence_plots",
        "graphics.matrices",
        "graphics.observed",
        "graphics.quantiles",
        "graphics.random_effects",
        "graphics.residual_plots",
        "graphics.row_levels",
        "graphics.search",
        "graphics.serial",
        "graphics.serial_pairs",
        "graphics.visit_correlation",
        "graphics.variance_shares",
    ],
    ["graphics.check_page"],
    ["reporting"],
    ["session"],
    ["models"],
    ["interop"],
    ["datasets"],
    ["api"],
    ["cli"],
    ["__init__", "__main__"],
]
# Of the kernels, likewise; but what stands in one layer does not know each other.
KERNEL_LAYERS = [
    ["compressed_rows", "reference", "row_major", "triangle"],
    ["lanes"],
    ["covariance", "factor", "generalized", "laws", "rows", "search"],
    ["deviance"],
]
MODULES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))
CYTHON = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.p[yx][xd]"))
SOURCES = sorted(
    p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py*") if p.suffix in (".py", ".pyx")
)


def test_every_layer_exists():
    assert all(_is_module(name) for names in LAYERS for name in names)
    assert all(
        (PACKAGE / "kernels").glob(f"{n}*") for names in KERNEL_LAYERS for n in names
    )


def layer_of(name: str) -> int:
    """Number of the layer of a dotted name below mixedext; the longest prefix wins."""
    best, found = -1, None
    for number, names in enumerate(LAYERS):
        for prefix in names:
            inside = name == prefix or name.startswith(prefix + ".")
            if inside and len(prefix) > best:
                best, found = len(prefix), number
    assert found is not None, f"{name} stands in no layer"
    return found


def dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split("."))
    return path.is_dir() or any(path.parent.glob(f"{path.name}.py*"))


@cache
def imported(path: Path) -> set[str]:
    """Dotted names below mixedext that a module imports."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module and node.module.split(".")[0] == "mixedext":
                rest = node.module.removeprefix("mixedext").lstrip(".")
                for alias in node.names:
                    whole = f"{rest}.{alias.name}".lstrip(".")
                    names.add(whole if _is_module(whole) else rest)
        elif isinstance(node, ast.Import):
            names |= {
                a.name.removeprefix("mixedext.")
                for a in node.names
                if a.name.startswith("mixedext.")
            }
    return names


def cimported(path: Path) -> set[str]:
    """Dotted names below mixedext that a Cython source cimports or imports."""
    text = (PACKAGE / path).read_text()
    assert not re.search(r"^\s*from\s+\.", text, re.MULTILINE), f"{path}: relative import"
    lines = re.findall(r"^\s*from mixedext\.?(\S*) c?import (.*)", text, re.MULTILINE)
    names = set(re.findall(r"^\s*c?import mixedext\.(\S+)", text, re.MULTILINE))
    for module, rest in lines:
        wholes = {f"{module}.{name}".lstrip(".") for name in re.findall(r"\w+", rest)}
        names |= {whole for whole in wholes if _is_module(whole)} or {module}
    return names


@pytest.mark.parametrize("path", [p for p in MODULES if imported(p)], ids=str)
def test_imports_go_one_way(path):
    own = layer_of(dotted(path))
    for name in imported(path):
        assert layer_of(name) <= own, f"{path} imports mixedext.{name}"


@pytest.mark.parametrize("path", CYTHON, ids=str)
def test_kernels_go_one_way(path):
    layer = {name: number for number, names in enumerate(KERNEL_LAYERS) for name in names}
    own = dotted(path).split(".")[1]
    for name in cimported(path):
        ground, *below = name.split(".")
        if ground in ("limits", "exceptions"):
            continue
        assert ground == "kernels", f"{path} uses mixedext.{name}"
        assert below[0] == own or layer[below[0]] < layer[own], f"{path} uses {name}"


def test_no_cycles():
    graph = {dotted(p): imported(p) for p in MODULES}
    for path in CYTHON:
        name = dotted(path)
        graph[name] = graph.get(name, set()) | cimported(path) - {name}
    state = {}

    def visit(name):
        if state.get(name) == "open":
            pytest.fail(f"import cycle through mixedext.{name}")
        if name in state or name not in graph:
            return
        state[name] = "open"
        for other in graph[name]:
            visit(other)
        state[name] = "done"

    for name in graph:
        visit(name)


def test_only_specification_uses_the_formula_engine():
    users = {dotted(p) for p in MODULES if "FormulaManager" in (PACKAGE / p).read_text()}
    assert users <= {
        "compat",
        "specification.formula.formula_engine",
        "inference.fixed_effects.constraints",
    }


def test_engine_and_inference_know_no_model():
    for path in MODULES:
        if path.parts[0] in ("engine", "inference", "specification"):
            assert not [n for n in imported(path) if n.startswith("models")]


def test_only_graphics_imports_matplotlib():
    words = ("import matplotlib", "statsmodels.graphics")
    users = {p for p in MODULES if any(w in (PACKAGE / p).read_text() for w in words)}
    assert {p.parts[0] for p in users} == {"graphics"}


def test_kernels_and_engine_know_no_labels():
    """They are numbers only: frames and statsmodels' objects are made above them."""
    for path in SOURCES:
        if path.parts[0] in ("kernels", "engine"):
            text = (PACKAGE / path).read_text()
            assert not re.search(r"^\s*(from|import) (pandas|statsmodels)\b", text, re.M), (
                path
            )


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_modules_stay_small(path):
    assert len((PACKAGE / path).read_text().splitlines()) <= 600
