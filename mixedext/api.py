"""The public names of mixedext."""

from statsmodels.iolib.smpickle import load_pickle as load
from statsmodels.regression.mixed_linear_model import MixedLMParams, VCSpec

from mixedext import datasets
from mixedext.engine.optimize import Convergence
from mixedext.engine.refit import Refits
from mixedext.engine.threads import get_num_threads, set_num_threads
from mixedext.exceptions import (
    AdjustmentWarning,
    AlignmentWarning,
    BoundaryWarning,
    ConvergenceError,
    DesignError,
    FlatLikelihoodWarning,
    FormulaError,
    LowerDevianceWarning,
    MissingDataError,
    NestingWarning,
    NoGroupInterceptWarning,
    NotEstimableError,
    PrecisionWarning,
    RankDeficientWarning,
    UnidentifiedVarianceWarning,
    WeightsWarning,
)
from mixedext.model import MixedLM, mixedlm
from mixedext.parquet import read_parquet_model
from mixedext.results import MixedLMResults, MixedLMResultsWrapper
from mixedext.results_parts.linear_functions import Contrasts, MarginalMeans
from mixedext.results_parts.model_comparison import ModelTest, anova, model_table
from mixedext.results_parts.profiles import LikelihoodProfile
from mixedext.specification.terms import RandomTerm, SparseTerm

__all__ = [
    "AdjustmentWarning",
    "AlignmentWarning",
    "BoundaryWarning",
    "Contrasts",
    "Convergence",
    "ConvergenceError",
    "DesignError",
    "FlatLikelihoodWarning",
    "FormulaError",
    "LikelihoodProfile",
    "LowerDevianceWarning",
    "MarginalMeans",
    "MissingDataError",
    "MixedLM",
    "MixedLMParams",
    "MixedLMResults",
    "MixedLMResultsWrapper",
    "ModelTest",
    "NestingWarning",
    "NoGroupInterceptWarning",
    "NotEstimableError",
    "PrecisionWarning",
    "RandomTerm",
    "RankDeficientWarning",
    "Refits",
    "SparseTerm",
    "UnidentifiedVarianceWarning",
    "VCSpec",
    "WeightsWarning",
    "anova",
    "datasets",
    "get_num_threads",
    "load",
    "mixedlm",
    "model_table",
    "read_parquet_model",
    "set_num_threads",
]
