"""The profiled deviance of a model with a residual covariance, in (theta, psi).

    dev = log|V0| + [REML] log|X'V0^-1 X| + d (1 + log(2 pi s2)),    s2 = y'P0 y / d,

with V0 = Z D(theta) Z' + W^-1/2 Lambda(psi) W^-1/2 block-diagonal by cluster, W precision
weights; d = n - p (REML) or n.  X stands for an orthonormal basis Q and y for its scaled
residual on it, as elsewhere in the engine; columns of Z stay as they are given.

With S the score matrix of a cluster (engine.residual.parts) and a_r, q_rs, x_r its sums,

    gradient_r = <V_r, S>,
    average information    kappa (q - x x') - a a' kappa^2 / d,
    second derivatives     2 kappa (q - x x') - a a' kappa^2 / d - t + <V_rs, S>,

t_rs = tr V0^-1 V_r V0^-1 V_s less [REML] 2 tr X~'V_r V0^-1 V_s X~ (and, where X is not
narrow, the product of X~'V_r X~ and X~'V_s X~ more); sigma^2 is profiled out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import linalg

from mixedext.engine.residual.parts import Moments, Part, Solved
from mixedext.engine.rows.basis import FixedBasis
from mixedext.exceptions import DevianceError
from mixedext.specification.covariance.term_structure import TermStructure

__all__ = ["Evaluation", "MarginalDeviance", "definite_curvature"]

NOT_DEFINITE = (
    "the covariance has run to variances of zero, or beyond all numbers: the data do not "
    "support so rich a covariance; use a simpler residual= or variance=, or fewer random "
    "effects"
)
# Length of the residual, y at rms 1, below which its powers leave the range of numbers.
NO_ROOM = 1e-70
# Rows for each column of X from which on X is narrow.
NARROW = 50
# Columns of X of which all that the second derivatives ask for costs little.
FEW_COLUMNS = 12


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The deviance at some parameters, and where it stands.

    Attributes
    ----------
    x : ndarray
        (theta, psi).
    value : float
        The deviance, engine's units; infinite where V0 is not positive definite.
    fixed : ndarray or None
        Cholesky factor of [Q y]'V0^-1 [Q y], (P, P).
    log_det : float
        log|V0|, weights apart.
    """

    x: np.ndarray
    value: float
    fixed: np.ndarray | None
    log_det: float = np.inf


