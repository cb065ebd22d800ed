"""How variance parameters are named and packed, as statsmodels' MixedLM does.

``params`` holds the fixed effects, then the lower triangle of cov_re / scale row by row,
then the variance components / scale.  A term with correlations (or the only term)
belongs to cov_re; every other variance is a component.  With several correlated terms
cov_re is block-diagonal and only the blocks are packed.  Of a structured term, such as an
autoregression, the components are its natural parameters: variances, and correlations,
which are not relative to scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from mixedext.algebra.definiteness import nearest_semidefinite
from mixedext.algebra.inverses import generalized_inverse
from mixedext.algebra.roots import semidefinite_root
from mixedext.limits import ROUNDED_EIGENVALUE
from mixedext.specification.covariance.term_structure import TermStructure
from mixedext.specification.terms.parameter_names import (
    packed_covariances,
    packed_effects,
    packed_variance,
    unique_names,
)
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["ParameterLayout"]


@dataclass(frozen=True)
class _Component:
    term: int
    gamma: int
    name: str
    is_variance: bool = True

    @property
    def packed_name(self) -> str:
        return packed_variance(self.name) if self.is_variance else self.name


class _Term(NamedTuple):
    """What of a random term its parameters' names depend on."""

    group: str
    names: tuple[str, ...]
    structure: TermStructure


