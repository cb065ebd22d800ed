"""Dense symmetric matrices through LAPACK, stored as C-ordered lower triangles.

A C-ordered lower triangle is Fortran's upper triangle, hence ``uplo = "U"`` throughout.
"""

from libc.math cimport log
from mixedext.kernels.factor.layout cimport LevelArrays, TailLevels
from scipy.linalg.cython_blas cimport dsymm, dsyrk, dtrsm
from scipy.linalg.cython_lapack cimport dpotrf, dpotri


def factor_cholesky(double[:, ::1] a):
    """Replace the lower triangle of ``a`` (n, n) by its Cholesky factor L.

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
    """Overwrite ``b`` (n, r) by L^-1 b, or by L^-T b, for L (n, n)."""
    cdef int n = <int> factor.shape[0], r = <int> b.shape[1]
    cdef char side = b"R", uplo = b"U", trans = b"T" if transpose else b"N", diag = b"N"
    cdef double one = 1.0
    if n == 0 or r == 0:
        return
    with nogil:
        dtrsm(&side, &uplo, &trans, &diag, &r, &n, &one,
              <double*> &factor[0, 0], &n, &b[0, 0], &r)


def invert_upper(double[:, ::1] a):
    """Replace L' by (L L')^-1, both in the upper triangle of ``a`` (n, n)."""
    cdef int n = <int> a.shape[0], info = 0
    cdef char uplo = b"L"
    if n == 0:
        return
    with nogil:
        dpotri(&uplo, &n, &a[0, 0], &n, &info)


def transpose_lower(const double[:, ::1] a, double[:, ::1] out):
    """Copy the lower triangle of ``a`` into the upper one of ``out``, both (n, n)."""
    cdef Py_ssize_t n = a.shape[0], i, j, i0, j0
    with nogil:
        for i0 in range(0, n, 32):
            for j0 in range(0, i0 + 1, 32):
                for i in range(i0, min(i0 + 32, n)):  # by tiles
                    for j in range(j0, min(j0 + 32, i + 1)):
                        out[j, i] = a[i, j]


def multiply_lower(
    const double[:, ::1] a,               # in: (m, m)
    const double[::1] diagonal,           # in: (m,)
    const double[:, ::1] b,               # in: (m, r)
    double[:, ::1] out,                   # out: (m, r) A b
):
    """Product with the symmetric A: strict lower triangle of ``a``, and its diagonal."""
    cdef int n = <int> a.shape[0], r = <int> b.shape[1]
    cdef char side = b"R", uplo = b"U"
    cdef double one = 1.0, zero = 0.0
    cdef Py_ssize_t i, j
    if n == 0 or r == 0:
        return
    with nogil:
        dsymm(&side, &uplo, &r, &n, &one, <double*> &a[0, 0], &n,
              <double*> &b[0, 0], &r, &zero, &out[0, 0], &r)
        for i in range(n):
            for j in range(r):
                out[i, j] += (diagonal[i] - a[i, i]) * b[i, j]


def subtract_square(const double[:, ::1] w, double[:, ::1] a):
    """Lower triangle of ``a`` (m, m) less that of w'w, for ``w`` (r, m)."""
    cdef int m = <int> a.shape[0], r = <int> w.shape[0]
    cdef char uplo = b"U", trans = b"N"
    cdef double minus = -1.0, one = 1.0
    if m == 0 or r == 0:
        return
    with nogil:
        dsyrk(&uplo, &trans, &m, &r, &minus, <double*> &w[0, 0], &m, &one, &a[0, 0], &m)


def multiply_upper(
    const double[:, ::1] a,               # in: (m, m) symmetric, upper triangle
    const double[:, ::1] w,               # in: (r, m)
    double[:, ::1] out,                   # out: (r, m) = w a
):
    """Product with a symmetric matrix from the right."""
    cdef int m = <int> a.shape[0], r = <int> w.shape[0]
    cdef char side = b"L", uplo = b"L"
    cdef double one = 1.0, zero = 0.0
    if m == 0 or r == 0:
        return
    with nogil:
        dsymm(&side, &uplo, &m, &r, &one, <double*> &a[0, 0], &m,
              <double*> &w[0, 0], &m, &zero, &out[0, 0], &m)


def multiply_left(
    double[:, ::1] a,                     # in/out: (m, r)
    TailLevels levels,
    const double[:, :, ::1] lam,          # in: (factors, kmax, kmax)
    bint transpose,
    double[:, ::1] work,                  # scratch: (kmax, r)
):
    """Multiply by the block-diagonal Lam, or Lam', from the left."""
    cdef LevelArrays at = levels.at
    cdef Py_ssize_t columns = a.shape[1], n_levels = levels.n_levels
    cdef Py_ssize_t j, level, start, k, f, c, d
    cdef double x
    with nogil:
        for level in range(n_levels):
            start = at.start[level]
            k = at.start[level + 1] - start
            f = at.factor[level]
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


