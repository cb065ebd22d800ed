"""Correlations between the visits of residual groups: observed, and as a fit has them.

Observed are moments of the marginal residuals e = y - X b over the pairs of rows of a group
that have two visits,

    r_ab = sum e_a e_b / sqrt(sum e_a^2 sum e_b^2),

and fitted the same of V = Z D Z' + R over the same pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.fitted import Fitted, HasFitted
from mixedext.graphics.figures import figure_of, label_axes, name_ticks, panels
from mixedext.inference.diagnostics.residuals import residuals
from mixedext.inference.variances.residual_covariance import random_part, visit_labels
from mixedext.inference.variances.residual_parameters import residual_of

__all__ = ["plot_residual_cov", "residual_cov_data"]

# Visits up to which the numbers are printed in the squares.
MOST_PRINTED = 8
# Correlations from which on the colour is so dark that numbers are white.
DARK = 0.6


def residual_cov_data(results: HasFitted) -> pd.DataFrame:
    """What ``plot_residual_cov`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.

    Returns
    -------
    DataFrame
        visit, other, n_pairs, observed, fitted; a row a pair of visits, the first not after
        the other, by level of ``by`` with a column ``level`` before.  NaN for visits of
        which no group has both.

    Raises
    ------
    ValueError
        If the model has no residual covariance over visits, or the rows are not in memory.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.visit_correlation import residual_cov_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> model = mx.mixedlm("Reaction ~ Days", data, residual="ar1(Days | Subject)")
    >>> residual_cov_data(model.fit()).query("visit == 0").round(2).head(3)
       visit  other  n_pairs  observed  fitted
    0      0      0       18      1.00    1.00
    1      0      1       18      0.73    0.80
    2      0      2       18      0.42    0.64
    """
    fitted = results.fitted
    bound = residual_of(fitted).bound
    labels = visit_labels(bound)
    if labels is None:
        raise ValueError(
            f"{bound} has no visits, whose correlations could be shown; variogram() goes "
            "by distances"
        )
    parts = []
    for level in range(bound.n_levels):
        own = _of_level(fitted, level, labels)
        if bound.level_labels:
            own.insert(0, "level", bound.level_labels[level])
        parts.append(own)
    return pd.concat(parts, ignore_index=True)


def _of_level(fitted: Fitted, level: int, labels: list) -> pd.DataFrame:
    """Pairs of visits in the groups of one level of ``by``."""
    residual, rows, m = residual_of(fitted), fitted.need_rows(), len(labels)
    e = np.asarray(residuals(fitted, kind="marginal", scale="raw"), float)
    # sums over pairs of e_a e_b, e_a^2 and V_ab, V_aa, and their number
    products, squares, both, own, count = np.zeros((5, m * m))
    for batch, matrices in zip(residual.bound.batches, residual.matrices(), strict=True):
        groups = np.flatnonzero(batch.level[batch.pattern] == level)
        if not len(groups):
            continue
        at = batch.rows[groups]
        visit = _visits(residual.bound, batch, groups)
        v = fitted.scale * matrices[batch.pattern[groups]]
        if rows.weights is not None:
            root = np.sqrt(rows.weights[at])
            v = v / (root[:, :, None] * root[:, None, :])
        v = v + random_part(fitted, at)
        r, shape = e[at], v.shape
        place = (visit[:, :, None] * m + visit[:, None, :]).ravel()

        def summed(values, place=place, shape=shape):
            whole = np.broadcast_to(values, shape).ravel()
            return np.bincount(place, whole, m * m)

        products += summed(r[:, :, None] * r[:, None, :])
        squares += summed((r**2)[:, :, None])
        both += summed(v)
        own += summed(np.einsum("gaa->ga", v)[:, :, None])
        count += summed(1.0)
    a, b = np.triu_indices(m)
    pair, turned = a * m + b, b * m + a
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = products[pair] / (np.sqrt(squares[pair]) * np.sqrt(squares[turned]))
        found = both[pair] / (np.sqrt(own[pair]) * np.sqrt(own[turned]))
    return pd.DataFrame(
        {
            "visit": [labels[i] for i in a],
            "other": [labels[i] for i in b],
            "n_pairs": count[pair].astype(int),
            "observed": observed,
            "fitted": found,
        }
    )


def _visits(bound, batch, groups):
    """Places of the visits of rows of some groups, (G, s)."""
    if bound.visit_codes is not None:
        return np.asarray(bound.visit_codes)[batch.rows[groups]]
    return batch.place[batch.pattern[groups]]


def plot_residual_cov(results: HasFitted, ax: Any = None) -> Any:
    """Images of the correlations between visits, observed and fitted.

    Parameters
    ----------
    results : MixedLMResults
        A fit with a residual covariance over visits.
    ax : array_like of Axes, optional
        Where to draw, two for each level of ``by``; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the model has no residual covariance over visits, or the rows are not in memory.

    Notes
    -----
    The observed correlations are those of the marginal residuals, the fitted ones those of
    the response given the fixed effects: with random effects these, too, correlate the
    visits.

    See Also
    --------
    mixedext.graphics.visit_correlation.residual_cov_data : the numbers.
    """
    frame, bound = residual_cov_data(results), residual_of(results.fitted).bound
    levels = bound.level_labels or [None]
    axes = panels(ax, 2 * len(levels), width=4.0, height=3.6, columns=2, things="images")
    labels = visit_labels(bound) or []
    image = None
    for number, level in enumerate(levels):
        part = frame if level is None else frame[frame["level"] == level]
        for k, what in enumerate(("observed", "fitted")):
            own = axes[2 * number + k]
            image = _draw(own, _square(part, what, labels), labels)
            title = what if level is None else f"{what}, {level}"
            label_axes(own, bound.visit_name or "row", "", title)
    if image is not None:
        bar = axes[0].figure.colorbar(image, ax=list(axes), fraction=0.05, pad=0.03)
        bar.set_label("correlation")
    return figure_of(axes)


def _square(part: pd.DataFrame, what: str, labels: list) -> np.ndarray:
    m = len(labels)
    out = np.full((m, m), np.nan)
    a, b = np.triu_indices(m)
    out[a, b] = out[b, a] = part[what]
    return out


def _draw(ax: Any, values: np.ndarray, labels: list) -> Any:
    image = ax.imshow(
        np.ma.masked_invalid(values),
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        interpolation="none",
    )
    names = [str(label) for label in labels]
    places = np.arange(len(names))
    name_ticks(ax, "x", places, names)
    name_ticks(ax, "y", places, names)
    if len(labels) <= MOST_PRINTED:
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "white" if abs(value) > DARK else "black"
                text = f"{value:.2f}".replace("-", "−")
                ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)
    return image
