"""The structures by name: what is built, what is not, and what other programs call them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

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
from mixedext.specification.covariance.term_structure import TermStructure
from mixedext.specification.covariance.unstructured import Unstructured

__all__ = [
    "BARS",
    "CALLS",
    "NAMES",
    "STRUCTURES",
    "Row",
    "is_call",
    "label",
    "means",
    "name_of",
    "structure",
    "structure_of_call",
    "why_no_call",
    "why_not",
    "written",
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
    built: type[TermStructure] | None = None


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
_MARKS = {name: mark for mark, name in BARS.items()}

#: Of what stands before the parenthesis of a random term: the structure with one variance,
#: that with a variance for each column, and which of the two it is.
CALLS: dict[str, tuple[str | None, str | None, bool]] = {
    "us": (None, "unstructured", False),
    "diag": ("identity", "diagonal", False),
    "homdiag": ("identity", "diagonal", True),
    "cs": ("homcs", "cs", False),
    "homcs": ("homcs", "cs", True),
    "ar1": ("ar1", "hetar1", True),
    "hetar1": ("ar1", "hetar1", False),
    "toep": ("homtoep", "toep", False),
    "homtoep": ("homtoep", "toep", True),
    "ad": ("ad", "adh", True),
    "adh": ("ad", "adh", False),
}
# Objects of residual structures serve for random effects: by their call and variances.
_OBJECTS = ("us", "cs", "ar1", "toep", "ad")

_CALL = re.compile(
    rf"({'|'.join(call for row in NAMES.values() for call in row.calls)})\s*\("
)


@lru_cache(maxsize=256)
def structure(name: str, k: int) -> TermStructure:
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


def name_of(stated: Any) -> str | None:
    """Name of the structure that an object such as ``mx.AR1()`` stands for.

    An object says its ``random_name``, or its ``call`` and whether it ``is_het``.  None for
    what is no such object.

    Raises
    ------
    ValueError
        If it names rows, which those of the random term are, or has what random effects do
        not.
    """
    name = getattr(stated, "random_name", None)
    if name is not None and not callable(name):
        return str(name)
    call = getattr(stated, "call", None)
    if not isinstance(call, str) or not hasattr(stated, "is_het"):
        return None
    kind = type(stated).__name__
    if call not in _OBJECTS:
        raise ValueError(
            f"structure={stated!r}: {kind} is one of residuals; those of random effects "
            f"are {', '.join(map(repr, STRUCTURES))}"
        )
    given = [
        name
        for name in ("visit", "group", "by", "bands", "rho", "fixed", "start")
        if getattr(stated, name, None) not in (None, False)
    ]
    if given:
        raise ValueError(
            f"structure={stated!r}: leave out {', '.join(given)} of {kind}; the columns of "
            "a random term are its visits, and its codes the groups, and correlations are "
            "estimated"
        )
    one, each, _ = CALLS[call]
    return each if stated.is_het or one is None else one


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
        if found and row.built is not None:
            return f"is {found[0]}'s name of {own!r}"
        if found or (str(name).lower() == own and row.built is None):
            return f"({row.means}) is not built"
    if str(name).lower() in STRUCTURES:
        return f"is written {str(name).lower()!r}"
    return _UNKNOWN


_UNKNOWN = "is unknown"


def label(name: str, columns: str, group: str) -> str:
    """A random term of the structure of that name in lme4's notation."""
    return STRUCTURES[name].notation.format(columns=columns, group=group)


def means(form: TermStructure) -> str:
    """A structure in words."""
    return NAMES[form.name].means


def written(name: str, columns: str, group: str) -> str:
    """The same as a formula has it: what reads as this structure again."""
    if name in _MARKS:
        return f"({columns} {_MARKS[name]} {group})"
    (call,) = NAMES[name].calls
    return f"{call}({columns} | {group})"


def is_call(term: str) -> bool:
    """Whether a term of a formula is a bar with its structure before the parenthesis."""
    if not (_CALL.match(term) and term.endswith(")")):
        return False
    inside, depth, has_bar = term.index("("), 0, False
    for i, c in enumerate(term[inside:], inside):
        depth += (c in "([{") - (c in ")]}")
        has_bar |= c == "|" and depth == 1
        if depth == 0 and i < len(term) - 1:
            return False
    return has_bar


def why_no_call(call: str) -> str:
    """Why a formula cannot have terms of such a call, and what it can have."""
    means = next((row.means for row in NAMES.values() if call in row.calls), "unknown")
    return f"{call}(...) ({means}) is not built; use one of {', '.join(CALLS)}"


def structure_of_call(call: str, homogeneous: bool | None) -> str:
    """Name of the structure that a call and its argument ``hom`` stand for.

    Raises
    ------
    ValueError
        If it is not built, or ``hom`` does not go with it; says what there is.

    Examples
    --------
    >>> structure_of_call("ar1", None), structure_of_call("cs", True)
    ('ar1', 'homcs')
    """
    if call not in CALLS:
        raise ValueError(why_no_call(call))
    one, each, usual = CALLS[call]
    if homogeneous is None:
        homogeneous = usual
    elif call in ("homdiag", "homcs", "hetar1", "homtoep", "adh") and homogeneous != usual:
        raise ValueError(f"{call}(..., hom={homogeneous}) says two things; leave hom out")
    name = one if homogeneous else each
    if name is None:
        raise ValueError(f"{call}() has a variance for each column: hom=True is not built")
    return name
