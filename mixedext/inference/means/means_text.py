"""How tables of estimated means and contrasts are printed."""

from __future__ import annotations

import warnings

import numpy as np

from mixedext.exceptions import AdjustmentWarning
from mixedext.tables.number_text import df_texts, p_texts

__all__ = ["PrintedEstimates", "label", "row_names"]


class PrintedEstimates:
    """Text and HTML of a table of estimates, with notes below it."""

    def _adjustment_notes(self):
        """What the printed table says of adjustments."""
        if self.adjust == "none" or max(len(rows) for _, rows in self._groups()) < 2:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdjustmentWarning)
            families, used = self._families(self.adjust)
        counts = sorted({family.n_tests for _, family in families})
        text = f"{used} for {' or '.join(map(str, counts))} estimates"
        if used == "tukey":
            text = f"tukey for a family of {' or '.join(map(str, self._sizes[:1]))} means"
        elif used == "scheffe":
            text = f"scheffe with rank {families[0][1].rank}"
        yield f"P values adjusted: {text}"
        if used in ("holm", "hochberg", "hommel", "fdr", "fdr_by"):
            used = "bonferroni"
        yield f"Confidence limits adjusted: {used}"

    def _scale_notes(self):
        kind, transform = self._kind(), self._context.transform
        if transform is None or kind == "trend":
            return
        if kind in ("ratio", "response"):
            yield f"Intervals are transformed back from the {transform.name} scale"
            if self._with_tests:
                yield f"Tests are performed on the {transform.name} scale"
            if kind == "response" and self._context.sigma is not None:
                yield f"Adjusted for bias with sigma = {self._context.sigma:.5g}"
        else:
            yield f"Results are on the {transform.name} scale, not that of the response"

    def _all_notes(self):
        yield from self._notes
        method = self._context.df_method
        yield f"Degrees of freedom: {method}"
        held = getattr(self._context.tests, "held", ())
        if held:
            yield f"Held for the degrees of freedom: {'; '.join(held)}"
        yield f"Confidence level: {self.level:g}"
        yield from self._adjustment_notes()
        yield from self._scale_notes()

    def __str__(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdjustmentWarning)
            text = self._texts()
        parts = []
        for where, rows in self._groups():
            head = ", ".join(f"{name} = {value}" for name, value in where.items())
            body = text.iloc[rows].drop(columns=self.by).to_string(index=False)
            parts.append(f"{head}:\n{body}" if head else body)
        return "\n\n".join(parts) + "\n\n" + "\n".join(self._all_notes())

    __repr__ = __str__

    def _repr_html_(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdjustmentWarning)
            table = self._texts().to_html(index=False)
        return table + "<p>" + "<br>".join(self._all_notes()) + "</p>"

    def _texts(self):
        """The table as text: three digits of the smallest standard error."""
        table = self.table
        name = table.columns[len(self._labels.columns)]
        errors = table["SE"].to_numpy()
        errors = errors[np.isfinite(errors) & (errors > 0)]
        decimals = 3
        if len(errors):
            decimals = int(np.clip(2 - np.floor(np.log10(errors.min())), 0, 10))
        form = f"{{:.{decimals}f}}"
        forms = {name: form, "SE": form, "lower": form, "upper": form}
        forms |= {self._letter: "{:.3f}"}
        text = table.copy()
        for column, pattern in forms.items():
            if column in table:
                text[column] = [
                    pattern.format(v) if not np.isnan(v) else "" for v in table[column]
                ]
        text["df"] = df_texts(table["df"])
        if "pvalue" in table:
            text["pvalue"] = p_texts(table["pvalue"])
        text.loc[~self.estimable, name] = "nonEst"
        return text


def label(values: dict) -> str:
    """Values that tell a group or a contrast, in one text."""
    return " ".join(map(str, values.values()))


def row_names(labels) -> list[str]:
    """One text a row of labels; what reads as a number goes with its variable's name."""
    texts = [] if len(labels.columns) else [["overall"] * len(labels)]
    for name in labels.columns:
        column = labels[name]
        numeric = all(_reads_as_number(value) for value in column)
        front = str(name) if numeric else ""
        texts.append(
            [front + (f"{v:g}" if isinstance(v, float) else str(v)) for v in column]
        )
    return [" ".join(row) for row in zip(*texts, strict=True)]


def _reads_as_number(value) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool | np.bool_)
