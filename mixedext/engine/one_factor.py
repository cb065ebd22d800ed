"""The profiled deviance of a model with one grouping factor: no factor is stored.

All that the search needs are sums over levels (kernels.one_factor), or over the fewer
pseudo-levels that pooling leaves (levels).
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
from scipy import linalg

from mixedext.engine.factor import Factor
from mixedext.engine.kernels.one_factor import OneFactor
from mixedext.engine.levels import LevelSums, level_sums
from mixedext.engine.objective import Derivatives, ProfiledDeviance

__all__ = ["OneFactorDeviance", "template"]


@lru_cache(maxsize=256)
def template(structures: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Elements of the template of all terms side by side that are not zero.

    Returns
    -------
    index : ndarray
        (3, count): element of theta, row and column of lam.
    value : ndarray
        (count,)
    """
    index, value, member, column = [], [], 0, 0
    for s in structures:
        r, a, b = np.nonzero(s.lam_basis)
        index.append(np.stack([r + member, a + column, b + column]))
        value.append(s.lam_basis[r, a, b])
        member, column = member + s.n_theta, column + s.k
    return np.hstack(index).astype(np.intp), np.concatenate(value)


@lru_cache(maxsize=256)
def _pair_basis(structures: tuple) -> np.ndarray:
    """Each element of gamma by pairs of columns (a, b <= a) of all terms."""
    width = sum(s.k for s in structures)
    rows, column = [], 0
    lower = np.tril_indices(width)
    for s in structures:
        whole = np.zeros((s.n_gamma, width, width))
        at = slice(column, column + s.k)
        whole[:, at, at] = s.covariance_basis
        rows.append(whole[:, lower[0], lower[1]])
        column += s.k
    return np.concatenate(rows)


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

    def __init__(self, blocks, structures, reml: bool, sums: LevelSums | None = None):
        super().__init__(blocks, structures, reml)
        self.sums = level_sums(blocks) if sums is None else sums
        self.theta = None
        self._refined = None

    @cached_property
    def function(self) -> OneFactor:
        """The compiled deviance."""
        return OneFactor(
            self.sums.gram,
            self.sums.cross,
            self.sums.weight,
            self.blocks.fixed_gram,
            *template(tuple(self.structures)),
            self.n_theta,
            self.reml,
            self.dof,
        )

    def __getstate__(self):
        state = dict(vars(self))
        state.pop("function", None)
        return state

    def __setstate__(self, state):
        vars(self).update(state)
        refined, self._refined = self._refined, None
        if self.theta is not None:  # a compiled function is not stored: stand there again
            self.function.evaluate(self.theta)
        self._refined = refined

    @property
    def n_values(self):
        return self.function.n_values

    @property
    def n_derivatives(self):
        return self.function.n_derivatives

    def stand_at(self, theta):
        """Take note of where a compiled search has left the function."""
        self.theta, self._refined = np.asarray(theta, float), None
        vars(self).pop("factor", None)

    def value(self, theta, floor: bool = False) -> float:
        self.stand_at(theta)
        return self.function.evaluate(theta)

    def deviance(self) -> float:
        d = self.dof
        log_det = self.function.log_det
        deviance = log_det + d * (1 + np.log(2 * np.pi * self.residual_square / d))
        if self.reml:
            deviance += 2.0 * float(np.log(np.diag(self.fixed)[:-1]).sum())
        return float(deviance)

    @property
    def noise(self) -> float:
        return self.function.noise

    @cached_property
    def factor(self) -> Factor:
        """The factor at the last theta, for what is asked for once."""
        factor = Factor(self.blocks)
        factor.update(self._factor_lams(self.theta))
        return factor

    @property
    def fixed(self) -> np.ndarray:
        """Cholesky factor of [X y]'V0^-1[X y] at the last theta."""
        return self.function.fixed if self._refined is None else self._refined

    def set_fixed(self, fixed) -> bool:
        try:
            self._refined = linalg.cholesky(fixed, lower=True)
        except linalg.LinAlgError:
            return False
        return True

    def derivatives(self, theta) -> Derivatives:
        gradient, hessian, score, pairs = self.function.differentiate(theta)
        scores = [
            score[columns, columns] for columns in (self.place[i][1] for i in self.place)
        ]
        basis = _pair_basis(tuple(self.structures))
        return Derivatives(gradient, hessian, scores, basis @ pairs @ basis.T)
