"""Modes of levels that were not fitted: dense algebra, slopes, predictions, refusals."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.engine.fit import evaluate_design
from mixedext.exceptions import FormulaError
from mixedext.fitted import Fitted
from mixedext.inference.prediction import new_modes

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
]

FORMULAS = [
    "y ~ x + (1 | g)",
    "y ~ x + (x | g)",
    "y ~ x + (x || g)",
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ x + (1 | h) + (1 | g:h)",
]


def split(seed=0, n=90):
    """Data of the fit, and rows of other levels of g, some also of h."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": rng.integers(0, 9, n), "h": rng.integers(0, 6, n)})
    data["x"], data["w"] = rng.normal(size=n), rng.uniform(0.4, 2.5, n)
    y = 1 + data["x"] + rng.normal(size=9)[data["g"]] + rng.normal(size=6)[data["h"]]
    y += (
        rng.normal(size=9)[data["g"]] * data["x"]
        + rng.normal(size=(9, 6))[data["g"], data["h"]]
    )
    data["y"] = y + rng.normal(size=n)
    new = (data["g"] >= 7) | (data["h"] == 5)
    return data[~new].reset_index(drop=True), data[new].reset_index(drop=True)


def labels_of(term, frame):
    names = term.group.split(":")
    return frame[names].astype(str).agg(":".join, axis=1)


def z_of(terms, frames, covariances):
    """Z of frames over all levels that any has, and G."""
    blocks, g = [[] for _ in frames], []
    for term, own in zip(terms, covariances, strict=True):
        levels = pd.Index(pd.unique(pd.concat([labels_of(term, f) for f in frames])))
        g.append(np.kron(np.eye(len(levels)), own))
        for block, frame in zip(blocks, frames, strict=True):
            code = levels.get_indexer(labels_of(term, frame))
            z = np.zeros((len(frame), len(levels), term.k))
            for a, name in enumerate(term.names):
                column = 1.0 if name == "Intercept" else frame[name]
                z[np.arange(len(frame)), code, a] = column
            blocks_of = z.reshape(len(frame), -1)
            block.append(blocks_of)
    size = sum(len(c) for c in g)
    whole, start = np.zeros((size, size), np.result_type(*g)), 0
    for c in g:
        whole[start : start + len(c), start : start + len(c)] = c
        start += len(c)
    return [np.hstack(b) for b in blocks], whole


