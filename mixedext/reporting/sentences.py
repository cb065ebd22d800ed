"""What a paper says of a fit: sentences for its methods and its results."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata

import numpy as np
import pandas as pd

from mixedext.algebra.definiteness import is_singular
from mixedext.arguments import check_probability
from mixedext.fitted import Fitted, HasFitted, has_rows
from mixedext.inference.fixed_effects.anova_tables import anova
from mixedext.inference.fixed_effects.covariance_choice import choice_in_words, df_notes
from mixedext.inference.fixed_effects.df_methods import df_choice
from mixedext.inference.variances.icc_and_r2 import r2_nakagawa
from mixedext.reporting.tidy_tables import shared_variance, tidy
from mixedext.specification.covariance import registry
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_structure import name_of
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.related_terms import RelatedTerm
from mixedext.specification.terms.sparse_terms import SparseTerm
from mixedext.tables.number_text import (
    df_texts,
    enough_decimals,
    number_format,
    p_texts,
)

__all__ = ["Report", "formula_text", "sentences"]

# Coefficients up to which each has a sentence; names that are listed.
MOST_COEFFICIENTS, MOST_NAMES = 12, 8

_METHODS = {
    "satterthwaite": "t and F tests with Satterthwaite's degrees of freedom",
    "kenward-roger": (
        "t and F tests with Kenward and Roger's covariance and degrees of freedom"
    ),
    "kenward-roger-linear": (
        "t and F tests with Kenward and Roger's covariance, without second derivatives, "
        "and degrees of freedom"
    ),
    "kenward-roger-2009": (
        "t and F tests with Kenward and Roger's covariance of 2009 and degrees of freedom"
    ),
    "residual": "t and F tests with residual degrees of freedom",
}
_REFERENCES = {
    "lme4": (
        "Bates, Mächler, Bolker and Walker (2015), Fitting linear mixed-effects models "
        "using lme4, Journal of Statistical Software 67(1)."
    ),
    "satterthwaite": (
        "Kuznetsova, Brockhoff and Christensen (2017), lmerTest package: tests in linear "
        "mixed effects models, Journal of Statistical Software 82(13)."
    ),
    "kenward-roger": (
        "Kenward and Roger (1997), Small sample inference for fixed effects from "
        "restricted maximum likelihood, Biometrics 53(3), 983-997."
    ),
    "kenward-roger-2009": (
        "Kenward and Roger (2009), An improved approximation to the precision of fixed "
        "effects from restricted maximum likelihood, Computational Statistics & Data "
        "Analysis 53(7), 2583-2595."
    ),
    "robust": (
        "Pustejovsky and Tipton (2018), Small-sample methods for cluster-robust variance "
        "estimation and hypothesis testing in fixed effects models, Journal of Business & "
        "Economic Statistics 36(4), 672-683."
    ),
    "r2": (
        "Nakagawa, Johnson and Schielzeth (2017), The coefficient of determination R2 and "
        "intra-class correlation coefficient from generalized linear mixed-effects models "
        "revisited and expanded, Journal of the Royal Society Interface 14."
    ),
}


@dataclass(frozen=True)
class Report:
    """What a paper says of a fit.

    Attributes
    ----------
    methods, results : tuple of str
        Sentences for the sections Materials and Methods, and Results.
    references : tuple of str
        What these rest on.
    """

    methods: tuple[str, ...]
    results: tuple[str, ...]
    references: tuple[str, ...]

    def sections(self) -> list[tuple[str, list[str]]]:
        """Headings, and the paragraphs below each."""
        return [
            ("Materials and methods", [" ".join(self.methods)]),
            ("Results", [" ".join(self.results)]),
            ("References", list(self.references)),
        ]

    def __str__(self) -> str:
        return "\n\n".join(
            "\n".join([head, "-" * len(head), *texts]) for head, texts in self.sections()
        )

    __repr__ = __str__


def formula_text(fitted: Fitted) -> str:
    """The formula, with the random terms that other arguments have stated."""
    model, terms = fitted.model, fitted.random.terms
    written = getattr(model, "formula", None)
    if not isinstance(written, str):
        columns = ["1" if n == "Intercept" else n for n in fitted.fixed.names]
        written = f"{model.endog_names} ~ {' + '.join(columns) or '0'}"
    elif "|" in written:
        return written
    return " + ".join([written, *(t.label for t in terms)])


def sentences(
    results: HasFitted,
    alpha: float = 0.05,
    df_method: str | None = None,
    information: str | None = None,
) -> Report:
    """The sentences of a fit.

    Parameters
    ----------
    alpha : float, optional
        One minus the confidence level.
    df_method : str, optional
        Degrees of freedom of the fixed effects; the results' own if None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Raises
    ------
    ValueError
        If an argument is not known.
    """
    check_probability(alpha, "alpha")
    fitted = results.fitted
    words = choice_in_words(fitted, df_choice(df_method, information))
    references = ["lme4"]
    if fitted.settings.estimator.startswith("CR") and df_method is None:
        references.append("robust")
    references += [name for name in _REFERENCES if words.startswith(name)]
    if has_rows(fitted.model) and fitted.random.terms:
        references.append("r2")
    cited = [_software_reference(), *(_REFERENCES[name] for name in references)]
    return Report(
        tuple(_methods(fitted, alpha, df_method, information, words)),
        tuple(_results(fitted, alpha, df_method, information)),
        tuple(cited),
    )


# ---- materials and methods ----


def _methods(
    fitted: Fitted,
    alpha: float,
    df_method: str | None,
    information: str | None,
    words: str,
) -> Iterator[str]:
    kind = "linear mixed-effects model" if fitted.random.terms else "linear model"
    yield (
        f"We fitted a {kind} to {fitted.nobs} observations of {fitted.model.endog_names}: "
        f"{formula_text(fitted)}."
    )
    yield _fixed_part(fitted)
    if fitted.fixed.dropped.any():
        lost = np.asarray(fitted.fixed.names)[fitted.fixed.dropped]
        yield f"Left out, as they depend on earlier columns: {_listed(lost)}."
    if _has_offset(fitted):
        yield "A known part of the mean entered as offset."
    yield from _random_part(fitted)
    errors = "Errors were taken as independent and normal"
    if fitted.fit.residual is not None:
        yield from _residual_part(fitted, fitted.fit.residual.bound)
    elif fitted.is_weighted:
        yield f"{errors}, with a variance inversely proportional to the given weights."
    else:
        yield f"{errors}, with one variance."
    name = "restricted maximum likelihood (REML)" if fitted.reml else "maximum likelihood"
    if fitted.fit.held is None:
        yield f"Parameters were estimated by {name}."
    else:
        yield (
            f"The criterion was that of {name}, with some parameters held or penalized: "
            "the estimates are not its maximum."
        )
    yield from _tests(fitted, df_method, information, words)
    level = f"{100 * (1 - alpha):g}%"
    yield (
        f"Intervals are at the {level} level; those of standard deviations and "
        "correlations rest on the observed information and the normal law of logarithms "
        "and of Fisher's z."
    )
    yield f"{_software()}."


def _fixed_part(fitted: Fitted) -> str:
    names = [fitted.fixed.names[i] for i in fitted.fixed.kept]
    others = [n for n in names if n != "Intercept"]
    if not names:
        return "There were no fixed effects."
    shown = _listed(others)
    if not others:
        return "The only fixed effect was the intercept."
    count = "coefficient" if len(others) == 1 else f"{len(others)} coefficients"
    intercept = "" if len(others) == len(names) else "the intercept and "
    verb = "Fixed effects were" if len(names) > 1 else "The only fixed effect was"
    return f"{verb} {intercept}the {count} of {shown}."


def _random_part(fitted: Fitted) -> Iterator[str]:
    rows = fitted.rows
    for number, block in enumerate(fitted.random.blocks()):
        term = block.term
        if isinstance(term, RelatedTerm):
            of = f"coefficients of {term.names[0]}"
            kind = "intercepts" if term.names == ["Intercept"] else of
            yield (
                f"Random {kind} varied by {term.group} ({term.n_levels} levels), with one "
                "variance times a known relationship of the levels."
            )
            continue
        if isinstance(term, SparseTerm):
            yield (
                f"Random effects of {term.group} ({term.n_levels} levels, with one "
                "variance) entered by a matrix of memberships."
            )
            continue
        slopes = [n for n in term.names if n != "Intercept"]
        what = ["intercepts"] if "Intercept" in term.names else []
        what += [f"coefficients of {_listed(slopes)}"] if slopes else []
        levels = _count(term.n_levels, "level")
        own = rows.terms[number] if rows is not None else None
        if isinstance(own, RandomTerm):
            levels += f", {_sizes(own.codes)}"
        text = f"Random {' and '.join(what)} varied by {term.group} ({levels})"
        if term.k > 1:
            if block.structure.shares_one_variance:
                text += ", with one variance for all and no correlations"
            elif not block.structure.linear:
                text += f", with a structured covariance: {registry.means(block.structure)}"
            elif block.structure.has_correlations:
                text += ", with an unstructured covariance matrix"
            else:
                text += ", each with a variance of its own and no correlations"
        yield f"{text}."
    if fitted.random.terms:
        yield "Random effects were taken as normal with mean zero."


def _residual_part(fitted: Fitted, bound: BoundResidual) -> Iterator[str]:
    """What the errors were taken for."""
    spec = bound.spec
    if bound.correlation is None:
        yield "Errors were taken as independent and normal."
    else:
        what = spec.means
        if spec.is_het:
            what += ", with a standard deviation for each visit"
        if bound.level_labels:
            what += f", each level of {name_of(spec.by, 'by')} having its own parameters"
        sizes = [b.size for b in bound.batches]
        rows = _count(sizes[0], "row")
        if len(sizes) > 1:
            rows = f"{min(sizes)} to {max(sizes)} rows"
        yield (
            f"Errors were taken as normal and as correlated within {bound.group_name} "
            f"({_count(bound.n_groups, 'group')}, {rows} each): {what} ({spec})."
        )
    if bound.variance:
        texts = " * ".join(map(str, bound.variance))
        yield f"Their standard deviation was sigma times {texts}."
    if fitted.is_weighted:
        yield "Their variances were divided by the given weights."


def _sizes(codes: np.ndarray) -> str:
    counts = np.bincount(codes)
    low, high = counts.min(), counts.max()
    if low == high:
        return f"{_count(int(low), 'row')} each"
    return f"{low} to {high} rows each"


def _tests(
    fitted: Fitted, df_method: str | None, information: str | None, words: str
) -> Iterator[str]:
    settings = fitted.settings
    if df_method is None and settings.estimator.startswith("CR"):
        yield (
            f"Standard errors of coefficients are robust to correlation within clusters "
            f"({settings.estimator}), with degrees of freedom: {words}."
        )
        return
    if df_method is None and settings.estimator == "oim":
        yield "Standard errors come from the observed information."
    name = words.partition(" ")[0]
    if words == "none (z)":
        yield "Coefficients were tested by the normal law."
    else:
        kind = _METHODS.get(name, f"t and F tests with degrees of freedom by {words}")
        yield f"Coefficients were tested by {kind}."
    for note in df_notes(fitted, df_choice(df_method, information)):
        yield f"{note}."


def _software() -> str:
    versions = [f"{name} {metadata.version(name)}" for name in ("numpy", "statsmodels")]
    return (
        f"Computations were done with mixedext {_version()} in Python "
        f"{platform.python_version()} ({', '.join(versions)})"
    )


def _version() -> str:
    try:
        return metadata.version("mixedext")
    except metadata.PackageNotFoundError:  # a source tree that is not installed
        return "(source)"


def _software_reference() -> str:
    return (
        f"mixedext {_version()}: linear mixed models for Python, in lme4's notation with "
        "statsmodels' interface."
    )


# ---- results ----


def _results(
    fitted: Fitted, alpha: float, df_method: str | None, information: str | None
) -> Iterator[str]:
    verdict = fitted.fit.convergence
    if not verdict.converged:
        yield (
            f"The search for the estimates failed ({verdict.message}): the numbers that "
            "follow are not estimates and must not be reported as such."
        )
    elif fitted.fit.is_singular:
        yield from _singular(fitted)
    if verdict.is_flat:
        yield "The data do not determine all variances and covariances."
    if verdict.is_unbounded:
        yield (
            "The likelihood has no maximum: it rises without end as variances grow. The "
            "estimates are those of a local maximum."
        )
    elif verdict.has_lower_limit:
        yield (
            "The likelihood is higher in the limit of no residual variance. The estimates "
            "are those of a local maximum."
        )
    elif verdict.others_may_exist:
        yield "The likelihood may have higher maxima than the one found."
    level = f"{100 * (1 - alpha):g}%"
    table = tidy(fitted, alpha=alpha, df_method=df_method, information=information)
    yield from _coefficients(table[table["effect"] == "fixed"], level)
    yield from _term_tests(fitted, df_method, information)
    yield from _variances(table[table["effect"] == "random"], level)
    if has_rows(fitted.model) and fitted.random.terms:
        marginal, conditional = r2_nakagawa(fitted)
        shared = f"{shared_variance(fitted):.3f}"
        several = len(fitted.random.groups) > 1
        of_all = " of rows that share the levels of all factors" if several else ""
        if np.ptp(fitted.need_rows().exog, axis=0).any():
            yield (
                f"Fixed effects explain {_share(marginal)} of the variance, fixed and "
                f"random effects together {_share(conditional)}; the intraclass "
                f"correlation{of_all} is {shared}."
            )
        else:  # the intercept explains nothing
            yield f"The intraclass correlation{of_all} is {shared}."


def _singular(fitted: Fitted) -> Iterator[str]:
    zero, whole = [], []
    for block in fitted.random.blocks():
        variances = np.diag(block.covariance)
        names = [
            block.term.group if n == "Intercept" else f"{n} by {block.term.group}"
            for n in block.term.names
        ]
        zero += [n for n, v in zip(names, variances, strict=True) if v == 0]
        left = int((variances > 0).sum())
        if left > 1 and is_singular(block.covariance[np.ix_(variances > 0, variances > 0)]):
            whole.append(block.term.group)
    held = fitted.fit.held is not None
    found = "was" if held else "was estimated as"
    boundary = "" if held else ", a valid estimate on the boundary"
    yield f"The fit is singular{boundary}."
    if zero:
        yield f"The variance of {_listed(zero)} {found} zero."
    if whole:
        were = found.replace("was", "were")
        yield (
            f"The effects by {_listed(whole)} {were} perfectly dependent: their "
            "covariance matrix is not of full rank."
        )


def _coefficients(table: pd.DataFrame, level: str) -> Iterator[str]:
    kept = table[table["estimate"].notna()]
    if len(kept) > MOST_COEFFICIENTS:
        yield f"There are {len(kept)} coefficients (see the table)."
        return
    for row in kept.itertuples():
        form = _form(row.std_err, row.estimate)
        name = (
            "The intercept" if row.term == "Intercept" else f"The coefficient of {row.term}"
        )
        text = f"{name} was {form(row.estimate)}"
        if np.isnan(row.std_err):
            yield f"{text}, without a standard error."
            continue
        law = "z" if np.isinf(row.df) else f"t({df_texts([row.df])[0]})"
        p = p_texts([row.pvalue])[0]
        p = f"p {p[0]} {p[1:]}" if p.startswith("<") else f"p = {p}"
        yield (
            f"{text} (standard error {form(row.std_err)}, {level} interval "
            f"{form(row.lower)} to {form(row.upper)}, {law} = {row.statistic:.2f}, {p})."
        )


def _term_tests(
    fitted: Fitted, df_method: str | None, information: str | None
) -> Iterator[str]:
    """F tests of terms that have several coefficients."""
    if getattr(fitted.model, "fixed_formula", None) is None or not has_rows(fitted.model):
        return
    if fitted.fit.held is not None:
        return
    table = anova(fitted, df_method=df_method, information=information)
    for term, row in table[table["df_num"] > 1].iterrows():
        size = row["statistic"]
        law = f"F({int(row['df_num'])}, {df_texts([row['df_denom']])[0]})"
        if np.isinf(row["df_denom"]):
            law, size = f"chi-squared({int(row['df_num'])})", size * row["df_num"]
        p = p_texts([row["pvalue"]])[0]
        p = f"p {p[0]} {p[1:]}" if p.startswith("<") else f"p = {p}"
        yield f"Test of {term} (type III): {law} = {size:.2f}, {p}."


def _variances(table: pd.DataFrame, level: str) -> Iterator[str]:
    if len(table) > MOST_COEFFICIENTS:
        residual = table["group"] == "Residual"
        count = int(residual.sum())
        yield f"The residual covariance has {count} parameters (see the table)."
        table = table[~residual]
    for row in table.itertuples():
        form = _form(row.std_err, row.estimate)
        kind, _, names = row.term.partition(" ")
        if row.term == "sigma":
            text = "The residual standard deviation was "
        elif row.group == "Residual":
            text = _residual_parameter(row.term)
        elif kind == "sd":
            of = "intercepts" if names == "Intercept" else f"coefficients of {names}"
            text = f"The standard deviation of {of} by {row.group} was "
        elif kind != "cor":  # of a structured covariance, rho or rho 1
            text = f"The parameter {row.term.removesuffix(row.group)}by {row.group} was "
        else:
            text = (
                f"The correlation of {names.replace('.', ' and ', 1)} by {row.group} was "
            )
        text += form(row.estimate)
        if np.isnan(row.lower):
            yield f"{text} (no interval)."
        else:
            yield f"{text} ({level} interval {form(row.lower)} to {form(row.upper)})."


def _residual_parameter(term: str) -> str:
    """How the sentence on a parameter of the residual covariance begins."""
    level, _, own = term.rpartition(": ")
    of = f" ({level})" if level else ""
    if own.startswith("sd("):
        return f"The residual standard deviation of {own[3:-1]}{of} was "
    if own.startswith("cor("):
        pair = own[4:-1].replace(",", " and ")
        return f"The residual correlation of {pair}{of} was "
    return f"The parameter {own} of the residual covariance{of} was "


# ---- words ----


def _has_offset(fitted: Fitted) -> bool:
    model = fitted.model
    return model.offset is not None or bool(model.offset_name) or bool(model.offset_terms)


def _form(error: float, estimate: float) -> Callable[[float], str]:
    decimals = max(enough_decimals([error], [estimate]) - 1, 2)
    return number_format(decimals, [estimate, error]).format


def _share(value: float) -> str:
    return f"{100 * value:.1f}%"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _listed(given: Iterable[str]) -> str:
    names = [str(n) for n in given]
    if len(names) > MOST_NAMES:
        return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
