"""Policies for rows under a residual covariance; saved fits, and fits without rows."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import FormulaError, ResidualFallbackWarning

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(4)
    g, visit = np.repeat(np.arange(60), 4), np.tile(np.arange(1, 5), 60)
    serial = rng.standard_normal((60, 5))
    serial = serial[:, 1:] + 0.3 * serial[:, :-1] + 2 * rng.standard_normal((60, 1))
    frame = pd.DataFrame({"g": [f"g{k}" for k in g], "visit": visit})
    sex = np.where(rng.random(240) < 0.5, "f", "m")
    return frame.assign(sex=sex, y=serial.ravel() * np.where(sex == "f", 1.0, 1.3))


@pytest.fixture(scope="module")
def result(data):
    return mx.mixedlm("y ~ visit", data, residual="ar1(visit | g)").fit()


@pytest.fixture(scope="module")
def mixed(data):
    return mx.mixedlm(
        "y ~ visit + (1 | g)", data, residual="ar1(visit | g)", variance="ident(sex)"
    ).fit()


def new(**columns):
    return pd.DataFrame(columns)


def test_groups_that_the_fit_had_not(result):
    at = new(g=["g1", "z1", "z2", None], visit=[5, 5, 5, 5])
    with pytest.raises(ValueError, match=r"of 'g' that the fit had not: z1, z2\. new"):
        result.predict(at, conditional="all")
    zero = result.get_prediction(at, conditional="all", new_levels="zero")
    assert zero.kind.tolist() == ["known group", "new group", "new group", "new group"]
    population = result.get_prediction(at, conditional=False)
    np.testing.assert_allclose(zero.predicted_mean[1:], population.predicted_mean[1:])
    assert zero.predicted_mean[0] != population.predicted_mean[0]
    missing = result.get_prediction(at, conditional="all", new_levels="missing")
    for values in (missing.predicted_mean, missing.se_mean, missing.se_obs, missing.df):
        assert np.isnan(values).tolist() == [False, True, True, True]
    assert missing.predicted_mean[0] == zero.predicted_mean[0]
    kept = result.predict(at.drop(index=[1, 2]), conditional="all")
    assert np.isnan(kept.to_numpy()).tolist() == [False, True]


def test_columns_that_are_lacking(result, mixed):
    with pytest.raises(FormulaError, match=r"no column 'g', which residual=ar1\(visit"):
        result.predict(new(visit=[5]), conditional="all")
    with pytest.raises(FormulaError, match="exog is an array, which does not tell 'g'"):
        result.predict([[1.0, 5.0]], transform=False, conditional="all")
    # the population needs none of them; an observation the stratum of its variance
    assert result.get_prediction(new(visit=[5])).se_obs.shape == (1,)
    found = mixed.get_prediction(new(visit=[5]), conditional=False)
    assert found.se_mean.shape == (1,)
    words = r"observations are not known: the new data have no column 'sex', which variance"
    with pytest.raises(ValueError, match=words):
        _ = found.se_obs


def test_unknown_visits_and_strata(data, mixed):
    unknown = new(g=["g1"], visit=[4], sex=["other"])
    words = r"exog has 'sex' = 'other', a stratum that the fit had not"
    with pytest.raises(ValueError, match=words):
        mixed.predict(unknown, conditional="all")
    found = mixed.get_prediction(unknown)
    with pytest.raises(ValueError, match=words):
        _ = found.se_obs
    us = mx.mixedlm("y ~ visit", data, residual="us(visit | g)").fit()
    words = r"exog has 'visit' = '5', a visit that the fit had not: us\(visit \| g\) does"
    with pytest.raises(ValueError, match=words):
        us.predict(new(g=["g1"], visit=[5]), conditional="all")
    with pytest.raises(ValueError, match=words):
        _ = us.get_prediction(new(visit=[5])).se_obs


def test_forecasts_fade(result):
    """A last residual is felt by rho to the power of the visits since."""
    at = new(g=["g3"] * 40, visit=np.arange(5, 45))
    step = result.predict(at, conditional="all") - result.predict(at, conditional=False)
    rho = result.fitted.fit.residual.bound.correlation.natural(
        result.fitted.fit.residual.psi
    )[0]
    np.testing.assert_allclose(step / step.iloc[0], rho ** np.arange(40), atol=1e-12)
    errors = result.get_prediction(at, conditional="all", df_method="z")
    assert (np.diff(errors.se_mean) > 0).all()
    population = result.get_prediction(at, df_method="z")
    assert (errors.se_mean < population.se_obs).all()


def test_rows_that_lack_a_value(mixed):
    at = new(g=["g1", "g1", None], visit=[5.0, np.nan, 5.0], sex=["f", "f", "m"])
    found = mixed.predict(at, conditional="all")
    assert np.isnan(found.to_numpy()).tolist() == [False, True, True]
    found = mixed.get_prediction(at.assign(sex=["f", "f", None]), conditional=False)
    assert np.isnan(found.se_obs).tolist() == [False, True, True]
    assert np.isnan(found.se_mean).tolist() == [False, True, False]


def test_saved_fits(tmp_path, mixed):
    at = new(g=["g1", "g2"], visit=[5, 6], sex=["f", "m"])
    want = mixed.get_prediction(at, conditional="all").summary_frame()
    file = tmp_path / "fit.pickle"
    mixed.save(file)
    for again in (mx.load(file), pickle.loads(pickle.dumps(mixed))):
        found = again.get_prediction(at, conditional="all").summary_frame()
        pd.testing.assert_frame_equal(found, want, rtol=1e-12)
        np.testing.assert_allclose(
            again.predict(conditional="all"), mixed.predict(conditional="all"), rtol=1e-12
        )


def test_fits_without_rows(mixed):
    at = new(g=["g1", "g2"], visit=[5, 6], sex=["f", "m"])
    bare = pickle.loads(pickle.dumps(mixed))
    want = mixed.get_prediction(at, conditional=False).summary_frame()
    conditional = mixed.get_prediction(at, df_method="z").summary_frame()
    bare.remove_data()
    for again in (bare, pickle.loads(pickle.dumps(bare))):
        words = "conditional='all' needs the rows of the fit"
        for call in (again.predict, again.get_prediction):
            with pytest.raises(ValueError, match=words):
                call(at, conditional="all")
        found = again.get_prediction(at, conditional=False).summary_frame()
        pd.testing.assert_frame_equal(found, want)
        np.testing.assert_allclose(again.predict(at), mixed.predict(at), rtol=1e-12)
        found = again.get_prediction(at, df_method="z").summary_frame()
        pd.testing.assert_frame_equal(found, conditional, rtol=1e-9)
        with pytest.raises(ValueError, match="removed: use df_method='z' or 'residual'"):
            again.get_prediction(at)


def test_a_factor_of_that_name(data):
    """conditional=['all'] is a factor; 'all' all that is known."""
    renamed = data.rename(columns={"g": "all"})
    result = mx.mixedlm("y ~ visit + (1 | all)", renamed).fit()
    at = new(**{"all": ["g1"], "visit": [5]})
    assert result.predict(at, conditional=["all"])[0] == result.predict(at)[0]
    assert result.predict(at, conditional="all")[0] == result.predict(at)[0]


def test_words_of_a_wrong_argument(result):
    with pytest.raises(ValueError, match=re.escape("of them, 'all', or None")):
        result.predict(conditional=3)


def test_groups_given_as_arrays(data):
    """Columns are known by the names of Series."""
    x = np.column_stack([np.ones(len(data)), data["visit"]])
    result = mx.MixedLM(data["y"], x, residual=mx.AR1(data["visit"], group=data["g"])).fit()
    stated = mx.mixedlm("y ~ visit", data, residual="ar1(visit | g)").fit()
    at = pd.DataFrame({"x1": [1.0], "x2": [5.0], "visit": [5], "g": ["g1"]})
    names = result.model.exog_names
    at = at.rename(columns={"x1": names[0], "x2": names[1]})
    found = result.predict(at, conditional="all")
    np.testing.assert_allclose(found, stated.predict(at, conditional="all"), rtol=1e-9)


def test_a_fallback_is_the_one_that_was_fitted(data):
    few = data[data["g"].isin(["g1", "g2", "g3"])]
    with pytest.warns(ResidualFallbackWarning):
        result = mx.mixedlm(
            "y ~ 1", few, residual=["us(visit | g)", "ar1(visit | g)"]
        ).fit()
    assert str(result.fitted.fit.residual.bound.spec) == "ar1(visit | g)"
    assert np.isfinite(result.predict(new(g=["g1"], visit=[5]), conditional="all")[0])
