"""The inverse of the factored matrix where rows have entries, and solutions.

With M = [[M_l, B_l'], [B_l, .]] by levels of the leading factor and C22 that of the tail,
e_l = B_l M_l^-1 and D_l = M_l^-1, the other blocks of the inverse are

    C_tl = -C22 e_l,    C_ll = D_l + e_l'C22 e_l.
"""

from mixedext.kernels.factor.layout cimport LinkArrays, Links
from mixedext.kernels.factor.link_products cimport add_at

import numpy as np


cdef inline void _multiply_links(
    const double *column, const Py_ssize_t *index, const double *edge,
    Py_ssize_t link, Py_ssize_t stop, Py_ssize_t k, double *out,
) noexcept nogil:
    # out_t += c_t edge_link and out_link += c_t edge_t of the links t >= link of a level
    cdef Py_ssize_t t, a
    cdef double c
    for a in range(k):
        out[k * link + a] += column[index[link]] * edge[k * link + a]
    if k == 1:
        add_at(column, index, edge, out + link, link + 1, stop, 1)
        c = edge[link]
        for t in range(link + 1, stop):
            out[t] += column[index[t]] * c
        return
    for t in range(link + 1, stop):
        c = column[index[t]]
        for a in range(k):
            out[k * t + a] += c * edge[k * link + a]
            out[k * link + a] += c * edge[k * t + a]


def multiply_links_dense(
    Links links,
    const double[:, ::1] edge,            # in: (nnz, k)
    const double[:, ::1] inverse,         # in: (m, m) C22, C-ordered upper triangle
    double[:, ::1] out,                   # in/out: (nnz, k) += C22 e_l at the level's links
):
    """Products of C22 with the links of every level, where that has links."""
    cdef LinkArrays at = links.at
    cdef Py_ssize_t k = edge.shape[1], column, s
    with nogil:
        for column in range(links.n_columns if links.n_links else 0):
            for s in range(at.column_start[column], at.column_start[column + 1]):
                _multiply_links(
                    &inverse[column, 0], at.index, &edge[0, 0], at.column_link[s],
                    at.pointers[at.column_level[s] + 1], k, &out[0, 0],
                )


def multiply_links_sparse(
    Links links,
    const double[:, ::1] edge,            # in: (nnz, k)
    const Py_ssize_t[::1] pointers,       # in: (m + 1,) lower triangle by columns ...
    const Py_ssize_t[::1] rows,           # in: (stored,) ... the row numbers
    const double[::1] inverse,            # in: (stored,) C22 on that pattern
    double[:, ::1] out,                   # in/out: (nnz, k)
):
    """The same with C22 stored by columns."""
    cdef LinkArrays at = links.at
    cdef Py_ssize_t k = edge.shape[1], column, s
    # what is read of a column of C22 lies on the pattern
    cdef double[::1] whole = np.empty(links.n_columns)
    with nogil:
        for column in range(links.n_columns if links.n_links else 0):
            for s in range(pointers[column], pointers[column + 1]):
                whole[rows[s]] = inverse[s]
            for s in range(at.column_start[column], at.column_start[column + 1]):
                _multiply_links(
                    &whole[0], at.index, &edge[0, 0], at.column_link[s],
                    at.pointers[at.column_level[s] + 1], k, &out[0, 0],
                )


def square_levels(
    const double[:, :, ::1] half,         # in: (L, k, k)
    double[:, :, ::1] out,                # out: (L, k, k) D_l = half_l half_l'
):
    """D_l of every level."""
    cdef Py_ssize_t n_levels = half.shape[0], k = half.shape[1], level, a, b, c
    cdef double x
    with nogil:
        for level in range(n_levels):
            for a in range(k):
                for b in range(a + 1):
                    x = 0.0
                    for c in range(k):
                        x += half[level, a, c] * half[level, b, c]
                    out[level, a, b] = out[level, b, a] = x


def add_link_squares(
    const Py_ssize_t[::1] link_pointers,  # in: (L + 1,)
    const double[:, ::1] edge,            # in: (nnz, k) e_l = link_l D_l
    const double[:, ::1] product,         # in: (nnz, k) C22 e_l
    double[:, :, ::1] out,                # in/out: (L, k, k) += e_l'C22 e_l
):
    """What the tail adds to the blocks D_l of the inverse."""
    cdef Py_ssize_t level, s, a, b, k = edge.shape[1]
    with nogil:
        for level in range(out.shape[0]):
            for s in range(link_pointers[level], link_pointers[level + 1]):
                for a in range(k):
                    for b in range(k):
                        out[level, a, b] += edge[s, a] * product[s, b]


def substitute_back(
    const double[:, :, ::1] half,         # in: (L, k, k)
    const Py_ssize_t[::1] link_pointers,  # in: (L + 1,)
    const Py_ssize_t[::1] link_index,     # in: (nnz,)
    const double[:, ::1] scaled,          # in: (nnz, k) W_l = link_l half_l
    const double[:, ::1] tail,            # in: (m, R) solution of the tail
    double[:, :, ::1] solved,             # in/out: (L, k, R), scratch afterwards
    double[:, :, ::1] out,                # out: (L, k, R) half_l (solved_l - W_l' tail)
):
    """The leading part of a solution from that of the tail."""
    cdef Py_ssize_t n_levels = half.shape[0], k = half.shape[1], n = solved.shape[2]
    cdef Py_ssize_t level, s, a, b, j
    cdef double x
    cdef const double* other
    cdef double* own
    cdef bint single = k == 1 and n == 1
    with nogil:
        for level in range(n_levels if single and link_index.shape[0] else 0):
            x = 0.0
            add_at(
                &tail[0, 0], &link_index[0], &scaled[0, 0], &x, link_pointers[level],
                link_pointers[level + 1], 1,
            )
            solved[level, 0, 0] -= x
        for level in range(n_levels):
            for s in range(
                link_pointers[level], link_pointers[level if single else level + 1]
            ):
                other = &tail[link_index[s], 0]
                for a in range(k):
                    x, own = scaled[s, a], &solved[level, a, 0]
                    for j in range(n):
                        own[j] -= x * other[j]
            for a in range(k):
                for j in range(n):
                    out[level, a, j] = 0.0
                for b in range(k):
                    x = half[level, a, b]
                    for j in range(n):
                        out[level, a, j] += x * solved[level, b, j]
