"""Predictions under a residual covariance: means given residuals, and errors of all.

A prediction may be given the residuals of the rows of the fit (``conditional="all"``): its
mean is x'b + c'V^-1 (y - X b), c its covariance with the rows of its group or cluster, and
what it says is the residual too, but for a nugget.  In all others the residual of an
observation has the variance that its row says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from mixedext.engine.fit import Fit
from mixedext.engine.information.curvature import outer_bends, second_derivatives
from mixedext.engine.information.expected import variance_information
from mixedext.engine.information.joint_errors import joint_errors, random_rows
from mixedext.engine.residual.information import ResidualInformation
from mixedext.engine.residual.joint_rows import JointRows, Targets
from mixedext.engine.residual.own_variances import own_variances
from mixedext.engine.residual.rows import ResidualRows
from mixedext.exceptions import FormulaError
from mixedext.fitted import Fitted, has_rows
from mixedext.inference.fixed_effects.df_methods import FixedTests
from mixedext.inference.prediction.new_rows import NewRows
from mixedext.inference.prediction.residual_places import places_of_observations
from mixedext.inference.prediction.row_degrees import (
    curved_part,
    free_spread,
    satterthwaite_df,
)
from mixedext.specification.covariance.residual_recipe import NewPlaces, own_places
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits

__all__ = [
    "joint_rows",
    "replicated_deviations",
    "residual_errors",
    "residual_means",
    "target_terms",
]


# Kept as long as the fit is, and not with it where it is saved.
_KNOWN: WeakKeyDictionary[Fit, JointRows] = WeakKeyDictionary()


def joint_rows(fitted: Fitted) -> JointRows:
    """The rows of the fit, to which others are joined."""
    rows, model, residual = fitted.need_rows(), fitted.model, fitted.fit.residual
    if fitted.fit in _KNOWN:
        return _KNOWN[fitted.fit]
    assert residual is not None
    response = rows.endog if rows.offset is None else rows.endog - rows.offset
    engine = ResidualRows(
        response,
        rows.exog,
        rows.terms,  # type: ignore[arg-type]
        rows.weights,
        residual.bound,
        model._design,
    )
    left = rows.endog - rows.mean(fitted.fixed.estimate, fitted.fit.effects)
    places = own_places(residual.bound, model.residual_spec)
    found = _KNOWN[fitted.fit] = JointRows.of(fitted.fit, engine, places, left)
    return found


def residual_means(fitted: Fitted, rows: NewRows, precision: np.ndarray) -> np.ndarray:
    """What the residuals of the rows of the fit say of those of others, (n,).

    Parameters
    ----------
    fitted : Fitted
        The fit.
    rows : NewRows
        The others; zero if they are not given residuals.
    precision : ndarray
        Their weights, (n,).
    """
    if rows.places is None:
        return np.zeros(len(rows))
    return joint_rows(fitted).residual_means(rows.places, precision)


class _Part(NamedTuple):
    """A variance by row relative to sigma^2, its derivatives, and half of what to add."""

    variance: Any
    slope: np.ndarray | None = None
    rise: Any = 0.0


class _Method(NamedTuple):
    """What the errors of the variance parameters add to those of predictions.

    Attributes
    ----------
    weight : ndarray or None
        W of all directions; None if nothing is added.
    curved : {"", "coefficients", "all"}
        Of what second derivatives in natural parameters are taken off.
    natural : ndarray or None
        W of the natural parameters, if of all.
    bias : ndarray or None
        Of the estimates, which is taken off.
    """

    weight: np.ndarray | None = None
    curved: str = ""
    natural: np.ndarray | None = None
    bias: np.ndarray | None = None

    @classmethod
    def of(cls, fit, info, tests, name, spread):
        if spread is None or not tests.adjusts:
            return cls()
        if name == "kenward-roger-2009":  # the bias is Cox and Snell's
            bias = -spread @ second_derivatives(fit, spread).traces / 4
            return cls(spread, "all", info.natural_weight(spread), bias)
        return cls(spread, curved_part(name))

    def less_bias(self, rise, slope):
        """The rise, less half of what the bias makes of a variance."""
        return rise if self.bias is None else rise - slope @ self.bias / 2


def residual_errors(
    fitted: Fitted,
    tests: FixedTests,
    method: str | None,
    rows: NewRows,
    precision: np.ndarray,
    lost: np.ndarray,
    not_given: Sequence[np.ndarray | None] | str,
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | str]:
    """Variance and df of means, and of observations or why there are none.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    tests : FixedTests
        By the method for degrees of freedom.
    method : str or None
        Its name.
    rows : NewRows
        The rows.
    precision : ndarray
        Their weights, (n,).
    lost : ndarray
        Rows that have no mean, (n,) bool.
    not_given : list of ndarray or None, or str
        Columns (n, k) of the terms that the predictions are not given, None of the others;
        or why they are not known.

    Raises
    ------
    ValueError
        If the rows of the fit are needed and gone.
    """
    fit, n, scale = fitted.fit, len(rows), fitted.scale
    info = variance_information(fit)
    assert isinstance(info, ResidualInformation)
    x = np.where(lost[:, None], 0.0, rows.exog)[:, fitted.fixed.kept]
    free = free_spread(fit, tests)
    spread = free if rows.given else tests.variance_covariance
    own = _Method.of(fit, info, tests, method, spread)
    nugget = None
    if rows.places is not None:
        nugget = _own(fitted, rows.places, precision, own, info, True)
    if rows.given:
        plain = _given(fitted, rows, x, precision, lost, own, nugget, spread is not None)
        variance = scale * (plain.variance + 2.0 * plain.rise)
        df = satterthwaite_df(plain.variance, plain.slope, spread, tests, n)
    else:
        s = x @ fit.root
        slope = np.einsum("np,rpq,nq->nr", s, info.on_fixed, s, optimize=True)
        length = np.einsum("np,np->n", s, s)
        variance = np.einsum("ij,jk,ik->i", x, tests.covariance, x)
        df = tests.df(x)
        plain = _Part(length, slope, (variance / scale - length) / 2)
    observation: Any = not_given
    if not isinstance(not_given, str):
        try:
            extra = nugget or _observed(fitted, rows, precision, own, info, not_given)
        except (FormulaError, ValueError) as error:
            observation = f"errors of observations are not known: {error}"
        else:
            whole = plain.variance + extra.variance
            df_obs = df
            if plain.slope is not None and free is not None:
                slope = plain.slope + extra.slope
                df_obs = satterthwaite_df(whole, slope, free, tests, n)
            var_obs = scale * (whole + 2.0 * (plain.rise + extra.rise))
            observation = np.where(lost, np.nan, var_obs), np.where(lost, np.nan, df_obs)
    return np.where(lost, np.nan, variance), np.where(lost, np.nan, df), observation


def _given(fitted, rows, x, precision, lost, method, nugget, slope) -> _Part:
    """Errors of means that are given random effects, or residuals too."""
    if not has_rows(fitted.model):
        if slope:
            raise ValueError(
                "degrees of freedom of random effects beside a residual covariance need "
                "the rows of the fit, which were removed: use df_method='z' or "
                "'residual', or conditional=False"
            )
        terms = [(codes, z, None) for codes, z in target_terms(fitted, rows, lost)]
        plain = joint_errors(fitted.fit).errors(x, random_rows(fitted.fit, terms))
        return _Part(plain.variance)
    places = rows.places
    targets = Targets(x, target_terms(fitted, rows, lost), places, precision)
    found = joint_rows(fitted).errors(targets, slope, method.weight, method.curved)
    rise = 0.0 if found.rise is None else found.rise
    if found.rise is not None:
        rise = method.less_bias(rise, found.slope)
    if nugget is None:
        return _Part(found.variance, found.slope, rise)
    # of the whole residual: the mean is without its nugget
    slope = None if found.slope is None else found.slope - nugget.slope
    return _Part(found.variance - nugget.variance, slope, rise - nugget.rise)


def target_terms(
    fitted: Fitted, rows: NewRows, lost: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Level and columns of each term, of zero where it is not given.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    rows : NewRows
        The rows.
    lost : ndarray
        Rows that have no mean, (n,) bool.
    """
    out = []
    for term, own in zip(fitted.random.terms, rows.terms, strict=True):
        if own is None:
            out.append((np.zeros(len(rows), np.intp), np.zeros((len(rows), term.k))))
        elif own.new_square is None:
            z = np.where(lost[:, None], 0.0, own.z)
            out.append((np.maximum(own.codes, -1).astype(np.intp), z))
        else:
            out.append(_of_component(term, own, lost))
    return out


