"""A family: a law of the response with a link, in the linear predictor.

The derivatives in eta follow by the chain rule from those of the law in the mean and of the
mean in eta, but for the links of probabilities, of which the direct formulas keep their
digits where the chain divides zero by zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special
from statsmodels.genmod import families as upstream

from mixedext.kernels.generalized.families import RowFamily
from mixedext.specification.families.laws import LAWS, Law
from mixedext.specification.families.links import Link, link_of

__all__ = ["DEFAULT_LINKS", "MOST_KAPPA", "Family"]

DEFAULT_LINKS = {
    "binomial": "logit",
    "poisson": "log",
    "gamma": "log",
    "inverse gaussian": "log",
    "gaussian": "identity",
    "negative binomial": "log",
    "nb1": "log",
    "beta": "logit",
    "beta binomial": "logit",
}
# Links that make h convex, by family.
_CONCAVE = {
    ("binomial", "logit"),
    ("binomial", "probit"),
    ("binomial", "cloglog"),
    ("binomial", "loglog"),
    ("poisson", "log"),
    ("poisson", "sqrt"),
    ("poisson", "identity"),
    ("gamma", "log"),
    ("negative binomial", "log"),
    ("gaussian", "identity"),
}
_CANONICAL = {("binomial", "logit"), ("poisson", "log"), ("gaussian", "identity")}
_UNIT_LINKS = ("logit", "probit", "cloglog", "loglog", "cauchy")
_DISPERSIONS = {
    "gamma": "phi",
    "inverse gaussian": "phi",
    "gaussian": "phi",
    "negative binomial": "alpha",
    "nb1": "alpha",
    "beta": "precision",
    "beta binomial": "precision",
}
# Bounds of starting values of kappa.
LEAST_START, LARGEST_START = -8.0, 8.0
# Size of kappa beyond which nothing changes any more, and its exponential loses the range.
MOST_KAPPA = 40.0
# Mean of a Poisson law beyond which its draws may be no whole numbers of 64 bits.
MOST_COUNT = 9e18
# Below it the hazard of the normal law comes from its continued fraction of so many terms.
FAR, FRACTION = -4.0, 40


@dataclass(frozen=True, eq=False)
class Family:
    """A family of responses.

    Attributes
    ----------
    name : str
        Name of the law, a key of ``DEFAULT_LINKS``.
    link : Link
        The link.
    kappa : float or None
        Logarithm of the dispersion where it is given; None where it is estimated or there
        is none.  It is log phi (gamma, inverse Gaussian, Gaussian; variances phi mu^2,
        phi mu^3, phi), log(1 / alpha) (negative binomial, variance mu + alpha mu^2; nb1,
        mu (1 + alpha)) and the logarithm of the precision (beta, beta-binomial).
    """

    name: str
    link: Link
    kappa: float | None = None

    @property
    def law(self) -> Law:
        """The law."""
        return LAWS[self.name]

    @property
    def n_dispersion(self) -> int:
        """Number of dispersions that are estimated."""
        return 0 if self.kappa is not None else self.law.n_dispersion

    @property
    def has_trials(self) -> bool:
        """Whether the response counts successes."""
        return self.name in ("binomial", "beta binomial")

    @property
    def is_count(self) -> bool:
        """Whether the response counts without a limit."""
        return self.name in ("poisson", "negative binomial", "nb1")

    @property
    def log_concave(self) -> bool:
        """Whether -log f is convex in the linear predictor, whatever y."""
        return (self.name, self.link.name) in _CONCAVE

    @property
    def canonical(self) -> bool:
        """Whether observed and expected information are the same."""
        return (self.name, self.link.name) in _CANONICAL

    @property
    def label(self) -> str:
        """The family with its link, as in ``"binomial(logit)"``."""
        return f"{self.name}({self.link.name})"

    def __repr__(self) -> str:
        given = "" if self.kappa is None else f", {self.dispersion_name} = "
        if self.kappa is not None:
            given += f"{self.dispersion(np.array([self.kappa])):g}"
        return self.label[:-1] + given + ")"

    # ---- dispersion ----

    def _kappa(self, kappa) -> float:
        if self.kappa is not None:
            return self.kappa
        if not self.law.n_dispersion:
            return 0.0
        kappa = np.asarray(kappa, float).ravel()
        return float(min(max(kappa[0], -MOST_KAPPA), MOST_KAPPA))

    @property
    def dispersion_name(self) -> str:
        """What the dispersion is called; empty where there is none."""
        return _DISPERSIONS.get(self.name, "")

    def dispersion(self, kappa: Any = ()) -> float:
        """The dispersion on its natural scale; 1 where there is none."""
        if not self.law.n_dispersion:
            return 1.0
        k = self._kappa(kappa)
        return float(np.exp(-k if self.dispersion_name == "alpha" else k))

    def dispersion_slope(self, kappa: Any = ()) -> float:
        """d dispersion / d kappa."""
        sign = -1.0 if self.dispersion_name == "alpha" else 1.0
        return sign * self.dispersion(kappa)

    def kappa_of(self, dispersion: float) -> float:
        """Kappa of a dispersion."""
        log = float(np.log(dispersion))
        return -log if self.dispersion_name == "alpha" else log

    def scale(self, kappa: Any = ()) -> float:
        """phi; 1 of families without."""
        return self.dispersion(kappa) if self.dispersion_name == "phi" else 1.0

    # ---- mean and variance ----

    def mean(self, eta: np.ndarray) -> np.ndarray:
        """Mean at a linear predictor; of successes the probability."""
        return self.link.mean(eta)

    @np.errstate(over="ignore", invalid="ignore")
    def variance(
        self, mu: np.ndarray, kappa: Any = (), trials: np.ndarray | None = None
    ) -> np.ndarray:
        """Variance of a response of mean mu (of a proportion out of ``trials``)."""
        k = self._kappa(kappa)
        if self.has_trials:
            m = 1.0 if trials is None else trials
            with np.errstate(divide="ignore"):  # without trials nothing is known
                own = mu * (1.0 - mu) / m
            if self.name == "binomial":
                return own
            return own * (1.0 + (m - 1.0) / (np.exp(k) + 1.0))
        if self.name == "poisson":
            return mu + 0.0
        if self.name == "negative binomial":
            return mu + np.exp(-k) * mu**2
        if self.name == "nb1":
            return mu * (1.0 + np.exp(-k))
        if self.name == "beta":
            return mu * (1.0 - mu) / (1.0 + np.exp(k))
        power = {"gamma": 2, "inverse gaussian": 3, "gaussian": 0}[self.name]
        return np.exp(k) * mu**power

    def unit_deviance(self, y, mu, kappa=(), trials=None) -> np.ndarray:
        """2 (l(mu) - l(y)) of every row, per unit of prior weight and of 1 / phi."""
        # means may be at a limit of their range
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self._unit_deviance(y, mu, kappa, trials)

    def _unit_deviance(self, y, mu, kappa, trials):
        if self.has_trials:
            m = np.ones(len(y)) if trials is None else trials
            miss = m - y
            own = special.xlogy(y, y / (m * mu))
            other = special.xlogy(miss, miss / (m * (1.0 - mu)))
            return 2.0 * (own + other)
        if self.name == "poisson":
            return 2.0 * (special.xlogy(y, y / mu) - (y - mu))
        if self.name in ("negative binomial", "nb1"):
            r = np.exp(self._kappa(kappa)) * (mu if self.name == "nb1" else 1.0)
            return 2.0 * (special.xlogy(y, y / mu) - (y + r) * np.log((y + r) / (mu + r)))
        if self.name == "gamma":
            return 2.0 * (y / mu - 1.0 - np.log(y / mu))
        if self.name == "inverse gaussian":
            return (y - mu) ** 2 / (mu**2 * y)
        if self.name == "gaussian":
            return (y - mu) ** 2
        # beta: against the law's own maximum in mu, which has no closed form
        k = self._kappa(kappa)
        top = self.law.terms(y, None, None, y, 1.0 - y, k).loss
        return 2.0 * np.maximum(
            self.law.terms(y, None, None, mu, 1.0 - mu, k).loss - top, 0
        )

    # ---- starts ----

    def start_mean(self, response: Any) -> np.ndarray:
        """Means near the responses, inside their range."""
        y = response.y
        if self.has_trials:
            return (y + 0.5) / (response.trials + 1.0)
        if self.name == "beta":
            return np.clip(y, 0.01, 0.99)
        if self.name == "gaussian":
            if self.link.name in ("identity",):
                return y
            positive = np.maximum(y, 0.1 * np.abs(y).mean() + 1e-300)
            return positive
        if self.is_count:
            return 0.5 * (y + y.mean()) + 0.05 if self.link.name != "log" else y + 0.1
        return 0.5 * (y + y.mean()) if self.link.name != "log" else y

    def start_kappa(self, response: Any, mu: np.ndarray) -> np.ndarray:
        """Kappa by moments of the responses about means."""
        if not self.n_dispersion:
            return np.zeros(0)
        y, m = response.y, response.trials
        with np.errstate(all="ignore"):
            if self.has_trials:
                share = (y - m * mu) ** 2 / (m * mu * (1.0 - mu))
                more = (np.nanmean(share) - 1.0) / max(float(np.mean(m) - 1.0), 1e-3)
                found = np.log(1.0 / np.clip(more, 1e-3, 0.9) - 1.0)
            elif self.name == "beta":
                found = np.log(np.nanmean(mu * (1.0 - mu)) / np.nanmean((y - mu) ** 2))
            elif self.name == "negative binomial":
                over = np.nansum((y - mu) ** 2 - mu) / np.nansum(mu**2)
                found = -np.log(max(float(over), 1e-3))
            elif self.name == "nb1":
                over = np.nanmean((y - mu) ** 2 / mu) - 1.0
                found = -np.log(max(float(over), 1e-3))
            else:
                power = {"gamma": 2, "inverse gaussian": 3, "gaussian": 0}[self.name]
                share = (y - mu) ** 2 / mu**power
                if response.weights is not None:
                    share = share * response.weights
                found = np.log(np.nanmean(share))
                if not np.isfinite(found):
                    found = 0.0
                return np.array([np.clip(found, -40.0, 40.0)])
        if not np.isfinite(found):
            found = 0.0
        return np.array([np.clip(found, LEAST_START, LARGEST_START)])

    # ---- likelihood in the linear predictor ----

    @cached_property
    def rows(self) -> RowFamily:
        """The compiled loops, or what calls ``eta_terms`` in their place."""
        power = getattr(self.link, "power", 0.0)
        return RowFamily(self.name, self.link.name, self.eta_terms, power)

    def eta_terms(self, eta, y, m, w, kappa) -> list[np.ndarray]:
        """l less its constant and its derivatives in eta, times prior weights.

        Returns
        -------
        list of ndarray
            l, s, W, T, E(W), dE(W)/deta and, where there is a dispersion, the derivatives
            of l, s, W and E(W) in kappa.
        """
        with np.errstate(all="ignore"):
            if self.name == "binomial" and self.link.name in _DIRECT:
                found = _DIRECT[self.link.name](eta, y, m)
            elif self.name == "poisson" and self.link.name == "log":
                mu = np.exp(eta)
                found = [mu - y * eta, mu - y, mu, mu, mu, mu]
            else:
                found = self._by_chain(eta, y, m, w, kappa)
        if w is not None and not self.law.weights_divide:
            found = [np.where(w != 0, w * part, 0.0) for part in found]
        return found

    def _by_chain(self, eta, y, m, w, kappa):
        t = self.link.terms(eta)
        if m is None and self.has_trials:
            m = np.ones(len(y))
        law = self.law.terms(y, m, w, t.mean, t.rest, kappa)
        a, b, c = t.first, t.second, t.third
        outside = self._outside(t.mean)
        found = [
            np.where(outside, np.inf, law.loss),
            law.first * a,
            law.second * a**2 + law.first * b,
            law.third * a**3 + 3.0 * law.second * a * b + law.first * c,
            law.expected * a**2,
            law.expected_slope * a**3 + 2.0 * law.expected * a * b,
        ]
        if self.law.n_dispersion:
            found += [
                law.loss_kappa,
                law.first_kappa * a,
                law.second_kappa * a**2 + law.first_kappa * b,
                law.expected_kappa * a**2,
            ]
        return found

    def _outside(self, mu):
        """Which means the law does not have."""
        if self.name == "gaussian":
            return ~np.isfinite(mu)
        bad = ~(mu > 0) | ~np.isfinite(mu)
        if self.has_trials or self.name == "beta":
            bad |= ~(mu < 1)
        return bad

    # ---- draws ----

    def draw(
        self,
        mu: np.ndarray,
        response: Any,
        kappa: Any,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Responses (of successes their number) with means mu, (..., n).

        Raises
        ------
        ValueError
            If the law has no such mean, as where an identity link gives a negative one.
        """
        outside = self._outside(mu) if not self.has_trials else ~np.isfinite(mu)
        if outside.any():
            worst = float(np.asarray(mu)[outside][0])
            raise ValueError(
                f"responses cannot be drawn: a mean of {worst:.4g} is outside the range of "
                f"the family {self.name}; the link {self.link.name} does not keep means "
                "inside it"
            )
        k, w, shape = self._kappa(kappa), response.weights, np.shape(mu)
        if self.has_trials:
            m = np.broadcast_to(response.trials, shape).astype(np.int64)
            if self.name == "beta binomial":
                phi = np.exp(k)
                mu = rng.beta(
                    np.maximum(mu * phi, 1e-300), np.maximum((1 - mu) * phi, 1e-300)
                )
            return rng.binomial(m, np.clip(mu, 0.0, 1.0)).astype(float)
        if self.name == "poisson":
            return _poisson(mu, rng)
        if self.is_count:
            r = np.exp(k) * (mu if self.name == "nb1" else 1.0)
            return _poisson(rng.gamma(r, mu / r, shape), rng)
        if self.name == "beta":
            phi = np.exp(k)
            found = rng.beta(mu * phi, (1.0 - mu) * phi)
            return np.clip(found, np.finfo(float).tiny, 1.0 - 2.0**-53)
        phi = np.exp(k) / (1.0 if w is None else w)
        if self.name == "gamma":
            return rng.gamma(1.0 / phi, mu * phi, shape)
        if self.name == "inverse gaussian":
            return rng.wald(mu, 1.0 / phi, shape)
        return rng.normal(mu, np.sqrt(phi), shape)

    def statsmodels(self, kappa: Any = ()) -> Any:
        """statsmodels' instance of the family; None where it has none."""
        kinds = {
            "binomial": upstream.Binomial,
            "poisson": upstream.Poisson,
            "gamma": upstream.Gamma,
            "inverse gaussian": upstream.InverseGaussian,
            "gaussian": upstream.Gaussian,
        }
        links = {
            "logit": upstream.links.Logit,
            "probit": upstream.links.Probit,
            "cloglog": upstream.links.CLogLog,
            "loglog": upstream.links.LogLog,
            "cauchy": upstream.links.Cauchy,
            "log": upstream.links.Log,
            "identity": upstream.links.Identity,
            "sqrt": upstream.links.Sqrt,
            "inverse": upstream.links.InversePower,
            "inverse_squared": upstream.links.InverseSquared,
        }
        link = links.get(self.link.name)
        if link is None:
            return None
        if self.name == "negative binomial":
            return upstream.NegativeBinomial(link(), alpha=self.dispersion(kappa))
        return kinds[self.name](link()) if self.name in kinds else None

    @classmethod
    def of(cls, name: str, link: Any = None, kappa: float | None = None) -> Family:
        """A family by the name of its law and its link."""
        return cls(name, link_of(DEFAULT_LINKS[name] if link is None else link), kappa)


