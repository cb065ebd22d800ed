"""Bootstraps of fitted models against fresh models, and their independence of the jobs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from statsmodels.base._penalties import L2
from statsmodels.regression.mixed_linear_model import MixedLMParams

import mixedext as mx
from mixedext.inference.bootstrap.bootstrap_result import bootstrap_of
from mixedext.inference.bootstrap.simulated_refits import blocks_of

pytestmark = pytest.mark.filterwarnings(
    "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
)


def frame(seed=0, n=120):
    rng = np.random.default_rng(seed)
    g, h, x = rng.integers(0, 10, n), rng.integers(0, 6, n), rng.normal(1.0, 2.0, n)
    y = 3 + x + rng.normal(size=10)[g] + 0.7 * rng.normal(size=6)[h] + rng.normal(size=n)
    weight, known = rng.uniform(0.5, 2.0, n), 10 * rng.normal(size=n)
    return pd.DataFrame({"y": y + known, "x": x, "g": g, "h": h, "w": weight, "o": known})


def fitted(kind, reml=True):
    data = frame()
    if kind == "members":
        pairs = np.random.default_rng(4).integers(0, 8, (120, 2))
        rows = np.repeat(np.arange(120), 2)
        matrix = sparse.csr_array((np.full(240, 0.5), (rows, pairs.ravel())), (120, 8))
        x = np.column_stack([np.ones(120), data["x"]])
        term = mx.SparseTerm(matrix, group="member")
        return mx.MixedLM(data["y"], x, terms=[term], offset=data["o"]).fit(reml=reml)
    formulas = {
        "weighted": "y ~ x + (1 | g)",
        "slopes": "y ~ x + (x | g)",
        "crossed": "y ~ x + (1 | g) + (1 | h)",
        "nested": "y ~ x + (1 | g/h)",
        "linear": "y ~ x",
    }
    model = mx.mixedlm(formulas[kind], data, weights="w", offset="o")
    return model.fit(reml=reml)


def fresh_fits(result, y, reml):
    """Fits of new models to responses, as a frame; no part of the first model is used."""
    model, rows = result.model, []
    for column in np.asarray(y).T:
        new = type(model)(
            column,
            np.array(model.exog),
            terms=list(model.random_terms),
            weights=model.weights,
            offset=model.offset,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = new.fit(reml=reml)
        table = fit.var_corr
        values = {f"b{j}": b for j, b in enumerate(np.asarray(fit.fe_params))}
        values |= {f"sd{i}": sd for i, sd in enumerate(table["sd"])}
        rows.append(values | {"llf": fit.llf, "singular": fit.is_singular})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", ["weighted", "slopes", "crossed", "members"])
@pytest.mark.parametrize("how", ["conditional", "residual"])
def test_replicates_are_those_of_fresh_models(kind, how, reml):
    """The same responses, fitted by brute force."""
    result = fitted(kind, reml)
    options = {"conditional": True} if how == "conditional" else {}
    method = "parametric" if how == "conditional" else "residual"
    drawn = []
    bootstrap = getattr(result, f"bootstrap_{method}")
    seen = bootstrap(20, lambda r: drawn.append(r.model.endog) or 0.0, rng=3, **options)
    assert len(drawn) == 21  # the results themselves come first
    want = fresh_fits(result, np.column_stack(drawn[1:]), reml)
    ours = seen.replicates
    np.testing.assert_allclose(seen.llf, want["llf"], rtol=1e-8, atol=1e-8)
    sds = [c for c in ours if c.startswith("sd ")]
    for i, name in enumerate([*sds, "sigma"]):
        np.testing.assert_allclose(ours[name], want[f"sd{i}"], rtol=1e-7, atol=2e-6)
    for j in range(2):
        np.testing.assert_allclose(ours.iloc[:, j], want[f"b{j}"], rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(seen.singular, want["singular"])
    assert seen.n_failed == 0


@pytest.mark.parametrize("kind", ["weighted", "slopes", "crossed", "members", "linear"])
@pytest.mark.parametrize("conditional", [False, True])
def test_simulated_responses_have_the_moments_of_the_model(kind, conditional):
    result = fitted(kind)
    n = 6000
    y = result.simulate(n, rng=0, conditional=conditional)
    assert y.shape == (120, n)
    assert list(y.index) == list(range(120))
    mean = result.predict(conditional=conditional)
    weights = result.model.weights
    variance = np.full(120, result.scale) if weights is None else result.scale / weights
    covariance = np.diag(variance)
    if not conditional:
        for term, own in zip(
            result.model.random_terms, result.fitted.fit.covariances, strict=True
        ):
            z = np.column_stack(
                [
                    term.contribution(e.reshape(term.n_levels, term.k))
                    for e in np.eye(term.n_levels * term.k)
                ]
            )
            covariance += z @ np.kron(np.eye(term.n_levels), own) @ z.T
    values = y.to_numpy()
    sd = np.sqrt(np.diag(covariance))
    error = (values.mean(axis=1) - np.asarray(mean)) / sd
    assert np.abs(error).max() < 5 / np.sqrt(n)
    got = np.cov(values) / np.outer(sd, sd)
    np.testing.assert_allclose(got, covariance / np.outer(sd, sd), atol=6 / np.sqrt(n))
    np.testing.assert_array_equal(y, result.simulate(n, rng=0, conditional=conditional))
    # refits see the same rows: offset and all
    assert result.model.fit_many(y.iloc[:, :3]).n_failed == 0


def test_simulated_responses_have_the_labels_of_the_rows():
    data = frame().set_index(np.arange(200, 320))
    data.loc[203, "x"] = np.nan
    result = mx.mixedlm("y ~ x + (1 | g)", data, missing="drop").fit()
    assert list(result.simulate(rng=0).index) == list(data.index.drop(203))


def test_rows_and_sufficient_statistics_give_one_law():
    """Replicates by rows, with Python between, against those drawn as statistics."""
    result = fitted("weighted")
    one = result.bootstrap_parametric(400, lambda r: r.scale, rng=0)
    other = result.bootstrap_parametric(20_000, rng=1)
    np.testing.assert_allclose(one.replicates["statistic"], one.replicates["sigma"] ** 2)
    for name in other.replicates:
        se = other.table.loc[name, "std_err"]
        difference = one.replicates[name].mean() - other.replicates[name].mean()
        assert abs(difference) < 4 * se / np.sqrt(400)
        assert one.table.loc[name, "std_err"] == pytest.approx(se, rel=0.2)


def _same(one, other):
    np.testing.assert_allclose(one.replicates, other.replicates, rtol=0, atol=0)
    np.testing.assert_array_equal(one.llf, other.llf)


def daily_rise(results):
    return {"rise": results.fe_params["x"], "t": results.tvalues["x"]}


METHODS = {
    "parametric": {},
    "conditional": {"conditional": True},
    "residual": {},
    "cases": {"within": True},
}


def run(result, method, **options):
    name = "parametric" if method == "conditional" else method
    return getattr(result, f"bootstrap_{name}")(rng=9, **METHODS[method], **options)


@pytest.mark.parametrize("method", METHODS)
def test_an_offset_is_no_part_of_the_response(method):
    """The same draws beside the offset and beside none, of responses less it."""
    data = frame()
    less = data.assign(y=data["y"] - data["o"])
    one = mx.mixedlm("y ~ x + (1 | g)", data, weights="w", offset="o").fit()
    other = mx.mixedlm("y ~ x + (1 | g)", less, weights="w").fit()
    for statistic in (None, lambda r: r.llf):
        found, want = (run(r, method, n=20, statistic=statistic) for r in (one, other))
        np.testing.assert_allclose(found.llf, want.llf, rtol=1e-8)
        np.testing.assert_allclose(found.replicates["x"], want.replicates["x"], rtol=1e-6)


def test_refits_by_the_other_criterion():
    """Of the same responses: without random effects the variances differ by the divisor."""
    result = fitted("linear")
    by_reml = result.simulate_refits(4, rng=1)
    by_ml = result.simulate_refits(4, rng=1, reml=False)
    assert (by_reml.reml, by_ml.reml) == (True, False)
    np.testing.assert_allclose(by_reml.scale / by_ml.scale, 120 / 118, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("statistic", [None, daily_rise])
def test_jobs_and_backends_change_no_number(method, statistic):
    joblib = pytest.importorskip("joblib")
    result = fitted("nested" if method == "cases" else "crossed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.BootstrapWarning)
        alone = run(result, method, n=60, statistic=statistic)
        with joblib.parallel_config(backend="threading"):
            _same(run(result, method, n=60, statistic=statistic, n_jobs=3), alone)
        if statistic is None and method == "parametric":
            _same(run(result, method, n=60, n_jobs=2), alone)  # processes
    assert len(np.unique(alone.llf)) == 60
    if statistic is not None:
        assert list(alone.replicates.columns[-2:]) == ["rise", "t"]
        np.testing.assert_array_equal(alone.replicates["rise"], alone.replicates["x"])


def test_one_factor_in_threads_and_blocks(monkeypatch):
    monkeypatch.setattr("mixedext.engine.refits.simulation.BLOCK_SIZE", 300)
    result = fitted("slopes")
    alone = result.bootstrap_parametric(200, rng=2)
    _same(result.bootstrap_parametric(200, rng=2, n_jobs=2), alone)
    refits = result.simulate_refits(200, rng=2)
    np.testing.assert_array_equal(refits.llf, alone.llf)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_numbers():
    def own_rise(results):  # goes by value: workers cannot import this module
        return {"rise": results.fe_params["x"], "t": results.tvalues["x"]}

    joblib = pytest.importorskip("joblib")
    distributed = pytest.importorskip("distributed")
    crossed, slopes = fitted("crossed"), fitted("slopes")
    want = [
        crossed.bootstrap_parametric(120, rng=5),
        crossed.bootstrap_parametric(60, own_rise, rng=5),
        slopes.bootstrap_residual(120, rng=5),
    ]
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with (
        cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        got = [
            crossed.bootstrap_parametric(120, rng=5),
            crossed.bootstrap_parametric(60, own_rise, rng=5),
            slopes.bootstrap_residual(120, rng=5),
        ]
    for one, other in zip(got, want, strict=True):
        _same(one, other)


@pytest.mark.slow
def test_statistics_that_the_workers_of_a_cluster_cannot_import(tmp_path, monkeypatch):
    """Of a module in a file that only this process knows."""
    joblib = pytest.importorskip("joblib")
    distributed = pytest.importorskip("distributed")
    path = tmp_path / "only_here.py"
    path.write_text(
        "def helper(results):\n    return results.llf\n\n\n"
        "def criterion(results):\n    return {'llf': helper(results)}\n"
    )
    spec = importlib.util.spec_from_file_location("only_here", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "only_here", module)
    spec.loader.exec_module(module)
    result = fitted("crossed")
    want = result.bootstrap_parametric(50, module.criterion, rng=5)
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        got = result.bootstrap_parametric(50, module.criterion, rng=5, progress=True)
    _same(got, want)


def test_cases_are_those_of_fresh_models():
    """Replicates equal models of the rows drawn, the levels told apart by the draw."""
    result, data = fitted("nested"), frame()
    seen = []
    bootstrap = result.bootstrap_cases(8, lambda r: seen.append(r) or r.llf, rng=1)
    plain = result.bootstrap_cases(8, rng=1)
    np.testing.assert_allclose(plain.llf, bootstrap.llf, rtol=1e-12)
    for number, each in enumerate(seen[1:]):  # the results themselves come first
        model = each.model
        outer, inner = (t.codes for t in model.random_terms)
        rows = pd.DataFrame(
            {"y": model.endog, "x": model.exog[:, 1], "a": outer, "b": inner}
        ).assign(w=model.weights, o=model.offset)
        # each row is one of the data
        assert rows["y"].isin(data["y"]).all()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            new = mx.mixedlm(
                "y ~ x + (1 | a) + (1 | b)", rows, weights="w", offset="o"
            ).fit()
        assert plain.llf[number] == pytest.approx(new.llf, rel=1e-10)
        assert plain.replicates["x"][number] == pytest.approx(new.fe_params["x"], rel=1e-6)
        assert model.random_terms[0].n_levels == 10


def test_cases_say_what_they_cannot_do():
    with pytest.raises(ValueError, match="is crossed with the factor"):
        fitted("crossed").bootstrap_cases(5)
    with pytest.raises(ValueError, match="group='k' is neither a grouping factor"):
        fitted("nested").bootstrap_cases(5, group="k")
    with pytest.raises(ValueError, match="name one by group="):
        fitted("members").bootstrap_cases(5)
    with pytest.raises(ValueError, match="one label"):
        fitted("linear").bootstrap_cases(5, group=np.arange(7))
    linear = fitted("linear").bootstrap_cases(30, group=frame()["g"], rng=0)
    assert linear.n_failed == 0
    assert list(linear.replicates) == ["Intercept", "x", "sigma"]


@pytest.mark.formula_engine
def test_cases_of_groups_and_of_columns():
    """Whole groups are drawn where ``groups`` is the factor above all others."""
    data = frame().assign(above=lambda d: d["g"] // 2)
    components = {"h": "0 + C(h)", "g2": "0 + C(g % 2)"}
    with pytest.warns(mx.NoGroupInterceptWarning):
        model = mx.MixedLM.from_formula(
            "y ~ x", data, groups="above", vc_formula=components
        )
    result = model.fit()
    want = result.bootstrap_cases(12, rng=1, group=data["above"])
    for group in (None, "above"):
        _same(result.bootstrap_cases(12, rng=1, group=group), want)
    own = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    outer = own.bootstrap_cases(12, rng=1, group="above")
    _same(outer, own.bootstrap_cases(12, rng=1, group=data["above"].to_numpy()))
    assert (outer.llf != own.bootstrap_cases(12, rng=1).llf).all()
    with pytest.warns(mx.AlignmentWarning), pytest.raises(ValueError, match="crossed"):
        own.bootstrap_cases(5, group=data["g"].sample(frac=1, random_state=0))


def test_a_group_that_is_no_column():
    result = mx.mixedlm("y ~ x + (1 | g)", frame()).fit()
    for group in ("nobody", 3):
        with pytest.raises(ValueError, match=f"group={group!r} is neither a grouping"):
            result.bootstrap_cases(3, group=group)


def test_cases_of_a_level_of_the_index():
    data = frame().rename_axis("g")  # the index may have the name of a column
    data["block"] = data["g"].astype(str).str[:1]
    result = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    one = result.bootstrap_cases(5, rng=1, group="block")
    data = data.set_index("block", append=True)
    two = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    two = two.bootstrap_cases(5, rng=1, group="block")
    pd.testing.assert_frame_equal(one.replicates, two.replicates)


def test_too_few_levels_for_the_residual_bootstrap():
    """Centred effects of three levels span two directions: no three with any covariance."""
    rng = np.random.default_rng(50)
    g, x = np.arange(90) % 3, rng.normal(size=(90, 2))
    design = np.column_stack([np.ones(90), x])
    effect = np.array([[3.0, 0, 0], [0, -3.0, 1.0], [1.0, 2.0, 4.0]])
    y = (design * effect[g]).sum(axis=1) + rng.normal(size=90)
    term = mx.RandomTerm(g, design, "g", ["1", "a", "b"])
    result = mx.MixedLM(y, rng.normal(size=(90, 1)), terms=[term]).fit()
    assert not result.is_singular
    with pytest.raises(ValueError, match="the 3 levels of 'g' are too few"):
        result.bootstrap_residual(5)


def test_fixed_effects_that_a_replicate_lacks_are_failures():
    data = frame().assign(rare=lambda d: (d["g"] == 3).astype(float))
    result = mx.mixedlm("y ~ rare + x + (1 | g)", data).fit()
    with pytest.warns(mx.BootstrapWarning, match="replicates failed"):
        bootstrap = result.bootstrap_cases(60, rng=0)
    lost = bootstrap.replicates["rare"].isna()
    assert 5 < lost.sum() < 45
    np.testing.assert_array_equal(bootstrap.failures.index, np.flatnonzero(lost))
    assert bootstrap.failures.iloc[0] == "not estimable: rare"
    assert (bootstrap.table["n"] == 60 - lost.sum()).all()
    assert len(bootstrap.replicates) == 60
    # the others stand where they belong
    with pytest.warns(mx.BootstrapWarning, match="replicates failed"):
        seen = result.bootstrap_cases(60, lambda r: r.fe_params["x"], rng=0)
    np.testing.assert_array_equal(seen.replicates["statistic"], seen.replicates["x"])
    np.testing.assert_allclose(seen.replicates["x"], bootstrap.replicates["x"], rtol=1e-8)


def test_fits_that_are_refused_are_failures():
    """Replicates of the one level without residuals have a constant response."""
    g = np.repeat([0, 1], 8)
    y = np.where(g == 0, 5.0, np.random.default_rng(1).normal(size=16))
    result = mx.mixedlm("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g})).fit()
    for statistic in (None, lambda r: r.scale):
        with pytest.warns(mx.BootstrapWarning, match="replicates failed"):
            bootstrap = result.bootstrap_cases(40, statistic, rng=0)
        refused = bootstrap.replicates["sigma"].isna()
        assert 2 < refused.sum() < 20
        np.testing.assert_array_equal(bootstrap.failures.index, np.flatnonzero(refused))
        assert bootstrap.failures.str.startswith("DesignError: the response").all()
        assert (bootstrap.table["n"] == 40 - refused.sum()).all()


def test_errors_of_a_statistic_are_failures():
    result = fitted("weighted")

    def fragile(fit):
        if fit.fe_params["x"] > result.fe_params["x"] and fit.model is not result.model:
            raise ZeroDivisionError("too large")
        return fit.scale

    with pytest.warns(mx.BootstrapWarning, match="ZeroDivisionError: too large"):
        bootstrap = result.bootstrap_parametric(40, fragile, rng=1)
    assert 5 < bootstrap.n_failed < 35
    above = bootstrap.replicates["x"] > result.fe_params["x"]
    np.testing.assert_array_equal(bootstrap.failures.index, np.flatnonzero(above))
    assert bootstrap.replicates["statistic"].isna().sum() == bootstrap.n_failed
    with pytest.raises(ZeroDivisionError):  # of the results themselves
        result.bootstrap_parametric(3, lambda fit: 1 / 0, rng=1)


def test_fits_that_do_not_converge_are_counted():
    result = fitted("slopes")
    bootstrap = result.bootstrap_parametric(50, rng=1)
    assert bootstrap.n_failed == 0
    converged = np.ones(50, bool)
    converged[[4, 7]] = False
    with pytest.warns(mx.BootstrapWarning, match="2 of 50 replicates failed"):
        some = bootstrap_of(
            result.fitted, "parametric", replace(bootstrap.refits, converged=converged)
        )
    assert list(some.failures.index) == [4, 7]
    assert (some.table["n"] == 48).all()
    assert some.table.loc["x", "std_err"] == pytest.approx(
        bootstrap.replicates["x"].drop([4, 7]).std()
    )


def test_vectorized_statistics():
    result = fitted("weighted")
    name = "sd Intercept|g"

    def ratio(replicates):
        return replicates[name] ** 2 / (replicates[name] ** 2 + replicates["sigma"] ** 2)

    bootstrap = result.bootstrap_parametric(300, ratio, rng=1, vectorized=True)
    table = result.var_corr["variance"]
    assert bootstrap.estimate["statistic"] == pytest.approx(table[0] / table.sum())
    plain = result.bootstrap_parametric(300, rng=1).replicates
    np.testing.assert_allclose(bootstrap.replicates["statistic"], ratio(plain))
    named = result.bootstrap_residual(
        20, lambda r: pd.DataFrame({"icc": ratio(r)}), rng=1, vectorized=True
    )
    assert list(named.replicates)[-1] == "icc"
    with pytest.raises(ValueError, match="one a replicate"):
        result.bootstrap_parametric(
            20, lambda r: pd.DataFrame({"a": [1.0]})[: len(r) // 20 + 0], vectorized=True
        )
    listed = result.bootstrap_parametric(
        20, lambda r: {"x": r["x"], "double": 2 * r["x"]}, rng=1, vectorized=True
    )
    assert list(listed.replicates)[-2:] == ["statistic x", "double"]


def test_the_fixed_effects_as_a_statistic():
    """What bootMer's users do first: names that parameters have get a word before them."""
    result = fitted("slopes")
    bootstrap = result.bootstrap_parametric(10, lambda r: r.fe_params, rng=1)
    for name in result.model.exog_names:
        own = bootstrap.replicates[f"statistic {name}"]
        np.testing.assert_array_equal(own, bootstrap.replicates[name])


