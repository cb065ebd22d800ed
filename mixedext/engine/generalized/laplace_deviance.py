"""Laplace's approximation of the deviance of a generalized mixed model.

With eta = X b + Z Lam u + offset, u ~ N(0, I), and l_i = -log f(y_i | eta_i, kappa),

    h(u) = sum_i l_i + u'u / 2,    u^ = argmin h,    M = Lam'Z'W Z Lam + I,    W = l'',
    D(psi) = 2 h(u^) + log det M(u^),    psi = (theta, b, kappa).

With the matrices of a linear model of weights W, V0 = W^-1 + Z Sigma Z', N_V = Z'V0^-1 Z,
S = Z's, and with T = l''', v_i = [Z Lam M^-1 Lam'Z']_ii, a = T v, r = (I + N Sigma)^-1 Z'a,
its exact derivatives are

    d D / d Sigma = sum_l { [N_V]_ll - S_l S_l' - (r_l S_l' + S_l r_l') / 2 },
    d D / d b     = X'(2 s + a - W Z Sigma r),
    d D / d kappa = 2 sum l_kappa + v'W_kappa - s_kappa'Z Sigma r,

where Sigma r stands for Lam M^-1 Lam'Z'a and u^ = -Lam'S.  The model of the Hessian leaves
out what comes through the change of W: it is the second derivative of 2 h(u^) and, in the
covariances, the average information and the bend of Sigma = lam lam', as in linear models.

References
----------
Tierney and Kadane (1986), Journal of the American Statistical Association 81, 82-86;
Kristensen et al. (2016), Journal of Statistical Software 70(5) (the implicit derivative).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from mixedext.engine.deviance.profiled import ProfiledDeviance
from mixedext.engine.factor.factor import Factor
from mixedext.engine.generalized.conditional_modes import find_modes
from mixedext.engine.generalized.design import GeneralizedDesign
from mixedext.engine.generalized.effect_roots import EffectRoots
from mixedext.engine.generalized.mode_factor import ModeFactor
from mixedext.engine.generalized.row_layout import WeightedBlocks

__all__ = ["LaplaceDeviance", "LaplaceEvaluation", "gradients_by_theta"]

# Where estimates run to infinity derivatives may, too; a search rejects such steps.
FAR_OUT = np.errstate(over="ignore", invalid="ignore")


class LaplaceDeviance:
    """-2 log-likelihood by Laplace's approximation, of any number of grouping factors.

    Parameters
    ----------
    design : GeneralizedDesign
        The rows.
    rows : LikelihoodRows
        Family and response.
    laplace : {"observed", "expected"}
        Which information the determinant has.

    Attributes
    ----------
    n_theta, rank, n_kappa, n_psi : int
        Numbers of parameters: psi is (theta, coefficients on the basis of X, kappa).
    """

    def __init__(self, design: GeneralizedDesign, rows: Any, laplace: str = "observed"):
        self.design, self.rows = design, rows
        self.parameters = ProfiledDeviance(design.blocks, design.units.structures, False)
        self.n_theta, self.rank = self.parameters.n_theta, design.rank
        self.n_kappa = rows.family.n_dispersion
        self.n_psi = self.n_theta + self.rank + self.n_kappa
        self.expected = laplace == "expected" and not rows.family.canonical
        self.z_rows = design.layout.rows()
        self.factor = ModeFactor(WeightedBlocks(design.blocks))
        self.other_factor = self.factor
        if self.expected:
            self.other_factor = ModeFactor(WeightedBlocks(design.blocks))
        self.owner: Any = None
        structures: Any = self.parameters.structures
        # one effect a level: theta are standard deviations
        self.is_scalar = design.layout.is_scalar and all(
            s.k == s.n_theta == 1
            and s.linear
            and (s.lam_basis[0, 0, 0], s.covariance_basis[0, 0, 0]) == (1.0, 1.0)
            for s in structures
        )
        if self.is_scalar:
            of_factor = np.zeros(len(design.blocks.factors), np.intp)
            for term in range(len(structures)):
                of_factor[design.place[term][0]] = term
            self._term_of_factor = of_factor
            self._term_of_effect = of_factor[design.layout.factor]

    def split(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Theta, coefficients and kappa."""
        first, second = self.n_theta, self.n_theta + self.rank
        return psi[:first], psi[first:second], psi[second:]

    def lams(self, theta: np.ndarray) -> list[np.ndarray]:
        """Factors of the covariances by grouping factor, (K, K)."""
        if self.is_scalar and len(self._term_of_factor) == len(theta):
            return list(theta[self._term_of_factor].reshape(-1, 1, 1))
        return self.design.factor_lams(self.parameters.lams(theta))

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        """Change by theta along the directions of Sigma, (n_gamma, n_theta)."""
        return np.diag(2.0 * theta) if self.is_scalar else self.parameters.jacobian(theta)

    def curved(
        self, theta: np.ndarray, scores: list[np.ndarray], information: np.ndarray
    ) -> np.ndarray:
        """The model of the Hessian in theta (``ProfiledDeviance.along_curves``)."""
        if not self.is_scalar:
            return self.parameters.along_curves(theta, scores, information).hessian
        out = 4.0 * np.outer(theta, theta) * information
        np.fill_diagonal(out, out.diagonal() + 2.0 * np.concatenate(scores)[:, 0])
        return out

    def evaluate(self, psi: np.ndarray, modes: np.ndarray | None = None) -> Any:
        """The deviance at psi; its value is infinite where it cannot be computed.

        Parameters
        ----------
        psi : ndarray
            (n_psi,), engine's units.
        modes : ndarray, optional
            u to start from, (q,); zeros if None.
        """
        return LaplaceEvaluation(self, np.array(psi, float), modes)

    def evaluate_beside(self, psi: np.ndarray, modes: np.ndarray) -> Any:
        """The same very near to where the deviance was evaluated last.

        With modes to start from that lack what is of second order in the distance, a step
        by the factor of there, if it is known, leaves what is of third.
        """
        return LaplaceEvaluation(self, np.array(psi, float), modes, beside=True)

    def factor_rows(self, weights: np.ndarray) -> bool:
        """Factor M for weights (n,); whether it is positive definite."""
        self.owner = None
        self.factor.blocks.fill(self.z_rows, weights)
        return self.factor.update()

    def factor_others(self, weights: np.ndarray) -> bool:
        """The same for the weights of the determinant, where these are others."""
        self.other_factor.blocks.fill(self.z_rows, weights)
        return self.other_factor.update()

    @cached_property
    def _block_factors(self):
        """Factors by blocks of Z'WZ: those of the modes and of the determinant."""
        blocks = [WeightedBlocks(self.design.blocks) for _ in range(1 + self.expected)]
        return [(own, Factor(own.blocks)) for own in blocks]

    def block_factor(
        self, weights: np.ndarray, lams: list[np.ndarray], other: bool = False
    ) -> Factor:
        """The factor of Lam'Z'WZ Lam + I from which covariances of effects are read.

        Parameters
        ----------
        weights : ndarray
            W, (n,).
        lams : list of ndarray
            Factors of the covariances by grouping factor.
        other : bool
            Whether it is that of the determinant.
        """
        blocks, factor = self._block_factors[-1 if other else 0]
        blocks.fill(self.z_rows, weights, scaled=False)
        factor.update_effects(lams)
        if factor.singular_tail:
            # derivatives need variances of the tail that are not zero; what that changes
            # is below rounding
            factor.update_effects(lams, floor=True)
        return factor


