"""Slopes of columns of X along a covariate: by quotients, checked to be derivatives."""

from __future__ import annotations

import numpy as np

from mixedext.exceptions import FormulaError
from mixedext.inference.means.reference_grid import Grid, ReferenceGrid
from mixedext.limits import BEND_ROUNDING, LINEAR_COLUMN, NO_CORNER

__all__ = ["local_slopes"]

# Step of difference quotients, as a share of the covariate's range, and at least so many
# distances between its numbers; and how often an eighth of it is taken where the column is
# not smooth within it.
STEP, LEAST_SPACINGS = 1e-3, 64
MOST_STEPS = 6


def local_slopes(
    reference: ReferenceGrid, grid: Grid, var: str, span: float, delta: float | None
) -> np.ndarray:
    """Derivatives of the columns by a covariate, or quotients, at the rows of a grid.

    Parameters
    ----------
    reference : ReferenceGrid
        Evaluates the columns.
    grid : Grid
        Where.
    var : str
        The covariate.
    span : float
        Its range in the data.
    delta : float, optional
        The step of quotients in place of derivatives.

    Returns
    -------
    ndarray
        (rows of the grid, columns)

    Raises
    ------
    ValueError
        Where a column jumps or has a corner, or ``delta`` is no step.
    """
    span = span if span > 0 else 1.0  # of a constant

    def at(step):
        levels = {**grid.levels, var: grid.levels[var].astype(float) + step}
        return reference.evaluate(levels, grid.codes)

    def quotient(step):
        # the step that the numbers really make
        values = grid.levels[var].to_numpy(float)
        made = (values + step) - (values - step)
        made = made[grid.codes[var].to_numpy()]
        return (at(step) - at(-step)) / made[:, None]

    if delta is not None:
        if not (np.isfinite(delta) and delta != 0):
            raise ValueError(f"delta={delta!r} must be a step, not zero")
        return (at(delta) - at(0.0)) / delta

    def bend(step):
        return at(step) - 2 * at(0.0) + at(-step)

    # a column that is linear over the whole range is so exactly: no digits are lost
    spacing = np.spacing(np.abs(grid.levels[var].to_numpy(float)).max())
    step, middle = max(STEP * span, LEAST_SPACINGS * spacing), np.abs(at(0.0))
    try:
        with np.errstate(all="ignore"):
            wide, half, bent = quotient(span / 2), quotient(span / 4), bend(span / 2)
    except (FormulaError, ValueError):
        wide = half = bent = np.full_like(middle, np.nan)
    size = middle + np.abs(wide) * span
    close = LINEAR_COLUMN * size
    others = np.maximum(np.abs(wide - half), np.abs(wide - quotient(step))) * span
    linear = ((others <= close) & (np.abs(bent) <= close)).all(axis=0)
    rounding = BEND_ROUNDING * np.nan_to_num(size + np.abs(bent), nan=1.0).max(axis=0)
    for _ in range(MOST_STEPS):
        first, second, third = (quotient(step / k) for k in (1, 2, 4))
        rough = _not_fourths(bend(step), bend(step / 2), rounding)
        rough |= _not_fourths(first - second, second - third, rounding / step)
        if not rough[:, ~linear].any():
            return np.where(linear, wide, (4 * second - first) / 3)
        step = max(step / 8, LEAST_SPACINGS * spacing)
    row = rough[:, ~linear].any(axis=1).argmax()
    value = grid.values([var])[var].iloc[row]
    raise ValueError(
        f"a column of {var} jumps or has a corner at {var} = {value:.6g}, where it has no "
        "slope; give another value by at=, or the step of a quotient by delta="
    )


def _not_fourths(over_step, over_half, rounding):
    """Where differences over half a step are no fourths: a jump or a corner is within."""
    close = NO_CORNER * np.abs(over_step) + rounding
    return np.abs(over_half - over_step / 4) > close
