"""Many fits of one model: only the response differs; Z'Z, Z'X and X'X are shared.

A replicate brings with one grouping factor its sums of ``response_sums``, with several
(``several_factors``) Z'r.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, NAN, fabs, isfinite, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset
from mixedext.kernels.deviance.profiled cimport Profiled
from mixedext.kernels.row_major cimport left_singular, lower_triangle
from mixedext.kernels.search.look cimport starts_along
from mixedext.kernels.search.newton cimport Newton

import numpy as np

from mixedext import limits

cdef double ZERO_SINGULAR_VALUE = limits.ZERO_SINGULAR_VALUE
cdef double ROUNDED = limits.ROUNDED, ZERO_THETA = limits.ZERO_THETA
cdef double DECREMENT_ACCEPTED = limits.DECREMENT_ACCEPTED
cdef double SHARE_ACCEPTED = limits.SHARE_ACCEPTED
cdef double NOISE_ACCEPTED = limits.NOISE_ACCEPTED
cdef double RESTART_GAIN = limits.RESTART_GAIN
# Evaluations between two looks for an interrupt.
cdef Py_ssize_t UNINTERRUPTED = 5000
cdef double LARGE_LOOK = limits.LARGE_LOOK, HARDLY_LEFT = limits.HARDLY_LEFT


cdef class _Terms:
    """The terms side by side: where they lie, and theta <-> their factors lam."""

    cdef Py_ssize_t count, k, n_theta
    cdef const Py_ssize_t[::1] start
    cdef const double[:, ::1] inverse
    cdef Profiled function
    cdef double* buffer
    cdef double* lam
    cdef double* norm
    cdef double* own
    cdef double* left
    cdef double* size
    cdef double* work
    cdef int work_size

    def __cinit__(self, Profiled function, start, inverse):
        cdef Py_ssize_t e, r
        self.function, self.start, self.inverse = function, start, inverse
        self.k, self.n_theta = function.k, function.n_theta
        self.count = len(start) - 1
        self.work_size = <int>(32 * self.k)
        self.buffer = <double*>malloc(
            (3 * self.k * self.k + 33 * self.k + self.n_theta) * sizeof(double)
        )
        if self.buffer == NULL:
            raise MemoryError("no memory for the terms")
        self.lam, self.own = self.buffer, self.buffer + self.k * self.k
        self.left = self.own + self.k * self.k
        self.size = self.left + self.k * self.k
        self.work = self.size + self.k
        self.norm = self.work + self.work_size
        memset(self.norm, 0, self.n_theta * sizeof(double))
        for e in range(function.template.count):
            r = function.template.member[e]
            self.norm[r] += function.template.value[e] ** 2

    def __dealloc__(self):
        free(self.buffer)

    cdef void set_lam(self, const double* theta) noexcept nogil:
        cdef Py_ssize_t e, k = self.k
        memset(self.lam, 0, k * k * sizeof(double))
        for e in range(self.function.template.count):
            self.lam[
                self.function.template.row[e] * k + self.function.template.column[e]
            ] += self.function.template.value[e] * theta[self.function.template.member[e]]

    cdef void get_theta(self, double* theta) noexcept nogil:
        cdef Py_ssize_t e, r, k = self.k
        memset(theta, 0, self.n_theta * sizeof(double))
        for e in range(self.function.template.count):
            r = self.function.template.member[e]
            theta[r] += self.function.template.value[e] / self.norm[r] * self.lam[
                self.function.template.row[e] * k + self.function.template.column[e]
            ]

    cdef void take(self, Py_ssize_t term) noexcept nogil:
        cdef Py_ssize_t at = self.start[term], k = self.start[term + 1] - at, a, b
        for a in range(k):
            for b in range(k):
                self.own[a * k + b] = self.lam[(at + a) * self.k + at + b]

    cdef void put(self, Py_ssize_t term) noexcept nogil:
        cdef Py_ssize_t at = self.start[term], k = self.start[term + 1] - at, a, b
        for a in range(k):
            for b in range(k):
                self.lam[(at + a) * self.k + at + b] = self.own[a * k + b]

    cdef double decompose(self, Py_ssize_t k) noexcept nogil:
        """Left singular vectors and singular values of ``own``; the smallest, if found."""
        if left_singular(k, self.own, self.left, self.size, self.work, self.work_size):
            return self.size[k - 1]
        return INFINITY

    cdef double smallest_root(self, const double* theta) noexcept nogil:
        """Smallest singular value of the factors of all terms."""
        cdef Py_ssize_t term, k
        cdef double smallest = INFINITY, x, y, product
        cdef double* m = self.own
        self.set_lam(theta)
        for term in range(self.count):
            self.take(term)
            k = self.start[term + 1] - self.start[term]
            if k == 1:
                x = fabs(m[0])
            elif k == 2:
                product = fabs(m[0] * m[3] - m[1] * m[2])
                y = m[0] * m[0] + m[1] * m[1] + m[2] * m[2] + m[3] * m[3]
                y = sqrt(0.5 * (y + sqrt(max(y * y - 4 * product * product, 0.0))))
                x = product / y if y > 0.0 else 0.0
            else:
                x = self.decompose(k)
            smallest = min(smallest, x)
        return smallest

    cdef bint is_diagonal(self, Py_ssize_t k) noexcept nogil:
        cdef Py_ssize_t a, b
        for a in range(k):
            for b in range(k):
                if a != b and self.own[a * k + b] != 0.0:
                    return False
        return True

    cdef void canonical(self, double* theta, bint truncate) noexcept nogil:
        """Diagonals not negative; negligible singular values zero if ``truncate``."""
        cdef Py_ssize_t term, k, a, i
        self.set_lam(theta)
        for term in range(self.count):
            k = self.start[term + 1] - self.start[term]
            self.take(term)
            if truncate:
                if self.is_diagonal(k):  # must remain so: singular vectors may be permuted
                    for a in range(k):
                        if fabs(self.own[a * k + a]) < ZERO_SINGULAR_VALUE:
                            self.own[a * k + a] = 0.0
                elif not isfinite(self.decompose(k)):
                    self.take(term)
                else:
                    for a in range(k):
                        for i in range(k):
                            self.own[a * k + i] = 0.0
                            if self.size[i] >= ZERO_SINGULAR_VALUE:
                                self.own[a * k + i] = self.left[a * k + i] * self.size[i]
            lower_triangle(self.own, k)
            self.put(term)
        self.get_theta(theta)
        if truncate:
            for i in range(self.n_theta):
                if fabs(theta[i]) < ZERO_THETA:
                    theta[i] = 0.0

    cdef void outer(self, const double* theta, double* out) noexcept nogil:
        """Theta in the data's units: of T^-1 lam."""
        cdef Py_ssize_t term, k, at, a, b, c
        cdef double x
        self.set_lam(theta)
        for term in range(self.count):
            at, k = self.start[term], self.start[term + 1] - self.start[term]
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for c in range(k):
                        x += self.inverse[at + a, at + c] * (
                            self.lam[(at + c) * self.k + at + b]
                        )
                    self.own[a * k + b] = x
            lower_triangle(self.own, k)
            self.put(term)
        self.get_theta(out)


