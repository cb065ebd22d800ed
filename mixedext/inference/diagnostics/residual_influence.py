"""Influence of whole residual groups, beside a residual covariance.

Rows whitened by the estimated covariance make an ordinary mixed model, in which a residual
group that goes takes its own rows with it: what holds of rows that are deleted there, with
theta held, holds here with (theta, psi) held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from mixedext.engine.fit import Fit
from mixedext.engine.refits.residual_deletions import residual_deletions
from mixedext.engine.residual.fit import whitened_rows
from mixedext.fitted import Fitted, ModelRows
from mixedext.inference.bootstrap.parallel import runner
from mixedext.inference.diagnostics.refit_deletions import (
    RefitMeasures,
    measures_of,
    row_sets,
)
from mixedext.inference.diagnostics.units import Units
from mixedext.inference.variances.residual_intervals import residual_names
from mixedext.inference.variances.residual_parameters import (
    natural_estimates,
    natural_values,
    residual_of,
)
from mixedext.specification.covariance.residual_taken import groups_are_whole

__all__ = ["ResidualRefits", "check_whole_groups", "residual_measures", "whitened"]


def check_whole_groups(fitted: Fitted, chosen: Units) -> None:
    """Refuse units that hold some rows of a residual group, and not all.

    Raises
    ------
    ValueError
        If there is one.
    """
    bound = residual_of(fitted).bound
    if not all(groups_are_whole(bound, own.codes) for own in chosen.sets):
        raise ValueError(
            f"by: a {chosen.what} may hold only some rows of a residual group of "
            f"{bound.group_name!r}, whose residuals are correlated; give "
            f"by={bound.group_name!r}, or groups of these"
        )


@dataclass(frozen=True, eq=False)
class _Whitened(Fitted):
    """A fit with independent residuals, of rows of its own."""

    own_rows: ModelRows | None = None

    @property
    def rows(self) -> ModelRows | None:
        return self.own_rows

    def need_rows(self) -> ModelRows:
        assert self.own_rows is not None
        return self.own_rows


def whitened(fitted: Fitted) -> Fitted:
    """The ordinary fit of the rows as the estimated residual covariance whitens them."""
    residual, rows = residual_of(fitted), fitted.need_rows()
    assert residual.rows is not None
    y, x, terms = whitened_rows(residual.rows, residual.psi)
    own = ModelRows(y, x, terms, None, None, rows.labels, rows.frame)
    fit = replace(fitted.fit, residual=None)
    return _Whitened(fit, fitted.model, fitted.settings, fitted.arguments, own_rows=own)


@dataclass(frozen=True, eq=False)
class ResidualRefits:
    """What only models that are fitted again have; NaN where there is no fit.

    Attributes
    ----------
    fitted : Fitted
        Of all rows.
    coefficients, theta, psi, scale, llf : ndarray
        Without each unit, (G, p), (G, n_theta), (G, n_psi), (G,) and (G,).
    converged : ndarray
        bool, (G,).
    """

    fitted: Fitted
    coefficients: np.ndarray
    theta: np.ndarray
    psi: np.ndarray
    scale: np.ndarray
    llf: np.ndarray
    converged: np.ndarray

    @property
    def variance_change(self) -> pd.DataFrame:
        """Parameters without the unit by those of the fit, less one; NaN where zero.

        Variances of the random effects, and the natural parameters of the residuals.
        """
        fit, residual = self.fitted.fit, residual_of(self.fitted)
        own = self._parameters(residual.theta, residual.psi, fit.scale)
        found = np.full((len(self.scale), len(own)), np.nan)
        for g in self._there:
            found[g] = self._parameters(self.theta[g], self.psi[g], self.scale[g])
        terms = fit.design.terms
        names = [f"{t.group}.{name}" for t in terms for name in t.names]
        names += residual_names(self.fitted, "variance")
        whole = np.where(own != 0, own, np.nan)
        return pd.DataFrame(found / whole - 1.0, columns=names)

    @property
    def _there(self):
        return np.flatnonzero(~np.isnan(self.scale))

    @cached_property
    def _deviance(self):
        residual = residual_of(self.fitted)
        assert residual.rows is not None
        return residual.rows.deviance(self.fitted.fit.reml)

    def _parameters(self, theta, psi, scale):
        deviance, residual = self._deviance, residual_of(self.fitted)
        own = [
            scale * s.matrix(theta[at]).diagonal()
            for s, at in zip(deviance.structures, deviance.theta_slices, strict=True)
        ]
        at = [p.at for p in natural_estimates(self.fitted).parameters]
        return np.concatenate([*own, natural_values(residual.curves, psi, scale).eta[at]])

    @cached_property
    def displacement(self) -> np.ndarray:
        """Twice the fall of the log-likelihood of all rows at the others, (G,)."""
        deviance, out = self._deviance, np.full(len(self.scale), np.nan)
        for g in self._there:
            x = np.concatenate([self.theta[g], self.psi[g]])
            at, scale = deviance.evaluate(x), self.scale[g]
            own = deviance.residual_square / deviance.dof * deviance.y_scale**2
            square = deviance.dof * own
            if not self.fitted.fit.reml:
                square += self._gap(g)
            rest = deviance.dof * (np.log(scale / own) - 1) + square / scale
            out[g] = at.value + deviance.shift + rest - self.fitted.fit.deviance
        return out

    def _gap(self, g):
        """d'X'V0^-1 X d of what the coefficients are away from the best ones there."""
        deviance = self._deviance
        inner = deviance.least_squares + deviance.y_scale * deviance.coefficients()
        gap = self.coefficients[g] - deviance.basis.coefficients(inner)
        root = deviance.basis.coefficients(deviance.solved.change[:-1, :-1])
        own = np.linalg.solve(root, gap)
        return own @ own


def residual_measures(
    fitted: Fitted, chosen: Units, one_step: bool, n_jobs: int | None
) -> tuple[RefitMeasures, ResidualRefits]:
    """Measures of units of whole residual groups from fits without each of them.

    Parameters
    ----------
    fitted : Fitted
        A fit with its rows in memory.
    chosen : Units
        What is deleted.
    one_step : bool
        Whether (theta, psi) are one Newton step from those of the fit.
    n_jobs : int or None
        Jobs of joblib.

    Raises
    ------
    NotImplementedError
        If variances follow the fitted values.
    """
    fit: Fit = fitted.fit
    if any(residual_of(fitted).bound.of_fitted):
        raise NotImplementedError(
            "get_influence fits the model again without each unit, and with "
            "variance='power(fitted)' that is no maximum of a likelihood; use method='held'"
        )
    sets = row_sets(chosen, len(fitted.need_rows().endog))
    made = residual_deletions(
        fit, sets, one_step=one_step, run=runner(n_jobs, False, False)
    )
    found = made.fits
    failed = (found.reason != "") | np.isnan(found.scale)
    without = np.where(failed, np.nan, 1.0)
    refits = ResidualRefits(
        fitted,
        found.coefficients * without[:, None],
        found.theta * without[:, None],
        made.psi * without[:, None],
        found.scale * without,
        found.log_likelihood * without,
        found.converged,
    )
    return measures_of(fitted, found, failed), refits
