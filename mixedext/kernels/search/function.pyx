"""A function that searches minimize."""

from libc.math cimport INFINITY
from libc.string cimport memcpy

import numpy as np


cdef class Function:
    """What is minimized; ``derivatives`` refer to the point of the last ``value``."""

    cdef double value(self, const double* theta, bint floor) noexcept nogil:
        return INFINITY

    cdef void derivatives(
        self, const double* theta, double* gradient, double* hessian
    ) noexcept nogil:
        pass


cdef object copied(const double* x, Py_ssize_t n):
    out = np.empty(n)
    cdef double[::1] view = out
    memcpy(&view[0], x, n * sizeof(double))
    return out
