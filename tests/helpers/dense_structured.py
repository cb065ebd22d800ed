"""Models with one structured random term, n x n: likelihood, information, Kenward-Roger."""

from __future__ import annotations

import numpy as np

from helpers.structure_protocol import by_differences


class DenseStructured:
    """y = X b + Z u + e, u ~ N(0, I kron Sigma), Sigma of a structure.

    Parameters
    ----------
    structure : CurvedStructure
        Of the k columns.
    rng : Generator
        Source of the data.
    n_levels : int
        Levels of the grouping factor.
    weights : bool
        Whether rows have precision weights.
    """

    def __init__(self, structure, rng, n_levels=12, weights=False):
        k = structure.k
        counts = rng.integers(2, 4, size=(n_levels, k))
        self.structure, self.n_levels = structure, n_levels
        self.codes = np.repeat(np.arange(n_levels), counts.sum(axis=1))
        visit = np.concatenate([np.repeat(np.arange(k), own) for own in counts])
        n = len(self.codes)
        self.z = np.eye(k)[visit]
        self.weights = rng.uniform(0.5, 2.0, n) if weights else None
        between, x = rng.normal(size=n_levels)[self.codes], rng.normal(size=n)
        self.x = np.column_stack([np.ones(n), between, x + 0.5 * between])
        psi = rng.uniform(0.2, 0.5, structure.correlation.n_psi)
        sd = rng.uniform(1.0, 2.0, structure.n_sd)
        theta = np.concatenate([np.log(sd) if structure.het else sd, psi])
        root = structure.lam(theta)
        effects = rng.normal(size=(n_levels, k)) @ root.T
        noise = rng.normal(size=n) / np.sqrt(1.0 if self.weights is None else self.weights)
        self.y = self.x @ [1.0, 0.5, 0.3] + effects[self.codes, visit] + noise
        self.wide = np.zeros((n, n_levels * k))
        self.wide[np.arange(n), self.codes * k + visit] = 1.0

    def on_rows(self, matrix):
        """Z (I kron matrix) Z'."""
        return self.wide @ np.kron(np.eye(self.n_levels), matrix) @ self.wide.T

    def residual(self):
        n = len(self.y)
        return np.eye(n) if self.weights is None else np.diag(1 / self.weights)

    def deviance(self, covariance, scale, reml):
        """-2 log-likelihood, b at its best."""
        v = self.on_rows(covariance) + scale * self.residual()
        inverse = np.linalg.inv(v)
        gram = self.x.T @ inverse @ self.x
        rest = self.y - self.x @ np.linalg.solve(gram, self.x.T @ inverse @ self.y)
        n, p = self.x.shape
        out = np.linalg.slogdet(v)[1] + rest @ inverse @ rest
        if reml:
            return out + np.linalg.slogdet(gram)[1] + (n - p) * np.log(2 * np.pi)
        return out + n * np.log(2 * np.pi)

    def inference(self, covariance, scale):
        """Kenward and Roger's covariance, df of the slope between, W; natural parameters.

        Those of structures that are linear in the covariances are their covariances.
        """
        s, n = self.structure, len(self.y)
        eta = s.gamma(covariance)
        linear = s.correlation.linear_if_homogeneous and not s.het
        if linear:
            eta = np.append(eta[0], eta[0] * eta[1:])

        def sigma(own):
            return s.covariance(np.append(own[0], own[1:] / own[0]) if linear else own)

        def slope(own):
            return by_differences(sigma, own, 1e-5)

        first = np.moveaxis(slope(eta), -1, 0)
        second = np.moveaxis(by_differences(slope, eta, 1e-4), (-1, -2), (0, 1))
        v = self.on_rows(covariance) + scale * self.residual()
        inverse = np.linalg.inv(v)
        phi = np.linalg.inv(self.x.T @ inverse @ self.x)
        p = inverse - inverse @ self.x @ phi @ self.x.T @ inverse
        py = p @ self.y
        parts = [self.on_rows(d) for d in first] + [self.residual()]
        count = len(parts)
        moved = [p @ d for d in parts]
        observed = np.empty((count, count))
        for i in range(count):
            for j in range(count):
                trace = np.sum(moved[i] * moved[j].T)
                observed[i, j] = py @ parts[i] @ p @ parts[j] @ py - trace / 2
        bends = np.zeros((count, count, n, n))
        for i in range(count - 1):
            for j in range(count - 1):
                bends[i, j] = self.on_rows(second[i, j])
                observed[i, j] += (np.sum(p * bends[i, j]) - py @ bends[i, j] @ py) / 2
        w = np.linalg.inv(observed)
        on_x = inverse @ self.x
        slopes = np.array([-on_x.T @ d @ on_x for d in parts])
        change = np.zeros_like(phi)
        for i in range(count):
            for j in range(count):
                q = on_x.T @ parts[i] @ inverse @ parts[j] @ on_x
                r = on_x.T @ bends[i, j] @ on_x
                change += w[i, j] * (q - slopes[i] @ phi @ slopes[j] - r / 4)
        gradient = np.array([-(phi @ own @ phi)[1, 1] for own in slopes])
        df = 2 * phi[1, 1] ** 2 / (gradient @ w @ gradient)
        return phi + 2 * phi @ change @ phi, df, w
