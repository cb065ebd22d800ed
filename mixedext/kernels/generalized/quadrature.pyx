"""The integral over the coefficients of one level by adaptive Gauss-Hermite quadrature.

With C C' = M^-1, C lower triangular, u_j = u^ + C z_j and posterior weights of the nodes
pi_j, proportional to w_j exp(|z_j|^2 / 2 - h(u_j)),

    L = log |C| + log sum_j w_j exp(|z_j|^2 / 2 - h(u_j)),
    d L = -tr(M^-1 d M) / 2 - sum_j pi_j { d h(u_j) + h'(u_j)'(d u^ + d C z_j) },
    d C = -C Phi(C' d M C),  Phi the lower half, its diagonal halved.

All that comes through M is thus tr(Y d M) with Y = M^-1 / 2 - C F C', F the symmetric
matrix whose lower triangle is half of that of C' sum_j pi_j h'(u_j) z_j'.
"""

from libc.math cimport exp, log
from libc.string cimport memset

from mixedext.kernels.generalized.families cimport RowFamily
from mixedext.kernels.generalized.level_work cimport (
    FOUND,
    LOSS,
    NO_INTEGRAL,
    SLOPE,
    Work,
    add,
    factored,
    inner,
    look_at_effects,
    predictor,
    product,
    project,
    times_lam,
    total,
)
from mixedext.kernels.lanes cimport cloned_int


cdef cloned_int _integrate(
    Work* w, RowFamily family, Py_ssize_t n_nodes, const double* nodes,
    const double* log_weights,
) noexcept nogil:
    # Takes u, h, M^-1 (spread) at the mode.  Leaves the log of the integral over Laplace's,
    # averages over the nodes of the slopes (pooled), of h' (lean), of S u' (by_lam) and of
    # the derivative by kappa; and 2 Y in place of M^-1.
    cdef Py_ssize_t i, j, a, b, k = w.k
    cdef double share, mass = 0.0, loss_kappa = 0.0
    cdef double* c = w.square2
    cdef double* outer = w.square3
    cdef double* slopes = w.gradient
    cdef double* value = w.step
    memset(w.pooled, 0, w.size * sizeof(double))
    memset(w.lean, 0, k * sizeof(double))
    memset(w.by_lam, 0, k * k * sizeof(double))
    memset(outer, 0, k * k * sizeof(double))
    for i in range(k * k):
        c[i] = w.spread[i]
    if not factored(k, c):
        return NO_INTEGRAL
    for a in range(k):
        for b in range(a + 1, k):
            c[a * k + b] = 0.0
    for j in range(n_nodes):
        times_lam(k, c, False, nodes + j * k, w.trial)
        for a in range(k):
            w.trial[a] += w.u[a]
        times_lam(k, w.lam, False, w.trial, w.effect)
        predictor(w.size, w.n, k, w.effect, w.z, w.fixed, w.eta)
        look_at_effects(w, family, LOSS | SLOPE)
        share = w.h - total(w.size, w.loss) - 0.5 * inner(k, w.trial, w.trial)
        share = exp(share + log_weights[j])
        if share == 0.0:
            continue
        if not share * 0.0 == 0.0:
            # a node outside of the link's domain has no likelihood
            if share != share:
                continue
            return NO_INTEGRAL
        project(w.size, w.n, k, w.slope, w.z, slopes)
        times_lam(k, w.lam, True, slopes, value)
        mass += share
        add(w.size, share, w.slope, w.pooled)
        if w.has_kappa:
            loss_kappa += share * total(w.size, w.loss_kappa)
        for a in range(k):
            value[a] = share * (value[a] + w.trial[a])
            w.lean[a] += value[a]
            for b in range(k):
                outer[a * k + b] += value[a] * nodes[j * k + b]
                w.by_lam[a * k + b] += share * slopes[a] * w.trial[b]
    if not mass > 0.0:
        return NO_INTEGRAL
    w.integral = log(mass)
    mass = 1.0 / mass
    w.sum_loss_kappa = loss_kappa * mass
    for i in range(w.n):
        w.pooled[i] *= mass
    for i in range(k * k):
        w.by_lam[i] *= mass
    for a in range(k):
        w.lean[a] *= mass
    # F, then C F C'
    product(k, k, k, True, c, outer, w.square)
    for a in range(k):
        for b in range(a + 1):
            w.square[a * k + b] *= 0.5 * mass
            w.square[b * k + a] = w.square[a * k + b]
    product(k, k, k, False, c, w.square, outer)
    for a in range(k):
        for b in range(k):
            w.spread[a * k + b] -= 2.0 * inner(k, outer + a * k, c + b * k)
    return FOUND


cdef int integrate(
    Work* w, RowFamily family, Py_ssize_t n_nodes, const double* nodes,
    const double* log_weights,
) noexcept nogil:
    """The integral over one level's coefficients; see above."""
    return _integrate(w, family, n_nodes, nodes, log_weights)
