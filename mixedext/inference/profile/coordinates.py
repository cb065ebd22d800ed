"""Coordinates in which one parameter of a mixed model can be held.

The covariance of a term is L L', in the units of the data, with L = sum_s x_s B_s linear in
the coordinates x.  Rows of L are ordered so that what is held is a coordinate itself:

* a standard deviation: its row comes first and has one element, x_0;
* a correlation r of two effects: rows (a, 0, ...) and e (sin t, cos t, 0, ...), r = sin t,
  with a and e not negative;
* sigma: tau = log sigma^2 is a coordinate;
* a fixed effect: its value is one more coordinate, the others are profiled out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from mixedext.algebra.roots import nearest_root
from mixedext.engine.deviance.given_covariances import Likelihood, nearest_relative_root
from mixedext.engine.deviance.joint_deviance import joint_deviance
from mixedext.engine.fit import Fit
from mixedext.engine.rows.design import Design
from mixedext.limits import ZERO_COSINE
from mixedext.specification.covariance.identity import IdentityMultiple
from mixedext.specification.covariance.linear import LinearStructure

__all__ = ["Coordinates", "Estimates", "ProfileModel", "State", "Target"]


@dataclass(frozen=True)
class Target:
    """A parameter whose likelihood is profiled.

    Attributes
    ----------
    kind : {"sd", "correlation", "natural", "sigma", "fixed", "residual"}
        What it is; "natural" is a parameter of a structured covariance, as a correlation.
    term : int
        Number of the random term; -1 for sigma and fixed effects.
    rows : tuple of int
        Effects of the term, or the number of the coefficient among those kept, of the
        natural parameter, or of the element of psi of a residual covariance.
    """

    kind: str
    term: int = -1
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Estimates:
    """Values of all parameters in the data's units.

    Attributes
    ----------
    covariances : list of ndarray
        Of the terms, as the engine has them: (1, 1) for a common variance.
    scale : float
        sigma^2.
    coefficients : ndarray
        Of the columns kept.
    """

    covariances: list[np.ndarray]
    scale: float
    coefficients: np.ndarray


class ProfileModel:
    """A design and what its profiles share.

    Parameters
    ----------
    design : Design
        The model.
    """

    def __init__(self, design: Design):
        self.design = design
        self.structures: list[LinearStructure] = [
            # a common variance of many columns is one number
            IdentityMultiple.of(1) if s.shares_one_variance else s.ambient
            for s in design.structures
        ]
        self.shift = design.deviance_shift(False, design.blocks.nobs)

    @cached_property
    def joint(self) -> Any:
        """The deviance in the engine's units."""
        return joint_deviance(self.design)

    @cached_property
    def change(self) -> np.ndarray:
        """Relative gamma of the engine by that in the data's units."""
        return Likelihood(self.design, False).change

    def targets(self) -> list[Target]:
        """All parameters, in lme4's order: by term, then sigma, then fixed effects."""
        out = []
        for i, s in enumerate(self.structures):
            for b, a in s.pairs:
                same = a == b
                out.append(
                    Target("sd", i, (a,)) if same else Target("correlation", i, (a, b))
                )
        out.append(Target("sigma"))
        rank = self.design.basis.rank
        return out + [Target("fixed", -1, (j,)) for j in range(rank)]

    def value(self, target: Target, at: Estimates) -> float:
        """The parameter's value; NaN for a correlation with an effect that is zero."""
        if target.kind == "sigma":
            return float(np.sqrt(at.scale))
        if target.kind == "fixed":
            return float(at.coefficients[target.rows[0]])
        covariance = at.covariances[target.term]
        sd = np.sqrt(np.diag(covariance))
        if target.kind == "sd":
            return float(sd[target.rows[0]])
        a, b = target.rows
        both = sd[a] * sd[b]
        return float(np.clip(covariance[a, b] / both, -1, 1)) if both > 0 else np.nan

    def values(self, at: Estimates) -> np.ndarray:
        """All parameters in the order of ``targets``."""
        parts = []
        for s, covariance in zip(self.structures, at.covariances, strict=True):
            sd = np.sqrt(covariance.diagonal())
            if not s.has_correlations:
                parts.append(sd)
                continue
            both = np.multiply.outer(sd, sd)
            with np.errstate(invalid="ignore", divide="ignore"):
                whole = np.where(both > 0, np.clip(covariance / both, -1, 1), np.nan)
            whole[np.diag_indices(s.k)] = sd
            parts.append(whole[np.triu_indices(s.k)])
        return np.concatenate([*parts, [np.sqrt(at.scale)], at.coefficients])

    def fitted(self, fit: Fit) -> Estimates:
        """The estimates of a fit."""
        lams = self.design.lams(fit.theta)
        covariances = [
            s.covariance(fit.scale * own.gamma(lam @ lam.T))
            for s, own, lam in zip(
                self.structures, self.design.structures, lams, strict=True
            )
        ]
        return Estimates(covariances, fit.scale, fit.coefficients)

    def theta(self, at: Estimates) -> np.ndarray:
        """Relative covariance factors of estimates, in the data's units."""
        parts = []
        for s, own, covariance in zip(
            self.structures, self.design.structures, at.covariances, strict=True
        ):
            own_covariance = own.covariance(s.gamma(covariance / at.scale))
            parts.append(own.theta(nearest_relative_root(own, own_covariance)))
        return np.concatenate(parts) if parts else np.zeros(0)

    def coefficients(self, inner: np.ndarray) -> np.ndarray:
        """In the data's units."""
        design = self.design
        on_basis = design.least_squares + design.y_scale * inner
        return design.basis.coefficients(on_basis)


