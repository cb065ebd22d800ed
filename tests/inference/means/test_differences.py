"""Letters, standard errors and least significant differences of means."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedext as mx

pytestmark = pytest.mark.formula_engine
OATS = "yield ~ nitroF * Variety + (1 | Block/Variety)"


@pytest.fixture(scope="module")
def oats():
    data = mx.datasets.oats.load().data.reset_index(drop=True)
    return mx.mixedlm(OATS, data).fit()


def check_letters(table, pairs, names, alpha):
    """Two share a letter if and only if the adjusted p-value is not below alpha."""
    letters = {n: set(t) for n, t in zip(names, table["letters"], strict=True)}
    for contrast, p in zip(pairs["contrast"], pairs["pvalue"], strict=True):
        one, other = contrast.split(" - ")
        assert bool(letters[one] & letters[other]) == (not p < alpha), contrast


@pytest.mark.parametrize(
    "adjust", ["tukey", "none", "bonferroni", "holm", "scheffe", "sidak", "fdr", "mvt"]
)
@pytest.mark.parametrize("alpha", [0.05, 0.4, 1e-6])
def test_letters_are_the_tests(oats, adjust, alpha):
    means = oats.emmeans("nitroF")
    table = means.cld(alpha=alpha, adjust=adjust)
    pairs = means.pairs(adjust=adjust).table
    check_letters(table, pairs, table["nitroF"], alpha)
    assert (np.diff(table["estimate"]) > 0).all()


def test_letters_by_groups_of_their_own(oats):
    means = oats.emmeans("nitroF", by="Variety")
    table, pairs = means.cld(), means.pairs().table
    assert list(table["Variety"].drop_duplicates()) == list(
        means.table["Variety"].drop_duplicates()
    )
    for variety, own in table.groupby("Variety", observed=True):
        check_letters(own, pairs[pairs["Variety"] == variety], own["nitroF"], 0.05)
        assert "a" in own["letters"].iloc[0]
    other = means.cld(reverse=True)
    assert (other.groupby("Variety", observed=True)["letters"].first() == "a").all()
    assert other["estimate"].iloc[0] == own_maximum(table)


def own_maximum(table):
    first = table["Variety"].iloc[0]
    return table.loc[table["Variety"] == first, "estimate"].max()


def test_oats_as_published():
    """The display of nitrogen rates (Yates 1935): 0 | 0.2 | 0.4 and 0.6 together."""
    data = mx.datasets.oats.load().data
    fit = mx.mixedlm("yield ~ nitroF + Variety + (1 | Block/Variety)", data).fit()
    table = fit.emmeans("nitroF").cld()
    assert dict(zip(table["nitroF"], table["letters"], strict=True)) == {
        "n0": "a",
        "n0.2": "b",
        "n0.4": "c",
        "n0.6": "c",
    }
    assert fit.emmeans("Variety").cld()["letters"].tolist() == ["a"] * 3
    assert any("tukey for a family of 4" in note for note in table.notes)


def test_level_in_place_of_alpha(oats):
    means = oats.emmeans("nitroF")
    same = means.cld(level=0.6), means.cld(0.4)
    assert same[0]["letters"].tolist() == same[1]["letters"].tolist()
    with pytest.raises(ValueError, match="alpha"):
        means.cld(alpha=2)
    with pytest.raises(ValueError, match="adjust"):
        means.cld(adjust="tuckey")


def test_not_estimable_means_have_no_letter():
    data = mx.datasets.oats.load().data
    some = data[(data["nitroF"] != "n0.6") | (data["Variety"] != "Victory")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.RankDeficientWarning)
        fit = mx.mixedlm(OATS, some).fit()
    table = fit.emmeans("nitroF", by="Variety").cld()
    lost = table["estimate"].isna()
    assert lost.sum() == 1
    assert (table["letters"] == "").tolist() == lost.tolist()
    assert table.index[lost].tolist() == [11]  # the last of its group
    assert any("not estimable" in note for note in table.notes)
    assert fit.emmeans("Variety").sed().isna().to_numpy()[2].all()


def test_one_mean(oats):
    table = oats.emmeans("nitroF", at={"nitroF": ["n0"]}).cld()
    assert table["letters"].tolist() == ["a"]
    assert oats.emmeans([]).sed().shape == (1, 1)


def test_letters_of_slopes_and_back_transformed():
    data = mx.datasets.oats.load().data
    lines = mx.mixedlm("yield ~ nitro * Variety + (1 | Block/Variety)", data).fit()
    assert lines.emtrends("Variety", "nitro").cld()["letters"].tolist() == ["a"] * 3
    logs = mx.mixedlm("np.log(yield) ~ nitroF + (1 | Block/Variety)", data).fit()
    link, back = (logs.emmeans("nitroF", type=t).cld() for t in ("link", "response"))
    assert link["letters"].tolist() == back["letters"].tolist()
    np.testing.assert_allclose(np.exp(link["estimate"]), back["estimate"])


def test_split_plot_standard_errors(oats):
    """Of a balanced split plot by its mean squares (Cochran and Cox 1957, 7.12).

    s^2_e = 177.08 within whole plots; s^2_a = 601.33 between them; r = 6, b = 4.
    """
    error, whole = 177.083333, 601.330556
    sed = oats.emmeans("nitroF").sed()
    np.testing.assert_allclose(sed.to_numpy()[0, 1:], np.sqrt(2 * error / 18), rtol=1e-6)
    sed = oats.emmeans("Variety").sed()
    np.testing.assert_allclose(sed.to_numpy()[0, 1:], np.sqrt(2 * whole / 24), rtol=1e-6)
    means = oats.emmeans(["nitroF", "Variety"])
    sed = means.sed()
    at = sed.index.get_indexer(["n0 Golden Rain", "n0.2 Golden Rain", "n0 Victory"])
    own = sed.to_numpy()[np.ix_(at, at)]
    np.testing.assert_allclose(own[0, 1], np.sqrt(2 * error / 6), rtol=1e-6)
    np.testing.assert_allclose(
        own[0, 2], np.sqrt(2 * (3 * error + whole) / (6 * 4)), rtol=1e-6
    )
    np.testing.assert_allclose(sed, sed.T)


def test_lsd_is_t_times_sed(oats):
    means = oats.emmeans(["nitroF", "Variety"])
    for alpha in (0.05, 0.01):
        lsd, sed = means.lsd(alpha), means.sed()
        pairs = means.pairs(adjust="none").table
        first, second = np.triu_indices(12, 1)
        ratio = lsd.to_numpy()[first, second] / sed.to_numpy()[first, second]
        np.testing.assert_allclose(ratio, stats.t.isf(alpha / 2, pairs["df"]), rtol=1e-12)
        significant = pairs["estimate"].abs() > lsd.to_numpy()[first, second]
        assert (significant == (pairs["pvalue"] < alpha)).all()
    pd.testing.assert_frame_equal(means.lsd(level=0.99), means.lsd(0.01))
    assert np.isnan(np.diag(means.lsd())).all()
