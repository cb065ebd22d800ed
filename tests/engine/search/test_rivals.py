"""Several minima: the lowest is found, by every way to a fit, and all seen are told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.paths import RESULTS
from scipy import optimize
from statsmodels.tools.sm_exceptions import ConvergenceWarning

import mixedext as mx
from mixedext.engine.fit import fit_design
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.search import rivals
from mixedext.engine.search.optimize import _Minima
from mixedext.engine.search.rivals import other_starts, promising_points
from mixedext.specification.terms.random_terms import RandomTerm

pytestmark = pytest.mark.filterwarnings(
    "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
)

DATA = RESULTS / "data"

GASOLINE = "lgaspcar ~ lincomep + lrpmg + lcarpcap + (1 | country) + (1 | year)"
CIGAR = "price ~ pimin + (1 | state) + (1 | year)"
FATALITIES = "unemp ~ beertax + (beertax | state)"
HEDONIC = "log_dis ~ indus + (indus | rad)"
SLOPE = "y ~ x + x0 + x1 + (x | g)"
# File, formula, REML; deviance, theta (None: not pinned) and the higher minimum.
# Panels: plm, Ecdat and AER (R); lme4 1.1-31 from the theta given, or its objective there
# (of the fatalities it ends at the higher minimum); the others by the dense deviance from
# 20 random starts.
MINIMA = [
    ("gasoline", GASOLINE, True, -2 * 279.0734004, [4.5681, 1.1747], -2 * 272.8411),
    ("gasoline", GASOLINE, False, -2 * 287.7548073, [4.3990, 1.1561], -2 * 282.4769),
    ("cigar", CIGAR, True, 2 * 4208.3811048, [0.8954, 4.2807], 2 * 4237.4893),
    ("cigar", CIGAR, False, 2 * 4208.0531839, [0.8947, 4.1769], 2 * 4233.4471),
    ("intercept_26_rows", "y ~ x0 + (1 | g)", False, 74.758646, [1.0897], 75.041879),
    ("slope_12_rows", "y ~ x + (x | g)", False, 36.740402, [0.0, 0.0, 0.0], 36.787516),
    ("slope_35_rows", "y ~ x + (x | g)", False, 116.037175, [0.0, 0.0, 0.0], 116.037294),
    ("slope_36_rows", SLOPE, True, 182.661371, [13.4225, -2.4696, 0.19001], 185.729779),
    (
        "fatalities",
        FATALITIES,
        False,
        1407.1673578,
        [10.4455, -36.5397, 30.1786],
        1426.24364,
    ),
    ("fatalities", FATALITIES, True, 1399.0869937, [10.6481, -37.3553, 31.0292], 1425.1587),
    ("hedonic", HEDONIC, False, 174.9602353, [1.2913, -0.2449, 0.0], 175.3447456),
]


@pytest.fixture(scope="module", params=MINIMA, ids=lambda p: f"{p[0]}-{p[2]}")
def case(request):
    name, formula, reml, *values = request.param
    return mx.mixedlm(formula, pd.read_csv(DATA / f"{name}.csv")), reml, *values


def test_the_lowest_minimum_is_found(case):
    model, reml, deviance, theta, _ = case
    result = model.fit(reml=reml)
    assert result.deviance == pytest.approx(deviance, abs=1e-6 + 1e-8 * abs(deviance))
    np.testing.assert_allclose(result.theta, theta, atol=1e-4)


def test_both_minima_are_told(case):
    model, reml, deviance, _, higher = case
    verdict = model.fit(reml=reml).convergence
    assert verdict.minima == pytest.approx([deviance, higher], abs=2e-4)
    assert verdict.found_from in ("grid", "within")
    assert "the lowest of 2 minima that were seen" in verdict.message
    assert f"{verdict.minima[1]:.8g}" in verdict.message
    assert not verdict.others_may_exist


def test_refits_find_it(case):
    """Batches, in other units, and one by one."""
    model, reml, deviance, theta, _ = case
    y = np.column_stack([model.endog, 3.0 * model.endog - 7.0])
    refits = model.fit_many(y, reml=reml)
    assert refits.llf[0] == pytest.approx(-0.5 * deviance, abs=1e-5)
    np.testing.assert_allclose(refits.theta, [theta, theta], atol=1e-4)


def test_many_refits_find_it(case):
    """With a share of the look that does not depend on the response."""
    model, reml, _, theta, _ = case
    y = np.outer(model.endog, np.linspace(0.5, 3.0, 300))
    refits = model.fit_many(y, reml=reml)
    np.testing.assert_allclose(refits.theta, np.tile(theta, (300, 1)), atol=1e-4)


# File, formula, REML; deviance and the standard deviation of the only term that the data
# tell of, by the dense deviance along it.
HIDDEN = [
    # no variance is lower by 2.8e-5 than the minimum at 0.15415
    ("zero_is_lower", "y ~ x0 + (1 | g)", False, 63.1379203234664, 0.0),
    # two minima nearer to each other than the grid, 229.25755 at 0.16999; X takes g in
    (
        "nested_narrow_minimum",
        "y ~ x0 + x1 + x2 + x3 + (1 | g/h)",
        True,
        229.2344035767105,
        0.5247477,
    ),
]


@pytest.mark.filterwarnings(
    "ignore::mixedext.exceptions.FlatLikelihoodWarning",
    "ignore::mixedext.exceptions.RankDeficientWarning",
)
@pytest.mark.parametrize(("name", "formula", "reml", "deviance", "size"), HIDDEN)
def test_minima_hidden_between_points_are_found(name, formula, reml, deviance, size):
    model = mx.mixedlm(formula, pd.read_csv(DATA / f"{name}.csv"))
    result = model.fit(reml=reml)
    assert result.deviance == pytest.approx(deviance, abs=1e-7)
    assert result.theta[-1] == pytest.approx(size, abs=1e-5)
    assert result.convergence.found_from == "grid"
    y = np.column_stack([model.endog, 3.0 * model.endog - 7.0])
    refits = model.fit_many(y, reml=reml)
    assert refits.llf[0] == pytest.approx(-0.5 * deviance, abs=1e-7)
    np.testing.assert_allclose(refits.theta[:, -1], size, atol=1e-5)


def test_one_start_is_left_alone(case):
    """What the user gives is where the search begins and ends."""
    model, reml, _, _, higher = case
    if len(model._design.structures) == 1:
        start = [0.0] * model._design.structures[0].n_theta
    else:
        start = [3.3, 0.02] if higher < 0 else [1.0, 0.1]
    result = model.fit(reml=reml, start_params=start)
    assert result.convergence.minima == pytest.approx([result.deviance])


@pytest.mark.formula_engine
def test_slopes_of_crossed_factors_start_from_far_out():
    """Eight years of a panel; lme4 1.1-31 stops at 3231.2 (nloptwrap), 3231.9 (bobyqa)."""
    data = pd.read_csv(DATA / "cigar.csv")
    data = data[data["year"].isin([64, 65, 66, 71, 77, 78, 85, 88])]
    result = mx.mixedlm(
        "sales ~ pop16 + ndi + pop + (pop | state) + (1 | year)", data
    ).fit()
    assert result.convergence.minima == pytest.approx([3217.5417618, 3229.4244058])
    assert result.convergence.found_from == "other"


@pytest.mark.formula_engine
def test_drop1_compares_lowest_minima():
    """The reduced model's fit used to stop at 73.93578."""
    data = pd.read_csv(DATA / "drop1_two_minima.csv")
    model = mx.mixedlm("y ~ f*h*x + z + I(z**2) + (1 | a)", data)
    table = model.fit().drop1(test="lrt")
    assert table.loc["f:h:x", "statistic"] == pytest.approx(1.4782, abs=1e-4)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + (1 | g)",
        "y ~ x + (x | g)",
        "y ~ x + (x || g)",
        "y ~ x + (1 | g) + (1 | h)",
        "y ~ x + (1 | g/h)",
        "y ~ x + (x | g) + (1 | h)",
    ],
)
def test_no_random_start_ends_lower_and_refits_equal_fits(formula, reml):
    rng = np.random.default_rng([len(formula), reml])
    n = 24
    data = pd.DataFrame(
        {
            "g": rng.choice(5, n, p=[0.4, 0.3, 0.1, 0.1, 0.1]),
            "h": rng.integers(0, 4, n),
            "x": rng.normal(size=n) + 1.0,
        }
    )
    y = np.array([rng.normal(size=5)[data.g] * s + rng.standard_t(2, n) for s in (0, 1, 3)])
    model = mx.mixedlm(formula, data.assign(y=y[0]))
    refits = model.fit_many(y.T, reml=reml)
    for r, own in enumerate(y):
        fit = fit_design(mx.mixedlm(formula, data.assign(y=own))._design, reml)
        assert refits.llf[r] == pytest.approx(fit.log_likelihood, abs=1e-6)
        assert fit.convergence.minima[0] == fit.deviance
        for _ in range(5):
            start = np.abs(fit.theta) * np.exp(rng.normal(size=len(fit.theta))) + 0.1
            other = fit_design(fit.design, reml, start)
            assert fit.deviance < other.deviance + 1e-6


