"""Rows of a generalized model with any grouping factors, and their sums.

Row i of Z has few entries: for each of its levels those of the columns of the level's
factor, side by side.  A = Z Lam has the same entries, so that all of

    eta = fixed + A u,    A's,    M = A'W A + I,    v_i = a_i'M^-1 a_i

are loops over rows.  Every pair of entries of a row has a place among the values of M's
blocks, and of M^-1's, in the order (1, 1), (2, 1), (2, 2), (3, 1), ...
"""

from libc.string cimport memset
from mixedext.kernels.generalized.families cimport RowFamily, newton_rows, read_rows
from mixedext.kernels.generalized.likelihood_rows cimport Rows

import numpy as np


# Rows that are laid side by side.
cdef enum:
    AT_ONCE = 32


cdef class SeveralFactors:
    """Rows of Z and of A = Z Lam.

    Parameters
    ----------
    pointers, index, z : ndarray
        Z by rows: (n + 1,) intp, (entries,) int32 and float.
    target : ndarray
        Place of every pair of entries, row by row, (pairs,) intp.
    factor, column : ndarray
        Of every random effect its grouping factor and its column there, (q,) int32.
    width : ndarray
        Columns of every factor, (F,) int32.

    Attributes
    ----------
    n, q : int
        Rows and random effects.
    """

    cdef readonly Py_ssize_t n, q
    cdef bint scalar
    cdef const Py_ssize_t[::1] pointers, target
    cdef const int[::1] index, factor, column, width
    cdef const double[::1] z
    cdef double[::1] a, work
    # where they begin; NULL of what is empty
    cdef const Py_ssize_t* first_target
    cdef const int* first_index

    def __init__(
        self, const Py_ssize_t[::1] pointers, const int[::1] index, const double[::1] z,
        *, const Py_ssize_t[::1] target, const int[::1] factor, const int[::1] column,
        const int[::1] width,
    ):
        cdef Py_ssize_t i, longest = 0
        self.n, self.q = pointers.shape[0] - 1, factor.shape[0]
        self.pointers, self.index, self.z, self.target = pointers, index, z, target
        self.factor, self.column, self.width = factor, column, width
        self.scalar = True
        for i in range(width.shape[0]):
            self.scalar &= width[i] == 1
        for i in range(self.n):
            longest = max(longest, pointers[i + 1] - pointers[i])
        self.a, self.work = np.empty(len(z)), np.empty(longest + 1)
        self.first_target = &target[0] if target.shape[0] else NULL
        self.first_index = &index[0] if index.shape[0] else NULL

    def take(self, const double[:, :, ::1] lam):
        """A = Z Lam, Lam by grouping factor (F, K, K), padded to the widest."""
        cdef Py_ssize_t e = 0, f, k, b, c
        cdef double x
        with nogil:
            if self.scalar:
                for e in range(self.z.shape[0]):
                    self.a[e] = self.z[e] * lam[self.factor[self.index[e]], 0, 0]
            else:
                while e < self.z.shape[0]:
                    f = self.factor[self.index[e]]
                    k = self.width[f]
                    for b in range(k):
                        x = 0.0
                        for c in range(k):
                            x += self.z[e + c] * lam[f, c, b]
                        self.a[e + b] = x
                    e += k

    cdef const double* entries(self, bint scaled) noexcept nogil:
        if not self.z.shape[0]:
            return NULL
        return &self.a[0] if scaled else &self.z[0]

    cdef void add_predictor(
        self, const double* u, const double* a, const double* fixed, double* out
    ) noexcept nogil:
        cdef Py_ssize_t i, e = 0, stop
        cdef double x
        cdef const Py_ssize_t* pointers = &self.pointers[0]
        cdef const int* index = self.first_index
        for i in range(self.n):
            x = 0.0 if fixed == NULL else fixed[i]
            stop = pointers[i + 1]
            while e < stop:
                x += a[e] * u[index[e]]
                e += 1
            out[i] = x

    cdef void add_projection(
        self, const double* v, const double* a, double* out
    ) noexcept nogil:
        cdef Py_ssize_t i, e = 0, stop
        cdef double x
        cdef const Py_ssize_t* pointers = &self.pointers[0]
        cdef const int* index = self.first_index
        for i in range(self.n):
            x, stop = v[i], pointers[i + 1]
            while e < stop:
                out[index[e]] += a[e] * x
                e += 1

    def predict(self, const double[::1] u, bint scaled):
        """A u, or Z u if not ``scaled``, (n,)."""
        out = np.empty(self.n)
        cdef double[::1] to = out
        if self.n:
            with nogil:
                self.add_predictor(
                    &u[0] if self.q else NULL, self.entries(scaled), NULL, &to[0]
                )
        return out

    def project(self, const double[::1] v, bint scaled):
        """A'v, or Z'v if not ``scaled``, (q,)."""
        out = np.zeros(self.q)
        cdef double[::1] to = out
        if self.n and self.q:
            with nogil:
                self.add_projection(&v[0], self.entries(scaled), &to[0])
        return out

    def look(
        self, RowFamily family, const double[::1] y, trials, weight, count, double kappa,
        const double[::1] fixed, const double[::1] u, *,
        double[::1] eta, double[::1] slope, double[::1] curvature, double[::1] projected,
    ):
        """The likelihood at effects u, less its constant; fills what the next step needs.

        Parameters
        ----------
        family : RowFamily
            Family and link.
        y, trials, weight, count, kappa
            As ``families.newton_terms`` takes them.
        fixed : ndarray
            Linear predictor without random effects, (n,).
        u : ndarray
            Random effects in units of Lam, (q,).
        eta, slope, curvature : ndarray
            Filled: linear predictor, s and W, (n,).
        projected : ndarray
            Filled: A's, (q,).
        """
        cdef Rows rows
        cdef double loss
        if self.n == 0:
            return 0.0
        rows = read_rows(y, trials, weight, count, kappa)
        with nogil:
            self.add_predictor(
                &u[0] if self.q else NULL, self.entries(True), &fixed[0], &eta[0]
            )
            loss = newton_rows(family, self.n, &eta[0], &rows, &slope[0], &curvature[0])
            if self.q:
                memset(&projected[0], 0, self.q * sizeof(double))
                self.add_projection(&slope[0], self.entries(True), &projected[0])
        return loss

    def fill(self, const double[::1] weights, double[::1] values, bint scaled):
        """A'W A, or Z'W Z if not ``scaled``: lower triangles of its blocks, in place."""
        cdef Py_ssize_t i, e, g, start, stop
        cdef double x
        cdef const Py_ssize_t* pointers = &self.pointers[0]
        cdef const Py_ssize_t* target = self.first_target
        cdef const double* a = self.entries(scaled)
        cdef double* to = &values[0] if values.shape[0] else NULL
        with nogil:
            values[:] = 0.0
            for i in range(self.n):
                start, stop = pointers[i], pointers[i + 1]
                for e in range(start, stop):
                    x = weights[i] * a[e]
                    for g in range(start, e + 1):
                        to[target[0]] += x * a[g]
                        target += 1

    def forms(
        self, const double[::1] inverse, const double[::1] weights,
        double[::1] variance, double[:, :, ::1] sums,
    ):
        """v_i = a_i'M^-1 a_i of every row, and sum_l [Z'W A M^-1]_ll of every factor.

        Parameters
        ----------
        inverse : ndarray
            M^-1 where pairs of entries are.
        weights : ndarray
            W, (n,).
        variance : ndarray
            Filled: v, (n,).
        sums : ndarray
            Filled: (F, K, K), padded to the widest.
        """
        cdef Py_ssize_t i, e, g, start, stop, b, c, f
        cdef double x, y, v
        cdef const Py_ssize_t* pointers = &self.pointers[0]
        cdef const Py_ssize_t* target = self.first_target
        cdef const int* index = self.first_index
        cdef const int* factor = &self.factor[0] if self.q else NULL
        cdef const double* z = self.entries(False)
        cdef const double* a = self.entries(True)
        cdef const double* known = &inverse[0] if inverse.shape[0] else NULL
        cdef double* m = &self.work[0]
        with nogil:
            sums[:] = 0.0
            for i in range(self.n):
                start, stop = pointers[i], pointers[i + 1]
                if self.scalar and stop - start == 2:  # the commonest case
                    e, g = start, start + 1
                    x = known[target[0]] * a[e] + known[target[1]] * a[g]
                    y = known[target[1]] * a[e] + known[target[2]] * a[g]
                    target += 3
                    variance[i] = a[e] * x + a[g] * y
                    sums[factor[index[e]], 0, 0] += z[e] * weights[i] * x
                    sums[factor[index[g]], 0, 0] += z[g] * weights[i] * y
                    continue
                for e in range(start, stop):
                    y = 0.0
                    for g in range(start, e):
                        x = known[target[0]]
                        y += x * a[g]
                        m[g - start] += x * a[e]
                        target += 1
                    m[e - start] = y + known[target[0]] * a[e]
                    target += 1
                v = 0.0
                for e in range(start, stop):
                    x = m[e - start]
                    v += a[e] * x
                    x *= weights[i]
                    f = factor[index[e]]
                    if self.scalar:
                        sums[f, 0, 0] += z[e] * x
                    else:
                        b = self.column[index[e]]
                        for c in range(self.width[f]):
                            sums[f, c, b] += z[e - b + c] * x
                variance[i] = v

    def crosses(
        self, const double[::1] weights, const double[::1, :] x,
        const double[:, ::1] directions, double[:, ::1] out,
    ):
        """Z'W [X, Z directions], in place.

        Parameters
        ----------
        weights : ndarray
            W, (n,).
        x : ndarray
            X, (n, p), by columns.
        directions : ndarray
            Changes of the random effects, (q, G).
        out : ndarray
            Filled: its first p + G columns, (q, R).
        """
        cdef Py_ssize_t i, e, j, n = self.n, p = x.shape[1], more = directions.shape[1]
        cdef Py_ssize_t start, stop, first = 0, last, wide = out.shape[1]
        cdef double y
        cdef const Py_ssize_t* pointers = &self.pointers[0]
        cdef const int* index = self.first_index
        cdef const double* z = self.entries(False)
        cdef const double* w = NULL
        cdef const double* column
        cdef const double* along = NULL
        cdef double* to_first = NULL
        cdef double* to
        cdef double* row
        cdef double[::1] rows = np.empty(AT_ONCE * (p + more) + 1)
        if n:
            w = &weights[0]
        if self.q and wide:
            to_first = &out[0, 0]
        if self.q and more:
            along = &directions[0, 0]
        with nogil:
            out[:, : p + more] = 0.0
            while first < n:
                last = min(first + AT_ONCE, n)
                for j in range(p):
                    column, row = &x[first, j], &rows[j]
                    for i in range(last - first):
                        row[i * (p + more)] = w[first + i] * column[i]
                row = &rows[0]
                for i in range(first, last):
                    start, stop = pointers[i], pointers[i + 1]
                    for j in range(more):
                        y = 0.0
                        for e in range(start, stop):
                            y += z[e] * along[index[e] * more + j]
                        row[p + j] = w[i] * y
                    for e in range(start, stop):
                        y, to = z[e], to_first + index[e] * wide
                        for j in range(p + more):
                            to[j] += y * row[j]
                    row += p + more
                first = last
