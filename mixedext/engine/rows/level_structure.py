"""What varies within the levels of which grouping factor, and ranks of [X Z].

All from cross-products: a column of X is a multiple of a column z of a random term within
every level if its projections on z, level by level, have the sum of squares of the column
itself; with z = 1 it is constant within levels.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.engine.fit import Fit
from mixedext.exceptions import DesignError
from mixedext.kernels.deviance import expected
from mixedext.kernels.factor import lead, links
from mixedext.limits import CONSTANT_COLUMN, LEVELS_RANK, MULTIPLE_OF_COLUMN

__all__ = ["LevelStructure"]

# Columns of all grouping factors but the leading one of which ranks are found.
MOST_COLUMNS = 6000


class LevelStructure:
    """Relations between columns of X and grouping factors of a fitted design.

    Grouping factors are numbered as ``design.blocks.factors``: most random effects first.

    Parameters
    ----------
    fit : Fit
        A fitted model.
    residual_groups : bool, optional
        Whether the groups of a residual covariance are a grouping factor where there is no
        random term.
    """

    def __init__(self, fit: Fit, residual_groups: bool = False):
        self.design, self.objective = fit.design, fit.objective
        if fit.residual is not None:  # whose design is that of whitened rows
            self.design = fit.residual.unwhitened(residual_groups)
            self.objective = self.design.objective(fit.reml)
            if fit.design.terms:
                self.objective.value(self.design.inner_theta(fit.theta))
        self.blocks = self.design.blocks
        self.rank = self.design.basis.rank

    # ---- products in the units of the data (but for a common factor of each column) ----

    def _products(self, number):
        """Z_l'Z_l and Z_l'X of every level, columns of Z as in the model."""
        layout = self.blocks.factors[number]
        gram, cross = self.blocks.level_grams(number), self.blocks.level_crosses(number)
        change = np.zeros((layout.width, layout.width))
        for term, at in zip(layout.terms, layout.slices, strict=True):
            change[at, at] = self.design.transforms[term]
        return change.T @ gram @ change, change.T @ cross[:, :, : self.rank]

    def multiples(self, number: int) -> np.ndarray:
        """Which columns of X are, in every level, multiples of which columns of Z.

        Returns
        -------
        ndarray
            (columns of the factor's terms, columns of X), bool.
        """
        gram, cross = self._products(number)
        r = self.design.basis.r
        whole = np.einsum("ij,ik,kj->j", r, self.blocks.fixed_gram[:-1, :-1], r)
        own, other = np.einsum("laa->la", gram), cross @ r
        share = np.divide(
            other**2, own[:, :, None], out=np.zeros_like(other), where=own[:, :, None] > 0
        )
        return share.sum(axis=0) >= (1 - MULTIPLE_OF_COLUMN) * whole

    def constant(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """What of X is constant within levels, and over all rows.

        Returns
        -------
        within : ndarray
            Which columns of X are constant within the levels, (p,) bool.
        ones : ndarray
            Coefficients of the columns of X that give 1 in every row; zeros if none do.

        Raises
        ------
        DesignError
            If the factor's terms span no random intercept, from which that follows.
        """
        gram, cross = self._products(number)
        ones = self._ones(number, gram, cross)
        sizes = np.einsum("a,lab,b->l", ones, gram, ones)
        sums = np.einsum("a,laj->lj", ones, cross)
        # off the mean, which would hide small variation: Q'1 tells it
        mean = sums.sum(axis=0) / sizes.sum()
        sums = sums - sizes[:, None] * mean
        products = self.blocks.fixed_gram[:-1, :-1]
        products = products - sizes.sum() * np.outer(mean, mean)
        r = self.design.basis.r
        size = np.einsum("ij,ik,kj->j", r, self.blocks.fixed_gram[:-1, :-1], r)
        whole = np.einsum("ij,ik,kj->j", r, products, r)
        squares = (sums @ r) ** 2
        # levels whose weights are lost beside the others' have no part in it
        there = np.broadcast_to(sizes[:, None] > 0, squares.shape)
        between = np.divide(
            squares, sizes[:, None], out=np.zeros_like(squares), where=there
        ).sum(axis=0)
        constant = whole <= CONSTANT_COLUMN * size
        within = constant | (between >= (1 - MULTIPLE_OF_COLUMN) * whole)
        on_basis = np.linalg.solve(self.blocks.fixed_gram[:-1, :-1], mean) * sizes.sum()
        explained = on_basis @ mean
        if explained < 1 - MULTIPLE_OF_COLUMN:
            return within, np.zeros(self.rank)
        return within, self.design.basis.coefficients(on_basis)

    def _ones(self, number, gram, cross):
        """Coefficients of the columns of Z that give 1 in every row."""
        layout = self.blocks.factors[number]
        for term, at in zip(layout.terms, layout.slices, strict=True):
            names = self.design.terms[term].names
            if "Intercept" in names:
                out = np.zeros(layout.width)
                out[at.start + names.index("Intercept")] = 1.0
                return out
        if self.design.intercept:  # perhaps a combination of the columns of Z: cell means
            r = self.design.basis.r[:, 0]
            on_ones = cross.sum(axis=0) @ r
            found = np.linalg.lstsq(gram.sum(axis=0), on_ones, rcond=LEVELS_RANK)[0]
            square = r @ self.blocks.fixed_gram[:-1, :-1] @ r
            if square - found @ on_ones <= MULTIPLE_OF_COLUMN * square:
                return found
        raise DesignError(
            "df_method='between-within', as 'inner-outer', needs to know what varies "
            f"within the levels of {layout.group!r}, as a random intercept tells: "
            f"add (1 | {layout.group}) to the model, or use df_method='satterthwaite'"
        )

    # ---- nesting ----

    def is_chain(self) -> bool:
        """Whether every factor is nested in all those with fewer levels."""
        b = self.blocks
        tail = range(len(b.factors) - 1)
        if not len(tail):
            return True
        of_factor = np.empty(len(b.level_factor), np.intp)
        level_of = np.repeat(np.arange(len(of_factor)), np.diff(b.level_start))
        lead_of = np.repeat(np.arange(len(b.lead_gram)), np.diff(b.link_pointers))
        level = level_of[b.link_index]
        own = []
        for f in tail:
            at = b.level_factor[level] == f
            first, last = np.full((2, len(b.lead_gram)), -1)
            np.maximum.at(last, lead_of[at], level[at])
            first[:] = len(of_factor)
            np.minimum.at(first, lead_of[at], level[at])
            if (first != last).any():
                return False
            own.append(first)
        order = sorted(tail, key=lambda f: -b.factors[f + 1].n_levels)
        for finer, coarser in pairwise(order):
            first = np.full(len(of_factor), len(of_factor))
            last = np.full(len(of_factor), -1)
            np.minimum.at(first, own[finer], own[coarser])
            np.maximum.at(last, own[finer], own[coarser])
            used = last >= 0
            if (first[used] != last[used]).any():
                return False
        return True

    # ---- ranks ----

    def rank_contributions(self) -> tuple[list[np.ndarray], int]:
        """What each column of each factor adds to the rank of [X Z].

        Factors with fewer levels come first, columns of a factor in the model's order.

        Returns
        -------
        contributions : list of ndarray
            For each factor, one number a column of its terms.
        whole : int
            Rank of [X Z].
        """
        b = self.blocks
        count, m = len(b.factors), b.tail_size
        if m > MOST_COLUMNS:
            raise MemoryError(
                f"df_method='containment' needs the rank of a matrix of {m} columns; use "
                "df_method='satterthwaite' or 'kenward-roger'"
            )
        out = [np.zeros(f.width, np.intp) for f in b.factors]
        gram = self._tail_and_fixed()
        used = list(range(m, m + self.rank))
        rank = self.rank
        order = sorted(range(1, count), key=lambda f: b.factors[f].n_levels)
        for number in order:
            columns = b.tail_columns(number - 1)
            for a in range(columns.shape[1]):
                used += list(columns[:, a])
                now = _rank(gram[np.ix_(used, used)])
                out[number][a], rank = now - rank, now
        for a in range(b.factors[0].width if count else 0):
            now = self._rank_with_lead(gram, a + 1)
            out[0][a], rank = now - rank, now
        return out, rank

    def _tail_and_fixed(self):
        b, m, p = self.blocks, self.blocks.tail_size, self.rank
        out = np.empty((m + p, m + p))
        out[:m, :m] = b.multiply_tail_gram(np.eye(m))
        out[:m, m:] = b.tail_cross[:, :p]
        out[m:, :m] = out[:m, m:].T
        out[m:, m:] = b.fixed_gram[:p, :p]
        return out

    def _rank_with_lead(self, gram, width):
        """Rank with the first columns of the leading factor, eliminated level by level."""
        b, m, p = self.blocks, self.blocks.tail_size, self.rank
        scaled, size = unit_diagonal(b.lead_gram[:, :width, :width])
        value, vector = np.linalg.eigh(scaled)
        kept = value > LEVELS_RANK
        root = vector / size[:, :, None] * np.where(kept, value, np.inf)[:, None] ** -0.5
        half = np.zeros_like(b.lead_gram)
        half[:, :width, :width] = root
        solved = half.transpose(0, 2, 1) @ b.lead_cross[:, :, :p]
        flat = solved.reshape(len(solved) * solved.shape[1], p)
        rest = gram.copy()
        rest[m:, m:] -= flat.T @ flat
        if m:
            edge = np.empty_like(b.link_value)
            links.link_times(b.link_pointers, b.link_value, half, edge)
            square = np.zeros((m, m))
            expected.square_dense(self.objective.factor.tail.links, edge, edge, square)
            rest[:m, :m] -= square + np.tril(square, -1).T
            cross = np.ascontiguousarray(rest[:m, m:])
            solved = np.ascontiguousarray(solved)
            lead.reduce_cross(b.link_pointers, b.link_index, edge, solved, cross)
            rest[:m, m:], rest[m:, :m] = cross, cross.T
        return int(kept.sum()) + _rank(rest, np.diag(gram))


def _rank(products, squares=None):
    """Rank from products of columns, the lengths of which were the roots of ``squares``."""
    size = np.sqrt(np.diag(products) if squares is None else squares)
    if not len(size):
        return 0
    size = np.where(size > 0, size, 1.0)  # columns of zeros
    value = np.linalg.eigvalsh(products / np.outer(size, size))
    return int((value > LEVELS_RANK).sum())
