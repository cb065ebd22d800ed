"""The quadratic model of a deviance at a point, and its minimizer within a radius."""

from libc.math cimport copysign, fabs, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from mixedext.kernels.search.function cimport Function
from mixedext.kernels.search.records cimport Records
from scipy.linalg.cython_lapack cimport dsyev

from mixedext import limits

# Curvature below minus this share of the largest, and minus this, is a way down.
cdef double WAY_DOWN = 1e-7, NO_CURVATURE = 1e-11
cdef double FLAT_CURVATURE = limits.FLAT_CURVATURE
# A Cholesky factor serves in place of eigenvectors where the smallest eigenvalue is
# surely above this share of the largest.
cdef double CLEARLY_DEFINITE = 1e-8


cdef class QuadraticModel(Records):
    """Gradient and Hessian at ``theta``, and the steps that they promise a fall by.

    Arguments are those of ``Newton``.
    """

    def __cinit__(self, Function function, bint keep_log=True):
        cdef Py_ssize_t n = function.n_theta
        self.n_theta, self.keep_log = n, keep_log
        self.work_size = <int>(34 * n)
        cdef Py_ssize_t total = 9 * n + 5 * n * n + self.work_size
        self.buffer = <double*>malloc(max(total, 1) * sizeof(double))
        if self.buffer == NULL:
            raise MemoryError(f"no memory for a search in {n} parameters")
        memset(self.buffer, 0, total * sizeof(double))
        cdef double* at = self.buffer
        self.theta, self.step, self.gradient = at, at + n, at + 2 * n
        self.secant_step, self.secant_change = at + 3 * n, at + 4 * n
        self.newton_step, self.eigenvalue = at + 5 * n, at + 6 * n
        self.slope, self.along = at + 7 * n, at + 8 * n
        at += 9 * n
        self.hessian, self.model, self.factor = at, at + n * n, at + 2 * n * n
        self.inverse, self.vector = at + 3 * n * n, at + 4 * n * n
        self.work = at + 5 * n * n

    def __dealloc__(self):
        free(self.buffer)

    cdef int decompose(self, const double* matrix, double* vector) noexcept nogil:
        """Eigenvalues, ascending, and eigenvectors (column j from vector + j n)."""
        cdef int n = <int>self.n_theta, info = 0
        memcpy(vector, matrix, n * n * sizeof(double))
        dsyev(
            b"V", b"L", &n, vector, &n, self.eigenvalue, self.work, &self.work_size, &info
        )
        return info

    cdef bint factorize(self, double* smallest) noexcept nogil:
        """Cholesky factor of the model; a lower bound of its smallest eigenvalue.

        The bound is 1 / ||L^-1||^2 in the Frobenius norm.
        """
        cdef Py_ssize_t n = self.n_theta, i, j, c
        cdef double* root = self.factor
        cdef double* inverse = self.inverse
        cdef double x, total = 0.0
        for j in range(n):
            x = self.model[j * n + j]
            for c in range(j):
                x -= root[j * n + c] * root[j * n + c]
            if not x > 0.0:
                return False
            root[j * n + j] = sqrt(x)
            for i in range(j + 1, n):
                x = self.model[i * n + j]
                for c in range(j):
                    x -= root[i * n + c] * root[j * n + c]
                root[i * n + j] = x / root[j * n + j]
        for j in range(n):
            for i in range(j, n):
                x = 1.0 if i == j else 0.0
                for c in range(j, i):
                    x -= root[i * n + c] * inverse[c * n + j]
                x /= root[i * n + i]
                inverse[i * n + j] = x
                total += x * x
        smallest[0] = 1.0 / total
        return True

    cdef bint corrected(self) noexcept nogil:
        """The model made to agree with the last change of the gradient, if that is sound.

        The average information may be far from the curvature where groups are few; one
        symmetric rank-one correction (Davidon) turns linear convergence into superlinear.
        A correction that is no small one, or makes a way down, is not to be trusted.
        """
        cdef Py_ssize_t n = self.n_theta, i, j
        cdef double* miss = self.along
        cdef double along = 0.0, size, own = 0.0, top, bound, least
        for i in range(n):
            miss[i] = self.secant_change[i]
            for j in range(n):
                miss[i] -= self.hessian[i * n + j] * self.secant_step[j]
            along += miss[i] * self.secant_step[i]
        size = norm(miss, n) * norm(self.secant_step, n)
        if size == 0.0 or fabs(along) < 1e-3 * size:
            return False
        for i in range(n):
            for j in range(n):
                self.model[i * n + j] += miss[i] * miss[j] / along
        # Bounds decide most cases: the largest diagonal <= largest eigenvalue <= the norm.
        top = self.hessian[0]
        for i in range(1, n):
            top = max(top, self.hessian[i * n + i])
        own, bound = norm(self.hessian, n * n), norm(self.model, n * n)
        if self.factorize(&least):
            if least > 1e-6 * own and bound < 1e3 * top:
                return True
        elif top > 0.0:
            return False
        if self.decompose(self.hessian, self.vector):
            return False
        own = self.eigenvalue[n - 1]
        if self.decompose(self.model, self.vector):
            return False
        least, top = self.eigenvalue[0], self.eigenvalue[n - 1]
        return not (least < 1e-6 * own or top > 1e3 * own)

    cdef int set_model(self, bint secant) noexcept nogil:
        """Model of the deviance at theta, and the fall that it promises."""
        cdef Py_ssize_t n = self.n_theta, i, c
        cdef double x, least
        memcpy(self.model, self.hessian, n * n * sizeof(double))
        if secant and not self.corrected():
            memcpy(self.model, self.hessian, n * n * sizeof(double))
        self.decomposed = False
        self.definite = (
            self.factorize(&least)
            and least > CLEARLY_DEFINITE * norm(self.model, n * n)
        )
        if not self.definite:
            return self.spectrum()
        self.way_down, self.decrement = False, 0.0
        for i in range(n):
            x = 0.0
            for c in range(i + 1):
                x += self.inverse[i * n + c] * self.gradient[c]
            self.along[i] = x
            self.decrement += 0.5 * x * x
        for i in range(n):
            x = 0.0
            for c in range(i, n):
                x -= self.inverse[c * n + i] * self.along[c]
            self.newton_step[i] = x
        return 0

    cdef int spectrum(self) noexcept nogil:
        """Eigenvectors of the model, and the gradient along them."""
        cdef Py_ssize_t n = self.n_theta, i, j
        cdef double x
        if self.decompose(self.model, self.vector):
            return NO_DECOMPOSITION
        self.decomposed = True
        self.largest = max(fabs(self.eigenvalue[0]), fabs(self.eigenvalue[n - 1]), 1e-300)
        self.way_down = -self.eigenvalue[0] > max(WAY_DOWN * self.largest, NO_CURVATURE)
        self.decrement = 0.0
        for j in range(n):
            x = 0.0
            for i in range(n):
                x += self.vector[j * n + i] * self.gradient[i]
            self.slope[j] = x
            self.decrement += (
                0.5 * x * x / max(fabs(self.eigenvalue[j]), FLAT_CURVATURE * self.largest)
            )
        return 0

    cdef double set_step(self, double radius) noexcept nogil:
        """Minimizer of the model within ``radius`` (More and Sorensen 1983); its length."""
        cdef Py_ssize_t n = self.n_theta, i, j, _turn
        cdef double* along = self.along
        cdef double floor, length, low, high, middle, x
        if self.definite:
            length = norm(self.newton_step, n)
            if length <= radius:
                memcpy(self.step, self.newton_step, n * sizeof(double))
                self.fall = self.decrement
                return length
        if not self.decomposed and self.spectrum():
            return -1.0
        floor = FLAT_CURVATURE * self.largest
        length = -1.0
        if self.eigenvalue[0] > (-floor if fabs(self.slope[0]) < 1e-3 * floor else floor):
            low = max(-self.eigenvalue[0], 0.0)
            length = _shifted(self, 0.0, floor)
            if length > radius:
                length = -1.0
        else:
            low = -self.eigenvalue[0]
            length = _shifted(self, low + floor, floor)
            if length < radius:  # hard case: the way down is free of slope
                along[0] += copysign(sqrt(radius * radius - length * length), along[0])
            else:
                length = -1.0
        if length < 0.0:
            high = low + norm(self.slope, n) / radius + floor
            for _turn in range(60):
                middle = 0.5 * (low + high)
                if _shifted(self, middle, floor) > radius:
                    low = middle
                else:
                    high = middle
                if high - low < 1e-3 * high:
                    break
            _shifted(self, high, floor)
        memset(self.step, 0, n * sizeof(double))
        self.fall = 0.0
        for j in range(n):
            x = along[j]
            self.fall -= self.slope[j] * x + 0.5 * self.eigenvalue[j] * x * x
            for i in range(n):
                self.step[i] += self.vector[j * n + i] * x
        return norm(self.step, n)


cdef double _shifted(QuadraticModel s, double shift, double floor) noexcept nogil:
    """The model's minimizer for one shift of the curvature, along eigenvectors."""
    cdef Py_ssize_t j
    for j in range(s.n_theta):
        s.along[j] = -s.slope[j] / max(s.eigenvalue[j] + shift, floor)
    return norm(s.along, s.n_theta)
