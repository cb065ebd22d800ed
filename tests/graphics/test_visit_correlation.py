"""Correlations between visits against moments, and what the model says of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.pictures import drawn
from helpers.residual_fits import fev_fit, fit_of, series

import mixedext as mx
from mixedext.graphics.figures import panels
from mixedext.graphics.visit_correlation import plot_residual_cov, residual_cov_data

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("bar", ["", " + (t | subject)"])
def test_moments_of_pairs(bar):
    data = series()
    result = mx.mixedlm(
        f"y ~ x{bar}", data, residual="ar1(visit | subject)", weights="weight"
    ).fit()
    wide = data.assign(r=result.residuals("marginal", "raw"))
    wide = wide.pivot(index="subject", columns="visit", values="r")
    v = pd.DataFrame(result.V().values.toarray(), data.index, data.index)
    labels = data.reset_index().pivot(index="subject", columns="visit", values="index")
    for row in residual_cov_data(result).itertuples():
        both = wide[[row.visit, row.other]].dropna().to_numpy()
        if row.visit == row.other:
            both = both[:, :1].repeat(2, axis=1)
        a, b = both.T
        assert row.n_pairs == len(both)
        assert row.observed == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)))
        pairs = labels[[row.visit, row.other]].dropna().to_numpy()
        own, other = pairs[:, 0], pairs[:, -1]
        cov = np.mean([v.loc[i, j] for i, j in zip(own, other, strict=True)])
        size = np.mean([v.loc[i, i] for i in own]) * np.mean([v.loc[j, j] for j in other])
        assert row.fitted == pytest.approx(cov / np.sqrt(size), rel=1e-9)


def test_without_random_effects_it_is_the_correlation_of_the_visits():
    for residual in ("us", "csh"):
        result = fev_fit(f"{residual}(AVISIT | USUBJID)")
        frame = residual_cov_data(result).set_index(["visit", "other"])
        corr = result.residual.corr
        for (visit, other), row in frame.iterrows():
            assert row["fitted"] == pytest.approx(corr.loc[visit, other], rel=1e-9)


def test_complete_unstructured_is_what_is_observed():
    rng = np.random.default_rng(3)
    y = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 3))
    subject, visit = np.repeat(np.arange(30), 3), np.tile(np.arange(3), 30)
    residual = mx.Unstructured(visit, group=subject)
    result = mx.MixedLM(y.ravel(), np.eye(3)[visit], residual=residual).fit()
    frame = residual_cov_data(result)
    np.testing.assert_allclose(frame["fitted"], frame["observed"], rtol=1e-6)


def test_levels_have_their_own_images():
    result = fev_fit("us(AVISIT | USUBJID, by=ARMCD)")
    frame = residual_cov_data(result)
    assert frame["level"].unique().tolist() == ["PBO", "TRT"]
    figure = drawn(plot_residual_cov(result))
    images = [ax for ax in figure.axes if ax.images]
    assert len(images) == 4
    part = frame[frame["level"] == "TRT"].pivot(
        index="visit", columns="other", values="fitted"
    )
    shown = images[3].images[0].get_array()
    upper = np.triu_indices(4)
    np.testing.assert_allclose(shown[upper], part.to_numpy()[upper])
    assert images[3].get_title() == "fitted, TRT"
    with pytest.raises(ValueError, match="2 axes for 4 images"):
        plot_residual_cov(result, ax=panels(None, 2))


def test_visits_that_are_not_there_are_blank():
    data = series()
    data = data[data["visit"] != 3]
    result = mx.mixedlm("y ~ x", data, residual="ar1(visit | subject)").fit()
    frame = residual_cov_data(result)
    lost = (frame["visit"] == 3) | (frame["other"] == 3)
    assert frame.loc[lost, ["observed", "fitted"]].isna().all(axis=None)
    assert frame.loc[~lost, "observed"].notna().all()
    drawn(result.plot_residual_cov())


def test_what_has_no_visits_is_refused():
    with pytest.raises(ValueError, match="has no visits, whose correlations"):
        plot_residual_cov(fit_of("Orthodont: gls_exp"))
    with pytest.raises(ValueError, match="states no residual="):
        plot_residual_cov(mx.mixedlm("y ~ x + (1 | subject)", series()).fit())


def test_matplotlib_is_absent(without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        plot_residual_cov(fit_of("Orthodont: gls_ar1h"))
