from mixedext.kernels.generalized.likelihood_rows cimport Rows, Terms


cdef enum:
    FAST_LOGIT = 1
    FAST_POISSON = 2


cdef bint fast_terms(
    int kind, Py_ssize_t n, const double* eta, const Rows* rows, Terms* out
) noexcept nogil
