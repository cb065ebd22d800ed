"""Fits of a model with a residual covariance to many responses.

The rows of X and Z stay, and what residual groups and random terms make of them; of the
sums of a part (engine.residual.parts) one column changes.  Where the sums of groups with
the same visits suffice, searches go on side by side (``visit_batches``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mixedext.engine.refits.refit import RefitColumns, in_turn, joined, row_of_fit
from mixedext.engine.refits.visit_batches import VisitBatch
from mixedext.engine.residual.cluster_part import ClusterPart
from mixedext.engine.residual.fit import (
    fit_residual_rows,
    limits_reached,
    verdict_of,
)
from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.natural import natural_parameters
from mixedext.engine.residual.parts import Part
from mixedext.engine.residual.rows import ResidualRows
from mixedext.engine.residual.search import search_residual
from mixedext.engine.residual.visit_part import VisitPart
from mixedext.engine.rows.design import Design
from mixedext.engine.threads import blas_threads
from mixedext.exceptions import DesignError, DevianceError
from mixedext.limits import NO_RESIDUAL

__all__ = ["ResidualResponses"]


class ResidualResponses:
    """What fits to many responses share.

    Parameters
    ----------
    rows : ResidualRows
        The model.
    start : tuple of ndarray, optional
        Where searches start: theta in the data's units, and psi.  Each response has
        starts of its own if None.
    held : ndarray of bool, optional
        Elements of psi that stay there.
    """

    def __init__(
        self,
        rows: ResidualRows,
        start: tuple[np.ndarray, np.ndarray] | None = None,
        held: np.ndarray | None = None,
    ):
        # cross-products would have to be made again for every response
        self.rows, self.start = replace(rows, sums=False), start
        self.held = np.zeros(rows.n_psi, bool) if held is None else held
        self.q = rows.columns[:, :-1]
        self.n_residual = rows.n_psi

    @property
    def design(self) -> Design:
        """Of the rows as they are."""
        return self.rows.design

    @property
    def n_parameters(self) -> int:
        """Elements of theta and psi, as ``RefitColumns.theta`` has them."""
        return sum(s.n_theta for s in self.design.structures) + self.rows.n_psi

    def products(
        self, y: np.ndarray, first_number: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For responses y (n, R) in the data's units; errors number them from the first.

        Returns
        -------
        residual : ndarray
            y - QQ'y, weighted, divided by its root mean square, (n, R).
        least_squares : ndarray
            Q'y, (rank, R).
        y_scale : ndarray
            The root mean squares, (R,).
        """
        root = self.rows.root_weights
        y = y if root is None else y * root[:, None]
        first = self.q.T @ y
        residual = y - self.q @ first
        second = self.q.T @ residual
        residual -= self.q @ second
        size = np.sqrt(np.mean(y**2, axis=0))
        y_scale = np.sqrt(np.mean(residual**2, axis=0))
        bad = np.flatnonzero(~(y_scale > NO_RESIDUAL * size))
        if len(bad):
            raise DesignError(
                f"response number {first_number + bad[0]} is constant or explained exactly "
                "by X: no variance is left to estimate"
            )
        return residual / y_scale, first + second, y_scale

    def fit(self, y: np.ndarray, reml: bool, run: Callable = in_turn) -> RefitColumns:
        """Fit the model to responses less offset, (n, R).

        Parameters
        ----------
        reml : bool
            Restricted or ordinary likelihood.
        run : callable, optional
            Maps a function over blocks of responses, in order.
        """
        batch = None
        if self.start is not None and VisitBatch.serves(self.rows):
            batch = VisitBatch(self.rows, _numbered(self.rows), reml)
        width = batch.width if batch is not None else y.shape[1]

        def work(start: int) -> RefitColumns:
            own = y[:, start : start + width]
            products = self.products(own, start)
            if batch is None:
                single = _Single(self, reml)
                rows = [single.row(own, products, r) for r in range(own.shape[1])]
                return joined(rows)
            return self._side_by_side(batch, own, products, reml)

        with blas_threads():
            return joined(run(work, range(0, y.shape[1], max(width, 1))))

    def _side_by_side(self, batch, y, products, reml):
        """Rows of some responses; those whose search broke off are fitted by themselves."""
        residual, least_squares, y_scale = products
        assert self.start is not None
        found = batch.search(residual, self.start[1], self.held)
        basis, dof = self.design.basis, batch.dof
        on_basis = (least_squares + y_scale * found.on_basis.T).T
        shift = [self._shift(scale, reml, dof) for scale in y_scale]
        columns = RefitColumns(
            np.ascontiguousarray(basis.coefficients(on_basis.T).T),
            np.array([natural_parameters(self.rows.bound, psi) for psi in found.psi]),
            found.square / dof * y_scale**2,
            -0.5 * (found.value + np.array(shift)),
            found.done.copy(),
            np.zeros(len(y_scale), bool),
            found.n_evaluations,
        )
        single = None
        for r in np.flatnonzero(~found.done).tolist():
            single = single or _Single(self, reml)
            row = single.row(y, products, r)
            for column, value in zip(columns, row, strict=True):
                column[r] = value[0]
        return columns

    def _shift(self, y_scale, reml, dof):
        """What the deviance in the data's units has over the engine's."""
        shift = 2.0 * dof * np.log(y_scale) - self.design.log_weights
        return shift + 2.0 * self.design.basis.log_det if reml else shift

    def failed_row(self) -> RefitColumns:
        """A row without estimates."""
        return RefitColumns(
            coefficients=np.full((1, self.design.basis.rank), np.nan),
            theta=np.full((1, self.n_parameters), np.nan),
            scale=np.full(1, np.nan),
            log_likelihood=np.full(1, np.nan),
            converged=np.zeros(1, bool),
            is_singular=np.zeros(1, bool),
            n_evaluations=np.zeros(1, np.intp),
        )


