"""Conditional modes and covariances of the levels of the only grouping factor.

With Z_l'Z_l = U'D U and C = U^-T Z_l'(y - X beta), the modes lam u minimize

    |u|^2 + sum_i D_i (C_i / D_i - (U lam)_i u)^2,

a ridge regression on K rows.  Its normal equations would cancel where variances are large
and lam or Z_l nearly singular; rows are rotated in one by one instead (fast Givens
rotations), which gives I + lam'Z_l'Z_l lam = L d L' by sums of positive terms.
"""

from libc.math cimport sqrt
from mixedext.kernels.triangle cimport split_level

import numpy as np


cdef inline void _regress(
    Py_ssize_t k, const double* triangle, const double* half, const double* lam,
    double* row, double* pivot, double* lower, double* right,
) noexcept nogil:
    # I + lam'U'D U lam = L d L': pivot = d, lower = L; right = (L d)^-1 lam'U'C.
    cdef Py_ssize_t i, j, c, m
    cdef double weight, x, y, rest, step, old
    for i in range(k):
        pivot[i] = 1.0
        right[i] = 0.0
        for j in range(i):
            lower[i * k + j] = 0.0
    for i in range(k):
        weight = triangle[i * k + i]
        if weight == 0.0:
            continue
        for c in range(k):
            x = lam[i * k + c] if c <= i else 0.0
            for m in range(max(i + 1, c), k):
                x += triangle[i * k + m] * lam[m * k + c]
            row[c] = x
        rest = half[i] / weight
        for j in range(k):
            x = row[j]
            y = pivot[j] + weight * x * x
            step, old = weight * x / y, pivot[j] / y
            pivot[j] = y
            weight *= old
            for c in range(j + 1, k):
                y = row[c]
                row[c] -= x * lower[c * k + j]
                lower[c * k + j] = old * lower[c * k + j] + step * y
            y = rest
            rest -= x * right[j]
            right[j] = old * right[j] + step * y


def level_effects(
    const double[:, :, ::1] gram,     # in: (L, K, K) Z_l'Z_l
    const double[:, :, ::1] cross,    # in: (L, K, P) Z_l'[X y]
    const double[:, ::1] lam,         # in: (K, K)
    const double[::1] change,         # in: (P,), (-beta, 1)
    double[:, ::1] out,               # out: (L, K) conditional modes
):
    """lam (I + lam'A_l lam)^-1 lam'Z_l'(y - X beta) of every level."""
    cdef Py_ssize_t k = gram.shape[1], p = cross.shape[2], level, i, j
    cdef double x
    buffer = np.empty(2 * k * k + 5 * k)
    cdef double[::1] view = buffer
    cdef double* triangle = &view[0]
    cdef double* lower = triangle + k * k
    cdef double* half = lower + k * k
    cdef double* residual = half + k
    cdef double* row = residual + k
    cdef double* pivot = row + k
    cdef double* u = pivot + k
    with nogil:
        for level in range(gram.shape[0]):
            for i in range(k):
                x = 0.0
                for j in range(p):
                    x += cross[level, i, j] * change[j]
                residual[i] = x
            split_level(&gram[level, 0, 0], residual, k, 1, triangle, half)
            _regress(k, triangle, half, &lam[0, 0], row, pivot, lower, u)
            for i in range(k - 1, -1, -1):
                for j in range(i + 1, k):
                    u[i] -= lower[j * k + i] * u[j]
            for i in range(k):
                x = 0.0
                for j in range(i + 1):
                    x += lam[i, j] * u[j]
                out[level, i] = x


def level_covariances(
    const double[:, :, ::1] gram,     # in: (L, K, K) Z_l'Z_l
    const double[:, ::1] lam,         # in: (K, K)
    double[:, :, ::1] out,            # out: (L, K, K)
):
    """lam (I + lam'A_l lam)^-1 lam' of every level."""
    cdef Py_ssize_t k = gram.shape[1], level, i, j, c
    cdef double x
    buffer = np.zeros(3 * k * k + 4 * k)
    cdef double[::1] view = buffer
    cdef double* triangle = &view[0]
    cdef double* lower = triangle + k * k
    cdef double* root = lower + k * k
    cdef double* nothing = root + k * k
    cdef double* row = nothing + k
    cdef double* pivot = row + k
    cdef double* u = pivot + k
    with nogil:
        for level in range(gram.shape[0]):
            split_level(&gram[level, 0, 0], NULL, k, 0, triangle, NULL)
            _regress(k, triangle, nothing, &lam[0, 0], row, pivot, lower, u)
            for i in range(k):  # rows of lam L^-T d^-1/2
                for j in range(k):
                    x = lam[i, j]
                    for c in range(j):
                        x -= root[i * k + c] * lower[j * k + c]
                    root[i * k + j] = x
            for j in range(k):
                x = 1.0 / sqrt(pivot[j])
                for i in range(k):
                    root[i * k + j] *= x
            for i in range(k):
                for j in range(i + 1):
                    x = 0.0
                    for c in range(k):
                        x += root[i * k + c] * root[j * k + c]
                    out[level, i, j] = out[level, j, i] = x
