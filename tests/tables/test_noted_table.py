"""Tables with a heading and notes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixedext.tables.noted_table import NotedTable

TABLE = NotedTable.of(
    pd.DataFrame({"F": [1.5, None]}, ["a", "b"]), "Heading <1>", ["A note."]
)


def test_prints_heading_and_notes():
    lines = repr(TABLE).splitlines()
    assert lines[0] == "Heading <1>"
    assert lines[-1] == "A note."
    assert "nan" not in repr(TABLE).lower()
    assert "Heading &lt;1&gt;" in TABLE._repr_html_()
    assert str(TABLE) == repr(TABLE)


def test_is_a_data_frame():
    assert isinstance(TABLE, pd.DataFrame)
    assert type(TABLE["F"]) is pd.Series
    assert type(TABLE.loc[["a"]]) is pd.DataFrame
    assert TABLE["F"].sum() == 1.5


def test_numbers_have_the_digits_that_tell_them():
    table = NotedTable.of(
        pd.DataFrame(
            {
                "sum_sq": [30031.014784, 12.503999, np.nan],
                "llf": [-871.814136, -893.232543, np.nan],
                "statistic": [45.853006, np.nan, 0.0],
                "estimate": [1.23456789, 2.0, 3.0],
            }
        ),
        "",
    )
    text = str(table)
    for piece in ("30031.0", " 12.5", "-871.814", "45.853", "0.000", "1.234568"):
        assert piece in text
    assert "nan" not in text.lower()
    assert table["sum_sq"].iloc[0] == 30031.014784
    huge = NotedTable.of(pd.DataFrame({"mean_sq": [3.0031014784e16]}), "")
    assert "3.0031e+16" in str(huge)
