"""Levels and links as the expected information of the variances needs them.

Letters are those of ``lead``: A_l = Z_l'Z_l, lam the relative covariance factor, Sigma =
lam lam'.  With A = R'R and I + R Sigma R' = L L' the products with V_1^-1 (V_1: covariance
of the leading factor alone) are sums of squares,

    Z_l'V_1^-1 Z_l = H'H,    Z_l'V_1^-1 X = H'L^-1 R^-T Z_l'X,    H = L^-1 R,

so that no digits are lost however large or small Sigma A is.
"""

from libc.math cimport hypot, sqrt
from mixedext.kernels.factor.layout cimport LinkArrays, Links
from mixedext.kernels.triangle cimport split_level

import numpy as np


def reduced_products(
    const double[:, :, ::1] gram,     # in: (L, k, k)
    const double[:, :, ::1] cross,    # in: (L, k, P); P may be 0
    const double[:, ::1] lam,         # in: (k, k)
    double[:, :, ::1] root,           # out: (L, k, k) H
    double[:, :, ::1] inner,          # out: (L, k, k) Z_l'V_1^-1 Z_l
    double[:, :, ::1] response,       # out: (L, k, P) Z_l'V_1^-1 X
):
    """H, Z_l'V_1^-1 Z_l and Z_l'V_1^-1 X of every level."""
    cdef Py_ssize_t k = gram.shape[1], p = cross.shape[2], level, a, b, c, j
    cdef double x, d, cosine, sine
    cdef double[:, ::1] triangle = np.empty((k, k)), half = np.empty((k, p))
    cdef double[:, ::1] work = np.empty((2 * k, k))
    cdef double* fixed = &half[0, 0] if p > 0 else NULL
    with nogil:
        for level in range(gram.shape[0]):
            split_level(
                &gram[level, 0, 0], &cross[level, 0, 0] if p > 0 else NULL, k, p,
                &triangle[0, 0], fixed,
            )
            # root = R = D^1/2 U; half = R^-T Z'X
            for a in range(k):
                d = sqrt(triangle[a, a])
                for b in range(k):
                    root[level, a, b] = 0.0 if b < a else d * (
                        1.0 if a == b else triangle[a, b]
                    )
                x = 1.0 / d if d > 0.0 else 0.0
                for j in range(p):
                    half[a, j] *= x
            # work[:k] = R lam; work[k:] = L
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for c in range(a, k):
                        x += root[level, a, c] * lam[c, b]
                    work[a, b] = x
            for a in range(k):
                for b in range(a + 1):
                    work[k + a, b] = 1.0 if a == b else 0.0
            # columns of R lam are rotated into I: in sums of their squares 1 would be lost
            for c in range(k):
                for a in range(k):
                    d, x = work[k + a, a], work[a, c]
                    if x == 0.0:
                        continue
                    work[k + a, a] = hypot(d, x)
                    cosine, sine = d / work[k + a, a], x / work[k + a, a]
                    for b in range(a + 1, k):
                        d, x = work[k + b, a], work[b, c]
                        work[k + b, a] = cosine * d + sine * x
                        work[b, c] = cosine * x - sine * d
            # L^-1 from the left, in place
            for a in range(k):
                for c in range(a):
                    x = work[k + a, c]
                    for b in range(k):
                        root[level, a, b] -= x * root[level, c, b]
                    for j in range(p):
                        half[a, j] -= x * half[c, j]
                x = 1.0 / work[k + a, a]
                for b in range(k):
                    root[level, a, b] *= x
                for j in range(p):
                    half[a, j] *= x
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for c in range(k):
                        x += root[level, c, a] * root[level, c, b]
                    inner[level, a, b] = x
                for j in range(p):
                    x = 0.0
                    for c in range(k):
                        x += root[level, c, a] * half[c, j]
                    response[level, a, j] = x


