"""Fits of models with a residual covariance."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLMParams

from mixedext.engine.fit import Fit, inner_start
from mixedext.engine.information.expected import variance_information
from mixedext.engine.residual.fit import fit_residual_rows, residual_fit_at
from mixedext.engine.residual.information import null_directions
from mixedext.engine.residual.natural import free_parameters
from mixedext.engine.residual.rows import ResidualRows, residual_curves
from mixedext.engine.residual.starts import starting_psi
from mixedext.exceptions import (
    DesignError,
    DevianceError,
    ResidualFallbackWarning,
    UnidentifiedCovarianceError,
    UnidentifiedVarianceWarning,
    user_stacklevel,
)
from mixedext.limits import INVOLVED, RESTART_GAIN, UNIDENTIFIED_CURVATURE
from mixedext.models.mixedlm.masks import response_of
from mixedext.specification.covariance.residual_binding import BoundResidual
from mixedext.specification.covariance.residual_parameters import packed_names
from mixedext.specification.covariance.residual_terms import check_strata
from mixedext.specification.terms.parameter_names import unique_names
from mixedext.specification.terms.related_terms import RelatedTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

# Rounds of a fit whose variances are functions of its fitted values, and the change of
# these, by the largest, at which the rounds end.
MOST_ROUNDS, SAME_FITTED = 50, 1e-8
# Rows up to which the information costs little beside the fit.
MOST_CHECKED = 5000
# Ends from a start that the user gives, or the fitted values of a round before have left,
# beside which that of the moments is looked at.
ENDS_TO_DOUBT = "boundary", "flat", "failed"

__all__ = [
    "check_residual_arguments",
    "fit_residual",
    "name_residual",
    "psi_names",
    "residual_rows",
    "split_start",
    "with_residual",
]


def name_residual(model: Any) -> None:
    """Put the names of the residual covariance's parameters behind those of ``params``."""
    names = [*(model.data.xnames or []), *model.layout.names]
    own = unique_names(packed_names(model.residual), names)
    model.data.param_names = [*names, *own]


def with_residual(model: Any, fit: Fit) -> Any:
    """The model with the structure that a fit has taken, of a list that it states."""
    assert fit.residual is not None
    bound = fit.residual.bound
    if bound.spec is model.residual.spec:
        return model
    # copies of the objects, but of no array, and without pickling's detours
    own, data = object.__new__(type(model)), object.__new__(type(model.data))
    vars(own).update(vars(model))
    vars(data).update(vars(model.data))
    own.data, own.residual = data, bound
    name_residual(own)
    return own


def check_residual_arguments(**arguments: Any) -> None:
    """Refuse arguments of ``fit`` that have no meaning beside ``residual``.

    Raises
    ------
    ValueError
        Names the argument.
    """
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(
                f"{name}= holds or penalizes parameters of models without residual= and "
                "variance=; parameters of a residual structure are held by fixed=True, as "
                "in mx.AR1('visit', group='subject', rho=0.5, fixed=True)"
            )


def residual_rows(model: Any, bound: BoundResidual | None = None) -> ResidualRows:
    """The rows of a model as the engine takes them."""
    for term in model.random_terms:
        if isinstance(term, RelatedTerm):
            raise NotImplementedError(
                f"{term.label} with a known relationship of its levels beside residual= or "
                "variance= is not available; leave one of them out"
            )
        if isinstance(term, SparseTerm):
            raise NotImplementedError(
                f"{term.group}: a SparseTerm beside residual= or variance= is not "
                "available; state the term by labels (RandomTerm), or leave residual= out"
            )
    return ResidualRows(
        response_of(model),
        model.exog,
        model.random_terms,
        model.weights,
        model.residual if bound is None else bound,
        model._design,
    )


def split_start(model: Any, start_params: Any) -> tuple[Any, np.ndarray | None]:
    """What ``start_params`` says of all but the residual covariance, and psi of that.

    The vector is that of ``params``: behind the others stand the residual parameters.

    Raises
    ------
    ValueError
        If these lie outside their range.
    """
    if model.residual is None or isinstance(start_params, str | bool | MixedLMParams):
        return start_params, None
    vector = np.asarray(start_params, float)
    curves = residual_curves(model.residual)
    n_sd, n_own = curves[0].n_sd, curves[0].n_own * len(curves)
    count, own = model.layout.n_packed, n_sd + n_own
    if vector.ndim != 1 or len(vector) not in (count + own, model.k_fe + count + own):
        return start_params, None
    rest, tail = vector[: len(vector) - own], vector[len(vector) - own :]
    try:
        eta = np.concatenate([tail[n_own:], tail[:n_own]])
        return (rest if len(rest) else None), free_parameters(model.residual, eta)
    except ValueError as error:
        raise ValueError(f"start_params: {error}") from None


