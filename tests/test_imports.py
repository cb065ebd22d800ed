"""Imports go one way; modules stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mixedext"
# A module may import from its own layer and the layers before it.
LAYERS = [
    ["arguments"],
    ["exceptions"],
    ["engine.kernels"],
    ["specification"],
    ["engine"],
    ["inference"],
    ["graphics", "panel"],
    ["results_parts.clusters", "results_parts.constraints", "results_parts.criteria"],
    ["results_parts.pairwise_tests"],
    ["results_parts.number_text"],
    ["results_parts.parameter_covariance", "results_parts.wald"],
    ["results_parts.noted_table", "results_parts.profiles"],
    ["results_parts.summary", "results_parts.random_effects"],
    ["model_parts.fit_arguments", "model_parts.groups_view", "model_parts.refitting"],
    ["model_parts.chunked", "model_parts.chunk_rows"],
    ["model_parts.distribution"],
    ["model_parts.likelihood", "model_parts.regularized"],
    ["model_parts.constrained_objective"],
    ["model_parts.constrained_maximum"],
    ["model_parts.constrained_covariance"],
    ["model_parts.central_path"],
    ["results_parts.variance_profile"],
    ["results_parts.likelihood_results"],
    ["results_parts.fixed_terms"],
    ["results_parts.smaller_models", "results_parts.explained_variance"],
    ["results_parts.nesting", "results_parts.refits"],
    ["results_parts.anova_tables", "results_parts.model_comparison"],
    ["results_parts.comparison_tables"],
    ["results_parts.bootstrap_tests", "results_parts.replication"],
    ["results_parts.bootstrap_statistics"],
    ["results_parts.replicate_fits"],
    ["results_parts.variance_parts"],
    ["results_parts.kenward_roger_tests", "results_parts.variance_tests"],
    ["results_parts.term_deletion"],
    ["results_parts.reference_grid", "results_parts.means_text"],
    ["results_parts.linear_functions", "results_parts.estimated_means"],
    ["results_parts"],
    ["results"],
    ["model_parts.constrained_fit", "model_parts.constrained_results"],
    ["model_parts.fitting"],
    ["model_parts"],
    ["model"],
    ["analysis_of_variance", "regressions_by_group"],
    ["datasets", "parquet"],
    ["api"],
    ["cli"],
    ["__init__", "__main__"],
]
MODULES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))
SOURCES = sorted(
    p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py*") if p.suffix in (".py", ".pyx")
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


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_one_way(path):
    own = layer_of(dotted(path))
    for name in imported(path):
        assert layer_of(name) <= own, f"{path} imports mixedext.{name}"


def test_no_cycles():
    graph = {dotted(p): imported(p) for p in MODULES}
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
        "specification.statsmodels_compat",
        "specification.formula_engine",
        "results_parts.constraints",
    }


def test_engine_and_inference_know_no_model():
    for path in MODULES:
        if path.parts[0] in ("engine", "inference", "specification"):
            assert not {"model", "results"} & imported(path)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_modules_stay_small(path):
    assert len((PACKAGE / path).read_text().splitlines()) <= 600
