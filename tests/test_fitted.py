"""The record of a fit: frozen, complete, and what its parts say."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

import mixedext as mx
from mixedext.fitted import (
    FitArguments,
    Fitted,
    FixedPart,
    InferenceSettings,
    ModelRows,
    RandomPart,
    need_rows,
    once,
    once_a_fit,
    rows_of,
)
from mixedext.inference.fixed_effects.wald import t_test

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def result():
    data = mx.datasets.sleepstudy.load().data.assign(twice=lambda d: 2 * d["Days"])
    formula = "Reaction ~ Days + twice + (Days | Subject) + offset(Days)"
    with pytest.warns(mx.RankDeficientWarning):
        return mx.mixedlm(formula, data).fit()


def contents(record):
    """The fields of a record, and those of its parts, by name."""
    parts = {"": record, "settings.": record.settings, "arguments.": record.arguments}
    return {
        prefix + f.name: getattr(part, f.name)
        for prefix, part in parts.items()
        for f in fields(part)
    }


def test_questions_set_nothing(result):
    own, record = result._results, result.fitted
    before, attributes = contents(record), dict(vars(own))
    kwds = dict(record.settings.cov_kwds)
    robust = result.get_robustcov_results("CR0", groups="Subject")
    for asked in (
        result.summary,
        result.anova,
        result.conf_int_vcomp,
        result.ranova,
        result.cov_params,
        robust.summary,
        lambda: result.emmeans("Days"),
        lambda: result.bootstrap_parametric(3, rng=1),
        lambda: result.t_test("Days = 0"),
        lambda: pickle.dumps(result),
    ):
        asked()
    after = contents(record)
    assert all(after[name] is before[name] for name in before)
    assert record.settings.cov_kwds == kwds
    assert all(vars(own)[name] is value for name, value in attributes.items())
    assert robust.fitted.fit is record.fit


def test_all_parts_are_frozen(result):
    record = result.fitted
    parts = record, record.settings, record.arguments, record.fixed, record.random
    for part in (*parts, record.rows, record.fit):
        name = fields(part)[0].name
        with pytest.raises(FrozenInstanceError):
            setattr(part, name, None)


def test_what_a_fit_keeps_holds_for_all_settings(result):
    record, calls = result.fitted, []

    @once_a_fit
    def of_fit(fitted):
        calls.append("fit")
        return fitted.scale

    @once
    def of_settings(fitted):
        calls.append(fitted.settings.cov_type)
        return fitted.settings.cov_type

    other = record.with_settings(InferenceSettings(cov_type="CR0"))
    assert (other.fit, other.model, other.arguments) == (
        record.fit,
        record.model,
        record.arguments,
    )
    for fitted in (record, other, record, other):
        assert of_fit(fitted) == record.scale
        assert of_settings(fitted) == fitted.settings.cov_type
    assert calls == ["fit", "nonrobust", "CR0"]
    assert of_fit.__name__ == "of_fit"


def test_fixed_part(result):
    part = result.fitted.fixed
    assert part.names == ("Intercept", "Days", "twice")
    assert part.rank == 2
    assert part.dropped.tolist() == [False, False, True]
    np.testing.assert_array_equal(part.estimate, result.fe_params)
    # a column dropped before one that is kept
    part = FixedPart(("a", "b", "c"), np.array([0, 2]), np.array([3.0, 4.0]))
    assert part.dropped.tolist() == [False, True, False]
    np.testing.assert_array_equal(part.estimate, [3.0, np.nan, 4.0])
    np.testing.assert_array_equal(
        part.full_square(np.array([[1.0, 2.0], [5.0, 3.0]])),
        [[1.0, np.nan, 2.0], [np.nan] * 3, [5.0, np.nan, 3.0]],
    )


def test_random_part(result):
    part = result.fitted.random
    (block,) = part.blocks()
    assert block.term is part.terms[0]
    assert block.structure is block.term.structure
    np.testing.assert_array_equal(block.covariance, result.fitted.fit.covariances[0])
    terms = [SimpleNamespace(group=g) for g in "abab"]
    assert RandomPart(tuple(terms), ()).groups == ["a", "b"]
    with pytest.raises(ValueError, match="zip"):
        list(part.__class__(part.terms, ()).blocks())


def test_numbers(result):
    record = result.fitted
    assert record.fitted is record
    assert record.reml is True
    assert record.nobs == 180
    assert record.df_resid == 178
    assert record.sigma**2 == pytest.approx(record.scale, rel=1e-15)
    assert not record.is_weighted


def test_mean_of_rows(result):
    rows, fit = result.fitted.need_rows(), result.fitted.fit
    days = rows.exog[:, 1]
    got = rows.mean([250.0, 10.0, np.nan], fit.effects)
    effect = fit.effects[0][rows.terms[0].codes]
    want = days + 250.0 + 10.0 * days + effect[:, 0] + effect[:, 1] * days
    np.testing.assert_allclose(got, want, rtol=1e-13)
    np.testing.assert_array_equal(rows.mean([0.0, 0.0, 0.0]), days)
    alone = replace(rows, offset=None)
    np.testing.assert_array_equal(alone.mean([0.0, 0.0, 0.0]), np.zeros(len(days)))


def test_rows_that_are_gone():
    data = mx.datasets.dyestuff.load().data.assign(w=1.0)
    formula = "Yield ~ 1 + (1 | Batch)"
    result = mx.mixedlm(formula, data, weights="w").fit()
    assert isinstance(rows_of(result.model), ModelRows)
    assert result.fitted.is_weighted
    result.remove_data()
    assert result.fitted.rows is None
    with pytest.raises(ValueError, match="data of this model were removed"):
        need_rows(result.model)
    for weights in ("w", None):
        model = mx.MixedLM.from_chunks(formula, [data[:10], data[10:]], weights=weights)
        record = model.fit().fitted
        assert record.rows is None
        assert record.is_weighted == (weights is not None)
        with pytest.raises(ValueError, match="rows of this model are in chunks"):
            record.need_rows()


@pytest.mark.parametrize("name", ["free", "fe_pen", "cov_pen"])
def test_what_holds_or_penalizes_is_held_again(name):
    given = object()
    held = FitArguments(start_params=1.0, **{name: given}).held("this")
    assert held[name] is given
    assert held["start_params"] == 1.0
    assert set(held) == {"start_params", "free", "fe_pen", "cov_pen"}


def test_starts_alone_hold_nothing():
    assert FitArguments(start_params=1.0).held("this") == {}
    with pytest.raises(ValueError, match=r"^this fits the model again, but"):
        FitArguments(repeatable=False).held("this")


def test_a_record_serves_in_the_place_of_results(result):
    record = Fitted(result.fitted.fit, result.model)
    assert t_test(record, "Days = 10").effect == result.t_test("Days = 10").effect
