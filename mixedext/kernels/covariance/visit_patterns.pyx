"""Sums over the groups of patterns, laid out by visit: V^-1 and its products with rows."""

from scipy.linalg.cython_blas cimport dgemm, dsyrk

from mixedext.kernels.row_major cimport multiply


def whitened_squares(
    const double[::1] columns,  # in: (s, P, G) of one pattern after the other
    const Py_ssize_t[::1] sizes,  # in: s of each pattern
    const Py_ssize_t[::1] counts,  # in: G of each
    const double[::1] roots,  # in: L^-1 of each, (s, s)
    double[:, ::1] cross,  # out: C'V^-1 C is added, (P, P)
    double[::1] work,  # as many numbers as the largest pattern has
):
    """Cross-products of rows multiplied by L^-1."""
    cdef Py_ssize_t width = cross.shape[0], v, a, s, wide, at = 0, root = 0
    cdef int p = <int>width, g
    cdef double one = 1.0
    with nogil:
        for v in range(sizes.shape[0]):
            s = sizes[v]
            wide = width * counts[v]
            multiply(
                False, False, s, wide, s, 1.0, &roots[root], &columns[at], 0.0, &work[0]
            )
            g = <int>counts[v]
            for a in range(s):
                # the lower triangle of C-ordered cross
                dsyrk(b"U", b"T", &p, &g, &one, &work[a * wide], &g, &one, &cross[0, 0], &p)
            at += s * wide
            root += s * s
        for a in range(width):
            for v in range(a):
                cross[v, a] = cross[a, v]


def pattern_moments(
    const double[::1] columns,  # in: (s, P, G) of one pattern after the other
    const Py_ssize_t[::1] sizes,  # in: s of each pattern
    const Py_ssize_t[::1] counts,  # in: G of each
    const Py_ssize_t[::1] visits,  # in: numbers of the visits of each, (s,)
    const double[::1] inverses,  # in: V^-1 of each, (s, s)
    const double[:, ::1] change,  # in: what [Q y] is multiplied by, (P, P), columns
    bint with_fixed,  # whether ``fixed`` is wanted
    *,
    double[:, :, ::1] inverse,  # out: V^-1 at the visits, zeros before, (c, m, m)
    double[:, :, ::1] fixed,  # out: sum X~X~'
    double[:, :, ::1] residual,  # out: sum e~e~'
    double[:, :, ::1] mixed,  # out: sum X~e~' is added, [visit, column, visit], (m, p, m)
    double[::1] work,  # 2 s P G + s s P numbers, of the largest pattern
):
    """What scores and average information need of every pattern."""
    cdef Py_ssize_t width = change.shape[0], p = width - 1
    cdef Py_ssize_t v, a, b, j, s, g, wide, size, at = 0, square = 0, first = 0
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
                for b in range(s):
                    inverse[v, visits[first + a], visits[first + b]] = (
                        inverses[square + a * s + b]
                    )
                    residual[v, visits[first + a], visits[first + b]] = (
                        out[(a * width + p) * s + b]
                    )
                    for j in range(p):
                        mixed[visits[first + a], j, visits[first + b]] += (
                            out[(a * width + j) * s + b]
                        )
            if with_fixed and p > 0:
                k = <int>(p * g)
                dsyrk(b"U", b"T", &n, &k, &one, moved, &ld, &zero, out, &n)
                for a in range(s):
                    for b in range(a + 1):
                        fixed[v, visits[first + a], visits[first + b]] = out[a * s + b]
                        fixed[v, visits[first + b], visits[first + a]] = out[a * s + b]
            at += size
            square += s * s
            first += s
