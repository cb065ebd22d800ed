"""Refits in spectral form against fits of the rows, and their law against other draws."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.other_lapack import turned_eigh
from scipy import stats

import mixedext as mx
from mixedext.engine.refits import batches, simulation
from mixedext.engine.refits.spectral import SpectralFits, spectral_pays
from mixedext.inference.bootstrap.simulated_refits import responses_of


def model(seed=0, n=150, levels=14, rank=7, weights=True):
    rng = np.random.default_rng(seed)
    x = rng.normal(2.0, 3.0, (n, rank))
    x[:, 0] = 1.0
    codes = rng.integers(0, levels, n)
    x[:, 1] = codes == 0  # a direction of Z that X takes in
    z = rng.uniform(0.5, 3.0, n)
    term = mx.RandomTerm(codes, z, group="g")
    w = rng.uniform(0.3, 3.0, n) if weights else None
    effect = rng.normal(size=levels)[codes] * z
    y = x.sum(axis=1) + 0.5 * effect + rng.normal(size=n)
    return mx.MixedLM(y, x, terms=[term], weights=w), rng


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("reml", [True, False])
def test_the_same_responses_by_rows(reml, weights, monkeypatch):
    own, rng = model(weights=weights)
    design = own._design
    assert spectral_pays(design, 60, True)
    n, count = 150, 60
    codes, z = own.random_terms[0].codes, own.random_terms[0].z[:, 0]
    size = np.repeat([0.0, 0.05, 0.3, 20.0], count // 4)
    y = (
        rng.normal(size=(n, count))
        + z[:, None] * (rng.normal(size=(14, count)) * size)[codes]
    )
    y += own.exog.sum(axis=1)[:, None]
    by_spectrum = own.fit_many(y, reml=reml)
    with monkeypatch.context() as patch:
        patch.setattr(batches, "spectral_pays", lambda *args, **kwds: False)
        want = own.fit_many(y, reml=reml)
    spectral = SpectralFits(design, reml)
    lead, _, least_squares, y_scale = responses_of(own).products(y)
    lead = lead[:, 0] * y_scale
    w = (spectral.vector.T @ lead).T / np.sqrt(spectral.mu)
    rest = n * y_scale**2 - (w**2).sum(axis=1)
    fixed, theta, scale, llf, settled, singular, _ = spectral.columns(
        w, rest, least_squares.T, 1.0
    )
    for one, other in zip(
        (fixed, theta, scale, llf, settled, singular),
        list(vars(by_spectrum).values())[:6],
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-11)
    assert settled.all()
    assert 5 < singular.sum() < count
    np.testing.assert_array_equal(singular, want.is_singular)
    np.testing.assert_allclose(llf, want.llf, rtol=1e-10)
    # the other search ends a little before the minimum, where the deviance is flat
    np.testing.assert_allclose(scale, want.scale, rtol=1e-6)
    np.testing.assert_allclose(theta, want.theta, atol=2e-6)
    np.testing.assert_allclose(fixed, want.fe_params, rtol=1e-6)
    lam = spectral.minima(w**2, rest)[0]
    slope, curve = spectral.slopes(w**2, rest, lam)
    up = lam > 0
    np.testing.assert_allclose(slope[up] / (curve * lam)[up], 0, atol=1e-9)
    assert (slope[lam == 0] >= 0).all()
    # at that minimum all else is exact: generalized least squares of the rows
    root = np.ones(150) if own.weights is None else np.sqrt(own.weights)
    relative = theta[:, 0] ** 2
    for r in range(0, count, 6):
        zz = np.where(codes[:, None] == codes, np.outer(z, z), 0)
        v = np.eye(n) + relative[r] * zz * np.outer(root, root)
        x, own_y = own.exog * root[:, None], y[:, r] * root
        inverse = np.linalg.inv(v)
        beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ own_y)
        np.testing.assert_allclose(fixed[r], beta, rtol=1e-8, atol=1e-9)
        error = own_y - x @ beta
        dof = n - 7 if reml else n
        assert scale[r] == pytest.approx(error @ inverse @ error / dof, rel=1e-9)


@pytest.mark.parametrize("reml", [True, False])
def test_one_law_with_draws_of_statistics(reml, monkeypatch):
    own, _ = model(levels=9)
    result = own.fit(reml=reml)
    one = result.simulate_refits(6000, rng=1)
    monkeypatch.setattr(simulation, "spectral_pays", lambda *args: False)
    other = result.simulate_refits(6000, rng=2)
    assert one.n_failed == other.n_failed == 0
    pairs = [(getattr(r, c) for r in (one, other)) for c in ("scale", "llf")]
    pairs += [(r.fe_params[:, j] for r in (one, other)) for j in range(7)]
    pairs += [(r.theta[:, 0] for r in (one, other))]
    for a, b in pairs:
        assert stats.ks_2samp(a, b).pvalue > 1e-4
    np.testing.assert_allclose(
        np.corrcoef(one.fe_params.T), np.corrcoef(other.fe_params.T), atol=0.07
    )


def test_given_responses_of_which_one_variance_dwarfs_the_other():
    """Where the difference from r'r has lost its digits, fits are made from the rows."""
    own, rng = model()
    codes = own.random_terms[0].codes
    z = own.random_terms[0].z[:, 0]
    effect = z * rng.normal(size=14)[codes]
    y = np.column_stack([size * effect for size in (1e3, 1e5, 1e7)])
    y += rng.normal(size=y.shape)
    many = own.fit_many(y)
    for j in range(3):
        one = own.refit(y[:, j])
        assert many.llf[j] == pytest.approx(one.llf, abs=1e-7)
        assert many.scale[j] == pytest.approx(one.scale, rel=1e-7)
        assert many.theta[j, 0] == pytest.approx(one.theta[0], rel=1e-6)


