"""The leading grouping factor: block-diagonal, eliminated level by level.

Letters are those of the theory page: A_l = Z_l'Z_l, lam the relative covariance factor,
M_l = lam'A_l lam + I = L_l L_l', half_l = lam L_l^-T, so that
D_l = lam M_l^-1 lam' = half_l half_l' is all that elimination of level l needs:

    V_1^-1 = I - sum_l Z_l D_l Z_l'   (V_1: covariance of the leading factor alone)

A level meets few columns of the tail; ``link_index[ptr[l]:ptr[l+1]]`` are their numbers
and ``link_value`` the rows of Z_tail'Z_l.
"""

from libc.math cimport log, sqrt


def factor_levels(
    const double[:, :, ::1] gram,     # in: (L, k, k)
    const double[:, ::1] lam,         # in: (k, k)
    double[:, :, ::1] half,           # out: (L, k, k) = lam L_l^-T
    double[:, ::1] work,              # scratch: (2 k, k)
):
    """Factor every level; return log det M and whether all pivots were positive."""
    cdef Py_ssize_t n_levels = gram.shape[0], k = gram.shape[1]
    cdef Py_ssize_t level, i, j, c
    cdef double total = 0.0, x, a, t
    cdef bint good = True
    with nogil:
        if k == 1:
            t = lam[0, 0]
            for level in range(n_levels):
                x = 1.0 + t * t * gram[level, 0, 0]
                total += log(x)
                half[level, 0, 0] = t / sqrt(x)
        else:
            for level in range(n_levels):
                # work[:k] = lam' A ;  work[k:] = lam' A lam + I, then its factor L
                for i in range(k):
                    for j in range(k):
                        x = 0.0
                        for c in range(k):
                            x += lam[c, i] * gram[level, c, j]
                        work[i, j] = x
                for i in range(k):
                    for j in range(i + 1):
                        x = 1.0 if i == j else 0.0
                        for c in range(k):
                            x += work[i, c] * lam[c, j]
                        work[k + i, j] = x
                for j in range(k):
                    x = work[k + j, j]
                    for c in range(j):
                        x -= work[k + j, c] * work[k + j, c]
                    if not x > 0.0:
                        good = False
                        break
                    a = sqrt(x)
                    total += 2.0 * log(a)
                    work[k + j, j] = a
                    for i in range(j + 1, k):
                        x = work[k + i, j]
                        for c in range(j):
                            x -= work[k + i, c] * work[k + j, c]
                        work[k + i, j] = x / a
                if not good:
                    break
                # half L' = lam, row by row
                for i in range(k):
                    for j in range(k):
                        x = lam[i, j]
                        for c in range(j):
                            x -= half[level, i, c] * work[k + j, c]
                        half[level, i, j] = x / work[k + j, j]
    return total, bool(good)


def reduce_fixed(
    const double[:, :, ::1] half,     # in: (L, k, k)
    const double[:, :, ::1] cross,    # in: (L, k, P) Z_l'[X y]
    double[:, :, ::1] solved,         # out: (L, k, P) = half_l' Z_l'[X y]
):
    """The rows of the Cholesky factor that belong to [X y], leading part."""
    cdef Py_ssize_t n_levels = half.shape[0], k = half.shape[1], p = cross.shape[2]
    cdef Py_ssize_t level, a, b, j
    cdef double h
    with nogil:
        for level in range(n_levels):
            for a in range(k):
                for j in range(p):
                    solved[level, a, j] = 0.0
                for b in range(k):
                    h = half[level, b, a]
                    for j in range(p):
                        solved[level, a, j] += h * cross[level, b, j]


cdef inline Py_ssize_t _tail_image(
    const Py_ssize_t[::1] link_index, Py_ssize_t start, Py_ssize_t width,
    const double[:, ::1] covariance, const double[::1] pair_covariance, Py_ssize_t pair,
    const double[:, ::1] edge, double[:, ::1] image,
) noexcept nogil:
    # image = covariance[met, met] edge, both (width, k), the covariance symmetric and given
    # whole or by pair; returns the number of the next level's first pair.
    cdef Py_ssize_t k = edge.shape[1], s, t, a, row
    cdef bint whole = covariance.shape[0] > 0
    cdef double r
    for s in range(width):
        for a in range(k):
            image[s, a] = 0.0
    for s in range(width):
        row = link_index[start + s]
        for t in range(s + 1):
            if whole:
                r = covariance[row, link_index[start + t]]
            else:
                r = pair_covariance[pair]
                pair += 1
            for a in range(k):
                image[s, a] += r * edge[t, a]
                if t < s:
                    image[t, a] += r * edge[s, a]
    return pair


