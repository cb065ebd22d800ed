"""Arguments of generalized models that are refused, and designs that tell too little."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from numbers import Integral
from typing import Any

import numpy as np

from mixedext.arguments import did_you_mean
from mixedext.engine.generalized.quadrature import (
    MOST_COLUMNS,
    MOST_NODES,
    MOST_OF_LEVEL,
)
from mixedext.exceptions import (
    DesignError,
    UnidentifiedVarianceWarning,
    user_stacklevel,
)
from mixedext.other_names import MODEL_ARGUMENTS
from mixedext.specification.families.family import Family
from mixedext.specification.families.response import RowResponse
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = [
    "check_dispersion_told",
    "check_n_agq",
    "check_rows_count",
    "check_terms_stated",
    "check_variances_told",
    "one_weights",
    "refuse_arguments",
    "unknown_argument",
]

_NOT_YET = {
    "ziformula": "zero inflation is not available yet; a negative binomial family or an "
    "observation-level term (1 | row) takes overdispersion, statsmodels' "
    "ZeroInflatedPoisson has no random effects",
    "dispformula": "a formula for the dispersion is not available yet; a model of its own "
    "for each part of the data has its own dispersion",
    "zi": "zero inflation is not available yet",
    "residual": "residual covariances are of linear models (mixedlm); a term such as "
    "ar1(0 + visit | subject) in the formula has correlated effects",
    "variance": "variance functions are of linear models (mixedlm); a family has its own",
}
# Of linear models, too.
_OF_BOTH = ("contrasts", "group", "na_action", "random", "random_effects", "weight")
_ELSEWHERE = {
    "nAGQ": "it is an argument of fit: glmm(...).fit(n_agq=7)",
    "n_agq": "it is an argument of fit: glmm(...).fit(n_agq=7)",
    "laplace": "it is an argument of fit: glmm(...).fit(laplace='expected')",
    "control": "the search needs no settings",
    "link": "it is part of the family: family='binomial(probit)'",
    "method": "the search needs no settings; fit(n_agq=7) is adaptive quadrature",
    "start": "it is an argument of fit: glmm(...).fit(start_params=...)",
    "start_params": "it is an argument of fit: glmm(...).fit(start_params=...)",
    "cov_type": "it is an argument of fit: glmm(...).fit(cov_type='conditional')",
    "trials": "write weights=, the numbers of trials of proportions",
    "vc_formula": "write vc_formulas={'a': '0 + C(a)'}, or (1 | a) in the formula",
    **{name: MODEL_ARGUMENTS[name] for name in _OF_BOTH},
}
# The same in fits, where an argument of fit is meant otherwise.
_OF_FIT = {
    "nAGQ": "write n_agq=",
    "control": "the search needs no settings",
    "optimizer": "the search needs no settings",
    "df_method": "tests are by the normal law; bootstrap_test() and profile() have others",
    "weights": "it is an argument of the model: glmm(formula, data, weights=...).fit()",
    "offset": "it is an argument of the model: glmm(formula, data, offset=...).fit()",
    "family": "it is an argument of the model: glmm(formula, data, family=...).fit()",
}
_NO_REML = (
    "reml={!r}: generalized models have no restricted likelihood here; estimates are by "
    "maximum likelihood. Leave reml out"
)


def unknown_argument(name: str, value: Any, where: str, known: Iterable[str]) -> ValueError:
    """The error for an argument that generalized models do not have.

    Parameters
    ----------
    name, value : str, object
        As given.
    where : str
        What was called.
    known : iterable of str
        Arguments that there are.
    """
    if name.lower() in ("reml", "ml"):
        return ValueError(_NO_REML.format(value))
    if name in _NOT_YET:
        return ValueError(f"{name}=: {_NOT_YET[name]}")
    message = f"{where} has no argument {name!r}"
    if name in _OF_FIT and where == "fit":
        return ValueError(f"{message}: {_OF_FIT[name]}")
    if name in _ELSEWHERE and name not in known:
        return ValueError(f"{message}: {_ELSEWHERE[name]}")
    known = [n for n in known if not n.startswith("_")]
    listed = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
    return ValueError(message + listed)


def refuse_arguments(
    given: Mapping[str, Any], where: str, function: Callable, more: Sequence[str] = ()
) -> None:
    """Raise ValueError for the first of arguments that are not known, unless REML is no.

    ``reml=False`` is how linear models are asked for maximum likelihood; it says nothing.
    Known are the arguments of ``function`` and some ``more``.
    """
    for name, value in given.items():
        if name.lower() == "reml" and value is False:
            continue
        own = signature(function).parameters.values()
        known = [p.name for p in own if p.kind is not p.VAR_KEYWORD]
        known = [n for n in known if n not in ("self", "cls", "model")]
        raise unknown_argument(name, value, where, [*known, *more])


def one_weights(weights: Any, var_weights: Any) -> Any:
    """``weights``, or statsmodels' name of them."""
    if weights is not None and var_weights is not None:
        raise ValueError("weights= and var_weights= are two names of one thing; give one")
    return var_weights if weights is None else weights


