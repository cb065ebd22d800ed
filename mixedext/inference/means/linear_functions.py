"""Tables of linear functions of the fixed effects: means, trends, contrasts of them."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from mixedext.arguments import check_probability
from mixedext.engine.fit import Fit
from mixedext.exceptions import AdjustmentWarning, NotEstimableError, user_stacklevel
from mixedext.inference.fixed_effects.df_methods import FixedTests
from mixedext.inference.fixed_effects.estimability import ColumnRelations
from mixedext.inference.means.back_transform import ResponseTransform
from mixedext.inference.means.contrasts import contrast_coefficients
from mixedext.inference.means.linear_combinations import (
    LinearEstimates,
    independent_count,
    joint_test,
    linear_estimates,
)
from mixedext.inference.means.means_text import PrintedEstimates, label, row_names
from mixedext.inference.means.multiplicity import Family, adjustment_name

__all__ = ["Context", "Contrasts", "LinearFunctions", "MarginalMeans"]

# Labels with such characters are put in parentheses within the name of a contrast.
_OPERATORS = re.compile(r"[-+*/)]")
_OWN = "as the estimates"


@dataclass(frozen=True, eq=False)
class Context:
    """What all tables of one fit and one df method share.

    Attributes
    ----------
    fit : Fit
        The fitted model.
    tests : FixedTests
        Covariance, degrees of freedom, joint tests.
    relations : ColumnRelations
        Of dropped columns to the others.
    columns : list of str
        Names of the columns of the fixed part.
    df_method : str or None
        Name of the method.
    transform : ResponseTransform or None
        That of the response.
    sigma : float or None
        Standard deviation for the adjustment for bias.
    """

    fit: Fit
    tests: FixedTests
    relations: ColumnRelations
    columns: list
    df_method: str | None
    transform: ResponseTransform | None
    sigma: float | None

    def estimates(self, rows, shift) -> LinearEstimates:
        return linear_estimates(rows, shift, self.fit, self.tests, self.relations)


class LinearFunctions(PrintedEstimates):
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
        self, context, labels, by, estimates, *, level, type, adjust, notes, sizes, pairs
    ):
        self.by, self.level, self.type, self.adjust = list(by), level, type, adjust
        self._context, self._labels, self._estimates = context, labels, estimates
        self._notes, self._sizes, self._pairs = list(notes), sizes, pairs

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

    def __len__(self):
        return len(self._labels)

    # ---- families ----

    def _groups(self):
        """Positions of the rows of each family, with the values of ``by``."""
        if not self.by:
            return [({}, np.arange(len(self)))]
        found = {}
        for at, key in enumerate(self._labels[self.by].itertuples(index=False)):
            found.setdefault(tuple(key), []).append(at)
        return [
            (dict(zip(self.by, key, strict=True)), np.array(rows))
            for key, rows in found.items()
        ]

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

    def _kind(self):
        """What the estimates are: "mean", "ratio" or "difference"."""
        raise NotImplementedError

    def _shown(self, *values):
        """Name of the estimate's column, and values as they are shown."""
        kind, transform = self._kind(), self._context.transform
        if kind == "ratio":
            return "ratio", [np.exp(transform.rate * v) for v in values]
        if kind == "response":
            back = transform.adjusted(self._context.sigma)
            return "response", [back.inverse(v) for v in values]
        return self._estimate_name(), list(values)

    def _shown_error(self):
        kind, transform = self._kind(), self._context.transform
        if kind == "ratio":
            rate = transform.rate
            return self.se * np.abs(rate) * np.exp(rate * self.estimate)
        if kind == "response":
            back = transform.adjusted(self._context.sigma)
            return self.se * np.abs(back.slope(self.estimate))
        return self.se

    def _estimate_name(self):
        return "estimate"

    # ---- tables ----

    @property
    def table(self) -> pd.DataFrame:
        """Labels, estimates, standard errors, df and confidence limits (and tests)."""
        return self._own_table.copy()

    @cached_property
    def _own_table(self):
        return self._table(self._with_tests, True)

    def _table(self, tests, limits, null=0.0, adjust=None, level=None):
        adjust = self.adjust if adjust is None else adjust
        level = self.level if level is None else level
        columns = {}
        bounds = []
        if limits:
            *bounds, _ = self._limits(level, adjust)
        name, (shown, *bounds) = self._shown(self.estimate, *bounds)
        columns |= {name: shown, "SE": self._shown_error(), "df": self.df}
        if tests:
            statistic, pvalue, _ = self._tests(null, adjust)
            columns |= {self._letter: statistic, "pvalue": pvalue}
        if limits:
            columns |= {"lower": bounds[0], "upper": bounds[1]}
        return pd.concat([self._labels, pd.DataFrame(columns)], axis=1)

    @property
    def _letter(self):
        known = self.df[np.isfinite(self._estimates.error)]
        return "z_ratio" if np.isinf(known).all() else "t_ratio"

    def conf_int(self, adjust=None, level=None) -> pd.DataFrame:
        """Confidence limits.

        Parameters
        ----------
        adjust : str, optional
            Adjustment for multiplicity; the table's own if None.  The stepwise ones
            (holm, fdr, ...) have no limits of their own: these are Bonferroni's.
        level : float, optional
            Confidence level; the table's own if None.

        Returns
        -------
        DataFrame

        Raises
        ------
        ValueError
            If ``level`` does not lie between 0 and 1, or the adjustment is not known.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.oats.load().data
        >>> result = mx.mixedlm("yield ~ Variety + (1 | Block)", data).fit()
        >>> means = result.emmeans("Variety")
        >>> list(means.conf_int(level=0.9).columns)
        ['Variety', 'emmean', 'SE', 'df', 'lower', 'upper']
        """
        if level is not None:
            check_probability(level, "level")
        return self._table(False, True, adjust=adjust, level=level)

    def test(self, null=0.0, adjust=None, joint=False) -> pd.DataFrame:
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
        DataFrame

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
           df_num  df_denom     F  pvalue
        0       2       inf  1.67    0.19
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
            record |= {"F": test.statistic, "pvalue": test.pvalue}
            records.append(where | record | ({"df_lost": lost} if lost else {}))
        return pd.DataFrame(records)

    # ---- contrasts ----

    def contrast(
        self,
        method="eff",
        by=_OWN,
        adjust=None,
        level=None,
        ref=None,
        reverse=False,
        type=None,
    ):
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
        level : float, optional
            Confidence level; the estimates' own if None.
        ref : str or int or list, optional
            Control for "trt.vs.ctrl": a label, a position, or several to average.
        reverse : bool, optional
            Differences the other way round.
        type : {"link", "response"}, optional
            Scale of the table; the estimates' own if None.

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
        """
        by = self.by if by is _OWN else [by] if isinstance(by, str) else list(by or [])
        unknown = [n for n in by if n not in self._labels.columns]
        if unknown:
            raise ValueError(
                f"by={unknown[0]!r} is not among the labels of the estimates: "
                f"{', '.join(self._labels.columns)}"
            )
        if level is not None:
            check_probability(level, "level")
        if type is not None and type not in ("link", "response"):
            raise ValueError(f"type={type!r}; use one of 'link', 'response'")
        inner = [n for n in self._labels.columns if n not in by]
        split = LinearFunctions.__new__(LinearFunctions)
        split.by, split._labels = by, self._labels
        own = self._estimates
        column = "contrast" if "contrast" not in by else "contrast of contrasts"
        rows, shift, labels, sizes, contrast = [], [], [], [], None
        for where, at in split._groups():
            names = row_names(self._labels[inner].iloc[at])
            named = [f"({n})" if _OPERATORS.search(n) else n for n in names]
            if method == "identity":
                named = names
            contrast = contrast_coefficients(method, named, ref, reverse)
            rows.append(contrast.coefficients @ own.rows[at])
            shift.append(contrast.coefficients @ own.shift[at])
            labels += [{column: name} | where for name in contrast.names]
            sizes.append(len(at))
        estimates = self._context.estimates(np.vstack(rows), np.concatenate(shift))
        if contrast.custom and not estimates.estimable.all():
            wrong = labels[int(np.argmin(estimates.estimable))]
            raise NotEstimableError(
                f"contrast {label(wrong)!r} is not estimable: the rows of the data do not "
                "determine it (empty cells, or columns that were dropped)"
            )
        if adjust is None:
            adjust = contrast.adjust
        return Contrasts(
            self._context,
            pd.DataFrame(labels, columns=[column, *by]).astype(
                {n: self._labels[n].dtype for n in by}
            ),
            by,
            estimates,
            level=self.level if level is None else level,
            type=self.type if type is None else type,
            adjust=adjustment_name(adjust),
            notes=[n for n in self._notes if not n.startswith("Means may")],
            sizes=sizes,
            pairs=contrast.all_pairs,
            on_logs=self._on_logs and contrast.sum_to_zero,
            of_means=self._of_means,
        )

    def pairs(self, **kwargs):
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


class MarginalMeans(LinearFunctions):
    """Estimated marginal means, or trends.

    ``table`` has the factors, emmean (response; NAME.trend), SE, df, lower and upper; NaN
    where the rows of the data do not determine a mean.  ``vcov`` is the covariance of the
    estimates, ``linfct`` the combinations of fixed effects that they are.
    """

    def __init__(
        self, context, labels, by, estimates, *, level, type="link", notes=(), trend=None
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
        self._trend = trend

    @property
    def _on_logs(self):
        transform = self._context.transform
        return self._trend is None and transform is not None and transform.rate is not None

    @property
    def _of_means(self):
        return self._trend is None

    def _kind(self):
        if self._trend is not None:
            return "trend"
        back = self.type == "response" and self._context.transform is not None
        return "response" if back else "mean"

    def _estimate_name(self):
        return "emmean" if self._trend is None else f"{self._trend}.trend"

    def plot(self, ax=None):
        """Estimates with their confidence limits.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; new if None.

        Returns
        -------
        Figure
        """
        from statsmodels.graphics.utils import create_mpl_ax

        figure, ax = create_mpl_ax(ax)
        table = self.table
        name = table.columns[len(self._labels.columns)]
        at = np.arange(len(table))
        below, above = table[name] - table["lower"], table["upper"] - table[name]
        ax.errorbar(table[name], at, xerr=[below, above], fmt="o", capsize=3)
        ax.set_yticks(at, self._row_names())
        ax.invert_yaxis()
        ax.set_xlabel(name)
        return figure


class Contrasts(LinearFunctions):
    """Contrasts among estimated means, trends or other contrasts.

    ``table`` has the contrast and the variables of ``by``; estimate (or ratio), SE, df,
    t_ratio (or z_ratio), pvalue, lower and upper.
    """

    _with_tests = True

    def __init__(self, *args, on_logs, of_means, **kwargs):
        super().__init__(*args, **kwargs)
        self._on_logs, self._of_means = on_logs, of_means
        if self._kind() == "ratio":
            column = self._labels.columns[0]
            names = self._labels[column].str.replace(" - ", " / ", regex=False)
            self._labels = self._labels.assign(**{column: names})

    def _kind(self):
        if not self._of_means:
            return "trend"
        if self.type == "response" and self._on_logs:
            return "ratio"
        return "difference"
