"""The estimated variances and what they are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.fitted import HasFitted
from mixedext.specification.terms import parameter_names

__all__ = ["is_singular", "sigma", "theta_names", "var_corr"]


def sigma(results: HasFitted) -> float:
    """Residual standard deviation."""
    return results.fitted.sigma


def is_singular(results: HasFitted) -> bool:
    """Whether some variance is zero or some correlation +-1."""
    return results.fitted.fit.is_singular


def theta_names(results: HasFitted) -> list[str]:
    """Names of the elements of theta: group, row and column."""
    return parameter_names.theta_names(results.fitted.random.terms)


def var_corr(results: HasFitted) -> pd.DataFrame:
    """Variances, standard deviations and correlations of the random effects.

    Returns
    -------
    DataFrame
        Columns group, name, variance, sd, corr (with the first effect of the term;
        corr2, corr3 ... with the second, third ..., where a term has as many).  The
        last row is the residual; generalized models have it for Gaussian responses.
    """
    fitted, rows = results.fitted, list[dict[str, Any]]()
    for term, structure, covariance in fitted.random.blocks():
        for effect in structure.report(covariance, term.names):
            row: dict[str, Any] = {"group": term.group, "name": effect.name}
            row |= {"variance": effect.variance, "sd": effect.sd, "corr": np.nan}
            for b, value in enumerate(effect.correlations):
                row["corr" if b == 0 else f"corr{b + 1}"] = value
            rows.append(row)
    if fitted.generalized is not None and not fitted.generalized.has_residual:
        return pd.DataFrame(rows, columns=_columns(rows))
    residual = {"group": "Residual", "name": "", "variance": fitted.scale}
    rows.append({**residual, "sd": fitted.sigma, "corr": np.nan})
    return pd.DataFrame(rows)


def _columns(rows):
    """Columns of ``var_corr``, also of no rows."""
    first = ["group", "name", "variance", "sd", "corr"]
    return first + [c for c in dict.fromkeys(c for r in rows for c in r) if c not in first]
