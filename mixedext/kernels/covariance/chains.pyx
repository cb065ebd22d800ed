"""Sums over chains of rows each of which depends on the one before alone.

With r the correlation of two rows that follow each other, delta their difference and
p = 1 / (1 - r^2), w = 1 / (1 + r),

    c'K c = sum c_1^2 + p (c_j - r c_(j-1))^2,                K = V^-1,
    d c'K c = sum p' delta^2 + 2 w' c_j c_(j-1),

and nothing cancels as r tends to one.  Derivatives are by one parameter.  A table holds
1 - r, r, r' and r'' of the gaps that there are; the first row of a chain has none, -1.
Sums are by cluster, whose rows stand together.
"""

from libc.math cimport log, INFINITY


def chain_products(
    const double[:, ::1] columns,   # in: (n, P)
    const Py_ssize_t[::1] gap,      # in: (n,), numbers in the table
    const Py_ssize_t[::1] ends,     # in: (G,), rows up to the end of each cluster
    const double[:, ::1] table,     # in: (4, T)
    double[::1] row,                # work: (P,)
    double[:, :, ::1] cross,        # out: c'K c, (G, P, P)
):
    """log|V|, infinite where two rows are the same to rounding."""
    cdef Py_ssize_t count = columns.shape[1], j = 0, a, b, g
    cdef double total = 0.0, product = 1.0, less, rest, root, x
    cdef double* out
    with nogil:
        for g in range(ends.shape[0]):
            out = &cross[g, 0, 0]
            for a in range(count * count):
                out[a] = 0.0
            while j < ends[g]:
                if gap[j] < 0:
                    for a in range(count):
                        row[a] = columns[j, a]
                    root = 1.0
                else:
                    less = table[0, gap[j]]
                    rest = less * (2.0 - less)
                    if not rest > 0:
                        total = INFINITY
                        rest = 1.0
                    root = 1.0 / rest
                    product *= rest
                    if product < 1e-150:
                        total += log(product)
                        product = 1.0
                    for a in range(count):
                        x = columns[j - 1, a]
                        row[a] = (columns[j, a] - x) + less * x
                for a in range(count):
                    x = root * row[a]
                    for b in range(a + 1):
                        out[a * count + b] += x * row[b]
                j += 1
            _mirror(out, count)
    return total + log(product)


def chain_moments(
    const double[:, ::1] columns,   # in: (n, P)
    const Py_ssize_t[::1] gap,      # in: (n,)
    const Py_ssize_t[::1] ends,     # in: (G,)
    const double[:, ::1] table,     # in: (4, T)
    double[:, ::1] work,            # work: (4, P)
    double[:, :, :, ::1] out,       # out: c'K'c, c'K''c and c'K'V K'c, (3, G, P, P)
    double[::1] scalars,            # out: (log|V|)', (log|V|)'', tr K V' K V'
):
    """Derivatives of K and of log|V|."""
    cdef Py_ssize_t count = columns.shape[1], j, a, b, g, start
    cdef double r, p, d_r, dd_r, d_p, dd_p, d_w, dd_w, t, s2, after, x, y, z
    cdef double log_first = 0.0, log_second = 0.0, trace = 0.0
    cdef double *first
    cdef double *second
    cdef double *moved
    cdef double* delta = &work[0, 0]
    cdef double* before = &work[1, 0]
    cdef double* sums = &work[2, 0]     # L^-T K'c over its scale, of the row that follows
    cdef double* carried = &work[3, 0]  # what pairs with the row that follows give to K'c
    with nogil:
        for g in range(ends.shape[0]):
            start = 0 if g == 0 else ends[g - 1]
            first, second, moved = &out[0, g, 0, 0], &out[1, g, 0, 0], &out[2, g, 0, 0]
            for a in range(count * count):
                first[a] = second[a] = moved[a] = 0.0
            after = 0.0
            for a in range(count):
                sums[a] = carried[a] = 0.0
            for j in range(ends[g] - 1, start - 1, -1):
                s2, r = 1.0, 0.0
                if gap[j] < 0:
                    for a in range(count):
                        sums[a] = carried[a] + after * sums[a]
                        carried[a] = 0.0
                else:
                    t = table[0, gap[j]]
                    r, d_r, dd_r = table[1, gap[j]], table[2, gap[j]], table[3, gap[j]]
                    s2 = t * (2.0 - t)
                    p = 1.0 / s2
                    x = d_r * p
                    d_p = 2.0 * r * x * p
                    dd_p = 2.0 * (x * x + r * dd_r * p * p) + 8.0 * r * r * x * x * p
                    t = 1.0 / (1.0 + r)
                    d_w = -d_r * t * t
                    dd_w = (2.0 * d_r * d_r * t - dd_r) * t * t
                    log_first -= 2.0 * r * x
                    log_second -= 2.0 * (d_r * x + r * dd_r * p) + 4.0 * r * r * x * x
                    trace += 2.0 * x * x * (1.0 + r * r)
                    for a in range(count):
                        y = columns[j - 1, a]
                        delta[a] = columns[j, a] - y
                        before[a] = y
                        sums[a] = carried[a] + d_p * delta[a] + d_w * y + after * sums[a]
                        carried[a] = d_w * columns[j, a] - d_p * delta[a]
                    for a in range(count):
                        x, y, z = d_p * delta[a], d_w * before[a], d_w * columns[j, a]
                        for b in range(a + 1):
                            first[a * count + b] += (
                                x * delta[b] + y * columns[j, b] + z * before[b]
                            )
                        x, y, z = dd_p * delta[a], dd_w * before[a], dd_w * columns[j, a]
                        for b in range(a + 1):
                            second[a * count + b] += (
                                x * delta[b] + y * columns[j, b] + z * before[b]
                            )
                for a in range(count):
                    x = s2 * sums[a]
                    for b in range(a + 1):
                        moved[a * count + b] += x * sums[b]
                after = r
            _mirror(first, count)
            _mirror(second, count)
            _mirror(moved, count)
    scalars[0] = log_first
    scalars[1] = log_second
    scalars[2] = trace


cdef inline void _mirror(double* matrix, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t a, b
    for a in range(count):
        for b in range(a):
            matrix[b * count + a] = matrix[a * count + b]
