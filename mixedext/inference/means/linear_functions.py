"""Tables of linear functions of the fixed effects: means, trends, contrasts of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_choice, confidence, did_you_mean
from mixedext.calls import answer_calls
from mixedext.exceptions import AdjustmentWarning, NotEstimableError, user_stacklevel
from mixedext.inference.means import differences, means_plots
from mixedext.inference.means.context import Context, groups_of
from mixedext.inference.means.contrast_rows import contrast_rows, interaction_rows
from mixedext.inference.means.linear_combinations import (
    LinearEstimates,
    independent_count,
    joint_test,
)
from mixedext.inference.means.means_text import (
    adjustment_note,
    groups_text,
    label,
    limits_note,
    row_names,
    scale_notes,
    table_texts,
)
from mixedext.inference.means.multiplicity import Family, adjustment_name
from mixedext.other_names import ON_MEANS, no_result
from mixedext.specification.data.columns import with_columns
from mixedext.tables.noted_table import NotedTable

__all__ = ["Contrasts", "LinearFunctions", "MarginalMeans"]

_OWN = "as the estimates"


@answer_calls
class LinearFunctions:
    """Estimates of linear functions of the fixed effects, with their table.

    Not made by the user: see ``MixedLMResults.emmeans`` and ``MarginalMeans.contrast``.

    Attributes
    ----------
    by : list of str
        Variables within whose levels families of tests are formed.
    level : float
        Confidence level.
    adjust : str
        Adjustment for multiplicity.
    """

    _with_tests = False

    def __init__(
        self,
        context: Context,
        labels: pd.DataFrame,
        by: Sequence[str],
        estimates: LinearEstimates,
        *,
        level: float,
        type: str,
        adjust: str,
        notes: Sequence[str],
        sizes: list[int] | None,
        pairs: bool,
    ):
        check_choice(type, "type", ("link", "response"))
        self.by, self.level, self.type, self.adjust = list(by), level, type, adjust
        self._context, self._labels, self._estimates = context, labels, estimates
        self._notes, self._sizes, self._pairs = list(notes), sizes, pairs

    if not TYPE_CHECKING:  # the annotations say what there is

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property that raised: its own message
                return object.__getattribute__(self, name)
            kind = f"{type(self).__name__!r} object"
            raise no_result(kind, name, dir(type(self)), ON_MEANS)

    # ---- numbers ----

    @property
    def estimate(self) -> np.ndarray:
        """Estimates on the scale of the model (log, say); NaN if not estimable."""
        return self._estimates.estimate

    @property
    def se(self) -> np.ndarray:
        """Standard errors on the scale of the model."""
        return self._estimates.error

    @property
    def df(self) -> np.ndarray:
        """Degrees of freedom; infinite where the normal law is used."""
        return self._estimates.df

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the estimates, on the scale of the model."""
        names = self._row_names()
        return pd.DataFrame(self._estimates.covariance, index=names, columns=names)

    @property
    def linfct(self) -> pd.DataFrame:
        """The linear functions: one row an estimate, one column a fixed effect."""
        return pd.DataFrame(
            self._estimates.rows, index=self._row_names(), columns=self._context.columns
        )

    @property
    def estimable(self) -> np.ndarray:
        """Which estimates the rows of the data determine."""
        return self._estimates.estimable

    def _row_names(self):
        return row_names(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    # ---- families ----

    def _groups(self):
        """Positions of the rows of each family, with the values of ``by``."""
        return groups_of(self._labels, self.by)

    def _families(self, adjust):
        """Families and the adjustment that is used for them."""
        adjust = adjustment_name(adjust)
        groups = self._groups()
        if adjust == "tukey" and not self._pairs:
            count = max((len(rows) for _, rows in groups), default=0)
            adjust = "sidak" if count > 1 else "none"
            if count > 1:
                warnings.warn(
                    'adjust="tukey" is made for all pairwise differences of one set of '
                    'means; "sidak" is used',
                    AdjustmentWarning,
                    stacklevel=user_stacklevel(),
                )
        families = []
        own = self._estimates
        for number, (_, rows) in enumerate(groups):
            covariance = own.covariance[np.ix_(rows, rows)]
            finite = rows[np.isfinite(own.rows[rows]).all(axis=1)]
            rank = independent_count(own.rows[finite]) if adjust == "scheffe" else 0
            size = self._sizes[number] if self._sizes else len(rows)
            families.append((rows, Family(own.df[rows], size, rank, covariance)))
        return families, adjust

    def _limits(self, level, adjust):
        families, adjust = self._families(adjust)
        width = np.full(len(self), np.nan)
        for rows, family in families:
            width[rows] = family.critical(level, adjust)
        return self.estimate - width * self.se, self.estimate + width * self.se, adjust

    def _tests(self, null, adjust):
        families, adjust = self._families(adjust)
        null = np.broadcast_to(np.asarray(null, float), len(self))
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = (self.estimate - null) / self.se
        pvalue = np.full(len(self), np.nan)
        for rows, family in families:
            pvalue[rows] = family.pvalues(statistic[rows], adjust)
        return statistic, pvalue, adjust

    # ---- scales ----

    @property
    def _on_logs(self) -> bool:
        """Whether the estimates are on the scale of a logarithm."""
        raise NotImplementedError

    @property
    def _of_means(self) -> bool:
        """Whether these are means, or made of them; else trends."""
        raise NotImplementedError

    def _kind(self) -> str:
        """What is shown: "mean", "response", "difference", "ratio" or "trend"."""
        raise NotImplementedError

    # ---- tables ----

    @property
    def table(self) -> NotedTable:
        """Labels, estimates, standard errors, df and confidence limits (and tests)."""
        own = self._own_table
        return NotedTable.of(own.copy(), own.heading, own.notes)

    @cached_property
    def _own_table(self):
        return self._table(self._with_tests, True)

    def _table(self, tests, limits, null=0.0, adjust=None, level=None):
        adjust = self.adjust if adjust is None else adjust
        level = self.level if level is None else level
        context, kind = self._context, self._kind()
        columns = {
            "estimate": context.shown(kind, self.estimate),
            "std_err": context.shown_error(kind, self.estimate, self.se),
            "df": self.df,
        }
        if tests:
            columns["statistic"], columns["pvalue"], _ = self._tests(null, adjust)
        if limits:
            lower, upper, _ = self._limits(level, adjust)
            bounds = {"lower": lower, "upper": upper}
            columns |= {name: context.shown(kind, limit) for name, limit in bounds.items()}
        frame = pd.concat([self._labels, pd.DataFrame(columns)], axis=1)
        return NotedTable.of(frame, "", self._notes_below(tests, limits, adjust, level))

    def _notes_below(self, tests, limits, adjust, level):
        """What a table must say: averages, df method, level, adjustments, scale."""
        notes = [*self._notes, *self._context.df_notes()]
        if limits:
            notes.append(f"Confidence level: {level:g}")
        groups = self._groups()
        if adjust != "none" and max((len(rows) for _, rows in groups), default=0) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AdjustmentWarning)
                families, used = self._families(adjust)
            if tests:
                notes.append(adjustment_note([family for _, family in families], used))
            if limits:
                notes.append(limits_note(used))
        context = self._context
        notes += scale_notes(self._kind(), context.transform, context.sigma, tests)
        return notes

    def __repr__(self) -> str:
        return groups_text(self._texts(), self.by, self._groups(), self._own_table.notes)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        table = self._texts().to_html(index=False)
        return table + "<p>" + "<br>".join(self._own_table.notes) + "</p>"

    def _texts(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdjustmentWarning)
            text = table_texts(self._own_table, self.estimable)
        transform = self._context.transform
        if self._kind() == "ratio" and transform is not None and transform.ratio:
            text = text.rename(columns={"estimate": f"{transform.ratio}_ratio"})
        return text

    def _level(self, alpha, level):
        """The confidence level that is asked for, or the table's own."""
        if alpha is None and level is None:
            return self.level
        return confidence(0.05 if alpha is None else alpha, level)

    def conf_int(
        self,
        alpha: float | None = None,
        adjust: str | None = None,
        *,
        level: float | None = None,
    ) -> NotedTable:
        """Confidence limits.

        Parameters
        ----------
        alpha : float, optional
            One minus the confidence level; the table's own if None.
        adjust : str, optional
            Adjustment for multiplicity; the table's own if None.  The stepwise ones
            (holm, fdr, ...) have no limits of their own: these are Bonferroni's.
        level : float, optional
            Confidence level, in place of ``alpha``.

        Returns
        -------
        NotedTable

        Raises
        ------
        ValueError
            If ``alpha`` or ``level`` does not lie between 0 and 1, or the adjustment is
            not known.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.oats.load().data
        >>> result = mx.mixedlm("yield ~ Variety + (1 | Block)", data).fit()
        >>> means = result.emmeans("Variety")
        >>> list(means.conf_int(level=0.9).columns)
        ['Variety', 'estimate', 'std_err', 'df', 'lower', 'upper']
        """
        level = self._level(alpha, level)
        return self._table(False, True, adjust=adjust, level=level)

    def test(
        self, null: Any = 0.0, adjust: str | None = None, joint: bool = False
    ) -> NotedTable:
        """Tests of the estimates, one at a time or jointly.

        Parameters
        ----------
        null : float or array_like, optional
            Value under the null hypothesis, on the scale of the model (0 on the log scale
            is a ratio of 1).
        adjust : str, optional
            Adjustment for multiplicity; the table's own if None.
        joint : bool, optional
            One F test of all estimates, within each level of ``by``.

        Returns
        -------
        NotedTable

        Raises
        ------
        NotEstimableError
            If nothing that is to be tested jointly is estimable.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.oats.load().data
        >>> result = mx.mixedlm("yield ~ Variety + (1 | Block)", data).fit()
        >>> means = result.emmeans("Variety")
        >>> means.pairs().test(joint=True).round(2)
           df_num  df_denom  statistic  pvalue
        0       2      64.0       1.67     0.2
        """
        if not joint:
            return self._table(True, False, null=null, adjust=adjust)
        if np.ndim(null):
            raise ValueError("null must be one number for a joint test")
        context, records = self._context, []
        for where, rows in self._groups():
            values = null - self._estimates.shift[rows]
            values = values if np.any(values) else 0.0
            test, lost = joint_test(
                self._estimates.rows[rows], values, context.tests, context.relations
            )
            record = {"df_num": test.df_num, "df_denom": test.df_denom}
            record |= {"statistic": test.statistic, "pvalue": test.pvalue}
            records.append(where | record | ({"df_lost": lost} if lost else {}))
        notes = [*self._notes, *context.df_notes()]
        return NotedTable.of(pd.DataFrame(records), "", notes)

    # ---- contrasts ----

    def contrast(
        self,
        method: Any = "eff",
        by: Any = _OWN,
        adjust: str | None = None,
        alpha: float | None = None,
        ref: Any = None,
        reverse: bool = False,
        type: str | None = None,
        *,
        level: float | None = None,
        interaction: Any = None,
    ) -> Contrasts:
        """Contrasts among the estimates, within each combination of ``by``.

        Parameters
        ----------
        method : str or dict or list, optional
            "pairwise", "revpairwise", "trt.vs.ctrl" (also "trt.vs.ctrl1", "trt.vs.ctrlk"),
            "consec", "mean_chg", "poly", "eff", "del.eff", "identity"; or names and
            vectors of coefficients, one number an estimate.
        by : str or list of str or None, optional
            Families are formed within the levels of these; the estimates' own unless
            given, None for one family of all.
        adjust : str, optional
            "tukey", "dunnettx", "mvt" (or "dunnett"), "scheffe", "sidak", "bonferroni",
            "holm", "hochberg", "hommel", "fdr" (or "BH"), "fdr_by", "none".  If None, what
            goes with the method: tukey for pairwise, dunnettx for trt.vs.ctrl, mvt for
            consec and mean_chg, fdr for eff and del.eff, none else.
        alpha : float, optional
            One minus the confidence level; the estimates' own if None.
        ref : str or int or list, optional
            Control for "trt.vs.ctrl": a label, a position, or several to average.
        reverse : bool, optional
            Differences the other way round.
        type : {"link", "response"}, optional
            Scale of the table; the estimates' own if None.
        level : float, optional
            Confidence level, in place of ``alpha``.
        interaction : str or list or dict or bool, optional
            Products of contrasts of the single factors, in place of ``method``: a family
            for each factor, in their order (used again from the first where there are
            fewer) or by name; True for ``method`` of each.  They are not adjusted.

        Returns
        -------
        Contrasts

        Raises
        ------
        NotEstimableError
            If coefficients that were given make a contrast that is not estimable.
        ValueError
            If an argument is not known or a vector has the wrong length.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.oats.load().data
        >>> formula = "yield ~ nitroF + Variety + (1 | Block/Variety)"
        >>> result = mx.mixedlm(formula, data).fit()
        >>> means = result.emmeans("nitroF")
        >>> table = means.contrast("trt.vs.ctrl", ref="n0").table
        >>> table["estimate"].round(2).tolist()
        [19.5, 34.83, 44.0]
        >>> own = means.contrast({"none - most": [1, 0, 0, -1]})
        >>> own.table["estimate"].round(2).tolist()
        [-44.0]
        >>> both = result.emmeans(["nitroF", "Variety"])
        >>> both.contrast(interaction=["poly", "pairwise"]).table.columns[:2].tolist()
        ['nitroF_poly', 'Variety_pairwise']
        """
        by = self.by if by is _OWN else [by] if isinstance(by, str) else list(by or [])
        unknown = [n for n in by if n not in self._labels.columns]
        if unknown:
            raise ValueError(
                f"by={unknown[0]!r} is not among the labels of the estimates: "
                f"{', '.join(self._labels.columns)}"
                f"{did_you_mean(unknown[0], self._labels.columns)}"
            )
        level, own = self._level(alpha, level), self._estimates
        if interaction is None or interaction is False:
            found = contrast_rows(self._labels, by, method, ref, reverse)
        else:
            families = [method] if interaction is True else interaction
            found = interaction_rows(self._labels, by, families, ref, reverse)
        estimates = self._context.estimates(found.of(own.rows), found.of(own.shift))
        if found.custom and not estimates.estimable.all():
            wrong = found.labels.iloc[int(np.argmin(estimates.estimable))]
            raise NotEstimableError(
                f"contrast {label(wrong.to_dict())!r} is not estimable: the rows of the "
                "data do not determine it (empty cells, or columns that were dropped)"
            )
        adjust = found.adjust if adjust is None else adjust
        return Contrasts(
            self._context,
            found.labels,
            by,
            estimates,
            level=level,
            type=self.type if type is None else type,
            adjust=adjustment_name(adjust),
            notes=[n for n in self._notes if not n.startswith("Means may")],
            sizes=found.sizes,
            pairs=found.all_pairs,
            on_logs=self._on_logs and found.sum_to_zero,
            of_means=self._of_means,
        )

    def pairs(self, **kwargs: Any) -> Contrasts:
        """All pairwise differences: ``contrast("pairwise", ...)``.

        Parameters
        ----------
        **kwargs
            Other arguments of ``contrast``.

        Returns
        -------
        Contrasts

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.oats.load().data
        >>> result = mx.mixedlm("yield ~ Variety + (1 | Block)", data).fit()
        >>> result.emmeans("Variety").pairs().estimate.round(2).tolist()
        [-5.29, 6.88, 12.17]
        """
        return self.contrast("pairwise", **kwargs)


