"""One level of a grouping factor while it is worked on: its rows, and what was found.

A level's rows of X and Z stand together, by columns, so that sums over rows and changes of
the linear predictor are loops over neighbours.  Matrices are C-ordered.
"""

from libc.math cimport sqrt
from libc.string cimport memset
from mixedext.kernels.generalized.families cimport RowFamily
from mixedext.kernels.generalized.likelihood_rows cimport Rows, Terms

cdef extern from *:
    """
    /* Rows are taken eight at a time, in two vectors of four, which every compiler keeps in
       registers; arrays are padded, and what of a sum belongs to the padding is zero by one
       of its factors. */
    #if defined(__GNUC__) || defined(__clang__)
    #define MIXEDEXT_INLINE static inline __attribute__((always_inline, unused))
    typedef double mixedext_four
        __attribute__((vector_size(32), aligned(8), may_alias));
    #define MIXEDEXT_AT(a, i) (*(const mixedext_four*)((a) + (i)))
    #define MIXEDEXT_SUM(n, TERM) \\
        mixedext_four s = {0.0}, t = {0.0}; \\
        for (Py_ssize_t i = 0; i < n; i += 8) { s += TERM(i); t += TERM(i + 4); } \\
        return ((s[0] + t[0]) + (s[2] + t[2])) + ((s[1] + t[1]) + (s[3] + t[3]))
    #else
    #define MIXEDEXT_INLINE static __inline
    #define MIXEDEXT_AT(a, i) ((a)[i])
    #define MIXEDEXT_SUM(n, TERM) \\
        double s = 0.0; \\
        for (Py_ssize_t i = 0; i < n; i++) s += TERM(i); \\
        return s
    #endif
    #define MIXEDEXT_ONE_OF(i) MIXEDEXT_AT(a, i)
    #define MIXEDEXT_TWO_OF(i) (MIXEDEXT_AT(a, i) * MIXEDEXT_AT(b, i))
    #define MIXEDEXT_THREE_OF(i) (MIXEDEXT_TWO_OF(i) * MIXEDEXT_AT(c, i))
    MIXEDEXT_INLINE double mixedext_sum(Py_ssize_t n, const double* a) {
        MIXEDEXT_SUM(n, MIXEDEXT_ONE_OF);
    }
    MIXEDEXT_INLINE double mixedext_dot(Py_ssize_t n, const double* a, const double* b) {
        MIXEDEXT_SUM(n, MIXEDEXT_TWO_OF);
    }
    MIXEDEXT_INLINE double mixedext_dot3(
        Py_ssize_t n, const double* a, const double* b, const double* c
    ) {
        MIXEDEXT_SUM(n, MIXEDEXT_THREE_OF);
    }
    MIXEDEXT_INLINE void mixedext_add(
        Py_ssize_t n, double factor, const double* a, double* out
    ) {
        for (Py_ssize_t i = 0; i < n; i++) out[i] += factor * a[i];
    }
    /* out = fixed + sum_a effect_a z_a, z of k columns of length n */
    MIXEDEXT_INLINE void mixedext_predictor(
        Py_ssize_t size, Py_ssize_t n, Py_ssize_t k, const double* effect,
        const double* z, const double* fixed, double* out
    ) {
        for (Py_ssize_t i = 0; i < size; i++) out[i] = fixed[i] + effect[0] * z[i];
        for (Py_ssize_t a = 1; a < k; a++) mixedext_add(size, effect[a], z + a * n, out);
    }
    /* Z'a */
    MIXEDEXT_INLINE void mixedext_project(
        Py_ssize_t size, Py_ssize_t n, Py_ssize_t k, const double* a, const double* z,
        double* out
    ) {
        for (Py_ssize_t j = 0; j < k; j++) out[j] = mixedext_dot(size, a, z + j * n);
    }
    /* Z'WZ */
    MIXEDEXT_INLINE void mixedext_gram(
        Py_ssize_t size, Py_ssize_t n, Py_ssize_t k, const double* weight,
        const double* z, double* out
    ) {
        for (Py_ssize_t a = 0; a < k; a++)
            for (Py_ssize_t b = 0; b <= a; b++)
                out[a * k + b] = out[b * k + a] =
                    mixedext_dot3(size, weight, z + a * n, z + b * n);
    }
    """
    # n a multiple of PADDING
    double total "mixedext_sum"(Py_ssize_t n, const double* a) noexcept nogil
    double dot "mixedext_dot"(
        Py_ssize_t n, const double* a, const double* b) noexcept nogil
    double dot3 "mixedext_dot3"(
        Py_ssize_t n, const double* a, const double* b, const double* c) noexcept nogil
    # out += factor a
    void add "mixedext_add"(
        Py_ssize_t n, double factor, const double* a, double* out) noexcept nogil
    void predictor "mixedext_predictor"(
        Py_ssize_t size, Py_ssize_t n, Py_ssize_t k, const double* effect,
        const double* z, const double* fixed, double* out) noexcept nogil
    void project "mixedext_project"(
        Py_ssize_t size, Py_ssize_t n, Py_ssize_t k, const double* a, const double* z,
        double* out) noexcept nogil
    void gram_of "mixedext_gram"(
        Py_ssize_t size, Py_ssize_t n, Py_ssize_t k, const double* weight,
        const double* z, double* out) noexcept nogil


