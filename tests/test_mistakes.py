"""What a new user types wrong: the answer names the fault and the cure.

Users come from lme4, nlme, emmeans, statsmodels, and pandas; each writes what was right
there.
"""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.compat import FormulaManager

pytestmark = pytest.mark.formula_engine

FORMULAIC = FormulaManager().engine == "formulaic"


@pytest.fixture(scope="module")
def names():
    """What the mistakes are typed with: data, a model, its results, and others."""
    data = mx.datasets.sleepstudy.load().data
    odd = data["Subject"].astype(str).str[-1].astype(int) % 2 == 1
    data["sex"] = np.where(odd, "m", "f")
    data["text"] = data["Reaction"].astype(str)
    data["sold"] = data["Days"].astype(str) + " ms"
    data["comma"] = data["text"].str.replace(".", ",")
    data["thousands"] = (1e5 * data["Reaction"]).map("{:,.0f}".format)
    data["percent"] = data["Days"].map("{:.0f}%".format)
    data["gap"] = data["text"].where(data["Days"] > 0, "n/a")
    data["both"] = data["Days"].astype(object).where(data["Days"] > 0, "NA")
    data["slip"] = data["text"].where(data["Days"] > 0, "12..5")
    data["blank"] = data["sex"] + np.where(data["Days"] > 0, "", " ")
    data["capital"] = data["sex"].where(data["Days"] > 0, data["sex"].str.upper())
    data["lacking"] = data["sex"].where(data["Days"] > 0, "NA")
    data["single"] = "a"
    data["yes"] = (np.arange(180) % 7 < 3).astype(int)
    data["twelve"] = 1 + data["yes"]
    data["count"] = np.arange(180) % 5
    data["list"] = [[day] for day in data["Days"]]
    data["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(data["Days"], "D")
    data["slept"] = pd.to_timedelta(data["Days"], "D")
    data["one"] = 1.0
    data["days-awake"] = data["1st"] = data["Days"]
    model = mx.mixedlm("Reaction ~ sex * Days + (Days | Subject)", data)
    result = model.fit()
    smaller = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    return {
        "mx": mx,
        "np": np,
        "pd": pd,
        "Path": Path,
        "data": data,
        "model": model,
        "result": result,
        "smaller": smaller,
        "ml": model.fit(reml=False),
        "means": result.emmeans("sex"),
        "fewer": mx.mixedlm("Reaction ~ Days + (Days | Subject)", data.head(170)).fit(),
        "fit": lambda formula, **more: mx.mixedlm(formula, data, **more),
        "glmm": lambda formula, family, **more: mx.glmm(formula, data, family, **more),
        "yes": mx.glmm("yes ~ Days + (1 | Subject)", data, "binomial"),
    }


def answer(code: str, names: dict) -> str:
    """The error, or the first warning, that a line of code ends in."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            eval(code, dict(names))
        except Exception as error:  # noqa: BLE001 - whatever is raised is the answer
            return f"{type(error).__name__}: {error}"
    assert caught, f"{code} is answered with nothing"
    return f"{caught[0].category.__name__}: {caught[0].message}"


# The line, what of it is wrong, and what to write; texts that the answer holds.
FORMULAS = [
    # nlme, and random terms in other ways
    ("fit('Reaction ~ Days', random='~ 1 | Subject')", "random", "(1 | g)"),
    ("fit('Reaction ~ Days, random = ~ 1 | Subject')", "one '~'", "(1 | g)"),
    ("fit('Reaction ~ Days | Subject')", "in parentheses", "(1 | g)"),
    ("fit('Reaction ~ Days + 1 | Subject')", "in parentheses", "(1 | g)"),
    ("fit('Reaction ~ Days + (1 | \"Subject\")')", '"Subject"', "without quotes"),
    ("fit('Reaction ~ Days + (Subject | 1)')", "'1'", "right of the bar"),
    ("fit('Reaction ~ Days + (1 / Subject)')", "bar", "(1 | Subject)"),
    ("fit('Reaction ~ Days + (1 \\\\ Subject)')", "bar", "(1 | Subject)"),
    ("fit('Reaction ~ Days + (1 | Subject, sex)')", "Subject, sex", "(1 | Subject:sex)"),
    ("fit('Reaction ~ Days * (1 | Subject)')", "Days * (1 | Subject)", "added to"),
    ("fit('Reaction ~ Days + (1 | Subject')", "bracket", "not closed"),
    ("fit('Reaction ~ Days + Error(Subject)')", "Error", "(1 | g)"),
    ("fit('Reaction ~ Days', groups=['Subject', 'sex'])", "groups", "(1 | Subject)"),
    ("fit('Reaction ~ Days', groups='Subject', re_formula='1 | Subject')", "bar", "'~x'"),
    ("fit('Reaction ~ Days', groups='Subject', vc_formula='~ sex')", "vc_formula", "C(a)"),
    ("fit('Reaction ~ Days', re_formula='~ Days')", "re_formula", "groups="),
    ("fit('Reaction ~ Days + ar1(Days | Subject)')", "ar1", "leave out the intercept"),
    ("fit('Reaction ~ Days + rr(Days | Subject)')", "rr", "not built"),
    # names
    ("fit('Reaction ~ days + (1 | Subject)')", "days", "'Days'"),
    ("fit('reaction ~ Days + (1 | Subject)')", "reaction", "'Reaction'"),
    ("fit('Reaction ~ Days + (1 | subject)')", "'subject'", "'Subject'"),
    ("fit('Reaction ~ Days', groups='subjects')", "'subjects'", "'Subject'"),
    ("fit('Reaction ~ days-awake + (1 | Subject)')", "awake", "`days-awake`"),
    ("fit('Reaction ~ 1st + (1 | Subject)')", "st", "`1st`"),
    ("fit('Reaction ~ Days + (1 | 1st)')", "1st", "`1st`"),
    ("fit('Reaction ~ data$Days + (1 | Subject)')", "data$Days", "alone: Days"),
    ("fit('Reaction = Days + (1 | Subject)')", "'~'", "between the response and"),
    ("fit('Reaction ~ Days sex + (1 | Subject)')", "Days sex", "operator"),
    ("fit('Reaction ~ . + (1 | Subject)')", "'.'", "name them"),
    ("fit('~ Days + (1 | Subject)')", "no response", "'~'"),
    # R's functions
    ("fit('Reaction ~ factor(sex) + (1 | Subject)')", "factor", "C(sex)"),
    ("fit('Reaction ~ as.factor(sex) + (1 | Subject)')", "as.factor", "C(sex)"),
    ("fit('Reaction ~ Days + (1 | as.factor(Subject))')", "as.factor", "(1 | Subject)"),
    ("fit('Reaction ~ ifelse(Days > 4, 1, 0) + (1 | Subject)')", "ifelse", "np.where"),
    ("fit('Reaction ~ relevel(sex, \"m\") + (1 | Subject)')", "relevel", "Treatment("),
    ("fit('Reaction ~ C(sex, ref=\"m\") + (1 | Subject)')", "ref", "Treatment("),
    ("fit('Reaction ~ C(sex, Treatment(\"male\")) + (1 | Subject)')", "male", "f, m"),
    ("fit('Reaction ~ ns(Days, 3) + (1 | Subject)')", "ns", "cr(Days"),
    ("fit('cbind(Reaction, Days) ~ sex + (1 | Subject)')", "cbind", "fit_many"),
    pytest.param(
        "fit('Reaction ~ Days %in% sex + (1 | Subject)')",
        "%in%",
        "a:b",
        marks=pytest.mark.skipif(FORMULAIC, reason="formulaic reads it as R does"),
    ),
    pytest.param(
        "fit('Reaction ~ C(sex, contr.sum) + (1 | Subject)')",
        "contr.sum",
        "C(x, Sum)",
        marks=pytest.mark.skipif(FORMULAIC, reason="formulaic has it"),
    ),
    ("fit('Reaction ~ ln(Days + 1) + (1 | Subject)')", "ln", "np.log"),
    ("fit('Reaction ~ Log(Days + 1) + (1 | Subject)')", "Log", "'log'"),
    ("fit('Reaction ~ polly(Days, 2) + (1 | Subject)')", "polly", "'poly'"),
    ("fit('Reaction ~ numpy.log(Days + 1) + (1 | Subject)')", "numpy", "np.log(...)"),
    ("fit('Reaction ~ np.log(Days) + (1 | Subject)')", "np.log(Days)", "subset="),
    (
        "fit('Reaction ~ np.log(Days - 1) + (1 | Subject)', subset=data.Days != 1)",
        "np.log(Days - 1)",
        "missing='drop'",
    ),
    ("fit('Reaction ~ poly(Days, 2, raw=TRUE) + (1 | Subject)')", "raw", "I(Days**2)"),
    pytest.param(
        "fit('Reaction ~ poly(Days, 2, raw=True) + (1 | Subject)')",
        "raw",
        "I(Days**2)",
        marks=pytest.mark.skipif(FORMULAIC, reason="formulaic has it"),
    ),
    ("fit('Reaction ~ poly(sex, 2) + (1 | Subject)')", "poly", "pd.to_numeric"),
    ("fit('Reaction ~ np.log(sex) + (1 | Subject)')", "np.log", "pd.to_numeric"),
    ("fit('Reaction ~ scale(sex) + (1 | Subject)')", "scale", "pd.to_numeric"),
    ("fit('Reaction ~ bs(Days, 4, 3, TRUE) + (1 | Subject)')", "TRUE", "write True"),
    # powers, Stata's prefixes, what is no term
    ("fit('Reaction ~ Days**2 + (1 | Subject)')", "crossed with itself", "I(Days**2)"),
    ("fit('Reaction ~ sex * Days^2 + (1 | Subject)')", "Days**2", "I(Days**2)"),
    ("fit('Reaction ~ Days + (Days**2 | Subject)')", "Days**2", "I(Days**2)"),
    ("fit('Reaction ~ i.sex + Days + (1 | Subject)')", "i.sex", "C(sex)"),
    ("fit('Reaction ~ sex + c.Days + (1 | Subject)')", "c.Days", "write Days"),
    ("fit('Reaction ~ Days, groups = Subject')", "comma", "after the quotes"),
    ("fit('Reaction, Days ~ sex + (1 | Subject)')", "several responses", "fit_many"),
    ("fit('Reaction ~ Days + [1 | Subject]')", "parentheses", "(1 | Subject)"),
    ("fit('Reaction ~ Days + {1 | Subject}')", "parentheses", "(1 | Subject)"),
    ("fit('Reaction ~ Days + (1 ; Subject)')", "bar", "(1 | Subject)"),
    ("fit('Reaction ~ Days + (0 | Subject)')", "no columns", "(1 | ...)"),
    ("fit('Reaction ~ 1', groups='Subject', re_formula='y ~ x')", "response", "'~x'"),
    ("mx.mixedlm('Reaction ~ Days', data, data.Subject)", "not Series", "groups='g'"),
    ("mx.mixedlm('Reaction ~ Days', data, False)", "not False", "fit(reml=False)"),
    # the response in two places
    ("fit('Reaction ~ Reaction + (1 | Subject)')", "the fixed effects", "leave it out"),
    ("fit('Reaction ~ Days + (1 | Reaction)')", "(1 | Reaction)", "leave it out"),
    ("fit('Reaction ~ Days + (Reaction | Subject)')", "| Subject)", "leave it out"),
    ("fit('Reaction ~ Days', groups='Reaction')", "groups=", "leave it out"),
    ("fit('Reaction ~ Days', variance='power(Reaction)')", "structure", "leave it out"),
    # what columns hold
    ("fit('text ~ Days + (1 | Subject)')", "text (", "pd.to_numeric"),
    ("fit('sold ~ Days + (1 | Subject)')", "'0.0 ms' is no number", "pd.to_numeric"),
    ("fit('sex ~ Days + (1 | Subject)')", "2 values", "glmm(formula, data, family="),
    ("fit('comma ~ Days + (1 | Subject)')", "decimal comma", "decimal=','"),
    ("fit('Reaction ~ comma + (1 | Subject)')", "'comma'", "decimal=','"),
    ("fit('Reaction ~ thousands + (1 | Subject)')", "'thousands'", "thousands=','"),
    ("fit('Reaction ~ percent + (1 | Subject)')", "'percent'", ".str.rstrip('% ')"),
    ("fit('gap ~ Days + (1 | Subject)')", "'n/a' is no number", "pd.to_numeric"),
    ("fit('Reaction ~ gap + (1 | Subject)')", "'n/a' is no number", "pd.to_numeric"),
    ("fit('Reaction ~ both + (1 | Subject)')", "'NA' is no number", "pd.to_numeric"),
    ("fit('Reaction ~ slip + (1 | Subject)')", "'12..5' is no number", "pd.to_numeric"),
    ("fit('Reaction ~ Days + (slip | Subject)')", "'12..5'", "pd.to_numeric"),
    ("fit('Reaction ~ blank + (1 | Subject)')", "'blank'", ".str.strip()"),
    ("fit('Reaction ~ Days + (1 | Subject) + (1 | blank)')", "'blank'", ".str.strip()"),
    ("fit('Reaction ~ Days', groups='capital')", "'capital'", ".str.lower()"),
    ("fit('Reaction ~ capital + (1 | Subject)')", "'capital'", ".str.lower()"),
    ("fit('Reaction ~ lacking + (1 | Subject)')", "'NA'", "replace('NA', np.nan)"),
    ("fit('Reaction ~ Days + (1 | lacking)')", "'NA'", "replace('NA', np.nan)"),
    ("fit('Reaction ~ single + (1 | Subject)')", "one value", "leave it out"),
    ("fit('Reaction ~ list + (1 | Subject)')", "'list' holds a list", "explode"),
    ("fit('Reaction ~ Days + (1 | list)')", "'list' holds a list", "explode"),
    ("fit('Reaction ~ text + (1 | Subject)')", "'text' holds text", "pd.to_numeric"),
    ("fit('Reaction ~ Days + (text | Subject)')", "'text' holds text", "pd.to_numeric"),
    ("fit('Reaction ~ when + (1 | Subject)')", "'when' holds dates", ".dt.days"),
    ("fit('Reaction ~ slept + (1 | Subject)')", "'slept'", "total_seconds"),
    ("fit('Reaction ~ scale(one) + (1 | Subject)')", "scale(one)", "leave it out"),
    ("fit('one ~ Days + (1 | Subject)')", "response", "constant"),
    ("fit('Reaction ~ Days + (1 | one)')", "1 level", "Leave the term out"),
    ("fit('Reaction ~ Days + offset(o) + (1 | Subject)')", "offset(o)", "columns are"),
]
GENERALIZED = [
    ("glmm('yes ~ Days + (1 | Subject)', 'logit')", "is a link", "'binomial(logit)'"),
    ("glmm('count ~ Days + (1 | Subject)', 'log')", "is a link", "(log)'"),
    ("glmm('comma ~ Days + (1 | Subject)', 'gamma')", "takes numbers", "decimal=','"),
    ("glmm('blank ~ Days + (1 | Subject)', 'binomial')", "'f '", ".str.strip()"),
    ("glmm('lacking ~ Days + (1 | Subject)', 'binomial')", "'NA'", "np.nan"),
    ("glmm('twelve ~ Days + (1 | Subject)', 'binomial')", "1 and 2", "I(y == 2)"),
    ("glmm('count | trials(10) ~ Days + (1 | Subject)', 'binomial')", "trials", "cbind("),
    ("glmm('[yes, count] ~ Days + (1 | Subject)', 'binomial')", "[yes, count]", "cbind("),
    ("glmm('yes, count ~ Days + (1 | Subject)', 'binomial')", "yes, count", "cbind("),
    ("glmm('yes ~ Days', 'binomial', random='~ 1 | Subject')", "random", "(1 | g)"),
    ("glmm('yes ~ 1', 'binomial', groups='one', re_formula='y ~ x')", "response", "'~x'"),
    ("glmm('count ~ Days', 'poisson', offset='log(one)')", "offset=", "offset(log(one))"),
    ("glmm('count ~ count + (1 | Subject)', 'poisson')", "'count'", "leave it out"),
    ("glmm('yes ~ Days + (1 | yes)', 'binomial')", "(1 | yes)", "leave it out"),
    ("glmm('one ~ Days + (1 | Subject)', 'gamma')", "constant", "dispersion"),
    ("mx.glmm(data, 'yes ~ Days + (1 | Subject)')", "not DataFrame", "first"),
    ("yes.fit(nAGQ=0)", "nAGQ", "n_agq="),
    ("yes.fit(df_method='satterthwaite')", "df_method", "normal law"),
    ("yes.fit().predict({'Days': [1]}, type='response')", "type", "which='mean'"),
    ("yes.fit().summary(exponentiate=True)", "exponentiate", ".tidy(exponentiate=True)"),
]
DATA = [
    ("mx.mixedlm(data, 'Reaction ~ Days')", "not DataFrame", "first"),
    ("mx.mixedlm('Reaction ~ Days')", "'data'", "missing"),
    ("mx.mixedlm('Reaction ~ Days', data.to_numpy())", "no names", "columns=["),
    ("mx.mixedlm('Reaction ~ Days', 'sleep.csv')", "'sleep.csv'", "pd.read_csv"),
    ("mx.mixedlm('Reaction ~ Days', Path('sleep.csv'))", "PosixPath", "pd.read_csv"),
    ("mx.mixedlm('Reaction ~ Days', None)", "None", "DataFrame"),
    ("mx.mixedlm('y ~ x', {'y': [1, 2], 'x': [1, 2, 3]})", "dict", "same length"),
    ("mx.mixedlm('Reaction ~ Days', mx.datasets.sleepstudy)", "module", ".load().data"),
    ("mx.MixedLM('Reaction ~ Days', data)", "is a formula", "mixedlm(formula, data)"),
    ("mx.MixedLM(data.Reaction, data.Days, 'Subject')", "groups", "one label for each"),
    ("mx.MixedLM(data.Reaction, data[['sex']], data.Subject)", "exog", "formula"),
    ("fit('Reaction ~ Days', weights=data.when)", "weights", "it holds dates"),
    ("mx.MixedLM(data.when, data.Days, data.Subject)", "endog", "it holds dates"),
    ("mx.MixedLM(data.Reaction, data.when, data.Subject)", "exog", "it holds dates"),
    ("mx.RandomTerm(data.Subject, data.slept)", "z of the random term", "durations"),
    ("mx.RandomTerm('Subject')", "one dimension", "a label for each row"),
    ("mx.RandomTerm(data.Subject, structure='AR1')", "'AR1'", "is written 'ar1'"),
    ("model.refit(data.when)", "endog", "it holds dates"),
    ("model.fit_many(data[['Reaction', 'sex']])", "endog", "not 'sex'"),
    ("fit('Reaction ~ Days', subset=data.Days > 20)", "no rows", "subset="),
    (
        "fit('Reaction ~ Days', groups='Subject', vc_formula={'a': '1 | sex'})",
        "'a'",
        "C(a)",
    ),
    ("fit('Reaction ~ Days', weights=[1, 2, 3])", "weights has shape (3,)", "180 rows"),
    ("fit('Reaction ~ Days', weights=0 * data.Days)", "weights", "positive"),
    ("fit('Reaction ~ Days', weight='Days')", "weight", "weights="),
    ("fit('Reaction ~ Days', weights='1/Days')", "'1/Days'", "weights=1/data['Days']"),
    ("fit('Reaction ~ Days', offset='np.log(Days)')", "offset=", "offset(np.log(Days))"),
    ("fit('Reaction ~ Days', contrasts={'sex': 'contr.sum'})", "contrasts", "C(x, Sum)"),
    ("fit('Reaction ~ Days', nAGQ=7)", "nAGQ", "glmm(...).fit(n_agq=7)"),
    ("fit('Reaction ~ Days', subset=data.Days)", "subset=", "data['x'] > 0"),
    ("fit('Reaction ~ Days', subset=1 * (data.Days > 2))", "subset=", "data['x'] == 1"),
    ("fit('Reaction ~ Days', subset=(data.Days > 2).to_numpy(int))", "subset=", "== 1"),
    ("fit('Reaction ~ Days', subset='Days > 2')", "subset", "data.eval"),
    ("fit('Reaction ~ Days', missing='omit')", "'omit'", "'drop'"),
    ("fit('Reaction ~ Days', na_action='na.omit')", "na_action", "missing='drop'"),
    ("fit('Reaction ~ Days', REML=False)", "REML", "fit(reml=False)"),
    ("fit('Reaction ~ Days', family='binomial')", "family", "Gaussian"),
    (
        "fit('Reaction ~ Days', correlation='ar1')",
        "correlation",
        "residual='ar1(visit | g)",
    ),
    ("fit('Reaction ~ Days', weights='ident(sex)')", "weights", "variance='ident(sex)'"),
    ("fit('Reaction ~ Days', weights=mx.VarIdent('sex'))", "weights", "variance="),
    ("fit('Reaction ~ Days', residual='corAR1(form = ~ 1 | Subject)')", "nlme's", "ar1("),
    ("fit('Reaction ~ Days', residual='AR(1)')", "SAS's name", "ar1(visit | g)"),
    ("fit('Reaction ~ Days', residual='ar1(days | Subject)')", "'days'", "'Days'"),
    ("fit('Reaction ~ Days', residual='us(sex | Subject)')", "twice", "cs(1 | g)"),
    ("fit('Reaction ~ Days', residual=mx.AR1)", "class", "mx.AR1(...)"),
    ("fit('Reaction ~ Days', variance='varIdent(form = ~ 1 | sex)')", "nlme's", "ident(a)"),
    ("fit('Reaction ~ Days', variance='sex')", "sex is no function", "ident(sex)"),
    ("fit('Reaction ~ Days', variance='ident(sex) + exp(Days)')", "multiplied", " * "),
    ("fit('Reaction ~ Days', variance='power(~fitted(.))')", "fitted", "power(fitted)"),
    ("fit('Reaction ~ Days', groups=data[['Subject']])", "groups", "groups='Subject'"),
    ("fit('Reaction ~ Days', groups=data[['Subject', 'sex']])", "groups", "(1 | sex)"),
    ("mx.mixedlm('Reaction ~ Days', data.groupby('sex'))", "GroupBy", "(1 | g)"),
    ("mx.mixedlm('Reaction ~ Days', [data, data])", "of frames", "pd.concat"),
    ("mx.MixedLM(data.Reaction, data[['Days']], terms=3)", "terms", "RandomTerm"),
    ("model.fit_many(['Reaction', 'Days'])", "names", "data[['Reaction', 'Days']]"),
    ("mx.datasets.load_sleepstudy()", "load_sleepstudy", "sleepstudy.load().data"),
    ("mx.options.df_methods", "'df_methods'", "'df_method'"),
    ("mx.mmrm('Reaction ~ Days', data)", "mmrm", "residual='us(visit | subject)'"),
    (
        "mx.mixedlm('Reaction ~ Days', data.where(data.Days > 0))",
        "missing values",
        "missing='drop'",
    ),
]
RESULTS = [
    # of the model, of the results, of the package
    ("model.summary()", "'summary'", ".fit().summary"),
    ("model.params", "'params'", ".fit().params"),
    ("model.predict(data)", "params", "model.fit().predict(data)"),
    ("result.fit()", "'fit'", ".model.fit()"),
    ("result.fixef()", "'fixef'", ".fe_params"),
    ("result.VarCorr()", "'VarCorr'", ".var_corr"),
    ("result.isSingular()", "'isSingular'", ".is_singular"),
    ("result.logLik()", "'logLik'", ".llf"),
    ("result.confint()", "'confint'", ".conf_int()"),
    ("result.rsquared", "'rsquared'", ".r2_nakagawa"),
    ("result.lsmeans('sex')", "'lsmeans'", ".emmeans("),
    ("result.summry()", "'summry'", "'summary'"),
    ("mx.lmer('Reaction ~ Days', data)", "'lmer'", "mx.mixedlm"),
    ("mx.glmer('Reaction ~ Days', data)", "'glmer'", "mx.glmm"),
    ("mx.ranef(result)", "'ranef'", ".fit().ranef"),
    ("mx.mixedLM", "'mixedLM'", "mx.mixedlm("),
    # fits
    ("model.fit('ML')", "'ML'", "reml=False"),
    ("model.fit(False)", "False", "reml=False"),
    ("model.fit(reml='ML')", "reml='ML'", "False (ML)"),
    ("model.fit(df_method='satterthwait')", "'satterthwait'", "'satterthwaite'"),
    ("model.fit(maxiter='100')", "maxiter", "whole number"),
    # predictions
    ("result.predict({'sex': ['male'], 'Days': [1]})", "male", "levels"),
    pytest.param(
        "result.predict({'sex': ['M'], 'Days': [1]})",
        "'M'",
        "Did you mean 'm'?",
        marks=pytest.mark.skipif(FORMULAIC, reason="formulaic does not name the levels"),
    ),
    ("result.predict({'Sex': ['m'], 'Days': [1]})", "sex", "'Sex'"),
    ("result.predict({'sex': ['m']})", "Days", "their columns are: sex"),
    ("result.predict({'sex': ['m'], 'Days': ['a']})", "numeric in the fit", "Days holds"),
    # arguments of other programs' methods
    ("result.predict(newdata=data)", "newdata", "predict(data)"),
    ("result.predict(data, re_form=None)", "re_form", "conditional=False"),
    ("result.predict(data, se_fit=True)", "se_fit", "get_prediction(data)"),
    ("result.predict(data, allow_new_levels=True)", "allow_new_levels", "'zero'"),
    ("result.get_prediction(data, interval='prediction')", "interval", "summary_frame"),
    ("result.simulate(nsim=10)", "nsim", "n="),
    ("result.bootstrap_parametric(10, seed=1)", "seed", "rng="),
    ("result.ranef(condVar=True)", "condVar", ".ranef_cov()"),
    ("result.anova(ddf='Kenward-Roger')", "ddf", "df_method="),
    ("result.anova(typ=3)", "typ", "type="),
    ("result.summary(correlation=True)", "correlation", ".cov_params()"),
    ("result.summary(ddf='lme4')", "ddf", "df_method="),
    ("result.residuals(type='pearson')", "type", "scale='pearson'"),
    ("result.emmeans('sex', adjust='tukey')", "adjust", "pairs(adjust='tukey')"),
    ("result.emmeans('sex', lmer_df='satterthwaite')", "lmer_df", "df_method="),
    ("means.pairs('tukey')", "by position", "by name"),
    ("result.drop1(scope='sex:Days')", "scope", ".update(formula)"),
    ("result.step(direction='forward')", "direction", "backward"),
    ("result.conf_int(parm='Days')", "parm", ".loc[["),
    ("result.conf_int(method='bootstrap', nsim=50)", "nsim", "n="),
    ("mx.anova(result, smaller, test='Chisq')", "test", "likelihood-ratio"),
    ("mx.power(result, 'Days', nsim=10)", "nsim", "n="),
    ("mx.lm_list('Reaction ~ Days | Subject', data, family='poisson')", "family", "linear"),
    (
        "result.predict({'sex': ['m'], 'Days': ['1'], 'Subject': ['308']})",
        "numeric in the fit is not",
        "Days holds",
    ),
    # means and contrasts
    ("result.emmeans('sex:Days')", "'sex:Days'", "['sex', 'Days']"),
    ("result.emmeans('sex * Days')", "'sex * Days'", "'~ sex * Days'"),
    ("result.emmeans('C(sex)')", "'C(sex)'", "'sex'"),
    ("result.emmeans('sex', at=3)", "at=3", "at={'x': [0, 1]}"),
    ("means.pairs(adjust='LSD')", "'LSD'", "'none'"),
    ("result.emmeans('Days').pairs()", "two estimates", "at="),
    ("result.emmeans('sexx')", "'sexx'", "'sex'"),
    ("result.emmeans('Subject')", "'Subject'", "sex, Days"),
    ("result.emmeans('sex | Days')", "'sex | Days'", "'~ sex | Days'"),
    ("result.emmeans('sex', at={'sex': ['male']})", "'male'", "f, m"),
    ("result.emtrends('sex', 'days')", "'days'", "'Days'"),
    ("means.contrast('tukey')", "'tukey'", "pairs(adjust='tukey')"),
    ("means.contrast('pairwse')", "'pairwse'", "'pairwise'"),
    ("means.contrast([1, -1, 0])", "shape (3,)", "2 estimates"),
    ("means.pairs(adjust='tuky')", "'tuky'", "'tukey'"),
    ("means.contrast('dunnett')", "'dunnett'", "'trt.vs.ctrl'"),
    ("means.summary()", "'summary'", ".table"),
    ("means.pvalues", "'pvalues'", ".table['pvalue']"),
    ("result.emmeans(3)", "specs=3", "name"),
    ("result.emmeans('sex', weights='equl')", "'equl'", "'equal'"),
    # tests
    ("result.t_test('Days == 0')", "Days == 0", "one '='"),
    ("result.anova(smaller)", "one model", "mx.anova"),
    ("result.conf_int_vcomp(scale='var')", "scale='var'", "'variance'"),
    ("result.cov_params('kr')", "'kr'", "cov_params_kr"),
    ("result.t_test('day = 0')", "day", "'Days'"),
    ("result.t_test('sexm = 0')", "sexm", "'sex[T.m]'"),
    ("result.t_test([1])", "4 columns", "fixed effects"),
    ("result.anova(type=4)", "type=4", "'III'"),
    ("result.drop1(test='LRT')", "'LRT'", "'lrt'"),
    ("result.ranef('subject')", "'subject'", "'Subject'"),
    ("result.profile('day')", "'day'", "'Days'"),
    ("result.conf_int(method='profiled')", "'profiled'", "'profile'"),
    ("result.conf_int(0.95)", "alpha=0.95", "level=0.95"),
    ("result.conf_int(level=95)", "level=95", "between 0 and 1"),
    ("result.summary(alpha=95)", "alpha=95", "between 0 and 1"),
    # models beside each other
    ("mx.anova(result)", "at least 2 models", "result.anova()"),
    ("mx.anova(model, result)", "not a model", "model.fit()"),
    ("mx.anova([result, smaller])", "one by one", "mx.anova(*results)"),
    ("mx.anova(result, smaller, refit=False)", "different fixed effects", "refit=True"),
    ("mx.anova(result, ml, refit=False)", "REML and some by ML", "refit=True"),
    ("mx.anova(result, fewer)", "170 and 180 rows", "Fit both on the rows"),
    ("smaller.compare_lr_test(result)", "parameters", "of the larger model"),
    ("result.compare_lr_test(model)", "not a model", "model.fit()"),
    ("mx.exact_rlrt(model)", "not a model", "model.fit()"),
    ("mx.summary_table(result, smaller)", "several fits", "[one, two]"),
    ("result.exog_names", "'exog_names'", ".model.exog_names"),
    ("result.to_csv('fit.csv')", "'to_csv'", ".tidy()"),
    ("mx.lm_list('Reaction ~ Days + (1 | Subject)', data)", "parentheses", "'y ~ x | g'"),
    ("mx.RandomTerm(data.Subject, structure='diagnal')", "'diagnal'", "'diagonal'"),
    ("mx.datasets.load('sleepstudie')", "'sleepstudie'", "'sleepstudy'"),
]


@pytest.mark.parametrize(("code", "fault", "cure"), FORMULAS + GENERALIZED + DATA + RESULTS)
def test_mistakes(code, fault, cure, names):
    said = answer(code, names)
    assert fault in said, said
    assert cure in said.split(fault, 1)[1] or cure in said.split(": ", 1)[1], said
    assert "Traceback" not in said
    # in the package's own words, not in those of NumPy's or pandas' insides
    assert not said.startswith(("LinAlgError", "KeyError", "IndexError", "RecursionError"))


@pytest.mark.parametrize(
    ("formula", "columns"),
    [
        ("Reaction ~ C(sex) * C + (C | Subject)", "C"),
        ("Reaction ~ I(I**2) + I + (I | Subject)", "I"),
        ("Reaction ~ Q('Q') + np.log(Q + 1) + (1 | Subject)", "Q"),
        ("Reaction ~ np.log(np + 1) + np + (np | Subject)", "np"),
        ("Reaction ~ scale(scale) + (1 | Subject)", "scale"),
        ("Reaction ~ log + log(log + 1) + (1 | Subject)", "log"),
        ("Reaction ~ m² + I(m²**2) + (m² | Subject)", "m²"),
        ("Reaction ~ µg + np.log(µg + 1) + (µg | Subject)", "µg"),
        ("Reaction ~ Q(0) + (Q(0) | Subject)", 0),
    ],
)
def test_columns_may_be_called_as_what_formulas_call(formula, columns, names):
    """Columns named as functions, with signs that Python reads otherwise, or by numbers."""
    data, plain = names["data"], "Days"
    other = data.rename(columns={plain: columns})
    same = formula.replace("Q(0)", plain).replace("Q('Q')", plain)
    if isinstance(columns, str):
        words = {"C": r"C(?!\()", "I": r"I(?!\()", "np": r"np(?!\.)"}
        word = words.get(columns, rf"{re.escape(columns)}(?!\()")
        same = re.sub(rf"(?<!\w){word}(?!\w)", plain, same)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, expected = mx.mixedlm(formula, other).fit(), mx.mixedlm(same, data).fit()
    np.testing.assert_allclose(found.llf, expected.llf, rtol=1e-12)
    np.testing.assert_allclose(found.fe_params, expected.fe_params, rtol=1e-6)
    few = found.predict(other.head(3)), expected.predict(data.head(3))
    np.testing.assert_allclose(*few, rtol=1e-9)


def test_names_of_results_that_are_no_attributes(names):
    """Errors of properties are their own; what Python asks for itself is plain."""
    result = names["result"]
    assert not hasattr(result, "__array_interface__")
    with pytest.raises(AttributeError) as caught:
        _ = result._results._nothing
    assert str(caught.value).endswith("has no attribute '_nothing'")
    again = pickle.loads(pickle.dumps(result))
    assert again.llf == copy.copy(result).llf == result.llf