@answer_calls
class MarginalMeans(LinearFunctions):
    """Estimated marginal means, or trends.

    ``table`` has the factors, estimate, std_err, df, lower and upper (and nobs, raw_mean if
    asked for); NaN where the rows do not determine a mean.  ``vcov`` is the covariance of
    the estimates, ``linfct`` the combinations of fixed effects that they are.
    """

    def __init__(
        self,
        context: Context,
        labels: pd.DataFrame,
        by: Sequence[str],
        estimates: LinearEstimates,
        *,
        level: float,
        type: str = "link",
        notes: Sequence[str] = (),
        trend: str | None = None,
        cells: pd.DataFrame | None = None,
    ):
        super().__init__(
            context,
            labels,
            by,
            estimates,
            level=level,
            type=type,
            adjust="none",
            notes=notes,
            sizes=None,
            pairs=False,
        )
        self._trend, self._cells = trend, cells

    @cached_property
    def _own_table(self):
        own = self._table(False, True)
        table = pd.concat([pd.DataFrame(own), self._cells], axis=1)
        return NotedTable.of(table, own.heading, own.notes)

    cld = differences.cld
    lsd = differences.lsd
    sed = differences.sed

    @property
    def _on_logs(self) -> bool:
        transform = self._context.transform
        return self._trend is None and transform is not None and transform.makes_ratios

    @property
    def _of_means(self) -> bool:
        return self._trend is None

    def _kind(self) -> str:
        if self._trend is not None:
            return "trend"
        back = self.type == "response" and self._context.transform is not None
        return "response" if back else "mean"

    plot = means_plots.plot
    plot_interaction = means_plots.plot_interaction


@answer_calls
class Contrasts(LinearFunctions):
    """Contrasts among estimated means, trends or other contrasts.

    ``table`` has the contrast and the variables of ``by``; estimate (a ratio where
    logarithms are transformed back), std_err, df, statistic, pvalue, lower and upper.
    """

    _with_tests = True

    def __init__(self, *args: Any, on_logs: bool, of_means: bool, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._logs, self._means = on_logs, of_means
        if self._kind() == "ratio":
            columns = [n for n in self._labels.columns if n not in self.by]
            texts = [
                self._labels[n].str.replace(" - ", " / ", regex=False) for n in columns
            ]
            own = dict(zip(columns, texts, strict=True))
            self._labels = with_columns(self._labels, own)

    @property
    def _on_logs(self) -> bool:
        return self._logs

    @property
    def _of_means(self) -> bool:
        return self._means

    def _kind(self) -> str:
        if not self._of_means:
            return "trend"
        if self.type == "response" and self._on_logs:
            return "ratio"
        return "difference"
