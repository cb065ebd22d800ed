"""Deviance and derivatives of a generalized model with one grouping factor, by level.

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

Levels are independent problems: each iterates to its own convergence while its rows are in
the processor's cache.
"""

from libc.math cimport fabs, log
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from mixedext.kernels.generalized.families cimport RowFamily, Rows, read_rows, rows_from
from mixedext.kernels.generalized.fast_terms cimport (
    FAST_LOGIT,
    FAST_POISSON,
    NOT_FAST,
)
from mixedext.kernels.generalized.level_work cimport (
    DERIVATIVES,
    EXPECTED,
    FOUND,
    LOSS,
    NEWTON,
    NO_STEP,
    NO_WEIGHTS,
    NOT_STRICT,
    OUT_OF_RANGE,
    PADDING,
    SLOPE,
    TOO_MANY,
    Work,
    add,
    dot,
    dot3,
    factor_gram,
    gram_of,
    inner,
    look_at_effects,
    predictor,
    product,
    project,
    solve_lower,
    solve_upper,
    times_lam,
    total,
)
from mixedext.kernels.generalized.quadrature cimport integrate
from mixedext.kernels.lanes cimport cloned_int

import numpy as np

from mixedext.kernels.generalized.families import KINDS

# Decrement of h below which a step is the last; the next would be below rounding.
cdef double LAST_DECREMENT = 1e-13
# Decrement below which a family that is not log-concave gets its observed weights.
cdef double NEARLY = 1e-2
cdef double SUFFICIENT = 1e-4, SHORTEST = 1e-10
# Longest step of a scalar effect, in standard deviations of the effects.
cdef double LONGEST = 3.0
cdef int MOST_ITERATIONS = 200
# Iterations after which a log-concave likelihood is watched, and not its slope alone.
cdef int FREE_ITERATIONS = 6

# Arrays of a level's rows in Work, its vectors of length K, and its matrices (K, K).
cdef enum:
    ROW_ARRAYS = 15
    VECTORS = 9
    MATRICES = 11


cdef struct Sums:
    # over levels
    double* value
    double* loss_kappa    # at the modes
    double* by_kappa
    double* by_x          # (p,)
    double* square        # (p + 1, p + 1), lower: 2 h by b, and by b and kappa
    double* by_lam        # (K, K)
    double* score         # pairs of columns
    double* information   # pairs by pairs
    double* mixed         # (K, K, p + 1)


