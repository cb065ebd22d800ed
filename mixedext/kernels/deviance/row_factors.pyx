"""The deviance of several grouping factors with sums of squares from the rows.

It is that of ``engine.deviance.row_deviance``, where the equations stand, without Python,
for models so small that calls from Python would take longer than the arithmetic: u of the
columns [X y] is refined until g = Lam'Z'(c - Z Lam u) - u holds to the last digit, and

    c'V0^-1 d = (c - Z Lam u_c)'(d - Z Lam u_d) + u_c'u_d.

Every row has one level of each grouping factor.
"""

from libc.math cimport INFINITY, log, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from mixedext.kernels.compressed_rows cimport (
    CompressedRows,
    add_row,
    rows_of,
    transposed_times,
)
from mixedext.kernels.deviance.several_factors cimport SeveralFactors
from mixedext.kernels.row_major cimport (
    cholesky,
    column_square,
    congruence,
    copy_numbers,
    inverse_of_root,
    multiply,
    multiply_each,
    solve_left,
)

import numpy as np

from mixedext import limits

cdef double EPSILON = 2.220446049250313e-16
cdef double PIVOT_NOISE = limits.PIVOT_NOISE, LARGE_ROOT = limits.LARGE_ROOT
cdef double REFINED_STEP = limits.REFINED_STEP, POOR_PIVOT = limits.POOR_PIVOT
cdef Py_ssize_t REFINEMENT_STEPS = limits.REFINEMENT_STEPS
cdef Py_ssize_t MEND_STEPS = limits.MEND_STEPS, MOST_SHIFTS = limits.MOST_SHIFTS


cdef void _add_shift(
    Py_ssize_t n, Py_ssize_t p, const double* shift, double* a
) noexcept nogil:
    """What is of y - X shift, the last column of a (n, p), becomes that of y."""
    cdef Py_ssize_t i, j
    for i in range(n):
        for j in range(p - 1):
            a[i * p + p - 1] += a[i * p + j] * shift[j]


