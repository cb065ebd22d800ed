"""Where levels, links and panels of the tail lie, for other kernels."""

# Kernels copy the pointers of a record before their loops: those of an object would be read
# from memory again and again.


cdef struct LevelArrays:
    const Py_ssize_t* start                  # (levels + 1,)
    const Py_ssize_t* factor                 # (levels,)
    const Py_ssize_t* of_column              # (m,) level of each column


cdef class TailLevels:
    cdef object arrays                       # whose memory is pointed to
    cdef readonly Py_ssize_t n_levels, n_columns
    cdef LevelArrays at


cdef struct LinkArrays:
    # by level of the lead
    const Py_ssize_t* pointers               # (L + 1,)
    const Py_ssize_t* index                  # (nnz,) columns
    # by column of the tail
    const Py_ssize_t* column_start           # (m + 1,)
    const Py_ssize_t* column_link            # (nnz,) numbers of links, ascending
    const Py_ssize_t* column_level           # (nnz,) their levels


cdef class Links:
    cdef object arrays                       # whose memory is pointed to
    cdef readonly Py_ssize_t n_links, n_levels, n_columns
    cdef readonly object work
    cdef LinkArrays at


cdef struct NodeArrays:
    const Py_ssize_t* pointers               # (m + 1,)
    const Py_ssize_t* rows                   # (stored,)
    const Py_ssize_t* start                  # (nodes + 1,)
    const Py_ssize_t* place                  # (nodes,) where the panels begin
    const Py_ssize_t* node_of                # (m,) supernode of each column


cdef class Supernodes:
    cdef object arrays                       # whose memory is pointed to
    cdef readonly Py_ssize_t n_nodes, size, tallest, widest, most_below
    cdef NodeArrays at
