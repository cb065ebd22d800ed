"""The deviance of a generalized model with one grouping factor: compiled, level by level.

Laplace's approximation as in ``laplace_deviance``, or adaptive Gauss-Hermite quadrature;
what both come to is told in ``kernels.generalized.one_factor`` and ``quadrature``.  Here
the sums over levels become derivatives by theta, the coefficients and kappa.

A quadrature has Laplace's model of the Hessian, but its own slope in the covariance.  Over
several columns its value depends a little on which root of M^-1 spreads the nodes: that of
which b = lam u gets an upper triangle, in any basis of the columns that is a triangle away
from the data's.  The kernel makes lower triangles; so it is given the columns in reverse
order, and of their covariance the lower root, lam less a rotation.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from scipy import linalg

from mixedext.engine.deviance.profiled import ProfiledDeviance
from mixedext.engine.generalized.design import GeneralizedDesign
from mixedext.engine.generalized.quadrature import MOST_COLUMNS, product_rule
from mixedext.engine.threads import run_pieces, split
from mixedext.kernels.generalized.one_factor import OneFactor, arranged, sorted_by_level

__all__ = ["OneFactorDeviance", "OneFactorEvaluation", "is_one_factor"]

# Nanoseconds of a row in one evaluation, about.
ROW_WORK = 30.0
# Rows of zeros behind the last, which the kernel may read.
PADDING = 8
# Size of the diagonal of lam, relative to its largest element, below which the slope in
# Sigma is not read off that in lam.
SMALL_ROOT = 1e-4

_ENDED = {
    1: "the linear predictor of the fixed effects is out of range",
    2: "the conditional modes cannot be found: no finite weights",
    3: "the search for the conditional modes has failed",
    4: "the conditional modes have not converged",
    5: "the conditional modes of some levels are not strict ones",
    6: "the quadrature over the effects of some levels has no finite value",
}


def is_one_factor(design: GeneralizedDesign) -> bool:
    """Whether the rows belong to one level of one grouping factor each.

    Parameters
    ----------
    design : GeneralizedDesign
        The rows.
    """
    return _levels(design) is not None


def _levels(design):
    """Level of every row, (n,); None where that is not all of the random effects."""
    if len(design.blocks.factors) != 1 or design.blocks.tail_size:
        return None
    width = design.blocks.lead_gram.shape[1]
    return design.layout.index[::width] // width


def _padded(a, order):
    out = np.zeros(len(order) + PADDING)
    np.take(a, order, out=out[: len(order)])
    return out


class OneFactorDeviance:
    """-2 log-likelihood of a model with one grouping factor.

    Parameters
    ----------
    design : GeneralizedDesign
        The rows, of one grouping factor.
    rows : LikelihoodRows
        Family and response.
    laplace : {"observed", "expected"}
        Which information the determinant has, and the scale of a quadrature.
    n_agq : int
        Nodes of the quadrature a dimension; 1 is Laplace's approximation.

    Attributes
    ----------
    n_theta, rank, n_kappa, n_psi : int
        Numbers of parameters: psi is (theta, coefficients on the basis of X, kappa).

    Raises
    ------
    ValueError
        If the model has another number of grouping factors, or more than three columns a
        level with ``n_agq > 1``.
    """

    def __init__(
        self,
        design: GeneralizedDesign,
        rows: Any,
        laplace: str = "observed",
        n_agq: int = 1,
    ):
        level = _levels(design)
        if level is None:
            raise ValueError("levels one by one need a model of one grouping factor")
        self.design, self.rows, self.n_agq = design, rows, n_agq
        self.parameters = ProfiledDeviance(design.blocks, design.units.structures, False)
        self.n_theta, self.rank = self.parameters.n_theta, design.rank
        self.n_kappa = rows.family.n_dispersion
        self.n_psi = self.n_theta + self.rank + self.n_kappa
        self.expected = laplace == "expected" and not rows.family.canonical
        self.n_levels, self.k = design.blocks.lead_gram.shape[:2]
        if n_agq > 1 and self.k > MOST_COLUMNS:
            raise ValueError(
                f"n_agq={n_agq} integrates over at most {MOST_COLUMNS} random effects a "
                f"level, and here are {self.k}; use n_agq=1"
            )
        self.reverses = n_agq > 1 and self.k > 1
        self._arrange(level)
        self.kernel = self._kernel()
        # the kernel sums lower triangles
        number = np.arange(self.rank + self.n_kappa)
        self.mirror = np.maximum.outer(number, number), np.minimum.outer(number, number)
        self.rule = np.zeros((0, self.k)), np.zeros(0)
        if n_agq > 1:
            self.rule = product_rule(n_agq, self.k)
        work = np.diff(self._start) * ROW_WORK * (1.0 + 0.5 * len(self.rule[0])) + 200.0
        self._pieces = split(work)
        first: Any = self.parameters.structures[0]
        # one effect a level: theta its standard deviation
        self.is_scalar = self.k == self.n_theta == 1 and first.linear
        if self.is_scalar:
            units = first.lam_basis[0, 0, 0], first.covariance_basis[0, 0, 0]
            self.is_scalar = units == (1.0, 1.0)
        self._places = [
            self.design.place[i][1] for i in range(len(self.parameters.structures))
        ]
        # the symmetric products that the kernel has summed over pairs of columns
        a, b = np.divmod(np.arange(self.k**2), self.k)
        high, low = np.maximum(a, b), np.minimum(a, b)
        self._pair = high * (high + 1) // 2 + low
        # element (a b, c d) from (b d, a c)
        number = self._pair.reshape(self.k, self.k)
        pairs = self.k * (self.k + 1) // 2
        self._quartic = (
            number[None, :, None, :] * pairs + number[:, None, :, None]
        ).reshape(self.k**2, self.k**2)

    def _arrange(self, level):
        """Put the rows of X and Z by level."""
        design, n = self.design, self.design.nobs
        order, self._start = sorted_by_level(level, self.n_levels)
        z = design.layout.z.reshape(n, self.k)
        if self.reverses:
            z = z[:, ::-1]
        self._order = order
        self._columns = (
            arranged(design.x, order, self._start),
            arranged(z, order, self._start),
            None if design.offset is None else design.offset[order],
        )

    def _kernel(self):
        """The compiled deviance of the response."""
        rows = self.rows
        given = list(rows.arrays)
        if rows.kernel.is_compiled and given[1] is not None and (given[1] == 1.0).all():
            given[1] = None  # single trials
        arrays = [None if a is None else _padded(a, self._order) for a in given]
        return OneFactor(
            rows.kernel,
            self._start,
            self.k,
            *self._columns,
            **dict(zip(("y", "trials", "weight", "count"), arrays, strict=True)),
            concave=rows.family.log_concave,
            expected=self.expected,
            n_kappa=self.n_kappa,
        )

    def with_rows(self, rows: Any) -> OneFactorDeviance:
        """The deviance of another response of the same rows and family."""
        other = copy(self)
        other.rows = rows
        other.kernel = other._kernel()
        return other

    def split(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Theta, coefficients and kappa."""
        first, second = self.n_theta, self.n_theta + self.rank
        return psi[:first], psi[first:second], psi[second:]

    def lam(self, theta: np.ndarray) -> np.ndarray:
        """Factor of the covariance of all columns of a level, (K, K)."""
        if self.is_scalar:
            return theta.reshape(1, 1)
        lams = self.parameters.lams(theta)
        if len(lams) == 1:
            return np.ascontiguousarray(lams[0])
        return self.design.factor_lams(lams)[0]

    def evaluate(
        self, psi: np.ndarray, modes: np.ndarray | None = None
    ) -> OneFactorEvaluation:
        """The deviance at psi; its value is infinite where it cannot be computed.

        Parameters
        ----------
        psi : ndarray
            (n_psi,), engine's units.
        modes : ndarray, optional
            u to start from, (q,); zeros if None.
        """
        return OneFactorEvaluation(self, np.array(psi, float), modes)


