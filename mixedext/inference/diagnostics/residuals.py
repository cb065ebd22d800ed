"""Residuals of the rows."""

from __future__ import annotations

import numpy as np

from mixedext.fitted import Fitted, HasFitted, once_a_fit
from mixedext.inference.prediction.predictions import fittedvalues

__all__ = ["resid", "resid_pearson", "residual_quantiles", "wresid"]


def resid(results: HasFitted) -> np.ndarray:
    """Response less fitted values."""
    return results.fitted.need_rows().endog - fittedvalues(results)


def wresid(results: HasFitted) -> np.ndarray:
    """Residuals times the square root of the weights: lme4's Pearson residuals."""
    weights, residual = results.fitted.need_rows().weights, resid(results)
    return residual if weights is None else np.sqrt(weights) * residual


def resid_pearson(results: HasFitted) -> np.ndarray:
    """Scaled residuals: ``wresid`` divided by sigma."""
    return wresid(results) / results.fitted.sigma


@once_a_fit
def residual_quantiles(fitted: Fitted) -> np.ndarray:
    """Least, quartiles and greatest of the scaled residuals, (5,)."""
    return np.quantile(resid_pearson(fitted), [0, 0.25, 0.5, 0.75, 1])
