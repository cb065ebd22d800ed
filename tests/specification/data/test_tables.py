"""Tables and columns of polars, pyarrow and others where pandas' are taken."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.specification.data import tables
from mixedext.specification.data.tables import as_pandas, data_frame, is_foreign

pytestmark = pytest.mark.formula_engine

KINDS = ["polars", "table", "batch", "stream", "to_pandas"]
FORMULA = "score ~ Machine * x + (1 | Worker)"


class Foreign:
    """A frame of a library that has only ``to_pandas``."""

    def __init__(self, made):
        self.made = made

    def to_pandas(self):
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


class Stream:
    """A frame of a library that has only Arrow's interface."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def foreign(kind, frame):
    """A pandas frame, or Series, in another library."""
    if kind == "to_pandas":
        return Foreign(frame)
    if kind == "polars":
        return pytest.importorskip("polars").from_pandas(frame)
    arrow = pytest.importorskip("pyarrow")
    if isinstance(frame, pd.Series):
        column = arrow.chunked_array([arrow.Array.from_pandas(frame)])
        whole = {"batch": column.combine_chunks(), "stream": Stream(column)}
        return whole.get(kind, column)
    table = arrow.Table.from_pandas(frame, preserve_index=False)
    if kind == "batch":
        return table.combine_chunks().to_batches()[0]
    return Stream(table) if kind == "stream" else table


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    frame = mx.datasets.machines.load().data
    frame["x"] = rng.standard_normal(len(frame))
    frame["w"] = rng.uniform(1, 2, len(frame))
    frame["site"] = rng.choice(["north", "south"], len(frame))
    return frame


@pytest.fixture(scope="module")
def result(data):
    return mx.mixedlm(FORMULA, data).fit()


# ---- the conversion ----


def test_pandas_own_and_others_are_left_alone():
    own = [
        None,
        1,
        "x",
        [1],
        {"a": 1},
        np.ones(2),
        pd.Series([1]),
        pd.DataFrame(),
        len,
        int,
    ]
    assert all(as_pandas(value) is value for value in own)
    assert not any(map(is_foreign, own))


def test_polars_columns():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "whole": [1, None, 2**60 + 1],
            "real": [1.5, None, 2.5],
            "truth": [True, None, False],
            "text": ["b", None, "a"],
            "day": [datetime.date(2024, 1, 2), None, datetime.date(2024, 1, 1)],
            "money": [decimal.Decimal("1.25"), None, decimal.Decimal("-3")],
            "kind": pl.Series(["b", None, "a"], dtype=pl.Categorical),
            "step": pl.Series(["low", None, "high"], dtype=pl.Enum(["low", "mid", "high"])),
        }
    )
    got = as_pandas(frame)
    assert got["whole"].tolist()[::2] == [1, 2**60 + 1]
    assert got["truth"].dtype == pd.BooleanDtype()
    assert got["day"].dtype.kind == "M"
    np.testing.assert_array_equal(got["money"], [1.25, np.nan, -3.0])
    assert list(got["kind"].cat.categories) == ["a", "b"]
    assert list(got["step"].cat.categories) == ["low", "mid", "high"]
    assert got.isna().sum().tolist() == [1] * 8
    for name in frame.columns:
        column = as_pandas(frame[name])
        pd.testing.assert_series_equal(column, got[name])


def test_numbers_are_not_copied():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": np.arange(5.0), "b": np.arange(5)})
    got = as_pandas(frame)
    for name in "ab":
        assert np.shares_memory(got[name].to_numpy(), frame[name].to_numpy())


def test_an_arrow_table_keeps_pandas_index():
    arrow = pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["u", "v"], name="g"))
    pd.testing.assert_frame_equal(as_pandas(arrow.Table.from_pandas(frame)), frame)


def test_rows_get_the_labels_of_others():
    pl = pytest.importorskip("polars")
    index = pd.Index([5, 3])
    assert as_pandas(pl.Series([1, 2]), index).index.equals(index)
    assert isinstance(as_pandas(pl.Series([1, 2, 3]), index), np.ndarray)


