"""The profiled deviance of a model with one grouping factor: no factor is stored.

All that the search needs are sums over levels (kernels.deviance.one_factor), or over the
fewer pseudo-levels that pooling leaves (levels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mixedext.engine.deviance.profiled import Derivatives, ProfiledDeviance
from mixedext.engine.factor.templates import covariance_bases, linear_bases, template
from mixedext.engine.rows.blocks import Blocks
from mixedext.engine.rows.levels import LevelSums, level_sums
from mixedext.engine.rows.within import Within
from mixedext.kernels.deviance.conditional import level_covariances, level_effects
from mixedext.kernels.deviance.one_factor import OneFactor
from mixedext.kernels.search.function import Function
from mixedext.kernels.search.python_function import PythonFunction
from mixedext.limits import DEVIANCE_NOISE, LOST_IN_X
from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.covariance.term_structure import TermStructure

__all__ = ["OneFactorDeviance", "one_factor_function"]

EPSILON = float(np.finfo(float).eps)


def one_factor_function(
    sums: LevelSums,
    within: Within,
    structures: Sequence[LinearStructure],
    reml: bool,
    dof: float,
) -> OneFactor:
    """The compiled deviance of levels and what varies within them."""
    split = sums.triangle is not None
    index, value = template(tuple(structures))
    return OneFactor(
        gram=sums.triangle if split else sums.gram,
        cross=sums.half if split else sums.cross,
        split=split,
        weight=sums.weight,
        within=within.products,
        shift=within.shift,
        square=within.square,
        index=index,
        value=value,
        n_theta=sum(s.n_theta for s in structures),
        reml=reml,
        dof=dof,
    )


class OneFactorDeviance(ProfiledDeviance):
    """Deviance of a model with one grouping factor, from sums over its levels.

    Parameters
    ----------
    blocks : Blocks
        Cross-products.
    structures : list of Structure
        One for each random term, in the model's order.
    reml : bool
        Restricted (True) or ordinary deviance.
    sums : LevelSums, optional
        Of these blocks, where they are known.
    """

    def __init__(
        self,
        blocks: Blocks,
        structures: Sequence[TermStructure],
        reml: bool,
        sums: LevelSums | None = None,
    ):
        super().__init__(blocks, structures, reml)
        self.sums = level_sums(blocks) if sums is None else sums
        self.theta: np.ndarray | None = None

    # one evaluation takes little time, and its derivatives not much more
    costly = False

    @property
    def function(self) -> Function:
        """The deviance for the compiled search."""
        return self._along_curves if self.is_curved else self.compiled

    @cached_property
    def _along_curves(self):
        return PythonFunction(self)

    @cached_property
    def compiled(self) -> OneFactor:
        """The compiled deviance, of the linear structures that hold all covariances."""
        within = self.blocks.within
        if within is None:
            raise ValueError("the model has not one grouping factor of few columns")
        if within.square:  # a difference: of what this function will add again
            within = replace(within, products=within.products.copy())
        function = one_factor_function(self.sums, within, self.ambient, self.reml, self.dof)
        if within.square:
            varies = within.products.diagonal() != 0
            whole = self.blocks.fixed_gram - function.between()
            within.products[:] = np.where(np.outer(varies, varies), whole, 0.0)
        return function

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        state.pop("_along_curves", None)
        state.pop("compiled", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.theta is not None:  # a compiled function is not stored: stand there again
            self.compiled.evaluate(self._ambient_theta(self.theta))

    @property
    def n_values(self) -> int:
        return self.compiled.n_values

    @property
    def n_derivatives(self) -> int:
        return self.compiled.n_derivatives

    def stand_at(self, theta: ArrayLike) -> None:
        """Take note of where a compiled search has left the function."""
        self.theta = np.asarray(theta, float)

    def value(self, theta: np.ndarray, floor: bool = False) -> float:
        self.stand_at(theta)
        return self.compiled.evaluate(self._ambient_theta(theta))

    def _ambient_theta(self, theta):
        """Theta of the compiled deviance."""
        if not self.is_curved:
            return theta
        return np.concatenate([s.ambient.theta(s.lam(own)) for s, own in self.parts(theta)])

    @property
    def noise(self) -> float:
        # sums of squares of residuals, which have rounding errors of the size of y
        whole = self.blocks.fixed_gram[-1, -1]
        rows = self.dof * EPSILON * math.sqrt(whole / max(self.residual_square, 1e-300))
        return max(self.compiled.noise, rows)

    @property
    def loses_y_in_x(self) -> bool:
        within, fixed = self.blocks.within, self.fixed[-1]
        if within is None or within.square:
            return False
        left = float(fixed[-1] ** 2)
        return left < LOST_IN_X * float(fixed @ fixed) and (
            self.compiled.noise > DEVIANCE_NOISE
        )

    @property
    def fixed(self) -> np.ndarray:
        """Cholesky factor of [X y]'V0^-1[X y] at the last theta."""
        return self.compiled.fixed

    def effects(self) -> tuple[np.ndarray, np.ndarray]:
        blocks = self.blocks
        out = np.empty(blocks.lead_gram.shape[:2])
        change = np.append(-self.coefficients(), 1.0)
        level_effects(blocks.lead_gram, blocks.lead_cross, self._lam(), change, out)
        return out, np.zeros(0)

    def conditional_covariance(self, number: int) -> np.ndarray:
        out = np.empty_like(self.blocks.lead_gram)
        level_covariances(self.blocks.lead_gram, self._lam(), out)
        return out

    def _lam(self):
        return np.ascontiguousarray(self._factor_lams(self.theta)[0])

    def _columns(self):
        return [self.place[i] for i in range(len(self.structures))]

    def derivatives(self, theta: np.ndarray) -> Derivatives:
        found = self.compiled.differentiate(self._ambient_theta(theta))
        gradient, hessian, score, pairs = found
        scores = [score[columns, columns] for _, columns in self._columns()]
        a, b = np.tril_indices(len(score))
        if self.is_curved:
            here = [s.at(own) for s, own in self.parts(theta)]
            basis = covariance_bases(here)[:, a, b]
            return self.along_curves(theta, scores, basis @ pairs @ basis.T)
        basis = linear_bases(tuple(self.structures))[:, a, b]
        return Derivatives(gradient, hessian, scores, basis @ pairs @ basis.T)
