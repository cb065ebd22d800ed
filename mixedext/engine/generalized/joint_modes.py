"""Coefficients that are found with the conditional modes (``n_agq=0``).

For given covariances and dispersion (u, b) minimize h(u, b) together; Laplace's deviance at
these is then minimized over the covariances and the dispersion alone.  The coefficients do
not maximize the likelihood: it is an approximation, close where variances are small.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance

__all__ = ["JointModesDeviance"]

LAST_DECREMENT = 1e-13
MOST_STEPS = 50


class JointModesDeviance:
    """Laplace's deviance at the coefficients that minimize h, by (theta, kappa).

    Parameters
    ----------
    laplace : LaplaceDeviance
        The deviance as a function of all parameters.
    beta : ndarray
        Coefficients on the basis of X to start from, (rank,).
    """

    def __init__(self, laplace: LaplaceDeviance, beta: np.ndarray):
        self.laplace, self.start = laplace, beta
        self.n_psi = laplace.n_theta + laplace.n_kappa

    def evaluate(self, psi: np.ndarray, modes: Any = None) -> Any:
        """The deviance at (theta, kappa); ``modes`` are (modes, coefficients)."""
        return _JointEvaluation(self, np.array(psi, float), modes)


class _JointEvaluation:
    def __init__(self, deviance, psi, modes):
        self.deviance, self.psi = deviance, psi
        laplace = deviance.laplace
        u, beta = (None, deviance.start) if modes is None else modes
        t, p = laplace.n_theta, laplace.rank
        self.value, self.iterations, self.reason = np.inf, 0, ""
        self._beta_at = slice(t, t + p)
        for _ in range(MOST_STEPS):
            whole = np.concatenate([psi[:t], beta, psi[t:]])
            found = laplace.evaluate(whole, u)
            self.iterations += found.iterations
            if not np.isfinite(found.value):
                self.reason = found.reason
                return
            u = found.modes
            slope = 2.0 * (laplace.design.x.T @ found.terms.slope)
            square = found.hessian[self._beta_at, self._beta_at]
            step = -_solve(square, slope) if p else slope
            if -(step @ slope) < LAST_DECREMENT:
                break
            length = float(np.abs(laplace.design.x @ step).max(initial=0.0))
            step = step * min(1.0, 5.0 / length) if length > 0 else step
            move = np.zeros(len(whole))
            move[self._beta_at] = step
            u = found.predicted(move)
            beta = beta + step
        else:
            self.reason = "the coefficients for these variances have not converged"
            return
        self.inner, self.beta, self.value = found, beta, found.value
        self.modes = u, beta
        t_and_kappa = np.ones(len(whole), bool)
        t_and_kappa[self._beta_at] = False
        self._others = np.flatnonzero(t_and_kappa)

    @property
    def _change(self):
        """d beta / d (theta, kappa)', from the second derivatives of 2 h."""
        hessian, at = self.inner.hessian, self._beta_at
        if not self.deviance.laplace.rank:
            return np.zeros((0, len(self._others)))
        return -_solve(hessian[at, at], hessian[at][:, self._others])

    @property
    def gradient(self):
        found, change = self.inner.gradient, self._change
        return found[self._others] + change.T @ found[self._beta_at]

    @property
    def hessian(self):
        whole = self.inner.hessian
        mixed = whole[np.ix_(self._others, np.arange(len(whole))[self._beta_at])]
        return whole[np.ix_(self._others, self._others)] + mixed @ self._change

    def predicted(self, step):
        change = self._change @ step
        move = np.zeros(len(self.inner.psi))
        move[self._others], move[self._beta_at] = step, change
        return self.inner.predicted(move), self.beta + change


def _solve(square, right):
    """The solution, the shortest one where coefficients are not determined."""
    try:
        return np.linalg.solve(square, right)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(square, right, rcond=None)[0]
