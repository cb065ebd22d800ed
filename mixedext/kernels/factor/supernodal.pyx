"""Cholesky factor and selected inverse of a sparse tail by dense panels.

A supernode is a run of columns that share their rows: its block on the diagonal and the
rows below it form one dense panel, stored by columns, (rows, width), and BLAS does the
arithmetic.  The rows of a supernode are the row list of its first column.
"""

from libc.math cimport log
from libc.string cimport memcpy
from mixedext.kernels.factor.layout cimport NodeArrays, Supernodes
from scipy.linalg.cython_blas cimport dgemm, dsymm, dsyrk, dtrsm
from scipy.linalg.cython_lapack cimport dpotrf, dpotri


def fill_panels(
    Supernodes nodes,
    const double[::1] values,             # in: (stored,) lower triangle by columns
    double[::1] panels,                   # out: (size,) lower trapezoid of every panel
):
    """Panels from compressed columns."""
    cdef NodeArrays at = nodes.at
    cdef Py_ssize_t node, j, i, height, first
    cdef double *column
    cdef const double *source
    with nogil:
        for node in range(nodes.n_nodes):
            first = at.start[node]
            height = at.pointers[first + 1] - at.pointers[first]
            for j in range(at.start[node + 1] - first):
                column = &panels[at.place[node] + j * height]
                source = &values[at.pointers[first + j]]
                for i in range(j, height):
                    column[i] = source[i - j]


def read_panels(
    Supernodes nodes,
    const double[::1] panels,             # in: (size,)
    double[::1] values,                   # out: (stored,)
):
    """Compressed columns from panels."""
    cdef NodeArrays at = nodes.at
    cdef Py_ssize_t node, j, i, height, first
    cdef const double *column
    cdef double *target
    with nogil:
        for node in range(nodes.n_nodes):
            first = at.start[node]
            height = at.pointers[first + 1] - at.pointers[first]
            for j in range(at.start[node + 1] - first):
                column = &panels[at.place[node] + j * height]
                target = &values[at.pointers[first + j]]
                for i in range(j, height):
                    target[i - j] = column[i]


def read_pivots(
    Supernodes nodes,
    const double[::1] panels,             # in: (size,)
    double[::1] out,                      # out: (m,)
):
    """Diagonal of the matrix that the panels hold."""
    cdef NodeArrays at = nodes.at
    cdef Py_ssize_t node, j, height, first
    for node in range(nodes.n_nodes):
        first = at.start[node]
        height = at.pointers[first + 1] - at.pointers[first]
        for j in range(at.start[node + 1] - first):
            out[first + j] = panels[at.place[node] + j * (height + 1)]


