"""Residuals, modes and cases that are drawn with replacement."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.other_lapack import turned_eigh
from scipy import sparse

import mixedext as mx
from mixedext.inference.bootstrap.resampling import CasesSampler, ResidualSampler, reflated


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_reflated_effects_have_the_covariance(rank):
    rng = np.random.default_rng(rank)
    root = rng.normal(size=(3, rank)) * np.array([[1.0], [1e3], [1e-3]])
    covariance = root @ root.T
    effects = rng.normal(size=(40, rank)) @ root.T * 0.6 + 0.1 * root.sum(axis=1)
    out = reflated(effects, covariance)
    size = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-12 * size.max(initial=1e-300))
    moments = out.T @ out / len(out)
    np.testing.assert_allclose(moments, covariance, atol=1e-10 * np.outer(size, size).max())
    if rank == 3:  # Carpenter, Goldstein and Rasbash's A = (L_Sigma L_S^-1)'
        centred = effects - effects.mean(axis=0)
        s = np.linalg.cholesky(centred.T @ centred / 40)
        a = (np.linalg.cholesky(covariance) @ np.linalg.inv(s)).T
        np.testing.assert_allclose(out / size, centred @ a / size, atol=1e-9)


def test_the_factors_are_in_the_order_of_the_effects():
    """Whichever pivot of the covariance is taken first: M L^-1 depends on the order."""
    covariance = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.3], [0.0, 0.3, 1.0]])
    effects = np.random.default_rng(5).normal(size=(40, 3))
    centred = effects - effects.mean(axis=0)
    lower = np.linalg.cholesky(centred.T @ centred / 40)
    want = centred @ (np.linalg.cholesky(covariance) @ np.linalg.inv(lower)).T
    np.testing.assert_allclose(reflated(effects, covariance), want, atol=1e-12)


def test_no_lapack_turns_reflated_effects(monkeypatch):
    """Of a singular covariance with equal eigenvalues, and one that follows from others."""
    rng = np.random.default_rng(3)
    root = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    effects = rng.normal(size=(30, 3)) @ root.T
    one = reflated(effects, root @ root.T)
    monkeypatch.setattr(np.linalg, "eigh", turned_eigh(1))
    np.testing.assert_allclose(reflated(effects, root @ root.T), one, atol=1e-12)
    np.testing.assert_allclose(one[:, 3], one[:, 0] + one[:, 1], atol=1e-12)
    rest = reflated(effects[:, :3], np.eye(3))
    np.testing.assert_allclose(one.T @ one / 30, root @ root.T, atol=1e-12)
    np.testing.assert_allclose(rest.T @ rest / 30, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (4, 4), (2, 3)])
def test_effects_of_too_few_levels_are_refused(shape):
    effects = np.random.default_rng(0).normal(size=shape)
    with pytest.raises(np.linalg.LinAlgError, match="fewer directions"):
        reflated(effects, np.eye(shape[1]))


def test_residual_draws_are_rows_of_what_was_reflated():
    rng = np.random.default_rng(0)
    term = mx.RandomTerm(np.repeat(np.arange(6), 3), group="g")
    weights = rng.uniform(0.5, 2.0, 18)
    draws = ResidualSampler(
        [term],
        [rng.normal(size=(6, 1))],
        [np.array([[2.0]])],
        np.arange(18.0),
        rng.normal(size=18),
        0.7,
        weights,
    )
    assert np.mean(draws.effects[0] ** 2) == pytest.approx(2.0)
    assert np.mean(draws.residuals**2) == pytest.approx(0.7)
    y = draws(500, np.random.default_rng(1))
    effect = draws.effects[0][:, 0]
    # every response less its mean is one effect a level and one residual a row
    rest = y - np.arange(18.0)[:, None]
    found = [
        any(
            np.isclose((rest[:3, r] - e) * np.sqrt(weights[:3]), draws.residuals[:, None])
            .any(axis=0)
            .all()
            for e in effect
        )
        for r in range(20)
    ]
    assert all(found)


def test_cases_keep_whole_levels_and_what_is_nested_in_them():
    outer = np.repeat(np.arange(4), 6)
    inner = np.repeat(np.arange(8), 3)
    order = np.random.default_rng(0).permutation(24)
    outer, inner = outer[order], inner[order]
    matrix = sparse.csr_array((np.ones(24), (np.arange(24), inner)), shape=(24, 8))
    terms = [
        mx.RandomTerm(outer, group="outer"),
        mx.RandomTerm(inner, group="inner"),
        mx.SparseTerm(matrix, group="members"),
    ]
    sampler = CasesSampler(terms, terms[0].codes, within=False)
    rng = np.random.default_rng(1)
    for _ in range(20):
        rows, number = sampler.draw(rng)
        assert len(rows) == 24
        for draw in range(4):
            own = rows[number == draw]
            assert len(set(outer[own])) == 1
            assert sorted(own) == sorted(np.flatnonzero(outer == outer[own[0]]))
        new = sampler.terms_of(rows, number)
        assert [t.n_levels for t in new] == [4, 8, 8]
        for term, codes in zip(new[:2], (outer, inner), strict=True):
            pairs = {
                (n, c): t for n, c, t in zip(number, codes[rows], term.codes, strict=True)
            }
            assert len(set(pairs.values())) == len(pairs) == term.n_levels
        together = new[2].matrix.toarray()
        np.testing.assert_array_equal(
            together @ together.T, new[1].codes[:, None] == new[1].codes
        )


def test_rows_within_levels_are_drawn_from_the_level():
    codes = np.repeat(np.arange(5), [1, 2, 3, 4, 50])
    sampler = CasesSampler([mx.RandomTerm(codes, group="g")], codes, within=True)
    rows, number = sampler.draw(np.random.default_rng(3))
    for draw in range(5):
        own = rows[number == draw]
        level = set(codes[own])
        assert len(level) == 1
        assert len(own) == np.count_nonzero(codes == level.pop())
    assert len(set(rows)) < len(rows)


def test_crossed_factors_are_refused():
    a, b = np.repeat(np.arange(4), 6), np.tile(np.arange(6), 4)
    terms = [mx.RandomTerm(a, group="a"), mx.RandomTerm(b, group="b")]
    with pytest.raises(ValueError, match="'b' is crossed with the factor"):
        CasesSampler(terms, a, within=False)
