"""A residual covariance as one n x n matrix, and what follows from it by definition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from mixedext.engine.residual.rows import ResidualRows, places_of

STEP = 1e-3  # of seven-point differences: V is a smooth function of its parameters


def slope(function, x, r):
    """d function / d x_r by differences of order six."""
    out = 0.0
    for k, weight in ((1, 45.0), (2, -9.0), (3, 1.0)):
        step = np.zeros(len(x))
        step[r] = k * STEP
        out = out + weight * (function(x + step) - function(x - step))
    return out / (60 * STEP)


@dataclass
class DenseRelative:
    """V0(theta, psi) of ``ResidualRows``, n x n."""

    rows: ResidualRows
    reml: bool

    def lambda_(self, psi):
        """The residual covariance, weights and all, relative to sigma^2."""
        n = len(self.rows.y)
        out = np.zeros((n, n))
        for batch in self.rows.bound.batches:
            for group, pattern in zip(batch.rows, batch.pattern, strict=True):
                curve = self.rows.curves[batch.level[pattern]]
                place = places_of(batch).at(np.array([pattern]))
                out[np.ix_(group, group)] = curve.matrix(psi[curve.at], place)[0]
        if self.rows.weights is not None:
            root = np.sqrt(self.rows.weights)
            out /= np.outer(root, root)
        return out

    def covariance(self, x):
        """V0."""
        start, out = 0, 0.0
        for term in self.rows.terms:
            s, z = term.structure, np.asarray(term.z, float)
            sigma = s.matrix(x[start : start + s.n_theta])
            start += s.n_theta
            same = term.codes[:, None] == term.codes
            out = out + (z @ sigma @ z.T) * same
        return out + self.lambda_(x[start:])

    def pieces(self, x):
        v = self.covariance(x)
        x_kept = np.asarray(self.rows.x, float)[:, self.rows.design.basis.kept]
        inverse = np.linalg.inv(v)
        gram = x_kept.T @ inverse @ x_kept
        taken = inverse @ x_kept @ np.linalg.inv(gram) @ x_kept.T @ inverse
        return v, inverse, inverse - taken, gram

    def deviance(self, x):
        """-2 (restricted) log-likelihood with all constants, sigma^2 profiled out."""
        v, _, p, gram = self.pieces(x)
        y = self.rows.y
        d = len(y) - len(gram) * self.reml
        out = np.linalg.slogdet(v)[1] + d * (1 + np.log(2 * np.pi * (y @ p @ y) / d))
        return out + self.reml * np.linalg.slogdet(gram)[1]

    def slopes(self, x):
        """V_r for each of (theta, psi)."""
        return [slope(self.covariance, x, r) for r in range(len(x))]

    def gradient(self, x):
        """Of the profiled deviance."""
        _, inverse, p, _ = self.pieces(x)
        y = self.rows.y
        t = p if self.reml else inverse
        d = round(np.trace(p @ self.covariance(x))) if self.reml else len(y)
        kappa = d / (y @ p @ y)
        return np.array([np.sum(t * m) - kappa * y @ p @ m @ p @ y for m in self.slopes(x)])

    def information(self, directions, x):
        """Expected and average information along derivatives of V, at sigma^2 = 1."""
        _, inverse, p, _ = self.pieces(x)
        y = self.rows.y
        t = p if self.reml else inverse
        d = round(np.trace(p @ self.covariance(x))) if self.reml else len(y)
        py = p @ y * np.sqrt(d / (y @ p @ y))
        expected = np.array(
            [[np.sum((t @ a) * (t @ b).T) / 2 for b in directions] for a in directions]
        )
        average = np.array(
            [[py @ a @ p @ b @ py / 2 for b in directions] for a in directions]
        )
        return expected, average

    def score(self, matrix, x):
        """tr T M - y'P M P y at sigma^2 = 1."""
        _, inverse, p, _ = self.pieces(x)
        y = self.rows.y
        t = p if self.reml else inverse
        d = round(np.trace(p @ self.covariance(x))) if self.reml else len(y)
        py = p @ y * np.sqrt(d / (y @ p @ y))
        return np.sum(t * matrix) - py @ matrix @ py


def root_of(matrix):
    """Lower Cholesky factor."""
    return linalg.cholesky(matrix, lower=True)
