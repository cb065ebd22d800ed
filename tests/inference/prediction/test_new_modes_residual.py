"""Modes of new levels beside a residual covariance, against n x n matrices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.residual.rows import residual_curves
from mixedext.exceptions import FormulaError
from mixedext.specification.covariance.residual_curve import Places

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings("ignore::mixedext.exceptions.ModelWarning"),
]

MODELS = [
    ("y ~ x + (1 | g)", "ar1(visit | g)", None),
    ("y ~ x + (x | g)", "ar1h(visit | g)", None),
    ("y ~ x + (1 | g)", "car1(t | g)", "exp(x)"),
    ("y ~ x + (1 | g)", "ar1(visit | g, by=arm)", None),
    ("y ~ x + (1 | g)", None, "ident(sex)"),
    ("y ~ x + homcs(0 + C(sex) | g)", "toep(visit | g, bands=2)", None),
]
STEP = 1e-3


def split(seed=0):
    """Data of the fit, rows of levels that it had not, and later rows of all."""
    rng = np.random.default_rng(seed)
    g, visit = np.divmod(np.arange(20 * 6), 6)
    data = pd.DataFrame({"g": g, "visit": visit + 1, "arm": np.where(g % 2, "a", "b")})
    data["t"] = visit + rng.uniform(0, 0.6, len(g))
    data["x"], data["w"] = rng.normal(size=len(g)), rng.uniform(0.5, 2.0, len(g))
    data["sex"] = rng.choice(["f", "m"], len(g))
    data["h"] = rng.integers(0, 5, len(g))
    noise = rng.normal(size=(20, 6))
    for v in range(1, 6):
        noise[:, v] += 0.6 * noise[:, v - 1]
    slope = rng.normal(size=20)[g] * data["x"]
    data["y"] = 1 + data["x"] + 1.2 * rng.normal(size=20)[g] + slope + noise.ravel()
    data = data[rng.random(len(g)) > 0.15].reset_index(drop=True)
    old = data[data["g"] < 17].reset_index(drop=True)
    new = data[(data["g"] >= 17) & (data["visit"] < 5)].reset_index(drop=True)
    later = data[(data["g"] >= 15) & (data["visit"] >= 4)].reset_index(drop=True)
    return old, new, later


class Dense:
    """Predictors of the old rows and of the new ones given these, at any parameters.

    Parameters are the covariances of the terms by theta, psi and log sigma^2.
    """

    def __init__(self, result, old, new, wanted, weighted):
        self.result, self.frames = result, (old, new, wanted)
        self.fit = result.fitted.fit
        self.bound, self.estimate = self.fit.residual.bound, self.fit.residual
        self.weights = [
            f["w"].to_numpy() if weighted else np.ones(len(f)) for f in self.frames
        ]
        self.x = [np.column_stack([np.ones(len(f)), f["x"]]) for f in self.frames]
        self.at = np.concatenate(
            [self.estimate.theta, self.estimate.psi, [np.log(result.scale)]]
        )
        self.structures = self.estimate.deviance.structures
        self.curves = residual_curves(self.bound)
        self.placed = [list(self.groups(f)) for f in self.frames]

    def columns(self, term, frame):
        sex = frame["sex"]
        known = {"Intercept": np.ones(len(frame)), "x": frame["x"]}
        known |= {"C(sex)[f]": sex == "f", "C(sex)[m]": sex == "m"}
        return np.column_stack([np.asarray(known[name], float) for name in term.names])

    def effects(self, p, a, b):
        """Covariance of the random effects of two frames."""
        out, start, scale = 0.0, 0, np.exp(p[-1])
        pairs = zip(self.result.fitted.random.terms, self.structures, strict=True)
        for term, s in pairs:
            sigma = scale * s.matrix(p[start : start + s.n_theta])
            start += s.n_theta
            same = a[term.group].to_numpy()[:, None] == b[term.group].to_numpy()
            out = out + same * (self.columns(term, a) @ sigma @ self.columns(term, b).T)
        return out

    def groups(self, frame):
        """Rows of each residual group, its level, and where they stand."""
        bound, group = self.bound, frame["g"].to_numpy()
        if bound.correlation is None:
            group = np.arange(len(frame))
        columns = {
            name: frame[name].astype(str).to_numpy() for name in ("sex", "arm", "visit")
        }
        visit, time, x = (frame[name].to_numpy() for name in ("visit", "t", "x"))
        for g in np.unique(group):
            at = np.flatnonzero(group == g)
            place = visit[at][None] - 1
            if bound.correlation is not None and not bound.correlation.over_visits:
                place = np.abs(time[at][:, None] - time[at])[None]
            strata, covariates = [], []
            for labels, function in zip(bound.strata_labels, bound.functions, strict=True):
                codes = np.zeros(len(at), np.intp)
                for own in columns.values():
                    if labels and own[at[0]] in labels:
                        codes = np.array([labels.index(v) for v in own[at]])
                strata.append(codes[None])
                covariates.append(x[at][None] if function.uses_covariate else None)
            level = 0
            if bound.level_labels:
                level = list(bound.level_labels).index(columns["arm"][at[0]])
            yield at, level, Places(place, strata, covariates)

    def residual(self, p, k):
        """That of the residuals of a frame."""
        psi, n = p[len(self.estimate.theta) : -1], len(self.frames[k])
        out = np.zeros((n, n))
        for at, level, places in self.placed[k]:
            curve = self.curves[level]
            out[np.ix_(at, at)] = curve.matrix(psi[curve.at], places)[0]
        w = np.sqrt(self.weights[k])
        return np.exp(p[-1]) * out / np.outer(w, w)

    def weights_at(self, p):
        """Weights of old and new rows in the predictors."""
        old, new, wanted = self.frames
        x, xn, xw = self.x
        vi = np.linalg.inv(self.effects(p, old, old) + self.residual(p, 0))
        to_beta = np.linalg.solve(x.T @ vi @ x, x.T @ vi)
        rest = vi @ (np.eye(len(x)) - x @ to_beta)
        vn = self.effects(p, new, new) + self.residual(p, 1)
        a = np.linalg.solve(vn, self.effects(p, new, wanted)).T  # new levels alone share
        to_u = self.effects(p, wanted, old) @ rest
        known_new = self.effects(p, new, old)
        assert not known_new.any()
        return xw @ to_beta + to_u - a @ xn @ to_beta, a

    def joint(self, p):
        """Covariance of the old rows, the new ones, and the effects of those wanted."""
        parts = [[self.effects(p, a, b) for b in self.frames] for a in self.frames]
        parts[0][0] = parts[0][0] + self.residual(p, 0)
        parts[1][1] = parts[1][1] + self.residual(p, 1)
        return np.block(parts)

    def errors(self, weights, p):
        """Variances of the errors of predictors with these weights."""
        return self.quadratic(weights, self.joint(p))

    def quadratic(self, weights, joint):
        whole = np.hstack([*weights, -np.eye(len(weights[0]))])
        return np.einsum("na,ab,nb->n", whole, joint, whole)

    def slopes(self, function):
        """d function / d parameters by differences of order six."""
        out = []
        for r in range(len(self.at)):
            total = 0.0
            for k, weight in ((1, 45.0), (2, -9.0), (3, 1.0)):
                step = np.zeros(len(self.at))
                step[r] = k * STEP
                total = total + weight * (
                    function(self.at + step) - function(self.at - step)
                )
            out.append(total / (60 * STEP))
        return out

    def spread(self):
        """Inverse expected information of the restricted likelihood."""
        old, x = self.frames[0], self.x[0]
        v = self.effects(self.at, old, old) + self.residual(self.at, 0)
        vi = np.linalg.inv(v)
        p = vi - vi @ x @ np.linalg.solve(x.T @ vi @ x, x.T @ vi)
        moved = [
            p @ m
            for m in self.slopes(lambda q: self.effects(q, old, old) + self.residual(q, 0))
        ]
        return np.linalg.inv([[np.sum(s * t.T) / 2 for t in moved] for s in moved])

    def rise(self, w):
        """-sum W_rs of derivatives of the variances by parameters r, and s of weights."""
        total, moved = 0.0, self.slopes(self.joint)

        def partial(q):  # the derivatives by r, of weights at q
            weights = self.weights_at(q)
            return np.array([self.quadratic(weights, m) for m in moved])

        for s, own in enumerate(self.slopes(partial)):
            total = total - np.einsum("r,rn->n", w[:, s], own)
        return total


def fitted(formula, residual, variance, old, weighted):
    options = {"weights": "w"} if weighted else {}
    model = mx.mixedlm(formula, old, residual=residual, variance=variance, **options)
    return model.fit()


@pytest.mark.parametrize(("formula", "residual", "variance"), MODELS)
@pytest.mark.parametrize("weighted", [False, True])
def test_dense(formula, residual, variance, weighted):
    old, new, later = split(2)
    result = fitted(formula, residual, variance, old, weighted)
    assert result.convergence.status == "interior", result.convergence.message
    modes = result.ranef_new(new, weights=new["w"] if weighted else None)
    dense = Dense(result, old, new, later, weighted)
    on_old, on_new = weights = dense.weights_at(dense.at)
    mean = on_old @ old["y"] + on_new @ new["y"]
    found = modes.get_prediction(later, df_method="z")
    assert_allclose(found.predicted_mean, mean, rtol=1e-8)
    variance = dense.errors(weights, dense.at)
    assert_allclose(found.var_pred_mean, variance, rtol=1e-7)
    w = later["w"] if weighted else None
    whole = modes.get_prediction(later, weights=w, df_method="z").var_pred_obs
    own = np.diag(dense.residual(dense.at, 2))
    assert_allclose(whole, variance + own, rtol=1e-7)
    # degrees of freedom, and what errors of the parameters add
    slopes = np.array(dense.slopes(lambda p: dense.errors(dense.weights_at(p), p)))
    spread = dense.spread()
    found = modes.get_prediction(
        later, df_method="kenward-roger-linear", information="expected", weights=w
    )
    assert_allclose(found.var_pred_mean, variance + dense.rise(spread), rtol=1e-5)
    df = 2 * variance**2 / np.einsum("rn,rs,sn->n", slopes, spread, slopes)
    assert_allclose(found.df, df, rtol=1e-5)
    both = slopes + np.array(dense.slopes(lambda p: np.diag(dense.residual(p, 2))))
    df_obs = 2 * (variance + own) ** 2 / np.einsum("rn,rs,sn->n", both, spread, both)
    assert_allclose(found.df_obs, df_obs, rtol=1e-5)


@pytest.mark.parametrize(("formula", "residual", "variance"), MODELS[:2])
def test_modes_and_their_covariance(formula, residual, variance):
    old, new, _ = split(2)
    result = fitted(formula, residual, variance, old, False)
    modes = result.ranef_new(new)
    term = result.fitted.random.terms[0]
    for number, level in enumerate(modes.values.index):
        one = new[new["g"] == level].head(1)
        for x in (0.0, 2.0):
            row = one.assign(x=x)
            found = modes.get_prediction(row, df_method="z").predicted_mean[0]
            z = np.array([1.0, x])[: term.k]
            mean = result.fe_params.iloc[0] + x * result.fe_params.iloc[1]
            assert_allclose(z @ modes.values.iloc[number], found - mean, rtol=1e-9)
    dense = Dense(result, old, new, new.iloc[:1].assign(x=1.0), False)
    weights = dense.weights_at(dense.at)
    z = np.ones(term.k)
    k = term.k
    own = z @ modes.cov.to_numpy()[:k] @ z
    alone = dense.weights_at(dense.at)[0] - np.array([1.0, 1.0]) @ _to_beta(dense)
    assert_allclose(own, dense.errors((alone, weights[1]), dense.at), rtol=1e-7)


def _to_beta(dense):
    old, x = dense.frames[0], dense.x[0]
    vi = np.linalg.inv(dense.effects(dense.at, old, old) + dense.residual(dense.at, 0))
    return np.linalg.solve(x.T @ vi @ x, x.T @ vi)


def test_independent_residuals_with_one_variance_are_the_plain_model():
    old, new, later = split(3)
    plain = mx.mixedlm("y ~ x + (x | g)", old).fit().ranef_new(new)
    beside = mx.mixedlm("y ~ x + (x | g)", old, residual=mx.Independent()).fit()
    found = beside.ranef_new(new)
    assert_allclose(found.values, plain.values, rtol=1e-6)
    assert_allclose(found.cov, plain.cov, rtol=1e-6)
    own = found.get_prediction(later, df_method="z")
    assert_allclose(
        own.var_pred_mean,
        plain.get_prediction(later, df_method="z").var_pred_mean,
        rtol=1e-6,
    )


def test_crossed_effects_have_z_intervals():
    old, new, later = split(4)
    result = mx.mixedlm("y ~ x + (1 | g) + (1 | h)", old, residual="ar1(visit | g)").fit()
    modes = result.ranef_new(new, "g")
    found = modes.get_prediction(later, df_method="z")
    assert np.isfinite(found.var_pred_mean).all()
    with pytest.raises(NotImplementedError, match=r"use df_method='z' or 'residual'"):
        modes.get_prediction(later)


def test_what_cannot_be_answered():
    old, new, later = split(5)
    result = mx.mixedlm("y ~ x + (1 | g)", old, residual="ar1(visit | g)").fit()
    with pytest.raises(FormulaError, match="no column 'visit'"):
        result.ranef_new(new.drop(columns="visit"))
    twice = pd.concat([new, new.iloc[:1]])
    with pytest.raises(mx.DevianceError, match="may stand at one visit"):
        result.ranef_new(twice)
    by_arm = mx.mixedlm("y ~ x + (1 | g)", old, residual="ar1(visit | g)").fit()
    with pytest.raises(NotImplementedError, match=r"residual=; use 'kenward-roger'"):
        by_arm.ranef_new(new).get_prediction(later, df_method="kenward-roger-2009")
    # a field that holds many levels
    old = old.assign(field=old["g"] % 3)
    old["place"] = old.groupby("field").cumcount()
    new = new.assign(field=new["g"] % 3, place=200.0 + np.arange(len(new)))
    field = mx.mixedlm("y ~ x + (1 | g)", old, residual="sp_exp(place | field)").fit()
    with pytest.raises(ValueError, match=r"rows of new levels in the residual group"):
        field.ranef_new(new)
    assert len(field.ranef_new(new.assign(field=9)).values)
