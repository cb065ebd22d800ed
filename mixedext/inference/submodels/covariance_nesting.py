"""Whether the covariance of one model's rows is a special case of another's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.limits import COVARIANCE_OUTSIDE, COVARIANCE_RANK
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["covariance_is_nested", "differ_in_structure"]


def covariance_is_nested(
    small: Sequence[RandomTerm | SparseTerm],
    large: Sequence[RandomTerm | SparseTerm],
    weights: np.ndarray | None = None,
) -> bool:
    """Whether each covariance matrix of the smaller model's rows is one of the larger's.

    The covariances of the rows are sum_r gamma_r Z B_r Z' + sigma^2 W^-1, linear in gamma.
    Inner products tr(Z_s B_r Z_s' Z_t B_u Z_t') of these n x n matrices are sums over
    the sparse Z_s'Z_t; a matrix of the smaller model is one of the larger's if its
    distance to their span is zero.

    Parameters
    ----------
    small, large : sequence of RandomTerm or SparseTerm
        Terms with their rows.
    weights : ndarray, optional
        Precision weights of the rows, the same in both models.
    """
    if not small:
        return True
    if not all(t.structure.linear for t in large):
        return _are_matched(small, large)
    terms = [*small, *large]
    root = None if weights is None else np.sqrt(weights)
    columns = [_rows_matrix(t, root) for t in terms]
    bases = [
        [
            sparse.kron(sparse.eye_array(t.n_levels), e, format="csr")
            for e in t.structure.ambient.covariance_basis
        ]
        for t in terms
    ]
    counts = [len(b) for b in bases]
    starts = np.concatenate([[0], np.cumsum(counts)])
    total = int(starts[-1])
    gram = np.zeros((total + 1, total + 1))
    for i in range(len(terms)):
        for j in range(i, len(terms)):
            cross = (columns[i].T @ columns[j]).tocsr()
            for r, left in enumerate(bases[i]):
                moved = left @ cross
                for u, right in enumerate(bases[j]):
                    a, b = starts[i] + r, starts[j] + u
                    gram[a, b] = gram[b, a] = (moved @ right).multiply(cross).sum()
            if i == j:
                for r, own in enumerate(bases[i]):
                    a = starts[i] + r
                    gram[a, -1] = gram[-1, a] = own.multiply(cross).sum()
    gram[-1, -1] = columns[0].shape[0]
    split = sum(counts[: len(small)])
    # the matrix of two columns that never meet is zero, and lies in every span
    gram, _ = unit_diagonal(gram)
    inner, cross = gram[split:, split:], gram[split:, :split]
    fitted = np.linalg.lstsq(inner, cross, rcond=COVARIANCE_RANK)[0]
    # relative to the matrix itself: the diagonal of the gram is 1
    distance = (
        np.diag(gram)[:split]
        - 2 * (cross * fitted).sum(axis=0)
        + (fitted * (inner @ fitted)).sum(axis=0)
    )
    return bool((distance < COVARIANCE_OUTSIDE).all())


# Structures of the same columns of which one is a special case: each with those that hold
# it; what these are special cases of holds it too.
_HELD_BY = {
    "identity": {"diagonal", "homcs", "ar1"},
    "diagonal": {"cs", "hetar1"},
    "homcs": {"cs", "homtoep"},
    "ar1": {"hetar1", "homtoep", "ad"},
    "cs": {"toep"},
    "hetar1": {"toep", "adh"},
    "homtoep": {"toep"},
    "ad": {"adh"},
    "toep": {"unstructured"},
    "adh": {"unstructured"},
}


def _holds(large: str, small: str) -> bool:
    """Whether a structure holds all covariances of another one."""
    return large == small or any(_holds(large, own) for own in _HELD_BY.get(small, ()))


def _are_matched(small, large):
    """Whether each smaller term has a larger one of the same columns that holds it.

    A curve of covariances may hold others than this tells: then they count as not nested.
    """
    left = list(large)
    for term in small:
        for other in left:
            if _same_rows(term, other) and _holds(
                other.structure.name, term.structure.name
            ):
                left.remove(other)
                break
        else:
            return False
    return True


def differ_in_structure(
    small: Sequence[RandomTerm | SparseTerm], large: Sequence[RandomTerm | SparseTerm]
) -> bool:
    """Whether two models differ in the structures of the same random effects alone.

    Then the hypothesis, that variances or correlations are equal or correlations zero, does
    not lie on the boundary.  Of structures that are curves; of linear ones nothing is said.
    """
    curved = not all(t.structure.linear for t in (*small, *large))
    return curved and len(small) == len(large) and _are_matched(small, large)


def _same_rows(one, other):
    """Whether two terms have the same Z."""
    if isinstance(one, SparseTerm) or isinstance(other, SparseTerm):
        return one is other
    return (
        one.k == other.k and _same_partition(one, other) and np.array_equal(one.z, other.z)
    )


def _same_partition(one, other):
    """Whether the levels of two terms part the rows alike, whatever their labels."""
    both = one.codes.astype(np.int64) * other.n_levels + other.codes
    count = len(np.unique(both))
    return count == len(np.unique(one.codes)) == len(np.unique(other.codes))


def _rows_matrix(term, root):
    """Z of a term, (n, levels * columns), sparse; rows times the root of the weights.

    Its columns are of size one as far as the structure allows: the span of the covariances
    stays, and fourth powers of the columns are within the range of numbers.
    """
    matrix = getattr(term, "matrix", None)  # a term given by Z itself
    if matrix is not None:
        weighted = matrix if root is None else sparse.diags_array(root) @ matrix
        return weighted / (abs(weighted).max() or 1.0)
    values = term.z if root is None else term.z * root[:, None]
    sizes = np.abs(values).max(axis=0, initial=0.0)
    largest = sizes.max() or 1.0
    scale = term.structure.ambient.column_scale(sizes / largest)
    values = values / largest / np.where(scale > 0, scale, 1.0)
    n, k = values.shape
    places = np.asarray(term.codes, np.int64)[:, None] * k + np.arange(k)
    pointers = np.arange(n + 1) * k
    shape = (n, term.n_levels * k)
    return sparse.csr_array((values.ravel(), places.ravel(), pointers), shape=shape)