def test_a_mistake_in_the_statistic_shows_at_once():
    result, calls = fitted("slopes"), []

    def wrong(results):
        calls.append(results)
        return results.no_such_thing

    with pytest.raises(AttributeError, match="no_such_thing"):
        result.bootstrap_parametric(1000, wrong, rng=1)
    assert len(calls) == 1
    for method in ("parametric", "residual", "cases"):
        with pytest.raises(ValueError, match="statistic='llf' must be a function"):
            getattr(result, f"bootstrap_{method}")(5, "llf")


# ---- fits with parameters held or penalized ----


def held(result, kind):
    """The same model with something held or penalized."""
    model = result.model
    if kind == "penalized":
        return model.fit(fe_pen=L2(np.array([0.0, 20.0])), reml=result.reml)
    slope = MixedLMParams.from_components(np.array([1.0, 0.0]), np.ones((2, 2)))
    start = MixedLMParams.from_components(np.array([0.0, 2.0]), np.eye(2))
    if kind == "independent":
        slope = MixedLMParams.from_components(np.ones(2), np.eye(2))
        start = None
    return model.fit(free=slope, start_params=start, reml=result.reml)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *((k, h) for k in ("slope", "independent") for h in ("parametric", "cases")),
        ("slope", "residual"),
        ("penalized", "parametric"),
        ("penalized", "residual"),
        ("penalized", "cases"),
    ],
)
def test_what_was_held_stays_held_in_refits(kind, how):
    result = held(fitted("slopes", reml=False), kind)
    drawn = []

    def keep(results):
        drawn.append(results)
        return results.llf

    seen = getattr(result, f"bootstrap_{how}")(6, keep, rng=3)
    plain = getattr(result, f"bootstrap_{how}")(6, rng=3)
    assert seen.n_failed == plain.n_failed == 0
    for number, each in enumerate(drawn[1:]):
        model = each.model
        new = type(model)(
            model.endog,
            np.array(model.exog),
            terms=list(model.random_terms),
            weights=model.weights,
            offset=model.offset,
        )
        fresh = new.fit(reml=False, **result.fitted.arguments.held("the test"))
        assert seen.llf[number] == pytest.approx(fresh.llf, abs=1e-8)
        assert seen.replicates["x"][number] == pytest.approx(fresh.fe_params[1], rel=1e-6)
    if kind == "slope":
        assert (plain.replicates["x"] == 2.0).all()
        assert (result.simulate_refits(4, rng=0).fe_params[:, 1] == 2.0).all()
    if kind == "independent":
        corr = plain.replicates["cor Intercept.x|g"].dropna()
        assert np.abs(corr).max() < 1e-12
    by_reml = result.bootstrap_parametric(5, rng=1, reml=True)
    assert by_reml.refits.reml
    assert kind != "slope" or by_reml.estimate["x"] == 2.0


