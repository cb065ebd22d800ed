"""A step in variances, for other kernels to use without the GIL."""


cdef double variance_step(
    Py_ssize_t n, const double* squared, const double* theta, const double* gradient,
    const double* hessian, double radius, double* work, double* step, double* fall,
) noexcept nogil
