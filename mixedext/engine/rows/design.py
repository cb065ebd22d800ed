"""From rows to a Design: two passes over the rows, then blocks; scales to be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import ArrayLike

from mixedext.algebra.triangles import basis_of_squares, invert_upper
from mixedext.engine.deviance.one_factor import OneFactorDeviance
from mixedext.engine.deviance.profiled import FactorDeviance, ProfiledDeviance
from mixedext.engine.deviance.row_deviance import DesignRows, RowDeviance
from mixedext.engine.factor.spread import engine_terms, factor_layouts
from mixedext.engine.rows.basis import (
    Bases,
    ColumnSums,
    FixedBasis,
    bases_from_sums,
    choose_shifts,
)
from mixedext.engine.rows.blocks import Blocks, build_blocks
from mixedext.engine.rows.eigenvectors import Rotation
from mixedext.engine.rows.levels import LevelSums, level_sums
from mixedext.engine.rows.memory import estimate_memory
from mixedext.engine.rows.products import Products
from mixedext.engine.rows.rotation import (
    rotate_products,
    sum_rotated,
    within_rotated,
)
from mixedext.engine.rows.rows import Rows
from mixedext.engine.rows.within import find_within, within_from_rows
from mixedext.exceptions import FIXED_EFFECTS, DesignError
from mixedext.limits import NO_RESIDUAL, SAMPLE_CONDITION
from mixedext.specification.covariance.identity import IdentityMultiple
from mixedext.specification.covariance.term_structure import TermStructure
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["Design", "finish_design", "prepare_design"]

EXPLAINED = "is explained exactly by X"
# Columns of the only factor up to which sums over levels pay: their cost grows with the
# fourth power, that of factoring every level with the third.
MOST_COLUMNS = 32
# Chunks of rows that are enough for the first pass over very many.
SAMPLED_CHUNKS = 48


@dataclass(frozen=True, eq=False)
class Design:
    """A model in the engine's units; built once, fitted by ML or REML.

    Attributes
    ----------
    blocks : Blocks
        Cross-products.
    terms : tuple of RandomTerm or SparseTerm
        The random terms, in the model's order, without their rows.
    basis : FixedBasis
        Orthonormal basis of the (weighted) fixed-effects columns.
    least_squares : ndarray
        Coefficients of y on the basis.
    y_scale : float
        Root mean square of the residual of y on X, by which y was divided.
    transforms : tuple of ndarray
        For each term T (k, k), upper triangular: its columns are the engine's times T, so
        that Sigma in the engine's units is T Sigma T'.
    log_weights : float
        Sum of the logarithms of the weights.
    rotation : Rotation or None
        By which the columns of the only factor have become orthogonal.
    intercept : bool
        Whether the first column of X is constant, and not zero.
    rows : DesignRows or None
        The rows, where cross-products alone would not do.
    straight_at : ndarray or None
        Theta in the engine's units at which covariances that are curves of their
        parameters are taken as straight, that of the fit; (n_theta,).
    """

    blocks: Blocks
    terms: tuple[RandomTerm | SparseTerm, ...]
    basis: FixedBasis
    least_squares: np.ndarray
    y_scale: float
    transforms: tuple[np.ndarray, ...]
    log_weights: float
    rotation: Rotation | None = None
    intercept: bool = False
    rows: DesignRows | None = None
    straight_at: np.ndarray | None = None

    @cached_property
    def structures(self) -> list[TermStructure]:
        """Structures of the terms as the engine has them.

        Where each of many columns with one variance is a level of its own, that of one;
        curves are taken as straight where ``straight_at`` says.
        """
        own = [t.structure for t in self.terms]
        for number in self.scalar_terms:
            own[number] = IdentityMultiple.of(1)
        if self.straight_at is not None:
            ends = np.cumsum([s.n_theta for s in own])[:-1]
            parts = np.split(self.straight_at, ends)
            own = [s.at(at) for s, at in zip(own, parts, strict=True)]
        return own

    @cached_property
    def is_curved(self) -> bool:
        """Whether the covariance of some term is not linear in its parameters."""
        return not all(t.structure.linear for t in self.terms)

    def straightened(self, theta: np.ndarray) -> Design:
        """The model with its curves taken as straight at theta, engine's units."""
        if not self.is_curved:
            return self
        return replace(self, straight_at=np.array(theta, float))

    @cached_property
    def scalar_terms(self) -> tuple[int, ...]:
        """Terms of several columns each of which is a level to the engine."""
        return tuple(
            number
            for f in self.blocks.factors
            for number, at in zip(f.terms, f.slices, strict=True)
            if at.stop - at.start != self.terms[number].k
        )

    def own_lams(self, theta: np.ndarray) -> list[np.ndarray]:
        """Relative covariance factor (k, k) of every term as it was given."""
        lams = self.lams(theta)
        for number in self.scalar_terms:
            lams[number] = lams[number] * np.eye(self.terms[number].k)
        return lams

    def own_effects(self, number: int, effect: np.ndarray) -> np.ndarray:
        """Effects of a term in the data's units, (L, k), from those in the engine's."""
        if self.rotation is not None:
            effect = self.rotation.back(effect)
        effect = self.y_scale * effect @ self.inverse_transforms[number].T
        return effect.reshape(-1, self.terms[number].k)

    def objective(self, reml: bool) -> ProfiledDeviance:
        """The profiled deviance in the engine's units."""
        if self.blocks.within is not None:
            return OneFactorDeviance(self.blocks, self.structures, reml, self.level_sums)
        if self.rows is not None:
            return RowDeviance(self.blocks, self.structures, reml, self.rows)
        return FactorDeviance(self.blocks, self.structures, reml)

    def less_fixed(self, coefficients: np.ndarray) -> Design:
        """The same model with y - Q b in place of y: of one grouping factor of few columns.

        The least-squares residual may be nearly in X again as V0 sees it; a residual that
        is not keeps the digits of y'V0^-1 y.

        Parameters
        ----------
        coefficients : ndarray
            b, (rank,), the engine's units.
        """
        within = self.blocks.within
        if within is None or within.square:
            raise ValueError("cross-products within levels are needed, from the rows")
        change = _less(coefficients)
        blocks = replace(
            self.blocks,
            lead_cross=self.blocks.lead_cross @ change,
            fixed_gram=change.T @ self.blocks.fixed_gram @ change,
            within=within.less_fixed(coefficients),
        )
        least_squares = self.least_squares + self.y_scale * coefficients
        return replace(self, blocks=blocks, least_squares=least_squares)

    @cached_property
    def level_sums(self) -> LevelSums:
        """Levels of the only grouping factor, pooled where they have the same gram."""
        return level_sums(self.blocks)

    def describe(self) -> str:
        """The block structure as text, and what was done to the columns first."""
        text = self.blocks.describe()
        if self.rotation is None:
            return text
        group, columns = self.terms[0].group, self.rotation.n_columns
        return f"{text}\n{group}: {columns} columns, rotated to eigenvectors of Z'Z"

    def deviance_shift(self, reml: bool, dof: int) -> float:
        """What the deviance in the data's units has over the engine's."""
        shift = 2.0 * dof * np.log(self.y_scale) - self.log_weights
        return shift + 2.0 * self.basis.log_det if reml else shift

    def lams(self, theta: np.ndarray) -> list[np.ndarray]:
        """Relative covariance factor of every term from theta, in either units."""
        return [s.lam(own) for s, own in self._by_term(theta)]

    def _by_term(self, theta):
        """Structure and theta of every term."""
        start = 0
        for s in self.structures:
            stop = start + s.n_theta
            yield s, theta[start:stop]
            start = stop

    def inner_theta(self, theta: ArrayLike) -> np.ndarray:
        """Theta in the engine's units from theta in the data's."""
        return self._moved(theta, self.transforms)

    def outer_theta(self, theta: ArrayLike) -> np.ndarray:
        """Theta in the data's units from theta in the engine's."""
        return self._moved(theta, self.inverse_transforms)

    @cached_property
    def inverse_transforms(self) -> tuple[np.ndarray, ...]:
        """T^-1 of every term."""
        return tuple(invert_upper(t) for t in self.transforms)

    def _moved(self, theta, transforms):
        parts = [
            s.moved(own, t)
            for (s, own), t in zip(
                self._by_term(np.asarray(theta, float)), transforms, strict=True
            )
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def gradient(self, scores: Iterable[np.ndarray], theta: np.ndarray) -> np.ndarray:
        """Derivative of the deviance in theta, data's units, from the engine's scores."""
        parts = [
            s.gradient(own, t.T @ score @ t)
            for (s, own), t, score in zip(
                self._by_term(theta), self.transforms, scores, strict=True
            )
        ]
        return np.concatenate(parts) if parts else np.zeros(0)


def prepare_design(
    y: np.ndarray,
    x: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    weights: np.ndarray | None = None,
    storage: str | None = None,
) -> Design:
    """Sum the cross-products of a model.

    Parameters
    ----------
    y : ndarray
        Response less offset, (n,), finite.
    x : ndarray
        Fixed-effects columns, (n, k), finite; dependent columns are dropped.
    terms : sequence of RandomTerm or SparseTerm
        Random terms; may be empty.
    weights : ndarray, optional
        Precision weights, positive.
    storage : {"dense", "sparse"}, optional
        Storage of the tail; chosen by estimated cost if None.

    Raises
    ------
    DesignError
        If X explains y exactly, or leaves no row for the variances.
    MemoryError
        If the fit would not fit into memory; says why and what to do.
    """
    own = engine_terms(terms)
    rows = Rows(y, x, own, weights)
    layouts = factor_layouts(own, terms)
    estimate_memory(layouts[:1], 0, rows.n_columns + 1).check()
    bases = first_pass(rows)
    products = sum_rotated(rows, bases, layouts)
    if rows.n_chunks > SAMPLED_CHUNKS and not _nearly_orthonormal(products):
        bases = first_pass(rows, sample=False)
        products = sum_rotated(rows, bases, layouts)

    def no_residual() -> str:
        constant = weights is None and np.ptp(y) == 0
        return "is constant" if constant else EXPLAINED

    def ask_rows(
        right: np.ndarray, products: Products, rotation: Rotation | None, shift: np.ndarray
    ) -> np.ndarray:
        if rotation is not None:
            return within_rotated(rows, bases, rotation, right, products, shift)
        return within_from_rows(rows, bases, right, products, shift)

    return finish_design(
        products, bases, terms, rows.log_weights, storage, no_residual, ask_rows
    )


def first_pass(rows: Rows, sample: bool = True) -> Bases:
    """Bases of the columns of one partition.

    Of many rows a sample will do where it shows all columns to be independent: what it
    misses is made good after the second pass.
    """
    shifts = choose_shifts(rows)
    structures = [t.structure for t in rows.terms]
    step = max(rows.n_chunks // SAMPLED_CHUNKS, 1) if sample else 1
    while True:
        sums = ColumnSums.of(rows, shifts, step=step)
        if not sums.is_constant:
            shifts = shifts.none()
            continue
        bases = bases_from_sums(sums, shifts, structures)
        if bases is not None:
            return bases
        if step == 1:
            break
        step = 1
    triangles = ColumnSums.of(rows, shifts, triangular=True)
    bases = bases_from_sums(triangles, shifts, structures)
    assert bases is not None  # only cross-products can be too close to singular
    return bases


def _less(coefficients):
    """What [X y] is multiplied by to become [X, y - X b]."""
    change = np.eye(len(coefficients) + 1)
    change[:-1, -1] = -coefficients
    return change


def _nearly_orthonormal(products):
    gram = products.fixed_gram[:-1, :-1] / products.nobs
    if not len(gram):
        return True
    value = np.linalg.eigvalsh(gram)
    return value[-1] <= SAMPLE_CONDITION * value[0]


def finish_design(
    products: Products,
    bases: Bases,
    terms: Sequence[RandomTerm | SparseTerm],
    log_weights: float,
    storage: str | None = None,
    no_residual: Callable[[], str] | None = None,
    ask_rows: Callable | None = None,
) -> Design:
    """Orthonormalize what rounding left of the fixed columns, and arrange the blocks.

    Parameters
    ----------
    products : Products
        Of all rows; changed in place.
    bases : Bases
        Used for the products.
    terms : sequence of RandomTerm or SparseTerm
        The random terms with the levels of all rows.
    log_weights : float
        Sum of the logarithms of the weights.
    storage : {"dense", "sparse"}, optional
        Storage of the tail.
    no_residual : callable, optional
        Gives what to say of a response that leaves no residual.
    ask_rows : callable, optional
        From the last change of the fixed columns, the products so changed, the rotation
        of the only factor (or None) and a shift of y to the cross-products within levels,
        by a pass over the rows; for sums that would cancel (see ``find_within``).

    Raises
    ------
    DesignError
        If X explains y exactly, or leaves no row for the variances.
    """
    n, rank, gram = products.nobs, bases.basis.rank, products.fixed_gram
    if n <= rank:
        raise DesignError(
            f"{rank} fixed-effects columns for {n} observations leave no "
            "degrees of freedom for the variances; use fewer columns",
            too_many_in=FIXED_EFFECTS,
        )
    share, r, right = basis_of_squares(gram, rank, np.inf)
    y_scale = float(r[rank, rank] / np.sqrt(n))
    if not (share > 0 and r[rank, rank] > NO_RESIDUAL * bases.size):
        what = EXPLAINED if no_residual is None else no_residual()
        raise DesignError(f"the response (endog) {what}: no variance is left to estimate")
    upper, on_q = r[:rank, :rank], r[:rank, rank]
    right[:, rank] /= y_scale
    products = products.change_fixed(right)
    # y = (shifted X) b + constant column * shift / constant + residual
    shift, triangle = bases.shifts, upper @ bases.basis.r
    on_shifted = -invert_upper(bases.right[:rank, :rank]) @ bases.right[:rank, rank]
    least_squares = upper @ on_shifted + on_q
    if shift.constant:
        least_squares += triangle[:, 0] * (shift.fixed[-1] / shift.constant)
    plain = products
    products, rotation = rotate_products(plain, terms)
    within = None
    if len(products.layouts) == 1 and products.layouts[0].width <= MOST_COLUMNS:
        within = find_within(
            products.grams[0],
            products.crosses[0],
            products.fixed_gram,
            n,
            None if ask_rows is None else partial(ask_rows, right, plain, rotation),
        )
    blocks = build_blocks(products, storage, within)
    transforms = list(bases.transforms)
    for f in products.layouts:
        for number, at in zip(f.terms, f.slices, strict=True):
            # columns that have become levels have one scale
            transforms[number] = transforms[number][: at.stop - at.start]
            transforms[number] = transforms[number][:, : at.stop - at.start]
    return Design(
        blocks,
        tuple(t.without_rows() for t in terms),
        FixedBasis(triangle, bases.basis.kept, bases.basis.dependence),
        least_squares,
        y_scale,
        tuple(transforms),
        log_weights,
        rotation=rotation,
        intercept=bool(shift.constant),
    )
