"""Parametric bootstraps of generalized mixed models.

Responses are drawn from the fit and the model fitted to each by the engine alone, from the
estimates; Python sees a replicate only where a statistic of results is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd

from mixedext.arguments import check_count
from mixedext.engine.generalized.refits import Refit, Refitter
from mixedext.exceptions import BootstrapWarning, user_stacklevel
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.bootstrap.bootstrap_result import Bootstrap
from mixedext.inference.bootstrap.intervals import covariance_parameters
from mixedext.inference.bootstrap.parallel import runner
from mixedext.inference.bootstrap.response_draws import draws_of
from mixedext.inference.bootstrap.simulated_refits import blocks_of
from mixedext.inference.bootstrap.user_statistics import (
    check_statistic,
    free_names,
    statistic_frame,
    statistic_values,
    vectorized_values,
)
from mixedext.inference.profile.generalized_names import (
    generalized_names,
    in_order_of_params,
)
from mixedext.inference.random_effects.live_engine import live_engine
from mixedext.specification.terms.parameter_names import is_deviation

__all__ = ["GeneralizedRefits", "generalized_bootstrap", "generalized_bootstrap_limits"]

# Replicates of a block; part of what a seed means.
AT_A_TIME = 50
_FAILED = "the fit did not converge"


@dataclass(frozen=True, eq=False)
class GeneralizedRefits:
    """Estimates and verdicts of refits, a row each.

    Attributes
    ----------
    coefficients : ndarray
        Of the columns kept, (R, rank).
    theta, kappa : ndarray
        Factors of the covariances, and logarithms of dispersions.
    llf : ndarray
        Log-likelihoods with all constants.
    converged, is_singular : ndarray
        Verdicts, bool.
    """

    coefficients: np.ndarray
    theta: np.ndarray
    kappa: np.ndarray
    llf: np.ndarray
    converged: np.ndarray
    is_singular: np.ndarray

    def __len__(self) -> int:
        return len(self.llf)

    @property
    def n_failed(self) -> int:
        """Number of refits that did not converge."""
        return int((~self.converged).sum())


def _refit_block(
    fitted: Fitted, conditional: bool, statistic: Callable | None, block: tuple[int, Any]
) -> tuple[list[Any], list[Any], dict[int, str]]:
    """Refits of a block of responses, values of the statistic, and failures."""
    rng = np.random.default_rng(block[1])
    draws, refitter = draws_of(fitted, conditional), Refitter(live_engine(fitted))
    model, options = cast(Any, fitted.model), fitted.arguments.options
    found: list[Any] = []
    values: list[Any] = []
    messages: dict[int, str] = {}
    for number, y in enumerate(draws.draw(block[0], rng)):
        if statistic is None:
            found.append(refitter.refit(y))
            continue
        value = None
        try:
            shown = model.refit(draws.response.with_y(y).observed, **options)
            found.append(_estimates_of(shown.fitted))
            value = statistic_values(statistic(shown))
        except Exception as error:  # noqa: BLE001 - told as a failure of the replicate
            messages[number] = f"statistic: {type(error).__name__}: {error}"
            if len(found) == number:  # the fit itself was refused
                found.append(refitter.refit(y))
        values.append(value)
    return found, values, messages


def _estimates_of(fitted: Fitted) -> Refit:
    """The estimates of a fit, as refits by the engine have them."""
    own = fitted.generalized
    return Refit(
        fitted.fixed.coefficients,
        own.theta,
        own.kappa,
        own.deviance,
        own.convergence.converged,
        own.is_singular,
    )


def generalized_bootstrap(
    results: HasFitted,
    n: int = 1000,
    statistic: Callable | None = None,
    rng: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
    conditional: bool = False,
    vectorized: bool = False,
) -> Bootstrap:
    """Parametric bootstrap: responses simulated from the fit, and refits to them.

    Parameters
    ----------
    n : int, optional
        Number of replicates.
    statistic : callable, optional
        Function of the results of a refit that gives a number, an array, a dictionary, a
        Series or a frame; with ``vectorized`` of the frame ``replicates``.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    n_jobs : int, optional
        Jobs of joblib, threads; the numbers do not depend on it.
    progress : bool, optional
        Whether to show a bar (needs tqdm).
    conditional : bool, optional
        Whether the responses have the fitted random effects in place of new ones.
    vectorized : bool, optional
        Whether ``statistic`` is a function of the frame of all replicates.

    Returns
    -------
    Bootstrap
        Replicates with the verdicts of their fits, ``table`` and ``conf_int``.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or the rows are not in memory.

    Warns
    -----
    BootstrapWarning
        If replicates failed; they are listed in ``failures``.
    """
    check_count(n, "n")
    check_statistic(statistic)
    fitted = results.fitted
    if live_engine(fitted).approximate:  # made once, before the jobs want it
        raise ValueError(
            "the fit has n_agq=0, whose coefficients maximize no likelihood: bootstrap "
            "a fit with n_agq=1 or more"
        )
    python = statistic if statistic is not None and not vectorized else None
    own = None
    if python is not None:
        own = statistic_values(python(fitted.model._present(fitted)))
    run = runner(n_jobs, progress, True, python)
    work = partial(_refit_block, fitted, conditional, python)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # verdicts are kept
        parts = run(work, blocks_of(int(n), AT_A_TIME, rng))
    refits = _joined([one for found, _, _ in parts for one in found])
    kind = "parametric, random effects as fitted" if conditional else "parametric"
    estimates = fitted.generalized
    at = GeneralizedRefits(
        fitted.fixed.coefficients[None],
        estimates.theta[None],
        estimates.kappa[None],
        np.array([estimates.log_likelihood]),
        np.ones(1, bool),
        np.zeros(1, bool),
    )
    estimate, frame = _parameters(fitted, at).iloc[0], _parameters(fitted, refits)
    messages = {
        AT_A_TIME * number + i: text
        for number, (_, _, said) in enumerate(parts)
        for i, text in said.items()
    }
    more: tuple[pd.Series, pd.DataFrame] | None = None
    if vectorized and statistic is not None:
        first = vectorized_values(statistic, _parameters(fitted, at)).iloc[0]
        more = first, vectorized_values(statistic, frame)
    elif own is not None:
        table, lost = statistic_frame(own, [v for _, values, _ in parts for v in values])
        messages = {**lost, **messages}
        more = own, table
    if more is not None:
        names = free_names(more[0].index, estimate.index)
        estimate = pd.concat([estimate, more[0].set_axis(names)])
        frame = pd.concat([frame, more[1].set_axis(names, axis=1)], axis=1)
    for number in np.flatnonzero(~refits.converged).tolist():
        messages.setdefault(number, _FAILED)
    failures = pd.Series(messages, dtype=object, name="failure").sort_index()
    failures.index = failures.index.astype(int)
    if len(failures):
        warnings.warn(
            f"{len(failures)} of {len(frame)} replicates failed and are left out of the "
            f"table and the limits, see failures; the first: {failures.iloc[0]}",
            BootstrapWarning,
            stacklevel=user_stacklevel(),
        )
    deviations = tuple(c for c in frame.columns if isinstance(c, str) and is_deviation(c))
    made: Any = refits
    return Bootstrap(kind, estimate.rename("estimate"), frame, made, failures, deviations)


def _joined(refits):
    return GeneralizedRefits(
        np.array([r.coefficients for r in refits]),
        np.array([r.theta for r in refits]),
        np.array([r.kappa for r in refits]),
        np.array([-0.5 * r.deviance for r in refits]),
        np.array([r.converged for r in refits], bool),
        np.array([r.is_singular for r in refits], bool),
    )


def _parameters(fitted: Fitted, refits: GeneralizedRefits) -> pd.DataFrame:
    """Fixed effects, then standard deviations, correlations and the dispersion."""
    terms, names = fitted.random.terms, generalized_names(fitted)
    one = np.ones(len(refits))
    variances = covariance_parameters(terms, refits.theta, one)[:, :-1]
    family = fitted.generalized.family
    dispersions = np.array(
        [[family.dispersion(k)] if len(k) else [] for k in refits.kappa]
    ).reshape(len(refits), -1)
    count = variances.shape[1] + dispersions.shape[1]
    values = np.column_stack([refits.coefficients, variances, dispersions])
    return pd.DataFrame(values, columns=[*names[count:], *names[:count]])


def generalized_bootstrap_limits(
    results: HasFitted,
    alpha: float,
    cols: Any,
    n: int = 1000,
    rng: Any = None,
    interval: str = "percentile",
    **options: Any,
) -> pd.DataFrame:
    """Limits for ``conf_int(method="bootstrap")``, with the rows of a profile's."""
    found = generalized_bootstrap(results, n, rng=rng, **options)
    table = found.conf_int(alpha, interval)
    return in_order_of_params(results.fitted, table, cols)
