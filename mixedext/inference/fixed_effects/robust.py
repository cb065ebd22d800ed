"""Cluster-robust covariance of the fixed effects, CR0 to CR3, and tests by it.

The estimator is generalized least squares with the model's V at the estimates; the
sandwich guards against a V that is wrong within clusters.  With A = X'V^-1 X,
r = y - X b and the scores h_g of the clusters,

    Cov(b) = A^-1 (sum_g h_g h_g') A^-1

CR0 and CR1 take h_g = (V^-1 X)_g' r_g, so that the terms of the estimate's error are
independent whenever clusters are, whatever V is.  Where V is block-diagonal by cluster
this is X_g' V_g^-1 r_g = X_g' W_g e_g / sigma^2, e the conditional residuals: one pass over
the rows.  (Where it is not, X_g' (V^-1 r)_g is another thing, since V^-1 r mixes clusters.)

CR2 and CR3, for block-diagonal V, take h_g = X_g' V_g^-1 A_g r_g with A_g = (I - H_gg)^-1
(CR3, the jackknife) or the symmetric solution of A_g (V_g - X_g A^-1 X_g') A_g = V_g (CR2),
which makes the estimate unbiased where V is right (Pustejovsky and Tipton 2018).  All is
done in coordinates in which A is the identity and sigma is 1; there CR3 needs no more than
X_g' V_g^-1 X_g, (p, p), and CR2 the span of [Z_g X_g] (see ``cluster_blocks``).  Beside a
residual covariance all is done in rows whitened by the lower Cholesky factor of V_g, as in
mmrm, on which CR2 depends: A_g = (I - H_gg)^-1/2 there (see ``residual_clusters``).

A coefficient that one cluster alone tells has no such error; see ``single_clusters``.

Degrees of freedom are Bell and McCaffrey's: d = L b's estimated covariance is a quadratic
form in y, its moments under V are matched to a multiple of chi-squared (or a Wishart
matrix, for joint tests: Pustejovsky and Tipton's HTZ).

References
----------
Bell and McCaffrey (2002), Survey Methodology 28(2).
Cameron, Gelbach and Miller (2011), Journal of Business and Economic Statistics 29(2).
Pustejovsky and Tipton (2018), Journal of Business and Economic Statistics 36(4).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixedext.algebra.definiteness import nearest_semidefinite
from mixedext.algebra.inverses import generalized_inverse
from mixedext.engine.deviance.profiled import FactorDeviance
from mixedext.engine.fit import Fit
from mixedext.exceptions import ClusterWarning, user_stacklevel
from mixedext.inference.fixed_effects.cluster_blocks import cluster_blocks
from mixedext.inference.fixed_effects.df_methods import (
    FixedTests,
    FTest,
    f_test_of,
    independent_rows,
    no_hypothesis,
)
from mixedext.inference.fixed_effects.residual_clusters import (
    groups_are_nested,
    independent_rows_of,
    terms_are_nested,
)
from mixedext.inference.fixed_effects.single_clusters import ToldByOne, told_by_one
from mixedext.inference.submodels.level_nesting import term_is_nested
from mixedext.limits import CANCELLED, ROUNDED_EIGENVALUE, UNIT_LEVERAGE, WISHART_SINGULAR
from mixedext.specification.data.labels import interact
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = [
    "KINDS",
    "NO_ERROR",
    "ClusterCovariance",
    "ClusterMoments",
    "CovarianceTests",
    "cluster_covariance",
    "small_sample_factor",
    "two_way_covariance",
]

KINDS = ("CR0", "CR1", "CR2", "CR3")
NO_ERROR = (
    "No cluster-robust standard error exists for {}, of which one cluster alone tells"
)


@dataclass(frozen=True, eq=False)
class ClusterMoments:
    """What the law of the estimated covariance under V depends on.

    With P_g = A_g' V_g^-1 X_g, in coordinates in which X'V^-1 X = I.

    Attributes
    ----------
    spread : ndarray
        P_g' V_g P_g of every cluster, (G, p, p).
    cross : ndarray
        X_g' P_g, (G, p, p).
    root : ndarray
        From these coordinates to coefficients: root root' = sigma^-2 (X'V^-1 X)^-1, (p, p).
    """

    spread: np.ndarray
    cross: np.ndarray
    root: np.ndarray

    def df(self, rows: np.ndarray) -> np.ndarray:
        """Bell and McCaffrey's degrees of freedom of each combination, (m,)."""
        rows = rows @ self.root
        own = np.einsum("gij,mi,mj->gm", self.spread, rows, rows)
        cross = np.einsum("gij,mj->gmi", self.cross, rows)
        return np.array([self._df(own[:, m], cross[:, m]) for m in range(len(rows))])

    @staticmethod
    def _df(own, cross):
        # Cov(d_g, d_h) = [g = h] own_g - cross_g'cross_h, d_g the terms of the sum
        square = (cross**2).sum(axis=1)
        mean = (own - square).sum()
        gram = cross.T @ cross
        variance = (own**2).sum() - 2 * (own * square).sum() + (gram**2).sum()
        return mean**2 / variance if variance > 0 else np.nan

    def wishart_df(self, rows: np.ndarray) -> float:
        """Degrees of freedom of the Wishart matrix nearest to L Cov(b) L' (HTZ).

        That of the same total variance of its elements, on the scale on which its mean
        is the identity.
        """
        rows = rows @ self.root
        q = len(rows)
        own = np.einsum("gij,mi,nj->gmn", self.spread, rows, rows)
        cross = np.einsum("gij,mj->gmi", self.cross, rows)
        mean = own.sum(axis=0) - np.einsum("gmi,gni->mn", cross, cross)
        value, vector = np.linalg.eigh(mean)
        if value[0] <= WISHART_SINGULAR * value[-1]:
            return np.nan
        change = (vector / np.sqrt(value)).T
        own = change @ own @ change.T
        cross = change @ cross
        trace = np.einsum("gmm->g", own)
        square = np.einsum("gmi,gmi->g", cross, cross)
        outer = np.einsum("gmi,gnj->minj", cross, cross)
        # sum over elements (s, t) of the variance of sum_g d_gs d_gt
        variance = (trace**2).sum() - 2 * (trace * square).sum() + (outer**2).sum()
        variance += np.einsum("gmn,gmn->", own, own)
        variance -= 2 * np.einsum("gmn,gmi,gni->", own, cross, cross)
        variance += np.einsum("minj,nimj->", outer, outer)
        return q * (q + 1) / variance