class MarginalDeviance:
    """The deviance by clusters, its gradient and curvature.

    Parameters
    ----------
    parts : list of Part
        The rows.
    structures : sequence of TermStructure
        Of the random terms.
    n_psi : int
        Parameters of the residual covariance.
    nobs : int
        Rows.
    basis : FixedBasis
        Of X.
    least_squares : ndarray
        Coefficients of y on the basis.
    y_scale : float
        Root mean square of the residual of y on it, by which y was divided.
    log_weights : float
        Sum of the logarithms of the weights.
    reml : bool
        Restricted or ordinary deviance.
    """

    def __init__(
        self,
        parts: list[Part],
        structures: Sequence[TermStructure],
        n_psi: int,
        nobs: int,
        basis: FixedBasis,
        least_squares: np.ndarray,
        y_scale: float,
        log_weights: float,
        reml: bool,
    ):
        self.parts, self.structures, self.n_psi = parts, list(structures), n_psi
        self.nobs, self.basis, self.reml = nobs, basis, reml
        self.least_squares, self.y_scale = least_squares, y_scale
        self.log_weights = log_weights
        self.rank = basis.rank
        self.dof = nobs - self.rank if reml else nobs
        ends = np.cumsum([0, *(s.n_theta for s in self.structures)])
        self.theta_slices = [slice(a, b) for a, b in pairwise(ends)]
        self.n_theta = int(ends[-1])
        self.n_values = self.n_derivatives = 0
        self.at: Evaluation | None = None

    # ---- parameters ----

    def covariances(self, x: np.ndarray) -> list[np.ndarray]:
        """Sigma of every random term, relative to sigma^2."""
        pairs = zip(self.structures, self.theta_slices, strict=True)
        return [s.matrix(x[at]) for s, at in pairs]

    def scaled_theta(self, x: np.ndarray, factor: float) -> np.ndarray:
        """Theta of random effects with standard deviations times a factor."""
        pairs = zip(self.structures, self.theta_slices, strict=True)
        return np.concatenate([np.zeros(0), *(s.scaled(x[at], factor) for s, at in pairs)])

    def psi(self, x: np.ndarray) -> np.ndarray:
        """The parameters of the residual covariance."""
        return x[self.n_theta :]

    @property
    def shift(self) -> float:
        """What the deviance in the data's units has over the engine's."""
        shift = 2.0 * self.dof * np.log(self.y_scale) - self.log_weights
        return float(shift + 2.0 * self.basis.log_det if self.reml else shift)

    # ---- evaluation ----

    def evaluate(self, x: np.ndarray) -> Evaluation:
        """The deviance at x; all else refers to where that was called last."""
        self.n_values += 1
        width = self.rank + 1
        cross, log_det = np.zeros((width, width)), 0.0
        found = self.at = Evaluation(x, np.inf, None)
        with np.errstate(over="ignore", invalid="ignore"):
            covariances = self.covariances(x)
            for part in self.parts:
                log_det += part.factor(covariances, self.psi(x), cross)
                if not np.isfinite(log_det):
                    return found
        if not np.isfinite(cross).all():
            return found
        root, info = linalg.lapack.dpotrf(cross, lower=1, clean=1)
        if info or not root[-1, -1] > NO_ROOM:
            return found
        value = log_det + self.dof * (1 + np.log(2 * np.pi * root[-1, -1] ** 2 / self.dof))
        if self.reml:
            value += 2 * np.log(root.diagonal()[:-1]).sum()
        found = self.at = Evaluation(x, float(value), root, log_det)
        return found

    @property
    def _takes_squares(self) -> bool:
        """Whether the second derivatives are whole: X is wide, or has few columns.

        What X'V_r X leaves out is small beside the rest, but along a valley that is flat
        it may be most of what bends.
        """
        return self.reml and (self.rank * NARROW > self.nobs or self.rank <= FEW_COLUMNS)

    @property
    def fixed(self) -> np.ndarray:
        """Cholesky factor of [Q y]'V0^-1 [Q y] where the deviance stands."""
        assert self.at is not None
        if self.at.fixed is None:
            raise DevianceError(NOT_DEFINITE)
        return self.at.fixed

    @property
    def log_determinant(self) -> float:
        """log|V0| where the deviance stands, weights apart."""
        assert self.at is not None
        return self.at.log_det

    @property
    def residual_square(self) -> float:
        """y'P0 y, engine's units."""
        return float(self.fixed[-1, -1] ** 2)

    @property
    def solved(self) -> Solved:
        """What [Q y] is multiplied by, and 1 / sigma^2."""
        # L^-1 [Q y]' has unit cross-products in V0^-1, its last row divided by its length
        inverse, _ = linalg.lapack.dtrtri(self.fixed, lower=1)
        change = np.ascontiguousarray(inverse.T)
        change[:, -1] *= self.fixed[-1, -1]
        return Solved(change, self.dof / self.residual_square, self.reml)

    def derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and approximate Hessian where the deviance stands."""
        self.n_derivatives += 1
        assert self.at is not None
        x, solved = self.at.x, self.solved
        psi, n = self.psi(x), len(x)
        tangents = self._tangents(x)
        moments = Moments.zeros(n, self.rank, self._takes_squares)
        scores = [np.zeros((s.k, s.k)) for s in self.structures]
        for part in self.parts:
            for score, own in zip(
                scores, part.add_moments(tangents, psi, solved, moments), strict=False
            ):
                score += own
        gradient, bend = moments.gradient, moments.bend
        for s, at, score in zip(self.structures, self.theta_slices, scores, strict=True):
            gradient[at] = s.gradient(x[at], score)
            bend[at, at] = s.bend(x[at], score)
        kappa, on_x = solved.kappa, moments.on_fixed
        quadratic = kappa * (moments.quadratic - on_x @ on_x.T)
        profiled = np.outer(moments.residual, moments.residual) * kappa**2 / self.dof
        average = quadratic - profiled
        if not all(part.exact for part in self.parts):
            return gradient, _average(average, bend, self.n_theta)
        exact = average + quadratic - moments.traces + bend
        if moments.squares is not None:
            flat = moments.squares.reshape(n, self.rank**2)
            exact -= flat @ flat.T
        return gradient, definite_curvature(exact, average, bend, self.n_theta)

    def _tangents(self, x):
        pairs = zip(self.structures, self.theta_slices, strict=True)
        return [s.tangent(x[at]) for s, at in pairs]

    def coefficients(self) -> np.ndarray:
        """Generalized least-squares coefficients of y on the basis, engine's units."""
        if not self.rank:
            return np.zeros(0)
        upper = self.fixed[:-1, :-1].T
        return linalg.solve_triangular(upper, self.fixed[-1, :-1])


def definite_curvature(
    exact: np.ndarray, average: np.ndarray, bend: np.ndarray, n_theta: int
) -> np.ndarray:
    """The second derivatives, or what of them is definite in psi, whatever theta is.

    At the optimum of a structure with fewer parameters than elements the score is not
    zero, but its expectation is: without its bend the average information is left.  That
    of theta makes a variance of zero a minimum, or a saddle that the search leaves.
    """
    exact = (exact + exact.T) / 2
    if _is_definite(exact):
        return exact
    own = _average(average, bend, n_theta)
    whole = own.copy()
    whole[n_theta:, n_theta:] += bend[n_theta:, n_theta:]
    return whole if _is_definite(whole[n_theta:, n_theta:]) else own


def _average(average, bend, n_theta):
    """Average information, with the bend of Sigma."""
    own = average.copy()
    own[:n_theta, :n_theta] += bend[:n_theta, :n_theta]
    return (own + own.T) / 2


def _is_definite(matrix):
    if not np.isfinite(matrix).all():
        return False
    return not len(matrix) or linalg.lapack.dpotrf(matrix, lower=1)[1] == 0
