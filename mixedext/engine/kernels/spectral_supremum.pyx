"""Suprema over a variance ratio of likelihood-ratio processes in spectral form.

With w_s chi-squared of the eigenvalue mu_s, w_0 the rest, T their sum and
D(r) = sum_s w_s / (1 + r mu_s) + w_0, the process is

    f(r) = N log(T / D(r)) - h(r),    h(r) = sum_s c_s log(1 + r xi_s),  r >= 0

(Crainiceanu and Ruppert 2004, theorem 1).  exp(-f / N) = (D(r) / T) exp(h(r) / N) is linear
in w: on a grid one matrix product.  Between the neighbours of each peak that may be the
highest, the derivative's root is found.
"""

from libc.math cimport exp, log, log1p
from scipy.linalg.cython_blas cimport dgemm

import numpy as np

# Simulations that share a matrix product.
cdef Py_ssize_t TOGETHER = 256
# A grid point may lie this much (in f) below the highest one and its peak be higher.
cdef double WITHIN = 0.5
# Equal eigenvalues up to which a product is taken rather than a logarithm.
cdef double MULTIPLIED = 6.0
# Error of f at which a search ends.
cdef double ENOUGH = 1e-11
# Logarithm of the ratio that is next to zero.
cdef double NEXT_TO_ZERO = -40.0


cdef double _penalty(
    const double[::1] xi, const double[::1] count, double ratio
) noexcept nogil:
    # few logarithms: factors of few equal eigenvalues are multiplied first
    cdef double total = 0.0, product = 1.0, x, left
    cdef Py_ssize_t s
    for s in range(xi.shape[0]):
        x = ratio * xi[s]
        if count[s] > MULTIPLIED:
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


cdef inline double _penalty_slope(
    const double[::1] xi, const double[::1] count, double ratio
) noexcept nogil:
    # dh / d log r
    cdef double total = 0.0, x
    cdef Py_ssize_t s
    for s in range(xi.shape[0]):
        x = ratio * xi[s]
        total += count[s] * x / (1.0 + x)
    return total


cdef double _slope(
    const double[::1] mu, const double* w, double rest, double dof,
    const double[::1] xi, const double[::1] count, double ratio,
) noexcept nogil:
    # df / d log r
    cdef double down = rest, change = 0.0, penalty = 0.0, x, y, share
    cdef Py_ssize_t s
    if &xi[0] == &mu[0]:  # restricted likelihood: one division an eigenvalue
        for s in range(mu.shape[0]):
            y = ratio * mu[s]
            x = 1.0 / (1.0 + y)
            y *= x
            share = w[s] * x
            down += share
            change += share * y
            penalty += count[s] * y
        return dof * change / down - penalty
    for s in range(mu.shape[0]):
        y = ratio * mu[s]
        x = 1.0 / (1.0 + y)
        share = w[s] * x
        down += share
        change += share * x * y
    return dof * change / down - _penalty_slope(xi, count, ratio)


cdef double _value(
    const double[::1] mu, const double* w, double rest, double dof,
    const double[::1] xi, const double[::1] count, double ratio,
) noexcept nogil:
    cdef double down = rest, gain = 0.0, x, share
    cdef Py_ssize_t s
    for s in range(mu.shape[0]):
        x = ratio * mu[s]
        share = w[s] / (1.0 + x)
        down += share
        gain += share * x
    return dof * log1p(gain / down) - _penalty(xi, count, ratio)


