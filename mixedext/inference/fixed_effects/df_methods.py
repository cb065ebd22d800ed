"""t and F tests of fixed effects by any method for their degrees of freedom.

A method says which covariance the coefficients have, how many degrees of freedom a
combination of them has, and how a joint test of several is scaled.  Combinations are
rows over the coefficients that the fit kept (``design.basis.kept``).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
from scipy import stats
from statsmodels.tools.sm_exceptions import ValueWarning

from mixedext.algebra.roots import cholesky_if_definite
from mixedext.arguments import did_you_mean
from mixedext.engine.fit import Fit
from mixedext.exceptions import user_stacklevel
from mixedext.fitted import DfChoice, Fitted
from mixedext.limits import CONTRADICTION, HYPOTHESIS_RANK, LIKE_UNITS, ROW_ROUNDING
from mixedext.tables.statistical_tests import TestResult

__all__ = [
    "DF_METHODS",
    "INFORMATION",
    "KENWARD_ROGER",
    "FTest",
    "FixedTests",
    "check_df_method",
    "check_information",
    "default_information",
    "df_choice",
    "df_method_name",
    "f_test_of",
    "fixed_tests",
    "independent_rows",
    "no_hypothesis",
    "tests_of",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class FTest(TestResult):
    """A joint test of combinations of fixed effects.

    Attributes
    ----------
    statistic : float
        F, already times ``scaling``.
    df_num : int
        Rank of the combinations.
    df_denom : float
        Denominator degrees of freedom; infinite for a chi-squared test divided by its df.
    pvalue : float
        By F, or by chi-squared.
    scaling : float
        Factor on the Wald F; 1 but for Kenward-Roger.
    """

    df_num: int
    df_denom: float
    scaling: float = 1.0


def f_test_of(
    statistic: float, df_num: int, df_denom: float, scaling: float = 1.0
) -> FTest:
    """The test of a statistic, already times ``scaling``, with its p-value."""
    if np.isposinf(df_denom):
        pvalue = float(stats.chi2.sf(statistic * df_num, df_num))
    else:
        pvalue = float(stats.f.sf(statistic, df_num, df_denom))
    return FTest(
        statistic=statistic,
        pvalue=pvalue,
        df_num=df_num,
        df_denom=df_denom,
        scaling=scaling,
    )


def no_hypothesis() -> FTest:
    """The test of nothing, of which a warning tells."""
    warnings.warn(
        "r_matrix holds no hypothesis: all its entries are zero, or of parameters that are "
        "held or have no variance; df_num is 0, and there is no statistic and no p-value",
        ValueWarning,
        stacklevel=user_stacklevel(),
    )
    return f_test_of(np.nan, 0, np.nan)


class FixedTests:
    """Tests by the normal law: no degrees of freedom are estimated.

    Combinations are taken to coordinates in which their covariance is well conditioned: a
    covariance matrix of coefficients loses the digits of combinations in which a covariate
    far from zero cancels.

    Parameters
    ----------
    fit : Fit
        The fitted model.
    inner : ndarray, optional
        Covariance of the coefficients in the coordinates ``sigma * fit.root``, or of the
        coefficients themselves if some were held or penalized, (rank, rank); the model's
        own if None.

    Attributes
    ----------
    root, inner : ndarray
        The covariance of the coefficients kept is root inner root', (rank, rank) each.
    held : tuple of str
        Variance parameters that the method holds on the boundary.
    replaced : bool
        Whether the expected information stands in for the observed one.
    """

    held: tuple[str, ...] = ()
    variance_covariance: np.ndarray | None = None
    adjusts = False
    replaced: bool = False

    def __init__(self, fit: Fit, inner: np.ndarray | None = None):
        self.fit = fit
        self.root = np.sqrt(fit.scale) * fit.root
        self.inner = np.eye(len(self.root)) if inner is None else inner
        if fit.held is not None:  # its covariance may be indefinite, or partly unknown
            self.root = np.eye(len(self.root))
            self.inner = fit.covariance if inner is None else inner

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance of the coefficients kept, (rank, rank)."""
        return self.spread(np.eye(len(self.root)))

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """Covariance of combinations of the coefficients kept, (m, m)."""
        turned = rows @ self.root
        unknown = np.isnan(np.diag(self.inner))
        spread = turned @ np.where(np.isnan(self.inner), 0.0, self.inner) @ turned.T
        if unknown.any():
            none = rows[:, unknown].any(axis=1)
            spread[none] = spread[:, none] = np.nan
        return spread

    def held_notes(self) -> list[str]:
        """What is held, and what was replaced, as notes of a table."""
        held = "; ".join(self.held)
        notes = [f"Held for the degrees of freedom: {held}"] if held else []
        if self.replaced:
            notes.append(
                "The observed information of the variances is not positive definite; "
                "the expected one is used in its place"
            )
        return notes

    def df(self, rows: Any) -> np.ndarray:
        """Degrees of freedom of each row of combinations, (m,)."""
        return np.full(len(rows), np.inf)

    def f_test(self, rows: Any, values: Any = 0.0) -> FTest:
        """Joint test that ``rows @ coefficients == values``; dependent rows are dropped."""
        rows = np.atleast_2d(np.asarray(rows, float))
        if np.isnan(self.spread(rows)).any():
            return f_test_of(np.nan, len(rows), np.nan)
        rows, values = independent_rows(rows, values, self.fit.root)
        if not len(rows):
            return no_hypothesis()
        return f_test_of(self.wald_f(rows, values), len(rows), self.joint_df(rows))

    def wald_f(self, rows: np.ndarray, values: np.ndarray) -> float:
        """(L b - c)'(L V L')^-1 (L b - c) / rank, of independent rows."""
        difference = rows @ self.fit.coefficients - values
        inner = cholesky_if_definite(np.where(np.isnan(self.inner), 0.0, self.inner))
        if inner is None:
            square = difference @ np.linalg.solve(self.spread(rows), difference)
            return float(square) / len(rows)
        # by a root of L V L': of rows with much in common the product has no digits left
        _, root = np.linalg.qr((rows @ self.root @ inner).T)
        half = np.linalg.solve(root.T, difference)
        return float(half @ half) / len(rows)

    def joint_df(self, rows: np.ndarray) -> float:
        """Denominator degrees of freedom of independent rows."""
        return np.inf


