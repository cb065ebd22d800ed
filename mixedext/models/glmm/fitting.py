"""The fit of a generalized model, its warnings, and its deviance at any parameters."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from statsmodels.tools.sm_exceptions import ConvergenceWarning, SingularMatrixWarning

from mixedext.arguments import check_choice
from mixedext.engine.deviance.given_covariances import relative_root
from mixedext.engine.generalized.fit import (
    GeneralizedFit,
    evaluate_at,
    fit_generalized,
    make_deviance,
)
from mixedext.exceptions import (
    FlatLikelihoodWarning,
    PrecisionWarning,
    SeparationWarning,
    user_stacklevel,
)
from mixedext.fitted import FitArguments, Fitted, has_rows, need_rows
from mixedext.models.glmm.checks import check_n_agq, refuse_arguments
from mixedext.models.glmm.covariances import covariance_name, with_covariance
from mixedext.models.glmm.estimates import Estimates

__all__ = [
    "LAPLACE",
    "fit",
    "fitted_model",
    "objective",
    "read_start",
    "separated_names",
]

LAPLACE = ("observed", "expected")
# Change of llf at which n_agq="auto" stops, nodes a dimension that it begins with, and the
# most that it tries, a dimension and in all.
SETTLED, FIRST_NODES, MOST_NODES, MOST_OF_AUTO = 1e-4, 7, 255, 50_000

_SINGULAR = (
    "The random effects covariance matrix is singular: some variance is estimated as "
    "zero or some correlation as +-1. The fit is a valid result (see is_singular and "
    "var_corr)."
)
_FLAT = (
    "minimum, but flat in some direction: the data do not determine all parameters; those "
    "that they leave open stay near where the search began, and have no standard errors"
)


def fit(
    model: Any,
    n_agq: int | str = 1,
    *,
    laplace: str = "observed",
    start_params: Any = None,
    cov_type: str | None = None,
    cov_kwds: Mapping[str, Any] | None = None,
    use_t: bool | None = None,
    **fit_kwargs: Any,
) -> Any:
    """Fit by maximum likelihood.

    Parameters
    ----------
    n_agq : int or "auto", optional
        1 for Laplace's approximation; k > 1 for adaptive Gauss-Hermite quadrature with k
        nodes a dimension (one grouping factor with up to three columns, 500 nodes and a
        million of them a level); "auto" for as many as leave the log-likelihood unchanged
        to 1e-4, the results' ``n_agq`` says how many; 0 for coefficients found with
        the conditional modes, fast and approximate.
    laplace : {"observed", "expected"}, optional
        Information in the determinant of Laplace's approximation; the expected one, which
        reproduces glmer, differs for other links than the canonical.
    start_params : array_like, optional
        Where to start: all parameters, as ``params``.
    cov_type : {"nonrobust", "conditional", "cluster", "CR0", "CR1"}, optional
        Covariance of the parameters: by the observed information on all of them, that
        of the fixed effects given the others, or robust to dependence within clusters
        ("cluster" is CR1); see ``MixedGLMResults.get_robustcov_results``.
    cov_kwds : dict, optional
        Of the cluster-robust types: ``groups`` and others.
    use_t : bool, optional
        t and F with n - rank(X) degrees of freedom, or one less than there are clusters
        (True), or the normal law.
    **fit_kwargs
        ``disp`` and ``method`` of statsmodels are passed over; others are an error.

    Returns
    -------
    MixedGLMResultsWrapper

    Raises
    ------
    ValueError
        If an argument is not known, or ``n_agq`` is not possible for the random terms.

    Warns
    -----
    SeparationWarning
        If columns separate the responses, or a variance runs off: estimates are infinite.
    SingularMatrixWarning
        If some variance is zero or some correlation +-1, a legitimate result.
    ConvergenceWarning
        If the search does not end at a minimum.
    FlatLikelihoodWarning
        If the data do not determine all parameters.
    PrecisionWarning
        If ``n_agq="auto"`` has not found enough nodes.
    InformationWarning
        If the observed information is not positive definite: no standard errors.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import mixedext as mx
    >>> rng = np.random.default_rng(2)
    >>> data = pd.DataFrame({"g": np.arange(160) // 8, "x": np.arange(160) % 8})
    >>> mean = np.exp(0.1 * data["x"] + rng.normal(0, 0.6, 20)[data["g"]])
    >>> data["y"] = rng.poisson(mean)
    >>> model = mx.glmm("y ~ x + (1 | g)", data, family="poisson")
    >>> laplace, nodes = model.fit(), model.fit(n_agq=9)
    >>> bool(abs(laplace.llf - nodes.llf) < 0.1)
    True
    """
    fitted = fitted_model(
        model,
        n_agq,
        laplace=laplace,
        start_params=start_params,
        cov_type=cov_type,
        cov_kwds=cov_kwds,
        use_t=use_t,
        **fit_kwargs,
    )
    return model._present(fitted)


# statsmodels' arguments of fit that say how to search.
_PASSED_OVER = {"disp", "method", "maxiter", "full_output"}


def fitted_model(
    model: Any,
    n_agq: int | str = 1,
    *,
    laplace: str = "observed",
    start_params: Any = None,
    cov_type: str | None = None,
    cov_kwds: Mapping[str, Any] | None = None,
    use_t: bool | None = None,
    **fit_kwargs: Any,
) -> Fitted:
    """The record of a fit, complete; arguments and warnings are those of ``fit``."""
    if not has_rows(model):
        need_rows(model)  # says why
    unknown = {n: v for n, v in fit_kwargs.items() if n not in _PASSED_OVER}
    refuse_arguments(unknown, "fit", fit)
    check_choice(laplace, "laplace", LAPLACE)
    check_n_agq(n_agq, model.random_terms)
    name = covariance_name(cov_type)
    start = None if start_params is None else read_start(model, start_params)
    found = _search(model, n_agq, laplace, start)
    own = Estimates(found, model.family, model.layout, model.k_fe)
    arguments = FitArguments(
        start_params, options={"n_agq": found.n_agq, "laplace": laplace}
    )
    plain = with_covariance(own, model, arguments, None, None, use_t)
    _warn_of_verdict(plain)
    if name == "nonrobust" and not cov_kwds:
        return plain
    return with_covariance(own, model, arguments, cov_type, cov_kwds, use_t)


def _search(model: Any, n_agq: int | str, laplace: str, start: Any) -> GeneralizedFit:
    design, rows = model.design_rows, model.likelihood_rows
    if n_agq != "auto":
        return fit_generalized(design, rows, n_agq=int(n_agq), laplace=laplace, start=start)
    columns = sum(t.k for t in model.random_terms)
    found = fit_generalized(design, rows, n_agq=FIRST_NODES, laplace=laplace, start=start)
    nodes, change = FIRST_NODES, np.inf
    while not change < SETTLED:
        before, nodes = found, 2 * nodes + 1
        if nodes > MOST_NODES or nodes**columns > MOST_OF_AUTO:
            still = f", where the log-likelihood still changes by {change:.2g}"
            warnings.warn(
                f"n_agq='auto' has stopped at {found.n_agq} nodes a dimension"
                f"{still if np.isfinite(change) else ''}: give more by n_agq, or leave "
                "random effects out",
                PrecisionWarning,
                stacklevel=user_stacklevel(),
            )
            break
        start = np.concatenate([found.theta, found.coefficients, found.kappa])
        found = fit_generalized(design, rows, n_agq=nodes, laplace=laplace, start=start)
        change = abs(found.log_likelihood - before.log_likelihood)
    return found


# ---- warnings ----


def separated_names(fitted: Fitted) -> tuple[list[str], list[str]]:
    """Columns and random terms whose estimates run to infinity."""
    found, fixed = fitted.generalized.engine.separation, fitted.fixed
    columns: list[str] = []
    if found.direction is not None:
        names = np.array(fixed.names, dtype=object)[fixed.kept]
        columns = [str(n) for n in names[np.asarray(found.direction) != 0]]
    terms = [fitted.random.terms[i].label for i in found.terms]
    return columns, terms


def _separation_text(fitted):
    columns, terms = separated_names(fitted)
    said = []
    alike = _constant_response(fitted)
    if columns and alike:
        said.append(f"{alike}: the intercept is infinite, and there is nothing to estimate")
    elif columns:
        what = "0 from 1" if fitted.model.family.has_trials else "zero from positive counts"
        plural = len(columns) > 1
        said.append(
            f"column{'s' if plural else ''} {', '.join(columns)} separate"
            f"{'' if plural else 's'} {what}: "
            f"{'their estimates are' if plural else 'its estimate is'} infinite, and the "
            "likelihood still rises where the search has stopped. z tests and standard "
            "errors of such estimates say nothing, likelihood-ratio tests (mx.anova, "
            f"drop1) do; drop {'them' if plural else 'it'}, pool levels, or penalize"
        )
    if terms:
        said.append(
            f"{'The' if said else 'the'} variance of {', '.join(terms)} runs off: hardly "
            "a level has both outcomes, or Laplace's approximation is no good here; see "
            "what n_agq='auto' gives (one grouping factor), or leave the term out"
        )
    return ". ".join(said)


def _constant_response(fitted):
    """What all responses are, where that leaves nothing to estimate; empty elsewhere."""
    response = fitted.model.response
    y, trials = response.y, response.trials
    if not y.any():
        return "all responses are 0"
    if trials is not None and (y == trials).all():
        return "all trials are successes"
    return ""


def _warn_of_verdict(fitted):
    """Say what of a fit its user must know."""
    own = fitted.generalized
    verdict = own.convergence
    found: list[tuple[str, type[Warning]]] = []
    if not verdict.converged:
        found.append((f"MixedGLM did not converge: {verdict.message}", ConvergenceWarning))
    elif own.engine.separation:
        found.append((_separation_text(fitted), SeparationWarning))
    else:
        if verdict.is_singular:
            found.append((_SINGULAR, SingularMatrixWarning))
        if verdict.is_flat:
            found.append((_FLAT, FlatLikelihoodWarning))
    for message, kind in found:
        warnings.warn(message, kind, stacklevel=user_stacklevel())


# ---- the deviance anywhere ----


def read_start(model: Any, params: Any, what: str = "start_params") -> np.ndarray:
    """(theta, coefficients kept, kappa) from a vector as ``params``.

    Raises
    ------
    ValueError
        If its length is wrong, or there is no such model.
    """
    names = model.data.param_names
    values = np.asarray(params, float)
    if values.shape != (len(names),):
        raise ValueError(
            f"{what} must hold {len(names)} numbers ({', '.join(names)}); got shape "
            f"{values.shape}"
        )
    k_fe, layout = model.k_fe, model.layout
    kept = np.asarray(model._design.basis.kept, np.intp)
    beta = values[:k_fe][kept]
    rest = values[k_fe:]
    if not (np.isfinite(beta).all() and np.isfinite(rest).all()):
        raise ValueError(f"{what}: all parameters but dropped columns must be finite")
    terms = model._design.terms
    theta = []
    covariances = layout.unpack(terms, rest[: layout.n_packed])
    for term, covariance in zip(terms, covariances, strict=True):
        lam = relative_root(term.structure, covariance)
        if lam is None:
            raise ValueError(
                f"{what}: the covariance of the random effects of {term.group} is not "
                f"positive semidefinite: {np.asarray(covariance).tolist()}"
            )
        theta.append(term.structure.theta(lam))
    kappa = []
    if model.family.n_dispersion:
        if not rest[-1] > 0:
            raise ValueError(f"{what}: {names[-1]}={rest[-1]:g} must be positive")
        kappa = [model.family.kappa_of(rest[-1])]
    return np.concatenate([*theta, beta, kappa])


def objective(
    model: Any, psi: Any, n_agq: int = 1, laplace: str = "observed"
) -> tuple[float, np.ndarray]:
    """Deviance and its gradient at any parameters.

    Parameters
    ----------
    psi : array_like
        (theta, coefficients, kappa): the lower triangles of the covariances' factors by
        columns (``results.theta``), coefficients of the columns kept, and the logarithm of
        the dispersion if one is estimated.
    n_agq, laplace : optional
        As for ``fit``.

    Returns
    -------
    deviance : float
        -2 log-likelihood with all constants, the scale of ``-2 * llf``.
    gradient : ndarray
        Its derivative in ``psi``.

    Raises
    ------
    ValueError
        If ``psi`` has another length.
    """
    check_choice(laplace, "laplace", LAPLACE)
    check_n_agq(n_agq, model.random_terms)
    n_theta = sum(s.n_theta for s in model._design.structures)
    rank, n_kappa = model._design.basis.rank, model.family.n_dispersion
    values = np.asarray(psi, float)
    if values.shape != (n_theta + rank + n_kappa,):
        raise ValueError(
            f"psi must hold {n_theta} elements of theta, {rank} coefficients and {n_kappa} "
            f"log dispersions; got shape {values.shape}"
        )
    deviance = make_deviance(model.design_rows, model.likelihood_rows, n_agq, laplace)
    parts = np.split(values, [n_theta, n_theta + rank])
    value, gradient = evaluate_at(deviance, *parts)
    return float(value), gradient
