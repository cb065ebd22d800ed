"""Covariances that the design leaves open: refused, or named, before the fit."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

from mixedext.engine.rows.design import Design
from mixedext.engine.search.identification import OpenDirection, find_open, is_cheap
from mixedext.exceptions import (
    DesignError,
    UnidentifiedVarianceWarning,
    user_stacklevel,
)
from mixedext.specification.terms.random_terms import (
    RandomTerm,
    SparseTerm,
    crowding,
)

__all__ = ["check_identification"]

_AS_UPSTREAM = (
    "As in statsmodels the model is fitted all the same; its variance and the residual's "
    "may not be determined."
)


def check_identification(
    design: Design,
    terms: Sequence[RandomTerm | SparseTerm],
    lenient: Collection[int] = (),
    residual: bool = True,
) -> None:
    """Refuse what cannot be told from the residual, name what cannot be told apart.

    Parameters
    ----------
    design : Design
        The design.
    terms : sequence of RandomTerm or SparseTerm
        Its terms, with or without their rows.
    lenient : collection of int, optional
        Numbers of terms that statsmodels' ``groups`` states: they are never refused.
    residual : bool, optional
        Whether the model has a residual variance; generalized models have none.

    Raises
    ------
    DesignError
        If a covariance and the residual variance are told apart by nothing, or the rows
        are fewer than the variances and covariances.

    Warns
    -----
    UnidentifiedVarianceWarning
        If covariances of terms are told apart by nothing, or for terms of ``groups``.
    """
    if not terms:
        return
    nobs = design.blocks.nobs
    count = sum(s.n_theta for s in design.structures)
    if residual and count > nobs and len(lenient) < len(terms):
        raise DesignError(
            f"the random effects have {count} variances and covariances, more than there "
            f"are rows ({nobs}). Leave out terms or columns; of categories every level "
            "has a variance of its own."
        )
    crowded = [i for i, t in enumerate(terms) if residual and crowding(t, nobs) is not None]
    if not (crowded or _may_repeat(design) or is_cheap(design.blocks)):
        return
    found = find_open(design, residual)
    if found is None:  # too many columns: by their number alone
        found = [OpenDirection(((i, ()),), True) for i in crowded]
    said = set()
    for direction in found:
        if not direction.residual:
            message = _not_apart(terms, direction)
            if message not in said:  # several changes of the same columns
                said.add(message)
                _warn(message)
            continue
        message = _like_residual(terms, direction, nobs)
        if any(i in lenient for i, _ in direction.terms):
            _warn(f"{message} {_AS_UPSTREAM}")
        else:
            too_many = [terms[i].label for i, _ in direction.terms if i in crowded]
            raise DesignError(message, too_many_in=too_many[0] if too_many else None)


def _may_repeat(design):
    """Whether two terms may be of one partition of the rows."""
    factors = [f for f in design.blocks.factors if f.terms]
    sizes = [f.n_levels for f in factors]
    return any(len(f.terms) > 1 for f in factors) or len(set(sizes)) < len(sizes)


def _warn(message):
    warnings.warn(message, UnidentifiedVarianceWarning, stacklevel=user_stacklevel())


def _like_residual(terms, direction, nobs):
    numbers = [i for i, _ in direction.terms]
    if len(numbers) == 1:
        reason = crowding(terms[numbers[0]], nobs)
        if reason is not None:
            return reason
    named = _listed([_named(terms[i], columns) for i, columns in direction.terms])
    return (
        f"the variances of {named} cannot be told from the residual: together they give "
        "the rows nothing but one more variance of each. Leave out a term or a column."
    )


def _not_apart(terms, direction):
    named = [_named(terms[i], columns) for i, columns in direction.terms]
    if len(named) == 1:
        what, cure = "variances and covariances", "Leave out a column."
        why = "the columns repeat each other in every level"
    else:
        what, cure = "variances", "Leave out one of them."
        why = "their levels part the rows alike, and their columns repeat each other"
    return (
        f"the {what} of {_listed(named)} cannot be told apart: {why}. The model is fitted "
        f"all the same; how the variance is shared out is arbitrary. {cure}"
    )


def _named(term, columns):
    names = [term.names[c] for c in columns]
    if not names or len(names) == term.k == 1:
        return term.label
    listed = ", ".join(repr(name) for name in names[:5])
    more = ", ..." if len(names) > 5 else ""
    return f"{listed}{more} in {term.label}"


def _listed(texts):
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