@dataclass(frozen=True, eq=False)
class ParameterLayout:
    """Places of the variance parameters.

    Attributes
    ----------
    correlated : list of int
        Terms that make up cov_re.
    re_names : list of str
        Names of the rows of cov_re.
    covariance_names : list of str
        Names of the packed elements of cov_re.
    components : list
        The other variances, in order.
    packed_gamma : ndarray
        For each packed variance parameter its number among the elements gamma of all
        terms, in the engine's order.
    """

    correlated: list[int]
    re_names: list[str]
    covariance_names: list[str]
    components: list[_Component]
    packed_gamma: np.ndarray

    @classmethod
    def of(
        cls,
        terms: Sequence[RandomTerm | SparseTerm],
        main_term: int | None = None,
        components: Iterable[int] = (),
    ) -> ParameterLayout:
        """Layout for the terms.

        ``main_term`` is that of ``groups`` and ``exog_re``, ``components`` are those that
        statsmodels calls variance components.
        """
        described = tuple(_Term(t.group, tuple(t.names), t.structure) for t in terms)
        return _layout(described, main_term, tuple(components))

    @property
    def component_names(self) -> list[str]:
        return [c.name for c in self.components]

    @property
    def names(self) -> list[str]:
        """Names of all packed variance parameters."""
        return self.covariance_names + [c.packed_name for c in self.components]

    @property
    def are_variances(self) -> np.ndarray:
        """Which components are variances, and not correlations of a structured term."""
        return np.array([c.is_variance for c in self.components], bool)

    def scaled(self, packed: np.ndarray, scale: float) -> np.ndarray:
        """Packed elements of covariances that are ``scale`` times those given."""
        out = np.array(packed, float)
        count = self.n_covariances
        out[:count] *= scale
        out[count:][self.are_variances] *= scale
        return out

    def cov_re(self, covariances: Sequence[np.ndarray]) -> np.ndarray:
        """Block-diagonal covariance of the correlated terms."""
        blocks = [covariances[i] for i in self.correlated]
        if len(blocks) == 1:
            return blocks[0].copy()
        return linalg.block_diag(*blocks) if blocks else np.zeros((0, 0))

    def vcomp(
        self, terms: Sequence[RandomTerm | SparseTerm], covariances: Sequence[np.ndarray]
    ) -> np.ndarray:
        """The other variances."""
        return np.array(
            [
                terms[c.term].structure.gamma(covariances[c.term])[c.gamma]
                for c in self.components
            ]
        )

    def pack(
        self, terms: Sequence[RandomTerm | SparseTerm], covariances: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Packed elements of the covariances given."""
        parts = [t.structure.gamma(s) for t, s in zip(terms, covariances, strict=True)]
        gamma = np.concatenate(parts) if parts else np.zeros(0)
        return gamma[self.packed_gamma]

    # ---- and back ----

    @property
    def n_covariances(self) -> int:
        """Packed elements of cov_re; those after them are the other variances."""
        return len(self.covariance_names)

    @property
    def n_packed(self) -> int:
        """Packed variance parameters."""
        return len(self.packed_gamma)

    def triangle(
        self, terms: Sequence[RandomTerm | SparseTerm]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of cov_re that are packed, in order."""
        rows, columns, start = [], [], 0
        for i in self.correlated:
            k = terms[i].structure.k
            row, column = np.tril_indices(k)
            rows.append(row + start)
            columns.append(column + start)
            start += k
        if not rows:
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        return np.concatenate(rows), np.concatenate(columns)

    def pack_parts(
        self, terms: Sequence[RandomTerm | SparseTerm], cov_re: ArrayLike, vcomp: ArrayLike
    ) -> np.ndarray:
        """Packed elements of cov_re and the other variances.

        Raises
        ------
        ValueError
            If a shape is wrong, or terms that the model has as independent are correlated.
        """
        cov_re, vcomp = np.asarray(cov_re, float), np.asarray(vcomp, float)
        k_re, k_vc = len(self.re_names), len(self.components)
        if cov_re.size == 0:
            cov_re = cov_re.reshape(0, 0)
        if cov_re.shape != (k_re, k_re):
            raise ValueError(
                f"cov_re must have shape {(k_re, k_re)}, a row for each of "
                f"{self.re_names}; got {cov_re.shape}"
            )
        if vcomp.shape != (k_vc,):
            raise ValueError(
                f"vcomp must have shape {(k_vc,)}, one variance for each of "
                f"{self.component_names}; got {vcomp.shape}"
            )
        at = self.triangle(terms)
        inside = np.zeros((k_re, k_re), bool)
        inside[at] = inside[at[::-1]] = True
        if cov_re[~inside].any():
            raise ValueError(
                "cov_re holds covariances between random terms that the model has as "
                "independent; they must be zero"
            )
        return np.concatenate([cov_re[at], vcomp])

    def unpack_parts(
        self, terms: Sequence[RandomTerm | SparseTerm], packed: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """cov_re and the other variances from packed elements."""
        packed = self._checked(packed)
        k_re, count = len(self.re_names), self.n_covariances
        cov_re = np.zeros((k_re, k_re))
        at = self.triangle(terms)
        cov_re[at] = cov_re[at[::-1]] = packed[:count]
        return cov_re, packed[count:].copy()

    def cov_re_and_inverse(
        self, terms: Sequence[RandomTerm | SparseTerm], packed: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """cov_re and its inverse, generalized if it is singular, as penalties take them."""
        cov_re, _ = self.unpack_parts(terms, packed)
        return cov_re, generalized_inverse(cov_re, ROUNDED_EIGENVALUE * len(cov_re))[0]

    def unpack(
        self, terms: Sequence[RandomTerm | SparseTerm], packed: ArrayLike
    ) -> list[np.ndarray]:
        """Covariance matrix of every term from packed elements."""
        gamma = np.empty(self.n_packed)
        gamma[self.packed_gamma] = self._checked(packed)
        if not len(terms):
            return []
        ends = np.cumsum([t.structure.n_gamma for t in terms])[:-1]
        return [
            t.structure.covariance(own)
            for own, t in zip(np.split(gamma, ends), terms, strict=True)
        ]

    def _checked(self, packed: ArrayLike) -> np.ndarray:
        packed = np.asarray(packed, float)
        if packed.shape != (self.n_packed,):
            raise ValueError(
                f"{self.n_packed} packed variance parameters are needed, "
                f"({', '.join(self.names)}); got shape {packed.shape}"
            )
        return packed

    # ---- square roots: Cholesky factors of the blocks of cov_re, standard deviations ----

    def square(
        self, terms: Sequence[RandomTerm | SparseTerm], root: ArrayLike
    ) -> np.ndarray:
        """Packed elements from packed square roots, as statsmodels' ``use_sqrt``."""
        root = self._checked(root)
        lower = self._lower(terms, root)
        covariance = lower @ lower.T
        rest = root[self.n_covariances :]
        rest = np.where(self.are_variances, rest**2, rest)
        return np.concatenate([covariance[self.triangle(terms)], rest])

    def square_root(
        self, terms: Sequence[RandomTerm | SparseTerm], packed: ArrayLike
    ) -> np.ndarray:
        """Packed square roots of packed elements.

        Raises
        ------
        ValueError
            If a covariance is not positive semidefinite.
        """
        cov_re, vcomp = self.unpack_parts(terms, packed)
        plain = self.are_variances
        if (vcomp[plain] < 0).any():
            raise ValueError(f"a variance is negative: {vcomp[plain]}")
        lower, start = np.zeros_like(cov_re), 0
        for i in self.correlated:
            at = slice(start, start + terms[i].structure.k)
            root = semidefinite_root(cov_re[at, at])
            if root is None:
                own = cov_re[at, at].tolist()
                raise ValueError(f"cov_re is not positive semidefinite: {own}")
            lower[at, at] = root
            start = at.stop
        vcomp[plain] = np.sqrt(vcomp[plain])
        return np.concatenate([lower[self.triangle(terms)], vcomp])

    def nearest(
        self, terms: Sequence[RandomTerm | SparseTerm], packed: ArrayLike
    ) -> tuple[np.ndarray, bool]:
        """The nearest semidefinite covariances, packed, and whether they are those given.

        Each block of cov_re without its negative eigenvalues, components not below zero.
        """
        cov_re, vcomp = self.unpack_parts(terms, packed)
        least = np.where(self.are_variances, 0.0, -np.inf)
        unchanged, start = bool((vcomp >= least).all()), 0
        for i in self.correlated:
            at = slice(start, start + terms[i].structure.k)
            cov_re[at, at], same = nearest_semidefinite(cov_re[at, at])
            unchanged &= same
            start = at.stop
        if unchanged:
            return np.asarray(packed, float), True
        return np.concatenate([cov_re[self.triangle(terms)], vcomp.clip(least)]), False

    def square_jacobian(
        self, terms: Sequence[RandomTerm | SparseTerm], root: ArrayLike
    ) -> np.ndarray:
        """Derivative of ``square``: (n_packed, n_packed), elements by roots."""
        root, out = self._checked(root), np.zeros((self.n_packed, self.n_packed))
        for structure, places in self._blocks(terms):
            out[np.ix_(places, places)] = structure.jacobian(root[places])
        at = np.arange(self.n_covariances, self.n_packed)
        out[at, at] = np.where(self.are_variances, 2 * root[at], 1.0)
        return out

    def square_bend(
        self, terms: Sequence[RandomTerm | SparseTerm], score: ArrayLike
    ) -> np.ndarray:
        """sum_r g_r d2 (element r) / d root2 for a score in the elements."""
        score, out = self._checked(score), np.zeros((self.n_packed, self.n_packed))
        for structure, places in self._blocks(terms):
            own = np.tensordot(score[places], structure.covariance_dual, 1)
            # the same for any theta, as lam is linear in it
            out[np.ix_(places, places)] = structure.bend(structure.start(), own)
        at = np.arange(self.n_covariances, self.n_packed)
        out[at, at] = np.where(self.are_variances, 2 * score[at], 0.0)
        return out

    def _blocks(self, terms):
        """Structures of the terms of cov_re, and where their elements are packed."""
        start = 0
        for i in self.correlated:
            structure = terms[i].structure
            places = np.empty(structure.n_gamma, np.intp)
            places[structure.by_rows] = np.arange(start, start + len(places))
            yield structure, places
            start += len(places)

    def _lower(self, terms, root):
        k_re = len(self.re_names)
        lower = np.zeros((k_re, k_re))
        lower[self.triangle(terms)] = root[: self.n_covariances]
        return lower


@lru_cache(maxsize=256)
def _layout(terms, main_term, components):
    correlated = [
        i
        for i, t in enumerate(terms)
        if t.structure.linear
        and t.structure.has_correlations
        and i not in components
        and (i == main_term or t.structure.k > 1 or len(terms) == 1)
    ]
    start = np.cumsum([0] + [t.structure.n_gamma for t in terms])
    several = len({terms[i].group for i in correlated}) > 1
    re_names, names, packed = [], [], []
    for i in correlated:
        term = terms[i]
        own = packed_effects(term.group, term.names, several)
        re_names.extend(own)
        names.extend(packed_covariances(own))
        packed.extend(start[i] + term.structure.by_rows)
    components = []
    for i, term in enumerate(terms):
        if i in correlated:
            continue
        for r, (name, is_variance) in enumerate(_own_components(term)):
            (name,) = unique_names([name], [c.name for c in components])
            components.append(_Component(i, r, name, is_variance))
            packed.append(start[i] + r)
    order = np.array(packed, np.intp)
    order.flags.writeable = False  # shared by models
    return ParameterLayout(correlated, re_names, names, components, order)


def _own_components(term):
    """Names of a term's natural parameters, and whether they are variances."""
    if term.structure.shares_one_variance:
        return [(term.group, True)]
    if term.structure.linear:
        return [(name, True) for name in packed_effects(term.group, term.names, True)]
    out = []
    for name in term.structure.names(term.names):
        if name.kind != "variance":
            out.append((f"{term.group} {name.kind}", False))
        elif name.effects:
            out.append((packed_effects(term.group, name.effects, True)[0], True))
        else:
            out.append((term.group, True))
    return out
