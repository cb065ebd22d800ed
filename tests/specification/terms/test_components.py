"""Components of any columns: the random term that they become says the same model."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from scipy import linalg, sparse

import mixedext as mx
from mixedext.specification.terms.components import ColumnLabels, ComponentColumns
from mixedext.specification.terms.random_terms import RandomTerm

VALUES = [0.0, 0.0, 0.0, 1.0, 1.0, -0.5, 2.0]


def columns_of(z, groups, column_group):
    """A component of a dense matrix; its columns by ascending group."""
    levels = pd.Index(np.arange(groups.max() + 1))
    return ComponentColumns(
        "v",
        sparse.csr_array(z),
        groups,
        levels,
        np.asarray(column_group),
        np.arange(z.shape[1]),
        ColumnLabels.of([f"c{j}" for j in range(z.shape[1])]),
    )


def dense_z(term):
    """Z of a term, whatever its kind."""
    if not isinstance(term, RandomTerm):
        return term.matrix.toarray()
    z = np.zeros((len(term.codes), term.n_levels * term.k))
    for j in range(term.k):
        z[np.arange(len(z)), term.codes * term.k + j] = term.z[:, j]
    return z


@st.composite
def components(draw):
    """Groups of rows, and for each a few columns of a few values."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    widths = [draw(st.integers(0, 4)) for _ in sizes]
    assume(sum(widths) > 0)
    blocks = [
        draw(hnp.arrays(float, (n, k), elements=st.sampled_from(VALUES)))
        for n, k in zip(sizes, widths, strict=True)
    ]
    z = linalg.block_diag(*blocks).reshape(sum(sizes), sum(widths))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    order = np.array(draw(st.permutations(range(len(groups)))))
    return columns_of(z[order], groups[order], np.repeat(np.arange(len(sizes)), widths)), z[
        order
    ]


@given(components())
@settings(max_examples=300, deadline=None)
def test_the_term_has_the_same_covariance_and_effects(drawn):
    columns, z = drawn
    term, component = columns.settle()
    own = dense_z(term)
    np.testing.assert_array_equal(own @ own.T, z @ z.T)
    effects = np.arange(1.0, own.shape[1] + 1).reshape(-1, term.k)
    values = component.values(effects)
    np.testing.assert_array_equal(z @ values, own @ effects.ravel())
    np.testing.assert_array_equal(component.place < 0, ~z.any(axis=0))
    np.testing.assert_array_equal(component.matrix(term).toarray(), z)
    if isinstance(term, RandomTerm):  # levels lie within groups, in the groups' order
        owner = pd.Series(columns.group_codes).groupby(term.codes)
        assert (owner.nunique() == 1).all()
        assert owner.first().is_monotonic_increasing
        assert len(term.levels) == term.n_levels
        assert set(term.codes) == set(range(term.n_levels))


@given(components(), st.data())
@settings(max_examples=100, deadline=None)
def test_rows_can_be_left_out(drawn, data):
    columns, z = drawn
    keep = data.draw(hnp.arrays(bool, len(z)))
    assume(keep.any())
    taken = columns.take(keep)
    kept = np.isin(columns.column_group, columns.group_codes[keep])
    np.testing.assert_array_equal(taken.matrix.toarray(), z[keep][:, kept])
    assert list(taken.levels) == sorted(set(columns.group_codes[keep]))
    np.testing.assert_array_equal(
        taken.levels[taken.column_group], columns.levels[columns.column_group[kept]]
    )


def dense_deviance(y, x, v, reml):
    """Profiled -2 log-likelihood with all constants, V in units of sigma^2."""
    n, p = x.shape
    inverse = np.linalg.inv(v)
    information = x.T @ inverse @ x
    residual = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
    square, dof = residual @ inverse @ residual, n - p if reml else n
    value = np.linalg.slogdet(v)[1] + dof * (1 + np.log(2 * np.pi * square / dof))
    return value + (np.linalg.slogdet(information)[1] if reml else 0.0)


