"""The likelihood of rows, as a function of their linear predictors, without the GIL."""

from mixedext.kernels.generalized.likelihood_rows cimport Rows, Terms


cdef class RowFamily:
    cdef readonly int kind
    # whether plain rows have a loop that takes several at a time
    cdef readonly bint fast
    cdef int law, link
    cdef double power
    cdef object python
    cdef void terms(
        self, Py_ssize_t n, const double* eta, const Rows* rows, Terms* out
    ) noexcept nogil


cdef Rows read_rows(const double[::1] y, trials, weight, count, double kappa)


cdef double newton_rows(
    RowFamily family, Py_ssize_t n, const double* eta, const Rows* rows, double* slope,
    double* curvature,
) except? -1 nogil
