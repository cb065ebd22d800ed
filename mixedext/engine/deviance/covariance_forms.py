"""Forms that derivatives of a deviance in covariances are made of, from the factor.

With relative covariances Sigma_i = sum_r gamma_r E_r, B_r = I kron E_r,
V0 = I + Z Sigma Z', N = Z'V0^-1 Z, T = Z'V0^-1 X and v = Z'V0^-1 (y - Xb) they are

    tr B_r N,    tr B_r N B_s N,    v'B_r v,    v'B_r N B_s v,    T'B_r v.

The log-likelihood (``given_covariances``) and the joint deviance (``joint_deviance``) have
sums of them as derivatives.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mixedext.engine.deviance.profiled import FactorDeviance
from mixedext.engine.information.expected import covariance_traces

__all__ = ["CovarianceForms"]


class CovarianceForms:
    """The forms at the covariances at which a blocked factor stands.

    Parameters
    ----------
    factored : FactorDeviance
        The factor; it must not move while forms are asked for.

    Attributes
    ----------
    basis : list of ndarray
        E_r of each term, (n_gamma, k, k).
    """

    def __init__(self, factored: FactorDeviance):
        self.factored, self.rank = factored, factored.rank
        self.basis = [s.covariance_basis for s in factored.structures]

    @cached_property
    def responses(self) -> list[np.ndarray]:
        """Z'V0^-1 [X y] of each term, (L, k, rank + 1)."""
        lead, tail = self.factored.factor.response.response
        return [self.factored.by_term(i, lead, tail) for i in range(len(self.basis))]

    def whitened(self) -> list[np.ndarray]:
        """T L_X^-T of each term, L_X L_X' = X'V0^-1 X, (L, k, rank)."""
        out = []
        for own in self.responses:
            flat = own[..., : self.rank].reshape(own.shape[0] * own.shape[1], self.rank)
            solved = self.factored.solve_fixed(flat.T).T
            out.append(solved.reshape(own.shape[0], own.shape[1], self.rank))
        return out

    def residuals(self, coefficients) -> list[np.ndarray]:
        """v of each term at coefficients b, (L, k)."""
        rank = self.rank
        return [own[..., rank] - own[..., :rank] @ coefficients for own in self.responses]

    def trace(self) -> np.ndarray:
        """tr B_r N, (n_gamma,)."""
        parts = []
        for i, e in enumerate(self.basis):
            number, columns = self.factored.place[i]
            score = self.factored.factor.curvature[number][columns, columns]
            parts.append(np.einsum("rab,ab->r", e, score))
        return np.concatenate(parts)

    def traces(self) -> np.ndarray:
        """tr B_r N B_s N, (n_gamma, n_gamma)."""
        return covariance_traces(self.factored)

    def squares(self, vectors) -> np.ndarray:
        """v'B_r v, (n_gamma,)."""
        pairs = zip(self.basis, vectors, strict=True)
        return np.concatenate([np.einsum("rab,ab->r", e, v.T @ v) for e, v in pairs])

    def mixed(self, vectors) -> np.ndarray:
        """T'B_r v, (n_gamma, rank)."""
        parts = []
        for e, v, own in zip(self.basis, vectors, self.responses, strict=True):
            turned = np.einsum("rab,lb->rla", e, v).reshape(len(e), -1)
            flat = own[..., : self.rank].reshape(turned.shape[1], self.rank)
            parts.append(turned @ flat)
        return np.vstack(parts)

    def curved(self, vectors) -> np.ndarray:
        """v'B_r N B_s v, (n_gamma, n_gamma)."""
        return self.factored.factor.project(*self.factored.by_gamma(vectors))
