"""The likelihood of the two commonest families, several rows at a time.

The exponential function is 2^k times a polynomial in what is left of the exponent,
log(1 + e) the series of 2 artanh(e / (2 + e)); neither has branches, so that compilers take
as many rows at a time as the processor's registers hold.  Both are right to about one unit
of the last place.

References
----------
Muller (2016), Elementary Functions, 3rd edition, sections 3 and 11. Birkhauser.
"""

from mixedext.kernels.generalized.likelihood_rows cimport Rows, Terms
from mixedext.kernels.lanes cimport cloned_int

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #include <math.h>
    #if defined(__GNUC__) || defined(__clang__)
    #define MIXEDEXT_INLINE static inline __attribute__((always_inline, unused))
    #define MIXEDEXT_ALONE __restrict__
    #else
    #define MIXEDEXT_INLINE static __inline
    #define MIXEDEXT_ALONE
    #endif
    /* exp(x) for -708 <= x <= 709; NaN of NaN */
    MIXEDEXT_INLINE double mixedext_exp(double x) {
        const double shift = 6755399441055744.0;  /* 1.5 2^52: rounds to whole numbers */
        double whole = x * 1.4426950408889634 + shift, r, p, scale;
        int64_t bits;
        memcpy(&bits, &whole, 8);
        bits = (int64_t)((uint64_t)(bits + 1023) << 52);
        memcpy(&scale, &bits, 8);
        whole -= shift;
        r = x - whole * 6.93147180369123816490e-01;
        r -= whole * 1.90821492927058770002e-10;
        p = 1.6059043836821613e-10;
        p = p * r + 2.08767569878681e-09;
        p = p * r + 2.505210838544172e-08;
        p = p * r + 2.755731922398589e-07;
        p = p * r + 2.7557319223985893e-06;
        p = p * r + 2.48015873015873e-05;
        p = p * r + 1.984126984126984e-04;
        p = p * r + 1.388888888888889e-03;
        p = p * r + 8.333333333333333e-03;
        p = p * r + 4.1666666666666664e-02;
        p = p * r + 1.6666666666666666e-01;
        p = p * r + 0.5;
        p = (p * r) * r + r;
        return scale * p + scale;
    }
    /* log(1 + e) for 0 <= e <= 1 */
    MIXEDEXT_INLINE double mixedext_log1p(double e) {
        int far = e > 0.41421356237309503;  /* then ln 2 + log((1 + e) / 2) */
        double s = (e - (far ? 1.0 : 0.0)) / (e + (far ? 3.0 : 2.0)), t = s * s, p;
        p = 9.523809523809523e-02;
        p = p * t + 1.0526315789473684e-01;
        p = p * t + 1.1764705882352941e-01;
        p = p * t + 1.3333333333333333e-01;
        p = p * t + 1.5384615384615385e-01;
        p = p * t + 1.8181818181818182e-01;
        p = p * t + 2.2222222222222222e-01;
        p = p * t + 2.8571428571428571e-01;
        p = p * t + 4.0e-01;
        p = p * t + 6.6666666666666666e-01;
        p = p * t * s + 2.0 * s;
        return (far ? 0.6931471805599453 : 0.0) + p;
    }
    /* with_...: which terms are written; constants, so that each choice is its own loop */
    MIXEDEXT_INLINE void mixedext_logit(
        Py_ssize_t n, const double* MIXEDEXT_ALONE eta, const double* MIXEDEXT_ALONE y,
        const double* MIXEDEXT_ALONE trials, double* MIXEDEXT_ALONE loss,
        double* MIXEDEXT_ALONE slope, double* MIXEDEXT_ALONE weight,
        double* MIXEDEXT_ALONE third, const int with_trials, const int with_loss,
        const int with_weight, const int with_third
    ) {
        for (Py_ssize_t i = 0; i < n; i++) {
            double x = eta[i], size = fabs(x), m = with_trials ? trials[i] : 1.0;
            double e, share, low, mu, rest, miss = m - y[i], w;
            size = size > 708.0 ? 708.0 : size;
            e = mixedext_exp(-size);
            share = 1.0 / (1.0 + e);
            low = e * share;
            mu = x >= 0 ? share : low;
            rest = x >= 0 ? low : share;
            slope[i] = miss * mu - y[i] * rest;
            if (with_loss)
                loss[i] = m * mixedext_log1p(e) + (x >= 0 ? miss : -y[i]) * x;
            w = m * (share * low);
            if (with_weight) weight[i] = w;
            if (with_third) third[i] = w * (rest - mu);
        }
    }
    MIXEDEXT_INLINE void mixedext_poisson(
        Py_ssize_t n, const double* MIXEDEXT_ALONE eta, const double* MIXEDEXT_ALONE y,
        double* MIXEDEXT_ALONE loss, double* MIXEDEXT_ALONE slope,
        double* MIXEDEXT_ALONE weight, double* MIXEDEXT_ALONE third,
        const int with_loss, const int with_weight, const int with_third
    ) {
        for (Py_ssize_t i = 0; i < n; i++) {
            double x = eta[i], mu;
            mu = mixedext_exp(x < -708.0 ? -708.0 : x > 709.0 ? 709.0 : x);
            mu = x > 709.0 ? INFINITY : mu;
            slope[i] = mu - y[i];
            if (with_loss) loss[i] = mu - y[i] * x;
            if (with_weight) weight[i] = mu;
            if (with_third) third[i] = mu;
        }
    }
    """
    void logit_loop "mixedext_logit"(
        Py_ssize_t n, const double* eta, const double* y, const double* trials,
        double* loss, double* slope, double* weight, double* third,
        int with_trials, int with_loss, int with_weight, int with_third,
    ) noexcept nogil
    void poisson_loop "mixedext_poisson"(
        Py_ssize_t n, const double* eta, const double* y, double* loss, double* slope,
        double* weight, double* third, int with_loss, int with_weight, int with_third,
    ) noexcept nogil


cdef cloned_int _logit(
    Py_ssize_t n, const double* eta, const double* y, const double* m,
    double* l, double* s, double* w, double* t,
) noexcept nogil:
    """All of the choices of terms that are asked for, with and without trials."""
    if m != NULL:
        if l == NULL:
            if t == NULL:
                logit_loop(n, eta, y, m, l, s, w, t, 1, 0, 1, 0)
            else:
                logit_loop(n, eta, y, m, l, s, w, t, 1, 0, 1, 1)
        elif w == NULL:
            logit_loop(n, eta, y, m, l, s, w, t, 1, 1, 0, 0)
        elif t == NULL:
            logit_loop(n, eta, y, m, l, s, w, t, 1, 1, 1, 0)
        else:
            logit_loop(n, eta, y, m, l, s, w, t, 1, 1, 1, 1)
    elif l == NULL:
        if t == NULL:
            logit_loop(n, eta, y, m, l, s, w, t, 0, 0, 1, 0)
        else:
            logit_loop(n, eta, y, m, l, s, w, t, 0, 0, 1, 1)
    elif w == NULL:
        logit_loop(n, eta, y, m, l, s, w, t, 0, 1, 0, 0)
    elif t == NULL:
        logit_loop(n, eta, y, m, l, s, w, t, 0, 1, 1, 0)
    else:
        logit_loop(n, eta, y, m, l, s, w, t, 0, 1, 1, 1)
    return 0


cdef cloned_int _poisson(
    Py_ssize_t n, const double* eta, const double* y,
    double* l, double* s, double* w, double* t,
) noexcept nogil:
    if l == NULL:
        if t == NULL:
            poisson_loop(n, eta, y, l, s, w, t, 0, 1, 0)
        else:
            poisson_loop(n, eta, y, l, s, w, t, 0, 1, 1)
    elif w == NULL:
        poisson_loop(n, eta, y, l, s, w, t, 1, 0, 0)
    elif t == NULL:
        poisson_loop(n, eta, y, l, s, w, t, 1, 1, 0)
    else:
        poisson_loop(n, eta, y, l, s, w, t, 1, 1, 1)
    return 0


cdef bint fast_terms(
    int kind, Py_ssize_t n, const double* eta, const Rows* rows, Terms* out
) noexcept nogil:
    """The terms asked for, of rows without weights; whether they were computed."""
    if rows.weight != NULL or rows.count != NULL or out.slope == NULL:
        return False
    if out.expected != NULL or out.expected_third != NULL or out.loss_kappa != NULL:
        return False
    if out.weight == NULL and (out.loss == NULL or out.third != NULL):
        return False
    if kind == FAST_LOGIT:
        _logit(n, eta, rows.y, rows.trials, out.loss, out.slope, out.weight, out.third)
    else:
        _poisson(n, eta, rows.y, out.loss, out.slope, out.weight, out.third)
    return True
