"""What one level adds to the derivatives of the deviance.

Of a level, with Z its rows, S = Z's, N = Z'WZ, M = I + lam'N lam = L L' at the mode u^ of
h(u) = sum l_i + u'u / 2, B = lam M^-1 lam' and T = l''':

    D = sum_l 2 h + log |M|,    v_i = z_i'B z_i,  a = T v,  c = M^-1 lam'Z'a,
    d D / d Sigma = sum_l N_V - S S' - (r S' + S r') / 2,  N_V = N - N B N,
    r = Z'a - N lam c,
    d D / d b = X'(2 s + a - W Z lam c),
    d D / d kappa = 2 sum l_kappa + v'W_kappa - s_kappa'Z lam c.

A quadrature puts averages over its nodes for s and l_kappa, another matrix for M^-1 in v,
and adds twice the average of h' to lam'Z'a (kernels.generalized.quadrature).  There lam
enters not by Sigma alone:

    d D / d lam = sum_l 2 S u' + 2 N lam M^-1 + Z'a u' - S c' - N lam c u'.
"""

from libc.string cimport memset
from mixedext.kernels.generalized.level_work cimport (
    Work,
    add,
    dot,
    dot3,
    inner,
    product,
    project,
    solve_lower,
    solve_upper,
    times_lam,
)
from mixedext.kernels.lanes cimport cloned_int


