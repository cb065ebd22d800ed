"""Derivatives of the profiled deviance of several grouping factors.

With N = Z'V0^-1 Z, v = Z'V0^-1 (y - X beta), T = Z'V0^-1 X L_X^-T, d degrees of freedom,
r2 = y'P0 y, and sums over the levels l of a factor,

    score S = sum_l N_ll - d/r2 v_l v_l' - [REML] T_l T_l'           (d dev / d Sigma)
    AI_rs = d/r2 [ w_r'N w_s - x_r'x_s ] - d/r2^2 a_r a_s,
    w_r = E_r v,  x_r = T'w_r,  a_r = v'w_r

as in ``engine.deviance.profiled``.  C22 = S^-1 of the tail, K_l = (I + Sigma A_l)^-1 of a
level of the lead.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memset
from mixedext.kernels.deviance.profiled cimport Entries
from mixedext.kernels.factor.lead cimport add_quadratics
from mixedext.kernels.row_major cimport (
    copy_numbers,
    mirror_lower,
    multiply,
    solve_left,
    solve_right,
)
from scipy.linalg.cython_blas cimport ddot
from scipy.linalg.cython_lapack cimport dpotri

import numpy as np

from mixedext import limits

cdef double ROOT_INVERTIBLE = limits.ROOT_INVERTIBLE


cdef double _dot(Py_ssize_t n, const double* a, const double* b) noexcept nogil:
    cdef int count = <int>n, one = 1
    return ddot(&count, <double*>a, &one, <double*>b, &one)


cdef bint _invertible(const double* size, Py_ssize_t k) noexcept nogil:
    return size[k - 1] >= ROOT_INVERTIBLE * max(1.0, size[0])


cdef class SeveralFactors(BlockedFactor):
    """The deviance of a blocked factor with its derivatives; parameters are the same."""

    def __cinit__(self, **parameters):
        cdef Py_ssize_t m = self.m, p = self.p, rows = self.rows, width = self.width
        cdef Py_ssize_t count = self.n_gamma, c = self.widest, i
        shape = (rows, m) if self.panel else (self.links.n_links, width)
        self.edge_view, self.inverse_view = np.empty(shape), np.empty((m, m))
        self.work_view, self.form_view = np.empty(width), np.empty((1, width, width))
        if self.edge_view.size:
            self.edge = &self.edge_view[0, 0]
        if m:
            self.inverse = &self.inverse_view[0, 0]
        sizes = [
            rows * width, rows * p, rows * p, m * p, m * p, m * p, rows * count,
            rows * count, rows * count, m * count, m * count, count * count,
            (p + 1) * count, count * self.n_theta, self.k * self.k,
            self.n_factors * c * c,
        ]
        self.more = <double*>malloc(max(sum(sizes), 1) * sizeof(double))
        if self.more == NULL:
            raise MemoryError(f"no memory for a tail of {m} columns")
        cdef double* at = self.more
        cdef double** names[16]
        names[:] = [
            &self.shrunk, &self.response, &self.moved, &self.tail_effect,
            &self.tail_response, &self.tail_moved, &self.weight, &self.image,
            &self.weight_solved, &self.tail_weight, &self.tail_image, &self.information,
            &self.product, &self.jacobian, &self.score, &self.curvature,
        ]
        for i in range(16):
            names[i][0] = at
            at += <Py_ssize_t>sizes[i]

    def __dealloc__(self):
        free(self.more)

    cdef void derivatives(
        self, const double* theta, double* gradient, double* hessian
    ) noexcept nogil:
        cdef Py_ssize_t n = self.n_theta, k = self.k, e, f, r, c, a, b
        cdef Entries* template = &self.template
        cdef Entries* basis = &self.basis
        cdef double x
        self.n_derivatives += 1
        self.shrink()
        self.respond()
        self.set_curvature()
        self.set_scores()
        self.set_weights()
        self.set_information()
        memset(gradient, 0, n * sizeof(double))
        memset(hessian, 0, n * n * sizeof(double))
        # gradient 2 <B_r, S lam>, bend 2 <S, B_r B_s'>
        for e in range(template.count):
            a, b = template.row[e], template.column[e]
            x = 0.0
            for c in range(k):
                x += self.score[a * k + c] * self.lam[c * k + b]
            gradient[template.member[e]] += 2.0 * template.value[e] * x
            for f in range(template.count):
                if template.column[f] == b:
                    hessian[template.member[e] * n + template.member[f]] += (
                        2.0 * template.value[e] * template.value[f]
                        * self.score[a * k + template.row[f]]
                    )
        # d gamma_r / d theta_s = 2 <E_r, B_s lam'> / <E_r, E_r>
        memset(self.jacobian, 0, self.n_gamma * n * sizeof(double))
        memset(self.product, 0, self.n_gamma * sizeof(double))
        for e in range(basis.count):
            self.product[basis.member[e]] += basis.value[e] * basis.value[e]
        for e in range(basis.count):
            a, c = basis.row[e], basis.column[e]
            x = 2.0 * basis.value[e] / self.product[basis.member[e]]
            for f in range(template.count):
                if template.row[f] == a:
                    self.jacobian[basis.member[e] * n + template.member[f]] += (
                        x * template.value[f] * self.lam[c * k + template.column[f]]
                    )
        for r in range(self.n_gamma):
            for c in range(self.n_gamma):
                x = self.information[r * self.n_gamma + c]
                for a in range(n):
                    if self.jacobian[r * n + a] == 0.0:
                        continue
                    for b in range(n):
                        hessian[a * n + b] += (
                            self.jacobian[r * n + a] * x * self.jacobian[c * n + b]
                        )

    cdef void shrink(self) noexcept nogil:
        """K_l of every level of the lead, and sum_l A_l K_l.

        K = I - D A holds for any lam; K = D Sigma^-1 loses no digits when Sigma A is large
        and lam is well conditioned.
        """
        cdef Py_ssize_t k = self.width, level, a, b, c
        cdef double* precision = self.small + k * k
        cdef double* product = self.small + 2 * k * k
        cdef double* out
        cdef const double* half
        cdef const double* gram
        cdef bint precise
        cdef double x
        memset(self.curvature, 0, k * k * sizeof(double))
        precise = (
            self.factor_start[1] == k
            and self.decompose(self.own, k, self.vector, self.size) >= 0.0
            and _invertible(self.size, k)
        )
        for a in range(k if precise else 0):
            for b in range(k):
                x = 0.0
                for c in range(k):
                    x += self.vector[a * k + c] * self.vector[b * k + c] / self.size[c] ** 2
                precision[a * k + b] = x
        for level in range(self.n_levels):
            half, gram = self.half + level * k * k, self.gram + level * k * k
            out = self.shrunk + level * k * k
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for c in range(k):
                        x += half[a * k + c] * half[b * k + c]
                    product[a * k + b] = x
            for a in range(k):
                for b in range(k):
                    x = 1.0 if a == b and not precise else 0.0
                    for c in range(k):
                        if precise:
                            x += product[a * k + c] * precision[c * k + b]
                        else:
                            x -= product[a * k + c] * gram[c * k + b]
                    out[a * k + b] = x
            for a in range(k):
                for b in range(k):
                    x = 0.0
                    for c in range(k):
                        x += gram[a * k + c] * out[c * k + b]
                    self.curvature[a * k + b] += x

    cdef void respond(self) noexcept nogil:
        """Z'V0^-1 [X L_X^-T, y - X beta], leading part and tail."""
        cdef Py_ssize_t m = self.m, p = self.p
        self.find_responses()
        self.set_change()
        multiply(
            False, True, self.rows, p, p, 1.0, self.response, self.change, 0.0, self.moved
        )
        multiply(
            False, True, m, p, p, 1.0, self.tail_response, self.change, 0.0, self.tail_moved
        )

    cdef void find_responses(self) noexcept nogil:
        """Z'V0^-1 [X y], leading part and tail."""
        cdef Py_ssize_t m = self.m, p = self.p, k = self.width, level, a, b, c, f, j
        cdef const double* shrunk
        cdef const double* rest
        cdef double* response
        cdef const double* vector
        cdef const double* size
        cdef double* own
        cdef bint precise = True
        cdef double x
        copy_numbers(self.tail_effect, self.tail_solved, m * p)
        solve_left(True, m, p, self.factor, self.tail_effect)
        copy_numbers(self.tail_response, self.tail_effect, m * p)
        self.multiply_lam(self.tail_effect, p, False)
        for f in range(1, self.n_factors):
            k = self.factor_start[f + 1] - self.factor_start[f]
            precise = precise and _invertible(self.size + f * self.widest, k)
        if precise:
            # Lam'Z'V0^-1 = C Lam'Z', so dividing by Lam' loses nothing
            for level in range(self.n_tail):
                f, c = self.level_factor[level] + 1, self.level_start[level]
                k = self.level_start[level + 1] - c
                own = self.tail_response + c * p
                vector = self.vector + f * self.widest * self.widest
                size = self.size + f * self.widest
                for j in range(p):
                    for a in range(k):
                        self.small[a] = own[a * p + j] / size[a]
                    for a in range(k):
                        x = 0.0
                        for b in range(k):
                            x += vector[a * k + b] * self.small[b]
                        own[a * p + j] = x
        else:
            copy_numbers(self.tail_response, self.tail_reduced, m * p)
            multiply(
                False, False, m, p, m, -1.0, self.reduced, self.tail_effect, 1.0,
                self.tail_response,
            )
        # of the lead: what the tail leaves, shrunk; `moved` holds the rest meanwhile
        k = self.width
        copy_numbers(self.moved, self.cross, self.rows * p)
        self.link_plain(self.link, self.tail_effect, p, -1.0, self.moved)
        for level in range(self.n_levels):
            shrunk, rest = self.shrunk + level * k * k, self.moved + level * k * p
            response = self.response + level * k * p
            for a in range(k):
                for j in range(p):
                    x = 0.0
                    for b in range(k):
                        x += shrunk[b * k + a] * rest[b * p + j]
                    response[a * p + j] = x

    cdef void set_curvature(self) noexcept nogil:
        """sum_l [Z'V0^-1 Z]_ll of every factor."""
        cdef Py_ssize_t m = self.m, k = self.width, area = self.widest * self.widest
        cdef Py_ssize_t level, start, f, a, b, c, i
        cdef int n = <int>m, info = 0
        cdef double* edge = self.edge
        cdef double* out
        cdef double* turned = self.small + area
        cdef const double* vector
        cdef const double* size
        cdef double x
        copy_numbers(self.inverse, self.factor, m * m)
        dpotri(b"U", &n, self.inverse, &n, &info)
        mirror_lower(m, self.inverse)
        # the lead: less edge_l'C22 edge_l, edge_l = Lam2'(links_l K_l)
        self.link_times(self.shrunk, edge)
        if self.panel:
            self.multiply_lam_right(edge, self.rows, edge)
            solve_right(self.rows, m, self.factor, edge)
            if k == 1:
                self.curvature[0] -= _dot(self.rows * m, edge, edge)
            for level in range(self.n_levels if k > 1 else 0):
                for a in range(k):
                    for b in range(a + 1):
                        x = _dot(m, edge + (level * k + a) * m, edge + (level * k + b) * m)
                        self.curvature[a * k + b] -= x
                        if a != b:
                            self.curvature[b * k + a] -= x
        elif self.links.n_links:
            self.lam_times_links(edge)
            for a in range(k):
                for b in range(k):
                    self.form_view[0, a, b] = 0.0
            add_quadratics(
                self.links, self.edge_view, 0, m, self.inverse_view, False,
                self.work_view, self.form_view,
            )
            for a in range(k):
                for b in range(k):
                    self.curvature[a * k + b] -= (
                        self.form_view[0, a, b] + self.form_view[0, b, a]
                    )
        # the tail: t = sum_l [N Lam2 C22]_ll, row by row of C22 Lam2'
        memset(self.curvature + area, 0, (self.n_factors - 1) * area * sizeof(double))
        for level in range(self.n_tail):
            start, f = self.level_start[level], self.level_factor[level] + 1
            k = self.level_start[level + 1] - start
            for c in range(k):
                self.times_transposed(self.inverse + (start + c) * m, self.row)
                for a in range(k):
                    self.curvature[f * area + a * k + c] += _dot(
                        m, self.reduced + (start + a) * m, self.row
                    )
        self.mend_curvature()
        # t = T V diag(size).  Of the two values for an entry of the symmetric V'TV the one
        # divided by the larger size is the more accurate.
        for f in range(1, self.n_factors):
            k = self.factor_start[f + 1] - self.factor_start[f]
            out, vector = self.curvature + f * area, self.vector + f * area
            size = self.size + f * self.widest
            multiply(True, False, k, k, k, 1.0, vector, out, 0.0, turned)
            for a in range(k):
                for i in range(k):
                    x = turned[a * k + i] / size[i] if size[i] >= size[a] else (
                        turned[i * k + a] / size[a]
                    )
                    self.small[a * k + i] = x
            multiply(False, False, k, k, k, 1.0, vector, self.small, 0.0, turned)
            multiply(False, True, k, k, k, 1.0, turned, vector, 0.0, out)

    cdef void mend_curvature(self) noexcept nogil:
        """Take sums t of the tail from where they are known more sharply, if they are."""
        pass

    cdef void times_transposed(self, const double* source, double* out) noexcept nogil:
        """out (m,) = source Lam2'."""
        cdef Py_ssize_t level, start, k, c, d, area = self.widest * self.widest
        cdef const double* root
        for c in range(self.m if self.n_tail == self.m else 0):
            out[c] = self.scale[c] * source[c]
        for level in range(self.n_tail if self.n_tail < self.m else 0):
            start = self.level_start[level]
            k = self.level_start[level + 1] - start
            root = self.root + (self.level_factor[level] + 1) * area
            for c in range(k):
                out[start + c] = 0.0
                for d in range(k):
                    out[start + c] += source[start + d] * root[c * k + d]

    cdef void lam_times_links(self, double* edge) noexcept nogil:
        """Compressed links times Lam2'; a level's links hold a tail level whole or not."""
        cdef Py_ssize_t s = 0, k = self.width, level, width, a, c, d
        cdef Py_ssize_t area = self.widest * self.widest
        cdef const double* root
        while s < self.links.n_links:
            level = self.level_of[self.link_index[s]]
            width = self.level_start[level + 1] - self.level_start[level]
            root = self.root + (self.level_factor[level] + 1) * area
            for a in range(k):
                for c in range(width):
                    self.small[c] = 0.0
                    for d in range(width):
                        self.small[c] += root[d * width + c] * edge[(s + d) * k + a]
                for c in range(width):
                    edge[(s + c) * k + a] = self.small[c]
            s += width

    cdef void subtract_squares(
        self, const double* own, Py_ssize_t k, double* out
    ) noexcept nogil:
        """out (k, k) -= d/r2 v v' + [REML] T T' of one level, [T v] (k, P)."""
        cdef Py_ssize_t p = self.p, a, b, j
        cdef double x, scale = self.dof / self.residual_square
        for a in range(k):
            for b in range(k):
                x = scale * own[a * p + p - 1] * own[b * p + p - 1]
                for j in range(p - 1 if self.reml else 0):
                    x += own[a * p + j] * own[b * p + j]
                out[a * k + b] -= x

    cdef void set_scores(self) noexcept nogil:
        """d dev / d Sigma of the terms, side by side; turns ``curvature`` into scores."""
        cdef Py_ssize_t area = self.widest * self.widest, level, k, f, a, b
        for level in range(self.n_levels):
            self.subtract_squares(
                self.moved + level * self.width * self.p, self.width, self.curvature
            )
        for level in range(self.n_tail):
            self.subtract_squares(
                self.tail_moved + self.level_start[level] * self.p,
                self.level_start[level + 1] - self.level_start[level],
                self.curvature + (self.level_factor[level] + 1) * area,
            )
        for a in range(self.k):
            f = self.factor_of[a]
            k = self.factor_start[f + 1] - self.factor_start[f]
            for b in range(self.k):
                self.score[a * self.k + b] = 0.0
                if self.term_of[a] == self.term_of[b]:
                    self.score[a * self.k + b] = self.curvature[
                        f * area + self.place_of[a] * k + self.place_of[b]
                    ]

    cdef void set_weights(self) noexcept nogil:
        """Vectors w_r = E_r Z'P0 y, one for each element of gamma."""
        cdef Py_ssize_t count = self.n_gamma, k = self.width, p = self.p
        cdef Py_ssize_t e, r, f, a, b, level, start
        cdef double x
        memset(self.weight, 0, self.rows * count * sizeof(double))
        memset(self.tail_weight, 0, self.m * count * sizeof(double))
        for e in range(self.basis.count):
            r, x = self.basis.member[e], self.basis.value[e]
            f = self.factor_of[self.basis.row[e]]
            a, b = self.place_of[self.basis.row[e]], self.place_of[self.basis.column[e]]
            for level in range(self.n_levels if f == 0 else 0):
                self.weight[(level * k + a) * count + r] += (
                    x * self.moved[(level * k + b) * p + p - 1]
                )
            for level in range(self.n_tail):
                start = self.level_start[level]
                if self.level_factor[level] + 1 == f:
                    self.tail_weight[(start + a) * count + r] += (
                        x * self.tail_moved[(start + b) * p + p - 1]
                    )

    cdef void set_information(self) noexcept nogil:
        """Average information d/r2 [w'Nw - x'x] - d/r2^2 a a', x = T'w, a = v'w."""
        cdef Py_ssize_t count = self.n_gamma, p = self.p, m = self.m, j, r, s
        cdef double* information = self.information
        cdef double x, scale = self.dof / self.residual_square
        self.project()
        multiply(
            True, False, p, count, self.rows, 1.0, self.moved, self.weight, 0.0,
            self.product,
        )
        multiply(
            True, False, p, count, m, 1.0, self.tail_moved, self.tail_weight, 1.0,
            self.product,
        )
        for r in range(count):
            for s in range(r + 1):
                x = information[r * count + s]
                for j in range(p - 1):
                    x -= self.product[j * count + r] * self.product[j * count + s]
                x -= (
                    self.product[(p - 1) * count + r] * self.product[(p - 1) * count + s]
                    / self.residual_square
                )
                information[r * count + s] = information[s * count + r] = scale * x

    cdef void project(self) noexcept nogil:
        """w'Nw in ``information``."""
        cdef Py_ssize_t count = self.n_gamma, k = self.width, m = self.m
        cdef Py_ssize_t level, a, b, r
        cdef const double* half
        cdef const double* gram
        cdef double* information = self.information
        cdef double* image
        cdef double* solved
        cdef double x
        # image = Z'Z w, and what elimination leaves of its square
        memset(self.image, 0, self.rows * count * sizeof(double))
        self.link_plain(self.link, self.tail_weight, count, 1.0, self.image)
        for level in range(self.n_levels):
            half, gram = self.half + level * k * k, self.gram + level * k * k
            image = self.image + level * k * count
            solved = self.weight_solved + level * k * count
            for a in range(k):
                for b in range(k):
                    x = gram[a * k + b]
                    for r in range(count):
                        image[a * count + r] += x * self.weight[(level * k + b) * count + r]
            for a in range(k):
                for r in range(count):
                    solved[a * count + r] = half[a] * image[r]
                for b in range(1, k):
                    for r in range(count):
                        solved[a * count + r] += half[b * k + a] * image[b * count + r]
        multiply(
            False, False, m, count, m, 1.0, self.tail_gram, self.tail_weight, 0.0,
            self.tail_image,
        )
        self.link_transposed(self.link, self.weight, count, 1.0, self.tail_image)
        multiply(
            True, False, count, count, self.rows, 1.0, self.weight, self.image, 0.0,
            information,
        )
        multiply(
            True, False, count, count, m, 1.0, self.tail_weight, self.tail_image, 1.0,
            information,
        )
        multiply(
            True, False, count, count, self.rows, -1.0, self.weight_solved,
            self.weight_solved, 1.0, information,
        )
        self.link_transposed(self.scaled, self.weight_solved, count, -1.0, self.tail_image)
        self.multiply_lam(self.tail_image, count, True)
        solve_left(False, m, count, self.factor, self.tail_image)
        multiply(
            True, False, count, count, m, -1.0, self.tail_image, self.tail_image, 1.0,
            information,
        )

    # ---- from Python ----

    def differentiate(self, theta):
        """Gradient and Hessian at the theta of the last value."""
        cdef const double[::1] point = np.ascontiguousarray(theta, float)
        gradient, hessian = np.empty(self.n_theta), np.empty((self.n_theta,) * 2)
        cdef double[::1] g = gradient
        cdef double[:, ::1] h = hessian
        with nogil:
            self.derivatives(&point[0], &g[0], &h[0, 0])
        return gradient, hessian
