"""A deviance written in Python for the compiled search, which has not the GIL."""

from libc.math cimport INFINITY, isfinite
from mixedext.kernels.search.function cimport Function, copied

import sys

import numpy as np


cdef class PythonFunction(Function):
    """A deviance written in Python: ``value``, ``derivatives`` and ``noise``."""

    cdef object objective
    cdef object error

    def __init__(self, objective):
        self.objective = objective
        self.n_theta = objective.n_theta
        self.costly = objective.costly
        self.squared = getattr(objective, "squared", None)
        self.rough = getattr(objective, "starts_rough", False)
        self.sharp = getattr(objective, "sharp", False)

    cdef double value(self, const double* theta, bint floor) noexcept nogil:
        with gil:
            try:
                point = copied(theta, self.n_theta)
                value = float(self.objective.value(point, bool(floor)))
                if isfinite(value):
                    self.noise = self.objective.noise
                return value
            except BaseException:
                self.error, self.raised = sys.exc_info()[1], True
                return INFINITY

    cdef void derivatives(
        self, const double* theta, double* gradient, double* hessian
    ) noexcept nogil:
        cdef const double[::1] g
        cdef const double[:, ::1] h
        cdef Py_ssize_t i, j, n = self.n_theta
        with gil:
            try:
                more = {"rough": True} if self.rough else {}
                found = self.objective.derivatives(copied(theta, n), **more)
                g = np.ascontiguousarray(found.gradient)
                h = np.ascontiguousarray(found.hessian)
                for i in range(n):
                    gradient[i] = g[i]
                    for j in range(n):
                        hessian[i * n + j] = h[i, j]
            except BaseException:
                self.error, self.raised = sys.exc_info()[1], True

    def reraise(self):
        error, self.error, self.raised = self.error, None, False
        raise error
