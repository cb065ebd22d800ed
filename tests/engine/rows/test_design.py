"""The two passes over the rows: chunks, and a sample of them for the first pass."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import dense

from mixedext.engine import threads
from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.engine.rows import design as design_module
from mixedext.engine.rows import rows as rows_module
from mixedext.engine.rows.design import prepare_design
from mixedext.specification.terms.random_terms import RandomTerm

N = 400


def columns(case, rng):
    """X and y of designs that a sample of the rows misjudges."""
    x = np.column_stack([np.ones(N), rng.normal(size=N), np.linspace(0, 1, N)])
    y = 3.0 + x @ [1.0, 2.0, -1.0] + rng.normal(size=N)
    if case == "rare":
        x = np.column_stack([x, np.isin(np.arange(N), [35, 37])])
    elif case == "outlier":
        x[37, 1] = 1e9
    elif case == "nearly constant":
        x[37, 0] = 2.0
    elif case == "dependent":
        x = np.column_stack([x, x[:, 1] - x[:, 2]])
    elif case == "trend":
        y += 1e6 * x[:, 2]
    elif case == "steps":
        x = np.column_stack([x, x[:, 2] > 0.5, (x[:, 2] > 0.5) * x[:, 1]])
    elif case == "no intercept":
        x = x[:, 1:] + 100.0
    return x.astype(float), y


CASES = ["plain", "rare", "outlier", "nearly constant", "dependent", "trend", "steps"]
CASES += ["no intercept"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_chunks_and_samples_change_nothing(case, weighted, monkeypatch):
    rng = np.random.default_rng(1)
    x, y = columns(case, rng)
    g = rng.integers(0, 25, N)
    z = np.column_stack([np.ones(N), 50 + rng.normal(size=N)])
    y = y + rng.normal(size=25)[g]
    terms = [RandomTerm(g, z, group="g"), RandomTerm(rng.integers(0, 9, N), group="h")]
    weights = rng.uniform(0.5, 2.0, N) if weighted else None
    whole = prepare_design(y, x, terms, weights)
    monkeypatch.setattr(rows_module, "CHUNK", 8)
    monkeypatch.setattr(design_module, "SAMPLED_CHUNKS", 5)
    pieces = prepare_design(y, x, terms, weights)
    np.testing.assert_array_equal(pieces.basis.kept, whole.basis.kept)
    theta = np.array([0.9, 0.1, 0.02, 0.7])
    one, other = (evaluate_design(d, True, theta) for d in (whole, pieces))
    assert other.deviance == pytest.approx(one.deviance, rel=1e-11)
    kept = x[:, whole.basis.kept]
    want = dense.deviance(y, kept, terms, one.lams, True, weights)
    assert one.deviance == pytest.approx(want, rel=1e-9)
    np.testing.assert_allclose(other.coefficients, one.coefficients, rtol=1e-6)
    fits = [fit_design(d, True) for d in (whole, pieces)]
    assert fits[1].deviance == pytest.approx(fits[0].deviance, rel=1e-11)
    np.testing.assert_allclose(fits[1].theta, fits[0].theta, rtol=1e-6, atol=1e-7)


def test_threads_share_the_rows(monkeypatch):
    """Up to rounding, sums do not depend on how many threads there are."""
    rng = np.random.default_rng(2)
    x, y = columns("plain", rng)
    g, h = rng.integers(0, 25, N), rng.integers(0, 9, N)
    terms = [RandomTerm(g, x[:, :2], group="g"), RandomTerm(h, group="h")]
    monkeypatch.setattr(rows_module, "CHUNK", 8)
    alone = prepare_design(y, x, terms).blocks
    for n in (2, 5):
        threads.set_num_threads(n)
        try:
            shared = prepare_design(y, x, terms).blocks
        finally:
            threads.set_num_threads(None)
        for name in ("lead_gram", "lead_cross", "link_value", "tail_gram", "tail_cross"):
            one, other = getattr(alone, name), getattr(shared, name)
            np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)


def test_rows_are_not_asked_for_rounding():
    """Columns of X that lie in those of Z leave rounding within levels."""
    rng = np.random.default_rng(3)
    n = 400_000
    g, x = rng.integers(0, 40_000, n), rng.normal(size=n)
    columns = np.column_stack([np.ones(n), x, rng.normal(size=n)])
    y = 5.0 + rng.normal(size=n) + rng.normal(size=40_000)[g]
    within = prepare_design(y, columns, [RandomTerm(g, columns[:, :2])]).blocks.within
    assert within.square > 0  # by the difference of sums, with no further pass
    assert np.count_nonzero(within.products.diagonal()) == 2
