"""A Fit whose coefficients are not the generalized least-squares estimates."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from mixedext.algebra.roots import nearest_root
from mixedext.engine.deviance.likelihood import Likelihood, relative_root
from mixedext.engine.fit import Fit, evaluate_design
from mixedext.engine.information.observed import VarianceCovariance
from mixedext.engine.search.optimize import Convergence

__all__ = ["HeldFit", "held_fit"]


@dataclass(frozen=True, eq=False)
class HeldFit(Fit):
    """Fit at coefficients and covariances that were penalized or partly held.

    Attributes
    ----------
    given_covariance : ndarray
        Covariance of the coefficients.
    variances : VarianceCovariance
        Covariance of the variance parameters.
    observed : ndarray
        Inverse curvature in coefficients and variance parameters together.
    least_squares : bool
        Whether the coefficients are, given the covariances, free and not penalized.
    given_covariances : tuple of ndarray, optional
        Covariance matrices of the terms, where they are not scale times lam lam'.
    """

    given_covariance: np.ndarray
    variances: VarianceCovariance
    observed: np.ndarray
    least_squares: bool
    given_covariances: tuple[np.ndarray, ...] | None = None

    @property
    def held(self):
        return self

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the coefficients."""
        return self.given_covariance

    @cached_property
    def root(self) -> np.ndarray:
        """A root of the covariance of the coefficients, but for sigma^2."""
        # coefficients that are held have no variance, those that a penalty has made zero
        # none that is known
        return nearest_root(np.nan_to_num(self.given_covariance / self.scale))

    @property
    def covariances(self) -> list[np.ndarray]:
        """Covariance matrix of each term."""
        if self.given_covariances is not None:
            return list(self.given_covariances)
        return [self.scale * lam @ lam.T for lam in self.lams]

    @cached_property
    def _inner_effects(self) -> list[np.ndarray]:
        point = Likelihood(self.design, self.reml).at([m @ m.T for m in self.lams])
        return [
            effect @ transform.T / self.design.y_scale
            for effect, transform in zip(
                point.effects(self.coefficients), self.design.transforms, strict=True
            )
        ]


def held_fit(
    likelihood: Likelihood,
    covariances: list[np.ndarray],
    coefficients: np.ndarray,
    deviance: float,
    given_covariance: np.ndarray,
    variances: VarianceCovariance,
    observed: np.ndarray,
    least_squares: bool,
    convergence: Convergence | None = None,
    given_covariances: tuple[np.ndarray, ...] | None = None,
) -> HeldFit:
    """The Fit at given covariances (relative) and coefficients, data's units."""
    design = likelihood.design
    point = likelihood.at(covariances)
    theta = design.outer_theta(point.theta)
    fit = evaluate_design(design, likelihood.reml, theta)
    optimum = fit.optimum
    if convergence is not None:
        optimum = replace(optimum, convergence=convergence)
    values = {f.name: getattr(fit, f.name) for f in fields(fit)}
    values |= {
        "deviance": deviance,
        "scale": point.scale(coefficients),
        "coefficients": np.asarray(coefficients, float),
        # not by way of the engine's units: what is held stays to the last digit
        "lams": tuple(
            relative_root(t.structure, c)
            for t, c in zip(design.terms, covariances, strict=True)
        ),
        "optimum": optimum,
        "convergence": optimum.convergence,
    }
    return HeldFit(
        **values,
        given_covariance=given_covariance,
        variances=variances,
        observed=observed,
        least_squares=least_squares,
        given_covariances=given_covariances,
    )
