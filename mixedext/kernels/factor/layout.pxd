"""Where levels, links and panels of the tail lie, for other kernels."""


cdef class TailLevels:
    cdef object arrays                       # whose memory is pointed to
    cdef readonly Py_ssize_t n_levels, n_columns
    cdef const Py_ssize_t* start             # (levels + 1,)
    cdef const Py_ssize_t* factor            # (levels,)
    cdef const Py_ssize_t* of_column         # (m,) level of each column


cdef class Links:
    cdef object arrays                       # whose memory is pointed to
    cdef readonly Py_ssize_t n_links, n_levels, n_columns
    cdef readonly object work
    # by level of the lead
    cdef const Py_ssize_t* pointers          # (L + 1,)
    cdef const Py_ssize_t* index             # (nnz,) columns
    # by column of the tail
    cdef const Py_ssize_t* column_start      # (m + 1,)
    cdef const Py_ssize_t* column_link       # (nnz,) numbers of links, ascending
    cdef const Py_ssize_t* column_level      # (nnz,) their levels


cdef class Supernodes:
    cdef object arrays                       # whose memory is pointed to
    cdef readonly Py_ssize_t n_nodes, size, tallest, widest, most_below
    cdef const Py_ssize_t* pointers          # (m + 1,)
    cdef const Py_ssize_t* rows              # (stored,)
    cdef const Py_ssize_t* start             # (nodes + 1,)
    cdef const Py_ssize_t* place             # (nodes,) where the panels begin
    cdef const Py_ssize_t* node_of           # (m,) supernode of each column
