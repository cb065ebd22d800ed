"""Bootstrap likelihood-ratio tests of generalized mixed models."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_count
from mixedext.engine.generalized.refits import Refitter
from mixedext.exceptions import BootstrapWarning, DesignError, user_stacklevel
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.bootstrap.bootstrap_tests import BootstrapTest
from mixedext.inference.bootstrap.parallel import runner
from mixedext.inference.bootstrap.response_draws import ResponseDraws, draws_of
from mixedext.inference.bootstrap.simulated_law import SimulatedLaw
from mixedext.inference.bootstrap.simulated_refits import blocks_of
from mixedext.inference.comparison.generalized_tests import (
    check_comparable,
    glm_fit,
    is_generalized,
    rated,
)
from mixedext.inference.random_effects.live_engine import live_engine
from mixedext.limits import MISSED_MINIMUM
from mixedext.tables.noted_table import NotedTable

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
    law = SimulatedLaw(statistic, draws, df)
    failed, p = int(np.isnan(draws).sum()), law.pvalue
    se = float(np.sqrt(p * (1 - p) / n))
    notes = [
        f"{n} responses simulated from the smaller model; {failed} failed; the fit of the "
        f"larger model is singular for {int(singular.sum())}",
        f"Standard error of the p-value of the parametric bootstrap: {se:.2g}",
        "Fits by maximum likelihood",
    ]
    if failed:
        text = f"{failed} of {n} replicates failed; they count as larger than the statistic"
        warnings.warn(text, BootstrapWarning, stacklevel=user_stacklevel())
    columns = ["statistic", "df_num", "df_denom", "pvalue"]
    laws = pd.DataFrame.from_dict(law.laws(), orient="index", columns=columns)
    return BootstrapTest(
        statistic=statistic,
        pvalue=p,
        df_num=df,
        method="parametric bootstrap",
        notes=tuple(notes),
        se=se,
        n=int(n),
        n_extreme=law.n_extreme,
        n_failed=failed,
        draws=draws,
        singular=singular,
        reml=False,
        table=NotedTable.of(laws, "Bootstrap likelihood-ratio test", notes),
    )


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
