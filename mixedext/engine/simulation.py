"""Parametric simulation by sufficient statistics, and refits of what is simulated.

Given Z and X a response enters only as Z'y, Q'y and y'y (Q: orthonormal basis of X).  With
one grouping factor and y = Zb + e, in units of sigma,

    Z_l'y ~ N(0, A_l Sigma A_l + A_l),    Q'y | Z'y ~ N(Q'P_Z y, Q'(I - P_Z)Q),
    y'y = |P_[Z X] y|^2 + chi^2 with n - rank [Z X] degrees of freedom,

exactly, so no replicate needs a vector of the length of the data.  X beta is added to the
estimates: what is left of y after X does not depend on it.
"""

from __future__ import annotations

import numpy as np

from mixedext.engine.fit import Fit
from mixedext.engine.kernels.refits import draw_responses
from mixedext.engine.refit import Batch, Refits, joined, run_blocks

__all__ = ["Sampler", "simulate_fits"]

# Eigenvalues of Z_l'Z_l, and of what Z leaves of Q, below this count as zero (the columns
# are standardized).
RANK_TOLERANCE = 1e-10
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
        if len(blocks.factors) != 1:
            raise NotImplementedError(
                "simulation by sufficient statistics needs a model with one grouping factor"
            )
        self.fit, self.nobs = fit, blocks.nobs
        rank, width = design.basis.rank, blocks.lead_gram.shape[1]
        lam = np.zeros((width, width))
        inner = design.lams(fit.optimum.theta)
        for own, at in zip(inner, blocks.factors[0].slices, strict=True):
            lam[at, at] = own
        value, vector = np.linalg.eigh(blocks.lead_gram)
        kept = value > RANK_TOLERANCE * np.maximum(value[:, -1:], 1e-300)
        size = np.sqrt(np.where(kept, value, 0.0))
        # Z_l y = (orthonormal basis of Z_l) f_l with f_l ~ N(0, I + B B')
        image = vector * size[:, None, :]
        half = image.transpose(0, 2, 1) @ lam
        root = np.linalg.cholesky(np.eye(width) + half @ half.transpose(0, 2, 1))
        self.root = np.ascontiguousarray(root * kept[:, :, None])
        self.image = np.ascontiguousarray(image)
        inverse = np.where(kept, 1.0 / np.where(kept, size, 1.0), 0.0)
        cross = blocks.lead_cross[..., :rank].transpose(0, 2, 1)
        self.projection = np.ascontiguousarray(cross @ (vector * inverse[:, None, :]))
        rest = np.eye(rank) - np.einsum("lik,ljk->ij", self.projection, self.projection)
        value, vector = np.linalg.eigh(rest)
        free = value > RANK_TOLERANCE
        self.fixed_root = np.ascontiguousarray(vector[:, free] * np.sqrt(value[free]))
        self.dof = blocks.nobs - int(kept.sum()) - int(free.sum())
        self.n_normal = root[..., 0].size + int(free.sum())

    def draw(self, count: int, rng: np.random.Generator):
        """Sufficient statistics of ``count`` responses, in the engine's units.

        Returns
        -------
        lead : ndarray
            Z'r / y_scale, (count, L, K).
        least_squares : ndarray
            Q'y for beta = 0 and sigma = 1, (count, rank).
        y_scale : ndarray
            Root mean square of r = y - QQ'y, (count,).
        """
        rank, cross = len(self.fixed_root), self.fit.design.blocks.lead_cross
        lead = np.empty((count, *cross.shape[:2]))
        least_squares, y_scale = np.empty((count, rank)), np.empty(count)
        normal = rng.standard_normal((count, self.n_normal))
        rest = rng.chisquare(self.dof, count) if self.dof > 0 else np.zeros(count)
        draw_responses(
            normal,
            rest,
            self.root,
            self.image,
            self.projection,
            self.fixed_root,
            cross,
            float(self.nobs),
            lead,
            least_squares,
            y_scale,
        )
        return lead, least_squares, y_scale


def simulate_fits(
    fit: Fit,
    n: int,
    rng: np.random.Generator | int | None = None,
    reml: bool | None = None,
    n_threads: int = 1,
) -> Refits:
    """Simulate from a fit and fit the model to what was simulated.

    Parameters
    ----------
    fit : Fit
        A fit with one grouping factor: its estimates are the truth.
    n : int
        Number of responses.
    rng : Generator or int, optional
        Source of random numbers; results do not depend on ``n_threads``.
    reml : bool, optional
        Criterion of the refits; that of ``fit`` if None.
    n_threads : int, optional
        Threads that blocks of responses are shared among.

    Returns
    -------
    Refits
    """
    reml = fit.reml if reml is None else reml
    design, sampler = fit.design, Sampler(fit)
    batch, sigma = Batch(design, reml), np.sqrt(fit.scale)
    true = _on_basis(design, fit.coefficients)
    size = max(1, BLOCK_SIZE // sampler.n_normal)
    counts = [min(size, n - start) for start in range(0, n, size)]
    seeds = np.random.default_rng(rng).bit_generator.seed_seq.spawn(len(counts))

    def work(block):
        count, seed = block
        lead, least_squares, y_scale = sampler.draw(count, np.random.default_rng(seed))
        return batch.fit(lead, true + sigma * least_squares, sigma * y_scale)[:-1]

    parts = run_blocks(work, list(zip(counts, seeds, strict=True)), n_threads)
    return Refits(*joined(parts), reml)


def _on_basis(design, coefficients):
    return design.basis.r @ coefficients
