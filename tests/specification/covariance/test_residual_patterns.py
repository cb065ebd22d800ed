"""Residual groups in batches: every row once, in order, beside groups that are alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixedext.specification.covariance.residual_binding import bind_residual
from mixedext.specification.covariance.residual_patterns import group_order


def made(n_groups, m, share, seed):
    """Rows of groups with a share of the visits, shuffled."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"g": np.repeat(np.arange(n_groups), m), "v": np.tile(np.arange(m), n_groups)}
    )
    frame["arm"] = frame["g"] % 3
    frame = frame[rng.random(len(frame)) < share]
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def by_hand(frame, batches):
    """Check batches against groups one by one."""
    seen = []
    for batch in batches:
        assert batch.rows.shape == (len(batch.group), batch.size)
        assert np.bincount(batch.pattern, minlength=len(batch.count)).tolist() == list(
            batch.count
        )
        for rows, pattern, group in zip(
            batch.rows, batch.pattern, batch.group, strict=True
        ):
            own = frame.loc[rows]
            assert set(own["g"].factorize()[0]) == {0}
            assert len(own) == (frame["g"] == own["g"].iloc[0]).sum()
            assert batch.place[pattern].tolist() == own["v"].tolist()
            assert own["v"].is_monotonic_increasing
            seen += rows.tolist()
            assert group == np.searchsorted(np.unique(frame["g"]), own["g"].iloc[0])
    assert sorted(seen) == list(range(len(frame)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n_groups", "m"), [(60, 3), (5, 40), (1, 7)])
def test_every_row_stands_in_the_place_of_its_visit(n_groups, m, seed):
    frame = made(n_groups, m, 0.7, seed)
    bound = bind_residual("ar1(v | g)", columns=frame)
    by_hand(frame, bound.batches)
    for batch in bound.batches:  # no two patterns are alike
        assert len(np.unique(batch.place, axis=0)) == len(batch.place)


def test_few_long_groups_pool_as_many_short_ones():
    frame = pd.concat(
        [made(2, 30, 1.0, 1), made(2, 30, 1.0, 2).assign(g=lambda d: d.g + 2)]
    )
    bound = bind_residual("ar1(v | g)", columns=frame.reset_index(drop=True))
    (batch,) = bound.batches
    assert batch.count.tolist() == [4]


@pytest.mark.parametrize("shuffled", [False, True])
def test_groups_with_equal_distances_share_a_pattern(shuffled):
    rng = np.random.default_rng(4)
    times = np.array([0.1, 0.2, 0.7])
    kinds = rng.integers(0, 2, 50)  # equal gaps, or others
    shift = rng.normal(0, 10, 50)
    t = np.where(kinds[:, None] == 0, times, 2 * times) + shift[:, None]
    frame = pd.DataFrame({"g": np.repeat(range(50), 3), "t": t.ravel()})
    if shuffled:
        frame = frame.sample(frac=1, random_state=1).reset_index(drop=True)
    (batch,) = bind_residual("car1(t | g)", columns=frame).batches
    assert sorted(batch.count) == sorted(np.bincount(kinds))
    place = batch.place[batch.pattern]
    own = frame["t"].to_numpy()[batch.rows]
    assert (np.diff(own, axis=1) > 0).all()
    np.testing.assert_allclose(place, np.abs(own[:, :, None] - own[:, None]), atol=1e-13)


def test_small_distances_are_not_lost_beside_large_ones():
    times = [[0.0, 1e-9, 1e6], [0.0, 2e-9, 1e6]]
    frame = pd.DataFrame({"g": [0, 0, 0, 1, 1, 1], "t": np.ravel(times)})
    (batch,) = bind_residual("car1(t | g)", columns=frame).batches
    assert len(batch.count) == 2


def test_places_in_the_plane_stay_in_the_order_of_the_rows():
    frame = pd.DataFrame({"g": [0, 1, 0, 1, 0, 1], "x": [2, 7, 1, 6, 0, 5], "y": 0})
    (batch,) = bind_residual("sp_exp(x, y | g)", columns=frame).batches
    assert batch.rows.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert batch.count.tolist() == [2]


def test_levels_and_strata_part_patterns():
    frame = made(40, 3, 1.0, 1)
    frame["w"] = frame["g"] % 2
    assert len(bind_residual("ar1(v | g)", columns=frame).batches[0].count) == 1
    bound = bind_residual("ar1(v | g, by=arm)", "ident(w)", columns=frame)
    (batch,) = bound.batches
    assert len(batch.count) == 6
    group = batch.rows[:, 0]
    assert batch.level[batch.pattern].tolist() == frame["arm"][group].tolist()
    by_row = np.stack([z[batch.pattern] for z in batch.strata])
    assert by_row[0].tolist() == frame["arm"].to_numpy()[batch.rows].tolist()
    assert by_row[1].tolist() == frame["w"].to_numpy()[batch.rows].tolist()


def test_exchangeable_rows_share_one_pattern_for_each_size():
    frame = made(60, 5, 0.6, 2)
    for text in ("cs(1 | g)", "cs(v | g)"):
        bound = bind_residual(text, columns=frame)
        for batch in bound.batches:
            assert batch.place.tolist() == [list(range(batch.size))]


def test_the_order_of_rows_may_be_the_visit():
    frame = pd.DataFrame({"g": [1, 0, 1, 0, 1], "y": range(5)})
    bound = bind_residual("ar1(1 | g)", columns=frame)
    rows = {b.size: (b.rows.tolist(), b.place.tolist()) for b in bound.batches}
    assert rows == {2: ([[1, 3]], [[0, 1]]), 3: ([[0, 2, 4]], [[0, 1, 2]])}
    assert bound.visit_codes is None


def test_many_groups_are_bound_without_a_loop():
    """As many groups as a loop over them would take seconds for."""
    import time

    frame = made(100_000, 4, 0.8, 3)
    start = time.process_time()
    bound = bind_residual("us(v | g)", columns=frame)
    assert time.process_time() - start < 2.0
    assert sum(len(b.count) for b in bound.batches) == 15


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_rows_by_group_keep_the_order_that_they_have(within, seed):
    rng = np.random.default_rng(seed)
    codes, visits = rng.integers(0, 7, 200), rng.integers(0, 4, 200)
    keys = (codes, visits) if within else (codes,)
    wanted = np.lexsort(keys[::-1])
    found = group_order(codes, 7, visits if within else None, 4)
    assert found.tolist() == wanted.tolist()
    # sorted rows stay where they are
    codes, visits = codes[wanted], visits[wanted]
    found = group_order(codes, 7, visits if within else None, 4)
    assert found.tolist() == list(range(200))


def test_more_visits_than_a_number_has_bits_are_told_apart():
    frame = made(30, 2, 1.0, 4)
    for width in (62, 63, 70):
        # two visits of each group: one of three pairs that differ in one visit
        low, kind = frame["v"] == 0, frame["g"] % 3
        frame["visit"] = np.where(low, 1 + (kind == 1), np.where(kind == 2, width, 0))
        whole = pd.DataFrame({"g": -1, "visit": range(width + 1)})
        both = pd.concat([frame, whole], ignore_index=True)
        bound = bind_residual("ar1(visit | g)", columns=both)
        batch = bound.batches[0]
        assert batch.size == 2
        pairs = [both["visit"][rows].tolist() for rows in batch.rows]
        assert [batch.place[k].tolist() for k in batch.pattern] == pairs
        assert len(batch.count) == 3


def test_strata_by_visit_part_no_more_patterns():
    frame = made(50, 3, 0.7, 5)
    plain = bind_residual("ar1(v | g)", columns=frame).batches
    bound = bind_residual("ar1h(v | g)", columns=frame).batches
    assert [b.pattern.tolist() for b in bound] == [b.pattern.tolist() for b in plain]
    for batch in bound:
        assert (batch.strata[0] == batch.place).all()
    # strata of some rows of a visit do
    frame["w"] = np.where(frame["g"] < 25, frame["v"], 2)
    bound = bind_residual("ar1(v | g)", "ident(w)", columns=frame).batches
    assert sum(len(b.count) for b in bound) > sum(len(b.count) for b in plain)
