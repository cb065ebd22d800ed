"""Draws of the response from a mixed model at given parameters, as statsmodels has them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from statsmodels.tools.rng_qrng import check_random_state
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from mixedext.fitted import need_rows
from mixedext.specification.terms.structured import refuse_structured

__all__ = ["MixedLMDistribution"]

_INDEFINITE = (
    "params: cov_re is not positive semidefinite, or a variance component is negative; the "
    "nearest covariance that is takes its place"
)


class MixedLMDistribution:
    """Distribution of the response of a model; ``rvs`` draws from it.

    Parameters
    ----------
    model : MixedLM
        The model; its rows must be in memory.
    params : array_like
        Fixed effects, lower triangle of cov_re by rows and variance components, the latter
        two divided by ``scale``.
    scale : float
        Residual variance.
    exog : array_like or None
        Fixed-effects columns of the model's rows; the model's own if None.

    Raises
    ------
    ValueError
        If a shape is wrong, or a value is not finite.

    Warns
    -----
    SingularMatrixWarning
        If a covariance is not positive semidefinite, as where parameters are drawn from
        their normal approximation; the nearest one that is takes its place.
    """

    def __init__(self, model: Any, params: Any, scale: float, exog: Any):
        need_rows(model)
        layout, terms = model.layout, model.random_terms
        params = np.asarray(params, float)
        expected = model.k_fe + layout.n_packed
        if params.shape != (expected,):
            raise ValueError(
                f"params must hold {model.k_fe} fixed effects and {layout.n_packed} "
                f"variance parameters; got shape {params.shape}"
            )
        if not (np.isfinite(scale) and scale >= 0):
            raise ValueError(f"scale={scale!r} must be a variance, finite and 0 or more")
        exog = model.exog if exog is None else np.asarray(exog, float)
        if exog.shape != model.exog.shape:
            raise ValueError(
                f"exog must have the shape of the model's, {model.exog.shape}; "
                f"got {exog.shape}"
            )
        self.model, self.exog, self.scale = model, exog, float(scale)
        self.fe_params, packed = params[: model.k_fe], params[model.k_fe :]
        packed, unchanged = layout.nearest(terms, packed)
        if not unchanged:
            warnings.warn(_INDEFINITE, SingularMatrixWarning, stacklevel=3)
        cov_re, vcomp = layout.unpack_parts(terms, packed)
        self.cov_re, self.vcomp = scale * cov_re, scale * vcomp
        roots = layout.square_root(terms, packed) * np.sqrt(scale)
        self._lower = layout.unpack_parts(terms, roots)[0]
        self._lower = np.tril(self._lower)

    def rvs(
        self, n: int | None = None, rng: Any = None, *, random_state: Any = None
    ) -> np.ndarray:
        """Draw one response.

        The normal numbers are drawn in statsmodels' order: the correlated effects of all
        groups, then component by component, then the residuals.

        Parameters
        ----------
        n : int, optional
            Not used; the draw has the rows of the model.
        rng : int, array_like of int, Generator or RandomState, optional
            Source of random numbers, or a seed.
        random_state : optional
            Older name of ``rng``.

        Returns
        -------
        ndarray
            Shape (nobs,).
        """
        model = self.model
        rng = check_random_state(random_state if rng is None else rng)
        terms = model.random_terms
        refuse_structured(terms, "get_distribution()", "results.simulate() is")
        effects = [np.zeros((t.n_levels, t.k)) for t in terms]
        start = 0
        for i in model.layout.correlated:
            at = slice(start, start + terms[i].k)
            draws = rng.normal(size=effects[i].shape)
            effects[i] = draws @ self._lower[at, at].T
            start = at.stop
        own = dict(zip(model.components, model.component_columns, strict=True))
        for component, variance in zip(model.layout.components, self.vcomp, strict=True):
            if component.term in own:
                draws = own[component.term].draw(rng, effects[component.term].shape)
                effects[component.term] = np.sqrt(variance) * draws
                continue
            basis = terms[component.term].structure.covariance_basis[component.gamma]
            columns = np.flatnonzero(np.diag(basis))
            draws = rng.normal(size=(len(effects[component.term]), len(columns)))
            effects[component.term][:, columns] += np.sqrt(variance) * draws
        noise = np.sqrt(self.scale) * rng.normal(size=model.nobs)
        if model.weights is not None:
            noise = noise / np.sqrt(model.weights)
        mean = need_rows(model).mean(np.zeros(model.k_fe), effects)
        return mean + self.exog @ np.nan_to_num(self.fe_params) + noise
