"""Laws in the mean, and means in the linear predictor: one row at a time."""

from libc.math cimport NAN, atan2, exp, expm1, log, log1p, pow
from scipy.special.cython_special cimport gammaln, ndtr, psi

cdef double PI = 3.14159265358979323846
# Where Stirling's series of the polygamma functions are right to the last digit.
cdef double SERIES = 13.0
# Size of a law of counts from which on series keep more digits.
cdef double LARGE_SIZE = 200.0
cdef double ROOT_2PI = 2.50662827463100050242


cdef inline double _psi1(double x) noexcept nogil:
    """The trigamma function of a positive number: recurrence, then the series."""
    cdef double out = 0.0, t
    while x < SERIES:
        out += 1.0 / (x * x)
        x += 1.0
    t = 1.0 / (x * x)
    out += 1.0 / x + 0.5 * t
    return out + t / x * (
        1 / 6.0 - t * (1 / 30.0 - t * (1 / 42.0 - t * (
            1 / 30.0 - t * (5 / 66.0 - t * (691 / 2730.0 - t * 7 / 6.0)))))
    )


cdef inline double _psi2(double x) noexcept nogil:
    """The second derivative of the digamma function."""
    cdef double out = 0.0, t
    while x < SERIES:
        out -= 2.0 / (x * x * x)
        x += 1.0
    t = 1.0 / (x * x)
    out -= t * (1.0 + 1.0 / x)
    return out - t * t * (
        0.5 - t * (1 / 6.0 - t * (1 / 6.0 - t * (
            3 / 10.0 - t * (5 / 6.0 - t * (691 / 210.0 - t * 35 / 2.0)))))
    )


cdef inline double _xlogy(double x, double y) noexcept nogil:
    return 0.0 if x == 0 else x * log(y)


cdef void link_terms(int link, double power, double eta, double* out) noexcept nogil:
    cdef double e, x, a
    if link == LOGIT_LINK:
        e = exp(-eta if eta >= 0 else eta)
        x = 1.0 / (1.0 + e)
        out[0] = x if eta >= 0 else e * x
        out[1] = e * x if eta >= 0 else x
        out[2] = out[0] * out[1]
        out[3] = out[2] * (out[1] - out[0])
        out[4] = out[2] * (1.0 - 6.0 * out[2])
    elif link == PROBIT_LINK:
        x = exp(-0.5 * eta * eta) / ROOT_2PI
        out[0], out[1] = ndtr(eta), ndtr(-eta)
        out[2], out[3], out[4] = x, -eta * x, (eta * eta - 1.0) * x
    elif link == CLOGLOG_LINK or link == LOGLOG_LINK:
        x = eta if link == CLOGLOG_LINK else -eta
        e = exp(700.0 if x > 700.0 else x)
        a = exp(-e)
        out[2] = e * a
        if link == CLOGLOG_LINK:
            out[0], out[1] = -expm1(-e), a
            out[3] = out[2] * (1.0 - e)
        else:
            out[0], out[1] = a, -expm1(-e)
            out[3] = out[2] * (e - 1.0)
        out[4] = out[2] * (1.0 - 3.0 * e + e * e)
    elif link == CAUCHY_LINK:
        x = 1.0 + eta * eta
        a = 1.0 / (PI * x)
        out[0], out[1] = atan2(1.0, -eta) / PI, atan2(1.0, eta) / PI
        out[2], out[3] = a, -2.0 * eta * a / x
        out[4] = a * (6.0 * eta * eta - 2.0) / (x * x)
    elif link == LOG_LINK:
        e = exp(eta)
        out[0], out[1] = e, 1.0 - e
        out[2] = out[3] = out[4] = e
    elif link == IDENTITY_LINK:
        out[0], out[1], out[2], out[3], out[4] = eta, 1.0 - eta, 1.0, 0.0, 0.0
    else:
        a = 1.0 / power
        x = eta if eta > 0 else NAN
        out[0] = pow(x, a)
        out[1] = 1.0 - out[0]
        out[2] = a * out[0] / x
        out[3] = (a - 1.0) * out[2] / x
        out[4] = (a - 2.0) * out[3] / x


