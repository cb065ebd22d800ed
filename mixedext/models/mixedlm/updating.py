"""A fit made again with another formula, other data or other arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mixedext.fitted import Fitted, HasFitted, InferenceSettings, has_rows
from mixedext.specification.formula.bars import split_formula
from mixedext.specification.formula.namespace import caller_namespace
from mixedext.specification.formula.updated_formula import updated_formula

__all__ = [
    "AS_FITTED",
    "cluster_kwds",
    "formula_of",
    "given_offset",
    "is_given",
    "stated_arguments",
    "update",
]

AS_FITTED = "as the fit"


def update(
    results: HasFitted,
    formula: str | None = None,
    data: Any = None,
    reml: bool | None = None,
    *,
    weights: Any = AS_FITTED,
    offset: Any = AS_FITTED,
    residual: Any = AS_FITTED,
    variance: Any = AS_FITTED,
    missing: str | None = None,
    eval_env: Any = None,
    **fit_kwargs: Any,
) -> Any:
    """Fit the model again with another formula, other data or other arguments.

    Parameters
    ----------
    formula : str, optional
        Another formula, in which a dot stands for the response or the terms of the fit's:
        ``". ~ . - x"``, ``"log(.) ~ . + z"``, ``". ~ . - (x | g) + (1 | g)"``.
    data : DataFrame, optional
        Other data; if None the rows that the fit has used.
    reml : bool, optional
        REML or ML; as the fit if None.
    weights, offset : str or array_like or None, optional
        As for ``mixedlm``, in place of the fit's; None for none.
    residual, variance : optional
        Likewise.
    missing : {"none", "raise", "drop"}, optional
        As for ``mixedlm``; as the fit if None.
    eval_env : int or Mapping, optional
        As for ``mixedlm``, for names that are new.
    **fit_kwargs
        Other arguments of ``fit``.  Those of this fit that say how tests are done are
        kept unless they are given.

    Returns
    -------
    MixedLMResults

    Raises
    ------
    FormulaError
        If the formula cannot be read, or leaves out a term that is not there.
    ValueError
        If the model was not made from a formula, or has values by rows that other data have
        not; says what to give.

    Notes
    -----
    Rows that the fit left out for a missing value stay out unless ``data`` is given, even
    if the new formula has no use for the column.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> smaller = result.update(". ~ . - (Days | Subject) + (1 | Subject)")
    >>> smaller.model.formula
    'Reaction ~ Days + (1 | Subject)'
    >>> result.update(reml=False).reml
    False
    """
    fitted = results.fitted
    model: Any = fitted.model
    remade = formula is not None or data is not None
    others = weights, offset, residual, variance
    remade = remade or any(is_given(a) for a in others) or missing is not None
    arguments = _arguments(fitted, remade, fit_kwargs)
    arguments["reml"] = fitted.reml if reml is None else reml
    if not remade:
        return model.fit(**arguments)
    text = formula_of(model)
    if formula is not None:
        text = updated_formula(text, formula)
    own = caller_namespace([text], eval_env, depth=1)
    given = {"weights": weights, "offset": offset, "groups": AS_FITTED}
    made = stated_arguments(model, text, given, missing, data, _values)
    made["eval_env"] = {**own, **model.namespace}
    made |= residual_arguments(model, residual, variance, data is not None)
    data = model.data.frame if data is None else data
    return type(model).from_formula(text, data, **made).fit(**arguments)


def is_given(value: Any) -> bool:
    """Whether an argument of ``update`` was given."""
    return not (isinstance(value, str) and value == AS_FITTED)


def stated_arguments(
    model: Any,
    text: str,
    given: Mapping[str, Any],
    missing: str | None,
    data: Any,
    values: Callable[[Any, str], Any],
) -> dict[str, Any]:
    """Arguments of ``from_formula`` by which a model is made again with another formula.

    Parameters
    ----------
    model : MixedLM or MixedGLM
        The model.
    text : str
        The new formula; of a generalized model with any name at its left.
    given : Mapping
        Arguments of one value a row as given to ``update``, ``AS_FITTED`` for the model's.
    missing, data
        As given.
    values : callable
        The values of the model's rows for an argument that was given as values.

    Raises
    ------
    ValueError
        If there are no rows, or values by rows that other data have not.
    """
    stated = model.stated
    if data is None and not has_rows(model):
        raise ValueError(
            "the rows of this model are in chunks or were removed: give data=, or make it "
            "anew"
        )
    made: dict[str, Any] = {"missing": stated.missing if missing is None else missing}
    for what, value in given.items():
        if is_given(value):
            made[what] = value
            continue
        made[what] = getattr(stated, what)
        if made[what] is None and what in stated.by_values:
            made[what] = _values_of(model, what, data is not None, values)
    if stated.covariances is not None:  # of the factors that the new formula has
        groups = {bar.group for bar in split_formula(text).bars}
        kept = {g: a for g, a in stated.covariances.items() if g in groups}
        made["covariances"] = kept or None
    return made | {"re_formula": stated.re_formula, "vc_formula": stated.vc_formula}


def formula_of(model: Any) -> str:
    """The formula that, with the arguments stated, says all of a model."""
    maker = "mixedlm" if getattr(model, "family", None) is None else "glmm"
    formula = getattr(model, "formula", None)
    if not isinstance(formula, str) or getattr(model, "fixed_formula", None) is None:
        raise ValueError(
            "update() makes the model anew from its formula, and this one was made from "
            f"arrays: make it by {maker}, or use refit(endog) for another response"
        )
    right = formula.partition("~")[2]  # on the left of generalized models is arithmetic
    count = len(split_formula(f"response ~ {right}").bars)
    groups = 0 if model.grouped is None else len(model.grouped.all_terms)
    if model.random_terms is not None and len(model.random_terms) != count + groups:
        raise ValueError(
            "update() makes the model anew from its formula, which does not say all random "
            "terms of this one (terms= or exog_vc= was given)"
        )
    return formula


def _values_of(model, what, other_data, values):
    if other_data:
        how = "give"
        if what == "groups":
            how = "make the model by a formula with"
        raise ValueError(
            f"{what} of this model were given as values, which other data have not: {how} "
            f"{what}= a column"
        )
    return model.groups if what == "groups" else values(model, what)


def _values(model, what):
    return model.weights if what == "weights" else given_offset(model, model.offset)


def residual_arguments(
    model: Any, residual: Any, variance: Any, other_data: bool
) -> dict[str, Any]:
    """The arguments ``residual`` and ``variance``: those given, else the model's.

    Raises
    ------
    ValueError
        If the model's hold values by rows, and the rows are others.
    """
    stated = model.stated
    if "residual" in stated.by_values and not (is_given(residual) and is_given(variance)):
        if other_data or is_given(residual) or is_given(variance):
            raise ValueError(
                "residual= of this model holds values by rows, which other data have not: "
                "give residual= and variance=, None for none"
            )
        return {"residual": model.residual_spec}
    return {
        "residual": residual if is_given(residual) else stated.residual,
        "variance": variance if is_given(variance) else stated.variance,
    }


def given_offset(model: Any, offset: Any) -> Any:
    """The offset that was given as values.

    Raises
    ------
    ValueError
        If the formula adds to it.
    """
    if model.offset_terms:
        raise ValueError(
            "offset was given as values beside offset(...) in the formula: give offset= too"
        )
    return offset


def _arguments(fitted: Fitted, remade: bool, given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ``fit``: those of the fit that are not given."""
    settings = fitted.settings
    held = fitted.arguments.held("update()")
    if held and remade and not set(held) & set(given):
        raise ValueError(
            "parameters of this fit were held or penalized, and another model has others: "
            "give free=, start_params=, fe_pen= or cov_pen= (None for none) too"
        )
    out = {} if remade else dict(held)
    if not {"cov_type", "use_t", "df_method"} & set(given):
        if settings.estimator == "nonrobust":
            asked = settings.asked
            own = {"df_method": asked.df_method, "information": asked.information}
            out |= {name: value for name, value in own.items() if value is not None}
        else:
            out |= {"cov_type": settings.cov_type, "cov_kwds": cluster_kwds(settings)}
    return out | given


def cluster_kwds(settings: InferenceSettings) -> dict[str, Any] | None:
    """Arguments of ``fit`` that give another fit such clusters."""
    kwds = settings.cov_kwds
    if "groups" not in kwds:
        return None
    groups = kwds["groups"]
    if groups is not None and not isinstance(groups, str):
        raise ValueError("clusters of this fit were given as values: give cov_type= too")
    chosen = {
        "df": kwds["df"],
        "df_correction": kwds["adjust_df"],
        "use_correction": kwds["use_correction"],
        "scaling_factor": kwds.get("scaling_factor"),
    }
    return chosen if groups is None else {"groups": groups, **chosen}
