"""Parameters that a user gives by name, in the order and shape that a model has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mixedext.algebra.roots import semidefinite_root
from mixedext.arguments import did_you_mean
from mixedext.engine.deviance.given_covariances import relative_root
from mixedext.engine.residual.natural import free_parameters
from mixedext.limits import ASYMMETRY, STRUCTURED
from mixedext.models.mixedlm.residual_fitting import psi_names
from mixedext.specification.covariance import registry
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_parameters import packed_names
from mixedext.specification.covariance.term_structure import OutOfRangeError
from mixedext.specification.terms.parameter_names import theta_names
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = [
    "LawOfResiduals",
    "Parameters",
    "fixed_vector",
    "law_of_residuals",
    "read_parameters",
    "read_residual",
]

Term = RandomTerm | SparseTerm


@dataclass(frozen=True, eq=False)
class Parameters:
    """What responses are simulated from.

    Attributes
    ----------
    fixed : dict
        Fixed effects by name of the column.
    roots : tuple of ndarray
        Of each random term a factor of the covariance of its effects, (k, k).
    sigma : float
        Standard deviation of the residuals.
    residual : dict
        Parameters of the residual covariance by name, relative to sigma^2; empty without.
    """

    fixed: dict[str, float]
    roots: tuple[np.ndarray, ...]
    sigma: float
    residual: Mapping[str, float] = field(default_factory=dict)


def read_parameters(
    names: Sequence[str],
    terms: Sequence[Term],
    fe_params: Any,
    cov_re: Any,
    theta: Any,
    sigma: Any,
    default: Parameters | None = None,
) -> Parameters:
    """Check parameters against a model's columns and random terms.

    Parameters
    ----------
    names : sequence of str
        Columns of the fixed effects.
    terms : sequence of RandomTerm or SparseTerm
        Random terms.
    fe_params, cov_re, theta, sigma
        As for ``simulate``.
    default : Parameters, optional
        What stands where nothing is given.

    Raises
    ------
    ValueError
        If something is lacking, not known, of the wrong shape or no covariance; names it
        and says what there is.
    """
    own = None if default is None else default.fixed
    fixed = dict(zip(names, fixed_vector(fe_params, names, own), strict=True))
    if sigma is None and default is None:
        raise ValueError("sigma= is needed: the standard deviation of the residuals")
    size = _deviation(sigma) if sigma is not None or default is None else default.sigma
    if theta is not None and cov_re is not None:
        raise ValueError("give cov_re= or theta=, not both: they say the same")
    if theta is not None:
        return Parameters(fixed, tuple(_of_theta(theta, terms, size)), size)
    if cov_re is None:
        if default is not None:
            return Parameters(fixed, default.roots, size)
        if terms:
            raise ValueError(
                "cov_re= or theta= is needed for the random effects: "
                f"cov_re={{{_asked(terms)}}}"
            )
        return Parameters(fixed, (), size)
    given = _by_term(cov_re, terms)
    roots = []
    for number, term in enumerate(terms):
        if number in given:
            roots.append(_root(given[number], term))
        elif default is not None:
            roots.append(default.roots[number])
        else:
            raise ValueError(
                f"cov_re= says nothing of {term.label}; give cov_re={{{_asked(terms)}}}"
            )
    return Parameters(fixed, tuple(roots), size)


class LawOfResiduals(NamedTuple):
    """A residual covariance with its parameters.

    Attributes
    ----------
    bound : BoundResidual
        The covariance on some rows.
    psi : ndarray
        Its free parameters.
    """

    bound: BoundResidual
    psi: np.ndarray


def read_residual(
    bound: BoundResidual | None, given: Any, default: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Parameters of a residual covariance by name.

    Parameters
    ----------
    bound : BoundResidual or None
        The covariance; None of a model without.
    given : dict or Series or None
        Values by the names of ``model.residual.names``, or those of ``params``.
    default : mapping, optional
        What those have that are not given; else the values that the structure states.

    Raises
    ------
    ValueError
        If a name is not known, a value is lacking, or outside its range.
    """
    if given is None:
        given = {}
    if isinstance(given, pd.Series):
        given = given.to_dict()
    if not isinstance(given, Mapping):
        raise ValueError(f"residual_params must be a dict by name, not {given!r}")
    if bound is None:
        if given:
            raise ValueError(
                "residual_params= goes with residual= or variance=, and there is none"
            )
        return {}
    if any(bound.of_fitted):
        raise ValueError(
            f"{bound}: the variance follows fitted values, which responses that are "
            "simulated have not; name a covariate"
        )
    names = list(bound.names)
    packed = dict(zip(packed_names(bound), names, strict=True))
    values = dict((bound.start or {}) if default is None else default)
    for name, value in given.items():
        own = packed.get(name, name)
        if own not in names:
            raise ValueError(
                f"residual_params: {name!r} is no parameter of {bound}; there are: "
                f"{', '.join(map(repr, names))}{did_you_mean(str(name), names)}"
            )
        values[own] = value
    lacking = [name for name in names if name not in values]
    if lacking:
        raise ValueError(
            f"residual_params= says nothing of {', '.join(map(repr, lacking))} of {bound}; "
            "it needs a value by name for each (ratios of standard deviations and, of us, "
            "covariances over the first variance)"
        )
    try:
        law_of_residuals(bound, values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"residual_params: {error}") from None
    return {name: float(values[name]) for name in names}