def _trials(y, m):
    return np.ones(len(y)) if m is None else m


def _logit_terms(eta, y, m):
    m = _trials(y, m)
    e = np.exp(-np.abs(eta))
    share = 1.0 / (1.0 + e)
    mu, rest = np.where(eta >= 0, share, e * share), np.where(eta >= 0, e * share, share)
    loss = np.where(eta >= 0, (m - y) * eta, -y * eta) + m * np.log1p(e)
    weight = m * mu * rest
    third = weight * (rest - mu)
    return [loss, (m - y) * mu - y * rest, weight, third, weight, third]


def _hazards(x):
    """r = phi / Phi and its two derivatives.

    Where x is far below zero they come from r = t + 1 / (t + c), c = 2 / (t + d), ... ,
    t = -x: so written no digits are lost in x + r, 1 + r' and r''.
    """
    near = np.clip(x, FAR, 25.0)
    r = np.sqrt(2.0 / np.pi) / special.erfcx(-near / np.sqrt(2.0))
    r = np.where(x > 25.0, 0.0, r)
    rest = near + r
    first = -r * rest
    second = -first * rest - r * (1.0 + first)
    t, e = np.maximum(-x, -FAR), 0.0
    for j in range(FRACTION, 3, -1):
        e = j / (t + e)
    d = 3.0 / (t + e)
    c = 2.0 / (t + d)
    s = t + c
    w = c * s
    less = 2.0 * (t + 3.0 * d - 2.0 * e) / ((t + e) * (t + d) ** 2)  # 2 - w
    far = x < FAR
    return (
        np.where(far, t + 1.0 / s, r),
        np.where(far, -(1.0 - (w - 1.0) / s**2), first),
        np.where(far, less * (s**2 - (1.0 - less)) / s**3, second),
    )


