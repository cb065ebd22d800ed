"""Laws of a response given its mean: -log f and its derivatives in the mean and kappa.

With l = -log f(y | mu, kappa) less what does not depend on mu, l1, l2, l3 its derivatives
in mu, and e2 the expectation of l2 (that of l1 is zero):

    binomial           -y log mu - (m - y) log(1 - mu)
    Poisson            mu - y log mu
    gamma              nu (y / mu + log mu),                  nu = w exp(-kappa)
    inverse Gaussian   nu (y - mu)^2 / (2 mu^2 y)
    Gaussian           nu (y - mu)^2 / 2
    NB2                (y + r) log(r + mu) - y log mu,        r = exp(kappa)
    nb1                NB2 with r = c mu,                     c = exp(kappa)
    beta               log B(mu phi, (1 - mu) phi) - ...,     phi = exp(kappa)
    beta-binomial      the same of y successes out of m

References
----------
McCullagh and Nelder (1989), Generalized Linear Models; Hilbe (2011), Negative Binomial
Regression; Ferrari and Cribari-Neto (2004), Journal of Applied Statistics 31, 799-815.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, gammaln, polygamma, xlogy

__all__ = ["LAWS", "Law", "MuTerms"]

# Size r of a negative binomial law from which on series keep more digits.
LARGE_SIZE = 200.0


@dataclass(eq=False)
class MuTerms:
    """Derivatives of l in mu, (n,) each, per unit of prior weight.

    Attributes
    ----------
    loss, first, second, third : ndarray
        l, l1, l2, l3.
    expected, expected_slope : ndarray
        e2 and its derivative in mu.
    loss_kappa, loss_kappa2, first_kappa, second_kappa, expected_kappa : ndarray or None
        Derivatives in kappa of l (twice), l1, l2 and e2.
    """

    loss: np.ndarray
    first: np.ndarray
    second: np.ndarray
    third: np.ndarray
    expected: np.ndarray
    expected_slope: np.ndarray
    loss_kappa: np.ndarray | None = None
    loss_kappa2: np.ndarray | None = None
    first_kappa: np.ndarray | None = None
    second_kappa: np.ndarray | None = None
    expected_kappa: np.ndarray | None = None


class Law:
    """A law of responses; ``w`` are prior weights, ``m`` trials, or None.

    Attributes
    ----------
    name : str
        Of the family.
    n_dispersion : int
        Number of kappa.
    weights_divide : bool
        Whether prior weights divide the dispersion; else they multiply l.
    exact_expected : bool
        Whether e2 is the expected information; else it is that of quasi-likelihood, which
        serves for steps alone.
    """

    name = ""
    n_dispersion = 0
    weights_divide = False
    exact_expected = True

    def terms(self, y, m, w, mu, rest, kappa) -> MuTerms:
        """l and its derivatives at means mu; ``rest`` is 1 - mu."""
        raise NotImplementedError

    def constant(self, y, m, w, kappa) -> np.ndarray:
        """What of -log f does not depend on mu, (n,)."""
        raise NotImplementedError

    def constant_slopes(self, y, m, w, kappa) -> tuple[np.ndarray, np.ndarray]:
        """Its first and second derivative in kappa."""
        raise NotImplementedError


class Binomial(Law):
    name = "binomial"

    def terms(self, y, m, w, mu, rest, kappa):
        miss = m - y
        loss = -xlogy(y, mu) - xlogy(miss, rest)
        e2 = m / (mu * rest)
        return MuTerms(
            loss,
            -y / mu + miss / rest,
            y / mu**2 + miss / rest**2,
            -2.0 * y / mu**3 + 2.0 * miss / rest**3,
            e2,
            -e2 * (rest - mu) / (mu * rest),
        )

    def constant(self, y, m, w, kappa):
        if np.all(m == 1.0) and np.all((y == 0.0) | (y == 1.0)):  # single trials
            return np.zeros(np.shape(y))
        return gammaln(y + 1.0) + gammaln(m - y + 1.0) - gammaln(m + 1.0)


class Poisson(Law):
    name = "poisson"

    def terms(self, y, m, w, mu, rest, kappa):
        return MuTerms(
            mu - xlogy(y, mu),
            1.0 - y / mu,
            y / mu**2,
            -2.0 * y / mu**3,
            1.0 / mu,
            -1.0 / mu**2,
        )

    def constant(self, y, m, w, kappa):
        return gammaln(y + 1.0)


class _Divided(Law):
    """Laws of exponential dispersion, l = nu u(y, mu), nu = w exp(-kappa)."""

    n_dispersion = 1
    weights_divide = True

    def _unit(self, y, mu):
        """u and its derivatives, then e2 and its slope."""
        raise NotImplementedError

    def terms(self, y, m, w, mu, rest, kappa):
        nu = np.exp(-kappa) * (1.0 if w is None else w)
        loss, first, second, third, e2, e3 = (nu * part for part in self._unit(y, mu))
        return MuTerms(
            loss, first, second, third, e2, e3, -loss, loss, -first, -second, -e2
        )


class Gamma(_Divided):
    name = "gamma"

    def _unit(self, y, mu):
        ratio = y / mu
        return (
            ratio + np.log(mu),
            (1.0 - ratio) / mu,
            (2.0 * ratio - 1.0) / mu**2,
            (2.0 - 6.0 * ratio) / mu**3,
            1.0 / mu**2,
            -2.0 / mu**3,
        )

    def constant(self, y, m, w, kappa):
        nu = np.exp(-kappa) * (1.0 if w is None else w)
        return gammaln(nu) - nu * np.log(nu) - (nu - 1.0) * np.log(y)

    def constant_slopes(self, y, m, w, kappa):
        nu = np.exp(-kappa) * (1.0 if w is None else w)
        slope = nu * (digamma(nu) - np.log(nu) - 1.0 - np.log(y))
        return -slope, slope + nu * (nu * polygamma(1, nu) - 1.0)


class InverseGaussian(_Divided):
    name = "inverse gaussian"

    def _unit(self, y, mu):
        return (
            (y - mu) ** 2 / (2.0 * mu**2 * y),
            1.0 / mu**2 - y / mu**3,
            3.0 * y / mu**4 - 2.0 / mu**3,
            6.0 / mu**4 - 12.0 * y / mu**5,
            1.0 / mu**3,
            -3.0 / mu**4,
        )

    def constant(self, y, m, w, kappa):
        nu = np.exp(-kappa) * (1.0 if w is None else w)
        return 0.5 * np.log(2.0 * np.pi * y**3 / nu)

    def constant_slopes(self, y, m, w, kappa):
        return np.full(len(y), 0.5), np.zeros(len(y))


class Gaussian(_Divided):
    name = "gaussian"

    def _unit(self, y, mu):
        one, none = np.ones_like(mu), np.zeros_like(mu)
        return 0.5 * (y - mu) ** 2, mu - y, one, none, one, none

    def constant(self, y, m, w, kappa):
        nu = np.exp(-kappa) * (1.0 if w is None else w)
        return 0.5 * np.log(2.0 * np.pi / nu) + np.zeros(len(y))

    def constant_slopes(self, y, m, w, kappa):
        return np.full(len(y), 0.5), np.zeros(len(y))


class NegativeBinomial(Law):
    """Variance mu + alpha mu^2, kappa = log(1 / alpha); l less what r alone is in."""

    name = "negative binomial"
    n_dispersion = 1

    def terms(self, y, m, w, mu, rest, kappa):
        r = np.exp(kappa)
        s = r + mu
        share, part = (y + r) / s, mu / (r * s)
        log_ratio = np.log1p(mu / r)
        e2 = r / (mu * s)
        by_r = log_ratio - share * mu / r
        twice = part * (share * (2.0 * r + mu) / r - 2.0)
        return MuTerms(
            (y + r) * log_ratio - xlogy(y, mu),
            share - y / mu,
            y / mu**2 - share / s,
            2.0 * share / s**2 - 2.0 * y / mu**3,
            e2,
            -e2 * (2.0 * mu + r) / (mu * s),
            r * by_r,
            r * by_r + r * r * twice,
            r * (mu - y) / s**2,
            r * (2.0 * share - 1.0) / s**2,
            r / s**2,
        )

    def constant(self, y, m, w, kappa):
        return gammaln(y + 1.0) + _gamma_ratios(y, np.exp(kappa))[0]

    def constant_slopes(self, y, m, w, kappa):
        r = np.exp(kappa)
        _, first, second, _ = _gamma_ratios(y, r)
        return r * first + y, r * first + r * r * second


def _gamma_ratios(y, r):
    """log(Gamma(r) r^y / Gamma(y + r)); differences of polygamma functions.

    The latter are psi(r) - psi(y + r) and the same of its first and second derivative.
    Where r is large all come from Stirling's series, subtracted term by term.
    """
    r = np.broadcast_to(np.asarray(r, float), np.shape(y))
    near = np.minimum(r, LARGE_SIZE)
    small = (
        gammaln(near) - gammaln(y + near) + y * np.log(near),
        digamma(near) - digamma(y + near),
        polygamma(1, near) - polygamma(1, y + near),
        polygamma(2, near) - polygamma(2, y + near),
    )
    far = np.maximum(r, LARGE_SIZE)
    s = y + far
    u, v = 1.0 / far, 1.0 / s
    less = [y * u * v]  # 1 / r^k - 1 / s^k, k = 1, 2, ...
    for k in range(1, 6):
        less.append(u * less[-1] + v**k * less[0])
    one, two, three, four, five, six = less
    log_ratio = np.log1p(y * u)
    large = (
        y - (s - 0.5) * log_ratio + one / 12.0 - three / 360.0 + five / 1260.0,
        -log_ratio - one / 2.0 - two / 12.0 + four / 120.0 - six / 252.0,
        one + two / 2.0 + three / 6.0 - five / 30.0,
        -two - three - four / 2.0 + six / 6.0,
    )
    return tuple(np.where(r < LARGE_SIZE, a, b) for a, b in zip(small, large, strict=True))


class NegativeBinomial1(Law):
    """Variance mu (1 + alpha), kappa = log(1 / alpha)."""

    name = "nb1"
    n_dispersion = 1
    exact_expected = False

    def terms(self, y, m, w, mu, rest, kappa):
        c = np.exp(kappa)
        log_share = -np.log1p(np.exp(-kappa))  # log(c / (1 + c))
        ratio, psi, psi1, psi2 = _gamma_ratios(y, c * mu)
        first = c * (psi - log_share)
        e2 = c / (mu * (1.0 + c))
        # in c, then by the chain rule in kappa
        by_c = mu * (psi - log_share) + (y - mu) / (1.0 + c)
        twice = mu * mu * psi1 - mu / (c * (1.0 + c)) + (mu - y) / (1.0 + c) ** 2
        return MuTerms(
            ratio - xlogy(y, mu) - (y + c * mu) * log_share,
            first,
            c * c * psi1,
            c**3 * psi2,
            e2,
            -e2 / mu,
            c * by_c,
            c * by_c + c * c * twice,
            first + c * c * (mu * psi1 - 1.0 / (c * (1.0 + c))),
            2.0 * c * c * psi1 + c**3 * mu * psi2,
            e2 / (1.0 + c),
        )

    def constant(self, y, m, w, kappa):
        return gammaln(y + 1.0)

    def constant_slopes(self, y, m, w, kappa):
        return np.zeros(len(y)), np.zeros(len(y))


class Beta(Law):
    name = "beta"
    n_dispersion = 1

    def _beta(self, mu, rest, phi):
        a, b = mu * phi, rest * phi
        return [digamma(a), polygamma(1, a), polygamma(2, a)], [
            digamma(b),
            polygamma(1, b),
            polygamma(2, b),
        ]

    def terms(self, y, m, w, mu, rest, kappa):
        phi = np.exp(kappa)
        (a0, a1, a2), (b0, b1, b2) = self._beta(mu, rest, phi)
        up, down = np.log(y), np.log1p(-y)
        a, b = mu * phi, rest * phi
        loss = gammaln(a) + gammaln(b) - gammaln(phi) - (a - 1.0) * up - (b - 1.0) * down
        first = phi * (a0 - b0 - up + down)
        second, third = phi**2 * (a1 + b1), phi**3 * (a2 - b2)
        by = mu * a0 + rest * b0 - digamma(phi) - mu * up - rest * down
        twice = mu**2 * a1 + rest**2 * b1 - polygamma(1, phi)
        second_kappa = 2.0 * second + phi**3 * (mu * a2 + rest * b2)
        return MuTerms(
            loss,
            first,
            second,
            third,
            second,
            third,
            phi * by,
            phi * by + phi**2 * twice,
            first + phi**2 * (mu * a1 - rest * b1),
            second_kappa,
            second_kappa,
        )

    def constant(self, y, m, w, kappa):
        return np.zeros(len(y))

    def constant_slopes(self, y, m, w, kappa):
        return np.zeros(len(y)), np.zeros(len(y))


class BetaBinomial(Law):
    name = "beta binomial"
    n_dispersion = 1
    exact_expected = False

    def terms(self, y, m, w, mu, rest, kappa):
        phi = np.exp(kappa)
        miss = m - y
        ratio_a, a0, a1, a2 = _gamma_ratios(y, mu * phi)
        ratio_b, b0, b1, b2 = _gamma_ratios(miss, rest * phi)
        ratio, c0, c1, _ = _gamma_ratios(m, phi)
        loss = ratio_a + ratio_b - ratio - xlogy(y, mu) - xlogy(miss, rest)
        first = phi * (a0 - b0)
        second, third = phi**2 * (a1 + b1), phi**3 * (a2 - b2)
        by = mu * a0 + rest * b0 - c0
        twice = mu**2 * a1 + rest**2 * b1 - c1
        spread = 1.0 + (m - 1.0) / (phi + 1.0)
        e2 = m / (mu * rest) / spread
        return MuTerms(
            loss,
            first,
            second,
            third,
            e2,
            -e2 * (rest - mu) / (mu * rest),
            phi * by,
            phi * by + phi**2 * twice,
            first + phi**2 * (mu * a1 - rest * b1),
            2.0 * second + phi**3 * (mu * a2 + rest * b2),
            e2 / spread * (m - 1.0) * phi / (phi + 1.0) ** 2,
        )

    def constant(self, y, m, w, kappa):
        if np.all(m == 1.0) and np.all((y == 0.0) | (y == 1.0)):  # single trials
            return np.zeros(np.shape(y))
        return gammaln(y + 1.0) + gammaln(m - y + 1.0) - gammaln(m + 1.0)

    def constant_slopes(self, y, m, w, kappa):
        return np.zeros(len(y)), np.zeros(len(y))


#: Laws by the name of their family.
LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Binomial(),
        Poisson(),
        Gamma(),
        InverseGaussian(),
        Gaussian(),
        NegativeBinomial(),
        NegativeBinomial1(),
        Beta(),
        BetaBinomial(),
    )
}
