"""The log of a search, for searches to inherit."""


cdef class Records:
    cdef readonly Py_ssize_t n_theta
    cdef bint keep_log
    cdef double* log
    cdef Py_ssize_t log_rows, log_room

    cdef void add(
        self, int method, double deviance, double step, double fall, const double* theta
    ) noexcept nogil
