"""A function to be minimized, for other kernels to use without the GIL."""


cdef class Function:
    cdef readonly Py_ssize_t n_theta
    # Estimate of the rounding error of the last value.
    cdef readonly double noise
    cdef readonly Py_ssize_t n_values, n_derivatives
    # Whether derivatives are so dear that the search should save the last ones.
    cdef public bint costly
    # Whether the next derivatives may be estimates: far from the minimum they are enough.
    cdef public bint rough
    # Whether the gradient keeps digits that the value has lost: then the search goes on
    # below the noise of the value for as long as the expected fall becomes smaller.
    cdef public bint sharp
    # For each parameter whether it enters by its square alone; None if not known.
    cdef public object squared
    # Set where a Python function has raised; the search then stops.
    cdef bint raised
    cdef double value(self, const double* theta, bint floor) noexcept nogil
    cdef void derivatives(
        self, const double* theta, double* gradient, double* hessian
    ) noexcept nogil


# An array (n,) of the numbers x.
cdef object copied(const double* x, Py_ssize_t n)