cdef double _peak(
    const double[::1] mu, const double* w, double rest, double dof,
    const double[::1] xi, const double[::1] count, double low, double middle, double high,
) noexcept nogil:
    # Highest f between log ratios low and high, of which the middle one is not lower.
    cdef double at, slope, low_slope, high_slope, left = low, right = high
    cdef int step, side = 0
    cdef bint from_zero
    slope = _slope(mu, w, rest, dof, xi, count, exp(middle))
    if slope > 0:
        left, low_slope = middle, slope
        high_slope = _slope(mu, w, rest, dof, xi, count, exp(right))
    else:
        right, high_slope = middle, slope
        low_slope = _slope(mu, w, rest, dof, xi, count, exp(left))
    from_zero = left <= NEXT_TO_ZERO
    for step in range(60):
        # Illinois; halves where the ends do not enclose a root, or one is next to zero:
        # there the slope in log r is next to nothing anyway
        if low_slope > 0 and high_slope < 0 and step < 40 and not from_zero:
            at = (left * high_slope - right * low_slope) / (high_slope - low_slope)
        else:
            at = 0.5 * (left + right)
        slope = _slope(mu, w, rest, dof, xi, count, exp(at))
        if slope > 0:
            left, low_slope = at, slope
            if side == 1:
                high_slope *= 0.5
            side = 1
        else:
            right, high_slope = at, slope
            if side == -1:
                low_slope *= 0.5
            side = -1
        # a parabola through the slopes: f lacks slope^2 / (2 curvature)
        if (
            slope * slope * (right - left) < ENOUGH * (low_slope - high_slope)
            and not from_zero
            or right - left < 1e-7
        ):
            break
    return _value(mu, w, rest, dof, xi, count, exp(at))


def suprema(
    const double[::1] mu,
    const double[::1] xi,
    const double[::1] count,
    double dof,
    const double[:, ::1] draws,           # in: (nsim, K) chi-squared of the mu ...
    const double[::1] rest,               # in: (nsim,) ... and of the rest
    const double[::1] grid,               # in: (G,) ratios, ascending, the first 0
    bint refine,                          # in: whether to go between the grid's points;
                                          # not with ...
    bint first_peak,                      # in: ... whether to stop at the first decrease
    double[::1] out,                      # out: (nsim,)
):
    """Supremum of f over the ratio for every simulation."""
    cdef Py_ssize_t n = draws.shape[0], k = mu.shape[0], g = grid.shape[0]
    cdef Py_ssize_t start, here, i, j, s, best
    cdef double[:, ::1] linear = np.empty((g, k))
    cdef double[::1] constant = np.empty(g), logs = np.empty(g), ones = np.ones(k)
    cdef double[:, ::1] ratios = np.empty((TOGETHER, g))
    cdef double least, least_allowed, total, value, highest, lower, upper, middle
    cdef double slope_zero, mean_xi = 0.0
    cdef int rows, columns = <int>g, depth = <int>k, ld = <int>max(k, 1)
    cdef double one = 1.0, zero = 0.0
    cdef char* yes = b"T"
    cdef char* no = b"N"
    cdef double* row
    for s in range(xi.shape[0]):
        mean_xi += count[s] * xi[s]
    for j in range(g):
        constant[j] = exp(_penalty(xi, count, grid[j]) / dof)
        logs[j] = log(grid[j]) if grid[j] > 0 else NEXT_TO_ZERO
        for s in range(k):
            linear[j, s] = constant[j] / (1.0 + grid[j] * mu[s])
    with nogil:
        start = 0
        while start < n:
            here = min(TOGETHER, n - start)
            rows = <int>here
            # ratios (here, g) = draws linear', column-major as (g, here) = linear draws'
            dgemm(yes, no, &columns, &rows, &depth, &one, &linear[0, 0], &ld,
                  <double*>&draws[start, 0], &ld, &zero, &ratios[0, 0], &columns)
            for i in range(here):
                row = &ratios[i, 0]
                best, least, total = 0, 1e300, rest[start + i]
                for s in range(k):
                    total += draws[start + i, s]
                for j in range(g):
                    row[j] += constant[j] * rest[start + i]
                    if row[j] < least:
                        best, least = j, row[j]
                    elif first_peak and j > 0 and row[j] > row[j - 1]:
                        break
                highest = 0.0
                if not refine and grid[best] > 0:
                    value = _value(mu, &draws[start + i, 0], rest[start + i], dof, xi,
                                   count, grid[best])
                    highest = max(highest, value)
                if refine:
                    least_allowed = least * exp(WITHIN / dof)
                    slope_zero = 0.0
                    for s in range(k):
                        slope_zero += mu[s] * draws[start + i, s]
                    slope_zero = dof * slope_zero / total - mean_xi
                    for j in range(g):
                        if row[j] > least_allowed:
                            continue
                        if j > 0 and row[j - 1] < row[j] or j < g - 1 and row[j + 1] <= row[j]:
                            continue
                        if j == 0 and not slope_zero > 0:
                            continue
                        lower = logs[j - 1] if j > 0 else NEXT_TO_ZERO
                        upper = logs[j + 1] if j < g - 1 else logs[j]
                        middle = logs[j] if j > 0 else NEXT_TO_ZERO
                        value = _peak(mu, &draws[start + i, 0], rest[start + i], dof, xi,
                                      count, lower, middle, upper)
                        highest = max(highest, value)
                out[start + i] = highest
            start += here


