"""statsmodels' likelihood methods of the model: parameters in and out, no numerics.

``params`` is a statsmodels ``MixedLMParams``, or a packed vector in the model's
parametrization: with ``use_sqrt`` (the default) the variance parameters are elements of
the Cholesky factor of cov_re / scale and square roots of vcomp / scale, else they are
elements of cov_re / scale and vcomp / scale.  The residual variance is always profiled
out.  Fixed effects that are NaN (columns that were dropped) count as 0.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLMParams
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from mixedext.algebra.definiteness import is_singular
from mixedext.engine.deviance.given_covariances import IndefiniteError, Likelihood
from mixedext.limits import NEGATIVE_EIGENVALUE
from mixedext.models.mixedlm.statsmodels_face.distribution import MixedLMDistribution
from mixedext.specification.covariance.bound_residual import refuse_residual
from mixedext.specification.covariance.term_structure import OutOfRangeError
from mixedext.specification.terms.parameters import Parameters

__all__ = [
    "OfLastFit",
    "get_distribution",
    "get_fe_params",
    "get_scale",
    "hessian",
    "information",
    "kept_coefficients",
    "loglike",
    "read_params",
    "score",
    "score_full",
    "score_sqrt",
]

_SINGULAR = "Random effects covariance is singular"
_SINGULAR_COV = "The random effects covariance matrix is singular."


def read_params(model: Any, params: Any, has_fe: bool | None = None) -> Parameters:
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
    layout, terms = model.layout, model._design.terms
    if isinstance(params, MixedLMParams):
        packed = layout.pack_parts(terms, params.cov_re, params.vcomp)
        fixed = getattr(params, "fe_params", np.zeros(model.k_fe))
        fixed = np.asarray(fixed, float)
    else:
        vector = np.asarray(params, float)
        count = layout.n_packed
        if has_fe is None:
            has_fe = len(vector) != count
        expected = count + model.k_fe * bool(has_fe)
        if vector.shape != (expected,):
            raise ValueError(
                f"params must be MixedLMParams or a vector of {count} variance "
                f"parameters{f' after {model.k_fe} fixed effects' if has_fe else ''}; "
                f"got shape {vector.shape}"
            )
        fixed, packed = np.split(vector, [expected - count])
        fixed = fixed if has_fe else np.zeros(model.k_fe)
        if model.use_sqrt:
            packed = layout.square(terms, packed)
    if fixed.shape != (model.k_fe,):
        raise ValueError(f"fe_params must have shape {(model.k_fe,)}; got {fixed.shape}")
    return Parameters(fixed, packed)


def _point(model, packed):
    what = "the likelihood at given parameters (loglike, score, hessian)"
    refuse_residual(model, what, "results.llf is the log-likelihood at the estimates")
    likelihood = Likelihood(model._design, model.reml)
    try:
        covariances = model.layout.unpack(model._design.terms, packed)
    except OutOfRangeError as error:
        raise IndefiniteError(str(error)) from None
    return likelihood.at(covariances)


def kept_coefficients(model: Any, fixed: Any) -> np.ndarray:
    """Coefficients of the columns that were kept."""
    fixed = np.nan_to_num(np.asarray(fixed, float))
    kept = model._design.basis.kept
    if len(kept) < model.k_fe:
        dropped = np.delete(np.arange(model.k_fe), kept)
        if fixed[dropped].any():
            raise ValueError(
                "the coefficients of columns that depend on others must be 0 or NaN: "
                f"{', '.join(model.exog_names[j] for j in dropped)}"
            )
    return fixed[kept]


def _expanded(model, kept):
    """Derivatives for all columns: 0 for those dropped, which are held at 0."""
    out = np.zeros(model.k_fe)
    out[model._design.basis.kept] = kept
    return out


def _is_singular(model, packed, all_terms=True):
    cov_re, vcomp = model.layout.unpack_parts(model._design.terms, packed)
    if all_terms and (vcomp[model.layout.are_variances] <= 0).any():
        return True
    return is_singular(cov_re, NEGATIVE_EIGENVALUE * len(cov_re))


def loglike(model: Any, params: Any, profile_fe: bool = True) -> float:
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
    params = read_params(model, params, False)
    try:
        point = _point(model, params.packed)
    except IndefiniteError:
        return -np.inf
    if profile_fe:
        value, fixed = point.log_likelihood(), _expanded(model, point.coefficients())
    else:
        fixed = np.nan_to_num(params.fixed)
        value = point.log_likelihood(kept_coefficients(model, fixed))
    if model.cov_pen is not None and model.k_re > 0:
        value -= model.cov_pen.func(*_cov_and_inverse(model, params.packed))
    if model.fe_pen is not None:
        value -= model.fe_pen.func(fixed)
    return float(value)


def _cov_and_inverse(model, packed):
    return model.layout.cov_re_and_inverse(model._design.terms, packed)


def get_fe_params(
    model: Any, cov_re: Any, vcomp: Any, tol: float = 1e-10
) -> tuple[np.ndarray, bool]:
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
    packed = model.layout.pack_parts(model._design.terms, cov_re, vcomp)
    return _gls(model, packed, tol)


def _gls(model, packed, tol=1e-10):
    cov_re, vcomp = model.layout.unpack_parts(model._design.terms, packed)
    singular = bool(len(vcomp) and vcomp.min() < tol)
    if len(cov_re):
        singular |= bool(np.linalg.eigvalsh(cov_re)[0] < tol)
    if not model.k_fe:
        return np.array([]), False
    return _expanded(model, _point(model, packed).coefficients()), singular


def get_scale(model: Any, fe_params: Any, cov_re: Any, vcomp: Any) -> float:
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
    packed = model.layout.pack_parts(model._design.terms, cov_re, vcomp)
    if _is_singular(model, packed, all_terms=False):
        warnings.warn(_SINGULAR_COV, SingularMatrixWarning, stacklevel=2)
    return _point(model, packed).scale(kept_coefficients(model, fe_params))


def score(model: Any, params: Any, profile_fe: bool = True) -> np.ndarray:
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
    params = read_params(model, params, False)
    if profile_fe:
        fixed, singular = _gls(model, params.packed)
        params = Parameters(fixed, params.packed)
        if singular:
            warnings.warn(_SINGULAR, SingularMatrixWarning, stacklevel=2)
    score = _score_sqrt if model.use_sqrt else _score_full
    parts = score(model, params, calc_fe=not profile_fe)
    if model._freepat is not None:
        pattern = model._freepat
        mask = model.layout.pack_parts(model._design.terms, pattern.cov_re, pattern.vcomp)
        mask = np.split(mask, [model.k_re2])
        masks = (np.asarray(pattern.fe_params, float), *mask)
        parts = [p * m for p, m in zip(parts, masks, strict=True)]
    return np.concatenate(parts[1:] if profile_fe else parts)


def score_full(
    model: Any, params: Any, calc_fe: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    return _score_full(model, read_params(model, params), calc_fe)


def _score_full(model, params, calc_fe):
    fixed, packed = params
    score_fe, gamma = _point(model, packed).score(kept_coefficients(model, fixed))
    score_fe = _expanded(model, score_fe) if calc_fe else np.zeros(model.k_fe)
    score_re, score_vc = np.split(gamma[model.layout.packed_gamma], [model.k_re2])
    if model.cov_pen is not None and model.k_re > 0:
        score_re = score_re - _penalty_slope(model, packed)
    if calc_fe and model.fe_pen is not None:
        score_fe = score_fe - model.fe_pen.deriv(np.nan_to_num(fixed))
    return score_fe, score_re, score_vc


def _penalty_slope(model, packed):
    """Derivative of the covariance penalty in the packed elements of cov_re."""
    whole = np.zeros((model.k_re, model.k_re))
    lower = np.tril_indices(model.k_re)
    whole[lower] = model.cov_pen.deriv(*_cov_and_inverse(model, packed))
    return whole[model.layout.triangle(model._design.terms)]


def score_sqrt(
    model: Any, params: Any, calc_fe: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    return _score_sqrt(model, read_params(model, params), calc_fe)


def _score_sqrt(model, params, calc_fe):
    score_fe, score_re, score_vc = _score_full(model, params, calc_fe)
    terms = model._design.terms
    root = model.layout.square_root(terms, params.packed)
    jacobian = model.layout.square_jacobian(terms, root)
    score = jacobian.T @ np.concatenate([score_re, score_vc])
    return score_fe, score[: model.k_re2], score[model.k_re2 :]


def hessian(model: Any, params: Any) -> tuple[np.ndarray, bool]:
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
    params = read_params(model, params, True)
    own = _point(model, params.packed).hessian(kept_coefficients(model, params.fixed))
    rank = model._design.basis.rank
    from_ = np.concatenate([np.arange(rank), rank + model.layout.packed_gamma])
    to = np.concatenate(
        [model._design.basis.kept, model.k_fe + np.arange(model.layout.n_packed)]
    )
    hess = np.zeros((model.k_fe + model.layout.n_packed,) * 2)
    hess[np.ix_(to, to)] = own[np.ix_(from_, from_)]
    return hess, _is_singular(model, params.packed)


def information(model: Any, params: Any) -> np.ndarray:
    """Observed information: minus the Hessian.

    Parameters
    ----------
    params : MixedLMParams or array_like
        As for ``hessian``.
    """
    return -model.hessian(params)[0]


def get_distribution(
    model: Any, params: Any, scale: float, exog: Any
) -> MixedLMDistribution:
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
    refuse_residual(model, "get_distribution", "results.simulate draws responses")
    return MixedLMDistribution(model, params, scale, exog)


# ---- the last fit ----


class OfLastFit:
    """An attribute of statsmodels' models that is a field of ``model._last_fit``.

    Parameters
    ----------
    field : str
        Field of ``LastFit``.
    """

    def __init__(self, field: str):
        self.field = field

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        return self if model is None else getattr(model._last_fit, self.field)

    def __set__(self, model: Any, value: Any) -> None:
        # statsmodels' users may choose the criterion before they ask for the likelihood
        model._last_fit = model._last_fit._replace(**{self.field: value})
