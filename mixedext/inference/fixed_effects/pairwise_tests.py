"""Pairwise differences of the levels of a factor, by statsmodels' contrasts."""

from __future__ import annotations

from functools import partial

import numpy as np
from statsmodels.stats.contrast import ContrastResults, t_test_pairwise
from statsmodels.stats.multitest import multipletests

from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.inference.fixed_effects.constraints import term_columns

__all__ = ["pairwise_tests"]


def pairwise_tests(results, estimable, term_name, method, alpha, factor_labels):
    """Tests of all pairs; NaN for those that cannot be estimated.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    estimable : callable
        Which rows over the parameters can be estimated, of these results.
    term_name, method, alpha, factor_labels
        As for ``MixedLMResults.t_test_pairwise``.

    Returns
    -------
    MultiCompResult
    """
    term = _main_effect(results.model, term_name)
    methods = method if isinstance(method, list) else [method]
    seen = _EstimablePart(results, estimable)
    try:
        found = t_test_pairwise(seen, term, methods, alpha, factor_labels)
    except (TypeError, KeyError, IndexError):
        raise ValueError(
            f"term_name={term_name!r} is no categorical factor; emtrends() has the slopes "
            "of a numeric one"
        ) from None
    frame = found.result_frame
    known = ~np.isnan(seen.pvalue)
    for name in methods:
        adjusted, reject = np.full(len(frame), np.nan), np.zeros(len(frame), bool)
        if known.any():
            reject[known], adjusted[known] = multipletests(seen.pvalue[known], alpha, name)[
                :2
            ]
        frame[f"pvalue-{name}"], frame[f"reject-{name}"] = adjusted, reject
    return found


def _main_effect(model, term_name):
    if getattr(model.data, SPEC_ATTRIBUTE, None) is None:
        raise ValueError("t_test_pairwise needs a model from a formula")
    names = [name for name, _ in term_columns(model)]
    spelled = {"".join(name.split()): name for name in names}
    found = spelled.get("".join(str(term_name).split()))
    if found is None:
        listed = ", ".join(map(repr, names))
        raise ValueError(f"term_name={term_name!r} is no term; terms are: {listed}")
    if ":" in found:
        raise ValueError(
            f"term_name={term_name!r} is an interaction: how levels of one factor differ "
            "depends on the others; use emmeans(..., by=...)"
        )
    return found


class _EstimablePart:
    """Results as statsmodels' function sees them, with NaN for what has no estimate."""

    def __init__(self, results, estimable):
        self.model, self.params, self._results = results.model, results.params, results
        self._estimable, self.pvalue = partial(estimable, results), None

    def t_test(self, rows):
        good = self._estimable(rows)
        test = self._results.t_test(rows[good]) if good.any() else None
        effect, sd, statistic, df = (np.full(len(rows), np.nan) for _ in range(4))
        law = {"t": statistic, "df_denom": df}
        if test is not None:
            effect[good], sd[good], statistic[good] = test.effect, test.sd, test.statistic
            if test.distribution == "t":
                df[good] = test.df_denom
            else:
                law = {"statistic": statistic, "distribution": "norm"}
        found = ContrastResults(effect=effect, sd=sd, **law)
        self.pvalue = found.pvalue
        return found
