"""Rows and the terms of their likelihood, as kernels hand them to each other."""


# Rows, contiguous; NULL where there is none.
cdef struct Rows:
    const double* y
    const double* trials
    # prior weights, and how often a row counts
    const double* weight
    const double* count
    double kappa


# What is asked for, (n,) each; NULL where it is not.  The order is that of ``all_terms``.
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


cdef inline Rows rows_from(const Rows* rows, Py_ssize_t first) noexcept nogil:
    """The rows from a first one on."""
    cdef Rows out
    out.y = rows.y + first
    out.trials = NULL if rows.trials == NULL else rows.trials + first
    out.weight = NULL if rows.weight == NULL else rows.weight + first
    out.count = NULL if rows.count == NULL else rows.count + first
    out.kappa = rows.kappa
    return out
