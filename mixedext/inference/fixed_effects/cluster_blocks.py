"""Adjusted scores of CR2 and their moments, cluster by cluster.

Everything is in coordinates in which A = X'V^-1 X is the identity and sigma is 1: a cluster
has V = I + Z Z' (Z already times Lam, rows times the roots of the weights), X'X over all
clusters in the metric of V^-1 sums to I, and e = V^-1 r is the conditional residual.

Beyond the span of [Z X] the cluster's V is the identity, so with an orthonormal basis K of
it, its first part the left singular vectors of Z, V is diagonal, v = 1 + s^2, and X, r and
the adjustment matrix are of the size of the span.  Clusters of about the same size are
done together: rows and columns of zeros change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mixedext.exceptions import DevianceError
from mixedext.inference.fixed_effects.matrix_root import large_cluster
from mixedext.inference.submodels.level_nesting import nonzeros
from mixedext.limits import LARGEST_SIZE, LEAST_REST, UNIT_LEVERAGE
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["UNIT_LEVERAGE", "cluster_blocks"]

# Share of the largest eigenvalue below which another one may be rounding.
LEAST_EIGENVALUE = 1e-10

# Numbers in one batch of clusters.
BATCH_SIZE = 1_000_000
# Columns of Z of a cluster, or its rows where weights are unequal (they need a dense matrix
# of that size), up to which singular values are quicker than a quadrature.
LARGEST_WIDTH, LARGEST_DENSE = 250, 250


def cluster_blocks(
    codes: np.ndarray,
    count: int,
    x: np.ndarray,
    root: np.ndarray,
    residual: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    lams: Sequence[np.ndarray],
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores and moments of every cluster.

    Parameters
    ----------
    codes : ndarray
        Cluster of each row, (n,).
    count : int
        Number of clusters.
    x : ndarray
        Fixed-effects columns kept, (n, p).
    root : ndarray
        root root' = sigma^-2 Cov(b), (p, p).
    residual : ndarray
        Conditional residuals, (n,).
    terms, lams : sequence
        Random terms with their rows, nested in the clusters; their relative factors.
    weights : ndarray, optional
        Precision weights.

    Returns
    -------
    scores : ndarray
        Adjusted scores, (G, p).
    spread, cross : ndarray
        P_g' V_g P_g and X_g' P_g with P_g = A_g' V_g^-1 X_g, (G, p, p).
    determined : ndarray
        Numbers of the clusters that alone identify a coefficient.

    Raises
    ------
    ValueError
        If a cluster is very large and alone identifies a coefficient.
    """
    p = root.shape[1]
    scores, determined = np.zeros((count, p)), np.zeros(count, bool)
    spread, cross = np.zeros((count, p, p)), np.zeros((count, p, p))
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=count)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    columns = [
        _SparseColumns(t, lam, codes, count)
        if isinstance(t, SparseTerm)
        else _Columns(t, lam, codes, count)
        for t, lam in zip(terms, lams, strict=True)
        if lam.any() and t.n_rows
    ]
    widths = sum((c.width for c in columns), np.zeros(count, np.intp))
    dense = _unequal(codes, count, weights)
    large = np.where(dense, sizes > LARGEST_DENSE, widths > LARGEST_WIDTH)
    for g in np.flatnonzero(large):
        at = order[starts[g] : starts[g + 1]]
        found = large_cluster(
            _sparse_columns(columns, at, g),
            np.ones(len(at)) if weights is None else weights[at],
            x[at] @ root,
            residual[at],
            LEAST_REST,
        )
        if found is None:
            if max(sizes[g] if dense[g] else 0, widths[g]) > LARGEST_SIZE:
                raise ValueError(
                    f"CR2 is not feasible: a cluster of {sizes[g]} rows (nearly) alone "
                    "identifies a coefficient. Use 'CR3' or 'CR1'."
                )
            large[g] = False
        else:
            scores[g], spread[g], cross[g] = found
    for batch in _batches(sizes, widths, p, dense, ~large):
        rows = _gathered(order, starts, sizes, batch)
        inside = rows >= 0
        at = np.where(inside, rows, 0)
        w = np.where(inside, 1.0 if weights is None else weights[at], 1.0)
        x_rows = np.where(inside[..., None], x[at] @ root, 0.0)
        e = np.where(inside, residual[at], 0.0)
        z = np.zeros((*rows.shape, int(widths[batch].max(initial=0))))
        offset = np.zeros(len(batch), np.intp)
        for own in columns:
            own.fill(z, rows, offset)
            offset += own.width[batch]
        if dense[batch[0]]:
            value, inner = _eigen(z, w)
            found = _adjust(value, inner @ x_rows, _times(inner, w * e))
        else:
            half = np.sqrt(w)
            found = _low_rank(z * half[..., None], x_rows * half[..., None], half * e)
        scores[batch], spread[batch], cross[batch], determined[batch] = found
    return scores, spread, cross, np.flatnonzero(determined)


