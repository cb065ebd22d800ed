"""The deviance of a generalized model with one grouping factor, level by level.

Levels are independent problems: each iterates to its own convergence while its rows are in
the processor's cache, and adds its part to the sums of which derivatives are made.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from mixedext.kernels.generalized.families cimport RowFamily, read_rows
from mixedext.kernels.generalized.likelihood_rows cimport Rows, rows_from
from mixedext.kernels.generalized.level_derivatives cimport Sums, add_derivatives
from mixedext.kernels.generalized.level_modes cimport find_mode, stand, sum_fixed
from mixedext.kernels.generalized.level_work cimport FOUND, PADDING, Work, total
from mixedext.kernels.generalized.quadrature cimport integrate

import numpy as np


# Arrays of a level's rows in Work, its vectors of length K, and its matrices (K, K).
cdef enum:
    ROW_ARRAYS = 15
    VECTORS = 9
    MATRICES = 11


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


def sorted_by_level(const int[::1] level, Py_ssize_t n_levels):
    """Rows sorted by level, and the first of each level's rows there: (n,), (L + 1,)."""
    cdef Py_ssize_t i, j, n = level.shape[0]
    order_, start_ = np.empty(n, np.int64), np.zeros(n_levels + 1, np.int64)
    cdef int64_t[::1] order = order_, start = start_
    with nogil:
        for i in range(n):
            start[level[i] + 1] += 1
        for j in range(n_levels):
            start[j + 1] += start[j]
        for i in range(n):
            order[start[level[i]]] = i
            start[level[i]] += 1
        # every start has moved on to the next
        for j in range(n_levels, 0, -1):
            start[j] = start[j - 1]
        if n_levels:
            start[0] = 0
    return order_, start_


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
    cdef RowFamily family
    cdef const int64_t[::1] start
    cdef const double[::1] x, z, offset
    cdef Rows rows
    cdef object arrays

    def __init__(
        self, RowFamily family, const int64_t[::1] start, Py_ssize_t k,
        const double[::1] x, const double[::1] z, const double[::1] offset,
        *, const double[::1] y, trials, weight, count, bint concave, bint expected,
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
        *, double[:, ::1] slopes, double[:, :, ::1] response, double[:, :, ::1] normal,
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
        cdef Py_ssize_t level, n_nodes = nodes.shape[0], k = self.k, p = self.p
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
        w.expected_determinant = self.expected
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
                sum_fixed(&w, p, coefficients, offset)
                if offset != NULL:
                    offset += w.n
                count = 0
                ended = find_mode(&w, self.family, &count)
                most = max(most, count)
                if ended == FOUND:
                    ended = stand(&w)
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
                add_derivatives(
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
