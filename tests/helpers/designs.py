"""Random small designs of every kind, for comparison with dense algebra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.engine.rows.design import prepare_design
from mixedext.specification.terms.random_terms import RandomTerm

STRUCTURES = ("unstructured", "diagonal", "identity")


@dataclass
class RandomDesign:
    """Rows and terms of a model, and a theta."""

    y: np.ndarray
    x: np.ndarray
    terms: list[RandomTerm]
    weights: np.ndarray | None
    theta: np.ndarray

    def prepare(self, storage=None):
        return prepare_design(self.y, self.x, self.terms, self.weights, storage)

    def at_theta(self, reml, storage=None):
        """The model at theta, no optimum."""
        return evaluate_design(self.prepare(storage), reml, self.theta)

    def fit(self, reml, storage=None):
        return fit_design(self.prepare(storage), reml)


def random_design(seed, n, kinds, nested, shared, weighted, dependent):
    """A design; ``kinds`` are (columns, number of the structure) of each term."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, rng.integers(0, 4)))])
    if dependent and x.shape[1] > 1:
        x = np.column_stack([x, x[:, 0] - 2 * x[:, 1], rng.normal(size=n)])
    y = x @ rng.normal(size=x.shape[1]) + rng.normal(size=n)
    terms, theta, codes = [], [], None
    for number, (k, which) in enumerate(kinds):
        if shared and number == 1:
            pass  # a second term on the same factor
        elif nested and codes is not None:
            codes = codes // 2 if codes.max() > 2 else codes
        else:
            codes = np.append(np.arange(3), rng.integers(0, rng.integers(3, 9), n - 3))
        codes = np.unique(codes, return_inverse=True)[1]
        z = rng.normal(size=(n, k))
        z[:, 0] = 1.0
        group = "g0" if shared and number == 1 else f"g{number}"
        term = RandomTerm(codes, z, structure=STRUCTURES[which], group=group)
        terms.append(term)
        theta.append(rng.normal(size=term.structure.n_theta))
        effects = rng.normal(size=(term.n_levels, k)) * rng.uniform(0, 2)
        y += (z * effects[codes]).sum(axis=1)
    theta = np.concatenate(theta) if theta else np.zeros(0)
    if len(theta) and rng.integers(3) == 0:  # the boundary
        theta[rng.integers(len(theta))] = 0.0
    weights = rng.uniform(0.2, 4.0, n) if weighted else None
    return RandomDesign(y, x, terms, weights, theta)


design_arguments = {
    "seed": st.integers(0, 2**32 - 1),
    "n": st.integers(30, 60),
    "kinds": st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 2)), min_size=0, max_size=3
    ),
    "nested": st.booleans(),
    "shared": st.booleans(),
    "weighted": st.booleans(),
    "dependent": st.booleans(),
}
