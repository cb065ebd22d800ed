"""The text forms of ``residual=`` and ``variance=``: ``"ar1(visit | subject, by=arm)"``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from mixedext.arguments import did_you_mean
from mixedext.exceptions import FormulaError
from mixedext.specification.covariance.residual_names import (
    VARIANCES,
    other_function,
    other_structure,
)
from mixedext.specification.covariance.residual_objects import (
    AR1,
    ARMA,
    CAR1,
    CS,
    KINDS,
    Antedependence,
    Independent,
    Spatial,
    Toeplitz,
    Unstructured,
)
from mixedext.specification.covariance.residual_structure import ResidualStructure
from mixedext.specification.covariance.variance_objects import (
    StatedVariance,
    VarConstPower,
    VarExp,
    VarFixed,
    VarianceProduct,
    VarIdent,
    VarPower,
)
from mixedext.specification.formula.bars import parse_grouping, plain_name, walk

__all__ = [
    "FUNCTIONS",
    "STRUCTURES",
    "column_name",
    "factors_of",
    "is_variance",
    "read_structures",
    "read_variance",
]

#: Text forms of the structures, and what makes the objects beside the columns.
STRUCTURES: Mapping[str, tuple[type[ResidualStructure], dict[str, Any]]] = {
    "us": (Unstructured, {}),
    "cs": (CS, {"het": False}),
    "csh": (CS, {"het": True}),
    "ar1": (AR1, {"het": False}),
    "ar1h": (AR1, {"het": True}),
    "car1": (CAR1, {}),
    "arma": (ARMA, {}),
    "toep": (Toeplitz, {"het": False}),
    "toeph": (Toeplitz, {"het": True}),
    "ad": (Antedependence, {"het": False}),
    "adh": (Antedependence, {"het": True}),
    **{f"sp_{kind}": (Spatial, {"kind": kind}) for kind in KINDS},
}
#: Text forms of the variance functions.
FUNCTIONS: Mapping[str, type[StatedVariance]] = {
    "ident": VarIdent,
    "power": VarPower,
    "exp": VarExp,
    "constpower": VarConstPower,
    "fixed": VarFixed,
}
_INDEPENDENT = ("independent", "independent()", "none")
_CALL = re.compile(r"\s*([^\W\d][\w.]*)\s*\((.*)\)\s*", re.DOTALL)
_OPTION = re.compile(r"\s*([^\W\d]\w*)\s*=(?!=)\s*(.*?)\s*", re.DOTALL)
_NAME = re.compile(r"[^\W\d][\w.]*")
# Options whose values are words, not numbers.
_WORDS = ("by", "metric")


def read_structures(residual: Any, with_variance: bool) -> tuple[ResidualStructure, ...]:
    """The structures that ``residual=`` states; that of independence for a variance alone.

    Raises
    ------
    FormulaError
        If a text cannot be read.
    ValueError
        If something else is given.
    """
    if residual is None:
        return (Independent(),) if with_variance else ()
    many = residual if isinstance(residual, list | tuple) else [residual]
    if not many:
        raise ValueError("residual=[] holds no structure; leave it out, or give one")
    return tuple(_structure(one) for one in many)


def _structure(one):
    if isinstance(one, ResidualStructure):
        return one
    if isinstance(one, str):
        return _read_structure(one)
    if isinstance(one, StatedVariance | VarianceProduct):
        raise ValueError(f"residual={one!r} is no correlation: give it as variance=")
    if isinstance(one, type) and issubclass(one, ResidualStructure):
        raise ValueError(
            f"residual=mx.{one.__name__} is a class: say its columns, as in "
            f"mx.{one.__name__}(...)"
        )
    raise ValueError(
        f"residual must be a text such as 'ar1(visit | subject)' or an object such as "
        f"mx.AR1('visit', group='subject'), or a list of them; got {type(one).__name__}"
    )


def read_variance(variance: Any) -> tuple[StatedVariance, ...]:
    """The functions whose product ``variance=`` states.

    Raises
    ------
    FormulaError
        If a text cannot be read.
    ValueError
        If something else is given.
    """
    if variance is None:
        return ()
    if isinstance(variance, VarianceProduct):
        return variance.parts
    if isinstance(variance, StatedVariance):
        return (variance,)
    if isinstance(variance, str):
        factors = [f.strip() for f in _split(variance, "*")]
        return tuple(_read_function(factor, variance) for factor in factors)
    if isinstance(variance, list | tuple):
        if not variance:
            raise ValueError("variance=[] holds no function; leave it out, or give one")
        return tuple(part for one in variance for part in read_variance(one))
    if isinstance(variance, ResidualStructure):
        raise ValueError(f"variance={variance!r} is a correlation: give it as residual=")
    raise ValueError(
        "variance must be a text such as 'ident(sex)' or 'power(time)', or an object such "
        f"as mx.VarIdent('sex'), or a list of them; got {type(variance).__name__}"
    )


def is_variance(value: Any, columns: Iterable[Any]) -> bool:
    """Whether a value states functions of the variance, and is no column's name."""
    if isinstance(value, str):
        return value.split("(")[0].strip() in {*FUNCTIONS, *VARIANCES} and (
            "(" in value and value not in columns
        )
    return isinstance(value, StatedVariance | VarianceProduct)