def factor_supernodes(
    Supernodes nodes,
    double[::1] panels,                   # in: (size,) lower triangle; out: its factor L
    Py_ssize_t[:, ::1] by_node,           # scratch: (3, nodes)
    Py_ssize_t[:, ::1] by_column,         # scratch: (2, m)
    double[::1] work,                     # scratch: (tallest * widest,)
):
    """Left-looking Cholesky (Ng and Peyton 1993).

    Returns (log det, 0) or (nan, order of the minor that is not positive).
    """
    cdef NodeArrays at = nodes.at
    cdef Py_ssize_t[::1] head = by_node[0], following = by_node[1], reached = by_node[2]
    cdef Py_ssize_t[::1] local = by_column[0], target = by_column[1]
    cdef Py_ssize_t n_nodes = nodes.n_nodes, node, other, nxt, first, i, j, s, reach
    cdef Py_ssize_t column
    cdef bint in_a_row
    cdef int height, width, below, tall, wide, rest, met, left, info = 0, bad = 0
    cdef char lower = b"L", right = b"R", no = b"N", yes = b"T"
    cdef double one = 1.0, zero = 0.0, total = 0.0
    cdef double *panel
    cdef double *source
    cdef const Py_ssize_t *own
    cdef const Py_ssize_t *theirs
    with nogil:
        for node in range(n_nodes):
            head[node] = -1
        for node in range(n_nodes):
            first = at.start[node]
            width = <int> (at.start[node + 1] - first)
            own = at.rows + at.pointers[first]
            height = <int> (at.pointers[first + 1] - at.pointers[first])
            panel = &panels[at.place[node]]
            for i in range(height):
                local[own[i]] = i
            other = head[node]             # supernodes whose next row lies in this one
            while other != -1:
                nxt = following[other]
                column = at.start[other]
                theirs = at.rows + at.pointers[column]
                tall = <int> (at.pointers[column + 1] - at.pointers[column])
                wide = <int> (at.start[other + 1] - column)
                reach = reached[other]
                s = reach
                while s < tall and theirs[s] < first + width:
                    s += 1
                met, left, rest = <int> (s - reach), <int> (tall - reach), <int> (tall - s)
                source = &panels[at.place[other] + reach]
                dsyrk(&lower, &no, &met, &wide, &one, source, &tall, &zero, &work[0], &left)
                if rest > 0:
                    dgemm(&no, &yes, &rest, &met, &wide, &one, source + met, &tall,
                          source, &tall, &zero, &work[met], &left)
                for i in range(left):
                    target[i] = local[theirs[reach + i]]
                in_a_row = target[left - 1] - target[0] == left - 1
                for j in range(met):
                    column = (theirs[reach + j] - first) * height
                    if in_a_row:
                        column += target[0]
                        for i in range(j, left):
                            panel[column + i] -= work[j * left + i]
                    else:
                        for i in range(j, left):
                            panel[column + target[i]] -= work[j * left + i]
                reached[other] = s
                if s < tall:
                    j = at.node_of[theirs[s]]
                    following[other] = head[j]
                    head[j] = other
                other = nxt
            dpotrf(&lower, &width, panel, &height, &info)
            if info != 0:
                bad = <int> first + info
                break
            for j in range(width):
                total += log(panel[j * height + j])
            below = height - width
            if below > 0:
                dtrsm(&right, &lower, &yes, &no, &below, &width, &one, panel, &height,
                      panel + width, &height)
                reached[node] = width
                j = at.node_of[own[width]]
                following[node] = head[j]
                head[j] = node
    if bad != 0:
        return float("nan"), bad
    return 2.0 * total, 0


def solve_supernodes(
    Supernodes nodes,
    const double[::1] panels,             # in: (size,) L
    double[::1] work,                     # scratch: (most_below * r,)
    double[:, ::1] b,                     # in/out: (m, r)
    bint transpose,
):
    """Overwrite ``b`` by L^-1 b, or by L^-T b."""
    cdef NodeArrays at = nodes.at
    cdef Py_ssize_t n_nodes = nodes.n_nodes, step, node, first, i, c
    cdef int r = <int> b.shape[1], height, width, below
    cdef char right = b"R", lower = b"L", no = b"N", yes = b"T"
    cdef double one = 1.0, zero = 0.0, minus = -1.0
    cdef double *panel
    cdef double *target
    cdef const Py_ssize_t *own
    if r == 0:
        return
    with nogil:
        for step in range(n_nodes):
            node = n_nodes - 1 - step if transpose else step
            first = at.start[node]
            width = <int> (at.start[node + 1] - first)
            own = at.rows + at.pointers[first] + width
            height = <int> (at.pointers[first + 1] - at.pointers[first])
            below = height - width
            panel = <double*> &panels[at.place[node]]
            target = &b[first, 0]          # (r, width) by columns: b's rows transposed
            if not transpose:
                dtrsm(&right, &lower, &yes, &no, &r, &width, &one, panel, &height,
                      target, &r)
                if below > 0:
                    dgemm(&no, &yes, &r, &below, &width, &one, target, &r,
                          panel + width, &height, &zero, &work[0], &r)
                    for i in range(below):
                        for c in range(r):
                            b[own[i], c] -= work[i * r + c]
            else:
                if below > 0:
                    for i in range(below):
                        for c in range(r):
                            work[i * r + c] = b[own[i], c]
                    dgemm(&no, &no, &r, &width, &below, &minus, &work[0], &r,
                          panel + width, &height, &one, target, &r)
                dtrsm(&right, &lower, &no, &no, &r, &width, &one, panel, &height,
                      target, &r)


