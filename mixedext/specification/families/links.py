"""Link functions: the mean as a function of the linear predictor, to its third derivative.

References
----------
McCullagh and Nelder (1989), Generalized Linear Models, 2nd edition. Chapman and Hall.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special
from statsmodels.genmod.families import links as upstream

from mixedext.arguments import did_you_mean
from mixedext.exceptions import PrecisionWarning, user_stacklevel

__all__ = ["LINKS", "Link", "MeanTerms", "link_of"]

_ROOT_2PI = np.sqrt(2.0 * np.pi)


@dataclass(frozen=True, eq=False)
class MeanTerms:
    """The mean and its derivatives in eta.

    Attributes
    ----------
    mean, rest : ndarray
        mu, and 1 - mu with all its digits where mu is a probability.
    first, second, third : ndarray
        Derivatives of mu.
    """

    mean: np.ndarray
    rest: np.ndarray
    first: np.ndarray
    second: np.ndarray
    third: np.ndarray


class Link:
    """A link g(mu) = eta.

    Attributes
    ----------
    name : str
        As in the text of a family, ``"binomial(probit)"``.
    """

    name = ""

    def eta(self, mu: Any) -> Any:
        """g(mu)."""
        raise NotImplementedError

    def mean(self, eta: Any) -> Any:
        """The mean at a linear predictor; infinite where no number holds it."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.terms(np.asarray(eta, float)).mean

    def terms(self, eta: np.ndarray) -> MeanTerms:
        """The mean and its derivatives; NaN outside the domain of the link."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Link) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class Logit(Link):
    name = "logit"

    def eta(self, mu):
        return special.logit(mu)

    def terms(self, eta):
        mu, rest = special.expit(eta), special.expit(-eta)
        first = mu * rest
        return MeanTerms(mu, rest, first, first * (rest - mu), first * (1.0 - 6.0 * first))


class Probit(Link):
    name = "probit"

    def eta(self, mu):
        return special.ndtri(mu)

    def terms(self, eta):
        density = np.exp(-0.5 * eta * eta) / _ROOT_2PI
        return MeanTerms(
            special.ndtr(eta),
            special.ndtr(-eta),
            density,
            -eta * density,
            (eta * eta - 1.0) * density,
        )


class CLogLog(Link):
    name = "cloglog"

    def eta(self, mu):
        return np.log(-np.log1p(-np.asarray(mu, float)))

    def terms(self, eta):
        e = np.exp(np.minimum(eta, 700.0))
        rest = np.exp(-e)
        first = e * rest
        return MeanTerms(
            -np.expm1(-e), rest, first, first * (1.0 - e), first * (1.0 - 3.0 * e + e * e)
        )


class LogLog(Link):
    name = "loglog"

    def eta(self, mu):
        return -np.log(-np.log(mu))

    def terms(self, eta):
        e = np.exp(np.minimum(-eta, 700.0))
        mu = np.exp(-e)
        first = e * mu
        second = first * (e - 1.0)
        third = first * (1.0 - 3.0 * e + e * e)
        return MeanTerms(mu, -np.expm1(-e), first, second, third)


class Cauchy(Link):
    name = "cauchy"

    def eta(self, mu):
        return np.tan(np.pi * (np.asarray(mu, float) - 0.5))

    def terms(self, eta):
        square = 1.0 + eta * eta
        first = 1.0 / (np.pi * square)
        return MeanTerms(
            np.arctan2(1.0, -eta) / np.pi,
            np.arctan2(1.0, eta) / np.pi,
            first,
            -2.0 * eta * first / square,
            first * (6.0 * eta * eta - 2.0) / square**2,
        )


class Log(Link):
    name = "log"

    def eta(self, mu):
        return np.log(mu)

    def terms(self, eta):
        mu = np.exp(eta)
        return MeanTerms(mu, 1.0 - mu, mu, mu, mu)


class Identity(Link):
    name = "identity"

    def eta(self, mu):
        return np.asarray(mu, float) + 0.0

    def terms(self, eta):
        none = np.zeros_like(eta)
        return MeanTerms(eta, 1.0 - eta, none + 1.0, none, none)


class Power(Link):
    """g(mu) = mu^k of a positive mean; eta must be positive."""

    def __init__(self, power: float, name: str = ""):
        if power == 0 or not np.isfinite(power):
            raise ValueError(
                f"the power of a link must be a number other than 0, not {power!r}; "
                "for 0 use the log link"
            )
        self.power = float(power)
        self.name = name or f"power({self.power:g})"

    def eta(self, mu):
        return np.asarray(mu, float) ** self.power

    def terms(self, eta):
        a = 1.0 / self.power
        eta = np.where(eta > 0, eta, np.nan)
        mu = eta**a
        first = a * mu / eta
        second = (a - 1.0) * first / eta
        return MeanTerms(mu, 1.0 - mu, first, second, (a - 2.0) * second / eta)


class UserLink(Link):
    """A link of the user's own: what statsmodels calls an instance of ``Link``.

    Derivatives of its ``inverse`` are computed by complex steps and differences of these.
    """

    def __init__(self, link: Any):
        self.link, self.name = link, type(link).__name__

    def eta(self, mu):
        return self.link(np.asarray(mu, float))

    def _first(self, eta):
        step = 1e-30
        return np.imag(self.link.inverse(eta + 1j * step)) / step

    def terms(self, eta):
        h = 1e-3 * np.maximum(1.0, np.abs(eta))
        ends = [self._first(eta + k * h) for k in (-3, -2, -1, 0, 1, 2, 3)]
        second = (
            45 * (ends[4] - ends[2]) - 9 * (ends[5] - ends[1]) + (ends[6] - ends[0])
        ) / (60 * h)
        third = (
            270 * (ends[4] + ends[2])
            - 27 * (ends[5] + ends[1])
            + 2 * (ends[6] + ends[0])
            - 490 * ends[3]
        ) / (180 * h * h)
        mu = np.asarray(self.link.inverse(eta), float)
        return MeanTerms(mu, 1.0 - mu, ends[3], second, third)


#: Links by name.
LINKS: dict[str, Link] = {
    "logit": Logit(),
    "probit": Probit(),
    "cloglog": CLogLog(),
    "loglog": LogLog(),
    "cauchy": Cauchy(),
    "log": Log(),
    "identity": Identity(),
    "sqrt": Power(0.5, "sqrt"),
    "inverse": Power(-1.0, "inverse"),
    "inverse_squared": Power(-2.0, "inverse_squared"),
}
_OTHER_NAMES = {
    "cauchit": "cauchy",
    "1/mu^2": "inverse_squared",
    "inversesquared": "inverse_squared",
    "inverse squared": "inverse_squared",
    "inverse_power": "inverse",
}


def link_of(link: Any) -> Link:
    """A link from its name, from statsmodels' instance, or as it is.

    Raises
    ------
    ValueError
        If there is no link of that name; it lists those that there are.
    TypeError
        If it is a class instead of an instance, or no link.

    Warns
    -----
    PrecisionWarning
        If the derivatives of a user's own link are computed numerically.
    """
    if isinstance(link, Link):
        return link
    if isinstance(link, str):
        name = _OTHER_NAMES.get(link.strip().lower(), link.strip().lower())
        if name in LINKS:
            return LINKS[name]
        hint = did_you_mean(name, LINKS)
        raise ValueError(
            f"link {link!r} is not known{hint}; there are: {', '.join(LINKS)}, and "
            "instances of statsmodels' links such as sm.families.links.Power(power=...)"
        )
    if isinstance(link, type):
        raise TypeError(
            f"link {link.__name__} is a class; give an instance: {link.__name__}()"
        )
    kinds = {
        upstream.Logit: "logit",
        upstream.Probit: "probit",
        upstream.CLogLog: "cloglog",
        upstream.LogLog: "loglog",
        upstream.Cauchy: "cauchy",
        upstream.Log: "log",
        upstream.Identity: "identity",
        upstream.InversePower: "inverse",
        upstream.InverseSquared: "inverse_squared",
        upstream.Sqrt: "sqrt",
    }
    if type(link) in kinds:
        return LINKS[kinds[type(link)]]
    if type(link) is upstream.Power:
        return LINKS["identity"] if link.power == 1 else Power(link.power)
    if callable(link) and hasattr(link, "inverse"):
        found = UserLink(link)
        probe = found.terms(np.array([0.1, 0.5]))
        if not np.isfinite(probe.first).all():
            raise TypeError(
                f"the derivative of the inverse of link {found.name} cannot be computed: "
                "its inverse must take complex numbers"
            )
        warnings.warn(
            f"derivatives of the link {found.name} are computed numerically: estimates "
            "have fewer digits",
            PrecisionWarning,
            stacklevel=user_stacklevel(),
        )
        return found
    raise TypeError(
        f"link={link!r} must be the name of a link or an instance of statsmodels' links"
    )
