"""Contrasts within groups, and products of contrasts of several factors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.inference.means.contrast_rows import contrast_rows, interaction_rows
from mixedext.inference.means.contrasts import contrast_coefficients

pytestmark = pytest.mark.formula_engine
OATS = "yield ~ nitroF * Variety + (1 | Block/Variety)"


@pytest.fixture(scope="module")
def means():
    data = mx.datasets.oats.load().data.reset_index(drop=True)
    return mx.mixedlm(OATS, data).fit().emmeans(["nitroF", "Variety"])


def crossed(*counts):
    """Labels of all combinations, the first factor fastest."""
    index = np.indices(counts[::-1]).reshape(len(counts), -1)[::-1]
    return pd.DataFrame({f"f{i}": [f"l{v}" for v in own] for i, own in enumerate(index)})


def test_products_are_kronecker_products():
    labels = crossed(4, 3, 2)
    found = interaction_rows(labels, [], ["poly", "pairwise", "consec"])
    parts = [
        contrast_coefficients(m, ["a", "b", "c", "d"][:k]).coefficients
        for m, k in (("poly", 4), ("pairwise", 3), ("consec", 2))
    ]
    want = np.kron(parts[2], np.kron(parts[1], parts[0]))
    np.testing.assert_array_equal(found.coefficients, want)
    assert list(found.labels.columns) == ["f0_poly", "f1_pairwise", "f2_consec"]
    assert found.labels["f0_poly"].tolist()[:4] == [
        "linear", "quadratic", "cubic", "linear"
    ]  # fmt: skip
    assert found.adjust == "none"
    assert found.sum_to_zero
    assert found.sizes is None


@pytest.mark.parametrize("order", [1, 7])
def test_rows_in_any_order(order):
    labels = crossed(3, 4)
    moved = labels.sample(frac=1, random_state=order)
    first = interaction_rows(labels, [], ["consec", "consec"])
    other = interaction_rows(moved.reset_index(drop=True), [], ["identity", "identity"])
    assert len(first.labels) == 6
    # each estimate once
    assert (other.coefficients.sum(axis=0) == 1).all()
    assert (other.coefficients.sum(axis=1) == 1).all()
    named = other.coefficients.argmax(axis=1)
    assert moved["f0"].to_numpy()[named].tolist() == other.labels["f0_identity"].tolist()


def test_as_contrasts_of_contrasts(means):
    """emmeans: contrasts of one factor, then contrasts of these."""
    found = means.contrast(interaction=["poly", "pairwise"])
    steps = means.contrast("poly", by="Variety").contrast("pairwise", by="contrast")
    ours, theirs = found.estimate, steps.estimate
    np.testing.assert_allclose(np.sort(ours), np.sort(theirs), rtol=1e-10)
    np.testing.assert_allclose(np.sort(found.se), np.sort(steps.se), rtol=1e-10)
    # the linear trend of a pair of varieties, by hand
    table = means.table
    linear = {
        v: np.dot([-3, -1, 1, 3], own["estimate"])
        for v, own in table.groupby("Variety", observed=True)
    }
    np.testing.assert_allclose(ours[0], linear["Golden Rain"] - linear["Marvellous"])


def test_joint_test_of_interaction_contrasts_is_the_interaction(means):
    data = mx.datasets.oats.load().data
    fit = mx.mixedlm(OATS, data).fit()
    test = means.contrast(interaction=["consec", "pairwise"]).test(joint=True)
    want = fit.joint_tests().loc["nitroF:Variety"]
    np.testing.assert_allclose(test["statistic"], want["statistic"], rtol=1e-8)
    assert test["df_num"].tolist() == [6]


def test_ways_to_say_the_families(means):
    one = means.contrast(interaction="pairwise").table
    assert list(one.columns[:2]) == ["nitroF_pairwise", "Variety_pairwise"]
    both = [
        means.contrast("pairwise", interaction=True),
        means.contrast(interaction=["pairwise"]),
        means.contrast(interaction=("pairwise", "pairwise")),
        means.contrast(interaction={"nitroF": "pairwise", "Variety": "pairwise"}),
    ]
    for other in both:
        pd.testing.assert_frame_equal(pd.DataFrame(other.table), pd.DataFrame(one))
    swapped = means.contrast(interaction={"Variety": "pairwise", "nitroF": "poly"})
    assert list(swapped.table.columns[:2]) == ["Variety_pairwise", "nitroF_poly"]
    assert len(means.contrast(interaction=False)) == 12
    within = means.contrast(interaction=["trt.vs.ctrl"], by="Variety", ref="n0.2")
    assert within.table["nitroF_trt.vs.ctrl"].tolist()[0] == "n0 - n0.2"
    assert len(within) == 9
    own = means.contrast(interaction=[{"a": [1, 0, 0, -1]}, "consec"]).table
    assert list(own.columns[:2]) == ["nitroF_custom", "Variety_consec"]


@pytest.mark.parametrize(
    ("interaction", "message"),
    [
        (["poly", "poly", "poly"], "has 3 families of contrasts for 2 factors"),
        ({"nitro": "poly", "Variety": "poly"}, "names 'nitro'.*Did you mean 'nitroF'"),
        ({"nitroF": "poly"}, "says no contrasts of 'Variety'"),
        (3, "interaction=3 must be"),
        ([], "must be True"),
        ("polly", "method='polly' is not known"),
    ],
)
def test_mistakes(means, interaction, message):
    with pytest.raises(ValueError, match=message):
        means.contrast(interaction=interaction)


def test_ref_needs_a_control(means):
    with pytest.raises(ValueError, match="ref="):
        means.contrast(interaction="poly", ref="n0")
    with pytest.raises(ValueError, match="no factor"):
        means.contrast(interaction="poly", by=["nitroF", "Variety"])


def test_incomplete_combinations():
    labels = crossed(3, 2).iloc[:-1]
    with pytest.raises(ValueError, match="there are 5 of 6"):
        interaction_rows(labels, [], "pairwise")


def test_logs_become_ratios_of_ratios():
    data = mx.datasets.oats.load().data
    formula = "np.log(yield) ~ nitroF * Variety + (1 | Block/Variety)"
    fit = mx.mixedlm(formula, data).fit()
    means = fit.emmeans(["nitroF", "Variety"], type="response")
    found = means.contrast(interaction="pairwise").table
    assert found["nitroF_pairwise"].iloc[0] == "n0 / n0.2"
    assert found["Variety_pairwise"].iloc[0] == "Golden Rain / Marvellous"
    cells = means.table["estimate"].to_numpy().reshape(3, 4)
    want = cells[0, 0] / cells[0, 1] / (cells[1, 0] / cells[1, 1])
    np.testing.assert_allclose(found["estimate"].iloc[0], want)


def test_plain_contrasts_by_groups():
    labels = crossed(3, 2)
    found = contrast_rows(labels, ["f1"], "pairwise")
    assert found.coefficients.shape == (6, 6)
    assert not found.coefficients[:3, 3:].any()
    assert found.sizes == [3, 3]
    assert found.all_pairs
    assert found.labels["f1"].tolist() == ["l0"] * 3 + ["l1"] * 3


def test_a_mean_that_does_not_exist_leaves_the_others_alone():
    """A cell without rows, weighted by cells: its row and its differences are NaN."""
    data = mx.datasets.oats.load().data
    some = data[(data["nitroF"] != "n0.6") | (data["Variety"] != "Victory")]
    fit = mx.mixedlm("yield ~ nitroF + Variety + (1 | Block)", some).fit()
    means = fit.emmeans(["nitroF", "Variety"], weights="flat")
    cells = fit.emmeans(["nitroF", "Variety"], weights="cells")
    pairs = cells.pairs().table
    lost = pairs["contrast"].str.contains("n0.6 Victory")
    assert lost.sum() == 11
    assert (pairs["estimate"].isna() == lost).all()
    assert means.sed().shape == (12, 12)
