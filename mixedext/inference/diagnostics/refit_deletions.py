"""Influence by models that are fitted again without each unit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import linalg

from mixedext.engine.fit import Fit, evaluate_design
from mixedext.engine.refits.deletion import DeletedFits, RowSets, deleted_fits
from mixedext.fitted import Fitted
from mixedext.inference.bootstrap.parallel import runner
from mixedext.inference.diagnostics.units import Units

__all__ = ["Refits", "RefittedChange", "measures_of", "refit_measures", "row_sets"]


NO_FIT = "the other rows do not determine all parameters"


@dataclass(frozen=True, eq=False)
class RefittedChange:
    """Changes of the coefficients.

    Attributes
    ----------
    change, standardized : ndarray
        Coefficients less those without the unit, and that by the standard errors of the
        latter, (G, p).
    """

    change: np.ndarray
    standardized: np.ndarray


@dataclass(frozen=True, eq=False)
class RefitMeasures:
    """What deletion of every unit does; NaN where there is no fit without it.

    Attributes
    ----------
    n_deleted : ndarray
        Rows of each unit, (G,).
    change : RefittedChange
        Changes of the coefficients.
    distance, mdffits, cov_ratio, cov_trace, scale : ndarray
        Cook's distance, MDFFITS, COVRATIO, COVTRACE and sigma^2 without it, (G,).
    reasons : dict
        Of the units without which there is no fit, by number, why not.
    """

    n_deleted: np.ndarray
    change: RefittedChange
    distance: np.ndarray
    mdffits: np.ndarray
    cov_ratio: np.ndarray
    cov_trace: np.ndarray
    scale: np.ndarray
    reasons: dict[int, str]


@dataclass(frozen=True, eq=False)
class Refits:
    """What only models that are fitted again have; NaN where there is no fit.

    Attributes
    ----------
    fit : Fit
        Of all rows.
    names : tuple of str
        Names of the variances, that of the residuals last.
    coefficients, theta, scale, llf : ndarray
        Without each unit, (G, p), (G, n_theta), (G,) and (G,).
    converged : ndarray
        bool, (G,).
    """

    fit: Fit
    names: tuple[str, ...]
    coefficients: np.ndarray
    theta: np.ndarray
    scale: np.ndarray
    llf: np.ndarray
    converged: np.ndarray

    @property
    def variance_change(self) -> pd.DataFrame:
        """Variances without the unit by those of the fit, less one; NaN where zero."""
        own = self._variances(self.fit.theta, self.fit.scale)
        found = np.full((len(self.scale), len(own)), np.nan)
        for g in np.flatnonzero(~np.isnan(self.scale)):
            found[g] = self._variances(self.theta[g], self.scale[g])
        whole = np.where(own > 0, own, np.nan)
        return pd.DataFrame(found / whole - 1.0, columns=list(self.names))

    def _variances(self, theta, scale):
        lams = self.fit.design.own_lams(theta)
        return scale * np.concatenate([*((lam**2).sum(axis=1) for lam in lams), [1.0]])

    @cached_property
    def displacement(self) -> np.ndarray:
        """Twice the fall of the log-likelihood of all rows at the others, (G,)."""
        fit, out = self.fit, np.full(len(self.scale), np.nan)
        for g in np.flatnonzero(~np.isnan(self.scale)):
            at = evaluate_design(fit.design, fit.reml, self.theta[g])
            dof, scale = fit.objective.dof, self.scale[g]
            square = dof * at.scale
            if not fit.reml:
                gap = linalg.solve(at.root, self.coefficients[g] - at.coefficients)
                square += gap @ gap
            deviance = at.deviance + dof * (np.log(scale / at.scale) - 1) + square / scale
            out[g] = deviance - fit.deviance
        return out


def refit_measures(
    fitted: Fitted, chosen: Units, one_step: bool, n_jobs: int | None
) -> tuple[RefitMeasures, Refits]:
    """Measures of units from fits without each of them.

    Parameters
    ----------
    fitted : Fitted
        A fit with its rows in memory.
    chosen : Units
        What is deleted.
    one_step : bool
        Whether theta is one Newton step from that of the fit.
    n_jobs : int or None
        Jobs of joblib.
    """
    rows, fit = fitted.need_rows(), fitted.fit
    y = rows.endog if rows.offset is None else rows.endog - rows.offset
    found = deleted_fits(
        fit,
        y,
        rows.exog,
        rows.terms,
        rows.weights,
        row_sets(chosen, len(y)),
        one_step=one_step,
        run=runner(n_jobs, False, True),
    )
    failed = (found.reason != "") | np.isnan(found.scale)
    measures = measures_of(fitted, found, failed)
    names = [f"{t.group}.{name}" for t in rows.terms for name in t.names]
    without = np.where(failed, np.nan, 1.0)
    refits = Refits(
        fit,
        (*names, "Residual"),
        found.coefficients * without[:, None],
        found.theta * without[:, None],
        found.scale * without,
        found.log_likelihood * without,
        found.converged,
    )
    return measures, refits


def row_sets(chosen: Units, n: int) -> RowSets:
    """Rows of every unit, of n rows in all."""
    if not chosen.sets:
        at = np.arange(n) if chosen.rows is None else chosen.rows
        at = np.ascontiguousarray(at, np.intp)
        return RowSets(np.arange(len(at) + 1, dtype=np.intp), at)
    parts = [RowSets.of_codes(s.codes, s.count) for s in chosen.sets]
    ends = np.cumsum([0, *(len(part.rows) for part in parts)])
    pointers = [p.pointers[:-1] + end for p, end in zip(parts, ends[:-1], strict=True)]
    return RowSets(
        np.concatenate([*pointers, ends[-1:]]).astype(np.intp),
        np.concatenate([part.rows for part in parts]),
    )


def measures_of(fitted: Fitted, found: DeletedFits, failed: np.ndarray) -> RefitMeasures:
    """From coefficients and their covariances; in coordinates with Phi = I.

    Parameters
    ----------
    fitted : Fitted
        The fit of all rows.
    found : DeletedFits
        Those without each unit.
    failed : ndarray of bool
        Which of these are none, (G,).
    """
    fit, p = fitted.fit, fitted.fixed.rank
    change = fitted.fixed.coefficients - found.coefficients
    change[failed] = np.nan
    inverse = linalg.solve(np.sqrt(fit.scale) * fit.root, np.eye(p))
    own = change @ inverse.T
    covariance = inverse @ found.covariance @ inverse.T
    covariance[failed] = np.nan
    good = ~failed
    mdffits, log_det = np.full((2, len(failed)), np.nan)
    if good.any():
        solved = np.linalg.solve(covariance[good], own[good][:, :, None])[:, :, 0]
        mdffits[good] = (own[good] * solved).sum(axis=1) / p
        log_det[good] = np.linalg.slogdet(covariance[good])[1]
    se = np.sqrt(np.einsum("gii->gi", found.covariance))
    return RefitMeasures(
        n_deleted=found.n_deleted,
        change=RefittedChange(change, change / se),
        distance=(own**2).sum(axis=1) / p,
        mdffits=mdffits,
        cov_ratio=np.exp(log_det),
        cov_trace=np.abs(np.einsum("gii->g", covariance) - p),
        scale=np.where(failed, np.nan, found.scale),
        reasons={int(g): found.reason[g] or NO_FIT for g in np.flatnonzero(failed)},
    )
