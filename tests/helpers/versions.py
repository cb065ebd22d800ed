"""What tests need of the versions of other packages."""

import pytest
import scipy
import statsmodels
from packaging.version import Version

needs_statsmodels_15 = pytest.mark.skipif(
    Version(statsmodels.__version__) < Version("0.15.0.dev0"),
    reason="statsmodels 0.14 has other arguments",
)
#: Error of SciPy's beta distribution with large parameters.
BETA_ERROR = 2e-14 if Version(scipy.__version__) >= Version("1.14") else 1e-12