cdef class _Refit:
    """The search for one response after the other."""

    cdef Profiled function
    cdef Newton search
    cdef _Terms terms
    cdef Py_ssize_t n, max_iterations
    cdef double best, smallest            # deviance, and smallest singular value, there
    cdef double residual                  # y'P0 y there
    cdef double noise                     # rounding error of the deviance there
    cdef double reach                     # by which a start may exceed it
    cdef double least                     # share of the residual that others must leave
    cdef Py_ssize_t most, left            # searches from other points, and those left
    cdef bint good, stands                # a minimum; the function stands at the point
    cdef double[:, ::1] buffer
    cdef double* point
    cdef double* other

    def __cinit__(
        self, Profiled function, term_start, inverse, Py_ssize_t max_iterations,
        double reach, double least, Py_ssize_t most,
    ):
        self.reach, self.least, self.most = reach, least, most
        self.function, self.n = function, function.n_theta
        self.search = Newton(function, keep_log=False)
        self.terms = _Terms(function, term_start, inverse)
        self.max_iterations = max_iterations
        self.buffer = np.empty((2, self.n))
        self.point, self.other = &self.buffer[0, 0], &self.buffer[1, 0]

    cdef bint from_start(self, const double* start) noexcept nogil:
        """The minimum that a start leads to; whether the search came to an end."""
        self.best, self.search.has_known, self.left = INFINITY, False, self.most
        self.good = self.search.search(start, self.max_iterations, -INFINITY) == 1
        if not self.good:
            return False
        self.good, self.stands = _is_settled(self.search, self.function.noise), True
        self.keep()
        return True

    cdef void keep(self) noexcept nogil:
        self.best, self.residual = self.search.deviance, self.function.residual_square
        self.noise = self.function.noise
        memcpy(self.point, self.search.theta, self.n * sizeof(double))
        self.search.remember(self.point)
        self.smallest = self.terms.smallest_root(self.point)

    cdef bint try_start(self, const double* start) noexcept nogil:
        """Another start, preferred if it ends lower; whether it does.

        One that has not settled is left for one as low that has.
        """
        cdef bint lower
        cdef double bar = self.best
        if self.left <= 0:
            return False
        self.left -= 1
        self.stands, self.search.has_known = False, self.good
        if not self.good:
            bar += 2 * RESTART_GAIN + self.noise
        lower = (
            self.search.search(start, self.max_iterations, bar) == 1
            and self.search.deviance < bar - RESTART_GAIN
            and self.function.residual_square > self.least * self.residual
            and _is_settled(self.search, self.function.noise)
        )
        if lower:
            self.good = True
            self.keep()
        return lower

    cdef void look(
        self,
        const double[:, ::1] points,
        const Py_ssize_t[:, ::1] neighbours,
        Py_ssize_t lowest,
        double* value,                    # (G,): scratch, or the deviances
        bint known,                       # whether they are given
    ) noexcept nogil:
        """The deviance at all points; starts from some, as ``rivals.promising_points``."""
        cdef Py_ssize_t g, i, other, _turn
        cdef double bound = -INFINITY, next_value
        self.stands = False
        if not known:
            for g in range(points.shape[0]):
                value[g] = self.function.value(&points[g, 0], False)
        for _turn in range(lowest):  # the lowest value but so many
            next_value = INFINITY
            for g in range(points.shape[0]):
                if bound < value[g] < next_value:
                    next_value = value[g]
            bound = next_value
        for g in range(points.shape[0]):
            if value[g] > bound:
                for i in range(neighbours.shape[1]):
                    other = neighbours[g, i]
                    if other >= 0 and value[other] < value[g]:
                        break
                else:
                    self.try_promising(&points[g, 0], value[g])
            else:
                self.try_promising(&points[g, 0], value[g])

    cdef void look_at_zero(self) noexcept nogil:
        """On from no variance at all, where that is lower."""
        memset(self.other, 0, self.n * sizeof(double))
        if self.function.value(self.other, False) < self.best - RESTART_GAIN:
            self.try_start(self.other)

    cdef void look_far(self, const double[:, ::1] large, double nobs) noexcept nogil:
        """On from variances beyond all others, as ``optimize``."""
        cdef Py_ssize_t w, i
        cdef double share
        for w in range(large.shape[0]):
            self.stands = False
            if isfinite(self.function.value(&large[w, 0], False)):
                share = self.function.residual_square / nobs
                if 0.0 < share < HARDLY_LEFT:
                    for i in range(self.n):
                        self.other[i] = large[w, i] / (LARGE_LOOK * sqrt(share))
                    self.try_start(self.other)

    cdef void look_along(
        self,
        const Py_ssize_t[::1] owner,
        const Py_ssize_t[::1] own,
        const double[:, ::1] sizes,
        Py_ssize_t most_looks,
        double* found,                    # scratch: (M + 4, n_theta)
        double* starts,                   # scratch: (A (M + 2), n_theta)
    ) noexcept nogil:
        """Other minima along single standard deviations from the lowest one."""
        cdef Py_ssize_t axis, i, count, all_starts, _turn
        cdef bint lower
        for _turn in range(most_looks):
            self.stands, lower, all_starts = False, False, 0
            for axis in range(sizes.shape[0]):
                count = starts_along(
                    self.search, self.point, self.best, owner, own[axis], axis,
                    sizes[axis], found,
                )
                memcpy(starts + all_starts * self.n, found, count * self.n * sizeof(double))
                all_starts += count
            for i in range(all_starts):
                lower |= self.try_start(starts + i * self.n)
            if not lower:
                break

    cdef bint is_between(
        self, const double* low, const double* high, double lowest
    ) noexcept nogil:
        """Whether a minimum below ``lowest`` has sizes within bounds.

        None on the boundary has: a lower one may lie inside, in the same cells.
        """
        cdef Py_ssize_t i
        if not self.good or not self.best < lowest + RESTART_GAIN:
            return False
        if self.smallest < ZERO_SINGULAR_VALUE:
            return False
        for i in range(self.n):
            if not low[i] <= fabs(self.point[i]) <= high[i]:
                return False
        return True

    cdef void try_promising(self, const double* start, double value) noexcept nogil:
        if value < self.best + self.reach:
            self.try_start(start)

    cdef void leave_boundary(self) noexcept nogil:
        """On from a singular end, whose triangle has its zeros at the end."""
        memcpy(self.other, self.point, self.n * sizeof(double))
        self.left = 1
        if self.try_start(self.other):
            self.round_zeros()
        else:
            self.function.value(self.point, False)

    cdef void round_zeros(self) noexcept nogil:
        """Exact zeros for negligible singular values; diagonals not negative."""
        cdef double value
        if self.smallest < ZERO_SINGULAR_VALUE:
            memcpy(self.other, self.point, self.n * sizeof(double))
            self.terms.canonical(self.other, True)
            value = self.function.value(self.other, False)
            self.stands = value <= self.best + ROUNDED * sqrt(max(1.0, fabs(self.best)))
            if self.stands:
                self.best, self.smallest = value, 0.0
                memcpy(self.point, self.other, self.n * sizeof(double))
        memcpy(self.other, self.point, self.n * sizeof(double))
        self.terms.canonical(self.point, False)
        if not self.stands or memcmp(self.other, self.point, self.n * sizeof(double)) != 0:
            self.best = self.function.value(self.point, False)


