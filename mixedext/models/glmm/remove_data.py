"""What is kept of the results of a generalized model when the rows are removed."""

from __future__ import annotations

from typing import Any

from statsmodels.base.model import LikelihoodModelResults

from mixedext.fitted import Fitted, has_rows
from mixedext.inference.means.estimated_means import keep_grid
from mixedext.inference.prediction.fixed_rows import refuse_whole_columns, response_fault
from mixedext.inference.prediction.new_rows import keep_term_faults
from mixedext.models.glmm.rows import pearson_chi2
from mixedext.models.mixedlm.statsmodels_face.groups_view import forget_groups

__all__ = ["remove_data"]


def remove_data(results: Any) -> None:
    """Remove what has the length of the data from the results and the model.

    A summary, the random effects with their covariances, estimated means, predictions of
    new data and all tests that need no refit stay; residuals need the rows.
    """
    fitted, model = results.fitted, results.model
    if has_rows(model):  # a summary needs them
        fitted._of_fit["pearson_chi2"] = pearson_chi2(fitted)
        _ = model.group_sizes, model.endog_names
        keep_grid(fitted)
        if getattr(model, "fixed_formula", None) is not None:
            refuse_whole_columns(model, refuse=False)
            response_fault(model)
            keep_term_faults(model)
    own = fitted.generalized.without_rows()
    kept = Fitted(own, model, fitted.settings, fitted.arguments, fitted._of_fit)
    results.fitted = kept
    for name in ("fittedvalues", "resid_response", "resid_pearson"):
        vars(results).pop(name, None)
    for name in ("resid_working", "resid_deviance"):
        vars(results).pop(name, None)
    LikelihoodModelResults.remove_data(results)
    vars(model.data).get("_cache", {}).pop("row_labels", None)
    model._engine_rows = None
    forget_groups(model)
