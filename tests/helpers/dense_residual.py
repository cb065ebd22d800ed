"""Models with a residual covariance by n x n algebra, as their authors write it.

V is a function of SAS's parameters, for real and for complex numbers: first derivatives
are complex steps, second ones differences of these.

    gradient_r = tr T V_r - y'P V_r P y,      T = P (REML) or V^-1
    E_rs  = tr(T V_r T V_s) / 2,    AI_rs = y'P V_r P V_s P y / 2
    O_rs  = 2 AI - E + (tr T V_rs - y'P V_rs P y) / 2
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

STEP = 1e-30  # of complex steps


@dataclass
class DenseResidual:
    """A model at its parameters.

    ``covariance`` maps parameters (r,) to V (n, n).
    """

    y: np.ndarray
    x: np.ndarray
    covariance: Callable
    phi: np.ndarray
    reml: bool = True

    @cached_property
    def v(self):
        return self.covariance(self.phi)

    @cached_property
    def inverse(self):
        return np.linalg.inv(self.v)

    @cached_property
    def fixed(self):
        return np.linalg.inv(self.x.T @ self.inverse @ self.x)

    @cached_property
    def p(self):
        cross = self.inverse @ self.x
        return self.inverse - cross @ self.fixed @ cross.T

    @cached_property
    def beta(self):
        return self.fixed @ self.x.T @ self.inverse @ self.y

    @property
    def deviance(self):
        n, p = self.x.shape
        out = np.linalg.slogdet(self.v)[1] + self.y @ self.p @ self.y
        out += (n - p if self.reml else n) * np.log(2 * np.pi)
        return out - np.linalg.slogdet(self.fixed)[1] if self.reml else out

    @cached_property
    def first(self):
        return self._slopes(self.phi)

    def _slopes(self, phi):
        moved = np.asarray(phi) + 1j * STEP * np.eye(len(phi))
        return [np.imag(self.covariance(own)) / STEP for own in moved]

    @cached_property
    def second(self):
        out = []
        for r, value in enumerate(self.phi):
            h = 1e-3 * max(abs(value), 1e-2)
            rough = []
            for step in (h, h / 2):
                move = step * np.eye(len(self.phi))[r]
                ends = self._slopes(self.phi + move), self._slopes(self.phi - move)
                rough.append([(a - b) / (2 * step) for a, b in zip(*ends, strict=True)])
            out.append([(4 * b - a) / 3 for a, b in zip(*rough, strict=True)])
        return out

    @property
    def gradient(self):
        t, py = self.p if self.reml else self.inverse, self.p @ self.y
        return np.array([np.sum(t * g) - py @ g @ py for g in self.first])

    @cached_property
    def information(self):
        """By name: expected and observed."""
        t, py = self.p if self.reml else self.inverse, self.p @ self.y
        tv, r = [t @ g for g in self.first], range(len(self.phi))
        moved = np.array([g @ py for g in self.first])
        expected = np.array([[np.sum(a * b.T) / 2 for b in tv] for a in tv])
        average = moved @ self.p @ moved.T / 2
        bend = np.array(
            [
                [
                    (np.sum(t * self.second[i][j]) - py @ self.second[i][j] @ py) / 2
                    for j in r
                ]
                for i in r
            ]
        )
        return {"expected": expected, "observed": 2 * average - expected + bend}

    def spread(self, information="observed"):
        """W."""
        return np.linalg.inv(self.information[information])

    def adjusted(self, method, information="observed"):
        """Phi_A by the name of the method."""
        w, cross, r = self.spread(information), self.inverse @ self.x, range(len(self.phi))
        slopes = [-cross.T @ g @ cross for g in self.first]
        inner = np.zeros_like(self.fixed)
        mean = np.zeros_like(self.v)
        for i in r:
            for j in r:
                q = cross.T @ self.first[i] @ self.inverse @ self.first[j] @ cross
                inner += w[i, j] * (q - slopes[i] @ self.fixed @ slopes[j])
                mean += w[i, j] * self.second[i][j]
        if method != "kenward-roger-linear":
            inner -= cross.T @ mean @ cross / 4
        out = self.fixed + 2 * self.fixed @ inner @ self.fixed
        if method == "kenward-roger-2009":
            third = [np.sum((self.p @ g) * (self.p @ mean).T) for g in self.first]
            bias = -w @ np.array(third) / 4
            out += self.fixed @ np.tensordot(bias, np.array(slopes), 1) @ self.fixed
        return out

    def kenward_roger_test(self, rows, method, information="observed"):
        """Scaled F and its denominator degrees of freedom, of several rows."""
        w, cross, q = self.spread(information), self.inverse @ self.x, len(rows)
        adjusted = self.adjusted(method, information)
        theta = rows.T @ np.linalg.solve(rows @ self.fixed @ rows.T, rows)
        u = [theta @ self.fixed @ (-cross.T @ g @ cross) @ self.fixed for g in self.first]
        traces = np.array([np.trace(own) for own in u])
        a1 = traces @ w @ traces
        a2 = np.sum(w * np.array([[np.sum(a * b.T) for b in u] for a in u]))
        b = (a1 + 6 * a2) / (2 * q)
        g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
        c1, c2, c3 = (c / (3 * q + 2 * (1 - g)) for c in (g, q - g, q + 2 - g))
        e = 1 / (1 - a2 / q)
        v = (2 / q) * (1 + c1 * b) / ((1 - c2 * b) ** 2 * (1 - c3 * b))
        m = 4 + (q + 2) / (q * v / (2 * e**2) - 1)
        estimate = rows @ self.beta
        wald = estimate @ np.linalg.solve(rows @ adjusted @ rows.T, estimate) / q
        return wald * m / (e * (m - 2)), m

    def satterthwaite(self, row, information="observed"):
        """Degrees of freedom of one combination."""
        w, cross = self.spread(information), self.inverse @ self.x
        phi = self.fixed
        g = np.array([row @ phi @ (cross.T @ v @ cross) @ phi @ row for v in self.first])
        return 2 * (row @ phi @ row) ** 2 / (g @ w @ g)

    def sandwich(self, groups, kind):
        """Cluster-robust covariance in rows whitened by the lower factor of V_g."""
        resid = self.y - self.x @ self.beta
        meat = np.zeros_like(self.fixed)
        for g in np.unique(groups):
            at = np.flatnonzero(groups == g)
            whiten = np.linalg.inv(np.linalg.cholesky(self.v[np.ix_(at, at)]))
            x, e = whiten @ self.x[at], whiten @ resid[at]
            hat = np.eye(len(at)) - x @ self.fixed @ x.T
            if kind == "CR2":
                value, vector = np.linalg.eigh(hat)
                root = np.where(value > 1e-10, value, np.inf) ** -0.5
                e = vector * root @ vector.T @ e
            elif kind == "CR3":
                e = np.linalg.solve(hat, e)
            meat += np.outer(x.T @ e, x.T @ e)
        return self.fixed @ meat @ self.fixed


# ---- covariances in SAS's parameters ----


def antedependence(rho, m):
    """Correlations of m visits."""
    out = np.ones((m, m), np.result_type(np.asarray(rho), float))
    for i in range(m):
        for j in range(m):
            out[i, j] = np.prod(rho[min(i, j) : max(i, j)])
    return out


@dataclass
class SasCovariance:
    """The covariance of a structure, its parameters variances first.

    ``start`` finds the parameters from the standard deviations of the visits and the
    correlations that a fit has.
    """

    kind: str
    visit: np.ndarray
    subject: np.ndarray
    weights: np.ndarray | None = None

    @property
    def m(self):
        return int(self.visit.max()) + 1

    def __call__(self, phi):
        same = self.subject[:, None] == self.subject
        whole = self.over_visits(phi)[np.ix_(self.visit, self.visit)]
        v = np.where(same, whole, 0.0)
        if self.weights is None:
            return v
        return v / np.sqrt(self.weights[:, None] * self.weights)

    def over_visits(self, phi):
        """Sigma of the m visits."""
        m, kind = self.m, self.kind
        lag = np.abs(np.arange(m)[:, None] - np.arange(m))
        if kind == "us":
            out = np.empty((m, m), np.result_type(np.asarray(phi), float))
            rows, columns = np.tril_indices(m)
            out[rows, columns] = out[columns, rows] = phi
            return out
        if kind == "toep":  # covariances by lag
            return phi[lag]
        if kind == "cs":
            return phi[0] * np.eye(m) + phi[1]
        if kind in ("ar1", "car1"):
            return phi[0] * phi[1] ** lag
        if kind == "exp":
            return phi[0] * np.exp(-lag / phi[1])
        if kind == "ad":
            return phi[0] * antedependence(phi[1:], m)
        if kind == "arma":  # sigma^2, gamma, rho
            return phi[0] * np.where(
                lag == 0, 1.0, phi[1] * phi[2] ** np.maximum(lag - 1, 0)
            )
        sd, rho = np.sqrt(phi[:m]), phi[m:]
        if kind == "csh":
            correlation = np.where(lag == 0, 1.0, rho[0])
        elif kind == "ar1h":
            correlation = rho[0] ** lag
        elif kind == "adh":
            correlation = antedependence(rho, m)
        elif kind == "armah":
            power = rho[1] ** np.maximum(lag - 1, 0)
            correlation = np.where(lag == 0, 1.0, rho[0] * power)
        elif kind == "toeph":
            correlation = np.concatenate([[1.0], rho])[lag]
        else:
            raise KeyError(kind)
        return sd[:, None] * correlation * sd

    def parameters(self, sigma):
        """Those of a covariance of the visits, (m, m)."""
        m, kind = self.m, self.kind
        if kind == "us":
            return sigma[np.tril_indices(m)]
        if kind == "toep":
            return sigma[0]
        if kind == "cs":
            return np.array([sigma[0, 0] - sigma[0, 1], sigma[0, 1]])
        variances = sigma.diagonal()
        correlation = sigma / np.sqrt(np.outer(variances, variances))
        near = correlation.diagonal(1)
        if kind in ("ar1", "car1"):
            return np.array([sigma[0, 0], near[0]])
        if kind == "exp":
            return np.array([sigma[0, 0], -1 / np.log(near[0])])
        if kind == "ad":
            return np.concatenate([[sigma[0, 0]], near])
        if kind in ("arma", "armah"):
            gamma = [near[0], correlation[0, 2] / near[0]]
            return np.concatenate([variances[:1] if kind == "arma" else variances, gamma])
        if kind in ("csh", "ar1h"):
            return np.append(variances, near[0])
        return np.concatenate([variances, near if kind == "adh" else correlation[0, 1:]])
