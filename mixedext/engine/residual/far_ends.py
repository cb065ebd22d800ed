"""Limits of the residual covariance in which sigma^2 grows without bound.

Steps towards such a limit become no longer as it is neared, and far out V loses digits to
the constant that dominates it.  A search that is on its way is taken to a point at which
both what is left of the way and what rounding takes are of the order of 1e-6 in the
deviance.
"""

from __future__ import annotations

import numpy as np

from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.rows import ResidualRows
from mixedext.engine.residual.search import Far, FarEnds
from mixedext.specification.covariance.correlation import Correlation

__all__ = ["far_ends"]

# What correlations differ by from one where the limit stands for the end, and where the
# deviance tells it from one.
AT_END, INSIDE = 1e-6, 3e-3


def far_ends(
    rows: ResidualRows, deviance: MarginalDeviance, held: np.ndarray
) -> FarEnds | None:
    """From (theta, psi) on the way to a limit to points further out.

    None of a model that has no such limit, or one by level: levels share sigma^2.

    Parameters
    ----------
    rows : ResidualRows
        The model.
    deviance : MarginalDeviance
        Its deviance.
    held : ndarray of bool
        Elements of psi that do not move.
    """
    curve = rows.curves[0]
    if len(rows.curves) > 1 or curve.correlation is None or held.any():
        return None
    correlation = curve.correlation
    if type(correlation).far_end is Correlation.far_end:
        return None
    first = deviance.n_theta + int(curve.at[curve.n_sd])

    def point(x, found):
        out = np.concatenate(
            [deviance.scaled_theta(x, found.growth**-0.5), deviance.psi(x)]
        )
        out[first:] = found.psi
        return out

    def back(x: np.ndarray) -> list[np.ndarray]:
        inside = correlation.far_end(x[first:], INSIDE)
        return [] if inside is None else [point(x, inside)]

    def far(x: np.ndarray, inside_limit: frozenset[int], n_steps: int) -> Far | None:
        if first in inside_limit:
            return None
        end = correlation.far_end(x[first:], AT_END)
        return None if end is None else Far(point(x, end), (first + end.number,), back)

    return far
