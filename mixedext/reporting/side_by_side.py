"""Several fits beside each other in one table."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.calls import answering
from mixedext.fitted import Fitted, HasFitted, has_rows
from mixedext.inference.comparison import criteria
from mixedext.inference.diagnostics.generalized_shares import (
    generalized_icc,
    generalized_r2,
)
from mixedext.inference.random_effects.modes import n_levels
from mixedext.inference.variances.icc_and_r2 import r2_nakagawa
from mixedext.reporting import generalized_tables
from mixedext.reporting.generalized_tables import integration_text
from mixedext.reporting.text_forms import html_table, latex_table, markdown_table
from mixedext.reporting.tidy_tables import shared_variance, tidy
from mixedext.tables.number_text import enough_decimals, number_format, number_texts

__all__ = ["SummaryTable", "summary_table"]

_FIXED, _RANDOM, _SHARES, _GROUPS, _FIT = (
    "Fixed effects",
    "Random effects (standard deviations, correlations)",
    "Shares of the variance",
    "Levels of the grouping factors",
    "Fit",
)
_NO_GREAT_TABLES = "gt() needs great_tables: pip install mixedext[tables]"


@dataclass(frozen=True, eq=False, repr=False)
class SummaryTable:
    """Fits side by side.

    Attributes
    ----------
    numbers : DataFrame
        By section and row: estimates, shares, counts and criteria; a column a fit, NaN
        where it has none.
    errors : DataFrame
        Standard errors of the same shape.
    texts : DataFrame
        What is printed.
    notes : tuple of str
        What the reader must know of the fits.
    """

    numbers: pd.DataFrame
    errors: pd.DataFrame
    texts: pd.DataFrame
    notes: tuple[str, ...] = ()

    def _lines(self) -> tuple[list[str], list[list[str]], list[int]]:
        """Head, rows, and which of these are headings."""
        rows: list[list[str]] = []
        sections: list[int] = []
        last = None
        for (section, name), cells in zip(
            self.texts.index, self.texts.to_numpy().tolist(), strict=True
        ):
            if section != last:
                sections.append(len(rows))
                rows.append([section, *[""] * self.texts.shape[1]])
                last = section
            rows.append([name, *cells])
        return ["", *map(str, self.texts.columns)], rows, sections

    def __repr__(self) -> str:
        head, rows, sections = self._lines()
        own = [r if i in sections else [f"  {r[0]}", *r[1:]] for i, r in enumerate(rows)]
        plain = [r for i, r in enumerate(own) if i not in sections] + [head]
        widths = [max(len(r[j]) for r in plain) for j in range(len(head))]
        lines = []
        for row in (head, *own):
            cells = [row[0].ljust(widths[0])]
            cells += [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *self.notes])

    def as_markdown(self) -> str:
        """A pipe table and the notes."""
        head, rows, sections = self._lines()
        table = markdown_table(head, rows, "l" + "r" * (len(head) - 1), sections)
        return "\n\n".join([table, *self.notes]) + "\n"

    def as_html(self) -> str:
        """A table of HTML and the notes."""
        table = html_table(*self._lines())
        return "\n".join([table, *(f"<p>{html.escape(note)}</p>" for note in self.notes)])

    _repr_html_ = as_html

    def as_latex(self) -> str:
        """A ``tabular`` with the rules of LaTeX's booktabs; the notes as comments."""
        table = latex_table(*self._lines())
        return "\n".join([table, *(f"% {note}" for note in self.notes)])

    def gt(self) -> Any:
        """The table as a ``GT`` of great_tables, to be styled further.

        Raises
        ------
        ImportError
            If great_tables is not installed.
        """
        try:
            from great_tables import GT
        except ImportError as error:
            raise ImportError(f"{_NO_GREAT_TABLES} ({error})") from error
        frame = self.texts.reset_index(names=["section", "row"])
        table = GT(frame, rowname_col="row", groupname_col="section")
        for note in self.notes:
            table = table.tab_source_note(note)
        return table


