"""Deviance and derivatives of a model with one grouping factor, level by level.

Letters are those of the theory page: A_l = Z_l'Z_l, c_l = Z_l'[X y], lam the relative
covariance factor (lower triangular), Sigma = lam lam'.  With A_l = U'D U, U unit upper
triangular (an index l is left out), C = U^-T c_l, and

    D + B B' = L d L',  B = D U lam,      E = L^-1 D U

nothing but sums of positive terms is left, for lam of any size and rank:

    [X y]'V0^-1[X y] = W + sum_l C'L^-T d^-1 L^-1 C,  log det M_l = log det d - log det D,
    N_l = [Z'V0^-1 Z]_l = E'd^-1 E,  S_l = [Z'V0^-1[X y]]_l = E'd^-1 L^-1 C

where W holds the cross-products of what Z leaves of [X y] within levels
(engine.rows.within).
With v_l = S_l (y - X beta), T_l = S_l L_X^-T, d degrees of freedom and r2 = y'P0 y,

    score S = sum_l N_l - d/r2 v_l v_l' - [REML] T_l T_l'           (d dev / d Sigma)
    AI_rs = d/r2 [ sum_l (E_r v_l)'N_l(E_s v_l) - x_r'x_s ] - d/r2^2 a_r a_s,
    x_r = sum_l T_l'E_r v_l,  a_r = sum_l v_l'E_r v_l.

Nothing of the length of the levels is stored.  A level may count several times
(``weight``): levels with the same A_l are pooled (engine.rows.levels).
"""

from libc.math cimport INFINITY, log
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from mixedext.kernels.lanes cimport (
    LANES,
    ONE,
    ZERO,
    cloned_int,
    factor_levels,
    lane,
    load_levels,
    split_levels,
)

import numpy as np

cdef double EPSILON = 2.220446049250313e-16
# The logarithm of a product of determinants is taken before the product can underflow.
cdef double SMALL_PRODUCT = 1e-100
# Levels summed before their sum is added to the total: rounding then grows slowly.
cdef enum:
    BLOCK = 512


cdef inline void _load(
    Levels levels, Py_ssize_t start, Py_ssize_t stop, lane* a, lane* c
) noexcept nogil:
    # D and U into ``a``, C for [X, y - X shift] into ``c``.
    cdef Py_ssize_t k = levels.k, p = levels.p, i, j
    cdef const double* shift = levels.shift
    cdef lane x
    load_levels(levels.gram, k * k, start, stop, k * k, a)
    load_levels(levels.cross, k * p, start, stop, k * p, c)
    if shift != NULL:
        for i in range(k):
            x = c[i * p + p - 1]
            for j in range(p - 1):
                x -= c[i * p + j] * shift[j]
            c[i * p + p - 1] = x
    if not levels.split:
        split_levels(k, p, a, c)


