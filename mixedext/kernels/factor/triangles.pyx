"""Triangles through LAPACK without the overhead of general wrappers.

A C-ordered upper triangle is Fortran's lower triangle, hence ``uplo = "L"``.
"""

from libc.math cimport fmax, fmin, sqrt
from libc.stdlib cimport free, malloc
from scipy.linalg.cython_lapack cimport dgeqrf, dpotrf, dsyev, dtrtri


cdef double upper_square(const double[:, ::1] a, Py_ssize_t k) noexcept nogil:
    # Sum of the squares of the upper triangle of the leading k columns.
    cdef Py_ssize_t i, j
    cdef double total = 0.0
    for i in range(k):
        for j in range(i, k):
            total += a[i, j] * a[i, j]
    return total


def basis_of_squares(
    const double[:, ::1] sums,    # in: (m, m) cross-products of columns
    const double[::1] shift,      # in: (m,) multiples of the first column taken off them
    int rank,                     # how many columns, the leading ones, get a basis
    double count,                 # square of the length of the basis' columns
    double limit,                 # condition up to which squares tell the triangle
    double[::1] length,           # scratch: (m,)
    double[:, ::1] r,             # out: (m, m) upper triangular
    double[:, ::1] right,         # out: (m, m) upper triangular
):
    """Orthogonal basis Q of the leading columns, from cross-products.

    With E the rest of the columns less their projection on Q, [Q E] = columns right, and
    columns before the shift = [Q E/|E|] r, all in units of sqrt(count).

    Returns the least share of the length of a leading column, before the shift, that is
    orthogonal to the columns before it; 0 if squares do not tell.
    """
    cdef int m = <int> sums.shape[0], info = 0, i, j, c
    cdef char uplo = b"L", diag = b"N"
    cdef double x, share = 1.0
    with nogil:
        r[:, :] = 0.0
        right[:, :] = 0.0
        for j in range(rank):
            if not sums[j, j] > 0.0:
                with gil:
                    return 0.0
            length[j] = sqrt(sums[j, j] / count)
        if rank > 0:
            # of columns of length one, so that their scales do not matter
            for i in range(rank):
                for j in range(i, rank):
                    r[i, j] = sums[i, j] / count / (length[i] * length[j])
            dpotrf(&uplo, &rank, &r[0, 0], &m, &info)
            if info == 0:
                for i in range(rank):
                    for j in range(i, rank):
                        right[i, j] = r[i, j]
                dtrtri(&uplo, &diag, &rank, &right[0, 0], &m, &info)
            if info != 0 or not (
                upper_square(r, rank) * upper_square(right, rank) <= limit * limit
            ):
                with gil:
                    return 0.0
        for i in range(rank):
            for j in range(i, rank):
                r[i, j] *= length[j]
                right[i, j] /= length[i]
        for j in range(rank, m):
            x = sums[j, j] / count
            for i in range(rank):
                for c in range(i + 1):
                    r[i, j] += right[c, i] * (sums[c, j] / count)
                x -= r[i, j] * r[i, j]
            for i in range(rank):
                for c in range(i, rank):
                    right[i, j] -= right[i, c] * r[c, j]
            r[j, j] = sqrt(fmax(x, 0.0))
            right[j, j] = 1.0
        for j in range(1, m):
            r[0, j] += r[0, 0] * shift[j]
        for j in range(rank):
            x = 0.0
            for i in range(j + 1):
                x += r[i, j] * r[i, j]
            share = fmin(share, r[j, j] / sqrt(x))
    return share


cdef void turn_lower(double[:, ::1] root, double* work) noexcept nogil:
    # Lower triangle with the same square root root', diagonal >= 0, in place; work (2k,).
    # What is root' to Fortran has a factor R whose transpose that is.
    cdef int k = <int> root.shape[0], info = 0
    cdef Py_ssize_t i, j
    dgeqrf(&k, &k, &root[0, 0], &k, work, work + k, &k, &info)
    for i in range(k):
        for j in range(i + 1, k):
            root[i, j] = 0.0
    for j in range(k):
        if root[j, j] < 0.0:
            for i in range(j, k):
                root[i, j] = -root[i, j]


def lower_root(const double[:, :] root, double[:, ::1] out):
    """Lower triangle out, root (k, k): out out' = root root'; its diagonal >= 0."""
    cdef double* work
    if root.shape[0] == 0:
        return
    work = <double*> malloc(2 * root.shape[0] * sizeof(double))
    if work == NULL:
        raise MemoryError
    with nogil:
        out[:, :] = root
        turn_lower(out, work)
        free(work)


def clipped_root(const double[:, :] matrix, double share, double most, double[:, ::1] out):
    """Lower root (k, k) of a symmetric matrix (k, k) with its eigenvalues clipped.

    They are at least ``share`` of the largest and of one, and at most ``most``.
    """
    cdef int k = <int> matrix.shape[0], length = 5 * k, info = 0
    cdef Py_ssize_t a, j
    cdef char jobz = b"V", uplo = b"L"
    cdef double least
    cdef double* value
    cdef double* work
    if k == 0:
        return
    value = <double*> malloc((k + length) * sizeof(double))
    if value == NULL:
        raise MemoryError
    work = value + k
    with nogil:
        out[:, :] = matrix
        dsyev(&jobz, &uplo, &k, &out[0, 0], &k, value, work, &length, &info)
        # vectors are rows here: the root is their transpose, scaled
        least = fmax(share, share * value[k - 1])
        for j in range(k):
            value[j] = sqrt(fmin(fmax(value[j], least), most))
            for a in range(k):
                out[j, a] *= value[j]
        for j in range(k):
            for a in range(j):
                out[j, a], out[a, j] = out[a, j], out[j, a]
        turn_lower(out, work)
        free(value)
    if info != 0:
        raise ArithmeticError("no eigenvalues found")
