from mixedext.kernels.generalized.level_work cimport Work


cdef struct Sums:
    # over levels, to which a level's are added
    double* value
    double* loss_kappa    # at the modes
    double* by_kappa
    double* by_x          # (p,)
    double* square        # (p + 1, p + 1), lower: 2 h by b, and by b and kappa
    double* by_lam        # (K, K)
    double* score         # pairs of columns
    double* information   # pairs by pairs
    double* mixed         # (K, K, p + 1)


cdef void add_derivatives(
    Work* w, bint quadrature, Sums* sums, double* slopes, double* response, double* normal
) noexcept nogil
