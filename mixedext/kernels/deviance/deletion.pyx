"""The deviance of one grouping factor without some of the rows, one set after the other.

A set touches some levels.  The sums over all levels (of pseudo-levels, where pooled) lose
those of the levels touched and gain those of what is left of them; W (see ``one_factor``)
changes by the residuals of these levels, which are summed over their rows.  A level of
which
no row is left adds nothing, as if it had never been.
"""

from libc.math cimport isfinite
from libc.string cimport memcpy, memset
from mixedext.kernels.deviance.one_factor cimport Levels, OneFactor
from mixedext.kernels.triangle cimport split_level

import numpy as np

cdef double EPSILON = 2.220446049250313e-16


cdef class OneFactorDeletion(OneFactor):
    """The profiled deviance of what sets of rows leave; a set is taken as a response is.

    Arguments are those of ``OneFactor``, which must be ``split``, of all rows.
    """

    cdef const Py_ssize_t[::1] pointers, kept_pointers
    cdef const double[:, :, ::1] triangle, half, kept_triangle, kept_half
    cdef const double[:, :, ::1] within_units
    cdef const double[::1] dof_units
    cdef double[::1] before           # diagonal of [X y]'V0^-1 [X y] of all rows
    cdef double[::1] whole            # diagonal of W of all rows
    cdef Py_ssize_t unit

    def without(
        self, *, pointers, triangle, half, kept_pointers, kept_triangle, kept_half,
        within, dof
    ):
        """Take the sets of rows.

        Parameters
        ----------
        pointers : ndarray
            (G + 1,) levels touched before each set.
        triangle, half : ndarray
            D and U, and C, of these levels with all their rows.
        kept_pointers, kept_triangle, kept_half : ndarray
            The same for what is left of those of which something is.
        within : ndarray
            (G, P, P) W.
        dof : ndarray
            (G,) degrees of freedom.
        """
        self.pointers, self.triangle, self.half = pointers, triangle, half
        self.kept_pointers, self.kept_triangle = kept_pointers, kept_triangle
        self.kept_half, self.within_units, self.dof_units = kept_half, within, dof
        self.before = np.empty(self.p)
        self.whole = np.diag(np.asarray(self.within_view)).copy()
        self.unit = -1

    def take(self, Py_ssize_t number):
        """Take one of the sets; compiled loops do so themselves."""
        self.set_response(number)

    cdef void set_response(self, Py_ssize_t number) noexcept nogil:
        self.unit = number
        self.within = &self.within_units[number, 0, 0]
        self.dof = self.dof_units[number]

    cdef Levels touched(
        self, const double[:, :, ::1] triangle, const double[:, :, ::1] half,
        Py_ssize_t first, Py_ssize_t last,
    ) noexcept nogil:
        cdef Levels levels = self.levels
        levels.weight, levels.split = NULL, True
        if last > first:
            levels.gram, levels.cross = &triangle[first, 0, 0], &half[first, 0, 0]
        return levels

    cdef void sum_values(self) noexcept nogil:
        cdef Py_ssize_t first, last, j
        OneFactor.sum_values(self)
        for j in range(self.p):
            self.before[j] = self.whole[j] + self.total[j * (j + 1) // 2 + j]
        first, last = self.pointers[self.unit], self.pointers[self.unit + 1]
        self.add_values(
            self.touched(self.triangle, self.half, first, last), last - first, -1.0
        )
        first, last = self.kept_pointers[self.unit], self.kept_pointers[self.unit + 1]
        self.add_values(
            self.touched(self.kept_triangle, self.kept_half, first, last), last - first, 1.0
        )

    cdef void sum_derivatives(self) noexcept nogil:
        cdef Py_ssize_t first, last
        OneFactor.sum_derivatives(self)
        first, last = self.pointers[self.unit], self.pointers[self.unit + 1]
        self.add_derivatives(
            self.touched(self.triangle, self.half, first, last), last - first, -1.0
        )
        first, last = self.kept_pointers[self.unit], self.kept_pointers[self.unit + 1]
        self.add_derivatives(
            self.touched(self.kept_triangle, self.kept_half, first, last), last - first, 1.0
        )

    cdef double value(self, const double* theta, bint floor) noexcept nogil:
        # a set that holds nearly all of a column leaves a small difference of large sums
        cdef double deviance = OneFactor.value(self, theta, floor), x
        cdef Py_ssize_t j, p = self.p
        if isfinite(deviance):
            for j in range(p):
                x = self.fixed_root[j * p + j]
                self.noise = max(self.noise, self.dof * EPSILON * self.before[j] / (x * x))
        return deviance


def levels_left(
    const Py_ssize_t[::1] pointers,        # in: (G + 1,) rows before each set
    const Py_ssize_t[::1] rows,            # in: (M,) rows of the sets
    *,
    const Py_ssize_t[::1] level_pointers,  # in: (G + 1,) levels touched before each set
    const Py_ssize_t[::1] level,           # in: (T,) the levels touched
    const Py_ssize_t[::1] first,           # in: (L + 1,) rows before each level
    const Py_ssize_t[::1] order,           # in: (n,) rows by level
    const double[:, ::1] z,                # in: (n, K)
    const double[:, ::1] fixed,            # in: (n, P) [X y]
    const double[::1] shift,               # in: (P - 1,) see ``Within``
    const double[:, :, ::1] triangle,      # in: (L, K, K) D and U of all rows
    const double[:, :, ::1] half,          # in: (L, K, P) C of all rows
    Py_ssize_t[::1] kept_pointers,         # out: (G + 1,)
    double[:, :, ::1] kept_triangle,       # out: (T, K, K) of what is left, from the first
    double[:, :, ::1] kept_half,           # out: (T, K, P)
    double[:, :, ::1] within,              # out: (G, P, P), += the change of W
):
    """Levels of which some rows are left, and what W changes by, for every set of rows."""
    cdef Py_ssize_t k = z.shape[1], p = fixed.shape[1], g, t, l, i, row, a, b, at = 0, count
    cdef unsigned char[::1] gone = np.zeros(order.shape[0], np.uint8)
    cdef double[:, ::1] gram = np.empty((k, k)), cross = np.empty((k, p))
    cdef double[::1] q = np.empty(k), rest = np.empty(p)
    cdef double* d
    cdef double* c
    kept_pointers[0] = 0
    with nogil:
        for g in range(pointers.shape[0] - 1):
            for i in range(pointers[g], pointers[g + 1]):
                gone[rows[i]] = 1
            for t in range(level_pointers[g], level_pointers[g + 1]):
                l, count = level[t], 0
                gram[:, :] = 0.0
                cross[:, :] = 0.0
                for i in range(first[l], first[l + 1]):
                    row = order[i]
                    add_residual(
                        &z[row, 0], &fixed[row, 0], k, p, &shift[0] if p > 1 else NULL,
                        &triangle[l, 0, 0], &half[l, 0, 0], &q[0], &rest[0], -1.0,
                        &within[g, 0, 0],
                    )
                    if gone[row]:
                        continue
                    count += 1
                    for a in range(k):
                        for b in range(k):
                            gram[a, b] += z[row, a] * z[row, b]
                        for b in range(p):
                            cross[a, b] += z[row, a] * fixed[row, b]
                if not count:
                    continue
                d, c = &kept_triangle[at, 0, 0], &kept_half[at, 0, 0]
                memset(d, 0, k * k * sizeof(double))
                split_level(&gram[0, 0], &cross[0, 0], k, p, d, c)
                at += 1
                for i in range(first[l], first[l + 1]):
                    row = order[i]
                    if not gone[row]:
                        add_residual(
                            &z[row, 0], &fixed[row, 0], k, p,
                            &shift[0] if p > 1 else NULL, d, c, &q[0], &rest[0], 1.0,
                            &within[g, 0, 0],
                        )
            kept_pointers[g + 1] = at
            for i in range(pointers[g], pointers[g + 1]):
                gone[rows[i]] = 0
            for a in range(p):
                for b in range(a):
                    within[g, b, a] = within[g, a, b]


cdef void add_residual(
    const double* z, const double* fixed, Py_ssize_t k, Py_ssize_t p, const double* shift,
    const double* triangle, const double* half, double* q, double* rest, double sign,
    double* out,
) noexcept nogil:
    """Squares of what Z of its level leaves of one row of [X, y - X shift]."""
    cdef Py_ssize_t a, c, j
    cdef double x
    memcpy(rest, fixed, p * sizeof(double))
    for a in range(k):  # q = U^-T z: orthogonal columns, of squares D
        x = z[a]
        for c in range(a):
            x -= triangle[c * k + a] * q[c]
        q[a] = x
        if triangle[a * k + a] == 0.0:
            continue
        x /= triangle[a * k + a]
        for j in range(p):
            rest[j] -= x * half[a * p + j]
    for j in range(p - 1):
        rest[p - 1] -= shift[j] * rest[j]
    for j in range(p):
        for c in range(j + 1):
            out[j * p + c] += sign * rest[j] * rest[c]
