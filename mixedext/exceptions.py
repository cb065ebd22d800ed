"""Exceptions and warnings of mixedext, each a class of its own.

Statsmodels' own classes are used, or inherited from, where it has one.
"""

import sys
from pathlib import Path

from statsmodels.tools.sm_exceptions import MissingDataError as UpstreamMissingDataError
from statsmodels.tools.sm_exceptions import ModelWarning

__all__ = [
    "AdjustmentWarning",
    "DesignError",
    "FlatLikelihoodWarning",
    "FormulaError",
    "MissingDataError",
    "NotEstimableError",
    "PrecisionWarning",
    "RankDeficientWarning",
    "WeightsWarning",
]


_PACKAGE = str(Path(__file__).parent)


def user_stacklevel() -> int:
    """``stacklevel`` for warnings.warn that points at the first line outside mixedext."""
    level, frame = 1, sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level


class FormulaError(ValueError):
    """A formula that cannot be read, or that names what the data do not have."""


class DesignError(ValueError):
    """A design from which the model cannot be estimated; names the term and says why."""


class MissingDataError(UpstreamMissingDataError, ValueError):
    """Missing values where they are not allowed; statsmodels' error, and a ValueError."""


class RankDeficientWarning(ModelWarning):
    """Columns of the fixed effects were dropped: they depend on earlier columns."""


class FlatLikelihoodWarning(ModelWarning):
    """A minimum that is flat: the data do not determine all variances."""


class PrecisionWarning(ModelWarning):
    """The residual sum of squares from the cross-products disagrees with the rows."""


class WeightsWarning(ModelWarning):
    """Weights that are allowed but so uneven that digits may be lost."""


class NotEstimableError(ValueError):
    """A combination of the fixed effects that the rows of the data do not determine."""


class AdjustmentWarning(UserWarning):
    """An adjustment for multiplicity that was replaced by one that fits the contrasts."""
