"""A fit on one page of HTML that needs nothing else: no network, no scripts."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from mixedext.fitted import Fitted, has_rows
from mixedext.graphics import figures
from mixedext.graphics.check_page import check_model
from mixedext.graphics.random_effects import plot_random_effects
from mixedext.inference.random_effects.modes import n_levels
from mixedext.inference.variances.intervals import conf_int_vcomp
from mixedext.reporting.equations import equation
from mixedext.reporting.sentences import Report, formula_text, sentences
from mixedext.reporting.text_forms import html_table
from mixedext.tables.number_text import enough_decimals, number_format, number_texts

__all__ = ["page", "report"]

# Dots an inch of the images.
DPI = 110

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto;
  padding: 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
code { font-size: .95em; }
.wide { overflow-x: auto; background:
  linear-gradient(to right, Canvas 1rem, transparent) left / 2rem 100% local,
  linear-gradient(to left, Canvas 1rem, transparent) right / 2rem 100% local,
  linear-gradient(to right, #8886, transparent) left / .6rem 100% scroll,
  linear-gradient(to left, #8886, transparent) right / .6rem 100% scroll;
  background-repeat: no-repeat; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .15rem .6rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; } tbody th { text-align: left; font-weight: 400; }
thead tr { border-bottom: 1px solid currentColor; }
table { border-top: 1px solid currentColor; border-bottom: 1px solid currentColor; }
dl { columns: 17rem; column-gap: 2rem; }
dl div { display: flex; justify-content: space-between; gap: 1rem;
  break-inside: avoid; }
dd { margin: 0; text-align: right; } dt { white-space: nowrap; }
@media (max-width: 30rem) { table { font-size: .75rem; }
  th, td { padding: .15rem .2rem; } tbody th { white-space: normal; } }
.equation { margin: .6rem 0; line-height: 2; overflow-x: auto; }
.warning { border-left: .3rem solid #d55e00; padding: .3rem .8rem; }
img { max-width: 100%; height: auto; background: #fff; }
.wide img { min-width: 55rem; max-width: none; width: 100%; }
pre { overflow-x: auto; font-size: .85rem; }
""".strip()


def report(
    results: Any,
    path: str | PathLike[str] | None = None,
    *,
    alpha: float = 0.05,
    df_method: str | None = None,
    information: str | None = None,
) -> Report:
    """Sentences for Materials and Methods and for Results; a page with all of the fit.

    Parameters
    ----------
    path : str or path, optional
        Where to write a page of HTML that needs nothing else: sentences, equation, summary,
        variances with intervals, plots if matplotlib is installed, and the design.
    alpha : float, optional
        One minus the confidence level.
    df_method : str, optional
        Degrees of freedom of the fixed effects; the results' own if None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Returns
    -------
    Report
        Prints as text.  Singular, flat and failed fits, weights, offsets, dropped columns,
        and parameters that were held are told of.

    Raises
    ------
    ValueError
        If an argument is not known.
    OSError
        If ``path`` cannot be written.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> for sentence in result.report().methods[1:3]:
    ...     print(sentence)
    The only fixed effect was the intercept.
    Random intercepts varied by Batch (6 levels, 5 rows each).
    """
    found = sentences(results, alpha, df_method, information)
    if path is not None:
        text = page(results, found, alpha, df_method, information)
        Path(path).write_text(text, encoding="utf-8")
    return found


def page(
    results: Any,
    told: Report,
    alpha: float,
    df_method: str | None,
    information: str | None = None,
) -> str:
    """The page of a fit.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    told : Report
        Its sentences.
    alpha, df_method, information
        As for ``report``.

    Returns
    -------
    str
        HTML.
    """
    title = f"Fit of {results.fitted.model.endog_names}"
    parts = [f"<h1>{html.escape(title)}</h1>"]
    parts.append(f"<p><code>{html.escape(formula_text(results.fitted))}</code></p>")
    parts += _verdict(results.fitted)
    for head, texts in told.sections():
        parts.append(f"<h2>{head}</h2>")
        parts += [f"<p>{html.escape(text)}</p>" for text in texts]
        if head == "Results":
            parts += _tables(results, alpha, df_method, information)
    parts += _design(results)
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _verdict(fitted: Fitted) -> Iterator[str]:
    verdict = fitted.fit.convergence
    if not verdict.converged:
        text = f"Not converged: {verdict.message}."
    elif fitted.fit.is_singular:
        text = "Singular fit: some variance is zero or some correlation is ±1."
    elif verdict.is_flat:
        text = "Flat minimum: the data do not determine all variances and covariances."
    else:
        return
    yield f'<p class="warning">{html.escape(text)}</p>'


