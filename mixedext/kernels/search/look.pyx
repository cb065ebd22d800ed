"""Looks at a deviance where no search has led: at given points, and along theta."""

from libc.math cimport INFINITY, NAN, sqrt
from libc.string cimport memcpy
from mixedext.kernels.search.newton cimport Newton

import numpy as np

from mixedext import limits
from mixedext.kernels.search.records import METHODS

cdef double PROMISING = limits.PROMISING
cdef int _LOOK = METHODS.index("look")


cdef Py_ssize_t starts_along(
    Newton search, const double* point, double lowest, const Py_ssize_t[::1] owner,
    Py_ssize_t own, Py_ssize_t axis, const double[::1] sizes, double* found,
) noexcept nogil:
    """Promising minima beside ``point`` along one standard deviation, a row of lam.

    So is the point with the row's correlations of the other sign.  The point, with the
    deviance ``lowest``, is one of the row of sizes.  ``found`` (M + 2, n_theta) gets the
    starts; their number is returned.
    """
    cdef Py_ssize_t n = search.n_theta, count = sizes.shape[0], i, j, starts = 0
    cdef double size = 0.0, value, last = INFINITY
    cdef double* at
    cdef bint passed = False, candidate = False
    for i in range(n):
        if owner[i] == axis:
            size += point[i] * point[i]
    size = sqrt(size)
    for j in range(count):
        if not passed and size <= sizes[j]:
            passed = True
            if candidate and last <= lowest:
                starts += 1
            candidate, last = False, lowest
        at = found + starts * n if not candidate else found + (starts + 1) * n
        for i in range(n):
            at[i] = point[i]
            if owner[i] == axis:
                at[i] = point[i] * (sizes[j] / size) if size > 0.0 else 0.0
        if not size > 0.0:
            at[own] = sizes[j]
        value = search.function.value(at, False)
        if search.function.raised:
            return 0
        search.add(_LOOK, value, 0.0, NAN, at)
        if candidate:
            if last <= value:
                starts += 1
            else:
                memcpy(found + starts * n, at, n * sizeof(double))
        candidate = value < last and value < lowest + PROMISING
        last = value
    if candidate and (passed or last <= lowest):
        starts += 1
    # correlations of the other sign
    at, candidate = found + starts * n, False
    for i in range(n):
        at[i] = point[i]
        if owner[i] == axis and i != own and point[i] != 0.0:
            at[i], candidate = -point[i], True
    if candidate:
        value = search.function.value(at, False)
        if search.function.raised:
            return 0
        search.add(_LOOK, value, 0.0, NAN, at)
        if value < lowest + PROMISING:
            starts += 1
    return starts


def look(Newton search, points):
    """The deviance at points (G, n_theta), infinite where it cannot be computed."""
    cdef const double[:, ::1] at = np.ascontiguousarray(points, float)
    if at.shape[1] != search.n_theta:
        raise ValueError(f"points of {at.shape[1]} for {search.n_theta} parameters")
    out = np.empty(len(at))
    cdef double[::1] value = out
    cdef Py_ssize_t g
    with nogil:
        for g in range(at.shape[0]):
            value[g] = search.function.value(&at[g, 0], False)
            if search.function.raised:
                break
            search.add(_LOOK, value[g], 0.0, NAN, &at[g, 0])
    if search.function.raised:
        search.function.reraise()  # a function written in Python
    return out


def look_along(Newton search, point, double lowest, owner, own, sizes):
    """Promising starts along each of some sizes, (S, n_theta).

    Parameters
    ----------
    point : ndarray
        The minimum found, (n_theta,).
    lowest : float
        The deviance there.
    owner : ndarray of intp
        The size that each element of theta belongs to, (n_theta,).
    own : ndarray of intp
        The element that alone makes it up where it is zero, (A,).
    sizes : ndarray
        The sizes to look at, ascending, (A, M).
    """
    cdef const double[::1] at = np.ascontiguousarray(point, float)
    cdef const double[:, ::1] size = sizes
    cdef const Py_ssize_t[::1] owners = owner, owns = own
    cdef Py_ssize_t axis, count
    out = []
    cdef double[:, ::1] found = np.empty((size.shape[1] + 2, search.n_theta))
    for axis in range(size.shape[0]):
        with nogil:
            count = starts_along(
                search, &at[0], lowest, owners, owns[axis], axis, size[axis], &found[0, 0]
            )
        if search.function.raised:
            search.function.reraise()  # a function written in Python
        out += [np.array(found[i]) for i in range(count)]
    return out