cdef inline Py_ssize_t pair(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a * (a + 1) // 2 + b if a >= b else b * (b + 1) // 2 + a


cdef cloned_int _sum_fixed(
    Work* w, Py_ssize_t p, const double* beta, const double* offset
) noexcept nogil:
    """The linear predictor without random effects."""
    cdef Py_ssize_t j
    memset(w.fixed, 0, w.size * sizeof(double))
    for j in range(p):
        add(w.n, beta[j], w.x + j * w.n, w.fixed)
    if offset != NULL:
        add(w.n, 1.0, offset, w.fixed)
    return 0


cdef inline double* _taken(double** free_memory, Py_ssize_t size) noexcept nogil:
    cdef double* out = free_memory[0]
    free_memory[0] += size
    return out


cdef Py_ssize_t _work_size(Py_ssize_t longest, Py_ssize_t k, Py_ssize_t p) noexcept nogil:
    return ROW_ARRAYS * longest + k * (VECTORS + MATRICES * k + 2 * (p + 1))


cdef void _lay_out(
    Work* w, double* memory, Py_ssize_t longest, Py_ssize_t k, Py_ssize_t p
) noexcept nogil:
    w.fixed = _taken(&memory, longest)
    w.eta = _taken(&memory, longest)
    w.loss = _taken(&memory, longest)
    w.slope = _taken(&memory, longest)
    w.weight = _taken(&memory, longest)
    w.third = _taken(&memory, longest)
    w.expected = _taken(&memory, longest)
    w.expected_third = _taken(&memory, longest)
    w.loss_kappa = _taken(&memory, longest)
    w.slope_kappa = _taken(&memory, longest)
    w.weight_kappa = _taken(&memory, longest)
    w.expected_kappa = _taken(&memory, longest)
    w.pooled = _taken(&memory, longest)
    w.scaled = _taken(&memory, longest)
    w.variance = _taken(&memory, longest)
    w.trial = _taken(&memory, k)
    w.step = _taken(&memory, k)
    w.effect = _taken(&memory, k)
    w.slopes = _taken(&memory, k)
    w.gradient = _taken(&memory, k)
    w.lean = _taken(&memory, k)
    w.carry = _taken(&memory, k)
    w.moved = _taken(&memory, k)
    w.work = _taken(&memory, k)
    w.gram = _taken(&memory, k * k)
    w.root = _taken(&memory, k * k)
    w.other_gram = _taken(&memory, k * k)
    w.other_root = _taken(&memory, k * k)
    w.half = _taken(&memory, k * k)
    w.half_gram = _taken(&memory, k * k)
    w.spread = _taken(&memory, k * k)
    w.square = _taken(&memory, k * k)
    w.square2 = _taken(&memory, k * k)
    w.square3 = _taken(&memory, k * k)
    w.by_lam = _taken(&memory, k * k)
    w.cross = _taken(&memory, k * (p + 1))
    w.half_cross = _taken(&memory, k * (p + 1))


cdef inline void _look(
    Work* w, RowFamily family, const double* u, int wanted
) noexcept nogil:
    # the likelihood's terms and S at coefficients u
    if w.k == 1:
        w.effect[0] = w.lam[0] * u[0]
    else:
        times_lam(w.k, w.lam, False, u, w.effect)
    predictor(w.size, w.n, w.k, w.effect, w.z, w.fixed, w.eta)
    look_at_effects(w, family, wanted)
    project(w.size, w.n, w.k, w.slope, w.z, w.slopes)


cdef cloned_int _find_mode(Work* w, RowFamily family, int* iterations) noexcept nogil:
    """The mode from w.u on; the likelihood's terms, S and h there."""
    cdef Py_ssize_t a, k = w.k
    cdef int turn, wanted, look_for, last
    cdef bint careful = not w.concave, observed
    cdef double decrement = 1e300, slope, length, h = 0.0, found, x
    look_for = NEWTON if w.concave else NEWTON | EXPECTED
    wanted = look_for | LOSS if careful else look_for
    _look(w, family, w.u, wanted)
    x = 0.0
    for a in range(k):
        x += w.slopes[a]
    if careful:
        h = total(w.size, w.loss) + 0.5 * inner(k, w.u, w.u)
        x += h
    if not x * 0.0 == 0.0:
        # from zero on, with an eye on h
        careful = True
        wanted = look_for | LOSS
        memset(w.u, 0, k * sizeof(double))
        _look(w, family, w.u, wanted)
        h = total(w.size, w.loss)
        if not h * 0.0 == 0.0:
            return OUT_OF_RANGE
    for turn in range(MOST_ITERATIONS):
        iterations[0] += 1
        if turn == FREE_ITERATIONS and not careful:
            careful = True
            wanted = look_for | LOSS
            _look(w, family, w.u, wanted)
            h = total(w.size, w.loss) + 0.5 * inner(k, w.u, w.u)
        observed = w.concave or decrement <= NEARLY
        if observed:
            gram_of(w.size, w.n, k, w.weight, w.z, w.gram)
            observed = factor_gram(w, w.gram, w.root)
        if not observed:
            if w.concave:
                return NO_WEIGHTS
            gram_of(w.size, w.n, k, w.expected, w.z, w.gram)
            if not factor_gram(w, w.gram, w.root):
                return NO_WEIGHTS
        if k == 1:
            x = w.lam[0] * w.slopes[0] + w.u[0]
            w.step[0] = -x / (w.root[0] * w.root[0])
            decrement = -x * w.step[0]
            if fabs(w.step[0]) > LONGEST:
                w.step[0] = LONGEST if w.step[0] > 0.0 else -LONGEST
            slope = -x * w.step[0]
        else:
            times_lam(k, w.lam, True, w.slopes, w.gradient)
            for a in range(k):
                w.gradient[a] += w.u[a]
                w.step[a] = -w.gradient[a]
            solve_lower(k, 1, w.root, w.step)
            decrement = inner(k, w.step, w.step)
            solve_upper(k, 1, w.root, w.step)
            slope = decrement
        last = decrement < LAST_DECREMENT
        if last:
            # S, and the weights of the determinant, are those behind this step
            wanted |= LOSS | DERIVATIVES
        length = 1.0
        while True:
            for a in range(k):
                w.trial[a] = w.u[a] + length * w.step[a]
            _look(w, family, w.trial, wanted)
            if careful:
                found = total(w.size, w.loss) + 0.5 * inner(k, w.trial, w.trial)
                if found <= h - SUFFICIENT * length * slope + 1e-13 * fabs(h):
                    h = found
                    break
                length *= 0.5
                if length < SHORTEST:
                    # nothing lower along it: rounding, where little was to be gained
                    if not decrement <= 1e-6 * (1.0 + fabs(h)):
                        return NO_STEP
                    for a in range(k):
                        w.trial[a] = w.u[a]
                    wanted |= LOSS | DERIVATIVES
                    _look(w, family, w.trial, wanted)
                    last = True
                    break
            else:
                # of a convex function the slope along the step says enough
                times_lam(k, w.lam, True, w.slopes, w.gradient)
                found = inner(k, w.gradient, w.step) + inner(k, w.trial, w.step)
                if found * 0.0 == 0.0 and (found <= 0.5 * slope or last):
                    if last:
                        h = total(w.size, w.loss) + 0.5 * inner(k, w.trial, w.trial)
                    break
                careful = True
                _look(w, family, w.u, LOSS | SLOPE)
                h = total(w.size, w.loss) + 0.5 * inner(k, w.u, w.u)
                if not h * 0.0 == 0.0:
                    return OUT_OF_RANGE
                wanted |= LOSS
        for a in range(k):
            w.u[a] = w.trial[a]
        if last:
            w.h = h
            return FOUND
    return TOO_MANY


cdef cloned_int _stand(Work* w) noexcept nogil:
    # N, M and its determinant at the mode; M^-1 of the determinant into spread
    cdef Py_ssize_t a, k = w.k
    cdef double* root = w.root
    gram_of(w.size, w.n, k, w.weight, w.z, w.gram)
    if not factor_gram(w, w.gram, w.root):
        return NOT_STRICT
    if w.expected_determinant:
        gram_of(w.size, w.n, k, w.expected, w.z, w.other_gram)
        if not factor_gram(w, w.other_gram, w.other_root):
            return NOT_STRICT
        root = w.other_root
    w.log_det = 0.0
    for a in range(k):
        w.log_det += 2.0 * log(root[a * k + a])
    memset(w.spread, 0, k * k * sizeof(double))
    for a in range(k):
        w.spread[a * k + a] = 1.0
    solve_lower(k, k, root, w.spread)
    solve_upper(k, k, root, w.spread)
    return FOUND


cdef inline void _congruence(
    Py_ssize_t k, const double* lam, const double* inside, double* work, double* out
) noexcept nogil:
    # lam inside lam'
    cdef Py_ssize_t a, b
    product(k, k, k, False, lam, inside, work)
    for a in range(k):
        for b in range(k):
            out[a * k + b] = inner(k, work + a * k, lam + b * k)


cdef cloned_int _add_derivatives(
    Work* w, bint quadrature, Sums* sums, double* slopes, double* response, double* normal
) noexcept nogil:
    """Add what of the derivatives is a level's; S, N_V and (I + N Sigma)^-1 Z'W X of it."""
    cdef Py_ssize_t a, b, c, d, j, m, n = w.n, p = w.p, k = w.k
    cdef Py_ssize_t size = w.size
    cdef Py_ssize_t columns = p + w.has_kappa
    cdef const double* third = w.third
    cdef const double* own = w.gram
    cdef const double* weight_kappa
    cdef double x
    if w.expected_determinant:
        third, own = w.expected_third, w.other_gram
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
        weight_kappa = w.expected_kappa if w.expected_determinant else w.weight_kappa
        x = dot(size, weight_kappa, w.variance) + 2.0 * w.sum_loss_kappa
        for a in range(k):
            x -= w.cross[a * columns + p] * w.moved[a]
        sums.by_kappa[0] += x
        sums.loss_kappa[0] += w.mode_loss_kappa
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
    return FOUND


def arranged(const double[:, :] x, const int64_t[::1] order, const int64_t[::1] start):
    """Columns (n, k) by levels: of each level its rows, column by column; flat, padded.

    Parameters
    ----------
    x : ndarray
        Columns of the rows.
    order : ndarray
        Rows sorted by level, (n,).
    start : ndarray
        First of each level's rows in that order, and n, (L + 1,).
    """
    cdef Py_ssize_t level, i, j, at = 0, k = x.shape[1]
    out = np.zeros(x.shape[0] * k + PADDING)
    cdef double[::1] to = out
    with nogil:
        for level in range(start.shape[0] - 1):
            for j in range(k):
                for i in range(start[level], start[level + 1]):
                    to[at] = x[order[i], j]
                    at += 1
    return out


cdef class OneFactor:
    """The levels of one grouping factor.

    Parameters
    ----------
    family : RowFamily
        Family and link.
    start : ndarray
        First row of each level, and n, (L + 1,) int64.
    x, z : ndarray
        Columns of X and Z by levels, flat (``arranged``).
    offset : ndarray or None
        (n,), the rows in order of their levels, as all that follows.
    y, trials, weight, count : ndarray
        What the family asks for, (n + PADDING,); None where there is none.
    concave : bool
        Whether the likelihood is log-concave in the linear predictor.
    expected : bool
        Whether the determinant has expected weights.
    n_kappa : int
        Number of dispersions, 0 or 1.

    Attributes
    ----------
    n_sums : int
        Length of the sums over levels.
    """

    cdef readonly Py_ssize_t n, p, k, levels, longest, columns, n_sums
    cdef list parts
    cdef bint concave, expected, has_kappa
    cdef int fast
    cdef RowFamily family
    cdef const int64_t[::1] start
    cdef const double[::1] x, z, offset
    cdef Rows rows
    cdef object arrays

    def __init__(
        self, RowFamily family, const int64_t[::1] start, Py_ssize_t k,
        const double[::1] x, const double[::1] z, const double[::1] offset,
        const double[::1] y, trials, weight, count, bint concave, bint expected,
        Py_ssize_t n_kappa,
    ):
        cdef Py_ssize_t level
        self.family, self.start = family, start
        self.levels = start.shape[0] - 1
        self.n, self.k = start[self.levels], k
        self.p = (x.shape[0] - PADDING) // self.n
        self.x, self.z, self.offset = x, z, offset
        self.arrays = y, trials, weight, count
        self.rows = read_rows(y, trials, weight, count, 0.0)
        self.concave, self.expected, self.has_kappa = concave, expected, n_kappa > 0
        self.columns = self.p + n_kappa
        self.fast = NOT_FAST
        if family.kind == KINDS["binomial", "logit"]:
            self.fast = FAST_LOGIT
        elif family.kind == KINDS["poisson", "log"]:
            self.fast = FAST_POISSON
        self.longest = 1
        for level in range(self.levels):
            self.longest = max(self.longest, start[level + 1] - start[level])
        self.longest += PADDING
        self._name_sums()

    def _name_sums(self):
        cdef Py_ssize_t k = self.k, c = self.columns, pairs = k * (k + 1) // 2, at = 0
        self.parts = []
        for name, shape in (
            ("value", ()), ("loss_kappa", ()), ("by_kappa", ()), ("by_x", (self.p,)),
            ("square", (c, c)), ("by_lam", (k, k)), ("score", (pairs,)),
            ("information", (pairs, pairs)), ("mixed", (k, k, c)),
        ):
            size = int(np.prod(shape))
            self.parts.append((name, at, at + size, shape))
            at += size
        self.n_sums = at

    def split_sums(self, sums):
        """The sums by name."""
        return {n: sums[a:b].reshape(shape) for n, a, b, shape in self.parts}

    def evaluate(
        self, Py_ssize_t first, Py_ssize_t last, const double[:, ::1] lam,
        const double[::1] beta, double kappa, double[:, ::1] modes, double[::1] sums,
        double[:, ::1] slopes, double[:, :, ::1] response, double[:, :, ::1] normal,
        const double[:, ::1] nodes, const double[::1] log_weights,
    ):
        """Deviance and derivatives of levels first ... last - 1.

        Parameters
        ----------
        first, last : int
            Levels.
        lam, beta, kappa : ndarray, ndarray, float
            Parameters.
        modes : ndarray
            u to start from, in place the modes, (L, K).
        sums : ndarray
            Set to the sums over these levels, (n_sums,).
        slopes, response, normal : ndarray
            Out: S (L, K), (I + N Sigma)^-1 [Z'W X, Z's_kappa] (L, K, p + n_kappa) and N_V
            (L, K, K).
        nodes, log_weights : ndarray
            Nodes (J, K) of the quadrature and log w_j + |z_j|^2 / 2; none for Laplace's
            approximation.

        Returns
        -------
        iterations : int
            Most of any level.
        ended : int
            0, or why some level has no value (``level_work``).
        """
        cdef Work w
        cdef Sums to
        cdef Py_ssize_t level, j, n_nodes = nodes.shape[0], k = self.k, p = self.p
        cdef int64_t at
        cdef int ended = FOUND, most = 0, count
        cdef double* memory
        cdef double* place = &sums[0]
        cdef const double* coefficients = &beta[0] if p else NULL
        cdef const double* node = &nodes[0, 0] if n_nodes else NULL
        cdef const double* node_weight = &log_weights[0] if n_nodes else NULL
        cdef double* respond = NULL
        cdef const double* offset = NULL
        if self.offset is not None:
            offset = &self.offset[self.start[first]]
        memory = <double*>malloc(_work_size(self.longest, k, p) * sizeof(double))
        if memory == NULL:
            raise MemoryError("no memory for the rows of a level")
        _lay_out(&w, memory, self.longest, k, p)
        memset(place, 0, sums.shape[0] * sizeof(double))
        to.value, to.loss_kappa, to.by_kappa = place, place + 1, place + 2
        place += 3
        to.by_x = _taken(&place, p)
        to.square = _taken(&place, self.columns * self.columns)
        to.by_lam = _taken(&place, k * k)
        to.score = _taken(&place, k * (k + 1) // 2)
        to.information = _taken(&place, (k * (k + 1) // 2) ** 2)
        to.mixed = place
        w.k, w.p, w.lam = k, p, &lam[0, 0]
        w.concave, w.has_kappa = self.concave, self.has_kappa
        w.expected_determinant, w.fast = self.expected, self.fast
        with nogil:
            for level in range(first, last):
                at = self.start[level]
                w.n = self.start[level + 1] - at
                w.size = (w.n + PADDING - 1) // PADDING * PADDING
                w.x = &self.x[0] + p * at if p else NULL
                w.z = &self.z[0] + k * at
                w.rows = rows_from(&self.rows, at)
                w.rows.kappa = kappa
                w.u = &modes[level, 0]
                _sum_fixed(&w, p, coefficients, offset)
                if offset != NULL:
                    offset += w.n
                count = 0
                ended = _find_mode(&w, self.family, &count)
                most = max(most, count)
                if ended == FOUND:
                    ended = _stand(&w)
                if ended != FOUND:
                    break
                w.integral = w.mode_loss_kappa = w.sum_loss_kappa = 0.0
                if self.has_kappa:
                    w.mode_loss_kappa = total(w.size, w.loss_kappa)
                    w.sum_loss_kappa = w.mode_loss_kappa
                if n_nodes:
                    ended = integrate(&w, self.family, n_nodes, node, node_weight)
                    if ended != FOUND:
                        break
                to.value[0] += 2.0 * w.h + w.log_det - 2.0 * w.integral
                if self.columns:
                    respond = &response[level, 0, 0]
                _add_derivatives(
                    &w, n_nodes > 0, &to, &slopes[level, 0], respond,
                    &normal[level, 0, 0],
                )
        free(memory)
        return most, ended

    def predict(
        self, const double[:, ::1] modes, const double[:, ::1] slopes,
        const double[:, :, ::1] response, const double[:, :, ::1] normal,
        const double[:, ::1] lam, const double[:, ::1] change,
        const double[:, ::1] along, const double[::1] step,
    ):
        """Modes at parameters nearby, to first order, (L, K).

        Parameters
        ----------
        modes, slopes, response, normal : ndarray
            Of ``evaluate``.
        lam, change, along : ndarray
            lam, its change, and that of Sigma to first order, (K, K).
        step : ndarray
            Changes of the coefficients and kappa, (p + n_kappa,).
        """
        cdef Py_ssize_t level, a, b, k = self.k, columns = self.columns
        cdef double x
        out = np.empty((self.levels, k))
        room = np.empty(2 * k)
        cdef double[:, ::1] to = out
        cdef double[::1] work = room
        with nogil:
            for level in range(self.levels):
                # work = R step - N_V dSigma S
                for a in range(k):
                    x = 0.0
                    for b in range(k):
                        x += along[a, b] * slopes[level, b]
                    work[k + a] = x
                for a in range(k):
                    x = 0.0
                    for b in range(columns):
                        x += response[level, a, b] * step[b]
                    for b in range(k):
                        x -= normal[level, a, b] * work[k + b]
                    work[a] = x
                for a in range(k):
                    x = modes[level, a]
                    for b in range(k):
                        x -= change[b, a] * slopes[level, b] + lam[b, a] * work[b]
                    to[level, a] = x
        return out
