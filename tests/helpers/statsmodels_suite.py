"""statsmodels' own tests of MixedLM, made to test another class.

The installed file is parsed, its imports of ``MixedLM``, ``MixedLMParams`` and
``mixedlm`` are taken out, and the rest is executed with other classes under these names.
Lines and file name stay, so that tracebacks show statsmodels' source.
"""

from __future__ import annotations

import ast
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import statsmodels
from packaging.version import Version
from statsmodels.regression import mixed_linear_model as upstream

import mixedext as mx

__all__ = [
    "ObservedInformationMixedLM",
    "collected",
    "fenced",
    "n_test_functions",
    "suite_for",
    "why_not",
]

OLDEST = Version("0.15.0.dev0")
# They test private functions of statsmodels' numerics, whatever the class does.
PRIVATE = {"TestSMWSolver", "TestSMWLogdet"}
# Where statsmodels computes: nothing of this may be reached.
FENCED_METHODS = (
    "__init__",
    "fit",
    "fit_regularized",
    "loglike",
    "score",
    "score_full",
    "score_sqrt",
    "hessian",
    "get_fe_params",
    "get_scale",
    "_augment_exog",
    "_gen_dV_dPar",
    "_expand_vcomp",
)
FENCED_PROPERTIES = ("random_effects", "random_effects_cov")
FENCED_FUNCTIONS = ("_smw_solver", "_smw_logdet")


class ObservedInformationMixedLM(mx.MixedLM):
    """MixedLM whose standard errors are by default those of statsmodels."""

    def fit(self, *args, **kwargs):
        kwargs.setdefault("cov_type", "oim")
        return super().fit(*args, **kwargs)


def source_path() -> Path | None:
    """Path of the installed test file; None if statsmodels came without its tests."""
    spec = find_spec("statsmodels.regression.tests")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "test_lme.py"
    return path if path.exists() else None


def why_not() -> str | None:
    """Why the tests cannot be run with the statsmodels installed; None if they can."""
    version = Version(statsmodels.__version__)
    if version < OLDEST:
        return f"statsmodels {version} has other tests than 0.15"
    if source_path() is None:
        return "this statsmodels was installed without its tests"
    return None


def _swapped(tree: ast.Module) -> ast.Module:
    """The tests without their imports of the classes under test.

    Raises
    ------
    AssertionError
        If the file does not import them once each, in the way expected.
    """
    swapped = []

    class Swap(ast.NodeTransformer):
        def visit_ImportFrom(self, node):
            names = {a.name for a in node.names}
            if node.module == upstream.__name__:
                ours = names & {"MixedLM", "MixedLMParams"}
                swapped.extend(ours)
                node.names = [a for a in node.names if a.name not in ours]
                return node if node.names else None
            if node.module == "statsmodels.formula.api" and "mixedlm" in names:
                assert names == {"mixedlm"}, f"also imported: {names}"
                swapped.append("mixedlm")
                new = ast.parse("mixedlm = MixedLM.from_formula").body[0]
                return ast.copy_location(new, node)
            return node

    tree = ast.fix_missing_locations(Swap().visit(tree))
    expected = ["MixedLM", "MixedLMParams", "mixedlm"]
    assert sorted(swapped) == expected, (
        f"statsmodels' test_lme.py imports {sorted(swapped)} where {expected} were "
        "expected: its tests would not reach the class under test"
    )
    left = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert "MixedLM" not in left, "statsmodels' tests reach MixedLM by an attribute"
    return tree


def suite_for(model_class, params_class) -> dict:
    """Namespace of statsmodels' tests executed with the classes given."""
    path = source_path()
    tree = _swapped(ast.parse(path.read_text(encoding="utf-8")))
    namespace = {
        "__name__": f"statsmodels.regression.tests.test_lme_{model_class.__name__}",
        "__package__": "statsmodels.regression.tests",
        "__file__": str(path),
        "MixedLM": model_class,
        "MixedLMParams": params_class,
    }
    exec(compile(tree, str(path), "exec"), namespace)
    return namespace


def collected(namespace: dict) -> dict:
    """The tests of a namespace: functions and classes by name."""
    return {
        name: value
        for name, value in namespace.items()
        if name.startswith(("test", "Test")) and callable(value) and name not in PRIVATE
    }


def n_test_functions(namespace: dict) -> int:
    """How many test functions and methods there are; inherited ones count again."""
    count = 0
    for value in collected(namespace).values():
        if isinstance(value, type):
            count += sum(name.startswith("test") for name in dir(value))
        else:
            count += 1
    return count


@contextmanager
def fenced(monkeypatch):
    """No code inside may reach the computations of statsmodels' own class."""

    def fence(name):
        def reached(*args, **kwargs):
            raise AssertionError(f"statsmodels' own {name} was reached")

        return reached

    with monkeypatch.context() as patch:
        for name in FENCED_METHODS:
            patch.setattr(upstream.MixedLM, name, fence(f"MixedLM.{name}"))
        for name in FENCED_PROPERTIES:
            reached = property(fence(f"MixedLMResults.{name}"))
            patch.setattr(upstream.MixedLMResults, name, reached)
        for name in FENCED_FUNCTIONS:
            patch.setattr(upstream, name, fence(name))
        yield