def check_terms_stated(terms: Sequence[Any]) -> None:
    """Refuse a model without random terms."""
    if not terms:
        raise ValueError(
            "the model has no random terms: add one, such as (1 | group), or use "
            "statsmodels' GLM: smf.glm(formula, data, family=sm.families....), which "
            "mx.anova compares with mixed fits"
        )


def check_rows_count(response: RowResponse) -> None:
    """Refuse a response of which no row counts."""
    if not response.nobs > 0:
        raise ValueError(
            "no row counts: freq_weights, or the numbers of trials, are 0 in all of them"
        )


def check_dispersion_told(family: Family, response: RowResponse) -> None:
    """Refuse measurements without scatter, of which no dispersion can be estimated."""
    y = response.y
    measured = family.n_dispersion and not (family.has_trials or family.is_count)
    if measured and len(y) and (y == y[0]).all():
        raise DesignError(
            f"the response is constant ({y[0]:g}): no dispersion of the family "
            f"{family.name} is left to estimate"
        )


def check_variances_told(
    terms: Sequence[RandomTerm | SparseTerm], family: Family, response: RowResponse
) -> None:
    """Refuse, or name, terms with one row a level where the response takes their place.

    Raises
    ------
    DesignError
        If every level has one Bernoulli row: its law has no variance left to estimate.

    Warns
    -----
    UnidentifiedVarianceWarning
        If a dispersion is estimated beside a term with one row a level.
    """
    trials, counts = response.trials, response.counts
    used = np.ones(len(response.y), bool) if trials is None else trials > 0
    if counts is not None:
        used &= counts > 0
    alone = counts is None or bool((counts[used] == 1).all())
    for term in terms:
        if not isinstance(term, RandomTerm) or not _one_row_a_level(term, used):
            continue
        if trials is not None and (trials[used] <= 1).all() and alone:
            raise DesignError(
                f"the variance of {term.label} cannot be told: every level has one row "
                "with one trial, and 0 or 1 has no more variance than its mean says. "
                "Leave the term out, or count several trials a row"
            )
        if family.n_dispersion and alone:
            warnings.warn(
                f"{term.label} has one row a level, as many effects as rows: its variance "
                f"and the dispersion ({family.dispersion_name}) of the family "
                f"{family.name} describe much the same, and may not be told apart. Leave "
                "the term out",
                UnidentifiedVarianceWarning,
                stacklevel=user_stacklevel(),
            )


def _one_row_a_level(term, used):
    codes = np.asarray(term.codes)[used]
    codes = codes[codes >= 0]
    return len(codes) > 0 and np.bincount(codes).max() == 1


def check_n_agq(n_agq: Any, terms: Sequence[RandomTerm | SparseTerm]) -> None:
    """Refuse a number of nodes that is none, or that the terms do not allow.

    Raises
    ------
    ValueError
        Says what is possible.
    """
    if n_agq == "auto":
        number = 2
    elif isinstance(n_agq, bool) or not isinstance(n_agq, Integral) or n_agq < 0:
        raise ValueError(
            f"n_agq={n_agq!r}; use 1 (Laplace's approximation), the number of nodes of "
            "adaptive quadrature (2 or more), 'auto', or 0 (coefficients with the modes)"
        )
    else:
        number = int(n_agq)
    if number <= 1:
        return
    groups = list(dict.fromkeys(t.group for t in terms))
    one = len(groups) == 1 and all(isinstance(t, RandomTerm) for t in terms)
    columns = sum(t.k for t in terms)
    if one and columns <= MOST_COLUMNS:
        _check_count_of_nodes(number, columns)
        return
    what = f"{len(groups)} grouping factors ({', '.join(groups)})"
    if one:
        what = f"{columns} columns a level of {groups[0]!r}"
    elif len(groups) == 1:
        what = f"a general matrix of effects, {groups[0]!r}"
    raise ValueError(
        f"n_agq={n_agq!r}: adaptive quadrature is for one grouping factor with up to "
        f"{MOST_COLUMNS} columns, and this model has {what}; use n_agq=1, "
        "Laplace's approximation"
    )


def _check_count_of_nodes(number, columns):
    """Refuse more nodes than there are digits, or than a level can have."""
    most = MOST_NODES
    while most**columns > MOST_OF_LEVEL:
        most -= 1
    if number <= most:
        return
    why = f"more than {MOST_NODES} nodes change no digit"
    if columns > 1:
        why = f"{columns} columns would have {number**columns:,} nodes a level"
    raise ValueError(
        f"n_agq={number}: {why}; use at most {most}, or n_agq='auto', which takes as many "
        "as change the log-likelihood"
    )
