"""What one cluster alone tells, against ranks of the columns without that cluster."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedext as mx
from mixedext.exceptions import ClusterWarning
from mixedext.inference.fixed_effects import single_clusters
from mixedext.inference.fixed_effects.single_clusters import told_by_one

KINDS = ["CR0", "CR1", "CR2", "CR3"]


def by_ranks(x, ways, row):
    """Whether a combination cannot be estimated without some cluster."""
    for codes in ways:
        for g in np.unique(codes):
            rest = x[codes != g]
            size = np.abs(x).max(axis=0)
            both = np.vstack([rest, row]) / size
            rank = np.linalg.matrix_rank(rest / size, tol=1e-8)
            if np.linalg.matrix_rank(both, tol=1e-8) > rank:
                return True
    return False


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    clusters=st.integers(2, 9),
    dummies=st.integers(0, 3),
    two_ways=st.booleans(),
    weighted=st.booleans(),
    first=st.booleans(),
)
def test_random_designs(seed, clusters, dummies, two_ways, weighted, first):
    rng = np.random.default_rng(seed)
    n = 80
    codes = rng.permutation(np.arange(n) % clusters)
    other = rng.permutation(np.arange(n) % 7)
    columns = [np.ones(n), rng.normal(3.0, 1.0, n), rng.normal(size=clusters)[codes]]
    for _ in range(dummies):
        own = codes == rng.integers(clusters)
        columns.append(own * (1.0 if rng.integers(2) else rng.normal(5.0, 1.0, n)))
    columns.append((other == 2) * rng.normal(size=n))
    x = np.column_stack(columns)
    keep = []
    for j in range(x.shape[1]):  # columns that are independent
        if np.linalg.matrix_rank(x[:, [*keep, j]], tol=1e-8) > len(keep):
            keep.append(j)
    x = x[:, keep]
    x *= 10.0 ** rng.integers(-3, 4, x.shape[1])
    w = rng.uniform(0.3, 3.0, n) if weighted else None
    half = np.ones(n) if w is None else np.sqrt(w)
    r = np.linalg.qr(half[:, None] * x)[1]
    p = x.shape[1]
    root = np.linalg.inv(r) @ (np.eye(p) + 0.3 * rng.normal(size=(p, p)))
    ways = [codes, other] if two_ways else [codes]
    if first:  # as for many rows: not all are looked at
        single_clusters.FIRST_ROWS, kept = 5, single_clusters.FIRST_ROWS
    try:
        told = told_by_one(x, r, root, ways, w)
    finally:
        if first:
            single_clusters.FIRST_ROWS = kept
    rows = np.vstack([np.eye(p), x[[0, 40]], x[3] - x[50], x[5] * rng.normal(size=p)])
    want = [by_ranks(x, ways, row) for row in rows]
    assert told.concerns(rows).tolist() == want
    count = told.directions.shape[1]
    np.testing.assert_allclose(
        told.directions.T @ told.directions, np.eye(count), atol=1e-9
    )


def frame(seed=0):
    """Level b of f is in one cluster alone."""
    rng = np.random.default_rng(seed)
    n = 240
    s = rng.permutation(np.arange(n) % 12)
    data = pd.DataFrame({"s": s, "x": rng.normal(100.0, 1.0, n)})
    data["f"] = np.where(s == 3, "b", np.where(s % 2 == 0, "a", "c"))
    data["year"] = rng.integers(9, size=n)
    data["y"] = data["x"] + rng.normal(size=12)[s] + rng.normal(size=n)
    data["y"] += rng.normal(size=9)[data["year"]]
    return data


@pytest.fixture(scope="module")
def data():
    return frame()


MODEL = "y ~ x + f + (1 | s)"
TOLD = "No cluster-robust standard error exists for f\\[T.b\\], of which one cluster alone"


@pytest.mark.formula_engine
@pytest.mark.parametrize("use_t", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_no_standard_error_is_nan_everywhere(data, kind, use_t):
    fit = mx.mixedlm(MODEL, data).fit()
    with pytest.warns(ClusterWarning, match=TOLD):
        robust = fit.get_robustcov_results(kind, use_t=use_t)
    names = list(robust.model.exog_names)
    assert names == ["Intercept", "f[T.b]", "f[T.c]", "x"]
    known = [True, False, True, True]
    other = robust.model.fit(df_method="z")
    np.testing.assert_allclose(robust.fe_params, other.fe_params, rtol=1e-12)
    assert np.isfinite(robust.bse_fe).tolist() == known
    assert np.isfinite(robust.bse[:4]).tolist() == known
    assert np.isfinite(np.diag(robust.cov_params())[:4]).tolist() == known
    with pytest.warns(ClusterWarning, match=TOLD):
        pvalues = robust.pvalues[:4]
    assert np.isfinite(pvalues).tolist() == known
    again = fit.get_robustcov_results  # what is computed once warns once
    with pytest.warns(ClusterWarning, match=TOLD):
        limits = again(kind, use_t=use_t).conf_int()[:4]
    assert np.isfinite(limits).all(axis=1).tolist() == known
    rows = np.array(
        [[0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 100], [0, -1, 1, 0], [1, 0, 0, 100]]
    )
    with pytest.warns(ClusterWarning, match="3 of 5 combinations"):
        test = robust.t_test(rows)
    assert np.isfinite(test.sd).tolist() == [False, True, False, False, True]
    assert np.isnan(test.pvalue).tolist() == [True, False, True, True, False]
    with pytest.warns(ClusterWarning, match=TOLD):
        found = robust.wald_test(rows[:2], scalar=True)
    assert np.isnan(found.statistic)
    assert np.isnan(found.pvalue)
    assert np.isfinite(robust.wald_test(rows[[1]], scalar=True).pvalue)
    with pytest.warns(ClusterWarning, match=TOLD):
        means = robust.emmeans("f")
    assert np.isfinite(means.table["std_err"].astype(float)).tolist() == [True, False, True]
    with pytest.warns(ClusterWarning, match=TOLD):
        pairs = means.contrast("pairwise", adjust="tukey").table
    assert np.isfinite(pairs["pvalue"].astype(float)).tolist() == [False, True, False]
    with pytest.warns(ClusterWarning, match=TOLD):
        table = robust.anova()
    assert np.isnan(table.loc["f", "pvalue"])
    assert np.isfinite(table.loc["x", "pvalue"])
    with pytest.warns(ClusterWarning, match=TOLD):
        summary = robust.summary()
    row = summary.tables[1].loc["f[T.b]"].tolist()
    assert row[1:] == [""] * (len(row) - 1)
    said = "exists for f[T.b], of which one cluster alone tells"
    for shown in (table, means, summary):
        assert said in " ".join(str(shown).split())


@pytest.mark.formula_engine
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_told_elsewhere_keeps_its_error(data, kind):
    """The rest is as if the cluster's own level were the sum of the others'."""
    with pytest.warns(ClusterWarning):
        robust = mx.mixedlm(MODEL, data).fit(cov_type=kind)
    # with the level of the one cluster first all means but that are differences to it
    turned = data.assign(f=pd.Categorical(data["f"], ["b", "a", "c"]))
    with pytest.warns(ClusterWarning, match=r"for Intercept, f\[T.a\], f\[T.c\], of which"):
        other = mx.mixedlm(MODEL, turned).fit(cov_type=kind)
    assert np.isfinite(other.bse_fe).tolist() == [False, False, False, True]
    one, two = robust.t_test([[0, 0, 1, 0]]), other.t_test([[0, -1, 1, 0]])
    assert two.sd[0] == pytest.approx(one.sd[0], rel=1e-7)
    assert two.pvalue == pytest.approx(float(one.pvalue), rel=1e-6)
    assert other.bse["x"] == pytest.approx(robust.bse["x"], rel=1e-9)


@pytest.mark.formula_engine
def test_crossed_factors_and_two_ways(data):
    model = mx.mixedlm("y ~ x + f + (1 | s) + (1 | year)", data)
    with pytest.warns(ClusterWarning, match=TOLD):
        crossed = model.fit(cov_type="CR1", cov_kwds={"groups": "s"})
    assert np.isnan(crossed.bse["f[T.b]"])
    by_year = model.fit(cov_type="CR1", cov_kwds={"groups": "year"})
    assert np.isfinite(by_year.bse_fe).all()
    warnings.filterwarnings("ignore", "the two-way covariance")  # it has few clusters
    with pytest.warns(ClusterWarning, match=TOLD):
        both = model.fit(cov_type="CR1", cov_kwds={"groups": ["s", "year"]})
    assert np.isfinite(both.bse_fe).tolist() == [True, False, True, True]


@pytest.mark.formula_engine
def test_every_group_has_its_own_mean(data):
    """Fixed effects of the clusters themselves: only the slope has an error."""
    with pytest.warns(ClusterWarning, match="Intercept, C.*and 7 more, of which"):
        robust = mx.mixedlm("y ~ x + C(s)", data).fit(
            cov_type="CR1", cov_kwds={"groups": "s"}
        )
    assert np.isfinite(robust.bse_fe).sum() == 1
    assert np.isfinite(robust.bse["x"])


@pytest.mark.formula_engine
def test_nothing_is_said_where_all_have_errors(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ClusterWarning)
        for kind in KINDS:
            robust = mx.mixedlm("y ~ x + (1 | s)", data).fit(cov_type=kind)
            assert np.isfinite(robust.bse_fe).all()
            assert "cluster-robust standard error" not in str(robust.summary())