cdef void _divided(double u, double u1, double u2, double u3, double e2, double e3,
                   double nu, double* out) noexcept nogil:
    """Laws of exponential dispersion, from those of the unit dispersion."""
    out[0], out[1], out[2] = nu * u, nu * u1, nu * u2
    out[3], out[4], out[5] = nu * u3, nu * e2, nu * e3
    out[6], out[7], out[8], out[9] = -out[0], -out[1], -out[2], -out[4]


cdef void _nb2(double y, double mu, double r, double* out) noexcept nogil:
    cdef double s = r + mu, share = (y + r) / s, by
    by = log1p(mu / r)
    out[0] = (y + r) * by - _xlogy(y, mu)
    out[1] = share - y / mu
    out[2] = y / (mu * mu) - share / s
    out[3] = 2.0 * share / (s * s) - 2.0 * y / (mu * mu * mu)
    out[4] = r / (mu * s)
    out[5] = -out[4] * (2.0 * mu + r) / (mu * s)
    out[6] = r * (by - share * mu / r)
    out[7] = r * (mu - y) / (s * s)
    out[8] = r * (2.0 * share - 1.0) / (s * s)
    out[9] = r / (s * s)


cdef void _gamma_ratios(double y, double r, double* out) noexcept nogil:
    """log(Gamma(r) r^y / Gamma(y + r)), and psi(r) - psi(y + r), that of psi' and of psi''.

    Where r is large from Stirling's series, subtracted term by term.
    """
    cdef double s = y + r, u, v, power, log_ratio
    cdef double less[7]  # 1 / r^k - 1 / s^k
    cdef int k
    if r < LARGE_SIZE:
        out[0] = gammaln(r) - gammaln(s) + y * log(r)
        out[1] = psi(r) - psi(s)
        out[2] = _psi1(r) - _psi1(s)
        out[3] = _psi2(r) - _psi2(s)
        return
    u, v = 1.0 / r, 1.0 / s
    less[1], power = y * u * v, 1.0
    for k in range(2, 7):
        power *= v
        less[k] = u * less[k - 1] + power * less[1]
    log_ratio = log1p(y * u)
    out[0] = y - (s - 0.5) * log_ratio
    out[0] += less[1] / 12.0 - less[3] / 360.0 + less[5] / 1260.0
    out[1] = -log_ratio - less[1] / 2.0 - less[2] / 12.0 + less[4] / 120.0 - less[6] / 252.0
    out[2] = less[1] + less[2] / 2.0 + less[3] / 6.0 - less[5] / 30.0
    out[3] = -less[2] - less[3] - less[4] / 2.0 + less[6] / 6.0


cdef void _nb1(double y, double mu, double kappa, double c, double* out) noexcept nogil:
    cdef double d[4]
    cdef double log_share = -log1p(exp(-kappa)), beside
    _gamma_ratios(y, c * mu, d)
    beside = d[1] - log_share
    out[0] = d[0] - _xlogy(y, mu) - (y + c * mu) * log_share
    out[1] = c * beside
    out[2], out[3] = c * c * d[2], c * c * c * d[3]
    out[4] = c / (mu * (1.0 + c))
    out[5] = -out[4] / mu
    out[6] = c * (mu * beside + (y - mu) / (1.0 + c))
    out[7] = out[1] + c * c * (mu * d[2] - 1.0 / (c * (1.0 + c)))
    out[8] = 2.0 * out[2] + mu * out[3]
    out[9] = out[4] / (1.0 + c)


