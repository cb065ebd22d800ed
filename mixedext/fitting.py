"""The part of the model that fits it and evaluates its deviance."""

from __future__ import annotations

import warnings

import numpy as np
from statsmodels.tools.sm_exceptions import ConvergenceWarning, SingularMatrixWarning

from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.engine.refinement import needs_refinement, precision_of, refine_fit
from mixedext.exceptions import DesignError, FlatLikelihoodWarning, PrecisionWarning
from mixedext.fit_arguments import check_fit_arguments
from mixedext.results import MixedLMResults, MixedLMResultsWrapper

__all__ = ["Fitting"]

# Residuals this much smaller than the response leave no residual variance.
_NO_RESIDUAL = 1e-11
_NO_VARIANCE = (
    "the random effects explain the response (endog) exactly: the residual variance is "
    "zero and the likelihood has no maximum. Leave out a term."
)
# Relative disagreement of the residual sum of squares with the rows that is worth a word.
_IMPRECISION = 1e-6
_IMPRECISE = (
    "The penalized residual sum of squares from the cross-products differs from that of "
    "the rows by a relative {:.1e}: digits were lost, because the columns differ greatly "
    "in size or one variance dwarfs the other. Centre or rescale the columns of the random "
    "effects."
)
_UNREFINED = (
    "One variance dwarfs the other, so that the sums over the chunks have lost digits; "
    "with the rows in memory they would be taken once more. Centre or rescale the columns."
)
_SINGULAR = (
    "The random effects covariance matrix is singular: some variance is estimated as "
    "zero or some correlation as +-1. The fit is a valid result (see is_singular and "
    "var_corr)."
)


class Fitting:
    """Fit by likelihood, deviance at any theta, block structure."""

    def fit(
        self,
        start_params=None,
        reml=True,
        niter_sa=0,
        do_cg=True,
        fe_pen=None,
        cov_pen=None,
        free=None,
        full_output=False,
        method=None,
        *,
        df_method=None,
        **fit_kwargs,
    ):
        """Fit by restricted or ordinary maximum likelihood.

        Parameters
        ----------
        start_params : array_like, optional
            Starting relative covariance factors: theta of all terms in lme4's order (the
            lower triangle of each by columns), shape (n_theta,).
        reml : bool, optional
            REML (True) or ML.
        niter_sa : int, optional
            Kept for statsmodels; has no effect.
        do_cg : bool, optional
            If False, nothing is optimized: the results are those at the start.
        fe_pen, cov_pen, free
            Penalties and masks of statsmodels; not supported.
        full_output : bool, optional
            Kept for statsmodels; ``fit_log`` is always there.
        method : str or list of str, optional
            Kept for statsmodels: whatever the name, the engine's trust-region Newton
            is used.
        df_method : {None, "residual"}, optional
            Degrees of freedom of tests on fixed effects: None for z, "residual" for
            t with n - rank(X).
        **fit_kwargs
            ``maxiter``: Newton iterations; other optimizer options are accepted and
            ignored.

        Returns
        -------
        MixedLMResultsWrapper

        Warns
        -----
        SingularMatrixWarning
            If some variance is zero or some correlation +-1; a legitimate result.
        ConvergenceWarning
            If neither Newton nor the fallback ends at a minimum.
        FlatLikelihoodWarning
            If the data do not determine all variances and covariances.
        PrecisionWarning
            If the cross-products have lost digits.
        """
        if not self.has_rows and self.source is None:
            self._need_rows()
        penalties = {"fe_pen": fe_pen, "cov_pen": cov_pen, "free": free}
        check_fit_arguments(reml, penalties, method, df_method, fit_kwargs)
        start = (
            None
            if start_params is None
            else self._check_theta(start_params, "start_params")
        )
        self.reml = bool(reml)
        within = self._design.blocks.within
        if within is not None and within.explained:
            raise DesignError(_NO_VARIANCE)
        if do_cg:
            fit = fit_design(
                self._design, self.reml, start, max_iterations=fit_kwargs.get("maxiter")
            )
        else:
            fit = evaluate_design(self._design, self.reml, start)
        lost = needs_refinement(fit)
        if lost and not self.has_rows:
            warnings.warn(_UNREFINED, PrecisionWarning, stacklevel=2)
            lost = False
        if lost:
            fit = refine_fit(
                fit, self._response(), self.exog, self.random_terms, self.weights
            )
        results = MixedLMResults(self, fit, df_method=df_method)
        if lost:  # only then can the sums have gone wrong, or nothing be left of y
            self._check_residual(results.wresid)
            error = precision_of(fit, results.resid, self.weights)
            if error > _IMPRECISION:
                warnings.warn(_IMPRECISE.format(error), PrecisionWarning, stacklevel=2)
        if do_cg:
            if not fit.convergence.converged:
                warnings.warn(
                    f"MixedLM did not converge: {fit.convergence.message}",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            elif fit.is_singular:
                warnings.warn(_SINGULAR, SingularMatrixWarning, stacklevel=2)
            elif fit.convergence.status == "flat":
                warnings.warn(fit.convergence.message, FlatLikelihoodWarning, stacklevel=2)
        return MixedLMResultsWrapper(results)

    def _response(self):
        return self.endog if self.offset is None else self.endog - self.offset

    def _check_residual(self, residual):
        size = np.sqrt(np.mean(residual**2))
        if self.random_terms and size < _NO_RESIDUAL * self._design.y_scale:
            raise DesignError(_NO_VARIANCE)

    def _check_theta(self, values, what):
        n_theta = sum(s.n_theta for s in self._design.structures)
        theta = np.asarray(values, float)
        if theta.shape != (n_theta,) or not np.isfinite(theta).all():
            raise ValueError(
                f"{what} must hold {n_theta} finite numbers, the theta of all random "
                f"terms; got shape {theta.shape}"
            )
        return theta

    def objective(self, theta, reml=True):
        """Profiled deviance and its gradient at any theta.

        Parameters
        ----------
        theta : array_like
            Relative covariance factors of all terms, shape (n_theta,).
        reml : bool, optional
            Restricted or ordinary deviance.

        Returns
        -------
        deviance : float
            -2 (restricted) log-likelihood, maximized over beta and sigma.
        gradient : ndarray
            Its derivative in theta.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
        >>> deviance, gradient = model.objective([1.0])
        >>> round(deviance, 4), gradient.shape
        (319.7924, (1,))
        """
        if not isinstance(reml, bool | np.bool_):
            raise ValueError(f"reml={reml!r}; use True (REML) or False (ML)")
        theta = self._check_theta(theta, "theta")
        objective = self._design.objective(reml)
        inner = self._design.inner_theta(theta)
        deviance = objective.value(inner)
        if not np.isfinite(deviance):  # rounding has made the factorization fail
            return float("inf"), np.full(len(inner), np.nan)
        deviance += self._design.deviance_shift(reml, objective.dof)
        if not len(inner):
            return float(deviance), inner
        scores = objective.derivatives(inner).scores
        return float(deviance), self._design.gradient(scores, theta)

    def describe_blocks(self) -> str:
        """The block structure that a fit works on, and its memory, as text."""
        return self._design.describe()
