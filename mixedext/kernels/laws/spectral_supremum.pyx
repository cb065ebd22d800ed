"""Suprema over a variance ratio of likelihood-ratio processes in spectral form.

With w_s chi-squared of the eigenvalue mu_s, w_0 the rest, T their sum and
D(r) = sum_s w_s / (1 + r mu_s) + w_0, the process is

    f(r) = N log(T / D(r)) - h(r),    h(r) = sum_s c_s log(1 + r xi_s),  r >= 0

(Crainiceanu and Ruppert 2004, theorem 1).  At given ratios D(r) f'(r), and on a grid
exp(-f / N) T = D(r) exp(h(r) / N), are linear in w: one matrix product each.  Where f'
turns from positive to negative between two ratios, Newton's method finds the peak, for
several draws at a time.
"""

cimport cython
from libc.math cimport exp, expm1, fabs, log, log1p, sqrt
from mixedext.kernels.lanes cimport (
    LANES,
    ONE,
    ZERO,
    cloned_int,
    lane,
    reciprocal,
)
from scipy.linalg.cython_blas cimport dgemm

import numpy as np

cdef enum:
    TOGETHER = 256  # simulations that share a matrix product
    MOST_STEPS = 200  # of a search
# Equal eigenvalues up to which a product is taken rather than a logarithm.
cdef double MULTIPLIED = 6.0
# A number whose power of that order, times the largest product, is finite.
cdef double LARGE = 1e25
# Error of f at which a search ends, and relative distance of its ends.
cdef double ENOUGH = 1e-12
cdef double NEIGHBOURS = 1e-13
# Relative error of a threshold at which its search ends.
cdef double CLOSE = 1e-14


cdef class Process:
    """The process f but for its draws.

    Parameters
    ----------
    mu : ndarray
        (K,) eigenvalues of the draws.
    xi, count : ndarray
        (M,) eigenvalues of the penalty h, and how often each occurs.
    dof : float
        N.
    """

    cdef readonly const double[::1] mu, xi, count
    cdef readonly double[::1] rise        # (M,) count xi
    cdef readonly double dof

    def __cinit__(self, mu, xi, count, double dof):
        self.mu, self.xi, self.count, self.dof = mu, xi, count, dof
        self.rise = np.multiply(count, xi)


cdef double _penalty(Process f, double ratio) noexcept nogil:
    # few logarithms: factors of few equal eigenvalues are multiplied first
    cdef double total = 0.0, product = 1.0, x, left
    cdef const double* xi = &f.xi[0]
    cdef const double* count = &f.count[0]
    cdef Py_ssize_t s
    for s in range(f.xi.shape[0]):
        x = ratio * xi[s]
        if count[s] > MULTIPLIED or x > LARGE:
            total += count[s] * log1p(x)
            continue
        left = count[s]
        while left > 0.5:
            product *= 1.0 + x
            left -= 1.0
        if product > 1e150:
            total += log(product)
            product = 1.0
    return total + log(product)


cdef double _value(Process f, const double* w, double rest, double ratio) noexcept nogil:
    cdef double down = rest, gain = 0.0, x, share
    cdef const double* mu = &f.mu[0]
    cdef Py_ssize_t s
    for s in range(f.mu.shape[0]):
        x = ratio * mu[s]
        share = w[s] / (1.0 + x)
        down += share
        gain += share * x
    return f.dof * log1p(gain / down) - _penalty(f, ratio)


