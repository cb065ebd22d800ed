"""The estimates of a generalized model, as the questions of ``inference`` read a fit.

Topic functions read ``Fitted.fit``: coefficients and their covariance, factors and
covariances of the random effects, their modes, verdict and criterion.  Here they have them
of a fit of ``engine.generalized``.  Of (covariance elements, coefficients, kappa) the
parameters that users see are

    params = (coefficients, elements of the covariances, dispersion(kappa)),

and their covariance is J C J', J = diag(I, I, d dispersion / d kappa) (delta method).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import linalg

from mixedext.engine.generalized.fit import GeneralizedFit
from mixedext.engine.rows.design import Design
from mixedext.engine.search.verdict import Convergence
from mixedext.exceptions import InformationWarning, user_stacklevel
from mixedext.specification.terms.packing import ParameterLayout

__all__ = ["COVARIANCE_TYPES", "Estimates"]

COVARIANCE_TYPES = ("nonrobust", "conditional", "CR0", "CR1")
# What of the engine's fit rests on the rows, and is asked for where there are none.
_WITHOUT_ROWS = ("covariance", "inner_covariance", "determined", "is_definite", "modes")
_NO_ERRORS = (
    "the observed information is not positive definite at the estimates: there are no "
    "standard errors (NaN). cov_type='conditional' gives those of the fixed effects as if "
    "the covariances were known; simplify the random effects if that is not meant"
)


@dataclass(frozen=True, eq=False)
class Estimates:
    """What a fit of a generalized model has estimated, in the units of the data.

    Attributes
    ----------
    engine : GeneralizedFit
        The engine's fit.
    family : Family
        Law of the response and link.
    layout : ParameterLayout
        Names and places of the elements of the covariances.
    n_columns : int
        Columns of the fixed effects, those that were dropped among them.
    cov_type : {"nonrobust", "conditional", "CR0", "CR1"}
        Which covariance the parameters have: of the observed information, that of the
        coefficients given the others, or robust by clusters, which the engine's fit has.
    plain : Estimates or None
        Beside a robust covariance the same estimates by the observed information.
    """

    engine: GeneralizedFit
    family: Any
    layout: ParameterLayout
    n_columns: int
    cov_type: str = "nonrobust"
    plain: Estimates | None = None

    # what linear models may have besides
    held = None
    residual = None
    reml = False

    def with_covariance(
        self, cov_type: str, engine: GeneralizedFit | None = None
    ) -> Estimates:
        """The same estimates with another covariance of the parameters.

        Parameters
        ----------
        cov_type : {"nonrobust", "conditional", "CR0", "CR1"}
            Which.
        engine : GeneralizedFit, optional
            The fit with a robust covariance.
        """
        plain = self if self.plain is None else self.plain
        skip = {"covariance", "root", *self.__dataclass_fields__}
        if engine is None:
            other = replace(plain, cov_type=cov_type)
        else:
            other = replace(plain, cov_type=cov_type, engine=engine, plain=plain)
            skip |= {"joint_covariance", "_mode_covariances"}
            # tests are made in coordinates of the model's own covariance
            vars(other)["root"] = plain.root
        vars(other).update({k: v for k, v in vars(plain).items() if k not in skip})
        return other

    @property
    def generalized(self) -> Estimates:
        """These estimates: what tells them from those of a linear model."""
        return self

    # ---- the fit ----

    @property
    def design(self) -> Design:
        """Blocks, terms and the basis of X."""
        return self.engine.design.units

    @property
    def coefficients(self) -> np.ndarray:
        """Coefficients of the columns kept, (rank,)."""
        return self.engine.coefficients

    @property
    def theta(self) -> np.ndarray:
        """Factors of the covariances: lower triangles by columns."""
        return self.engine.theta

    @property
    def kappa(self) -> np.ndarray:
        """Logarithms of dispersions that were estimated."""
        return self.engine.kappa

    @property
    def lams(self) -> tuple[np.ndarray, ...]:
        """Factor of the covariance of each term."""
        return self.engine.lams

    @property
    def covariances(self) -> list[np.ndarray]:
        """Covariance matrix of the effects of each term."""
        return self.engine.covariances

    @property
    def convergence(self) -> Convergence:
        """Verdict."""
        return self.engine.convergence

    @property
    def is_singular(self) -> bool:
        """Whether some variance is zero or some correlation +-1."""
        return self.engine.convergence.is_singular

    @property
    def deviance(self) -> float:
        """-2 log-likelihood with all constants."""
        return self.engine.deviance

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood with all constants."""
        return -0.5 * self.engine.deviance

    @property
    def n_dispersions(self) -> int:
        """Dispersions that were estimated."""
        return len(self.kappa)

    # ---- dispersion ----

    @property
    def scale(self) -> float:
        """phi; 1 for binomial, Poisson, negative binomial and beta responses."""
        return float(self.family.scale(self.kappa))

    @property
    def has_residual(self) -> bool:
        """Whether ``scale`` is the variance of a residual: of a Gaussian response."""
        return self.family.name == "gaussian"

    @property
    def dispersion(self) -> float:
        """The dispersion on its natural scale; 1 where the law has none."""
        return float(self.family.dispersion(self.kappa))

    @property
    def dispersion_slope(self) -> np.ndarray:
        """d dispersion / d kappa, (n_dispersions,)."""
        if not len(self.kappa):
            return np.zeros(0)
        return np.atleast_1d(self.family.dispersion_slope(self.kappa)).astype(float)

    # ---- covariance of the estimates ----

    @cached_property
    def joint_covariance(self) -> np.ndarray:
        """Covariance of (coefficients kept, covariance elements packed, dispersion).

        NaN where the information is not positive definite, which is said once, when it is
        first asked for: the information takes as long as the search.
        """
        engine = self.engine
        flat = self.convergence.is_flat or bool(engine.separation)
        if self.convergence.converged and not flat and not engine.is_definite:
            warnings.warn(_NO_ERRORS, InformationWarning, stacklevel=user_stacklevel())
        rank, n_dispersions = len(self.coefficients), len(self.kappa)
        order = self.layout.packed_gamma
        own = engine.covariance
        fixed = len(order) + np.arange(rank)
        last = len(order) + rank + np.arange(n_dispersions)
        at = np.concatenate([fixed, order, last]).astype(np.intp)
        slopes = np.concatenate([np.ones(rank + len(order)), self.dispersion_slope])
        return slopes[:, None] * own[np.ix_(at, at)] * slopes

    @cached_property
    def conditional_covariance(self) -> np.ndarray:
        """(X'V^-1 X)^-1 of the columns kept, at the covariances as if known."""
        return self.engine.conditional_covariance

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance of the coefficients kept by ``cov_type``, (rank, rank)."""
        if self.cov_type == "conditional":
            return self.conditional_covariance
        rank = len(self.coefficients)
        return self.joint_covariance[:rank, :rank]

    @cached_property
    def root(self) -> np.ndarray:
        """R of covariance = scale R R', (rank, rank); NaN where there is none.

        Beside a robust covariance that of the model's own.
        """
        covariance = self.covariance / self.scale
        size = np.sqrt(np.diag(covariance))
        if not np.isfinite(covariance).all() or not (size > 0).all():
            return np.full_like(covariance, np.nan)
        try:
            unit = linalg.cholesky(covariance / np.outer(size, size), lower=True)
        except linalg.LinAlgError:
            return np.full_like(covariance, np.nan)
        return size[:, None] * unit

    @property
    def has_errors(self) -> bool:
        """Whether there are standard errors: the information is positive definite."""
        return bool(np.isfinite(np.diag(self.joint_covariance)).all())

    @property
    def dispersion_se(self) -> float:
        """Standard error of the dispersion; NaN where none was estimated."""
        if not len(self.kappa):
            return np.nan
        with np.errstate(invalid="ignore"):
            return float(np.sqrt(self.joint_covariance[-1, -1]))

    @cached_property
    def packed_params(self) -> np.ndarray:
        """``params``: fixed effects, covariance elements, dispersion; NaN where dropped."""
        fixed = np.full(self.n_columns, np.nan)
        fixed[np.asarray(self.design.basis.kept, np.intp)] = self.coefficients
        packed = self.layout.pack(self.design.terms, self.covariances)
        own = [self.dispersion] * len(self.kappa)
        return np.concatenate([fixed, packed, own])

    @property
    def packed_covariance(self) -> np.ndarray:
        """Covariance of ``packed_params``; NaN for columns that were dropped."""
        joint, rank = self.joint_covariance, len(self.coefficients)
        if self.cov_type == "conditional":  # given the others, of which nothing is said
            joint = linalg.block_diag(self.covariance, joint[rank:, rank:])
        count = len(self.packed_params)
        kept = np.asarray(self.design.basis.kept, np.intp)
        to = np.append(kept, np.arange(self.n_columns, count))
        out = np.full((count, count), np.nan)
        out[np.ix_(to, to)] = joint
        return out

    # ---- random effects ----

    @cached_property
    def effects(self) -> list[np.ndarray]:
        """Conditional modes of the effects of each term, (L, k)."""
        return self.engine.modes

    @cached_property
    def _mode_covariances(self) -> dict[tuple[int, bool], np.ndarray]:
        return {}

    def mode_covariance(self, term: int, joint: bool = False) -> np.ndarray:
        """Covariances of the effects of a term given y, (L, k, k); computed once."""
        made = self._mode_covariances
        if (term, joint) not in made:
            made[term, joint] = self.engine.mode_covariances(term, joint)
        return made[term, joint]

    def joint_effect_covariance(self, terms: list[int], joint: bool = False) -> np.ndarray:
        """Conditional covariance of the effects of terms that share a grouping factor.

        Parameters
        ----------
        terms : list of int
            Numbers of the terms.
        joint : bool
            Whether the uncertainty of the parameters counts, too.
        """
        if len(terms) == 1:
            return self.mode_covariance(terms[0], joint)
        key = (*terms, joint)
        made: dict[Any, np.ndarray] = self._mode_covariances
        if key not in made:
            made[key] = self._several(terms, joint)
        return made[key]

    def _several(self, terms, joint):
        engine, units = self.engine, self.design
        numbers = {engine.design.place[i][0] for i in terms}
        if len(numbers) > 1 or any(i in units.scalar_terms for i in terms):
            raise NotImplementedError(
                "errors of modes are not there together for several terms of one grouping "
                "factor whose levels are spread out; write them as one term"
            )
        pick = np.concatenate([np.r_[engine.design.place[i][1]] for i in terms])
        inverse = linalg.block_diag(*[units.inverse_transforms[i] for i in terms])
        block = engine.at_modes.stand().conditional_covariance(numbers.pop())
        block = inverse @ block[:, pick[:, None], pick] @ inverse.T
        if joint:
            moves = np.concatenate([engine.mode_derivatives[i] for i in terms], axis=1)
            at = engine.determined
            moves, spread = moves[:, :, at], engine.inner_covariance[np.ix_(at, at)]
            block = block + np.einsum("laj,jk,lbk->lab", moves, spread, moves)
        return block

    # ---- rows ----

    @cached_property
    def eta(self) -> np.ndarray:
        """Linear predictor with the conditional modes, (n,)."""
        return self.engine.eta

    @cached_property
    def variance_eta(self) -> np.ndarray:
        """Variance of the linear predictor given y and the parameters, (n,)."""
        return self.engine.variance_eta

    # ---- without rows ----

    def without_rows(self) -> Estimates:
        """The same estimates and what was computed of them, without the rows."""
        if self.engine.evaluation is None:
            return self
        _ = self.joint_covariance, self.conditional_covariance, self.effects
        for group in dict.fromkeys(t.group for t in self.design.terms):
            own = [i for i, t in enumerate(self.design.terms) if t.group == group]
            for joint in (False, True):
                for i in own:
                    self.mode_covariance(i, joint)
                if len(own) > 1:
                    try:
                        self.joint_effect_covariance(own, joint)
                    except NotImplementedError:
                        continue
        units: Any = SimpleNamespace(units=self.design)
        engine = replace(
            self.engine,
            design=units,
            rows=None,
            objective=None,
            evaluation=None,
        )
        for name in _WITHOUT_ROWS:
            vars(engine)[name] = getattr(self.engine, name)
        plain = None if self.plain is None else self.plain.without_rows()
        other = replace(self, engine=engine, plain=plain)
        skip = {"eta", "variance_eta", *self.__dataclass_fields__}
        vars(other).update({k: v for k, v in vars(self).items() if k not in skip})
        return other

    def __getstate__(self) -> dict[str, Any]:
        kept = self.without_rows()
        state = dict(vars(kept))
        state |= {k: v for k, v in vars(self).items() if k in ("eta", "variance_eta")}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
