"""What a fit says of its residual covariance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.roots import (
    log_determinant,
    log_deviations,
    matrices,
    roots,
    whitened,
)
from mixedext.engine.residual.rows import ResidualRows, residual_curves
from mixedext.engine.rows.design import Design, prepare_design
from mixedext.specification.covariance.residual_binding import BoundResidual
from mixedext.specification.covariance.residual_curve import ResidualCurve
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["ResidualEstimate"]


@dataclass(eq=False)
class ResidualEstimate:
    """The residual covariance of a fit.

    Attributes
    ----------
    bound : BoundResidual
        What was asked for, on the rows of the data.
    psi : ndarray
        Free parameters: of standard deviations, then of C by level of ``by``.
    theta : ndarray
        Relative covariance factors of the random terms, data's units.
    deviance : MarginalDeviance
        Where the fit stands.
    held : ndarray of bool
        Elements of psi that were not estimated.
    at_limit : dict
        From elements of psi that have run to an end of their range to words on that.
    rows : ResidualRows or None
        The rows of the fit; None once they were removed.
    held_for_sigma : int or None
        The element of psi that searches hold where sigma, the standard deviation of the
        first stratum, is at zero.
    """

    bound: BoundResidual
    psi: np.ndarray
    theta: np.ndarray
    deviance: MarginalDeviance
    held: np.ndarray
    at_limit: dict[int, str] = field(default_factory=dict)
    rows: ResidualRows | None = None
    held_for_sigma: int | None = None

    def unwhitened(self, with_groups: bool) -> Design:
        """The design of the rows as they are, by which levels are counted.

        Parameters
        ----------
        with_groups : bool
            Whether the residual groups stand in for random terms where there are none, as
            a random intercept.

        Raises
        ------
        ValueError
            If the rows were removed.
        """
        rows, bound = self.rows, self.bound
        if rows is None:
            raise ValueError(
                "levels are counted on the rows of the data, and those of this model were "
                "removed; make the model again, or use df_method='satterthwaite'"
            )
        if not with_groups or rows.terms or bound.correlation is None:
            return rows.design
        groups = RandomTerm.of_columns(
            bound.group_codes,
            (None,),
            bound.group_name,
            ["Intercept"],
            "unstructured",
            bound.group_levels,
        )
        return prepare_design(rows.y, rows.x, [groups], rows.weights)

    @property
    def curves(self) -> list[ResidualCurve]:
        """The curve of every level of ``by``."""
        return residual_curves(self.bound)

    @property
    def n_estimated(self) -> int:
        """Parameters that were estimated, sigma^2 apart."""
        return int((~self.held).sum())

    @property
    def fixed_psi(self) -> np.ndarray:
        """Elements of psi that do not move: held, or at an end of their range."""
        out = self.held.copy()
        out[list(self.at_limit)] = True
        return out

    @property
    def moving_psi(self) -> np.ndarray:
        """Elements of psi that have an error, sigma taken for itself."""
        out = ~self.fixed_psi
        if self.held_for_sigma is not None:
            out[self.held_for_sigma] = True
        return out

    def stand(self) -> MarginalDeviance:
        """The deviance at the estimates, with all that an evaluation makes."""
        x = np.concatenate([self.theta, self.psi])
        deviance = self.deviance
        if deviance.at is None or not np.array_equal(deviance.at.x, x):
            deviance.evaluate(x)
        return deviance

    def whitened(self, columns: np.ndarray, weights: Any = None) -> np.ndarray:
        """L^-1 W^1/2 times columns by row, L the lower factor of a group's Lambda."""
        return whitened(self.bound, self.psi, columns, weights)

    def matrices(self) -> list[np.ndarray]:
        """Lambda of the patterns of every batch, (c, s, s)."""
        return matrices(self.bound, self.psi)

    def roots(self) -> list[np.ndarray]:
        """Their lower Cholesky factors."""
        return roots(self.bound, self.psi)

    def inverse_roots(self) -> list[np.ndarray]:
        """Inverses of these, (c, s, s)."""
        return [np.linalg.inv(own) for own in self.roots()]

    def deviations(self, weights: Any = None) -> np.ndarray:
        """Standard deviation of every row over sigma, (n,)."""
        out = np.exp(log_deviations(self.bound, self.psi))
        return out if weights is None else out / np.sqrt(weights)

    @property
    def log_determinant(self) -> float:
        """log|Lambda|."""
        return log_determinant(self.bound, self.psi)
