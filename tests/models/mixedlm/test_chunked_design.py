"""Data in chunks give the numbers of the whole, however they are cut and whoever adds."""

from __future__ import annotations

import itertools
import json
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from helpers.scripts import run_script
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedext as mx
from mixedext.specification.data.chunk_sources import tree_sum


def make(n=1200, seed=0):
    rng = np.random.default_rng(seed)
    g, h = rng.integers(0, 40, n), rng.integers(0, 12, n)
    x = 2000 + rng.normal(size=n)
    f = rng.choice(["u", "v", "w"], n)
    b = rng.normal(size=(2, 40))
    y = 1e5 + x + b[0, g] + b[1, g] * (x - 2000) + rng.normal(size=12)[h]
    y = y + (f == "v") + rng.normal(size=n)
    h = np.array(list("abcdefghijkl"))[h]
    return pd.DataFrame(
        {"y": y, "x": x, "f": f, "g": g, "h": h, "w": rng.uniform(0.5, 2, n), "o": x / 7}
    )


def cut(data, places):
    bounds = [0, *sorted(places), len(data)]
    return [data.iloc[a:b] for a, b in itertools.pairwise(bounds)]


def same(one, other):
    assert one.llf == pytest.approx(other.llf, rel=1e-12)
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(one.fe_params, other.fe_params, rtol=1e-10)
    np.testing.assert_allclose(one.bse_fe, other.bse_fe, rtol=1e-9)
    for group in one.n_levels.index:
        a, b = one.ranef(group), other.ranef(group)
        assert list(a.index) == list(b.index)
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)


FORMULAS = [
    ("y ~ x + f + (x | g) + (1 | h)", {}),
    ("y ~ x * f + (1 | g/h)", {"weights": "w"}),
    ("y ~ C(g > 20) + I(x - 2000) + (0 + I(x - 2000) || g) + (1 | h)", {}),
    ("y ~ 0 + f + np.log(x) + offset(o) + (1 | h)", {}),
    ("y ~ x", {"groups": "g", "re_formula": "~ I(x - 1999)", "offset": "o"}),
    ("y ~ x + f", {}),
]


@pytest.mark.formula_engine
@pytest.mark.parametrize(("formula", "options"), FORMULAS)
@pytest.mark.parametrize("pieces", [1, 3, 17])
def test_numbers_of_the_whole(formula, options, pieces):
    data = make()
    places = np.random.default_rng(pieces).integers(0, len(data), pieces - 1)
    whole = mx.mixedlm(formula, data, **options)
    model = mx.MixedLM.from_chunks(formula, cut(data, places), **options)
    assert model.exog_names == whole.exog_names
    assert model.nobs == whole.nobs
    assert model.describe_blocks() == whole.describe_blocks()
    same(model.fit(), whole.fit())
    if "weights" not in options:  # and by maximum likelihood
        same(model.fit(reml=False), whole.fit(reml=False))


