"""Responses and rows made of what a fit has: resampled residuals and modes, or cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg, sparse

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.algebra.roots import pivoted_root
from mixedext.engine.residual.estimate import ResidualEstimate
from mixedext.engine.residual.whitening import colored
from mixedext.inference.submodels.level_nesting import term_is_nested
from mixedext.limits import NO_OWN_VARIANCE, UNSPANNED_EFFECTS
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["CasesSampler", "ResidualSampler", "reflated"]


class ResidualSampler:
    """Responses from resampled, centred and reflated random effects and residuals.

    Parameters
    ----------
    terms : list of RandomTerm or SparseTerm
        The random terms with their rows.
    effects, covariances : sequence of ndarray
        Conditional modes (L, k), and covariances (k, k), of each term.
    mean : ndarray
        X beta, (n,).
    residuals : ndarray
        Response less offset, mean and effects, (n,).
    scale : float
        Residual variance.
    weights : ndarray or None
        Weights of the rows.
    residual : ResidualEstimate, optional
        The covariance of the residuals, of which the weights are a part: residuals are
        resampled as it whitens them.

    Raises
    ------
    ValueError
        If the modes of some term span fewer directions than its covariance has.

    References
    ----------
    Carpenter, Goldstein and Rasbash (2003), A novel bootstrap procedure for assessing the
    relationship between class size and achievement, Applied Statistics 52, 431-443.
    """

    def __init__(
        self,
        terms: Sequence[RandomTerm | SparseTerm],
        effects: Sequence[np.ndarray],
        covariances: Sequence[np.ndarray],
        mean: np.ndarray,
        residuals: np.ndarray,
        scale: float,
        weights: np.ndarray | None,
        residual: ResidualEstimate | None = None,
    ):
        self.terms, self.mean, self.residual = terms, mean, residual
        self.effects = []
        for term, modes, covariance in zip(terms, effects, covariances, strict=True):
            try:
                self.effects.append(reflated(modes, covariance))
            except np.linalg.LinAlgError:
                raise ValueError(
                    f"the {len(modes)} levels of {term.group!r} are too few, or their "
                    f"effects too much alike, to be given the covariance of its "
                    f"{modes.shape[1]} effects: use bootstrap_parametric"
                ) from None
        self.weights = weights
        self.root = None if weights is None else np.sqrt(weights)[:, None]
        if residual is not None:
            residuals = residual.whitened(residuals, weights)
        elif weights is not None:
            residuals = residuals * np.sqrt(weights)
        self.residuals = reflated(residuals[:, None], np.array([[scale]]))[:, 0]

    def __call__(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Responses less offset, (n, count)."""
        n = len(self.mean)
        noise = self.residuals[rng.integers(0, n, (n, count))]
        if self.residual is not None:
            y = colored(self.residual, noise, self.weights)
        else:
            y = noise if self.root is None else noise / self.root
        y += self.mean[:, None]
        for term, effect in zip(self.terms, self.effects, strict=True):
            drawn = effect[rng.integers(0, len(effect), (len(effect), count))]
            y += term.contribution(drawn.transpose(0, 2, 1))
        return y


def reflated(effects: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Effects, centred, and mapped so that their second moments are the covariance.

    With S = L L' the moments of the centred effects and Sigma = M M', Cholesky factors,
    b* = M L^-1 b.  Of a singular Sigma only effects that have variance beside one another
    are mapped; the others are their combinations.

    Raises
    ------
    LinAlgError
        If the effects do not span the others.
    """
    centred = effects - effects.mean(axis=0)
    correlation, unit = unit_diagonal(covariance)
    _, pivots = pivoted_root(correlation, NO_OWN_VARIANCE * max(len(unit), 1))
    if not len(pivots):
        return np.zeros_like(centred)
    own = np.sort(pivots)
    root = np.linalg.cholesky(covariance[np.ix_(own, own)])
    outward = linalg.solve_triangular(root, covariance[own], lower=True).T
    inner = (centred / unit)[:, own]
    moments = inner.T @ inner / len(inner)
    # k effects of k levels that sum to 0 lie in k - 1 dimensions, whatever rounding says
    spread = np.linalg.svd(inner, compute_uv=False)
    if len(inner) < len(moments) or spread[-1] <= UNSPANNED_EFFECTS * spread[0]:
        raise np.linalg.LinAlgError("the effects span fewer directions than S has")
    lower = np.linalg.cholesky(moments)
    return linalg.solve_triangular(lower, inner.T, lower=True).T @ outward.T


class CasesSampler:
    """Rows of whole levels of one grouping factor, drawn with replacement.

    A level that is drawn twice counts as two: all factors nested in it get new levels.

    Parameters
    ----------
    terms : list of RandomTerm or SparseTerm
        The random terms with their rows.
    codes : ndarray
        Level of each row in the factor that is resampled, (n,).
    within : bool
        Whether the rows of each level drawn are drawn with replacement too.

    Raises
    ------
    ValueError
        If some term is not nested in the factor: it names the term.
    """

    def __init__(
        self, terms: Sequence[RandomTerm | SparseTerm], codes: np.ndarray, within: bool
    ):
        self.terms, self.within = terms, within
        self.order = np.argsort(codes, kind="stable")
        self.start = np.concatenate([[0], np.cumsum(np.bincount(codes))])
        for term in terms:
            if not term_is_nested(term, codes):
                raise ValueError(
                    f"the random term {term.group!r} is crossed with the factor whose "
                    "levels are resampled; cases cannot be drawn independently. Use "
                    "bootstrap_residual or bootstrap_parametric"
                )

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a replicate, (n*,), and the number of the draw that each belongs to."""
        n_levels = len(self.start) - 1
        level = rng.integers(0, n_levels, n_levels)
        size = self.start[level + 1] - self.start[level]
        number = np.repeat(np.arange(n_levels), size)
        if self.within:
            place = (rng.random(len(number)) * size[number]).astype(np.intp)
        else:
            place = np.arange(len(number)) - np.repeat(np.cumsum(size) - size, size)
        return self.order[self.start[level][number] + place], number

    def terms_of(
        self, rows: np.ndarray, number: np.ndarray
    ) -> list[RandomTerm | SparseTerm]:
        """The random terms of the rows of a replicate."""
        return [_resampled(term, rows, number) for term in self.terms]


def _resampled(term, rows, number):
    if isinstance(term, SparseTerm):
        matrix = term.matrix[rows]
        drawn = np.repeat(number, np.diff(matrix.indptr))
        column = drawn * np.int64(term.n_levels) + matrix.indices
        levels, column = np.unique(column, return_inverse=True)
        shape = len(rows), len(levels)
        matrix = sparse.csr_array((matrix.data, column, matrix.indptr), shape=shape)
        return SparseTerm(matrix, group=term.group)
    codes = number * np.int64(term.n_levels) + term.codes[rows]
    z = np.ascontiguousarray(term.z[rows])
    return RandomTerm(codes, z, term.group, list(term.names), term.structure)
