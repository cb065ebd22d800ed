"""Relative covariance structures: the template lam(theta) of a random term.

The random effects of one level have covariance sigma^2 lam lam' (k x k).  A structure
says how theta fills lam (all here are linear in theta) and which symmetric matrices
E_r span the covariances, Sigma = sum_r gamma_r E_r.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from mixedext.kernels.factor.triangles import lower_root

__all__ = ["STRUCTURES", "Structure", "structure"]


class Structure:
    """Template of the relative covariance factor of a term with ``k`` columns.

    Parameters
    ----------
    k : int
        Number of columns of the term.

    Attributes
    ----------
    lam_basis : ndarray
        Shape (n_theta, k, k): lam = sum_r theta_r lam_basis[r].
    covariance_basis : ndarray
        Shape (n_gamma, k, k): Sigma = sum_r gamma_r covariance_basis[r].
    """

    name: str
    correlated = False
    #: Whether T Sigma T' has the structure too, for any T: then the columns of Z may be
    #: replaced by any basis of theirs.
    any_basis = False
    lam_basis: np.ndarray
    covariance_basis: np.ndarray

    def __init__(self, k: int):
        self.k = k

    @property
    def n_theta(self) -> int:
        """Number of elements of theta."""
        return len(self.lam_basis)

    @property
    def n_gamma(self) -> int:
        """Number of free elements of the covariance matrix."""
        return len(self.covariance_basis)

    def lam(self, theta) -> np.ndarray:
        """The relative covariance factor, lower triangular, (k, k)."""
        flat, _ = self._flat_lam_basis
        return (np.asarray(theta, float) @ flat).reshape(self.k, self.k)

    def theta(self, lam) -> np.ndarray:
        """Theta of a factor that fits the template."""
        return _projected(*self._flat_lam_basis, lam)

    def gamma(self, covariance) -> np.ndarray:
        """Free elements of a covariance matrix, in the order of the basis."""
        return _projected(*self._flat_covariance_basis, covariance)

    def start(self) -> np.ndarray:
        """Theta with lam = I."""
        return self.theta(np.eye(self.k))

    def column_scale(self, rms) -> np.ndarray:
        """Scales of the columns of Z that leave the template intact."""
        return np.asarray(rms, float)

    def jacobian(self, lam) -> np.ndarray:
        """Derivative of gamma with respect to theta, (n_gamma, n_theta)."""
        half = np.einsum("rab,cb->rac", self.lam_basis, lam)
        return np.array([self.gamma(h + h.T) for h in half]).T

    def bend(self, score) -> np.ndarray:
        """Second-order term sum_r g_r d2gamma_r/dtheta2 for a score matrix (k, k)."""
        basis = self.lam_basis
        return 2 * np.einsum("rab,ac,scb->rs", basis, score, basis)

    def nearest(self, covariance) -> np.ndarray:
        """Factor lam, diagonal not negative, of a covariance in the structure."""
        value, vector = np.linalg.eigh(covariance)
        return self.triangular(vector * np.sqrt(value.clip(0)))

    def triangular(self, root) -> np.ndarray:
        """Factor lam of the template with lam lam' = root root', root square."""
        lam = np.empty((self.k, self.k))
        lower_root(root, lam)
        return lam

    def theta_names(self, columns) -> list[str]:
        """Names of the elements of theta: a column, or ``row.column`` off the diagonal."""
        names = []
        for basis in self.lam_basis:
            a, b = np.argwhere(basis)[0]
            names.append(columns[a] if a == b else f"{columns[a]}.{columns[b]}")
        return names

    @cached_property
    def _flat_lam_basis(self):
        return _flat(self.lam_basis)

    @cached_property
    def _flat_covariance_basis(self):
        return _flat(self.covariance_basis)

    @cached_property
    def _pairs(self):
        return [tuple(map(int, np.argwhere(e)[-1])) for e in self.covariance_basis]

    def gamma_pairs(self) -> list[tuple[int, int]]:
        """Row and column of the covariance that each element of gamma stands for."""
        return list(self._pairs)

    def __eq__(self, other):
        return type(self) is type(other) and self.k == other.k

    def __hash__(self):
        return hash((type(self), self.k))

    def __repr__(self):
        return f"{self.name}({self.k})"


def _flat(basis):
    """Orthogonal matrices as rows, and the squares of their lengths."""
    flat = basis.reshape(len(basis), -1)
    return flat, (flat**2).sum(axis=1)


def _projected(flat, square, matrix):
    """Coefficients of a matrix on orthogonal ones."""
    return flat @ np.asarray(matrix, float).ravel() / square


class Unstructured(Structure):
    """Any covariance matrix; theta is the lower triangle of lam by columns, as lme4."""

    name = "unstructured"
    correlated = True
    any_basis = True

    @cached_property
    def lam_basis(self):
        pairs = [(a, b) for b in range(self.k) for a in range(b, self.k)]
        basis = np.zeros((len(pairs), self.k, self.k))
        for r, (a, b) in enumerate(pairs):
            basis[r, a, b] = 1.0
        return basis

    @cached_property
    def covariance_basis(self):
        basis = self.lam_basis
        return np.maximum(basis, basis.transpose(0, 2, 1))

    @cached_property
    def _places(self):
        """Row and column of every element of theta."""
        return tuple(np.argwhere(self.lam_basis)[:, 1:].T)

    def jacobian(self, lam):
        lam = np.asarray(lam, float)
        i, j = np.array(self.gamma_pairs()).T[:, :, None]
        a, b = self._places
        return (i == a) * lam[j, b] + (j == a) * lam[i, b]

    def bend(self, score):
        a, b = self._places
        return 2 * np.where(b[:, None] == b, np.asarray(score)[a[:, None], a], 0.0)


class Diagonal(Structure):
    """One variance a column, no correlations: ``(x || g)``."""

    name = "diagonal"

    @cached_property
    def lam_basis(self):
        basis = np.zeros((self.k, self.k, self.k))
        index = np.arange(self.k)
        basis[index, index, index] = 1.0
        return basis

    @property
    def covariance_basis(self):
        return self.lam_basis

    def nearest(self, covariance):
        return np.diag(np.sqrt(np.diag(covariance).clip(0)))

    def triangular(self, root):
        return np.abs(root)

    def jacobian(self, lam):
        return np.diag(2 * np.diag(lam))

    def bend(self, score):
        return np.diag(2 * np.diag(score))


class IdentityMultiple(Structure):
    """One variance common to all columns, no correlations."""

    name = "identity"

    @cached_property
    def lam_basis(self):
        return np.eye(self.k)[None]

    @property
    def covariance_basis(self):
        return self.lam_basis

    def column_scale(self, rms):
        return np.full(self.k, np.sqrt(np.mean(np.square(rms))))

    def nearest(self, covariance):
        return np.sqrt(max(np.trace(covariance) / self.k, 0.0)) * np.eye(self.k)

    def triangular(self, root):
        return np.abs(root)

    def jacobian(self, lam):
        return np.full((1, 1), 2 * np.trace(lam) / self.k)

    def bend(self, score):
        return np.full((1, 1), 2 * np.trace(score))

    def theta_names(self, columns):
        return ["+".join(columns)]


STRUCTURES = {s.name: s for s in (Unstructured, Diagonal, IdentityMultiple)}
# Structures of other programs, for messages.
NOT_BUILT = ("cs", "homcs", "ar1", "hetar1", "ou", "toep", "rr")


@lru_cache(maxsize=256)
def structure(name: str, k: int) -> Structure:
    """The structure of that name for k columns.

    Raises
    ------
    ValueError
        If the name is not one of ``STRUCTURES``.
    """
    try:
        return STRUCTURES[name](k)
    except KeyError:
        known = ", ".join(repr(s) for s in STRUCTURES)
        built = "not built" if name in NOT_BUILT else "unknown"
        raise ValueError(f"structure={name!r} is {built}; use one of {known}") from None
