"""Shares of the variance: R squared of Nakagawa and Johnson, intraclass correlations."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from scipy import stats

from mixedext.arguments import check_probability
from mixedext.exceptions import BootstrapWarning, user_stacklevel
from mixedext.inference.bootstrap.intervals import limits

__all__ = ["ExplainedVariance", "IntraclassCorrelation", "NakagawaR2"]


class NakagawaR2(NamedTuple):
    """Shares of the variance that a model explains.

    Attributes
    ----------
    marginal : float
        Of the fixed effects.
    conditional : float
        Of fixed and random effects.
    """

    marginal: float
    conditional: float


class IntraclassCorrelation(NamedTuple):
    """An intraclass correlation with its interval.

    Attributes
    ----------
    estimate : float
        Share of the variance.
    se : float
        Standard error; NaN where a variance on the boundary leaves none.
    lower, upper : float
        Limits.
    """

    estimate: float
    se: float
    lower: float
    upper: float


class ExplainedVariance:
    """The part of the results that divides up the variance of the rows."""

    def r2_nakagawa(self):
        """Marginal and conditional R squared of Nakagawa, Schielzeth and Johnson.

        The variance of the random part is its mean over the rows, which with random
        slopes is not that of the intercepts alone (Johnson).  With weights the residual
        variance is its mean over the rows as well.

        Returns
        -------
        NakagawaR2
            marginal, conditional.

        Raises
        ------
        ValueError
            If the rows are not in memory.

        References
        ----------
        Nakagawa, Johnson and Schielzeth (2017), The coefficient of determination R2 and
        intra-class correlation coefficient from generalized linear mixed-effects models
        revisited and expanded, Journal of the Royal Society Interface 14.
        Johnson (2014), Extension of Nakagawa & Schielzeth's R2GLMM to random slopes models,
        Methods in Ecology and Evolution 5.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> [round(r2, 4) for r2 in result.r2_nakagawa()]
        [0.2787, 0.7992]
        """
        fixed = self._fixed_variance()
        slopes, residual = self._variance_slopes()
        random = float(slopes @ self._gamma())
        residual = residual * self.scale
        total = fixed + random + residual
        return NakagawaR2(fixed / total, (fixed + random) / total)

    def icc(self, which=None, ci=None, *, adjusted=True, alpha=0.05, n=1000, rng=None):
        """Intraclass correlation: the random effects' share of the variance.

        Parameters
        ----------
        which : str, optional
            A grouping factor, for its share; all of them together if None.
        ci : {None, "delta", "bootstrap"}, optional
            Interval: none; estimate -+ normal quantile times the standard error by the
            delta method from the observed information, cut at 0 and 1; or percentiles of
            refits to responses simulated from the fit.
        adjusted : bool, optional
            Whether the variance of the fixed effects is left out of the total.  If not,
            the intervals take it as known.
        alpha : float, optional
            One minus the confidence level.
        n : int, optional
            Number of refits of the bootstrap.
        rng : Generator or int, optional
            Source of random numbers, or a seed.

        Returns
        -------
        float or IntraclassCorrelation
            A number if ``ci`` is None; else estimate, se, lower, upper.

        Raises
        ------
        ValueError
            If an argument is not known, or the rows are not in memory.

        Warns
        -----
        BootstrapWarning
            If refits failed; they are left out of the interval.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
        >>> round(result.icc(), 4)
        0.4185
        >>> [round(value, 3) for value in result.icc(ci="delta")]
        [0.418, 0.216, 0.0, 0.842]
        """
        if ci not in (None, "delta", "bootstrap"):
            raise ValueError(f"ci={ci!r} is not known; use None, 'delta' or 'bootstrap'")
        check_probability(alpha, "alpha")
        slopes, residual = self._variance_slopes()
        share = slopes * self._gamma_of(which)
        fixed = 0.0 if adjusted else self._fixed_variance()

        def ratio(gamma, scale):
            total = fixed + gamma @ slopes + residual * scale
            return (gamma @ share) / total

        gamma = self._gamma()
        estimate = float(ratio(gamma, self.scale))
        if ci is None:
            return estimate
        if ci == "bootstrap":
            return self._bootstrap_interval(ratio, estimate, n, rng, alpha)
        total = fixed + gamma @ slopes + residual * self.scale
        gradient = np.append(share - estimate * slopes, -estimate * residual) / total
        covariance = self._variance_covariance.absolute
        used = gradient != 0  # a NaN variance of what has no effect does not matter
        gradient, covariance = gradient[used], covariance[np.ix_(used, used)]
        se = float(np.sqrt(gradient @ covariance @ gradient))
        margin = stats.norm.ppf(1 - alpha / 2) * se
        ends = np.clip([estimate - margin, estimate + margin], 0.0, 1.0)
        return IntraclassCorrelation(estimate, se, *ends.tolist())

    def _bootstrap_interval(self, ratio, estimate, n, rng, alpha):
        refits = self.simulate_refits(n, rng=rng)
        design, sound = self.engine_fit.design, np.flatnonzero(refits.converged)
        if len(sound) < len(refits):
            warnings.warn(
                f"{len(refits) - len(sound)} of {len(refits)} replicates failed and are "
                "left out of the interval",
                BootstrapWarning,
                stacklevel=user_stacklevel(),
            )
        values = np.array(
            [
                ratio(_gamma(design.structures, design.lams(theta), scale), scale)
                for theta, scale in zip(
                    refits.theta[sound], refits.scale[sound], strict=True
                )
            ]
        )
        lower, upper = limits(values, estimate, 1 - alpha, "percentile")
        se = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        return IntraclassCorrelation(estimate, se, lower, upper)

    def _fixed_variance(self):
        """Variance of the fixed part over the rows, divisor n - 1 as in R."""
        self.model._need_rows()
        mean = self.model.exog @ np.nan_to_num(self.fe_params)
        return float(np.var(mean, ddof=1))

    def _gamma(self):
        fit = self.engine_fit
        return _gamma(fit.design.structures, fit.lams, self.scale)

    def _gamma_of(self, which):
        """1 for each element of gamma that belongs to a grouping factor, else 0."""
        terms = self.engine_fit.design.terms
        groups = list(dict.fromkeys(t.group for t in terms))
        if which is not None and which not in groups:
            raise ValueError(
                f"which={which!r} is not a grouping factor of the model; there are: "
                f"{', '.join(groups)}"
            )
        own = [
            np.full(t.structure.n_gamma, which is None or t.group == which) for t in terms
        ]
        return np.concatenate([np.zeros(0), *own])

    def _variance_slopes(self):
        """Mean over the rows of the random part's variance per unit of each gamma.

        tr(E_r Z'Z) / n, with Z'Z summed over all rows; and of the residual's per unit of
        sigma^2, the mean of 1 / weight.
        """
        model = self.model
        model._need_rows()
        slopes = [np.zeros(0)]
        for term in model.random_terms:
            matrix = getattr(term, "matrix", None)  # a term given by Z itself
            if matrix is None:
                square = term.z.T @ term.z / model.nobs
            else:
                square = np.full((1, 1), matrix.power(2).sum() / model.nobs)
            slopes.append(np.einsum("rab,ab->r", term.structure.covariance_basis, square))
        residual = 1.0 if model.weights is None else float(np.mean(1 / model.weights))
        return np.concatenate(slopes), residual


def _gamma(structures, lams, scale):
    """Elements of the covariances of all terms."""
    parts = [s.gamma(scale * lam @ lam.T) for s, lam in zip(structures, lams, strict=True)]
    return np.concatenate([np.zeros(0), *parts])
