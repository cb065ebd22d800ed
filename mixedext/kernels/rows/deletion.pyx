"""What rows and sets of rows take with them when they are deleted, theta held.

Letters are those of ``engine.information.joint_errors``: in coordinates in which
X'V0^-1 X = I, with half half' = Lam C Lam' of the level of a row and E = Sigma T,

    y = half'z,    s = x - E'z,    h = w (|y|^2 + |s|^2).

A set I takes D = [S r]'Q^-1 [S r] with it, Q = W_I^-1 - Z_I Lam C Lam'Z_I'; D of the
columns S is the information that is lost, so that with c = D_sr

    b - b_I = (I - D)^-1 c,    F_I = (I - D)^-1,
    r'P0 r falls by D_rr + c'(I - D)^-1 c.
"""

from libc.math cimport NAN, log, sqrt
from libc.stdint cimport int32_t

import numpy as np


def level_rows(
    const int32_t[::1] level,            # in: (n,) level of every row
    const double[:, ::1] z,              # in: (n, k)
    const double[:, ::1] x,              # in: (n, p)
    const double[:, :, ::1] half,        # in: (L, k, k)
    const double[:, :, ::1] effect,      # in: (L, k, p) E
    *,
    const double[:, ::1] own,            # in: (n, k) z in the units of ``modes``
    const double[:, ::1] modes,          # in: (L, k) u, or (0, k)
    double[::1] residual,                # in/out: (n,) less X b, then less Z u; or (0,)
    double[:, ::1] s,                    # out: (n, p)
    double[::1] whole,                   # out: (n,) |y|^2 + |s|^2
    double[::1] fixed,                   # out: (n,) x's
):
    """Rows of which each has the effects of one level of one factor."""
    cdef Py_ssize_t n = z.shape[0], k = z.shape[1], p = x.shape[1]
    cdef Py_ssize_t i, a, b, j
    cdef double part, total, both, within  # |y|^2, x's, |s|^2
    cdef bint wanted = residual.shape[0] > 0
    cdef const double *h
    cdef const double *e
    cdef const double *zi
    if n == 0:
        return
    with nogil:
        for i in range(n):
            h = &half[level[i], 0, 0]
            zi = &z[i, 0]
            total = 0.0
            both = 0.0
            if k == 1:
                part = h[0] * zi[0]
                total = part * part
            elif k == 2:
                part = h[0] * zi[0] + h[2] * zi[1]
                total = part * part
                part = h[1] * zi[0] + h[3] * zi[1]
                total += part * part
            else:
                for a in range(k):
                    part = 0.0
                    for b in range(k):
                        part += h[b * k + a] * zi[b]
                    total += part * part
            within = 0.0
            if p > 0:
                e = &effect[level[i], 0, 0]
                for j in range(p):
                    part = x[i, j]
                    for a in range(k):
                        part -= zi[a] * e[a * p + j]
                    s[i, j] = part
                    within += part * part
                    both += part * x[i, j]
            whole[i] = total + within
            fixed[i] = both
            if wanted:
                part = residual[i]
                for a in range(k):
                    part -= own[i, a] * modes[level[i], a]
                residual[i] = part


def delete_rows(
    const double[::1] residual,          # in: (n,) r
    const double[:, ::1] s,              # in: (n, p)
    const double[::1] whole,             # in: (n,) h
    const double[::1] weight,            # in: (n,) w, or (0,) for ones
    const double[:, ::1] root,           # in: (p, p) coefficients by the coordinates'
    *,
    double least,                        # in: what 1 - h must keep of the information
    double total,                        # in: r'P0 r of all rows
    double dof,                          # in: its degrees of freedom without a row
    double[:, ::1] change,               # out: (n, p) b - b_i, here and below (0,) if not
    double[:, ::1] standardized,         # out: (n, p) by its se with sigma_i   wanted
    double[:, ::1] variance,             # out: (n, p) diagonal of F_i
    double[::1] distance,                # out: (n,) change'F^-1 change
    double[::1] own_distance,            # out: (n,) change'F_i^-1 change
    double[::1] growth,                  # out: (n,) tr F^-1 F_i - p
    double[::1] scale,                   # out: (n,) sigma_i^2
):
    """Results of deleting every row; NaN where the others do not determine b.

    With f = w / (1 - h) the change is f r root s, F_i = F + f (root s)(root s)', and
    r'P0 r falls by f r^2.
    """
    cdef Py_ssize_t n = s.shape[0], p = s.shape[1], i, j, a
    cdef double left, w, f, square, grown, fall, own, spread, sigma
    cdef bint columns = change.shape[0] + standardized.shape[0] + variance.shape[0] > 0
    cdef double[::1] before = np.einsum("ij,ij->i", root, root)
    with nogil:
        for i in range(n):
            w = weight[i] if weight.shape[0] else 1.0
            square = 0.0
            for j in range(p):
                square += s[i, j] * s[i, j]
            square *= w
            left = 1.0 - whole[i]
            if not left > least * (left + square):
                left = NAN
            f = w / left
            grown = square / left
            fall = f * residual[i] * residual[i]
            sigma = NAN
            if dof > 0.0 and left == left:
                sigma = max(total - fall, 0.0) / dof
            if growth.shape[0]:
                growth[i] = grown
            if distance.shape[0]:
                distance[i] = fall * grown
            if own_distance.shape[0]:
                own_distance[i] = fall * grown / (1.0 + grown)
            if scale.shape[0]:
                scale[i] = sigma
            if not columns:
                continue
            for j in range(p):
                own = 0.0
                for a in range(p):
                    own += root[j, a] * s[i, a]
                spread = before[j] + f * own * own
                if variance.shape[0]:
                    variance[i, j] = spread
                own *= f * residual[i]
                if change.shape[0]:
                    change[i, j] = own
                if standardized.shape[0]:
                    standardized[i, j] = own / sqrt(sigma * spread)


