"""The likelihood at any parameters from n x n matrices, and its exact derivatives.

The score is the textbook one; second derivatives are its derivatives by complex steps,
which lose no digits.
"""

from __future__ import annotations

import numpy as np

from helpers.dense import dense_z


class DenseLikelihood:
    """Log-likelihood of (coefficients, gamma of all terms relative to sigma^2)."""

    def __init__(self, y, x, terms, reml, weights=None):
        self.y, self.x, self.reml = y, x, reml
        self.noise = np.eye(len(y)) if weights is None else np.diag(1 / weights)
        self.log_weights = 0.0 if weights is None else np.log(weights).sum()
        self.directions = [
            dense_z(t) @ np.kron(np.eye(t.n_levels), e) @ dense_z(t).T
            for t in terms
            for e in t.structure.covariance_basis
        ]
        self.dof = len(y) - x.shape[1] if reml else len(y)

    def covariance(self, gamma):
        return self.noise + sum(g * v for g, v in zip(gamma, self.directions, strict=True))

    def best(self, gamma):
        inverse = np.linalg.inv(self.covariance(gamma))
        return np.linalg.solve(self.x.T @ inverse @ self.x, self.x.T @ inverse @ self.y)

    def value(self, b, gamma):
        v = self.covariance(gamma)
        inverse = np.linalg.inv(v)
        r = self.y - self.x @ b
        square = r @ inverse @ r
        out = np.linalg.slogdet(v)[1]
        out += self.dof * (1 + np.log(2 * np.pi * square / self.dof))
        if self.reml:
            out += np.linalg.slogdet(self.x.T @ inverse @ self.x)[1]
        return -0.5 * out

    def scale(self, b, gamma):
        r = self.y - self.x @ b
        return r @ np.linalg.solve(self.covariance(gamma), r) / self.dof

    def score(self, b, gamma):
        inverse = np.linalg.inv(self.covariance(gamma))
        r = self.y - self.x @ b
        solved = inverse @ r
        square = r @ solved
        fixed = self.dof * self.x.T @ solved / square
        cross = inverse @ self.x
        information = np.linalg.inv(self.x.T @ cross)
        out = []
        for v in self.directions:
            slope = np.trace(inverse @ v) - self.dof * solved @ v @ solved / square
            if self.reml:
                slope -= np.trace(information @ cross.T @ v @ cross)
            out.append(-0.5 * slope)
        return np.concatenate([fixed, out])

    def hessian(self, b, gamma):
        at, step = np.concatenate([b, gamma]).astype(complex), 1e-30j
        columns = []
        for j in range(len(at)):
            moved = at.copy()
            moved[j] += step
            columns.append(self.score(moved[: len(b)], moved[len(b) :]).imag / 1e-30)
        return np.array(columns).T