class OneFactorEvaluation:
    """The deviance at one psi, and its derivatives.

    Attributes
    ----------
    psi : ndarray
        (n_psi,).
    value : float
        -2 log-likelihood with all constants; infinite where it cannot be computed.
    modes : ndarray
        u^, (q,).
    iterations : int
        Penalized Newton iterations, most of any level.
    reason : str
        Why the value is infinite.
    """

    def __init__(self, deviance, psi, modes):
        self.deviance, self.psi = deviance, psi
        self.value, self.reason = np.inf, ""
        kernel, levels, k = deviance.kernel, deviance.n_levels, deviance.k
        theta, beta, self.kappa = deviance.split(psi)
        self._lam = deviance.lam(theta)
        shape = (levels, k)
        u = np.zeros(shape) if modes is None else np.array(modes).reshape(shape)
        root, turn = self._lam, None
        if deviance.reverses:
            # lam[::-1] = root turn
            vectors, triangle = np.linalg.qr(root[::-1].T)
            root, turn = np.ascontiguousarray(triangle.T), vectors.T
            u = np.ascontiguousarray(u @ vectors)
        self._root, self._turn = root, turn
        self._levels = (
            np.empty(shape),
            np.empty((levels, k, kernel.columns)),
            np.empty((levels, k, k)),
        )
        kappa = deviance.rows.kappa(self.kappa)
        pieces, rule = deviance._pieces, deviance.rule
        sums = np.empty((len(pieces), kernel.n_sums))
        names = "slopes", "response", "normal", "nodes", "log_weights"
        filled = dict(zip(names, (*self._levels, *rule), strict=True))
        if len(pieces) == 1:
            self.iterations, ended = kernel.evaluate(
                0, levels, root, beta, kappa, u, sums[0], **filled
            )
        else:
            place = {piece: i for i, piece in enumerate(pieces)}

            def run(first, last):
                own = sums[place[first, last]]
                parameters = root, beta, kappa, u
                return kernel.evaluate(first, last, *parameters, own, **filled)

            found = run_pieces(run, pieces)
            self.iterations = max(count for count, _ in found)
            ended = next((code for _, code in found if code), 0)
        self.modes = (u if turn is None else u @ turn).reshape(-1)
        if ended:
            self.reason = _ENDED[ended]
            return
        self._sums = kernel.split_sums(sums[0] if len(sums) == 1 else sums.sum(axis=0))
        value = float(self._sums["value"]) + 2.0 * deviance.rows.constant(self.kappa)
        if isfinite(value):
            self.value = value

    # ---- at the modes ----

    @property
    def effects(self) -> np.ndarray:
        """Lam u^, (q,)."""
        u = self.modes.reshape(-1, self.deviance.k)
        return (u @ self._lam.T).reshape(-1)

    @property
    def eta(self) -> np.ndarray:
        """Linear predictor at the modes, (n,), the rows as they were given."""
        design = self.deviance.design
        _, beta, _ = self.deviance.split(self.psi)
        eta = design.x @ beta + design.z @ self.effects
        return eta if design.offset is None else eta + design.offset

    @cached_property
    def terms(self) -> Any:
        """Derivatives of the rows' likelihood at the modes."""
        deviance = self.deviance
        return deviance.rows.derivatives(self.eta, self.kappa, deviance.expected)

    # ---- derivatives ----

    @cached_property
    def _score(self):
        """d D / d Sigma, (K, K); Laplace's where the quadrature's own is not to be had."""
        deviance, root = self.deviance, self._root
        score = self._sums["score"][deviance._pair].reshape(root.shape)
        if deviance.k == 1 and deviance.n_agq == 1:
            return score
        if deviance.n_agq > 1 and self._is_regular:
            # 2 lam' G lam has the lower triangle of lam' dD/dlam, lam being triangular
            half = np.tril(root.T @ self._sums["by_lam"])
            half = half + np.tril(half, -1).T
            inverse = linalg.solve_triangular(root, np.eye(len(root)), lower=True)
            score = 0.5 * inverse.T @ half @ inverse
        return score[::-1, ::-1] if deviance.reverses else score

    @property
    def _is_regular(self):
        size = np.abs(np.diag(self._root))
        return size.min() > SMALL_ROOT * max(size.max(), 1.0)

    def _by_theta(self):
        """d D / d theta."""
        deviance = self.deviance
        theta, _, _ = deviance.split(self.psi)
        if deviance.is_scalar:
            if deviance.n_agq > 1:
                return self._sums["by_lam"][0]
            return 2.0 * self._sums["score"] * theta
        parts = deviance.parameters.parts(theta)
        # of the kernel's lam: exact where lam is singular, but for how that turns
        direct = deviance.n_agq > 1 and (deviance.k == 1 or not self._is_regular)
        if direct:
            by_lam = self._sums["by_lam"]
            if deviance.reverses:
                by_lam = (by_lam @ self._turn)[::-1]
        out = np.empty(len(theta))
        for i, (s, own) in enumerate(parts):
            place = deviance._places[i]
            at = deviance.parameters.theta_slices[i]
            if direct and s.linear:
                own_part = by_lam[place, place].reshape(-1)
                out[at] = s.lam_basis.reshape(s.n_theta, -1) @ own_part
            else:
                out[at] = s.gradient(own, self._score[place, place])
        return out

    @cached_property
    def gradient(self) -> np.ndarray:
        """Exact gradient of the value, (n_psi,)."""
        sums = self._sums
        parts = [self._by_theta(), sums["by_x"]]
        if self.deviance.n_kappa:
            constant = np.sum(self.terms.loss_kappa) - sums["loss_kappa"]
            parts.append(np.atleast_1d(sums["by_kappa"] + 2.0 * constant))
        return np.concatenate(parts)

    @cached_property
    def _jacobian(self):
        """Change by theta along the directions of Sigma, (n_gamma, n_theta)."""
        theta, _, _ = self.deviance.split(self.psi)
        return self.deviance.parameters.jacobian(theta)

    @cached_property
    def _basis(self):
        """Directions of Sigma of all columns, (n_gamma, K K)."""
        theta, _, _ = self.deviance.split(self.psi)
        deviance, k = self.deviance, self.deviance.k
        parameters = deviance.parameters
        out = np.zeros((sum(s.n_gamma for s in parameters.structures), k, k))
        for i, (s, own) in enumerate(parameters.parts(theta)):
            place = deviance._places[i]
            basis = s.covariance_basis if s.linear else s.tangent(own)
            out[parameters.gamma_slices[i], place, place] = basis
        if deviance.reverses:
            out = out[:, ::-1, ::-1]
        return out.reshape(len(out), -1)

    @cached_property
    def hessian(self) -> np.ndarray:
        """Model of the Hessian, (n_psi, n_psi)."""
        deviance, sums = self.deviance, self._sums
        theta, _, _ = deviance.split(self.psi)
        t = deviance.n_theta
        out = np.empty((deviance.n_psi, deviance.n_psi))
        if deviance.is_scalar:
            change = 2.0 * theta[0]
            out[0, 0] = change**2 * sums["information"][0, 0] + 2.0 * self._score[0, 0]
            out[0, 1:] = (-2.0 * change) * sums["mixed"][0, 0]
        else:
            basis, jacobian = self._basis, self._jacobian
            quartic = sums["information"].reshape(-1)[deviance._quartic]
            information = basis @ quartic @ basis.T
            scores = [self._score[place, place] for place in deviance._places]
            curved = deviance.parameters.along_curves(theta, scores, information)
            out[:t, :t] = curved.hessian
            mixed = sums["mixed"].reshape(deviance.k**2, -1)
            out[:t, t:] = -2.0 * (jacobian.T @ (basis @ mixed))
        out[t:, :t] = out[:t, t:].T
        out[t:, t:] = 2.0 * sums["square"][self.deviance.mirror]
        if deviance.n_kappa:
            out[-1, -1] += 2.0 * np.sum(self.terms.loss_kappa2)
        return out

    def predicted(self, step: np.ndarray) -> np.ndarray:
        """The modes at psi + step, to first order, (q,)."""
        deviance = self.deviance
        theta, _, _ = deviance.split(self.psi)
        by_theta = step[: deviance.n_theta]
        change = deviance.lam(theta + by_theta) - self._lam
        if deviance.is_scalar:
            along = 2.0 * theta * by_theta
        else:
            along = (self._jacobian @ by_theta) @ self._basis
        slopes, response, normal = self._levels
        lam = self._lam
        if deviance.reverses:  # rows of lam belong to columns of Z
            lam, change = np.ascontiguousarray(lam[::-1]), change[::-1].copy()
        return deviance.kernel.predict(
            self.modes.reshape(-1, deviance.k),
            slopes,
            response,
            normal,
            lam,
            change,
            along.reshape(lam.shape),
            np.ascontiguousarray(step[deviance.n_theta :]),
        ).reshape(-1)

    # ---- of some levels ----

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
        deviance, kernel, k = self.deviance, self.deviance.kernel, self.deviance.k
        n_levels = deviance.n_levels
        u = self.modes.reshape(n_levels, k)
        u = np.array(u if self._turn is None else u @ self._turn.T, order="C")
        filled = [np.empty_like(a) for a in self._levels]
        names = "slopes", "response", "normal", "nodes", "log_weights"
        own = dict(zip(names, (*filled, *deviance.rule), strict=True))
        _, beta, _ = deviance.split(self.psi)
        kappa = deviance.rows.kappa(self.kappa)
        sums, level_sums = np.zeros((count, kernel.n_sums)), np.empty(kernel.n_sums)
        of_row = np.empty(len(codes), np.intp)
        of_row[deviance._order] = np.repeat(np.arange(n_levels), np.diff(deviance._start))
        filled_rows = np.flatnonzero(np.diff(deviance.design.z.indptr))
        cluster = np.zeros(n_levels, np.intp)
        cluster[of_row[filled_rows]] = codes[filled_rows]
        for level in range(n_levels):
            kernel.evaluate(level, level + 1, self._root, beta, kappa, u, level_sums, **own)
            sums[cluster[level]] += level_sums
        out = np.empty((count, deviance.n_psi))
        for number in range(count):
            part = copy(self)
            vars(part).pop("_score", None)
            part._sums = kernel.split_sums(sums[number])
            found = [part._by_theta(), part._sums["by_x"]]
            if deviance.n_kappa:
                constant = -part._sums["loss_kappa"]
                found.append(np.atleast_1d(part._sums["by_kappa"] + 2.0 * constant))
            out[number] = np.concatenate(found)
        if deviance.n_kappa:
            by_rows = deviance.rows.loss_kappa(self.eta, self.kappa)
            out[:, -1] += 2.0 * np.bincount(codes, by_rows, minlength=count)
        # rows without an effect stand in any level
        astray = np.flatnonzero(cluster[of_row] != codes)
        by_x = 2.0 * self.terms.slope[astray, None] * deviance.design.x[astray]
        at = slice(deviance.n_theta, deviance.n_theta + deviance.rank)
        np.add.at(out[:, at], codes[astray], by_x)
        np.subtract.at(out[:, at], cluster[of_row[astray]], by_x)
        return out
