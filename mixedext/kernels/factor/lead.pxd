"""Elimination of the leading grouping factor, for other kernels."""

from mixedext.kernels.factor.layout cimport Links


cdef void subtract_products(
    Links links, const double[:, ::1] scaled, Py_ssize_t first, Py_ssize_t last,
    double[:, ::1] gram,
) noexcept nogil

cdef void add_quadratics(
    Links links, const double[:, ::1] edge, Py_ssize_t first, Py_ssize_t last,
    const double[:, ::1] inverse, bint by_level, double[::1] work, double[:, :, ::1] out,
) noexcept nogil
