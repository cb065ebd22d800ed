"""Information on the covariance of a model with a residual covariance.

What ``engine.information.expected`` says of matrices G_r that variances multiply holds of
any derivatives of V0: here the elements of the covariance matrices of all terms, the free
parameters psi of the residual covariance, and V0 itself.  V0 is curved in psi, so that the
observed information is 2 AI - E and half of sum S d2V0, S the score; and Kenward and
Roger's second derivatives, in natural parameters eta, enter by one matrix,

    Vbar = sum_rs W_rs d2R / d eta_r d eta_s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.parts import Moments, PartProducts
from mixedext.limits import IDENTIFIED
from mixedext.specification.covariance.residual_curve import ResidualCurve

__all__ = ["Curved", "ResidualInformation", "null_directions", "residual_information"]


@dataclass(frozen=True, eq=False)
class Curved:
    """What the second derivatives of V0 come to, weighted by a covariance W.

    Attributes
    ----------
    on_fixed : ndarray
        X'V0^-1 Vbar V0^-1 X in a basis with X'V0^-1 X = I, (p, p).
    traces : ndarray
        tr T V_r T Vbar in all directions, T = P (REML) or V0^-1.
    """

    on_fixed: np.ndarray
    traces: np.ndarray


@dataclass(frozen=True, eq=False)
class ResidualInformation:
    """Products and traces at a fit, as ``VarianceInformation`` has them.

    The directions are the elements gamma of all terms in the engine's units, then psi,
    then V0.  X stands for a basis with X'V0^-1 X = I, y is scaled to y'P0y = d.

    Attributes
    ----------
    reml : bool
        Whether information is of the restricted likelihood.
    dof, nobs : int
        d = n - p (REML) or n; n.
    first : ndarray
        [X y]'V0^-1 V_r V0^-1 [X y] but for V0, (n, p + 1, p + 1).
    traces : ndarray
        tr V0^-1 V_r V0^-1 V_s in all directions, (n + 1, n + 1).
    expected, observed : ndarray
        Information in all directions.
    root : ndarray
        Coefficients of X are ``root`` times those of the basis, times sigma.
    """

    reml: bool
    dof: int
    nobs: int
    first: np.ndarray
    traces: np.ndarray
    expected: np.ndarray
    average: np.ndarray
    observed: np.ndarray
    root: np.ndarray
    deviance: MarginalDeviance
    directions: list[np.ndarray]
    curves: list[ResidualCurve]
    turn: np.ndarray

    @property
    def n_gamma(self) -> int:
        """Directions but for V0."""
        return len(self.first)

    @property
    def on_fixed(self) -> np.ndarray:
        """X'V0^-1 V_r V0^-1 X in all directions, (n + 1, p, p)."""
        p = self.root.shape[1]
        return np.concatenate([self.first[:, :p, :p], np.eye(p)[None]])

    def weighted_second(self, weight: np.ndarray) -> np.ndarray:
        """sum_rs W_rs X'V0^-1 V_r V0^-1 V_s V0^-1 X in all directions, (p, p)."""
        n, p = self.n_gamma, self.root.shape[1]
        deviance = self.deviance
        out = np.zeros((p, p))
        psi, solved = self._at()
        for part in deviance.parts:
            out += part.weighted_second(self.directions, psi, solved, weight[:n, :n])
        out = self.turn @ out @ self.turn.T
        out += 2 * np.tensordot(weight[:n, n], self.first[:, :p, :p], 1)
        return out + weight[n, n] * np.eye(p)

    def natural_weight(self, weight: np.ndarray) -> np.ndarray:
        """W of all directions as one of SAS's natural parameters, sigma^2 first."""
        n, psi = self.n_gamma, self._at()[0]
        at = np.append(np.arange(n - len(psi), n), n)
        natural = np.zeros((len(psi) + 1, len(psi) + 1))
        for curve in self.curves:
            columns = np.append(curve.at, len(psi))
            jacobian = curve.sas_jacobian(psi[curve.at], 1.0)
            natural[np.ix_(curve.natural_at, columns)] = jacobian
        return natural @ weight[np.ix_(at, at)] @ natural.T

    def curved(self, weight: np.ndarray) -> Curved:
        """Second derivatives in natural parameters, weighted by W of all directions."""
        n, p = self.n_gamma, self.root.shape[1]
        psi, solved = self._at()
        moved = self.natural_weight(weight)
        on_fixed, traces, single = np.zeros((p, p)), np.zeros(n + 1), 0.0
        for part in self.deviance.parts:
            own_fixed, own_traces, own_single = part.curved(
                self.directions, psi, solved, 1.0, moved
            )
            on_fixed += own_fixed
            traces[:-1] += own_traces
            single += own_single
        on_fixed = self.turn @ on_fixed @ self.turn.T
        on_fixed = (on_fixed + on_fixed.T) / 2
        traces[-1] = single
        if self.reml:
            traces[:-1] += np.einsum("rij,ij->r", self.first[:, :p, :p], on_fixed)
            traces[-1] -= np.trace(on_fixed)
        return Curved(on_fixed, traces)

    def _at(self):
        deviance = self.deviance
        assert deviance.at is not None
        return deviance.psi(deviance.at.x), deviance.solved


