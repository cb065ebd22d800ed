"""Residual groups in batches: every row once, in order, beside groups that are alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixedext.specification.covariance.residual_binding import bind_residual


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
