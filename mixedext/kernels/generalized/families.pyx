"""The likelihood of rows and its derivatives in the linear predictor.

With e = exp(-|eta|) nothing overflows under the logit; under the probit the hazards
phi / Phi come from the scaled complementary error function, and far out from their
continued fraction.  Other pairs of a law and a link go by the chain rule, links of the
user's own by their NumPy twin, which holds the GIL.
"""

from libc.math cimport INFINITY, exp, expm1, fabs, log, log1p
from libc.string cimport memset
from mixedext.kernels.generalized.fast_terms cimport (
    FAST_LOGIT,
    FAST_POISSON,
    fast_terms,
)
from mixedext.kernels.generalized.likelihood_rows cimport Rows, Terms, rows_from
from mixedext.kernels.generalized.mean_terms cimport (
    BETA,
    BETA_BINOMIAL,
    BINOMIAL,
    CAUCHY_LINK,
    CLOGLOG_LINK,
    GAMMA,
    GAUSSIAN,
    IDENTITY_LINK,
    INVERSE_GAUSSIAN,
    LOG_LINK,
    LOGIT_LINK,
    LOGLOG_LINK,
    NB1,
    NB2,
    NO_LAW,
    NO_LINK,
    POISSON,
    POWER_LINK,
    PROBIT_LINK,
    law_terms,
    link_terms,
)
from scipy.special.cython_special cimport erfcx

import numpy as np

cdef enum Kind:
    PYTHON = 0
    CHAIN = 1
    LOGIT = 2
    PROBIT = 3
    CLOGLOG = 4
    LOGLOG = 5
    POISSON_LOG = 6
    GAMMA_LOG = 7
    NB2_LOG = 8
    INVERSE_GAUSSIAN_LOG = 9

# Pairs that have formulas of their own, in which nothing is divided by a mean of zero.
KINDS = {
    ("binomial", "logit"): LOGIT,
    ("binomial", "probit"): PROBIT,
    ("binomial", "cloglog"): CLOGLOG,
    ("binomial", "loglog"): LOGLOG,
    ("poisson", "log"): POISSON_LOG,
    ("gamma", "log"): GAMMA_LOG,
    ("negative binomial", "log"): NB2_LOG,
    ("inverse gaussian", "log"): INVERSE_GAUSSIAN_LOG,
}
LAWS = {
    "binomial": BINOMIAL,
    "poisson": POISSON,
    "gamma": GAMMA,
    "inverse gaussian": INVERSE_GAUSSIAN,
    "gaussian": GAUSSIAN,
    "negative binomial": NB2,
    "nb1": NB1,
    "beta": BETA,
    "beta binomial": BETA_BINOMIAL,
}
LINKS = {
    "logit": LOGIT_LINK,
    "probit": PROBIT_LINK,
    "cloglog": CLOGLOG_LINK,
    "loglog": LOGLOG_LINK,
    "cauchy": CAUCHY_LINK,
    "log": LOG_LINK,
    "identity": IDENTITY_LINK,
}

cdef double ROOT_2_PI = 0.79788456080286535588  # sqrt(2 / pi)
cdef double ROOT_HALF = 0.70710678118654752440
# Below it the hazard of the normal law comes from its continued fraction of so many terms.
cdef double FAR = -4.0
cdef int FRACTION = 40


# Derivatives of one row: l, s, W, T, E, dE/deta, and by kappa l, s, W, E.
ctypedef double[10] Row


cdef inline void _logit(double x, double y, double m, double* o) noexcept nogil:
    cdef double e = exp(-fabs(x)), share = 1.0 / (1.0 + e), mu, rest
    mu = share if x >= 0 else e * share
    rest = e * share if x >= 0 else share
    # log(1 + e), not log1p: its error is rounding beside the other rows'
    o[0] = (m - y if x >= 0 else -y) * x + m * log(1.0 + e)
    # not m mu - y, which loses its digits where y = m
    o[1] = (m - y) * mu - y * rest
    o[2] = o[4] = m * mu * rest
    o[3] = o[5] = o[2] * (rest - mu)


cdef inline void _poisson(double x, double y, double* o) noexcept nogil:
    cdef double mu = exp(x)
    o[0], o[1] = mu - y * x, mu - y
    o[2] = o[3] = o[4] = o[5] = mu


