"""Quadratic forms of rows against the dense inverse."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg, sparse

import mixedext as mx
from mixedext.engine.factor import row_forms
from mixedext.engine.rows.design import prepare_design


@pytest.mark.parametrize("storage", [None, "dense", "sparse"])
@pytest.mark.parametrize("dense", [0, 2048])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_forms(count, dense, storage, monkeypatch):
    monkeypatch.setattr(row_forms, "MOST_DENSE", dense)
    rng = np.random.default_rng(count)
    n = 80
    z = np.column_stack([np.ones(n), rng.standard_normal(n)])
    codes = [np.resize(np.arange(k), n) for k in (9, 5, 4)][:count]
    columns = [z, z[:, :1], z[:, 1:]][:count]
    terms = [
        mx.RandomTerm(own, c, group=name)
        for own, c, name in zip(codes, columns, "abc", strict=False)
    ]
    design = prepare_design(rng.standard_normal(n), np.ones((n, 1)), terms, storage=storage)
    objective = design.objective(True)
    theta = np.concatenate([s.start() for s in design.structures])
    theta = theta + 0.1 * rng.random(len(theta))
    objective.stand(theta)
    factor = objective.factor_at(theta)
    blocks = factor.blocks
    head = blocks.lead_gram.shape[0] * blocks.lead_gram.shape[1]
    known = np.zeros((n, head + blocks.tail_size))
    lams = np.zeros((known.shape[1],) * 2)
    for number, layout in enumerate(blocks.factors):
        (term,) = layout.terms
        own = terms[term].z @ design.inverse_transforms[term]
        for level in range(layout.n_levels):
            at = level * layout.width + np.arange(layout.width)
            if number:
                at = head + blocks.tail_columns(number - 1)[level]
            here = terms[term].codes == level
            known[np.ix_(here, at)] = own[here]
            lams[np.ix_(at, at)] = design.lams(theta)[term]
    m = np.eye(len(lams)) + lams.T @ known.T @ known @ lams
    half = linalg.solve_triangular(np.linalg.cholesky(m), lams.T @ known.T, lower=True)
    found = row_forms.row_forms(factor, sparse.csr_array(known))
    assert_allclose(found, (half**2).sum(axis=0), rtol=1e-10)