class _Columns:
    """Columns of Z Lam of one term: which of a cluster's columns are a row's own."""

    def __init__(self, term: RandomTerm, lam: np.ndarray, codes: np.ndarray, count: int):
        self.term = term
        self.z = term.z @ lam
        owner = np.zeros(term.n_levels, np.intp)
        owner[term.codes] = codes
        order = np.argsort(owner, kind="stable")
        n_levels = np.bincount(owner, minlength=count)
        first = np.concatenate([[0], np.cumsum(n_levels)])[:-1]
        place = np.empty(term.n_levels, np.intp)
        place[order] = np.arange(term.n_levels)
        self.place = (place - first[owner]) * term.k
        self.width = n_levels * term.k

    def fill(self, z: np.ndarray, rows: np.ndarray, offset: np.ndarray) -> None:
        """Write the columns of the rows of several clusters into ``z``."""
        cluster, row = np.nonzero(rows >= 0)
        at = rows[cluster, row]
        first = offset[cluster] + self.place[self.term.codes[at]]
        for j in range(self.term.k):
            z[cluster, row, first + j] = self.z[at, j]

    def matrix(self, at: np.ndarray, cluster: int) -> sparse.csr_matrix:
        """Of the rows of one cluster, sparse."""
        k = self.term.k
        index = self.place[self.term.codes[at]][:, None] + np.arange(k)
        ends = np.arange(len(at) + 1) * k
        shape = (len(at), self.width[cluster])
        return sparse.csr_matrix((self.z[at].ravel(), index.ravel(), ends), shape)


class _SparseColumns:
    """The same for a term with any matrix Z; columns that are zero are in no cluster."""

    def __init__(self, term: SparseTerm, lam: np.ndarray, codes: np.ndarray, count: int):
        self.z = term.matrix * lam[0, 0]
        column, row = nonzeros(term.matrix)
        owner = np.full(term.n_levels, count, np.intp)
        owner[column] = codes[row]
        order = np.argsort(owner, kind="stable")
        n_levels = np.bincount(owner, minlength=count + 1)
        first = np.concatenate([[0], np.cumsum(n_levels)])
        self.place = np.empty(term.n_levels, np.intp)
        self.place[order] = np.arange(term.n_levels)
        self.place -= first[owner]
        self.width = n_levels[:count]

    def fill(self, z: np.ndarray, rows: np.ndarray, offset: np.ndarray) -> None:
        """Write the columns of the rows of several clusters into ``z``."""
        cluster, row = np.nonzero(rows >= 0)
        own = self.z[rows[cluster, row]].tocoo()
        kept = own.data != 0  # a zero that is stored may be in another cluster's column
        at = cluster[own.row[kept]]
        column = offset[at] + self.place[own.col[kept]]
        z[at, row[own.row[kept]], column] = own.data[kept]

    def matrix(self, at: np.ndarray, cluster: int) -> sparse.csr_matrix:
        """Of the rows of one cluster, sparse."""
        own = self.z[at].tocoo()
        shape = (len(at), self.width[cluster])
        kept = own.data != 0
        index = own.row[kept], self.place[own.col[kept]]
        return sparse.csr_matrix((own.data[kept], index), shape)


def _sparse_columns(columns, at, cluster):
    """Z Lam of the rows of one cluster, sparse."""
    parts = [sparse.csr_matrix((len(at), 0))]
    parts += [own.matrix(at, cluster) for own in columns]
    return sparse.csr_matrix(sparse.hstack(parts))


def _unequal(codes, count, weights):
    """Clusters whose weights are not all the same."""
    if weights is None:
        return np.zeros(count, bool)
    first = np.empty(count)
    first[codes] = weights
    out = np.zeros(count, bool)
    out[codes[weights != first[codes]]] = True
    return out


