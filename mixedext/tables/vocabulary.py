"""The words that tables and results of tests are written in: one word for one thing."""

from __future__ import annotations

__all__ = ["COLUMNS", "LABELS"]

#: What columns of tables are called, and what they hold.
COLUMNS: dict[str, str] = {
    "estimate": "an estimate",
    "std_err": "its standard error",
    "df": "degrees of freedom, of t or chi-squared",
    "df_num": "degrees of freedom of the numerator of F",
    "df_denom": "degrees of freedom of the denominator of F",
    "df_lost": "degrees of freedom that cannot be estimated",
    "statistic": "the statistic of a test: t, z, F, chi-squared or likelihood ratio",
    "pvalue": "its p-value",
    "lower": "lower limit of an interval",
    "upper": "upper limit of an interval",
    "bias": "mean of the replicates less the estimate",
    "sum_sq": "sum of squares",
    "mean_sq": "mean square",
    "n_params": "number of parameters",
    "llf": "log-likelihood",
    "deviance": "-2 log-likelihood",
    "aic": "Akaike's criterion",
    "aicc": "the same, corrected for few observations",
    "bic": "Bayesian criterion",
    "delta": "criterion less the least one",
    "weight": "Akaike weight",
    "eliminated": "step at which a term was left out; 0 if it was kept",
    "variance": "a variance",
    "sd": "a standard deviation",
    "value": "value of a parameter",
    "zeta": "signed root of the rise of the deviance",
    "nobs": "number of rows",
    "corr": "correlation with the first effect of the term",
    "corr2": "correlation with the second, and so on",
    "step": "length of a step of the search",
    "expected_fall": "fall of the deviance that the quadratic model promised",
    "theta": "relative covariance factors",
    "fitted": "fitted values",
    "resid": "residuals",
    "n": "number of simulations, or of replicates, that count",
    "pvalue_se": "standard error of a simulated p-value",
    "n_failed": "number of simulations whose fit has failed",
    "singular": "share of singular fits",
    "n_groups": "number of groups",
    "mean": "a mean",
    "raw_mean": "mean of the response in the rows behind an estimated mean",
    "letters": "letters of a compact display: means that differ share none",
    "min": "the least",
    "median": "a median",
    "max": "the greatest",
    "expected_mean_sq": "expectation of a mean square",
    "denominator": "mean square, or combination of these, that F divides by",
    "exact": "whether F has an exact law",
    "negative": "whether an estimate is below zero",
    "truncated": "an estimate, zero where it is negative",
}

#: Columns that name what a row is of.
LABELS = ("group", "name", "term", "parameter", "contrast", "effect", "method", "test")