def test_a_singular_end_is_left_along_its_boundary():
    """lam = [[0, 0], [0, c]] has no slope along the correlation; [[0, 0], [c, 0]] has."""
    data = pd.read_csv(DATA / "singular_saddle.csv")
    model = mx.mixedlm("y ~ x + x0 + x1 + x2 + (x | g)", data)
    fit = fit_design(model._design, False)
    assert fit.deviance == pytest.approx(219.74597309523824, abs=1e-6)
    # and from a start that is such a point
    alone = fit_design(model._design, False, start=np.array([0.0, 0.0, 0.3]))
    assert alone.deviance == pytest.approx(fit.deviance, abs=1e-6)
    refits = model.fit_many(model.endog[:, None], reml=False)
    assert refits.llf[0] == pytest.approx(fit.log_likelihood, abs=1e-7)


def test_nothing_is_looked_at_where_rows_are_many(monkeypatch):
    model = mx.mixedlm(CIGAR, pd.read_csv(DATA / "cigar.csv"))
    assert other_starts(model._design).looks
    monkeypatch.setattr(rivals, "MANY_ROWS", 1000)
    assert not other_starts(model._design).looks


def test_one_variance_is_compared_with_none_whatever_the_rows(monkeypatch):
    name, formula, reml, deviance, _ = HIDDEN[0]
    monkeypatch.setattr(rivals, "MANY_ROWS", 10)
    model = mx.mixedlm(formula, pd.read_csv(DATA / f"{name}.csv"))
    np.testing.assert_array_equal(other_starts(model._design).axes.sizes, [[0.0]])
    result = model.fit(reml=reml)
    assert result.deviance == pytest.approx(deviance, abs=1e-7)
    refits = model.fit_many(model.endog[:, None], reml=reml)
    assert refits.llf[0] == pytest.approx(-0.5 * deviance, abs=1e-7)


