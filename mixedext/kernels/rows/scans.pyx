"""Scans of the rows as they come: integer labels to codes, extremes of columns."""

from libc.math cimport INFINITY
from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)

ctypedef fused integer:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t

ctypedef fused real:
    float
    double


def mark_present(const integer[:] labels, integer low, unsigned char[::1] present):
    """Set present[v - low] for each label v (n,); ``present`` (high - low + 1,)."""
    cdef Py_ssize_t i, n = labels.shape[0]
    cdef int64_t start = <int64_t>low
    with nogil:
        for i in range(n):
            present[<int64_t>labels[i] - start] = 1


def map_labels(
    const integer[:] labels, integer low, const int32_t[::1] rank, int32_t[::1] codes
):
    """codes[i] = rank[labels[i] - low], both (n,); ``rank`` (high - low + 1,)."""
    cdef Py_ssize_t i, n = labels.shape[0]
    cdef int64_t start = <int64_t>low
    with nogil:
        for i in range(n):
            codes[i] = rank[<int64_t>labels[i] - start]


def map_codes(const integer[:] old, const int32_t[::1] rank, int32_t[::1] codes):
    """codes[i] = rank[old[i]], both (n,), or -1 where the old code is negative."""
    cdef Py_ssize_t i, n = old.shape[0]
    cdef int64_t code
    with nogil:
        for i in range(n):
            code = <int64_t>old[i]
            codes[i] = rank[code] if code >= 0 else -1


def pair_codes(
    const int32_t[::1] a, const int32_t[::1] b, int64_t width, int64_t[::1] product
):
    """product[i] = a[i] width + b[i], all (n,), or -1 where either code is negative."""
    cdef Py_ssize_t i, n = a.shape[0]
    with nogil:
        for i in range(n):
            if a[i] < 0 or b[i] < 0:
                product[i] = -1
            else:
                product[i] = a[i] * width + b[i]


def column_extremes(const real[:, :] x, double[::1] low, double[::1] high):
    """Least and greatest value (k,) of columns x (n, k); NaN where one is not finite."""
    cdef Py_ssize_t i, j, first, count, n = x.shape[0], k = x.shape[1]
    cdef real value
    # eight columns at a time
    cdef real least[8]
    cdef real most[8]
    cdef real poison[8]
    with nogil:
        for first in range(0, k, 8):
            count = min(8, k - first)
            for j in range(count):
                least[j] = INFINITY
                most[j] = -INFINITY
                poison[j] = 0
            for i in range(n):
                for j in range(count):
                    value = x[i, first + j]
                    least[j] = value if value < least[j] else least[j]
                    most[j] = value if value > most[j] else most[j]
                    # 0, or NaN once a value is NaN or infinite
                    poison[j] += value - value
            for j in range(count):
                low[first + j] = least[j] + poison[j]
                high[first + j] = most[j] + poison[j]


def sort_by_codes(
    const int32_t[::1] codes, const int64_t[::1] rows, int64_t[::1] start, int64_t[::1] out
):
    """Rows (n,) by their codes, those of one code in the order they have.

    ``start`` (number of codes + 1,): zeros; work.
    """
    cdef Py_ssize_t i, n = rows.shape[0]
    cdef int32_t code
    with nogil:
        for i in range(n):
            start[codes[i] + 1] += 1
        for i in range(1, start.shape[0]):
            start[i] += start[i - 1]
        for i in range(n):
            code = codes[rows[i]]
            out[start[code]] = rows[i]
            start[code] += 1
