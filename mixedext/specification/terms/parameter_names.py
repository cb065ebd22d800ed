"""Names of parameters: all of them are made here, from those of the structures.

Of a covariance element of the effects a and b (or a = b) of the grouping factor g:

    sd a|g, cor a.b|g      as lme4 names them; var and cov on the scale of variances; sigma,
                           on that scale residual
    g.a, g.b.a             element of theta
    g Var, g x b Cov       packed, as statsmodels: the intercept has the name of g
    b in (a + b | g)       what is left out of the random effects, as lmerTest's ranova

The order is that of lme4's ``confint``: by term the lower triangle of the covariance by
columns, then sigma, then fixed effects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = [
    "as_variance",
    "column_label",
    "covariance_names",
    "effect_names",
    "is_deviation",
    "packed_covariances",
    "packed_effects",
    "packed_variance",
    "parameter_names",
    "split_column_label",
    "theta_names",
    "unique_names",
]

# Kinds of natural parameters on the scale of standard deviations, and on that of variances.
_DEVIATIONS = {"variance": "sd", "covariance": "cor"}
_VARIANCES = {"sd": "var", "cor": "cov"}
_COLUMN_OF = " in "


def effect_names(term: RandomTerm | SparseTerm) -> list[str]:
    """Names of the effects of a term; one empty name for a variance common to many."""
    own = term.structure.names(term.names)
    return [".".join(name.effects) for name in own if name.kind == "variance"]


def theta_names(terms: Sequence[RandomTerm | SparseTerm]) -> list[str]:
    """Names of the elements of theta: group, row and column of lam.

    Parameters
    ----------
    terms : sequence of RandomTerm or SparseTerm
        The random terms.
    """
    return [
        f"{term.group}.{_theta_name(name, term.names)}"
        for term in terms
        for name in term.structure.names(term.names)
    ]


def _theta_name(name, columns):
    if name.effects:
        return ".".join(name.effects[::-1])
    return "+".join(columns) if name.kind == "variance" else name.kind


def covariance_names(terms: Sequence[RandomTerm | SparseTerm]) -> list[str]:
    """Names of standard deviations and correlations of the terms, and sigma.

    Parameters
    ----------
    terms : sequence of RandomTerm or SparseTerm
        The random terms.
    """
    names = []
    for term in terms:
        for name in term.structure.names(term.names):
            kind = _DEVIATIONS.get(name.kind, name.kind)
            own = f" {'.'.join(name.effects)}|" if name.effects else " "
            names.append(f"{kind}{own}{term.group}")
    return unique_names([*names, "sigma"])


def parameter_names(
    terms: Sequence[RandomTerm | SparseTerm], fixed: Sequence[str]
) -> list[str]:
    """``covariance_names``, then those of the fixed effects, no two of them equal.

    Parameters
    ----------
    terms : sequence of RandomTerm or SparseTerm
        The random terms.
    fixed : sequence of str
        Names of the fixed effects that were not dropped.
    """
    variances = covariance_names(terms)
    return variances + unique_names(fixed, variances)


def unique_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """The same names, with a number behind those that occurred before.

    Parameters
    ----------
    names : sequence of str
        Names, some of them equal perhaps.
    taken : sequence of str, optional
        Names that are in use.
    """
    used, out = set(taken), []
    for name in names:
        number, own = 2, name
        while own in used:
            own = f"{name}.{number}"
            number += 1
        used.add(own)
        out.append(own)
    return out


def is_deviation(name: str) -> bool:
    """Whether one of ``covariance_names`` is a standard deviation."""
    return name == "sigma" or name.startswith(f"{_DEVIATIONS['variance']} ")


def as_variance(name: str) -> str:
    """Name of a variance or covariance from that of a deviation or correlation."""
    if name == "sigma":
        return "residual"
    kind, own = name.split(" ", 1)
    return f"{_VARIANCES.get(kind, kind)} {own}"


# ---- statsmodels' packed parameters ----


def packed_effects(group: str, names: Iterable[str], qualified: bool) -> list[str]:
    """Names of effects as statsmodels: the intercept has the name of its group.

    Parameters
    ----------
    group : str
        Name of the grouping factor.
    names : sequence of str
        Names of the columns.
    qualified : bool
        Whether the group stands before the others too.
    """
    return [
        group if name == "Intercept" else f"{group}.{name}" if qualified else name
        for name in names
    ]


def packed_variance(effect: str) -> str:
    """Name of the variance of an effect."""
    return f"{effect} Var"


def packed_covariances(effects: Sequence[str]) -> list[str]:
    """Names of the elements of a covariance matrix, its lower triangle row by row."""
    return [
        packed_variance(row) if a == b else f"{column} x {row} Cov"
        for a, row in enumerate(effects)
        for b, column in enumerate(effects[: a + 1])
    ]


# ---- parts of the random effects ----


def column_label(name: str, term: str) -> str:
    """Label of a column that is left out of a random term."""
    return f"{name}{_COLUMN_OF}{term}"


def split_column_label(label: str) -> tuple[str, str]:
    """The column, empty for a whole term, and the term of such a label."""
    name, _, term = label.rpartition(_COLUMN_OF)
    return name, term
