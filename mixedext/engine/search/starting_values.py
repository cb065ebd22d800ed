"""Starting values by moments (Henderson's and Haseman and Elston's quadratic forms).

With M = I - QQ', V_r = Z E_r Z' and e the least-squares residual of y,

    E[e'V_r e] = sum_s gamma_s tr(M V_r M V_s) + sigma^2 tr(M V_r),

and e'e likewise; all of it is in the cross-products.  In balanced designs the solution
is the REML estimate itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from mixedext.engine.factor.templates import factor_bases, linear_bases
from mixedext.engine.rows.blocks import Blocks
from mixedext.engine.rows.levels import LevelSums, level_sums
from mixedext.kernels.factor.links import multiply_links
from mixedext.kernels.factor.triangles import clipped_root
from mixedext.kernels.rows import pair_sums
from mixedext.kernels.rows.moments import level_moments
from mixedext.limits import (
    LEAST_SIGMA,
    MOMENTS_RANK,
    NO_MOMENT,
    SIGMA_SHARE,
    START_CEILING,
    START_FLOOR,
)
from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.covariance.term_structure import TermStructure

__all__ = [
    "covariance_grams",
    "moment_covariances",
    "one_factor_moments",
    "several_moments",
    "solve_moments",
    "start_of",
    "within_start",
]

# Products of Z'Z with more vectors than this would cost more than they save.
MOST_VECTORS = 400
# Sums of squares of as many columns are cheap for one grouping factor.
MOST_COLUMNS = 100
# Numbers in the pair sums of one factor that are no burden.
MOST_PAIR_SUMS = 2e6
# Standard deviations of all effects, relative to sigma, at which the fixed effects are
# those within levels.
WITHIN_SIZE = 1e3


def moment_covariances(
    blocks: Blocks, structures: Sequence[LinearStructure], sums: LevelSums | None = None
) -> list[np.ndarray] | None:
    """Moment estimates of the relative covariances Sigma / sigma^2 of all terms.

    Parameters
    ----------
    blocks : Blocks
        Cross-products, with an orthonormal X.
    structures : list of Structure
        One for each term.
    sums : LevelSums, optional
        Levels of the only grouping factor, pooled.

    Returns
    -------
    list of ndarray or None
        Symmetric (k, k), possibly not positive definite; None where the moments would
        cost more than they save.
    """
    if blocks.within is not None:
        return _one_factor(blocks, structures, sums)
    moments = several_moments(blocks, structures)
    if moments is None:
        return None
    rank, square = blocks.n_fixed - 1, blocks.fixed_gram[-1, -1]
    y = blocks.lead_cross[None, ..., rank], blocks.tail_cross[None, :, rank]
    gamma, sigma = solve_moments(moments.system, moments.right(*y, square)[:, 0])
    square = square / blocks.nobs
    sigma = max(sigma, LEAST_SIGMA * square) if sigma > 0 else SIGMA_SHARE * square
    found = [own[0] for own in moments.covariances(gamma[:, None] / sigma)]
    unknown = _unknown(moments.system, blocks.nobs)
    if unknown.any():
        by_term = moments.by_term(unknown)
        _put_one(found, structures, [by_term[i] for i in range(len(structures))])
    return found


def _unknown(system, nobs):
    """Elements of gamma on which the moments say nothing: X takes in what they multiply."""
    return system.diagonal()[:-1] <= NO_MOMENT * nobs


def _put_one(covariances, structures, unknown):
    """Unknown variances are one, in place: the search will leave them where they are."""
    for covariance, s, none in zip(covariances, structures, unknown, strict=True):
        on_diagonal = np.einsum("raa->ra", s.covariance_basis) != 0
        open_ = on_diagonal.any(axis=0) & ~on_diagonal[~none].any(axis=0)
        covariance[open_] = covariance[:, open_] = 0.0
        covariance[open_, open_] = 1.0


def start_of(
    structures: Sequence[TermStructure], covariances: Sequence[np.ndarray]
) -> np.ndarray:
    """Theta of relative covariances of all terms, made positive definite."""
    parts = []
    for s, covariance in zip(structures, covariances, strict=True):
        # of the structure and positive definite: its Cholesky factor fits the template
        lam = np.empty_like(covariance)
        clipped_root(covariance, START_FLOOR, START_CEILING, lam)
        parts.append(s.theta(lam) if s.linear else s.start(lam @ lam.T))
    return np.concatenate(parts)


def within_start(
    moments: SeveralMoments, structures: Sequence[LinearStructure], within: np.ndarray
) -> np.ndarray:
    """Start from the moments of y less the fixed effects within levels.

    Where what varies between levels has another slope than what varies within, least
    squares hide the variance between levels that the second would leave.

    Parameters
    ----------
    moments : SeveralMoments
        The equations.
    structures : list of Structure
        One for each term.
    within : ndarray
        Coefficients on the orthonormal basis of X at ``WITHIN_SIZE``, (rank,).
    """
    blocks = moments.blocks
    residual = np.append(-within, 1.0)
    right = moments.right(
        (blocks.lead_cross @ residual)[None],
        (blocks.tail_cross @ residual)[None],
        blocks.fixed_gram[-1, -1] + float(within @ within),
    )
    gamma, sigma = solve_moments(moments.known, right[:, 0])
    if not sigma > 0:
        sigma = SIGMA_SHARE * right[-1, 0] / blocks.nobs
    covariances = moments.covariances(gamma[:, None] / sigma)
    return start_of(structures, [own[0] for own in covariances])


class SeveralMoments:
    """The moment equations of a model with several grouping factors.

    All but the right-hand side depends on Z and X alone.

    Parameters
    ----------
    blocks : Blocks
        Cross-products.
    structures : list of Structure
        One for each term.
    bases : list of ndarray
        For each factor its elements of gamma as matrices, (count, K, K).

    Attributes
    ----------
    system : ndarray
        (n_gamma + 1, n_gamma + 1), in the order of the factors, sigma^2 last.
    known : ndarray
        The same for residuals about known fixed effects.
    """

    def __init__(
        self, blocks: Blocks, structures: Sequence[LinearStructure], bases: list[np.ndarray]
    ):
        self.blocks, self.structures = blocks, structures
        count, rank = sum(len(b) for b in bases), blocks.n_fixed - 1
        number = np.repeat(np.arange(len(bases)), [len(b) for b in bases])
        self.rows = _flat(blocks, bases)
        self.system = system = covariance_grams(blocks, bases)
        self.known = system.copy()
        crosses = [blocks.level_crosses(f) for f in range(len(bases))]
        if rank:
            system[:count, :count] += _projection(blocks, bases, crosses, rank)
        for r, e in enumerate(e for b in bases for e in b):
            x = crosses[number[r]][..., :rank]
            system[r, count] -= np.sum(x * (e @ x))
            system[count, r] = system[r, count]
        system[count, count] -= rank

    def right(
        self, lead: np.ndarray, tail: np.ndarray, square: float | np.ndarray
    ) -> np.ndarray:
        """Right-hand sides for residuals r with r'r = ``square``: (n_gamma + 1, R).

        Parameters
        ----------
        lead, tail : ndarray
            Z'r, (R, L, K) and (R, m).
        square : float or ndarray
            Sum of squares, of all or of each, (R,).
        """
        parts = [lead]
        for f in range(len(self.rows) - 1):
            parts.append(tail[:, self.blocks.tail_columns(f)])
        out = [
            rows @ (y.transpose(0, 2, 1) @ y).reshape(len(y), -1).T
            for rows, y in zip(self.rows, parts, strict=True)
        ]
        return np.concatenate([*out, np.broadcast_to(square, (1, len(lead)))])

    def covariances(self, gamma: np.ndarray) -> list[np.ndarray]:
        """Covariances of each term from gamma (n_gamma, R): (R, k, k)."""
        found = self.by_term(gamma)
        return [s.covariance(found[term].T) for term, s in enumerate(self.structures)]

    def by_term(self, gamma: np.ndarray) -> dict[int, np.ndarray]:
        """Elements of gamma (n_gamma, ...) of each term."""
        found: dict[int, np.ndarray] = {}
        start = 0
        for layout in self.blocks.factors:
            for term in layout.terms:
                count = self.structures[term].n_gamma
                found[term] = gamma[start : start + count]
                start += count
        return found


def _flat(blocks, bases):
    """Elements of gamma of each factor as rows, (count, K^2)."""
    return [
        b.reshape(len(b), f.width**2) for f, b in zip(blocks.factors, bases, strict=True)
    ]


def covariance_grams(blocks: Blocks, bases: list[np.ndarray]) -> np.ndarray:
    """tr(V_r V_s) and tr(V_r) of all elements of gamma, sigma^2 last: V_r is then I.

    Parameters
    ----------
    blocks : Blocks
        Cross-products.
    bases : list of ndarray
        For each factor its elements of gamma as matrices, (count, K, K).

    Returns
    -------
    ndarray
        (n_gamma + 1, n_gamma + 1), in the order of the factors.
    """
    number = np.repeat(np.arange(len(bases)), [len(b) for b in bases])
    count, pairs, rows = len(number), _pair_sums(blocks), _flat(blocks, bases)
    out = np.zeros((count + 1, count + 1))
    for f, own in enumerate(rows):
        for g, other in enumerate(rows):
            if len(own) and len(other):
                both = pairs[f, g].reshape(own.shape[1], other.shape[1])
                out[np.ix_(number == f, number == g)] = own @ both @ other.T
        trace = own @ blocks.level_grams(f).sum(axis=0).ravel()
        out[:-1, -1][number == f] = out[-1, :-1][number == f] = trace
    out[count, count] = blocks.nobs
    return out


def several_moments(
    blocks: Blocks, structures: Sequence[LinearStructure]
) -> SeveralMoments | None:
    """The equations; None where they would cost more than they save."""
    if max(f.width for f in blocks.factors) ** 4 > MOST_PAIR_SUMS:
        return None
    bases = [basis for _, basis in factor_bases(structures, blocks.factors)]
    count, rank = sum(len(b) for b in bases), blocks.n_fixed - 1
    if count * max(rank, 1) > MOST_VECTORS:
        return None
    return SeveralMoments(blocks, structures, bases)


class OneFactorMoments:
    """The moment equations of a model with one grouping factor.

    All but the right-hand side depends on Z and X alone.

    Parameters
    ----------
    blocks : Blocks
        Cross-products.
    structures : list of Structure
        One for each term.
    sums : LevelSums
        Levels, pooled perhaps.

    Attributes
    ----------
    basis : ndarray
        Every element of gamma as a flat (K, K) matrix, (n_gamma, K^2).
    system : ndarray
        (n_gamma + 1, n_gamma + 1), sigma^2 last.
    right : ndarray
        (n_gamma + 1,)
    """

    def __init__(
        self, blocks: Blocks, structures: Sequence[LinearStructure], sums: LevelSums
    ):
        width, rank = blocks.lead_gram.shape[1], blocks.n_fixed - 1
        grams, squares, projections, products = level_moments(
            sums.gram, sums.cross, sums.weight
        )
        pair, outer = _pair_numbers(width)
        basis = linear_bases(tuple(structures)).reshape(-1, width * width)
        self.basis = basis
        count = len(basis)
        system, right = np.empty((count + 1, count + 1)), np.empty(count + 1)
        # tr(V_r V_s) - 2 tr(a'E_r A E_s a), a = Z'Q
        both = (squares - projections - projections.T)[outer]
        own = products.reshape(width, rank + 1, width, rank + 1).transpose(0, 2, 1, 3)
        own = np.ascontiguousarray(own).reshape(width * width, -1)
        inner = (basis @ own).reshape(count, rank + 1, rank + 1)
        right[:count] = inner[:, rank, rank]
        inner = inner[:, :rank, :rank].reshape(count, -1)
        system[:count, :count] = basis @ both @ basis.T + inner @ inner.T
        traces = basis @ grams[pair].ravel() - inner[:, :: rank + 1].sum(axis=1)
        system[:count, count] = system[count, :count] = traces
        system[count, count] = blocks.nobs - rank
        right[count] = blocks.fixed_gram[rank, rank]
        self.system, self.right, self.nobs = system, right, blocks.nobs
        self.slices = blocks.factors[0].slices

    def solve(self) -> list[np.ndarray]:
        """Covariance of each term, relative to sigma^2, (k, k)."""
        gamma, sigma = solve_moments(self.system, self.right)
        square = self.right[-1] / self.nobs
        sigma = max(sigma, LEAST_SIGMA * square) if sigma > 0 else SIGMA_SHARE * square
        return [own[0] for own in self.covariances(gamma[:, None] / sigma)]

    def right_of(self, lead: np.ndarray) -> np.ndarray:
        """Right-hand sides for other residuals of mean square one, Z'r (R, L, K)."""
        out = np.empty((len(self.basis) + 1, len(lead)))
        squares = lead.transpose(0, 2, 1) @ lead
        out[:-1] = self.basis @ squares.reshape(len(lead), -1).T
        out[-1] = self.nobs
        return out

    def covariances(self, gamma: np.ndarray) -> list[np.ndarray]:
        """Covariances of each term from gamma (n_gamma, R): (R, k, k)."""
        width = math.isqrt(self.basis.shape[1])
        whole = (gamma.T @ self.basis).reshape(-1, width, width)
        return [whole[:, at, at] for at in self.slices]


