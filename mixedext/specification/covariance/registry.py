"""The structures by name: what is built, what is not, and what other programs call them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from mixedext.arguments import did_you_mean
from mixedext.specification.covariance.curved import (
    AntedependentVariances,
    CompoundVariances,
    HeterogeneousAR1,
    HomogeneousAntedependence,
    HomogeneousAR1,
    HomogeneousCompound,
    HomogeneousToeplitz,
    ToeplitzVariances,
)
from mixedext.specification.covariance.diagonal import Diagonal
from mixedext.specification.covariance.identity import IdentityMultiple
from mixedext.specification.covariance.structure import Structure
from mixedext.specification.covariance.unstructured import Unstructured

__all__ = [
    "BARS",
    "NAMES",
    "STRUCTURES",
    "Row",
    "is_call",
    "label",
    "structure",
    "why_no_call",
    "why_not",
]


class Row(NamedTuple):
    """One structure.

    Attributes
    ----------
    means : str
        In words.
    calls : tuple of str
        What stands before the parenthesis of a random term in glmmTMB and lme4.
    others : dict
        From another program to its names, those of homogeneous variances first.
    built : type, optional
        The class; None for a structure that there is not.
    """

    means: str
    calls: tuple[str, ...]
    others: dict[str, tuple[str, ...]]
    built: type[Structure] | None = None


NAMES = {
    "unstructured": Row(
        "any covariance matrix",
        ("us",),
        {"nlme": ("pdSymm", "pdLogChol", "corSymm"), "SAS": ("UN",), "mmrm": ("us",)},
        Unstructured,
    ),
    "diagonal": Row(
        "one variance a column, no correlations",
        ("diag",),
        {"nlme": ("pdDiag",), "SAS": ("UN(1)", "VC"), "Stata": ("independent",)},
        Diagonal,
    ),
    "identity": Row(
        "one variance common to all columns, no correlations",
        ("homdiag",),
        {"nlme": ("pdIdent",)},
        IdentityMultiple,
    ),
    "cs": Row(
        "compound symmetry, a variance for each column",
        ("cs",),
        {"SAS": ("CSH",), "mmrm": ("csh",)},
        CompoundVariances,
    ),
    "homcs": Row(
        "compound symmetry, one variance",
        ("homcs",),
        {
            "nlme": ("pdCompSymm", "corCompSymm"),
            "SAS": ("CS",),
            "Stata": ("exchangeable",),
        },
        HomogeneousCompound,
    ),
    "ar1": Row(
        "first-order autoregression, one variance",
        ("ar1",),
        {"nlme": ("corAR1",), "SAS": ("AR(1)",), "mmrm": ("ar1",)},
        HomogeneousAR1,
    ),
    "hetar1": Row(
        "first-order autoregression, a variance for each column",
        ("hetar1",),
        {"SAS": ("ARH(1)",), "mmrm": ("ar1h",)},
        HeterogeneousAR1,
    ),
    "ou": Row(
        "continuous-time autoregression",
        ("ou",),
        {"nlme": ("corCAR1",), "SAS": ("SP(POW)",)},
    ),
    "toep": Row(
        "a correlation for each lag, a variance for each column",
        ("toep",),
        {"SAS": ("TOEPH",), "mmrm": ("toeph",)},
        ToeplitzVariances,
    ),
    "homtoep": Row(
        "a correlation for each lag, one variance",
        ("homtoep",),
        {"SAS": ("TOEP",), "mmrm": ("toep",)},
        HomogeneousToeplitz,
    ),
    "adh": Row(
        "antedependence, a variance for each column",
        ("adh",),
        {"SAS": ("ANTE(1)",)},
        AntedependentVariances,
    ),
    "ad": Row(
        "antedependence, one variance",
        ("ad",),
        {},
        HomogeneousAntedependence,
    ),
    "rr": Row("reduced rank", ("rr",), {"SAS": ("FA0(1)",)}),
}
#: What is built, by name.
STRUCTURES = {name: row.built for name, row in NAMES.items() if row.built is not None}
#: What a bar of a formula stands for.
BARS = {"|": "unstructured", "||": "diagonal"}

_CALL = re.compile(
    rf"({'|'.join(call for row in NAMES.values() for call in row.calls)})\s*\([^()]*\|"
)


@lru_cache(maxsize=256)
def structure(name: str, k: int) -> Structure:
    """The structure of that name for k columns.

    Raises
    ------
    ValueError
        If there is no structure of that name; says what is known of it.

    Examples
    --------
    >>> structure("diagonal", 2)
    diagonal(2)
    """
    built = STRUCTURES.get(name)
    if built is None:
        raise ValueError(why_not(name))
    return built.of(k)


def why_not(name: str) -> str:
    """Why there is no structure of that name, and what there is.

    Examples
    --------
    >>> print(why_not("pdDiag").split(";")[0])
    structure='pdDiag' is nlme's name of 'diagonal'
    """
    known = _known_of(name)
    meant = did_you_mean(name, STRUCTURES) if known == _UNKNOWN else ""
    return (
        f"structure={name!r} {known}; use one of {', '.join(map(repr, STRUCTURES))}{meant}"
    )


def _known_of(name: str) -> str:
    for own, row in NAMES.items():
        programs = {"glmmTMB": row.calls, **row.others}
        found = [p for p, names in programs.items() if name in names]
        if str(name).lower() == own or found:
            if row.built is None:
                return f"({row.means}) is not built"
            return f"is {found[0]}'s name of {own!r}"
    return _UNKNOWN


_UNKNOWN = "is unknown"


def label(name: str, columns: str, group: str) -> str:
    """A random term of the structure of that name in lme4's notation."""
    return STRUCTURES[name].notation.format(columns=columns, group=group)


def is_call(term: str) -> bool:
    """Whether a term of a formula is a bar with its structure before the parenthesis."""
    return bool(_CALL.match(term)) and term.endswith(")")


def why_no_call(term: str) -> str:
    """Why a formula cannot have such a term, and what it can have."""
    first, *rest = (f"{label(name, 'x', 'g')} {name}" for name in BARS.values())
    known = ", ".join([first.replace(") ", ") is ", 1), *rest])
    return f"covariance structures such as {term} are not built; {known}"
