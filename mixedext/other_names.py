"""What other programs call it: names that users of R and statsmodels write, and what to
write here.

Read where a name is not known, for the message alone: nothing goes by these names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mixedext.arguments import did_you_mean

__all__ = [
    "ARGUMENTS_OF",
    "COVARIANCES",
    "FIT_ARGUMENTS",
    "MODEL_ARGUMENTS",
    "ON_GENERALIZED_RESULTS",
    "ON_MEANS",
    "ON_RESULTS",
    "OTHER_ARGUMENTS",
    "OTHER_MODELS",
    "RESIDUAL_OBJECTS",
    "R_FUNCTIONS",
    "R_WORDS",
    "no_model_attribute",
    "no_public_name",
    "no_result",
]

_LIMITS = "see the page 'What mixedext does not do'"

#: Of results: what R and statsmodels' other results have.
ON_RESULTS: Mapping[str, str] = {
    "AIC": ".aic",
    "AICc": ".aicc",
    "BIC": ".bic",
    "KRmodcomp": ".compare_kr_test(smaller)",
    "PBmodcomp": ".bootstrap_test(smaller)",
    "SATmodcomp": ".compare_satterthwaite_test(smaller)",
    "VarCorr": ".var_corr",
    "aov": ".anova()",
    "bootMer": ".bootstrap_parametric()",
    "coef_": ".fe_params",
    "coefficients": ".fe_params (fixed effects) or .coef() (by group)",
    "confint": ".conf_int()",
    "contrast": ".emmeans(factor).contrast()",
    "cooks_distance": ".get_influence().cooks_distance",
    "data": ".model.data",
    "df_residual": ".df_resid",
    "dfbetas": ".get_influence().dfbetas",
    "emm": ".emmeans(factor)",
    "exactRLRT": ".exact_rlrt()",
    "fit": ".model.fit() (these are the results of a fit)",
    "fitted_values": ".fittedvalues",
    "fixef": ".fe_params",
    "endog_names": ".model.endog_names",
    "exog_names": ".model.exog_names",
    "extract_eq": ".equation()",
    "formula": ".model.formula",
    "getME": ".model.X, .model.Z(), .L(), .theta, .sigma",
    "hat_matrix_diag": ".get_influence().hat_matrix_diag",
    "hatvalues": ".get_influence().hat_matrix_diag",
    "influence": ".get_influence(), or get_influence(by=factor)",
    "isSingular": ".is_singular",
    "llik": ".llf",
    "logLik": ".llf",
    "loglik": ".llf",
    "loglike": ".llf",
    "lsmeans": ".emmeans(factor)",
    "ngrps": ".n_levels",
    "nlevels": ".n_levels",
    "dotplot": ".plot_random_effects()",
    "plot": ".check_model(), .plot_residuals(), .plot_fitted(x) and others",
    "pvalue": ".pvalues",
    "qqmath": ".plot_qq_random()",
    "r2": ".r2_nakagawa",
    "r_squared": ".r2_nakagawa",
    "rand": ".ranova()",
    "resid_studentized": ".residuals(scale='studentized')",
    "rsquared": ".r2_nakagawa",
    "rsquared_adj": ".r2_nakagawa",
    "rstandard": ".residuals(scale='studentized')",
    "rstudent": ".residuals(scale='deleted')",
    "std_err": ".bse",
    "to_csv": ".tidy(), a table that pandas saves",
    "to_excel": ".tidy(), a table that pandas saves",
    "test": ".t_test(hypothesis), .anova() or .drop1()",
    "powerSim": "mx.power(results, term)",
    "varcorr": ".var_corr",
    "vcov": ".cov_params()",
}

_NO_DF = (
    ".compare_lr_test(smaller) or .bootstrap_test(smaller); degrees of freedom by Kenward "
    "and Roger's or Satterthwaite's method are of linear models"
)
_BY_SIMULATION = (
    ".simulated_residuals() and its plot(); other residuals of yes-or-no responses and of "
    "counts follow no known law"
)
_NO_DELETION = (
    ".update(data=data without a level) fits without it; influence by deletion is of "
    "linear models"
)
_NO_V = (
    ".G() or .L(): the variances of responses depend on their means, and have no matrix V"
)
_OF_RESIDUALS = ".resid_pearson, .resid_deviance, .resid_response or .resid_working"
_OF_MEANS = ".emmeans(factor, type='response').plot(), or .predict(new data)"
_OF_DRAWS = ".bootstrap_parametric(); of generalized models only responses are drawn anew"
_OF_TERMS = ".wald_test_terms(), .joint_tests() or .drop1(), or mx.anova(smaller, larger)"

#: Of generalized results: what these, R's and linear ones have.
ON_GENERALIZED_RESULTS: Mapping[str, str] = {
    **ON_RESULTS,
    **dict.fromkeys(("KRmodcomp", "SATmodcomp", "compare_kr_test"), _NO_DF),
    **dict.fromkeys(
        ("compare_satterthwaite_test", "kenward_roger", "cov_params_kr"), _NO_DF
    ),
    **dict.fromkeys(("anova", "aov", "Anova", "test"), _OF_TERMS),
    **dict.fromkeys(("R", "V", "marginal_cov", "plot_matrix"), _NO_V),
    **dict.fromkeys(("acf", "variogram", "plot_acf", "plot_variogram"), _BY_SIMULATION),
    **dict.fromkeys(("check_model", "plot_residuals", "plot_qq"), _BY_SIMULATION),
    **dict.fromkeys(("plot_scale_location", "plot_observed"), _BY_SIMULATION),
    **dict.fromkeys(("resid_normalized", "simulateResiduals"), _BY_SIMULATION),
    **dict.fromkeys(("resid", "wresid"), _OF_RESIDUALS),
    **dict.fromkeys(("resid_studentized", "rstandard", "rstudent"), _OF_RESIDUALS),
    **dict.fromkeys(("cooks_distance", "dfbetas", "get_influence"), _NO_DELETION),
    **dict.fromkeys(("hat_matrix_diag", "hatvalues", "influence"), _NO_DELETION),
    **dict.fromkeys(("plot_index", "plot_influence"), _NO_DELETION),
    **dict.fromkeys(("bootstrap", "bootstrap_cases"), _OF_DRAWS),
    **dict.fromkeys(("bootstrap_residual", "simulate_refits"), _OF_DRAWS),
    **dict.fromkeys(("plot_effect", "plot_fitted", "ggpredict"), _OF_MEANS),
    "bse_scale": ".dispersion_se",
    "coef_cov": ".coef() and .ranef_cov()",
    "exactRLRT": ".ranova(), or .bootstrap_test(smaller); no exact law is known here",
    "exact_rlrt": ".ranova(), or .bootstrap_test(smaller); no exact law is known here",
    "equation": ".model.formula and .family; there is no text of the equation yet",
    "extract_eq": ".model.formula and .family; there is no text of the equation yet",
    "getME": ".model.X, .model.Z(), .L(), .theta",
    **dict.fromkeys(("get_margeff", "margeff", "marginal_effects"), _OF_MEANS),
    "mse_resid": ".pearson_chi2 and .df_resid",
    "odds_ratios": ".tidy(exponentiate=True)",
    "predict_proba": ".predict(new data)",
    "overdisp_fun": ".overdispersion()",
    "plot": ".plot_random_effects(), .plot_forest(), .emmeans(factor).plot() or "
    ".simulated_residuals().plot()",
    "plot_deviance": ".profile().plot()",
    "plot_shrinkage": ".plot_random_effects()",
    "plot_variance_shares": ".icc() and .r2_nakagawa()",
    "powerSim": ".simulate(n) and .model.refit(y): power of generalized models is not "
    "there as a function",
    "profile_re": ".profile()",
    "r2": ".r2_nakagawa()",
    "r_squared": ".r2_nakagawa()",
    "ranef_new": ".predict(new data, new_levels='zero')",
    "report": ".summary()",
    "residual": ".dispersion; residual covariances are of linear models",
    "plot_residual_cov": ".dispersion; residual covariances are of linear models",
    "rsquared": ".r2_nakagawa()",
    "rsquared_adj": ".r2_nakagawa()",
    "sigma": ".dispersion, or .scale",
    "ssr": ".pearson_chi2",
    "step": ".drop1() and .update()",
}

#: Of the package: other programs' functions that fit a model.
OTHER_MODELS: Mapping[str, str] = {
    "MixedModel": "write mx.mixedlm(formula, data)",
    "aov": "write mx.anova_estimates(formula, data), or .anova() of results",
    "doSim": "write mx.simulate(formula, data, fe_params=, cov_re=, sigma=)",
    "exactLRT": "write mx.exact_lrt",
    "exactRLRT": "write mx.exact_rlrt",
    "BinomialBayesMixedGLM": "write mx.glmm(formula, data, family='binomial')",
    "PoissonBayesMixedGLM": "write mx.glmm(formula, data, family='poisson')",
    "glm": "write statsmodels' glm, or mx.glmm(formula with (1 | g), data, family=...)",
    "glmer": "write mx.glmm(formula, data, family=...)",
    "glmmTMB": "write mx.glmm(formula, data, family=...), or mx.mixedlm(formula, data) for "
    "a Gaussian response",
    "meglm": "write mx.glmm(formula, data, family=...)",
    "melogit": "write mx.glmm(formula, data, family='binomial')",
    "mixedGLM": "write mx.glmm(formula, data, family=...)",
    "gls": "write mx.mixedlm(formula, data, residual='ar1(visit | g)')",
    "lm": "write statsmodels' ols, or mx.mixedlm(formula without random terms, data)",
    "lmList": "write mx.lm_list('y ~ x | g', data)",
    "lme": "write mx.mixedlm('y ~ x + (1 | g)', data)",
    "lmer": "write mx.mixedlm(formula, data)",
    "makeLmer": "write mx.simulate or mx.power with a formula and parameters",
    "mixedLM": "write mx.mixedlm(formula, data)",
    "mmrm": "write mx.mixedlm(formula, data, residual='us(visit | subject)')",
    "modelsummary": "write mx.summary_table([one, two])",
    "nlmer": f"nonlinear models are not fitted; {_LIMITS}",
    "powerCurve": "write mx.power(results, term, along={'g': [10, 20]})",
    "powerSim": "write mx.power(results, term)",
    "ols": "write statsmodels' ols, or mx.mixedlm(formula without random terms, data)",
    "tab_model": "write mx.summary_table([one, two])",
    "rlmer": f"robust fits are not made; {_LIMITS}",
}

#: nlme's classes, and the objects that stand for them.
RESIDUAL_OBJECTS: Mapping[str, str] = {
    "corAR1": "AR1('visit', group='g')",
    "corARMA": "ARMA('visit', group='g', p=1, q=1)",
    "corCAR1": "CAR1('time', group='g')",
    "corCompSymm": "CS(group='g')",
    "corExp": "Spatial('exp', ['x', 'y'], group='g')",
    "corGaus": "Spatial('gau', ['x', 'y'], group='g')",
    "corLin": "Spatial('lin', 'x', group='g')",
    "corRatio": "Spatial('ratio', ['x', 'y'], group='g')",
    "corSpher": "Spatial('spher', ['x', 'y'], group='g')",
    "corSymm": "Unstructured('visit', group='g')",
    "varComb": "VarIdent('a') * mx.VarPower('x')",
    "varConstPower": "VarConstPower('x')",
    "varExp": "VarExp('x')",
    "varFixed": "VarFixed('x')",
    "varIdent": "VarIdent('a')",
    "varPower": "VarPower('x')",
}

# Set on results when they are made.
_OF_EVERY_FIT = (
    "converged",
    "convergence",
    "cov_re",
    "df_resid",
    "fe_params",
    "fitted",
    "params",
    "scale",
    "theta",
    "vcomp",
)
#: Of estimated means and contrasts.
ON_MEANS: Mapping[str, str] = {
    "CLD": ".cld()",
    "as_data_frame": ".table",
    "confint": ".conf_int()",
    "contrasts": ".contrast(), or .pairs()",
    "emmeans": ".table",
    "frame": ".table",
    "p_values": ".table['pvalue']",
    "pairwise": ".pairs()",
    "pvalue": ".table['pvalue']",
    "pvalues": ".table['pvalue']",
    "summary": ".table, or print it",
    "summary_frame": ".table",
    "to_frame": ".table",
}

_OF_FIT = "it is an argument of fit: mixedlm(formula, data).fit({})"

#: Arguments of other programs' models, where a model is made.
MODEL_ARGUMENTS: Mapping[str, str] = {
    "ML": _OF_FIT.format("reml=False"),
    "REML": _OF_FIT.format("reml=False"),
    "contrasts": "write them in the formula: C(x, Sum), C(x, Treatment('level'))",
    "control": "the search needs no settings",
    "cor": "write residual='ar1(visit | g)'",
    "cor_struct": "write residual='ar1(visit | g)'",
    "correlation": "write residual='ar1(visit | g)'",
    "covariance": "write residual='us(visit | g)'",
    "dispformula": "write variance='ident(g)'",
    "repeated": "write residual='us(visit | g)'",
    "rho": "write residual=mx.AR1('visit', group='g', rho=...)",
    "subject": "it stands in the structure: residual='us(visit | subject)'",
    "type": "write residual='us(visit | g)'",
    "cov_type": _OF_FIT.format("cov_type=..."),
    "df_method": _OF_FIT.format("df_method=..."),
    "family": "the response of mixedlm is Gaussian: write glmm(formula, data, family=...)",
    "group": "write groups='g', or the term (1 | g) in the formula",
    "maxiter": _OF_FIT.format("maxiter=..."),
    "nAGQ": "the likelihood of mixedlm is exact; quadrature is glmm(...).fit(n_agq=7)",
    "start": _OF_FIT.format("start_params=..."),
    "verbose": "the search needs no settings",
    "method": "it is an argument of fit; REML is the default, fit(reml=False) is ML",
    "na_action": "write missing='drop' to leave out rows with missing values",
    "random": "write random terms in the formula: (1 | g) for ~ 1 | g",
    "random_effects": "write random terms in the formula: (1 | g)",
    "re": "write re_formula='~x' with groups='g', or the term (x | g) in the formula",
    "reml": _OF_FIT.format("reml=False"),
    "vc": "write vc_formula={'a': '0 + C(a)'} with groups='g'",
    "weight": "write weights=",
}

_OF_MODEL = "it is an argument of the model: mixedlm(formula, data, {}=...).fit()"
_ROBUST = "write cov_type='CR2', with cov_kwds={'groups': 'g'} for clusters of your own"
_OF_SEARCH = "the search needs no settings; leave it out"

#: Arguments of other programs' fits, in lower case.
FIT_ARGUMENTS: Mapping[str, str] = {
    "alpha": "it is an argument of conf_int(alpha=...) and summary(alpha=...)",
    "cluster": _ROBUST,
    "clusters": _ROBUST,
    "control": _OF_SEARCH,
    "cov": "write cov_type=",
    "covariance": "write cov_type=",
    "data": _OF_MODEL.format("..."),
    "ddf": "write df_method=",
    "ddfm": "write df_method=",
    "df": "write df_method=",
    "formula": "it is an argument of the model: mixedlm(formula, data).fit()",
    "groups": "it is an argument of the model; clusters of a robust covariance are "
    "cov_type='CR2', cov_kwds={'groups': ...}",
    "level": "it is an argument of conf_int(level=...)",
    "missing": _OF_MODEL.format("missing"),
    "offset": _OF_MODEL.format("offset"),
    "optimizer": _OF_SEARCH,
    "robust": _ROBUST,
    "se": "write cov_type=",
    "se_type": "write cov_type=",
    "start": "write start_params=",
    "subset": _OF_MODEL.format("subset"),
    "test": "write df_method=",
    "vce": _ROBUST,
    "vcov": _ROBUST,
    "weights": _OF_MODEL.format("weights"),
}

_BY_ROWS = (
    "it takes rows for independent, which those of one group are not; the robust "
    "covariance of a mixed model is clustered: write cov_type='CR2' (or 'CR1')"
)
_BY_TIME = (
    "it is for single series; for rows that are dependent within groups in any way write "
    "cov_type='CR2' (or 'CR1')"
)
_CLUSTERED = "write cov_type='CR2', 'CR3', 'CR0', or 'CR1', which 'cluster' stands for"

#: Other programs' robust covariances, without capitals, hyphens, underscores and spaces.
COVARIANCES: Mapping[str, str] = {
    **dict.fromkeys(("hc", "hc0", "hc1", "hc2", "hc3", "hc4"), _BY_ROWS),
    **dict.fromkeys(("robust", "sandwich", "white", "huber", "empirical"), _BY_ROWS),
    **dict.fromkeys(("hac", "hacpanel", "hacgroupsum", "nw", "neweywest"), _BY_TIME),
    **dict.fromkeys(("driscollkraay", "scc"), _BY_TIME),
    **dict.fromkeys(("clustered", "clusterrobust", "cr", "crve", "crv1"), _CLUSTERED),
    "crv3": "write cov_type='CR3'",
    "jackknife": "write cov_type='CR3'",
    "model": "write cov_type='nonrobust', or leave it out",
}

#: Arguments of other programs' functions, without capitals, dots and underscores, and the
#: arguments that stand for them; the first that a function has.
OTHER_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("nsim", "nboot", "nrep", "nreps", "nsims", "reps", "r", "b"), ("n",)),
    **dict.fromkeys(("seed", "randomstate", "randomseed"), ("rng",)),
    **dict.fromkeys(("ddf", "ddfm", "lmerdf", "df", "dfmethods"), ("df_method",)),
    **dict.fromkeys(("typ", "ss"), ("type",)),
    **dict.fromkeys(("conflevel", "confidence", "confidencelevel", "ci"), ("level",)),
    **dict.fromkeys(("parallel", "ncpus", "ncores", "cores", "njobs"), ("n_jobs",)),
    **dict.fromkeys(("fun", "func", "usefun"), ("statistic",)),
    **dict.fromkeys(("parm", "which", "pars", "prof"), ("cols", "parameters")),
    "allownewlevels": ("new_levels",),
    "axes": ("ax",),
    "groups": ("group", "by"),
    "method": ("adjust", "df_method", "kind"),
    "ml": ("reml", "refit"),
    "newdata": ("data", "exog"),
    "padjust": ("adjust",),
    "popsize": ("n",),
    "re": ("conditional",),
    "reml": ("refit",),
    "variable": ("var", "x"),
    "x": ("by",),
}

_BY_FORM = (
    "conditional=False predicts population means (re.form=NA), conditional=True with "
    "random effects (re.form=NULL)"
)
_LIMITS_OF_MEANS = "get_prediction(data).summary_frame() has standard errors and limits"
_OF_PREDICTION: Mapping[str, str] = {
    "data": "the new data stand first: predict(data)",
    "newdata": "the new data stand first: predict(data)",
    **dict.fromkeys(("reform", "reformula", "reformnew", "randomonly", "level"), _BY_FORM),
    **dict.fromkeys(("sefit", "se", "interval", "alpha"), _LIMITS_OF_MEANS),
    "allownewlevels": "write new_levels='zero'",
    "type": "of linear models link and response are one, leave it out; of generalized ones "
    "write which='mean' or which='linear'",
}
_COMPARISONS = "comparisons are .emmeans(factor).pairs(adjust='tukey')"
_OWN_TEST = (
    "it is the likelihood-ratio test; F tests are .anova(), .compare_kr_test(smaller) and "
    ".compare_satterthwaite_test(smaller)"
)

#: The same of functions by name, with what to write.
ARGUMENTS_OF: Mapping[str, Mapping[str, str]] = {
    "predict": _OF_PREDICTION,
    "get_prediction": {
        **_OF_PREDICTION,
        **dict.fromkeys(("sefit", "se", "interval"), "summary_frame() of it has both"),
        **dict.fromkeys(("alpha", "level"), "write summary_frame(alpha=...) of it"),
    },
    "anova": {
        "test": "mx.anova has the likelihood-ratio test, .anova(df_method=...) F tests",
        "reml": "write refit=False to leave fits by REML as they are",
    },
    "compare_lr_test": {"test": _OWN_TEST},
    "conf_int": {
        "exponentiate": "np.exp(...) of the limits, or .tidy(exponentiate=True)",
        "parm": "take rows of the limits: .conf_int().loc[['x']]",
        "parameters": "take rows of the limits: .conf_int().loc[['x']]",
        "oldnames": "leave it out",
        "boottype": "write interval='percentile' with method='bootstrap'",
        "nsim": "write n= with method='bootstrap'",
        "seed": "write rng= with method='bootstrap'",
    },
    "drop1": {"scope": "it drops each term that may be; .update(formula) drops one"},
    "step": {
        "direction": "it goes backward, from the larger model",
        "scope": "write keep=, terms that are not to be dropped",
    },
    "emmeans": {
        **dict.fromkeys(("adjust", "contr", "pairwise", "interaction"), _COMPARISONS),
        "mode": "write df_method=",
        "regrid": "write type='response'",
        "transform": "write type='response'",
        "var": "slopes are .emtrends(specs, var)",
        "covreduce": "write at={'x': [...]}",
    },
    "lm_list": {"family": "the regressions are linear ones; leave it out"},
    "plot_fitted": {"by": "write group="},
    "ranef": {
        "condvar": ".ranef_cov() has the conditional variances",
        "postvar": ".ranef_cov() has the conditional variances",
        "whichel": "write group=",
    },
    "residuals": {
        "type": "write kind=; of linear models also scale='pearson'",
        "scaled": "write scale='pearson'",
        "level": "write kind='conditional' or kind='marginal'",
    },
    "simulate": {
        "newdata": ".predict(data) has means; mx.simulate(formula, data, ...) draws for a "
        "design",
        "reform": "write conditional=True to keep the random effects",
        "useu": "write conditional=True to keep the random effects",
    },
    "summary": {
        "correlation": ".cov_params() has the covariances of the coefficients",
        "corr": ".cov_params() has the covariances of the coefficients",
        "exponentiate": "write .tidy(exponentiate=True)",
        "test": "write df_method=, in summary or in fit",
        "level": "write alpha=",
        "conflevel": "write alpha=",
    },
}

#: R's functions in formulas.
R_FUNCTIONS: Mapping[str, str] = {
    "Error": "write random terms in bars: (1 | g)",
    "as.Date": "make days of the dates before: (x - x.min()).dt.days",
    "as.character": "write C(x)",
    "as.factor": "write C(x)",
    "as.integer": "make it a number before: data['x'] = pd.to_numeric(data['x'])",
    "as.numeric": "make it a number before: data['x'] = pd.to_numeric(data['x'])",
    "cbind": "a model has one response; fit_many fits one model to many responses",
    "corAR1": "write residual='ar1(visit | g)' beside the formula",
    "cut": "make the column before, with pd.cut",
    "factor": "write C(x)",
    "gr": "write (1 | g), with covariances={'g': A} for a known relationship",
    "ifelse": "write np.where(condition, a, b)",
    "interaction": "write a:b",
    "lag": "make the column before, with groupby(...).shift()",
    "ln": "write np.log(x)",
    "lo": "write cr(x, df=3), a natural spline",
    "ns": "write cr(x, df=3), a natural spline",
    "ordered": "make the column an ordered pd.Categorical, or write C(x, Poly)",
    "pmax": "write np.maximum(a, b)",
    "pmin": "write np.minimum(a, b)",
    "re": "write random terms in bars: (1 | g)",
    "relevel": "write C(x, Treatment('level'))",
    "s": "write cr(x, df=3), a natural spline",
    "strata": "write C(x), or (1 | x) for a random effect",
}

#: R's words in formulas.
R_WORDS: Mapping[str, str] = {
    "FALSE": "False",
    "Inf": "np.inf",
    "NA": "np.nan",
    "NULL": "None",
    "TRUE": "True",
    "pi": "np.pi",
}


def no_result(
    owner: str,
    name: str,
    known: Iterable[str],
    others: Mapping[str, str] = ON_RESULTS,
) -> AttributeError:
    """The error for an attribute that results have not, with what to write in its place.

    Parameters
    ----------
    owner : str
        What has no such attribute, as Python's own message begins.
    name : str
        The name.
    known : iterable of str
        Names that there are.
    others : Mapping, optional
        What to write, by names of other programs.

    Examples
    --------
    >>> print(no_result("'Results' object", "fixef", ["params"]))
    'Results' object has no attribute 'fixef': write .fe_params
    """
    if name in others:
        return _error(owner, name, f": write {others[name]}")
    return _error(owner, name, did_you_mean(name, _public(known)))


def no_model_attribute(
    owner: str, name: str, known: Iterable[str], of_results: Iterable[str]
) -> AttributeError:
    """The error for an attribute that a model has not; results may have it.

    Parameters
    ----------
    owner, name, known
        As for ``no_result``.
    of_results : iterable of str
        Names that results have.

    Examples
    --------
    >>> print(no_model_attribute("'Model' object", "bic", ["fit"], ["bic"]))
    'Model' object has no attribute 'bic': results have it; write .fit().bic
    """
    if name in [*_public(of_results), *_OF_EVERY_FIT]:
        return _error(owner, name, f": results have it; write .fit().{name}")
    if name in ON_RESULTS:
        return _error(owner, name, f": results have it; write .fit(){ON_RESULTS[name]}")
    return _error(owner, name, did_you_mean(name, _public(known)))


def no_public_name(
    name: str, known: Iterable[str], of_results: Iterable[str]
) -> AttributeError:
    """The error for a name that the package has not.

    Parameters
    ----------
    name, known, of_results
        As for ``no_model_attribute``.

    Examples
    --------
    >>> print(no_public_name("lmer", ["mixedlm"], ["anova"]))
    module 'mixedext' has no attribute 'lmer': write mx.mixedlm(formula, data)
    """
    owner, results = "module 'mixedext'", ": results have it; write mixedlm(...).fit()"
    if name in OTHER_MODELS:
        return _error(owner, name, f": {OTHER_MODELS[name]}")
    if name in RESIDUAL_OBJECTS:
        return _error(owner, name, f": write mx.{RESIDUAL_OBJECTS[name]}")
    if name in _public(of_results):
        return _error(owner, name, f"{results}.{name}")
    if name in ON_RESULTS:
        return _error(owner, name, f"{results}{ON_RESULTS[name]}")
    return _error(owner, name, did_you_mean(name, _public(known)))


def _error(owner, name, cure):
    # what begins with an underscore is asked for by Python's protocols
    cure = "" if name.startswith("_") else cure
    return AttributeError(f"{owner} has no attribute {name!r}{cure}")


def _public(names):
    return [name for name in names if not name.startswith("_")]
