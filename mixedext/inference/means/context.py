"""What all tables of estimated means of one fit share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.engine.fit import Fit
from mixedext.engine.rows.estimability import ColumnRelations
from mixedext.inference.fixed_effects.df_methods import FixedTests
from mixedext.inference.means.back_transform import ResponseTransform
from mixedext.inference.means.linear_combinations import LinearEstimates, linear_estimates

__all__ = ["Context", "groups_of"]


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
    notes : tuple of str
        What else is said of it.
    transform : ResponseTransform or None
        That of the response.
    sigma : float or None
        Standard deviation for the adjustment for bias.
    """

    fit: Fit
    tests: FixedTests
    relations: ColumnRelations
    columns: list[str]
    df_method: str | None
    notes: tuple[str, ...]
    transform: ResponseTransform | None
    sigma: float | None

    def estimates(self, rows: np.ndarray, shift: np.ndarray) -> LinearEstimates:
        """Estimates of combinations of the fixed effects."""
        return linear_estimates(rows, shift, self.fit, self.tests, self.relations)

    def df_notes(self) -> list[str]:
        """What is said of the degrees of freedom."""
        return [f"Degrees of freedom: {self.df_method}", *self.notes]

    def shown(self, kind: str, values: np.ndarray) -> np.ndarray:
        """Estimates or limits as they are shown: ratios and responses transformed back.

        Parameters
        ----------
        kind : {"mean", "response", "difference", "ratio", "trend"}
            What is shown.
        values : ndarray
            On the scale of the model.
        """
        if kind == "ratio":
            return np.exp(self._back().log_rate * values)
        return self._back().inverse(values) if kind == "response" else values

    def shown_error(self, kind: str, values: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Standard errors of what is shown, from those on the scale of the model."""
        if kind == "ratio":
            rate = self._back().log_rate
            return error * np.abs(rate) * np.exp(rate * values)
        if kind == "response":
            return error * np.abs(self._back().slope(values))
        return error

    def _back(self) -> ResponseTransform:
        """The way back to the response, by the adjustment for bias if there is one."""
        if self.transform is None:
            raise ValueError("the response is not transformed")
        return self.transform.adjusted(self.sigma)


def groups_of(
    labels: pd.DataFrame, by: Sequence[str]
) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Positions of the rows of each combination of ``by``, with its values."""
    if not by:
        return [({}, np.arange(len(labels)))]
    found: dict[tuple, list[int]] = {}
    for at, key in enumerate(labels[list(by)].itertuples(index=False)):
        found.setdefault(tuple(key), []).append(at)
    return [
        (dict(zip(by, key, strict=True)), np.array(rows)) for key, rows in found.items()
    ]
