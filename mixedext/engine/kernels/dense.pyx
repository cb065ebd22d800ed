"""Dense symmetric matrices through LAPACK, stored as C-ordered lower triangles.

A C-ordered lower triangle is Fortran's upper triangle, hence ``uplo = "U"`` throughout.
"""

from libc.math cimport log
from scipy.linalg.cython_blas cimport dtrsm
from scipy.linalg.cython_lapack cimport dpotrf, dpotri


def factor_cholesky(double[:, ::1] a):
    """Replace the lower triangle of ``a`` by its Cholesky factor L.

    Returns (log det of the matrix, 0) or (nan, order of the minor that is not positive).
    """
    cdef int n = <int> a.shape[0], info = 0
    cdef char uplo = b"U"
    cdef double total = 0.0
    cdef Py_ssize_t i
    if n == 0:
        return 0.0, 0
    with nogil:
        dpotrf(&uplo, &n, &a[0, 0], &n, &info)
        if info == 0:
            for i in range(n):
                total += log(a[i, i])
    if info != 0:
        return float("nan"), info
    return 2.0 * total, 0


def solve_cholesky(const double[:, ::1] factor, double[:, ::1] b, bint transpose):
    """Overwrite ``b`` (n, r) by L^-1 b, or by L^-T b."""
    cdef int n = <int> factor.shape[0], r = <int> b.shape[1]
    cdef char side = b"R", uplo = b"U", trans = b"T" if transpose else b"N", diag = b"N"
    cdef double one = 1.0
    if n == 0 or r == 0:
        return
    with nogil:
        dtrsm(&side, &uplo, &trans, &diag, &r, &n, &one,
              <double*> &factor[0, 0], &n, &b[0, 0], &r)


def invert_cholesky(double[:, ::1] a):
    """Replace a Cholesky factor by the inverse of its matrix, both triangles filled."""
    cdef int n = <int> a.shape[0], info = 0
    cdef char uplo = b"U"
    if n == 0:
        return
    with nogil:
        dpotri(&uplo, &n, &a[0, 0], &n, &info)
    mirror_lower(a)


def mirror_lower(double[:, ::1] a):
    """Copy the lower triangle to the upper one, tile by tile."""
    cdef Py_ssize_t n = a.shape[0], i, j, i0, j0
    with nogil:
        for i0 in range(0, n, 64):
            for j0 in range(0, i0 + 1, 64):
                for i in range(i0, min(i0 + 64, n)):
                    for j in range(j0, min(j0 + 64, i)):
                        a[j, i] = a[i, j]


def multiply_right(
    double[:, ::1] a,                     # in/out: (r, m)
    const Py_ssize_t[::1] level_start,    # in: (levels + 1,) scalar column of each level
    const Py_ssize_t[::1] level_factor,   # in: (levels,) number of its factor
    const double[:, :, ::1] lam,          # in: (factors, kmax, kmax)
    bint transpose,
    double[::1] work,                     # scratch: (kmax,)
):
    """Multiply by the block-diagonal Lam, or Lam', from the right."""
    cdef Py_ssize_t rows = a.shape[0], n_levels = level_factor.shape[0]
    cdef Py_ssize_t i, level, start, k, f, c, d
    cdef double x
    with nogil:
        for i in range(rows):
            for level in range(n_levels):
                start = level_start[level]
                k = level_start[level + 1] - start
                f = level_factor[level]
                if k == 1:
                    a[i, start] *= lam[f, 0, 0]
                    continue
                for c in range(k):
                    work[c] = a[i, start + c]
                for c in range(k):
                    x = 0.0
                    for d in range(k):
                        x += work[d] * (lam[f, c, d] if transpose else lam[f, d, c])
                    a[i, start + c] = x


def multiply_left(
    double[:, ::1] a,                     # in/out: (m, r)
    const Py_ssize_t[::1] level_start,
    const Py_ssize_t[::1] level_factor,
    const double[:, :, ::1] lam,
    bint transpose,
    double[:, ::1] work,                  # scratch: (kmax, r)
):
    """Multiply by the block-diagonal Lam, or Lam', from the left."""
    cdef Py_ssize_t columns = a.shape[1], n_levels = level_factor.shape[0]
    cdef Py_ssize_t j, level, start, k, f, c, d
    cdef double x
    with nogil:
        for level in range(n_levels):
            start = level_start[level]
            k = level_start[level + 1] - start
            f = level_factor[level]
            if k == 1:
                x = lam[f, 0, 0]
                for j in range(columns):
                    a[start, j] *= x
                continue
            for c in range(k):
                for j in range(columns):
                    work[c, j] = a[start + c, j]
                    a[start + c, j] = 0.0
            for c in range(k):
                for d in range(k):
                    x = lam[f, d, c] if transpose else lam[f, c, d]
                    if x == 0.0:
                        continue
                    for j in range(columns):
                        a[start + c, j] += x * work[d, j]


def scale_scalar_levels(
    const double[:, ::1] a, const double[::1] scale, double[:, ::1] out
):
    """Lower triangle of diag(scale) a diag(scale) + I, for one-column factors."""
    cdef Py_ssize_t n = a.shape[0], i, j
    cdef double x
    with nogil:
        for i in range(n):
            x = scale[i]
            for j in range(i + 1):
                out[i, j] = x * a[i, j] * scale[j]
            out[i, i] += 1.0


def curvature(
    const double[:, ::1] reduced,         # in: (m, m) Z2'V1^-1 Z2, both triangles
    const double[:, ::1] product,         # in: (m, m) C22 Lam2'
    const Py_ssize_t[::1] level_start,
    const Py_ssize_t[::1] level_factor,
    double[:, :, ::1] out,                # out: (factors, kmax, kmax)
):
    """Per factor sum_l [Z'V0^-1 Z Lam]_ll = sum_l [reduced Lam2 C22]_ll."""
    cdef Py_ssize_t m = reduced.shape[0], n_levels = level_factor.shape[0]
    cdef Py_ssize_t level, start, k, f, a, b, j
    cdef double x
    with nogil:
        out[:, :, :] = 0.0
        for level in range(n_levels):
            start = level_start[level]
            k = level_start[level + 1] - start
            f = level_factor[level]
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for j in range(m):
                        x += reduced[start + a, j] * product[start + b, j]
                    out[f, a, b] += x
