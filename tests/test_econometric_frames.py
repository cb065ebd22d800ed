"""Entity-time panels: index levels as names, rows labelled by a MultiIndex."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def flat():
    """Firms by years, years missing here and there, rows not in order of firms."""
    rng = np.random.default_rng(11)
    firm, year = np.repeat(np.arange(30), 8), np.tile(np.arange(2000, 2008), 30)
    data = pd.DataFrame({"firm": [f"f{i:02d}" for i in firm], "year": year})
    data["x"] = rng.normal(size=240)
    data["w"] = rng.uniform(0.5, 2, 240)
    data["y"] = 1 + data["x"] + 0.1 * year + rng.normal(size=30)[firm]
    data["y"] += rng.normal(size=8)[year - 2000] + rng.normal(size=240)
    return data.sample(frac=0.9, random_state=3).reset_index(drop=True)


@pytest.fixture(scope="module")
def panel(flat):
    return flat.set_index(["firm", "year"])


# Arguments of mixedlm that name index levels in every place where a column may stand.
STATEMENTS = {
    "groups": {"formula": "y ~ x", "groups": "firm"},
    "groups in a list": {"formula": "y ~ x", "groups": ["firm"]},
    "slopes": {"formula": "y ~ x", "groups": "firm", "re_formula": "~x"},
    "component": {
        "formula": "y ~ x",
        "groups": "firm",
        "re_formula": "1",
        "vc_formula": {"t": "0 + I(year - 2000)"},
    },
    "bars": {"formula": "y ~ x + (1 | firm)"},
    "both levels": {"formula": "y ~ x + (1 | firm) + (1 | year)"},
    "in bars": {"formula": "y ~ x + (I(year - 2003) || firm)"},
    "fixed": {"formula": "y ~ x + year + (1 | firm)"},
    "fixed by category": {"formula": "y ~ x + C(year) + (1 | firm)"},
    "transformed": {"formula": "y ~ x + I((year - 2003)**2) + (1 | firm)"},
    "response": {"formula": "year ~ x + (1 | firm)"},
    "offset": {"formula": "y ~ x + offset(0.1 * year) + (1 | firm)"},
    "offset by name": {"formula": "y ~ x + (1 | firm)", "offset": "year"},
    "weights by name": {"formula": "y ~ x + (1 | firm)", "weights": "w"},
    "weights by level": {"formula": "y ~ x + (1 | firm)", "weights": "year"},
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=list(STATEMENTS))
def test_index_levels_serve_as_columns(statement, flat, panel):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance may be zero; both fits say so
        want = mx.mixedlm(data=flat, **statement).fit()
        got = mx.mixedlm(data=panel, **statement).fit()
    assert got.llf == pytest.approx(want.llf, rel=1e-12)
    np.testing.assert_allclose(got.params, want.params, rtol=1e-9, atol=1e-12)
    assert list(got.params.index) == list(want.params.index)
    for rows in (got.resid, got.fittedvalues, got.predict()):
        assert rows.index.equals(panel.index)
    np.testing.assert_allclose(got.fittedvalues, want.fittedvalues, rtol=1e-9)


def test_levels_are_those_of_the_index(panel):
    result = mx.mixedlm("y ~ x", panel, groups="firm").fit()
    assert list(result.ranef().index) == sorted(panel.index.unique("firm"))
    assert result.ranef().index.name == "firm"
    assert set(result.random_effects) == set(panel.index.unique("firm"))
    assert result.random_effects["f00"].index[0] == "firm"


def test_a_column_wins_over_an_index_level(flat, panel):
    both = panel.assign(year=flat["year"].to_numpy() - 2003)
    got = mx.mixedlm("y ~ year + (1 | firm)", both).fit()
    want = mx.mixedlm("y ~ I(year - 2003) + (1 | firm)", flat).fit()
    np.testing.assert_allclose(got.fe_params, want.fe_params, rtol=1e-10)


def test_a_level_wins_over_a_name_of_the_caller(panel):
    year = np.zeros(len(panel))  # noqa: F841
    result = mx.mixedlm("y ~ x + year + (1 | firm)", panel).fit()
    assert result.fe_params["year"] > 0


def test_prediction_on_panels(flat, panel):
    result = mx.mixedlm("y ~ x + year + (1 | firm)", panel).fit()
    np.testing.assert_allclose(result.predict(panel), result.predict(), rtol=1e-12)
    new = panel.iloc[[5, 3, 8]]
    prediction = result.predict(new)
    assert prediction.index.equals(new.index)
    by_columns = result.predict(new.reset_index())
    np.testing.assert_allclose(prediction, by_columns)
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_allclose(again.predict(new), prediction)
    with pytest.raises(mx.FormulaError, match="do not fit"):
        result.predict(new.droplevel("year"))


def test_prediction_with_a_function_of_a_level(panel):
    """The engine's own specification, made again from the panel when unpickled."""
    result = mx.mixedlm("y ~ x + np.log(year - 1990) + (1 | firm)", panel).fit()
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_allclose(again.predict(panel), result.predict(), rtol=1e-12)


