"""Parts of the random effects that are tested by leaving them out."""

from __future__ import annotations

import re
from typing import NamedTuple

from mixedext.arguments import did_you_mean
from mixedext.fitted import Model
from mixedext.inference.submodels.smaller_models import random_deletions
from mixedext.specification.terms.parameter_names import split_column_label
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["VariancePart", "find_part", "variance_parts"]

_NO_LAW = (
    "no exact law exists for {}: {}. Use method='bootstrap', which simulates the smaller "
    "model and fits both{}"
)
_OR_MIXTURE = ", or method='mixture', for large samples"
_CORRELATED = "{} parameters are tested, a variance with its covariances"
_SEVERAL = "{} variances are tested at once"


class VariancePart(NamedTuple):
    """What a smaller model leaves out.

    Attributes
    ----------
    label : str
        Name of it, as in ``ranova``.
    left : list of RandomTerm or SparseTerm
        The random terms that are left.
    alone : RandomTerm or SparseTerm
        What is left out, as a term of its own.
    n_variances, n_parameters : int
        Variances, and all parameters, that are left out.
    """

    label: str
    left: list[RandomTerm | SparseTerm]
    alone: RandomTerm | SparseTerm
    n_variances: int
    n_parameters: int

    @property
    def has_law(self) -> bool:
        """Whether there is one variance and nothing else: it has an exact law."""
        return self.n_parameters == self.n_variances == 1

    @property
    def has_mixture(self) -> bool:
        """Whether the law in large samples is a mixture with known weights."""
        if not self.alone.structure.linear:
            return False  # without variance there is no correlation: no law is known
        covariances = self.n_parameters - self.n_variances
        return covariances == 0 or (covariances > 0 and self.n_variances == 1)

    def why_no_law(self) -> str:
        """What stands in the way of an exact law."""
        if self.n_parameters > self.n_variances or not self.alone.structure.linear:
            why = _CORRELATED.format(self.n_parameters)
        else:
            why = _SEVERAL.format(self.n_variances)
        return _NO_LAW.format(self.label, why, _OR_MIXTURE if self.has_mixture else "")


def variance_parts(model: Model) -> list[VariancePart]:
    """All parts of the random effects that can be left out by themselves."""
    return [
        _tested(model, deletion.label, deletion.terms)
        for deletion in random_deletions(model)
    ]


def _tested(model, label, left):
    (term,) = [t for t in model.random_terms if not any(t is o for o in left)]
    rest = [t for t in left if not any(t is o for o in model.random_terms)]
    n_theta = sum(s.structure.n_theta for s in rest)
    alone, names = term, [name for t in rest for name in t.names]
    if rest:
        own = [j for j, name in enumerate(term.names) if name not in names]
        alone = _columns_of(term, own)
    scalar = alone.structure.n_theta == 1
    variances = 1 if scalar else len(alone.names)
    return VariancePart(label, left, alone, variances, term.structure.n_theta - n_theta)


def _columns_of(term, own):
    return term.with_columns(term.z[:, own], [term.names[j] for j in own])


def find_part(model: Model, term: str | None) -> VariancePart:
    """The part of that name, or the only one if ``term`` is None.

    Raises
    ------
    ValueError
        If there is no such part, or more than one.
    """
    parts = variance_parts(model)
    labels = ", ".join(repr(p.label) for p in parts)
    if not parts:
        raise ValueError("the model has no random effects to test")
    if term is None:
        if len(parts) > 1:
            raise ValueError(f"term must say which of {labels} is tested")
        return parts[0]
    if not isinstance(term, str):
        raise TypeError(f"term must be a string, one of {labels}")

    # the first kind of name that some part goes by counts: labels before factors
    for names in zip(*(_names_of(part) for part in parts), strict=True):
        found = [p for p, own in zip(parts, names, strict=True) if _plain(term) in own]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            break
    said = "is not one part of the random effects"
    meant = did_you_mean(
        term, [name for p in parts for own in _names_of(p) for name in own]
    )
    raise ValueError(f"term={term!r} {said}; use one of {labels}{meant}")


def _names_of(part):
    """Kinds of names that a part goes by, labels before factors and columns."""
    alone = part.alone
    variable, whole = split_column_label(part.label)
    columns = [name for name in alone.names if name != "Intercept"]
    if variable:  # of a slope, which may be a factor with a column a level
        columns.append(variable)
    kinds = [part.label], [alone.label], [whole], [alone.group], columns
    return [[_plain(name) for name in kind] for kind in kinds]


def _plain(text):
    """Without blanks, and with the factors of an interaction in one order."""
    text = re.sub(r"\s", "", text)
    return re.sub(r"\w+(:\w+)+", lambda found: ":".join(sorted(found[0].split(":"))), text)
