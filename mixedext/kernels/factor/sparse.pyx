"""Cholesky factor and selected inverse of a sparse tail in compressed columns.

The graph is that of levels; each level is a block of k scalar columns, so all columns
of a level share their rows below the block.  Row lists ascend and start at the diagonal.

A matrix is its lower triangle by columns: ``pointers`` (m + 1,), where the columns begin,
``rows`` (stored,) and what it holds there, (stored,).
"""

from libc.math cimport log, sqrt
from mixedext.kernels.factor.layout cimport LevelArrays, TailLevels

import numpy as np


def count_fill(
    const Py_ssize_t[::1] pointers,       # in: (n + 1,) lower triangle by rows, without ...
    const Py_ssize_t[::1] indices,        # in: (nnz,) ... the diagonal
    Py_ssize_t[::1] parent,               # out: (n,) elimination tree, -1 at a root
    Py_ssize_t[::1] mark,                 # scratch: (n,)
    Py_ssize_t[::1] count,                # out: (n,) entries below the diagonal, by column
    bint stop_at_fill,
):
    """Elimination tree and column counts of the factor (row subtrees, Liu 1990).

    Returns whether some entry fills in; the counts are complete unless ``stop_at_fill``.
    """
    cdef Py_ssize_t n = parent.shape[0], i, s, j, met
    cdef bint fills = False
    with nogil:
        for i in range(n):
            parent[i] = -1
            mark[i] = i
            count[i] = 0
            met = 0
            for s in range(pointers[i], pointers[i + 1]):
                j = indices[s]
                while mark[j] != i:
                    if parent[j] == -1:
                        parent[j] = i
                    count[j] += 1
                    met += 1
                    mark[j] = i
                    j = parent[j]
            if met > pointers[i + 1] - pointers[i]:
                fills = True
                if stop_at_fill:
                    break
    return bool(fills)


def fill_pattern(
    const Py_ssize_t[::1] pointers,       # in: (n + 1,) as ``count_fill`` takes them
    const Py_ssize_t[::1] indices,        # in: (nnz,)
    const Py_ssize_t[::1] parent,         # in: (n,)
    Py_ssize_t[::1] mark,                 # scratch: (n,)
    Py_ssize_t[::1] cursor,               # in/out: (n,) where each column's list starts
    Py_ssize_t[::1] rows,                 # out: (entries,) below the diagonal, ascending
):
    """List the rows of every column of the factor."""
    cdef Py_ssize_t n = parent.shape[0], i, s, j
    with nogil:
        for i in range(n):
            mark[i] = i
            for s in range(pointers[i], pointers[i + 1]):
                j = indices[s]
                while mark[j] != i:
                    rows[cursor[j]] = i
                    cursor[j] += 1
                    mark[j] = i
                    j = parent[j]


def expand_levels(
    const Py_ssize_t[::1] level_pointers,  # in: (levels + 1,) levels below each ...
    const Py_ssize_t[::1] level_rows,     # in: (entries,) ... one
    const Py_ssize_t[::1] level_start,    # in: (levels + 1,)
    const Py_ssize_t[::1] pointers,       # in: (m + 1,) scalar columns
    Py_ssize_t[::1] rows,                 # out: (stored,)
):
    """Scalar row lists from the row lists of levels."""
    cdef Py_ssize_t n_levels = level_start.shape[0] - 1
    cdef Py_ssize_t level, s, i, j, cursor
    with nogil:
        for level in range(n_levels):
            for j in range(level_start[level], level_start[level + 1]):
                cursor = pointers[j]
                for i in range(j, level_start[level + 1]):
                    rows[cursor] = i
                    cursor += 1
                for s in range(level_pointers[level], level_pointers[level + 1]):
                    for i in range(
                        level_start[level_rows[s]], level_start[level_rows[s] + 1]
                    ):
                        rows[cursor] = i
                        cursor += 1


cdef inline Py_ssize_t _position(
    const Py_ssize_t[::1] pointers, const Py_ssize_t[::1] rows, Py_ssize_t i, Py_ssize_t j,
) noexcept nogil:
    cdef Py_ssize_t low = pointers[j], high = pointers[j + 1], middle
    while high - low > 1:
        middle = (low + high) // 2
        if rows[middle] <= i:
            low = middle
        else:
            high = middle
    return low


