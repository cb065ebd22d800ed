"""The ML deviance as a function of relative covariances and sigma^2; its derivatives.

With relative covariances Sigma_i = sum_r gamma_r E_r, V0 = I + Z Sigma Z', tau = log s2
and beta profiled out, or profiled out but for one linear combination a'beta = c,

    f(gamma, tau, c) = log det V0 + q / sigma^2 + n log(2 pi sigma^2),
    q = min_b (y - Xb)'V0^-1 (y - Xb),    b = b^ + A^-1 a (c - a'b^) / (a'A^-1 a).

With N = Z'V0^-1 Z, T = Z'V0^-1 X, A = X'V0^-1 X, v = Z'V0^-1 (y - Xb), C = T'B_r v and
P = A^-1, less A^-1 a a'A^-1 / a'A^-1 a where a combination is held:

    f_r = tr B_r N - v'B_r v / s2,            f_tau = n - q / s2,
    f_rs = -tr B_r N B_s N + 2 (v'B_r N B_s v - C_r'P C_s) / s2,
    f_r,tau = v'B_r v / s2,                   f_tau,tau = q / s2,
    f_c = 2 (c - a'b^) / (s2 a'A^-1 a),       f_cc = 2 / (s2 a'A^-1 a),
    f_rc = 2 C_r'A^-1 a / (s2 a'A^-1 a),      f_tau,c = -f_c.

Everything is in the engine's units.

With sigma^2 at its best -f / 2 is the log-likelihood of ``given_covariances``, whose
derivatives are the Schur complement of these; from the blocked factor both are sums of
the same ``covariance_forms``.  A profile asks for f thousands of times where data are few:
the two ways that do without that factor take a fourth of its time or less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from mixedext.algebra.inverses import generalized_inverse
from mixedext.engine.deviance.covariance_forms import CovarianceForms
from mixedext.engine.deviance.given_covariances import nearest_relative_root
from mixedext.engine.deviance.profiled import FactorDeviance
from mixedext.engine.factor.templates import covariance_bases
from mixedext.engine.rows.design import Design
from mixedext.limits import LEVEL_RANK

__all__ = ["JointPoint", "joint_deviance"]

# Columns of the only grouping factor up to which its levels are worked on side by side.
MOST_COLUMNS = 8
# Random effects up to which Z'Z is worked on as a whole.
MOST_EFFECTS = 120


@dataclass(frozen=True, eq=False)
class JointPoint:
    """The deviance at one point and its derivatives.

    Attributes
    ----------
    value : float
        f, without the constants that the data's units add.
    gradient : ndarray
        In gamma, tau and, where a combination is held, c.
    hessian : ndarray
        Second derivatives in the same.
    coefficients : ndarray
        b.
    """

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    coefficients: np.ndarray


class _JointDeviance:
    """What both ways of computing it share.

    Parameters
    ----------
    design : Design
        The model.
    """

    def __init__(self, design: Design):
        self.nobs = design.blocks.nobs
        self.rank = design.blocks.n_fixed - 1
        self.below = np.tri(self.rank, dtype=bool)

    def at(self, gamma, tau: float, held=None) -> JointPoint:
        """The deviance at gamma and tau = log sigma^2.

        Parameters
        ----------
        gamma : ndarray
            Elements of the relative covariances of all terms.
        tau : float
            Logarithm of sigma^2.
        held : tuple of (ndarray, float), optional
            (a, c): the coefficients are held at a'b = c.
        """
        log_det, gram, best, least, state = self._factored(gamma)
        s2 = np.exp(tau)
        inverse = None
        if self.rank:
            inverse = linalg.lapack.dpotri(gram[0], lower=1)[0]
            inverse = np.where(self.below, inverse, inverse.T)
        b, q = best, least
        if held is not None:
            a, c = held
            solved = inverse @ a
            length = a @ solved
            excess = c - a @ best
            b = best + solved * (excess / length)
            q = least + excess**2 / length
        trace, traces, squares, curved, mixed = self._traces(gamma, state, b)
        count = len(trace)
        n_all = count + 1 + (held is not None)
        gradient, hessian = np.empty(n_all), np.empty((n_all, n_all))
        gradient[:count] = trace - squares / s2
        gradient[count] = self.nobs - q / s2
        within = curved
        if self.rank:
            along = mixed @ inverse
            within = curved - along @ mixed.T
            if held is not None:
                crossed = mixed @ solved
                within += np.multiply.outer(crossed, crossed / length)
        hessian[:count, :count] = 2 / s2 * within - traces
        hessian[:count, count] = hessian[count, :count] = squares / s2
        hessian[count, count] = q / s2
        if held is not None:
            slope = 2 * excess / (s2 * length)
            gradient[-1] = slope
            hessian[-1, -1] = 2 / (s2 * length)
            hessian[:count, -1] = hessian[-1, :count] = 2 / (s2 * length) * crossed
            hessian[count, -1] = hessian[-1, count] = -slope
        value = log_det + q / s2 + self.nobs * (np.log(2 * np.pi) + tau)
        return JointPoint(float(value), gradient, hessian, b)

    def _factored(self, gamma):
        """log det V0, Cholesky factor of A (as LAPACK's), b^, q there, and what is left."""
        raise NotImplementedError

    def _traces(self, gamma, state, b):
        """tr B_r N, tr B_r N B_s N, v'B_r v, v'B_r N B_s v and rows C_r."""
        raise NotImplementedError


def _least_squares(products):
    """Cholesky factor of A, b^ and q from [X y]'V0^-1 [X y]."""
    rank = len(products) - 1
    if not rank:
        return (np.zeros((0, 0)),), np.zeros(0), float(products[0, 0])
    root, info = linalg.lapack.dpotrf(products[:rank, :rank], lower=1, clean=1)
    if info:
        raise np.linalg.LinAlgError("X'V^-1 X is not positive definite")
    best = linalg.lapack.dpotrs(root, products[:rank, rank], lower=1)[0]
    return (root,), best, float(products[rank, rank] - products[:rank, rank] @ best)


class _LevelDeviance(_JointDeviance):
    """With one grouping factor, or none: levels side by side."""

    def __init__(self, design: Design):
        super().__init__(design)
        blocks = design.blocks
        structures = design.structures
        self.basis = covariance_bases(tuple(structures))
        count, k = self.basis.shape[:2]
        self.width = k
        self.flat = self.basis.reshape(count, k * k)
        # [ab, cd] by [r, s]: N_ab N_cd E_r[b, c] E_s[d, a]
        self.pairs = np.einsum("rbc,sda->abcdrs", self.basis, self.basis).reshape(
            k**4, count**2
        )
        self.shift = np.zeros(self.rank)
        if not count:
            self.within = blocks.fixed_gram
            return
        sums, within = design.level_sums, blocks.within
        assert within is not None  # a single grouping factor has it
        self.gram, self.weight = sums.gram, sums.weight
        cross = np.array(sums.cross)
        if within.shift is not None:
            self.shift = np.asarray(within.shift, float)
            cross[..., -1] -= cross[..., :-1] @ self.shift
        inverse, _ = generalized_inverse(self.gram, LEVEL_RANK)
        self.inverse_cross = inverse @ cross
        between = np.tensordot(self.inverse_cross, cross, ((0, 1), (0, 1)))
        if within.square:
            varies = within.products.diagonal() != 0
            whole = blocks.fixed_gram - between
            self.within = np.where(np.outer(varies, varies), whole, 0.0)
        else:
            self.within = within.products
        self.right = np.concatenate([cross, self.gram], axis=2)
        self.unit = np.eye(k)

    def _factored(self, gamma):
        if not len(self.basis):
            root, best, least = _least_squares(self.within)
            return 0.0, root, best, least, None
        sigma = (gamma @ self.flat).reshape(self.width, self.width)
        matrix = self.gram @ sigma
        matrix += self.unit
        if self.width == 1:
            det = matrix[:, 0, 0]
            solved = self.right / matrix
        elif self.width == 2:
            det = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
            adjugate = np.empty_like(matrix)
            adjugate[:, 0, 0], adjugate[:, 1, 1] = matrix[:, 1, 1], matrix[:, 0, 0]
            adjugate[:, 0, 1], adjugate[:, 1, 0] = -matrix[:, 0, 1], -matrix[:, 1, 0]
            solved = (adjugate @ self.right) / det[:, None, None]
        else:
            det = np.linalg.det(matrix)
            solved = np.linalg.solve(matrix, self.right)
        logs = np.log(det)
        log_det = logs.sum() if self.weight is None else logs @ self.weight
        response, n = solved[..., : self.rank + 1], solved[..., self.rank + 1 :]
        flat = self.inverse_cross.reshape(-1, self.rank + 1)
        products = self.within + flat.T @ response.reshape(-1, self.rank + 1)
        root, best, least = _least_squares(products)
        return log_det, root, best + self.shift, least, (response, n)

    def _traces(self, gamma, state, b):
        if state is None:
            nothing = np.zeros((0, 0))
            return np.zeros(0), nothing, np.zeros(0), nothing, np.zeros((0, self.rank))
        response, n = state
        count, k, rank = len(self.basis), self.width, self.rank
        levels = len(n)
        v = response[..., rank] - response[..., :rank] @ (b - self.shift)
        flat = n.reshape(levels, k * k)
        weighted = flat if self.weight is None else flat * self.weight[:, None]
        trace = self.flat @ weighted.sum(axis=0)
        traces = ((flat.T @ weighted).reshape(-1) @ self.pairs).reshape(count, count)
        squares = self.flat @ (v.T @ v).ravel()
        turned = (v @ self.basis.reshape(-1, k).T).reshape(levels, count, k)
        by_level = turned.transpose(1, 0, 2).reshape(count, -1)
        curved = by_level @ (turned @ n).transpose(1, 0, 2).reshape(count, -1).T
        mixed = by_level @ response[..., :rank].reshape(levels * k, rank)
        return trace, traces, squares, curved, mixed


class _SmallJoint(_JointDeviance):
    """With several grouping factors of few levels: from all of Z'Z at once."""

    def __init__(self, design: Design):
        super().__init__(design)
        blocks, self.structures = design.blocks, design.structures
        n_levels, width = blocks.lead_gram.shape[:2]
        lead, m = n_levels * width, blocks.tail_size
        self.size = lead + m
        gram = np.zeros((self.size, self.size))
        for level in range(n_levels):
            at = slice(level * width, (level + 1) * width)
            gram[at, at] = blocks.lead_gram[level]
            linked = slice(blocks.link_pointers[level], blocks.link_pointers[level + 1])
            rows = lead + blocks.link_index[linked]
            gram[rows, at] = blocks.link_value[linked]
            gram[at, rows] = blocks.link_value[linked].T
        gram[lead:, lead:] = blocks.multiply_tail_gram(np.eye(m))
        cross = np.vstack([blocks.lead_cross.reshape(lead, -1), blocks.tail_cross])
        self.gram, self.cross, self.whole = gram, cross, blocks.fixed_gram
        self.right = np.asfortranarray(np.hstack([cross, gram]))
        objective = FactorDeviance(blocks, self.structures, False)
        numbers = np.arange(lead).reshape(n_levels, width), lead + np.arange(m)
        self.places = [
            objective.by_term(i, numbers[0][..., None], numbers[1][..., None])[..., 0]
            for i in range(len(self.structures))
        ]
        self.gammas = objective.gamma_slices
        bases = [s.covariance_basis for s in self.structures]
        self.flat = [e.reshape(len(e), -1) for e in bases]

    def _times_sigma(self, matrix, covariances):
        """A matrix times Sigma."""
        out = np.zeros_like(matrix)
        for place, covariance in zip(self.places, covariances, strict=True):
            own = matrix[:, place] @ covariance
            out[:, place.ravel()] += own.reshape(len(matrix), -1)
        return out

    def _factored(self, gamma):
        covariances = [
            s.covariance(gamma[at])
            for s, at in zip(self.structures, self.gammas, strict=True)
        ]
        matrix = self._times_sigma(self.gram, covariances)
        matrix.ravel()[:: self.size + 1] += 1.0
        lu, pivots, info = linalg.lapack.dgetrf(matrix)
        if info:
            raise np.linalg.LinAlgError("V is not positive definite")
        solved = linalg.lapack.dgetrs(lu, pivots, self.right)[0]
        response, n = solved[:, : self.rank + 1], solved[:, self.rank + 1 :]
        log_det = np.log(np.abs(lu.diagonal())).sum()
        products = self.whole - self._times_sigma(self.cross.T, covariances) @ response
        root, best, least = _least_squares(products)
        if not least > 0:
            raise np.linalg.LinAlgError("rounding has made the sum of squares negative")
        return log_det, root, best, least, (response, n)

    def _traces(self, gamma, state, b):
        response, n = state
        rank, count = self.rank, self.gammas[-1].stop
        v = response[:, rank] - response[:, :rank] @ b
        trace, squares = np.empty(count), np.empty(count)
        traces = np.empty((count, count))
        turned = np.zeros((count, self.size))
        own_terms = [n[rows.ravel()] for rows in self.places]
        for i, (s, rows, at) in enumerate(
            zip(self.structures, self.places, self.gammas, strict=True)
        ):
            e = self.flat[i]
            own = n[rows[:, :, None], rows[:, None, :]].sum(axis=0)
            trace[at] = e @ own.ravel()
            v_own = v[rows]
            squares[at] = e @ (v_own.T @ v_own).ravel()
            turned[at, rows.ravel()] = (v_own @ s.covariance_basis).reshape(len(e), -1)
            for j, t in enumerate(self.structures[: i + 1]):
                columns, to = self.places[j], self.gammas[j]
                block = own_terms[i][:, columns.ravel()]
                block = block.reshape(*rows.shape, *columns.shape).transpose(0, 2, 1, 3)
                flat = block.reshape(-1, s.k * t.k)
                pairs = (flat.T @ flat).reshape(s.k, t.k, s.k, t.k)
                # sum_lm N_lm[b, c] N_lm[a, d] E_r[a, b] E_s[c, d]
                square = pairs.transpose(2, 0, 1, 3).reshape(s.k**2, t.k**2)
                value = e @ square @ self.flat[j].T
                traces[at, to] = value
                traces[to, at] = value.T
        curved = turned @ n @ turned.T
        mixed = turned @ response[:, :rank]
        return trace, traces, squares, curved, mixed


class _FactorJoint(_JointDeviance):
    """With several grouping factors: from the blocked Cholesky factor."""

    def __init__(self, design: Design):
        super().__init__(design)
        self.structures = design.structures
        self.objective = FactorDeviance(design.blocks, design.structures, False)

    def _factored(self, gamma):
        objective = self.objective
        parts = [
            s.theta(nearest_relative_root(s, s.covariance(gamma[at])))
            for s, at in zip(self.structures, objective.gamma_slices, strict=True)
        ]
        theta = np.concatenate(parts)
        if not np.isfinite(objective.value(theta)):
            raise np.linalg.LinAlgError("V is not positive definite")
        fixed = np.array(objective.fixed)
        if objective.factor.singular_tail:
            objective.value(theta, floor=True)
            objective.factor.fixed = fixed
        root = np.asfortranarray(fixed[:-1, :-1])
        log_det = float(objective.factor.log_det)
        best = objective.coefficients()
        return log_det, (root,), best, float(fixed[-1, -1] ** 2), theta

    def _traces(self, gamma, theta, b):
        forms = CovarianceForms(self.objective)
        v = forms.residuals(b)
        return (
            forms.trace(),
            forms.traces(),
            forms.squares(v),
            forms.curved(v),
            forms.mixed(v),
        )


def joint_deviance(design: Design) -> _JointDeviance:
    """The joint deviance of a design, by levels where it has one small grouping factor."""
    narrow = sum(s.k for s in design.structures) <= MOST_COLUMNS
    if not design.terms or (design.blocks.within is not None and narrow):
        return _LevelDeviance(design)
    blocks = design.blocks
    if blocks.lead_gram[..., 0].size + blocks.tail_size <= MOST_EFFECTS:
        return _SmallJoint(design)
    return _FactorJoint(design)
