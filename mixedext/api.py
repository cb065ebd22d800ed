"""The public names of mixedext."""

from statsmodels.iolib.smpickle import load_pickle as load
from statsmodels.regression.mixed_linear_model import MixedLMParams, VCSpec

from mixedext import datasets
from mixedext.engine.optimize import Convergence
from mixedext.engine.refit import Refits
from mixedext.engine.threads import get_num_threads, set_num_threads
from mixedext.exceptions import (
    AdjustmentWarning,
    DesignError,
    FlatLikelihoodWarning,
    FormulaError,
    MissingDataError,
    NotEstimableError,
    PrecisionWarning,
    RankDeficientWarning,
    WeightsWarning,
)
from mixedext.linear_functions import Contrasts, MarginalMeans
from mixedext.model import MixedLM, mixedlm
from mixedext.parquet import read_parquet_model
from mixedext.results import MixedLMResults, MixedLMResultsWrapper
from mixedext.specification.terms import RandomTerm

__all__ = [
    "AdjustmentWarning",
    "Contrasts",
    "Convergence",
    "DesignError",
    "FlatLikelihoodWarning",
    "FormulaError",
    "MarginalMeans",
    "MissingDataError",
    "MixedLM",
    "MixedLMParams",
    "MixedLMResults",
    "MixedLMResultsWrapper",
    "NotEstimableError",
    "PrecisionWarning",
    "RandomTerm",
    "RankDeficientWarning",
    "Refits",
    "VCSpec",
    "WeightsWarning",
    "datasets",
    "get_num_threads",
    "load",
    "mixedlm",
    "read_parquet_model",
    "set_num_threads",
]
