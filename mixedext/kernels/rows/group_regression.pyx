"""One least-squares regression a group, by modified Gram-Schmidt done twice.

The columns of a group, [X y] = Q T with orthogonal Q and unit upper triangular T, are
orthogonalized in a buffer of the group's size.  Where there is an intercept the others are
centred within the group first, so that columns far from zero lose no digits.
"""

from libc.math cimport NAN, fabs, sqrt
from libc.stdint cimport int64_t

import numpy as np

# R's tolerance (qr, tol = 1e-7) for columns that depend on earlier ones, here relative to
# the length about the group's mean; and what rounding leaves of a column that is constant.
cdef double DEPENDENT = 1e-7
cdef double ROUNDING = 1e-14


cdef double dot(const double* a, const double* b, Py_ssize_t m) noexcept nogil:
    cdef double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0
    cdef Py_ssize_t i = 0
    while i + 4 <= m:
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
        i += 4
    while i < m:
        s0 += a[i] * b[i]
        i += 1
    return (s0 + s1) + (s2 + s3)


cdef double centre(
    double* a, const double* root, double total, Py_ssize_t m
) noexcept nogil:
    """Subtract the mean, and what rounding left of it; returns the mean.

    root: square roots of the weights, of sum total, or NULL.
    """
    cdef double whole = 0.0, mean
    cdef Py_ssize_t i
    cdef int _again
    for _again in range(2):
        mean = 0.0
        if root is NULL:
            for i in range(m):
                mean += a[i]
        else:
            for i in range(m):
                mean += root[i] * root[i] * a[i]
        mean /= total
        for i in range(m):
            a[i] -= mean
        whole += mean
    return whole


cdef void multiply(double* a, const double* root, Py_ssize_t m) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(m):
        a[i] *= root[i]


cdef void solve(
    const double* t, const double* d, Py_ssize_t p, Py_ssize_t j, double* out
) noexcept nogil:
    """Column j of T in terms of the kept columns of X instead of Q."""
    cdef Py_ssize_t k, other, width = p + 1
    for k in range(min(p, j) - 1, -1, -1):
        out[k] = 0.0
        if d[k] == 0.0:
            continue
        out[k] = t[k * width + j]
        for other in range(k + 1, min(p, j)):
            if d[other] != 0.0:
                out[k] -= t[k * width + other] * out[other]


cdef Py_ssize_t regress(
    double* q,               # in/out: (p + 1, m) columns, y last
    const double* root,      # in: (m,) square roots of the weights, or NULL
    double* scratch,         # scratch: ((p + 1)^2 + 3 p,)
    double* b,               # out: (p,) coefficients, NaN where not estimable
    double* unscaled,        # out: (p,) diagonal of (X'X)^-1, NaN likewise
    Py_ssize_t m, Py_ssize_t p, bint intercept,
) noexcept nogil:
    """One regression; returns the rank, and leaves the residuals in y's place.

    The residuals are multiplied by the roots of the weights.
    """
    cdef Py_ssize_t j, k, i, rank = 0, first = 0, width = p + 1
    cdef double own, left, s = 1.0, total = m
    cdef double* t = scratch           # (p + 1, p + 1) T
    cdef double* d = t + width * width  # (p,) squared lengths of Q, 0 for dependent columns
    cdef double* length = d + p        # (p,) lengths of X
    cdef double* a = length + p        # (p,)
    cdef double* column
    cdef int _again
    for i in range(width * width):
        t[i] = 0.0
    if root is not NULL:
        total = dot(root, root, m)
    if intercept:
        s = q[0]
        first = rank = 1
        d[0], t[0] = total * s * s, 1.0
        length[0] = sqrt(d[0])
    for j in range(first, width):
        left = 0.0
        if intercept:
            left = centre(q + j * m, root, total, m)
            t[j] = left / s
        if root is not NULL:
            multiply(q + j * m, root, m)
        if j < p:
            d[j] = 0.0
            length[j] = sqrt(dot(q + j * m, q + j * m, m) + total * left * left)
    for j in range(first, width):
        column = q + j * m
        own = sqrt(dot(column, column, m))
        for _again in range(2):
            for k in range(first, min(j, p)):
                if d[k] == 0.0:
                    continue
                s = dot(q + k * m, column, m) / d[k]
                for i in range(m):
                    column[i] -= s * q[k * m + i]
                t[k * width + j] += s
        if j < p:
            left = sqrt(dot(column, column, m))
            if left > DEPENDENT * own and left > ROUNDING * length[j]:
                d[j], t[j * width + j] = left * left, 1.0
                rank += 1
    solve(t, d, p, p, b)
    # diagonal of T^-1 D^-1 T^-T: column j of T^-1 is minus what solve gives, and 1
    for k in range(p):
        unscaled[k] = 0.0
    for j in range(p):
        if d[j] == 0.0:
            continue
        solve(t, d, p, j, a)
        unscaled[j] += 1.0 / d[j]
        for k in range(j):
            unscaled[k] += a[k] * a[k] / d[j]
    # A coefficient is estimable if no dependent column is made of its column.
    for j in range(p):
        if d[j] != 0.0:
            continue
        b[j] = unscaled[j] = NAN
        solve(t, d, p, j, a)
        for k in range(j):
            if d[k] != 0.0 and fabs(a[k]) * length[k] > DEPENDENT * length[j]:
                b[k] = unscaled[k] = NAN
    return rank


def group_regressions(
    const double[:, ::1] columns,     # in: (p, n)
    const double[::1] y,              # in: (n,)
    const double[::1] roots,          # in: (n,) square roots of the weights, or (0,): all 1
    const int64_t[::1] order,         # in: (n,) rows sorted by group
    const int64_t[::1] start,         # in: (L + 1,) where every group begins in order
    bint intercept,                   # in: the first column is a constant other than 0
    *,
    double[:, ::1] coefficients,      # out: (L, p), NaN where not estimable
    double[:, ::1] unscaled,          # out: (L, p) diagonal of (X'X)^-1, NaN likewise
    double[::1] squares,              # out: (L,) weighted residual sum of squares
    int64_t[::1] ranks,               # out: (L,)
    double[::1] residuals,            # out: (n,) in the order of the rows
):
    """Regression of y on the columns in every group."""
    cdef Py_ssize_t p = columns.shape[0], level, i, j, m
    cdef int64_t low
    # the rows of one group: X, y, and roots of the weights
    cdef double[::1] buffer = np.empty((p + 2) * int(np.diff(start).max(initial=0)))
    cdef double[::1] scratch = np.empty((p + 1) ** 2 + 3 * p)
    cdef double* root = NULL
    cdef bint weighted = roots.shape[0] > 0
    with nogil:
        for level in range(start.shape[0] - 1):
            low = start[level]
            m = start[level + 1] - low
            for j in range(p):
                for i in range(m):
                    buffer[j * m + i] = columns[j, order[low + i]]
            for i in range(m):
                buffer[p * m + i] = y[order[low + i]]
            if weighted:
                root = &buffer[(p + 1) * m]
                for i in range(m):
                    root[i] = roots[order[low + i]]
            ranks[level] = regress(
                &buffer[0], root, &scratch[0], &coefficients[level, 0],
                &unscaled[level, 0], m, p, intercept,
            )
            squares[level] = dot(&buffer[p * m], &buffer[p * m], m)
            for i in range(m):
                if weighted:
                    buffer[p * m + i] /= root[i]
                residuals[order[low + i]] = buffer[p * m + i]
