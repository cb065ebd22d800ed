"""Cross-products of [X y] within the levels of the only grouping factor."""

from __future__ import annotations

import numpy as np

from mixedext.engine.basis import Bases
from mixedext.engine.kernels import within
from mixedext.engine.products import Products, factor_columns, fixed_chunks
from mixedext.engine.rows import Rows

__all__ = ["within_from_products", "within_from_rows"]

# The difference of whole and between sums of squares is taken while it is not a smaller
# share of the whole sum of y than this; beyond, the rows are asked.
SMALLEST_SHARE = 1e-4
# A share below this is rounding: the column lies in the columns of Z.
ROUNDING = 1e-13


def within_from_products(products: Products) -> np.ndarray | None:
    """W from the cross-products; None where the difference would cancel.

    Parameters
    ----------
    products : Products
        Of a design with one grouping factor.
    """
    gram, cross = products.grams[0], products.crosses[0]
    out = np.empty(products.fixed_gram.shape)
    scratch = np.empty(gram.shape[1:]), np.empty(cross.shape[1:])
    # ROUNDING: columns that do not vary within levels, as the intercept
    share = within.within_levels(gram, cross, products.fixed_gram, ROUNDING, *scratch, out)
    return None if share < SMALLEST_SHARE else out


def within_from_rows(rows: Rows, bases: Bases, right, products: Products) -> np.ndarray:
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
    """
    gram, cross = products.grams[0], products.crosses[0]
    k, p = cross.shape[1:]
    out = np.zeros((p, p))
    scratch = np.empty((k, k)), np.empty((k, p)), np.empty(k), np.empty(p)
    layout = products.layouts[0]
    codes = rows.terms[layout.terms[0]].codes
    for at, fixed in fixed_chunks(rows, bases, right):
        z = factor_columns(rows, bases, layout, at)
        within.within_products(codes[at], z, fixed, gram, cross, *scratch, out)
    within.mirror(out)
    return out
