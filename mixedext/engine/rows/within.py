"""Cross-products of [X y] within the levels of the only grouping factor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from mixedext.engine.rows.basis import Bases
from mixedext.engine.rows.products import Products, factor_columns, fixed_chunks
from mixedext.engine.rows.rows import Rows
from mixedext.kernels.rows import within
from mixedext.limits import (
    NEARLY_CONSTANT,
    WITHIN_EXPLAINED,
    WITHIN_INDEPENDENT,
    WITHIN_NOTHING,
    WITHIN_ROUNDING,
    WITHIN_ROUNDING_RANGE,
    WITHIN_SHARE,
)

__all__ = ["Within", "find_within", "within_chunks", "within_from_rows"]


@dataclass(frozen=True, eq=False)
class Within:
    """Cross-products of what Z leaves of [X, y - X shift] within levels.

    Attributes
    ----------
    products : ndarray
        W, (P, P).
    shift : ndarray or None
        (P - 1,) regression of y on X within levels, where W of the least-squares residual
        would cancel against W of X; None for zero.
    square : float
        The sum of squares that W of y is a difference of; 0 if it was summed over rows.
    explained : bool
        Whether Z and X explain y exactly although they leave degrees of freedom.
    """

    products: np.ndarray
    shift: np.ndarray | None = None
    square: float = 0.0
    explained: bool = False

    def less_fixed(self, coefficients: np.ndarray) -> Within:
        """W of [X, y - X b], summed over the rows before.

        y - X shift is a least residual, so that what the change adds does not cancel.
        Of combinations of X that Z explains it adds nothing, however large they are; the
        rounding errors of W, which are those of its largest elements, would.

        Parameters
        ----------
        coefficients : ndarray
            b, (P - 1,).
        """
        change = coefficients if self.shift is None else coefficients - self.shift
        products = self.products.copy()
        own = products[:-1, :-1]
        size, value, vector = _spectrum(own)
        root = np.sqrt(np.where(value > WITHIN_EXPLAINED, value, 0.0)) * vector
        root *= np.where(np.isfinite(size), size, 0.0)[:, None]
        along = root.T @ change
        cross = products[:-1, -1]
        products[-1, -1] += along @ along - 2.0 * change @ cross
        products[:-1, -1] = products[-1, :-1] = cross - root @ along
        return replace(self, products=products, shift=None)


def _difference(gram, cross, whole, nobs) -> tuple[Within, int]:
    """W as the difference of whole and between cross-products.

    Parameters
    ----------
    gram, cross : ndarray
        (L, K, K) and (L, K, P) of the factor.
    whole : ndarray
        (P, P) cross-products of [X y].
    nobs : int
        Rows.

    Returns
    -------
    found : Within
    rank : int
        Columns of Z that are independent.
    """
    out = np.empty_like(whole)
    rank = within.level_squares(
        gram, cross, np.empty(gram.shape[1:]), np.empty(cross.shape[1:]), out
    )
    out = whole - out
    rounding = np.clip(WITHIN_ROUNDING * nobs**0.5, *WITHIN_ROUNDING_RANGE)
    _clear_constant(out, whole, float(rounding))
    return Within(out, square=float(whole[-1, -1])), rank


def find_within(
    gram: np.ndarray,
    cross: np.ndarray,
    whole: np.ndarray,
    nobs: int,
    ask_rows: Callable[[np.ndarray], np.ndarray] | None,
) -> Within:
    """W by the difference where it keeps its digits, else from the rows.

    Parameters
    ----------
    gram, cross : ndarray
        (L, K, K) and (L, K, P) of the factor.
    whole : ndarray
        (P, P) cross-products of [X y].
    nobs : int
        Rows.
    ask_rows : callable, optional
        From ``shift`` to W by a pass over the rows.
    """
    found, rank = _difference(gram, cross, whole, nobs)
    share = found.products.diagonal() / whole.diagonal()
    nearly = (share[:-1] > 0) & (share[:-1] < NEARLY_CONSTANT)
    shift, left = _regression(found.products)
    if ask_rows is None or (left > WITHIN_SHARE * whole[-1, -1] and not nearly.any()):
        return found
    sums = ask_rows(shift)
    _clear_constant(sums, whole, WITHIN_NOTHING)
    spare = nobs - rank - np.count_nonzero(share[:-1])
    left = _regression(sums)[1]
    explained = spare > 0 and left < WITHIN_NOTHING * whole[-1, -1]
    return Within(sums, shift, explained=bool(explained))


def _clear_constant(sums, whole, rounding):
    """Zero for columns of X that are constant within levels, as the intercept is."""
    constant = sums.diagonal() < rounding * whole.diagonal()
    constant[-1] = False
    sums[constant] = sums[:, constant] = 0.0


def _regression(sums):
    """Coefficients of y on X from W, and the sum of squares that is left."""
    size, value, vector = _spectrum(sums[:-1, :-1])
    on_vector = vector.T @ (sums[:-1, -1] / size)
    on_vector = np.where(
        value > WITHIN_INDEPENDENT, on_vector / np.maximum(value, WITHIN_INDEPENDENT), 0
    )
    shift = vector @ on_vector / size
    return shift, sums[-1, -1] - shift @ sums[:-1, -1]


def _spectrum(own):
    """Roots of the diagonal, infinite for zero, and the eigenvalues of the correlations."""
    size = np.sqrt(own.diagonal().clip(0.0))
    size[size == 0] = np.inf
    value, vector = np.linalg.eigh(own / np.outer(size, size))
    return size, value, vector


def within_from_rows(
    rows: Rows,
    bases: Bases,
    right: np.ndarray,
    products: Products,
    shift: np.ndarray,
) -> np.ndarray:
    """W by one more pass over the rows.

    Parameters
    ----------
    rows : Rows
        All rows.
    bases : Bases
        Used for the products.
    right : ndarray
        What the fixed columns were changed by since, (P, P).
    products : Products
        Changed so.
    shift : ndarray
        (P - 1,) see ``Within``.
    """
    gram, cross = products.grams[0], products.crosses[0]
    layout = products.layouts[0]
    codes = rows.codes(layout.terms[0])
    chunks = (
        (codes[at], factor_columns(rows, bases, layout, at), fixed)
        for at, fixed in fixed_chunks(rows, bases, right)
    )
    return within_chunks(chunks, gram, cross, shift)


def within_chunks(
    chunks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    gram: np.ndarray,
    cross: np.ndarray,
    shift: np.ndarray,
) -> np.ndarray:
    """W from chunks of rows: codes (n,), Z (K, n) and [X y] (n, P)."""
    p = cross.shape[2]
    out = np.zeros((p, p))
    for codes, z, fixed in chunks:
        within.within_products(codes, z, fixed, gram, cross, shift, out)
    within.mirror(out)
    return out
