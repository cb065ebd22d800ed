"""Influence of rows and of groups of rows: what the fit becomes without each of them.

With b_I, F_I and sigma_I of the fit without unit I, d = b - b_I, Phi = sigma^2 F

    Cook = d'Phi^-1 d / p,                      MDFFITS = d'Var(b_I)^-1 d / p,
    COVRATIO = det Var(b_I) / det Phi,          COVTRACE = |tr Phi^-1 Var(b_I) - p|,
    DFBETAS_j = d_j / se(b_Ij),  with sigma_I.

Var(b_I) is sigma^2 F_I where theta is held, sigma_I^2 F_I of a model that is fitted again.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from mixedext.arguments import check_choice, check_jobs
from mixedext.exceptions import NotEstimableWarning, user_stacklevel
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.diagnostics.held_deletions import (
    Deletions,
    RowDeletions,
    row_deletions,
    set_deletions,
    total_square,
)
from mixedext.inference.diagnostics.mixed_influence import (
    METHODS,
    FitNumbers,
    Measures,
    MixedInfluence,
    Refits,
    RowNumbers,
)
from mixedext.inference.diagnostics.refit_deletions import refit_measures
from mixedext.inference.diagnostics.residual_influence import (
    check_whole_groups,
    residual_measures,
    whitened,
)
from mixedext.inference.diagnostics.residuals import need_own_law
from mixedext.inference.diagnostics.units import Units, row_units, units
from mixedext.specification.covariance.bound_residual import refuse_residual

__all__ = ["get_influence"]

NO_DETERMINED = "the other rows do not determine all coefficients"
NO_DF = "the other rows leave no degrees of freedom for sigma"


@dataclass(frozen=True, eq=False)
class HeldMeasures:
    """Measures of units, theta held: each is computed when it is asked for.

    Attributes
    ----------
    change : Deletions or RowDeletions
        The fit without each unit.
    unit : float
        p sigma^2, by which distances are divided.
    reasons : dict
        Of the units without which there is no fit, by number, why not.
    """

    change: Deletions | RowDeletions
    unit: float
    reasons: dict[int, str]

    @property
    def _of_rows(self):
        """Whether arrays are made for the asking, and may be written on."""
        return isinstance(self.change, RowDeletions)

    def _by_unit(self, values):
        return np.divide(values, self.unit, out=values if self._of_rows else None)

    @property
    def n_deleted(self) -> np.ndarray:
        """Rows of each unit, (G,)."""
        return self.change.n_deleted

    @property
    def distance(self) -> np.ndarray:
        """Cook's distance, (G,)."""
        return self._by_unit(self.change.distance)

    @property
    def mdffits(self) -> np.ndarray:
        """MDFFITS, (G,)."""
        return self._by_unit(self.change.own_distance)

    @property
    def cov_ratio(self) -> np.ndarray:
        """COVRATIO, (G,)."""
        return self.change.ratio

    @property
    def cov_trace(self) -> np.ndarray:
        """COVTRACE, (G,)."""
        growth = self.change.growth
        return np.abs(growth, out=growth if self._of_rows else None)

    @property
    def scale(self) -> np.ndarray:
        """sigma^2 without the unit, (G,)."""
        return self.change.scale