cdef inline double _log_cdf(double x) noexcept nogil:
    """log Phi(x)."""
    if x < -1.0:
        return log(0.5 * erfcx(-x * ROOT_HALF)) - 0.5 * x * x
    return log1p(-0.5 * erfcx(x * ROOT_HALF) * exp(-0.5 * x * x))


cdef inline double _hazard(double x) noexcept nogil:
    """phi(x) / Phi(x)."""
    if x > 5.0:
        return 0.5 * ROOT_2_PI * exp(-0.5 * x * x) / (
            1.0 - 0.5 * erfcx(x * ROOT_HALF) * exp(-0.5 * x * x)
        )
    return ROOT_2_PI / erfcx(-x * ROOT_HALF)


cdef inline void _hazards(double x, double* h) noexcept nogil:
    """The hazard r = phi / Phi and its two derivatives.

    With t = -x, r = t + 1 / (t + c), c = 2 / (t + d), d = 3 / (t + e), ... : so written no
    digits are lost in x + r, 1 + r' and r'', which vanish as t grows.
    """
    cdef double r, rest, t, c, d, e, s, w
    cdef int j
    if x >= FAR:
        h[0] = r = _hazard(x)
        rest = x + r
        h[1] = -r * rest
        h[2] = -h[1] * rest - r * (1.0 + h[1])
        return
    t, e = -x, 0.0
    for j in range(FRACTION, 3, -1):
        e = j / (t + e)
    d = 3.0 / (t + e)
    c = 2.0 / (t + d)
    s = t + c
    w = c * s
    h[0] = t + 1.0 / s
    h[1] = -(1.0 - (w - 1.0) / (s * s))
    # 2 - w, w near 2
    w = 2.0 * (t + 3.0 * d - 2.0 * e) / ((t + e) * (t + d) * (t + d))
    h[2] = w * (s * s - (1.0 - w)) / (s * s * s)


cdef inline void _probit(double x, double y, double m, double* o) noexcept nogil:
    cdef double a[3]
    cdef double b[3]
    cdef double miss = m - y
    _hazards(x, a)
    _hazards(-x, b)
    o[0] = 0.0
    if y != 0:
        o[0] -= y * _log_cdf(x)
    if miss != 0:
        o[0] -= miss * _log_cdf(-x)
    o[1] = -y * a[0] + miss * b[0]
    o[2] = -y * a[1] - miss * b[1]
    o[3] = -y * a[2] + miss * b[2]
    o[4] = m * a[0] * b[0]
    o[5] = m * (a[1] * b[0] - a[0] * b[1])


cdef inline void _cloglog(double x, double y, double m, double* o) noexcept nogil:
    # l = (m - y) e - y log(1 - exp(-e)), e = exp(x); g = e / expm1(e)
    cdef double e, g, g1, g2, ratio, square
    if x > 700.0:
        o[0] = INFINITY if m > y else 0.0
        o[1] = o[2] = o[3] = o[4] = o[5] = 0.0
        return
    e = exp(x)
    if e > 700.0:
        g = g1 = g2 = 0.0
        ratio = 1.0
    elif e < 0.05:  # Bernoulli's series: the differences below would lose digits
        ratio = -expm1(-e)
        square = e * e
        g = 1.0 - 0.5 * e + square * (1 / 12.0 - square * (1 / 720.0 - square / 30240.0))
        g1 = -0.5 * e + square * (1 / 6.0 - square * (1 / 180.0 - square / 5040.0))
        g2 = -0.5 * e + square * (1 / 3.0 - square * (1 / 45.0 - square / 840.0))
    else:
        g = e / expm1(e)
        ratio = -expm1(-e)  # d log g / dx = 1 - e / (1 - exp(-e))
        g1 = g * (1.0 - e / ratio)
        g2 = g1 * (1.0 - e / ratio) - g * (e / ratio) * (1.0 - g)
    o[0] = (m - y) * e
    if y != 0:
        o[0] -= y * (x - 0.5 * e if e < 1e-8 else log(ratio))
    o[1] = (m - y) * e - y * g
    o[2] = (m - y) * e - y * g1
    o[3] = (m - y) * e - y * g2
    # E[W] = m (dmu/dx)^2 / (mu (1 - mu)) = m e g
    o[4] = m * e * g
    o[5] = m * e * (g + g1)


