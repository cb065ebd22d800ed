"""Steps of the search in variances where those in standard deviations would be poor."""

from libc.math cimport fabs, sqrt

from mixedext import limits

cdef double FLAT_CURVATURE = limits.FLAT_CURVATURE

# A standard deviation whose variance wants to be zero or less is multiplied by this.
cdef double LEAP = 0.01
# The share of the largest curvature that a pivot must have.
cdef double CLEARLY_DEFINITE = 1e-8


cdef double variance_step(
    Py_ssize_t n,
    const double* squared,            # in: (n,) nonzero where t enters by its square alone
    const double* theta,              # in: (n,)
    const double* gradient,           # in: (n,)
    const double* hessian,            # in: (n, n)
    double radius,                    # in: length allowed
    double* work,                     # scratch: (n, n + 2)
    double* step,                     # out: (n,)
    double* fall,                     # out: what the model promises
) noexcept nogil:
    """A step in variances instead of standard deviations; its length, or -1 for none.

    A parameter t that enters by its square alone has the slope t s and the curvature
    a + s, the bend s = 2 d dev / d t^2 and a > 0 from the information.  Toward a variance
    of zero that makes t fall by a third a step as long as s is small beside a; away from
    zero the curvature is negative.  In t^2 the model is convex: its step is taken where
    it ends at or below zero, only not all of the way, or where it is more than double.
    """
    cdef Py_ssize_t i, j, c
    cdef double* root = work
    cdef double* change = work + n * n  # change of t^2 over 2 t; of t for all others
    cdef double* shift = work + n * n + n  # what the curvature loses
    cdef double t, score, own, length, x, largest = 0.0
    cdef bint found = False
    for i in range(n):
        largest = max(largest, fabs(hessian[i * n + i]))
    for i in range(n):
        change[i] = shift[i] = 0.0
        t = theta[i]
        x = FLAT_CURVATURE * largest
        if fabs(hessian[i * n + i]) <= x and fabs(gradient[i]) <= 1e-3 * x:
            shift[i] = largest  # rounding is all that is known of it: it stays
            continue
        if squared[i] == 0.0 or t == 0.0:
            continue
        score = gradient[i] / t
        own = hessian[i * n + i] - score
        if not own > 0.0:
            continue
        if score >= 0.5 * own and own > 0.1 * (own + score):
            change[i] = -0.5 * (1.0 - LEAP * LEAP) * t
        if change[i] != 0.0 or score <= -0.5 * own:
            shift[i], found = score, True
    if not found:
        return -1.0
    # Cholesky factor of the curvature, changes that are given left out
    for j in range(n):
        for i in range(j, n):
            if shift[i] > 0.0 or shift[j] > 0.0:
                root[i * n + j] = 1.0 if i == j else 0.0
                continue
            x = hessian[i * n + j] - (shift[i] if i == j else 0.0)
            for c in range(j):
                x -= root[i * n + c] * root[j * n + c]
            if i > j:
                root[i * n + j] = x / root[j * n + j]
            elif x > CLEARLY_DEFINITE * fabs(hessian[i * n + i]):
                root[i * n + i] = sqrt(x)
            else:
                return -1.0
    for i in range(n):
        if shift[i] > 0.0:
            step[i] = change[i]
            continue
        x = -gradient[i]
        for j in range(n):
            if shift[j] > 0.0:
                x -= hessian[i * n + j] * change[j]
        for j in range(i):
            x -= root[i * n + j] * step[j]
        step[i] = x / root[i * n + i]
    for i in range(n - 1, -1, -1):
        if shift[i] > 0.0:
            continue
        x = step[i]
        for j in range(i + 1, n):
            x -= root[j * n + i] * change[j]
        change[i] = x / root[i * n + i]
    fall[0] = 0.0
    for i in range(n):
        x = gradient[i] - 0.5 * shift[i] * change[i]
        for j in range(n):
            x += 0.5 * hessian[i * n + j] * change[j]
        fall[0] -= x * change[i]
    length = 0.0
    for i in range(n):
        t = theta[i]
        step[i] = change[i]
        if shift[i] != 0.0 and change[i] != 0.0:
            x = 1.0 + 2.0 * change[i] / t
            step[i] = (sqrt(max(x, LEAP * LEAP)) - 1.0) * t
        length += step[i] * step[i]
    length = sqrt(length)
    return length if fall[0] > 0.0 and length <= radius else -1.0
