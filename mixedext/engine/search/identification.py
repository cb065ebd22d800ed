"""Which covariances of a design nothing in the rows can tell apart.

V = sum_r gamma_r G_r + sigma^2 W^-1 is known up to changes of gamma and sigma^2 that leave
it as it is.  With F_r = W^1/2 G_r W^1/2, and I in place of W^-1, they are the null vectors
of the Gram matrix of all these matrices,

    tr F_r F_s,    tr F_r,    n,

all of which is in the cross-products (those of the moments, without the projection on X).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.engine.factor.templates import factor_bases
from mixedext.engine.rows.blocks import Blocks
from mixedext.engine.rows.design import Design
from mixedext.engine.search.starting_values import MOST_PAIR_SUMS, covariance_grams
from mixedext.limits import INVOLVED, SAME_COVARIANCES

__all__ = ["OpenDirection", "find_open", "is_cheap"]

# Products of numbers up to which the matrix costs little beside the making of a model.
CHEAP = 20_000


@dataclass(frozen=True, eq=False)
class OpenDirection:
    """A change of the covariances that leaves V as it is.

    Attributes
    ----------
    terms : tuple of (int, tuple of int)
        Numbers of the terms involved, each with the columns of it that are.
    residual : bool
        Whether sigma^2 is.
    """

    terms: tuple[tuple[int, tuple[int, ...]], ...]
    residual: bool


def is_cheap(blocks: Blocks) -> bool:
    """Whether ``find_open`` costs little beside the making of a model."""
    width = blocks.lead_gram.shape[1]
    work = blocks.lead_gram.size * width**2 + blocks.link_value.size * width
    return work + blocks.tail_gram.size * max(f.width for f in blocks.factors) ** 2 <= CHEAP


def find_open(design: Design, residual: bool = True) -> list[OpenDirection] | None:
    """Changes of the covariances that leave V as it is, at most one with sigma^2.

    Parameters
    ----------
    design : Design
        A model with random terms.
    residual : bool
        Whether there is a sigma^2; generalized models have none.

    Returns
    -------
    list of OpenDirection or None
        None where the matrix would be too large.
    """
    blocks, structures = design.blocks, design.structures
    if max(f.width for f in blocks.factors) ** 4 > MOST_PAIR_SUMS:
        return None
    found = factor_bases(structures, blocks.factors)
    products = covariance_grams(blocks, [basis for _, basis in found])
    gram, size = unit_diagonal(products if residual else products[:-1, :-1])
    value, vector = np.linalg.eigh(gram)
    null = vector[:, value <= SAME_COVARIANCES * len(gram)] / size[:, None]
    if not null.shape[1]:
        return []
    # in the model's order, not in that of the factors
    order = np.concatenate([numbers for numbers, _ in found])
    null[: len(order)] = null[np.argsort(order)]
    if not residual:
        return [_direction(design, v, False) for v in null.T]
    # sigma^2 in the first alone
    share = np.linalg.norm(null[-1])
    if share > INVOLVED * np.abs(null).max():
        turn = np.linalg.qr(np.column_stack([null[-1] / share, np.eye(null.shape[1])]))[0]
        null = null @ turn
        return [_direction(design, null[:, 0], True)] + [
            _direction(design, v, False) for v in null[:, 1:].T
        ]
    return [_direction(design, v, False) for v in null.T]


def _direction(design, change, residual):
    """The terms and columns that a null vector changes, columns in the data's units."""
    parts, start = [], 0
    for number, s in enumerate(design.structures):
        own = np.tensordot(change[start : start + s.n_gamma], s.covariance_basis, 1)
        start += s.n_gamma
        back, transform = design.inverse_transforms[number], design.transforms[number]
        rms = np.linalg.norm(transform, axis=0)
        parts.append(np.abs(back @ own @ back.T * np.outer(rms, rms)).max(axis=1))
    least = INVOLVED * max(part.max() for part in parts)
    terms = [
        (number, tuple(int(c) for c in np.flatnonzero(part > least)))
        for number, part in enumerate(parts)
        if part.max() > least
    ]
    return OpenDirection(tuple(terms), residual)
