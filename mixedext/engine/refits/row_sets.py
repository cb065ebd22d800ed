"""Sets of rows, and fits of a model without each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from mixedext.engine.fit import Fit

__all__ = ["DeletedFits", "RowSets"]


@dataclass(frozen=True, eq=False)
class RowSets:
    """Sets of rows, compressed; they may overlap.

    Attributes
    ----------
    pointers : ndarray of intp
        Rows before each set, (G + 1,).
    rows : ndarray of intp
        Numbers of the rows of all sets, (M,).

    Examples
    --------
    >>> import numpy as np
    >>> sets = RowSets.of_codes(np.array([1, 0, 1, -1]))
    >>> [sets[g].tolist() for g in range(len(sets))]
    [[1], [0, 2]]
    """

    pointers: np.ndarray
    rows: np.ndarray

    @classmethod
    def of_codes(cls, codes: np.ndarray, count: int | None = None) -> RowSets:
        """A set for each level of a factor.

        Parameters
        ----------
        codes : ndarray
            Number of the set of each row, (n,); negative for rows of none.
        count : int, optional
            Number of sets; all up to the highest code if None.
        """
        codes = np.asarray(codes)
        count = int(codes.max(initial=-1)) + 1 if count is None else count
        order = np.argsort(codes, kind="stable")
        pointers = np.searchsorted(codes[order], np.arange(count + 1))
        return cls(
            (pointers - pointers[0]).astype(np.intp),
            order[pointers[0] : pointers[-1]].astype(np.intp),
        )

    @classmethod
    def of_lists(cls, sets: Sequence[np.ndarray]) -> RowSets:
        """Sets of row numbers; a row counts once in each."""
        own = [np.unique(np.asarray(rows, np.intp)) for rows in sets]
        pointers = np.concatenate([[0], np.cumsum([len(rows) for rows in own])])
        rows = np.concatenate(own) if own else np.zeros(0)
        return cls(pointers.astype(np.intp), rows.astype(np.intp))

    def __len__(self) -> int:
        return len(self.pointers) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        return self.rows[self.pointers[number] : self.pointers[number + 1]]

    def part(self, start: int, stop: int) -> RowSets:
        """The sets numbered ``start`` to before ``stop``."""
        pointers = self.pointers[start : stop + 1]
        return RowSets(pointers - pointers[0], self.rows[pointers[0] : pointers[-1]])


@dataclass(frozen=True, eq=False)
class DeletedFits:
    """Fits without sets of rows, one entry a set; none is left out.

    Attributes
    ----------
    n_deleted : ndarray
        Rows of each set, (G,).
    coefficients : ndarray
        Of the columns kept of all rows, (G, p), in the units of the data.
    covariance : ndarray
        Their covariance sigma^2 (X'V0^-1 X)^-1, (G, p, p).
    scale : ndarray
        Residual variances, (G,).
    theta : ndarray
        Relative covariance factors of all terms, as ``Fit.theta``, (G, n_theta).
    log_likelihood : ndarray
        (Restricted) log-likelihoods of the rows left, with all constants, (G,).
    converged : ndarray
        Whether the fit ended at a minimum, (G,) bool; of one step, whether a further one
        would bring nothing.
    is_singular : ndarray
        Whether some variance is zero or some correlation +-1, (G,) bool.
    n_evaluations : ndarray
        Evaluations of the deviance by the search from theta of all rows, (G,), without
        those of looks for other minima.
    reason : ndarray
        Why there is no fit, (G,) of str, and estimates are NaN: the rows left do not
        identify the coefficients, or leave no variance, or the search has failed.  "" where
        there is one.
    one_step : bool
        Whether theta is one Newton step from that of all rows, not the minimum.
    """

    n_deleted: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    scale: np.ndarray
    theta: np.ndarray
    log_likelihood: np.ndarray
    converged: np.ndarray
    is_singular: np.ndarray
    n_evaluations: np.ndarray
    reason: np.ndarray
    one_step: bool = False

    @property
    def deviance(self) -> np.ndarray:
        """-2 (restricted) log-likelihoods, (G,)."""
        return -2.0 * self.log_likelihood

    def __len__(self) -> int:
        return len(self.scale)

    @classmethod
    def blank(cls, sets: RowSets, rank: int, n_theta: int, one_step: bool) -> DeletedFits:
        """No fit yet of any set: NaN, and not converged."""
        count = len(sets)
        return cls(
            n_deleted=np.diff(sets.pointers),
            coefficients=np.full((count, rank), np.nan),
            covariance=np.full((count, rank, rank), np.nan),
            scale=np.full(count, np.nan),
            theta=np.full((count, n_theta), np.nan),
            log_likelihood=np.full(count, np.nan),
            converged=np.zeros(count, bool),
            is_singular=np.zeros(count, bool),
            n_evaluations=np.zeros(count, np.intp),
            reason=np.full(count, "", object),
            one_step=one_step,
        )

    @classmethod
    def joined(cls, parts: Sequence[DeletedFits]) -> DeletedFits:
        """The fits of one block of sets after the other."""
        columns = {
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(cls)
            if f.name != "one_step"
        }
        return cls(**columns, one_step=parts[0].one_step)

    def clear(self, number: int, reason: str = "") -> None:
        """No fit of one set, and why."""
        for column in (self.coefficients, self.covariance, self.scale, self.theta):
            column[number] = np.nan
        self.log_likelihood[number], self.n_evaluations[number] = np.nan, 0
        self.converged[number] = self.is_singular[number] = False
        self.reason[number] = reason

    def put(self, number: int, fit: Fit) -> None:
        """Enter a fit of one set; no estimates where it is none."""
        verdict = fit.convergence
        if not (verdict.converged or self.one_step):
            self.clear(number, verdict.message)
            return
        self.coefficients[number] = fit.coefficients
        self.covariance[number] = fit.covariance
        self.scale[number], self.theta[number] = fit.scale, fit.theta
        self.log_likelihood[number] = fit.log_likelihood
        self.converged[number] = verdict.converged
        self.is_singular[number] = fit.is_singular
        self.n_evaluations[number] = _first_search(fit.optimum.records)
        self.reason[number] = ""


def _first_search(records):
    """Evaluations of the first of the searches of an optimum."""
    begins = np.flatnonzero((records[:, 2] == 0.0) & np.isnan(records[:, 3]))
    end = begins[1] if len(begins) > 1 else len(records)
    return np.count_nonzero(np.isfinite(records[:end, 2]))
