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
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["Leverages", "leverages", "own_rows"]


@dataclass(frozen=True, eq=False)
class Leverages:
    """Leverages of the rows.

    Attributes
    ----------
    whole, fixed : ndarray
        h, and the fixed effects' share of it, (n,).
    scores, square : ndarray or None
        If asked for, F X'V0^-1 over the weights in the units of the data, (n, rank), and
        w times the squared length of s, (n,).
    """

    whole: np.ndarray
    fixed: np.ndarray
    scores: np.ndarray | None = None
    square: np.ndarray | None = None

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
        Whether ``scores`` and ``square`` are wanted.

    Raises
    ------
    ValueError
        If the rows are in chunks, or were removed.
    """
    rows, fit = fitted.need_rows(), fitted.fit
    errors = joint_errors(fit)
    n, p = len(rows.endog), len(fitted.fixed.kept)
    whole, fixed = np.empty((2, n))
    square, found = np.empty((2, 0))
    if scores:
        square, found = np.empty(n), np.empty((n, p))
    levels = OneLevelRows.of(fitted)
    if levels is not None:
        for at, _, _, own in levels.pieces():
            levels.scores(*own, whole=whole[at], fixed=fixed[at], square=square[at])
            if scores:
                np.matmul(own[-1], errors.root.T, out=found[at])
    else:
        x = s = rows.exog[:, fitted.fixed.kept] @ errors.root
        within: Any = 0.0
        if rows.terms:
            known = own_rows(fitted).known
            assert known is not None
            s = x - known @ errors.whitened[1]
            within = _within(errors, known)
        own_square = np.einsum("np,np->n", s, s)
        whole = within + own_square
        fixed = np.einsum("np,np->n", x, s)
        if scores:
            square, found = own_square, s @ errors.root.T
    if rows.weights is not None:
        for values in (whole, fixed, square):
            values *= rows.weights[: len(values)]
    return Leverages(whole, fixed, *((found, square) if scores else ()))


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
