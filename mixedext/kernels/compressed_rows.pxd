"""Sparse columns by row, compressed, and products with them."""

from libc.string cimport memset


cdef struct CompressedRows:
    const Py_ssize_t* pointers        # (n + 1,)
    const Py_ssize_t* index           # (nnz,)
    const double* value               # (nnz,)


cdef inline CompressedRows rows_of(parts):
    # of arrays of pointers, columns and values, which must stay as long as this is used
    cdef const Py_ssize_t[::1] pointers = parts[0], index = parts[1]
    cdef const double[::1] value = parts[2]
    cdef CompressedRows out
    out.pointers, out.index, out.value = &pointers[0], NULL, NULL
    if value.shape[0]:
        out.index, out.value = &index[0], &value[0]
    return out


cdef inline void add_row(
    const CompressedRows* z, Py_ssize_t i, const double* b, Py_ssize_t c, double* out
) noexcept nogil:
    # out (c,) += row i of z b, for b (columns, c)
    cdef Py_ssize_t s, j
    cdef const double* its
    cdef double x
    for s in range(z.pointers[i], z.pointers[i + 1]):
        x, its = z.value[s], b + z.index[s] * c
        for j in range(c):
            out[j] += x * its[j]


cdef inline void transposed_times(
    const CompressedRows* z, Py_ssize_t n, const double* rest, Py_ssize_t c,
    Py_ssize_t columns, double* out,
) noexcept nogil:
    # out (columns, c) = z'rest, for rest (n, c)
    cdef Py_ssize_t i, s, j
    cdef const double* own
    cdef double* its
    cdef double x
    memset(out, 0, columns * c * sizeof(double))
    for i in range(n):
        own = rest + i * c
        for s in range(z.pointers[i], z.pointers[i + 1]):
            x, its = z.value[s], out + z.index[s] * c
            for j in range(c):
                its[j] += x * own[j]
