"""The value of the deviance of several grouping factors, for other kernels."""

from mixedext.kernels.deviance.profiled cimport Entries, Profiled
from mixedext.kernels.factor.layout cimport Links, TailLevels


cdef class BlockedFactor(Profiled):
    cdef object arrays                # whose memory is pointed to
    cdef Py_ssize_t n_levels, width   # of the leading factor
    cdef Py_ssize_t rows              # of a panel of links: n_levels times width
    cdef Py_ssize_t m, n_tail         # columns and levels of the tail
    cdef Py_ssize_t n_factors, widest, n_gamma
    cdef bint panel                   # whether links are a panel
    cdef double log_det
    # cross-products
    cdef const double* gram           # (L, K, K)
    cdef double* cross                # (L, K, P)
    cdef const double* link           # panel (L K, m), or (nnz, K)
    cdef const double* tail_gram      # (m, m)
    cdef double* tail_cross           # (m, P)
    cdef double* fixed_gram           # (P, P)
    # layout, see BlockedFactor
    cdef TailLevels levels
    cdef const Py_ssize_t* level_start
    cdef const Py_ssize_t* level_factor
    cdef const Py_ssize_t* level_of
    cdef Links links                  # None for a panel
    cdef const Py_ssize_t* link_pointers
    cdef const Py_ssize_t* link_index
    cdef const Py_ssize_t* factor_start
    cdef const Py_ssize_t* column_of
    cdef const Py_ssize_t* term_of
    cdef const Py_ssize_t* factor_of
    cdef const Py_ssize_t* place_of
    cdef Entries basis                # Sigma = sum_r gamma_r E_r of all terms
    # for the kernels of the leading factor
    cdef double[:, ::1] scaled_view
    cdef double[:, ::1] reduced_view
    # responses to be taken
    cdef const double[:, :, ::1] lead_responses
    cdef const double[:, ::1] tail_responses
    # at the last theta
    cdef double* buffer
    cdef double* own                  # (factors, widest, widest) lam of every factor
    cdef double* vector               # (factors, ...) V and
    cdef double* size                 # ... s of lam lam' = V diag(s^2) V'
    cdef double* root                 # (factors, ...) V diag(s)
    cdef double* scale                # (m,) Lam2 where levels of the tail are columns
    cdef double* half                 # (L, K, K)
    cdef double* solved               # (L, K, P) half_l'Z_l'[X y]
    cdef double* scaled               # W, as the links are stored
    cdef double* reduced              # (m, m) N
    cdef double* factor               # (m, m) L in the lower triangle
    cdef double* tail_reduced         # (m, P) Z2'V1^-1 [X y]
    cdef double* tail_solved          # (m, P) L^-1 Lam2' of it
    # scratch
    cdef double* small                # (4 widest^2 + 40 widest,)
    cdef double* row                  # (max(m, widest),)

    cdef double decompose(
        self, const double* lam, Py_ssize_t k, double* vector, double* size
    ) noexcept nogil
    cdef bint set_roots(self, const double* theta, bint floor) noexcept nogil
    cdef bint factor_lead(self) noexcept nogil
    cdef void reduce_tail(self) noexcept nogil
    cdef bint factor_tail(self) noexcept nogil
    cdef bint reduce_fixed(self) noexcept nogil
    cdef void link_times(self, const double* right, double* out) noexcept nogil
    cdef void link_transposed(
        self, const double* values, const double* b, Py_ssize_t columns, double alpha,
        double* out,
    ) noexcept nogil
    cdef void link_plain(
        self, const double* values, const double* b, Py_ssize_t columns, double alpha,
        double* out,
    ) noexcept nogil
    cdef void multiply_lam(
        self, double* b, Py_ssize_t columns, bint transpose
    ) noexcept nogil
    cdef void multiply_lam_right(
        self, const double* source, Py_ssize_t rows, double* out
    ) noexcept nogil
