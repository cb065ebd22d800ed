"""Prediction errors of rows each of which has the effects of one level of one factor.

Letters are those of ``engine.information.joint_errors``: with half half' = Lam C Lam' of
the row's level, E = Sigma T, K = (I + Sigma A)^-1 and z a row of Z

    y = half'z,    s = x - E'z,    m = |y|^2 + |s|^2,    d = K'z - T s.
"""

import numpy as np


def level_errors(
    const Py_ssize_t[::1] level,         # in: (n,) level of every row
    const double[:, ::1] z,              # in: (n, k)
    const double[:, ::1] x,              # in: (n, p) in coordinates with X'V0^-1 X = I
    const double[:, :, ::1] half,        # in: (L, k, k)
    const double[:, :, ::1] effect,      # in: (L, k, p) E
    *,
    double[::1] within,                  # out: (n,) |y|^2
    double[::1] square,                  # out: (n,) |s|^2
    double[::1] cross,                   # out: (n,) x's
):
    """The parts of m, and of the share of the fixed effects."""
    cdef Py_ssize_t n = z.shape[0], k = z.shape[1], p = x.shape[1]
    cdef Py_ssize_t i, own_level, a, b, j
    cdef double own, total, both
    with nogil:
        for i in range(n):
            own_level = level[i]
            total = 0.0
            for a in range(k):
                own = 0.0
                for b in range(k):
                    own += half[own_level, b, a] * z[i, b]
                total += own * own
            within[i] = total
            total = 0.0
            both = 0.0
            for j in range(p):
                own = x[i, j]
                for a in range(k):
                    own -= z[i, a] * effect[own_level, a, j]
                total += own * own
                both += own * x[i, j]
            square[i] = total
            cross[i] = both


def level_slopes(
    const Py_ssize_t[::1] level,         # in: (n,)
    const double[:, ::1] z,              # in: (n, k)
    const double[:, ::1] x,              # in: (n, p)
    *,
    const double[:, :, ::1] effect,      # in: (L, k, p) E
    const double[:, :, ::1] response,    # in: (L, k, p) T
    const double[:, :, ::1] shrunk,      # in: (L, k, k) K
    const double[:, :, ::1] gram,        # in: (L, k, k) A
    const double[:, :, ::1] first,       # in: (n_gamma, p, p) T'B_r T
    tuple elements,                      # in: r, a, b and value of the elements of E_r
    const double[:, ::1] weight,         # in: (n_gamma, n_gamma) W, (0, 0) if not wanted
    const double[:, ::1] second,         # in: (p, p) sum W_rs T'B_r N B_s T
    double[:, ::1] slope,                # out: (n, n_gamma) dm / d gamma
    double[::1] rise,                    # out: (n,) sum W_rs S_rs, if wanted
):
    """Derivatives of m, and its expected rise by the errors of the variances."""
    cdef const Py_ssize_t[::1] er = elements[0], ea = elements[1], eb = elements[2]
    cdef const double[::1] ev = elements[3]
    cdef Py_ssize_t n = z.shape[0], k = z.shape[1], p = x.shape[1]
    cdef Py_ssize_t count = first.shape[0], n_elements = er.shape[0]
    cdef bint wanted = weight.shape[0] > 0
    cdef Py_ssize_t i, own_level, a, b, j, r, q, e
    cdef double own, total
    cdef double[::1] s = np.empty(p), d = np.empty(k), ts = np.empty(k)
    cdef double[:, ::1] w = np.empty((count, k)), wt = np.empty((count, k))
    cdef double[:, ::1] on_x = np.empty((count, p)), image = np.empty((count, k))
    with nogil:
        for i in range(n):
            own_level = level[i]
            for j in range(p):
                own = x[i, j]
                for a in range(k):
                    own -= z[i, a] * effect[own_level, a, j]
                s[j] = own
            for a in range(k):
                own = 0.0
                for b in range(k):
                    own += z[i, b] * shrunk[own_level, b, a]
                d[a] = own
                own = 0.0
                for j in range(p):
                    own += response[own_level, a, j] * s[j]
                ts[a] = own
            for r in range(count):
                for a in range(k):
                    w[r, a] = 0.0
                    wt[r, a] = 0.0
            for e in range(n_elements):
                w[er[e], ea[e]] += ev[e] * d[eb[e]]
                wt[er[e], ea[e]] += ev[e] * ts[eb[e]]
            for r in range(count):
                total = 0.0
                for j in range(p):  # T'B_r T s
                    own = 0.0
                    for q in range(p):
                        own += first[r, j, q] * s[q]
                    on_x[r, j] = own
                    total += own * s[j]
                for a in range(k):
                    total += (d[a] - 2.0 * ts[a]) * w[r, a]
                slope[i, r] = total
            if not wanted:
                continue
            for r in range(count):
                for j in range(p):  # T'B_r d of all levels, but for the sign
                    own = on_x[r, j]
                    for a in range(k):
                        own -= response[own_level, a, j] * w[r, a]
                    on_x[r, j] = own
            total = 0.0
            for j in range(p):
                own = 0.0
                for q in range(p):
                    own += second[j, q] * s[q]
                total += own * s[j]
            for r in range(count):
                for a in range(k):  # B_r of sum_q W_rq (w_q - 2 T s's)
                    own = 0.0
                    for q in range(count):
                        own += weight[r, q] * (w[q, a] - 2.0 * wt[q, a])
                    image[r, a] = own
                for j in range(p):
                    own = 0.0
                    for q in range(count):
                        own += weight[r, q] * on_x[q, j]
                    total -= own * on_x[r, j]
            # N_l w_r, N_l = A K, against it
            for r in range(count):
                for a in range(k):
                    own = 0.0
                    for b in range(k):
                        own += shrunk[own_level, a, b] * w[r, b]
                    ts[a] = own
                for a in range(k):
                    own = 0.0
                    for b in range(k):
                        own += gram[own_level, a, b] * ts[b]
                    total += own * image[r, a]
            rise[i] = total