cdef inline Py_ssize_t pair(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a * (a + 1) // 2 + b if a >= b else b * (b + 1) // 2 + a


cdef inline void _congruence(
    Py_ssize_t k, const double* lam, const double* inside, double* work, double* out
) noexcept nogil:
    # lam inside lam'
    cdef Py_ssize_t a, b
    product(k, k, k, False, lam, inside, work)
    for a in range(k):
        for b in range(k):
            out[a * k + b] = inner(k, work + a * k, lam + b * k)


cdef cloned_int _sum_rows(Work* w, bint quadrature, Sums* sums) noexcept nogil:
    cdef Py_ssize_t a, b, j, m, n = w.n, p = w.p, k = w.k, size = w.size
    cdef Py_ssize_t columns = p + w.has_kappa
    cdef const double* third = w.third
    cdef const double* weight_kappa
    cdef double x
    if w.expected_determinant:
        third = w.expected_third
    # v, the forms of z with lam M^-1 lam' of the determinant; a = T v (into eta)
    if k == 1:
        x = w.lam[0] * w.spread[0] * w.lam[0]
        for m in range(size):
            w.variance[m] = x * w.z[m] * w.z[m]
    else:
        _congruence(k, w.lam, w.spread, w.square, w.square2)
        memset(w.variance, 0, size * sizeof(double))
        for a in range(k):
            for m in range(size):
                w.scaled[m] = w.square2[a * k] * w.z[m]
            for b in range(1, k):
                add(size, w.square2[a * k + b], w.z + b * n, w.scaled)
            for m in range(size):
                w.variance[m] += w.scaled[m] * w.z[a * n + m]
    for m in range(size):
        w.eta[m] = third[m] * w.variance[m]
    project(size, n, k, w.eta, w.z, w.carry)
    # 2 s + a
    add(size, 2.0, w.pooled if quadrature else w.slope, w.eta)
    # Z'WX beside Z's_kappa, (K, p + 1)
    for a in range(k):
        for j in range(p):
            w.cross[a * columns + j] = dot3(size, w.weight, w.z + a * n, w.x + j * n)
        if w.has_kappa:
            w.cross[a * columns + p] = dot(size, w.slope_kappa, w.z + a * n)
    for j in range(p):
        sums.by_x[j] += dot(size, w.eta, w.x + j * n)
        for m in range(j + 1):
            x = dot3(size, w.weight, w.x + j * n, w.x + m * n)
            sums.square[j * columns + m] += x
        if w.has_kappa:
            sums.square[p * columns + j] += dot(size, w.slope_kappa, w.x + j * n)
    if w.has_kappa:
        weight_kappa = w.expected_kappa if w.expected_determinant else w.weight_kappa
        x = dot(size, weight_kappa, w.variance) + 2.0 * w.sum_loss_kappa
        sums.by_kappa[0] += x
        sums.loss_kappa[0] += w.mode_loss_kappa
    return 0


cdef cloned_int _combine_scalar(
    Work* w, bint quadrature, Sums* sums, double* slopes, double* response, double* normal
) noexcept nogil:
    # one column: N_V = N / M
    cdef Py_ssize_t j, m, p = w.p, columns = w.p + w.has_kappa
    cdef double lam = w.lam[0], slope = w.slopes[0], gram = w.gram[0], x, r, c
    cdef double share = 1.0 / (w.root[0] * w.root[0]), own = gram * share
    c = lam * w.carry[0]
    if quadrature:
        c += 2.0 * w.lean[0]
    c *= share
    r = w.carry[0] - gram * lam * c
    x = lam * c
    for j in range(p):
        sums.by_x[j] -= w.cross[j] * x
    if w.has_kappa:
        sums.by_kappa[0] -= w.cross[p] * x
    slopes[0], normal[0] = slope, own
    sums.information[0] += slope * slope * own
    x = share * lam * lam
    for j in range(columns):
        response[j] = share * w.cross[j]
        sums.mixed[j] += slope * response[j]
        for m in range(j + 1):
            sums.square[j * columns + m] -= x * w.cross[j] * w.cross[m]
    if w.expected_determinant:
        gram = w.other_gram[0]
        own = gram / (w.other_root[0] * w.other_root[0])
    sums.score[0] += own - slope * slope - r * slope
    if quadrature:
        x = 2.0 * (gram * lam * w.spread[0] + w.by_lam[0])
        sums.by_lam[0] += x + r * w.u[0] - slope * c
    return 0


cdef void _combine(
    Work* w, bint quadrature, Sums* sums, double* slopes, double* response, double* normal
) noexcept nogil:
    cdef Py_ssize_t a, b, c, d, j, m, p = w.p, k = w.k
    cdef Py_ssize_t columns = p + w.has_kappa
    cdef const double* own = w.other_gram if w.expected_determinant else w.gram
    cdef double x
    # c, and Lam c
    times_lam(k, w.lam, True, w.carry, w.work)
    if quadrature:
        for a in range(k):
            w.work[a] += 2.0 * w.lean[a]
    solve_lower(k, 1, w.root, w.work)
    solve_upper(k, 1, w.root, w.work)
    times_lam(k, w.lam, False, w.work, w.moved)
    for a in range(k):
        for j in range(p):
            sums.by_x[j] -= w.cross[a * columns + j] * w.moved[a]
    if w.has_kappa:
        for a in range(k):
            sums.by_kappa[0] -= w.cross[a * columns + p] * w.moved[a]
    # r = Z'a - N lam c
    for a in range(k):
        slopes[a] = w.slopes[a]
        w.effect[a] = inner(k, w.gram + a * k, w.moved)
        w.trial[a] = w.carry[a] - w.effect[a]
    if quadrature:
        product(k, k, k, False, w.lam, w.spread, w.square)
        for a in range(k):
            for b in range(k):
                x = 0.0
                for m in range(k):
                    x += own[a * k + m] * w.square[m * k + b]
                x = 2.0 * (x + w.by_lam[a * k + b]) + w.trial[a] * w.u[b]
                sums.by_lam[a * k + b] += x - slopes[a] * w.work[b]
    # L^-1 lam'; with it N and Z'WX
    for a in range(k):
        for b in range(k):
            w.half[a * k + b] = w.lam[b * k + a]
    solve_lower(k, k, w.root, w.half)
    product(k, k, k, False, w.half, w.gram, w.half_gram)
    product(k, k, columns, False, w.half, w.cross, w.half_cross)
    for a in range(k):
        for b in range(k):
            x = w.gram[a * k + b]
            for m in range(k):
                x -= w.half_gram[m * k + a] * w.half_gram[m * k + b]
            normal[a * k + b] = x
        for j in range(columns):
            x = w.cross[a * columns + j]
            for m in range(k):
                x -= w.half_gram[m * k + a] * w.half_cross[m * columns + j]
            response[a * columns + j] = x
    for j in range(columns):
        for m in range(j + 1):
            x = 0.0
            for a in range(k):
                x += w.half_cross[a * columns + j] * w.half_cross[a * columns + m]
            sums.square[j * columns + m] -= x
    # the score of Sigma
    if w.expected_determinant:
        for a in range(k):
            for b in range(k):
                w.half[a * k + b] = w.lam[b * k + a]
        solve_lower(k, k, w.other_root, w.half)
        product(k, k, k, False, w.half, w.other_gram, w.half_gram)
    for a in range(k):
        for b in range(a + 1):
            if w.expected_determinant:
                x = w.other_gram[a * k + b]
                for m in range(k):
                    x -= w.half_gram[m * k + a] * w.half_gram[m * k + b]
            else:
                x = normal[a * k + b]
            x -= slopes[a] * slopes[b]
            x -= 0.5 * (w.trial[a] * slopes[b] + slopes[a] * w.trial[b])
            sums.score[pair(a, b)] += x
    # S S' (x) N_V, and S (x) the response of Z'WX
    m = 0
    for a in range(k):
        for b in range(a + 1):
            x = slopes[a] * slopes[b]
            for c in range(k):
                for d in range(c + 1):
                    sums.information[m] += x * normal[c * k + d]
                    m += 1
    m = 0
    for b in range(k):
        for a in range(k):
            for j in range(columns):
                sums.mixed[m] += slopes[b] * response[a * columns + j]
                m += 1


cdef void add_derivatives(
    Work* w, bint quadrature, Sums* sums, double* slopes, double* response, double* normal
) noexcept nogil:
    """Add a level's part to the sums; S, N_V and (I + N Sigma)^-1 [Z'W X, Z's_kappa] of it.

    ``response`` is (K, p + 1 or p), ``normal`` (K, K).
    """
    _sum_rows(w, quadrature, sums)
    if w.k == 1:
        _combine_scalar(w, quadrature, sums, slopes, response, normal)
    else:
        _combine(w, quadrature, sums, slopes, response, normal)