def add_whole_levels(
    const int32_t[::1] number,           # in: (n,) set of every row, negative for none
    const int32_t[::1] level,            # in: (n,) level of every row
    const double[:, ::1] z,              # in: (n, k)
    const double[:, ::1] x,              # in: (n, p)
    const double[::1] marginal,          # in: (n,) response less X b
    *,
    const double[:, :, ::1] effect,      # in: (L, k, p) E
    const double[:, ::1] own,            # in: (n, k) z in the units of ``modes``
    const double[:, ::1] modes,          # in: (L, k) u
    const double[::1] weight,            # in: (n,), or (0,) for ones
    double[:, :, ::1] out,               # in/out: (G, p + 1, p + 1) lower triangle of D
):
    """Add the shares of rows of levels that are deleted whole: Q^-1 S = W_I X there."""
    cdef Py_ssize_t n = x.shape[0], p = x.shape[1], k = z.shape[1], i, a, b
    cdef double w, conditional, part
    cdef double[::1] s = np.empty(p)
    cdef const double *e
    cdef double *d
    with nogil:
        for i in range(n):
            if number[i] < 0:
                continue
            w = weight[i] if weight.shape[0] else 1.0
            d = &out[number[i], 0, 0]
            conditional = marginal[i]
            for a in range(k):
                conditional -= own[i, a] * modes[level[i], a]
            conditional *= w
            e = &effect[level[i], 0, 0]
            for b in range(p):
                part = x[i, b]
                for a in range(k):
                    part -= z[i, a] * e[a * p + b]
                s[b] = w * part
            for a in range(p):
                for b in range(a + 1):
                    d[a * (p + 1) + b] += x[i, a] * s[b]
                d[p * (p + 1) + a] += x[i, a] * conditional
            d[p * (p + 1) + p] += marginal[i] * conditional


def add_grams(
    const Py_ssize_t[::1] number,        # in: (n,) set of every row
    const double[:, ::1] columns,        # in: (n, c)
    const double[::1] weight,            # in: (n,), or (0,) for ones
    double[:, :, ::1] out,               # in/out: (G, c, c) lower triangles
):
    """Add cross-products of rows by set."""
    cdef Py_ssize_t n = columns.shape[0], c = columns.shape[1], i, a, b
    cdef double w, own
    cdef double *d
    with nogil:
        for i in range(n):
            w = weight[i] if weight.shape[0] else 1.0
            d = &out[number[i], 0, 0]
            for a in range(c):
                own = w * columns[i, a]
                for b in range(a + 1):
                    d[a * c + b] += own * columns[i, b]