class Dense:
    """Predictor b, u of the old rows, modes of the new ones given these; its errors."""

    def __init__(self, result, old, new, wanted, weighted):
        self.frames, self.terms = (old, new, wanted), result.fitted.random.terms
        self.w = [f["w"].to_numpy() if weighted else np.ones(len(f)) for f in (old, new)]
        self.x = [np.column_stack([np.ones(len(f)), f["x"]]) for f in self.frames]
        self.gamma = result.fitted.random.covariances, result.scale
        (z, zn, _), _ = self.variances(*self.gamma)
        self.fresh = ~(z != 0).any(axis=0)
        self.use = (zn[:, self.fresh] != 0).any(axis=1)

    def variances(self, covariances, scale):
        """Z of all frames, and G with the variances of errors of old and new rows."""
        z, g = z_of(self.terms, self.frames, covariances)
        return z, (g, *(scale / w for w in self.w))

    def weights(self, covariances, scale):
        """Weights of old and of new rows in the predictors, those of unused rows zero."""
        (z, zn, zw), (g, r, rn) = self.variances(covariances, scale)
        x, xn, xw = self.x
        vi = np.linalg.inv(z @ g @ z.T + np.diag(r))
        to_beta = np.linalg.solve(x.T @ vi @ x, x.T @ vi)
        to_u = g @ z.T @ vi @ (np.eye(len(x)) - x @ to_beta)  # zero for new levels
        prior = g * np.outer(self.fresh, self.fresh)
        xn, zn, rn = xn[self.use], zn[self.use], rn[self.use]
        a = prior @ zn.T @ np.linalg.inv(zn @ prior @ zn.T + np.diag(rn))
        on_old = xw @ to_beta + zw @ to_u - zw @ a @ (xn @ to_beta + zn @ to_u)
        # X goes out
        np.testing.assert_allclose(on_old @ x + zw @ a @ xn, xw, atol=1e-8)
        on_new = np.zeros((len(zw), len(self.use)), on_old.dtype)
        on_new[:, self.use] = zw @ a
        return on_old, on_new

    def errors(self, weights, covariances, scale):
        """Variances of on_old (Z u + e) + on_new (Z_n u + e_n) - Z_w u at parameters."""
        (z, zn, zw), (g, r, rn) = self.variances(covariances, scale)
        on_old, on_new = weights
        on_u = on_old @ z + on_new @ zn - zw
        parts = (on_u @ g) * on_u, on_old * r * on_old, on_new * rn * on_new
        return sum(part.sum(axis=1) for part in parts)

    def rise(self):
        """What errors of the parameters add: -sum W_rs of the derivatives of the errors'
        variances by the parameters r, and s of the weights (by complex steps)."""
        covariances, scale = self.gamma
        moves = []
        for number, term in enumerate(self.terms):
            for basis in term.structure.covariance_basis:
                unit = [np.zeros(c.shape) for c in covariances]
                unit[number] = basis
                moves.append((unit, 0.0))
        moves.append(([np.zeros(c.shape) for c in covariances], 1.0))
        (z, _, _), (g, r, _) = self.variances(*self.gamma)
        x = self.x[0]
        vi = np.linalg.inv(z @ g @ z.T + np.diag(r))
        p = vi - vi @ x @ np.linalg.solve(x.T @ vi @ x, x.T @ vi)
        slopes = []
        for move in moves:
            _, (g, r, _) = self.variances(*move)
            slopes.append(p @ (z @ g @ z.T + np.diag(r)))
        information = [[np.sum(s * t.T) / 2 for t in slopes] for s in slopes]
        w, out, step = np.linalg.inv(information), 0.0, 1e-20j
        for s, (unit, one) in enumerate(moves):
            there = [c + step * u for c, u in zip(covariances, unit, strict=True)]
            weights = self.weights(there, scale + step * one)
            for r, move in enumerate(moves):
                out = out - w[r, s] * self.errors(weights, *move).imag / step.imag
        return out


def dense(result, old, new, wanted, weighted):
    """Means and variances of their errors, and what estimated parameters add to these."""
    found = Dense(result, old, new, wanted, weighted)
    on_old, on_new = weights = found.weights(*found.gamma)
    mean = on_old @ old["y"] + on_new @ new["y"]
    return mean, found.errors(weights, *found.gamma), found


def fitted(formula, old, weighted, reml=True):
    options = {"weights": "w"} if weighted else {}
    return mx.mixedlm(formula, old, **options).fit(reml=reml)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_dense(formula, weighted, seed):
    old, new = split(seed)
    result = fitted(formula, old, weighted, reml=seed != 2)
    seen, later = new.iloc[::2], new.iloc[1::2]
    weights = seen["w"] if weighted else None
    group = result.fitted.random.groups[0]
    modes = result.ranef_new(seen, group, weights=weights)
    mean, variance, other = dense(result, old, seen, later, weighted)
    has = np.ones(len(later), bool)
    for term in result.fitted.random.terms:
        known = pd.concat([labels_of(term, old), labels_of(term, seen)])
        has &= labels_of(term, later).isin(known).to_numpy()
    found = modes.get_prediction(later, new_levels="zero", df_method="z")
    np.testing.assert_allclose(found.predicted_mean, mean, rtol=1e-8)
    np.testing.assert_allclose(found.var_pred_mean, variance, rtol=1e-8)
    if result.fitted.reml and not result.is_singular:
        found = modes.get_prediction(
            later, new_levels="zero", df_method="kenward-roger", weights=2.0
        )
        whole = variance + other.rise()
        np.testing.assert_allclose(found.var_pred_mean, whole, rtol=1e-9)
        want = whole + result.scale / 2
        np.testing.assert_allclose(found.var_pred_obs, want, rtol=1e-9)
    assert (found.kind == np.where(has, "known group", "new group")).all()
    # the modes themselves
    term = result.fitted.random.terms[0]
    own = modes.cov.to_numpy().reshape(len(modes.values), -1, modes.cov.shape[1])
    for number, (level, values) in enumerate(modes.values.iterrows()):
        del values
        at = labels_of(term, new) == str(level)
        row = new[at].head(1)
        for x, z in ((0.0, [1.0, 0.0]), (2.0, [1.0, 2.0])):
            one = row.assign(x=x)
            alone = _effect_alone(result, old, seen, one, weighted, group)
            z = np.array(z[: own.shape[2]])
            np.testing.assert_allclose(z @ own[number] @ z, alone, rtol=1e-8)