cdef cloned_int _sum_values(
    Levels levels, Py_ssize_t start, Py_ssize_t stop, const double* lam,
    lane* scratch, lane* sums, double* log_det,
) noexcept nogil:
    """Add C'L^-T d^-1 L^-1 C (lower triangle) to ``sums``, log det M_l to ``log_det``."""
    cdef Py_ssize_t k = levels.k, p = levels.p
    cdef const double* weight = levels.weight
    cdef lane* a = scratch
    cdef lane* lower = a + k * k
    cdef lane* inverse = lower + k * k
    cdef lane* c = inverse + k
    cdef lane* z = c + k * p
    cdef lane* product = z + k * p
    cdef lane* ratio = product + 1
    cdef lane* work = ratio + 1
    cdef double* flat = <double*>product
    cdef const double* share = <const double*>ratio
    cdef Py_ssize_t group, level, i, j, m, t, at
    cdef lane x
    product[0] = ONE
    for group in range((stop - start + LANES - 1) // LANES):
        level = start + group * LANES
        _load(levels, level, stop, a, c)
        factor_levels(k, a, lam, work, work + k, lower, inverse, ratio)
        if weight == NULL:
            product[0] *= ratio[0]
            for t in range(LANES):
                if flat[t] < SMALL_PRODUCT:
                    log_det[0] -= log(flat[t])
                    flat[t] = 1.0
        else:
            for t in range(min(LANES, stop - level)):
                if weight[level + t] > 0.0:
                    log_det[0] -= weight[level + t] * log(share[t])
        for i in range(k):
            for j in range(p):
                x = c[i * p + j]
                for m in range(i):
                    x -= lower[i * k + m] * z[m * p + j]
                z[i * p + j] = x
        at = 0
        for j in range(p):
            for i in range(k):
                work[i] = z[i * p + j] * inverse[i]
            for m in range(j + 1):
                x = sums[at]
                for i in range(k):
                    x += work[i] * z[i * p + m]
                sums[at] = x
                at += 1
    if weight == NULL:
        for t in range(LANES):
            log_det[0] -= log(flat[t])
    return 1


cdef cloned_int _sum_derivatives(
    Levels levels, Py_ssize_t start, Py_ssize_t stop, const double* lam,
    const double* change, bint reml, lane* scratch, lane* sums,
) noexcept nogil:
    """Add N, v v', T T', v (x) T and (v v') (x) N to ``sums``."""
    cdef Py_ssize_t k = levels.k, p = levels.p
    cdef Py_ssize_t n_pairs = k * (k + 1) // 2, rank = p - 1
    cdef const double* weight = levels.weight
    cdef lane* a = scratch
    cdef lane* lower = a + k * k
    cdef lane* inverse = lower + k * k
    cdef lane* c = inverse + k
    cdef lane* r = c + k * p
    cdef lane* s = r + k * p
    cdef lane* e = s + k * p
    cdef lane* f = e + k * k
    cdef lane* n = f + k * k
    cdef lane* square = n + n_pairs
    cdef lane* work = square + n_pairs
    cdef lane* sum_n = sums
    cdef lane* sum_square = sum_n + n_pairs
    cdef lane* sum_t = sum_square + n_pairs
    cdef lane* sum_cross = sum_t + n_pairs
    cdef lane* sum_quadratic = sum_cross + k * k * rank
    cdef double* flat
    cdef Py_ssize_t group, level, i, j, m, t, at
    cdef lane x
    for group in range((stop - start + LANES - 1) // LANES):
        level = start + group * LANES
        _load(levels, level, stop, a, c)
        factor_levels(k, a, lam, work, work + k, lower, inverse, work + 2 * k)
        # e = L^-1 D U, f = d^-1 e
        for i in range(k):
            for j in range(k):
                x = ZERO
                if i == j:
                    x = a[i * k + i]
                elif i < j:
                    x = a[i * k + i] * a[i * k + j]
                for m in range(i):
                    x -= lower[i * k + m] * e[m * k + j]
                e[i * k + j] = x
                f[i * k + j] = x * inverse[i]
        at = 0
        for i in range(k):
            for j in range(i + 1):
                x = e[i] * f[j]
                for m in range(1, k):
                    x += e[m * k + i] * f[m * k + j]
                n[at] = x
                if weight == NULL:
                    sum_n[at] += x
                else:
                    flat = <double*>&sum_n[at]
                    for t in range(min(LANES, stop - level)):
                        flat[t] += weight[level + t] * (<double*>&n[at])[t]
                at += 1
        # [T v] = f'L^-1 C change'
        for i in range(k):
            for j in range(p):
                x = c[i * p] * change[j * p]
                for m in range(1, j + 1):
                    x += c[i * p + m] * change[j * p + m]
                for m in range(i):
                    x -= lower[i * k + m] * r[m * p + j]
                r[i * p + j] = x
        for i in range(k):
            for j in range(p):
                x = f[i] * r[j]
                for m in range(1, k):
                    x += f[m * k + i] * r[m * p + j]
                s[i * p + j] = x
        at = 0
        for i in range(k):
            for j in range(i + 1):
                square[at] = s[i * p + rank] * s[j * p + rank]
                sum_square[at] += square[at]
                if reml:
                    x = sum_t[at]
                    for m in range(rank):
                        x += s[i * p + m] * s[j * p + m]
                    sum_t[at] = x
                at += 1
        at = 0
        for i in range(k):
            for j in range(k):
                for m in range(rank):
                    sum_cross[at] += s[i * p + m] * s[j * p + rank]
                    at += 1
        at = 0
        for i in range(n_pairs):
            for j in range(n_pairs):
                sum_quadratic[at] += square[i] * n[j]
                at += 1
    return 1


cdef inline Py_ssize_t _pair(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a * (a + 1) // 2 + b if a >= b else b * (b + 1) // 2 + a


cdef void _add_up(
    const lane* sums, Py_ssize_t size, double sign, double* total
) noexcept nogil:
    cdef const double* flat = <const double*>sums
    cdef Py_ssize_t i, t
    for i in range(size):
        for t in range(LANES):
            total[i] += sign * flat[i * LANES + t]


cdef class OneFactor(Profiled):
    """The profiled deviance of a model with one grouping factor.

    Parameters
    ----------
    gram, cross : ndarray
        (L, K, K) Z_l'Z_l and (L, K, P) Z_l'[X y]; or if ``split`` D and U in one matrix,
        and C (see ``kernels.rows.within.split_levels``).
    split : bool
        What ``gram`` and ``cross`` are.
    weight : ndarray or None
        How often each level's gram counts (log det M and N); every level once if None.
    within : ndarray
        (P, P) W for [X, y - X shift].
    shift : ndarray or None
        (P - 1,) coefficients that leave little of y within levels; none if None.
    square : float
        The sum of squares of which W of y is a difference; 0 if it is none.
    index, value : ndarray
        The elements of the template lam = sum_r theta_r B_r that are not zero: rows
        (r, row, column), and values.
    n_theta : int
        Length of theta.
    reml : bool
        Restricted or ordinary deviance.
    dof : float
        Degrees of freedom.
    """

    def __cinit__(
        self, *, gram, cross, split, weight, within, shift, square, index, value, n_theta,
        reml, dof,
    ):
        cdef Py_ssize_t k, p, n_pairs, n_scratch, n_sums, n_double
        self.gram_view, self.cross_view = gram, cross
        self.within_view, self.square = within, square
        self.index_view, self.value_view = index, value
        self.n_levels, self.k = gram.shape[0], gram.shape[1]
        self.p, self.n_theta = within.shape[0], n_theta
        k, p = self.k, self.p
        if cross.shape != (self.n_levels, k, p) or index.shape[1] != len(value):
            raise ValueError("the cross-products do not fit together")
        self.reml, self.dof = reml, dof
        self.levels.k, self.levels.p, self.levels.split = k, p, split
        if self.n_levels:
            self.levels.gram = &self.gram_view[0, 0, 0]
            self.levels.cross = &self.cross_view[0, 0, 0]
        if weight is not None:
            self.weight_view = weight
            if self.n_levels:
                self.levels.weight = &self.weight_view[0]
        self.within = &self.within_view[0, 0]
        if shift is not None and len(shift):
            self.shift_view = shift
            self.levels.shift = &self.shift_view[0]
        self.template.count = len(value)
        self.template.member = &self.index_view[0, 0]
        self.template.row = &self.index_view[1, 0]
        self.template.column = &self.index_view[2, 0]
        self.template.value = &self.value_view[0]
        n_pairs = self.n_pairs = k * (k + 1) // 2
        n_scratch = 4 * k * k + 3 * k + 3 * k * p + 2 * n_pairs + 5
        self.n_derivative_sums = 3 * n_pairs + k * k * (p - 1) + n_pairs * n_pairs
        n_sums = max(self.n_derivative_sums, p * (p + 1) // 2)
        n_double = (
            n_sums + 2 * k * k + 2 * p * p + n_pairs * n_pairs
            + 2 * self.n_theta * n_pairs
        )
        self.buffer = <char*>malloc(
            (n_scratch + n_sums + 1) * sizeof(lane) + n_double * sizeof(double)
        )
        if self.buffer == NULL:
            raise MemoryError(f"no memory to sum {k} columns by level")
        # lanes want addresses that are multiples of their size
        self.scratch = <lane*>(
            (<size_t>self.buffer + sizeof(lane) - 1) // sizeof(lane) * sizeof(lane)
        )
        self.sums = self.scratch + n_scratch
        cdef double* at = <double*>(self.sums + n_sums)
        self.total, at = at, at + n_sums
        self.lam, at = at, at + k * k
        self.score, at = at, at + k * k
        self.fixed_root, at = at, at + p * p
        self.change, at = at, at + p * p
        self.pair_information, at = at, at + n_pairs * n_pairs
        self.jacobian, at = at, at + self.n_theta * n_pairs
        self.product = at

    def __dealloc__(self):
        free(self.buffer)

    cdef void set_fixed(self) noexcept nogil:
        """[X y]'V0^-1 [X y], its lower triangle: W and the sums."""
        cdef Py_ssize_t p = self.p, i, j, at = 0
        for i in range(p):
            for j in range(i + 1):
                self.fixed_root[i * p + j] = self.within[i * p + j] + self.total[at]
                at += 1

    cdef void sum_values(self) noexcept nogil:
        """Sums over the levels that the value needs, at lam."""
        self.log_det = 0.0
        memset(self.total, 0, self.p * (self.p + 1) // 2 * sizeof(double))
        self.add_values(self.levels, self.n_levels, 1.0)

    cdef void add_values(
        self, Levels levels, Py_ssize_t n_levels, double sign
    ) noexcept nogil:
        """The sums over some levels, times ``sign``."""
        cdef Py_ssize_t size = self.p * (self.p + 1) // 2, start, stop, block
        cdef double log_det = 0.0
        for block in range((n_levels + BLOCK - 1) // BLOCK):
            start, stop = block * BLOCK, min((block + 1) * BLOCK, n_levels)
            memset(self.sums, 0, size * sizeof(lane))
            _sum_values(
                levels, start, stop, self.lam, self.scratch, self.sums, &log_det
            )
            _add_up(self.sums, size, sign, self.total)
        self.log_det += sign * log_det

    cdef void sum_derivatives(self) noexcept nogil:
        """Sums over the levels that the derivatives need, at lam and ``change``."""
        memset(self.total, 0, self.n_derivative_sums * sizeof(double))
        self.add_derivatives(self.levels, self.n_levels, 1.0)

    cdef void add_derivatives(
        self, Levels levels, Py_ssize_t n_levels, double sign
    ) noexcept nogil:
        """The sums over some levels, times ``sign``."""
        cdef Py_ssize_t size = self.n_derivative_sums, start, stop, block
        for block in range((n_levels + BLOCK - 1) // BLOCK):
            start, stop = block * BLOCK, min((block + 1) * BLOCK, n_levels)
            memset(self.sums, 0, size * sizeof(lane))
            _sum_derivatives(
                levels, start, stop, self.lam, self.change, self.reml, self.scratch,
                self.sums,
            )
            _add_up(self.sums, size, sign, self.total)

    cdef double value(self, const double* theta, bint floor) noexcept nogil:
        cdef double deviance, whole
        cdef Py_ssize_t last = self.p * self.p - 1
        self.n_values += 1
        self.set_lam(theta)
        self.sum_values()
        self.set_fixed()
        whole = max(self.square, self.fixed_root[last])  # y'V0^-1 y, of which X takes most
        if not self.factor_fixed():
            return INFINITY
        deviance = self.deviance(self.log_det)
        self.noise = self.dof * EPSILON * max(1.0, whole / self.residual_square)
        return deviance

    cdef void set_scores(self) noexcept nogil:
        """Score matrix and average information by pairs, from the sums over levels."""
        cdef Py_ssize_t k = self.k, rank = self.p - 1, n_pairs = self.n_pairs
        cdef Py_ssize_t a, b, c, d, at, other, i, j
        cdef double scale = self.dof / self.residual_square, x, y
        cdef const double* n = self.total
        cdef const double* square = n + n_pairs
        cdef const double* t = square + n_pairs
        cdef const double* cross = t + n_pairs
        cdef const double* quadratic = cross + k * k * rank
        for a in range(k):
            for b in range(a + 1):
                at = _pair(a, b)
                x = n[at] - scale * square[at] - (t[at] if self.reml else 0.0)
                self.score[a * k + b] = self.score[b * k + a] = x
        for a in range(k):
            for b in range(a + 1):
                at = _pair(a, b)
                for c in range(k):
                    for d in range(c + 1):
                        other = _pair(c, d)
                        if other > at:
                            continue
                        # (E_ab v)'N(E_cd v), E_ab v = e_a v_b + e_b v_a
                        x = quadratic[_pair(b, d) * n_pairs + _pair(a, c)]
                        if a != b:
                            x += quadratic[_pair(a, d) * n_pairs + _pair(b, c)]
                        if c != d:
                            x += quadratic[_pair(b, c) * n_pairs + _pair(a, d)]
                        if a != b and c != d:
                            x += quadratic[_pair(a, c) * n_pairs + _pair(b, d)]
                        for j in range(rank):
                            y = cross[(a * k + b) * rank + j]
                            if a != b:
                                y += cross[(b * k + a) * rank + j]
                            i = (c * k + d) * rank + j
                            if c != d:
                                x -= y * (cross[i] + cross[(d * k + c) * rank + j])
                            else:
                                x -= y * cross[i]
                        y = square[at] * square[other]
                        y *= (2.0 if a != b else 1.0) * (2.0 if c != d else 1.0)
                        x = scale * (x - scale / self.dof * y)
                        self.pair_information[at * n_pairs + other] = x
                        self.pair_information[other * n_pairs + at] = x

    cdef void derivatives(
        self, const double* theta, double* gradient, double* hessian
    ) noexcept nogil:
        cdef Py_ssize_t k = self.k, n_pairs = self.n_pairs
        cdef Py_ssize_t n = self.n_theta, e, f, i, j, r, b
        cdef Entries* basis = &self.template
        cdef double x
        self.n_derivatives += 1
        self.set_change()
        self.sum_derivatives()
        self.set_scores()
        # d Sigma / d theta_r = B_r lam' + lam B_r' by pairs, and the bend 2 <S, B_r B_s'>
        memset(self.jacobian, 0, n * n_pairs * sizeof(double))
        memset(gradient, 0, n * sizeof(double))
        memset(hessian, 0, n * n * sizeof(double))
        for e in range(basis.count):
            r, i, b = basis.member[e], basis.row[e], basis.column[e]
            for j in range(b, k):
                # element (i, b) of B_r meets lam[j, b]: Sigma[i, j] and Sigma[j, i] grow
                x = basis.value[e] * self.lam[j * k + b]
                self.jacobian[r * n_pairs + _pair(i, j)] += 2.0 * x if i == j else x
                gradient[r] += 2.0 * x * self.score[i * k + j]
            for f in range(basis.count):
                if basis.column[f] == b:
                    hessian[r * n + basis.member[f]] += (
                        2.0 * basis.value[e] * basis.value[f]
                        * self.score[i * k + basis.row[f]]
                    )
        for r in range(n):
            for j in range(n_pairs):
                x = 0.0
                for i in range(n_pairs):
                    x += self.jacobian[r * n_pairs + i] * (
                        self.pair_information[i * n_pairs + j]
                    )
                self.product[r * n_pairs + j] = x
        for r in range(n):
            for e in range(r + 1):
                x = 0.0
                for j in range(n_pairs):
                    x += self.product[r * n_pairs + j] * self.jacobian[e * n_pairs + j]
                hessian[r * n + e] += x
                if e < r:
                    hessian[e * n + r] = hessian[r * n + e]

    # ---- responses ----

    def give(self, half, within, responses, response_within):
        """C of responses, (R, L, K), and their rows of W, (R, P).

        ``half`` (L, K, P) and ``within`` (P, P) are those of this function; the column of
        y there is changed.
        """
        self.half_changed, self.within_changed = half, within
        self.responses, self.response_within = responses, response_within

    cdef void set_response(self, Py_ssize_t number) noexcept nogil:
        cdef Py_ssize_t level, i, j, p = self.p
        for j in range(p):
            self.within_changed[p - 1, j] = self.response_within[number, j]
            self.within_changed[j, p - 1] = self.response_within[number, j]
        for level in range(self.n_levels):
            for i in range(self.k):
                self.half_changed[level, i, p - 1] = self.responses[number, level, i]

    # ---- from Python ----

    def between(self):
        """sum_l C'D^-1 C, (P, P), rounded as in every value.

        Where C'D^-1 C is ill-conditioned, its errors cancel in W + sum_l C'(...)^-1 C if W
        is the difference of the whole and just this.
        """
        cdef Py_ssize_t i, j, at = 0
        out = np.empty((self.p, self.p))
        cdef double[:, ::1] view = out
        with nogil:
            memset(self.lam, 0, self.k * self.k * sizeof(double))
            self.sum_values()
        for i in range(self.p):
            for j in range(i + 1):
                view[i, j] = view[j, i] = self.total[at]
                at += 1
        return out

    def differentiate(self, theta):
        """Gradient, Hessian, score (K, K) and average information by pairs of columns.

        Pairs (a, b <= a) stand in the order of the lower triangle by rows.
        """
        cdef const double[::1] point = np.ascontiguousarray(theta, float)
        cdef Py_ssize_t n = self.n_theta, k = self.k
        gradient, hessian, score = np.empty(n), np.empty((n, n)), np.empty((k, k))
        information = np.empty((self.n_pairs, self.n_pairs))
        cdef double[::1] g = gradient
        cdef double[:, ::1] h = hessian
        cdef double[:, ::1] s = score
        cdef double[:, ::1] pairs = information
        with nogil:
            self.derivatives(&point[0], &g[0], &h[0, 0])
        memcpy(&s[0, 0], self.score, k * k * sizeof(double))
        memcpy(&pairs[0, 0], self.pair_information, self.n_pairs**2 * sizeof(double))
        return gradient, hessian, score, information

    @property
    def fixed(self):
        """Cholesky factor of [X y]'V0^-1 [X y], (P, P), at the last value."""
        cdef Py_ssize_t i, j, p = self.p
        out = super().fixed
        cdef double[:, ::1] view = out
        if self.levels.shift != NULL:  # y = (y - X shift) + X shift
            for i in range(p - 1):
                for j in range(i + 1):
                    view[p - 1, j] += self.levels.shift[i] * view[i, j]
        return out