cdef cloned_int _slopes(
    Process f, const lane* w, const lane* rest, double nearest, const double* place,
    double* slope, double* bend,
) noexcept nogil:
    """Derivatives of f, of a draw in each lane, by the logarithm of place = r + nearest."""
    cdef const double* mu = &f.mu[0]
    cdef const double* xi = &f.xi[0]
    cdef const double* rise = &f.rise[0]
    cdef double dof = f.dof
    cdef lane u = (<lane*>place)[0], r = u - ONE * nearest
    cdef lane x, y, z, down = rest[0], fall = ZERO, turn = ZERO, climb = ZERO, brake = ZERO
    cdef Py_ssize_t s
    for s in range(f.mu.shape[0]):
        x = reciprocal(ONE + r * mu[s])
        y = x * mu[s]
        z = x * w[s]
        down += z
        z *= y
        fall += z
        turn += z * y
    for s in range(f.xi.shape[0]):
        x = reciprocal(ONE + r * xi[s])
        y = x * rise[s]
        climb += y
        brake += x * xi[s] * y
    down = reciprocal(down)
    fall *= down  # -D' / D, and turn is D'' / 2
    x = (fall * dof - climb) * u
    (<lane*>slope)[0] = x
    (<lane*>bend)[0] = ((fall * fall - (down + down) * turn) * dof + brake) * u * u + x
    return 1


cdef inline bint _take_step(
    double slope, double bend, double* place, double* low, double* high, double* lacking
) noexcept nogil:
    # Newton's step in log place between low and high, or False if f lacks next to nothing.
    cdef double move = -slope / bend if bend < 0 else 2.0
    if slope > 0:
        low[0] = place[0]
    else:
        high[0] = place[0]
    lacking[0] = 0.5 * fabs(slope * move)  # by a parabola
    if fabs(slope) * move * move < ENOUGH:
        return False
    if high[0] - low[0] < NEIGHBOURS * high[0]:
        lacking[0] = 0.0
        return False
    if fabs(move) < 1.0:
        place[0] *= (2.0 + move) / (2.0 - move)  # exp(move) but for its cube
    if not (fabs(move) < 1.0 and low[0] < place[0] < high[0]):
        place[0] = sqrt(low[0] * high[0])
    return True


@cython.final
cdef class Peaks:
    """Peaks of f to be found, each of one draw and between two ratios, LANES at a time.

    Ratios are given as place = r + nearest: its logarithm is like r near zero, and like
    log r far away.
    """

    cdef Process f
    cdef double nearest
    cdef double[::1] out, space
    cdef lane* w  # (K,) of the peaks' draws
    cdef double* rest
    cdef double* place
    cdef double* low
    cdef double* high
    cdef double* slope
    cdef double* bend
    cdef double* lacking
    cdef const double* draw[LANES]
    cdef Py_ssize_t number[LANES]
    cdef Py_ssize_t waiting

    def __init__(self, Process f, nearest, out):
        self.f, self.nearest, self.out = f, nearest, out
        self.space = np.zeros((len(f.mu) + 8) * LANES)  # one more, to align the others
        self.w = <lane*>(
            (<size_t>&self.space[0] + sizeof(lane) - 1) // sizeof(lane) * sizeof(lane)
        )
        self.rest = <double*>(self.w + f.mu.shape[0])
        self.place, self.low, self.high, self.slope, self.bend, self.lacking = (
            self.rest + LANES, self.rest + 2 * LANES, self.rest + 3 * LANES,
            self.rest + 4 * LANES, self.rest + 5 * LANES, self.rest + 6 * LANES,
        )
        self.waiting = 0

    cdef void add(
        self, Py_ssize_t number, const double* draw, double rest,
        double low, double high, double place,
    ) noexcept nogil:
        cdef Py_ssize_t at = self.waiting, s
        self.number[at], self.draw[at], self.rest[at] = number, draw, rest
        self.low[at], self.high[at], self.place[at] = low, high, place
        for s in range(self.f.mu.shape[0]):
            (<double*>&self.w[s])[at] = draw[s]
        self.waiting += 1
        if self.waiting == LANES:
            self.find()

    cdef void find(self) noexcept nogil:
        # Raise ``out`` to the peaks that wait.
        cdef Py_ssize_t _step, t
        cdef bint more
        cdef double peak
        for t in range(self.waiting, LANES):  # nothing to be found there
            self.low[t] = self.high[t] = self.place[t] = self.nearest
        for _step in range(MOST_STEPS):
            _slopes(
                self.f, self.w, <lane*>self.rest, self.nearest, self.place, self.slope,
                self.bend,
            )
            more = False
            for t in range(LANES):
                more |= _take_step(
                    self.slope[t], self.bend[t], &self.place[t], &self.low[t],
                    &self.high[t], &self.lacking[t],
                )
            if not more:
                break
        for t in range(self.waiting):
            peak = self.lacking[t] + _value(
                self.f, self.draw[t], self.rest[t], self.place[t] - self.nearest
            )
            self.out[self.number[t]] = max(self.out[self.number[t]], peak)
        self.waiting = 0


