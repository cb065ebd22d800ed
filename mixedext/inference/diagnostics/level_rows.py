"""Rows each of which has the effects of one level of the only grouping factor.

They are read some at a time: nothing of their length is made that is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixedext.engine.information.joint_errors import joint_errors
from mixedext.fitted import Fitted, ModelRows
from mixedext.kernels.rows import deletion
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["OneLevelRows"]

# Rows that are worked on at once: what is made of them stays in cache.
SOME_ROWS = 2**13
NONE = np.zeros(0)


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
        self._transform = transform
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

    def values(self, at: slice | np.ndarray) -> np.ndarray:
        """The random terms' columns at some rows, in the engine's units, (rows, K)."""
        out = np.empty((len(self.codes[at]), len(self._columns)))
        for j, column in enumerate(self._columns):
            out[:, j] = 1.0 if column is None else column[at]
        return out @ self._transform

    def fixed_values(self, at: slice | np.ndarray) -> np.ndarray:
        """Columns of X in coordinates with X'V0^-1 X = I at some rows, (rows, rank)."""
        x = self._rows.exog[at]
        if len(self._kept) < x.shape[1]:
            x = x[:, self._kept]
        return np.ascontiguousarray(x @ self._root)

    def read(self, at: slice | np.ndarray) -> tuple[np.ndarray, ...]:
        """Level, z, x and s of some rows."""
        code = np.ascontiguousarray(self.codes[at], np.int32)
        z, x = self.values(at), self.fixed_values(at)
        return code, z, x, np.empty_like(x)

    def pieces(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray, tuple]]:
        """Rows in their order: which, their z and x, and what ``scores`` takes."""
        for start in range(0, len(self.codes), SOME_ROWS):
            at = slice(start, start + SOME_ROWS)
            own = self.read(at)
            yield at, own[1], own[2], own

    def scores(
        self,
        code: np.ndarray,
        z: np.ndarray,
        x: np.ndarray,
        s: np.ndarray,
        *,
        whole: np.ndarray,
        fixed: np.ndarray,
        square: np.ndarray = NONE,
    ) -> None:
        """Fill in s, the leverages without the weights and, if it has length, |s|^2."""
        deletion.level_rows(
            code,
            z,
            x,
            self.half,
            self.effect,
            s=s,
            whole=whole,
            fixed=fixed,
            square=square,
        )