def fit_residual(
    model: Any,
    reml: bool,
    theta: np.ndarray | None,
    iterations: int | None,
    search: bool = True,
    psi: np.ndarray | None = None,
) -> Fit:
    """Fit a model with a residual covariance; of several structures the first that goes.

    Parameters
    ----------
    theta : ndarray, optional
        Start of the relative covariance factors, data's units; moments if None.
    iterations : int, optional
        Newton's steps.
    search : bool
        Whether anything is estimated, or the model taken at its start.
    psi : ndarray, optional
        Start of the first structure's parameters.

    Raises
    ------
    DesignError
        If the data do not determine the parameters; names those.
    DevianceError
        If the deviance is finite at no start.
    """
    design = model._design
    if theta is None:
        theta = design.outer_theta(inner_start(design, None))
    structures = [model.residual, *model.residual.fallbacks]
    passed = list(model.residual.passed_over)
    for number, bound in enumerate(structures):
        try:
            own = psi if number == 0 else None
            fit = _fit(model, bound, reml, theta, iterations, search, own)
            reason = "" if fit.convergence.converged else fit.convergence.message
        except (DesignError, DevianceError) as error:
            if number + 1 == len(structures):
                raise
            reason = str(error)
        if not reason or number + 1 == len(structures):
            break
        passed.append((str(bound.spec), reason))
    if passed:
        words = "; ".join(f"{name} was passed over: {why}" for name, why in passed)
        warnings.warn(
            f"residual= is {bound.spec}: {words}",
            ResidualFallbackWarning,
            stacklevel=user_stacklevel(),
        )
    return fit


def _fit(model, bound, reml, theta, iterations, search, psi):
    own = _fit_by_fitted if any(bound.of_fitted) else _fit_bound
    try:
        fit = own(model, bound, reml, theta, iterations, search, psi)
    except (DesignError, DevianceError):
        _check_strata(model, bound)
        raise
    if search and fit.residual.at_limit and not model.random_terms:
        _check_strata(model, bound)
    return fit


def _check_strata(model, bound):
    """Name the stratum whose rows the fixed effects explain, of a fit that ends so."""
    x = np.asarray(model.exog, float)[:, model._design.basis.kept]
    check_strata(bound, response_of(model), x)


def _fit_by_fitted(model, bound, reml, theta, iterations, search, psi):
    """The fit whose variances are functions of its own fitted values, as nlme's.

    Weights are held at the fitted values of the fit before until these stay as they are.
    """
    rows = residual_rows(model, bound)
    values = rows.columns[:, :-1] @ rows.design.least_squares
    if rows.root_weights is not None:
        values = values / rows.root_weights
    held = 0.0 if model.offset is None else model.offset
    rounds, change = 0, np.inf
    while rounds < MOST_ROUNDS and not change < SAME_FITTED:
        rounds += 1
        own = bound.with_fitted(values + held)
        fit = _fit_bound(model, own, reml, theta, iterations, search, psi)
        before, values = values, _fitted_values(model, fit)
        change = np.abs(values - before).max() / np.abs(values).max()
        assert fit.residual is not None
        theta, psi = fit.residual.theta, fit.residual.psi
        if not search:
            break
    verdict, words = fit.convergence, "no maximum of a likelihood"
    message = f"variances are of the fitted values of round {rounds}: {words}"
    if change < SAME_FITTED or not search:
        message = f"{verdict.message}; {message}"
    else:
        message = f"fitted values still move by {change:.2g} after {rounds} rounds"
        verdict = replace(verdict, status="failed")
    return replace(fit, convergence=replace(verdict, message=message))


def _fitted_values(model, fit):
    """Fixed and random effects of the rows, without offset."""
    kept = fit.design.basis.kept
    out = np.asarray(model.exog, float)[:, kept] @ fit.coefficients
    for term, effect in zip(model.random_terms, fit.effects, strict=True):
        out = out + term.contribution(effect)
    return out


