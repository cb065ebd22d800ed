"""Small designs of every layout of random terms."""

import numpy as np
from scipy import sparse

from mixedext.engine.generalized.design import GeneralizedDesign, prepare_rows
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

N = 60


def columns_and_groups():
    """Random numbers, X (N, 3) and three groupings."""
    rng = np.random.default_rng(5)
    x = np.column_stack([np.ones(N), rng.normal(size=(N, 2))])
    g, h = rng.integers(0, 9, N), rng.integers(0, 7, N)
    return rng, x, (g, h, h // 3)


def layouts():
    """Random terms by the name of their layout."""
    rng, x, (g, h, k) = columns_and_groups()
    spread = sparse.random_array((N, 6), density=0.3, rng=rng).tocsr()
    # of a factor coded level by level most columns of a row are zero
    indicators = np.eye(3)[rng.integers(0, 3, N)]
    return {
        "one": [RandomTerm(g, x[:, :2], "g")],
        "crossed": [RandomTerm(g, None, "g"), RandomTerm(h, None, "h")],
        "slopes": [RandomTerm(g, x[:, :2], "g"), RandomTerm(h, x[:, [0, 2]], "h")],
        "zeros": [RandomTerm(g, indicators, "g"), RandomTerm(h, indicators, "h")],
        "two terms": [
            RandomTerm(g, None, "g"),
            RandomTerm(g, x[:, 1:2], "g"),
            RandomTerm(h, x[:, :2], "h"),
        ],
        "three": [RandomTerm(c, None, f"c{i}") for i, c in enumerate((g, h, k))],
        "spread": [RandomTerm(g, x[:, :2], "g"), SparseTerm(spread, "s")],
        "spread alone": [SparseTerm(spread, "s")],
    }


def design_of_layout(name: str, storage: str | None = None) -> GeneralizedDesign:
    """The design of a layout."""
    _, x, _ = columns_and_groups()
    return prepare_rows(x, layouts()[name], storage=storage)