class _TermCoordinates:
    """Coordinates of one term: L = sum_s x_s B_s, B_s depending on t for a correlation."""

    def __init__(self, own: LinearStructure, target: Target | None):
        self.structure = own
        self.dual = own.covariance_dual
        self.flat = self.dual.reshape(len(self.dual), -1)
        self.order = np.arange(own.k)
        self.angle = self.held = None
        self.bounded: list[int] = []
        if not own.has_correlations:
            self.basis = own.lam_basis
            self.columns = np.arange(len(self.basis))
            if target is not None:
                self.held = target.rows[0]
            return
        if target is not None:
            rest = [a for a in range(own.k) if a not in target.rows]
            self.order = np.array([*target.rows, *rest])
        # row by row, so that what is held is among the first
        self.columns = own.places[1][own.by_rows]
        self.basis = np.empty_like(own.lam_basis)
        self.basis[:, self.order] = own.lam_basis[own.by_rows]
        if target is not None and target.kind == "sd":
            self.held = 0
        elif target is not None:
            # elements (1, 0) and (1, 1) are replaced by t and e
            self.held = self.angle = 1
            self.bounded = [0, 2]

    def start(self, covariance) -> np.ndarray:
        """Coordinates of a covariance."""
        if not self.structure.has_correlations:
            return np.sqrt(np.diag(covariance).clip(0))[: len(self.basis)]
        ordered = covariance[np.ix_(self.order, self.order)]
        lower = nearest_root(ordered)
        x = lower[np.tril_indices(len(lower))]
        if self.angle is not None:
            x[1], x[2] = np.arctan2(x[1], x[2]), np.hypot(x[1], x[2])
        return x

    def expand(self, x):
        """Elements of the covariance, their derivatives, and L with its derivatives."""
        basis = self.basis
        if self.angle is not None:
            basis, amounts = basis.copy(), x.copy()
            sine, cosine = np.sin(x[1]), np.cos(x[1])
            along, across = self.basis[1], self.basis[2]
            basis[2] = sine * along + cosine * across
            turned = cosine * along - sine * across
            basis[1] = x[2] * turned
            amounts[1] = 0.0
            lower = (amounts @ basis.reshape(len(x), -1)).reshape(basis.shape[1:])
        else:
            turned = None
            lower = (x @ basis.reshape(len(x), -1)).reshape(basis.shape[1:])
        k = len(lower)
        gamma = self.flat @ (lower @ lower.T).ravel()
        moved = (basis @ lower.T).reshape(len(basis), k * k)
        jacobian = 2 * self.flat @ moved.T
        return gamma, jacobian, (lower, basis, turned)

    def bend(self, slope, x, parts):
        """sum_r g_r d2 gamma_r / dx2."""
        lower, basis, turned = parts
        score = (slope @ self.flat).reshape(lower.shape)
        count = len(basis)
        turned_basis = (score @ basis).reshape(count, -1)
        out = 2 * turned_basis @ basis.reshape(count, -1).T
        if turned is not None:
            pull = 2 * score @ lower
            out[1, 2] += (pull * turned).sum()
            out[2, 1] += (pull * turned).sum()
            out[1, 1] -= x[2] * (pull * basis[2]).sum()
        return out


