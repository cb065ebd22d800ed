"""Sums of many responses to one grouping factor: split, or drawn without any row.

C_l = U^-T Z_l'r and the row of W (see ``one_factor``) of a residual r = y - QQ'y, or of y
itself, scaled.
"""

from libc.math cimport sqrt


def split_responses(
    const double[:, :, ::1] triangle,     # in: (L, K, K) D and U
    const double[:, :, ::1] half,         # in: (L, K, P) C of [X .]
    const double[:, :, ::1] response,     # in: (R, L, K) Z'r
    double square,                        # in: r'r, the same for all; X'r = 0
    double[:, :, ::1] out,                # out: (R, L, K) C of r
    double[:, ::1] within,                # out: (R, P) the row of W of r
):
    """Split each response into what varies between levels and within."""
    cdef Py_ssize_t n_levels = half.shape[0], k = half.shape[1], p = half.shape[2]
    cdef Py_ssize_t r, level, i, j
    cdef double x
    with nogil:
        for r in range(response.shape[0]):
            for j in range(p - 1):
                within[r, j] = 0.0
            within[r, p - 1] = square
            for level in range(n_levels):
                for i in range(k):
                    if triangle[level, i, i] == 0.0:
                        out[r, level, i] = 0.0
                        continue
                    x = response[r, level, i]
                    for j in range(i):
                        x -= triangle[level, j, i] * out[r, level, j]
                    out[r, level, i] = x
                    within[r, p - 1] -= x * x / triangle[level, i, i]
                    x /= triangle[level, i, i]
                    for j in range(p - 1):
                        within[r, j] -= x * half[level, i, j]


def draw_responses(
    const double[:, ::1] normal,          # in: (R, L K + free) standard normal
    const double[::1] rest,               # in: (R,) squares of what [Z X] leaves of y
    *,
    const double[:, :, ::1] root,         # in: (L, K, K) f_l = root_l g_l: Q_l'y
    const double[:, :, ::1] triangle,     # in: (L, K, K) D and U
    const double[:, :, ::1] half,         # in: (L, K, P) C of [X .]
    const double[:, ::1] size,            # in: (L, K) roots of D
    const double[:, :, ::1] projection,   # in: (L, K, rank) Q_l'Q
    const double[:, ::1] fixed_root,      # in: (rank, free) root of what Z leaves of Q'Q
    double nobs,
    double[:, :, ::1] lead,               # out: (R, L, K) Z'r, scaled
    double[:, :, ::1] out,                # out: (R, L, K) C of y, scaled
    double[:, ::1] within,                # out: (R, P) the row of W of y, scaled
    double[:, ::1] on_basis,              # out: (R, rank) Q'y
    double[::1] y_scale,                  # out: (R,) root mean square of r
):
    """Responses by their sufficient statistics: exactly normal, without any row.

    Given Z and X all of y enters as Z'y, Q'y and y'y; the part of y in the span of Z_l is
    f_l in its orthonormal basis Q_l = Z_l U^-1 D^-1/2, the rest of Q'y is normal with what
    Z leaves of Q'Q, and the squares of the rest of y are sigma^2 chi^2.
    """
    cdef Py_ssize_t n_levels = root.shape[0], k = root.shape[1], rank = fixed_root.shape[0]
    cdef Py_ssize_t n_free = fixed_root.shape[1], r, level, i, j, at
    cdef double x, square, scale
    with nogil:
        for r in range(normal.shape[0]):
            square = rest[r]
            for i in range(rank):
                x = 0.0
                for j in range(n_free):
                    x += fixed_root[i, j] * normal[r, n_levels * k + j]
                on_basis[r, i] = within[r, i] = x
            for j in range(n_free):
                square += normal[r, n_levels * k + j] ** 2
            within[r, rank] = square
            for level in range(n_levels):
                at = level * k
                for i in range(k):
                    x = 0.0
                    for j in range(i + 1):
                        x += root[level, i, j] * normal[r, at + j]
                    square += x * x
                    out[r, level, i] = size[level, i] * x
                    for j in range(rank):
                        on_basis[r, j] += projection[level, i, j] * x
            # the part of y orthogonal to X
            for j in range(rank):
                square -= on_basis[r, j] * on_basis[r, j]
            y_scale[r] = sqrt(square / nobs)
            scale = 1.0 / y_scale[r]
            for j in range(rank):
                within[r, j] *= scale
            within[r, rank] *= scale * scale
            for level in range(n_levels):
                for i in range(k - 1, -1, -1):
                    x = out[r, level, i]
                    for j in range(rank):
                        x -= half[level, i, j] * on_basis[r, j]
                    lead[r, level, i] = x * scale
                    out[r, level, i] *= scale
                    for j in range(i + 1, k):
                        lead[r, level, j] += triangle[level, i, j] * lead[r, level, i]
