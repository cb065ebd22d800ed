"""The profiled deviance of several grouping factors with a small dense tail.

It is that of ``engine.factor.factor`` and ``engine.factor.tail``, without Python, for
models so small that calls from Python would take longer than the arithmetic.  Letters are
those of the theory page: half_l half_l' = D_l eliminates level l of the leading factor,
W_l = half_l'(its links), N = Z2'V1^-1 Z2 is what is left of the tail,
S = Lam2'N Lam2 + I = L L'.

Links are a panel with a row for each column of the leading factor where most of them are
there, else compressed by level.
"""

from libc.math cimport INFINITY, log, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from mixedext.kernels.factor.lead cimport subtract_products
from mixedext.kernels.row_major cimport (
    copy_numbers,
    left_singular,
    mirror_lower,
    multiply,
    solve_left,
    subtract_square,
)
from scipy.linalg.cython_lapack cimport dpotrf

import numpy as np

from mixedext import limits

cdef double EPSILON = 2.220446049250313e-16
cdef double ROOT_FLOOR = limits.ROOT_FLOOR


cdef const double* _doubles(const double[::1] a):
    return &a[0] if a.shape[0] else NULL


cdef double* _changed(double[::1] a):
    return &a[0] if a.shape[0] else NULL


cdef const Py_ssize_t* _numbers(const Py_ssize_t[::1] a):
    return &a[0] if a.shape[0] else NULL


cdef Entries _entries(const Py_ssize_t[::1] index, const double[::1] value):
    cdef Py_ssize_t count = value.shape[0]
    return Entries(
        count, &index[0], &index[0] + count, &index[0] + 2 * count, _doubles(value)
    )


