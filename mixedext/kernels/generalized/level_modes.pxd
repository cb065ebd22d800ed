from mixedext.kernels.generalized.families cimport RowFamily
from mixedext.kernels.generalized.level_work cimport Work


cdef void sum_fixed(
    Work* w, Py_ssize_t p, const double* beta, const double* offset
) noexcept nogil
cdef int find_mode(Work* w, RowFamily family, int* iterations) noexcept nogil
cdef int stand(Work* w) noexcept nogil
