"""Leverages of the rows, split into the share of the fixed and of the random effects.

    h_i = w_i b_i'J b_i,    b_i = (x_i, (Z Lam)_i),    J of engine.information.joint_errors,

is d fitted_i / d y_i given theta (lme4's hatvalues).  In coordinates in which
X'V0^-1 X = I, with s_i = x_i - T'Sigma z_i,

    h_i = w_i (|s_i|^2 + z_i'Lam C Lam'z_i),    h_i of the fixed effects = w_i x_i's_i.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from mixedext.engine.factor.row_forms import row_forms
from mixedext.engine.information.joint_errors import (
    JointErrors,
    RandomRows,
    joint_errors,
    random_rows,
)
from mixedext.fitted import Fitted
from mixedext.inference.diagnostics.level_rows import OneLevelRows
from mixedext.specification.covariance.bound_residual import refuse_residual
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["Leverages", "leverages", "own_rows"]


@dataclass(frozen=True, eq=False)
class Leverages:
    """Leverages of the rows.

    Attributes
    ----------
    whole, fixed : ndarray
        h, and the fixed effects' share of it, (n,).
    scores, residual : ndarray or None
        If asked for, s, (n, rank), and the conditional residuals r, (n,).
    """

    whole: np.ndarray
    fixed: np.ndarray
    scores: np.ndarray | None = None
    residual: np.ndarray | None = None

    @property
    def random(self) -> np.ndarray:
        """The random effects' share, (n,)."""
        return self.whole - self.fixed


def leverages(fitted: Fitted, scores: bool = False) -> Leverages:
    """Leverages of the rows of a fit.

    Parameters
    ----------
    fitted : Fitted
        A fit with its rows in memory.
    scores : bool, optional
        Whether ``scores`` and ``residual`` are wanted.

    Raises
    ------
    ValueError
        If the rows are in chunks, or were removed.
    NotImplementedError
        If the model has a residual structure.
    """
    refuse_residual(fitted.model, "the leverage of a row", "residuals are there normalized")
    rows, fit = fitted.need_rows(), fitted.fit
    errors = joint_errors(fit)
    n, p = len(rows.endog), len(fitted.fixed.kept)
    whole, fixed = np.empty((2, n))
    found = residual = None
    levels = OneLevelRows.of(fitted)
    if levels is not None:
        residual = np.empty(n if scores else 0)
        found = np.empty((n, p)) if scores else None
        for at, own in levels.pieces():
            s = np.empty_like(own.x) if found is None else found[at]
            levels.scores(own, s=s, whole=whole[at], fixed=fixed[at], residual=residual[at])
    else:
        x = s = rows.exog[:, fitted.fixed.kept] @ errors.root
        within: Any = 0.0
        if rows.terms:
            known = own_rows(fitted).known
            assert known is not None
            s = x - known @ errors.whitened[1]
            within = _within(errors, known)
        whole = within + np.einsum("np,np->n", s, s)
        fixed = np.einsum("np,np->n", x, s)
        if scores:
            found = np.ascontiguousarray(s)
            residual = rows.endog - rows.mean(fitted.fixed.estimate, fit.effects)
    if rows.weights is not None:
        whole *= rows.weights
        fixed *= rows.weights
    return Leverages(whole, fixed, *((found, residual) if scores else ()))


def own_rows(fitted: Fitted) -> RandomRows:
    """Rows of Z of the fit's own rows, as the engine has them."""
    given: list[tuple] = []
    for term in fitted.need_rows().terms:
        if isinstance(term, RandomTerm):
            given.append((term.codes, term.z, None))
        else:
            none = np.zeros(term.matrix.shape[0])
            given.append((none, term.matrix, none))
    return random_rows(fitted.fit, given)


def _within(errors: JointErrors, known: sparse.csr_array) -> np.ndarray:
    """z'Lam C Lam'z of rows that the fit has seen, (n,)."""
    factor = errors.factor
    if errors.design.rotation is None:
        return row_forms(factor, known)
    lead = sparse.csr_array(known[:, : factor.half.shape[0] * factor.half.shape[1]])
    lead.data = lead.data**2  # all columns are orthogonal
    return lead @ (factor.half[:, 0, 0] ** 2)