def get_influence(
    results: HasFitted,
    by: Any = None,
    method: str = "held",
    rows: Any = None,
    n_jobs: int | None = None,
) -> MixedInfluence:
    """Influence of rows, or of groups of rows, on the fit.

    Parameters
    ----------
    by : object, optional
        What is deleted: single rows if None; the levels of a grouping factor or of any
        column of the data ("Subject"), of combinations of columns ("Block:Variety"), or of
        labels (array, Series), one a row; of several factors if these are in a list.
        With a residual structure units are whole residual groups, one or several.
    method : {"held", "one-step", "refit"}, optional
        "held" keeps theta, in closed form; "refit" fits the model again without each unit;
        "one-step" takes one Newton step of that in theta.  The residual structure's
        parameters are kept, or estimated again, with theta.
    rows : array_like, optional
        Where ``by`` is None, the rows that are deleted: numbers, from 0, of those that the
        fit has used, or a mask; all if None.
    n_jobs : int, optional
        Jobs of joblib that refits are divided into.

    Returns
    -------
    MixedInfluence
        ``cooks_distance``, ``dfbetas``, ``mdffits``, ``cov_ratio``, ``cov_trace``,
        ``sigma2_not_obsi``, ``summary_frame()``; of rows also leverages, studentized
        residuals and ``dffits``.

    Raises
    ------
    ValueError
        If a name is not known, labels are missing or of another length than the rows, the
        rows are in chunks or were removed, or parameters of the fit were held or penalized.
    NotImplementedError
        If the model has a residual structure, and single rows are asked for; if its
        variances follow the fitted values, and it is to be fitted again.

    Warns
    -----
    NotEstimableWarning
        If there is no fit without some units; they are NaN, and
        ``summary_frame().attrs["not_estimable"]`` says why.

    Notes
    -----
    Cook's distance is d'Phi^-1 d / p, as in statsmodels and SAS; lme4's
    ``cooks.distance`` of deleted units has another factor.  The covariance of the
    coefficients is the model's own, whatever ``cov_type`` of the fit.

    References
    ----------
    Christensen, R., Pearson, L. M. and Johnson, W. (1992). Case-deletion diagnostics for
    mixed models. Technometrics 34, 38-45.

    Loy, A. and Hofmann, H. (2014). HLMdiag: a suite of diagnostics for hierarchical linear
    models in R. Journal of Statistical Software 56(5).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> found = result.get_influence(by="Subject")
    >>> found.summary_frame()["cooks_d"].nlargest(2).round(3).to_dict()
    {'309': 0.149, '335': 0.129}
    """
    check_choice(method, "method", METHODS)
    check_jobs(n_jobs)
    fitted = results.fitted
    fitted.need_rows()
    need_own_law(fitted, "get_influence")
    residual = fitted.fit.residual
    if residual is not None and by is None:
        group = residual.bound.group_name
        refuse_residual(
            fitted.model,
            "get_influence of single rows",
            f"give by={group!r}, of whole residual groups",
        )
    if not fitted.fixed.rank:
        raise ValueError("the model has no fixed effects whose change could be measured")
    if by is not None and rows is not None:
        raise ValueError("rows goes with by=None: of groups all are deleted, one by one")
    chosen = row_units(fitted, rows) if by is None else units(fitted, by)
    if residual is not None:
        check_whole_groups(fitted, chosen)
    found, refits = None, cast(Refits | None, None)
    if by is None:
        found = row_deletions(fitted)
        found = found if chosen.rows is None else found.take(chosen.rows)
    measures: Measures
    if method == "held":
        own = fitted if residual is None else whitened(fitted)
        measures = _held(own, chosen, found)
    elif residual is not None:
        measures, refits = residual_measures(fitted, chosen, method == "one-step", n_jobs)
    else:
        measures, refits = refit_measures(fitted, chosen, method == "one-step", n_jobs)
    of_rows = None if found is None else _row_numbers(found)
    influence = MixedInfluence(
        method, chosen.index, chosen.what, _fit_numbers(fitted), measures, of_rows, refits
    )
    _tell(influence)
    return influence


def _fit_numbers(fitted: Fitted) -> FitNumbers:
    fixed = fitted.fixed
    return FitNumbers(
        fixed.names, np.asarray(fixed.kept), fixed.coefficients, fitted.scale, fitted.nobs
    )


def _row_numbers(found: RowDeletions) -> RowNumbers:
    return RowNumbers(found.residual, found.weight, found.whole, found.fixed)


def _held(fitted: Fitted, chosen: Units, found: RowDeletions | None) -> HeldMeasures:
    """Measures of units from closed forms."""
    if found is not None:
        return _measures(fitted, found, found.lost)
    parts = [set_deletions(fitted, s.codes, s.count) for s in chosen.sets]
    if len(parts) == 1:
        return _measures(fitted, parts[0], np.flatnonzero(np.isnan(parts[0].growth)))
    names = Deletions.__dataclass_fields__
    joined = (np.concatenate([getattr(p, name) for p in parts]) for name in names)
    every = Deletions(*joined)
    return _measures(fitted, every, np.flatnonzero(np.isnan(every.growth)))


def _measures(
    fitted: Fitted, found: Deletions | RowDeletions, lost: np.ndarray
) -> HeldMeasures:
    reasons: dict[int, str] = dict.fromkeys(lost.tolist(), NO_DETERMINED)
    _, dof = total_square(fitted)
    if dof <= found.n_deleted.max(initial=0):
        for g in np.flatnonzero(found.n_deleted >= dof).tolist():
            reasons.setdefault(g, NO_DF)
    return HeldMeasures(found, fitted.scale * fitted.fixed.rank, reasons)


def _tell(influence):
    """One warning of the units without which there is no fit."""
    reasons = influence.not_estimable
    if reasons:
        some = ", ".join(map(str, list(reasons)[:5])) + (
            ", ..." if len(reasons) > 5 else ""
        )
        warnings.warn(
            f"{len(reasons)} of {len(influence.index)} units cannot be deleted ({some}): "
            f"{next(iter(reasons.values()))}; their results are NaN, and "
            "summary_frame().attrs['not_estimable'] says why of each",
            NotEstimableWarning,
            stacklevel=user_stacklevel(),
        )
