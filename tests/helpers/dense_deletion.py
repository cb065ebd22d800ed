"""Dense n x n statements of residuals, leverages and deletion: plain, and independent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helpers.dense import covariance


@dataclass
class DenseFit:
    """Generalized least squares of rows at a given V0."""

    v: np.ndarray
    x: np.ndarray
    y: np.ndarray
    dof: float

    def __post_init__(self):
        self.inverse = np.linalg.inv(self.v)
        self.information = self.x.T @ self.inverse @ self.x
        self.unscaled = np.linalg.inv(self.information)
        self.beta = self.unscaled @ self.x.T @ self.inverse @ self.y
        self.marginal = self.y - self.x @ self.beta
        self.square = self.marginal @ self.inverse @ self.marginal
        self.scale = self.square / self.dof

    def conditional(self, weights):
        """W^-1 V0^-1 e."""
        return self.inverse @ self.marginal / weights

    def leverage(self, weights):
        """h and the fixed effects' share."""
        p = self.inverse - self.inverse @ self.x @ self.unscaled @ self.x.T @ self.inverse
        whole = 1 - np.diag(p) / weights
        fixed = np.einsum("ij,ji->i", self.x @ self.unscaled @ self.x.T, self.inverse)
        return whole, fixed

    def without(self, rows):
        """The fit to the other rows."""
        left = np.setdiff1d(np.arange(len(self.y)), rows)
        return DenseFit(
            self.v[np.ix_(left, left)], self.x[left], self.y[left], self.dof - len(rows)
        )


def dense_fit(y, x, terms, lams, reml, weights=None):
    """The rows of a model at relative covariance factors of its terms."""
    v = covariance(terms, lams, weights) if terms else np.eye(len(y))
    if not terms and weights is not None:
        v = np.diag(1 / weights)
    return DenseFit(v, x, y, len(y) - (x.shape[1] if reml else 0))


def measures(fit, other):
    """Cook, MDFFITS, COVRATIO, COVTRACE, sigma^2 and DFBETAS of a deletion."""
    p = fit.x.shape[1]
    d = fit.beta - other.beta
    turned = fit.information @ other.unscaled
    return {
        "cooks": d @ fit.information @ d / fit.scale / p,
        "mdffits": d @ other.information @ d / fit.scale / p,
        "ratio": np.linalg.det(turned),
        "trace": abs(np.trace(turned) - p),
        "scale": other.scale,
        "dfbetas": d / np.sqrt(other.scale * np.diag(other.unscaled)),
    }