def weigh_responses(
    const Py_ssize_t[::1] member,      # in: (count,) r of elements E_r[a, b] not zero,
    const Py_ssize_t[::1] row,         # in: (count,) ... a
    const Py_ssize_t[::1] column,      # in: (count,) ... and b,
    const double[::1] value,           # in: (count,) ... E_r[a, b]
    const double[:, :, ::1] response,  # in: (L, k, P) T_l
    const double[:, :, ::1] root,      # in: (L, k, k) H_l
    double[:, :, ::1] weighted,        # out: (L, k, R P): E_r T_l side by side, if L > 0
    double[:, :, ::1] rooted,          # out: (L, k, R P): H_l E_r T_l
):
    """E_r T_l and H_l E_r T_l for every element r of the covariance."""
    cdef Py_ssize_t k = response.shape[1], p = response.shape[2]
    cdef Py_ssize_t width = rooted.shape[2], level, s, a, j
    cdef bint keep = weighted.shape[0] > 0
    cdef double x
    cdef double* out
    cdef const double* own
    with nogil:
        for level in range(response.shape[0]):
            if keep:
                for a in range(k):
                    for j in range(width):
                        weighted[level, a, j] = 0.0
            for a in range(k):
                for j in range(width):
                    rooted[level, a, j] = 0.0
            for s in range(member.shape[0]):
                own = &response[level, column[s], 0]
                if keep:
                    x, out = value[s], &weighted[level, row[s], member[s] * p]
                    for j in range(p):
                        out[j] += x * own[j]
                for a in range(k):
                    x = value[s] * root[level, a, row[s]]
                    out = &rooted[level, a, member[s] * p]
                    for j in range(p):
                        out[j] += x * own[j]


cdef inline void _add_products(
    double *out, const Py_ssize_t *index, const double *right, const double *left,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t k,
) noexcept nogil:
    # out[index[t]] += left . right[t]
    cdef Py_ssize_t t, a
    cdef double x
    if k == 1:
        x = left[0]
        for t in range(start, stop):
            out[index[t]] += x * right[t]
    else:
        for t in range(start, stop):
            x = 0.0
            for a in range(k):
                x += left[a] * right[k * t + a]
            out[index[t]] += x


def square_dense(
    Links links,
    const double[:, ::1] left,        # in: (nnz, k)
    const double[:, ::1] right,       # in: (nnz, k)
    double[:, ::1] out,               # in/out: (m, m) lower triangle += sum_l left right'
):
    """Symmetric sum over the levels of the lead of products of their links, dense."""
    cdef LinkArrays at = links.at
    cdef Py_ssize_t k = left.shape[1], row, s, link
    with nogil:
        for row in range(out.shape[0]):
            for s in range(at.column_start[row], at.column_start[row + 1]):
                link = at.column_link[s]
                _add_products(
                    &out[row, 0], at.index, &right[0, 0], &left[link, 0],
                    at.pointers[at.column_level[s]], link + 1, k,
                )


def square_sparse(
    Links links,
    const double[:, ::1] left,        # in: (nnz, k)
    const double[:, ::1] right,       # in: (nnz, k)
    const Py_ssize_t[::1] pointers,   # in: (m + 1,) lower triangle by columns ...
    const Py_ssize_t[::1] rows,       # in: (stored,) ... the row numbers
    double[::1] out,                  # out: (stored,) the sum on that pattern
):
    """The same for a tail whose lower triangle is stored by columns."""
    cdef LinkArrays at = links.at
    cdef Py_ssize_t k = left.shape[1], column, s, link
    cdef double[::1] whole = np.zeros(links.n_columns)
    with nogil:
        for column in range(links.n_columns):
            for s in range(at.column_start[column], at.column_start[column + 1]):
                link = at.column_link[s]
                _add_products(
                    &whole[0], at.index, &right[0, 0], &left[link, 0],
                    link, at.pointers[at.column_level[s] + 1], k,
                )
            for s in range(pointers[column], pointers[column + 1]):
                out[s] = whole[rows[s]]
                whole[rows[s]] = 0.0
