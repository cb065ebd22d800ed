"""Influence: R's values, deletion by dense algebra, units of every kind, bad input."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.dense_deletion import dense_fit, measures
from helpers.designs import design_arguments, random_design
from helpers.paths import RESULTS
from helpers.reference import read_case, relative_error
from hypothesis import assume, given, settings

import mixedext as mx
from mixedext.engine.factor import row_forms
from mixedext.engine.fit import evaluate_design
from mixedext.exceptions import NotEstimableWarning
from mixedext.fitted import Fitted
from mixedext.inference.diagnostics import held_deletions
from mixedext.inference.diagnostics.influence import get_influence

pytestmark = pytest.mark.formula_engine

CASES = sorted(path.stem for path in (RESULTS / "influence").glob("*.json"))
MEASURES = {
    "cooks_distance": lambda found: found.cooks_distance.distance,
    "mdffits": lambda found: found.mdffits,
    "covratio": lambda found: found.cov_ratio,
    "covtrace": lambda found: found.cov_trace,
    "scale": lambda found: found.sigma2_not_obsi,
}


def read(name):
    case = read_case(RESULTS / "influence" / f"{name}.json")
    model = mx.mixedlm(case.formula, case.data, **case.options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return case, model.fit(reml=case.values["REML"])


def numbers(values):
    return np.array([np.nan if v is None else v for v in values], float)


def close(got, want, tolerance):
    known = np.isfinite(want)
    assert (np.isfinite(got) == known).all()
    assert relative_error(got[known], want[known]) < tolerance


def in_r_order(case, result, params):
    names = [case.column_name(n) for n in case.values["X_columns"]]
    return params[:, [result.model.exog_names.index(name) for name in names]]


@pytest.mark.parametrize("name", CASES)
def test_rows_and_levels_as_in_r(name):
    case, result = read(name)
    found = result.get_influence()
    want = case.values["influence_rows"]
    at = np.array(want["rows"]) - 1
    assert not want["not_estimable"]
    assert not found.not_estimable
    for key, measure in MEASURES.items():
        close(measure(found)[at], numbers(want[key]), 1e-7)
    fitted = found.dffits_internal.dffits[at] ** 2 / len(case.values["X_columns"])
    close(fitted, numbers(want["lme4_cooks_distance"]), 1e-7)
    beta = in_r_order(case, result, found.params_not_obsi)[at]
    assert relative_error(beta, np.reshape(want["beta"], beta.shape)) < 1e-8
    for factor, levels in case.values["influence_groups"].items():
        _check_levels(case, result, factor, levels)


def _check_levels(case, result, factor, levels):
    held = result.get_influence(by=factor)
    again = result.get_influence(by=factor, method="refit")
    assert list(held.summary_frame()) == list(again.summary_frame())
    names = list(map(str, held.index))
    at = [names.index(str(level["level"])) for level in levels]
    assert held.n_deleted[at].tolist() == [level["n"] for level in levels]
    for key, measure in MEASURES.items():
        close(measure(held)[at], numbers([v[key] for v in levels]), 1e-7)
    exact = [level["exact"] for level in levels]
    beta = in_r_order(case, result, again.params_not_obsi)[at]
    want = np.array([e["beta"] for e in exact], float).reshape(beta.shape)
    assert relative_error(beta, want) < 1e-5
    assert relative_error(again.llf_not_obsi[at], [e["llf"] for e in exact]) < 1e-7
    sigma = np.sqrt(again.sigma2_not_obsi)[at]
    assert relative_error(sigma, [e["sigma"] for e in exact]) < 1e-5
    for key, measure in list(MEASURES.items())[:3]:
        assert relative_error(measure(again)[at], [e[key] for e in exact]) < 1e-5


def at_theta(design, reml):
    """A record of a design at its theta, and the dense fit."""
    model = mx.MixedLM(design.y, design.x, terms=design.terms, weights=design.weights)
    fit = evaluate_design(model._design, reml, design.theta)
    fitted = Fitted(fit, model)
    x = design.x[:, fitted.fixed.kept]
    dense = dense_fit(design.y, x, design.terms, fit.lams, reml, design.weights)
    return fitted, dense


def check(fitted, dense, found, sets):
    """Each unit against the dense fit without its rows."""
    kept = fitted.fixed.kept
    for g, rows in enumerate(sets):
        left = np.setdiff1d(np.arange(len(dense.y)), rows)
        x = dense.x[left]
        rank = np.linalg.matrix_rank(x) if len(left) else 0
        condition = np.linalg.cond(x) if rank == x.shape[1] else np.inf
        if condition > 1e7 or len(left) <= x.shape[1]:
            if rank < x.shape[1]:
                assert np.isnan(found.cooks_distance.distance[g])
                assert found.index[g] in found.not_estimable
            continue
        want = measures(dense, dense.without(rows))
        tolerance = {"rtol": 1e-7, "atol": 1e-9}
        np.testing.assert_allclose(
            found.cooks_distance.distance[g], want["cooks"], **tolerance
        )
        np.testing.assert_allclose(found.mdffits[g], want["mdffits"], **tolerance)
        np.testing.assert_allclose(found.cov_ratio[g], want["ratio"], **tolerance)
        np.testing.assert_allclose(found.cov_trace[g], want["trace"], **tolerance)
        np.testing.assert_allclose(found.sigma2_not_obsi[g], want["scale"], **tolerance)
        np.testing.assert_allclose(found.dfbetas[g, kept], want["dfbetas"], **tolerance)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None)
@given(**design_arguments)
def test_deletion_by_dense_algebra(seed, n, kinds, nested, shared, weighted, dependent):
    design = random_design(seed, n, kinds, nested, shared, weighted, dependent)
    rng = np.random.default_rng(seed)
    try:
        fitted, dense = at_theta(design, bool(rng.integers(2)))
    except mx.DesignError:
        assume(False)
    found = get_influence(fitted)
    check(fitted, dense, found, [[i] for i in range(n)])
    labels = [rng.integers(0, 6, n), rng.integers(0, n // 2, n)]
    labels += [term.codes for term in design.terms]
    for own in labels:
        found = get_influence(fitted, by=own)
        levels, codes = np.unique(own, return_inverse=True)
        check(
            fitted,
            dense,
            found,
            [np.flatnonzero(codes == g) for g in range(len(levels))],
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(12))
def test_large_sets_are_fitted_to_the_rows_left(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    kinds = [(1 + seed % 2, 0), (1, 0)]
    design = random_design(seed, 60, kinds, False, False, seed % 3 == 0, seed % 4 == 0)
    fitted, dense = at_theta(design, seed % 2 == 0)
    own = rng.integers(0, 5, 60)
    want = get_influence(fitted, by=own)
    monkeypatch.setattr(held_deletions, "MOST_WORK", 1)
    found = get_influence(fitted, by=own)
    check(fitted, dense, found, [np.flatnonzero(own == g) for g in range(5)])
    np.testing.assert_allclose(found.dfbeta, want.dfbeta, rtol=1e-7, atol=1e-10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kinds", [[(2, 0)], [(2, 0), (1, 0)]])
def test_cut_levels_a_few_at_a_time_and_all_rows_at_once(kinds, monkeypatch):
    rng = np.random.default_rng(0)
    design = random_design(1, 60, kinds, False, False, True, False)
    fitted, dense = at_theta(design, True)
    monkeypatch.setattr(held_deletions, "MOST_NUMBERS", 50)
    own = rng.integers(0, 7, 60)
    found = get_influence(fitted, by=own)
    check(fitted, dense, found, [np.flatnonzero(own == g) for g in range(7)])
    for work in (held_deletions.MOST_WORK, 1):
        monkeypatch.setattr(held_deletions, "MOST_WORK", work)
        for method in ("held", "refit"):
            none = get_influence(fitted, by=np.zeros(60), method=method)
            assert list(none.not_estimable) == [0.0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kinds", [[(2, 0)], [(2, 0), (1, 0)]], ids=["one", "several"])
def test_sets_of_which_rounding_leaves_no_downdate_are_fitted(kinds, monkeypatch):
    """As rows that their effects explain: (1 - h) is rounding."""
    rng = np.random.default_rng(0)
    design = random_design(1, 60, kinds, False, False, True, False)
    fitted, dense = at_theta(design, True)
    own, solve, asked = rng.integers(0, 7, 60), np.linalg.solve, []

    def failing(a, b):
        if np.ndim(a) == 3:
            raise np.linalg.LinAlgError("singular")
        return solve(a, b)

    def none(a, b, assume_a="gen"):
        asked.append(len(a))
        return None if len(asked) % 2 else held_deletions.linalg.solve(a, b)

    monkeypatch.setattr(np.linalg, "solve", failing)
    monkeypatch.setattr(held_deletions, "solution_if_regular", none)
    found = get_influence(fitted, by=own)
    assert len(asked) >= 7
    check(fitted, dense, found, [np.flatnonzero(own == g) for g in range(7)])


@pytest.mark.parametrize("storage", ["dense", "sparse"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("dense", "used"), [(0, 250), (2048, 250), (2048, 0)])
def test_storages_of_the_tail(storage, dense, used, seed, monkeypatch):
    monkeypatch.setattr(held_deletions, "MOST_DENSE", dense)
    monkeypatch.setattr(held_deletions, "MOST_USED", used)
    monkeypatch.setattr(row_forms, "MOST_DENSE", dense)
    design = random_design(seed, 60, [(2, 0), (1, 0), (2, 1)], False, False, True, False)
    model = mx.MixedLM(design.y, design.x, terms=design.terms, weights=design.weights)
    fit = evaluate_design(design.prepare(storage), True, design.theta)
    fitted = Fitted(fit, model)
    dense = dense_fit(design.y, design.x, design.terms, fit.lams, True, design.weights)
    h, fixed = dense.leverage(design.weights)
    found = get_influence(fitted)
    np.testing.assert_allclose(found.hat_matrix_diag, h, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found.hat_fixed, fixed, rtol=1e-9, atol=1e-11)
    check(fitted, dense, found, [[i] for i in range(60)])
    own = design.terms[2].codes
    found = get_influence(fitted, by=own)
    check(fitted, dense, found, [np.flatnonzero(own == g) for g in range(own.max() + 1)])


def test_a_held_deletion_is_a_fit_at_the_same_theta():
    data = mx.datasets.sleepstudy.load().data
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    own = np.arange(len(data)) // 7
    found = result.get_influence(by=own)
    for g in (0, 3, 25):
        model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data[own != g])
        at = evaluate_design(model._design, True, result.theta)
        np.testing.assert_allclose(found.params_not_obsi[g], at.coefficients, rtol=1e-9)
        np.testing.assert_allclose(found.sigma2_not_obsi[g], at.scale, rtol=1e-9)


def sparse_model():
    rng = np.random.default_rng(3)
    n = 80
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    term = mx.SparseTerm(rng.normal(size=(n, 25)), group="s")
    return mx.MixedLM(rng.normal(size=n) + x[:, 1], x, terms=[term]), x, term


def test_rows_with_several_levels():
    model, x, term = sparse_model()
    fit = evaluate_design(model._design, True, np.array([0.7]))
    fitted = Fitted(fit, model)
    dense = dense_fit(model.endog, x, [term], fit.lams, True)
    check(fitted, dense, get_influence(fitted), [[i] for i in range(80)])
    own = np.arange(80) // 9
    found = get_influence(fitted, by=own)
    check(fitted, dense, found, [np.flatnonzero(own == g) for g in range(9)])
    with pytest.raises(ValueError, match="by='s' is a SparseTerm"):
        get_influence(fitted, by="s")


@pytest.fixture(scope="module")
def result():
    data = mx.datasets.oats.load().data.reset_index(drop=True)
    return mx.mixedlm("yield ~ nitro + (1 | Block/Variety)", data).fit()


def test_names_of_units(result):
    frame = result.model.data.frame
    one = result.get_influence(by="Block")
    assert one.index.name == "Block"
    assert len(one.index) == 6
    both = result.get_influence(by=["Block", "Variety"])
    assert both.index.tolist()[:1] == [f"Block:{one.index[0]}"]
    assert len(both.index) == 9
    np.testing.assert_allclose(both.mdffits[:6], one.mdffits)
    pair = result.get_influence(by="Variety:Block")
    other = result.get_influence(by="Block:Variety")
    assert len(pair.index) == len(other.index) == 18
    np.testing.assert_allclose(np.sort(pair.mdffits), np.sort(other.mdffits))
    given = result.get_influence(by=frame["Variety"].iloc[::-1])
    named = result.get_influence(by="Variety")
    np.testing.assert_allclose(given.cov_ratio, named.cov_ratio)
    nitro = result.get_influence(by="nitro")
    assert nitro.n_deleted.tolist() == [18] * 4
    assert "4 levels of nitro, theta held" in repr(nitro)
    frames = result.get_influence(by=frame[["Block", "Variety"]])
    assert frames.index.equals(both.index)


def test_some_rows(result):
    whole = result.get_influence().summary_frame()
    for rows in ([3, 5, -1], np.arange(72) % 3 == 0):
        some = result.get_influence(rows=rows).summary_frame()
        pd.testing.assert_frame_equal(some, whole.iloc[rows])
    again = result.get_influence(rows=[3, 5], method="refit")
    alone = result.get_influence(by=np.arange(72), method="refit")
    np.testing.assert_allclose(again.dfbeta, alone.dfbeta[[3, 5]], rtol=1e-6, atol=1e-8)


def test_least_squares_as_statsmodels():
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    x = sm.add_constant(rng.normal(size=(40, 2)))
    y = x @ [1.0, 2.0, 0.5] + rng.normal(size=40)
    group = np.repeat(np.arange(8), 5)
    model = mx.MixedLM(y, x, terms=[mx.RandomTerm(group)])
    fit = evaluate_design(model._design, True, np.zeros(1))
    found = get_influence(Fitted(fit, model))
    want = sm.OLS(y, x).fit().get_influence()
    for name in ("hat_matrix_diag", "resid_studentized_internal", "sigma2_not_obsi",
                 "resid_studentized_external", "params_not_obsi", "dfbeta"):  # fmt: skip
        np.testing.assert_allclose(getattr(found, name), getattr(want, name), rtol=1e-9)
    for name in ("dffits", "dffits_internal", "cooks_distance"):
        for one, other in zip(getattr(found, name), getattr(want, name), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9)
    # with sigma without the row: statsmodels has the determinant times sigma^2p as well
    ratio = found.cov_ratio * (found.sigma2_not_obsi / fit.scale) ** 3
    np.testing.assert_allclose(ratio, want.cov_ratio, rtol=1e-9)
    columns = list(want.summary_frame())[3:]
    frame = found.summary_frame()
    assert list(frame)[3:9] == columns
    np.testing.assert_allclose(frame[columns], want.summary_frame()[columns], rtol=1e-9)


def cells(levels=4):
    """Data in which one group alone has one level of a factor."""
    rng = np.random.default_rng(1)
    group = np.repeat(list("abcdef"), 6)
    f = np.where(group == "f", "only", np.tile(["p", "q"], 18))
    y = rng.normal(size=36) + (group == "a")
    return pd.DataFrame({"g": group, "f": f, "y": y})


@pytest.mark.parametrize("method", ["held", "one-step", "refit"])
@pytest.mark.parametrize("formula", ["y ~ f + (1 | g)", "y ~ f + (1 | g) + (1 | h)"])
@pytest.mark.filterwarnings("ignore:The random effects covariance")
def test_a_group_that_alone_tells_a_coefficient(method, formula):
    data = cells().assign(h=np.arange(36) % 5)
    result = mx.mixedlm(formula, data).fit()
    with pytest.warns(NotEstimableWarning, match=r"1 of 6 units cannot be deleted \(f\)"):
        found = result.get_influence(by="g", method=method)
    frame = found.summary_frame()
    assert list(frame.attrs["not_estimable"]) == ["f"]
    assert frame.loc["f"].drop("n_deleted").isna().all()
    assert np.isfinite(frame.drop(index="f")).all(axis=None)
    assert frame.attrs["method"] == method


@pytest.mark.filterwarnings("ignore:The random effects covariance")
def test_a_row_that_alone_tells_a_coefficient():
    data = cells()
    data.loc[34:, "f"], data.loc[30:33, "f"] = "p", "q"
    data.loc[35, "f"] = "single"
    result = mx.mixedlm("y ~ f + (1 | g)", data).fit()
    with pytest.warns(NotEstimableWarning, match=r"1 of 36 units cannot be deleted \(35\)"):
        found = result.get_influence()
    assert list(found.not_estimable) == [35]
    assert np.isnan(found.dfbetas[35]).all()
    assert np.isfinite(found.dfbetas[:35]).all()


def test_refits(result):
    held = result.get_influence(by="Block")
    with pytest.raises(AttributeError, match=r"method='refit'\) or 'one-step'"):
        _ = held.theta_not_obsi
    with pytest.raises(AttributeError, match="belongs to rows"):
        _ = held.hat_matrix_diag
    found = result.get_influence(by="Block", method="refit")
    frame = result.model.data.frame
    model = mx.mixedlm("yield ~ nitro + (1 | Block/Variety)", frame[frame["Block"] != "VI"])
    alone = model.fit()
    np.testing.assert_allclose(found.theta_not_obsi[-1], alone.theta, rtol=1e-4)
    change = alone.var_corr["variance"].to_numpy() / result.var_corr["variance"] - 1
    np.testing.assert_allclose(
        np.sort(found.relative_variance_change.iloc[-1]), np.sort(change), rtol=1e-3
    )
    at = evaluate_design(result.model._design, True, alone.theta)
    n = at.objective.dof
    deviance = n * (np.log(alone.scale / at.scale) - 1 + at.scale / alone.scale)
    want = deviance + at.deviance - result.deviance
    np.testing.assert_allclose(found.likelihood_displacement[-1], want, rtol=1e-5)
    assert (found.likelihood_displacement > 0).all()
    assert found.converged.all()


def test_likelihood_displacement_by_dense_algebra():
    data = mx.datasets.dyestuff.load().data
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit(reml=False)
    found = result.get_influence(by="Batch", method="refit")
    z = pd.get_dummies(data["Batch"]).to_numpy(float)
    for g in range(6):
        scale = found.sigma2_not_obsi[g]
        v = scale * (np.eye(30) + found.theta_not_obsi[g, 0] ** 2 * z @ z.T)
        e = data["Yield"] - found.params_not_obsi[g, 0]
        llf = -0.5 * (
            np.linalg.slogdet(v)[1] + e @ np.linalg.solve(v, e) + 30 * np.log(2 * np.pi)
        )
        want = 2 * (result.llf - llf)
        np.testing.assert_allclose(found.likelihood_displacement[g], want, rtol=1e-7)


@pytest.mark.parametrize("method", ["held", "refit"])
def test_pickling(result, method):
    for by in (None, "Block"):
        found = result.get_influence(by=by, method=method)
        again = pickle.loads(pickle.dumps(found))
        pd.testing.assert_frame_equal(again.summary_frame(), found.summary_frame())
        assert repr(again) == repr(found)


def test_tables(result):
    found = result.get_influence(by="Block")
    table = found.summary_table().as_text()
    assert "6 levels of Block, theta held" in table
    assert "cov_trace" in table
    assert "72 rows" in result.get_influence().summary_table("%.2f").as_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "Blocks"}, "by='Blocks' is neither.*Did you mean 'Block'"),
        ({"by": "Block:Varietys"}, "by='Varietys' is neither"),
        ({"method": "exact"}, "method='exact' is not known"),
        ({"by": "Block", "rows": [1]}, "rows goes with by=None"),
        ({"rows": [72]}, "rows must be from 0 to 71"),
        ({"rows": [True, False]}, "rows is a mask of shape"),
        ({"rows": ["a"]}, "rows must be numbers of rows"),
        ({"by": np.arange(10)}, "by has labels of shape"),
        ({"by": []}, "by is empty"),
        ({"by": [None, *"abc"] * 18}, "by has no label at 18 of the rows"),
    ],
)
def test_bad_input(result, arguments, message):
    with pytest.raises(ValueError, match=message):
        result.get_influence(**arguments)


def test_rows_that_are_not_there():
    data = mx.datasets.dyestuff.load().data
    chunks = mx.MixedLM.from_chunks("Yield ~ 1 + (1 | Batch)", [data]).fit()
    with pytest.raises(ValueError, match="in chunks"):
        chunks.get_influence()
    model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
    removed = model.fit()
    removed.remove_data()
    with pytest.raises(ValueError, match="were removed"):
        removed.get_influence(by="Batch")


def test_parameters_held():
    data = mx.datasets.sleepstudy.load().data
    model = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data)
    from statsmodels.regression.mixed_linear_model import MixedLMParams

    free = MixedLMParams.from_components(
        fe_params=np.array([1.0, 0.0]), cov_re=np.ones((1, 1)), vcomp=np.zeros(0)
    )
    held = model.fit(free=free)
    with pytest.raises(ValueError, match="get_influence rests on generalized least"):
        held.get_influence()
    with pytest.raises(ValueError, match="scale='deleted' rests on generalized least"):
        held.residuals(scale="deleted")


def test_order_of_rows_and_units_of_y_do_not_matter(result):
    frame = result.model.data.frame
    order = np.random.default_rng(0).permutation(72)
    other = frame.iloc[order].assign(**{"yield": 1e3 * frame["yield"].iloc[order]})
    moved = mx.mixedlm("yield ~ nitro + (1 | Block/Variety)", other).fit()
    want = result.get_influence().summary_frame().iloc[order]
    got = moved.get_influence().summary_frame()
    columns = ["cooks_d", "mdffits", "hat_diag", "student_resid", "cov_ratio"]
    np.testing.assert_allclose(got[columns], want[columns], rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("beside", [True, False])
def test_many_columns_with_one_variance(beside):
    """The engine makes levels of the columns of such a term, or turns them."""
    rng = np.random.default_rng(5)
    n, k = 70, 40
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    wide = mx.RandomTerm(
        rng.integers(0, 3, n), rng.normal(size=(n, k)), group="w", structure="identity"
    )
    terms = [wide, mx.RandomTerm(rng.integers(0, 6, n), group="g")][: 1 + beside]
    weights = rng.uniform(0.5, 2, n)
    y = x @ [1.0, 2.0] + rng.normal(size=n)
    model = mx.MixedLM(y, x, terms=terms, weights=weights)
    fit = evaluate_design(model._design, True, np.array([0.4, 1.2])[: 1 + beside])
    fitted, dense = Fitted(fit, model), dense_fit(y, x, terms, fit.lams, True, weights)
    found = get_influence(fitted)
    np.testing.assert_allclose(found.hat_matrix_diag, dense.leverage(weights)[0])
    check(fitted, dense, found, [[i] for i in range(n)])
    for own in (wide.codes, np.arange(n) // 6):
        found = get_influence(fitted, by=own)
        check(
            fitted, dense, found, [np.flatnonzero(own == g) for g in range(own.max() + 1)]
        )


def test_an_influence_of_rows_keeps_few_numbers_a_row():
    """No more than a column of the data for each column of [Z X y]; here of slopes."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(np.arange(500), 8), "x": rng.normal(size=4000)})
    b = rng.normal(size=(500, 2))[data["g"]]
    data["y"] = b[:, 0] + b[:, 1] * data["x"] + rng.normal(size=4000)
    result = mx.mixedlm("y ~ x + (x | g)", data).fit()
    found = result.get_influence()
    found.summary_frame()
    found.cooks_distance  # noqa: B018
    assert len(pickle.dumps(found)) < 8 * 5 * 4000 + 8000
    kept = len(pickle.dumps(result.fitted.fit))
    result.get_influence(by="g")
    assert len(pickle.dumps(result.fitted.fit)) == kept


@pytest.mark.parametrize("by", [None, "Block"])
def test_measures_asked_for_again_are_the_same(result, by):
    found = result.get_influence(by=by)
    names = "mdffits", "cov_trace", "cov_ratio", "sigma2_not_obsi", "dfbetas"
    first = [found.cooks_distance.distance, *(getattr(found, n) for n in names)]
    again = [found.cooks_distance.distance, *(getattr(found, n) for n in names)]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
