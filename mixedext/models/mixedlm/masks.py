"""Fits of a model with masks and penalties, from statsmodels' arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLMParams

from mixedext.engine.constrained.fit import fit_constrained
from mixedext.engine.constrained.objective import Penalties
from mixedext.engine.fit import Fit
from mixedext.engine.rows.rows import Rows
from mixedext.fitted import has_rows
from mixedext.models.mixedlm.statsmodels_face.likelihood import kept_coefficients
from mixedext.specification.terms.parameters import Parameters

__all__ = ["masked_fit", "read_mask", "response_of"]


def read_mask(model: Any, free: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which coefficients of the columns kept, and which variance parameters, are free.

    Parameters
    ----------
    model : MixedLM
        The model.
    free : MixedLMParams or None
        1 where a parameter is free and 0 where it is held; None for all free.

    Raises
    ------
    ValueError
        If it is no mask of the model's parameters.
    """
    if free is None:
        return np.ones(model._design.basis.rank, bool), np.ones(model.layout.n_packed, bool)
    if not isinstance(free, MixedLMParams):
        raise ValueError(
            f"free must be MixedLMParams that hold 1 where a parameter is free and 0 where "
            f"it is held, or None; got {type(free).__name__}"
        )
    cov_re = np.asarray(free.cov_re, float)
    triangle = model.layout.triangle(model._design.terms)
    if cov_re.shape == (model.k_re, model.k_re):  # only the blocks of terms count
        only = np.zeros_like(cov_re)
        only[triangle] = only[triangle[::-1]] = cov_re[triangle]
        cov_re = only
    packed = model.layout.pack_parts(model._design.terms, cov_re, free.vcomp)
    fixed = np.asarray(free.fe_params, float)
    if fixed.shape != (model.k_fe,):
        raise ValueError(
            f"free.fe_params must have shape {(model.k_fe,)}; got {fixed.shape}"
        )
    if not np.isin(np.concatenate([fixed, packed]), (0, 1)).all():
        raise ValueError("free must hold only 1 (free) and 0 (held)")
    return fixed[model._design.basis.kept] == 1, packed == 1


def masked_fit(
    model: Any,
    reml: bool,
    start: Parameters | None,
    free: Any,
    penalties: Penalties,
    max_iterations: int | None,
    optimize: bool,
) -> Fit:
    """Fit of a model of which some parameters are held, or which is penalized.

    Parameters
    ----------
    model : MixedLM
        The model.
    reml : bool
        Criterion.
    start : Parameters or None
        Where to start, and the values of what is held; statsmodels' start if None.
    free : MixedLMParams or None
        Mask.
    penalties : Penalties
        What is subtracted.
    max_iterations : int or None
        Newton steps.
    optimize : bool
        If False, the fit is that at the start.
    """
    mask, rows = read_mask(model, free), None
    if start is not None:
        start = Parameters(kept_coefficients(model, start.fixed), start.packed)
    if free is not None and has_rows(model):
        rows = Rows(response_of(model), model.exog, model.random_terms, model.weights)
    return fit_constrained(
        model._design,
        reml,
        model.layout,
        mask,
        penalties,
        start,
        use_sqrt=model.use_sqrt,
        k_fe=model.k_fe,
        rows=rows,
        max_iterations=max_iterations,
        optimize=optimize,
    )


def response_of(model: Any) -> np.ndarray:
    return model.endog if model.offset is None else model.endog - model.offset