def test_an_l1_penalty_is_refused():
    model = fitted("slopes").model
    result = model.fit_regularized(alpha=[0.0, 200.0])
    for method in ("parametric", "residual", "cases"):
        with pytest.raises(ValueError, match="L1 penalty"):
            getattr(result, f"bootstrap_{method}")(5)
    with pytest.raises(ValueError, match="L1 penalty"):
        result.simulate_refits(5)
    # responses have the covariances of the results
    y = result.simulate(20_000, rng=0).to_numpy()
    term = model.random_terms[0]
    z = np.column_stack(
        [
            term.contribution(e.reshape(term.n_levels, term.k))
            for e in np.eye(term.n_levels * term.k)
        ]
    )
    inner = np.kron(np.eye(term.n_levels), np.asarray(result.cov_re))
    variance = np.einsum("ij,jk,ik->i", z, inner, z) + result.scale / model.weights
    np.testing.assert_allclose(y.var(axis=1) / variance, 1.0, atol=0.06)


def test_the_criterion_of_another_fit():
    result = fitted("slopes")
    by_ml = fitted("slopes", reml=False)
    one = result.bootstrap_parametric(50, rng=3, reml=False)
    other = by_ml.bootstrap_parametric(50, rng=3)
    _same(one, other)
    assert one.estimate["sigma"] == pytest.approx(by_ml.sigma, rel=1e-9)
    assert not one.refits.reml


