"""A residual structure bound to the rows of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from mixedext.specification.covariance.correlation import Correlation
from mixedext.specification.covariance.residual_patterns import Batch, first_of
from mixedext.specification.covariance.residual_structure import ResidualStructure
from mixedext.specification.covariance.variance_functions import VarianceFunction
from mixedext.specification.covariance.variance_objects import StatedVariance
from mixedext.specification.data.labels import Levels, level_index

__all__ = ["BoundResidual", "refuse_residual"]


def refuse_residual(model: Any, what: str, cure: str) -> None:
    """Refuse what takes residuals for independent with one variance.

    Parameters
    ----------
    model : MixedLM
        The model.
    what : str
        What is asked for.
    cure : str
        What there is in its place.

    Raises
    ------
    NotImplementedError
        If the model has a residual structure.
    """
    bound = getattr(model, "residual", None)
    if bound is not None:
        raise NotImplementedError(
            f"{what} takes residuals for independent with one variance, and this model has "
            f"residual={str(bound)!r}: {cure}"
        )


@dataclass(frozen=True, eq=False)
class BoundResidual:
    """A residual structure on the rows of a model.

    The covariance of the rows a, b of a group is s2 exp(g_a) exp(g_b) C_ab: C of
    ``correlation``, with parameters of its own for each level of ``by``; g is the sum of
    the log standard deviations of ``functions``, whose parameters all groups share.  What
    ``het`` and ``by`` say of variances is the first of the functions, a ``VarIdent`` by
    visit, by level, or by level and visit.

    Attributes
    ----------
    spec : ResidualStructure
        The structure as stated; its text is that of a user.
    variance : tuple of StatedVariance
        Functions as stated.
    correlation : Correlation or None
        None for independent residuals.
    functions : tuple of VarianceFunction
        All factors of the standard deviation.
    strata_labels : tuple of list
        For each function the labels of its strata; empty without strata.
    function_texts : tuple of str
        For each function what it is in the text form.
    n_levels : int
        Levels of ``by``, 1 without it.
    level_labels : list
        Their labels; empty without ``by``.
    batches : tuple of Batch
        All groups, by their size.
    group_name : str
        Name of the residual groups.
    group_levels : Index or ProductLevels
        Their labels; see ``group_labels``.
    group_codes : ndarray
        Residual group of each row, (n,).
    visit_name : str or None
        Name of the visits; None for distances, or where rows are exchangeable.
    visit_labels : list or None
        Labels of the places 0, ..., m - 1 of visits.
    visit_codes : ndarray or None
        Place of the visit of each row, (n,).
    n_obs : int
        Rows; 0 once they are removed.
    start : dict or None
        Values to start from, natural, by name of ``names``; None if none is given.
    held : tuple of str
        Names of the parameters that are held at these.
    of_fitted : tuple of bool
        Whether the covariate of a function is the fitted values.
    row_strata, row_covariates : tuple of ndarray or None
        For each function strata and covariate of the rows, (n,).
    fallbacks : tuple of BoundResidual
        The further structures of a list, those that the data allow.
    passed_over : tuple of tuple
        Structures of a list that the data do not allow, and why: (text, reason).
    """

    spec: ResidualStructure
    variance: tuple[StatedVariance, ...]
    correlation: Correlation | None
    functions: tuple[VarianceFunction, ...]
    strata_labels: tuple[list, ...]
    function_texts: tuple[str, ...]
    n_levels: int
    level_labels: list
    batches: tuple[Batch, ...] = field(repr=False)
    group_name: str
    group_levels: Levels = field(repr=False)
    group_codes: np.ndarray = field(repr=False)
    visit_name: str | None
    visit_labels: list | None
    visit_codes: np.ndarray | None = field(repr=False)
    n_obs: int
    start: Mapping[str, float] | None = None
    held: tuple[str, ...] = ()
    of_fitted: tuple[bool, ...] = ()
    row_strata: tuple[np.ndarray | None, ...] = field(default=(), repr=False)
    row_covariates: tuple[np.ndarray | None, ...] = field(default=(), repr=False)
    fallbacks: tuple[BoundResidual, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()

    @cached_property
    def group_labels(self) -> list:
        """Labels of the residual groups, by code."""
        return list(level_index(self.group_levels))

    @property
    def n_groups(self) -> int:
        """Number of residual groups."""
        return len(self.group_levels)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all natural parameters: correlations by level, then the functions."""
        own = () if self.correlation is None else self.correlation.names
        out = list(own)
        if self.level_labels:
            out = [f"{label}: {name}" for label in self.level_labels for name in own]
        for function, labels in zip(self.functions, self.strata_labels, strict=True):
            out += function.names(labels)
        return tuple(out)

    @property
    def n_parameters(self) -> int:
        """Number of the parameters of the structure, those held among them."""
        return len(self.names)

    def with_fitted(self, fitted: np.ndarray) -> BoundResidual:
        """With fitted values (n,) for the covariates that stand for them."""
        if not any(self.of_fitted):
            return self

        def put(known, values):
            pairs = zip(self.of_fitted, known, strict=True)
            return tuple(values if own else other for own, other in pairs)

        batches = tuple(
            replace(b, covariates=put(b.covariates, fitted[b.rows[first_of(b.pattern)]]))
            for b in self.batches
        )
        return replace(
            self, batches=batches, row_covariates=put(self.row_covariates, fitted)
        )

    def without_rows(self) -> BoundResidual:
        """What is left when the rows are removed: structure, names and labels."""
        return replace(
            self,
            batches=(),
            group_codes=np.zeros(0, self.group_codes.dtype),
            visit_codes=None if self.visit_codes is None else self.visit_codes[:0],
            n_obs=0,
            row_strata=(None,) * len(self.functions),
            row_covariates=(None,) * len(self.functions),
            fallbacks=(),
        )

    def __str__(self) -> str:
        text = str(self.spec)
        if self.variance:
            text += f", variance {' * '.join(map(str, self.variance))}"
        return text
