"""One variance common to many effects: Z in the basis in which Z'Z is diagonal.

With Z_l'Z_l = U D U' the effects U'b have the same law N(0, v I) as b, and the columns of
Z_l U are orthogonal: each becomes a level of its own, as for a random intercept.  Effects
and their covariances are carried back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import linalg

from mixedext.engine.factor.spread import (
    WIDE,
    cross_products,
    entering,
    is_dense,
    sum_products,
    times_rows,
)
from mixedext.engine.rows.basis import Bases
from mixedext.engine.rows.eigenvectors import Rotation
from mixedext.engine.rows.products import FactorLayout, Products, fixed_chunks
from mixedext.engine.rows.rows import Rows
from mixedext.limits import SMALLEST_SQUARE
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = [
    "coefficients_on_z",
    "residual_squares",
    "rotate_products",
    "sum_rotated",
    "within_rotated",
]

# Columns of Z up to which its eigenvectors cost less than the factorizations they save.
MOST_ROTATED = 1000


def rotate_products(
    products: Products, terms: Sequence[RandomTerm | SparseTerm]
) -> tuple[Products, Rotation | None]:
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
    if products.rotation is not None:
        return products, products.rotation
    layouts = products.layouts
    if not layouts:
        return products, None
    layout = layouts[-1]
    alone = len(layouts) == 2 and not layouts[0].terms and layout.width == 1
    if alone and layout.n_levels <= MOST_ROTATED:
        gram = products.inner[1]
        gram = gram if isinstance(gram, np.ndarray) else gram.toarray()
        cross, grams = products.crosses[1], gram[None]
    elif (
        len(layouts) == 1
        and layout.width > WIDE
        and len(layout.terms) == 1
        and terms[layout.terms[0]].structure.shares_one_variance
    ):
        cross, grams = products.crosses[0], products.grams[0]
    else:
        return products, None
    rotation = _diagonalized(grams)
    value, n_fixed = rotation.value, cross.shape[-1]
    layout = _scalar(layout, value.size)
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


def sum_rotated(rows: Rows, bases: Bases, layouts: Sequence[FactorLayout]) -> Products:
    """Cross-products of all factors; rotated already where Z has more columns than rows."""
    found = _sum_wide(rows, bases, layouts)
    return sum_products(rows, bases, layouts) if found is None else found


def _sum_wide(rows, bases, layouts):
    """Products of a full matrix of more columns than rows, rotated; None for others.

    With Z Z' = V D V' the eigenvectors of Z'Z are U = Z'V D^-1/2.
    """
    if len(layouts) != 2 or layouts[0].terms or rows.nobs > MOST_ROTATED:
        return None
    layout = layouts[1]
    if layout.width > 1:
        return None
    z = entering(rows, bases, layout)
    if z.shape[1] <= z.shape[0] or not is_dense(z):
        return None
    by_column = z.T.tocsr()
    found = _diagonalized(cross_products(by_column, by_column)[None])
    value = found.value[0]
    kept = value > SMALLEST_SQUARE * value.max()
    value, root = value[kept], np.sqrt(value[kept])
    vectors = np.ascontiguousarray(found.vectors[0][:, kept])
    fixed = np.concatenate([columns for _, columns in fixed_chunks(rows, bases)])
    return Products(
        rows.nobs,
        (_scalar(layout, len(value)),),
        (value.reshape(-1, 1, 1).copy(),),
        (np.ascontiguousarray(root[:, None] * (vectors.T @ fixed))[:, None, :],),
        {},
        fixed.T @ fixed,
        rotation=Rotation((by_column @ vectors / root)[None], value[None]),
    )


def _scalar(layout, n_levels):
    """Layout of the factor with a level for each direction."""
    return replace(
        layout,
        n_levels=n_levels,
        width=1,
        slices=(slice(0, 1),),
        spread=False,
        block=1,
    )


def coefficients_on_z(rotation: Rotation, cross: np.ndarray) -> np.ndarray:
    """Least-squares coefficients on Z (L K, P) from rotated Z'(columns), (L R, P)."""
    value = rotation.value.ravel()
    inverse = np.divide(1.0, value, out=np.zeros_like(value), where=value > 0)
    return rotation.back(cross * inverse[:, None])


def residual_squares(
    fixed: np.ndarray, fitted: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """Cross-products of what Z leaves of [X, y - X shift], (P, P)."""
    rest = fixed - fitted
    rest[:, -1] -= rest[:, :-1] @ shift
    return rest.T @ rest


def within_rotated(
    rows: Rows,
    bases: Bases,
    rotation: Rotation,
    right: np.ndarray,
    products: Products,
    shift: np.ndarray,
) -> np.ndarray:
    """W (engine.rows.within) by one more pass over the rows.

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
    n_fixed = products.crosses[-1].shape[-1]
    cross = products.crosses[-1].reshape(-1, n_fixed)
    cross = rotation.forward(cross) if products.rotation is None else cross
    b = coefficients_on_z(rotation, cross)
    b = b.reshape(term.n_levels, term.k, n_fixed) * bases.random_right[0][0, 0]
    out = np.zeros((n_fixed, n_fixed))
    for at, fixed in fixed_chunks(rows, bases, right):
        fitted = times_rows(term, at, b)
        if rows.weights is not None:
            fitted *= np.sqrt(rows.weights[at])[:, None]
        out += residual_squares(fixed, fitted, shift)
    return out
