"""The deviance of a model at given parameters, and the blocks that a fit works on."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.arguments import check_reml
from mixedext.specification.covariance.bound_residual import refuse_residual

__all__ = ["describe_blocks", "objective"]


def _check_theta(model, values, what):
    n_theta = sum(s.n_theta for s in model._design.structures)
    theta = np.asarray(values, float)
    if theta.shape != (n_theta,) or not np.isfinite(theta).all():
        raise ValueError(
            f"{what} must hold {n_theta} finite numbers, the theta of all random "
            f"terms; got shape {theta.shape}"
        )
    return theta


def objective(model: Any, theta: Any, reml: bool = True) -> tuple[float, np.ndarray]:
    """Profiled deviance and its gradient at any theta.

    Parameters
    ----------
    theta : array_like
        Relative covariance factors of all terms, shape (n_theta,).
    reml : bool, optional
        Restricted or ordinary deviance.

    Returns
    -------
    deviance : float
        -2 (restricted) log-likelihood, maximized over beta and sigma.
    gradient : ndarray
        Its derivative in theta.

    Raises
    ------
    NotImplementedError
        If the model has a residual structure.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
    >>> deviance, gradient = model.objective([1.0])
    >>> round(deviance, 4), gradient.shape
    (319.7924, (1,))
    """
    check_reml(reml)
    refuse_residual(model, "objective", "results.deviance is that of the estimates")
    theta = _check_theta(model, theta, "theta")
    objective = model._design.objective(reml)
    inner = model._design.inner_theta(theta)
    deviance = objective.value(inner)
    if not np.isfinite(deviance):  # rounding has made the factorization fail
        return float("inf"), np.full(len(inner), np.nan)
    deviance += model._design.deviance_shift(reml, objective.dof)
    if not len(inner):
        return float(deviance), inner
    scores = objective.derivatives(inner).scores
    return float(deviance), model._design.gradient(scores, theta)


def describe_blocks(model: Any) -> str:
    """The block structure that a fit works on, and its memory, as text."""
    return model._design.describe()