def one_factor_moments(
    blocks: Blocks, structures: Sequence[LinearStructure], sums: LevelSums
) -> OneFactorMoments | None:
    """The equations; None where they would cost more than they save."""
    columns = blocks.lead_gram.shape[1] * blocks.n_fixed
    vectors = sum(s.n_gamma for s in structures) * (blocks.n_fixed - 1)
    if columns > MOST_COLUMNS and vectors > MOST_VECTORS:
        return None
    return OneFactorMoments(blocks, structures, sums)


def _one_factor(blocks, structures, sums):
    moments = one_factor_moments(
        blocks, structures, level_sums(blocks) if sums is None else sums
    )
    if moments is None:
        return None
    found = moments.solve()
    unknown = _unknown(moments.system, blocks.nobs)
    if unknown.any():
        ends = np.cumsum([s.n_gamma for s in structures])[:-1]
        _put_one(found, structures, np.split(unknown, ends))
    return found


@lru_cache(maxsize=64)
def _pair_numbers(width):
    """Number of the pair of every (a, b); where (a b, c d) stands by pairs (ac, bd)."""
    a, b = np.indices((width, width))
    high, low = np.maximum(a, b), np.minimum(a, b)
    pair = high * (high + 1) // 2 + low
    first, second = pair[:, None, :, None], pair[None, :, None, :]
    first, second = np.broadcast_arrays(first, second)
    square = width * width
    return pair, (first.reshape(square, square), second.reshape(square, square))