def _fit_bound(model, bound, reml, theta, iterations, search, start=None):
    rows = residual_rows(model, bound)
    given, held = _given(rows, bound)
    psi = given
    if start is not None:
        psi = start if given is None else np.where(held, given, start)
    if not search:
        start = psi if psi is not None else np.zeros(rows.n_psi)
        return residual_fit_at(rows, reml, theta, start)
    fit = fit_residual_rows(rows, reml, theta, psi, held, iterations)
    doubtful = fit.convergence.status in ENDS_TO_DOUBT
    if psi is not None and iterations is None and doubtful and not held.all():
        # the start may lie where the likelihood is flat
        moments = np.where(held, psi, starting_psi(rows)[0]) if held.any() else None
        other = fit_residual_rows(rows, reml, theta, moments, held)
        no_end = not fit.convergence.converged and other.convergence.converged
        if no_end or other.deviance < fit.deviance - RESTART_GAIN:
            fit = other
    verdict = fit.convergence
    # beside random effects the curvature may hide what only their variances share
    beside = bool(rows.terms) and len(rows.y) <= MOST_CHECKED
    if verdict.converged and (beside or verdict.curvature < UNIDENTIFIED_CURVATURE):
        _check_identified(fit)
    return fit


def _given(rows, bound):
    """Psi of values that the user has given, the rest as moments say; and what is held."""
    held = np.zeros(rows.n_psi, bool)
    if not bound.start:
        return None, held
    psi = starting_psi(rows)[0]
    names = psi_names(bound)
    for curve in residual_curves(bound):
        own = psi[curve.at]
        for function, at in zip(curve.functions, curve.slices, strict=True):
            if function.n_psi:
                eta = np.array(function.natural(own[at]), float)
                own[at] = _moved(function, eta, names[curve.at[at]], bound.start, own[at])
        if curve.correlation is not None and curve.n_own:
            at = slice(curve.n_sd, None)
            eta = np.array(curve.correlation.natural(own[at]), float)
            own[at] = _moved(
                curve.correlation, eta, names[curve.at[at]], bound.start, own[at]
            )
        psi[curve.at] = own
    held[np.isin(names, list(bound.held))] = True
    return psi, held


def _moved(function, eta, names, start, psi):
    chosen = [(k, start[name]) for k, name in enumerate(names) if name in start]
    if not chosen:
        return psi
    for k, value in chosen:
        eta[k] = value
    return function.free(eta)


def psi_names(bound):
    """Names of the elements of psi as users know them, (n_psi,)."""
    curves = residual_curves(bound)
    n_sd, n_own = curves[0].n_sd, curves[0].n_own
    names = list(bound.names)
    own = len(names) - n_sd
    assert own == n_own * len(curves)
    return np.array(names[own:] + names[:own], dtype=object)


def _check_identified(fit):
    """Refuse correlations of which nothing in the rows can tell one; warn of variances.

    Where variances alone cannot be told apart, as those within and between subjects of a
    treatment that is given to each once, the likelihood and the fixed effects are right all
    the same.
    """
    info = variance_information(fit)
    free = np.append(np.ones(info.n_gamma, bool), True)
    n_psi = len(fit.residual.psi)
    free[info.n_gamma - n_psi : info.n_gamma] = ~fit.residual.fixed_psi
    null = null_directions(info.expected[np.ix_(free, free)])
    if not null.shape[1]:
        return
    share = np.abs(null).max(axis=1)
    involved = share > INVOLVED * share.max()
    named = ", ".join(_direction_names(fit)[free][involved])
    bound = fit.residual.bound
    text = (
        f"{bound}: the data do not tell apart {named}: some change of them leaves the "
        "covariance of the response as it is"
    )
    correlations = np.zeros(info.n_gamma + 1, bool)
    n_sd = residual_curves(bound)[0].n_sd
    correlations[info.n_gamma - n_psi + n_sd : info.n_gamma] = True
    # at a limit V may be so nearly singular that the information has no digits left
    if (correlations[free] & involved).any() and not fit.residual.at_limit:
        raise UnidentifiedCovarianceError(
            f"{text}. Drop one of them, or hold one (fixed=True)"
        )
    warnings.warn(
        f"{text}; they have no standard errors. The log-likelihood and the fixed effects "
        "are not concerned",
        UnidentifiedVarianceWarning,
        stacklevel=user_stacklevel(),
    )


def _direction_names(fit):
    names = []
    for term, s in zip(fit.design.terms, fit.design.structures, strict=True):
        for name in s.names(term.names):
            names.append(
                f"{name.kind} of {':'.join(name.effects) or 'all'} by {term.group}"
            )
    names += list(psi_names(fit.residual.bound))
    return np.array([*names, "residual variance"], dtype=object)