def invert_supernodes(
    Supernodes nodes,
    const double[::1] factor,             # in: (size,) panels of L
    Py_ssize_t[:, ::1] by_column,         # scratch: (2, m)
    double[::1] gathered,                 # scratch: (most_below ** 2,), one at least
    double[::1] weight,                   # scratch: (tallest * widest,)
    double[::1] inverse,                  # out: (size,) panels of (L L')^-1
):
    """Takahashi's recursion by panels, from the last.

    With J the supernode, R its rows below and Y = L_RJ L_JJ^-1:
    C_RJ = -C_RR Y and C_JJ = (L_JJ L_JJ')^-1 - Y'C_RJ.
    """
    cdef NodeArrays at = nodes.at
    cdef Py_ssize_t[::1] local = by_column[0], origin = by_column[1]
    cdef Py_ssize_t n_nodes = nodes.n_nodes, node, other, first, column, tall
    cdef Py_ssize_t i, j, s, stop
    cdef bint in_a_row
    cdef int height, width, below, info = 0
    cdef char left = b"L", right = b"R", lower = b"L", no = b"N", yes = b"T"
    cdef double one = 1.0, zero = 0.0, minus = -1.0
    cdef const double *panel
    cdef double *out
    cdef const double *source
    cdef double *target
    cdef const Py_ssize_t *own
    cdef const Py_ssize_t *theirs
    with nogil:
        for node in range(n_nodes - 1, -1, -1):
            first = at.start[node]
            width = <int> (at.start[node + 1] - first)
            own = at.rows + at.pointers[first] + width
            height = <int> (at.pointers[first + 1] - at.pointers[first])
            below = height - width
            panel = &factor[at.place[node]]
            out = &inverse[at.place[node]]
            for j in range(width):
                for i in range(j, width):
                    out[j * height + i] = panel[j * height + i]
            dpotri(&lower, &width, out, &height, &info)
            if below == 0:
                continue
            # C_RR, the lower triangle, one supernode of columns at a time
            s = 0
            while s < below:
                other = at.node_of[own[s]]
                column = at.start[other]
                theirs = at.rows + at.pointers[column]
                tall = at.pointers[column + 1] - at.pointers[column]
                stop = s
                while stop < below and own[stop] < at.start[other + 1]:
                    stop += 1
                for i in range(s, stop):
                    origin[i] = own[i] - column
                if stop < below:
                    for i in range(at.start[other + 1] - column, tall):
                        local[theirs[i]] = i
                    for i in range(stop, below):
                        origin[i] = local[own[i]]
                in_a_row = origin[below - 1] - origin[s] == below - 1 - s
                for j in range(s, stop):
                    source = &inverse[at.place[other] + origin[j] * tall]
                    target = &gathered[j * below]
                    if in_a_row:
                        memcpy(target + j, source + origin[j], (below - j) * sizeof(double))
                    else:
                        for i in range(j, below):
                            target[i] = source[origin[i]]
                s = stop
            for j in range(width):
                for i in range(below):
                    weight[j * below + i] = panel[j * height + width + i]
            dtrsm(&right, &lower, &no, &no, &below, &width, &one, <double*> panel, &height,
                  &weight[0], &below)
            dsymm(&left, &lower, &below, &width, &minus, &gathered[0], &below,
                  &weight[0], &below, &zero, out + width, &height)
            dgemm(&yes, &no, &width, &width, &below, &minus, &weight[0], &below,
                  out + width, &height, &one, out, &height)