@dataclass(frozen=True, eq=False)
class ClusterCovariance:
    """A cluster-robust covariance matrix of the fixed effects.

    Attributes
    ----------
    kind : {"CR0", "CR1", "CR2", "CR3"}
        The estimator.
    root, inner : ndarray
        The covariance of the coefficients kept is root inner root', (p, p) each; root
        root' is the model's own.
    n_clusters : tuple of int
        Number of clusters, by way.
    factor : tuple of float
        What the sum over clusters was multiplied by, by way (and the intersection).
    moments : ClusterMoments or None
        For Bell and McCaffrey's degrees of freedom; None where they were not asked for.
    told : ToldByOne
        What one cluster alone tells of the coefficients: no error of that is known.
    determined : ndarray
        Numbers of the clusters without which a coefficient would not be identified (CR2
        and CR3).
    clipped : bool
        Whether negative eigenvalues were set to zero (two-way clusters).
    """

    kind: str
    root: np.ndarray
    inner: np.ndarray
    n_clusters: tuple[int, ...]
    factor: tuple[float, ...]
    moments: ClusterMoments | None
    told: ToldByOne
    determined: np.ndarray
    clipped: bool = False

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the coefficients kept, (p, p); NaN where it has no value."""
        covariance = self.root @ self.inner @ self.root.T
        unknown = self.told.concerns(np.eye(len(covariance)))
        covariance[unknown] = covariance[:, unknown] = np.nan
        return covariance

    def scaled(self, factor: float | None) -> ClusterCovariance:
        """The covariance times a factor."""
        if factor is None:
            return self
        factors = tuple(factor * own for own in self.factor)
        return replace(self, inner=factor * self.inner, factor=factors)


class CovarianceTests(FixedTests):
    """t and F tests by a covariance other than the model's own.

    Parameters
    ----------
    fit : Fit
        The fitted model.
    inner : ndarray
        Covariance of the coefficients as ``FixedTests`` takes it, (rank, rank).
    df : float, optional
        Degrees of freedom of every test: infinite for the normal law.  Those of Bell and
        McCaffrey if None, and for joint tests those of HTZ.
    moments : ClusterMoments, optional
        Needed where ``df`` is None.
    told : ToldByOne, optional
        Combinations that rest on one cluster alone have no error.
    note : str, optional
        Which coefficients these are.
    """

    def __init__(
        self,
        fit: Fit,
        inner: np.ndarray,
        df: float | None = None,
        moments: ClusterMoments | None = None,
        told: ToldByOne | None = None,
        note: str = "",
    ):
        super().__init__(fit, inner)
        self.fixed_df, self.moments = df, moments
        self.told, self.note = told, note

    def held_notes(self) -> list[str]:
        return [*super().held_notes(), *([self.note] if self.note else [])]

    def _unknown(self, rows):
        if self.told is None:
            return np.zeros(len(rows), bool)
        return self.told.concerns(rows)

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """Covariance of combinations, (m, m); NaN of those that rest on one cluster.

        Warns
        -----
        ClusterWarning
            If there are such.
        """
        spread, unknown = super().spread(rows), self._unknown(rows)
        if unknown.any():
            spread[unknown] = spread[:, unknown] = np.nan
            warnings.warn(
                f"{self.note or NO_ERROR.format('some coefficients')}; "
                f"{int(unknown.sum())} of {len(rows)} combinations asked for rest on it "
                "and have NaN",
                ClusterWarning,
                stacklevel=user_stacklevel(),
            )
        return spread

    def df(self, rows: Any) -> np.ndarray:
        rows = np.atleast_2d(rows)
        if self.fixed_df is None:
            df = self._known_moments.df(rows)
        else:
            df = np.full(len(rows), float(self.fixed_df))
            if self.fixed_df == np.inf:  # z or not is no matter of single combinations
                return df
        return np.where(self._unknown(rows), np.nan, df)

    @property
    def _known_moments(self) -> ClusterMoments:
        if self.moments is None:
            raise ValueError("df=None needs the moments of the clusters")
        return self.moments

    def f_test(self, rows: Any, values: Any = 0.0) -> FTest:
        """Joint test that ``rows @ coefficients == values``; dependent rows are dropped.

        With fewer clusters than combinations their covariance is singular: then they are
        tested where it is not.
        """
        rows = np.atleast_2d(np.asarray(rows, float))
        if np.isnan(self.spread(rows)).any():
            return f_test_of(np.nan, len(rows), np.nan)
        rows, values = independent_rows(rows, values, self.fit.root)
        if not len(rows):
            return no_hypothesis()
        difference = rows @ self.fit.coefficients - values
        inverse, rank = generalized_inverse(
            self.spread(rows), ROUNDED_EIGENVALUE * len(rows)
        )
        square = difference @ inverse @ difference
        if self.fixed_df is not None:
            return f_test_of(float(square) / max(rank, 1), rank, float(self.fixed_df))
        q = len(rows)
        total = self._known_moments.wishart_df(rows) if rank == q else np.nan
        denominator = total - q + 1
        if not denominator > 0:
            warnings.warn(
                f"too few clusters for a joint test of {q} combinations: its degrees of "
                "freedom are not positive. Test fewer, or use cov_type='CR1'.",
                ClusterWarning,
                stacklevel=user_stacklevel(),
            )
            return f_test_of(np.nan, q, np.nan)
        scaling = denominator / total
        return f_test_of(float(scaling * square) / q, q, float(denominator), float(scaling))


def cluster_covariance(
    fit: Fit,
    kind: str,
    codes: np.ndarray,
    x: np.ndarray,
    residual: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    weights: np.ndarray | None = None,
    *,
    moments: bool | None = None,
) -> ClusterCovariance:
    """Cluster-robust covariance of the fixed effects of a fit.

    Parameters
    ----------
    fit : Fit
        The fitted model.
    kind : {"CR0", "CR1", "CR2", "CR3"}
        The estimator.  CR1 is CR0 times G / (G - 1) * (n - 1) / (n - p), as statsmodels'
        "cluster".
    codes : ndarray
        Cluster of each row, 0 to G - 1 without gaps, (n,).
    x : ndarray
        All fixed-effects columns, (n, k).
    residual : ndarray
        Conditional residuals, response less fixed and random effects, (n,); beside a
        residual covariance the response less fixed effects.
    terms : sequence of RandomTerm
        The random terms with their rows.
    weights : ndarray, optional
        Precision weights.
    moments : bool, optional
        Whether to find what the degrees of freedom need; with CR2 and CR3 if None.

    Returns
    -------
    ClusterCovariance

    Raises
    ------
    ValueError
        If V is not block-diagonal by cluster where that is needed, or there is but one
        cluster.
    """
    n_clusters = int(codes.max()) + 1
    if n_clusters < 2:
        raise ValueError("groups of the robust covariance have one level; two are needed")
    x, root = _columns(fit, x)
    n, p = x.shape
    wanted = kind in ("CR2", "CR3") if moments is None else moments
    told = _told(fit, x, root, [codes], weights)
    if wanted or kind in ("CR2", "CR3"):
        _check_nested(fit, kind, codes, terms)
    lams = fit.lams
    if fit.residual is not None:
        x, residual = independent_rows_of(fit, [codes], x, residual)
        terms, lams, weights = [], (), None
    determined = np.zeros(0, np.intp)
    found = None
    if kind == "CR2":
        scores, spread, cross, determined = cluster_blocks(
            codes, n_clusters, x, root, residual, terms, lams, weights
        )
        found = ClusterMoments(spread, cross, root)
    else:
        scores = _scores(fit, [codes], x, root, residual, terms, weights)[0]
        if wanted or kind == "CR3":
            leverage = _leverages(fit, codes, n_clusters, x, root, terms, weights)
            found = ClusterMoments(leverage, leverage, root)
        if kind == "CR3":
            scores, spread, cross, determined = _left_out(scores, leverage)
            found = ClusterMoments(spread, cross, root)
    correction = small_sample_factor(kind, n_clusters, n, p)
    inner = correction / fit.scale * (scores.T @ scores)
    return ClusterCovariance(
        kind,
        np.sqrt(fit.scale) * root,
        inner,
        (n_clusters,),
        (correction,),
        found if wanted else None,
        told,
        determined,
    )


def two_way_covariance(
    fit: Fit,
    kind: str,
    first: np.ndarray,
    second: np.ndarray,
    x: np.ndarray,
    residual: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    weights: np.ndarray | None = None,
) -> ClusterCovariance:
    """Covariance robust to two crossed clusterings: V1 + V2 - V12.

    Negative eigenvalues, on the scale of the model's own covariance, are set to zero.

    Parameters
    ----------
    fit, x, residual, terms, weights
        As for ``cluster_covariance``.
    kind : {"CR0", "CR1"}
        The estimator of each part; CR1 with a factor of its own, as statsmodels.
    first, second : ndarray
        Clusters of each row, both ways, (n,).

    Returns
    -------
    ClusterCovariance
    """
    if kind not in ("CR0", "CR1"):
        raise ValueError(
            f"{kind} is not defined for two-way clusters; use 'CR0' or 'CR1' ('cluster')"
        )
    levels = [range(int(codes.max()) + 1) for codes in (first, second)]
    if min(map(len, levels)) < 2:
        raise ValueError("groups of the robust covariance have one level; two are needed")
    both, _ = interact((first, levels[0]), (second, levels[1]))
    x, root = _columns(fit, x)
    n, p = x.shape
    ways = (first, second, both)
    told = _told(fit, x, root, ways[:2], weights)
    if fit.residual is not None:
        x, residual = independent_rows_of(fit, ways, x, residual)
        terms, weights = [], None
    parts = _scores(fit, ways, x, root, residual, terms, weights)
    factors = [small_sample_factor(kind, len(part), n, p) for part in parts]
    one, two, three = (
        f / fit.scale * part.T @ part for f, part in zip(factors, parts, strict=True)
    )
    inner = one + two - three
    # in these coordinates the model's covariance is the identity
    inner, definite = nearest_semidefinite(inner, CANCELLED)
    if not definite:
        warnings.warn(
            "the two-way covariance V1 + V2 - V12 has negative eigenvalues, which are set "
            "to zero: there are few clusters, or the ways are nested",
            ClusterWarning,
            stacklevel=user_stacklevel(),
        )
    return ClusterCovariance(
        kind,
        np.sqrt(fit.scale) * root,
        inner,
        (len(levels[0]), len(levels[1])),
        tuple(factors),
        None,
        told,
        np.zeros(0, np.intp),
        not definite,
    )


def _check_nested(fit, kind, codes, terms):
    what = kind if kind in ("CR2", "CR3") else f"{kind} with degrees of freedom"
    if fit.residual is not None and not groups_are_nested(fit, codes):
        raise ValueError(
            f"{what} needs rows of different clusters to be independent under the model, "
            f"but residual={str(fit.residual.bound.spec)!r} correlates rows of several. "
            "Use groups in which the residual groups are nested, or cov_type='CR0' or "
            "'CR1'."
        )
    for term, lam in zip(terms, fit.lams, strict=True):
        if lam.any() and not term_is_nested(term, codes):
            raise ValueError(
                f"{what} needs rows of different clusters to be independent under the "
                f"model, but levels of the grouping factor {term.group!r} occur in several "
                "clusters. Use groups in which it is nested, or cov_type='CR0' or 'CR1'."
            )


def _told(fit, x, root, ways, weights):
    root = np.sqrt(fit.scale) * root
    basis = fit.design.basis
    if fit.residual is not None:  # of the rows as they are
        basis = fit.residual.unwhitened(False).basis
    return told_by_one(x, basis.r, root, ways, weights)


def _block_diagonal(fit, ways, terms):
    """Whether rows of different clusters are independent under the model."""
    if fit.residual is not None:  # rows have been made so
        return True
    return terms_are_nested(fit, ways, terms)


def _columns(fit, x):
    """Columns of X that were kept, and root with root root' = sigma^-2 Cov(b)."""
    basis = fit.design.basis
    x = x if x.shape[1] == basis.rank else x[:, basis.kept]
    return x, fit.root


