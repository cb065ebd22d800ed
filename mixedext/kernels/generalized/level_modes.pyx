"""The conditional mode of one level: the minimum of h(u) = sum l_i + u'u / 2.

Newton steps -M^-1 (lam'S + u), M = I + lam'Z'WZ lam, until the decrement of one is so small
that the next would be below rounding; that one is taken, and W formed behind it.  Of a
convex h the slope along the step says whether this was too long, so that l itself is not
computed; h is watched once that fails.  Where l is not convex, expected weights lead near.
"""

from libc.math cimport fabs, log
from libc.string cimport memset
from mixedext.kernels.generalized.families cimport RowFamily
from mixedext.kernels.generalized.level_work cimport (
    DERIVATIVES,
    EXPECTED,
    FOUND,
    LOSS,
    NEWTON,
    NO_STEP,
    NO_WEIGHTS,
    NOT_STRICT,
    OUT_OF_RANGE,
    SLOPE,
    TOO_MANY,
    Work,
    add,
    factor_gram,
    gram_of,
    inner,
    look_at_effects,
    predictor,
    project,
    solve_lower,
    solve_upper,
    times_lam,
    total,
)
from mixedext.kernels.lanes cimport cloned_int

# Decrement of h below which a step is the last; the next would be below rounding.
cdef double LAST_DECREMENT = 1e-13
# Decrement below which a family that is not log-concave gets its observed weights.
cdef double NEARLY = 1e-2
cdef double SUFFICIENT = 1e-4, SHORTEST = 1e-10
# Longest step of a scalar effect, in standard deviations of the effects.
cdef double LONGEST = 3.0
cdef int MOST_ITERATIONS = 200
# Iterations after which a log-concave likelihood is watched, and not its slope alone.
cdef int FREE_ITERATIONS = 6


cdef cloned_int _sum_fixed(
    Work* w, Py_ssize_t p, const double* beta, const double* offset
) noexcept nogil:
    cdef Py_ssize_t j
    memset(w.fixed, 0, w.size * sizeof(double))
    for j in range(p):
        add(w.n, beta[j], w.x + j * w.n, w.fixed)
    if offset != NULL:
        add(w.n, 1.0, offset, w.fixed)
    return 0


cdef inline void _look(
    Work* w, RowFamily family, const double* u, int wanted
) noexcept nogil:
    # the likelihood's terms and S at coefficients u
    if w.k == 1:
        w.effect[0] = w.lam[0] * u[0]
    else:
        times_lam(w.k, w.lam, False, u, w.effect)
    predictor(w.size, w.n, w.k, w.effect, w.z, w.fixed, w.eta)
    look_at_effects(w, family, wanted)
    project(w.size, w.n, w.k, w.slope, w.z, w.slopes)


