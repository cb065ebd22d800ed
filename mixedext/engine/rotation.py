"""One variance common to many effects: Z in the basis in which Z'Z is diagonal.

With Z_l'Z_l = U D U' the effects U'b have the same law N(0, v I) as b, and the columns of
Z_l U are orthogonal: each becomes a level of its own, as for a random intercept.  Effects
and their covariances are carried back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, sparse

from mixedext.engine.basis import Bases
from mixedext.engine.products import Products, fixed_chunks
from mixedext.engine.rows import Rows
from mixedext.engine.spread import WIDE, times_rows

__all__ = ["Rotation", "rotate_products", "within_rotated"]

# Columns of Z up to which its eigenvectors cost less than the factorizations they save.
MOST_ROTATED = 1000


@dataclass(frozen=True, eq=False)
class Rotation:
    """Eigenvectors of Z_l'Z_l.

    Attributes
    ----------
    vectors : ndarray
        U, (L, K, K): of every level, or of all columns at once (L = 1).
    value : ndarray
        Eigenvalues, (L, K); zero where they are rounding.
    """

    vectors: np.ndarray
    value: np.ndarray

    def forward(self, b: np.ndarray) -> np.ndarray:
        """U'b for Z'(anything) in rows, (L K, ...) both."""
        flat = b.reshape(*self.value.shape, -1)
        out = (self.vectors.transpose(0, 2, 1) @ flat) * (self.value > 0)[..., None]
        return out.reshape(b.shape)

    def back(self, b: np.ndarray) -> np.ndarray:
        """U b, (L K, ...) both."""
        flat = b.reshape(*self.value.shape, -1)
        return (self.vectors @ flat).reshape(b.shape)

    def covariance(self, variance: np.ndarray, width: int) -> np.ndarray:
        """Blocks of U diag(variance) U' for ``width`` columns at a time.

        Parameters
        ----------
        variance : ndarray
            (L K,)
        width : int
            K for the levels' whole blocks, 1 for the diagonal alone.
        """
        variance = variance.reshape(self.value.shape)
        if width == 1:
            out = np.einsum("lij,lj->li", self.vectors**2, variance)
            return out.reshape(-1, 1, 1)
        scaled = self.vectors * variance[:, None, :]
        return scaled @ self.vectors.transpose(0, 2, 1)


def rotate_products(products: Products, terms) -> tuple[Products, Rotation | None]:
    """Products of a model's only factor by scalar levels, where that saves work.

    Parameters
    ----------
    products : Products
        Of all rows.
    terms : sequence
        The random terms.

    Returns
    -------
    products : Products
        As they were, if there is no rotation.
    rotation : Rotation or None
    """
    layouts = products.layouts
    layout = layouts[-1] if layouts else None
    if len(layouts) == 2 and not layouts[0].terms and layout.n_levels <= MOST_ROTATED:
        gram = products.inner[1]
        gram = gram.toarray() if sparse.issparse(gram) else gram
        cross, grams = products.crosses[1], gram[None]
    elif (
        len(layouts) == 1
        and layout.width > WIDE
        and len(layout.terms) == 1
        and terms[layout.terms[0]].structure.name == "identity"
    ):
        cross, grams = products.crosses[0], products.grams[0]
    else:
        return products, None
    rotation = _diagonalized(grams)
    value, n_fixed = rotation.value, cross.shape[-1]
    layout = replace(
        layout, n_levels=value.size, width=1, slices=(slice(0, 1),), spread=False, block=1
    )
    cross = rotation.forward(cross.reshape(value.size, n_fixed))
    rotated = Products(
        products.nobs,
        (layout,),
        (value.reshape(-1, 1, 1),),
        (np.ascontiguousarray(cross).reshape(value.size, 1, n_fixed),),
        {},
        products.fixed_gram,
    )
    return rotated, rotation


def _diagonalized(grams):
    if len(grams) == 1:
        value, vectors = linalg.eigh(grams[0], driver="evd", check_finite=False)
        value, vectors = value[None], vectors[None]
    else:
        value, vectors = np.linalg.eigh(grams)
    least = grams.shape[1] * np.finfo(float).eps * value.max(axis=1, initial=0.0)
    value = np.where(value > least[:, None], value, 0.0)
    return Rotation(np.ascontiguousarray(vectors), value)


def coefficients_on_z(rotation: Rotation, cross: np.ndarray) -> np.ndarray:
    """Least-squares coefficients on Z of the columns whose rotated Z'(columns) are given.

    (L K, P) both.
    """
    value = rotation.value.ravel()
    inverse = np.divide(1.0, value, out=np.zeros_like(value), where=value > 0)
    return rotation.back(cross * inverse[:, None])


def residual_squares(fixed, fitted, shift) -> np.ndarray:
    """Cross-products of what Z leaves of [X, y - X shift], (P, P)."""
    rest = fixed - fitted
    rest[:, -1] -= rest[:, :-1] @ shift
    return rest.T @ rest


def within_rotated(
    rows: Rows, bases: Bases, rotation: Rotation, right, products: Products, shift
) -> np.ndarray:
    """W (engine.within) by one more pass over the rows.

    Parameters
    ----------
    rows : Rows
        All rows.
    bases : Bases
        Used for the products.
    rotation : Rotation
        Of the only factor.
    right : ndarray
        What the fixed columns were changed by since, (P, P).
    products : Products
        Changed so, not rotated.
    shift : ndarray
        (P - 1,) see ``Within``.
    """
    term = rows.terms[0]
    cross = products.crosses[-1]
    n_fixed = cross.shape[-1]
    b = coefficients_on_z(rotation, rotation.forward(cross.reshape(-1, n_fixed)))
    b = b.reshape(term.n_levels, term.k, n_fixed) * bases.random_right[0][0, 0]
    out = np.zeros((n_fixed, n_fixed))
    for at, fixed in fixed_chunks(rows, bases, right):
        fitted = times_rows(term, at, b)
        if rows.weights is not None:
            fitted *= np.sqrt(rows.weights[at])[:, None]
        out += residual_squares(fixed, fitted, shift)
    return out