def small_sample_factor(kind: str, n_clusters: int, n: float, p: int) -> float:
    """What the sum over clusters is multiplied by: statsmodels' factor with CR1, else 1."""
    if kind != "CR1":
        return 1.0
    return n_clusters / (n_clusters - 1) * (n - 1) / (n - p)


def _scores(fit, ways, x, root, residual, terms, weights):
    """Scores of the clusters of every way in the coordinates of ``root``, (G, p) each."""
    block_diagonal = _block_diagonal(fit, ways, terms)
    counts = [int(codes.max()) + 1 for codes in ways]
    out = [np.empty((count, root.shape[1])) for count in counts]
    error = residual.copy()
    effects = []
    if not block_diagonal:
        _add_effects(error, terms, fit.effects)
        effects = _column_effects(fit, root)
    if weights is not None:
        error *= weights
    for j in range(root.shape[1]):
        column = x @ root[:, j]  # of V0^-1 X, but for the weights
        if not block_diagonal:
            _add_effects(column, terms, [-effect[..., j] for effect in effects])
        column *= error
        for way, codes in enumerate(ways):
            out[way][:, j] = np.bincount(codes, column, minlength=counts[way])
    return out


def _leverages(fit, codes, count, x, root, terms, weights):
    """X_g'V_g^-1 X_g in the coordinates of ``root``, for block-diagonal V, (G, p, p)."""
    effects = _column_effects(fit, root) if terms else []
    p = root.shape[1]
    out = np.empty((count, p, p))
    plain = [x @ root[:, j] for j in range(p)]
    for j in range(p):
        column = plain[j].copy()
        _add_effects(column, terms, [-effect[..., j] for effect in effects])
        if weights is not None:
            column *= weights
        for i in range(j + 1):
            out[:, i, j] = np.bincount(codes, plain[i] * column, minlength=count)
            out[:, j, i] = out[:, i, j]
    return out


