"""The influence of units on a fit, with statsmodels' names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from scipy import special
from statsmodels.iolib.table import SimpleTable

from mixedext.graphics.influence_pictures import (
    draw_index,
    draw_influence,
    index_frame,
    influence_frame,
    own_threshold,
)
from mixedext.limits import NOT_LEFT

__all__ = [
    "METHODS",
    "CooksDistance",
    "Dffits",
    "FitNumbers",
    "Measures",
    "MixedInfluence",
    "Refits",
    "RowNumbers",
]

# What becomes of theta, in words.
METHODS = {
    "held": "theta held",
    "one-step": "one Newton step in theta",
    "refit": "model fitted again",
}


class CooksDistance(NamedTuple):
    """Cook's distances, and their tail probabilities in F(p, n - p).

    Attributes
    ----------
    distance, pvalue : ndarray
        (G,).
    """

    distance: np.ndarray
    pvalue: np.ndarray


class Dffits(NamedTuple):
    """Changes of the fitted values of the rows that are deleted, and what is large.

    Attributes
    ----------
    dffits : ndarray
        (n,).
    threshold : float
        2 sqrt(p / n).
    """

    dffits: np.ndarray
    threshold: float


class Change(Protocol):
    """Changes of the coefficients kept.

    Attributes
    ----------
    change, standardized : ndarray
        Coefficients less those without the unit, and that by the standard errors of the
        latter, (G, p).
    """

    @property
    def change(self) -> np.ndarray: ...

    @property
    def standardized(self) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class FitNumbers:
    """What of the fit the changes are measured by.

    Attributes
    ----------
    names : tuple of str
        Names of all coefficients, (k,).
    kept : ndarray
        Numbers of those that are not dropped, (p,).
    coefficients : ndarray
        Those kept, (p,).
    scale : float
        sigma^2.
    nobs : int
        n.
    """

    names: tuple[str, ...]
    kept: np.ndarray
    coefficients: np.ndarray
    scale: float
    nobs: int

    def full(self, values: np.ndarray) -> np.ndarray:
        """Values of coefficients kept, (G, p), as values of all, NaN where dropped."""
        if len(self.kept) == len(self.names):
            return values
        out = np.full((len(values), len(self.names)), np.nan)
        out[:, self.kept] = values
        return out


@dataclass(frozen=True, eq=False)
class RowNumbers:
    """What belongs to rows alone.

    Attributes
    ----------
    residual : ndarray
        Conditional residuals, (n,).
    weight : ndarray or None
        Precision weights, (n,).
    leverage, fixed : ndarray
        h and the fixed effects' share, (n,).
    """

    residual: np.ndarray
    weight: np.ndarray | None
    leverage: np.ndarray
    fixed: np.ndarray


class Measures(Protocol):
    """What deletion of every unit does; NaN where there is no fit without it.

    Attributes
    ----------
    n_deleted : ndarray
        Rows of each unit, (G,).
    change : Change
        Changes of the coefficients.
    distance, mdffits, cov_ratio, cov_trace, scale : ndarray
        Cook's distance, MDFFITS, COVRATIO, COVTRACE and sigma^2 without it, (G,).
    reasons : dict
        Of the units without which there is no fit, by number, why not.
    """

    @property
    def n_deleted(self) -> np.ndarray: ...

    @property
    def change(self) -> Change: ...

    @property
    def distance(self) -> np.ndarray: ...

    @property
    def mdffits(self) -> np.ndarray: ...

    @property
    def cov_ratio(self) -> np.ndarray: ...

    @property
    def cov_trace(self) -> np.ndarray: ...

    @property
    def scale(self) -> np.ndarray: ...

    @property
    def reasons(self) -> dict[int, str]: ...


class Refits(Protocol):
    """What only models that are fitted again have.

    Attributes
    ----------
    theta : ndarray
        (G, n_theta).
    llf : ndarray
        Log-likelihoods of the rows left, (G,).
    converged : ndarray
        bool, (G,).
    """

    @property
    def theta(self) -> np.ndarray: ...

    @property
    def llf(self) -> np.ndarray: ...

    @property
    def converged(self) -> np.ndarray: ...

    @property
    def variance_change(self) -> pd.DataFrame: ...

    @property
    def displacement(self) -> np.ndarray: ...


class MixedInfluence:
    """Influence of rows, or of groups of rows, on a mixed model.

    Made by ``get_influence``.  Arrays have one entry a unit, in the order of ``index``.

    Attributes
    ----------
    method : {"held", "one-step", "refit"}
        What becomes of theta.
    index : Index
        Names of the units: labels of the rows, or levels.
    """

    def __init__(
        self,
        method: str,
        index: pd.Index,
        what: str,
        fit: FitNumbers,
        measures: Measures,
        rows: RowNumbers | None = None,
        refits: Refits | None = None,
    ):
        self.method, self.index = method, index
        self._what, self._fit, self._measures = what, fit, measures
        self._rows, self._refits = rows, refits

    @property
    def heading(self) -> str:
        """What was deleted, and how."""
        one, _, rest = self._what.partition(" ")
        units = f"{len(self.index)} {one}{'' if len(self.index) == 1 else 's'}"
        units = f"{units} {rest}" if rest else units
        return f"Influence of {units}, {METHODS[self.method]}"

    def __repr__(self) -> str:
        top = self.summary_frame()
        count = min(len(top), 5)
        order = np.argsort(-np.nan_to_num(self.cooks_distance.distance), kind="stable")
        shown = top.iloc[order[:count]].to_string()
        return f"{self.heading}\nLargest Cook's distances:\n{shown}"

    # ---- of all units ----

    @property
    def n_deleted(self) -> np.ndarray:
        """Rows of each unit, (G,)."""
        return self._measures.n_deleted

    @property
    def not_estimable(self) -> dict[Any, str]:
        """Units without which there is no fit, by name, and why."""
        return {self.index[g]: why for g, why in self._measures.reasons.items()}

    @property
    def cooks_distance(self) -> CooksDistance:
        """Cook's distances d'Phi^-1 d / p, and their tail probabilities in F(p, n - p)."""
        p = len(self._fit.kept)
        distance = self._measures.distance
        return CooksDistance(distance, special.fdtrc(p, self._fit.nobs - p, distance))

    @property
    def dfbeta(self) -> np.ndarray:
        """Coefficients less those without the unit, (G, k); NaN where dropped."""
        return self._fit.full(self._measures.change.change)

    @property
    def dfbetas(self) -> np.ndarray:
        """The same by the standard errors of the latter, sigma without the unit, (G, k)."""
        return self._fit.full(self._measures.change.standardized)

    @property
    def params_not_obsi(self) -> np.ndarray:
        """Coefficients without the unit, (G, k); NaN where dropped."""
        return self._fit.full(self._fit.coefficients - self._measures.change.change)

    @property
    def sigma2_not_obsi(self) -> np.ndarray:
        """Residual variance without the unit, (G,)."""
        return self._measures.scale

    @property
    def mdffits(self) -> np.ndarray:
        """Distance measured by the covariance without the unit, over p, (G,)."""
        return self._measures.mdffits

    @property
    def cov_ratio(self) -> np.ndarray:
        """Determinant of the coefficients' covariance without the unit, by that with it."""
        return self._measures.cov_ratio

    @property
    def cov_trace(self) -> np.ndarray:
        """``|tr(Phi^-1 Var(b_I)) - p|``, (G,)."""
        return self._measures.cov_trace

    # ---- of rows ----

    def _need_rows(self, what):
        if self._rows is None:
            raise AttributeError(
                f"{what} belongs to rows, not to groups of rows: call get_influence() "
                "without by"
            )
        return self._rows

    @property
    def hat_matrix_diag(self) -> np.ndarray:
        """Leverages, d fitted / d response given theta, (n,)."""
        return self._need_rows("hat_matrix_diag").leverage

    @property
    def hat_fixed(self) -> np.ndarray:
        """The fixed effects' share of the leverages, (n,)."""
        return self._need_rows("hat_fixed").fixed

    @property
    def hat_random(self) -> np.ndarray:
        """The random effects' share of the leverages, (n,)."""
        return self.hat_matrix_diag - self.hat_fixed

    @property
    def resid_studentized_internal(self) -> np.ndarray:
        """Conditional residuals by their standard deviations, (n,)."""
        return self._studentized("resid_studentized_internal", self._fit.scale)

    @property
    def resid_studentized(self) -> np.ndarray:
        """``resid_studentized_internal``, under statsmodels' other name."""
        return self.resid_studentized_internal

    @property
    def resid_studentized_external(self) -> np.ndarray:
        """The same with sigma without the row, (n,)."""
        return self._studentized("resid_studentized_external", self._measures.scale)

    def _studentized(self, name, scale):
        rows = self._need_rows(name)
        left = 1.0 - rows.leverage
        left = np.where(left > NOT_LEFT, left, np.nan)
        if rows.weight is not None:
            left = left / rows.weight
        with np.errstate(divide="ignore", invalid="ignore"):  # no variance without the row
            return rows.residual / (np.sqrt(scale) * np.sqrt(left))

    @property
    def dffits_internal(self) -> Dffits:
        """Changes of the fitted values over standard errors with sigma of the fit."""
        return self._dffits(self.resid_studentized_internal)

    @property
    def dffits(self) -> Dffits:
        """The same with sigma without the row."""
        return self._dffits(self.resid_studentized_external)

    def _dffits(self, studentized):
        h = self.hat_matrix_diag
        left = np.where(1.0 - h > NOT_LEFT, 1.0 - h, np.nan)
        threshold = 2 * np.sqrt(len(self._fit.kept) / self._fit.nobs)
        return Dffits(studentized * np.sqrt(h / left), float(threshold))

    # ---- of models that are fitted again ----

    def _need_refits(self, what):
        if self._refits is None:
            raise AttributeError(
                f"{what} needs the model fitted again: theta is held here; use "
                "get_influence(method='refit') or 'one-step'"
            )
        return self._refits

    @property
    def theta_not_obsi(self) -> np.ndarray:
        """theta without the unit, (G, n_theta)."""
        return self._need_refits("theta_not_obsi").theta

    @property
    def relative_variance_change(self) -> pd.DataFrame:
        """Variances without the unit by those of the fit, less one; NaN where zero."""
        found = self._need_refits("relative_variance_change").variance_change
        return found.set_axis(self.index, axis=0)

    @property
    def llf_not_obsi(self) -> np.ndarray:
        """Log-likelihoods of the rows left, (G,)."""
        return self._need_refits("llf_not_obsi").llf

    @property
    def converged(self) -> np.ndarray:
        """Whether each refit has converged, (G,) bool."""
        return self._need_refits("converged").converged

    @property
    def likelihood_displacement(self) -> np.ndarray:
        """Twice what the log-likelihood of all rows loses without the unit, (G,).

        In fits by REML of the restricted one, in which the coefficients have no part.
        """
        return self._need_refits("likelihood_displacement").displacement

    # ---- tables ----

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        columns: dict[str, np.ndarray] = {}
        measures = self._measures
        if self._rows is not None:
            columns |= {
                "cooks_d": measures.distance,
                "standard_resid": self.resid_studentized_internal,
                "hat_diag": self.hat_matrix_diag,
                "dffits_internal": self.dffits_internal.dffits,
                "student_resid": self.resid_studentized_external,
                "dffits": self.dffits.dffits,
                "hat_fixed": self.hat_fixed,
                "hat_random": self.hat_random,
            }
        else:
            columns |= {"cooks_d": measures.distance, "n_deleted": measures.n_deleted}
        return columns | {
            "mdffits": measures.mdffits,
            "cov_ratio": measures.cov_ratio,
            "cov_trace": measures.cov_trace,
            "sigma2_not_obsi": measures.scale,
        }

    def summary_frame(self) -> pd.DataFrame:
        """All measures, one row a unit, with statsmodels' columns.

        Returns
        -------
        DataFrame
            ``dfb_`` and the name of each coefficient (DFBETAS), cooks_d; of rows
            standard_resid, hat_diag, dffits_internal, student_resid, dffits, hat_fixed and
            hat_random; of other units n_deleted; mdffits, cov_ratio, cov_trace,
            sigma2_not_obsi.  ``attrs["method"]`` says what became of theta,
            ``attrs["not_estimable"]`` without which units there is no fit, and why.
        """
        names = [f"dfb_{name}" for name in self._fit.names]
        frame = pd.DataFrame(self.dfbetas, columns=names, index=self.index)
        others = pd.DataFrame(self._columns, index=self.index)
        frame = pd.concat([frame, others], axis=1)
        frame.attrs["method"] = self.method
        frame.attrs["not_estimable"] = self.not_estimable
        return frame

    def summary_table(self, float_fmt: str = "%6.3f") -> SimpleTable:
        """The measures other than DFBETAS as a table to print.

        Parameters
        ----------
        float_fmt : str, optional
            Format of numbers.

        Returns
        -------
        SimpleTable
            statsmodels' table: one row a unit, the heading says what became of theta.
        """
        columns = list(self._columns)
        texts = [
            [float_fmt % value if kind == "f" else str(value) for value in own]
            for own, kind in ((c, c.dtype.kind) for c in self._columns.values())
        ]
        rows = [list(row) for row in zip(*texts, strict=True)]
        return SimpleTable(
            rows, headers=columns, stubs=list(map(str, self.index)), title=self.heading
        )

    # ---- pictures ----

    def plot_index(
        self, y_var: str = "cooks", threshold: float | None = None, ax: Any = None
    ) -> Any:
        """A measure of all units, one after the other, with a threshold.

        Parameters
        ----------
        y_var : str, optional
            "cooks" for Cook's distance; "dfbetas" for the largest in size over the
            coefficients; or a column of ``summary_frame``.
        threshold : float, optional
            The dashed line; if None 4 / n for Cook's distances of n units, 2 / sqrt(n) for
            DFBETAS, and none for other measures.
        ax : Axes, optional
            Where to draw; on a new figure if None.

        Returns
        -------
        Figure

        Raises
        ------
        ValueError
            If there is no such measure.
        """
        frame = index_frame(self, y_var)
        if threshold is None:
            threshold = own_threshold(y_var, len(frame))
        return draw_index(frame, threshold, ax, self._what)

    def plot_influence(self, ax: Any = None) -> Any:
        """Circles, whose areas are Cook's distances, at what these are made of.

        Rows stand at leverages and deleted residuals; other units at COVRATIO, and at sigma
        without them over sigma.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; on a new figure if None.

        Returns
        -------
        Figure
        """
        return draw_influence(influence_frame(self, self._fit.scale), ax, self._what)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state.pop("_columns", None)
        return state
