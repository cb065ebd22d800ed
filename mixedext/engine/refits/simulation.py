"""Parametric simulation by sufficient statistics, and refits of what is simulated.

Given Z and X a response enters only as Z'y, Q'y and y'y (Q: orthonormal basis of X).  With
one grouping factor and y = Zb + e, in units of sigma,

    Z_l'y ~ N(0, A_l Sigma A_l + A_l),    Q'y | Z'y ~ N(Q'P_Z y, Q'(I - P_Z)Q),
    y'y = |P_[Z X] y|^2 + chi^2 with n - rank [Z X] degrees of freedom,

exactly, so no replicate needs a vector of the length of the data.  The parts between and
within levels are drawn each by itself and stay apart, so that none is lost where one
variance dwarfs the other.  X beta is added to the estimates: what is left of y after X
does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mixedext.algebra.roots import pivoted_root
from mixedext.engine.fit import Fit
from mixedext.engine.refits.batches import OneFactorBatch
from mixedext.engine.refits.refit import RefitColumns, in_turn, joined
from mixedext.engine.refits.spectral import SpectralFits, spectral_pays
from mixedext.engine.rows.levels import split_sums
from mixedext.kernels.deviance.response_sums import draw_responses
from mixedext.limits import UNSPANNED_FIXED

__all__ = ["Sampler", "generator_of", "simulate_fits", "spawn_seeds"]

# Numbers of a block of replicates.  Each block has a random stream of its own, so the
# size is part of what a seed means.
BLOCK_SIZE = 100_000


class Sampler:
    """Sufficient statistics of responses simulated from a fit.

    Parameters
    ----------
    fit : Fit
        A fit with one grouping factor.
    """

    def __init__(self, fit: Fit):
        design = fit.design
        blocks = design.blocks
        if blocks.within is None or design.is_curved:
            raise NotImplementedError(
                "simulation by sufficient statistics needs a model with one grouping "
                "factor of few columns, and covariances linear in their parameters"
            )
        self.fit, self.nobs = fit, blocks.nobs
        rank, width = design.basis.rank, blocks.lead_gram.shape[1]
        lam = np.zeros((width, width))
        inner = design.lams(fit.optimum.theta)
        for own, at in zip(inner, blocks.factors[0].slices, strict=True):
            lam[at, at] = own
        self.triangle, self.half = split_sums(blocks.lead_gram, blocks.lead_cross)
        pivot = np.einsum("lii->li", self.triangle)
        kept, self.size = pivot > 0, np.sqrt(pivot)
        # Z_l y = (orthonormal basis of Z_l) f_l with f_l ~ N(0, I + B B')
        unit = np.where(np.eye(width, dtype=bool), 1.0, self.triangle)
        image = self.size[:, :, None] * (unit @ lam)
        self.root = _stable_root(image) * kept[:, :, None]
        inverse = np.divide(1.0, self.size, out=np.zeros_like(self.size), where=kept)
        self.projection = np.ascontiguousarray(self.half[..., :rank] * inverse[..., None])
        root, pivots = pivoted_root(blocks.within.products[:rank, :rank], UNSPANNED_FIXED)
        self.fixed_root = np.ascontiguousarray(root)
        self.dof = blocks.nobs - int(kept.sum()) - len(pivots)
        self.n_normal = kept.size + len(pivots)

    def draw(
        self, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        """Sufficient statistics of ``count`` responses, in the engine's units.

        Returns
        -------
        lead : ndarray
            Z'r / y_scale, (count, L, K).
        least_squares : ndarray
            Q'y for beta = 0 and sigma = 1, (count, rank).
        y_scale : ndarray
            Root mean square of r = y - QQ'y, (count,).
        parts : tuple of ndarray
            y / y_scale split into C and W, and -Q'y / y_scale, see
            ``OneFactorBatch.fit_statistics``.
        """
        shape, rank = (count, *self.size.shape), len(self.fixed_root)
        lead, half, within = np.empty(shape), np.empty(shape), np.empty((count, rank + 1))
        least_squares, y_scale = np.empty((count, rank)), np.empty(count)
        normal = rng.standard_normal((count, self.n_normal))
        rest = rng.chisquare(self.dof, count) if self.dof > 0 else np.zeros(count)
        draw_responses(
            normal,
            rest,
            root=self.root,
            triangle=self.triangle,
            half=self.half,
            size=self.size,
            projection=self.projection,
            fixed_root=self.fixed_root,
            nobs=float(self.nobs),
            lead=lead,
            out=half,
            within=within,
            on_basis=least_squares,
            y_scale=y_scale,
        )
        shift = -least_squares / y_scale[:, None]
        return lead, least_squares, y_scale, (half, within, shift)


def _stable_root(image):
    """Cholesky factors of I + B B', from triangles of [I B'] so that nothing cancels."""
    count, width, _ = image.shape
    identity = np.broadcast_to(np.eye(width), (count, width, width))
    both = np.concatenate([identity, image.transpose(0, 2, 1)], 1)
    # the stub knows no mode="r"
    upper: np.ndarray = np.linalg.qr(both, mode="r")  # type: ignore[assignment]
    sign = np.where(np.einsum("lii->li", upper) < 0, -1.0, 1.0)
    return np.ascontiguousarray((upper * sign[:, :, None]).transpose(0, 2, 1))


def simulate_fits(
    fit: Fit,
    n: int,
    rng: np.random.Generator | int | None = None,
    reml: bool | None = None,
    run: Callable = in_turn,
) -> RefitColumns:
    """Simulate from a fit and fit the model to what was simulated.

    Parameters
    ----------
    fit : Fit
        A fit with one grouping factor: its estimates are the truth.
    n : int
        Number of responses.
    rng : Generator or int, optional
        Source of random numbers; results do not depend on ``run``.
    reml : bool, optional
        Criterion of the refits; that of ``fit`` if None.
    run : callable, optional
        Maps a function over blocks, in order.

    Returns
    -------
    RefitColumns
    """
    reml = fit.reml if reml is None else reml
    design, sigma = fit.design, np.sqrt(fit.scale)
    true = _on_basis(design, fit.coefficients)
    if spectral_pays(design, n):
        spectral = SpectralFits(design, reml)
        n_normal = spectral.n_normal
    else:
        spectral, sampler, batch = None, Sampler(fit), OneFactorBatch(design, reml)
        n_normal = sampler.n_normal
    size = max(1, BLOCK_SIZE // n_normal)
    counts = [min(size, n - start) for start in range(0, n, size)]
    seeds = spawn_seeds(rng, len(counts))

    def work(block: tuple[int, np.random.SeedSequence]) -> tuple[np.ndarray, ...]:
        count, seed = block
        if spectral is not None:
            w, rest, fixed = spectral.draw(fit, count, np.random.default_rng(seed))
            return spectral.columns(w, rest, true + sigma * fixed, sigma)
        lead, least_squares, y_scale, parts = sampler.draw(
            count, np.random.default_rng(seed)
        )
        return batch.fit_statistics(
            lead, true + sigma * least_squares, sigma * y_scale, parts
        )[0]

    parts = run(work, list(zip(counts, seeds, strict=True)))
    return joined(parts)


def generator_of(rng: Any) -> np.random.Generator:
    """The generator of an ``rng`` argument.

    Raises
    ------
    ValueError
        If it is none, and no seed of one.
    """
    try:
        if isinstance(rng, np.random.RandomState):
            raise TypeError
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise ValueError(
            f"rng={rng!r} must be a numpy Generator, a whole number, 0 or more, or None"
        ) from None


def spawn_seeds(rng: Any, count: int) -> list[np.random.SeedSequence]:
    """Seeds of blocks of replicates; a generator's next call gives others."""
    generator = generator_of(rng)
    if generator is rng:
        # of its state: that it was seeded with may be another, as after ``jumped``
        source = np.random.SeedSequence(generator.integers(2**32, size=8).tolist())
    else:
        # the stub leaves open of which kind it is
        source = generator.bit_generator.seed_seq  # type: ignore[assignment]
    return source.spawn(count)


def _on_basis(design, coefficients):
    return design.basis.r @ coefficients
