"""Pairwise differences of the levels of a factor, by statsmodels' contrasts."""

from __future__ import annotations

from typing import Any

import numpy as np
from statsmodels.stats import contrast
from statsmodels.stats.contrast import ContrastResults, MultiCompResult
from statsmodels.stats.multitest import multipletests

from mixedext.arguments import did_you_mean
from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.fitted import Fitted, HasFitted, Model
from mixedext.inference.fixed_effects.df_methods import df_choice
from mixedext.inference.fixed_effects.parameter_covariance import packed_params
from mixedext.inference.fixed_effects.wald import estimable, t_test
from mixedext.inference.submodels.fixed_terms import terms_of_columns

__all__ = ["t_test_pairwise"]


def t_test_pairwise(
    results: HasFitted,
    term_name: str,
    method: str | list[str] = "hs",
    alpha: float = 0.05,
    factor_labels: list[str] | None = None,
    df_method: str | None = None,
    information: str | None = None,
) -> MultiCompResult:
    """Pairwise differences of a categorical term's levels, with adjusted p-values.

    ``emmeans`` compares levels in models with interactions too, and with exact
    simultaneous intervals.

    Parameters
    ----------
    term_name : str
        The term, as its columns are named.
    method : str or list of str, optional
        Adjustments for multiplicity, as ``statsmodels.stats.multitest`` has them.
    alpha : float, optional
        Level of the decisions.
    factor_labels : list of str, optional
        Labels of the levels; those of the data if None.
    df_method : str, optional
        Method for the degrees of freedom, "z" for the normal law; the results' own if
        None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Returns
    -------
    MultiCompResult
        ``result_frame`` has a row a pair: NaN for those that cannot be estimated, as
        a category has no rows, for which p-values are not adjusted either.

    Raises
    ------
    ValueError
        If the model is not from a formula, or the term is no main effect of a factor.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> model = mx.mixedlm('Q("yield") ~ Variety + (1 | Block/Variety)', data)
    >>> pairs = model.fit().t_test_pairwise("Variety")
    >>> pairs.result_frame["pvalue-hs"].round(3).tolist()
    [0.583, 0.583, 0.31]
    """
    fitted = results.fitted
    names = _main_effect(fitted.model, term_name)
    methods = method if isinstance(method, list) else [method]
    df_choice(df_method, information)  # refused before statsmodels looks at the term
    seen = _EstimablePart(fitted, df_method=df_method, information=information)
    try:
        found = _pairs(seen, names, methods, alpha, factor_labels)
    except (TypeError, KeyError, IndexError):
        raise ValueError(
            f"term_name={term_name!r} is no categorical factor; emtrends() has the slopes "
            "of a numeric one"
        ) from None
    except ValueError as error:
        if "aligned" not in str(error):
            raise
        raise ValueError(
            f"term_name={term_name!r} has fewer than two levels with coefficients: there "
            "are no pairs"
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


def _pairs(seen, names, methods, alpha, factor_labels):
    """statsmodels' pairs of the term that goes by the first name that is known."""
    for name in names:
        try:
            return contrast.t_test_pairwise(seen, name, methods, alpha, factor_labels)
        except ValueError as error:
            if "is not in list" not in str(error):
                raise
    raise ValueError(
        f"term_name={names[0]!r} has no columns of its own: another term of the formula "
        "says the same; name that one"
    )


def _main_effect(model: Model, term_name: str) -> list[str]:
    """What the formula engine's specification may call the term.

    Of ``C(f)`` and ``f`` in one formula both names are in use.
    """
    if getattr(model.data, SPEC_ATTRIBUTE, None) is None:
        raise ValueError("t_test_pairwise needs a model from a formula")
    terms = terms_of_columns(model)
    # as columns and tables have it, or as the formula has
    spelled = {"".join(name.split()): t for t in terms for name in (t.text, t.name)}
    found = spelled.get("".join(str(term_name).split()))
    if found is None:
        listed = ", ".join(repr(t.name) for t in terms)
        raise ValueError(
            f"term_name={term_name!r} is no term; terms are: {listed}"
            f"{did_you_mean(term_name, [t.name for t in terms])}"
        )
    if len(found.factors) > 1:
        raise ValueError(
            f"term_name={term_name!r} is an interaction: how levels of one factor differ "
            "depends on the others; use emmeans(..., by=...)"
        )
    return list(dict.fromkeys((":".join(found.factors) or found.name, found.text)))


class _EstimablePart:
    """Results as statsmodels' function sees them, with NaN for what has no estimate."""

    def __init__(self, fitted: Fitted, **chosen: Any):
        self._chosen = chosen
        self.model, self.params, self._fitted = fitted.model, packed_params(fitted), fitted
        self.pvalue = np.zeros(0)

    def t_test(self, rows: np.ndarray) -> ContrastResults:
        """Tests of the rows that can be estimated, and NaN for the others."""
        good = estimable(self._fitted, rows)
        test = None
        if good.any():
            test = t_test(self._fitted, rows[good], **self._chosen)
        effect, sd, statistic, df = (np.full(len(rows), np.nan) for _ in range(4))
        law: dict[str, object] = {"t": statistic, "df_denom": df}
        if test is not None:
            effect[good], sd[good], statistic[good] = test.effect, test.sd, test.statistic
            if test.distribution == "t":
                df[good] = test.df_denom
            else:
                law = {"statistic": statistic, "distribution": "norm"}
        found = ContrastResults(effect=effect, sd=sd, **law)
        self.pvalue = found.pvalue
        return found
