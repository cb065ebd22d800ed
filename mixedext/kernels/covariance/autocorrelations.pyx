"""Autocorrelations of autoregressive moving averages, with derivatives by coefficients.

A table holds what belongs to lags 0, 1 .. in its last axis: values (n,), first derivatives
(n_coefficients, n), second ones (n_coefficients, n_coefficients, n).  Derivatives above
``order`` are not touched, and may be empty.
"""


def extend_autoregression(
    const double[::1] phi,  # in: (p,)
    int order,  # in: the highest derivative, 0, 1 or 2
    double[::1] rho,  # in: lags 0 .. p; out: those beyond
    double[:, ::1] d_rho,  # likewise
    double[:, :, ::1] dd_rho,  # likewise
):
    """Continue a table by rho_h = sum_j phi_j rho_(h - j), and its derivatives."""
    cdef Py_ssize_t p = phi.shape[0], n = rho.shape[0], h, r, s, j
    cdef double total
    with nogil:
        for h in range(p + 1, n):
            total = 0.0
            for j in range(p):
                total += phi[j] * rho[h - 1 - j]
            rho[h] = total
            if order < 1:
                continue
            for r in range(p):
                total = rho[h - 1 - r]
                for j in range(p):
                    total += phi[j] * d_rho[r, h - 1 - j]
                d_rho[r, h] = total
            if order < 2:
                continue
            for r in range(p):
                for s in range(r + 1):
                    total = d_rho[r, h - 1 - s] + d_rho[s, h - 1 - r]
                    for j in range(p):
                        total += phi[j] * dd_rho[r, s, h - 1 - j]
                    dd_rho[r, s, h] = dd_rho[s, r, h] = total


def add_moving_average(
    const double[::1] ma,  # in: (q,)
    int order,  # in: the highest derivative, 0, 1 or 2
    const double[::1] rho,  # in: table of the autoregression alone, lags to n - 1 + q
    const double[:, ::1] d_rho,
    const double[:, :, ::1] dd_rho,
    double[::1] value,  # out: table of lags 0 .. n - 1, by coefficients (ar, ma)
    double[:, ::1] first,
    double[:, :, ::1] second,
):
    """Table of an autoregression whose innovations are a moving average.

    With b = (1, ma), K_d = sum_i b_i b_(i + d), and X_dh = rho_|h - d| + rho_(h + d), once
    where d is zero, autocovariances are c_h = sum_d K_d X_dh, and correlations c_h / c_0.
    """
    cdef Py_ssize_t q = ma.shape[0], n = value.shape[0], p = 0, h, r, s, j, d
    cdef double total, c, zero
    if order > 0:
        p = d_rho.shape[0]
    with nogil:
        for h in range(n):
            total = 0.0
            for d in range(q + 1):
                total += _product(ma, d) * _around(&rho[0], d, h)
            value[h] = total
            if order < 1:
                continue
            for r in range(p):
                total = 0.0
                for d in range(q + 1):
                    total += _product(ma, d) * _around(&d_rho[r, 0], d, h)
                first[r, h] = total
            for j in range(1, q + 1):
                total = 0.0
                for d in range(q + 1):
                    total += _slope(ma, j, d) * _around(&rho[0], d, h)
                first[p + j - 1, h] = total
            if order < 2:
                continue
            for r in range(p):
                for s in range(r + 1):
                    total = 0.0
                    for d in range(q + 1):
                        total += _product(ma, d) * _around(&dd_rho[r, s, 0], d, h)
                    second[r, s, h] = second[s, r, h] = total
                for j in range(1, q + 1):
                    total = 0.0
                    for d in range(q + 1):
                        total += _slope(ma, j, d) * _around(&d_rho[r, 0], d, h)
                    second[r, p + j - 1, h] = second[p + j - 1, r, h] = total
            for j in range(q):
                for s in range(j + 1):
                    # of K_d, d = |j - s|: one, or two where d is zero
                    total = (2.0 if j == s else 1.0) * _around(&rho[0], j - s, h)
                    second[p + j, p + s, h] = second[p + s, p + j, h] = total
        # c_h / c_0: what stands at lag zero is asked for to the end
        zero = value[0]
        for h in range(1, n):
            c = value[h] / zero
            value[h] = c
            if order < 1:
                continue
            for r in range(p + q):
                first[r, h] = (first[r, h] - c * first[r, 0]) / zero
            if order < 2:
                continue
            for r in range(p + q):
                for s in range(p + q):
                    second[r, s, h] = (
                        second[r, s, h] - c * second[r, s, 0]
                        - first[r, h] * first[s, 0] - first[s, h] * first[r, 0]
                    ) / zero
        value[0] = 1.0
        if order > 0:
            for r in range(p + q):
                first[r, 0] = 0.0
                if order > 1:
                    for s in range(p + q):
                        second[r, s, 0] = 0.0


cdef inline double _weight(const double[::1] ma, Py_ssize_t j) noexcept nogil:
    # b_j, zero beyond
    if j == 0:
        return 1.0
    return ma[j - 1] if 0 < j <= ma.shape[0] else 0.0


cdef inline double _product(const double[::1] ma, Py_ssize_t d) noexcept nogil:
    # K_d
    cdef Py_ssize_t i
    cdef double total = 0.0
    for i in range(ma.shape[0] + 1 - d):
        total += _weight(ma, i) * _weight(ma, i + d)
    return total


cdef inline double _slope(
    const double[::1] ma, Py_ssize_t j, Py_ssize_t d
) noexcept nogil:
    # d K_d / d b_j
    return _weight(ma, j + d) + _weight(ma, j - d)


cdef inline double _around(const double* x, Py_ssize_t d, Py_ssize_t h) noexcept nogil:
    # X_dh
    if d == 0:
        return x[h]
    return x[h - d if h > d else d - h] + x[h + d]
