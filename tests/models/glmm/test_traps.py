"""What users do wrong with generalized models, and traps of data, line by line."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import special
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def ponds():
    """Counts, shares, yes and no, and amounts of 12 ponds, nine visits each."""
    rng = np.random.default_rng(8)
    n = 108
    data = pd.DataFrame({"pond": np.arange(n) // 9, "visit": np.arange(n) % 9})
    data["obs"], data["depth"] = np.arange(n), rng.normal(5.0, 2.0, n)
    data["caught"], data["effort"] = rng.integers(2, 7, n), rng.uniform(1, 3, n)
    effect = rng.normal(0, 0.8, 12)[data["pond"]]
    data["p"] = special.expit(effect - 0.2 + 0.1 * (data["depth"] - 5))
    data["marked"] = rng.binomial(data["caught"], data["p"])
    data["share"] = data["marked"] / data["caught"]
    data["seen"] = rng.binomial(1, data["p"])
    data["newts"] = rng.poisson(np.exp(0.5 + effect))
    data["weight"] = rng.gamma(4.0, np.exp(effect) / 4)
    data["stage"] = pd.Categorical(rng.choice(list("xyz"), n))
    data["wet"] = data["seen"].astype(float)
    return data


POND = " ~ depth + (1 | pond)"
NEWTS = "newts" + POND
REFUSED = [
    # a proportion without trials
    ("share" + POND, "binomial", {}, ValueError, r"row 0.*give weights=.*cbind"),
    # outside of the range, with the first such row
    ("neg" + POND, "poisson", {}, ValueError, r"family poisson .*negative; row 7 has -3"),
    ("zero" + POND, "gamma", {}, ValueError, r"family gamma .*positive; row 7 has 0"),
    ("one" + POND, "beta", {}, ValueError, r"strictly between 0 and 1 .*row 7 has 1"),
    (
        "over" + POND,
        "binomial",
        {"weights": "caught"},
        ValueError,
        r"\[0, 1\]; row 7",
    ),
    # families and links
    (NEWTS, sm.families.Poisson, {}, TypeError, r"give an instance: Poisson\(\)"),
    (
        NEWTS,
        "poison",
        {},
        ValueError,
        r"are: binomial.*Did you mean 'poisson'",
    ),
    (
        NEWTS,
        "poisson(logit)",
        {},
        ValueError,
        r"the link logit; it has: log, iden",
    ),
    (
        NEWTS,
        "zip",
        {},
        ValueError,
        r"zero inflation is not available yet",
    ),
    ("stage" + POND, "cumulative", {}, ValueError, r"ordinal .*OrderedModel"),
    (NEWTS, "quasi_poisson", {}, ValueError, r"no likelihood: use 'negative bin"),
    # exposure and weights
    ("seen" + POND, "binomial", {"exposure": "effort"}, ValueError, r"log link.*offset="),
    (NEWTS, "poisson", {"exposure": "none"}, ValueError, r"row 7 has 0.*leave it"),
    (NEWTS, "poisson", {"weights": "neg"}, ValueError, r"not be negative; row 7"),
    (
        NEWTS,
        "poisson",
        {"weights": "none"},
        ValueError,
        r"row 7 has 0: leave it",
    ),
    (NEWTS, "poisson", {"weights": "gap"}, mx.MissingDataError, r"missing='drop'"),
    (NEWTS, "poisson", {"freq_weights": "effort"}, ValueError, r"whole.*weights="),
    # responses that are not there yet
    ("stage" + POND, "binomial", {}, ValueError, r"3 categories.*ordinal.*OrderedModel"),
    (
        NEWTS,
        "poisson",
        {"ziformula": "~ 1"},
        ValueError,
        r"not available yet",
    ),
    (
        NEWTS,
        "poisson",
        {"dispformula": "~ 1"},
        ValueError,
        r"not available yet",
    ),
    # designs
    ("seen ~ depth", "binomial", {}, ValueError, r"no random terms: add one.*smf.glm"),
    (
        "seen ~ 1 + (1 | obs)",
        "binomial",
        {},
        mx.DesignError,
        r"cannot be told.*Leave",
    ),
    (
        NEWTS,
        "poisson",
        {"reml": True},
        ValueError,
        r"no restricted likelihood here",
    ),
]


@pytest.mark.parametrize(("formula", "family", "given", "kind", "said"), REFUSED)
def test_what_is_refused_and_how(ponds, formula, family, given, kind, said):
    at = ponds["obs"] == 7
    data = ponds.assign(
        neg=ponds["newts"].where(~at, -3.0),
        zero=ponds["weight"].where(~at, 0.0),
        one=ponds["p"].where(~at, 1.0),
        over=ponds["share"].where(~at, 2.0),
        none=ponds["effort"].where(~at, 0.0),
        gap=ponds["effort"].where(~at),
    )
    with pytest.raises(kind, match=said):
        mx.glmm(formula, data, family=family, **given).fit()


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("seen ~ depth + (1 | pond) + (1 | visit)", r"2 grouping factors \(pond, visit\)"),
        ("seen ~ 1 + (depth + effort + caught | pond)", r"4 columns a level of 'pond'"),
    ],
)
def test_nodes_of_models_that_cannot_have_them(ponds, formula, said):
    model = mx.glmm(formula, ponds, family="binomial")
    with pytest.raises(ValueError, match=said + r"; use n_agq=1, Laplace"):
        model.fit(n_agq=5)


def test_numbers_that_are_not_whole_are_fitted_with_a_warning(ponds):
    data = ponds.assign(share=0.9 * ponds["share"] + 0.02)
    with pytest.warns(mx.ResponseWarning, match="not whole"):
        model = mx.glmm("share" + POND, data, family="binomial", weights="caught")
    assert model.fit().convergence.status == "interior"


@pytest.mark.parametrize(
    ("change", "formula", "said"),
    [
        ({}, "seen ~ wet + (1 | pond)", "column wet separates 0 from 1: its estimate"),
        ({"pond": 2}, "seen ~ 0 + C(pond) + (1 | visit)", r"C\(pond\)\[2\] separates"),
        ({"all": 1}, "seen ~ 1 + (1 | pond)", "all trials are successes"),
        ({"all": 0}, "seen ~ 1 + (1 | pond)", "all responses are 0"),
    ],
)
@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
def test_separation_is_told_by_name_and_tests_stay_right(ponds, change, formula, said):
    data = ponds.copy()
    if "pond" in change:
        data.loc[data["pond"] == change["pond"], "seen"] = 0
    if "all" in change:
        data["seen"] = change["all"]
    with pytest.warns(mx.SeparationWarning, match=said):
        result = mx.glmm(formula, data, family="binomial").fit()
    assert result.convergence.status == "separated"
    assert np.isfinite(result.llf)


def test_lr_test_of_a_column_that_separates(ponds):
    """The limit of the log-likelihood is that of the model of the other rows."""
    data = ponds.assign(rare=(ponds["pond"] == 3).astype(float))
    data.loc[data["pond"] == 3, "seen"] = 1
    with pytest.warns(mx.SeparationWarning, match="column rare"):
        whole = mx.glmm("seen ~ depth + rare + (1 | visit)", data, family="binomial").fit()
    rest = data[data["pond"] != 3]
    without = mx.glmm("seen ~ depth + (1 | visit)", rest, family="binomial")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        assert whole.llf == pytest.approx(without.fit().llf, abs=1e-4)


# ---- traps of data ----


def test_rows_of_single_trials_are_counts_but_for_a_constant(ponds):
    yes = ponds.loc[ponds.index.repeat(ponds["marked"])].assign(y=1)
    no = ponds.loc[ponds.index.repeat(ponds["caught"] - ponds["marked"])].assign(y=0)
    rows = mx.glmm("y" + POND, pd.concat([yes, no], ignore_index=True), family="binomial")
    counts = mx.glmm("cbind(marked, caught - marked)" + POND, ponds, family="binomial")
    one, other = rows.fit(), counts.fit()
    assert np.asarray(one.params) == pytest.approx(np.asarray(other.params), abs=1e-7)
    assert np.asarray(one.bse) == pytest.approx(np.asarray(other.bse), rel=1e-6)
    constant = np.log(special.comb(ponds["caught"], ponds["marked"])).sum()
    assert other.llf - one.llf == pytest.approx(constant, abs=1e-8)


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
def test_order_names_and_threads_change_nothing(ponds):
    formula = "seen ~ depth + (1 | pond) + (1 | visit)"
    base = mx.glmm(formula, ponds, family="binomial").fit()
    shuffled = ponds.sample(frac=1, random_state=1)
    named = ponds.assign(pond=[f"pond {99 - k}" for k in ponds["pond"]])
    turned = "seen ~ (1 | visit) + depth + (1 | pond)"
    for data, text in ((shuffled, formula), (named, formula), (ponds, turned)):
        other = mx.glmm(text, data, family="binomial").fit()
        assert other.llf == pytest.approx(base.llf, abs=1e-9)
        assert np.asarray(other.fe_params) == pytest.approx(
            np.asarray(base.fe_params), abs=1e-7
        )
    one = mx.glmm("seen" + POND, ponds, family="binomial")
    alone, before = one.fit().llf, mx.get_num_threads()
    mx.set_num_threads(2)
    try:
        assert one.fit().llf == alone
    finally:
        mx.set_num_threads(before)


def test_units_far_from_one(ponds):
    data = ponds.assign(
        metres=1e6 * (1 + 0.01 * ponds["depth"]), year=2001 + ponds["visit"]
    )
    base = mx.glmm("newts" + POND, ponds, family="poisson").fit()
    far = mx.glmm("newts ~ metres + (1 | pond)", data, family="poisson").fit()
    assert far.llf == pytest.approx(base.llf, abs=1e-8)
    slope = far.fe_params["metres"] * 1e4
    assert slope == pytest.approx(base.fe_params["depth"], abs=1e-7)
    error = far.bse["metres"] * 1e4
    assert error == pytest.approx(base.bse["depth"], rel=1e-6)
    years = mx.glmm("newts ~ year + (1 | pond)", data, family="poisson").fit()
    visits = mx.glmm("newts ~ visit + (1 | pond)", data, family="poisson").fit()
    assert years.llf == pytest.approx(visits.llf, abs=1e-9)
    assert years.fe_params["year"] == pytest.approx(visits.fe_params["visit"], abs=1e-8)
    shifted = mx.glmm("newts" + POND, data, family="poisson", offset=np.full(108, 20.0))
    assert shifted.fit().fe_params["Intercept"] == pytest.approx(
        base.fe_params["Intercept"] - 20, abs=1e-7
    )
    beyond = mx.glmm("newts" + POND, data, family="poisson", offset=np.full(108, 700.0))
    assert beyond.fit().llf == pytest.approx(base.llf, abs=1e-8)


def test_variance_of_zero_is_the_generalized_linear_model(ponds):
    data = ponds.assign(flat=np.tile([1, 2, 0, 1, 3, 1, 0, 2, 1], 12))
    with pytest.warns(SingularMatrixWarning):
        result = mx.glmm("flat" + POND, data, family="poisson").fit()
    expected = sm.GLM.from_formula("flat ~ depth", data, family=sm.families.Poisson())
    expected = expected.fit(tol=1e-14)
    assert result.llf == pytest.approx(expected.llf, abs=1e-9)
    assert np.asarray(result.bse_fe) == pytest.approx(expected.bse.to_numpy(), rel=1e-8)


def test_dispersions_beside_a_term_of_rows(ponds):
    formula = "weight ~ depth + (1 | pond) + (1 | obs)"
    with pytest.warns(mx.UnidentifiedVarianceWarning, match="may not be told apart. Leave"):
        mx.glmm(formula, ponds, family="gamma")


def test_poisson_limit_of_negative_binomial(ponds):
    data = ponds.assign(flat=np.tile([1, 2, 1, 1, 2, 1, 1, 2, 1], 12))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit = mx.glmm("flat" + POND, data, family="negative binomial").fit()
        poisson = mx.glmm("flat" + POND, data, family="poisson").fit()
    assert limit.convergence.status == "boundary"
    assert "Poisson" in limit.convergence.message
    assert limit.dispersion < 1e-4
    assert limit.llf == pytest.approx(poisson.llf, abs=1e-3)
