"""The leading grouping factor: block-diagonal, eliminated level by level.

Letters are those of the theory page: A_l = Z_l'Z_l, lam the relative covariance factor,
M_l = lam'A_l lam + I = L_l L_l', half_l = lam L_l^-T, so that
D_l = lam M_l^-1 lam' = half_l half_l' is all that elimination of level l needs:

    V_1^-1 = I - sum_l Z_l D_l Z_l'   (V_1: covariance of the leading factor alone)

A level meets few columns of the tail; ``link_index[ptr[l]:ptr[l+1]]`` are their numbers
and ``link_value`` the rows of Z_tail'Z_l.
"""

from libc.math cimport log, sqrt
from mixedext.kernels.factor.layout cimport LinkArrays, Links
from mixedext.kernels.factor.link_products cimport add_at, subtract_at

import numpy as np

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define PREFETCH(address) __builtin_prefetch(address)
    #else
    #define PREFETCH(address)
    #endif
    """
    void PREFETCH(const void *address) noexcept nogil

# Links of a tail column ahead of which those of their levels are fetched.
cdef enum:
    AHEAD = 4


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


def reduce_cross(
    const Py_ssize_t[::1] link_pointers,  # in: (L + 1,)
    const Py_ssize_t[::1] link_index,     # in: (nnz,)
    const double[:, ::1] scaled,          # in: (nnz, k) W_l = link_l half_l
    const double[:, :, ::1] solved,       # in: (L, k, P)
    double[:, ::1] cross,                 # in/out: (m, P) -= sum_l W_l solved_l
):
    """Eliminate the leading factor from Z_tail'[X y]."""
    cdef Py_ssize_t n_levels = solved.shape[0], k = scaled.shape[1], p = cross.shape[1]
    cdef Py_ssize_t level, s, a, j
    cdef double x
    cdef double *row
    cdef bint single = k == 1 and p == 1
    with nogil:
        for level in range(n_levels if single and link_index.shape[0] else 0):
            x = solved[level, 0, 0]
            subtract_at(
                &cross[0, 0], &link_index[0], &scaled[0, 0], &x, link_pointers[level],
                link_pointers[level + 1], 1,
            )
        for level in range(0 if single else n_levels):
            for s in range(link_pointers[level], link_pointers[level + 1]):
                row = &cross[link_index[s], 0]
                for a in range(k):
                    x = scaled[s, a]
                    for j in range(p):
                        row[j] -= x * solved[level, a, j]


cdef void subtract_products(
    Links links, const double[:, ::1] scaled, Py_ssize_t first, Py_ssize_t last,
    double[:, ::1] gram,
) noexcept nogil:
    # One row of the tail at a time: it stays in cache while all levels that meet it pass
    # by, and rows may be shared among threads without changing a bit of the result.
    cdef LinkArrays at = links.at
    cdef Py_ssize_t k = scaled.shape[1], row, s, link, ahead
    for row in range(first, last):
        for s in range(at.column_start[row], at.column_start[row + 1]):
            link = at.column_link[s]
            ahead = min(s + AHEAD, links.n_links - 1)
            ahead = at.pointers[at.column_level[ahead]]
            PREFETCH(at.index + ahead)
            PREFETCH(at.index + ahead + 8)
            PREFETCH(&scaled[0, 0] + ahead * k)
            PREFETCH(&scaled[0, 0] + ahead * k + 8)
            subtract_at(
                &gram[row, 0], at.index, &scaled[0, 0], &scaled[link, 0],
                at.pointers[at.column_level[s]], link + 1, k,
            )


def reduce_tail_dense(
    Links links,
    const double[:, ::1] scaled,          # in: (nnz, k) W_l = link_l half_l
    Py_ssize_t first, Py_ssize_t last,    # in: rows of the tail to be done
    double[:, ::1] gram,                  # in/out: (m, m) lower triangle -= sum_l W_l W_l'
):
    """Eliminate the leading factor from rows of a dense tail."""
    with nogil:
        subtract_products(links, scaled, first, last, gram)