def _pair_sums(blocks):
    """sum over pairs of levels of A_lm kron A_lm, for all pairs of grouping factors.

    Entry [a, b, c, d] of the pair (f, g) is the sum of A[(l, a), (m, c)] A[(l, b), (m, d)].
    They are kept with the blocks: what is determined is asked before the fit starts.
    """
    made = vars(blocks).get("_pair_sums")
    if made is None:
        made = vars(blocks)["_pair_sums"] = _sum_pairs(blocks)
    return made


def _sum_pairs(blocks):
    widths = [f.width for f in blocks.factors]
    sums = {}
    flat = blocks.lead_gram.reshape(-1, widths[0] ** 2)
    own = (flat.T @ flat).reshape([widths[0]] * 4)
    sums[0, 0] = own.transpose(0, 2, 1, 3)  # pairs (a, c), (b, d)
    if len(widths) == 1:
        return sums
    count, k = len(widths) - 1, max(widths[1:])
    layout = blocks.level_start, blocks.level_factor
    level_of = np.repeat(
        np.arange(len(blocks.level_factor), dtype=np.intp), np.diff(blocks.level_start)
    )
    links = np.empty((count, k, k, widths[0], widths[0]))
    pair_sums.pair_sums_links(
        blocks.link_index, *layout, level_of, blocks.link_value, links
    )
    tail = np.empty((count, count, k, k, k, k))
    if blocks.pattern is None:
        pair_sums.pair_sums_dense(blocks.tail_gram, *layout, tail)
    else:
        p = blocks.pattern
        pair_sums.pair_sums_sparse(
            p.pointers, p.rows, *layout, level_of, blocks.tail_gram, np.empty(k * k), tail
        )
    for f, width in enumerate(widths[1:]):
        sums[f + 1, 0] = links[f, :width, :width]
        sums[0, f + 1] = sums[f + 1, 0].transpose(2, 3, 0, 1)
        for g, other in enumerate(widths[1:]):
            sums[f + 1, g + 1] = tail[f, g, :width, :width, :other, :other]
    return sums


