"""The search, for other kernels to use without the GIL."""

from mixedext.kernels.search.function cimport Function
from mixedext.kernels.search.quadratic cimport QuadraticModel


cdef class Newton(QuadraticModel):
    cdef Function function
    cdef readonly double deviance
    # Fall still to be expected after a last step that no derivatives followed; else < 0.
    cdef readonly double remainder
    cdef double* own                # one block for those that follow
    cdef double* trial
    cdef double* before
    cdef double* mixed
    cdef double* squared
    cdef double* unit
    cdef double* given
    # The minimum that another is to beat, and whether the last search was led to it.
    cdef double* known
    cdef bint has_known
    cdef readonly bint returned
    # Whether the last search ended because the noise of the deviance led it.
    cdef readonly bint led_by_noise
    cdef bint has_secant

    cdef void set_units(self, const double* theta) noexcept nogil
    cdef void leave_units(self, const double* theta, double* out) noexcept nogil
    cdef void enter_units(self) noexcept nogil
    cdef double renew_units(self, double radius) noexcept nogil
    cdef double value_at(self, const double* theta) noexcept nogil
    cdef void take_derivatives(self) noexcept nogil
    cdef void remember(self, const double* theta) noexcept nogil
    cdef bint leads_back(self, double lowest) noexcept nogil
    cdef double set_variance_step(self, double radius) noexcept nogil
    cdef bint finished(self, double ratio, double last, double tolerance) noexcept nogil
    cdef int search(
        self, const double* start, Py_ssize_t max_iterations, double to_beat
    ) noexcept nogil
    cdef int search_in_units(
        self, Py_ssize_t max_iterations, double to_beat
    ) noexcept nogil
