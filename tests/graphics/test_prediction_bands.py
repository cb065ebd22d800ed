"""Pictures of predictions hold their means and intervals."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from helpers.pictures import drawn
from helpers.plot_models import LONG, fit_of

from mixedext.graphics.figures import one_axes
from mixedext.graphics.prediction_bands import draw_predictions

pytestmark = pytest.mark.formula_engine
NEW = pd.DataFrame({"Days": [*range(9, -1, -1)] * 2, "Subject": [308] * 10 + [309] * 10})


def _polygon(collection):
    return collection.get_paths()[0].vertices


def test_curves_with_bands():
    found = fit_of("slopes").get_prediction(NEW)
    (ax,) = drawn(found.plot("Days", by="Subject")).axes
    table = found.summary_frame()
    for number in range(2):
        own = table.iloc[10 * number : 10 * number + 10][::-1]
        line = ax.lines[number]
        np.testing.assert_array_equal(line.get_xdata(), np.arange(10))
        np.testing.assert_allclose(line.get_ydata(), own["mean"], rtol=1e-12)
        outer, inner = ax.collections[2 * number : 2 * number + 2]
        for band, kind in ((outer, "obs"), (inner, "mean")):
            corners = {tuple(p) for p in np.round(_polygon(band), 9)}
            for end in ("lower", "upper"):
                limit = own[f"{kind}_ci_{end}"]
                assert set(zip(range(10), np.round(limit, 9), strict=True)) <= corners
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["308", "309"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Days", "prediction")


def test_data_are_the_table():
    found = fit_of("slopes").get_prediction(NEW)
    frame = found.plot_data("Days", "Subject", level=0.9)
    own = found.summary_frame(alpha=0.1)
    np.testing.assert_array_equal(frame["Days"], NEW["Days"])
    for name in frame.columns[2:]:
        np.testing.assert_allclose(frame[name], own[name], rtol=1e-12)
    assert list(found.plot_data()) == [
        "row", "mean", "mean_ci_lower", "mean_ci_upper", "obs_ci_lower", "obs_ci_upper",
    ]  # fmt: skip
    assert "obs_ci_lower" not in found.plot_data(obs=False)


def test_a_column_of_the_name_of_the_mean():
    found = fit_of("slopes").get_prediction(NEW)
    along = pd.Series(np.arange(20.0), name="mean")
    frame = found.plot_data(along)
    np.testing.assert_array_equal(frame.iloc[:, 0], along)
    np.testing.assert_allclose(frame["mean"], found.predicted_mean)


def test_levels_are_points():
    """Labels that are numbers are labels."""
    new = pd.DataFrame({"Days": [5] * 3, "Subject": [372, 308, 309]})
    (ax,) = drawn(fit_of("slopes").get_prediction(new).plot("Subject")).axes
    assert [t.get_text() for t in ax.get_xticklabels()] == ["372", "308", "309"]
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0, 1, 2])


def test_several_predictions_at_a_place():
    (ax,) = drawn(fit_of("slopes").get_prediction(NEW).plot("Days")).axes
    assert len(ax.lines[0].get_xdata()) == 20


def test_values_in_place_of_a_column():
    found = fit_of("slopes").get_prediction(NEW.iloc[:10])
    (ax,) = found.plot(np.arange(10.0)).axes
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(10))
    drawn(found.plot())


def test_rows_of_the_fit_and_long_labels():
    drawn(fit_of("labels").get_prediction().plot("g"))
    drawn(fit_of("many").get_prediction().plot("x"))
    found = fit_of("six").get_prediction()
    (ax,) = drawn(found.plot("x", by=np.array([LONG, "other"] * 15))).axes
    assert len(ax.get_legend().get_texts()) == 2


def test_rows_without_a_prediction():
    new = NEW.assign(Days=NEW["Days"].astype(float))
    new.loc[0, "Days"] = np.nan
    (ax,) = drawn(fit_of("slopes").get_prediction(new).plot("Days", by="Subject")).axes
    assert "1 rows without a prediction" in ax.get_title().replace("\n", " ")


def test_pickled_ones_can_be_drawn():
    found = pickle.loads(pickle.dumps(fit_of("slopes").get_prediction(NEW)))
    drawn(found.plot("Days", by="Subject"))


def test_mistakes():
    found = fit_of("slopes").get_prediction(NEW)
    with pytest.raises(ValueError, match="x='Day' is not a column"):
        found.plot("Day")
    with pytest.raises(ValueError, match=r"by has shape \(3,\)"):
        found.plot("Days", by=[1, 2, 3])
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_predictions(pd.DataFrame({"x": [1.0], "mean": [np.nan]}), "x", None)


def test_own_axes():
    ax = one_axes()
    assert fit_of("slopes").get_prediction(NEW).plot("Days", ax=ax) is ax.figure


def test_matplotlib_is_absent(without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        fit_of("slopes").get_prediction(NEW).plot("Days")
