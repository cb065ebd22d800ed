"""Eigenvalues of one variance component with and without the fixed effects.

Z'P0Z with P0 = I - X(X'X)^-1 X' is Z'Z less a matrix of the rank of X.  With Z'Z diagonal
(after a rotation of each level's columns) equal diagonal elements need no more eigenvectors
than X has columns: so the matrix that is decomposed has a few rows for each different
element, not one for each level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from mixedext.engine.rows.blocks import Blocks
from mixedext.engine.rows.design import Design
from mixedext.engine.threads import blas_threads
from mixedext.exceptions import DesignError
from mixedext.limits import EQUAL_EIGENVALUES

__all__ = ["Spectrum", "component_spectrum", "pooled"]

# Rows of the matrix of which eigenvalues are found; beyond, nearly equal diagonal elements
# of Z'Z are made equal.
MOST_ROWS = 1500
# Different eigenvalues that draws are made for; beyond, neighbours are pooled until there
# are no more than the second number.
MOST_DISTINCT, POOLED = 1500, 400
# Eigenvalues are near each other relative to themselves plus this share of the largest.
FLOOR = 0.05
# Columns of a matrix Z without levels of which Z'Z is decomposed as it is.
MOST_COLUMNS = 6000


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues that the law of a likelihood-ratio statistic depends on.

    Attributes
    ----------
    values : ndarray
        Different eigenvalues of Z'P0Z that are not zero, descending; the largest of these
        and of ``whole`` is 1 (under REML the largest of these alone).
    counts : ndarray
        How often each occurs.
    whole, whole_counts : ndarray
        The same of Z'Z.
    nobs, rank : int
        Rows, and rank of X.
    width : float
        Relative width within which neighbours were pooled; 0 if none but equal ones were.
        (Relative to the eigenvalue and a twentieth of the largest.)
    """

    values: np.ndarray
    counts: np.ndarray
    whole: np.ndarray
    whole_counts: np.ndarray
    nobs: int
    rank: int
    width: float = 0.0

    @property
    def rest(self) -> int:
        """Residual degrees of freedom that Z has no part in."""
        return self.nobs - self.rank - int(self.counts.sum())


