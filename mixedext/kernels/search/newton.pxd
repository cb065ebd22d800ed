"""The search, for other kernels to use without the GIL."""

from mixedext.kernels.search.function cimport Function
from mixedext.kernels.search.records cimport Records


cdef class Newton(Records):
    cdef Function function
    cdef readonly double deviance
    # Fall still to be expected after a last step that no derivatives followed; else < 0.
    cdef readonly double remainder
    cdef double* buffer
    cdef double* theta
    cdef double* trial
    cdef double* step
    cdef double* gradient
    cdef double* hessian
    cdef double* before
    cdef double* secant_step
    cdef double* secant_change
    cdef double* model
    cdef double* factor
    cdef double* inverse
    cdef double* newton_step
    cdef double* vector
    cdef double* eigenvalue
    cdef double* slope
    cdef double* along
    cdef double* work
    cdef double* mixed
    cdef double* squared
    cdef double* unit
    cdef double* given
    cdef int work_size
    # The minimum that another is to beat, and whether the last search was led to it.
    cdef double* known
    cdef bint has_known
    cdef readonly bint returned
    # Whether the last search ended because the noise of the deviance led it.
    cdef readonly bint led_by_noise
    cdef bint has_secant, definite, decomposed, way_down
    cdef double decrement, largest, fall

    cdef void set_units(self, const double* theta) noexcept nogil
    cdef void leave_units(self, const double* theta, double* out) noexcept nogil
    cdef void enter_units(self) noexcept nogil
    cdef double renew_units(self, double radius) noexcept nogil
    cdef double value_at(self, const double* theta) noexcept nogil
    cdef void take_derivatives(self) noexcept nogil
    cdef int decompose(self, const double* matrix, double* vector) noexcept nogil
    cdef bint corrected(self) noexcept nogil
    cdef bint factorize(self, double* smallest) noexcept nogil
    cdef void remember(self, const double* theta) noexcept nogil
    cdef bint leads_back(self, double lowest) noexcept nogil
    cdef int set_model(self, bint secant) noexcept nogil
    cdef int spectrum(self) noexcept nogil
    cdef double set_step(self, double radius) noexcept nogil
    cdef double set_variance_step(self, double radius) noexcept nogil
    cdef bint finished(self, double ratio, double last, double tolerance) noexcept nogil
    cdef int search(
        self, const double* start, Py_ssize_t max_iterations, double to_beat
    ) noexcept nogil
    cdef int search_in_units(
        self, Py_ssize_t max_iterations, double to_beat
    ) noexcept nogil
