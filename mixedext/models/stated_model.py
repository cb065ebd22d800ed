"""What models of all kinds share: terms, names, statsmodels' groups, pickling."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.exceptions import RankDeficientWarning, user_stacklevel
from mixedext.models.mixedlm.statsmodels_face import groups_view
from mixedext.models.mixedlm.statsmodels_face.groups_view import MADE_OF_ROWS
from mixedext.reporting import matrices
from mixedext.specification.formula.formula_engine import fixed_spec
from mixedext.specification.formula.model_frame import ModelFrame
from mixedext.specification.formula.namespace import (
    portable_namespace,
    restored_namespace,
)
from mixedext.specification.formula.plain_formula import SpecOfRows
from mixedext.specification.terms.grouped import Grouped
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["StatedModel"]


class StatedModel:
    """Base of model classes, before statsmodels' own: what was stated, whatever the law.

    The constructor of a class sets ``random_terms``, ``exog``, ``data`` and ``_design``
    and calls ``_know_groups``; with a formula it calls ``_remember_formula``, too.
    """

    data: Any
    random_terms: Any
    namespace: Any
    offset_terms: Any
    recipes: Any
    group_name: Any
    _design: Any

    @property
    def terms(self) -> list[RandomTerm | SparseTerm]:
        """The random terms, in the order given."""
        return self.random_terms

    @property
    def dropped_columns(self) -> list[str]:
        """Fixed-effects columns left out because they depend on earlier ones."""
        kept = set(self._design.basis.kept)
        return [name for j, name in enumerate(self.exog_names) if j not in kept]

    @property
    def exog_names(self) -> list[str]:
        """Names of the fixed-effects columns."""
        return list(self.data.xnames or [])

    def _warn_dropped(self) -> None:
        """Say which columns have no coefficient."""
        if len(self._design.basis.kept) == len(self.data.xnames or []):
            return
        dropped = self.dropped_columns
        many = len(dropped) > 1
        warnings.warn(
            f"{len(dropped)} column{'s' if many else ''} of exog depend"
            f"{'' if many else 's'} on earlier ones and get{'' if many else 's'} no "
            f"coefficient: {', '.join(dropped)}",
            RankDeficientWarning,
            stacklevel=user_stacklevel(),
        )

    # ---- what was stated ----

    def _know_groups(self, grouped: Grouped | None, main_term: int | None) -> None:
        """Set what ``groups`` has stated, and what only formulas state."""
        self.grouped = grouped
        self.groups: Any = None
        self.component_columns: tuple = ()
        self.group_levels: Any = None
        if grouped is not None:
            self.groups, self.group_levels = grouped.labels, grouped.levels
            self.group_name = grouped.name
            self.component_columns = grouped.components
            self.data.main_term = grouped.main
        self.namespace, self.offset_terms, self.recipes = {}, (), None
        self.offset_name: str | None = None
        self.emptied: dict = {}
        self.aliases: dict = {}
        self.main_term = main_term
        first = 0 if main_term is None else 1
        self.components = tuple(range(first, first + len(self.component_columns)))

    def _remember_formula(self, formula: str, frame: ModelFrame) -> None:
        """Set what a formula has stated."""
        self.formula = formula
        self.fixed_formula = frame.fixed_formula
        self.namespace = frame.namespace
        self.offset_terms = frame.offset_terms
        self.recipes = frame.recipes
        self.aliases = frame.aliases
        self.offset_name = frame.offset_name
        self.offset_by_rows = frame.offset_by_rows
        self.emptied = frame.emptied

    # ---- matrices with names ----

    X = property(matrices.X)
    Z = matrices.Z
    ZZt = matrices.ZZt

    # ---- statsmodels' groups ----

    stated_by_groups = property(groups_view.stated_by_groups)
    group_labels = cached_property(groups_view.group_labels)
    row_indices = cached_property(groups_view.row_indices)
    n_groups = property(groups_view.n_groups)
    group_sizes = property(groups_view.group_sizes)
    _group_codes = cached_property(groups_view.group_codes)

    # ---- pickling ----

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k not in MADE_OF_ROWS}
        state["namespace"] = portable_namespace(self.namespace)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.namespace = restored_namespace(self.namespace)
        frame = getattr(self.data, "frame", None)
        formula = getattr(self, "fixed_formula", None)
        if getattr(self.data, "has_spec", False) or frame is None or formula is None:
            return
        # Patsy's specification cannot be pickled: it is made again, when it is needed.
        spec = SpecOfRows(
            fixed_spec, formula, frame, self.namespace, self.aliases, self.emptied
        )
        setattr(self.data, SPEC_ATTRIBUTE, spec)
