"""Elimination of the leading grouping factor, for other kernels."""


cdef void subtract_products(
    const Py_ssize_t[::1] link_pointers,
    const Py_ssize_t[::1] link_index,
    const Py_ssize_t[::1] column_pointers,
    const Py_ssize_t[::1] column_link,
    const Py_ssize_t[::1] column_level,
    const double[:, ::1] scaled,
    Py_ssize_t first, Py_ssize_t last,
    double[:, ::1] gram,
) noexcept nogil

cdef void add_quadratics(
    const Py_ssize_t[::1] link_pointers,
    const Py_ssize_t[::1] link_index,
    const Py_ssize_t[::1] column_pointers,
    const Py_ssize_t[::1] column_link,
    const Py_ssize_t[::1] column_level,
    const double[:, ::1] edge,
    Py_ssize_t first, Py_ssize_t last,
    const double[:, ::1] inverse,
    bint by_level,
    double[::1] work,
    double[:, :, ::1] out,
) noexcept nogil
