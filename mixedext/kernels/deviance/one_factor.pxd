"""The profiled deviance of one grouping factor, for other kernels."""

from mixedext.kernels.deviance.profiled cimport Entries, Profiled
from mixedext.kernels.lanes cimport lane


cdef struct Levels:
    # Cross-products of the levels of the factor.  Passed by value: through a pointer all
    # would be read from memory again in every loop.
    Py_ssize_t k, p
    const double* gram                # (L, k, k) and ...
    const double* cross               # ... (L, k, p)
    bint split                        # whether these are D and U, and C
    const double* shift               # (p - 1,) times X is taken off y; NULL: nothing is
    const double* weight              # (L,) how often a gram counts; NULL: once


cdef class OneFactor(Profiled):
    cdef const double[:, :, ::1] gram_view
    cdef const double[:, :, ::1] cross_view
    cdef const double[::1] weight_view
    cdef const double[:, ::1] within_view
    cdef const double[::1] shift_view
    cdef const Py_ssize_t[:, ::1] index_view
    cdef const double[::1] value_view
    cdef Py_ssize_t n_levels, n_pairs, n_derivative_sums
    cdef Levels levels
    cdef const double* within
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
    cdef void add_values(
        self, Levels levels, Py_ssize_t n_levels, double sign
    ) noexcept nogil
    cdef void sum_derivatives(self) noexcept nogil
    cdef void add_derivatives(
        self, Levels levels, Py_ssize_t n_levels, double sign
    ) noexcept nogil
    cdef void set_fixed(self) noexcept nogil
    cdef void set_scores(self) noexcept nogil
