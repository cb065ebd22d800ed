"""Variance functions about typical values of their covariates, for searches.

A standard deviation sigma v^delta is one of rows with v = 1.  Where all v lie far from it
sigma, and with it the relative covariances of random effects, moves by orders of magnitude
with delta: the deviance is a long bent valley.  About the geometric mean c of v,

    sigma v^delta = (sigma c^delta) (v / c)^delta,

it is none.  Random effects relative to sigma c^delta are those relative to sigma divided by
c^delta; an exponential function is moved likewise by the mean of its covariate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.rows import ResidualRows
from mixedext.specification.covariance.variance_functions import VarExp, VarPower

__all__ = ["TypicalRows", "typical_rows"]


@dataclass(frozen=True, eq=False)
class TypicalRows:
    """Rows whose covariates are moved, and how parameters move with them.

    Attributes
    ----------
    rows : ResidualRows
        The rows; those that were given where nothing is moved.
    moves : tuple of (int, float)
        Numbers of elements of psi, and what the log standard deviation of all rows has
        less for each unit of them.
    """

    rows: ResidualRows
    moves: tuple[tuple[int, float], ...] = ()

    def inner(
        self, deviance: MarginalDeviance, theta: np.ndarray, psi: np.ndarray | None
    ) -> np.ndarray:
        """Theta relative to the standard deviation of a typical row."""
        if not self.moves or psi is None:  # that of the moments is relative to it
            return theta
        return deviance.scaled_theta(theta, np.exp(-self._shift(psi)))

    def outer(self, deviance: MarginalDeviance, x: np.ndarray) -> np.ndarray:
        """(theta, psi) of the rows as they were given."""
        psi = deviance.psi(x)
        theta = deviance.scaled_theta(x, np.exp(self._shift(psi)))
        return np.concatenate([theta, psi])

    def _shift(self, psi):
        return sum(size * psi[number] for number, size in self.moves)


def typical_rows(rows: ResidualRows) -> TypicalRows:
    """Rows with random effects whose powers and exponentials are about typical values.

    Parameters
    ----------
    rows : ResidualRows
        The model.
    """
    bound, first = rows.bound, rows.curves[0]
    if not rows.terms:  # sigma is profiled out
        return TypicalRows(rows)
    moves, centres = [], {}
    pairs = zip(first.functions, first.slices, strict=True)
    for number, (function, at) in enumerate(pairs):
        given = [b.covariates[number] for b in bound.batches]
        if not isinstance(function, VarPower | VarExp) or function.n_psi != 1:
            continue
        covariate = np.concatenate(
            [
                v[b.pattern].ravel()
                for v, b in zip(given, bound.batches, strict=True)
                if v is not None
            ]
        )
        if isinstance(function, VarPower):
            centre = float(np.log(np.abs(covariate)).mean())
        else:
            centre = float(covariate.mean())
        centres[number] = centre
        moves.append((at.start, centre))
    if not moves:
        return TypicalRows(rows)

    def moved(number, covariate):
        if number not in centres:
            return covariate
        if isinstance(first.functions[number], VarPower):
            return covariate / np.exp(centres[number])
        return covariate - centres[number]

    batches = tuple(
        replace(b, covariates=tuple(moved(k, v) for k, v in enumerate(b.covariates)))
        for b in bound.batches
    )
    return TypicalRows(replace(rows, bound=replace(bound, batches=batches)), tuple(moves))
