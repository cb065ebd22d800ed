"""Residual structures and variance functions by the names of other programs."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["CORRELATIONS", "VARIANCES", "other_function", "other_structure"]

_FACTOR_ANALYTIC = "factor-analytic structures are not built; us(visit | g) is any matrix"

#: nlme's classes of correlation, as texts here.
CORRELATIONS: Mapping[str, str] = {
    "corAR1": "ar1(visit | g)",
    "corARMA": "arma(visit | g, p=1, q=1)",
    "corCAR1": "car1(time | g)",
    "corCompSymm": "cs(1 | g)",
    "corExp": "sp_exp(x, y | g)",
    "corGaus": "sp_gau(x, y | g)",
    "corLin": "sp_lin(x | g)",
    "corRatio": "sp_ratio(x, y | g)",
    "corSpher": "sp_spher(x, y | g)",
    "corSymm": "us(visit | g), which has a variance for each visit, too",
}
#: nlme's classes of variance, as texts here.
VARIANCES: Mapping[str, str] = {
    "varComb": "ident(a) * power(x)",
    "varConstPower": "constpower(x)",
    "varExp": "exp(x)",
    "varFixed": "fixed(x)",
    "varIdent": "ident(a)",
    "varPower": "power(x), or power(fitted) for nlme's default",
}
# SAS's, SPSS's and Stata's types, in capitals and without spaces.
_TYPES: Mapping[str, str] = {
    "AD1": "adh(visit | g)",
    "ANTE(1)": "adh(visit | g)",
    "AR(1)": "ar1(visit | g)",
    "ARH(1)": "ar1h(visit | g)",
    "ARH1": "ar1h(visit | g)",
    "ARMA(1,1)": "arma(visit | g, p=1, q=1)",
    "ARMA11": "arma(visit | g, p=1, q=1)",
    "CS": "cs(1 | g)",
    "CSH": "csh(visit | g)",
    "DIAG": "independent, with variance='ident(visit)'",
    "EXCHANGEABLE": "cs(1 | g)",
    "EXPONENTIAL": "sp_exp(time | g)",
    "HF": "(Huynh-Feldt) is not built; csh(visit | g) is like it",
    "IDENTITY": "independent",
    "SP(EXP)": "sp_exp(x, y | g)",
    "SP(GAU)": "sp_gau(x, y | g)",
    "SP(LIN)": "sp_lin(x | g)",
    "SP(POW)": "sp_pow(x, y | g), of one coordinate car1(time | g)",
    "SP(SPH)": "sp_spher(x, y | g)",
    "TOEP": "toep(visit | g)",
    "TOEPH": "toeph(visit | g)",
    "TP": "toep(visit | g)",
    "TPH": "toeph(visit | g)",
    "UN": "us(visit | g)",
    "UN(1)": "independent, with variance='ident(visit)'",
    "UNSTRUCTURED": "us(visit | g)",
    "VC": "independent",
}
# What this package and glmmTMB call a random effect's.
_RANDOM: Mapping[str, str] = {
    "diag": "independent, with variance='ident(visit)'",
    "exp": "sp_exp(x, y | g)",
    "gau": "sp_gau(x, y | g)",
    "hetar1": "ar1h(visit | g)",
    "hetcs": "csh(visit | g)",
    "homcs": "cs(1 | g)",
    "homdiag": "independent",
    "homtoep": "toep(visit | g)",
    "ou": "car1(time | g)",
}
# Objects by the name of their class.
_OBJECTS: Mapping[str, str] = {
    "Antedependence": "adh(visit | g)",
    "CompoundSymmetry": "cs(1 | g)",
    "Spatial": "sp_exp(x, y | g)",
    "Toeplitz": "toep(visit | g)",
    "Unstructured": "us(visit | g)",
}
# Whose the types are that SAS does not have.
_PROGRAMS: Mapping[str, str] = {
    **dict.fromkeys(("AD1", "ARH1", "ARMA11", "DIAG", "TP", "TPH"), "SPSS"),
    **dict.fromkeys(("EXCHANGEABLE", "EXPONENTIAL", "IDENTITY", "UNSTRUCTURED"), "Stata"),
}
_BANDED = re.compile(r"TOEP\((\d+)\)")


def other_structure(text: str, name: str) -> str | None:
    """What to write for a structure of another program; None if it is not known.

    Parameters
    ----------
    text : str
        As given.
    name : str
        What stands before the first parenthesis.

    Examples
    --------
    >>> other_structure("AR(1)", "AR")
    "AR(1) is SAS's name; write ar1(visit | g)"
    >>> other_structure("corAR1(form = ~ 1 | g)", "corAR1")
    "corAR1 is nlme's name; write ar1(visit | g)"
    """
    if name in CORRELATIONS:
        return f"{name} is nlme's name; write {CORRELATIONS[name]}"
    if name in _RANDOM:
        return f"{name} is a structure of random effects; write {_RANDOM[name]}"
    if name in _OBJECTS:
        return f"the text form of mx.{name} is {_OBJECTS[name]}"
    capitals = re.sub(r"\s", "", text).upper().removeprefix("TYPE=")
    banded = _BANDED.match(capitals)
    if banded is not None:
        return f"{banded[0]} is SAS's name; write toep(visit | g, bands={banded[1]})"
    if re.match(r"FA\d?\(", capitals):
        return _FACTOR_ANALYTIC
    whole = sorted((k for k in _TYPES if "(" in k), key=len, reverse=True)
    key = next((k for k in whole if capitals.startswith(k)), name.upper())
    if key in _TYPES:
        cure = _TYPES[key]
        if cure.startswith("("):
            return f"{key} {cure}"
        return f"{key} is {_PROGRAMS.get(key, 'SAS')}'s name; write {cure}"
    if name in VARIANCES:
        write = f"variance='{VARIANCES[name].split(',')[0]}'"
        return f"{name} is a function of the variance; write {write}"
    return None


def other_function(name: str) -> str | None:
    """What to write for a variance function of nlme; None if it is not known.

    Examples
    --------
    >>> other_function("varIdent")
    "varIdent is nlme's name; write ident(a)"
    """
    if name in VARIANCES:
        return f"{name} is nlme's name; write {VARIANCES[name]}"
    if name in CORRELATIONS:
        return f"{name} is a correlation; write residual='{CORRELATIONS[name]}'"
    return None
