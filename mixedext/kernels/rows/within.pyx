"""What varies within the levels of a grouping factor, with no digits lost.

With A_l = Z_l'Z_l = U'D U, U unit upper triangular, and C = U^-T Z_l'[X y], the
cross-products of one level split into C'D^-1 C and those of the residuals of [X y] on Z_l.
Their sum W over the levels makes [X y]'V0^-1 [X y] a sum of positive terms,

    W + sum_l C'(D + D U Sigma U'D)^-1 C,

where the usual difference cancels if the levels vary far more than the residuals.
"""

from libc.stdint cimport int32_t
from mixedext.kernels.triangle cimport split_level

import numpy as np


def mirror(double[:, ::1] a):
    """Copy the lower triangle of ``a`` (P, P) to the upper one."""
    cdef Py_ssize_t i, j
    for i in range(a.shape[0]):
        for j in range(i):
            a[j, i] = a[i, j]


def split_levels(
    const double[:, :, ::1] gram,     # in: (L, k, k)
    const double[:, :, ::1] cross,    # in: (L, k, P)
    double[:, :, ::1] triangle,       # out: (L, k, k) D and, above it, U
    double[:, :, ::1] half,           # out: (L, k, P) C
):
    """D, U and C of every level; pivots of dependent columns are zero."""
    cdef Py_ssize_t k = gram.shape[1], p = cross.shape[2], level
    with nogil:
        for level in range(gram.shape[0]):
            split_level(
                &gram[level, 0, 0], &cross[level, 0, 0], k, p,
                &triangle[level, 0, 0], &half[level, 0, 0],
            )


def level_squares(
    const double[:, :, ::1] gram,     # in: (L, k, k)
    const double[:, :, ::1] cross,    # in: (L, k, P)
    double[:, ::1] triangle,          # scratch: (k, k)
    double[:, ::1] half,              # scratch: (k, P)
    double[:, ::1] out,               # out: (P, P)
):
    """Sum of C'D^-1 C over the levels; returns the sum of the ranks of Z_l."""
    cdef Py_ssize_t k = gram.shape[1], p = cross.shape[2], level, a, i, j, rank = 0
    cdef double x
    with nogil:
        out[:, :] = 0.0
        for level in range(gram.shape[0]):
            rank += split_level(
                &gram[level, 0, 0], &cross[level, 0, 0], k, p, &triangle[0, 0], &half[0, 0]
            )
            for a in range(k):
                if triangle[a, a] == 0.0:
                    continue
                for i in range(p):
                    x = half[a, i] / triangle[a, a]
                    for j in range(i + 1):
                        out[i, j] += x * half[a, j]
    mirror(out)
    return rank


def within_products(
    const int32_t[::1] codes,         # in: (n,) levels of the rows of this chunk
    const double[:, ::1] z,           # in: (k, n)
    const double[:, ::1] fixed,       # in: (n, P)
    const double[:, :, ::1] gram,     # in: (L, k, k)
    const double[:, :, ::1] cross,    # in: (L, k, P)
    const double[::1] shift,          # in: (P - 1,)
    double[:, ::1] out,               # out: (P, P), lower triangle += residuals' products
):
    """Cross-products of the residuals of [X, y - X shift] on Z within levels."""
    cdef Py_ssize_t n = codes.shape[0], k = z.shape[0], p = fixed.shape[1]
    cdef Py_ssize_t i, a, c, j, level = -1
    cdef double x
    cdef double[:, ::1] triangle = np.empty((k, k)), half = np.empty((k, p))
    cdef double[::1] q = np.empty(k), rest = np.empty(p)
    with nogil:
        for i in range(n):
            if codes[i] != level:
                level = codes[i]
                split_level(
                    &gram[level, 0, 0], &cross[level, 0, 0], k, p,
                    &triangle[0, 0], &half[0, 0],
                )
            for j in range(p):
                rest[j] = fixed[i, j]
            for a in range(k):  # q = U^-T z: orthogonal columns, of squares D
                x = z[a, i]
                for c in range(a):
                    x -= triangle[c, a] * q[c]
                q[a] = x
                if triangle[a, a] == 0.0:
                    continue
                x /= triangle[a, a]
                for j in range(p):
                    rest[j] -= x * half[a, j]
            for j in range(p - 1):
                rest[p - 1] -= shift[j] * rest[j]
            for j in range(p):
                for c in range(j + 1):
                    out[j, c] += rest[j] * rest[c]
