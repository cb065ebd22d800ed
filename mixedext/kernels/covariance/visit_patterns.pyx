"""Sums over the groups of patterns, laid out by visit: V^-1 and its products with rows.

A symmetric matrix over visits is packed: the element of visits a >= b stands at
a (a + 1) / 2 + b.
"""

from libc.math cimport log, NAN
from libc.string cimport memset
from scipy.linalg.cython_blas cimport dgemm, dgemv, dsyrk
from scipy.linalg.cython_lapack cimport dlauum, dpotrf, dtrtri

from mixedext.kernels.row_major cimport mirror_lower, multiply


cdef extern from *:
    """
    /* Rows that stand anywhere in memory are sent for before they are needed. */
    #if defined(__GNUC__) || defined(__clang__)
    #define MIXEDEXT_SEND_FOR(address) __builtin_prefetch(address)
    #else
    #define MIXEDEXT_SEND_FOR(address)
    #endif
    """
    void send_for "MIXEDEXT_SEND_FOR"(const void* address) noexcept nogil

# How many rows ahead.
cdef Py_ssize_t AHEAD = 12


cdef inline Py_ssize_t _pair(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a * (a + 1) // 2 + b if a > b else b * (b + 1) // 2 + a


cdef inline double _factor(
    const double[:, ::1] whole, const Py_ssize_t* visits, Py_ssize_t size, double* out
) noexcept nogil:
    # out (size, size) = L^-1 below the diagonal, V = L L' that of some visits; log|V|, or
    # NaN where it is not positive definite
    cdef Py_ssize_t a, b
    cdef int n = <int>size, info = 0
    cdef double log_det = 0.0
    for a in range(size):
        for b in range(a + 1):
            out[a * size + b] = whole[visits[a], visits[b]]
    # the lower triangle of rows is the upper one of columns
    dpotrf(b"U", &n, out, &n, &info)
    if info:
        return NAN
    for a in range(size):
        log_det += log(out[a * size + a])
    dtrtri(b"U", b"N", &n, out, &n, &info)
    return NAN if info else 2 * log_det


cdef inline void _square(Py_ssize_t size, double* out) noexcept nogil:
    # V^-1 = L^-T L^-1 in the place of L^-1
    cdef int n = <int>size, info = 0
    dlauum(b"U", &n, out, &n, &info)
    mirror_lower(size, out)


def factor_rows(
    const double[:, ::1] whole,  # in: V of all visits, (m, m)
    const double[::1] columns,  # in: (s, P, G) of one pattern after the other
    const Py_ssize_t[::1] sizes,  # in: s of each pattern
    const Py_ssize_t[::1] counts,  # in: G of each
    const Py_ssize_t[::1] visits,  # in: numbers of the visits of each, (s,)
    *,
    double[::1] inverses,  # out: V^-1 of each, (s, s)
    double[:, ::1] cross,  # out: C'V^-1 C is added, (P, P)
    double[::1] work,  # as many numbers as the largest pattern has
):
    """log|V| over the groups of all patterns; NaN if one is not positive definite."""
    cdef Py_ssize_t width = cross.shape[0], v, a, b, s, wide, at = 0, square = 0, first = 0
    cdef int p = <int>width, g
    cdef double one = 1.0, log_det = 0.0
    cdef double *root
    with nogil:
        for v in range(sizes.shape[0]):
            s = sizes[v]
            wide = width * counts[v]
            root = &inverses[square]
            log_det += counts[v] * _factor(whole, &visits[first], s, root)
            if log_det != log_det:
                break
            for a in range(s):
                for b in range(a):
                    root[b * s + a] = 0.0
            multiply(False, False, s, wide, s, 1.0, root, &columns[at], 0.0, &work[0])
            g = <int>counts[v]
            for a in range(s):
                # the lower triangle of C-ordered cross
                dsyrk(b"U", b"T", &p, &g, &one, &work[a * wide], &g, &one, &cross[0, 0], &p)
            _square(s, root)
            at += s * wide
            square += s * s
            first += s
        for a in range(width):
            for v in range(a):
                cross[v, a] = cross[a, v]
    return log_det


def factor_sums(
    const double[:, ::1] whole,  # in: V of all visits, (m, m)
    const Py_ssize_t[:, ::1] visits,  # in: visits of each pattern, (c, s)
    const double[::1] counts,  # in: groups of each, (c,)
    const double[:, :, ::1] products,  # in: by pairs of visits, (c, s (s + 1) / 2, P P)
    *,
    double[:, :, ::1] inverses,  # out: V^-1, (c, s, s)
    double[:, ::1] cross,  # out: sum of C'V^-1 C is added, (P, P)
    double[::1] work,  # s (s + 1) / 2 numbers
):
    """log|V| over the groups of patterns of one size; NaN if one is not definite."""
    cdef Py_ssize_t s = visits.shape[1], v, a, b
    cdef int squares = <int>products.shape[2], pairs = <int>products.shape[1], step = 1
    cdef double one = 1.0, log_det = 0.0
    with nogil:
        for v in range(visits.shape[0]):
            log_det += counts[v] * _factor(whole, &visits[v, 0], s, &inverses[v, 0, 0])
            if log_det != log_det:
                break
            _square(s, &inverses[v, 0, 0])
            for a in range(s):
                for b in range(a + 1):  # a pair stands for two elements
                    work[a * (a + 1) // 2 + b] = inverses[v, a, b] * (1 if a == b else 2)
            dgemv(
                b"N", &squares, &pairs, &one, <double*>&products[v, 0, 0], &squares,
                &work[0], &step, &one, &cross[0, 0], &step,
            )
    return log_det


def moments_of_rows(
    const double[::1] columns,  # in: (s, P, G) of one pattern after the other
    const Py_ssize_t[::1] sizes,  # in: s of each pattern
    const Py_ssize_t[::1] counts,  # in: G of each
    const Py_ssize_t[::1] visits,  # in: numbers of the visits of each, (s,)
    const double[::1] inverses,  # in: V^-1 of each, (s, s)
    const double[:, ::1] change,  # in: what [Q y] is multiplied by, (P, P), columns
    bint with_fixed,  # whether ``fixed`` is wanted
    *,
    double[:, ::1] inverse,  # out: V^-1 at pairs of visits, (c, m (m + 1) / 2)
    double[:, ::1] fixed,  # out: sum X~X~'
    double[:, ::1] residual,  # out: sum e~e~'
    double[:, ::1] mixed,  # out: sum X~e~' + e~X~' is added, (m (m + 1) / 2, p)
    double[::1] work,  # 2 s P G + s s P numbers, of the largest pattern
):
    """What scores and average information need of every pattern."""
    cdef Py_ssize_t width = change.shape[0], p = width - 1
    cdef Py_ssize_t v, a, b, j, s, g, wide, size, to, at = 0, square = 0, first = 0
    cdef double *solved
    cdef double *moved
    cdef double *out
    cdef int n, k, ld, one_step
    cdef double one = 1.0, zero = 0.0
    with nogil:
        for v in range(sizes.shape[0]):
            s, g = sizes[v], counts[v]
            wide = width * g
            size = s * wide
            solved, moved, out = &work[0], &work[size], &work[2 * size]
            multiply(
                False, False, s, wide, s, 1.0, &inverses[square], &columns[at], 0.0, solved
            )
            for a in range(s):  # X~ and e~ of a visit, (P, G)
                multiply(
                    True, False, width, g, width, 1.0, &change[0, 0], solved + a * wide,
                    0.0, moved + a * wide,
                )
            # [X~ e~]e~' of all visits, (s P, s): rows of e~ are wide numbers apart
            n, k, ld, one_step = <int>s, <int>g, <int>wide, <int>(s * width)
            dgemm(
                b"T", b"N", &n, &one_step, &k, &one, moved + p * g, &ld, moved, &k, &zero,
                out, &n,
            )
            for a in range(s):
                for b in range(a + 1):
                    to = _pair(visits[first + a], visits[first + b])
                    inverse[v, to] = inverses[square + a * s + b]
                    residual[v, to] = out[(a * width + p) * s + b]
                    for j in range(p):
                        mixed[to, j] += (
                            out[(a * width + j) * s + b] + out[(b * width + j) * s + a]
                        )
            if with_fixed and p > 0:
                k = <int>(p * g)
                dsyrk(b"U", b"T", &n, &k, &one, moved, &ld, &zero, out, &n)
                for a in range(s):
                    for b in range(a + 1):
                        to = _pair(visits[first + a], visits[first + b])
                        fixed[v, to] = out[a * s + b]
            at += size
            square += s * s
            first += s


def moments_of_sums(
    const Py_ssize_t[:, ::1] visits,  # in: visits of each pattern, (c, s)
    const double[:, :, ::1] products,  # in: by pairs of visits, (c, s (s + 1) / 2, P P)
    const double[:, :, ::1] inverses,  # in: V^-1, (c, s, s)
    const double[:, ::1] change,  # in: what [Q y] is multiplied by, (P, P), columns
    bint with_fixed,  # whether ``fixed`` is wanted
    *,
    double[:, ::1] inverse,  # out: V^-1 at pairs of visits, (c, m (m + 1) / 2)
    double[:, ::1] fixed,  # out: sum X~X~'
    double[:, ::1] residual,  # out: sum e~e~'
    double[:, ::1] mixed,  # out: sum V^-1[Q y] e~' is added, made symmetric, (.., P)
    double[::1] work,  # P P + P + s (s + 1) (P + 1) / 2 + 2 s s (P + 1) numbers
):
    """The same of patterns whose cross-products are at hand; ``mixed`` of [Q y]."""
    cdef Py_ssize_t c = visits.shape[0], s = visits.shape[1], width = change.shape[0]
    cdef Py_ssize_t p = width - 1, across = width + 1, row = s * across
    cdef Py_ssize_t v, a, b, d, i, j, q, to
    cdef int squares = <int>(width * width), pairs = <int>products.shape[1], step = 1
    cdef int n = <int>width, many = <int>(pairs * width)
    cdef double one = 1.0, zero = 0.0, x
    cdef double *square = &work[0]  # what X~X~' are in [Q y], (P, P)
    cdef double *last = square + squares  # what e~ is
    cdef double *seen = last + width  # C_a C_b' last, by pairs, (pairs, P), then X~X~'
    cdef double *at_visits = seen + pairs * across  # the same by visits, (s, s, P + 1)
    cdef double *half = at_visits + s * row  # and multiplied by V^-1 from the left
    cdef double *own
    cdef const double *from_right
    with nogil:
        for i in range(width):
            last[i] = change[i, p]
            for j in range(width):
                x = 0.0
                for q in range(p):
                    x += change[i, q] * change[j, q]
                square[i * width + j] = x
        for v in range(c):
            dgemv(
                b"T", &n, &many, &one, <double*>&products[v, 0, 0], &n, last, &step, &zero,
                seen, &step,
            )
            own = seen + pairs * width
            if with_fixed:
                dgemv(
                    b"T", &squares, &pairs, &one, <double*>&products[v, 0, 0], &squares,
                    square, &step, &zero, own, &step,
                )
            else:
                memset(own, 0, pairs * sizeof(double))
            # each pair on both sides of the diagonal
            for a in range(s):
                for b in range(a + 1):
                    to = a * (a + 1) // 2 + b
                    for j in range(width):
                        at_visits[a * row + b * across + j] = seen[to * width + j]
                        at_visits[b * row + a * across + j] = seen[to * width + j]
                    at_visits[a * row + b * across + width] = own[to]
                    at_visits[b * row + a * across + width] = own[to]
            multiply(
                False, False, s, row, s, 1.0, &inverses[v, 0, 0], at_visits, 0.0, half
            )
            for a in range(s):
                for b in range(a + 1):
                    memset(seen, 0, across * sizeof(double))
                    for d in range(s):
                        x = inverses[v, b, d]
                        from_right = half + a * row + d * across
                        for j in range(across):
                            seen[j] += x * from_right[j]
                    to = _pair(visits[v, a], visits[v, b])
                    inverse[v, to] = inverses[v, a, b]
                    fixed[v, to] = seen[width]
                    x = 0.0
                    for j in range(width):
                        x += seen[j] * last[j]
                        mixed[to, j] += seen[j]
                    residual[v, to] = x


def rows_on_basis(
    const double[:, :] x,  # in: (n, k)
    const double[:] y,  # in: (n,)
    const double[::1] root_weights,  # in: (n,), or of no length
    const Py_ssize_t[::1] kept,  # in: columns of x, (P - 1,)
    const double[:, ::1] change,  # in: upper triangular, (P, P)
    const Py_ssize_t[::1] rows,  # in: numbers of rows, (N,)
    double[:, ::1] out,  # out: weighted [x y] change, (N, P)
):
    """Rows of the columns kept and of y in another basis."""
    cdef Py_ssize_t i, j, q, at, width = change.shape[0], p = width - 1
    cdef bint weighted = root_weights.shape[0] > 0, by_row = x.strides[1] == sizeof(double)
    cdef Py_ssize_t step = 8 if by_row else 1
    cdef double value, weight = 1.0
    with nogil:
        for i in range(rows.shape[0]):
            if i + AHEAD < rows.shape[0]:
                at = rows[i + AHEAD]
                send_for(&y[at])
                q = 0
                while q < p:
                    send_for(&x[at, kept[q]])
                    q += step
                if by_row and p > 0:
                    send_for(&x[at, kept[p - 1]])
            at = rows[i]
            if weighted:
                weight = root_weights[at]
            for j in range(width):
                out[i, j] = 0.0
            for q in range(width):
                value = weight * (x[at, kept[q]] if q < p else y[at])
                for j in range(q, width):
                    out[i, j] += value * change[q, j]


def add_products(
    const double[:, ::1] rows,  # in: [Q y] of one group after the other, (G, s P)
    const Py_ssize_t[::1] numbers,  # in: pattern of each group, equal ones together, (G,)
    double[:, :, ::1] products,  # out: is added to, (c, s (s + 1) / 2, P P)
    double[:, ::1] work,  # (s P, s P)
):
    """Cross-products C_a C_b' of the visits a >= b of groups, made symmetric."""
    cdef Py_ssize_t wide = rows.shape[1], count = rows.shape[0], start = 0, stop = 0
    cdef Py_ssize_t width, s = 0, a, b, i, j, to
    cdef int n = <int>wide, k
    cdef double one = 1.0, zero = 0.0
    while s * (s + 1) // 2 < products.shape[1]:
        s += 1
    width = wide // s if s else 0
    with nogil:
        while start < count:
            stop = start + 1
            while stop < count and numbers[stop] == numbers[start]:
                stop += 1
            k = <int>(stop - start)
            # the lower triangle of C-ordered work
            dsyrk(
                b"U", b"N", &n, &k, &one, <double*>&rows[start, 0], &n, &zero, &work[0, 0],
                &n,
            )
            for a in range(s):
                for i in range(width):
                    for j in range(i):
                        work[a * width + j, a * width + i] = (
                            work[a * width + i, a * width + j]
                        )
                for b in range(a + 1):
                    to = a * (a + 1) // 2 + b
                    for i in range(width):
                        for j in range(width):
                            products[numbers[start], to, i * width + j] += 0.5 * (
                                work[a * width + i, b * width + j]
                                + work[a * width + j, b * width + i]
                            )
            start = stop
