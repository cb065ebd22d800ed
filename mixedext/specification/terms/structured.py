"""What is not there for structured random effects: said by name, not computed wrongly."""

from __future__ import annotations

from collections.abc import Iterable

from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["refuse_structured"]


def refuse_structured(
    terms: Iterable[RandomTerm | SparseTerm], what: str, instead: str = ""
) -> None:
    """Refuse models with a covariance that is not linear in its parameters.

    Parameters
    ----------
    terms : iterable of RandomTerm or SparseTerm
        The terms of a model.
    what : str
        What is asked for, as the beginning of a sentence.
    instead : str, optional
        What there is.

    Raises
    ------
    NotImplementedError
        If there is such a term; names it.
    """
    found = [t.label for t in terms if not t.structure.linear]
    if found:
        more = f"; {instead}" if instead else ""
        raise NotImplementedError(
            f"{what} is not there for structured random effects, whose covariance is not "
            f"linear in its parameters: {', '.join(found)}{more}"
        )
