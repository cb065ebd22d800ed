"""The blocked Cholesky factor of Omega(theta), and what can be read off it.

    Omega = [[Lam'Z'ZLam + I, Lam'Z'[X y]], [., [X y]'[X y]]] = L L'

X stands for its orthonormal basis here (engine.rows.basis), y for its least-squares
residual.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from mixedext.algebra.roots import principal_root
from mixedext.engine.factor.tail import make_tail
from mixedext.engine.rows.blocks import Blocks
from mixedext.kernels.factor import lead
from mixedext.limits import ROOT_FLOOR, ROOT_INVERTIBLE

__all__ = ["Factor", "Response", "Solution"]


@dataclass(frozen=True, eq=False)
class Response:
    """Products with V0^-1, as (leading part, tail part).

    Attributes
    ----------
    response : tuple of ndarray
        Z'V0^-1 [X y]: (L, K, P) and (m, P).
    effect : tuple of ndarray
        Lam C Lam'Z'[X y], the coefficients of the random effects.
    """

    response: tuple[np.ndarray, np.ndarray]
    effect: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Solution(Response):
    """What ``Factor.respond`` gives for vectors z, as (leading part, tail part).

    Attributes
    ----------
    response : tuple of ndarray
        (I + N Sigma)^-1 z, N = Z'Z.
    effect : tuple of ndarray
        Lam C Lam'z.
    solved : tuple of ndarray
        Their forward substitution, L^-1 Lam'z.
    """

    solved: tuple[np.ndarray, np.ndarray]

    @property
    def square(self) -> np.ndarray:
        """z'Lam C Lam'z, (R,)."""
        lead, tail = self.solved
        return np.einsum("lar,lar->r", lead, lead) + np.einsum("mr,mr->r", tail, tail)


class Factor:
    """Factor of a set of blocks; ``update`` refreshes it for new lam.

    Parameters
    ----------
    blocks : Blocks
        Cross-products.
    """

    def __init__(self, blocks: Blocks):
        self.blocks = blocks
        self.half = np.empty_like(blocks.lead_gram)
        self.solved = np.empty_like(blocks.lead_cross)
        self.tail = make_tail(blocks)
        self.width = blocks.lead_gram.shape[1]
        self._standing: tuple[Any, bool] = (None, False)

    def update(self, lams: list[np.ndarray], floor: bool = False) -> bool:
        """Factor at relative covariance factors, one for each grouping factor.

        Returns False where rounding has made the matrix indefinite.
        """
        self._take(lams, floor)
        if not self._factor_effects():
            return False
        self.tail_solved = self.tail.lam_times(self.tail.cross, transpose=True)
        self.tail.solve(self.tail_solved)
        whole = self.blocks.fixed_gram
        rows = self.solved.reshape(-1, self.blocks.n_fixed)
        fixed = whole - rows.T @ rows - self.tail_solved.T @ self.tail_solved
        self.cancellation = _cancellation(whole, fixed)
        return self.set_fixed(fixed)

    def update_effects(self, lams: list[np.ndarray], floor: bool = False) -> bool:
        """Factor Lam'Z'ZLam + I alone, of blocks whose [X y] does not count.

        Returns False where the matrix is not positive definite.
        """
        if lams is not self._standing[0] or floor != self._standing[1]:
            self._take(lams, floor)  # iterations for the modes keep theirs
        return self._factor_effects()

    def _factor_effects(self):
        """Factor Lam'Z'ZLam + I and reduce Z'[X y]; whether that could be done."""
        for name in ("response", "curvature", "_shrinkage"):
            vars(self).pop(name, None)
        b = self.blocks
        work = np.empty((2 * self.width, self.width))
        lead_log_det, good = lead.factor_levels(
            b.lead_gram, np.ascontiguousarray(self.lead_lam), self.half, work
        )
        if not good:
            return False
        lead.reduce_fixed(self.half, b.lead_cross, self.solved)
        self.tail.reduce(self.half, self.solved)
        tail_log_det, good = self.tail.factorize()
        self.lead_log_det, self.log_det = lead_log_det, lead_log_det + tail_log_det
        return good

    def _take(self, lams, floor):
        """Take the relative covariance factors."""
        self._standing = lams, floor
        self.lead_lam = lams[0] if lams else np.zeros((1, 1))
        # Only Sigma = lam lam' matters, so the tail works with the root V diag(s) from
        # its eigenvectors: near singularity the directions stay apart.
        self.roots = [principal_root(lam) for lam in lams[1:]]
        if floor:
            self.roots = [(v, np.maximum(size, ROOT_FLOOR)) for v, size in self.roots]
        self.tail.set_lam([vector * size for vector, size in self.roots])
        for name in ("_precision", "_inverse_roots"):
            vars(self).pop(name, None)

    def set_fixed(self, fixed: np.ndarray) -> bool:
        """Take [X y]'V0^-1 [X y]; False if rounding has made it indefinite."""
        try:
            self.fixed = linalg.cholesky(fixed, lower=True)
        except linalg.LinAlgError:
            return False
        return True

    @property
    def rank(self) -> int:
        """Columns of the fixed effects' basis."""
        return self.blocks.n_fixed - 1

    @property
    def residual_square(self) -> float:
        """The penalized residual sum of squares y'P0 y."""
        return float(self.fixed[-1, -1] ** 2)

    @property
    def fixed_log_det(self) -> float:
        """log det X'V0^-1 X."""
        return 2.0 * float(np.log(np.diag(self.fixed)[: self.rank]).sum())

    @property
    def singular_tail(self) -> bool:
        """Whether derivatives need the roots of the tail floored first."""
        return any(size.min() < ROOT_FLOOR for _, size in self.roots)

    @cached_property
    def _precision(self):
        """Sigma^-1 of the leading factor, and whether it may be used."""
        vector, size = principal_root(self.lead_lam)
        if not _invertible(size):
            return np.zeros((self.width, self.width)), False
        return vector / size**2 @ vector.T, True

    @cached_property
    def _inverse_roots(self):
        """V diag(1 / s) of every factor of the tail; None where some root is singular."""
        if not all(_invertible(size) for _, size in self.roots):
            return None
        return [vector / size for vector, size in self.roots]

    @cached_property
    def _tail_columns(self):
        return [self.blocks.tail_columns(f) for f in range(len(self.roots))]

    @cached_property
    def _shrinkage(self):
        """K_l = (I + Sigma A_l)^-1 of every level of the lead, and sum_l A_l K_l."""
        out, total = np.empty_like(self.half), np.empty((self.width, self.width))
        work = np.empty((self.width, self.width))
        gram = self.blocks.lead_gram
        lead.shrinkage(gram, self.half, *self._precision, work, out, total)
        return out, total

    @cached_property
    def response(self) -> Response:
        """Z'V0^-1 [X y] and Lam C Lam'Z'[X y]."""
        return self._respond(self.blocks.lead_cross, self.tail.cross, self.tail_solved)

    def respond(self, lead_cross: np.ndarray, tail_cross: np.ndarray) -> Solution:
        """(I + N Sigma)^-1 z and Lam C Lam'z for vectors z over all random effects.

        Parameters
        ----------
        lead_cross : ndarray
            The leading factor's part, (L, K, R).
        tail_cross : ndarray
            The tail's, (m, R).
        """
        b, tail = self.blocks, self.tail
        solved = np.matmul(self.half.transpose(0, 2, 1), lead_cross)
        reduced = np.array(tail_cross, order="C")
        if len(b.link_index):
            lead.reduce_cross(b.link_pointers, b.link_index, tail.scaled, solved, reduced)
        tail_solved = tail.lam_times(reduced, transpose=True)
        tail.solve(tail_solved)
        found = self._respond(np.ascontiguousarray(lead_cross), reduced, tail_solved)
        return Solution(found.response, found.effect, (solved, tail_solved))

    def _respond(self, lead_cross, reduced, tail_solved):
        """From Z'b, that of the tail with the lead eliminated, and L22^-1 Lam2'(that)."""
        b, tail = self.blocks, self.tail
        unscaled = tail_solved.copy()
        tail.solve(unscaled, transpose=True)
        tail_effect = tail.lam_times(unscaled)
        tail_response = self._tail_response(reduced, unscaled, tail_effect)
        lead_response = np.empty_like(lead_cross)
        lead_effect = np.empty_like(lead_cross)
        lead.lead_response(
            self._shrinkage[0],
            self.half,
            tail.links,
            b.link_value,
            lead_cross,
            tail_effect,
            lead_response,
            lead_effect,
        )
        return Response((lead_response, tail_response), (lead_effect, tail_effect))

    def _tail_response(self, reduced, unscaled, effect):
        # Lam'Z'V0^-1 = C Lam'Z', so dividing by Lam' loses nothing where lam is well
        # conditioned; elsewhere take off the tail's share of what is to be explained.
        if self._inverse_roots is None:
            return reduced - self.tail.multiply_reduced(effect)
        out = np.empty_like(unscaled)
        for at, inverse in zip(self._tail_columns, self._inverse_roots, strict=True):
            out[at] = np.einsum("ab,lbj->laj", inverse, unscaled[at])
        return out

    @cached_property
    def curvature(self) -> list[np.ndarray]:
        """For each grouping factor sum_l [Z'V0^-1 Z]_ll, (K, K)."""
        if not self.blocks.factors:
            return []
        sums = self.tail.invert()
        return self._curvature(sums, self.tail.link_quadratic(self._shrinkage[0]))

    def level_curvature(self, number: int) -> np.ndarray:
        """The blocks [Z'V0^-1 Z]_ll of one grouping factor that ``curvature`` sums up.

        Parameters
        ----------
        number : int
            Of the grouping factor, the leading one first; (L, K, K).
        """
        if number == 0:
            found = self._shrinkage[0]
            return self.blocks.lead_gram @ found - self.tail.link_quadratic(found, True)
        # Lam2'Z'V0^-1 Z Lam2 = I - C22
        vector, size = self.roots[number - 1]
        inverse = self.tail.level_inverse(number - 1)
        return vector @ ((np.eye(len(size)) - inverse) / np.outer(size, size)) @ vector.T

    def estimate_curvature(self) -> list[np.ndarray]:
        """``curvature`` with traces of C22 estimated by a few solves."""
        return self._curvature(*self.tail.estimate_traces(self._shrinkage[0]))

    def _curvature(self, sums, links):
        result = [self._shrinkage[1] - links]
        for total, (vector, size) in zip(sums, self.roots, strict=True):
            # total = T V diag(s).  Of the two values for an entry of the symmetric V'TV
            # the one divided by the larger s is the more accurate.
            t = vector.T @ total / size
            result.append(vector @ np.where(size >= size[:, None], t, t.T) @ vector.T)
        return result

    def project(self, lead_weight: np.ndarray, tail_weight: np.ndarray) -> np.ndarray:
        """w'Z'V0^-1 Z w for vectors w given as (L, K, R) and (m, R): (R, R)."""
        image, tail_image, solved, reduced = self._images(lead_weight, tail_weight)
        count = lead_weight.shape[2]
        flat = [a.reshape(-1, count) for a in (lead_weight, image, solved)]
        return (
            flat[0].T @ flat[1]
            + tail_weight.T @ tail_image
            - flat[2].T @ flat[2]
            - reduced.T @ reduced
        )

    def project_each(
        self, lead_weight: np.ndarray, tail_weight: np.ndarray, n_sets: int
    ) -> np.ndarray:
        """w'Z'V0^-1 Z w for S sets of R vectors, (L, K, R S) and (m, R S): (S, R, R).

        Vectors of one set stand S columns apart.
        """
        image, tail_image, solved, reduced = self._images(lead_weight, tail_weight)
        count = lead_weight.shape[2]
        shape = -1, count // n_sets, n_sets
        own, its, half = (a.reshape(shape) for a in (lead_weight, image, solved))
        tail, tail_its, tail_half = (
            a.reshape(shape) for a in (tail_weight, tail_image, reduced)
        )
        return (
            np.einsum("qrs,qts->srt", own, its)
            + np.einsum("qrs,qts->srt", tail, tail_its)
            - np.einsum("qrs,qts->srt", half, half)
            - np.einsum("qrs,qts->srt", tail_half, tail_half)
        )

    def _images(self, lead_weight, tail_weight):
        """Z'Z w as (lead, tail), and its forward substitution."""
        b = self.blocks
        image = np.empty_like(lead_weight)
        solved = np.empty_like(lead_weight)
        tail_image = self.tail.multiply_gram(tail_weight)
        eliminated = np.zeros_like(tail_image)
        lead.lead_project(
            b.lead_gram,
            self.half,
            self.tail.links,
            b.link_value,
            lead_weight,
            tail_weight,
            image=image,
            solved=solved,
            tail_image=tail_image,
            tail_eliminated=eliminated,
        )
        reduced = self.tail.lam_times(tail_image - eliminated, transpose=True)
        self.tail.solve(reduced)
        return image, tail_image, solved, reduced

    def conditional_covariance(self, number: int) -> np.ndarray:
        """Level blocks of Lam C Lam' for one grouping factor, (L, K, K)."""
        if number > 0:
            return self.tail.level_covariance(number - 1)
        own = self.half @ self.half.transpose(0, 2, 1)
        return own + self.tail.link_quadratic(own, by_level=True)


def _cancellation(whole, rest):
    """How many times larger the sums of squares were than what elimination leaves."""
    left = np.diag(rest)
    return float((np.diag(whole) / left).max()) if (left > 0).all() else np.inf


def _invertible(size):
    return size.min() >= ROOT_INVERTIBLE * max(1.0, size.max())
