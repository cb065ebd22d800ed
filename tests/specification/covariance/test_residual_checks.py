"""Rows that a residual structure cannot have: each error says where and what to do."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import DesignError, UnidentifiedCovarianceError
from mixedext.specification.covariance.residual_binding import bind_residual, bind_stated
from mixedext.specification.covariance.residual_columns import stated_residual


@pytest.fixture
def data():
    """Three visits of four subjects in two arms."""
    frame = pd.DataFrame(
        {
            "subject": np.repeat(["PT1", "PT2", "PT7", "PT8"], 3),
            "visit": np.tile(["V1", "V2", "V3"], 4),
            "arm": np.repeat(["A", "B"], 6),
            "time": np.tile([0.0, 1.5, 2.0], 4),
            "x": np.tile([0.0, 1.0, 2.0], 4),
        },
        index=np.arange(100, 112),
    )
    frame["row"] = np.arange(12)
    return frame


def refused(residual, data, text, kind=DesignError, variance=None):
    with pytest.raises(kind) as caught:
        bind_residual(residual, variance, columns=data)
    assert text in str(caught.value)


def test_a_visit_twice(data):
    data.loc[108, "visit"] = "V2"
    refused(
        "us(visit | subject)",
        data,
        "us(visit | subject): subject 'PT7' has the visit 'V2' of 'visit' twice, in rows "
        "107 and 108. Keep or aggregate one row of each visit, or name groups that have "
        "each visit once; without visits there are cs(1 | g) and, by times, "
        "sp_exp(time | g, nugget=True)",
    )
    again = data.sample(frac=1, random_state=1)
    refused("cs(visit | subject)", again, "'PT7' has the visit 'V2' of 'visit' twice")
    arrays = mx.AR1(data["visit"].to_numpy(), group=data["subject"].to_numpy())
    with pytest.raises(DesignError, match=r"group 'PT7' .* in rows 7 and 8"):
        bind_residual(arrays)


def test_a_visit_twice_without_groups(data):
    refused(
        "ar1(visit)",
        data,
        "no group is given, so that all rows are one, which has the visit 'V1' of 'visit' "
        "twice, in rows 100 and 103",
    )


def test_a_time_twice(data):
    data.loc[104, "time"] = 0.0
    refused(
        "car1(time | subject)",
        data,
        "car1(time | subject): subject 'PT2' has time=0 twice, in rows 103 and 104, which "
        "would have to be equal; sp_exp(time | subject, nugget=True) is this structure "
        "with a nugget, or aggregate them",
    )
    bound = bind_residual("sp_exp(time | subject, nugget=True)", columns=data)
    assert bound.correlation.nugget


def test_a_place_twice(data):
    refused(
        "sp_exp(x, time)",
        data,
        "no group is given, so that all rows are one, which has x=0, time=0 twice, in rows "
        "100 and 103, which would have to be equal; add nugget=True, or aggregate them",
    )


def test_no_two_rows_share_a_group(data):
    refused(
        "ar1(visit | row)",
        data,
        "ar1(visit | row): no two rows share a group of 'row', so that there is no "
        "correlation to estimate; is it the right factor?",
        UnidentifiedCovarianceError,
    )


def test_by_varies_within_a_group(data):
    data.loc[107, "arm"] = "A"
    refused(
        "us(visit | subject, by=arm)",
        data,
        "us(visit | subject, by=arm): subject 'PT7' has two levels of 'arm', 'B' and 'A'; "
        "a group has the parameters of one. If its labels stand for other groups in each "
        "level, write | arm/subject, by=arm",
    )
    bound = bind_residual("cs(1 | arm/subject, by=arm)", columns=data)
    assert (bound.group_name, bound.n_groups) == ("subject:arm", 5)


PLACES = {
    "no visit": (mx.AR1(group="subject"), "AR1 needs visit= for residuals; visit=1 takes"),
    "no time": (mx.CAR1(group="subject"), "CAR1 needs time= for residuals"),
    "no coordinates": (mx.Spatial("exp"), "Spatial needs coordinates= for residuals"),
    "het of no visits": (
        mx.CS(group="subject", het=True),
        "het=True is a variance for eac",
    ),
    "het of row order": (mx.AR1(1, "subject", het=True), "het=True is a variance for each"),
    "linear in the plane": (
        mx.Spatial("lin", ["x", "row"]),
        "the linear function of distance is no correlation in the plane; sp_spher is one",
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_places(name, data):
    structure, text = PLACES[name]
    refused(structure, data, text)


COLUMNS = {
    "text for a time": ("car1(visit | subject)", "'visit' must hold numbers: could not"),
    "dates for a time": ("car1(day | subject)", "'day' holds dates; make numbers of them"),
    "durations": ("car1(since | subject)", "'since' holds durations; make numbers of"),
    "a categorical for a time": ("car1(kind | subject)", "it is categorical"),
    "times for visits": ("ar1(time | subject)", "car1(time | g) takes times"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_another_kind(name, data):
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(data["row"], unit="D")
    data = data.assign(day=day, kind=pd.Categorical(data["row"]))
    data["since"] = data["day"] - data["day"].min()
    residual, text = COLUMNS[name]
    refused(residual, data, text)


def test_infinite_times(data):
    data.loc[103, "time"] = np.inf
    refused("car1(time | subject)", data, "infinite values in time", ValueError)


def test_groups_too_large_for_memory(data):
    stated = stated_residual("sp_exp(row)", None, lambda name, *_: data[name])
    bind_stated(stated, 12, lambda: 1.0)  # small ones are not asked for
    field = pd.DataFrame({"x": np.arange(3000)})
    stated = stated_residual("sp_exp(x)", None, lambda name, *_: field[name])
    with pytest.raises(MemoryError) as caught:
        bind_stated(stated, 3000, lambda: 100e6)
    expected = (
        r"sp_exp\(x\): the largest group has 3,000 rows; the matrices of 1 different "
        r"groups need about 0.576 GB of 0.1 GB available, and a fit about \d+ seconds"
    )
    assert re.match(expected, str(caught.value))


def test_groups_too_large_for_a_day():
    field = pd.DataFrame({"x": np.arange(30_000)})
    with pytest.raises(MemoryError, match=r"30,000 rows.* about 324,000 seconds"):
        bind_residual("car1(x)", columns=field)