def test_limits_by_conf_int():
    result = fitted("slopes")
    got = result.conf_int(method="bootstrap", n=500, rng=4)
    bootstrap = result.bootstrap_parametric(500, rng=4)
    want = bootstrap.conf_int()
    # as in a profile: the correlation stands behind the first of its standard deviations
    order = ["sd Intercept|g", "cor Intercept.x|g", "sd x|g", "sigma"]
    np.testing.assert_array_equal(got, want.loc[[*result.model.exog_names, *order]])
    assert list(got.index) == list(result.conf_int(method="profile").index)
    narrow = result._results.conf_int(0.5, [1], "bootstrap", n=500, rng=4, interval="basic")
    np.testing.assert_allclose(narrow, bootstrap.conf_int(0.5, "basic").iloc[[1]])
    with pytest.raises(ValueError, match="no use for 'n'"):
        result.conf_int(n=500)


@pytest.mark.formula_engine
def test_results_without_rows():
    result = fitted("slopes")
    want = result.bootstrap_parametric(20, rng=0)
    result.remove_data()
    _same(result.bootstrap_parametric(20, rng=0), want)
    with pytest.raises(ValueError, match="data of this model were removed"):
        result.simulate()


def test_statsmodels_bootstrap_is_there():
    mean, _, estimates = fitted("slopes").bootstrap(nrep=30, rng=0)
    assert estimates.shape == (30, len(mean))


