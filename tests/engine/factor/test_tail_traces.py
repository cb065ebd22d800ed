"""Traces over the tail, by each way to take them, against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dense_inference import check_information
from helpers.designs import RandomDesign, design_arguments, random_design
from hypothesis import given, settings
from hypothesis import strategies as st

from mixedext.engine.factor import tail_traces
from mixedext.engine.factor.tail_traces import divided_roots
from mixedext.specification.terms.random_terms import RandomTerm


def ways(monkeypatch):
    """Record which way was taken."""
    taken = []
    for name in ("_Dense", "_Slabs"):
        kind = getattr(tail_traces, name)

        class Recorded(kind):
            def traces(self, own=name):
                taken.append(own)
                return super().traces()

        monkeypatch.setattr(tail_traces, name, Recorded)
    return taken


@settings(max_examples=150, deadline=None)
@given(
    **design_arguments,
    reml=st.booleans(),
    storage=st.sampled_from(["sparse", "supernodal"]),
    slab=st.sampled_from([1, 100, 10**6]),
)
def test_inverse_in_slabs(reml, storage, slab, **design):
    rows = random_design(**design)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail_traces, "DENSE_COLUMNS", 0)
        patch.setattr(tail_traces, "SLAB_SIZE", slab)
        check_information(rows.at_theta(reml, storage), rows)


def chain(rng, counts, widths, n=400):
    """Nested grouping factors, the finest first."""
    codes = np.append(np.arange(counts[0]), rng.integers(0, counts[0], n - counts[0]))
    terms, theta = [], []
    for number, (count, k) in enumerate(zip(counts, widths, strict=True)):
        own = codes * count // counts[0]
        z = np.column_stack([np.ones(n), rng.normal(size=(n, k - 1))])
        terms.append(RandomTerm(own, z, f"g{number}"))
        theta.append(terms[-1].structure.theta(np.eye(k)) + 0.1)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    return RandomDesign(rng.normal(size=n), x, terms, None, np.concatenate(theta))


@pytest.mark.parametrize("zero", [False, True])
def test_nested_factors_share_right_hand_sides(monkeypatch, zero):
    taken = ways(monkeypatch)
    rows = chain(np.random.default_rng(4), (60, 24, 8), (1, 2, 1))
    if zero:
        rows.theta[-1] = 0.0
    fit = rows.at_theta(True, "sparse")
    assert fit.design.blocks.storage == "nested"
    # 8 parts of 3 + 1 levels: no part is as large as a quarter of the tail
    check_information(fit, rows, 1e-11)
    assert taken == ["_Slabs"]
    assert (divided_roots(fit.objective.factor) is None) == zero


def test_moderate_sparse_tails_are_inverted_whole(monkeypatch):
    taken = ways(monkeypatch)
    rng = np.random.default_rng(5)
    n = 300
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    terms = [
        RandomTerm(rng.integers(0, count, n), np.ones((n, 1)), f"g{count}")
        for count in (40, 25)
    ]
    rows = RandomDesign(rng.normal(size=n), x, terms, None, np.array([0.9, 0.6]))
    check_information(rows.at_theta(True, "supernodal"), rows, 1e-11)
    assert taken == ["_Dense"]


def test_memory_stays_with_the_blocks():
    """12,000 levels in 4,000 and 400: the inverse of the tail would be 155 MB."""
    import tracemalloc

    rows = chain(np.random.default_rng(6), (12000, 4000, 400), (1, 1, 1), n=36000)
    fit = rows.at_theta(True)
    assert fit.design.blocks.storage == "nested"
    fit.objective.factor.response  # noqa: B018  (part of the fit)
    tracemalloc.start()
    tail_traces.tail_traces(fit.objective.factor, [np.ones((1, 1, 1))] * 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
