"""The deviance of several grouping factors with its derivatives, for other kernels."""

from mixedext.kernels.deviance.blocked_factor cimport BlockedFactor


cdef class SeveralFactors(BlockedFactor):
    cdef double[:, ::1] edge_view
    cdef double[:, ::1] inverse_view
    cdef double[::1] work_view
    cdef double[:, :, ::1] form_view
    cdef double* more
    cdef double* shrunk               # (L, K, K) K_l
    cdef double* edge                 # links K_l Lam2, as the links are stored
    cdef double* inverse              # (m, m) C22
    cdef double* response             # (L, K, P) and ...
    cdef double* tail_response        # ... (m, P): Z'V0^-1 [X y]
    cdef double* moved                # (L, K, P) and ...
    cdef double* tail_moved           # ... (m, P): [T v]
    cdef double* tail_effect          # (m, P)
    cdef double* weight               # (L, K, gamma) and ...
    cdef double* tail_weight          # ... (m, gamma): w
    cdef double* image                # (L, K, gamma) and ...
    cdef double* tail_image           # ... (m, gamma): Z'Z w
    cdef double* weight_solved        # (L, K, gamma)
    cdef double* information          # (gamma, gamma)
    cdef double* product              # (P, gamma)
    cdef double* jacobian             # (gamma, theta)
    cdef double* score                # of all terms, side by side
    cdef double* curvature            # (factors, ...) sums of N_ll, then S

    cdef void shrink(self) noexcept nogil
    cdef void respond(self) noexcept nogil
    cdef void find_responses(self) noexcept nogil
    cdef void set_curvature(self) noexcept nogil
    cdef void mend_curvature(self) noexcept nogil
    cdef void times_transposed(self, const double* source, double* out) noexcept nogil
    cdef void lam_times_links(self, double* edge) noexcept nogil
    cdef void subtract_squares(
        self, const double* own, Py_ssize_t k, double* out
    ) noexcept nogil
    cdef void set_scores(self) noexcept nogil
    cdef void set_weights(self) noexcept nogil
    cdef void set_information(self) noexcept nogil
    cdef void project(self) noexcept nogil
