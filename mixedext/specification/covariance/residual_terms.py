"""Random terms that say what a residual structure says already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mixedext.exceptions import DesignError
from mixedext.limits import EXPLAINED
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_objects import CS, Toeplitz, Unstructured
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits
from mixedext.specification.covariance.variance_functions import VarIdent

__all__ = ["check_strata", "check_terms_apart"]


def check_terms_apart(residual: BoundResidual, terms: Sequence[Any]) -> None:
    """Refuse random terms whose covariance is one that the residual structure has.

    A random intercept of the residual groups is the same covariance as compound symmetry,
    and adds to all lags of a Toeplitz structure alike; an unstructured covariance holds
    all random effects of the groups whose columns are functions of the visit.

    Parameters
    ----------
    residual : BoundResidual
        The structure.
    terms : sequence of RandomTerm or SparseTerm
        The random terms; those of a general Z are passed over.

    Raises
    ------
    DesignError
        Names the structure and the term.
    """
    spec = residual.spec
    uniform = isinstance(spec, CS | Toeplitz) and not spec.is_het
    uniform = uniform and len(residual.functions) == (residual.n_levels > 1)
    if isinstance(spec, Toeplitz) and spec.bands is not None:
        uniform = False
    if not uniform and not isinstance(spec, Unstructured):
        return
    for term in terms:
        if not hasattr(term, "codes") or not _same_groups(residual, term):
            continue
        if uniform:
            told = [j for j in range(term.k) if _is_constant(term.z[:, j])]
        else:
            told = [j for j in range(term.k) if _of_visit(term.z[:, j], residual)]
        if not told:
            continue
        if isinstance(spec, CS):
            why = "are the same covariance"
        elif isinstance(spec, Toeplitz):
            why = f"overlap: {spec.text_call} has any covariance that the intercept adds"
        else:
            names = ", ".join(repr(term.names[j]) for j in told)
            why = f"overlap: {spec.text_call} has any covariance that {names} adds"
        raise DesignError(f"{term.label} and {spec} {why}; drop one of them")


def check_strata(residual: BoundResidual, y: np.ndarray, x: np.ndarray) -> None:
    """That the fixed effects leave a residual to every stratum and visit with a variance.

    Where they leave none the likelihood grows without end as that variance falls.

    Parameters
    ----------
    residual : BoundResidual
        The structure.
    y, x : ndarray
        Response less offset (n,), and columns of the fixed effects (n, k).

    Raises
    ------
    DesignError
        Names the stratum.
    """
    found = [
        (codes, labels, text)
        for codes, labels, text, function in zip(
            residual.row_strata,
            residual.strata_labels,
            residual.function_texts,
            residual.functions,
            strict=True,
        )
        if codes is not None and isinstance(function, VarIdent)
    ]
    visits = residual.visit_codes
    if visits is not None and isinstance(residual.correlation, UnstructuredVisits):
        found.append((visits, list(residual.visit_labels or []), str(residual.spec)))
    for codes, labels, text in found:
        for number, label in enumerate(labels):
            rows = np.flatnonzero(codes == number)
            if not len(rows):
                continue
            own = x[rows]
            left = y[rows] - own @ np.linalg.lstsq(own, y[rows], rcond=None)[0]
            if np.linalg.norm(left) <= EXPLAINED * np.linalg.norm(y[rows]):
                raise DesignError(
                    f"{text}: the fixed effects explain the {len(rows)} rows of {label!r} "
                    "exactly, so that no residual tells their variance; leave these rows "
                    "out, or give them the variance of others"
                )


def _same_groups(residual, term):
    """Whether the levels of a term part the rows as the residual groups do."""
    n_levels = len(term.levels)
    if n_levels != residual.n_groups:
        return False
    first = np.empty(residual.n_groups, np.intp)
    codes = residual.group_codes
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return bool((np.asarray(term.codes) == np.asarray(term.codes)[first[codes]]).all())


def _is_constant(column):
    return bool((column == column[0]).all()) and column[0] != 0


def _of_visit(column, residual):
    """Whether a column has one value at each visit."""
    visits = residual.visit_codes
    if visits is None:
        return _is_constant(column)
    value = np.zeros(int(visits.max()) + 1)
    value[visits] = column
    return bool((column == value[visits]).all())