def test_polars_without_pyarrow(monkeypatch):
    pl = pytest.importorskip("polars")

    class Alone:
        """As polars is where pyarrow is not."""

        def __init__(self, frame):
            self.frame, self.columns = frame, frame.columns

        def __getitem__(self, name):
            return self.frame[name]

        def to_pandas(self):
            raise ModuleNotFoundError("pyarrow is required")

    monkeypatch.setattr(tables, "arrow", None)
    frame = pl.DataFrame(
        {
            "whole": [1, None, 2**60 + 1],
            "real": [1.5, None, 2.5],
            "text": ["b", None, "a"],
            "step": pl.Series(["low", None, "high"], dtype=pl.Enum(["low", "mid", "high"])),
        }
    )
    got = as_pandas(Alone(frame))
    assert got["whole"].tolist()[::2] == [1, 2**60 + 1]
    assert list(got["step"].cat.categories) == ["low", "mid", "high"]
    assert got.isna().sum().tolist() == [1] * 4


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (Foreign([1]), r"to_pandas\(\) of a .*Foreign gives a builtins.list"),
        (Stream(None), "pip install pyarrow"),
    ],
)
def test_what_cannot_be_read(value, match, monkeypatch):
    monkeypatch.setattr(tables, "arrow", None)
    with pytest.raises(TypeError, match=match):
        as_pandas(value)


def test_lazy_frames_are_to_be_collected(data):
    pl = pytest.importorskip("polars")
    with pytest.raises(TypeError, match=r"polars.LazyFrame; pass data.collect\(\)"):
        mx.mixedlm(FORMULA, pl.from_pandas(data).lazy())


def test_a_mapping_to_columns():
    pl = pytest.importorskip("polars")
    got = data_frame({"a": pl.Series([1, 2]), "b": [3, 4]})
    pd.testing.assert_frame_equal(got, pd.DataFrame({"a": [1, 2], "b": [3, 4]}))


# ---- where they are taken ----


@pytest.mark.parametrize("kind", KINDS)
def test_models_from_formulas(kind, data, result):
    table = foreign(kind, data)
    got = mx.mixedlm(FORMULA, table).fit()
    assert got.llf == pytest.approx(result.llf, rel=1e-13)
    assert got.model.exog_names == result.model.exog_names
    assert isinstance(got.fittedvalues, pd.Series)
    predicted = got.predict(table)
    pd.testing.assert_series_equal(predicted, result.predict(data))
    means = [r.emmeans("Machine").table["estimate"] for r in (got, result)]
    np.testing.assert_allclose(*means, rtol=1e-9)
    fits = [mx.lm_list("score ~ x | Machine", d).coefficients for d in (table, data)]
    pd.testing.assert_frame_equal(*fits)
    anova = [mx.anova_estimates("score ~ 1 + (1 | Worker)", d) for d in (table, data)]
    pd.testing.assert_frame_equal(anova[0].table, anova[1].table)


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_beside_the_data(kind, data):
    names = {"groups": "Worker", "weights": "w", "offset": "x"}
    want = mx.mixedlm("score ~ Machine", data, **names).fit()
    columns = {what: foreign(kind, data[name]) for what, name in names.items()}
    for frame in (data, data.sample(frac=1, random_state=1).set_axis(data.index)):
        given = {what: foreign(kind, frame[name]) for what, name in names.items()}
        got = mx.mixedlm("score ~ Machine", frame, **given).fit()
        assert got.llf == pytest.approx(want.llf, rel=1e-9)
    other = data.set_axis(np.arange(len(data))[::-1])  # rows have no labels there
    assert mx.mixedlm("score ~ Machine", other, **columns).fit().llf == want.llf
    keep = data["x"] > -1
    got = mx.mixedlm(FORMULA, data, subset=foreign(kind, keep))
    assert got.nobs == keep.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_models_from_arrays(kind, data):
    x = pd.DataFrame({"one": 1.0, "x": data["x"]})
    want = mx.MixedLM(data["score"], x, data["Worker"], x[["one"]], weights=data["w"]).fit()
    table = foreign(kind, x)
    y, g, w = (foreign(kind, data[name]) for name in ("score", "Worker", "w"))
    got = mx.MixedLM(y, table, g, foreign(kind, x[["one"]]), weights=w).fit()
    assert got.llf == want.llf
    assert got.model.exog_names == ["one", "x"]
    term = mx.RandomTerm(g, table, group="Worker")
    assert term.names == ["one", "x"]
    got = mx.MixedLM(y, table, terms=[mx.RandomTerm(g, group="Worker")], weights=w).fit()
    assert got.llf == pytest.approx(want.llf, rel=1e-12)
    mean = got.predict(table, conditional=False)
    np.testing.assert_array_equal(mean, want.predict(x))
    dummies = pd.get_dummies(data["Worker"].astype(str)).astype(float)
    sparse = [mx.SparseTerm(d, group="Worker") for d in (dummies, foreign(kind, dummies))]
    assert list(sparse[0].levels) == list(sparse[1].levels)