@dataclass(frozen=True, eq=False)
class State:
    """The deviance at coordinates, with first and second derivatives.

    Attributes
    ----------
    z : ndarray
        Coordinates.
    value : float
        Deviance in the data's units.
    gradient, hessian : ndarray
        In all coordinates.
    inner : ndarray
        Coefficients of the scaled residual on the basis of X.
    squares : float
        Sum of squares of the whitened residual over sigma^2: n where sigma^2 suits the
        relative covariances best.
    """

    z: np.ndarray
    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    inner: np.ndarray
    squares: float = np.nan


class Coordinates:
    """Coordinates that suit one target.

    Parameters
    ----------
    model : ProfileModel
        The model.
    target : Target
        What is held.

    Attributes
    ----------
    held : int
        Number of the coordinate that is held.
    bounded : ndarray of bool
        Coordinates that cannot be negative.
    evaluations : int
        So far.
    """

    def __init__(self, model: ProfileModel, target: Target):
        self.model, self.target = model, target
        self.evaluations = 0
        self.terms: list[_TermCoordinates] = []
        self.slices: list[slice] = []
        start, bounded = 0, list[int]()
        for i, own in enumerate(model.structures):
            term = _TermCoordinates(own, target if i == target.term else None)
            self.terms.append(term)
            self.slices.append(slice(start, start + len(term.basis)))
            bounded.extend(start + np.array(term.bounded, int))
            if term.held is not None:
                self.held = start + term.held
            start += len(term.basis)
        self.tau = start
        self.size = start + 1
        self.row = None
        if target.kind == "sigma":
            self.held = self.tau
        elif target.kind == "fixed":
            self.held = self.size
            self.size += 1
            design = model.design
            unit = np.zeros(design.basis.rank)
            unit[target.rows[0]] = 1.0
            own = linalg.solve_triangular(design.basis.r, unit, trans="T")
            self.row = design.y_scale * own
            self.offset = float(own @ design.least_squares)
        self.bounded = np.zeros(self.size, bool)
        self.bounded[bounded] = True
        self.free = np.arange(self.size) != self.held

    @cached_property
    def units(self) -> np.ndarray:
        """Of the order of the coordinates' sizes: sigma for an effect of a column of rms 1.

        Of angles, of log sigma^2 and of a coefficient that is held 1.
        """
        design, out = self.model.design, np.ones(self.size)
        for term, at, transform in zip(
            self.terms, self.slices, design.transforms, strict=True
        ):
            # the engine's columns have rms 1, and times T they are those of the data
            columns = np.linalg.norm(transform, axis=0)
            rows = np.abs(term.basis).sum(axis=2).argmax(axis=1)
            out[at] = design.y_scale / columns[np.minimum(rows, len(columns) - 1)]
            if term.angle is not None:
                out[at.start + term.angle] = 1.0
        return out

    # ---- the held parameter and its coordinate ----

    def coordinate(self, value: float) -> float:
        """The held coordinate at a value of the parameter."""
        if self.target.kind == "correlation":
            return float(np.arcsin(np.clip(value, -1, 1)))
        return 2 * float(np.log(value)) if self.target.kind == "sigma" else float(value)

    def parameter(self, coordinate: float) -> float:
        """The value of the parameter at a held coordinate."""
        if self.target.kind == "correlation":
            return float(np.sin(coordinate))
        if self.target.kind == "sigma":
            return float(np.exp(coordinate / 2))
        return float(coordinate)

    def rate(self, coordinate: float) -> float:
        """Derivative of the coordinate by the parameter."""
        if self.target.kind == "correlation":
            cosine = np.cos(coordinate)
            return float(1 / cosine) if cosine > ZERO_COSINE else np.inf
        if self.target.kind == "sigma":
            return float(2 / np.exp(coordinate / 2))
        return 1.0

    @property
    def limits(self) -> tuple[float, float]:
        """Least and largest value of the coordinate."""
        if self.target.kind == "correlation":
            return -np.pi / 2, np.pi / 2
        return (0.0 if self.target.kind == "sd" else -np.inf), np.inf

    def signs(self, z: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Signs of z, of the same covariances, that bring it near to other coordinates.

        The columns of L may change signs, but not those of what is held.
        """
        signs = np.ones(self.size)
        for term, at in zip(self.terms, self.slices, strict=True):
            count = int(term.columns.max()) + 1
            own = np.bincount(term.columns, z[at] * other[at], count)
            flipped = own < 0
            if term.angle is not None:
                flipped[:2] = False
            elif term.held is not None and z[self.held] != 0:
                flipped[term.columns[term.held]] = False
            signs[at] = np.where(flipped[term.columns], -1.0, 1.0)
        return signs

    # ---- evaluation ----

    def start(self, at: Estimates) -> np.ndarray:
        """Coordinates of estimates."""
        parts = [t.start(c) for t, c in zip(self.terms, at.covariances, strict=True)]
        z = np.concatenate([*parts, [np.log(at.scale)]])
        if self.row is not None:
            z = np.append(z, at.coefficients[self.target.rows[0]])
        return z

    def at(self, z: np.ndarray) -> State:
        """The deviance and its derivatives at coordinates z.

        Infinite, with no derivatives, where the numbers cannot be computed.
        """
        self.evaluations += 1
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                state = self._at(z)
        except np.linalg.LinAlgError:
            state = None
        if state is None or not np.isfinite(state.value):
            nothing = np.zeros(0)
            return State(np.array(z), np.inf, nothing, nothing, nothing)
        return state

    def _at(self, z):
        model, tau = self.model, self.tau
        gammas, jacobians, parts = [], [], []
        for term, at in zip(self.terms, self.slices, strict=True):
            gamma, jacobian, own = term.expand(z[at])
            gammas.append(gamma)
            jacobians.append(jacobian)
            parts.append(own)
        count = sum(len(g) for g in gammas)
        change = model.change * np.exp(-z[tau])
        inner = change @ np.concatenate(gammas) if count else np.zeros(0)
        if not np.isfinite(inner).all():  # variances whose ratio to sigma^2 is no number
            return None
        held = None if self.row is None else (self.row, z[self.held] - self.offset)
        inner_tau = z[tau] - 2 * np.log(model.design.y_scale)
        point = model.joint.at(inner, inner_tau, held)
        # derivative of (gamma, tau, c) of the engine in z
        whole = np.zeros((len(point.gradient), self.size))
        start = 0
        for at, own in zip(self.slices, jacobians, strict=True):
            stop = start + len(own)
            np.matmul(change[:, start:stop], own, out=whole[:count, at])
            start = stop
        whole[:count, tau] = -inner
        whole[count, tau] = 1.0
        if held is not None:
            whole[count + 1, self.held] = 1.0
        gradient = point.gradient @ whole
        hessian = whole.T @ point.hessian @ whole
        slope = point.gradient[:count] @ change
        start = 0
        for term, at, own in zip(self.terms, self.slices, parts, strict=True):
            stop = start + len(term.dual)
            hessian[at, at] += term.bend(slope[start:stop], z[at], own)
            start = stop
        if count:
            hessian[:tau, tau] -= gradient[:tau]
            hessian[tau, :tau] -= gradient[:tau]
            hessian[tau, tau] += inner @ point.gradient[:count]
        value, squares = point.value + model.shift, float(point.hessian[count, count])
        return State(np.array(z), value, gradient, hessian, point.coefficients, squares)

    def estimates(self, state: State) -> Estimates:
        """All parameters at a state."""
        covariances = []
        for term, at in zip(self.terms, self.slices, strict=True):
            lower = term.expand(state.z[at])[2][0]
            covariances.append(lower @ lower.T)
        return Estimates(
            covariances,
            float(np.exp(state.z[self.tau])),
            self.model.coefficients(state.inner),
        )