def test_balanced_designs_need_no_look():
    """The moments are the REML estimates, and the only minimum."""
    model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data)
    assert model.fit().convergence.n_evaluations == 1


def test_promising_points_are_low_or_lower_than_their_neighbours():
    values = np.array([3.0, 1.0, 2.0, np.inf, 5.0, 4.0])
    line = np.column_stack([np.arange(6) - 1, np.r_[np.arange(1, 6), -1]])
    assert promising_points(values, line, 1).tolist() == [1, 5]
    assert promising_points(values, line, 3).tolist() == [1, 2, 0, 5]


def test_grid_has_every_combination_and_its_neighbours():
    rng = np.random.default_rng(0)
    g, z = rng.integers(0, 4, 40), np.column_stack([np.ones(40), rng.normal(size=40)])
    design = prepare_design(rng.normal(size=40), np.ones((40, 1)), [RandomTerm(g, z, "g")])
    others = other_starts(design)
    joint = rivals.DIRECTIONS * rivals.JOINT_SIZES
    assert len(others.points) == joint + rivals.APART**2
    assert (others.points[:joint, 2] == 0).all()
    assert (others.points[joint:, 1] == 0).all()
    # directions go round, standard deviations do not
    assert (others.neighbours[:joint, :2] >= 0).all()
    assert (others.neighbours[joint:] == -1).sum() == 4 * rivals.APART
    assert len(np.unique(others.points.round(12), axis=0)) == len(others.points)
    # every step along an axis has its way back
    for number, around in enumerate(others.neighbours):
        for other in around[around >= 0]:
            assert number in others.neighbours[other]
    assert others.axes.owner.tolist() == [0, 1, 1]
    assert others.axes.own.tolist() == [0, 2]
    uncorrelated = other_starts(mx.mixedlm("y ~ 1 + (x || g)", _slopes(40))._design)
    assert len(uncorrelated.points) == rivals.SIZES[2] ** 2


