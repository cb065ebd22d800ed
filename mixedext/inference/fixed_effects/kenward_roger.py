"""Kenward and Roger's (1997, 2009) tests of fixed effects.

Letters are those of pbkrtest's paper (Halekoh and Hojsgaard 2014).  X stands for a basis
with X'V^-1 X = I, so that Phi = I; see engine.information.expected.  With

    P_r = -X'V^-1 V_r V^-1 X,  Q_rs = X'V^-1 V_r V^-1 V_s V^-1 X,  Vbar = sum_rs W_rs V_rs,

V_rs second derivatives of V in SAS's parameters (variances by stratum, correlations,
ranges), the adjusted covariance of the coefficients is

    Phi_A = I + 2 [sum_rs W_rs (Q_rs - P_r P_s)]                     "kenward-roger-linear"
            - X'V^-1 Vbar V^-1 X / 2                                 "kenward-roger"
            + sum_r b_r P_r,  b_r = - sum_j W_rj tr(P V_j P Vbar) / 4  "kenward-roger-2009"

b is the bias of the REML estimates (Cox and Snell 1968); the last version is the same in
any parameters, and in linear ones it is the first.

W, the covariance of the variance parameters, is the inverse of either information.
pbkrtest inverts the expected one, SAS, JMP and mmrm the observed one, half the second
derivatives of the restricted deviance.  Where V is linear in the elements of covariance
matrices and sigma^2, as unstructured random effects and independent residuals make it,
Vbar is zero: SAS' DDFM=KR, KR(FIRSTORDER) and KR2 are the same there.  A structured
covariance, such as an autoregression, of random effects or of residuals, is a curve in
SAS's parameters, and the observed information is the default.  All have the degrees of
freedom of the linear one, which rest on P_r and W alone.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from mixedext.algebra.definiteness import nearest_semidefinite
from mixedext.algebra.inverses import generalized_inverse
from mixedext.algebra.roots import cholesky_if_definite
from mixedext.engine.fit import Fit
from mixedext.engine.information.curvature import second_derivatives
from mixedext.engine.information.expected import VarianceInformation, variance_information
from mixedext.engine.residual.information import Curved, ResidualInformation
from mixedext.exceptions import InformationWarning, user_stacklevel
from mixedext.fitted import DfChoice
from mixedext.inference.fixed_effects.df_methods import (
    FixedTests,
    FTest,
    check_information,
    default_information,
    f_test_of,
    independent_rows,
    no_hypothesis,
)
from mixedext.inference.fixed_effects.satterthwaite import observed_spread, single_degrees
from mixedext.limits import NEAR_TWO, ZERO_BOTH, ZERO_V0

__all__ = ["KenwardRoger", "KenwardRoger2009", "KenwardRogerLinear", "scaled_f"]

INDEFINITE = (
    "Kenward and Roger's adjusted covariance is not positive definite: what the second "
    "derivatives of the covariance take off is more than all other terms.  The one of "
    "df_method='kenward-roger-linear', which leaves them out, is taken in its place"
)
ROUNDED = (
    "Kenward and Roger's adjustment of the covariance has lost digits, because one "
    "variance dwarfs the others: it takes off what it can only add, and that is left out.  "
    "Centre or rescale the columns of the random effects, or leave out a term"
)


class KenwardRoger(FixedTests):
    """Tests with Kenward and Roger's adjusted covariance and degrees of freedom.

    As SAS's DDFM=KR, with the second derivatives of the covariance.  By the expected
    information all variance parameters take part, those at zero as well (as in pbkrtest),
    for it exists on the boundary too.  The observed one needs a minimum: what is on the
    boundary is held there, as SAS does and as ``Satterthwaite`` does, whose degrees of
    freedom of single combinations are the same then.  (Along covariance matrices of lower
    rank, which are curved, second derivatives enter W alone.)

    Parameters
    ----------
    fit : Fit
        A REML fit.
    information : {"expected", "observed"}, optional
        Which information of the variance parameters is inverted; that of
        ``default_information`` if None.

    Attributes
    ----------
    information : {"expected", "observed"}
        What was inverted: the expected one too where the observed is not positive
        definite.
    held : tuple of str
        What is held on the boundary; by the expected information only parameters of a
        residual covariance.
    root, inner : ndarray
        The adjusted covariance Phi_A of the coefficients kept is root inner root',
        (rank, rank) each.
    variance_covariance : ndarray
        W, in the directions of ``VarianceInformation``.
    indefinite : bool
        Whether the linear version's covariance stands in for one that is not definite.
    rounded : bool
        Whether rounding has made this one indefinite, and what it took off is left out.

    Raises
    ------
    ValueError
        If the fit is not by REML, or the information is not known.

    Warns
    -----
    InformationWarning
        If the information cannot be inverted, or the adjusted covariance is not positive
        definite.

    References
    ----------
    Kenward, M. G. and Roger, J. H. (1997). Small sample inference for fixed effects from
    restricted maximum likelihood. Biometrics 53, 983-997.

    Kenward, M. G. and Roger, J. H. (2009). An improved approximation to the precision of
    fixed effects from restricted maximum likelihood. Computational Statistics and Data
    Analysis 53, 2583-2595.

    Halekoh, U. and Hojsgaard, S. (2014). A Kenward-Roger approximation and parametric
    bootstrap methods for tests in linear mixed models. Journal of Statistical Software
    59(9).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.irrigation.load().data
    >>> model = mx.mixedlm('Q("yield") ~ irrigation + variety + (1 | field)', data)
    >>> tests = KenwardRoger(model.fit().fitted.fit)
    >>> tests.df([[0, 0, 0, 0, 1]]).round(6)
    array([7.])
    """

    variance_covariance: np.ndarray

    adjusts = True
    name = "kenward-roger"

    def __init__(self, fit: Fit, information: str | None = None):
        if not fit.reml:
            raise ValueError(
                f"df_method={self.name!r} needs a REML fit, and this one is by maximum "
                "likelihood; fit again with fit(reml=True), or use "
                "df_method='satterthwaite'"
            )
        information = information or default_information(fit)
        check_information(DfChoice(self.name, information))
        info = variance_information(fit)
        self._first = info.on_fixed
        self.information = information
        if information == "observed":
            found = observed_spread(fit)
            w, self.held, self.information = found.spread, found.held, found.information
            self.replaced = found.information != "observed"
        else:
            w = self._expected_spread(fit, info)
            if fit.residual is not None:
                self.held = tuple(fit.residual.at_limit.values())
        self.variance_covariance = w
        adjustment = info.weighted_second(w)
        weighted = np.tensordot(w, self._first, 1)
        adjustment -= (self._first @ weighted).sum(axis=0)
        adjustment = adjustment + adjustment.T
        inner = np.eye(len(adjustment)) + adjustment
        # sum_rs W_rs X'V^-1 V_r P V_s V^-1 X is semidefinite, as W is
        self.rounded = cholesky_if_definite(inner) is None
        if self.rounded:
            warnings.warn(ROUNDED, InformationWarning, stacklevel=user_stacklevel())
            if np.isfinite(adjustment).all():
                inner = np.eye(len(adjustment)) + nearest_semidefinite(adjustment)[0]
        change = self._second_order(second_derivatives(fit, w))
        self.indefinite = cholesky_if_definite(inner + change) is None
        if self.indefinite:
            warnings.warn(INDEFINITE, InformationWarning, stacklevel=user_stacklevel())
        super().__init__(fit, inner if self.indefinite else inner + change)

    def _second_order(self, curved: Curved) -> np.ndarray:
        """What the second derivatives of V change in Phi_A, (p, p)."""
        return -curved.on_fixed / 2

    def held_notes(self) -> list[str]:
        found = {ROUNDED: self.rounded, INDEFINITE: self.indefinite}
        own = [text.replace(".  ", "; ") for text, holds in found.items() if holds]
        return [*super().held_notes(), *own]

    @staticmethod
    def _expected_spread(fit: Fit, info: VarianceInformation | ResidualInformation):
        free = np.ones(info.n_gamma + 1, bool)
        if fit.residual is not None:
            psi = fit.residual.fixed_psi
            free[info.n_gamma - len(psi) : info.n_gamma] = ~psi
        # E^-1 = 2 (2 E)^-1
        w = np.zeros((len(free), len(free)))
        at = np.ix_(free, free)
        w[at], known = generalized_inverse(info.expected[at])
        if known < free.sum():
            warnings.warn(
                "the expected information of the variance parameters is singular: the data "
                "cannot tell them apart; Kenward-Roger takes its generalized inverse",
                InformationWarning,
                stacklevel=user_stacklevel(),
            )
        return w

    def df(self, rows: Any) -> np.ndarray:
        rows = np.atleast_2d(np.asarray(rows, float)) @ self.root
        # for one row A1 = A2 = A, the scaling is 1 and m = 2 / A, as Satterthwaite's
        return single_degrees(rows, self._first, self.variance_covariance)

    def f_test(self, rows: Any, values: Any = 0.0) -> FTest:
        rows, values = independent_rows(rows, values, self.fit.root)
        if not len(rows):
            return no_hypothesis()
        wald = self.wald_f(rows, values)
        df_denom, scaling = self._denominator(rows)
        if not (df_denom > 0 and scaling > 0 and wald >= 0):
            warnings.warn(
                "the data are too few for Kenward and Roger's test: their approximation "
                f"has {df_denom:.4g} denominator degrees of freedom; there is no p-value",
                InformationWarning,
                stacklevel=user_stacklevel(),
            )
            return f_test_of(np.nan, len(rows), df_denom, scaling)
        return f_test_of(scaling * wald, len(rows), df_denom, scaling)

    def joint_df(self, rows: np.ndarray) -> float:
        return self._denominator(rows)[0]

    def _denominator(self, rows):
        if len(rows) == 1:
            return float(self.df(rows)[0]), 1.0
        basis = np.linalg.qr((rows @ self.root).T)[0]
        slope = basis.T @ self._first @ basis  # of Theta Phi P_r Phi, on its range
        w = self.variance_covariance
        trace = np.einsum("rii->r", slope)
        flat = slope.reshape(len(slope), -1)
        return scaled_f(
            float(trace @ w @ trace), float((w * (flat @ flat.T)).sum()), len(rows)
        )


class KenwardRogerLinear(KenwardRoger):
    """The same without second derivatives: SAS's DDFM=KR(LINEAR), or FIRSTORDER.

    Parameters
    ----------
    fit, information
        As for ``KenwardRoger``.
    """

    name = "kenward-roger-linear"

    def _second_order(self, curved: Curved) -> np.ndarray:
        return np.zeros_like(curved.on_fixed)


class KenwardRoger2009(KenwardRoger):
    """The same with the bias of the estimates of V: SAS's DDFM=KR2.

    By the expected information it is the same in any parameters of the covariance, and so
    depends on none that a program may choose.

    Parameters
    ----------
    fit, information
        As for ``KenwardRoger``.
    """

    name = "kenward-roger-2009"

    def _second_order(self, curved: Curved) -> np.ndarray:
        bias = -self.variance_covariance @ curved.traces / 4
        return -curved.on_fixed / 2 - np.tensordot(bias, self._first, 1)


def scaled_f(a1: float, a2: float, q: int) -> tuple[float, float]:
    """Denominator degrees of freedom m and scaling of the F statistic.

    Parameters
    ----------
    a1, a2 : float
        A1 and A2 of Kenward and Roger (1997).
    q : int
        Rank of the combinations.
    """
    a1, a2 = np.float64(a1), np.float64(a2)
    b = (a1 + 6 * a2) / (2 * q)
    g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
    whole = 3 * q + 2 * (1 - g)
    c1, c2, c3 = g / whole, (q - g) / whole, (q + 2 - g) / whole
    v0, v1, v2 = 1 + c1 * b, 1 - c2 * b, 1 - c3 * b
    v0 = np.float64(0.0) if abs(v0) < ZERO_V0 else v0
    mean = 1 - a2 / q
    with np.errstate(divide="ignore"):  # infinite rho: m = 4; no excess of rho: m infinite
        ratio = 1.0 if max(abs(mean), abs(v1)) < ZERO_BOTH else mean / v1
        # m = 4 + (q + 2) / (q rho - 1), q rho = ratio^2 v0 / v2: v2 may be zero
        m = 4 + (q + 2) * v2 / (ratio**2 * v0 - v2)
    if np.isinf(m):
        return float(m), float(mean)
    scaling = 1.0 if abs(m - 2) < NEAR_TWO else m * mean / (m - 2)
    return float(m), float(scaling)
