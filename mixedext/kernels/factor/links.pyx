"""Links: the rows of Z_tail'Z_l that are not zero, compressed by level of the lead.

The links of level l are those from ``pointers[l]`` to ``pointers[l + 1]``: ``index`` holds
their columns of the tail, ``value`` the rows, K numbers each.
"""

from mixedext.kernels.factor.layout cimport LevelArrays, TailLevels


def link_times(
    const Py_ssize_t[::1] link_pointers,  # in: (L + 1,)
    const double[:, ::1] link_value,      # in: (nnz, k)
    const double[:, :, ::1] right,        # in: (L, k, k)
    double[:, ::1] out,                   # out: (nnz, k), link_l right_l
):
    """Multiply the links of every level by its own small matrix."""
    cdef Py_ssize_t n_levels = right.shape[0], k = right.shape[1], level, s, a, b
    cdef double x, y
    cdef const double* own
    with nogil:
        for level in range(n_levels):
            if k == 1:
                x = right[level, 0, 0]
                for s in range(link_pointers[level], link_pointers[level + 1]):
                    out[s, 0] = x * link_value[s, 0]
                continue
            if k == 2:
                own = &right[level, 0, 0]
                for s in range(link_pointers[level], link_pointers[level + 1]):
                    x, y = link_value[s, 0], link_value[s, 1]
                    out[s, 0] = x * own[0] + y * own[2]
                    out[s, 1] = x * own[1] + y * own[3]
                continue
            for s in range(link_pointers[level], link_pointers[level + 1]):
                for a in range(k):
                    x = 0.0
                    for b in range(k):
                        x += link_value[s, b] * right[level, b, a]
                    out[s, a] = x


def fill_panel(
    const Py_ssize_t[::1] link_pointers,  # in: (L + 1,)
    const Py_ssize_t[::1] link_index,     # in: (nnz,)
    const double[:, ::1] values,          # in: (nnz, k)
    Py_ssize_t first, Py_ssize_t last,    # in: levels of the lead
    double[:, ::1] panel,                 # in/out: ((last - first) k, m), zeros on entry
):
    """Links of some levels of the lead as a dense matrix, k rows a level."""
    cdef Py_ssize_t k = values.shape[1], level, s, a
    with nogil:
        for level in range(first, last):
            for s in range(link_pointers[level], link_pointers[level + 1]):
                for a in range(k):
                    panel[(level - first) * k + a, link_index[s]] = values[s, a]


def read_panel(
    const Py_ssize_t[::1] link_pointers,  # in: (L + 1,)
    const Py_ssize_t[::1] link_index,     # in: (nnz,)
    const double[:, ::1] panel,           # in: ((last - first) k, m)
    Py_ssize_t first, Py_ssize_t last,    # in: levels of the lead
    double[:, ::1] values,                # in/out: (nnz, k), those of these levels
):
    """The elements of such a matrix where the links are."""
    cdef Py_ssize_t k = values.shape[1], level, s, a
    with nogil:
        for level in range(first, last):
            for s in range(link_pointers[level], link_pointers[level + 1]):
                for a in range(k):
                    values[s, a] = panel[(level - first) * k + a, link_index[s]]


def links_times_lam(
    const Py_ssize_t[::1] link_index,     # in: (nnz,)
    TailLevels levels,
    const double[:, :, ::1] lam,          # in: (factors, kmax, kmax)
    double[::1] work,                     # scratch: (kmax,)
    double[:, ::1] edge,                  # in/out: (nnz, k), Lam2' edge
):
    """Multiply links by Lam2'; a level's links hold all columns of a tail level or none."""
    cdef LevelArrays at = levels.at
    cdef Py_ssize_t nnz = edge.shape[0], k = edge.shape[1], s = 0, level, width, f, a, c, d
    cdef double x
    with nogil:
        while s < nnz and lam.shape[1] == 1:
            x = lam[at.factor[link_index[s]], 0, 0]  # levels are columns
            for a in range(k):
                edge[s, a] *= x
            s += 1
        while s < nnz:
            level = at.of_column[link_index[s]]
            width = at.start[level + 1] - at.start[level]
            f = at.factor[level]
            for a in range(k):
                if width == 1:
                    edge[s, a] *= lam[f, 0, 0]
                    continue
                for c in range(width):
                    work[c] = edge[s + c, a]
                for c in range(width):
                    x = 0.0
                    for d in range(width):
                        x += lam[f, d, c] * work[d]
                    edge[s + c, a] = x
            s += width


def multiply_links(
    const Py_ssize_t[::1] link_pointers,  # in: (L + 1,)
    const Py_ssize_t[::1] link_index,     # in: (nnz,)
    const double[:, ::1] link_value,      # in: (nnz, K)
    const double[:, ::1] tail_weight,     # in: (m, R)
    double[:, :, ::1] out,                # out: (L, K, R), Z_l'Z_tail w
):
    """Image in the leading factor of vectors on the tail."""
    cdef Py_ssize_t n_levels = out.shape[0], k = out.shape[1], n = out.shape[2]
    cdef Py_ssize_t level, s, a, j
    cdef double x
    cdef const double *row
    with nogil:
        out[:, :, :] = 0.0
        for level in range(n_levels if link_index.shape[0] > 0 else 0):
            for s in range(link_pointers[level], link_pointers[level + 1]):
                row = &tail_weight[link_index[s], 0]
                for a in range(k):
                    x = link_value[s, a]
                    for j in range(n):
                        out[level, a, j] += x * row[j]
