"""Fits without sets of rows, one after the other."""

from __future__ import annotations

import numpy as np

from mixedext.engine.fit import Fit, fit_design
from mixedext.engine.information.refinement import fit_by_rows, needs_refinement, refine_fit
from mixedext.engine.refits.deletion_products import ProductsLeft
from mixedext.engine.refits.row_sets import DeletedFits, RowSets
from mixedext.engine.rows.design import prepare_design
from mixedext.exceptions import DesignError, DevianceError

__all__ = ["SingleFits"]

_NO_ROWS = "no rows are left"
_INESTIMABLE = "the rows left do not identify all coefficients: their X has rank {} of {}"
_EXPLAINED = (
    "the random effects explain the rows left exactly: no residual variance is left"
)


class SingleFits:
    """Fits without sets of rows, one after the other.

    From the cross-products of all rows less those of the set, or where digits would be lost
    from the rows left.

    Parameters
    ----------
    fit : Fit
        Of all rows.
    rows : tuple
        y, X, the terms and the weights.
    one_step : bool
        As for ``deleted_fits``.
    """

    def __init__(self, fit: Fit, rows: tuple, one_step: bool):
        self.fit, self.rows, self.one_step = fit, rows, one_step
        self.products: ProductsLeft | None = None

    def blank(self, sets: RowSets) -> DeletedFits:
        """As of ``DeletedFits``."""
        rank, n_theta = self.fit.design.basis.rank, len(self.fit.theta)
        return DeletedFits.blank(sets, rank, n_theta, self.one_step)

    def fit_sets(self, sets: RowSets) -> DeletedFits:
        """Fits without each set."""
        out = self.blank(sets)
        for number in range(len(sets)):
            if not self._by_products(out, number, sets[number]):
                self.fit_set(out, number, sets[number])
        return out

    def _by_products(self, out, number, rows):
        """Enter the fit by the difference of products; whether that keeps its digits."""
        design = self.fit.design
        if design.rotation is not None or design.rows is not None or not design.terms:
            return False
        if self.products is None:
            self.products = ProductsLeft(self.fit, self.rows)
        left = self.products.without(rows)
        if left is None:
            return False
        most = 1 if self.one_step else None
        try:
            found = fit_design(
                left, self.fit.reml, self.fit.theta, most, look=not self.one_step
            )
        except DevianceError:
            return False
        if needs_refinement(found) or not (found.convergence.converged or self.one_step):
            return False
        out.put(number, found)
        return True

    def fit_set(self, out: DeletedFits, number: int, rows: np.ndarray) -> None:
        """Enter the fit without one set, or why there is none, by the rows left."""
        y, x, terms, weights = self.rows
        kept = np.ones(len(y), bool)
        kept[rows] = False
        rank = self.fit.design.basis.rank
        if not kept.any():
            out.clear(number, _NO_ROWS)
            return
        left = (
            y[kept],
            x[kept][:, self.fit.design.basis.kept],
            [term.take(kept) for term in terms],
            None if weights is None else weights[kept],
        )
        out.clear(number)
        try:
            design = prepare_design(*left)
            if design.basis.rank < rank:
                out.reason[number] = _INESTIMABLE.format(design.basis.rank, rank)
                return
            within = design.blocks.within
            if within is not None and within.explained:
                out.reason[number] = _EXPLAINED
                return
            out.put(number, self._fitted(design, left))
        except (DesignError, DevianceError) as error:
            out.reason[number] = str(error)

    def _fitted(self, design, left):
        """The fit from theta of all rows; where that fails, from an ordinary start."""
        if self.one_step:
            return self._searched(design, left, self.fit.theta, 1)
        first = None
        for theta in (self.fit.theta, None):
            found = self._searched(design, left, theta, None)
            if needs_refinement(found):
                found = refine_fit(found, *left)
            if found.convergence.converged:
                return found
            first = found if first is None else first
        return first

    def _searched(self, design, left, theta, most):
        """The fit from theta, by the rows in every evaluation if it cannot else be had."""
        reml = self.fit.reml
        try:
            return fit_design(design, reml, theta, most, look=most is None)
        except DevianceError:
            y, x, terms, weights = left
            found = fit_by_rows(design, reml, theta, most, y, x, terms, weights)
            if found is None:
                raise
            return found
