"""Lanes: several levels of a grouping factor at a time, one in each element of a vector."""

from libc.string cimport memset


cdef extern from *:
    """
    /* Levels are taken LANES at a time: element i of lane variables belongs to level i, and
       the compiler turns their arithmetic into vector instructions.  Where the loader can
       choose between versions of a function (CLONES), lanes are as wide as the newest
       processor's registers, else two doubles, which all processors have; compilers without
       vector types take one level at a time. */
    #ifndef MIXEDEXT_LANES
    #if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) \\
        && defined(__gnu_linux__) && __GNUC__ >= 12
    #define MIXEDEXT_CLONES __attribute__((target_clones( \\
        "arch=x86-64-v4", "arch=x86-64-v3", "default"))) int
    #define MIXEDEXT_LANES 8
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
    #else
    typedef double mixedext_lane;
    #endif
    #define MIXEDEXT_ZERO ((mixedext_lane){0.0})
    #define MIXEDEXT_RECIPROCAL(x) (1.0 / (x))
    /* Cython declares its return values with the type of the function, attribute and all. */
    #if MIXEDEXT_LANES > 1
    #pragma GCC diagnostic ignored "-Wattributes"
    #endif
    #endif
    """
    ctypedef double lane "mixedext_lane"
    ctypedef int cloned_int "MIXEDEXT_CLONES"
    const lane ZERO "MIXEDEXT_ZERO"
    lane reciprocal "MIXEDEXT_RECIPROCAL"(lane x) noexcept nogil
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


cdef inline bint factor_levels(
    Py_ssize_t k, const lane* gram, const double* lam,
    lane* left, lane* lower, lane* scaled, lane* inverse, double* smallest,
) noexcept nogil:
    # M = lam'A lam + I = L d L': lower = L, scaled = L d, inverse = 1 / d, both below the
    # diagonal; scaled has d on the diagonal.
    cdef Py_ssize_t i, j, c, t
    cdef const double* pivot
    cdef lane x
    for i in range(k):
        for j in range(k):
            x = gram[i * k + j] * lam[j * k + j]
            for c in range(j + 1, k):
                x += gram[i * k + c] * lam[c * k + j]
            left[i * k + j] = x
    for j in range(k):
        for i in range(j, k):
            x = left[i * k + j] * lam[i * k + i]
            for c in range(i + 1, k):
                x += left[c * k + j] * lam[c * k + i]
            if i == j:
                x += 1.0
            for c in range(j):
                x -= scaled[i * k + c] * lower[j * k + c]
            scaled[i * k + j] = x
            if i == j:
                inverse[j] = reciprocal(x)
                pivot = <const double*>&scaled[j * k + j]
                for t in range(LANES):
                    if not pivot[t] >= smallest[0]:
                        smallest[0] = pivot[t]
            else:
                lower[i * k + j] = x * inverse[j]
