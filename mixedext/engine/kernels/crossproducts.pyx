"""Cross-products of the model columns, accumulated over the rows of the data.

Everything that a fit needs from the n rows is summed here once: per level of a
grouping factor the small blocks Z_l'Z_l and Z_l'[X y], and between the leading factor
and the tail the blocks that are not zero ("links").  No array of size n x q appears.
"""

from libc.stdlib cimport qsort


cdef int _compare(const void* a, const void* b) noexcept nogil:
    cdef Py_ssize_t x = (<const Py_ssize_t*> a)[0]
    cdef Py_ssize_t y = (<const Py_ssize_t*> b)[0]
    return (x > y) - (x < y)


def sort_rows(
    const Py_ssize_t[::1] codes,      # in: (n,) level of each row
    Py_ssize_t[::1] order,            # out: (n,) rows sorted by level, stable
    Py_ssize_t[::1] pointers,         # out: (n_levels + 1,) where each level starts
):
    """Counting sort of the rows by level."""
    cdef Py_ssize_t n = codes.shape[0], n_levels = pointers.shape[0] - 1
    cdef Py_ssize_t i, level, start, total = 0
    with nogil:
        pointers[:] = 0
        for i in range(n):
            pointers[codes[i]] += 1
        for level in range(n_levels):
            start = total
            total += pointers[level]
            pointers[level] = start
        for i in range(n):
            level = codes[i]
            order[pointers[level]] = i
            pointers[level] += 1
        for level in range(n_levels, 0, -1):
            pointers[level] = pointers[level - 1]
        pointers[0] = 0


def level_products(
    const Py_ssize_t[::1] codes,      # in: (n,)
    const double[:, ::1] z,           # in: (n, k) columns of the factor
    const double[:, ::1] fixed,       # in: (n, P) columns [X y]
    double[:, :, ::1] gram,           # out: (L, k, k) += Z_l'Z_l
    double[:, :, ::1] cross,          # out: (L, k, P) += Z_l'[X y]_l
):
    """Add every row to the blocks of its level."""
    cdef Py_ssize_t n = codes.shape[0], k = z.shape[1], p = fixed.shape[1]
    cdef Py_ssize_t i, a, b, level
    cdef double za
    with nogil:
        for i in range(n):
            level = codes[i]
            for a in range(k):
                za = z[i, a]
                if za == 0.0:
                    continue
                for b in range(k):
                    gram[level, a, b] += za * z[i, b]
                for b in range(p):
                    cross[level, a, b] += za * fixed[i, b]


def count_links(
    const Py_ssize_t[::1] order,          # in: rows sorted by level of the leading factor
    const Py_ssize_t[::1] pointers,       # in: (L + 1,)
    const Py_ssize_t[:, ::1] tail_codes,  # in: (n, n_tail) global number of the tail level
    const Py_ssize_t[::1] widths,         # in: (n_tail,) columns of each tail factor
    Py_ssize_t[::1] mark,                 # scratch: (tail levels,), filled with -1
    Py_ssize_t[::1] link_pointers,        # out: (L + 1,) scalar tail columns met so far
):
    """Count the tail columns that each level of the leading factor meets."""
    cdef Py_ssize_t n_levels = pointers.shape[0] - 1, n_tail = tail_codes.shape[1]
    cdef Py_ssize_t level, s, f, t, total = 0
    with nogil:
        link_pointers[0] = 0
        for level in range(n_levels):
            for s in range(pointers[level], pointers[level + 1]):
                for f in range(n_tail):
                    t = tail_codes[order[s], f]
                    if mark[t] != level:
                        mark[t] = level
                        total += widths[f]
            link_pointers[level + 1] = total


def link_products(
    const Py_ssize_t[::1] order,
    const Py_ssize_t[::1] pointers,
    const Py_ssize_t[:, ::1] tail_codes,
    const Py_ssize_t[::1] widths,
    const Py_ssize_t[::1] first_column,   # in: (n_tail,) where a factor starts in tail_z
    const Py_ssize_t[::1] level_start,    # in: (tail levels + 1,) scalar column of a level
    const double[:, ::1] lead_z,          # in: (n, K)
    const double[:, ::1] tail_z,          # in: (n, sum of widths)
    const Py_ssize_t[::1] link_pointers,
    Py_ssize_t[::1] mark,                 # scratch: (tail levels,), filled with -1
    Py_ssize_t[::1] slot,                 # scratch: (tail levels,)
    Py_ssize_t[::1] met,                  # scratch: (tail levels,)
    Py_ssize_t[::1] link_index,           # out: (nnz,) scalar tail columns, ascending a level
    double[:, ::1] link_value,            # out: (nnz, K) += Z_tail'Z_lead
):
    """Fill the blocks of Z_tail'Z_lead, compressed by level of the leading factor."""
    cdef Py_ssize_t n_levels = pointers.shape[0] - 1, n_tail = tail_codes.shape[1]
    cdef Py_ssize_t k = lead_z.shape[1]
    cdef Py_ssize_t level, s, f, t, i, a, b, n_met, cursor, base
    cdef double za
    with nogil:
        for level in range(n_levels):
            n_met = 0
            for s in range(pointers[level], pointers[level + 1]):
                for f in range(n_tail):
                    t = tail_codes[order[s], f]
                    if mark[t] != level:
                        mark[t] = level
                        met[n_met] = t
                        n_met += 1
            if n_met > 1:
                qsort(&met[0], n_met, sizeof(Py_ssize_t), _compare)
            cursor = link_pointers[level]
            for i in range(n_met):
                t = met[i]
                slot[t] = cursor
                for a in range(level_start[t + 1] - level_start[t]):
                    link_index[cursor] = level_start[t] + a
                    cursor += 1
            for s in range(pointers[level], pointers[level + 1]):
                i = order[s]
                for f in range(n_tail):
                    base = slot[tail_codes[i, f]]
                    for a in range(widths[f]):
                        za = tail_z[i, first_column[f] + a]
                        for b in range(k):
                            link_value[base + a, b] += za * lead_z[i, b]


def tail_products(
    const Py_ssize_t[:, ::1] tail_codes,
    const Py_ssize_t[::1] widths,
    const Py_ssize_t[::1] first_column,
    const Py_ssize_t[::1] level_start,
    const double[:, ::1] tail_z,
    double[:, ::1] gram,                  # out: (m, m) += Z_tail'Z_tail, both triangles
):
    """Cross-products among the tail factors, for a dense tail."""
    cdef Py_ssize_t n = tail_codes.shape[0], n_tail = tail_codes.shape[1]
    cdef Py_ssize_t i, f, g, a, b, row, column
    cdef double za, product
    with nogil:
        for i in range(n):
            for f in range(n_tail):
                row = level_start[tail_codes[i, f]]
                for a in range(widths[f]):
                    za = tail_z[i, first_column[f] + a]
                    for b in range(widths[f]):
                        gram[row + a, row + b] += za * tail_z[i, first_column[f] + b]
                    for g in range(f):
                        column = level_start[tail_codes[i, g]]
                        for b in range(widths[g]):
                            product = za * tail_z[i, first_column[g] + b]
                            gram[row + a, column + b] += product
                            gram[column + b, row + a] += product