def test_when_the_spectral_form_pays():
    few, many = model(levels=14)[0]._design, model(n=900, levels=300)[0]._design
    assert spectral_pays(few, 1)
    assert not spectral_pays(many, 10)
    assert spectral_pays(many, 10_000)
    assert not spectral_pays(many, 10_000, True)  # products with 300 vectors of 300


def test_minima_are_global():
    own, rng = model()
    spectral = SpectralFits(own._design, True)
    square = rng.chisquare(1, (200, len(spectral.mu))) * rng.uniform(0, 50, (200, 1))
    square *= rng.choice([0.0, 1.0, 30.0], square.shape)  # several minima
    rest = rng.chisquare(3, 200)
    lam, residual, settled, _ = spectral.minima(square, rest)
    assert settled.all()

    def deviance(at):
        inner = rest[:, None] + square @ (1 / (1 + spectral.mu[:, None] * at))
        return spectral.dof * np.log(inner) + np.log1p(spectral.mu[:, None] * at).sum(
            axis=0
        )

    fine = deviance(np.concatenate([[0], np.logspace(-8, 8, 4000)])).min(axis=1)
    found = spectral.dof * np.log(residual)
    found += np.log1p(lam[:, None] * spectral.mu).sum(axis=1)
    assert (found <= fine + 1e-8).all()


def test_threads_change_no_number():
    result = model()[0].fit()
    one = result.simulate_refits(5000, rng=3)
    other = result.simulate_refits(5000, rng=3, n_jobs=2)
    np.testing.assert_array_equal(one.llf, other.llf)
    np.testing.assert_array_equal(one.fe_params, other.fe_params)


def balanced(levels=8, each=12):
    """Equal levels, and columns of X between and within them: eigenvalues are equal."""
    rng = np.random.default_rng(4)
    codes = np.repeat(np.arange(levels), each)
    x = rng.normal(size=(levels * each, 6))
    x -= np.array([x[codes == c].mean(axis=0) for c in range(levels)])[codes]
    x[:, 0], x[:, 1], x[:, 2] = 1.0, codes == 0, codes == 1
    y = rng.normal(size=len(codes)) + rng.normal(size=levels)[codes]
    return mx.MixedLM(y, x, terms=[mx.RandomTerm(codes, group="g")])


@pytest.mark.parametrize("spectral", [True, False])
@pytest.mark.parametrize("design", [balanced, lambda: model()[0]], ids=["ties", "none"])
def test_no_lapack_turns_the_draws(design, spectral, monkeypatch):
    if not spectral:
        monkeypatch.setattr(simulation, "spectral_pays", lambda *args: False)
    one = design().fit().simulate_refits(200, rng=1)
    monkeypatch.setattr(np.linalg, "eigh", turned_eigh(5))
    other = design().fit().simulate_refits(200, rng=1)
    for column in ("fe_params", "scale", "llf"):
        first, second = (getattr(refits, column) for refits in (one, other))
        np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore::mixedext.FlatLikelihoodWarning")
def test_a_factor_that_x_takes_in_has_no_spectrum():
    rng = np.random.default_rng(0)
    y, f, x, z = rng.normal(size=16), np.arange(16) % 3, *rng.normal(size=(2, 16))
    data = {"y": y, "f": f, "x": x, "z": z}
    own = mx.mixedlm("y ~ x*C(f) + x:z + (1 | f)", data)
    assert not spectral_pays(own._design, 10**6)
    found = own.fit_many(np.column_stack([y] * 500))
    assert found.llf[0] == pytest.approx(own.fit().llf, abs=1e-8)


@pytest.mark.parametrize("seed", [25, 59, 74, 88])
def test_of_several_minima_the_lowest_counts(seed):
    """Where the lowest point of the grid lies in another cell than the lowest minimum."""
    rng = np.random.default_rng([5, seed])
    n, levels = int(rng.integers(14, 50)), int(rng.integers(3, 12))
    codes = rng.choice(levels, n, p=rng.dirichlet(np.ones(levels)))
    x = rng.normal(size=(n, 6))
    x[:, 0] = 1.0
    for j in range(1, 6):
        if rng.random() < 0.5:
            x[:, j] = rng.normal(size=levels)[codes] + 0.2 * rng.normal(size=n)
    effect = rng.normal(size=(levels, 200)) * rng.choice([0, 0.3, 1, 3], 200)
    y = effect[codes] + rng.standard_t(2, (n, 200))
    own = mx.MixedLM(y[:, 0], x, terms=[mx.RandomTerm(codes, np.ones(n), group="g")])
    assert spectral_pays(own._design, 200, True)
    refits = own.fit_many(y, reml=False)
    # the deviance over a fine scan, by the eigenvalues of the rows
    q = np.linalg.qr(x)[0]
    z = (codes[:, None] == np.unique(codes)).astype(float)
    left = y - q @ (q.T @ y)
    mz = z - q @ (q.T @ z)
    value, vector = np.linalg.eigh(mz @ mz.T)
    square = (vector.T @ left) ** 2
    counts = z.sum(axis=0)
    lam = np.concatenate([[0.0], np.logspace(-6, 6, 4000)])
    values = np.log(square.T @ (1 / (1 + np.maximum(value, 0)[:, None] * lam)) / n) * n
    values += np.log1p(counts[:, None] * lam).sum(axis=0) + n * (1 + np.log(2 * np.pi))
    assert ((-2 * refits.llf) - values.min(axis=1)).max() < 1e-6
    inner = (values[:, 1:-1] < values[:, :-2]) & (values[:, 1:-1] < values[:, 2:])
    assert (inner.sum(axis=1) + (values[:, 0] < values[:, 1]) > 1).any()