def test_arguments_are_checked():
    result = fitted("weighted")
    with pytest.raises(ValueError, match="n=0"):
        result.bootstrap_parametric(0)
    with pytest.raises(ValueError, match="n=0"):
        result.simulate(0)
    with pytest.raises(ValueError, match="n_jobs=0"):
        result.bootstrap_parametric(5, n_jobs=0)
    with pytest.raises(ValueError, match="rng="):
        result.bootstrap_parametric(5, rng=np.random.RandomState(0))
    bootstrap = result.bootstrap_parametric(5, rng=0)
    with pytest.raises(ValueError, match="method='bca' is not known"):
        bootstrap.conf_int(method="bca")
    with pytest.raises(ValueError, match="level=95"):
        bootstrap.conf_int(level=95)


@pytest.mark.parametrize("kind", ["parametric", "residual", "cases"])
def test_docstrings_have_the_shared_parameters(kind):
    text = getattr(mx.MixedLMResults, f"bootstrap_{kind}").__doc__
    assert "<common>" not in text
    lines = text.splitlines()
    assert {"n : int, optional", "statistic : callable, optional"} <= set(lines)
    for title in ("Parameters", "Returns"):  # sections stand after an empty line
        at = lines.index(title)
        assert lines[at - 1] == ""
        assert lines[at + 1] == "-" * len(title)


