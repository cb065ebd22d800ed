"""Likelihood-ratio tests that variances are zero, by exact laws or in large samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import comb
from typing import Any

import numpy as np
from scipy import stats

from mixedext.arguments import check_choice, check_count
from mixedext.engine.refits.simulation import generator_of
from mixedext.inference.variances.null_law import NullLaw
from mixedext.tables.statistical_tests import TestResult

__all__ = ["VarianceTest", "exact_test", "mixture_test"]

# Simulated directions, and their seed, for the inversion beside a simulated p-value.
BESIDE, SEED = 2_000, 1


@dataclass(frozen=True, kw_only=True, eq=False)
class VarianceTest(TestResult):
    """A likelihood-ratio test that a variance component is zero.

    Attributes
    ----------
    statistic : float
        Likelihood-ratio statistic; zero where the variance is estimated as zero.
    pvalue : float
        Probability of this statistic or a larger one.  From b of B simulations
        (b + 1) / (B + 1), which is never zero.
    se : float
        Its Monte Carlo standard error; 0 if it is exact.
    n : int
        Simulations, 0 if none were made.
    draws : ndarray
        Simulated statistics, (n,); empty if none were made.
    mass_at_zero : float
        Probability, if the variance is zero, that its estimate is zero; NaN if it is not
        known.
    method : {"simulation", "inversion", "mixture", "bootstrap"}
        Where the p-value is from.
    kind : {"RLRT", "LRT"}
        Restricted or ordinary likelihood.
    tested : str
        What is tested.
    notes : tuple of str
        What was done to the models, and what the p-value rests on.
    law : NullLaw or None
        Eigenvalues that an exact p-value rests on.
    is_exact : bool
        Whether ``law`` is the statistic's: there is no other variance.
    by_inversion : tuple of float or None
        The p-value by numerical inversion of ``law``, and its standard error, whatever
        ``method`` is; computed when it is first asked for.  None without a law.
    """

    se: float = 0.0
    n: int = 0
    draws: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    mass_at_zero: float = float("nan")
    kind: str
    tested: str = ""
    law: NullLaw | None = field(default=None, repr=False)
    is_exact: bool = False

    def __repr__(self) -> str:
        exact = "exact " if self.is_exact else ""
        of = f" of {self.tested}" if self.tested else ""
        how = self.method
        if self.n:
            how += f", {self.n} draws, standard error {self.se:.2g}"
        lines = [
            f"{exact}{self.kind}{of}",
            f"statistic = {self.statistic:.6g}, p = {self.pvalue:.4g} ({how})",
        ]
        if self.method == "simulation" and self.statistic > 0 and self.by_inversion:
            p, se = self.by_inversion
            error = f"standard error {se:.2g}" if se else "no simulation error"
            report = "this one" if se < self.se else "the first"
            how = f"the same law by inversion, {error}; report {report}"
            lines.append(f"p = {p:.4g} ({how})")
        if np.isfinite(self.mass_at_zero):
            zero = "under the hypothesis the estimate is 0 with probability"
            lines.append(f"{zero} {self.mass_at_zero:.4f}")
        return "\n".join([*lines, *self.notes])

    @cached_property
    def by_inversion(self) -> tuple[float, float] | None:
        """The p-value by inversion, and its standard error; None without a law."""
        if self.method == "inversion":
            return self.pvalue, self.se
        if self.law is None:
            return None
        return _inverted(self.law, self.statistic, BESIDE, np.random.default_rng(SEED))

    def quantile(self, probability: Any) -> Any:
        """Quantiles of the simulated null statistics.

        Parameters
        ----------
        probability : float or array_like
            Between 0 and 1.

        Returns
        -------
        float or ndarray

        Raises
        ------
        ValueError
            If nothing was simulated.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
        >>> round(float(result.exact_rlrt(rng=1).quantile(0.95)), 1)
        2.5
        """
        if not self.n or not len(self.draws):
            raise ValueError(f"method={self.method!r} has simulated no null statistics")
        return np.quantile(self.draws, probability)


def exact_test(
    statistic: float,
    law: NullLaw,
    n: int = 10_000,
    rng: Any = None,
    method: str = "simulation",
    grid: Any = None,
    tested: str = "",
    notes: Sequence[str] = (),
    is_exact: bool = True,
) -> VarianceTest:
    """The test of an observed statistic by its exact law.

    Parameters
    ----------
    statistic : float
        Observed; what is not above zero counts as zero.
    law : NullLaw
        Its law.
    n : int, optional
        Number of simulations.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    method : {"simulation", "inversion"}, optional
        Simulated statistics, or ``NullLaw.survival``.
    grid : array_like, optional
        See ``null_statistics``.
    tested : str, optional
        What is tested.
    notes : sequence of str, optional
        To be kept.
    is_exact : bool, optional
        False if there are other variances, so that the law is an approximation.

    Raises
    ------
    ValueError
        If ``n``, ``rng`` or ``method`` cannot be used.
    """
    check_choice(method, "method", ("simulation", "inversion"))
    check_count(n, "n")
    n, rng = int(n), generator_of(rng)
    statistic = max(float(statistic), 0.0)
    width = law.spectrum.width
    if width:
        pooled = (
            f"many different eigenvalues: those within {width:.1g} of each other, "
            "relatively, were pooled"
        )
        notes = (*notes, pooled)
    sample, kind = np.zeros(0), "RLRT" if law.reml else "LRT"
    if method == "inversion":
        p, se = _inverted(law, statistic, n, rng)
        n = 0 if law.has_one_eigenvalue or statistic == 0 else n
    else:
        sample = law.simulate(n, rng, grid)
        p = (int((sample >= statistic).sum()) + 1) / (n + 1)
        se = float(np.sqrt(p * (1 - p) / n))
    return VarianceTest(
        statistic=statistic,
        pvalue=p,
        se=se,
        n=n,
        draws=sample,
        mass_at_zero=law.mass_at_zero,
        method=method,
        kind=kind,
        tested=tested,
        notes=tuple(notes),
        law=law,
        is_exact=is_exact,
    )


def _inverted(law, statistic, count, rng):
    """The probability of the statistic or a larger one, and its standard error."""
    if statistic == 0:
        return 1.0, 0.0
    p, se = law.survival(statistic, count, rng)
    return max(p, np.finfo(float).tiny), se  # what underflows is not impossible


def mixture_test(
    statistic: float,
    df: int,
    n_boundary: int,
    reml: bool,
    tested: str = "",
    notes: Sequence[str] = (),
) -> VarianceTest:
    """The large-sample test by a mixture of chi-squared laws.

    Parameters
    ----------
    statistic : float
        Observed.
    df : int
        Parameters that are not on the boundary under the hypothesis: covariances.
    n_boundary : int
        Variances without correlations that are zero.  Each is estimated as zero with
        probability 1/2, independently of the others: exact in the limit if the
        information has no element for two of them, as in balanced crossed designs.
    reml : bool
        Restricted or ordinary likelihood.
    tested : str, optional
        What is tested.
    notes : sequence of str, optional
        To be kept.

    References
    ----------
    Self and Liang (1987), Asymptotic properties of maximum likelihood estimators and
    likelihood ratio tests under nonstandard conditions, Journal of the American
    Statistical Association 82, 605-610.
    Stram and Lee (1994), Variance components testing in the longitudinal mixed effects
    model, Biometrics 50, 1171-1177.
    """
    statistic = max(float(statistic), 0.0)
    shares = np.array([comb(n_boundary, j) for j in range(n_boundary + 1)]) / 2**n_boundary
    dfs = df + np.arange(n_boundary + 1)
    tail = [1.0 * (statistic == 0) if d == 0 else stats.chi2.sf(statistic, d) for d in dfs]
    laws = " + ".join(f"{s:.4g} chi2({d})" for s, d in zip(shares, dfs, strict=True))
    notes = (*notes, f"p in large samples, by the mixture {laws}")
    return VarianceTest(
        statistic=statistic,
        pvalue=float(shares @ tail),
        mass_at_zero=float(shares[0]) if df == 0 else float("nan"),
        method="mixture",
        kind="RLRT" if reml else "LRT",
        tested=tested,
        notes=notes,
    )
