"""The profiled deviance of one grouping factor, for other kernels."""

from mixedext.kernels.lanes cimport lane
from mixedext.kernels.deviance.profiled cimport Entries, Profiled


cdef class OneFactor(Profiled):
    cdef const double[:, :, ::1] gram_view
    cdef const double[:, :, ::1] cross_view
    cdef const double[::1] weight_view
    cdef const double[:, ::1] within_view
    cdef const double[::1] shift_view
    cdef const Py_ssize_t[:, ::1] index_view
    cdef const double[::1] value_view
    cdef Py_ssize_t n_levels, n_pairs
    cdef const double* gram
    cdef const double* cross
    cdef const double* weight         # NULL: every level counts once
    cdef const double* within
    cdef const double* shift          # NULL: none
    cdef bint split
    cdef double square
    cdef double log_det
    cdef char* buffer
    # (lanes) sums over levels
    cdef lane* scratch
    cdef lane* sums
    # (doubles)
    cdef double* total
    cdef double* score                # (K, K)
    cdef double* pair_information     # (pairs, pairs)
    cdef double* jacobian             # (n_theta, pairs)
    cdef double* product

    # responses to be taken: C, their rows of W, and where both go
    cdef const double[:, :, ::1] responses
    cdef const double[:, ::1] response_within
    cdef double[:, :, ::1] half_changed
    cdef double[:, ::1] within_changed

    cdef void sum_values(self) noexcept nogil
    cdef void set_fixed(self) noexcept nogil
    cdef void set_scores(self) noexcept nogil