class _Single:
    """Searches one after the other, by parts of its own in which y is replaced."""

    def __init__(self, shared: ResidualResponses, reml: bool):
        self.shared, self.reml = shared, reml
        rows = shared.rows
        # of parts that hold sums over their rows nothing is replaced: they are made again
        self.is_replaced = all(map(_has_rows, rows.parts))
        if not self.is_replaced:
            return
        self.parts = [_copied(part) for part in rows.parts]
        self.slots = [
            (slot, numbers.astype(np.intp))
            for part, numbered in zip(self.parts, _numbered(rows).parts, strict=True)
            for slot, numbers in zip(_slots(part), _slots(numbered), strict=True)
        ]

    def row(self, y: np.ndarray, products: tuple[np.ndarray, ...], r: int) -> RefitColumns:
        """The fit to column r of the responses."""
        shared = self.shared
        residual, least_squares, y_scale = (part[..., r] for part in products)
        try:
            if shared.start is not None:
                row = self._from_start(y[:, r], residual, least_squares, float(y_scale))
                if row is not None:
                    return row
            return self._whole(y[:, r], least_squares, float(y_scale))
        except (DesignError, DevianceError, np.linalg.LinAlgError):
            return shared.failed_row()

    def _from_start(self, y, residual, least_squares, y_scale):
        """The fit from the common start; None if that leads to no clean minimum."""
        shared, rows = self.shared, self.shared.rows
        assert shared.start is not None
        design = rows.design
        if self.is_replaced:
            parts = self.parts
            for slot, numbers in self.slots:
                slot[...] = residual[numbers]
        else:
            own = replace(design, least_squares=least_squares, y_scale=y_scale)
            parts = replace(rows, y=y, design=own).parts
        deviance = MarginalDeviance(
            parts,
            [t.structure for t in rows.terms],
            rows.n_psi,
            len(rows.y),
            design.basis,
            least_squares,
            y_scale,
            design.log_weights,
            self.reml,
        )
        try:
            found = search_residual(deviance, [np.concatenate(shared.start)], shared.held)
        except DevianceError:
            return None
        psi = deviance.psi(found.x)
        at_limit = limits_reached(rows, deviance, found.x)
        verdict = verdict_of(deviance, found, at_limit)
        if verdict.status != "interior" and not verdict.is_singular:
            return None
        on_basis = least_squares + y_scale * deviance.coefficients()
        theta = found.x[: deviance.n_theta]
        return RefitColumns(
            design.basis.coefficients(on_basis)[None],
            np.concatenate([theta, natural_parameters(rows.bound, psi)])[None],
            np.array([deviance.residual_square / deviance.dof * y_scale**2]),
            np.array([-0.5 * (found.value + deviance.shift)]),
            np.array([verdict.converged]),
            np.array([verdict.is_singular]),
            np.array([deviance.n_values]),
        )

    def _whole(self, y, least_squares, y_scale):
        """The fit from the starts of a first fit."""
        shared, rows = self.shared, self.shared.rows
        design = replace(rows.design, least_squares=least_squares, y_scale=y_scale)
        own = replace(rows, y=y, design=design)
        theta, psi = _first_start(shared)
        held = shared.held if shared.held.any() else None
        return row_of_fit(
            fit_residual_rows(
                own, self.reml, theta, psi if held is not None else None, held
            )
        )


def _first_start(shared):
    """Theta where a first fit starts, and psi where some of it is held."""
    if shared.start is not None:
        return shared.start
    structures = shared.design.structures
    theta = [s.theta(np.eye(s.k)) for s in structures]
    return np.concatenate([*theta, np.zeros(0)]), None


def _numbered(rows: ResidualRows) -> ResidualRows:
    """The same rows with their numbers as their only column."""
    out = replace(rows)
    out.__dict__["columns"] = np.arange(len(rows.y), dtype=float)[:, None]
    return out


def _has_rows(part: Part) -> bool:
    """Whether a part holds its rows, and no sums over them."""
    if isinstance(part, VisitPart):
        return not part.summed
    return isinstance(part, ClusterPart)


def _copied(part: Part) -> Part:
    """A part with columns of its own."""
    if isinstance(part, VisitPart):
        # laid out anew
        return VisitPart(part.curve, part.places, part.patterns, [])
    assert isinstance(part, ClusterPart)
    return ClusterPart(part.columns.copy(), part.terms, part.groups)


def _slots(part: Part) -> list[np.ndarray]:
    """Views of the last column of the rows of a part."""
    if isinstance(part, VisitPart):
        return [p.columns[:, -1] for p in part.patterns]
    assert isinstance(part, ClusterPart)
    return [part.columns[..., -1]]