cdef cloned_int _find_mode(Work* w, RowFamily family, int* iterations) noexcept nogil:
    cdef Py_ssize_t a, k = w.k
    cdef int turn, wanted, look_for, last
    cdef bint careful = not w.concave, observed, newton
    cdef double decrement = 1e300, slope, length, h = 0.0, found, x
    look_for = NEWTON if w.concave else NEWTON | EXPECTED
    wanted = look_for | LOSS if careful else look_for
    _look(w, family, w.u, wanted)
    x = 0.0
    for a in range(k):
        x += w.slopes[a]
    if careful:
        h = total(w.size, w.loss) + 0.5 * inner(k, w.u, w.u)
        x += h
    if not x * 0.0 == 0.0:
        # from zero on, with an eye on h
        careful = True
        wanted = look_for | LOSS
        memset(w.u, 0, k * sizeof(double))
        _look(w, family, w.u, wanted)
        h = total(w.size, w.loss)
        if not h * 0.0 == 0.0:
            return OUT_OF_RANGE
    for turn in range(MOST_ITERATIONS):
        iterations[0] += 1
        if turn == FREE_ITERATIONS and not careful:
            careful = True
            wanted = look_for | LOSS
            _look(w, family, w.u, wanted)
            h = total(w.size, w.loss) + 0.5 * inner(k, w.u, w.u)
        newton = w.concave or decrement <= NEARLY
        observed = newton
        if observed:
            gram_of(w.size, w.n, k, w.weight, w.z, w.gram)
            observed = factor_gram(w, w.gram, w.root)
        if not observed:
            if w.concave:
                return NO_WEIGHTS
            gram_of(w.size, w.n, k, w.expected, w.z, w.gram)
            if not factor_gram(w, w.gram, w.root):
                return NO_WEIGHTS
        if k == 1:
            x = w.lam[0] * w.slopes[0] + w.u[0]
            w.step[0] = -x / (w.root[0] * w.root[0])
            decrement = -x * w.step[0]
            if fabs(w.step[0]) > LONGEST:
                w.step[0] = LONGEST if w.step[0] > 0.0 else -LONGEST
            slope = -x * w.step[0]
        else:
            times_lam(k, w.lam, True, w.slopes, w.gradient)
            for a in range(k):
                w.gradient[a] += w.u[a]
                w.step[a] = -w.gradient[a]
            solve_lower(k, 1, w.root, w.step)
            decrement = inner(k, w.step, w.step)
            solve_upper(k, 1, w.root, w.step)
            slope = decrement
        # a step by expected weights leaves an error of the first order in the determinant
        last = newton and decrement < LAST_DECREMENT
        if last:
            # S, and the weights of the determinant, are those behind this step
            wanted |= LOSS | DERIVATIVES
        length = 1.0
        while True:
            for a in range(k):
                w.trial[a] = w.u[a] + length * w.step[a]
            _look(w, family, w.trial, wanted)
            if careful:
                found = total(w.size, w.loss) + 0.5 * inner(k, w.trial, w.trial)
                # of the last step h tells no more than rounding
                if found <= h - SUFFICIENT * length * slope + 1e-13 * fabs(h) or (
                    last and found * 0.0 == 0.0
                ):
                    h = found
                    break
                length *= 0.5
                if length < SHORTEST:
                    # nothing lower along it: rounding, where little was to be gained
                    if not decrement <= 1e-6 * (1.0 + fabs(h)):
                        return NO_STEP
                    for a in range(k):
                        w.trial[a] = w.u[a]
                    wanted |= LOSS | DERIVATIVES
                    _look(w, family, w.trial, wanted)
                    last = True
                    break
            else:
                # of a convex function the slope along the step says enough
                times_lam(k, w.lam, True, w.slopes, w.gradient)
                found = inner(k, w.gradient, w.step) + inner(k, w.trial, w.step)
                if found * 0.0 == 0.0 and (found <= 0.5 * slope or last):
                    if last:
                        h = total(w.size, w.loss) + 0.5 * inner(k, w.trial, w.trial)
                    break
                careful = True
                _look(w, family, w.u, LOSS | SLOPE)
                h = total(w.size, w.loss) + 0.5 * inner(k, w.u, w.u)
                if not h * 0.0 == 0.0:
                    return OUT_OF_RANGE
                wanted |= LOSS
        for a in range(k):
            w.u[a] = w.trial[a]
        if last:
            w.h = h
            return FOUND
    return TOO_MANY


cdef cloned_int _stand(Work* w) noexcept nogil:
    cdef Py_ssize_t a, k = w.k
    cdef double* root = w.root
    gram_of(w.size, w.n, k, w.weight, w.z, w.gram)
    if not factor_gram(w, w.gram, w.root):
        return NOT_STRICT
    if w.expected_determinant:
        gram_of(w.size, w.n, k, w.expected, w.z, w.other_gram)
        if not factor_gram(w, w.other_gram, w.other_root):
            return NOT_STRICT
        root = w.other_root
    w.log_det = 0.0
    for a in range(k):
        w.log_det += 2.0 * log(root[a * k + a])
    memset(w.spread, 0, k * k * sizeof(double))
    for a in range(k):
        w.spread[a * k + a] = 1.0
    solve_lower(k, k, root, w.spread)
    solve_upper(k, k, root, w.spread)
    return FOUND


cdef void sum_fixed(
    Work* w, Py_ssize_t p, const double* beta, const double* offset
) noexcept nogil:
    """The linear predictor without random effects, into w.fixed."""
    _sum_fixed(w, p, beta, offset)


cdef int find_mode(Work* w, RowFamily family, int* iterations) noexcept nogil:
    """Search the mode from w.u on; leaves the likelihood's terms, S and h there.

    Returns FOUND, or why there is none.
    """
    return _find_mode(w, family, iterations)


cdef int stand(Work* w) noexcept nogil:
    """N, M and the determinant at the mode, and M^-1 of the determinant into w.spread.

    Returns FOUND, or NOT_STRICT.
    """
    return _stand(w)