@pytest.mark.parametrize("kind", KINDS)
def test_responses_clusters_and_cases(kind, data, result):
    model = result.model
    y = foreign(kind, data["score"] + 1)
    assert model.refit(y).llf == pytest.approx(result.llf, rel=1e-9)
    both = data[["score", "w"]]
    many = [model.fit_many(d).to_frame() for d in (foreign(kind, both), both)]
    pd.testing.assert_frame_equal(*many)
    site = foreign(kind, data["site"])
    for groups, own in ((site, data["site"]), ([site, site], [data["site"], data["site"]])):
        got, want = (
            result.get_robustcov_results("CR1", groups=g).bse_fe for g in (groups, own)
        )
        np.testing.assert_array_equal(got, want)
    workers = foreign(kind, data["Worker"]), data["Worker"]
    drawn = [result.bootstrap_cases(n=3, group=g, rng=1) for g in workers]
    assert str(drawn[0]) == str(drawn[1])
    at = [result.emmeans("x", at={"x": v}).table for v in (foreign(kind, data["w"][:3]),)]
    assert at[0]["estimate"].notna().all()


@pytest.mark.parametrize("kind", KINDS)
def test_chunks(kind, data):
    formula = "score ~ Machine + x + (1 | Worker)"
    want = mx.mixedlm(formula, data).fit()
    chunks = [foreign(kind, part) for part in (data[:20], data[20:])]
    for given in (chunks, [lambda c=c: c for c in chunks], foreign(kind, data)):
        result = mx.MixedLM.from_chunks(formula, given).fit()
        assert result.llf == pytest.approx(want.llf, rel=1e-10)
    assert sum(len(part) for part in result.by_chunk(chunks)) == len(data)


@pytest.mark.parametrize("kind", ["polars", "table"])
def test_missing_values(kind, data):
    gaps = data.astype({"Worker": str, "Machine": str}).assign(k=np.arange(len(data)) % 7)
    gaps = gaps.astype({"k": "Int64", "site": object})
    gaps.loc[2, "k"] = pd.NA
    gaps.loc[5, "site"] = None
    gaps.loc[9, "x"] = np.nan
    formula = "score ~ x + k + site + (1 | Worker)"
    table = foreign(kind, gaps)
    with pytest.raises(mx.MissingDataError, match=r"x \(1\), k \(1\), site \(1\)|missing"):
        mx.mixedlm(formula, table)
    got = mx.mixedlm(formula, table, missing="drop").fit()
    want = mx.mixedlm(formula, gaps, missing="drop").fit()
    assert (got.nobs, got.llf) == (want.nobs, pytest.approx(want.llf, rel=1e-13))
    assert got.fittedvalues.index.equals(want.fittedvalues.index)


def test_large_labels_with_gaps_stay_apart():
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(1)
    labels = [2**60 + i // 5 if i else None for i in range(60)]
    frame = pl.DataFrame({"g": labels, "y": rng.standard_normal(60)})
    model = mx.mixedlm("y ~ 1 + (1 | g)", frame, missing="drop")
    assert model.terms[0].n_levels == 12
