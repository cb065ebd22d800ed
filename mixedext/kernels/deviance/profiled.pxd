"""A profiled deviance: terms side by side, the fixed block, and one response of many."""

from mixedext.kernels.search.function cimport Function


cdef struct Entries:
    # The elements that are not zero of a basis of (K, K) matrices.
    Py_ssize_t count
    const Py_ssize_t* member
    const Py_ssize_t* row
    const Py_ssize_t* column
    const double* value


cdef class Profiled(Function):
    cdef Py_ssize_t k                 # columns of all terms, side by side
    cdef Py_ssize_t p                 # columns of [X y]
    cdef Entries template             # lam = sum_r theta_r B_r of all terms
    cdef bint reml
    cdef readonly double dof
    # at the last theta, in memory of the subclass
    cdef double* lam                  # (K, K)
    cdef double* fixed_root           # (P, P) factor of [X y]'V0^-1 [X y]
    cdef double* change               # (P, P) its inverse; the last row gives y - X beta
    cdef readonly double residual_square

    cdef void set_lam(self, const double* theta) noexcept nogil
    cdef bint factor_fixed(self) noexcept nogil
    cdef double deviance(self, double log_det) noexcept nogil
    cdef void set_change(self) noexcept nogil
    cdef void set_response(self, Py_ssize_t number) noexcept nogil
    cdef void get_coefficients(self, double* out) noexcept nogil
