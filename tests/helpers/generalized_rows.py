"""Simulated rows of every family and link, and their dense Laplace deviance."""

import numpy as np
from scipy import sparse

from helpers.generalized_dense import DenseLaplace
from mixedext.engine.generalized.design import prepare_rows
from mixedext.specification.families.likelihood import LikelihoodRows
from mixedext.specification.families.registry import family_of
from mixedext.specification.families.response import RowResponse
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["FAMILIES", "MODELS", "dense_of", "draw_rows", "linear_predictor", "make_design"]

_UNIT = ("logit", "probit", "cloglog", "loglog", "cauchy")
FAMILIES = [
    *(f"{law}({link})" for law in ("binomial", "beta", "beta binomial") for link in _UNIT),
    *(f"poisson({link})" for link in ("log", "identity", "sqrt")),
    *(f"gamma({link})" for link in ("log", "inverse", "identity")),
    *(f"inverse gaussian({link})" for link in ("log", "inverse_squared")),
    *(f"negative binomial({link})" for link in ("log", "sqrt")),
    "nb1(log)",
    *(f"gaussian({link})" for link in ("log", "inverse", "identity")),
]
MODELS = ("one", "crossed", "slopes", "three", "same factor", "spread")


def linear_predictor(name, n, rng, spread=0.3):
    """A linear predictor that is well inside the domain of the family's link."""
    middle = 0.1 if "logit" in name or name.split("(")[1][:-1] in _UNIT else 1.2
    return middle + spread * rng.uniform(-1, 1, n)


def draw_rows(name, eta, rng, weights=True, counts=False):
    """The likelihood of a response drawn at a linear predictor."""
    family, n = family_of(name), len(eta)
    trials = rng.integers(1, 6, n).astype(float) if family.has_trials else None
    if "gaussian" in name or name.startswith("gamma"):
        prior = rng.uniform(0.5, 2, n) if weights else None
    else:
        prior = None
    repeats = rng.integers(1, 4, n).astype(float) if counts else None
    empty = RowResponse(np.ones(n), trials, prior, repeats)
    kappa = np.array([1.0] if family.n_dispersion else [])
    y = np.asarray(family.draw(family.mean(eta), empty, kappa, rng), float)
    if name.startswith("beta("):
        y = np.clip(y, 1e-3, 1 - 1e-3)
    return LikelihoodRows(family, RowResponse(y, trials, prior, repeats))


def make_design(model, n=70, seed=0, offset=False):
    """Rows of a model: design, and its terms."""
    rng = np.random.default_rng(seed)
    g, h, k = (rng.permutation(np.arange(n) % m) for m in (8, 5, 3))
    x = np.column_stack([np.ones(n), rng.uniform(-1, 1, n)])
    slope = np.column_stack([np.ones(n), x[:, 1]])
    terms = {
        "one": [RandomTerm(g, None, "g")],
        "crossed": [RandomTerm(g, None, "g"), RandomTerm(h, None, "h")],
        "slopes": [RandomTerm(g, slope, "g"), RandomTerm(h, slope, "h")],
        "three": [RandomTerm(c, None, s) for c, s in ((g, "g"), (h, "h"), (k, "k"))],
        "same factor": [RandomTerm(g, None, "g"), RandomTerm(g, x[:, 1], "g")],
        "spread": [RandomTerm(g, None, "g"), SparseTerm(_shares(n, rng), "s")],
    }[model]
    known = 0.2 * rng.uniform(-1, 1, n) if offset else None
    return prepare_rows(x, terms, known), terms


def _shares(n, rng):
    """Rows that belong to two of six levels each."""
    columns = np.array([rng.choice(6, 2, replace=False) for _ in range(n)])
    share = rng.uniform(0.2, 0.8, n)
    values = np.stack([share, 1 - share], axis=1).ravel()
    return sparse.csr_array((values, columns.ravel(), 2 * np.arange(n + 1)), shape=(n, 6))


class _SpreadLaplace(DenseLaplace):
    """Also with terms of which a row has several levels: their codes are Z, dense."""

    def scaled(self, theta):
        parts, start = [], 0
        for codes, z in self.terms:
            if codes.ndim == 2:
                found, used = theta[start] * codes, 1
            else:
                own = DenseLaplace(self.x, [(codes, z)], None)
                found, used = own.scaled(theta[start:])
            parts.append(found)
            start += used
        return np.hstack(parts), start


def dense_of(design, terms, rows):
    """The dense deviance by parameters in the engine's units."""
    own = []
    for term, inverse in zip(terms, design.units.inverse_transforms, strict=True):
        if isinstance(term, SparseTerm):
            own.append((term.matrix.toarray() * inverse[0, 0], np.ones((design.nobs, 1))))
        else:
            own.append((np.asarray(term.codes), np.asarray(term.z) @ inverse))

    def likelihood(eta, kappa):
        found = rows.derivatives(eta, kappa)
        return -rows.log_density(eta, kappa), found.slope, found.weight

    offset = 0.0 if design.offset is None else design.offset
    return _SpreadLaplace(design.x, own, likelihood, offset)
