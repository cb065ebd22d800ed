"""Trust-region Newton search for the minimum of a deviance.

The function gives a value, and at the point of its last value the gradient and a model
Hessian (average information plus the bend of Sigma = lam lam').  The search works on C
arrays without the GIL; a function written in Python takes the GIL by itself.
"""

from libc.math cimport INFINITY, NAN, fabs, isfinite, pow
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import numpy as np

from mixedext import limits
from mixedext.exceptions import DevianceError
from mixedext.kernels.search.function cimport Function, copied
from mixedext.kernels.search.quadratic cimport NO_DECOMPOSITION, QuadraticModel, norm
from mixedext.kernels.search.variance_step cimport variance_step

NO_DERIVATIVES = "the derivatives of the deviance are not finite"
# Expected fall of the deviance below which the search stops.  It is judged by the
# gradient, so it may lie far below the rounding noise of the deviance itself.
cdef double DECREMENT_TOLERANCE = 1e-13
# A decrement below this that falls no more has met the rounding of the gradient.
cdef double STALL_BELOW = 1e-9
# The gradient has about this share of the noise of the deviance.
cdef double NOISE_SHARE = 1e-3
# Expected fall below which the last change of the gradient corrects the Hessian.
cdef double SECANT_BELOW = 1.0
# Another minimum is given up where it cannot end lower by RESTART_GAIN: the true fall is
# hardly ever more than HOPE times the expected one.
cdef double RESTART_GAIN = limits.RESTART_GAIN
cdef double HOPE = 20.0
# So it is where the step leads to that minimum: the fall still to come is below the first,
# and within the second of it the minimum's; the step ends within the root of the third of
# its length, in units of unit curvature, from the minimum.
cdef double RETURN_BELOW = 1.0, RETURN_FALL = 0.2, RETURN_SQUARE = 0.01
# Larger elements of theta at the start are the units of their changes: curvatures along
# relative standard deviations of 1 and 1e5 differ by 1e10 in theta itself.
cdef double LARGE_THETA = 100.0
# How many times its unit one may become before that is renewed: steps would be too short.
cdef double OUTGROWN = 4.0
# A search that in so many iterations has fallen by less than so many times the noise of
# the deviance is led by it.
cdef Py_ssize_t NOISE_ITERATIONS = 10
cdef double NOISE_FALL = 10.0
# The last derivatives of a costly function are saved where the decrement has just fallen by
# FINISH_CONTRACTION and one more step that contracts it as much leaves at most this much,
# or this share of the deviance.  The fall that comes then tells by how much the curvature
# was missed along the step, and so what is left: of the deviance that share squared (other
# directions allowed for by MISS_WEIGHT), of theta no more than FINISH_CHANGE of its size.
cdef double FINISH_CONTRACTION = 1e-2
cdef double FINISH_BELOW = 1e-9
cdef double FINISH_SHARE = 1e-12
cdef double FINISH_CHANGE = 3e-6
cdef double MISS = 0.1
cdef double MISS_WEIGHT = 20.0
cdef double SMALL_THETA = 1e-2  # size below which changes are absolute
# Estimated derivatives are enough for a step that promises this fall.
cdef double ROUGH_ABOVE = 10.0

cdef enum:
    FOUND = 1
    NOT_FINITE = -1
    RAISED = -2