def residual_information(
    deviance: MarginalDeviance,
    directions: list[np.ndarray],
    curves: list[ResidualCurve],
    root: np.ndarray,
) -> ResidualInformation:
    """Information where a marginal deviance stands.

    Parameters
    ----------
    deviance : MarginalDeviance
        At the estimates.
    directions : list of ndarray
        Matrices E_r of every term, in the units of its columns, (n_gamma, k, k).
    curves : list
        Of every level of ``by``.
    root : ndarray
        Root of the coefficients' covariance in whose coordinates X is to stand.
    """
    assert deviance.at is not None
    psi, solved = deviance.psi(deviance.at.x), deviance.solved
    p, dof = deviance.rank, deviance.dof
    n_terms = sum(map(len, directions))
    n = n_terms + len(psi)
    products = PartProducts.zeros(n, p + 1)
    moments = Moments.zeros(n, p)
    for part in deviance.parts:
        part.add_products(directions, psi, solved, products)
        part.add_moments(directions, psi, solved, moments)
    turn = _turn(deviance, root)
    whole = np.eye(p + 1)
    whole[:p, :p] = turn
    whole[p, p] = np.sqrt(solved.kappa)
    first = whole @ products.first @ whole.T
    first = (first + first.transpose(0, 2, 1)) / 2
    on_fixed, on_x = first[:, :p, :p], first[:, p, :p]
    traces = _bordered(products.traces, products.single, deviance.nobs)
    expected = traces.copy()
    if deviance.reml:
        taken = np.einsum("rii->r", on_fixed)
        expected -= 2 * _bordered(products.second_traces, taken, p)
        flat = np.concatenate([on_fixed, np.eye(p)[None]]).reshape(n + 1, -1)
        expected += flat @ flat.T
    quadratic = solved.kappa * products.residual - on_x @ on_x.T
    average = _bordered(quadratic, first[:, p, p], dof)
    # at random effects the directions are linear: their curvature is that of lam alone
    bend = np.zeros((n + 1, n + 1))
    bend[n_terms:n, n_terms:n] = moments.bend[n_terms:, n_terms:]
    observed = average - expected / 2 + bend / 2
    return ResidualInformation(
        deviance.reml,
        dof,
        deviance.nobs,
        first,
        traces,
        expected / 2,
        average / 2,
        (observed + observed.T) / 2,
        root,
        deviance,
        directions,
        curves,
        turn,
    )


def _turn(deviance, root):
    """Basis of X by the marginal deviance in the coordinates of ``root``."""
    p = deviance.rank
    if not p:
        return np.zeros((0, 0))
    own = deviance.basis.coefficients(deviance.solved.change[:p, :p])
    return np.linalg.solve(root, own)


def _bordered(inner, border, corner):
    out = np.empty((len(inner) + 1,) * 2)
    out[:-1, :-1] = (inner + inner.T) / 2
    out[-1, :-1] = out[:-1, -1] = border
    out[-1, -1] = corner
    return out


def null_directions(information: np.ndarray) -> np.ndarray:
    """Directions that an information tells nothing about, at unit diagonal, (n, null)."""
    scaled, _ = unit_diagonal(information)
    value, vector = np.linalg.eigh(scaled)
    return vector[:, value < IDENTIFIED]