@settings(max_examples=10, deadline=None)
@given(
    places=st.lists(st.integers(0, 300), max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_any_cut_and_any_order(places, order):
    data = make(300, seed=3)
    rows = list(range(300))
    order.shuffle(rows)
    formula = "y ~ x + f + (x | g) + (1 | h)"
    one = mx.mixedlm(formula, data).fit()
    same(mx.MixedLM.from_chunks(formula, cut(data.iloc[rows], places)).fit(), one)


def test_levels_in_another_order_in_every_chunk():
    """Categorical groups are coded by each chunk's own order of its categories."""
    data = make(400, seed=5)
    formula = "y ~ x + (1 | g) + (x | h)"
    letters = list("abcdefghijkl")
    orders = [letters[::-1], letters[5:] + letters[:5], letters]
    chunks = [
        part.assign(h=pd.Categorical(part["h"], order))
        for part, order in zip(cut(data, [150, 300]), orders, strict=True)
    ]
    whole = mx.mixedlm(formula, pd.concat(chunks)).fit()
    assert whole.llf == pytest.approx(mx.mixedlm(formula, data).fit().llf, rel=1e-12)
    same(mx.MixedLM.from_chunks(formula, chunks).fit(), whole)
    reverse = chunks[::-1]  # where the first chunk is the one that has another order
    same(
        mx.MixedLM.from_chunks(formula, reverse).fit(),
        mx.mixedlm(formula, pd.concat(reverse)).fit(),
    )


def test_a_function_that_loads_and_functions_that_load_one():
    data = make()
    formula = "y ~ x + (1 | g)"
    parts = cut(data, [500])
    whole = mx.mixedlm(formula, data).fit()
    same(mx.MixedLM.from_chunks(formula, lambda: iter(parts)).fit(), whole)
    loaders = [lambda: parts[0], lambda: parts[1]]
    same(mx.MixedLM.from_chunks(formula, loaders).fit(), whole)


@pytest.mark.slow
@pytest.mark.formula_engine
def test_functions_of_the_caller(tmp_path):
    def twice(x):
        return 2 * x

    pytest.importorskip("pyarrow")
    data = make()
    data.to_parquet(tmp_path / "data.parquet")
    formula = "y ~ twice(x) + (twice(x) | g)"
    whole = mx.mixedlm(formula, data).fit()
    chunks = cut(data, [500])
    same(mx.MixedLM.from_chunks(formula, chunks).fit(), whole)
    same(mx.read_parquet_model(formula, tmp_path).fit(), whole)
    names = {"twice": np.negative}
    model = mx.read_parquet_model(formula, tmp_path, eval_env=names)
    same(model.fit(), mx.mixedlm(formula, data, eval_env=names).fit())
    with pytest.raises(mx.FormulaError, match="twice"):
        mx.read_parquet_model(formula, tmp_path, eval_env=-1)
    formula = "y ~ negated(x) + (1 | g)"
    whole = mx.mixedlm(formula, data).fit()
    same(mx.MixedLM.from_chunks(formula, chunks, n_jobs=2).fit(), whole)


negated = np.negative


def test_missing_values_and_empty_chunks():
    data = make()
    data.loc[::7, "x"] = np.nan
    data.loc[5, "h"] = None
    data.loc[data["g"] == 3, "y"] = np.nan  # a level that disappears
    formula = "y ~ x + (1 | g) + (1 | h)"
    chunks = [data[:0], *cut(data, [400, 401])]
    with pytest.raises(mx.MissingDataError, match="missing='drop'"):
        mx.MixedLM.from_chunks(formula, chunks)
    model = mx.MixedLM.from_chunks(formula, chunks, missing="drop")
    whole = mx.mixedlm(formula, data, missing="drop")
    assert model.nobs == whole.nobs
    same(model.fit(), whole.fit())


def test_variances_far_apart():
    """The sums within levels are taken from the rows, chunk by chunk."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(50), 6)
    data = pd.DataFrame({"g": g, "y": rng.normal(size=50)[g] + 1e-5 * rng.normal(size=300)})
    formula = "y ~ 1 + (1 | g)"
    same(
        mx.MixedLM.from_chunks(formula, cut(data, [100, 151])).fit(),
        mx.mixedlm(formula, data).fit(),
    )


@pytest.mark.formula_engine
def test_results_without_rows():
    data = make()
    formula = "y ~ x + f + offset(o) + (x | g) + (1 | h)"
    chunks = cut(data, [300, 700])
    result = mx.MixedLM.from_chunks(formula, chunks).fit()
    whole = mx.mixedlm(formula, data).fit()
    assert "Scaled residuals" not in str(result.summary())
    assert "Levels of the grouping factors: g: 40, h: 12" in str(result.summary())
    np.testing.assert_allclose(result.bse_re, whole.bse_re, rtol=1e-5)
    np.testing.assert_allclose(result.conf_int(), whole.conf_int(), rtol=1e-5)
    new = data.sample(20, random_state=0)
    np.testing.assert_allclose(result.predict(new), whole.predict(new), rtol=1e-10)
    frames = list(result.by_chunk())
    assert [len(f) for f in frames] == [300, 400, 500]
    frame = pd.concat(frames)
    np.testing.assert_allclose(frame["fitted"], whole.fittedvalues, rtol=1e-10)
    np.testing.assert_allclose(frame["resid"], whole.resid, atol=1e-6)
    assert frame.index.equals(data.index)
    for attribute in ("fittedvalues", "resid", "resid_pearson"):
        with pytest.raises(ValueError, match="by_chunk"):
            getattr(result, attribute)
    with pytest.raises(ValueError, match="by_chunk"):
        result.predict()
    with pytest.raises(ValueError, match="not made from chunks"):
        list(whole.by_chunk())
    for needs_rows in (
        lambda: result.model.refit(data["y"]),
        lambda: result.model.fit_many(data[["y"]]),
        lambda: result.simulate_refits(2),
    ):
        with pytest.raises(ValueError, match="in chunks"):
            needs_rows()
    again = pickle.loads(pickle.dumps(result))
    assert again.llf == result.llf
    np.testing.assert_allclose(again.predict(new), whole.predict(new), rtol=1e-10)
    assert sum(len(f) for f in again.by_chunk(chunks)) == len(data)
    with pytest.raises(ValueError, match="does not keep its chunks"):
        list(again.by_chunk())


def test_a_new_level_by_chunk_is_refused():
    data = make()
    result = mx.MixedLM.from_chunks("y ~ x + (1 | g)", [data]).fit()
    with pytest.raises(ValueError, match="levels in these chunks"):
        list(result.by_chunk([data.assign(g=data["g"] + 5)]))


@pytest.mark.formula_engine
def test_bad_chunks():
    data = make()
    formula = "y ~ x + (1 | g)"
    with pytest.raises(ValueError, match="read only once"):
        mx.MixedLM.from_chunks(formula, iter([data]))
    with pytest.raises(ValueError, match="must hold data frames, not dict"):
        mx.MixedLM.from_chunks(formula, [{"y": 1}])
    with pytest.raises(ValueError, match="no complete rows"):
        mx.MixedLM.from_chunks(formula, [])
    with pytest.raises(ValueError, match="weights must name a column"):
        mx.MixedLM.from_chunks(formula, [data], weights=np.ones(3))
    with pytest.raises(mx.FormulaError, match="poly"):
        mx.MixedLM.from_chunks("y ~ poly(x, 2) + (1 | g)", [data])
    for own in ("I(x - x.mean())", "np.cumsum(x)", "np.array(pd.Series(x).rank())"):
        for formula_of_rows in (f"y ~ {own} + (1 | g)", f"y ~ x + (0 + {own} | g)"):
            with pytest.raises(mx.FormulaError, match="depends on other rows"):
                mx.MixedLM.from_chunks(formula_of_rows, [data])
    with pytest.raises(mx.FormulaError, match="depends on other rows"):
        mx.MixedLM.from_chunks("y ~ x + (1 | g > g.mean())", [data])
    with pytest.raises(mx.FormulaError, match="'k' is not a column"):
        mx.MixedLM.from_chunks("y ~ x + (1 | k)", [data])
    with pytest.raises(mx.DesignError, match="1 level"):
        mx.MixedLM.from_chunks("y ~ x + (1 | g)", [data.assign(g=1)])
    passes = []

    def changing():
        passes.append(1)
        return [data if len(passes) < 3 else data.assign(g=data["g"] + 1)]

    with pytest.raises(ValueError, match="same in every pass"):
        mx.MixedLM.from_chunks(formula, changing)


def test_other_rows_in_every_pass_are_refused():
    data, rng = make(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="changed since an earlier pass"):
        mx.MixedLM.from_chunks(
            "y ~ x + (1 | g)", lambda: [data, data.sample(100, random_state=rng)]
        )


def test_tree_has_one_shape():
    class Text(str):
        def __add__(self, other):
            return Text(f"({self}{other})")

    assert tree_sum(map(Text, "abcdefg")) == "((((ab)c)(de))(fg))"
    assert tree_sum([None, Text("a"), None]) == "a"
    assert tree_sum([]) is None


# ---- files, processes, clusters ----


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("parquet")
    for i, part in enumerate(cut(make(), [333, 800])):
        part.assign(h=part["h"].astype("category")).to_parquet(
            folder / f"{i}.parquet", row_group_size=150, index=False
        )
    return folder


FORMULA = "y ~ x + f + (x | g) + (1 | h)"


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_parquet_folder(folder, n_jobs):
    pytest.importorskip("joblib")
    model = mx.read_parquet_model(FORMULA, folder, chunk_rows=100, n_jobs=n_jobs)
    whole = mx.mixedlm(FORMULA, make()).fit()
    same(model.fit(), whole)
    fitted = pd.concat(model.fit().by_chunk())["fitted"]
    np.testing.assert_allclose(fitted, whole.fittedvalues, rtol=1e-10)


def test_parquet_arguments(folder):
    with pytest.raises(ValueError, match="chunk_rows=0"):
        mx.read_parquet_model(FORMULA, folder, chunk_rows=0)
    with pytest.raises(FileNotFoundError):
        mx.read_parquet_model(FORMULA, folder / "nothing")


@pytest.mark.slow
def test_joblib_processes():
    pytest.importorskip("joblib")
    data = make()
    chunks = cut(data, [100, 500, 900])
    alone = mx.MixedLM.from_chunks(FORMULA, chunks).fit()
    both = mx.MixedLM.from_chunks(FORMULA, chunks, n_jobs=2).fit()
    assert both.llf == alone.llf  # the tree has the same shape: the same bits
    same(both, mx.mixedlm(FORMULA, data).fit())


# a busy port, or a socket that a worker leaves open, is the cluster's own affair
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:distributed")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_dask_cluster_of_processes():
    distributed = pytest.importorskip("distributed")
    dask_frame = pytest.importorskip("dask.dataframe")
    joblib = pytest.importorskip("joblib")
    data = make()
    whole = mx.mixedlm(FORMULA, data).fit()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        frame = dask_frame.from_pandas(data, npartitions=5)
        result = mx.MixedLM.from_chunks(FORMULA, frame).fit()
        same(result, whole)
        fitted = pd.concat(result.by_chunk())["fitted"]
        np.testing.assert_allclose(fitted, whole.fittedvalues, rtol=1e-10)
        with joblib.parallel_config(backend="dask"):
            chunks = cut(data, [100, 500, 900])
            same(mx.MixedLM.from_chunks(FORMULA, chunks, n_jobs=2).fit(), whole)


MEMORY = """
import json
import sys

import numpy as np
import pandas as pd

import mixedext as mx


def peak():
    try:  # of this program alone: getrusage counts from before its parent started it
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except FileNotFoundError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


rng = np.random.default_rng(0)
n, told = 100_000, []
for parts in (1, 16):
    for i in range(parts):
        g = rng.integers(0, 500, n)
        table = {c: rng.normal(size=n) for c in ("x1", "x2", "x3", "x4")}
        table["y"] = table["x1"] + rng.normal(size=n)
        pd.DataFrame(table | {"g": g}).to_parquet(f"{parts}/{i}.parquet")
    formula = "y ~ x1 + x2 + x3 + x4 + (x1 | g)"
    model = mx.read_parquet_model(formula, str(parts), chunk_rows=n)
    assert model.nobs == parts * n
    told.append(peak())
print(json.dumps(told))
"""


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path):
    """Sixteen times the rows of one chunk, and hardly more memory than for one."""
    pytest.importorskip("pyarrow")
    if sys.platform == "win32":
        pytest.skip("no resource module")
    for parts in (1, 16):
        (tmp_path / str(parts)).mkdir()
    output = run_script(tmp_path, "-c", MEMORY)
    assert output.returncode == 0, output.stderr
    one, all_parts = json.loads(output.stdout)
    data_bytes = 16 * 100_000 * 6 * 8
    assert all_parts - one < 0.5 * data_bytes


@pytest.mark.formula_engine
@pytest.mark.parametrize("own", ["C(g // 14)", "C(np.minimum(g, 30))", "C(np.round(x))"])
def test_coding_that_depends_on_the_chunk_is_refused(own):
    """A chunk shows some categories of an expression: same columns, another meaning."""
    data = make().sort_values(["g", "h"])
    middle = [data[data["g"] < 20], data[data["g"] >= 20]]
    for chunks in (middle, middle[::-1]):
        for formula in (f"y ~ {own} + (1 | g)", f"y ~ x + (0 + {own} | g)"):
            with pytest.raises(mx.FormulaError, match="depends on other rows"):
                mx.MixedLM.from_chunks(formula, chunks)


@pytest.mark.formula_engine
def test_expressions_of_a_row_with_categories_of_all_chunks():
    data = make()
    data.loc[data.index[:20], "g"] = np.arange(20) % 4  # all that the expression can be
    formula = "y ~ C(g % 2) * np.log(x) + (0 + np.log(x) | h)"
    whole = mx.mixedlm(formula, data).fit()
    odd = data["g"].isin([1, 3]) & (np.arange(len(data)) >= 20)
    same(mx.MixedLM.from_chunks(formula, [data[~odd], data[odd]]).fit(), whole)


@pytest.mark.formula_engine
@pytest.mark.parametrize("own", ["I(x - x.mean())", "np.cumsum(x)"])
def test_expressions_of_other_rows_show_in_any_chunk(own):
    data = make(60)
    with pytest.raises(mx.FormulaError, match="depends on other rows"):
        mx.MixedLM.from_chunks(f"y ~ {own} + (1 | h)", cut(data, [1]))


def test_levels_of_the_index_group():
    data = make()
    indexed = data.set_index(["g", "h"])
    formula = "y ~ x + (1 | g) + (1 | h)"
    found = mx.MixedLM.from_chunks(formula, cut(indexed, [500])).fit()
    same(found, mx.mixedlm(formula, indexed).fit())


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_parquet_columns_in_the_names_of_folders_and_in_the_index(tmp_path, n_jobs):
    pytest.importorskip("pyarrow")
    data = make()
    formula = "y ~ x + f + (1 | g) + (1 | h)"
    data.set_index("g").to_parquet(tmp_path / "data", partition_cols=["f", "h"])
    model = mx.read_parquet_model(formula, tmp_path / "data", n_jobs=n_jobs)
    same(model.fit(), mx.mixedlm(formula, data).fit())


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_weights_of_every_chunk_are_checked(weight):
    data = make()
    data.loc[1100, "w"] = weight
    with pytest.raises(ValueError, match="weights must be positive"):
        mx.MixedLM.from_chunks("y ~ x + (1 | g)", cut(data, [500]), weights="w")


def test_chunks_that_cannot_be_right():
    data = make()
    twice = pd.concat([data, data[["x"]]], axis=1)
    with pytest.raises(mx.FormulaError, match="several columns named x"):
        mx.MixedLM.from_chunks("y ~ x + (1 | g)", [twice])
    passes = itertools.count()
    with pytest.raises(ValueError, match="the same in every pass"):
        mx.MixedLM.from_chunks(
            "y ~ x + (1 | h)", lambda: [data, data[: 100 * next(passes) + 100]]
        )


@pytest.mark.formula_engine
def test_remove_data_of_chunks():
    data = make()
    result = mx.MixedLM.from_chunks("y ~ x + f + (1 | g)", cut(data, [500])).fit()
    whole, text = result.wald_test_terms().table, str(result.summary())
    result.remove_data()
    pd.testing.assert_frame_equal(result.wald_test_terms().table, whole)
    assert str(result.summary()) == text


@pytest.mark.formula_engine
def test_what_needs_rows_says_what_to_do():
    data = mx.datasets.oats.load().data
    formula = "yield ~ nitro * Variety + (1 | Block/Variety)"
    result = mx.MixedLM.from_chunks(formula, [data[:30], data[30:]]).fit()
    for call in (result.anova, result.step, result.ranova):
        with pytest.raises(ValueError, match=r"type='I'.*by mixedlm\(\) to a DataFrame"):
            call()
    assert list(result.anova("II")["df_num"]) == [1, 2, 2]


@pytest.mark.parametrize(
    "given", [{"residual": "ar1(Days | Subject)"}, {"variance": "ident(Subject)"}]
)
def test_residual_structures_need_the_rows_in_memory(given, tmp_path):
    data = mx.datasets.sleepstudy.load().data
    (name,) = given
    with pytest.raises(NotImplementedError, match=f"^{name}= needs the rows in memory"):
        mx.MixedLM.from_chunks("Reaction ~ Days", [data], **given)
    pytest.importorskip("pyarrow")
    data.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(NotImplementedError, match=f"^{name}= needs the rows in memory"):
        mx.read_parquet_model("Reaction ~ Days", tmp_path / "rows.parquet", **given)