def _read_structure(text):
    if text.strip() in _INDEPENDENT:
        return Independent()
    match = _CALL.fullmatch(text)
    name = text.split("(")[0].strip()
    if name not in STRUCTURES:
        raise FormulaError(
            f"residual={text!r}: {other_structure(text, name) or _unknown(name)}"
        )
    if match is not None and _ends_early(match[2]):
        raise FormulaError(
            f"residual={text!r} holds more than one structure: a model has one; a list "
            "['us(..)', 'cs(..)'] is tried in turn, functions of the variance go into "
            "variance=, and random effects into the formula"
        )
    if match is None:
        fault = "a bracket is not closed" if "(" in text else "name its columns"
        raise FormulaError(f"residual={text!r}: {fault}, as in {_example(name)}")
    where, kind = f"residual={text!r}", _class(name)
    places, group, options = _parts(match[2], where)
    own = dict(STRUCTURES[name][1])
    given = _options(options, kind, where, name)
    if "het" in given:
        raise FormulaError(f"{where}: the structure with variances by visit is {name}h")
    if group is not None:
        own["group"] = factors_of(group, where)
    names = [1 if place == "1" else column_name(place, where) for place in places]
    if kind is Spatial:
        if not names or 1 in names:
            raise FormulaError(f"{where}: name coordinates, as in {_example(name)}")
        return Spatial(own.pop("kind"), names, **own, **given)
    if len(names) != 1:
        found = "none" if not names else "several"
        raise FormulaError(
            f"{where}: write one visit or time before the bar, not {found}, as in "
            f"{_example(name)}"
        )
    if names == [1] and name.endswith("h"):
        raise FormulaError(
            f"{where}: {name} has a variance for each visit; name the visits"
        )
    if names == [1] and kind is CAR1:
        raise FormulaError(f"{where}: name the times; ar1(1 | g) takes the order of rows")
    return kind(names[0], **own, **given)


def _class(name) -> Any:
    return STRUCTURES[name][0]


def _ends_early(inside):
    """Whether the bracket of a call is closed within the text up to the last one."""
    depth = 0
    for sign in inside:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return True
    return False


def _unknown(name):
    if name in FUNCTIONS:
        return f"{name} is a function of the variance: write variance='{name}(..)'"
    if "|" in name:
        return f"a structure has its columns in brackets: us(visit | g), not {name!r}"
    meant = did_you_mean(name, STRUCTURES)
    return f"{name} is no residual structure; there are {', '.join(STRUCTURES)}{meant}"


def _example(name):
    if name.startswith("sp_"):
        return f"{name}(x, y | g) or {name}(x, y)"
    return f"{name}({'time' if name == 'car1' else 'visit'} | subject)"