cdef inline void _loglog(double x, double y, double m, double* o) noexcept nogil:
    # failures under -x have the complementary link
    _cloglog(-x, m - y, m, o)
    o[1], o[3], o[5] = -o[1], -o[3], -o[5]


cdef inline void _gamma(double x, double y, double nu, double* o) noexcept nogil:
    cdef double ratio = y * exp(-x)
    o[0] = nu * (x + ratio)
    o[1] = nu * (1.0 - ratio)
    o[2] = nu * ratio
    o[3] = -o[2]
    o[4], o[5] = nu, 0.0
    o[6], o[7], o[8], o[9] = -o[0], -o[1], -o[2], -nu


cdef inline void _inverse_gaussian(
    double x, double y, double nu, double* o
) noexcept nogil:
    # nu (y - mu)^2 / (2 mu^2 y) with 1 / mu = exp(-x)
    cdef double a = exp(-x), b = y * a * a
    o[0] = nu * (0.5 * b - a + 0.5 / y)
    o[1] = nu * (a - b)
    o[2] = nu * (2.0 * b - a)
    o[3] = nu * (a - 4.0 * b)
    o[4], o[5] = nu * a, -nu * a
    o[6], o[7], o[8], o[9] = -o[0], -o[1], -o[2], -o[4]


cdef inline void _nb2(double x, double y, double kappa, double r, double* o) noexcept nogil:
    # z = x - kappa, p = mu / (mu + r), q = 1 - p
    cdef double z = x - kappa, e = exp(-fabs(z)), share = 1.0 / (1.0 + e), p, q, log_ratio
    if z >= 0:
        p, q = share, e * share
        log_ratio = z + log1p(e)
    else:
        p, q = e * share, share
        log_ratio = log1p(e)
    # (y + r) log1p(mu / r) - y eta
    o[0] = (y + r) * log_ratio - y * x
    o[1] = r * p - y * q
    o[2] = (y + r) * p * q
    o[3] = o[2] * (q - p)
    o[4] = r * p
    o[5] = r * p * q
    o[6] = r * log_ratio - (y + r) * p
    o[7] = r * p - (y + r) * p * q
    o[8] = r * p * q - o[3]
    o[9] = r * p - r * p * q


cdef inline bint _outside(int law, double mu) noexcept nogil:
    """Whether the law has no such mean."""
    if not mu * 0.0 == 0.0:
        return True
    if law == GAUSSIAN:
        return False
    if not mu > 0.0:
        return True
    return (law == BINOMIAL or law == BETA or law == BETA_BINOMIAL) and not mu < 1.0


cdef void _chain(
    RowFamily family, double x, double y, double m, double nu, double kappa, double size,
    double* o,
) noexcept nogil:
    """Any law and link: derivatives in the mean times those of the mean."""
    cdef double t[5]
    cdef double l[10]
    cdef double a, b
    link_terms(family.link, family.power, x, t)
    law_terms(family.law, y, m, t[0], t[1], nu, kappa, size, l)
    a, b = t[2], t[3]
    o[0] = INFINITY if _outside(family.law, t[0]) else l[0]
    o[1] = l[1] * a
    o[2] = l[2] * a * a + l[1] * b
    o[3] = l[3] * a * a * a + 3.0 * l[2] * a * b + l[1] * t[4]
    o[4] = l[4] * a * a
    o[5] = l[5] * a * a * a + 2.0 * l[4] * a * b
    if family.law == BINOMIAL or family.law == POISSON:
        return
    o[6] = l[6]
    o[7] = l[7] * a
    o[8] = l[8] * a * a + l[7] * b
    o[9] = l[9] * a * a


