"""Directions along which the likelihood never falls."""

import numpy as np

from mixedext.engine.generalized.separation import recession_direction


def _columns(n=80, seed=0):
    rng = np.random.default_rng(seed)
    rare = (rng.random(n) < 0.15).astype(float)
    return rng, np.column_stack([np.ones(n), rng.normal(size=n), rare])


def test_overlapping_rows_have_none():
    rng, x = _columns()
    y = (rng.random(80) < 0.5).astype(float)
    assert recession_direction(x, y, np.ones(80)) is None


def test_a_column_that_separates_is_found_with_its_sign():
    rng, x = _columns()
    y = (rng.random(80) < 0.5).astype(float)
    for success in (1.0, 0.0):
        y[x[:, 2] == 1] = success
        found = recession_direction(x, y, np.ones(80))
        assert found[0] == found[1] == 0.0
        assert np.sign(found[2]) == 2 * success - 1


def test_a_mixture_that_separates():
    _rng, x = _columns()
    y = (x[:, 1] > 0.1).astype(float)
    found = recession_direction(x, y, np.ones(80))
    assert (
        np.sign(x @ found)[np.abs(x @ found) > 1e-9]
        == (2 * y - 1)[np.abs(x @ found) > 1e-9]
    ).all()


def test_rows_between_hold_their_direction():
    rng, x = _columns()
    trials = np.full(80, 5.0)
    y = rng.integers(1, 5, 80).astype(float)  # all between: nothing can move
    assert recession_direction(x, y, trials) is None
    y[x[:, 2] == 1] = 5.0
    found = recession_direction(x, y, trials)
    np.testing.assert_allclose(found / found[2], [0, 0, 1], atol=1e-7)


def test_counts_of_an_empty_cell():
    rng, x = _columns()
    y = rng.poisson(2, 80) * 1.0
    assert recession_direction(x, y, None) is None
    y[x[:, 2] == 1] = 0.0
    found = recession_direction(x, y, None)
    assert found[2] < 0
    assert abs(found[0]) + abs(found[1]) < 1e-7


def test_rows_without_trials_do_not_count():
    rng, x = _columns()
    y = (rng.random(80) < 0.5).astype(float)
    y[x[:, 2] == 1] = 1.0
    trials = np.ones(80)
    spoiled = np.flatnonzero(x[:, 2] == 1)[:1]
    y[spoiled] = 0.0
    assert recession_direction(x, y, trials) is None
    trials[spoiled] = 0.0
    assert recession_direction(x, y, trials) is not None
