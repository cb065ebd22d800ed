"""Errors of modes and of coefficients of levels, by the inverse of Henderson's matrix."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
    pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning"),
]

FORMULAS = [
    "y ~ x + (1 | g)",
    "y ~ x + (x | g)",
    "y ~ x + twice + (x || g)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ 1 + (0 + x | h) + (1 | g)",
    "y ~ x + (1 | g) + (1 | row)",
]


def data_of(seed, n=60):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": rng.integers(0, 6, n), "h": rng.integers(0, 5, n)})
    data["x"], data["w"] = rng.normal(size=n), rng.uniform(0.3, 3, n)
    data["twice"], data["row"] = 2 * data["x"], np.arange(n) // 2
    y = data["x"] + rng.normal(size=6)[data["g"]] + rng.normal(size=5)[data["h"]]
    return data.assign(y=y + rng.normal(size=n) + rng.normal(size=6)[data["g"]] * data["x"])


def henderson(result, weights):
    """Covariance of (b, u) errors, (p + q), and the columns of every term."""
    rows = result.fitted.need_rows()
    x = rows.exog[:, result.fitted.fixed.kept]
    parts, places, start = [x], [], x.shape[1]
    roots = [np.eye(x.shape[1])]
    for term, own in zip(rows.terms, result.fitted.fit.lams, strict=True):
        z = np.zeros((len(x), term.n_levels, term.k))
        z[np.arange(len(x)), term.codes] = term.z
        parts.append(z.reshape(len(x), -1))
        places.append(start + np.arange(term.n_levels * term.k).reshape(-1, term.k))
        start += term.n_levels * term.k
        roots.append(np.kron(np.eye(term.n_levels), own))
    root = np.zeros((start, start))
    at = 0
    for own in roots:
        root[at : at + len(own), at : at + len(own)] = own
        at += len(own)
    both = np.hstack(parts) @ root
    w = np.ones(len(x)) if weights is None else weights
    prior = np.repeat([0.0, 1.0], [x.shape[1], start - x.shape[1]])
    inverse = np.linalg.inv(both.T @ (w[:, None] * both) + np.diag(prior))
    return result.scale * root @ inverse @ root.T, places


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_henderson(formula, reml, seed):
    data = data_of(seed)
    weights = data["w"].to_numpy() if seed > 1 else None
    result = mx.mixedlm(formula, data, weights=weights).fit(reml=reml)
    whole, places = henderson(result, weights)
    random, fixed = result.fitted.random, result.fitted.fixed
    for group in random.groups:
        numbers = [i for i, t in enumerate(random.terms) if t.group == group]
        at = np.concatenate([places[i] for i in numbers], axis=1)
        want = whole[at[:, :, None], at[:, None, :]]
        got = result.ranef_cov(group, given_beta=False)
        shape = want.shape
        np.testing.assert_allclose(
            got.to_numpy().reshape(shape), want, rtol=1e-7, atol=1e-9
        )
        given = result.ranef_cov(group).to_numpy().reshape(shape)
        more = got.to_numpy().reshape(shape) - given
        assert (np.linalg.eigvalsh(more) > -1e-9).all()  # the uncertainty of b adds
        prior = np.concatenate([np.diag(random.covariances[i]) for i in numbers])
        share = result.reliability(group)
        with np.errstate(invalid="ignore", divide="ignore"):
            own = 1 - np.diagonal(want, axis1=1, axis2=2) / prior
        positive = prior > 1e-6
        np.testing.assert_allclose(
            share.to_numpy()[:, positive], own[:, positive], rtol=1e-6, atol=1e-7
        )
        # coefficients: fixed plus random
        coef = result.coef(group)
        names = [n for i in numbers for n in random.terms[i].names]
        turn = np.zeros((len(coef.columns), len(whole)))
        for row, name in enumerate(coef.columns):
            if name in fixed.names:
                column = fixed.names.index(name)
                if column in fixed.kept:
                    turn[row, list(fixed.kept).index(column)] = 1.0
        found = result.coef_cov(group).to_numpy()
        found = found.reshape(len(coef), len(coef.columns), -1)
        known = ~coef.isna().all().to_numpy()
        for level in range(len(coef)):
            own = turn.copy()
            for name, place in zip(names, at[level], strict=True):
                own[list(coef.columns).index(name), place] = 1.0
            want = (own @ whole @ own.T)[np.ix_(known, known)]
            got = found[level][np.ix_(known, known)]
            np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9)
            assert np.isnan(found[level][~known]).all()


def test_one_way_by_hand():
    """Balanced: shrinkage n lam^2 / (1 + n lam^2), and the mean's uncertainty besides."""
    data = mx.datasets.pulp.load().data
    result = mx.mixedlm("bright ~ 1 + (1 | operator)", data).fit()
    between, within = result.cov_re.iloc[0, 0], result.scale
    shrink = between / (between + within / 5)
    given = between * (1 - shrink)
    np.testing.assert_allclose(result.ranef_cov().to_numpy(), given, rtol=1e-8)
    mean = (between + within / 5) / 4
    np.testing.assert_allclose(
        result.ranef_cov(given_beta=False).to_numpy(), given + shrink**2 * mean, rtol=1e-8
    )
    np.testing.assert_allclose(
        result.coef_cov().to_numpy(), given + (1 - shrink) ** 2 * mean, rtol=1e-8
    )


def test_components_and_a_variance_of_zero():
    data = mx.datasets.pastes.load().data
    stated = mx.mixedlm(
        "strength ~ 1",
        data,
        groups="batch",
        re_formula="1",
        vc_formula={"cask": "0 + C(cask)"},
    ).fit()
    bars = mx.mixedlm("strength ~ 1 + (1 | batch) + (1 | batch:cask)", data).fit()
    for ours, theirs in (("batch", "batch"), ("cask", "batch:cask")):
        got = stated.ranef_cov(ours, given_beta=False).to_numpy().ravel()
        want = bars.ranef_cov(theirs, given_beta=False).to_numpy().ravel()
        np.testing.assert_allclose(got, want, rtol=1e-5)
        got, want = stated.reliability(ours), bars.reliability(theirs)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="variance component"):
        stated.coef_cov("cask")
    zero = mx.datasets.dyestuff2.load().data
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", zero).fit()
    assert result.reliability().isna().to_numpy().all()
    np.testing.assert_allclose(result.ranef_cov(given_beta=False), 0, atol=1e-12)
    np.testing.assert_allclose(result.coef_cov(), result.scale / 30, rtol=1e-9)
