"""Tables with a heading and notes."""

from __future__ import annotations

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