cdef class RowFactors(SeveralFactors):
    """The deviance with sums from the rows, and its derivatives.

    Parameters are those of SeveralFactors; ``take_rows`` gives the rows before the first
    value.
    """

    cdef object row_arrays            # whose memory is pointed to
    cdef Py_ssize_t n                 # rows of the data
    cdef double nobs
    cdef const double* given          # (n, P) [X y] of the rows
    cdef CompressedRows lead, tail
    cdef double* memory
    cdef double* shift                # (P - 1,) y less X times this is worked with
    cdef double* lead_root            # (K, K) V diag(s) of the leading factor
    cdef double* lead_inverse         # (L, K, K) (root'A_l root + I)^-1
    cdef double* poor_inverse         # (L, K, K) and ...
    cdef double* poor_rest            # ... (L, K, K) of levels that lose digits
    cdef double* poor                 # (L,) whether one does
    cdef double* source               # (n, C) columns that are worked with
    cdef double* rest                 # (n, C) their residuals
    cdef double* row_image            # (n, C)
    cdef double* u_lead               # (L K, C) and ...
    cdef double* u_tail               # ... (m, C)
    cdef double* step_lead            # (L K, C) and ...
    cdef double* step_tail            # ... (m, C)
    cdef double* root_image           # (L K, C) and ...
    cdef double* tail_work            # ... (m, C)
    cdef double* lead_work            # (L K, C)
    cdef double* form                 # (C, C)
    cdef double* basis_inverse        # (m, m) L^-T
    cdef double* length               # (C,) squares of the last steps
    cdef double pivot_noise

    def take_rows(self, columns, lead, tail, double nobs):
        """Take the rows.

        Parameters
        ----------
        columns : ndarray
            [X y] in the engine's units, weighted, (n, P).
        lead, tail : tuple of ndarray
            Z of the leading factor and of the tail, compressed by rows: pointers, columns
            and values.
        nobs : float
            y'y, to which y is scaled.
        """
        cdef Py_ssize_t m = self.m, rows = self.rows, c = max(self.p, self.n_gamma, m), i
        columns = np.ascontiguousarray(columns, float)
        self.n, self.nobs = len(columns), nobs
        parts = [
            [np.ascontiguousarray(a, t) for a, t in zip(z, (np.intp, np.intp, float))]
            for z in (lead, tail)
        ]
        self.row_arrays = columns, parts
        cdef const double[:, ::1] view = columns
        self.given = &view[0, 0]
        self.lead, self.tail = rows_of(parts[0]), rows_of(parts[1])
        blocks = self.n_levels * self.width * self.width
        sizes = [
            self.p, self.width * self.width, blocks, blocks, blocks, self.n_levels,
            self.n * c, self.n * c, self.n * c, rows * c, m * c, rows * c, m * c, rows * c,
            m * c, rows * c, c * c, m * m, c,
        ]
        free(self.memory)
        self.memory = <double*>malloc(sum(sizes) * sizeof(double))
        if self.memory == NULL:
            raise MemoryError(f"no memory for {self.n} rows")
        cdef double* at = self.memory
        cdef double** names[19]
        names[:] = [
            &self.shift, &self.lead_root, &self.lead_inverse, &self.poor_inverse,
            &self.poor_rest, &self.poor, &self.source, &self.rest, &self.row_image,
            &self.u_lead, &self.u_tail, &self.step_lead, &self.step_tail, &self.root_image,
            &self.tail_work, &self.lead_work, &self.form, &self.basis_inverse,
            &self.length,
        ]
        for i in range(19):
            names[i][0] = at
            at += <Py_ssize_t>sizes[i]
        memset(self.shift, 0, self.p * sizeof(double))

    def __dealloc__(self):
        free(self.memory)

    # ---- the rows ----

    cdef void subtract_rows(
        self, const double* lead, const double* tail, Py_ssize_t c, const double* start,
        double* out,
    ) noexcept nogil:
        """out (n, c) = start - Z b, or Z b without a start; b NULL of a part left out."""
        cdef Py_ssize_t i, j
        cdef double* own
        for i in range(self.n):
            own = out + i * c
            memset(own, 0, c * sizeof(double))
            if lead != NULL:
                add_row(&self.lead, i, lead, c, own)
            if tail != NULL:
                add_row(&self.tail, i, tail, c, own)
            if start != NULL:
                for j in range(c):
                    own[j] = start[i * c + j] - own[j]

    cdef void products_of(
        self, const double* rest, Py_ssize_t c, double* lead, double* tail
    ) noexcept nogil:
        """Z'c as (L K, c) and (m, c); NULL for a part that is not wanted."""
        if lead != NULL:
            transposed_times(&self.lead, self.n, rest, c, self.rows, lead)
        if tail != NULL:
            transposed_times(&self.tail, self.n, rest, c, self.m, tail)

    cdef void times_lead_root(
        self, const double* b, Py_ssize_t c, bint transpose, double* out
    ) noexcept nogil:
        """out (L K, c) = root b, or root'b, of every level of the lead."""
        multiply_each(self.n_levels, self.width, c, self.lead_root, 0, transpose, b, out)

    cdef void times_lead_inverse(
        self, const double* b, Py_ssize_t c, double* out
    ) noexcept nogil:
        """out (L K, c) = (root'A_l root + I)^-1 b of every level."""
        cdef Py_ssize_t k = self.width
        multiply_each(self.n_levels, k, c, self.lead_inverse, k * k, False, b, out)

    # ---- the leading factor ----

    cdef bint factor_lead(self) noexcept nogil:
        """As of cross-products; with the root V diag(s), and log det M from the rows."""
        cdef Py_ssize_t k = self.width, level, a, b, c
        cdef double* square = self.small
        cdef double* image = self.small + k * k
        cdef double x
        if not SeveralFactors.factor_lead(self):
            return False
        if self.decompose(self.own, k, self.vector, self.size) < 0.0:
            return False
        for a in range(k):
            for b in range(k):
                self.lead_root[a * k + b] = self.vector[a * k + b] * self.size[b]
        for level in range(self.n_levels):
            congruence(k, self.lead_root, self.gram + level * k * k, image, square)
            for a in range(k):
                square[a * k + a] += 1.0
            if not cholesky(k, square):  # the identity is rounding beside the rest
                return False
            inverse_of_root(k, square, image)
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for c in range(max(a, b), k):
                        x += image[c * k + a] * image[c * k + b]
                    self.lead_inverse[(level * k + a) * k + b] = x
        return k == 1 or self.lead_by_rows()

    cdef bint lead_by_rows(self) noexcept nogil:
        """log det M of levels whose cross-products lose digits, from columns near I."""
        cdef Py_ssize_t k = self.width, level, first, i, s, a, b, c
        cdef bint any_poor = False
        cdef double* square = self.small
        cdef double* image = self.small + k * k
        cdef double* whole = self.small + 2 * k * k
        cdef double* inverse
        cdef double* rest
        cdef double x, total = 0.0
        for level in range(self.n_levels):
            congruence(k, self.own, self.gram + level * k * k, image, square)
            for a in range(k):
                square[a * k + a] += 1.0
                whole[a] = square[a * k + a]
            if not cholesky(k, square):
                return True  # what the factor of the lead has told stands
            self.poor[level] = 0.0
            for a in range(k):
                x = square[a * k + a]
                total += 2.0 * log(x)
                if whole[a] / (x * x) > POOR_PIVOT:
                    self.poor[level] = 1.0
                    any_poor = True
            if self.poor[level] != 0.0:
                inverse = self.poor_inverse + level * k * k
                rest = self.poor_rest + level * k * k
                inverse_of_root(k, square, inverse)
                for a in range(k):
                    for b in range(k):
                        x = 0.0
                        for c in range(min(a, b) + 1):
                            x += inverse[a * k + c] * inverse[b * k + c]
                        rest[a * k + b] = x
        self.log_det = total
        for i in range(self.n if any_poor else 0):
            first = self.lead.pointers[i]
            if self.lead.pointers[i + 1] == first:
                continue
            level = self.lead.index[first] // k
            if self.poor[level] == 0.0:
                continue
            inverse = self.poor_inverse + level * k * k
            rest = self.poor_rest + level * k * k
            # lam'z, and its image by the inverse of the factor
            for a in range(k):
                x = 0.0
                for s in range(first, self.lead.pointers[i + 1]):
                    b = self.lead.index[s] - level * k
                    x += self.lead.value[s] * self.own[b * k + a]
                whole[a] = x
            for a in range(k):
                x = 0.0
                for b in range(a + 1):
                    x += inverse[a * k + b] * whole[b]
                image[a] = x
            for a in range(k):
                for b in range(k):
                    rest[a * k + b] += image[a] * image[b]
        for level in range(self.n_levels if any_poor else 0):
            if self.poor[level] != 0.0:
                rest = self.poor_rest + level * k * k
                if not cholesky(k, rest):
                    return False
                for a in range(k):
                    self.log_det += 2.0 * log(rest[a * k + a])
        return True

    # ---- the tail ----

    cdef bint factor_tail(self) noexcept nogil:
        """As of cross-products; mended where its pivots have lost digits."""
        cdef Py_ssize_t m = self.m, area = self.widest * self.widest
        cdef Py_ssize_t level, start, k, f, a, b
        cdef const double* vector
        cdef const double* size
        cdef double x, pivot, lost = 0.0, roots = 0.0
        if not SeveralFactors.factor_tail(self):
            return False
        for level in range(self.n_tail):
            start, f = self.level_start[level], self.level_factor[level] + 1
            k = self.level_start[level + 1] - start
            vector, size = self.vector + f * area, self.size + f * self.widest
            for a in range(k):
                x = 0.0
                for b in range(k):
                    x += (
                        self.tail_gram[(start + b) * m + start + b]
                        * vector[b * k + a] * vector[b * k + a]
                    )
                pivot = self.factor[(start + a) * m + start + a]
                x *= size[a] * size[a] / (pivot * pivot)
                lost += x
                roots += sqrt(x)
        self.pivot_noise = EPSILON * lost
        if self.pivot_noise > PIVOT_NOISE:
            self.pivot_noise = EPSILON * roots
            return self.mend()
        return True

    cdef bint mend(self) noexcept nogil:
        """L chol(E) in place of L, E of the columns of Z2 Lam2 L^-T; if there is one."""
        cdef Py_ssize_t m = self.m, i, j, rows = self.rows, _turn
        cdef double* inverse = self.basis_inverse
        cdef double* root = self.form
        memset(inverse, 0, m * m * sizeof(double))
        for i in range(m):
            inverse[i * m + i] = 1.0
        solve_left(True, m, m, self.factor, inverse)
        copy_numbers(self.u_tail, inverse, m * m)
        self.multiply_lam(self.u_tail, m, False)
        self.subtract_rows(NULL, self.u_tail, m, NULL, self.source)
        copy_numbers(self.rest, self.source, self.n * m)
        memset(self.u_lead, 0, rows * m * sizeof(double))
        for _turn in range(MEND_STEPS):
            self.products_of(self.rest, m, self.root_image, NULL)
            self.times_lead_root(self.root_image, m, True, self.lead_work)
            for i in range(rows * m):
                self.lead_work[i] -= self.u_lead[i]
            self.times_lead_inverse(self.lead_work, m, self.step_lead)
            for i in range(rows * m):
                self.u_lead[i] += self.step_lead[i]
            self.times_lead_root(self.u_lead, m, False, self.root_image)
            self.subtract_rows(self.root_image, NULL, m, self.source, self.rest)
        multiply(True, False, m, m, self.n, 1.0, self.rest, self.rest, 0.0, root)
        multiply(True, False, m, m, rows, 1.0, self.u_lead, self.u_lead, 1.0, root)
        multiply(True, False, m, m, m, 1.0, inverse, inverse, 1.0, root)
        if not cholesky(m, root):
            return False
        # the lower triangle of a product of two
        for i in range(m):
            for j in range(i + 1):
                inverse[i * m + j] = self.factor[i * m + j]
                inverse[j * m + i] = inverse[i * m + j] if i == j else 0.0
            for j in range(i + 1, m):
                root[i * m + j] = 0.0
            self.log_det += 2.0 * log(root[i * m + i])
        multiply(False, False, m, m, m, 1.0, inverse, root, 0.0, self.factor)
        return True

    # ---- [X y]'V0^-1 [X y] ----

    cdef void refine(self, Py_ssize_t c) noexcept nogil:
        """c'V0^-1 d of all columns of ``source`` (n, c) in ``form``; ``rest`` and u."""
        cdef Py_ssize_t n = self.n, rows = self.rows, m = self.m, i, j, _turn
        cdef bint falls, ended
        cdef double own
        copy_numbers(self.rest, self.source, n * c)
        memset(self.u_lead, 0, rows * c * sizeof(double))
        memset(self.u_tail, 0, m * c * sizeof(double))
        for j in range(c):
            self.length[j] = INFINITY
        for _turn in range(REFINEMENT_STEPS):
            self.products_of(self.rest, c, self.root_image, self.step_tail)
            self.times_lead_root(self.root_image, c, True, self.step_lead)
            for i in range(rows * c):
                self.step_lead[i] -= self.u_lead[i]
            self.multiply_lam(self.step_tail, c, True)
            for i in range(m * c):
                self.step_tail[i] -= self.u_tail[i]
            self.solve_effects(c)
            falls = False
            for j in range(c):
                own = column_square(rows, c, j, self.step_lead)
                own += column_square(m, c, j, self.step_tail)
                falls = falls or own < 0.25 * self.length[j]
                self.form[j] = own  # meanwhile
            if not falls:
                break  # rounding is all that is left
            for j in range(c):
                if not self.form[j] < self.length[j]:  # the others are left as they are
                    self.length[j] = 0.0
                    continue
                self.length[j] = self.form[j]
                for i in range(rows):
                    self.u_lead[i * c + j] += self.step_lead[i * c + j]
                for i in range(m):
                    self.u_tail[i * c + j] += self.step_tail[i * c + j]
            self.times_lead_root(self.u_lead, c, False, self.root_image)
            copy_numbers(self.tail_work, self.u_tail, m * c)
            self.multiply_lam(self.tail_work, c, False)
            self.subtract_rows(self.root_image, self.tail_work, c, self.source, self.rest)
            ended = True
            for j in range(c):
                own = column_square(rows, c, j, self.u_lead)
                own += column_square(m, c, j, self.u_tail)
                ended = ended and self.length[j] <= REFINED_STEP * REFINED_STEP * own
            if ended:
                break
        multiply(True, False, c, c, n, 1.0, self.rest, self.rest, 0.0, self.form)
        multiply(True, False, c, c, rows, 1.0, self.u_lead, self.u_lead, 1.0, self.form)
        multiply(True, False, c, c, m, 1.0, self.u_tail, self.u_tail, 1.0, self.form)

    cdef void solve_effects(self, Py_ssize_t c) noexcept nogil:
        """(Lam'Z'Z Lam + I)^-1 of the steps, by the factor of cross-products."""
        cdef Py_ssize_t m = self.m, rows = self.rows, i
        self.times_lead_inverse(self.step_lead, c, self.lead_work)
        self.times_lead_root(self.lead_work, c, False, self.root_image)
        self.subtract_rows(self.root_image, NULL, c, NULL, self.row_image)
        self.products_of(self.row_image, c, NULL, self.tail_work)
        self.multiply_lam(self.tail_work, c, True)
        for i in range(m * c):
            self.step_tail[i] -= self.tail_work[i]
        solve_left(False, m, c, self.factor, self.step_tail)
        solve_left(True, m, c, self.factor, self.step_tail)
        copy_numbers(self.tail_work, self.step_tail, m * c)
        self.multiply_lam(self.tail_work, c, False)
        self.subtract_rows(NULL, self.tail_work, c, NULL, self.row_image)
        self.products_of(self.row_image, c, self.root_image, NULL)
        self.times_lead_root(self.root_image, c, True, self.lead_work)
        for i in range(rows * c):
            self.lead_work[i] = self.step_lead[i] - self.lead_work[i]
        self.times_lead_inverse(self.lead_work, c, self.step_lead)

    cdef bint reduce_fixed(self) noexcept nogil:
        """[X, y - X shift]'V0^-1 of itself, with a shift that leaves y nothing of X."""
        cdef Py_ssize_t p = self.p, rank = self.p - 1, i, j
        cdef double* root = self.fixed_root
        cdef double x, left = INFINITY, cancellation = 0.0
        cdef double* change = self.length
        cdef Py_ssize_t turn
        for turn in range(MOST_SHIFTS):
            for i in range(self.n):
                for j in range(p):
                    self.source[i * p + j] = self.given[i * p + j]
                for j in range(rank):
                    self.source[i * p + rank] -= self.given[i * p + j] * self.shift[j]
            self.refine(p)
            x = self.explained(change)
            if not (x >= 0.0 and self.form[p * p - 1] < left):
                memset(self.shift, 0, p * sizeof(double))
                return False
            left = self.form[p * p - 1]
            if not x > 0.1 * left:
                break
            for j in range(rank if turn < MOST_SHIFTS - 1 else 0):
                self.shift[j] += change[j]
        copy_numbers(root, self.form, p * p)
        for j in range(p):
            if not root[j * p + j] > 0.0:
                return False
            # residuals of the rows have rounding errors of the size of the columns'
            x = column_square(self.n, p, j, self.given) / root[j * p + j]
            cancellation = max(cancellation, sqrt(x))
        cancellation += self.pivot_noise / (EPSILON * self.nobs)
        self.noise = self.dof * EPSILON * cancellation
        self.keep_responses()
        return True

    cdef double explained(self, double* change) noexcept nogil:
        """What X explains of y; the regression; negative if X is not definite."""
        cdef Py_ssize_t p = self.p, rank = self.p - 1, i, j
        cdef double* root = self.fixed_root
        cdef double out = 0.0
        for i in range(rank):
            change[i] = self.form[i * p + rank]
            for j in range(rank):
                root[i * rank + j] = self.form[i * p + j]
        if not cholesky(rank, root):
            return -1.0
        solve_left(False, rank, 1, root, change)
        solve_left(True, rank, 1, root, change)
        for i in range(rank):
            out += change[i] * self.form[i * p + rank]
        return max(out, 0.0)

    cdef bint factor_fixed(self) noexcept nogil:
        """The Cholesky factor, of y itself, not of what its regression leaves."""
        cdef Py_ssize_t p = self.p, rank = self.p - 1, i, j
        if not SeveralFactors.factor_fixed(self):
            return False
        for i in range(rank):
            for j in range(i + 1):
                self.fixed_root[rank * p + j] += self.shift[i] * self.fixed_root[i * p + j]
        return True

    cdef void keep_responses(self) noexcept nogil:
        """Z'V0^-1 [X y] from the residuals and u."""
        cdef Py_ssize_t p = self.p, level, start, k, f, area = self.widest * self.widest
        self.products_of(self.rest, p, self.response, self.tail_response)
        k = self.width
        for level in range(self.n_levels):
            self.along(
                k, p, self.vector, self.size, self.u_lead + level * k * p,
                self.response + level * k * p,
            )
        for level in range(self.n_tail):
            start, f = self.level_start[level], self.level_factor[level] + 1
            self.along(
                self.level_start[level + 1] - start, p, self.vector + f * area,
                self.size + f * self.widest, self.u_tail + start * p,
                self.tail_response + start * p,
            )
        _add_shift(self.rows, p, self.shift, self.response)
        _add_shift(self.m, p, self.shift, self.tail_response)

    cdef void along(
        self, Py_ssize_t k, Py_ssize_t c, const double* vector, const double* size,
        const double* u, double* product,
    ) noexcept nogil:
        """product (k, c) by the root's u along large directions, else as it is."""
        cdef Py_ssize_t a, b, j
        cdef double x
        for j in range(c):
            for a in range(k):
                if size[a] >= LARGE_ROOT:
                    self.small[a] = u[a * c + j] / size[a]
                    continue
                x = 0.0
                for b in range(k):
                    x += vector[b * k + a] * product[b * c + j]
                self.small[a] = x
            for a in range(k):
                x = 0.0
                for b in range(k):
                    x += vector[a * k + b] * self.small[b]
                product[a * c + j] = x

    # ---- derivatives ----

    cdef void find_responses(self) noexcept nogil:
        """They have been found with the value."""
        pass

    cdef void shrink(self) noexcept nogil:
        """K = I - D A, but D Sigma^-1 along each large direction alone; sum_l A_l K_l."""
        cdef Py_ssize_t k = self.width, level, a, b
        cdef double* by_root = self.small
        cdef double* along = self.small + k * k
        cdef double* image = self.small + 2 * k * k
        cdef double* total = self.curvature
        cdef const double* gram
        cdef double x
        memset(total, 0, k * k * sizeof(double))
        for level in range(self.n_levels):
            gram = self.gram + level * k * k
            multiply(
                False, False, k, k, k, 1.0, self.lead_root,
                self.lead_inverse + level * k * k, 0.0, by_root,
            )
            # root'A V, and what it leaves of V
            multiply(False, False, k, k, k, 1.0, gram, self.vector, 0.0, along)
            multiply(True, False, k, k, k, 1.0, self.lead_root, along, 0.0, image)
            copy_numbers(along, self.vector, k * k)
            multiply(False, False, k, k, k, -1.0, by_root, image, 1.0, along)
            for b in range(k):
                if self.size[b] >= LARGE_ROOT:
                    for a in range(k):
                        along[a * k + b] = by_root[a * k + b] / self.size[b]
            multiply(
                False, True, k, k, k, 1.0, along, self.vector, 0.0,
                self.shrunk + level * k * k,
            )
            multiply(False, False, k, k, k, 1.0, gram, along, 0.0, image)
            multiply(True, False, k, k, k, 1.0, self.vector, image, 1.0, total)
        for a in range(k):
            for b in range(k):
                x = total[a * k + b] if self.size[b] >= LARGE_ROOT else total[b * k + a]
                image[a * k + b] = x
        multiply(False, False, k, k, k, 1.0, self.vector, image, 0.0, by_root)
        multiply(False, True, k, k, k, 1.0, by_root, self.vector, 0.0, total)

    cdef void mend_curvature(self) noexcept nogil:
        """[N Lam2 C22]_ll = Lam2^-T [I - C22]_ll along large directions."""
        cdef Py_ssize_t m = self.m, area = self.widest * self.widest
        cdef Py_ssize_t f, level, start, k, a, b
        cdef double* own = self.small + area
        for f in range(1, self.n_factors):
            k = self.factor_start[f + 1] - self.factor_start[f]
            memset(own, 0, k * k * sizeof(double))
            for level in range(self.n_tail):
                if self.level_factor[level] + 1 != f:
                    continue
                start = self.level_start[level]
                for a in range(k):
                    own[a * k + a] += 1.0
                    for b in range(k):
                        own[a * k + b] -= self.inverse[(start + a) * m + start + b]
            self.along(
                k, k, self.vector + f * area, self.size + f * self.widest, own,
                self.curvature + f * area,
            )

    cdef void project(self) noexcept nogil:
        """w'Nw in ``information``, from the rows."""
        cdef Py_ssize_t count = self.n_gamma
        self.subtract_rows(self.weight, self.tail_weight, count, NULL, self.source)
        self.refine(count)
        copy_numbers(self.information, self.form, count * count)