cdef class RowFamily:
    """The likelihood of rows by one family and link.

    Parameters
    ----------
    name, link : str
        Names of the family and of the link.
    python : callable
        Their NumPy twin: of (eta, y, trials, weight, kappa) the ten arrays of ``Terms``,
        without kappa's where there is none; it serves a link that is not known here.
    power : float
        Of a power link; 0 of others.
    """

    def __init__(self, str name, str link, python, double power=0.0):
        self.law = LAWS.get(name, NO_LAW)
        self.link = LINKS.get(link, POWER_LINK if power else NO_LINK)
        self.power = power
        chain = PYTHON if self.law == NO_LAW or self.link == NO_LINK else CHAIN
        self.kind = KINDS.get((name, link), chain)
        self.fast = self.kind == LOGIT or self.kind == POISSON_LOG
        self.python = python

    @property
    def is_compiled(self):
        """Whether there is a loop for the family and the link."""
        return self.kind != PYTHON

    cdef void terms(
        self, Py_ssize_t n, const double* eta, const Rows* rows, Terms* out
    ) noexcept nogil:
        cdef Py_ssize_t i, j
        cdef double c, w, m, size
        cdef Row o
        cdef double** asked = <double**>out
        cdef int kind = self.kind
        if kind == PYTHON:
            with gil:
                _call_python(self.python, n, eta, rows, out)
            return
        if self.fast and fast_terms(
            FAST_LOGIT if kind == LOGIT else FAST_POISSON, n, eta, rows, out
        ):
            return
        size = exp(rows.kappa)
        memset(o, 0, sizeof(Row))
        for i in range(n):
            w = 1.0 if rows.weight == NULL else rows.weight[i]
            m = 1.0 if rows.trials == NULL else rows.trials[i]
            c = 1.0 if rows.count == NULL else rows.count[i]
            if kind == LOGIT:
                _logit(eta[i], rows.y[i], m, o)
            elif kind == PROBIT:
                _probit(eta[i], rows.y[i], m, o)
            elif kind == CLOGLOG:
                _cloglog(eta[i], rows.y[i], m, o)
            elif kind == LOGLOG:
                _loglog(eta[i], rows.y[i], m, o)
            elif kind == POISSON_LOG:
                _poisson(eta[i], rows.y[i], o)
            elif kind == NB2_LOG:
                _nb2(eta[i], rows.y[i], rows.kappa, size, o)
            elif kind == GAMMA_LOG:
                _gamma(eta[i], rows.y[i], w / size, o)
            elif kind == INVERSE_GAUSSIAN_LOG:
                _inverse_gaussian(eta[i], rows.y[i], w / size, o)
            else:
                _chain(self, eta[i], rows.y[i], m, w / size, rows.kappa, size, o)
            # prior weights that divide the dispersion are in nu
            if not GAMMA <= self.law <= GAUSSIAN:
                c *= w
            for j in range(10):
                if asked[j] != NULL:
                    asked[j][i] = c * o[j] if c != 0 else 0.0


cdef int _call_python(
    python, Py_ssize_t n, const double* eta, const Rows* rows, Terms* out
) except -1:
    """The NumPy twin on the rows."""
    cdef double** asked = <double**>out
    cdef Py_ssize_t j
    if n == 0:
        return 0
    x = np.asarray(<const double[:n]>eta)
    y = np.asarray(<const double[:n]>rows.y)
    m = None if rows.trials == NULL else np.asarray(<const double[:n]>rows.trials)
    w = None if rows.weight == NULL else np.asarray(<const double[:n]>rows.weight)
    found = python(x, y, m, w, rows.kappa)
    if rows.count != NULL:
        count = np.asarray(<const double[:n]>rows.count)
        found = [np.where(count > 0, count * part, 0.0) for part in found]
    for j in range(len(found)):
        _copy(n, found[j], asked[j])
    return 0


cdef int _copy(Py_ssize_t n, values, double* out) except -1:
    cdef const double[::1] view
    cdef Py_ssize_t i
    if out == NULL:
        return 0
    view = np.ascontiguousarray(values, float)
    for i in range(n):
        out[i] = view[i]
    return 0


cdef Rows read_rows(const double[::1] y, trials, weight, count, double kappa):
    """The arrays, which the caller must keep; None where there is none."""
    cdef Rows rows
    cdef const double[::1] view
    rows.y = &y[0]
    rows.trials = rows.weight = rows.count = NULL
    if count is not None:
        view = count
        rows.count = &view[0]
    if trials is not None:
        view = trials
        rows.trials = &view[0]
    if weight is not None:
        view = weight
        rows.weight = &view[0]
    rows.kappa = kappa
    return rows


