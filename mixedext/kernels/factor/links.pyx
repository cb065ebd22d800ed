"""Links: the rows of Z_tail'Z_l that are not zero, compressed by level of the lead."""


def links_by_column(
    const Py_ssize_t[::1] link_pointers,
    const Py_ssize_t[::1] link_index,
    Py_ssize_t[::1] starts,               # out: (m + 1,) links of each tail column ...
    Py_ssize_t[::1] order,                # out: (nnz,) ... their numbers, ascending
    Py_ssize_t[::1] level,                # out: (nnz,) ... and levels
    double[::1] work,                     # out: (m,) links that come first in their levels
):
    """Sort the links by tail column."""
    cdef Py_ssize_t m = work.shape[0], nnz = link_index.shape[0], s, l, at, column
    with nogil:
        starts[:] = 0
        work[:] = 0.0
        for s in range(nnz):
            starts[link_index[s] + 1] += 1
        for column in range(m):
            starts[column + 1] += starts[column]
        for l in range(link_pointers.shape[0] - 1):
            for s in range(link_pointers[l], link_pointers[l + 1]):
                column = link_index[s]
                at = starts[column]
                starts[column] += 1
                order[at], level[at] = s, l
                work[column] += s - link_pointers[l] + 1
        for column in range(m, 0, -1):
            starts[column] = starts[column - 1]
        starts[0] = 0


def link_times(
    const Py_ssize_t[::1] link_pointers,
    const double[:, ::1] link_value,      # in: (nnz, k)
    const double[:, :, ::1] right,        # in: (L, k, k)
    double[:, ::1] out,                   # out: (nnz, k), link_l right_l
):
    """Multiply the links of every level by its own small matrix."""
    cdef Py_ssize_t n_levels = right.shape[0], k = right.shape[1], level, s, a, b
    cdef double x
    with nogil:
        for level in range(n_levels):
            if k == 1:
                x = right[level, 0, 0]
                for s in range(link_pointers[level], link_pointers[level + 1]):
                    out[s, 0] = x * link_value[s, 0]
                continue
            for s in range(link_pointers[level], link_pointers[level + 1]):
                for a in range(k):
                    x = 0.0
                    for b in range(k):
                        x += link_value[s, b] * right[level, b, a]
                    out[s, a] = x


def fill_panel(
    const Py_ssize_t[::1] link_pointers,
    const Py_ssize_t[::1] link_index,
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


def links_times_lam(
    const Py_ssize_t[::1] link_index,
    const Py_ssize_t[::1] level_start,    # in: (tail levels + 1,) their first columns
    const Py_ssize_t[::1] level_of,       # in: (m,) tail level of a column
    const Py_ssize_t[::1] level_factor,   # in: (tail levels,)
    const double[:, :, ::1] lam,          # in: (factors, kmax, kmax)
    double[::1] work,                     # scratch: (kmax,)
    double[:, ::1] edge,                  # in/out: (nnz, k), Lam2' edge
):
    """Multiply links by Lam2'; a level's links hold all columns of a tail level or none."""
    cdef Py_ssize_t nnz = edge.shape[0], k = edge.shape[1], s = 0, level, width, f, a, c, d
    cdef double x
    with nogil:
        while s < nnz and lam.shape[1] == 1:
            x = lam[level_factor[link_index[s]], 0, 0]  # levels are columns
            for a in range(k):
                edge[s, a] *= x
            s += 1
        while s < nnz:
            level = level_of[link_index[s]]
            width = level_start[level + 1] - level_start[level]
            f = level_factor[level]
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