def law_of_residuals(bound: BoundResidual, values: Mapping[str, float]) -> LawOfResiduals:
    """A residual covariance with parameters by name.

    Raises
    ------
    ValueError
        If they lie outside their range.
    """
    eta = np.array([values[name] for name in psi_names(bound)], float)
    return LawOfResiduals(bound, free_parameters(bound, eta))


def fixed_vector(
    fe_params: Any, names: Sequence[str], default: Mapping[str, float] | None = None
) -> np.ndarray:
    """Fixed effects in the order of the columns, (k,).

    Parameters
    ----------
    fe_params : dict or Series or array_like or None
        By name, or in the order of the columns.
    names : sequence of str
        Columns.
    default : mapping, optional
        What those have that are not given by name.

    Raises
    ------
    ValueError
        If a name is not known or one is lacking, the length is another, or a value is no
        finite number.
    """
    known, listed = {} if default is None else dict(default), ", ".join(map(repr, names))
    if fe_params is None:
        fe_params = {}
    if isinstance(fe_params, pd.Series):
        fe_params = fe_params.to_dict()
    if isinstance(fe_params, Mapping):
        unknown = [n for n in fe_params if n not in names]
        if unknown:
            raise ValueError(
                f"fe_params: {unknown[0]!r} is no column of the fixed effects; there are: "
                f"{listed}{did_you_mean(unknown[0], names)}"
            )
        known |= fe_params
        lacking = [n for n in names if n not in known]
        if lacking:
            raise ValueError(
                f"fe_params says nothing of {', '.join(map(repr, lacking))}; it needs: "
                f"{listed}"
            )
        values = [known[n] for n in names]
    else:
        values = fe_params
    try:
        out = np.asarray(values, float)
    except (TypeError, ValueError):
        raise ValueError(f"fe_params must be numbers, not {fe_params!r}") from None
    if out.shape != (len(names),):
        raise ValueError(
            f"fe_params has shape {out.shape}; the columns of the fixed effects are "
            f"{len(names)}: {listed}"
        )
    if not np.isfinite(out).all():
        raise ValueError(
            f"fe_params[{names[int((~np.isfinite(out)).argmax())]!r}] is not finite"
        )
    return out


def _deviation(sigma):
    try:
        value = float(sigma)
    except (TypeError, ValueError):
        value = np.nan
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"sigma={sigma!r} must be a standard deviation, above zero")
    return value


def _of_theta(theta, terms, sigma):
    """Factors sigma lam of the terms from lme4's theta."""
    names = theta_names(terms)
    try:
        values = np.atleast_1d(np.asarray(theta, float))
    except (TypeError, ValueError):
        raise ValueError(f"theta must be numbers, not {theta!r}") from None
    if values.shape != (len(names),) or not np.isfinite(values).all():
        raise ValueError(
            f"theta must be {len(names)} finite numbers ({', '.join(names) or 'none'}), "
            f"not {theta!r}"
        )
    roots, start = [], 0
    for term in terms:
        end = start + term.structure.n_theta
        roots.append(sigma * term.structure.lam(values[start:end]))
        start = end
    return roots


