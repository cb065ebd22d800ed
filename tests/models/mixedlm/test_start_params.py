"""Starting values in all of statsmodels' forms."""

import numpy as np
import pytest
from helpers.upstream_pair import upstream_pair
from statsmodels.regression.mixed_linear_model import MixedLMParams
from statsmodels.tools.sm_exceptions import ValueWarning

START = MixedLMParams.from_components(
    np.ones(3), cov_re=np.array([[0.5, 0.1], [0.1, 0.7]]), vcomp=np.array([0.3])
)


@pytest.mark.parametrize("use_sqrt", [True, False])
@pytest.mark.parametrize("has_fe", [True, False, None])
def test_forms(use_sqrt, has_fe):
    own, _ = upstream_pair(61, use_sqrt=use_sqrt)
    start = START if has_fe is None else START.get_packed(use_sqrt, has_fe)
    at = own.fit(start_params=start, do_cg=False)
    np.testing.assert_allclose(at.params[3:], [0.5, 0.1, 0.7, 0.3], rtol=1e-12)
    assert at.llf == pytest.approx(own.loglike(START), rel=1e-13)
    np.testing.assert_allclose(
        at.fe_params, own.get_fe_params(START.cov_re, START.vcomp)[0], rtol=1e-10
    )
    result = own.fit(start_params=start)
    assert result.llf == pytest.approx(own.fit().llf, rel=1e-11)


def test_wrong_starts():
    own, _ = upstream_pair(61)
    for wrong in (np.ones(5), np.ones((2, 2)), [np.inf] * 4):
        with pytest.raises(ValueError, match="invalid start_params"):
            own.fit(start_params=wrong)
    indefinite = START.copy()
    indefinite.cov_re = np.array([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match=r"start_params: .* not positive semidefinite"):
        own.fit(start_params=indefinite)


def test_simulated_annealing_is_not_there():
    own, _ = upstream_pair(61)
    with pytest.warns(ValueWarning, match="niter_sa is currently ignored"):
        own.fit(niter_sa=2)