def reduce_tail_sparse(
    Links links,
    const double[:, ::1] scaled,          # in: (nnz, k)
    Py_ssize_t first, Py_ssize_t last,    # in: columns of the tail to be done
    const Py_ssize_t[::1] pointers,       # in: (m + 1,) lower triangle by columns ...
    const Py_ssize_t[::1] rows,           # in: (stored,) ... the row numbers
    double[::1] values,                   # in/out: (stored,) -= sum_l W_l W_l'
):
    """The same for columns of a tail whose lower triangle is stored by columns."""
    cdef LinkArrays at = links.at
    cdef Py_ssize_t k = scaled.shape[1], column, s, link
    cdef double[::1] whole = np.zeros(links.n_columns)
    with nogil:
        for column in range(first, last):
            for s in range(at.column_start[column], at.column_start[column + 1]):
                link = at.column_link[s]
                subtract_at(
                    &whole[0], at.index, &scaled[0, 0], &scaled[link, 0],
                    link, at.pointers[at.column_level[s] + 1], k,
                )
            for s in range(pointers[column], pointers[column + 1]):
                values[s] += whole[rows[s]]
                whole[rows[s]] = 0.0


cdef inline void _add_quadratic(
    const double *column, Py_ssize_t own, const Py_ssize_t *index, const double *edge,
    Py_ssize_t link, Py_ssize_t stop, Py_ssize_t k, double *image, double *out,
) noexcept nogil:
    # out += edge_link (c_own,own / 2 edge_link + sum_{t > link} c_t edge_t)'
    cdef Py_ssize_t a, b
    cdef double c = 0.5 * column[own]
    for a in range(k):
        image[a] = c * edge[k * link + a]
    add_at(column, index, edge, image, link + 1, stop, k)
    for a in range(k):
        for b in range(k):
            out[a * k + b] += edge[k * link + a] * image[b]


cdef void add_quadratics(
    Links links, const double[:, ::1] edge, Py_ssize_t first, Py_ssize_t last,
    const double[:, ::1] inverse, bint by_level, double[::1] work, double[:, :, ::1] out,
) noexcept nogil:
    cdef LinkArrays at = links.at
    cdef Py_ssize_t k = edge.shape[1], column, s, link, level
    cdef const double* row
    cdef double x, total
    for column in range(first, last if k == 1 else first):
        row = &inverse[column, 0]
        total = 0.0
        for s in range(at.column_start[column], at.column_start[column + 1]):
            link, level = at.column_link[s], at.column_level[s]
            x = 0.0
            add_at(
                row, at.index, &edge[0, 0], &x, link + 1, at.pointers[level + 1], 1,
            )
            x = edge[link, 0] * (x + 0.5 * row[column] * edge[link, 0])
            if by_level:
                out[level, 0, 0] += x
            else:
                total += x
        if not by_level:
            out[0, 0, 0] += total
    for column in range(first, last if k > 1 else first):
        for s in range(at.column_start[column], at.column_start[column + 1]):
            link, level = at.column_link[s], at.column_level[s]
            _add_quadratic(
                &inverse[column, 0], column, at.index, &edge[0, 0], link,
                at.pointers[level + 1], k, &work[0], &out[level * by_level, 0, 0],
            )


def link_quadratic_dense(
    Links links,
    const double[:, ::1] edge,            # in: (nnz, k)
    Py_ssize_t first, Py_ssize_t last,    # in: columns of the tail to be done
    const double[:, ::1] inverse,         # in: (m, m) C22, C-ordered upper triangle
    *,
    bint by_level,
    double[:, :, ::1] out,                # in/out: (L or 1, k, k) half of edge_l'C22 edge_l
):
    """Quadratic forms of the levels' links in C22, each or their sum.

    ``out`` plus its transpose is the form: every pair of columns enters once.
    """
    cdef double[::1] work = np.empty(edge.shape[1])
    with nogil:
        add_quadratics(links, edge, first, last, inverse, by_level, work, out)


