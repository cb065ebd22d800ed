"""Results as marginaleffects takes models: predictions, slopes, comparisons, hypotheses.

marginaleffects asks a model for its coefficients, their covariance, the data and
predictions at given coefficients.  These are of the fixed part: means of the population.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_choice
from mixedext.engine.rows.estimability import column_relations
from mixedext.fitted import DfChoice, Fitted
from mixedext.inference.fixed_effects.covariance_choice import chosen_tests
from mixedext.inference.fixed_effects.df_methods import KENWARD_ROGER
from mixedext.inference.fixed_effects.parameter_covariance import fixed_effects_covariance
from mixedext.inference.prediction.fixed_rows import new_columns
from mixedext.inference.submodels.fixed_terms import fixed_terms
from mixedext.inference.submodels.other_criteria import own_fitted
from mixedext.specification.data.labels import factorize
from mixedext.specification.formula.bars import names_in

if TYPE_CHECKING:
    import polars

__all__ = ["wrap"]

_PACKAGE = (
    "marginaleffects, and polars below 2, are needed: pip install 'mixedext[effects]'"
)


def wrap(results: Any, vcov: str = "model") -> Any:
    """Results of a mixed model for the functions of marginaleffects.

    Parameters
    ----------
    results : MixedLMResults
        Of a model that was made from a formula, its rows in memory.
    vcov : str, optional
        Covariance of the fixed effects: "model", that of the results, robust if they are,
        or "kenward-roger", "kenward-roger-linear" or "kenward-roger-2009" (REML fits only).

    Returns
    -------
    ModelAbstract
        What ``predictions``, ``slopes``, ``comparisons``, ``hypotheses`` and their ``avg_``
        forms take.  Predictions are means of the population, offsets included.

    Raises
    ------
    ImportError
        If marginaleffects or polars (below 2) is not installed.
    TypeError
        If these are no results of a mixed model of mixedext.
    ValueError
        If the model has no formula, or its rows are not in memory.

    Notes
    -----
    P-values and limits are marginaleffects' own, by t on n - p degrees of freedom: too many
    for effects between groups, of which ``t_test`` and ``emmeans`` of the results know
    better.

    marginaleffects differentiates by the coefficients numerically, with steps so small that
    rounding leaves two to four digits of a standard error.  Predictions are linear in the
    coefficients, so that ``eps_vcov=1.0``, an argument of its functions, makes them good
    to about nine.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.interop.marginaleffects import wrap
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> try:
    ...     from marginaleffects import avg_slopes
    ... except ImportError:
    ...     slope = result.fe_params["Days"]
    ... else:
    ...     slope = avg_slopes(wrap(result), variables="Days")["estimate"][0]
    >>> round(float(slope), 3)
    10.467
    """
    check_choice(vcov, "vcov", ("model", *KENWARD_ROGER))
    fitted = own_fitted(results, "results")
    adapter, vault = _adapter()
    model: Any = fitted.model
    if getattr(model, "fixed_formula", None) is None:
        raise ValueError(
            "marginaleffects varies variables of a formula, and this model was made from "
            "arrays: make it by mixedlm"
        )
    fitted.need_rows()
    fixed = fitted.fixed
    return adapter(
        fitted,
        vault(
            coef=np.asarray(fixed.coefficients, float),
            coefnames=np.array(fixed.names)[fixed.kept],
            formula=_plain_formula(model),
            modeldata=_polars_frame(model),
            package="mixedext",
            vcov=_covariance(results, vcov),
        ),
    )


def _covariance(results, vcov):
    """Covariance of the coefficients kept."""
    fixed = results.fitted.fixed
    if vcov != "model":
        return chosen_tests(results.fitted, DfChoice(vcov)).covariance
    return fixed_effects_covariance(results.fitted)[np.ix_(fixed.kept, fixed.kept)]


@cache
def _adapter() -> tuple[Any, Any]:
    """The class of wrapped results, and marginaleffects' record of a model."""
    try:
        import polars as pl
        from marginaleffects.classes.model import ModelAbstract, ModelVault
    except ImportError as error:
        raise ImportError(_PACKAGE) from error

    class MixedModel(ModelAbstract):
        """A fit of mixedext, as marginaleffects sees it."""

        def get_exog(self, newdata: Any) -> np.ndarray:
            """Columns of the fixed effects that have coefficients, then the offset."""
            return _rows(self.model, newdata)

        def get_autodiff_args(self) -> dict[str, Any] | None:
            """What ``autodiff(True)`` needs to know: a linear model, without an offset."""
            model: Any = self.model.model
            if model.offset is not None:
                return None
            return {"model_type": "linear", "family": None, "link": None}

        def get_predict(self, params: np.ndarray, newdata: Any) -> Any:
            """Means of the population, in the order of the rows."""
            rows = newdata if isinstance(newdata, np.ndarray) else self.get_exog(newdata)
            params = np.asarray(params, float)
            mean = rows[:, : len(params)] @ params
            mean += rows[:, len(params) :].sum(axis=1)  # the offset, if there is one
            number = np.arange(len(mean), dtype=np.int32)
            return pl.DataFrame({"rowid": number, "estimate": mean})

    return MixedModel, ModelVault


def _rows(fitted: Fitted, newdata: Any) -> np.ndarray:
    """Columns kept and the offset of new rows; NaN where these determine no mean."""
    model: Any = fitted.model
    frame, known = newdata.to_pandas(), model.data.frame
    for name in frame.columns.intersection(known.columns):
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = _as_known(frame[name], known[name])
    found = new_columns(model, frame, with_column=model.offset_name in frame.columns)
    lost = ~column_relations(model._design.basis, model.nobs).estimable(found.exog)
    rows = np.array(found.exog, float)[:, fitted.fixed.kept]
    rows[lost] = np.nan
    return rows if found.offset is None else np.column_stack([rows, found.offset])


def _as_known(values: pd.Series, known: pd.Series) -> pd.Series:
    """Labels, which are texts here, as the values that the data have."""
    distinct = pd.unique(known.dropna())
    own = {str(value): value for value in distinct}
    made = values.astype(object).map(lambda v: own.get(str(v), v))
    return made.astype(known.dtype) if set(made.dropna()) <= set(distinct) else made


def _polars_frame(model: Any) -> polars.DataFrame:
    """The data, with categories where the formula takes a column for one."""
    import polars as pl

    frame = model.data.frame
    levels = {f for t in fixed_terms(model) for f in t.categorical}
    factors = {name for f in levels for name in names_in(f)}
    columns: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        numeric = pd.api.types.is_numeric_dtype(column.dtype)
        if numeric and name not in factors:
            columns[str(name)] = pl.Series(column.to_numpy())
        else:
            columns[str(name)] = _categories(column, pl)
    return pl.DataFrame(columns)


def _categories(column: pd.Series, pl: Any) -> Any:
    """A column of labels as polars' Enum, in the order of its levels."""
    codes, levels = factorize(column)
    labels = [str(level) for level in levels]
    values = [labels[code] if code >= 0 else None for code in codes]
    return pl.Series(values, dtype=pl.Enum(labels))


def _plain_formula(model: Any) -> str:
    """Response and variables of the fixed part, as marginaleffects reads formulas."""
    response, right = model.fixed_formula.split("~", 1)
    columns = [str(c) for c in model.data.frame.columns]
    used = names_in(right)
    own = [c for c in columns if c in names_in(response)]
    variables = [c for c in columns if c in used]
    return f"{own[0] if own else response.strip()} ~ {' + '.join(variables) or '1'}"
