"""Names of parameters: ``sd effect|group``, ``cor effect.effect|group``, ``sigma``, fixed.

The order is that of lme4's ``confint``: by term the lower triangle of the covariance by
columns, then sigma, then fixed effects.
"""

from __future__ import annotations

__all__ = [
    "as_variance",
    "covariance_names",
    "effect_names",
    "parameter_names",
    "places",
    "unique_names",
]

_OF_COVARIANCES = {"sd": "var", "cor": "cov"}


def effect_names(term) -> list[str]:
    """Names of the effects of a term; one empty name for a variance common to many."""
    if term.structure.name == "identity" and term.k != 1:
        return [""]
    return list(term.names)


def places(structure) -> list[tuple[int, int]]:
    """Row and column in the covariance of each of its free elements.

    Parameters
    ----------
    structure : Structure
        Of a term; a common variance of many columns has the place (0, 0).
    """
    pairs = structure.gamma_pairs()
    return pairs if len(pairs) > 1 else [(0, 0)]


def covariance_names(terms) -> list[str]:
    """Names of standard deviations and correlations of the terms, and sigma.

    Parameters
    ----------
    terms : list of RandomTerm or SparseTerm
        The random terms.
    """
    names = []
    for term in terms:
        effects = effect_names(term)
        for row, column in places(term.structure):
            kind = "sd" if row == column else "cor"
            own = effects[row] if row == column else f"{effects[column]}.{effects[row]}"
            names.append(f"{kind} {own}|{term.group}" if own else f"{kind} {term.group}")
    return unique_names([*names, "sigma"])


def parameter_names(terms, fixed) -> list[str]:
    """``covariance_names``, then those of the fixed effects, no two of them equal.

    Parameters
    ----------
    terms : list of RandomTerm or SparseTerm
        The random terms.
    fixed : sequence of str
        Names of the fixed effects that were not dropped.
    """
    variances = covariance_names(terms)
    return variances + unique_names(fixed, variances)


def unique_names(names, taken=()) -> list[str]:
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


def as_variance(name: str) -> str:
    """Name of a variance or covariance from that of a deviation or correlation."""
    if name == "sigma":
        return "residual"
    kind, own = name.split(" ", 1)
    return f"{_OF_COVARIANCES[kind]} {own}"
