"""The profiled deviance of one grouping factor, for other kernels."""

from mixedext.engine.kernels.lanes cimport lane
from mixedext.engine.kernels.newton cimport Function


cdef struct Entries:
    # The elements that are not zero of a basis of (K, K) matrices.
    Py_ssize_t count
    const Py_ssize_t* member
    const Py_ssize_t* row
    const Py_ssize_t* column
    const double* value


cdef class OneFactor(Function):
    cdef const double[:, :, ::1] gram_view
    cdef const double[:, :, ::1] cross_view
    cdef const double[::1] weight_view
    cdef const double[:, ::1] within_view
    cdef const double[::1] shift_view
    cdef const Py_ssize_t[:, ::1] index_view
    cdef const double[::1] value_view
    cdef Py_ssize_t n_levels, k, p, n_pairs
    cdef const double* gram
    cdef const double* cross
    cdef const double* weight         # NULL: every level counts once
    cdef const double* within
    cdef const double* shift          # NULL: none
    cdef bint split
    cdef double square
    cdef Entries template
    cdef bint reml
    cdef readonly double dof
    cdef readonly double deviance, log_det, fixed_log_det, residual_square
    cdef char* buffer
    # (lanes) sums over levels
    cdef lane* scratch
    cdef lane* sums
    # (doubles)
    cdef double* total
    cdef double* lam
    cdef double* root                 # (P, P) Cholesky factor of [X y]'V0^-1[X y]
    cdef double* change               # (P, P) its inverse; the last row gives y - X beta
    cdef double* score                # (K, K)
    cdef double* pair_information     # (pairs, pairs)
    cdef double* jacobian             # (n_theta, pairs)
    cdef double* product

    cdef void set_lam(self, const double* theta) noexcept nogil
    cdef void sum_values(self) noexcept nogil
    cdef bint set_fixed(self) noexcept nogil
    cdef void set_change(self) noexcept nogil
    cdef void set_scores(self) noexcept nogil