def _of_component(term, own, lost):
    """Rows of a component that have one effect each."""
    z = own.z.tocsr()
    z.eliminate_zeros()
    count = np.diff(z.indptr)
    known = count > 0
    if (count > 1).any() or (known & (own.new_square > 0)).any():
        raise NotImplementedError(
            f"{term.label} has several effects a row, of which errors beside a residual "
            "covariance are not available; use conditional=False"
        )
    codes = np.full(len(count), -1)
    value = np.sqrt(own.new_square)
    codes[known] = z.indices
    value[known] = z.data
    return codes, np.where(lost, 0.0, value)[:, None]


def _observed(fitted, rows, precision, method, info, not_given) -> _Part:
    """What an observation adds to a mean without residuals."""
    places = places_of_observations(fitted, rows)
    found = _own(fitted, places, precision, method, info, False)
    variance, slope = found.variance, found.slope
    assert slope is not None
    deviance, start, rise = fitted.fit.residual.stand(), 0, found.rise
    added = np.zeros_like(slope)
    bends: list[Any] = [None] * len(not_given)
    if method.curved == "all":
        bends = outer_bends(fitted.fit, method.weight)
    covariances = deviance.covariances(deviance.at.x)
    terms = zip(not_given, covariances, info.directions, bends, strict=True)
    for z, sigma, directions, bend in terms:
        at = slice(start, start + len(directions))
        start = at.stop
        if z is None:
            continue
        k = z.shape[1]
        prior = np.einsum("na,ab,nb->n", z, sigma[:k, :k], z)
        variance = variance + prior
        added[:, at] += np.einsum("na,rab,nb->nr", z, directions[:, :k, :k], z)
        added[:, -1] += prior
        if bend is not None:
            rise = rise - np.einsum("na,ab,nb->n", z, bend, z) / 4
    rise = method.less_bias(rise, added)
    return _Part(variance, slope + added, rise)