def _read_function(text, whole):
    where = f"variance={whole!r}"
    match = _CALL.fullmatch(text)
    name = text.split("(")[0].strip()
    kind: Any = FUNCTIONS.get(name)
    if kind is None:
        fault = f"{name} is no function" if name else "a function"
        fault += f" of the variance{'' if name else ' is missing'}; there are "
        fault += f"{', '.join(FUNCTIONS)}{did_you_mean(name, FUNCTIONS)}"
        if name and "(" not in text:
            fault += f", as in ident({name})"
        raise FormulaError(f"{where}: {other_function(name) or fault}")
    example = f"{name}({'sex' if kind is VarIdent else 'time'})"
    if match is None:
        raise FormulaError(f"{where}: name its column, as in {example}")
    if _ends_early(match[2]):
        raise FormulaError(
            f"{where}: functions are multiplied, as in ident(sex) * power(time)"
        )
    if "fitted(" in match[2].replace(" ", "") and kind is not VarIdent:
        raise FormulaError(f"{where}: {name}(fitted) takes the fitted values")
    left, right, options = _parts(match[2], where)
    given = _options(options, kind, where, name)
    if kind is VarIdent:
        if right is not None or len(left) != 1 or left == ["1"]:
            raise FormulaError(f"{where}: name the factor of the strata alone: {example}")
        return VarIdent(factors_of(left[0], where), **given)
    if len(left) != 1:
        fitted = "" if kind is VarFixed else f"; {name}(fitted) takes the fitted values"
        raise FormulaError(f"{where}: name one covariate, as in {example}{fitted}")
    covariate = column_name(left[0], where)
    if right is None:
        return kind(covariate, **given)
    if kind is VarFixed:
        raise FormulaError(
            f"{where}: fixed has no parameter that strata could have their own of; "
            f"ident({right}) * fixed({left[0]}) gives each a variance"
        )
    return kind(covariate, factors_of(right, where), **given)


def _split(text, mark):
    """Pieces of a text between marks that stand outside brackets and quotes."""
    at = [i for i, c, depth in walk(text) if c == mark and depth == 0]
    return [text[a + 1 : b] for a, b in zip([-1, *at], [*at, len(text)], strict=True)]


def _parts(inside, where):
    """What a call holds: places, groups or None, options as written by name."""
    sides = _split(inside, "|")
    if len(sides) > 2:
        raise FormulaError(f"{where} has more than one bar")
    places, options, group = [], {}, None
    for number, side in enumerate(sides):
        for piece in _split(side, ","):
            match = _OPTION.fullmatch(piece)
            if match is not None:
                if match[1] in options:
                    raise FormulaError(f"{where}: {match[1]}= is given twice")
                options[match[1]] = match[2]
            elif number == 0 and piece.strip():
                places.append(piece.strip())
            elif number == 1 and group is None and piece.strip():
                group = piece.strip()
            elif piece.strip():
                raise FormulaError(
                    f"{where}: cannot read {piece.strip()!r}; write the groups after the "
                    "bar, several as a:b, and options by name"
                )
    if len(sides) == 2 and group is None:
        raise FormulaError(f"{where} names no groups after the bar")
    return places, group, options


def _options(options, kind, where, name):
    """Arguments of the class from options as written."""
    known = [f.name for f in fields(kind) if f.kw_only]
    out = {}
    for key, text in options.items():
        if key not in known:
            shown = [k for k in known if k != "het"]
            listed = ", ".join(shown) if shown else "none"
            raise FormulaError(
                f"{where}: {name} has no {key}=; its options are {listed}"
                f"{did_you_mean(key, shown)}"
            )
        if key == "by":
            out[key] = column_name(text, where)
        elif key == "metric":
            out[key] = text.strip("'\"")
        else:
            try:
                out[key] = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                raise FormulaError(
                    f"{where}: {key}={text} is no number, no tuple of numbers and neither "
                    "True nor False"
                ) from None
    return out


def factors_of(text: str, where: str) -> str | tuple[str, ...]:
    """Names of the factors whose levels together are the groups; one as it is.

    Of ``a/b`` the groups are b within a, those of ``a:b``.

    Raises
    ------
    FormulaError
        If it is no single factor or interaction of columns.
    """
    if "*" in text or "+" in text:
        raise FormulaError(
            f"{where}: {text!r} are several groupings, and rows have one; write a:b for "
            "the combinations"
        )
    names = [column_name(atom, where) for atom in parse_grouping(text)[-1]]
    return names[0] if len(names) == 1 else tuple(names)


def column_name(text: str, where: str) -> str:
    """The column that a piece of text names, in backticks or Q("...") if it is odd.

    Raises
    ------
    FormulaError
        If it is an expression.
    """
    name, text = plain_name(text), text.strip()
    if name == text and not _NAME.fullmatch(text):
        raise FormulaError(
            f"{where}: {text!r} is not the name of a column; make a column of it before, "
            "data['x'] = ..., or write `odd names` in backticks"
        )
    return name
