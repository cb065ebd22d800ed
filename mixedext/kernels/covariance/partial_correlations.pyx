"""Durbin and Levinson's recursion from partial autocorrelations, with derivatives."""

from libc.math cimport exp, fabs, tanh


def durbin_levinson(
    const double[::1] psi,  # in: (n,)
    int order,  # in: the highest derivative, 0, 1 or 2
    double[::1] rho,  # out: (n,), correlations at lags 1 .. n
    double[::1] phi,  # out: (n,), coefficients of the autoregression of order n
    double[:, ::1] d_rho,  # out: [r, k], d rho_k / d psi_r, (n, n); zeros before
    double[:, ::1] d_phi,  # out: the same of phi; zeros before
    double[:, :, ::1] dd_rho,  # out: [r, s, k], (n, n, n); zeros before
    double[:, :, ::1] dd_phi,  # out: the same of phi; zeros before
):
    """Correlations and coefficients of partial autocorrelations r = tanh psi.

    With phi the coefficients of order k - 1 and v their innovation variance,

        rho_k = r_k v + sum_j phi_j rho_(k - j)
        phi_j <- phi_j - r_k phi_(k - j),  phi_k = r_k,  v <- v (1 - r_k^2)

    Derivatives above ``order`` are not touched, and may be empty.
    """
    cdef Py_ssize_t n = psi.shape[0], k, i, s, j
    cdef double r, w, v = 1.0, total, own
    with nogil:
        for k in range(n):
            r, w = tanh(psi[k]), _slope(psi[k])
            if order > 1:
                for i in range(k):
                    for s in range(i + 1):
                        total = r * v * _twice(psi, i, s)
                        for j in range(k):
                            total += (
                                dd_phi[i, s, j] * rho[k - 1 - j]
                                + d_phi[i, j] * d_rho[s, k - 1 - j]
                                + d_phi[s, j] * d_rho[i, k - 1 - j]
                                + phi[j] * dd_rho[i, s, k - 1 - j]
                            )
                        dd_rho[i, s, k] = dd_rho[s, i, k] = total
                        _turn(&dd_phi[i, s, 0], k, r)
                        if s < i:
                            for j in range(k):
                                dd_phi[s, i, j] = dd_phi[i, s, j]
                    total = -2.0 * tanh(psi[i]) * v * w
                    dd_rho[i, k, k] = dd_rho[k, i, k] = total
                    for j in range(k):
                        own = -w * d_phi[i, k - 1 - j]
                        dd_phi[i, k, j] = dd_phi[k, i, j] = own
                for j in range(k):
                    dd_phi[k, k, j] = 2.0 * r * w * phi[k - 1 - j]
                dd_rho[k, k, k] = -2.0 * r * w * v
                dd_phi[k, k, k] = -2.0 * r * w
            if order > 0:
                for i in range(k):
                    total = -2.0 * tanh(psi[i]) * v * r
                    for j in range(k):
                        total += (
                            d_phi[i, j] * rho[k - 1 - j] + phi[j] * d_rho[i, k - 1 - j]
                        )
                    d_rho[i, k] = total
                    _turn(&d_phi[i, 0], k, r)
                for j in range(k):
                    d_phi[k, j] = -w * phi[k - 1 - j]
                d_rho[k, k] = v * w
                d_phi[k, k] = w
            total = r * v
            for j in range(k):
                total += phi[j] * rho[k - 1 - j]
            rho[k] = total
            _turn(&phi[0], k, r)
            phi[k] = r
            v *= w


cdef inline double _slope(double x) noexcept nogil:
    # 1 - tanh(x)^2 without cancellation
    cdef double e = exp(-2.0 * fabs(x))
    return 4.0 * e / ((1.0 + e) * (1.0 + e))


cdef inline double _twice(const double[::1] psi, Py_ssize_t i, Py_ssize_t s) noexcept nogil:
    # second derivative, as a share of v, of v = prod (1 - tanh(psi)^2)
    cdef double r = tanh(psi[i])
    if i == s:
        return 4.0 * r * r - 2.0 * _slope(psi[i])
    return 4.0 * r * tanh(psi[s])


cdef inline void _turn(double* x, Py_ssize_t k, double r) noexcept nogil:
    # x_j <- x_j - r x_(k - 1 - j), j < k
    cdef Py_ssize_t j
    cdef double a, b
    for j in range((k + 1) // 2):
        a, b = x[j], x[k - 1 - j]
        x[j] = a - r * b
        x[k - 1 - j] = b - r * a