def _asked(terms):
    """What a dictionary of covariances looks like."""
    parts = []
    for number, key in enumerate(_keys(terms)):
        k = len(terms[number].names)
        shape = f"{k} x {k} matrix"
        parts.append(f"{key!r}: {'variance' if k == 1 else shape}")
    return ", ".join(parts)


def _keys(terms):
    """The factor of each term, or its label where several terms have the factor."""
    groups = [t.group for t in terms]
    return [t.group if groups.count(t.group) == 1 else t.label for t in terms]


def _by_term(cov_re, terms):
    """What is given of each term, by its number."""
    if not isinstance(cov_re, Mapping):
        if len(terms) != 1:
            raise ValueError(
                f"cov_re must say which of {len(terms)} random terms it is of: "
                f"cov_re={{{_asked(terms)}}}"
            )
        return {0: cov_re}
    keys = _keys(terms)
    labels = [t.label for t in terms]
    found = {}
    for key, value in cov_re.items():
        at = [i for i in range(len(terms)) if key in (keys[i], labels[i])]
        if not at:
            raise ValueError(
                f"cov_re: {key!r} is no random term; there are: "
                f"{', '.join(map(repr, keys)) or 'none'}{did_you_mean(key, keys)}"
            )
        found[at[0]] = value
    return found


def _root(given, term):
    """A factor of one covariance, checked against the term's structure."""
    k, names = term.structure.k, list(term.names)
    what = f"cov_re of {term.label}"
    if isinstance(given, pd.DataFrame):
        if sorted(map(str, given.columns)) == sorted(names):
            given = given.rename(index=str, columns=str).loc[names, names]
        else:
            raise ValueError(
                f"{what} has the columns {', '.join(map(str, given.columns))}; its effects "
                f"are {', '.join(names)}"
            )
    try:
        matrix = np.asarray(given, float)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be numbers, not {given!r}") from None
    if term.structure.shares_one_variance and matrix.size == 1:
        matrix = float(matrix.ravel()[0]) * np.eye(k)
    elif k == 1 and matrix.size == 1:
        matrix = matrix.reshape(1, 1)
    elif matrix.shape == (k,) and not term.structure.has_correlations:
        matrix = np.diag(matrix)
    if matrix.shape != (k, k):
        raise ValueError(
            f"{what} has shape {np.shape(given)}; its effects are {k}: {', '.join(names)}"
        )
    size = np.abs(matrix).max(initial=0.0)
    if not np.isfinite(matrix).all() or np.abs(matrix - matrix.T).max() > ASYMMETRY * size:
        raise ValueError(f"{what} must be a symmetric matrix of finite numbers")
    matrix = (matrix + matrix.T) / 2
    if not term.structure.linear:
        _check_structured(matrix, size, term, what)
        return semidefinite_root(matrix)
    own = term.structure.covariance(term.structure.gamma(matrix))
    if np.abs(own - matrix).max(initial=0.0) > ASYMMETRY * size:
        raise ValueError(
            f"{what} has covariances that the term has not; write (... | {term.group}) "
            "with one bar for correlated effects"
        )
    root = relative_root(term.structure, matrix)
    if root is None:
        raise ValueError(f"{what} is no covariance: not positive semidefinite")
    return root


def _check_structured(matrix, size, term, what):
    """Whether a matrix is of a structure that is a curve of its parameters."""
    means = registry.means(term.structure)
    try:
        own = term.structure.covariance(term.structure.gamma(matrix))
    except OutOfRangeError as error:
        raise ValueError(f"{what} is no covariance of its structure: {error}") from None
    if np.abs(own - matrix).max(initial=0.0) > STRUCTURED * size:
        raise ValueError(f"{what} is not of its structure, {means}: nearest is\n{own}")
