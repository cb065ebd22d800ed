"""Products and traces of a factor in given directions of the covariances.

A direction is a symmetric matrix E_r for each level of one grouping factor; N, T and B_r
are those of ``engine.information.expected``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixedext.engine.factor.factor import Factor
from mixedext.engine.factor.tail_traces import (
    divided_roots,
    reduced_links,
    tail_traces,
    trace_products,
)
from mixedext.kernels.deviance import expected
from mixedext.kernels.factor import lead

__all__ = ["DirectionLevels", "direction_products", "direction_traces"]

# Numbers in a slab of levels of the leading factor (256 KB: it stays in cache).
SLAB_SIZE = 2**15


class DirectionLevels:
    """Levels of one factor, some at a time."""

    def __init__(self, gram: np.ndarray, lam: np.ndarray, basis: np.ndarray, n_fixed: int):
        self.gram, self.lam, self.basis = gram, np.ascontiguousarray(lam), basis
        r, a, b = np.nonzero(basis)
        self.elements = (*(np.ascontiguousarray(i, np.intp) for i in (r, a, b)),)
        self.elements += (basis[r, a, b],)
        k, width = gram.shape[1], len(basis) * n_fixed
        self.step = max(1, SLAB_SIZE // (k * max(width, k)))
        self.width = width

    def slabs(
        self, cross: np.ndarray, response: np.ndarray | None = None
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """First level, N_l, T_l, E_r T_l and H_l E_r T_l of some levels at a time.

        T_l from ``cross``, Z_l'[X y], or as given; E_r T_l only in that case.  The arrays
        are those of the next levels too.
        """
        k, width = self.gram.shape[1], self.width
        step = min(self.step, len(self.gram))
        buffers = [
            np.empty((step, k, columns)) for columns in (k, k, cross.shape[2], width)
        ]
        wide = np.empty((0 if response is None else step, k, width))
        for start in range(0, len(self.gram), self.step):
            gram = self.gram[start : start + self.step]
            own = cross[start : start + self.step]
            root, inner, found, rooted = (buffer[: len(gram)] for buffer in buffers)
            weighted = wide[: len(gram)]
            expected.reduced_products(gram, own, self.lam, root, inner, found)
            if response is not None:
                found = np.ascontiguousarray(response[start : start + self.step])
            expected.weigh_responses(*self.elements, found, root, weighted, rooted)
            yield start, inner, found, weighted, rooted


def direction_traces(
    factor: Factor, numbers: list[np.ndarray], bases: list[np.ndarray]
) -> np.ndarray:
    """tr(B_r N B_s N) for any symmetric matrices, (n, n), engine's units.

    Parameters
    ----------
    factor : Factor
        It stands at the covariances.
    numbers, bases : list of ndarray
        For each grouping factor the numbers of its directions, and these as matrices
        (count, width, width).
    """
    *_, traces, _ = direction_products(factor, numbers, bases, 1)
    return (traces + traces.T) / 2


def direction_products(
    factor: Factor, numbers: list[np.ndarray], bases: list[np.ndarray], n_fixed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """T'B_r T, T'B_r N B_s T, tr(B_r N B_s N) and tr(B_r N).

    T of the first ``n_fixed`` columns of [X y]; arguments are those of
    ``direction_traces``.
    """
    count = sum(map(len, numbers))
    inner, traces = np.empty(count), np.empty((count, count))
    first, second, own, inner[numbers[0]] = _products(factor, bases, n_fixed)
    traces[np.ix_(numbers[0], numbers[0])] = own
    if len(bases) > 1:
        shares = tail_traces(factor, bases)
        traces[np.ix_(numbers[0], numbers[0])] += shares.lead
        for f, at in enumerate(numbers[1:]):
            inner[at] = shares.single[f]
            traces[np.ix_(numbers[0], at)] = shares.mixed[f]
            traces[np.ix_(at, numbers[0])] = shares.mixed[f].T
            for g, other in enumerate(numbers[1:]):
                traces[np.ix_(at, other)] = shares.tail[f][g]
    order = np.argsort(np.concatenate(numbers))
    return first[order], second[np.ix_(order, order)], traces, inner


def _products(factor: Factor, bases, n_fixed):
    """Products of [X y], elements by factor, and the lead's own share of the traces."""
    blocks, tail = factor.blocks, factor.tail
    responses = factor.response.response
    lead_response, tail_response = (part[..., :n_fixed] for part in responses)
    count, k = len(bases[0]), bases[0].shape[1]
    width = count * n_fixed
    levels = DirectionLevels(blocks.lead_gram, factor.lead_lam, bases[0], n_fixed)
    through = factor.tail.link_quadratic(factor._shrinkage[0], by_level=True)
    first_lead = np.zeros((n_fixed, width))
    second_lead = np.zeros((width, width))
    products, total = np.zeros((k * k, k * k)), np.zeros(k * k)
    on_tail = np.zeros((tail.size, width))
    edge = reduced_links(factor)
    empty = np.empty((*blocks.lead_gram.shape[:2], 0))
    for start, own, found, weighted, rooted in levels.slabs(empty, lead_response):
        stop = start + len(own)
        first_lead += found.reshape(-1, n_fixed).T @ weighted.reshape(-1, width)
        rooted = rooted.reshape(-1, width)
        second_lead += rooted.T @ rooted
        pointers = blocks.link_pointers[start : stop + 1]
        lead.reduce_cross(pointers, blocks.link_index, edge, weighted, on_tail)
        share = through[start:stop].reshape(len(own), -1)
        rest = own.reshape(len(own), -1) - share
        products += rest.T @ rest - share.T @ share
        total += rest.sum(axis=0)
    on_tail *= -1.0  # what the kernel subtracts is wanted
    # elements of the tail's factors
    first, weights = [first_lead.reshape(n_fixed, count, n_fixed).transpose(1, 0, 2)], []
    for f, basis in enumerate(bases[1:]):
        rows = blocks.tail_columns(f)
        response = tail_response[rows]
        for e in basis:
            weight = np.zeros((tail.size, n_fixed))
            weight[rows] = np.einsum("ab,lbj->laj", e, response)
            first.append((tail_response.T @ weight)[None])
            weights.append(weight)
    weight = np.hstack([np.zeros((tail.size, 0)), *weights])
    second = np.empty((width + weight.shape[1],) * 2)
    second[:width, :width] = second_lead
    _second_of_tail(factor, on_tail, weight, second, width)
    whole = len(second) // n_fixed
    second = second.reshape(whole, n_fixed, whole, n_fixed).transpose(0, 2, 1, 3)
    own = trace_products(bases[0], bases[0], products.reshape(k, k, k, k))
    single = np.einsum("rab,ab->r", bases[0], total.reshape(k, k))
    return np.concatenate(first), second, own, single


def _second_of_tail(factor, on_tail, weight, second, width):
    """Add w'N w of vectors in the lead that reach the tail, and of vectors in the tail.

    ``on_tail`` is Z_2'V_1^-1 Z w of the former.
    """
    tail, blocks = factor.tail, factor.blocks
    lead_half = tail.lam_times(on_tail, transpose=True)
    tail.solve(lead_half)
    second[:width, :width] -= lead_half.T @ lead_half
    divided = divided_roots(factor)
    if divided is None:
        image = tail.multiply_reduced(weight)
        half = tail.lam_times(image, transpose=True)
        tail.solve(half)
        second[:width, width:] = on_tail.T @ weight - lead_half.T @ half
        second[width:, width:] = weight.T @ image
    else:
        half = np.empty_like(weight)
        for f, root in enumerate(divided):
            rows = blocks.tail_columns(f)
            half[rows] = np.einsum("ba,lbj->laj", root, weight[rows])
        second[width:, width:] = half.T @ half
        tail.solve(half)
        second[:width, width:] = lead_half.T @ half
    second[width:, width:] -= half.T @ half
    second[width:, :width] = second[:width, width:].T
