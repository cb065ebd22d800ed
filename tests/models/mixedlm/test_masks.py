"""Masks that are none of the model's parameters."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.masks import mask
from helpers.upstream_pair import upstream_pair

ALL = [1, 1, 1]


@pytest.mark.parametrize(
    ("free", "match"),
    [
        (np.eye(2), "free must be MixedLMParams"),
        (mask(ALL, [[0.5, 1], [1, 1]]), r"only 1 \(free\) and 0"),
        (mask([1, 1], np.eye(2)), r"fe_params must have shape \(3,\)"),
        (mask(ALL, np.eye(3)), "cov_re must have shape"),
    ],
)
def test_bad_masks(free, match):
    own, _ = upstream_pair(1, component=False)
    with pytest.raises(ValueError, match=match):
        own.fit(free=free)
    own.score(np.ones(3))  # the model is as before
