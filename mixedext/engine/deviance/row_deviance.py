"""The deviance of several grouping factors with sums of squares from the rows.

Elimination leaves c'V0^-1 d, for columns c and d of [X y], as a difference of
cross-products.  Where one variance dwarfs the others that is a small difference of large
numbers, and the search ends where rounding lets it.  Here u, which minimizes
|c - Z Lam u|^2 + |u|^2, is refined until its equations hold to the last digit,

    g = Lam'Z'(c - Z Lam u) - u,    u += (Lam'Z'Z Lam + I)^-1 g,

with residuals c - Z Lam u of the rows; then the terms of

    c'V0^-1 d = (c - Z Lam u_c)'(d - Z Lam u_d) + u_c'u_d

are small themselves, and errors of u enter squared.  The factor, of cross-products, need
only be so good that the steps become smaller.

Where the leading factor and the tail both have large variances, digits of its factor L of
S = Lam2'Z2'V1^-1 Z2 Lam2 + I are lost, too, and with them those of log det S.  The columns
of Z2 Lam2 L^-T have products E = L^-1 S L^-T that are near I, from the rows in the same
way, and L times the Cholesky factor of E is the factor as it should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, sparse

from mixedext.algebra.roots import cholesky_if_definite, principal_root
from mixedext.engine.deviance.profiled import FactorDeviance, ProfiledDeviance
from mixedext.engine.deviance.several_factors import row_factors_function
from mixedext.engine.factor.factor import Factor, Response
from mixedext.engine.factor.row_forms import rows_of_lead
from mixedext.engine.factor.tail import DenseTail
from mixedext.engine.rows.blocks import Blocks
from mixedext.engine.rows.sparse_rows import EngineUnits, transposed_rows
from mixedext.kernels.search.function import Function
from mixedext.kernels.search.python_function import PythonFunction
from mixedext.limits import (
    LARGE_ROOT,
    MEND_STEPS,
    MOST_SHIFTS,
    PIVOT_NOISE,
    POOR_PIVOT,
    REFINED_STEP,
    REFINEMENT_STEPS,
)
from mixedext.specification.covariance.term_structure import TermStructure
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["DesignRows", "RowDeviance", "RowFactor", "fixed_columns"]

# Numbers in Z2 Lam2 L^-T, and its columns, up to which L is mended.
MOST_NUMBERS, MOST_COLUMNS = 5_000_000, 1000
# Numbers in columns of the rows above which calls from Python cost little.
MOST_COMPILED = 200_000
EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class DesignRows:
    """The rows of a design in the engine's units, weighted.

    Attributes
    ----------
    columns : ndarray
        [Q y], (n, P).
    lead, tail : sparse array
        Z' of the leading factor and of the tail.
    may_compile : bool
        Whether the deviance of a small model may be the compiled one.
    """

    columns: np.ndarray
    lead: sparse.csr_array
    tail: sparse.csr_array
    may_compile: bool = True

    @classmethod
    def of(
        cls,
        design: EngineUnits,
        y: np.ndarray,
        x: np.ndarray,
        terms: Sequence[RandomTerm | SparseTerm],
        weights: np.ndarray | None,
    ) -> DesignRows:
        """The rows of a design; arguments are those of ``refine_fit``."""
        root = None if weights is None else np.sqrt(weights)
        columns = fixed_columns(design, y, x, root)
        return cls(columns, *transposed_rows(design, terms, len(columns), root))

    @cached_property
    def by_rows(self) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Z of the leading factor and of the tail."""
        return self.lead.T.tocsr(), self.tail.T.tocsr()

    def times_lead(self, b: np.ndarray) -> np.ndarray:
        """Z b of the leading factor, for b (L K, R)."""
        return self.by_rows[0] @ b

    def times_tail(self, b: np.ndarray) -> np.ndarray:
        """Z b of the tail, for b (m, R)."""
        return self.by_rows[1] @ b

    def times(self, lead: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """Z b of both."""
        return self.times_lead(lead) + self.times_tail(tail)

    def products(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Z'c as (L K, R) and (m, R)."""
        return self.lead @ columns, self.tail @ columns


def fixed_columns(
    design: EngineUnits, y: np.ndarray, x: np.ndarray, root: np.ndarray | None
) -> np.ndarray:
    """[Q y] of the rows in the engine's units, (n, P); ``root`` of the weights."""
    kept = x[:, design.basis.kept]
    if root is not None:
        kept, y = kept * root[:, None], y * root
    q = np.linalg.solve(design.basis.r.T, kept.T).T
    residual = y - kept @ design.basis.coefficients(design.least_squares)
    return np.column_stack([q, residual / design.y_scale])


class RowFactor(Factor):
    """The factor, with [X y]'V0^-1 [X y] and what follows from it by the rows.

    Parameters
    ----------
    blocks : Blocks
        Cross-products.
    rows : DesignRows
        The rows that they are of.
    """

    def __init__(self, blocks: Blocks, rows: DesignRows):
        super().__init__(blocks)
        self.rows, self._shift = rows, np.zeros(self.rank)
        size = len(rows.columns) * self.tail.size
        dense = isinstance(self.tail, DenseTail)
        self._mendable = dense and size <= MOST_NUMBERS and self.tail.size <= MOST_COLUMNS

    def update(self, lams: list[np.ndarray], floor: bool = False) -> bool:
        self._take(lams, floor)
        if not self._factor_effects():
            return False
        self._lead_root = vector, size = principal_root(self.lead_lam)
        root = vector * size
        own = root.T @ self.blocks.lead_gram @ root + np.eye(self.width)
        try:
            self._lead_inverse = np.linalg.inv(own)
        except np.linalg.LinAlgError:  # the identity is rounding beside the rest
            return False
        if self.width > 1:
            self.log_det += self._lead_by_rows() - self.lead_log_det
        lost = self._pivot_losses()
        noise = EPSILON * lost.sum()
        if noise > PIVOT_NOISE and self._mendable:
            if not self._mend():
                return False
            noise = EPSILON * np.sqrt(lost).sum()
        regressed = self._regressed()
        if regressed is None:
            return False
        form, response = regressed
        whole = np.einsum("ij,ij->j", self.rows.columns, self.rows.columns)
        with np.errstate(divide="ignore", invalid="ignore"):
            # residuals of the rows have rounding errors of the size of the columns'
            self.cancellation = float(np.sqrt(whole / np.diag(form)).max())
        self.cancellation += noise / (EPSILON * self.blocks.nobs)
        if not self.set_fixed(form):
            return False
        # of y itself, not of what its regression leaves
        self.fixed[-1, :-1] += self._shift @ self.fixed[: self.rank, : self.rank]
        for part in (*response.response, *response.effect):
            part[..., -1] += part[..., :-1] @ self._shift
        self.response = response
        return True

    @cached_property
    def _lead_rows(self):
        """Level of every row of the leading factor, and its z, (n, K)."""
        return rows_of_lead(self.rows.by_rows[0], self.width)

    def _lead_by_rows(self):
        """log det of the leading factor's part, where its cross-products lose digits.

        Columns of Z_l lam L_l^-T have products near I, as in ``_mend``.
        """
        lam, gram = self.lead_lam, self.blocks.lead_gram
        square = lam.T @ gram @ lam + np.eye(self.width)
        try:
            root = np.linalg.cholesky(square)
        except np.linalg.LinAlgError:
            return self.lead_log_det
        pivots = np.diagonal(root, axis1=1, axis2=2)
        total = 2.0 * float(np.log(pivots).sum())
        lost = np.diagonal(square, axis1=1, axis2=2) / pivots**2
        poor = np.flatnonzero(lost.max(axis=1, initial=0.0) > POOR_PIVOT)
        if not len(poor):
            return total
        level, z = self._lead_rows
        number = np.full(len(gram), -1)
        number[poor] = np.arange(len(poor))
        at = np.flatnonzero(number[level] >= 0)
        own, inverse = number[level[at]], np.linalg.inv(root[poor])
        columns = np.einsum("nab,nb->na", inverse[own], z[at] @ lam)
        rest = inverse @ inverse.transpose(0, 2, 1)
        np.add.at(rest, own, columns[:, :, None] * columns[:, None, :])
        return total + float(np.linalg.slogdet(rest)[1].sum())

    def _regressed(self):
        """``_refined`` of [X, y - X shift], with a shift that leaves y nothing of X.

        None where rounding leaves of X what is not definite, or of y - X shift more than
        there was: then the shift, which the next theta would begin with, is rounding.

        In least squares y has lost X, but it may be nearly in X again as V0 sees it.
        """
        rank, left = self.rank, np.inf
        for turn in range(MOST_SHIFTS):
            columns = self.rows.columns.copy()
            columns[:, rank] -= columns[:, :rank] @ self._shift
            form, response = self._refined(columns)
            root = cholesky_if_definite(form[:rank, :rank])
            if root is None or not form[rank, rank] < left:
                self._shift = np.zeros(rank)
                return None
            left = form[rank, rank]
            change = linalg.cho_solve((root, True), form[:rank, rank])
            if not change @ form[:rank, rank] > 0.1 * left:
                break
            if turn < MOST_SHIFTS - 1:
                self._shift = self._shift + change
        return form, response

    def _pivot_losses(self):
        """How many times larger than its pivots the diagonal of Lam2'Z2'Z2 Lam2 is."""
        blocks, pivots = self.blocks, self.tail.pivots()
        gram, whole = blocks.tail_gram, np.empty(self.tail.size)
        pattern = blocks.pattern
        gram = gram.diagonal() if pattern is None else gram[pattern.pointers[:-1]]
        for f, (vector, size) in enumerate(self.roots):
            at = blocks.tail_columns(f)
            whole[at] = gram[at] @ vector**2 * size**2
        return whole / pivots**2

    def _mend(self):
        """L chol(E) in place of L; whether E is positive definite."""
        rows, tail = self.rows, self.tail
        inverse = np.eye(tail.size)
        tail.solve(inverse, transpose=True)
        rest = columns = rows.times_tail(tail.lam_times(inverse))
        u = np.zeros((*self.blocks.lead_gram.shape[:2], tail.size))
        for _ in range(MEND_STEPS):
            u += self._lead_inverse @ (self._lead_product(rows.lead @ rest) - u)
            rest = columns - rows.times_lead(self._lead_effect(u))
        flat = u.reshape(-1, tail.size)
        try:
            root = np.linalg.cholesky(rest.T @ rest + flat.T @ flat + inverse.T @ inverse)
        except np.linalg.LinAlgError:
            return False
        tail.factor[:] = np.tril(tail.factor) @ root
        self.log_det += 2.0 * float(np.log(np.diag(root)).sum())
        return True

    @cached_property
    def _shrinkage(self):
        """As of a factor: K = I - D A, but D Sigma^-1 along each large direction alone."""
        (vector, size), gram = self._lead_root, self.blocks.lead_gram
        root, large = vector * size, size >= LARGE_ROOT
        by_root = root @ self._lead_inverse
        along = np.where(
            large,
            by_root / np.where(large, size, 1.0),
            vector - by_root @ (root.T @ gram @ vector),
        )
        total = (vector.T @ gram @ along).sum(axis=0)
        total = vector @ np.where(large, total, total.T) @ vector.T
        return np.ascontiguousarray(along @ vector.T), total

    def _curvature(self, sums, links):
        """As of a factor, [N Lam2 C22]_ll = Lam2^-T [I - C22]_ll along large directions."""
        mended = []
        for f, (total, (vector, size)) in enumerate(zip(sums, self.roots, strict=True)):
            columns = self.blocks.tail_columns(f)
            inverse = self.tail._inverse_blocks(columns).sum(axis=0)
            own = len(columns) * np.eye(len(size)) - inverse
            mended.append(_along(vector, size, total, own))
        return super()._curvature(mended, links)

    def project(self, lead_weight: np.ndarray, tail_weight: np.ndarray) -> np.ndarray:
        count = lead_weight.shape[2]
        columns = self.rows.times(lead_weight.reshape(-1, count), tail_weight)
        return self._refined(columns)[0]

    def _refined(self, columns):
        """c'V0^-1 d of all columns (n, R), and their Response."""
        count, rest = columns.shape[1], columns
        u_lead = np.zeros((*self.blocks.lead_gram.shape[:2], count))
        u_tail = np.zeros((self.blocks.tail_size, count))
        size = np.full(count, np.inf)
        for _ in range(REFINEMENT_STEPS):
            lead, tail = self.rows.products(rest)
            lead = self._lead_product(lead) - u_lead
            tail = self.tail.lam_times(tail, transpose=True) - u_tail
            step_lead, step_tail = self._solve(lead, tail)
            own = _squares(step_lead, step_tail)
            if not (own < 0.25 * size).any():
                break  # rounding is all that is left
            shrinks = own < size
            size = np.where(shrinks, own, 0.0)  # the others are left as they are
            u_lead += np.where(shrinks, step_lead, 0.0)
            u_tail += np.where(shrinks, step_tail, 0.0)
            rest = columns - self.rows.times(*self._effect(u_lead, u_tail))
            if (size <= REFINED_STEP**2 * _squares(u_lead, u_tail)).all():
                break
        flat = u_lead.reshape(-1, count)
        form = rest.T @ rest + flat.T @ flat + u_tail.T @ u_tail
        lead, tail = self._effect(u_lead, u_tail)
        effect = lead.reshape(u_lead.shape), tail
        return form, Response(self._response(rest, u_lead, u_tail), effect)

    def _lead_product(self, products):
        """Lam'b of the lead as (L, K, R), for b (L K, R)."""
        vector, size = self._lead_root
        return (vector * size).T @ products.reshape(-1, self.width, products.shape[-1])

    def _lead_effect(self, u):
        """Lam u of the lead as (L K, R), for u (L, K, R)."""
        vector, size = self._lead_root
        return ((vector * size) @ u).reshape(-1, u.shape[-1])

    def _effect(self, u_lead, u_tail):
        return self._lead_effect(u_lead), self.tail.lam_times(u_tail)

    def _solve(self, lead, tail):
        """(Lam'Z'Z Lam + I)^-1 (lead, tail) by the factor of cross-products."""
        rows = self.rows
        own = self._lead_inverse @ lead
        image = rows.tail @ rows.times_lead(self._lead_effect(own))
        tail = tail - self.tail.lam_times(image, transpose=True)
        self.tail.solve(tail)
        self.tail.solve(tail, transpose=True)
        image = rows.lead @ rows.times_tail(self.tail.lam_times(tail))
        return self._lead_inverse @ (lead - self._lead_product(image)), tail

    def _response(self, rest, u_lead, u_tail):
        """Z'V0^-1 c as (lead, tail) from residuals and u."""
        lead, tail = self.rows.products(rest)
        lead = lead.reshape(u_lead.shape)
        lead = _along(*self._lead_root, lead, u_lead)
        for f, (vector, size) in enumerate(self.roots):
            at = self.blocks.tail_columns(f)
            tail[at] = _along(vector, size, tail[at], u_tail[at])
        return lead, tail


def _along(vector, size, product, u):
    """v from V'v: u by the root along large directions, products with Z along others."""
    large = (size >= LARGE_ROOT)[:, None]
    safe = np.where(size >= LARGE_ROOT, size, 1.0)[:, None]
    return vector @ np.where(large, u / safe, vector.T @ product)


def _squares(lead, tail):
    with np.errstate(over="ignore"):  # of steps that diverge
        return (lead**2).sum(axis=(0, 1)) + (tail**2).sum(axis=0)


class RowDeviance(FactorDeviance):
    """The deviance by a ``RowFactor``.

    Parameters
    ----------
    blocks : Blocks
        Cross-products.
    structures : list of Structure
        One for each random term, in the model's order.
    reml : bool
        Restricted (True) or ordinary deviance.
    rows : DesignRows
        The rows.
    """

    # Sums of squares of the rows lose digits in the deviance, which is a sum of large
    # logarithms, before they do in its derivatives.
    sharp = True

    def __init__(
        self,
        blocks: Blocks,
        structures: Sequence[TermStructure],
        reml: bool,
        rows: DesignRows,
    ):
        super().__init__(blocks, structures, reml)
        self._factor, self._rows = RowFactor(blocks, rows), rows

    @cached_property
    def function(self) -> Function:
        if not self.compiles:
            return PythonFunction(self)
        rows = self._rows.columns, self._rows.by_rows
        return row_factors_function(self.blocks, self.ambient, self.reml, self.dof, *rows)

    @cached_property
    def compiles(self) -> bool:
        """Whether there is a compiled function."""
        widest = max(self._rows.columns.shape[1], self.blocks.tail_size)
        small = len(self._rows.columns) * widest <= MOST_COMPILED
        spread = any(f.spread for f in self.blocks.factors)
        return self._rows.may_compile and small and not spread and super().compiles

    @property
    def compiled_failed(self) -> bool:
        """Whether a compiled search has ended where this factor cannot be made."""
        if not self.compiles or self._ahead is None:
            return False
        return not self._update(self._ahead, True)

    def factor_at(self, theta: ArrayLike) -> Factor:
        return ProfiledDeviance.factor_at(self, theta)  # of which rows need not be known
