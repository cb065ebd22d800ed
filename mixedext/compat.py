"""What differs between versions: statsmodels 0.14 and 0.15, pandas 2 and 3."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pandas as pd
import patsy
import statsmodels.formula

__all__ = ["COPY_ON_WRITE", "SPEC_ATTRIBUTE", "FormulaManager", "keeps_legacy_order"]

#: From pandas 3 a frame copies before it writes to memory that a Series shares.
COPY_ON_WRITE = int(pd.__version__.split(".")[0]) >= 3


class PatsyManager:
    """The part of statsmodels 0.15's FormulaManager that mixedext uses, on patsy."""

    engine = "patsy"
    spec = None

    def get_na_action(self, action="drop", types=("None", "NaN")):
        return patsy.NAAction(on_NA=action, NA_types=list(types))

    def get_spec(self, formula):
        return patsy.ModelDesc.from_formula(formula)

    def get_slice(self, model_spec, term):
        return model_spec.slice(term)

    def get_term_name(self, term):
        return term.name()

    def get_matrices(
        self, formula, data, eval_env=0, pandas=True, na_action="drop", prediction=False
    ):
        if isinstance(eval_env, Mapping):
            eval_env = patsy.EvalEnvironment([dict(eval_env)])
        two_sided = isinstance(formula, str) and not formula.strip().startswith("~")
        build = patsy.dmatrices if two_sided and "~" in formula else patsy.dmatrix
        kwargs = {"NA_action": na_action or "drop"}
        kind = "dataframe" if pandas else "matrix"
        out = build(formula, data, eval_env, return_type=kind, **kwargs)
        self.spec = (out[1] if isinstance(out, tuple) else out).design_info
        return out

    def get_linear_constraints(self, constraints, variable_names):
        constraint = patsy.DesignInfo(variable_names).linear_constraint(constraints)
        return SimpleNamespace(
            constraint_matrix=constraint.coefs,
            constraint_values=constraint.constants,
            variable_names=constraint.variable_names,
        )


try:
    from statsmodels.formula._manager import FormulaManager

    SPEC_ATTRIBUTE = "model_spec"
except ImportError:
    FormulaManager = PatsyManager
    SPEC_ATTRIBUTE = "design_info"


def keeps_legacy_order(manager) -> bool:
    """Whether the columns of a formula come in patsy's order."""
    if manager.engine == "patsy":
        return True
    return statsmodels.formula.options.ordering == "legacy"
