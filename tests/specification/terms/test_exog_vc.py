"""Components given as matrices by group: VCSpec and the old dicts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import mixedext as mx


@pytest.fixture
def arrays():
    rng = np.random.default_rng(3)
    n = 60
    groups = rng.permutation(np.repeat(["c", "a", "b", "d", "e"], 12))
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    return rng.normal(size=n), x, groups, rng.normal(size=(n, 2))


def by_group(groups, values):
    return [values[groups == g] for g in np.unique(groups)]


def test_dicts_are_those_of_a_spec(arrays):
    y, x, groups, z = arrays
    dicts = {
        "b": {g: z[groups == g, 1:] for g in "cabde"},
        "a": {g: pd.DataFrame(z[groups == g, :1], columns=["p"]) for g in "abcde"},
    }
    with pytest.warns(FutureWarning, match="Using deprecated variance components format"):
        model = mx.MixedLM(y, x, groups, exog_vc=dicts)
    assert model.exog_vc.names == ["a", "b"]
    assert model.exog_vc.colnames == [[["p"]] * 5, [["0"]] * 5]
    assert model.data.param_names[2:] == ["a Var", "b Var"]
    assert (model.k_re, model.k_vc) == (0, 2)
    mats = [by_group(groups, z[:, j : j + 1]) for j in (0, 1)]
    spec = mx.VCSpec(["a", "b"], [[["p"]] * 5, [["0"]] * 5], mats)
    want = mx.MixedLM(y, x, groups, exog_vc=spec)
    assert model.objective([0.4, 0.9])[0] == want.objective([0.4, 0.9])[0]
    # one column a group: slopes by group
    terms = [mx.RandomTerm(groups, z[:, j], group=name) for j, name in enumerate("ab")]
    slopes = mx.MixedLM(y, x, terms=terms)
    assert model.objective([0.4, 0.9])[0] == pytest.approx(
        slopes.objective([0.4, 0.9])[0], rel=1e-12
    )


def test_sparse_and_dense_matrices_are_the_same(arrays):
    y, x, groups, z = arrays
    codes = np.eye(3)[np.arange(60) % 3]
    dense = mx.VCSpec(["a"], [[["u", "v", "w"]] * 5], [by_group(groups, codes)])
    mats = [sparse.csc_matrix(m) for m in dense.mats[0]]
    want = mx.MixedLM(y, x, groups, exog_re=z, exog_vc=dense)
    got = mx.MixedLM(y, x, groups, exog_re=z, exog_vc=mx.VCSpec(["a"], None, [mats]))
    theta = [0.5, 0.1, 0.4, 0.8]
    assert got.objective(theta)[0] == want.objective(theta)[0]
    assert got.exog_vc.colnames[0][0] == ["0", "1", "2"]


def test_missing_rows(arrays):
    """Matrices hold the rows of their group as they are given; the model those left."""
    y, x, groups, z = arrays
    y = y.copy()
    y[[4, 9]] = np.nan
    z = z.copy()
    z[20, 0] = np.nan
    z[groups == "d", 1] = np.nan  # a whole group goes
    keep = np.isfinite(y) & np.isfinite(z).all(axis=1)
    spec = mx.VCSpec(["a"], None, [by_group(groups, z)])
    got = mx.MixedLM(y, x, groups, exog_vc=spec, missing="drop")
    kept = mx.VCSpec(["a"], None, [by_group(groups[keep], z[keep])])
    want = mx.MixedLM(y[keep], x[keep], groups[keep], exog_vc=kept)
    assert got.group_labels == ["a", "b", "c", "e"]
    assert got.objective([0.7])[0] == pytest.approx(want.objective([0.7])[0], rel=1e-13)
    with pytest.raises(mx.MissingDataError, match="component 'a'"):
        mx.MixedLM(y, x, groups, exog_vc=spec)


def test_rows_without_a_group(arrays):
    y, x, groups, z = arrays
    labels = pd.Series(groups, dtype=object)
    labels[7] = None
    spec = mx.VCSpec(
        ["a"], None, [by_group(labels.dropna().to_numpy(str), z[labels.notna()])]
    )
    got = mx.MixedLM(y, x, labels, exog_vc=spec, missing="drop")
    keep = np.arange(60) != 7
    want = mx.MixedLM(y[keep], x[keep], groups[keep], exog_vc=spec)
    assert got.objective([0.7])[0] == pytest.approx(want.objective([0.7])[0], rel=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.mats[0].pop(), "component 'a' has 4 matrices for 5 groups"),
        (
            lambda s: s.mats[0].__setitem__(1, np.ones((3, 1))),
            "component 'a' and group 'b' has 3 rows; the group has 12",
        ),
        (
            lambda s: s.mats[0].__setitem__(2, np.ones((12, 1, 1))),
            r"component 'a' and group 'c' has shape \(12, 1, 1\)",
        ),
        (
            lambda s: s.mats[0].__setitem__(3, np.full((12, 1), "t")),
            "component 'a' and group 'd' is not numeric",
        ),
        (
            lambda s: s.colnames[0].__setitem__(0, ["p"]),
            "component 'a' has 1 colnames for the 2 columns of the group 'a'",
        ),
        (lambda s: s.names.append("b"), "2 names, 1 lists of mats"),
    ],
)
def test_shapes_that_are_wrong(change, message, arrays):
    y, x, groups, z = arrays
    spec = mx.VCSpec(["a"], [[["p", "q"] for _ in range(5)]], [by_group(groups, z)])
    change(spec)
    with pytest.raises(ValueError, match=message):
        mx.MixedLM(y, x, groups, exog_vc=spec)


@pytest.mark.filterwarnings("ignore:Using deprecated:FutureWarning")
def test_dicts_that_are_wrong(arrays):
    y, x, groups, z = arrays
    whole = {g: z[groups == g] for g in "abcde"}
    for dicts, message in (
        ({"a": {g: whole[g] for g in "abcd"}}, r"exog_vc\['a'\] lacks the group 'e'"),
        ({"a": whole | {"f": z}}, "has, but groups has not, the group 'f'"),
        ({"a": z}, "must map the groups to matrices, not be a ndarray"),
    ):
        with pytest.raises(ValueError, match=message):
            mx.MixedLM(y, x, groups, exog_vc=dicts)
    with pytest.raises(ValueError, match="exog_vc needs groups"):
        mx.MixedLM(y, x, exog_vc=mx.VCSpec(["a"], None, [[z]]))


def test_no_components_is_the_default_intercept(arrays):
    y, x, groups, _ = arrays
    for nothing in (None, {}, mx.VCSpec([], [], [])):
        model = mx.MixedLM(y, x, groups, exog_vc=nothing)
        assert (model.k_re, model.k_vc) == (1, 0)
