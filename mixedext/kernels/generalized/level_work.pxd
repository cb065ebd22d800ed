"""One level of a grouping factor while it is worked on: its rows, and what was found.

A level's rows of X and Z stand together, by columns, so that sums over rows and changes of
the linear predictor are loops over neighbours.  Matrices are C-ordered.
"""

from libc.math cimport sqrt
from libc.string cimport memset
from mixedext.kernels.generalized.families cimport RowFamily, Rows, Terms

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define MIXEDEXT_INLINE static inline __attribute__((always_inline, unused))
    #else
    #define MIXEDEXT_INLINE static __inline
    #endif
    /* Four partial sums: compilers may then take several rows at a time. */
    MIXEDEXT_INLINE double mixedext_dot(Py_ssize_t n, const double* a, const double* b) {
        double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
        Py_ssize_t i = 0;
        for (; i + 4 <= n; i += 4) {
            s0 += a[i] * b[i];
            s1 += a[i + 1] * b[i + 1];
            s2 += a[i + 2] * b[i + 2];
            s3 += a[i + 3] * b[i + 3];
        }
        for (; i < n; i++) s0 += a[i] * b[i];
        return (s0 + s2) + (s1 + s3);
    }
    MIXEDEXT_INLINE double mixedext_sum(Py_ssize_t n, const double* a) {
        double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
        Py_ssize_t i = 0;
        for (; i + 4 <= n; i += 4) {
            s0 += a[i];
            s1 += a[i + 1];
            s2 += a[i + 2];
            s3 += a[i + 3];
        }
        for (; i < n; i++) s0 += a[i];
        return (s0 + s2) + (s1 + s3);
    }
    MIXEDEXT_INLINE void mixedext_times(
        Py_ssize_t n, const double* a, const double* b, double* out
    ) {
        for (Py_ssize_t i = 0; i < n; i++) out[i] = a[i] * b[i];
    }
    MIXEDEXT_INLINE void mixedext_add(
        Py_ssize_t n, double factor, const double* a, double* out
    ) {
        for (Py_ssize_t i = 0; i < n; i++) out[i] += factor * a[i];
    }
    """
    double dot "mixedext_dot"(
        Py_ssize_t n, const double* a, const double* b) noexcept nogil
    double total "mixedext_sum"(Py_ssize_t n, const double* a) noexcept nogil
    # out = a b, and out += factor a
    void times "mixedext_times"(
        Py_ssize_t n, const double* a, const double* b, double* out) noexcept nogil
    void add "mixedext_add"(
        Py_ssize_t n, double factor, const double* a, double* out) noexcept nogil


cdef enum:
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
    double* other
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
    for i in range(k):
        for m in range(i):
            for j in range(columns):
                b[i * columns + j] -= root[i * k + m] * b[m * columns + j]
        for j in range(columns):
            b[i * columns + j] /= root[i * k + i]


cdef inline void solve_upper(
    Py_ssize_t k, Py_ssize_t columns, const double* root, double* b
) noexcept nogil:
    # b (k, columns) = L^-T b
    cdef Py_ssize_t i, j, m
    for i in range(k - 1, -1, -1):
        for m in range(i + 1, k):
            for j in range(columns):
                b[i * columns + j] -= root[m * k + i] * b[m * columns + j]
        for j in range(columns):
            b[i * columns + j] /= root[i * k + i]


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


cdef inline void look(
    Work* w, RowFamily family, const double* u, int wanted
) noexcept nogil:
    # the likelihood's terms at coefficients u
    cdef Py_ssize_t a
    cdef Terms out
    memset(&out, 0, sizeof(Terms))
    times_lam(w.k, w.lam, False, u, w.effect)
    for a in range(w.n):
        w.eta[a] = w.fixed[a] + w.effect[0] * w.z[a]
    for a in range(1, w.k):
        add(w.n, w.effect[a], w.z + a * w.n, w.eta)
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
    family.terms(w.n, w.eta, &w.rows, &out)


cdef inline void sum_slopes(Work* w, double* out) noexcept nogil:
    # Z's
    cdef Py_ssize_t a
    for a in range(w.k):
        out[a] = dot(w.n, w.slope, w.z + a * w.n)


cdef inline void sum_gram(Work* w, const double* weight, double* out) noexcept nogil:
    # Z'WZ
    cdef Py_ssize_t a, b
    for a in range(w.k):
        times(w.n, weight, w.z + a * w.n, w.scaled)
        for b in range(a + 1):
            out[a * w.k + b] = dot(w.n, w.scaled, w.z + b * w.n)
            out[b * w.k + a] = out[a * w.k + b]


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
