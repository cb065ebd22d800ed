"""Models stated by groups: sorted groups, and designs that lme4 refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.specification.terms.grouped import sorted_factor

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize(
    ("labels", "levels"),
    [
        ([3, 1, 3, 2], [1, 2, 3]),
        (["b", "a", "c", "b"], ["a", "b", "c"]),
        ([2.5, np.nan, 0.5, 2.5], [0.5, 2.5]),
        (
            pd.Categorical(["lo", "hi", "lo", "mid"], ["lo", "mid", "hi"]),
            ["hi", "lo", "mid"],
        ),
        ([True, False, True, True], [False, True]),
        ([(2, 1), (1, 2), (2, 1), (1, 1)], [(1, 1), (1, 2), (2, 1)]),
    ],
)
def test_groups_are_sorted(labels, levels):
    if isinstance(labels[0], tuple):
        array = np.empty(len(labels), object)
        array[:] = labels
        labels = array
    codes, found = sorted_factor(labels)
    assert found.tolist() == levels
    known = codes >= 0
    values = pd.Series(labels)[known].tolist()
    assert [levels[c] for c in codes[known]] == values
    assert (~known).sum() == pd.isna(pd.Series(labels)).sum()


def test_labels_of_several_types_have_some_order():
    codes, levels = sorted_factor(np.array([1, "a", 1, "b"], dtype=object))
    assert [levels[c] for c in codes] == [1, "a", 1, "b"]


@pytest.fixture
def pairs():
    """Two rows a group: as many effects of intercept and slope as rows."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.arange(96) // 2, "row": np.arange(96)})
    data["y"], data["x"], data["z"] = rng.normal(size=(3, 96))
    data["k"] = np.arange(96) % 2  # the same in all groups
    data["s"] = rng.choice([-1.0, 1.0], 96)  # of one size
    return data


DESIGNS = {
    "slopes": {"groups": "g", "re_formula": "1 + k"},
    "a level a row": {"groups": "row", "re_formula": "1"},
    "a slope a row": {"groups": "row", "re_formula": "0 + s"},
    "slopes of rows": {"groups": "row", "re_formula": "1 + z"},
    "a column a row": {
        "groups": "g",
        "re_formula": "1",
        "vc_formula": {"a": "0 + C(row)"},
    },
    "a column": {"groups": np.ones(96), "vc_formula": {"a": "0 + z"}},
    "a constant": {"groups": np.ones(96), "vc_formula": {"a": "1"}},
    "crossed with itself": {
        "groups": np.ones(96),
        "vc_formula": {"a": "0 + C(row)", "b": "0 + C(row)"},
    },
}


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", DESIGNS)
def test_designs_that_do_not_determine_all_variances(name, reml, pairs):
    """A warning of its own; then a fit with its warnings, effects and summary."""
    with pytest.warns(mx.UnidentifiedVarianceWarning) as caught:
        model = mx.mixedlm("y ~ x", pairs, **DESIGNS[name])
    assert any("may not be determined" in str(w.message) for w in caught)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = model.fit(reml=reml)
    assert result.converged
    size = len(result.theta)
    for theta in (np.zeros(size), np.ones(size), np.full(size, 0.3)):
        assert result.deviance <= model.objective(theta, reml)[0] + 1e-8
    effects, covariances = result.random_effects, result.random_effects_cov
    assert len(effects) == model.n_groups
    assert all(np.isfinite(c).all(axis=None) for c in covariances.values())
    assert "Log-Likelihood" in str(result.summary())


def test_bars_are_refused_all_the_same(pairs):
    with pytest.raises(mx.DesignError, match="96 random effects"):
        mx.mixedlm("y ~ x + (1 + k | g)", pairs)
    with pytest.raises(mx.DesignError, match="96 levels for 96 observations"):
        mx.MixedLM(pairs["y"], pairs[["x"]], terms=[mx.RandomTerm(pairs["row"])])


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
def test_as_many_effects_as_rows_that_the_design_tells_from_the_residual(pairs):
    """No warning, and the same by groups as in bars."""
    for column, group in (("1 + z", "g"), ("0 + z", "row")):
        one = mx.mixedlm("y ~ x", pairs, groups=group, re_formula=column).fit()
        other = mx.mixedlm(f"y ~ x + ({column} | {group})", pairs).fit()
        assert one.deviance == pytest.approx(other.deviance, rel=1e-12)


@pytest.mark.filterwarnings("ignore::mixedext.CategoryWarning")
@pytest.mark.parametrize("dates", [False, True])
def test_a_column_of_text_by_groups(pairs, dates):
    """A column of Z for each of its values: more covariances than rows."""
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(pairs["row"] % 32, unit="D")
    pairs["t"] = days if dates else days.dt.strftime("%d.%m")
    for option in ({"groups": "k", "re_formula": "0 + t"}, {}):
        formula = "y ~ x" if option else "y ~ x + (0 + t | k)"
        if dates and option:
            option = {"groups": "k", "re_formula": "0 + C(t)"}
        elif dates:
            formula = "y ~ x + (0 + C(t) | k)"
        with pytest.raises(mx.DesignError, match="528 variances and covariances, those of"):
            mx.mixedlm(formula, pairs, **option)


def test_columns_that_make_no_sense(pairs):
    pairs["nothing"] = 0.0
    for option in (
        {"re_formula": "1 + nothing"},
        {"re_formula": "1", "vc_formula": {"a": "0 + nothing"}},
    ):
        with pytest.raises(mx.DesignError, match="is zero in every row"):
            mx.mixedlm("y ~ x", pairs, groups="g", **option)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(mx.DesignError, match="has 1 level; a variance between"):
            mx.MixedLM(pairs["y"], pairs[["x"]], np.ones(96))
        mats = [[np.where(pairs["row"] == 5, np.inf, 1.0)[:, None]]]
        spec = mx.VCSpec(["a"], [[["p"]]], mats)
        with pytest.raises(mx.DesignError, match="infinite values"):
            mx.MixedLM(pairs["y"], pairs[["x"]], np.ones(96), exog_vc=spec)