def _left_out(scores, leverage):
    """Scores and moments of CR3 from those of CR0.

    X'V^-1 (I - H)^-1 r = (I - X'V^-1 X)^-1 X'V^-1 r: the estimate's change where the
    cluster is left out.  Where a coefficient is not identified then, it does not change.
    """
    value, vector = np.linalg.eigh(np.eye(scores.shape[1]) - leverage)
    free = value > UNIT_LEVERAGE
    inverse = np.where(free, 1 / np.where(free, value, 1.0), 0.0)
    change = (vector * inverse[:, None]) @ vector.swapaxes(1, 2)
    cross = leverage @ change
    determined = np.flatnonzero(~free.all(axis=1))
    return (change @ scores[..., None])[..., 0], change @ cross, cross, determined


def _add_effects(column, terms, effects):
    """Add Z b of all terms to a column of the rows."""
    for term, effect in zip(terms, effects, strict=True):
        if isinstance(term, SparseTerm):
            column += term.contribution(effect)
            continue
        for j, own in enumerate(term.columns):
            part = effect[:, j][term.codes]
            column += part if own is None else own * part


def _column_effects(fit, root):
    """Lam U of X root, (L, k, p) a term: V0^-1 X root = W (X root - Z Lam U)."""
    design = fit.design
    objective = FactorDeviance(design.blocks, design.structures, fit.reml)
    objective.value(design.inner_theta(fit.theta))
    change = design.basis.r @ root
    out = []
    for i in range(len(design.terms)):
        effect = objective.by_term(i, *objective.factor.response.effect)
        effect = effect[..., :-1] @ change / design.y_scale
        term, p = design.terms[i], effect.shape[2]
        own = np.empty((term.n_levels, term.k, p))
        for j in range(p):
            own[..., j] = design.own_effects(i, effect[..., j])
        out.append(own)
    return out
