"""How variance parameters are named and packed, as statsmodels' MixedLM does.

``params`` holds the fixed effects, then the lower triangle of cov_re / scale row by row,
then the variance components / scale.  A term with correlations (or the only term)
belongs to cov_re; every other variance is a component.  With several correlated terms
cov_re is block-diagonal and only the blocks are packed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import linalg

from mixedext.specification.structures import Structure
from mixedext.specification.terms import RandomTerm

__all__ = ["ParameterLayout"]


@dataclass(frozen=True)
class _Component:
    term: int
    gamma: int
    name: str


class _Term(NamedTuple):
    """What of a random term its parameters' names depend on."""

    group: str
    names: tuple[str, ...]
    structure: Structure


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
    def of(cls, terms: list[RandomTerm], main_term: int | None = None, components=()):
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
        return self.covariance_names + [f"{c.name} Var" for c in self.components]

    def cov_re(self, covariances: list[np.ndarray]) -> np.ndarray:
        """Block-diagonal covariance of the correlated terms."""
        blocks = [covariances[i] for i in self.correlated]
        if len(blocks) == 1:
            return blocks[0].copy()
        return linalg.block_diag(*blocks) if blocks else np.zeros((0, 0))

    def vcomp(self, terms: list[RandomTerm], covariances: list[np.ndarray]) -> np.ndarray:
        """The other variances."""
        return np.array(
            [
                terms[c.term].structure.gamma(covariances[c.term])[c.gamma]
                for c in self.components
            ]
        )

    def pack(self, terms, covariances) -> np.ndarray:
        """Packed elements of the covariances given."""
        parts = [t.structure.gamma(s) for t, s in zip(terms, covariances, strict=True)]
        gamma = np.concatenate(parts) if parts else np.zeros(0)
        return gamma[self.packed_gamma]


@lru_cache(maxsize=256)
def _layout(terms, main_term, components):
    correlated = [
        i
        for i, t in enumerate(terms)
        if t.structure.correlated
        and i not in components
        and (i == main_term or t.structure.k > 1 or len(terms) == 1)
    ]
    start = np.cumsum([0] + [t.structure.n_gamma for t in terms])
    several = len({terms[i].group for i in correlated}) > 1
    re_names, names, packed = [], [], []
    for i in correlated:
        term = terms[i]
        own = [_effect_name(term, c, several) for c in term.names]
        re_names.extend(own)
        place = {p: r for r, p in enumerate(term.structure.gamma_pairs())}
        for a in range(term.structure.k):
            for b in range(a + 1):
                kind = f"{own[a]} Var" if a == b else f"{own[b]} x {own[a]} Cov"
                names.append(kind)
                packed.append(start[i] + place[a, b])
    components = []
    for i, term in enumerate(terms):
        if i in correlated:
            continue
        pairs = term.structure.gamma_pairs()
        for r, (a, _) in enumerate(pairs):
            single = term.structure.name == "identity"
            name = term.group if single else _effect_name(term, term.names[a], True)
            components.append(_Component(i, r, _unique(name, components)))
            packed.append(start[i] + r)
    packed = np.array(packed, np.intp)
    packed.flags.writeable = False  # shared by models
    return ParameterLayout(correlated, re_names, names, components, packed)


def _effect_name(term, column, qualified):
    if column == "Intercept":
        return term.group
    return f"{term.group}.{column}" if qualified else column


def _unique(name, components):
    taken = {c.name for c in components}
    if name not in taken:
        return name
    number = 2
    while f"{name}.{number}" in taken:
        number += 1
    return f"{name}.{number}"
