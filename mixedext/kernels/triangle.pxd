"""Z_l'Z_l = U'D U of one level."""

cdef extern from *:
    """
    /* Pivots below this share of a diagonal, times the columns, are rounding: the column
       depends on earlier ones. */
    #define MIXEDEXT_NO_PIVOT 1e-14
    """
    const double NO_PIVOT "MIXEDEXT_NO_PIVOT"


cdef inline Py_ssize_t split_level(
    const double* gram, const double* cross, Py_ssize_t k, Py_ssize_t p,
    double* triangle, double* half,
) noexcept nogil:
    # triangle (k, k): D on the diagonal, above it U, unit upper triangular, of
    # gram = U'D U; half (k, p) = U^-T cross.  Where a column depends on earlier ones its
    # pivot and its row of half are zero.  Returns the rank.
    cdef Py_ssize_t a, b, c, j, rank = 0
    cdef double x, pivot
    for a in range(k):
        pivot = gram[a * k + a]
        for c in range(a):
            pivot -= triangle[c * k + a] * triangle[c * k + a] * triangle[c * k + c]
        if not pivot > NO_PIVOT * k * gram[a * k + a]:
            for b in range(a, k):
                triangle[a * k + b] = 0.0
            for j in range(p):
                half[a * p + j] = 0.0
            continue
        rank += 1
        triangle[a * k + a] = pivot
        for b in range(a + 1, k):
            x = gram[a * k + b]
            for c in range(a):
                x -= triangle[c * k + a] * triangle[c * k + c] * triangle[c * k + b]
            triangle[a * k + b] = x / pivot
        for j in range(p):
            x = cross[a * p + j]
            for c in range(a):
                x -= triangle[c * k + a] * half[c * p + j]
            half[a * p + j] = x
    return rank
