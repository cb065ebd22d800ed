"""The covariance of the parameters: by the model, its whole Hessian, or by clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg
from statsmodels.tools.tools import nan_dot

from mixedext.fitted import Fitted, HasFitted, once, once_a_fit
from mixedext.inference.fixed_effects.df_methods import KENWARD_ROGER, tests_of
from mixedext.inference.variances.observed_covariance import (
    covariance_of_variances,
    fixed_covariance,
    observed_covariance,
)
from mixedext.inference.variances.residual_parameters import packed_residual, propagated

__all__ = [
    "NormalizedCovariance",
    "bse",
    "bse_fe",
    "bse_re",
    "bse_scale",
    "cov_params",
    "fixed_effects_covariance",
    "kept_inner",
    "packed_covariance",
    "packed_params",
]


# ---- of a fit ----


@once_a_fit
def _observed(fitted: Fitted) -> np.ndarray:
    """Inverse of the whole observed information, coefficients kept and variances."""
    held = fitted.fit.held
    if held is not None:
        return held.observed
    return observed_covariance(fitted.fit, covariance_of_variances(fitted).relative)


# ---- by the estimator chosen ----


def kept_inner(fitted: Fitted) -> np.ndarray:
    """The covariance chosen, in the coordinates of ``FixedTests``."""
    cluster = fitted.settings.cluster
    if cluster is not None and fitted.fit.held is not None:
        return cluster.root @ cluster.inner @ cluster.root.T
    if cluster is not None:
        return cluster.inner
    if fitted.fit.held is not None:
        return _kept_covariance(fitted)
    return fixed_covariance(fitted.fit, covariance_of_variances(fitted).relative)


def _kept_covariance(fitted: Fitted) -> np.ndarray:
    """Covariance of the coefficients that were kept."""
    if fitted.settings.cluster is not None:
        return fitted.settings.cluster.covariance
    if fitted.settings.estimator == "oim":
        rank = fitted.fixed.rank
        return _observed(fitted)[:rank, :rank]
    # Kenward and Roger's tests have a covariance of their own
    if fitted.settings.df_method in KENWARD_ROGER:
        return tests_of(fitted, fitted.settings.choice).covariance
    return fitted.fit.covariance


@once_a_fit
def packed_params(fitted: Fitted) -> np.ndarray:
    """``params``: fixed effects, then packed variance parameters over ``scale``.

    Parameters of a residual covariance stand last.  Of a generalized model nothing is
    divided by ``scale``, and the dispersion stands last.
    """
    if fitted.generalized is not None:
        return fitted.generalized.packed_params
    relative = [lam @ lam.T for lam in fitted.fit.lams]
    packed = fitted.model.layout.pack(fitted.random.terms, relative)
    return np.concatenate([fitted.fixed.estimate, packed, packed_residual(fitted).values])


@once
def fixed_effects_covariance(fitted: Fitted) -> np.ndarray:
    """Covariance of all fixed-effects columns; NaN for those dropped."""
    return fitted.fixed.full_square(_kept_covariance(fitted))


@once
def packed_covariance(fitted: Fitted) -> np.ndarray:
    """Covariance of ``params``: fixed effects, packed variances, residual covariance."""
    if fitted.generalized is not None:
        return _generalized_covariance(fitted)
    k_fe, n_params = fitted.model.k_fe, len(packed_params(fitted))
    if fitted.settings.estimator == "oim":
        fixed = fitted.fixed
        covariance = np.full((n_params, n_params), np.nan)
        to = np.append(fixed.kept, np.arange(k_fe, n_params))
        covariance[np.ix_(to, to)] = _as_packed(fitted, _observed(fitted), fixed.rank)
        return covariance
    covariance = np.zeros((n_params, n_params))
    covariance[:k_fe, :k_fe] = fixed_effects_covariance(fitted)
    if n_params > k_fe:
        relative = covariance_of_variances(fitted).relative
        covariance[k_fe:, k_fe:] = _as_packed(fitted, relative, 0)
    return covariance


def _generalized_covariance(fitted: Fitted) -> np.ndarray:
    """That of a generalized model; NaN of coefficients that one cluster alone tells."""
    covariance = fitted.generalized.packed_covariance
    cluster = fitted.settings.cluster
    if cluster is None:
        return covariance
    unknown = fitted.fixed.kept[cluster.told.concerns(np.eye(fitted.fixed.rank))]
    covariance[unknown] = covariance[:, unknown] = np.nan
    return covariance


def _as_packed(fitted: Fitted, covariance: np.ndarray, first: int) -> np.ndarray:
    """Covariance of ``params`` from that of (coefficients, gamma / sigma^2, psi).

    ``first`` is the number of coefficients.
    """
    packed, order = packed_residual(fitted), fitted.model.layout.packed_gamma
    known = np.append(np.arange(first), first + order)
    if not len(packed.own):
        return covariance[np.ix_(known, known)]
    own = np.concatenate([known, first + len(order) + packed.own])
    slopes = linalg.block_diag(np.eye(first + len(order))[known], packed.slopes)
    return propagated(slopes, covariance, own)


# ---- of the results ----


class NormalizedCovariance:
    """The attribute ``normalized_cov_params``: the covariance divided by ``scale``.

    statsmodels' base class assigns None to it; the matrix is computed on demand.
    """

    def __get__(self, results: Any, owner: type | None = None) -> Any:
        if results is None:
            return self
        return packed_covariance(results.fitted) / results.fitted.scale

    def __set__(self, results: Any, value: Any) -> None:
        if value is not None:
            raise AttributeError("normalized_cov_params is computed, not set")


def cov_params(
    results: HasFitted,
    r_matrix: Any = None,
    column: Any = None,
    scale: float | None = None,
    cov_p: np.ndarray | None = None,
    other: Any = None,
) -> np.ndarray:
    """Covariance matrix of the parameters, or of linear combinations of them.

    By default the block of the fixed effects is sigma^2 (X'V0^-1 X)^-1 (GLS), after
    ``fit(df_method="kenward-roger")`` the adjusted one, or the robust one; that of the
    variance parameters (divided by scale) comes from the observed information, and so
    does that of a residual covariance; with ``cov_type="oim"`` all is from one Hessian.

    Parameters
    ----------
    r_matrix, other : array_like, optional
        Combinations: r_matrix cov other', with other = r_matrix if None.
    column : array_like, optional
        Rows and columns to pick.
    scale : float, optional
        Residual variance to use in place of the estimate.
    cov_p : ndarray, optional
        Covariance of the parameters to use in place of the estimate.

    Returns
    -------
    ndarray
        A DataFrame where labels are attached.

    Raises
    ------
    ValueError
        If ``column`` or ``other`` is combined with what it does not go with.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> round(float(result.cov_params().loc["Days", "Days"]) ** 0.5, 4)
    1.5458
    """
    fitted = results.fitted
    if cov_p is None:
        cov_p = packed_covariance(fitted)
        if scale is not None:
            cov_p = cov_p / fitted.scale * scale
    if column is not None:
        if r_matrix is not None or other is not None:
            raise ValueError("Column should be specified without other arguments.")
        column = np.asarray(column)
        if column.ndim == 0:
            return cov_p[column, column]
        return cov_p[column[:, None], column]
    if r_matrix is None:
        if other is not None:
            raise ValueError("other can only be specified with r_matrix")
        return cov_p
    if isinstance(r_matrix, str):
        raise ValueError(
            f"r_matrix={r_matrix!r} must hold numbers; cov_params_kr is Kenward and "
            "Roger's covariance, t_test takes hypotheses in words"
        )
    r_matrix = np.asarray(r_matrix, float)
    other = r_matrix if other is None else np.asarray(other, float)
    return nan_dot(r_matrix, nan_dot(cov_p, other.T))


def bse(results: HasFitted) -> np.ndarray:
    """Standard errors of ``params``; NaN where dropped or on the boundary."""
    with np.errstate(invalid="ignore"):  # not at a maximum, or a saddle: NaN
        return np.sqrt(np.diag(packed_covariance(results.fitted)))


def bse_fe(results: HasFitted) -> np.ndarray:
    """Standard errors of the fixed effects; NaN for columns that were dropped."""
    with np.errstate(invalid="ignore"):  # an adjusted variance may not be positive: NaN
        return np.sqrt(np.diag(fixed_effects_covariance(results.fitted)))


def bse_re(results: HasFitted) -> np.ndarray:
    """Standard errors of the variance parameters, on the data's scale.

    From the observed information, in the order of the packed parameters (those of a
    residual covariance are in ``bse`` and in ``residual``).  NaN for
    terms on the boundary (a variance of zero, a correlation of +-1), where there is
    no such error, and for what the data do not determine (``convergence.is_flat``).
    """
    fitted = results.fitted
    if fitted.generalized is not None:
        first = len(fitted.fixed.names)
        return bse(fitted)[first:][: fitted.model.layout.n_packed]
    errors = covariance_of_variances(fitted).errors
    return errors[fitted.model.layout.packed_gamma]


def bse_scale(results: HasFitted) -> float:
    """Standard error of the residual variance, from the observed information."""
    return float(covariance_of_variances(results.fitted).errors[-1])
