"""The printed tables of a generalized mixed model, and the fit in a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from mixedext.arguments import check_probability
from mixedext.fitted import HasFitted
from mixedext.inference.fixed_effects.parameter_covariance import bse, packed_params
from mixedext.inference.variances.estimates import var_corr
from mixedext.models.glmm.fitting import separated_names
from mixedext.reporting.generalized_tables import integration_text
from mixedext.reporting.sentences import formula_text
from mixedext.reporting.text_forms import MixedSummary
from mixedext.tables.number_text import enough_decimals, number_format, number_texts

__all__ = ["as_html", "brief", "brief_of_wrapper", "integration_text", "summary"]

_MOST_COEFFICIENTS = 12
# Standard deviation of an effect on the link's scale beyond which nodes fewer than these
# may mislead, where levels hold few trials.
_WIDE, _MANY_NODES = 2.0, 25


def summary(
    results: Any,
    yname: str | None = None,
    xname_fe: Sequence[str] | None = None,
    xname_re: Sequence[str] | None = None,
    title: str | None = None,
    alpha: float = 0.05,
) -> MixedSummary:
    """Summary tables.

    Parameters
    ----------
    yname : str, optional
        Name of the response.
    xname_fe, xname_re : list of str, optional
        Names of the fixed effects, and of the covariance parameters (with the dispersion),
        in the order of ``params``.
    title : str, optional
        Title.
    alpha : float, optional
        One minus the confidence level.

    Returns
    -------
    MixedSummary
        Prints as text; ``as_html``, ``as_latex`` and ``as_markdown`` for other forms.

    Raises
    ------
    ValueError
        If ``alpha`` is no number between 0 and 1, or a list of names has another length.

    Examples
    --------
    >>> import numpy as np
    >>> import mixedext as mx
    >>> group, y = np.repeat(np.arange(10), 6), np.tile([0, 1, 2, 0, 3, 5], 10)
    >>> model = mx.MixedGLM(
    ...     y + group % 4, np.ones((60, 1)), groups=group, family="poisson"
    ... )
    >>> result = model.fit()
    >>> result.summary().tables[0].iloc[0].to_list()
    ['Model:', 'MixedGLM', 'Dependent Variable:', 'y']
    """
    check_probability(alpha, "alpha")
    out = MixedSummary()
    out.add_title(title or "Generalized Linear Mixed Model Regression Results")
    out.add_df(_header(results, yname), index=False, header=False, align="l")
    parameters = _parameters(results, xname_fe, xname_re, alpha)
    out.add_df(parameters, align="r")
    effects = _random_effects(results)
    if effects is not None:
        out.add_df(effects, align="ll".ljust(effects.shape[1], "r"), index=False)
    for line in _notes(results, parameters):
        out.add_text(line)
    return out


# ---- header ----


def _header(results, yname):
    fitted = results.fitted
    own = fitted.generalized
    left = {"Model:": "MixedGLM", "Family:": own.family.name}
    left["Link:"] = own.family.link.name
    left["Integration:"] = integration_text(fitted)
    left["Information:"] = own.engine.laplace
    left["No. Observations:"] = f"{fitted.nobs:g}"
    counts = _levels(fitted)
    if len(counts) == 1:
        left["No. Groups:"] = str(next(iter(counts.values())))
    status = own.convergence.status
    right = {
        "Dependent Variable:": str(yname or results.model.endog_names),
        "Log-Likelihood:": f"{results.llf:.4f}",
        "Deviance:": f"{results.deviance:.4f}",
        "AIC:": f"{results.aic:.4f}",
        "BIC:": f"{results.bic:.4f}",
        "Converged:": f"{'Yes' if own.convergence.converged else 'No'} ({status})",
        "Singular fit:": "Yes" if own.is_singular else "No",
    }
    name = own.family.dispersion_name
    if name:
        given = "" if own.n_dispersions else " (given)"
        right["Dispersion:"] = f"{name} = {own.dispersion:.6g}{given}"
    if own.cov_type != "nonrobust":
        left["Cov. type:"] = fitted.settings.cov_type
    halves = zip_longest(left.items(), right.items(), fillvalue=("", ""))
    return _texts([[*one, *other] for one, other in halves])


def _levels(fitted):
    return {t.group: t.n_levels for t in fitted.random.terms}


# ---- parameters ----


def _parameters(results, xname_fe, xname_re, alpha):
    """Fixed effects with their tests, then covariances and dispersion with errors."""
    fitted = results.fitted
    names, k_fe = list(results.model.data.param_names), len(fitted.fixed.names)
    fixed_names = _checked_names(xname_fe, names[:k_fe], "xname_fe")
    other_names = _checked_names(xname_re, names[k_fe:], "xname_re")
    letter = "t" if fitted.settings.use_t else "z"
    heads = ["Coef.", "Std.Err.", letter, f"P>|{letter}|"]
    heads += [f"[{alpha / 2:g}", f"{1 - alpha / 2:g}]"]
    infinite = set(separated_names(fitted)[0])
    estimates, errors = packed_params(fitted), bse(fitted)
    tests, limits = _tests(results, estimates, errors, alpha)
    rows = []
    for number, (estimate, error) in enumerate(zip(estimates, errors, strict=True)):
        own = [estimate, error, *limits[number]]
        form = number_format(enough_decimals([error], [estimate]), own)
        texts = number_texts(own, form)
        # variances are no hypotheses of zero, nor their laws normal
        of_test = number_texts(tests[number]) if number < k_fe else ["", ""]
        row = [*texts[:2], *of_test, *(texts[2:] if number < k_fe else ["", ""])]
        if number < k_fe and names[number] in infinite:  # no error and no test
            row[1:] = [""] * 5
        if number < k_fe and np.isnan(estimate):
            row[0] = "dropped"
        rows.append(row)
    return _texts(rows, heads, [*fixed_names, *other_names])


def _tests(results, estimates, errors, alpha):
    """Statistics with p-values, and limits, of all parameters, (n_params, 2) each."""
    if results.fitted.settings.use_t:
        tests = np.column_stack([results.tvalues, results.pvalues])
        return tests, np.asarray(results.conf_int(alpha))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = estimates / errors
    tests = np.column_stack([ratio, 2.0 * special.ndtr(-np.abs(ratio))])
    margin = special.ndtri(1.0 - alpha / 2.0) * errors
    return tests, np.column_stack([estimates - margin, estimates + margin])


def _texts(rows, heads=None, labels=None):
    """A frame of texts; the types are said, which pandas would find out one by one."""
    cells = np.empty((len(rows), len(rows[0])), object)
    cells[:] = rows
    columns = None if heads is None else pd.Index(heads, dtype=object)
    index = None if labels is None else pd.Index(labels, dtype=object)
    return pd.DataFrame(cells, index=index, columns=columns, dtype=object)


def _checked_names(given, own, what):
    if given is None:
        return own
    if len(given) != len(own):
        raise ValueError(f"{what} should be a list of length {len(own)}")
    return list(given)


# ---- random effects ----


def _random_effects(results):
    """Variances, standard deviations, correlations; None if there is but one variance."""
    effects, n_correlations = [], 0
    for term, structure, covariance in results.fitted.random.blocks():
        found = list(structure.report(covariance, term.names))
        if structure.shares_one_variance and term.k > 1:
            effects.append((term.group, f"{term.names[0]} ... {term.names[-1]}", found[0]))
            continue
        effects += [(term.group, effect.name, effect) for effect in found]
        n_correlations = max(n_correlations, *(len(e.correlations) for e in found))
    if len(effects) < 2:
        return None
    variances = _numbers([effect.variance for *_, effect in effects])
    deviations = _numbers([effect.sd for *_, effect in effects])
    rows, before = [], None
    for (group, name, effect), *sizes in zip(effects, variances, deviations, strict=True):
        own = number_texts(effect.correlations, "{:.3f}")
        own += [""] * (n_correlations - len(own))
        rows.append(["" if group == before else group, name, *sizes, *own])
        before = group
    heads = ["Groups", "Name", "Variance", "Std.Dev."]
    heads += ["Corr", *(" " * k for k in range(2, n_correlations + 1))][:n_correlations]
    return _texts(rows, heads)


# ---- notes ----


def _notes(results, parameters):
    fitted = results.fitted
    own, model = fitted.generalized, fitted.model
    listed = ", ".join(f"{group}: {count}" for group, count in _levels(fitted).items())
    yield f"Levels of the grouping factors: {listed}."
    yield from _of_the_approximation(own)
    if own.n_dispersions:
        name = own.family.dispersion_name
        yield f"Dispersion {name}: {_DISPERSIONS[own.family.name]}."
    if own.is_singular:
        yield "Singular fit: some variance is zero or some correlation is +-1."
    if own.convergence.is_flat:
        yield "Flat minimum: the data do not determine all parameters."
    columns, terms = separated_names(fitted)
    if columns:
        yield (
            f"Separated: the estimates of {', '.join(columns)} are infinite; compare "
            "models by likelihood-ratio tests."
        )
    if terms:
        yield f"The variance of {', '.join(terms)} runs off."
    k_fe = len(fitted.fixed.names)
    blank = "" in parameters["Std.Err."].to_list()[k_fe:]
    if blank and own.engine.convergence.is_singular:
        yield "Blank standard errors: the parameter is on the boundary, where it has none."
    elif blank or not own.has_errors:
        yield "Blank standard errors: the information is not positive definite."
    cluster = fitted.settings.cluster
    if cluster is not None:
        counted = " and ".join(f"{count}" for count in cluster.n_clusters)
        yield f"Standard errors are robust to dependence within {counted} clusters."
    if own.cov_type == "conditional":
        yield "Standard errors of the fixed effects are given the other parameters."
    if not own.convergence.converged:
        yield f"Not converged: {own.convergence.message}."
    if model.dropped_columns:
        listed = ", ".join(model.dropped_columns)
        yield f"Dropped, as they depend on earlier columns: {listed}."


_DISPERSIONS = {
    "gamma": "variance phi mu^2",
    "inverse gaussian": "variance phi mu^3",
    "gaussian": "variance phi",
    "negative binomial": "variance mu + alpha mu^2",
    "nb1": "variance mu (1 + alpha)",
    "beta": "variance mu (1 - mu) / (1 + precision)",
    "beta binomial": "variance mu (1 - mu) (1 + (m - 1) / (1 + precision)) / m",
}


def _of_the_approximation(own) -> Iterator[str]:
    family, engine = own.family, own.engine
    terms = own.design.terms
    one = len({t.group for t in terms}) == 1 and sum(t.k for t in terms) <= 3
    sizes = [np.sqrt(np.diag(c)).max() for c in own.covariances]
    few = 1 <= engine.n_agq < _MANY_NODES
    if family.has_trials and one and few and max(sizes) > _WIDE:
        yield (
            f"A standard deviation of {max(sizes):.3g} on the scale of the link: if levels "
            "hold few trials, the likelihood may need more nodes; see fit(n_agq='auto')."
        )
    if engine.n_agq == 0:
        yield (
            "Approximate: the coefficients minimize the penalized likelihood with the "
            "modes (n_agq=0); n_agq=1 maximizes Laplace's approximation."
        )
    elif family.name == "gaussian" and family.link.name == "identity":
        yield (
            "A linear mixed model fitted by maximum likelihood: mixedlm has its tests and "
            "degrees of freedom."
        )


# ---- in a few lines ----


def brief(results: HasFitted) -> str:
    """Family, formula, criterion, random effects and fixed effects of a fit."""
    fitted = results.fitted
    own = fitted.generalized
    family = own.family
    lines = [
        f"Generalized linear mixed model, {family.name} with {family.link.name} link "
        f"({integration_text(fitted)})",
        f"Formula: {formula_text(fitted)}",
        f"Deviance: {own.deviance:.4f}",
        "Random effects:",
        *(f"  {line}" for line in _random_lines(fitted)),
    ]
    if family.dispersion_name:
        lines.append(f"Dispersion: {family.dispersion_name} = {own.dispersion:.6g}")
    counts = [f"{fitted.nobs:g} rows"]
    counts += [f"{group}: {count} levels" for group, count in _levels(fitted).items()]
    lines.append("; ".join(counts))
    lines += ["Fixed effects:", *(f"  {line}" for line in _fixed_lines(fitted))]
    if own.is_singular:
        lines.append("Singular fit: some variance is zero or some correlation is +-1.")
    if own.engine.separation or not own.convergence.converged:
        lines.append(f"Verdict: {own.convergence}.")
    return "\n".join(lines)


def brief_of_wrapper(wrapper: Any) -> str:
    """The same of results with labels around them."""
    return brief(wrapper._results)


def _random_lines(fitted):
    frame = var_corr(fitted)
    groups = frame["group"].mask(frame["group"].eq(frame["group"].shift()), "")
    columns = [["", *groups], ["", *frame["name"]], ["sd", *_numbers(frame["sd"])]]
    if "corr" in frame and frame["corr"].notna().any():
        columns.append(["corr", *number_texts(frame["corr"], "{:.3f}")])
    return _table(*columns)


def _fixed_lines(fitted):
    names, values = fitted.fixed.names, fitted.fixed.estimate
    if not len(names):
        return ["none"]
    shown = [text or "dropped" for text in _numbers(values)]
    lines = _table(list(names[:_MOST_COEFFICIENTS]), shown[:_MOST_COEFFICIENTS])
    more = len(names) - _MOST_COEFFICIENTS
    return lines if more <= 0 else [*lines, f"... and {more} more"]


def _numbers(values):
    values = np.asarray(values, float)
    return number_texts(values, number_format(enough_decimals(values), values))


def _table(*columns):
    """Columns side by side: labels to the left, the last ones, numbers, to the right."""
    widths = [max((len(str(c)) for c in column), default=0) for column in columns]
    labels = 1 if len(columns) == 2 else 2
    return [
        "  ".join(
            str(cell).ljust(width) if j < labels else str(cell).rjust(width)
            for j, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in zip(*columns, strict=True)
    ]


def as_html(results: Any) -> str:
    """The summary as HTML, for notebooks."""
    return results.summary().as_html()