def locate(
    const Py_ssize_t[::1] pointers, const Py_ssize_t[::1] rows,
    const Py_ssize_t[::1] i, const Py_ssize_t[::1] j,  # in: (count,)
    Py_ssize_t[::1] position,             # out: (count,)
):
    """Position of the entries (i, j), i >= j, by bisection within column j."""
    cdef Py_ssize_t s
    with nogil:
        for s in range(i.shape[0]):
            position[s] = _position(pointers, rows, i[s], j[s])


def factor_cholesky(
    const Py_ssize_t[::1] pointers, const Py_ssize_t[::1] rows,
    double[::1] values,                   # in: (stored,) lower triangle; out: its factor L
    Py_ssize_t[::1] head, Py_ssize_t[::1] following, Py_ssize_t[::1] place,  # scratch (m,)
    double[::1] column,                   # scratch: (m,), zeros on entry and return
):
    """Left-looking Cholesky; returns (log det, 0) or (nan, order of the bad minor)."""
    cdef Py_ssize_t m = pointers.shape[0] - 1, j, s, c, nxt, bad = 0
    cdef double total = 0.0, x, pivot
    with nogil:
        for j in range(m):
            head[j] = -1
        for j in range(m):
            for s in range(pointers[j], pointers[j + 1]):
                column[rows[s]] = values[s]
            c = head[j]                    # columns whose next row is j
            while c != -1:
                nxt = following[c]
                s = place[c]
                x = values[s]
                for s in range(s, pointers[c + 1]):
                    column[rows[s]] -= x * values[s]
                place[c] += 1
                if place[c] < pointers[c + 1]:
                    s = rows[place[c]]
                    following[c] = head[s]
                    head[s] = c
                c = nxt
            pivot = column[j]
            if not pivot > 0.0:
                bad = j + 1
                for s in range(pointers[j], pointers[j + 1]):
                    column[rows[s]] = 0.0
                break
            pivot = sqrt(pivot)
            total += log(pivot)
            for s in range(pointers[j], pointers[j + 1]):
                values[s] = column[rows[s]] / pivot
                column[rows[s]] = 0.0
            values[pointers[j]] = pivot
            place[j] = pointers[j] + 1
            if place[j] < pointers[j + 1]:
                s = rows[place[j]]
                following[j] = head[s]
                head[s] = j
    if bad != 0:
        return float("nan"), bad
    return 2.0 * total, 0


def solve_cholesky(
    const Py_ssize_t[::1] pointers, const Py_ssize_t[::1] rows, const double[::1] values,
    double[:, ::1] b,                     # in/out: (m, r)
    bint transpose,
):
    """Overwrite ``b`` by L^-1 b, or by L^-T b."""
    cdef Py_ssize_t m = pointers.shape[0] - 1, r = b.shape[1], j, s, c
    cdef double x
    with nogil:
        if not transpose:
            for j in range(m):
                x = values[pointers[j]]
                for c in range(r):
                    b[j, c] /= x
                for s in range(pointers[j] + 1, pointers[j + 1]):
                    x = values[s]
                    for c in range(r):
                        b[rows[s], c] -= x * b[j, c]
        else:
            for j in range(m - 1, -1, -1):
                for s in range(pointers[j] + 1, pointers[j + 1]):
                    x = values[s]
                    for c in range(r):
                        b[j, c] -= x * b[rows[s], c]
                x = values[pointers[j]]
                for c in range(r):
                    b[j, c] /= x


def invert_selected(
    const Py_ssize_t[::1] pointers, const Py_ssize_t[::1] rows, const double[::1] factor,
    double[::1] weight, double[::1] total, Py_ssize_t[::1] mark,   # scratch: (m,)
    double[::1] inverse,                  # out: (stored,) the inverse on the pattern of L
):
    """Takahashi's recursion, column by column from the last."""
    cdef Py_ssize_t m = pointers.shape[0] - 1, j, s, t, c, row
    cdef double pivot, x, w
    with nogil:
        for j in range(m):
            mark[j] = -1
        for j in range(m - 1, -1, -1):
            pivot = factor[pointers[j]]
            for s in range(pointers[j] + 1, pointers[j + 1]):
                row = rows[s]
                weight[row] = factor[s] / pivot
                total[row] = 0.0
                mark[row] = j
            for s in range(pointers[j] + 1, pointers[j + 1]):
                c = rows[s]
                w = weight[c]
                x = inverse[pointers[c]] * w
                for t in range(pointers[c] + 1, pointers[c + 1]):
                    row = rows[t]
                    if mark[row] == j:
                        x += inverse[t] * weight[row]
                        total[row] += inverse[t] * w
                total[c] += x
            x = 1.0 / (pivot * pivot)
            for s in range(pointers[j] + 1, pointers[j + 1]):
                inverse[s] = -total[rows[s]]
                x += total[rows[s]] * weight[rows[s]]
            inverse[pointers[j]] = x


