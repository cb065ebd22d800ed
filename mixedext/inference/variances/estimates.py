"""The estimated variances and what they are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.fitted import HasFitted

__all__ = ["is_singular", "sigma", "theta_names", "var_corr"]


def sigma(results: HasFitted) -> float:
    """Residual standard deviation."""
    return results.fitted.sigma


def is_singular(results: HasFitted) -> bool:
    """Whether some variance is zero or some correlation +-1."""
    return results.fitted.fit.is_singular


def theta_names(results: HasFitted) -> list[str]:
    """Names of the elements of theta: group, row and column."""
    return [
        f"{term.group}.{name}"
        for term, structure, _ in results.fitted.random.blocks()
        for name in structure.theta_names(term.names)
    ]


def var_corr(results: HasFitted) -> pd.DataFrame:
    """Variances, standard deviations and correlations of the random effects.

    Returns
    -------
    DataFrame
        Columns group, name, variance, sd, corr (with the first effect of the term;
        corr2, corr3 ... with the second, third ..., where a term has as many).  The
        last row is the residual.
    """
    fitted, rows = results.fitted, list[dict[str, Any]]()
    for term, structure, covariance in fitted.random.blocks():
        sd = np.sqrt(np.diag(covariance))
        for a, name in enumerate(term.names):
            row: dict[str, Any] = {"group": term.group, "name": name}
            row |= {"variance": covariance[a, a], "sd": sd[a], "corr": np.nan}
            if structure.correlated:
                for b in range(a):
                    both = sd[a] * sd[b]
                    key = "corr" if b == 0 else f"corr{b + 1}"
                    row[key] = covariance[a, b] / both if both > 0 else np.nan
            rows.append(row)
    residual = {"group": "Residual", "name": "", "variance": fitted.scale}
    rows.append({**residual, "sd": fitted.sigma, "corr": np.nan})
    return pd.DataFrame(rows)
