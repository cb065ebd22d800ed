from mixedext.kernels.generalized.families cimport RowFamily
from mixedext.kernels.generalized.level_work cimport Work


cdef int integrate(
    Work* w, RowFamily family, Py_ssize_t n_nodes, const double* nodes,
    const double* log_weights,
) noexcept nogil
