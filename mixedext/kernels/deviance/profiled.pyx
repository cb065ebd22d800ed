"""A profiled deviance: terms side by side, the fixed block, and one response of many."""

from libc.math cimport log, sqrt
from libc.string cimport memset

import numpy as np


cdef class Profiled(Function):
    """What deviances of one and of several grouping factors share."""

    cdef void set_lam(self, const double* theta) noexcept nogil:
        cdef Py_ssize_t e
        cdef Entries* template = &self.template
        memset(self.lam, 0, self.k * self.k * sizeof(double))
        for e in range(template.count):
            self.lam[template.row[e] * self.k + template.column[e]] += (
                template.value[e] * theta[template.member[e]]
            )

    cdef bint factor_fixed(self) noexcept nogil:
        """Cholesky factor in the lower triangle of ``fixed_root``; whether it exists."""
        cdef Py_ssize_t p = self.p, i, j, c
        cdef double* root = self.fixed_root
        cdef double x
        for j in range(p):
            for c in range(j):
                root[j * p + j] -= root[j * p + c] * root[j * p + c]
            if not root[j * p + j] > 0.0:
                return False
            root[j * p + j] = sqrt(root[j * p + j])
            for i in range(j + 1, p):
                x = root[i * p + j]
                for c in range(j):
                    x -= root[i * p + c] * root[j * p + c]
                root[i * p + j] = x / root[j * p + j]
        return True

    cdef double deviance(self, double log_det) noexcept nogil:
        """The deviance given log det M, and ``residual_square`` from the factor."""
        cdef Py_ssize_t p = self.p, i
        cdef double fixed_log_det = 0.0, last = self.fixed_root[p * p - 1]
        self.residual_square = last * last
        for i in range(p - 1 if self.reml else 0):
            fixed_log_det += 2.0 * log(self.fixed_root[i * p + i])
        return fixed_log_det + log_det + self.dof * (
            1.0 + log(6.283185307179586 * self.residual_square / self.dof)
        )

    cdef void set_change(self) noexcept nogil:
        """Inverse of the factor, its last row scaled to (-beta', 1)."""
        cdef Py_ssize_t p = self.p, i, j, c
        cdef double* root = self.fixed_root
        cdef double x
        memset(self.change, 0, p * p * sizeof(double))
        for j in range(p):
            for i in range(j, p):
                x = 1.0 if i == j else 0.0
                for c in range(j, i):
                    x -= root[i * p + c] * self.change[c * p + j]
                self.change[i * p + j] = x / root[i * p + i] if i < p - 1 else x
        # the row above divides by nothing: y - X beta itself, not scaled to length one
        self.change[p * p - 1] = 1.0

    # ---- responses ----

    cdef void set_response(self, Py_ssize_t number) noexcept nogil:
        """Take one of the responses that the function has been given."""
        pass

    cdef void get_coefficients(self, double* out) noexcept nogil:
        """Coefficients of y on the basis of X at the point of the last value, (P - 1,)."""
        cdef Py_ssize_t j, p = self.p
        self.set_change()
        for j in range(p - 1):
            out[j] = -self.change[(p - 1) * p + j]

    # ---- from Python ----

    def evaluate(self, theta, bint floor=False):
        """The deviance; infinite where rounding makes the factorization fail."""
        cdef const double[::1] point = np.ascontiguousarray(theta, float)
        cdef double result
        if len(point) != self.n_theta:
            raise ValueError(f"theta of {len(point)} for {self.n_theta} parameters")
        with nogil:
            result = self.value(&point[0], floor)
        return result

    @property
    def fixed(self):
        """Cholesky factor of [X y]'V0^-1 [X y], (P, P), at the last value."""
        cdef Py_ssize_t i, j
        out = np.zeros((self.p, self.p))
        cdef double[:, ::1] view = out
        for i in range(self.p):
            for j in range(i + 1):
                view[i, j] = self.fixed_root[i * self.p + j]
        return out