def _batches(sizes, widths, p, dense, wanted):
    """Numbers of clusters that are done together: of about the same numbers of rows."""
    if not wanted.any():
        return
    rounded = np.where(sizes > 4, 2 ** np.ceil(2 * np.log2(np.maximum(sizes, 1))), 0)
    rounded = np.where(dense, -sizes, rounded)  # there rows of zeros would count
    wide = 2 ** np.ceil(np.log2(np.maximum(widths, 1)))
    order = np.lexsort((wide, rounded))
    order = order[wanted[order]]
    key = np.stack([rounded[order], wide[order]])
    ends = np.flatnonzero((key[:, 1:] != key[:, :-1]).any(axis=0)) + 1
    for group in np.split(order, ends):
        rows = int(sizes[group].max())
        width = rows if dense[group[0]] else int(widths[group].max()) + p + 1
        step = max(int(BATCH_SIZE // (rows * width)), 1)
        for start in range(0, len(group), step):
            yield group[start : start + step]


def _gathered(order, starts, sizes, batch):
    """Rows of each cluster, -1 beyond its own, (clusters, rows)."""
    within = np.arange(sizes[batch].max())
    at = starts[batch][:, None] + within
    inside = within < sizes[batch][:, None]
    return np.where(inside, order[np.where(inside, at, 0)], -1)


def _times(matrix, vector):
    return (matrix @ vector[..., None])[..., 0]


def _low_rank(z, x, e):
    """``_adjust`` on the span of [Z X]."""
    if z.shape[2]:
        inner, size, _ = np.linalg.svd(z, full_matrices=False)
        inner = inner.swapaxes(1, 2)
        x_first = inner @ x
        rest = x - inner.swapaxes(1, 2) @ x_first
        again = inner @ rest  # orthogonal to rounding
        x_first += again
        rest -= inner.swapaxes(1, 2) @ again
        e_first = _times(inner, e)
        e = e - _times(inner.swapaxes(1, 2), e_first)
    else:
        size = np.zeros((len(z), 0))
        x_first, e_first, rest = np.zeros((len(z), 0, x.shape[2])), size, x
    outer, x_size, right = np.linalg.svd(rest, full_matrices=False)
    x_second = x_size[..., None] * right
    e_second = _times(outer.swapaxes(1, 2), e)
    v = np.concatenate([1 + size**2, np.ones(x_size.shape)], axis=1)
    return _adjust(
        v,
        np.concatenate([x_first, x_second], axis=1),
        np.concatenate([e_first, e_second], axis=1),
    )


def _eigen(z, w):
    """Eigenvalues (clusters, m) of Z Z' + W^-1 and, row by row, eigenvectors.

    Where they span so much that rounding reaches the smallest, from singular values of
    [Z W^-1/2], of which it reaches the root.
    """
    number = np.arange(z.shape[1])
    v = z @ z.swapaxes(1, 2)
    v[:, number, number] += 1 / w
    value, vector = np.linalg.eigh(v)
    if (value[:, 0] <= LEAST_EIGENVALUE * value[:, -1]).any():
        own = np.zeros((*z.shape[:2], z.shape[1]))
        own[:, number, number] = np.sqrt(1 / w)
        factor = np.concatenate([z, own], axis=2)
        vector, size, _ = np.linalg.svd(factor, full_matrices=False)
        value = size**2
    return value, vector.swapaxes(1, 2)


def _adjust(v, x, e):
    """Adjusted scores and moments of clusters with V = diag(v).

    Parameters
    ----------
    v : ndarray
        (clusters, m)
    x : ndarray
        (clusters, m, p)
    e : ndarray
        V^-1 r, (clusters, m).
    """
    adjusted, determined = _symmetric_adjustment(v, np.sqrt(v), x)
    scores = _times(adjusted.swapaxes(1, 2), v * e)
    spread = adjusted.swapaxes(1, 2) @ (v[..., None] * adjusted)
    cross = x.swapaxes(1, 2) @ adjusted
    return scores, spread, cross, determined


def _symmetric_adjustment(v, half, x):
    """A V^-1 X of CR2, A = V^1/2 (V^1/2 (V - X X') V^1/2)^+1/2 V^1/2.

    The root in the middle is taken from singular values of a factor of the matrix, V times
    the root of I - V^-1/2 X X' V^-1/2, which keeps their digits where V is far from I.
    """
    whitened = x / half[..., None]
    if not (np.isfinite(whitened).all() and np.isfinite(v).all()):
        raise DevianceError(
            "CR2 cannot be computed: digits are lost, as with weights of very different "
            "sizes, or variances that dwarf the residual's. Use 'CR1', or other weights"
        )
    left, size, _ = np.linalg.svd(whitened, full_matrices=False)
    remaining = 1 - size**2
    free = remaining > UNIT_LEVERAGE
    shrink = 1 - np.sqrt(np.where(free, remaining, 0.0))
    factor = -(left * shrink[:, None]) @ left.swapaxes(1, 2)
    number = np.arange(v.shape[1])
    factor[:, number, number] += 1
    factor *= v[..., None]
    vector, value, _ = np.linalg.svd(factor)
    # singular values descend: as many at the end are zero as there are unit leverages
    zero = (~free).sum(axis=1)
    kept = number < (v.shape[1] - zero)[:, None]
    inverse = np.where(kept, 1 / np.where(kept, value, 1.0), 0.0)
    product = vector.swapaxes(1, 2) @ whitened
    adjusted = half[..., None] * (vector @ (inverse[..., None] * product))
    return adjusted, zero > 0