@pytest.mark.slow
def test_import_without_docstrings():
    import_it = [sys.executable, "-OO", "-W", "ignore", "-c", "import mixedext"]
    subprocess.run(import_it, check=True, timeout=60)


def test_a_bar_counts_replicates(capsys):
    pytest.importorskip("tqdm")
    result = fitted("crossed")
    shown = result.bootstrap_parametric(60, rng=1, progress=True)
    assert "60/60" in capsys.readouterr().err
    _same(shown, result.bootstrap_parametric(60, rng=1))


def test_blocks_have_seeds_of_their_own():
    blocks = blocks_of(10, 4, 0)
    assert [count for count, _ in blocks] == [4, 4, 2]
    states = {tuple(seed.generate_state(2)) for _, seed in blocks}
    assert len(states) == 3


# R 4.2, lme4 1.1-31: m <- lmer(Fat ~ 1 + (1|Lab) + (1|Lab:Technician) +
# (1|Lab:Technician:Sample), eggs); b <- bootMer(m, function(m) c(fixef(m),
# as.data.frame(VarCorr(m), order="lower.tri")$sdcor), nsim=2000, seed=1);
# apply(b$t, 2, quantile, c(.025, .975), type=6); apply(b$t, 2, sd); colMeans(b$t)
EGGS = {
    "Intercept": (0.30364293, 0.47143004, 0.042796395, 0.387216142),
    "sd Intercept|Lab": (0.0, 0.15259394, 0.046326676, 0.065694194),
    "sd Intercept|Technician:Lab": (0.0, 0.1370675, 0.036727178, 0.071956407),
    "sd Intercept|Sample:Technician:Lab": (0.0, 0.09739746, 0.028057234, 0.048861584),
    "sigma": (0.060009229, 0.107738299, 0.012039012, 0.083611041),
}


def test_eggs_against_lme4():
    data = mx.datasets.eggs.load().data
    result = mx.mixedlm("Fat ~ 1 + (1 | Lab / Technician / Sample)", data).fit()
    bootstrap = result.bootstrap_parametric(1500, rng=1)
    assert bootstrap.n_failed == 0
    error = np.sqrt(1 / 1500 + 1 / 2000)
    assert set(bootstrap.replicates) == set(EGGS)
    for name, (low, high, se, mean) in EGGS.items():
        row = bootstrap.table.loc[name]
        # standard errors of a quantile are some three times those of a mean
        assert row["lower"] == pytest.approx(low, abs=4 * 3 * se * error)
        assert row["upper"] == pytest.approx(high, abs=4 * 3 * se * error)
        assert (row["lower"] == 0.0) == (low == 0.0)
        assert row["std_err"] == pytest.approx(se, rel=4 * error)
        assert row["estimate"] + row["bias"] == pytest.approx(mean, abs=4 * se * error)
