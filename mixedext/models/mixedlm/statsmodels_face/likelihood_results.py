"""What statsmodels' results say of the likelihood and of its maximization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from statsmodels.regression.mixed_linear_model import MixedLMParams

from mixedext.algebra.deviations import standard_deviations
from mixedext.fitted import Fitted, HasFitted, once_a_fit
from mixedext.inference.bootstrap.bootstrapping import simulate_refits
from mixedext.inference.profile.variance_profile import profile_variance
from mixedext.models.mixedlm.fit_arguments import check_fit_arguments
from mixedext.specification.covariance.bound_residual import refuse_residual

__all__ = [
    "bootstrap",
    "fit_log",
    "get_nlfun",
    "group_sizes",
    "hist",
    "mle_retvals",
    "mle_settings",
    "mse_resid",
    "params_object",
    "profile_re",
    "ssr",
]


_NO_REGRESSION = (
    "a mixed model has no sums of squares of a linear regression, which anova_lm and "
    "OLSInfluence need; wald_test_terms() tests its terms, and resid, wresid and "
    "resid_pearson are its residuals"
)


def mle_settings(results: HasFitted) -> dict[str, Any]:
    """Arguments of the fit, with the name of the optimizer that was used."""
    return {
        "optimizer": results.fitted.fit.convergence.method,
        **results.fitted.arguments.options,
    }


def mle_retvals(results: HasFitted) -> dict[str, Any]:
    """What statsmodels' optimizers return, said of this fit."""
    fit = results.fitted.fit
    verdict = fit.convergence
    return {
        "fopt": -fit.log_likelihood,
        "converged": bool(verdict.converged),
        "iterations": verdict.n_derivatives,
        "fcalls": verdict.n_evaluations,
        "gcalls": verdict.n_derivatives,
        "warnflag": 0 if verdict.converged else 1,
        "message": verdict.message,
        "allvecs": list(fit_log(results)["theta"]),
    }


def hist(results: HasFitted) -> list[dict[str, Any]] | None:
    """``[mle_retvals]`` if the fit was asked for ``full_output``, else None."""
    return (
        [mle_retvals(results)]
        if results.fitted.arguments.options.get("full_output")
        else None
    )


def profile_re(
    results: HasFitted,
    re_ix: int | str,
    vtype: str,
    num_low: int = 5,
    dist_low: float = 1.0,
    num_high: int = 5,
    dist_high: float = 1.0,
    **fit_kwargs: Any,
) -> np.ndarray:
    """Profile log-likelihood of one variance of the random effects.

    Parameters
    ----------
    re_ix : int or str
        Number of the random effect in cov_re for "re", name of the component for "vc".
    vtype : {"re", "vc"}
        Which of the two.
    num_low, num_high : int, optional
        Points below and above the estimate.
    dist_low, dist_high : float, optional
        Distance of the lowest and the highest from the estimate.
    **fit_kwargs
        ``maxiter``: Newton steps at each point; others as in ``fit``.

    Returns
    -------
    ndarray
        Two columns: values of the variance (at the residual variance of each point),
        and the log-likelihood maximized over all else; shape
        (num_low + 1 + num_high, 2).

    Raises
    ------
    ValueError
        If an argument is not known, or the grid would reach zero.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> profile = result.profile_re(1, "re", num_low=2, dist_low=10, num_high=2)
    >>> profile.shape, bool(profile[:, 1].argmax() == 2)
    ((5, 2), True)
    """
    refuse_residual(results.fitted.model, "profile_re", "conf_int_vcomp has limits")
    method = fit_kwargs.pop("method", None)
    check_fit_arguments(results.fitted.reml, method, None, fit_kwargs, profile_re)
    limit = fit_kwargs.get("maxiter")
    return profile_variance(
        results, re_ix, vtype, num_low, dist_low, num_high, dist_high, limit
    )


def bootstrap(
    results: Any,
    nrep: int = 100,
    method: str = "nm",
    disp: Any = 0,
    store: Any = 1,
    rng: Any = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parametric bootstrap of all parameters.

    Responses are simulated from the fit and fitted again.  (statsmodels draws rows one
    by one, as if they were independent.)

    Parameters
    ----------
    nrep : int, optional
        Replications.
    method, disp : optional
        Kept for statsmodels; have no effect.
    store : bool, optional
        Whether to keep the estimates as ``bootstrap_results``.
    rng : Generator or int, optional
        Source of random numbers, or a seed.

    Returns
    -------
    mean, std : ndarray
        Of the estimates, in the layout of ``params``.
    results : ndarray
        Estimates of every replication, (nrep, len(params)).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> mean, std, estimates = result.bootstrap(nrep=50, rng=1)
    >>> estimates.shape
    (50, 2)
    """
    fitted = results.fitted
    refits = simulate_refits(fitted, nrep, rng=rng)
    layout, design = fitted.model.layout, fitted.fit.design
    rows = [
        layout.pack(design.terms, [lam @ lam.T for lam in design.lams(theta)])
        for theta in refits.theta
    ]
    variances = np.array(rows).reshape(nrep, -1)
    estimates = np.hstack([refits.fe_params, variances, refits.residual])
    if store:
        results.bootstrap_results = estimates
    return estimates.mean(axis=0), standard_deviations(estimates), estimates


def get_nlfun(results: Any, *args: Any, **kwargs: Any) -> None:
    """Not available in mixedext."""
    raise NotImplementedError("mixedext has no such method of statsmodels' results")


def ssr(results: Any) -> None:
    """Absent: what asks for it takes the model for a linear regression."""
    raise AttributeError(_NO_REGRESSION)


def mse_resid(results: Any) -> None:
    """Absent: what asks for it takes the model for a linear regression."""
    raise AttributeError(_NO_REGRESSION)


def fit_log(results: HasFitted) -> pd.DataFrame:
    """One row an evaluation: method, deviance, step, expected fall, theta."""
    return pd.DataFrame(vars(results.fitted.fit.log))


def group_sizes(results: HasFitted) -> np.ndarray | None:
    """Rows of each level of ``groups``, or else of the first grouping factor.

    None where there is no such factor, or where the rows are in chunks.
    """
    return _sizes(results.fitted)


@once_a_fit
def _sizes(fitted: Fitted) -> np.ndarray | None:
    return fitted.model.group_sizes


def params_object(results: Any) -> MixedLMParams:
    """The parameters as statsmodels' MixedLMParams."""
    vcomp = np.array(results.vcomp, float)
    vcomp[results.model.layout.are_variances] /= results.scale
    return MixedLMParams.from_components(
        results.fe_params, cov_re=results.cov_re_unscaled, vcomp=vcomp
    )