def link_quadratic_sparse(
    Links links,
    const double[:, ::1] edge,            # in: (nnz, k)
    Py_ssize_t first, Py_ssize_t last,
    const Py_ssize_t[::1] pointers,       # in: (m + 1,) lower triangle by columns ...
    const Py_ssize_t[::1] rows,           # in: (stored,) ... the row numbers
    const double[::1] inverse,            # in: (stored,) C22 on that pattern
    *,
    bint by_level,
    double[:, :, ::1] out,                # in/out: (L or 1, k, k)
):
    """The same with C22 stored by columns."""
    cdef LinkArrays at = links.at
    cdef Py_ssize_t k = edge.shape[1], column, s, link, level
    # what is read of a column of C22 lies on the pattern
    cdef double[::1] whole = np.empty(links.n_columns), work = np.empty(k)
    with nogil:
        for column in range(first, last):
            for s in range(pointers[column], pointers[column + 1]):
                whole[rows[s]] = inverse[s]
            for s in range(at.column_start[column], at.column_start[column + 1]):
                link, level = at.column_link[s], at.column_level[s]
                _add_quadratic(
                    &whole[0], column, at.index, &edge[0, 0], link,
                    at.pointers[level + 1], k, &work[0], &out[level * by_level, 0, 0],
                )


def shrinkage(
    const double[:, :, ::1] gram,         # in: (L, k, k)
    const double[:, :, ::1] half,         # in: (L, k, k)
    const double[:, ::1] precision,       # in: (k, k) Sigma^-1, if use_precision
    bint use_precision,
    double[:, ::1] work,                  # scratch: (k, k)
    double[:, :, ::1] out,                # out: (L, k, k) K_l = (I + Sigma A_l)^-1
    double[:, ::1] total,                 # out: (k, k) sum_l A_l K_l
):
    """K_l of every level, Sigma = lam lam'.

    K = I - D A holds for any lam; K = D Sigma^-1 loses no digits when Sigma A is large
    and lam is well conditioned.
    """
    cdef Py_ssize_t n_levels = gram.shape[0], k = gram.shape[1], level, a, b, c
    cdef double x
    with nogil:
        total[:, :] = 0.0
        for level in range(n_levels):
            if k == 1:
                x = half[level, 0, 0] * half[level, 0, 0]
                if use_precision:
                    x *= precision[0, 0]
                else:
                    x = 1.0 - x * gram[level, 0, 0]
                out[level, 0, 0] = x
                total[0, 0] += gram[level, 0, 0] * x
                continue
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for c in range(k):
                        x += half[level, a, c] * half[level, b, c]
                    work[a, b] = x
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    if use_precision:
                        for c in range(k):
                            x += work[a, c] * precision[c, b]
                    else:
                        for c in range(k):
                            x -= work[a, c] * gram[level, c, b]
                        if a == b:
                            x += 1.0
                    out[level, a, b] = x
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for c in range(k):
                        x += gram[level, a, c] * out[level, c, b]
                    total[a, b] += x


def lead_response(
    const double[:, :, ::1] shrunk,       # in: (L, k, k) K_l
    const double[:, :, ::1] half,         # in: (L, k, k)
    Links links,
    const double[:, ::1] link_value,      # in: (nnz, k)
    const double[:, :, ::1] cross,        # in: (L, k, P) Z_l'[X y]
    const double[:, ::1] tail_effect,     # in: (m, P) Lam2 C2. Lam'Z'[X y], (0, P) if none
    double[:, :, ::1] response,           # out: (L, k, P) = [Z'V0^-1 [X y]]_l
    double[:, :, ::1] effect,             # out: (L, k, P) = [Lam C Lam'Z'[X y]]_l
):
    """Back-substitution into the leading factor."""
    cdef LinkArrays at = links.at
    cdef Py_ssize_t n_levels = shrunk.shape[0], k = shrunk.shape[1], p = cross.shape[2]
    cdef Py_ssize_t level, a, b, j, s
    cdef bint tailed = links.n_links > 0
    cdef double x
    cdef const double *row
    cdef double[:, ::1] rest = np.empty((2 * k, p))
    with nogil:
        for level in range(n_levels):
            for a in range(k):
                for j in range(p):
                    rest[a, j] = cross[level, a, j]
                    rest[k + a, j] = 0.0
                    response[level, a, j] = 0.0
                    effect[level, a, j] = 0.0
            if tailed:
                for s in range(at.pointers[level], at.pointers[level + 1]):
                    row = &tail_effect[at.index[s], 0]
                    for a in range(k):
                        x = link_value[s, a]
                        for j in range(p):
                            rest[a, j] -= x * row[j]
            for a in range(k):
                for b in range(k):
                    for j in range(p):
                        rest[k + a, j] += half[level, b, a] * rest[b, j]
                        response[level, a, j] += shrunk[level, b, a] * rest[b, j]
            for a in range(k):
                for b in range(k):
                    for j in range(p):
                        effect[level, a, j] += half[level, a, b] * rest[k + b, j]