@given(st.integers(0, 10**6), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore::mixedext.UnidentifiedVarianceWarning")
def test_deviance_against_dense_algebra(seed, reml, own):
    """Two components of any columns, with and without random effects of the groups."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 9, rng.integers(2, 7))
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    n, mats, z = len(labels), [], []
    for _ in range(2):
        widths = rng.integers(0, 12 if rng.random() < 0.3 else 4, len(sizes))
        widths[0] = max(widths[0], 1)
        blocks = [
            rng.choice([0, 0, 1, 1, -0.5, 2.0], (m, k))
            for m, k in zip(sizes, widths, strict=True)
        ]
        blocks[0][0, 0] = 1.0
        mats.append(blocks)
        z.append(np.zeros((n, sum(block.shape[1] for block in blocks))))
        z[-1][np.argsort(labels, kind="stable")] = linalg.block_diag(*blocks)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = rng.normal(size=n)
    names = [[[str(j) for j in range(b.shape[1])] for b in blocks] for blocks in mats]
    if rng.random() < 0.5:
        mats[1] = [sparse.csr_array(b) for b in mats[1]]
    spec = mx.VCSpec(["a", "b"], names, mats)
    exog_re = np.ones(n) if own else None
    model = mx.MixedLM(y, x, labels, exog_re=exog_re, exog_vc=spec)
    theta = rng.uniform(0.1, 2.0, 3 if own else 2)
    relative = theta[-2] ** 2 * z[0] @ z[0].T + theta[-1] ** 2 * z[1] @ z[1].T
    if own:
        relative += theta[0] ** 2 * (labels[:, None] == labels)
    want = dense_deviance(y, x, np.eye(n) + relative, reml)
    assert model.objective(theta, reml)[0] == pytest.approx(want, rel=1e-9)


def test_columns_that_are_the_groups_are_their_factor():
    """Then the engine puts the component and the groups' own effects together."""
    groups = np.array([2, 0, 1, 0, 2, 1])
    z = np.zeros((6, 3))
    z[np.arange(6), groups] = [1.0, 0.0, 3.0, -1.0, 2.0, 0.5]
    term, component = columns_of(z, groups, [0, 1, 2]).settle()
    np.testing.assert_array_equal(term.codes, groups)
    np.testing.assert_array_equal(term.columns[0], [1.0, 0.0, 3.0, -1.0, 2.0, 0.5])
    assert list(term.levels) == [0, 1, 2]
    assert list(component.sizes) == [1, 1, 1]


def test_a_group_without_columns_has_a_level_that_stands_in():
    groups = np.array([0, 0, 1, 1, 2, 2])
    z = np.zeros((6, 2))
    z[:2, 0], z[4:, 1] = 1.0, [1.0, 2.0]
    term, component = columns_of(z, groups, [0, 2]).settle()
    np.testing.assert_array_equal(term.codes, groups)
    np.testing.assert_array_equal(term.columns[0], [1, 1, 0, 0, 1, 2])
    assert list(component.place) == [0, 2]
    assert list(component.sizes) == [1, 0, 1]


def test_a_column_of_ones_is_no_column():
    groups = np.array([0, 0, 1, 1])
    term, _ = columns_of(np.eye(2)[groups], groups, [0, 1]).settle()
    assert term.columns == (None,)
    assert term.names == ["Intercept"]


def test_linked_columns_share_a_level():
    groups = np.repeat([0, 1], 4)
    z = np.zeros((8, 5))
    z[:2, 0], z[1:4, 1] = 1.0, 2.0  # a row in common
    z[4, 2], z[5, 3], z[6:, 4] = 1.0, 1.0, 3.0
    term, _ = columns_of(z, groups, [0, 0, 1, 1, 1]).settle()
    np.testing.assert_array_equal(term.codes, [0, 0, 0, 0, 1, 2, 3, 3])
    assert term.k == 2
    assert term.structure.name == "identity"
