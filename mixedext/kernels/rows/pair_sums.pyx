"""Sums over pairs of levels of A_lm kron A_lm, for the moment equations.

Entry [f, g, a, b, c, d] of a sum is that of A[(l, a), (m, c)] A[(l, b), (m, d)] over the
levels l of tail factor f and m of tail factor g, A = Z2'Z2.
"""


cdef inline void _add_block(
    const double *block, Py_ssize_t stride,
    Py_ssize_t height, Py_ssize_t width, double[:, :, :, ::1] out,
) noexcept nogil:
    cdef Py_ssize_t a, b, c, d
    cdef double x
    for a in range(height):
        for c in range(width):
            x = block[a * stride + c]
            if x == 0.0:
                continue
            for b in range(height):
                for d in range(width):
                    out[a, b, c, d] += x * block[b * stride + d]


def pair_sums_dense(
    const double[:, ::1] gram,            # in: (m, m) Z2'Z2
    const Py_ssize_t[::1] level_start,    # in: (levels + 1,) first column of each level
    const Py_ssize_t[::1] level_factor,   # in: (levels,)
    # out: (factors, factors, kmax, kmax, kmax, kmax), both orders of different factors
    double[:, :, :, :, :, ::1] out,
):
    """Pair sums of a dense tail."""
    cdef Py_ssize_t n_levels = level_factor.shape[0], m = gram.shape[0], level, other
    cdef Py_ssize_t f, i, j
    cdef double x
    with nogil:
        out[:, :, :, :, :, :] = 0.0
        if out.shape[2] == 1:
            for i in range(m):
                f = level_factor[i]
                for j in range(i, m):
                    x = gram[i, j]
                    if x != 0.0:
                        # two levels of one (spread) factor are met in one of two orders
                        x *= x if i == j or level_factor[j] != f else 2.0 * x
                        out[f, level_factor[j], 0, 0, 0, 0] += x
        else:
            for level in range(n_levels):
                f = level_factor[level]
                for other in range(level, n_levels):
                    _add_block(
                        &gram[level_start[level], level_start[other]], m,
                        level_start[level + 1] - level_start[level],
                        level_start[other + 1] - level_start[other],
                        out[f, level_factor[other]],
                    )
                    if other > level and level_factor[other] == f:
                        # levels of a spread factor have one column each
                        x = gram[level_start[level], level_start[other]]
                        out[f, f, 0, 0, 0, 0] += x * x
        _add_mirrored(out)


def pair_sums_sparse(
    const Py_ssize_t[::1] pointers,       # in: (m + 1,) lower triangle by columns ...
    const Py_ssize_t[::1] rows,           # in: (nnz,) ... the row numbers
    const Py_ssize_t[::1] level_start,    # in: (levels + 1,)
    const Py_ssize_t[::1] level_factor,   # in: (levels,)
    const Py_ssize_t[::1] level_of,       # in: (m,) level of a column
    const double[::1] values,             # in: (nnz,) Z2'Z2 on the pattern
    double[::1] work,                     # scratch: (kmax ** 2,)
    double[:, :, :, :, :, ::1] out,       # out: (factors, factors, kmax, ..., kmax)
):
    """Pair sums of a tail stored by columns."""
    cdef Py_ssize_t n_levels = level_factor.shape[0], level, first, width, s, other, height
    cdef Py_ssize_t i, j, at, offset
    cdef double x
    with nogil:
        out[:, :, :, :, :, :] = 0.0
        for j in range(n_levels if out.shape[2] == 1 else 0):
            other = level_factor[j]
            for s in range(pointers[j], pointers[j + 1]):
                x = values[s]
                if x != 0.0:
                    x *= x if rows[s] == j or level_factor[rows[s]] != other else 2.0 * x
                    out[level_factor[rows[s]], other, 0, 0, 0, 0] += x
        for level in range(0 if out.shape[2] == 1 else n_levels):
            first = level_start[level]
            width = level_start[level + 1] - first
            s = pointers[first]
            while s < pointers[first + 1]:
                other = level_of[rows[s]]
                height = level_start[other + 1] - level_start[other]
                offset = s - pointers[first]
                for j in range(width):
                    for i in range(height):
                        if offset == 0 and i < j:
                            work[i * width + j] = values[pointers[first + i] + j - i]
                        else:
                            at = pointers[first + j] + offset + i - j
                            work[i * width + j] = values[at]
                _add_block(
                    &work[0], width, height, width,
                    out[level_factor[other], level_factor[level]],
                )
                if other != level and level_factor[other] == level_factor[level]:
                    x = work[0]
                    out[level_factor[level], level_factor[level], 0, 0, 0, 0] += x * x
                s += height
        _add_mirrored(out)


cdef inline void _add_mirrored(double[:, :, :, :, :, ::1] out) noexcept nogil:
    # a pair of levels of different factors was met in one of the two orders
    cdef Py_ssize_t f, g, a, b, c, d, k = out.shape[2]
    cdef double x
    for f in range(out.shape[0]):
        for g in range(f):
            for a in range(k):
                for b in range(k):
                    for c in range(k):
                        for d in range(k):
                            x = out[f, g, a, b, c, d] + out[g, f, c, d, a, b]
                            out[f, g, a, b, c, d] = x
                            out[g, f, c, d, a, b] = x


def pair_sums_links(
    const Py_ssize_t[::1] link_index,     # in: (nnz,) columns of the tail
    const Py_ssize_t[::1] level_start,    # in: (levels + 1,)
    const Py_ssize_t[::1] level_factor,   # in: (levels,)
    const Py_ssize_t[::1] level_of,       # in: (m,)
    const double[:, ::1] link_value,      # in: (nnz, K)
    double[:, :, :, :, ::1] out,          # out: (factors, kmax, kmax, K, K)
):
    """The same between the factors of the tail and the leading one."""
    cdef Py_ssize_t nnz = link_value.shape[0], k = link_value.shape[1], s = 0, level, width
    with nogil:
        out[:, :, :, :, :] = 0.0
        while s < nnz and out.shape[1] == 1 and k == 1:
            level = link_index[s]          # levels are columns
            out[level_factor[level], 0, 0, 0, 0] += link_value[s, 0] * link_value[s, 0]
            s += 1
        while s < nnz:
            level = level_of[link_index[s]]
            width = level_start[level + 1] - level_start[level]
            _add_block(
                &link_value[s, 0], k, width, k, out[level_factor[level]]
            )
            s += width
