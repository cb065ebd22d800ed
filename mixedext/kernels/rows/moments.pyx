"""Sums over the levels of one grouping factor that its moment equations need."""

from libc.stdlib cimport free, malloc
from libc.string cimport memset
from mixedext.kernels.lanes cimport LANES, ZERO, cloned_int, lane, load_levels

import numpy as np


cdef enum:
    BLOCK = 512


cdef cloned_int _sum_moments(
    Py_ssize_t k, Py_ssize_t p, Py_ssize_t start, Py_ssize_t stop,
    const double* gram, const double* cross, const double* weight,
    lane* scratch, lane* sums,
) noexcept nogil:
    """Add A, A (x) A, (c_X c_X') (x) A by pairs, and vec(c) vec(c)', to ``sums``."""
    cdef Py_ssize_t n_pairs = k * (k + 1) // 2, size = k * p
    cdef lane* a = scratch
    cdef lane* c = a + k * k
    cdef lane* pair = c + size
    cdef lane* weighted = pair + n_pairs
    cdef lane* sum_a = sums
    cdef lane* sum_aa = sum_a + n_pairs
    cdef lane* sum_xa = sum_aa + n_pairs * n_pairs
    cdef lane* sum_cc = sum_xa + n_pairs * n_pairs
    cdef double* flat
    cdef Py_ssize_t group, level, i, j, m, t, at
    cdef lane x
    for group in range((stop - start + LANES - 1) // LANES):
        level = start + group * LANES
        load_levels(gram, k * k, level, stop, k * k, a)
        load_levels(cross, size, level, stop, size, c)
        at = 0
        for i in range(k):
            for j in range(i + 1):
                pair[at] = weighted[at] = a[i * k + j]
                if weight != NULL:
                    flat = <double*>&weighted[at]
                    for t in range(min(LANES, stop - level)):
                        flat[t] *= weight[level + t]
                sum_a[at] += weighted[at]
                at += 1
        at = 0
        for i in range(k):
            for j in range(i + 1):
                x = ZERO
                for m in range(p - 1):
                    x += c[i * p + m] * c[j * p + m]
                for m in range(n_pairs):
                    sum_xa[at * n_pairs + m] += x * pair[m]
                    sum_aa[at * n_pairs + m] += weighted[at] * pair[m]
                at += 1
        at = 0
        for i in range(size):
            for j in range(i + 1):
                sum_cc[at] += c[i] * c[j]
                at += 1
    return 1


def level_moments(
    const double[:, :, ::1] gram,     # in: (L, K, K) Z_l'Z_l
    const double[:, :, ::1] cross,    # in: (L, K, P) Z_l'[X y]
    weight,                           # in: (L,) how often a gram counts, or None
):
    """Sums over levels, pairs of columns (a, b <= a) in the order of the lower triangle.

    Returns
    -------
    grams : ndarray
        sum A_l, (pairs,).
    squares, projections : ndarray
        sum A_l (x) A_l and sum c_X c_X' (x) A_l, (pairs, pairs).
    products : ndarray
        sum vec(c_l) vec(c_l)', (K P, K P).
    """
    cdef Py_ssize_t n_levels = gram.shape[0], k = gram.shape[1], p = cross.shape[2]
    cdef Py_ssize_t n_pairs = k * (k + 1) // 2, size = k * p, block, i, j, t
    cdef Py_ssize_t n_sums = n_pairs + 2 * n_pairs * n_pairs + size * (size + 1) // 2
    cdef Py_ssize_t n_scratch = k * k + size + 2 * n_pairs
    cdef const double[::1] weight_view
    cdef const double* w = NULL
    if weight is not None:
        weight_view = weight
        w = &weight_view[0]
    total_array = np.zeros(n_sums)
    cdef double[::1] total = total_array
    cdef char* buffer = <char*>malloc((n_scratch + n_sums + 1) * sizeof(lane))
    if buffer == NULL:
        raise MemoryError("no memory for the moments")
    cdef lane* scratch = <lane*>(
        (<size_t>buffer + sizeof(lane) - 1) // sizeof(lane) * sizeof(lane)
    )
    cdef lane* sums = scratch + n_scratch
    cdef double* flat = <double*>sums
    with nogil:
        for block in range((n_levels + BLOCK - 1) // BLOCK):
            memset(sums, 0, n_sums * sizeof(lane))
            _sum_moments(
                k, p, block * BLOCK, min((block + 1) * BLOCK, n_levels),
                &gram[0, 0, 0], &cross[0, 0, 0], w, scratch, sums,
            )
            for i in range(n_sums):
                for t in range(LANES):
                    total[i] += flat[i * LANES + t]
        free(buffer)
    products_array = np.empty((size, size))
    cdef double[:, ::1] products = products_array
    t = n_pairs + 2 * n_pairs * n_pairs
    for i in range(size):
        for j in range(i + 1):
            products[i, j] = products[j, i] = total[t]
            t += 1
    square = n_pairs * n_pairs
    return (
        total_array[:n_pairs],
        total_array[n_pairs : n_pairs + square].reshape(n_pairs, n_pairs),
        total_array[n_pairs + square : n_pairs + 2 * square].reshape(n_pairs, n_pairs),
        products_array,
    )