cdef class BlockedFactor(Profiled):
    """The profiled deviance of a model with several grouping factors.

    Parameters
    ----------
    lead_gram : ndarray
        (L, K, K) Z_l'Z_l.
    crosses : tuple of ndarray
        (L, K, P) Z_l'[X y], (m, P) Z_tail'[X y] and (P, P) [X y]'[X y]; kept, and changed
        by other responses.
    tail_gram : ndarray
        (m, m) Z_tail'Z_tail.
    links : Links or None
        None where they are a panel.
    link_value : ndarray
        (nnz, K) values of the links, or (L K, m) the panel.
    levels : TailLevels
        Those of the tail.
    columns : tuple of ndarray
        First column of each factor in the order of factors, and which column of all terms
        each of these is; term, factor, and place in the factor of each column of the terms.
    template, basis : tuple of ndarray
        Elements of lam = sum_r theta_r B_r and Sigma = sum_r gamma_r E_r of all terms side
        by side that are not zero: rows (r, row, column), and values.
    n_theta, n_gamma : int
        Length of theta and gamma.
    reml : bool
        Restricted or ordinary deviance.
    dof : float
        Degrees of freedom.
    squared : ndarray
        Which elements of theta enter by their squares alone, (n_theta,).
    """

    def __cinit__(
        self, *, lead_gram, crosses, tail_gram, links, link_value, levels, columns,
        template, basis, n_theta, n_gamma, reml, dof, squared,
    ):
        self.n_levels, self.width = lead_gram.shape[0], lead_gram.shape[1]
        self.m, self.p = crosses[1].shape
        self.rows = self.n_levels * self.width
        self.levels, self.links, self.panel = levels, links, links is None
        self.n_tail, self.n_factors = self.levels.n_levels, len(columns[0]) - 1
        self.k, self.n_theta, self.n_gamma = len(columns[1]), n_theta, n_gamma
        self.widest = max(np.diff(columns[0]).max(initial=1), 1)
        self.reml, self.dof, self.squared = reml, dof, squared
        # pointers are to these: they stay as long as this does
        crosses = [np.ravel(a) for a in crosses]
        columns = [np.ravel(a) for a in columns]
        lead_gram, tail_gram, link_value = map(np.ravel, (lead_gram, tail_gram, link_value))
        elements = np.ravel(template[0]), np.ravel(basis[0])
        values = np.ravel(template[1]), np.ravel(basis[1])
        self.arrays = [lead_gram, tail_gram, link_value, crosses, columns, elements, values]
        self.gram, self.tail_gram = _doubles(lead_gram), _doubles(tail_gram)
        self.cross, self.tail_cross = _changed(crosses[0]), _changed(crosses[1])
        self.fixed_gram, self.link = _changed(crosses[2]), _doubles(link_value)
        self.level_start, self.level_factor = self.levels.at.start, self.levels.at.factor
        self.level_of = self.levels.at.of_column
        if not self.panel:
            self.link_pointers = self.links.at.pointers
            self.link_index = self.links.at.index
        self.factor_start, self.column_of = _numbers(columns[0]), _numbers(columns[1])
        self.term_of, self.factor_of = _numbers(columns[2]), _numbers(columns[3])
        self.place_of = _numbers(columns[4])
        self.template = _entries(elements[0], values[0])
        self.basis = _entries(elements[1], values[1])
        self._allocate()

    def _allocate(self):
        cdef Py_ssize_t m = self.m, p = self.p, rows = self.rows, width = self.width
        cdef Py_ssize_t k = self.k, c = self.widest, i
        cdef Py_ssize_t blocks = self.n_levels * width * width
        shape = (rows, m) if self.panel else (self.links.n_links, width)
        self.scaled_view, self.reduced_view = np.empty(shape), np.empty((m, m))
        if self.scaled_view.size:
            self.scaled = &self.scaled_view[0, 0]
        if m:
            self.reduced = &self.reduced_view[0, 0]
        sizes = [
            k * k, self.n_factors * c * c, self.n_factors * c * c, self.n_factors * c,
            self.n_factors * c * c, blocks, rows * p, m * m, m * p, m * p, p * p, p * p,
            4 * c * c + 40 * c, max(m, c), m,
        ]
        self.buffer = <double*>malloc(max(sum(sizes), 1) * sizeof(double))
        if self.buffer == NULL:
            raise MemoryError(f"no memory for a tail of {m} columns")
        cdef double* at = self.buffer
        cdef double** names[15]
        names[:] = [
            &self.lam, &self.own, &self.vector, &self.size, &self.root, &self.half,
            &self.solved, &self.factor, &self.tail_reduced, &self.tail_solved,
            &self.fixed_root, &self.change, &self.small, &self.row, &self.scale,
        ]
        for i in range(15):
            names[i][0] = at
            at += <Py_ssize_t>sizes[i]

    def __dealloc__(self):
        free(self.buffer)

    # ---- responses ----

    def give(self, lead, tail, double square):
        """Responses with X'r = 0 and r'r = ``square``: Z'r, (R, L, K) and (R, m)."""
        cdef Py_ssize_t j, p = self.p
        self.lead_responses, self.tail_responses = lead, tail
        for j in range(p):
            self.fixed_gram[(p - 1) * p + j] = self.fixed_gram[j * p + p - 1] = 0.0
        self.fixed_gram[p * p - 1] = square

    cdef void set_response(self, Py_ssize_t number) noexcept nogil:
        cdef Py_ssize_t level, a, p = self.p
        for level in range(self.n_levels):
            for a in range(self.width):
                self.cross[(level * self.width + a) * p + p - 1] = (
                    self.lead_responses[number, level, a]
                )
        for a in range(self.m):
            self.tail_cross[a * p + p - 1] = self.tail_responses[number, a]

    # ---- the value ----

    cdef double value(self, const double* theta, bint floor) noexcept nogil:
        self.n_values += 1
        if not (self.set_roots(theta, floor) and self.factor_lead()):
            return INFINITY
        self.reduce_tail()
        if not (self.factor_tail() and self.reduce_fixed() and self.factor_fixed()):
            return INFINITY
        return self.deviance(self.log_det)

    cdef double decompose(
        self, const double* lam, Py_ssize_t k, double* vector, double* size
    ) noexcept nogil:
        """lam lam' = V diag(size^2) V'; the smallest size, negative for none."""
        cdef double* copy = self.small
        cdef double* work = self.small + 4 * self.widest * self.widest
        if k == 1:
            vector[0], size[0] = 1.0, lam[0] if lam[0] >= 0.0 else -lam[0]
            return size[0]
        copy_numbers(copy, lam, k * k)
        if not left_singular(k, copy, vector, size, work, <int>(40 * self.widest)):
            return -1.0
        return size[k - 1]

    cdef bint set_roots(self, const double* theta, bint floor) noexcept nogil:
        """lam of all terms and of every factor, and the roots V diag(size) of the tail."""
        cdef Py_ssize_t f, a, b, first, k, area = self.widest * self.widest
        cdef double* own
        cdef double* vector
        cdef double* size
        self.set_lam(theta)
        memset(self.own, 0, area * sizeof(double))
        for f in range(self.n_factors):
            first, k = self.factor_start[f], self.factor_start[f + 1] - self.factor_start[f]
            own, vector = self.own + f * area, self.vector + f * area
            size = self.size + f * self.widest
            for a in range(k):
                for b in range(k):
                    own[a * k + b] = self.lam[
                        self.column_of[first + a] * self.k + self.column_of[first + b]
                    ]
            if f == 0:
                continue
            if self.decompose(own, k, vector, size) < 0.0:
                return False
            for a in range(k):
                if floor:
                    size[a] = max(size[a], ROOT_FLOOR)
            for a in range(k):
                for b in range(k):
                    self.root[f * area + a * k + b] = vector[a * k + b] * size[b]
        for a in range(self.m if self.n_tail == self.m else 0):
            self.scale[a] = self.root[(self.level_factor[a] + 1) * area]
        return True

    cdef bint factor_lead(self) noexcept nogil:
        """half_l = lam M_l^-T/2 of every level, log det M, and half_l'Z_l'[X y]."""
        cdef Py_ssize_t k = self.width, p = self.p, level, i, j, c
        cdef const double* lam = self.own
        cdef const double* a
        cdef const double* cross
        cdef double* half
        cdef double* solved
        cdef double* image = self.small
        cdef double* lower = self.small + k * k
        cdef double x, product = 1.0
        self.log_det = 0.0
        for level in range(self.n_levels):
            a, half = self.gram + level * k * k, self.half + level * k * k
            cross, solved = self.cross + level * k * p, self.solved + level * k * p
            for i in range(k):
                for j in range(k):
                    x = 0.0
                    for c in range(k):
                        x += lam[c * k + i] * a[c * k + j]
                    image[i * k + j] = x
            for i in range(k):
                for j in range(i + 1):
                    x = 1.0 if i == j else 0.0
                    for c in range(k):
                        x += image[i * k + c] * lam[c * k + j]
                    for c in range(j):
                        x -= lower[i * k + c] * lower[j * k + c]
                    if i > j:
                        lower[i * k + j] = x / lower[j * k + j]
                    elif x > 0.0:
                        lower[i * k + i] = sqrt(x)
                    else:
                        return False
                product *= lower[i * k + i]
            if not 1e-100 < product < 1e100:
                self.log_det += 2.0 * log(product)
                product = 1.0
            for i in range(k):
                for j in range(k):
                    x = lam[i * k + j]
                    for c in range(j):
                        x -= half[i * k + c] * lower[j * k + c]
                    half[i * k + j] = x / lower[j * k + j]
            for i in range(k):
                for j in range(p):
                    x = 0.0
                    for c in range(k):
                        x += half[c * k + i] * cross[c * p + j]
                    solved[i * p + j] = x
        self.log_det += 2.0 * log(product)
        return True

    cdef void link_times(self, const double* right, double* out) noexcept nogil:
        """Links of every level times its own (K, K) matrix, stored as the links are."""
        cdef Py_ssize_t k = self.width, m = self.m, level, s, a, b, j
        cdef const double* own
        cdef const double* link
        cdef double* row
        cdef double x
        for level in range(self.n_levels):
            own = right + level * k * k
            if self.panel:
                for a in range(k):
                    row = out + (level * k + a) * m
                    for b in range(k):
                        x, link = own[b * k + a], self.link + (level * k + b) * m
                        if b == 0:
                            for j in range(m):
                                row[j] = x * link[j]
                        else:
                            for j in range(m):
                                row[j] += x * link[j]
                continue
            for s in range(self.link_pointers[level], self.link_pointers[level + 1]):
                for a in range(k):
                    x = 0.0
                    for b in range(k):
                        x += self.link[s * k + b] * own[b * k + a]
                    out[s * k + a] = x

    cdef void link_transposed(
        self, const double* values, const double* b, Py_ssize_t columns, double alpha,
        double* out,
    ) noexcept nogil:
        """out (m, columns) += alpha links b, for b (L K, columns)."""
        cdef Py_ssize_t k = self.width, level, s, a, j
        cdef double x
        cdef double* row
        if self.panel:
            multiply(True, False, self.m, columns, self.rows, alpha, values, b, 1.0, out)
            return
        for level in range(self.n_levels):
            for s in range(self.link_pointers[level], self.link_pointers[level + 1]):
                row = out + self.link_index[s] * columns
                for a in range(k):
                    x = alpha * values[s * k + a]
                    for j in range(columns):
                        row[j] += x * b[(level * k + a) * columns + j]

    cdef void link_plain(
        self, const double* values, const double* b, Py_ssize_t columns, double alpha,
        double* out,
    ) noexcept nogil:
        """out (L K, columns) += alpha links' b, for b (m, columns)."""
        cdef Py_ssize_t k = self.width, level, s, a, j
        cdef double x
        cdef const double* row
        if self.panel:
            multiply(False, False, self.rows, columns, self.m, alpha, values, b, 1.0, out)
            return
        for level in range(self.n_levels):
            for s in range(self.link_pointers[level], self.link_pointers[level + 1]):
                row = b + self.link_index[s] * columns
                for a in range(k):
                    x = alpha * values[s * k + a]
                    for j in range(columns):
                        out[(level * k + a) * columns + j] += x * row[j]

    cdef void reduce_tail(self) noexcept nogil:
        """Eliminate the leading factor from Z2'Z2 and Z2'[X y]."""
        copy_numbers(self.reduced, self.tail_gram, self.m * self.m)
        copy_numbers(self.tail_reduced, self.tail_cross, self.m * self.p)
        self.link_times(self.half, self.scaled)
        if self.panel:
            subtract_square(self.rows, self.m, self.scaled, self.reduced)
        elif self.links.n_links:
            subtract_products(self.links, self.scaled_view, 0, self.m, self.reduced_view)
        self.link_transposed(
            self.scaled, self.solved, self.p, -1.0, self.tail_reduced
        )
        mirror_lower(self.m, self.reduced)

    cdef void multiply_lam(
        self, double* b, Py_ssize_t columns, bint transpose
    ) noexcept nogil:
        """b (m, columns) = Lam2 b, or Lam2'b."""
        cdef Py_ssize_t level, k, c, d, j, f
        cdef double* own
        cdef const double* root
        cdef double* copy = self.row
        cdef double x
        for level in range(self.n_tail):
            f = self.level_factor[level]
            k = self.level_start[level + 1] - self.level_start[level]
            own = b + self.level_start[level] * columns
            root = self.root + (f + 1) * self.widest * self.widest
            for j in range(columns if k == 1 else 0):
                own[j] *= root[0]
            for j in range(columns if k > 1 else 0):
                for c in range(k):
                    copy[c] = own[c * columns + j]
                for c in range(k):
                    x = 0.0
                    for d in range(k):
                        x += (root[d * k + c] if transpose else root[c * k + d]) * copy[d]
                    own[c * columns + j] = x

    cdef void multiply_lam_right(
        self, const double* source, Py_ssize_t rows, double* out
    ) noexcept nogil:
        """out (rows, m) = source Lam2."""
        cdef Py_ssize_t level, k, c, d, i, start, m = self.m
        cdef Py_ssize_t area = self.widest * self.widest
        cdef const double* root
        cdef const double* own
        for i in range(rows):
            for c in range(m if self.n_tail == m else 0):
                out[i * m + c] = self.scale[c] * source[i * m + c]
            for level in range(self.n_tail if self.n_tail < m else 0):
                start = self.level_start[level]
                k = self.level_start[level + 1] - start
                root = self.root + (self.level_factor[level] + 1) * area
                own = source + i * m + start
                if k == 1:
                    out[i * m + start] = own[0] * root[0]
                    continue
                for c in range(k):
                    self.small[c] = 0.0
                    for d in range(k):
                        self.small[c] += own[d] * root[d * k + c]
                for c in range(k):
                    out[i * m + start + c] = self.small[c]

    cdef bint factor_tail(self) noexcept nogil:
        """L of S = Lam2'N Lam2 + I, and L^-1 Lam2'Z2'V1^-1 [X y]."""
        cdef Py_ssize_t m = self.m, i
        cdef int n = <int>m, info = 0
        cdef double product = 1.0
        self.multiply_lam_right(self.reduced, m, self.factor)
        self.multiply_lam(self.factor, m, True)
        for i in range(m):
            self.factor[i * m + i] += 1.0
        dpotrf(b"U", &n, self.factor, &n, &info)
        if info != 0:
            return False
        for i in range(m):
            product *= self.factor[i * m + i]
            if not 1e-100 < product < 1e100:
                self.log_det += 2.0 * log(product)
                product = 1.0
        self.log_det += 2.0 * log(product)
        copy_numbers(self.tail_solved, self.tail_reduced, m * self.p)
        self.multiply_lam(self.tail_solved, self.p, True)
        solve_left(False, m, self.p, self.factor, self.tail_solved)
        return True

    cdef bint reduce_fixed(self) noexcept nogil:
        """[X y]'V0^-1 [X y], and the noise of the deviance; if its diagonal is positive."""
        cdef Py_ssize_t p = self.p, j
        cdef double* root = self.fixed_root
        cdef double cancellation = 0.0
        copy_numbers(root, self.fixed_gram, p * p)
        multiply(True, False, p, p, self.rows, -1.0, self.solved, self.solved, 1.0, root)
        multiply(
            True, False, p, p, self.m, -1.0, self.tail_solved, self.tail_solved, 1.0, root
        )
        for j in range(p):
            if not root[j * p + j] > 0.0:
                return False
            cancellation = max(cancellation, self.fixed_gram[j * p + j] / root[j * p + j])
        self.noise = self.dof * EPSILON * cancellation
        return True