def _projection(blocks, bases, crosses, rank):
    """What M takes off tr(V_r V_s): -2 tr(a'E_r A E_s a) + tr(a'E_r a a'E_s a), a = Z'Q."""
    flat = [(f, e) for f, own in enumerate(bases) for e in own]
    weighted = [e @ crosses[f][..., :rank] for f, e in flat]
    n_lead = len(bases[0]) * rank
    lead_weight = np.empty((*blocks.lead_gram.shape[:2], n_lead))
    tail_weight = np.zeros((blocks.tail_size, len(flat) * rank - n_lead))
    for r, (f, _) in enumerate(flat):
        if f == 0:
            lead_weight[:, :, r * rank : (r + 1) * rank] = weighted[r]
        else:
            at = slice(r * rank - n_lead, (r + 1) * rank - n_lead)
            tail_weight[blocks.tail_columns(f - 1), at] = weighted[r]
    twice = _quadratic(blocks, lead_weight, tail_weight)
    inner = [
        np.tensordot(crosses[f][..., :rank], weighted[r], ((0, 1), (0, 1)))
        for r, (f, _) in enumerate(flat)
    ]
    out = np.empty((len(flat), len(flat)))
    for r in range(len(flat)):
        for t in range(len(flat)):
            block = twice[r * rank : (r + 1) * rank, t * rank : (t + 1) * rank]
            out[r, t] = np.sum(inner[r] * inner[t].T) - 2 * np.trace(block)
    return out


