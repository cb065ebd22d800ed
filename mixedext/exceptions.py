"""Exceptions and warnings of mixedext, each a class of its own.

Statsmodels' own classes are used where it has one (``MissingDataError``,
``SingularMatrixWarning``, ``ConvergenceWarning``).
"""

from statsmodels.tools.sm_exceptions import ModelWarning

__all__ = [
    "DesignError",
    "FormulaError",
    "PrecisionWarning",
    "RankDeficientWarning",
    "WeightsWarning",
]


class FormulaError(ValueError):
    """A formula that cannot be read, or that names what the data do not have."""


class DesignError(ValueError):
    """A design from which the model cannot be estimated; names the term and says why."""


class RankDeficientWarning(ModelWarning):
    """Columns of the fixed effects were dropped: they depend on earlier columns."""


class PrecisionWarning(ModelWarning):
    """The residual sum of squares from the cross-products disagrees with the rows."""


class WeightsWarning(ModelWarning):
    """Weights that are allowed but so uneven that digits may be lost."""
