"""Models with some of the terms of another: fixed terms, random terms, random columns."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import numpy as np

from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.exceptions import RankDeficientWarning
from mixedext.fitted import Model, has_rows, need_rows
from mixedext.inference.submodels.fixed_terms import (
    FixedTerm,
    fixed_formula_text,
    fixed_terms,
)
from mixedext.specification.covariance import registry
from mixedext.specification.formula.bars import names_in, split_formula
from mixedext.specification.formula.formula_engine import FormulaEngine, UsedColumns
from mixedext.specification.terms.parameter_names import column_label
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = [
    "RandomDeletion",
    "fixed_columns",
    "formula_text",
    "random_deletions",
    "smaller_model",
]


def fixed_columns(model: Model, kept: Iterable[FixedTerm]) -> tuple[Any, Any]:
    """Columns of some of a model's fixed terms, and the specification of them.

    A formula is evaluated anew, as the coding of a term may depend on the others.

    Returns
    -------
    exog : DataFrame or ndarray
        (n, m); may have no columns.
    spec : object or None
        The formula engine's specification.
    """
    kept = list(kept)
    need_rows(model)
    if getattr(model.data, SPEC_ATTRIBUTE, None) is None:
        places = sorted(c for t in kept for c in t.columns)
        return np.asarray(model.exog)[:, places], None
    text = fixed_formula_text(kept)
    frame = model.data.frame
    used = names_in(text)
    columns = UsedColumns(frame, [c for c in frame.columns if str(c) in used])
    columns.settle(None)
    engine = FormulaEngine(columns, model.namespace, frame.columns, model.aliases)
    if text == "0":
        return np.zeros((len(frame), 0)), None
    exog = engine.matrices(f"~ {text}")
    spec = engine.manager.spec
    exog.columns = engine.plain_names(exog.columns)
    exog.index = model.data.row_labels
    return exog, spec


def smaller_model(
    model: Model,
    fixed: Iterable[FixedTerm] | None = None,
    random: list[RandomTerm | SparseTerm] | None = None,
) -> Any:
    """The model with some of its fixed terms, and with other random terms.

    Parameters
    ----------
    model : MixedLM
        The model.
    fixed : iterable of FixedTerm, optional
        The fixed terms to keep; all if None.
    random : list of RandomTerm or SparseTerm, optional
        The random terms; those of the model if None.

    Returns
    -------
    MixedLM
        On the same rows, with the same offset, weights and residual structure; with a
        formula if the model has one.
    """
    all_terms = fixed_terms(model)
    kept = all_terms if fixed is None else list(fixed)
    terms = model.random_terms if random is None else random
    exog, spec = fixed_columns(model, kept)
    own, whole = {}, cast(Any, model)
    if spec is not None:
        own = {SPEC_ATTRIBUTE: spec}
    if whole.residual_spec is not None:
        own["residual"] = whole.residual_spec
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankDeficientWarning)  # said of the model itself
        made: Any = type(model)
        smaller = made(
            model.data.orig_endog,
            exog if exog.shape[1] else None,
            terms=list(terms),
            weights=model.weights,
            offset=model.offset,
            **own,
        )
    if getattr(model, "fixed_formula", None) is None:
        if exog.shape[1]:
            places = sorted(c for t in kept for c in t.columns)
            smaller.data.xnames = [model.exog_names[c] for c in places]
            smaller._name_parameters()
        return smaller
    response = model.fixed_formula.split("~", 1)[0].strip()
    fixed_text = fixed_formula_text(kept)
    smaller.formula = _joined(response, fixed_text, model, terms)
    smaller.fixed_formula = f"{response} ~ {fixed_text}"
    smaller.namespace, smaller.aliases = model.namespace, model.aliases
    smaller.offset_terms, smaller.emptied = model.offset_terms, model.emptied
    smaller.offset_name, smaller.offset_by_rows = model.offset_name, model.offset_by_rows
    smaller.data.frame = model.data.frame
    smaller.stated = whole.stated.without_groups()
    return smaller


def formula_text(model: Model) -> str:
    """A model in lme4's notation: its formula, if that says all, or one made for it."""
    formula = getattr(model, "formula", None)
    if isinstance(formula, str):
        whole = has_rows(model) is False or len(split_formula(formula).bars) == len(
            model.random_terms
        )
        if whole:
            return formula
    fixed = getattr(model, "fixed_formula", None)
    response = fixed.split("~", 1)[0].strip() if fixed else model.endog_names
    text = fixed_formula_text(fixed_terms(model))
    return _joined(response, text, model, model.random_terms)