def delete_sets(
    const double[:, :, ::1] lost,        # in: (G, p + 1, p + 1) lower triangle of D
    const double[:, ::1] root,           # in: (p, p) coefficients by the coordinates'
    double least,                        # in: what I - D must keep of the information
    *,
    double[:, ::1] change,               # out: (G, p) b - b_I in the data's coordinates
    double[::1] distance,                # out: (G,) its square, X'V0^-1 X = I
    double[::1] gain,                    # out: (G,) c'(I - D)^-1 c
    double[::1] trace,                   # out: (G,) tr F_I
    double[::1] log_det,                 # out: (G,) log det F_I
    double[:, ::1] variance,             # out: (G, p) diagonal of root F_I root'
):
    """Results of deleting every set; NaN where the rest does not determine b."""
    cdef Py_ssize_t n_sets = lost.shape[0], p = root.shape[0], g, a, b, j
    cdef double own, total
    cdef bint good
    cdef double[:, ::1] low = np.empty((p, p)), inverse = np.zeros((p, p))
    cdef double[::1] u = np.empty(p)
    with nogil:
        for g in range(n_sets):
            good = True
            total = 0.0
            for a in range(p):  # L L' = I - D
                for b in range(a + 1):
                    own = (1.0 if a == b else 0.0) - lost[g, a, b]
                    for j in range(b):
                        own -= low[a, j] * low[b, j]
                    if a > b:
                        low[a, b] = own / low[b, b]
                    elif own > least:
                        low[a, a] = sqrt(own)
                        total -= 2.0 * log(low[a, a])
                    else:
                        good = False
                        break
                if not good:
                    break
            log_det[g] = total
            if good:
                total = 0.0
                for a in range(p):  # L^-1, lower triangular
                    for b in range(a + 1):
                        own = 1.0 if a == b else 0.0
                        for j in range(b, a):
                            own -= low[a, j] * inverse[j, b]
                        inverse[a, b] = own / low[a, a]
                        total += inverse[a, b] * inverse[a, b]
                trace[g] = total
                good = total * least < 1.0
            if not good:
                log_det[g] = trace[g] = gain[g] = distance[g] = NAN
                for a in range(p):
                    change[g, a] = variance[g, a] = NAN
                continue
            total = 0.0
            for a in range(p):
                u[a] = 0.0
                for b in range(a + 1):
                    u[a] += inverse[a, b] * lost[g, p, b]
                total += u[a] * u[a]
            gain[g] = total
            total = 0.0
            for a in range(p):
                change[g, a] = 0.0
            for b in range(p):  # an element of (I - D)^-1 c, times its column of the root
                own = 0.0
                for a in range(b, p):
                    own += inverse[a, b] * u[a]
                total += own * own
                for a in range(p):
                    change[g, a] += root[a, b] * own
            distance[g] = total
            for j in range(p):
                total = 0.0
                for a in range(p):
                    own = 0.0
                    for b in range(a + 1):
                        own += inverse[a, b] * root[j, b]
                    total += own * own
                variance[g, j] = total


def whiten(
    const Py_ssize_t[::1] order,         # in: (n,) rows, those of a component in a row
    const Py_ssize_t[::1] starts,        # in: (c + 1,) where components begin in ``order``
    const Py_ssize_t[::1] sizes,         # in: (c,) columns of each component
    const Py_ssize_t[::1] pointers,      # in: (n + 1,) rows of Z Lam, compressed
    const Py_ssize_t[::1] index,         # in: (nnz,) columns, numbered in the component
    const double[::1] value,             # in: (nnz,)
    const double[::1] weight,            # in: (n,), or (0,) for ones
    double[::1] residual,                # in/out: (n,) e, becomes L^-1 e, L L' = V0
):
    """Residuals of each row given the rows before it, over their standard deviations.

    The conditional law of u given the rows before, N(m, S), is brought forward (Kalman):
    v = 1/w + z'S z, c = (e - z'm) / sqrt(v), m += S z (e - z'm) / v, S -= S z z'S / v.
    """
    cdef Py_ssize_t count = sizes.shape[0], widest = np.max(sizes, initial=1)
    cdef Py_ssize_t g, t, i, a, b, q
    cdef double v, left, own
    cdef double[::1] mean = np.empty(widest), sz = np.empty(widest)
    cdef double[::1] spread = np.empty(widest * widest)
    with nogil:
        for g in range(count):
            q = sizes[g]
            for a in range(q):
                mean[a] = 0.0
                for b in range(q):
                    spread[a * q + b] = 0.0
                spread[a * q + a] = 1.0
            for t in range(starts[g], starts[g + 1]):
                i = order[t]
                v = 1.0 / weight[i] if weight.shape[0] else 1.0
                left = residual[i]
                for a in range(q):
                    sz[a] = 0.0
                for b in range(pointers[i], pointers[i + 1]):
                    own = value[b]
                    left -= own * mean[index[b]]
                    for a in range(q):
                        sz[a] += own * spread[index[b] * q + a]
                for b in range(pointers[i], pointers[i + 1]):
                    v += value[b] * sz[index[b]]
                for a in range(q):
                    if sz[a] == 0.0:
                        continue
                    own = sz[a] / v
                    mean[a] += own * left
                    for b in range(q):
                        spread[a * q + b] -= own * sz[b]
                residual[i] = left / sqrt(v)