cdef inline void _link_times(
    const double[:, ::1] link_value, Py_ssize_t start, Py_ssize_t width,
    const double[:, ::1] right, double[:, ::1] out,
) noexcept nogil:
    cdef Py_ssize_t k = right.shape[1], s, a, b
    cdef double x
    for s in range(width):
        for a in range(k):
            x = 0.0
            for b in range(k):
                x += link_value[start + s, b] * right[b, a]
            out[s, a] = x


def reduce_tail_dense(
    const Py_ssize_t[::1] link_pointers,
    const Py_ssize_t[::1] link_index,
    const double[:, ::1] link_value,
    const double[:, :, ::1] half,
    const double[:, :, ::1] solved,
    double[:, ::1] scaled,            # scratch: (largest level, k)
    double[:, ::1] gram,              # in/out: (m, m), lower triangle -= sum_l W_l W_l'
    double[:, ::1] cross,             # in/out: (m, P) -= sum_l W_l solved_l
):
    """Eliminate the leading factor from a dense tail: W_l = link_l half_l."""
    cdef Py_ssize_t n_levels = half.shape[0], k = half.shape[1], p = cross.shape[1]
    cdef Py_ssize_t level, start, stop, s, t, a, j, row
    cdef double x
    with nogil:
        for level in range(n_levels):
            start, stop = link_pointers[level], link_pointers[level + 1]
            _link_times(link_value, start, stop - start, half[level], scaled)
            for s in range(stop - start):
                row = link_index[start + s]
                for a in range(k):
                    x = scaled[s, a]
                    for t in range(s + 1):
                        gram[row, link_index[start + t]] -= x * scaled[t, a]
                    for j in range(p):
                        cross[row, j] -= x * solved[level, a, j]


def reduce_tail_sparse(
    const Py_ssize_t[::1] link_pointers,
    const Py_ssize_t[::1] link_index,
    const double[:, ::1] link_value,
    const double[:, :, ::1] half,
    const double[:, :, ::1] solved,
    const Py_ssize_t[::1] pair_position,  # in: where each pair (s, t <= s) of a level lies
    double[:, ::1] scaled,
    double[::1] values,                   # in/out: lower triangle of the tail, -= W W'
    double[:, ::1] cross,
):
    """The same for a tail whose lower triangle is stored in compressed columns."""
    cdef Py_ssize_t n_levels = half.shape[0], k = half.shape[1], p = cross.shape[1]
    cdef Py_ssize_t level, start, stop, s, t, a, j, row, pair = 0
    cdef double x
    with nogil:
        for level in range(n_levels):
            start, stop = link_pointers[level], link_pointers[level + 1]
            _link_times(link_value, start, stop - start, half[level], scaled)
            for s in range(stop - start):
                row = link_index[start + s]
                for t in range(s + 1):
                    x = 0.0
                    for a in range(k):
                        x += scaled[s, a] * scaled[t, a]
                    values[pair_position[pair]] -= x
                    pair += 1
                for a in range(k):
                    x = scaled[s, a]
                    for j in range(p):
                        cross[row, j] -= x * solved[level, a, j]


cdef inline void _shrinkage(
    const double[:, :, ::1] gram, const double[:, :, ::1] half,
    const double[:, ::1] precision, bint use_precision, Py_ssize_t level,
    double[:, ::1] d, double[:, ::1] out,
) noexcept nogil:
    # out = K_l = (I + Sigma A_l)^-1, Sigma = lam lam'.  K = I - D A holds for any lam;
    # K = D Sigma^-1 loses no digits when Sigma A is large and lam is well conditioned.
    cdef Py_ssize_t k = half.shape[1], a, b, c
    cdef double x
    for a in range(k):
        for b in range(k):
            x = 0.0
            for c in range(k):
                x += half[level, a, c] * half[level, b, c]
            d[a, b] = x
    for a in range(k):
        for b in range(k):
            x = 0.0
            if use_precision:
                for c in range(k):
                    x += d[a, c] * precision[c, b]
            else:
                for c in range(k):
                    x -= d[a, c] * gram[level, c, b]
                if a == b:
                    x += 1.0
            out[a, b] = x


