"""Ranks and relations of columns against the dense matrices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.dense import dense_z
from helpers.designs import random_design

import mixedext as mx
from mixedext.engine.rows.level_structure import LevelStructure


@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_rank_contributions_are_those_of_the_dense_matrix(storage):
    for seed in range(40):
        kinds = [(1 + seed % 3, 0), (1 + seed % 2, 1), (1, 2)][: 1 + seed % 3]
        rows = random_design(seed, 40, kinds, seed % 2 == 0, seed % 5 == 0, True, True)
        fit = rows.at_theta(True, storage)
        structure = LevelStructure(fit)
        contributions, rank = structure.rank_contributions()
        matrix = rows.x
        factors = fit.design.blocks.factors
        for number in sorted(range(len(factors)), key=lambda f: factors[f].n_levels):
            layout, want = factors[number], []
            for term, at in zip(layout.terms, layout.slices, strict=True):
                z = dense_z(rows.terms[term])
                for column in range(at.stop - at.start):
                    before = np.linalg.matrix_rank(matrix)
                    matrix = np.hstack([matrix, z[:, column :: at.stop - at.start]])
                    want.append(np.linalg.matrix_rank(matrix) - before)
            np.testing.assert_array_equal(contributions[number], want)
        assert rank == np.linalg.matrix_rank(matrix)


def test_multiples_and_constants():
    """Columns 1, between, within and z itself, of a term with columns 1 and z."""
    rng = np.random.default_rng(1)
    rows = random_design(2, 60, [(2, 0), (1, 0)], False, False, True, False)
    codes, z = rows.terms[0].codes, rows.terms[0].z[:, 1]
    between = rng.normal(size=codes.max() + 1)[codes]
    rows.x = np.column_stack([np.ones(60), between, rng.normal(size=60), z, between * z])
    structure = LevelStructure(rows.at_theta(True))
    factors = structure.blocks.factors
    number = next(f for f in range(2) if factors[f].width == 2)
    np.testing.assert_array_equal(
        structure.multiples(number), [[1, 1, 0, 0, 0], [0, 0, 0, 1, 1]]
    )
    within, ones = structure.constant(number)
    np.testing.assert_array_equal(within, [1, 1, 0, 0, 0])
    np.testing.assert_allclose(ones, [1, 0, 0, 0, 0], atol=1e-10)
    assert not structure.is_chain()
    nested = random_design(2, 60, [(1, 0), (1, 0)], True, False, False, False)
    assert LevelStructure(nested.at_theta(True)).is_chain()


@pytest.mark.formula_engine
@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
def test_columns_without_rows_have_no_rank():
    """Of a level that no row of another factor's level has."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=30), "x": rng.normal(size=30)})
    data["f"] = rng.choice(list("ab"), 30)
    data["g"], data["h"] = rng.integers(0, 4, 30), rng.choice(list("pqr"), 30)
    data.loc[data.g == 0, "f"] = "a"
    result = mx.mixedlm("y ~ x + f + (0 + f | g*h)", data).fit()
    with np.errstate(all="raise"):
        test = result.f_test("x = 0", df_method="containment")
    # as with codes that leave those columns out
    z = np.hstack(
        [
            pd.get_dummies(data.f + key).to_numpy(float)
            for key in (data.g.astype(str), data.h, data.g.astype(str) + data.h)
        ]
    )
    x = np.column_stack([np.ones(30), data.x, data.f == "b"])
    rank = np.linalg.matrix_rank(np.column_stack([x, z]))
    assert float(test.df_denom) == 30 - rank


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_levels_whose_weights_are_lost_have_no_part_in_what_is_constant():
    rows = random_design(2, 24, [(1, 0), (1, 0)], False, False, True, False)
    structure = LevelStructure(rows.at_theta(True))
    gram, cross = structure._products(0)
    gram, cross = gram.copy(), cross.copy()
    gram[0], cross[0] = 0.0, 0.0
    structure._products = lambda number: (gram, cross)
    _, ones = structure.constant(0)  # nothing is divided by no weight
    assert np.isfinite(ones).all()
