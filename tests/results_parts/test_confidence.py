import numpy as np
import pytest

import mixedext as mx
from mixedext.results_parts.confidence import confidence_level


@pytest.fixture(scope="module")
def result():
    data = mx.datasets.dyestuff.load().data
    return mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit(reml=False)


def test_alpha_is_one_minus_the_level():
    assert confidence_level(0.9) == 0.9
    assert confidence_level(0.95, 0.1) == 0.9
    assert confidence_level(0.95, np.float32(0.5)) == 0.5


@pytest.mark.parametrize("value", [0, 1, 95, -0.1, "shortest", None, np.nan])
def test_other_levels_are_refused(value):
    with pytest.raises(ValueError, match=r"level=.* must lie between 0 and 1"):
        confidence_level(value)


def test_intervals_of_profiles_and_bootstraps_take_either(result):
    profile, bootstrap = result.profile(), result.bootstrap_parametric(200, rng=1)
    for each in (profile, bootstrap):
        np.testing.assert_array_equal(each.conf_int(alpha=0.1), each.conf_int(0.9))
        with pytest.raises(ValueError, match="alpha=2 must lie between"):
            each.conf_int(alpha=2)
        with pytest.raises(ValueError, match="level='shortest' must lie between"):
            each.conf_int("shortest")
