"""Promising starts along one standard deviation, for other kernels without the GIL."""

from mixedext.kernels.search.newton cimport Newton


cdef Py_ssize_t starts_along(
    Newton search, const double* point, double lowest, const Py_ssize_t[::1] owner,
    Py_ssize_t own, Py_ssize_t axis, const double[::1] sizes, double* found,
) noexcept nogil
