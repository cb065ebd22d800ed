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
from mixedext.engine.generalized.design import GeneralizedDesign

__all__ = ["LaplaceDeviance", "LaplaceEvaluation", "gradients_by_theta"]

# Decrement of h below which a step is the last; the next would be below rounding.
LAST_DECREMENT = 1e-13
# Decrement below which a family that is not log-concave gets its observed weights.
NEARLY = 1e-2
MOST_ITERATIONS = 200
SUFFICIENT = 1e-4
SHORTEST = 1e-10
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
        self._blocks = design.weighted
        self._factor = Factor(self._blocks.blocks)
        self._other_blocks, self._other_factor = self._blocks, self._factor
        if self.expected:
            self._other_blocks = design.weighted.another()
            self._other_factor = Factor(self._other_blocks.blocks)
        self._owner: Any = None

    def split(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Theta, coefficients and kappa."""
        first, second = self.n_theta, self.n_theta + self.rank
        return psi[:first], psi[first:second], psi[second:]

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

    def factor(self, weights: np.ndarray, lams: list[np.ndarray]) -> bool:
        """Factor Lam'Z'W Z Lam + I; whether it is positive definite."""
        self._owner = None
        self._blocks.fill(weights)
        return self._factor.update_effects(lams)

    def factor_other(self, weights: np.ndarray, lams: list[np.ndarray]) -> bool:
        """The same for the weights of the determinant, where these are others."""
        self._other_blocks.fill(weights)
        return self._other_factor.update_effects(lams)

    def floor_roots(self, lams: list[np.ndarray]) -> None:
        """Factor once more where derivatives need variances of the tail that are not zero.

        What that changes is below rounding.
        """
        if self._factor.singular_tail:
            self._factor.update_effects(lams, floor=True)
            if self.expected:
                self._other_factor.update_effects(lams, floor=True)


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

    def __init__(self, deviance, psi, modes):
        self.deviance, self.psi = deviance, psi
        self.value, self.iterations, self.reason = np.inf, 0, ""
        design, rows = deviance.design, deviance.rows
        theta, beta, self.kappa = deviance.split(psi)
        self.lams = design.factor_lams(deviance.parameters.lams(theta))
        self._fixed = design.x @ beta
        if design.offset is not None:
            self._fixed += design.offset
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if not self._find_modes(modes):
                return
            if not self._stand():
                self.reason = "the conditional modes of some levels are not strict ones"
                return
            log_det = deviance._other_factor.log_det
            value = 2.0 * (self._h + rows.constant(self.kappa)) + log_det
        if np.isfinite(value):
            self.value = float(value)

    # ---- conditional modes ----

    def _at(self, u, effects):
        """h and the terms of the likelihood at modes."""
        eta = self._fixed + self.deviance.design.z @ effects
        loss, slope, weight = self.deviance.rows.newton(eta, self.kappa)
        return loss + 0.5 * (u @ u), eta, slope, weight

    def _find_modes(self, modes):
        """Penalized Newton iterations with halving; whether they have converged."""
        deviance, design = self.deviance, self.deviance.design
        q = design.z.shape[1]
        u = np.zeros(q) if modes is None else modes
        effects = design.times_lam(self.lams, u)
        h, eta, slope, weight = self._at(u, effects)
        if not np.isfinite(h) and modes is not None:
            u = effects = np.zeros(q)
            h, eta, slope, weight = self._at(u, effects)
        if not np.isfinite(h):
            self.reason = "the linear predictor of the fixed effects is out of range"
            return False
        concave = deviance.rows.family.log_concave
        decrement = np.inf
        for _ in range(MOST_ITERATIONS):
            self.iterations += 1
            newton = concave or decrement <= NEARLY
            w = weight
            if not concave and (decrement > NEARLY or (weight < 0).any()):
                w = deviance.rows.expected_weight(eta, self.kappa)
                if decrement <= NEARLY and deviance.factor(weight, self.lams):
                    w = weight
            if not deviance.factor(w, self.lams):
                if not concave:
                    w = deviance.rows.expected_weight(eta, self.kappa)
                if concave or not deviance.factor(w, self.lams):
                    self.reason = "the conditional modes cannot be found: no finite weights"
                    return False
            slopes = design.zt @ slope
            working = design.zt @ (w * (eta - self._fixed)) - slopes
            lead, tail = design.split(working[:, None])
            found = deviance._factor.respond(lead, tail)
            other = design.times_lam(
                self.lams, design.joined(*found.response)[:, 0], transpose=True
            )
            target = design.joined(*found.effect)[:, 0]
            step, move = other - u, target - effects
            decrement = -(design.times_lam(self.lams, slopes, transpose=True) + u) @ step
            length = 1.0
            while True:
                new_u = u + length * step if length < 1 else other
                new_effects = effects + length * move if length < 1 else target
                state = self._at(new_u, new_effects)
                bound = h - SUFFICIENT * length * decrement + 1e-13 * abs(h)
                if state[0] <= bound:
                    break
                length *= 0.5
                if length < SHORTEST:
                    # nothing lower along it: rounding, where little was to be gained
                    if decrement > 1e-6 * (1.0 + abs(h)):
                        self.reason = "the search for the conditional modes has failed"
                        return False
                    state = h, eta, slope, weight
                    new_u, new_effects, decrement = u, effects, 0.0
                    break
            u, effects = new_u, new_effects
            h, eta, slope, weight = state
            # a step by expected weights leaves an error of first order in the determinant
            if newton and decrement < LAST_DECREMENT:
                break
        else:
            self.reason = "the conditional modes have not converged"
            return False
        self.modes, self.effects, self.eta, self._h = u, effects, eta, h
        self.weight = weight
        return True

    def _stand(self):
        """Factor at the modes; whether these are strict minima of h."""
        deviance = self.deviance
        if not deviance.factor(self.weight, self.lams):
            return False
        if deviance.expected:
            expected = deviance.rows.expected_weight(self.eta, self.kappa)
            if not deviance.factor_other(expected, self.lams):
                return False
        deviance._owner = self
        return True

    def stand(self) -> Factor:
        """The factor of Lam'Z'W Z Lam + I, W observed, at this psi."""
        if self.deviance._owner is not self:
            self._stand()
        self.deviance.floor_roots(self.lams)
        return self.deviance._factor

    # ---- derivatives ----

    @cached_property
    def terms(self) -> Any:
        """Derivatives of the rows' likelihood at the modes."""
        deviance = self.deviance
        return deviance.rows.derivatives(self.eta, self.kappa, deviance.expected)

    @cached_property
    def variance_eta(self) -> np.ndarray:
        """v, variance of the linear predictor given y and psi, (n,)."""
        self.stand()
        return self.deviance.design.row_forms.of(self.deviance._other_factor)

    @cached_property
    def _slopes(self):
        """S = Z's, (q,)."""
        return self.deviance.design.zt @ self.terms.slope

    @cached_property
    @FAR_OUT
    def _by_rows(self):
        """Parts of the gradient: r, that by eta and that by kappa of every row.

        The last is without that of the likelihood itself; None where there is none.
        """
        deviance, design = self.deviance, self.deviance.design
        factor, terms = self.stand(), self.terms
        variance = self.variance_eta
        third = terms.expected_third if deviance.expected else terms.third
        bent = third * variance
        cross = (design.zt @ bent)[:, None]
        found = factor.respond(*design.split(cross))
        moved = design.joined(*found.response)[:, 0]
        change = design.z @ design.joined(*found.effect)[:, 0]
        by_eta = 2.0 * terms.slope + bent - terms.weight * change
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
        self.stand()
        owner = np.zeros(design.z.shape[1], np.intp)
        owner[design.z.indices] = np.repeat(codes, np.diff(design.z.indptr))
        parts = []
        for term, (s, own) in enumerate(deviance.parameters.parts(theta)):
            number, columns = design.place[term]
            blocks = deviance._other_factor.level_curvature(number)[:, columns, columns]
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
        factor, terms, parts = self.stand(), self.terms, deviance.parameters
        theta, _, _ = deviance.split(self.psi)
        by_x = terms.weight[:, None] * design.x
        directions = self._directions(theta, self._slopes)
        along = design.z @ directions
        columns = [design.zt @ by_x, design.zt @ (terms.weight[:, None] * along)]
        if deviance.n_kappa:
            columns.append((design.zt @ terms.slope_kappa)[:, None])
        crosses = np.concatenate(columns, axis=1)
        lead, tail = design.split(crosses)
        found = factor.respond(np.ascontiguousarray(lead), np.ascontiguousarray(tail))
        response = design.joined(*found.response)
        effect = design.joined(*found.effect)
        self._moves = directions, response, effect
        p, g = design.rank, directions.shape[1]
        n, t = deviance.n_psi, deviance.n_theta
        information = directions.T @ response[:, p : p + g]
        hessian = np.zeros((n, n))
        hessian[:t, :t] = parts.along_curves(theta, scores, information).hessian
        jacobian = parts.jacobian(theta)
        mixed = jacobian.T @ (2.0 * directions.T @ response[:, :p])
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

    def _directions(self, theta, slopes):
        """-E_r S of every direction E_r in which a covariance may change, (q, n_gamma)."""
        design, parts = self.deviance.design, self.deviance.parameters
        out = np.zeros((len(slopes), sum(s.n_gamma for s in parts.structures)))
        lead, tail = design.split(out)
        for term, (s, own) in enumerate(parts.parts(theta)):
            basis = s.covariance_basis if s.linear else s.tangent(own)
            number, columns = design.place[term]
            vectors = -np.einsum("rab,lb->lar", basis, design.of_term(term, slopes))
            at = parts.gamma_slices[term]
            if number == 0:
                lead[:, columns, at] = vectors
            else:
                rows = design.blocks.tail_columns(number - 1)[:, columns]
                tail[rows, at] = vectors
        return out

    def _scores(self, slopes, moved):
        """d D / d Sigma of every term."""
        design = self.deviance.design
        curvature = self.deviance._other_factor.curvature
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
        theta, _, _ = self.deviance.split(self.psi)
        p, g = self.deviance.rank, directions.shape[1]
        by_covariance = (
            directions - effect[:, p : p + g]
        ) @ self.deviance.parameters.jacobian(theta)
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
        other = design.factor_lams(deviance.parameters.lams(theta + by_theta))
        change = [new - old for new, old in zip(other, self.lams, strict=True)]
        along = np.concatenate(
            [by_beta, self.deviance.parameters.jacobian(theta) @ by_theta, kappa]
        )
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
