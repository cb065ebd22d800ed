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
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mixedext.engine.factor import Factor, Response
from mixedext.engine.kernels.newton import PythonFunction
from mixedext.engine.objective import FactorDeviance
from mixedext.engine.sparse_rows import transposed_rows

__all__ = ["DesignRows", "RowDeviance", "RowFactor", "fixed_columns"]

# Steps of refinement at most, and the share of u below which the last may be.
MOST_STEPS, SMALL_STEP = 6, 1e-15
# Along directions of a covariance whose root exceeds this Z'V0^-1 c is u by the root;
# along others it is Z'(c - Z Lam u).
LARGE_ROOT = 1e-2


@dataclass(frozen=True, eq=False)
class DesignRows:
    """The rows of a design in the engine's units, weighted.

    Attributes
    ----------
    columns : ndarray
        [Q y], (n, P).
    lead, tail : sparse array
        Z' of the leading factor and of the tail.
    """

    columns: np.ndarray
    lead: object
    tail: object

    @classmethod
    def of(cls, design, y, x, terms, weights) -> DesignRows:
        """The rows of a design; arguments are those of ``refine_fit``."""
        root = None if weights is None else np.sqrt(weights)
        columns = fixed_columns(design, y, x, root)
        return cls(columns, *transposed_rows(design, terms, len(columns), root))

    @cached_property
    def _by_rows(self):
        return self.lead.T.tocsr(), self.tail.T.tocsr()

    def times(self, lead, tail):
        """Z b for b given as (L K, R) and (m, R)."""
        first, second = self._by_rows
        return first @ lead + second @ tail

    def products(self, columns):
        """Z'c as (L K, R) and (m, R)."""
        return self.lead @ columns, self.tail @ columns


def fixed_columns(design, y, x, root):
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

    def __init__(self, blocks, rows: DesignRows):
        super().__init__(blocks)
        self.rows = rows

    def update(self, lams, floor: bool = False) -> bool:
        if not self._factor_effects(lams, floor):
            return False
        vector, size, _ = np.linalg.svd(self.lead_lam)
        self._lead_root = vector, size
        root = vector * size
        self._lead_inverse = np.linalg.inv(
            root.T @ self.blocks.lead_gram @ root + np.eye(self.width)
        )
        fixed, self.response = self._refined(self.rows.columns)
        whole = np.einsum("ij,ij->j", self.rows.columns, self.rows.columns)
        with np.errstate(divide="ignore", invalid="ignore"):
            # residuals of the rows have rounding errors of the size of the columns'
            self.cancellation = float(np.sqrt(whole / np.diag(fixed)).max())
        return self.set_fixed(fixed)

    def project(self, lead_weight, tail_weight):
        count = lead_weight.shape[2]
        columns = self.rows.times(lead_weight.reshape(-1, count), tail_weight)
        return self._refined(columns)[0]

    def _refined(self, columns):
        """c'V0^-1 d of all columns (n, R), and their Response."""
        count, rest = columns.shape[1], columns
        u_lead = np.zeros((*self.blocks.lead_gram.shape[:2], count))
        u_tail = np.zeros((self.blocks.tail_size, count))
        size = np.inf
        for _ in range(MOST_STEPS):
            lead, tail = self._times_roots(self.rows.products(rest), transpose=True)
            step_lead, step_tail = self._solve(lead - u_lead, tail - u_tail)
            before, size = size, _squares(step_lead, step_tail)
            if (size > 0.25 * before).any():
                break  # rounding is all that is left
            u_lead += step_lead
            u_tail += step_tail
            rest = columns - self.rows.times(*self._effect(u_lead, u_tail))
            if (size <= SMALL_STEP**2 * _squares(u_lead, u_tail)).all():
                break
        flat = u_lead.reshape(-1, count)
        form = rest.T @ rest + flat.T @ flat + u_tail.T @ u_tail
        effect = self._effect(u_lead, u_tail)
        return form, Response(
            self._response(rest, u_lead, u_tail), (effect[0].reshape(u_lead.shape), effect[1])
        )

    def _times_roots(self, pair, transpose=False):
        """Lam b or Lam'b of (lead, tail), the lead as (L, K, R)."""
        vector, size = self._lead_root
        root = vector * size
        lead = pair[0].reshape(-1, self.width, pair[0].shape[-1])
        lead = (root.T if transpose else root) @ lead
        return lead, self.tail.lam_times(pair[1], transpose)

    def _effect(self, u_lead, u_tail):
        lead, tail = self._times_roots((u_lead, u_tail))
        return lead.reshape(-1, lead.shape[2]), tail

    def _solve(self, lead, tail):
        """(Lam'Z'Z Lam + I)^-1 (lead, tail) by the factor of cross-products."""
        rows = self.rows
        own = self._lead_inverse @ lead
        image = rows.tail @ (rows._by_rows[0] @ self._effect(own, tail)[0])
        tail = tail - self.tail.lam_times(image, transpose=True)
        self.tail.solve(tail)
        self.tail.solve(tail, transpose=True)
        image = rows.lead @ (rows._by_rows[1] @ self.tail.lam_times(tail))
        lead = lead - self._times_roots((image, tail), transpose=True)[0]
        return self._lead_inverse @ lead, tail

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

    def __init__(self, blocks, structures, reml: bool, rows: DesignRows):
        super().__init__(blocks, structures, reml)
        self._factor = RowFactor(blocks, rows)

    @cached_property
    def function(self) -> PythonFunction:
        return PythonFunction(self)

    def stand_at(self, theta):
        """The search leaves the factor where it has ended."""
