"""Shares of the variance add up and are the intraclass correlations."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of

from mixedext.graphics.figures import one_axes
from mixedext.graphics.variance_shares import plot_variance_shares, variance_shares_data

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("name", [*DESIGNS, "weighted"])
def test_the_picture_holds_the_data(name, fixed):
    result = fit_of(name)
    frame = variance_shares_data(result, fixed=fixed)
    np.testing.assert_allclose(frame["share"].sum(), 1.0, rtol=1e-12)
    r2 = result.r2_nakagawa
    if fixed:
        np.testing.assert_allclose(frame["share"]["fixed effects"], r2.marginal)
        np.testing.assert_allclose(frame["share"]["Residual"], 1 - r2.conditional)
    for group in result.n_levels.index:
        np.testing.assert_allclose(
            frame["share"][group], result.icc(group, adjusted=not fixed), rtol=1e-12
        )
    (ax,) = drawn(plot_variance_shares(result, fixed=fixed)).axes
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, frame["share"], rtol=1e-12)
    starts = [bar.get_x() for bar in ax.patches]
    np.testing.assert_allclose(starts, frame["share"].cumsum().shift(fill_value=0.0))
    entries = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(entries) == len(frame)
    assert all(
        entry.startswith(name[:8]) for entry, name in zip(entries, frame.index, strict=True)
    )


@pytest.mark.parametrize(
    ("ci", "given"), [("delta", {}), ("bootstrap", {"n": 50, "rng": 1})]
)
def test_limits_are_those_of_icc(ci, given):
    result = fit_of("crossed")
    frame = variance_shares_data(result, ci, **given)
    own = result.icc("plate", ci, **given)
    np.testing.assert_allclose(frame.loc["plate", ["lower", "upper"]], own[2:], rtol=1e-12)
    (ax,) = drawn(plot_variance_shares(result, ci, **given)).axes
    first = ax.get_legend().get_texts()[0].get_text()
    assert first == f"plate {own[0]:.1%} [{own[2]:.1%}, {own[3]:.1%}]"


def test_zero_variances_are_named():
    frame = variance_shares_data(fit_of("singular"))
    assert frame["zero"]["g"] == "Intercept"
    (ax,) = plot_variance_shares(fit_of("singular")).axes
    first = ax.get_legend().get_texts()[0].get_text()
    assert first == "g 0.0%; variance 0: Intercept"


def test_mistakes():
    with pytest.raises(ValueError, match="ci"):
        plot_variance_shares(fit_of("six"), ci="profile")


def test_own_axes():
    ax = one_axes()
    assert plot_variance_shares(fit_of("six"), ax=ax) is ax.figure


def test_matplotlib_is_absent(without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        plot_variance_shares(fit_of("six"))