class LaplaceEvaluation:
    """The deviance at one psi; derivatives are computed when they are first asked for.

    Attributes
    ----------
    psi : ndarray
        (n_psi,).
    value : float
        -2 log-likelihood with all constants; infinite where it cannot be computed.
    modes : ndarray
        u^, (q,), lead first.
    effects : ndarray
        Lam u^, (q,).
    eta : ndarray
        Linear predictor at the modes, (n,).
    iterations : int
        Penalized Newton iterations.
    reason : str
        Why the value is infinite.
    """

    def __init__(self, deviance, psi, modes, beside=False):
        self.deviance, self.psi = deviance, psi
        self.value, self.iterations, self.reason = np.inf, 0, ""
        design, rows = deviance.design, deviance.rows
        theta, beta, self.kappa = deviance.split(psi)
        with np.errstate(over="ignore", invalid="ignore"):
            self.lams = deviance.lams(theta)
        if not all(np.isfinite(lam).all() for lam in self.lams):
            self.reason = "the covariances of the random effects overflow"
            return
        self.roots = EffectRoots(design.layout, self.lams)
        self._fixed = design.x @ beta
        if design.offset is not None:
            self._fixed += design.offset
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            beside = beside and deviance.owner is not None
            deviance.owner = None
            deviance.z_rows.take(self.roots.padded)
            u = None if modes is None else self.roots.turned(modes)
            found = find_modes(deviance, self._fixed, self.kappa, u, beside)
            self.iterations, self.reason = found.iterations, found.reason
            if self.reason:
                return
            u = self.roots.settled(found.u)
            self.modes, self.effects = self.roots.turned_back(u), self.roots.times(u)
            self.eta, self.weight = found.eta, found.weight
            if not self._stand():
                self.reason = "the conditional modes of some levels are not strict ones"
                return
            log_det = deviance.other_factor.log_det
            value = 2.0 * (found.h + rows.constant(self.kappa)) + log_det
        if np.isfinite(value):
            self.value = float(value)

    # ---- at the modes ----

    def _stand(self):
        """Factor at the modes; whether these are strict minima of h."""
        deviance = self.deviance
        if not deviance.factor_rows(self.weight):
            return False
        if deviance.expected and not deviance.factor_others(self._other_weight):
            return False
        deviance.owner = self
        return True

    @cached_property
    def _other_weight(self):
        """W of the determinant."""
        if not self.deviance.expected:
            return self.weight
        return self.deviance.rows.expected_weight(self.eta, self.kappa)

    def _return(self):
        """Let the deviance stand here once more, if it has left."""
        if self.deviance.owner is not self:
            self.deviance.z_rows.take(self.roots.padded)
            self._stand()

    def stand(self) -> Factor:
        """The factor of Lam'Z'W Z Lam + I, W observed, at this psi."""
        return self.deviance.block_factor(self.weight, self.lams)

    # ---- derivatives ----

    @cached_property
    def terms(self) -> Any:
        """Derivatives of the rows' likelihood at the modes."""
        deviance = self.deviance
        return deviance.rows.derivatives(self.eta, self.kappa, deviance.expected)

    @cached_property
    def _forms(self):
        """v, and sum_l [N_V Lam]_ll of every grouping factor."""
        self._return()
        deviance = self.deviance
        variance, sums = np.empty(deviance.z_rows.n), np.empty_like(self.roots.padded)
        deviance.z_rows.forms(
            deviance.other_factor.inverse(), self._other_weight, variance, sums
        )
        return variance, sums

    @property
    def variance_eta(self) -> np.ndarray:
        """v, variance of the linear predictor given y and psi, (n,)."""
        return self._forms[0]

    @cached_property
    def _slopes(self):
        """S = Z's, (q,)."""
        return self.deviance.z_rows.project(self.terms.slope, False)

    def _response(self, solved, left):
        """(I + N Sigma)^-1 z from M^-1 Lam'z: over Lam', or what is left of z.

        Lam'(I + N Sigma)^-1 = M^-1 Lam', so dividing by Lam' loses nothing where it is well
        conditioned; elsewhere take off of z what is explained, ``left()``.
        """
        good = self.roots.invertible
        if good is None:
            return self.roots.divide_transposed(solved)
        out = left()
        if good.any():
            out[good] = self.roots.divide_transposed(solved)[good]
        return out

    @cached_property
    @FAR_OUT
    def _by_rows(self):
        """Parts of the gradient: r, that by eta and that by kappa of every row.

        The last is without that of the likelihood itself; None where there is none.
        """
        deviance, terms = self.deviance, self.terms
        z_rows, variance = deviance.z_rows, self.variance_eta
        third = terms.expected_third if deviance.expected else terms.third
        bent = third * variance
        self._return()
        solved = deviance.factor.solve(z_rows.project(bent, True))
        change = z_rows.predict(solved, True)
        rest = bent - terms.weight * change
        moved = self._response(solved, lambda: z_rows.project(rest, False))
        by_eta = 2.0 * terms.slope + rest
        if not deviance.n_kappa:
            return moved, by_eta, None
        weight_kappa = terms.expected_kappa if deviance.expected else terms.weight_kappa
        return moved, by_eta, weight_kappa * variance - terms.slope_kappa * change

    @cached_property
    @FAR_OUT
    def _first(self):
        """Gradient, and d D / d Sigma of every term."""
        deviance, design = self.deviance, self.deviance.design
        theta, _, _ = deviance.split(self.psi)
        moved, by_eta, by_kappa = self._by_rows
        scores = self._scores(self._slopes, moved)
        parts = [
            s.gradient(own, g)
            for (s, own), g in zip(deviance.parameters.parts(theta), scores, strict=True)
        ]
        parts.append(design.x.T @ by_eta)
        if deviance.n_kappa:
            parts.append(np.atleast_1d(2.0 * self.terms.loss_kappa + by_kappa.sum()))
        return np.concatenate(parts), scores

    def by_cluster(self, codes: np.ndarray, count: int) -> np.ndarray:
        """The gradient by independent clusters, whose deviances sum to the value.

        Parameters
        ----------
        codes : ndarray
            Cluster of each row, (n,); all rows of a level are of one.
        count : int
            Number of clusters G.

        Returns
        -------
        ndarray
            (G, n_psi); its sum is ``gradient``.
        """
        deviance, design = self.deviance, self.deviance.design
        theta, _, _ = deviance.split(self.psi)
        moved, by_eta, by_kappa = self._by_rows
        factor = deviance.block_factor(self._other_weight, self.lams, deviance.expected)
        owner = np.zeros(design.z.shape[1], np.intp)
        owner[design.z.indices] = np.repeat(codes, np.diff(design.z.indptr))
        parts = []
        for term, (s, own) in enumerate(deviance.parameters.parts(theta)):
            number, columns = design.place[term]
            blocks = factor.level_curvature(number)[:, columns, columns]
            left, right = design.of_term(term, self._slopes), design.of_term(term, moved)
            mixed = (left + right)[:, :, None] * left[:, None, :]
            blocks = blocks - 0.5 * (mixed + mixed.transpose(0, 2, 1))
            # a level whose columns are all zero is of the first cluster, and adds nothing
            cluster = design.of_term(term, owner).max(axis=1)
            total = np.zeros((count, *blocks.shape[1:]))
            np.add.at(total, cluster, blocks)
            parts.append(gradients_by_theta(s, own, total))
        ones = np.ones(design.nobs), (codes, np.arange(design.nobs))
        to_clusters = sparse.csr_array(ones, shape=(count, design.nobs))
        parts.append(to_clusters @ (by_eta[:, None] * design.x))
        if deviance.n_kappa:
            by_kappa = by_kappa + 2.0 * deviance.rows.loss_kappa(self.eta, self.kappa)
            parts.append(to_clusters @ by_kappa[:, None])
        return np.concatenate(parts, axis=1)

    @cached_property
    @FAR_OUT
    def _second(self):
        """The model of the Hessian; sets what the moves of the modes are made of."""
        scores = self._first[1]
        deviance, design = self.deviance, self.deviance.design
        terms, z_rows = self.terms, deviance.z_rows
        theta, _, _ = deviance.split(self.psi)
        directions = self._directions(theta, self._slopes)
        p, g = design.rank, directions.shape[1]
        crosses = np.empty((len(directions), p + g + deviance.n_kappa))
        z_rows.crosses(terms.weight, design.x, directions, crosses)
        if deviance.n_kappa:
            crosses[:, -1] = z_rows.project(terms.slope_kappa, False)
        self._return()
        solved = deviance.factor.solve(self.roots.transposed_times(crosses))
        effect = self.roots.times(solved)
        response = self._response(solved, lambda: crosses - self._grams(effect))
        self._moves = directions, response, effect
        n, t = deviance.n_psi, deviance.n_theta
        information = directions.T @ response[:, p : p + g]
        hessian = np.zeros((n, n))
        hessian[:t, :t] = deviance.curved(theta, scores, information)
        jacobian = self._jacobian
        mixed = jacobian.T @ (2.0 * directions.T @ response[:, :p])
        by_x = terms.weight[:, None] * design.x
        square = 2.0 * (design.x.T @ by_x - effect[:, :p].T @ crosses[:, :p])
        hessian[t : t + p, t : t + p] = square
        hessian[:t, t : t + p], hessian[t : t + p, :t] = mixed, mixed.T
        if deviance.n_kappa:
            k = p + g
            by_kappa = 2.0 * (
                design.x.T @ terms.slope_kappa - effect[:, :p].T @ crosses[:, k]
            )
            hessian[t : t + p, -1] = hessian[-1, t : t + p] = by_kappa
            with_theta = jacobian.T @ (2.0 * directions.T @ response[:, k])
            hessian[:t, -1] = hessian[-1, :t] = with_theta
            own = terms.loss_kappa2 - crosses[:, k] @ effect[:, k]
            hessian[-1, -1] = 2.0 * np.squeeze(own)
        return hessian

    @cached_property
    def _jacobian(self):
        """Change by theta along the directions of Sigma, (n_gamma, n_theta)."""
        theta, _, _ = self.deviance.split(self.psi)
        return self.deviance.jacobian(theta)

    def _grams(self, effect):
        """Z'WZ times effects, (q, R)."""
        out = np.empty_like(effect)
        none = np.empty((self.deviance.z_rows.n, 0), order="F")
        self.deviance.z_rows.crosses(self.terms.weight, none, effect, out)
        return out

    def _directions(self, theta, slopes):
        """-E_r S of every direction E_r in which a covariance may change, (q, n_gamma)."""
        design, parts = self.deviance.design, self.deviance.parameters
        out = np.zeros((len(slopes), sum(s.n_gamma for s in parts.structures)))
        if self.deviance.is_scalar:
            out[np.arange(len(slopes)), self.deviance._term_of_effect] = -slopes
            return out
        for term, (s, own) in enumerate(parts.parts(theta)):
            basis = s.covariance_basis if s.linear else s.tangent(own)
            number, columns = design.place[term]
            at = design.layout.level_columns[number][:, columns]
            out[at, parts.gamma_slices[term]] = -np.einsum("rab,lb->lar", basis, slopes[at])
        return out

    def _scores(self, slopes, moved):
        """d D / d Sigma of every term."""
        design = self.deviance.design
        curvature = self.roots.divided_sums(self._forms[1])
        if self.deviance.is_scalar:
            at, count = self.deviance._term_of_effect, self.deviance.n_theta
            explained = np.bincount(at, slopes * (slopes + moved), count)
            own = [curvature[design.place[i][0]] for i in range(count)]
            return [c - e for c, e in zip(own, explained, strict=True)]
        out = []
        for term in range(len(self.deviance.parameters.structures)):
            number, columns = design.place[term]
            s, r = design.of_term(term, slopes), design.of_term(term, moved)
            mixed = r.T @ s
            own = curvature[number][columns, columns]
            out.append(own - s.T @ s - 0.5 * (mixed + mixed.T))
        return out

    @property
    def gradient(self) -> np.ndarray:
        """Exact gradient of the value, (n_psi,)."""
        return self._first[0]

    @property
    def hessian(self) -> np.ndarray:
        """Model of its Hessian, (n_psi, n_psi)."""
        return self._second

    @property
    def mode_derivatives(self) -> np.ndarray:
        """Change of Lam u^ by theta, the coefficients and kappa, (q, n_psi)."""
        hessian = self.hessian
        directions, _, effect = self._moves
        p, g = self.deviance.rank, directions.shape[1]
        by_covariance = (directions - effect[:, p : p + g]) @ self._jacobian
        others = -effect[:, :p], -effect[:, p + g :]
        return np.concatenate([by_covariance, *others], axis=1).reshape(-1, len(hessian))

    @property
    def conditional_information(self) -> np.ndarray:
        """X'V^-1 X of the basis of X, V the variance of the working response."""
        t, p = self.deviance.n_theta, self.deviance.rank
        return 0.5 * self.hessian[t : t + p, t : t + p]

    def predicted(self, step: np.ndarray) -> np.ndarray:
        """The modes at psi + step, to first order, (q,)."""
        deviance, design = self.deviance, self.deviance.design
        if not hasattr(self, "_moves"):
            self._second  # noqa: B018 (computes them)
        response, slopes = self._moves[1], self._slopes
        theta, _, _ = deviance.split(self.psi)
        by_theta, by_beta, kappa = deviance.split(step)
        other = deviance.lams(theta + by_theta)
        change = [new - old for new, old in zip(other, self.lams, strict=True)]
        along = np.concatenate([by_beta, self._jacobian @ by_theta, kappa])
        moved = response @ along
        out = self.modes - design.times_lam(change, slopes, transpose=True)
        return out - design.times_lam(self.lams, moved, transpose=True)


def gradients_by_theta(structure: Any, theta: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Derivatives in theta from many in Sigma, which they are linear in, (G, n_theta).

    Parameters
    ----------
    structure : Structure
        Of the term.
    theta : ndarray
        Its parameters.
    scores : ndarray
        Symmetric derivatives in Sigma, (G, k, k).
    """
    k = scores.shape[1]
    units = np.eye(k * k).reshape(-1, k, k)
    units = 0.5 * (units + units.transpose(0, 2, 1))
    columns = np.array([structure.gradient(theta, unit) for unit in units])
    return scores.reshape(len(scores), -1) @ columns.reshape(k * k, -1)