cdef inline double element(
    const double* inverse,               # (m, m) by rows, or values by columns
    const Py_ssize_t* starts,            # (m + 1,) where columns begin, NULL if dense
    const Py_ssize_t* rows,              # rows of the values, ascending in each column
    Py_ssize_t m, Py_ssize_t c, Py_ssize_t d,
) noexcept nogil:
    """An element of a symmetric matrix of which one triangle is stored."""
    cdef Py_ssize_t low, high, middle
    if d < c:
        c, d = d, c
    if starts is NULL:
        return inverse[c * m + d]
    low, high = starts[c], starts[c + 1] - 1
    middle = high - (m - 1 - d)  # where fill-in leaves no zeros below
    if middle >= low and rows[middle] == d:
        return inverse[middle]
    while low < high:
        middle = (low + high) // 2
        if rows[middle] < d:
            low = middle + 1
        else:
            high = middle
    return inverse[low]


def link_squares(
    const Py_ssize_t[::1] level,          # in: (n,) level of the lead of every row
    const double[:, ::1] y,               # in: (n, k) half'z
    const Py_ssize_t[::1] pointers,       # in: (n + 1,) rows of Z2 Lam2, compressed
    const Py_ssize_t[::1] column,         # in: (nnz,)
    const double[::1] value,              # in: (nnz,)
    const Py_ssize_t[::1] link_pointers,  # in: (L + 1,)
    const Py_ssize_t[::1] link_index,     # in: (links,)
    const double[:, ::1] edge,            # in: (links, k) Lam2'link half
    *,
    const double[:, ::1] products,        # in: (links, k) C22 edge there; or (0, k)
    const double[::1] inverse,            # in: C22, the upper triangle of (m, m), or values
    const Py_ssize_t[::1] starts,         # in: (m + 1,) columns of the lower one, or (0,)
    const Py_ssize_t[::1] rows,           # in: rows of the values, or (0,)
    Py_ssize_t size,                      # in: m
    double[::1] out,                      # out: (n,) q'C22 q, q = Lam2'z2 - edge y
):
    """What the tail adds to z'Lam C Lam'z, for rows sorted by level.

    C22 edge at the links of a level serves all of its rows.
    """
    cdef Py_ssize_t n = y.shape[0], k = y.shape[1]
    cdef Py_ssize_t i, s, t, a, b, first, last, count, c, own_level, current = -1
    cdef bint given = products.shape[0] > 0
    cdef double own, both, total
    cdef double[:, ::1] wide = np.zeros((size, k)), quadratic = np.zeros((k, k))
    cdef Py_ssize_t longest = int(np.diff(link_pointers).max(initial=0))
    cdef double[:, ::1] product = np.zeros((max(longest, 1), k))
    cdef const Py_ssize_t* begin = NULL
    cdef const Py_ssize_t* its = NULL
    cdef const double* c22
    if n == 0 or size == 0:
        out[:] = 0.0
        return
    c22 = &inverse[0]
    if starts.shape[0]:
        begin, its = &starts[0], &rows[0]
    with nogil:
        for i in range(n):
            own_level = level[i]
            first, last = link_pointers[own_level], link_pointers[own_level + 1]
            if own_level != current:
                current = own_level
                count = last - first
                for s in range(count):
                    for a in range(k):
                        product[s, a] = products[first + s, a] if given else 0.0
                for s in range(0 if given else count):
                    c = link_index[first + s]
                    own = element(c22, begin, its, size, c, c)
                    for a in range(k):
                        product[s, a] += own * edge[first + s, a]
                    if k == 1:
                        both = 0.0
                        for t in range(s + 1, count):
                            own = element(
                                c22, begin, its, size, c, link_index[first + t]
                            )
                            both += own * edge[first + t, 0]
                            product[t, 0] += own * edge[first + s, 0]
                        product[s, 0] += both
                        continue
                    for t in range(s + 1, count):
                        own = element(c22, begin, its, size, c, link_index[first + t])
                        for a in range(k):
                            product[s, a] += own * edge[first + t, a]
                            product[t, a] += own * edge[first + s, a]
                for a in range(k):
                    for b in range(k):
                        own = 0.0
                        for s in range(count):
                            own += edge[first + s, a] * product[s, b]
                        quadratic[a, b] = own
                for s in range(count):
                    for a in range(k):
                        wide[link_index[first + s], a] = product[s, a]
            total = 0.0
            for a in range(k):
                for b in range(k):
                    total += y[i, a] * quadratic[a, b] * y[i, b]
            for s in range(pointers[i], pointers[i + 1]):
                c = column[s]
                own = 0.0
                for a in range(k):
                    own += wide[c, a] * y[i, a]
                total -= 2.0 * own * value[s]
                own = element(c22, begin, its, size, c, c)
                total += value[s] * value[s] * own
                for t in range(pointers[i], s):
                    own = element(c22, begin, its, size, c, column[t])
                    total += 2.0 * own * value[s] * value[t]
            out[i] = total