def _effect_alone(result, old, seen, row, weighted, group):
    """Variance of the error of one level's z'u, without x'b and the other factors."""
    covariances = result.fitted.random.covariances
    (z, zn, zw), g = z_of(result.fitted.random.terms, [old, seen, row], covariances)
    # columns of the other factors go out of the target
    start, keep = 0, np.zeros(len(g), bool)
    for term, own in zip(result.fitted.random.terms, covariances, strict=True):
        frames = pd.concat([labels_of(term, f) for f in (old, seen, row)])
        size = frames.nunique() * len(own)
        keep[start : start + size] = term.group == group
        start += size
    zw = zw * keep
    w, wn = (f["w"].to_numpy() if weighted else np.ones(len(f)) for f in (old, seen))
    r, rn = result.scale / w, result.scale / wn
    x, xn = (np.column_stack([np.ones(len(f)), f["x"]]) for f in (old, seen))
    vi = np.linalg.inv(z @ g @ z.T + np.diag(r))
    to_beta = np.linalg.solve(x.T @ vi @ x, x.T @ vi)
    to_u = g @ z.T @ vi @ (np.eye(len(x)) - x @ to_beta)
    fresh = ~(z != 0).any(axis=0)
    prior = g * np.outer(fresh, fresh)
    use = (zn[:, fresh] != 0).any(axis=1)
    a = prior @ zn[use].T @ np.linalg.inv(zn[use] @ prior @ zn[use].T + np.diag(rn[use]))
    on_old = -zw @ a @ (xn[use] @ to_beta + zn[use] @ to_u)
    on_new = zw @ a
    on_u = on_old @ z + on_new @ zn[use] - zw
    return float(
        (on_u @ g @ on_u.T + on_old * r @ on_old.T + on_new * rn[use] @ on_new.T)[0, 0]
    )


@pytest.mark.parametrize("formula", FORMULAS)
def test_slopes_are_derivatives(formula):
    """By differences of the variance at other variance parameters."""
    old, new = split(3)
    result = fitted(formula, old, False)
    seen, later = new.iloc[::2], new.iloc[1::2]
    design, reml = result.fitted.fit.design, result.fitted.reml
    theta = result.theta + 0.3  # away from the boundary

    def at(theta):
        fit = evaluate_design(design, reml, theta)
        own = Fitted(fit, result.model)
        modes = new_modes.ranef_new(own, seen, result.fitted.random.groups[0])
        rows = new_modes.new_rows(own, later, True, None, True, "zero")
        rows, z, _ = new_modes._with_new(own, modes._new, rows, "zero")
        variance, slope, _ = new_modes._errors(
            own, modes._new, rows, z, np.zeros(len(later), bool)
        )
        gamma = []
        lams = design.lams(fit.optimum.theta)
        for lam, structure in zip(lams, design.structures, strict=True):
            basis = structure.covariance_basis.reshape(structure.n_gamma, -1)
            gamma.append(np.linalg.lstsq(basis.T, (lam @ lam.T).ravel())[0])
        return variance, slope, np.concatenate(gamma)

    slope, step = at(theta)[1], 1e-4
    for j in range(len(theta)):
        move = step * np.eye(len(theta))[j]
        (up, _, g_up), (down, _, g_down) = at(theta + move), at(theta - move)
        want = (up - down) / (2 * step)
        got = slope[:, :-1] @ (g_up - g_down) / (2 * step)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)


def test_a_level_of_the_fit_as_if_it_were_new():
    """With many levels the fit hardly changes: modes are near those of a fit to all."""
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(400), 6)
    data = pd.DataFrame({"g": g, "x": rng.normal(size=2400)})
    data["y"] = data["x"] + rng.normal(size=400)[g] + rng.normal(size=2400)
    whole = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    part = mx.mixedlm("y ~ x + (1 | g)", data[g != 7]).fit()
    modes = part.ranef_new(data[g == 7])
    np.testing.assert_allclose(modes.values.loc[7], whole.ranef().loc[7], atol=0.01)
    given = whole.ranef_cov(given_beta=False).iloc[7, 0]
    np.testing.assert_allclose(modes.cov.iloc[0, 0], given, rtol=0.01)
    coef = modes.coef.loc[7]
    assert (
        coef["Intercept"] == part.fe_params["Intercept"] + modes.values.loc[7, "Intercept"]
    )
    assert coef["x"] == part.fe_params["x"]


