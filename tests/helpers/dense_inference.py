"""Small-sample inference by n x n algebra, as its authors write it: slow and plain.

V = sum_r gamma_r Z (I kron E_r) Z' + sigma^2 W^-1, gamma the elements of the covariance
matrices of all terms in the units of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helpers.dense import covariance, dense_z
from mixedext.engine.information.expected import variance_information


@dataclass
class DenseFit:
    """V, its derivatives, and what follows from them."""

    y: np.ndarray
    x: np.ndarray
    derivatives: list[np.ndarray]
    v: np.ndarray
    reml: bool

    @classmethod
    def of(cls, rows, fit):
        """At the variances of a fit of ``rows``."""
        n = len(rows.y)
        noise = np.eye(n) if rows.weights is None else np.diag(1 / rows.weights)
        derivatives, v = [], fit.scale * noise
        for term, sigma in zip(rows.terms, fit.covariances, strict=True):
            z, eye = dense_z(term), np.eye(term.n_levels)
            v = v + z @ np.kron(eye, sigma) @ z.T
            for basis in term.structure.covariance_basis:
                derivatives.append(z @ np.kron(eye, basis) @ z.T)
        x = rows.x[:, fit.design.basis.kept]
        return cls(rows.y, x, [*derivatives, noise], v, fit.reml)

    def __post_init__(self):
        self.inverse = np.linalg.inv(self.v)
        self.phi = np.linalg.inv(self.x.T @ self.inverse @ self.x)
        cross = self.inverse @ self.x
        self.p = self.inverse - cross @ self.phi @ cross.T
        self.beta = self.phi @ cross.T @ self.y
        self.first = [-cross.T @ g @ cross for g in self.derivatives]

    @property
    def expected(self):
        m = self.p if self.reml else self.inverse
        products = [m @ g for g in self.derivatives]
        return np.array([[np.sum(a * b.T) for b in products] for a in products]) / 2

    @property
    def average(self):
        py = self.p @ self.y
        moved = np.column_stack([g @ py for g in self.derivatives])
        return moved.T @ self.p @ moved / 2

    @property
    def observed(self):
        """Half the second derivatives of the (restricted) deviance."""
        return 2 * self.average - self.expected

    def kenward_roger(self, information="expected"):
        """Phi_A and W."""
        w = np.linalg.inv(getattr(self, information))
        cross = self.inverse @ self.x
        total = np.zeros_like(self.phi)
        for r, g in enumerate(self.derivatives):
            for s, h in enumerate(self.derivatives):
                q = cross.T @ g @ self.inverse @ h @ cross
                total += w[r, s] * (q - self.first[r] @ self.phi @ self.first[s])
        return self.phi + 2 * self.phi @ total @ self.phi, w

    def kenward_roger_test(self, rows, information="expected"):
        """Scaled F, denominator degrees of freedom and scaling, of full-rank rows."""
        adjusted, w = self.kenward_roger(information)
        phi, q = self.phi, len(rows)
        theta = rows.T @ np.linalg.solve(rows @ phi @ rows.T, rows)
        u = [theta @ phi @ p @ phi for p in self.first]
        a1 = sum(
            w[r, s] * np.trace(a) * np.trace(b)
            for r, a in enumerate(u)
            for s, b in enumerate(u)
        )
        a2 = sum(
            w[r, s] * np.trace(a @ b) for r, a in enumerate(u) for s, b in enumerate(u)
        )
        b = (a1 + 6 * a2) / (2 * q)
        g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
        c1, c2, c3 = (c / (3 * q + 2 * (1 - g)) for c in (g, q - g, q + 2 - g))
        rho = ((1 - a2 / q) / (1 - c2 * b)) ** 2 * (1 + c1 * b) / (1 - c3 * b) / q
        m = 4 + (q + 2) / (q * rho - 1)
        scaling = 1.0 if abs(m - 2) < 0.01 else m * (1 - a2 / q) / (m - 2)
        estimate = rows @ self.beta
        wald = estimate @ np.linalg.solve(rows @ adjusted @ rows.T, estimate) / q
        return scaling * wald, m, scaling

    def satterthwaite(self, row):
        """Degrees of freedom of one row, all parameters free."""
        covariance = np.linalg.inv(self.observed)
        g = np.array([-row @ self.phi @ p @ self.phi @ row for p in self.first])
        return 2 * (row @ self.phi @ row) ** 2 / (g @ covariance @ g)


def assert_near(got, want, tolerance=1e-9):
    assert got.shape == want.shape
    if got.size:
        assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


def check_information(fit, rows, tolerance=1e-9):
    """Everything in ``variance_information`` of a fit, against matrices n x n."""
    info = variance_information(fit)
    if rows.terms:
        v = covariance(rows.terms, fit.lams, rows.weights)
    else:
        v = np.diag(np.ones(len(rows.y)) if rows.weights is None else 1 / rows.weights)
    inverse = np.linalg.inv(v)
    kept = fit.design.basis.kept
    x = rows.x[:, kept] @ info.root
    residual = (rows.y - rows.x[:, kept] @ fit.coefficients) / np.sqrt(fit.scale)
    derivatives = []
    for term, transform in zip(rows.terms, fit.design.transforms, strict=True):
        eye = np.eye(term.n_levels)
        z = dense_z(term) @ np.kron(eye, np.linalg.inv(transform))
        derivatives += [z @ np.kron(eye, e) @ z.T for e in term.structure.covariance_basis]
    count = len(derivatives)
    cross = inverse @ np.column_stack([x, residual])
    assert_near(x.T @ inverse @ x, np.eye(len(kept)), tolerance)
    p = cross.shape[1]
    first = np.array([cross.T @ g @ cross for g in derivatives]).reshape(count, p, p)
    assert_near(info.first, first, tolerance)
    second = [[cross.T @ g @ inverse @ h @ cross for h in derivatives] for g in derivatives]
    assert_near(info.second, np.array(second).reshape(count, count, p, p), tolerance)
    derivatives.append(v)
    products = [inverse @ g for g in derivatives]
    traces = np.array([[np.sum(a * b.T) for b in products] for a in products])
    assert_near(info.traces, traces, tolerance)
    projector = inverse - cross[:, :-1] @ cross[:, :-1].T
    if fit.reml:
        products = [projector @ g for g in derivatives]
    expected = np.array([[np.sum(a * b.T) for b in products] for a in products]) / 2
    assert_near(info.expected, expected, tolerance)
    moved = np.column_stack([g @ projector @ residual for g in derivatives])
    average = moved.T @ projector @ moved / 2
    assert_near(info.average, average, tolerance)
    assert_near(info.observed, 2 * average - expected, 10 * tolerance)
