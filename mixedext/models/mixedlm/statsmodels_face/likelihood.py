"""statsmodels' likelihood methods of the model: parameters in and out, no numerics."""

from __future__ import annotations

import warnings

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLMParams
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from mixedext.algebra.definiteness import NEGATIVE, is_singular
from mixedext.engine.deviance.likelihood import IndefiniteError, Likelihood
from mixedext.models.mixedlm.statsmodels_face.distribution import MixedLMDistribution
from mixedext.specification.terms.parameters import Parameters

__all__ = [
    "LikelihoodMethods",
]

_SINGULAR = "Random effects covariance is singular"
_SINGULAR_COV = "The random effects covariance matrix is singular."


class LikelihoodMethods:
    """Log-likelihood and derivatives at any parameters, before or after a fit.

    ``params`` is a statsmodels ``MixedLMParams``, or a packed vector in the model's
    parametrization: with ``use_sqrt`` (the default) the variance parameters are elements of
    the Cholesky factor of cov_re / scale and square roots of vcomp / scale, else they are
    elements of cov_re / scale and vcomp / scale.  The residual variance is always profiled
    out.  Fixed effects that are NaN (columns that were dropped) count as 0.
    """

    _freepat = None
    _cov_sing = 0

    # ---- parameters ----

    def read_params(self, params, has_fe=None) -> Parameters:
        """Fixed effects and packed elements of MixedLMParams or of a packed vector.

        Parameters
        ----------
        params : MixedLMParams or array_like
            See the class.
        has_fe : bool, optional
            Whether a vector begins with fixed effects (they are 0 if not); by its length
            if None.

        Raises
        ------
        ValueError
            If shapes are wrong, or terms that the model has as independent are correlated.
        """
        layout, terms = self.layout, self._design.terms
        if isinstance(params, MixedLMParams):
            packed = layout.pack_parts(terms, params.cov_re, params.vcomp)
            fixed = getattr(params, "fe_params", np.zeros(self.k_fe))
            fixed = np.asarray(fixed, float)
        else:
            vector = np.asarray(params, float)
            count = layout.n_packed
            if has_fe is None:
                has_fe = len(vector) != count
            expected = count + self.k_fe * bool(has_fe)
            if vector.shape != (expected,):
                raise ValueError(
                    f"params must be MixedLMParams or a vector of {count} variance "
                    f"parameters{f' after {self.k_fe} fixed effects' if has_fe else ''}; "
                    f"got shape {vector.shape}"
                )
            fixed, packed = np.split(vector, [expected - count])
            fixed = fixed if has_fe else np.zeros(self.k_fe)
            if self.use_sqrt:
                packed = layout.square(terms, packed)
        if fixed.shape != (self.k_fe,):
            raise ValueError(f"fe_params must have shape {(self.k_fe,)}; got {fixed.shape}")
        return Parameters(fixed, packed)

    def _point(self, packed):
        likelihood = Likelihood(self._design, self.reml)
        return likelihood.at(self.layout.unpack(self._design.terms, packed))

    def _kept(self, fixed):
        """Coefficients of the columns that were kept."""
        fixed = np.nan_to_num(np.asarray(fixed, float))
        kept = self._design.basis.kept
        if len(kept) < self.k_fe:
            dropped = np.delete(np.arange(self.k_fe), kept)
            if fixed[dropped].any():
                raise ValueError(
                    "the coefficients of columns that depend on others must be 0 or NaN: "
                    f"{', '.join(self.exog_names[j] for j in dropped)}"
                )
        return fixed[kept]

    def _expanded(self, kept):
        """Derivatives for all columns: 0 for those dropped, which are held at 0."""
        out = np.zeros(self.k_fe)
        out[self._design.basis.kept] = kept
        return out

    def _is_singular(self, packed, all_terms=True):
        cov_re, vcomp = self.layout.unpack_parts(self._design.terms, packed)
        if all_terms and (vcomp <= 0).any():
            return True
        return is_singular(cov_re, NEGATIVE * len(cov_re))

    # ---- values ----

    def loglike(self, params, profile_fe=True):
        """(Profile) log-likelihood, less the penalties of the last fit.

        Parameters
        ----------
        params : MixedLMParams or array_like
            Parameters; a vector holds the variance parameters only.
        profile_fe : bool, optional
            Whether to replace the fixed effects by their GLS estimates.

        Returns
        -------
        float
            -inf where a covariance is not positive semidefinite.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
        >>> round(model.loglike([1.0]), 4)
        -159.8962
        """
        params = self.read_params(params, False)
        try:
            point = self._point(params.packed)
        except IndefiniteError:
            return -np.inf
        if profile_fe:
            value, fixed = point.log_likelihood(), self._expanded(point.coefficients())
        else:
            fixed = np.nan_to_num(params.fixed)
            value = point.log_likelihood(self._kept(fixed))
        if self.cov_pen is not None and self.k_re > 0:
            value -= self.cov_pen.func(*self._cov_and_inverse(params.packed))
        if self.fe_pen is not None:
            value -= self.fe_pen.func(fixed)
        return float(value)

    def _cov_and_inverse(self, packed):
        return self.layout.cov_re_and_inverse(self._design.terms, packed)

    def get_fe_params(self, cov_re, vcomp, tol=1e-10):
        """Generalized least-squares fixed effects at given covariances.

        Parameters
        ----------
        cov_re : array_like
            Covariance matrix of the random effects, divided by scale.
        vcomp : array_like
            Variance components, divided by scale.
        tol : float, optional
            Eigenvalues and variances below it count as zero.

        Returns
        -------
        params : ndarray
            Fixed effects; 0 for columns that were dropped.
        singular : bool
            Whether some covariance is singular.
        """
        packed = self.layout.pack_parts(self._design.terms, cov_re, vcomp)
        return self._gls(packed, tol)

    def _gls(self, packed, tol=1e-10):
        cov_re, vcomp = self.layout.unpack_parts(self._design.terms, packed)
        singular = bool(len(vcomp) and vcomp.min() < tol)
        if len(cov_re):
            singular |= bool(np.linalg.eigvalsh(cov_re)[0] < tol)
        if not self.k_fe:
            return np.array([]), False
        return self._expanded(self._point(packed).coefficients()), singular

    def get_scale(self, fe_params, cov_re, vcomp):
        """Residual variance at given fixed effects and covariances.

        Parameters
        ----------
        fe_params : array_like
            Fixed effects.
        cov_re : array_like
            Covariance matrix of the random effects, divided by scale.
        vcomp : array_like
            Variance components, divided by scale.

        Returns
        -------
        float
        """
        packed = self.layout.pack_parts(self._design.terms, cov_re, vcomp)
        if self._is_singular(packed, all_terms=False):
            warnings.warn(_SINGULAR_COV, SingularMatrixWarning, stacklevel=2)
        return self._point(packed).scale(self._kept(fe_params))

    # ---- derivatives ----

    def score(self, params, profile_fe=True):
        """Score of the (profile) log-likelihood in the model's parametrization.

        Parameters
        ----------
        params : MixedLMParams or array_like
            Parameters; a vector holds the variance parameters only.
        profile_fe : bool, optional
            Whether to replace the fixed effects by their GLS estimates.

        Returns
        -------
        ndarray
            Variance parameters; after the fixed effects unless ``profile_fe``.

        Raises
        ------
        ValueError
            If a covariance is not positive semidefinite.
        """
        params = self.read_params(params, False)
        if profile_fe:
            fixed, singular = self._gls(params.packed)
            params = Parameters(fixed, params.packed)
            if singular:
                warnings.warn(_SINGULAR, SingularMatrixWarning, stacklevel=2)
        score = self._score_sqrt if self.use_sqrt else self._score_full
        parts = score(params, calc_fe=not profile_fe)
        if self._freepat is not None:
            pattern = self._freepat
            mask = self.layout.pack_parts(self._design.terms, pattern.cov_re, pattern.vcomp)
            mask = np.split(mask, [self.k_re2])
            masks = (np.asarray(pattern.fe_params, float), *mask)
            parts = [p * m for p, m in zip(parts, masks, strict=True)]
        return np.concatenate(parts[1:] if profile_fe else parts)

    def score_full(self, params, calc_fe):
        """Score in the elements of cov_re and vcomp (relative to scale) themselves.

        Parameters
        ----------
        params : MixedLMParams or array_like
            Parameters.
        calc_fe : bool
            Whether the score in the fixed effects is wanted; zeros if not.

        Returns
        -------
        score_fe, score_re, score_vc : ndarray
        """
        return self._score_full(self.read_params(params), calc_fe)

    def _score_full(self, params, calc_fe):
        fixed, packed = params
        score_fe, gamma = self._point(packed).score(self._kept(fixed))
        score_fe = self._expanded(score_fe) if calc_fe else np.zeros(self.k_fe)
        score_re, score_vc = np.split(gamma[self.layout.packed_gamma], [self.k_re2])
        if self.cov_pen is not None and self.k_re > 0:
            score_re = score_re - self._penalty_slope(packed)
        if calc_fe and self.fe_pen is not None:
            score_fe = score_fe - self.fe_pen.deriv(np.nan_to_num(fixed))
        return score_fe, score_re, score_vc

    def _penalty_slope(self, packed):
        """Derivative of the covariance penalty in the packed elements of cov_re."""
        whole = np.zeros((self.k_re, self.k_re))
        lower = np.tril_indices(self.k_re)
        whole[lower] = self.cov_pen.deriv(*self._cov_and_inverse(packed))
        return whole[self.layout.triangle(self._design.terms)]

    def score_sqrt(self, params, calc_fe=True):
        """Score in the Cholesky factor of cov_re and the square roots of vcomp.

        Parameters
        ----------
        params : MixedLMParams or array_like
            Parameters.
        calc_fe : bool, optional
            Whether the score in the fixed effects is wanted; zeros if not.

        Returns
        -------
        score_fe, score_re, score_vc : ndarray
        """
        return self._score_sqrt(self.read_params(params), calc_fe)

    def _score_sqrt(self, params, calc_fe):
        score_fe, score_re, score_vc = self._score_full(params, calc_fe)
        terms = self._design.terms
        root = self.layout.square_root(terms, params.packed)
        jacobian = self.layout.square_jacobian(terms, root)
        score = jacobian.T @ np.concatenate([score_re, score_vc])
        return score_fe, score[: self.k_re2], score[self.k_re2 :]

    def hessian(self, params):
        """Hessian of the log-likelihood in fixed effects and cov_re, vcomp themselves.

        The variance parameters are elements of cov_re and vcomp, relative to scale,
        whatever ``use_sqrt`` says (which only tells how a vector is read).  All terms are
        there, those too that vanish at the estimates; rows of columns that were dropped
        are 0.  Penalties are not part of it.

        Parameters
        ----------
        params : MixedLMParams or array_like
            Parameters; a vector begins with the fixed effects.

        Returns
        -------
        hess : ndarray
            Shape (k_fe + k_re2 + k_vc,) * 2.
        sing : bool
            Whether some covariance is singular; the Hessian is right all the same.

        Raises
        ------
        ValueError
            If a covariance is not positive semidefinite.
        """
        params = self.read_params(params, True)
        own = self._point(params.packed).hessian(self._kept(params.fixed))
        rank = self._design.basis.rank
        from_ = np.concatenate([np.arange(rank), rank + self.layout.packed_gamma])
        to = np.concatenate(
            [self._design.basis.kept, self.k_fe + np.arange(self.layout.n_packed)]
        )
        hess = np.zeros((self.k_fe + self.layout.n_packed,) * 2)
        hess[np.ix_(to, to)] = own[np.ix_(from_, from_)]
        return hess, self._is_singular(params.packed)

    def information(self, params):
        """Observed information: minus the Hessian.

        Parameters
        ----------
        params : MixedLMParams or array_like
            As for ``hessian``.
        """
        return -self.hessian(params)[0]

    # ---- distribution ----

    def get_distribution(self, params, scale, exog):
        """Distribution of the response at given parameters.

        Parameters
        ----------
        params : array_like
            Fixed effects, lower triangle of cov_re by rows and variance components, the
            latter two divided by ``scale``.
        scale : float
            Residual variance.
        exog : array_like or None
            Fixed-effects columns of the model's rows; the model's own if None.

        Returns
        -------
        MixedLMDistribution
            ``rvs(n, rng=)`` draws a response.
        """
        return MixedLMDistribution(self, params, scale, exog)