cdef enum:
    PADDING = 8
    # what of the likelihood's terms is wanted
    LOSS = 1
    NEWTON = 2
    EXPECTED = 4
    DERIVATIVES = 8
    SLOPE = 16
    # how the search for a mode has ended
    FOUND = 0
    OUT_OF_RANGE = 1
    NO_WEIGHTS = 2
    NO_STEP = 3
    TOO_MANY = 4
    NOT_STRICT = 5
    NO_INTEGRAL = 6


cdef struct Work:
    Py_ssize_t n
    Py_ssize_t size           # the same, padded
    Py_ssize_t p
    Py_ssize_t k
    bint concave
    bint expected_determinant
    bint has_kappa
    const double* x           # (p, n)
    const double* z           # (K, n)
    const double* lam         # (K, K) lower triangular
    Rows rows
    # of the rows, (n,)
    double* fixed             # linear predictor without random effects
    double* eta
    double* loss
    double* slope
    double* weight
    double* third
    double* expected
    double* expected_third
    double* loss_kappa
    double* slope_kappa
    double* weight_kappa
    double* expected_kappa
    double* pooled            # slope, averaged over the nodes of a quadrature
    double* scaled
    double* variance          # v, conditional variance of the linear predictor
    # of the columns of Z, (K,)
    double* u
    double* trial
    double* step
    double* effect
    double* slopes            # S = Z's
    double* gradient
    double* lean              # sum of posterior weight times h'(node)
    double* carry             # Z'a
    double* moved             # c, then Lam c
    double* work
    # (K, K)
    double* gram              # Z'WZ
    double* root              # Cholesky factor of M
    double* other_gram        # the same of the determinant, where its weights are others
    double* other_root
    double* half              # L^-1 lam'
    double* half_gram         # L^-1 lam' Z'WZ
    double* spread            # M^-1 of the determinant, less what the quadrature adds
    double* square
    double* square2
    double* square3
    double* by_lam            # of the quadrature: sum of posterior weight S u'
    # (K, p)
    double* cross             # Z'WX
    double* half_cross
    # what was found
    double h
    double log_det
    double integral           # log of the integral over Laplace's approximation
    double mode_loss_kappa    # sum of d l / d kappa at the mode
    double sum_loss_kappa     # the same, averaged over the nodes of a quadrature


cdef inline double inner(Py_ssize_t k, const double* a, const double* b) noexcept nogil:
    # of few elements
    cdef Py_ssize_t i
    cdef double out = 0.0
    for i in range(k):
        out += a[i] * b[i]
    return out


cdef inline void times_lam(
    Py_ssize_t k, const double* lam, bint transpose, const double* a, double* out
) noexcept nogil:
    # lam a or lam'a, lam lower triangular
    cdef Py_ssize_t i, j
    cdef double x
    for i in range(k):
        x = 0.0
        if transpose:
            for j in range(i, k):
                x += lam[j * k + i] * a[j]
        else:
            for j in range(i + 1):
                x += lam[i * k + j] * a[j]
        out[i] = x


cdef inline bint factored(Py_ssize_t k, double* a) noexcept nogil:
    # lower triangle of a to its Cholesky factor; whether it is positive definite
    cdef Py_ssize_t i, j, m
    cdef double x
    for j in range(k):
        x = a[j * k + j]
        for m in range(j):
            x -= a[j * k + m] * a[j * k + m]
        if not (x > 0.0 and x * 0.0 == 0.0):
            return False
        x = sqrt(x)
        a[j * k + j] = x
        for i in range(j + 1, k):
            for m in range(j):
                a[i * k + j] -= a[i * k + m] * a[j * k + m]
            a[i * k + j] /= x
    return True


