"""The quadratic model of a deviance, for searches to inherit."""

from libc.math cimport sqrt
from mixedext.kernels.search.records cimport Records


cdef enum:
    NO_DECOMPOSITION = -3


cdef inline double norm(const double* x, Py_ssize_t n) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t i
    for i in range(n):
        total += x[i] * x[i]
    return sqrt(total)


cdef class QuadraticModel(Records):
    cdef double* buffer             # one block for those that follow
    cdef double* theta
    cdef double* step
    cdef double* gradient
    cdef double* hessian
    cdef double* secant_step
    cdef double* secant_change
    cdef double* model
    cdef double* factor
    cdef double* inverse
    cdef double* newton_step
    cdef double* vector
    cdef double* eigenvalue
    cdef double* slope
    cdef double* along
    cdef double* work
    cdef int work_size
    cdef bint definite, decomposed, way_down
    cdef double decrement, largest, fall

    cdef int decompose(self, const double* matrix, double* vector) noexcept nogil
    cdef bint factorize(self, double* smallest) noexcept nogil
    cdef bint corrected(self) noexcept nogil
    cdef int set_model(self, bint secant) noexcept nogil
    cdef int spectrum(self) noexcept nogil
    cdef double set_step(self, double radius) noexcept nogil