def newton_terms(
    RowFamily family,
    const double[::1] eta,
    const double[::1] y,
    trials,
    weight,
    count,
    double kappa,
    *,
    double[::1] slope,
    double[::1] curvature,
):
    """Sum of l less its constant, and s and W of every row, in place.

    Parameters
    ----------
    family : RowFamily
        The family.
    eta, y : ndarray
        Linear predictor and response, (n,).
    trials, weight, count : ndarray or None
        Trials, prior weights, and how often a row counts.
    kappa : float
        Logarithm of the dispersion, or 0.
    slope, curvature : ndarray
        Filled, (n,).
    """
    cdef Rows rows
    cdef double loss
    if len(eta) == 0:
        return 0.0
    rows = read_rows(y, trials, weight, count, kappa)
    with nogil:
        loss = newton_rows(family, len(eta), &eta[0], &rows, &slope[0], &curvature[0])
    return loss


cdef double newton_rows(
    RowFamily family, Py_ssize_t n, const double* eta, const Rows* rows, double* slope,
    double* curvature,
) except? -1 nogil:
    """Sum of l less its constant, and s and W of every row, in place."""
    cdef Py_ssize_t first = 0, size, i
    cdef double total = 0.0, part
    cdef double[512] loss
    cdef Rows own
    cdef Terms out
    memset(&out, 0, sizeof(Terms))
    if family.kind == PYTHON:
        with gil:
            values = np.empty(n)
            return _newton_python(family, n, eta, rows, values, slope, curvature)
    while first < n:
        size = min(512, n - first)
        own = rows_from(rows, first)
        out.loss, out.slope, out.weight = loss, slope + first, curvature + first
        family.terms(size, eta + first, &own, &out)
        part = 0.0
        for i in range(size):
            part += loss[i]
        total += part
        first += size
    return total


cdef double _newton_python(
    RowFamily family, Py_ssize_t n, const double* eta, const Rows* rows,
    double[::1] loss, double* slope, double* curvature,
) except? -1:
    cdef Terms out
    memset(&out, 0, sizeof(Terms))
    out.loss, out.slope, out.weight = &loss[0], slope, curvature
    _call_python(family.python, n, eta, rows, &out)
    return float(np.sum(np.asarray(loss)))


def all_terms(
    RowFamily family,
    const double[::1] eta,
    const double[::1] y,
    trials,
    weight,
    count,
    double kappa,
):
    """All ten arrays of ``Terms``, (10, n)."""
    cdef Py_ssize_t n = len(eta)
    found = np.empty((10, n))
    cdef double[:, ::1] view = found
    cdef Rows rows
    cdef Terms out
    if n == 0:
        return found
    rows = read_rows(y, trials, weight, count, kappa)
    out.loss, out.slope, out.weight = &view[0, 0], &view[1, 0], &view[2, 0]
    out.third, out.expected = &view[3, 0], &view[4, 0]
    out.expected_third, out.loss_kappa = &view[5, 0], &view[6, 0]
    out.slope_kappa, out.weight_kappa = &view[7, 0], &view[8, 0]
    out.expected_kappa = &view[9, 0]
    if family.kind == PYTHON:
        _call_python(family.python, n, &eta[0], &rows, &out)
    else:
        with nogil:
            family.terms(n, &eta[0], &rows, &out)
    return found


def canonical_terms(
    RowFamily family, const double[::1] eta, const double[::1] y, trials, weight, count,
):
    """s, W and T of rows, (3, n), by the loops that take several rows at a time."""
    cdef Py_ssize_t n = len(eta)
    found = np.empty((3, n))
    cdef double[:, ::1] view = found
    cdef Rows rows
    cdef Terms out
    memset(&out, 0, sizeof(Terms))
    if n:
        rows = read_rows(y, trials, weight, count, 0.0)
        out.slope, out.weight, out.third = &view[0, 0], &view[1, 0], &view[2, 0]
        with nogil:
            family.terms(n, &eta[0], &rows, &out)
    return found