def test_known_rows_are_as_before():
    old, new = split(4)
    result = fitted("y ~ x + (x | g) + (1 | h)", old, False)
    modes = result.ranef_new(new, "g")
    for method in ("satterthwaite", "kenward-roger", "z"):
        want = result.get_prediction(old.head(5), df_method=method).summary_frame()
        got = modes.get_prediction(old.head(5), df_method=method).summary_frame()
        pd.testing.assert_frame_equal(got, want, rtol=1e-8)
    again = pickle.loads(pickle.dumps(modes))
    got = again.get_prediction(new.head(3)).summary_frame()
    pd.testing.assert_frame_equal(got, modes.get_prediction(new.head(3)).summary_frame())
    assert "new levels of 'g'" in repr(modes)


def test_offset_transforms_and_groups():
    old, new = split(6)
    old, new = (f.assign(o=3 * f["x"], y=np.exp(f["y"] / 4)) for f in (old, new))
    result = mx.mixedlm("np.log(y) ~ center(x) + offset(o) + (center(x) | g)", old).fit()
    new = new[new["g"] >= 7]
    modes = result.ranef_new(new)
    twin = old.assign(l=np.log(old["y"]) - old["o"], c=old["x"] - old["x"].mean())
    plain = mx.mixedlm("l ~ c + (c | g)", twin).fit()
    other = new.assign(l=np.log(new["y"]) - new["o"], c=new["x"] - old["x"].mean())
    want = plain.ranef_new(other)
    np.testing.assert_allclose(modes.values, want.values, rtol=1e-6)
    np.testing.assert_allclose(modes.cov, want.cov, rtol=1e-6)
    stated = mx.mixedlm("l ~ c", twin, groups="g", re_formula="~ c").fit()
    np.testing.assert_allclose(stated.ranef_new(other).values, want.values, rtol=1e-6)
    missing = other.assign(y=np.where(np.arange(len(other)) == 0, np.nan, 1.0))
    missing["l"] = missing["l"].where(missing["y"].notna())
    np.testing.assert_allclose(
        plain.ranef_new(missing).values, plain.ranef_new(other.iloc[1:]).values
    )


def test_what_is_refused():
    old, new = split(7)
    result = fitted("y ~ x + (1 | g) + (1 | h)", old, False)
    with pytest.raises(ValueError, match="name one of the grouping factors: g, h"):
        result.ranef_new(new)
    with pytest.raises(ValueError, match="no complete row of a level"):
        result.ranef_new(old)
    with pytest.raises(FormulaError, match="'y'"):
        result.ranef_new(new.drop(columns="y"), "g")
    with pytest.raises(ValueError, match="not a grouping factor"):
        result.ranef_new(new, "k")
    modes = result.ranef_new(new[new["g"] == 7], "g")
    with pytest.raises(ValueError, match=r"levels of 'g' that neither the fit.*: 8"):
        modes.get_prediction(new[(new["g"] == 8) & (new["h"] < 5)])
    lost = modes.get_prediction(new[new["g"] == 8], new_levels="missing")
    assert np.isnan(lost.se_mean).all()
    with pytest.raises(ValueError, match="one of fixed effects alone"):
        modes.get_prediction(new.head(1), df_method="containment")
    by_ml = fitted("y ~ x + (1 | g)", old, False, reml=False).ranef_new(new)
    with pytest.raises(ValueError, match="REML"):
        by_ml.get_prediction(new[new["g"] >= 7], df_method="kenward-roger")
    weighted = fitted("y ~ x + (1 | g)", old, True)
    with pytest.raises(ValueError, match="by weights="):
        weighted.ranef_new(new)
    components = fitted_components(old, {"h": "C(h)"})
    with pytest.raises(FormulaError, match="depend on the other rows of its group"):
        components.ranef_new(new, "g")


