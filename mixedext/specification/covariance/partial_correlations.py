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
        Highest derivative that is computed; those above are zeros.
    """
    n = len(psi)
    r = np.tanh(psi)
    e = np.exp(-2.0 * np.abs(psi))
    w = 4.0 * e / (1.0 + e) ** 2  # 1 - r^2, without cancellation
    rho, phi, v = np.zeros(n + 1), np.zeros(n), 1.0
    rho[0] = 1.0
    d_rho, d_phi, d_v = np.zeros((n, n + 1)), np.zeros((n, n)), np.zeros(n)
    dd_rho, dd_phi, dd_v = np.zeros((n, n, n + 1)), np.zeros((n, n, n)), np.zeros((n, n))
    for k in range(n):
        own, back, last = phi[:k], phi[:k][::-1], rho[k:0:-1]
        rho[k + 1] = r[k] * v + own @ last
        # of what follows, derivatives by r_1 .. r_k, then those by the new r_(k + 1)
        if order > 1:
            first, d_last = d_phi[:k, :k], d_rho[:k, k:0:-1]
            mixed = first @ d_last.T
            dd_rho[:k, :k, k + 1] = (
                r[k] * dd_v[:k, :k]
                + dd_phi[:k, :k, :k] @ last
                + mixed
                + mixed.T
                + dd_rho[:k, :k, k:0:-1] @ own
            )
            dd_rho[:k, k, k + 1] = dd_rho[k, :k, k + 1] = d_v[:k]
            dd_phi[:k, :k, :k] -= r[k] * dd_phi[:k, :k, :k][..., ::-1]
            dd_phi[:k, k, :k] = dd_phi[k, :k, :k] = -first[:, ::-1]
            dd_v[:k, :k] *= w[k]
            dd_v[:k, k] = dd_v[k, :k] = -2 * r[k] * d_v[:k]
            dd_v[k, k] = -2 * v
        if order > 0:
            d_rho[:k, k + 1] = (
                r[k] * d_v[:k] + d_phi[:k, :k] @ last + d_rho[:k, k:0:-1] @ own
            )
            d_rho[k, k + 1] = v
            d_phi[:k, :k] -= r[k] * d_phi[:k, :k][:, ::-1]
            d_phi[k, :k] = -back
            d_phi[k, k] = 1.0
            d_v[:k] *= w[k]
            d_v[k] = -2 * r[k] * v
        phi[:k] = own - r[k] * back
        phi[k] = r[k]
        v *= w[k]
    rho, d_rho, dd_rho = rho[1:], d_rho[:, 1:], dd_rho[..., 1:]
    # from r to psi: dr = w, d2r = -2 r w
    numbers = np.arange(n)
    if order > 1:
        for first, second in ((d_rho, dd_rho), (d_phi, dd_phi)):
            second *= (w[:, None] * w)[..., None]
            second[numbers, numbers] -= (2 * r * w)[:, None] * first
    return Recursion(rho, phi, w[:, None] * d_rho, w[:, None] * d_phi, dd_rho, dd_phi)


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