def multiply_symmetric(
    const Py_ssize_t[::1] pointers, const Py_ssize_t[::1] rows, const double[::1] values,
    const double[:, ::1] b,               # in: (m, r)
    double[:, ::1] out,                   # out: (m, r) += A b
):
    """Product with a symmetric matrix given by its lower triangle."""
    cdef Py_ssize_t m = pointers.shape[0] - 1, r = b.shape[1], j, s, c, row
    cdef double x
    with nogil:
        for j in range(m):
            x = values[pointers[j]]
            for c in range(r):
                out[j, c] += x * b[j, c]
            for s in range(pointers[j] + 1, pointers[j + 1]):
                x = values[s]
                row = rows[s]
                for c in range(r):
                    out[row, c] += x * b[j, c]
                    out[j, c] += x * b[row, c]


def count_nonzeros(
    const double[:, ::1] a,               # in: (m, m) symmetric
    Py_ssize_t[::1] pointers,             # out: (m + 1,)
):
    """Nonzero entries from the diagonal on in every row (the diagonal always counts)."""
    cdef Py_ssize_t m = a.shape[0], i, j, total = 0
    with nogil:
        pointers[0] = 0
        for i in range(m):
            total += 1
            for j in range(i + 1, m):
                total += a[i, j] != 0.0
            pointers[i + 1] = total


def list_nonzeros(
    const double[:, ::1] a,               # in: (m, m) symmetric
    Py_ssize_t[::1] rows,                 # out: (nonzeros,)
    double[::1] values,                   # out: (nonzeros,)
):
    """The entries that ``count_nonzeros`` counts; a lower triangle by columns."""
    cdef Py_ssize_t m = a.shape[0], i, j, at = 0
    with nogil:
        for i in range(m):
            for j in range(i, m):
                if j == i or a[i, j] != 0.0:
                    rows[at] = j
                    values[at] = a[i, j]
                    at += 1


def keep_nonzeros(
    const Py_ssize_t[::1] pointers, const Py_ssize_t[::1] rows, const double[::1] values,
    Py_ssize_t[::1] kept_pointers,        # out: (m + 1,)
    Py_ssize_t[::1] kept_rows,            # out: (stored,), what is kept of it ...
    double[::1] kept,                     # out: (stored,) ... and so here
):
    """Compressed columns without their zeros off the diagonal; returns how many remain."""
    cdef Py_ssize_t m = pointers.shape[0] - 1, j, s, at = 0
    with nogil:
        kept_pointers[0] = 0
        for j in range(m):
            for s in range(pointers[j], pointers[j + 1]):
                if s == pointers[j] or values[s] != 0.0:
                    kept_rows[at] = rows[s]
                    kept[at] = values[s]
                    at += 1
            kept_pointers[j + 1] = at
    return at


cdef inline double _entry(
    const Py_ssize_t[::1] pointers, const double[::1] values, Py_ssize_t first,
    Py_ssize_t offset, Py_ssize_t i, Py_ssize_t j,
) noexcept nogil:
    # Entry (i, j) of the block `offset` rows below the top of column `first`'s list.
    # In the diagonal block (offset 0) the upper triangle is read from the lower one.
    if offset == 0 and i < j:
        return values[pointers[first + i] + j - i]
    return values[pointers[first + j] + offset + i - j]


