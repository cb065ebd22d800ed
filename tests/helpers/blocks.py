"""Blocks of columns as they are, without a change of basis."""

from __future__ import annotations

import numpy as np

from mixedext.engine.rows.basis import Bases, FixedBasis, choose_shifts
from mixedext.engine.rows.blocks import build_blocks
from mixedext.engine.rows.products import Products, group_by_factor
from mixedext.engine.rows.rows import Rows


def plain_bases(rows):
    """Bases that leave every column as it is."""
    shifts = choose_shifts(rows).none()
    p = rows.n_columns
    eye = [np.eye(t.k) for t in rows.terms]
    basis = FixedBasis(np.eye(p), np.arange(p), np.zeros((p, 0)))
    shifts = type(shifts)(shifts.fixed, 0.0, tuple(np.zeros(t.k) for t in rows.terms))
    return Bases(shifts, basis, np.eye(p + 1), 1.0, tuple(eye), tuple(eye))


def plain_products(terms, fixed):
    """Products of terms and of [X y] as given."""
    rows = Rows(fixed[:, -1], fixed[:, :-1], terms)
    return Products.of(rows, plain_bases(rows), group_by_factor(terms))


def plain_blocks(terms, fixed, storage=None):
    """Blocks of terms and of [X y] as given."""
    return build_blocks(plain_products(terms, fixed), storage)