def refit_responses(
    Profiled function,                    # has been given the responses
    const double[:, ::1] start,           # in: (R, n_theta)
    *,
    const double[:, ::1] others,          # in: (S, n_theta) more starts
    bint thorough,                        # in: whether to try them always
    const double[:, ::1] points,          # in: (G, n_theta) where to look, or none
    const Py_ssize_t[:, ::1] neighbours,  # in: (G, N) their neighbours, or -1
    Py_ssize_t lowest,                    # in: points that are started from anyway
    double reach,                         # in: by which one may exceed the minimum
    const Py_ssize_t[::1] owner,          # in: (n_theta,) of ``rivals.Axes``
    const Py_ssize_t[::1] own,            # in: (A,)
    const double[:, ::1] sizes,           # in: (A, M)
    Py_ssize_t most_looks,                # in: times to look along them
    const double[:, ::1] large,           # in: (D, n_theta) of ``rivals.OtherStarts``
    double nobs,                          # in: y'y
    double least,                         # in: share of y'P0 y that others must leave
    const double[:, ::1] within,          # in: (R, n_theta) one more start each, or (0, .)
    bint may_leave,                       # in: whether to go on from singular ends
    const Py_ssize_t[::1] term_start,     # in: (terms + 1,) their first columns, and end
    const double[:, ::1] inverse,         # in: (K, K) T^-1 of the terms, block-diagonal
    Py_ssize_t max_iterations,
    Py_ssize_t most_searches,             # in: from other points
    double[:, ::1] theta,                 # out: (R, n_theta) in the data's units
    double[::1] deviance,                 # out: (R,) engine's units
    double[::1] residual_square,          # out: (R,) y'P0 y
    double[:, ::1] on_basis,              # out: (R, rank) coefficients of r on Q
    Py_ssize_t[::1] evaluations,          # out: (R,)
    unsigned char[::1] settled,           # out: (R,) whether a minimum was found
    unsigned char[::1] singular,          # out: (R,)
    double[::1] noise,                    # out: (R,) rounding error of the deviance
    bint always=False,                    # in: look even where the start was the minimum
    Py_ssize_t[::1] searched=None,        # out: (R,) evaluations of the first search
    double[:, ::1] looked=None,           # in: (R, G) the deviances there, if known
    const double[:, ::1] low=None,        # in: (R, n_theta) sizes between which a first
    const double[:, ::1] high=None,       # in: end below ``lowest_known`` (R,) is the
    const double[::1] lowest_known=None,  # in: only minimum, as ``shared_looks.Basins``
    double[:, :, ::1] root=None,          # out: (R, rank, rank) inverse of the factor of
                                          #      Q'V0^-1 Q, lower triangular
):
    """Fit every response, each from its own start, as ``optimize.minimize_deviance``."""
    cdef _Refit fit = _Refit(
        function, term_start, inverse, max_iterations, reach, least, most_searches
    )
    cdef Py_ssize_t r, i, n_values, n_derivatives, uninterrupted = 0
    cdef bint looks = sizes.shape[0] > 0, alone
    cdef double[::1] value = np.empty(max(points.shape[0], 1))
    cdef double[:, ::1] found = np.empty((sizes.shape[1] + 4, function.n_theta))
    cdef Py_ssize_t most_starts = sizes.size + 2 * sizes.shape[0] + 1
    cdef double[:, ::1] starts = np.empty((most_starts, function.n_theta))
    with nogil:
        for r in range(start.shape[0]):
            function.set_response(r)
            n_values, n_derivatives = function.n_values, function.n_derivatives
            if fit.from_start(&start[r, 0]):
                if searched is not None:
                    searched[r] = function.n_values - n_values
                if thorough or fit.smallest < ZERO_SINGULAR_VALUE:
                    for i in range(others.shape[0]):
                        fit.try_start(&others[i, 0])
                if looks and (always or function.n_derivatives - n_derivatives > 1):
                    fit.look_far(large, nobs)
                    alone = False
                    if looked is not None:
                        n_values -= points.shape[0]  # they count as evaluated
                        alone = low is not None and fit.is_between(
                            &low[r, 0], &high[r, 0], lowest_known[r]
                        )
                else:
                    alone = True
                if not alone:
                    if looked is None:
                        fit.look(points, neighbours, lowest, &value[0], False)
                    else:
                        fit.look(points, neighbours, lowest, &looked[r, 0], True)
                    if fit.n > 1:  # one is looked along
                        fit.look_at_zero()
                    fit.look_along(
                        owner, own, sizes, most_looks, &found[0, 0], &starts[0, 0]
                    )
                    if within.shape[0] and isfinite(within[r, 0]):
                        fit.try_promising(
                            &within[r, 0], function.value(&within[r, 0], False)
                        )
                fit.round_zeros()
                if may_leave and fit.smallest < ZERO_SINGULAR_VALUE:
                    fit.leave_boundary()
                fit.terms.outer(fit.point, &theta[r, 0])
                if on_basis.shape[1] and isfinite(fit.best):  # a failed factor has none
                    function.get_coefficients(&on_basis[r, 0])
                    if root is not None:
                        for i in range(function.p - 1):
                            memcpy(
                                &root[r, i, 0], function.change + i * function.p,
                                (function.p - 1) * sizeof(double),
                            )
                residual_square[r] = function.residual_square
                singular[r] = fit.smallest < ZERO_SINGULAR_VALUE
                noise[r] = function.noise
            deviance[r] = fit.best
            settled[r] = fit.good and isfinite(fit.best)
            evaluations[r] = function.n_values - n_values
            uninterrupted += evaluations[r]
            if uninterrupted > UNINTERRUPTED:
                uninterrupted = 0
                with gil:
                    PyErr_CheckSignals()


def coefficients_at(
    Profiled function,                    # has been given the responses
    const double[::1] theta,              # in: (n_theta,)
    double[:, ::1] on_basis,              # out: (R, rank), NaN where there are none
):
    """Coefficients of every response on Q at one theta."""
    cdef Py_ssize_t r, i
    with nogil:
        for r in range(on_basis.shape[0]):
            function.set_response(r)
            if isfinite(function.value(&theta[0], False)):
                function.get_coefficients(&on_basis[r, 0])
            else:
                for i in range(on_basis.shape[1]):
                    on_basis[r, i] = NAN


cdef bint _is_settled(Newton search, double noise) noexcept nogil:
    """Whether a search has ended at a minimum, as ``optimize`` judges it."""
    cdef double accepted
    if search.remainder >= 0.0:
        return True
    if search.set_model(False):
        return False
    accepted = max(DECREMENT_ACCEPTED, SHARE_ACCEPTED * fabs(search.deviance))
    accepted = max(accepted, NOISE_ACCEPTED * noise)
    return search.decrement <= accepted and not search.way_down
