"""What a bootstrap gives: all replicates with their verdicts, table and limits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from mixedext.algebra.deviations import standard_deviations
from mixedext.arguments import check_choice, confidence, did_you_mean
from mixedext.calls import answer_calls
from mixedext.engine.residual.natural import natural_parameters
from mixedext.exceptions import BootstrapWarning, user_stacklevel
from mixedext.fitted import Fitted
from mixedext.graphics.replicates import plot_replicates, replicate_density
from mixedext.inference.bootstrap.intervals import INTERVALS, covariance_parameters, limits
from mixedext.inference.bootstrap.simulated_refits import Refits
from mixedext.inference.bootstrap.user_statistics import free_names, vectorized_values
from mixedext.specification.terms.parameter_names import (
    as_variance,
    covariance_names,
    is_deviation,
    parameter_names,
)
from mixedext.tables.noted_table import NotedTable

__all__ = ["Bootstrap", "bootstrap_of"]

_NOT_CONVERGED = "the fit did not converge"


@answer_calls
@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap:
    """Replicates of a bootstrap and what they say of the estimates.

    Replicates that failed stay in ``replicates`` and are named in ``failures``; means,
    standard errors and limits are of the others.

    Attributes
    ----------
    kind : str
        "parametric", "residual" or "cases", and what it depends on.
    estimate : Series
        Estimates: fixed effects, ``sd effect|group``, ``cor effect.effect|group``,
        ``sigma``, and the values of a statistic.
    replicates : DataFrame
        The same of every replicate, one row each.
    refits : Refits
        Estimates and verdicts of the fits.
    failures : Series
        Why replicates failed, by their numbers; empty if none did.
    deviations : tuple of str
        Which of the estimates are standard deviations.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> bootstrap = result.bootstrap_parametric(1000, rng=1)
    >>> list(bootstrap.replicates.columns)
    ['Intercept', 'sd Intercept|Batch', 'sigma']
    >>> len(bootstrap), bootstrap.n_failed
    (1000, 0)
    """

    kind: str
    estimate: pd.Series
    replicates: pd.DataFrame
    refits: Refits
    failures: pd.Series = field(repr=False)
    deviations: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.replicates)

    @property
    def n_failed(self) -> int:
        """Number of replicates that failed."""
        return len(self.failures)

    @property
    def converged(self) -> np.ndarray:
        """Whether the fit of each replicate ended at a minimum, bool."""
        return self.refits.converged

    @property
    def singular(self) -> np.ndarray:
        """Whether some variance is zero or some correlation +-1 in each replicate, bool."""
        return self.refits.is_singular

    @property
    def llf(self) -> np.ndarray:
        """(Restricted) log-likelihood of each replicate."""
        return self.refits.llf

    @property
    def table(self) -> NotedTable:
        """Estimate, bias, standard error and 95% percentile limits of each parameter.

        Column ``n`` counts the replicates they rest on: those that did not fail and where
        the parameter has a value (a correlation has none where a variance is zero).
        """
        values = self._sound()
        limits = self._limits(values, 0.95, "percentile")
        mean = [v.mean() if len(v) else np.nan for v in values]
        errors = [standard_deviations(v, 1) if len(v) > 1 else np.nan for v in values]
        table = pd.DataFrame(
            {
                "estimate": self.estimate,
                "bias": np.array(mean) - self.estimate.to_numpy(),
                "std_err": errors,
                "lower": limits[:, 0],
                "upper": limits[:, 1],
                "n": [len(v) for v in values],
            },
            index=self.estimate.index,
        )
        return NotedTable.of(table, self._heading)

    def conf_int(
        self,
        alpha: float = 0.05,
        method: str = "percentile",
        *,
        level: float | None = None,
    ) -> NotedTable:
        """Confidence limits of all parameters.

        Parameters
        ----------
        alpha : float, optional
            One minus the confidence level.
        method : {"percentile", "basic", "normal", "shortest"}, optional
            Quantiles of the replicates; the same reflected at the estimate; normal law
            with the replicates' bias and standard error; the shortest interval that holds
            the level's share of the replicates.
        level : float, optional
            The level itself, in place of ``alpha``.

        Returns
        -------
        NotedTable
            Columns ``lower`` and ``upper``, one row a parameter.

        Raises
        ------
        ValueError
            If ``method`` is none of these, or the level not between 0 and 1.

        References
        ----------
        Davison and Hinkley (1997), Bootstrap Methods and their Application, chapter 5.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
        >>> bootstrap = result.bootstrap_parametric(2000, rng=1)
        >>> interval = bootstrap.conf_int(method="shortest").loc["sd Intercept|Batch"]
        >>> float(interval["lower"])
        0.0
        """
        check_choice(method, "method", INTERVALS)
        level = confidence(alpha, level)
        frame = pd.DataFrame(
            self._limits(self._sound(), level, method),
            index=self.estimate.index,
            columns=["lower", "upper"],
        )
        return NotedTable.of(frame, f"Bootstrap intervals ({method}), {100 * level:.4g}%")

    def as_variances(self) -> Bootstrap:
        """The same with variances in place of standard deviations.

        Returns
        -------
        Bootstrap

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
        >>> bootstrap = result.bootstrap_parametric(100, rng=1).as_variances()
        >>> list(bootstrap.estimate.index)
        ['Intercept', 'var Intercept|Batch', 'residual']
        """
        names = {name: as_variance(name) for name in self.deviations}
        replicates, estimate = self.replicates.copy(), self.estimate.copy()
        replicates[list(names)] **= 2
        estimate[list(names)] **= 2
        return replace(
            self,
            deviations=(),
            replicates=replicates.rename(columns=names),
            estimate=estimate.rename(names),
        )

    def density_data(self, parameters: str | Sequence[str] | None = None) -> pd.DataFrame:
        """What ``plot`` draws as densities.

        Parameters
        ----------
        parameters : str or list of str, optional
            The parameters; all of them if None.

        Returns
        -------
        DataFrame
            parameter, value, density; its area is the share of the replicates that lie on
            no bound, such as a variance of zero.
        """
        return replicate_density(self._samples(parameters))

    def _samples(self, parameters: str | Sequence[str] | None) -> dict[str, np.ndarray]:
        """Values by the names of parameters that are asked for."""
        found = dict(zip(self.estimate.index, self._sound(), strict=True))
        names = list(found) if parameters is None else parameters
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            if name not in found:
                known = ", ".join(map(repr, found))
                raise ValueError(
                    f"parameters: {name!r} is none of the bootstrap's; there are: {known}"
                    f"{did_you_mean(name, list(found))}"
                )
        return {name: found[name] for name in names}

    def plot(
        self,
        kind: str = "density",
        parameters: str | Sequence[str] | None = None,
        alpha: float = 0.05,
        method: str = "percentile",
        ax: Any = None,
    ) -> Any:
        """The replicates, with estimates and intervals.

        Parameters
        ----------
        kind : {"density", "ridge", "pairs"}, optional
            A panel a parameter; all below each other, in units of their standard errors;
            or each pair.
        parameters : str or list of str, optional
            The parameters; all of them if None.
        alpha : float, optional
            One minus the confidence level of the intervals.
        method : str, optional
            Their method, as for ``conf_int``.
        ax : Axes or array of Axes, optional
            Where to draw; new ones if None.

        Returns
        -------
        Figure
            Replicates on a bound, such as a variance of zero, are a bar of their share.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If an argument is not known, or there are too many parameters for pairs.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
        >>> bootstrap = result.bootstrap_parametric(1000, rng=1)
        >>> figure = bootstrap.plot()  # doctest: +SKIP
        """
        check_choice(kind, "kind", ("density", "ridge", "pairs"))
        samples = self._samples(parameters)
        names = list(samples)
        table = self.conf_int(alpha, method).loc[names]
        table = pd.DataFrame(table).assign(estimate=self.estimate[names])
        share = float(np.mean(self.singular)) if len(self) else 0.0
        note = (
            f"{len(self)} replicates ({self.kind}), {self.n_failed} failed, "
            f"{100 * share:.3g}% singular"
        )
        sound = self.replicates.drop(index=self.failures.index)[names]
        complete = sound[np.isfinite(sound.to_numpy(float)).all(axis=1)]
        return plot_replicates(samples, table, note, kind, ax, complete)

    def _sound(self) -> list[np.ndarray]:
        """Values of each parameter in the replicates that did not fail."""
        failed = np.zeros(len(self), bool)
        failed[self.failures.index] = True
        out = []
        for name in self.estimate.index:
            value = self.replicates[name].to_numpy(float)
            good = np.isfinite(value)
            if len(self.failures):
                good &= ~failed
            out.append(value if good.all() else value[good])
        return out

    def _limits(
        self, values: Sequence[np.ndarray], level: float, method: str
    ) -> np.ndarray:
        estimates = self.estimate.to_numpy(float)
        rows = [limits(v, e, level, method) for v, e in zip(values, estimates, strict=True)]
        return np.array(rows).reshape(-1, 2)

    @property
    def _heading(self) -> str:
        singular = int(np.count_nonzero(self.singular))
        return (
            f"Bootstrap ({self.kind}): {len(self)} replicates, {self.n_failed} failed, "
            f"{singular} singular"
        )

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def bootstrap_of(
    fitted: Fitted,
    kind: str,
    refits: Refits,
    statistics: Sequence[pd.Series | pd.DataFrame] | None = None,
    messages: Mapping[int, str] | None = None,
    vectorized: Callable | None = None,
) -> Bootstrap:
    """A Bootstrap from refits and the values of a statistic.

    Parameters
    ----------
    fitted : Fitted
        The fit that was bootstrapped.
    kind : str
        Kind of the bootstrap.
    refits : Refits
        The fits of the replicates, with all fixed-effects columns.
    statistics : tuple of (Series, DataFrame), optional
        The statistic of the results and of the replicates.
    messages : dict, optional
        Why replicates failed, by their numbers.
    vectorized : callable, optional
        Statistic of a frame such as ``replicates``.
    """
    theta, scale = fitted.fit.theta[None], np.array([fitted.scale])
    own = _parameters(fitted, fitted.fixed.estimate[None], theta, scale)
    frame = _parameters(fitted, refits.fe_params, refits.theta, refits.scale)
    if fitted.fit.residual is not None:
        names = list(refits.residual_names)
        psi = natural_parameters(fitted.fit.residual.bound, fitted.fit.residual.psi)
        n_sd = sum(f.n_psi for f in fitted.fit.residual.bound.functions)
        own[names] = np.roll(psi, -n_sd)
        frame[names] = refits.residual
    if vectorized is not None:
        values = [vectorized_values(vectorized, each) for each in (own, frame)]
        statistics = [values[0].iloc[0], values[1]]
    estimate = own.iloc[0]
    if statistics is not None:
        names = free_names(statistics[0].index, estimate.index)
        estimate = pd.concat([estimate, statistics[0].set_axis(names)])
        frame = pd.concat([frame, statistics[1].set_axis(names, axis=1)], axis=1)
    messages = dict(messages or {})
    for number in np.flatnonzero(~refits.converged).tolist():
        messages.setdefault(number, _NOT_CONVERGED)
    failures = pd.Series(messages, dtype=object, name="failure").sort_index()
    failures.index = failures.index.astype(int)
    if len(failures):
        number = failures.index[0]
        warnings.warn(
            f"{len(failures)} of {len(frame)} replicates failed and are left out of the "
            f"table and the limits, see failures; number {number}: {failures.iloc[0]}",
            BootstrapWarning,
            stacklevel=user_stacklevel(),
        )
    names = covariance_names(fitted.random.terms)
    deviations = tuple(name for name in names if is_deviation(name))
    estimate = estimate.rename("estimate")
    return Bootstrap(kind, estimate, frame, refits, failures, deviations)


def _parameters(
    fitted: Fitted, fixed: np.ndarray, theta: np.ndarray, scale: np.ndarray
) -> pd.DataFrame:
    """Fixed effects that were not dropped, and what describes the variances."""
    terms, own = fitted.random.terms, fitted.fixed
    names = parameter_names(terms, [own.names[j] for j in own.kept])
    variances = covariance_parameters(terms, theta, scale)
    count = variances.shape[1]
    values = np.column_stack([fixed[:, own.kept], variances])
    return pd.DataFrame(values, columns=names[count:] + names[:count])