cdef class Newton(QuadraticModel):
    """The search for one function; ``theta``, ``gradient`` and ``hessian`` say where it is.

    Within a search all three are in ``unit``; ``theta`` no longer when it has ended.

    Parameters
    ----------
    function : Function
        What is minimized.
    keep_log : bool, optional
        Whether to note every evaluation.
    """

    def __cinit__(self, Function function, bint keep_log=True):
        cdef Py_ssize_t n = function.n_theta, i
        self.function = function
        self.own = <double*>malloc(max(n * n + 8 * n, 1) * sizeof(double))
        if self.own == NULL:
            raise MemoryError(f"no memory for a search in {n} parameters")
        cdef double* at = self.own
        self.trial, self.before = at, at + n
        self.unit, self.given, self.known = at + 2 * n, at + 3 * n, at + 4 * n
        self.mixed, self.squared = at + 5 * n, NULL
        if function.squared is not None:
            self.squared = self.mixed + n * n + 2 * n
            for i in range(n):
                self.squared[i] = function.squared[i]
        for i in range(n):
            self.unit[i] = 1.0
        self.remainder = -1.0

    def __dealloc__(self):
        free(self.own)

    # ---- units ----

    cdef void set_units(self, const double* theta) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(self.n_theta):
            self.unit[i] = fabs(theta[i]) if fabs(theta[i]) > LARGE_THETA else 1.0

    cdef void leave_units(self, const double* theta, double* out) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(self.n_theta):
            out[i] = self.unit[i] * theta[i]

    cdef double renew_units(self, double radius) noexcept nogil:
        """Units of what has outgrown them; the radius in the new ones."""
        cdef Py_ssize_t n = self.n_theta, i, j
        cdef double most = 1.0, x
        for i in range(n):
            self.along[i], x = 1.0, fabs(self.theta[i])
            if x > OUTGROWN and x * self.unit[i] > LARGE_THETA:
                self.along[i], most = x, max(most, x)
        if most == 1.0:
            return radius
        for i in range(n):
            x = self.along[i]
            self.unit[i] *= x
            self.theta[i] /= x
            self.gradient[i] *= x
            self.secant_step[i] /= x
            self.secant_change[i] *= x
            for j in range(n):
                self.hessian[i * n + j] *= x * self.along[j]
        return max(radius / most, min(radius, max(1.0, norm(self.theta, n))))

    cdef double value_at(self, const double* theta) noexcept nogil:
        self.leave_units(theta, self.given)
        return self.function.value(self.given, True)

    cdef void take_derivatives(self) noexcept nogil:
        self.leave_units(self.theta, self.given)
        self.function.derivatives(self.given, self.gradient, self.hessian)
        self.enter_units()

    cdef void enter_units(self) noexcept nogil:
        """Gradient and Hessian of theta in units from those of theta."""
        cdef Py_ssize_t n = self.n_theta, i, j
        for i in range(n):
            self.gradient[i] *= self.unit[i]
            for j in range(n):
                self.hessian[i * n + j] *= self.unit[i] * self.unit[j]

    cdef void remember(self, const double* theta) noexcept nogil:
        """The minimum that a search with ``to_beat`` is to beat."""
        memcpy(self.known, theta, self.n_theta * sizeof(double))
        self.has_known = True

    cdef bint leads_back(self, double lowest) noexcept nogil:
        """Whether the next step leads to the known minimum, of deviance ``lowest``."""
        cdef Py_ssize_t n = self.n_theta, i, j
        cdef double square = 0.0, x
        cdef double* off = self.along
        if not (self.definite and self.decrement < RETURN_BELOW):
            return False
        if fabs(self.deviance - self.decrement - lowest) > RETURN_FALL * self.decrement:
            return False
        for i in range(n):
            x = self.theta[i] + self.newton_step[i]
            if self.squared != NULL and self.squared[i] != 0.0:
                off[i] = fabs(x) - fabs(self.known[i] / self.unit[i])
            else:
                off[i] = x - self.known[i] / self.unit[i]
        for i in range(n):
            for j in range(n):
                square += 0.5 * off[i] * self.model[i * n + j] * off[j]
        return square < RETURN_SQUARE * self.decrement

    cdef double set_variance_step(self, double radius) noexcept nogil:
        if self.squared == NULL:
            return -1.0
        return variance_step(
            self.n_theta, self.squared, self.theta, self.gradient, self.hessian, radius,
            self.mixed, self.step, &self.fall,
        )

    cdef bint finished(self, double ratio, double last, double tolerance) noexcept nogil:
        """Whether theta, just reached by a full step, needs no derivatives; sets remainder.

        ``ratio`` is the fall over the expected one, ``last`` the decrement before.
        """
        cdef double contraction = self.decrement / last, change = 0.0, miss
        cdef Py_ssize_t i
        if self.fall < 0.99 * self.decrement:
            return False
        miss = max(fabs(ratio - 1.0) - 3.0 * self.function.noise / self.fall, 0.0)
        for i in range(self.n_theta):
            change = max(change, fabs(self.step[i]) / max(fabs(self.theta[i]), SMALL_THETA))
        change *= max(2.0 * miss, pow(contraction, 0.75))
        self.remainder = self.decrement * max(contraction, MISS_WEIGHT * miss * miss)
        if miss < MISS and self.remainder < tolerance and change < FINISH_CHANGE:
            return True
        self.remainder = -1.0
        return False

    # ---- the search ----

    cdef int search(
        self, const double* start, Py_ssize_t max_iterations, double to_beat
    ) noexcept nogil:
        """From ``start``; FOUND, or what went wrong."""
        cdef Py_ssize_t i
        cdef int status
        self.set_units(start)
        for i in range(self.n_theta):
            self.theta[i] = start[i] / self.unit[i]
        status = self.search_in_units(max_iterations, to_beat)
        self.leave_units(self.theta, self.theta)
        return status

    cdef int search_in_units(
        self, Py_ssize_t max_iterations, double to_beat
    ) noexcept nogil:
        cdef Py_ssize_t n = self.n_theta, i, _turn, shrink = 0, stalled = 0
        cdef double radius, smallest = INFINITY, noise, length, trial, ratio, last = -1.0
        cdef double tolerance, lost, level = INFINITY
        cdef bint judged, finishing, leaping, sharp = self.function.sharp
        self.remainder = -1.0
        self.has_secant = self.returned = self.led_by_noise = False
        self.deviance = self.value_at(self.theta)
        while not isfinite(self.deviance) and shrink < 60 and not self.function.raised:
            # a start that rounding rejects
            for i in range(n):
                self.theta[i] /= 2
            shrink += 1
            self.deviance = self.value_at(self.theta)
        if self.function.raised:
            return RAISED
        self.add(0, self.deviance, 0.0, NAN, self.given)
        if not isfinite(self.deviance):
            return NOT_FINITE
        self.take_derivatives()
        if self.function.rough and not self.function.raised:
            self.function.rough = False
            if self.set_model(False) or self.way_down or self.decrement < ROUGH_ABOVE:
                self.take_derivatives()
        radius = max(1.0, norm(self.theta, n))
        for _turn in range(max_iterations):
            if self.function.raised:
                return RAISED
            if _turn % NOISE_ITERATIONS == 0:
                if not level - self.deviance > NOISE_FALL * self.function.noise:
                    self.led_by_noise = True
                    break
                level = self.deviance
            if self.set_model(self.has_secant):
                return NO_DECOMPOSITION
            finishing = False
            tolerance = max(FINISH_BELOW, FINISH_SHARE * fabs(self.deviance))
            if not self.way_down:
                stalled = stalled + 1 if self.decrement > 0.9 * smallest else 0
                smallest = min(smallest, self.decrement)
                lost = 0.0 if sharp and stalled == 0 else NOISE_SHARE * self.function.noise
                if self.decrement < max(DECREMENT_TOLERANCE, lost):
                    break
                if self.decrement < STALL_BELOW and stalled >= 3:
                    break  # rounding of the gradient is all that is left
                if (
                    self.deviance - HOPE * self.decrement > to_beat - RESTART_GAIN
                    and to_beat > -INFINITY
                ):
                    break  # another minimum is lower than this one can be
                if self.has_known and self.leads_back(to_beat):
                    self.returned = True
                    break
                finishing = (
                    self.function.costly
                    and self.decrement < FINISH_CONTRACTION * last
                    and self.decrement / last * self.decrement < tolerance
                )
            leaping = True
            noise = max(1e-11 * max(fabs(self.deviance), 1.0), self.function.noise)
            while True:
                length = self.set_variance_step(radius) if leaping else -1.0
                leaping = length >= 0.0
                if not leaping:
                    length = self.set_step(radius)
                if length < 0.0:
                    return NO_DECOMPOSITION
                for i in range(n):
                    self.trial[i] = self.theta[i] + self.step[i]
                trial = self.value_at(self.trial)
                if self.function.raised:
                    return RAISED
                self.add(0, trial, length, self.fall, self.given)
                ratio = (self.deviance - trial) / self.fall if self.fall > 0 else -1.0
                judged = self.fall >= 10 * noise
                if not judged and trial - self.deviance < noise:
                    break  # too small a change to judge by the deviance: trust the gradient
                if ratio > 1e-4:
                    break
                finishing = False
                if leaping:
                    leaping = False
                    continue
                radius = 0.25 * min(radius, length)
                if radius < 1e-12 * (1 + norm(self.theta, n)):
                    self.value_at(self.theta)
                    self.take_derivatives()
                    return RAISED if self.function.raised else FOUND
            if leaping:
                pass
            elif not judged:
                radius = max(radius, 10 * length)
            elif ratio > 0.75 and length > 0.9 * radius:
                radius *= 3.0
            elif ratio < 0.25:
                radius = 0.5 * length
            memcpy(self.theta, self.trial, n * sizeof(double))
            self.deviance = trial
            if finishing and not leaping and self.finished(ratio, last, tolerance):
                return FOUND
            last = -1.0 if self.way_down or leaping else self.decrement
            memcpy(self.before, self.gradient, n * sizeof(double))
            self.take_derivatives()
            self.has_secant = False
            if self.fall < SECANT_BELOW and not leaping:
                self.has_secant = True
                memcpy(self.secant_step, self.step, n * sizeof(double))
                for i in range(n):
                    self.secant_change[i] = self.gradient[i] - self.before[i]
            radius = self.renew_units(radius)
        return RAISED if self.function.raised else FOUND

    # ---- from Python ----

    def minimize(
        self, start, Py_ssize_t max_iterations, double to_beat=-INFINITY, known=None
    ):
        """Search from ``start``; the deviance reached.

        With a deviance ``to_beat``, that of the minimum ``known``, it is given up where it
        cannot end lower, and where it is led there (``returned``).

        DevianceError if the deviance is not finite at the start, nor at a start near zero,
        or its derivatives are not where the search has come to.
        """
        cdef const double[::1] point = np.ascontiguousarray(start, float)
        cdef int status
        if len(point) != self.n_theta:
            raise ValueError(f"a start of {len(point)} for {self.n_theta} parameters")
        cdef const double[::1] minimum
        self.has_known = False
        if known is not None:
            minimum = np.ascontiguousarray(known, float)
            if len(minimum) != self.n_theta:
                raise ValueError(
                    f"a minimum of {len(minimum)} for {self.n_theta} parameters"
                )
            self.remember(&minimum[0])
        with nogil:
            status = self.search(&point[0], max_iterations, to_beat)
        if status == RAISED:
            self.function.reraise()  # a function written in Python
        if status == NO_DECOMPOSITION:
            raise DevianceError(NO_DERIVATIVES)
        if status == NOT_FINITE:
            raise DevianceError(
                "the deviance is not finite at the start (start_params), nor at starts "
                "closer to zero; the columns of the model differ too much in size"
            )
        return self.deviance

    @property
    def point(self):
        """Theta where the search ended."""
        return copied(self.theta, self.n_theta)

    def last_derivatives(self):
        """Gradient and Hessian at the last point that had them."""
        n = self.n_theta
        unit, hessian = copied(self.unit, n), copied(self.hessian, n * n).reshape(n, n)
        return copied(self.gradient, n) / unit, hessian / np.outer(unit, unit)

    def outlook(self, theta, gradient, hessian):
        """What one more Newton step would bring at a point.

        Returns
        -------
        decrement : float
            Expected fall of the deviance.
        curvature : float
            Smallest eigenvalue of the Hessian, relative to the largest, large elements of
            theta in units of themselves.
        way_down : bool
            Whether some curvature is negative.
        """
        cdef Py_ssize_t n = self.n_theta
        cdef const double[::1] point = np.ascontiguousarray(theta, float)
        cdef const double[::1] g = np.ascontiguousarray(gradient)
        cdef const double[::1] h = np.ravel(hessian)
        memcpy(self.gradient, &g[0], n * sizeof(double))
        memcpy(self.hessian, &h[0], n * n * sizeof(double))
        self.set_units(&point[0])
        self.enter_units()
        memcpy(self.model, self.hessian, n * n * sizeof(double))
        if self.spectrum():
            raise DevianceError(NO_DERIVATIVES)
        return self.decrement, self.eigenvalue[0] / self.largest, bool(self.way_down)
