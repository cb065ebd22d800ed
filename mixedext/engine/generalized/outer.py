"""The deviance of a generalized model by parameters in the units of the data."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

__all__ = ["OuterDeviance", "inner_psi", "outer_psi", "theta_jacobian"]

STEP = 1e-5


def inner_psi(deviance: Any, psi: np.ndarray) -> np.ndarray:
    """Psi in the engine's units from (theta, coefficients kept, kappa) in the data's."""
    units = deviance.design.units
    theta, beta, kappa = deviance.split(np.asarray(psi, float))
    return np.concatenate([units.inner_theta(theta), units.basis.r @ beta, kappa])


def outer_psi(deviance: Any, psi: np.ndarray) -> np.ndarray:
    """The reverse of ``inner_psi``."""
    units = deviance.design.units
    theta, beta, kappa = deviance.split(np.asarray(psi, float))
    outer = units.outer_theta(theta)
    return np.concatenate([outer, units.basis.coefficients(beta), kappa])


def theta_jacobian(design: Any, theta: np.ndarray) -> np.ndarray:
    """d inner theta / d outer theta' at outer theta, (n_theta, n_theta).

    By differences of fourth order of a smooth map, exact where it is linear (terms of
    one column).
    """
    n = len(theta)
    out = np.zeros((n, n))
    size = max(float(np.abs(theta).max(initial=0.0)), 1e-3)
    step = STEP ** (1 / 2) * size
    for j in range(n):
        move = np.zeros(n)
        move[j] = step
        near = design.inner_theta(theta + move) - design.inner_theta(theta - move)
        far = design.inner_theta(theta + 2 * move) - design.inner_theta(theta - 2 * move)
        out[:, j] = (8.0 * near - far) / (12.0 * step)
    return out


class OuterDeviance:
    """A deviance as a function of psi in the data's units; what searches ask for.

    Parameters
    ----------
    deviance : LaplaceDeviance or another with ``evaluate``
        In the engine's units.
    """

    def __init__(self, deviance: Any):
        self.deviance = deviance
        self.n_psi = deviance.n_psi

    def evaluate(self, psi: np.ndarray, modes: np.ndarray | None = None) -> Any:
        """The deviance at psi, its gradient and the model of its Hessian there."""
        return _OuterEvaluation(self.deviance, np.array(psi, float), modes)


class _OuterEvaluation:
    def __init__(self, deviance, psi, modes):
        self.deviance, self.psi = deviance, psi
        self.inner = deviance.evaluate(inner_psi(deviance, psi), modes)
        self.value, self.reason = self.inner.value, self.inner.reason
        self.iterations = self.inner.iterations
        self._jacobian = None

    @property
    def modes(self):
        return self.inner.modes

    @property
    def jacobian(self):
        if self._jacobian is None:
            deviance = self.deviance
            theta, _, kappa = deviance.split(self.psi)
            units = deviance.design.units
            self._jacobian = linalg.block_diag(
                theta_jacobian(units, theta), units.basis.r, np.eye(len(kappa))
            )
        return self._jacobian

    @property
    def gradient(self):
        return self.jacobian.T @ self.inner.gradient

    @property
    def hessian(self):
        return self.jacobian.T @ self.inner.hessian @ self.jacobian

    def predicted(self, step):
        deviance = self.deviance
        return self.inner.predicted(inner_psi(deviance, self.psi + step) - self.inner.psi)