cdef inline void solve_lower(
    Py_ssize_t k, Py_ssize_t columns, const double* root, double* b
) noexcept nogil:
    # b (k, columns) = L^-1 b
    cdef Py_ssize_t i, j, m
    cdef double share
    if k == 1:
        share = 1.0 / root[0]
        for j in range(columns):
            b[j] *= share
        return
    for i in range(k):
        for m in range(i):
            for j in range(columns):
                b[i * columns + j] -= root[i * k + m] * b[m * columns + j]
        share = 1.0 / root[i * k + i]
        for j in range(columns):
            b[i * columns + j] *= share


cdef inline void solve_upper(
    Py_ssize_t k, Py_ssize_t columns, const double* root, double* b
) noexcept nogil:
    # b (k, columns) = L^-T b
    cdef Py_ssize_t i, j, m
    cdef double share
    if k == 1:
        share = 1.0 / root[0]
        for j in range(columns):
            b[j] *= share
        return
    for i in range(k - 1, -1, -1):
        for m in range(i + 1, k):
            for j in range(columns):
                b[i * columns + j] -= root[m * k + i] * b[m * columns + j]
        share = 1.0 / root[i * k + i]
        for j in range(columns):
            b[i * columns + j] *= share


cdef inline void product(
    Py_ssize_t rows, Py_ssize_t inside, Py_ssize_t columns, bint transpose,
    const double* a, const double* b, double* out,
) noexcept nogil:
    # out = a b or a'b; a is (rows, inside), or (inside, rows) if transposed
    cdef Py_ssize_t i, j, m
    cdef double x
    for i in range(rows):
        for j in range(columns):
            out[i * columns + j] = 0.0
        for m in range(inside):
            x = a[m * rows + i] if transpose else a[i * inside + m]
            for j in range(columns):
                out[i * columns + j] += x * b[m * columns + j]


cdef inline void pad(Work* w, double* a) noexcept nogil:
    cdef Py_ssize_t i
    if a != NULL:
        for i in range(w.n, w.size):
            a[i] = 0.0


cdef inline void look_at_effects(Work* w, RowFamily family, int wanted) noexcept nogil:
    # the likelihood's terms at w.eta
    cdef Terms out
    memset(&out, 0, sizeof(Terms))
    if wanted & LOSS:
        out.loss = w.loss
    if wanted & (NEWTON | SLOPE):
        out.slope = w.slope
    if wanted & NEWTON:
        out.weight = w.weight
    if wanted & EXPECTED or (wanted & DERIVATIVES and w.expected_determinant):
        out.expected = w.expected
    if wanted & DERIVATIVES:
        if w.expected_determinant:
            out.expected_third = w.expected_third
        else:
            out.third = w.third
        if w.has_kappa:
            out.slope_kappa = w.slope_kappa
            out.weight_kappa = w.weight_kappa
            if w.expected_determinant:
                out.expected_kappa = w.expected_kappa
    if w.has_kappa and wanted & (DERIVATIVES | SLOPE):
        out.loss_kappa = w.loss_kappa
    # loops that take several rows at a time have no remainder
    family.terms(w.size if family.fast else w.n, w.eta, &w.rows, &out)
    if w.size > w.n:
        pad(w, out.loss)
        pad(w, out.slope)
        pad(w, out.weight)
        pad(w, out.third)
        pad(w, out.expected)
        pad(w, out.expected_third)
        if w.has_kappa:
            pad(w, out.loss_kappa)
            pad(w, out.slope_kappa)
            pad(w, out.weight_kappa)
            pad(w, out.expected_kappa)


cdef inline bint factor_gram(Work* w, const double* gram, double* root) noexcept nogil:
    # M = I + lam' gram lam; whether it is positive definite
    cdef Py_ssize_t a, b, i, k = w.k
    cdef double x
    if k == 1:
        root[0] = 1.0 + w.lam[0] * gram[0] * w.lam[0]
    else:
        for i in range(k):
            for b in range(k):
                x = 0.0
                for a in range(b, k):
                    x += gram[i * k + a] * w.lam[a * k + b]
                w.square[i * k + b] = x
        for a in range(k):
            for b in range(a + 1):
                x = 1.0 if a == b else 0.0
                for i in range(a, k):
                    x += w.lam[i * k + a] * w.square[i * k + b]
                root[a * k + b] = x
    return factored(k, root)
