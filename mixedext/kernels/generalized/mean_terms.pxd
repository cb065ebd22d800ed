"""Laws in the mean, and means in the linear predictor; the formulas of their NumPy twins.

See ``specification.families.laws`` and ``links``, whose names these have.
"""


cdef enum Law:
    NO_LAW = -1
    BINOMIAL = 0
    POISSON = 1
    GAMMA = 2
    INVERSE_GAUSSIAN = 3
    GAUSSIAN = 4
    NB2 = 5
    NB1 = 6
    BETA = 7
    BETA_BINOMIAL = 8


cdef enum Link:
    NO_LINK = -1
    LOGIT_LINK = 0
    PROBIT_LINK = 1
    CLOGLOG_LINK = 2
    LOGLOG_LINK = 3
    CAUCHY_LINK = 4
    LOG_LINK = 5
    IDENTITY_LINK = 6
    POWER_LINK = 7


# mu, 1 - mu and three derivatives of mu
cdef void link_terms(int link, double power, double eta, double* out) noexcept nogil


# l, l1, l2, l3, e2 and its slope; then by kappa l, l1, l2 and e2.  ``nu`` is w exp(-kappa),
# ``size`` exp(kappa).
cdef void law_terms(
    int law, double y, double m, double mu, double rest, double nu, double kappa,
    double size, double* out,
) noexcept nogil