@answering
def summary_table(
    results: Any,
    names: Sequence[str] | None = None,
    df_method: str | None = None,
    information: str | None = None,
) -> SummaryTable:
    """Fits side by side: estimates (standard errors), variances, shares, groups, criteria.

    Parameters
    ----------
    results : results or sequence of results
        The fits.
    names : sequence of str, optional
        Heads of the columns; (1), (2) ... if None.
    df_method : str, optional
        Method of the standard errors of fixed effects ("kenward-roger" has its own); each
        fit's own if None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Returns
    -------
    SummaryTable
        Prints as text; ``as_markdown()``, ``as_html()``, ``as_latex()``, ``gt()``.
        Standard deviations are on the scale of the data.

    Raises
    ------
    ValueError
        If there are no results, or ``names`` has another length.
    TypeError
        If one of them is no result of a fit.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> one = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    >>> two = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> table = mx.summary_table([one, two], names=["intercepts", "slopes"])
    >>> table.texts.loc[("Fixed effects", "Days")].tolist()
    ['10.4673 (0.8042)', '10.4673 (1.5458)']
    >>> table.numbers.loc["Shares of the variance", "slopes"].round(3).to_dict()
    {'ICC': 0.722, 'R2 marginal': 0.279, 'R2 conditional': 0.799}
    """
    if hasattr(names, "fitted"):
        raise TypeError("several fits stand in a list: summary_table([one, two])")
    given = [results] if hasattr(results, "fitted") else _listed(results)
    if not given:
        raise ValueError("results is empty; give one fit or more")
    for one in given:
        if not hasattr(one, "fitted"):
            raise TypeError(f"results holds a {type(one).__name__}, not results of a fit")
    heads = [f"({i + 1})" for i in range(len(given))] if names is None else list(names)
    if len(heads) != len(given):
        raise ValueError(f"names has {len(heads)} entries for {len(given)} fits")
    if len(set(heads)) < len(heads):
        raise ValueError("names holds a name twice; give each fit one of its own")
    columns = [_column(one.fitted, df_method, information) for one in given]
    index = _merged(columns)
    numbers = _filled(columns, 0, index, heads)
    errors = _filled(columns, 1, index, heads)
    texts = _texts(numbers, errors, columns, index)
    notes = tuple(_notes([one.fitted for one in given], heads))
    return SummaryTable(numbers, errors, texts, notes)


def _listed(results: Any) -> list[HasFitted]:
    if not isinstance(results, Iterable):
        raise TypeError(f"results is a {type(results).__name__}, not results of a fit")
    return list(results)


# ---- a fit ----

_Key = tuple[str, str]
_Cell = tuple[float, float, str]


def _column(
    fitted: Fitted, df_method: str | None, information: str | None
) -> dict[_Key, _Cell]:
    """Value, standard error and text of every row; no text where the values make it."""
    out: dict[_Key, _Cell] = {}
    generalized = fitted.generalized is not None
    if generalized:
        _refuse_df(df_method, information)
        table = generalized_tables.tidy(fitted, conf_int=False)
    else:
        asked: dict[str, Any] = {"df_method": df_method, "information": information}
        table = tidy(fitted, conf_int=False, **asked)
    for row in table.itertuples():
        section = _FIXED if row.effect == "fixed" else _RANDOM
        name = row.term
        inner = pd.isna(row.group) or row.group == "Residual"
        if row.effect == "random" and not inner:
            name = f"{row.term}|{row.group}"
        text = "dropped" if np.isnan(row.estimate) else ""
        out[section, name] = (row.estimate, row.std_err, text)
    nan = float("nan")
    if has_rows(fitted.model) and generalized:
        out[_SHARES, "ICC"] = (float(generalized_icc(fitted)), nan, "")
        r2 = generalized_r2(fitted)
        out[_SHARES, "R2 marginal"] = (r2.marginal, nan, "")
        out[_SHARES, "R2 conditional"] = (r2.conditional, nan, "")
    elif has_rows(fitted.model):
        if fitted.random.terms:
            out[_SHARES, "ICC"] = (shared_variance(fitted), nan, "")
        marginal, conditional = r2_nakagawa(fitted)
        out[_SHARES, "R2 marginal"] = (marginal, nan, "")
        out[_SHARES, "R2 conditional"] = (conditional, nan, "")
    for group, count in n_levels(fitted).items():
        out[_GROUPS, str(group)] = (float(count), nan, str(count))
    out[_FIT, "Rows"] = (float(fitted.nobs), nan, f"{fitted.nobs:g}")
    how = "REML" if fitted.reml else "ML"
    if generalized:
        own = fitted.generalized
        out[_FIT, "Family"] = (nan, nan, str(own.family))
        how = integration_text(fitted)
    out[_FIT, "Estimation"] = (nan, nan, how)
    values = {
        "Log-likelihood": criteria.llf(fitted),
        "AIC": criteria.aic(fitted),
        "BIC": criteria.bic(fitted),
    }
    for name, value in values.items():
        out[_FIT, name] = (float(value), nan, "")
    return out


