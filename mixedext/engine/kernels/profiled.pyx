"""A profiled deviance for refits: its terms side by side, and one response of many."""


cdef class Profiled(Function):
    """What refits need of a deviance beyond values and derivatives."""

    cdef void set_response(self, Py_ssize_t number) noexcept nogil:
        """Take one of the responses that the function has been given."""
        pass

    cdef void get_coefficients(self, double* out) noexcept nogil:
        """Coefficients of y on the basis of X at the point of the last value, (P - 1,)."""
        pass
