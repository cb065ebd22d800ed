"""Levels that share their gram Z_l'Z_l: found by hashing, their products pooled."""

from libc.math cimport fabs
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy
from mixedext.kernels.triangle cimport split_level

import numpy as np

# Grams agree if all elements do within this share of sqrt(A_aa A_bb).
cdef double AGREEMENT = 1e-14


cdef inline uint64_t _hash(const double* gram, Py_ssize_t k) noexcept nogil:
    # Rounding to float keeps 24 bits: neighbours on the two sides of an edge fall into
    # different classes, which costs time and nothing else.
    cdef uint64_t h = 1469598103934665603, factor = 1099511628211
    cdef Py_ssize_t a
    cdef uint32_t bits
    cdef float x
    for a in range(k):
        x = <float>gram[a * k + a]
        memcpy(&bits, &x, sizeof(float))
        h = (h ^ bits) * factor
    return h ^ (h >> 29)


cdef inline bint _same(const double* a, const double* b, Py_ssize_t k) noexcept nogil:
    # |a_ij - b_ij| within the tolerance of sqrt(a_ii a_jj)
    cdef Py_ssize_t i, j
    cdef double d
    for i in range(k):
        for j in range(i + 1):
            d = (a[i * k + j] - b[i * k + j]) / AGREEMENT
            if d * d > fabs(a[i * k + i] * a[j * k + j]):
                return False
    return True


def classify_levels(const double[:, :, ::1] gram, Py_ssize_t most):
    """Classes of levels with the same gram; None if there are more than ``most``.

    Parameters
    ----------
    gram : ndarray
        (L, K, K)
    most : int
        Classes beyond which pooling does not pay.

    Returns
    -------
    label, first : ndarray
        Class of every level, and the first level of every class.
    """
    cdef Py_ssize_t n_levels = gram.shape[0], k = gram.shape[1], level, other
    cdef Py_ssize_t room = 1, count = 0, slot
    while room < 4 * most + 4:
        room *= 2
    table_array = np.full(room, -1, np.intp)
    label_array = np.empty(n_levels, np.intp)
    first_array = np.empty(most, np.intp)
    cdef Py_ssize_t[::1] table = table_array
    cdef Py_ssize_t[::1] label = label_array
    cdef Py_ssize_t[::1] first = first_array
    with nogil:
        for level in range(n_levels):
            slot = <Py_ssize_t>(_hash(&gram[level, 0, 0], k) & <uint64_t>(room - 1))
            while True:
                other = table[slot]
                if other < 0:
                    if count == most:
                        count += 1
                        break
                    table[slot], first[count], label[level] = count, level, count
                    count += 1
                    break
                if _same(&gram[first[other], 0, 0], &gram[level, 0, 0], k):
                    label[level] = other
                    break
                slot = (slot + 1) & (room - 1)
            if count > most:
                break
    return None if count > most else (label_array, first_array[:count])


def pooled_products(
    const Py_ssize_t[::1] label,      # in: (L,)
    Py_ssize_t n_classes,
    const double[:, :, ::1] gram,     # in: (L, k, k) = U'D U
    const double[:, :, ::1] cross,    # in: (L, k, P)
):
    """Sum of vec(C) vec(C)', C = U^-T cross, over every class, (classes, k P, k P)."""
    cdef Py_ssize_t k = gram.shape[1], p = cross.shape[2], width = k * p
    cdef Py_ssize_t level, i, j, c
    cdef double x
    out_array, scratch = np.zeros((n_classes, width, width)), np.empty(k * k + width)
    cdef double[:, :, ::1] out = out_array
    cdef double[::1] view = scratch
    cdef double* triangle = &view[0]
    cdef double* row = triangle + k * k
    with nogil:
        for level in range(gram.shape[0]):
            c = label[level]
            split_level(&gram[level, 0, 0], &cross[level, 0, 0], k, p, triangle, row)
            for i in range(width):
                x = row[i]
                for j in range(i + 1):
                    out[c, i, j] += x * row[j]
        for c in range(n_classes):
            for i in range(width):
                for j in range(i):
                    out[c, j, i] = out[c, i, j]
    return out_array
