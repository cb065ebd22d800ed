"""Leverages of the rows, split into the share of the fixed and of the random effects.

    h_i = w_i b_i'J b_i,    b_i = (x_i, (Z Lam)_i),    J of engine.information.joint_errors,

is d fitted_i / d y_i given theta (lme4's hatvalues).  In coordinates in which
X'V0^-1 X = I, with s_i = x_i - T'Sigma z_i,

    h_i = w_i (|s_i|^2 + z_i'Lam C Lam'z_i),    h_i of the fixed effects = w_i x_i's_i.

With several factors C is needed where rows are, and nowhere else.  Row i in level l of the
leading factor, with y = half_l'z_l and q = Lam2'(z_t - link_l half_l y), has

    z'Lam C Lam'z = |y|^2 + q'C22 q,

where links_l' C22 between the columns that meet level l serves all rows of the level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from mixedext.engine.factor.factor import Factor
from mixedext.engine.information.joint_errors import (
    JointErrors,
    RandomRows,
    joint_errors,
    random_rows,
)
from mixedext.fitted import Fitted
from mixedext.inference.diagnostics.level_rows import OneLevelRows
from mixedext.kernels.rows import deletion
from mixedext.specification.covariance.bound_residual import refuse_residual
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["Leverages", "lam_of_tail", "leverages", "own_rows"]

# Columns of a tail on a pattern up to which C22 is laid out as a matrix (32 MB).
MOST_DENSE = 2048


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
    n_levels, k = factor.half.shape[:2]
    head = n_levels * k
    lead, tail = sparse.csr_array(known[:, :head]), sparse.csr_array(known[:, head:])
    if errors.design.rotation is not None:  # all columns are orthogonal
        lead.data = lead.data**2
        return lead @ (factor.half[:, 0, 0] ** 2)
    level, y = _of_lead(lead, factor)
    moved = sparse.csr_array(tail @ lam_of_tail(factor))
    return np.einsum("nk,nk->n", y, y) + _of_tail(factor, level, y, moved)


def _of_lead(lead, factor):
    """Level of every row, and half_l'z_l, (n, k)."""
    n, k = lead.shape[0], factor.half.shape[1]
    if not lead.shape[1]:
        return np.zeros(n, np.intp), np.zeros((n, k))
    count = np.diff(lead.indptr)
    row = np.repeat(np.arange(n), count)
    z, level = np.zeros((n, k)), np.zeros(n, np.intp)
    level[row] = lead.indices // k
    z[row, lead.indices % k] = lead.data
    return level, np.einsum("nb,nba->na", z, factor.half[level])


def lam_of_tail(factor: Factor) -> sparse.csr_array:
    """Lam2, the roots that the tail was factored with, (m, m)."""
    rows, columns, values = [], [], []
    for f, (vector, size) in enumerate(factor.roots):
        at = factor.blocks.tail_columns(f)
        i, j = np.broadcast_arrays(at[:, :, None], at[:, None, :])
        rows.append(i.ravel())
        columns.append(j.ravel())
        values.append(np.tile((vector * size).ravel(), len(at)))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array(entries, shape=(factor.tail.size,) * 2)


def _of_tail(factor, level, y, moved):
    """What the tail adds to z'Lam C Lam'z, (n,)."""
    tail, blocks = factor.tail, factor.blocks
    if not tail.size:
        return np.zeros(len(y))
    if not tail.inverted:
        tail.invert()
    starts = rows = np.zeros(0, np.intp)
    if blocks.pattern is None:
        inverse = tail.reduced
    elif tail.size <= MOST_DENSE:  # elements are found at once
        (first, row), inverse = tail.columns, np.zeros((tail.size,) * 2)
        inverse[np.repeat(np.arange(tail.size), np.diff(first)), row] = tail.inverse
    else:
        inverse, (starts, rows) = tail.inverse, tail.columns
    order = None
    if (np.diff(level) < 0).any():
        order = np.argsort(level, kind="stable")
        level, y, moved = level[order], y[order], moved[order]
    found = np.empty(len(y))
    pointers = blocks.link_pointers
    deletion.link_squares(
        level,
        y,
        moved.indptr.astype(np.intp),
        moved.indices.astype(np.intp),
        moved.data,
        pointers if len(pointers) > 1 else np.zeros(2, np.intp),
        blocks.link_index,
        tail._edges(factor.half),
        inverse=inverse.ravel(),
        starts=starts,
        rows=rows,
        size=tail.size,
        out=found,
    )
    if order is None:
        return found
    out = np.empty(len(y))
    out[order] = found
    return out
