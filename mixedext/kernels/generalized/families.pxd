"""The likelihood of rows, as a function of their linear predictors, without the GIL."""


# Rows, contiguous; NULL where there is none.
cdef struct Rows:
    const double* y
    const double* trials
    # prior weights, and how often a row counts
    const double* weight
    const double* count
    double kappa


# What is asked for, (n,) each; NULL where it is not.
cdef struct Terms:
    double* loss  # less the constant
    double* slope
    double* weight
    double* third
    double* expected
    double* expected_third
    double* loss_kappa
    double* slope_kappa
    double* weight_kappa
    double* expected_kappa


cdef class RowFamily:
    cdef readonly int kind
    cdef object python
    cdef void terms(
        self, Py_ssize_t n, const double* eta, const Rows* rows, Terms* out
    ) noexcept nogil


cdef inline Rows rows_from(const Rows* rows, Py_ssize_t first) noexcept nogil:
    """The rows from a first one on."""
    cdef Rows out
    out.y = rows.y + first
    out.trials = NULL if rows.trials == NULL else rows.trials + first
    out.weight = NULL if rows.weight == NULL else rows.weight + first
    out.count = NULL if rows.count == NULL else rows.count + first
    out.kappa = rows.kappa
    return out


cdef Rows read_rows(const double[::1] y, trials, weight, count, double kappa)
