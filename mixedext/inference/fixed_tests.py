"""t and F tests of fixed effects by any method for their degrees of freedom.

A method says which covariance the coefficients have, how many degrees of freedom a
combination of them has, and how a joint test of several is scaled.  Combinations are
rows over the coefficients that the fit kept (``design.basis.kept``).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from scipy import stats

from mixedext.engine.fit import Fit
from mixedext.engine.held_fit import HeldFit

__all__ = [
    "DF_METHODS",
    "FTest",
    "FixedTests",
    "check_df_method",
    "df_method_name",
    "fixed_tests",
]


@dataclass(frozen=True)
class FTest:
    """A joint test of combinations of fixed effects.

    Attributes
    ----------
    statistic : float
        F, already times ``scaling``.
    df_num : int
        Rank of the combinations.
    df_denom : float
        Denominator degrees of freedom; infinite for a chi-squared test divided by its df.
    scaling : float
        Factor on the Wald F; 1 but for Kenward-Roger.
    """

    statistic: float
    df_num: int
    df_denom: float
    scaling: float = 1.0

    @property
    def pvalue(self) -> float:
        if np.isposinf(self.df_denom):
            return float(stats.chi2.sf(self.statistic * self.df_num, self.df_num))
        return float(stats.f.sf(self.statistic, self.df_num, self.df_denom))


class FixedTests:
    """Tests by the normal law: no degrees of freedom are estimated.

    Parameters
    ----------
    fit : Fit
        The fitted model.

    Attributes
    ----------
    covariance : ndarray
        Of the coefficients kept, (rank, rank).
    """

    def __init__(self, fit: Fit):
        self.fit = fit
        self.covariance = fit.covariance

    def df(self, rows: np.ndarray) -> np.ndarray:
        """Degrees of freedom of each row of combinations, (m,)."""
        return np.full(len(rows), np.inf)

    def f_test(self, rows: np.ndarray, values=0.0) -> FTest:
        """Joint test that ``rows @ coefficients == values``; dependent rows are dropped."""
        rows, values = independent_rows(rows, values, self.covariance)
        wald = wald_f(rows, values, self.fit.coefficients, self.covariance)
        return FTest(wald, len(rows), self.joint_df(rows))

    def joint_df(self, rows: np.ndarray) -> float:
        """Denominator degrees of freedom of independent rows."""
        return np.inf


class ResidualTests(FixedTests):
    """Tests with n - rank(X) degrees of freedom."""

    def df(self, rows):
        return np.full(len(rows), self.joint_df(rows))

    def joint_df(self, rows):
        return float(self.fit.design.blocks.nobs - self.fit.design.basis.rank)


# Modules beside this one, which import it, and their classes.
DF_METHODS: dict[str | None, tuple[str, str]] = {
    None: ("fixed_tests", "FixedTests"),
    "satterthwaite": ("satterthwaite", "Satterthwaite"),
    "kenward-roger": ("kenward_roger", "KenwardRoger"),
    "residual": ("fixed_tests", "ResidualTests"),
    "containment": ("classical_df", "ContainmentTests"),
    "between-within": ("classical_df", "BetweenWithinTests"),
}
# Other spellings, in lower case and with hyphens.
ALIASES: dict[str, str | None] = {
    "satt": "satterthwaite",
    "sat": "satterthwaite",
    "satterth": "satterthwaite",
    "kr": "kenward-roger",
    "kenwardroger": "kenward-roger",
    "kenward": "kenward-roger",
    "contain": "containment",
    "bw": "between-within",
    "betwithin": "between-within",
    "inner-outer": "between-within",
}


def df_method_name(name: str | None) -> str | None:
    """The method that a name or an alias stands for.

    Raises
    ------
    ValueError
        If it is not known.
    """
    key = name
    if isinstance(name, str):
        key = name.lower().replace("_", "-").replace(" ", "-")
    key = ALIASES.get(key, key)
    if key not in DF_METHODS:
        known = ", ".join(map(repr, DF_METHODS))
        raise ValueError(f"df_method={name!r} is not known; use one of {known}")
    return key


def check_df_method(fit: Fit, name: str | None) -> None:
    """Refuse what is derived for (restricted) maximum likelihood alone.

    Raises
    ------
    ValueError
        If parameters of the fit were held or penalized, and the method is a small-sample
        one.
    """
    if isinstance(fit, HeldFit) and name not in (None, "residual"):
        raise ValueError(
            f"df_method={name!r} holds for (restricted) maximum-likelihood estimates, but "
            "parameters of this fit were penalized, or held (free=); use "
            "df_method='residual' or None"
        )


def fixed_tests(fit: Fit, df_method: str | None = None) -> FixedTests:
    """Tests of the fixed effects of a fit by a method, one of ``DF_METHODS``."""
    name = df_method_name(df_method)
    check_df_method(fit, name)
    module, kind = DF_METHODS[name]
    return getattr(import_module(f"mixedext.inference.{module}"), kind)(fit)


def wald_f(rows, values, coefficients, covariance) -> float:
    """(L b - c)'(L V L')^-1 (L b - c) / rank, of independent rows."""
    difference = rows @ coefficients - values
    spread = rows @ covariance @ rows.T
    return float(difference @ np.linalg.solve(spread, difference)) / len(rows)


def independent_rows(rows, values, covariance):
    """As many combinations of the rows as their rank, and the values they must have.

    Independent rows are returned as they are.

    Raises
    ------
    ValueError
        If all rows are zero, or two rows that say the same differ in their values.
    """
    rows = np.atleast_2d(np.asarray(rows, float))
    values = np.broadcast_to(np.asarray(values, float), len(rows))
    # on the scale of standard errors, so that units do not matter
    size = np.sqrt(np.diag(covariance))
    length = np.sqrt(((rows * size) ** 2).sum(axis=1))
    length = np.where(length > 0, length, 1.0)
    scaled, shifts = rows / length[:, None], values / length
    left, sizes, _ = np.linalg.svd(scaled * size, full_matrices=False)
    rank = int((sizes > 1e-10 * sizes.max(initial=0.0)).sum())
    if rank == 0:
        raise ValueError("r_matrix holds no combination: all its entries are zero")
    if rank == len(rows):
        return rows, values
    keep = left[:, :rank].T
    beyond = shifts - left[:, :rank] @ (keep @ shifts)
    if np.abs(beyond).max() > 1e-8 * max(np.abs(shifts).max(), 1e-300):
        raise ValueError("r_matrix holds combinations that contradict each other")
    # as lmerTest's, rows of eigenvectors of L V L': Satterthwaite's joint df depend on them
    root = size[:, None] * np.linalg.cholesky(covariance / np.outer(size, size))
    left, sizes, _ = np.linalg.svd(rows @ root, full_matrices=False)
    if sizes[rank - 1] > 1e-6 * sizes[0]:
        keep = left[:, :rank].T
        return keep @ rows, keep @ values
    return keep @ scaled, keep @ shifts  # rows of very different units
