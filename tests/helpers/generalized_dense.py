"""Laplace's deviance by dense matrices, written apart from the engine."""

import numpy as np
from scipy import linalg


class DenseLaplace:
    """D(theta, b, kappa) of terms (codes, z) with all of their covariance free.

    ``likelihood(eta, kappa)`` gives l, l', l'' of every row, with all constants.
    """

    def __init__(self, x, terms, likelihood, offset=0.0):
        self.x, self.terms, self.likelihood, self.offset = x, terms, likelihood, offset

    def scaled(self, theta):
        """Z Lam, dense."""
        parts, start = [], 0
        for codes, z in self.terms:
            k = z.shape[1]
            lam = np.zeros((k, k))
            for b in range(k):
                lam[b:, b] = theta[start : start + k - b]
                start += k - b
            own = np.zeros((len(z), codes.max() + 1, k))
            own[np.arange(len(z)), codes] = z @ lam
            parts.append(own.reshape(len(z), -1))
        return np.hstack(parts), start

    def value(self, psi, weights=None):
        """The deviance; ``weights(eta, kappa)`` stand in the determinant for l''."""
        n_theta = sum(z.shape[1] * (z.shape[1] + 1) // 2 for _, z in self.terms)
        scaled, _ = self.scaled(psi[:n_theta])
        beta = psi[n_theta : n_theta + self.x.shape[1]]
        kappa = psi[n_theta + self.x.shape[1] :]
        fixed, u = self.x @ beta + self.offset, np.zeros(scaled.shape[1])

        def h(u):
            return self.likelihood(fixed + scaled @ u, kappa)[0].sum() + 0.5 * u @ u

        for _ in range(200):
            _, slope, weight = self.likelihood(fixed + scaled @ u, kappa)
            gradient = scaled.T @ slope + u
            square = scaled.T @ (np.maximum(weight, 0.0)[:, None] * scaled)
            step = -linalg.solve(square + np.eye(len(u)), gradient, assume_a="pos")
            length = 1.0
            while h(u + length * step) > h(u) + 1e-12 * abs(h(u)) and length > 1e-9:
                length *= 0.5
            u = u + length * step
            if np.abs(step).max() < 1e-13:
                break
        self.modes = u
        eta = fixed + scaled @ u
        weight = self.likelihood(eta, kappa)[2] if weights is None else weights(eta, kappa)
        square = scaled.T @ (weight[:, None] * scaled) + np.eye(len(u))
        return 2 * h(u) + np.linalg.slogdet(square)[1]


def sixth_order_gradient(function, psi, step=2e-3):
    """Gradient by central differences whose error is of sixth order."""
    out = np.empty(len(psi))
    for j in range(len(psi)):
        move = np.zeros(len(psi))
        move[j] = step
        out[j] = sum(
            c * (function(psi + k * move) - function(psi - k * move))
            for k, c in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
        )
    return out / step