class ResidualTests(FixedTests):
    """Tests with n - rank(X) degrees of freedom."""

    def df(self, rows: Any) -> np.ndarray:
        return np.full(len(rows), self.joint_df(rows))

    def joint_df(self, rows: np.ndarray) -> float:
        return float(self.fit.design.blocks.nobs - self.fit.design.basis.rank)


# Modules beside this one, which import it, and their classes.
DF_METHODS: dict[str, tuple[str, str]] = {
    "z": ("df_methods", "FixedTests"),
    "satterthwaite": ("satterthwaite", "Satterthwaite"),
    "kenward-roger": ("kenward_roger", "KenwardRoger"),
    "kenward-roger-linear": ("kenward_roger", "KenwardRogerLinear"),
    "kenward-roger-2009": ("kenward_roger", "KenwardRoger2009"),
    "residual": ("df_methods", "ResidualTests"),
    "containment": ("classical_df", "ContainmentTests"),
    "between-within": ("classical_df", "BetweenWithinTests"),
    "inner-outer": ("classical_df", "InnerOuterTests"),
}
# Those that adjust the covariance, need REML and take ``information``.
KENWARD_ROGER = ("kenward-roger", "kenward-roger-linear", "kenward-roger-2009")
# Kinds of information on the variances; the first is the default of linear covariances.
INFORMATION = ("expected", "observed")


# Other spellings, in lower case and with hyphens.
ALIASES: dict[str, str] = {
    "normal": "z",
    "asymptotic": "z",
    "satt": "satterthwaite",
    "sat": "satterthwaite",
    "satterth": "satterthwaite",
    "kr": "kenward-roger",
    "kenwardroger": "kenward-roger",
    "kenward": "kenward-roger",
    "kr-linear": "kenward-roger-linear",
    "kr(linear)": "kenward-roger-linear",
    "kr(firstorder)": "kenward-roger-linear",
    "kr2": "kenward-roger-2009",
    "kr-2009": "kenward-roger-2009",
    "contain": "containment",
    "bw": "between-within",
    "betwithin": "between-within",
}


def default_information(fit: Fit) -> str:
    """The information that Kenward and Roger's methods invert where none is asked for.

    The expected one, as pbkrtest, where V is linear in its parameters; the observed one,
    as SAS and mmrm, beside a residual covariance or a random term that is not linear.
    """
    return INFORMATION[fit.design.is_curved or fit.residual is not None]


def df_method_name(name: Any) -> str | None:
    """The method that a name or an alias stands for; None, the default, for None.

    Raises
    ------
    ValueError
        If it is not known.
    """
    if name is None:
        return None
    key = None
    if isinstance(name, str):
        key = name.lower().replace("_", "-").replace(" ", "-")
        key = ALIASES.get(key, key)
    if key not in DF_METHODS:
        known = ", ".join(map(repr, DF_METHODS))
        raise ValueError(
            f"df_method={name!r} is not known; use one of {known}, or None for the default"
            f"{did_you_mean(name, DF_METHODS)}"
        )
    return key


def df_choice(df_method: Any = None, information: Any = None) -> DfChoice:
    """What the arguments of a function say of degrees of freedom.

    Parameters
    ----------
    df_method : str, optional
        One of ``DF_METHODS`` or ``ALIASES``; None for the default.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's methods; None for the default.

    Raises
    ------
    ValueError
        If something is not known, or the method takes no ``information``.
    """
    choice = DfChoice(df_method_name(df_method), information)
    check_information(choice)
    return choice