def scale_levels(
    const double[:, ::1] a,               # in: (m, m) symmetric, lower triangle
    TailLevels levels,
    const double[:, :, ::1] lam,          # in: (factors, kmax, kmax)
    double[::1] scale,                    # scratch: (m,)
    double[:, ::1] work,                  # scratch: (kmax, m), (0, m) if that is one
    double[:, ::1] out,                   # out: (m, m) lower triangle of Lam' A Lam + I
):
    """Scale a matrix by the block-diagonal Lam from both sides and add the identity."""
    cdef LevelArrays at = levels.at
    cdef Py_ssize_t n_levels = levels.n_levels, kmax = lam.shape[1]
    cdef Py_ssize_t level, other, start, k, f, g, h, first, c, d, j
    cdef double x
    with nogil:
        for level in range(n_levels):
            if at.start[level + 1] - at.start[level] == 1:
                scale[at.start[level]] = lam[at.factor[level], 0, 0]
        for level in range(n_levels):
            start = at.start[level]
            k = at.start[level + 1] - start
            f = at.factor[level]
            if kmax == 1:
                x = scale[start]
                for j in range(start + 1):
                    out[start, j] = x * a[start, j] * scale[j]
                out[start, start] += 1.0
                continue
            # work = lam' A[level, :], its last block from the lower triangle alone
            for c in range(k):
                for j in range(start):
                    work[c, j] = 0.0
                for d in range(k):
                    x = lam[f, d, c]
                    for j in range(start):
                        work[c, j] += x * a[start + d, j]
                for j in range(k):
                    x = 0.0
                    for d in range(k):
                        x += lam[f, d, c] * a[start + max(d, j), start + min(d, j)]
                    work[c, start + j] = x
            for other in range(level + 1):
                first = at.start[other]
                h = at.start[other + 1] - first
                g = at.factor[other]
                for c in range(k):
                    if h == 1:
                        out[start + c, first] = work[c, first] * lam[g, 0, 0]
                        continue
                    for j in range(h if other < level else c + 1):
                        x = 0.0
                        for d in range(h):
                            x += work[c, first + d] * lam[g, d, j]
                        out[start + c, first + j] = x
            for c in range(k):
                out[start + c, start + c] += 1.0


cdef inline double _lower(
    const double[:, ::1] a, const double[::1] diagonal, Py_ssize_t i, Py_ssize_t j,
) noexcept nogil:
    return diagonal[i] if i == j else (a[i, j] if i > j else a[j, i])


def curvature(
    const double[:, ::1] a,               # in: (m, m) strict lower: Z2'V1^-1 Z2; upper: C22
    const double[::1] diagonal,           # in: (m,) of Z2'V1^-1 Z2 = N
    TailLevels levels,
    const double[:, :, ::1] lam,          # in: (factors, kmax, kmax)
    double[::1] sums,                     # scratch: (m,)
    double[::1] scale,                    # scratch: (m,)
    double[:, :, ::1] out,                # out: (factors, kmax, kmax)
):
    """Per factor sum_l [Z'V0^-1 Z Lam]_ll = sum_l [N Lam2 C22]_ll."""
    cdef LevelArrays at = levels.at
    cdef Py_ssize_t m = a.shape[0], n_levels = levels.n_levels, kmax = lam.shape[1]
    cdef Py_ssize_t level, other, start, first, k, h, f, g, p, q, c, d, i, j, i0, j0
    cdef double x, y
    with nogil:
        out[:, :, :] = 0.0
        if kmax == 1:
            for i in range(m):
                scale[i] = lam[at.factor[i], 0, 0]
                sums[i] = diagonal[i] * a[i, i] * scale[i]
            for i0 in range(0, m, 32):
                for j0 in range(0, i0 + 1, 32):
                    for i in range(i0, min(i0 + 32, m)):
                        y = 0.0
                        for j in range(j0, min(j0 + 32, i)):
                            x = a[i, j] * a[j, i]
                            sums[j] += x * scale[i]
                            y += x * scale[j]
                        sums[i] += y
            for i in range(m):
                out[at.factor[i], 0, 0] += sums[i]
        else:
            for level in range(n_levels):
                start = at.start[level]
                k = at.start[level + 1] - start
                f = at.factor[level]
                for other in range(level):
                    first = at.start[other]
                    h = at.start[other + 1] - first
                    g = at.factor[other]
                    # N[level, other] lam_other C[other, level], and the other way round
                    for p in range(k):
                        for d in range(h):
                            x = 0.0
                            for c in range(h):
                                x += a[start + p, first + c] * lam[g, c, d]
                            for q in range(k):
                                out[f, p, q] += x * a[first + d, start + q]
                    for p in range(h):
                        for d in range(k):
                            x = 0.0
                            for c in range(k):
                                x += a[start + c, first + p] * lam[f, c, d]
                            for q in range(h):
                                out[g, p, q] += x * a[first + q, start + d]
                for p in range(k):
                    for d in range(k):
                        x = 0.0
                        for c in range(k):
                            x += _lower(a, diagonal, start + p, start + c) * lam[f, c, d]
                        for q in range(k):
                            out[f, p, q] += x * a[start + min(d, q), start + max(d, q)]
