"""Durbin and Levinson's recursion, with derivatives.

Partial autocorrelations r_1 .. r_n in (-1, 1), without further restriction, are one to one
with definite Toeplitz matrices of correlations rho_1 .. rho_n, and with the coefficients of
stationary autoregressions of order n (Barndorff-Nielsen and Schou, 1973).  With phi the
coefficients of order k - 1, and v their innovation variance,

    rho_k = r_k v + sum_j phi_j rho_(k - j)
    phi_j <- phi_j - r_k phi_(k - j),  phi_k = r_k,   v <- v (1 - r_k^2)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mixedext.kernels.covariance import partial_correlations

__all__ = [
    "Recursion",
    "partials_of_coefficients",
    "partials_of_correlations",
    "recursion",
]


class Recursion(NamedTuple):
    """Values and derivatives by psi, where r = tanh psi.

    Attributes
    ----------
    rho, phi : ndarray, shape (n,)
        Correlations at lags 1 .. n; coefficients of the autoregression of order n.
    d_rho, d_phi : ndarray, shape (n, n)
        Element [r, k] is the derivative of element k by psi_r.
    dd_rho, dd_phi : ndarray, shape (n, n, n)
        Second derivatives, element k last.
    """

    rho: np.ndarray
    phi: np.ndarray
    d_rho: np.ndarray
    d_phi: np.ndarray
    dd_rho: np.ndarray
    dd_phi: np.ndarray


def recursion(psi: np.ndarray, order: int = 2) -> Recursion:
    """Correlations and coefficients of partial autocorrelations tanh psi.

    Parameters
    ----------
    psi : ndarray, shape (n,)
    order : {0, 1, 2}
        Highest derivative that is computed; those above are empty.
    """
    n = len(psi)
    out = Recursion(
        np.empty(n),
        np.empty(n),
        *(np.zeros((n if order > 0 else 0, n)) for _ in range(2)),
        *(np.zeros((n if order > 1 else 0, n, n)) for _ in range(2)),
    )
    partial_correlations.durbin_levinson(np.ascontiguousarray(psi), order, *out)
    return out


def partials_of_correlations(rho: np.ndarray) -> np.ndarray:
    """Partial autocorrelations of correlations at lags 1 .. n.

    The first outside of (-1, 1), if there is one, and all after it are NaN: then the
    matrix of the correlations is not definite.
    """
    n = len(rho)
    out, phi, v = np.full(n, np.nan), np.zeros(n), 1.0
    for k in range(n):
        r = (rho[k] - phi[:k] @ rho[:k][::-1]) / v
        if not -1 < r < 1:
            break
        phi[:k] = phi[:k] - r * phi[:k][::-1]
        out[k] = phi[k] = r
        v *= (1 - r) * (1 + r)
    return out


def partials_of_coefficients(phi: np.ndarray) -> np.ndarray:
    """Partial autocorrelations of the coefficients of an autoregression.

    NaN from the last that lies in (-1, 1) down if it is not stationary.
    """
    phi = np.array(phi, dtype=float)
    out = np.full(len(phi), np.nan)
    for k in range(len(phi) - 1, -1, -1):
        r = phi[k]
        if not -1 < r < 1:
            break
        out[k] = r
        phi[:k] = (phi[:k] + r * phi[:k][::-1]) / ((1 - r) * (1 + r))
    return out
