"""Fits of the same model to other responses against fresh models; simulation."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.engine.refits.simulation import Sampler
from mixedext.inference.bootstrap.simulated_refits import responses_of

pytestmark = pytest.mark.filterwarnings(
    "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
)


def sleep():
    return mx.datasets.sleepstudy.load().data


def unbalanced(seed=0, n=150, n_levels=14):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "g": rng.integers(0, n_levels, n),
            "h": rng.integers(0, 6, n),
            "x": rng.normal(3.0, 2.0, n),
            "z": rng.normal(size=n),
            "w": rng.uniform(0.5, 2.0, n),
            "o": rng.normal(size=n),
            "y": rng.normal(size=n),
        }
    )


MODELS = {
    "sleepstudy": ("Reaction ~ Days + (Days | Subject)", sleep, {}),
    "unbalanced": ("y ~ x + z + (x | g)", unbalanced, {}),
    "weighted": ("y ~ x + (1 | g)", unbalanced, {"weights": "w", "offset": "o"}),
    "uncorrelated": ("y ~ x + (x + z || g)", unbalanced, {}),
    "three columns": ("y ~ x + (x + z | g)", unbalanced, {}),
    "crossed": ("y ~ x + (x | g) + (1 | h)", unbalanced, {}),
}


def responses(data, group, count, seed=3):
    """Responses with a variance between groups of zero or more, some fits singular."""
    rng = np.random.default_rng(seed)
    codes = pd.factorize(data[group])[0]
    y = rng.normal(size=(len(data), count))
    for name in (None, "x", "z", "Days"):
        z = np.ones(len(data)) if name is None else data.get(name, 0 * codes)
        effect = rng.normal(size=(codes.max() + 1, count)) * np.linspace(0.0, 2.0, count)
        y += effect[codes] * np.asarray(z)[:, None]
    if "h" in data:
        y += rng.normal(size=(6, count))[data["h"]]
    return 50.0 + 7.0 * y


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_fit_many_against_fresh_models(name, reml):
    formula, load, options = MODELS[name]
    data = load()
    count = 8 if name == "crossed" else 40
    y = responses(data, "Subject" if name == "sleepstudy" else "g", count)
    model = mx.mixedlm(formula, data, **options)
    many = model.fit_many(y, reml=reml)
    assert many.converged.all()
    response = formula.split("~")[0].strip()
    for r in range(count):
        fresh = mx.mixedlm(formula, data.assign(**{response: y[:, r]}), **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mx.FlatLikelihoodWarning)
            fresh = fresh.fit(reml=reml)
        assert many.llf[r] == pytest.approx(fresh.llf, rel=1e-10, abs=1e-8)
        assert many.is_singular[r] == fresh.is_singular
        np.testing.assert_allclose(many.theta[r], fresh.theta, atol=2e-6)
        np.testing.assert_allclose(many.fe_params[r], fresh.fe_params, rtol=1e-6)
        assert many.scale[r] == pytest.approx(fresh.scale, rel=1e-6)
    assert 0 < many.is_singular.sum() < count
    frame = many.to_frame()
    assert len(frame) == count
    assert list(frame.columns[:2]) == list(model.exog_names[:2])


def test_responses_that_lose_digits_are_refined():
    """One variance dwarfs the other: deviance and scale come from the rows, as in fit."""
    data = unbalanced()
    rng = np.random.default_rng(0)
    y = rng.normal(size=14)[data["g"]] + 1e-5 * rng.normal(size=150)
    model = mx.mixedlm("y ~ x + (1 | g)", data)
    many = model.fit_many(np.column_stack([y, rng.normal(size=150)]))
    fresh = mx.mixedlm("y ~ x + (1 | g)", data.assign(y=y)).fit()
    assert many.scale[0] == pytest.approx(fresh.scale, rel=1e-9)
    assert many.llf[0] == pytest.approx(fresh.llf, rel=1e-11)


def test_threads_and_blocks_change_nothing(monkeypatch):
    model = mx.mixedlm("y ~ x + z + (x | g)", unbalanced())
    y = responses(unbalanced(), "g", 30)
    whole = model.fit_many(y)
    monkeypatch.setattr("mixedext.engine.refits.batches.BLOCK_SIZE", 1000)
    for n_jobs in (1, 2):
        parts = model.fit_many(y, n_jobs=n_jobs)
        np.testing.assert_allclose(parts.theta, whole.theta, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(parts.llf, whole.llf, rtol=1e-13)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", ["sleepstudy", "weighted", "crossed"])
def test_refit_is_a_fresh_model(name, reml):
    formula, load, options = MODELS[name]
    data = load()
    y = responses(data, "Subject" if name == "sleepstudy" else "g", 4)[:, -1]
    model = mx.mixedlm(formula, data, **options)
    before = model.fit(reml=reml)
    again = model.refit(y, reml=reml)
    response = formula.split("~")[0].strip()
    fresh = mx.mixedlm(formula, data.assign(**{response: y}), **options).fit(reml=reml)
    assert again.llf == pytest.approx(fresh.llf, rel=1e-12)
    np.testing.assert_allclose(again.theta, fresh.theta, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(again.params, fresh.params, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(again.bse, fresh.bse, rtol=1e-7)
    np.testing.assert_allclose(again.resid, fresh.resid, rtol=1e-7, atol=1e-8)
    assert str(again.summary()) == str(fresh.summary())
    assert model.fit(reml=reml).llf == before.llf  # the model itself is what it was


def test_responses_are_checked():
    model = mx.mixedlm("y ~ x + (1 | g)", unbalanced())
    with pytest.raises(ValueError, match="endog has 2 columns; fit_many"):
        model.refit(np.zeros((150, 2)))
    with pytest.raises(ValueError, match=r"endog must have shape \(nobs,\) .* 150"):
        model.refit(np.zeros(149))
    with pytest.raises(
        ValueError, match=r"missing or infinite values \(columns 'b', 'c'\)"
    ):
        model.fit_many(pd.DataFrame({"b": np.nan, "c": np.inf}, range(150)))
    with pytest.raises(ValueError, match="numbers only"):
        model.refit(np.full(150, "a"))
    with pytest.raises(mx.DesignError, match="endog is constant or explained exactly"):
        model.refit(np.ones(150))
    with pytest.raises(ValueError, match="n_jobs=0"):
        model.fit_many(np.ones((150, 2)), n_jobs=0)


def test_dropped_columns_stay_in_their_place():
    data = unbalanced().assign(again=lambda d: 2 * d["x"])
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.mixedlm("y ~ x + again + z + (1 | g)", data)
    many = model.fit_many(responses(data, "g", 3))
    assert np.isnan(many.fe_params[:, 2]).all()
    assert np.isfinite(many.fe_params[:, [0, 1, 3]]).all()


def test_a_fit_that_does_not_settle_goes_the_ordinary_way(monkeypatch):
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep())
    y = responses(sleep(), "Subject", 10)
    want = model.fit_many(y)
    monkeypatch.setattr("mixedext.engine.refits.batches.MAX_ITERATIONS", 0)
    got = model.fit_many(y)
    assert got.converged.all()
    np.testing.assert_allclose(got.llf, want.llf, rtol=1e-11)
    np.testing.assert_allclose(got.theta, want.theta, atol=1e-6)


@pytest.mark.parametrize("weights", [None, "w"])
def test_simulated_products_have_the_moments_of_the_model(weights):
    """Z'r and r'r of drawn statistics against those of simulated rows."""
    data = unbalanced(n=60, n_levels=4)
    model = mx.mixedlm("y ~ x + z + (x | g)", data, weights=weights)
    y = responses(data, "g", 2)[:, 1]
    fit = model.refit(y).fitted.fit
    n = 40_000
    lead, least_squares, y_scale, _ = Sampler(fit).draw(n, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    root = np.ones(60) if weights is None else np.sqrt(data["w"].to_numpy())
    term = model.random_terms[0]
    effect = rng.normal(size=(n, term.n_levels, 2)) @ fit.lams[0].T
    rows = rng.normal(size=(60, n)) / root[:, None]
    for j in range(2):
        rows += term.z[:, j, None] * effect[:, term.codes, j].T
    products = responses_of(model).products(rows)
    one = np.column_stack(
        [(lead * y_scale[:, None, None]).reshape(n, -1), least_squares, y_scale**2]
    )
    other = np.column_stack(
        [(products[0] * products[3]).reshape(-1, n).T, products[2].T, products[3] ** 2]
    )
    size = other.std(axis=0)
    np.testing.assert_allclose(
        one.mean(axis=0) / size, other.mean(axis=0) / size, atol=5 * np.sqrt(2 / n)
    )
    np.testing.assert_allclose(one.std(axis=0), size, rtol=0.03)
    np.testing.assert_allclose(np.corrcoef(one.T), np.corrcoef(other.T), atol=0.03)


def test_simulated_refits():
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep()).fit()
    refits = result.simulate_refits(20_000, rng=5)
    assert refits.n_failed == 0
    singular = refits.is_singular.sum()
    said = f"Refits by REML: 20000 responses, 0 failed, {singular} singular"
    assert repr(refits) == said
    assert refits.fe_params.shape == (20_000, 2)
    error = refits.fe_params.std(axis=0)
    np.testing.assert_allclose(error, result.bse_fe, rtol=0.03)
    np.testing.assert_allclose(
        refits.fe_params.mean(axis=0), result.fe_params, atol=4 * error.max() / 141
    )
    assert refits.scale.mean() == pytest.approx(result.scale, rel=0.01)
    # the same numbers, however the work is shared
    shared = result.simulate_refits(20_000, rng=5, n_jobs=2)
    np.testing.assert_array_equal(shared.theta, refits.theta)
    np.testing.assert_array_equal(shared.llf, refits.llf)
    assert result.simulate_refits(10, rng=6).llf[0] != refits.llf[0]
    rng = np.random.default_rng(5)
    first = result.simulate_refits(10, rng=rng)
    assert first.llf[0] != result.simulate_refits(10, rng=rng).llf[0]


@pytest.mark.formula_engine
def test_simulated_refits_need_no_rows():
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data).fit()
    want = result.simulate_refits(100, rng=0).llf
    result.remove_data()
    np.testing.assert_array_equal(result.simulate_refits(100, rng=0).llf, want)


def test_simulated_refits_of_a_crossed_model():
    data = mx.datasets.penicillin.load().data
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    result = mx.mixedlm(formula, data).fit()
    refits = result.simulate_refits(60, rng=0)
    assert refits.n_failed == 0
    assert refits.scale.mean() == pytest.approx(result.scale, rel=0.1)
    np.testing.assert_allclose(refits.fe_params.std(axis=0), result.bse_fe, rtol=0.4)
    with pytest.raises(ValueError, match="n=0"):
        result.simulate_refits(0)


def test_refused_responses_are_named():
    data = unbalanced(n=200, n_levels=5)
    model = mx.mixedlm("y ~ x + (1 | g)", data, missing="drop")
    many = np.random.default_rng(0).normal(size=(200, 5000))
    many[:, 4321] = 2.0
    with pytest.warns(mx.ResponseWarning, match=r"1 of 5000 .*\(number 4321\)"):
        fits = model.fit_many(many)
    assert np.flatnonzero(~fits.converged).tolist() == [4321]
    assert np.isnan(fits.llf[4321])
    rest = model.fit_many(np.delete(many, 4321, axis=1))
    np.testing.assert_allclose(np.delete(fits.llf, 4321), rest.llf, rtol=1e-12)
    with pytest.raises(ValueError, match="endog has no columns"):
        model.fit_many(many[:, :0])
    with pytest.raises(ValueError, match="rng="):
        model.fit().simulate_refits(2, np.random.RandomState(0))


@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ x + (1 | g) + (1 | h)"])
def test_responses_without_a_residual_are_marked_and_named(formula):
    data = unbalanced().assign(h=np.arange(150) % 4)
    model = mx.mixedlm(formula, data)
    many = pd.DataFrame(responses(data, "g", 5), columns=list("abcde"))
    whole = model.fit_many(many)
    many["b"] = 7.0
    many["c"] = 1.0 + 2.0 * data["x"]
    many["d"] = data.groupby("g")["y"].transform("mean")
    with pytest.warns(mx.ResponseWarning, match="3 of 5 .*columns 'b', 'c', 'd'"):
        fits = model.fit_many(many)
    frame = fits.to_frame()
    assert frame["converged"].tolist() == [True, False, False, False, True]
    assert (
        frame.drop(columns=["converged", "is_singular", "n_evaluations"])[1:4]
        .isna()
        .to_numpy()
        .all()
    )
    np.testing.assert_allclose(fits.llf[[0, 4]], whole.llf[[0, 4]], rtol=1e-12)
    with pytest.warns(mx.ResponseWarning, match="2 of 2 responses"):
        assert model.fit_many(many[["b", "c"]]).n_failed == 2


def test_responses_by_their_labels():
    data = unbalanced().set_index(np.arange(1000, 1150)).assign(other=lambda d: d["y"] ** 2)
    data.loc[[1003, 1050], "x"] = np.nan
    model = mx.mixedlm("y ~ x + (1 | g)", data, missing="drop")
    want = mx.mixedlm("other ~ x + (1 | g)", data, missing="drop").fit()
    assert model.nobs == 148
    # a column of the data, with the rows that were left out, and without them
    assert model.refit(data["other"]).llf == pytest.approx(want.llf, rel=1e-12)
    shuffled = data.sample(frac=1, random_state=0)
    many = model.fit_many(shuffled[["other", "y"]])
    assert many.llf[0] == pytest.approx(want.llf, rel=1e-12)
    own = data["other"].drop([1003, 1050])
    assert model.refit(own.to_frame()).llf == pytest.approx(want.llf, rel=1e-12)
    # of as many rows as the model positions count, which is said
    with pytest.warns(mx.AlignmentWarning, match="endog has the row labels"):
        permuted = model.refit(own.sample(frac=1, random_state=1))
    assert permuted.llf != pytest.approx(want.llf, rel=1e-3)


def test_generators_in_one_state_give_the_same_numbers():
    result = mx.mixedlm("y ~ x + (1 | g)", unbalanced()).fit()
    state = np.random.default_rng(8)
    state.normal(size=3)
    others = [np.random.default_rng(), np.random.default_rng(8)]
    for other in others:
        other.bit_generator.state = state.bit_generator.state
    one, two = (result.simulate_refits(5, rng=r) for r in others)
    np.testing.assert_array_equal(one.llf, two.llf)
    again = result.simulate_refits(5, rng=others[0])
    assert (again.llf != one.llf).all()
    for wrong in ("a", -1, 1.5):
        with pytest.raises(ValueError, match="rng="):
            result.simulate_refits(5, rng=wrong)


@pytest.mark.parametrize("offset", [None, "z"])
def test_responses_with_missing_values_are_refused_by_name(offset):
    data = unbalanced()
    model = mx.mixedlm("y ~ x + (1 | g)", data, offset=offset)
    y = pd.DataFrame(responses(data, "g", 4), columns=list("abcd"))
    y["e"] = 1.0 if offset is None else data["z"] + 1.0
    want = model.fit_many(y[["a", "c"]])
    y.loc[3, "b"], y.loc[7, "d"] = np.nan, np.inf
    with pytest.warns(mx.ResponseWarning) as caught:
        many = model.fit_many(y)
    assert [str(w.message)[:17] for w in caught] == [
        "2 of 5 responses ",
        "1 of 5 responses ",
    ]
    assert "(columns 'b', 'd'): without these rows" in str(caught[0].message)
    assert "(column 'e')" in str(caught[1].message)
    assert many.converged.tolist() == [True, False, True, False, False]
    np.testing.assert_array_equal(many.llf[[0, 2]], want.llf)
    np.testing.assert_array_equal(many.theta[[0, 2]], want.theta)
    assert np.isnan(many.to_frame().loc[[1, 3], ["llf", "scale"]]).all(axis=None)