cdef void _of_shapes(
    double a0, double a1, double a2, double b0, double b1, double b2,
    double mu, double rest, double phi, double beside, double* out,
) noexcept nogil:
    """Laws of shapes mu phi and (1 - mu) phi, from differences of polygammas.

    ``beside`` is what of d l / d phi has no share of mu.
    """
    out[1] = phi * (a0 - b0)
    out[2] = phi * phi * (a1 + b1)
    out[3] = phi * phi * phi * (a2 - b2)
    out[6] = phi * (mu * a0 + rest * b0 + beside)
    out[7] = out[1] + phi * phi * (mu * a1 - rest * b1)
    out[8] = 2.0 * out[2] + phi * phi * phi * (mu * a2 + rest * b2)


cdef void _beta(double y, double mu, double rest, double phi, double* out) noexcept nogil:
    cdef double a = mu * phi, b = rest * phi, up = log(y), down = log1p(-y)
    _of_shapes(
        psi(a) - up, _psi1(a), _psi2(a), psi(b) - down, _psi1(b), _psi2(b),
        mu, rest, phi, -psi(phi), out,
    )
    out[0] = gammaln(a) + gammaln(b) - gammaln(phi) - (a - 1.0) * up - (b - 1.0) * down
    out[4], out[5], out[9] = out[2], out[3], out[8]


cdef void _beta_binomial(
    double y, double m, double mu, double rest, double phi, double* out
) noexcept nogil:
    cdef double a[4]
    cdef double b[4]
    cdef double c[4]
    cdef double miss = m - y, spread, shift
    _gamma_ratios(y, mu * phi, a)
    _gamma_ratios(miss, rest * phi, b)
    _gamma_ratios(m, phi, c)
    _of_shapes(a[1], a[2], a[3], b[1], b[2], b[3], mu, rest, phi, -c[1], out)
    out[0] = a[0] + b[0] - c[0] - _xlogy(y, mu) - _xlogy(miss, rest)
    shift = phi + 1.0
    spread = 1.0 + (m - 1.0) / shift
    out[4] = m / (mu * rest) / spread
    out[5] = -out[4] * (rest - mu) / (mu * rest)
    out[9] = out[4] / spread * (m - 1.0) * phi / (shift * shift)


cdef void law_terms(
    int law, double y, double m, double mu, double rest, double nu, double kappa,
    double size, double* out,
) noexcept nogil:
    cdef double x, miss
    if law == BINOMIAL:
        miss, x = m - y, mu * rest
        out[0] = -_xlogy(y, mu) - _xlogy(miss, rest)
        out[1] = -y / mu + miss / rest
        out[2] = y / (mu * mu) + miss / (rest * rest)
        out[3] = -2.0 * y / (mu * mu * mu) + 2.0 * miss / (rest * rest * rest)
        out[4] = m / x
        out[5] = -out[4] * (rest - mu) / x
    elif law == POISSON:
        out[0], out[1], out[2] = mu - _xlogy(y, mu), 1.0 - y / mu, y / (mu * mu)
        out[3], out[4] = -2.0 * y / (mu * mu * mu), 1.0 / mu
        out[5] = -1.0 / (mu * mu)
    elif law == GAMMA:
        x = y / mu
        _divided(
            x + log(mu), (1.0 - x) / mu, (2.0 * x - 1.0) / (mu * mu),
            (2.0 - 6.0 * x) / (mu * mu * mu), 1.0 / (mu * mu), -2.0 / (mu * mu * mu),
            nu, out,
        )
    elif law == INVERSE_GAUSSIAN:
        x = 1.0 / mu
        _divided(
            (y - mu) * (y - mu) * x * x / (2.0 * y), x * x * (1.0 - y * x),
            x * x * x * (3.0 * y * x - 2.0), x * x * x * x * (6.0 - 12.0 * y * x),
            x * x * x, -3.0 * x * x * x * x, nu, out,
        )
    elif law == GAUSSIAN:
        _divided(0.5 * (y - mu) * (y - mu), mu - y, 1.0, 0.0, 1.0, 0.0, nu, out)
    elif law == NB2:
        _nb2(y, mu, size, out)
    elif law == NB1:
        _nb1(y, mu, kappa, size, out)
    elif law == BETA:
        _beta(y, mu, rest, size, out)
    else:
        _beta_binomial(y, m, mu, rest, size, out)