def _tables(
    results: Any, alpha: float, df_method: str | None, information: str | None
) -> Iterator[str]:
    yield "<h2>Equation</h2>"
    yield equation(results).as_html()
    yield "<p>With the estimates:</p>"
    yield equation(results, coefficients=True).as_html()
    yield "<h2>Summary</h2>"
    summary = results.summary(alpha=alpha, df_method=df_method, information=information)
    yield _facts(summary.tables[0])
    for table, settings in zip(summary.tables[1:], summary.settings[1:], strict=True):
        head = list(table.columns) if settings["header"] else []
        rows = table.astype(str).to_numpy().tolist()
        if settings["index"]:
            head = ["", *head]
            rows = [[str(i), *row] for i, row in zip(table.index, rows, strict=True)]
        yield _framed(html_table(head, rows))
    yield from (f"<p>{html.escape(line)}</p>" for line in summary.extra_txt)
    yield "<h2>Variances</h2>"
    limits = conf_int_vcomp(results, alpha)
    form = [
        number_format(enough_decimals([row.std_err], [row.estimate]), list(row)[:2])
        for row in limits.itertuples(index=False)
    ]
    rows = [
        [str(name), *(number_texts([v], own)[0] for v in row)]
        for (name, row), own in zip(_rows(limits), form, strict=True)
    ]
    head = ["", "estimate", "std. error", f"[{alpha / 2:g}", f"{1 - alpha / 2:g}]"]
    yield _framed(html_table(head, rows))
    yield from (f"<p>{html.escape(note)}.</p>" for note in limits.notes)
    yield from _pictures(results, alpha)


def _rows(frame: pd.DataFrame) -> Iterator[tuple[Any, list[float]]]:
    return zip(frame.index, frame.to_numpy(float).tolist(), strict=True)


def _facts(table: pd.DataFrame) -> str:
    """The head of the summary, two columns of names with values, in columns if wide."""
    cells = table.astype(str).to_numpy()
    pairs = [*cells[:, :2].tolist(), *cells[:, 2:].tolist()]
    told = [
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in pairs
        if name.strip()
    ]
    return f"<dl>{''.join(told)}</dl>"


def _framed(table: str) -> str:
    """A table that scrolls by itself where the page is narrow."""
    return f'<div class="wide">{table}</div>'


# ---- pictures ----


def _pictures(results: Any, alpha: float) -> Iterator[str]:
    """The page of checks and the modes of every factor; or why there are none."""
    yield "<h2>Checks</h2>"
    try:
        figures.matplotlib()
    except ImportError as error:
        yield f"<p>{html.escape(str(error))}</p>"
        return
    if has_rows(results.fitted.model):
        yield _image(
            check_model(results), "Nine pictures by which a fit is checked", "wide"
        )
    else:
        yield "<p>The rows of the fit are not in memory.</p>"
    for group in results.fitted.random.groups:
        yield f"<h2>Random effects of {html.escape(group)}</h2>"
        figure = plot_random_effects(results, group, alpha=alpha)
        title = f"Conditional modes of {group} with {100 * (1 - alpha):g}% intervals"
        yield _image(figure, title)
        yield f"<p>{html.escape(title)}.</p>"


def _image(figure: Any, title: str, kind: str = "") -> str:
    """A figure as an image in the page."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI)
    data = base64.b64encode(out.getvalue()).decode("ascii")
    image = f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'
    return f'<div class="{kind}">{image}</div>' if kind else image


# ---- the design ----


def _design(results: Any) -> Iterator[str]:
    fitted = results.fitted
    yield "<h2>Design</h2>"
    rows = [["Rows", str(fitted.nobs)]]
    rows.append(["Columns of the fixed effects", str(len(fitted.fixed.names))])
    rows.append(["Rank of these", str(fitted.fixed.rank)])
    for group, count in n_levels(fitted).items():
        rows.append([f"Levels of {group}", str(count)])
    if has_rows(fitted.model):
        for term in fitted.need_rows().terms:
            if hasattr(term, "codes"):
                counts = pd.Series(term.codes).value_counts()
                text = f"{counts.min()} to {counts.max()}, median {counts.median():g}"
                rows.append([f"Rows a level of {term.group}", text])
    once = dict.fromkeys((name, value) for name, value in rows)
    yield _framed(html_table([], list(once)))
    yield f"<pre>{html.escape(results.model.describe_blocks())}</pre>"
