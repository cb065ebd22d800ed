"""The part of the model that fits it and evaluates its deviance."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from statsmodels.base._penalties import Penalty
from statsmodels.regression.mixed_linear_model import MixedLMParams
from statsmodels.tools.sm_exceptions import (
    ConvergenceWarning,
    SingularMatrixWarning,
    ValueWarning,
)

from mixedext.engine.constrained.fit import fit_l1
from mixedext.engine.constrained.objective import Penalties
from mixedext.engine.deviance.explained import is_explained, leaves_little
from mixedext.engine.deviance.given_covariances import IndefiniteError, Likelihood
from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.engine.information.refinement import (
    fit_by_rows,
    has_lost_digits,
    needs_refinement,
    precision_of,
    refine_fit,
)
from mixedext.engine.search.near_singular import loss_if_singular
from mixedext.exceptions import (
    DesignError,
    DevianceError,
    FlatLikelihoodWarning,
    PrecisionWarning,
    ResidualLimitWarning,
    user_stacklevel,
)
from mixedext.fitted import FitArguments, Fitted, has_rows, need_rows
from mixedext.inference.diagnostics.residuals import resid, wresid
from mixedext.inference.fixed_effects.covariance_choice import (
    choose_settings,
)
from mixedext.inference.fixed_effects.df_methods import df_choice
from mixedext.limits import ALL_TAKEN, EXACT_FIT, IMPRECISION, SAME_FIT
from mixedext.models.mixedlm.fit_arguments import check_fit_arguments, is_known_covariance
from mixedext.models.mixedlm.masks import masked_fit, read_mask, response_of
from mixedext.models.mixedlm.residual_fitting import (
    check_residual_arguments,
    fit_residual,
    split_start,
    with_residual,
)
from mixedext.models.mixedlm.results import MixedLMResultsWrapper
from mixedext.models.mixedlm.statsmodels_face.likelihood import read_params
from mixedext.session import options
from mixedext.specification.covariance.bound_residual import refuse_residual
from mixedext.specification.terms.random_terms import crowding
from mixedext.specification.terms.structured import refuse_structured

__all__ = [
    "LastFit",
    "fit",
    "fit_regularized",
    "fitted_model",
]

_NO_VARIANCE = (
    "the random effects explain the response (endog) exactly: the residual variance is "
    "zero and the likelihood has no maximum. Leave out a term."
)
_ALL_TAKEN = (
    "the residual variance is estimated as zero: the random effects span all rows, and "
    "their covariances alone describe the response (endog) best, so that no ratio to a "
    "residual variance exists. Leave out a term."
)
_IMPRECISE = (
    "The penalized residual sum of squares from the cross-products differs from that of "
    "the rows by a relative {:.1e}: digits were lost, because the columns differ greatly "
    "in size or one variance dwarfs the other. Centre or rescale the columns of the random "
    "effects."
)
_UNREFINED = (
    "One variance dwarfs the other, so that the sums over the chunks have lost digits; "
    "with the rows in memory they would be taken once more. Centre or rescale the columns."
)
_SINGULAR = (
    "The random effects covariance matrix is singular: some variance is estimated as "
    "zero or some correlation as +-1. The fit is a valid result (see is_singular and "
    "var_corr)."
)
_AT_LIMIT = (
    "The residual covariance is at a limit of its parameters: {}. The fit is a valid "
    "result; what is at its limit has no standard error, and those of the others are with "
    "it held. Simplify the structure if it is not needed."
)
_FLAT = (
    "minimum, but flat in some direction: the data do not determine all variances and "
    "covariances; those that they leave open stay near where the search began, and have no "
    "standard errors. Leave them out, or simplify the random effects."
)
_NEARLY_SINGULAR = (
    "The random effects covariance matrix is nearly singular: the data do not tell the fit "
    "from one in which some variance is zero or some correlation +-1 (the log-likelihood "
    "of that is lower by only {:.1g})."
)


# Arguments of ``fit`` that say how tests are done.
_COVARIANCE = ("cov_type", "use_t", "cov_kwds")


class LastFit(NamedTuple):
    """What statsmodels' methods of the model read of the last fit.

    Attributes
    ----------
    reml : bool
        Criterion.
    fe_pen, cov_pen : Penalty or None
        Penalties.
    free : MixedLMParams or None
        Mask of the parameters that were estimated.
    """

    reml: bool = True
    fe_pen: Any = None
    cov_pen: Any = None
    free: Any = None


def fit(
    model: Any,
    start_params: Any = None,
    reml: bool = True,
    niter_sa: int = 0,
    do_cg: bool = True,
    fe_pen: Any = None,
    cov_pen: Any = None,
    free: Any = None,
    full_output: bool = False,
    method: str | list[str] | None = None,
    *,
    df_method: str | None = None,
    information: str | None = None,
    cov_type: str | None = None,
    cov_kwds: Mapping[str, Any] | None = None,
    use_t: bool | None = None,
    **fit_kwargs: Any,
) -> MixedLMResultsWrapper:
    """Fit by restricted or ordinary maximum likelihood.

    Parameters
    ----------
    start_params : MixedLMParams or array_like, optional
        Where to start, and the values of what ``free`` holds.  A vector is packed in
        the model's parametrization (with ``use_sqrt`` elements of the Cholesky factor
        of cov_re / scale, by rows, and square roots of vcomp / scale), with the fixed
        effects before it or without them.  If None, moment estimates, or with masks
        statsmodels' start: variances equal to scale, no covariances, no fixed effects.
    reml : bool, optional
        REML (True) or ML.
    niter_sa : int, optional
        Kept for statsmodels; warns and has no effect if positive.
    do_cg : bool, optional
        If False, nothing is optimized: the results are those at the start.
    fe_pen : statsmodels.base._penalties.Penalty, optional
        Penalty of the fixed effects, subtracted from the log-likelihood, which is then
        maximized over fixed effects and covariances jointly, from the unpenalized fit.
        (statsmodels' penalty does not act on the estimates.)
    cov_pen : statsmodels.base._penalties.CovariancePenalty, optional
        Penalty of cov_re / scale, likewise.
    free : MixedLMParams, optional
        Mask: 1 where a parameter is estimated, 0 where it is held at its start.  An
        identity matrix for cov_re makes the random effects independent.
    full_output : bool, optional
        If True, ``hist`` of the results is a list with a dictionary.
    method : str or list of str, optional
        Kept for statsmodels: whatever the name of its optimizers, the engine's
        trust-region Newton is used.
    df_method : str, optional
        Degrees of freedom of tests on fixed effects: "satterthwaite", "kenward-roger",
        "kenward-roger-linear", "kenward-roger-2009" (REML only; they also adjust the
        standard errors), "residual" for t with n - rank(X), "containment",
        "between-within", "inner-outer", or "z" for the normal law.  If
        None, ``mx.options.df_method``, and if that is None, too, "satterthwaite" for a
        model stated in bars or by ``terms=``, "residual" for one without random terms,
        "z" for one that ``groups=`` states.  The default is computed when a test is
        asked for; it is "z", with a note in the tables, where the fit has failed,
        parameters were held or penalized, or the work would exceed ten times the
        fit's.
    information : {"expected", "observed"}, optional
        Which information on the variances "kenward-roger" and its versions invert: the
        expected one, as pbkrtest, or the observed one, as SAS, JMP and mmrm.  The latter
        is the default beside a residual covariance or a random term whose covariance is
        not linear in its parameters, the former for all other models.
    cov_type : str, optional
        Covariance of the parameters: "nonrobust" (also None, "gls"), "oim", "cluster",
        "CR0", "CR1", "CR2" or "CR3"; see ``MixedLMResults.get_robustcov_results``.
        Others are an error; but for a model stated by ``groups`` "hc0" to "hc3" in lower
        case are passed over with a FutureWarning, as statsmodels does.
    cov_kwds : dict, optional
        Its keywords, such as {"groups": labels or a name}.
    use_t : bool, optional
        As in statsmodels: t and F with n - rank(X) degrees of freedom, or the normal
        and chi-squared laws; as ``cov_type`` and ``df_method`` say if None.
    **fit_kwargs
        ``maxiter``: Newton iterations; statsmodels' other options of optimizers are
        accepted and ignored, and any other name is an error.

    Returns
    -------
    MixedLMResultsWrapper

    Raises
    ------
    ValueError
        If an argument is not known, has the wrong shape, or does not go with another.
    DesignError
        If the fixed effects leave no variance to estimate; a ValueError.

    Warns
    -----
    SingularMatrixWarning
        If some variance is zero or some correlation +-1, a legitimate result; or if
        such a fit has a log-likelihood that is lower by less than 2e-4.
    ConvergenceWarning
        If neither Newton nor the fallback ends at a minimum.
    FlatLikelihoodWarning
        If the data do not determine all variances and covariances.
    ResidualLimitWarning
        If a parameter of the residual covariance has run to a limit of its range.
    PrecisionWarning
        If the cross-products have lost digits.
    ValueWarning
        If ``niter_sa`` is positive.

    Notes
    -----
    Under masks and penalties standard errors are from the curvature of the penalized
    log-likelihood in the free parameters, ``llf`` has the penalties subtracted (as in
    statsmodels), and ``aic`` and ``bic`` count the free parameters.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data)
    >>> round(float(model.fit().llf), 4), round(float(model.fit(reml=False).llf), 4)
    (-871.8141, -875.9697)
    """
    arguments = {
        "start_params": start_params,
        "reml": reml,
        "do_cg": do_cg,
        "fe_pen": fe_pen,
        "cov_pen": cov_pen,
        "free": free,
        "full_output": full_output,
        "method": method,
        "df_method": df_method,
        "information": information,
        "cov_type": cov_type,
        "cov_kwds": cov_kwds,
        "use_t": use_t,
    }
    if niter_sa > 0:
        warnings.warn(
            "niter_sa is currently ignored", ValueWarning, stacklevel=user_stacklevel()
        )
    fitted = fitted_model(model, **arguments, **fit_kwargs)
    model._last_fit = LastFit(fitted.reml, fe_pen, cov_pen, free)
    return model._present(fitted)


def fitted_model(
    model: Any,
    start_params: Any = None,
    reml: bool = True,
    do_cg: bool = True,
    fe_pen: Any = None,
    cov_pen: Any = None,
    free: Any = None,
    full_output: bool = False,
    method: Any = None,
    df_method: str | None = None,
    information: str | None = None,
    cov_type: str | None = None,
    cov_kwds: Any = None,
    use_t: bool | None = None,
    **optimizer_options: Any,
) -> Fitted:
    """The record of a fit, complete; arguments and warnings are those of ``fit``."""
    if not has_rows(model) and model.source is None:
        need_rows(model)
    if not is_known_covariance(model, cov_type):
        cov_type, cov_kwds = None, None
    check_fit_arguments(reml, method, df_method, optimizer_options, model.fit)
    asked = df_choice(df_method, information)
    given, psi = split_start(model, start_params)
    start = _read_start(model, given)
    if free is not None or fe_pen is not None or cov_pen is not None:
        refuse_structured(
            model._design.terms, "Holding parameters (free=, fe_pen=, cov_pen=)"
        )
    masked = free is not None and not all(m.all() for m in read_mask(model, free))
    reml = bool(reml)
    within = model._design.blocks.within
    if within is not None and within.explained:
        raise DesignError(_NO_VARIANCE)
    if leaves_little(model._design):
        _check_explained(model)
    iterations = optimizer_options.get("maxiter")
    penalties = Penalties(fe_pen, cov_pen)
    if model.residual is not None:
        check_residual_arguments(
            fe_pen=fe_pen, cov_pen=cov_pen, free=free if masked else None
        )
        theta = None if start is None else _start_theta(model, reml, start)
        fit, lost = fit_residual(model, reml, theta, iterations, do_cg, psi), False
        model = with_residual(model, fit)
    elif penalties or masked:
        fit = masked_fit(model, reml, start, free, penalties, iterations, do_cg)
        lost = False
    else:
        theta = None if start is None else _start_theta(model, reml, start)
        if do_cg:
            fit = _searched(model, reml, theta, iterations)
        else:
            fit = evaluate_design(model._design, reml, theta)
        fit, lost = _refined(model, fit)
        if do_cg:
            _check_all_taken(model, fit)
    arguments = FitArguments(
        start_params,
        free,
        fe_pen,
        cov_pen,
        {"method": method, "full_output": full_output, **optimizer_options},
    )
    fitted = Fitted(fit, model, arguments=arguments)
    settings = choose_settings(fitted, asked, cov_type, use_t, cov_kwds, options.df_method)
    fitted = fitted.with_settings(settings)
    if lost:  # only then can the sums have gone wrong, or nothing be left of y
        _check_residual(model, wresid(fitted))
        error = precision_of(fit, resid(fitted), model.weights)
        if error > IMPRECISION:
            warnings.warn(
                _IMPRECISE.format(error), PrecisionWarning, stacklevel=user_stacklevel()
            )
    if do_cg:
        _warn_of_verdict(fit)
    return fitted


def _warn_of_verdict(fit):
    """Say what of a fit its user must know."""
    verdict = fit.convergence
    found: list[tuple[str, type[Warning]]] = []
    if not verdict.converged:
        found.append((f"MixedLM did not converge: {verdict.message}", ConvergenceWarning))
    else:
        if fit.is_singular:
            found.append((_SINGULAR, SingularMatrixWarning))
        if fit.residual is not None and fit.residual.at_limit:
            words = "; ".join(fit.residual.at_limit.values())
            found.append((_AT_LIMIT.format(words), ResidualLimitWarning))
        if verdict.is_flat:
            found.append((_FLAT, FlatLikelihoodWarning))
        if verdict.status == "interior" and fit.held is None:
            loss = loss_if_singular(fit)
            if loss < SAME_FIT:
                found.append((_NEARLY_SINGULAR.format(loss), SingularMatrixWarning))
    for message, kind in found:
        warnings.warn(message, kind, stacklevel=user_stacklevel())


def _searched(model, reml, theta, iterations):
    """The fit by cross-products; by the rows where rounding stops the search."""
    try:
        return fit_design(model._design, reml, theta, max_iterations=iterations)
    except DevianceError:
        if not has_rows(model):
            raise
        y, terms = response_of(model), model.random_terms
        given = reml, theta, iterations, y, model.exog, terms, model.weights
        fit = fit_by_rows(model._design, *given)
        if fit is None:
            raise
        return fit


def _refined(model, fit):
    """The fit, again from sharper sums where the first have lost digits."""
    if not needs_refinement(fit):
        return fit, has_lost_digits(fit) and has_rows(model)
    if not has_rows(model):
        warnings.warn(_UNREFINED, PrecisionWarning, stacklevel=user_stacklevel())
        return fit, False
    _check_explained(model)
    return (
        refine_fit(fit, response_of(model), model.exog, model.random_terms, model.weights),
        True,
    )


def _read_start(model, start_params):
    if start_params is None:
        return None
    if not isinstance(start_params, MixedLMParams):
        count = model.layout.n_packed
        if isinstance(start_params, str | bool):
            raise ValueError(
                f"start_params={start_params!r}: the criterion is reml=, by keyword; "
                "fit(reml=False) is maximum likelihood"
            )
        vector = np.asarray(start_params, float)
        lengths = (count, model.k_fe + count)
        if vector.ndim != 1 or len(vector) not in lengths:
            raise ValueError(
                "invalid start_params: start_params must hold "
                f"{count} finite numbers, the variance parameters "
                f"({', '.join(model.layout.names)}), or those after {model.k_fe} fixed "
                f"effects; got shape {vector.shape}"
            )
        if not np.isfinite(vector).all():
            raise ValueError("invalid start_params: all must be finite")
        with np.errstate(over="ignore"):
            start = read_params(model, vector, len(vector) == lengths[1])
    else:
        start = read_params(model, start_params)
    if not np.isfinite(start.packed).all():
        raise ValueError("the deviance is not finite at the start (start_params)")
    return start


def _start_theta(model, reml, start):
    covariances = model.layout.unpack(model._design.terms, start.packed)
    try:
        return Likelihood(model._design, reml).outer_theta(covariances)
    except IndefiniteError as error:
        raise ValueError(f"start_params: {error}") from None


def fit_regularized(
    model: Any,
    start_params: Any = None,
    method: Any = "l1",
    alpha: Any = 0,
    ceps: float = 1e-4,
    ptol: float = 1e-6,
    maxit: int = 200,
    **fit_kwargs: Any,
) -> MixedLMResultsWrapper:
    """Fit with a penalty of the fixed effects.

    Parameters
    ----------
    start_params : array_like, optional
        Kept for statsmodels; the unpenalized fit is the start.
    method : {"l1"} or Penalty, optional
        "l1": the covariances are those of the unpenalized fit, and the fixed effects
        minimize ``(y - Xb)'V^-1 (y - Xb) + sum_j alpha_j abs(b_j)``.  A penalty of
        statsmodels: ``fit`` with it as ``fe_pen``.
    alpha : float or array_like, optional
        Weight of the penalty; for "l1" perhaps one for each fixed effect.
    ceps : float, optional
        Fixed effects smaller than this count as zero.
    ptol : float, optional
        Change of the fixed effects at convergence.
    maxit : int, optional
        Most sweeps over the fixed effects.
    **fit_kwargs
        Arguments of ``fit``.

    Returns
    -------
    MixedLMResultsWrapper
        Standard errors of fixed effects at zero are NaN.

    Raises
    ------
    ValueError
        If the method is not known, or a weight is not a number, 0 or more.

    References
    ----------
    Friedman, Hastie and Tibshirani (2010), Regularization paths for generalized
    linear models via coordinate descent, Journal of Statistical Software 33(1).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data)
    >>> result = model.fit_regularized(alpha=[0.0, 1.0])
    >>> bool(result.fe_params["Days"] < model.fit().fe_params["Days"])
    True
    """
    refuse_residual(model, "fit_regularized", "fit has no penalty")
    if isinstance(method, Penalty):
        method.alpha = alpha
        return model.fit(**(fit_kwargs | {"fe_pen": method}))
    if not isinstance(method, str) or method.lower() != "l1":
        raise ValueError(
            f"Invalid regularization method: method={method!r}; use 'l1' or a Penalty"
        )
    for name, size in {"ceps": ceps, "ptol": ptol}.items():
        if not isinstance(size, Real) or not size >= 0:
            raise ValueError(f"{name}={size!r} must be a number, 0 or more")
    if not isinstance(maxit, int | np.integer) or maxit < 1:
        raise ValueError(f"maxit={maxit!r} must be a whole number, 1 or more")
    weights = np.asarray(alpha, float)
    weights = np.full(model.k_fe, weights) if weights.ndim == 0 else weights
    if weights.shape != (model.k_fe,) or not (weights >= 0).all():
        raise ValueError(
            f"alpha={alpha!r} must be one number, 0 or more, or {model.k_fe} of them"
        )
    chosen = {name: fit_kwargs.pop(name, None) for name in _COVARIANCE}
    if not is_known_covariance(model, chosen["cov_type"]):
        chosen["cov_type"] = chosen["cov_kwds"] = None
    whole = model.fit(**fit_kwargs).fitted
    fit = fit_l1(whole.fit, weights, ceps, ptol, maxit)
    given = {**whole.arguments.options, "method": method, "alpha": alpha}
    fitted = Fitted(
        fit,
        model,
        arguments=replace(whole.arguments, options=given, repeatable=False),
    )
    own = whole.settings
    settings = choose_settings(fitted, own.asked, default=own.default, **chosen)
    return model._present(fitted.with_settings(settings))


def _check_explained(model):
    """Refuse a response of which X and Z leave nothing, although they could."""
    if has_rows(model) and is_explained(
        model._design, response_of(model), model.exog, model.random_terms, model.weights
    ):
        raise DesignError(_NO_VARIANCE)


def _check_all_taken(model, fit):
    """Refuse a fit whose random effects, as many as rows, leave no residual variance."""
    if not fit.scale < ALL_TAKEN * model._design.y_scale**2:
        return
    by_groups = len(model.components) + (model.main_term is not None)  # as upstream
    if any(crowding(t, model.nobs) is not None for t in model.random_terms[by_groups:]):
        raise DesignError(_ALL_TAKEN)


def _check_residual(model, residual):
    """Refuse a fit that leaves no residual."""
    size = np.sqrt(np.mean(residual**2))
    if model.random_terms and size < EXACT_FIT * model._design.y_scale:
        raise DesignError(_NO_VARIANCE)
