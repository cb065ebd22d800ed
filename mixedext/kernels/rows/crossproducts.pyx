"""Cross-products of the model columns, accumulated over the rows of the data.

Everything that a fit needs from the n rows is summed here once: per level of a grouping
factor the small blocks Z_l'Z_l and Z_l'[X y], and between two factors the blocks of the
pairs of levels that meet in some row.  No array of size n x q appears.  Columns come in
chunks of rows, one row of the array a column.
"""

from libc.stdint cimport int32_t

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define PREFETCH_FOR_WRITE(address) __builtin_prefetch(address, 1, 1)
    #else
    #define PREFETCH_FOR_WRITE(address)
    #endif
    """
    void PREFETCH_FOR_WRITE(const void* address) noexcept nogil

# Rows ahead whose level is fetched from memory: with many levels in random order the
# sums wait for memory, not for arithmetic.
cdef enum:
    AHEAD = 24


ctypedef fused integer:
    int32_t
    Py_ssize_t


def sort_rows(
    const integer[::1] codes,         # in: (n,) level of each row
    integer[::1] order,               # out: (n,) rows sorted by level, stable
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
            order[pointers[level]] = <integer> i
            pointers[level] += 1
        for level in range(n_levels, 0, -1):
            pointers[level] = pointers[level - 1]
        pointers[0] = 0


def level_products(
    const int32_t[::1] codes,         # in: (n,) levels of the rows of this chunk
    const double[:, ::1] z,           # in: (k, n) columns of the factor
    const double[:, ::1] fixed,       # in: (n, P) columns [X y]
    double[:, :, ::1] gram,           # out: (L, k, k), lower triangles += Z_l'Z_l
    double[:, :, ::1] cross,          # out: (L, k, P) += Z_l'[X y]_l
):
    """Add every row to the blocks of its level."""
    cdef Py_ssize_t n = codes.shape[0], k = z.shape[0], p = fixed.shape[1]
    cdef Py_ssize_t i, a, b, ahead
    cdef double za, zb
    cdef double* g
    cdef double* c
    cdef const double* x
    if n == 0 or k == 0:
        return
    with nogil:
        for i in range(n):
            if i + AHEAD < n:
                ahead = codes[i + AHEAD]
                PREFETCH_FOR_WRITE(&gram[ahead, 0, 0])
                PREFETCH_FOR_WRITE(&cross[ahead, 0, 0])
                PREFETCH_FOR_WRITE(&cross[ahead, k - 1, p - 1])
            g, c, x = &gram[codes[i], 0, 0], &cross[codes[i], 0, 0], &fixed[i, 0]
            if k == 1:
                za = z[0, i]
                g[0] += za * za
                for b in range(p):
                    c[b] += za * x[b]
            elif k == 2:
                za, zb = z[0, i], z[1, i]
                g[0] += za * za
                g[2] += zb * za
                g[3] += zb * zb
                for b in range(p):
                    c[b] += za * x[b]
                    c[p + b] += zb * x[b]
            else:
                for a in range(k):
                    za = z[a, i]
                    if za == 0.0:
                        continue
                    for b in range(a + 1):
                        g[a * k + b] += za * z[b, i]
                    for b in range(p):
                        c[a * p + b] += za * x[b]


def mirror_blocks(double[:, :, ::1] gram):
    """Copy the lower triangle of every block of ``gram`` (L, k, k) to the upper one."""
    cdef Py_ssize_t level, a, b
    with nogil:
        for level in range(gram.shape[0]):
            for a in range(gram.shape[1]):
                for b in range(a):
                    gram[level, b, a] = gram[level, a, b]


def transform_blocks(
    double[:, :, ::1] cross,          # in/out: (L, k, P), each row times right
    const double[:, ::1] right,       # in: (P, P), upper triangular
):
    """Change the basis of the columns [X y] in the blocks of every level."""
    cdef Py_ssize_t level, a, i, j, p = right.shape[0]
    cdef double x
    cdef double* row
    with nogil:
        for level in range(cross.shape[0]):
            for a in range(cross.shape[1]):
                row = &cross[level, a, 0]
                for j in range(p - 1, -1, -1):
                    x = 0.0
                    for i in range(j + 1):
                        x += row[i] * right[i, j]
                    row[j] = x


def sort_again(
    const int32_t[::1] codes,         # in: (n,) level of each row
    const int32_t[::1] before,        # in: (n,) rows in some order
    int32_t[::1] order,               # out: (n,) these sorted by level, stable
    Py_ssize_t[::1] pointers,         # out: (n_levels + 1,) where each level starts
):
    """Counting sort by level of rows that have been sorted by another factor."""
    cdef Py_ssize_t n = codes.shape[0], n_levels = pointers.shape[0] - 1
    cdef Py_ssize_t i, level, start, total = 0
    cdef int32_t row
    with nogil:
        pointers[:] = 0
        for i in range(n):
            pointers[codes[i]] += 1
        for level in range(n_levels):
            start = total
            total += pointers[level]
            pointers[level] = start
        for i in range(n):
            row = before[i]
            level = codes[row]
            order[pointers[level]] = row
            pointers[level] += 1
        for level in range(n_levels, 0, -1):
            pointers[level] = pointers[level - 1]
        pointers[0] = 0


def number_pairs(
    const int32_t[::1] order,         # in: (n,) rows by first factor, then by the other
    const Py_ssize_t[::1] pointers,   # in: (L + 1,) where each level of the first starts
    const int32_t[::1] others,        # in: (n,) level of the other factor
    Py_ssize_t[::1] pair_pointers,    # out: (L + 1,) pairs of levels so far
    int32_t[::1] pair_index,          # out: (n,) at first the other levels met, ascending
    int32_t[::1] row_pair,            # out: (n,) number of the pair of each row
):
    """Number the pairs of levels that meet, compressed by level of the first factor."""
    cdef Py_ssize_t n_levels = pointers.shape[0] - 1, level, s
    cdef int32_t t, last, pair = -1
    with nogil:
        pair_pointers[0] = 0
        for level in range(n_levels):
            last = -1
            for s in range(pointers[level], pointers[level + 1]):
                t = others[order[s]]
                if t != last:
                    pair += 1
                    pair_index[pair] = last = t
                row_pair[order[s]] = pair
            pair_pointers[level + 1] = pair + 1


def pair_products(
    const int32_t[::1] row_pair,      # in: (n,) pair of each row of this chunk
    const double[:, ::1] z,           # in: (k, n) columns of the first factor
    const double[:, ::1] other_z,     # in: (h, n) columns of the other factor
    double[:, :, ::1] value,          # out: (pairs, h, k) += Z_other'Z
):
    """Add every row to the block of its pair of levels."""
    cdef Py_ssize_t n = row_pair.shape[0], k = z.shape[0], h = other_z.shape[0]
    cdef Py_ssize_t i, a, b
    cdef double za
    cdef double* v
    with nogil:
        for i in range(n):
            if i + AHEAD < n:
                PREFETCH_FOR_WRITE(&value[row_pair[i + AHEAD], 0, 0])
            v = &value[row_pair[i], 0, 0]
            for a in range(h):
                za = other_z[a, i]
                for b in range(k):
                    v[a * k + b] += za * z[b, i]


def place_links(
    const Py_ssize_t[::1] pair_pointers,  # in: (L + 1,) pairs of the lead with one factor
    const int32_t[::1] pair_index,        # in: (pairs,)
    const double[:, :, ::1] value,        # in: (pairs, h, k)
    const Py_ssize_t[::1] first_column,   # in: (levels of the factor,) in the tail
    Py_ssize_t[::1] cursor,               # in/out: (L,) next free place of each level
    Py_ssize_t[::1] link_index,           # out: (nnz,) scalar tail columns
    double[:, ::1] link_value,            # out: (nnz, k)
):
    """Put the pairs of one tail factor among the links of the leading factor."""
    cdef Py_ssize_t level, s, a, b, at, h = value.shape[1], k = value.shape[2]
    with nogil:
        for level in range(cursor.shape[0]):
            at = cursor[level]
            for s in range(pair_pointers[level], pair_pointers[level + 1]):
                for a in range(h):
                    link_index[at] = first_column[pair_index[s]] + a
                    for b in range(k):
                        link_value[at, b] = value[s, a, b]
                    at += 1
            cursor[level] = at