def check_information(choice: DfChoice, settled: bool = False) -> None:
    """Refuse an information that is not known, or that the method does not take.

    Parameters
    ----------
    choice : DfChoice
        What was asked for.
    settled : bool, optional
        Whether no method means that the covariance brings its own degrees of freedom; if
        False, that the fit's method is not known here.

    Raises
    ------
    ValueError
        Says which method takes it.
    """
    name, information = choice.df_method, choice.information
    if information is None:
        return
    if information not in INFORMATION:
        known = " or ".join(map(repr, INFORMATION))
        raise ValueError(f"information={information!r} is not known; use {known}")
    if name in KENWARD_ROGER or (name is None and not settled):
        return
    own = f"df_method={name!r}" if name else "a cluster-robust covariance"
    why = "rests on the observed one always" if name == "satterthwaite" else "has none"
    raise ValueError(
        f"information={information!r} chooses the information that "
        f"df_method='kenward-roger' inverts, but the method here is {own}, which {why}; "
        "leave information= out, or give df_method='kenward-roger' with it"
    )


def check_df_method(fit: Fit, name: str | None) -> None:
    """Refuse what is derived for (restricted) maximum likelihood alone.

    Raises
    ------
    ValueError
        If parameters of the fit were held or penalized, and the method is a small-sample
        one.
    """
    if fit.held is not None and name not in (None, "z", "residual"):
        raise ValueError(
            f"df_method={name!r} holds for (restricted) maximum-likelihood estimates, but "
            "parameters of this fit were penalized, or held (free=); use "
            "df_method='residual' or 'z'"
        )
    if getattr(fit, "generalized", None) is not None and name not in (
        None,
        "z",
        "residual",
    ):
        raise ValueError(
            f"df_method={name!r} is for linear mixed models; tests of a generalized one "
            "are by the normal law: leave it out, or compare by mx.anova(smaller, larger)"
        )


def tests_of(fitted: Fitted, choice: DfChoice) -> FixedTests:
    """``fixed_tests`` of a complete choice, made once a fit."""
    made = fitted._of_fit.setdefault("tests", {})
    if choice not in made:
        made[choice] = fixed_tests(fitted.fit, choice)
    return made[choice]


def fixed_tests(fit: Fit, choice: DfChoice | str = "z") -> FixedTests:
    """Tests of the fixed effects of a fit by a method, one of ``DF_METHODS``."""
    choice = choice if isinstance(choice, DfChoice) else df_choice(choice)
    name = choice.df_method or "z"
    check_df_method(fit, name)
    module, kind = DF_METHODS[name]
    made = getattr(import_module(f"mixedext.inference.fixed_effects.{module}"), kind)
    return made(fit) if choice.information is None else made(fit, choice.information)


def independent_rows(
    rows: Any, values: Any, root: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As many combinations of the rows as their rank, and the values they must have.

    Independent rows are returned as they are, none where nothing is left to test; others
    become rows of uncorrelated estimates, where ``root`` times its transpose is the
    covariance of the coefficients.

    Raises
    ------
    ValueError
        If two rows that say the same differ in their values, or a row of zeros is to have
        another value.
    """
    rows = np.atleast_2d(np.asarray(rows, float))
    values = np.broadcast_to(np.asarray(values, float), len(rows))
    # on the scale of standard errors, so that units do not matter
    size = np.sqrt((root**2).sum(axis=1))
    known = size == 0  # coefficients that are held; beside them rounding is nothing
    if known.any():
        least = ROW_ROUNDING * np.abs(rows[:, known]).max(axis=1, keepdims=True)
        rows = np.where(np.abs(rows) > least, rows, 0.0)
    length = np.sqrt(((rows * size) ** 2).sum(axis=1))
    length = np.where(length > 0, length, 1.0)
    scaled, shifts = rows / length[:, None], values / length
    left, sizes, _ = np.linalg.svd(scaled * size, full_matrices=False)
    rank = int((sizes > HYPOTHESIS_RANK * sizes.max(initial=0.0)).sum())
    if rank == 0:
        if (values[~rows.any(axis=1)] != 0).any():
            raise ValueError("r_matrix holds a row of zeros that is to have another value")
        return rows[:0], values[:0]
    if rank == len(rows):
        return rows, values
    keep = left[:, :rank].T
    beyond = shifts - left[:, :rank] @ (keep @ shifts)
    if np.abs(beyond).max() > CONTRADICTION * max(np.abs(shifts).max(), 1e-300):
        raise ValueError("r_matrix holds combinations that contradict each other")
    # as lmerTest's, rows of eigenvectors of L V L': Satterthwaite's joint df depend on them
    left, sizes, _ = np.linalg.svd(rows @ root, full_matrices=False)
    if sizes[rank - 1] > LIKE_UNITS * sizes[0]:
        keep = left[:, :rank].T
        return keep @ rows, keep @ values
    return keep @ scaled, keep @ shifts  # rows of very different units