def test_missing_rows_of_panels(flat, panel):
    gaps = panel["x"].where(panel["x"] < 1.2)
    with pytest.raises(mx.MissingDataError, match="x"):
        mx.mixedlm("y ~ x", panel.assign(x=gaps), groups="firm")
    got = mx.mixedlm("y ~ x", panel.assign(x=gaps), groups="firm", missing="drop").fit()
    assert got.resid.index.equals(panel.index[gaps.notna()])
    want = mx.mixedlm("y ~ x", panel[gaps.notna()], groups="firm").fit()
    assert got.llf == pytest.approx(want.llf, rel=1e-12)


def test_missing_labels_in_an_index_level(flat):
    labels = flat["firm"].where(flat["firm"] != "f07")
    gaps = flat.assign(firm=labels).set_index(["firm", "year"])
    with pytest.raises(mx.MissingDataError, match="firm"):
        mx.mixedlm("y ~ x + (1 | firm)", gaps)
    got = mx.mixedlm("y ~ x + (1 | firm)", gaps, missing="drop").fit()
    want = mx.mixedlm("y ~ x + (1 | firm)", flat[flat["firm"] != "f07"]).fit()
    assert got.llf == pytest.approx(want.llf, rel=1e-12)


def test_arrays_of_panels(panel):
    exog = sm.add_constant(panel["x"])
    result = mx.MixedLM(panel["y"], exog, groups=panel.index.get_level_values(0)).fit()
    want = mx.mixedlm("y ~ x", panel, groups="firm").fit()
    assert result.llf == pytest.approx(want.llf, rel=1e-12)
    assert result.resid.index.equals(panel.index)


def test_chunks_of_panels(flat, panel):
    formula = "y ~ x + year + (1 | firm)"
    got = mx.MixedLM.from_chunks(formula, [panel[:100], panel[100:]]).fit()
    assert got.llf == pytest.approx(mx.mixedlm(formula, flat).fit().llf, rel=1e-10)


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.ModelWarning")
def test_rows_of_series_are_matched_by_position(flat):
    """As statsmodels does; labels in another order look like a mistake."""
    moved = flat["firm"].sample(frac=1, random_state=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        upstream = sm.MixedLM.from_formula("y ~ x", flat, groups=moved).fit()
    with pytest.warns(mx.AlignmentWarning, match="groups has the row labels of the data"):
        own = mx.mixedlm("y ~ x", flat, groups=moved)
    assert own.fit().llf == pytest.approx(upstream.llf, rel=1e-6)
    exog = sm.add_constant(flat["x"])
    with pytest.warns(mx.AlignmentWarning, match="groups has the row labels"):
        arrays = mx.MixedLM(flat["y"], exog, groups=moved)
    assert arrays.fit().llf == pytest.approx(own.fit().llf, rel=1e-12)
    with pytest.warns(mx.AlignmentWarning, match="weights has the row labels"):
        mx.mixedlm("y ~ x + (1 | firm)", flat, weights=flat["w"][::-1])


def test_series_with_other_labels_are_no_mistake(flat):
    other = flat["firm"].set_axis(np.arange(len(flat)) + 1000)
    want = mx.mixedlm("y ~ x + (1 | firm)", flat).fit()
    assert mx.mixedlm("y ~ x", flat, groups=other).fit().llf == pytest.approx(want.llf)
    part = flat[flat["year"] > 2002]
    for groups in (part["firm"], part["firm"].to_numpy(), list(part["firm"])):
        got = mx.mixedlm("y ~ x", part, groups=groups).fit()
        assert got.nobs == len(part)