def component_spectrum(design: Design, reml: bool) -> Spectrum:
    """Eigenvalues for the only variance component of a design.

    Parameters
    ----------
    design : Design
        With one random term of one variance.
    reml : bool
        Whether the scale is the largest eigenvalue of Z'P0Z, or of Z'Z also.

    Raises
    ------
    DesignError
        If the fixed effects leave nothing of Z, they and Z leave nothing of any response
        (ordinary likelihood), or a matrix Z has too many columns.
    """
    with blas_threads():
        diagonal, fixed = _diagonal_form(design.blocks)
    _, whole, whole_counts = _equal(diagonal)
    most = diagonal.max(initial=0.0)
    width = 0.0
    rank = fixed.shape[1]
    rows = int(np.minimum(whole_counts, max(rank, 1)).sum())
    if rank and rows > MOST_ROWS:
        width = _width(diagonal, MOST_ROWS // max(rank, 1))
        diagonal = _rounded(diagonal, width)
    with blas_threads():
        values, counts = _less_fixed(diagonal, fixed)
    keep = values > EQUAL_EIGENVALUES * most
    values, counts = values[keep], counts[keep]
    if not len(values):
        raise DesignError(
            f"the fixed effects explain all that {design.terms[0].label} could: its "
            "variance cannot be tested. Leave out the fixed effects of its levels"
        )
    positive = whole > EQUAL_EIGENVALUES * most
    whole, whole_counts = whole[positive], whole_counts[positive]
    nobs, rank_z = design.blocks.nobs, int(whole_counts.sum())
    if not reml and rank_z < nobs and nobs - rank - int(counts.sum()) <= 0:
        raise DesignError(
            f"the fixed effects and {design.terms[0].label} fit any response without a "
            "residual: the likelihood is unbounded. Use the restricted likelihood, "
            "exact_rlrt, or fewer fixed effects"
        )
    scale = values[0] if reml else max(values[0], whole[0])
    if len(values) > MOST_DISTINCT:
        finer = _width(np.repeat(values, counts), POOLED)
        values, counts = pooled(values, counts, finer)
        width = max(width, finer)
    if len(whole) > MOST_DISTINCT:
        finer = _width(np.repeat(whole, whole_counts), POOLED)
        whole, whole_counts = pooled(whole, whole_counts, finer)
        width = max(width, finer)
    return Spectrum(
        values / scale,
        counts,
        whole / scale,
        whole_counts,
        nobs,
        design.basis.rank,
        width,
    )


def _diagonal_form(blocks: Blocks):
    """Diagonal of Z'Z (q,) and Z'Q (q, p) in a basis of b where Z'Z is diagonal."""
    p = blocks.n_fixed - 1
    root = linalg.cholesky(blocks.fixed_gram[:p, :p]) if p else np.zeros((0, 0))
    if blocks.lead_gram.size:
        gram, cross = blocks.lead_gram, blocks.lead_cross[..., :p]
        if gram.shape[1] > 1:
            value, vector = np.linalg.eigh(gram)
            cross = vector.transpose(0, 2, 1) @ cross
        else:
            value = gram[..., 0]
        value, cross = value.reshape(-1), cross.reshape(value.size, p)
    else:
        m = blocks.tail_size
        if m > MOST_COLUMNS:
            raise DesignError(
                f"a matrix Z of {m} columns that is not one of levels: the exact law needs "
                f"all eigenvalues of Z'Z, which are found for up to {MOST_COLUMNS} columns"
            )
        gram = blocks.multiply_tail_gram(np.eye(m))
        value, vector = linalg.eigh((gram + gram.T) / 2)
        cross = vector.T @ blocks.tail_cross[:, :p]
    value = np.maximum(value, 0.0)
    if not p:
        return value, cross
    return value, linalg.solve_triangular(root, cross.T, trans="T").T


def _equal(values):
    """Class of every value, and means and sizes of the classes, descending.

    Values within rounding of their neighbours are one class.
    """
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    new = np.ones(len(values), bool)
    new[1:] = ordered[:-1] - ordered[1:] > EQUAL_EIGENVALUES * ordered[:1]
    number = np.cumsum(new) - 1
    counts = np.bincount(number)
    means = np.bincount(number, ordered) / counts
    member = np.empty(len(values), np.intp)
    member[order] = number
    return member, means, counts


def _places(values, width):
    """Number of the class, from the largest on, of values within a relative width."""
    logs = np.log(values / values.max() + FLOOR)
    return np.unique(-np.round(logs / width), return_inverse=True)[1]


def _width(values, most):
    """Least width, 1e-6 times a power of two, that makes no more classes than ``most``."""
    width = 1e-6
    while _places(values, width).max() >= most:
        width *= 2
    return width


def _rounded(values, width):
    """Values replaced by the means of those within a relative width."""
    code = _places(values, width)
    return (np.bincount(code, values) / np.bincount(code))[code]


def pooled(
    values: np.ndarray, counts: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Values and counts with neighbours pooled into their mean.

    Parameters
    ----------
    values, counts : ndarray
        Values, descending, and how often each occurs.
    width : float
        Relative width of a class.
    """
    code = _places(values, width)
    total = np.bincount(code, counts)
    return np.bincount(code, values * counts) / total, total.astype(np.intp)


def _less_fixed(diagonal, fixed):
    """Different eigenvalues, and their counts, of diag(d) - VV', descending.

    In a class of c equal elements a rotation leaves min(c, p) rows of V; the other
    directions are eigenvectors with the eigenvalue d.
    """
    p = fixed.shape[1]
    member, means, counts = _equal(diagonal)
    if p == 0:
        return means, counts
    order = np.argsort(member, kind="stable")
    ends = np.cumsum(counts)
    ordered, starts = fixed[order], ends - counts
    if p == 1:
        d, v = means, np.sqrt(np.add.reduceat(ordered**2, starts))
    else:
        rows = [ordered[i:j] for i, j in zip(starts, ends, strict=True)]
        rows = [np.linalg.qr(v, mode="r") if len(v) > p else v for v in rows]
        d, v = np.repeat(means, [len(v) for v in rows]), np.vstack(rows)
    found = linalg.eigvalsh(np.diag(d) - v @ v.T)
    spare = counts - np.minimum(counts, p)
    every = np.concatenate([means[spare > 0], np.clip(found, 0.0, None)])
    times = np.concatenate([spare[spare > 0], np.ones(len(found), np.intp)])
    member, _, _ = _equal(every)
    total = np.bincount(member, times)
    return np.bincount(member, every * times) / total, total.astype(np.intp)
