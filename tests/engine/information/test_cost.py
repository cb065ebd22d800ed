"""Work of the information on the variances beside the fit, from sizes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.engine.factor.tail_traces import has_dense_inverse, tail_parts
from mixedext.engine.information.cost import fit_work, information_work, work_beside_fit

pytestmark = pytest.mark.formula_engine


def design_of(formula, data):
    return mx.mixedlm(formula, data)._design


def movers(q):
    """Levels of a small factor, a part of which in pairs meet: a sparse tail."""
    rng = np.random.default_rng(0)
    n = 10 * q
    a = np.repeat(np.arange(2 * q), 5)
    moved = (rng.random(n) < 0.02) * rng.integers(0, q // 10, n)
    b = (a // 20 + moved) % (q // 10)
    return pd.DataFrame({"a": a, "b": b, "x": rng.normal(size=n), "y": rng.normal(size=n)})


def test_the_order_of_what_was_measured():
    """Beside measured ratios 0.1, 2.3, 27 (one factor) and 12 (sparse, two factors)."""
    rng = np.random.default_rng(1)
    found = []
    for k in (4, 8, 12):
        data = pd.DataFrame(
            rng.normal(size=(20000, k)), columns=[f"x{i}" for i in range(k)]
        )
        columns = " + ".join(data.columns)
        data = data.assign(g=rng.integers(0, 500, 20000), y=rng.normal(size=20000))
        found.append(
            work_beside_fit(design_of(f"y ~ {columns} + (0 + {columns} | g)", data))
        )
    assert found[0] < 1 < found[1] < 10 < found[2]
    sparse = work_beside_fit(design_of("y ~ x + (1 | a) + (1 | b)", movers(20000)))
    assert 4 < sparse < 40


def test_small_data_never_cost_too_much():
    for name, formula in (
        ("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
        ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
        ("pastes", "strength ~ 1 + (1 | batch/cask)"),
        ("pulp", "bright ~ operator"),
        ("machines", "score ~ Machine + (Machine | Worker)"),
    ):
        assert work_beside_fit(design_of(formula, mx.datasets.load(name).data)) < 0.1


def test_the_same_for_any_order_of_rows():
    data = movers(2000)
    formula = "y ~ x + (1 | a) + (1 | b)"
    one = work_beside_fit(design_of(formula, data))
    other = work_beside_fit(design_of(formula, data.sample(frac=1, random_state=1)))
    assert one == pytest.approx(other, rel=0.05)
    assert one == work_beside_fit(design_of(formula, data))


def test_parts_of_a_nested_tail_share_their_columns():
    rng = np.random.default_rng(2)
    top = np.repeat(np.arange(300), 40)
    middle, low = np.arange(12000) // 8, np.arange(12000) // 2
    data = pd.DataFrame({"t": top, "m": middle, "l": low, "y": rng.normal(size=12000)})
    design = design_of("y ~ 1 + (1 | t) + (1 | m) + (1 | l)", data)
    blocks = design.blocks
    assert blocks.storage == "nested"
    parts = tail_parts(blocks)
    assert len(np.unique(parts)) == 300
    assert not has_dense_inverse(blocks)
    assert information_work(design, parts) < 0.1 * information_work(design)
    assert work_beside_fit(design) == information_work(design, parts) / fit_work(design)


def test_a_dense_tail_is_one_part():
    data = mx.datasets.penicillin.load().data
    blocks = design_of("diameter ~ 1 + (1 | plate) + (1 | sample)", data).blocks
    assert has_dense_inverse(blocks)
    with pytest.raises(TypeError, match="one part"):
        tail_parts(blocks)