def fitted_components(old, vc_formula, **options):
    return mx.mixedlm(
        "y ~ x", old, groups="g", re_formula="1", vc_formula=vc_formula, **options
    ).fit()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("component", "bar"), [("0 + C(h)", "(1 | g:h)"), ("0 + C(h):x", "(0 + x | g:h)")]
)
def test_components_as_bars(component, bar, weighted):
    """New groups, and new columns of groups of the fit: one model stated twice."""
    old, new = split(8, 160)
    options = {"weights": "w"} if weighted else {}
    stated = fitted_components(old, {"h": component}, **options)
    bars = mx.mixedlm(f"y ~ x + (1 | g) + {bar}", old, **options).fit()
    weights = new["w"] if weighted else None
    own, other = (m.ranef_new(new, "g", weights=weights) for m in (stated, bars))
    for name in ("values", "cov", "coef"):
        want = getattr(other, name)
        pd.testing.assert_frame_equal(getattr(own, name), want, rtol=1e-5)
    one = stated.ranef_new(new, "h", weights=weights)
    two = bars.ranef_new(new, "g:h", weights=weights)
    labels = [
        f"{group}:{label.split('[')[1].split(']')[0]}" for group, label in one.values.index
    ]
    for name in ("values", "cov"):
        want = getattr(two, name).iloc[:, 0]
        want = want.droplevel("effect") if name == "cov" else want
        np.testing.assert_allclose(getattr(one, name)["h"], want.loc[labels], rtol=1e-5)
    for method in ("z", "satterthwaite", "kenward-roger"):
        got = one.get_prediction(new, df_method=method)
        want = two.get_prediction(new, df_method=method)
        pd.testing.assert_frame_equal(
            got.summary_frame(), want.summary_frame(), rtol=1e-4, atol=1e-6
        )
    # rows without data of their own: other groups, other columns of groups
    other = pd.concat([new.head(4), new.head(2).assign(g=99), new.head(2).assign(h=98)])
    with pytest.raises(ValueError, match="neither the fit nor the data"):
        one.get_prediction(other)
    for policy in ("zero", "missing"):
        got = one.get_prediction(other, new_levels=policy, df_method="kenward-roger")
        want = two.get_prediction(other, new_levels=policy, df_method="kenward-roger")
        pd.testing.assert_frame_equal(
            got.summary_frame(), want.summary_frame(), rtol=1e-4, atol=1e-6
        )


def test_components_of_several_columns_a_row():
    """Effects of one variance that share rows, by dense algebra."""
    old, new = split(9, 200)
    result = fitted_components(old, {"h": "0 + C(h) + C(h):x"})
    new = new[new["g"] >= 7]
    modes = result.ranef_new(new, "h")
    between, within = (c[0, 0] for c in result.fitted.random.covariances)
    groups, columns = (pd.Index(sorted(new[c].unique())) for c in "gh")
    g, h = (i.get_indexer(new[c]) for i, c in ((groups, "g"), (columns, "h")))
    cell = np.eye(len(groups) * len(columns))[g * len(columns) + h]
    z = np.hstack([np.eye(len(groups))[g], cell, cell * new[["x"]].to_numpy()])
    prior = np.repeat([between, within], [len(groups), 2 * cell.shape[1]])
    v = (z * prior) @ z.T + result.scale * np.eye(len(new))
    rest = new["y"] - result.predict(new, conditional=False)
    u = prior * (z.T @ np.linalg.solve(v, rest))
    mean = modes.get_prediction(new).predicted_mean
    np.testing.assert_allclose(mean, new["y"] - rest + z @ u, rtol=1e-8)
    x = np.column_stack([np.ones(len(new)), new["x"]])
    a = np.linalg.solve(v, z * prior)
    of_beta = np.asarray(result.cov_params().iloc[:2, :2])
    errors = np.diag(prior) - (z * prior).T @ a + a.T @ x @ of_beta @ x.T @ a
    names = [(group, f"C(h)[{label}]") for group in groups for label in columns]
    names += [(group, f"{label}:x") for group, label in names]
    at = pd.MultiIndex.from_tuples(names).get_indexer(modes.values.index) + len(groups)
    np.testing.assert_allclose(modes.values["h"], u[at], rtol=1e-8)
    np.testing.assert_allclose(modes.cov["h"], np.diag(errors)[at], rtol=1e-8)
    assert modes.values.index.names == ["g", "h"]