def lead_curvature(
    const double[:, :, ::1] gram,
    const double[:, :, ::1] half,
    const double[:, ::1] precision,       # in: Sigma^-1 (ignored if not use_precision)
    bint use_precision,
    const Py_ssize_t[::1] link_pointers,
    const Py_ssize_t[::1] link_index,
    const double[:, ::1] link_value,
    const double[:, ::1] covariance,      # in: (m, m) Lam2 C22 Lam2', or (0, 0): no tail
    const double[::1] pair_covariance,    # in: the same by pair, for a sparse tail
    double[:, ::1] work,                  # scratch: (2 k + 2 * largest level, k)
    double[:, ::1] out,                   # out: (k, k) = sum_l [Z'V0^-1 Z]_ll
):
    """Sum over levels of the diagonal blocks of Z'V0^-1 Z for the leading factor."""
    cdef Py_ssize_t n_levels = gram.shape[0], k = gram.shape[1]
    cdef Py_ssize_t level, start, width, a, b, c, s, edge, image, pair = 0
    cdef bint tailed = link_index.shape[0] > 0
    cdef double x
    with nogil:
        out[:, :] = 0.0
        for level in range(n_levels):
            _shrinkage(gram, half, precision, use_precision, level, work[:k], work[k:])
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for c in range(k):
                        x += gram[level, a, c] * work[k + c, b]
                    out[a, b] += x
            if not tailed:
                continue
            start = link_pointers[level]
            width = link_pointers[level + 1] - start
            edge, image = 2 * k, 2 * k + width
            _link_times(link_value, start, width, work[k:2 * k], work[edge:image])
            pair = _tail_image(
                link_index, start, width, covariance, pair_covariance, pair,
                work[edge:image], work[image:],
            )
            for s in range(width):
                for a in range(k):
                    x = work[edge + s, a]
                    for b in range(k):
                        out[a, b] -= x * work[image + s, b]


def lead_response(
    const double[:, :, ::1] gram,
    const double[:, :, ::1] half,
    const double[:, ::1] precision,
    bint use_precision,
    const Py_ssize_t[::1] link_pointers,
    const Py_ssize_t[::1] link_index,
    const double[:, ::1] link_value,
    const double[:, :, ::1] cross,        # in: (L, k, P) Z_l'[X y]
    const double[:, ::1] tail_effect,     # in: (m, P) Lam2 C2. Lam'Z'[X y], (0, P) if none
    double[:, ::1] work,                  # scratch: (2 k, k)
    double[:, ::1] rest,                  # scratch: (k, P)
    double[:, :, ::1] response,           # out: (L, k, P) = [Z'V0^-1 [X y]]_l
    double[:, :, ::1] effect,             # out: (L, k, P) = [Lam C Lam'Z'[X y]]_l
):
    """Back-substitution into the leading factor."""
    cdef Py_ssize_t n_levels = gram.shape[0], k = gram.shape[1], p = cross.shape[2]
    cdef Py_ssize_t level, a, b, j, s, row
    cdef bint tailed = link_index.shape[0] > 0
    cdef double x
    with nogil:
        for level in range(n_levels):
            _shrinkage(gram, half, precision, use_precision, level, work[:k], work[k:])
            for a in range(k):
                for j in range(p):
                    rest[a, j] = cross[level, a, j]
            if tailed:
                for s in range(link_pointers[level], link_pointers[level + 1]):
                    row = link_index[s]
                    for a in range(k):
                        x = link_value[s, a]
                        for j in range(p):
                            rest[a, j] -= x * tail_effect[row, j]
            for a in range(k):
                for j in range(p):
                    response[level, a, j] = 0.0
                    effect[level, a, j] = 0.0
                for b in range(k):
                    for j in range(p):
                        response[level, a, j] += work[k + b, a] * rest[b, j]
                        effect[level, a, j] += work[a, b] * rest[b, j]


