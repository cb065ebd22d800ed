"""What is kept of results when the rows of the data are removed."""

from __future__ import annotations

from typing import Any

from statsmodels.base.model import LikelihoodModelResults

from mixedext.fitted import has_rows
from mixedext.inference.diagnostics.residuals import residual_quantiles
from mixedext.inference.means.estimated_means import keep_grid
from mixedext.inference.prediction.fixed_rows import refuse_whole_columns, response_fault
from mixedext.inference.prediction.new_rows import keep_term_faults
from mixedext.inference.prediction.residual_places import keep_recipe
from mixedext.inference.random_effects.by_group import keep_grams
from mixedext.inference.variances.residual_covariance import forget_residual_rows
from mixedext.models.mixedlm.statsmodels_face.groups_view import forget_groups

__all__ = ["remove_data"]


def remove_data(results: Any) -> None:
    """Remove what has the length of the data from the results and the model.

    A summary, the random effects, estimated means and all tests that need no refit stay,
    and of a residual covariance its parameters and the matrices of the visits.  Where its
    groups share no patterns, tests keep their rows.
    """
    fitted, model = results.fitted, results.model
    if has_rows(model):  # a summary needs them
        _ = residual_quantiles(fitted), results.group_sizes, model.endog_names
        keep_grid(fitted)
        keep_recipe(fitted)
        if getattr(model, "fixed_formula", None) is not None:
            refuse_whole_columns(model, refuse=False)
            response_fault(model)
            keep_term_faults(model)
    for name in ("fittedvalues", "resid"):
        vars(results).pop(name, None)
    for kwds in (results.cov_kwds, fitted.settings.cov_kwds):
        if "groups" in kwds:  # the covariance is there
            kwds["groups"] = None
    keep_grams(fitted)
    forget_residual_rows(fitted)
    LikelihoodModelResults.remove_data(results)
    vars(model.data).get("_cache", {}).pop("row_labels", None)
    forget_groups(model)
    model.residual_spec = None  # its columns are rows
    if model.residual is not None:
        model.residual = model.residual.without_rows()
