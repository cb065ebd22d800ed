"""What of a model with a residual covariance is profiled, and in which coordinate.

Standard deviations and sigma go by their logarithms, correlations of random effects by
their inverse hyperbolic tangents, parameters of the residual covariance by the free
parameter that is theirs, where there is one, and otherwise as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.natural import natural_parameters
from mixedext.engine.residual.rows import residual_curves
from mixedext.inference.profile.coordinates import Target
from mixedext.inference.profile.residual_minimum import Held
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.linear import LinearStructure

__all__ = ["ResidualTarget", "residual_targets"]

# Differences in which natural parameters are looked at for whether they have a free
# parameter of their own.
OWN = 1e-4
# Free parameter that is as good as infinite, and what is then no number but its limit, by
# the size of the estimate.
FAR, NEGLIGIBLE = 30.0, 1e-8


@dataclass(frozen=True, eq=False)
class ResidualTarget:
    """One parameter.

    Attributes
    ----------
    target : Target
        What it is; of the residual covariance "residual", its number as its row.
    held : Held or None
        The coordinate as a function of z; None of a fixed effect.
    value : callable
        The parameter of its coordinate and z.
    rise : callable
        d parameter / d coordinate, likewise.
    ends : tuple of float
        The parameter where the coordinate is -infinity and infinity; NaN if not known.
    """

    target: Target
    held: Held | None
    value: Callable[[float, np.ndarray], float]
    rise: Callable[[float, np.ndarray], float]
    ends: tuple[float, float] = (np.nan, np.nan)


def residual_targets(
    deviance: MarginalDeviance, bound: BoundResidual, psi: np.ndarray
) -> list[ResidualTarget]:
    """All parameters: of random terms, sigma, fixed effects, the residual covariance.

    Parameters
    ----------
    deviance : MarginalDeviance
        By maximum likelihood.
    bound : BoundResidual
        The residual covariance.
    psi : ndarray
        Its estimates.
    """
    out, n = [], deviance.n_theta + deviance.n_psi + 1
    log_y = np.log(deviance.y_scale)
    pairs = zip(deviance.structures, deviance.theta_slices, strict=True)
    for term, (s, at) in enumerate(pairs):
        assert isinstance(s, LinearStructure)
        for b, a in s.pairs:
            if a == b:
                held = Held(*_log_sd(s, at, a, n, log_y))
                out.append(
                    ResidualTarget(
                        Target("sd", term, (a,)), held, _exp, _exp, (0.0, np.inf)
                    )
                )
            else:
                held = Held(*_atanh(s, at, a, b, n))
                out.append(
                    ResidualTarget(
                        Target("correlation", term, (a, b)), held, _tanh, _sech, (-1.0, 1.0)
                    )
                )
    half = np.zeros(n)
    half[-1] = 0.5
    held = Held(lambda z: float(z[-1] / 2 + log_y), lambda z: half)
    out.append(ResidualTarget(Target("sigma"), held, _exp, _exp, (0.0, np.inf)))
    for j in range(deviance.rank):
        target = Target("fixed", -1, (j,))
        out.append(ResidualTarget(target, None, lambda u, z: u, lambda u, z: 1.0))
    n_sd = sum(f.n_psi for f in bound.functions)
    order = np.roll(np.arange(len(psi)), -n_sd)  # as in ``params``
    out += [_of_residual(bound, psi, int(k), deviance.n_theta, n) for k in order]
    return out


def _of_residual(bound, psi, k, n_theta, n):
    """Element k of the natural parameters, in the order of psi."""
    slope = _natural_slopes(bound, psi)
    target = Target("residual", -1, (k,))
    if (np.delete(slope[k], k) == 0).all() and (np.delete(slope[:, k], k) == 0).all():
        unit = np.zeros(n)
        unit[n_theta + k] = 1.0

        def value(u, z):
            own = z[n_theta:-1].copy()
            own[k] = u
            return float(natural_parameters(bound, own)[k])

        def rise(u, z):
            step = OWN * max(1.0, abs(u))
            return (value(u + step, z) - value(u - step, z)) / (2 * step)

        held = Held(lambda z: float(z[n_theta + k]), lambda z: unit)
        with np.errstate(all="ignore"):
            start = np.concatenate([np.zeros(n_theta), psi, [0.0]])
            size = abs(value(psi[k], start)) or 1.0
            low, high = (_end(value(psi[k] + sign * FAR, start), size) for sign in (-1, 1))
        return ResidualTarget(target, held, value, rise, (low, high))

    def natural(z):
        return float(natural_parameters(bound, z[n_theta:-1])[k])

    def gradient(z):
        out = np.zeros(n)
        out[n_theta:-1] = _natural_slopes(bound, z[n_theta:-1])[k]
        return out

    return ResidualTarget(target, Held(natural, gradient), lambda u, z: u, lambda u, z: 1.0)


def _end(value, size):
    """The limit of a parameter at the end of its range."""
    if abs(value) < NEGLIGIBLE * size:
        return 0.0
    return float(value if abs(value) * NEGLIGIBLE < size else np.sign(value) * np.inf)


def _natural_slopes(bound, psi):
    """d natural / d psi' of all parameters, (n_psi, n_psi)."""
    out = np.zeros((len(psi), len(psi)))
    for number, curve in enumerate(residual_curves(bound)):
        for function, at in zip(curve.functions, curve.slices, strict=True):
            if function.n_psi and number == 0:
                own = curve.at[at]
                out[np.ix_(own, own)] = function.jacobian(psi[own])
        if curve.correlation is not None and curve.n_own:
            own = curve.at[curve.n_sd :]
            out[np.ix_(own, own)] = curve.correlation.jacobian(psi[own])
    return out


def _exp(u, z):
    return float(np.exp(u))


def _tanh(u, z):
    return float(np.tanh(u))


def _sech(u, z):
    return float(1 / np.cosh(u) ** 2)


def _log_sd(s, at, a, n, log_y):
    """Logarithm of a standard deviation of a random effect, and its gradient."""

    def value(z):
        with np.errstate(divide="ignore"):
            return float(0.5 * np.log(s.matrix(z[at])[a, a]) + z[-1] / 2 + log_y)

    def slope(z):
        out = np.zeros(n)
        own = s.matrix(z[at])[a, a]
        with np.errstate(divide="ignore", invalid="ignore"):
            out[at] = s.tangent(z[at])[:, a, a] / (2 * own)
        out[-1] = 0.5
        return out

    return value, slope


def _atanh(s, at, a, b, n):
    """Inverse hyperbolic tangent of a correlation of random effects, and its gradient."""

    def parts(z):
        own = s.matrix(z[at])
        both = np.sqrt(own[a, a]) * np.sqrt(own[b, b])
        return own, both, own[a, b] / both

    def value(z):
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.arctanh(parts(z)[2]))

    def slope(z):
        out = np.zeros(n)
        own, both, r = parts(z)
        tangent = s.tangent(z[at])
        with np.errstate(divide="ignore", invalid="ignore"):
            change = tangent[:, a, b] / both
            change -= r * (tangent[:, a, a] / own[a, a] + tangent[:, b, b] / own[b, b]) / 2
            out[at] = change / (1 - r**2)
        return out

    return value, slope