def _joined(response, fixed_text, model, terms):
    """A formula of its parts, with the model's offsets."""
    labels = _written_labels(model)
    bars = [labels.get(id(t), t.label) for t in terms]
    offsets = map(str, model.offset_terms)
    return f"{response} ~ {' + '.join([fixed_text, *bars, *offsets])}"


def _written_labels(model):
    """The random terms as the formula has them, by identity of the term."""
    formula = getattr(model, "formula", None)
    if not isinstance(formula, str):
        return {}
    bars = split_formula(formula).bars
    own = model.random_terms[len(model.random_terms) - len(bars) :]
    return {id(t): b.label for t, b in zip(own, bars, strict=True)}


class RandomDeletion(NamedTuple):
    """One way to make the random part smaller.

    Attributes
    ----------
    label : str
        The term that goes, or the column in its term.
    terms : list of RandomTerm or SparseTerm
        The random terms that are left.
    note : str
        What is left of the term, where the label does not say it; else empty.
    """

    label: str
    terms: list[RandomTerm | SparseTerm]
    note: str = ""


def random_deletions(model: Model) -> list[RandomDeletion]:
    """Ways to make the random part smaller by one term or column, as lmerTest's ranova.

    A random intercept goes as a whole.  Of a term with slopes each slope (all columns of
    a categorical one) goes by itself, with its variance and covariances; the intercept
    stays until it is alone, unless there are no correlations.  Of ``(0 + f | g)``, which
    has the levels of a factor in the place of an intercept, the intercept is left; of
    ``(0 + f || g)`` nothing is, as no variances of its own make a covariance.
    """
    need_rows(model)
    labels = _written_labels(model)
    found = []
    for number, term in enumerate(model.random_terms):
        before, after = model.random_terms[:number], model.random_terms[number + 1 :]
        written = labels.get(id(term), term.label)
        for label, left in _reductions(term, written, [*before, *after]):
            note = ""
            if label.endswith(f" in {written}") and not left:
                note = f"{label}: the whole term is left out"
            elif left and left.names[0] == "Intercept" and "Intercept" not in term.names:
                note = f"{label}: {left.label} is left"
            left = [left] if left else []
            found.append(RandomDeletion(label, [*before, *left, *after], note))
    return found


def _has_constant(term, others):
    """Whether another term of the same levels has a random intercept."""
    return any(
        other.group == term.group and "Intercept" in getattr(other, "names", ())
        for other in others
    )


def _reductions(term, written, others):
    """Pairs of a label and what is left of a term, None for nothing."""
    intercept = _alone("1", term.group)
    if not term.structure.linear:  # whose columns have an order, or one correlation
        yield written, None
        return
    if term.structure.shares_one_variance or term.names == ["Intercept"]:
        yield intercept if term.names == ["Intercept"] else written, None
        return
    parts: dict[str, list[int]] = {}
    for j, name in enumerate(term.names):
        if term.columns[j] is None:  # ones
            name = "Intercept"
        parts.setdefault(re.sub(r"\[[^\]]*\]", "", name), []).append(j)
    if list(parts) == ["Intercept"]:
        yield intercept, None
        return
    diagonal = not term.structure.has_correlations
    factors = {name: set(name.split(":")) for name in parts}
    for name, own in parts.items():
        if name == "Intercept":
            if diagonal:
                rest = [j for j in range(term.k) if j not in own]
                yield intercept, _part(term, rest, False)
            continue
        if not diagonal and any(
            factors[name] < f for other, f in factors.items() if other != name
        ):
            continue
        rest = [j for j in range(term.k) if j not in own]
        alone = _alone(f"0 + {name}", term.group)
        where = alone if diagonal and len(parts) > 1 else written
        constant = not diagonal and "Intercept" not in parts and _sums_to_one(term, own)
        constant = constant and not _has_constant(term, others)
        yield column_label(name, where), _part(term, rest, constant)


def _alone(column, group):
    """Label of a term of one column."""
    return registry.label(registry.BARS["|"], column, group)


def _sums_to_one(term, columns):
    """Whether columns are indicators of all levels of a factor, more than one."""
    return len(columns) > 1 and np.allclose(term.z[:, columns].sum(axis=1), 1.0)


def _part(term, columns, constant):
    """A term with some of its columns, and perhaps a constant; None without columns."""
    z, names = term.z[:, columns], [term.names[j] for j in columns]
    if constant:
        z, names = np.column_stack([np.ones(len(z)), z]), ["Intercept", *names]
    return term.with_columns(z, names) if names else None
