"""First pass over the rows: sums from which good bases of X and Z follow.

Cross-products of raw columns lose digits (a response with mean 1e6 costs 0.2 in the
criterion).  So the second pass (engine.rows.products) sees X in an orthonormal basis,
X[:, kept] = Q R, y as its least-squares residual, and the columns of a random term
orthogonal at root mean square 1; all is undone at the end.  Here R comes from centred
cross-products or, where these are close to singular, from Householder reflections chunk
by chunk (Demmel, Grigori, Hoemmen and Langou 2012); sums of partitions are added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from mixedext.algebra.triangles import basis_of_squares, invert_upper
from mixedext.engine.rows.rows import Rows
from mixedext.limits import (
    DEPENDENT_COLUMN,
    DEPENDENT_EFFECT,
    LARGEST_CONDITION,
    NO_RELATION,
)
from mixedext.specification.covariance.term_structure import TermStructure

__all__ = [
    "Bases",
    "ColumnSums",
    "FixedBasis",
    "Shifts",
    "bases_from_sums",
    "choose_shifts",
]


@dataclass(frozen=True, eq=False)
class FixedBasis:
    """X[:, kept] = Q R, with Q orthonormal.

    Attributes
    ----------
    r : ndarray
        Upper triangular, shape (rank, rank).
    kept : ndarray
        Numbers of the columns of X in the basis, ascending.
    dependence : ndarray
        A of the columns that were dropped, X_d = X[:, kept] A, (rank, dropped).
    """

    r: np.ndarray
    kept: np.ndarray
    dependence: np.ndarray

    @property
    def rank(self) -> int:
        return len(self.kept)

    @property
    def log_det(self) -> float:
        """log |det R|."""
        return float(np.log(np.abs(np.diag(self.r))).sum())

    def coefficients(self, on_q: np.ndarray) -> np.ndarray:
        """Coefficients of X[:, kept] from those of Q: R^-1 b."""
        if self.rank == 0:
            return np.zeros_like(on_q)
        return invert_upper(self.r) @ on_q


@dataclass(frozen=True, eq=False)
class Shifts:
    """What is taken off the columns before anything is squared.

    Shifts are differences to the constant column that leads X, or a term: without one
    they would change the column space, and are zero.

    Attributes
    ----------
    fixed : ndarray
        Of the columns of X and y, (p + 1,).
    constant : float
        Value of the leading column of X if it is constant, else 0.
    random : tuple of ndarray
        Of the columns of each term, (k,).
    """

    fixed: np.ndarray
    constant: float
    random: tuple[np.ndarray, ...]

    @property
    def relative(self) -> np.ndarray:
        """Multiples of the constant column that were taken off [X y], (p + 1,)."""
        out = np.zeros(len(self.fixed))
        if self.constant:
            out[1:] = self.fixed[1:] / self.constant
        return out

    def none(self) -> Shifts:
        """No shift of the fixed columns."""
        return replace(self, fixed=np.zeros_like(self.fixed), constant=0.0)


def choose_shifts(rows: Rows) -> Shifts:
    """Shifts from the first chunk of a partition; any value near the mean will do."""
    at = next(rows.chunks())
    count = at.stop - at.start
    head = rows.fixed(at, weighted=False)
    fixed, constant = np.zeros(len(head)), 0.0
    if len(head) > 1 and head[0, 0] != 0.0 and (head[0] == head[0, 0]).all():
        constant = float(head[0, 0])
        fixed[1:] = head[1:].sum(axis=1) / count
    random = []
    for number, term in enumerate(rows.terms):
        shift = np.zeros(term.k)
        if term.k > 1 and term.structure.any_basis and rows.columns[number][0] is None:
            columns = rows.random(number, at, weighted=False)
            shift[1:] = columns[1:].sum(axis=1) / count
        random.append(shift)
    return Shifts(fixed, constant, tuple(random))


@dataclass(frozen=True, eq=False)
class ColumnSums:
    """Sums over the rows of one partition, or of several.

    Attributes
    ----------
    nobs : int
        Rows.
    log_weights : float
        Sum of the logarithms of the weights.
    is_constant : bool
        Whether the leading column of X is the constant of the shifts in every row.
    fixed : ndarray
        Of the shifted [X y]: its cross-products, or if ``triangular`` its triangle R;
        (p + 1, p + 1).
    random : tuple of ndarray
        The same for the columns of each term, (k, k).
    triangular : bool
        Which of the two.
    """

    nobs: int
    log_weights: float
    is_constant: bool
    fixed: np.ndarray
    random: tuple[np.ndarray, ...]
    triangular: bool

    @classmethod
    def of(
        cls, rows: Rows, shifts: Shifts, triangular: bool = False, step: int = 1
    ) -> ColumnSums:
        """Sum one partition; the fixed columns perhaps of every ``step``-th chunk only."""
        add = _stack_triangles if triangular else _add_squares
        fixed = np.zeros((rows.n_columns + 1,) * 2)
        random = [np.zeros((t.k, t.k)) for t in rows.terms]
        for at in rows.chunks(step):
            fixed = add(fixed, rows.fixed(at, shifts.fixed))
        for i, term in enumerate(rows.terms):
            if rows.weights is None and term.k == 1 and rows.columns[i][0] is None:
                random[i][:] = rows.nobs**0.5 if triangular else rows.nobs
                continue
            for at in rows.chunks():
                random[i] = add(random[i], rows.random(i, at, shifts.random[i]))
        constant = shifts.constant
        is_constant = not constant or bool((rows.x[:, 0] == constant).all())
        return cls(
            rows.nobs, rows.log_weights, is_constant, fixed, tuple(random), triangular
        )

    def __add__(self, other: ColumnSums) -> ColumnSums:
        add = _join_triangles if self.triangular else np.add
        return replace(
            self,
            nobs=self.nobs + other.nobs,
            log_weights=self.log_weights + other.log_weights,
            is_constant=self.is_constant and other.is_constant,
            fixed=add(self.fixed, other.fixed),
            random=tuple(add(a, b) for a, b in zip(self.random, other.random, strict=True)),
        )


def _add_squares(total, chunk):
    total += chunk @ chunk.T
    return total


def _stack_triangles(total, chunk):
    return np.linalg.qr(np.vstack([total, chunk.T]), mode="r")


def _join_triangles(one, other):
    return np.linalg.qr(np.vstack([one, other]), mode="r")


@dataclass(frozen=True, eq=False)
class Bases:
    """What the second pass does to the columns.

    Attributes
    ----------
    shifts : Shifts
        Taken off first.
    basis : FixedBasis
        Of the columns of X, orthonormal to rounding.
    right : ndarray
        [Q residual] = (shifted [X[:, kept] y]) right, (rank + 1, rank + 1).
    size : float
        Length of y, of the rows that were summed.
    transforms : tuple of ndarray
        For each term T upper triangular with z = (columns that enter) T, (k, k).
    random_right : tuple of ndarray
        For each term (columns that enter) = (shifted columns) random_right.
    """

    shifts: Shifts
    basis: FixedBasis
    right: np.ndarray
    size: float
    transforms: tuple[np.ndarray, ...]
    random_right: tuple[np.ndarray, ...]


def bases_from_sums(
    sums: ColumnSums, shifts: Shifts, structures: Sequence[TermStructure]
) -> Bases | None:
    """Bases of X and of the random terms from the first pass.

    Parameters
    ----------
    sums : ColumnSums
        Of all rows.
    shifts : Shifts
        Used for the sums.
    structures : list of Structure
        Of the terms.

    Returns
    -------
    Bases or None
        None where cross-products are too close to singular: sum triangles instead.
    """
    found = _fixed_basis(sums.fixed, sums.triangular, shifts.relative)
    if found is None:
        return None
    r, right, kept, dependence = found
    rank = len(kept)
    size = math.sqrt(r[:, -1] @ r[:, -1])
    transforms, rights = [], []
    for i, structure in enumerate(structures):
        found = _term_basis(
            structure, sums.random[i], sums.triangular, shifts.random[i], sums.nobs
        )
        if found is None:
            return None
        transforms.append(found[0])
        rights.append(found[1])
    basis = FixedBasis(r[:rank, :rank], kept, dependence)
    return Bases(shifts, basis, right, size, tuple(transforms), tuple(rights))


def _fixed_basis(sums, triangular, shift):
    """R of the columns kept and of y, what makes the basis, the columns kept, and A."""
    p = len(shift) - 1
    if not triangular:
        share, r, right = basis_of_squares(sums, p, LARGEST_CONDITION, shift)
        return (
            (r, right, np.arange(p), np.zeros((p, 0))) if share > DEPENDENT_COLUMN else None
        )
    triangle = _positive_diagonal(sums)
    whole = _unshifted(triangle, shift)[:, :-1]
    kept = _independent_columns(whole)
    dependence = _dependence(whole, kept, _others(kept, p))
    if len(kept) < p:
        # With a constant column it is the first and always kept, so that the shifts of
        # the columns that stay are differences to a column that stays.
        columns = np.append(kept, p)
        triangle, shift = np.linalg.qr(triangle[:, columns], mode="r"), shift[columns]
    rank = len(kept)
    right = np.zeros((rank + 1, rank + 1))
    right[:-1, :-1] = invert_upper(triangle[:rank, :rank])
    right[:-1, -1] = -right[:-1, :-1] @ triangle[:rank, rank]
    right[-1, -1] = 1.0
    return _unshifted(triangle, shift), right, kept, dependence


def _others(kept, p):
    """Numbers of the columns that are not kept."""
    return np.setdiff1d(np.arange(p), kept)


def _dependence(triangle, kept, dropped):
    """A of X_d = X_k A from R of all columns, each column at length 1."""
    if not len(kept) or not len(dropped):
        return np.zeros((len(kept), len(dropped)))
    length = np.linalg.norm(triangle, axis=0)
    length = np.where(length > 0, length, 1.0)
    unit = triangle / length
    q, r = np.linalg.qr(unit[:, kept])
    found = linalg.solve_triangular(r, q.T @ unit[:, dropped])
    found[np.abs(found) <= NO_RELATION] = 0.0
    return found * length[dropped] / length[kept, None]


def _unshifted(r, shift):
    """R of the columns of which multiples of the first had been taken off."""
    out = r.copy()
    out[0, 1:] += r[0, 0] * shift[1:]
    return out


def _positive_diagonal(r):
    """A triangle with its rows turned so that no diagonal element is negative."""
    sign = np.where(np.diag(r) < 0, -1.0, 1.0)
    full = np.zeros((r.shape[1],) * 2)  # fewer rows than columns: pad
    full[: len(r)] = r * sign[: len(r), None]
    return full


def _term_basis(structure, sums, triangular, shift, nobs):
    """T and its right factor for one term; None to ask for triangles."""
    k = structure.k
    if structure.any_basis and k > 1 and nobs >= k:
        if not triangular:
            share, r, right = basis_of_squares(sums, k, LARGEST_CONDITION, shift, nobs)
            return (r, right) if share > 0 else None
        r = _positive_diagonal(sums) / np.sqrt(nobs)
        length = np.linalg.norm(r, axis=0)
        if (np.abs(np.diag(r)) > DEPENDENT_EFFECT * length).all():
            return _unshifted(r, shift), invert_upper(r)
    s = np.eye(k)  # z = (shifted columns) s
    s[0, 1:] = shift[1:]
    raw = sums @ s if triangular else s.T @ sums @ s
    square = (raw**2).sum(axis=0) if triangular else raw.diagonal()
    scale = structure.column_scale(np.sqrt(square / nobs))
    # (columns that enter) = z / scale
    return np.diag(scale), s / scale


def _independent_columns(r):
    """Columns of an upper triangular factor that do not depend on earlier ones.

    Householder reflections on R, which has the inner products of the whole matrix; a
    dependent column is passed over, so that it spoils no later one (as R's dqrdc2).
    """
    length = np.linalg.norm(r, axis=0)
    diagonal = np.abs(np.diag(r))
    if (diagonal > DEPENDENT_COLUMN * length[: len(diagonal)]).all():
        return np.arange(r.shape[1], dtype=np.intp)
    work, kept, row = r.copy(), [], 0
    for j in range(r.shape[1]):
        if row == len(work):
            break
        rest = work[row:, j]
        size = np.linalg.norm(rest)
        if length[j] == 0 or size <= DEPENDENT_COLUMN * length[j]:
            continue
        v = rest.copy()
        v[0] += np.copysign(size, v[0])
        v /= np.linalg.norm(v)
        work[row:, j:] -= 2 * np.outer(v, v @ work[row:, j:])
        kept.append(j)
        row += 1
    return np.array(kept, dtype=np.intp)