def _quadratic(blocks, lead_weight, tail_weight):
    """w'Z'Z w for vectors on the leading factor followed by vectors on the tail."""
    n_levels, width, n_lead = lead_weight.shape
    n_tail = tail_weight.shape[1]
    flat = lead_weight.reshape(n_levels * width, n_lead)
    out = np.empty((n_lead + n_tail,) * 2)
    out[:n_lead, :n_lead] = flat.T @ (blocks.lead_gram @ lead_weight).reshape(flat.shape)
    if n_tail:
        image = np.empty((n_levels, width, n_tail))
        links = blocks.link_pointers, blocks.link_index, blocks.link_value
        multiply_links(*links, tail_weight, image)
        cross = flat.T @ image.reshape(-1, n_tail)
        out[:n_lead, n_lead:], out[n_lead:, :n_lead] = cross, cross.T
        out[n_lead:, n_lead:] = tail_weight.T @ blocks.multiply_tail_gram(tail_weight)
    return out


def solve_moments(system: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, Any]:
    """Solve the moment equations, for one right side or several in columns.

    Least squares where they are singular.
    """
    size = np.sqrt(np.maximum(np.abs(system.diagonal()), 1e-300))
    scaled = system / (size[:, None] * size)
    solution = np.linalg.lstsq(scaled, (right.T / size).T, rcond=MOMENTS_RANK)[0].T / size
    solution = solution.T
    return solution[:-1], solution[-1]
