"""BLAS and LAPACK on C-ordered matrices, whose lower triangles are Fortran's upper ones."""

from libc.math cimport hypot
from libc.string cimport memcpy, memset
from scipy.linalg.cython_blas cimport dgemm, dsyrk, dtrsm
from scipy.linalg.cython_lapack cimport dgesvd, dpotrf


cdef inline void copy_numbers(
    double* out, const double* a, Py_ssize_t count
) noexcept nogil:
    # memcpy takes no null pointer, which arrays without numbers have, even of nothing
    if count > 0:
        memcpy(out, a, count * sizeof(double))


cdef inline void multiply(
    bint transpose_a, bint transpose_b, Py_ssize_t rows, Py_ssize_t columns,
    Py_ssize_t inner, double alpha, const double* a, const double* b, double beta,
    double* c,
) noexcept nogil:
    # c (rows, columns) = alpha op(a) op(b) + beta c, without gaps between rows
    cdef int m = <int>columns, n = <int>rows, k = <int>inner
    cdef int lda = <int>(rows if transpose_a else inner)
    cdef int ldb = <int>(inner if transpose_b else columns)
    cdef char ta = b"T" if transpose_a else b"N", tb = b"T" if transpose_b else b"N"
    if m == 0 or n == 0 or (k == 0 and beta == 1.0):
        return
    lda, ldb = max(lda, 1), max(ldb, 1)
    dgemm(&tb, &ta, &m, &n, &k, &alpha, <double*>b, &ldb, <double*>a, &lda, &beta, c, &m)


cdef inline double column_square(
    Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t j, const double* a
) noexcept nogil:
    # sum of squares of column j of a (rows, columns)
    cdef Py_ssize_t i
    cdef double x = 0.0
    for i in range(rows):
        x += a[i * columns + j] * a[i * columns + j]
    return x


cdef inline void multiply_each(
    Py_ssize_t count, Py_ssize_t k, Py_ssize_t columns, const double* a, Py_ssize_t step,
    bint transpose, const double* b, double* out,
) noexcept nogil:
    # blocks of out (count k, columns) = op(a) b by small a (k, k), `step` numbers apart
    cdef Py_ssize_t _block, i, d, j
    cdef double x
    for _block in range(count):
        for i in range(k):
            for j in range(columns):
                out[i * columns + j] = 0.0
            for d in range(k):
                x = a[d * k + i] if transpose else a[i * k + d]
                for j in range(columns):
                    out[i * columns + j] += x * b[d * columns + j]
        a, b, out = a + step, b + k * columns, out + k * columns


cdef inline void subtract_square(
    Py_ssize_t rows, Py_ssize_t columns, const double* w, double* c
) noexcept nogil:
    # lower triangle of c -= w'w for w (rows, columns)
    cdef int m = <int>columns, k = <int>rows
    cdef double minus = -1.0, one = 1.0
    if m > 0 and k > 0:
        dsyrk(b"U", b"N", &m, &k, &minus, <double*>w, &m, &one, c, &m)


cdef inline void solve_left(
    bint transpose, Py_ssize_t size, Py_ssize_t columns, const double* lower, double* b
) noexcept nogil:
    # b (size, columns) = L^-1 b, or L^-T b
    cdef int n = <int>size, r = <int>columns
    cdef double one = 1.0
    cdef char trans = b"T" if transpose else b"N"
    if n > 0 and r > 0:
        dtrsm(b"R", b"U", &trans, b"N", &r, &n, &one, <double*>lower, &n, b, &r)


cdef inline void solve_right(
    Py_ssize_t rows, Py_ssize_t size, const double* lower, double* b
) noexcept nogil:
    # b (rows, size) = b L^-T
    cdef int n = <int>size, r = <int>rows
    cdef double one = 1.0
    if n > 0 and r > 0:
        dtrsm(b"L", b"U", b"T", b"N", &n, &r, &one, <double*>lower, &n, b, &n)


cdef inline bint cholesky(Py_ssize_t size, double* a) noexcept nogil:
    # the factor in the lower triangle of a (size, size); whether there is one
    cdef int n = <int>size, info = 0
    if n > 0:
        dpotrf(b"U", &n, a, &n, &info)
    return info == 0


cdef inline void inverse_of_root(
    Py_ssize_t size, const double* lower, double* out
) noexcept nogil:
    # out (size, size) = L^-1, zero above the diagonal
    cdef Py_ssize_t i
    memset(out, 0, size * size * sizeof(double))
    for i in range(size):
        out[i * size + i] = 1.0
    solve_left(False, size, size, lower, out)


cdef inline void congruence(
    Py_ssize_t k, const double* root, const double* gram, double* image, double* out
) noexcept nogil:
    # out (k, k) = root'gram root; image is scratch
    multiply(False, False, k, k, k, 1.0, gram, root, 0.0, image)
    multiply(True, False, k, k, k, 1.0, root, image, 0.0, out)


cdef inline bint left_singular(
    Py_ssize_t size, double* a, double* vector, double* value, double* work, int length
) noexcept nogil:
    # singular values of a (size, size), which is lost, and its left vectors as columns;
    # whether they were found.  Length of work: at least 5 size.
    cdef int n = <int>size, info = 0, one = 1
    # C-ordered a is a' to LAPACK, whose right vectors are the left ones of a
    dgesvd(
        b"N", b"A", &n, &n, a, &n, value, NULL, &one, vector, &n, work, &length, &info
    )
    return info == 0


cdef inline void mirror_lower(Py_ssize_t n, double* a) noexcept nogil:
    # the lower triangle also above the diagonal, by tiles
    cdef Py_ssize_t i, j, i0, j0
    for i0 in range(0, n, 32):
        for j0 in range(0, i0 + 1, 32):
            for i in range(i0, min(i0 + 32, n)):
                for j in range(j0, min(j0 + 32, i)):
                    a[j * n + i] = a[i * n + j]


cdef inline void lower_triangle(double* root, Py_ssize_t k) noexcept nogil:
    # the columns of (k, k) root rotated: lower triangular, diagonal not negative
    cdef Py_ssize_t i, j, a
    cdef double size, c, s, x, y
    for i in range(k):
        for j in range(i + 1, k):
            if root[i * k + j] == 0.0:
                continue
            size = hypot(root[i * k + i], root[i * k + j])
            c, s = root[i * k + i] / size, root[i * k + j] / size
            for a in range(i, k):
                x, y = root[a * k + i], root[a * k + j]
                root[a * k + i], root[a * k + j] = c * x + s * y, c * y - s * x
            root[i * k + j] = 0.0
        if root[i * k + i] < 0.0:
            for a in range(i, k):
                root[a * k + i] = -root[a * k + i]