def _own(fitted, places, precision, method, info, nugget) -> _Part:
    """Variance of a residual, or of the share of it that no other row has."""
    residual = fitted.fit.residual
    found = own_variances(residual.bound, residual.psi, places, method.natural)
    variance, by_psi, curve = found.whole, found.whole_slope, found.whole_curve
    if nugget:
        variance = variance - found.shared
        by_psi, curve = by_psi - found.shared_slope, curve - found.shared_curve
    variance, n = variance / precision, len(precision)
    variance = np.where(places.missing, np.nan, variance)
    slope = np.zeros((n, info.n_gamma + 1))
    slope[:, info.n_gamma - by_psi.shape[1] : -1] = by_psi / precision[:, None]
    slope[:, -1] = variance
    return _Part(variance, slope, method.less_bias(-curve / precision / 4, slope))


def replicated_deviations(
    fitted: Fitted, places: NewPlaces, parameters: np.ndarray
) -> np.ndarray:
    """Standard deviations of residuals, relative to sigma, in replicates, (R, n).

    Parameters
    ----------
    fitted : Fitted
        The fit.
    places : NewPlaces
        Where the rows stand.
    parameters : ndarray
        Natural parameters of the residual covariance in every replicate, those of
        standard deviations last, (R, n_psi).
    """
    residual = fitted.fit.residual
    assert residual is not None
    bound, correlation = residual.bound, residual.bound.correlation
    n_sd = sum(f.n_psi for f in bound.functions)
    first = parameters.shape[1] - n_sd
    out = np.zeros((len(parameters), len(places)))
    for function, strata, covariate in zip(
        bound.functions, places.strata, places.covariates, strict=True
    ):
        own = parameters[:, first : first + function.n_psi]
        first += function.n_psi
        strata = np.zeros(len(places), np.intp) if strata is None else strata
        for r, eta in enumerate(own):
            psi = function.free(eta) if function.n_psi else eta
            out[r] += function.log_sd(psi, strata, covariate)
    if isinstance(correlation, UnstructuredVisits):  # it has the variances, the first 1
        own = parameters[:, : len(parameters[0]) - n_sd]
        by_level = own.reshape(len(own), bound.n_levels, correlation.n_psi)
        variance = np.ones((len(own), bound.n_levels, correlation.m))
        variance[:, :, 1:] = by_level[:, :, correlation.diagonal]
        out += np.log(variance[:, places.level, places.visits]) / 2
    return np.exp(out)
