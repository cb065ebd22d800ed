"""What statsmodels' ``summary_col`` shows of a model in bars.

It stacks ``params`` and ``bse`` of each model, with stars by ``pvalues``.  Of a model that
``groups=`` states these are statsmodels' rows.  Of a model in bars variances are wanted as
lme4 shows them: on the scale of the data, and without a test that compares them with zero,
where they have no normal law.  statsmodels has no hook for that, so the function that makes
a column of its table is wrapped; of all other results it does what it did.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from statsmodels.iolib import summary2

from mixedext.fitted import Fitted

__all__ = ["TableColumn", "shows_own_columns"]


class TableColumn:
    """Results as a column of a table shows them; everything else is as in the results.

    Parameters
    ----------
    results : MixedLMResults
        Of a model in bars, or one by ``terms=``.

    Attributes
    ----------
    params, bse, tvalues, pvalues : ndarray
        Of the fixed effects, then variances and covariances on the scale of the data with
        their standard errors; NaN where there is no test.
    """

    def __init__(self, results: Any):
        self._results = results
        k_fe, scale = results.k_fe, results.scale
        self.params = np.array(results.params, float)
        self.bse = np.array(results.bse, float)
        at = slice(k_fe, k_fe + len(results.bse_re))  # a residual covariance has no units
        self.params[at] = results.model.layout.scaled(self.params[at], scale)
        self.bse[at] = results.bse_re
        self.tvalues = np.array(results.tvalues, float)
        self.pvalues = np.array(results.pvalues, float)
        self.tvalues[k_fe:] = self.pvalues[k_fe:] = np.nan

    def __getattr__(self, name: str) -> Any:
        return getattr(self._results, name)

    def conf_int(self, alpha: float = 0.05) -> np.ndarray:
        """Limits of the fixed effects; NaN for the variances."""
        limits = np.array(self._results.conf_int(alpha), float)
        limits[self._results.k_fe :] = np.nan
        return limits


def shows_own_columns(column_of: Callable[..., Any]) -> Callable[..., Any]:
    """Make statsmodels' function show the columns of models in bars as they are meant."""

    @wraps(column_of)
    def own(result: Any, *args: Any, **kwargs: Any) -> Any:
        fitted = getattr(result, "fitted", None)
        if isinstance(fitted, Fitted) and not fitted.model.stated_by_groups:
            result = TableColumn(result)
        return column_of(result, *args, **kwargs)

    own.__dict__["_of_mixedext"] = True
    return own


if not hasattr(summary2._col_params, "_of_mixedext"):
    summary2._col_params = shows_own_columns(summary2._col_params)