def lead_project(
    const double[:, :, ::1] gram,         # in: (L, k, k)
    const double[:, :, ::1] half,         # in: (L, k, k)
    Links links,
    const double[:, ::1] link_value,      # in: (nnz, k)
    const double[:, :, ::1] lead_weight,  # in: (L, k, R)
    const double[:, ::1] tail_weight,     # in: (m, R)
    *,
    double[:, :, ::1] image,              # out: (L, k, R) = [Z'Z w]_l
    double[:, :, ::1] solved,             # out: (L, k, R) = half_l' [Z'Z w]_l
    double[:, ::1] tail_image,            # in/out: (m, R) += links' share of [Z'Z w]
    double[:, ::1] tail_eliminated,       # in/out: (m, R) += what the lead eliminates of it
):
    """Products of Z'Z with vectors, and their forward substitution through the lead."""
    cdef LinkArrays at = links.at
    cdef Py_ssize_t n_levels = gram.shape[0], k = gram.shape[1]
    cdef Py_ssize_t n_vectors = lead_weight.shape[2]
    cdef Py_ssize_t level, a, b, j, s, row
    cdef bint tailed = links.n_links > 0
    cdef double x
    cdef double[:, ::1] back = np.empty((k, n_vectors))
    cdef double* own
    cdef const double* other
    with nogil:
        for level in range(n_levels if k == 1 else 0):
            own = &image[level, 0, 0]
            for j in range(n_vectors):
                own[j] = gram[level, 0, 0] * lead_weight[level, 0, j]
            for s in range(at.pointers[level], at.pointers[level + 1]):
                x, other = link_value[s, 0], &tail_weight[at.index[s], 0]
                for j in range(n_vectors):
                    own[j] += x * other[j]
            for j in range(n_vectors):
                solved[level, 0, j] = half[level, 0, 0] * own[j]
                back[0, j] = half[level, 0, 0] * solved[level, 0, j]
            other = &lead_weight[level, 0, 0]
            for s in range(at.pointers[level], at.pointers[level + 1]):
                x, row = link_value[s, 0], at.index[s]
                for j in range(n_vectors):
                    tail_image[row, j] += x * other[j]
                    tail_eliminated[row, j] += x * back[0, j]
        for level in range(n_levels if k > 1 else 0):
            for a in range(k):
                for j in range(n_vectors):
                    image[level, a, j] = 0.0
                    solved[level, a, j] = 0.0
                    back[a, j] = 0.0
                for b in range(k):
                    x = gram[level, a, b]
                    for j in range(n_vectors):
                        image[level, a, j] += x * lead_weight[level, b, j]
            if tailed:
                for s in range(at.pointers[level], at.pointers[level + 1]):
                    row = at.index[s]
                    for a in range(k):
                        x = link_value[s, a]
                        for j in range(n_vectors):
                            image[level, a, j] += x * tail_weight[row, j]
            for a in range(k):
                for b in range(k):
                    x = half[level, b, a]
                    for j in range(n_vectors):
                        solved[level, a, j] += x * image[level, b, j]
            if tailed:
                for a in range(k):
                    for b in range(k):
                        for j in range(n_vectors):
                            back[a, j] += half[level, a, b] * solved[level, b, j]
                for s in range(at.pointers[level], at.pointers[level + 1]):
                    row = at.index[s]
                    for a in range(k):
                        x = link_value[s, a]
                        for j in range(n_vectors):
                            tail_image[row, j] += x * lead_weight[level, a, j]
                            tail_eliminated[row, j] += x * back[a, j]
