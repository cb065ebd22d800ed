"""A fit in a few lines, as results show themselves: after lme4's print."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.comparison import criteria
from mixedext.inference.random_effects.modes import n_levels
from mixedext.inference.variances.estimates import var_corr
from mixedext.inference.variances.residual_parameters import natural_estimates
from mixedext.reporting.sentences import formula_text
from mixedext.tables.number_text import enough_decimals, number_format, number_texts

__all__ = ["brief", "brief_of_wrapper"]

_MOST_COEFFICIENTS = 12


def brief(results: HasFitted) -> str:
    """Formula, criterion, random effects and fixed effects of a fit."""
    fitted = results.fitted
    fit = fitted.fit
    kind = "REML" if fitted.reml else "maximum likelihood"
    name = "REML criterion" if fitted.reml else "Deviance"
    lines = [
        f"Linear mixed model fit by {kind}",
        f"Formula: {formula_text(fitted)}",
        f"{name}: {criteria.deviance(fitted):.4f}",
        "Random effects:",
        *(f"  {line}" for line in _random(fitted)),
        *_residual(fitted),
        _counts(fitted),
        "Fixed effects:",
        *(f"  {line}" for line in _fixed(fitted)),
    ]
    if fit.held is not None:
        lines.append("Parameters were held or penalized.")
    if fit.is_singular:
        lines.append("Singular fit: some variance is zero or some correlation is +-1.")
    if not fit.convergence.converged:
        lines.append(f"Not converged: {fit.convergence.message}.")
    return "\n".join(lines)


def brief_of_wrapper(wrapper: Any) -> str:
    """The same of results with labels around them."""
    return brief(wrapper._results)


def _random(fitted: Fitted) -> list[str]:
    frame = var_corr(fitted)
    groups = frame["group"].mask(frame["group"].eq(frame["group"].shift()), "")
    columns = [groups, frame["name"], ["sd", *_numbers(frame["sd"])]]
    for name in [c for c in frame if c.startswith("corr")]:
        if frame[name].notna().any():
            head = "corr" if name == "corr" else ""
            columns.append([head, *number_texts(frame[name], "{:.3f}")])
    return _table(*columns)


def _residual(fitted: Fitted) -> list[str]:
    """The residual covariance, with its parameters where they are few."""
    if fitted.fit.residual is None:
        return []
    bound, found = fitted.fit.residual.bound, natural_estimates(fitted)
    lines = [f"Residual covariance: {bound}"]
    if len(found.parameters) > _MOST_COEFFICIENTS:
        return [*lines, f"  {len(found.parameters)} parameters"]
    texts = [_numbers([value])[0] for value in found.estimate]
    return lines + [
        f"  {line}" for line in _table([p.name for p in found.parameters], texts)
    ]


def _counts(fitted: Fitted) -> str:
    counts = [f"{fitted.nobs} rows"]
    levels = n_levels(fitted)
    counts += [f"{group}: {count} levels" for group, count in levels.items()]
    residual = fitted.fit.residual
    if residual is not None and residual.bound.group_name not in levels.index:
        bound = residual.bound
        if bound.n_groups < fitted.nobs:
            counts.append(f"{bound.group_name}: {bound.n_groups} residual groups")
    return "; ".join(counts)


def _fixed(fitted: Fitted) -> list[str]:
    names, values = fitted.fixed.names, fitted.fixed.estimate
    if not len(names):
        return ["none"]
    shown = [text or "dropped" for text in _numbers(values)]
    lines = _table(names[:_MOST_COEFFICIENTS], shown[:_MOST_COEFFICIENTS])
    more = len(names) - _MOST_COEFFICIENTS
    return lines if more <= 0 else [*lines, f"... and {more} more"]


def _numbers(values: Any) -> list[str]:
    values = np.asarray(values, float)
    return number_texts(values, number_format(enough_decimals(values), values))


def _table(*columns: Any) -> list[str]:
    """Columns side by side: labels to the left, numbers to the right.

    A column that is longer than the first has a head.
    """
    height = max(map(len, columns))
    texts = [["", *c] if len(c) < height else list(c) for c in columns]
    widths = [max(map(len, column)) for column in texts]
    labels = [
        len(c) == len(columns[0]) and i < len(columns) - 1 for i, c in enumerate(columns)
    ]
    rows = zip(*texts, strict=True)
    return [
        "  ".join(
            cell.ljust(width) if label else cell.rjust(width)
            for cell, width, label in zip(row, widths, labels, strict=True)
        ).rstrip()
        for row in rows
    ]
