"""Lanes: several levels of a grouping factor at a time, one in each element of a vector."""

from libc.string cimport memset
from mixedext.kernels.triangle cimport NO_PIVOT


cdef extern from *:
    """
    /* Levels are taken LANES at a time: element i of lane variables belongs to level i, and
       the compiler turns their arithmetic into vector instructions.  Where the loader can
       choose between versions of a function (CLONES), lanes are four doubles, as wide as
       most processors' registers (GCC takes wider ones apart through memory, at two to
       five times the cost), else two, which all processors have; compilers without vector
       types take one level at a time. */
    #ifndef MIXEDEXT_LANES
    #if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) \\
        && defined(__gnu_linux__) && __GNUC__ >= 12
    #define MIXEDEXT_CLONES __attribute__((target_clones( \\
        "arch=x86-64-v4", "arch=x86-64-v3", "default"))) int
    #define MIXEDEXT_LANES 4
    #else
    #define MIXEDEXT_CLONES int
    #if defined(__GNUC__) || defined(__clang__)
    #define MIXEDEXT_LANES 2
    #else
    #define MIXEDEXT_LANES 1
    #endif
    #endif
    #if MIXEDEXT_LANES > 1
    typedef double mixedext_lane __attribute__((vector_size(8 * MIXEDEXT_LANES)));
    typedef long long mixedext_mask __attribute__((vector_size(8 * MIXEDEXT_LANES)));
    #define MIXEDEXT_WHERE(x, y, z) \\
        ((mixedext_lane)((mixedext_mask)((x) > (y)) & (mixedext_mask)(z)))
    #else
    typedef double mixedext_lane;
    #define MIXEDEXT_WHERE(x, y, z) ((x) > (y) ? (z) : 0.0)
    #endif
    #define MIXEDEXT_ZERO ((mixedext_lane){0.0})
    #define MIXEDEXT_ONE ((mixedext_lane){0.0} + 1.0)
    #define MIXEDEXT_RECIPROCAL(x) (1.0 / (x))
    /* Cython declares return values with the type of the function, attribute and all. */
    #if MIXEDEXT_LANES > 1
    #pragma GCC diagnostic ignored "-Wattributes"
    #endif
    #endif
    """
    ctypedef double lane "mixedext_lane"
    ctypedef int cloned_int "MIXEDEXT_CLONES"
    const lane ZERO "MIXEDEXT_ZERO"
    const lane ONE "MIXEDEXT_ONE"
    lane reciprocal "MIXEDEXT_RECIPROCAL"(lane x) noexcept nogil
    # z where x > y, else zero
    lane where_greater "MIXEDEXT_WHERE"(lane x, lane y, lane z) noexcept nogil
    cdef enum:
        LANES "MIXEDEXT_LANES"


cdef inline void load_levels(
    const double* source, Py_ssize_t stride, Py_ssize_t start, Py_ssize_t stop,
    Py_ssize_t size, lane* out,
) noexcept nogil:
    # Element (i, level) of ``out`` from levels start ... stop - 1; zero beyond.
    cdef double* flat = <double*>out
    cdef const double* at = source + start * stride
    cdef Py_ssize_t i, t
    if stop - start >= LANES:
        for i in range(size):
            for t in range(LANES):
                flat[i * LANES + t] = at[t * stride + i]
    else:
        memset(out, 0, size * sizeof(lane))
        for i in range(size):
            for t in range(stop - start):
                flat[i * LANES + t] = at[t * stride + i]


cdef inline void split_levels(
    Py_ssize_t k, Py_ssize_t p, lane* gram, lane* cross
) noexcept nogil:
    # In place: A = U'D U with U unit upper triangular, cross = U^-T cross.  D stands on the
    # diagonal; it is zero, as its row of cross, where a column depends on earlier ones.
    cdef Py_ssize_t a, b, c, j
    cdef double least = NO_PIVOT * k
    cdef lane x, pivot
    for a in range(k):
        pivot = gram[a * k + a]
        for c in range(a):
            pivot -= gram[c * k + a] * gram[c * k + a] * gram[c * k + c]
        pivot = where_greater(pivot, gram[a * k + a] * least, pivot)
        gram[a * k + a] = pivot
        for j in range(p):
            x = cross[a * p + j]
            for c in range(a):
                x -= gram[c * k + a] * cross[c * p + j]
            cross[a * p + j] = where_greater(pivot, ZERO, x)
        if a == k - 1:
            break
        pivot = reciprocal(pivot + (ONE - where_greater(pivot, ZERO, ONE)))
        for b in range(a + 1, k):
            x = gram[a * k + b]
            for c in range(a):
                x -= gram[c * k + a] * gram[c * k + c] * gram[c * k + b]
            gram[a * k + b] = x * pivot


cdef inline void factor_levels(
    Py_ssize_t k, const lane* triangle, const double* lam,
    lane* column, lane* pivot, lane* lower, lane* inverse, lane* share,
) noexcept nogil:
    # D + B B' = L d L' for B = D U lam, one column of B at a time: only sums of positive
    # terms, so that it holds for lam of any size and rank.  lower = L below the diagonal,
    # inverse = 1 / d; a pivot that is zero counts as one.  share = det D / det d.
    cdef Py_ssize_t i, j, c, m
    cdef lane x, y, step, ratio
    share[0] = ONE
    for i in range(k):
        x = triangle[i * k + i]
        pivot[i] = x + (ONE - where_greater(x, ZERO, ONE))
    for c in range(k):
        for i in range(k):
            x = ZERO
            if i >= c:
                x += lam[i * k + c]
            for m in range(max(i + 1, c), k):
                x += triangle[i * k + m] * lam[m * k + c]
            column[i] = x * triangle[i * k + i]
        ratio = ONE
        for j in range(k):
            x = column[j]
            step = ratio * x
            y = pivot[j] + step * x
            inverse[j] = reciprocal(y)
            step *= inverse[j]
            ratio *= pivot[j] * inverse[j]
            pivot[j] = y
            if c == 0:
                for i in range(j + 1, k):
                    lower[i * k + j] = step * column[i]
            else:
                for i in range(j + 1, k):
                    column[i] -= x * lower[i * k + j]
                    lower[i * k + j] += step * column[i]
        share[0] *= ratio