def _probit_terms(eta, y, m):
    m = _trials(y, m)
    a, b, miss = _hazards(eta), _hazards(-eta), m - y
    loss = -np.where(y != 0, y * special.log_ndtr(eta), 0.0)
    loss -= np.where(miss != 0, miss * special.log_ndtr(-eta), 0.0)
    return [
        loss,
        -y * a[0] + miss * b[0],
        -y * a[1] - miss * b[1],
        -y * a[2] + miss * b[2],
        m * a[0] * b[0],
        m * (a[1] * b[0] - a[0] * b[1]),
    ]


def _cloglog_terms(eta, y, m):
    m = _trials(y, m)
    far = eta > 700.0
    e = np.exp(np.where(far, 0.0, eta))
    ratio, square = -np.expm1(-e), e * e
    g = e / np.expm1(np.minimum(e, 700.0))
    g = np.where(e > 700.0, 0.0, g)
    near = e < 0.05
    bend = 1.0 - e / ratio
    g1 = np.where(
        near,
        -0.5 * e + square * (1 / 6 - square * (1 / 180 - square / 5040)),
        g * bend,
    )
    g2 = np.where(
        near,
        -0.5 * e + square * (1 / 3 - square * (1 / 45 - square / 840)),
        g1 * bend - g * (e / ratio) * (1.0 - g),
    )
    series = 1.0 - 0.5 * e + square * (1 / 12 - square * (1 / 720 - square / 30240))
    g = np.where(near, series, g)
    log_mu = np.where(e < 1e-8, eta - 0.5 * e, np.log(ratio))
    miss = (m - y) * e
    found = [
        miss - np.where(y != 0, y * log_mu, 0.0),
        miss - y * g,
        miss - y * g1,
        miss - y * g2,
        m * e * g,
        m * e * (g + g1),
    ]
    found[0] = np.where(far, np.where(m > y, np.inf, 0.0), found[0])
    return [found[0], *(np.where(far, 0.0, part) for part in found[1:])]


def _loglog_terms(eta, y, m):
    # failures under -eta have the complementary link
    m = _trials(y, m)
    found = _cloglog_terms(-eta, m - y, m)
    sign = (1.0, -1.0, 1.0, -1.0, 1.0, -1.0)
    return [s * part for s, part in zip(sign, found, strict=True)]


_DIRECT = {
    "logit": _logit_terms,
    "probit": _probit_terms,
    "cloglog": _cloglog_terms,
    "loglog": _loglog_terms,
}


def _poisson(mu, rng):
    """Poisson counts as floats; a ValueError where no whole number holds them."""
    largest = float(np.max(mu, initial=0.0))
    if largest > MOST_COUNT:
        raise ValueError(
            f"responses cannot be drawn: a mean of {largest:.4g} is too large for a count; "
            "the estimates of the model run off, see convergence"
        )
    return rng.poisson(mu).astype(float)
