"""What a user of nlme, mmrm or SAS types wrong: the answer names the fault and the cure."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def names():
    """What the mistakes are typed with."""
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"pig": np.repeat([f"P{i}" for i in range(20)], 5)})
    d["week"] = np.tile(np.arange(1, 6), 20)
    number = d["pig"].str[1:].astype(int)
    d["text"], d["day"] = "W" + d["week"].astype(str), d["week"] + 0.25
    d["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(7 * d["week"], "D")
    d["arm"] = np.where(number % 2, "a", "b")
    d["sex"] = np.where(number % 3, "f", "m")
    d["x"] = rng.normal(size=100)
    d["y"] = d["week"] + rng.normal(size=100) + np.repeat(rng.normal(size=20), 5)
    d["row"], d["col"] = np.tile(range(10), 10), np.repeat(range(10), 10)
    even = number % 2 == 0
    return {
        "mx": mx,
        "np": np,
        "pd": pd,
        "d": d,
        "never": d[~((d["week"] == 2) & even | (d["week"] == 3) & ~even)],
        "other_arm": d.assign(arm=d["arm"].where(d.index != 2, "a")),
        "v10": d.assign(text=["V" + str(w) for w in d["week"].replace(5, 10)]),
        "exact": d.assign(y=d["y"].where(d["sex"] == "f", 3 + 2 * d["x"])),
        "one": d.assign(st=np.where(d.index == 0, "B", "A")),
        "fit": lambda formula="y ~ x", data=d, **more: mx.mixedlm(
            formula, data, **more
        ).fit(),
        "ar1": mx.mixedlm("y ~ x", d, residual="ar1(week | pig)").fit(),
    }


# The line, what of it is wrong, and what to write; texts that the answer holds.
# ruff: noqa: E501
DATA = [
    (
        "fit(data=d.assign(week=d.week.where(d.index != 3, 2)), residual='ar1(week | pig)')",
        "pig 'P0' has the visit 2 of 'week' twice, in rows 1 and 3",
        "cs(1 | g)",
    ),
    (
        "fit(data=d.assign(day=d.day.where(d.index != 3, 3.25)), residual='car1(day | pig)')",
        "day=3.25 twice, in rows 2 and 3",
        "nugget=True",
    ),
    (
        "fit(data=pd.concat([d, d[:1]]), residual='sp_exp(row, col)')",
        "row=0, col=0 twice, in rows 0 and 100 (numbers, from 0)",
        "nugget=True",
    ),
    ("fit(residual='toep(day | pig)')", "'day' are not whole numbers", "car1(day | g)"),
    ("fit(data=d.replace({'day': {1.25: np.nan}}), residual='car1(day | pig)')", "day", "'drop'"),
    ("fit(data=d.replace({'day': {1.25: np.inf}}), residual='car1(day | pig)')", "day", "subset="),
    ("fit(variance='power(x)')", "its smallest value is", "constpower or exp"),
    ("fit(variance='fixed(x)')", "its smallest value is", "must be positive"),
    ("fit(data=other_arm, residual='us(week | pig, by=arm)')", "'b' and 'a'", "| arm/pig"),
    ("fit(data=never, residual='us(week | pig)')", "visits 2 and 3 are never", "ar1 or ad"),
    ("fit(data=d[d.pig.isin(['P0', 'P1'])], residual='us(week | pig)')", "2 groups", "ar1"),
    ("fit(data=v10, residual='ar1(text | pig)')", "V1, V10, V2", "ordered categorical"),
    ("fit('y ~ x + ar1(1 | pig)')", "one column", "(0 + visit | g)"),
    ("fit('y ~ x + ar1(week | pig)')", "columns here are", "leave out the intercept"),
    ("fit(data=d.drop_duplicates('pig'), residual='cs(1 | pig)')", "no two rows", "factor?"),
    ("fit(data=one, variance='ident(st)')", "'B' has 1 row", "merge it"),
    ("fit('y ~ sex * x', exact, variance='ident(sex)')", "rows of 'm' exactly", "leave these"),
    ("fit('y ~ sex * x', exact, variance='ident(sex)', residual='ar1(week | pig)')",
     "rows of 'm' exactly", "leave these"),
    ("fit('y ~ x + (1 | pig)', residual='cs(1 | pig)')", "same covariance", "drop one"),
    ("fit('y ~ x + (1 | pig)', residual='toep(week | pig)')", "overlap", "drop one"),
    ("fit('y ~ x + (week | pig)', residual='us(week | pig)')", "overlap", "drop one"),
    ("fit('y ~ x + (1 | pig)', d[d.week < 3], residual='ar1(week | pig)')",
     "do not tell apart variance of Intercept by pig, rho", "Drop one"),
    ("fit(residual='ar1h(week | pig)', variance='ident(week)')",
     "ar1h (the variances of ident(week))", "leave one out"),
    ("fit(residual='car1(when | pig)')", "holds dates", "(x - x.min()).dt.days"),
    ("fit(residual='sp_lin(row, col)')", "in the plane", "sp_spher"),
    ("fit(residual='sp_exp(text | pig)')", "'text'", "must hold numbers"),
    ("fit(variance='ident(x)')", "has 1 row", "merge it"),
]  # fmt: skip
WORDS = [
    ("fit(residual='ar(week | pig)')", "no residual structure", "'ar1'"),
    ("fit(residual='us(week | pig, bye=arm)')", "us has no bye=", "'by'"),
    ("fit(residual='corAR1(form = ~ week | pig)')", "nlme's name", "ar1(visit | g)"),
    ("fit(residual='UN(week | pig)')", "SAS's name", "us(visit | g)"),
    ("fit(residual='AR(1)')", "SAS's name", "ar1(visit | g)"),
    ("fit(residual='us week | pig')", "'us week | pig'", "us(visit | g)"),
    ("fit(residual='ident(sex)')", "a function of the variance", "variance='ident(..)'"),
    ("fit(residual='ar1(week | pig) + cs(1 | pig)')", "more than one", "tried in turn"),
    ("fit(residual='ar1(week | pig) * ident(sex)')", "more than one", "into variance="),
    ("fit(variance='ar1(week | pig)')", "no function of the variance", "ident, power"),
    ("fit(variance='varPower(form = ~ x)')", "nlme's name", "power(x)"),
    ("fit(variance='power(fited)')", "'fited' is not a column", "there are"),
    ("fit(weights=mx.VarIdent('sex'))", "known precisions", "variance='ident(sex)'"),
    ("fit(weights='varIdent(form = ~ 1 | sex)')", "known precisions", "variance="),
    ("fit(correlation='corAR1()')", "correlation", "residual='ar1(visit | g)'"),
    ("fit(covariance='us(week | pig)')", "covariance", "residual='us(visit | g)'"),
    ("fit(repeated='week')", "repeated", "residual='us(visit | g)'"),
    ("fit(type='un')", "type", "residual='us(visit | g)'"),
    ("fit(subject='pig')", "subject", "residual='us(visit | subject)'"),
    ("fit(residual='ar1(week | pig)', rho=0.5)", "rho", "mx.AR1('visit', group='g', rho="),
    ("fit(residual='us(weak | pig)')", "'weak' is not a column", "'week'"),
    ("fit(residual='us(week | pigs)')", "'pigs' is not a column", "'pig'"),
    ("fit(residual='ar1(week)')", "no group is given", "name groups"),
    ("fit(residual=mx.AR1)", "is a class", "mx.AR1(...)"),
    ("fit(residual=[])", "no structure", "leave it out"),
    ("fit(residual={'type': 'us'})", "got dict", "'ar1(visit | subject)'"),
    ("fit(variance=d.x)", "got Series", "'ident(sex)'"),
    ("fit(residual=mx.AR1('week', group='pig', rho=1.2))", "rho=1.2", "(-1, 1)"),
    ("fit(residual=mx.AR1('week', group='pig', fixed=True))", "fixed=True", "none is"),
    (
        "fit(residual=mx.Unstructured('week', group='pig', start=np.eye(3)))",
        "(3, 3)",
        "(5, 5)",
    ),
    ("fit(residual='arma(week | pig)')", "p and q are both 0", "p=1, q=1"),
    ("fit(residual='toep(week | pig, bands=9)')", "no more than 5", "leave bands= out"),
    ("fit(residual=mx.Spatial('matern', ['row', 'col']))", "'matern'", "'exp', 'gau'"),
    (
        "mx.MixedLM(d.y, d[['x']], residual='us(week | pig)')",
        "arrays have no names",
        "mx.AR1(",
    ),
    (
        "mx.MixedLM(d.y, d[['x']], residual=mx.AR1(d.week[:50], group=d.pig))",
        "50 rows",
        "100",
    ),
    ("mx.mixedlm('y ~ x', d).fit(residual='ar1(week | pig)')", "'residual'", "there are"),
    (
        "ar1.model.fit(reml=False, df_method='kenward-roger')",
        "reml=True",
        "'satterthwaite'",
    ),
    ("ar1.model.fit(cov_type='empirical')", "'empirical'", "cov_type='CR2'"),
    ("ar1.residual.group('P99')", "'P99' is none of", "'P0', 'P1'"),
    ("ar1.marginal_cov('P99')", "'P99' is none of", "'P0', 'P1'"),
    ("ar1.residuals(scale='normalised')", "'normalised'", "'normalized'"),
    ("ar1.acf(lags='all')", "lags='all'", "whole number"),
    ("ar1.predict(d.drop(columns='pig'), conditional='all')", "no column 'pig'", "names"),
    ("fit().residual", "are independent", "residual="),
    ("mx.glmm('y ~ x', d, residual='ar1(week | pig)')", "linear models", "ar1(0 + visit"),
]


@pytest.mark.parametrize(("line", "fault", "cure"), DATA + WORDS)
def test_answer(line, fault, cure, names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as found:  # noqa: PT011 - any, but of these words
            eval(line, dict(names))
    text = str(found.value)
    assert fault in text, text
    assert cure in text, text