def _slopes(n):
    rng = np.random.default_rng(n)
    g, x = np.arange(n) % (n // 2), rng.normal(size=n)
    return pd.DataFrame({"y": rng.normal(size=n), "x": x, "g": g})


def test_effects_that_could_take_all_rows_are_doubtful():
    data = _slopes(16)
    for formula, reml, expected in [
        ("y ~ x + (x | g)", False, True),
        ("y ~ x + (x | g)", True, False),
        ("y ~ x + (1 | g)", False, False),
    ]:
        design = mx.mixedlm(formula, data)._design
        others = other_starts(design)
        found = rivals.may_be_others(others, 16, reml, 8.0, np.ones(3), False)
        assert found == expected
    more = other_starts(
        mx.mixedlm("y ~ x + (x | g)", data.assign(g=np.arange(16) % 4))._design
    )
    assert not rivals.may_be_others(more, 16, False, 8.0, np.ones(3), False)


def dense_deviance(result, *scales, reml=False):
    """The deviance, standard deviations of the terms ``scales`` times sigma."""
    v = np.eye(int(result.nobs))
    for term, scale in zip(result.model.terms, scales, strict=True):
        z = np.zeros((len(v), term.n_levels, term.k))
        z[np.arange(len(v)), term.codes] = scale * term.z
        z = z.reshape(len(v), -1)
        v += z @ z.T
    return deviance_of(v, result, reml)


def deviance_of(v, result, reml):
    """The deviance of rows with the covariance sigma^2 v."""
    root = np.linalg.cholesky(v)
    of_all = np.column_stack([result.model.exog, result.model.endog])
    upper = np.linalg.qr(np.linalg.solve(root, of_all), mode="r").diagonal()
    logs = 2 * np.log(np.diag(root)).sum()
    logs += 2 * np.log(np.abs(upper[:-1])).sum() if reml else 0.0
    dof = len(v) - (len(upper) - 1 if reml else 0)
    return logs + dof * (1 + np.log(2 * np.pi * upper[-1] ** 2 / dof))


def of_twelve_rows():
    """Four columns, and cells of one and two rows in pairs and in triples."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(12, 5)), columns=["y", "x", "z", "w", "v"])
    data["triple"] = np.arange(12) % 4
    data["cell"] = np.r_[0, 0, 2:12]
    data["most"] = np.r_[0, 0, 2, 2, 4, 4, 6:12]
    return data.assign(pair=np.arange(12) // 2)


# Terms; the effects that fall, and their rank of 12.
WITHOUT_END = [
    ("(1 | most)", (1,), 9),  # with X of rank 12
    ("(1 | triple) + (1 | cell)", (0, 1), 11),  # with those of triples they are of rank 12
    ("(1 | pair) + (1 | triple)", (1, 1), 8),  # with X of rank 12
]


@pytest.mark.formula_engine
@pytest.mark.parametrize(("bars", "which", "rank"), WITHOUT_END)
def test_a_likelihood_without_a_maximum_is_told(bars, which, rank):
    """X and Z explain any response: the deviance falls as 2 (rank - n) log of the size."""
    model = mx.mixedlm(f"y ~ x + z + w + v + {bars}", of_twelve_rows())
    result = model.fit(reml=False)
    verdict = result.convergence
    near, far = (dense_deviance(result, *(s * w for w in which)) for s in (1e4, 1e5))
    assert far - near == pytest.approx(2 * (rank - 12) * np.log(10), abs=1e-3)
    assert verdict.is_unbounded
    assert verdict.others_may_exist
    assert "falls without end" in verdict.message
    assert "no maximum" in str(result.report())
    assert not model.fit(reml=True).convergence.is_unbounded  # it has a limit


def of_nine_rows(seed):
    """Three columns, and four levels of two rows and one of three."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(rng.normal(size=(9, 5)), columns=["y", "x", "z", "w", "v"])
    return data.assign(g=[0, 0, 0, 1, 1, 2, 2, 3, 3])


def restricted_at_ratio(result, ratio, size):
    """The restricted deviance with effects ``size`` (1 + ratio x) sigma of each level."""
    data = result.model.data.frame
    z = np.eye(4)[data["g"]] * (size * (1 + ratio * data["x"].to_numpy()))[:, None]
    return deviance_of(np.eye(9) + z @ z.T, result, reml=True)


def ratio_that_explains(data):
    """A ratio of slope and intercept with which the levels and X leave no residual."""
    fixed = np.column_stack([np.ones(9), data[["z", "w", "v"]]])

    def rest(angle):
        z = np.cos(angle) + np.sin(angle) * data["x"].to_numpy()
        both = np.hstack([fixed, np.eye(4)[data["g"]] * z[:, None]])
        minors = [np.linalg.det(np.delete(both, i, axis=0)) * (-1) ** i for i in range(9)]
        return float(np.array(minors) @ data["y"])

    angles = np.linspace(-1.5, 1.5, 300)
    values = [rest(a) for a in angles]
    k = int(np.flatnonzero(np.diff(np.sign(values)))[0])
    return np.tan(optimize.brentq(rest, angles[k], angles[k + 1], xtol=1e-15))


@pytest.mark.formula_engine
@pytest.mark.parametrize("seed", [2, 4, 9])
def test_a_ratio_of_deviations_that_explains_the_response_is_told(seed):
    """Four levels and X of rank four leave one of nine rows, and the ratio takes it.

    The restricted deviance falls as 2 (4 - 5) log of the size.
    """
    data = of_nine_rows(seed)
    result = mx.mixedlm("y ~ z + w + v + (x | g)", data).fit()
    ratio = ratio_that_explains(data)
    near, far = (restricted_at_ratio(result, ratio, s) for s in (1e3, 1e4))
    assert far - near == pytest.approx(-2 * np.log(10), abs=0.1)
    verdict = result.convergence
    assert verdict.is_unbounded
    assert verdict.message.endswith(
        "falls without end as variances grow: leave out effects"
    )


@pytest.mark.formula_engine
def test_a_ratio_of_deviations_of_two_terms_that_explains_the_response_is_told():
    """At correlations of one, and at one ratio of intercept and slope."""
    data = pd.DataFrame(
        {
            "y": [-0.697, 1.201, -0.341, 0.454, 0.349, 1.878, 0.435, 0.509, -0.26, -0.93],
            "x": [-2.541, 2.149, 0.794, 2.561, -0.053, 0.166, 0.327, 0.532, -0.564, 1.706],
            "f": list("baababbaba"),
            "g": list("0121121112"),
            "h": list("1121200222"),
        }
    )
    result = mx.mixedlm("y ~ x + f + (x | g:h) + (1 | h)", data).fit()
    cell, inner = pd.get_dummies(data["g"] + data["h"]), pd.get_dummies(data["h"])
    columns = np.column_stack([np.ones(10), data["f"] == "b", data["x"], data["y"]])

    def deviance(theta):
        slope = cell.to_numpy(float) * (theta[0] + theta[1] * data[["x"]].to_numpy())
        z = np.hstack([slope, theta[2] * inner.to_numpy(float)])
        v = np.eye(10) + z @ z.T
        root = np.linalg.qr(np.linalg.solve(np.linalg.cholesky(v), columns), mode="r")
        log_det = np.linalg.slogdet(v)[1] + 2 * np.log(abs(root.diagonal()[:3])).sum()
        return log_det + 7 * (1 + np.log(2 * np.pi * root[3, 3] ** 2 / 7))

    assert deviance(result.theta[[0, 1, 3]]) == pytest.approx(result.deviance, rel=1e-6)
    near, far = (
        optimize.minimize(
            lambda ratio, size=size: deviance([size * ratio[0], size, size * ratio[1]]),
            [0.2, 1.4],
            method="Nelder-Mead",
            options={"xatol": 1e-13, "maxfev": 2000},
        ).fun
        for size in (1e2, 1e4)
    )
    assert far < near - 2 * np.log(10)
    assert far < result.deviance - 10
    assert result.convergence.is_unbounded


@pytest.mark.formula_engine
def test_a_search_that_runs_off_says_why():
    model = mx.mixedlm("y ~ z + w + v + (x | g)", of_nine_rows(0))
    with pytest.warns(ConvergenceWarning, match="falls without end as variances grow"):
        verdict = model.fit().convergence
    assert verdict.status == "failed"
    assert verdict.is_unbounded
    assert "a local one" not in verdict.message


@pytest.mark.formula_engine
def test_a_lower_limit_of_no_residual_is_told():
    model = mx.mixedlm("y ~ x + z + w + v + (1 | triple) + (1 | cell)", of_twelve_rows())
    result = model.fit()
    verdict = result.convergence
    assert verdict.has_lower_limit
    assert not verdict.is_unbounded
    assert "lower in the limit of no residual variance" in verdict.message
    assert "no residual variance" in str(result.report())
    # at a ratio of standard deviations of 5.65; arithmetic of fifty digits: 25.4329383
    limit = dense_deviance(result, 5.652242e4, 1e4, reml=True)
    assert limit == pytest.approx(25.43294, abs=1e-4)
    assert result.deviance == pytest.approx(dense_deviance(result, 0, 0, reml=True))
    assert result.deviance > limit + 2


def test_effects_as_many_as_rows_that_leave_a_residual_are_bounded():
    model = mx.mixedlm("y ~ x + (1 | pair) + (1 | triple)", of_twelve_rows())
    result = model.fit(reml=False)
    assert other_starts(model._design).far.shape == (2, 3, 2)  # 12 columns, of rank 11
    assert dense_deviance(result, 1e4, 1e4) > dense_deviance(result, 1e3, 1e3)
    assert not result.convergence.is_unbounded


def test_runaway_minima_are_doubtful():
    """Hardly more rows than parameters: the deviance may fall to ever larger variances."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(20):
        g = np.arange(10) % 4
        x = rng.normal(size=10)
        data = pd.DataFrame({"y": rng.normal(size=10), "x": x, "g": g, "z": x**2})
        verdict = mx.mixedlm("y ~ x + z + (x | g)", data).fit().convergence
        if verdict.others_may_exist:
            assert "lower minima may exist" in verdict.message
            found += 1
    assert 0 < found < 20


def far_from_zero(mean):
    """Balanced rows whose mean lies far from zero, and is no column of X."""
    rng = np.random.default_rng(8)
    g, x = np.repeat(np.arange(6), 5), np.tile(np.arange(1.0, 6), 6)
    y = mean + rng.normal(size=6)[g] + rng.normal(size=30)
    return pd.DataFrame({"y": y, "x": x, "z": rng.normal(size=30), "g": g})


def highest_of_one_intercept(data, reml):
    """The highest log-likelihood of y ~ 0 + x + (1 | g), over the size of u."""
    same = (data["g"].to_numpy()[:, None] == data["g"].to_numpy()) * 1.0
    columns, n = data[["x", "y"]].to_numpy(), len(data)
    dof = n - 1 if reml else n

    def deviance(log_size):
        v = np.eye(n) + np.exp(2 * log_size) * same
        root = np.linalg.qr(np.linalg.solve(np.linalg.cholesky(v), columns), mode="r")
        log_det = np.linalg.slogdet(v)[1] + reml * 2 * np.log(abs(root[0, 0]))
        return log_det + dof * (1 + np.log(2 * np.pi * root[1, 1] ** 2 / dof))

    ends = [(a, a + 1) for a in np.arange(-3.0, 16)]
    found = (optimize.minimize_scalar(deviance, bounds=e, method="bounded") for e in ends)
    return -0.5 * min(one.fun for one in found)


@pytest.mark.formula_engine
@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("mean", [1e2, 1e4, 1e6])
def test_means_far_from_zero_that_are_no_column(mean, reml):
    """The slope takes half of the mean, and hides how small sigma is."""
    data = far_from_zero(mean)
    model = mx.mixedlm("y ~ 0 + x + (1 | g)", data)
    result = model.fit(reml=reml)
    # V loses digits: theta is up to 1e6
    llf = pytest.approx(highest_of_one_intercept(data, reml), abs=1e-3)
    assert result.llf == llf
    assert 0.5 < result.scale < 2
    for count in (2, 300):  # alone, and with the look shared
        y = data["y"].to_numpy()[:, None] + np.linspace(0, 1, count)
        assert model.fit_many(y, reml=reml).llf[0] == pytest.approx(result.llf, abs=1e-6)
    larger = mx.mixedlm("y ~ 0 + x + (1 | g) + (0 + z | g)", data)
    assert larger.fit(reml=reml).llf > result.llf - 1e-6


@pytest.mark.filterwarnings("ignore:The random effects covariance")
@pytest.mark.filterwarnings("ignore:minimum, but flat")  # along the two intercepts
@pytest.mark.formula_engine
@pytest.mark.parametrize(("reml", "llf"), [(False, -82.0253101), (True, -81.9823752)])
def test_variances_that_explain_nearly_all_are_found_far_out(reml, llf):
    """Sizes up to 20 do not lead there: the intercept's is 8.6e5, that of x 3e-3."""
    y = [-1.054, 0.168, 0.282, 0.374, 1.749, -0.372, -2.094, 0.019]
    y += [0.486, -1.866, 1.609, -0.066, -0.01, -1.315, -0.55, 0.95]
    x = [248, 244, 86, 51, 219, 233, 217, 132, 168, 63, 245, 10, 96, 86, 163, 163]
    g = [1, 2, 3, 2, 1, 2, 1, 3, 1, 3, 0, 0, 0, 2, 2, 3]
    data = pd.DataFrame({"y": 1e6 + np.array(y), "x": np.array(x, float), "g": g})
    formula = "y ~ 0 + np.log(x + 1) + (1 | g) + (x | g)"
    with pytest.warns(mx.UnidentifiedVarianceWarning):  # of two intercepts
        model = mx.mixedlm(formula, data)
    assert model.fit(reml=reml).llf == pytest.approx(llf, abs=1e-6)
    same = mx.mixedlm(formula.replace("(1 | g) + ", ""), data).fit(reml=reml)
    assert same.llf == pytest.approx(llf, abs=1e-6)
    shifted = data["y"].to_numpy()[:, None] + np.linspace(0, 1, 2)
    assert model.fit_many(shifted, reml=reml).llf[0] == pytest.approx(llf, abs=1e-6)


@pytest.mark.filterwarnings("ignore:The random effects covariance")
@pytest.mark.formula_engine
def test_few_rows_that_may_be_explained_are_looked_at_in_narrow_valleys():
    """The lowest minimum lies at a correlation of one, beyond the sizes of others."""
    y = [1.247, -2.257, 0.654, 0.248, 0.502, -0.536, 0.606, -1.668]
    y += [-0.973, -0.196, -0.356, -0.084, -1.67, -0.43, -0.525]
    x = [-0.14, -0.95, 0.915, 1.369, 0.008, -0.577, -0.852, 1.203]
    x += [-0.134, -0.097, 0.025, 0.235, -0.942, -0.055, -0.095]
    factors = {"f": "bbaaabaabaabaaa", "g": "200301113100022", "h": "020110020200011"}
    data = pd.DataFrame({"y": y, "x": x, **{k: list(v) for k, v in factors.items()}})
    model = mx.mixedlm("y ~ x + f + (x | g:h) + (1 | h)", data)
    assert model.fit().deviance == pytest.approx(33.6582276, abs=1e-6)


@pytest.mark.filterwarnings("ignore:The random effects covariance")
@pytest.mark.formula_engine
def test_few_are_the_searches_from_far_out_where_there_are_many_variances(monkeypatch):
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.arange(40) % 5, "y": rng.normal(size=40)})
    data["f"] = rng.permutation(np.repeat([f"f{i}" for i in range(20)], 2))
    starts = []
    monkeypatch.setattr(
        _Minima, "_without_residual", lambda self, start: starts.append(start)
    )
    model = mx.mixedlm("y ~ 1 + (f || g)", data)
    n_theta = len(model.fit().theta)
    assert n_theta > 15
    assert 0 < len(starts) <= 300 / n_theta


