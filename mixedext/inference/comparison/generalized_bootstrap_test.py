"""Bootstrap likelihood-ratio tests of generalized mixed models."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np

from mixedext.arguments import check_count
from mixedext.engine.generalized.refits import Refitter
from mixedext.exceptions import DesignError
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.bootstrap.bootstrap_tests import BootstrapTest, finished_test
from mixedext.inference.bootstrap.parallel import runner
from mixedext.inference.bootstrap.response_draws import ResponseDraws, draws_of
from mixedext.inference.bootstrap.simulated_refits import blocks_of
from mixedext.inference.comparison.generalized_tests import (
    check_comparable,
    glm_fit,
    is_generalized,
    rated,
)
from mixedext.inference.random_effects.live_engine import live_engine
from mixedext.limits import MISSED_MINIMUM

__all__ = ["generalized_bootstrap_test"]

AT_A_TIME = 50


def generalized_bootstrap_test(
    large: HasFitted,
    small: Any,
    n: int = 1000,
    rng: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> BootstrapTest:
    """Likelihood-ratio test by the parametric bootstrap, as ``bootstrap_test``.

    Parameters
    ----------
    large : MixedGLMResults
        The larger model.
    small : MixedGLMResults or GLMResults
        The smaller model; statsmodels' GLM is a model without random effects.
    n, rng, n_jobs, progress
        As for ``bootstrap_test``.
    """
    check_count(n, "n")
    fitted = check_comparable([large, small])
    upper, lower = rated(large, fitted), rated(small, fitted)
    df = upper.n_params - lower.n_params
    if df < 1:
        raise DesignError(
            f"small has {lower.n_params} parameters and large {upper.n_params}: there is "
            "nothing to test"
        )
    outer = large.fitted
    work = partial(_both, outer, small.fitted if is_generalized(small) else small)
    run = runner(n_jobs, progress, True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = run(work, blocks_of(int(n), AT_A_TIME, rng))
    draws, singular = (np.concatenate(part) for part in zip(*parts, strict=True))
    statistic = max(2 * (upper.llf - lower.llf), 0.0)
    return finished_test(statistic, draws, singular, df, False)


def _both(large: Fitted, small: Any, block: tuple[int, Any]):
    """Statistics of a block of responses, NaN for failures; and where large is singular."""
    rng = np.random.default_rng(block[1])
    if isinstance(small, Fitted):
        draws: ResponseDraws = draws_of(small)
        under = Refitter(live_engine(small))
    else:
        fit = glm_fit(small, large)
        draws = draws_of(large, conditional=True)
        draws.eta, draws.kappa = fit.eta, fit.kappa
        under = Refitter(fit.engine, range(len(fit.engine.theta)))
    over = Refitter(live_engine(large))
    statistic, singular = [], []
    for y in draws.draw(block[0], rng):
        one, two = under.refit(y), over.refit(y)
        value = one.deviance - two.deviance
        sound = one.converged and two.converged and value > -MISSED_MINIMUM
        statistic.append(max(value, 0.0) if sound else np.nan)
        singular.append(two.is_singular)
    return np.array(statistic), np.array(singular, bool)
