"""Exceptions and warnings of mixedext, each a class of its own.

Statsmodels' own classes are used, or inherited from, where it has one.
"""

import os
import sys
from pathlib import Path
from types import FrameType

from statsmodels.tools.sm_exceptions import MissingDataError as UpstreamMissingDataError
from statsmodels.tools.sm_exceptions import ModelWarning

__all__ = [
    "AdjustmentWarning",
    "AlignmentWarning",
    "BootstrapWarning",
    "BoundaryWarning",
    "CategoryWarning",
    "ClusterWarning",
    "ConfidenceLevelWarning",
    "ConvergenceError",
    "DenseMatrixWarning",
    "DesignError",
    "DevianceError",
    "FlatLikelihoodWarning",
    "FormulaError",
    "InformationWarning",
    "LowerDevianceWarning",
    "MissingDataError",
    "NestingWarning",
    "NoExactLawError",
    "NoGroupInterceptWarning",
    "NotEstimableError",
    "NotEstimableWarning",
    "OffsetWarning",
    "PowerWarning",
    "PrecisionWarning",
    "RankDeficientWarning",
    "ResidualFallbackWarning",
    "ResidualLimitWarning",
    "ResponseWarning",
    "SeparationWarning",
    "SimulationWarning",
    "StructureWarning",
    "UnidentifiedCovarianceError",
    "UnidentifiedVarianceWarning",
    "WeightsWarning",
]


# With the separator: a folder beside it may have a name that begins like its own.
_PACKAGE = f"{Path(__file__).parent}{os.sep}"


def user_stacklevel() -> int:
    """``stacklevel`` for warnings.warn that points at the first line outside mixedext."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level


class FormulaError(ValueError):
    """A formula that cannot be read, or that names what the data do not have."""


# What may have too many columns.
FIXED_EFFECTS = "the fixed effects"


class DesignError(ValueError):
    """A design from which the model cannot be estimated; names the term and says why.

    Parameters
    ----------
    *args : object
        The message.
    too_many_in : str, optional
        What has too many columns, where that is the reason: ``FIXED_EFFECTS``, or the
        label of a random term.
    """

    def __init__(self, *args: object, too_many_in: str | None = None):
        super().__init__(*args)
        self.too_many_in = too_many_in


class UnidentifiedCovarianceError(DesignError):
    """A residual structure of whose parameters the data tell too little."""


class MissingDataError(UpstreamMissingDataError, ValueError):
    """Missing values where they are not allowed; statsmodels' error, and a ValueError."""


class CategoryWarning(ModelWarning):
    """Dates, or numbers kept as objects or text, that became categories; odd labels."""


class PowerWarning(ModelWarning):
    """A name to a power in a formula, which is the name; powers of numbers stand in I()."""


class ConfidenceLevelWarning(UserWarning):
    """A confidence level below one half: ``alpha`` and ``level`` may have been confused."""


class ClusterWarning(ModelWarning):
    """A cluster-robust covariance that rests on too few clusters, or on one of them."""


class ConvergenceError(RuntimeError):
    """A search that did not come to an end; says what to do."""


class DenseMatrixWarning(UserWarning):
    """A matrix with a row and a column for each of many rows that was asked for whole."""


class DevianceError(ValueError):
    """The deviance, or its derivatives, cannot be computed: rounding leaves no number."""


class AlignmentWarning(ModelWarning):
    """A Series with the row labels of the data in another order; positions count."""


class BootstrapWarning(ModelWarning):
    """Replicates of a bootstrap failed, or are too few for limits; says how many."""


class RankDeficientWarning(ModelWarning):
    """Columns of the fixed effects were dropped: they depend on earlier columns."""


class ResidualFallbackWarning(ModelWarning):
    """Residual structures of a list that were passed over, and why."""


class ResidualLimitWarning(ModelWarning):
    """Parameters of the residual covariance at a limit of their range; names them."""


class ResponseWarning(ModelWarning):
    """Responses that are questionable; names them.

    Among many those that leave no variance to estimate; numbers of successes, of trials or
    counts that are not whole.
    """


class SimulationWarning(ModelWarning):
    """Refits of a simulated study failed, or many of them are singular."""


class StructureWarning(ModelWarning):
    """A structure of covariances that asks much of the data, or has no such profile."""


class FlatLikelihoodWarning(ModelWarning):
    """A minimum that is flat: the data do not determine all variances."""


class InformationWarning(ModelWarning):
    """Information on the variances that cannot be inverted as it is; names what is used."""


class LowerDevianceWarning(ModelWarning):
    """A profile has found a better fit than the one that it started from."""


class PrecisionWarning(ModelWarning):
    """The residual sum of squares from the cross-products disagrees with the rows."""


class WeightsWarning(ModelWarning):
    """Weights that are allowed but so uneven that digits may be lost."""


class NoGroupInterceptWarning(UserWarning):
    """Variance components by ``vc_formula`` without ``re_formula``: no group intercept."""


class UnidentifiedVarianceWarning(ModelWarning):
    """A variance that the design may not tell from the residual's; the model is fitted."""


class NestingWarning(ModelWarning):
    """Models are compared of which the smaller is no special case of the larger."""


class NoExactLawError(ValueError):
    """What is tested has no exact law, or no mixture with known weights."""


class BoundaryWarning(ModelWarning):
    """A test of variances that are zero, the boundary, under the hypothesis."""


class NotEstimableError(ValueError):
    """A combination of the fixed effects that the rows of the data do not determine."""


class NotEstimableWarning(ModelWarning):
    """Groups whose rows do not determine all coefficients of their own regression."""


class OffsetWarning(ModelWarning):
    """New data without the offset that the model was given as values."""


class AdjustmentWarning(UserWarning):
    """An adjustment for multiplicity that was replaced by one that fits the contrasts."""


class SeparationWarning(ModelWarning):
    """Estimates of a generalized model that are infinite: the data are separated."""
