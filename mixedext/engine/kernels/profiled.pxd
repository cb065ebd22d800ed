"""A profiled deviance for refits: its terms side by side, and one response of many."""

from mixedext.engine.kernels.newton cimport Function


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
    cdef readonly double dof
    cdef readonly double residual_square
    cdef void set_response(self, Py_ssize_t number) noexcept nogil
    cdef void get_coefficients(self, double* out) noexcept nogil
