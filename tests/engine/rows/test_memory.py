"""The estimate of memory against what is really allocated, and its refusal."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from mixedext.engine.rows import memory
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.rows.memory import available_memory, estimate_memory, tail_bytes
from mixedext.specification.terms.random_terms import RandomTerm


def crossed(n, sizes, width=1, local=0):
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, width - 1))])
    lead = rng.integers(0, sizes[0], n)
    codes = [lead]
    for size in sizes[1:]:
        near = lead * size // sizes[0] + rng.integers(-local, local + 1, n)
        codes.append(near.clip(0, size - 1) if local else rng.integers(0, size, n))
    terms = [RandomTerm(c, x, group=f"f{i}") for i, c in enumerate(codes)]
    return rng.normal(size=n), x, terms


@pytest.mark.parametrize(
    ("n", "sizes", "width", "local", "storage"),
    [
        (20_000, (3000, 900), 1, 0, "dense"),
        (20_000, (1500, 400), 2, 0, "dense"),
        (20_000, (6000, 3000), 1, 150, "supernodal"),
        (20_000, (6000, 3000), 1, 2, "sparse"),
    ],
)
def test_estimate_is_what_a_fit_takes(n, sizes, width, local, storage):
    y, x, terms = crossed(n, sizes, width, local)
    blocks = prepare_design(y, x, terms, storage=storage)
    estimate = estimate_memory(
        blocks.blocks.factors,
        len(blocks.blocks.link_index),
        blocks.blocks.n_fixed,
        blocks.blocks.pattern,
    )
    own = [getattr(blocks.blocks, name) for name in ("tail_gram", "link_value")]
    own += [blocks.blocks.link_index, blocks.blocks.lead_gram, blocks.blocks.lead_cross]
    if blocks.blocks.pattern is not None:
        own.append(blocks.blocks.pattern.rows)
    tracemalloc.start()
    objective = blocks.objective(True)
    theta = np.concatenate([t.structure.start() for t in terms])
    objective.value(theta)
    objective.derivatives(theta)
    taken = tracemalloc.get_traced_memory()[1] + sum(a.nbytes for a in own)
    tracemalloc.stop()
    assert 0.75 * taken < estimate.total < 1.3 * taken


def test_three_matrices_for_a_dense_tail():
    assert tail_bytes(5000) == 3 * 5000**2 * 8


def test_refusal_names_the_estimate_the_factors_and_what_to_do(monkeypatch):
    class Layout:
        def __init__(self, group, n_levels):
            self.group, self.n_levels, self.width = group, n_levels, 1

    factors = [Layout("user", 300_000), Layout("film", 60_000)]
    estimate = estimate_memory(factors, 10_000_000, 3)
    with pytest.raises(MemoryError) as error:
        estimate.check(24e9)
    text = str(error.value)
    for part in ("86.9 GB", "24 GB", "film (60,000 levels)", "dense", "merge", "sample"):
        assert part in text
    estimate.check(1e12)
    monkeypatch.setenv(memory.VARIABLE, "24G")
    with pytest.raises(MemoryError, match=r"25\.8 GB are available"):
        estimate.check()
    monkeypatch.setenv(memory.VARIABLE, "1T")
    estimate.check()
    assert "dense tail" in str(estimate)


def test_one_factor_is_named_where_it_is_too_much():
    class Layout:
        group, n_levels, width = "id", 10**9, 3

    with pytest.raises(MemoryError, match=r"id \(1,000,000,000 levels x 3 columns\)"):
        estimate_memory([Layout], 0, 2).check(1e9)
    assert estimate_memory([], 0, 2).total == 0


def test_available_memory(monkeypatch, tmp_path):
    monkeypatch.delenv(memory.VARIABLE, raising=False)
    assert available_memory() > 1e6
    for text, want in (("1000", 1000), ("2k", 2048), ("1.5 GiB", 1.5 * 2**30)):
        monkeypatch.setenv(memory.VARIABLE, text)
        assert available_memory() == want
    monkeypatch.setenv(memory.VARIABLE, "much")
    with pytest.raises(ValueError, match=memory.VARIABLE):
        available_memory()


@pytest.mark.parametrize("version", [1, 2])
def test_limit_of_a_container(version, tmp_path):
    folder = tmp_path / "memory" if version == 1 else tmp_path
    folder.mkdir(exist_ok=True)
    names = (
        ("memory.max", "memory.current", "inactive_file")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    assert memory._group_memory(tmp_path) == np.inf
    (folder / names[0]).write_text("5000\n")
    (folder / names[1]).write_text("3000\n")
    assert memory._group_memory(tmp_path) == 2000
    (folder / "memory.stat").write_text(f"anon 7\n{names[2]} 500\n")
    assert memory._group_memory(tmp_path) == 2500
    (folder / names[0]).write_text("max\n")
    assert memory._group_memory(tmp_path) == np.inf


def test_a_model_too_large_is_refused_before_it_is_built(monkeypatch):
    rng = np.random.default_rng(0)
    n = 20_000
    users, films = rng.integers(0, 6000, n), rng.integers(0, 5000, n)
    terms = [RandomTerm(users, group="user"), RandomTerm(films, group="film")]
    y, x = rng.normal(size=n), np.ones((n, 1))
    monkeypatch.setenv(memory.VARIABLE, "200M")
    tracemalloc.start()
    with pytest.raises(MemoryError, match=r"film \(4,9\d\d levels\)"):
        prepare_design(y, x, terms, storage="dense")
    with pytest.raises(MemoryError, match="available"):
        prepare_design(y, x, terms)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    slopes = RandomTerm(users, rng.normal(size=(n, 3)), group="user")
    monkeypatch.setenv(memory.VARIABLE, "1M")
    monkeypatch.setattr(memory, "NEGLIGIBLE", 0)
    with pytest.raises(MemoryError, match=r"user \(5,\d\d\d levels x 3 columns\)"):
        prepare_design(y, x, [slopes])
