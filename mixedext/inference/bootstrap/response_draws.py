"""Responses drawn from a generalized mixed model, many at a time.

Random effects are Lam u with u standard normal, so that the linear predictors of all rows
are fixed part + (Z Lam) u: one product of a sparse matrix with a block of vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
from scipy import sparse

from mixedext.fitted import Fitted
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = [
    "ResponseDraws",
    "draws_of",
    "loadings",
    "random_variance",
    "response_of",
]

# Numbers of a block that are drawn at once.
AT_ONCE = 1_000_000


def loadings(
    terms: Sequence[RandomTerm | SparseTerm], lams: Sequence[np.ndarray], n: int
) -> sparse.csr_array:
    """Z Lam of all terms, (n, q): the terms' levels in their order, k columns each."""
    parts = [sparse.csr_array((n, 0))]
    for term, lam in zip(terms, lams, strict=True):
        if isinstance(term, SparseTerm):
            parts.append(term.matrix * float(lam[0, 0]))
            continue
        k = term.k
        values = term.z @ lam
        at = term.codes[:, None] * k + np.arange(k)
        inside = term.codes >= 0
        pointers = np.concatenate([[0], np.cumsum(k * inside)])
        entries = values[inside].ravel(), at[inside].ravel(), pointers
        parts.append(sparse.csr_array(entries, shape=(n, term.n_levels * k)))
    return sparse.csr_array(sparse.hstack(parts, format="csr"))


def random_variance(
    terms: Sequence[RandomTerm | SparseTerm], covariances: Sequence[np.ndarray], n: int
) -> np.ndarray:
    """Variance of the random part of every row, sum_t z_t' Sigma_t z_t, (n,)."""
    total = np.zeros(n)
    for term, covariance in zip(terms, covariances, strict=True):
        if isinstance(term, SparseTerm):
            total += term.row_lengths**2 * covariance[0, 0]
        elif term.names == ["Intercept"]:
            total += covariance[0, 0]
        else:
            total += np.einsum("na,ab,nb->n", term.z, covariance, term.z)
    return total


class ResponseDraws:
    """Draws of responses of a fitted generalized model.

    Parameters
    ----------
    family : Family
        Its family.
    response : RowResponse
        Rows: trials, weights.
    kappa : ndarray
        Logarithms of dispersions that are estimated.
    eta : ndarray
        Linear predictor that all draws share: without random effects, or with those that
        stay as they are, (n,).
    spread : csr_array or None
        Z Lam of the random effects that are drawn, (n, q); None if none are.
    """

    def __init__(
        self,
        family: Any,
        response: Any,
        kappa: np.ndarray,
        eta: np.ndarray,
        spread: sparse.csr_array | None,
    ):
        self.family, self.response, self.kappa = family, response, kappa
        self.eta, self.spread = eta, spread

    @property
    def nobs(self) -> int:
        """Number of rows."""
        return len(self.eta)

    @cached_property
    def _bernoulli(self) -> bool:
        trials = getattr(self.response, "trials", None)
        return trials is not None and bool((trials == 1).all())

    def predictors(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Linear predictors of some draws, (count, n)."""
        if self.spread is None or not self.spread.shape[1]:
            return np.broadcast_to(self.eta, (count, self.nobs))
        u = rng.standard_normal((count, self.spread.shape[1]))
        if count == 1:
            return (self.eta + self.spread @ u[0])[None]
        # a block of vectors side by side, so that each value of Z is read once
        drawn = self.spread @ np.ascontiguousarray(u.T)
        return np.ascontiguousarray(drawn.T) + self.eta

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Responses as the family counts them (of binomial, successes), (count, n)."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            mean = self.family.mean(self.predictors(count, rng))
        if self._bernoulli:
            return (rng.random(mean.shape) < mean).astype(float)
        return self.family.draw(mean, self.response, self.kappa, rng)

    def blocks(self, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Draws in blocks of some million numbers."""
        size = max(1, AT_ONCE // max(self.nobs, 1))
        for first in range(0, count, size):
            yield self.draw(min(size, count - first), rng)


def response_of(fitted: Fitted) -> Any:
    """The response of a generalized model as its likelihood has it: a RowResponse."""
    fitted.need_rows()
    return cast(Any, fitted.model).response


def draws_of(fitted: Fitted, conditional: bool = False) -> ResponseDraws:
    """What draws responses from a fit.

    Parameters
    ----------
    fitted : Fitted
        Of a generalized model.
    conditional : bool
        Whether the random effects stay the conditional modes.

    Raises
    ------
    ValueError
        If the rows are not in memory, or have frequency weights.
    """
    rows, response = fitted.need_rows(), response_of(fitted)
    if response.counts is not None and (response.counts != 1).any():
        raise ValueError(
            "rows with freq_weights stand for several, whose responses would differ when "
            "they are simulated: give each its own row"
        )
    own, estimate = fitted.generalized, fitted.fixed.estimate
    if conditional:
        eta, spread = rows.mean(estimate, fitted.fit.effects), None
    else:
        eta = rows.mean(estimate)
        spread = loadings(rows.terms, own.lams, len(eta))
    return ResponseDraws(own.family, response, own.kappa, eta, spread)