def _refuse_df(df_method, information):
    for name, value in (("df_method", df_method), ("information", information)):
        if value not in (None, "z"):
            raise ValueError(
                f"{name}={value!r} is of linear models, and one of the fits is "
                "generalized: its tests are by the normal law; leave it out"
            )


def _merged(columns: list[dict[_Key, _Cell]]) -> pd.MultiIndex:
    """Rows of all fits, section by section; new ones before what follows them."""
    order: list[_Key] = []
    for section in (_FIXED, _RANDOM, _SHARES, _GROUPS, _FIT):
        own: list[_Key] = []
        for column in columns:
            place = 0
            for key in (k for k in column if k[0] == section):
                if key in own:
                    place = own.index(key) + 1
                else:
                    own.insert(place, key)
                    place += 1
        order += own
    return pd.MultiIndex.from_tuples(order, names=["section", "row"])


def _filled(
    columns: list[dict[_Key, _Cell]], part: int, index: pd.MultiIndex, heads: list[str]
) -> pd.DataFrame:
    nothing = (float("nan"), float("nan"), "")
    values = [[c.get(key, nothing)[part] for c in columns] for key in index]
    return pd.DataFrame(values, index=index, columns=heads, dtype=float)


def _texts(
    numbers: pd.DataFrame,
    errors: pd.DataFrame,
    columns: list[dict[_Key, _Cell]],
    index: pd.MultiIndex,
) -> pd.DataFrame:
    rows = []
    for place, key in enumerate(index):
        value, error = numbers.iloc[place].to_numpy(), errors.iloc[place].to_numpy()
        form = number_format(enough_decimals(error, value), value)
        if key[0] == _FIT:
            form = "{:.2f}"
        if key[0] == _SHARES:
            form = "{:.3f}"
        cells = []
        for column, own, beside in zip(
            columns, number_texts(value, form), number_texts(error, form), strict=True
        ):
            told = column.get(key, (0.0, 0.0, ""))[2]
            cells.append(told or (f"{own} ({beside})" if beside else own))
        rows.append(cells)
    return pd.DataFrame(rows, index=index, columns=numbers.columns, dtype=object)


def _notes(fits: list[Fitted], heads: list[str]) -> Iterable[str]:
    yield "Standard errors in brackets."
    for fitted, head in zip(fits, heads, strict=True):
        if not fitted.fit.convergence.converged:
            yield f"{head} has not converged: {fitted.fit.convergence.message}."
        elif fitted.fit.is_singular:
            yield f"{head} is singular: some variance is zero or some correlation is +-1."
        if fitted.is_weighted and fitted.generalized is None:
            yield f"{head} is weighted: the residual variance is sigma^2 / weight."
    if len({fitted.nobs for fitted in fits}) > 1:
        yield "The fits have different numbers of rows: criteria do not compare them."
    if len({fitted.reml for fitted in fits}) > 1:
        yield "REML and ML fits stand side by side: criteria do not compare them."
    elif fits[0].reml and len({fitted.fixed.names for fitted in fits}) > 1:
        yield (
            "REML likelihoods of models with different fixed effects are not comparable; "
            "mx.anova fits them again by ML."
        )
    if len({str(fitted.model.endog_names) for fitted in fits}) > 1:
        yield "The fits have different responses: criteria do not compare them."
