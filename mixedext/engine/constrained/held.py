"""A Fit of which coefficients or covariances were held or penalized."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from mixedext.engine.deviance.given_covariances import Likelihood, relative_root
from mixedext.engine.fit import Fit, Held, evaluate_design
from mixedext.engine.information.variance_covariance import VarianceCovariance
from mixedext.engine.search.verdict import Convergence

__all__ = ["held_fit"]


def held_fit(
    likelihood: Likelihood,
    covariances: list[np.ndarray],
    coefficients: np.ndarray,
    deviance: float,
    fixed_covariance: np.ndarray,
    variances: VarianceCovariance,
    observed: np.ndarray,
    least_squares: bool,
    convergence: Convergence | None = None,
    own_covariances: tuple[np.ndarray, ...] | None = None,
) -> Fit:
    """The Fit at given covariances (relative) and coefficients, data's units.

    Parameters
    ----------
    likelihood : Likelihood
        Of the model and the criterion.
    covariances : list of ndarray
        Covariance of each term, divided by scale.
    coefficients : ndarray
        Of the columns kept.
    deviance : float
        -2 times the (penalized) log-likelihood.
    fixed_covariance, variances, observed, least_squares, own_covariances
        As ``Held`` has them.
    convergence : Convergence, optional
        Verdict; that of the point as such if None.
    """
    design = likelihood.design
    point = likelihood.at(covariances)
    fit = evaluate_design(design, likelihood.reml, design.outer_theta(point.theta))
    optimum = fit.optimum
    if convergence is not None:
        optimum = replace(optimum, convergence=convergence)
    # not by way of the engine's units: what is held stays to the last digit
    # of covariances at which the likelihood stands, so that there are roots
    lams = tuple(
        cast(np.ndarray, relative_root(t.structure, c))
        for t, c in zip(design.terms, covariances, strict=True)
    )
    at = likelihood.at([lam @ lam.T for lam in lams])
    coefficients = np.asarray(coefficients, float)
    effects = tuple(
        effect @ transform.T / design.y_scale
        for effect, transform in zip(
            at.effects(coefficients), design.transforms, strict=True
        )
    )
    return replace(
        fit,
        deviance=deviance,
        scale=point.scale(coefficients),
        coefficients=coefficients,
        lams=lams,
        optimum=optimum,
        convergence=optimum.convergence,
        held=Held(
            fixed_covariance, variances, observed, least_squares, effects, own_covariances
        ),
    )
