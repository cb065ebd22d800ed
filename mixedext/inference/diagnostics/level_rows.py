"""Rows each of which has the effects of one level of the only grouping factor.

They are read some at a time: nothing of their length is made that is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mixedext.engine.information.joint_errors import joint_errors
from mixedext.fitted import Fitted, ModelRows
from mixedext.kernels.rows import deletion
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["OneLevelRows", "SomeRows"]

# Rows that are worked on at once: what is made of them stays in cache.
SOME_ROWS = 2**13
NONE = np.zeros(0)


class SomeRows(NamedTuple):
    """Some rows.

    Attributes
    ----------
    code : ndarray
        Level, (n,).
    own, z : ndarray
        The random terms' columns in the units of the data and of the engine, (n, K).
    x : ndarray
        Columns of X in coordinates with X'V0^-1 X = I, (n, rank).
    marginal : ndarray
        Response less offset and fixed effects, (n,).
    """

    code: np.ndarray
    own: np.ndarray
    z: np.ndarray
    x: np.ndarray
    marginal: np.ndarray


class OneLevelRows:
    """The rows of a fit with one grouping factor.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    rows : ModelRows
        Its rows.

    Attributes
    ----------
    codes : ndarray
        Level of every row, (n,).
    half, effect : ndarray
        (L, K, K) and (L, K, rank): y = half'z, s = x - effect'z.
    modes : ndarray
        Conditional modes in the units of the data, (L, K).
    """

    def __init__(self, fitted: Fitted, rows: ModelRows):
        fit, errors = fitted.fit, joint_errors(fitted.fit)
        width = fit.design.blocks.lead_gram.shape[1]
        self._rows, self._kept, self._root = rows, fitted.fixed.kept, errors.root
        self._columns: list[np.ndarray | None] = [None] * width
        transform = np.zeros((width, width))
        for i, term in enumerate(rows.terms):
            assert isinstance(term, RandomTerm)
            self.codes = term.codes  # terms of one factor share them
            _, at = fit.objective.place[i]
            self._columns[at] = list(term.columns)
            transform[at, at] = fit.design.inverse_transforms[i]
        effect = errors.whitened[1]
        self._transform, self._coefficients = transform, fitted.fixed.coefficients
        self.modes = np.empty((len(errors.factor.half), width))
        for i, own in enumerate(fit.effects):
            self.modes[:, fit.objective.place[i][1]] = own
        self.half = errors.factor.half
        self.effect = effect.reshape(len(self.half), width, effect.shape[1])

    @classmethod
    def of(cls, fitted: Fitted) -> OneLevelRows | None:
        """The rows of a fit; None if some have several levels, or none."""
        rows, design = fitted.need_rows(), fitted.fit.design
        one = len(design.blocks.factors) == 1 and design.rotation is None
        if not (one and rows.terms and all(isinstance(t, RandomTerm) for t in rows.terms)):
            return None
        return cls(fitted, rows)

    def read(self, at: slice | np.ndarray) -> SomeRows:
        """Some of the rows."""
        code = np.ascontiguousarray(self.codes[at], np.int32)
        own = np.empty((len(code), len(self._columns)))
        for j, column in enumerate(self._columns):
            own[:, j] = 1.0 if column is None else column[at]
        exog = self._rows.exog[at]
        if len(self._kept) < exog.shape[1]:
            exog = exog[:, self._kept]
        x = np.ascontiguousarray(exog @ self._root)
        marginal = self._rows.endog[at] - exog @ self._coefficients
        if self._rows.offset is not None:
            marginal -= self._rows.offset[at]
        return SomeRows(code, own, own @ self._transform, x, marginal)

    def pieces(self) -> Iterator[tuple[slice, SomeRows]]:
        """All rows in their order, some at a time."""
        for start in range(0, len(self.codes), SOME_ROWS):
            at = slice(start, start + SOME_ROWS)
            yield at, self.read(at)

    def scores(
        self,
        rows: SomeRows,
        *,
        s: np.ndarray,
        whole: np.ndarray,
        fixed: np.ndarray,
        residual: np.ndarray = NONE,
    ) -> None:
        """Fill in s, the leverages without the weights and, if it has length, r."""
        if len(residual):
            residual[:] = rows.marginal
        deletion.level_rows(
            rows.code,
            rows.z,
            rows.x,
            self.half,
            self.effect,
            own=rows.own,
            modes=self.modes,
            residual=residual,
            s=s,
            whole=whole,
            fixed=fixed,
        )