# Logarithm of the ratio beyond which nothing is looked for.
cdef double FARTHEST = 600.0


def beta_remainders(
    const double[::1] mu,
    const double[::1] xi,
    const double[::1] count,
    double dof,
    const double[:, ::1] shares,          # in: (n, K) the w_s divided by their sum
    const double[::1] levels,             # in: (n,) x
    const double[::1] grid,               # in: (G,) log ratios, equal steps, ascending
    double[::1] out,                      # out: (n,)
):
    """Largest w_0 / T with which the supremum reaches x, given the shares; if it may.

    With e(r) = exp(-(x + h(r)) / N) and d(r) = sum_s share_s / (1 + r mu_s), f(r) > x
    where w_0 / T < (e - d) / (1 - d); the largest of it over r is found on the grid, or
    beyond it, and then by golden section.  It keeps its digits however small it is.
    """
    cdef Py_ssize_t n = shares.shape[0], k = mu.shape[0], g = grid.shape[0], i, j, best
    cdef double[::1] penalties = np.empty(g)
    cdef double[:, ::1] parts = np.empty((g, k))
    cdef double most, value, low, high, a, b, fa, fb, x
    cdef double width = grid[1] - grid[0]
    cdef double golden = 0.6180339887498949
    cdef int step
    cdef Py_ssize_t s
    for j in range(g):
        penalties[j] = _penalty(xi, count, exp(grid[j]))
        for s in range(k):
            x = exp(grid[j]) * mu[s]
            parts[j, s] = x / (1.0 + x)
    with nogil:
        for i in range(n):
            best, most = 0, -1e300
            for j in range(g):
                value = 0.0
                for s in range(k):
                    value += shares[i, s] * parts[j, s]
                value = 1.0 + _expm1(-(levels[i] + penalties[j]) / dof) / value
                if value > most:
                    best, most = j, value
            if best == 0:  # next to a ratio of zero, where nothing changes any more
                out[i] = most
                continue
            low, high = grid[best - 1], grid[min(best + 1, g - 1)]
            while best == g - 1 and high < FARTHEST:
                most = _remainder(mu, xi, count, dof, &shares[i, 0], levels[i], high)
                value = _remainder(
                    mu, xi, count, dof, &shares[i, 0], levels[i], high + width
                )
                if value <= most:
                    high += width
                    break
                low, high = high, high + width
            a, b = high - golden * (high - low), low + golden * (high - low)
            fa = _remainder(mu, xi, count, dof, &shares[i, 0], levels[i], a)
            fb = _remainder(mu, xi, count, dof, &shares[i, 0], levels[i], b)
            # the error of the value is the square of that of the place
            for step in range(26):
                if fa > fb:
                    high, b, fb = b, a, fa
                    a = high - golden * (high - low)
                    fa = _remainder(mu, xi, count, dof, &shares[i, 0], levels[i], a)
                else:
                    low, a, fa = a, b, fb
                    b = low + golden * (high - low)
                    fb = _remainder(mu, xi, count, dof, &shares[i, 0], levels[i], b)
            out[i] = max(most, max(fa, fb))


cdef double _remainder(
    const double[::1] mu, const double[::1] xi, const double[::1] count, double dof,
    const double* share, double level, double log_ratio,
) noexcept nogil:
    cdef double ratio = exp(log_ratio), exponent, d = 0.0, total = 0.0, x
    cdef Py_ssize_t s
    for s in range(mu.shape[0]):
        x = ratio * mu[s]
        d += share[s] / (1.0 + x)
        total += share[s] * x / (1.0 + x)
    exponent = -(level + _penalty(xi, count, ratio)) / dof
    # the form that has no cancellation
    return (exp(exponent) - d) / total if d < 0.5 else 1.0 + _expm1(exponent) / total


cdef extern from "math.h" nogil:
    double _expm1 "expm1" (double)