@pytest.mark.filterwarnings("ignore:The random effects covariance")
@pytest.mark.filterwarnings("ignore:minimum, but flat")
@pytest.mark.formula_engine
def test_no_more_searches_than_are_allowed(monkeypatch):
    """With none a fit and a refit end where the moments lead, above the lowest minimum."""
    y = [-1.054, 0.168, 0.282, 0.374, 1.749, -0.372, -2.094, 0.019]
    y += [0.486, -1.866, 1.609, -0.066, -0.01, -1.315, -0.55, 0.95]
    x = [248, 244, 86, 51, 219, 233, 217, 132, 168, 63, 245, 10, 96, 86, 163, 163]
    g = [1, 2, 3, 2, 1, 2, 1, 3, 1, 3, 0, 0, 0, 2, 2, 3]
    data = pd.DataFrame({"y": 1e6 + np.array(y), "x": np.array(x, float), "g": g})
    model = mx.mixedlm("y ~ 0 + np.log(x + 1) + (x | g)", data)
    two = data["y"].to_numpy()[:, None] + np.linspace(0, 1, 2)
    lowest = model.fit().llf
    assert model.fit_many(two).llf[0] == pytest.approx(lowest, abs=1e-6)
    for place in ("search.optimize", "refits.batches"):
        monkeypatch.setattr(f"mixedext.engine.{place}.most_searches", lambda n: 0)
    assert model.fit().llf < lowest - 0.01
    assert model.fit_many(two).llf[0] < lowest - 0.01