def congruence(
    const Py_ssize_t[::1] pointers, const Py_ssize_t[::1] rows,
    TailLevels levels,
    const double[:, :, ::1] lam,          # in: (factors, kmax, kmax)
    const double[::1] values,             # in: (stored,) A
    double[::1] out,                      # out: (stored,)
):
    """out = Lam' A Lam + I."""
    cdef LevelArrays at = levels.at
    cdef Py_ssize_t level, first, width, s, other, height, offset, i, j, c, d, f, g
    cdef Py_ssize_t n_levels = levels.n_levels
    cdef double x
    cdef double[::1] scale = np.empty(n_levels if lam.shape[1] == 1 else 0)
    cdef double[::1] block = np.empty(lam.shape[1] ** 2)
    with nogil:
        if lam.shape[1] == 1:
            for j in range(n_levels):
                scale[j] = lam[at.factor[j], 0, 0]
            for j in range(n_levels):
                x = scale[j]
                for s in range(pointers[j], pointers[j + 1]):
                    out[s] = x * scale[rows[s]] * values[s]
                out[pointers[j]] += 1.0
        else:
            for level in range(n_levels):
                first = at.start[level]
                width = at.start[level + 1] - first
                f = at.factor[level]
                s = pointers[first]
                while s < pointers[first + 1]:
                    other = at.of_column[rows[s]]
                    height = at.start[other + 1] - at.start[other]
                    g = at.factor[other]
                    offset = s - pointers[first]
                    for c in range(height):
                        for d in range(width):
                            block[c * width + d] = _entry(
                                pointers, values, first, offset, c, d
                            )
                    for j in range(width):
                        for i in range(j if offset == 0 else 0, height):
                            x = 0.0
                            for c in range(height):
                                for d in range(width):
                                    x += lam[g, c, i] * lam[f, d, j] * block[c * width + d]
                            if offset == 0 and i == j:
                                x += 1.0
                            out[pointers[first + j] + offset + i - j] = x
                    s += height


def curvature(
    const Py_ssize_t[::1] pointers, const Py_ssize_t[::1] rows,
    TailLevels levels,
    const double[:, :, ::1] lam,          # in: (factors, kmax, kmax)
    const double[::1] reduced,            # in: (stored,) Z2'V1^-1 Z2 on the pattern of L
    const double[::1] inverse,            # in: (stored,) C22 on the pattern of L
    double[:, :, ::1] out,                # out: (factors, kmax, kmax)
):
    """Per factor sum_l [Z'V0^-1 Z Lam]_ll = sum_l [reduced Lam2 C22]_ll."""
    cdef LevelArrays at = levels.at
    cdef Py_ssize_t level, first, width, s, other, height, offset, a, b, c, d, f, g
    cdef Py_ssize_t n_levels = levels.n_levels
    cdef double x, y
    cdef Py_ssize_t room = n_levels if lam.shape[1] == 1 else 0
    cdef double[::1] sums = np.empty(room), scale = np.empty(room)
    with nogil:
        out[:, :, :] = 0.0
        if lam.shape[1] == 1:
            for level in range(n_levels):
                scale[level] = lam[at.factor[level], 0, 0]
                sums[level] = 0.0
            for level in range(n_levels):
                s = pointers[level]
                sums[level] += reduced[s] * inverse[s] * scale[level]
                y = 0.0
                for s in range(s + 1, pointers[level + 1]):
                    x = reduced[s] * inverse[s]
                    y += x * scale[rows[s]]
                    sums[rows[s]] += x * scale[level]
                sums[level] += y
            for level in range(n_levels):
                out[at.factor[level], 0, 0] += sums[level]
        for level in range(0 if lam.shape[1] == 1 else n_levels):
            first = at.start[level]
            width = at.start[level + 1] - first
            f = at.factor[level]
            s = pointers[first]
            while s < pointers[first + 1]:
                other = at.of_column[rows[s]]
                height = at.start[other + 1] - at.start[other]
                g = at.factor[other]
                offset = s - pointers[first]
                # this level: N[other, level]' lam_other C[other, level]
                for c in range(height):
                    for d in range(height):
                        if lam[g, c, d] == 0.0:
                            continue
                        for a in range(width):
                            x = lam[g, c, d] * _entry(
                                pointers, reduced, first, offset, c, a
                            )
                            for b in range(width):
                                out[f, a, b] += x * _entry(
                                    pointers, inverse, first, offset, d, b
                                )
                if offset > 0:             # and the other way round
                    for c in range(width):
                        for d in range(width):
                            if lam[f, c, d] == 0.0:
                                continue
                            for a in range(height):
                                x = lam[f, c, d] * _entry(
                                    pointers, reduced, first, offset, a, c
                                )
                                for b in range(height):
                                    out[g, a, b] += x * _entry(
                                        pointers, inverse, first, offset, b, d
                                    )
                s += height