def lead_project(
    const double[:, :, ::1] gram,
    const double[:, :, ::1] half,
    const Py_ssize_t[::1] link_pointers,
    const Py_ssize_t[::1] link_index,
    const double[:, ::1] link_value,
    const double[:, :, ::1] lead_weight,  # in: (L, k, R)
    const double[:, ::1] tail_weight,     # in: (m, R)
    double[:, :, ::1] image,              # out: (L, k, R) = [Z'Z w]_l
    double[:, :, ::1] solved,             # out: (L, k, R) = half_l' [Z'Z w]_l
    double[:, ::1] tail_image,            # in/out: (m, R) += links' share of [Z'Z w]
    double[:, ::1] tail_reduced,          # in/out: (m, R) the same less the eliminated part
):
    """Products of Z'Z with vectors, and their forward substitution through the lead."""
    cdef Py_ssize_t n_levels = gram.shape[0], k = gram.shape[1]
    cdef Py_ssize_t n_vectors = lead_weight.shape[2]
    cdef Py_ssize_t level, a, b, c, j, s, row
    cdef bint tailed = link_index.shape[0] > 0
    cdef double x, h
    with nogil:
        for level in range(n_levels):
            for a in range(k):
                for j in range(n_vectors):
                    image[level, a, j] = 0.0
                for b in range(k):
                    x = gram[level, a, b]
                    for j in range(n_vectors):
                        image[level, a, j] += x * lead_weight[level, b, j]
            if tailed:
                for s in range(link_pointers[level], link_pointers[level + 1]):
                    row = link_index[s]
                    for a in range(k):
                        x = link_value[s, a]
                        for j in range(n_vectors):
                            image[level, a, j] += x * tail_weight[row, j]
            for a in range(k):
                for j in range(n_vectors):
                    solved[level, a, j] = 0.0
                for b in range(k):
                    x = half[level, b, a]
                    for j in range(n_vectors):
                        solved[level, a, j] += x * image[level, b, j]
            if tailed:
                for s in range(link_pointers[level], link_pointers[level + 1]):
                    row = link_index[s]
                    for a in range(k):
                        x = link_value[s, a]
                        h = 0.0
                        for c in range(k):
                            h += link_value[s, c] * half[level, c, a]
                        for j in range(n_vectors):
                            tail_image[row, j] += x * lead_weight[level, a, j]
                            tail_reduced[row, j] += (
                                x * lead_weight[level, a, j] - h * solved[level, a, j]
                            )


def lead_conditional_variance(
    const double[:, :, ::1] half,
    const Py_ssize_t[::1] link_pointers,
    const Py_ssize_t[::1] link_index,
    const double[:, ::1] link_value,
    const double[:, ::1] covariance,      # in: (m, m) Lam2 C22 Lam2', or (0, 0)
    const double[::1] pair_covariance,
    double[:, ::1] work,                  # scratch: (k + 2 * largest level, k)
    double[:, :, ::1] out,                # out: (L, k, k) = [Lam C Lam']_ll
):
    """Level blocks of Lam C Lam' (times sigma^2: the conditional variances)."""
    cdef Py_ssize_t n_levels = half.shape[0], k = half.shape[1]
    cdef Py_ssize_t level, start, width, a, b, c, s, edge, image, pair = 0
    cdef bint tailed = link_index.shape[0] > 0
    cdef double x
    with nogil:
        for level in range(n_levels):
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for c in range(k):
                        x += half[level, a, c] * half[level, b, c]
                    work[a, b] = x
                    out[level, a, b] = x
            if not tailed:
                continue
            start = link_pointers[level]
            width = link_pointers[level + 1] - start
            edge, image = k, k + width
            _link_times(link_value, start, width, work[:k], work[edge:image])
            pair = _tail_image(
                link_index, start, width, covariance, pair_covariance, pair,
                work[edge:image], work[image:],
            )
            for s in range(width):
                for a in range(k):
                    x = work[edge + s, a]
                    for b in range(k):
                        out[level, a, b] += x * work[image + s, b]
