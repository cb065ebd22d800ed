"""Covariance matrices of many small clusters of rows: factors, whitened rows, inverses."""

from libc.math cimport log, sqrt, INFINITY

from mixedext.kernels.row_major cimport mirror_lower


def factor_clusters(
    double[:, :, ::1] covariance,     # in: V of each cluster; out: L, V = L L', (G, s, s)
    const double[:, :, ::1] columns,  # in: c, (G, s, P)
    double[:, ::1] work,              # work: (s, P)
    double[:, ::1] cross,             # in, out: sum c'V^-1 c is added, (P, P)
):
    """log|V| over all clusters, infinite where some V is not positive definite.

    Above its diagonal L is not written.
    """
    cdef Py_ssize_t count = covariance.shape[1], width = columns.shape[2], g, i, j, k
    cdef double total = 0.0, product = 1.0, x, scale
    cdef double *own
    cdef double *row
    cdef double *other
    with nogil:
        for g in range(covariance.shape[0]):
            own = &covariance[g, 0, 0]
            for i in range(count):
                row = own + i * count
                for j in range(i):
                    other = own + j * count
                    x = row[j]
                    for k in range(j):
                        x -= row[k] * other[k]
                    row[j] = x / other[j]
                x = row[i]
                for k in range(i):
                    x -= row[k] * row[k]
                if not (0 < x < INFINITY):
                    total = INFINITY
                    break
                product *= x
                if not 1e-150 < product < 1e150:
                    total += log(product)
                    product = 1.0
                row[i] = sqrt(x)
                scale = 1.0 / row[i]
                for j in range(width):
                    work[i, j] = columns[g, i, j]
                for k in range(i):
                    x = row[k]
                    for j in range(width):
                        work[i, j] -= x * work[k, j]
                for j in range(width):
                    work[i, j] *= scale
                for j in range(width):
                    x = work[i, j]
                    for k in range(j + 1):
                        cross[j, k] += x * work[i, k]
            if total == INFINITY:
                break
        for j in range(width):
            for k in range(j):
                cross[k, j] = cross[j, k]
    return total + log(product)


def invert_clusters(
    double[:, :, ::1] factor,   # in: L; out: V^-1, (G, s, s)
    double[:, ::1] work,        # work: (s, s)
):
    """Inverses from what ``factor_clusters`` has left."""
    cdef Py_ssize_t count = factor.shape[1], g, i, j, k
    cdef double x, scale
    cdef double *own
    with nogil:
        for g in range(factor.shape[0]):
            own = &factor[g, 0, 0]
            for i in range(count):  # rows of L^-1
                for j in range(i):
                    work[i, j] = 0.0
                for k in range(i):
                    x = own[i * count + k]
                    for j in range(k + 1):
                        work[i, j] -= x * work[k, j]
                scale = 1.0 / own[i * count + i]
                for j in range(i):
                    work[i, j] *= scale
                work[i, i] = scale
            for i in range(count):
                for j in range(i + 1):
                    own[i * count + j] = 0.0
                for j in range(i + 1):
                    x = work[i, j]
                    for k in range(j + 1):
                        own[j * count + k] += x * work[i, k]
            for i in range(count):
                for j in range(i):
                    own[j * count + i] = own[i * count + j]


def mirror_clusters(double[:, :, ::1] matrices):
    """Put what stands below the diagonal of (G, s, s) above it, too."""
    cdef Py_ssize_t g
    with nogil:
        for g in range(matrices.shape[0]):
            mirror_lower(matrices.shape[1], &matrices[g, 0, 0])
