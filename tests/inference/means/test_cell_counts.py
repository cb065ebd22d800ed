"""Rows behind estimated means."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def data():
    data = mx.datasets.oats.load().data.reset_index(drop=True)
    return data.drop(index=[0, 1, 7, 30, 31])


@pytest.fixture(scope="module")
def fit(data):
    return mx.mixedlm("yield ~ nitroF * Variety + (1 | Block/Variety)", data).fit()


def test_as_group_means(fit, data):
    table = fit.emmeans(["nitroF", "Variety"], counts=True).table
    own = data.groupby(["nitroF", "Variety"], observed=True)["yield"].agg(["size", "mean"])
    own = own.loc[list(zip(table["nitroF"], table["Variety"], strict=True))]
    np.testing.assert_array_equal(table["nobs"], own["size"])
    np.testing.assert_allclose(table["raw_mean"], own["mean"])
    assert table["nobs"].sum() == len(data)
    overall = fit.emmeans([], counts=True).table
    assert overall["nobs"].tolist() == [len(data)]
    np.testing.assert_allclose(overall["raw_mean"], data["yield"].mean())


def test_levels_of_at_alone_count(fit, data):
    table = fit.emmeans("nitroF", at={"Variety": ["Victory"]}, counts=True).table
    own = data[data["Variety"] == "Victory"].groupby("nitroF", observed=True)["yield"]
    np.testing.assert_array_equal(table["nobs"], own.size())
    np.testing.assert_allclose(table["raw_mean"], own.mean())


def test_values_of_covariates(data):
    fit = mx.mixedlm("yield ~ nitro + Variety + (1 | Block)", data).fit()
    at = {"nitro": [0.0, 0.3, 0.6]}
    table = fit.emmeans("nitro", at=at, counts=True).table
    sizes = [(data["nitro"] == v).sum() for v in at["nitro"]]
    assert table["nobs"].tolist() == sizes
    assert sizes[1] == 0
    assert np.isnan(table["raw_mean"][1])
    by = fit.emmeans("Variety", counts=True).table  # whatever the covariate
    assert by["nobs"].sum() == len(data)


def test_scale_of_the_means(data):
    fit = mx.mixedlm("np.log(yield) ~ nitroF + (1 | Block)", data).fit()
    link = fit.emmeans("nitroF", counts=True).table["raw_mean"]
    back = fit.emmeans("nitroF", counts=True, type="response").table["raw_mean"]
    logs = np.log(data["yield"]).groupby(data["nitroF"], observed=True).mean()
    np.testing.assert_allclose(link, logs)
    np.testing.assert_allclose(back, np.exp(logs))


def test_printed_kept_by_letters_and_pickled(fit):
    means = fit.emmeans("nitroF", counts=True)
    assert "raw_mean" in repr(means)
    assert "nobs" in means.cld()
    assert "nobs" not in means.conf_int()
    assert repr(pickle.loads(pickle.dumps(means))) == repr(means)
    assert "nobs" not in fit.emmeans("nitroF").table


def test_rows_that_were_removed(data):
    fit = mx.mixedlm("yield ~ nitroF + (1 | Block)", data).fit()
    fit.emmeans("nitroF")
    fit.remove_data()
    with pytest.raises(ValueError, match="removed"):
        fit.emmeans("nitroF", counts=True)
