"""From y, X and random terms to a frozen Fit: scale, sum, minimize, undo the scales."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import linalg

from mixedext.engine.basis import (
    FixedBasis,
    orthonormal_basis,
    project_out,
    standardized_columns,
)
from mixedext.engine.blocks import Blocks, build_blocks
from mixedext.engine.levels import level_sums
from mixedext.engine.moments import moment_covariances
from mixedext.engine.objective import FactorDeviance, ProfiledDeviance
from mixedext.engine.one_factor import OneFactorDeviance
from mixedext.engine.optimize import Convergence, Optimum, evaluate, minimize_deviance
from mixedext.exceptions import DesignError
from mixedext.specification.terms import RandomTerm

__all__ = [
    "Design",
    "Fit",
    "evaluate_design",
    "fit_at",
    "fit_design",
    "other_starts",
    "prepare_design",
]

# Residual of y on X below this share of y: nothing is left to estimate a variance from.
NO_RESIDUAL = 1e-12
# Relative variances that start a fit are kept within these (columns of Z have rms 1): a
# start at zero would be a saddle.
START_FLOOR, START_CEILING = 1e-2, 1e8
# Scale of one more start, with variances well above sigma^2: for terms with correlations,
# and for terms without.
LARGE_START, LARGE_START_UNCORRELATED = 5.0, 30.0


@dataclass(frozen=True, eq=False)
class Design:
    """A model in the engine's units; built once, fitted by ML or REML.

    Attributes
    ----------
    blocks : Blocks
        Cross-products.
    terms : tuple of RandomTerm
        The random terms, in the model's order, without their rows.
    basis : FixedBasis
        Orthonormal basis of the (weighted) fixed-effects columns.
    least_squares : ndarray
        Coefficients of y on the basis.
    y_scale : float
        Root mean square of the residual of y on X, by which y was divided.
    transforms : tuple of ndarray
        For each term T (k, k), upper triangular: its columns are the engine's times T, so
        that Sigma in the engine's units is T Sigma T'.
    log_weights : float
        Sum of the logarithms of the weights.
    """

    blocks: Blocks
    terms: tuple[RandomTerm, ...]
    basis: FixedBasis
    least_squares: np.ndarray
    y_scale: float
    transforms: tuple[np.ndarray, ...]
    log_weights: float

    @property
    def structures(self):
        return [t.structure for t in self.terms]

    def objective(self, reml: bool) -> ProfiledDeviance:
        """The profiled deviance in the engine's units."""
        if len(self.blocks.factors) == 1:
            return OneFactorDeviance(self.blocks, self.structures, reml, self.level_sums)
        return FactorDeviance(self.blocks, self.structures, reml)

    @cached_property
    def level_sums(self):
        """Levels of the only grouping factor, pooled where they have the same gram."""
        return level_sums(self.blocks)

    def deviance_shift(self, reml: bool, dof: int) -> float:
        """What the deviance in the data's units has over the engine's."""
        shift = 2.0 * dof * np.log(self.y_scale) - self.log_weights
        return shift + 2.0 * self.basis.log_det if reml else shift

    def lams(self, theta) -> list[np.ndarray]:
        """Relative covariance factor of every term from theta, in either units."""
        out, start = [], 0
        for s in self.structures:
            out.append(s.lam(theta[start : start + s.n_theta]))
            start += s.n_theta
        return out

    def inner_theta(self, theta) -> np.ndarray:
        """Theta in the engine's units from theta in the data's."""
        return self._moved(theta, self.transforms)

    def outer_theta(self, theta) -> np.ndarray:
        """Theta in the data's units from theta in the engine's."""
        return self._moved(theta, self.inverse_transforms)

    @cached_property
    def inverse_transforms(self) -> tuple[np.ndarray, ...]:
        """T^-1 of every term."""
        return tuple(np.linalg.inv(t) for t in self.transforms)

    def _moved(self, theta, transforms):
        lams = self.lams(np.asarray(theta, float))
        parts = [
            s.theta(s.triangular(t @ lam))
            for s, t, lam in zip(self.structures, transforms, lams, strict=True)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def gradient(self, scores, theta) -> np.ndarray:
        """Derivative of the deviance in theta, data's units, from the engine's scores."""
        parts = [
            2 * np.einsum("rab,ab->r", s.lam_basis, t.T @ score @ t @ lam)
            for s, t, score, lam in zip(
                self.structures, self.transforms, scores, self.lams(theta), strict=True
            )
        ]
        return np.concatenate(parts) if parts else np.zeros(0)


def prepare_design(
    y: np.ndarray,
    x: np.ndarray,
    terms: list[RandomTerm],
    weights: np.ndarray | None = None,
    storage: str | None = None,
) -> Design:
    """Sum the cross-products of a model.

    Parameters
    ----------
    y : ndarray
        Response less offset, (n,), finite.
    x : ndarray
        Fixed-effects columns, (n, k), finite; dependent columns are dropped.
    terms : list of RandomTerm
        Random terms; may be empty.
    weights : ndarray, optional
        Precision weights, positive.
    storage : {"dense", "sparse"}, optional
        Storage of the tail; chosen by estimated cost if None.

    Raises
    ------
    DesignError
        If X explains y exactly, or leaves no row for the variances.
    """
    root = None if weights is None else np.sqrt(weights)
    columns, transforms = [], []
    for term in terms:
        z = term.z if root is None else term.z * root[:, None]
        own, transform = standardized_columns(term.structure, z)
        columns.append(own)
        transforms.append(transform)
    if root is not None:
        x, y = x * root[:, None], y * root
    basis = orthonormal_basis(x)
    residual, least_squares = project_out(basis.q, y)
    size = float(np.sqrt(np.mean(y**2)))
    y_scale = float(np.sqrt(np.mean(residual**2)))
    if len(y) <= basis.rank:
        raise DesignError(
            f"{basis.rank} fixed-effects columns for {len(y)} observations leave no "
            "degrees of freedom for the variances; use fewer columns"
        )
    if not y_scale > NO_RESIDUAL * size:
        constant = root is None and np.ptp(y) == 0
        what = "is constant" if constant else "is explained exactly by X"
        raise DesignError(f"the response (endog) {what}: no variance is left to estimate")
    fixed = np.empty((len(y), basis.rank + 1))
    fixed[:, :-1] = basis.q
    fixed[:, -1] = residual / y_scale
    blocks = build_blocks(terms, columns, fixed, storage)
    # A factor of the rows is needed no longer: only R and the kept columns are.
    small = FixedBasis(basis.q[:0], basis.r, basis.kept)
    return Design(
        blocks,
        tuple(t.without_rows() for t in terms),
        small,
        least_squares,
        y_scale,
        tuple(transforms),
        0.0 if weights is None else float(np.log(weights).sum()),
    )


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model in the units of the data.

    Attributes
    ----------
    reml : bool
        Restricted or ordinary maximum likelihood.
    deviance : float
        -2 (restricted) log-likelihood with all constants.
    theta : ndarray
        Relative covariance factors of all terms, in the model's order.
    scale : float
        Residual variance sigma^2.
    coefficients : ndarray
        Generalized least-squares coefficients of the columns kept.
    lams : tuple of ndarray
        Relative covariance factor of each term.
    convergence : Convergence
        Verdict.
    optimum : Optimum
        Optimum in the engine's units.
    design : Design
        The model.
    objective : ProfiledDeviance
        It stands at the optimum.
    """

    reml: bool
    deviance: float
    theta: np.ndarray
    scale: float
    coefficients: np.ndarray
    lams: tuple[np.ndarray, ...]
    convergence: Convergence
    optimum: Optimum
    design: Design
    objective: ProfiledDeviance

    @property
    def log_likelihood(self) -> float:
        return -0.5 * self.deviance

    @property
    def covariances(self) -> list[np.ndarray]:
        """Covariance matrix Sigma_i = sigma^2 lam lam' of each term."""
        return [self.scale * lam @ lam.T for lam in self.lams]

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance sigma^2 (X'V0^-1 X)^-1 of the coefficients."""
        basis = self.design.basis
        # R'^-1 L_X^-T: its square is (X'V0^-1 X)^-1
        inverse = self.objective.solve_fixed(np.eye(basis.rank)).T
        root = basis.coefficients(inverse)
        return self.scale * root @ root.T

    @cached_property
    def _inner_effects(self) -> list[np.ndarray]:
        """Coefficients of the random effects, engine's units, (L, k) a term."""
        rank, on_basis = self.design.basis.rank, self.objective.coefficients()
        lead, tail = (
            part[..., rank] - part[..., :rank] @ on_basis
            for part in self.objective.factor.response.effect
        )
        return [
            self.objective.by_term(i, lead[..., None], tail[..., None])[..., 0]
            for i in range(len(self.lams))
        ]

    @cached_property
    def effects(self) -> tuple[np.ndarray, ...]:
        """Conditional modes of each term, (L, k)."""
        y_scale = self.design.y_scale
        return tuple(
            y_scale * effect @ inverse.T
            for effect, inverse in zip(
                self._inner_effects, self.design.inverse_transforms, strict=True
            )
        )

    @cached_property
    def penalty(self) -> float:
        """u'u, the part of the penalized residual sum of squares that no row has."""
        lams = self.design.lams(self.optimum.theta)
        total = 0.0
        for lam, effect in zip(lams, self._inner_effects, strict=True):
            u = np.linalg.lstsq(lam, effect.T, rcond=1e-10)[0]
            total += float((u**2).sum())
        return total * self.design.y_scale**2

    @property
    def is_singular(self) -> bool:
        """Whether some variance is zero or some correlation +-1."""
        return self.optimum.is_singular

    @property
    def log(self) -> pd.DataFrame:
        """One row an evaluation, in the units of the data."""
        log = self.optimum.log.copy()
        shift = self.design.deviance_shift(self.reml, self.objective.dof)
        log["deviance"] += shift
        log["theta"] = [self.design.outer_theta(t) for t in log["theta"]]
        return log

    @cached_property
    def _factor_covariances(self):
        factor = self.objective.factor
        count = len(self.design.blocks.factors)
        return [factor.conditional_covariance(number) for number in range(count)]

    def joint_effect_covariance(self, terms: list[int]) -> np.ndarray:
        """Conditional covariance of the effects of terms that share a grouping factor.

        Given theta, beta and sigma: sigma^2 [Lam C Lam']_ll, (L, columns, columns).
        """
        numbers, columns = zip(
            *(
                (self.objective.place[i][0], np.r_[self.objective.place[i][1]])
                for i in terms
            ),
            strict=True,
        )
        if len(set(numbers)) > 1:
            raise ValueError("the terms do not share a grouping factor")
        pick = np.concatenate(columns)
        inverse = linalg.block_diag(*[self.design.inverse_transforms[i] for i in terms])
        block = self._factor_covariances[numbers[0]][:, pick[:, None], pick]
        return self.scale * inverse @ block @ inverse.T


def fit_design(
    design: Design, reml: bool, start: np.ndarray | None = None, max_iterations=None
) -> Fit:
    """Fit by maximum (restricted) likelihood.

    Parameters
    ----------
    design : Design
        From ``prepare_design``.
    reml : bool
        Restricted (True) or ordinary likelihood.
    start : ndarray, optional
        Starting theta in the units of the data; moment estimates, or lam = I, if None.
    max_iterations : int, optional
        Newton iterations from that one start, with no fallback and no second start.

    Returns
    -------
    Fit
    """
    objective = design.objective(reml)
    alone = start is not None or max_iterations is not None
    others, thorough = ((), False) if alone else other_starts(design)
    start = _inner_start(design, start)
    optimum = minimize_deviance(objective, start, others, thorough, max_iterations)
    return fit_at(design, objective, optimum, reml)


def evaluate_design(design: Design, reml: bool, theta: np.ndarray | None = None) -> Fit:
    """The model at a given theta (that of the start if None), not optimized."""
    objective = design.objective(reml)
    return fit_at(design, objective, evaluate(objective, _inner_start(design, theta)), reml)


def other_starts(design):
    """More starts for models that may have several minima, and whether always to try them.

    Without correlations the deviance depends on where the zero of a covariate lies, and
    has several minima more often.
    """
    wide = [s for s in design.structures if s.k > 1]
    uncorrelated = any(not s.correlated for s in wide)
    if len(wide) < 2 and all(s.k == 2 and s.correlated for s in wide):
        return (), False
    identity = np.concatenate([s.start() for s in design.structures])
    large = LARGE_START_UNCORRELATED if uncorrelated else LARGE_START
    return (identity, large * identity), uncorrelated


def _inner_start(design, start):
    """Theta in the engine's units: as given, from moments, or lam = I."""
    if start is not None:
        return design.inner_theta(start)
    if not design.terms:
        return np.zeros(0)
    sums = design.level_sums if len(design.blocks.factors) == 1 else None
    covariances = moment_covariances(design.blocks, design.structures, sums)
    if covariances is None:
        return np.concatenate([s.start() for s in design.structures])
    parts = []
    for s, covariance in zip(design.structures, covariances, strict=True):
        value, vector = np.linalg.eigh(covariance)
        value = value.clip(max(START_FLOOR, START_FLOOR * value[-1]), START_CEILING)
        # of the structure and positive definite: its Cholesky factor fits the template
        parts.append(s.theta(np.linalg.cholesky((vector * value) @ vector.T)))
    return np.concatenate(parts)


def fit_at(design: Design, objective, optimum: Optimum, reml: bool) -> Fit:
    """Fit in the data's units from an optimum at which the objective stands."""
    y_scale = design.y_scale
    scale = objective.residual_square / objective.dof * y_scale**2
    on_basis = design.least_squares + y_scale * objective.coefficients()
    theta = design.outer_theta(optimum.theta)
    return Fit(
        reml=reml,
        deviance=float(optimum.deviance + design.deviance_shift(reml, objective.dof)),
        theta=theta,
        scale=float(scale),
        coefficients=design.basis.coefficients(on_basis),
        lams=tuple(design.lams(theta)),
        convergence=optimum.convergence,
        optimum=optimum,
        design=design,
        objective=objective,
    )
