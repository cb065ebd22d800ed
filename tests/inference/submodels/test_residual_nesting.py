"""Which residual covariances are special cases of which, and tests against them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedext as mx
from mixedext.exceptions import BoundaryWarning, NestingWarning
from mixedext.inference.submodels.residual_nesting import on_boundary, residual_is_nested

pytestmark = pytest.mark.formula_engine


def frame(n_groups=20, m=5, seed=1):
    rng = np.random.default_rng(seed)
    subject, visit = np.divmod(np.arange(n_groups * m), m)
    data = pd.DataFrame({"y": rng.normal(size=n_groups * m), "v": visit, "s": subject})
    data["t"] = visit + rng.uniform(0, 0.3, len(data))
    data["u"] = rng.uniform(0, 3, len(data))
    data["arm"] = np.where(subject % 2, "a", "b")
    data["other"] = rng.integers(0, 10, len(data))
    return data


def bound(residual, variance=None):
    if residual is None and variance is None:
        return None
    return mx.mixedlm("y ~ 1", frame(), residual=residual, variance=variance).residual


NESTED = [
    (None, "ar1(v | s)"),
    ("cs(v | s)", "us(v | s)"),
    ("cs(1 | s)", "toep(v | s)"),
    ("ar1(v | s)", "toep(v | s)"),
    ("ar1(v | s)", "ad(v | s)"),
    ("ar1(v | s)", "arma(v | s, p=1, q=1)"),
    ("ar1(v | s)", "ar1h(v | s)"),
    ("ar1h(v | s)", "us(v | s)"),
    ("toeph(v | s)", "us(v | s)"),
    ("toep(v | s, bands=2)", "toep(v | s)"),
    ("adh(v | s)", "us(v | s)"),
    ("ar1(v | s)", "ar1(v | s, by=arm)"),
    ("sp_exp(t, u | s)", "sp_exp(t, u | s, nugget=True)"),
]
APART = [
    ("ar1(v | s)", None),
    ("toep(v | s)", "ar1(v | s)"),
    ("us(v | s)", "toeph(v | s)"),
    ("ad(v | s)", "toep(v | s)"),
    ("ar1h(v | s)", "toep(v | s)"),
    ("ar1(v | s, by=arm)", "ar1(v | s)"),
]
UNKNOWN = [
    ("cs(1 | s)", None),  # a random intercept may say it
    ("cs(v | s)", "ar1(v | s)"),
    ("ar1(v | s)", "ar1(v | other)"),
    ("car1(t | s)", "us(v | s)"),
    ("sp_exp(t, u | s)", "sp_gau(t, u | s)"),
]


@pytest.mark.parametrize(("small", "large"), NESTED)
def test_nested(small, large):
    assert residual_is_nested(bound(small), bound(large)) is True


@pytest.mark.parametrize(("small", "large"), APART)
def test_no_special_case(small, large):
    assert residual_is_nested(bound(small), bound(large)) is False


@pytest.mark.parametrize(("small", "large"), UNKNOWN)
def test_not_known(small, large):
    if large == "ar1(v | other)":
        data = frame().drop_duplicates(["other", "v"])
        models = [mx.mixedlm("y ~ 1", data, residual=r).residual for r in (small, large)]
        assert residual_is_nested(*models) is None
        return
    assert residual_is_nested(bound(small), bound(large)) is None


def test_variance_functions():
    one, two = bound(None, "ident(arm)"), bound(None, "ident(arm) * power(t)")
    assert residual_is_nested(None, one) is True
    assert residual_is_nested(one, None) is False
    assert residual_is_nested(one, bound("ar1(v | s)", "ident(arm)")) is True
    assert residual_is_nested(bound("ar1(v | s)"), one) is False
    assert residual_is_nested(one, bound("ar1(v | s)")) is False
    assert residual_is_nested(two, one) is None


@pytest.mark.parametrize(
    ("small", "large", "count"),
    [
        (None, "ar1(v | s)", 0),
        (None, "cs(v | s)", 0),
        (None, "car1(t | s)", 1),
        (None, "sp_exp(t, u | s)", 1),
        ("sp_exp(t, u | s)", "sp_exp(t, u | s, nugget=True)", 1),
        (None, "sp_exp(t, u | s, nugget=True)", 2),
        ("sp_exp(t, u | s, nugget=True)", "sp_exp(t, u | s, nugget=True)", 0),
    ],
)
def test_boundaries(small, large, count):
    assert on_boundary(bound(small), bound(large)) == count


def pair(small, large):
    return [mx.mixedlm("y ~ v", frame(), residual=r).fit() for r in (small, large)]


def test_an_interior_hypothesis_has_the_chi_squared_law():
    small, large = pair(None, "ar1(v | s)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        test = large.compare_lr_test(small)
        table = mx.anova(small, large)
    statistic = 2 * (large.llf - small.llf)  # REML fits of the same X
    assert test.statistic == pytest.approx(max(statistic, 0), abs=1e-9)
    assert test.pvalue == pytest.approx(stats.chi2.sf(test.statistic, 1))
    assert table["pvalue"].iloc[1] == pytest.approx(test.pvalue)
    assert test.df_diff == 1


def test_a_parameter_on_the_boundary_has_the_mixture():
    small, large = pair(None, "car1(t | s)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        test = large.compare_lr_test(small)
        table = mx.anova(small, large)
    want = stats.chi2.sf(test.statistic, 1) / 2 if test.statistic > 0 else 1.0
    assert test.pvalue == pytest.approx(want)
    assert any("mixture of chi-squared laws" in note for note in table.notes)


def test_several_on_the_boundary_are_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a search at the ends of both ranges
        small, large = pair(None, "sp_exp(t, u | s, nugget=True)")
    with pytest.warns(BoundaryWarning, match="several parameters of the residual"):
        large.compare_lr_test(small)


def test_no_special_case_is_warned_of():
    small, large = pair("ar1h(v | s)", "toep(v | s)")
    assert len(large.params) < len(small.params)
    with pytest.warns(NestingWarning, match="residual covariance is no special case"):
        mx.anova(small, large)


# ---- smaller models keep the residual covariance ----


def test_deletions_keep_the_residual_covariance():
    data = frame()
    data["y"] += 3 * data["v"] + np.random.default_rng(5).normal(size=20)[data["s"]]
    result = mx.mixedlm("y ~ v + u + arm", data, residual="ar1h(v | s)").fit()
    table = result.drop1()
    own = result.anova(df_method="satterthwaite")
    pd.testing.assert_series_equal(table["pvalue"], own["pvalue"], rtol=1e-6)
    by_lr = result.drop1(test="lrt")
    small = mx.mixedlm("y ~ v + u", data, residual="ar1h(v | s)").fit(reml=False)
    whole = result.model.fit(reml=False)
    want = 2 * (whole.llf - small.llf)
    assert by_lr.loc["arm", "statistic"] == pytest.approx(want, abs=1e-7)
    found = result.step(verbose=False)
    assert "satterthwaite" in str(found)
    assert str(found.model.model.residual) == "ar1h(v | s)"


def test_random_terms_beside_a_residual_covariance():
    data = frame()
    data["y"] += 1.5 * np.random.default_rng(5).normal(size=20)[data["s"]]
    result = mx.mixedlm("y ~ v + (1 | s)", data, residual="ar1(v | s)").fit()
    small = mx.mixedlm("y ~ v", data, residual="ar1(v | s)").fit()
    table = result.ranova()
    want = 2 * (result.llf - small.llf)
    assert table.loc["(1 | s)", "statistic"] == pytest.approx(want, abs=1e-7)
    half = result.ranova(test="mixture")
    assert half.loc["(1 | s)", "pvalue"] == pytest.approx(
        table.loc["(1 | s)", "pvalue"] / 2
    )
    for test in ("exact", "inversion"):
        with pytest.raises(NotImplementedError, match=r"residual='ar1\(v \| s\)'.*mixture"):
            result.ranova(test=test)
    drawn = result.ranova(test="bootstrap", n=20, rng=1)
    assert 0 <= drawn.loc["(1 | s)", "pvalue"] <= 1


def test_update_changes_one_thing():
    data = frame()
    result = mx.mixedlm("y ~ v + u", data, residual="ar1(v | s)").fit()
    assert str(result.update(". ~ . - u").model.residual) == "ar1(v | s)"
    other = result.update(residual="us(v | s)")
    assert str(other.model.residual) == "us(v | s)"
    assert other.model.formula == "y ~ v + u"
    assert result.update(residual=None).model.residual is None
