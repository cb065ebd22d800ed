"""What varies within the levels of a grouping factor, with no digits lost.

With A_l = Z_l'Z_l = R_l'R_l and Gamma_l = R_l^-T Z_l'[X y], the cross-products of one level
split into Gamma_l'Gamma_l and those of the residuals of [X y] on Z_l.  Their sum W over
the levels makes [X y]'V0^-1 [X y] a sum of positive terms,

    W + sum_l Gamma_l'(I + R_l Sigma R_l')^-1 Gamma_l,

where the usual difference cancels if the levels vary far more than the residuals.
"""

from libc.math cimport sqrt
from libc.stdint cimport int32_t

# Pivots below this share of a diagonal are rounding: the column depends on earlier ones.
cdef double NO_PIVOT = 1e-15


cdef inline void level_triangle(
    const double* gram, const double* cross, Py_ssize_t k, Py_ssize_t p,
    double* r, double* gamma,
) noexcept nogil:
    # r (k, k) upper triangular with r'r = gram, gamma (k, p) = r^-T cross; rows of
    # dependent columns are zero.
    cdef Py_ssize_t a, b, c, j
    cdef double x
    for a in range(k):
        x = gram[a * k + a]
        for c in range(a):
            x -= r[c * k + a] * r[c * k + a]
        if not x > NO_PIVOT * k * gram[a * k + a]:
            for b in range(k):
                r[a * k + b] = 0.0
            for j in range(p):
                gamma[a * p + j] = 0.0
            continue
        r[a * k + a] = sqrt(x)
        for b in range(a):
            r[a * k + b] = 0.0
        for b in range(a + 1, k):
            x = gram[a * k + b]
            for c in range(a):
                x -= r[c * k + a] * r[c * k + b]
            r[a * k + b] = x / r[a * k + a]
        for j in range(p):
            x = cross[a * p + j]
            for c in range(a):
                x -= r[c * k + a] * gamma[c * p + j]
            gamma[a * p + j] = x / r[a * k + a]


def mirror(double[:, ::1] a):
    """Copy the lower triangle to the upper one."""
    cdef Py_ssize_t i, j
    for i in range(a.shape[0]):
        for j in range(i):
            a[j, i] = a[i, j]


def within_levels(
    const double[:, :, ::1] gram,     # in: (L, k, k)
    const double[:, :, ::1] cross,    # in: (L, k, P)
    const double[:, :] whole,         # in: (P, P) [X y]'[X y]
    double rounding,                  # share of a square below which nothing is left
    double[:, ::1] r,                 # scratch: (k, k)
    double[:, ::1] gamma,             # scratch: (k, P)
    double[:, ::1] out,               # out: (P, P)
):
    """W as what the sum of Gamma_l'Gamma_l over the levels leaves of [X y]'[X y].

    Rows and columns of which nothing is left are zero.  Returns the share that is left of
    the last square, y'y.
    """
    cdef Py_ssize_t k = gram.shape[1], p = cross.shape[2], level, a, i, j
    cdef double x, share
    with nogil:
        out[:, :] = 0.0
        for level in range(gram.shape[0]):
            level_triangle(
                &gram[level, 0, 0], &cross[level, 0, 0], k, p, &r[0, 0], &gamma[0, 0]
            )
            for a in range(k):
                for i in range(p):
                    x = gamma[a, i]
                    for j in range(i + 1):
                        out[i, j] -= x * gamma[a, j]
        for i in range(p):
            for j in range(i + 1):
                out[i, j] += whole[i, j]
        share = out[p - 1, p - 1] / whole[p - 1, p - 1]
        for i in range(p):
            if out[i, i] < rounding * whole[i, i]:
                for j in range(p):
                    out[max(i, j), min(i, j)] = 0.0
    mirror(out)
    return share


def within_products(
    const int32_t[::1] codes,         # in: (n,) levels of the rows of this chunk
    const double[:, ::1] z,           # in: (k, n)
    const double[:, ::1] fixed,       # in: (n, P)
    const double[:, :, ::1] gram,     # in: (L, k, k)
    const double[:, :, ::1] cross,    # in: (L, k, P)
    double[:, ::1] r,                 # scratch: (k, k)
    double[:, ::1] gamma,             # scratch: (k, P)
    double[::1] q,                    # scratch: (k,)
    double[::1] rest,                 # scratch: (P,)
    double[:, ::1] out,               # out: (P, P), lower triangle += residuals' products
):
    """Cross-products of the residuals of [X y] on Z within levels, from the rows."""
    cdef Py_ssize_t n = codes.shape[0], k = z.shape[0], p = fixed.shape[1]
    cdef Py_ssize_t i, a, c, j, level = -1
    cdef double x
    with nogil:
        for i in range(n):
            if codes[i] != level:
                level = codes[i]
                level_triangle(
                    &gram[level, 0, 0], &cross[level, 0, 0], k, p, &r[0, 0], &gamma[0, 0]
                )
            for j in range(p):
                rest[j] = fixed[i, j]
            for a in range(k):  # q = r^-T z, one row of an orthonormal basis of Z_l
                q[a] = 0.0
                if r[a, a] == 0.0:
                    continue
                x = z[a, i]
                for c in range(a):
                    x -= r[c, a] * q[c]
                q[a] = x / r[a, a]
                for j in range(p):
                    rest[j] -= q[a] * gamma[a, j]
            for j in range(p):
                for c in range(j + 1):
                    out[j, c] += rest[j] * rest[c]
