"""Looks at a deviance where no search has led: at given points, and along theta."""

from libc.math cimport INFINITY, NAN, sqrt
from libc.string cimport memcpy
from mixedext.kernels.search.newton cimport Newton

import numpy as np

from mixedext import limits
from mixedext.kernels.search.records import METHODS

cdef double PROMISING = limits.PROMISING, NEARLY_LOWEST = limits.NEARLY_LOWEST
cdef double ZERO_SINGULAR_VALUE = limits.ZERO_SINGULAR_VALUE
cdef int _LOOK = METHODS.index("look")


cdef struct Walk:
    const double* point                   # where it sets out, (n_theta,)
    double size, lowest                   # size of the row there, and the deviance
    double last                           # the deviance one step back
    Py_ssize_t own, axis, starts
    bint candidate                        # whether one step back may be a minimum
    double* found


cdef double _value_at(
    Newton search, const Walk* walk, const Py_ssize_t[::1] owner, double size, double* at
) noexcept nogil:
    """The deviance with one size of the row."""
    cdef Py_ssize_t i
    cdef double value
    for i in range(search.n_theta):
        at[i] = walk.point[i]
        if owner[i] == walk.axis:
            at[i] = walk.point[i] * (size / walk.size) if walk.size > 0.0 else 0.0
    if not walk.size > 0.0:
        at[walk.own] = size
    value = search.function.value(at, False)
    search.add(_LOOK, value, 0.0, NAN, at)
    return value


cdef void _pass(Walk* walk, const double* at, double value, Py_ssize_t n) noexcept nogil:
    """One step of the walk; a minimum one step back becomes a start."""
    if walk.candidate and walk.last <= value:
        walk.starts += 1
    walk.candidate = value < walk.last and value < walk.lowest + PROMISING
    if walk.candidate:
        memcpy(walk.found + walk.starts * n, at, n * sizeof(double))
    walk.last = value


cdef Py_ssize_t starts_along(
    Newton search, const double* point, double lowest, const Py_ssize_t[::1] owner,
    Py_ssize_t own, Py_ssize_t axis, const double[::1] sizes, double* found,
) noexcept nogil:
    """Promising minima beside ``point`` along one standard deviation, a row of lam.

    So is the point with the row's correlations of the other sign.  The point, with the
    deviance ``lowest``, is one of the row of sizes; where two neighbours are hardly above
    it, their geometric mean is another.  ``found`` (M + 4, n_theta) gets the starts; their
    number, up to M + 2, is returned.
    """
    cdef Py_ssize_t n = search.n_theta, count = sizes.shape[0], i, j
    cdef double size = 0.0, before = 0.0, value, middle
    cdef double* at = found + (count + 2) * n
    cdef double* between = at + n
    cdef bint passed = False, turned = False, zero
    cdef Walk walk
    for i in range(n):
        if owner[i] == axis:
            size += point[i] * point[i]
    walk.size, walk.point, walk.lowest, walk.found = sqrt(size), point, lowest, found
    walk.own, walk.axis, walk.starts = own, axis, 0
    walk.last, walk.candidate = INFINITY, False
    zero = walk.size < ZERO_SINGULAR_VALUE  # but for rounding
    for j in range(count + 1):
        if not passed and (j == count or walk.size <= sizes[j]):
            passed = True
            if before > 0.0 and not zero and walk.last < lowest + NEARLY_LOWEST:
                middle = sqrt(before * walk.size)
                value = _value_at(search, &walk, owner, middle, between)
                _pass(&walk, between, value, n)
            if walk.candidate and walk.last <= lowest:
                walk.starts += 1
            walk.candidate, walk.last = False, lowest
            before = 0.0 if zero else walk.size
        if j == count or (sizes[j] == 0.0 and zero):
            continue  # the end, or the point itself
        value = _value_at(search, &walk, owner, sizes[j], at)
        if max(value, walk.last) < lowest + NEARLY_LOWEST and before > 0.0:
            middle = sqrt(before * sizes[j])
            _pass(
                &walk, between, _value_at(search, &walk, owner, middle, between), n
            )
        _pass(&walk, at, value, n)
        before = sizes[j]
        if search.function.raised:
            return 0
    if walk.candidate:
        walk.starts += 1
    at = found + walk.starts * n
    for i in range(n):
        at[i] = point[i]
        if owner[i] == axis and i != own and point[i] != 0.0:
            at[i], turned = -point[i], True
    if turned:
        value = search.function.value(at, False)
        if search.function.raised:
            return 0
        search.add(_LOOK, value, 0.0, NAN, at)
        if value < lowest + PROMISING:
            walk.starts += 1
    return walk.starts


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
    cdef double[:, ::1] found = np.empty((size.shape[1] + 4, search.n_theta))
    for axis in range(size.shape[0]):
        with nogil:
            count = starts_along(
                search, &at[0], lowest, owners, owns[axis], axis, size[axis], &found[0, 0]
            )
        if search.function.raised:
            search.function.reraise()  # a function written in Python
        out += [np.array(found[i]) for i in range(count)]
    return out
