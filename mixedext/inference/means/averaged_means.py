"""Estimated means of generalized models, averaged over the random effects.

At each point of the reference grid the mean over the population is m(x'b, z'Sigma z); these
are averaged on the scale of the response, and g of the averages are the estimates, with
errors by the delta method over (b, Sigma).  Contrasts are of these.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from mixedext.engine.rows.estimability import ColumnRelations
from mixedext.exceptions import FormulaError, NotEstimableError
from mixedext.fitted import DfChoice, Fitted
from mixedext.inference.fixed_effects.df_methods import FixedTests
from mixedext.inference.means.back_transform import link_transform
from mixedext.inference.means.context import Context
from mixedext.inference.means.reference_grid import Grid
from mixedext.inference.prediction.generalized_errors import marginal_slopes
from mixedext.inference.prediction.marginal_means import marginal_mean
from mixedext.inference.prediction.new_rows import NewRows
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["averaged_context"]


class _AveragedTests(FixedTests):
    """Normal-law tests of estimates with a given covariance, which may be singular."""

    def __init__(self, estimates: np.ndarray, covariance: np.ndarray):
        if np.isfinite(covariance).all():
            values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
            self.root = vectors * np.sqrt(np.maximum(values, 0.0))
        else:  # no standard errors
            self.root = np.full_like(covariance, np.nan)
        self.inner = np.eye(len(self.root))
        own: Any = SimpleNamespace(coefficients=estimates, root=self.root, held=None)
        self.fit = own


def averaged_context(
    fitted: Fitted,
    grid: Grid,
    share: np.ndarray,
    choice: DfChoice,
    relations: ColumnRelations,
) -> tuple[Context, np.ndarray, np.ndarray]:
    """Context of population averages; the combinations and shifts that they are.

    Parameters
    ----------
    fitted : Fitted
        Of a generalized model.
    grid : Grid
        The reference grid.
    share : ndarray
        Weights of its points in each mean, (m, points).
    choice : DfChoice
        The normal law, or None for the default.
    relations : ColumnRelations
        Of columns of the fixed part that were dropped.

    Raises
    ------
    ValueError
        If the model is linear, the link has no population average, or random slopes are
        of variables that the fixed part has not.
    NotEstimableError
        If the data do not determine some point that counts.
    """
    own = fitted.generalized
    if own is None:
        raise ValueError(
            "marginal=True is for generalized models; means of a linear model are averages "
            "over the random effects as they are"
        )
    if choice.df_method not in (None, "z"):
        raise ValueError("marginal=True takes the normal law, df_method='z', alone")
    used = (share != 0).any(axis=0)
    kept = fitted.fixed.kept
    if not relations.estimable(grid.exog[used]).all():
        raise NotEstimableError(
            "some means are not estimable: the rows of the data do not determine them "
            "(empty cells, or columns that were dropped); use marginal=False, or weights"
        )
    variance, by_gamma = _random_parts(fitted, grid)
    x = grid.exog[:, kept]
    eta = x @ fitted.fixed.coefficients + grid.shift
    found = marginal_mean(own.family.link, eta, variance)
    slopes = [found.by_variance[:, None] * by_gamma, found.by_eta[:, None] * x]
    slope = share[:, used] @ np.concatenate(slopes, axis=1)[used]
    mean = share[:, used] @ found.mean[used]
    spread = own.engine.covariance[: slope.shape[1], : slope.shape[1]]
    moving = (slope != 0).any(axis=0)
    covariance = slope[:, moving] @ spread[np.ix_(moving, moving)] @ slope[:, moving].T
    link = own.family.link
    estimate = np.asarray(link.eta(mean), float)
    rate = 1.0 / link.terms(estimate).first
    covariance = covariance * np.outer(rate, rate)
    count = len(estimate)
    context = Context(
        fit=SimpleNamespace(coefficients=estimate),  # type: ignore[arg-type]
        tests=_AveragedTests(estimate, covariance),
        relations=ColumnRelations(
            np.arange(count), np.arange(0), np.zeros((count, 0)), np.ones(count)
        ),
        columns=[f"mean {i + 1}" for i in range(count)],
        df_method="normal law",
        notes=("Standard errors by the delta method over fixed effects and covariances",),
        transform=link_transform(own.family),
        sigma=None,
    )
    return context, np.eye(count), np.zeros(count)


def _random_parts(fitted: Fitted, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """z'Sigma z at the points of the grid, and its derivatives."""
    terms, count = fitted.random.terms, len(grid.codes)
    plain = all(not isinstance(t, SparseTerm) and t.names == ["Intercept"] for t in terms)
    frame = (
        grid.values(list(grid.levels)) if grid.levels else pd.DataFrame(index=range(count))
    )
    rows = NewRows(None, grid.exog, None, tuple(None for _ in terms), frame)
    if plain:
        total, slopes = np.zeros(count), [np.zeros((count, 0))]
        for _, s, covariance in fitted.random.blocks():
            total += covariance[0, 0]
            slopes.append(np.eye(1, s.n_gamma).repeat(count, axis=0))
        return total, np.concatenate(slopes, axis=1)
    try:
        return marginal_slopes(fitted, rows)
    except (FormulaError, ValueError, KeyError) as error:
        raise ValueError(
            "marginal=True needs the columns of all random terms at the means, which the "
            f"variables of the fixed part do not give: {error}"
        ) from error