cdef inline double _parabolic_root(
    double at_zero, double at_one, double bend
) noexcept nogil:
    # Between 0 and 1, for a change of sign, and second differences: that of the chord,
    # and a step of Newton's.
    cdef double fall = at_zero - at_one, root = at_zero / fall
    root -= 0.5 * bend * root * (1.0 - root) / (fall + 0.5 * bend * (1.0 - 2.0 * root))
    return min(max(root, 0.0), 1.0)


def suprema(
    Process f,
    const double[:, ::1] draws,           # in: (nsim, K) chi-squared of the mu ...
    const double[::1] rest,               # in: (nsim,) ... and of the rest
    const double[::1] places,             # in: (G,) r + nearest, ascending, of r from 0 on
    double nearest,
    double[::1] out,                      # out: (nsim,)
):
    """Supremum of f over the ratio, up to the last of the places, for every simulation."""
    cdef Py_ssize_t n = draws.shape[0], g = places.shape[0]
    cdef Py_ssize_t block, start, here, i, j
    cdef double[:, ::1] linear
    cdef double[::1] constant
    cdef double[:, ::1] slopes = np.empty((TOGETHER, g))
    cdef Peaks peaks = Peaks(f, nearest, out)
    cdef const double* w
    cdef double* slope
    cdef double bend, part
    forms = _slope_forms(f, places, nearest)
    linear, constant = forms[0], forms[1]
    with nogil:
        for block in range((n + TOGETHER - 1) // TOGETHER):
            start = block * TOGETHER
            here = min(TOGETHER, n - start)
            _multiply(here, &draws[start, 0], linear, slopes)
            for i in range(here):
                w, slope = &draws[start + i, 0], &slopes[i, 0]
                out[start + i] = 0.0
                for j in range(g):
                    slope[j] += constant[j] * rest[start + i]
                for j in range(g - 1):
                    if not (slope[j] > 0 and slope[j + 1] <= 0):
                        continue
                    bend = 0.0
                    if j + 2 < g:
                        bend = slope[j + 2] - 2.0 * slope[j + 1] + slope[j]
                    part = _parabolic_root(slope[j], slope[j + 1], bend)
                    peaks.add(
                        start + i, w, rest[start + i], places[j], places[j + 1],
                        places[j] * exp(part * log(places[j + 1] / places[j])),
                    )
                if slope[g - 1] > 0:
                    out[start + i] = max(
                        out[start + i],
                        _value(f, w, rest[start + i], places[g - 1] - nearest),
                    )
        peaks.find()


def _slope_forms(Process f, places, nearest):
    """Coefficients of D(r) df / dlog(place): of w (G, K), and of w_0 (G,)."""
    mu, places = np.asarray(f.mu), np.asarray(places)
    ratios = places - nearest
    x = 1.0 / (1.0 + np.multiply.outer(ratios, mu))
    climb = places * ((1.0 / (1.0 + np.multiply.outer(ratios, f.xi))) @ f.rise)
    return x * (f.dof * places[:, None] * mu * x - climb[:, None]), -climb


cdef void _multiply(
    Py_ssize_t n, const double* draws, const double[:, ::1] linear,
    double[:, ::1] out,
) noexcept nogil:
    # out (n, G) = draws linear'; column-major out (G, n) = linear draws'
    cdef int rows = <int>n, columns = <int>linear.shape[0], depth = <int>linear.shape[1]
    cdef double one = 1.0, zero = 0.0
    cdef char* yes = b"T"
    cdef char* no = b"N"
    dgemm(yes, no, &columns, &rows, &depth, &one, <double*>&linear[0, 0], &depth,
          <double*>draws, &depth, &zero, &out[0, 0], &columns)


def grid_suprema(
    Process f,
    const double[:, ::1] draws,           # in: (nsim, K) chi-squared of the mu ...
    const double[::1] rest,               # in: (nsim,) ... and of the rest
    const double[::1] grid,               # in: (G,) ratios, ascending, the first 0
    bint first_peak,                      # in: whether to stop at the first decrease
    double[::1] out,                      # out: (nsim,)
):
    """Highest f on the grid for every simulation."""
    cdef Py_ssize_t n = draws.shape[0], g = grid.shape[0]
    cdef Py_ssize_t block, start, here, i, j, best
    cdef double[::1] constant
    cdef double[:, ::1] linear
    cdef double[:, ::1] shares = np.empty((TOGETHER, g))
    cdef double* share
    penalties = np.array([_penalty(f, ratio) for ratio in grid])
    constant = np.exp(penalties / f.dof)
    linear = np.asarray(constant)[:, None] / (1.0 + np.multiply.outer(grid, f.mu))
    with nogil:
        for block in range((n + TOGETHER - 1) // TOGETHER):
            start = block * TOGETHER
            here = min(TOGETHER, n - start)
            _multiply(here, &draws[start, 0], linear, shares)
            for i in range(here):
                best, share = 0, &shares[i, 0]
                for j in range(g):
                    share[j] += constant[j] * rest[start + i]
                    if share[j] < share[best]:
                        best = j
                    elif first_peak and j > 0 and share[j] > share[j - 1]:
                        break
                out[start + i] = max(
                    0.0, _value(f, &draws[start + i, 0], rest[start + i], grid[best])
                )


# Logarithm of the ratio beyond which nothing is looked for, and the least B from which on
# 1 - B is worked with.
cdef double FARTHEST = 600.0, FAR = 0.9


def beta_remainders(
    Process f,
    const double[:, ::1] shares,          # in: (n, K) the w_s divided by their sum
    const double[::1] levels,             # in: (n,) x
    const double[::1] grid,               # in: (G,) log ratios, ascending
    double[::1] out,                      # out: (n,)
):
    """Largest w_0 / T with which the supremum reaches x, given the shares; if it may.

    With e(r) = exp(-(x + h(r)) / N) and d(r) = sum_s share_s / (1 + r mu_s), f(r) > x
    where w_0 / T < (e - d) / (1 - d), and B = 1 - w_0 / T > (1 - e) / (1 - d).  The least B
    is found on the grid, and then by Newton's method for the logarithm; where B is nearly
    1, or beyond the grid, ``_far_remainder`` keeps the digits of w_0 / T.
    """
    cdef Py_ssize_t n = shares.shape[0], g = grid.shape[0], block, start, i, j, best
    cdef double[:, ::1] parts, sums = np.empty((TOGETHER, g))
    cdef double[::1] penalties
    cdef double least, value, low, high, at, slope, bend, move, dof = f.dof
    cdef int _step
    penalties = np.array([_penalty(f, exp(x)) for x in grid])
    ratios = np.multiply.outer(np.exp(grid), f.mu)
    parts = ratios / (1.0 + ratios)
    with nogil:
        for block in range((n + TOGETHER - 1) // TOGETHER):
            start = block * TOGETHER
            _multiply(min(TOGETHER, n - start), &shares[start, 0], parts, sums)
            for i in range(start, min(start + TOGETHER, n)):
                best, least = 0, 1e300
                for j in range(g):
                    value = -expm1(-(levels[i] + penalties[j]) / dof) / sums[i - start, j]
                    if value < least:
                        best, least = j, value
                if best == 0:  # next to a ratio of zero: nothing changes any more
                    out[i] = 1.0 - least
                    continue
                if best == g - 1 or least > FAR:
                    out[i] = _far_remainder(f, &shares[i, 0], levels[i], grid)
                    continue
                at, low, high = grid[best], grid[best - 1], grid[best + 1]
                for _step in range(MOST_STEPS):
                    value = _threshold(
                        f, &shares[i, 0], levels[i], exp(at), &slope, &bend
                    )
                    least = min(least, value)
                    if slope < 0:
                        low = at
                    else:
                        high = at
                    move = -slope / bend if bend > 0 else high - low
                    # twice what the logarithm exceeds its least by
                    if fabs(slope * move) < CLOSE or high - low < NEIGHBOURS:
                        break
                    at += move
                    if not low < at < high:
                        at = 0.5 * (low + high)
                out[i] = 1.0 - least


cdef double _threshold(
    Process f, const double* share, double level, double ratio, double* slope,
    double* bend,
) noexcept nogil:
    # The threshold at a ratio, and the derivatives of its logarithm by that of the ratio.
    cdef double part = 0.0, rise = 0.0, turn = 0.0, x, y, z, left
    cdef double climb = 0.0, brake = 0.0
    cdef Py_ssize_t s
    for s in range(f.mu.shape[0]):
        x = ratio * f.mu[s]
        y = 1.0 / (1.0 + x)
        z = share[s] * x * y
        part += z
        z *= y
        rise += z
        turn += z * (y - x * y)
    for s in range(f.xi.shape[0]):
        x = ratio * f.xi[s]
        y = 1.0 / (1.0 + x)
        z = f.count[s] * x * y / f.dof
        climb += z
        brake += z * y
    left = (level + _penalty(f, ratio)) / f.dof
    rise /= part
    x = 1.0 / expm1(left)
    slope[0] = climb * x - rise
    bend[0] = (brake - climb * climb * (1.0 + x)) * x - turn / part + rise * rise
    return -expm1(-left) / part


cdef double _far_remainder(
    Process f, const double* share, double level, const double[::1] grid
) noexcept nogil:
    # the largest of (e - d) / (1 - d), on the grid or beyond it, and by golden section
    cdef Py_ssize_t g = grid.shape[0], j, best = 0
    cdef double most = -1e300, value, low, high, a, b, fa, fb
    cdef double width = grid[1] - grid[0], golden = 0.6180339887498949
    cdef int _step
    for j in range(g):
        value = _remainder(f, share, level, grid[j])
        if value > most:
            best, most = j, value
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, g - 1)]
    while best == g - 1 and high < FARTHEST:
        most = _remainder(f, share, level, high)
        value = _remainder(f, share, level, high + width)
        if value <= most:
            high += width
            break
        low, high = high, high + width
    a, b = high - golden * (high - low), low + golden * (high - low)
    fa = _remainder(f, share, level, a)
    fb = _remainder(f, share, level, b)
    # the error of the value is the square of that of the place
    for _step in range(26):
        if fa > fb:
            high, b, fb = b, a, fa
            a = high - golden * (high - low)
            fa = _remainder(f, share, level, a)
        else:
            low, a, fa = a, b, fb
            b = low + golden * (high - low)
            fb = _remainder(f, share, level, b)
    return max(most, max(fa, fb))


cdef double _remainder(
    Process f, const double* share, double level, double log_ratio
) noexcept nogil:
    cdef double ratio = exp(log_ratio), exponent, d = 0.0, total = 0.0, x
    cdef Py_ssize_t s
    for s in range(f.mu.shape[0]):
        x = ratio * f.mu[s]
        d += share[s] / (1.0 + x)
        total += share[s] * x / (1.0 + x)
    exponent = -(level + _penalty(f, ratio)) / f.dof
    # the form that has no cancellation
    return (exp(exponent) - d) / total if d < 0.5 else 1.0 + expm1(exponent) / total
