"""Names of nlme, SAS, SPSS, Stata and glmmTMB are answered with what to write."""

from __future__ import annotations

import re

import pytest

from mixedext.exceptions import FormulaError
from mixedext.specification.covariance.residual_names import CORRELATIONS, VARIANCES
from mixedext.specification.covariance.residual_text import (
    FUNCTIONS,
    STRUCTURES,
    read_structures,
    read_variance,
)

ANSWERS = {
    "corAR1(form = ~ 1 | g)": "corAR1 is nlme's name; write ar1(visit | g)",
    "corCompSymm": "corCompSymm is nlme's name; write cs(1 | g)",
    "corSymm(form = ~ 1 | g)": "write us(visit | g), which has a variance for each visit",
    "corExp": "write sp_exp(x, y | g)",
    "AR(1)": "AR(1) is SAS's name; write ar1(visit | g)",
    "ar(1)": "AR(1) is SAS's name; write ar1(visit | g)",
    "type=AR(1)": "AR(1) is SAS's name; write ar1(visit | g)",
    "ARH(1)": "write ar1h(visit | g)",
    "ARMA(1,1)": "ARMA(1,1) is SAS's name; write arma(visit | g, p=1, q=1)",
    "ANTE(1)": "write adh(visit | g)",
    "UN": "UN is SAS's name; write us(visit | g)",
    "un(visit | g)": "UN is SAS's name; write us(visit | g)",
    "UN(1)": "write independent, with variance='ident(visit)'",
    "CS(visit | g)": "CS is SAS's name; write cs(1 | g)",
    "CSH": "write csh(visit | g)",
    "TOEP": "write toep(visit | g)",
    "TOEP(3)": "TOEP(3) is SAS's name; write toep(visit | g, bands=3)",
    "SP(EXP)(x y)": "SP(EXP) is SAS's name; write sp_exp(x, y | g)",
    "SP(POW)": "of one coordinate car1(time | g)",
    "VC": "VC is SAS's name; write independent",
    "HF": "HF (Huynh-Feldt) is not built",
    "FA(2)": "factor-analytic structures are not built",
    "FA0(1)": "factor-analytic structures are not built",
    "AD1": "AD1 is SPSS's name; write adh(visit | g)",
    "exchangeable": "EXCHANGEABLE is Stata's name; write cs(1 | g)",
    "hetar1(v | g)": "hetar1 is a structure of random effects; write ar1h(visit | g)",
    "ou(t | g)": "write car1(time | g)",
    "varIdent(form = ~ 1 | a)": "is a function of the variance; write variance='ident(a)'",
    "Toeplitz": "the text form of mx.Toeplitz is toep(visit | g)",
}


@pytest.mark.parametrize("text", ANSWERS)
def test_structures(text):
    with pytest.raises(FormulaError) as caught:
        read_structures(text, False)
    assert ANSWERS[text] in str(caught.value)


@pytest.mark.parametrize("name", VARIANCES)
def test_functions(name):
    with pytest.raises(FormulaError) as caught:
        read_variance(f"{name}(form = ~ x)")
    assert f"{name} is nlme's name; write {VARIANCES[name]}" in str(caught.value)


def test_a_correlation_is_no_function():
    with pytest.raises(FormulaError, match="corAR1 is a correlation; write residual='ar1"):
        read_variance("corAR1()")


@pytest.mark.parametrize("text", [*CORRELATIONS.values(), *VARIANCES.values()])
def test_what_is_to_be_written_can_be_read(text):
    for call in re.findall(r"(\w+)\([^()]*\)", text):
        assert call in {*STRUCTURES, *FUNCTIONS}
